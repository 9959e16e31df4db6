/* What the files docs*.c share.
 *
 *   docs_open.c     a file of the list ─▶ a codec: what kind it is
 *   docs_read.c     files ─▶ parts (bytes cut at newlines), a queue per file
 *   docs_extract.c  a part's bytes ─▶ its documents, and what to do with bad records
 *   docs_long.c     JSON records that are longer than a part should be
 *   docs_where.c    --where and --sample, for docs_extract.c
 *   docs.c          takes parts in order, lets the caller's thread extract, settles in order
 *   docs_order.c    skip, take, shuffle: the same, one at a time
 *   docs_state.c    where a stream stands, to be saved and gone on from
 *
 *   sequence of files ─▶ [ 7 2 9 | 4 0 | 3 1 ]   a lane reads its files in turn, all lanes at
 *                          lane 0  1     2       once; one lane, but for --order hf5
 *
 * In any order (docs_opts.any_order) there is a lane for each thread, and each takes the next file
 * of the sequence when it is done with one.
 *
 * A part is numbered when it is taken. Several threads extract at once, and then wait in
 * docs_settle() until all lower numbers are settled: short, as extraction is, and so the first bad
 * record in the order of the input ends everything, rejected records are written in order, and
 * nothing behind a failure is ever handed out. */
#ifndef LORY_STREAM_DOCS_PARTS_H
#define LORY_STREAM_DOCS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/buf.h"
#include "base/file.h"
#include "stream/codec.h"
#include "stream/cursor_parts.h"
#include "stream/docs.h"
#include "stream/order.h"

/* Where a shuffled record came from, and where it lies in the part's data. */
struct origin {
    uint32_t file;
    bool is_text;
    uint64_t line_no;
    size_t at, n;
};

/* A place in a file to go on from: what codec_save() gave. Shared, never changed. */
struct seek {
    atomic_uint users;
    uint64_t plain; /* the first byte after it */
    size_t n;
    uint8_t v[];
};

/* Where a lane stands: before byte `byte` of a file of the sequence, which begins a record. */
struct place {
    uint32_t at;         /* in the sequence */
    uint64_t byte, line; /* 0 and 1: the file's beginning */
    struct seek *seek;   /* at or before `byte`; or NULL */
};

/* See docs_long.c. Filled by who reads; from then on the bytes do not change. */
struct long_record {
    int fd; /* of the scratch file */
    uint64_t bytes;
    bool is_text;      /* no record: a text, as it stands */
    bool blank;        /* so far, or all of it */
    atomic_uint users; /* the part that stands for it, and its slices */
    /* Under the docs' lock: */
    bool opening, open; /* somebody validates it; that is done */
    bool followed;      /* what left of it ends anywhere */
    bool has_text;      /* all is well, and the text is … */
    uint64_t at, end;   /* … what stands here, as far as it did not leave yet */
    /* Set with has_text: */
    uint64_t text_at;         /* where the text begins */
    uint64_t line_at, line_n; /* the record without a byte order mark and CR */
};

struct part {
    struct batch batch; /* first: what the caller sees and gives back       */
    struct part *next;  /* in a file's queue, the free list or `extracting` */
    uint64_t seq;       /* as taken; batch.seq is as handed out             */
    struct buf data;    /* whole records with their newlines; text: a file  */
    struct buf text;    /* unescaped texts                                  */
    size_t docs_cap;
    uint64_t first_line;    /* number of the first record in its file           */
    uint32_t at;            /* of its file in the sequence                      */
    uint64_t begin;         /* its first byte in the file                       */
    uint64_t end, end_line; /* where the next part begins, unless it is the last of its file */
    struct seek *before, *behind; /* for any place in it, and for its end; or NULL */
    bool is_text;
    bool continues, goes_on;    /* of a text in several parts, see docs_opts.cut_texts … */
    bool follows, followed;     /* … and cut_anywhere                                    */
    uint64_t first_column;      /* of such a part: bytes before it in its line         */
    bool is_table;              /* lines made of rows: rows.h */
    const char *field;          /* as it was when the part was taken; NULL: none found yet */
    bool too_long;              /* stands for one record above max_record, no data  */
    struct long_record *record; /* stands for it, no data; or, if is_slice, for …     */
    bool is_slice;              /* … the raw_n bytes of its text at raw_at                   */
    bool is_far;                /* or for all of it (docs_opts.stay_far)                     */
    uint64_t raw_at;
    size_t raw_n;
    bool broken;            /* something in it failed: behind it there is no place to go on from */
    struct origin *origins; /* of a shuffled part: n_origins records           */
    size_t n_origins, origins_cap;
    struct err failed;      /* from the codec, or the first bad record; code 0  */
    uint64_t n_bad;         /* records left out                                 */
    struct buf bad;         /* their bytes, if they are collected               */
    struct strs complaints; /* the first few messages about them               */
    uint64_t bad_so_far;    /* in the stream, up to its end */
    uint64_t skip, take;    /* what was left of --skip and --take behind it     */
    struct buf saved;       /* of a shuffled part, now and then: the state behind it */
};

