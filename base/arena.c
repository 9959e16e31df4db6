/* Memory that dies together: see arena.h. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST_CHUNK = 64 << 10, LARGEST_CHUNK = 64 << 20 };

struct arena_chunk {
    struct arena_chunk *next; /* the one before in time            */
    size_t used, cap;         /* bytes of `data`                   */
    _Alignas(ALIGN) char data[];
};

static struct arena_chunk *new_chunk(struct arena *a, size_t bytes) {
    size_t cap = a->chunk ? 2 * a->chunk->cap : FIRST_CHUNK;
    if (cap > LARGEST_CHUNK) cap = LARGEST_CHUNK;
    if (cap < bytes) cap = bytes;
    if (cap > SIZE_MAX - sizeof(struct arena_chunk)) return NULL;
    struct arena_chunk *c = malloc(sizeof *c + cap);
    if (!c) return NULL;
    *c = (struct arena_chunk){.next = a->chunk, .cap = cap};
    a->chunk = c;
    a->total += cap;
    return c;
}

void *arena_alloc(struct arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - ALIGN) return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct arena_chunk *c = a->chunk;
    if (!c || c->cap - c->used < bytes) c = new_chunk(a, bytes);
    if (!c) return NULL;
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    void *p = arena_alloc(a, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

char *arena_str(struct arena *a, const char *s, size_t n) {
    if (n == SIZE_MAX) return NULL;
    char *p = arena_alloc(a, n + 1);
    if (!p) return NULL;
    if (n) memcpy(p, s, n);
    p[n] = 0;
    return p;
}

void arena_clear(struct arena *a) {
    struct arena_chunk *keep = a->chunk;
    for (struct arena_chunk *c = a->chunk; c; c = c->next)
        if (c->cap > keep->cap) keep = c;
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        if (c != keep) free(c);
    }
    a->chunk = keep;
    if (!keep) return;
    keep->next = NULL;
    keep->used = 0;
    a->total = keep->cap;
}

void arena_release(struct arena *a) {
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct arena){0};
}
