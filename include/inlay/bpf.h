/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf(2) without the kernel, for programs that link libinlay.
 *
 * inlay_bpf takes the commands, attributes and sizes of bpf(2) (see bpf(2) and linux/bpf.h) and gives the same results and
 * error numbers. Descriptors it returns are ordinary ones: close(2), dup(2) and passing over a socket work on them;
 * libbpf works on it unmodified when the program routes its bpf(2) calls here.
 *
 * Returns a descriptor or 0, or -1 with errno set. Any thread; not from a signal handler. Objects live until their last
 * descriptor, in any process, is closed.
 */
#ifndef INLAY_BPF_H
#define INLAY_BPF_H

#include <linux/bpf.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INLAY_API __attribute__((visibility("default")))

INLAY_API long inlay_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/*
 * One sentence about why the last LINK_CREATE of this process failed ("process 12 is traced by ..."), or "". Valid until
 * the next LINK_CREATE.
 */
INLAY_API const char *inlay_link_problem(void);

#ifdef __cplusplus
}
#endif

#endif