struct docs_file {
    struct part *head, *tail; /* parts read and not yet taken          */
    uint64_t queued;          /* their cost (see part_cost)            */
    bool done;                /* its last part is in the queue         */
    struct reading *reading;  /* while it is open; docs_read.c         */
    struct docs_totals totals;
};

/* Files that are read one after the other. */
struct lane {
    struct docs *docs;
    uint32_t next_open, head; /* places in docs.sequence: the next to read, the one taken from */
    uint32_t end;
    size_t n_open; /* files being read */
    pthread_t by;  /* in any order: the thread that read it last, if `read` */
    bool read;
    bool streaming;     /* a part that follows or is followed is out */
    struct place start; /* of a stream that goes on: where its first file is entered */
};

enum { LANES_MAX = ORDER_GROUPS_MAX, READERS_MAX = LANES_MAX };
enum on_error { ON_ERROR_STOP, ON_ERROR_SKIP, ON_ERROR_FILE };

struct docs {
    struct docs_opts opts;
    enum docs_format format;
    enum on_error on_error;
    enum order_kind kind;
    bool bounded; /* max_record was asked for: it holds for long records, too */
    const struct source_list *list;
    uint32_t *sequence;  /* the files in the order they are read         */
    struct codec *first; /* of sequence[0], until its reader takes it    */
    int first_live;      /* its descriptor, see feed_live()              */
    int wake;            /* eventfd: readable once the readers are to end */
    struct outfile *rejects;
    struct order *order; /* skip, take, shuffle; NULL: none      */
    uint64_t digest[2];  /* of names and options, if resumable   */
    uint64_t *file_hash; /* of each file's size and marks, if so */

    pthread_mutex_t lock;   /* all that follows                     */
    pthread_cond_t more;    /* a part came, a file ended, a stop    */
    pthread_cond_t room;    /* a part was taken                     */
    pthread_cond_t settled; /* a part left `extracting`             */
    struct docs_file *files;
    struct lane lanes[LANES_MAX];
    size_t n_lanes, open_max; /* open_max: files that a lane has open at once */
    bool has_to_wait;         /* docs_has_to_wait() */
    bool any_order;
    uint32_t next_file; /* in any order: what the next free lane reads */
    struct {
        uint32_t at;
        uint64_t begin;
    } failed_at;             /* in any order: the first failure of the first file that has one */
    uint64_t queued, budget; /* cost of all parts in queues, and its bound */
    uint64_t next_seq, stop_seq;
    struct part *extracting; /* taken, not settled                   */
    struct part *free;
    size_t n_free;
    struct docs_totals totals;
    struct err failed; /* in force from stop_seq on            */
    bool stopped, quit;
    unsigned complained;
    char *field;
    pthread_t readers[READERS_MAX]; /* for sources that have to be waited for; else none */
    int n_readers;
};

/* docs.c: parts are made once and used again. */
struct part *part_new(struct docs *d);
void part_free(struct part *p);
void docs_recycle(struct docs *d, struct part *p);
/* The next part of a lane, read by the caller's thread if there is none: 1, 0 at its end, or a
 * negative code. Lock held, but let go while reading or waiting. */
int docs_take(struct docs *d, struct lane *lane, struct part **ret, struct err *err);
/* Its turn: complaints, rejected records, failure. Lock held. 1: hand it out; 0: it lies behind the
 * failure and is gone. */
int docs_settle(struct docs *d, struct part *p);
/* Counts what is handed out. Lock held. */
void docs_count(struct docs *d, const struct part *p);

/* docs_open.c: a file as a codec, whatever it is; *live: a pipe's descriptor, else -1. */
int docs_open_file(struct docs *d, uint32_t file, struct codec **ret, int *live, struct err *err);
/* Whether a file that is no table is one text; by its name and its first bytes. */
bool docs_is_text(const struct docs *d, const char *name, const struct buf *head);
/* ERR_DATA if these first bytes are of something that is no corpus, but lies where one should. */
int docs_refuse(const struct docs *d, const char *name, const struct buf *head, struct err *err);

