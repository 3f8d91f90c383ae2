// SPDX-License-Identifier: BSD-2-Clause
/*
 * Text is read and written through /proc/PID/mem: its pages keep their file, nothing becomes writable, and an address that
 * has been unmapped is an error, not a fault.
 *
 * A word is written by one pwrite of 8 aligned bytes. The kernel copies it to the page with its memcpy: movq, or rep movsb
 * on processors that have it fast for short copies. Neither was seen torn by another core (AMD Zen 4: 0 of 1.5e10 loads
 * during 6e6 writes), and tests/unit/hook/test_poke executes the word while it changes. An instruction that is written
 * wholly inside such a word is therefore seen old or new.
 *
 * State of one chunk, with sync = membarrier(SYNC_CORE):
 *
 *   phase | word sites   | spin and trap sites                | stop sites
 *   0     |              |                                    | threads stopped, bytes written, threads resumed
 *   1     | word written | barrier in place of the head; sync |
 *   2     |              | tail; sync                         |
 *   3     |              | head; sync                         |
 *
 * The barrier is a jump to itself, or a breakpoint.
 */
#include "hook/poke.h"

#include <errno.h>

#include "arch/trap.h"
#include "base/mem.h"
#include "base/proc_maps.h"
#include "base/self_mem.h"
#include "base/sys.h"
#include "hook/poke_fork.h"
#include "hook/poke_trap.h"
#include "sync/reader.h"

/* Sites whose spinning threads wait for one another's phases. */
#define CHUNK 256

/* Sites that are written in one stop: it has to be over in two milliseconds. */
#define STOP_CHUNK 64

/* How often threads are stopped anew because one could not be moved, and how long lies between. */
#define STOP_TRIES    50
#define STOP_PAUSE_NS 1000000

static u32 poke_lock; /* process id of the holder */
static bool traps_allowed;
static u64 syncs;

/* Held by the thread of a parent when this process was forked, it is nobody's here. */
static void lock(void)
{
	u32 self = (u32)sys_getpid(), holder = 0;

	while (!__atomic_compare_exchange_n(&poke_lock, &holder, self, false, __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED)) {
		if (holder != self)
			continue;
		holder = 0;
		sys_sched_yield();
	}
}

static void unlock(void)
{
	__atomic_store_n(&poke_lock, 0, __ATOMIC_RELEASE);
}

static int sync_all(void)
{
	__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
	return sync_core();
}

u64 poke_sync_count(void)
{
	return __atomic_load_n(&syncs, __ATOMIC_RELAXED);
}

int poke_allow_traps(bool allow)
{
	int err = 0;

	if (!TRAP_SIZE)
		return -EOPNOTSUPP;
	lock();
	if (allow)
		err = trap_install();
	else
		trap_remove();
	traps_allowed = allow && !err;
	unlock();
	return err;
}

static bool in_one_word(u64 address, u32 size)
{
	return (address & 7) + size <= 8;
}

static bool admits_spin(const struct poke *poke)
{
	u32 head = arch_host()->limits.spin_size;

	return head && poke->size > head && in_one_word(poke->address, head);
}

/* A thread that meets the breakpoint is taken one of the two ways. */
static bool admits_trap(const struct poke *poke)
{
	return traps_allowed && !poke->window && poke->size == arch_host()->limits.patch_size &&
	       (trap_can_emulate(poke->from) || trap_can_emulate(poke->to));
}

enum poke_protocol poke_choose(const struct poke *poke)
{
	if (poke->window)
		return POKE_STOP;
	if (in_one_word(poke->address, poke->size))
		return POKE_WORD;
	if (admits_spin(poke))
		return POKE_SPIN;
	return admits_trap(poke) ? POKE_TRAP : POKE_STOP;
}

static enum poke_protocol protocol_of(const struct poke *poke)
{
	return poke->protocol == POKE_AUTO ? poke_choose(poke) : (enum poke_protocol)poke->protocol;
}

/* What the protocol puts in front of the instruction while its tail changes; 0 bytes: it needs none. */
struct barrier {
	u32 size;
	const u8 *bytes;
};

static struct barrier barrier_of(const struct poke *poke)
{
	switch (protocol_of(poke)) {
	case POKE_SPIN:
		return (struct barrier){arch_host()->limits.spin_size, arch_host()->limits.spin};
	case POKE_TRAP:
		return (struct barrier){TRAP_SIZE, trap_bytes};
	default:
		return (struct barrier){0, NULL};
	}
}

