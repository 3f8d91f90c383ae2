/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System calls without libc: each returns its result or -errno and leaves errno alone.
 *
 * The agent must not call libc functions that a program may be probing, whose locks a program's thread may hold, or that are
 * newer than GLIBC_2.17; and code at a hit must not touch errno. Signal-safe, any thread. Pointers are the kernel's types.
 */
#ifndef INLAY_BASE_SYS_H
#define INLAY_BASE_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "base/types.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#define MFD_EXEC	0x0010u
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#if defined(__x86_64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#endif

#define sys_call0(nr)		  sys_call6(nr, 0, 0, 0, 0, 0, 0)
#define sys_call1(nr, a)	  sys_call6(nr, (long)(a), 0, 0, 0, 0, 0)
#define sys_call2(nr, a, b)	  sys_call6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys_call3(nr, a, b, c)	  sys_call6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys_call4(nr, a, b, c, d) sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys_call5(nr, a, b, c, d, e)                                                               \
	sys_call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* Is the value of an address-returning call an error? */
static inline bool sys_is_error(const void *result)
{
	return (uintptr_t)result > (uintptr_t)-4096;
}

/* Memory. Test sys_mmap's and sys_mremap's result with sys_is_error; -errno is (long)result. */

static inline void *sys_mmap(void *addr, size_t length, int prot, int flags, int fd, u64 offset)
{
	return (void *)sys_call6(__NR_mmap, (long)addr, (long)length, prot, flags, fd,
				 (long)offset);
}

static inline int sys_munmap(void *addr, size_t length)
{
#ifdef __SANITIZE_THREAD__
	/* TSan must see memory go, or it takes what is mapped there next for the same. */
	return munmap(addr, length) ? -errno : 0;
#else
	return (int)sys_call2(__NR_munmap, addr, length);
#endif
}

static inline int sys_mprotect(void *addr, size_t length, int prot)
{
	return (int)sys_call3(__NR_mprotect, addr, length, prot);
}

static inline void *sys_mremap(void *addr, size_t length, size_t new_length, int flags, void *to)
{
	return (void *)sys_call5(__NR_mremap, addr, length, new_length, flags, to);
}

static inline int sys_madvise(void *addr, size_t length, int advice)
{
	return (int)sys_call3(__NR_madvise, addr, length, advice);
}

static inline int sys_membarrier(int cmd, unsigned int flags)
{
	return (int)sys_call3(__NR_membarrier, cmd, flags, 0);
}

static inline long sys_process_vm_readv(int pid, const struct iovec *local,
					const struct iovec *remote)
{
	return sys_call6(__NR_process_vm_readv, pid, (long)local, 1, (long)remote, 1, 0);
}

/* Files. */

static inline int sys_memfd_create(const char *name, unsigned int flags)
{
	return (int)sys_call2(__NR_memfd_create, name, flags);
}

static inline int sys_openat(int dir_fd, const char *path, int flags, unsigned int mode)
{
	return (int)sys_call4(__NR_openat, dir_fd, path, flags, mode);
}

static inline int sys_close(int fd)
{
	return (int)sys_call1(__NR_close, fd);
}

static inline long sys_read(int fd, void *to, size_t size)
{
	return sys_call3(__NR_read, fd, to, size);
}

static inline long sys_write(int fd, const void *from, size_t size)
{
	return sys_call3(__NR_write, fd, from, size);
}

static inline long sys_pread(int fd, void *to, size_t size, u64 offset)
{
	return sys_call4(__NR_pread64, fd, to, size, offset);
}

static inline long sys_pwrite(int fd, const void *from, size_t size, u64 offset)
{
	return sys_call4(__NR_pwrite64, fd, from, size, offset);
}

static inline int sys_fstat(int fd, struct stat *ret_info)
{
	return (int)sys_call2(__NR_fstat, fd, ret_info);
}

static inline int sys_ftruncate(int fd, u64 size)
{
	return (int)sys_call2(__NR_ftruncate, fd, size);
}

static inline int sys_fallocate(int fd, int mode, u64 offset, u64 size)
{
	return (int)sys_call4(__NR_fallocate, fd, mode, offset, size);
}

static inline long sys_lseek(int fd, s64 offset, int whence)
{
	return sys_call3(__NR_lseek, fd, offset, whence);
}

