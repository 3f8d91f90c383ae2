/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does a probe cost the function it is on?
 *
 * Thread-CPU ns a call over the same function without a probe, for an empty BPF program (r0 = 0; exit) at entry, exit and
 * both, without a signature (uprobe, uretprobe) and with one (fentry, fexit, fmod_ret); beside a hand-written trampoline (saves six argument registers and calls an empty function) and, with root and a
 * kernel that has them, the kernel's uprobe and uretprobe with the same program. Rounds interleave the variants; the
 * value is the median over rounds, the spread half the distance between quartiles.
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

#define ROUNDS	     31
#define CALLS	     1000000
#define CALLS_KERNEL 20000

/*
 * Victims: a NOP of five bytes and ret, one a cache line. The floors have their branch built in. floor_exit takes the
 * return address as our exit probe does, with one word for a stack of returns.
 */
__asm__(".text\n"
	".macro victim name\n"
	".balign 64\n\\name:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n"
	".endm\n"
	"victim bare\nvictim probe_entry\nvictim probe_exit\nvictim probe_both\n"
	"victim kernel_entry\nvictim kernel_exit\nvictim probe_two\nvictim probe_eight\n"
	".balign 64\ntrap_entry:\nint3\nret\n"
	".balign 64\nfloor_guard:\njmp floor_guard_tramp\nfloor_guard_back:\nret\n"
	"victim probe_fentry\nvictim probe_fexit\nvictim probe_typed\nvictim probe_modify\n"
	".balign 64\nfloor_entry:\ncall floor_tramp\nret\n"
	".balign 64\nfloor_jump:\njmp floor_jump_tramp\nfloor_jump_back:\nret\n"
	".balign 64\nfloor_exit:\njmp floor_exit_tramp\nfloor_exit_back:\nret\n"
	".balign 64\nfloor_call:\njmp floor_call_tramp\nfloor_call_back:\nret\n"
	".balign 64\nempty:\nret\n"
	".macro save\npush %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\n.endm\n"
	".macro restore\npop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\n.endm\n"
	".balign 64\nfloor_tramp:\nsave\ncall empty\nrestore\nret\n"
	".balign 64\nfloor_jump_tramp:\nsub $8, %rsp\nsave\ncall empty\nrestore\nadd $8, %rsp\n"
	"jmp floor_jump_back\n"
	".balign 64\nfloor_guard_tramp:\nsub $8, %rsp\nsave\n"
	"mov floor_reader@gottpoff(%rip), %r11\nmov %fs:(%r11), %r11\nincq (%r11)\n"
	"testb $1, 8(%r11)\njnz 1f\norb $1, 8(%r11)\npush %r11\nsub $8, %rsp\ncall empty\n"
	"add $8, %rsp\npop %r11\nandb $0xfe, 8(%r11)\n1: decq (%r11)\n"
	"restore\nadd $8, %rsp\njmp floor_guard_back\n"
	".balign 64\nfloor_call_tramp:\nsub $8, %rsp\nsave\ncall empty\nrestore\n"
	"call floor_call_back\npush %rax\npush %rdx\ncall empty\npop %rdx\npop %rax\n"
	"add $8, %rsp\nret\n"
	".balign 64\nfloor_exit_tramp:\npop kept_return(%rip)\nlea floor_landing(%rip), %r11\n"
	"push %r11\njmp floor_exit_back\n"
	".balign 64\nfloor_landing:\npush %rax\npush %rdx\ncall empty\npop %rdx\npop %rax\n"
	"jmp *kept_return(%rip)\n"
	".local kept_return\n.comm kept_return, 8, 8\n");

extern const char bare[], probe_entry[], probe_exit[], probe_both[], kernel_entry[], kernel_exit[],
	probe_two[], probe_eight[], trap_entry[], floor_guard[], floor_entry[], floor_jump[],
	floor_exit[], floor_call[], probe_fentry[], probe_fexit[], probe_typed[], probe_modify[];

/* What the floor with a guard marks: nesting, and a bit a program. */
extern __thread u64 *floor_reader;
__thread u64 *floor_reader;

struct variant {
	const char *name;
	const char *function;
	int calls;
	bool available;
	double ns[ROUNDS];
};

