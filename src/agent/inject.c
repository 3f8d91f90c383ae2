/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/inject.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/remote.h"
#include "agent/safe.h"
#include "agent/stop.h"
#include "agent/wire.h"

#define FIT_TIMEOUT_NS	 10000000000ull
#define KEEP_TIMEOUT_NS	 1000000000ull
#define MAX_THREADS	 4096
#define MAX_COPIES	 64 /* each generation of followed children adds one */
#define PERMISSION_TRIES 3

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

extern const u8 agent_blob_start[], agent_blob_end[];

/* One injection under way. */
struct inject {
	struct process *process;
	const struct process_facts *facts;
	const struct problem *problem;
	struct remote remote;
	u64 dlopen, dlerror, errno_location;
	u64 build;     /* checksum of the agent */
	bool keep;     /* the borrowed thread stays stopped */
	char name[32]; /* of the agent's memfd: says which build it is */
};

static u64 blob_token(void)
{
	u64 hash = 0xcbf29ce484222325ull;

	for (const u8 *at = agent_blob_start; at < agent_blob_end; at++)
		hash = (hash ^ *at) * 0x100000001b3ull;
	return hash;
}

static u64 blob_entry(void)
{
	return ((const Elf64_Ehdr *)(const void *)agent_blob_start)->e_entry;
}

/* ---- what the target must offer ---- */

static int find_syscall(struct inject *inject)
{
	u8 code[64];
	u64 address;
	int error =
		process_find_function(inject->process, inject->facts->libc, "syscall", &address);

	if (!error)
		error = process_read(inject->process, address, code, sizeof(code));
	for (u32 i = 0; !error && i + SYS_REGS_CALL_BYTES <= sizeof(code); i++) {
		if (memcmp(code + i, sys_regs_syscall, SYS_REGS_CALL_BYTES))
			continue;
		inject->remote.syscall_at = address + i;
		return 0;
	}
	return problem_set(inject->problem, -ENOENT,
			   "no system call instruction found in the C library of process %d",
			   inject->facts->pid);
}

/* Where signal handlers of the process return to: libc does not name it. */
static int find_sigreturn(struct inject *inject)
{
	const struct process_module *libc = inject->facts->libc;
	static u8 code[65536 + sizeof(sys_regs_sigreturn)];

	for (u64 at = libc->start; at < libc->end; at += 65536) {
		const u8 *found;
		size_t size = MIN(libc->end - at, sizeof(code));

		if (process_read(inject->process, at, code, size))
			continue;
		found = memmem(code, size, sys_regs_sigreturn, sizeof(sys_regs_sigreturn));
		if (!found)
			continue;
		inject->remote.return_at = at + (u64)(found - code);
		return 0;
	}
	return problem_set(inject->problem, -ENOENT, "the C library of process %d has no sigreturn",
			   inject->facts->pid);
}

static int find_functions(struct inject *inject)
{
	const struct process_module *libc = inject->facts->libc, *libdl;
	struct process *process = inject->process;
	int error = find_syscall(inject);

	if (!error)
		error = find_sigreturn(inject);
	if (error)
		return error;
	process_find_function(process, libc, "__errno_location", &inject->errno_location);
	if (!process_find_function(process, libc, "dlopen", &inject->dlopen)) {
		process_find_function(process, libc, "dlerror", &inject->dlerror);
		return 0;
	}
	libdl = process_find_module(process, "libdl.so.2"); /* before glibc 2.34 */
	if (libdl && !process_find_function(process, libdl, "dlopen", &inject->dlopen)) {
		process_find_function(process, libdl, "dlerror", &inject->dlerror);
		return 0;
	}
	if (!process_find_function(process, libc, "__libc_dlopen_mode", &inject->dlopen))
		return 0;
	return problem_set(inject->problem, -EOPNOTSUPP,
			   "the C library of process %d has no dlopen", inject->facts->pid);
}

/* ---- a thread that can be borrowed ---- */

static char thread_state(pid_t pid, pid_t tid)
{
	char path[64], stat[512], *at;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 'X';
	got = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[MAX(got, 0)] = 0;
	at = strrchr(stat, ')');
	return at && at[1] == ' ' ? at[2] : 'X';
}

static bool is_agent_thread(pid_t pid, pid_t tid)
{
	char path[64], name[32] = "";
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, name, sizeof(name) - 1);
	close(fd);
	return got > 0 && (!strcmp(name, "inlay\n") || !strcmp(name, "inlay-deputy\n"));
}

static int list_threads(pid_t pid, pid_t *tids)
{
	const struct dirent *entry;
	char path[40];
	int count = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return -errno;
	while (count < MAX_THREADS && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid > 0)
			tids[count++] = tid;
	}
	closedir(tasks);
	return count;
}

