#!/usr/bin/env python3
"""Typed programs: fentry, fexit and fmod_ret on the functions of a program built with -g, by BTF made from its DWARF."""
import json
import os
import random as randoms
import shutil
import struct
import subprocess
import time

import lab

EXE = "/proc/self/exe"
SEEN = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 256); __type(key, __u32); __type(value, __u64); } seen SEC(".maps");
static __always_inline void note(__u32 key, __u64 value) { bpf_map_update_elem(&seen, &key, &value, BPF_ANY); }
"""


def _victim():
    lab.need("pahole")
    target = lab.start([lab.victim("typed")], stdout=subprocess.PIPE, text=True)
    os.set_blocking(target.stdout.fileno(), False)
    time.sleep(0.1)
    return target


def _run(body, seconds=0.3, target=None):
    """Attaches for a while: what the map `seen` holds. The victim checks its own results throughout."""
    target = target or _victim()
    attachment = lab.Attachment(target.pid, lab.compile_bpf(SEEN + body), "--json")
    time.sleep(seconds)
    status, out, err = attachment.finish()
    assert status == 0, err
    assert target.poll() is None, target.stdout.read()
    assert not lab.text_differences(target.pid), "text was not restored"
    return {row["key"]: row["value"] for row in json.loads(out)["maps"]["seen"]}, err


def _bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def arguments_and_result():
    seen, err = _run("""
SEC("fentry//proc/self/exe:add_two") int BPF_PROG(before, int a, int b) { note(0, a); note(1, b); return 0; }
SEC("fexit//proc/self/exe:add_two") int BPF_PROG(after, int a, int b, int result)
{
	__u64 value = 0;

	note(10, a); note(11, b); note(12, result);
	bpf_get_func_arg(ctx, 1, &value); note(13, value);
	bpf_get_func_ret(ctx, &value); note(14, (__u32)value);
	note(15, bpf_get_func_arg_cnt(ctx));
	note(16, (__u32)bpf_get_func_arg(ctx, 2, &value));
	note(17, bpf_get_func_ip(ctx) != 0);
	return 0;
}
SEC("fexit//proc/self/exe:nothing") int BPF_PROG(leave, int a) { note(20, a); return 0; }
""")
    assert seen == {0: 3, 1: 4, 10: 3, 11: 4, 12: 7, 13: 4, 14: 7, 15: 2, 16: 0xffffffea, 17: 1, 20: 77}, seen
    assert "before: 0 hits" not in err and "after: 0 hits" not in err, err


def many_signatures():
    notes = "".join(f"note({i}, ctx[{i}]);" for i in range(13))
    seen, _ = _run(f"""
SEC("fexit//proc/self/exe:twelve") int many(__u64 *ctx) {{ {notes} return 0; }}
SEC("fentry//proc/self/exe:twelve") int many_before(__u64 *ctx) {{ note(13, ctx[11]); return 0; }}
SEC("fexit//proc/self/exe:mixed") int mixed(__u64 *ctx)
{{ note(20, (int)ctx[0]); note(21, ctx[1]); note(22, ctx[2]); note(23, (__u32)ctx[3]); note(25, ctx[5]); note(26, ctx[6]); return 0; }}
SEC("fexit//proc/self/exe:swap_pair") int pair(__u64 *ctx)
{{ note(30, ctx[0]); note(31, ctx[1]); note(32, ctx[2]); note(33, ctx[3]); return 0; }}
SEC("fexit//proc/self/exe:three_shorts") int three(__u64 *ctx)
{{ note(40, ctx[0] & 0xffffffffffff); note(41, (__u8)ctx[1]); note(42, (int)ctx[2]); return 0; }}
SEC("fexit//proc/self/exe:long_double") int x87(__u64 *ctx) {{ note(50, (int)ctx[2]); return 0; }}
SEC("fexit//proc/self/exe:wide") int wide(__u64 *ctx) {{ note(60, ctx[1]); note(61, ctx[3]); return 0; }}
SEC("fexit//proc/self/exe:make_big") int big(__u64 *ctx) {{ note(70, ctx[0]); return 0; }}
SEC("fentry//proc/self/exe:variadic") int varargs(__u64 *ctx) {{ note(80, ctx[0] != 0); return 0; }}
""")
    for i in range(12):
        assert seen[i] == i + 1, seen
    assert seen[12] == 650 and seen[13] == 12, seen
    assert [seen[20], seen[21], seen[22], seen[25]] == [1, _bits(2.5), 100, _bits(0.5)], seen
    assert seen[23] == struct.unpack("<I", struct.pack("<f", 0.25))[0], seen
    assert seen[26] == _bits(1 + 5 + 100 + 0.25 + 0.5 + ord("A")), seen
    assert [seen[i] for i in range(30, 34)] == [7, _bits(2.0), 5, 7], seen
    assert [seen[i] for i in range(40, 43)] == [2 | 3 << 16 | 4 << 32, 1, 14], seen
    assert seen[50] == 4 and seen[60] == 5 and seen[61] in (8, 10) and seen[70] == 40 and seen[80] == 1, seen


def memory_is_read_through_pointers():
    seen, _ = _run("""
