/* One walk over the words of a text beside its tokens:
 *
 *   text     d e f   m a i n ( ) :\n             words  "def" " main():"
 *   tokens  [d e f][  m a i n][( )][:][\n]       of words 1 + 3, of the text 5 */
#include "tokenizer/fertility.h"

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

static void count_words(struct fertility *f, const char *text, size_t n) {
    size_t at = 0, start, end, i = 0, len;
    /* Where token i starts; a prefixed space is a byte that the text does not have. */
    int64_t pos = f->t->prefix_space && n && text[0] != ' ' ? -1 : 0;
    while (next_word(text, n, &at, &start, &end)) {
        uint64_t own = 0;
        for (; i < f->ids.n && pos < (int64_t)end; i++) {
            vocab_token(f->t, f->ids.v[i], &len);
            pos += (int64_t)len;
            own += pos > (int64_t)start;
        }
        f->words++;
        f->word_tokens += own;
        f->continued += own >= 2;
    }
}

int fertility_count(struct fertility *f, struct encoder *e, const char *text, size_t n,
                    struct err *err) {
    f->ids.n = 0;
    int rc = encode(e, text, n, TOKENIZER_SPECIAL_NONE, &f->ids, err);
    if (rc < 0) return rc;
    f->documents++;
    f->bytes += n;
    f->tokens += f->ids.n;
    for (size_t i = 0; i < n; i++) {
        f->chars += ((uint8_t)text[i] & 0xC0) != 0x80;
        f->lines += text[i] == '\n';
    }
    f->lines += n && text[n - 1] != '\n';
    for (size_t i = 0; i < f->ids.n; i++) {
        size_t len;
        vocab_token(f->t, f->ids.v[i], &len);
        f->byte_tokens += len == 1;
        f->used[f->ids.v[i]]++;
    }
    count_words(f, text, n);
    return 0;
}

void fertility_add(struct fertility *to, const struct fertility *from) {
    to->documents += from->documents;
    to->bytes += from->bytes;
    to->chars += from->chars;
    to->lines += from->lines;
    to->tokens += from->tokens;
    to->words += from->words;
    to->word_tokens += from->word_tokens;
    to->continued += from->continued;
    to->byte_tokens += from->byte_tokens;
    for (uint32_t i = 0; i < to->n_used && i < from->n_used; i++) to->used[i] += from->used[i];
}

uint32_t fertility_distinct(const struct fertility *f) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_used; i++) n += f->used[i] > 0;
    return n;
}

void fertility_release(struct fertility *f) {
    free(f->used);
    u32s_release(&f->ids);
    memset(f, 0, sizeof *f);
}
