/* Follows a zstd frame, unit by unit, beside the decoder: see zstd_parts.h.
 *
 *   MAGIC ─▶ HEADER ─▶ BLOCK_HEADER ─▶ BLOCK ─▶ BLOCK_HEADER … ─▶ SUM ─▶ END
 *
 * At a BLOCK_HEADER's beginning all of it can be told, but for the last three distances: those need
 * the sequences of blocks taken apart. That is done when a place is asked for, and of the last
 * block alone, which nearly always has three distances of its own. */
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the size of its state, which is saved */
#include <xxhash.h>
#include "stream/zstd_parts.h"

/* A place holds the window; wider ones (levels above 19) are not followed. The next place is as
 * many windows further on. */
enum {
    WINDOW_MAX = 8 << 20,
    WINDOWS_APART = 4,
    BLOCK_MAX = 128 << 10,
    MAGIC_BYTES = 5,
    SUM_BYTES = 4
};
static const uint32_t dictionary_magic = 0xec30a437;

struct zstd_trace {
    enum { MAGIC, HEADER, BLOCK_HEADER, BLOCK, SUM, END, LOST } at;
    uint8_t head[18];  /* the unit, if it is no block */
    size_t have, want; /* bytes of the unit           */
    bool last;         /* block of the frame          */
    bool packed;       /* the block is compressed     */
    bool has_sum;
    struct zstd_tables tables;
    uint32_t distances[DISTANCES]; /* before the sequences; 0: not known */
    struct zstd_sequences sequences;
    uint8_t *block, *before; /* (BLOCK_MAX) the one coming, and that of the sequences */
    uint8_t *window;         /* a ring: the last window_bytes of `plain` */
    size_t window_bytes, window_cap, window_at;
    uint64_t plain, saved; /* bytes of the frame; those before the last place */
    XXH64_state_t sum;
};

struct zstd_trace *zstd_trace_new(void) {
    struct zstd_trace *t = calloc(1, sizeof *t);
    if (t) t->block = malloc(BLOCK_MAX);
    if (t) t->before = malloc(BLOCK_MAX);
    if (t && t->block && t->before) return t;
    zstd_trace_free(t);
    return NULL;
}

void zstd_trace_free(struct zstd_trace *t) {
    if (!t) return;
    free(t->block);
    free(t->before);
    free(t->window);
    free(t);
}

static void unit(struct zstd_trace *t, int at, size_t want) {
    t->at = at;
    t->have = 0;
    t->want = want;
}

void zstd_trace_begin(struct zstd_trace *t) {
    unit(t, MAGIC, MAGIC_BYTES);
    zstd_tables_begin(&t->tables);
    t->distances[0] = 1;
    t->distances[1] = 4;
    t->distances[2] = 8;
    t->sequences.n = 0;
    t->plain = t->saved = 0;
    t->window_at = 0;
    XXH64_reset(&t->sum, 0);
}

/* The checksum goes with the last block, so that both end in the same step. */
size_t zstd_trace_next(const struct zstd_trace *t) {
    if (t->at == LOST) return SIZE_MAX;
    if (t->at == END) return 0;
    return t->want - t->have + (t->at == BLOCK && t->last && t->has_sum ? SUM_BYTES : 0);
}

/* ------------------------------------------------------------------ units */

static int room_for_window(struct zstd_trace *t, uint64_t bytes, struct err *err) {
    if (bytes > WINDOW_MAX) {
        t->at = LOST;
        return 0;
    }
    t->window_bytes = bytes ? (size_t)bytes : 1;
    if (t->window_bytes > t->window_cap) {
        free(t->window);
        t->window = malloc(t->window_bytes);
        t->window_cap = t->window ? t->window_bytes : 0;
        if (!t->window) return err_nomem(err, t->window_bytes);
    }
    unit(t, BLOCK_HEADER, 3);
    return 0;
}

/* Sizes of what follows the descriptor, RFC 8878, 3.1.1.1: a window, or a size that is one. */
static size_t size_bytes(uint8_t descriptor) {
    int flag = descriptor >> 6, single = descriptor >> 5 & 1;
    return flag ? (size_t)1 << flag : (size_t)single;
}

