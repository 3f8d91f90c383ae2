/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/print_stack.h"

#include <string.h>

#include "binary/binary.h"
#include "binary/process.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const struct binary_function *find_function(struct process *process,
						   const struct process_module *module, u64 address)
{
	struct binary *binary;
	u64 offset;

	if (process_binary(process, module, &binary) ||
	    binary_address_to_offset(binary, address - module->bias, &offset))
		return NULL;
	return binary_at_offset(binary, offset);
}

/* called: the address is behind a call, which may have been its function's last instruction. */
static void print_frame(FILE *out, struct process *process, u64 address, bool called)
{
	const struct process_module *module =
		process ? process_module_at(process, address - called) : NULL;
	const struct binary_function *function;
	u64 start;

	if (!module) {
		fprintf(out, "%#llx", (unsigned long long)address);
		return;
	}
	function = find_function(process, module, address - called);
	fprintf(out, "%s`", base_name(module->path));
	if (!function || !function->name) {
		fprintf(out, "%#llx", (unsigned long long)(address - module->bias));
		return;
	}
	start = function->address + module->bias;
	fputs(function->name, out);
	if (address != start)
		fprintf(out, "+%#llx", (unsigned long long)(address - start));
}

void print_stack_text(FILE *out, struct process *process, const char *indent, const u64 *addresses,
		      u32 count)
{
	for (u32 i = 0; i < count && addresses[i]; i++) {
		fputs(indent, out);
		print_frame(out, process, addresses[i], i > 0);
		fputc('\n', out);
	}
}

void print_stack_json(FILE *out, struct process *process, const u64 *addresses, u32 count)
{
	fputc('[', out);
	for (u32 i = 0; i < count && addresses[i]; i++) {
		fputs(i ? ",\"" : "\"", out);
		print_frame(out, process, addresses[i], i > 0);
		fputc('"', out);
	}
	fputc(']', out);
}
