/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that are shown typed arguments, and trampolines that call the function. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>

#include "victims.h"

#define SLOT_ENTRY  1
#define SLOT_EXIT   2
#define SLOT_MODIFY 3
#define OPTNONE	    NOP_AT_ENTRY __attribute__((noinline))

/* What programs saw last, and in which order they ran. */
static struct hit entry_hit, exit_hit;
static u64 modify_to;
static char order[64];
static u32 order_length;

/* Programs change no vector register, as those of the JIT change none. */
#define PROGRAM __attribute__((target("general-regs-only"))) static

PROGRAM void note(char who)
{
	if (order_length + 1 < sizeof(order))
		order[order_length++] = who;
	order[order_length] = 0;
}

PROGRAM void keep(struct hit *to, const u64 *args)
{
	const u64 *from = args - offsetof(struct hit, regs) / 8;

	for (u32 i = 0; i < HIT_WORDS_BEFORE + SIGNATURE_MAX_SLOTS + 1; i++) {
		((u64 *)to)[i] = from[i];
		__asm__ volatile("" : : : "memory"); /* no memcpy */
	}
}

PROGRAM u64 at_entry(u64 *args)
{
	keep(&entry_hit, args);
	note('e');
	return 0;
}

PROGRAM u64 at_exit(u64 *args)
{
	keep(&exit_hit, args);
	note('x');
	return 0;
}

PROGRAM u64 at_modify(u64 *args)
{
	(void)args;
	note('m');
	return modify_to;
}

PROGRAM u64 at_second_modify(u64 *args)
{
	(void)args;
	note('M');
	return 0;
}

PROGRAM u64 at_regs(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	note('u');
	return 0;
}

PROGRAM u64 at_hooked_return(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	note('r');
	return 0;
}

/* "g0 v0 s1": general, vector, stack. */
static struct signature signature_of(const char *slots, u32 stack_words,
				     enum signature_return returns)
{
	struct signature signature = {
		.known = 1, .stack_words = (u8)stack_words, .returns = (u8)returns};

	for (const char *at = slots; *at; at += at[2] ? 3 : 2) {
		u32 number = (u32)(at[1] >= 'a' ? at[1] - 'a' + 10 : at[1] - '0');

		signature.slots[signature.slot_count++] = (u8)((*at == 'g'   ? SIGNATURE_GENERAL
								: *at == 'v' ? SIGNATURE_VECTOR
									     : SIGNATURE_STACK) +
							       number);
	}
	return signature;
}

static struct hook_attach typed(const void *function, enum hook_side side, u64 (*program)(u64 *),
				u32 slot, struct signature signature)
{
	struct hook_attach entry = attachment(nop_site(function), side, NULL, slot);

	entry.program.entry = ptr_to_u64((const void *)program);
	entry.program.ctx_words = ~0u;
	entry.signature = signature;
	return entry;
}

static struct hook_link *attach(const struct hook_attach *entries, u32 count)
{
	struct hook_link *link = NULL;
	u32 failed = 0;

	memset(&entry_hit, 0, sizeof(entry_hit));
	memset(&exit_hit, 0, sizeof(exit_hit));
	order_length = 0;
	order[0] = 0;
	CHECK_EQ(hook_attach_batch(entries, count, &nobody_runs, &link, &failed), 0);
	return link;
}

static struct hook_link *attach_both(const void *function, struct signature signature)
{
	struct hook_attach entries[] = {
		typed(function, HOOK_ENTRY, at_entry, SLOT_ENTRY, signature),
		typed(function, HOOK_EXIT, at_exit, SLOT_EXIT, signature),
	};

	return attach(entries, 2);
}

static void detach(struct hook_link *link)
{
	if (link)
		CHECK_EQ(hook_detach(link, &nobody_runs), 0);
}

/* ---- signatures ---- */

static OPTNONE int add_two(int a, int b)
{
	return a + b;
}

