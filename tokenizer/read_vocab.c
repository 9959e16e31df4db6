/* A vocabulary and its merges, from JSON or from lines: spellings become bytes, bytes become ids.
 *
 *   "Ġt": 5, "he": 6, "Ġthe": 9      ─▶  bytes by id, finder
 *   ["Ġt", "he"]                     ─▶  "Ġthe" cut at 2 bytes  ─▶  {left 5, right 6, result 9} */
#include <stdlib.h>
#include "tokenizer/bytemap.h"
#include "tokenizer/read.h"
#include "tokenizer/unicode.h"

enum { HOLES = 1000 }; /* ids without a token: as many as tokens, and these */

int read_refuse(struct reading *r, const char *what) {
    return err_set(r->err, ERR_CORRUPT, "%s: %s", r->path, what);
}

void read_release(struct reading *r) {
    finder_release(&r->raw);
    free(r->specials);
    free(r->foreign);
    pull_release(&r->pull);
    buf_release(&r->file);
    buf_release(&r->key);
}

bool read_is_text(const uint8_t *p, size_t n) {
    uint32_t c = 0;
    for (size_t i = 0; i < n && c != UNICODE_BAD;) i += unicode_decode(p + i, p + n, &c);
    return c != UNICODE_BAD;
}

/* ------------------------------------------------------------------ vocab */

struct entries { /* as they stand in the file */
    struct buf bytes;
    struct u64s end;
    struct u32s id;
    struct u8s kind;
    uint32_t max;
    bool in_order; /* ids are 0, 1, 2 … */
};

static int slice_order(const void *key, const void *item) {
    const struct slice *s = key;
    const char *text = *(const char *const *)item;
    size_t n = strlen(text), least = s->n < n ? s->n : n;
    int order = memcmp(s->v, text, least);
    return order ? order : (s->n > n) - (s->n < n);
}

/* "<|réponse|>" stands for itself, though the byte map has bytes for its characters. One character,
 * "é", is the token of a byte all the same. */
static bool is_foreign(const struct reading *r, const char *key, size_t n, size_t n_bytes) {
    struct slice s = {key, n};
    return n_bytes > 1 && r->n_foreign &&
           bsearch(&s, r->foreign, r->n_foreign, sizeof *r->foreign, slice_order);
}

static int read_entries(struct reading *r, struct slice s, struct entries *e) {
    struct pull *p = &r->pull;
    const char *key;
    size_t i = 0, n;
    uint64_t id;
    p->at = s.v;
    e->in_order = true;
    int rc = pull_open(p, '{');
    while (rc >= 0 && (rc = pull_key(p, &i, &key, &n)) > 0) {
        size_t was = e->bytes.n;
        rc = bytemap_read(&e->bytes, key, n, r->err);
        if (rc > 0 && is_foreign(r, key, n, e->bytes.n - was)) {
            e->bytes.n = was;
            rc = 0;
        }
        uint8_t kind = rc > 0 ? TOKEN_MODEL : TOKEN_RAW;
        if (rc == 0) rc = buf_append(&e->bytes, key, n, r->err);
        if (rc >= 0) rc = pull_u64(p, &id);
        if (rc < 0) return rc;
        if (!n) return pull_fail(p, "a token without text");
        if (id >= TOKENIZER_NO_ID / 2)
            return pull_fail(p, "token id %llu is absurd", (unsigned long long)id);
        if (id != e->id.n) e->in_order = false;
        if (id > e->max) e->max = (uint32_t)id;
        rc = u32s_push(&e->id, (uint32_t)id, r->err);
        if (rc >= 0) rc = u64s_push(&e->end, e->bytes.n, r->err);
        if (rc >= 0) rc = u8s_push(&e->kind, kind, r->err);
    }
    return rc;
}

