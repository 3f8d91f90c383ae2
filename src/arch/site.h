/* SPDX-License-Identifier: BSD-2-Clause */
/* A site on paper: one patchable place in a function, as the loader's analysis of the file describes it to the agent. */
#ifndef INLAY_ARCH_SITE_H
#define INLAY_ARCH_SITE_H

#include "arch/relocate.h"
#include "base/types.h"

enum site_kind {
	SITE_NOP, /* one NOP of patch_size bytes */
	SITE_WHOLE, /* displaced, but the first instruction covers the window: nobody can be parked inside */
	SITE_PROLOGUE, /* displaced; threads may be parked between the window's instructions */
};

/* How code is changed at the site; see hook/poke.h. */
enum poke_protocol {
	POKE_AUTO,
	POKE_WORD,
	POKE_SPIN,
	POKE_STOP,
	POKE_TRAP,
	POKE_PROTOCOL_MAX,
};

/* Which byte of which file it is, as /proc/PID/maps says (base/proc_maps.h). inode 0: not known, the address is enough. */
struct site_file {
	u64 device, inode, offset;
};

struct site_spec {
	u64 function; /* entry address, what bpf_get_func_ip gives */
	u64 address; /* of the window: function, or after endbr64; inside: at or before the point */
	u64 semaphore; /* inside: a 16-bit count of who watches, in the target's memory; 0: none */
	u8 kind;       /* enum site_kind */
	u8 protocol;   /* enum poke_protocol, POKE_AUTO unless forced */
	u8 inside; /* not 0: a point in the middle of a function, where red zone and flags are live */
	u8 before; /* inside: displaced instructions that run before the programs */
	u8 pad[4];
	struct site_file file;	    /* that address must be of */
	struct displaced displaced; /* its bytes are also what must be there now, else -EBUSY */
};

#endif
