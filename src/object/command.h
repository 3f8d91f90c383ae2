/* SPDX-License-Identifier: BSD-2-Clause */
/* One bpf(2) command: what its handler gets, and the handlers, one file a subject. Private to object/. */
#ifndef INLAY_OBJECT_COMMAND_H
#define INLAY_OBJECT_COMMAND_H

#include <errno.h>

#include "format/bpf_abi.h"
#include "object/objects.h"
#include "object/user.h"

#define ATTR_SIZE 168 /* sizeof(union bpf_attr) of Linux 6.18 */

/* Fields that linux/bpf.h of 6.1 lacks, by where they lie. */
struct attr_prog_load_tail {
	u8 before[140];
	u32 log_true_size;
	s32 prog_token_fd;
	u32 fd_array_cnt;
	u64 signature;
	u32 signature_size;
	s32 keyring_id;
};

struct attr_btf_load_tail {
	u8 before[28];
	u32 log_true_size;
	u32 flags;
	s32 token_fd;
};

struct attr_map_create_tail {
	u8 before[72];
	s32 value_type_btf_obj_fd;
	s32 map_token_fd;
	u64 excl_prog_hash;
	u32 excl_prog_hash_size;
};

struct command {
	union {
		union bpf_attr attr;
		struct attr_prog_load_tail prog_load;
		struct attr_btf_load_tail btf_load;
		struct attr_map_create_tail map_create;
		struct abi_link_create_uprobe_multi uprobe_multi;
		u8 bytes[ATTR_SIZE];
	};		 /* a copy, zero-extended */
	u64 client;	 /* the client's own attr, for results */
	u32 client_size; /* its size; results beyond it are not written */
};

/* Writes a result field at offset of the client's attr. 0 or -EFAULT; fields beyond its size are left out. */
int command_result(const struct command *command, size_t offset, const void *value, size_t size);
#define COMMAND_RESULT(of, field, value)                                                           \
	command_result(of, offsetof(struct command, field), &(__typeof__((of)->field)){value},     \
		       sizeof((of)->field))

/* Copies an object's name from an attribute: -EINVAL for characters the kernel refuses or a missing NUL. */
int command_name(const char *from, char *ret_name);

long map_create_command(struct command *command);
long map_lookup_command(struct command *command);
long map_update_command(struct command *command);
long map_delete_command(struct command *command);
long map_next_key_command(struct command *command);
long map_lookup_and_delete_command(struct command *command);
long map_freeze_command(struct command *command);
long map_lookup_batch_command(struct command *command);
long map_lookup_and_delete_batch_command(struct command *command);
long map_update_batch_command(struct command *command);
long map_delete_batch_command(struct command *command);
long prog_load_command(struct command *command);
long prog_test_run_command(struct command *command);
long prog_bind_map_command(struct command *command);
long btf_load_command(struct command *command);
long raw_tracepoint_command(struct command *command);
long link_create_command(struct command *command);
long link_update_command(struct command *command);
long link_detach_command(struct command *command);
long info_command(struct command *command);
long prog_next_id_command(struct command *command);
long map_next_id_command(struct command *command);
long btf_next_id_command(struct command *command);
long link_next_id_command(struct command *command);
long prog_by_id_command(struct command *command);
long map_by_id_command(struct command *command);
long btf_by_id_command(struct command *command);
long link_by_id_command(struct command *command);

#endif
