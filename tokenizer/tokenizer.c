/* Making a tokenizer in memory and asking it; files are read_*.c and write.c, text is encode.c. */
#include "tokenizer/tokenizer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/pages.h"
#include "tokenizer/splits.h"
#include "tokenizer/vocab.h"

enum { AHEAD = 12 }; /* how far ahead a slot is asked for */

/* Threads may make it at the same time; the first is kept. */
struct lazy {
    _Atomic(struct trie *) trie;
    _Atomic(struct longest *) longest;
};

struct tokenizer *vocab_new(void) {
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t) t->lazy = calloc(1, sizeof *t->lazy);
    if (!t || !t->lazy) {
        free(t);
        return NULL;
    }
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    t->config.said.model_max_length = UINT64_MAX;
    return t;
}

static void free_specials(struct special *v, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) free((char *)v[i].text);
    free(v);
}

void tokenizer_free(struct tokenizer *t) {
    if (!t) return;
    free(t->bytes);
    free(t->start);
    free(t->kind);
    finder_release(&t->finder);
    free(t->merges);
    pairs_release(&t->pairs);
    free(t->byte_ranks);
    seams_release(&t->seams);
    longest_free(atomic_load(&t->lazy->longest));
    trie_free(atomic_load(&t->lazy->trie));
    free(t->lazy);
    free_specials(t->specials, t->n_specials);
    for (int i = 0; i < 2; i++) special_tree_release(&t->tree[i]);
    pattern_free(t->pattern);
    free(t->unk);
    free(t->pre);
    free(t->decoder);
    free(t->post);
    free(t->truncation);
    free(t->padding);
    free(t->normalizer);
    free(t->folder);
    nfc_free(t->nfc);
    config_release(&t->config);
    free(t);
}

/* ------------------------------------------------------------------ bytes -> id */

static inline uint64_t load8(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* p[0..n), n <= 8, filled up with zeros: of two loads that may overlap. */
static inline uint64_t load_head(const uint8_t *p, size_t n) {
    if (n >= 8) return load8(p);
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + n - 4, sizeof last);
        return first | (uint64_t)last << 8 * (n - 4);
    }
    if (n == 0) return 0;
    return p[0] | (uint64_t)p[n / 2] << 8 * (n / 2) | (uint64_t)p[n - 1] << 8 * (n - 1);
}

uint64_t vocab_hash(const uint8_t *p, size_t n) {
    const uint64_t k0 = 0xA0761D6478BD642Fu, k1 = 0xE7037ED1A0B428DBu;
    uint64_t h = n * k0;
    for (; n > 8; p += 8, n -= 8) {
        h = (h ^ load8(p)) * k1;
        h ^= h >> 32;
    }
    h = (h ^ load_head(p, n)) * k1;
    h ^= h >> 29;
    h *= k0;
    return h ^ h >> 32;
}

/* A power of two, at least twice `n`. */
static size_t table_size(uint64_t n) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

int finder_new(struct finder *f, size_t n, struct err *err) {
    size_t size = table_size(n);
    f->slot = pages_array(size, sizeof *f->slot);
    f->filter = mem_array(1 << (FINDER_FILTER_BITS - 6), sizeof *f->filter);
    if (!f->slot || !f->filter) {
        finder_release(f);
        return err_nomem(err, (uint64_t)size * sizeof *f->slot);
    }
    memset(f->slot, 0xFF, size * sizeof *f->slot);
    f->mask = size - 1;
    return 0;
}

struct finder_key {
    uint64_t hash, head;
    uint32_t tag;
};

static inline struct finder_key finder_key(const uint8_t *p, size_t n) {
    uint64_t hash = vocab_hash(p, n);
    return (struct finder_key){.hash = hash,
                               .head = load_head(p, n < 8 ? n : 8),
                               .tag = (uint32_t)(hash >> 32 & ~(uint64_t)0xFF) |
                                      (n < 255 ? (uint32_t)n : 255)};
}

