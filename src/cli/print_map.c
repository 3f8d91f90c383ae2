/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/print_map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/histogram.h"
#include "cli/print_stack.h"
#include "cli/print_value.h"

/* All elements of a map, read at once so that they can be sorted. */
struct elements {
	const struct print_map *map;
	struct value_type key, value;
	u32 cpus;   /* 0: not per CPU */
	u32 stride; /* bytes of one element: key, then value or one value a CPU, 8-aligned */
	u32 value_off;
	size_t count, capacity;
	char *rows;
	bool summed; /* per CPU, and the first CPU's value now holds the sum */
};

static bool is_percpu(u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool print_map_listable(u32 type)
{
	switch (type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_STACK_TRACE:
		return true;
	default:
		return false;
	}
}

static char *row_at(const struct elements *elements, size_t index)
{
	return elements->rows + index * elements->stride;
}

static u32 value_stride(const struct elements *elements)
{
	return ALIGN_UP(elements->map->value_size, 8u);
}

static int add_row(struct elements *elements, const void *key)
{
	char *rows;
	char *row;

	if (elements->count == elements->capacity) {
		size_t capacity = elements->capacity ? elements->capacity * 2 : 64;

		rows = reallocarray(elements->rows, capacity, elements->stride);
		if (!rows)
			return -ENOMEM;
		elements->rows = rows;
		elements->capacity = capacity;
	}
	row = row_at(elements, elements->count);
	memset(row, 0, elements->stride);
	memcpy(row, key, elements->map->key_size);
	/* The element may have been deleted since its key was read. */
	if (!bpf_map_lookup_elem(elements->map->fd, key, row + elements->value_off))
		elements->count++;
	else if (errno != ENOENT)
		return -errno;
	return 0;
}

static int read_rows(struct elements *elements)
{
	char *key = calloc(2, elements->map->key_size);
	char *next = key + elements->map->key_size;
	const void *from = NULL;
	int err = key ? 0 : -ENOMEM;
	/* A hash that changes while it is read can lead in circles. */
	size_t left = (size_t)elements->map->max_entries + 1;

	while (!err && left--) {
		if (bpf_map_get_next_key(elements->map->fd, from, next)) {
			err = errno == ENOENT ? 0 : -errno;
			break;
		}
		err = add_row(elements, next);
		memcpy(key, next, elements->map->key_size);
		from = key;
	}
	free(key);
	return err;
}

static void sum_cpus(struct elements *elements)
{
	u32 stride = value_stride(elements);

	elements->summed = true;
	for (size_t i = 0; i < elements->count && elements->summed; i++) {
		char *first = row_at(elements, i) + elements->value_off;

		for (u32 cpu = 1; cpu < elements->cpus && elements->summed; cpu++)
			elements->summed = print_value_add(&elements->value, first,
							   first + (size_t)cpu * stride);
	}
}

static int by_value(const void *a, const void *b, void *opaque)
{
	const struct elements *elements = opaque;
	int order = print_value_compare(&elements->value, (const char *)a + elements->value_off,
					(const char *)b + elements->value_off);

	return order ? order : print_value_compare(&elements->key, a, b);
}

static int by_key(const void *a, const void *b, void *opaque)
{
	const struct elements *elements = opaque;

	return print_value_compare(&elements->key, a, b);
}

static int read_elements(const struct print_map *map, struct elements *elements)
{
	int cpus = is_percpu(map->type) ? libbpf_num_possible_cpus() : 0;
	int err;

	if (cpus < 0)
		return cpus;
	*elements = (struct elements){
		.map = map,
		.key = {map->btf, map->key_id, map->key_size},
		.value = {map->btf, map->value_id, map->value_size},
		.cpus = (u32)cpus,
		.value_off = ALIGN_UP(map->key_size, 8u),
	};
	elements->stride = elements->value_off + value_stride(elements) * (cpus ? (u32)cpus : 1);
	err = read_rows(elements);
	if (!err && elements->cpus)
		sum_cpus(elements);
	return err;
}

static void write_value(FILE *out, const struct elements *elements, const char *row,
			void (*print)(FILE *, const struct value_type *, const void *))
{
	const char *value = row + elements->value_off;

	if (!elements->cpus || elements->summed) {
		print(out, &elements->value, value);
		return;
	}
	fputc('[', out);
	for (u32 cpu = 0; cpu < elements->cpus; cpu++) {
		fputs(cpu ? ", " : "", out);
		print(out, &elements->value, value + (size_t)cpu * value_stride(elements));
	}
	fputc(']', out);
}

/* An array of counts whose name says histogram. */
static bool is_histogram(const struct elements *elements)
{
	const struct print_map *map = elements->map;
	bool array = map->type == BPF_MAP_TYPE_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	s64 number;

	return array && strstr(map->name, "hist") && map->max_entries > 1 &&
	       map->max_entries <= HISTOGRAM_SLOTS && elements->count &&
	       print_value_integer(&elements->value, row_at(elements, 0) + elements->value_off,
				   &number);
}

static void draw_array(FILE *out, const struct elements *elements)
{
	u64 slots[HISTOGRAM_SLOTS] = {0};

	for (size_t i = 0; i < elements->count && i < HISTOGRAM_SLOTS; i++) {
		s64 number = 0;

		print_value_integer(&elements->value, row_at(elements, i) + elements->value_off,
				    &number);
		slots[i] = (u64)number;
	}
	fprintf(out, "@%s:\n", elements->map->name);
	histogram_print(out, slots, elements->map->max_entries);
}

/* The element type of `struct { T slots[N]; }`; its count in *ret_slots. False: the value is something else. */
static bool slots_of(const struct value_type *value, struct value_type *ret_slot, u32 *ret_slots)
{
	const struct btf_type *type, *array;
	u32 id = value->btf && value->id ? print_value_strip(value->btf, value->id) : 0;

	type = id ? btf__type_by_id(value->btf, id) : NULL;
	if (!type || !btf_is_struct(type) || btf_vlen(type) != 1 ||
	    strcmp(btf__name_by_offset(value->btf, btf_members(type)->name_off), "slots") != 0)
		return false;
	id = print_value_strip(value->btf, btf_members(type)->type);
	array = btf__type_by_id(value->btf, id);
	if (!array || !btf_is_array(array) || btf_array(array)->nelems > HISTOGRAM_SLOTS)
		return false;
	*ret_slot = (struct value_type){value->btf, btf_array(array)->type, 0};
	ret_slot->size = (u32)btf__resolve_size(value->btf, ret_slot->id);
	*ret_slots = btf_array(array)->nelems;
	return ret_slot->size == 4 || ret_slot->size == 8;
}

static void draw_slots(FILE *out, const struct elements *elements, const char *row)
{
	u64 slots[HISTOGRAM_SLOTS] = {0};
	struct value_type slot;
	u32 count = 0;

	if (!slots_of(&elements->value, &slot, &count))
		return;
	for (u32 i = 0; i < count; i++)
		memcpy(&slots[i], row + elements->value_off + (size_t)i * slot.size, slot.size);
	histogram_print(out, slots, count);
}

static bool is_keyed_by_stack(const struct print_map *map)
{
	return map->stacks_fd > 0 && map->key_size == 4 && strstr(map->name, "stack");
}

/* `@NAME[`, the stack, `]: `; false: the key is no stack's id (an error, or a stack that is gone). */
static bool write_stack_key(FILE *out, const struct print_map *map, const char *key)
{
	u64 *addresses = calloc(1, map->stacks_size);
	bool found = addresses && !bpf_map_lookup_elem(map->stacks_fd, key, addresses);

	if (found) {
		fprintf(out, "@%s[\n", map->name);
		print_stack_text(out, map->process, "        ", addresses, map->stacks_size / 8);
		fputs("]: ", out);
	}
	free(addresses);
	return found;
}

static void write_stacks(FILE *out, struct elements *elements)
{
	const struct print_map *map = elements->map;

	for (size_t i = 0; i < elements->count; i++) {
		const char *row = row_at(elements, i);

		fprintf(out, "@%s[", map->name);
		print_value_text(out, &elements->key, row);
		fputs("]:\n", out);
		print_stack_text(out, map->process, "        ",
				 (const u64 *)(const void *)(row + elements->value_off),
				 map->value_size / 8);
	}
}

static void write_rows(FILE *out, struct elements *elements)
{
	struct value_type slot;
	u32 slots;
	bool drawn =
		slots_of(&elements->value, &slot, &slots) && (!elements->cpus || elements->summed);

	if (elements->count)
		qsort_r(elements->rows, elements->count, elements->stride,
			drawn ? by_key : by_value, elements);
	for (size_t i = 0; i < elements->count; i++) {
		const char *row = row_at(elements, i);

		if (is_keyed_by_stack(elements->map) && write_stack_key(out, elements->map, row)) {
			write_value(out, elements, row, print_value_text);
			fputc('\n', out);
			continue;
		}
		fprintf(out, "@%s[", elements->map->name);
		print_value_text(out, &elements->key, row);
		if (drawn) {
			fputs("]:\n", out);
			draw_slots(out, elements, row);
			continue;
		}
		fputs("]: ", out);
		write_value(out, elements, row, print_value_text);
		fputc('\n', out);
	}
}

/* The bytes of .data or .bss, or NULL with -errno. */
static char *read_data(const struct print_map *map, int *ret_error)
{
	char *data = calloc(1, map->value_size);
	u32 zero = 0;

	*ret_error = data ? 0 : -ENOMEM;
	if (data && bpf_map_lookup_elem(map->fd, &zero, data)) {
		*ret_error = -errno;
		free(data);
		return NULL;
	}
	return data;
}

static int write_variables(FILE *out, const struct print_map *map, bool json, u32 *count)
{
	const struct btf_type *section = map->btf ? btf__type_by_id(map->btf, map->value_id) : NULL;
	const struct btf_var_secinfo *rows;
	char *data;
	int err;

	if (!section || !btf_is_datasec(section))
		return 0;
	data = read_data(map, &err);
	if (!data)
		return err;
	rows = btf_var_secinfos(section);
	for (u32 i = 0; i < btf_vlen(section); i++) {
		const struct btf_type *variable = btf__type_by_id(map->btf, rows[i].type);
		struct value_type type = {map->btf, variable->type, rows[i].size};
		const char *name = btf__name_by_offset(map->btf, variable->name_off);

		if ((u64)rows[i].offset + rows[i].size > map->value_size)
			continue;
		fprintf(out, json ? "%s\"%s\":" : "%s%s: ", json && *count ? "," : "", name);
		(json ? print_value_json : print_value_text)(out, &type, data + rows[i].offset);
		if (!json)
			fputc('\n', out);
		++*count;
	}
	free(data);
	return 0;
}

int print_map_text(FILE *out, const struct print_map *map)
{
	struct elements elements;
	u32 count = 0;
	int err;

	if (map->is_data)
		return write_variables(out, map, false, &count);
	err = read_elements(map, &elements);
	if (!err && is_histogram(&elements))
		draw_array(out, &elements);
	else if (!err && map->type == BPF_MAP_TYPE_STACK_TRACE)
		write_stacks(out, &elements);
	else if (!err)
		write_rows(out, &elements);
	free(elements.rows);
	return err;
}

int print_map_json(FILE *out, const struct print_map *map, u32 *count)
{
	struct elements elements;
	int err;

	if (map->is_data)
		return write_variables(out, map, true, count);
	err = read_elements(map, &elements);
	if (!err) {
		fprintf(out, "%s\"%s\":[", *count ? "," : "", map->name);
		if (elements.count && !is_histogram(&elements))
			qsort_r(elements.rows, elements.count, elements.stride, by_value,
				&elements);
		for (size_t i = 0; i < elements.count; i++) {
			fputs(i ? ",{\"key\":" : "{\"key\":", out);
			print_value_json(out, &elements.key, row_at(&elements, i));
			fputs(",\"value\":", out);
			if (map->type == BPF_MAP_TYPE_STACK_TRACE)
				print_stack_json(out, map->process,
						 (const u64 *)(const void *)(row_at(&elements, i) +
									     elements.value_off),
						 map->value_size / 8);
			else
				write_value(out, &elements, row_at(&elements, i), print_value_json);
			fputc('}', out);
		}
		fputc(']', out);
		++*count;
	}
	free(elements.rows);
	return err;
}
