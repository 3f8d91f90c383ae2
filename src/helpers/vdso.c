/* SPDX-License-Identifier: BSD-2-Clause */
#include "helpers/vdso.h"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include "base/sys.h"

typedef int (*clock_gettime_fn)(int clock, struct timespec *time);
typedef long (*getcpu_fn)(unsigned int *cpu, unsigned int *node, void *unused);

/* Written once, before the first hit; a thread that reads NULL takes the system call. */
static clock_gettime_fn clock_gettime_call;
static getcpu_fn getcpu_call;
static u32 initialised;

/* What the dynamic section of the vdso says; addresses in this process. */
struct vdso_image {
	u64 bias;
	const ElfW(Sym) * symbols;
	const char *strings;
	u32 symbol_count;
};

static bool same_text(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Symbols of a DT_GNU_HASH table: one more than the highest index that its chains reach. */
static u32 count_gnu_hash(const u32 *table)
{
	u32 bucket_count = table[0];
	u32 first = table[1];
	const u32 *buckets = table + 4 + table[2] * (sizeof(ElfW(Addr)) / 4);
	const u32 *chains = buckets + bucket_count;
	u32 last = 0;

	for (u32 i = 0; i < bucket_count; i++)
		last = MAX(last, buckets[i]);
	if (last < first)
		return first;
	while (!(chains[last - first] & 1))
		last++;
	return last + 1;
}

static const ElfW(Dyn) * find_dynamic(const ElfW(Ehdr) * header, u64 *ret_bias)
{
	const ElfW(Phdr) *segments = (const void *)((const char *)header + header->e_phoff);
	const ElfW(Dyn) *dynamic = NULL;
	bool loaded = false;

	for (u32 i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type == PT_LOAD && !loaded) {
			*ret_bias = ptr_to_u64(header) + segments[i].p_offset - segments[i].p_vaddr;
			loaded = true;
		} else if (segments[i].p_type == PT_DYNAMIC) {
			dynamic = (const void *)((const char *)header + segments[i].p_offset);
		}
	}
	return loaded ? dynamic : NULL;
}

static bool read_image(const ElfW(Ehdr) * header, struct vdso_image *image)
{
	const ElfW(Dyn) *entry = find_dynamic(header, &image->bias);

	for (; entry && entry->d_tag != DT_NULL; entry++) {
		const void *address = ptr_from_u64(image->bias + entry->d_un.d_ptr);

		if (entry->d_tag == DT_SYMTAB)
			image->symbols = address;
		else if (entry->d_tag == DT_STRTAB)
			image->strings = address;
		else if (entry->d_tag == DT_HASH)
			image->symbol_count = ((const u32 *)address)[1];
		else if (entry->d_tag == DT_GNU_HASH && !image->symbol_count)
			image->symbol_count = count_gnu_hash(address);
	}
	return image->symbols && image->strings && image->symbol_count;
}

/* The name differs between CPUs: __vdso_ on x86, __kernel_ on arm64. */
static void *find_function(const struct vdso_image *image, const char *x86, const char *arm)
{
	for (u32 i = 0; i < image->symbol_count; i++) {
		const ElfW(Sym) *symbol = &image->symbols[i];
		const char *name = image->strings + symbol->st_name;

		if (symbol->st_shndx == SHN_UNDEF || (symbol->st_info & 0xf) != STT_FUNC)
			continue;
		if (same_text(name, x86) || same_text(name, arm))
			return ptr_from_u64(image->bias + symbol->st_value);
	}
	return NULL;
}

void vdso_init(void)
{
	const ElfW(Ehdr) * header;
	struct vdso_image image = {0};

	if (__atomic_load_n(&initialised, __ATOMIC_RELAXED))
		return;
	header = ptr_from_u64(getauxval(AT_SYSINFO_EHDR));
	if (header && read_image(header, &image)) {
		void *clock =
			find_function(&image, "__vdso_clock_gettime", "__kernel_clock_gettime");
		void *cpu = find_function(&image, "__vdso_getcpu", "__kernel_getcpu");

		__atomic_store_n(&clock_gettime_call, (clock_gettime_fn)clock, __ATOMIC_RELAXED);
		__atomic_store_n(&getcpu_call, (getcpu_fn)cpu, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&initialised, 1, __ATOMIC_RELAXED);
}

u64 vdso_clock_ns(int clock)
{
	clock_gettime_fn call = __atomic_load_n(&clock_gettime_call, __ATOMIC_RELAXED);
	struct timespec time;
	int err = call ? call(clock, &time) : sys_clock_gettime(clock, &time);

	return err ? 0 : (u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec;
}

void vdso_cpu(u32 *ret_cpu, u32 *ret_node)
{
	getcpu_fn call = __atomic_load_n(&getcpu_call, __ATOMIC_RELAXED);
	u32 cpu = 0;
	u32 node = 0;

	if (call)
		call(&cpu, &node, NULL);
	else
		sys_getcpu(&cpu, &node);
	if (ret_cpu)
		*ret_cpu = cpu;
	if (ret_node)
		*ret_node = node;
}