static inline uint32_t finder_probe(const struct finder *f, const struct tokenizer *t,
                                    const struct finder_key *k, const uint8_t *p, size_t n) {
    for (size_t i = k->hash & f->mask;; i = (i + 1) & f->mask) {
        const struct finder_slot *s = &f->slot[i];
        if (s->id == TOKENIZER_NO_ID) return TOKENIZER_NO_ID;
        if (s->tag != k->tag || s->head != k->head) continue;
        if (n <= 8) return s->id;
        size_t len;
        const uint8_t *v = vocab_token(t, s->id, &len);
        if (len == n && memcmp(v, p, n) == 0) return s->id;
    }
}

/* The bit of a key in the filter: by bits of the hash that choose no slot. */
static inline uint64_t finder_bit(const struct finder_key *k) {
    return k->hash >> (64 - FINDER_FILTER_BITS);
}

static inline bool finder_may(const struct finder *f, const struct finder_key *k) {
    uint64_t bit = finder_bit(k);
    return f->filter[bit >> 6] >> (bit & 63) & 1;
}

uint32_t finder_get(const struct finder *f, const struct tokenizer *t, const uint8_t *p, size_t n) {
    struct finder_key k = finder_key(p, n);
    return finder_may(f, &k) ? finder_probe(f, t, &k, p, n) : TOKENIZER_NO_ID;
}

void finder_get_many(const struct finder *f, const struct tokenizer *t, const uint8_t *const *p,
                     const uint32_t *n, size_t count, uint32_t *ids) {
    struct finder_key key[FINDER_MANY];
    uint8_t may[FINDER_MANY];
    size_t n_may = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = TOKENIZER_NO_ID;
        key[i] = finder_key(p[i], n[i]);
        may[n_may] = (uint8_t)i;
        n_may += finder_may(f, &key[i]);
    }
    for (size_t k = 0; k < n_may; k++) __builtin_prefetch(&f->slot[key[may[k]].hash & f->mask]);
    for (size_t k = 0; k < n_may; k++) {
        size_t i = may[k];
        ids[i] = finder_probe(f, t, &key[i], p[i], n[i]);
    }
}

static struct finder_key token_key(const struct tokenizer *t, uint32_t id) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    return finder_key(p, n);
}

static uint32_t add_key(struct finder *f, const struct tokenizer *t, uint32_t id,
                        const struct finder_key *k) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    uint32_t there = finder_probe(f, t, k, p, n);
    if (there != TOKENIZER_NO_ID) return there;
    size_t i = k->hash & f->mask;
    while (f->slot[i].id != TOKENIZER_NO_ID) i = (i + 1) & f->mask;
    f->slot[i] = (struct finder_slot){.head = k->head, .tag = k->tag, .id = id};
    uint64_t bit = finder_bit(k);
    f->filter[bit >> 6] |= 1ull << (bit & 63);
    return TOKENIZER_NO_ID;
}

uint32_t finder_add(struct finder *f, const struct tokenizer *t, uint32_t id) {
    struct finder_key k = token_key(t, id);
    return add_key(f, t, id, &k);
}

void finder_release(struct finder *f) {
    free(f->slot);
    free(f->filter);
    memset(f, 0, sizeof *f);
}

/* ------------------------------------------------------------------ the steps of making */

int vocab_set_tokens(struct tokenizer *t, uint32_t n, uint8_t *bytes, uint64_t *start,
                     uint8_t *kind, struct err *err) {
    t->n = n;
    t->bytes = bytes;
    t->start = start;
    t->kind = kind;
    int rc = finder_new(&t->finder, n, err);
    if (rc < 0) return rc;
    struct finder_key key[AHEAD]; /* of the next tokens, whose slots have been asked for */
    for (uint32_t i = 0; i < n + AHEAD; i++) {
        const uint32_t id = i - AHEAD;
        const struct finder_key k = key[i % AHEAD];
        if (i < n) {
            key[i % AHEAD] = token_key(t, i);
            __builtin_prefetch(&t->finder.slot[key[i % AHEAD].hash & t->finder.mask], 1);
        }
        if (i < AHEAD || !(kind[id] & TOKEN_MODEL)) continue;
        uint32_t there = add_key(&t->finder, t, id, &k);
        if (there != TOKENIZER_NO_ID)
            return err_set(err, ERR_CORRUPT, "tokens %u and %u have the same bytes", there, id);
        if (start[id + 1] - start[id] == 1) t->byte_id[bytes[start[id]]] = id;
    }
    return 0;
}