static void arguments_and_result_are_seen(void)
{
	struct signature signature = signature_of("g0 g1", 0, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)add_two, signature);

	CHECK_EQ(add_two(3, 4), 7);
	CHECK(!strcmp(order, "ex"));
	CHECK_EQ((int)entry_hit.regs[0], 3);
	CHECK_EQ((int)entry_hit.regs[1], 4);
	CHECK_EQ(entry_hit.arguments, 2 | HIT_TYPED);
	CHECK_EQ(entry_hit.func_ip, ptr_to_u64((void *)add_two));
	CHECK_EQ(entry_hit.cookie, 0x1122334455660000ull + SLOT_ENTRY);
	CHECK_EQ((int)exit_hit.regs[0], 3);
	CHECK_EQ((int)exit_hit.regs[1], 4);
	CHECK_EQ((int)exit_hit.regs[2], 7);
	CHECK_EQ(exit_hit.arguments, 2 | HIT_TYPED | HIT_HAS_RESULT);
	CHECK_EQ(exit_hit.func_ip, ptr_to_u64((void *)add_two));
	CHECK_EQ(exit_hit.return_address, entry_hit.return_address);
	detach(link);
	CHECK_EQ(add_two(3, 4), 7);
	CHECK(!strcmp(order, "ex"));
}

static OPTNONE long twelve(long a, long b, long c, long d, long e, long f, long g, long h, long i,
			   long j, long k, long l)
{
	/* Its own argument words are its to overwrite. */
	g += 1;
	__asm__ volatile("" : "+m"(g) : : "memory");
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * (g - 1) + 8 * h + 9 * i + 10 * j +
	       11 * k + 12 * l;
}

static void twelve_arguments_are_passed_on(void)
{
	struct signature signature =
		signature_of("g0 g1 g2 g3 g4 g5 s0 s1 s2 s3 s4 s5", 6, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)twelve, signature);

	CHECK_EQ(twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 650);
	for (u64 i = 0; i < 12; i++) {
		CHECK_EQ(entry_hit.regs[i], i + 1);
		CHECK_EQ(exit_hit.regs[i], i + 1);
	}
	CHECK_EQ(exit_hit.regs[12], 650);
	detach(link);
}

static OPTNONE double mixed(int a, double x, long b, float y, const char *text, double z)
{
	return a + x * 2 + (double)b + (double)y + z + text[0];
}

static u64 bits_of(double value)
{
	u64 bits;

	memcpy(&bits, &value, 8);
	return bits;
}

static void floating_arguments_are_seen(void)
{
	struct signature signature = signature_of("g0 v0 g1 v1 g2 v2", 0, SIGNATURE_FLOAT);
	struct hook_link *link = attach_both((void *)mixed, signature);
	const float y = 0.25f;
	u32 bits;

	CHECK(mixed(1, 2.5, 100, y, "A", 0.5) == 1 + 5 + 100 + 0.25 + 0.5 + 'A');
	memcpy(&bits, &y, 4);
	CHECK_EQ(entry_hit.regs[1], bits_of(2.5));
	CHECK_EQ((u32)entry_hit.regs[3], bits);
	CHECK_EQ(entry_hit.regs[5], bits_of(0.5));
	CHECK_EQ(exit_hit.regs[1], bits_of(2.5));
	CHECK_EQ(exit_hit.regs[6], bits_of(1 + 5 + 100 + 0.25 + 0.5 + 'A'));
	detach(link);
}

struct pair {
	long a;
	double b;
};

static OPTNONE struct pair swap_pair(struct pair pair, long c)
{
	return (struct pair){(long)pair.b + c, (double)pair.a};
}

static void small_structs_travel_in_registers(void)
{
	struct signature signature = signature_of("g0 v0 g1", 0, SIGNATURE_COMPOUND);
	struct hook_link *link = attach_both((void *)swap_pair, signature);
	struct pair result = swap_pair((struct pair){7, 2.0}, 5);

	CHECK_EQ(result.a, 7);
	CHECK(result.b == 7.0);
	CHECK_EQ(entry_hit.regs[0], 7);
	CHECK_EQ(entry_hit.regs[1], bits_of(2.0));
	CHECK_EQ(entry_hit.regs[2], 5);
	CHECK_EQ(exit_hit.regs[3], 7);
	detach(link);
}

static OPTNONE long double long_double(long double x, int a)
{
	return x * 2 + a;
}

static void long_double_survives(void)
{
	struct signature signature = signature_of("s0 s1 g0", 2, SIGNATURE_HIDDEN);
	struct hook_link *link = attach_both((void *)long_double, signature);

	CHECK(long_double(1.5L, 4) == 7.0L);
	CHECK_EQ((int)entry_hit.regs[2], 4);
	CHECK_EQ((int)exit_hit.regs[2], 4);
	detach(link);
}

static OPTNONE __int128 wide(__int128 x, bool flag)
{
	return flag ? x + 1 : x - 1;
}

