/* SPDX-License-Identifier: BSD-2-Clause */
/* Sentences for rejections: what could go wrong, and what to change. */
#include "verify/explain.h"

#include <stdio.h>
#include <string.h>

#include "verify/log.h"
#include "verify/state.h"
#include "verify/trail.h"
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
	[WHY_TAIL_CALL] = {"a callback has no count of tail calls to go on with",
			   "make the tail call outside the callback"},
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

/* The paragraph being written. */
struct paragraph {
	char *text;
	size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void say(struct paragraph *to, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(to->text + to->used, to->size - to->used, format, args);
	va_end(args);
	if (length > 0)
		to->used = MIN(to->used + (size_t)length, to->size - 1);
}

static u32 line_number(const struct bpf_line_info *line)
{
	return line->line_col >> 10;
}

static const char *source_of(const struct verifier *env, const struct bpf_line_info *line)
{
	const char *source = env->request->strings + line->line_off;

	return source + strspn(source, " \t");
}

static void say_cause(struct verifier *env, struct paragraph *to)
{
	const char *problem = texts[env->why.cause].problem, *hole = strstr(problem, "%s");
	char reg[16];

	snprintf(reg, sizeof(reg), env->why.reg >= 0 ? "r%d" : "a register", env->why.reg);
	say(to, "insn %u: %.*s%s%s (%s)", env->why.insn,
	    hole ? (int)(hole - problem) : (int)strlen(problem), problem, hole ? reg : "",
	    hole ? hole + 2 : "", env->why_line);
}

static void say_place(struct verifier *env, struct paragraph *to)
{
	const struct bpf_line_info *line = line_of(env->request, env->why.insn);
	struct verify_result *result = env->result;

	if (!line)
		return;
	result->reason_line = line_number(line);
	result->reason_column = line->line_col & 0x3ff;
	snprintf(result->reason_source, sizeof(result->reason_source), "%s",
		 env->request->strings + line->line_off);
	say(to, ", at line %u: `%s`", line_number(line), source_of(env, line));
}

/* Bytes that the instruction accesses through its pointer; 0: it is no load or store. */
static u32 access_bytes(const struct bpf_insn *insn)
{
	switch (insn_class(insn)) {
	case BPF_LDX:
	case BPF_STX:
	case BPF_ST:
		return insn_access_size(insn);
	default:
		return 0;
	}
}

static void say_number(struct paragraph *to, int reg, const struct scalar *s)
{
	if (s->smin == s->smax)
		say(to, ". r%d is %lld", reg, (long long)s->smin);
	else if (s->smin == INT64_MIN && s->smax == INT64_MAX)
		say(to, ". r%d may be any number", reg);
	else
		say(to, ". r%d may be anything from %lld to %lld", reg, (long long)s->smin,
		    (long long)s->smax);
}

/* Where the access may begin in what the pointer points to, and what is there. */
static void say_access(struct paragraph *to, const struct reg *pointer, s64 off, u32 bytes)
{
	const struct scalar *s = &pointer->s;
	s64 first = pointer->off + off;

	if (reg_is_packet(pointer)) {
		say(to, ". The access needs %lld bytes from there", (long long)first + bytes);
		say(to,
		    pointer->range > 0 ? ", and only %d were compared with the packet's end"
				       : ", and none was compared with the packet's end",
		    pointer->range);
		return;
	}
	if (s->smin == s->smax)
		say(to, ". It takes bytes %lld to %lld", (long long)(first + s->smin),
		    (long long)(first + s->smin) + bytes - 1);
	else if (s->smin > INT32_MIN && s->smax < INT32_MAX)
		say(to, ". It begins anywhere from byte %lld to byte %lld",
		    (long long)(first + s->smin), (long long)(first + s->smax));
	else
		say(to, ". It may begin anywhere");
	if (pointer->type == PTR_MAP_VALUE)
		say(to, " of a value that has %u", pointer->map->value_size);
	else if (pointer->type == PTR_MEM || pointer->type == PTR_RINGBUF)
		say(to, " of %u", pointer->mem_size);
}

/* With which values it goes wrong. */
static void say_values(struct verifier *env, struct paragraph *to)
{
	const struct bpf_insn *insn;
	const struct reg *reg;
	u32 bytes;

	/* Before the walk, or where control flow has left the program, there are none. */
	if (!env->state || env->why.insn >= env->insn_cnt || env->why.reg < 0 ||
	    env->why.reg >= REG_CNT)
		return;
	insn = &env->insns[env->why.insn];
	bytes = access_bytes(insn);
	reg = &running_regs(env)[env->why.reg];
	if (reg->type == REG_SCALAR && env->why.cause != WHY_NOT_POINTER)
		say_number(to, env->why.reg, &reg->s);
	else if (bytes && reg_is_pointer(reg) && !reg->maybe_null && reg->type != PTR_CTX)
		say_access(to, reg, insn->off, bytes);
}

/* How it came there: where the register's value is from, and the last lines of the path. */
static void say_path(struct verifier *env, struct paragraph *to)
{
	struct trail trail;
	u32 lines[6], count = 0, origin = UINT32_MAX;
	const struct bpf_line_info *line, *here = line_of(env->request, env->why.insn);

	trail_follow(env, &trail);
	if (!trail.count || !here)
		return;
	if (env->why.reg >= 0 && env->why.reg < REG_FP)
		origin = trail_origin(env, &trail, (u32)env->why.reg,
				      reg_is_pointer(&running_regs(env)[env->why.reg]));
	line = origin == UINT32_MAX ? NULL : line_of(env->request, origin);
	if (line && line_number(line) != line_number(here))
		say(to, ". r%d comes from line %u: `%s`", env->why.reg, line_number(line),
		    source_of(env, line));
	/* A path without a turn is told by the place alone. */
	for (u32 i = env->state->turn_cnt ? trail.count : 0;
	     i-- > 0 && count < ARRAY_SIZE(lines);) {
		line = line_of(env->request, trail.insns[i]);
		if (line && line_number(line) && (!count || lines[count - 1] != line_number(line)))
			lines[count++] = line_number(line);
	}
	if (count < 2)
		return;
	say(to, ". The path: lines");
	while (count--)
		say(to, " %u%s", lines[count], count ? "," : "");
}

void explain_reason(struct verifier *env)
{
	struct paragraph paragraph = {env->result->reason, sizeof(env->result->reason), 0};

	say_cause(env, &paragraph);
	say_place(env, &paragraph);
	say_values(env, &paragraph);
	say_path(env, &paragraph);
	say(&paragraph, ". To fix it: %s.", texts[env->why.cause].advice);
}
