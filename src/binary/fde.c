/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/fde.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DWARF_RSP 7

enum {
	PE_OMIT = 0xff,
	PE_FORMAT = 0x0f,
	PE_RELATIVE = 0x70,
	PE_PCREL = 0x10,
	PE_INDIRECT = 0x80,
};

/* Bytes being read, with the virtual address of the first; bad is sticky. */
struct cursor {
	const u8 *at, *end;
	const u8 *base;
	u64 base_address;
	bool bad;
};

struct cie {
	u8 pointer_encoding;
	bool has_augmentation_data;
	bool is_signal;
	const u8 *instructions, *end;
};

struct fde_list {
	struct fde *rows;
	size_t count, capacity;
};

/* The rule for the canonical frame address that the instructions up to the first advance leave. */
struct cfa {
	u64 reg, offset;
	bool known;
};

static u64 read_fixed(struct cursor *cursor, u32 size)
{
	u64 value = 0;

	if ((size_t)(cursor->end - cursor->at) < size) {
		cursor->bad = true;
		return 0;
	}
	memcpy(&value, cursor->at, size);
	cursor->at += size;
	return value;
}

static u64 read_uleb(struct cursor *cursor)
{
	u64 value = 0;
	u32 shift = 0;
	u8 byte;

	do {
		byte = (u8)read_fixed(cursor, 1);
		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) && !cursor->bad);
	return value;
}

static s64 read_sleb(struct cursor *cursor)
{
	u64 value = 0;
	u32 shift = 0;
	u8 byte;

	do {
		byte = (u8)read_fixed(cursor, 1);
		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) && !cursor->bad);
	if (shift < 64 && (byte & 0x40))
		value |= ~0ULL << shift;
	return (s64)value;
}

static void skip(struct cursor *cursor, u64 size)
{
	if ((u64)(cursor->end - cursor->at) < size)
		cursor->bad = true;
	else
		cursor->at += size;
}

static u64 read_encoded(struct cursor *cursor, u8 encoding)
{
	u64 place = cursor->base_address + (u64)(cursor->at - cursor->base);
	u64 value;

	switch (encoding & PE_FORMAT) {
	case 0x0:
	case 0x4:
	case 0xc:
		value = read_fixed(cursor, 8);
		break;
	case 0x1:
		value = read_uleb(cursor);
		break;
	case 0x2:
		value = read_fixed(cursor, 2);
		break;
	case 0x3:
		value = read_fixed(cursor, 4);
		break;
	case 0x9:
		value = (u64)read_sleb(cursor);
		break;
	case 0xa:
		value = (u64)(s64)(s16)read_fixed(cursor, 2);
		break;
	case 0xb:
		value = (u64)(s64)(s32)read_fixed(cursor, 4);
		break;
	default:
		cursor->bad = true;
		return 0;
	}
	if ((encoding & PE_RELATIVE) == PE_PCREL)
		value += place;
	else if (encoding & (PE_RELATIVE | PE_INDIRECT))
		cursor->bad = true;
	return value;
}

static void read_augmentation(struct cursor *cursor, const char *letters, struct cie *cie)
{
	u64 size = read_uleb(cursor);
	const u8 *end = cursor->at + MIN(size, (u64)(cursor->end - cursor->at));

	cie->has_augmentation_data = true;
	for (const char *letter = letters + 1; *letter && !cursor->bad; letter++) {
		u8 encoding;

		switch (*letter) {
		case 'R':
			cie->pointer_encoding = (u8)read_fixed(cursor, 1);
			break;
		case 'L':
			skip(cursor, 1);
			break;
		case 'P':
			encoding = (u8)read_fixed(cursor, 1);
			/* Only its length matters; where it leads does not. */
			read_encoded(cursor, encoding & PE_FORMAT);
			break;
		case 'S':
			cie->is_signal = true;
			break;
		default:
			break;
		}
	}
	if (cursor->at > end)
		cursor->bad = true;
	cursor->at = end;
}

