/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map: memory that several processes share, and the operations on it.
 *
 * The memory is a memfd. Its layout is the map type's, addressed by offsets only; its *last* page is the
 * struct map_shared (so that a mmapable array's values begin at file offset 0, where clients map them).
 * struct map is one process's view: it is never shared and holds that process's addresses.
 *
 * The operations run at hits, in the target: they take no lock of libc, allocate nothing, touch no
 * vector register, and are safe against a process being killed inside them (design decision 10).
 */
#ifndef INLAY_MAPS_MAP_H
#define INLAY_MAPS_MAP_H

#include <linux/bpf.h>

#include "base/types.h"

#define MAP_MAGIC 0x79616c6e694d0001ull

struct map;
struct map_elements;

/* What a map is, fixed at creation; as in bpf_map_info. */
struct map_spec {
	u32 type, key_size, value_size, max_entries, flags;
	u32 btf_id, btf_key_type_id, btf_value_type_id; /* registry id of the BTF, 0: none */
	char name[BPF_OBJ_NAME_LEN];
};

/*
 * One row a map type. lookup returns the address of the value in this process or NULL; for per-CPU types,
 * of the caller's slot (see sync/percpu.h). update and delete return 0 or -errno as bpf(2) documents.
 * next_key: key NULL starts; -ENOENT ends. A NULL operation answers -EOPNOTSUPP (-ENOTSUPP where the kernel does).
 */
struct map_ops {
	u32 type;
	const char *name;
	int (*check)(const struct map_spec *spec);		 /* as the kernel's alloc_check */
	u64 (*data_size)(const struct map_spec *spec, u32 cpus); /* bytes before the trailer page */
	int (*init)(struct map *map);				 /* lay out fresh, zeroed memory */
	void *(*lookup)(struct map *map, const void *key);
	int (*update)(struct map *map, const void *key, const void *value, u64 flags);
	int (*delete)(struct map *map, const void *key);
	int (*next_key)(struct map *map, const void *key, void *next);
	void *(*value_addr)(struct map *map,
			    u32 offset); /* direct value access (INSN_PSEUDO_MAP_VALUE) */
	/* Whole-value copies for the system call side; per-CPU types copy every CPU (value_size rounded to 8, times CPUs). */
	int (*copy_out)(struct map *map, const void *key, void *value);
	int (*copy_in)(struct map *map, const void *key, const void *value, u64 flags);
	/* Per-CPU types: the value of one slot (bpf_map_lookup_percpu_elem), or NULL. */
	void *(*lookup_percpu)(struct map *map, const void *key, u32 cpu);
	/* lookup as arithmetic; NULL: it is not. */
	void (*elements)(const struct map *map, struct map_elements *ret_elements);
	/* Copies the whole value out and deletes the element in one step (BPF_MAP_LOOKUP_AND_DELETE_ELEM). */
	int (*take_out)(struct map *map, const void *key, void *value);
	/* This process's view beyond the mapping: sets type_view. After init at creation; at every open. NULL: none. */
	int (*open)(struct map *map);
	void (*close)(struct map *map);
};

/* Where values are, for types whose keys are their numbers: value key of a slot is at
 * data + key * stride + slot * slot_stride. slots: 0 where all see the same. */
struct map_elements {
	u32 stride, slots, slot_stride;
};

#define MAP_PAGE 4096u

/* Last page of the memfd. Written at creation, then constant but for the words said to change. */
struct map_shared {
	u64 magic;
	u64 data_size;
	struct map_spec spec;
	u32 map_id;
	u32 cpus;   /* possible CPUs = slots of per-CPU types */
	u32 frozen; /* changes 0 -> 1 by MAP_FREEZE */
	u32 owner_uid;
	u64 dropped; /* changes: elements refused because the map was full; ring records dropped */
	u64 type_state[64]; /* changes: the map type's own words (lock, free list heads, ...) */
};

struct map {
	const struct map_ops *ops;
	struct map_shared *shared;
	char *data; /* mapping of the data area */
	u64 data_size;
	u32 value_stride; /* value_size rounded up to 8 */
	u32 cpus;	  /* shared->cpus */
	/* What was checked at open: bounds are taken from here, never from memory that others write. */
	struct map_spec spec;
	int fd;		  /* the memfd */
	int event_fd;	  /* ring buffers: the descriptor clients poll; -1 otherwise */
	void *type_view;  /* what the type needs per process (double mapping of a ring, ...) */
	u32 wake_pending; /* a hit asked the deputy to wake event_fd's poller (ringbuf.h) */
};

/* The table of types; NULL for a type we do not have. */
const struct map_ops *map_ops_of(u32 type);

/*
 * Creates the memfd and its contents. map_id and owner are for the trailer. On success *ret_map is this
 * process's view and owns its descriptors. Errors: -EINVAL and -E2BIG as the kernel's alloc_check, -ENOMEM
 * (also for a full tmpfs: pages are reserved here, never at a hit). Loader.
 */
int map_create(const struct map_spec *spec, u32 map_id, struct map **ret_map);

/*
 * Maps an existing map's memfd (and event descriptor or -1) into this process. Takes ownership of both on
 * success. Errors: -EINVAL when the file is not an intact map, -ENOMEM. Loader and agent.
 */
int map_open(int fd, int event_fd, struct map **ret_map);

/* Bytes of a value as copy_out gives and copy_in takes it: per-CPU types have one rounded value a CPU. */
u32 map_value_bytes(const struct map *map);

/* Unmaps and closes. The memory lives on while another process or descriptor holds it. NULL accepted. */
void map_close(struct map *map);

#endif
