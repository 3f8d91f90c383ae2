/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/attach_section.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/bpf_abi.h"

/* A run costs a system call and a few microseconds. */
#define MIN_PERIOD_NS 100000u

struct kind {
	const char *name;
	bool at_return, many;
	enum attach_kind kind;
	u32 attach_type; /* typed ones */
};

static const struct kind kinds[] = {
	{.name = "uprobe"},
	{.name = "uretprobe", .at_return = true},
	{.name = "uprobe.s"},
	{.name = "uretprobe.s", .at_return = true},
	{.name = "uprobe.multi", .many = true},
	{.name = "uretprobe.multi", .at_return = true, .many = true},
	{.name = "uprobe.multi.s", .many = true},
	{.name = "uretprobe.multi.s", .at_return = true, .many = true},
	{.name = "usdt", .kind = ATTACH_USDT},
	{.name = "usdt.s", .kind = ATTACH_USDT},
	{.name = "tick", .kind = ATTACH_TICK},
	{.name = "interval", .kind = ATTACH_TICK},
	{.name = "fentry", .kind = ATTACH_FENTRY, .attach_type = BPF_TRACE_FENTRY},
	{.name = "fexit", .kind = ATTACH_FEXIT, .attach_type = BPF_TRACE_FEXIT},
	{.name = "fmod_ret", .kind = ATTACH_FMOD_RET, .attach_type = BPF_MODIFY_RETURN},
	{.name = "fentry.s", .kind = ATTACH_FENTRY, .attach_type = BPF_TRACE_FENTRY},
	{.name = "fexit.s", .kind = ATTACH_FEXIT, .attach_type = BPF_TRACE_FEXIT},
	{.name = "fmod_ret.s", .kind = ATTACH_FMOD_RET, .attach_type = BPF_MODIFY_RETURN},
};

/* Sections that are meant for processes and that a later version will serve. */
static const char *const planned[] = {"freplace", "profile", "perf_event", "struct_ops"};

static int __attribute__((format(printf, 3, 4)))
refuse(char *problem, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem, size, format, args);
	va_end(args);
	return -EINVAL;
}

/* Length of the part before the first '/'. */
static size_t prefix_length(const char *text)
{
	return strcspn(text, "/");
}

static bool has_prefix(const char *text, const char *name)
{
	return prefix_length(text) == strlen(name) && !strncmp(text, name, strlen(name));
}

static const struct kind *find_kind(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (has_prefix(text, kinds[i].name))
			return &kinds[i];
	}
	return NULL;
}

static int refuse_section(const char *text, char *problem, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(planned); i++) {
		size_t length = strlen(planned[i]);

		if (!strncmp(text, planned[i], length) && strchr("/.+", text[length]))
			return refuse(problem, size,
				      "section \"%s\": %s programs are not supported yet; use "
				      "uprobe, uretprobe or uprobe.multi",
				      text, planned[i]);
	}
	return refuse(
		problem, size,
		"section \"%s\" is not one that attaches to functions of a process; use uprobe, "
		"uretprobe or uprobe.multi",
		text);
}

/* "+OFFSET" at the end of the function, or a function that is a number. */
static int parse_offset(struct attach_section *section, const char *text, char *problem,
			size_t size)
{
	char *plus = strrchr(section->function, '+');
	char *digits = plus ? plus + 1 : section->function;
	char *end;

	if (!plus && (*digits < '0' || *digits > '9'))
		return 0;
	errno = 0;
	section->offset = strtoull(digits, &end, 0);
	if (*end || end == digits || errno)
		return refuse(problem, size, "section \"%s\": \"%s\" is not an offset", text,
			      digits);
	section->has_offset = true;
	*digits = 0;
	if (plus)
		*plus = 0;
	return 0;
}

