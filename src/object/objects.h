/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The objects this process holds, and how a descriptor is recognised as one of them.
 *
 * An object is memory with a descriptor. What identifies it is the memory's inode (or, for a ring buffer's pollable
 * descriptor, its eventfd-id), so a descriptor that was dup'ed, passed over a socket or inherited is still recognised, and
 * imported where this process did not know it yet.
 *
 * Lifetime: an object lives while the client has a descriptor of it (clients > 0), or something in this process refers to it
 * (refs: a program its maps, a link its program, a call in progress). Its own descriptor (fd) has a high number and is
 * never shown to the client.
 *
 * One lock, inside, guards the table and the counts. An object's contents are constant after it was entered, or have their
 * own rules (maps).
 */
#ifndef INLAY_OBJECT_OBJECTS_H
#define INLAY_OBJECT_OBJECTS_H

#include "arch/signature.h"
#include "exec/exec.h"
#include "format/image.h"
#include "format/tail.h"
#include "object/registry.h"

struct map;
struct btf;

/* First bytes of the memory of BTF and link objects; programs and maps have headers of their own. */
#define OBJECT_MAGIC 0x79616c6e694f0001ull

struct object_header {
	u64 magic;
	u32 kind, id;
	u32 size; /* of what follows the header */
	u32 reserved;
};

struct link_info {
	u32 type, attach_type, prog_id, count, flags;
	s32 pid;
};

struct object_program {
	const struct image_header *image;
	size_t size;
	struct object *
		*maps; /* in the image's order; entries may be NULL in a process that imported it */
	u32 map_cnt;
	struct object **bound; /* by PROG_BIND_MAP and fd_array */
	u32 bound_cnt;
	struct object *btf;
	struct object
		*traced; /* BTF of the binary whose function it is for; NULL: none, or imported */
	u32 traced_id;	 /* the function in it */
	struct signature signature;
	struct exec_code *code; /* made at the first run, or at load where it makes tail calls */
	struct exec_env env;
	struct tail_target target; /* what slots of prog arrays point to */
	bool unsettled; /* was taken out of a slot, and no grace period has passed since */
	struct object *next_tails; /* see prog_array.c */
	u64 runs, run_time_ns;	   /* of test runs in this process */
};

struct object_link {
	const struct object_header *header;
	size_t size;
	struct object *program; /* in the process that made it */
	void *handle;		/* the backend's, likewise */
};

struct object_btf {
	const struct object_header *header;
	size_t size;
	struct btf *types;
	char *target; /* the binary whose types they are (object_btf_of_target), in the process that made it; or NULL */
};

struct object {
	enum object_kind kind;
	u32 id;
	int fd; /* of the memory */
	u64 inode;
	u64 event_id; /* ring buffers */
	u32 refs, clients;
	int row; /* in the registry; -1: none */
	struct object *next;
	union {
		struct {
			struct map *map;
			struct object *map_btf;	   /* kept alive for info; may be NULL */
			struct object *next_array; /* prog arrays: see prog_array.c */
			u64 generation; /* likewise: of the ids that the slots agree with */
		};
		struct object_program program;
		struct object_btf btf;
		struct object_link link;
	};
};

/*
 * The object of this kind behind a client's descriptor, with a reference for the caller (objects_put). -EBADF: no
 * descriptor; -EINVAL: something else.
 */
int objects_get(enum object_kind kind, int fd, struct object **ret_object);
/* The same by id, imported from another process where needed. -ENOENT. */
int objects_get_id(enum object_kind kind, u32 id, struct object **ret_object);
/* Any kind. */
int objects_get_any(int fd, struct object **ret_object);
struct object *objects_ref(struct object *object);
/* May free. NULL accepted. */
void objects_put(struct object *object);

/*
 * Enters a new object whose memory is fd (taken over: moved to a high number) and makes its row in the registry. The
 * caller has filled in kind, id and the kind's part, and keeps the one reference. -errno: not entered; the caller
 * discards it.
 */
int objects_enter(struct object *object, int fd, const char *name);
/* Frees an object that objects_enter refused. */
void objects_discard(struct object *object);
/* In the child of a fork: enters what it inherited. Before each command; cheap where there is nothing to do. */
void objects_adopt(void);
/* A new descriptor for the client; counted until objects_closed. -errno. */
int objects_client_fd(struct object *object);
/* The client closes a descriptor (or closed it unseen). Takes no descriptor away. */
void objects_closed(int fd);
/* Does the fast table know this descriptor as a client's? */
bool objects_is_client(int fd);

/* Moves a descriptor out of the client's sight; returns the new number (or the old one when there is no room). */
int objects_hide_fd(int fd);

/* A sealed memfd with header and body, for BTF and links. Returns the descriptor or -errno. */
int objects_make_memory(const char *name, const struct object_header *header, const void *body);
/* Maps it read-only. 0 or -errno. */
int objects_map_memory(int fd, const void **ret_memory, size_t *ret_size);

/* For each kind: makes the kind's part from memory made elsewhere; releases it. */
int object_import_map(struct object *object, int fd, int event_fd);
int object_import_program(struct object *object, int fd);
int object_import_btf(struct object *object, int fd);
int object_import_link(struct object *object, int fd);
void object_release_map(struct object *object);
void object_release_program(struct object *object);
void object_release_btf(struct object *object);
void object_release_link(struct object *object);

#endif
