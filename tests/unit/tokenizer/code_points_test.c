/* The scanners by hand against PCRE2 with the published expressions: every code point, and every
 * surrogate as bytes that are none, among neighbours of each class; and one code point of each
 * category and length in bytes between every two classes. A scanner asks for nothing else of a
 * character, so the two together stand for every code point between every two classes.
 *
 * In a text of its own a neighbour would be at an end, so the groups stand one after the other,
 * kept apart by what no alternative crosses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/published.h"

static const char *const neighbours[] = {"a", "B", "1", " ", "\n", "(", "'", "\xcc\x81"};
enum { NEIGHBOURS = sizeof neighbours / sizeof *neighbours };

enum { STEP = 1 << 14, CODE_POINTS = 0x110000 };

/* The bytes UTF-8's rule gives, for surrogates too. */
static void put(struct buf *out, uint32_t cp) {
    char c[4];
    size_t n = unicode_encode(cp, c);
    if (cp >= 0xd800 && cp < 0xe000) {
        n = 3;
        c[0] = (char)(0xe0 | cp >> 12), c[1] = (char)(0x80 | (cp >> 6 & 63));
        c[2] = (char)(0x80 | (cp & 63));
    }
    assert_int_equal(buf_append(out, c, n, NULL), 0);
}

static void group(struct buf *t, uint32_t cp, int before, int behind) {
    assert_int_equal(buf_str(t, neighbours[before], NULL), 0);
    put(t, cp);
    assert_int_equal(buf_str(t, neighbours[behind], NULL), 0);
    assert_int_equal(buf_str(t, "x y\n", NULL), 0);
}

static void same(const char *what, const struct buf *t, const struct u32s *a,
                 const struct u32s *b) {
    size_t i = 0;
    while (i < a->n && i < b->n && a->v[i] == b->v[i]) i++;
    if (i == a->n && i == b->n) return;
    size_t from = i ? a->v[i - 1] : 0;
    for (size_t k = from; k < from + 24 && k < t->n; k++)
        print_error(" %02x", (unsigned char)t->v[k]);
    fail_msg("%s: piece %zu differs at byte %zu", what, i, from);
}

struct cutter {
    size_t form;
    struct scan_pcre *p;
    struct scan_matcher *m;
    struct buf text;
    struct u32s want, got;
};

static void cutter_begin(struct cutter *c, size_t form) {
    struct err err = {0};
    *c = (struct cutter){.form = form};
    assert_int_equal(scan_pcre_new(&c->p, published[form].regex, &err), 0);
    assert_int_equal(scan_matcher_new(&c->m, c->p, &err), 0);
}

static void cutter_end(struct cutter *c) {
    scan_matcher_free(c->m);
    scan_pcre_free(c->p);
    buf_release(&c->text);
    u32s_release(&c->want);
    u32s_release(&c->got);
}

/* Compares the text's pieces and empties it. */
static void compare(struct cutter *c) {
    const uint8_t *text = (const uint8_t *)c->text.v;
    struct err err = {0};
    c->want.n = c->got.n = 0;
    assert_int_equal(scan_matcher_cut(c->m, text, c->text.n, &c->want, &err), 0);
    assert_int_equal(
        published[c->form].fast(&published[c->form].form, text, c->text.n, &c->got, &err), 0);
    same(published[c->form].regex, &c->text, &c->want, &c->got);
    c->text.n = 0;
}

/* Behind plane 3 and before plane 14, and in the private planes, all are alike. */
static bool is_alike(uint32_t cp) {
    return cp >= 0x32400 && (cp < 0xe0000 || cp >= 0xe0200) && cp % 97 != 0;
}

/* The groups tell letters, numbers, white space and the rest apart, and (o200k) what is a capital,
 * what is small, and what is both. */
static void every_code_point_has_its_class(void **state) {
    (void)state;
    struct cutter c;
    for (size_t f = 0; f < PUBLISHED; f += PUBLISHED - 1) {
        cutter_begin(&c, f);
        for (uint32_t from = 0; from < CODE_POINTS; from += STEP) {
            for (uint32_t cp = from; cp < from + STEP; cp++) {
                if (is_alike(cp)) continue;
                buf_str(&c.text, "a", NULL);
                put(&c.text, cp);
                buf_str(&c.text, "B ", NULL);
                put(&c.text, cp);
                buf_str(&c.text, "Ba\n\xe4\xb8\x80", NULL); /* letters of Asia pass by themselves */
                put(&c.text, cp);
                buf_str(&c.text, "\xe4\xb8\x80\n", NULL);
            }
            compare(&c);
        }
        cutter_end(&c);
    }
}

static void every_category_between_all_classes(void **state) {
    (void)state;
    bool seen[CAT_COUNT][5] = {{false}};
    struct u32s chosen = {0};
    struct cutter c;
    for (uint32_t cp = 0; cp < CODE_POINTS; cp++) {
        bool *there = &seen[unicode_cat(cp)][cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4];
        if (cp >= 0x80 && *there) continue; /* of ASCII all */
        *there = true;
        u32s_push(&chosen, cp, NULL);
    }
    u32s_push(&chosen, 0x17f, NULL); /* the long s of contractions */
    for (size_t f = 0; f < PUBLISHED; f++) {
        cutter_begin(&c, f);
        for (int pair = 0; pair < NEIGHBOURS * NEIGHBOURS; pair++) {
            for (size_t i = 0; i < chosen.n; i++)
                group(&c.text, chosen.v[i], pair / NEIGHBOURS, pair % NEIGHBOURS);
            compare(&c);
        }
        cutter_end(&c);
    }
    u32s_release(&chosen);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_code_point_has_its_class),
                                       cmocka_unit_test(every_category_between_all_classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
