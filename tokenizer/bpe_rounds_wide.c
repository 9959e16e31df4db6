/* The steps of bpe_rounds.c that AVX-512 takes for eight or sixteen places, tokens or symbols at
 * once: what each of them needs is gathered, and those that go on are packed side by side. */
#include "tokenizer/bpe_rounds.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512                                                                                     \
    __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512cd")))
#define INLINE static inline __attribute__((always_inline))

/* The first left of `lanes` lanes. */
INLINE uint32_t lanes(size_t left, size_t lanes) {
    return left < lanes ? (1u << left) - 1 : (1u << lanes) - 1;
}
AVX512 INLINE __m512i bytes16(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
AVX512 INLINE __m512i all64(uint64_t x) {
    return _mm512_set1_epi64((long long)x);
}

/* ------------------------------------------------------------------ which tokens are there */

/* A place where longer tokens may begin than have been looked for; base as in a slot of the tree:
 *
 *   | base:24 | 0:8 | end:16 | place:16 | */
struct places {
    size_t n;
    uint64_t v[BLOCK + SPARE];
};
enum { END_BITS = 16 };
static const uint64_t BASE = ~0ull << 40, ORDER = (uint64_t)TRIE_NONE << 17;

/* Looks up the pairs of bytes, and says where longer tokens may begin. */
AVX512 static void find_pairs(const struct trie *trie, struct block *b, struct places *live) {
    const void *high = (const uint8_t *)trie->two + 1; /* | order:23 | children:8 | :1 | */
    const __m512i none = _mm512_set1_epi32(NONE), one = _mm512_set1_epi32(1),
                  two = _mm512_set1_epi32(2), seven = _mm512_set1_epi32(7);
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint32_t pair[BLOCK + SPARE], place[BLOCK + SPARE]; /* of the live ones */
    size_t n = 0;
    for (size_t i = 0; i < b->n; i += 16) {
        const __mmask16 in = (__mmask16)lanes(b->n - i, 16);
        __m512i bytes =
            _mm512_or_si512(_mm512_slli_epi32(bytes16(b->text + i), 8), bytes16(b->text + i + 1));
        __m512i node = _mm512_i32gather_epi32(bytes, high, sizeof *trie->two);
        __m512i end =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(b->end + i)));
        __m512i left = _mm512_sub_epi32(end, at);
        __mmask16 is = _mm512_mask_cmpgt_epi32_mask(in, left, one);
        _mm512_storeu_si512(b->pair + i, _mm512_mask_srli_epi32(none, is, node, 9));
        __m512i bit = _mm512_and_si512(bytes16(b->text + i + 2), seven);
        is = _mm512_mask_cmpgt_epi32_mask(in, left, two);
        is = _mm512_mask_test_epi32_mask(is, node, _mm512_sllv_epi32(two, bit));
        __m512i where = _mm512_or_si512(_mm512_slli_epi32(end, END_BITS), at);
        _mm512_storeu_si512(pair + n, _mm512_maskz_compress_epi32(is, bytes));
        _mm512_storeu_si512(place + n, _mm512_maskz_compress_epi32(is, where));
        n += (size_t)__builtin_popcount(is);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
    }
    for (size_t k = 0; k < n; k += 8) {
        __m256i p = _mm256_loadu_si256((const __m256i *)(const void *)(pair + k));
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(place + k));
        __m512i node = _mm512_mask_i32gather_epi64(_mm512_setzero_si512(),
                                                   (__mmask8)lanes(n - k, 8), p, trie->two, 8);
        node = _mm512_and_si512(node, all64(BASE));
        _mm512_storeu_si512(live->v + k, _mm512_or_si512(node, _mm512_cvtepu32_epi64(w)));
    }
    live->n = n;
}

