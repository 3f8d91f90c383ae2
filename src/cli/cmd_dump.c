/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay-dump(1): a program's instructions, as verified or as compiled. */
#include "cli/cli.h"

#include <Zydis/Zydis.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load_one.h"
#include "cli/print_value.h"
#include "format/disasm.h"
#include "format/insn.h"
#include "helpers/helpers.h"

static const char help[] =
	"usage: inlay dump OBJECT.bpf.o PROGRAM {xlated|jited} [--json]\n"
	"\n"
	"Shows a program's BPF instructions as the verifier rewrote them (xlated), or the machine code they are\n"
	"compiled to (jited). Nothing is attached, nothing runs.\n"
	"\n"
	"examples:\n"
	"  inlay dump probe.bpf.o count xlated\n"
	"  inlay dump probe.bpf.o count jited\n";

/* How one line is written; first for JSON's commas. */
struct output {
	bool json, first;
};

static void print_line(struct output *output, u32 at, const char *text)
{
	if (!output->json) {
		printf("%6u: %s\n", at, text);
		return;
	}
	printf("%s{\"at\":%u,\"text\":", output->first ? "" : ",", at);
	print_json_string(stdout, text, strlen(text));
	printf("}");
	output->first = false;
}

/* The program's code of one kind. Owned by the caller; NULL and errno where it cannot be had. */
static void *fetch_code(int prog_fd, bool jited, u32 *ret_size)
{
	struct bpf_prog_info info = {0};
	u32 length = sizeof(info), size;
	void *code;
	int error = bpf_obj_get_info_by_fd(prog_fd, &info, &length);

	if (error)
		return NULL;
	size = jited ? info.jited_prog_len : info.xlated_prog_len;
	code = calloc(1, size ? size : 1);
	if (!code)
		return NULL;
	info = (struct bpf_prog_info){0};
	if (jited) {
		info.jited_prog_insns = ptr_to_u64(code);
		info.jited_prog_len = size;
	} else {
		info.xlated_prog_insns = ptr_to_u64(code);
		info.xlated_prog_len = size;
	}
	error = bpf_obj_get_info_by_fd(prog_fd, &info, &length);
	if (error) {
		free(code);
		return NULL;
	}
	*ret_size = size;
	return code;
}

static const char *helper_name(u32 id)
{
	const struct helper_proto *proto = helper_proto(id);

	return proto ? proto->name : NULL;
}

static void print_xlated(struct output *output, const struct bpf_insn *insns, u32 count)
{
	char text[DISASM_MAX];

	for (u32 i = 0; i < count; i++) {
		disasm_insn_named(&insns[i], helper_name, text, sizeof(text));
		print_line(output, i, text);
		i += insn_is_ld_imm64(&insns[i]);
	}
}

static void print_jited(struct output *output, const u8 *code, u32 size)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisFormatter formatter;
	ZydisDecoder decoder;
	char text[256];

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
	for (u32 at = 0; at < size; at += insn.length) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code + at, size - at, &insn,
							 operands)) ||
		    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, operands,
								  insn.operand_count_visible, text,
								  sizeof(text), at, NULL))) {
			snprintf(text, sizeof(text), ".byte 0x%02x", code[at]);
			insn.length = 1;
		}
		print_line(output, at, text);
	}
}

static int dump(const struct load_one *one, const char *path, bool jited, bool json)
{
	const char *name = bpf_program__name(one->program);
	struct output output = {json, true};
	void *code;
	u32 size;

	if (one->error)
		return cli_fail("%s: program '%s' is rejected: %s", path, name,
				one->reason    ? one->reason
				: one->warning ? one->warning
					       : strerror(-one->error));
	code = fetch_code(bpf_program__fd(one->program), jited, &size);
	if (!code)
		return cli_fail("%s: program '%s' cannot be read back: %s", path, name,
				strerror(errno));
	if (!size) {
		free(code);
		return cli_fail(
			"%s: program '%s' is interpreted: it has an instruction that the compiler lacks",
			path, name);
	}
	if (json) {
		printf("{\"name\":");
		print_json_string(stdout, name, strlen(name));
		printf(",\"kind\":\"%s\",\"insns\":[", jited ? "jited" : "xlated");
	}
	if (jited)
		print_jited(&output, code, size);
	else
		print_xlated(&output, code, size / (u32)sizeof(struct bpf_insn));
	if (json)
		printf("]}\n");
	free(code);
	return CLI_OK;
}

static int run_dump(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {0}};
	struct load_one one;
	bool json = false, jited;
	int option, status;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "j", longs, NULL)) != -1) {
		if (option != 'j')
			return cli_usage(&cmd_dump, "no option '%s'", argv[optind - 1]);
		json = true;
	}
	if (optind + 3 != argc)
		return cli_usage(&cmd_dump, "it takes an object, a program and a kind");
	jited = !strcmp(argv[optind + 2], "jited");
	if (!jited && strcmp(argv[optind + 2], "xlated"))
		return cli_usage(&cmd_dump, "the kind is xlated or jited, not '%s'",
				 argv[optind + 2]);
	status = load_one_program(argv[optind], argv[optind + 1], 0, &one);
	if (!status)
		status = dump(&one, argv[optind], jited, json);
	load_one_release(&one);
	return status;
}

const struct cli_verb cmd_dump = {
	.name = "dump",
	.summary = "the instructions of a program, as verified or as compiled",
	.help = help,
	.run = run_dump,
};
