/* SPDX-License-Identifier: BSD-2-Clause */
/* What inlay attach prints: values typed by BTF, histograms, maps, and how it reads sections and commands. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/attach_section.h"
#include "cli/histogram.h"
#include "cli/print_map.h"
#include "cli/print_value.h"
#include "cli/words.h"
#include "test.h"

static struct btf *types;
static u32 int_id, long_id, char_id, bool_id, name_id, pair_id, enum_id, ptr_id, flags_id,
	typedef_id, histogram_id;

static u32 array_of(u32 element, u32 count)
{
	return (u32)btf__add_array(types, (int)int_id, (int)element, count);
}

static void make_types(void)
{
	u32 slots;

	types = btf__new_empty();
	int_id = (u32)btf__add_int(types, "int", 4, BTF_INT_SIGNED);
	long_id = (u32)btf__add_int(types, "unsigned long", 8, 0);
	char_id = (u32)btf__add_int(types, "char", 1, BTF_INT_SIGNED);
	bool_id = (u32)btf__add_int(types, "_Bool", 1, BTF_INT_BOOL);
	name_id = array_of(char_id, 16);
	pair_id = (u32)btf__add_struct(types, "pair", 24);
	btf__add_field(types, "a", (int)int_id, 0, 0);
	btf__add_field(types, "text", (int)name_id, 32, 0);
	btf__add_field(types, "low", (int)int_id, 160, 3);
	btf__add_field(types, "high", (int)int_id, 163, 5);
	enum_id = (u32)btf__add_enum(types, "color", 4);
	btf__add_enum_value(types, "RED", 0);
	btf__add_enum_value(types, "BLUE", 7);
	ptr_id = (u32)btf__add_ptr(types, 0);
	flags_id = array_of(int_id, 3);
	typedef_id = (u32)btf__add_typedef(types, "u64", (int)long_id);
	slots = array_of(long_id, 4);
	histogram_id = (u32)btf__add_struct(types, "histogram", 32);
	btf__add_field(types, "slots", (int)slots, 0, 0);
}

static void expect_value(u32 id, const void *value, const char *text, const char *json)
{
	struct value_type type = {types, id, (u32)btf__resolve_size(types, id)};
	char *out = NULL;
	size_t size;

	for (int round = 0; round < 2; round++) {
		const char *want = round ? json : text;
		FILE *stream = open_memstream(&out, &size);

		(round ? print_value_json : print_value_text)(stream, &type, value);
		fclose(stream);
		if (strcmp(out, want))
			printf("# got <%s>, want <%s>\n", out, want);
		CHECK(!strcmp(out, want));
		free(out);
	}
}

static void integers_and_enums(void)
{
	int minus = -5, blue = 7, other = 3;
	u64 large = ~0ull, address = 0xdeadbeef;
	u8 yes = 1;

	expect_value(int_id, &minus, "-5", "-5");
	expect_value(long_id, &large, "18446744073709551615", "18446744073709551615");
	expect_value(typedef_id, &large, "18446744073709551615", "18446744073709551615");
	expect_value(bool_id, &yes, "true", "true");
	expect_value(enum_id, &blue, "BLUE", "\"BLUE\"");
	expect_value(enum_id, &other, "3", "3");
	expect_value(ptr_id, &address, "0xdeadbeef", "\"0xdeadbeef\"");
}

static void text_and_structs(void)
{
	int flags[3] = {1, -2, 3};
	struct {
		int a;
		char text[16];
		u32 bits;
	} pair = {42, "say \"hi\"\n", 2 | 5 << 3};

	expect_value(name_id, "key:000000000001", "key:000000000001", "\"key:000000000001\"");
	expect_value(name_id, "tab\tb\\\xff\0xxxxxxxx", "tab\\x09b\\\\xff",
		     "\"tab\\u0009b\\\\\\u00ff\"");
	expect_value(name_id, "\xc3\xa4\0xxxxxxxxxxxxx", "\xc3\xa4", "\"\xc3\xa4\"");
	expect_value(flags_id, flags, "[1, -2, 3]", "[1, -2, 3]");
	expect_value(pair_id, &pair, "{42, say \"hi\"\\x0a, 2, 5}",
		     "{\"a\": 42, \"text\": \"say \\\"hi\\\"\\u000a\", \"low\": 2, \"high\": 5}");
}

static void order_and_sums(void)
{
	struct value_type number = {types, int_id, 4}, text = {types, name_id, 16},
			  row = {types, flags_id, 12};
	int minus = -5, plus = 3, sum[3] = {1, 2, 3}, more[3] = {10, 20, 30};
	char letters[16] = "a";

	CHECK(print_value_compare(&number, &minus, &plus) < 0);
	CHECK(print_value_compare(&number, &plus, &plus) == 0);
	CHECK(print_value_compare(&text, "abcdefghijklmnop", "abcdefghijklmnoq") < 0);
	CHECK(print_value_add(&row, sum, more));
	CHECK_EQ(sum[0], 11);
	CHECK_EQ(sum[2], 33);
	CHECK(!print_value_add(&text, letters, letters));
	CHECK(!strcmp(letters, "a"));
}

static char *histogram_text(const u64 *slots, u32 count)
{
	char *out = NULL;
	size_t size;
	FILE *stream = open_memstream(&out, &size);

	histogram_print(stream, slots, count);
	fclose(stream);
	return out;
}

static void histograms(void)
{
	u64 slots[64] = {0};
	char *out = histogram_text(slots, 64);

	CHECK(!strcmp(out, "(empty)\n"));
	free(out);
	slots[14] = 97;
	out = histogram_text(slots, 64);
	CHECK(!strcmp(
		out,
		"[16K, 32K)            97 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n"));
	free(out);
	slots[14] = 0;
	slots[0] = 2;
	slots[2] = 1;
	slots[63] = 0;
	out = histogram_text(slots, 64);
	CHECK(!strcmp(
		out,
		"[0, 2)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n"
		"[2, 4)                 0 |                                                    |\n"
		"[4, 8)                 1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |\n"));
	free(out);
	slots[63] = ~0ull;
	out = histogram_text(slots, 64);
	CHECK(strstr(out, "[8E, ...)"));
	free(out);
}

/* A map of the running kernel, filled; -1 where bpf(2) is not ours. */
static int make_map(struct print_map *map, enum bpf_map_type type, const char *name, u32 key_id,
		    u32 value_id, u32 entries)
{
	*map = (struct print_map){
		.name = name,
		.type = type,
		.key_size = (u32)btf__resolve_size(types, key_id),
		.value_size = (u32)btf__resolve_size(types, value_id),
		.max_entries = entries,
		.btf = types,
		.key_id = key_id,
		.value_id = value_id,
	};
	map->fd = bpf_map_create(type, name, map->key_size, map->value_size, entries, NULL);
	return map->fd;
}