struct node { struct node *next; int value; char name[12]; };
SEC("fentry//proc/self/exe:node_sum") int BPF_PROG(sum, const struct node *node)
{
	struct node copy;

	if (!bpf_probe_read_user(&copy, sizeof(copy), node)) {
		note(0, copy.value);
		if (!bpf_probe_read_user(&copy, sizeof(copy), copy.next))
			note(1, copy.value);
	}
	return 0;
}
""")
    assert seen == {0: 7, 1: 5}, seen


def results_are_replaced():
    target = _victim()
    seen, _ = _run("""
SEC("fmod_ret//proc/self/exe:may_enter") int BPF_PROG(deny, int who, int result) { note(0, result); return who == 7 ? -13 : 0; }
SEC("fexit//proc/self/exe:may_enter") int BPF_PROG(after, int who, int result) { note(who, (__u32)result); return 0; }
""", target=target)
    assert seen == {0: 0, 7: 0xfffffff3, 1000: 0xffffffff}, seen
    assert "denied" in target.stdout.read()


def typed_and_untyped_share_a_function():
    seen, _ = _run("""
SEC("fentry//proc/self/exe:add_two") int BPF_PROG(one, int a, int b) { note(0, a); return 0; }
SEC("uprobe//proc/self/exe:add_two") int BPF_KPROBE(two, int a, int b) { note(1, b); return 0; }
SEC("uretprobe//proc/self/exe:add_two") int BPF_KRETPROBE(three, int result) { note(2, result); return 0; }
SEC("fexit//proc/self/exe:add_two") int BPF_PROG(four, int a, int b, int result) { note(3, result); return 0; }
""")
    assert seen == {0: 3, 1: 4, 2: 7, 3: 7}, seen


def attaching_and_detaching_under_load():
    target = _victim()
    for _ in range(8):
        _run("""
SEC("fexit//proc/self/exe:twelve") int BPF_PROG(one) { return 0; }
SEC("fmod_ret//proc/self/exe:add_two") int BPF_PROG(two) { return 0; }
SEC("fentry//proc/self/exe:variadic") int BPF_PROG(three) { return 0; }
""".replace("{ return 0; }", "{ note(0, 1); return 0; }"), seconds=0.02, target=target)


def _refused(target, body, word):
    before = lab.snapshot(target.pid)
    result = lab.inlay("attach", "-p", target.pid, "--duration", "0.1", lab.compile_bpf(body))
    causes = [line for line in result.stderr.splitlines() if line.startswith("inlay: ")]
    assert result.returncode == 1 and len(causes) == 1 and word in causes[0], result.stderr
    assert lab.snapshot(target.pid) == before, "the target was touched"


def what_is_not_served_is_refused():
    target = _victim()

    def program(section, body="return 0;"):
        return f'SEC("{section}") int f(__u64 *ctx) {{ {body} }}'

    _refused(target, program("fexit//proc/self/exe:variadic"), "variable number of arguments")
    _refused(target, program("fentry//proc/self/exe:thirteen"), "more than 12 words")
    _refused(target, program("fentry//proc/self/exe:take_big"), "more than 16 bytes")
    _refused(target, program("fmod_ret//proc/self/exe:mixed"), "result is not one integer")
    _refused(target, program("fentry//proc/self/exe:add_two", "return ctx[2] == 3;"), "context")
    _refused(target, program("fexit//proc/self/exe:add_two", "return ctx[3] == 3;"), "context")
    _refused(target, program("fentry//proc/self/exe:no_such_function"), "no_such_function")


def no_types_is_one_error():
    lab.need("strip")
    stripped = shutil.copy(lab.victim("typed"), lab.folder())
    subprocess.run(["strip", "--strip-debug", "--remove-section=.note.gnu.build-id", stripped], check=True)
    target = lab.start([stripped], stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    _refused(target, 'SEC("fentry//proc/self/exe:add_two") int f(__u64 *ctx) { return 0; }', "has no types")


def types_come_from_a_separate_file():
    lab.need("objcopy", "strip")
    where = lab.folder()
    binary = shutil.copy(lab.victim("typed"), where)
    os.mkdir(os.path.join(where, ".debug"))
    debug = os.path.join(where, ".debug", "typed.debug")
    subprocess.run(["objcopy", "--only-keep-debug", binary, debug], check=True)
    subprocess.run(["strip", "--strip-debug", binary], check=True)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", binary], check=True)
    os.environ["XDG_CACHE_HOME"] = lab.folder()
    try:
        target = lab.start([binary], stdout=subprocess.PIPE, text=True)
        time.sleep(0.1)
        seen, _ = _run('SEC("fexit/:add_two") int BPF_PROG(f, int a, int b, int r) { note(0, r); return 0; }',
                       target=target)
        assert seen == {0: 7}, seen
        cached = os.listdir(os.path.join(os.environ["XDG_CACHE_HOME"], "inlay", "btf"))
        assert len(cached) == 1 and cached[0].endswith(".btf"), cached
    finally:
        del os.environ["XDG_CACHE_HOME"]


THROWS = """
extern "C" int usleep(unsigned);
extern "C" void _exit(int);
extern "C" __attribute__((noipa)) int thrower(int a) { if (a & 1) throw a; return a; }
extern "C" __attribute__((noipa)) int middle(int a) { int result = thrower(a); asm volatile(""); return result + 1; }
int main()
{
	for (int i = 0;; i++) {
		int caught = 0, result = 0;
		try { result = middle(i); } catch (int number) { caught = number; }
		if (caught != (i & 1 ? i : 0) || result != (i & 1 ? 0 : i + 1)) _exit(1);
		usleep(200);
	}
}
"""


def exceptions_pass_through_a_called_function():
    lab.need("g++", "pahole")
    binary = os.path.join(lab.folder(), "throws")
    subprocess.run(["g++", "-g", "-O2", "-x", "c++", "-", "-o", binary], input=THROWS, text=True, check=True)
    target = lab.start([binary], stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    seen, _ = _run("""
