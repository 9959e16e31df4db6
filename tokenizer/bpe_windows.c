/* Merging a long piece window by window, each as if it stood alone.
 *
 *   piece     s o m e t h i n g l o n g w i t h o u t b l a n k s …
 *   window 1  some|thing|long|wi|tho
 *   window 2            long|without|bl|an          begins where window 1 has a boundary, and
 *                                                   with the token that window 1 has there: long
 *
 * What a window makes near its end may be wrong, for the bytes behind it are missing. Its first
 * token, compared with what the window before has at that place, tells whether that one's boundary
 * can be relied on:
 *
 *   Let L be what lies before the boundary, T the token behind it, in window 1 and also in all
 *   that follows, merged alone. Up to the first merge across the boundary, merges within L, within
 *   T, and behind T come in an order in which the first two are independent of the third: always
 *   the lowest of the next ones of each, the left one of equals. So L and T go through the same
 *   states in the window and in the piece; and a pair across the boundary is lower than what is
 *   next in L and in T either in both or in neither. In the window it never was.
 *
 * From the last window, which misses nothing, this follows for each one before it, whatever the
 * ranks. Where the tokens differ, the window before was too small and is done again, larger.
 *
 * Where tokens are short, rounds (bpe_rounds.c) are faster, and what they say of a boundary is
 * certain at once. Where tokens are long (rules, blank lines, progress bars), windows go by the
 * longest tokens (bpe_longest.c), and one that holds many of them can be larger. A long piece goes
 * a block in rounds, and on in rounds or for a stretch in windows. */
#include "tokenizer/bpe.h"

enum {
    WINDOW = 64,
    WINDOW_LONGEST = BPE_LONGEST_MOST,
    TAIL_SHARE = 6,
    MORE = 4,
    STRETCH = 32 << 10, /* bytes in windows before rounds are tried again */
    ROUNDS_FROM = 2048, /* making the trie takes as long as a megabyte: not for rare pieces */
};

struct window {
    size_t from, size; /* bytes of the piece; may reach beyond its end  */
    size_t first;      /* where its ids begin in the output             */
    uint32_t wanted;   /* its first id, or TOKENIZER_NO_ID: any will do */
    size_t ids;        /* how many it has in all                        */
};

size_t bpe_boundary(const struct tokenizer *t, const uint32_t *ids, size_t n, size_t size,
                    size_t tail, size_t *ret_end) {
    size_t end = size, len;
    while (n && end > size - tail) {
        vocab_token(t, ids[--n], &len);
        end -= len;
    }
    *ret_end = end;
    return n;
}

/* The ids of window w. Where the text repeats itself, those of the one before are its own. */
static int merge(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
                 struct window *w, const struct window *before, struct u32s *out, struct err *err) {
    size_t left = n - w->from, size = w->size < left ? w->size : left;
    int rc = 0;
    out->n = w->first;
    if (before->size == size && !memcmp(piece + before->from, piece + w->from, size)) {
        rc = u32s_reserve(out, before->ids, err);
        if (rc < 0) return rc;
        memmove(out->v + w->first, out->v + before->first, before->ids * sizeof *out->v);
        out->n += before->ids;
    } else {
        rc = bpe_merge_alone(t, s, piece + w->from, size, out, err);
    }
    w->ids = out->n - w->first;
    return rc;
}

/* In windows only, `most` bytes and the window behind them, or the whole piece: 1, *ret_n bytes are
 * done. *wanted is the first id, or TOKENIZER_NO_ID, and becomes that of what follows. 0: a window
 * does not go with the one before, and cannot be larger. */
