/* See merges_vocab.h. Specials are few, so they are searched one by one. */
#include "tokenizer/merges_vocab.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/bytemap.h"
#include "tokenizer/read.h"

/* Appends a token; `len` as the merges count it. */
static int add_token(struct merges_vocab *v, const void *bytes, size_t n, uint32_t len,
                     struct err *err) {
    int rc = buf_append(&v->bytes, bytes, n, err);
    if (rc == 0) rc = u64s_push(&v->start, v->bytes.n, err);
    if (rc == 0) rc = u32s_push(&v->len, len, err);
    if (rc == 0) v->n++;
    return rc;
}

/* The special that the mapped characters of bytes[0..n) spell, or TOKENIZER_NO_ID. */
static uint32_t find_special(const struct merges_vocab *v, const char *bytes, size_t n) {
    for (size_t i = 0, from = 0; i < v->unmapped_end.n; from = v->unmapped_end.v[i++]) {
        size_t len = v->unmapped_end.v[i] - from;
        if (len == n && memcmp(v->unmapped.v + from, bytes, n) == 0) return (uint32_t)i;
    }
    return TOKENIZER_NO_ID;
}

/* A special that other bytes are spelled like (a byte that is mapped to "é") cannot mean both. */
static int check_reuse(const struct merges_vocab *v, uint32_t id, struct err *err) {
    uint64_t from = id ? v->unmapped_end.v[id - 1] : 0;
    const char *text = v->special.v[id];
    size_t n = (size_t)(v->unmapped_end.v[id] - from);
    if (strlen(text) == n && memcmp(text, v->unmapped.v + from, n) == 0) return 0;
    return err_set(
        err, ERR_USAGE,
        "the special token %s is also how vocab.json spells %zu byte%s of ordinary text; "
        "choose another, in ASCII",
        text, n, n == 1 ? "" : "s");
}

int merges_vocab_add_special(struct merges_vocab *v, const char *text, struct err *err) {
    for (size_t i = 0; i < v->special.n; i++)
        if (strcmp(v->special.v[i], text) == 0) return 0;
    if (!read_is_text((const uint8_t *)text, strlen(text)))
        return err_set(err, ERR_USAGE, "the special token %s is not UTF-8", text);
    size_t was = v->unmapped.n;
    int rc = strs_push(&v->special, text, err);
    if (rc == 0) rc = bytemap_read(&v->unmapped, text, strlen(text), err);
    if (rc >= 0) rc = u64s_push(&v->unmapped_end, v->unmapped.n, err);
    if (rc < 0) return rc;
    return add_token(v, text, strlen(text), (uint32_t)(v->unmapped.n - was), err);
}

struct frequency {
    uint64_t count;
    uint32_t character; /* as mapped */
};

static int by_frequency(const void *x, const void *y) {
    const struct frequency *a = x, *b = y;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    return a->character < b->character ? -1 : 1;
}

/* Which bytes get a token. */
static void choose_alphabet(const struct bpe_train_opts *opts, const struct words *words,
                            bool keep[256]) {
    struct frequency of[256];
    bool limited = opts->limit_alphabet && opts->limit_alphabet < 256;
    for (int i = 0; i < 256; i++) of[i] = (struct frequency){0, bytemap_char((uint8_t)i)};
    for (uint64_t i = 0; (limited || opts->seen_alphabet) && i < words_distinct(words); i++) {
        size_t n;
        uint64_t count;
        const char *p = words_get(words, i, &n, &count);
        for (size_t k = 0; k < n; k++) of[(uint8_t)p[k]].count += count;
    }
    qsort(of, 256, sizeof *of, by_frequency);
    for (uint32_t i = 0; i < 256; i++) {
        bool there = of[i].count || !opts->seen_alphabet;
        keep[bytemap_byte(of[i].character)] = there && (!limited || i < opts->limit_alphabet);
    }
}

int merges_vocab_init(struct merges_vocab *v, const struct bpe_train_opts *opts,
                      const struct words *words, struct err *err) {
    bool keep[256];
    *v = (struct merges_vocab){0};
    if (opts->extend) return merges_vocab_extend(v, opts, err);
    choose_alphabet(opts, words, keep);
    int rc = u64s_push(&v->start, 0, err);
    for (size_t i = 0; rc == 0 && i < opts->n_specials; i++) {
        if (!*opts->specials[i]) return err_set(err, ERR_USAGE, "a special token may not be empty");
        rc = merges_vocab_add_special(v, opts->specials[i], err);
    }
    for (int i = 0; rc == 0 && i < 256; i++) {
        char byte = (char)(opts->byte_order ? i : bytemap_order()[i]);
        uint32_t id = find_special(v, &byte, 1), *to = &v->byte_id[(uint8_t)byte];
        *to = id; /* the special's, also where the alphabet leaves the byte out */
        if (id != TOKENIZER_NO_ID) {
            rc = check_reuse(v, id, err); /* a reader could not tell the two apart */
        } else if (keep[(uint8_t)byte]) {
            *to = v->n;
            rc = add_token(v, &byte, 1, 1, err);
        }
    }
    return rc;
}

