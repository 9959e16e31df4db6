/* Merging one piece: bytes in, ids out, by the pair table of vocab.h. */
#ifndef LORY_TOKENIZER_BPE_H
#define LORY_TOKENIZER_BPE_H

#include "tokenizer/vocab.h"

struct longest;

/* Scratch of bpe_merge() for long pieces; zero is empty. One thread at a time. */
struct bpe_scratch {
    struct bpe_node *node;
    size_t nodes; /* there is room for */
    struct u64s heap;
    const struct bpe_rounds *rounds; /* one of bpe_rounds_at(); NULL: the first    */
    const struct longest *longest;   /* t's, where its tokens are long; or NULL   */
    uint64_t slow;                   /* bytes merged by the heap, which takes long */
};

/* Appends the ids of piece[0..n) to `out`. ERR_DATA: a byte has no token. */
int bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
              struct u32s *out, struct err *err);
/* The same for a piece that the finder does not have. With ranks of tokens two symbols that are all
 * of it do not merge then, and are not looked up. */
int bpe_merge_no_token(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                       size_t n, struct u32s *out, struct err *err);
void bpe_scratch_release(struct bpe_scratch *s);
/* The same, all at once, whatever the length: n^2 up to 64 bytes, n log n beyond. */
int bpe_merge_whole(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err);
/* The same by the longest tokens of s->longest: 1; 0: there is none, or that is not the way. */
int bpe_try_longest(const struct tokenizer *t, const struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err);
/* The same so if it can be, else all at once. */
int bpe_merge_alone(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                    size_t n, struct u32s *out, struct err *err);
/* The same in rounds where tokens are short, and in windows that overlap where they are not:
 * linear, if tokens do not depend on what is far away. */
int bpe_merge_windows(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct u32s *out, struct err *err);
/* The last boundary before the tail of a window of `size` bytes whose tokens are ids[0..n): how
 * many of them stand before it, and where it is (0: there is none). Of the last `tail` bytes
 * nothing is certain (bpe_windows.c). */
size_t bpe_boundary(const struct tokenizer *t, const uint32_t *ids, size_t n, size_t size,
                    size_t tail, size_t *ret_end);
/* The beginning of a piece of n bytes, a block at most, in rounds (bpe_rounds.c): appends the ids
 * of its first *ret_n bytes, after which a token certainly begins; 0: no such place was found.
 * *ret_unsure bytes of them were merged otherwise. Only where bpe_rounds_can(), with a trie of t's
 * that has slots. What is behind the bytes SEEN has no influence, nor whether there is anything. */
enum { BPE_ROUNDS_BLOCK = 1024, BPE_ROUNDS_SEEN = BPE_ROUNDS_BLOCK + TRIE_DEPTH + 2 };
/* The i-th way that this machine can go in rounds, of which the first is the fastest, or NULL. */
const struct bpe_rounds *bpe_rounds_at(const struct tokenizer *t, int i);
static inline bool bpe_rounds_can(const struct tokenizer *t) {
    return bpe_rounds_at(t, 0) != NULL;
}
int bpe_merge_rounds(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                     const uint8_t *piece, size_t n, size_t *ret_n, size_t *ret_unsure,
                     struct u32s *out, struct err *err);
/* Whole pieces in rounds, of BPE_ROUNDS_BLOCK bytes in all at most: the first begins at `from`, and
 * ends[0] … ends[n-1] is where they end, n > 0. Appends the ids of all; *ret_unsure as above. */
int bpe_merge_pieces(const struct tokenizer *t, const struct trie *trie, struct bpe_scratch *s,
                     const uint8_t *text, size_t from, const uint32_t *ends, size_t n,
                     size_t *ret_unsure, struct u32s *out, struct err *err);
/* Do rounds take too long for text of which `bytes` became so many ids, `unsure` of them merged
 * otherwise? Tokens are long then, and wait for those within them. */
static inline bool bpe_rounds_slow(size_t bytes, size_t ids, size_t unsure) {
    return 8 * ids < 3 * bytes || unsure > bytes / 4;
}
/* The same for a piece of few runs of equal bytes (bpe_runs.c). 1: done; 0: not such a piece, or
 * not such a vocabulary, and nothing was appended; or a negative code. */
int bpe_merge_runs(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                   struct err *err);

/* The same for a piece of BPE_LONGEST_MOST bytes at most, by the longest tokens (bpe_longest.c), of
 * a table that vocab_longest() made. Writes to `out`, which has room for n ids. False: it has to be
 * merged. */
enum { BPE_LONGEST_MOST = 512 };
struct longest {
    const struct trie *trie;
    struct split *of;                /* (t->n); NULL: not for this vocabulary      */
    struct long_tokens *long_tokens; /* a table by what they begin with            */
    size_t long_mask;                /* of its places                              */
};
/* Leaves *ret as it is while another thread makes t's tree. */
int longest_new(struct longest **ret, const struct tokenizer *t, struct err *err);
void longest_free(struct longest *l);
bool bpe_merge_longest(const struct tokenizer *t, const struct longest *l, const uint8_t *piece,
                       size_t n, uint32_t *out, size_t *ret_n);

/* Many short pieces side by side (bpe_many.c). */
enum { BPE_MANY = 64, BPE_MANY_BYTES = 32 };
struct bpe_short {
    uint8_t text[BPE_MANY_BYTES]; /* behind its n bytes anything */
    uint32_t n;                   /* 1 ... BPE_MANY_BYTES        */
};
struct bpe_short_ids {
    uint32_t id[BPE_MANY_BYTES], n;
};
/* The ids of v[i] to out[where[i]], i < n <= BPE_MANY. */
typedef void (*bpe_many_fn)(const struct tokenizer *t, const struct bpe_short *v, size_t n,
                            struct bpe_short_ids *out, const uint8_t *where);
/* The i-th one that this machine can run, of which the first is the fastest, or NULL. */
bpe_many_fn bpe_many_at(const struct tokenizer *t, int i);

/* The slow twin of encode(), which defines it: cuts the text with the pattern, then in every
 * piece looks for the pair of the lowest rank (the leftmost of equals), merges it, and starts
 * over. Quadratic. Without specials. */
int encode_ref(const struct tokenizer *t, const char *text, size_t n, struct u32s *out,
               struct err *err);

#endif
