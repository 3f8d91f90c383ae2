/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/safe.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RANGES  256
#define MAX_FRAMES  256
#define STACK_WORDS 4096

struct range {
	u64 start, end;
};

struct safe {
	struct process *process;
	Dwfl *dwfl;
	struct range ranges[MAX_RANGES]; /* code in which a thread may hold what dlopen wants */
	u32 range_count;
	struct range libc;
};

/* One walk over a thread's frames. */
struct walk {
	const struct safe *safe;
	u32 frames;
	bool unsafe;
	bool outside_libc; /* some frame is the program's own */
};

/*
 * Beside these and the dynamic linker: an agent that is there already. A thread is in its entry when a loader died over it.
 *
 * Allocators that take libc's place: while in them a thread may hold their locks.
 */
static const char *const allocators[] = {"libjemalloc", "libtcmalloc", "libmimalloc", "libhoard",
					 "librpmalloc", "libsnmalloc", "liblsan",     "libasan",
					 "libtsan",	"libduma",     "libefence"};

static const char *const malloc_family[] = {
	"malloc",
	"free",
	"calloc",
	"realloc",
	"memalign",
	"posix_memalign",
	"aligned_alloc",
	"valloc",
	"pvalloc",
	"reallocarray",
	"malloc_trim",
	"mallopt",
	"mallinfo",
	"mallinfo2",
	"malloc_stats",
	"malloc_info",
	"cfree",
	"__libc_malloc",
	"__libc_free",
	"__libc_calloc",
	"__libc_realloc",
	"__libc_memalign",
	"__libc_valloc",
	"__libc_pvalloc",
	"malloc_usable_size",
};

/* These hold the locks of stacks, of loaded objects, or all of the allocator's while they run. */
static const char *const lock_holders[] = {
	"fork",
	"_Fork",
	"__libc_fork",
	"vfork",
	"pthread_create",
	"pthread_join",
	"pthread_exit",
	"pthread_detach",
	"dlopen",
	"dlclose",
	"dlsym",
	"dlvsym",
	"dladdr",
	"dladdr1",
	"dlinfo",
	"dl_iterate_phdr",
	"dlmopen",
	"__libc_dlopen_mode",
	"setuid",
	"setgid",
	"seteuid",
	"setegid",
	"setreuid",
	"setregid",
	"setresuid",
	"setresgid",
	"setgroups",
	"__nptl_setxid",
	"pthread_attr_setstack",
	"pthread_getattr_np",
};

static bool listed(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; name && i < count; i++) {
		if (!strcmp(name, list[i]))
			return true;
	}
	return false;
}

static void add_range(struct safe *safe, u64 start, u64 end)
{
	if (safe->range_count < MAX_RANGES)
		safe->ranges[safe->range_count++] = (struct range){start, end};
}

static bool in_ranges(const struct safe *safe, u64 pc)
{
	for (u32 i = 0; i < safe->range_count; i++) {
		if (pc >= safe->ranges[i].start && pc < safe->ranges[i].end)
			return true;
	}
	return false;
}

/*
 * The allocator is one object file of libc; its inner functions have no names in a stripped library, and are entered by
 * tail calls. So everything between the named functions that surround the family belongs to it.
 */
static void add_malloc_hull(struct safe *safe, const struct binary_function *functions,
			    size_t count, u64 bias)
{
	size_t first = count, last = 0;

	for (size_t i = 0; i < count; i++) {
		if (!listed(functions[i].name, malloc_family, ARRAY_SIZE(malloc_family)))
			continue;
		first = MIN(first, i);
		last = MAX(last, i);
	}
	if (first == count)
		return;
	while (first > 0 && !functions[first - 1].name)
		first--;
	while (last + 1 < count && (!functions[last + 1].name ||
				    functions[last + 1].address == functions[last].address))
		last++;
	add_range(safe, bias + functions[first].address,
		  bias + functions[last].address + MAX(functions[last].size, 1));
}

static int add_functions(struct safe *safe, const struct process_module *module, bool is_libc)
{
	const struct binary_function *functions;
	struct binary *binary;
	size_t count;
	int error = process_binary(safe->process, module, &binary);

	if (error)
		return error;
	functions = binary_functions(binary, &count);
	if (is_libc)
		add_malloc_hull(safe, functions, count, module->bias);
	for (size_t i = 0; i < count; i++) {
		u64 start = module->bias + functions[i].address;

		if (!functions[i].size ||
		    (is_libc &&
		     !listed(functions[i].name, lock_holders, ARRAY_SIZE(lock_holders))) ||
		    (!is_libc &&
		     !listed(functions[i].name, malloc_family, ARRAY_SIZE(malloc_family))))
			continue;
		add_range(safe, start, start + functions[i].size);
	}
	return 0;
}

static bool is_allocator(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
		if (!strncmp(name, allocators[i], strlen(allocators[i])))
			return true;
	}
	return false;
}

