/* SPDX-License-Identifier: BSD-2-Clause */
/* A library that takes 16 bytes of the thread-local memory that is laid out at program start. */
extern __thread long tls_hog[2];
__thread long tls_hog[2] __attribute__((tls_model("initial-exec")));
long *tls_hog_address(void);
long *tls_hog_address(void)
{
	return tls_hog;
}
