/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's trace format, of the 6.x series. */
#include "verify/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/disasm.h"
#include "verify/stack.h"
#include "verify/state.h"

#define LOG_MAX (64u << 20)
#define COLUMN	40

static bool grow(struct verify_log *log, size_t need)
{
	size_t limit = log->limit ? log->limit : LOG_MAX,
	       capacity = log->capacity ? log->capacity : 4096;
	char *text;

	if (log->length + need + 1 <= log->capacity)
		return true;
	while (capacity < log->length + need + 1)
		capacity *= 2;
	if (log->length + need + 1 > limit)
		return false;
	text = realloc(log->text, capacity);
	if (!text)
		return false;
	log->text = text;
	log->capacity = capacity;
	return true;
}

void log_text_v(struct verifier *env, const char *format, va_list args)
{
	struct verify_log *log = env->log;
	va_list again;
	int need;

	if (!log || !env->request->log_level)
		return;
	va_copy(again, args);
	need = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (need <= 0 || !grow(log, (size_t)need))
		return;
	vsnprintf(log->text + log->length, (size_t)need + 1, format, args);
	log->length += (size_t)need;
}

void log_text(struct verifier *env, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_text_v(env, format, args);
	va_end(args);
}

void log_reset(struct verifier *env, size_t length)
{
	if (env->log && env->log->length > length) {
		env->log->length = length;
		if (env->log->text)
			env->log->text[length] = 0;
	}
	env->log_prev_end = SIZE_MAX;
}

void verify_log_free(struct verify_log *log)
{
	free(log->text);
	log->text = NULL;
	log->length = log->capacity = 0;
}

/* -- Names -- */

const char *reg_type_base_name(u32 type)
{
	static const char *const names[REG_TYPE_MAX] = {
		[REG_NONE] = "?",
		[REG_SCALAR] = "scalar",
		[PTR_CTX] = "ctx",
		[PTR_MAP] = "map_ptr",
		[PTR_MAP_KEY] = "map_key",
		[PTR_MAP_VALUE] = "map_value",
		[PTR_STACK] = "fp",
		[PTR_PACKET] = "pkt",
		[PTR_PACKET_META] = "pkt_meta",
		[PTR_PACKET_END] = "pkt_end",
		[PTR_SOCK] = "sock",
		[PTR_SOCK_COMMON] = "sock_common",
		[PTR_TCP_SOCK] = "tcp_sock",
		[PTR_XDP_SOCK] = "xdp_sock",
		[PTR_MEM] = "mem",
		[PTR_RINGBUF] = "ringbuf_mem",
		[PTR_TP_BUFFER] = "tp_buffer",
		[PTR_BTF_ID] = "ptr_",
		[PTR_FUNC] = "func",
	};

	return type < REG_TYPE_MAX && names[type] ? names[type] : "?";
}

const char *reg_type_name(const struct reg *reg, char *buffer)
{
	/* What a lookup gave is a value until it is known not to be null, of whatever kind it is then. */
	bool looked_up = reg->maybe_null && (reg->type == PTR_MAP || reg->type == PTR_XDP_SOCK);
	const char *base = reg_type_base_name(looked_up ? PTR_MAP_VALUE : reg->type);

	snprintf(buffer, REG_TYPE_NAME_MAX, "%s%s%s", reg->readonly ? "rdonly_" : "", base,
		 !reg->maybe_null	   ? ""
		 : reg->type == PTR_BTF_ID ? "or_null_"
					   : "_or_null");
	return buffer;
}

const char *tnum_text(struct tnum bits, char *buffer)
{
	if (tnum_is_const(bits))
		snprintf(buffer, TNUM_TEXT_MAX, bits.value <= UINT16_MAX ? "%llu" : "%#llx",
			 (unsigned long long)bits.value);
	else
		snprintf(buffer, TNUM_TEXT_MAX, "(0x%llx; 0x%llx)", (unsigned long long)bits.value,
			 (unsigned long long)bits.mask);
	return buffer;
}

/* -- Registers -- */

static void log_signed(struct verifier *env, s64 value)
{
	if (value >= -UINT16_MAX && value <= UINT16_MAX)
		log_text(env, "%lld", (long long)value);
	else
		log_text(env, "%#llx", (unsigned long long)value);
}

static void log_unsigned(struct verifier *env, u64 value)
{
	if (value <= UINT16_MAX)
		log_text(env, "%llu", (unsigned long long)value);
	else
		log_text(env, "%#llx", (unsigned long long)value);
}