static void expect_map(const struct print_map *map, const char *text, const char *json)
{
	char *out = NULL;
	size_t size;
	u32 count = 0;
	FILE *stream = open_memstream(&out, &size);

	CHECK_EQ(print_map_text(stream, map), 0);
	fclose(stream);
	if (strcmp(out, text))
		printf("# got <%s>, want <%s>\n", out, text);
	CHECK(!strcmp(out, text));
	free(out);
	stream = open_memstream(&out, &size);
	CHECK_EQ(print_map_json(stream, map, &count), 0);
	fclose(stream);
	if (strcmp(out, json))
		printf("# got <%s>, want <%s>\n", out, json);
	CHECK(!strcmp(out, json));
	CHECK_EQ(count, 1);
	free(out);
}

static void hash_is_sorted_by_value(void)
{
	struct print_map map;
	static const struct {
		char key[16];
		int value;
	} rows[] = {{"many", 30}, {"few", -1}, {"some", 7}, {"another", 7}};

	if (make_map(&map, BPF_MAP_TYPE_HASH, "counts", name_id, int_id, 10) < 0)
		SKIP("bpf(2) does not answer here");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		bpf_map_update_elem(map.fd, rows[i].key, &rows[i].value, 0);
	expect_map(&map,
		   "@counts[few]: -1\n@counts[another]: 7\n@counts[some]: 7\n@counts[many]: 30\n",
		   "\"counts\":[{\"key\":\"few\",\"value\":-1},{\"key\":\"another\",\"value\":7},"
		   "{\"key\":\"some\",\"value\":7},{\"key\":\"many\",\"value\":30}]");
	close(map.fd);
}

