/* One walk over the words of a text beside its tokens:
 *
 *   text     d e f   m a i n ( ) :\n             words  "def" " main():"
 *   tokens  [d e f][  m a i n][( )][:][\n]       of words 1 + 3, of the text 5 */
#include "tokenizer/fertility.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/unicode.h"
#include "tokenizer/vocab.h"

int fertility_init(struct fertility *f, const struct tokenizer *t, struct err *err) {
    memset(f, 0, sizeof *f);
    f->t = t;
    f->n_used = tokenizer_size(t);
    f->used = mem_array(f->n_used, sizeof *f->used);
    return f->used ? 0 : err_nomem(err, (uint64_t)f->n_used * sizeof *f->used);
}

static bool space_at(const uint8_t *p, const uint8_t *end, size_t *n) {
    uint32_t c;
    *n = unicode_decode(p, end, &c);
    return c != UNICODE_BAD && UNICODE_IN(unicode_cat(c), UNICODE_SPACE);
}

/* The next word at or behind text + *at: its bounds, the space before it included. False: none
 * is left. */
static bool next_word(const char *text, size_t n, size_t *at, size_t *ret_start, size_t *ret_end) {
    const uint8_t *base = (const uint8_t *)text, *p = base + *at, *end = base + n;
    size_t len;
    while (p < end && space_at(p, end, &len)) p += len;
    if (p == end) return false;
    *ret_start = (size_t)(p - base);
    if (*ret_start > *at && p[-1] == ' ') --*ret_start;
    while (p < end && !space_at(p, end, &len)) p += len;
    *ret_end = *at = (size_t)(p - base);
    return true;
}

/* Bytes that the ids have before the text: a prefixed space. */
static size_t prefixed(const struct fertility *f, const char *text, size_t n, bool begins) {
    return f->t->prefix_space && begins && n && text[0] != ' ';
}

static int count_words(struct fertility *f, const char *text, size_t n, bool begins,
                       struct err *err) {
    size_t at = 0, start, end, i = 0, len;
    int rc = 0;
    int64_t pos = -(int64_t)prefixed(f, text, n, begins); /* where token i starts */
    while (rc >= 0 && next_word(text, n, &at, &start, &end)) {
        uint64_t own = 0;
        for (; i < f->ids.n && pos < (int64_t)end; i++) {
            vocab_token(f->t, f->ids.v[i], &len);
            pos += (int64_t)len;
            own += pos > (int64_t)start;
        }
        f->words++;
        f->word_tokens += own;
        f->continued += own >= 2;
        f->by_length[own < FERTILITY_LENGTHS ? own : FERTILITY_LENGTHS - 1]++;
        if (f->seen) rc = fertility_words_add(f->seen, text + start, end - start, own, err);
    }
    return rc;
}

/* Whether the ids give the text back; a prefixed space is no loss. */
static int is_lossless(struct fertility *f, const char *text, size_t n, bool begins, bool *ret,
                       struct err *err) {
    size_t skip = prefixed(f, text, n, begins);
    f->text.n = 0;
    int rc = decode(f->t, f->ids.v, f->ids.n, false, &f->text, err);
    *ret = f->text.n == n + skip && (!n || memcmp(f->text.v + skip, text, n) == 0);
    return rc;
}

int fertility_count_part(struct fertility *f, struct encoder *e, const struct text_part *part,
                         bool is_last, struct fertility_document *d, struct err *err) {
    const char *text = part->text;
    size_t n = part->n;
    const uint64_t words = f->words, word_tokens = f->word_tokens;
    bool lossless = false;
    f->ids.n = 0;
    int rc = encode_part(e, NULL, part, TOKENIZER_SPECIAL_NONE, &f->ids, err);
    if (rc >= 0) rc = is_lossless(f, text, n, part->begins, &lossless, err);
    if (rc < 0) return rc;
    d->lossy |= !lossless;
    f->bytes += n;
    f->tokens += f->ids.n;
    for (size_t i = 0; i < n; i++) {
        f->chars += ((uint8_t)text[i] & 0xC0) != 0x80;
        f->lines += text[i] == '\n';
    }
    f->lines += is_last && n && text[n - 1] != '\n';
    for (size_t i = 0; i < f->ids.n; i++) {
        size_t len;
        vocab_token(f->t, f->ids.v[i], &len);
        f->byte_tokens += len == 1;
        f->used[f->ids.v[i]]++;
    }
    if (f->t->nfc && !nfc_is(f->t->nfc, text, n)) { /* the words of what was encoded */
        f->text.n = 0;
        rc = nfc_write(f->t->nfc, text, n, &f->text, NULL, err);
        if (rc < 0) return rc;
        text = f->text.v;
        n = f->text.n;
    }
    rc = count_words(f, text, n, part->begins, err);
    d->words += f->words - words;
    d->word_tokens += f->word_tokens - word_tokens;
    return rc;
}

