/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs of the kernel's own verifier tests, with the verdicts of Linux 6.18 (shared/verifier-corpus), against
 * verify_program with a fake host. Set INLAY_CORPUS_LIST to false_accept, false_reject or other_msg to name programs;
 * INLAY_CORPUS_ONLY=6.1-0012 shows the log of one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/btf.h"
#include "json.h"
#include "kernel_protos.h"
#include "test.h"
#include "verify/verify.h"

#define MAX_MAPS 64
#define FIRST_FD 1000 /* descriptor of maps[0] */
#define MAX_BTFS 64
/* What was reached, so that a change which loses ground is noticed. */
#define WANT_AGREE_PERCENT 95

struct corpus_map {
	struct verify_map map, inner;
	uint8_t *value;
	bool bad; /* a descriptor that was no map */
	int bad_fd;
};

static struct corpus_map maps[MAX_MAPS];
static struct btf *btfs[MAX_BTFS];

static const struct verify_map *map_by_fd(void *opaque, int fd)
{
	(void)opaque;
	fd -= FIRST_FD;
	return fd >= 0 && fd < MAX_MAPS && maps[fd].map.id && !maps[fd].bad ? &maps[fd].map : NULL;
}

static const struct verify_host host = {kernel_proto, kernel_proto_allowed, map_by_fd, NULL};

static void fill_map(struct verify_map *map, const struct json *spec, u32 id)
{
	const struct btf *btf =
		json_number(spec, "btf") < MAX_BTFS ? btfs[json_number(spec, "btf")] : NULL;

	map->id = id;
	map->type = (u32)json_number(spec, "type");
	map->key_size = (u32)json_number(spec, "key");
	map->value_size = (u32)json_number(spec, "value");
	map->max_entries = (u32)json_number(spec, "max");
	map->flags = (u32)json_number(spec, "flags");
	snprintf(map->name, sizeof(map->name), "%s", json_string(spec, "name"));
	map->readonly_prog = map->flags & BPF_F_RDONLY_PROG;
	map->writeonly_prog = map->flags & BPF_F_WRONLY_PROG;
	map->frozen = json_number(spec, "frozen");
	map->spin_lock_off = map->timer_off = ~0u;
	map->has_btf = btf && json_number(spec, "btf_value");
	if (map->has_btf) {
		map->spin_lock_off =
			btf_find_field(btf, (u32)json_number(spec, "btf_value"), "bpf_spin_lock");
		map->timer_off =
			btf_find_field(btf, (u32)json_number(spec, "btf_value"), "bpf_timer");
	}
}

static void load_maps(const struct json *load)
{
	const struct json *list = json_get(load, "maps"), *inner, *elem;
	int i = 0;

	for (int k = 0; k < MAX_MAPS; k++)
		free(maps[k].value);
	memset(maps, 0, sizeof(maps));
	for (const struct json *spec = list ? list->child : NULL; spec && i < MAX_MAPS;
	     spec = spec->next, i++) {
		size_t size;

		maps[i].bad = json_get(spec, "bad_fd");
		maps[i].bad_fd = (int)json_number(spec, "bad_fd");
		fill_map(&maps[i].map, spec, (u32)(1000 + json_number(spec, "id")));
		inner = json_get(spec, "inner");
		if (inner) {
			fill_map(&maps[i].inner, inner, 5000);
			maps[i].map.inner = &maps[i].inner;
		}
		elem = json_get(spec, "elems");
		if (elem && elem->child && maps[i].map.type == BPF_MAP_TYPE_ARRAY &&
		    maps[i].map.max_entries == 1) {
			maps[i].value = json_bytes(elem->child->child->next->string, &size);
			maps[i].map.value = maps[i].value;
		}
	}
}

static const char *last_line(const char *log, char *buffer, size_t size)
{
	const char *stats = strstr(log, "processed "), *end, *start;

	while (stats && strstr(stats + 1, "\nprocessed "))
		stats = strstr(stats + 1, "\nprocessed ") + 1;
	end = stats ? stats : log + strlen(log);
	{
		const char *time = NULL;

		for (const char *p = strstr(log, "verification time "); p && p < end;
		     p = strstr(p + 1, "verification time "))
			time = p;
		end = time ? time : end;
	}
	while (end > log && end[-1] == '\n')
		end--;
	start = end;
	while (start > log && start[-1] != '\n')
		start--;
	snprintf(buffer, size, "%.*s", (int)(end - start), start);
	return buffer;
}

static int verify_load(const struct json *load, u32 level, struct verify_log *log,
		       struct verify_result *result)
{
	size_t size, info_size = 0;
	struct bpf_insn *insns = (void *)json_bytes(json_string(load, "insns"), &size);
	uint8_t *info = json_get(load, "func_info")
				? json_bytes(json_string(load, "func_info"), &info_size)
				: NULL;
	int fd_array[MAX_MAPS];
	const struct json *fds = json_get(load, "fd_array");
	struct verify_request request = {
		.insns = insns,
		.insn_cnt = (u32)(size / sizeof(*insns)),
		.prog_type = (u32)json_number(load, "prog_type"),
		.attach_type = (u32)json_number(load, "eat"),
		.flags = (u32)json_number(load, "flags"),
		.gpl = !strcmp(json_string(load, "license"), "GPL"),
		.privileged = true,
		.log_level = level,
		.func_info = info,
		.func_info_rec = (u32)json_number(load, "func_info_rec"),
	};
	int err, count = 0;

