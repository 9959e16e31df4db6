/* The slow twin of encode.c and bpe.c: what encoding means, in as few lines as it takes. */
#include <stdlib.h>
#include "tokenizer/bpe.h"

/* A part of a piece: where its bytes begin, its token, the rank of it and the next one, and what
 * they merge to. */
struct part {
    const uint8_t *at;
    uint32_t id, rank, result;
};
_Static_assert(TOKENIZER_NO_ID == PAIRS_NONE, "no token, no rank");

/* The rank of p[0] and p[1], or PAIRS_NONE. With ranks of tokens any two merge whose bytes are a
 * token. */
static void look(const struct tokenizer *t, struct part *p) {
    size_t left, right;
    vocab_token(t, p[0].id, &left);
    vocab_token(t, p[1].id, &right);
    p->rank = t->by_rank ? finder_get(&t->finder, t, p->at, left + right)
                         : pairs_get(&t->pairs, p[0].id, p[1].id);
    if (p->rank != PAIRS_NONE) p->result = t->by_rank ? p->rank : vocab_merged(t, p->rank);
}

/* The pair of the lowest rank, the leftmost of equals; n if none merges. */
static size_t lowest(const struct part *p, size_t n) {
    uint32_t low = PAIRS_NONE;
    size_t at = n;
    for (size_t i = 0; i + 1 < n; i++)
        if (p[i].rank < low) low = p[i].rank, at = i;
    return at;
}

/* Merges as long as a pair has a rank; how many parts are left. */
static size_t merge_ref(const struct tokenizer *t, struct part *p, size_t n) {
    size_t at;
    for (size_t i = 0; i + 1 < n; i++) look(t, p + i);
    while ((at = lowest(p, n)) < n) {
        p[at].id = p[at].result;
        n--;
        memmove(p + at + 1, p + at + 2, (n - at - 1) * sizeof *p);
        if (at > 0) look(t, p + at - 1);
        if (at + 1 < n) look(t, p + at);
    }
    return n;
}

static int piece_ref(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                     struct err *err) {
    uint32_t whole = t->ignore_merges ? finder_get(&t->finder, t, piece, n) : TOKENIZER_NO_ID;
    if (whole != TOKENIZER_NO_ID) return u32s_push(out, whole, err);
    struct part *p = malloc((n + 1) * sizeof *p);
    if (!p) return err_nomem(err, (n + 1) * sizeof *p);
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        p[i] = (struct part){.at = piece + i, .id = t->byte_id[piece[i]]};
        if (p[i].id == TOKENIZER_NO_ID)
            rc = err_set(err, ERR_DATA, "byte 0x%02X has no token", piece[i]);
    }
    if (rc >= 0) n = merge_ref(t, p, n);
    for (size_t i = 0; rc >= 0 && i < n; i++) rc = u32s_push(out, p[i].id, err);
    free(p);
    return rc;
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
