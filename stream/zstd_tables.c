/* The tables that zstd blocks bring, and what their sequences say about distances: RFC 8878,
 * 3.1.1.3 and 4. See zstd_parts.h. */
#include <string.h>
#include "stream/zstd_parts.h"

/* Symbols and bits of each kind of table, and bits that follow a symbol; those that follow a
 * distance's symbol are as many as its number. */
static const uint8_t symbols_max[FSE_KINDS] = {36, 32, 53}, log_max[FSE_KINDS] = {9, 8, 9};
static const uint8_t literals_bits[36] = {[16] = 1, 1, 1, 1,  2,  2,  3,  3,  4,  6,
                                          7,        8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t matches_bits[53] = {[32] = 1, 1, 1, 1,  2,  2,  3,  3,  4,  4, 5,
                                         7,        8, 9, 10, 11, 12, 13, 14, 15, 16};

static const struct fse predefined[FSE_KINDS] = {
    {.log = 6, .n = 36, .counts = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1,  1,  2,  2,
                                   2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}},
    {.log = 5, .n = 29, .counts = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1,  1,  1,  1,  1, 1,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}},
    {.log = 6, .n = 53, .counts = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1}},
};

void zstd_tables_begin(struct zstd_tables *t) {
    t->huffman_n = 0;
    memcpy(t->fse, predefined, sizeof predefined);
}

static int highest_bit(uint32_t x) {
    return 31 - __builtin_clz(x);
}

/* ------------------------------------------------------------------ counts of symbols */

/* Bits from the lowest of each byte on. */
struct bits {
    const uint8_t *v;
    size_t n, at; /* bytes; bits taken */
};

static uint32_t peek(const struct bits *b, int k) {
    size_t byte = b->at / 8, left = byte < b->n ? b->n - byte : 0;
    uint32_t x = left ? (uint32_t)load_le(b->v + byte, left < 4 ? left : 4) : 0;
    return x >> b->at % 8 & ((1u << k) - 1);
}

static uint32_t take(struct bits *b, int k) {
    uint32_t x = peek(b, k);
    b->at += (size_t)k;
    return x;
}

/* A count is written in as few bits as what is left of 2^log allows: of the `remaining` + 2 values
 * that it can have, the first `few` have one bit less. */
static int count_bits(uint32_t remaining, uint32_t *few) {
    int k = highest_bit(remaining + 1) + 1;
    *few = (1u << k) - 1 - (remaining + 1);
    return k;
}

/* Reads the counts at v: bytes used, or 0: these are none. */
static size_t read_counts(struct fse *f, enum fse_kind kind, const uint8_t *v, size_t n) {
    struct bits b = {v, n, 0};
    uint32_t few;
    *f = (struct fse){.log = 5 + (int)take(&b, 4)};
    if (f->log > log_max[kind]) return 0;
    uint32_t remaining = 1u << f->log;
    while (remaining && f->n < symbols_max[kind]) {
        int k = count_bits(remaining, &few);
        uint32_t x = peek(&b, k), low = (1u << (k - 1)) - 1;
        b.at += (size_t)k;
        if ((x & low) < few) {
            x &= low;
            b.at--;
        } else if (x > low)
            x -= few;
        int count = (int)x - 1;
        uint32_t takes = count < 0 ? 1 : (uint32_t)count;
        if (takes > remaining) return 0;
        remaining -= takes;
        f->counts[f->n++] = (int16_t)count;
        for (uint32_t zeros = count ? 0 : 3; zeros == 3;) {
            zeros = take(&b, 2);
            if (zeros > symbols_max[kind] - f->n) return 0;
            f->n += zeros;
        }
    }
    return remaining || b.at > 8 * n ? 0 : (b.at + 7) / 8;
}

/* The other way round. */
struct bits_out {
    uint8_t v[128];
    size_t at;
};

static void give(struct bits_out *b, uint32_t x, int k) {
    for (int i = 0; i < k; i++, b->at++) b->v[b->at / 8] |= (uint8_t)((x >> i & 1) << b->at % 8);
}

static int put_counts(const struct fse *f, struct buf *to, struct err *err) {
    struct bits_out b = {.at = 0};
    uint32_t remaining = 1u << f->log, few;
    give(&b, (uint32_t)f->log - 5, 4);
    for (size_t i = 0; i < f->n && remaining;) {
        int k = count_bits(remaining, &few);
        uint32_t x = (uint32_t)(f->counts[i] + 1), low = (1u << (k - 1)) - 1;
        give(&b, x > low ? x + few : x, x < few ? k - 1 : k);
        remaining -= f->counts[i] < 0 ? 1 : (uint32_t)f->counts[i];
        if (f->counts[i++]) continue;
        size_t zeros = 0;
        while (i + zeros < f->n && !f->counts[i + zeros]) zeros++;
        i += zeros;
        for (; zeros >= 3; zeros -= 3) give(&b, 3, 2);
        give(&b, (uint32_t)zeros, 2);
    }
    return buf_append(to, b.v, (b.at + 7) / 8, err);
}