static int special_order(const void *a, const void *b) {
    uint32_t x = ((const struct special *)a)->id, y = ((const struct special *)b)->id;
    return (x > y) - (x < y);
}

/* The trees of the added tokens, which are in order. */
static int plant(struct tokenizer *t, struct err *err) {
    bool other = false; /* than special */
    int rc = 0;
    for (int k = 0; k < 2; k++) special_tree_release(&t->tree[k]);
    for (uint32_t i = 0; i < t->n_specials && rc >= 0; i++) {
        rc = special_plant(t, t->tree, i, err);
        other |= !t->specials[i].special;
    }
    for (int k = 0; k < 2; k++) {
        t->plain[k] = other ? t->tree[k] : (struct special_tree){0};
        t->plain[k].special_is_text = true;
    }
    return rc;
}

static int copy_specials(struct tokenizer *t, const struct special *v, uint32_t n,
                         struct err *err) {
    t->specials = mem_array(n, sizeof *t->specials);
    if (!t->specials) return err_nomem(err, (uint64_t)n * sizeof *t->specials);
    for (uint32_t i = 0; i < n; i++) {
        struct special *s = &t->specials[i];
        *s = v[i];
        s->text = NULL;
        t->n_specials = i + 1;
        if (s->id >= t->n || !v[i].text || !v[i].text[0])
            return err_set(err, ERR_CORRUPT, "special token %u has no text or no id below %u",
                           s->id, t->n);
        size_t len;
        const uint8_t *p = vocab_token(t, s->id, &len);
        if (strlen(v[i].text) != len || memcmp(p, v[i].text, len) != 0)
            return err_set(err, ERR_CORRUPT,
                           "special token %u \"%.60s\" has other bytes than its text", s->id,
                           v[i].text);
        s->text = strdup(v[i].text);
        if (!s->text) return err_nomem(err, len + 1);
        t->kind[s->id] |= TOKEN_SPECIAL;
    }
    if (n) qsort(t->specials, n, sizeof *t->specials, special_order);
    for (uint32_t i = 0; i < n; i++) {
        const struct special *s = &t->specials[i];
        if (i && s->id == s[-1].id)
            return err_set(err, ERR_CORRUPT, "two special tokens have the id %u", s->id);
    }
    return plant(t, err);
}

int vocab_set_specials(struct tokenizer *t, const struct special *v, uint32_t n, struct err *err) {
    struct special *old = t->specials; /* v may name its texts */
    uint32_t n_old = t->n_specials;
    t->n_specials = 0;
    int rc = copy_specials(t, v, n, err);
    free_specials(old, n_old);
    return rc;
}

static int merge_check(const struct tokenizer *t, const struct merge *m, uint64_t at,
                       struct err *err) {
    if (m->left >= t->n || m->right >= t->n || m->result >= t->n)
        return err_set(err, ERR_CORRUPT, "merge %llu names a token that does not exist",
                       (unsigned long long)at);
    size_t a, b, c;
    const uint8_t *l = vocab_token(t, m->left, &a), *r = vocab_token(t, m->right, &b);
    const uint8_t *p = vocab_token(t, m->result, &c);
    if (!a || !b || c != a + b || memcmp(p, l, a) != 0 || memcmp(p + a, r, b) != 0)
        return err_set(err, ERR_CORRUPT, "merge %llu: token %u is not tokens %u and %u joined",
                       (unsigned long long)at, m->result, m->left, m->right);
    return 0;
}

uint32_t vocab_largest_symbol(const struct tokenizer *t) {
    uint32_t most = 0;
    for (int i = 0; i < 256; i++)
        if (t->byte_id[i] != TOKENIZER_NO_ID && t->byte_id[i] > most) most = t->byte_id[i];
    for (uint64_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        if (m->left > most) most = m->left;
        if (m->right > most) most = m->right;
        if (m->result > most) most = m->result;
    }
    return most;
}