static void int128_and_bool_survive(void)
{
	struct signature signature = signature_of("g0 g1 g2", 0, SIGNATURE_COMPOUND);
	struct hook_link *link = attach_both((void *)wide, signature);
	__int128 x = ((__int128)5 << 64) | 9;

	CHECK(wide(x, true) == x + 1);
	CHECK(wide(x, false) == x - 1);
	CHECK_EQ(entry_hit.regs[0], 9);
	CHECK_EQ(entry_hit.regs[1], 5);
	CHECK_EQ((u8)entry_hit.regs[2], 0);
	CHECK_EQ(exit_hit.regs[3], 8);
	detach(link);
}

struct big {
	long words[5];
};

static OPTNONE struct big make_big(long x)
{
	return (struct big){{x, x + 1, x + 2, x + 3, x + 4}};
}

static void results_in_memory_survive(void)
{
	struct signature signature = signature_of("g1", 0, SIGNATURE_MEMORY);
	struct hook_link *link = attach_both((void *)make_big, signature);
	struct big big = make_big(40);

	CHECK_EQ(big.words[0], 40);
	CHECK_EQ(big.words[4], 44);
	CHECK_EQ(entry_hit.regs[0], 40);
	CHECK_EQ(exit_hit.regs[0], 40);
	detach(link);
}

static OPTNONE int variadic(const char *format, ...)
{
	va_list args;
	double sum = 0;

	va_start(args, format);
	for (; *format; format++)
		sum += *format == 'd' ? va_arg(args, int) : va_arg(args, double);
	va_end(args);
	return (int)sum;
}

static void variadic_functions_are_entered_only(void)
{
	struct signature signature = signature_of("g0", 0, SIGNATURE_INTEGER);
	struct hook_attach entry =
		typed((void *)variadic, HOOK_ENTRY, at_entry, SLOT_ENTRY, signature);
	struct hook_attach exit = typed((void *)variadic, HOOK_EXIT, at_exit, SLOT_EXIT, signature);
	struct hook_link *link;
	u32 failed = 0;

	entry.signature.variadic = exit.signature.variadic = 1;
	CHECK_EQ(hook_attach_batch(&exit, 1, &nobody_runs, &link, &failed), -EINVAL);
	link = attach(&entry, 1);
	CHECK_EQ(variadic("dfdfdfdfdf", 1, 2.0, 3, 4.0, 5, 6.0, 7, 8.0, 9, 10.0), 55);
	CHECK(!strcmp(order, "e"));
	detach(link);
}

/* ---- what modifies ---- */

static void a_result_can_be_replaced(void)
{
	struct signature signature = signature_of("g0 g1", 0, SIGNATURE_INTEGER);
	struct hook_attach entries[] = {
		typed((void *)add_two, HOOK_MODIFY, at_modify, SLOT_MODIFY, signature),
		typed((void *)add_two, HOOK_MODIFY, at_second_modify, SLOT_MODIFY + 1, signature),
		typed((void *)add_two, HOOK_EXIT, at_exit, SLOT_EXIT, signature),
		typed((void *)add_two, HOOK_ENTRY, at_entry, SLOT_ENTRY, signature),
	};
	struct hook_link *link = attach(entries, 4);

	modify_to = 0;
	CHECK_EQ(add_two(3, 4), 7);
	CHECK(!strcmp(order, "emMx"));
	CHECK_EQ((int)exit_hit.regs[2], 7);
	order_length = 0;
	modify_to = (u64)-13;
	CHECK_EQ(add_two(3, 4), -13);
	CHECK(!strcmp(order, "emx"));
	CHECK_EQ((int)exit_hit.regs[0], 3);
	CHECK_EQ((int)exit_hit.regs[1], 4);
	CHECK_EQ(exit_hit.regs[2], (u64)-13);
	detach(link);
	CHECK_EQ(add_two(3, 4), 7);
}

static void all_kinds_share_a_site(void)
{
	struct signature signature = signature_of("g0 g1", 0, SIGNATURE_INTEGER);
	struct hook_attach entries[] = {
		attachment(nop_site((void *)add_two), HOOK_ENTRY, at_regs, 5),
		typed((void *)add_two, HOOK_ENTRY, at_entry, SLOT_ENTRY, signature),
		attachment(nop_site((void *)add_two), HOOK_RETURN, at_hooked_return, 6),
		typed((void *)add_two, HOOK_EXIT, at_exit, SLOT_EXIT, signature),
		typed((void *)add_two, HOOK_MODIFY, at_modify, SLOT_MODIFY, signature),
	};
	struct hook_link *link = attach(entries, 5);

	modify_to = 0;
	CHECK_EQ(add_two(3, 4), 7);
	CHECK(!strcmp(order, "uemxr"));
	order_length = 0;
	modify_to = 5;
	CHECK_EQ(add_two(3, 4), 5);
	CHECK(!strcmp(order, "uemxr"));
	modify_to = 0;
	detach(link);
}