static struct variant variants[] = {
	{"bare", bare, CALLS, true, {0}},
	{"floor entry (call)", floor_entry, CALLS, true, {0}},
	{"floor entry (jmp)", floor_jump, CALLS, true, {0}},
	{"inlay entry", probe_entry, CALLS, true, {0}},
	{"floor exit (return address taken)", floor_exit, CALLS, true, {0}},
	{"inlay exit", probe_exit, CALLS, true, {0}},
	{"inlay entry and exit", probe_both, CALLS, true, {0}},
	{"kernel uprobe", kernel_entry, CALLS_KERNEL, false, {0}},
	{"kernel uretprobe", kernel_exit, CALLS_KERNEL, false, {0}},
	{"inlay fentry", probe_fentry, CALLS, true, {0}},
	{"inlay fexit", probe_fexit, CALLS, true, {0}},
	{"floor entry and exit (function called)", floor_call, CALLS, true, {0}},
	{"inlay fentry and fexit", probe_typed, CALLS, true, {0}},
	{"inlay fmod_ret", probe_modify, CALLS, true, {0}},
	{"floor entry (jmp, reader and recursion guard)", floor_guard, CALLS, true, {0}},
	{"inlay entry, 2 programs", probe_two, CALLS, true, {0}},
	{"inlay entry, 8 programs", probe_eight, CALLS, true, {0}},
	{"int3 and SIGTRAP handler", trap_entry, CALLS_KERNEL, true, {0}},
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

static void print_row(const struct variant *variant)
{
	double over[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		over[i] = variant->ns[i] - (variant == variants ? 0 : variants[0].ns[i]);
	qsort(over, ROUNDS, sizeof(*over), compare);
	printf("{\"bench\":\"hook\",\"variant\":\"%s\",\"metric\":\"%s\",\"unit\":\"ns\",\"value\":%.3f,"
	       "\"spread\":%.3f}\n",
	       variant->name, variant == variants ? "per call" : "over bare", over[ROUNDS / 2],
	       (over[ROUNDS * 3 / 4] - over[ROUNDS / 4]) / 2);
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

static int attach(const struct exec_code *code)
{
	struct hook_program program = {.entry = ptr_to_u64((const void *)code->entry),
				       .slot = 0,
				       .clobbers = code->clobbers};
	const struct signature typed = {.known = 1,
					.slot_count = 2,
					.returns = SIGNATURE_INTEGER,
					.slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
	struct hook_attach entries[] = {
		{.site = nop_site(probe_entry), .side = HOOK_ENTRY, .program = program},
		{.site = nop_site(probe_exit), .side = HOOK_RETURN, .program = program},
		{.site = nop_site(probe_both), .side = HOOK_ENTRY, .program = program},
		{.site = nop_site(probe_both), .side = HOOK_RETURN, .program = program},
		{nop_site(probe_fentry), HOOK_ENTRY, program, typed, 0},
		{nop_site(probe_fexit), HOOK_EXIT, program, typed, 0},
		{nop_site(probe_typed), HOOK_ENTRY, program, typed, 0},
		{nop_site(probe_typed), HOOK_EXIT, program, typed, 0},
		{nop_site(probe_modify), HOOK_MODIFY, program, typed, 0},
	};
	struct hook_attach several[10];
	struct hook_link *link;
	int err;

	for (u32 i = 0; i < ARRAY_SIZE(several); i++) {
		several[i] = (struct hook_attach){.site = nop_site(i < 2 ? probe_two : probe_eight),
						  .side = HOOK_ENTRY,
						  .program = program};
		several[i].program.slot = i;
	}
	err = hook_attach_batch(entries, ARRAY_SIZE(entries), NULL, &link, NULL);
	return err ? err : hook_attach_batch(several, ARRAY_SIZE(several), NULL, &link, NULL);
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

/* The kernel's probe on this process alone. Stays until the program ends. */
static bool attach_kernel(const char *function, bool at_return)
{
	struct perf_event_attr attr;
	int type = uprobe_pmu(), program, event;

	if (type < 0)
		return false;
	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = (u32)type;
	attr.config = at_return;
	attr.uprobe_path = ptr_to_u64("/proc/self/exe");
	attr.probe_offset = file_offset(function);
	event = (int)sys_call5(__NR_perf_event_open, &attr, sys_getpid(), -1, -1,
			       PERF_FLAG_FD_CLOEXEC);
	program = load_into_kernel();
	return event >= 0 && program >= 0 &&
	       !sys_ioctl(event, PERF_EVENT_IOC_SET_BPF, (unsigned long)program) &&
	       !sys_ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
}

/* The instruction pointer is behind the breakpoint already: as if it had been a NOP. */
static void handle_trap(int number)
{
	(void)number;
}

int main(void)
{
	static u64 record[2];
	const struct exec_env env = {0};
	struct exec_code *code;
	struct image_header *image;
	int err;

	if (raw_image_create(empty_program, ARRAY_SIZE(empty_program), &image) ||
	    exec_compile(image, &env, ptr_to_u64(bare), false, &code)) {
		fprintf(stderr, "hook: cannot compile the empty program\n");
		return 1;
	}
	floor_reader = record;
	signal(SIGTRAP, handle_trap);
	err = attach(code);
	if (err) {
		fprintf(stderr, "hook: cannot attach: %s\n", strerror(-err));
		return 1;
	}
	variants[7].available = attach_kernel(kernel_entry, false);
	variants[8].available = attach_kernel(kernel_exit, true);
	for (int round = -1; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
			struct variant *variant = &variants[i];

			if (variant->available)
				variant->ns[round < 0 ? 0 : round] =
					time_calls(variant->function, variant->calls);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		if (variants[i].available)
			print_row(&variants[i]);
		else
			fprintf(stderr, "hook: %s: not available (needs root and uprobes)\n",
				variants[i].name);
	}
	return 0;
}
