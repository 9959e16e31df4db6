/* An encoder, for encode.c (its life, and texts), encode_pieces.c, encode_parts.c, encode_new.c,
 * encode_late.c, encode_fresh.c and encode_stream.c. */
#ifndef LORY_TOKENIZER_ENCODE_INSIDE_H
#define LORY_TOKENIZER_ENCODE_INSIDE_H

#include "tokenizer/bpe.h"
#include "tokenizer/encode_cache.h"
#include "tokenizer/vocab.h"

enum {
    LONG_BYTES = 512,                    /* beyond, nothing is stored as a whole */
    BATCH_ROOM = BATCH * BPE_MANY_BYTES, /* ids */
    LATE_GAPS = 4 * BATCH,
    FEW = 3, /* new ones that are not worth it side by side */
};
_Static_assert((int)BATCH <= BPE_MANY && (int)BATCH <= FINDER_MANY &&
                   (int)SHORT_BYTES <= BPE_MANY_BYTES,
               "a batch of new ones is merged at once");

/* What a character of two or three bytes becomes when it stands alone between seams; n == 0: not
 * known yet. As large as NARROW_IDS ids, which are copied. */
struct wide_char {
    uint32_t id[3], n;
};

/* Whether no cache has the text at hand: see encode_fresh.c. */
struct fresh {
    /* Of the batch at hand: bytes of pieces that no cache has as a whole, their ids, and bytes of
     * what is new of them, as most parts of sentences are not. */
    uint64_t unknown, ids, news;
    uint64_t bytes, of_them, of_ids, of_news; /* of the batches before, fading: the same */
    uint64_t total;          /* bytes of batches that were new, a sixteenth where parts were not */
    size_t left;             /* bytes before the next batch that is looked up                    */
    const struct trie *trie; /* NULL: not needed yet */
};

/* Pieces that wait for their ids, and where among those that are known they belong: see
 * encode_late.c. Zero: none do. */
enum late_kind { LATE_PIECE, LATE_PART };
struct late {
    size_t n, n_gaps;
    size_t put;                    /* ids that have been put into gaps so far */
    struct bpe_short piece[BATCH]; /* text of a short one: its key */
    uint64_t hash[BATCH];          /* vocab_hash() of the others   */
    uint8_t kind[BATCH];           /* enum late_kind               */
    struct gap {
        size_t at;
        uint8_t piece;
    } gap[LATE_GAPS]; /* in order */
};

struct parts; /* encode_parts.h */

/* Which parts of p[0..n) are characters of two or three bytes, and their ids; which[]: the others.
 * Returns how many these are. Bits of *ret_unknown: characters of which nothing is known yet. */
typedef size_t (*parts_sort_fn)(const struct wide_char *wide, const uint8_t *p, size_t n,
                                struct parts *v, uint64_t *ret_unknown);
/* The i-th one that this machine can run, of which the first is the fastest, or NULL. */
parts_sort_fn parts_sort_at(int i);

struct encoder {
    const struct tokenizer *t;
    struct scanner *scanner;
    struct caches whole;            /* of pieces               */
    struct caches part;             /* of what lies between seams; its own, because a piece may be a
                               * token by decree (ignore_merges), and a part may not */
    struct wide_char *wide;         /* (65536) by code point; NULL until one is met */
    struct u32s ends;               /* of the pieces at hand */
    struct segments segments[2];    /* of the two passes over specials */
    struct special_tree allowed[2]; /* TOKENIZER_SPECIAL_LIST */
    batch_fill_fn fill;             /* looks at many pieces at once */
    bpe_many_fn many;               /* merges short pieces side by side, or NULL */
    seams_run_fn run;               /* finds many seams at once, or NULL */
    parts_sort_fn sort;             /* see encode_parts.h */
    bool refuse;                    /* special tokens that are not recognised    */
    bool inside;                    /* the text at hand goes on from another     */
    struct buf prefixed, formed;    /* with a blank before it; in form C */
    struct u32s formed_places;      /* (2 x formed.n) see nfc.h */
    struct bpe_scratch scratch;
    struct fresh fresh;
    struct late late;
    struct by_longest {              /* see encode_pieces.c */
        const struct longest *table; /* NULL: not needed yet                                  */
        uint64_t merged;             /* bytes of pieces that could have gone this way         */
        int gain;                    /* below 0: the tokens of such pieces were short of late */
    } by_longest;
};

/* Is much of the text new? */
static inline bool fresh_much(const struct fresh *f) {
    return 5 * f->of_news > 2 * f->bytes;
}
/* That, or are nearly all pieces unknown; and are tokens short? */
static inline bool fresh_is(const struct fresh *f) {
    return (fresh_much(f) | (20 * f->of_them > 17 * f->bytes)) & (7 * f->of_ids > 3 * f->of_them);
}
/* Counts for the batch at hand, as its fields say: a piece that is merged as a whole is unknown and
 * news, one that goes by parts unknown, parts that are merged are news. */
