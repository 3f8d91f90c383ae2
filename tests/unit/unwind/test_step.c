/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A probed function is single-stepped by the trap flag; at every instruction of site, stub, image, programs and return path the trap's
 * handler compares the callers that our walker and _Unwind_Backtrace find with those of the unprobed function.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "../exec/both_engines.h"
#include "../hook/victims.h"
#include "arch/arch.h"
#include "base/code_map.h"
#include "base/text.h"
#include "binary/binary.h"
#include "binary/process.h"
#include "format/tail.h"
#include "hook/shadow.h"
#include "unwind/modules.h"
#include "unwind/register.h"
#include "unwind/walk.h"

#define DEPTH 64

/* Sanitizers' own code is stepped through as well. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 32
#else
#define STRIDE 1
#endif

/*
 * libgcc sorts registered frames into memory that only its object for them points to, and ours lies in memory mapped by raw
 * calls, where LeakSanitizer does not look.
 */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:libgcc_s";
}

void __register_frame_info(const void *begin, void *object);
void *__deregister_frame_info(const void *begin);

/* As PROLOGUE_VICTIM, with call frame information. */
int stepped(int a, int b);
__asm__(".text\n.balign 64\n.globl stepped\n.type stepped, @function\nstepped:\n.cfi_startproc\n"
	"push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset 6, -16\nmov %rsp, %rbp\n.cfi_def_cfa_register 6\n"
	"lea (%rdi,%rsi,2), %eax\npop %rbp\n.cfi_def_cfa 7, 8\nret\n.cfi_endproc\n.size stepped, .-stepped\n");

struct stack {
	void *functions[DEPTH]; /* innermost first */
	int count;
};

/* Our walker from the interrupted instruction, the same from the handler's own frame, libgcc's from there. */
enum walker {
	FROM_INSTRUCTION,
	FROM_HANDLER,
	LIBGCC,
	WALKERS,
};

static const char *const walker_names[] = {"ours", "ours through the signal's frame", "libgcc"};
static struct stack expected[WALKERS];
static bool recording;
static unsigned long boundaries, in_generated, in_programs, wrong[WALKERS];
/* The handler is left by siglongjmp at this boundary; 0: never. */
static unsigned long leave_at;
static sigjmp_buf left;

static int read_word(u64 address, u64 *ret_word)
{
	*ret_word = *(const volatile u64 *)ptr_from_u64(address);
	return 0;
}

static u64 resolve(u64 slot, u64 value)
{
	return shadow_find(reader_self(), slot, value);
}

static void add(struct stack *stack, u64 pc)
{
	if (stack->count < DEPTH)
		stack->functions[stack->count++] = _Unwind_FindEnclosingFunction(ptr_from_u64(pc));
}

static void walk_ours(const ucontext_t *context, struct stack *stack)
{
	static const struct unwind_env env = {read_word, resolve};
	static const int order[UNWIND_REGS] = {REG_RSP, REG_RBP, REG_RBX, REG_R12,
					       REG_R13, REG_R14, REG_R15};
	struct unwind_frame frame = {.ip = (u64)context->uc_mcontext.gregs[REG_RIP], .exact = true};

	for (int i = 0; i < UNWIND_REGS; i++)
		frame.regs[i] = (u64)context->uc_mcontext.gregs[order[i]];
	add(stack, frame.ip + 1);
	while (stack->count < DEPTH && unwind_step(&env, &frame) > 0)
		add(stack, frame.exact ? frame.ip + 1 : frame.ip);
}

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
	int exact;
	u64 ip = _Unwind_GetIPInfo(context, &exact);

	add(arg, ip + (u64)exact);
	return ((struct stack *)arg)->count < DEPTH ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Do both name the same callers from the outermost in? */
static bool ends_as(const struct stack *stack, const struct stack *want)
{
	if (stack->count < want->count)
		return false;
	for (int i = 1; i <= want->count; i++) {
		if (stack->functions[stack->count - i] != want->functions[want->count - i])
			return false;
	}
	return true;
}

