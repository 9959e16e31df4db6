/* Seams between characters of three bytes, at eight places at once with AVX-512. From a window of
 * the text the contexts of all places are permuted, hashed, and what the filters say gathered:
 *
 *   window       B0 B1 B2 L0 L1 L2 R0 R1 R2 …         L before the first place, R behind it
 *   context 0    R0 R1 R2  0  0 L0 L1 L2              as seams_context() has them
 *   context 1    the same of the next place, where R is on the left … */
#include "tokenizer/seams.h"

#ifdef __x86_64__
#include <immintrin.h>

enum {
    WIDE = 3,                             /* bytes of a character              */
    FIRST = 2 * WIDE,                     /* the first place is there          */
    WINDOW = 3 * WIDE + WIDE * SEAMS_RUN, /* up to what is behind the last one */
    ZERO = 63,                            /* behind the window: a zero byte    */
};
_Static_assert((int)WINDOW <= (int)ZERO && SEAMS_RUN == 8, "in one register");

#define AVX512                                                                                     \
    __attribute__((                                                                                \
        target("avx2,bmi,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,popcnt")))
#define INLINE static inline __attribute__((always_inline))

AVX512 INLINE __m512i all64(uint64_t x) {
    return _mm512_set1_epi64((long long)x);
}

/* seams_held() of those of eight contexts: bits of `table`. */
AVX512 INLINE __mmask8 held(const uint64_t *table, __mmask8 of, __m512i context) {
    const __m512i bit =
        _mm512_srli_epi64(_mm512_mullo_epi64(context, all64(SEAMS_BY)), 64 - SEAMS_FILTER_BITS);
    const __m256i word = _mm512_mask_i64gather_epi32(_mm256_setzero_si256(), of,
                                                     _mm512_srli_epi64(bit, 5), table, 4);
    const __m256i at = _mm256_and_si256(_mm512_cvtepi64_epi32(bit), _mm256_set1_epi32(31));
    return _mm256_test_epi32_mask(word, _mm256_sllv_epi32(_mm256_set1_epi32(1), at));
}

/* seams_unspaced() of the characters behind the places. */
AVX512 INLINE __mmask8 unspaced(__m512i context) {
    const __m512i two = _mm512_srli_epi64(context, 48);
    const __m512i even = _mm512_andnot_si512(all64(1), two);
    return (__mmask8)((_mm512_cmpge_epu64_mask(two, all64(0xe0b8)) &
                       _mm512_cmplt_epu64_mask(two, all64(0xe100))) |
                      _mm512_cmpeq_epi64_mask(even, all64(0xe19e)) |
                      _mm512_cmpeq_epi64_mask(even, all64(0xe180)));
}

/* seams_with() of characters, which are zeros where there are none. */
AVX512 INLINE __m512i with(__m512i bytes, enum seams_side side) {
    const __mmask8 there = _mm512_test_epi64_mask(bytes, bytes);
    const __m512i other = _mm512_or_si512(bytes, all64(seams_tag(side, WIDE) << 24));
    return _mm512_maskz_mullo_epi64(there, other, all64(SEAMS_BY_OTHER));
}

/* seams_partly() */
AVX512 INLINE __mmask8 partly(const struct seams *s, __mmask8 of, __m512i context) {
    enum { WAYS = 0x777 }; /* of up to three bytes each */
    const __m512i right = _mm512_sub_epi64(_mm512_srli_epi64(context, 56), all64(0xc0));
    const __m512i left = _mm512_and_si512(context, all64(255));
    const __m512i at = _mm512_or_si512(_mm512_slli_epi64(right, 8), left);
    __m256i ways = _mm512_mask_i64gather_epi32(_mm256_setzero_si256(), of, at, s->partly, 2);
    ways = _mm256_and_si256(ways, _mm256_set1_epi32(WAYS));
    __mmask8 is = 0;
    for (__mmask8 left_to_ask; (left_to_ask = _mm256_test_epi32_mask(ways, ways));) {
        const __m256i less = _mm256_add_epi32(ways, _mm256_set1_epi32(-1));
        const __m256i lowest = _mm256_andnot_si256(less, ways);
        const __m512i way = _mm512_cvtepu32_epi64(
            _mm256_sub_epi32(_mm256_set1_epi32(31), _mm256_lzcnt_epi32(lowest)));
        const __m512i k = _mm512_slli_epi64(_mm512_and_si512(way, all64(3)), 3);
        const __m512i i = _mm512_slli_epi64(_mm512_srli_epi64(way, 2), 3), most = all64(56);
        const __m512i keep =
            _mm512_or_si512(_mm512_sllv_epi64(all64(~0ull), _mm512_sub_epi64(most, k)),
                            _mm512_srlv_epi64(all64(~0ull), _mm512_sub_epi64(most, i)));
        is |= held(s->filter, left_to_ask, _mm512_and_si512(context, keep));
        ways = _mm256_and_si256(ways, less);
    }
    return is;
}

/* Characters of three bytes in a row, from byte WIDE of the window on; they may go on behind it. */
struct row {
    size_t n;      /* without one that a stray byte follows */
    bool goes_on;  /* there is such a one                   */
    bool preceded; /* one more stands before the first      */
};

