/* Any expression, through PCRE2.
 *
 * PCRE2 has Unicode tables of its own, of whatever version it was built with, and its \s and \d are
 * of ASCII unless told otherwise. So \p{…}, \s \d \w and their opposites are first written out as
 * explicit classes from our tables (expand()).
 *
 *   [^\s\p{L}]+   ──▶   [^\x{9}-\x{d}\x{20}\x{85}…\x{41}-\x{5a}\x{61}…]+
 *
 * The text is matched as UTF-8. If it is not valid, a copy is matched in which each bad byte is the
 * control character SUB: neither letter, nor number, nor white space, and of the same length. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/scan.h"

struct scan_pcre {
    pcre2_code *code;
};

struct scan_matcher {
    const pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct buf copy; /* of an invalid text */
};

/* ---- sets of characters ---- */

enum { BAD_SUB = 0x1a };
/* $ is the end of the text only, as in Rust's regex. */
enum { COMPILE = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY };

struct range {
    uint32_t from, to;
};

/* A set of characters: categories, and what they do not say. */
struct set {
    uint32_t cats;
    const struct range *more; /* NULL: none */
    size_t n_more;
};

/* Of Oniguruma's \w, which is HF's: circled letters (Other_Alphabetic) and, outside a class, what
 * Latin-1 has of numbers. (Rust's \w has the two joiners instead of these.) */
enum { LATIN_1 = 3 };
static const struct range word[] = {{0xb2, 0xb3},      {0xb9, 0xb9},       {0xbc, 0xbe},
                                    {0x24b6, 0x24e9},  {0x1f130, 0x1f149}, {0x1f150, 0x1f169},
                                    {0x1f170, 0x1f189}};
static const struct range vertical_tab[] = {{0x0b, 0x0b}}; /* \v; all such blanks to PCRE2 */
/* Scripts.txt of Unicode 16. */
static const struct range han[] = {
    {0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},   {0x2f00, 0x2fd5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303b},   {0x3400, 0x4dbf},
    {0x4e00, 0x9fff},   {0xf900, 0xfa6d},   {0xfa70, 0xfad9},   {0x16fe2, 0x16fe3},
    {0x16ff0, 0x16ff1}, {0x20000, 0x2a6df}, {0x2a700, 0x2b739}, {0x2b740, 0x2b81d},
    {0x2b820, 0x2cea1}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d},
    {0x30000, 0x3134a}, {0x31350, 0x323af}};
#define SET_WORD                                                                                   \
    { UNICODE_L | UNICODE_M | 1u << CAT_ND | 1u << CAT_NL | 1u << CAT_PC, word, 7 }
#define SET_HAN                                                                                    \
    { 0, han, 22 }
_Static_assert(sizeof word / sizeof *word == 7 && sizeof han / sizeof *han == 22, "of the two");

static bool set_has(const struct set *s, uint32_t cp) {
    if (UNICODE_IN(unicode_cat(cp), s->cats)) return true;
    for (size_t i = 0; i < s->n_more && s->more[i].from <= cp; i++)
        if (cp <= s->more[i].to) return true;
    return false;
}

static int write_set(struct buf *out, const struct set *s, bool negated, struct err *err) {
    int rc = 0;
    for (uint32_t from = 0, to; rc == 0 && from < 0x110000; from = to) {
        bool in = set_has(s, from) != negated && (from < 0xd800 || from > 0xdfff);
        for (to = from + 1; to < 0x110000; to++)
            if ((set_has(s, to) != negated && (to < 0xd800 || to > 0xdfff)) != in) break;
        if (in && to == from + 1)
            rc = buf_printf(out, err, "\\x{%x}", from);
        else if (in)
            rc = buf_printf(out, err, "\\x{%x}-\\x{%x}", from, to - 1);
    }
    return rc;
}

