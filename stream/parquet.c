/* Columns put together to rows, rows written as JSON: see parquet.h.
 *
 * Levels say how far down the schema a value is there (definition) and at which list it goes on
 * (repetition). A null, or an empty list, stands as one entry in every leaf below it. */
#include "stream/parquet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "stream/parquet_parts.h"
#include "stream/rows.h"
#include "stream/scan.h"

enum { LINES_BYTES = 128 << 10 };

struct parquet {
    struct blob from;
    char *name;
    struct pq_meta meta;
    struct pq_column *columns; /* one a leaf */
    uint64_t max;              /* bytes of a row */
    size_t row_end;            /* lines->n that the present row must not exceed */
    size_t group;              /* in use */
    uint64_t row;              /* of it, the next */
    bool begun;                /* its columns are */
};

static int write_field(struct parquet *p, const struct pq_node *n, struct buf *to, struct err *err);

/* ------------------------------------------------------------------ values */

/* Days since 1970 to year, month, day (Hinnant's algorithm for the proleptic Gregorian
 * calendar). */
static int put_date(struct buf *to, int64_t days, struct err *err) {
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);
    return buf_printf(to, err, "%04lld-%02lld-%02lld", (long long)year, (long long)month,
                      (long long)(doy - (153 * mp + 2) / 5 + 1));
}

