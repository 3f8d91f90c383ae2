/* SPDX-License-Identifier: BSD-2-Clause */
/* Sentences for rejections: what could go wrong, and what to change. */
#include "verify/explain.h"

#include <stdio.h>
#include <string.h>

#include "verify/log.h"
#include "verify/verify_priv.h"

/* %s is the register ("r2") that the kernel-format line names, or "a register". */
static const struct {
	const char *problem, *advice;
} texts[WHY_MAX] = {
	[WHY_NONE] = {"the program was refused", "see the log above"},
	[WHY_BAD_INSN] = {"this is not a valid instruction",
			  "compile for a BPF version that this runtime knows"},
	[WHY_BAD_JUMP] = {"control flow leaves the program or lands inside an instruction",
			  "end every function with an exit and jump only inside it"},
	[WHY_UNREACHABLE] = {"no path reaches this instruction", "remove the dead code"},
	[WHY_BACK_EDGE] = {"an unprivileged program may not loop", "unroll the loop"},
	[WHY_TOO_COMPLEX] = {"the program has too many paths to check them all",
			     "bound loops with constants, split the program, or use bpf_loop"},
	[WHY_INFINITE_LOOP] = {"a loop comes back to the same state, so it never ends",
			       "give the loop a counter that is compared with a constant"},
	[WHY_UNINIT_REG] = {"%s is read before anything was written to it",
			    "initialise the variable on every path"},
	[WHY_FP_WRITE] = {"r10, the frame pointer, cannot be written",
			  "copy it to another register first"},
	[WHY_UNINIT_STACK] =
		{"bytes of the stack are read that were never written",
		 "initialise the variable or the whole struct (padding too), for instance with memset or = {}"},
	[WHY_STACK_BOUNDS] = {"the access is outside the 512 bytes of stack",
			      "check the index, or move the data to a map"},
	[WHY_SPILL] = {"a pointer was saved or restored in part",
		       "save and restore pointers as whole 8-byte words"},
	[WHY_POINTER_ARITH] =
		{"this arithmetic on %s, a pointer, would make later bounds checks meaningless",
		 "add or subtract checked numbers only, to pointers that allow it"},
	[WHY_POINTER_RANGE] = {"the number added to the pointer may be huge",
			       "bound it first, with a comparison or a mask"},
	[WHY_NULL] = {"%s may be NULL here",
		      "compare it with NULL and use it only on the other branch"},
	[WHY_NOT_POINTER] =
		{"%s is a number here, not a pointer to memory that the program may use",
		 "use bpf_probe_read_user or bpf_probe_read_kernel to follow it"},
	[WHY_MAP_BOUNDS] = {"the access through %s may be outside the map's value",
			    "check the index against the size of the value before using it"},
	[WHY_MAP_ACCESS] = {"the map does not allow this kind of access from programs",
			    "change the map's flags"},
	[WHY_PACKET_BOUNDS] =
		{"the access through %s may be behind the end of the packet",
		 "compare the end of the access with data_end first, and leave when it is greater"},
	[WHY_MEM_BOUNDS] = {"the access through %s may be outside its memory",
			    "check the offset against the size first"},
	[WHY_UNBOUNDED] = {"%s has no upper bound here",
			   "mask it or compare it with a constant first"},
	[WHY_NEGATIVE] = {"%s may be negative here",
			  "use an unsigned variable or check that it is >= 0"},
	[WHY_CTX] = {"the context has no such field for programs of this type",
		     "read a field that exists, with its own size"},
	[WHY_READONLY] = {"the memory behind %s is read-only for this program",
			  "write to a map or the stack instead"},
	[WHY_ALIGNMENT] = {"the access is not aligned to its size",
			   "align the data, or read it in smaller parts"},
	[WHY_LEAK] = {"an address would become visible to an unprivileged program's user",
		      "store data, not pointers"},
	[WHY_HELPER_UNKNOWN] = {"this helper does not exist here",
				"use another helper; see inlay(1) for the list"},
	[WHY_HELPER_DENIED] = {"programs of this type cannot call this helper",
			       "use another program type or helper"},
	[WHY_HELPER_ARG] = {"%s is not what the helper wants as this argument",
			    "pass an argument of the expected kind"},
	[WHY_HELPER_SIZE] = {"the size in %s may be zero, negative or too large for the memory",
			     "check the size before the call"},
	[WHY_HELPER_MAP] = {"this helper does not work on a map of this type",
			    "use another map type or helper"},
	[WHY_GPL] = {"this helper is for GPL-compatible programs",
		     "declare a GPL-compatible license in the object"},
	[WHY_CALL] = {"the call has no valid destination", "call a function of the same object"},
	[WHY_CALL_DEPTH] = {"functions call each other more than 8 deep (or recursively)",
			    "inline some of them"},
	[WHY_STACK_DEPTH] =
		{"the functions of one chain of calls use more than 512 bytes of stack together",
		 "use less stack, or a per-CPU array map for large data"},
	[WHY_REFERENCE] =
		{"something that was acquired is not released on this path, or is released wrongly",
		 "release it (bpf_ringbuf_submit, bpf_ringbuf_discard, ...) on every path"},
	[WHY_LOCK] = {"a lock is used in a way that could hang",
		      "take it, touch the value, release it; nothing else"},
	[WHY_RETURN] = {"the return value is not one that this program type may give",
			"return a constant that is"},
	[WHY_MAP_FD] = {"the program names a map that does not exist",
			"create the map before loading"},
	[WHY_MIXED_POINTERS] =
		{"one instruction accesses different kinds of memory on different paths",
		 "separate the paths in the source"},
	[WHY_DIVISION] = {"division by the constant zero", "correct the divisor"},
	[WHY_UNSUPPORTED] = {"this feature is not supported here yet",
			     "see the list of limits in the README"},
};

