/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inlay attach: an object's programs into a process, by their SEC() names.
 *
 * Everything that can fail without the target (object, verifier, functions) comes before the first byte of the target
 * changes; attaching itself is all or nothing.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/backend.h"
#include "agent/spawn.h"
#include "binary/process.h"
#include "cli/attach_core.h"
#include "cli/attach_object.h"
#include "cli/attach_report.h"
#include "cli/attach_resolve.h"
#include "cli/attach_tick.h"
#include "cli/attach_types.h"
#include "cli/attach_usdt.h"
#include "cli/attach_wait.h"
#include "cli/cli.h"
#include "cli/words.h"
#include "format/bpf_abi.h"
#include "helpers/helpers.h"
#include "maps/map.h"
#include "object/object.h"

struct options {
	pid_t pid;
	const char *command;
	const char *path;
	double seconds; /* < 0: no limit */
	bool json, perf_map, follow;
};

/* A program, where it goes, and the link that holds it there. */
struct attached {
	struct bpf_program *program;
	struct attach_section section;
	struct attach_places places;
	int link_fd;
	u64 hits;
};

struct attach {
	struct options options;
	pid_t pid;
	bool is_child;
	int pidfd;
	struct process *process;
	struct bpf_object *object;
	struct attach_types types;
	struct attach_core *core;
	struct printk *printk;
	struct attached *rows;
	u32 count;
	u32 followed;		   /* children of the process */
	struct attach_tick *ticks; /* one a row; without a timer for those that are no ticks */
};

static const char help[] =
	"usage: inlay attach (-p PID | -c 'COMMAND') OBJECT.bpf.o [--duration SECONDS] [--json] [--follow] [--perf-map]\n"
	"\n"
	"Attaches all programs of a BPF object to functions of a process, by their SEC() names. Prints bpf_printk as it\n"
	"comes and the maps at the end. Ends with Ctrl-C, after --duration, or with the process.\n"
	"\n"
	"  -p, --pid PID           a running process\n"
	"  -c, --command 'COMMAND' start this command and attach before its main function; '...' quotes, no shell\n"
	"  -d, --duration SECONDS  detach after so long (fractions allowed)\n"
	"  -j, --json              print {\"maps\":{\"MAP\":[{\"key\":...,\"value\":...}]}} instead; bpf_printk to stderr\n"
	"  -f, --follow            attach to the processes that it forks meanwhile as well, and to theirs\n"
	"      --perf-map          name generated code in the process's /tmp/perf-PID.map while attached, for perf report\n"
	"\n"
	"sections:\n"
	"  uprobe/BINARY:FUNCTION           at the function's entry; context struct pt_regs\n"
	"  uretprobe/BINARY:FUNCTION        at its return\n"
	"  uprobe.multi/BINARY:GLOB         at the entry of every function that matches; uretprobe.multi likewise\n"
	"  usdt/BINARY:PROVIDER:NAME        at every place of an SDT note; usdt.bpf.h reads its arguments\n"
	"  tick/UNIT:NUMBER                 once a period (s, ms, us, hz), in inlay's own process; interval/ likewise\n"
	"  fentry/BINARY:FUNCTION           at its entry; context the arguments, by their types (DWARF or BTF)\n"
	"  fexit/BINARY:FUNCTION            when it has returned: arguments and result\n"
	"  fmod_ret/BINARY:FUNCTION         at its entry; a result that is not 0 becomes the function's, which is not called\n"
	"BINARY is a path as the process sees it, a short name (libc), or nothing or /proc/self/exe: its executable.\n"
	"\n"
	"examples:\n"
	"  inlay attach -p $(pidof redis-server) hot_keys.bpf.o --duration 10\n"
	"  inlay attach -c 'ls -l /' count_malloc.bpf.o --json\n"
	"\n"
	"Exit status: 0, 1 (failed, or the process was killed), 2 (usage). See inlay-attach(1).\n";

static int parse_number(const char *text, double min, double max, double *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtod(text, &end);
	return errno || end == text || *end || !(*ret_number >= min && *ret_number <= max) ? -EINVAL
											   : 0;
}

