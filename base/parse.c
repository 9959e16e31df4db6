/* Numbers as people write them, read without losing or guessing anything, and names as people
 * mistype them: see opt.h. */
#include "base/opt.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64 };

/* The factor a suffix stands for; 0 if it is none. */
static double factor_of(const char *suffix) {
    static const struct {
        const char *text;
        double factor;
    } known[] = {{"", 1},         {"k", 1e3},      {"K", 1e3},     {"M", 1e6},
                 {"G", 1e9},      {"T", 1e12},     {"Ki", 0x1p10}, {"ki", 0x1p10},
                 {"Mi", 0x1p20},  {"Gi", 0x1p30},  {"Ti", 0x1p40}, {"KiB", 0x1p10},
                 {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].text, suffix)) return known[i].factor;
    return 0;
}

/* "1.5M": a fraction is fine as long as the product is whole. */
static int parse_scaled(const char *text, uint64_t *ret, struct err *err) {
    char *end;
    double x = strtod(text, &end), factor = factor_of(end);
    double product = x * factor;
    if (factor == 0) return err_set(err, ERR_USAGE, "'%s' is not a number", text);
    if (product != floor(product) || factor == 1)
        return err_set(err, ERR_USAGE, "'%s' is not a whole number", text);
    if (product >= 0x1p53) return err_set(err, ERR_USAGE, "'%s' is too large", text);
    *ret = (uint64_t)product;
    return 0;
}

int parse_u64(const char *text, uint64_t *ret, struct err *err) {
    size_t n = strspn(text, "0123456789");
    if (*text == '-' && strspn(text + 1, "0123456789") > 0)
        return err_set(err, ERR_USAGE, "'%s' is negative", text);
    if (n == 0) return err_set(err, ERR_USAGE, "'%s' is not a number", text);
    size_t fraction = text[n] == '.' ? strspn(text + n + 1, "0123456789") : 0;
    if (fraction) return parse_scaled(text, ret, err);
    double factor = factor_of(text + n);
    if (factor == 0) {
        err_set(err, ERR_USAGE, "'%s' is not a number", text);
        return err_hint(err, "sizes end in k, M, G, T, Ki, Mi, Gi or Ti");
    }
    errno = 0;
    unsigned long long x = strtoull(text, NULL, 10);
    if (errno || __builtin_mul_overflow(x, (unsigned long long)factor, &x))
        return err_set(err, ERR_USAGE, "'%s' is too large", text);
    *ret = x;
    return 0;
}

/* strtod on digits only: no names for NaN and infinity, no hexadecimal, no space in front. */
static bool read_decimal(const char *text, double *ret, const char **ret_end) {
    size_t sign = *text == '-' || *text == '+';
    char *end;
    if (!strchr(".0123456789", text[sign]) || !text[sign]) return false;
    if (text[sign] == '0' && (text[sign + 1] | 0x20) == 'x') return false;
    *ret = strtod(text, &end);
    *ret_end = end;
    return end != text;
}

int parse_f64(const char *text, double *ret, struct err *err) {
    double x;
    const char *end;
    if (!read_decimal(text, &x, &end) || *end)
        return err_set(err, ERR_USAGE, "'%s' is not a number", text);
    if (!isfinite(x)) return err_set(err, ERR_USAGE, "'%s' is too large", text);
    *ret = x;
    return 0;
}

/* Seconds in the unit at *p, which is moved behind it; 0 if there is none. */
static double unit_seconds(const char **p) {
    double s = **p == 's' ? 1 : **p == 'm' ? 60 : **p == 'h' ? 3600 : **p == 'd' ? 86400 : 0;
    if (**p == 'm' && (*p)[1] == 's') {
        s = 1e-3;
        ++*p;
    }
    if (s > 0) ++*p;
    return s;
}

int parse_duration(const char *text, double *ret_seconds, struct err *err) {
    double total = 0;
    const char *p = text;
    do {
        double x, unit;
        if (!read_decimal(p, &x, &p) || !(x >= 0)) goto bad;
        if (!*p && total == 0) { /* a bare number is seconds */
            total = x;
            break;
        }
        unit = unit_seconds(&p);
        if (unit == 0) goto bad;
        total += x * unit;
    } while (*p);
    if (!isfinite(total)) goto bad;
    *ret_seconds = total;
    return 0;
bad:
    return err_set(err, ERR_USAGE, "'%s' is not a duration like 30s, 5m, 2h or 1h30m", text);
}

/* Edits (insert, delete, replace, swap neighbours) that turn a into b. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++) last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t d = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < d) d = last[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < d) d = before[j - 2] + 1;
            now[j] = d;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[nb];
}

const char *nearest_name(const char *name, const char *const *names, size_t n) {
    size_t len = strlen(name), best = SIZE_MAX;
    const char *ret = NULL;
    if (len > NAME_MAX_BYTES) return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(names[i]);
        if (m > NAME_MAX_BYTES) continue;
        size_t d = edit_distance(name, len, names[i], m);
        size_t longer = len > m ? len : m;
        bool begins = len >= 3 && !strncmp(name, names[i], len); /* cut short: "temp" */
        bool goes_on =
            m >= 3 && !strncmp(name, names[i], m) && name[m] == '-'; /* "max-new-tokens" */
        if ((begins || goes_on) && d > 1) d = 1;
        if (d > 1 + longer / 4 || d >= len || d >= best) continue;
        best = d;
        ret = names[i];
    }
    return ret;
}
