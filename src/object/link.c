/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links: a program attached to functions of a process. The work is done by a backend that a floor above sets; here are
 * the kernel's checks, and the descriptor that stands for the attachment. It ends when the process that made it closes its
 * last descriptor, or ends.
 */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "object/attach_target.h"
#include "object/command.h"
#include "object/link.h"
#include "object/object.h"
#include "object/prog.h"
#include "object/prog_array.h"
#include "object/registry.h"

#define UPROBES_MAX (1u << 20)

static const struct link_backend *backend;
static pthread_mutex_t problem_mutex = PTHREAD_MUTEX_INITIALIZER;
static char problem[512];

void object_set_link_backend(const struct link_backend *new_backend)
{
	backend = new_backend;
}

int object_registry_fd(void)
{
	return registry_fd();
}

int link_set_slots(struct map *map, const struct link_slot *slots, u32 count)
{
	return backend && backend->set_slots ? backend->set_slots(map, slots, count) : 0;
}

const char *object_link_problem(void)
{
	return problem;
}

static void set_problem(const char *text)
{
	pthread_mutex_lock(&problem_mutex);
	snprintf(problem, sizeof(problem), "%s", text);
	pthread_mutex_unlock(&problem_mutex);
}

int object_import_link(struct object *object, int fd)
{
	struct object_link *link = &object->link;
	const void *memory;
	int error = objects_map_memory(fd, &memory, &link->size);

	if (error)
		return error;
	link->header = memory;
	if (link->size >= sizeof(*link->header) + sizeof(struct link_info))
		return 0;
	munmap((void *)(uintptr_t)memory, link->size);
	return -EINVAL;
}

void object_release_link(struct object *object)
{
	struct object_link *link = &object->link;

	if (link->handle && backend)
		backend->detach(link->handle);
	objects_put(link->program);
	if (link->header)
		munmap((void *)(uintptr_t)link->header, link->size);
}

/* What the client asks for, copied. */
struct uprobes {
	char path[PATH_MAX];
	u64 *offsets, *cookies, *semaphores;
	u32 count;
};

static int check_path(const char *path)
{
	struct stat info;

	if (stat(path, &info))
		return -errno;
	return S_ISREG(info.st_mode) ? 0 : -EBADF;
}

static int read_uprobes(const struct abi_link_create_uprobe_multi *attr, struct uprobes *uprobes)
{
	int error;

	if (attr->flags || (attr->multi_flags & ~ABI_UPROBE_MULTI_RETURN))
		return -EINVAL;
	if (!attr->path || !attr->offsets || !attr->cnt)
		return -EINVAL;
	if (attr->cnt > UPROBES_MAX)
		return -E2BIG;
	error = user_read_string(uprobes->path, attr->path, sizeof(uprobes->path));
	if (error >= 0)
		error = check_path(uprobes->path);
	if (error)
		return error;
	uprobes->count = attr->cnt;
	error = user_copy(attr->offsets, attr->cnt * sizeof(u64), (void **)&uprobes->offsets);
	if (!error && attr->cookies)
		error = user_copy(attr->cookies, attr->cnt * sizeof(u64),
				  (void **)&uprobes->cookies);
	if (!error && attr->ref_ctr_offsets)
		error = user_copy(attr->ref_ctr_offsets, attr->cnt * sizeof(u64),
				  (void **)&uprobes->semaphores);
	for (u32 i = 0; !error && i < attr->cnt; i++)
		error = (s64)uprobes->offsets[i] < 0 ? -EINVAL : 0;
	return error;
}

static long enter_link(struct object *program, const struct link_info *info, void *handle)
{
	int id = registry_new_id(OBJECT_LINK), fd, error;
	struct object_header header = {
		.magic = OBJECT_MAGIC, .kind = OBJECT_LINK, .id = (u32)id, .size = sizeof(*info)};
	struct object *object;

	if (id < 0)
		return id;
	object = calloc(1, sizeof(*object));
	if (!object)
		return -ENOMEM;
	fd = objects_make_memory("inlay-link", &header, info);
	if (fd < 0) {
		free(object);
		return fd;
	}
	object->kind = OBJECT_LINK;
	object->id = (u32)id;
	object->fd = fd;
	error = object_import_link(object, fd);
	if (!error)
		error = objects_enter(object, fd, "");
	if (error) {
		objects_discard(object);
		return error;
	}
	/* From here on the object detaches when it goes. */
	object->link.handle = handle;
	object->link.program = objects_ref(program);
	fd = objects_client_fd(object);
	objects_put(object);
	return fd;
}

static long make_link(struct object *program, const struct link_request *request,
		      const struct link_info *info)
{
	char why[sizeof(problem)] = "";
	void *handle = NULL;
	long result;

	if (!backend)
		return -EOPNOTSUPP;
	/* Slots must not change between being sent and being followed. */
	if (prog_array_used_by(program)) {
		prog_lock();
		prog_array_start_following();
		prog_array_take_over(NULL, 0);
		result = backend->attach(request, &handle, why, sizeof(why));
		prog_unlock();
	} else {
		result = backend->attach(request, &handle, why, sizeof(why));
	}
	set_problem(why);
	if (result)
		return result;
	result = enter_link(program, info, handle);
	if (result < 0)
		backend->detach(handle);
	return result;
}

