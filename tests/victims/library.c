/* SPDX-License-Identifier: BSD-2-Clause */
/* A library that is opened and closed; see unloads.c. */
long library_work(long a, long b);
__attribute__((noinline, noipa, visibility("default"))) long library_work(long a, long b)
{
	return a * 5 + b;
}
