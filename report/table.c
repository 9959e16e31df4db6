/* A list of cells and the widest of each column. */
#include "report/table.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "report/html.h"

enum { GAP = 2 };

struct table {
    struct strs cells; /* heads first */
    size_t cols;
    char *align;
};

/* What takes two columns, and what takes none, among the characters that occur in tables. Not
 * the whole of Unicode: East Asian scripts, full-width forms, emoji; combining marks and
 * joiners. */
static const struct range {
    uint32_t from, to;
    int columns;
} widths[] = {
    {0x0300, 0x036F, 0},   {0x0483, 0x0489, 0},   {0x0591, 0x05BD, 0},   {0x0610, 0x061A, 0},
    {0x064B, 0x065F, 0},   {0x0E34, 0x0E3A, 0},   {0x0E47, 0x0E4E, 0},   {0x1100, 0x115F, 2},
    {0x1AB0, 0x1AFF, 0},   {0x1DC0, 0x1DFF, 0},   {0x200B, 0x200F, 0},   {0x20D0, 0x20FF, 0},
    {0x231A, 0x231B, 2},   {0x23E9, 0x23EC, 2},   {0x2614, 0x2615, 2},   {0x26A1, 0x26A1, 2},
    {0x2705, 0x2705, 2},   {0x2728, 0x2728, 2},   {0x2E80, 0x303E, 2},   {0x3041, 0x33FF, 2},
    {0x3400, 0x4DBF, 2},   {0x4E00, 0x9FFF, 2},   {0xA000, 0xA4CF, 2},   {0xA960, 0xA97F, 2},
    {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},   {0xFE00, 0xFE0F, 0},   {0xFE20, 0xFE2F, 0},
    {0xFE30, 0xFE6F, 2},   {0xFEFF, 0xFEFF, 0},   {0xFF01, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2},
    {0x1F1E6, 0x1F1FF, 1}, {0x1F300, 0x1F64F, 2}, {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1F9FF, 2},
    {0x20000, 0x3FFFD, 2}, {0xE0100, 0xE01EF, 0},
};

static size_t char_columns(uint32_t c) {
    if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return 0;
    for (size_t i = 0; i < sizeof widths / sizeof *widths && widths[i].from <= c; i++)
        if (c <= widths[i].to) return (size_t)widths[i].columns;
    return 1;
}

size_t text_columns(const char *s, size_t n) {
    size_t columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = (uint8_t)s[i++];
        size_t more = c < 0xC2 || c > 0xF4 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (more)
            c &= 0x3Fu >> more;
        else if (c >= 0x80)
            c = 0xFFFD;
        for (; more && i < n && ((uint8_t)s[i] & 0xC0) == 0x80; more--)
            c = c << 6 | ((uint8_t)s[i++] & 0x3F);
        columns += char_columns(more ? 0xFFFD : c); /* cut short: a replacement character */
    }
    return columns;
}

void text_thousands(uint64_t x, char ret[28]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)x);
    char *to = ret;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
}

int table_new(struct table **ret, const char *heads, const char *align, struct err *err) {
    struct table *t = calloc(1, sizeof *t);
    if (!t) return err_nomem(err, sizeof *t);
    t->align = strdup(align);
    t->cols = strlen(align);
    char *copy = strdup(heads), *at = copy;
    int rc = t->align && copy ? 0 : err_nomem(err, strlen(heads));
    for (size_t i = 0; i < t->cols && rc >= 0; i++) {
        char *bar = strchr(at, '|');
        if (bar) *bar = 0;
        rc = table_str(t, at, err);
        at = bar ? bar + 1 : at + strlen(at);
    }
    free(copy);
    if (rc < 0) {
        table_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void table_free(struct table *t) {
    if (!t) return;
    strs_release(&t->cells);
    free(t->align);
    free(t);
}

int table_str(struct table *t, const char *s, struct err *err) {
    return strs_push(&t->cells, s, err);
}

int table_u64(struct table *t, uint64_t x, struct err *err) {
    char text[28];
    text_thousands(x, text);
    return table_str(t, text, err);
}

int table_f64(struct table *t, double x, int digits, struct err *err) {
    char text[400];
    if (!isfinite(x)) return table_str(t, "-", err);
    snprintf(text, sizeof text, fabs(x) < 1e15 ? "%.*f" : "%.*e", digits, x);
    return table_str(t, text, err);
}

int table_share(struct table *t, uint64_t part, uint64_t all, struct err *err) {
    char text[64];
    if (!all) return table_str(t, "-", err);
    snprintf(text, sizeof text, "%.1f %%", 100.0 * (double)part / (double)all);
    return table_str(t, text, err);
}

static int blanks(struct buf *out, size_t n, char c, struct err *err) {
    int rc = 0;
    while (n-- && rc >= 0) rc = buf_char(out, c, err);
    return rc;
}

/* One cell; nothing trails the last of a row. */
static int put_cell(struct buf *out, const char *s, size_t width, char align, bool last,
                    struct err *err) {
    size_t columns = text_columns(s, strlen(s)), fill = width > columns ? width - columns : 0;
    int rc = align == 'r' ? blanks(out, fill, ' ', err) : 0;
    if (rc >= 0) rc = buf_str(out, s, err);
    if (rc >= 0 && align != 'r' && !last) rc = blanks(out, fill, ' ', err);
    return rc < 0 ? rc : last ? buf_char(out, '\n', err) : blanks(out, GAP, ' ', err);
}

int table_text(const struct table *t, struct buf *out, struct err *err) {
    size_t *width = mem_array(t->cols, sizeof *width);
    int rc = width ? 0 : err_nomem(err, t->cols * sizeof *width);
    for (size_t i = 0; i < t->cells.n && rc >= 0; i++) {
        size_t columns = text_columns(t->cells.v[i], strlen(t->cells.v[i]));
        if (columns > width[i % t->cols]) width[i % t->cols] = columns;
    }
    for (size_t row = 0; row * t->cols < t->cells.n && rc >= 0; row++) {
        for (size_t c = 0; c < t->cols && rc >= 0; c++) {
            size_t i = row * t->cols + c;
            rc = put_cell(out, i < t->cells.n ? t->cells.v[i] : "", width[c], t->align[c],
                          c + 1 == t->cols, err);
        }
        for (size_t c = 0; row == 0 && c < t->cols && rc >= 0; c++) {
            rc = blanks(out, width[c], '-', err);
            if (rc >= 0)
                rc = c + 1 == t->cols ? buf_char(out, '\n', err) : blanks(out, GAP, ' ', err);
        }
    }
    free(width);
    return rc;
}

int table_html(const struct table *t, struct buf *out, struct err *err) {
    int rc = buf_str(out, "<table>\n", err);
    for (size_t i = 0; i < t->cells.n && rc >= 0; i++) {
        const char *tag = i < t->cols ? "th" : "td", *cell = t->cells.v[i];
        size_t col = i % t->cols;
        if (col == 0) rc = buf_str(out, "<tr>", err);
        if (rc >= 0)
            rc = buf_printf(out, err, t->align[col] == 'r' ? "<%s class=\"r\">" : "<%s>", tag);
        if (rc >= 0) rc = html_text(out, cell, strlen(cell), err);
        if (rc >= 0) rc = buf_printf(out, err, "</%s>", tag);
        if (rc >= 0 && (col + 1 == t->cols || i + 1 == t->cells.n))
            rc = buf_str(out, "</tr>\n", err);
    }
    return rc < 0 ? rc : buf_str(out, "</table>\n", err);
}
