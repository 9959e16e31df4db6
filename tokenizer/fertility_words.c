/* Which words cost most: a table of the distinct words with how often they occur and how many
 * tokens they take. When it is full, half of the words are given up, those whose hash has one more
 * bit set; what is left is a sample that depends on the words alone, not on their order or on
 * threads. */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/fertility.h"
#include "tokenizer/vocab.h"

enum { SLOTS = 1 << 19, FULL = SLOTS / 2 };

struct word {
    uint64_t hash, count, tokens;
    uint64_t at; /* in text */
    uint32_t n;  /* 0: free */
};

struct fertility_words {
    struct word *slot; /* (SLOTS) open addressing */
    struct buf text;
    size_t used;
    unsigned halved; /* words whose hash has so many low bits 0 are kept */
};

static bool kept(const struct fertility_words *w, uint64_t hash) {
    return (hash & (((uint64_t)1 << w->halved) - 1)) == 0;
}

int fertility_words_new(struct fertility_words **ret, struct err *err) {
    struct fertility_words *w = calloc(1, sizeof *w);
    if (w) w->slot = mem_array(SLOTS, sizeof *w->slot);
    if (!w || !w->slot) {
        free(w);
        return err_nomem(err, SLOTS * sizeof *w->slot);
    }
    *ret = w;
    return 0;
}

void fertility_words_free(struct fertility_words *w) {
    if (!w) return;
    free(w->slot);
    buf_release(&w->text);
    free(w);
}

static struct word *find(const struct fertility_words *w, uint64_t hash, const char *s, size_t n) {
    for (size_t i = hash >> 40 & (SLOTS - 1);; i = (i + 1) & (SLOTS - 1)) {
        struct word *x = &w->slot[i];
        if (!x->n) return x;
        if (x->hash == hash && x->n == n && memcmp(w->text.v + x->at, s, n) == 0) return x;
    }
}

static int insert(struct fertility_words *w, uint64_t hash, const char *s, size_t n, uint64_t count,
                  uint64_t tokens, struct err *err);

/* Gives up every other word. */
static int halve(struct fertility_words *w, struct err *err) {
    struct fertility_words next = {.halved = w->halved + 1};
    next.slot = mem_array(SLOTS, sizeof *next.slot);
    int rc = next.slot ? 0 : err_nomem(err, SLOTS * sizeof *next.slot);
    for (size_t i = 0; i < SLOTS && rc >= 0; i++) {
        const struct word *x = &w->slot[i];
        if (x->n && kept(&next, x->hash))
            rc = insert(&next, x->hash, w->text.v + x->at, x->n, x->count, x->tokens, err);
    }
    struct fertility_words old = rc < 0 ? next : *w;
    if (rc >= 0) *w = next;
    free(old.slot);
    buf_release(&old.text);
    return rc;
}

static int insert(struct fertility_words *w, uint64_t hash, const char *s, size_t n, uint64_t count,
                  uint64_t tokens, struct err *err) {
    struct word *x = find(w, hash, s, n);
    if (!x->n) {
        *x = (struct word){.hash = hash, .at = w->text.n, .n = (uint32_t)n};
        int rc = buf_append(&w->text, s, n, err);
        if (rc < 0) x->n = 0;
        if (rc < 0) return rc;
        w->used++;
    }
    x->count += count;
    x->tokens += tokens;
    return 0;
}

int fertility_words_add(struct fertility_words *w, const char *s, size_t n, uint64_t tokens,
                        struct err *err) {
    uint64_t hash = vocab_hash((const uint8_t *)s, n);
    if (n == 0 || n > FERTILITY_WORD_MAX || !kept(w, hash)) return 0;
    int rc = insert(w, hash, s, n, 1, tokens, err);
    return rc >= 0 && w->used > FULL ? halve(w, err) : rc;
}

int fertility_words_join(struct fertility_words *to, const struct fertility_words *from,
                         struct err *err) {
    int rc = 0;
    while (to->halved < from->halved && rc >= 0) rc = halve(to, err);
    for (size_t i = 0; i < SLOTS && rc >= 0; i++) {
        const struct word *x = &from->slot[i];
        if (!x->n || !kept(to, x->hash)) continue;
        rc = insert(to, x->hash, from->text.v + x->at, x->n, x->count, x->tokens, err);
        if (rc >= 0 && to->used > FULL) rc = halve(to, err);
    }
    return rc;
}

void fertility_words_count(const struct fertility_words *w, uint64_t *distinct, uint64_t *single,
                           uint64_t *one_in) {
    *distinct = w->used;
    *single = 0;
    *one_in = (uint64_t)1 << w->halved;
    for (size_t i = 0; i < SLOTS; i++)
        *single += w->slot[i].n && w->slot[i].tokens == w->slot[i].count;
}

/* Tokens beyond one for each occurrence; a word may have none where a token spans two. */
static uint64_t wasted(const struct fertility_word *w) {
    return w->tokens > w->count ? w->tokens - w->count : 0;
}

static bool before(const struct fertility_word *a, const struct fertility_word *b) {
    if (wasted(a) != wasted(b)) return wasted(a) > wasted(b);
    size_t n = a->n < b->n ? a->n : b->n;
    int order = memcmp(a->text, b->text, n);
    return order ? order < 0 : a->n < b->n;
}

size_t fertility_words_costly(const struct fertility_words *w, struct fertility_word *v,
                              size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct word *x = &w->slot[i];
        struct fertility_word word = {w->text.v + x->at, x->n, x->count, x->tokens};
        if (!x->n || !wasted(&word)) continue;
        size_t at = n < most ? n++ : n;
        for (; at > 0 && before(&word, &v[at - 1]); at--)
            if (at < most) v[at] = v[at - 1];
        if (at < most) v[at] = word;
    }
    return n;
}
