/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of the ways to read is taken, and the copying itself. */
#include "exec/fault.h"

#include <errno.h>

#include "arch/guard.h"
#include "base/mem.h"
#include "base/sys.h"
#include "exec/fault_signal.h"
#include "exec/fault_snapshot.h"
#include "sync/reader.h"

#define PAGE 4096u

u32 fault_wants_refresh;

/* Between fault_init and fault_done. Of the thread that calls those. */
static bool in_use;

int fault_init(void)
{
	int err = fault_signal_install();

	in_use = !err;
	return err ? err : fault_snapshot_refresh();
}

void fault_done(void)
{
	in_use = false;
	fault_signal_remove();
}

int fault_refresh(void)
{
	int err;

	__atomic_store_n(&fault_wants_refresh, 0, __ATOMIC_RELAXED);
	err = fault_signal_install();
	/* With every level taken, faults go to the program's handlers as before: the snapshot is still worth having. */
	if (err && err != -ENOSPC)
		return err;
	return fault_snapshot_refresh();
}

void fault_keep_handlers(void)
{
	if (in_use)
		fault_signal_install();
}

/*
 * A thread that blocks SIGSEGV would be killed by the fault of a mapping that vanished since the snapshot.
 * Who has no record is not known well enough.
 */
static inline bool may_fault(void)
{
	const struct reader *self = reader_self();

	return likely(self && !(self->flags & READER_NO_SIGNALS));
}

static void note_new_mapping(void)
{
	if (!__atomic_load_n(&fault_wants_refresh, __ATOMIC_RELAXED))
		__atomic_store_n(&fault_wants_refresh, 1, __ATOMIC_RELAXED);
}

static int copy_guarded(u8 *to, u64 from, u32 size)
{
	u64 word;
	u32 byte;

	for (; size >= 8; size -= 8, to += 8, from += 8) {
		GUARD_LOAD64(word, from, fault);
		__builtin_memcpy(to, &word, 8);
	}
	for (; size; size--, to++, from++) {
		GUARD_LOAD8(byte, from, fault);
		*to = (u8)byte;
	}
	return 0;

fault:
	return -EFAULT;
}

/*
 * Looks at an 8-byte word through the kernel's eyes: -EFAULT when it cannot be read, -EINVAL when it can. rt_sigprocmask copies
 * its set before it looks at `how`, and with a `how` that does not exist it does nothing. No descriptor is needed, and
 * seccomp filters let it pass.
 */
static int probe_word(u64 address)
{
	return sys_rt_sigprocmask(INT32_MAX, ptr_from_u64(ALIGN_DOWN(address, (u64)8)), NULL);
}

static int read_probing(void *to, u64 from, u32 size)
{
	u64 end = from + size;

	for (u64 at = from; at < end; at = ALIGN_DOWN(at, (u64)PAGE) + PAGE) {
		if (probe_word(at) != -EINVAL)
			return -EFAULT;
	}
	return copy_guarded(to, from, size);
}

/* By system call: a bad address is an error, not a signal. */
static int read_by_kernel(void *to, u64 from, u32 size)
{
	struct iovec local = {to, size}, remote = {ptr_from_u64(from), size};
	long got;

	if (from + size < from)
		return -EFAULT;
	got = sys_process_vm_readv(sys_getpid(), &local, &remote);
	if (got == (long)size)
		return 0;
	if (got >= 0 || got == -EFAULT)
		return -EFAULT;
	return read_probing(to, from, size); /* a sandbox forbids it */
}

/*
 * NULL and what is read through it are by far the most frequent bad addresses, and the kernel's answer costs a microsecond.
 * Nobody maps that low (vm.mmap_min_addr), and who did before the snapshot is in it.
 */
static bool is_null_like(u64 address)
{
	const struct fault_snapshot *snapshot = __atomic_load_n(&fault_snapshot, __ATOMIC_ACQUIRE);

	return address < PAGE && snapshot && snapshot->count && snapshot->ranges[0].start >= PAGE;
}

static __attribute__((noinline)) int read_slowly(void *to, u64 from, u32 size)
{
	int err = is_null_like(from) ? -EFAULT : read_by_kernel(to, from, size);

	if (err)
		mem_zero(to, size);
	else
		note_new_mapping();
	return err;
}

int fault_read(void *to, u64 from, u32 size)
{
	u64 word;
	u32 half;

	if (!size)
		return 0;
	if (unlikely(!fault_snapshot_has(from, size) || !may_fault()))
		return read_slowly(to, from, size);
	switch (size) {
	case 8:
		GUARD_LOAD64(word, from, fault);
		__builtin_memcpy(to, &word, 8);
		return 0;
	case 4:
		GUARD_LOAD32(half, from, fault);
		__builtin_memcpy(to, &half, 4);
		return 0;
	case 2:
		GUARD_LOAD16(half, from, fault);
		__builtin_memcpy(to, &(u16){(u16)half}, 2);
		return 0;
	case 1:
		GUARD_LOAD8(half, from, fault);
		*(u8 *)to = (u8)half;
		return 0;
	default:
		if (!copy_guarded(to, from, size))
			return 0;
	}
fault:
	mem_zero(to, size);
	return -EFAULT;
}

u64 fault_load(u64 address, u32 size)
{
	u64 value = 0;

	fault_read(&value, address, size);
	return value;
}

static bool has_zero_byte(u64 word)
{
	return ((word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull) != 0;
}

/* Copies up to size bytes, through the NUL. Returns bytes copied with the NUL, 0 when there was none, -EFAULT. */
static int copy_string(char *to, u64 from, u32 size)
{
	u32 at = 0, byte;
	u64 word;

	while (at < size) {
		/* An aligned word never crosses into a page that the string does not reach. */
		if ((from + at) % 8 == 0 && size - at >= 8) {
			GUARD_LOAD64(word, from + at, fault);
			if (!has_zero_byte(word)) {
				__builtin_memcpy(to + at, &word, 8);
				at += 8;
				continue;
			}
		}
		GUARD_LOAD8(byte, from + at, fault);
		to[at++] = (char)byte;
		if (!byte)
			return (int)at;
	}
	return 0;

fault:
	return -EFAULT;
}

static int scan_string(const char *copy, u32 size)
{
	for (u32 at = 0; at < size; at++) {
		if (!copy[at])
			return (int)at + 1;
	}
	return 0;
}

int fault_read_str(char *to, u64 from, u32 size)
{
	bool plain = may_fault();
	u32 done = 0;

	/* Page by page: the string may end before memory does. */
	while (done < size) {
		u64 at = from + done;
		u32 chunk = MIN(size - done, PAGE - (u32)(at % PAGE));
		int length;

		if (plain && fault_snapshot_has(at, chunk)) {
			length = copy_string(to + done, at, chunk);
		} else {
			length = read_slowly(to + done, at, chunk);
			if (!length)
				length = scan_string(to + done, chunk);
		}
		if (length < 0) {
			mem_zero(to, size);
			return -EFAULT;
		}
		if (length)
			return (int)done + length;
		done += chunk;
	}
	if (size)
		to[size - 1] = 0;
	return (int)size;
}
