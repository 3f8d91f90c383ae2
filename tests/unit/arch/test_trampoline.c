/* SPDX-License-Identifier: BSD-2-Clause */
/* Form of stubs and images; that they run is tests/unit/hook's business. */
#include <errno.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "arch/relocate.h"
#include "arch/trampoline.h"
#include "base/codebuf.h"
#include "format/image.h"
#include "test.h"

#define AT 0x400000ull

static struct stub_spec entry_stub(void)
{
	return (struct stub_spec){.when = TRAMPOLINE_ENTRY,
				  .tls_offset = -8,
				  .slow_path = AT + 0x1000,
				  .resume = AT + 0x2005};
}

static int emit_stub(struct stub_spec *spec, u8 *bytes, u64 exec, u32 capacity)
{
	struct codebuf buf;

	codebuf_init(&buf, bytes, exec, capacity);
	return arch_x86_64.trampoline.stub(&buf, spec);
}

/* Whatever the alignment of the stub, its branch can be swapped by one store. */
static void the_branch_lies_in_one_word(void)
{
	for (u32 shift = 0; shift < 16; shift++) {
		for (u32 side = 0; side < 2; side++) {
			struct stub_spec spec = entry_stub();
			u8 bytes[1024];

			spec.when = (enum trampoline_when)side;
			spec.return_lookup = AT + 0x3000;
			CHECK_EQ(emit_stub(&spec, bytes, AT + shift, sizeof(bytes)), 0);
			CHECK(((AT + shift + spec.ret_branch) & 7) <= 3);
			CHECK_EQ(bytes[spec.ret_branch], 0xe9);
			CHECK(spec.ret_leave > spec.ret_branch && spec.ret_leave < spec.ret_size);
		}
	}
}

static void a_stub_ends_in_the_function(void)
{
	struct displaced displaced = {.site = AT + 0x2000, .length = 5, .count = 1};
	struct stub_spec spec = entry_stub();
	u8 bytes[1024];
	s32 distance;
	u32 jump;

	memcpy(displaced.bytes, "\xb8\x78\x56\x34\x12", 5);
	displaced.insns[0].length = 5;
	spec.displaced = &displaced;
	CHECK_EQ(emit_stub(&spec, bytes, AT, sizeof(bytes)), 0);
	CHECK(!memcmp(bytes + spec.ret_displaced, displaced.bytes, 5));
	jump = spec.ret_displaced + 5u;
	CHECK_EQ(bytes[jump], 0xe9);
	memcpy(&distance, bytes + jump + 1, 4);
	CHECK_EQ(AT + jump + 5 + distance, spec.resume);
}

static void what_does_not_fit_is_an_error(void)
{
	struct stub_spec spec = entry_stub();
	u8 bytes[1024];

	CHECK_EQ(emit_stub(&spec, bytes, AT, 40), -ENOSPC);
	CHECK_EQ(emit_stub(&spec, bytes, AT + (1ull << 33), sizeof(bytes)), -ERANGE);
}

static u32 image_size(u32 count, u32 clobbers, u32 words, u32 facts, u8 *bytes)
{
	struct trampoline_call calls[TRAMPOLINE_MAX_CALLS];
	struct trampoline_spec spec = {.when = TRAMPOLINE_ENTRY,
				       .func_ip = AT + 0x2000,
				       .stub_leave = AT + 0x3000,
				       .percpu_enter = AT + 0x4000,
				       .percpu_leave = AT + 0x5000,
				       .calls = calls,
				       .call_count = count};
	struct codebuf buf;

	for (u32 i = 0; i < MIN(count, TRAMPOLINE_MAX_CALLS); i++)
		calls[i] = (struct trampoline_call){.entry = AT + 0x6000,
						    .slot = i,
						    .clobbers = clobbers,
						    .ctx_words = words,
						    .facts = facts};
	codebuf_init(&buf, bytes, AT, 65536);
	return arch_x86_64.trampoline.image(&buf, &spec) ? 0 : buf.size;
}

/* A sizing pass is what the text is allocated by. */
static void a_sizing_pass_is_no_smaller_than_the_code(void)
{
	u8 *bytes = malloc(65536);

	for (u32 count = 1; count <= TRAMPOLINE_MAX_CALLS; count++) {
		u32 size = image_size(count, 0xfff, ~0u, IMAGE_FACT_PERCPU, bytes);

		CHECK(size > 0);
		CHECK(image_size(count, 0xfff, ~0u, IMAGE_FACT_PERCPU, NULL) >= size);
	}
	CHECK_EQ(image_size(TRAMPOLINE_MAX_CALLS, 1, 0, 0, bytes) > 0, 1);
	free(bytes);
}

static void only_what_is_needed_is_saved(void)
{
	u8 bytes[65536];
	u32 least = image_size(1, 1, 0, 0, bytes);
	u32 one_read = image_size(1, 1, 1u << 14, 0, bytes);
	u32 most = image_size(1, 0xfff, ~0u, 0, bytes);

	CHECK(least > 0);
	/* rdi is saved in any case: it carries the context. */
	CHECK_EQ(one_read, least);
	CHECK(most > least + 100);
}

int main(void)
{
	RUN(the_branch_lies_in_one_word);
	RUN(a_stub_ends_in_the_function);
	RUN(what_does_not_fit_is_an_error);
	RUN(a_sizing_pass_is_no_smaller_than_the_code);
	RUN(only_what_is_needed_is_saved);
	return test_done();
}
