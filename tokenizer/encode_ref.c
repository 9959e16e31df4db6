/* The slow twin of encode.c and bpe.c: what encoding means, in as few lines as it takes. */
#include <stdlib.h>
#include "tokenizer/bpe.h"

/* The rank of sym[0] and sym[1], whose bytes begin at p, and what they merge to; or PAIRS_NONE.
 * With ranks of tokens any two merge whose bytes are a token. */
static uint32_t rank_of(const struct tokenizer *t, const uint32_t *sym, const uint8_t *p,
                        uint32_t *ret) {
    size_t left, right;
    vocab_token(t, sym[0], &left);
    vocab_token(t, sym[1], &right);
    uint32_t rank = t->by_rank ? finder_get(&t->finder, t, p, left + right)
                               : pairs_get(&t->pairs, sym[0], sym[1]);
    if (rank != PAIRS_NONE) *ret = t->by_rank ? rank : vocab_merged(t, rank);
    return rank;
}

/* The pair of the lowest rank, the leftmost of equals; n if none merges. */
static size_t lowest(const struct tokenizer *t, const uint32_t *sym, size_t n, const uint8_t *piece,
                     uint32_t *ret) {
    uint32_t low = PAIRS_NONE, result = 0;
    size_t at = n, len;
    for (size_t i = 0; i + 1 < n; i++, piece += len) {
        uint32_t rank = rank_of(t, sym + i, piece, &result);
        vocab_token(t, sym[i], &len);
        if (rank >= low) continue;
        low = rank;
        at = i;
        *ret = result;
    }
    return at;
}
_Static_assert(TOKENIZER_NO_ID == PAIRS_NONE, "no token, no rank");

static int piece_ref(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                     struct err *err) {
    uint32_t whole = t->ignore_merges ? finder_get(&t->finder, t, piece, n) : TOKENIZER_NO_ID;
    if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
    size_t first = out->n;
    for (size_t i = 0; i < n; i++) {
        if (t->byte_id[piece[i]] == TOKENIZER_NO_ID)
            return err_set(err, ERR_DATA, "byte 0x%02X has no token", piece[i]);
        int rc = u32s_push(out, t->byte_id[piece[i]], err);
        if (rc < 0) return rc;
    }
    uint32_t *sym = out->v + first, result = 0;
    size_t at;
    while ((at = lowest(t, sym, n, piece, &result)) < n) {
        sym[at] = result;
        n--;
        memmove(sym + at + 1, sym + at + 2, (n - at - 1) * sizeof *sym);
    }
    out->n = first + n;
    return 0;
}

int encode_ref(const struct tokenizer *t, const char *text, size_t n, struct u32s *out,
               struct err *err) {
    struct scanner *s;
    struct u32s ends = {0};
    struct buf prefixed = {0}, formed = {0};
    int rc = scanner_new(&s, t->pattern, err);
    if (rc < 0) return rc;
    if (t->nfc) {
        rc = nfc_write(t->nfc, text, n, &formed, NULL, err);
        text = formed.v;
        n = formed.n;
    }
    if (rc >= 0 && t->prefix_space && n && text[0] != ' ') {
        rc = buf_char(&prefixed, ' ', err);
        if (rc >= 0) rc = buf_append(&prefixed, text, n, err);
        text = prefixed.v;
        n++;
    }
    if (rc >= 0) rc = scanner_cut(s, text, n, &ends, err);
    for (size_t i = 0, from = 0; rc >= 0 && i < ends.n; from = ends.v[i++])
        rc = piece_ref(t, (const uint8_t *)text + from, ends.v[i] - from, out, err);
    u32s_release(&ends);
    buf_release(&prefixed);
    buf_release(&formed);
    scanner_free(s);
    return rc;
}