/* What was found at the function's first instruction, without the function and what is inside of it. */
static void keep_callers(const struct stack *stack, struct stack *to)
{
	int at = 0;

	while (at < stack->count && stack->functions[at] != (void *)stepped)
		at++;
	for (at++; at < stack->count; at++)
		to->functions[to->count++] = stack->functions[at];
}

static bool in_program(u64 ip)
{
	const struct code_range *range = code_map_find(ip);

	return range && !strncmp(range->name, "bpf_prog_", 9);
}

static void on_trap(int number, siginfo_t *info, void *opaque)
{
	const ucontext_t *context = opaque;
	u64 ip = (u64)context->uc_mcontext.gregs[REG_RIP];
	struct stack found[WALKERS] = {0};
	ucontext_t here;

	(void)number;
	(void)info;
	if (++boundaries == leave_at)
		siglongjmp(left, 1);
	if (leave_at)
		return;
	getcontext(&here);
	walk_ours(context, &found[FROM_INSTRUCTION]);
	walk_ours(&here, &found[FROM_HANDLER]);
	_Unwind_Backtrace(note, &found[LIBGCC]);
	in_generated += text_contains(ip);
	in_programs += in_program(ip);
	for (int i = 0; i < WALKERS; i++) {
		if (recording && ip == ptr_to_u64((void *)stepped))
			keep_callers(&found[i], &expected[i]);
		if (!recording && !ends_as(&found[i], &expected[i])) {
			if (!wrong[i]++)
				printf("# %s is wrong first at %#llx, %d frames, want %d\n",
				       walker_names[i], (unsigned long long)ip, found[i].count,
				       expected[i].count);
		}
	}
}

static __attribute__((noipa)) int step_over_call(void)
{
	int result;

	__asm__ volatile("pushfq\norl $0x100, (%%rsp)\npopfq" : : : "memory", "cc");
	result = stepped(3, 4);
	__asm__ volatile("pushfq\nandl $~0x100, (%%rsp)\npopfq" : : : "memory", "cc");
	return result;
}

static __attribute__((noipa)) int call_through(int depth)
{
	int result = depth ? call_through(depth - 1) : step_over_call();

	__asm__ volatile("" : : : "memory");
	return result;
}

static unsigned long helper_calls;

static u64 count_call(u64 a, u64 b, u64 c, u64 d, u64 e)
{
	(void)(a + b + c + d + e);
	helper_calls++;
	return 5;
}

static exec_helper_fn find_helper(u32 id)
{
	return id == BPF_FUNC_ktime_get_ns ? count_call : NULL;
}

static struct tail_target second;
static struct {
	struct tail_slots slots;
	struct tail_target *first_slot;
} tail_slots = {{1, 0}, &second};
static struct {
	u64 word;
	const void *slots;
} tail_map = {0, &tail_slots};

static const struct exec_env step_env = {.helper = find_helper, .tail_slots = 8};
static struct exec_code *codes[2];

static void compile_one(const struct bpf_insn *insns, u32 count, struct exec_code **ret_code)
{
	struct image_header *image;

	CHECK_EQ(raw_image_create(insns, count, &image), 0);
	memcpy(image->name, "stepped", 8);
	CHECK_EQ(exec_compile(image, &step_env, ptr_to_u64((void *)stepped), false, ret_code), 0);
	raw_image_free(image);
}

/*
 * Everything that moves a program's stack pointer: subprograms with and without a frame pointer, loads that may fault, calls of helpers by
 * number and through a register, and a tail call to another program.
 */