/* Reads a CIE whose body (after length and id) is under the cursor. */
static int read_cie(struct cursor *cursor, struct cie *cie)
{
	u8 version = (u8)read_fixed(cursor, 1);
	const char *letters = (const char *)cursor->at;

	*cie = (struct cie){.end = cursor->end};
	if (cursor->bad || (version != 1 && version != 3 && version != 4) ||
	    !memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at)))
		return -ENOEXEC;
	skip(cursor, strlen(letters) + 1);
	if (version == 4)
		skip(cursor, 2);
	read_uleb(cursor);
	read_sleb(cursor);
	if (version == 1)
		read_fixed(cursor, 1);
	else
		read_uleb(cursor);
	if (letters[0] == 'z')
		read_augmentation(cursor, letters, cie);
	cie->instructions = cursor->at;
	return cursor->bad ? -ENOEXEC : 0;
}

static void skip_block(struct cursor *cursor)
{
	skip(cursor, read_uleb(cursor));
}

/* One instruction with extended opcode. Returns false where the first row ends. */
static bool run_extended(struct cursor *cursor, u8 opcode, struct cfa *cfa)
{
	switch (opcode) {
	case 0x00: /* nop */
	case 0x0a: /* remember, restore state */
	case 0x0b:
	case 0x2d:
		return true;
	case 0x02: /* advances by nothing go on */
		return read_fixed(cursor, 1) == 0;
	case 0x03:
		return read_fixed(cursor, 2) == 0;
	case 0x04:
		return read_fixed(cursor, 4) == 0;
	case 0x06: /* one operand */
	case 0x07:
	case 0x08:
	case 0x2e:
		read_uleb(cursor);
		return true;
	case 0x05: /* two */
	case 0x09:
	case 0x11:
	case 0x14:
	case 0x15:
		read_uleb(cursor);
		read_uleb(cursor);
		return true;
	case 0x0c:
		cfa->reg = read_uleb(cursor);
		cfa->offset = read_uleb(cursor);
		cfa->known = true;
		return true;
	case 0x0d:
		cfa->reg = read_uleb(cursor);
		return true;
	case 0x0e:
		cfa->offset = read_uleb(cursor);
		return true;
	case 0x0f:
		skip_block(cursor);
		cfa->known = false;
		return true;
	case 0x10:
	case 0x16:
		read_uleb(cursor);
		skip_block(cursor);
		return true;
	default: /* set_loc, signed forms, unknown */
		if (opcode != 0x01)
			cfa->known = false;
		return false;
	}
}

/* Runs call frame instructions up to the first that is not about the first address. */
static bool run_first_row(const u8 *from, const u8 *to, struct cfa *cfa)
{
	struct cursor cursor = {.at = from, .end = to, .base = from};

	while (cursor.at < cursor.end && !cursor.bad) {
		u8 opcode = (u8)read_fixed(&cursor, 1);

		if ((opcode & 0xc0) == 0x40) {
			if (opcode & 0x3f)
				return true;
		} else if ((opcode & 0xc0) == 0x80) {
			read_uleb(&cursor);
		} else if (!(opcode & 0xc0) && !run_extended(&cursor, opcode, cfa)) {
			return true;
		}
	}
	return !cursor.bad;
}

static bool is_called_frame(const struct cie *cie, const u8 *from, const u8 *to)
{
	struct cfa cfa = {};

	return run_first_row(cie->instructions, cie->end, &cfa) && run_first_row(from, to, &cfa) &&
	       cfa.known && cfa.reg == DWARF_RSP && cfa.offset == 8;
}

static int append(struct fde_list *list, const struct fde *fde)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 1024;
		struct fde *rows = realloc(list->rows, capacity * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		list->rows = rows;
		list->capacity = capacity;
	}
	list->rows[list->count++] = *fde;
	return 0;
}

