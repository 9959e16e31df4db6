/* The part of bpe_many.c that is compiled for each kind of vectors: LANE(x) is its name for x,
 * LANE(vec) a vector of LANE(WIDTH) numbers, LANE(mask) what tells some of its lanes from the
 * others. */

/* The symbols of a group's bytes, and the ranks of their pairs. */
LANE_OP void LANE(fill)(const struct tokenizer *t, struct group *g) {
    const LANE(vec) none = LANE(set)(NONE);
    for (int from = 0; from < LANES; from += LANE(WIDTH)) {
        const LANE(vec) n = LANE(load)(g->n + from);
        LANE(vec) bytes = LANE(load)(g->text[0] + from), right = bytes & 0xFF;
        LANE(mask) is = LANE(more)(n, LANE(set)(0));
        for (int j = 0; j < g->places; j++) {
            const LANE(vec) left = right;
            const LANE(mask) pair = LANE(more)(n, LANE(set)((uint32_t)j + 1));
            bytes = (j + 1) % 4 ? bytes >> 8 : LANE(load)(g->text[(j + 1) / 4] + from);
            right = bytes & 0xFF;
            LANE(vec) sym = LANE(gather)(t->byte_id, left);
            LANE(vec) rank = LANE(gather)(t->byte_ranks, left << 8 | right);
            LANE(store)(g->sym[j] + from, LANE(pick)(is, sym, none));
            LANE(store)(g->rank[j] + from, LANE(pick)(pair, rank, none));
            is = pair;
        }
        LANE(store)(g->sym[g->places] + from, none);
        LANE(store)(g->rank[g->places] + from, none);
    }
}

/* Which of the pairs of these hashes the filter lets pass. */
LANE_OP uint32_t LANE(sieve)(const struct pairs *p, LANE(vec) hash) {
    const LANE(vec) first = hash >> (32 - p->filter_bits), second = hash >> PAIRS_SECOND_BIT;
    const LANE(vec) word = LANE(gather)(p->filter, first >> 5);
    const LANE(vec) both = word >> (first & 31) & word >> (second & 31) & 1;
    return LANE(bits)(LANE(more)(both, LANE(set)(0)));
}

/* Merges the lowest pair of each piece from lane `from` on, and notes the pairs that this brings
 * about, those that the filter lets pass. False: none of them has a pair. */
LANE_OP bool LANE(step_some)(const struct tokenizer *t, struct group *g, int from,
                             const int places) {
    const LANE(vec) none = LANE(set)(NONE);
    LANE(vec) least[PLACES], left = none, right = none, at = LANE(set)((uint32_t)places - 1);
    LANE(mask) here[PLACES]; /* the merge is at this place or before */
    least[0] = LANE(load)(g->rank[0] + from);
    for (int j = 1; j < places - 1; j++)
        least[j] = LANE(min)(least[j - 1], LANE(load)(g->rank[j] + from));
    const LANE(vec) low = least[places - 2];
    const LANE(mask) idle = LANE(equal)(low, none);
    const uint32_t active = LANE(bits)(LANE(not )(idle));
    if (!active) return false;
    const LANE(vec) lowest = LANE(pick)(idle, LANE(set)(NO_RANK), low);
    for (int j = 0; j < places - 1; j++) here[j] = LANE(equal)(least[j], lowest);
    here[places - 1] = LANE(not )(idle);

    const LANE(vec) rank = LANE(pick)(idle, LANE(set)(0), low);
    const LANE(vec) made =
        t->steady ? rank + t->first_result : LANE(gather)(&t->merges->result, rank * 3);
    for (int j = 0; j < places - 2; j++)
        left = LANE(pick)(here[j], left, LANE(load)(g->sym[j] + from));
    for (int j = places - 2; j >= 0; j--) {
        right = LANE(pick)(here[j], LANE(load)(g->sym[j + 2] + from), right);
        at = LANE(pick)(here[j], LANE(set)((uint32_t)j), at);
    }
    for (int j = 0; j < places; j++) { /* what is behind moves up */
        LANE(vec) s = LANE(pick)(here[j], made, LANE(load)(g->sym[j] + from));
        LANE(vec) r = LANE(load)(g->rank[j] + from);
        if (j + 1 < places) r = LANE(pick)(here[j + 1], none, r);
        if (j > 0) s = LANE(pick)(here[j - 1], LANE(load)(g->sym[j + 1] + from), s);
        if (j > 0) r = LANE(pick)(here[j - 1], LANE(load)(g->rank[j + 1] + from), r);
        LANE(store)(g->sym[j] + from, s);
        LANE(store)(g->rank[j] + from, r);
    }

    const LANE(vec) before = left * PAIRS_BY_LEFT + made * PAIRS_BY_RIGHT;
    const LANE(vec) behind = made * PAIRS_BY_LEFT + right * PAIRS_BY_RIGHT;
    const uint32_t first = active & ~LANE(bits)(LANE(equal)(left, none));
    const uint32_t last = active & ~LANE(bits)(LANE(equal)(right, none));
    g->may[0] |= (first & LANE(sieve)(&t->pairs, before)) << from;
    g->may[1] |= (last & LANE(sieve)(&t->pairs, behind)) << from;
    LANE(store)(g->hash[0] + from, before);
    LANE(store)(g->hash[1] + from, behind);
    LANE(store)(g->around[0] + from, left);
    LANE(store)(g->around[1] + from, made);
    LANE(store)(g->around[2] + from, right);
    LANE(store)(g->at + from, at);
    return true;
}