/* Do results follow from ranks by adding a number? */
static void find_steady(struct tokenizer *t) {
    t->first_result = t->by_rank || !t->n_merges ? 0 : t->merges[0].result;
    t->steady = true;
    for (uint64_t i = 0; i < t->n_merges && !t->by_rank; i++)
        t->steady &= t->merges[i].result == (uint32_t)i + t->first_result;
}

static bool is_byte(const struct tokenizer *t, uint32_t id) {
    return t->start[id + 1] - t->start[id] == 1 && t->byte_id[t->bytes[t->start[id]]] == id;
}

static int derive_byte_ranks(struct tokenizer *t, struct err *err) {
    enum { PAIRS = 1 << 16 };
    if (!t->byte_ranks) t->byte_ranks = mem_array(PAIRS, sizeof *t->byte_ranks);
    if (!t->byte_ranks) return err_nomem(err, PAIRS * sizeof *t->byte_ranks);
    memset(t->byte_ranks, 0xFF, PAIRS * sizeof *t->byte_ranks);
    t->all_bytes = true;
    for (int i = 0; i < 256; i++) t->all_bytes &= t->byte_id[i] != TOKENIZER_NO_ID;
    for (uint64_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        if (!is_byte(t, m->left) || !is_byte(t, m->right)) continue;
        uint8_t left = t->bytes[t->start[m->left]], right = t->bytes[t->start[m->right]];
        t->byte_ranks[left << 8 | right] = t->by_rank ? m->result : (uint32_t)i; /* the last one */
    }
    return 0;
}

/* What follows from the tokens and pairs and makes merging fast. */
static int derive(struct tokenizer *t, struct err *err) {
    seams_release(&t->seams);
    longest_free(atomic_exchange(&t->lazy->longest, NULL));
    trie_free(atomic_exchange(&t->lazy->trie, NULL));
    find_steady(t);
    int rc = derive_byte_ranks(t, err);
    for (uint32_t id = 0; id < t->n && rc == 0; id++) {
        size_t len;
        const uint8_t *p = vocab_token(t, id, &len);
        rc = seams_add(&t->seams, p, len, err);
    }
    return rc;
}

int vocab_trie(const struct trie **ret, const struct tokenizer *t, struct err *err) {
    struct trie *made = atomic_load(&t->lazy->trie), *mine = NULL;
    if (!made) {
        int rc = trie_new(&mine, t, err);
        if (rc < 0) return rc;
        if (atomic_compare_exchange_strong(&t->lazy->trie, &made, mine))
            made = mine;
        else
            trie_free(mine);
    }
    *ret = made;
    return 0;
}

int vocab_longest(const struct longest **ret, const struct tokenizer *t, struct err *err) {
    struct longest *made = atomic_load(&t->lazy->longest), *mine = NULL;
    if (!made) {
        int rc = longest_new(&mine, t, err);
        if (rc < 0) return rc;
        if (atomic_compare_exchange_strong(&t->lazy->longest, &made, mine))
            made = mine;
        else
            longest_free(mine);
    }
    *ret = made;
    return 0;
}

/* A pair listed twice counts where it stands last: HF reads its list into a map. */
static int pairs_of_list(struct tokenizer *t, struct err *err) {
    const uint64_t n = t->n_merges;
    int rc = pairs_new(&t->pairs, n, n, vocab_largest_symbol(t), err);
    if (rc < 0) return rc;
    for (uint64_t i = 0; i < n; i++) {
        const struct merge *m = &t->merges[i], *ahead = &t->merges[i + AHEAD < n ? i + AHEAD : i];
        pairs_expect(&t->pairs, ahead->left, ahead->right);
        pairs_set(&t->pairs, m->left, m->right, (uint32_t)i);
    }
    return 0;
}

int vocab_set_merges(struct tokenizer *t, struct merge *merges, uint64_t n, struct err *err) {
    t->merges = merges;
    t->n_merges = n;
    if (n >= UINT32_MAX) return err_set(err, ERR_CORRUPT, "more than 2^32 merges");
    for (uint64_t i = 0; i < n && !t->by_rank; i++) { /* ranks: true by construction */
        int rc = merge_check(t, &merges[i], i, err);
        if (rc < 0) return rc;
    }
    pairs_release(&t->pairs);
    int rc = t->by_rank ? splits_of_ranks(t, err) : pairs_of_list(t, err);
    return rc < 0 ? rc : derive(t, err);
}