/* ------------------------------------------------------------------ a block's headers */

/* Bytes of a Huffman table's description; 0: none. */
static size_t huffman_bytes(const uint8_t *v, size_t n) {
    size_t bytes = !n ? 0 : v[0] < 128 ? 1 + v[0] : 1 + (v[0] - 127 + 1) / 2;
    return bytes <= n && bytes <= HUFFMAN_BYTES_MAX ? bytes : 0;
}

/* The literals' section; goes behind it. */
static bool read_literals(struct zstd_tables *t, struct cursor *c) {
    enum { RAW, RLE, COMPRESSED, TREELESS };
    if (!c->left) return false;
    int kind = c->at[0] & 3, size = c->at[0] >> 2 & 3;
    bool packed = kind >= COMPRESSED;
    size_t head = packed ? (size < 2 ? 3 : (size_t)size + 2) : size == 1 ? 2 : size == 3 ? 3 : 1;
    const uint8_t *v = cursor_take(c, head);
    if (!v) return false;
    uint64_t x = load_le(v, head);
    if (!packed) {
        uint64_t plain = head == 1 ? x >> 3 : x >> 4;
        return cursor_take(c, kind == RLE ? 1 : plain) != NULL;
    }
    int each = size < 2 ? 10 : size == 2 ? 14 : 18;
    size_t bytes = (size_t)(x >> (4 + each) & ((1u << each) - 1));
    v = cursor_take(c, bytes);
    if (v && kind == COMPRESSED) {
        t->huffman_n = huffman_bytes(v, bytes);
        memcpy(t->huffman, v, t->huffman_n);
    }
    return v && (kind != COMPRESSED || t->huffman_n);
}

static bool read_table(struct zstd_tables *t, enum fse_kind kind, int mode, struct cursor *c) {
    enum { PREDEFINED, ONE, COUNTS };
    struct fse *f = &t->fse[kind];
    if (mode == PREDEFINED) *f = predefined[kind];
    if (mode == ONE) *f = (struct fse){.only = cursor_u8(c)};
    if (mode == ONE) return !c->bad && f->only < symbols_max[kind];
    if (mode != COUNTS) return true;
    size_t n = read_counts(f, kind, c->at, c->left);
    return n && cursor_take(c, n);
}

bool zstd_tables_read(struct zstd_tables *t, const uint8_t *v, size_t n,
                      struct zstd_sequences *ret) {
    struct cursor c = {v, n, false};
    *ret = (struct zstd_sequences){0};
    if (!read_literals(t, &c)) return false;
    uint32_t first = cursor_u8(&c);
    if (first < 128)
        ret->n = first;
    else if (first < 255)
        ret->n = (first - 128) << 8 | cursor_u8(&c);
    else {
        ret->n = cursor_u8(&c);
        ret->n += ((uint32_t)cursor_u8(&c) << 8) + 0x7f00;
    }
    if (!ret->n) return !c.bad;
    int modes = cursor_u8(&c);
    if (c.bad || !read_table(t, FSE_LITERALS, modes >> 6, &c) ||
        !read_table(t, FSE_DISTANCES, modes >> 4 & 3, &c) ||
        !read_table(t, FSE_MATCHES, modes >> 2 & 3, &c))
        return false;
    ret->bits = c.at;
    ret->bytes = c.left;
    return c.left != 0;
}

/* ------------------------------------------------------------------ sequences */

struct fse_cell {
    uint8_t symbol, bits;
    uint16_t base; /* the next state is this and the value of so many bits */
};

static void make_cells(const struct fse *f, struct fse_cell *cells) {
    uint32_t size = 1u << f->log, high = size, at = 0, step = (size >> 1) + (size >> 3) + 3;
    uint16_t next[FSE_SYMBOLS_MAX];
    if (!f->log) {
        cells[0] = (struct fse_cell){.symbol = f->only};
        return;
    }
    for (size_t s = 0; s < f->n; s++) {
        next[s] = f->counts[s] < 0 ? 1 : (uint16_t)f->counts[s];
        if (f->counts[s] < 0) cells[--high].symbol = (uint8_t)s;
    }
    for (size_t s = 0; s < f->n; s++)
        for (int i = 0; i < f->counts[s]; i++) {
            cells[at].symbol = (uint8_t)s;
            do at = (at + step) & (size - 1);
            while (at >= high);
        }
    for (uint32_t i = 0; i < size; i++) {
        uint32_t x = next[cells[i].symbol]++;
        cells[i].bits = (uint8_t)(f->log - highest_bit(x));
        cells[i].base = (uint16_t)((x << cells[i].bits) - size);
    }
}