/* What a name stands for ("L", "Lu", "Letter", "Han"); false if it names none of ours. */
static bool named_set(const char *name, size_t n, struct set *ret) {
    static const struct {
        const char *name;
        struct set set;
    } sets[] = {
        {"L", {UNICODE_L, NULL, 0}},
        {"Letter", {UNICODE_L, NULL, 0}},
        {"M", {UNICODE_M, NULL, 0}},
        {"Mark", {UNICODE_M, NULL, 0}},
        {"N", {UNICODE_N, NULL, 0}},
        {"Number", {UNICODE_N, NULL, 0}},
        {"Lu", {1u << CAT_LU, NULL, 0}},
        {"Ll", {1u << CAT_LL, NULL, 0}},
        {"Lt", {1u << CAT_LT, NULL, 0}},
        {"Lm", {1u << CAT_LM, NULL, 0}},
        {"Lo", {1u << CAT_LO, NULL, 0}},
        {"Mn", {1u << CAT_MN, NULL, 0}},
        {"Mc", {1u << CAT_MC, NULL, 0}},
        {"Me", {1u << CAT_ME, NULL, 0}},
        {"Nd", {1u << CAT_ND, NULL, 0}},
        {"Nl", {1u << CAT_NL, NULL, 0}},
        {"No", {1u << CAT_NO, NULL, 0}},
        {"Pc", {1u << CAT_PC, NULL, 0}},
        {"Pd", {1u << CAT_PD, NULL, 0}},
        {"Ps", {1u << CAT_PS, NULL, 0}},
        {"Pe", {1u << CAT_PE, NULL, 0}},
        {"Pi", {1u << CAT_PI, NULL, 0}},
        {"Pf", {1u << CAT_PF, NULL, 0}},
        {"Po", {1u << CAT_PO, NULL, 0}},
        {"P", {(1u << (CAT_PO + 1)) - (1u << CAT_PC), NULL, 0}},
        {"Punctuation", {(1u << (CAT_PO + 1)) - (1u << CAT_PC), NULL, 0}},
        {"Sm", {1u << CAT_SM, NULL, 0}},
        {"Sc", {1u << CAT_SC, NULL, 0}},
        {"Sk", {1u << CAT_SK, NULL, 0}},
        {"So", {1u << CAT_SO, NULL, 0}},
        {"S", {(1u << (CAT_SO + 1)) - (1u << CAT_SM), NULL, 0}},
        {"Symbol", {(1u << (CAT_SO + 1)) - (1u << CAT_SM), NULL, 0}},
        {"Zs", {1u << CAT_ZS, NULL, 0}},
        {"Zl", {1u << CAT_ZL, NULL, 0}},
        {"Zp", {1u << CAT_ZP, NULL, 0}},
        {"Z", {1u << CAT_ZS | 1u << CAT_ZL | 1u << CAT_ZP, NULL, 0}},
        {"Cc", {1u << CAT_CC | 1u << CAT_CW, NULL, 0}},
        {"Cf", {1u << CAT_CF, NULL, 0}},
        {"Co", {1u << CAT_CO, NULL, 0}},
        {"Cn", {1u << CAT_CN, NULL, 0}},
        {"C", {1u << CAT_CC | 1u << CAT_CW | 1u << CAT_CF | 1u << CAT_CO | 1u << CAT_CN, NULL, 0}},
        {"White_Space", {UNICODE_SPACE, NULL, 0}},
        {"space", {UNICODE_SPACE, NULL, 0}},
        {"Han", SET_HAN},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strlen(sets[i].name) == n && memcmp(sets[i].name, name, n) == 0) {
            *ret = sets[i].set;
            return true;
        }
    return false;
}

/* An escape for a set of characters. */
struct escape {
    struct set set;
    bool negated;
};

/* Reads the escape at p ("\s", "\p{^Lu}"); returns its length, 0 if it is none that we write
 * out. */
static size_t read_escape(const char *p, struct escape *e) {
    static const struct set sets[] = {
        {UNICODE_SPACE, NULL, 0}, {1u << CAT_ND, NULL, 0}, SET_WORD, {0, vertical_tab, 1}};
    static const char letters[] = "sSdDwWv";
    *e = (struct escape){0};
    const char *at = p[1] ? strchr(letters, p[1]) : NULL;
    if (at) {
        size_t which = (size_t)(at - letters);
        e->negated = which & 1;
        e->set = sets[which / 2];
        return 2;
    }
    if (p[1] != 'p' && p[1] != 'P') return 0;
    e->negated = p[1] == 'P';
    if (p[2] != '{') return 0;
    const char *name = p + 3, *end = strchr(name, '}');
    if (!end) return 0;
    if (*name == '^') {
        e->negated = !e->negated;
        name++;
    }
    return named_set(name, (size_t)(end - name), &e->set) ? (size_t)(end + 1 - p) : 0;
}

size_t scan_pcre_property(const char *p) {
    struct escape e;
    return p[1] == 'p' || p[1] == 'P' ? read_escape(p, &e) : 0;
}

/* Behind a '[' that opens a class: what may stand there without its usual meaning. */
static size_t class_head(const char *p) {
    size_t n = p[0] == '^';
    return n + (p[n] == ']');
}

/* Writes the expression with its sets as classes, and of classes in a class their contents. */
static int expand(struct buf *out, const char *regex, struct err *err) {
    int rc = 0, depth = 0; /* of classes */
    for (const char *p = regex; *p && rc == 0;) {
        struct escape e;
        size_t len = *p == '\\' ? read_escape(p, &e) : 0;
        if (len) {
            bool in_class = depth > 0;
            if (in_class && e.set.more == word) e.set.more += LATIN_1, e.set.n_more -= LATIN_1;
            if (!in_class) rc = buf_str(out, e.negated ? "[^" : "[", err);
            if (rc == 0) rc = write_set(out, &e.set, in_class && e.negated, err);
            if (rc == 0 && !in_class) rc = buf_char(out, ']', err);
            p += len;
            continue;
        }
        bool skip = false;
        len = *p == '\\' && p[1] ? 2 : 1;
        if (*p == '[') {
            skip = depth++ > 0;
            if (!skip) len += class_head(p + 1);
        } else if (*p == ']' && depth) {
            skip = --depth > 0;
        }
        if (!skip) rc = buf_append(out, p, len, err);
        p += len;
    }
    return rc;
}

/* ---- matching ---- */