/* Tries one thread. 0: borrowed; -EAGAIN: not fit just now; other: give up. */
static int try_thread(struct inject *inject, struct safe *safe, pid_t tid)
{
	int error = -EPERM;

	inject->remote.tid = tid;
	/* Who traced it may have let it go before we see who it was. */
	for (u32 i = 0; i < PERMISSION_TRIES && error == -EPERM; i++) {
		error = remote_borrow(&inject->remote);
		if (error == -EPERM && inject_tracer(inject->facts->pid, tid))
			return -EAGAIN; /* another loader, as a rule */
	}
	if (error == -ESRCH || error == -ETIMEDOUT)
		return -EAGAIN;
	if (error == -EPERM || error == -EACCES)
		return inject_explain_permission(inject->process, error, inject->problem);
	if (error)
		return problem_set(inject->problem, error, "thread %d cannot be stopped: %s", tid,
				   strerror(-error));
	if (inject->remote.held || safe_thread(safe, tid, &inject->remote.saved))
		return 0;
	remote_return(&inject->remote);
	return -EAGAIN;
}

/* Goes round the threads until one is found at a fit point. */
static int borrow_thread(struct inject *inject, struct safe *safe)
{
	static pid_t tids[MAX_THREADS];
	u64 deadline = stop_now() + (inject->keep ? KEEP_TIMEOUT_NS : FIT_TIMEOUT_NS);
	u32 round = 0;

	if (inject->remote.held)
		return try_thread(inject, safe, inject->remote.tid);
	do {
		/*
		 * Longer and longer: a stop makes a fork begin anew, so one that takes longer than a nap would never end, nor
		 * its thread be fit.
		 */
		u32 most = MIN(3000000 * (1 + round / 16), (u32)100000000);
		struct timespec nap = {0, 200000 + round * 1777777 % most};
		int count = list_threads(inject->facts->pid, tids);

		if (count < 0)
			return problem_set(inject->problem, -ESRCH, "process %d is gone",
					   inject->facts->pid);
		for (int i = 0; i < count; i++) {
			char state = thread_state(inject->facts->pid, tids[i]);
			int error;

			if (state == 'D' || state == 'Z' || state == 'X' ||
			    is_agent_thread(inject->facts->pid, tids[i]))
				continue;
			error = try_thread(inject, safe, tids[i]);
			if (error != -EAGAIN)
				return error;
		}
		nanosleep(&nap, NULL);
		round++;
	} while (stop_now() < deadline);
	return problem_set(inject->problem, -ETIMEDOUT,
			   "no thread of process %d came to a point where the agent can be loaded",
			   inject->facts->pid);
}

/* ---- delivery ---- */

static int target_failed(const struct inject *inject, const char *what, long error)
{
	if (error == -ESRCH)
		return problem_set(inject->problem, -ESRCH, "process %d exited",
				   inject->facts->pid);
	return problem_set(inject->problem, (int)error, "%s in process %d failed: %s", what,
			   inject->facts->pid, strerror((int)-error));
}

static int fill_memfd(const struct inject *inject, int far_fd)
{
	size_t size = (size_t)(agent_blob_end - agent_blob_start);
	char path[64];
	ssize_t put;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", inject->facts->pid, far_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	put = write(fd, agent_blob_start, size);
	close(fd);
	return put == (ssize_t)size ? 0 : put < 0 ? -errno : -ENOSPC;
}

/* The dynamic linker's own words about its failure. */
static int explain_dlopen(struct inject *inject)
{
	char text[160] = "no reason given";
	u64 address = 0;

	if (inject->dlerror && !remote_call(&inject->remote, inject->dlerror, 0, 0, 0, &address) &&
	    address) {
		for (size_t size = sizeof(text) - 1; size > 8; size /= 2) {
			if (!remote_read(&inject->remote, address, text, size))
				break;
		}
		text[sizeof(text) - 1] = 0;
	}
	if (strstr(text, "static TLS"))
		return problem_set(
			inject->problem, -ENOMEM,
			"process %d has no room left for thread-local variables (static TLS exhausted)",
			inject->facts->pid);
	return problem_set(inject->problem, -ELIBACC,
			   "the agent could not be loaded into process %d: %s", inject->facts->pid,
			   text);
}

/*
 * The path of a descriptor, spelled differently for each build: dlopen takes a name that it knows for the library that it
 * has, and descriptor numbers come back. "//" and "/./" mean what "/" means.
 * Named by number and not "self": gdb, who reads the name later, would look at its own descriptors.
 */
static void spell_path(const struct inject *inject, int far_fd, char *path, size_t size)
{
	size_t length = (size_t)snprintf(path, size, "/proc/%d/fd/", inject->facts->proc_pid);

	for (u64 bits = inject->build & 0xffffff; bits && length < size - 16; bits >>= 1)
		length += (size_t)snprintf(path + length, size - length, bits & 1 ? "./" : "/");
	snprintf(path + length, size - length, "%d", far_fd);
}

