/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay-list(1): which functions of a file or a process can be probed, and how each would be entered. */
#include "binary/binary.h"
#include "binary/process.h"
#include "cli/cli.h"
#include "cli/list_print.h"
#include "hook/poke.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
	pid_t pid; /* 0: file */
	const char *file;
	char *module_glob; /* NULL: any */
	const char *function_glob;
	bool verbose, json, all, summary;
};

/* A file under the hand, as part of a process or alone (process NULL, bias 0). */
struct subject {
	const char *label;
	struct binary *binary;
	struct process *process;
	const struct process_module *module;
	u64 bias;
};

struct lister {
	const struct options *options;
	struct list_printer printer;
	struct timespec started;
	bool progress; /* stderr is a terminal */
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void show_progress(const struct lister *lister, size_t done, size_t of)
{
	if (lister->progress && seconds_since(&lister->started) > 1)
		fprintf(stderr, "\rinlay: %zu of %zu files\033[K", done, of);
}

static void end_progress(const struct lister *lister)
{
	if (lister->progress && seconds_since(&lister->started) > 1)
		fputs("\r\033[K", stderr);
}

static enum poke_protocol protocol_of(const struct site_spec *spec)
{
	struct poke poke = {
		.address = spec->address,
		.size = 5,
		.window = spec->kind == SITE_PROLOGUE ? spec->displaced.length : 0,
	};

	return poke_choose(&poke);
}

/*
 * An IFUNC stands for the implementation in use: what a probe on its name would enter. False with the reason where
 * that is not known.
 */
static bool follow_ifunc(struct subject *subject, const struct binary_function **function,
			 struct list_row *row)
{
	u64 address, offset;
	const struct binary_function *found;

