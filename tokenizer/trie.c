/* Making the tree of tokens: see trie.h. */
#include "tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/pages.h"
#include "tokenizer/splits.h"
#include "tokenizer/vocab.h"

enum { NO_LABEL = 256, BASES = 1 << 24, WORD = 64, BACK = 2, WORDS_LEAST = 16 };

/* A token, or the beginning of one that is longer: its first eight bytes and the next eight as
 * numbers, the first byte on top, zeros behind the last. */
struct leaf {
    uint64_t head, tail;
    uint32_t len, order;
};

struct build {
    struct leaf *leaf;
    size_t n;
    uint64_t *slot;
    uint64_t *taken, *based; /* bits: a node is there; a node has this base */
    size_t words;            /* of 64 slots                                 */
    size_t from[WORD];       /* by the number of children: where to look    */
};

static uint64_t slot_of(uint32_t order, uint32_t base, uint32_t children) {
    return (uint64_t)base << 40 | (uint64_t)order << 17 | (uint64_t)children << 9;
}
static uint8_t byte_of(const struct leaf *x, uint32_t depth) {
    return (uint8_t)((depth < 8 ? x->head : x->tail) >> (56 - 8 * (depth & 7)));
}
static uint32_t depth_of(const struct leaf *x) {
    return x->len < TRIE_DEPTH ? x->len : TRIE_DEPTH;
}

/* ------------------------------------------------------------------ which tokens */

/* The rank of the last merge of p[0..n), n <= TRIE_DEPTH, if it becomes one token; else
 * PAIRS_NONE. */
static uint32_t rank_alone(const struct tokenizer *t, const uint8_t *p, size_t n) {
    uint32_t sym[TRIE_DEPTH], rank[TRIE_DEPTH], last = PAIRS_NONE;
    for (size_t i = 0; i < n; i++) {
        sym[i] = t->byte_id[p[i]];
        if (sym[i] == TOKENIZER_NO_ID) return PAIRS_NONE;
        if (i) rank[i - 1] = t->byte_ranks[p[i - 1] << 8 | p[i]];
    }
    while (n > 1) {
        size_t at = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[at]) at = i;
        last = rank[at];
        if (last == PAIRS_NONE) break;
        sym[at] = vocab_merged(t, last);
        n--;
        for (size_t i = at + 1; i < n; i++) sym[i] = sym[i + 1];
        for (size_t i = at; i + 1 < n; i++) rank[i] = rank[i + 1];
        if (at) rank[at - 1] = pairs_get(&t->pairs, sym[at - 1], sym[at]);
        if (at + 1 < n) rank[at] = pairs_get(&t->pairs, sym[at], sym[at + 1]);
    }
    return last;
}

/* The order of token `id`, or TRIE_NONE if merging does not make it. With ranks of tokens it does,
 * wherever two symbols have its bytes; else it has a split, of which something may be unsure. */
static uint32_t order_of(const struct tokenizer *t, const struct split *of, uint32_t id,
                         const uint8_t *p, size_t len) {
    if (t->by_rank || len > TRIE_DEPTH) return id + 1;
    if (of[id].since < SPLITS_UNSURE) return of[id].since;
    uint32_t rank = of[id].since == SPLITS_NEVER ? PAIRS_NONE : rank_alone(t, p, len);
    return rank == PAIRS_NONE ? TRIE_NONE : rank + 1;
}

static void add_leaf(struct build *b, const struct tokenizer *t, const struct split *of,
                     uint32_t id) {
    size_t len;
    const uint8_t *p = vocab_token(t, id, &len);
    if (len < 2) return;
    const uint32_t order = order_of(t, of, id, p, len);
    if (order == TRIE_NONE) return;
    uint64_t part[2] = {0};
    memcpy(part, p, len < TRIE_DEPTH ? len : TRIE_DEPTH);
    b->leaf[b->n++] = (struct leaf){__builtin_bswap64(part[0]), __builtin_bswap64(part[1]),
                                    len < BASES ? (uint32_t)len : BASES - 1, order};
}

/* All tokens that merging makes. */
static int add_leaves(struct build *b, const struct tokenizer *t, struct err *err) {
    struct split *of = t->by_rank ? NULL : mem_array((size_t)t->n + 1, sizeof *of);
    int rc = of || t->by_rank ? 0 : err_nomem(err, t->n * sizeof *of);
    b->leaf = mem_array((size_t)t->n + 1, sizeof *b->leaf);
    if (!b->leaf) rc = err_nomem(err, t->n * sizeof *b->leaf);
    if (rc == 0 && of) rc = splits_find(t, of, err);
    for (uint32_t id = 0; id < t->n && rc == 0; id++)
        if (t->kind[id] & TOKEN_MODEL) add_leaf(b, t, of, id);
    free(of);
    return rc;
}

