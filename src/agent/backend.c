/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/backend_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/spawn.h"
#include "binary/foreign.h"
#include "maps/map.h"

static pid_t default_pid;
struct backend backend = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- targets ---- */

static int begin_perf_map(struct target *target, const struct problem *problem)
{
	struct wire_reply reply;
	int error = target_ask(target, WIRE_PERF_MAP, NULL, 0, NULL, 0, &reply);

	return error ? problem_set(problem, error,
				   "process %d cannot write its perf map in /tmp: %s", target->pid,
				   error == -EPERM ? "another user's file has the name"
						   : strerror(-error))
		     : 0;
}

int backend_add_target(struct target *target, const struct problem *problem)
{
	int error;

	if (backend.printk_ring)
		target_send_map(target, WIRE_PRINTK, backend.printk_ring, NULL);
	error = backend.perf_map_wanted ? begin_perf_map(target, problem) : 0;
	if (error)
		return error;
	target->next = backend.targets;
	backend.targets = target;
	return 0;
}

static int get_target(pid_t pid, const struct problem *problem, struct target **ret_target)
{
	struct target *target = backend.targets;
	int error;

	while (target && (target->pid != pid || target->exited))
		target = target->next;
	if (!target) {
		follow_begin(pid);
		error = target_open(pid, spawn_held(pid), problem, &target);
		if (error)
			return error;
		error = backend_add_target(target, problem);
		if (error) {
			target_close(target);
			return error;
		}
	}
	target->users++;
	target->stop.held_tid = spawn_held(pid);
	*ret_target = target;
	return 0;
}

void backend_put_target(struct target *target)
{
	if (--target->users)
		return;
	for (struct target **at = &backend.targets; *at; at = &(*at)->next) {
		if (*at == target) {
			*at = target->next;
			break;
		}
	}
	backend.past.missed += target->missed;
	backend.past.stops += target->stops;
	backend.past.stop_total_ns += target->stop_total_ns;
	backend.past.stop_max_ns = MAX(backend.past.stop_max_ns, target->stop_max_ns);
	backend.past.hold_max_ns = MAX(backend.past.hold_max_ns, target->hold_max_ns);
	backend.past.exited |= target->exited;
	target_close(target);
}

/* ---- programs ---- */

static int get_prog(struct target *target, int prog_fd, u64 near, const struct problem *problem,
		    struct target_prog **ret_prog)
{
	struct target_prog *free_prog = NULL;
	struct image_header image;
	int error;

	if (pread(prog_fd, &image, sizeof(image), 0) != (ssize_t)sizeof(image) ||
	    image.magic != IMAGE_MAGIC)
		return problem_set(problem, -EINVAL, "descriptor %d is not a program", prog_fd);
	for (u32 i = 0; i < TARGET_MAX_PROGS; i++) {
		struct target_prog *prog = &target->progs[i];

		if (prog->prog_id == image.prog_id) {
			prog->users++;
			*ret_prog = prog;
			return 0;
		}
		if (!prog->prog_id && !free_prog)
			free_prog = prog;
	}
	if (!free_prog)
		return problem_set(
			problem, -ENOSPC,
			"%d programs are attached to process %d, and there is room for no more",
			TARGET_MAX_PROGS, target->pid);
	error = target_send_prog(target, prog_fd, image.prog_id,
				 (struct target_place){.near = near}, problem, &free_prog->handle);
	if (error)
		return error;
	if (image.facts & IMAGE_FACT_STACK)
		target_send_tables(target);
	free_prog->prog_id = image.prog_id;
	free_prog->users = 1;
	free_prog->hits = 0;
	*ret_prog = free_prog;
	return 0;
}

static void ask_hits(struct target *target, struct target_prog *prog)
{
	const struct wire_stats *answer = (const void *)target->message.payload;
	struct wire_handle request = {prog->handle};

	if (target_request(target, WIRE_STATS, &request, sizeof(request), NULL, 0) ||
	    target->message.kind != WIRE_STATS || target->message.size != sizeof(*answer) ||
	    answer->error)
		return;
	prog->hits = answer->hits;
	target->missed = answer->missed;
}

void backend_ask_hits(struct target *target)
{
	for (u32 i = 0; i < TARGET_MAX_PROGS; i++) {
		if (target->progs[i].prog_id)
			ask_hits(target, &target->progs[i]);
	}
}