static void compile(void)
{
	struct bpf_insn callee[] = {
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, -16, 0),
		MOV_REG(9, 1),
		MOV_REG(1, 9),
		CALL(BPF_FUNC_ktime_get_ns),
		MOV_IMM(0, 0),
		EXIT,
	};
	struct bpf_insn caller[] = {
		MOV_REG(6, 1),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 5),
		CALL_SUB(8),
		MOV_REG(7, 0),
		MOV_REG(1, 6),
		LD_IMM64(2, ptr_to_u64(&tail_map)),
		MOV_IMM(3, 0),
		CALL(BPF_FUNC_tail_call),
		MOV_IMM(0, 0),
		EXIT,
		/* The subprogram: no stack of its own. */
		MOV_REG(8, 1),
		MOV_IMM(3, BPF_FUNC_ktime_get_ns),
		INSN(BPF_LDX | INSN_MODE_PROBE_MEM | BPF_DW, 2, 8, 0, 0),
		CALL(BPF_FUNC_ktime_get_ns),
		MOV_IMM(3, BPF_FUNC_ktime_get_ns),
		INSN(BPF_JMP | BPF_CALL | BPF_X, 3, 0, 0, 0),
		ALU64_REG(BPF_ADD, 0, 8),
		EXIT,
	};

	compile_one(callee, ARRAY_SIZE(callee), &codes[1]);
	second.entry = codes[1]->tail_entry;
	compile_one(caller, ARRAY_SIZE(caller), &codes[0]);
}

static void give_tables(void)
{
	const struct process_module *modules;
	struct process *process;
	struct binary *binary;
	struct stat st;
	size_t count;

	CHECK_EQ(process_open(getpid(), &process), 0);
	modules = process_modules(process, &count);
	for (size_t i = 0; i < count; i++) {
		struct unwind_module module = {modules[i].start, modules[i].end, modules[i].bias,
					       NULL, 0};
		int fd = process_binary(process, &modules[i], &binary) ? -1
								       : binary_unwind_fd(binary);

		if (fd < 0 || fstat(fd, &st))
			continue;
		module.size = (size_t)st.st_size;
		module.table = mmap(NULL, module.size, PROT_READ, MAP_SHARED, fd, 0);
		CHECK_EQ(unwind_modules_add(&module), 0);
	}
	process_close(process);
}

static void set_up(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	struct shadow_layout layout;

	give_tables();
	shadow_layout(&layout);
	unwind_register_init(&(struct unwind_hooked){layout.list, layout.top, layout.entries,
						     layout.entry_size, layout.slot, layout.target,
						     layout.landing});
	unwind_register_runtime(
		&(struct unwind_runtime){ptr_to_u64((void *)__register_frame_info),
					 ptr_to_u64((void *)__deregister_frame_info)});
	sigaction(SIGTRAP, &action, NULL);
}

/* entry, at return: registers as context; typed ones beside them have the signature int(int, int). */
enum probes {
	AT_ENTRY = 1,
	AT_RETURN = 2,
	TYPED_ENTRY = 4,
	TYPED_EXIT = 8,
	TYPED_MODIFY = 16,
};

static u32 list_probes(u32 probes, struct hook_attach *attach)
{
	static const enum hook_side sides[] = {HOOK_ENTRY, HOOK_RETURN, HOOK_ENTRY, HOOK_EXIT,
					       HOOK_MODIFY};
	u32 count = 0;

	for (u32 i = 0; i < ARRAY_SIZE(sides); i++) {
		struct hook_attach *to = &attach[count];

		if (!(probes >> i & 1))
			continue;
		*to = attachment(prologue_site((void *)stepped), sides[i], NULL, i + 1);
		to->program.entry = ptr_to_u64((void *)codes[0]->entry);
		if (i > 1)
			to->signature = (struct signature){
				.known = 1,
				.slot_count = 2,
				.stack_words =
					3, /* whatever they hold: copies are one more thing to step through */
				.returns = SIGNATURE_INTEGER,
				.slots = {SIGNATURE_GENERAL, SIGNATURE_GENERAL + 1}};
		count++;
	}
	return count;
}

