/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every function of this process's own libc that can be entered, probed at once: real prologues displaced, and the
 * functions that the test itself lives on. Work done meanwhile must have the result it has without probes.
 */
#include <fcntl.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "binary/binary.h"
#include "victims.h"

#define MOST 8192

struct library {
	const char *name;
	u64 bias, text;
	size_t text_size;
	char path[512];
};

static int find_library(struct dl_phdr_info *info, size_t size, void *opaque)
{
	struct library *library = opaque;

	(void)size;
	if (!strstr(info->dlpi_name, library->name))
		return 0;
	library->bias = info->dlpi_addr;
	snprintf(library->path, sizeof(library->path), "%s", info->dlpi_name);
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		library->text = info->dlpi_addr + header->p_vaddr;
		library->text_size = header->p_memsz;
	}
	return 1;
}

static u64 hits;

static u64 count(struct abi_pt_regs_x86_64 *regs)
{
	(void)regs;
	hits++;
	return 0;
}

/* A return that happens twice, or in another process on the same stack, cannot be hooked. */
static bool returns_once(const char *name)
{
	static const char *const twice[] = {"setjmp", "vfork", "context", "clone", "jmp"};

	/* Nobody says what these are: internal copies of the above are among them. */
	if (!name)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(twice); i++) {
		if (strstr(name, twice[i]))
			return false;
	}
	return true;
}

static struct hook_attach entries[2 * MOST];

static u32 plan_all(struct binary *binary, u64 bias, bool returns)
{
	const struct binary_function *functions;
	size_t function_count;
	u64 last = 0;
	u32 planned = 0;

	functions = binary_functions(binary, &function_count);
	for (size_t i = 0; i < function_count && planned + 2 <= ARRAY_SIZE(entries); i++) {
		const struct binary_function *function = &functions[i];
		struct site_spec site = {0};
		const char *reason;

		if (function->is_ifunc || !function->is_entry || function->address == last ||
		    binary_plan(binary, function, &site, &reason))
			continue;
		last = function->address;
		binary_rebase(&site, bias);
		entries[planned++] = attachment(site, HOOK_ENTRY, count, 0);
		if (returns && returns_once(function->name))
			entries[planned++] = attachment(site, HOOK_RETURN, count, 1);
	}
	return planned;
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void *in_thread(void *opaque)
{
	return strdup(opaque);
}

static jmp_buf back;

static void jump(void)
{
	longjmp(back, 3);
}

static void fill(char *to, size_t size)
{
	int numbers[200], jumped;
	time_t when = 1234567890;
	struct tm parts;
	pthread_t thread;
	void *copy = NULL;
	regex_t regex;
	char *text = malloc(size);
	FILE *stream;

	for (int i = 0; i < 200; i++)
		numbers[i] = (i * 7919) % 1009;
	qsort(numbers, 200, sizeof(*numbers), by_value);
	gmtime_r(&when, &parts);
	strftime(text, size, "%F %T %A", &parts);
	regcomp(&regex, "^([0-9]+)-([0-9]+).*day$", REG_EXTENDED);
	pthread_create(&thread, NULL, in_thread, (void *)(uintptr_t) "from a thread");
	pthread_join(thread, &copy);
	jumped = setjmp(back);
	if (!jumped)
		jump();
	stream = fmemopen(to, size, "w");
	fprintf(stream, "%d %d %s %d %s %.17g %ld %s %d ", numbers[0], numbers[199], text,
		regexec(&regex, text, 0, NULL, 0), (char *)copy, strtod("3.25e10", NULL),
		strtol("-77", NULL, 10), strerror(ENOENT), jumped);
	fprintf(stream, "%Lf %s", strtold("2.5", NULL), setlocale(LC_ALL, "C"));
	fclose(stream);
	regfree(&regex);
	free(copy);
	free(text);
}

/* In a forked child as well: its output through a pipe. */
static void fill_in_child(char *to, size_t size)
{
	int ends[2], pid, status;
	ssize_t got;

	if (pipe(ends))
		return;
	pid = fork();
	if (pid == 0) {
		fill(to, size);
		_exit(write(ends[1], to, size) != (ssize_t)size);
	}
	got = read(ends[0], to, size);
	waitpid(pid, &status, 0);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(got, size);
	CHECK_EQ(status, 0);
}

static void probe_everything(bool returns)
{
	struct library library = {.name = "libc.so.6"};
	char without[512] = "", with[512] = "", in_child[512] = "";
	struct hook_link *link = NULL;
	struct binary *binary;
	u32 planned, failed = 0;
	u8 *before;
	int fd, err;

	if (UNDER_TSAN)
		SKIP("instrumented programs run in threads that the sanitizer does not know yet");
	dl_iterate_phdr(find_library, &library);
	fd = open(library.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || binary_open(fd, library.path, &binary))
		SKIP("no libc.so.6 to read");
	close(fd);
	planned = plan_all(binary, library.bias, returns);
	before = malloc(library.text_size);
	memcpy(before, ptr_from_u64(library.text), library.text_size);
	fill(without, sizeof(without));
	hits = 0;
	err = hook_attach_batch(entries, planned, &nobody_runs, &link, &failed);
	if (err) {
		printf("# %d at %#llx\n", err,
		       (unsigned long long)(entries[failed].site.function - library.bias));
		CHECK_EQ(err, 0);
		return;
	}
	fill(with, sizeof(with));
	fill_in_child(in_child, sizeof(in_child));
	/* Some branches cross a word at their head: to restore those, threads are stopped too. */
	CHECK_EQ(hook_detach(link, &nobody_runs), 0);
	printf("# %u attachments, %llu hits\n# %s\n", planned, (unsigned long long)hits, with);
	CHECK(planned > 1000 && hits > 1000);
	CHECK(!strcmp(without, with));
	CHECK(!strcmp(without, in_child));
	CHECK(mem_equal(before, ptr_from_u64(library.text), library.text_size));
	free(before);
	binary_close(binary);
}

static void all_of_libc_at_entry(void)
{
	probe_everything(false);
}

static void all_of_libc_at_entry_and_return(void)
{
	probe_everything(true);
}

int main(void)
{
	RUN(all_of_libc_at_entry);
	RUN(all_of_libc_at_entry_and_return);
	return test_done();
}
