/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A buffer that code is emitted into, with labels, fixups and a sticky error: emit freely, check once.
 *
 * The buffer has two addresses: where bytes are written, and where they will execute (pc-relative encodings
 * use the latter). With bytes == NULL it only counts (a sizing pass).
 */
#ifndef INLAY_BASE_CODEBUF_H
#define INLAY_BASE_CODEBUF_H

#include "base/frame_notes.h"
#include "base/types.h"

struct codebuf {
	u8 *bytes; /* NULL: sizing pass */
	u64 exec;  /* address of bytes[0] when it runs */
	u32 size;
	u32 capacity;
	int error;		    /* sticky: -ENOSPC, -ERANGE */
	struct frame_notes *frames; /* NULL: nobody wants to know */
};

static inline void codebuf_init(struct codebuf *buf, u8 *bytes, u64 exec, u32 capacity)
{
	buf->bytes = bytes;
	buf->exec = exec;
	buf->size = 0;
	buf->capacity = capacity;
	buf->error = 0;
	buf->frames = NULL;
}

static inline u64 codebuf_pc(const struct codebuf *buf)
{
	return buf->exec + buf->size;
}

static inline void codebuf_put(struct codebuf *buf, u64 value, u32 bytes)
{
	if (buf->bytes && buf->size + bytes > buf->capacity) {
		buf->error = buf->error ? buf->error : -28; /* -ENOSPC */
		return;
	}
	for (u32 i = 0; i < bytes && buf->bytes; i++)
		buf->bytes[buf->size + i] = (u8)(value >> (8 * i));
	buf->size += bytes;
}

/* From here on. */
static inline void codebuf_note(struct codebuf *buf, enum frame_kind kind, u8 reg, s32 offset)
{
	struct frame_notes *frames = buf->frames;

	if (!frames)
		return;
	if (frames->count < frames->capacity)
		frames->notes[frames->count] =
			(struct frame_note){buf->size, (u8)kind, reg, (s16)offset};
	frames->count++;
}

#endif
