/* Normal numbers by the million: what a model's weights begin with.
 *
 * Number e of a stream is a function of (key, stream, e) alone. Block e / 4 of the stream is one
 * Philox4x32-10 with the counter (e / 4, stream): four words v, two pairs of Box and Muller:
 *
 *   r = sqrt(-2 ln((v[0] + 1/2) / 2^32)),  a = 2 pi v[1] / 2^32
 *   e mod 4 = 0: r cos a   1: r sin a   2, 3: the same from v[2], v[3]
 *
 * The logarithm and the sine are sums of products of our own, in double, without fused operations:
 * the same bits on every machine and for any vector length (a library's differ in their last). */
#ifndef LORY_BASE_NORMAL_H
#define LORY_BASE_NORMAL_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = (float)(scale * number at + i). Any thread. */
void normals(uint64_t key, uint64_t stream, uint64_t at, size_t n, double scale, float *out);
/* The same without the processor's own vectors, for tests: the same bits. */
void normals_any(uint64_t key, uint64_t stream, uint64_t at, size_t n, double scale, float *out);
/* Number e by the formula above and the C library: the slow twin. */
double normal_plain(uint64_t key, uint64_t stream, uint64_t e);

#endif
