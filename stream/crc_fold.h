/* The fast part of CRC-32 as gzip has it; see crc_fold.c and inflate_crc(). */
#ifndef LORY_STREAM_CRC_FOLD_H
#define LORY_STREAM_CRC_FOLD_H

#include <stddef.h>
#include <stdint.h>

/* Folds p[0..n), n a multiple of 16 and at least 128, into the 16 bytes that have, from an empty
 * state on, the CRC that p has from `state` on (the complement of what gzip stores). Only where the
 * processor has VPCLMULQDQ and AVX2. */
void crc_fold(uint32_t state, const uint8_t *p, size_t n, uint8_t ret[16]);

#endif
