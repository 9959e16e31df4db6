/* The multiply-add rate of the processor at this moment, to hold a measured rate against: on a
 * shared or throttled machine only the ratio of two rates taken right after each other means
 * anything. */
#ifndef LORY_TESTS_OP_PEAK_H
#define LORY_TESTS_OP_PEAK_H

#include <stdbool.h>

/* FLOP per processor second of one core: fp32 FMAs, or bf16 pairs where there are such
 * instructions (0 where there are not). Takes about `seconds` on each of `threads` threads; their
 * mean. */
double peak_flops(int threads, bool bf16, double seconds);

/* Bytes per second of wall time that `threads` threads together read from 1 GiB; the most of five
 * times. 0: no memory. */
double read_bandwidth(int threads);

#endif
