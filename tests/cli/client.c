/* SPDX-License-Identifier: BSD-2-Clause */
/* A libbpf client that knows nothing of inlay: loads an object, runs it, reads ring and globals, and holds it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int count_record(void *context, void *data, size_t size)
{
	(void)data;
	*(int *)context += size == 8;
	return 0;
}

/* The global through a mapping of its map, as skeletons read it. */
static int read_total(struct bpf_object *object)
{
	int fd = bpf_map__fd(bpf_object__find_map_by_name(object, ".bss"));
	const int *values = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	return values == MAP_FAILED ? -1 : *values;
}

int main(int argc, char **argv)
{
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 5);
	struct ring_buffer *ring;
	int records = 0, error;

	if (!object || bpf_object__load(object))
		return 1;
	ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "records"), count_record,
				&records, NULL);
	error = bpf_prog_test_run_opts(
		bpf_program__fd(bpf_object__find_program_by_name(object, "filter")), &run);
	printf("run %d returned %u\n", error, run.retval);
	if (!ring || ring_buffer__poll(ring, 1000) < 0)
		return 1;
	printf("records %d\n", records);
	printf("total %d\n", read_total(object));
	printf("ready\n");
	fflush(stdout);
	if (argc < 3)
		pause();
	ring_buffer__free(ring);
	bpf_object__close(object);
	return error || records != 5;
}
