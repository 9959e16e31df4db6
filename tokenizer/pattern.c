/* Names and published spellings ──▶ a hand-written scanner; everything else ──▶ PCRE2. Several
 * expressions are steps: each cuts the pieces that the one before left, and sees one at a time.
 *
 *   "\\p{N}\ngpt2"    "in 2024 x"  ──▶  "in " "2" "0" "2" "4" " x"  ──▶  "in" " " "2" "0" … " x" */
#include "tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>
#include "base/opt.h"
#include "tokenizer/scan.h"

enum { STEPS = 16 };

struct step {
    char *own;         /* an expression that is not a known one, or NULL */
    const char *regex; /* static, or == own */
    struct scan_form form;
    struct scan_pcre *pcre; /* SCAN_REGEX only */
};

struct pattern {
    char *name;
    struct step step[STEPS];
    size_t n; /* steps; 1 nearly always */
};

struct scanner {
    const struct pattern *pattern;
    struct scan_matcher *matcher[STEPS]; /* SCAN_REGEX only */
    struct u32s before;                  /* ends of the pieces that a step is to cut */
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
    /* HF's Digits, and how newer families cut numbers first; known by their expressions only */
    {"\\p{N}", "\\p{N}", {SCAN_NUMBERS, 1, false}, NULL},
    {"\\p{N}+", "\\p{N}+", {SCAN_NUMBERS, UINT32_MAX, false}, NULL},
    {"\\p{N}{1,3}", "\\p{N}{1,3}", {SCAN_NUMBERS, 3, false}, NULL},
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

/* Qwen3.5's: as qwen2's, with marks among the letters. */
#define QWEN35                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"                    \
    "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL_HF

/* Names of several steps, and of expressions without a scanner of their own. */
static const char *const chains[][2] = {{"starcoder", "\\p{N}\ngpt2"}, {"qwen3.5", QWEN35}};

static const char *chain_of(const char *name, int from, int to) {
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++)
        if (strcmp(chains[i][from], name) == 0) return chains[i][to];
    return name;
}

/* Letters, digits, '-', '_' and '.', of which the first is a letter. */
static bool looks_like_name(const char *s, size_t n) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return n >= 3 && strspn(s, letters) >= n && strcspn(s, "0123456789-_.") > 0;
}

static int check_step_name(const char *step, size_t n, struct err *err) {
    const char *names[sizeof known / sizeof *known + sizeof chains / sizeof *chains];
    size_t n_names = 0;
    char name[64];
    if (!looks_like_name(step, n) || n >= sizeof name) return 0;
    memcpy(name, step, n);
    name[n] = 0;
    if (find_known(name)) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].name[0] != '\\') names[n_names++] = known[i].name;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) names[n_names++] = chains[i][0];
    const char *near = nearest_name(name, names, n_names);
    return err_set(err, ERR_USAGE,
                   "no pattern is called %s; did you mean %s? As an expression it would be (?:%s)",
                   name, near ? near : "gpt2, cl100k, o200k, llama3, qwen2, qwen3.5 or starcoder",
                   name);
}

const char *pattern_line(const char **at, size_t *ret_n) {
    const char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!line) return NULL;
    *ret_n = end ? (size_t)(end - line) : strlen(line);
    *at = end ? end + 1 : NULL;
    return line;
}

int pattern_check_names(const char *given, struct err *err) {
    const char *at = chain_of(given, 0, 1), *line;
    size_t n;
    int rc = 0;
    while (rc == 0 && (line = pattern_line(&at, &n))) rc = check_step_name(line, n, err);
    return rc;
}

/* One step; *ret_name is what it is called, valid as long as the step. */
static int step_open(struct step *s, const char *given, size_t n, const char **ret_name,
                     struct err *err) {
    s->own = strndup(given, n);
    if (!s->own) return err_nomem(err, n);
    const struct known *k = find_known(s->own);
    s->regex = k ? k->regex : s->own;
    s->form = k ? k->form : (struct scan_form){SCAN_REGEX, 0, false};
    *ret_name = k ? k->name : s->own;
    if (k) return 0;
    if (!n) return err_set(err, ERR_USAGE, "pattern: an empty line; it would be a step");
    int rc = pattern_portable(s->own, err);
    if (rc == 0) rc = scan_pcre_new(&s->pcre, s->own, err);
    if (rc == 0 && scan_pcre_may_be_empty(s->pcre))
        rc = err_set(err, ERR_USAGE,
                     "pattern %s: it can match nothing at all, and HF tokenizers cuts there too",
                     s->own);
    return rc;
}