static void another_signature_is_refused(void)
{
	struct signature signature = signature_of("g0 g1", 0, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)add_two, signature);
	struct hook_attach other = typed((void *)add_two, HOOK_EXIT, at_exit, 9,
					 signature_of("g0", 0, SIGNATURE_INTEGER));
	struct hook_link *second;
	u32 failed = 0;

	CHECK_EQ(hook_attach_batch(&other, 1, &nobody_runs, &second, &failed), -EBUSY);
	CHECK_EQ(add_two(1, 1), 2);
	detach(link);
}

/* ---- the function runs while programs come and go ---- */

static u32 inside, release;

static OPTNONE int sleeper(int a)
{
	__atomic_store_n(&inside, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&release, __ATOMIC_ACQUIRE))
		sched_yield();
	return a + 1;
}

static void *call_sleeper(void *unused)
{
	return (void *)(intptr_t)sleeper((int)(intptr_t)unused);
}

static pthread_t start_sleeper(void)
{
	pthread_t thread;

	inside = release = 0;
	pthread_create(&thread, NULL, call_sleeper, (void *)41);
	while (!__atomic_load_n(&inside, __ATOMIC_ACQUIRE))
		sched_yield();
	return thread;
}

static void join_sleeper(pthread_t thread)
{
	void *result;

	__atomic_store_n(&release, 1, __ATOMIC_RELEASE);
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, 42);
}

/* A thread inside the function holds up no detachment, and afterwards no program of ours runs. */
static void detaching_does_not_wait_for_the_function(void)
{
	struct signature signature = signature_of("g0", 0, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)sleeper, signature);
	pthread_t thread = start_sleeper();

	CHECK(!strcmp(order, "e"));
	detach(link);
	CHECK_EQ(hook_reap(), 0);
	join_sleeper(thread);
	CHECK(!strcmp(order, "e"));
}

/* Of two programs at the return, the one that went while the function ran is not called; the other is. */
static void a_program_that_went_meanwhile_is_skipped(void)
{
	struct signature signature = signature_of("g0", 0, SIGNATURE_INTEGER);
	struct hook_attach other =
		typed((void *)sleeper, HOOK_EXIT, at_second_modify, 7, signature);
	struct hook_link *first = attach_both((void *)sleeper, signature);
	struct hook_link *second = attach(&other, 1);
	pthread_t thread = start_sleeper();

	detach(first);
	CHECK_EQ(hook_reap(), 0);
	join_sleeper(thread);
	CHECK(!strcmp(order, "eM"));
	detach(second);
}

/* And one that came meanwhile sees the return, with the arguments of the entry. */
static void a_program_that_came_meanwhile_runs(void)
{
	struct signature signature = signature_of("g0", 0, SIGNATURE_INTEGER);
	struct hook_attach other =
		typed((void *)sleeper, HOOK_EXIT, at_second_modify, 7, signature);
	struct hook_attach exit = typed((void *)sleeper, HOOK_EXIT, at_exit, SLOT_EXIT, signature);
	struct hook_link *first = attach(&other, 1), *second;
	pthread_t thread = start_sleeper();

	second = attach(&exit, 1);
	join_sleeper(thread);
	CHECK(!strcmp(order, "Mx"));
	CHECK_EQ((int)exit_hit.regs[0], 41);
	CHECK_EQ((int)exit_hit.regs[1], 42);
	detach(second);
	detach(first);
}

static jmp_buf back;

static OPTNONE int jumper(int a)
{
	if (a)
		longjmp(back, 1);
	return a;
}

static void longjmp_out_of_the_function_is_harmless(void)
{
	struct signature signature = signature_of("g0", 0, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)jumper, signature);
	volatile int jumps = 0;

	if (setjmp(back))
		jumps++;
	if (jumps < 1000)
		jumper(1);
	order_length = 0;
	CHECK_EQ(jumper(0), 0);
	CHECK(!strcmp(order, "ex"));
	detach(link);
}

/* Left by one call, all caller-saved registers are those the function left. */
static void result_registers_are_those_of_the_function(void);

