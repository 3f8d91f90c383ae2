/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's side of bench/jit and bench/tailcall: loads an object into the kernel (this program has no syscall() of ours),
 * sends its programs' descriptors over descriptor 3, in the object's order, and waits until nobody holds the other end.
 * usage: jit_kernel OBJECT
 */
#include <bpf/libbpf.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_fd(int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(3, &message, 0) == 1 ? 0 : -1;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *program;

	libbpf_set_print(quiet);
	object = argc == 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	if (!object || bpf_object__load(object))
		return 1;
	bpf_object__for_each_program(program, object)
	{
		if (send_fd(bpf_program__fd(program)))
			return 1;
	}
	if (read(3, &(char){0}, 1) < 0)
		return 1;
	return 0;
}
