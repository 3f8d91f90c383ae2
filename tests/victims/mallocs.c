/* SPDX-License-Identifier: BSD-2-Clause */
/* Two threads that are nearly always inside malloc or free, until killed. Each block is checked before it is freed. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *work(void *arg)
{
	void *blocks[64] = {0};

	for (unsigned long i = (unsigned long)arg;;
	     i = i * 6364136223846793005ul + 1442695040888963407ul) {
		unsigned int slot = i >> 33 & 63, size = 16 + (i >> 40 & 0x3fff);
		unsigned char *block = blocks[slot];

		if (block && block[0] != slot)
			abort();
		free(block);
		blocks[slot] = malloc(size);
		memset(blocks[slot], (int)slot, 16);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, work, (void *)1);
	work((void *)2);
}