/* Without memory they are missing from the program's own sum. */
static void keep_hits(const struct target_prog *prog)
{
	struct past_prog *grown;

	backend.past.hits += prog->hits;
	for (u32 i = 0; i < backend.past_count; i++) {
		if (backend.past_progs[i].prog_id != prog->prog_id)
			continue;
		backend.past_progs[i].hits += prog->hits;
		return;
	}
	grown = reallocarray(backend.past_progs, backend.past_count + 1, sizeof(*grown));
	if (!grown)
		return;
	backend.past_progs = grown;
	grown[backend.past_count++] = (struct past_prog){prog->prog_id, prog->hits};
}

static void put_prog(struct target *target, struct target_prog *prog)
{
	struct wire_handle request = {prog->handle};
	struct wire_reply reply;

	if (--prog->users)
		return;
	ask_hits(target, prog);
	keep_hits(prog);
	target_ask(target, WIRE_DROP_PROG, &request, sizeof(request), NULL, 0, &reply);
	prog->prog_id = 0;
}

/* ---- sites ---- */

/* The function that a file offset names, through the process's own choice where it is an IFUNC. */
static int find_function(struct process *process, const struct process_module *module,
			 struct binary *binary, u64 offset, const struct problem *problem,
			 const struct binary_function **ret_function)
{
	const struct binary_function *function = binary_at_offset(binary, offset);
	u64 address, real;

	if (!function || function->file_offset != offset)
		return problem_set(problem, -EINVAL,
				   "%s has no function that begins at offset %#llx", module->path,
				   (unsigned long long)offset);
	if (function->is_ifunc) {
		if (process_resolve_ifunc(process, module, function, &address) ||
		    binary_address_to_offset(binary, address - module->bias, &real) ||
		    !(function = binary_at_offset(binary, real)))
			return problem_set(
				problem, -ENOENT,
				"which implementation of the function at %#llx of %s is used is not known",
				(unsigned long long)offset, module->path);
	}
	*ret_function = function;
	return 0;
}

/* What gcc's returns_twice names: the second return would find no hooked one, and the process would die of it. */
static bool returns_twice(const struct binary_function *function)
{
	static const char *const names[] = {
		"setjmp", "_setjmp", "sigsetjmp",    "__sigsetjmp", "savectx",
		"vfork",  "__vfork", "__libc_vfork", "getcontext",  "__getcontext"};

	for (size_t i = 0; function->name && i < ARRAY_SIZE(names); i++) {
		if (!strcmp(function->name, names[i]))
			return true;
	}
	return false;
}

static enum hook_side side_of(const struct link_request *request)
{
	switch (request->kind) {
	case LINK_FEXIT:
		return HOOK_EXIT;
	case LINK_MODIFY:
		return HOOK_MODIFY;
	case LINK_FENTRY:
	case LINK_REGS:
		break;
	}
	return request->at_return ? HOOK_RETURN : HOOK_ENTRY;
}

/* Links of functions by name, as BTF has them: where that is. */
static int find_offset(struct process *process, const struct process_module *module,
		       struct binary *binary, const char *name, const struct problem *problem,
		       u64 *ret_offset)
{
	u64 address;
	int error = process_find_function(process, module, name, &address);

	if (!error)
		error = binary_address_to_offset(binary, address - module->bias, ret_offset);
	return error ? problem_set(problem, error, "%s", process_problem()) : 0;
}

/* What is being planned, for the functions that refuse it. */
struct place {
	struct process *process;
	const struct process_module *module;
	struct binary *binary;
	const struct link_request *request;
	const struct problem *problem;
	u64 offset, semaphore; /* in the file; semaphore 0: none */
};

static bool is_point(const struct place *place)
{
	const struct link_request *request = place->request;
	const struct binary_function *function = binary_at_offset(place->binary, place->offset);

	return request->kind == LINK_REGS && !request->at_return && !request->function &&
	       (!function || function->file_offset != place->offset);
}

static int plan_point(const struct place *place, struct site_spec *spec)
{
	const char *reason = "";
	u64 address;
	int error = binary_offset_to_address(place->binary, place->offset, &address);

	if (!error)
		error = binary_plan_point(place->binary, address, spec, &reason);
	return error ? problem_set(place->problem, error, "offset %#llx of %s cannot be probed: %s",
				   (unsigned long long)place->offset, place->module->path, reason)
		     : 0;
}

static int plan_entry(const struct place *place, struct site_spec *spec)
{
	const struct link_request *request = place->request;
	const struct binary_function *function = NULL;
	const char *reason = "";
	int error = find_function(place->process, place->module, place->binary, place->offset,
				  place->problem, &function);

	if (error)
		return error;
	if (side_of(request) != HOOK_ENTRY && returns_twice(function))
		return problem_set(place->problem, -EOPNOTSUPP,
				   "%s in %s returns twice: only its entry can be probed",
				   function->name, place->module->path);
	error = binary_plan(place->binary, function, spec, &reason);
	return error ? problem_set(place->problem, error, "%s in %s cannot be entered: %s",
				   function->name ? function->name : "the function",
				   place->module->path, reason)
		     : 0;
}

