/* SPDX-License-Identifier: BSD-2-Clause */
#include "binary/frame_records.h"

#include "binary/elf_file.h"

#include <errno.h>
#include <string.h>

enum {
	PE_OMIT = 0xff,
	PE_FORMAT = 0x0f,
	PE_RELATIVE = 0x70,
	PE_PCREL = 0x10,
	PE_INDIRECT = 0x80,
};

u64 cursor_fixed(struct cursor *cursor, u32 size)
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

u64 cursor_uleb(struct cursor *cursor)
{
	u64 value = 0;
	u32 shift = 0;
	u8 byte;

	do {
		byte = (u8)cursor_fixed(cursor, 1);
		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) && !cursor->bad);
	return value;
}

s64 cursor_sleb(struct cursor *cursor)
{
	u64 value = 0;
	u32 shift = 0;
	u8 byte;

	do {
		byte = (u8)cursor_fixed(cursor, 1);
		if (shift < 64)
			value |= (u64)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) && !cursor->bad);
	if (shift < 64 && (byte & 0x40))
		value |= ~0ULL << shift;
	return (s64)value;
}

void cursor_skip(struct cursor *cursor, u64 size)
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
		value = cursor_fixed(cursor, 8);
		break;
	case 0x1:
		value = cursor_uleb(cursor);
		break;
	case 0x2:
		value = cursor_fixed(cursor, 2);
		break;
	case 0x3:
		value = cursor_fixed(cursor, 4);
		break;
	case 0x9:
		value = (u64)cursor_sleb(cursor);
		break;
	case 0xa:
		value = (u64)(s64)(s16)cursor_fixed(cursor, 2);
		break;
	case 0xb:
		value = (u64)(s64)(s32)cursor_fixed(cursor, 4);
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
	u64 size = cursor_uleb(cursor);
	const u8 *end = cursor->at + MIN(size, (u64)(cursor->end - cursor->at));

	cie->has_augmentation_data = true;
	for (const char *letter = letters + 1; *letter && !cursor->bad; letter++) {
		u8 encoding;

		switch (*letter) {
		case 'R':
			cie->pointer_encoding = (u8)cursor_fixed(cursor, 1);
			break;
		case 'L':
			cursor_skip(cursor, 1);
			break;
		case 'P':
			encoding = (u8)cursor_fixed(cursor, 1);
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
	u8 version = (u8)cursor_fixed(cursor, 1);
	const char *letters = (const char *)cursor->at;

	*cie = (struct cie){.end = cursor->end};
	if (cursor->bad || (version != 1 && version != 3 && version != 4) ||
	    !memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at)))
		return -ENOEXEC;
	cursor_skip(cursor, strlen(letters) + 1);
	if (version == 4)
		cursor_skip(cursor, 2);
	cie->code_align = cursor_uleb(cursor);
	cie->data_align = cursor_sleb(cursor);
	cie->return_column = version == 1 ? cursor_fixed(cursor, 1) : cursor_uleb(cursor);
	if (letters[0] == 'z')
		read_augmentation(cursor, letters, cie);
	cie->instructions = cursor->at;
	return cursor->bad ? -ENOEXEC : 0;
}

/* A record's body from its id field on: sets end past the record. False: the list ends or is broken here. */
static bool next_record(const struct cursor *section, const u8 *at, struct cursor *body)
{
	u64 length;

	*body = *section;
	body->at = at;
	length = cursor_fixed(body, 4);
	if (length == 0xffffffff)
		length = cursor_fixed(body, 8);
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
	return next_record(section, field - distance, &body) && cursor_fixed(&body, 4) == 0 &&
	       !read_cie(&body, cie);
}

static int visit_records(const struct cursor *section,
			 int (*visit)(const struct frame_record *record, void *arg), void *arg)
{
	const u8 *cie_at = NULL;
	struct cie cie = {};
	struct cursor body;

	for (const u8 *at = section->base; next_record(section, at, &body); at = body.end) {
		const u8 *field = body.at;
		u32 distance = (u32)cursor_fixed(&body, 4);
		struct frame_record record = {.cie = &cie};
		int result;

		if (!distance)
			continue;
		if (field - distance != cie_at && !read_cie_of(section, field, distance, &cie)) {
			cie_at = NULL;
			continue;
		}
		cie_at = field - distance;
		record.start = read_encoded(&body, cie.pointer_encoding);
		record.end = record.start + read_encoded(&body, cie.pointer_encoding & PE_FORMAT);
		if (cie.has_augmentation_data)
			cursor_skip(&body, cursor_uleb(&body));
		if (body.bad || record.end <= record.start)
			continue;
		record.instructions = body.at;
		record.instructions_end = body.end;
		result = visit(&record, arg);
		if (result)
			return result;
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
		encoding = (u8)cursor_fixed(&header, 1);
		cursor_skip(&header, 2);
		address = read_encoded(&header, encoding);
		bytes = header.bad ? NULL : elf_file_memory(elf, address, &size);
		if (!bytes)
			return false;
		*cursor = (struct cursor){bytes, bytes + size, bytes, address, false};
		return true;
	}
	return false;
}

int frame_records_visit(const struct elf_file *elf,
			int (*visit)(const struct frame_record *record, void *arg), void *arg)
{
	struct cursor section;

	return find_section(elf, &section) ? visit_records(&section, visit, arg) : 0;
}