	if (!subject->process) {
		row->reason =
			"its implementation is chosen when the program starts: list the process";
		return false;
	}
	if (process_resolve_ifunc(subject->process, subject->module, *function, &address) ||
	    process_module_at(subject->process, address) != subject->module ||
	    binary_address_to_offset(subject->binary, address - subject->bias, &offset)) {
		row->reason = "which implementation this process uses is not known";
		return false;
	}
	found = binary_at_offset(subject->binary, offset);
	if (!found || found->address + subject->bias != address) {
		row->reason = "its implementation begins in the middle of another function";
		return false;
	}
	row->address = address;
	row->size = found->size;
	row->implementation = found->name;
	*function = found;
	return true;
}

static void plan_row(struct lister *lister, struct subject *subject,
		     const struct binary_function *function, struct list_row *row)
{
	struct site_spec spec;

	if (function->is_ifunc && !lister->options->summary &&
	    !follow_ifunc(subject, &function, row))
		return;
	if (binary_plan(subject->binary, function, &spec, &row->reason))
		return;
	binary_rebase(&spec, subject->bias);
	row->reason = NULL;
	row->how = binary_plan_name(&spec);
	row->kind = spec.kind;
	row->window = spec.displaced.length;
	row->protocol = (u8)protocol_of(&spec);
}

static bool is_wanted(const struct options *options, const struct binary_function *function)
{
	if (!function->is_entry || (!function->name && !options->all) ||
	    (function->is_compat && !options->all))
		return false;
	return !options->function_glob ||
	       (function->name && !fnmatch(options->function_glob, function->name, 0));
}

static void list_subject(struct lister *lister, struct subject *subject)
{
	const struct options *options = lister->options;
	const struct binary_function *functions;
	bool plan = options->verbose || options->json || options->summary;
	u64 last = 0;
	size_t count;

	functions = binary_functions(subject->binary, &count);
	for (size_t i = 0; i < count; i++) {
		const struct binary_function *function = &functions[i];
		struct list_row row = {
			.module = subject->label,
			.name = function->name,
			.offset = function->file_offset,
			.address = function->address + subject->bias,
			.size = function->size,
		};

		if (!is_wanted(options, function))
			continue;
		/* The table counts code, not names. */
		if (options->summary && function->address == last)
			continue;
		last = function->address;
		if (plan)
			plan_row(lister, subject, function, &row);
		list_print_row(&lister->printer, &row);
	}
}

static int list_file(struct lister *lister, const char *path)
{
	struct subject subject = {.label = base_name(path)};
	int fd, err;

	if (lister->options->module_glob && fnmatch(lister->options->module_glob, subject.label, 0))
		return CLI_OK;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail("%s: %s", path, strerror(errno));
	err = binary_open(fd, path, &subject.binary);
	close(fd);
	if (err == -ENOMEM)
		return cli_fail("%s: out of memory", path);
	if (err)
		return cli_fail("%s", binary_problem());
	list_subject(lister, &subject);
	binary_close(subject.binary);
	return CLI_OK;
}

/* A pattern for the base name or path, or any name that a probe may call the file by ("libc", "exe"). */
static bool is_module_wanted(const struct options *options, struct process *process,
			     const struct process_module *module)
{
	const char *glob = options->module_glob;

	return !glob || !fnmatch(glob, base_name(module->path), 0) ||
	       !fnmatch(glob, module->path, 0) || process_find_module(process, glob) == module;
}

/* What stands against attaching to the process at all, or NULL. */
static const char *obstacle(const struct process_facts *facts)
{
	if (facts->elf_class == ELFCLASS32)
		return "is a 32-bit program";
	if (facts->machine != EM_X86_64)
		return "is for another machine";
	if (facts->is_static)
		return "is linked statically";
	if (facts->is_musl)
		return "runs on musl libc";
	return NULL;
}

static int list_modules(struct lister *lister, struct process *process)
{
	const struct process_module *modules;
	size_t count;

	modules = process_modules(process, &count);
	for (size_t i = 0; i < count; i++) {
		struct subject subject = {
			.label = base_name(modules[i].path),
			.process = process,
			.module = &modules[i],
			.bias = modules[i].bias,
		};

		show_progress(lister, i, count);
		if (!is_module_wanted(lister->options, process, &modules[i]))
			continue;
		if (!process_binary(process, &modules[i], &subject.binary))
			list_subject(lister, &subject);
		else if (modules[i].is_exe)
			return cli_fail("%s", binary_problem());
		else
			fprintf(stderr, "inlay: left out: %s\n", binary_problem());
	}
	end_progress(lister);
	return CLI_OK;
}

static int list_process(struct lister *lister, pid_t pid)
{
	struct process *process;
	const char *against;
	int err, status;

	err = process_open(pid, &process);
	if (err == -ENOMEM)
		return cli_fail("out of memory");
	if (err)
		return cli_fail("%s", process_problem());
	against = obstacle(process_facts(process));
	if (against && process_facts(process)->elf_class != ELFCLASS64) {
		process_close(process);
		return cli_fail("process %d %s: its functions cannot be probed", pid, against);
	}
	if (against)
		fprintf(stderr, "inlay: process %d %s: these functions cannot be probed in it\n",
			pid, against);
	status = list_modules(lister, process);
	/* Names that were printed live in its files; the printer keeps none. */
	process_close(process);
	return status;
}

static bool parse_pid(const char *text, pid_t *ret_pid)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || *end || end == text || value <= 0 || value > 0x7fffffff)
		return false;
	*ret_pid = (pid_t)value;
	return true;
}

/* "MODULE:FUNCTION" or "FUNCTION"; a C++ name's "::" separates nothing. */
static int take_glob(struct options *options, const char *glob)
{
	const char *colon = strchr(glob, ':');

	options->function_glob = glob;
	if (!colon || colon[1] == ':')
		return CLI_OK;
	options->module_glob = strndup(glob, (size_t)(colon - glob));
	options->function_glob = colon[1] ? colon + 1 : NULL;
	if (!options->module_glob)
		return cli_fail("out of memory");
	if (!*options->module_glob) {
		free(options->module_glob);
		options->module_glob = NULL;
	}
	return CLI_OK;
}