/* May the protocol be used on this site? */
static bool admits(const struct poke *poke, enum poke_protocol protocol)
{
	switch (protocol) {
	case POKE_WORD:
		return !poke->window && in_one_word(poke->address, poke->size);
	case POKE_SPIN:
		return !poke->window && admits_spin(poke);
	case POKE_STOP:
		return true;
	case POKE_TRAP:
		return admits_trap(poke);
	default:
		return false;
	}
}

/* A batch under way. */
struct batch {
	const struct poke *pokes;
	u32 count;
	const struct poke_stopper *stopper;
	bool undo;    /* going back: a write that fails does not keep the others from being made */
	bool refused; /* the threads could not be stopped */
	u32 reached;  /* refused: the first site that was not written */
};

enum content {
	CONTENT_FROM,
	CONTENT_TO,
	CONTENT_OTHER,
};

bool poke_holds(u64 address, const u8 *bytes, u32 size)
{
	u8 now[POKE_MAX_BYTES];

	return size <= sizeof(now) && !self_mem_read(address, now, size) &&
	       mem_equal(now, bytes, size);
}

static enum content look(const struct poke *poke)
{
	u8 now[POKE_MAX_BYTES];

	if (self_mem_read(poke->address, now, poke->size))
		return CONTENT_OTHER;
	if (mem_equal(now, poke->from, poke->size))
		return CONTENT_FROM;
	return mem_equal(now, poke->to, poke->size) ? CONTENT_TO : CONTENT_OTHER;
}

static bool is_mapped_from(const struct proc_mapping *mapping, u64 address,
			   const struct site_file *file)
{
	return address >= mapping->start && address < mapping->end &&
	       mapping->inode == file->inode && mapping->device == file->device &&
	       mapping->offset + (address - mapping->start) == file->offset;
}

/* Are all of them still what they were planned for? Where there is no /proc, their bytes must do. At most a chunk. */
static int confirm(const struct poke *pokes, u32 count, u32 *ret_failed)
{
	struct proc_mapping mapping;
	bool found[CHUNK] = {0};
	struct proc_maps maps;

	if (proc_maps_open(&maps))
		return 0;
	while (proc_maps_next(&maps, &mapping)) {
		for (u32 i = 0; mapping.inode && i < count; i++)
			found[i] |= is_mapped_from(&mapping, pokes[i].address, &pokes[i].file);
	}
	proc_maps_close(&maps);
	for (u32 i = 0; i < count; i++) {
		if (found[i] || !pokes[i].file.inode)
			continue;
		*ret_failed = i;
		return -EBUSY;
	}
	return 0;
}

bool poke_is_there(const struct poke *poke)
{
	u32 failed;

	return poke_holds(poke->address, poke->from, poke->size) && !confirm(poke, 1, &failed);
}

/* Going back, only what is there was listed. */
static int confirm_chunk(const struct batch *batch, u32 first, u32 last)
{
	u32 failed;

	return batch->undo ? 0 : confirm(batch->pokes + first, last - first, &failed);
}

static bool is_either(const u8 *now, const u8 *from, const u8 *to, u32 size)
{
	return mem_equal(now, from, size) || mem_equal(now, to, size);
}

/* Could the bytes be of this poke, in whatever phase? */
static bool are_ours(const struct poke *poke, const u8 *now)
{
	struct barrier barrier = barrier_of(poke);
	u32 head = barrier.size;

	if (is_either(now, poke->from, poke->to, poke->size))
		return true;
	return head &&
	       (is_either(now, poke->from, poke->to, head) ||
		mem_equal(now, barrier.bytes, head)) &&
	       is_either(now + head, poke->from + head, poke->to + head, poke->size - head);
}

/* Changes part of a site's bytes; by one store where they lie in one aligned word. */
static int write_part(const struct poke *poke, u32 offset, const u8 *bytes, u32 size)
{
	u64 start = ALIGN_DOWN(poke->address, 8ull), at = poke->address + offset;
	u32 before = (u32)(poke->address - start), word = (u32)(ALIGN_DOWN(at, 8ull) - start);
	u8 content[16]; /* the words that the site lies in */
	int err = self_mem_read(start, content, ALIGN_UP(before + poke->size, 8u));

	if (err)
		return err;
	if (!are_ours(poke, content + before))
		return -EBUSY;
	if (!in_one_word(at, size))
		return self_mem_write(at, bytes, size);
	mem_copy(content + before + offset, bytes, size);
	return self_mem_write(start + word, content + word, 8);
}

