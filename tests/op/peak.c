/* See peak.h: twelve independent sums in registers hide the latency of each multiply-add. */
#include "peak.h"
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define VECTOR "v" /* a register for KEEP */
#elif defined(__aarch64__)
#include <arm_neon.h>
#define VECTOR "w"
#endif

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
enum { ROUNDS = 20000, SUMS = 12 };

/* The empty asm keeps the compiler from doing all rounds at once. */
#define SUM(i)  s##i = start_sum
#define KEEP(i) __asm__ volatile("" : "+" VECTOR(s##i));
#define LOOP(NAME, TARGET, VEC, SET, STEP)                                                         \
    TARGET static float NAME(float start) {                                                        \
        VEC start_sum = SET(start);                                                                \
        VEC SUM(0), SUM(1), SUM(2), SUM(3), SUM(4), SUM(5), SUM(6), SUM(7), SUM(8), SUM(9),        \
            SUM(10), SUM(11);                                                                      \
        for (int n = 0; n < ROUNDS; n++) { EACH(STEP) EACH(KEEP) }                                 \
        VEC out = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)) + ((s8 + s9) + (s10 + s11));   \
        return out[0];                                                                             \
    }
#if defined(__x86_64__)
#define WITH(isa)   __attribute__((target(isa)))
#define STEP_256(i) s##i = _mm256_fmadd_ps(_mm256_set1_ps(0.5f), _mm256_set1_ps(1e-9f), s##i);
#define STEP_512(i) s##i = _mm512_fmadd_ps(_mm512_set1_ps(0.5f), _mm512_set1_ps(1e-9f), s##i);
#define STEP_PAIRS(i)                                                                              \
    s##i = _mm512_dpbf16_ps(s##i, (__m512bh)_mm512_set1_ps(0), (__m512bh)_mm512_set1_ps(0));
LOOP(fma256, WITH("avx2,fma"), __m256, _mm256_set1_ps, STEP_256)
LOOP(fma512, WITH("avx512f"), __m512, _mm512_set1_ps, STEP_512)
LOOP(pairs512, WITH("avx512f,avx512bf16"), __m512, _mm512_set1_ps, STEP_PAIRS)
#elif defined(__aarch64__)
#define STEP_128(i) s##i = vfmaq_f32(s##i, vdupq_n_f32(0.5f), vdupq_n_f32(1e-9f));
LOOP(fma128, , float32x4_t, vdupq_n_f32, STEP_128)
#endif

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double peak_flops(int threads, bool bf16, double seconds) {
    float (*loop)(float) = NULL;
    double flops = 0, total = 0, sink = 0;
#if defined(__x86_64__)
    if (bf16 && __builtin_cpu_supports("avx512bf16"))
        loop = pairs512, flops = 64;
    else if (!bf16 && __builtin_cpu_supports("avx512f"))
        loop = fma512, flops = 32;
    else if (!bf16 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        loop = fma256, flops = 16;
#elif defined(__aarch64__)
    if (!bf16) loop = fma128, flops = 8;
#else
    (void)bf16;
#endif
    if (!loop) return 0;
#pragma omp parallel num_threads(threads) reduction(+ : total, sink)
    {
        double begin = processor_time(), spent = 0;
        int n = 0;
        do sink += (double)loop((float)n++);
        while ((spent = processor_time() - begin) < seconds);
        total += flops * SUMS * ROUNDS * n / spent;
    }
    return sink == -1 ? 0 : total / threads;
}

double read_bandwidth(int threads) {
    enum { N = 1 << 27, TIMES = 5 };
    uint64_t *v = malloc((size_t)N * sizeof *v), sink = 0;
    double best = 0;
    if (!v) return 0;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < N; i++) v[i] = i;
    for (int k = 0; k < TIMES; k++) {
        uint64_t sum = 0;
        double begin = omp_get_wtime();
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
        for (size_t i = 0; i < N; i++) sum += v[i];
        double rate = (double)N * sizeof *v / (omp_get_wtime() - begin);
        if (rate > best) best = rate;
        sink += sum;
    }
    free(v);
    return sink == 1 ? 0 : best;
}
