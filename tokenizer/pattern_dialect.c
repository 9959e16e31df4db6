/* Which expressions mean the same to everyone who will read them: to Oniguruma (HF tokenizers reads
 * what stands in tokenizer.json with it), to Rust's regex (tiktoken), and to PCRE2, which runs them
 * here. They differ quietly in much:
 *
 *   \p{N}{1,3}+     at most three digits, or any number: Oniguruma repeats the repetition
 *   ^ $ (?m)        lines, or the text
 *   \h \v \b \X     other sets of characters, or none
 *   [a-z&&[aeiou]]  an intersection, or six characters and a bracket
 *   (?i)ss          also "ß", or not
 *   x*              Oniguruma's empty matches cut as well
 *
 * So one walk over the expression takes what is known to be the same, and names the first that
 * is not. What is left for PCRE2 to refuse (a parenthesis too many) passes. Compared with HF itself
 * in tests/diff/test_patterns.py. */
#include <string.h>
#include "tokenizer/pattern.h"
#include "tokenizer/scan.h"

enum { DEPTH = 64 };

struct walk {
    const char *regex, *p;
    int depth;        /* of groups */
    bool fold[DEPTH]; /* (?i) holds in the group of this depth */
    char letter;      /* the literal letter before p, where case is ignored; else 0 */
    struct err *err;
};

/* Names the n bytes at hand, or as many as there are, and the rest of a character that they
 * begin. */
