/* The twins of instructions.h: against the processor's own instructions where it has them, and at
 * the places where the manual says something that is easily missed. */
#define AVX512_TWINS_ONLY
#include "instructions.h"
#include <stdbool.h>
#include <stdio.h>
#include "base/rng.h"
#ifdef HAVE_X86_AMX
#include "train/cpu/amx.h"
#endif

static int failed;

static void expect(bool ok, const char *what, int n) {
    if (!ok && failed++ < 20) printf("%s differs, case %d\n", what, n);
}

/* ---- the processor's own ---- */

#define BYTES __attribute__((target("avx512f,avx512bw,avx512vbmi,avx512vbmi2")))
#define WORDS __attribute__((target("avx512f,avx512dq")))
#define PAIRS __attribute__((target("avx512f,avx512bf16")))

/* One NaN is as good as another. */
static bool same_floats(const zmm *a, const zmm *b) {
    for (int i = 0; i < 16; i++)
        if (a->u[i] != b->u[i] && !(a->f[i] != a->f[i] && b->f[i] != b->f[i])) return false;
    return true;
}

#define SAME(NAME, TYPE, OWN, TWIN)                                                                \
    do {                                                                                           \
        TYPE own = OWN, twin = TWIN;                                                               \
        expect(memcmp(&own, &twin, sizeof own) == 0, NAME, n);                                     \
    } while (0)
#define SAME_FLOATS(NAME, OWN, TWIN)                                                               \
    do {                                                                                           \
        zmm own = {.ps = OWN}, twin = {.ps = TWIN};                                                \
        expect(same_floats(&own, &twin), NAME, n);                                                 \
    } while (0)

BYTES static void bytes(const zmm *x, const zmm *y, const zmm *z, int n) {
    __mmask64 k = z->q[0];
    SAME("set1_epi8", __m512i, _mm512_set1_epi8((char)x->b[0]), avx512_set1_epi8((char)x->b[0]));
    SAME("loadu", __m512i, _mm512_loadu_si512(x), avx512_loadu_si512(x));
    SAME("maskz_loadu", __m512i, _mm512_maskz_loadu_epi8(k, x), avx512_maskz_loadu_epi8(k, x));
    SAME("mask_mov", __m512i, _mm512_mask_mov_epi8(x->si, k, y->si),
         avx512_mask_mov_epi8(x->si, k, y->si));
    SAME("movepi8", __mmask64, _mm512_movepi8_mask(x->si), avx512_movepi8_mask(x->si));
    SAME("test", __mmask64, _mm512_test_epi8_mask(x->si, y->si),
         avx512_test_epi8_mask(x->si, y->si));
    SAME("testn", __mmask64, _mm512_testn_epi8_mask(x->si, y->si),
         avx512_testn_epi8_mask(x->si, y->si));
    SAME("cmpeq", __mmask64, _mm512_cmpeq_epi8_mask(x->si, y->si),
         avx512_cmpeq_epi8_mask(x->si, y->si));
    SAME("cmplt", __mmask64, _mm512_cmplt_epu8_mask(x->si, y->si),
         avx512_cmplt_epu8_mask(x->si, y->si));
    SAME("permutex2var", __m512i, _mm512_permutex2var_epi8(x->si, z->si, y->si),
         avx512_permutex2var_epi8(x->si, z->si, y->si));
    SAME("compress", __m512i, _mm512_maskz_compress_epi8(k, x->si),
         avx512_maskz_compress_epi8(k, x->si));
}

