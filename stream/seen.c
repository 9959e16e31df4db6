/* See seen.h. Open addressing, linear probing; an all-zero digest (of no text met in practice) is
 * stored as 1. */
#include "stream/seen.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/buf.h"

enum { FIRST_CAP = 1024 };

/* Bytes of the white-space character at p, which is not ASCII: U+0085 00A0 1680 2000-200A 2028 2029
 * 202F 205F 3000. 0: another character. `left` >= 1. */
static size_t wide_space(const unsigned char *p, size_t left) {
    if (p[0] == 0xc2 && left >= 2) return p[1] == 0x85 || p[1] == 0xa0 ? 2 : 0;
    if (left < 3) return 0;
    if (p[0] == 0xe1) return p[1] == 0x9a && p[2] == 0x80 ? 3 : 0;
    if (p[0] == 0xe3) return p[1] == 0x80 && p[2] == 0x80 ? 3 : 0;
    if (p[0] != 0xe2) return 0;
    if (p[1] == 0x80) return (p[2] <= 0x8a || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf) ? 3 : 0;
    return p[1] == 0x81 && p[2] == 0x9f ? 3 : 0;
}

size_t spaceless(const char *text, size_t n, char *room) {
    const unsigned char *v = (const unsigned char *)text;
    size_t to = 0;
    for (size_t i = 0; i < n;) {
        unsigned char c = v[i];
        if (c > ' ' && c < 0x80) {
            room[to++] = (char)c;
            i++;
        } else if (c < 0x80) {
            bool space = c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
            if (!space) room[to++] = (char)c;
            i++;
        } else {
            size_t wide = wide_space(v + i, n - i);
            if (!wide) room[to++] = (char)c;
            i += wide ? wide : 1;
        }
    }
    return to;
}

static struct digest128 digest_of(XXH128_hash_t h) {
    struct digest128 d = {h.low64, h.high64};
    if (!(d.lo | d.hi)) d.lo = 1;
    return d;
}

struct digest128 spaceless_digest(const char *text, size_t n, char *room) {
    return digest_of(XXH3_128bits(room, spaceless(text, n, room)));
}

struct spaceless_stream {
    XXH3_state_t *hash;
    struct buf room;
};

static void stream_free(struct spaceless_stream *s) {
    XXH3_freeState(s->hash);
    buf_release(&s->room);
    free(s);
}

struct spaceless_stream *spaceless_begin(void) {
    struct spaceless_stream *s = calloc(1, sizeof *s);
    if (s && (s->hash = XXH3_createState()) != NULL) {
        XXH3_128bits_reset(s->hash);
        return s;
    }
    free(s);
    return NULL;
}

int spaceless_add(struct spaceless_stream *s, const char *v, size_t n, struct err *err) {
    s->room.n = 0;
    int rc = buf_reserve(&s->room, n, err);
    if (rc < 0) return rc;
    XXH3_128bits_update(s->hash, s->room.v, spaceless(v, n, s->room.v));
    return 0;
}

struct digest128 spaceless_end(struct spaceless_stream *s) {
    struct digest128 d = digest_of(XXH3_128bits_digest(s->hash));
    stream_free(s);
    return d;
}

static struct digest128 *place(struct digest128 *v, size_t cap, struct digest128 d) {
    size_t i = (size_t)d.lo & (cap - 1);
    while ((v[i].lo | v[i].hi) && (v[i].lo != d.lo || v[i].hi != d.hi)) i = (i + 1) & (cap - 1);
    return &v[i];
}

static int grow(struct seen *s, struct err *err) {
    size_t cap = s->cap ? 2 * s->cap : FIRST_CAP;
    struct digest128 *v = mem_array(cap, sizeof *v);
    if (!v) return err_nomem(err, cap * sizeof *v);
    for (size_t i = 0; i < s->cap; i++)
        if (s->v[i].lo | s->v[i].hi) *place(v, cap, s->v[i]) = s->v[i];
    free(s->v);
    s->v = v;
    s->cap = cap;
    return 0;
}

int seen_add(struct seen *s, struct digest128 d, struct err *err) {
    if (4 * s->n >= 3 * s->cap) {
        int rc = grow(s, err);
        if (rc < 0) return rc;
    }
    struct digest128 *at = place(s->v, s->cap, d);
    if (at->lo | at->hi) return 0;
    *at = d;
    s->n++;
    return 1;
}

void seen_release(struct seen *s) {
    free(s->v);
    *s = (struct seen){0};
}
