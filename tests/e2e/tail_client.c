/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A libbpf client that knows nothing of inlay: attaches a program that makes tail calls, and changes their prog array.
 *
 * usage: tail_client OBJECT PID BINARY OFFSET, then commands on stdin, each answered by one line:
 *   attach PROGRAM       to the function at that file offset
 *   detach               the link of the last attach
 *   set SLOT PROGRAM     (or "-": empties it)
 *   storm SECONDS        installs, replaces and removes slots 0 and 1 at full speed; answers with the number of updates
 *   read                 the values of the map `seen`
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As the kernel's headers since 6.6 have it; those of the build may be older. */
struct link_create_uprobe_multi {
	__u32 prog_fd, target_fd, attach_type, flags;
	__u64 path, offsets, ref_ctr_offsets, cookies;
	__u32 cnt, multi_flags, pid;
};
#define UPROBE_MULTI 48

static struct bpf_object *object;
static int jumps, link_fd = -1;

static int program(const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, name));
}

static int attach(const char *name, char **argv)
{
	__u64 offset = strtoull(argv[4], NULL, 0);
	struct link_create_uprobe_multi attr = {
		.prog_fd = (__u32)program(name),
		.attach_type = UPROBE_MULTI,
		.path = (__u64)(unsigned long)argv[3],
		.offsets = (__u64)(unsigned long)&offset,
		.cnt = 1,
		.pid = (__u32)atoi(argv[2]),
	};

	link_fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return link_fd < 0 ? -errno : 0;
}

static int set(int slot, const char *name)
{
	int fd;

	if (!strcmp(name, "-"))
		return bpf_map_delete_elem(jumps, &slot);
	fd = program(name);
	return bpf_map_update_elem(jumps, &slot, &fd, BPF_ANY);
}

static long storm(int seconds)
{
	time_t end = time(NULL) + seconds;
	long updates = 0;
	int error = 0;

	while (!error && time(NULL) < end) {
		for (int slot = 0; slot < 2; slot++) {
			error = error ? error : set(slot, "one");
			error = error ? error : set(slot, "two");
			error = error ? error : set(slot, "-");
			updates += 3;
		}
	}
	return error ? error : updates;
}

static void read_seen(void)
{
	int fd = bpf_object__find_map_fd_by_name(object, "seen");

	for (int key = 0; key < 8; key++) {
		__u64 value = 0;

		bpf_map_lookup_elem(fd, &key, &value);
		printf("%llu ", (unsigned long long)value);
	}
	putchar('\n');
}

static void serve(const char *line, char **argv)
{
	char name[64];
	int number;

	if (sscanf(line, "attach %63s", name) == 1)
		printf("%d\n", attach(name, argv));
	else if (sscanf(line, "set %d %63s", &number, name) == 2)
		printf("%d\n", set(number, name));
	else if (sscanf(line, "storm %d", &number) == 1)
		printf("%ld\n", storm(number));
	else if (!strncmp(line, "detach", 6))
		printf("%d\n", close(link_fd));
	else if (!strncmp(line, "read", 4))
		read_seen();
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[256];

	object = argc == 5 ? bpf_object__open_file(argv[1], NULL) : NULL;
	if (!object || bpf_object__load(object))
		return 1;
	jumps = bpf_object__find_map_fd_by_name(object, "jumps");
	while (fgets(line, sizeof(line), stdin))
		serve(line, argv);
	bpf_object__close(object);
	return 0;
}