/* A cut of a token, and the keys of both parts. */
struct cut {
    uint32_t id, at;
    struct finder_key left, right;
};

/* Cuts that wait until memory has answered for all of them, and the splits found so far. */
struct cuts {
    struct cut v[64];
    size_t n;
    struct merge *merge;
    uint64_t n_merges, cap;
};

enum { CUTS_MOST = sizeof((struct cuts *)0)->v / sizeof(struct cut), CUTS_AT_ONCE = 16 };

/* Looks the cuts up. The splits of a token are sorted by (left, right); its lefts differ. */
static void find_cuts(const struct tokenizer *t, struct cuts *c) {
    const struct finder *f = &t->finder;
    for (const struct cut *k = c->v; k < c->v + c->n; k++) {
        size_t len;
        const uint8_t *p = vocab_token(t, k->id, &len);
        uint32_t l = finder_probe(f, t, &k->left, p, k->at), r;
        if (l == TOKENIZER_NO_ID) continue;
        r = finder_probe(f, t, &k->right, p + k->at, len - k->at);
        if (r == TOKENIZER_NO_ID) continue;
        struct merge *m = c->merge + c->n_merges++;
        for (; m > c->merge && m[-1].result == k->id && m[-1].left > l; m--) *m = m[-1];
        *m = (struct merge){.left = l, .right = r, .result = k->id};
    }
    c->n = 0;
}

/* Adds the cuts at from … to of a token, at most CUTS_AT_ONCE, of which both parts may be tokens:
 * most are told by the filter, without a branch. Asks for the slots of the others. */
static void add_cuts(const struct tokenizer *t, struct cuts *c, uint32_t id, size_t from,
                     size_t to) {
    const struct finder *f = &t->finder;
    size_t len, n_left = 0;
    const uint8_t *p = vocab_token(t, id, &len);
    struct cut *v = c->v + c->n, *end = v;
    for (size_t at = from; at < to; at++) {
        v[n_left] = (struct cut){.id = id, .at = (uint32_t)at, .left = finder_key(p, at)};
        n_left += finder_may(f, &v[n_left].left);
    }
    for (size_t i = 0; i < n_left; i++) {
        *end = v[i];
        end->right = finder_key(p + end->at, len - end->at);
        __builtin_prefetch(&f->slot[end->left.hash & f->mask]);
        __builtin_prefetch(&f->slot[end->right.hash & f->mask]);
        end += finder_may(f, &end->right);
    }
    c->n = (size_t)(end - c->v);
}

static int add_token(const struct tokenizer *t, struct cuts *c, uint32_t id, struct err *err) {
    const uint64_t len = t->start[id + 1] - t->start[id], most = c->n_merges + c->n + len;
    if (most > c->cap) {
        uint64_t to = 2 * most + t->n;
        struct merge *more = mem_resize(c->merge, to, sizeof *more);
        if (!more) return err_nomem(err, to * sizeof *more);
        c->merge = more;
        c->cap = to;
    }
    for (size_t from = 1; from < len; from += CUTS_AT_ONCE) {
        if (c->n + CUTS_AT_ONCE > CUTS_MOST) find_cuts(t, c);
        add_cuts(t, c, id, from, len - from < CUTS_AT_ONCE ? len : from + CUTS_AT_ONCE);
    }
    return 0;
}

int vocab_merges_of_ranks(struct tokenizer *t, struct err *err) {
    struct cuts c = {.n = 0};
    int rc = 0;
    for (uint32_t id = 0; id < t->n && rc >= 0; id++)
        if (t->kind[id] & TOKEN_MODEL) rc = add_token(t, &c, id, err);
    if (rc < 0) {
        free(c.merge);
        return rc;
    }
    find_cuts(t, &c);
    t->by_rank = true;
    return vocab_set_merges(t, c.merge, c.n_merges, err);
}

int vocab_set_nfc(struct tokenizer *t, struct err *err) {
    int rc = t->nfc ? 0 : nfc_new(&t->nfc, err);
    return rc < 0 ? rc : plant(t, err);
}

