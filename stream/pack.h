/* Folders of source files to a corpus in the CodeParrot form: gzip JSON lines with repo_name, path,
 * copies, size, content, license.
 *
 *   files under the folders ─sorted, copies counted once─▶ shuffled by seed ─▶ i-th to file i mod n
 *
 * What is written depends on the files, their names and the options alone. */
#ifndef LORY_STREAM_PACK_H
#define LORY_STREAM_PACK_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

struct pack_opts {
    const struct strs *exts;     /* ".py"; a file's name ends in one of them          */
    const struct strs *excludes; /* names of files and folders left out, at any depth */
    uint64_t files;              /* output files, at least 1                          */
    uint64_t max_bytes;          /* larger ones are left out                          */
    const char *license;
    const char *repo; /* repo_name; NULL: "local/" and the folder's own name */
    uint64_t seed;
    int threads;
    const struct log *log;
};

struct pack_totals {
    uint64_t documents, text_bytes;
    uint64_t duplicates, not_utf8, too_large, empty; /* left out */
};

/* Writes out/file-000000000000.json.gz …; higher-numbered ones of an earlier run are removed.
 * ERR_USAGE: nothing to pack. */
int pack(const struct strs *folders, const char *out, const struct pack_opts *opts,
         struct pack_totals *ret, struct err *err);

#endif