__asm__(".text\n.balign 16\n.type odd_results, @function\nodd_results:\n"
	".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"mov $11, %ecx\nmov $12, %esi\nmov $13, %edi\nmov $14, %r8d\nmov $15, %r9d\n"
	"mov $16, %r10d\nmov $17, %r11d\nmov $18, %edx\nmov $19, %eax\nret\n"
	".size odd_results, .-odd_results\n");
void odd_results(void);

static void result_registers_are_those_of_the_function(void)
{
	struct signature signature = signature_of("", 0, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)odd_results, signature);
	u64 ax, cx, dx, si, di, r8, r9, r10, r11;

	__asm__ volatile("call odd_results\n"
			 "mov %%r8, %[r8]\nmov %%r9, %[r9]\nmov %%r10, %[r10]\nmov %%r11, %[r11]\n"
			 : "=a"(ax), "=c"(cx), "=d"(dx), "=S"(si),
			   "=D"(di), [r8] "=m"(r8), [r9] "=m"(r9), [r10] "=m"(r10), [r11] "=m"(r11)
			 :
			 : "r8", "r9", "r10", "r11", "memory", "cc");
	CHECK(!strcmp(order, "ex"));
	CHECK_EQ(ax, 19);
	CHECK_EQ(dx, 18);
	CHECK_EQ(cx, 11);
	CHECK_EQ(si, 12);
	CHECK_EQ(di, 13);
	CHECK_EQ(r8, 14);
	CHECK_EQ(r9, 15);
	CHECK_EQ(r10, 16);
	CHECK_EQ(r11, 17);
	detach(link);
}

__asm__(".text\n.balign 16\n.type odd_arguments, @function\nodd_arguments:\n"
	".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
	"add %r10, %rax\nadd %r11, %rax\nadd %rcx, %rax\nadd %r9, %rax\nret\n"
	".size odd_arguments, .-odd_arguments\n");
void odd_arguments(void);

/* rax (vector registers of a variadic call), r10 (static chain) and r11 reach the function. */
static void hidden_arguments_reach_the_function(void)
{
	struct signature signature = signature_of("g0", 3, SIGNATURE_INTEGER);
	struct hook_link *link = attach_both((void *)odd_arguments, signature);
	u64 ax = 1000;

	__asm__ volatile("mov $1, %%r10d\nmov $20, %%r11d\nmov $300, %%ecx\nmov $4000, %%r9d\n"
			 "sub $256, %%rsp\ncall odd_arguments\nadd $256, %%rsp\n"
			 : "+a"(ax)
			 :
			 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
	CHECK_EQ(ax, 5321);
	CHECK(!strcmp(order, "ex"));
	detach(link);
}

static void as_many_programs_as_the_kernel_allows(void)
{
	struct signature signature = signature_of("g0 g1", 0, SIGNATURE_INTEGER);
	struct hook_attach entries[TRAMPOLINE_MAX_CALLS + 1];
	struct hook_link *link;
	u32 failed = 0;

	for (u32 i = 0; i <= TRAMPOLINE_MAX_CALLS; i++)
		entries[i] = typed((void *)add_two, HOOK_EXIT, at_exit, i, signature);
	link = attach(entries, TRAMPOLINE_MAX_CALLS);
	CHECK_EQ(add_two(1, 2), 3);
	CHECK_EQ(order_length, TRAMPOLINE_MAX_CALLS);
	detach(link);
	CHECK_EQ(hook_attach_batch(entries, TRAMPOLINE_MAX_CALLS + 1, &nobody_runs, &link, &failed),
		 -E2BIG);
	CHECK_EQ(failed, TRAMPOLINE_MAX_CALLS);
}

int main(void)
{
	RUN(arguments_and_result_are_seen);
	RUN(twelve_arguments_are_passed_on);
	RUN(floating_arguments_are_seen);
	RUN(small_structs_travel_in_registers);
	RUN(long_double_survives);
	RUN(int128_and_bool_survive);
	RUN(results_in_memory_survive);
	RUN(variadic_functions_are_entered_only);
	RUN(a_result_can_be_replaced);
	RUN(all_kinds_share_a_site);
	RUN(another_signature_is_refused);
	RUN(detaching_does_not_wait_for_the_function);
	RUN(a_program_that_went_meanwhile_is_skipped);
	RUN(a_program_that_came_meanwhile_runs);
	RUN(longjmp_out_of_the_function_is_harmless);
	RUN(result_registers_are_those_of_the_function);
	RUN(hidden_arguments_reach_the_function);
	RUN(as_many_programs_as_the_kernel_allows);
	return test_done();
}
