/* SPDX-License-Identifier: BSD-2-Clause */
/* BTF objects: a sealed memfd with the bytes as the client sent them. */
#include "format/btf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "object/command.h"
#include "object/log.h"
#include "object/object.h"

#define MAX_BYTES      (16u << 20)
#define LOG_BYTES      4096
#define ABI_F_TOKEN_FD (1u << 16)

int object_import_btf(struct object *object, int fd)
{
	struct object_btf *btf = &object->btf;
	const void *memory;
	int error = objects_map_memory(fd, &memory, &btf->size);

	if (error)
		return error;
	btf->header = memory;
	if (btf->size < sizeof(*btf->header) ||
	    btf->header->size > btf->size - sizeof(*btf->header))
		error = -EINVAL;
	else
		error = btf_parse_raw(btf->header + 1, btf->header->size, NULL, &btf->types);
	if (error)
		munmap((void *)(uintptr_t)memory, btf->size);
	return error;
}

void object_release_btf(struct object *object)
{
	btf_release(object->btf.types);
	free(object->btf.target);
	munmap((void *)(uintptr_t)object->btf.header, object->btf.size);
}

/* target: taken over when it succeeds; or NULL. */
static long enter_btf(const void *data, u32 size, char *target)
{
	struct object_header header = {.magic = OBJECT_MAGIC, .kind = OBJECT_BTF, .size = size};
	struct object *object;
	int error, fd, id = registry_new_id(OBJECT_BTF);

	if (id < 0)
		return id;
	object = calloc(1, sizeof(*object));
	if (!object)
		return -ENOMEM;
	header.id = (u32)id;
	fd = objects_make_memory("inlay-btf", &header, data);
	if (fd < 0) {
		free(object);
		return fd;
	}
	object->kind = OBJECT_BTF;
	object->id = (u32)id;
	error = object_import_btf(object, fd);
	if (error) {
		sys_close(fd);
		free(object);
		return error;
	}
	error = objects_enter(object, fd, "");
	if (error) {
		objects_discard(object);
		return error;
	}
	object->btf.target = target;
	fd = objects_client_fd(object);
	objects_put(object);
	return fd;
}

long object_btf_of_target(const void *data, u32 size, const char *path)
{
	char *target = strdup(path);
	long fd;

	if (!target)
		return -ENOMEM;
	fd = size > MAX_BYTES ? -E2BIG : registry_open();
	if (!fd)
		fd = enter_btf(data, size, target);
	if (fd < 0)
		free(target);
	return fd;
}

/* Parses for the verdict and the log; entering parses again, from the memory that stays. */
static int check_data(const void *data, u32 size, const struct log_request *request,
		      u32 *ret_true_size)
{
	char text[LOG_BYTES] = "";
	struct btf_log log = {.text = text, .size = request->level ? sizeof(text) : 0};
	struct btf *types;
	int verdict = btf_parse_raw(data, size, &log, &types), error;

	if (!verdict)
		btf_release(types);
	error = log_finish(request, text, MIN(log.length, sizeof(text) - 1), ret_true_size);
	return error ? error : verdict;
}

long btf_load_command(struct command *command)
{
	const union bpf_attr *attr = &command->attr;
	struct log_request request = {attr->btf_log_level, attr->btf_log_size, attr->btf_log_buf};
	u32 true_size = 0;
	void *data;
	long result;

	if (command->btf_load.flags & ~ABI_F_TOKEN_FD)
		return -EINVAL;
	if (attr->btf_size > MAX_BYTES)
		return -E2BIG;
	result = log_check(&request);
	if (!result)
		result = user_copy(attr->btf, attr->btf_size, &data);
	if (result)
		return result;
	result = check_data(data, attr->btf_size, &request, &true_size);
	if (COMMAND_RESULT(command, btf_load.log_true_size, true_size))
		result = -EFAULT;
	if (!result)
		result = enter_btf(data, attr->btf_size, NULL);
	free(data);
	return result;
}
