/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a trampoline must do, told to the CPU's emitter.
 *
 * A probed site branches (jmp) to its *stub*; the stub branches to the current *image*:
 *
 *   site:   jmp stub.enter
 *   stub:   enter:     NOP, or the shortcut                                               <- patched, one aligned word
 *                      save scratch, mark the thread inside (reader->nest++), jmp image   <- patched, one aligned word
 *           leave:     mark it outside, restore scratch
 *           displaced: the window's instructions, jmp site + window
 *           (for exit probes a second stub, where hooked returns come back to, with the same two marks)
 *   image:  save what the programs and helpers may change, build the context, run each program, restore,
 *           jmp stub.leave
 *
 * The stub is never freed nor reused for another site: a thread can be parked in it without a mark, before the
 * increment or after the decrement. Everything in the image runs under the mark, so it is freed after one grace period.
 *
 * Without programs at the entry the shortcut is a jmp to code of the RETURN or EXIT stub that hooks the return, or calls the
 * function. It is as permanent, so that way needs no mark.
 *
 * The context is struct hit: a few words, then the registers as BPF's pt_regs; programs get &hit->regs. Only words that
 * some program reads (ctx_words) are stored. Helpers reach the words in front of it through their ctx argument.
 */
#ifndef INLAY_ARCH_TRAMPOLINE_H
#define INLAY_ARCH_TRAMPOLINE_H

#include "arch/signature.h"
#include "base/types.h"

#define HIT_WORDS_BEFORE 5

/* Programs on one side of a site. */
#define TRAMPOLINE_MAX_CALLS 38

struct hit {
	u64 arguments; /* typed contexts: how many words, HIT_* (bpf_get_func_arg_cnt); pt_regs: 0 or HIT_POINT, for stack walks */
	u64 cookie;    /* of the program that runs now (bpf_get_attach_cookie) */
	u64 func_ip;   /* entry address of the probed function (bpf_get_func_ip) */
	u64 reader;    /* struct reader * of the thread */
	u64 return_address; /* the caller, at entry and at exit */
	u64 regs[21]; /* abi_pt_regs_x86_64; arm64 has 34. Typed: the words of the arguments, then of the result */
};

#define HIT_HAS_RESULT (1ull << 32)
#define HIT_TYPED      (1ull << 33)
#define HIT_POINT                                                                                  \
	(1ull                                                                                      \
	 << 34) /* the registers are those of a point inside a function: nobody has just been called */

/* Typed contexts of programs that walk stacks: from this word of regs on, arch->frame's registers at the function's first instruction. */
#define HIT_FRAME_WORD (SIGNATURE_MAX_SLOTS + 1)

/* What a program's context is, and what becomes of its result. */
enum trampoline_context {
	TRAMPOLINE_REGS,  /* pt_regs */
	TRAMPOLINE_TYPED, /* the words of the signature */
	TRAMPOLINE_MODIFY, /* the same; ENTRY: its result, unless 0, becomes the function's, which is not called */
};

/* One program call in an image. */
struct trampoline_call {
	u64 entry; /* address of the compiled program */
	u64 cookie;
	u32 slot;      /* its bit in reader->active and its word in reader->hits */
	u32 clobbers;  /* caller-saved registers it may change (exec_code.clobbers) */
	u32 ctx_words; /* words of the context it reads */
	u32 facts;     /* IMAGE_FACT_* */
	enum trampoline_context context; /* those that modify come last */
};

enum trampoline_when {
	TRAMPOLINE_ENTRY, /* programs, then the function */
	TRAMPOLINE_RETURN, /* programs at a hooked return: context has the return value in ax, ip = return address */
	TRAMPOLINE_EXIT, /* programs after a call of the function by the EXIT stub */
};

/* An image: all programs of one site for one side. entry_also_hooks: an entry image that also pushes a hooked return. */
struct trampoline_spec {
	enum trampoline_when when;
	u64 func_ip;
	u64 point;	/* ENTRY: 0, or address of the point in the middle of the function */
	u64 stub_leave; /* address of the stub's leave */
	u64 hook_return; /* ENTRY: 0, or C: void hook(struct reader *, u64 *return_slot, void *site): swaps it */
	u64 hook_site;	   /* its third argument */
	u64 return_lookup; /* RETURN: as in struct stub_spec */
	u64 percpu_enter;  /* C: int enter(void), < 0: the run is missed; for IMAGE_FACT_PERCPU */
	u64 percpu_leave;  /* C: void leave(void) */
	const struct trampoline_call *calls;
	u32 call_count;
	const struct signature *signature; /* of typed programs; else NULL */
	u64 call_function; /* ENTRY: 0, or the EXIT stub's call: where to go in place of stub_leave */
	u64 skip_function; /* ENTRY: with call_function */
};

/*
 * A stub, and where its parts are: offsets from its start that the emitter fills in.
 *
 * An ENTRY stub is where the site jumps to, a RETURN stub where its hooked returns come back to. The reader pointer is in
 * the stub's scratch register when the image begins and when it ends; the image gives the stack back as it got it. A RETURN image gets
 * one word of stack where the return address was and leaves the true one in it.
 *
 * An EXIT stub calls the function, so that programs run when it returns. It is permanent as the others are: the function
 * may sleep for ever, and returns into the stub, never into an image. So there is no image to be kept for it, and no
 * program that was detached meanwhile is still called by it: what runs at the return is what is attached then.
 * ret_call and ret_skip are entered from an ENTRY image, marked inside, with registers as at the function's entry (skip:
 * the result in its register). While the function runs the thread is outside. The words of arguments that are in
 * registers are kept on the stack meanwhile, in a struct hit; an EXIT image adds the others.
 */
struct stub_spec {
	enum trampoline_when when;
	s64 tls_offset; /* of the reader pointer */
	u64 slow_path;	/* C: struct reader *reader_self(void), called with every register saved */
	u64 judge;	/* C: void judge(struct reader *, u64 sp): clears the mark if it is stale */
	u64 resume;	/* ENTRY: site + window length */
	struct displaced *displaced; /* ENTRY: NULL: the window is a NOP */
	bool inside;		     /* ENTRY: of a point, as in struct site_spec */
	u8 before;		     /* inside: how many of the displaced instructions run first */
	u64 return_lookup; /* RETURN: C: u64 find(struct reader *or_null, u64 slot, struct hit *or_null): pops the
			      hooked return, gives where to go on; hit->return_address is the caller proper */
	u64 function; /* RETURN, EXIT: the function behind the site: resume, or the ENTRY stub's displaced */
	u64 entry;			   /* RETURN: the ENTRY stub, behind its shortcut */
	const struct signature *signature; /* EXIT */
	u16 ret_call, ret_skip;		   /* EXIT */
	u16 ret_direct; /* RETURN, EXIT: where the shortcut goes: registers and stack as at the function's entry */
	u16 ret_entry; /* RETURN: where hooked returns come to; the byte before it is the stub's as well */
	u16 ret_leave; /* RETURN: the image must have stored the return address */
	u16 ret_shortcut; /* ENTRY, not inside: a NOP; lies in one aligned word if the stub begins with one */
	u16 ret_displaced; /* ENTRY */
	u16 ret_branch;	   /* the jmp to the image; lies in one aligned word */
	u16 ret_idle;	   /* where ret_branch goes while there is no image */
	u16 ret_size;
};

#endif
