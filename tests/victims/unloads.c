/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program whose probed code goes away, or may not be touched.
 *
 * usage: unloads LIBRARY    on each line of input: 'c' dlcloses the library and calls nothing, 'o' opens it (again), 'f' maps
 *                           a copy of the file in its place, 'w' calls library_work 1000 times; each answers "ok ADDRESS"
 *        unloads            has a restartable sequence; on each line "ok 0"
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The whole function is one sequence, with an abort handler behind its signature. */
int restartable(int value);
int abort_handler(int value);
__asm__(".text\n.balign 16\n.globl restartable\n.type restartable, @function\nrestartable:\n"
	"lea 1(%rdi), %eax\nnop\nnop\nlea 0(%rax), %eax\n1: ret\n.size restartable, .-restartable\n"
	".long 0x53053053\n.globl abort_handler\n.type abort_handler, @function\nabort_handler:\n"
	"lea 1(%rdi), %eax\nlea 0(%rax), %eax\nret\n.size abort_handler, .-abort_handler\n"
	".pushsection __rseq_cs, \"aw\"\n.balign 32\n.long 0, 0\n.quad restartable, 1b - restartable, abort_handler\n"
	".popsection\n");

static long (*library_work)(long, long);

static void *open_library(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW);

	if (!handle) {
		puts(dlerror());
		exit(1);
	}
	library_work = (long (*)(long, long))dlsym(handle, "library_work");
	return handle;
}

/* Other bytes of another file at the same address: they only look the same. */
static void map_copy(const char *path)
{
	char copy[4096];
	unsigned long start, end, offset;
	char line[512], rights[8], name[256];
	FILE *maps = fopen("/proc/self/maps", "r");

	snprintf(copy, sizeof(copy), "%s.copy", path);
	while (fgets(line, sizeof(line), maps)) {
		int fd;

		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %255s", &start, &end, rights, &offset,
			   name) != 5 ||
		    strcmp(name, path) || rights[2] != 'x')
			continue;
		fd = open(copy, O_RDONLY);
		if (mmap((void *)start, end - start, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
			 fd, (off_t)offset) == MAP_FAILED)
			exit(1);
		close(fd);
	}
	fclose(maps);
}

int main(int argc, char **argv)
{
	void *handle = argc > 1 ? open_library(argv[1]) : NULL;
	int command;

	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((command = getchar()) != EOF) {
		if (command == '\n') {
			printf("ok %lx\n", (unsigned long)library_work);
			continue;
		}
		if (restartable(1) != 2 || abort_handler(1) != 2)
			return 1;
		if (command == 'c')
			dlclose(handle);
		if (command == 'o')
			handle = open_library(argv[1]);
		if (command == 'f')
			map_copy(argv[1]);
		for (long i = 0; command == 'w' && i < 1000; i++) {
			if (library_work(i, 2) != i * 5 + 2)
				return 1;
		}
	}
	return 0;
}