static long attach(struct object *program, const struct abi_link_create_uprobe_multi *attr,
		   const struct uprobes *uprobes)
{
	struct link_request request = {
		.prog_fd = program->fd,
		.path = uprobes->path,
		.offsets = uprobes->offsets,
		.cookies = uprobes->cookies,
		.semaphores = uprobes->semaphores,
		.count = uprobes->count,
		.at_return = attr->multi_flags & ABI_UPROBE_MULTI_RETURN,
		.pid = (pid_t)attr->pid,
	};
	struct link_info info = {
		.type = ABI_LINK_TYPE_UPROBE_MULTI,
		.attach_type = attr->attach_type,
		.prog_id = program->id,
		.count = uprobes->count,
		.flags = attr->multi_flags,
		.pid = (s32)attr->pid,
	};

	return make_link(program, &request, &info);
}

/* fentry, fexit and fmod_ret: where to is in the program already. */
static long create_tracing(struct object *program, u64 cookie)
{
	const struct object_program *tracing = &program->program;
	struct link_request request = {.prog_fd = program->fd,
				       .cookies = &cookie,
				       .count = 1,
				       .signature = &tracing->signature};
	struct link_info info = {.type = BPF_LINK_TYPE_TRACING,
				 .attach_type = tracing->image->attach_type,
				 .prog_id = program->id,
				 .count = 1};

	if (!tracing->traced || !tracing->traced->btf.target)
		return -EOPNOTSUPP;
	request.path = tracing->traced->btf.target;
	request.function = attach_target_name(tracing->traced, tracing->traced_id);
	switch (tracing->image->attach_type) {
	case BPF_TRACE_FENTRY:
		request.kind = LINK_FENTRY;
		break;
	case BPF_TRACE_FEXIT:
		request.kind = LINK_FEXIT;
		break;
	case BPF_MODIFY_RETURN:
		request.kind = LINK_MODIFY;
		break;
	default:
		return -EOPNOTSUPP;
	}
	return make_link(program, &request, &info);
}

/* How clients of before LINK_CREATE attach them: no name. */
long raw_tracepoint_command(struct command *command)
{
	struct object *program;
	long result;

	result = objects_get(OBJECT_PROG, (int)command->attr.raw_tracepoint.prog_fd, &program);
	if (result)
		return result;
	if (program->program.image->prog_type != BPF_PROG_TYPE_TRACING)
		result = -EOPNOTSUPP;
	else if (command->attr.raw_tracepoint.name)
		result = -EINVAL;
	else
		result = create_tracing(program, 0);
	objects_put(program);
	return result;
}

static long create_uprobe_multi(struct object *program,
				const struct abi_link_create_uprobe_multi *attr)
{
	struct uprobes *uprobes = calloc(1, sizeof(*uprobes));
	long result;

	if (!uprobes)
		return -ENOMEM;
	result = read_uprobes(attr, uprobes);
	if (!result)
		result = attach(program, attr, uprobes);
	free(uprobes->offsets);
	free(uprobes->cookies);
	free(uprobes->semaphores);
	free(uprobes);
	return result;
}

/* A perf event can only be a descriptor of the kernel's, and none of those is here. */
static long create_perf(const union bpf_attr *attr)
{
	return attr->link_create.flags ? -EINVAL : -EBADF;
}

/*
 * Programs of SEC("uprobe") have no expected attach type; the kernel attaches those through perf events alone. Here they
 * may also be attached to many functions at once.
 */
static long create_kprobe(struct object *program, const struct command *command)
{
	u32 expected = program->program.image->attach_type,
	    type = command->attr.link_create.attach_type;

	if (expected && expected != type)
		return -EINVAL;
	switch (type) {
	case BPF_PERF_EVENT:
		return create_perf(&command->attr);
	case BPF_TRACE_KPROBE_MULTI:
		return -EOPNOTSUPP;
	case ABI_TRACE_UPROBE_MULTI:
		return create_uprobe_multi(program, &command->uprobe_multi);
	default:
		return -EINVAL;
	}
}

long link_create_command(struct command *command)
{
	struct object *program;
	long result;

	result = objects_get(OBJECT_PROG, (int)command->attr.link_create.prog_fd, &program);
	if (result)
		return result;
	switch (program->program.image->prog_type) {
	case BPF_PROG_TYPE_KPROBE:
		result = create_kprobe(program, command);
		break;
	case BPF_PROG_TYPE_TRACING:
		result = command->attr.link_create.attach_type ==
						 program->program.image->attach_type &&
					 !command->attr.link_create.flags
				 ? create_tracing(program, command->attr.link_create.tracing.cookie)
				 : -EINVAL;
		break;
	case BPF_PROG_TYPE_TRACEPOINT:
	case BPF_PROG_TYPE_PERF_EVENT:
		result = command->attr.link_create.attach_type == BPF_PERF_EVENT
				 ? create_perf(&command->attr)
				 : -EINVAL;
		break;
	default:
		result = -EINVAL;
		break;
	}
	objects_put(program);
	return result;
}

long link_update_command(struct command *command)
{
	struct object *link;
	int error;

	if (command->attr.link_update.flags & ~(u32)BPF_F_REPLACE)
		return -EINVAL;
	error = objects_get(OBJECT_LINK, (int)command->attr.link_update.link_fd, &link);
	if (error)
		return error;
	objects_put(link);
	return -EINVAL;
}

long link_detach_command(struct command *command)
{
	struct object *link;
	int error = objects_get(OBJECT_LINK, (int)command->attr.link_detach.link_fd, &link);

	if (error)
		return error;
	objects_put(link);
	return -EOPNOTSUPP;
}