/* Bounds that say something, those with equal values together: smin=umin=3,... */
static void log_bounds(struct verifier *env, const struct reg *reg, const char **separator)
{
	const struct scalar *s = &reg->s;
	struct {
		const char *name;
		u64 value;
		bool omit;
	} bounds[] = {
		{"smin", (u64)s->smin, s->smin == INT64_MIN},
		{"smax", (u64)s->smax, s->smax == INT64_MAX},
		{"umin", s->umin, s->umin == 0},
		{"umax", s->umax, s->umax == UINT64_MAX},
		{"smin32", (u64)(s64)s->smin32, s->smin32 == INT32_MIN},
		{"smax32", (u64)(s64)s->smax32, s->smax32 == INT32_MAX},
		{"umin32", s->umin32, s->umin32 == 0},
		{"umax32", s->umax32, s->umax32 == UINT32_MAX},
	};
	char text[TNUM_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		bool negative = bounds[i].name[0] == 's';

		if (bounds[i].omit)
			continue;
		log_text(env, "%s%s", *separator, bounds[i].name);
		*separator = ",";
		for (size_t k = i + 1; k < ARRAY_SIZE(bounds); k++) {
			if (bounds[k].omit || bounds[k].value != bounds[i].value)
				continue;
			bounds[k].omit = true;
			log_text(env, "=%s", bounds[k].name);
		}
		log_text(env, "=");
		if (negative)
			log_signed(env, (s64)bounds[i].value);
		else
			log_unsigned(env, bounds[i].value);
	}
	if (s->bits.mask != UINT64_MAX) {
		log_text(env, "%svar_off=%s", *separator, tnum_text(s->bits, text));
		*separator = ",";
	}
}

static void log_ids(struct verifier *env, const struct reg *reg, const char **separator)
{
	if (reg->id) {
		log_text(env, "%sid=%u", *separator, reg->id);
		*separator = ",";
	}
	if (reg->ref_id) {
		log_text(env, "%sref_obj_id=%u", *separator, reg->ref_id);
		*separator = ",";
	}
}

static void log_pointer(struct verifier *env, const struct reg *reg, const char **separator)
{
	if (reg->type == PTR_MAP || reg->type == PTR_MAP_KEY || reg->type == PTR_MAP_VALUE) {
		if (reg->map->name[0]) {
			log_text(env, "%smap=%s", *separator, reg->map->name);
			*separator = ",";
		}
		log_text(env, "%sks=%u,vs=%u", *separator, reg->map->key_size,
			 reg->map->value_size);
		*separator = ",";
	}
	if (reg->off) {
		log_text(env, "%soff=", *separator);
		log_signed(env, reg->off);
		*separator = ",";
	}
	if (reg_is_packet(reg)) {
		log_text(env, "%sr=%d", *separator, reg->range);
		*separator = ",";
	}
	if (reg->type == PTR_MEM || reg->type == PTR_RINGBUF) {
		log_text(env, "%ssz=%u", *separator, reg->mem_size);
		*separator = ",";
	}
}

static void log_reg(struct verifier *env, const struct frame *frame, const struct reg *reg)
{
	char name[REG_TYPE_NAME_MAX];
	const char *separator = "";

	if (reg->type == REG_SCALAR && scalar_is_const(&reg->s)) {
		log_signed(env, (s64)reg->s.bits.value);
		return;
	}
	log_text(env, "%s", reg_type_name(reg, name));
	if (reg->type == PTR_STACK) {
		if (reg->frame != frame->number)
			log_text(env, "[%u]", reg->frame);
		if (scalar_is_const(&reg->s)) {
			log_signed(env, (s64)reg->s.bits.value + reg->off);
			return;
		}
	}
	log_text(env, "(");
	log_ids(env, reg, &separator);
	if (reg->type != REG_SCALAR)
		log_pointer(env, reg, &separator);
	if (!scalar_is_const(&reg->s)) {
		log_bounds(env, reg, &separator);
	} else if (reg->s.bits.value) {
		log_text(env, "%simm=", separator);
		log_signed(env, (s64)reg->s.bits.value);
	}
	log_text(env, ")");
}

static void log_slot(struct verifier *env, const struct frame *frame, u32 index)
{
	const struct slot *slot = &frame->slots[index];
	static const char letters[] = {
		[BYTE_INVALID] = '?', [BYTE_SPILL] = 'r', [BYTE_MISC] = 'm', [BYTE_ZERO] = '0'};
	char kinds[SLOT_SIZE + 1];
	bool any = false;
	u32 spilled = stack_spill_size(slot);

	/* The kernel writes the highest byte first, and a spilled register after the bytes above it. */
	for (u32 i = 0; i < SLOT_SIZE; i++) {
		kinds[SLOT_SIZE - 1 - i] = letters[slot->kind[i]];
		any |= slot->kind[i] != BYTE_INVALID;
	}
	kinds[SLOT_SIZE - spilled] = 0;
	if (!any)
		return;
	log_text(env, " fp%d=%s", -(s32)(index + 1) * SLOT_SIZE, kinds);
	if (spilled)
		log_reg(env, frame, &slot->spill);
}

