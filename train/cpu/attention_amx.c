/* See attention_amx.h. */
#include "train/cpu/attention_amx.h"

enum { BLOCK = ATT_BLOCK };

void amx_scores(float *to, const struct left *a, const float *cols, size_t units,
                const struct block *b) {
    for (size_t i = 0; i < b->m; i += AMX_MR) {
        struct left rows = {a->p + i / AMX_MR * a->panel, a->rs, 1, 0};
        for (size_t j = 0; j < keys_seen(b, i, AMX_MR); j += NR)
            gemm_amx_tile(to + i * BLOCK + j, BLOCK, &rows, cols + j * units, NR, units, false);
    }
}

static void shrink_rows(float *out, size_t ld, const float *shrink, size_t m) {
    for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < ld; c += VL)
            stf(out + i * ld + c, ldf(out + i * ld + c) * shrink[i]);
}

void amx_add_keys(float *out, size_t ld, const float *shrink, const float *p, const float *x,
                  const struct block *b) {
    if (shrink) shrink_rows(out, ld, shrink, b->m);
    for (size_t i = 0; i < b->m; i += AMX_MR) {
        struct left rows = {p + i * (BLOCK / 2), BLOCK / 2, 1, 0};
        size_t units = round_up(gemm_units(keys_seen(b, i, AMX_MR), true), AMX_UNITS);
        for (size_t c = 0; c < ld; c += NR)
            gemm_amx_tile(out + i * ld + c, ld, &rows, x + c * (BLOCK / 2), NR, units, true);
    }
}

void amx_add_queries(float *to, size_t ld, const float *x, size_t rows, const float *p,
                     const struct block *b) {
    size_t units = round_up(gemm_units(b->m, true), AMX_UNITS);
    for (size_t j = 0; j < b->n; j += NR) {
        size_t first = first_query(b, j) / 2 / AMX_UNITS * AMX_UNITS;
        for (size_t c = 0; c < rows && first < units; c += AMX_MR) {
            struct left a = {x + c * units + first, units, 1, 0};
            gemm_amx_tile(to + c * ld + b->k0 + j, ld, &a, p + first * BLOCK + j, BLOCK,
                          units - first, true);
        }
    }
}