static int plan_semaphore(const struct place *place, struct site_spec *spec)
{
	if (!place->semaphore)
		return 0;
	if (binary_offset_to_address(place->binary, place->semaphore, &spec->semaphore))
		return problem_set(place->problem, -EINVAL,
				   "%s has nothing at the semaphore's offset %#llx",
				   place->module->path, (unsigned long long)place->semaphore);
	return 0;
}

static int plan_site(struct place *place, u32 index, struct site_spec *spec)
{
	const struct link_request *request = place->request;
	char foreign[512];
	int error = 0;

	place->offset = request->offsets ? request->offsets[index] : 0;
	place->semaphore = request->semaphores ? request->semaphores[index] : 0;
	if (request->function)
		error = find_offset(place->process, place->module, place->binary, request->function,
				    place->problem, &place->offset);
	memset(spec, 0, sizeof(*spec));
	if (!error)
		error = is_point(place) ? plan_point(place, spec) : plan_entry(place, spec);
	if (!error)
		error = plan_semaphore(place, spec);
	if (error)
		return error;
	binary_rebase(spec, place->module->bias);
	if (foreign_check(place->process, spec, foreign, sizeof(foreign)))
		return problem_set(place->problem, -EBUSY,
				   "offset %#llx of %s cannot be entered: %s",
				   (unsigned long long)place->offset, place->module->path, foreign);
	return 0;
}

static const struct process_module *find_module(struct target *target, const char *path)
{
	const struct process_module *module = process_find_module(target->process, path);

	/* It may have been loaded since we looked. */
	if (!module && !process_refresh(target->process))
		module = process_find_module(target->process, path);
	return module;
}

/* Which file's bytes the sites are, as the agent will find it in its own /proc. */
static void identify_sites(pid_t pid, struct wire_site *sites, u32 count)
{
	unsigned long start, end, offset, inode;
	unsigned int major, minor;
	char path[40], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx %x:%x %lu", &start, &end, &offset, &major, &minor,
			   &inode) != 6)
			continue;
		for (u32 i = 0; i < count; i++) {
			struct site_spec *site = &sites[i].site;

			if (site->address >= start && site->address < end)
				site->file = (struct site_file){(u64)major << 32 | minor, inode,
								site->address - start + offset};
		}
	}
	if (maps)
		fclose(maps);
}

static int plan_sites(struct target *target, const struct link_request *request,
		      const struct problem *problem, struct wire_site **ret_sites)
{
	const struct process_module *module = find_module(target, request->path);
	struct place place = {target->process, module, NULL, request, problem, 0, 0};
	struct wire_site *sites;
	int error;

	if (!module)
		return problem_set(problem, -ENOENT, "%s is not loaded in process %d",
				   request->path, target->pid);
	error = process_binary(target->process, module, &place.binary);
	if (error)
		return problem_set(problem, error, "%s: %s", module->path, binary_problem());
	target_send_table(target, module);
	sites = calloc(request->count, sizeof(*sites));
	if (!sites)
		return problem_set(problem, -ENOMEM, "out of memory");
	for (u32 i = 0; !error && i < request->count; i++) {
		error = plan_site(&place, i, &sites[i].site);
		sites[i].cookie = request->cookies ? request->cookies[i] : 0;
	}
	if (error) {
		free(sites);
		return error;
	}
	identify_sites(target->pid, sites, request->count);
	*ret_sites = sites;
	return 0;
}

static const char *function_name(struct process *process, u64 address)
{
	const struct process_module *module = process_module_at(process, address);
	const struct binary_function *function = NULL;
	struct binary *binary;
	u64 offset;

	if (module && !process_binary(process, module, &binary) &&
	    !binary_address_to_offset(binary, address - module->bias, &offset))
		function = binary_at_offset(binary, offset);
	return function && function->name ? function->name : "a function without a name";
}

/* Somebody of the same process has the bytes, with whom they cannot be shared. */
static int explain_owner(const struct target *target, const struct problem *problem, u64 address,
			 u64 owner)
{
	const char *name = function_name(target->process, owner);

	if (owner == address)
		return problem_set(problem, -EBUSY,
				   "%s in process %d cannot be probed: programs are attached to it "
				   "already that see other types or another place of it",
				   name, target->pid);
	return problem_set(
		problem, -EBUSY,
		"the function at %#llx in process %d cannot be probed: its bytes belong to "
		"the probe on %s, whose window reaches there",
		(unsigned long long)address, target->pid, name);
}

