/* SPDX-License-Identifier: BSD-2-Clause */
/* Helpers' calls done in place: only where map and key are what they seem, and with the result that the call would have. */
#include <errno.h>

#include "arch/arch.h"
#include "arch/jit_unit.h"
#include "arch/x86_64/regs.h"
#include "exec/both_engines.h"
#include "sync/percpu.h"
#include "sync/reader.h"
#include "test.h"

#define LOOKUP	BPF_FUNC_map_lookup_elem
#define CPU	BPF_FUNC_get_smp_processor_id
#define SCRIBE	77 /* stores 1 where r1 points to */
#define UNKNOWN (~0u)

/* Two maps of 4 elements of a stride; map 1 has a value a slot. */
struct fake {
	u32 stride, slots;
	u8 data[2][4096];
	u32 calls;
};

static struct fake fake;

static u64 lookup(u64 map, u64 key, u64 r3, u64 r4, u64 r5)
{
	u32 index = *(u32 *)ptr_from_u64(key);

	(void)r3, (void)r4, (void)r5;
	fake.calls++;
	if (index >= 4)
		return 0;
	return map + (u64)index * fake.stride;
}

static u64 cpu(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	(void)r1, (void)r2, (void)r3, (void)r4, (void)r5;
	fake.calls++;
	return percpu_slot();
}

static u64 scribe(u64 at, u64 r2, u64 r3, u64 r4, u64 r5)
{
	(void)r2, (void)r3, (void)r4, (void)r5;
	*(u32 *)ptr_from_u64(at) = 1;
	return 0;
}

static exec_helper_fn helper(u32 id)
{
	return id == LOOKUP ? lookup : id == CPU ? cpu : id == SCRIBE ? scribe : NULL;
}

static void *handle(void *opaque, u32 index)
{
	(void)opaque;
	return index < 2 ? fake.data[index] : NULL;
}

static bool in_place(void *opaque, u32 id, u32 map_index, struct jit_in_place *ret_how)
{
	(void)opaque;
	if (id == CPU) {
		*ret_how = (struct jit_in_place){.slots = UINT32_MAX, .slot_stride = 1};
		return true;
	}
	if (id != LOOKUP || map_index > 1)
		return false;
	*ret_how = (struct jit_in_place){
		.base = ptr_to_u64(fake.data[map_index]), .count = 4, .stride = fake.stride};
	if (map_index) {
		ret_how->slots = fake.slots;
		ret_how->slot_stride = 8;
	}
	return true;
}

static u32 no_clobbers(u32 id)
{
	(void)id;
	return 0x3f << 6; /* r6 to r11: rsi, rdi, r8 and up */
}

static const struct exec_env fake_env = {.helper = helper,
					 .map_handle = handle,
					 .in_place = in_place,
					 .helper_clobbers = no_clobbers};

#define LD_MAP(dst, index)                                                                         \
	INSN(BPF_LD | BPF_IMM | BPF_DW, dst, INSN_PSEUDO_MAP_FD, 0, index), INSN(0, 0, 0, 0, 0)
#define ST_KEY(off, key)     INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, off, key)
#define STX_KEY(off, src)    INSN(BPF_STX | BPF_MEM | BPF_W, 10, src, off, 0)
#define KEY_POINTER(off)     MOV_REG(2, 10), ALU64_IMM(BPF_ADD, 2, off)
#define JEQ_IMM(dst, i, off) INSN(BPF_JMP | BPF_JEQ | BPF_K, dst, 0, off, i)

/* A raw image has no maps: its constants are given their meaning when it stands. */
static struct image_header *make_image(const struct bpf_insn *insns, u32 count)
{
	struct bpf_insn *to, plain[32];
	struct image_header *image;

	for (u32 i = 0; i < count; i++) {
		plain[i] = insns[i];
		if (insn_is_ld_imm64(&insns[i]))
			plain[i].src_reg = 0;
	}
	if (raw_image_create(plain, count, &image)) {
		FAIL("no image");
		return NULL;
	}
	to = (struct bpf_insn *)(uintptr_t)image_insns(image);
	memcpy(to, insns, count * sizeof(*insns));
	return image;
}

