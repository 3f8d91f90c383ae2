/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Histograms over powers of two, drawn with one row a slot:
 *
 *   [16K, 32K)            97 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
 *
 * Slot i counts values in [2^i, 2^(i+1)), slot 0 also zeros: what log2 of a value gives. The look is bpftrace's.
 */
#ifndef INLAY_CLI_HISTOGRAM_H
#define INLAY_CLI_HISTOGRAM_H

#include <stdio.h>

#include "base/types.h"

#define HISTOGRAM_SLOTS 64

/* Rows from the first slot that is not 0 to the last one; "(empty)" when all are. count is at most HISTOGRAM_SLOTS. */
void histogram_print(FILE *out, const u64 *slots, u32 count);

#endif
