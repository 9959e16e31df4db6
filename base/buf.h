/* Growing arrays: bytes, and the few number types the project needs.
 *
 *     struct buf b = {0};                       zero is the empty buffer
 *     if (buf_append(&b, p, n, err) < 0) ...
 *     buf_release(&b);                          back to empty; safe on an empty one
 *
 *   v ──▶ [ used: n elements | spare ]   cap elements in all; grows by half, never shrinks
 *
 * The caller owns the struct and may read v[0..n) until the next call that grows it. Not
 * thread-safe. The only failure is ERR_NOMEM; the contents stay as they were. */
#ifndef LORY_BASE_BUF_H
#define LORY_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

struct buf {
    char *v;
    size_t n, cap;
};

/* Makes room for `more` elements after the n there are. */
int buf_reserve(struct buf *b, size_t more, struct err *err);
int buf_append(struct buf *b, const void *bytes, size_t n, struct err *err);
int buf_str(struct buf *b, const char *s, struct err *err);
int buf_char(struct buf *b, char c, struct err *err);
int buf_printf(struct buf *b, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The contents as a C string: a NUL stands behind them and does not count in n. NULL: no memory. */
const char *buf_cstr(struct buf *b);
void buf_release(struct buf *b);

/* u32s, u64s, f32s …: struct NAMEs { TYPE *v; size_t n, cap; } with
 * NAMEs_reserve/push/append/release; BUF_DEFINE(), in one .c file, defines them. */
#define BUF_DECLARE(NAME, TYPE)                                                                    \
    struct NAME {                                                                                  \
        TYPE *v;                                                                                   \
        size_t n, cap;                                                                             \
    };                                                                                             \
    int NAME##_reserve(struct NAME *a, size_t more, struct err *err);                              \
    int NAME##_append(struct NAME *a, const TYPE *v, size_t n, struct err *err);                   \
    void NAME##_release(struct NAME *a);                                                           \
    static inline int NAME##_push(struct NAME *a, TYPE x, struct err *err) {                       \
        if (a->n == a->cap) {                                                                      \
            int rc = NAME##_reserve(a, 1, err);                                                    \
            if (rc < 0) return rc;                                                                 \
        }                                                                                          \
        a->v[a->n++] = x;                                                                          \
        return 0;                                                                                  \
    }

#define BUF_DEFINE(NAME, TYPE)                                                                     \
    int NAME##_reserve(struct NAME *a, size_t more, struct err *err) {                             \
        if (more <= a->cap - a->n) return 0;                                                       \
        TYPE *v = mem_grown(a->v, a->n, &a->cap, more, sizeof *v, err);                            \
        if (!v) return ERR_NOMEM;                                                                  \
        a->v = v;                                                                                  \
        return 0;                                                                                  \
    }                                                                                              \
    int NAME##_append(struct NAME *a, const TYPE *v, size_t n, struct err *err) {                  \
        int rc = NAME##_reserve(a, n, err);                                                        \
        if (rc < 0) return rc;                                                                     \
        if (n) memcpy(a->v + a->n, v, n * sizeof *v);                                              \
        a->n += n;                                                                                 \
        return 0;                                                                                  \
    }                                                                                              \
    void NAME##_release(struct NAME *a) {                                                          \
        free(a->v);                                                                                \
        memset(a, 0, sizeof *a);                                                                   \
    }

BUF_DECLARE(u8s, uint8_t)
BUF_DECLARE(u16s, uint16_t)
BUF_DECLARE(u32s, uint32_t)
BUF_DECLARE(u64s, uint64_t)

/* A list of strings, each owned by the list. */
struct strs {
    char **v;
    size_t n, cap;
};
int strs_push(struct strs *s, const char *str, struct err *err); /* copies str */
void strs_sort(char **v, size_t n);                              /* texts, by their bytes */
void strs_release(struct strs *s);

/* malloc(n * size) with the product checked; NULL on overflow or when memory is out. Zeroed. */
void *mem_array(size_t n, size_t size);
/* realloc to n * size bytes with the product checked; `p` is untouched on failure. Not zeroed. */
void *mem_resize(void *p, size_t n, size_t size);
/* The array v with room for `more` elements of `size` bytes behind n of them; it may have moved.
 * *cap is how many fit, before and afterwards. NULL: no memory (ERR_NOMEM); v stays as it was. */
void *mem_grown(void *v, size_t n, size_t *cap, size_t more, size_t size, struct err *err);

#endif
