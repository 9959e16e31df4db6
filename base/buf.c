/* Growing arrays: see buf.h. One growth rule serves all element types. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_array(size_t n, size_t size) {
    size_t bytes; /* calloc checks, too, but ends the program under a sanitizer */
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *mem_resize(void *p, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *mem_grown(void *v, size_t n, size_t *cap, size_t more, size_t size, struct err *err) {
    size_t need;
    if (__builtin_add_overflow(n, more, &need)) return err_nomem(err, UINT64_MAX), NULL;
    if (need <= *cap) return v;
    size_t half = *cap + *cap / 2, to = half > need ? half : need;
    if (to < 16) to = 16;
    void *p = mem_resize(v, to, size);
    if (!p) return err_nomem(err, (uint64_t)to * size), NULL;
    *cap = to;
    return p;
}

BUF_DEFINE(u8s, uint8_t)
BUF_DEFINE(u16s, uint16_t)
BUF_DEFINE(u32s, uint32_t)
BUF_DEFINE(u64s, uint64_t)

int buf_reserve(struct buf *b, size_t more, struct err *err) {
    if (more <= b->cap - b->n) return 0;
    char *v = mem_grown(b->v, b->n, &b->cap, more, 1, err);
    if (!v) return ERR_NOMEM;
    b->v = v;
    return 0;
}

int buf_append(struct buf *b, const void *bytes, size_t n, struct err *err) {
    int rc = buf_reserve(b, n, err);
    if (rc < 0) return rc;
    if (n) memcpy(b->v + b->n, bytes, n);
    b->n += n;
    return 0;
}

int buf_str(struct buf *b, const char *s, struct err *err) {
    return buf_append(b, s, strlen(s), err);
}

int buf_char(struct buf *b, char c, struct err *err) {
    return buf_append(b, &c, 1, err);
}

int buf_printf(struct buf *b, struct err *err, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? err_set(err, ERR_OTHER, "bad format") : buf_reserve(b, (size_t)n + 1, err);
    if (rc == 0) {
        vsnprintf(b->v + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return rc;
}

const char *buf_cstr(struct buf *b) {
    if (buf_reserve(b, 1, NULL) < 0) return NULL;
    b->v[b->n] = 0;
    return b->v;
}

void buf_release(struct buf *b) {
    free(b->v);
    memset(b, 0, sizeof *b);
}

int strs_push(struct strs *s, const char *str, struct err *err) {
    char **v = mem_grown(s->v, s->n, &s->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    s->v = v;
    char *copy = strdup(str);
    if (!copy) return err_nomem(err, strlen(str) + 1);
    s->v[s->n++] = copy;
    return 0;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strs_sort(char **v, size_t n) {
    if (n) qsort(v, n, sizeof *v, by_bytes);
}

void strs_release(struct strs *s) {
    for (size_t i = 0; i < s->n; i++) free(s->v[i]);
    free(s->v);
    memset(s, 0, sizeof *s);
}
