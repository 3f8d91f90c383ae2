/* SPDX-License-Identifier: BSD-2-Clause */
#include "object/run.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "arch/trampoline.h"
#include "exec/fault.h"
#include "object/prog.h"
#include "object/prog_array.h"
#include "sync/percpu.h"
#include "sync/reader.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int prepared;

static void prepare(void)
{
	prepared = reader_init();
	if (!prepared)
		prepared = fault_init();
}

void *run_alloc_context(size_t size)
{
	char *memory = calloc(1, offsetof(struct hit, regs) + size);

	return memory ? memory + offsetof(struct hit, regs) : NULL;
}

void run_free_context(void *ctx)
{
	if (ctx)
		free((char *)ctx - offsetof(struct hit, regs));
}

static bool has_maps(const struct object_program *program)
{
	for (u32 i = 0; i < program->map_cnt; i++) {
		if (!program->maps[i])
			return false;
	}
	return true;
}

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec;
}

static u64 run_once(struct object *program, const struct exec_code *code, void *ctx)
{
	if (code)
		return code->entry(ptr_to_u64(ctx), 0);
	return exec_interpret(program->program.image, &program->program.env, ptr_to_u64(ctx), 0);
}

int run_program(struct object *program, void *ctx, u32 repeat, u32 *ret_value, u32 *ret_ns)
{
	bool percpu = program->program.image->facts & IMAGE_FACT_PERCPU;
	const struct exec_code *code;
	struct reader *reader;
	u64 start, value = 0;

	if (!has_maps(&program->program))
		return -ENOENT;
	pthread_once(&once, prepare);
	if (prepared)
		return prepared;
	reader = reader_self();
	if (!reader)
		return -ENOMEM;
	code = prog_code(program);
	if (program->program.image->facts & IMAGE_FACT_TAIL_CALL)
		prog_array_catch_up();
	if (percpu && percpu_enter() < 0)
		return -EBUSY;
	reader_enter(reader);
	start = now_ns();
	for (u32 i = 0; i < repeat; i++)
		value = run_once(program, code, ctx);
	*ret_ns = (u32)MIN((now_ns() - start) / repeat, (u64)UINT32_MAX);
	reader_leave(reader);
	if (percpu)
		percpu_leave();
	__atomic_fetch_add(&program->program.runs, repeat, __ATOMIC_RELAXED);
	__atomic_fetch_add(&program->program.run_time_ns, (u64)*ret_ns * repeat, __ATOMIC_RELAXED);
	*ret_value = (u32)value;
	return 0;
}
