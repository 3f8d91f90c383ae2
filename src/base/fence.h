/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fence between accesses of one thread, of the given __ATOMIC order; as __atomic_thread_fence.
 *
 * ThreadSanitizer draws no conclusion from fences, and gcc therefore refuses the one-sided ones under it. It takes the full
 * fence, which orders no less. What fences order here (sequence counters) is read by races that its builds must hide anyway.
 */
#ifndef INLAY_BASE_FENCE_H
#define INLAY_BASE_FENCE_H

#ifdef __SANITIZE_THREAD__
#define fence(order) __sync_synchronize()
#else
#define fence(order) __atomic_thread_fence(order)
#endif

#endif