/* What the program made of r1, with r0 as an offset in the maps' memory where it points there. */
static u64 run(const struct bpf_insn *insns, u32 count, u64 r1)
{
	struct image_header *image = make_image(insns, count);
	u64 r0 = UNKNOWN, base = ptr_to_u64(fake.data);

	fake.calls = 0;
	if (!image)
		return UNKNOWN;
	CHECK_EQ(run_image(JIT, &fake_env, image, r1, 0, &r0), 0);
	raw_image_free(image);
	return r0 >= base && r0 < base + sizeof(fake.data) ? r0 - base : r0 ? r0 : UNKNOWN;
}

#define RESULT(insns, r1) run(insns, ARRAY_SIZE(insns), r1)

#define NEEDS_IN_PLACE                                                                             \
	do {                                                                                       \
		if (!arch_host()->jit.reduces)                                                     \
			SKIP("this processor's JIT calls every helper");                           \
	} while (0)

static void known_key_is_an_address(void)
{
	struct bpf_insn insns[] = {MOV_IMM(1, 3), STX_KEY(-4, 1),   LD_MAP(1, 0), KEY_POINTER(-4),
				   CALL(LOOKUP),  JEQ_IMM(0, 0, 1), EXIT,	  MOV_IMM(0, 5),
				   EXIT};
	struct image_header *image;
	struct exec_code *code;

	NEEDS_IN_PLACE;
	fake.stride = 24;
	CHECK_EQ(RESULT(insns, 0), 72);
	CHECK_EQ(fake.calls, 0);
	insns[0] = MOV_IMM(1, 4);
	CHECK_EQ(RESULT(insns, 0), 5);
	CHECK_EQ(fake.calls, 0);
	/* Nothing is left of the key on the stack, nor of the frame. */
	insns[0] = MOV_IMM(1, 3);
	image = make_image(insns, ARRAY_SIZE(insns));
	if (!image)
		return;
	CHECK_EQ(exec_compile(image, &fake_env, 0, false, &code), 0);
	CHECK(code->size <= 24);
	CHECK_EQ(code->clobbers, X86_BIT(X86_RAX));
	exec_free(code);
	raw_image_free(image);
}

static void unknown_key_is_bounded(void)
{
	const struct bpf_insn insns[] = {STX_KEY(-4, 1), LD_MAP(1, 0), KEY_POINTER(-4),
					 CALL(LOOKUP), EXIT};
	static const u32 strides[] = {8, 16, 24, 32, 64, 100};

	NEEDS_IN_PLACE;
	for (size_t i = 0; i < ARRAY_SIZE(strides); i++) {
		fake.stride = strides[i];
		for (u64 key = 1; key < 4; key++)
			CHECK_EQ(RESULT(insns, key), key * strides[i]);
		CHECK_EQ(RESULT(insns, 4), UNKNOWN);
		CHECK_EQ(RESULT(insns, 0xffffffff), UNKNOWN);
		CHECK_EQ(fake.calls, 0);
	}
}

/* Where paths meet, the key of one is not that of the other. */
static void keys_of_two_paths_are_not_mixed(void)
{
	const struct bpf_insn insns[] = {ST_KEY(-4, 1), JEQ_IMM(1, 9, 1), ST_KEY(-4, 2),
					 LD_MAP(1, 0),	KEY_POINTER(-4),  CALL(LOOKUP),
					 EXIT};

	fake.stride = 8;
	CHECK_EQ(RESULT(insns, 9), 8);
	CHECK_EQ(RESULT(insns, 8), 16);
}

static void maps_of_two_paths_are_not_mixed(void)
{
	const struct bpf_insn insns[] = {ST_KEY(-4, 1), LD_MAP(3, 0),  JEQ_IMM(1, 9, 2),
					 LD_MAP(3, 1),	MOV_REG(1, 3), KEY_POINTER(-4),
					 CALL(LOOKUP),	EXIT};

	NEEDS_IN_PLACE;
	CHECK_EQ(RESULT(insns, 9), 8);
	CHECK_EQ(RESULT(insns, 8), 4096 + 8);
	CHECK_EQ(fake.calls, 1);
}