/* Tokens of `len` bytes at the places that are live; those that stay so remain. */
AVX512 static uint64_t *find_longer(const struct trie *trie, const struct block *b, size_t len,
                                    struct places *live, uint64_t *to) {
    const __m512i low16 = all64(0xFFFF), lens = all64(len), ones = all64(1);
    const size_t n = live->n;
    live->n = 0;
    for (size_t k = 0; k < n; k += 8) {
        const __mmask8 in = (__mmask8)lanes(n - k, 8);
        __m512i v = _mm512_maskz_loadu_epi64(in, live->v + k), at = _mm512_and_si512(v, low16);
        __m512i text = _mm512_cvtepu32_epi64(_mm512_i64gather_epi32(at, b->text + len - 1, 1));
        __m512i byte = _mm512_and_si512(text, all64(255));
        __m512i child = _mm512_add_epi64(_mm512_srli_epi64(v, 40), byte);
        __m512i node = _mm512_mask_i64gather_epi64(all64(511), in, child, trie->slot, 8);
        __mmask8 is = _mm512_cmpeq_epi64_mask(_mm512_and_si512(node, all64(511)), byte);
        __m512i order = _mm512_and_si512(node, all64(ORDER));
        __mmask8 token = _mm512_mask_cmpneq_epi64_mask(is, order, all64(ORDER));
        __m512i it = _mm512_or_si512(_mm512_slli_epi64(order, 32 - 17), at);
        it = _mm512_or_si512(it, _mm512_slli_epi64(lens, 16));
        _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(token, it));
        to += __builtin_popcount(token);
        __m512i end = _mm512_and_si512(_mm512_srli_epi64(v, END_BITS), low16);
        __m512i next = _mm512_and_si512(_mm512_srli_epi64(text, 8), all64(7));
        is = _mm512_mask_cmpgt_epi64_mask(is, end, _mm512_add_epi64(at, lens));
        is = _mm512_mask_test_epi64_mask(
            is, _mm512_srlv_epi64(node, _mm512_add_epi64(next, all64(9))), ones);
        v = _mm512_or_si512(_mm512_and_si512(node, all64(BASE)),
                            _mm512_and_si512(v, all64(0xFFFFFFFF)));
        _mm512_storeu_si512(live->v + live->n, _mm512_maskz_compress_epi64(is, v));
        live->n += (size_t)__builtin_popcount(is);
    }
    return to;
}

AVX512 static void find(const struct trie *trie, struct block *b) {
    struct places live;
    uint64_t *to = b->token;
    find_pairs(trie, b, &live);
    for (size_t len = 3; len <= TRIE_DEPTH && live.n; len++)
        to = find_longer(trie, b, len, &live, to);
    b->n_tokens = (size_t)(to - b->token);
    b->n_long = 0;
    for (size_t k = 0; k < live.n; k++) add_long(b, live.v[k] & 0xFFFF, live.v[k] >> 40);
}

/* ------------------------------------------------------------------ rounds */

/* The boundaries from each of eight places on: more than TRIE_DEPTH of them. */
AVX512 INLINE __m256i bounds8(const struct block *b, __m256i at) {
    __m256i x =
        _mm256_i32gather_epi32((const int *)(const void *)b->bound, _mm256_srli_epi32(at, 3), 1);
    return _mm256_srlv_epi32(x, _mm256_and_si256(at, _mm256_set1_epi32(7)));
}

AVX512 static void drop(struct block *b) {
    const __m256i one = _mm256_set1_epi32(1), low16 = _mm256_set1_epi32(0xFFFF);
    size_t kept = 0;
    for (size_t k = 0; k < b->n_tokens; k += 8) {
        __mmask8 is = (__mmask8)lanes(b->n_tokens - k, 8);
        __m512i t = _mm512_maskz_loadu_epi64(is, b->token + k);
        __m256i low = _mm512_cvtepi64_epi32(t), bits = bounds8(b, _mm256_and_si256(low, low16));
        __m256i end = _mm256_sllv_epi32(one, _mm256_srli_epi32(low, 16));
        __m256i ends = _mm256_or_si256(end, one);
        __m256i inner = _mm256_sub_epi32(end, _mm256_set1_epi32(2));
        is = _mm256_mask_cmpeq_epi32_mask(is, _mm256_and_si256(bits, ends), ends);
        is = _mm256_mask_test_epi32_mask(is, bits, inner);
        _mm512_storeu_si512(b->token + kept, _mm512_maskz_compress_epi64(is, t));
        kept += (size_t)__builtin_popcount(is);
    }
    b->n_tokens = kept;
}