LANE_OP bool LANE(step_all)(const struct tokenizer *t, struct group *g, const int places) {
    bool any = false;
    for (int from = 0; from < LANES; from += LANE(WIDTH))
        any |= LANE(step_some)(t, g, from, places);
    return any;
}

/* Does no piece reach this row? */
LANE_OP bool LANE(is_free)(const struct group *g, int row) {
    bool is = true;
    for (int from = 0; from < LANES; from += LANE(WIDTH))
        is &= !LANE(bits)(LANE(not )(LANE(equal)(LANE(load)(g->sym[row] + from), LANE(set)(NONE))));
    return is;
}

LANE_LEVEL static bool LANE(step)(const struct tokenizer *t, struct group *g) {
    const int less = fewer_places(g->places);
    if (less && LANE(is_free)(g, less)) g->places = less;
    g->may[0] = g->may[1] = 0;
    switch (g->places) {
    case 4: return LANE(step_all)(t, g, 4);
    case 8: return LANE(step_all)(t, g, 8);
    case 12: return LANE(step_all)(t, g, 12);
    case 16: return LANE(step_all)(t, g, 16);
    case 24: return LANE(step_all)(t, g, 24);
    }
    return LANE(step_all)(t, g, PLACES);
}

LANE_LEVEL static void LANE(merge_many)(const struct tokenizer *t, const struct bpe_short *v,
                                        size_t n, struct bpe_short_ids *out, const uint8_t *where) {
    struct group group[GROUPS];
    uint8_t order[BPE_MANY], live[GROUPS];
    size_t n_live = 0;
    sort(v, n, order);
    for (size_t from = 0; from < n; from += LANES) {
        struct group *g = &group[n_live];
        take(g, v, order + from, n - from < LANES ? n - from : LANES);
        LANE(fill)(t, g);
        live[n_live] = (uint8_t)n_live;
        n_live++;
    }
    while (n_live) {
        size_t kept = 0;
        for (size_t i = 0; i < n_live; i++) {
            struct group *g = &group[live[i]];
            live[kept] = live[i];
            kept += LANE(step)(t, g);
            expect(&t->pairs, g);
        }
        n_live = kept;
        for (size_t i = 0; i < n_live; i++) answer(&t->pairs, &group[live[i]]);
    }
    for (size_t from = 0; from < n; from += LANES)
        put(&group[from / LANES], order + from, n - from < LANES ? n - from : LANES, out, where);
    _mm256_zeroupper(); /* what gcc 12 leaves out here: all that follows without AVX would wait */
}
