/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_core.h"

#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "binary/btf_dwarf.h"
#include "binary/process.h"

/* libbpf 1.x exports it under this name, whatever its header calls it. */
extern const void *btf_ext__get_raw_data(const struct btf_ext *ext, u32 *size);

/* A type that is relocated against. Some are only asked about: their absence is an answer. */
struct wanted {
	char *name; /* without ___flavor */
	bool needed, found;
};

struct attach_core {
	struct wanted *wanted;
	u32 count;
	struct btf *types; /* of all binaries */
	int fd;
	char path[32];
	char sources[256]; /* binaries whose types were taken */
	char problem[512]; /* why the last one without had none */
};

/* The header of .BTF.ext, from its beginning to the relocations. */
struct ext_header {
	u16 magic;
	u8 version, flags;
	u32 header_length;
	u32 func_info_offset, func_info_length;
	u32 line_info_offset, line_info_length;
	u32 relocations_offset, relocations_length;
};

struct ext_section {
	u32 name;
	u32 count;
};

/* The context of all programs that are shown registers: its types are ours. */
static const char *const context_names[] = {"pt_regs", "user_pt_regs"};

static bool is_context(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(context_names); i++) {
		if (!strcmp(name, context_names[i]))
			return true;
	}
	return false;
}

/* "conn___v2" is a flavor of "conn". */
static size_t essential_length(const char *name)
{
	const char *flavor = strstr(name, "___");

	return flavor && flavor > name ? (size_t)(flavor - name) : strlen(name);
}

static bool is_question(u32 kind)
{
	return kind == BPF_CORE_FIELD_EXISTS || kind == BPF_CORE_TYPE_EXISTS ||
	       kind == BPF_CORE_ENUMVAL_EXISTS || kind == BPF_CORE_TYPE_MATCHES ||
	       kind == BPF_CORE_TYPE_ID_LOCAL;
}

static int want(struct attach_core *core, const struct btf *btf, const struct bpf_core_relo *relo)
{
	const struct btf_type *type = btf__type_by_id(btf, relo->type_id);
	const char *name = type ? btf__name_by_offset(btf, type->name_off) : NULL;
	size_t length = name ? essential_length(name) : 0;
	struct wanted *wanted;

	if (!length || relo->kind == BPF_CORE_TYPE_ID_LOCAL)
		return 0;
	for (u32 i = 0; i < core->count; i++) {
		if (strlen(core->wanted[i].name) != length ||
		    memcmp(core->wanted[i].name, name, length))
			continue;
		core->wanted[i].needed |= !is_question(relo->kind);
		return 0;
	}
	wanted = reallocarray(core->wanted, core->count + 1, sizeof(*wanted));
	if (!wanted)
		return -ENOMEM;
	core->wanted = wanted;
	wanted[core->count] =
		(struct wanted){.name = strndup(name, length), .needed = !is_question(relo->kind)};
	if (!wanted[core->count].name)
		return -ENOMEM;
	core->count++;
	return 0;
}

/* One section's relocations at bytes, size of which follow; how many bytes they take, or -errno. */
static long read_section(struct attach_core *core, const struct btf *btf, const u8 *bytes, u32 size,
			 u32 record_size)
{
	struct ext_section section;
	u64 total;

	if (size < sizeof(section))
		return -EINVAL;
	memcpy(&section, bytes, sizeof(section));
	total = sizeof(section) + (u64)section.count * record_size;
	if (total > size)
		return -EINVAL;
	for (u32 i = 0; i < section.count; i++) {
		struct bpf_core_relo relo;
		int err;

		memcpy(&relo, bytes + sizeof(section) + (size_t)i * record_size, sizeof(relo));
		err = want(core, btf, &relo);
		if (err)
			return err;
	}
	return (long)total;
}

static int read_relocations(struct attach_core *core, const struct btf *btf, const u8 *bytes,
			    u32 size)
{
	struct ext_header header;
	u32 record_size, at, end;

	if (size < sizeof(header))
		return 0;
	memcpy(&header, bytes, sizeof(header));
	if (header.header_length < sizeof(header) || header.header_length > size ||
	    header.relocations_length < sizeof(record_size) ||
	    header.relocations_offset > size - header.header_length ||
	    header.relocations_length > size - header.header_length - header.relocations_offset)
		return 0;
	at = header.header_length + header.relocations_offset;
	end = at + header.relocations_length;
	memcpy(&record_size, bytes + at, sizeof(record_size));
	if (record_size < sizeof(struct bpf_core_relo))
		return 0;
	for (at += (u32)sizeof(record_size); at < end;) {
		long taken = read_section(core, btf, bytes + at, end - at, record_size);

		if (taken < 0)
			return taken == -ENOMEM ? -ENOMEM : 0;
		at += (u32)taken;
	}
	return 0;
}

static int make_file(struct attach_core *core)
{
	core->types = btf__new_empty();
	core->fd = memfd_create("inlay-types", MFD_CLOEXEC);
	if (!core->types || core->fd < 0)
		return -ENOMEM;
	snprintf(core->path, sizeof(core->path), "/proc/self/fd/%d", core->fd);
	return 0;
}