SEC("fexit/:middle") int BPF_PROG(outer, int a, int result) { note(0, 1); return 0; }
SEC("fexit/:thrower") int BPF_PROG(inner, int a, int result) { note(1, 1); return 0; }
""", target=target)
    assert seen == {0: 1, 1: 1}, seen


# ---- random signatures ----

# name: (declaration, size, [(offset, struct format or bytes of a long double / __int128, C field)])
_STRUCTS = {
    "s1": ("char a; int b;", 8, [(0, "b", "a"), (4, "i", "b")]),
    "s2": ("float a, b, c;", 12, [(0, "f", "a"), (4, "f", "b"), (8, "f", "c")]),
    "s3": ("double a; int b;", 16, [(0, "d", "a"), (8, "i", "b")]),
    "s4": ("long a, b;", 16, [(0, "q", "a"), (8, "q", "b")]),
    "s5": ("int a; float b; double c;", 16, [(0, "i", "a"), (4, "f", "b"), (8, "d", "c")]),
    "s6": ("float a; short b[3];", 12, [(0, "f", "a"), (4, "h", "b[0]"), (6, "h", "b[1]"), (8, "h", "b[2]")]),
    "s7": ("char a; long b;", 9, [(0, "b", "a"), (1, "q", "b")]),
    "s8": ("char a[3];", 3, [(0, "b", "a[0]"), (1, "b", "a[1]"), (2, "b", "a[2]")]),
    "s9": ("struct { double x; } a; double b;", 16, [(0, "d", "a.x"), (8, "d", "b")]),
    "s10": ("long double a;", 16, [(0, "L", "a")]),
    "s11": ("union { int i; float f; } a; float b;", 8, [(0, "f", "a.f"), (4, "f", "b")]),
}
_SCALARS = {"char": "b", "short": "h", "int": "i", "long": "q", "float": "f", "double": "d", "long double": "L",
            "__int128": "x", "void *": "p", "bool": "?"}


def _raw(code, number):
    """Bytes of a value; None where they mean nothing."""
    if code == "L":  # the 80 bits of a small positive number
        exponent = number.bit_length() - 1
        return list(struct.pack("<QH", number << (63 - exponent), 16383 + exponent)) + [None] * 6
    if code == "x":
        return list(number.to_bytes(16, "little"))
    if code == "?":
        return [1]
    return list(struct.pack("<" + {"p": "Q"}.get(code, code), number))


class _Argument:
    """One argument of a random type with a value: its C, and the words that a program must see."""

    def __init__(self, random, name):
        self.name = name
        if random.random() < 0.35:
            kind = random.choice(sorted(_STRUCTS))
            _, size, fields = _STRUCTS[kind]
            raw = [None] * size
            values = []
            for offset, code, field in fields:
                number = random.randint(1, 100)
                bits = _raw(code, number)
                raw[offset:offset + len(bits)] = bits
                values.append((field, number))
            self.type = "struct " + kind
            self.literal = f"(struct {kind}){{" + ", ".join(f".{f} = {n}" for f, n in values) + "}"
            self.check = " && ".join(f"{name}.{f} == {n}" for f, n in values)
        else:
            self.type = random.choice(sorted(_SCALARS))
            number = random.randint(1, 100)
            raw = _raw(_SCALARS[self.type], number)
            self.literal = f"({self.type}){number}"
            self.check = f"{name} == {self.literal}"
        raw += [None] * (-len(raw) % 8)
        self.words = [raw[i:i + 8] for i in range(0, len(raw), 8)]


def _matches(word, raw):
    return all(b is None or word >> 8 * i & 0xff == b for i, b in enumerate(raw))


def random_signatures_are_passed_on():
    """Each function checks its arguments, its caller the result, and the programs' map what they were shown."""
    lab.need("gcc", "pahole")
    seed = int(os.environ.get("INLAY_SEED", "1"))
    source = randoms.Random(seed)
    functions = []
    code = "#include <stdbool.h>\nint usleep(unsigned); void _exit(int);\n"
    for name, (fields, _, _) in _STRUCTS.items():
        code += f"struct {'__attribute__((packed)) ' if name == 's7' else ''}{name} {{ {fields} }};\n"
    for i in range(60):
        arguments, result = [], _Argument(source, "r")
        for _ in range(source.randint(0, 9)):
            argument = _Argument(source, f"a{len(arguments)}")
            if sum(len(a.words) for a in arguments) + len(argument.words) <= 12:
                arguments.append(argument)
        functions.append((arguments, result))
        code += f"__attribute__((noipa)) {result.type} f{i}({', '.join(f'{a.type} {a.name}' for a in arguments) or 'void'})\n{{\n"
        code += "".join(f"\tif (!({a.check})) _exit(1);\n" for a in arguments)
        code += f"\treturn {result.literal};\n}}\n"
    code += "int main(void)\n{\n\tfor (;;) {\n"
    for i, (arguments, result) in enumerate(functions):
        code += f"\t\t{{ {result.type} r = f{i}({', '.join(a.literal for a in arguments)}); if (!({result.check})) _exit(1); }}\n"
    code += "\t\tusleep(1000);\n\t}\n}\n"
    binary = os.path.join(lab.folder(), "randoms")
    subprocess.run(["gcc", "-g", "-O1", "-x", "c", "-", "-o", binary], input=code, text=True, check=True)
    body = SEEN.replace("256", "2048")
    for i, (arguments, _) in enumerate(functions):
        notes = "".join(f" note({i * 16 + w}, ctx[{w}]);" for w in range(sum(len(a.words) for a in arguments)))
        body += f'SEC("fexit/:f{i}") int p{i}(__u64 *ctx) {{ note({i * 16 + 15}, 1);{notes} return 0; }}\n'
    target = lab.start([binary], stdout=subprocess.PIPE, text=True)
    time.sleep(0.1)
    attachment = lab.Attachment(target.pid, lab.compile_bpf(body), "--json")
    time.sleep(0.3)
    status, out, err = attachment.finish()
    assert status == 0, err
    assert target.poll() is None, f"seed {seed}: a function got a wrong argument, or its caller a wrong result"
    seen = {row["key"]: row["value"] for row in json.loads(out)["maps"]["seen"]}
    for i, (arguments, _) in enumerate(functions):
        words = [word for a in arguments for word in a.words]
        assert seen.get(i * 16 + 15), f"f{i} was not seen"
        for w, raw in enumerate(words):
            assert _matches(seen[i * 16 + w], raw), \
                f"seed {seed}: f{i}({', '.join(a.type for a in arguments)}), word {w}: {seen[i * 16 + w]:#x}, want {raw}"


lab.run(arguments_and_result, many_signatures, random_signatures_are_passed_on, memory_is_read_through_pointers, results_are_replaced,
        typed_and_untyped_share_a_function, attaching_and_detaching_under_load, what_is_not_served_is_refused,
        no_types_is_one_error, exceptions_pass_through_a_called_function, types_come_from_a_separate_file)