WORDS static void words(const zmm *x, const zmm *y, const zmm *z, int n) {
    zmm power = *y; /* exponents of a size that matters */
    for (int i = 0; i < 16 && n % 2; i++) power.f[i] = (float)((int)y->u[i] % 30000) / 97;
    __mmask16 k = (__mmask16)z->u[0];
    SAME_FLOATS("set1_ps", _mm512_set1_ps(x->f[0]), avx512_set1_ps(x->f[0]));
    SAME("set1_epi64", __m512i, _mm512_set1_epi64((long long)x->q[0]),
         avx512_set1_epi64((long long)x->q[0]));
    SAME("cvtepu16", __m512i, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(x->si)),
         avx512_cvtepu16_epi32(_mm512_castsi512_si256(x->si)));
    SAME_FLOATS("max", _mm512_max_ps(x->ps, y->ps), avx512_max_ps(x->ps, y->ps));
    SAME_FLOATS("min", _mm512_min_ps(x->ps, y->ps), avx512_min_ps(x->ps, y->ps));
    SAME_FLOATS("sqrt", _mm512_sqrt_ps(x->ps), avx512_sqrt_ps(x->ps));
    SAME("mul_epu32", __m512i, _mm512_mul_epu32(x->si, y->si), avx512_mul_epu32(x->si, y->si));
    SAME("cmp", __mmask16, _mm512_cmp_ps_mask(x->ps, y->ps, _CMP_NLT_UQ),
         avx512_not_less_ps_mask(x->ps, y->ps));
    SAME_FLOATS("scalef", _mm512_maskz_scalef_ps(k, x->ps, power.ps),
                avx512_maskz_scalef_ps(k, x->ps, power.ps));
}

PAIRS static void pairs(const zmm *x, const zmm *y, const zmm *z, int n) {
    SAME("cvtneps", __m256bh, _mm512_cvtneps_pbh(x->ps), avx512_cvtneps_pbh(x->ps));
    SAME_FLOATS("dpbf16", _mm512_dpbf16_ps(x->ps, y->bh, z->bh),
                avx512_dpbf16_ps(x->ps, y->bh, z->bh));
}

/* Any bits at all, numbers of ordinary size, bytes that are mostly equal, and the edges. */
static void fill(zmm *x, struct rng *r, int kind) {
    static const uint32_t edges[] = {0,          0x80000000, 1,          0x807fffff, 0x00800000,
                                     0x7f800000, 0xff800000, 0x7fc00001, 0x7f7fffff, 0x3f808000,
                                     0x3f818000, 0x00018000, 0x7f800001, 0xff7f8000};
    for (int i = 0; i < 16; i++) {
        uint32_t any = (uint32_t)rng_below(r, (uint64_t)1 << 32);
        if (kind == 0) x->u[i] = any;
        if (kind == 1) x->u[i] = 0x3f000000 ^ (any & 0x81ffffff);
        if (kind == 2) x->u[i] = any & 0x81018101;
        if (kind == 3) x->u[i] = edges[any % (sizeof edges / sizeof *edges)];
    }
}

#ifdef HAVE_X86_AMX
static void tiles(struct rng *r, int n) {
    static struct tmm twin, own;
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) config.row_bytes[t] = 64, config.rows[t] = 16;
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 16; i++) {
            zmm row;
            fill(&row, r, t == 0 ? 1 : n % 3);
            memcpy(own.f[t][i], &row, sizeof row);
        }
        amx_twin_load(&twin, t, own.f[t], 64);
    }
    TILE_CONFIG(config);
    TILE_LOAD(0, own.f[0], (size_t)64);
    TILE_LOAD(1, own.f[1], (size_t)64);
    TILE_LOAD(2, own.f[2], (size_t)64);
    TILE_MUL_ADD(0, 1, 2);
    TILE_STORE(0, own.f[0], (size_t)64);
    TILE_RELEASE();
    amx_twin_mul_add(&twin, 0, 1, 2);
    for (int i = 0; i < 16; i++) {
        zmm a, b;
        memcpy(&a, own.f[0][i], sizeof a);
        memcpy(&b, twin.f[0][i], sizeof b);
        expect(same_floats(&a, &b), "tdpbf16ps", n);
    }
}
static int compare_tiles(void) {
    struct rng r = {8, 1, 0};
    if (!amx_allowed()) return 0;
    for (int n = 0; n < 3000; n++) tiles(&r, n);
    return 1;
}
#else
static int compare_tiles(void) {
    return 0;
}
#endif

/* How many groups of instructions this processor has. */
static int compare(void) {
    struct rng r = {7, 1, 0};
    bool has_bytes = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
                     __builtin_cpu_supports("avx512vbmi2");
    bool has_words = __builtin_cpu_supports("avx512dq");
    bool has_pairs = __builtin_cpu_supports("avx512bf16");
    for (int n = 0; n < 64000; n++) {
        zmm x, y, z;
        fill(&x, &r, n & 3);
        fill(&y, &r, n >> 2 & 3);
        fill(&z, &r, n >> 4 & 3);
        if (has_bytes) bytes(&x, &y, &z, n);
        if (has_words) words(&x, &y, &z, n);
        if (has_pairs) pairs(&x, &y, &z, n);
    }
    return has_bytes + has_words + has_pairs + compare_tiles();
}

