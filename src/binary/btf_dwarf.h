/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The types of a binary as BTF: its own .BTF section, or made from DWARF by pahole and kept by build-id in the user's cache
 * ($XDG_CACHE_HOME/inlay/btf, ~/.cache/inlay/btf). DWARF is looked for in the file itself and in its separate debug file. Loader only.
 */
#ifndef INLAY_BINARY_BTF_DWARF_H
#define INLAY_BINARY_BTF_DWARF_H

#include "base/types.h"

/*
 * Reads the BTF of the ELF file behind fd, which stays the caller's; name is for messages and to find a debug file beside it. Runs pahole where
 * it must, which takes seconds for a large program. 0 with bytes to be freed; -ENOENT (no BTF and no DWARF), -ENOEXEC, -errno,
 * each with one sentence in problem. Any thread.
 */
int btf_dwarf_read(int fd, const char *name, void **ret_data, size_t *ret_size, char *problem,
		   size_t problem_size);

#endif
