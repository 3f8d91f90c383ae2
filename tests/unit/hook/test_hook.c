/* SPDX-License-Identifier: BSD-2-Clause */
#include "victims.h"

static u64 entries, returns, word_at_sp;
static struct hit last;

static u64 note_entry(struct abi_pt_regs_x86_64 *regs)
{
	entries++;
	last = *hit_of(regs);
	word_at_sp = *(const u64 *)ptr_from_u64(regs->sp);
	return 0;
}

static u64 note_return(struct abi_pt_regs_x86_64 *regs)
{
	returns++;
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
	entries = 0;
	link = attach_one(entry);
	CHECK(memcmp(before, (void *)add_six, 16) != 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(entries, 1);
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
	CHECK_EQ(entries, 1);
}

static void a_prologue_is_displaced(void)
{
	struct hook_attach entry =
		attachment(prologue_site((void *)displaced_victim), HOOK_ENTRY, note_entry, 0);
	struct hook_link *link;
	u32 failed = 7;
	u8 before[16];

	memcpy(before, (void *)displaced_victim, 16);
	entries = 0;
	CHECK_EQ(hook_attach_batch(&entry, 1, NULL, &link, &failed), -EOPNOTSUPP);
	CHECK_EQ(failed, 0);
	link = attach_one(entry);
	CHECK_EQ(displaced_victim(3, 4), 11);
	CHECK_EQ(entries, 1);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK(memcmp(before, (void *)displaced_victim, 16) == 0);
	CHECK_EQ(displaced_victim(3, 4), 11);
	CHECK_EQ(entries, 1);
}

static void a_return_probe_sees_the_result(void)
{
	struct hook_attach entry =
		attachment(nop_site((void *)add_six), HOOK_RETURN, note_return, 5);
	struct hook_link *link;

	returns = 0;
	link = attach_one(entry);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(returns, 1);
	CHECK_EQ(last_regs()->ax, 91);
	CHECK_EQ(last_regs()->ip, last.return_address);
	CHECK_EQ(last.func_ip, entry.site.function);
	CHECK_EQ(hook_detach(link, NULL), 0);
	CHECK_EQ(add_six(1, 2, 3, 4, 5, 6), 91);
	CHECK_EQ(returns, 1);
}

int main(void)
{
	RUN(an_entry_probe_sees_arguments);
	RUN(a_prologue_is_displaced);
	RUN(a_return_probe_sees_the_result);
	return test_done();
}