void fertility_end(struct fertility *f, const struct fertility_document *d) {
    f->documents++;
    f->lossless += !d->lossy;
    f->rated += d->words > 0;
    if (d->words) f->rate_sum += (d->word_tokens << FERTILITY_RATE_BITS) / d->words;
}

int fertility_count(struct fertility *f, struct encoder *e, const char *text, size_t n,
                    struct err *err) {
    struct fertility_document d = {0};
    const struct text_part whole = {.text = text, .n = n, .begins = true};
    int rc = fertility_count_part(f, e, &whole, true, &d, err);
    if (rc >= 0) fertility_end(f, &d);
    return rc;
}

int fertility_add(struct fertility *to, const struct fertility *from, struct err *err) {
    to->documents += from->documents;
    to->bytes += from->bytes;
    to->chars += from->chars;
    to->lines += from->lines;
    to->tokens += from->tokens;
    to->words += from->words;
    to->word_tokens += from->word_tokens;
    to->continued += from->continued;
    to->byte_tokens += from->byte_tokens;
    to->lossless += from->lossless;
    to->rated += from->rated;
    to->rate_sum += from->rate_sum;
    for (size_t i = 0; i < FERTILITY_LENGTHS; i++) to->by_length[i] += from->by_length[i];
    for (uint32_t i = 0; i < to->n_used && i < from->n_used; i++) to->used[i] += from->used[i];
    return to->seen && from->seen ? fertility_words_join(to->seen, from->seen, err) : 0;
}

uint32_t fertility_distinct(const struct fertility *f) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_used; i++) n += f->used[i] > 0;
    return n;
}

uint64_t fertility_not_utf8(const struct fertility *f) {
    uint64_t sum = 0;
    for (uint32_t id = 0; id < f->n_used; id++) {
        size_t n;
        const uint8_t *p = f->used[id] ? vocab_token(f->t, id, &n) : NULL, *end = p ? p + n : NULL;
        uint32_t c = 0;
        while (p < end && c != UNICODE_BAD) p += unicode_decode(p, end, &c);
        if (c == UNICODE_BAD) sum += f->used[id];
    }
    return sum;
}

/* H_a = log2(sum p^a) / (1 - a);  a = 1: -sum p log2 p */
double fertility_entropy(const struct fertility *f, double alpha) {
    double sum = 0;
    if (!f->tokens) return 0;
    for (uint32_t id = 0; id < f->n_used; id++) {
        double p = (double)f->used[id] / (double)f->tokens;
        if (p > 0) sum += alpha == 1 ? -p * log2(p) : pow(p, alpha);
    }
    return alpha == 1 ? sum : log2(sum) / (1 - alpha);
}

int fertility_unreachable(const struct tokenizer *t, struct encoder *e, struct u32s *out,
                          struct err *err) {
    struct u32s ids = {0};
    int rc = 0;
    for (uint32_t id = 0; id < t->n && rc >= 0; id++) {
        size_t n;
        const uint8_t *p = vocab_token(t, id, &n);
        if (!t->kind[id] || t->kind[id] & TOKEN_SPECIAL) continue;
        ids.n = 0;
        rc = encode_piece(e, (const char *)p, n, &ids, err);
        if (rc >= 0 && (ids.n != 1 || ids.v[0] != id)) rc = u32s_push(out, id, err);
    }
    u32s_release(&ids);
    return rc;
}

int fertility_keep_words(struct fertility *f, struct err *err) {
    return f->seen ? 0 : fertility_words_new(&f->seen, err);
}

void fertility_release(struct fertility *f) {
    free(f->used);
    u32s_release(&f->ids);
    buf_release(&f->text);
    fertility_words_free(f->seen);
    memset(f, 0, sizeof *f);
}