/* argument: as the command wants it, a number or a pointer. */
static inline int sys_fcntl(int fd, int cmd, unsigned long argument)
{
	return (int)sys_call3(__NR_fcntl, fd, cmd, argument);
}

static inline int sys_ioctl(int fd, unsigned long request, unsigned long argument)
{
	return (int)sys_call3(__NR_ioctl, fd, request, argument);
}

static inline int sys_dup3(int fd, int to, int flags)
{
	return (int)sys_call3(__NR_dup3, fd, to, flags);
}

static inline int sys_pipe2(int *fds, int flags)
{
	return (int)sys_call2(__NR_pipe2, fds, flags);
}

static inline int sys_eventfd2(unsigned int count, int flags)
{
	return (int)sys_call2(__NR_eventfd2, count, flags);
}

/* timeout NULL: no limit. mask NULL: unchanged. */
static inline int sys_ppoll(void *fds, unsigned long count, const struct timespec *timeout)
{
	return (int)sys_call5(__NR_ppoll, fds, count, timeout, 0, 8);
}

struct msghdr;

static inline long sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return sys_call3(__NR_sendmsg, fd, message, flags);
}

static inline long sys_recvmsg(int fd, struct msghdr *message, int flags)
{
	return sys_call3(__NR_recvmsg, fd, message, flags);
}

static inline int sys_socketpair(int domain, int type, int protocol, int *fds)
{
	return (int)sys_call4(__NR_socketpair, domain, type, protocol, fds);
}

/* Processes and threads. */

static inline int sys_getpid(void)
{
	return (int)sys_call0(__NR_getpid);
}

static inline int sys_gettid(void)
{
	return (int)sys_call0(__NR_gettid);
}

static inline int sys_tgkill(int pid, int tid, int signal)
{
	return (int)sys_call3(__NR_tgkill, pid, tid, signal);
}

static inline int sys_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
			    unsigned long d)
{
	return (int)sys_call5(__NR_prctl, option, a, b, c, d);
}

static inline int sys_sched_yield(void)
{
	return (int)sys_call0(__NR_sched_yield);
}

static inline int sys_getcpu(u32 *cpu, u32 *node)
{
	return (int)sys_call3(__NR_getcpu, cpu, node, 0);
}

/* timeout NULL: no limit. value3 and address2 are not offered: FUTEX_WAIT, FUTEX_WAKE and the bitset forms do without. */
static inline int sys_futex(u32 *address, int op, u32 value, const struct timespec *timeout)
{
	return (int)sys_call6(__NR_futex, (long)address, op, value, (long)timeout, 0, -1);
}

/* Signals. The kernel's sigset is 8 bytes; its sigaction is not libc's struct (see sys_sigaction). */

struct sys_sigaction {
	void *handler; /* SIG_DFL, SIG_IGN, void (*)(int) or, with SA_SIGINFO, void (*)(int, siginfo_t *, void *) */
	unsigned long flags;
	void *restorer; /* with SYS_SA_RESTORER: returns from the signal frame; x86-64 insists on one */
	u64 mask;
};

#define SYS_SA_RESTORER 0x04000000ul

/* restorer is unused where the kernel brings its own. */
static inline void sys_sigaction_return_by(struct sys_sigaction *action, void *restorer)
{
#if defined(__x86_64__)
	action->flags |= SYS_SA_RESTORER;
	action->restorer = restorer;
#else
	(void)action;
	(void)restorer;
#endif
}

static inline int sys_rt_sigaction(int signal, const struct sys_sigaction *action,
				   struct sys_sigaction *ret_old)
{
	return (int)sys_call4(__NR_rt_sigaction, signal, action, ret_old, 8);
}

static inline int sys_rt_sigprocmask(int how, const u64 *set, u64 *ret_old)
{
	return (int)sys_call4(__NR_rt_sigprocmask, how, set, ret_old, 8);
}

/* Time. By system call: the vdso's function belongs to the program. */

static inline int sys_clock_gettime(int clock, struct timespec *ret_time)
{
	return (int)sys_call2(__NR_clock_gettime, clock, ret_time);
}

static inline int sys_nanosleep(const struct timespec *duration)
{
	return (int)sys_call2(__NR_nanosleep, duration, 0);
}

static inline long sys_getrandom(void *to, size_t size, unsigned int flags)
{
	return sys_call3(__NR_getrandom, to, size, flags);
}

#endif
