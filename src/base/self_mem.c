/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/self_mem.h"

#include "base/sys.h"

/* Owning process << 32 | descriptor + 1, one word so that both are seen at once; 0: none. */
static u64 state;

static u64 pack(int fd)
{
	return (u64)(u32)sys_getpid() << 32 | (u32)(fd + 1);
}

static int fd_of(u64 packed)
{
	return (int)(u32)packed - 1;
}

static bool is_ours(u64 packed)
{
	return packed && packed >> 32 == (u32)sys_getpid();
}

void self_mem_set_fd(int fd)
{
	u64 old = __atomic_exchange_n(&state, fd < 0 ? 0 : pack(fd), __ATOMIC_ACQ_REL);

	if (is_ours(old))
		sys_close(fd_of(old));
}

/* A parent's descriptor is left alone: its number may be somebody else's here. */
static int open_own(void)
{
	u64 old = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
	int fd;

	if (is_ours(old))
		return fd_of(old);
	fd = sys_openat(AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	if (__atomic_compare_exchange_n(&state, &old, pack(fd), false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return fd;
	sys_close(fd);
	return fd_of(old);
}

static int result_of(long done, u32 size)
{
	if (done < 0)
		return (int)done;
	return done == (long)size ? 0 : -EIO;
}

int self_mem_read(u64 address, void *to, u32 size)
{
	int fd = open_own();

	return fd < 0 ? fd : result_of(sys_pread(fd, to, size, address), size);
}

int self_mem_write(u64 address, const void *from, u32 size)
{
	int fd = open_own();

	return fd < 0 ? fd : result_of(sys_pwrite(fd, from, size, address), size);
}
