/* SPDX-License-Identifier: BSD-2-Clause */
/* One program of an object loaded by itself, so that its verdict does not depend on the others'. */
#ifndef INLAY_CLI_LOAD_ONE_H
#define INLAY_CLI_LOAD_ONE_H

#include <bpf/libbpf.h>

#include "base/types.h"

struct load_one {
	struct bpf_object *object; /* open; the program lives with it */
	struct bpf_program *program;
	bool judged; /* the verifier saw it; what follows is its verdict */
	int error;   /* 0: loaded. -errno of the verdict or of what failed before */
	u32 insns, states;
	u64 time_ns;
	char *reason, *log; /* NULL: none */
	char *source;	    /* the line of source that reason is about, or NULL */
	u32 line, column;
	char *warning; /* libbpf's first complaint where the program never got to the verifier */
};

/*
 * Opens the file and loads the program with this name, with log_level as bpf(2) (a rejected one is loaded again with level 1
 * by libbpf). Returns 0 also when the program is rejected, or CLI_FAILED after the cause (no such file, no such program) was
 * told. Release in either case.
 */
int load_one_program(const char *path, const char *name, u32 log_level, struct load_one *one);
void load_one_release(struct load_one *one);

#endif