static void magic(struct zstd_trace *t) {
    uint8_t descriptor = t->head[4];
    bool single = descriptor >> 5 & 1;
    if (load_le(t->head, 4) != 0xfd2fb528 || descriptor & 3) { /* skippable; with a dictionary */
        t->at = LOST;
        return;
    }
    t->has_sum = descriptor >> 2 & 1;
    t->at = HEADER;
    t->want += !single + size_bytes(descriptor);
}

static int header(struct zstd_trace *t, struct err *err) {
    uint8_t descriptor = t->head[4], w = t->head[5];
    size_t n = size_bytes(descriptor);
    uint64_t base = (uint64_t)1 << (10 + (w >> 3)), window = base + base / 8 * (w & 7);
    if (descriptor >> 5 & 1) window = load_le(t->head + MAGIC_BYTES, n) + (n == 2 ? 256 : 0);
    return room_for_window(t, window, err);
}

static void block_ended(struct zstd_trace *t) {
    struct zstd_sequences s = {0};
    if (t->packed && !zstd_tables_read(&t->tables, t->block, t->want, &s)) {
        t->at = LOST;
        return;
    }
    if (s.n) {
        uint8_t *v = t->before;
        if (t->sequences.n) memset(t->distances, 0, sizeof t->distances);
        t->before = t->block;
        t->block = v;
        t->sequences = s;
    }
    unit(t, !t->last ? BLOCK_HEADER : t->has_sum ? SUM : END, !t->last ? 3 : SUM_BYTES);
}

static void block_header(struct zstd_trace *t) {
    uint32_t x = (uint32_t)load_le(t->head, 3), kind = x >> 1 & 3, n = x >> 3;
    enum { RAW, RLE, COMPRESSED };
    t->last = x & 1;
    t->packed = kind == COMPRESSED;
    if (n > BLOCK_MAX || kind > COMPRESSED) {
        t->at = LOST;
        return;
    }
    unit(t, BLOCK, kind == RLE ? 1 : n);
    if (!t->want) block_ended(t);
}

static int unit_ended(struct zstd_trace *t, struct err *err) {
    switch (t->at) {
    case MAGIC: magic(t); return 0;
    case HEADER: return header(t, err);
    case BLOCK_HEADER: block_header(t); return 0;
    case BLOCK: block_ended(t); return 0;
    default: t->at = END; return 0;
    }
}

int zstd_trace_in(struct zstd_trace *t, const uint8_t *v, size_t n, struct err *err) {
    int rc = 0;
    while (rc == 0 && n && t->at < END) {
        size_t k = t->want - t->have < n ? t->want - t->have : n;
        if (t->at != BLOCK)
            memcpy(t->head + t->have, v, k);
        else if (t->packed)
            memcpy(t->block + t->have, v, k);
        t->have += k;
        v += k;
        n -= k;
        if (t->have == t->want) rc = unit_ended(t, err);
    }
    return rc;
}

void zstd_trace_out(struct zstd_trace *t, const uint8_t *v, size_t n) {
    if (t->at == LOST || !n) return;
    if (t->has_sum) XXH64_update(&t->sum, v, n);
    t->plain += n;
    if (n > t->window_bytes) v += n - t->window_bytes, n = t->window_bytes;
    size_t first = t->window_bytes - t->window_at < n ? t->window_bytes - t->window_at : n;
    memcpy(t->window + t->window_at, v, first);
    memcpy(t->window, v + first, n - first);
    t->window_at = first < n ? n - first : t->window_at + first;
    if (t->window_at == t->window_bytes) t->window_at = 0;
}

/* ------------------------------------------------------------------ places */

