/* Making the tree of tokens: see trie.h. */
#include "tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/pages.h"
#include "tokenizer/splits.h"
#include "tokenizer/vocab.h"

enum {
    NO_LABEL = 256,
    BASES = 1 << 24,
    WORD = 64,
    BACK = 2,
    WORDS_LEAST = 16,
    NODES = 2, /* that a token has, about; where they are more, the tree grows */
};

/* A token, or the beginning of one that is longer: its first eight bytes and the next eight as
 * numbers, the first byte on top, zeros behind the last. */
struct leaf {
    uint64_t head, tail;
    uint32_t id;
    uint32_t order : 24, len : 8; /* len 255: or more */
};

/* A node that is not finished: the one of `depth` bytes on the way to the last leaf. */
struct open {
    uint32_t order, longest; /* longest: of the tokens that begin so, at TRIE_DEPTH            */
    uint32_t last;           /* the longest token on the way to here, with it, or a byte's id  */
    uint32_t bits, n;        /* of its children: see trie.h; how many                          */
    uint8_t label[256];
    uint64_t child[256];
};

struct build {
    const struct tokenizer *t;
    struct trie *trie;
    struct leaf *leaf;
    size_t n;
    uint64_t *slot;
    uint64_t *taken, *based;          /* bits: a node is there; a node has this base */
    size_t words;                     /* of 64 slots                                 */
    size_t from[WORD];                /* by the number of children: where to look    */
    struct open open[TRIE_DEPTH + 1]; /* by depth */
};

static uint64_t slot_of(uint32_t order, uint32_t base, uint32_t children) {
    return (uint64_t)base << 40 | (uint64_t)order << 17 | (uint64_t)children << 9;
}
static uint32_t depth_of(const struct leaf *x) {
    return x->len < TRIE_DEPTH ? x->len : TRIE_DEPTH;
}
static uint32_t length_of(const struct tokenizer *t, const struct leaf *x) {
    const uint64_t n = vocab_length(t, x->id);
    return n < BASES ? (uint32_t)n : BASES - 1;
}