AVX512 INLINE struct row find_row(__m512i window) {
    const uint64_t leads = 0x9249249249249249; /* every third bit */
    const __m512i high2 = _mm512_and_si512(window, _mm512_set1_epi8((char)0xc0));
    const __m512i high4 = _mm512_and_si512(window, _mm512_set1_epi8((char)0xf0));
    const uint64_t inside = _mm512_cmpeq_epi8_mask(high2, _mm512_set1_epi8((char)0x80));
    const uint64_t lead = _mm512_cmpeq_epi8_mask(high4, _mm512_set1_epi8((char)0xe0));
    const uint64_t wrong = (lead ^ leads) | (inside ^ ~leads);
    const size_t good = (size_t)__builtin_ctzll(wrong >> WIDE); /* behind the window all are */
    const bool stray = good % WIDE == 0 && good && inside >> (WIDE + good) & 1;
    return (struct row){.n = good / WIDE - stray, .goes_on = stray, .preceded = !(wrong & 7)};
}

/* What stands around eight places: the two characters that meet there, as seams_context() has them,
 * and those beside them. Place k is behind byte 3 k + 5 of the window. */
struct around {
    __m512i context, before, behind;
};

/* A byte of a place's number each, the lowest first. */
#define BYTES(a, b, c, d, e, f, g, h)                                                              \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 |              \
     (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)

AVX512 INLINE struct around find_around(__m512i window) {
    const uint64_t one = BYTES(1, 1, 1, 0, 0, 0, 0, 0);
    const __m512i place = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i first = _mm512_add_epi64(_mm512_mullo_epi64(place, all64(WIDE * one)),
                                           all64(BYTES(2, 1, 0, ZERO, ZERO, ZERO, ZERO, ZERO)));
    __m512i c[4]; /* in a row */
    for (size_t i = 0; i < 4; i++)
        c[i] = _mm512_permutexvar_epi8(_mm512_add_epi64(first, all64(i * WIDE * one)), window);
    return (struct around){
        .context = _mm512_or_si512(c[1], _mm512_slli_epi64(c[2], 40)),
        .before = c[0],
        .behind = c[3],
    };
}

/* seams_any_near() */
AVX512 INLINE __mmask8 near(const struct seams *s, __mmask8 of, const struct around *a) {
    const __m512i before = with(a->before, SEAMS_BEFORE), behind = with(a->behind, SEAMS_BEHIND);
    const __m512i one = _mm512_xor_si512(a->context, before);
    return held(s->nearer, of, a->context) | held(s->nearer, of, one) |
           held(s->nearer, of, _mm512_xor_si512(a->context, behind)) |
           held(s->nearer, of, _mm512_xor_si512(one, behind));
}

/* Which of them are seams. */
AVX512 INLINE __mmask8 seams_of(const struct seams *s, __mmask8 of, __mmask8 few,
                                const struct around *a) {
    __mmask8 joined = held(s->filter, of, a->context);
    few &= joined;
    if (few) joined &= ~few | near(s, few, a);
    joined |= partly(s, of, a->context);
    return of & ~joined;
}

/* Bytes p[at - FIRST ...], zeros where there is no text. What is masked away is not read. */
AVX512 INLINE __m512i find_window(const uint8_t *p, size_t n, size_t at) {
    const size_t skip = at < FIRST ? FIRST - at : 0, left = n - at + FIRST;
    const uint64_t in = ~0ull >> (64 - (left < WINDOW ? left : WINDOW)) & ~0ull << skip;
    return _mm512_maskz_loadu_epi8(in, (const void *)((uintptr_t)p + at - FIRST));
}

AVX512 static size_t run(const struct seams *s, const uint8_t *p, size_t n, size_t at,
                         uint32_t end[SEAMS_RUN], size_t *ret_seams) {
    const __m512i window = find_window(p, n, at);
    const struct row row = find_row(window);
    size_t places = row.n < 2 ? 0 : row.n - 1 < SEAMS_RUN ? row.n - 1 : SEAMS_RUN;
    if (!places) return 0;
    const struct around a = find_around(window);
    const __mmask8 few = unspaced(a.context);
    /* Where one beside the two has to be looked at, it has to be as wide, or not be there. */
    const bool first_is_sure = row.preceded || at == WIDE;
    const bool last_is_sure = row.n > places + 1 || row.goes_on || at - WIDE + WIDE * row.n == n;
    if (few & 1 && !first_is_sure) return 0;
    places -= few >> (places - 1) & 1 && !last_is_sure;
    const __mmask8 of = (__mmask8)((1u << places) - 1), seams = seams_of(s, of, few & of, &a);
    const __m256i where =
        _mm256_add_epi32(_mm256_set1_epi32((int)at), _mm256_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21));
    _mm256_storeu_si256((__m256i *)(void *)end, _mm256_maskz_compress_epi32(seams, where));
    *ret_seams = (size_t)__builtin_popcount(seams);
    return places;
}

seams_run_fn seams_run_at(int i) {
    const bool can = __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl");
    return can && i == 0 ? run : NULL;
}
#else

seams_run_fn seams_run_at(int i) {
    (void)i;
    return NULL;
}

#endif