static int steps_open(struct pattern *p, const char *given, struct err *err) {
    struct buf name = {0};
    const char *at = given, *line, *step = NULL;
    size_t n;
    int rc = 0;
    while (rc == 0 && (line = pattern_line(&at, &n))) {
        if (p->n == STEPS)
            rc = err_set(err, ERR_USAGE, "a pattern of more than %d steps", (int)STEPS);
        else
            rc = step_open(&p->step[p->n++], line, n, &step, err);
        if (rc == 0 && line > given) rc = buf_char(&name, '\n', err);
        if (rc == 0) rc = buf_str(&name, step, err);
    }
    if (rc == 0 && !buf_cstr(&name)) rc = err_nomem(err, name.n);
    if (rc == 0 && !(p->name = strdup(chain_of(name.v, 1, 0)))) rc = err_nomem(err, name.n);
    buf_release(&name);
    return rc;
}

int pattern_open(struct pattern **ret, const char *name, struct err *err) {
    struct pattern *p = calloc(1, sizeof *p);
    *ret = NULL;
    if (!p) return err_nomem(err, sizeof *p);
    int rc = steps_open(p, chain_of(name, 0, 1), err);
    if (rc < 0) {
        pattern_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void pattern_free(struct pattern *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) {
        scan_pcre_free(p->step[i].pcre);
        free(p->step[i].own);
    }
    free(p->name);
    free(p);
}

const char *pattern_name(const struct pattern *p) {
    return p->name;
}

size_t pattern_steps(const struct pattern *p) {
    return p->n;
}

const char *pattern_regex(const struct pattern *p, size_t step) {
    bool last = step + 1 == p->n;
    return last && p->step[step].form.kind == SCAN_GPT2 ? NULL : p->step[step].regex;
}

bool pattern_covers(const struct pattern *p) {
    enum scan_kind kind = p->step[0].form.kind;
    return p->n == 1 && kind != SCAN_REGEX && kind != SCAN_NUMBERS;
}

bool pattern_known(const struct pattern *p) {
    bool cuts = false; /* numbers alone cut nothing before a blank */
    for (size_t i = 0; i < p->n; i++) {
        if (p->step[i].form.kind == SCAN_REGEX) return false;
        cuts |= p->step[i].form.kind != SCAN_NUMBERS;
    }
    return cuts;
}

int scanner_new(struct scanner **ret, const struct pattern *p, struct err *err) {
    *ret = NULL;
    struct scanner *s = calloc(1, sizeof *s);
    if (!s) return err_nomem(err, sizeof *s);
    s->pattern = p;
    int rc = 0;
    for (size_t i = 0; i < p->n && rc == 0; i++)
        if (p->step[i].pcre) rc = scan_matcher_new(&s->matcher[i], p->step[i].pcre, err);
    if (rc < 0) {
        scanner_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void scanner_free(struct scanner *s) {
    if (!s) return;
    for (size_t i = 0; i < STEPS; i++) scan_matcher_free(s->matcher[i]);
    u32s_release(&s->before);
    free(s);
}

const struct scan_form *scanner_form(const struct scanner *s, size_t step) {
    return &s->pattern->step[step].form;
}

struct scan_matcher *scanner_matcher(const struct scanner *s, size_t step) {
    return s->matcher[step];
}

int scanner_step(struct scanner *s, size_t step, const uint8_t *text, size_t n, struct u32s *out,
                 struct err *err) {
    static const scan_fn scan[] = {[SCAN_GPT2] = scan_gpt2,
                                   [SCAN_CL100K] = scan_cl100k,
                                   [SCAN_O200K] = scan_o200k,
                                   [SCAN_NUMBERS] = scan_numbers};
    const struct scan_form *f = &s->pattern->step[step].form;
    return f->kind == SCAN_REGEX ? scan_matcher_cut(s->matcher[step], text, n, out, err)
                                 : scan[f->kind](f, text, n, out, err);
}

int scanner_cut(struct scanner *s, const char *text, size_t n, struct u32s *out, struct err *err) {
    const uint8_t *t = (const uint8_t *)text;
    out->n = 0;
    if (n > UINT32_MAX - 64)
        return err_set(err, ERR_DATA, "a text of %zu bytes: a single text may have 4 GB", n);
    int rc = scanner_step(s, 0, t, n, out, err);
    for (size_t step = 1; step < s->pattern->n && rc == 0; step++) {
        struct u32s cut = *out;
        *out = s->before;
        s->before = cut;
        out->n = 0;
        for (size_t i = 0, from = 0; i < cut.n && rc == 0; from = cut.v[i++]) {
            size_t first = out->n;
            rc = scanner_step(s, step, t + from, cut.v[i] - from, out, err);
            for (size_t k = first; k < out->n; k++) out->v[k] += (uint32_t)from;
        }
    }
    return rc;
}