void log_state(struct verifier *env, enum log_state what)
{
	const struct state *state = env->state;
	const struct frame *frame = state->frames[state->depth - 1];

	if (!env->request->log_level)
		return;
	if (frame->number)
		log_text(env, " frame%u:", frame->number);
	for (u32 i = 0; i < REG_CNT; i++) {
		if (frame->regs[i].type == REG_NONE ||
		    (what == LOG_STATE_CHANGED && !(env->logged_changes & 1u << i)))
			continue;
		log_text(env, " R%u=", i);
		log_reg(env, frame, &frame->regs[i]);
	}
	for (u32 i = 0; i < frame->slot_cnt; i++) {
		if (what == LOG_STATE_FULL || (env->logged_slots & 1ull << i))
			log_slot(env, frame, i);
	}
	for (u32 i = 0; i < state->ref_cnt; i++)
		log_text(env, "%s%u", i ? "," : " refs=", state->refs[i].id);
	log_text(env, "\n");
	env->logged_changes = 0;
	env->logged_slots = 0;
}

/* -- Instructions -- */

static const char *line_start(const char *line)
{
	while (*line == ' ' || *line == '\t')
		line++;
	return line;
}

static void log_source(struct verifier *env, u32 insn)
{
	const struct verify_request *request = env->request;

	if (!request->line_info || !request->strings ||
	    request->line_info_rec < sizeof(struct bpf_line_info))
		return;
	for (u32 i = 0; i < request->line_info_cnt; i++) {
		const struct bpf_line_info *info =
			(const void *)((const char *)request->line_info +
				       (size_t)i * request->line_info_rec);
		const char *file;

		if (info->insn_off != insn)
			continue;
		file = strrchr(request->strings + info->file_name_off, '/');
		log_text(env, "; %s @ %s:%u\n", line_start(request->strings + info->line_off),
			 file ? file + 1 : request->strings + info->file_name_off,
			 info->line_col >> 10);
		return;
	}
}

/* What the last instruction changed goes on its line when nothing was written since. */
static void log_changes(struct verifier *env)
{
	size_t width;

	if (!env->logged_changes && !env->logged_slots)
		return;
	if (env->log->length && env->log_prev_end == env->log->length) {
		width = MAX(env->log_prev_width + 4, (size_t)COLUMN);
		width = ALIGN_UP(width, (size_t)8) - env->log_prev_width - 1;
		env->log->length--;
		log_text(env, "%*c;", (int)width, ' ');
	} else {
		log_text(env, "%u:", env->insn);
	}
	log_state(env, LOG_STATE_CHANGED);
}

static const char *helper_name(struct verifier *env, const struct bpf_insn *insn)
{
	const struct helper_proto *proto =
		insn_is_call_helper(insn) ? env->host->helper((u32)insn->imm) : NULL;

	return proto ? proto->name : NULL;
}

void log_insn(struct verifier *env, u32 insn)
{
	char text[DISASM_MAX];
	size_t before;

	log_changes(env);
	log_source(env, insn);
	disasm_insn_calling(&env->insns[insn], helper_name(env, &env->insns[insn]), text,
			    sizeof(text));
	before = env->log->length;
	log_text(env, "%u: %s\n", insn, text);
	env->log_prev_end = env->log->length;
	env->log_prev_width = env->log->length - before;
}

void log_stats(struct verifier *env)
{
	const struct subprog *subprogs = env->subprogs;

	if (!(env->request->log_level & LOG_STATS))
		goto totals;
	log_text(env, "verification time %llu usec\n",
		 (unsigned long long)env->result->time_ns / 1000);
	log_text(env, "stack depth ");
	for (u32 i = 0; i < env->subprog_cnt; i++)
		log_text(env, "%u%s", subprogs[i].stack_depth, i + 1 < env->subprog_cnt ? "+" : "");
	log_text(env, "\n");
totals:
	if (!env->request->log_level)
		return;
	log_text(
		env,
		"processed %u insns (limit %u) max_states_per_insn %u total_states %u peak_states %u mark_read 0\n",
		env->processed, env->max_insns, env->max_states_per_insn, env->total_states,
		env->peak_states);
}