/* "/UNIT:NUMBER". */
static int parse_period(const char *words, const char *text, struct attach_section *section,
			char *problem, size_t size)
{
	static const struct {
		const char *name;
		u64 ns;
	} units[] = {{"/s:", 1000000000}, {"/ms:", 1000000}, {"/us:", 1000}, {"/hz:", 0}};
	u64 number = 0, ns = 0;
	char *end = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(units) && !end; i++) {
		size_t length = strlen(units[i].name);

		if (strncmp(words, units[i].name, length))
			continue;
		errno = 0;
		number = strtoull(words + length, &end, 10);
		if (end == words + length || *end || errno || number > 1000000000)
			number = 0;
		ns = units[i].ns ? units[i].ns * number : number ? 1000000000 / number : 0;
	}
	if (!number)
		return refuse(problem, size,
			      "section \"%s\" names no period; write SEC(\"tick/UNIT:NUMBER\") "
			      "with s, ms, us or hz",
			      text);
	if (ns < MIN_PERIOD_NS)
		return refuse(problem, size, "section \"%s\": the shortest period is %u us", text,
			      MIN_PERIOD_NS / 1000);
	*section = (struct attach_section){.kind = ATTACH_TICK, .period_ns = ns};
	return 0;
}

/* "[BINARY:]PROVIDER:NAME"; a binary's path may hold colons. */
static int parse_usdt(const char *words, const char *text, struct attach_section *section,
		      char *problem, size_t size)
{
	const char *name = strrchr(words, ':'), *provider = name;

	while (provider && provider > words && provider[-1] != ':')
		provider--;
	if (!provider || provider == name)
		return refuse(problem, size,
			      "section \"%s\" names no provider; write "
			      "SEC(\"usdt/BINARY:PROVIDER:NAME\")",
			      text);
	*section = (struct attach_section){
		.kind = ATTACH_USDT,
		.binary = strndup(words, provider > words ? (size_t)(provider - words - 1) : 0),
		.provider = strndup(provider, (size_t)(name - provider)),
		.function = strdup(name + 1),
	};
	if (section->binary && section->provider && section->function)
		return 0;
	attach_section_free(section);
	return refuse(problem, size, "out of memory");
}

int attach_section_parse(const char *text, struct attach_section *section, char *problem,
			 size_t problem_size)
{
	const struct kind *kind = find_kind(text);
	const char *binary = text + prefix_length(text);
	const char *colon = strrchr(text, ':');
	int err;

	if (!kind)
		return refuse_section(text, problem, problem_size);
	if (kind->kind == ATTACH_TICK)
		return parse_period(binary, text, section, problem, problem_size);
	if (!*binary || !colon || !colon[1])
		return refuse(problem, problem_size,
			      "section \"%s\" names no function; write SEC(\"%s/BINARY:FUNCTION\")",
			      text, kind->name);
	binary++;
	if (kind->kind == ATTACH_USDT)
		return parse_usdt(binary, text, section, problem, problem_size);
	*section = (struct attach_section){
		.kind = kind->kind,
		.at_return = kind->at_return,
		.many = kind->many,
		.binary = strndup(binary, (size_t)(colon - binary)),
		.function = strdup(colon + 1),
	};
	if (!section->binary || !section->function) {
		attach_section_free(section);
		return refuse(problem, problem_size, "out of memory");
	}
	err = kind->many || kind->kind ? 0 : parse_offset(section, text, problem, problem_size);
	if (err)
		attach_section_free(section);
	return err;
}

void attach_section_free(struct attach_section *section)
{
	free(section->binary);
	free(section->function);
	free(section->provider);
	section->binary = section->function = section->provider = NULL;
}

bool attach_section_is_glob(const struct attach_section *section)
{
	return section->many && strpbrk(section->function, "*?[");
}

/* What libbpf loads a section's programs as. */
static enum bpf_prog_type program_type(const struct kind *kind)
{
	if (kind->kind == ATTACH_TICK)
		return BPF_PROG_TYPE_RAW_TRACEPOINT;
	return kind->attach_type ? BPF_PROG_TYPE_TRACING : BPF_PROG_TYPE_KPROBE;
}

int attach_section_register(void)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, options);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		enum bpf_prog_type type = program_type(&kinds[i]);
		u32 attach_type = type == BPF_PROG_TYPE_KPROBE ? ABI_TRACE_UPROBE_MULTI
							       : kinds[i].attach_type;
		char section[32];
		int id;

		snprintf(section, sizeof(section), "%s+", kinds[i].name);
		id = libbpf_register_prog_handler(section, type, (enum bpf_attach_type)attach_type,
						  &options);
		if (id < 0)
			return id;
	}
	return 0;
}
