/* See gemm.h: the factors of a product as panels. */
#include "train/cpu/gemm.h"

INLINE float unit_one(const struct matrix *x, size_t i) {
    if (!x->bf16) return ((const float *)x->p)[i];
    uint32_t u = (uint32_t)((const uint16_t *)x->p)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

INLINE float unit_pair(uint16_t lo, uint16_t hi) {
    uint32_t u = lo | (uint32_t)hi << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* One row of n neighbours for `width` lanes; `two`: there is a next row to make pairs with. */
INLINE void pack_row(float *out, int width, const struct matrix *x, size_t row, bool two,
                     size_t n) {
    if (gemm_pairs(x->bf16)) {
        const uint16_t *r0 = (const uint16_t *)x->p + row, *r1 = r0 + x->ld;
        if (two)
            for (size_t i = 0; i < n; i++) out[i] = unit_pair(r0[i], r1[i]);
        else
            for (size_t i = 0; i < n; i++) out[i] = unit_pair(r0[i], 0);
    } else if (x->bf16) {
        for (size_t i = 0; i < n; i++) out[i] = unit_one(x, row + i);
    } else {
        memcpy(out, (const float *)x->p + row, n * sizeof *out);
    }
    for (size_t i = n; i < (size_t)width; i++) out[i] = 0;
}

/* Neighbours i0 … i0 + n at each of the K rows of x. */
INLINE void pack_along(float *out, int width, const struct matrix *x, size_t k0, size_t k,
                       size_t i0, size_t n) {
    size_t step = gemm_pairs(x->bf16) ? 2 : 1, ld_x = x->ld, row = k0 * ld_x + i0;
    if (!x->bf16 && n == (size_t)width) { /* nothing to ask inside the loop */
        const float *from = (const float *)x->p + row;
        for (size_t kk = 0; kk < k; kk++, from += ld_x, out += width)
            memcpy(out, from, (size_t)width * sizeof *out);
        return;
    }
    if (x->bf16 && step == 1 && n == (size_t)width) {
        const uint16_t *from = (const uint16_t *)x->p + row;
        for (size_t kk = 0; kk < k; kk++, from += ld_x, out += width)
            for (int i = 0; i < width; i++) {
                uint32_t u = (uint32_t)from[i] << 16;
                memcpy(out + i, &u, sizeof u);
            }
        return;
    }
    for (size_t kk = 0; kk < k; kk += step, row += step * ld_x, out += width) {
        if (n == (size_t)width)
            pack_row(out, width, x, row, kk + 1 < k, (size_t)width);
        else
            pack_row(out, width, x, row, kk + 1 < k, n);
    }
}

/* Units u … of a row whose elements along K are neighbours: pairs lie in memory as they are
 * wanted. */
INLINE vf units_at(const struct matrix *x, size_t row, size_t u, bool pairs) {
    if (pairs) return ldf(at(x->p, row + 2 * u, true));
    return ld(x->p, row + u, VL, x->bf16);
}
INLINE float unit_at(const struct matrix *x, size_t row, size_t u, size_t k, bool pairs) {
    if (!pairs) return unit_one(x, row + u);
    const uint16_t *r = (const uint16_t *)x->p + row + 2 * u;
    return unit_pair(r[0], 2 * u + 1 < k ? r[1] : 0);
}

/* The same where K is contiguous: a transposition, in squares of VL units. */
INLINE void pack_across(float *out, size_t width, const struct matrix *x, size_t k0, size_t k,
                        size_t i0, size_t n) {
    bool pairs = gemm_pairs(x->bf16);
    size_t units = pairs ? (k + 1) / 2 : k, whole = (pairs ? k / 2 : k) / VL * VL;
    size_t unit = x->bf16 && !pairs ? 2 : 4; /* bytes */
    for (size_t g = 0; g < width; g += VL) {
        size_t most = width - g < VL ? width - g : VL;
        for (size_t u = 0; u < whole; u += VL) {
            vf r[VL];
            _Pragma("GCC unroll 16") for (size_t i = 0; i < VL; i++) r[i] =
                i < most && g + i < n ? units_at(x, (i0 + g + i) * x->ld + k0, u, pairs) : (vf){0};
            vf_transpose(r);
            float *to = out + u * width + g;
            for (size_t j = 0; j < VL; j++, to += width) memcpy(to, &r[j], most * sizeof *to);
            if (u * unit % LINE == 0 && u * unit + 2 * LINE < units * unit)
                for (size_t i = 0; i < most; i++)
                    __builtin_prefetch((const char *)at(x->p, (i0 + g + i) * x->ld + k0, x->bf16) +
                                       u * unit + 2 * LINE);
        }
    }
    for (size_t u = whole; u < units; u++) {
        for (size_t i = 0; i < n; i++)
            out[u * width + i] = unit_at(x, (i0 + i) * x->ld + k0, u, k, pairs);
        for (size_t i = n; i < width; i++) out[u * width + i] = 0;
    }
}

void gemm_pack_right(float *out, const struct matrix *b, size_t k0, size_t k, size_t n0, size_t n) {
    if (b->across)
        pack_across(out, NR, b, k0, k, n0, n);
    else
        pack_along(out, NR, b, k0, k, n0, n);
}

void gemm_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0, size_t k) {
    size_t units = gemm_units(k, a->bf16);
    enum { FEW = 8 }; /* rows a large power of two apart share their sets of L1 */
    size_t unit = units < k ? 2 : 1;
    for (size_t at_k = 0; a->across && at_k < k; at_k += FEW) {
        for (size_t row = at_k + FEW; row < at_k + 2 * FEW && row < k; row++)
            for (size_t i = 0; i < m; i += 16)
                __builtin_prefetch(at(a->p, (k0 + row) * a->ld + m0 + i, a->bf16));
        for (size_t i = 0; i < m; i += MR)
            pack_along(out + i * units + at_k / unit * MR, MR, a, k0 + at_k,
                       k - at_k < FEW ? k - at_k : FEW, m0 + i, m - i < MR ? m - i : MR);
    }
    for (size_t i = 0; !a->across && i < m; i += MR)
        pack_across(out + i * units, MR, a, k0, k, m0 + i, m - i < MR ? m - i : MR);
}
