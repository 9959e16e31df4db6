/* Numbers and byte strings in and out of a buffer, little-endian, with every length checked against
 * what is left: places in streams (codec.c, docs_state.c), Parquet's pages.
 *
 *   cursor:  [ taken …… at ▶ left ]      one failed take, and `bad` stays: look once, at the end */
#ifndef LORY_STREAM_CURSOR_PARTS_H
#define LORY_STREAM_CURSOR_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/buf.h"

struct cursor {
    const uint8_t *at;
    size_t left;
    bool bad;
};

/* The next n bytes, borrowed; NULL (and bad) if there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, uint64_t n) {
    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *v = c->at;
    c->at += n;
    c->left -= (size_t)n;
    return v;
}

static inline uint64_t load_le(const uint8_t *v, size_t bytes) {
    uint64_t x = 0;
    for (size_t i = 0; i < bytes; i++) x |= (uint64_t)v[i] << 8 * i;
    return x;
}

/* 0 when bad. */
static inline uint8_t cursor_u8(struct cursor *c) {
    const uint8_t *v = cursor_take(c, 1);
    return v ? *v : 0;
}
static inline uint32_t cursor_u32(struct cursor *c) {
    const uint8_t *v = cursor_take(c, 4);
    return v ? (uint32_t)load_le(v, 4) : 0;
}
static inline uint64_t cursor_u64(struct cursor *c) {
    const uint8_t *v = cursor_take(c, 8);
    return v ? load_le(v, 8) : 0;
}

static inline int put_le(struct buf *to, uint64_t x, size_t bytes, struct err *err) {
    uint8_t v[8];
    for (size_t i = 0; i < bytes; i++) v[i] = (uint8_t)(x >> 8 * i);
    return buf_append(to, v, bytes, err);
}
static inline int put_u32(struct buf *to, uint32_t x, struct err *err) {
    return put_le(to, x, 4, err);
}
static inline int put_u64(struct buf *to, uint64_t x, struct err *err) {
    return put_le(to, x, 8, err);
}
/* A length, and the bytes. */
static inline int put_bytes(struct buf *to, const void *v, size_t n, struct err *err) {
    int rc = put_u64(to, n, err);
    return rc < 0 ? rc : buf_append(to, v, n, err);
}
/* What put_bytes() put, borrowed. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t *ret_n) {
    uint64_t n = cursor_u64(c);
    const uint8_t *v = cursor_take(c, n);
    *ret_n = v ? (size_t)n : 0;
    return v;
}

#endif
