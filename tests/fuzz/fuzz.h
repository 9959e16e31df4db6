/* What the fuzz targets share. A target is one file with one function, which must return for any
 * bytes: no crash, no sanitizer report, and every promise that FUZZ_CHECK names kept.
 *
 *   with an engine      clang's libFuzzer calls it (meson option `fuzz`)
 *   without one         replay.c calls it for every file of corpus/NAME, in ./check
 *
 * Inputs are files as a stranger would send them; where a target needs several, or a choice, the
 * first bytes say so. One thread. */
#ifndef LORY_TESTS_FUZZ_H
#define LORY_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A promise that does not hold is a finding. */
#define FUZZ_CHECK(promise, ...)                                                                   \
    do {                                                                                           \
        if (!(promise)) {                                                                          \
            fprintf(stderr, "%s:%d: not so: %s; ", __FILE__, __LINE__, #promise);                  \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A failure must have a code and a message. */
static inline void fuzz_told(int rc, const struct err *err) {
    FUZZ_CHECK(rc >= 0 || (err->code == rc && err->msg[0]), "%d without a message", rc);
}

/* Takes the next byte, 0 if none is left. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *n) {
    if (!*n) return 0;
    --*n;
    return *(*data)++;
}

/* Takes what stands before the next "\n%%\n" as a part; the rest if there is none. */
static inline const uint8_t *fuzz_part(const uint8_t **data, size_t *n, size_t *ret_n) {
    const uint8_t *part = *data, *cut = *n ? memmem(*data, *n, "\n%%\n", 4) : NULL;
    *ret_n = cut ? (size_t)(cut - part) : *n;
    size_t used = cut ? *ret_n + 4 : *n;
    *data += used;
    *n -= used;
    return part;
}

/* A file in memory with these bytes, by a path that lasts until fuzz_unfile(). */
struct fuzz_file {
    int fd;
    char path[40];
};

static inline struct fuzz_file fuzz_file(const void *bytes, size_t n) {
    struct fuzz_file f = {.fd = memfd_create("fuzz", 0)};
    FUZZ_CHECK(f.fd >= 0 && (!n || write(f.fd, bytes, n) == (ssize_t)n), "no file in memory");
    snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    return f;
}

static inline void fuzz_unfile(struct fuzz_file *f) {
    close(f->fd);
}

/* A folder for readers that look beside a file; removed when the process ends. */
extern char fuzz_folder_path[256];

static inline void fuzz_folder_remove(void) {
    file_remove(fuzz_folder_path, NULL);
}

static inline const char *fuzz_folder(void) {
    if (fuzz_folder_path[0]) return fuzz_folder_path;
    const char *tmp = getenv("TMPDIR");
    snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/lory-fuzz-XXXXXX",
             tmp && *tmp ? tmp : "/tmp");
    FUZZ_CHECK(mkdtemp(fuzz_folder_path), "no folder %s", fuzz_folder_path);
    atexit(fuzz_folder_remove);
    return fuzz_folder_path;
}

/* Puts a file into it, without the care that artefacts need. */
static inline void fuzz_put(const char *name, const void *bytes, size_t n) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f && (!n || fwrite(bytes, 1, n, f) == n) && fclose(f) == 0, "cannot write %s", path);
}

#endif