/* dlopen of the target's own descriptor. *ret_base: where the agent was mapped; *ret_map: its link map. */
static int open_agent(struct inject *inject, int far_fd, u64 *ret_base, u64 *ret_map)
{
	char path[128];
	u64 far_path, handle = 0;
	int error;

	spell_path(inject, far_fd, path, sizeof(path));
	error = remote_put(&inject->remote, path, strlen(path) + 1, &far_path);
	if (!error)
		error = remote_call(&inject->remote, inject->dlopen, far_path,
				    RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE, 0, &handle);
	if (error)
		return target_failed(inject, "dlopen of the agent", error);
	if (!handle)
		return explain_dlopen(inject);
	/* struct link_map begins with the load bias. */
	error = remote_read(&inject->remote, handle, ret_base, sizeof(*ret_base));
	if (error)
		return target_failed(inject, "reading the link map", error);
	*ret_map = handle;
	return 0;
}

static int deliver(struct inject *inject, u64 *ret_base, u64 *ret_map)
{
	u64 far_name;
	long fd;
	int error;

	if (!inject->facts->proc_pid)
		return problem_set(
			inject->problem, -EOPNOTSUPP,
			"process %d cannot see its own /proc, through which the agent is loaded",
			inject->facts->pid);
	error = remote_put(&inject->remote, inject->name, strlen(inject->name) + 1, &far_name);
	if (error)
		return target_failed(inject, "mmap", error);
	fd = remote_syscall(&inject->remote, SYS_memfd_create, far_name, MFD_CLOEXEC, 0, 0, 0, 0);
	if (fd < 0)
		return target_failed(inject, "memfd_create", fd);
	error = fill_memfd(inject, (int)fd);
	if (error)
		target_failed(inject, "writing the agent", error);
	else
		error = open_agent(inject, (int)fd, ret_base, ret_map);
	remote_syscall(&inject->remote, SYS_close, (u64)fd, 0, 0, 0, 0, 0);
	return error;
}

int inject_self_fd(void)
{
	size_t size = (size_t)(agent_blob_end - agent_blob_start);
	int fd = memfd_create("inlay-agent", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, agent_blob_start, size) != (ssize_t)size) {
		close(fd);
		return -ENOSPC;
	}
	return fd < 0 ? -errno : fd;
}

/* Copies of this build's agent that the process has mapped. Returns how many. */
static u32 loaded_copies(const struct inject *inject, u64 bases[MAX_COPIES])
{
	char path[64], line[512];
	u32 count = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", inject->facts->pid);
	maps = fopen(path, "re");
	while (maps && count < MAX_COPIES && fgets(line, sizeof(line), maps)) {
		unsigned long start, offset;

		if (strstr(line, inject->name) &&
		    sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2 && offset == 0)
			bases[count++] = start;
	}
	if (maps)
		fclose(maps);
	return count;
}

bool inject_has_agent(pid_t pid)
{
	char path[64], line[512];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && !found && fgets(line, sizeof(line), maps))
		found = strstr(line, "/memfd:inlay-agent-");
	if (maps)
		fclose(maps);
	return found;
}

/* ---- entering ---- */

/* Takes the descriptor far_fd out of the borrowed thread's table. */
static int fetch_fd(const struct inject *inject, int far_fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, inject->remote.tid, PIDFD_THREAD);
	int fd;

	if (pidfd < 0)
		pidfd = (int)syscall(SYS_pidfd_open, inject->facts->pid, 0);
	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, far_fd, 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);
	return fd;
}

/* Calls agent_entry of the copy at base with one end of the pair. map: of a new copy. */
static int enter(struct inject *inject, u64 base, u64 map, int far_fd, int *ret_result)
{
	struct agent_params params = {
		.version = WIRE_VERSION, .session_fd = far_fd, .link_map = map};
	u64 far_params, result = 0;
	int error = remote_put(&inject->remote, &params, sizeof(params), &far_params);

	if (!error)
		error = remote_call(&inject->remote, base + blob_entry(), far_params, 0, 0,
				    &result);
	if (error)
		return target_failed(inject, "the agent's entry", error);
	*ret_result = (int)result;
	return 0;
}

/* Enters a copy that is there already, or a new one. */
static int enter_any(struct inject *inject, int far_fd)
{
	u64 bases[MAX_COPIES], map = 0;
	u32 copies = loaded_copies(inject, bases);
	int result = AGENT_STALE, error = 0;

	for (u32 i = copies; !error && result == AGENT_STALE && i-- > 0;)
		error = enter(inject, bases[i], 0, far_fd, &result);
	if (!error && result == AGENT_STALE) {
		error = deliver(inject, &bases[0], &map);
		if (!error)
			error = enter(inject, bases[0], map, far_fd, &result);
	}
	if (!error && result)
		error = target_failed(inject, "starting the agent's thread",
				      result > 0 ? -EPROTO : result);
	return error;
}

