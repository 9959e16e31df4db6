/* What the files parquet*.c share.
 *
 *   parquet_meta.c    the footer: thrift's compact protocol ─▶ schema and row groups
 *   parquet_bits.c    integers as runs, packed bits and deltas
 *   parquet_page.c    a column chunk: pages ─▶ (repetition, definition, value) one after the other
 *   parquet.c         the columns together again: rows as JSON
 *
 * Nothing is held but one page of each column and its dictionary. */
#ifndef LORY_STREAM_PARQUET_PARTS_H
#define LORY_STREAM_PARQUET_PARTS_H

#include <stdbool.h>
#include "base/buf.h"
#include "stream/cursor_parts.h"
#include "stream/parquet.h"

/* ------------------------------------------------------------------ thrift, compact protocol */

enum {
    THRIFT_TRUE = 1,
    THRIFT_FALSE,
    THRIFT_BYTE,
    THRIFT_I16,
    THRIFT_I32,
    THRIFT_I64,
    THRIFT_DOUBLE,
    THRIFT_BINARY,
    THRIFT_LIST,
    THRIFT_SET,
    THRIFT_MAP,
    THRIFT_STRUCT
};

uint64_t thrift_varint(struct cursor *c);
int64_t thrift_int(struct cursor *c); /* zigzag */
/* The next field of a struct: false at its end (or when bad). *id starts at 0. */
bool thrift_field(struct cursor *c, int *id, int *type);
/* The length of a list whose elements are of `type`, at most what could be left; 0 when bad. */
size_t thrift_list(struct cursor *c, int type);
void thrift_skip(struct cursor *c, int type);

/* ------------------------------------------------------------------ the footer */

enum pq_type {
    PQ_BOOLEAN,
    PQ_INT32,
    PQ_INT64,
    PQ_INT96,
    PQ_FLOAT,
    PQ_DOUBLE,
    PQ_BYTES,
    PQ_FIXED,
    PQ_GROUP = -1
};
enum pq_repetition { PQ_REQUIRED, PQ_OPTIONAL, PQ_REPEATED };
enum pq_meaning {
    PQ_PLAIN,
    PQ_STRING,
    PQ_LIST,
    PQ_MAP,
    PQ_DECIMAL,
    PQ_DATE,
    PQ_TIME,
    PQ_TIMESTAMP,
    PQ_UNSIGNED,
    PQ_HALF
};
enum { PQ_DEPTH_MAX = 32, PQ_NODES_MAX = 20000, PQ_SCALE_MAX = 76 };

struct pq_node {
    char *name;
    enum pq_type type;
    uint32_t fixed; /* bytes of a PQ_FIXED */
    enum pq_repetition repetition;
    enum pq_meaning meaning;
    int scale;              /* of a decimal; of a time or timestamp 3, 6 or 9 */
    bool utc;               /* a timestamp of UTC, not of whatever the clock showed */
    int max_def, max_rep;   /* at this node */
    size_t n_children, end; /* its children follow it; `end` is behind all below it */
    size_t leaf;            /* number of its first leaf */
    bool wanted;            /* it, or something below */
};

struct pq_chunk {
    uint64_t at, bytes; /* all its pages, the dictionary's too */
    uint64_t values;
    int codec;
    bool usable; /* it was named at all */
};

struct pq_group {
    uint64_t rows;
    size_t chunks; /* of pq_meta.chunks: where its leaves' begin */
};

struct pq_meta {
    struct pq_node *nodes; /* in the order of the schema: a node, then all below it */
    size_t n_nodes, n_leaves;
    struct pq_group *groups;
    size_t n_groups;
    struct pq_chunk *chunks;
};

/* Reads the footer. `name` is for messages. */
int pq_meta_read(struct pq_meta *m, const struct blob *from, const char *name, struct err *err);
void pq_meta_release(struct pq_meta *m);

/* ------------------------------------------------------------------ packed integers */

/* Runs and packed bits, mixed ("RLE"): width 0..32. */
struct pq_runs {
    struct cursor c;
    int width;
    uint64_t run; /* values left of the present run */
    bool packed;
    uint32_t value;   /* of a run of one value */
    const uint8_t *v; /* of packed bits */
    uint64_t bit;
};
void pq_runs_begin(struct pq_runs *r, const uint8_t *v, size_t n, int width);
uint32_t pq_runs_next(struct pq_runs *r); /* r->c.bad: there was none */

/* DELTA_BINARY_PACKED. */
struct pq_delta {
    struct cursor c;
    uint64_t per_mini, minis; /* of a block */
    uint64_t left;            /* values not given yet, the first one included */
    uint64_t value, low;      /* the next one, the block's least difference   */
    uint8_t widths[512];
    size_t mini;        /* in the block */
    uint64_t mini_left; /* values in it */
    const uint8_t *v;   /* its bits     */
    uint64_t bit;
    bool first;
};
void pq_delta_begin(struct pq_delta *d, const uint8_t *v, size_t n);
uint64_t pq_delta_next(struct pq_delta *d); /* d->c.bad: there was none */
/* The bytes behind the deltas of a copy run to its end. */
struct cursor pq_delta_rest(const struct pq_delta *d);

/* ------------------------------------------------------------------ a column */

struct pq_cell {
    const uint8_t *v; /* valid until the next one is taken */
    size_t n;
};

struct pq_column {
    const struct blob *from;
    const char *name; /* of the file, for messages */
    const struct pq_node *leaf;
    const struct pq_chunk *chunk;
    uint64_t at, end; /* of the chunk, not read yet             */
    uint64_t page_at; /* of the page in use, for messages       */
    uint64_t left;    /* values of the chunk not taken yet      */
    struct buf raw;   /* the page's bytes as stored, header too */
    struct buf page;  /* unpacked                               */
    struct buf dictionary_bytes;
    struct pq_cell *dictionary;
    size_t n_dictionary;
    /* the page in use */
    uint64_t page_left; /* levels not taken yet */
    struct pq_runs rep, def;
    int encoding;
    struct cursor plain;    /* also: the bytes of delta-coded strings */
    struct pq_runs indices; /* also: booleans */
    struct pq_delta lengths, prefixes;
    struct buf before;         /* DELTA_BYTE_ARRAY: the value before; elsewhere a number's bytes */
    uint64_t split_n, split_i; /* BYTE_STREAM_SPLIT */
    bool peeked;
    uint32_t r, d;
};

/* Begins with a row group's chunk. */
int pq_column_begin(struct pq_column *c, const struct pq_chunk *chunk, struct err *err);
/* The levels of the next entry, which stays: 1, 0 at the end of the chunk, or a negative code. */
int pq_column_peek(struct pq_column *c, struct err *err);
/* Takes it; *ret->v is NULL if the value is null. */
int pq_column_take(struct pq_column *c, struct pq_cell *ret, struct err *err);
void pq_column_release(struct pq_column *c);
/* ERR_DATA "NAME: byte N: …". */
int pq_bad(const struct pq_column *c, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