/* ---- what the manual says ---- */

static uint32_t pair_sum(float acc, uint32_t a, uint32_t b) {
    zmm s, x, y;
    for (int i = 0; i < 16; i++) s.f[i] = acc, x.u[i] = a, y.u[i] = b;
    s.ps = avx512_dpbf16_ps(s.ps, x.bh, y.bh);
    return s.u[0];
}
static uint32_t narrow(uint32_t u) {
    zmm x;
    uint16_t h[16];
    for (int i = 0; i < 16; i++) x.u[i] = u;
    __m256bh r = avx512_cvtneps_pbh(x.ps);
    memcpy(h, &r, sizeof h);
    return h[0];
}
static float scaled(float a, float b) {
    zmm x = {.ps = avx512_set1_ps(a)}, y = {.ps = avx512_set1_ps(b)};
    x.ps = avx512_maskz_scalef_ps(1, x.ps, y.ps);
    return x.f[1] == 0 ? x.f[0] : NAN; /* lane 1 is masked */
}

static void by_the_manual(void) {
    /* The upper halves first: 2^24 + 1 is lost before the lower ones take 2^24 away. */
    expect(pair_sum(0x1p24f, 0x3f80bf80, 0x3f804b80) == 0, "upper first", 0);
    expect(pair_sum(0x1p24f, 0xbf803f80, 0x4b803f80) == 0x3f800000, "lower second", 0);
    /* 1 + 2^-7 squared, fused: less 1, all of 2^-6 + 2^-14 is left. */
    expect(pair_sum(-1, 0x3f810000, 0x3f810000) == 0x3c808000, "exact products", 0);
    expect(pair_sum(0, 0x00010000, 0x7f000000) == 0, "subnormal factor", 0);
    expect(pair_sum(0x1p-127f, 0, 0) == 0, "subnormal sum in", 0);
    expect(pair_sum(0, 0x00800000, 0x3f000000) == 0, "subnormal sum out", 0);
    expect(pair_sum(0, 0x00800000, 0x3f800000) == 0x00800000, "least number", 0);
    expect(narrow(0x3f808000) == 0x3f80 && narrow(0x3f818000) == 0x3f82, "ties to even", 0);
    expect(narrow(0x807fffff) == 0x8000, "subnormal to bf16", 0);
    expect(narrow(0x7f7fffff) == 0x7f80 && narrow(0x7f800000) == 0x7f80, "to infinity", 0);
    expect(narrow(0x7f800001) == 0x7fc0 && narrow(0xffffffff) == 0xffff, "NaN stays", 0);
    expect(scaled(3, 2.9f) == 12 && scaled(3, -0.1f) == 1.5f, "floor of the exponent", 0);
    expect(scaled(1, -149) == 0x1p-149f && scaled(1, -400) == 0, "small", 0);
    expect(scaled(0x1p-149f, 276) == 0x1p127f && isinf(scaled(1, 128)), "large", 0);
    expect(isnan(scaled(0, INFINITY)) && isnan(scaled(INFINITY, -INFINITY)), "0 * inf", 0);
    expect(isnan(scaled(NAN, 1)) && isnan(scaled(1, NAN)), "NaN", 0);
    zmm x = {.q = {0x0706050403020100}};
    x.si = avx512_maskz_compress_epi8(0xa2, x.si);
    expect(x.q[0] == 0x070501 && x.q[1] == 0, "compress", 0);
    zmm a = {.ps = avx512_set1_ps(NAN)}, b = {.ps = avx512_set1_ps(1)};
    x.ps = avx512_max_ps(a.ps, b.ps);
    expect(x.f[0] == 1, "max of NaN and 1", 0);
    x.ps = avx512_max_ps(b.ps, a.ps);
    expect(isnan(x.f[0]), "max of 1 and NaN", 0);
}

int main(void) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
    by_the_manual();
    int groups = compare();
    printf("%d of 4 groups of instructions compared with this processor's, %d failures\n", groups,
           failed);
    return failed > 0;
}
