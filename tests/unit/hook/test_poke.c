/* SPDX-License-Identifier: BSD-2-Clause */
/* Text that changes while another thread executes it. INLAY_STRESS_SECONDS: how long each pair runs (default 1). */
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/proc_maps.h"
#include "base/sys.h"
#include "victims.h"

/*
 * A page of our own text, mapped from a file as a program's is, with one function at `offset`:
 *   site: nop5 | jmp to alternative
 *         add $1, eax; ret
 *   alternative: add $2, eax; ret
 */
struct page {
	u8 *text;
	u32 offset;
	u64 site, alternative;
};

static void put(u8 *at, const char *bytes, size_t size)
{
	memcpy(at, bytes, size);
}

static bool make_page(struct page *page, u32 offset)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	u8 content[8192];

	memset(content, 0xcc, sizeof(content));
	put(content + offset, "\x0f\x1f\x44\x00\x00\x83\xc0\x01\xc3", 9);
	put(content + 512, "\x83\xc0\x02\xc3", 4);
	if (fd < 0 || write(fd, content, sizeof(content)) != sizeof(content))
		return false;
	page->text = mmap(NULL, sizeof(content), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	close(fd);
	page->offset = offset;
	page->site = ptr_to_u64(page->text) + offset;
	page->alternative = ptr_to_u64(page->text) + 512;
	return page->text != MAP_FAILED;
}

static struct poke change(const struct page *page, enum poke_protocol protocol, bool to_jump)
{
	struct poke poke = {.address = page->site, .size = 5, .protocol = (u8)protocol};
	u8 *nop = to_jump ? poke.from : poke.to, *jump = to_jump ? poke.to : poke.from;

	CHECK_EQ(arch_host()->patch.encode(nop, PATCH_NOP, page->site, 0), 0);
	CHECK_EQ(arch_host()->patch.encode(jump, PATCH_JUMP, page->site, page->alternative), 0);
	return poke;
}

static int call(const struct page *page, int value)
{
	int result = value;

	__asm__ volatile("call *%1" : "+a"(result) : "r"(page->site) : "memory", "cc");
	return result;
}

static bool stop_running;
static u64 executions, wrong;

static void *execute(void *opaque)
{
	const struct page *page = opaque;
	u64 done = 0, bad = 0;

	while (!__atomic_load_n(&stop_running, __ATOMIC_RELAXED)) {
		int result = call(page, 0);

		done++;
		bad += result != 1 && result != 2;
	}
	executions += done;
	wrong += bad;
	return NULL;
}