int verify_reject(struct verifier *env, enum why cause, int reg, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (env->why.cause == WHY_NONE) {
		env->why = (struct explain){.cause = cause, .insn = env->insn, .reg = reg};
		vsnprintf(env->why_line, sizeof(env->why_line), format, args);
		va_end(args);
		va_start(args, format);
	}
	log_text_v(env, format, args);
	va_end(args);
	log_text(env, "\n");
	return error;
}

static const struct bpf_line_info *line_of(const struct verify_request *request, u32 insn)
{
	const struct bpf_line_info *best = NULL;

	if (!request->line_info || !request->strings ||
	    request->line_info_rec < sizeof(struct bpf_line_info))
		return NULL;
	for (u32 i = 0; i < request->line_info_cnt; i++) {
		const struct bpf_line_info *info =
			(const void *)((const char *)request->line_info +
				       (size_t)i * request->line_info_rec);

		if (info->insn_off <= insn)
			best = info;
	}
	return best;
}

void explain_reason(struct verifier *env)
{
	char *out = env->result->reason, reg[16];
	size_t size = sizeof(env->result->reason), used;
	const struct bpf_line_info *line = line_of(env->request, env->why.insn);
	const char *source = line ? env->request->strings + line->line_off : NULL,
		   *problem = texts[env->why.cause].problem;
	const char *hole = strstr(problem, "%s");

	snprintf(reg, sizeof(reg), env->why.reg >= 0 ? "r%d" : "a register", env->why.reg);
	snprintf(out, size, "insn %u: %.*s%s%s (%s)", env->why.insn,
		 hole ? (int)(hole - problem) : (int)strlen(problem), problem, hole ? reg : "",
		 hole ? hole + 2 : "", env->why_line);
	used = strlen(out);
	if (source) {
		env->result->reason_line = line->line_col >> 10;
		env->result->reason_column = line->line_col & 0x3ff;
		snprintf(env->result->reason_source, sizeof(env->result->reason_source), "%s",
			 source);
		source += strspn(source, " \t");
		snprintf(out + used, size - used, ", at line %u: `%s`", line->line_col >> 10,
			 source);
		used = strlen(out);
	}
	snprintf(out + used, size - used, ". To fix it: %s.", texts[env->why.cause].advice);
}
