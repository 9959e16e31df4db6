/* Merging the bytes of one piece, always the pair of the lowest rank, the leftmost of equals.
 *
 * Short pieces (nearly all): symbols and the ranks between neighbours in two small arrays; find the
 * minimum, merge, close the gap. The square of the length, but of a length below 64.
 *
 *   sym    h   e   l   l   o          rank[i] is the rank of (sym[i], sym[i+1])
 *   rank     3   7   2   9   -        2 is lowest: "ll" ─▶ sym h e ll o, two ranks looked up anew
 *
 * Long pieces: the symbols in a doubly linked list over the byte positions, all pairs in a heap
 * keyed by rank << 32 | position; entries whose pair has changed since are recognised by
 * rank[position] and dropped. n log n: a million times one character takes a fraction of a
 * second. */
#include "tokenizer/bpe.h"

enum { SHORT = 64, SCRATCH_KEEP = 1 << 20 /* elements */ };
#define NONE UINT32_MAX /* no pair here, no neighbour */

static int no_token(uint8_t byte, size_t at, struct err *err) {
    return err_set(err, ERR_DATA,
                   "byte 0x%02X at offset %zu of a piece has no token in this vocabulary", byte,
                   at);
}

/* ------------------------------------------------------------------ short */

static inline uint32_t pair_rank(const struct tokenizer *t, uint32_t left, uint32_t right,
                                 uint32_t *result) {
    const struct pair_slot *s = pairs_get(&t->pairs, left, right);
    *result = s ? s->result : NONE;
    return s ? s->rank : NONE;
}

static int merge_short(const struct tokenizer *t, const uint8_t *piece, size_t n, struct u32s *out,
                       struct err *err) {
    uint32_t sym[SHORT], rank[SHORT], result[SHORT];
    for (size_t i = 0; i < n; i++) {
        sym[i] = t->byte_id[piece[i]];
        if (sym[i] == TOKENIZER_NO_ID) return no_token(piece[i], i, err);
    }
    for (size_t i = 0; i + 1 < n; i++) rank[i] = pair_rank(t, sym[i], sym[i + 1], &result[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NONE) break;
        sym[best] = result[best];
        n--;
        for (size_t i = best + 1; i < n; i++) sym[i] = sym[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) rank[i] = rank[i + 1], result[i] = result[i + 1];
        if (best + 1 < n) rank[best] = pair_rank(t, sym[best], sym[best + 1], &result[best]);
        if (best > 0) rank[best - 1] = pair_rank(t, sym[best - 1], sym[best], &result[best - 1]);
    }
    return u32s_append(out, sym, n, err);
}

/* ------------------------------------------------------------------ long */

static void sift_down(uint64_t *heap, size_t n, size_t at) {
    uint64_t x = heap[at];
    for (;;) {
        size_t child = 4 * at + 1, best = child;
        if (child >= n) break;
        for (size_t c = child + 1; c < child + 4 && c < n; c++)
            if (heap[c] < heap[best]) best = c;
        if (heap[best] >= x) break;
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = x;
}

static int heap_push(struct u64s *h, uint64_t x, struct err *err) {
    int rc = u64s_push(h, x, err);
    if (rc < 0) return rc;
    size_t at = h->n - 1;
    while (at > 0 && h->v[(at - 1) / 4] > x) {
        h->v[at] = h->v[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    h->v[at] = x;
    return 0;
}

static uint64_t heap_pop(struct u64s *h) {
    uint64_t top = h->v[0];
    h->v[0] = h->v[--h->n];
    if (h->n) sift_down(h->v, h->n, 0);
    return top;
}

/* Looks up the pair that begins at `at` and enters it. */
static int enter(const struct tokenizer *t, struct bpe_scratch *s, size_t at, struct err *err) {
    uint32_t right = s->next.v[at];
    const struct pair_slot *p =
        right == NONE ? NULL : pairs_get(&t->pairs, s->sym.v[at], s->sym.v[right]);
    s->rank.v[at] = p ? p->rank : NONE;
    return p ? heap_push(&s->heap, (uint64_t)p->rank << 32 | at, err) : 0;
}

static int list_bytes(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct err *err) {
    struct u32s *all[] = {&s->sym, &s->rank, &s->next, &s->prev};
    for (int i = 0; i < 4; i++) {
        all[i]->n = 0;
        int rc = u32s_reserve(all[i], n, err);
        if (rc < 0) return rc;
        all[i]->n = n;
    }
    s->heap.n = 0;
    for (size_t i = 0; i < n; i++) {
        s->sym.v[i] = t->byte_id[piece[i]];
        if (s->sym.v[i] == TOKENIZER_NO_ID) return no_token(piece[i], i, err);
        s->next.v[i] = i + 1 < n ? (uint32_t)i + 1 : NONE;
        s->prev.v[i] = i ? (uint32_t)i - 1 : NONE;
    }
    for (size_t i = 0; i + 1 < n; i++) { /* all at once, then one heap: linear */
        const struct pair_slot *p = pairs_get(&t->pairs, s->sym.v[i], s->sym.v[i + 1]);
        s->rank.v[i] = p ? p->rank : NONE;
        int rc = p ? u64s_push(&s->heap, (uint64_t)p->rank << 32 | i, err) : 0;
        if (rc < 0) return rc;
    }
    s->rank.v[n - 1] = NONE;
    for (size_t i = s->heap.n / 4 + 1; i-- > 0;)
        if (i < s->heap.n) sift_down(s->heap.v, s->heap.n, i);
    return 0;
}

static int merge_long(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece,
                      size_t n, struct u32s *out, struct err *err) {
    int rc = list_bytes(t, s, piece, n, err);
    while (rc >= 0 && s->heap.n) {
        uint64_t top = heap_pop(&s->heap);
        uint32_t at = (uint32_t)top;
        if (s->rank.v[at] != top >> 32) continue; /* that pair is gone */
        uint32_t right = s->next.v[at], after = s->next.v[right], before = s->prev.v[at];
        s->sym.v[at] = pairs_get(&t->pairs, s->sym.v[at], s->sym.v[right])->result;
        s->rank.v[right] = NONE;
        s->next.v[at] = after;
        if (after != NONE) s->prev.v[after] = at;
        rc = enter(t, s, at, err);
        if (rc >= 0 && before != NONE) rc = enter(t, s, before, err);
    }
    for (uint32_t at = 0; rc >= 0 && at != NONE; at = s->next.v[at])
        rc = u32s_push(out, s->sym.v[at], err);
    if (s->sym.cap > SCRATCH_KEEP) bpe_scratch_release(s);
    return rc;
}

int bpe_merge(const struct tokenizer *t, struct bpe_scratch *s, const uint8_t *piece, size_t n,
              struct u32s *out, struct err *err) {
    if (n == 0) return 0;
    return n <= SHORT ? merge_short(t, piece, n, out, err) : merge_long(t, s, piece, n, out, err);
}

void bpe_scratch_release(struct bpe_scratch *s) {
    u32s_release(&s->sym);
    u32s_release(&s->rank);
    u32s_release(&s->next);
    u32s_release(&s->prev);
    u64s_release(&s->heap);
}