/* A record's body from its id field on: sets end past the record. False: the list ends or is broken here. */
static bool next_record(const struct cursor *section, const u8 *at, struct cursor *body)
{
	u64 length;

	*body = *section;
	body->at = at;
	length = read_fixed(body, 4);
	if (length == 0xffffffff)
		length = read_fixed(body, 8);
	if (body->bad || !length || length < 4 || length > (u64)(body->end - body->at))
		return false;
	body->end = body->at + length;
	return true;
}

static bool read_cie_of(const struct cursor *section, const u8 *field, u32 distance,
			struct cie *cie)
{
	struct cursor body;

	if (distance > (u64)(field - section->base))
		return false;
	return next_record(section, field - distance, &body) && read_fixed(&body, 4) == 0 &&
	       !read_cie(&body, cie);
}

static int read_records(const struct cursor *section, struct fde_list *list)
{
	const u8 *cie_at = NULL;
	struct cie cie = {};
	struct cursor body;

	for (const u8 *at = section->base; next_record(section, at, &body); at = body.end) {
		const u8 *field = body.at;
		u32 distance = (u32)read_fixed(&body, 4);
		struct fde fde;
		int err;

		if (!distance)
			continue;
		if (field - distance != cie_at && !read_cie_of(section, field, distance, &cie)) {
			cie_at = NULL;
			continue;
		}
		cie_at = field - distance;
		fde.start = read_encoded(&body, cie.pointer_encoding);
		fde.end = fde.start + read_encoded(&body, cie.pointer_encoding & PE_FORMAT);
		if (cie.has_augmentation_data)
			skip_block(&body);
		if (body.bad || fde.end <= fde.start)
			continue;
		fde.is_entry = is_called_frame(&cie, body.at, body.end);
		fde.is_signal = cie.is_signal;
		err = append(list, &fde);
		if (err)
			return err;
	}
	return 0;
}

/* .eh_frame by its section, or through the header that PT_GNU_EH_FRAME names. */
static bool find_section(const struct elf_file *elf, struct cursor *cursor)
{
	const Elf64_Shdr *section = elf_file_section_by_name(elf, ".eh_frame");
	u64 size = 0;
	const u8 *bytes = elf_file_section_bytes(elf, section, &size);

	if (bytes) {
		*cursor = (struct cursor){bytes, bytes + size, bytes, section->sh_addr, false};
		return true;
	}
	for (u32 i = 0; i < elf->segment_count; i++) {
		struct cursor header = {};
		u64 address;
		u8 encoding;

		if (elf->segments[i].p_type != PT_GNU_EH_FRAME)
			continue;
		header.base_address = elf->segments[i].p_vaddr;
		header.base = elf_file_memory(elf, header.base_address, &size);
		if (!header.base)
			return false;
		header.at = header.base + 1;
		header.end = header.base + size;
		encoding = (u8)read_fixed(&header, 1);
		skip(&header, 2);
		address = read_encoded(&header, encoding);
		bytes = header.bad ? NULL : elf_file_memory(elf, address, &size);
		if (!bytes)
			return false;
		*cursor = (struct cursor){bytes, bytes + size, bytes, address, false};
		return true;
	}
	return false;
}

static int compare_starts(const void *a, const void *b)
{
	const struct fde *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int fde_read_all(const struct elf_file *elf, struct fde **ret_fdes, size_t *ret_count)
{
	struct fde_list list = {};
	struct cursor section;
	int err;

	if (find_section(elf, &section)) {
		err = read_records(&section, &list);
		if (err) {
			free(list.rows);
			return err;
		}
	}
	if (list.count)
		qsort(list.rows, list.count, sizeof(*list.rows), compare_starts);
	*ret_fdes = list.rows;
	*ret_count = list.count;
	return 0;
}

const struct fde *fde_find(const struct fde *fdes, size_t count, u64 address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (fdes[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < fdes[low - 1].end ? &fdes[low - 1] : NULL;
}
