/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one function that changes live code (design decision 5).
 *
 * A batch of changes, each from one content to another. Every `from` is compared with memory before anything is
 * written; a mismatch is -EBUSY with nothing changed. Every executing thread sees the old or the new instruction.
 *
 *   protocol | when                                             | writes
 *   word     | the patch lies inside one aligned 8-byte word      | one aligned 8-byte store
 *   spin     | its first two bytes lie in one aligned word        | EB FE, sync, tail, sync, head, sync
 *   stop     | a prologue is displaced, or neither of the above   | all threads stopped; parked ips moved
 *   trap     | instead of stop, where the host allows it          | breakpoint, sync, tail, sync, head, sync
 *
 * sync is one membarrier a phase of a chunk of 256 sites. Batches of one process run one after the other. Two copies of this
 * code in one process (an agent in a host) do not know of each other: each finds the other's bytes at a site and refuses it.
 */
#ifndef INLAY_HOOK_POKE_H
#define INLAY_HOOK_POKE_H

#include "arch/arch.h"
#include "arch/site.h"
#include "base/types.h"

#define POKE_MAX_BYTES 8

struct poke {
	u64 address;
	u8 size;     /* bytes changed: the arch's patch_size for sites */
	u8 protocol; /* enum poke_protocol */
	u8 from[POKE_MAX_BYTES], to[POKE_MAX_BYTES];
	/* When threads may be parked inside the old instructions: the window, and where each interior address moves to. */
	u8 window; /* 0: nobody can be parked inside */
	u8 move_count;
	u16 move_from[8];      /* offsets in the window */
	u64 move_to[8];	       /* absolute */
	struct site_file file; /* what must be mapped there; inode 0: anything */
};

/*
 * Stops every thread of the process but the caller, from outside it (ptrace by the loader) or from a test's tracer.
 * stop() looks at each thread: an ip strictly inside [address, address + window) of a poke is moved per move_*; a
 * saved ip there in a signal frame makes it answer -EAGAIN (released; the caller retries). Threads stay stopped until
 * resume(). At most 2 ms pass between the two; the poker writes one chunk meanwhile.
 */
struct poke_stopper {
	int (*stop)(void *opaque, const struct poke *pokes, u32 count);
	void (*resume)(void *opaque);
	void *opaque;
};

/*
 * Changes a batch. Returns 0; 1 when every site already held `to`; -EBUSY (ret_failed = index; nothing changed);
 * -EOPNOTSUPP (a site needs a stopper and there is none, or a forced protocol does not admit it); -EAGAIN (threads
 * could not be moved out of a window in time); -EPERM (the vDSO, which is every process's); -errno of the write (what was
 * written is written back). Where another file, or another place of it, has been mapped in a site's place, nothing is
 * written there and the batch fails with -EBUSY: asked before anything is written, and again once a chunk (of a stop: while
 * the threads stand still). The bytes are looked at again just before each write.
 */
int poke_batch(const struct poke *pokes, u32 count, const struct poke_stopper *stopper,
	       u32 *ret_failed);

struct poke_content {
	enum patch_kind kind;
	u64 target;	 /* of CALL and JUMP */
	const u8 *bytes; /* RAW: patch_size of them */
};

/*
 * A change of the arch's patch_size bytes, protocol POKE_AUTO, nobody parked inside. A target out of reach is reached through
 * a veneer near the site. 0, -ERANGE (no room for one), -EINVAL, -ENOMEM.
 */
int poke_describe(u64 address, const struct poke_content *from, const struct poke_content *to,
		  struct poke *ret_poke);

/*
 * Allows the protocol trap, which needs a handler of SIGTRAP in front of the program's. A thread that has the signal
 * blocked and meets a breakpoint is killed, and libc blocks it at every thread's start and exit: for hosts that know their
 * threads. Disallowing gives the signal back. 0, or -errno of sigaction; -EOPNOTSUPP on a CPU that needs none.
 */
int poke_allow_traps(bool allow);

/* How often all cores were synchronised for a poke. */
u64 poke_sync_count(void);

/* Does memory hold these bytes now? Unmapped memory does not. */
bool poke_holds(u64 address, const u8 *bytes, u32 size);

/* Is its `from` there, in its file? */
bool poke_is_there(const struct poke *poke);

/* The protocol that POKE_AUTO picks. */
enum poke_protocol poke_choose(const struct poke *poke);

#endif
