/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is running: thread, process, user, name, processor.
 *
 * Thread and process ids are the ones the target itself sees (its innermost pid namespace). They are cached, since
 * a system call would cost more than the rest of a hit: the thread's in its reader record, the process's on a page
 * that the kernel clears in a forked child. A child cannot tell which of its records came from the parent, so
 * there the thread's id is asked for each time. (A vfork child shares the page and answers with its parent's ids.)
 */
#include "base/mem.h"
#include "base/sys.h"
#include "helpers/call.h"
#include "helpers/task.h"
#include "helpers/vdso.h"
#include "sync/percpu.h"
#include "sync/reader.h"

#include <sys/prctl.h>

#define IDENTITY_PAGE 4096

struct identity {
	u32 pid;	 /* 0: not asked yet, or wiped by a fork */
	u32 cached_tids; /* 1: no fork since task_init, so reader records tell the truth */
};

static struct identity *identity; /* NULL: every question is a system call */

void task_init(void)
{
	struct identity *none = NULL;
	struct identity *page;

	if (__atomic_load_n(&identity, __ATOMIC_RELAXED))
		return;
	page = sys_mmap(NULL, IDENTITY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (sys_is_error(page))
		return;
	if (sys_madvise(page, IDENTITY_PAGE, MADV_WIPEONFORK)) {
		sys_munmap(page, IDENTITY_PAGE);
		return;
	}
	page->pid = (u32)sys_getpid();
	page->cached_tids = 1;
	if (!__atomic_compare_exchange_n(&identity, &none, page, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		sys_munmap(page, IDENTITY_PAGE);
}

static u32 current_pid(const struct identity *page)
{
	return page && page->pid ? page->pid : (u32)sys_getpid();
}

static u32 current_tid(const struct identity *page)
{
	const struct reader *reader = page && page->cached_tids ? reader_self() : NULL;

	return reader ? reader->tid : (u32)sys_gettid();
}

HELPER_0(get_current_pid_tgid)
{
	const struct identity *page = __atomic_load_n(&identity, __ATOMIC_ACQUIRE);

	return (u64)current_pid(page) << 32 | current_tid(page);
}

HELPER_0(get_current_uid_gid)
{
	return (u64)(u32)sys_call0(__NR_getgid) << 32 | (u32)sys_call0(__NR_getuid);
}

#define COMM_SIZE 16

HELPER_2(get_current_comm, to, size_word)
{
	char name[COMM_SIZE] = {0};
	char *out = ptr_from_u64(to);
	u32 size = (u32)size_word;
	u32 length = 0;

	if (sys_prctl(PR_GET_NAME, ptr_to_u64(name), 0, 0, 0) < 0)
		name[0] = 0;
	while (length < COMM_SIZE - 1 && length + 1 < size && name[length]) {
		out[length] = name[length];
		length++;
	}
	mem_zero(out + length, size - length);
	return 0;
}

/*
 * The number of the slot that a program with per-CPU maps runs on, so that "my CPU's element" stays one idea; else
 * of the CPU itself.
 */
HELPER_0(get_smp_processor_id)
{
	return percpu_slot();
}

HELPER_0(get_numa_node_id)
{
	u32 node;

	vdso_cpu(NULL, &node);
	return node;
}
