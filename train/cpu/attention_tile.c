/* See attention_tile.h. */
#include "train/cpu/attention_tile.h"

#define EACH_ROW _Pragma("GCC unroll 12") for (size_t r = 0; r < MR; r++)

/* A tile in registers: row r is at[r][0] and at[r][1]. */
struct tile {
    vf at[MR][2];
};

/* Four units a turn: with as few turns as a head's size makes, the processor foresees the last. */
INLINE struct tile sum(const float *a, size_t rs, size_t cs, const float *b, size_t units,
                       bool pairs) {
    struct tile t;
    EACH_ROW t.at[r][0] = t.at[r][1] = (vf){0};
    _Pragma("GCC unroll 4") for (size_t k = 0; k < units; k++) {
        vf b0 = ldf(b + k * NR), b1 = ldf(b + k * NR + VL);
        EACH_ROW {
            float x = a[r * rs + k * cs];
            t.at[r][0] = mul_add(t.at[r][0], x, b0, pairs);
            t.at[r][1] = mul_add(t.at[r][1], x, b1, pairs);
        }
    }
    return t;
}
/* A tile of a product that is in memory already. */
INLINE struct tile loaded(const float *p) {
    struct tile t;
    EACH_ROW for (size_t half = 0; half < 2; half++) t.at[r][half] =
        ldf(p + r * ATT_BLOCK + half * VL);
    return t;
}
INLINE struct tile product(const struct left *a, const float *b, size_t units, bool pairs) {
    bool rows = a->cs == 1 && a->rs != 1;
    pairs = pairs && ISA_LEVEL == 3;
    if (rows && pairs) return sum(a->p, a->rs, 1, b, units, true);
    if (rows) return sum(a->p, a->rs, 1, b, units, false);
    if (pairs) return sum(a->p, 1, a->cs, b, units, true);
    return sum(a->p, 1, a->cs, b, units, false);
}

/* Lanes j … of a row that are seen. */
INLINE vi inside(size_t j, struct span seen) {
    vi index;
    for (int i = 0; i < VL; i++) index[i] = i;
    index += (int32_t)j;
    return (index >= seen.lo) & (index < seen.hi);
}
/* All rows see all of the tile at column j. */
INLINE bool whole(const struct seen *seen, size_t j) {
    return seen->all.lo <= (int)j && (int)(j + NR) <= seen->all.hi;
}

INLINE void keep_scores(float *s, float *top, struct tile t, const struct seen *seen, size_t j,
                        bool masked) {
    EACH_ROW {
        vf a = t.at[r][0], b = t.at[r][1];
        if (masked) {
            a = vf_pick(inside(j, seen->row[r]), a, vf_all(-INFINITY));
            b = vf_pick(inside(j + VL, seen->row[r]), b, vf_all(-INFINITY));
        }
        stf(s + r * ATT_BLOCK, a);
        stf(s + r * ATT_BLOCK + VL, b);
        stf(top + r * VL, vf_max(ldf(top + r * VL), vf_max(a, b)));
    }
}
void tile_scores(float *s, float *top, const struct left *a, const float *b, size_t units,
                 bool pairs, const struct seen *seen, size_t j) {
    struct tile t = a ? product(a, b, units, pairs) : loaded(s);
    if (whole(seen, j))
        keep_scores(s, top, t, seen, j, false);
    else
        keep_scores(s, top, t, seen, j, true);
}

INLINE void keep_probabilities(float *p, float scale, const float *lse, struct tile t,
                               const struct seen *seen, size_t j, bool masked) {
    EACH_ROW {
        vf a = vf_exp2(t.at[r][0] * scale - lse[r]), b = vf_exp2(t.at[r][1] * scale - lse[r]);
        if (masked) {
            a = vf_pick(inside(j, seen->row[r]), a, (vf){0});
            b = vf_pick(inside(j + VL, seen->row[r]), b, (vf){0});
        }
        stf(p + r * ATT_BLOCK, a);
        stf(p + r * ATT_BLOCK + VL, b);
    }
}
void tile_probabilities(float *p, float scale, const float *lse, const struct left *a,
                        const float *b, size_t units, bool pairs, const struct seen *seen,
                        size_t j) {
    struct tile t = a ? product(a, b, units, pairs) : loaded(p);
    if (whole(seen, j))
        keep_probabilities(p, scale, lse, t, seen, j, false);
    else
        keep_probabilities(p, scale, lse, t, seen, j, true);
}

INLINE void keep_slopes(float *ds, float *p, const float *keep, const float *D, struct tile t) {
    EACH_ROW
    for (size_t half = 0; half < 2; half++) {
        size_t at = r * ATT_BLOCK + half * VL;
        vf prob = ldf(p + at), dp = t.at[r][half];
        if (keep) {
            vf k = ldf(keep + at);
            dp *= k;
            stf(p + at, prob * k);
        }
        stf(ds + at, prob * (dp - D[r]));
    }
}
void tile_slopes(float *ds, float *p, const float *keep, const float *D, const struct left *a,
                 const float *b, size_t units, bool pairs) {
    struct tile t = a ? product(a, b, units, pairs) : loaded(ds);
    if (keep)
        keep_slopes(ds, p, keep, D, t);
    else
        keep_slopes(ds, p, NULL, D, t);
}

void tile_add(float *out, size_t ld, const float *shrink, const struct left *a, const float *b,
              size_t units, bool pairs) {
    struct tile t = product(a, b, units, pairs);
    EACH_ROW {
        float *to = out + r * ld;
        vf old0 = ldf(to), old1 = ldf(to + VL);
        if (shrink) old0 *= shrink[r], old1 *= shrink[r];
        stf(to, old0 + t.at[r][0]);
        stf(to + VL, old1 + t.at[r][1]);
    }
}
