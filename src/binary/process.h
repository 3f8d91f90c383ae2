/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A running process as its files show it: which ELF files it maps, where, and what an injector must know first.
 *
 * A snapshot: taken by process_open, refreshed by process_refresh (a library may have been loaded since). Everything
 * is read through /proc/PID, so it holds for targets in other mount namespaces, with other roots, and whose files
 * were deleted or replaced. Loader only; not thread-safe per object. Owned pointers live until refresh or close.
 */
#ifndef INLAY_BINARY_PROCESS_H
#define INLAY_BINARY_PROCESS_H

#include "base/types.h"
#include "binary/binary.h"

#include <sys/types.h>

struct process;

struct process_module {
	const char *path;	  /* as /proc/PID/maps shows it to us, without " (deleted)" */
	u64 start, end;		  /* of all its mappings */
	u64 text_start, text_end; /* of its executable ones */
	u64 bias;		  /* runtime address - the file's virtual address */
	u64 device;		  /* st_dev */
	u64 inode;
	u16 machine;  /* e_machine */
	u8 elf_class; /* ELFCLASS64, ... */
	bool deleted; /* the path names another file now, or none */
	bool is_exe;
};

struct process_facts {
	pid_t pid;    /* as we name it */
	pid_t ns_pid; /* as it names itself (innermost pid namespace) */
	pid_t tracer; /* 0: none */
	uid_t uid;    /* real */
	uid_t euid;
	u32 threads;
	u8 seccomp;   /* 0 off, 1 strict, 2 filter */
	u8 elf_class; /* of its executable: ELFCLASS64 or ELFCLASS32 */
	u16 machine;  /* of its executable: EM_X86_64, ... */
	bool is_static;
	bool is_musl;
	pid_t proc_pid; /* the name of its directory in the /proc it sees; 0: it sees none with itself in */
	bool shadow_stack; /* user shadow stacks are on in its main thread */
	const struct process_module *exe;
	const struct process_module *libc;	  /* NULL: none mapped */
	const struct process_module *interpreter; /* ld.so; NULL when static */
};

/*
 * Looks at a process. Returns 0, -ESRCH (no such process, or a zombie), -EACCES (not ours to look at), -errno of
 * reading; process_problem says it in a sentence. A 32-bit, static or musl process opens: the facts say so.
 */
int process_open(pid_t pid, struct process **ret_process);
void process_close(struct process *process);
/* Reads the mappings again. Pointers to modules become invalid, binaries of modules still mapped are kept. */
int process_refresh(struct process *process);
/* One sentence about the last failure of a process_ call in this thread; never NULL. */
const char *process_problem(void);

const struct process_facts *process_facts(const struct process *process);
/* All ELF files with an executable mapping, by address. */
const struct process_module *process_modules(const struct process *process, size_t *ret_count);

/*
 * A module by what people call it: "" or "exe" or "/proc/self/exe" (the executable), a full path as the target sees it, a path
 * of ours that is the same file (device and inode), a base name, "libc.so.6", or a base name up to ".so" or "-"
 * ("libc", "libsqlite3"). NULL when nothing, and process_problem says so.
 */
const struct process_module *process_find_module(const struct process *process, const char *name);
/* The module mapped at address, or NULL. */
const struct process_module *process_module_at(const struct process *process, u64 address);

/*
 * Opens the file behind a module for reading: the very file that is mapped, checked by device and inode, whatever
 * became of its path. Returns a descriptor or -errno.
 */
int process_open_module(const struct process *process, const struct process_module *module);
/*
 * The module's file, opened once and kept by the process. Processes that map the same file share it, so one thread at a time
 * uses them. 0 or -errno as binary_open.
 */
int process_binary(struct process *process, const struct process_module *module,
		   struct binary **ret_binary);

/*
 * Absolute address of a function of a module. An IFUNC answers with the implementation in use where the process's
 * own tables tell it. 0, -ENOENT (process_problem), -errno of opening.
 */
int process_find_function(struct process *process, const struct process_module *module,
			  const char *name, u64 *ret_address);
/* Absolute address of a file offset, as uprobes name a place. 0 or -ENOENT (not in the mapped executable part). */
int process_offset_to_address(struct process *process, const struct process_module *module,
			      u64 file_offset, u64 *ret_address);
/*
 * The implementation an IFUNC resolved to in this process: absolute address. -ENOENT when the process's own tables
 * do not hold it.
 */
int process_resolve_ifunc(struct process *process, const struct process_module *module,
			  const struct binary_function *function, u64 *ret_address);

/* Reads the process's memory. 0, or -errno (-EFAULT: not mapped). */
int process_read(const struct process *process, u64 address, void *to, size_t size);

#endif
