/* SPDX-License-Identifier: BSD-2-Clause */
/* Short names for fixed-width integers, and the few macros every file may assume. */
#ifndef INLAY_BASE_TYPES_H
#define INLAY_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(array)		    (sizeof(array) / sizeof((array)[0]))
#define ALIGN_UP(value, to)		    (((value) + ((to)-1)) & ~((__typeof__(value))(to)-1))
#define ALIGN_DOWN(value, to)		    ((value) & ~((__typeof__(value))(to)-1))
#define MIN(a, b)			    ((a) < (b) ? (a) : (b))
#define MAX(a, b)			    ((a) > (b) ? (a) : (b))
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define likely(condition)		    __builtin_expect(!!(condition), 1)
#define unlikely(condition)		    __builtin_expect(!!(condition), 0)

/* Pointers that cross bpf(2), a wire message or a register travel as u64. */
static inline void *ptr_from_u64(u64 value)
{
	return (void *)(uintptr_t)value;
}

static inline u64 ptr_to_u64(const void *pointer)
{
	return (u64)(uintptr_t)pointer;
}

#endif
