/* SPDX-License-Identifier: BSD-2-Clause */
/* Program objects: what the commands about programs share. Private to object/. */
#ifndef INLAY_OBJECT_PROG_H
#define INLAY_OBJECT_PROG_H

#include "exec/exec.h"
#include "object/objects.h"

/* Maps the image of a program's memory and checks it. 0 or -errno. */
int prog_map_image(struct object *object, int fd);
/* Guards what programs gain after they were entered (code, bound maps), and prog arrays. The owner may take it again. */
void prog_lock(void);
void prog_unlock(void);
/* Compiles it where it is not yet; NULL where the JIT cannot (then it is interpreted). */
struct exec_code *prog_code(struct object *object);
/* Makes a map live as long as the program. 0, or -ENOMEM. Takes no reference over. */
int prog_bind(struct object *object, struct object *map);

#endif
