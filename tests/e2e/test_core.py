#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""CO-RE against the target's own types: fields are where the target has them, or the cause is told."""
import json
import time

from lab import *

PROBE = """
#include <bpf/bpf_core_read.h>
struct peer { const char *name; } __attribute__((preserve_access_index));
enum state___probe { STATE_NEW, STATE_OPEN };
struct conn___probe {
	unsigned long long bytes[4];
	unsigned int id, kind : 2;
	struct peer *peer;
} __attribute__((preserve_access_index));
struct conn___old { int never_there; } __attribute__((preserve_access_index));
struct absent { int x; } __attribute__((preserve_access_index));
unsigned int id, kind, size, open, old_field, no_type;
unsigned long long third, hits;
char name[16];
SEC("uprobe//proc/self/exe:handle") int BPF_KPROBE(handle, struct conn___probe *conn)
{
	struct conn___old *old = (void *)conn;

	hits++;
	id = BPF_CORE_READ(conn, id);
	kind = BPF_CORE_READ_BITFIELD_PROBED(conn, kind);
	third = BPF_CORE_READ(conn, bytes[2]);
	size = bpf_core_type_size(struct conn___probe);
	open = bpf_core_enum_value(enum state___probe, STATE_OPEN);
	old_field = bpf_core_field_exists(old->never_there);
	no_type = bpf_core_type_exists(struct absent);
	bpf_probe_read_user_str(name, sizeof(name), BPF_CORE_READ(conn, peer, name));
	return 0;
}
"""

MISSING = """
#include <bpf/bpf_core_read.h>
struct not_there { int x; } __attribute__((preserve_access_index));
int x;
SEC("uprobe//proc/self/exe:handle") int BPF_KPROBE(handle, struct not_there *it) { x = BPF_CORE_READ(it, x); return 0; }
"""

REGISTERS = """
#include <bpf/bpf_core_read.h>
struct pt_regs___own { unsigned long di; } __attribute__((preserve_access_index));
unsigned long long hits, first;
SEC("uprobe//proc/self/exe:handle") int handle(struct pt_regs___own *ctx) { hits++; first = ctx->di; return 0; }
"""


def globals_of(name, obj):
    process = start([victim(name)])
    time.sleep(0.1)
    result = inlay("attach", "-p", process.pid, "-d", "0.3", "--json", obj)
    assert process.poll() is None
    assert result.returncode == 0, result
    return json.loads(result.stdout)["globals"]


def fields_are_where_the_target_has_them():
    need("pahole")
    values = globals_of("layout", compile_bpf(PROBE))
    assert values["hits"] > 10 and values["third"] > 1000, values
    assert values["id"] == 4711 and values["kind"] == 19, values
    assert values["size"] == 96 and values["open"] == 7, values
    assert values["old_field"] == 0 and values["no_type"] == 0, values
    assert str(values["name"]).startswith("somebody") or bytes(values["name"][:8]) == b"somebody", values


def refused(name, obj, *words):
    process = start([victim(name)])
    time.sleep(0.1)
    before = snapshot(process.pid)
    result = inlay("attach", "-p", process.pid, obj)
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result
    for word in words:
        assert word in result.stderr, result.stderr
    assert snapshot(process.pid) == before


def a_type_that_is_not_there():
    need("pahole")
    refused("layout", compile_bpf(MISSING), "type 'not_there'", "not among those of", "layout")


def a_target_without_debug_information():
    refused("layout_stripped", compile_bpf(PROBE), "it uses the target's type", "neither BTF nor DWARF")


def registers_need_no_types():
    values = globals_of("layout_stripped", compile_bpf(REGISTERS))
    assert values["hits"] > 10 and values["first"] > 4096, values


run(fields_are_where_the_target_has_them, a_type_that_is_not_there, a_target_without_debug_information, registers_need_no_types)
