/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Direct and indirect tail calls while their slot changes: exec/tail.c and object/prog_array.c on paper.
 *
 * A direct call is two branches with the unwinding of the frame between them. What must never happen is that a reader runs on
 * behind them with its frame unwound, {NOP, unwind, NOP}, or is in a program that was freed.
 *
 * A reader may have fetched the target before it executes the bypass: what it has fetched is what it executes, unless
 * sync_core() makes it fetch anew. Words of code are otherwise written at once.
 *
 * Broken variants, each of which must reach one of the two: SWAP (bypass before target at an install), NO_GRACE (none between
 * bypass and target at a removal), NO_SYNC (no sync_core()), EARLY_FREE (a replaced program is freed at once),
 * SWAP_REMOVE (target before bypass at a removal).
 */
#define READERS 2
#define NONE	0 /* no program: the slot is empty, the target a NOP */
#define UNFETCHED 3

bool bypass_jumps = true;
byte target = NONE, slot = NONE; /* program 1 or 2 */
bool live[3];
bool inside[READERS], left[READERS]; /* left: since the updater last looked */
byte fetched[READERS] = UNFETCHED;

inline execute(program)
{
	assert(live[program]); /* enters it */
	assert(live[program]); /* at any time later */
}

proctype direct(byte id)
{
	byte to;

	do
	:: inside[id] = true;
	   do /* fetch ahead, once, at any time before the bypass is executed, or not */
	   :: fetched[id] == UNFETCHED -> fetched[id] = target
	   :: break
	   od;
	   if
	   :: bypass_jumps
	   :: !bypass_jumps ->
		/* The frame is unwound here. */
		atomic {
			to = (fetched[id] == UNFETCHED -> target : fetched[id]);
			assert(to != NONE);
		}
		execute(to)
	   fi;
	   atomic {
		to = NONE;
		fetched[id] = UNFETCHED;
		left[id] = true;
		inside[id] = false
	   }
	od
}

proctype indirect(byte id)
{
	byte to;

	do
	:: inside[id] = true;
	   to = slot;
	   if
	   :: to == NONE
	   :: to != NONE -> execute(to)
	   fi;
	   atomic { to = NONE; left[id] = true; inside[id] = false }
	od
}

inline sync_core()
{
#ifndef NO_SYNC
	d_step { fetched[0] = UNFETCHED; fetched[1] = UNFETCHED }
#else
	skip
#endif
}

inline sync_grace()
{
	d_step { left[0] = false; left[1] = false }
	(!inside[0] || left[0]);
	(!inside[1] || left[1])
}

inline install(program)
{
	live[program] = true;
	slot = program;
#ifdef SWAP
	bypass_jumps = false;
	sync_core();
	target = program;
#else
	target = program;
	sync_core();
	bypass_jumps = false;
#endif
	sync_core()
}

inline replace(old, program)
{
	live[program] = true;
	slot = program;
	target = program;
	sync_core();
#ifndef EARLY_FREE
	sync_grace();
#endif
	live[old] = false
}

inline remove(old)
{
	slot = NONE;
#ifdef SWAP_REMOVE
	target = NONE;
	sync_core();
	sync_grace();
	bypass_jumps = true;
#else
	bypass_jumps = true;
	sync_core();
#ifndef NO_GRACE
	sync_grace();
#endif
	target = NONE;
#ifdef NO_GRACE
	sync_grace();
#endif
#endif
	live[old] = false
}

active proctype updater()
{
	do
	:: install(1);
	   if
	   :: remove(1)
	   :: replace(1, 2);
	      if
	      :: remove(2)
	      :: replace(2, 1); remove(1)
	      fi
	   fi
	od
}

init
{
	atomic {
		run direct(0);
#ifdef TWO_DIRECT
		run direct(1)
#else
		run indirect(1)
#endif
	}
}