/* docs_read.c */
/* What a queued part counts against the budget. */
uint64_t part_cost(const struct docs *d, const struct part *p);
/* Reads a part of the first of the lane's files that nobody reads, in the caller's thread. False:
 * there is none, no room for it, it is for the readers, or there was no memory and all ends here.
 * Where there are readers, they open files, and the caller reads what comes over HTTP from its
 * second part on. Lock held, but not while reading. */
bool docs_read(struct docs *d, struct lane *lane);
/* Whether reading any of the files may mean to wait for others than the disk. */
bool docs_has_to_wait(const struct source_list *list);
int docs_readers_start(struct docs *d, struct err *err);
void docs_readers_end(struct docs *d);

/* docs_state.c */
int seek_save(struct seek **ret, struct codec *c, struct err *err); /* *ret stays NULL: not here */
struct seek *seek_share(struct seek *s);                            /* NULL is fine */
void seek_drop(struct seek *s);                                     /* NULL is fine */
/* The place behind a part. Borrows its seek. */
struct place part_end(const struct part *p);
/* Whether the stream can be gone on from at all; computes d->digest. */
int docs_state_check(struct docs *d, struct err *err);
/* Sets lanes, counts and the order to what opts.state holds. */
int docs_restore(struct docs *d, struct err *err);
/* The beginning of a state, up to the number of lanes. */
int docs_put_head(const struct docs *d, uint64_t bad, const char *field, struct buf *to,
                  struct err *err);
int put_place(struct buf *to, const struct place *p, struct err *err);
int take_place(struct cursor *from, struct place *ret, struct err *err);

/* docs_extract.c: fills p->batch, p->failed and what was bad. No lock. */
void docs_extract(struct docs *d, struct part *p);
/* Tries to choose the field by the records of p; true once there is one. Lock held. */
bool docs_choose_field(struct docs *d, const struct part *p);

/* Nothing but what JSON lines may have around a record. */
bool docs_is_blank(const char *v, size_t n);
/* Maps, validates and looks for the text of p->record: its at and end, or p->failed. No lock. */
void docs_open_record(struct docs *d, struct part *p);

/* docs_cut.c: the last place to cut v[0..n), of a text or inside a JSON string; 0: there is none.
 * What decides lies within CUT_BYTES of the place. */
enum { CUT_BYTES = 16, ESCAPE_BYTES = 6 /* backslash, u, four digits */ };
size_t docs_cut_text(const char *v, size_t n);
size_t docs_cut_json(const char *v, size_t n);
/* The last place in v[0..n), which begins no later than an escape or a character does and is inside
 * a JSON string, where what comes before can be unescaped by itself; 0: only its beginning. */
size_t docs_step_json(const char *v, size_t n);

/* docs_long.c */
int long_new(struct long_record **ret, const char *dir, struct err *err);
struct long_record *long_share(struct long_record *l);
void long_drop(struct long_record *l); /* NULL is fine */
int long_add(struct long_record *l, const char *v, size_t n, struct err *err);
int long_map(const struct long_record *l, const char **ret, struct err *err);
void long_unmap(const struct long_record *l, const char *v);
/* Bytes of the slice at `at` of the text: about `want`, or more where it cannot be cut; or where it
 * could not, with `anywhere`, about so many, and *ret_followed. */
int long_slice(const struct long_record *l, uint64_t at, size_t want, bool anywhere, size_t *ret_n,
               bool *ret_followed, struct err *err);
/* Line and column, from 1, of a byte of a text. */
int long_place(const struct long_record *l, uint64_t at, uint64_t *ret_line, uint64_t *ret_column,
               struct err *err);
/* Whether the text is UTF-8; if not, *ret_at is the first byte that is none. */
int long_valid(const struct long_record *l, bool *ret, uint64_t *ret_at, struct err *err);
/* A slice as text; `raw` is scratch. Any thread. */
int long_text(const struct long_record *l, uint64_t at, size_t n, struct buf *raw, struct buf *text,
              struct err *err);

/* docs_where.c: whether a record is one of those wanted, by its fields and by its text. */
int docs_where_check(const struct docs *d, struct err *err);
bool docs_where(const struct docs *d, const char *line, size_t n);
bool docs_chosen(const struct docs *d, const char *text, size_t n);

/* docs_order.c */
int order_new(struct docs *d, struct err *err);
int order_next(struct docs *d, struct batch **ret, struct err *err);
void order_free(struct order *o);
/* docs_order.c: takes the order's own part of a state. */
int order_restore(struct docs *d, struct cursor *from, struct err *err);

#endif