static int find_elf(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
		    char **file_name, Elf **elf)
{
	(void)module, (void)userdata, (void)name, (void)base, (void)file_name, (void)elf;
	return -1; /* each module was reported with its descriptor */
}

static int find_debuginfo(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
			  const char *file_name, const char *debuglink, GElf_Word crc,
			  char **debuginfo_name)
{
	(void)module, (void)userdata, (void)name, (void)base, (void)file_name, (void)debuglink,
		(void)crc;
	(void)debuginfo_name;
	return -1; /* .eh_frame is enough */
}

static int report_modules(struct safe *safe)
{
	static const Dwfl_Callbacks callbacks = {.find_elf = find_elf,
						 .find_debuginfo = find_debuginfo};
	const struct process_module *modules;
	size_t count;

	safe->dwfl = dwfl_begin(&callbacks);
	if (!safe->dwfl)
		return -ENOMEM;
	modules = process_modules(safe->process, &count);
	dwfl_report_begin(safe->dwfl);
	for (size_t i = 0; i < count; i++) {
		int fd = process_open_module(safe->process, &modules[i]);

		if (fd < 0)
			continue;
		if (!dwfl_report_elf(safe->dwfl, modules[i].path, modules[i].path, fd,
				     modules[i].bias, true))
			close(fd);
	}
	dwfl_report_end(safe->dwfl, NULL, NULL);
	/* On failure threads are judged by their stacks' words alone. */
	if (dwfl_linux_proc_attach(safe->dwfl, process_facts(safe->process)->pid, true)) {
		dwfl_end(safe->dwfl);
		safe->dwfl = NULL;
	}
	return 0;
}

int safe_open(struct process *process, struct safe **ret_safe)
{
	const struct process_facts *facts = process_facts(process);
	const struct process_module *modules;
	struct safe *safe = calloc(1, sizeof(*safe));
	size_t count;
	int error = 0;

	if (!safe)
		return -ENOMEM;
	safe->process = process;
	modules = process_modules(process, &count);
	for (size_t i = 0; !error && i < count; i++) {
		const struct process_module *module = &modules[i];

		if (module == facts->interpreter || is_allocator(module->path) ||
		    strstr(module->path, "inlay-agent-"))
			add_range(safe, module->start, module->end);
		else if (module == facts->libc || module->is_exe)
			error = add_functions(safe, module, module == facts->libc);
		if (module == facts->libc)
			safe->libc = (struct range){module->start, module->end};
	}
	if (!error)
		error = report_modules(safe);
	if (error) {
		safe_close(safe);
		return error;
	}
	*ret_safe = safe;
	return 0;
}

void safe_close(struct safe *safe)
{
	if (!safe)
		return;
	if (safe->dwfl)
		dwfl_end(safe->dwfl);
	free(safe);
}

static int look_at_frame(Dwfl_Frame *frame, void *arg)
{
	struct walk *walk = arg;
	bool activation;
	Dwarf_Addr pc;

	if (!dwfl_frame_pc(frame, &pc, &activation))
		return DWARF_CB_ABORT;
	if (!activation)
		pc--;
	walk->frames++;
	walk->unsafe |= in_ranges(walk->safe, pc);
	walk->outside_libc |= pc < walk->safe->libc.start || pc >= walk->safe->libc.end;
	return walk->unsafe || walk->frames >= MAX_FRAMES ? DWARF_CB_ABORT : DWARF_CB_OK;
}

/* Where the stack cannot be walked: does any word on it look like a return address into such code? */
static bool stack_mentions_lock_holder(const struct safe *safe, u64 sp)
{
	static u64 words[STACK_WORDS];
	u32 have = 0;

	sp = ALIGN_DOWN(sp, 8);
	while (have < STACK_WORDS) {
		u64 from = sp + have * 8ull;
		u64 to = MIN(ALIGN_DOWN(from, 4096) + 4096, sp + sizeof(words));

		if (process_read(safe->process, from, words + have, to - from))
			break;
		have += (u32)((to - from) / 8);
	}
	for (u32 i = 0; i < have; i++) {
		if (in_ranges(safe, words[i]))
			return true;
	}
	return false;
}

bool safe_thread(struct safe *safe, pid_t tid, const sys_regs *regs)
{
	struct walk walk = {.safe = safe};
	int result = -1;

	if (in_ranges(safe, sys_regs_ip(regs)))
		return false;
	if (safe->dwfl)
		result = dwfl_getthread_frames(safe->dwfl, tid, look_at_frame, &walk);
	if (walk.unsafe)
		return false;
	/* A thread that libc is just starting or ending. */
	if (result == 0 && !walk.outside_libc && !sys_regs_in_call(regs))
		return false;
	return result == 0 || walk.frames >= MAX_FRAMES ||
	       !stack_mentions_lock_holder(safe, sys_regs_sp(regs));
}