/* Lays the tokens out by id. */
static int place_entries(struct reading *r, struct entries *e) {
    uint32_t n = e->max + 1;
    struct tokenizer *t = r->t;
    if (!e->id.n) return read_refuse(r, "the vocabulary is empty");
    if (n > 2 * e->id.n + HOLES)
        return err_set(r->err, ERR_CORRUPT, "%s: token id %u in a vocabulary of %zu tokens",
                       r->path, e->max, e->id.n);
    t->start = mem_array((size_t)n + 1, sizeof *t->start);
    t->kind = mem_array(n, 1);
    t->bytes = mem_array(e->bytes.n, 1);
    if (!t->start || !t->kind || !t->bytes) return err_nomem(r->err, e->bytes.n);
    for (size_t i = 0; i < e->id.n; i++) {
        uint32_t id = e->id.v[i];
        if (t->kind[id])
            return err_set(r->err, ERR_CORRUPT, "%s: two tokens have the id %u", r->path, id);
        t->kind[id] = e->kind.v[i];
        t->start[id + 1] = e->end.v[i] - (i ? e->end.v[i - 1] : 0);
    }
    for (uint32_t id = 0; id < n; id++) t->start[id + 1] += t->start[id];
    for (size_t i = 0; i < e->id.n; i++) {
        uint64_t from = i ? e->end.v[i - 1] : 0;
        memcpy(t->bytes + t->start[e->id.v[i]], e->bytes.v + from, e->end.v[i] - from);
    }
    return vocab_set_tokens(t, n, t->bytes, t->start, t->kind, r->err);
}

int read_vocab(struct reading *r, struct slice s) {
    struct entries e = {0};
    if (!s.v) return read_refuse(r, "the model has no \"vocab\"");
    int rc = read_entries(r, s, &e);
    if (rc >= 0) rc = place_entries(r, &e);
    size_t n_raw = 0;
    for (size_t i = 0; i < e.kind.n; i++) n_raw += e.kind.v[i] == TOKEN_RAW;
    if (rc >= 0) rc = finder_new(&r->raw, n_raw + r->n_specials, r->err);
    for (uint32_t id = 0; rc >= 0 && n_raw && id < r->t->n; id++)
        if (r->t->kind[id] == TOKEN_RAW && finder_add(&r->raw, r->t, id) != TOKENIZER_NO_ID)
            rc = err_set(r->err, ERR_CORRUPT, "%s: token %u stands twice", r->path, id);
    buf_release(&e.bytes);
    u64s_release(&e.end);
    u32s_release(&e.id);
    u8s_release(&e.kind);
    return rc;
}

/* ------------------------------------------------------------------ added tokens */

int read_append(struct reading *r, const char *text) {
    int rc = vocab_append(r->t, text, r->err);
    if (rc >= 0) finder_add(&r->raw, r->t, r->t->n - 1);
    return rc;
}

/* ------------------------------------------------------------------ merges */

