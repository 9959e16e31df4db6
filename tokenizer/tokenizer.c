/* Making a tokenizer in memory and asking it; files are read_*.c and write.c, text is encode.c. */
#include "tokenizer/tokenizer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "tokenizer/bpe.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/finder.h"
#include "tokenizer/pages.h"
#include "tokenizer/ranks.h"
#include "tokenizer/splits.h"

enum { AHEAD = 12 }; /* how far ahead a slot is asked for */

struct lazy {
    _Atomic(struct trie *) trie;
    _Atomic(struct longest *) longest;
    _Atomic(bool) makes_trie, makes_longest; /* a thread does, or has; others do without it */
    _Atomic(struct merge_list *) list;       /* threads may make it both; the first is kept */
};

struct merge_list {
    struct merge *v;
    uint64_t n;
};

static void merge_list_free(struct merge_list *l) {
    if (l) free(l->v);
    free(l);
}

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

/* What follows from the tokens and what merges. */
static void forget(struct tokenizer *t) {
    pairs_release(&t->pairs);
    free(t->byte_ranks);
    free(t->split);
    t->byte_ranks = NULL;
    t->split = NULL;
    seams_release(&t->seams);
    longest_free(atomic_exchange(&t->lazy->longest, NULL));
    trie_free(atomic_exchange(&t->lazy->trie, NULL));
    atomic_store(&t->lazy->makes_trie, false);
    atomic_store(&t->lazy->makes_longest, false);
    merge_list_free(atomic_exchange(&t->lazy->list, NULL));
}

void tokenizer_free(struct tokenizer *t) {
    if (!t) return;
    free(t->bytes);
    free(t->start);
    free(t->kind);
    finder_release(&t->finder);
    free(t->merges);
    forget(t);
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
            size_t len;
            const uint8_t *p = vocab_token(t, i, &len);
            key[i % AHEAD] = finder_key(p, len);
            finder_expect(&t->finder, &key[i % AHEAD]);
        }
        if (i < AHEAD || !(kind[id] & TOKEN_MODEL)) continue;
        uint32_t there = finder_add_key(&t->finder, t, id, &k);
        if (there != TOKENIZER_NO_ID)
            return err_set(err, ERR_CORRUPT, "tokens %u and %u have the same bytes", there, id);
        if (start[id + 1] - start[id] == 1) t->byte_id[bytes[start[id]]] = id;
    }
    return 0;
}