/*
 * Phases 1 to 3 for one site. Going back from a failure, what cannot be written (it is unmapped, or somebody else's by now) is
 * none of ours any more, and the others are written.
 */
static int write_phase(const struct poke *poke, u32 phase)
{
	struct barrier barrier = barrier_of(poke);
	const u8 *to = poke->to;
	u32 head = barrier.size;

	if (protocol_of(poke) == POKE_WORD && phase == 1)
		return write_part(poke, 0, to, poke->size);
	if (!head)
		return 0;
	switch (phase) {
	case 1:
		return write_part(poke, 0, barrier.bytes, head);
	case 2:
		return write_part(poke, head, to + head, poke->size - head);
	default:
		return write_part(poke, 0, to, head);
	}
}

static int write_sites(const struct batch *batch, u32 first, u32 last, u32 phase)
{
	int err = 0;

	for (u32 i = first; i < last; i++) {
		int one = write_phase(&batch->pokes[i], phase);

		err = err ? err : one;
		if (err && !batch->undo)
			return err;
	}
	return batch->undo ? 0 : err;
}

static int stop_threads(const struct batch *batch, u32 first, u32 last)
{
	const struct poke_stopper *stopper = batch->stopper;
	const struct timespec pause = {.tv_nsec = STOP_PAUSE_NS};
	int err;

	for (u32 try = 0;; try++) {
		err = stopper->stop(stopper->opaque, batch->pokes + first, last - first);
		if (err != -EAGAIN || try + 1 == STOP_TRIES)
			return err;
		sys_nanosleep(&pause);
	}
}

static bool has_protocol(const struct batch *batch, u32 first, u32 last,
			 enum poke_protocol protocol)
{
	for (u32 i = first; i < last; i++) {
		if (protocol_of(&batch->pokes[i]) == protocol)
			return true;
	}
	return false;
}

/* Threads are in the kernel and come back through an iret, which serialises. */
static int write_while_stopped(struct batch *batch, u32 first, u32 last)
{
	const struct poke_stopper *stopper = batch->stopper;
	int err = stop_threads(batch, first, last);

	if (err) {
		batch->refused = true;
		batch->reached = first;
		return err;
	}
	err = confirm_chunk(batch, first, last);
	for (u32 i = first; i < last && (!err || batch->undo); i++) {
		const struct poke *poke = &batch->pokes[i];

		if (protocol_of(poke) == POKE_STOP)
			err = write_part(poke, 0, poke->to, poke->size);
	}
	stopper->resume(stopper->opaque);
	return err;
}

static int write_stopped(struct batch *batch, u32 first, u32 last)
{
	int err = 0;

	for (u32 at = first; at < last && (!err || batch->undo); at += STOP_CHUNK) {
		u32 end = MIN(at + STOP_CHUNK, last);

		if (has_protocol(batch, at, end, POKE_STOP))
			err = write_while_stopped(batch, at, end);
	}
	return err;
}

static void list_traps(const struct batch *batch, u32 first, u32 last)
{
	struct trap_entry entries[CHUNK];
	u32 count = 0;

	for (u32 i = first; i < last; i++) {
		const struct poke *poke = &batch->pokes[i];
		struct trap_entry *entry = &entries[count];

		if (protocol_of(poke) != POKE_TRAP)
			continue;
		count++;
		entry->site = poke->address;
		mem_copy(entry->emulate, trap_can_emulate(poke->to) ? poke->to : poke->from,
			 sizeof(entry->emulate));
	}
	trap_list(entries, count);
}

/* Phases 1 to 3 of the sites that are not stopped for. */
static int write_phases(const struct batch *batch, u32 first, u32 last)
{
	bool traps = has_protocol(batch, first, last, POKE_TRAP);
	bool spins = has_protocol(batch, first, last, POKE_SPIN);
	u32 phases = traps || spins ? 3 : has_protocol(batch, first, last, POKE_WORD);
	int err = 0;

	if (traps)
		list_traps(batch, first, last);
	/* A child forked meanwhile keeps breakpoints too, and the list of them: its handler emulates on. */
	if (spins)
		poke_fork_begin();
	for (u32 phase = 1; phase <= phases && !err; phase++) {
		err = write_sites(batch, first, last, phase);
		if (!err)
			err = sync_all();
	}
	if (spins)
		poke_fork_end(batch->pokes + first, last - first, false);
	/* After a failure the sites stay listed until the undo lists them anew. */
	if (traps && !err)
		trap_unlist();
	return err;
}