static double seconds(void)
{
	const char *text = getenv("INLAY_STRESS_SECONDS");

	return text ? atof(text) : 1;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void torture(enum poke_protocol protocol, u32 offset)
{
	struct page page;
	pthread_t thread;
	double end;
	u64 toggles = 0;

	executions = wrong = 0;
	stop_running = false;
	CHECK(make_page(&page, offset));
	CHECK_EQ(pthread_create(&thread, NULL, execute, &page), 0);
	for (end = now() + seconds(); now() < end; toggles++) {
		struct poke poke = change(&page, protocol, toggles % 2 == 0);
		int err = poke_batch(&poke, 1, NULL, NULL);

		if (err) {
			CHECK_EQ(err, 0);
			break;
		}
	}
	__atomic_store_n(&stop_running, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	printf("# protocol %d offset %u: %llu executions, %llu toggles, %llu wrong\n", protocol,
	       offset, (unsigned long long)executions, (unsigned long long)toggles,
	       (unsigned long long)wrong);
	CHECK_EQ(wrong, 0);
	CHECK(executions > 1000 && toggles > 100);
	munmap(page.text, 8192);
}

static void word_changes_under_execution(void)
{
	torture(POKE_WORD, 0);
	torture(POKE_WORD, 2);
	torture(POKE_WORD, 59);
}

static void spin_changes_under_execution(void)
{
	torture(POKE_SPIN, 0);
	torture(POKE_SPIN, 4);
	torture(POKE_SPIN, 61);
	torture(POKE_SPIN, 62);
	torture(POKE_SPIN, 4094);
}

static void protocols_are_chosen_by_place(void)
{
	struct poke poke = {.size = 5};

	poke.address = 0x1000;
	CHECK_EQ(poke_choose(&poke), POKE_WORD);
	poke.address = 0x1003;
	CHECK_EQ(poke_choose(&poke), POKE_WORD);
	poke.address = 0x1004;
	CHECK_EQ(poke_choose(&poke), POKE_SPIN);
	poke.address = 0x1006;
	CHECK_EQ(poke_choose(&poke), POKE_SPIN);
	poke.address = 0x1007;
	CHECK_EQ(poke_choose(&poke), POKE_STOP);
	poke.address = 0x1000;
	poke.window = 7;
	CHECK_EQ(poke_choose(&poke), POKE_STOP);
}

static void what_a_place_does_not_admit_is_refused(void)
{
	struct page page;
	struct poke poke;
	u32 failed = 9;

	CHECK(make_page(&page, 4));
	poke = change(&page, POKE_WORD, true);
	CHECK_EQ(poke_batch(&poke, 1, NULL, &failed), -EOPNOTSUPP);
	CHECK_EQ(failed, 0);
	CHECK_EQ(call(&page, 0), 1);
	CHECK(make_page(&page, 7));
	poke = change(&page, POKE_SPIN, true);
	CHECK_EQ(poke_batch(&poke, 1, NULL, &failed), -EOPNOTSUPP);
	poke = change(&page, POKE_AUTO, true);
	CHECK_EQ(poke_batch(&poke, 1, NULL, &failed), -EOPNOTSUPP);
	CHECK_EQ(poke_batch(&poke, 1, &nobody_runs, &failed), 0);
	CHECK_EQ(call(&page, 0), 2);
}

static void a_batch_is_all_or_nothing(void)
{
	struct page pages[3];
	struct poke pokes[3];
	u32 failed = 9;

	for (u32 i = 0; i < 3; i++) {
		CHECK(make_page(&pages[i], i * 4));
		pokes[i] = change(&pages[i], POKE_AUTO, true);
	}
	pokes[2].from[4] ^= 1;
	CHECK_EQ(poke_batch(pokes, 3, NULL, &failed), -EBUSY);
	CHECK_EQ(failed, 2);
	CHECK_EQ(call(&pages[0], 0) + call(&pages[1], 0) + call(&pages[2], 0), 3);
	pokes[2].from[4] ^= 1;
	CHECK_EQ(poke_batch(pokes, 3, NULL, &failed), 0);
	CHECK_EQ(call(&pages[0], 0) + call(&pages[1], 0) + call(&pages[2], 0), 6);
	CHECK_EQ(poke_batch(pokes, 3, NULL, &failed), 1);
	munmap(pages[1].text, 8192);
	CHECK_EQ(poke_batch(pokes, 3, NULL, &failed), -EBUSY);
	CHECK_EQ(failed, 1);
}

static int refuse(void *opaque, const struct poke *pokes, u32 count)
{
	(void)pokes;
	(void)count;
	++*(int *)opaque;
	return -EAGAIN;
}

static void a_stop_that_fails_changes_nothing(void)
{
	int stops = 0;
	const struct poke_stopper stopper = {refuse, resume_nobody, &stops};
	struct page pages[2];
	struct poke pokes[2];
	u32 failed = 9;

	for (u32 i = 0; i < 2; i++) {
		CHECK(make_page(&pages[i], 0));
		pokes[i] = change(&pages[i], i ? POKE_STOP : POKE_AUTO, true);
	}
	CHECK_EQ(poke_batch(pokes, 2, &stopper, &failed), -EAGAIN);
	CHECK(stops > 1);
	CHECK_EQ(call(&pages[0], 0) + call(&pages[1], 0), 2);
}

/* Stops once, and never again. */
static int stop_once(void *opaque, const struct poke *pokes, u32 count)
{
	(void)pokes;
	(void)count;
	return ++*(int *)opaque == 1 ? 0 : -EAGAIN;
}

/* 100 sites take two stops. Going back needs none: each of them lies in a word. */
static void what_the_first_stop_wrote_is_taken_back(void)
{
	enum { SITES = 100 };
	static struct page pages[SITES];
	static struct poke pokes[SITES];
	int stops = 0, jumps = 0;
	const struct poke_stopper stopper = {stop_once, resume_nobody, &stops};

	for (u32 i = 0; i < SITES; i++) {
		CHECK(make_page(&pages[i], 0));
		pokes[i] = change(&pages[i], POKE_AUTO, true);
		pokes[i].window = 7;
	}
	CHECK_EQ(poke_batch(pokes, SITES, &stopper, NULL), -EAGAIN);
	CHECK(stops > 2);
	for (u32 i = 0; i < SITES; i++) {
		jumps += call(&pages[i], 0) == 2;
		munmap(pages[i].text, 8192);
	}
	CHECK_EQ(jumps, 0);
}

static void traps_need_permission(void)
{
	struct page page;
	struct poke poke;

	CHECK(make_page(&page, 7));
	poke = change(&page, POKE_TRAP, true);
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), -EOPNOTSUPP);
	CHECK_EQ(poke_allow_traps(true), 0);
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), 0);
	CHECK_EQ(call(&page, 0), 2);
	CHECK_EQ(poke_allow_traps(false), 0);
	poke = change(&page, POKE_AUTO, false);
	CHECK_EQ(poke_choose(&poke), POKE_STOP);
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), -EOPNOTSUPP);
}

