/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay-run(1): an unmodified BPF client, with our library in front of libc. */
#include "cli/cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libinlay-preload.so"

static const char help[] =
	"usage: inlay run [--] COMMAND [ARGUMENT]...\n"
	"\n"
	"Runs an unmodified BPF client (bpftool, programs built on libbpf) on inlay instead of the kernel.\n"
	"Objects it makes are seen by other 'inlay run' commands of the same user while it lives.\n"
	"\n"
	"examples:\n"
	"  inlay run -- bpftool prog list\n"
	"  inlay run -- bpftool prog run pinned ... \n"
	"  inlay run -- ./my-libbpf-program\n"
	"\n"
	"The command must be dynamically linked. Its exit status is the command's.\n";

/* Beside the executable (the build tree), where it lies from there once installed, or where it was to be installed. */
static bool find_library(char *path, size_t size)
{
	static const char *const places[] = {LIBRARY, INLAY_BIN_TO_LIB "/" LIBRARY};
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	for (size_t i = 0; length > 0 && i < ARRAY_SIZE(places); i++) {
		self[length] = 0;
		*(strrchr(self, '/') + 1) = 0;
		if (snprintf(path, size, "%s%s", self, places[i]) < (int)size &&
		    !access(path, R_OK))
			return true;
	}
	snprintf(path, size, "%s", INLAY_LIBDIR "/" LIBRARY);
	return !access(path, R_OK);
}

/* Where execvp would find it. */
static bool find_command(const char *command, char *path, size_t size)
{
	const char *dirs = getenv("PATH"), *end;

	if (strchr(command, '/')) {
		snprintf(path, size, "%s", command);
		return !access(path, X_OK);
	}
	for (dirs = dirs ? dirs : "/bin:/usr/bin"; *dirs; dirs = *end ? end + 1 : end) {
		end = strchrnul(dirs, ':');
		snprintf(path, size, "%.*s/%s", (int)(end - dirs), dirs, command);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

enum linkage {
	LINKAGE_DYNAMIC, /* or a script, whose interpreter is looked at by nobody */
	LINKAGE_STATIC,
	LINKAGE_OTHER_CLASS,
};

static enum linkage linkage_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum linkage linkage = LINKAGE_DYNAMIC;
	Elf64_Phdr program;
	Elf64_Ehdr file;

	if (fd < 0)
		return LINKAGE_DYNAMIC;
	if (pread(fd, &file, sizeof(file), 0) == sizeof(file) &&
	    !memcmp(file.e_ident, ELFMAG, SELFMAG)) {
		linkage =
			file.e_ident[EI_CLASS] == ELFCLASS64 ? LINKAGE_STATIC : LINKAGE_OTHER_CLASS;
		for (int i = 0; linkage == LINKAGE_STATIC && i < file.e_phnum; i++) {
			off_t at = (off_t)file.e_phoff + i * (off_t)file.e_phentsize;

			if (pread(fd, &program, sizeof(program), at) == sizeof(program) &&
			    program.p_type == PT_INTERP)
				linkage = LINKAGE_DYNAMIC;
		}
	}
	close(fd);
	return linkage;
}

static int set_preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *value;
	int result;

	if (!before || !*before)
		return setenv("LD_PRELOAD", library, 1);
	if (asprintf(&value, "%s:%s", library, before) < 0)
		return -1;
	result = setenv("LD_PRELOAD", value, 1);
	free(value);
	return result;
}

static int run_run(int argc, char **argv)
{
	char library[PATH_MAX], path[PATH_MAX];
	int first = 1;

	if (first < argc && !strcmp(argv[first], "--"))
		first++;
	else if (first < argc && argv[first][0] == '-')
		return cli_usage(&cmd_run, "no option '%s'", argv[first]);
	if (first >= argc)
		return cli_usage(&cmd_run, "no command given");
	if (!find_library(library, sizeof(library)))
		return cli_fail("cannot find %s, neither beside inlay nor in %s", LIBRARY,
				INLAY_LIBDIR);
	if (!find_command(argv[first], path, sizeof(path)))
		return cli_fail("cannot run '%s': no such command", argv[first]);
	switch (linkage_of(path)) {
	case LINKAGE_STATIC:
		return cli_fail(
			"cannot run '%s': it is linked statically, so its calls cannot be answered",
			path);
	case LINKAGE_OTHER_CLASS:
		return cli_fail("cannot run '%s': it is not a 64-bit program", path);
	default:
		break;
	}
	if (set_preload(library))
		return cli_fail("cannot run '%s': %s", argv[first], strerror(errno));
	execv(path, argv + first);
	return cli_fail("cannot run '%s': %s", argv[first], strerror(errno));
}

const struct cli_verb cmd_run = {
	.name = "run",
	.summary = "an unmodified BPF client on inlay instead of the kernel",
	.help = help,
	.run = run_run,
};
