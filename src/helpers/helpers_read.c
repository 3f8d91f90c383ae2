/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads of memory that may not be there.
 *
 * The six kernel names are two functions here: in user space the program, its context and its maps live in the very address
 * space that it inspects, so bpf_probe_read_kernel (what BPF_CORE_READ and PT_REGS_PARM1_CORE expand to) has to read
 * that space too. Addresses of the kernel's half are never readable: -EFAULT.
 */
#include "base/mem.h"
#include "exec/fault.h"
#include "helpers/call.h"

#include <errno.h>

static u64 read_memory(u64 to, u32 size, u64 from)
{
	if (!size)
		return 0;
	return helper_result(fault_read(ptr_from_u64(to), from, size));
}

static u64 read_string(u64 to, u32 size, u64 from)
{
	int length;

	if (!size)
		return 0;
	length = fault_read_str(ptr_from_u64(to), from, size);
	if (length < 0)
		mem_zero(ptr_from_u64(to), size);
	return helper_result(length);
}

HELPER_3(probe_read, to, size, from)
{
	return read_memory(to, (u32)size, from);
}

HELPER_3(probe_read_user, to, size, from)
{
	return read_memory(to, (u32)size, from);
}

HELPER_3(probe_read_kernel, to, size, from)
{
	return read_memory(to, (u32)size, from);
}

HELPER_3(probe_read_str, to, size, from)
{
	return read_string(to, (u32)size, from);
}

HELPER_3(probe_read_user_str, to, size, from)
{
	return read_string(to, (u32)size, from);
}

HELPER_3(probe_read_kernel_str, to, size, from)
{
	return read_string(to, (u32)size, from);
}