static inline uint8_t byte_of(const struct leaf *x, unsigned at) {
    return (uint8_t)((at < 8 ? x->head : x->tail) >> (56 - 8 * (at & 7)));
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

/* The order of token `id`, or TRIE_NONE if merging does not make it. It has a split then, of which
 * something may be unsure: with ranks of tokens only whether ranks fall. */
static uint32_t order_of(const struct tokenizer *t, const struct split *of, uint32_t id,
                         const uint8_t *p, size_t len) {
    if (len > TRIE_DEPTH) return id + 1;
    if (of[id].since < SPLITS_UNSURE) return of[id].since;
    if (of[id].since == SPLITS_NEVER) return TRIE_NONE;
    uint32_t rank = t->by_rank ? id : rank_alone(t, p, len);
    return rank == PAIRS_NONE ? TRIE_NONE : rank + 1;
}

/* The first n of eight bytes, the first one on top. */
static uint64_t first_bytes(uint64_t bytes, size_t n) {
    const uint64_t x = __builtin_bswap64(bytes);
    return (ptrdiff_t)n <= 0 ? 0 : n < 8 ? x & ~(~0ull >> 8 * n) : x;
}

static void add_leaf(struct build *b, const struct split *of, uint32_t id) {
    size_t len;
    const uint8_t *p = vocab_token(b->t, id, &len);
    if (len < 2) return;
    const uint32_t order = order_of(b->t, of, id, p, len);
    if (order == TRIE_NONE) return;
    uint64_t part[2] = {0};
    if (b->t->start[id] + TRIE_DEPTH <= b->t->start[b->t->n]) /* of a known size: two loads */
        memcpy(part, p, TRIE_DEPTH);
    else
        memcpy(part, p, len < TRIE_DEPTH ? len : TRIE_DEPTH);
    b->leaf[b->n++] = (struct leaf){first_bytes(part[0], len), first_bytes(part[1], len - 8), id,
                                    order, len < 255 ? len : 255};
}

/* All tokens that merging makes. */
static int add_leaves(struct build *b, struct err *err) {
    const struct tokenizer *t = b->t;
    struct split *found = t->split ? NULL : mem_array((size_t)t->n + 1, sizeof *found);
    const struct split *of = t->split ? t->split : found;
    int rc = of ? 0 : err_nomem(err, t->n * sizeof *of);
    b->leaf = pages_room((size_t)t->n + 1, sizeof *b->leaf);
    if (!b->leaf) rc = err_nomem(err, t->n * sizeof *b->leaf);
    if (rc == 0 && found) rc = splits_find(t, found, err);
    for (uint32_t id = 0; id < t->n && rc == 0; id++)
        if (t->kind[id] & TOKEN_MODEL) add_leaf(b, of, id);
    free(found);
    return rc;
}

/* By all bytes; what ends comes before what goes on. */
static inline bool comes_before(const struct leaf *x, const struct leaf *y) {
    if (x->head != y->head) return x->head < y->head;
    if (x->tail != y->tail) return x->tail < y->tail;
    return x->len < y->len;
}

static void swap(struct leaf *x, struct leaf *y) {
    const struct leaf z = *x;
    *x = *y;
    *y = z;
}

/* Sorts some leaves, by parts below and above the middle one of three. */
static void sort_some(struct leaf *v, size_t n) {
    enum { FEW = 12 };
    while (n > FEW) {
        struct leaf *mid = &v[n / 2], *last = &v[n - 1];
        if (comes_before(mid, v)) swap(mid, v);
        if (comes_before(last, mid)) swap(last, mid);
        if (comes_before(mid, v)) swap(mid, v);
        const struct leaf pivot = *mid;
        size_t i = 0, k = n - 1;
        for (;; i++, k--) {
            while (comes_before(&v[i], &pivot)) i++;
            while (comes_before(&pivot, &v[k])) k--;
            if (i >= k) break;
            swap(&v[i], &v[k]);
        }
        sort_some(v + i, n - i);
        n = i;
    }
    for (size_t i = 1; i < n; i++) {
        const struct leaf x = v[i];
        size_t k = i;
        for (; k && comes_before(&x, &v[k - 1]); k--) v[k] = v[k - 1];
        v[k] = x;
    }
}

/* Sorts v[0..n), which share `depth` bytes, by way of room[0..n): many by the next byte, and then
 * what shares that. */
static void sort_from(struct leaf *v, size_t n, unsigned depth, struct leaf *room) {
    enum { MANY = 256 };
    size_t end[256] = {0}, all = 0;
    if (n <= MANY || depth == TRIE_DEPTH) {
        sort_some(v, n);
        return;
    }
    for (size_t i = 0; i < n; i++) end[byte_of(&v[i], depth)]++;
    for (int c = 0; c < 256; c++) { /* where they begin */
        const size_t some = end[c];
        end[c] = all;
        all += some;
    }
    for (size_t i = 0; i < n; i++) room[end[byte_of(&v[i], depth)]++] = v[i];
    memcpy(v, room, n * sizeof *v);
    for (size_t c = 0, from = 0; c < 256; from = end[c++])
        if (end[c] - from > 1) sort_from(v + from, end[c] - from, depth + 1, room);
}

static int sort(struct build *b, struct err *err) {
    struct leaf *room = pages_room(b->n + 1, sizeof *room);
    if (!room) return err_nomem(err, b->n * sizeof *room);
    sort_from(b->leaf, b->n, 0, room);
    free(room);
    return 0;
}

/* ------------------------------------------------------------------ double array */

/* How many bytes two leaves begin with alike. */
static uint32_t alike(const struct leaf *x, const struct leaf *y) {
    const uint64_t head = x->head ^ y->head, tail = x->tail ^ y->tail;
    const uint32_t same = head   ? (uint32_t)__builtin_clzll(head) / 8
                          : tail ? 8 + (uint32_t)__builtin_clzll(tail) / 8
                                 : TRIE_DEPTH;
    const uint32_t most = depth_of(x) < depth_of(y) ? depth_of(x) : depth_of(y);
    return same < most ? same : most;
}

/* So many words, of which the first have been there. */
static int set_words(struct build *b, size_t words, struct err *err) {
    uint64_t *slot = pages_room(words * WORD, sizeof *slot);
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

/* All below this node is there: places its children, and itself, without a label, to *ret. */
static int close_node(struct build *b, const struct open *o, uint64_t *ret, struct err *err) {
    uint32_t base = 0;
    int rc = o->n ? take_base(b, o->label, o->n, &base, err) : 0;
    if (rc < 0) return rc;
    for (size_t i = 0; i < o->n; i++) b->slot[base + o->label[i]] = o->child[i] | o->label[i];
    *ret = o->longest ? slot_of(o->order, o->longest, o->longest > TRIE_DEPTH ? 255 : 0)
                      : slot_of(o->order, base, o->bits);
    return 0;
}

/* Closes the nodes on the way to leaf x that are deeper than `to`, the deepest first. */
static int close_to(struct build *b, const struct leaf *x, uint32_t to, struct err *err) {
    int rc = 0;
    for (uint32_t depth = depth_of(x); depth > to && rc == 0; depth--) {
        struct open *above = &b->open[depth - 1];
        const uint8_t label = byte_of(x, depth - 1);
        rc = close_node(b, above + 1, &above->child[above->n], err);
        above->label[above->n++] = label;
        above->bits |= 1u << (label & 7);
    }
    return rc;
}

/* Opens those on the way to leaf x that are deeper than `from`, and enters it into the last. */
static void open_to(struct build *b, const struct leaf *x, uint32_t from) {
    const uint32_t to = depth_of(x);
    for (uint32_t depth = from + 1; depth <= to; depth++) {
        struct open *o = &b->open[depth];
        o->order = TRIE_NONE;
        o->longest = o->bits = o->n = 0;
        o->last = depth > 1 ? o[-1].last : b->t->byte_id[x->head >> 56];
    }
    struct open *o = &b->open[to];
    const uint32_t len = to == TRIE_DEPTH ? length_of(b->t, x) : to;
    b->trie->shorter[x->id] = o->last;
    if (to == TRIE_DEPTH && len > o->longest) o->longest = len;
    if (len > TRIE_DEPTH) return;
    o->order = x->order; /* ids may share their bytes */
    o->last = x->id;
}

/* All nodes, and that of no bytes to *ret: leaf by leaf, along the way that it shares with the one
 * before, from where they part. */
static int make_nodes(struct build *b, uint64_t *ret, struct err *err) {
    const struct leaf *last = NULL;
    int rc = 0;
    b->open[0].order = TRIE_NONE;
    for (const struct leaf *x = b->leaf; x < b->leaf + b->n && rc == 0; last = x++) {
        const uint32_t from = last ? alike(last, x) : 0;
        if (last) rc = close_to(b, last, from, err);
        if (rc == 0) open_to(b, x, from);
    }
    if (rc == 0 && last) rc = close_to(b, last, 0, err);
    return rc == 0 ? close_node(b, &b->open[0], ret, err) : rc;
}

static uint64_t child_of(const struct build *b, uint64_t node, uint8_t byte) {
    uint64_t none = slot_of(TRIE_NONE, 0, 0);
    if (!trie_children(node)) return none;
    uint64_t child = b->slot[trie_base(node) + byte];
    return trie_label(child) == byte ? child : none;
}

static int finish(struct build *b, uint64_t root, struct err *err) {
    struct trie *trie = b->trie;
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
    struct build b = {.t = t, .trie = trie};
    uint64_t root;
    if (t->n_merges >= TRIE_NONE - 1 || t->n >= TRIE_NONE - 1) return 0;
    trie->shorter = mem_array(t->n, sizeof *trie->shorter);
    int rc = trie->shorter ? add_leaves(&b, err) : err_nomem(err, t->n * sizeof *trie->shorter);
    if (rc == 0) rc = sort(&b, err);
    if (rc == 0) rc = set_words(&b, WORDS_LEAST + b.n * NODES / WORD * 9 / 8, err);
    if (rc == 0) rc = make_nodes(&b, &root, err);
    if (rc == 0) rc = finish(&b, root, err);
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
    free(trie->shorter);
    free(trie);
}