static int parse_option(int option, const char *word, struct options *options)
{
	double number;

	switch (option) {
	case 'p':
		if (parse_number(optarg, 1, INT32_MAX, &number) || number != (double)(pid_t)number)
			return cli_usage(&cmd_attach, "'%s' is not a process id", optarg);
		options->pid = (pid_t)number;
		return CLI_OK;
	case 'c':
		options->command = optarg;
		return CLI_OK;
	case 'd':
		if (parse_number(optarg, 0, 1e9, &options->seconds))
			return cli_usage(&cmd_attach, "'%s' is not a number of seconds", optarg);
		return CLI_OK;
	case 'j':
		options->json = true;
		return CLI_OK;
	case 'm':
		options->perf_map = true;
		return CLI_OK;
	case 'f':
		options->follow = true;
		return CLI_OK;
	case ':':
		return cli_usage(&cmd_attach, "option '%s' lacks its value", word);
	default:
		return cli_usage(&cmd_attach, "there is no option '%s'", word);
	}
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"pid", required_argument, NULL, 'p'},
		{"command", required_argument, NULL, 'c'},
		{"duration", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},
		{"follow", no_argument, NULL, 'f'},
		{"perf-map", no_argument, NULL, 'm'},
		{0},
	};
	int option;

	*options = (struct options){.seconds = -1};
	while ((option = getopt_long(argc, argv, ":p:c:d:jf", names, NULL)) != -1) {
		int status = parse_option(option, argv[optind - 1], options);

		if (status)
			return status;
	}
	if (!options->pid == !options->command)
		return cli_usage(&cmd_attach, "give one of -p PID and -c 'COMMAND'");
	if (optind == argc)
		return cli_usage(&cmd_attach, "which object?");
	if (optind + 1 != argc)
		return cli_usage(&cmd_attach, "one object at a time, not '%s' as well",
				 argv[optind + 1]);
	options->path = argv[optind];
	return CLI_OK;
}

static bool has_prog_array(const struct bpf_object *object)
{
	const struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY)
			return true;
	}
	return false;
}

/* Beside a prog array, programs whose section names no function are loaded for its slots, not attached. */
static bool is_only_called(const struct attach *attach, const struct bpf_program *program)
{
	return !strchr(bpf_program__section_name(program), '/') && has_prog_array(attach->object);
}

/* Takes each program's section apart, before anything is loaded. */
static int read_sections(struct attach *attach)
{
	struct bpf_program *program;
	char problem[512];

	bpf_object__for_each_program(program, attach->object)
	{
		struct attached *rows;

		if (!bpf_program__autoload(program) || is_only_called(attach, program))
			continue;
		rows = reallocarray(attach->rows, attach->count + 1, sizeof(*rows));
		if (!rows)
			return cli_fail("out of memory");
		attach->rows = rows;
		rows[attach->count] = (struct attached){.program = program, .link_fd = -1};
		if (attach_section_parse(bpf_program__section_name(program),
					 &rows[attach->count].section, problem, sizeof(problem)))
			return cli_fail("%s: program '%s': %s", attach->options.path,
					bpf_program__name(program), problem);
		attach->count++;
	}
	if (!attach->count)
		return cli_fail("%s: it holds no program", attach->options.path);
	return CLI_OK;
}

static int start_command(struct attach *attach)
{
	char **words = words_split(attach->options.command);
	int err;

	if (!words)
		return cli_fail("'%s': %s", attach->options.command,
				errno == EINVAL ? "not a command (is a quote open?)"
						: strerror(errno));
	err = spawn_start(words, &attach->pid);
	if (err == -ECHILD)
		cli_fail("%s ended before its first instruction", words[0]);
	else if (err)
		cli_fail("%s: %s", words[0], strerror(-err));
	free(words);
	attach->is_child = !err;
	return err ? CLI_FAILED : CLI_OK;
}

static int open_target(struct attach *attach)
{
	int err;
	int status = attach->options.command ? start_command(attach) : CLI_OK;

	if (status)
		return status;
	/* After the start, or the command would inherit the blocked signals. */
	attach_wait_prepare();
	attach->pidfd = (int)syscall(__NR_pidfd_open, attach->pid, 0);
	if (attach->pidfd < 0)
		return cli_fail("process %d: %s", attach->pid, strerror(errno));
	err = process_open(attach->pid, &attach->process);
	if (err)
		return cli_fail("process %d: %s", attach->pid, process_problem());
	agent_set_default_pid(attach->pid);
	return CLI_OK;
}

static bool is_tick(const struct attached *row)
{
	return row->section.kind == ATTACH_TICK;
}

