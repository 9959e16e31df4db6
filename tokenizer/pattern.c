/* Names and published spellings ──▶ a hand-written scanner; everything else ──▶ PCRE2. */
#include "tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/scan.h"

struct pattern {
    char *name;
    const char *regex; /* static, or == name */
    struct scan_form form;
    struct scan_pcre *pcre; /* SCAN_REGEX only */
};

struct scanner {
    const struct pattern *pattern;
    struct scan_matcher *matcher; /* SCAN_REGEX only */
};

#define TAIL_HF "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2_HF "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CL100K_HF(DIGITS)                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL_HF
#define RUSTBPE(DIGITS)                                                                            \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|" DIGITS                                 \
    "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define O200K_LEAD  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_END   "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
#define O200K                                                                                      \
    O200K_LEAD "*" O200K_LOWER "+" O200K_END O200K_LEAD "+" O200K_LOWER "*" O200K_END              \
               "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL_HF

static const struct known {
    const char *name, *regex; /* as HF can read it; Oniguruma's $ and {1,3}+ are not Rust's     */
    struct scan_form form;
    const char *also; /* another published spelling of the same pieces, or NULL */
} known[] = {
    {"gpt2",
     GPT2_HF,
     {SCAN_GPT2, 0, false},
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}++| ?\\p{N}++| ?[^\\s\\p{L}\\p{N}]++|\\s++$|\\s+(?!\\S)|\\s"},
    {"gpt2",
     GPT2_HF,
     {SCAN_GPT2, 0, false},
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {"cl100k", CL100K_HF("\\p{N}{1,3}"), {SCAN_CL100K, 3, false}, RUSTBPE("\\p{N}{1,3}")},
    {"llama3", CL100K_HF("\\p{N}{1,3}"), {SCAN_CL100K, 3, false}, NULL},
    {"qwen2", CL100K_HF("\\p{N}"), {SCAN_CL100K, 1, false}, NULL},
    {"nanochat", CL100K_HF("\\p{N}{1,2}"), {SCAN_CL100K, 2, false}, RUSTBPE("\\p{N}{1,2}")},
    {"o200k", O200K, {SCAN_O200K, 3, false}, NULL},
    /* cl100k as tiktoken spells it now: white space at the end of a text is one piece. Its ids are
     * those of the first spelling, which is what HF gets. */
    {"cl100k-tiktoken",
     CL100K_HF("\\p{N}{1,3}"),
     {SCAN_CL100K, 3, true},
     "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| "
     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+"
     "|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"},
};

static const struct known *find_known(const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0 || strcmp(known[i].regex, name) == 0 ||
            (known[i].also && strcmp(known[i].also, name) == 0))
            return &known[i];
    return NULL;
}

int pattern_open(struct pattern **ret, const char *name, struct err *err) {
    *ret = NULL;
    const struct known *k = find_known(name);
    struct pattern *p = calloc(1, sizeof *p);
    if (!p || !(p->name = strdup(k ? k->name : name))) {
        free(p);
        return err_nomem(err, sizeof *p);
    }
    p->regex = k ? k->regex : p->name;
    p->form = k ? k->form : (struct scan_form){SCAN_REGEX, 0, false};
    int rc = k ? 0 : pattern_portable(name, err);
    if (rc == 0 && !k) rc = scan_pcre_new(&p->pcre, name, err);
    if (rc == 0 && !k && scan_pcre_may_be_empty(p->pcre))
        rc = err_set(err, ERR_USAGE,
                     "pattern %s: it can match nothing at all, and HF tokenizers cuts there too",
                     name);
    if (rc < 0) {
        pattern_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void pattern_free(struct pattern *p) {
    if (!p) return;
    scan_pcre_free(p->pcre);
    free(p->name);
    free(p);
}

const char *pattern_name(const struct pattern *p) {
    return p->name;
}

const char *pattern_regex(const struct pattern *p) {
    return p->form.kind == SCAN_GPT2 ? NULL : p->regex;
}

bool pattern_known(const struct pattern *p) {
    return p->form.kind != SCAN_REGEX;
}

int scanner_new(struct scanner **ret, const struct pattern *p, struct err *err) {
    *ret = NULL;
    struct scanner *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(err, sizeof *s);
    s->pattern = p;
    int rc = p->pcre ? scan_matcher_new(&s->matcher, p->pcre, err) : 0;
    if (rc < 0) {
        scanner_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void scanner_free(struct scanner *s) {
    if (!s) return;
    scan_matcher_free(s->matcher);
    free(s);
}

int scanner_cut(struct scanner *s, const char *text, size_t n, struct u32s *out, struct err *err) {
    static const scan_fn scan[] = {
        [SCAN_GPT2] = scan_gpt2, [SCAN_CL100K] = scan_cl100k, [SCAN_O200K] = scan_o200k};
    const struct scan_form *f = &s->pattern->form;
    const uint8_t *t = (const uint8_t *)text;
    out->n = 0;
    if (n > UINT32_MAX - 64)
        return err_set(err, ERR_DATA, "a text of %zu bytes: a single text may have 4 GB", n);
    return f->kind == SCAN_REGEX ? scan_matcher_cut(s->matcher, t, n, out, err)
                                 : scan[f->kind](f, t, n, out, err);
}
