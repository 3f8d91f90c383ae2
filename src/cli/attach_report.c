/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_report.h"

#include <string.h>

#include "binary/process.h"
#include "cli/cli.h"
#include "cli/print_map.h"
#include "maps/map.h"
#include "object/object.h"

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	size_t want = strlen(end);

	return length >= want && !strcmp(text + length - want, end);
}

/* The object's only STACK_TRACE map, or NULL. */
static const struct bpf_map *find_stacks(const struct bpf_object *object)
{
	const struct bpf_map *map, *found = NULL;
	u32 count = 0;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) != BPF_MAP_TYPE_STACK_TRACE)
			continue;
		found = map;
		count++;
	}
	return count == 1 ? found : NULL;
}

/* libbpf's own maps are sections of the object: .data and .bss hold variables, .rodata constants, .kconfig settings. */
static bool describe(struct bpf_object *object, const struct bpf_map *map, struct process *process,
		     struct print_map *ret_map)
{
	const struct bpf_map *stacks = find_stacks(object);
	const char *name = bpf_map__name(map);
	bool internal = bpf_map__is_internal(map);

	if (bpf_map__fd(map) < 0 || !print_map_listable(bpf_map__type(map)))
		return false;
	/* usdt.bpf.h's own. */
	if (!strncmp(name, "__bpf_usdt_", 11))
		return false;
	if (internal && !ends_with(name, ".bss") && !strstr(name, ".data"))
		return false;
	*ret_map = (struct print_map){
		.name = name,
		.fd = bpf_map__fd(map),
		.type = bpf_map__type(map),
		.key_size = bpf_map__key_size(map),
		.value_size = bpf_map__value_size(map),
		.max_entries = bpf_map__max_entries(map),
		.btf = bpf_object__btf(object),
		.key_id = bpf_map__btf_key_type_id(map),
		.value_id = bpf_map__btf_value_type_id(map),
		.process = process,
		.stacks_fd = stacks ? bpf_map__fd(stacks) : -1,
		.stacks_size = stacks ? bpf_map__value_size(stacks) : 0,
		.is_data = internal,
	};
	return true;
}

static int report_text(FILE *out, struct bpf_object *object, struct process *process)
{
	const struct bpf_map *map;
	struct print_map view;
	bool first = true;

	bpf_object__for_each_map(map, object)
	{
		int err;

		if (!describe(object, map, process, &view))
			continue;
		if (!first && !view.is_data)
			fputc('\n', out);
		err = print_map_text(out, &view);
		if (err)
			return cli_fail("map %s cannot be read: %s", view.name, strerror(-err));
		first = false;
	}
	return CLI_OK;
}

/* One JSON object with the maps, or with the variables. */
static int report_members(FILE *out, struct bpf_object *object, struct process *process, bool data,
			  u32 *ret_count)
{
	const struct bpf_map *map;
	struct print_map view;
	u32 count = 0;

	fputc('{', out);
	bpf_object__for_each_map(map, object)
	{
		int err;

		if (!describe(object, map, process, &view) || view.is_data != data)
			continue;
		err = print_map_json(out, &view, &count);
		if (err)
			return cli_fail("map %s cannot be read: %s", view.name, strerror(-err));
	}
	fputc('}', out);
	*ret_count = count;
	return CLI_OK;
}

static int report_json(FILE *out, struct bpf_object *object, struct process *process)
{
	u32 count = 0;
	int status;

	fputs("{\"maps\":", out);
	status = report_members(out, object, process, false, &count);
	if (status)
		return status;
	fputs(",\"globals\":", out);
	status = report_members(out, object, process, true, &count);
	fputs("}\n", out);
	return status;
}

int attach_report_maps(FILE *out, struct bpf_object *object, struct process *process, bool json)
{
	int status;

	/* Libraries may have come since; of a process that is gone the last look counts. */
	if (find_stacks(object))
		process_refresh(process);
	status = json ? report_json(out, object, process) : report_text(out, object, process);

	if (fflush(out) || ferror(out))
		return CLI_FAILED;
	return status;
}

void attach_report_drops(struct bpf_object *object)
{
	const struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		const struct map *view = object_map_view(bpf_map__fd(map));
		u64 dropped = view ? view->shared->dropped : 0;

		if (dropped)
			fprintf(stderr, "map %s: %llu dropped (no room)\n", bpf_map__name(map),
				(unsigned long long)dropped);
	}
}