static int connect_agent(struct inject *inject, int *ret_fd)
{
	int far[2] = {-1, -1}, fd, error;
	u64 address;
	long result;

	error = remote_put(&inject->remote, far, sizeof(far), &address);
	if (error)
		return target_failed(inject, "mmap", error);
	result = remote_syscall(&inject->remote, SYS_socketpair, AF_UNIX,
				SOCK_SEQPACKET | SOCK_CLOEXEC, 0, address, 0, 0);
	if (result < 0 || remote_read(&inject->remote, address, far, sizeof(far)))
		return target_failed(inject, "socketpair", result < 0 ? result : -EFAULT);
	fd = fetch_fd(inject, far[0]);
	remote_syscall(&inject->remote, SYS_close, (u64)far[0], 0, 0, 0, 0, 0);
	error = fd < 0 ? target_failed(inject, "pidfd_getfd", fd) : enter_any(inject, far[1]);
	remote_syscall(&inject->remote, SYS_close, (u64)far[1], 0, 0, 0, 0, 0);
	if (error && fd >= 0)
		close(fd);
	if (!error)
		*ret_fd = fd;
	return error;
}

/* The borrowed thread's errno is the program's. */
static int connect_keeping_errno(struct inject *inject, int *ret_fd)
{
	u64 address = 0;
	int value = 0, error;
	bool known = inject->errno_location &&
		     !remote_call(&inject->remote, inject->errno_location, 0, 0, 0, &address) &&
		     !remote_read(&inject->remote, address, &value, sizeof(value));

	error = connect_agent(inject, ret_fd);
	if (known)
		remote_write(&inject->remote, address, &value, sizeof(value));
	return error;
}

/*
 * One loader at a time: two that find no agent would both bring theirs, and each agent would take the other's patches for
 * somebody else's. The lock is on what all loaders can name, whatever their user and namespaces, and ends with its holder. (Before
 * Linux 6.9 it is one lock for all processes.) Returns the descriptor that holds it, or -errno.
 */
static int lock_process(pid_t pid, const struct problem *problem)
{
	const struct timespec nap = {0, 2000000};
	u64 deadline = stop_now() + FIT_TIMEOUT_NS;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return problem_set(problem, -errno, "process %d is gone", pid);
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fd; /* this kernel has no such lock */
		if (stop_now() > deadline) {
			close(fd);
			return problem_set(problem, -EBUSY,
					   "another command is being attached to process %d", pid);
		}
		nanosleep(&nap, NULL);
	}
	return fd;
}

static int inject_locked(struct process *process, pid_t held, const struct problem *problem,
			 u64 *ret_stack, pid_t *ret_kept)
{
	struct inject *inject;
	struct safe *safe = NULL;
	int error = inject_check(process, held, problem), fd = -1;

	if (error)
		return error;
	inject = calloc(1, sizeof(*inject));
	if (!inject)
		return problem_set(problem, -ENOMEM, "out of memory");
	*inject = (struct inject){
		.process = process,
		.facts = process_facts(process),
		.problem = problem,
		.keep = ret_kept != NULL,
	};
	inject->remote.pid = inject->facts->pid;
	inject->remote.tid = held;
	inject->remote.held = held != 0;
	inject->build = blob_token() & 0xffffffffffffull;
	snprintf(inject->name, sizeof(inject->name), "inlay-agent-%012llx",
		 (unsigned long long)inject->build);
	error = find_functions(inject);
	if (!error) {
		error = safe_open(process, &safe);
		if (error)
			problem_set(problem, error, "the files of process %d cannot be read: %s",
				    inject->facts->pid, strerror(-error));
	}
	if (!error)
		error = borrow_thread(inject, safe);
	if (!error) {
		error = connect_keeping_errno(inject, &fd);
		inject->remote.leave_stack = !error;
		inject->remote.held |= inject->keep && !error;
		remote_return(&inject->remote);
		*ret_stack = inject->remote.stack;
		if (inject->keep && !error)
			*ret_kept = inject->remote.tid;
	}
	safe_close(safe);
	free(inject);
	return error ? error : fd;
}

void inject_defer_suspension(sigset_t *ret_old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	sigaddset(&set, SIGTTIN);
	sigaddset(&set, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &set, ret_old);
}

int inject_session(struct process *process, pid_t held, const struct problem *problem,
		   u64 *ret_stack, pid_t *ret_kept)
{
	sigset_t old;
	int lock = lock_process(process_facts(process)->pid, problem), fd;

	if (lock < 0)
		return lock;
	inject_defer_suspension(&old);
	fd = inject_locked(process, held, problem, ret_stack, ret_kept);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(lock);
	return fd;
}
