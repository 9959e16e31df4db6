/* See gemm_amx.h. */
#include "train/cpu/gemm_amx.h"

#if ISA_LEVEL == 3 && defined HAVE_X86_AMX
#include "train/cpu/amx.h"

enum { ROWS = 16 };

void gemm_amx_begin(void) {
    struct tile_config config = {.palette = 1};
    for (int r = 0; r < 8; r++) config.row_bytes[r] = 64, config.rows[r] = ROWS;
    TILE_CONFIG(config);
}

void gemm_amx_end(void) {
    TILE_RELEASE();
}

void gemm_amx_tile(float *c, size_t ldc, const struct left *a, const float *b, size_t ldb,
                   size_t units, bool add) {
    size_t bytes_c = ldc * sizeof *c, bytes_a = a->rs * sizeof *a->p, bytes_b = ldb * sizeof *b;
    const float *upper = a->p, *lower = a->p + ROWS * a->rs;
    float *c_lower = c + ROWS * ldc;
    if (add) {
        TILE_LOAD(0, c, bytes_c);
        TILE_LOAD(1, c + VL, bytes_c);
        TILE_LOAD(2, c_lower, bytes_c);
        TILE_LOAD(3, c_lower + VL, bytes_c);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (size_t u = 0; u < units; u += AMX_UNITS, b += AMX_UNITS * ldb) {
        TILE_LOAD(6, b, bytes_b);
        TILE_LOAD(7, b + VL, bytes_b);
        TILE_LOAD(4, upper + u, bytes_a);
        TILE_MUL_ADD(0, 4, 6);
        TILE_MUL_ADD(1, 4, 7);
        TILE_LOAD(5, lower + u, bytes_a);
        TILE_MUL_ADD(2, 5, 6);
        TILE_MUL_ADD(3, 5, 7);
    }
    TILE_STORE(0, c, bytes_c);
    TILE_STORE(1, c + VL, bytes_c);
    TILE_STORE(2, c_lower, bytes_c);
    TILE_STORE(3, c_lower + VL, bytes_c);
}

/* Row i of `out` begins at out + i * units. */
static void copy_rows(float *out, size_t units, const struct matrix *a, size_t m0, size_t m,
                      size_t k0, size_t k) {
    for (size_t i = 0; i < m; i++, out += units) {
        memcpy(out, at(a->p, (m0 + i) * a->ld + k0, true), 2 * k);
        memset((char *)out + 2 * k, 0, 4 * units - 2 * k);
    }
}

/* Pairs u … of VL neighbours at rows 2u and 2u + 1: 0 where `n` and k end. */
INLINE vf pairs_at(const uint16_t *p, size_t ld_p, size_t row, size_t k, int n) {
    vu lo = {0}, hi = {0};
    if (row < k) lo = (vu)ld(p, row * ld_p, n, true) >> 16;
    if (row + 1 < k) hi = (vu)ld(p, (row + 1) * ld_p, n, true);
    return vf_bits(lo | hi);
}

/* Squares of VL rows by VL units, transposed. */
static void transpose_rows(float *out, size_t units, const struct matrix *a, size_t m0, size_t m,
                           size_t k0, size_t k) {
    for (size_t u = 0; u < units; u += VL)
        for (size_t i = 0; i < m; i += VL) {
            const uint16_t *from = at(a->p, (k0 + 2 * u) * a->ld + m0 + i, true);
            size_t rest = k - (2 * u < k ? 2 * u : k);
            vf r[VL];
            if (rest >= 2 * VL && m - i >= VL) {
                _Pragma("GCC unroll 16") for (size_t j = 0; j < VL; j++) r[j] =
                    pairs_at(from, a->ld, 2 * j, 2 * VL, VL);
            } else {
                for (size_t j = 0; j < VL; j++)
                    r[j] = pairs_at(from, a->ld, 2 * j, rest, lanes(i, m));
            }
            vf_transpose(r);
            for (size_t j = 0; j < VL && i + j < m; j++) stf(out + (i + j) * units + u, r[j]);
        }
}

void gemm_amx_pack_left(float *out, const struct matrix *a, size_t m0, size_t m, size_t k0,
                        size_t k) {
    size_t units = round_up((k + 1) / 2, AMX_UNITS), all = round_up(m, AMX_MR);
    if (a->across)
        transpose_rows(out, units, a, m0, m, k0, k);
    else
        copy_rows(out, units, a, m0, m, k0, k);
    memset(out + m * units, 0, (all - m) * units * sizeof *out);
}

#endif
