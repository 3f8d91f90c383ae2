/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sync/percpu.h"
#include "victims.h"

static u64 entered, returned, word_at_sp;
static struct hit last;

static u64 note_entry(struct abi_pt_regs_x86_64 *regs)
{
	entered++;
	last = *hit_of(regs);
	word_at_sp = *(const u64 *)ptr_from_u64(regs->sp);
	return 0;
}

static u64 note_return(struct abi_pt_regs_x86_64 *regs)
{
	returned++;
	last = *hit_of(regs);
	return 0;
}

static NOP_AT_ENTRY long add_six(long a, long b, long c, long d, long e, long f)
{
	__asm__ volatile("" : : : "memory");
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}

PROLOGUE_VICTIM(displaced_victim, 0);

static const struct abi_pt_regs_x86_64 *last_regs(void)
{
	return (const struct abi_pt_regs_x86_64 *)(const void *)last.regs;
}

static struct hook_link *attach_one(struct hook_attach entry)
{
	struct hook_link *link = NULL;
	u32 failed = 0;

	CHECK_EQ(hook_attach_batch(&entry, 1, &nobody_runs, &link, &failed), 0);
	return link;
}

static void an_entry_probe_sees_arguments(void)
{
	struct hook_attach entry = attachment(nop_site((void *)add_six), HOOK_ENTRY, note_entry, 3);
	u64 hits = reader_hits(3);
	struct hook_link *link;
	u8 before[16];

	memcpy(before, (void *)add_six, 16);
	entered = 0;
	link = attach_one(entry);
	CHECK(memcmp(before, (void *)add_six, 16) != 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(entered, 1);
	CHECK_EQ(reader_hits(3) - hits, 1);
	CHECK_EQ(last_regs()->di, 1);
	CHECK_EQ(last_regs()->si, 2);
	CHECK_EQ(last_regs()->dx, 3);
	CHECK_EQ(last_regs()->cx, 4);
	CHECK_EQ(last_regs()->r8, 5);
	CHECK_EQ(last_regs()->r9, 6);
	CHECK_EQ(last_regs()->ip, entry.site.function);
	CHECK_EQ(last.func_ip, entry.site.function);
	CHECK_EQ(last.cookie, 0x1122334455660003ull);
	CHECK_EQ(last.return_address, word_at_sp);
	CHECK_EQ(hook_detach(link, &nobody_runs), 0);
	CHECK(memcmp(before, (void *)add_six, 16) == 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(entered, 1);
}

static void a_prologue_is_displaced(void)
{
	struct hook_attach entry =
		attachment(prologue_site((void *)displaced_victim), HOOK_ENTRY, note_entry, 0);
	struct hook_link *link;
	u32 failed = 7;
	u8 before[16];

	memcpy(before, (void *)displaced_victim, 16);
	entered = 0;
	CHECK_EQ(hook_attach_batch(&entry, 1, NULL, &link, &failed), -EOPNOTSUPP);
	CHECK_EQ(failed, 0);
	link = attach_one(entry);
	CHECK_EQ(displaced_victim(3, 4), 11);
	CHECK_EQ(entered, 1);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK(memcmp(before, (void *)displaced_victim, 16) == 0);
	CHECK_EQ(displaced_victim(3, 4), 11);
	CHECK_EQ(entered, 1);
}

static void a_return_probe_sees_the_result(void)
{
	struct hook_attach entry =
		attachment(nop_site((void *)add_six), HOOK_RETURN, note_return, 5);
	struct hook_link *link;

	returned = 0;
	link = attach_one(entry);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(returned, 1);
	CHECK_EQ(last_regs()->ax, 91);
	CHECK_EQ(last_regs()->ip, last.return_address);
	CHECK_EQ(last.func_ip, entry.site.function);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(returned, 1);
}

static u32 order[80], order_count;

#define ORDERED(n)                                                                                 \
	static u64 note_##n(struct abi_pt_regs_x86_64 *regs)                                       \
	{                                                                                          \
		(void)regs;                                                                        \
		order[order_count++] = n;                                                          \
		return 0;                                                                          \
	}
ORDERED(1)
ORDERED(2)
ORDERED(3)

static void programs_run_in_order_of_attachment(void)
{
	struct site_spec site = nop_site((void *)add_six);
	struct hook_attach entries[] = {
		attachment(site, HOOK_ENTRY, note_1, 1),
		attachment(site, HOOK_RETURN, note_2, 2),
		attachment(site, HOOK_ENTRY, note_3, 3),
	};
	struct hook_link *first, *second = NULL;
	u32 failed;

	order_count = 0;
	CHECK_EQ(hook_attach_batch(entries, 3, NULL, &first, &failed), 0);
	second = attach_one(attachment(site, HOOK_ENTRY, note_2, 4));
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(order_count, 4);
	CHECK(order[0] == 1 && order[1] == 3 && order[2] == 2 && order[3] == 2);
	CHECK_EQ(hook_detach(first, NULL), 0);
	order_count = 0;
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK(order_count == 1 && order[0] == 2);
	CHECK_EQ(hook_detach(second, NULL), 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(order_count, 1);
	CHECK_EQ(hook_reap(), 0);
}

static void a_site_takes_38_programs(void)
{
	struct hook_attach entries[39];
	struct hook_link *link;
	u32 failed = 0;
	u8 before[5];

	memcpy(before, (void *)add_six, 5);
	for (u32 i = 0; i < 39; i++)
		entries[i] = attachment(nop_site((void *)add_six), HOOK_ENTRY, note_1, i);
	CHECK_EQ(hook_attach_batch(entries, 39, NULL, &link, &failed), -E2BIG);
	CHECK_EQ(failed, 38);
	CHECK(memcmp(before, (void *)add_six, 5) == 0);
	CHECK_EQ(hook_attach_batch(entries, 38, NULL, &link, &failed), 0);
	order_count = 0;
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(order_count, 38);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK(memcmp(before, (void *)add_six, 5) == 0);
}

static NOP_AT_ENTRY int other_victim(int a)
{
	__asm__ volatile("" : : : "memory");
	return a + 1;
}

static void a_batch_that_fails_leaves_no_trace(void)
{
	struct hook_attach entries[] = {
		attachment(nop_site((void *)add_six), HOOK_ENTRY, note_1, 1),
		attachment(nop_site((void *)other_victim), HOOK_RETURN, note_2, 2),
		attachment(nop_site((void *)displaced_victim), HOOK_ENTRY, note_3, 3),
	};
	struct hook_link *kept, *link;
	u32 failed = 9;
	u8 before[5];

	memcpy(before, (void *)other_victim, 5);
	kept = attach_one(attachment(nop_site((void *)add_six), HOOK_ENTRY, note_3, 4));
	entries[2].site.displaced.bytes[1] ^=
		1; /* as if somebody had changed it since the file was read */
	CHECK_EQ(hook_attach_batch(entries, 3, &nobody_runs, &link, &failed), -EBUSY);
	CHECK_EQ(failed, 2);
	CHECK(memcmp(before, (void *)other_victim, 5) == 0);
	order_count = 0;
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6) + other_victim(1), 93);
	CHECK(order_count == 1 && order[0] == 3);
	CHECK_EQ(hook_detach(kept, NULL), 0);
}

static void overlapping_windows_have_one_owner(void)
{
	struct hook_attach whole =
		attachment(prologue_site((void *)displaced_victim), HOOK_ENTRY, note_1, 1);
	struct hook_attach inside = whole;
	struct hook_link *link = attach_one(whole), *none;
	u32 failed;

	inside.site.address += 4;
	CHECK_EQ(hook_owner(&inside.site), ptr_to_u64((void *)displaced_victim));
	CHECK_EQ(hook_attach_batch(&inside, 1, &nobody_runs, &none, &failed), -EBUSY);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK_EQ(hook_owner(&inside.site), 0);
}

static void foreign_bytes_are_not_overwritten(void)
{
	struct hook_attach entry =
		attachment(nop_site((void *)other_victim), HOOK_ENTRY, note_1, 1);
	struct hook_link *link = attach_one(entry);
	struct poke foreign = {.address = entry.site.address, .size = 5};
	u8 original[5];

	memcpy(original, entry.site.displaced.bytes, 5);
	memcpy(foreign.from, (void *)other_victim, 5);
	memcpy(foreign.to, "\x0f\x1f\x44\x00\x01", 5);
	CHECK_EQ(poke_batch(&foreign, 1, &nobody_runs, NULL), 0);
	CHECK_EQ(hook_detach(link, &nobody_runs), -EBUSY);
	CHECK(memcmp((void *)other_victim, foreign.to, 5) == 0);
	memcpy(foreign.from, original, 5);
	CHECK_EQ(other_victim(1), 2);
}

static void detach_all_restores_everything(void)
{
	struct hook_attach entries[] = {
		attachment(nop_site((void *)add_six), HOOK_ENTRY, note_1, 1),
		attachment(prologue_site((void *)displaced_victim), HOOK_RETURN, note_2, 2),
	};
	struct hook_link *link;
	u32 failed;

	CHECK_EQ(hook_attach_batch(entries, 2, &nobody_runs, &link, &failed), 0);
	attach_one(entries[0]);
	order_count = 0;
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6) + displaced_victim(1, 1), 94);
	CHECK_EQ(order_count, 3);
	CHECK_EQ(hook_detach_all(NULL), 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6) + displaced_victim(1, 1), 94);
	CHECK_EQ(order_count, 3);
	CHECK(memcmp(entries[0].site.displaced.bytes, (void *)add_six, 5) == 0);
	CHECK(memcmp(entries[1].site.displaced.bytes, (void *)displaced_victim, 7) == 0);
}

