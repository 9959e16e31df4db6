/* Memory that may be larger than memory: anonymous pages within a budget, and beyond it pages of
 * unlinked files, which the system writes out as it needs. One thread at a time. */
#ifndef LORY_STREAM_SCRATCH_H
#define LORY_STREAM_SCRATCH_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct scratch_map;

struct scratch {
    const char *dir;  /* where files are made; borrowed           */
    uint64_t budget;  /* bytes of memory in all                   */
    uint64_t used;    /* of the budget                            */
    uint64_t on_disk; /* bytes of files                           */
    struct scratch_map *maps;
    char *bump; /* the rest of a file's chunk, for small ones */
    size_t bump_left;
};

/* `bytes` zeroed bytes that live until scratch_release(). ERR_NOMEM, or ERR_IO of the file. */
int scratch_big(struct scratch *s, void **ret, uint64_t bytes, struct err *err);
/* The same for many small pieces, of a budget of their own that is given back by scratch_free(). */
int scratch_small(struct scratch *s, void **ret, size_t bytes, struct err *err);
/* Gives a small piece back; pieces that lie in files stay until the end. */
void scratch_free(struct scratch *s, void *p, size_t bytes);
/* A file without a name in `dir`, for reading and writing. */
int scratch_file(const char *dir, int *ret_fd, struct err *err);
/* All of the bytes, at the file's position, or at `at`. */
int scratch_write(int fd, const void *v, size_t n, struct err *err);
int scratch_read(int fd, uint64_t at, void *v, size_t n, struct err *err);
/* Makes the file empty again. */
int scratch_empty(int fd, struct err *err);
void scratch_release(struct scratch *s);

#endif