static void stores_through_other_pointers_change_keys(void)
{
	/* r3 = r10 - 8, by way of something that the JIT does not follow. */
	const struct bpf_insn store[] = {ST_KEY(-4, 2),
					 MOV_REG(3, 10),
					 ALU64_REG(BPF_SUB, 3, 1),
					 INSN(BPF_ST | BPF_MEM | BPF_W, 3, 0, 4, 3),
					 LD_MAP(1, 0),
					 KEY_POINTER(-4),
					 CALL(LOOKUP),
					 EXIT};
	const struct bpf_insn helper_stores[] = {ST_KEY(-4, 2),
						 MOV_REG(1, 10),
						 ALU64_IMM(BPF_ADD, 1, -4),
						 CALL(SCRIBE),
						 LD_MAP(1, 0),
						 KEY_POINTER(-4),
						 CALL(LOOKUP),
						 EXIT};
	const struct bpf_insn atomic[] = {ST_KEY(-4, 2),
					  MOV_IMM(3, 1),
					  INSN(BPF_STX | BPF_ATOMIC | BPF_W, 10, 3, -4, BPF_ADD),
					  LD_MAP(1, 0),
					  KEY_POINTER(-4),
					  CALL(LOOKUP),
					  EXIT};
	const struct bpf_insn byte[] = {ST_KEY(-4, 2), INSN(BPF_ST | BPF_MEM | BPF_B, 10, 0, -4, 1),
					LD_MAP(1, 0),  KEY_POINTER(-4),
					CALL(LOOKUP),  EXIT};
	const struct bpf_insn halves[] = {INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, -1),
					  ST_KEY(-4, 3),
					  LD_MAP(1, 0),
					  KEY_POINTER(-8),
					  CALL(LOOKUP),
					  EXIT};

	fake.stride = 8;
	CHECK_EQ(RESULT(store, 8), 24);
	CHECK_EQ(RESULT(helper_stores, 0), 8);
	CHECK_EQ(RESULT(atomic, 0), 24);
	CHECK_EQ(RESULT(byte, 0), 8);
	CHECK_EQ(RESULT(halves, 0), UNKNOWN);
}

/* The slot is held, then asked for; r6 to r9 and what the program keeps elsewhere survive both. */
static void slots_are_found(void)
{
	const struct bpf_insn insns[] = {
		MOV_IMM(6, 1000),	  MOV_IMM(9, 7), STX_KEY(-4, 1),   LD_MAP(1, 1),
		KEY_POINTER(-4),	  CALL(LOOKUP),	 JEQ_IMM(0, 0, 2), ALU64_REG(BPF_ADD, 0, 6),
		ALU64_REG(BPF_ADD, 0, 9), EXIT};
	const struct bpf_insn number[] = {CALL(CPU), ALU64_IMM(BPF_ADD, 0, 1), EXIT};
	u64 slot;

	NEEDS_IN_PLACE;
	fake.stride = 64;
	fake.slots = PERCPU_MAX;
	CHECK_EQ(reader_init(), 0);
	CHECK_EQ(RESULT(insns, 4), UNKNOWN);
	slot = RESULT(insns, 0) - 4096 - 1007;
	CHECK(slot % 8 == 0 && slot / 8 < percpu_count());
	slot = (u64)percpu_enter();
	CHECK_EQ(RESULT(number, 0), slot + 1);
	CHECK_EQ(RESULT(insns, 2), 4096 + 128 + slot * 8 + 1007);
	fake.slots = (u32)slot;
	if (slot)
		CHECK_EQ(RESULT(insns, 2), UNKNOWN);
	percpu_leave();
	CHECK_EQ(fake.calls, 0);
}

/* Part of what is stored is loaded, in another size. */
static void stores_that_are_loaded_stay(void)
{
	const struct bpf_insn insns[] = {INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 0x11223344),
					 INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -24, 1),
					 INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -512, 1),
					 INSN(BPF_LDX | BPF_MEM | BPF_B, 0, 10, -14, 0), EXIT};
	u64 r0 = 0;

	CHECK_EQ(run_insns(JIT, &fake_env, insns, ARRAY_SIZE(insns), 0, 0, &r0), 0);
	CHECK_EQ(r0, 0x22);
}

int main(void)
{
	RUN(known_key_is_an_address);
	RUN(unknown_key_is_bounded);
	RUN(keys_of_two_paths_are_not_mixed);
	RUN(maps_of_two_paths_are_not_mixed);
	RUN(stores_through_other_pointers_change_keys);
	RUN(slots_are_found);
	RUN(stores_that_are_loaded_stay);
	return test_done();
}