/* A time of day: seconds, and a part of the next one in units of 10^-scale. */
static int put_clock(struct buf *to, int64_t s, int64_t part, int scale, struct err *err) {
    int rc =
        buf_printf(to, err, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    if (scale == 9 && part % 1000 == 0) part /= 1000, scale = 6;
    return rc < 0 || !part ? rc : buf_printf(to, err, ".%0*lld", scale, (long long)part);
}

static int64_t units_a_second(int scale) {
    return scale == 3 ? 1000 : scale == 6 ? 1000000 : 1000000000;
}

/* x units of 10^-scale seconds since 1970. */
static int put_timestamp(struct buf *to, int64_t x, int scale, bool utc, struct err *err) {
    int64_t unit = units_a_second(scale), part = x % unit, s = x / unit;
    if (part < 0) part += unit, s--;
    int64_t days = s / 86400, rest = s % 86400;
    if (rest < 0) rest += 86400, days--;
    int rc = buf_char(to, '"', err);
    if (rc == 0) rc = put_date(to, days, err);
    if (rc == 0) rc = buf_char(to, 'T', err);
    if (rc == 0) rc = put_clock(to, rest, part, scale, err);
    return rc < 0 ? rc : buf_str(to, utc ? "+00:00\"" : "\"", err);
}

/* x units of 10^-scale seconds since midnight. */
static int put_time(struct buf *to, int64_t x, int scale, struct err *err) {
    int64_t unit = units_a_second(scale);
    if (x < 0 || x / unit >= 86400) return buf_printf(to, err, "%lld", (long long)x);
    int rc = buf_char(to, '"', err);
    if (rc == 0) rc = put_clock(to, x / unit, x % unit, scale, err);
    return rc < 0 ? rc : buf_char(to, '"', err);
}

enum { LIMBS = 8 }; /* a decimal's 256 bits, the highest 32 first */

/* x / 10 in place; returns the rest. *zero: nothing is left. */
static int divide_by_ten(uint32_t x[LIMBS], bool *zero) {
    uint64_t rest = 0;
    *zero = true;
    for (int i = 0; i < LIMBS; i++) {
        rest = rest << 32 | x[i];
        x[i] = (uint32_t)(rest / 10);
        rest %= 10;
        if (x[i]) *zero = false;
    }
    return (int)rest;
}

/* The decimal of v[0..n), big-endian two's complement if it is bytes, little-endian otherwise. */
static int put_decimal(struct buf *to, const struct pq_column *c, struct pq_cell v,
                       struct err *err) {
    const struct pq_node *leaf = c->leaf;
    bool bytes = leaf->type == PQ_BYTES || leaf->type == PQ_FIXED, zero = false;
    uint32_t x[LIMBS] = {0};
    char digits[PQ_SCALE_MAX + 20];
    size_t at = sizeof digits;
    if (v.n > sizeof x || !v.n) return pq_bad(c, err, "a decimal of %zu bytes", v.n);
    bool minus = v.v[bytes ? 0 : v.n - 1] & 0x80;
    for (size_t i = 0; i < v.n; i++) {
        uint8_t b = v.v[bytes ? v.n - 1 - i : i];
        x[LIMBS - 1 - i / 4] |= (uint32_t)(minus ? (uint8_t)~b : b) << 8 * (i % 4);
    }
    for (int i = LIMBS; minus && i-- && ++x[i] == 0;) {}
    for (int n = 0; n <= leaf->scale || !zero; n++) {
        if (n && n == leaf->scale) digits[--at] = '.';
        digits[--at] = (char)('0' + divide_by_ten(x, &zero));
    }
    int rc = minus ? buf_char(to, '-', err) : 0;
    return rc < 0 ? rc : buf_append(to, digits + at, sizeof digits - at, err);
}

/* IEEE 754's binary16. */
static double half(uint64_t bits) {
    int exponent = (int)(bits >> 10 & 31);
    double m = (double)(bits & 1023), x;
    if (exponent == 31)
        x = m != 0 ? NAN : INFINITY;
    else
        x = exponent ? ldexp(m + 1024, exponent - 25) : ldexp(m, -24);
    return bits >> 15 ? -x : x;
}

static int put_base64(struct buf *to, struct pq_cell v, struct err *err) {
    static const char a[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (buf_reserve(to, v.n / 3 * 4 + 8, err) < 0) return ERR_NOMEM;
    char *o = to->v + to->n;
    *o++ = '"';
    for (size_t i = 0; i < v.n; i += 3) {
        size_t left = v.n - i;
        uint32_t x = (uint32_t)v.v[i] << 16 | (left > 1 ? (uint32_t)v.v[i + 1] << 8 : 0) |
                     (left > 2 ? v.v[i + 2] : 0);
        *o++ = a[x >> 18];
        *o++ = a[x >> 12 & 63];
        *o++ = left > 1 ? a[x >> 6 & 63] : '=';
        *o++ = left > 2 ? a[x & 63] : '=';
    }
    *o++ = '"';
    to->n = (size_t)(o - to->v);
    return 0;
}

static int put_number(struct buf *to, const struct pq_node *leaf, uint64_t bits, struct err *err) {
    int64_t x = leaf->type == PQ_INT32 ? (int32_t)bits : (int64_t)bits;
    switch (leaf->meaning) {
    case PQ_UNSIGNED: return buf_printf(to, err, "%llu", (unsigned long long)bits);
    case PQ_TIMESTAMP: return put_timestamp(to, x, leaf->scale, leaf->utc, err);
    case PQ_TIME: return put_time(to, x, leaf->scale, err);
    case PQ_DATE: {
        int rc = buf_char(to, '"', err);
        if (rc == 0) rc = put_date(to, x, err);
        return rc < 0 ? rc : buf_char(to, '"', err);
    }
    default: return buf_printf(to, err, "%lld", (long long)x);
    }
}

/* Nanoseconds of the day, and a Julian day. */
static int put_int96(struct buf *to, const uint8_t *v, struct err *err) {
    int64_t days = (int64_t)load_le(v + 8, 4) - 2440588, nanos = (int64_t)load_le(v, 8);
    int64_t x;
    if (nanos % 1000 == 0 && days > -100000000 && days < 100000000)
        return put_timestamp(to, days * 86400000000 + nanos / 1000, 6, false, err);
    if (__builtin_mul_overflow(days, (int64_t)86400000000000, &x) ||
        __builtin_add_overflow(x, nanos, &x))
        return buf_str(to, "null", err);
    return put_timestamp(to, x, 9, false, err);
}

static int too_long(const struct parquet *p, const struct pq_column *c, struct err *err) {
    return pq_bad(c, err, "a row of more than %llu bytes (--max-line)", (unsigned long long)p->max);
}

static int put_value(struct parquet *p, const struct pq_column *c, struct pq_cell v, struct buf *to,
                     struct err *err) {
    const struct pq_node *leaf = c->leaf;
    if (to->n + v.n > p->row_end) return too_long(p, c, err);
    if (!v.v) return buf_str(to, "null", err);
    if (leaf->meaning == PQ_DECIMAL) return put_decimal(to, c, v, err);
    if (leaf->meaning == PQ_HALF && leaf->type == PQ_FIXED && v.n == 2)
        return json_number(to, half(load_le(v.v, 2)), err);
    switch (leaf->type) {
    case PQ_BOOLEAN: return buf_str(to, v.v[0] ? "true" : "false", err);
    case PQ_INT32:
    case PQ_INT64: return put_number(to, leaf, load_le(v.v, v.n), err);
    case PQ_INT96: return put_int96(to, v.v, err);
    case PQ_FLOAT: {
        float x;
        memcpy(&x, v.v, sizeof x);
        return json_number(to, (double)x, err);
    }
    case PQ_DOUBLE: {
        double x;
        memcpy(&x, v.v, sizeof x);
        return json_number(to, x, err);
    }
    default: /* what is not said to be text, and is none, is bytes */
        if (leaf->meaning != PQ_STRING && !scan_best()->utf8((const char *)v.v, v.n))
            return put_base64(to, v, err);
        return rows_quote(to, (const char *)v.v, v.n, err);
    }
}

/* ------------------------------------------------------------------ the tree of the schema */

static struct pq_column *first_column(struct parquet *p, const struct pq_node *n) {
    size_t i = (size_t)(n - p->meta.nodes);
    for (; i < n->end; i++)
        if (p->meta.nodes[i].type != PQ_GROUP && p->meta.nodes[i].wanted) break;
    return &p->columns[p->meta.nodes[i].leaf];
}

/* Takes one entry of every leaf below n: it stands for a null or an empty list. */
static int pass_over(struct parquet *p, const struct pq_node *n, struct err *err) {
    struct pq_cell none;
    int rc = 0;
    for (size_t i = (size_t)(n - p->meta.nodes); rc == 0 && i < n->end; i++)
        if (p->meta.nodes[i].type != PQ_GROUP && p->meta.nodes[i].wanted)
            rc = pq_column_take(&p->columns[p->meta.nodes[i].leaf], &none, err);
    return rc;
}

/* What is within a node that is there. */
static int write_value(struct parquet *p, const struct pq_node *n, struct buf *to,
                       struct err *err) {
    if (n->type != PQ_GROUP) {
        struct pq_column *c = &p->columns[n->leaf];
        struct pq_cell v;
        int rc = pq_column_take(c, &v, err);
        return rc < 0 ? rc : put_value(p, c, v, to, err);
    }
    bool list = (n->meaning == PQ_LIST || n->meaning == PQ_MAP) && n->n_children == 1 &&
                n[1].repetition == PQ_REPEATED;
    if (list) return write_field(p, n + 1, to, err);
    int rc = buf_char(to, '{', err);
    bool first = true;
    const struct pq_node *at = n + 1;
    for (size_t k = 0; rc == 0 && k < n->n_children; k++, at = p->meta.nodes + at->end) {
        if (!at->wanted) continue;
        if (!first) rc = buf_str(to, ", ", err);
        first = false;
        if (rc == 0) rc = rows_quote(to, at->name, strlen(at->name), err);
        if (rc == 0) rc = buf_str(to, ": ", err);
        if (rc == 0) rc = write_field(p, at, to, err);
    }
    return rc < 0 ? rc : buf_char(to, '}', err);
}

/* One element of a list: of `repeated group list { optional X element }`, the X. */
static int write_element(struct parquet *p, const struct pq_node *n, struct buf *to,
                         struct err *err) {
    const struct pq_node *above = n - 1;
    bool wrapped = n->type == PQ_GROUP && n->n_children == 1 && above->meaning == PQ_LIST &&
                   strcmp(n->name, "array");
    return wrapped ? write_field(p, n + 1, to, err) : write_value(p, n, to, err);
}

static int write_list(struct parquet *p, const struct pq_node *n, struct pq_column *first,
                      struct buf *to, struct err *err) {
    int rc = buf_char(to, '[', err);
    if (rc == 0 && first->d < (uint32_t)n->max_def) {
        rc = pass_over(p, n, err);
        return rc < 0 ? rc : buf_char(to, ']', err);
    }
    for (bool more = true; rc == 0 && more;) {
        rc = to->n > p->row_end ? too_long(p, first, err) : write_element(p, n, to, err);
        if (rc == 0) rc = pq_column_peek(first, err);
        if (rc < 0) return rc;
        more = rc > 0 && first->r >= (uint32_t)n->max_rep;
        rc = more ? buf_str(to, ", ", err) : 0;
    }
    return rc < 0 ? rc : buf_char(to, ']', err);
}

static int write_field(struct parquet *p, const struct pq_node *n, struct buf *to,
                       struct err *err) {
    if (n->repetition == PQ_REQUIRED || (n->type != PQ_GROUP && n->repetition == PQ_OPTIONAL))
        return write_value(p, n, to, err);
    struct pq_column *first = first_column(p, n);
    int rc = pq_column_peek(first, err);
    if (rc < 0) return rc;
    if (rc == 0) return pq_bad(first, err, "it has fewer values than the others");
    if (n->repetition == PQ_REPEATED) return write_list(p, n, first, to, err);
    if (first->d >= (uint32_t)n->max_def) return write_value(p, n, to, err);
    rc = pass_over(p, n, err);
    return rc < 0 ? rc : buf_str(to, "null", err);
}

/* ------------------------------------------------------------------ rows */

static int begin_group(struct parquet *p, struct err *err) {
    const struct pq_group *g = &p->meta.groups[p->group];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->meta.n_nodes; i++) {
        const struct pq_node *n = &p->meta.nodes[i];
        if (n->type == PQ_GROUP || !n->wanted) continue;
        struct pq_column *c = &p->columns[n->leaf];
        c->leaf = n;
        rc = pq_column_begin(c, &p->meta.chunks[g->chunks + n->leaf], err);
    }
    p->begun = rc == 0;
    return rc;
}

/* The next row: 1, 0 at the end, or a negative code. */
static int next_row(struct parquet *p, struct buf *to, struct err *err) {
    while (p->group < p->meta.n_groups && p->row == p->meta.groups[p->group].rows) {
        p->group++;
        p->row = 0;
        p->begun = false;
    }
    if (p->group == p->meta.n_groups) return 0;
    int rc = p->begun ? 0 : begin_group(p, err);
    if (rc < 0) return rc;
    p->row_end = p->max > SIZE_MAX / 2 ? SIZE_MAX : to->n + (size_t)p->max;
    p->row++;
    rc = write_value(p, p->meta.nodes, to, err);
    if (rc == 0) rc = buf_char(to, '\n', err);
    return rc < 0 ? rc : 1;
}

static int parquet_next(void *ctx, struct buf *lines, struct err *err) {
    struct parquet *p = ctx;
    size_t before = lines->n;
    int rc = 1;
    while (rc > 0 && lines->n - before < LINES_BYTES) {
        size_t row = lines->n;
        rc = next_row(p, lines, err);
        if (rc <= 0) lines->n = row;
    }
    return rc < 0 ? rc : lines->n > before;
}

static void parquet_close(void *ctx) {
    struct parquet *p = ctx;
    for (size_t i = 0; p->columns && i < p->meta.n_leaves; i++) pq_column_release(&p->columns[i]);
    free(p->columns);
    pq_meta_release(&p->meta);
    p->from.close(p->from.ctx);
    free(p->name);
    free(p);
}

/* By rows: columns that are not read count as read. */
static uint64_t parquet_stored(void *ctx) {
    const struct parquet *p = ctx;
    if (p->group >= p->meta.n_groups) return p->from.bytes;
    double groups = (double)p->meta.n_groups, rows = (double)p->meta.groups[p->group].rows;
    return (uint64_t)((double)p->from.bytes * ((double)p->group + (double)p->row / rows) / groups);
}

static int parquet_save(void *ctx, struct buf *to, struct err *err) {
    const struct parquet *p = ctx;
    int rc = put_u64(to, p->group, err);
    if (rc == 0) rc = put_u64(to, p->row, err);
    return rc < 0 ? rc : 1;
}

static int parquet_resume(void *ctx, struct cursor *from, struct err *err) {
    struct parquet *p = ctx;
    uint64_t group = cursor_u64(from), row = cursor_u64(from);
    if (from->bad || group > p->meta.n_groups ||
        row > (group < p->meta.n_groups ? p->meta.groups[group].rows : 0))
        return 0;
    struct buf none = {0};
    p->group = (size_t)group;
    p->row = 0;
    p->begun = false;
    int rc = 1;
    while (rc > 0 && p->row < row) {
        none.n = 0;
        rc = next_row(p, &none, err);
    }
    buf_release(&none);
    return rc < 0 ? rc : 1;
}

/* ------------------------------------------------------------------ opening */

static bool is_named(const struct strs *only, const char *name) {
    for (size_t i = 0; i < only->n; i++)
        if (!strcmp(only->v[i], name)) return true;
    return false;
}

/* Marks the columns of the top level that are read, and what is below and above them. */
static void want(struct pq_meta *m, const struct strs *only) {
    bool any = false;
    for (size_t i = 1; only && i < m->n_nodes; i = m->nodes[i].end)
        any = any || is_named(only, m->nodes[i].name);
    for (size_t i = 1; i < m->n_nodes; i = m->nodes[i].end) {
        bool wanted = !any || is_named(only, m->nodes[i].name);
        /* A group without a leaf has nothing to say whether it is there. */
        for (size_t k = m->nodes[i].end; k-- > i;) {
            struct pq_node *n = &m->nodes[k];
            bool below = n->type != PQ_GROUP;
            for (size_t j = k + 1; j < n->end; j = m->nodes[j].end)
                below = below || m->nodes[j].wanted;
            n->wanted = wanted && below;
        }
    }
    m->nodes[0].wanted = true;
}

int parquet_codec(struct codec **ret, const char *name, struct blob from, const struct strs *only,
                  uint64_t max, struct err *err) {
    struct parquet *p = calloc(1, sizeof *p);
    if (!p) {
        from.close(from.ctx);
        return err_nomem(err, sizeof *p);
    }
    p->from = from;
    p->max = max;
    p->name = strdup(name);
    int rc = p->name ? pq_meta_read(&p->meta, &p->from, name, err) : err_nomem(err, strlen(name));
    if (rc == 0) {
        want(&p->meta, only);
        p->columns = mem_array(p->meta.n_leaves, sizeof *p->columns);
        if (!p->columns) rc = err_nomem(err, p->meta.n_leaves * sizeof *p->columns);
    }
    for (size_t i = 0; rc == 0 && i < p->meta.n_leaves; i++) {
        p->columns[i].from = &p->from;
        p->columns[i].name = p->name;
    }
    if (rc < 0) {
        parquet_close(p);
        return rc;
    }
    struct rows rows = {parquet_next, parquet_close,  parquet_stored,
                        parquet_save, parquet_resume, p};
    return rows_codec(ret, name, rows, err);
}

int parquet_guess_field(char **ret, const char *name, const struct blob *from, struct err *err) {
    struct pq_meta m;
    const char *best = NULL;
    int best_rank = 3, rc = pq_meta_read(&m, from, name, err);
    if (rc < 0) return rc;
    for (size_t i = 1; i < m.n_nodes; i = m.nodes[i].end) {
        const struct pq_node *n = &m.nodes[i];
        int rank = !strcmp(n->name, "content") ? 0 : !strcmp(n->name, "text") ? 1 : 2;
        if (n->type != PQ_BYTES || n->repetition == PQ_REPEATED || n->meaning == PQ_DECIMAL ||
            rank >= best_rank)
            continue;
        best = n->name;
        best_rank = rank;
    }
    *ret = best ? strdup(best) : NULL;
    if (best && !*ret) rc = err_nomem(err, strlen(best));
    pq_meta_release(&m);
    return rc;
}