static void array_named_hist_is_drawn(void)
{
	struct print_map map;
	u64 value = 3;
	int key = 1;

	if (make_map(&map, BPF_MAP_TYPE_ARRAY, "size_hist", int_id, long_id, 3) < 0)
		SKIP("bpf(2) does not answer here");
	bpf_map_update_elem(map.fd, &key, &value, 0);
	expect_map(
		&map,
		"@size_hist:\n[2, 4)                 3 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n",
		"\"size_hist\":[{\"key\":0,\"value\":0},{\"key\":1,\"value\":3},{\"key\":2,\"value\":0}]");
	close(map.fd);
}

static void slots_of_an_element_are_drawn(void)
{
	struct print_map map;
	u64 slots[4] = {0, 0, 5, 0};

	if (make_map(&map, BPF_MAP_TYPE_HASH, "sizes", name_id, histogram_id, 3) < 0)
		SKIP("bpf(2) does not answer here");
	bpf_map_update_elem(map.fd, "main\0\0\0\0\0\0\0\0\0\0\0", slots, 0);
	expect_map(
		&map,
		"@sizes[main]:\n[4, 8)                 5 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n",
		"\"sizes\":[{\"key\":\"main\",\"value\":{\"slots\": [0, 0, 5, 0]}}]");
	close(map.fd);
}

static void per_cpu_values_are_summed(void)
{
	struct print_map map;
	int cpus = libbpf_num_possible_cpus(), key = 0;
	u64 *values = calloc((size_t)cpus, 8);
	char text[64], json[64];

	if (make_map(&map, BPF_MAP_TYPE_PERCPU_ARRAY, "sum", int_id, long_id, 1) < 0) {
		free(values);
		SKIP("bpf(2) does not answer here");
	}
	for (int i = 0; i < cpus; i++)
		values[i] = 10;
	bpf_map_update_elem(map.fd, &key, values, 0);
	snprintf(text, sizeof(text), "@sum[0]: %d\n", cpus * 10);
	snprintf(json, sizeof(json), "\"sum\":[{\"key\":0,\"value\":%d}]", cpus * 10);
	expect_map(&map, text, json);
	close(map.fd);
	free(values);
}

static void expect_section(const char *text, bool at_return, bool many, const char *binary,
			   const char *function)
{
	struct attach_section section;
	char problem[256] = "";

	CHECK_EQ(attach_section_parse(text, &section, problem, sizeof(problem)), 0);
	if (*problem) {
		printf("# %s\n", problem);
		return;
	}
	CHECK_EQ(section.at_return, at_return);
	CHECK_EQ(section.many, many);
	CHECK(!strcmp(section.binary, binary));
	CHECK(!strcmp(section.function, function));
	attach_section_free(&section);
}

static void expect_usdt(const char *text, const char *binary, const char *provider,
			const char *name)
{
	struct attach_section section = {0};
	char problem[512];

	CHECK_EQ(attach_section_parse(text, &section, problem, sizeof(problem)), 0);
	CHECK(section.kind == ATTACH_USDT && !strcmp(section.binary, binary) &&
	      !strcmp(section.provider, provider) && !strcmp(section.function, name));
	attach_section_free(&section);
}

static void expect_tick(const char *text, u64 period_ns)
{
	struct attach_section section = {0};
	char problem[512];

	CHECK_EQ(attach_section_parse(text, &section, problem, sizeof(problem)), 0);
	CHECK(section.kind == ATTACH_TICK && section.period_ns == period_ns);
	attach_section_free(&section);
}

static void expect_refusal(const char *text, const char *word)
{
	struct attach_section section;
	char problem[256] = "";

	CHECK_EQ(attach_section_parse(text, &section, problem, sizeof(problem)), -EINVAL);
	if (!strstr(problem, word))
		printf("# '%s' does not say '%s'\n", problem, word);
	CHECK(strstr(problem, word));
	CHECK(strstr(problem, text));
}

