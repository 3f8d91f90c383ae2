/* SPDX-License-Identifier: BSD-2-Clause */
/* inlay exec: one program from stdin, run once and unverified; the plug-in of the bpf_conformance suite. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/exec.h"
#include "exec/raw_image.h"
#include "format/insn.h"
#include "helpers/helpers.h"

#define TIME_LIMIT_S   10
#define ALT_STACK_SIZE 65536
#define MAX_INPUT      (64u << 20)

struct exec_options {
	bool interpret;
	bool xdp;
	const char *memory; /* hex, or NULL */
};

/* Bytes that were written in hex; owned by whoever parsed them. */
struct hex_bytes {
	u8 *bytes;
	size_t size;
};

/* The head of struct xdp_md: 32-bit addresses, so what it describes must be mapped low. */
struct xdp_context {
	u32 data, data_end, data_meta;
};

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pairs of digits with any blanks between. Returns 0, -EINVAL or -ENOMEM. */
static int parse_hex(const char *text, size_t length, struct hex_bytes *ret_hex)
{
	u8 *bytes = malloc(length / 2 + 1);
	size_t digits = 0;

	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < length; i++) {
		int digit = hex_digit((u8)text[i]);

		if (isspace((u8)text[i]))
			continue;
		if (digit < 0)
			goto free_bytes;
		if (digits % 2)
			bytes[digits / 2] = (u8)(bytes[digits / 2] << 4 | digit);
		else if (digits / 2 < length / 2)
			bytes[digits / 2] = (u8)digit;
		digits++;
	}
	if (digits % 2)
		goto free_bytes;
	ret_hex->bytes = bytes;
	ret_hex->size = digits / 2;
	return 0;

free_bytes:
	free(bytes);
	return -EINVAL;
}

/* All of stdin; owned by the caller. NULL: errno. */
static char *read_stdin(size_t *ret_length)
{
	size_t length = 0, capacity = 1 << 16;
	char *text = malloc(capacity);

	while (text) {
		size_t got = fread(text + length, 1, capacity - length, stdin);
		char *larger;

		length += got;
		if (length < capacity)
			break;
		capacity *= 2;
		larger = capacity > MAX_INPUT ? NULL : realloc(text, capacity);
		if (!larger) {
			free(text);
			errno = E2BIG;
			return NULL;
		}
		text = larger;
	}
	*ret_length = length;
	return text;
}

/* Returns enum cli_exit; on CLI_OK *ret_image is the caller's. */
static int read_program(struct image_header **ret_image)
{
	struct hex_bytes program;
	size_t length;
	char *text = read_stdin(&length);
	int err;

	if (!text)
		return cli_fail("cannot read the program: %s", strerror(errno));
	err = parse_hex(text, length, &program);
	free(text);
	if (err)
		return cli_fail("the program on stdin is not pairs of hex digits");
	if (!program.size || program.size % sizeof(struct bpf_insn)) {
		free(program.bytes);
		return cli_fail("the program has %zu bytes, want a multiple of 8", program.size);
	}
	err = raw_image_create((const struct bpf_insn *)program.bytes,
			       (u32)(program.size / sizeof(struct bpf_insn)), ret_image);
	free(program.bytes);
	if (err == -EINVAL)
		return cli_fail(
			"the program is malformed: a jump that leads nowhere, or an end without exit");
	return err ? cli_fail("cannot take the program: %s", strerror(-err)) : CLI_OK;
}

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(CLI_FAILED);
}

/* Unverified code may do anything; what it did is said in words instead of a core dump. */
static void on_signal(int signal)
{
	switch (signal) {
	case SIGALRM:
		say("inlay: the program did not end within 10 s\n");
		break;
	case SIGILL:
		say("inlay: the program ran into an illegal instruction\n");
		break;
	default:
		say("inlay: the program accessed memory that it does not have\n");
		break;
	}
	_exit(CLI_FAILED);
}

static void catch_signals(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGALRM};
	static char stack[ALT_STACK_SIZE];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

	sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	alarm(TIME_LIMIT_S);
}