int vocab_append(struct tokenizer *t, const char *text, struct err *err) {
    const size_t n = strlen(text);
    const uint64_t total = t->start[t->n];
    uint64_t *start = mem_resize(t->start, (size_t)t->n + 2, sizeof *start);
    if (start) t->start = start;
    uint8_t *kind = mem_resize(t->kind, (size_t)t->n + 1, 1);
    if (kind) t->kind = kind;
    uint8_t *bytes = mem_resize(t->bytes, total + n, 1);
    if (bytes) t->bytes = bytes;
    if (!start || !kind || !bytes) return err_nomem(err, total + n);
    memcpy(bytes + total, text, n);
    kind[t->n] = TOKEN_SPECIAL;
    start[++t->n] = total + n;
    return seams_add(&t->seams, bytes + total, n, err);
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

/* Do results follow from ranks by adding a number? */
static void find_steady(struct tokenizer *t) {
    t->first_result = t->n_merges ? t->merges[0].result : 0;
    t->steady = true;
    for (uint64_t i = 0; i < t->n_merges; i++)
        t->steady &= t->merges[i].result == (uint32_t)i + t->first_result;
}

static bool is_byte(const struct tokenizer *t, uint32_t id) {
    return vocab_length(t, id) == 1 && t->byte_id[t->bytes[t->start[id]]] == id;
}

/* The 256 bytes, and room for what pairs of them merge to. */
static int find_bytes(struct tokenizer *t, struct err *err) {
    enum { PAIRS = 1 << 16 };
    t->byte_ranks = mem_array(PAIRS, sizeof *t->byte_ranks);
    if (!t->byte_ranks) return err_nomem(err, PAIRS * sizeof *t->byte_ranks);
    memset(t->byte_ranks, 0xFF, PAIRS * sizeof *t->byte_ranks);
    t->all_bytes = true;
    for (int i = 0; i < 256; i++) t->all_bytes &= t->byte_id[i] != TOKENIZER_NO_ID;
    return 0;
}

static int find_seams(struct tokenizer *t, struct err *err) {
    int rc = 0;
    for (uint32_t id = 0; id < t->n && rc == 0; id++) {
        size_t len;
        const uint8_t *p = vocab_token(t, id, &len);
        rc = seams_add(&t->seams, p, len, err);
    }
    return rc;
}

int vocab_trie(const struct trie **ret, const struct tokenizer *t, struct err *err) {
    struct trie *made = atomic_load(&t->lazy->trie);
    if (!made && !atomic_exchange(&t->lazy->makes_trie, true)) {
        int rc = trie_new(&made, t, err);
        if (rc < 0) {
            atomic_store(&t->lazy->makes_trie, false);
            return rc;
        }
        atomic_store(&t->lazy->trie, made);
    }
    *ret = made;
    return 0;
}

int vocab_longest(const struct longest **ret, const struct tokenizer *t, struct err *err) {
    struct longest *made = atomic_load(&t->lazy->longest);
    if (!made && !atomic_exchange(&t->lazy->makes_longest, true)) {
        int rc = longest_new(&made, t, err);
        if (rc < 0 || !made) {
            atomic_store(&t->lazy->makes_longest, false);
            return rc;
        }
        atomic_store(&t->lazy->longest, made);
    }
    *ret = made;
    return 0;
}

int tokenizer_merges(const struct tokenizer *t, const struct merge **ret, uint64_t *ret_n,
                     struct err *err) {
    struct merge_list *made = atomic_load(&t->lazy->list), *mine = NULL;
    *ret = t->merges;
    *ret_n = t->n_merges;
    if (!t->by_rank) return 0;
    if (!made) {
        int rc = (mine = calloc(1, sizeof *mine)) ? ranks_list(t, &mine->v, &mine->n, err)
                                                  : err_nomem(err, sizeof *mine);
        if (rc >= 0 && atomic_compare_exchange_strong(&t->lazy->list, &made, mine))
            made = mine;
        else
            merge_list_free(mine);
        if (rc < 0) return rc;
    }
    *ret = made->v;
    *ret_n = made->n;
    return 0;
}

static uint32_t largest_of_list(const struct tokenizer *t) {
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

/* A pair listed twice counts where it stands last: HF reads its list into a map. */
static int enter_list(struct tokenizer *t, struct err *err) {
    const uint64_t n = t->n_merges;
    int rc = pairs_new(&t->pairs, n, n, largest_of_list(t), err);
    if (rc < 0) return rc;
    for (uint64_t i = 0; i < n; i++) {
        const struct merge *m = &t->merges[i], *ahead = &t->merges[i + AHEAD < n ? i + AHEAD : i];
        pairs_expect(&t->pairs, ahead->left, ahead->right);
        pairs_set(&t->pairs, m->left, m->right, (uint32_t)i);
        if (!is_byte(t, m->left) || !is_byte(t, m->right)) continue;
        uint8_t left = t->bytes[t->start[m->left]], right = t->bytes[t->start[m->right]];
        t->byte_ranks[left << 8 | right] = (uint32_t)i;
    }
    return 0;
}

int vocab_set_merges(struct tokenizer *t, struct merge *merges, uint64_t n, struct err *err) {
    t->merges = merges;
    t->n_merges = n;
    t->by_rank = t->all_made = false;
    forget(t);
    if (n >= UINT32_MAX) return err_set(err, ERR_CORRUPT, "more than 2^32 merges");
    for (uint64_t i = 0; i < n; i++) {
        int rc = merge_check(t, &merges[i], i, err);
        if (rc < 0) return rc;
    }
    find_steady(t);
    int rc = find_bytes(t, err);
    if (rc == 0) rc = enter_list(t, err);
    return rc == 0 ? find_seams(t, err) : rc;
}

int vocab_set_ranks(struct tokenizer *t, struct err *err) {
    uint32_t most = 0;
    free(t->merges);
    t->merges = NULL;
    t->n_merges = 0;
    t->by_rank = true;
    forget(t);
    find_steady(t);
    for (uint32_t id = 0; id < t->n; id++)
        if (t->kind[id] & TOKEN_MODEL) most = id;
    int rc = find_bytes(t, err);
    if (rc == 0) rc = pairs_new(&t->pairs, t->n, t->n, most, err);
    if (rc == 0 && !(t->split = pages_array(t->n, sizeof *t->split)))
        rc = err_nomem(err, t->n * sizeof *t->split);
    if (rc == 0) rc = ranks_learn(t, err);
    return rc == 0 ? find_seams(t, err) : rc;
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
    const struct merge *merges;
    uint64_t n_merges;
    int rc = tokenizer_merges(t, &merges, &n_merges, err);
    if (rc < 0) return rc;
    struct sha256 *s = sha256_new();
    if (!s) return err_nomem(err, SHA256_HEX);
    sha256_add(s, magic, sizeof magic);
    add_u64(s, t->n);
    for (uint32_t id = 0; id <= t->n; id++) add_u64(s, t->start[id]);
    sha256_add(s, t->bytes, t->start[t->n]);
    add_u64(s, n_merges);
    for (uint64_t i = 0; i < n_merges; i++) {
        add_u64(s, (uint64_t)merges[i].left << 32 | merges[i].right);
        add_u64(s, merges[i].result);
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