/* Calls it under single steps: before, with the probes attached, and after. All from one place: the callers are the same. */
static void step_probed(u32 probes)
{
	struct hook_attach attach[5];
	u32 count = list_probes(probes, attach), failed;
	struct hook_link *link = NULL;

	boundaries = in_generated = in_programs = helper_calls = 0;
	memset(wrong, 0, sizeof(wrong));
	memset(expected, 0, sizeof(expected));
	for (int i = 0; i < 4; i++) {
		recording = i == 0;
		if (i == 1)
			CHECK_EQ(hook_attach_batch(attach, count, &nobody_runs, &link, &failed), 0);
		if (i == 3)
			CHECK_EQ(hook_detach(link, &nobody_runs), 0);
		CHECK_EQ(call_through(2), 11);
	}
	printf("# %lu boundaries: %lu in sites' code, %lu in programs\n", boundaries,
	       in_generated - in_programs, in_programs);
	CHECK(in_generated - in_programs > 20 && in_programs > 30);
	/* Three of each program, in each of two calls. */
	CHECK_EQ(helper_calls, count * 3 * 2);
	for (int i = 0; i < WALKERS; i++) {
		CHECK(expected[i].count >= 6);
		CHECK_EQ(wrong[i], 0);
	}
}

static void callers_at_every_instruction_of_an_entry_probe(void)
{
	step_probed(AT_ENTRY);
}

static void callers_at_every_instruction_of_an_exit_probe(void)
{
	step_probed(AT_RETURN);
}

static void callers_at_every_instruction_of_both(void)
{
	step_probed(AT_ENTRY | AT_RETURN);
}

static void callers_at_every_instruction_of_a_typed_entry(void)
{
	step_probed(TYPED_ENTRY);
}

static void callers_at_every_instruction_of_a_typed_exit(void)
{
	step_probed(TYPED_EXIT);
}

static void callers_at_every_instruction_of_everything(void)
{
	step_probed(AT_ENTRY | AT_RETURN | TYPED_ENTRY | TYPED_EXIT | TYPED_MODIFY);
}

/* One call, left at a boundary. Returns whether there was such a one. */
static bool call_and_leave(unsigned long at)
{
	leave_at = at;
	boundaries = 0;
	if (!sigsetjmp(left, 1))
		call_through(2);
	leave_at = 0;
	return boundaries == at;
}

/*
 * Between those calls others run to their end. The program that was left may miss them, and counts that, while its frame is whole: it may
 * yet be gone on with. From where it was left from it runs again.
 */
static void a_handler_at_any_instruction_may_not_return(void)
{
	struct hook_attach attach[5];
	u32 count = list_probes(~0u, attach), failed;
	struct hook_link *link = NULL;
	unsigned long at = STRIDE;

	memset(wrong, 0, sizeof(wrong));
	memset(expected, 0, sizeof(expected));
	recording = true;
	call_through(2);
	recording = false;
	CHECK_EQ(hook_attach_batch(attach, count, &nobody_runs, &link, &failed), 0);
	for (; call_and_leave(at); at += STRIDE) {
		u64 missed = reader_missed();

		helper_calls = 0;
		CHECK_EQ(stepped(3, 4), 11);
		missed = reader_missed() - missed;
		CHECK_EQ(helper_calls + 3 * missed, count * 3);
		CHECK(missed <= 1);
		if (at % 64)
			continue;
		helper_calls = 0;
		CHECK_EQ(call_through(2), 11);
		CHECK_EQ(helper_calls, count * 3);
	}
	printf("# left at %lu boundaries\n", at / STRIDE - 1);
	CHECK(at > 500);
	for (int i = 0; i < WALKERS; i++)
		CHECK_EQ(wrong[i], 0);
	CHECK_EQ(hook_detach(link, &nobody_runs), 0);
	CHECK_EQ(stepped(3, 4), 11);
	CHECK_EQ(hook_reap(), 0);
}

int main(void)
{
	RUN(set_up);
	RUN(compile);
	RUN(callers_at_every_instruction_of_an_entry_probe);
	RUN(callers_at_every_instruction_of_an_exit_probe);
	RUN(callers_at_every_instruction_of_both);
	RUN(callers_at_every_instruction_of_a_typed_entry);
	RUN(callers_at_every_instruction_of_a_typed_exit);
	RUN(callers_at_every_instruction_of_everything);
	RUN(a_handler_at_any_instruction_may_not_return);
	return test_done();
}