static int run_engine(const struct exec_options *options, const struct image_header *image, u64 r1,
		      u64 r2, u64 *ret_r0)
{
	struct exec_env env = {.helper = helper_address};
	struct exec_code *code;
	int err;

	if (options->interpret) {
		catch_signals();
		*ret_r0 = exec_interpret(image, &env, r1, r2);
		return CLI_OK;
	}
	err = exec_compile(image, &env, 0, false, &code);
	if (err == -EOPNOTSUPP)
		return cli_fail(
			"the program has an instruction or calls a helper that does not exist");
	if (err)
		return cli_fail("cannot compile the program: %s", strerror(-err));
	catch_signals();
	*ret_r0 = code->entry(r1, r2);
	exec_free(code);
	return CLI_OK;
}

/* Returns a writable copy below 4 GiB, where a 32-bit context field can say where it is. */
static u8 *map_low(const struct hex_bytes *memory)
{
	u8 *copy = mmap(NULL, memory->size + 1, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (copy == MAP_FAILED)
		return NULL;
	if (memory->size)
		memcpy(copy, memory->bytes, memory->size);
	return copy;
}

static int run_on_memory(const struct exec_options *options, const struct image_header *image,
			 const struct hex_bytes *memory)
{
	struct xdp_context context;
	u8 *copy = map_low(memory);
	u64 r1 = memory->size ? ptr_to_u64(copy) : 0, r2 = memory->size, r0 = 0;
	int result;

	if (!copy)
		return cli_fail("no memory below 4 GiB: %s", strerror(errno));
	if (options->xdp) {
		context.data = context.data_meta = (u32)ptr_to_u64(copy);
		context.data_end = context.data + (u32)memory->size;
		r1 = ptr_to_u64(&context);
		r2 = 0;
	}
	fputs("inlay: exec runs the program unverified\n", stderr);
	result = run_engine(options, image, r1, r2, &r0);
	if (result == CLI_OK)
		printf("%" PRIx64 "\n", r0);
	munmap(copy, memory->size + 1);
	return result;
}

static int parse_options(int argc, char **argv, struct exec_options *options)
{
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (!strcmp(word, "--interp"))
			options->interpret = true;
		else if (!strcmp(word, "--jit"))
			options->interpret = false;
		else if (!strcmp(word, "--xdp"))
			options->xdp = true;
		else if (!strcmp(word, "--raw"))
			options->xdp = false;
		else if (word[0] == '-')
			return cli_usage(&cmd_exec, "unknown option '%s'", word);
		else if (options->memory)
			return cli_usage(&cmd_exec, "more than one MEMORY");
		else
			options->memory = word;
	}
	return CLI_OK;
}

static int run_exec(int argc, char **argv)
{
	struct exec_options options = {.memory = NULL};
	struct hex_bytes memory;
	struct image_header *image;
	int result = parse_options(argc, argv, &options);

	if (result)
		return result;
	if (parse_hex(options.memory ? options.memory : "",
		      options.memory ? strlen(options.memory) : 0, &memory))
		return cli_usage(&cmd_exec, "MEMORY is not pairs of hex digits");
	result = read_program(&image);
	if (result == CLI_OK) {
		result = run_on_memory(&options, image, &memory);
		raw_image_free(image);
	}
	free(memory.bytes);
	return result;
}

const struct cli_verb cmd_exec = {
	.name = "exec",
	.summary = "run one program from stdin, unverified (conformance tests)",
	.help = "usage: inlay exec [--interp | --jit] [--xdp | --raw] [MEMORY]\n"
		"\n"
		"Reads a BPF program from stdin as hex bytes, runs it once without verifying it and prints r0 in\n"
		"hex. Speaks the plug-in protocol of the bpf_conformance suite. Not for programs you do not trust.\n"
		"\n"
		"  MEMORY    bytes in hex that the program may read and write\n"
		"  --jit     compile it (the default)\n"
		"  --interp  run it in the interpreter\n"
		"  --raw     r1 = address of the memory, r2 = its size (the default)\n"
		"  --xdp     r1 = address of a struct xdp_md whose data and data_end enclose the memory\n"
		"\n"
		"Exit status: 0, or 1 when the program could not be run, accessed memory that it does not have or\n"
		"did not end within 10 s, 2 for wrong usage.\n"
		"\n"
		"examples:\n"
		"  echo b7000000 2a000000 95000000 00000000 | inlay exec            prints 2a\n"
		"  echo 71100000 00000000 95000000 00000000 | inlay exec --interp 7f  prints 7f, the memory's byte\n",
	.run = run_exec,
};