AVX512 static void find_sure(struct block *b) {
    const __m256i one = _mm256_set1_epi32(1), low16 = _mm256_set1_epi32(0xFFFF);
    const int *least = (const int *)(const void *)b->least;
    size_t n = 0;
    for (size_t k = 0; k < b->n_tokens; k += 8) {
        __mmask8 is = (__mmask8)lanes(b->n_tokens - k, 8);
        __m512i t = _mm512_maskz_loadu_epi64(is, b->token + k);
        __m256i low = _mm512_cvtepi64_epi32(t), at = _mm256_and_si256(low, low16);
        __m256i len = _mm256_srli_epi32(low, 16), end = _mm256_add_epi32(at, len);
        __m256i own = _mm512_cvtepi64_epi32(_mm512_srli_epi64(t, 32));
        __m256i inner = _mm256_sub_epi32(_mm256_sllv_epi32(one, len), _mm256_set1_epi32(2));
        inner = _mm256_and_si256(bounds8(b, at), inner);
        /* one boundary alone: where the left half ends */
        __m256i below = _mm256_sub_epi32(inner, one);
        is = _mm256_mask_testn_epi32_mask(is, inner, below);
        __m256i left = _mm256_i32gather_epi32(least, at, 4);
        __m256i right = _mm256_i32gather_epi32(least, end, 4);
        is = _mm256_mask_cmplt_epu32_mask(is, own, left);
        is = _mm256_mask_cmple_epu32_mask(is, own, right);
        /* and its number: of bits below it */
        __m256i half = _mm256_sub_epi32(_mm256_set1_epi32(31), _mm256_lzcnt_epi32(inner));
        low = _mm256_or_si256(_mm256_slli_epi32(half, 16), at);
        t = _mm512_or_si512(_mm512_and_si512(t, all64(~0ull << 32)), _mm512_cvtepu32_epi64(low));
        _mm512_storeu_si512(b->sure + n, _mm512_maskz_compress_epi64(is, t));
        n += (size_t)__builtin_popcount(is);
    }
    b->n_sure = n;
}

/* ------------------------------------------------------------------ ids */

AVX512 INLINE uint32_t *put_steady(const struct tokenizer *t, const struct block *b, size_t from,
                                   size_t to, uint32_t *out, const bool steady) {
    const __m512i first = _mm512_set1_epi32((int)t->first_result - 1);
    for (size_t i = from & ~(size_t)15; i < to; i += 16) {
        uint32_t here = ((const uint16_t *)(const void *)b->bound)[i / 16] & lanes(to - i, 16);
        if (i < from) here &= ~0u << (from - i);
        __m512i sym = _mm512_loadu_si512(b->sym + i), id;
        __mmask16 is_byte = _mm512_mask_testn_epi32_mask((__mmask16)here, sym, sym);
        if (steady) {
            id = _mm512_add_epi32(sym, first);
        } else {
            __m512i merge = _mm512_add_epi32(sym, _mm512_set1_epi32(-1));
            id = _mm512_mask_i32gather_epi32(sym, (__mmask16)(here & ~is_byte),
                                             _mm512_mullo_epi32(merge, _mm512_set1_epi32(3)),
                                             &t->merges->result, 4);
        }
        id = _mm512_mask_i32gather_epi32(id, is_byte, bytes16(b->text + i), t->byte_id, 4);
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi32((__mmask16)here, id));
        out += __builtin_popcount(here);
    }
    return out;
}

AVX512 static uint32_t *put(const struct tokenizer *t, const struct block *b, size_t from,
                            size_t to, uint32_t *out) {
    return t->steady ? put_steady(t, b, from, to, out, true)
                     : put_steady(t, b, from, to, out, false);
}

const struct bpe_rounds bpe_rounds_avx512 = {find, drop, find_sure, put};

#endif
