/* Which files of a dataset make which split of which configuration, as the Python library
 * `datasets` (5.2.0, data_files.py) has it: by `configs` in the README's front matter, else by the
 * files' names.
 *
 *   README.md     configs: [ { config_name, data_dir, data_files: PATTERN | [PATTERN …] |
 *                              [ { split, path: PATTERN | [PATTERN …] } … ] } … ]
 *   otherwise     data/SPLIT-00000-of-00009.…; a folder called train, validation, test or the like;
 *                 a file so called; else all is train
 *
 * Unlike there, a file that two patterns of a split match is in it once. Pure: no file is
 * opened. */
#ifndef LORY_STREAM_LAYOUT_H
#define LORY_STREAM_LAYOUT_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"

struct layout_split {
    char *name;
    struct u32s files; /* indices into the paths, in the order of reading */
};
struct layout_config {
    char *name; /* "default" unless the README says otherwise */
    bool is_default;
    struct layout_split *v; /* train, validation, test first */
    size_t n;
};
struct layout {
    struct layout_config *v;
    size_t n;
};

/* `paths`: all files of the dataset, relative, "/" between folders. readme[0..n): README.md's text,
 * n 0: none. ERR_DATA for a README whose configs are not as above. Caller: layout_release(). */
int layout_read(struct layout *ret, const struct strs *paths, const char *readme, size_t n,
                struct err *err);
void layout_release(struct layout *l);
/* One split's files, or all of the configuration's with split NULL; config NULL: the default one,
 * or the only one. Borrowed parts; ERR_USAGE names what there is. Appends to `files`. */
int layout_pick(const struct layout *l, const char *config, const char *split, struct u32s *files,
                struct err *err);

/* Whether the path matches: per component * ? [a-z] [!a-z], and ** for any number of them. Hidden
 * files, folders that begin with "__" only if the pattern names them. */
bool layout_match(const char *pattern, const char *path);

#endif