/* By all bytes; what ends comes before what goes on. */
static int compare(const void *a, const void *b) {
    const struct leaf *x = a, *y = b;
    if (x->head != y->head) return x->head < y->head ? -1 : 1;
    if (x->tail != y->tail) return x->tail < y->tail ? -1 : 1;
    return (x->len > y->len) - (x->len < y->len);
}

/* Sorts v[0..n) by the heads, a byte at a time from the last one on, by way of room[0..n): there
 * and back four times. */
static void sort_heads(struct leaf *v, size_t n, struct leaf *room) {
    enum { DIGITS = sizeof v->head };
    uint32_t at[DIGITS][257] = {{0}};
    for (size_t i = 0; i < n; i++)
        for (int d = 0; d < DIGITS; d++) at[d][(v[i].head >> 8 * d & 255) + 1]++;
    for (int d = 0; d < DIGITS; d++) {
        for (int i = 0; i < 256; i++) at[d][i + 1] += at[d][i];
        for (size_t i = 0; i < n; i++) room[at[d][v[i].head >> 8 * d & 255]++] = v[i];
        struct leaf *other = v;
        v = room;
        room = other;
    }
}

/* Sorts the leaves. */
static int sort(struct build *b, struct err *err) {
    const size_t n = b->n;
    struct leaf *room = mem_array(n + 1, sizeof *room), *v = b->leaf;
    if (!room) return err_nomem(err, n * sizeof *room);
    sort_heads(v, n, room);
    free(room);
    for (size_t from = 0, i = 1; i <= n; i++) {
        if (i < n && v[i].head == v[from].head) continue;
        if (i - from > 1) qsort(v + from, i - from, sizeof *v, compare);
        from = i;
    }
    return 0;
}

/* ------------------------------------------------------------------ double array */

/* How many bytes two leaves begin with alike. */
static uint32_t alike(const struct leaf *x, const struct leaf *y) {
    uint64_t head = x->head ^ y->head, tail = x->tail ^ y->tail;
    uint32_t same = head   ? (uint32_t)__builtin_clzll(head) / 8
                    : tail ? 8 + (uint32_t)__builtin_clzll(tail) / 8
                           : TRIE_DEPTH;
    uint32_t most = depth_of(x) < depth_of(y) ? depth_of(x) : depth_of(y);
    return same < most ? same : most;
}

static size_t count_nodes(const struct leaf *v, size_t n) {
    size_t nodes = 0;
    for (size_t i = 0; i < n; i++) nodes += depth_of(&v[i]) - (i ? alike(&v[i - 1], &v[i]) : 0);
    return nodes;
}

/* So many words, of which the first have been there. */
static int set_words(struct build *b, size_t words, struct err *err) {
    uint64_t *slot = pages_array(words * WORD, sizeof *slot);
    if (slot && b->words) memcpy(slot, b->slot, b->words * WORD * sizeof *slot);
    if (slot) {
        free(b->slot);
        b->slot = slot;
    }
    uint64_t *taken = slot ? mem_resize(b->taken, words, sizeof *taken) : NULL;
    if (taken) b->taken = taken;
    uint64_t *based = taken ? mem_resize(b->based, words, sizeof *based) : NULL;
    if (!based) return err_nomem(err, words * WORD * sizeof *slot);
    b->based = based;
    for (size_t i = b->words * WORD; i < words * WORD; i++)
        slot[i] = slot_of(TRIE_NONE, 0, 0) | NO_LABEL;
    memset(taken + b->words, 0, (words - b->words) * sizeof *taken);
    memset(based + b->words, 0, (words - b->words) * sizeof *based);
    if (!b->words) based[0] = 1; /* what a node without children has */
    b->words = words;
    return 0;
}

/* Bits at, at + 1 … at + 63. */
static uint64_t bits_at(const uint64_t *v, size_t at) {
    size_t word = at / WORD, shift = at % WORD;
    return shift ? v[word] >> shift | v[word + 1] << (WORD - shift) : v[word];
}

/* Takes a base at which `n` children find room: of 64 bases at a time those at which a child finds
 * none are crossed out. */
static int take_base(struct build *b, const uint8_t *label, size_t n, uint32_t *ret,
                     struct err *err) {
    enum { REACH = 256 / WORD + 2 };
    size_t *from = &b->from[n < WORD ? n : WORD - 1], word = *from;
    uint64_t bad = ~0ull;
    for (;; word++) {
        int rc = word + REACH > b->words ? set_words(b, 2 * b->words, err) : 0;
        if (rc < 0) return rc;
        bad = b->based[word];
        for (size_t i = 0; i < n && ~bad; i++) bad |= bits_at(b->taken, word * WORD + label[i]);
        if (~bad) break;
    }
    if (word > *from + BACK) *from = word - BACK;
    uint32_t base = (uint32_t)(word * WORD) + (uint32_t)__builtin_ctzll(~bad);
    b->based[word] |= 1ull << base % WORD;
    for (size_t i = 0; i < n; i++)
        b->taken[(base + label[i]) / WORD] |= 1ull << (base + label[i]) % WORD;
    *ret = base;
    return 0;
}