static inline void fresh_count(struct fresh *f, size_t unknown, size_t ids, size_t news) {
    f->unknown += unknown;
    f->ids += ids;
    f->news += news;
}
/* A batch of so many bytes has been taken. */
static inline void fresh_note(struct fresh *f, size_t bytes) {
    enum { FADE = 16 /* batches */ };
    f->bytes += bytes - f->bytes / FADE;
    f->of_them += f->unknown - f->of_them / FADE;
    f->of_ids += f->ids - f->of_ids / FADE;
    f->of_news += f->news - f->of_news / FADE;
    f->unknown = f->ids = f->news = 0;
    if (fresh_is(f)) f->total += fresh_much(f) ? bytes : bytes / 16;
}
/* Appends the ids of as many pieces as can do without caches: of those from ends[*i] on, of which
 * the first begins at *from. Both move on. */
int fresh_take(struct encoder *e, const uint8_t *text, size_t *from, const uint32_t *ends,
               size_t n_ends, size_t *i, struct u32s *out, struct err *err);

/* Piece or part i of a batch, which is not in its line, is to stand where `out` ends. Before ids
 * may be used, late_take(). */
int late_add(struct encoder *e, enum late_kind kind, const struct batch *b, size_t i,
             struct u32s *out, struct err *err);
/* The same for a piece or a part of SHORT_BYTES < n <= BPE_MANY_BYTES bytes without seams that no
 * cache has; one gets it then. `hash` is vocab_hash() of it. */
int late_add_long(struct encoder *e, enum late_kind kind, const uint8_t *p, size_t n, uint64_t hash,
                  struct u32s *out, struct err *err);
/* Puts the ids of all pieces that wait where they belong, and into their lines. */
int late_take(struct encoder *e, struct u32s *out, struct err *err);
/* After an error: none of them waits any more. */
void late_drop(struct encoder *e);
/* The ids of a piece, or of a part, of which nothing is known, alone. */
int encode_new_piece(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                     struct err *err);
int encode_new_part(struct encoder *e, const uint8_t *p, size_t n, struct u32s *out,
                    struct err *err);
/* Appends the ids of piece or part i, of more than SHORT_BYTES bytes, if one of its caches has it:
 * 1; 0: none has, and *ret_hash is vocab_hash() of it. There is room for MIDDLE_IDS. `asked`: the
 * middle one did not have it when the batch was filled. */
int encode_long_known(struct caches *c, const struct batch *b, size_t i, bool asked,
                      uint64_t *ret_hash, struct u32s *out, struct err *err);
/* The same of a piece or part of SHORT_BYTES < n <= LONG_BYTES bytes without seams that it has not:
 * appends its ids, and stores them: 0; or lets it wait: 1. */
int encode_long_new(struct encoder *e, enum late_kind kind, uint64_t hash, const uint8_t *p,
                    size_t n, struct u32s *out, struct err *err);
/* Appends the ids of pieces that follow each other, of len[0] … len[pieces-1] bytes, p[0..n), part
 * by part: 1, and *ret_wait: some of them wait, or others have come before them meanwhile; 0: it is
 * one and has no seams. Several only where a piece is what merging makes of it. */
int encode_parts(struct encoder *e, const uint8_t *p, size_t n, const uint32_t *len, size_t pieces,
                 bool *ret_wait, struct u32s *out, struct err *err);
/* Those of pieces, or of parts. */
static inline struct caches *encode_caches(struct encoder *e, enum late_kind kind) {
    return kind == LATE_PART ? &e->part : &e->whole;
}
/* Doubles caches that have become full. */
int encode_grow(struct encoder *e, struct caches *c, struct u32s *out, struct err *err);
/* Merging has made so many ids of a piece: notes whether the longest tokens are worth it. */
void longest_note(struct encoder *e, size_t bytes, size_t ids);

/* Appends the ids of the pieces text[from .. ends[0]), text[ends[0] .. ends[1]) … of text[0..n). */
int encode_pieces(struct encoder *e, const char *text, size_t n, size_t from, const uint32_t *ends,
                  size_t n_ends, struct u32s *out, struct err *err);
/* As encode_places(), of a text that goes on from another: no blank is put before it. */
int encode_rest(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                struct u32s *out, struct u32s *places, struct err *err);
/* The specials of the two passes that `allow` stands for; NULL: none. */
const struct special_tree *encoder_specials(const struct encoder *e, enum tokenizer_special allow);
/* For tests: a piece is long from so many bytes on, and is merged in windows of so many. */
void encode_stream_least(struct encode_stream *s, size_t piece, size_t window);

#endif