static int take_words(struct options *options, int count, char **words)
{
	int next = 0;

	if (!options->pid) {
		if (!count)
			return cli_usage(&cmd_list, "name a file, or a process with -p PID");
		options->file = words[next++];
	}
	if (count - next > 1)
		return cli_usage(&cmd_list, "one GLOB at most, and here is '%s' too",
				 words[next + 1]);
	return next < count ? take_glob(options, words[next]) : CLI_OK;
}

static int take_options(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{"pid", required_argument, NULL, 'p'}, {"verbose", no_argument, NULL, 'v'},
		{"all", no_argument, NULL, 'a'},       {"json", no_argument, NULL, 'j'},
		{"summary", no_argument, NULL, 's'},   {},
	};
	int option;

	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":p:va", names, NULL)) != -1) {
		switch (option) {
		case 'p':
			if (!parse_pid(optarg, &options->pid))
				return cli_usage(&cmd_list, "'%s' is not a process id", optarg);
			break;
		case 'v':
			options->verbose = true;
			break;
		case 'a':
			options->all = true;
			break;
		case 'j':
			options->json = true;
			break;
		case 's':
			options->summary = options->all = true;
			break;
		case ':':
			return cli_usage(&cmd_list, "%s needs a value", argv[optind - 1]);
		default:
			return cli_usage(&cmd_list, "unknown option '%s'", argv[optind - 1]);
		}
	}
	return take_words(options, argc - optind, argv + optind);
}

static int run_list(int argc, char **argv)
{
	struct options options = {};
	struct lister lister = {.options = &options, .progress = isatty(STDERR_FILENO)};
	int status = take_options(&options, argc, argv);

	if (status)
		goto free_options;
	clock_gettime(CLOCK_MONOTONIC, &lister.started);
	lister.printer.style = options.json	 ? LIST_JSON
			       : options.summary ? LIST_SUMMARY
			       : options.verbose ? LIST_VERBOSE
						 : LIST_PLAIN;
	list_print_begin(&lister.printer);
	status =
		options.pid ? list_process(&lister, options.pid) : list_file(&lister, options.file);
	list_print_end(&lister.printer);
	if (!status && !lister.printer.rows)
		status = cli_fail("no function%s%s can be listed",
				  options.function_glob ? " that matches " : "",
				  options.function_glob ? options.function_glob : "");
	if (!status && (fflush(stdout) || ferror(stdout)))
		status = cli_fail("the list could not be written: %s", strerror(errno));
free_options:
	free(options.module_glob);
	return status;
}

const struct cli_verb cmd_list = {
	.name = "list",
	.summary = "list the functions that can be probed, and how each would be entered",
	.help = "usage: inlay list (-p PID | FILE) [GLOB] [-v] [-a] [--json | --summary]\n"
		"\n"
		"Lists the functions of a file, or of every file that a process maps, one MODULE:FUNCTION a line.\n"
		"GLOB is a pattern of function names, or MODULE:FUNCTION with a pattern for each ('exe' is the program, 'libc' is libc.so.6).\n"
		"\n"
		"  -p, --pid PID   the functions of a running process, at the addresses they have there\n"
		"  -v, --verbose   address, size, how a probe would enter, and if it cannot, why\n"
		"  -a, --all       also functions without a name (by file offset) and old symbol versions\n"
		"      --json      the same as one JSON document\n"
		"      --summary   how many functions of each file can be entered in which way\n"
		"\n"
		"examples:\n"
		"  inlay list -p $(pidof redis-server) 'process*'\n"
		"  inlay list -v /lib/x86_64-linux-gnu/libc.so.6 malloc\n"
		"  inlay list -p $(pidof nginx) 'libssl*:SSL_*' --json\n"
		"  inlay list --summary /usr/bin/python3\n",
	.run = run_list,
};
