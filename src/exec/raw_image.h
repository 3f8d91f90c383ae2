/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An image around bare instructions that no verifier has seen: for `inlay exec`, tests and benchmarks.
 *
 * Only form is checked: jump targets, the ends of subprograms, what image_check() asks. Running it is the caller's risk.
 */
#ifndef INLAY_EXEC_RAW_IMAGE_H
#define INLAY_EXEC_RAW_IMAGE_H

#include "format/image.h"

/*
 * Copies the instructions; subprograms are found by who calls them, each gets a full stack. On success the image is the
 * caller's (raw_image_free). Errors: -EINVAL (malformed), -E2BIG (instructions or subprograms), -ENOMEM.
 */
int raw_image_create(const struct bpf_insn *insns, u32 count, struct image_header **ret_image);
void raw_image_free(struct image_header *image);

#endif