/* A program that changes every register it may, and a function that changes none. */
u64 change_registers(struct abi_pt_regs_x86_64 *regs);
void change_nothing(void);
void call_with_registers(u64 *registers, void (*function)(void));
__asm__(".text\n"
	"change_registers:\n"
	"mov $-1, %rax\nmov %rax, %rcx\nmov %rax, %rdx\nmov %rax, %rsi\nmov %rax, %rdi\n"
	"mov %rax, %r8\nmov %rax, %r9\nmov %rax, %r10\nmov %rax, %r11\nret\n"
	".balign 16\nchange_nothing:\n.byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nret\n"
	/* Loads rax rcx rdx rbx rbp rsi rdi r8..r15 from the array, calls, stores them back. */
	"call_with_registers:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\npush %rsi\n"
	"sub $8, %rsp\n"
	"mov %rdi, %rax\n"
	"mov 8(%rax), %rcx\nmov 16(%rax), %rdx\nmov 24(%rax), %rbx\nmov 32(%rax), %rbp\n"
	"mov 40(%rax), %rsi\nmov 48(%rax), %rdi\nmov 56(%rax), %r8\nmov 64(%rax), %r9\n"
	"mov 72(%rax), %r10\nmov 80(%rax), %r11\nmov 88(%rax), %r12\nmov 96(%rax), %r13\n"
	"mov 104(%rax), %r14\nmov 112(%rax), %r15\nmov 0(%rax), %rax\n"
	"call *8(%rsp)\n"
	"xchg %rax, 16(%rsp)\n"
	"mov %rcx, 8(%rax)\nmov %rdx, 16(%rax)\nmov %rbx, 24(%rax)\nmov %rbp, 32(%rax)\n"
	"mov %rsi, 40(%rax)\nmov %rdi, 48(%rax)\nmov %r8, 56(%rax)\nmov %r9, 64(%rax)\n"
	"mov %r10, 72(%rax)\nmov %r11, 80(%rax)\nmov %r12, 88(%rax)\nmov %r13, 96(%rax)\n"
	"mov %r14, 104(%rax)\nmov %r15, 112(%rax)\nmov 16(%rsp), %rcx\nmov %rcx, 0(%rax)\n"
	"add $24, %rsp\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

static void check_registers_survive(void)
{
	u64 registers[15];

	for (u32 i = 0; i < 15; i++)
		registers[i] = 0x0101010101010101ull * (i + 1);
	call_with_registers(registers, change_nothing);
	for (u32 i = 0; i < 15; i++)
		CHECK_EQ(registers[i], 0x0101010101010101ull * (i + 1));
}

static void every_register_survives(void)
{
	struct site_spec site = nop_site((void *)change_nothing);
	struct hook_link *entry = attach_one(attachment(site, HOOK_ENTRY, change_registers, 1));
	struct hook_link *both;

	check_registers_survive();
	both = attach_one(attachment(site, HOOK_RETURN, change_registers, 2));
	check_registers_survive();
	CHECK_EQ(hook_detach(entry, NULL), 0);
	check_registers_survive();
	CHECK_EQ(hook_detach(both, NULL), 0);
	check_registers_survive();
}

/* A program that says it changes rax alone: what it is given must still be kept, and nothing else is saved. */
u64 change_rax(struct abi_pt_regs_x86_64 *regs);
__asm__(".text\nchange_rax:\nxor %eax, %eax\nret\n");

static void registers_that_no_program_changes_survive(void)
{
	struct hook_attach entry =
		attachment(nop_site((void *)change_nothing), HOOK_ENTRY, change_rax, 40);
	struct hook_link *link;

	entry.program.clobbers = 1;
	entry.program.ctx_words = 0;
	entry.program.facts = 0;
	link = attach_one(entry);
	check_registers_survive();
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static int held_slot;

static u64 note_slot(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	held_slot = (int)percpu_slot();
	entered++;
	return 0;
}

static int holder_state; /* 1: the slot is taken; 2: may be given back */

static void *hold_slot(void *opaque)
{
	(void)opaque;
	CHECK_EQ(percpu_enter(), 0);
	__atomic_store_n(&holder_state, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&holder_state, __ATOMIC_ACQUIRE) != 2)
		sched_yield();
	percpu_leave();
	return NULL;
}

static void programs_with_percpu_maps_take_a_slot(void)
{
	struct hook_attach entry = attachment(nop_site((void *)add_six), HOOK_ENTRY, note_slot, 9);
	u64 missed = reader_missed(), hits = reader_hits(9);
	static u64 slots[1];
	struct hook_link *link;
	pthread_t holder;

	entry.program.facts = IMAGE_FACT_PERCPU;
	entry.program.clobbers = 1;
	percpu_set_table(slots, 1);
	link = attach_one(entry);
	entered = 0;
	pthread_create(&holder, NULL, hold_slot, NULL);
	while (__atomic_load_n(&holder_state, __ATOMIC_ACQUIRE) != 1)
		sched_yield();
	/* The only slot is another thread's: the run is missed, the function is right. */
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(entered, 0);
	CHECK_EQ(reader_missed() - missed, 1);
	CHECK_EQ(reader_hits(9) - hits, 0);
	CHECK_EQ(reader_self()->active, 0);
	__atomic_store_n(&holder_state, 2, __ATOMIC_RELEASE);
	pthread_join(holder, NULL);
	held_slot = -1;
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(entered, 1);
	CHECK_EQ(held_slot, 0);
	CHECK_EQ(slots[0], 0);
	CHECK_EQ(reader_hits(9) - hits, 1);
	CHECK_EQ(hook_detach(link, NULL), 0);
}

static u8 *map_text(u8 *at, const u8 *content, size_t size)
{
	int fd = memfd_create("text", MFD_CLOEXEC), flags = MAP_PRIVATE | (at ? MAP_FIXED : 0);
	u8 *text;

	CHECK_EQ(write(fd, content, size), (long)size);
	text = mmap(at, 4096, PROT_READ | PROT_EXEC, flags, fd, 0);
	close(fd);
	CHECK(text != MAP_FAILED);
	return text;
}

/* As dlclose and dlopen do: first the same library again, then another at its address. */
static void a_library_may_be_mapped_anew(void)
{
	static const u8 old[] = {0x0f, 0x1f, 0x44, 0x00, 0x00, 0xb8, 1, 0, 0, 0, 0xc3};
	static const u8 new[] = {0xb8, 2, 0, 0, 0, 0xc3};
	u8 *text = map_text(NULL, old, sizeof(old));
	struct hook_attach entry = attachment(nop_site(text), HOOK_ENTRY, note_entry, 1);
	struct hook_attach other = entry;
	int (*function)(void) = (int (*)(void))(uintptr_t)text;
	struct hook_link *first = attach_one(entry), *second;

	entered = 0;
	CHECK_EQ(function(), 1);
	map_text(text, old, sizeof(old));
	CHECK_EQ(function(), 1);
	CHECK_EQ(entered, 1);
	second = attach_one(entry);
	CHECK_EQ(function(), 1);
	CHECK_EQ(entered, 3);
	munmap(text, 4096);
	CHECK_EQ(hook_detach(first, NULL), 0);
	CHECK_EQ(hook_detach(second, NULL), -EBUSY);
	map_text(text, new, sizeof(new));
	other.site.kind = SITE_WHOLE;
	memcpy(other.site.displaced.bytes, new, 5);
	other.site.displaced.count = 1;
	other.site.displaced.insns[0].length = 5;
	first = attach_one(other);
	CHECK_EQ(function(), 2);
	CHECK_EQ(entered, 4);
	CHECK_EQ(hook_detach(first, NULL), 0);
	CHECK(memcmp(text, new, sizeof(new)) == 0);
	munmap(text, 4096);
}

int main(void)
{
	RUN(an_entry_probe_sees_arguments);
	RUN(a_prologue_is_displaced);
	RUN(a_return_probe_sees_the_result);
	RUN(programs_run_in_order_of_attachment);
	RUN(a_site_takes_38_programs);
	RUN(a_batch_that_fails_leaves_no_trace);
	RUN(overlapping_windows_have_one_owner);
	RUN(detach_all_restores_everything);
	RUN(every_register_survives);
	RUN(registers_that_no_program_changes_survive);
	RUN(programs_with_percpu_maps_take_a_slot);
	RUN(a_library_may_be_mapped_anew);
	RUN(foreign_bytes_are_not_overwritten);
	return test_done();
}