static int explain_attach(const struct target *target, int error, const struct problem *problem,
			  u64 address)
{
	const char *cause = strerror(-error);

	switch (error) {
	case -ESRCH:
		return problem_set(problem, error, "process %d exited", target->pid);
	case -EBUSY:
		cause = "its first bytes are not those of the file (somebody else has patched it)";
		break;
	case -ERANGE:
		cause = "there is no free address space for code within reach of it";
		break;
	case -EAGAIN:
		cause = "a thread stays inside its first instructions";
		break;
	case -E2BIG:
		cause = "too many programs are attached to it";
		break;
	default:
		break;
	}
	return problem_set(problem, error,
			   "the function at %#llx in process %d cannot be probed: %s",
			   (unsigned long long)address, target->pid, cause);
}

static int send_sites(struct target *target, const struct link_request *request,
		      const struct wire_site *sites, u32 program, const struct problem *problem,
		      u32 *ret_handle)
{
	struct wire_attach attach = {
		.program = program, .side = side_of(request), .count = request->count};
	struct wire_reply reply = {0};
	int error = 0;

	if (request->signature)
		attach.signature = *request->signature;
	for (u32 sent = 0; !error && sent < request->count;) {
		u32 chunk = MIN(request->count - sent, (u32)WIRE_SITES_PER_PACKET);

		error = target_ask(target, WIRE_SITES, sites + sent, chunk * (u32)sizeof(*sites),
				   NULL, 0, &reply);
		sent += chunk;
	}
	if (!error)
		error = target_ask(target, WIRE_ATTACH, &attach, sizeof(attach), NULL, 0, &reply);
	if (error) {
		u64 address = reply.index < request->count ? sites[reply.index].site.function : 0;

		return error == -EBUSY && reply.value
			       ? explain_owner(target, problem, address, reply.value)
			       : explain_attach(target, error, problem, address);
	}
	*ret_handle = (u32)reply.value;
	return 0;
}

/* ---- the backend ---- */

int backend_attach(struct target *target, const struct link_request *request,
		   const struct problem *problem, struct attachment *ret_attachment)
{
	struct attachment made = {.target = target, .prog = target->progs};
	struct wire_site *sites = NULL;
	int error;

	target_send_runtimes(target);
	error = plan_sites(target, request, problem, &sites);

	if (error || !sites)
		return error;
	error = get_prog(target, request->prog_fd, sites[0].site.function, problem, &made.prog);
	if (!error) {
		error = send_sites(target, request, sites, made.prog->handle, problem,
				   &made.handle);
		if (error)
			put_prog(target, made.prog);
	}
	free(sites);
	if (!error)
		*ret_attachment = made;
	return error;
}

int backend_drop(struct attachment *attachment)
{
	struct target *target = attachment->target;
	struct wire_handle request = {attachment->handle};
	struct wire_reply reply;
	int error;

	target->stop.held_tid = spawn_held(target->pid);
	error = target_ask(target, WIRE_DETACH, &request, sizeof(request), NULL, 0, &reply);
	put_prog(target, attachment->prog);
	backend_put_target(target);
	free(attachment);
	return error;
}

/* Makes a link's first attachment. */
static int attach_first(struct agent_link *link, pid_t pid, const struct link_request *request,
			const struct problem *problem)
{
	struct attachment *attachment = calloc(1, sizeof(*attachment));
	struct target *target;
	int error;

	if (!attachment)
		return problem_set(problem, -ENOMEM, "out of memory");
	error = get_target(pid, problem, &target);
	if (error)
		goto free_attachment;
	error = backend_attach(target, request, problem, attachment);
	if (error)
		goto put_target;
	link->attachments = attachment;
	return 0;

put_target:
	backend_put_target(target);
free_attachment:
	free(attachment);
	return error;
}

static void add_link(struct agent_link *link)
{
	struct agent_link **end = &backend.links;

	while (*end)
		end = &(*end)->next;
	*end = link;
}

static void remove_link(struct agent_link *link)
{
	struct agent_link **at = &backend.links;

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	follow_forget(link);
	free(link);
}

