/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does a probe cost the function it is on? bench/hook's own half: ours, hand-written floors, a trap, the kernel's.
 *
 * Thread-CPU ns a call over the same function without a probe, for an empty BPF program (r0 = 0; exit) at entry, exit and both,
 * without a signature (uprobe, uretprobe) and with one (fentry, fexit, fmod_ret), beside the trampolines of hook_floors.h and, with
 * root and a kernel that has them, the kernel's uprobe and uretprobe with the same program. Rounds interleave the variants, and
 * blocks of rounds ours and the kernel's, which are never attached together; the value is the median over rounds, the spread
 * half the distance between quartiles.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sys.h"
#include "exec/exec.h"
#include "exec/raw_image.h"
#include "hook/hook.h"
#include "hook_floors.h"

#define BLOCKS	     3
#define ROUNDS	     11
#define CALLS	     1000000
#define CALLS_KERNEL 20000

__asm__(".text\n"
	"victim bare\nvictim probe_entry\nvictim probe_exit\nvictim probe_both\n"
	"victim kernel_entry\nvictim kernel_exit\nvictim probe_two\nvictim probe_eight\n"
	"victim probe_fentry\nvictim probe_fexit\nvictim probe_typed\nvictim probe_modify\n"
	"victim exit_eight\n"
	".balign 64\ntrap_entry:\nint3\nret\n");

extern const char bare[], probe_entry[], probe_exit[], probe_both[], kernel_entry[], kernel_exit[],
	probe_two[], probe_eight[], exit_eight[], trap_entry[], probe_fentry[], probe_fexit[],
	probe_typed[], probe_modify[];

/* What a row is measured over: a function alone, or many called in turn. */
enum base {
	BASE_ONE,
	BASE_MANY,
};

struct variant {
	const char *name;
	const char *function;
	int calls;
	enum base base;
	double over[BLOCKS * ROUNDS];
};

#define ONE(name, function)                                                                        \
	{                                                                                          \
		name, function, CALLS, BASE_ONE,                                                   \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}
#define EACH_OF(name, function)                                                                    \
	{                                                                                          \
		name, function, CALLS / MANY, BASE_MANY,                                           \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}
