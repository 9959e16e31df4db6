/* Deflate by ISA-L (2 to 3 times as fast) or zlib, behind one face: see codec_parts.h. */
#include <stdlib.h>
#include <string.h>
#include "stream/codec_parts.h"
#include "stream/crc_fold.h"

/* Out of one step comes at most so much. ISA-L decodes the first 32 KiB of each into a buffer of
 * its own, copies them, and keeps a copy of the last 32 KiB: few large steps cost less than those
 * that would still lie in the nearest cache when the checksum is taken. */
enum { STEP_BYTES = 1 << 20 };

#ifdef HAVE_ISAL

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <isa-l.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define ISAL_VERSION_TEXT                                                                          \
    TEXT(ISAL_MAJOR_VERSION) "." TEXT(ISAL_MINOR_VERSION) "." TEXT(ISAL_PATCH_VERSION)

struct inflate {
    struct inflate_state s;
};

struct inflate *inflate_new(void) {
    struct inflate *z = calloc(1, sizeof *z); /* no byte of it stays unset: it may be saved */
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
    uint32_t room = *n > STEP_BYTES ? STEP_BYTES : (uint32_t)*n;
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

/* ISA-L keeps everything it knows in its struct, and the last 32 KiB of output too. */
static const char saved_by[] = "isal " ISAL_VERSION_TEXT;

int inflate_save(struct inflate *z, const struct input *in, struct buf *to, struct err *err) {
    struct inflate_state s = z->s;
    (void)in;
    s.next_in = s.next_out = NULL;
    s.avail_in = s.avail_out = 0;
    int rc = put_bytes(to, saved_by, sizeof saved_by, err);
    if (rc == 0) rc = put_bytes(to, &s, sizeof s, err);
    return rc < 0 ? rc : 1;
}

/* Sizes that ISA-L would use without a look. */
static bool is_sound(const struct inflate_state *s) {
    int32_t out = sizeof s->tmp_out_buffer;
    return s->tmp_out_valid >= 0 && s->tmp_out_valid <= out && s->tmp_out_processed >= 0 &&
           s->tmp_out_processed <= s->tmp_out_valid && s->tmp_in_size >= 0 &&
           s->tmp_in_size <= (int32_t)sizeof s->tmp_in_buffer && s->read_in_length >= 0 &&
           s->read_in_length <= 64 && s->write_overflow_len >= 0 && s->copy_overflow_length >= 0 &&
           s->copy_overflow_distance >= 0 && s->copy_overflow_distance <= ISAL_DEF_HIST_SIZE;
}

int inflate_resume(struct inflate *z, struct cursor *from) {
    struct inflate_state s;
    size_t n;
    const uint8_t *by = cursor_bytes(from, &n);
    if (!by || n != sizeof saved_by || memcmp(by, saved_by, n)) return 0;
    const uint8_t *v = cursor_bytes(from, &n);
    if (!v || n != sizeof s) return 0;
    memcpy(&s, v, n);
    if (!is_sound(&s)) return 0;
    z->s = s;
    return 1;
}

static uint32_t crc_of(uint32_t crc, const uint8_t *v, size_t n) {
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
    uint32_t room = *n > STEP_BYTES ? STEP_BYTES : (uint32_t)*n;
    z->s.next_in = in->at;
    z->s.avail_in = (uint32_t)input_left(in);
    z->s.next_out = out;
    z->s.avail_out = room;
    int rc = inflate(&z->s, Z_BLOCK); /* stops between blocks, where inflate_save() can save */
    in->at = (uint8_t *)z->s.next_in;
    *n = room - z->s.avail_out;
    return rc == Z_STREAM_END ? 1 : rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -1;
}

/* Between two blocks what counts is the last 32 KiB and the bits of the byte in the middle of which
 * the next one begins. */
int inflate_save(struct inflate *z, const struct input *in, struct buf *to, struct err *err) {
    uint8_t window[32 << 10];
    uInt n = 0;
    if (!(z->s.data_type & 128) || z->s.data_type & 64) return 0;
    if (inflateGetDictionary(&z->s, window, &n) != Z_OK) return 0;
    int bits = z->s.data_type & 7;
    int rc = buf_char(to, (char)bits, err);
    if (rc == 0) rc = buf_char(to, bits ? (char)in->at[-1] : 0, err);
    if (rc == 0) rc = put_bytes(to, window, n, err);
    return rc < 0 ? rc : 1;
}

int inflate_resume(struct inflate *z, struct cursor *from) {
    size_t n;
    int bits = cursor_u8(from), byte = cursor_u8(from);
    const uint8_t *window = cursor_bytes(from, &n);
    if (from->bad || bits > 7 || n > 32 << 10) return 0;
    inflateReset(&z->s);
    if (bits && inflatePrime(&z->s, bits, byte >> (8 - bits)) != Z_OK) return 0;
    return n == 0 || inflateSetDictionary(&z->s, window, (uInt)n) == Z_OK;
}

static uint32_t crc_of(uint32_t crc, const uint8_t *v, size_t n) {
    return (uint32_t)crc32_z(crc, v, n);
}

#endif

uint32_t inflate_crc(uint32_t crc, const uint8_t *v, size_t n) {
#if defined(__x86_64__)
    if (n >= 256 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq")) {
        uint8_t left[16];
        size_t whole = n / 16 * 16;
        crc_fold(~crc, v, whole, left);
        crc = crc_of(UINT32_MAX, left, sizeof left);
        v += whole;
        n -= whole;
    }
#endif
    return crc_of(crc, v, n);
}
