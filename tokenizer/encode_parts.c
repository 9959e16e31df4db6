/* A piece part by part: it is cut at its seams (seams.h), and the parts go through caches of their
 * own, as a sentence of Chinese is one piece and seldom comes twice, but its words do. Most
 * parts are single characters, for which there is a table. Neither where a seam is nor which of
 * both a part is can be foreseen, nor how many there are, so seams, then ids, are found for BATCH
 * parts at once, of several sentences, without a branch. New parts wait for each other
 * (encode_late.c). */
#include "tokenizer/encode_parts.h"

enum { RUN_FROM = 4 * 3 }; /* fewer places are not worth it at once */

/* Is the place before p[at], where a character begins, a seam? *ret_step bytes on there is the next
 * place. */
static inline bool is_seam(const struct seams *s, const uint8_t *p, size_t n, size_t at,
                           size_t *ret_step) {
    uint64_t around;
    if ((around = seams_wide(p, n, at))) {
        *ret_step = 3;
        return seams_at_wide(s, around, p, n, at);
    }
    if ((around = seams_two(p, n, at))) {
        *ret_step = 2;
        return seams_at_two(s, around, p, at);
    }
    *ret_step = 1;
    return seams_at(s, p, n, at);
}

/* Where parts of the piece that ends with p[n-1] end, from p[from] on: at seams, and at n. At most
 * `room` of them, to `end`; returns how many. Not inside characters: parts would be many and short;
 * and not within the ASCII of a piece that goes in windows, where there are few. What is before the
 * piece may be looked at, and does no harm: seams are missed at most. */
static inline size_t find_parts(const struct encoder *e, const uint8_t *p, size_t n, size_t from,
                                bool windows, uint32_t *end, size_t room) {
    const struct seams *s = &e->t->seams;
    size_t parts = 0, at = from + 1;
    while (at < n && parts < room) {
        size_t places, some, step;
        if (p[at] < 0xc0) { /* ASCII, or inside a character */
            if (windows && n - at > 8 && !(short_load8(p + at) & 0x8080808080808080)) {
                at += 8;
                continue;
            }
            end[parts] = (uint32_t)at;
            parts += !windows && p[at] < 0x80 && !seams_joined(s, p[at - 1], p[at]);
            at++;
        } else if (e->run && (p[at] & 0xf0) == 0xe0 && at >= 3 && n - at >= RUN_FROM &&
                   parts + SEAMS_RUN <= room &&
                   (places = e->run(s, p, n, at, end + parts, &some))) {
            parts += some;
            at += 3 * places;
        } else {
            end[parts] = (uint32_t)at;
            parts += is_seam(s, p, n, at, &step);
            at += step;
        }
    }
    if (at >= n && parts < room) end[parts++] = (uint32_t)n;
    return parts;
}

static __attribute__((noinline)) int wide_new(struct encoder *e, struct wide_char *c,
                                              const uint8_t *p, size_t n, struct err *err) {
    struct u32s ids = {0};
    int rc = bpe_merge(e->t, &e->scratch, p, n, &ids, err);
    if (rc >= 0) memcpy(c->id, ids.v, ids.n * sizeof *ids.v);
    if (rc >= 0) c->n = (uint32_t)ids.n;
    fresh_count(&e->fresh, 0, 0, n);
    u32s_release(&ids);
    return rc;
}

static int parts_begin(struct encoder *e, struct err *err) {
    e->wide = mem_array(1 << 16, sizeof *e->wide);
    if (!e->wide) return err_nomem(err, sizeof *e->wide << 16);
    return caches_begin(&e->part, err);
}

/* Learns the characters `unknown`, bits, which are among the parts. */
static __attribute__((noinline)) int parts_learn(struct encoder *e, struct parts *v,
                                                 const uint8_t *p, uint64_t unknown,
                                                 struct err *err) {
    int rc = 0;
    for (; unknown && rc >= 0; unknown &= unknown - 1) {
        const size_t i = (size_t)__builtin_ctzll(unknown);
        const uint8_t *q = p + v->edge[i];
        const size_t n = v->edge[i + 1] - v->edge[i];
        struct wide_char *c = &e->wide[n == 2 ? wide_at_two(q) : wide_at_three(q)];
        rc = c->n ? 0 : wide_new(e, c, q, n, err);
        v->a.n_ids[i] = c->n;
    }
    return rc;
}

/* Finds the characters of two or three bytes among the parts of p[0..n); others go to `rest`. */
static inline int parts_sort(struct encoder *e, struct parts *v, const uint8_t *p, size_t n,
                             struct err *err) {
    uint64_t unknown;
    const size_t others = e->sort(e->wide, p, n, v, &unknown);
    if (__builtin_expect(unknown != 0, 0)) {
        int rc = parts_learn(e, v, p, unknown, err);
        if (rc < 0) return rc;
    }
    batch_clear(&v->rest);
    for (size_t k = 0; k < others; k++) {
        const uint32_t *edge = &v->edge[v->a.which[k]];
        batch_add(&e->part, &v->rest, p + edge[0], edge[1] - edge[0], p + n);
    }
    batch_find_middles(&e->part.middles, &v->rest, p + n);
    return 0;
}

