// SPDX-License-Identifier: BSD-2-Clause
/* Calls libc's syscall() with four numbers in turn, until killed. */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	int null = open("/dev/null", O_WRONLY), zero = open("/dev/zero", O_RDONLY);
	char bytes[100] = {0};

	for (;;) {
		if (syscall(SYS_write, null, bytes, 100) != 100 ||
		    syscall(SYS_read, zero, bytes, 7) != 7)
			return 1;
		if (syscall(SYS_getpid) != getpid() || syscall(SYS_gettid) != getpid())
			return 1;
		usleep(100);
	}
}
