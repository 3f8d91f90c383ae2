// SPDX-License-Identifier: BSD-2-Clause
#include "unwind/debugger.h"

#include <signal.h>

#include "base/arena.h"
#include "base/code_map.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/sys.h"
#include "unwind/symbol_file.h"

/* Names, layouts and numbers are the interface's: "JIT Compilation Interface" in gdb's manual. */
enum action {
	JIT_NOACTION,
	JIT_REGISTER_FN,
	JIT_UNREGISTER_FN,
};

struct jit_code_entry {
	struct jit_code_entry *next, *prev;
	const void *symfile_addr;
	u64 symfile_size;
};

struct jit_descriptor {
	u32 version;
	u32 action_flag; /* enum action */
	struct jit_code_entry *relevant_entry;
	struct jit_code_entry *first_entry;
};

extern volatile struct jit_descriptor __jit_debug_descriptor;
void __jit_debug_register_code(void);

__attribute__((used)) volatile struct jit_descriptor __jit_debug_descriptor = {.version = 1};

__attribute__((noinline, used)) void __jit_debug_register_code(void)
{
	cpu_compiler_barrier();
}

static struct unwind_hooked hooked;
static struct jit_code_entry entry;
/* How the function begins while no debugger has its breakpoint there. */
static u8 bare[4];

/*
 * A debugger that waits there: its trap must not find SIGTRAP blocked, as it is in our thread, or the kernel takes the program's handler
 * away. When nobody waits there is no trap to come, and the signal stays blocked.
 */
static void call_debugger(enum action action)
{
	const u64 trap = 1ull << (SIGTRAP - 1);
	bool watched = !mem_equal((const void *)__jit_debug_register_code, bare, sizeof(bare));
	u64 old;

	__jit_debug_descriptor.relevant_entry = &entry;
	__jit_debug_descriptor.action_flag = (u32)action;
	if (watched)
		sys_rt_sigprocmask(SIG_UNBLOCK, &trap, &old);
	__jit_debug_register_code();
	if (watched)
		sys_rt_sigprocmask(SIG_SETMASK, &old, NULL);
	__jit_debug_descriptor.action_flag = JIT_NOACTION;
}

static void take_back(void)
{
	void *file = (void *)(uintptr_t)entry.symfile_addr;

	if (!file)
		return;
	__jit_debug_descriptor.first_entry = NULL;
	call_debugger(JIT_UNREGISTER_FN);
	entry.symfile_addr = NULL;
	arena_free(file);
}

static void tell(const struct code_map *map)
{
	u64 size;
	void *file;

	take_back();
	file = map->count ? symbol_file_make(map, &hooked, &size) : NULL;
	if (!file)
		return;
	entry.symfile_addr = file;
	entry.symfile_size = size;
	cpu_compiler_barrier();
	__jit_debug_descriptor.first_entry = &entry;
	call_debugger(JIT_REGISTER_FN);
}

void debugger_init(const struct unwind_hooked *layout)
{
	hooked = *layout;
	if (!bare[0])
		mem_copy(bare, (const void *)__jit_debug_register_code, sizeof(bare));
	code_map_add_listener(tell);
}