static int resolve_all(struct attach *attach)
{
	char problem[512];

	for (u32 i = 0; i < attach->count; i++) {
		struct attached *row = &attach->rows[i];

		if (is_tick(row))
			continue;
		if (attach_resolve(attach->process, &row->section, &row->places, problem,
				   sizeof(problem)))
			return cli_fail("%s: program '%s': %s", attach->options.path,
					bpf_program__name(row->program), problem);
		if (row->places.left_out && row->section.kind == ATTACH_USDT)
			fprintf(stderr, "%s: %u more places of the probe cannot be entered: %s\n",
				bpf_program__name(row->program), row->places.left_out,
				row->places.left_why);
		else if (row->places.left_out)
			fprintf(stderr, "%s: %u more functions match but cannot be probed\n",
				bpf_program__name(row->program), row->places.left_out);
	}
	return CLI_OK;
}

static bool is_typed(const struct attached *row)
{
	return row->section.kind == ATTACH_FENTRY || row->section.kind == ATTACH_FEXIT ||
	       row->section.kind == ATTACH_FMOD_RET;
}

/* Tells libbpf what each typed program is for. */
static int set_targets(struct attach *attach)
{
	char problem[512];

	for (u32 i = 0; i < attach->count; i++) {
		struct attached *row = &attach->rows[i];

		if (!is_typed(row))
			continue;
		if (attach_types_set(&attach->types, attach->process, row->program, &row->section,
				     &row->places, problem, sizeof(problem)))
			return cli_fail("%s: program '%s': %s", attach->options.path,
					bpf_program__name(row->program), problem);
	}
	return CLI_OK;
}

/* Tells the programs of SDT notes how to find arguments. */
static int describe_arguments(struct attach *attach)
{
	char problem[512];
	u32 next = 0, unknown = 0;

	for (u32 i = 0; i < attach->count; i++) {
		struct attached *row = &attach->rows[i];

		if (row->section.kind != ATTACH_USDT)
			continue;
		if (attach_usdt_specs(attach->object, &row->places, &next, &unknown, problem,
				      sizeof(problem)))
			return cli_fail("%s: program '%s': %s", attach->options.path,
					bpf_program__name(row->program), problem);
		if (unknown)
			fprintf(stderr,
				"%s: %u arguments are in places that are not served: they read as "
				"-EINVAL\n",
				bpf_program__name(row->program), unknown);
	}
	return CLI_OK;
}