int vocab_set_pattern(struct tokenizer *t, const char *pattern, struct err *err) {
    return pattern_open(&t->pattern, pattern ? pattern : "gpt2", err);
}

/* ------------------------------------------------------------------ from parts */

/* A special stands in vocab.json as its text, a token of bytes in the byte map's spelling. Where
 * the two differ (anything but printable ASCII) merging never yields the special, even if the
 * bytes are equal. */
static int special_kinds(const struct tokenizer_parts *p, uint8_t *kind, struct err *err) {
    struct buf b = {0};
    int rc = 0;
    for (uint32_t i = 0; i < p->n_specials && rc >= 0; i++) {
        const struct special *s = &p->specials[i];
        if (s->id >= p->n_tokens || !s->text || !s->text[0]) continue; /* refused later */
        b.n = 0;
        rc = bytemap_write(&b, s->text, strlen(s->text), err);
        if (rc >= 0 && (b.n != strlen(s->text) || memcmp(b.v, s->text, b.n) != 0))
            kind[s->id] = TOKEN_RAW;
    }
    buf_release(&b);
    return rc;
}

static int copy_tokens(struct tokenizer *t, const struct tokenizer_parts *p, struct err *err) {
    if (!p->n_tokens) return err_set(err, ERR_CORRUPT, "a vocabulary without tokens");
    for (uint32_t i = 0; i < p->n_tokens; i++)
        if (p->start[i + 1] < p->start[i])
            return err_set(err, ERR_CORRUPT, "token %u ends before it starts", i);
    uint64_t total = p->start[p->n_tokens];
    t->bytes = mem_array(total, 1);
    t->kind = mem_array(p->n_tokens, 1);
    t->start = mem_array((size_t)p->n_tokens + 1, sizeof *t->start);
    if (!t->bytes || !t->kind || !t->start) return err_nomem(err, total);
    if (total) memcpy(t->bytes, p->bytes, total);
    memcpy(t->start, p->start, ((size_t)p->n_tokens + 1) * sizeof *t->start);
    for (uint32_t i = 0; i < p->n_tokens; i++)
        t->kind[i] = t->start[i + 1] > t->start[i] ? TOKEN_MODEL : 0;
    int rc = special_kinds(p, t->kind, err);
    return rc < 0 ? rc : vocab_set_tokens(t, p->n_tokens, t->bytes, t->start, t->kind, err);
}

/* A special such as "é" would be spelt as the token of byte E9: one key for two ids. */
static int specials_distinct(const struct tokenizer *t, struct err *err) {
    struct buf b = {0};
    int rc = 0;
    for (uint32_t i = 0; i < t->n_specials && rc >= 0; i++) {
        const struct special *s = &t->specials[i];
        b.n = 0;
        rc = bytemap_read(&b, s->text, strlen(s->text), err);
        if (rc <= 0) continue;
        uint32_t other = finder_get(&t->finder, t, (uint8_t *)b.v, b.n);
        if (other != TOKENIZER_NO_ID && other != s->id)
            rc = err_set(err, ERR_CORRUPT,
                         "special token \"%.60s\" is spelt as token %u in vocab.json", s->text,
                         other);
    }
    buf_release(&b);
    return rc < 0 ? rc : 0;
}

