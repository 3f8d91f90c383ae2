/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs examples/protocols.bpf.c on packets of its own and prints what each was: knows nothing of inlay. usage: protocols OBJECT
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

/* One letter a header: e thernet, v lan, 4 and 6 for IP, g re, k GRE with a key, t cp, u dp, f a later fragment. */
static const char *const packets[] = {
	"e4t",	    "e6u",  "ev4u",  "evv6t",
	"e44t",	    "e46u", "e4g4t", "e6k6g4u",
	"ev4kvv4u", "e4f",  "e",     "e4444444444444444444444444444444444444444u"};

static int ethernet_type(char next)
{
	switch (next) {
	case 'v':
		return 0x8100;
	case '4':
	case 'f':
		return 0x0800;
	case '6':
		return 0x86dd;
	}
	return 0x88b5; /* for experiments */
}

static int ip_protocol(char next)
{
	switch (next) {
	case '4':
	case 'f':
		return 4;
	case '6':
		return 41;
	case 'g':
	case 'k':
		return 47;
	case 't':
		return 6;
	}
	return 17;
}

static void put_half(unsigned char *to, int value)
{
	to[0] = (unsigned char)(value >> 8);
	to[1] = (unsigned char)value;
}

static size_t put_header(unsigned char *at, char kind, char next)
{
	switch (kind) {
	case 'e':
		put_half(at + 12, ethernet_type(next));
		return 14;
	case 'v':
		put_half(at + 2, ethernet_type(next));
		return 4;
	case '4':
	case 'f':
		at[0] = 0x45;
		at[9] = (unsigned char)ip_protocol(next);
		put_half(at + 6, kind == 'f' ? 100 : 0);
		return 20;
	case '6':
		at[0] = 0x60;
		at[6] = (unsigned char)ip_protocol(next);
		return 40;
	case 'g':
	case 'k':
		put_half(at, kind == 'k' ? 0x2000 : 0);
		put_half(at + 2, ethernet_type(next));
		return kind == 'k' ? 8 : 4;
	}
	return 20;
}

static int run(int prog, const char *kinds)
{
	unsigned char packet[1500] = {0};
	size_t size = 0;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet);

	for (; *kinds; kinds++)
		size += put_header(packet + size, kinds[0], kinds[1]);
	options.data_size_in = (__u32)size + 40;
	return bpf_prog_test_run_opts(prog, &options);
}

/* Takes the one entry out that the run has made. */
static void print(int map, const char *kinds)
{
	__u64 key = 0, value = 0;

	if (bpf_map_get_next_key(map, NULL, &key))
		printf("%s: nothing\n", kinds);
	else if (!bpf_map_lookup_elem(map, &key, &value) && !bpf_map_delete_elem(map, &key))
		printf("%s: protocol %#x behind %u headers, %llu\n", kinds, (unsigned)key,
		       (unsigned)(key >> 32), (unsigned long long)value);
}

int main(int argc, char **argv)
{
	struct bpf_object *object = argc == 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	int prog, map;

	if (!object || bpf_object__load(object))
		return 1;
	prog = bpf_program__fd(bpf_object__find_program_by_name(object, "parse"));
	map = bpf_object__find_map_fd_by_name(object, "packets");
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		if (run(prog, packets[i]))
			return 1;
		print(map, packets[i]);
	}
	return 0;
}