/* Bits from the end of the bytes on. */
struct bits_back {
    const uint8_t *v;
    size_t n, left; /* bytes; bits left */
    bool bad;
};

static uint32_t take_back(struct bits_back *b, int k) {
    if ((size_t)k > b->left) {
        b->bad = true;
        return 0;
    }
    b->left -= (size_t)k;
    size_t byte = b->left / 8, n = b->n - byte < 8 ? b->n - byte : 8;
    return (uint32_t)(load_le(b->v + byte, n) >> b->left % 8 & (((uint64_t)1 << k) - 1));
}

static void move(const struct fse_cell *cells, uint32_t *state, struct bits_back *b) {
    *state = cells[*state].base + take_back(b, cells[*state].bits);
}

/* A value up to 3 stands for one of the last three distances; without literals before it, for the
 * second, the third, or one less than the first. */
static void take_distance(uint32_t last[DISTANCES], uint64_t value, bool no_literals) {
    uint64_t which = value > 3 ? 3 : value - 1 + no_literals, now;
    if (which == 0) return;
    now = value > 3 ? value - 3 : which < 3 ? last[which] : last[0] ? last[0] - 1 : 0;
    if (which > 1) last[2] = last[1];
    last[1] = last[0];
    last[0] = (uint32_t)now;
}

bool zstd_distances(const struct zstd_tables *t, const struct zstd_sequences *s,
                    uint32_t last[DISTANCES]) {
    struct fse_cell cells[FSE_KINDS][1 << FSE_LOG_MAX];
    uint32_t state[FSE_KINDS];
    if (!s->bytes || !s->bits[s->bytes - 1]) return false;
    struct bits_back b = {.v = s->bits, .n = s->bytes};
    b.left = 8 * (s->bytes - 1) + (size_t)highest_bit(s->bits[s->bytes - 1]);
    for (int k = 0; k < FSE_KINDS; k++) {
        make_cells(&t->fse[k], cells[k]);
        state[k] = take_back(&b, t->fse[k].log);
    }
    for (uint32_t i = 0; i < s->n && !b.bad; i++) {
        int distance = cells[FSE_DISTANCES][state[FSE_DISTANCES]].symbol;
        uint64_t value = ((uint64_t)1 << distance) + take_back(&b, distance);
        int literals = cells[FSE_LITERALS][state[FSE_LITERALS]].symbol;
        take_back(&b, matches_bits[cells[FSE_MATCHES][state[FSE_MATCHES]].symbol]);
        take_back(&b, literals_bits[literals]);
        take_distance(last, value, literals == 0);
        if (i + 1 == s->n) break;
        move(cells[FSE_LITERALS], &state[FSE_LITERALS], &b);
        move(cells[FSE_MATCHES], &state[FSE_MATCHES], &b);
        move(cells[FSE_DISTANCES], &state[FSE_DISTANCES], &b);
    }
    return !b.bad && b.left == 0;
}

/* ------------------------------------------------------------------ in a dictionary */

/* Two symbols of one bit each: a dictionary has to have a Huffman table, even if no block can have
 * used one. */
static const uint8_t no_huffman[] = {128, 0x10};
static const enum fse_kind in_order[FSE_KINDS] = {FSE_DISTANCES, FSE_MATCHES, FSE_LITERALS};

int zstd_tables_put(const struct zstd_tables *t, struct buf *to, struct err *err) {
    for (int i = 0; i < FSE_KINDS; i++)
        if (!t->fse[i].log) return 0;
    int rc = t->huffman_n ? buf_append(to, t->huffman, t->huffman_n, err)
                          : buf_append(to, no_huffman, sizeof no_huffman, err);
    for (int i = 0; rc == 0 && i < FSE_KINDS; i++) rc = put_counts(&t->fse[in_order[i]], to, err);
    return rc < 0 ? rc : 1;
}

bool zstd_tables_get(struct zstd_tables *t, struct cursor *from) {
    t->huffman_n = huffman_bytes(from->at, from->left);
    const uint8_t *v = cursor_take(from, t->huffman_n);
    if (!v || !t->huffman_n) return false;
    memcpy(t->huffman, v, t->huffman_n);
    for (int i = 0; i < FSE_KINDS; i++) {
        size_t n = read_counts(&t->fse[in_order[i]], in_order[i], from->at, from->left);
        if (!n || !cursor_take(from, n)) return false;
    }
    return true;
}