int tokenizer_build(struct tokenizer **ret, const struct tokenizer_parts *parts, struct err *err) {
    struct tokenizer *t = vocab_new();
    if (!t) return err_nomem(err, sizeof *t);
    struct merge *merges = NULL;
    int rc = copy_tokens(t, parts, err);
    if (rc >= 0) rc = vocab_set_specials(t, parts->specials, parts->n_specials, err);
    if (rc >= 0) rc = specials_distinct(t, err);
    if (rc >= 0) {
        merges = mem_array(parts->n_merges, sizeof *merges);
        if (!merges) rc = err_nomem(err, parts->n_merges * sizeof *merges);
    }
    if (rc >= 0) {
        if (parts->n_merges) memcpy(merges, parts->merges, parts->n_merges * sizeof *merges);
        rc = vocab_set_merges(t, merges, parts->n_merges, err);
    }
    if (rc >= 0) rc = vocab_set_pattern(t, parts->pattern, err);
    if (rc < 0) {
        tokenizer_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

/* ------------------------------------------------------------------ questions */

uint32_t tokenizer_size(const struct tokenizer *t) {
    return t->n;
}

uint32_t tokenizer_find(const struct tokenizer *t, const void *bytes, size_t n) {
    uint32_t id = finder_get(&t->finder, t, bytes, n);
    for (int i = 0; i < 2 && id == TOKENIZER_NO_ID; i++) {
        size_t len;
        uint32_t at = special_tree_match(&t->tree[i], bytes, 0, n, &len);
        if (at != TOKENIZER_NO_ID && len == n) id = t->specials[at].id;
    }
    return id;
}

uint32_t tokenizer_named(const struct tokenizer *t, const char *text) {
    for (uint32_t i = 0; i < t->n_specials; i++)
        if (strcmp(t->specials[i].text, text) == 0) return t->specials[i].id;
    return tokenizer_find(t, text, strlen(text));
}

uint32_t tokenizer_eot(const struct tokenizer *t) {
    const uint32_t id = tokenizer_named(t, TOKENIZER_EOT);
    const char *eos = t->config.said.eos;
    return id == TOKENIZER_NO_ID && eos ? tokenizer_named(t, eos) : id;
}

const char *tokenizer_pattern(const struct tokenizer *t) {
    return pattern_name(t->pattern);
}

const struct tokenizer_settings *tokenizer_settings(const struct tokenizer *t) {
    return &t->config.said;
}

const char *tokenizer_normalizer(const struct tokenizer *t) {
    return t->nfc ? "NFC" : NULL;
}

int tokenizer_spell(const struct tokenizer *t, uint32_t id, struct buf *out, struct err *err) {
    if (id >= t->n || !t->kind[id])
        return err_set(err, ERR_DATA, "id %u has no token; the vocabulary has %u", id, t->n);
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    return t->kind[id] & TOKEN_MODEL ? bytemap_write(out, p, n, err) : buf_append(out, p, n, err);
}

const uint8_t *tokenizer_bytes(const struct tokenizer *t, uint32_t id, size_t *ret_n) {
    *ret_n = 0;
    return id < t->n ? vocab_token(t, id, ret_n) : NULL;
}

uint64_t tokenizer_merges(const struct tokenizer *t, const struct merge **ret) {
    *ret = t->merges;
    return t->n_merges;
}

uint32_t tokenizer_specials(const struct tokenizer *t, const struct special **ret) {
    *ret = t->specials;
    return t->n_specials;
}

static void add_u64(struct sha256 *s, uint64_t x) {
    uint8_t v[8];
    for (int i = 0; i < 8; i++) v[i] = (uint8_t)(x >> 8 * i);
    sha256_add(s, v, sizeof v);
}

int tokenizer_digest(const struct tokenizer *t, char ret_hex[SHA256_HEX], struct err *err) {
    static const char magic[] = "lory tokenizer 1";
    struct sha256 *s = sha256_new();
    if (!s) return err_nomem(err, SHA256_HEX);
    sha256_add(s, magic, sizeof magic);
    add_u64(s, t->n);
    for (uint32_t id = 0; id <= t->n; id++) add_u64(s, t->start[id]);
    sha256_add(s, t->bytes, t->start[t->n]);
    add_u64(s, t->n_merges);
    for (uint64_t i = 0; i < t->n_merges; i++) {
        add_u64(s, (uint64_t)t->merges[i].left << 32 | t->merges[i].right);
        add_u64(s, t->merges[i].result);
    }
    add_u64(s, t->n_specials);
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const struct special *p = &t->specials[i];
        add_u64(s, p->id);
        add_u64(s, (uint64_t)(p->special | p->lstrip << 1 | p->rstrip << 2 | p->single_word << 3 |
                              p->normalized << 4));
    }
    add_u64(s, (uint64_t)(t->ignore_merges | t->prefix_space << 1 | (t->nfc != NULL) << 2));
    const char *name = pattern_name(t->pattern);
    sha256_add(s, name, strlen(name));
    sha256_end(s, ret_hex);
    return 0;
}