/* Appends ids[from] … ids[to-1]. NARROW_IDS are always copied: those that are too many are
 * overwritten by the next. */
static inline void answers_put(const struct answers *a, size_t from, size_t to, struct u32s *out) {
    uint32_t *o = out->v + out->n;
    for (size_t i = from; i < to; i++) {
        memcpy(o, a->ids[i], NARROW_IDS * sizeof *o);
        if (__builtin_expect(a->n_ids[i] > NARROW_IDS, 0))
            memcpy(o + NARROW_IDS, a->ids[i] + NARROW_IDS, (WIDE_IDS - NARROW_IDS) * sizeof *o);
        o += a->n_ids[i];
    }
    out->n = (size_t)(o - out->v);
}

/* Part i is not in its line: appends its ids and puts them there, or lets it wait. */
static __attribute__((noinline)) int part_new(struct encoder *e, struct parts *v, size_t i,
                                              struct u32s *out, struct err *err) {
    const struct batch *b = &v->rest;
    const uint8_t *p = b->p[i];
    const size_t n = b->n[i], first = out->n;
    int rc;
    if (n > SHORT_BYTES && n <= LONG_BYTES) {
        uint64_t hash;
        rc = encode_long_known(&e->part, b, i, true, &hash, out, err);
        if (rc == 0) {
            rc = encode_long_new(e, LATE_PART, hash, p, n, out, err);
            v->wait |= rc > 0;
            if (rc == 0) fresh_count(&e->fresh, 0, 0, n);
        }
    } else if (n <= SHORT_BYTES && e->many) {
        rc = late_add(e, LATE_PART, b, i, out, err);
        v->wait = true;
    } else {
        rc = encode_new_part(e, p, n, out, err);
        fresh_count(&e->fresh, 0, 0, n);
        if (rc >= 0 && n <= SHORT_BYTES) {
            batch_store(b, i, out->v + first, out->n - first, e->t->n);
            e->part.shorts.misses++;
        }
    }
    return rc < 0 ? rc : u32s_reserve(out, BATCH_ROOM, err);
}

/* Appends the ids of all parts. */
static inline int parts_take(struct encoder *e, struct parts *v, struct u32s *out,
                             struct err *err) {
    const struct batch *b = &v->rest;
    struct answers *a = &v->a;
    size_t done = 0;
    int rc = u32s_reserve(out, BATCH_ROOM, err);
    for (size_t k = 0; k < b->size && rc >= 0; k++) {
        size_t i = a->which[k];
        bool is;
        const struct short_slot *s = batch_slot(b, k, &is);
        a->ids[i] = s->id;
        a->n_ids[i] = (uint32_t)short_ids(s);
        if (__builtin_expect(!is, 0)) {
            answers_put(a, done, i, out); /* before lines change */
            rc = part_new(e, v, k, out, err);
            done = i + 1;
        }
    }
    if (rc < 0) return rc;
    answers_put(a, done, v->n, out);
    v->wait |= caches_full(&e->part);
    return encode_grow(e, &e->part, out, err);
}

/* Where the next piece begins, and how many are left. */
struct way {
    const uint32_t *len;
    size_t left, next;
};

/* Finds parts from p[from] on, BATCH of them if there are as many; returns where the last ends. */
static inline size_t find_many(const struct encoder *e, struct parts *v, const uint8_t *p,
                               uint32_t from, struct way *way) {
    v->n = 0;
    v->edge[0] = from;
    while (way->left && v->n < BATCH) {
        const size_t end = way->next + *way->len;
        v->n += find_parts(e, p, end, v->edge[v->n], *way->len > LONG_BYTES, v->edge + v->n + 1,
                           BATCH - v->n);
        if (v->edge[v->n] < end) break;
        way->next = end;
        way->len++;
        way->left--;
    }
    return v->edge[v->n];
}

int encode_parts(struct encoder *e, const uint8_t *p, size_t n, const uint32_t *len, size_t pieces,
                 bool *ret_wait, struct u32s *out, struct err *err) {
    struct parts v;
    struct way way = {.len = len, .left = pieces};
    size_t end = find_many(e, &v, p, 0, &way);
    if (pieces == 1 && v.n == 1) return 0;
    int rc = e->part.shorts.line ? 0 : parts_begin(e, err);
    v.wait = false;
    while (rc >= 0) {
        rc = parts_sort(e, &v, p, n, err);
        if (rc >= 0) rc = parts_take(e, &v, out, err);
        if (end == n) break;
        end = find_many(e, &v, p, (uint32_t)end, &way);
    }
    *ret_wait = v.wait;
    return rc < 0 ? rc : 1;
}