/* The node of v[0..n), which share TRIE_DEPTH bytes. */
static uint64_t deepest(const struct leaf *v, size_t n) {
    uint32_t order = TRIE_NONE, longest = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].len == TRIE_DEPTH) order = v[i].order;
        if (v[i].len > longest) longest = v[i].len;
    }
    return slot_of(order, longest, longest > TRIE_DEPTH ? 255 : 0);
}

/* The same of a leaf that shares `depth` bytes with no other: one child each, from the end on. */
static int lonely(struct build *b, const struct leaf *x, uint32_t depth, uint64_t *ret,
                  struct err *err) {
    uint32_t to = depth_of(x), base;
    int rc = 0;
    *ret = to == TRIE_DEPTH ? deepest(x, 1) : slot_of(x->order, 0, 0);
    for (; to > depth && rc == 0; to--) {
        const uint8_t label = byte_of(x, to - 1);
        rc = take_base(b, &label, 1, &base, err);
        if (rc < 0) return rc;
        b->slot[base + label] = *ret | label;
        *ret = slot_of(TRIE_NONE, base, 1u << (label & 7));
    }
    return rc;
}

/* The node of v[0..n), sorted, which share `depth` bytes, without its label, to *ret. */
static int node(struct build *b, struct leaf *v, size_t n, uint32_t depth, uint64_t *ret,
                struct err *err) {
    uint8_t label[256] = {0};
    uint32_t order = TRIE_NONE, children = 0, base;
    size_t first[257], k = 0, i = 0;
    if (n == 1) return lonely(b, v, depth, ret, err);
    if (depth == TRIE_DEPTH) {
        *ret = deepest(v, n);
        return 0;
    }
    for (; i < n && v[i].len == depth; i++) order = v[i].order; /* ids may share their bytes */
    *ret = slot_of(order, 0, 0);
    if (i == n) return 0;
    for (; i < n; i++) {
        uint8_t byte = byte_of(&v[i], depth);
        if (k && label[k - 1] == byte) continue;
        children |= 1u << (byte & 7);
        first[k] = i;
        label[k++] = byte;
    }
    first[k] = n;
    int rc = take_base(b, label, k, &base, err);
    for (i = 0; i < k && rc == 0; i++) {
        uint64_t child;
        rc = node(b, v + first[i], first[i + 1] - first[i], depth + 1, &child, err);
        if (rc == 0) b->slot[base + label[i]] = child | label[i];
    }
    *ret = slot_of(order, base, children);
    return rc;
}

static uint64_t child_of(const struct build *b, uint64_t node, uint8_t byte) {
    uint64_t none = slot_of(TRIE_NONE, 0, 0);
    if (!trie_children(node)) return none;
    uint64_t child = b->slot[trie_base(node) + byte];
    return trie_label(child) == byte ? child : none;
}

static int finish(struct trie *trie, struct build *b, uint64_t root, struct err *err) {
    if (b->words * WORD > BASES) return 0;
    trie->two = pages_array(1 << 16, sizeof *trie->two);
    if (!trie->two) return err_nomem(err, sizeof *trie->two << 16);
    for (uint32_t first = 0; first < 256; first++) {
        const uint64_t child = child_of(b, root, (uint8_t)first);
        for (uint32_t next = 0; next < 256; next++)
            trie->two[first << 8 | next] = child_of(b, child, (uint8_t)next);
    }
    trie->slot = b->slot;
    b->slot = NULL;
    return 0;
}

static int fill(struct trie *trie, const struct tokenizer *t, struct err *err) {
    struct build b = {0};
    uint64_t root;
    if (t->n_merges >= TRIE_NONE - 1 || t->n >= TRIE_NONE - 1) return 0;
    int rc = add_leaves(&b, t, err);
    if (rc == 0) rc = sort(&b, err);
    if (rc == 0) rc = set_words(&b, WORDS_LEAST + count_nodes(b.leaf, b.n) / WORD * 9 / 8, err);
    if (rc == 0) rc = b.n ? node(&b, b.leaf, b.n, 0, &root, err) : 0;
    if (rc == 0) rc = finish(trie, &b, b.n ? root : slot_of(TRIE_NONE, 0, 0), err);
    free(b.leaf);
    free(b.slot);
    free(b.taken);
    free(b.based);
    return rc;
}

int trie_new(struct trie **ret, const struct tokenizer *t, struct err *err) {
    struct trie *trie = calloc(1, sizeof *trie);
    if (!trie) return err_nomem(err, sizeof *trie);
    int rc = fill(trie, t, err);
    if (rc < 0) {
        trie_free(trie);
        return rc;
    }
    *ret = trie;
    return 0;
}

void trie_free(struct trie *trie) {
    if (!trie) return;
    free(trie->slot);
    free(trie->two);
    free(trie);
}