	if (info && json_number(load, "btf") < MAX_BTFS) {
		request.btf = btfs[json_number(load, "btf")];
		request.func_info_cnt = (u32)(info_size / request.func_info_rec);
	}

	for (const struct json *map = fds ? fds->child : NULL; map; map = map->next, count++)
		fd_array[count] = FIRST_FD + count;
	if (fds)
		request.fd_array = fd_array;
	for (u32 i = 0; i < request.insn_cnt; i++) {
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    (insns[i].src_reg == 1 || insns[i].src_reg == 2) && insns[i].imm >= 0 &&
		    insns[i].imm < MAX_MAPS)
			insns[i].imm = maps[insns[i].imm].bad ? maps[insns[i].imm].bad_fd
							      : FIRST_FD + insns[i].imm;
	}
	memset(log, 0, sizeof(*log));
	err = verify_program(&request, &host, log, result);
	free(insns);
	free(info);
	return err;
}

static struct {
	int judged, agree, false_accept, false_reject, skipped, both_reject, same_errno, same_msg;
	unsigned long long processed, time_ns;
} total;

static void judge(const struct json *load)
{
	const char *list = getenv("INLAY_CORPUS_LIST"), *only = getenv("INLAY_CORPUS_ONLY"),
		   *kind = "agree";
	bool want = !strcmp(json_string(load, "verdict"), "accept");
	struct verify_result result;
	struct verify_log log;
	char message[512];
	int err;

	if (json_get(load, "skip") || json_get(load, "attach_btf_id") ||
	    json_get(load, "symbols")) {
		total.skipped++;
		return;
	}
	if (only && strcmp(only, json_string(load, "id")))
		return;
	load_maps(load);
	err = verify_load(load, only ? 2 : 1, &log, &result);
	total.judged++;
	total.processed += result.insn_processed;
	total.time_ns += result.time_ns;
	last_line(log.text ? log.text : "", message, sizeof(message));
	if (!err == want) {
		total.agree++;
		if (err) {
			bool same = !strcmp(message, json_string(load, "msg"));

			total.both_reject++;
			total.same_errno += -err == json_number(load, "errno");
			total.same_msg += same;
			kind = same ? kind : "other_msg";
		}
	} else if (!err) {
		total.false_accept++;
		kind = "false_accept";
	} else {
		total.false_reject++;
		kind = "false_reject";
	}
	if ((list && !strcmp(list, kind)) || only)
		printf("# %s %s: %s\n#   want: %s (%lld)\n#   have: %s (%d)\n", kind,
		       json_string(load, "id"), json_string(load, "test"), json_string(load, "msg"),
		       json_number(load, "errno"), message, -err);
	if (only)
		printf("%s\n%s\n", log.text ? log.text : "", result.reason);
	verify_log_free(&log);
}

static void add_btf(const struct json *line)
{
	size_t size;
	uint8_t *bytes = json_bytes(json_string(line, "data"), &size);
	long long n = json_number(line, "n");

	if (n >= 0 && n < MAX_BTFS && size)
		btf_parse_raw(bytes, (u32)size, NULL, &btfs[n]);
	free(bytes);
}

static void corpus_agrees(void)
{
	const char *source = getenv("INLAY_SOURCE"), *file = getenv("INLAY_CORPUS");
	char path[4096], *line = NULL;
	size_t capacity = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/../shared/verifier-corpus/linux-6.1.jsonl",
		 source ? source : ".");
	f = fopen(file ? file : path, "r");
	if (!f)
		SKIP("../shared/verifier-corpus is not there");
	while (getline(&line, &capacity, f) > 0) {
		const char *at = line;
		struct json *record = json_parse(&at);

		if (!strcmp(json_string(record, "ev"), "btf"))
			add_btf(record);
		else if (!strcmp(json_string(record, "ev"), "load"))
			judge(record);
		json_free(record);
	}
	free(line);
	fclose(f);
	printf("# judged %d agree %d false_accept %d false_reject %d skipped %d\n", total.judged,
	       total.agree, total.false_accept, total.false_reject, total.skipped);
	printf("# both reject %d same_errno %d same_msg %d processed %llu time %llu us\n",
	       total.both_reject, total.same_errno, total.same_msg, total.processed,
	       total.time_ns / 1000);
	CHECK_EQ(total.false_accept, 0);
	CHECK(total.agree * 100 >= total.judged * WANT_AGREE_PERCENT);
}

int main(void)
{
	RUN(corpus_agrees);
	for (int i = 0; i < MAX_BTFS; i++)
		btf_release(btfs[i]);
	return test_done();
}
