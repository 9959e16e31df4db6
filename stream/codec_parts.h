/* What the codecs of codec.c, codec_gzip.c and codec_zstd.c share.
 *
 *   feed ─▶ input  [ margin | read …… at ▶ unread …… end ]  ─▶ decoder ─▶ the caller's buffer
 *
 * The margin keeps the last bytes that were read, so that a decoder that took a few too many may
 * step `at` back. Nothing is copied between the decoder and the caller. */
#ifndef LORY_STREAM_CODEC_PARTS_H
#define LORY_STREAM_CODEC_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include "stream/codec.h"
#include "stream/cursor_parts.h"

enum { INPUT_BYTES = 64 << 10, INPUT_MARGIN = 64 };

struct input {
    struct feed feed;
    uint8_t *v; /* INPUT_MARGIN + INPUT_BYTES */
    uint8_t *at, *end;
    uint64_t fed; /* stored bytes up to `end`   */
    bool ended;   /* the feed has no more       */
};

struct codec {
    char *name;
    struct input in;
    const struct decoder *decoder;
    void *state;       /* the decoder's */
    uint64_t members;  /* gzip members or zstd frames that came to their end */
    uint64_t plain;    /* bytes given */
    bool keeps_places; /* codec_save() will be called */
    int rc;            /* the failure, kept for every later call */
    struct err failed;
};

struct decoder {
    int (*open)(struct codec *c, struct err *err);
    long (*read)(struct codec *c, void *bytes, size_t n, struct err *err);
    void (*close)(struct codec *c);
    /* Appends the decoder's own part of a place: 1, 0 if there is none here, or a negative code. */
    int (*save)(struct codec *c, struct buf *to, struct err *err);
    /* 1; 0 if it is not one of ours (and the decoder is as it was when opened); or a negative
     * code. */
    int (*resume)(struct codec *c, struct cursor *from, struct err *err);
    char kind; /* marks its places */
};
/* A codec with a decoder and its state; the decoder's open() is not called. On failure both stay
 * the caller's. */
int codec_open_as(struct codec **ret, const char *name, struct feed feed,
                  const struct decoder *decoder, void *state, struct err *err);
extern const struct decoder codec_plain, codec_gzip, codec_zstd;

/* Reads until `want` bytes (at most INPUT_MARGIN) are unread or the feed ended. */
int input_fill(struct input *in, size_t want, struct err *err);
static inline size_t input_left(const struct input *in) {
    return (size_t)(in->end - in->at);
}
/* Offset of the next unread byte in the stored file. */
static inline uint64_t input_tell(const struct input *in) {
    return in->fed - input_left(in);
}

/* ERR_DATA "NAME: what", at the present offset. */
int codec_bad(struct codec *c, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* After the last member: 0 if only zero bytes follow to the end of the file. */
int codec_padding(struct codec *c, const char *what, struct err *err);

/* A raw deflate stream, by ISA-L or zlib (inflate.c). */
struct inflate;
struct inflate *inflate_new(void); /* NULL: no memory */
void inflate_free(struct inflate *z);
/* Ready for the next stream. */
void inflate_again(struct inflate *z);
/* Decodes from `in` to out[0..*n); *n becomes the bytes written. 1: the stream ended and in->at is
 * right behind it; 0: more to come; -1: not deflate data. No progress with input left does not
 * happen. */
int inflate_step(struct inflate *z, struct input *in, uint8_t *out, size_t *n);
/* The whole state, appended to `to`: 1; 0 if the library cannot tell it at this byte; or a negative
 * code. `in` is where inflate_step() read last. */
int inflate_save(struct inflate *z, const struct input *in, struct buf *to, struct err *err);
/* 1, or 0 if the state is not of this library and version. */
int inflate_resume(struct inflate *z, struct cursor *from);
/* CRC-32 as gzip has it, of what `crc` is the sum of and v behind it; of nothing it is 0. */
uint32_t inflate_crc(uint32_t crc, const uint8_t *v, size_t n);

#endif