static int refuse(const struct walk *w, size_t n, const char *why) {
    n = strnlen(w->p, n);
    while (((uint8_t)w->p[n] & 0xC0) == 0x80) n++;
    return err_set(w->err, ERR_USAGE, "pattern %s: at character %zu: %.*s: %s", w->regex,
                   (size_t)(w->p - w->regex) + 1, (int)n, w->p, why);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \xHH above 7F is a byte to Oniguruma, a character to the others. */
static int walk_hex(struct walk *w) {
    if (w->p[2] == '{') {
        size_t n = strspn(w->p + 3, "0123456789abcdefABCDEF");
        if (!n || w->p[3 + n] != '}') return refuse(w, 3, "write \\x{…} with hexadecimal digits");
        w->p += 4 + n;
        return 0;
    }
    if (!is_hex(w->p[2]) || !is_hex(w->p[3]) || w->p[2] > '7')
        return refuse(w, 2, "write \\x{…}, with braces");
    w->p += 4;
    return 0;
}

static int walk_escape(struct walk *w) {
    char c = w->p[1];
    size_t property = scan_pcre_property(w->p);
    if (c == 'p' || c == 'P') {
        size_t n = strcspn(w->p, "}");
        if (w->p[2] != '{') return refuse(w, 3, "write the name in braces, \\p{L}");
        if (!property)
            return refuse(w, n + (w->p[n] == '}'),
                          "a general category (L, Lu, Letter …), White_Space or Han is expected");
        if (w->fold[w->depth]) return refuse(w, property, "not where case is ignored, (?i)");
        w->p += property;
        return 0;
    }
    if (c == 'x') return walk_hex(w);
    if (is_letter(c) || is_digit(c)) {
        if (!strchr(w->fold[w->depth] ? "sSdDtnrfvea" : "sSdDwWtnrfvea", c))
            return refuse(w, 2, "means different things to HF tokenizers, tiktoken and PCRE2");
    } else if ((c & 0x80) || !c) {
        return refuse(w, 1, "a backslash before what needs none");
    }
    w->p += 2;
    return 0;
}

/* At the '[' of a class. A class in a class is joined to it. */
static int walk_class(struct walk *w) {
    int depth = 0, rc = 0;
    bool fold = w->fold[w->depth];
    do {
        char c = *w->p, next = c ? w->p[1] : 0;
        if (!c) return 0; /* PCRE2 will tell */
        if (fold && (c & 0x80)) return refuse(w, 1, "only ASCII where case is ignored, (?i)");
        if ((c == '&' || c == '-' || c == '~') && next == c)
            return refuse(w, 2, "an operation on classes to some; write \\ before the second");
        if (c == '[') {
            if (depth++ && next == '^') return refuse(w, 2, "a class in a class that excludes");
            if (depth > 1 && next == ':') return refuse(w, 2, "write \\p{…} for a named class");
            w->p += 1 + (next == '^');
            w->p += *w->p == ']';
        } else if (c == ']') {
            depth--;
            w->p++;
        } else if (c == '\\') {
            rc = walk_escape(w);
        } else {
            w->p++;
        }
    } while (depth > 0 && rc >= 0);
    return rc;
}

/* At the '(' of a group. */
static int walk_group(struct walk *w) {
    static const char *const plain[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:"};
    size_t n = 0;
    if (!strncmp(w->p, "(?i)", 4) && w->p == w->regex) {
        w->fold[0] = true;
        w->p += 4;
        return 0;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain && !n; i++)
        if (!strncmp(w->p, plain[i], strlen(plain[i]))) n = strlen(plain[i]);
    if (!n && (w->p[1] == '?' || w->p[1] == '*'))
        return refuse(w, 3, "of groups, only (…) (?:…) (?i:…) (?>…) (?=…) (?!…) (?<=…) (?<!…)");
    if (w->depth + 1 == DEPTH) return refuse(w, 1, "64 groups in each other");
    w->fold[w->depth + 1] = w->fold[w->depth] || (n && w->p[2] == 'i');
    w->depth++;
    w->p += n ? n : 1;
    return 0;
}

/* At a '{': a number of times. */
static int walk_times(struct walk *w) {
    const char *p = w->p + 1;
    size_t least = strspn(p, "0123456789"), most = 0;
    bool range = p[least] == ',';
    if (range) most = strspn(p + least + 1, "0123456789");
    const char *end = p + least + range + most;
    if (!least || *end != '}')
        return refuse(w, 1, "write {n}, {n,} or {n,m} for a number of times, \\{ for a brace");
    size_t n = (size_t)(end + 1 - w->p);
    if (end[1] == '+')
        return refuse(w, n + 1, "repeats again, or gives nothing back; write (?>…{n,m})");
    if (end[1] == '?' && !range) return refuse(w, n + 1, "{n}? may be nothing to HF tokenizers");
    w->p = end + 1 + (end[1] == '?');
    return 0;
}

/* Of these pairs Unicode makes one character: "ß" folds to "ss", "ﬁ" to "fi". */
static int walk_letter(struct walk *w) {
    static const char *const pairs[] = {"ss", "ff", "fi", "fl", "st"};
    char now = *w->p | 0x20;
    if (*w->p & 0x80) return refuse(w, 1, "only ASCII where case is ignored, (?i)");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && is_letter(*w->p); i++)
        if (w->letter == pairs[i][0] && now == pairs[i][1])
            return refuse(w, 1, "two letters that are one character to some, case being ignored");
    w->letter = is_letter(*w->p) ? now : 0;
    w->p++;
    return 0;
}

static int walk_anchor(struct walk *w) {
    bool end = *w->p == '$' && w->p - w->regex >= 4 && !strncmp(w->p - 4, "\\s++", 4);
    if (!end) return refuse(w, 1, "a line to HF tokenizers, the text to tiktoken");
    w->p++; /* "\s++$": white space up to the end, of a line or not */
    return 0;
}

int pattern_portable(const char *regex, struct err *err) {
    struct walk w = {.regex = regex, .p = regex, .err = err};
    int rc = 0;
    while (*w.p && rc >= 0) {
        char c = *w.p;
        if (!strchr("()", c) && !(w.fold[w.depth] && is_letter(c))) w.letter = 0;
        if (c == '\\')
            rc = walk_escape(&w);
        else if (c == '[')
            rc = walk_class(&w);
        else if (c == '(')
            rc = walk_group(&w);
        else if (c == '{')
            rc = walk_times(&w);
        else if (c == '^' || c == '$')
            rc = walk_anchor(&w);
        else if (w.fold[w.depth] && c != ')')
            rc = walk_letter(&w);
        else {
            if (c == ')' && w.depth) w.depth--;
            w.p++;
        }
    }
    return rc;
}

/* What `^` or `$` at p is to HF: a newline, or nothing, is before or behind it. NULL: "\s++$", the
 * same to all. */
static const char *line_anchor(const char *regex, const char *p) {
    if (*p == '^') return "(?<![^\\n])";
    return p - regex >= 4 && !strncmp(p - 4, "\\s++", 4) ? NULL : "(?![^\\n])";
}

int pattern_of_hf(struct buf *out, const char *regex, struct err *err) {
    int rc = 0, depth = 0; /* of classes */
    for (const char *p = regex; *p && rc == 0;) {
        const char *instead = NULL;
        size_t n = *p == '\\' && p[1] ? 2 : 1;
        if (p[n - 1] == '\n')
            instead = "\\n";
        else if (*p == '[')
            n += depth++ ? 0 : (p[1] == '^') + (p[1 + (p[1] == '^')] == ']');
        else if (*p == ']' && depth)
            depth--;
        else if ((*p == '^' || *p == '$') && !depth)
            instead = line_anchor(regex, p);
        rc = instead ? buf_str(out, instead, err) : buf_append(out, p, n, err);
        p += n;
    }
    return rc;
}

int pattern_of_text(struct buf *out, const char *text, struct err *err) {
    int rc = 0;
    for (; *text && rc == 0; text++) {
        if (strchr("\\^$.|?*+()[]{}", *text)) rc = buf_char(out, '\\', err);
        if (rc == 0) rc = *text == '\n' ? buf_str(out, "\\n", err) : buf_char(out, *text, err);
    }
    return rc;
}