static void sections(void)
{
	struct attach_section section;
	char problem[256];

	expect_section("uprobe//proc/self/exe:main", false, false, "/proc/self/exe", "main");
	expect_section("uretprobe/libc:malloc", true, false, "libc", "malloc");
	expect_section("uprobe/:main", false, false, "", "main");
	expect_section("uprobe.multi//usr/bin/x:str*", false, true, "/usr/bin/x", "str*");
	expect_section("uretprobe.multi.s/libc:free", true, true, "libc", "free");
	CHECK_EQ(
		attach_section_parse("uprobe/libc:malloc+0x10", &section, problem, sizeof(problem)),
		0);
	CHECK(section.has_offset && section.offset == 16 && !strcmp(section.function, "malloc"));
	attach_section_free(&section);
	CHECK_EQ(attach_section_parse("uprobe/libc:0x1234", &section, problem, sizeof(problem)), 0);
	CHECK(section.has_offset && section.offset == 0x1234 && !*section.function);
	attach_section_free(&section);
	expect_refusal("uprobe", "names no function");
	expect_refusal("uprobe/libc", "names no function");
	expect_refusal("uprobe/libc:", "names no function");
	expect_refusal("uprobe/libc:f+x", "not an offset");
	expect_refusal("fentry/main", "names no function");
	expect_section("fexit/:main", false, false, "", "main");
	expect_refusal("freplace/main", "not supported yet");
	expect_usdt("usdt/x:y:z", "x", "y", "z");
	expect_usdt("usdt//a:b/c:y:z", "/a:b/c", "y", "z");
	expect_usdt("usdt/:y:z", "", "y", "z");
	expect_usdt("usdt/y:z", "", "y", "z");
	expect_tick("tick/s:1", 1000000000);
	expect_tick("interval/ms:10", 10000000);
	expect_tick("tick/us:500", 500000);
	expect_tick("tick/hz:99", 10101010);
	expect_refusal("tick", "names no period");
	expect_refusal("tick/s", "names no period");
	expect_refusal("tick/s:", "names no period");
	expect_refusal("tick/s:0", "names no period");
	expect_refusal("tick/s:-1", "names no period");
	expect_refusal("tick/s:1x", "names no period");
	expect_refusal("tick/m:1", "names no period");
	expect_refusal("tick/us:99", "shortest period");
	expect_refusal("tick/hz:10001", "shortest period");
	expect_refusal("profile/hz:99", "not supported yet");
	expect_refusal("usdt/y", "names no function");
	expect_refusal("usdt/y:", "names no function");
	expect_refusal("usdt/:z", "names no provider");
	expect_refusal("usdt/x::z", "names no provider");
	expect_refusal("kprobe/do_exit", "not one that attaches");
	expect_refusal("xdp", "not one that attaches");
}

static void expect_words(const char *text, int count, const char *last)
{
	char **words = words_split(text);
	int found = 0;

	CHECK(words != NULL);
	while (words && words[found])
		found++;
	CHECK_EQ(found, count);
	if (words && found)
		CHECK(!strcmp(words[found - 1], last));
	free(words);
}

static void commands(void)
{
	expect_words("ls -l /", 3, "/");
	expect_words("  sh -c 'echo  a b' ", 3, "echo  a b");
	expect_words("a \"b \\\" c\"", 2, "b \" c");
	expect_words("a b\\ c", 2, "b c");
	expect_words("a ''", 2, "");
	expect_words("a b c d e f g h", 8, "h");
	CHECK(!words_split("") && errno == EINVAL);
	CHECK(!words_split("   ") && errno == EINVAL);
	CHECK(!words_split("a 'b") && errno == EINVAL);
}

int main(void)
{
	libbpf_set_print(NULL);
	make_types();
	RUN(integers_and_enums);
	RUN(text_and_structs);
	RUN(order_and_sums);
	RUN(histograms);
	RUN(hash_is_sorted_by_value);
	RUN(array_named_hist_is_drawn);
	RUN(slots_of_an_element_are_drawn);
	RUN(per_cpu_values_are_summed);
	RUN(sections);
	RUN(commands);
	btf__free(types);
	return test_done();
}
