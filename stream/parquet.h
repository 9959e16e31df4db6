/* Parquet: the columns of a table, row by row, as JSON lines (rows.h).
 *
 *   PAR1 | row group: a chunk a column, of pages … | … | footer | its length | PAR1
 *
 * Every column is read that can be: strings, numbers, decimals, dates, structs, lists, maps; with
 * `only`, those of the top level that are named in it. Encodings: plain, dictionary, RLE, the delta
 * encodings, byte stream split; codecs: none, snappy, gzip, zstd, lz4, lz4_raw; pages of version 1
 * and 2. Encrypted files, brotli and lzo are refused by name. Whatever a file says is checked
 * before it is used; damage is ERR_DATA with the file's name and the byte of the page. */
#ifndef LORY_STREAM_PARQUET_H
#define LORY_STREAM_PARQUET_H

#include "stream/blob.h"
#include "stream/codec.h"

/* Closes `from`, also on failure. `only`: names, or NULL; a name that is no column is ignored, and
 * a list that names none is as none. A row of more than `max` bytes is ERR_DATA. */
int parquet_codec(struct codec **ret, const char *name, struct blob from, const struct strs *only,
                  uint64_t max, struct err *err);
/* The field that would be read for text if none is named (docs.h), by the schema alone; malloc'd,
 * NULL if there is none. The blob stays open. */
int parquet_guess_field(char **ret, const char *name, const struct blob *from, struct err *err);

#endif
