/* SPDX-License-Identifier: BSD-2-Clause */
/* The trace in the kernel's format: instructions, registers and stack slots that changed, totals. */
#ifndef INLAY_VERIFY_LOG_H
#define INLAY_VERIFY_LOG_H

#include <stdarg.h>

#include "base/types.h"

struct verifier;
struct reg;
struct tnum;

#define LOG_LEVEL1 1u
#define LOG_LEVEL2 2u
#define LOG_STATS  4u

/* Appends text; nothing without a log level. */
void log_text(struct verifier *env, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_text_v(struct verifier *env, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
/* Forgets what was written after length: a path that ended well, at level 1. */
void log_reset(struct verifier *env, size_t length);
/* "0: (b7) r0 = 0" with its source line when line info names one. */
void log_insn(struct verifier *env, u32 insn);
enum log_state { LOG_STATE_FULL, LOG_STATE_CHANGED };
/* Registers and slots of the running frame; in the form that follows ';' or an instruction number. */
void log_state(struct verifier *env, enum log_state what);
void log_stats(struct verifier *env);

/* "map_value_or_null", in a buffer that the caller gives. */
#define REG_TYPE_NAME_MAX 48
const char *reg_type_name(const struct reg *reg, char *buffer);
const char *reg_type_base_name(u32 type);
#define TNUM_TEXT_MAX 48
const char *tnum_text(struct tnum bits, char *buffer);

#endif
