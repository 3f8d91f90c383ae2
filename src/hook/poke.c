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
 *   phase | word sites   | spin sites            | stop sites
 *   1     | word written | jump to itself; sync  |
 *   2     |              | tail; sync            |
 *   3     |              | head; sync            | threads stopped, words written, threads resumed
 */
#include "hook/poke.h"

#include <errno.h>

#include "base/mem.h"
#include "base/self_mem.h"
#include "base/sys.h"
#include "hook/poke_fork.h"
#include "sync/reader.h"

/* Sites whose spinning threads wait for one another's phases. */
#define CHUNK 256

/* How often threads are stopped anew because one could not be moved, and how long lies between. */
#define STOP_TRIES    50
#define STOP_PAUSE_NS 1000000

static bool in_one_word(u64 address, u32 size)
{
	return (address & 7) + size <= 8;
}

/* Changes bytes that lie in one aligned word by one store. */
static int write_in_word(u64 address, const u8 *bytes, u32 size)
{
	u64 word = ALIGN_DOWN(address, 8ull);
	u8 content[8];
	int err = self_mem_read(word, content, 8);

	if (err)
		return err;
	mem_copy(content + (address - word), bytes, size);
	return self_mem_write(word, content, 8);
}

/* The head of an instruction is what the spin protocol overwrites first. */
static u32 head_size(void)
{
	return arch_host()->limits.spin_size;
}

static bool admits_spin(const struct poke *poke)
{
	u32 head = head_size();

	return head && poke->size > head && in_one_word(poke->address, head);
}

enum poke_protocol poke_choose(const struct poke *poke)
{
	if (poke->window)
		return POKE_STOP;
	if (in_one_word(poke->address, poke->size))
		return POKE_WORD;
	return admits_spin(poke) ? POKE_SPIN : POKE_STOP;
}

static enum poke_protocol protocol_of(const struct poke *poke)
{
	return poke->protocol == POKE_AUTO ? poke_choose(poke) : (enum poke_protocol)poke->protocol;
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
	default:
		return false;
	}
}

/* A batch under way. undo: from and to have changed places. */
struct batch {
	const struct poke *pokes;
	u32 count;
	const struct poke_stopper *stopper;
	bool undo;
	bool refused; /* the threads could not be stopped: nothing of the chunk is written */
};

static const u8 *bytes_to(const struct batch *batch, const struct poke *poke)
{
	return batch->undo ? poke->from : poke->to;
}

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

/* Phase 1. */
static int write_heads(const struct batch *batch, u32 first, u32 last)
{
	const u8 *spin = arch_host()->limits.spin;
	int err = 0;

	for (u32 i = first; i < last && !err; i++) {
		const struct poke *poke = &batch->pokes[i];

		if (protocol_of(poke) == POKE_WORD)
			err = write_in_word(poke->address, bytes_to(batch, poke), poke->size);
		else if (protocol_of(poke) == POKE_SPIN)
			err = write_in_word(poke->address, spin, head_size());
	}
	return err;
}

/* Phase 2. */
static int write_tails(const struct batch *batch, u32 first, u32 last)
{
	u32 head = head_size();
	int err = 0;

	for (u32 i = first; i < last && !err; i++) {
		const struct poke *poke = &batch->pokes[i];

		if (protocol_of(poke) == POKE_SPIN)
			err = self_mem_write(poke->address + head, bytes_to(batch, poke) + head,
					     poke->size - head);
	}
	return err;
}

/* Phase 3. */
static int release_heads(const struct batch *batch, u32 first, u32 last)
{
	int err = 0;

	for (u32 i = first; i < last && !err; i++) {
		const struct poke *poke = &batch->pokes[i];

		if (protocol_of(poke) == POKE_SPIN)
			err = write_in_word(poke->address, bytes_to(batch, poke), head_size());
	}
	return err;
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

/* Threads are in the kernel and come back through an iret, which serialises. */
static int write_stopped(struct batch *batch, u32 first, u32 last)
{
	const struct poke_stopper *stopper = batch->stopper;
	int err = stop_threads(batch, first, last);

	if (err) {
		batch->refused = true;
		return err;
	}
	for (u32 i = first; i < last && !err; i++) {
		const struct poke *poke = &batch->pokes[i];

		if (protocol_of(poke) == POKE_STOP)
			err = self_mem_write(poke->address, bytes_to(batch, poke), poke->size);
	}
	stopper->resume(stopper->opaque);
	return err;
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

/* Phases 1 to 3 of the sites that are not stopped for. */
static int write_phases(const struct batch *batch, u32 first, u32 last)
{
	int err = write_heads(batch, first, last);

	if (!err)
		err = sync_core();
	if (err || !has_protocol(batch, first, last, POKE_SPIN))
		return err;
	err = write_tails(batch, first, last);
	if (!err)
		err = sync_core();
	if (!err)
		err = release_heads(batch, first, last);
	return err ? err : sync_core();
}

static int write_chunk(struct batch *batch, u32 first, u32 last)
{
	bool spins = has_protocol(batch, first, last, POKE_SPIN);
	int err = 0;

	/* First, since it alone can be refused: nothing else of the chunk has been written then. */
	if (has_protocol(batch, first, last, POKE_STOP))
		err = write_stopped(batch, first, last);
	if (err)
		return err;
	if (spins)
		poke_fork_begin();
	err = write_phases(batch, first, last);
	if (spins)
		poke_fork_end(batch->pokes + first, last - first, batch->undo);
	return err;
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
		if (poke->size > POKE_MAX_BYTES || !admits(poke, protocol) ||
		    (protocol == POKE_STOP && !batch->stopper))
			return -EOPNOTSUPP;
		if (content == CONTENT_OTHER)
			return -EBUSY;
		done += content == CONTENT_TO;
	}
	return done && done == batch->count;
}

/* The chunk that failed may be half written; each write that can be made is made. */
static void undo(struct batch *batch, u32 count)
{
	batch->undo = true;
	for (u32 first = 0; first < count; first += CHUNK)
		write_chunk(batch, first, MIN(first + CHUNK, count));
}

int poke_batch(const struct poke *pokes, u32 count, const struct poke_stopper *stopper,
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
		undo(&batch, batch.refused ? first : last);
	}
	if (err < 0 && ret_failed)
		*ret_failed = failed;
	return err;
}
