/* Deflate by ISA-L (2 to 3 times as fast) or zlib, behind one face: see codec_parts.h. */
#include <limits.h>
#include <stdlib.h>
#include "stream/codec_parts.h"

#ifdef HAVE_ISAL

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

struct inflate {
    struct inflate_state s;
};

struct inflate *inflate_new(void) {
    struct inflate *z = malloc(sizeof *z);
    if (z) isal_inflate_init(&z->s);
    return z;
}

void inflate_free(struct inflate *z) {
    free(z);
}

void inflate_again(struct inflate *z) {
    isal_inflate_reset(&z->s);
    z->s.crc_flag = ISAL_DEFLATE;
}

int inflate_step(struct inflate *z, struct input *in, uint8_t *out, size_t *n) {
    uint32_t room = *n > UINT_MAX / 2 ? UINT_MAX / 2 : (uint32_t)*n;
    z->s.next_in = in->at;
    z->s.avail_in = (uint32_t)input_left(in);
    z->s.next_out = out;
    z->s.avail_out = room;
    int rc = isal_inflate(&z->s);
    in->at = z->s.next_in;
    *n = room - z->s.avail_out;
    if (rc < 0) return -1;
    if (z->s.block_state != ISAL_BLOCK_FINISH) return 0;
    in->at -= z->s.read_in_length / 8; /* whole bytes it took beyond the end: at most 8 */
    return 1;
}

uint32_t inflate_crc(uint32_t crc, const uint8_t *v, size_t n) {
    return crc32_gzip_refl(crc, v, n);
}

#else

#include <zlib.h>

struct inflate {
    z_stream s;
};

struct inflate *inflate_new(void) {
    struct inflate *z = calloc(1, sizeof *z);
    if (z && inflateInit2(&z->s, -MAX_WBITS) != Z_OK) {
        free(z);
        z = NULL;
    }
    return z;
}

void inflate_free(struct inflate *z) {
    if (z) inflateEnd(&z->s);
    free(z);
}

void inflate_again(struct inflate *z) {
    inflateReset(&z->s);
}

int inflate_step(struct inflate *z, struct input *in, uint8_t *out, size_t *n) {
    uint32_t room = *n > UINT_MAX / 2 ? UINT_MAX / 2 : (uint32_t)*n;
    z->s.next_in = in->at;
    z->s.avail_in = (uint32_t)input_left(in);
    z->s.next_out = out;
    z->s.avail_out = room;
    int rc = inflate(&z->s, Z_NO_FLUSH);
    in->at = (uint8_t *)z->s.next_in;
    *n = room - z->s.avail_out;
    return rc == Z_STREAM_END ? 1 : rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -1;
}

uint32_t inflate_crc(uint32_t crc, const uint8_t *v, size_t n) {
    return (uint32_t)crc32_z(crc, v, n);
}

#endif