static void trap_changes_under_execution(void)
{
	CHECK_EQ(poke_allow_traps(true), 0);
	torture(POKE_TRAP, 0);
	torture(POKE_TRAP, 7);
	torture(POKE_TRAP, 61);
	torture(POKE_TRAP, 4093);
	CHECK_EQ(poke_allow_traps(false), 0);
}

static volatile int traps_seen;
static volatile u64 trap_at;

static void program_handler(int signal, siginfo_t *info, void *frame)
{
	(void)signal;
	(void)info;
	traps_seen++;
	trap_at = (u64)((ucontext_t *)frame)->uc_mcontext.gregs[REG_RIP];
}

static void breakpoints_of_others_go_to_the_program(void)
{
	struct sigaction action = {.sa_sigaction = program_handler, .sa_flags = SA_SIGINFO}, now;
	struct page page;
	struct poke poke;
	u64 after;

	traps_seen = 0;
	sigaction(SIGTRAP, &action, NULL);
	CHECK_EQ(poke_allow_traps(true), 0);
	raise(SIGTRAP);
	CHECK_EQ(traps_seen, 1);
	__asm__ volatile("lea 1f(%%rip), %0\nint3\n1:" : "=r"(after) : : "memory");
	CHECK_EQ(traps_seen, 2);
	CHECK_EQ(trap_at, after);
	__asm__ volatile("lea 1f(%%rip), %0\n.byte 0xcd, 3\n1:" : "=r"(after) : : "memory");
	CHECK_EQ(traps_seen, 3);
	CHECK_EQ(trap_at, after);
	/* The program sets its handler again, in front of ours: the next poke is in front of it. */
	sigaction(SIGTRAP, &action, NULL);
	CHECK(make_page(&page, 7));
	poke = change(&page, POKE_TRAP, true);
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), 0);
	raise(SIGTRAP);
	CHECK_EQ(traps_seen, 4);
	CHECK_EQ(poke_allow_traps(false), 0);
	sigaction(SIGTRAP, NULL, &now);
	CHECK(now.sa_sigaction == program_handler);
	signal(SIGTRAP, SIG_DFL);
}

static void a_batch_synchronises_once_a_phase(void)
{
	enum { SITES = 512 };
	static struct page pages[SITES];
	static struct poke pokes[SITES];
	u64 before;

	for (u32 i = 0; i < SITES; i++) {
		CHECK(make_page(&pages[i], i % 8 == 7 ? 4 : i % 8));
		pokes[i] = change(&pages[i], POKE_AUTO, true);
	}
	before = poke_sync_count();
	CHECK_EQ(poke_batch(pokes, SITES, NULL, NULL), 0);
	CHECK(poke_sync_count() - before <= 3 * SITES / 256);
	CHECK(poke_sync_count() > before);
	for (u32 i = 0; i < SITES; i++) {
		CHECK_EQ(call(&pages[i], 0), 2);
		munmap(pages[i].text, 8192);
	}
}

static void the_vdso_is_refused(void)
{
	struct poke poke = {.address = getauxval(AT_SYSINFO_EHDR), .size = 5};

	if (!poke.address)
		SKIP("no vDSO here");
	memcpy(poke.from, ptr_from_u64(poke.address), 5);
	memset(poke.to, 0x90, 5);
	CHECK_EQ(poke_batch(&poke, 1, &nobody_runs, NULL), -EPERM);
}