static int merges_push(struct merge_list *l, struct merge m, struct err *err) {
    struct merge *v = mem_grown(l->v, l->n, &l->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    l->v = v;
    v[l->n++] = m;
    return 0;
}

/* Looks up a merge whose bytes stand in r->key, cut at `cut`. NULL, or what is wrong. */
static const char *merge_ids(const struct reading *r, size_t cut, struct merge *m) {
    const struct tokenizer *t = r->t;
    const uint8_t *v = (const uint8_t *)r->key.v;
    m->left = finder_get(&t->finder, t, v, cut);
    m->right = finder_get(&t->finder, t, v + cut, r->key.n - cut);
    m->result = finder_get(&t->finder, t, v, r->key.n);
    return m->left == TOKENIZER_NO_ID     ? "the left token of this merge is not in the vocabulary"
           : m->right == TOKENIZER_NO_ID  ? "the right token of this merge is not in the vocabulary"
           : m->result == TOKENIZER_NO_ID ? "the result of this merge is not in the vocabulary"
                                          : NULL;
}

/* Appends the bytes of a token's spelling to r->key. NULL, or what is wrong; *rc on failure. */
static const char *merge_part(struct reading *r, const char *s, size_t n, int *rc) {
    *rc = bytemap_read(&r->key, s, n, r->err);
    return *rc > 0 && n ? NULL : "this merge names no token of bytes";
}

/* "a b" into r->key; a line "#version…" leaves it empty. */
static const char *merge_string(struct reading *r, const char *s, size_t n, size_t *ret_cut,
                                int *rc) {
    r->key.n = *ret_cut = 0;
    if (n >= 8 && memcmp(s, "#version", 8) == 0) return NULL;
    const char *space = memchr(s, ' ', n);
    if (!space || memchr(space + 1, ' ', (size_t)(s + n - space - 1)))
        return "a merge must be two tokens with one blank between them";
    const char *bad = merge_part(r, s, (size_t)(space - s), rc);
    *ret_cut = r->key.n;
    return bad ? bad : merge_part(r, space + 1, (size_t)(s + n - space - 1), rc);
}

/* ["a", "b"] into r->key. */
static int merge_pair(struct reading *r, size_t *ret_cut) {
    struct pull *p = &r->pull;
    const char *s, *bad;
    size_t n, i = 0;
    r->key.n = *ret_cut = 0;
    int rc = pull_open(p, '[');
    for (int k = 0; k < 2 && rc >= 0; k++) {
        rc = pull_item(p, &i);
        if (rc == 0) return pull_fail(p, "a merge must be two tokens");
        if (rc > 0) rc = pull_string(p, &s, &n);
        if (rc < 0) return rc;
        bad = merge_part(r, s, n, &rc);
        if (rc >= 0 && bad) return pull_fail(p, "%s", bad);
        if (k == 0) *ret_cut = r->key.n;
    }
    if (rc >= 0) rc = pull_item(p, &i);
    return rc > 0 ? pull_fail(p, "a merge must be two tokens") : rc;
}

/* One element of "merges", in either form. */
static int read_merge(struct reading *r, struct merge_list *list) {
    struct pull *p = &r->pull;
    const char *s, *bad = NULL;
    size_t n, cut = 0;
    struct merge m = {0};
    int rc = 0;
    if (pull_peek(p) == '"') {
        rc = pull_string(p, &s, &n);
        if (rc >= 0) bad = merge_string(r, s, n, &cut, &rc);
        if (rc >= 0 && !bad && !r->key.n) return 0;
    } else {
        rc = merge_pair(r, &cut);
    }
    if (rc >= 0 && !bad) bad = merge_ids(r, cut, &m);
    if (rc >= 0 && bad) return pull_fail(p, "%s", bad);
    return rc < 0 ? rc : merges_push(list, m, r->err);
}

int read_merges(struct reading *r, struct slice s) {
    struct merge_list list = {0};
    size_t i = 0;
    if (!s.v) return read_refuse(r, "the model has no \"merges\"");
    r->pull.at = s.v;
    int rc = pull_open(&r->pull, '[');
    while (rc >= 0 && (rc = pull_item(&r->pull, &i)) > 0) rc = read_merge(r, &list);
    if (rc >= 0) return vocab_set_merges(r->t, list.v, list.n, r->err);
    free(list.v);
    return rc;
}

int read_merge_lines(struct reading *r, const char *text, size_t n, const char *path) {
    struct merge_list list = {0};
    const char *end = text + n;
    uint64_t line = 0;
    int rc = 0;
    while (text < end && rc >= 0) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *from = text, *to = nl ? nl : end;
        size_t cut;
        struct merge m = {0};
        text = nl ? nl + 1 : end;
        line++;
        if (to > from && to[-1] == '\r') to--;
        const char *bad = merge_string(r, from, (size_t)(to - from), &cut, &rc);
        if (!bad && rc >= 0 && !r->key.n) continue;
        if (!bad && rc >= 0) bad = merge_ids(r, cut, &m);
        if (rc >= 0 && bad)
            rc = err_set(r->err, ERR_CORRUPT, "%s:%llu: %s", path, (unsigned long long)line, bad);
        if (rc >= 0) rc = merges_push(&list, m, r->err);
    }
    if (rc >= 0) return vocab_set_merges(r->t, list.v, list.n, r->err);
    free(list.v);
    return rc;
}
