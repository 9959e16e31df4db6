/* Large zeroed arrays on huge pages (inside tokenizer/): random access to 4 KiB pages costs a miss
 * of the TLB each time, and calloc's zero page is read once before it is written, which faults
 * twice. */
#ifndef LORY_TOKENIZER_PAGES_H
#define LORY_TOKENIZER_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* n * size bytes of anything for free(), at the beginning of a cache line, the product checked;
 * NULL when memory is out. */
static inline void *pages_room(size_t n, size_t size) {
    enum { PAGE = 2 << 20, LINE = 64 };
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX - PAGE) return NULL;
    size_t unit = bytes < PAGE ? LINE : PAGE;
    bytes = bytes ? (bytes + unit - 1) / unit * unit : unit;
    void *p = aligned_alloc(unit, bytes);
    if (!p) return NULL;
    /* a hint; without it all is slower, not wrong */
    if (unit == PAGE) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* The same, zeroed. */
static inline void *pages_array(size_t n, size_t size) {
    void *p = pages_room(n, size);
    return p ? memset(p, 0, n * size) : NULL;
}

#endif
