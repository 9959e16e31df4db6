/* A column chunk, page after page: see parquet_parts.h.
 *
 *   header (thrift) | stored bytes     ─unpacked─▶  levels, then values (v1: together; v2: levels
 *                                                   stand before, unpacked, with their lengths)
 */
#include <lz4.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "stream/parquet_parts.h"

enum { PAGE_DATA, PAGE_INDEX, PAGE_DICTIONARY, PAGE_DATA_V2 };
enum {
    PLAIN = 0,
    PLAIN_DICTIONARY = 2,
    RLE = 3,
    DELTA_BINARY = 5,
    DELTA_LENGTH = 6,
    DELTA_BYTES = 7,
    RLE_DICTIONARY = 8,
    BYTE_SPLIT = 9
};
enum { NONE, SNAPPY, GZIP, LZO, BROTLI, LZ4_HADOOP, ZSTD, LZ4_RAW };
enum { PAGE_MAX = 512 << 20, HEADER_BYTES = 64 << 10, HEADER_MAX = 16 << 20 };

struct header {
    int type;
    int64_t stored, unpacked; /* bytes */
    int64_t values, encoding, def_encoding, rep_encoding;
    int64_t def_bytes, rep_bytes; /* v2 */
    bool packed;                  /* v2 */
};

int pq_bad(const struct pq_column *c, struct err *err, const char *fmt, ...) {
    char what[ERR_MSG_BYTES / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    err_set(err, ERR_DATA, "%s: column \"%s\": %s, in the page at byte %llu", c->name,
            c->leaf->name, what, (unsigned long long)c->page_at);
    err_place(err, 0, 0, c->page_at);
    return ERR_DATA;
}

/* ------------------------------------------------------------------ headers */

static void data_header(struct cursor *c, struct header *h, bool v2) {
    int id = 0, type;
    h->packed = true;
    while (thrift_field(c, &id, &type)) {
        if (type == THRIFT_I32) {
            int64_t x = thrift_int(c);
            if (id == 1) h->values = x;
            if (id == (v2 ? 4 : 2)) h->encoding = x;
            if (!v2 && id == 3) h->def_encoding = x;
            if (!v2 && id == 4) h->rep_encoding = x;
            if (v2 && id == 5) h->def_bytes = x;
            if (v2 && id == 6) h->rep_bytes = x;
        } else {
            if (v2 && id == 7) h->packed = type == THRIFT_TRUE;
            thrift_skip(c, type);
        }
    }
}

static void read_header(struct cursor *c, struct header *h) {
    int id = 0, type;
    *h = (struct header){.type = -1,
                         .stored = -1,
                         .unpacked = -1,
                         .values = -1,
                         .encoding = -1,
                         .def_encoding = RLE,
                         .rep_encoding = RLE};
    while (thrift_field(c, &id, &type)) {
        if (type == THRIFT_I32 && id <= 3) {
            int64_t x = thrift_int(c);
            if (id == 1) h->type = (int)x;
            if (id == 2) h->unpacked = x;
            if (id == 3) h->stored = x;
        } else if (type == THRIFT_STRUCT && (id == 5 || id == 7 || id == 8))
            data_header(c, h, id == 8);
        else
            thrift_skip(c, type);
    }
}

/* Has raw hold `n` bytes of the chunk, from c->at on. */
static int fetch(struct pq_column *c, size_t n, struct err *err) {
    if (c->raw.n >= n) return 0;
    if (buf_reserve(&c->raw, n - c->raw.n, err) < 0) return ERR_NOMEM;
    int rc = c->from->read(c->from->ctx, c->at + c->raw.n, c->raw.v + c->raw.n, n - c->raw.n, err);
    if (rc == 0) c->raw.n = n;
    return rc;
}

/* The header at c->at, and the page's bytes behind it. raw[*bytes..] is the page. */
static int fetch_page(struct pq_column *c, struct header *h, size_t *bytes, struct err *err) {
    uint64_t left = c->end - c->at;
    size_t want = left < HEADER_BYTES ? (size_t)left : HEADER_BYTES;
    for (;;) {
        int rc = fetch(c, want, err);
        if (rc < 0) return rc;
        struct cursor in = {(const uint8_t *)c->raw.v, c->raw.n, false};
        read_header(&in, h);
        *bytes = c->raw.n - in.left;
        if (!in.bad) break;
        if (want == left || want >= HEADER_MAX) return pq_bad(c, err, "a damaged page header");
        want = 4 * want < left ? 4 * want : (size_t)left;
    }
    if (h->stored < 0 || h->unpacked < 0 || (uint64_t)h->stored > left - *bytes)
        return pq_bad(c, err, "a page of %lld bytes, where %llu are left", (long long)h->stored,
                      (unsigned long long)(left - *bytes));
    if (h->unpacked > PAGE_MAX)
        return pq_bad(c, err, "a page of %lld bytes; at most 512 MiB are read",
                      (long long)h->unpacked);
    return fetch(c, *bytes + (size_t)h->stored, err);
}

/* ------------------------------------------------------------------ unpacking */

/* Each: true if exactly n bytes came out. */
static bool un_gzip(const uint8_t *in, size_t in_n, uint8_t *to, size_t n) {
    z_stream z = {
        .next_in = (uint8_t *)in, .avail_in = (uInt)in_n, .next_out = to, .avail_out = (uInt)n};
    if (inflateInit2(&z, MAX_WBITS + 32) != Z_OK) return false;
    int rc = inflate(&z, Z_FINISH);
    bool whole = (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && z.avail_out == 0;
    inflateEnd(&z);
    return whole;
}

static bool un_zstd(const uint8_t *in, size_t in_n, uint8_t *to, size_t n) {
    size_t got = ZSTD_decompress(to, n, in, in_n);
    return !ZSTD_isError(got) && got == n;
}

static bool un_snappy(const uint8_t *in, size_t in_n, uint8_t *to, size_t n) {
    size_t says;
    return snappy_uncompressed_length((const char *)in, in_n, &says) == SNAPPY_OK && says == n &&
           snappy_uncompress((const char *)in, in_n, (char *)to, &says) == SNAPPY_OK && says == n;
}

static bool un_lz4(const uint8_t *in, size_t in_n, uint8_t *to, size_t n) {
    return LZ4_decompress_safe((const char *)in, (char *)to, (int)in_n, (int)n) == (int)n;
}

/* Hadoop's framing: (unpacked bytes, stored bytes, big-endian) before each block. Some writers left
 * it out. */
static bool un_lz4_hadoop(const uint8_t *in, size_t in_n, uint8_t *to, size_t n) {
    size_t at = 0, out = 0;
    while (at + 8 <= in_n && out < n) {
        const uint8_t *p = in + at;
        size_t plain = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        size_t stored = (size_t)p[4] << 24 | (size_t)p[5] << 16 | (size_t)p[6] << 8 | p[7];
        if (plain > n - out || stored > in_n - at - 8 || !un_lz4(p + 8, stored, to + out, plain))
            break;
        at += 8 + stored;
        out += plain;
    }
    return (at == in_n && out == n) || un_lz4(in, in_n, to, n);
}

/* Unpacks in[0..in_n) to c->page, behind what it holds, as `n` bytes. */
static int unpack(struct pq_column *c, const uint8_t *in, size_t in_n, size_t n, struct err *err) {
    if (buf_reserve(&c->page, n + 1, err) < 0) return ERR_NOMEM;
    uint8_t *to = (uint8_t *)c->page.v + c->page.n;
    bool good;
    switch (c->chunk->codec) {
    case NONE:
        good = in_n == n;
        if (good && n) memcpy(to, in, n);
        break;
    case SNAPPY: good = un_snappy(in, in_n, to, n); break;
    case GZIP: good = un_gzip(in, in_n, to, n); break;
    case LZ4_HADOOP: good = un_lz4_hadoop(in, in_n, to, n); break;
    case ZSTD: good = un_zstd(in, in_n, to, n); break;
    case LZ4_RAW: good = un_lz4(in, in_n, to, n); break;
    default:
        return pq_bad(c, err, "packed with %s, which is not read here",
                      c->chunk->codec == LZO      ? "LZO"
                      : c->chunk->codec == BROTLI ? "brotli"
                                                  : "an unknown codec");
    }
    if (!good && (n || in_n)) return pq_bad(c, err, "damaged data");
    c->page.n += n;
    return 0;
}

/* ------------------------------------------------------------------ values */

static size_t width_of(const struct pq_node *leaf) {
    static const size_t of[] = {
        [PQ_INT32] = 4, [PQ_INT64] = 8, [PQ_INT96] = 12, [PQ_FLOAT] = 4, [PQ_DOUBLE] = 8};
    return leaf->type == PQ_FIXED ? leaf->fixed : leaf->type <= PQ_DOUBLE ? of[leaf->type] : 0;
}

/* The next plain value of a type that fills whole bytes. NULL: none left. */
static const uint8_t *plain_value(struct cursor *from, const struct pq_node *leaf, size_t *n) {
    *n = leaf->type == PQ_BYTES ? cursor_u32(from) : width_of(leaf);
    return cursor_take(from, *n);
}

static int read_dictionary(struct pq_column *c, const struct header *h, const uint8_t *in,
                           struct err *err) {
    c->page.n = 0;
    int rc = unpack(c, in, (size_t)h->stored, (size_t)h->unpacked, err);
    if (rc < 0) return rc;
    struct buf kept = c->dictionary_bytes;
    c->dictionary_bytes = c->page;
    c->page = kept;
    size_t least = c->leaf->type == PQ_BYTES ? 4 : width_of(c->leaf);
    if (h->values < 0 || !least || (uint64_t)h->values > (uint64_t)h->unpacked / least)
        return pq_bad(c, err, "a dictionary of %lld values in %lld bytes", (long long)h->values,
                      (long long)h->unpacked);
    free(c->dictionary);
    c->n_dictionary = 0;
    c->dictionary = mem_array((size_t)h->values + 1, sizeof *c->dictionary);
    if (!c->dictionary) return err_nomem(err, (uint64_t)h->values * sizeof *c->dictionary);
    struct cursor from = {(const uint8_t *)c->dictionary_bytes.v, c->dictionary_bytes.n, false};
    for (int64_t i = 0; i < h->values; i++)
        c->dictionary[i].v = plain_value(&from, c->leaf, &c->dictionary[i].n);
    if (from.bad) return pq_bad(c, err, "a dictionary that breaks off");
    c->n_dictionary = (size_t)h->values;
    return 0;
}

static int begin_values(struct pq_column *c, const struct header *h, struct cursor v,
                        struct err *err) {
    bool text = c->leaf->type == PQ_BYTES || c->leaf->type == PQ_FIXED;
    bool whole = c->leaf->type == PQ_INT32 || c->leaf->type == PQ_INT64;
    c->encoding = (int)h->encoding;
    c->plain = v;
    c->before.n = 0;
    switch (h->encoding) {
    case PLAIN:
        if (c->leaf->type == PQ_BOOLEAN) { /* packed, with no lengths */
            c->indices = (struct pq_runs){.c = {v.at, 0, false}, .width = 1, .packed = true};
            c->indices.run = 8 * (uint64_t)v.left;
            c->indices.v = v.at;
        }
        return 0;
    case PLAIN_DICTIONARY:
    case RLE_DICTIONARY:
        c->encoding = RLE_DICTIONARY;
        if (!v.left) return 0; /* nulls only */
        pq_runs_begin(&c->indices, v.at + 1, v.left - 1, v.at[0]);
        if (v.at[0] > 32) return pq_bad(c, err, "indices of %d bits", v.at[0]);
        return 0;
    case RLE:
        if (c->leaf->type != PQ_BOOLEAN) break;
        uint32_t n = v.left ? cursor_u32(&v) : 0;
        const uint8_t *at = cursor_take(&v, n);
        if (v.bad) return pq_bad(c, err, "damaged values");
        pq_runs_begin(&c->indices, at, n, 1);
        return 0;
    case DELTA_BINARY:
        if (!whole) break;
        pq_delta_begin(&c->lengths, v.at, v.left);
        return 0;
    case DELTA_LENGTH:
        if (c->leaf->type != PQ_BYTES) break;
        pq_delta_begin(&c->lengths, v.at, v.left);
        c->plain = pq_delta_rest(&c->lengths);
        return 0;
    case DELTA_BYTES:
        if (!text) break;
        pq_delta_begin(&c->prefixes, v.at, v.left);
        c->plain = pq_delta_rest(&c->prefixes);
        pq_delta_begin(&c->lengths, c->plain.at, c->plain.left);
        c->plain = pq_delta_rest(&c->lengths);
        return 0;
    case BYTE_SPLIT:
        if (!width_of(c->leaf)) break;
        c->split_n = v.left / width_of(c->leaf);
        c->split_i = 0;
        return 0;
    default: break;
    }
    return pq_bad(c, err, "encoding %lld, which is not read here for this type",
                  (long long)h->encoding);
}

static int bits_for(int max) {
    int bits = 0;
    while (max >> bits) bits++;
    return bits;
}

/* v1: a length and its runs, where there can be levels at all. */
static int levels_v1(struct pq_column *c, struct pq_runs *r, struct cursor *v, int max,
                     int64_t encoding, struct err *err) {
    pq_runs_begin(r, v->at, 0, 0);
    if (!max) return 0;
    if (encoding != RLE) return pq_bad(c, err, "levels of encoding %lld", (long long)encoding);
    uint32_t n = cursor_u32(v);
    const uint8_t *at = cursor_take(v, n);
    if (v->bad) return pq_bad(c, err, "damaged levels");
    pq_runs_begin(r, at, n, bits_for(max));
    return 0;
}

static int begin_v1(struct pq_column *c, const struct header *h, const uint8_t *in,
                    struct err *err) {
    c->page.n = 0;
    int rc = unpack(c, in, (size_t)h->stored, (size_t)h->unpacked, err);
    struct cursor v = {(const uint8_t *)c->page.v, c->page.n, false};
    if (rc == 0) rc = levels_v1(c, &c->rep, &v, c->leaf->max_rep, h->rep_encoding, err);
    if (rc == 0) rc = levels_v1(c, &c->def, &v, c->leaf->max_def, h->def_encoding, err);
    return rc < 0 ? rc : begin_values(c, h, v, err);
}

static int begin_v2(struct pq_column *c, const struct header *h, const uint8_t *in,
                    struct err *err) {
    int64_t levels = h->rep_bytes + h->def_bytes;
    if (h->rep_bytes < 0 || h->def_bytes < 0 || levels > h->stored || levels > h->unpacked)
        return pq_bad(c, err, "levels of %lld bytes in a page of %lld", (long long)levels,
                      (long long)h->stored);
    size_t n = (size_t)levels, stored = (size_t)h->stored - n, plain = (size_t)h->unpacked - n;
    c->page.n = 0;
    int rc = buf_reserve(&c->page, n + 1, err); /* an empty page, too, lies somewhere */
    if (rc == 0) rc = buf_append(&c->page, in, n, err);
    if (rc == 0 && h->packed && stored)
        rc = unpack(c, in + n, stored, plain, err);
    else if (rc == 0)
        rc = buf_append(&c->page, in + n, stored, err);
    if (rc < 0) return rc;
    const uint8_t *v = (const uint8_t *)c->page.v;
    pq_runs_begin(&c->rep, v, (size_t)h->rep_bytes, bits_for(c->leaf->max_rep));
    pq_runs_begin(&c->def, v + h->rep_bytes, (size_t)h->def_bytes, bits_for(c->leaf->max_def));
    return begin_values(c, h, (struct cursor){v + n, c->page.n - n, false}, err);
}

/* ------------------------------------------------------------------ one after the other */

int pq_column_begin(struct pq_column *c, const struct pq_chunk *chunk, struct err *err) {
    c->chunk = chunk;
    c->at = c->page_at = chunk->at;
    c->left = chunk->values;
    c->page_left = 0;
    c->n_dictionary = 0;
    c->raw.n = 0;
    c->peeked = false;
    if (!chunk->usable) return pq_bad(c, err, "it lies in another file");
    if (chunk->at > c->from->bytes || chunk->bytes > c->from->bytes - chunk->at)
        return pq_bad(c, err, "%llu bytes, where the file has %llu",
                      (unsigned long long)chunk->bytes, (unsigned long long)c->from->bytes);
    c->end = chunk->at + chunk->bytes;
    return 0;
}

static int next_page(struct pq_column *c, struct err *err) {
    struct header h = {0};
    size_t bytes = 0;
    c->page_at = c->at;
    if (c->at >= c->end) return pq_bad(c, err, "it ends before its last value");
    int rc = fetch_page(c, &h, &bytes, err);
    if (rc < 0) return rc;
    const uint8_t *in = (const uint8_t *)c->raw.v + bytes;
    if (h.type == PAGE_DICTIONARY)
        rc = read_dictionary(c, &h, in, err);
    else if (h.type == PAGE_DATA || h.type == PAGE_DATA_V2) {
        if (h.values < 0) return pq_bad(c, err, "a damaged page header");
        rc = h.type == PAGE_DATA ? begin_v1(c, &h, in, err) : begin_v2(c, &h, in, err);
        c->page_left = (uint64_t)h.values;
    }
    /* What was fetched beyond this page serves the next one. */
    size_t used = bytes + (size_t)h.stored;
    c->at += used;
    c->raw.n -= used;
    memmove(c->raw.v, c->raw.v + used, c->raw.n);
    return rc;
}

int pq_column_peek(struct pq_column *c, struct err *err) {
    if (c->peeked) return 1;
    if (!c->left) return 0;
    while (!c->page_left) {
        int rc = next_page(c, err);
        if (rc < 0) return rc;
    }
    c->r = c->leaf->max_rep ? pq_runs_next(&c->rep) : 0;
    c->d = c->leaf->max_def ? pq_runs_next(&c->def) : 0;
    if (c->rep.c.bad || c->def.c.bad || c->r > (uint32_t)c->leaf->max_rep ||
        c->d > (uint32_t)c->leaf->max_def)
        return pq_bad(c, err, "damaged levels");
    c->left--;
    c->page_left--;
    c->peeked = true;
    return 1;
}

/* A number made here, as bytes. */
static bool give(struct pq_column *c, uint64_t x, struct pq_cell *ret, struct err *err) {
    c->before.n = 0;
    if (put_u64(&c->before, x, err) < 0) return false;
    ret->v = (const uint8_t *)c->before.v;
    ret->n = c->leaf->type == PQ_INT32 ? 4 : c->leaf->type == PQ_BOOLEAN ? 1 : 8;
    return true;
}

/* A prefix of the value before, and what follows it. */
static bool joined(struct pq_column *c, struct pq_cell *ret, struct err *err) {
    uint64_t prefix = pq_delta_next(&c->prefixes), n = pq_delta_next(&c->lengths);
    const uint8_t *v = cursor_take(&c->plain, n);
    if (c->prefixes.c.bad || c->lengths.c.bad || !v || prefix > c->before.n) return false;
    c->before.n = (size_t)prefix;
    if (buf_append(&c->before, v, (size_t)n, err) < 0) return false;
    ret->v = (const uint8_t *)(c->before.v ? c->before.v : "");
    ret->n = c->before.n;
    return c->leaf->type == PQ_BYTES || ret->n == c->leaf->fixed;
}

static bool split(struct pq_column *c, struct pq_cell *ret, struct err *err) {
    size_t width = width_of(c->leaf);
    if (c->split_i == c->split_n) return false;
    c->before.n = 0;
    for (size_t i = 0; i < width; i++)
        if (buf_char(&c->before, (char)c->plain.at[i * c->split_n + c->split_i], err) < 0)
            return false;
    c->split_i++;
    *ret = (struct pq_cell){(const uint8_t *)c->before.v, width};
    return true;
}

static bool take_value(struct pq_column *c, struct pq_cell *ret, struct err *err) {
    uint64_t x;
    switch (c->encoding) {
    case RLE_DICTIONARY:
        x = pq_runs_next(&c->indices);
        if (c->indices.c.bad || x >= c->n_dictionary) return false;
        *ret = c->dictionary[x];
        return true;
    case DELTA_BINARY:
        x = pq_delta_next(&c->lengths);
        return !c->lengths.c.bad && give(c, x, ret, err);
    case DELTA_LENGTH:
        ret->n = pq_delta_next(&c->lengths);
        ret->v = cursor_take(&c->plain, ret->n);
        return !c->lengths.c.bad && ret->v;
    case DELTA_BYTES: return joined(c, ret, err);
    case BYTE_SPLIT: return split(c, ret, err);
    default:
        if (c->leaf->type == PQ_BOOLEAN) {
            x = pq_runs_next(&c->indices);
            return !c->indices.c.bad && give(c, x, ret, err);
        }
        ret->v = plain_value(&c->plain, c->leaf, &ret->n);
        return ret->v != NULL;
    }
}

int pq_column_take(struct pq_column *c, struct pq_cell *ret, struct err *err) {
    struct err local = {0};
    int rc = pq_column_peek(c, err);
    if (rc < 0) return rc;
    if (rc == 0) return pq_bad(c, err, "it has fewer values than the others");
    c->peeked = false;
    *ret = (struct pq_cell){0};
    if (c->d < (uint32_t)c->leaf->max_def || take_value(c, ret, &local)) return 0;
    if (local.code) {
        *err = local;
        return local.code;
    }
    return pq_bad(c, err, "damaged values");
}

void pq_column_release(struct pq_column *c) {
    buf_release(&c->raw);
    buf_release(&c->page);
    buf_release(&c->dictionary_bytes);
    buf_release(&c->before);
    free(c->dictionary);
    *c = (struct pq_column){0};
}