static int write_chunk(struct batch *batch, u32 first, u32 last)
{
	int err = 0;

	/* First, since it alone can be refused: no barrier has been written then. */
	if (has_protocol(batch, first, last, POKE_STOP))
		err = write_stopped(batch, first, last);
	if (!err)
		err = confirm_chunk(batch, first, last);
	if (!err && has_protocol(batch, first, last, POKE_TRAP))
		err = trap_install();
	return err && !batch->undo ? err : write_phases(batch, first, last);
}

static bool is_vdso(u64 address)
{
	/* Its text is one mapping for the life of the process. */
	static u64 start, end;
	struct proc_mapping mapping;
	struct proc_maps maps;

	if (!end && !proc_maps_open(&maps)) {
		while (proc_maps_next(&maps, &mapping)) {
			if (mem_equal(mapping.name, "[vdso]", sizeof("[vdso]"))) {
				start = mapping.start;
				end = mapping.end;
			}
		}
		proc_maps_close(&maps);
		end = MAX(end, 1ull);
	}
	return address >= start && address < end;
}

/* Everything that can be known before anything is written. Returns 0, 1 (nothing to do) or -errno. */
static int check(const struct batch *batch, u32 *ret_failed)
{
	u32 done = 0;

	for (u32 i = 0; i < batch->count; i++) {
		const struct poke *poke = &batch->pokes[i];
		enum poke_protocol protocol = protocol_of(poke);
		enum content content = look(poke);

		*ret_failed = i;
		if (is_vdso(poke->address))
			return -EPERM;
		if (poke->size > POKE_MAX_BYTES || !admits(poke, protocol) ||
		    (protocol == POKE_STOP && !batch->stopper))
			return -EOPNOTSUPP;
		if (content == CONTENT_OTHER)
			return -EBUSY;
		done += content == CONTENT_TO;
	}
	for (u32 i = 0; i < batch->count; i += CHUNK) {
		u32 size = MIN(batch->count - i, (u32)CHUNK), at;

		if (confirm(batch->pokes + i, size, &at)) {
			*ret_failed = i + at;
			return -EBUSY;
		}
	}
	return done && done == batch->count;
}

/*
 * The chunk that failed may be half written; each write that can be made is made. Nobody can be parked inside what was written,
 * so most of it needs no stop. What was not written is left alone: there somebody can.
 */
static void undo(const struct batch *batch, u32 count)
{
	static struct poke back[CHUNK]; /* under the lock */
	struct batch undoing = {.pokes = back, .stopper = batch->stopper, .undo = true};

	for (u32 first = 0; first < count; first += CHUNK) {
		u32 size = 0;

		for (u32 i = first; i < MIN(first + CHUNK, count); i++) {
			const struct poke *poke = &batch->pokes[i];
			u32 at;

			if (look(poke) == CONTENT_FROM || confirm(poke, 1, &at))
				continue;
			back[size] = *poke;
			mem_copy(back[size].from, poke->to, sizeof(poke->to));
			mem_copy(back[size].to, poke->from, sizeof(poke->from));
			back[size++].window = 0;
		}
		write_chunk(&undoing, 0, size);
	}
}

static int change(const struct poke *pokes, u32 count, const struct poke_stopper *stopper,
		  u32 *ret_failed)
{
	struct batch batch = {.pokes = pokes, .count = count, .stopper = stopper};
	u32 failed = 0;
	int err = check(&batch, &failed);

	for (u32 first = 0; first < count && !err; first += CHUNK) {
		u32 last = MIN(first + CHUNK, count);

		err = write_chunk(&batch, first, last);
		if (!err)
			continue;
		failed = first;
		undo(&batch, batch.refused ? batch.reached : last);
	}
	if (err < 0 && ret_failed)
		*ret_failed = failed;
	return err;
}

int poke_batch(const struct poke *pokes, u32 count, const struct poke_stopper *stopper,
	       u32 *ret_failed)
{
	int err;

	lock();
	err = change(pokes, count, stopper, ret_failed);
	unlock();
	return err;
}