int scan_pcre_new(struct scan_pcre **ret, const char *regex, struct err *err) {
    struct buf wide = {0};
    *ret = NULL;
    int rc = expand(&wide, regex, err);
    const char *pattern = rc == 0 ? buf_cstr(&wide) : NULL;
    struct scan_pcre *p = pattern ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        buf_release(&wide);
        return rc < 0 ? rc : err_nomem(err, sizeof *p);
    }
    int code;
    PCRE2_SIZE at;
    p->code = pcre2_compile((PCRE2_SPTR)pattern, wide.n, COMPILE, &code, &at, NULL);
    buf_release(&wide);
    if (!p->code) {
        PCRE2_UCHAR why[256];
        /* Compiled as it stands, the error is the same and its place is one in the user's text. */
        pcre2_code *as_it_is =
            pcre2_compile((PCRE2_SPTR)regex, strlen(regex), COMPILE, &(int){0}, &at, NULL);
        if (as_it_is) at = strlen(regex);
        pcre2_code_free(as_it_is);
        pcre2_get_error_message(code, why, sizeof why);
        free(p);
        return err_set(err, ERR_USAGE, "pattern %s: at character %zu: %s", regex, (size_t)at + 1,
                       why);
    }
    pcre2_jit_compile(p->code,
                      PCRE2_JIT_COMPLETE |
                          PCRE2_JIT_PARTIAL_HARD); /* without JIT it is slower, not wrong */
    *ret = p;
    return 0;
}

bool scan_pcre_may_be_empty(const struct scan_pcre *p) {
    uint32_t may = 1;
    return pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &may) != 0 || may;
}

void scan_pcre_free(struct scan_pcre *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    free(p);
}

int scan_matcher_new(struct scan_matcher **ret, const struct scan_pcre *p, struct err *err) {
    struct scan_matcher *m = calloc(1, sizeof *m);
    *ret = NULL;
    if (!m) return err_nomem(err, sizeof *m);
    m->code = p->code;
    m->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 << 10, 16 << 20, NULL);
    if (!m->data || !m->context) {
        scan_matcher_free(m);
        return err_nomem(err, sizeof *m);
    }
    if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
    *ret = m;
    return 0;
}

void scan_matcher_free(struct scan_matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    buf_release(&m->copy);
    free(m);
}

/* *text, or a copy without invalid bytes. */
static int valid_text(struct scan_matcher *m, const uint8_t **text, size_t n, struct err *err) {
    uint8_t *copy = NULL;
    uint32_t cp;
    const uint8_t *t = *text;
    for (size_t p = 0, len; p < n; p += len) {
        len = unicode_decode(t + p, t + n, &cp);
        if (cp != UNICODE_BAD) continue;
        if (!copy) {
            m->copy.n = 0;
            int rc = buf_append(&m->copy, t, n, err);
            if (rc < 0) return rc;
            copy = (uint8_t *)m->copy.v;
        }
        copy[p] = BAD_SUB;
    }
    if (copy) *text = copy;
    return 0;
}

int scan_matcher_cut_part(struct scan_matcher *m, const uint8_t *text, size_t n, size_t from,
                          bool goes, bool last, struct u32s *out, size_t *ret, struct err *err) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (last ? 0 : PCRE2_PARTIAL_HARD);
    int rc = valid_text(m, &text, n, err);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(m->data);
    size_t done = from, at = from, sure = n; /* text[from..done) is cut; the search is at `at` */
    while (rc == 0 && at < n) {
        int found = pcre2_match(m->code, text, n, at, options, m->data, m->context);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found == PCRE2_ERROR_PARTIAL) {
            sure = span[0];
            break;
        }
        if (found < 0) {
            PCRE2_UCHAR why[128];
            pcre2_get_error_message(found, why, sizeof why);
            return err_set(err, ERR_DATA, "pattern: at byte %zu of the text: %s", at, why);
        }
        if (span[1] <= span[0]) { /* an empty match cuts nothing; on with the next character */
            uint32_t cp;
            at = span[0] < at ? at : span[0];
            if (at < n) at += unicode_decode(text + at, text + n, &cp);
            continue;
        }
        if (span[0] > done || goes) rc = u32s_push(out, (uint32_t)span[0], err); /* between */
        if (rc == 0 && span[1] > done) rc = u32s_push(out, (uint32_t)span[1], err);
        at = done = span[1] > done ? span[1] : done;
        goes = false;
    }
    *ret = sure > done ? sure - done : 0;
    if (rc == 0 && last && (done < n || goes)) rc = u32s_push(out, (uint32_t)n, err);
    return rc;
}

int scan_matcher_cut(struct scan_matcher *m, const uint8_t *text, size_t n, struct u32s *out,
                     struct err *err) {
    size_t between;
    return scan_matcher_cut_part(m, text, n, 0, false, true, out, &between, err);
}

size_t scan_matcher_behind(const struct scan_matcher *m) {
    uint32_t chars = 0;
    pcre2_pattern_info(m->code, PCRE2_INFO_MAXLOOKBEHIND, &chars);
    return 4 * ((size_t)chars + 1);
}