#define BY_TRAP(name, function)                                                                    \
	{                                                                                          \
		name, function, CALLS_KERNEL, BASE_ONE,                                            \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

static struct variant bases[] = {ONE("bare", bare), EACH_OF("bare, 256 functions", call_many_bare)};

/* Those of a goal right behind their floor. */
static struct variant variants[] = {
	ONE("floor entry (call)", floor_entry),
	ONE("floor entry (jmp)", floor_jump),
	ONE("floor entry (call, reader and recursion guard)", floor_entry_guard),
	ONE("floor entry (jmp, reader and recursion guard)", floor_guard),
	ONE("inlay entry", probe_entry),
	ONE("inlay fentry", probe_fentry),
	ONE("inlay entry, 2 programs", probe_two),
	ONE("inlay entry, 8 programs", probe_eight),
	ONE("floor exit (return address taken)", floor_exit),
	ONE("floor exit (taken, reader and recursion guard)", floor_exit_guard),
	ONE("inlay exit", probe_exit),
	ONE("inlay exit, 8 programs", exit_eight),
	ONE("inlay entry and exit", probe_both),
	ONE("floor exit (called, reader and recursion guard)", floor_fexit_guard),
	ONE("inlay fexit", probe_fexit),
	ONE("inlay fmod_ret", probe_modify),
	ONE("floor both (called)", floor_call),
	ONE("floor both (called, reader and recursion guard)", floor_typed_guard),
	ONE("inlay fentry and fexit", probe_typed),
	EACH_OF("floor, 256 functions, a trampoline each", call_many_direct),
	EACH_OF("floor, 256 functions, per-site ops", call_many_ops),
	EACH_OF("floor, 256 functions, address looked up", call_many_lookup),
	EACH_OF("inlay entry, 256 functions, 1 program", call_many_probed),
	BY_TRAP("int3 and SIGTRAP handler", trap_entry),
};

/* Measured while nothing of ours is attached: neither side may see the other's bytes. */
static struct variant kernel_variants[] = {
	BY_TRAP("kernel uprobe", kernel_entry),
	BY_TRAP("kernel uretprobe", kernel_exit),
};

static double thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static __attribute__((noinline)) double time_calls(const char *function, int calls)
{
	double start = thread_ns();

	for (int i = 0; i < calls; i++)
		((void (*)(void))(uintptr_t)function)();
	return (thread_ns() - start) / calls;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_row(const struct variant *variant, const char *metric)
{
	const u32 count = BLOCKS * ROUNDS;
	double sorted[BLOCKS * ROUNDS];

	memcpy(sorted, variant->over, sizeof(sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	printf("{\"bench\":\"hook\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"ns\",\"value\":%.3f,"
	       "\"spread\":%.3f}\n",
	       variant->name, metric, sorted[count / 2],
	       (sorted[count * 3 / 4] - sorted[count / 4]) / 2);
}

static struct site_spec nop_site(const char *function)
{
	struct site_spec spec = {.function = ptr_to_u64(function), .kind = SITE_NOP};

	spec.address = spec.function;
	spec.displaced.site = spec.address;
	spec.displaced.length = 5;
	memcpy(spec.displaced.bytes, function, 5);
	return spec;
}

static int attach_many(const struct hook_program *program, struct hook_link **ret_link)
{
	static struct hook_attach many[MANY];

	for (u32 i = 0; i < MANY; i++)
		many[i] = (struct hook_attach){.site = nop_site(many_probed + 64 * i),
					       .side = HOOK_ENTRY,
					       .program = *program};
	return hook_attach_batch(many, MANY, NULL, ret_link, NULL);
}

static int attach_several(const struct hook_program *program, struct hook_link **ret_link)
{
	struct hook_attach several[18];

	for (u32 i = 0; i < ARRAY_SIZE(several); i++) {
		const char *function = i < 2 ? probe_two : i < 10 ? probe_eight : exit_eight;

		several[i] = (struct hook_attach){.site = nop_site(function),
						  .side = i < 10 ? HOOK_ENTRY : HOOK_RETURN,
						  .program = *program};
		several[i].program.slot = i;
	}
	return hook_attach_batch(several, ARRAY_SIZE(several), NULL, ret_link, NULL);
}

static int attach_single(const struct hook_program *program, struct hook_link **ret_link)
{
	const struct signature typed = {.known = 1,
					.slot_count = 2,
					.returns = SIGNATURE_INTEGER,
					.slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
	struct hook_attach entries[] = {
		{.site = nop_site(probe_entry), .side = HOOK_ENTRY, .program = *program},
		{.site = nop_site(probe_exit), .side = HOOK_RETURN, .program = *program},
		{.site = nop_site(probe_both), .side = HOOK_ENTRY, .program = *program},
		{.site = nop_site(probe_both), .side = HOOK_RETURN, .program = *program},
		{nop_site(probe_fentry), HOOK_ENTRY, *program, typed, 0},
		{nop_site(probe_fexit), HOOK_EXIT, *program, typed, 0},
		{nop_site(probe_typed), HOOK_ENTRY, *program, typed, 0},
		{nop_site(probe_typed), HOOK_EXIT, *program, typed, 0},
		{nop_site(probe_modify), HOOK_MODIFY, *program, typed, 0},
	};

	return hook_attach_batch(entries, ARRAY_SIZE(entries), NULL, ret_link, NULL);
}

static int attach(const struct exec_code *code)
{
	const struct hook_program program = {.entry = ptr_to_u64((const void *)code->entry),
					     .clobbers = code->clobbers};
	struct hook_link *link;
	int err = attach_single(&program, &link);

	err = err ? err : attach_several(&program, &link);
	return err ? err : attach_many(&program, &link);
}

/* The empty program, as the kernel and as we take it. */
static const struct bpf_insn empty_program[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
	{.code = BPF_JMP | BPF_EXIT},
};

static u64 file_offset(const char *function)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, offset, at = (unsigned long)function;
	char line[512];
	u64 found = 0;

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && at >= start &&
		    at < end)
			found = at - start + offset;
	}
	if (maps)
		fclose(maps);
	return found;
}

static int load_into_kernel(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_KPROBE;
	attr.insns = ptr_to_u64(empty_program);
	attr.insn_cnt = ARRAY_SIZE(empty_program);
	attr.license = ptr_to_u64("GPL");
	return (int)sys_call3(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int uprobe_pmu(void)
{
	FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
	int type = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &type) != 1)
		type = -1;
	fclose(file);
	return type;
}

/* The kernel's probe on this process alone: what to close, or -1. */
static int attach_kernel(const char *function, bool at_return)
{
	struct perf_event_attr attr;
	int type = uprobe_pmu(), program, event;

	if (type < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = (u32)type;
	attr.config = at_return;
	attr.uprobe_path = ptr_to_u64("/proc/self/exe");
	attr.probe_offset = file_offset(function);
	event = (int)sys_call5(__NR_perf_event_open, &attr, sys_getpid(), -1, -1,
			       PERF_FLAG_FD_CLOEXEC);
	program = load_into_kernel();
	if (event >= 0 && program >= 0 &&
	    !sys_ioctl(event, PERF_EVENT_IOC_SET_BPF, (unsigned long)program) &&
	    !sys_ioctl(event, PERF_EVENT_IOC_ENABLE, 0)) {
		sys_close(program);
		return event;
	}
	if (program >= 0)
		sys_close(program);
	if (event >= 0)
		sys_close(event);
	return -1;
}

/* The instruction pointer is behind the breakpoint already: as if it had been a NOP. */
static void handle_trap(int number)
{
	(void)number;
}

static double time_one(const struct variant *variant)
{
	double ns = time_calls(variant->function, variant->calls);

	return variant->base == BASE_MANY ? ns / MANY : ns;
}

static void measure(struct variant *of, u32 count, int round)
{
	double base[2];

	for (u32 i = 0; i < ARRAY_SIZE(bases); i++)
		bases[i].over[round] = base[i] = time_one(&bases[i]);
	for (u32 i = 0; i < count; i++)
		of[i].over[round] = time_one(&of[i]) - base[of[i].base];
}

/* The first round of a block warms up, and is written over. */
static void measure_block(struct variant *of, u32 count, int block)
{
	for (int round = -1; round < ROUNDS; round++)
		measure(of, count, block * ROUNDS + MAX(round, 0));
}

static bool measure_kernel(int block)
{
	int entry = attach_kernel(kernel_entry, false), exit = attach_kernel(kernel_exit, true);
	bool available = entry >= 0 && exit >= 0;

	if (available)
		measure_block(kernel_variants, ARRAY_SIZE(kernel_variants), block);
	if (entry >= 0)
		sys_close(entry);
	if (exit >= 0)
		sys_close(exit);
	return available;
}

int main(void)
{
	const struct exec_env env = {0};
	struct exec_code *code;
	struct image_header *image;
	bool kernel = true;

	if (raw_image_create(empty_program, ARRAY_SIZE(empty_program), &image) ||
	    exec_compile(image, &env, ptr_to_u64(bare), false, &code)) {
		fprintf(stderr, "hook: cannot compile the empty program\n");
		return 1;
	}
	floor_init();
	signal(SIGTRAP, handle_trap);
	for (int block = 0; block < BLOCKS; block++) {
		int err = attach(code);

		if (err) {
			fprintf(stderr, "hook: cannot attach: %s\n", strerror(-err));
			return 1;
		}
		measure_block(variants, ARRAY_SIZE(variants), block);
		hook_detach_all(NULL);
		kernel = kernel && measure_kernel(block);
	}
	for (u32 i = 0; i < ARRAY_SIZE(bases); i++)
		print_row(&bases[i], "per call");
	for (u32 i = 0; i < ARRAY_SIZE(variants); i++)
		print_row(&variants[i], "over bare");
	for (u32 i = 0; i < ARRAY_SIZE(kernel_variants) && kernel; i++)
		print_row(&kernel_variants[i], "over bare");
	if (!kernel)
		fprintf(stderr, "hook: no kernel uprobe, uretprobe: needs root and uprobes\n");
	return 0;
}
