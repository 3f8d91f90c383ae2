/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens copies of a library with thread-local variables until the dynamic linker has no room for another, then sleeps.
 * usage: tls_full LIBRARY     exits 1 when the room does not end
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

static int open_copy(const char *library)
{
	char path[64];
	int from = open(library, O_RDONLY), to = memfd_create("hog", 0);
	void *handle;

	sendfile(to, from, NULL, 1 << 24);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	handle = dlopen(path, RTLD_NOW);
	close(from);
	/* Kept open: its path is the library's name, and must not be that of the next one. */
	return handle ? 0 : -1;
}

int main(int argc, char **argv)
{
	int copies = 0;

	while (argc > 1 && copies < 1000 && !open_copy(argv[1]))
		copies++;
	if (copies == 0 || copies == 1000)
		return 1;
	for (;;)
		pause();
}