/* A dictionary: magic, number, tables, distances, content. 1, 0: it cannot be told, or negative. */
static int put_dictionary(const struct zstd_trace *t, struct buf *to, struct err *err) {
    uint32_t last[DISTANCES];
    memcpy(last, t->distances, sizeof last);
    if (t->sequences.n && !zstd_distances(&t->tables, &t->sequences, last)) return 0;
    for (int i = 0; i < DISTANCES; i++)
        if (!last[i] || last[i] > t->window_bytes) return 0;
    int rc = put_u32(to, dictionary_magic, err);
    if (rc == 0) rc = put_u32(to, 1, err); /* its number: any but 0 */
    if (rc == 0) rc = zstd_tables_put(&t->tables, to, err);
    if (rc <= 0) return rc;
    rc = 0;
    for (int i = 0; rc == 0 && i < DISTANCES; i++) rc = put_u32(to, last[i], err);
    const uint8_t *oldest = t->window + t->window_at;
    if (rc == 0) rc = buf_append(to, oldest, t->window_bytes - t->window_at, err);
    if (rc == 0) rc = buf_append(to, t->window, t->window_at, err);
    return rc < 0 ? rc : 1;
}

int zstd_trace_save(struct zstd_trace *t, struct buf *to, struct err *err) {
    struct buf dictionary = {0};
    if (t->at != BLOCK_HEADER || t->have || t->plain < t->saved + WINDOWS_APART * t->window_bytes)
        return 0;
    int rc = put_dictionary(t, &dictionary, err);
    if (rc > 0) {
        rc = put_u64(to, t->window_bytes, err);
        if (rc == 0) rc = put_bytes(to, dictionary.v, dictionary.n, err);
        if (rc == 0) rc = put_u64(to, t->has_sum ? XXH_versionNumber() : 0, err);
        if (rc == 0 && t->has_sum) rc = put_bytes(to, &t->sum, sizeof t->sum, err);
        rc = rc < 0 ? rc : 1;
        t->saved = t->plain;
    }
    buf_release(&dictionary);
    return rc;
}

/* The descriptor of the least window of at least so many bytes. */
static uint8_t window_descriptor(size_t bytes) {
    uint8_t w = 0;
    while (((uint64_t)8 + (w & 7)) << (7 + (w >> 3)) < bytes) w++;
    return w;
}

/* What stands in a dictionary; `content` becomes its window. */
static bool read_dictionary(struct zstd_trace *t, struct cursor c, struct cursor *content) {
    bool begins = cursor_u32(&c) == dictionary_magic;
    cursor_u32(&c); /* its number */
    if (c.bad || !begins || !zstd_tables_get(&t->tables, &c)) return false;
    for (int i = 0; i < DISTANCES; i++) t->distances[i] = cursor_u32(&c);
    *content = c;
    return !c.bad && c.left == t->window_bytes;
}

int zstd_trace_resume(struct zstd_trace *t, struct cursor *from, uint8_t head[ZSTD_TRACE_HEADER],
                      const uint8_t **dictionary, size_t *n) {
    struct cursor content;
    size_t sum_n = 0;
    uint64_t window = cursor_u64(from);
    *dictionary = cursor_bytes(from, n);
    uint64_t version = cursor_u64(from);
    const uint8_t *sum = version ? cursor_bytes(from, &sum_n) : NULL;
    if (from->bad || !window || window > WINDOW_MAX) return 0;
    if (version && (version != XXH_versionNumber() || sum_n != sizeof t->sum)) return 0;
    zstd_trace_begin(t);
    if (room_for_window(t, window, NULL) < 0 ||
        !read_dictionary(t, (struct cursor){*dictionary, *n, false}, &content))
        return 0;
    memcpy(t->window, content.at, content.left);
    t->has_sum = version != 0;
    if (sum) memcpy(&t->sum, sum, sum_n);
    const uint8_t made[ZSTD_TRACE_HEADER] = {0x28, 0xb5, 0x2f, 0xfd, 0, window_descriptor(window)};
    memcpy(head, made, sizeof made);
    return 1;
}

size_t zstd_trace_sum_bytes(const struct zstd_trace *t) {
    return t->at == SUM ? SUM_BYTES : 0;
}

bool zstd_trace_sum_fits(const struct zstd_trace *t, const uint8_t sum[4]) {
    return (uint32_t)load_le(sum, 4) == (uint32_t)XXH64_digest(&t->sum);
}