int merges_vocab_cut(const struct merges_vocab *v, const char *word, size_t n, struct u32s *out,
                     struct err *err) {
    if (v->old) return encode_piece(v->encoder, word, n, out, err);
    int rc = u32s_reserve(out, n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        uint32_t id = v->byte_id[(uint8_t)word[i]];
        if (id != TOKENIZER_NO_ID) out->v[out->n++] = id;
    }
    return rc;
}

bool merges_vocab_spells_special(const struct merges_vocab *v, uint32_t left, uint32_t right) {
    size_t nl = (size_t)(v->start.v[left + 1] - v->start.v[left]);
    size_t nr = (size_t)(v->start.v[right + 1] - v->start.v[right]);
    for (size_t i = 0, from = 0; i < v->unmapped_end.n; from = v->unmapped_end.v[i++]) {
        const char *text = v->unmapped.v + from;
        if (v->unmapped_end.v[i] - from != nl + nr) continue;
        if (memcmp(text, v->bytes.v + v->start.v[left], nl) == 0 &&
            memcmp(text + nl, v->bytes.v + v->start.v[right], nr) == 0)
            return true;
    }
    return false;
}

int merges_vocab_add(struct merges_vocab *v, uint32_t left, uint32_t right, uint32_t *ret_id,
                     struct err *err) {
    size_t nl = v->start.v[left + 1] - v->start.v[left];
    size_t nr = v->start.v[right + 1] - v->start.v[right];
    int rc = buf_reserve(&v->bytes, nl + nr, err);
    if (rc < 0) return rc;
    struct merge *m = mem_grown(v->merge, v->n_merges, &v->cap_merges, 1, sizeof *m, err);
    if (!m) return ERR_NOMEM;
    v->merge = m;
    char *joined = v->bytes.v + v->bytes.n; /* behind the used part, so it may simply stay there */
    memcpy(joined, v->bytes.v + v->start.v[left], nl);
    memcpy(joined + nl, v->bytes.v + v->start.v[right], nr);
    uint32_t id = find_special(v, joined, nl + nr);
    if (id != TOKENIZER_NO_ID && (rc = check_reuse(v, id, err)) < 0) return rc;
    if (id == TOKENIZER_NO_ID) {
        id = v->n;
        v->bytes.n += nl + nr;
        rc = u64s_push(&v->start, v->bytes.n, err);
        if (rc == 0) rc = u32s_push(&v->len, v->len.v[left] + v->len.v[right], err);
        if (rc < 0) return rc;
        v->n++;
    }
    v->merge[v->n_merges++] = (struct merge){left, right, id};
    *ret_id = id;
    return 0;
}

/* A special with the flags that it has in `like`, or those that HF's trainer gives it. */
static struct special special_of(uint32_t id, const char *text, const struct tokenizer *like) {
    const struct special *old;
    uint32_t n = like ? tokenizer_specials(like, &old) : 0;
    /* normalized: as in GPT-2's own file; without a normalizer it makes no difference */
    struct special s = {.special = true, .normalized = strcmp(text, TOKENIZER_EOT) == 0};
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(old[i].text, text) == 0) s = old[i];
    s.id = id;
    s.text = text;
    return s;
}

static const char *pattern_of(const struct bpe_train_opts *o) {
    if (o->pattern) return o->pattern;
    return o->like ? tokenizer_pattern(o->like) : "gpt2";
}

int merges_vocab_build(const struct merges_vocab *v, const struct bpe_train_opts *opts,
                       struct tokenizer **ret, struct err *err) {
    if (v->old) return merges_vocab_build_extended(v, ret, err);
    if (!v->n)
        return err_set(err, ERR_DATA,
                       "no token at all: the alphabet is that of a text without "
                       "bytes, and there are no special tokens");
    struct special *specials = mem_array(v->special.n + 1, sizeof *specials);
    if (!specials) return err_nomem(err, v->special.n * sizeof *specials);
    for (size_t i = 0; i < v->special.n; i++)
        specials[i] = special_of((uint32_t)i, v->special.v[i], opts->like);
    struct tokenizer_parts parts = {.pattern = pattern_of(opts),
                                    .n_tokens = v->n,
                                    .bytes = (const uint8_t *)v->bytes.v,
                                    .start = v->start.v,
                                    .n_merges = v->n_merges,
                                    .merges = v->merge,
                                    .n_specials = (uint32_t)v->special.n,
                                    .specials = specials};
    int rc = tokenizer_build(ret, &parts, err);
    free(specials);
    if (rc == 0 && opts->like) rc = merges_vocab_like(*ret, opts->like, err);
    if (rc == 0 && opts->like) rc = added_keep(*ret, opts->like, err);
    if (rc == 0) return 0;
    tokenizer_free(*ret);
    *ret = NULL;
    return rc;
}

void merges_vocab_release(struct merges_vocab *v) {
    u32s_release(&v->len);
    buf_release(&v->bytes);
    u64s_release(&v->start);
    strs_release(&v->special);
    buf_release(&v->unmapped);
    u64s_release(&v->unmapped_end);
    free(v->merge);
    encoder_free(v->encoder);
    tokenizer_free(v->base);
    free(v->joined);
    *v = (struct merges_vocab){0};
}
