/* Any expression, through PCRE2.
 *
 * PCRE2 has Unicode tables of its own, of whatever version it was built with, and its \s and \d are
 * of ASCII unless told otherwise. So \p{…} of a general category, \s \d \w and their opposites are
 * first written out as explicit classes from our tables (expand()); scripts are left to PCRE2.
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

static bool set_has(uint32_t set, bool word, uint32_t cp) {
    enum unicode_cat cat = unicode_cat(cp);
    if (UNICODE_IN(cat, set)) return true;
    /* UTS 18's \w beside categories: joiners, and circled letters (Other_Alphabetic) */
    return word && (cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
                    (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
                    (cp >= 0x1f170 && cp <= 0x1f189));
}

static int write_set(struct buf *out, uint32_t set, bool word, bool negated, struct err *err) {
    int rc = 0;
    for (uint32_t from = 0, to; rc == 0 && from < 0x110000; from = to) {
        bool in = set_has(set, word, from) != negated && (from < 0xd800 || from > 0xdfff);
        for (to = from + 1; to < 0x110000; to++)
            if ((set_has(set, word, to) != negated && (to < 0xd800 || to > 0xdfff)) != in) break;
        if (in && to == from + 1)
            rc = buf_printf(out, err, "\\x{%x}", from);
        else if (in)
            rc = buf_printf(out, err, "\\x{%x}-\\x{%x}", from, to - 1);
    }
    return rc;
}

/* The categories that a name stands for ("L", "Lu", "Letter"); 0 if it names none. */
static uint32_t named_set(const char *name, size_t n) {
    static const struct {
        const char *name;
        uint32_t set;
    } sets[] = {
        {"L", UNICODE_L},
        {"Letter", UNICODE_L},
        {"M", UNICODE_M},
        {"Mark", UNICODE_M},
        {"N", UNICODE_N},
        {"Number", UNICODE_N},
        {"Lu", 1u << CAT_LU},
        {"Ll", 1u << CAT_LL},
        {"Lt", 1u << CAT_LT},
        {"Lm", 1u << CAT_LM},
        {"Lo", 1u << CAT_LO},
        {"Mn", 1u << CAT_MN},
        {"Mc", 1u << CAT_MC},
        {"Me", 1u << CAT_ME},
        {"Nd", 1u << CAT_ND},
        {"Nl", 1u << CAT_NL},
        {"No", 1u << CAT_NO},
        {"Pc", 1u << CAT_PC},
        {"Pd", 1u << CAT_PD},
        {"Ps", 1u << CAT_PS},
        {"Pe", 1u << CAT_PE},
        {"Pi", 1u << CAT_PI},
        {"Pf", 1u << CAT_PF},
        {"Po", 1u << CAT_PO},
        {"P", (1u << (CAT_PO + 1)) - (1u << CAT_PC)},
        {"Punctuation", (1u << (CAT_PO + 1)) - (1u << CAT_PC)},
        {"Sm", 1u << CAT_SM},
        {"Sc", 1u << CAT_SC},
        {"Sk", 1u << CAT_SK},
        {"So", 1u << CAT_SO},
        {"S", (1u << (CAT_SO + 1)) - (1u << CAT_SM)},
        {"Symbol", (1u << (CAT_SO + 1)) - (1u << CAT_SM)},
        {"Zs", 1u << CAT_ZS},
        {"Zl", 1u << CAT_ZL},
        {"Zp", 1u << CAT_ZP},
        {"Z", 1u << CAT_ZS | 1u << CAT_ZL | 1u << CAT_ZP},
        {"Cc", 1u << CAT_CC | 1u << CAT_CW},
        {"Cf", 1u << CAT_CF},
        {"Co", 1u << CAT_CO},
        {"Cn", 1u << CAT_CN},
        {"White_Space", UNICODE_SPACE},
        {"space", UNICODE_SPACE},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strlen(sets[i].name) == n && memcmp(sets[i].name, name, n) == 0) return sets[i].set;
    return 0;
}

/* An escape for a set of characters. */
struct escape {
    uint32_t set;
    bool word, negated;
};

/* Reads the escape at p ("\s", "\p{^Lu}"); returns its length, 0 if it is none that we write out.
 * */
static size_t read_escape(const char *p, struct escape *e) {
    static const char letters[] = "sSdDwW";
    *e = (struct escape){0};
    const char *at = p[1] ? strchr(letters, p[1]) : NULL;
    if (at) {
        size_t which = (size_t)(at - letters);
        e->negated = which & 1;
        e->word = which / 2 == 2;
        e->set = which / 2 == 0 ? UNICODE_SPACE
                 : which / 2 == 1
                     ? 1u << CAT_ND
                     : UNICODE_L | UNICODE_M | 1u << CAT_ND | 1u << CAT_NL | 1u << CAT_PC;
        return 2;
    }
    if (p[1] != 'p' && p[1] != 'P') return 0;
    e->negated = p[1] == 'P';
    if (p[2] != '{') {
        e->set = p[2] ? named_set(p + 2, 1) : 0;
        return e->set ? 3 : 0;
    }
    const char *name = p + 3, *end = strchr(name, '}');
    if (!end) return 0;
    if (*name == '^') {
        e->negated = !e->negated;
        name++;
    }
    e->set = named_set(name, (size_t)(end - name));
    return e->set ? (size_t)(end + 1 - p) : 0;
}

/* Behind a '[' that opens a class: what may stand there without its usual meaning. */
static size_t class_head(const char *p) {
    size_t n = p[0] == '^';
    return n + (p[n] == ']');
}

static int expand(struct buf *out, const char *regex, struct err *err) {
    int rc = 0;
    bool in_class = false;
    for (const char *p = regex; *p && rc == 0;) {
        struct escape e;
        size_t len = *p == '\\' ? read_escape(p, &e) : 0;
        if (len) {
            if (!in_class) rc = buf_str(out, e.negated ? "[^" : "[", err);
            if (rc == 0) rc = write_set(out, e.set, e.word, in_class && e.negated, err);
            if (rc == 0 && !in_class) rc = buf_char(out, ']', err);
            p += len;
            continue;
        }
        len = *p == '\\' && p[1] ? 2 : 1;
        if (*p == '[' && in_class && p[1] == ':' && strstr(p, ":]"))
            len = (size_t)(strstr(p, ":]") + 2 - p);
        else if (*p == '[' && !in_class) {
            in_class = true;
            len += class_head(p + 1);
        } else if (*p == ']')
            in_class = false;
        rc = buf_append(out, p, len, err);
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
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without JIT it is slower, not wrong */
    *ret = p;
    return 0;
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

int scan_matcher_cut(struct scan_matcher *m, const uint8_t *text, size_t n, struct u32s *out,
                     struct err *err) {
    int rc = valid_text(m, &text, n, err);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(m->data);
    size_t done = 0, at = 0; /* text[0..done) is cut; the search goes on from `at` */
    while (rc == 0 && at < n) {
        int found = pcre2_match(m->code, text, n, at, PCRE2_NO_UTF_CHECK, m->data, m->context);
        if (found == PCRE2_ERROR_NOMATCH) break;
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
        if (span[0] > done) rc = u32s_push(out, (uint32_t)span[0], err); /* text between matches */
        if (rc == 0 && span[1] > done) rc = u32s_push(out, (uint32_t)span[1], err);
        at = done = span[1] > done ? span[1] : done;
    }
    if (rc == 0 && done < n) rc = u32s_push(out, (uint32_t)n, err);
    return rc;
}