static int windows(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
                   size_t most, uint32_t *wanted, size_t *ret_n, struct u32s *out,
                   struct err *err) {
    const size_t size = s->longest ? WINDOW_LONGEST : WINDOW;
    struct window w = {.size = size, .first = out->n, .wanted = *wanted};
    struct window before = {.size = 0}; /* 0: there is none to go back to */
    for (;;) {
        size_t left = n - w.from;
        int rc = merge(t, s, piece, n, &w, &before, out, err);
        if (rc < 0) return rc;
        if (w.wanted != TOKENIZER_NO_ID && out->v[w.first] != w.wanted) {
            if (!before.size) return 0;
            w = before;
            w.size *= MORE;
            before.size = 0;
            continue;
        }
        *ret_n = n;
        if (w.size >= left) return 1;
        if (w.from >= most) {
            *ret_n = w.from;
            *wanted = out->v[w.first];
            out->n = w.first;
            return 1;
        }
        size_t end;
        out->n = w.first + bpe_boundary(t, out->v + w.first, out->n - w.first, w.size,
                                        w.size / TAIL_SHARE, &end);
        if (!end) { /* one token; there may be a longer one */
            w.size *= MORE;
            continue;
        }
        before = w;
        /* What was taken off is still there. */
        w = (struct window){w.from + end, size, out->n, out->v[out->n], 0};
    }
}

/* In rounds, block by block, while they are not slow: *ret_n bytes. A block that repeats the one
 * before repeats its ids. */
static int rounds(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
                  size_t *ret_n, struct u32s *out, struct err *err) {
    const struct trie *trie;
    size_t at = 0, done = BPE_ROUNDS_BLOCK, before, first = out->n, unsure = 0;
    int rc = vocab_trie(&trie, t, err);
    if (rc < 0 || !trie || !trie->slot) return rc;
    do {
        const uint8_t *p = piece + at;
        before = done;
        if (at && n - at >= BPE_ROUNDS_SEEN && !memcmp(p - before, p, BPE_ROUNDS_SEEN)) {
            size_t ids = out->n - first;
            rc = u32s_reserve(out, ids, err);
            if (rc < 0) return rc;
            memcpy(out->v + out->n, out->v + first, ids * sizeof *out->v);
            first = out->n;
            out->n += ids;
        } else {
            first = out->n;
            rc = bpe_merge_rounds(t, trie, s, p, n - at, &done, &unsure, out, err);
            if (rc < 0) return rc;
        }
        at += done;
    } while (at < n && done && before + done >= BPE_ROUNDS_BLOCK / 2 &&
             !bpe_rounds_slow(done, out->n - first, unsure));
    *ret_n = at;
    return 0;
}

/* Tokens are long here: by the longest, if the vocabulary has such a table. */
static int want_longest(const struct tokenizer *t, struct bpe_scratch *s, struct err *err) {
    const struct longest *l = NULL;
    if (s->longest) return 0;
    int rc = vocab_longest(&l, t, err);
    if (rc == 0 && l && l->of) s->longest = l;
    return rc;
}

int bpe_merge_windows(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct u32s *out, struct err *err) {
    const bool in_rounds = n >= ROUNDS_FROM && bpe_rounds_can(t);
    const size_t begin = out->n;
    uint32_t wanted = TOKENIZER_NO_ID; /* the first id of what follows */
    for (size_t at = 0, done = 0; at < n; at += done) {
        const size_t first = out->n;
        int rc = in_rounds ? rounds(t, s, piece + at, n - at, &done, out, err) : 0;
        if (rc < 0) return rc;
        if (done) {
            if (wanted != TOKENIZER_NO_ID && out->v[first] != wanted) break;
            wanted = TOKENIZER_NO_ID;
            at += done;
            if (at == n) return 0;
        }
        rc = in_rounds ? want_longest(t, s, err) : 0;
        if (rc == 0)
            rc = windows(t, s, piece + at, n - at, in_rounds ? STRETCH : n, &wanted, &done, out,
                         err);
        if (rc < 0) return rc;
        if (rc == 0) break;
        if (at + done == n) return 0;
    }
    out->n = begin;
    return bpe_merge_whole(t, s, piece, n, out, err);
}