int attach_core_open(const char *object_path, struct attach_core **ret_core)
{
	struct attach_core *core;
	struct btf_ext *ext = NULL;
	struct btf *btf = btf__parse_elf(object_path, &ext);
	const void *bytes = NULL;
	u32 size = 0;
	int err = 0;

	*ret_core = NULL;
	if (!btf || !ext)
		goto free_btf;
	core = calloc(1, sizeof(*core));
	err = -ENOMEM;
	if (!core)
		goto free_btf;
	core->fd = -1;
	bytes = btf_ext__get_raw_data(ext, &size);
	err = bytes ? read_relocations(core, btf, bytes, size) : 0;
	if (!err && core->count)
		err = make_file(core);
	if (err || !core->count)
		attach_core_free(core);
	else
		*ret_core = core;
free_btf:
	btf_ext__free(ext);
	btf__free(btf);
	return err;
}

const char *attach_core_path(const struct attach_core *core)
{
	return core ? core->path : NULL;
}

static bool is_complete(const struct attach_core *core)
{
	for (u32 i = 0; i < core->count; i++) {
		if (!core->wanted[i].found && !is_context(core->wanted[i].name))
			return false;
	}
	return true;
}

static void look_for_wanted(struct attach_core *core)
{
	u32 count = btf__type_cnt(core->types);

	for (u32 id = 1; id < count; id++) {
		const struct btf_type *type = btf__type_by_id(core->types, id);
		const char *name = btf__name_by_offset(core->types, type->name_off);

		for (u32 i = 0; name && *name && i < core->count; i++)
			core->wanted[i].found |= !strcmp(core->wanted[i].name, name);
	}
}

static void take_types(struct attach_core *core, const struct process_module *module,
		       const void *data, size_t size)
{
	struct btf *btf = btf__new(data, (u32)size);
	size_t used = strlen(core->sources);

	if (!btf || btf__add_btf(core->types, btf) < 0)
		snprintf(core->problem, sizeof(core->problem), "the types of %s cannot be used",
			 module->path);
	else
		snprintf(core->sources + used, sizeof(core->sources) - used, "%s%s",
			 used ? ", " : "", module->path);
	btf__free(btf);
	look_for_wanted(core);
}

void attach_core_add(struct attach_core *core, struct process *process, const char *binary)
{
	const struct process_module *module;
	void *data = NULL;
	size_t size = 0;
	int fd;

	if (!core || is_complete(core))
		return;
	module = process_find_module(process, binary);
	if (!module || strstr(core->sources, module->path))
		return;
	fd = process_open_module(process, module);
	if (fd < 0)
		return;
	if (!btf_dwarf_read(fd, module->path, &data, &size, core->problem, sizeof(core->problem)))
		take_types(core, module, data, size);
	free(data);
	close(fd);
}

/* struct pt_regs of x86-64, as the context is laid out. */
static int add_registers(struct attach_core *core)
{
	static const char *const names[] = {"r15", "r14",     "r13", "r12", "bp",    "bx", "r11",
					    "r10", "r9",      "r8",  "ax",  "cx",    "dx", "si",
					    "di",  "orig_ax", "ip",  "cs",  "flags", "sp", "ss"};
	int word = btf__add_int(core->types, "unsigned long", 8, 0);
	int err = word < 0 ? word : 0;

	if (!err)
		err = btf__add_struct(core->types, "pt_regs", (u32)(8 * ARRAY_SIZE(names)));
	for (u32 i = 0; err >= 0 && i < ARRAY_SIZE(names); i++)
		err = btf__add_field(core->types, names[i], word, 64 * i, 0);
	return MIN(err, 0);
}

static int explain(const struct attach_core *core, const char *name, char *problem, size_t size)
{
	if (!*core->sources) {
		snprintf(problem, size, "it uses the target's type '%s', and %s", name,
			 *core->problem ? core->problem : "no binary has types");
		return -ENOENT;
	}
	snprintf(problem, size, "it uses the target's type '%s', which is not among those of %s",
		 name, core->sources);
	return -ENOENT;
}

int attach_core_finish(struct attach_core *core, char *problem, size_t problem_size)
{
	const void *data;
	u32 size;
	bool has_context = false;
	int err;

	if (!core)
		return 0;
	for (u32 i = 0; i < core->count; i++) {
		const struct wanted *wanted = &core->wanted[i];

		if (wanted->needed && !wanted->found && !is_context(wanted->name))
			return explain(core, wanted->name, problem, problem_size);
		has_context |= wanted->found && !strcmp(wanted->name, "pt_regs");
	}
	err = has_context ? 0 : add_registers(core);
	data = err ? NULL : btf__raw_data(core->types, &size);
	if (!data || write(core->fd, data, size) != (ssize_t)size) {
		snprintf(problem, problem_size, "the types of %s cannot be written: out of memory",
			 core->sources);
		return -ENOMEM;
	}
	return 0;
}

void attach_core_free(struct attach_core *core)
{
	if (!core)
		return;
	for (u32 i = 0; i < core->count; i++)
		free(core->wanted[i].name);
	free(core->wanted);
	btf__free(core->types);
	if (core->fd >= 0)
		close(core->fd);
	free(core);
}
