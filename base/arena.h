/* Memory that dies together: allocate freely, release once.
 *
 *   chunk ─▶ [ header | used ...... | free ] ─▶ next chunk (twice the size, up to 64 MiB)
 *
 * Pointers stay valid until arena_release() or arena_clear(). One thread at a time. */
#ifndef LORY_BASE_ARENA_H
#define LORY_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena { /* zero is the empty arena */
    struct arena_chunk *chunk;
    size_t total; /* bytes held from the system */
};

/* `bytes` bytes, aligned to 16, not zeroed. NULL when memory is out. */
void *arena_alloc(struct arena *a, size_t bytes);
/* n * size zeroed bytes, the product checked. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* A copy of s[0..n) with a NUL behind it. */
char *arena_str(struct arena *a, const char *s, size_t n);
/* Forgets the contents and keeps the largest chunk for reuse. */
void arena_clear(struct arena *a);
/* Gives everything back; the arena is empty again. */
void arena_release(struct arena *a);

#endif