/* Where to is in the program since it was loaded. */
static int create_typed(const struct attached *row)
{
	union bpf_attr attr = {0};

	attr.link_create.prog_fd = (u32)bpf_program__fd(row->program);
	attr.link_create.attach_type = bpf_program__expected_attach_type(row->program);
	return (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static int create_link(const struct attach *attach, struct attached *row)
{
	struct abi_link_create_uprobe_multi attr = {
		.prog_fd = (u32)bpf_program__fd(row->program),
		.attach_type = ABI_TRACE_UPROBE_MULTI,
		.path = ptr_to_u64(row->places.path),
		.offsets = ptr_to_u64(row->places.offsets),
		.cnt = row->places.count,
		.ref_ctr_offsets = ptr_to_u64(row->places.semaphores),
		.cookies = ptr_to_u64(row->places.cookies),
		.multi_flags = row->section.at_return ? ABI_UPROBE_MULTI_RETURN : 0,
		.pid = (u32)attach->pid,
	};

	row->link_fd = is_typed(row) ? create_typed(row)
				     : (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	if (row->link_fd >= 0)
		return CLI_OK;
	return cli_fail("program '%s' cannot be attached to process %d: %s",
			bpf_program__name(row->program), attach->pid,
			*object_link_problem() ? object_link_problem() : strerror(errno));
}

static void detach_all(struct attach *attach)
{
	for (u32 i = attach->count; i-- > 0;) {
		if (attach->rows[i].link_fd < 0)
			continue;
		close(attach->rows[i].link_fd);
		attach->rows[i].link_fd = -1;
	}
}

/* After everything is attached: the first runs are due a period later. */
static int start_ticks(struct attach *attach)
{
	int err = 0;

	attach->ticks = calloc(attach->count, sizeof(*attach->ticks));
	if (!attach->ticks)
		return cli_fail("out of memory");
	for (u32 i = 0; i < attach->count; i++)
		attach->ticks[i].timer = -1;
	for (u32 i = 0; i < attach->count && !err; i++) {
		const struct attached *row = &attach->rows[i];

		if (is_tick(row))
			err = attach_tick_start(bpf_program__fd(row->program),
						row->section.period_ns, &attach->ticks[i]);
	}
	return err ? cli_fail("a timer cannot be made: %s", strerror(-err)) : CLI_OK;
}

static int attach_all(struct attach *attach)
{
	u32 places = 0;

	for (u32 i = 0; i < attach->count; i++) {
		if (!is_tick(&attach->rows[i]) && create_link(attach, &attach->rows[i])) {
			detach_all(attach);
			return CLI_FAILED;
		}
		places += attach->rows[i].places.count;
	}
	fprintf(stderr, "attached %u program%s to %u function%s of process %d\n", attach->count,
		attach->count == 1 ? "" : "s", places, places == 1 ? "" : "s", attach->pid);
	return CLI_OK;
}

/* Runs of each program. Exact for the only one; several are asked one after the other while all still run. */
static void ask_hits(struct attach *attach)
{
	for (u32 i = 0; i < attach->count; i++) {
		struct bpf_prog_info info = {0};
		u32 size = sizeof(info);

		if (!bpf_obj_get_info_by_fd(bpf_program__fd(attach->rows[i].program), &info, &size))
			agent_prog_hits(info.id, &attach->rows[i].hits);
	}
}

static void report_hits(const struct attached *row, bool exited)
{
	const char *name = bpf_program__name(row->program);

	if (exited && !row->hits)
		fprintf(stderr, "%s: hits are not known, the process is gone\n", name);
	else
		fprintf(stderr, "%s: %s%llu hits\n", name, exited ? "at least " : "",
			(unsigned long long)row->hits);
}

static void report_tick(const struct attached *row, const struct attach_tick *tick)
{
	fprintf(stderr, "%s: %llu runs", bpf_program__name(row->program),
		(unsigned long long)tick->runs);
	if (tick->missed)
		fprintf(stderr, ", %llu left out", (unsigned long long)tick->missed);
	fputc('\n', stderr);
}

static void report_counts(struct attach *attach)
{
	const struct map *ring = object_map_view(printk_map_fd(attach->printk));
	struct agent_stats stats;

	agent_stats(&stats);
	if (attach->count == 1)
		attach->rows[0].hits = stats.hits;
	for (u32 i = 0; i < attach->count; i++) {
		if (is_tick(&attach->rows[i]))
			report_tick(&attach->rows[i], &attach->ticks[i]);
		else
			report_hits(&attach->rows[i], stats.exited);
	}
	if (attach->options.follow)
		fprintf(stderr, "%u child%s followed\n", attach->followed,
			attach->followed == 1 ? "" : "ren");
	fprintf(stderr, "%llu missed\n", (unsigned long long)stats.missed);
	if (ring && ring->shared->dropped)
		fprintf(stderr, "bpf_printk: %llu lines dropped\n",
			(unsigned long long)ring->shared->dropped);
	attach_report_drops(attach->object);
}

/* What the end of the target means for our exit status; says it. */
static int judge_exit(const struct attach *attach)
{
	char fate[64];
	bool clean;

	attach_wait_fate(attach->pid, attach->pidfd, attach->is_child, fate, sizeof(fate), &clean);
	fprintf(stderr, "process %d %s\n", attach->pid, fate);
	/* A command's own exit status is its own affair; only a violent end is a failure of ours to tell. */
	return clean || (attach->is_child && strstr(fate, "status")) ? CLI_OK : CLI_FAILED;
}

/* The target's session has ended, and the process has not. */
static int judge_exec(const struct attach *attach)
{
	char link[40], path[512];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/%d/exe", attach->pid);
	length = readlink(link, path, sizeof(path) - 1);
	path[MAX(length, 0)] = 0;
	return cli_fail("process %d executed another program%s%s; its probes went with the old one",
			attach->pid, length > 0 ? ", " : "", path);
}

static void follow_children(void *opaque)
{
	struct attach *attach = opaque;
	struct agent_followed followed;

	agent_follow_children(&followed);
	attach->followed += followed.count;
	if (followed.failed)
		fprintf(stderr, "a child is not followed: %s\n", followed.problem);
}

static int watch(struct attach *attach)
{
	const struct attach_watch watch = {
		.pidfd = attach->pidfd,
		.session_fd = agent_session_fd(attach->pid),
		.seconds = attach->options.seconds,
		.printk = attach->printk,
		.periodic = attach->ticks,
		.periodic_count = attach->count,
		.tick = attach->options.follow ? follow_children : NULL,
		.opaque = attach,
	};
	enum attach_end end = ATTACH_END_SIGNAL;
	int status = CLI_OK;
	int reported;
	int err = attach_wait(&watch, &end);

	if (err)
		status = cli_fail("waiting: %s", strerror(-err));
	if (end == ATTACH_END_EXIT)
		status = judge_exit(attach);
	if (end == ATTACH_END_EXEC)
		status = judge_exec(attach);
	ask_hits(attach);
	detach_all(attach);
	if (attach->options.follow)
		agent_follow_end();
	printk_drain(attach->printk);
	reported =
		attach_report_maps(stdout, attach->object, attach->process, attach->options.json);
	report_counts(attach);
	return status ? status : reported;
}

static int open_printk(struct attach *attach)
{
	attach->printk = printk_open(attach->options.json ? stderr : stdout);
	if (!attach->printk)
		return cli_fail("the ring for bpf_printk cannot be made: %s", strerror(errno));
	agent_set_printk_ring(object_map_view(printk_map_fd(attach->printk)));
	/* Ticks print as well. */
	helpers_set_printk_ring(object_map_view(printk_map_fd(attach->printk)));
	return CLI_OK;
}

static int open_object(struct attach *attach)
{
	const char *path = attach->options.path;

	if (attach_core_open(path, &attach->core))
		return cli_fail("out of memory");
	return attach_object_open(path, attach_core_path(attach->core), &attach->object);
}

/* The types that the object is relocated against: of the binaries its sections name, then of the executable. */
static int collect_types(struct attach *attach)
{
	char problem[768];

	for (u32 i = 0; i < attach->count; i++)
		if (!is_tick(&attach->rows[i]))
			attach_core_add(attach->core, attach->process,
					attach->rows[i].section.binary);
	attach_core_add(attach->core, attach->process, "");
	if (attach_core_finish(attach->core, problem, sizeof(problem)))
		return cli_fail("%s: %s", attach->options.path, problem);
	return CLI_OK;
}

/* Each step tells its own failure. */
static int run_steps(struct attach *attach)
{
	int status = open_object(attach);

	if (!status)
		status = read_sections(attach);
	if (!status)
		status = open_target(attach);
	if (!status)
		status = resolve_all(attach);
	if (!status)
		status = set_targets(attach);
	if (!status)
		status = collect_types(attach);
	if (!status)
		status = attach_object_load(attach->options.path, attach->object);
	if (!status)
		status = describe_arguments(attach);
	if (!status)
		status = open_printk(attach);
	agent_set_perf_map(attach->options.perf_map);
	if (!status)
		status = attach_all(attach);
	if (!status)
		status = start_ticks(attach);
	attach_types_free(&attach->types);
	attach_core_free(attach->core);
	if (!status && attach->is_child)
		spawn_resume(attach->pid);
	return status ? status : watch(attach);
}

static void close_attach(struct attach *attach)
{
	detach_all(attach);
	for (u32 i = 0; i < attach->count; i++) {
		attach_section_free(&attach->rows[i].section);
		attach_places_free(&attach->rows[i].places);
	}
	free(attach->rows);
	agent_set_printk_ring(NULL);
	helpers_set_printk_ring(NULL);
	for (u32 i = 0; i < attach->count && attach->ticks; i++)
		attach_tick_stop(&attach->ticks[i]);
	free(attach->ticks);
	printk_close(attach->printk);
	bpf_object__close(attach->object);
	process_close(attach->process);
	if (attach->is_child && spawn_held(attach->pid))
		spawn_kill(attach->pid);
	if (attach->pidfd >= 0)
		close(attach->pidfd);
}

static int run_attach(int argc, char **argv)
{
	struct attach attach = {0};
	int status = parse_options(argc, argv, &attach.options);

	if (status)
		return status;
	attach.pid = attach.options.pid;
	attach.pidfd = -1;
	object_set_link_backend(&agent_link_backend);
	if (attach.options.follow)
		agent_follow();
	status = run_steps(&attach);
	close_attach(&attach);
	return status;
}

const struct cli_verb cmd_attach = {
	.name = "attach",
	.summary = "attach an object's programs to functions of a process",
	.help = help,
	.run = run_attach,
};
