/* SPDX-License-Identifier: BSD-2-Clause */
/* The unwind tables that the agent needs to walk stacks: one for each module that its process maps. */
#include "agent/target.h"

#include <stdlib.h>

#include "binary/binary.h"
#include "binary/process.h"

static bool is_sent(const struct target *target, const struct process_module *module)
{
	for (size_t i = 0; i < target->table_count; i++) {
		const struct target_table *sent = &target->tables[i];

		if (sent->start == module->start && sent->end == module->end &&
		    sent->bias == module->bias && sent->inode == module->inode)
			return true;
	}
	return false;
}

static void note_sent(struct target *target, const struct process_module *module)
{
	struct target_table *grown =
		realloc(target->tables, (target->table_count + 1) * sizeof(*grown));

	if (!grown)
		return; /* it is sent again the next time, which does no harm */
	target->tables = grown;
	grown[target->table_count++] =
		(struct target_table){module->start, module->end, module->bias, module->inode};
}

static void send_table(struct target *target, const struct process_module *module)
{
	struct wire_unwind request = {module->start, module->end, module->bias};
	struct wire_reply reply;
	struct binary *binary;
	int fd;

	if (process_binary(target->process, module, &binary))
		return;
	fd = binary_unwind_fd(binary);
	if (fd >= 0 && !target_ask(target, WIRE_UNWIND, &request, sizeof(request), &fd, 1, &reply))
		note_sent(target, module);
}

void target_send_tables(struct target *target)
{
	const struct process_module *modules;
	size_t count;

	if (process_refresh(target->process))
		return;
	modules = process_modules(target->process, &count);
	for (size_t i = 0; i < count; i++) {
		if (!is_sent(target, &modules[i]))
			send_table(target, &modules[i]);
	}
}

/* libgcc_s, and a libgcc in the executable that kept its symbols: programs may have both. */
static const char *const runtimes[] = {"libgcc_s", "exe"};

static void send_runtime(struct target *target, const struct process_module *module, u32 index)
{
	struct wire_runtime request;
	struct wire_reply reply;

	if (process_find_function(target->process, module, "__register_frame_info",
				  &request.register_info) ||
	    process_find_function(target->process, module, "__deregister_frame_info",
				  &request.deregister_info))
		return;
	if (!target_ask(target, WIRE_RUNTIME, &request, sizeof(request), NULL, 0, &reply))
		target->runtimes |= 1u << index;
}

void target_send_runtimes(struct target *target)
{
	/* libgcc_s may come late: backtrace, pthread_cancel and the first C++ library load it. */
	if (!(target->runtimes & 1) && process_refresh(target->process))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(runtimes); i++) {
		const struct process_module *module =
			process_find_module(target->process, runtimes[i]);

		if (module && !(target->runtimes >> i & 1))
			send_runtime(target, module, i);
	}
}

void target_send_table(struct target *target, const struct process_module *module)
{
	if (!is_sent(target, module))
		send_table(target, module);
}