/* Code of ours a long way from the test's, where sanitizers have programs map it: add $3, eax; ret. */
static u64 far_target(void)
{
	int fd = memfd_create("far", MFD_CLOEXEC);
	void *far;

	if (fd < 0 || write(fd, "\x83\xc0\x03\xc3", 4) != 4)
		return 0;
	far = mmap(ptr_from_u64(0x7e9000000000), 4096, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
	close(fd);
	return far == MAP_FAILED ? 0 : ptr_to_u64(far);
}

static void targets_out_of_reach_get_a_veneer(void)
{
	const struct poke_content nop = {PATCH_NOP, 0, NULL},
				  jump = {PATCH_JUMP, far_target(), NULL},
				  call_far = {PATCH_CALL, jump.target, NULL};
	struct poke to_jump, again, to_call;
	struct page page;

	CHECK(jump.target != 0);
	CHECK(make_page(&page, 0));
	CHECK_EQ(poke_describe(page.site, &nop, &jump, &to_jump), 0);
	CHECK_EQ(poke_describe(page.site, &nop, &jump, &again), 0);
	CHECK(!memcmp(to_jump.to, again.to, 5));
	CHECK_EQ(poke_describe(page.site, &jump, &call_far, &to_call), 0);
	CHECK_EQ(call(&page, 0), 1);
	CHECK_EQ(poke_batch(&to_jump, 1, NULL, NULL), 0);
	CHECK_EQ(call(&page, 0), 3);
	CHECK_EQ(poke_batch(&to_call, 1, NULL, NULL), 0);
	CHECK_EQ(call(&page, 0), 4);
}

/* The library was unloaded, and another one is there, between the look at the whole batch and the write. */
static int replace_page(void *opaque, const struct poke *pokes, u32 count)
{
	struct page *page = opaque;
	u8 *text = page->text;
	int fd = memfd_create("other", MFD_CLOEXEC);

	(void)pokes;
	(void)count;
	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	CHECK(mmap(text, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0) == text);
	close(fd);
	return 0;
}

static void a_mapping_that_was_replaced_is_not_written(void)
{
	struct page pages[3];
	struct poke pokes[3];
	const struct poke_stopper stopper = {replace_page, resume_nobody, &pages[1]};

	for (u32 i = 0; i < 3; i++) {
		CHECK(make_page(&pages[i], 4 * i));
		pokes[i] = change(&pages[i], i == 2 ? POKE_STOP : POKE_AUTO, true);
	}
	CHECK_EQ(poke_batch(pokes, 3, &stopper, NULL), -EBUSY);
	for (u32 i = 0; i < 3; i += 2)
		CHECK_EQ(call(&pages[i], 0), 1);
	for (u32 i = 0; i < 8192; i++)
		CHECK(pages[1].text[i] == 0);
}

/* As base/proc_maps.h tells it. */
static struct site_file file_at(u64 address)
{
	struct proc_mapping mapping;
	struct proc_maps maps;
	struct site_file file = {0};

	CHECK_EQ(proc_maps_open(&maps), 0);
	while (!file.inode && proc_maps_next(&maps, &mapping)) {
		if (address >= mapping.start && address < mapping.end)
			file = (struct site_file){mapping.device, mapping.inode,
						  mapping.offset + address - mapping.start};
	}
	proc_maps_close(&maps);
	CHECK(file.inode);
	return file;
}

/* Another file with the same bytes, or another place of the same: the address is not enough. */
static void a_copy_in_its_place_is_not_written(void)
{
	struct page page, copy;
	struct poke poke, back;
	u32 failed = 7;

	CHECK(make_page(&page, 16));
	CHECK(make_page(&copy, 16));
	poke = change(&page, POKE_AUTO, true);
	poke.file = file_at(page.site);
	back = change(&page, POKE_AUTO, false);
	back.file = poke.file;
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), 0);
	CHECK(poke_is_there(&back) && !poke_is_there(&poke));
	CHECK_EQ(poke_batch(&back, 1, NULL, NULL), 0);
	CHECK(mremap(copy.text, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, page.text) == page.text);
	CHECK_EQ(poke_batch(&poke, 1, NULL, &failed), -EBUSY);
	CHECK_EQ(failed, 0);
	CHECK(!memcmp(page.text + 16, poke.from, 5));
	CHECK(!poke_is_there(&poke));
	poke.file = file_at(page.site);
	CHECK_EQ(poke_batch(&poke, 1, NULL, NULL), 0);
	CHECK_EQ(call(&page, 0), 2);
}

static void *toggle_many(void *opaque)
{
	struct page *page = opaque;
	u64 good = 0;

	for (u32 i = 0; i < 2000; i++) {
		struct poke poke = change(page, POKE_SPIN, i % 2 == 0);

		good += poke_batch(&poke, 1, NULL, NULL) == 0;
	}
	return (void *)(uintptr_t)good;
}

static void patchers_take_turns(void)
{
	struct page pages[2];
	pthread_t threads[2];
	void *good;

	for (u32 i = 0; i < 2; i++) {
		CHECK(make_page(&pages[i], 4));
		CHECK_EQ(pthread_create(&threads[i], NULL, toggle_many, &pages[i]), 0);
	}
	for (u32 i = 0; i < 2; i++) {
		pthread_join(threads[i], &good);
		CHECK_EQ((uintptr_t)good, 2000);
		CHECK_EQ(call(&pages[i], 0), 1);
	}
}

int main(void)
{
	RUN(protocols_are_chosen_by_place);
	RUN(what_a_place_does_not_admit_is_refused);
	RUN(a_batch_is_all_or_nothing);
	RUN(a_stop_that_fails_changes_nothing);
	RUN(word_changes_under_execution);
	RUN(spin_changes_under_execution);
	RUN(what_the_first_stop_wrote_is_taken_back);
	RUN(traps_need_permission);
	RUN(trap_changes_under_execution);
	RUN(breakpoints_of_others_go_to_the_program);
	RUN(a_batch_synchronises_once_a_phase);
	RUN(the_vdso_is_refused);
	RUN(targets_out_of_reach_get_a_veneer);
	RUN(a_mapping_that_was_replaced_is_not_written);
	RUN(a_copy_in_its_place_is_not_written);
	RUN(patchers_take_turns);
	return test_done();
}