static int attach(const struct link_request *request, void **ret_handle, char *problem_text,
		  size_t problem_size)
{
	struct problem problem = {problem_text, problem_size};
	pid_t pid = request->pid > 0 ? request->pid : default_pid;
	struct agent_link *link;
	int error;

	if (pid <= 0)
		return problem_set(&problem, -EINVAL,
				   "the probe names no process: give one with -p PID");
	if (!request->count)
		return problem_set(&problem, -EINVAL, "the probe names no function");
	link = calloc(1, sizeof(*link));
	if (!link)
		return problem_set(&problem, -ENOMEM, "out of memory");
	pthread_mutex_lock(&backend.lock);
	add_link(link);
	error = follow_keep(link, request);
	if (error)
		problem_set(&problem, error, "out of memory");
	else
		error = attach_first(link, pid, request, &problem);
	if (error)
		remove_link(link);
	pthread_mutex_unlock(&backend.lock);
	if (!error)
		*ret_handle = link;
	return error;
}

static int detach(void *handle)
{
	struct agent_link *link = handle;
	int error = 0;

	pthread_mutex_lock(&backend.lock);
	while (link->attachments) {
		struct attachment *attachment = link->attachments;
		bool followed = attachment->target->followed;
		int one;

		link->attachments = attachment->next;
		one = backend_drop(attachment);
		/* A child that has ended meanwhile is no failure. */
		if (!followed || one != -ESRCH)
			error = error ? error : one;
	}
	remove_link(link);
	pthread_mutex_unlock(&backend.lock);
	/* A thread is still inside: the text is restored, and what it runs is kept. */
	return error == -ETIMEDOUT ? 0 : error;
}

static int set_slots(struct map *map, const struct link_slot *slots, u32 count)
{
	struct target *target;
	int error = 0;

	pthread_mutex_lock(&backend.lock);
	for (target = backend.targets; target && !error; target = target->next) {
		target->stop.held_tid = spawn_held(target->pid);
		error = target_set_slots(target, map, slots, count);
	}
	pthread_mutex_unlock(&backend.lock);
	return error;
}

const struct link_backend agent_link_backend = {
	.attach = attach, .detach = detach, .set_slots = set_slots};

void agent_set_default_pid(pid_t pid)
{
	default_pid = pid;
}

void agent_set_perf_map(bool wanted)
{
	pthread_mutex_lock(&backend.lock);
	backend.perf_map_wanted = wanted;
	pthread_mutex_unlock(&backend.lock);
}

void agent_set_printk_ring(struct map *ring)
{
	pthread_mutex_lock(&backend.lock);
	backend.printk_ring = ring;
	pthread_mutex_unlock(&backend.lock);
}

void agent_stats(struct agent_stats *ret_stats)
{
	pthread_mutex_lock(&backend.lock);
	*ret_stats = backend.past;
	for (struct target *target = backend.targets; target; target = target->next) {
		backend_ask_hits(target);
		for (u32 i = 0; i < TARGET_MAX_PROGS; i++) {
			if (target->progs[i].prog_id)
				ret_stats->hits += target->progs[i].hits;
		}
		ret_stats->missed += target->missed;
		ret_stats->stops += target->stops;
		ret_stats->stop_total_ns += target->stop_total_ns;
		ret_stats->stop_max_ns = MAX(ret_stats->stop_max_ns, target->stop_max_ns);
		ret_stats->hold_max_ns = MAX(ret_stats->hold_max_ns, target->hold_max_ns);
		ret_stats->exited |= target->exited;
	}
	pthread_mutex_unlock(&backend.lock);
}

int agent_prog_hits(u32 prog_id, u64 *ret_hits)
{
	int error = -ENOENT;
	u64 hits = 0;

	pthread_mutex_lock(&backend.lock);
	for (u32 i = 0; i < backend.past_count; i++) {
		if (backend.past_progs[i].prog_id == prog_id) {
			hits += backend.past_progs[i].hits;
			error = 0;
		}
	}
	for (struct target *target = backend.targets; target; target = target->next) {
		for (u32 i = 0; i < TARGET_MAX_PROGS; i++) {
			if (target->progs[i].prog_id != prog_id)
				continue;
			ask_hits(target, &target->progs[i]);
			hits += target->progs[i].hits;
			error = 0;
		}
	}
	if (!error)
		*ret_hits = hits;
	pthread_mutex_unlock(&backend.lock);
	return error;
}

int agent_session_fd(pid_t pid)
{
	int fd = -1;

	pthread_mutex_lock(&backend.lock);
	for (struct target *target = backend.targets; target; target = target->next) {
		if (target->pid == pid && !target->exited)
			fd = target->fd;
	}
	pthread_mutex_unlock(&backend.lock);
	return fd;
}
