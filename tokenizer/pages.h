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

/* n * size zeroed bytes for free(), the product checked; NULL when memory is out. */
static inline void *pages_array(size_t n, size_t size) {
    enum { PAGE = 2 << 20 };
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX - PAGE) return NULL;
    if (bytes < PAGE) return calloc(n ? n : 1, size);
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    void *p = aligned_alloc(PAGE, bytes);
    if (!p) return NULL;
    madvise(p, bytes, MADV_HUGEPAGE); /* a hint; without it all is slower, not wrong */
    return memset(p, 0, bytes);
}

#endif
