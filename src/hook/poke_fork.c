/* SPDX-License-Identifier: BSD-2-Clause */
#include "hook/poke_fork.h"

#include <errno.h>
#include <fcntl.h>

#include "arch/trap.h"
#include "base/mem.h"
#include "base/sys.h"

#define PAGE	       4096
#define PAGE_EXCLUSIVE (1ull << 56) /* in a pagemap entry: mapped once */
#define PAGE_PRESENT   (1ull << 63)
#define MAX_DEPTH      8
#define MAX_PASSES     100
#define QUIET_PASSES   3 /* a child appears among its parent's a little after its memory was copied */
#define PASS_PAUSE_NS  1000000

struct change {
	const struct poke *pokes;
	u32 count;
	bool undo;
};

static u64 *canary;

void poke_fork_begin(void)
{
	void *page;

	if (!canary) {
		page = sys_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0);
		if (sys_is_error(page))
			return;
		/* As part of a huge page it would not be known by itself. */
		sys_madvise(page, PAGE, MADV_NOHUGEPAGE);
		canary = page;
	}
	/* The page that an earlier child shares is copied by this. */
	__atomic_fetch_add(canary, 1, __ATOMIC_SEQ_CST);
}

/* Where it cannot be told: yes. */
static bool is_shared(void)
{
	u64 entry = 0;
	int fd;

	if (!canary)
		return true;
	fd = sys_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return true;
	if (sys_pread(fd, &entry, sizeof(entry), ptr_to_u64(canary) / PAGE * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	sys_close(fd);
	return !(entry & PAGE_PRESENT) || !(entry & PAGE_EXCLUSIVE);
}

static u32 put_text(char *to, const char *text)
{
	u32 size = 0;

	for (; text[size]; size++)
		to[size] = text[size];
	return size;
}

static u32 put_number(char *to, u32 number)
{
	u32 digits = 1;

	for (u32 rest = number; rest >= 10; rest /= 10)
		digits++;
	for (u32 at = digits; at-- > 0; number /= 10)
		to[at] = (char)('0' + number % 10);
	return digits;
}

/* /proc/PID/mem, or (tid) /proc/PID/task/TID/children, or (no tid) /proc/PID/task. pid 0: self. */
static int open_proc(u32 pid, u32 tid, const char *last, int flags)
{
	char path[64];
	u32 at = put_text(path, "/proc/");

	at += pid ? put_number(path + at, pid) : put_text(path + at, "self");
	if (tid) {
		at += put_text(path + at, "/task/");
		at += put_number(path + at, tid);
	}
	at += put_text(path + at, last);
	path[at] = 0;
	return sys_openat(AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

/* head, barrier: what stands in front of an unfinished instruction. */
static bool finish_one(int mem, const struct poke *poke, bool undo, const u8 *barrier, u32 head)
{
	u32 tail = poke->size - head;
	const u8 *to = undo ? poke->from : poke->to, *from = undo ? poke->to : poke->from;
	u64 word = ALIGN_DOWN(poke->address, 8ull);
	u8 now[POKE_MAX_BYTES], content[8];

	if (!head || poke->size <= head ||
	    sys_pread(mem, now, poke->size, poke->address) != (long)poke->size)
		return false;
	/* Else it is another program by now, or was not forked in between. */
	if (!mem_equal(now, barrier, head) ||
	    (!mem_equal(now + head, from + head, tail) && !mem_equal(now + head, to + head, tail)))
		return false;
	if (sys_pwrite(mem, to + head, tail, poke->address + head) != (long)tail ||
	    sys_pread(mem, content, 8, word) != 8)
		return false;
	mem_copy(content + (poke->address - word), to, head);
	return sys_pwrite(mem, content, 8, word) == 8;
}

static bool finish_in(u32 pid, const struct change *change)
{
	int mem = open_proc(pid, 0, "/mem", O_RDWR);
	bool found = false;

	if (mem < 0)
		return false;
	for (u32 i = 0; i < change->count; i++) {
		const struct poke *poke = &change->pokes[i];

		found |= finish_one(mem, poke, change->undo, arch_host()->limits.spin,
				    arch_host()->limits.spin_size) ||
			 finish_one(mem, poke, change->undo, trap_bytes, TRAP_SIZE);
	}
	sys_close(mem);
	return found;
}

static bool finish_below(u32 pid, const struct change *change, u32 depth);

/* The children of one thread; theirs are looked at where it was forked in between itself. */
static bool finish_children(u32 pid, u32 tid, const struct change *change, u32 depth)
{
	int list = open_proc(pid, tid, "/children", O_RDONLY);
	bool found = false;
	u32 number = 0;
	char text[256];
	long got;

	if (list < 0)
		return false;
	while ((got = sys_read(list, text, sizeof(text))) > 0) {
		for (long i = 0; i < got; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				number = number * 10 + (u32)(text[i] - '0');
				continue;
			}
			if (number && finish_in(number, change)) {
				finish_below(number, change, depth + 1);
				found = true;
			}
			number = 0;
		}
	}
	sys_close(list);
	return found;
}

struct dirent64 {
	u64 inode, offset;
	u16 size;
	u8 type;
	char name[];
};

static u32 number_of(const char *name)
{
	u32 number = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		number = number * 10 + (u32)(*name - '0');
	return number;
}

/* Any thread may have forked. */
static bool finish_below(u32 pid, const struct change *change, u32 depth)
{
	int tasks = depth < MAX_DEPTH ? open_proc(pid, 0, "/task", O_RDONLY | O_DIRECTORY) : -1;
	u64 buffer[256];
	bool found = false;
	long got;

	if (tasks < 0)
		return false;
	while ((got = sys_call3(__NR_getdents64, tasks, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < got;) {
			const struct dirent64 *entry = (const void *)((const char *)buffer + at);
			u32 tid = number_of(entry->name);

			if (tid)
				found |= finish_children(pid, tid, change, depth);
			at += entry->size;
		}
	}
	sys_close(tasks);
	return found;
}

void poke_fork_end(const struct poke *pokes, u32 count, bool undo)
{
	const struct change change = {.pokes = pokes, .count = count, .undo = undo};
	const struct timespec pause = {.tv_nsec = PASS_PAUSE_NS};
	bool any = false;
	u32 quiet = 0;

	for (u32 i = 0; i < MAX_PASSES && is_shared(); i++) {
		bool found = finish_below(0, &change, 0);

		any |= found;
		quiet = found ? 0 : quiet + 1;
		/* Nothing found at all: it is not among the children yet, or has gone, which is_shared tells. */
		if (any && quiet >= QUIET_PASSES)
			return;
		sys_nanosleep(&pause);
	}
}
