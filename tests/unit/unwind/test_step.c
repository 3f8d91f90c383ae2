/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A probed function is single-stepped by the trap flag; at every instruction of site, stub, image, programs and return path the trap's
 * handler compares the callers that our walker and _Unwind_Backtrace find with those of the unprobed function.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "../hook/victims.h"
#include "arch/arch.h"
#include "base/text.h"
#include "binary/binary.h"
#include "binary/process.h"
#include "hook/shadow.h"
#include "unwind/modules.h"
#include "unwind/register.h"
#include "unwind/walk.h"

#define DEPTH 64

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

static struct stack expected[2]; /* by our walker, by libgcc's */
static bool recording;
static unsigned long boundaries, in_generated, wrong[2];

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

static void on_trap(int number, siginfo_t *info, void *opaque)
{
	const ucontext_t *context = opaque;
	u64 ip = (u64)context->uc_mcontext.gregs[REG_RIP];
	struct stack found[2] = {0};

	(void)number;
	(void)info;
	walk_ours(context, &found[0]);
	_Unwind_Backtrace(note, &found[1]);
	boundaries++;
	in_generated += text_contains(ip);
	for (int i = 0; i < 2; i++) {
		if (recording && ip == ptr_to_u64((void *)stepped))
			keep_callers(&found[i], &expected[i]);
		if (!recording && !ends_as(&found[i], &expected[i])) {
			if (!wrong[i]++)
				printf("# %s is wrong first at %#llx, %d frames, want %d\n",
				       i ? "libgcc" : "ours", (unsigned long long)ip,
				       found[i].count, expected[i].count);
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

static u64 program(struct abi_pt_regs_x86_64 *regs)
{
	return regs->di;
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

static void step_probed(bool entry, bool at_return)
{
	struct hook_attach attach[2];
	struct hook_link *link = NULL;
	u32 count = 0, failed;

	if (entry)
		attach[count++] =
			attachment(prologue_site((void *)stepped), HOOK_ENTRY, program, 1);
	if (at_return)
		attach[count++] =
			attachment(prologue_site((void *)stepped), HOOK_RETURN, program, 2);
	boundaries = in_generated = wrong[0] = wrong[1] = 0;
	memset(expected, 0, sizeof(expected));
	/* All calls from one place: the callers are the same. */
	for (int i = 0; i < 4; i++) {
		recording = i == 0;
		if (i == 1)
			CHECK_EQ(hook_attach_batch(attach, count, &nobody_runs, &link, &failed), 0);
		if (i == 3)
			CHECK_EQ(hook_detach(link, &nobody_runs), 0);
		CHECK_EQ(call_through(2), 11);
	}
	CHECK(expected[0].count >= 6 && expected[1].count >= 6);
	printf("# %lu boundaries, %lu in generated code\n", boundaries, in_generated);
	CHECK(in_generated > 20);
	CHECK_EQ(wrong[0], 0);
	CHECK_EQ(wrong[1], 0);
}

static void callers_at_every_instruction_of_an_entry_probe(void)
{
	step_probed(true, false);
}

static void callers_at_every_instruction_of_an_exit_probe(void)
{
	step_probed(false, true);
}

static void callers_at_every_instruction_of_both(void)
{
	step_probed(true, true);
}

int main(void)
{
	RUN(set_up);
	RUN(callers_at_every_instruction_of_an_entry_probe);
	RUN(callers_at_every_instruction_of_an_exit_probe);
	RUN(callers_at_every_instruction_of_both);
	return test_done();
}
