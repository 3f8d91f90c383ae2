/* SPDX-License-Identifier: BSD-2-Clause */
/* Where arguments of an SDT note are: x86-64 operands as assemblers write them. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "binary/usdt.h"
#include "format/bpf_abi.h"

struct reg_names {
	const char *names[4]; /* of 8, 4, 2 and 1 bytes */
	u16 offset;
};

#define REG(field) (u16) offsetof(struct abi_pt_regs_x86_64, field)
#define NUMBERED(n)                                                                                \
	{                                                                                          \
		{"r" #n, "r" #n "d", "r" #n "w", "r" #n "b"}, REG(r##n)                            \
	}

static const struct reg_names registers[] = {
	{{"rax", "eax", "ax", "al"}, REG(ax)},
	{{"rbx", "ebx", "bx", "bl"}, REG(bx)},
	{{"rcx", "ecx", "cx", "cl"}, REG(cx)},
	{{"rdx", "edx", "dx", "dl"}, REG(dx)},
	{{"rsi", "esi", "si", "sil"}, REG(si)},
	{{"rdi", "edi", "di", "dil"}, REG(di)},
	{{"rbp", "ebp", "bp", "bpl"}, REG(bp)},
	{{"rsp", "esp", "sp", "spl"}, REG(sp)},
	{{"rip", "eip", "ip", ""}, REG(ip)},
	NUMBERED(8),
	NUMBERED(9),
	NUMBERED(10),
	NUMBERED(11),
	NUMBERED(12),
	NUMBERED(13),
	NUMBERED(14),
	NUMBERED(15),
};

/* "%name" at *text; moves behind it. */
static bool take_register(const char **text, u16 *ret_offset)
{
	size_t length;

	if (**text != '%')
		return false;
	length = strcspn(*text + 1, ",) ");
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		for (u32 size = 0; size < 4; size++) {
			const char *name = registers[i].names[size];

			if (strlen(name) != length || !length || memcmp(name, *text + 1, length))
				continue;
			*text += 1 + length;
			*ret_offset = registers[i].offset;
			return true;
		}
	}
	return false;
}

static bool take_number(const char **text, s64 *ret_number)
{
	char *end;

	/* Constants of 64 bits come with or without a sign. */
	errno = 0;
	*ret_number = **text == '-' ? (s64)strtoll(*text, &end, 0) : (s64)strtoull(*text, &end, 0);
	if (end == *text || errno)
		return false;
	*text = end;
	return true;
}

static bool at_end(const char *text)
{
	return !*text || *text == ' ';
}

/* "(%base)", "(%base,%index)", "(%base,%index,scale)". */
static enum usdt_where memory(const char *text, struct usdt_argument *argument)
{
	s64 scale = 1;

	if (*text++ != '(' || !take_register(&text, &argument->reg))
		return USDT_UNKNOWN;
	if (*text == ')')
		return at_end(text + 1) ? USDT_MEMORY : USDT_UNKNOWN;
	if (*text++ != ',' || !take_register(&text, &argument->index))
		return USDT_UNKNOWN;
	if (*text == ',') {
		text++;
		if (!take_number(&text, &scale))
			return USDT_UNKNOWN;
	}
	if (*text != ')' || !at_end(text + 1) || scale < 1 || scale > 8 || (scale & (scale - 1)))
		return USDT_UNKNOWN;
	argument->scale = (u8)__builtin_ctzll((u64)scale);
	return USDT_MEMORY_INDEXED;
}

static enum usdt_where operand(const char *text, struct usdt_argument *argument)
{
	if (*text == '$') {
		text++;
		return take_number(&text, &argument->offset) && at_end(text) ? USDT_CONSTANT
									     : USDT_UNKNOWN;
	}
	if (*text == '%')
		return take_register(&text, &argument->reg) && at_end(text) ? USDT_REGISTER
									    : USDT_UNKNOWN;
	if (*text != '(' && !take_number(&text, &argument->offset))
		return USDT_UNKNOWN;
	return memory(text, argument);
}

/* "-4@operand"; without a size the operand has that of a register. */
static void argument(const char *text, struct usdt_argument *argument)
{
	const char *at = text;
	s64 size = 8;

	*argument = (struct usdt_argument){.size = 8};
	if (take_number(&at, &size) && *at == '@') {
		argument->is_signed = size < 0;
		size = size < 0 ? -size : size;
		text = at + 1;
	} else {
		size = 8;
	}
	argument->where = operand(text, argument);
	if (size != 1 && size != 2 && size != 4 && size != 8)
		argument->where = USDT_UNKNOWN;
	else
		argument->size = (u8)size;
}

int usdt_arguments(const char *text, struct usdt_argument ret_arguments[USDT_MAX_ARGUMENTS])
{
	int count = 0;

	for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
		if (count == USDT_MAX_ARGUMENTS)
			return -E2BIG;
		argument(text, &ret_arguments[count++]);
		text += strcspn(text, " ");
	}
	return count;
}
