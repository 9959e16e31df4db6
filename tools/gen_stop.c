/* See gen_stop.h. Only the beginning of a match matters. A regular expression is asked with
 * PCRE2_PARTIAL_HARD while the text grows: a match that the next byte might change is not one yet,
 * but it says from where on the text is undecided. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tools/gen_stop.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/utf8.h"

struct stop_rule {
    const char *text;
    pcre2_code *code; /* NULL: `text` itself is looked for */
    pcre2_match_data *match;
};

static int add(struct stops *s, struct stop_rule rule, struct err *err) {
    struct stop_rule *v = mem_resize(s->v, s->n + 1, sizeof *v);
    if (!v) return err_nomem(err, (s->n + 1) * sizeof *v);
    s->v = v;
    v[s->n++] = rule;
    return 0;
}

int stops_add_string(struct stops *s, const char *text, struct err *err) {
    if (!*text) return err_set(err, ERR_USAGE, "--stop is empty: every text would end at once");
    return add(s, (struct stop_rule){.text = text}, err);
}

int stops_add_regex(struct stops *s, const char *regex, struct err *err) {
    int code;
    PCRE2_SIZE at;
    struct stop_rule rule = {.text = regex};
    rule.code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                              &code, &at, NULL);
    if (!rule.code) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, ERR_USAGE, "the expression \"%s\" is wrong at byte %zu: %s", regex,
                       (size_t)at, (const char *)why);
    }
    rule.match = pcre2_match_data_create(1, NULL);
    int rc = rule.match ? add(s, rule, err) : err_nomem(err, 0);
    if (rc < 0) {
        pcre2_match_data_free(rule.match);
        pcre2_code_free(rule.code);
    }
    return rc;
}

void stops_release(struct stops *s) {
    for (size_t i = 0; i < s->n; i++) {
        pcre2_match_data_free(s->v[i].match);
        pcre2_code_free(s->v[i].code);
    }
    free(s->v);
    *s = (struct stops){0};
}

/* First place of the string, or n; *ret_open: where an unfinished one begins, or n. */
static size_t find_string(const char *text, const char *v, size_t n, size_t from, bool more,
                          size_t *ret_open) {
    size_t len = strlen(text);
    const char *p = memmem(v + from, n - from, text, len);
    *ret_open = n;
    if (p) return (size_t)(p - v);
    for (size_t k = len - 1 < n - from ? len - 1 : n - from; more && k > 0; k--)
        if (memcmp(v + n - k, text, k) == 0) {
            *ret_open = n - k;
            break;
        }
    return n;
}

/* The text with every byte that is no character's as a SUB, which no expression asks for. (PCRE2's
 * own way with such bytes does not go together with partial matches.) */
static int clean_copy(struct buf *to, const char *v, size_t n, struct err *err) {
    to->n = 0;
    int rc = buf_append(to, v, n, err);
    for (size_t i = 0; rc == 0 && i < n;) {
        int step = utf8_step((const unsigned char *)v + i, n - i);
        for (; step < 0; step++) to->v[i++] = 0x1a;
        i += (size_t)step;
    }
    return rc;
}

/* The same for an expression. */
static int find_regex(const struct stop_rule *r, const char *v, size_t n, size_t from, bool more,
                      size_t *ret_at, size_t *ret_open, struct err *err) {
    int rc = pcre2_match(r->code, (PCRE2_SPTR)v, n, from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | (more ? PCRE2_PARTIAL_HARD : 0),
                         r->match, NULL);
    size_t at = rc >= 0 || rc == PCRE2_ERROR_PARTIAL ? pcre2_get_ovector_pointer(r->match)[0] : n;
    *ret_at = rc >= 0 ? at : n;
    *ret_open = rc == PCRE2_ERROR_PARTIAL ? at : n;
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH || rc == PCRE2_ERROR_PARTIAL) return 0;
    PCRE2_UCHAR why[128];
    pcre2_get_error_message(rc, why, sizeof why);
    return err_set(err, ERR_DATA, "the expression \"%s\" gave up: %s", r->text, (const char *)why);
}

int stops_find(const struct stops *s, const char *v, size_t n, size_t from, bool more,
               size_t *ret_at, size_t *ret_open, const char **ret_by, struct err *err) {
    size_t first = n, open = n;
    const char *by = NULL;
    struct buf clean = {0};
    int rc = 0;
    for (size_t i = 0; i < s->n && rc == 0; i++) {
        size_t at = n, maybe = n;
        if (s->v[i].code) {
            if (!clean.v) rc = clean_copy(&clean, v, n, err);
            if (rc == 0) rc = find_regex(&s->v[i], clean.v, n, from, more, &at, &maybe, err);
        } else {
            at = find_string(s->v[i].text, v, n, from, more, &maybe);
        }
        if (at < first) first = at, by = s->v[i].text;
        if (maybe < open) open = maybe;
    }
    buf_release(&clean);
    if (open < first) first = n, by = NULL; /* an earlier one may yet come of it */
    *ret_at = first;
    *ret_open = first < n ? first : open;
    *ret_by = by;
    return rc;
}

size_t stops_strip(const char *v, size_t n) {
    static const char *const wide[] = {
        "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
        "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
        "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
        "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    for (;;) {
        size_t was = n;
        while (n && (v[n - 1] == ' ' || (v[n - 1] >= '\t' && v[n - 1] <= '\r') ||
                     (v[n - 1] >= 0x1c && v[n - 1] <= 0x1f)))
            n--;
        for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
            size_t len = strlen(wide[i]);
            if (n >= len && memcmp(v + n - len, wide[i], len) == 0) n -= len;
        }
        if (n == was) return n;
    }
}
