/* Classes of the characters outside ASCII as masks; all bytes of a character have its class.
 *
 *   text    a  р           ´  (U+0301)  ٣           U+3000           FF
 *   bytes   61 D1 80       CC 81        D9 A3       E3 80 80         FF
 *   letter  1  1  1        .  .         .  .        .  .  .          .
 *   mark    .  .  .        1  1         .  .        .  .  .          .
 *   tail    .  .  1        .  1         .  1        .  1  1          .
 *   odd     .  .  .        .  .         .  .        .  .  .          1
 *
 * Plain: run by run of characters of one class. AVX-512 (VBMI): 64 code points that share all bytes
 * but the last are 64 bytes of unicode_cats[], which one permutation looks up for all of them that
 * are in a word; texts have few such groups at a time. Where a word has more, the rest is gathered,
 * sixteen characters at a time. */
#include "tokenizer/scan.h"
#include "tokenizer/scan_masks.h"

size_t scan_whole(const uint8_t *text, size_t to, size_t n) {
    if (to >= n) return n;
    for (size_t back = 1; back <= 3 && back <= to && (text[to - back + 1] & 0xc0) == 0x80; back++) {
        uint32_t cp;
        if (text[to - back] >= 0xc0 && unicode_decode(text + to - back, text + n, &cp) > back)
            return to - back;
    }
    return to;
}

void scan_move_to_first(const struct scan_masks *m, uint64_t *start, size_t words) {
    for (size_t w = 0; w < words; w++) {
        for (uint64_t x = start[w] & m->tail[w]; x; x &= x - 1) {
            size_t b = 64 * w + (size_t)__builtin_ctzll(x);
            start[w] &= ~(x & -x);
            while (m->tail[b >> 6] >> (b & 63) & 1) b--;
            start[b >> 6] |= 1ull << (b & 63);
        }
    }
}

static void set_bits(uint64_t *v, size_t from, size_t to) {
    for (size_t w = from >> 6; w <= (to - 1) >> 6; w++) {
        uint64_t bits = ~0ull;
        if (w == from >> 6) bits &= ~0ull << (from & 63);
        if (w == (to - 1) >> 6) bits &= ~0ull >> (63 - ((to - 1) & 63));
        v[w] |= bits;
    }
}

/* Length of the character of text[at ..) and its class; 0: bytes that are none. */
static size_t character(const uint8_t *text, size_t at, size_t n, unsigned *cls) {
    uint32_t cp;
    size_t len = unicode_decode(text + at, text + n, &cp);
    *cls = scan_cat_class[unicode_cat(cp)];
    return cp == UNICODE_BAD ? 0 : len;
}

/* Marks the tail of a character; returns where it ends. */
static inline size_t pass(struct scan_masks *m, size_t at, size_t len) {
    for (size_t i = at + 1; i < at + len; i++) m->tail[i >> 6] |= 1ull << (i & 63);
    return at + len;
}

/* Puts text[at ..) into the masks, as long as it goes on outside ASCII and in one class; returns
 * where that ends. Sentences of Chinese are one call. */
static size_t mark_run(struct scan_masks *m, const uint8_t *text, size_t at, size_t n) {
    unsigned cls, next = 0;
    size_t len = character(text, at, n, &cls), end = at;
    if (!len) {
        set_bits(m->odd, at, at + 1);
        return at + 1;
    }
    do {
        end = pass(m, end, len);
        if (cls == scan_cat_class[CAT_LO]) /* that of all of them */
            while (n - end >= 4 && scan_asian(text + end)) end = pass(m, end, 3);
    } while (end < n && text[end] >= 0x80 && (len = character(text, end, n, &next)) && next == cls);
    const unsigned both = SCAN_UPPER | SCAN_LOWER;
    if (cls & SCAN_L) set_bits(m->letter, at, end);
    if (cls & SCAN_N) set_bits(m->number, at, end);
    if (cls & SCAN_S) set_bits(m->space, at, end);
    if ((cls & both) == SCAN_UPPER) set_bits(m->upper, at, end);
    if ((cls & both) == both) set_bits(m->both, at, end);
    if (cls == both) set_bits(m->mark, at, end);
    return end;
}

void scan_wide_plain(struct scan_masks *m, const uint8_t *p, size_t n) {
    size_t words = (n + 63) / 64, next = 0; /* next: a place in the window */
    uint64_t *const new[] = {m->both, m->mark, m->tail, m->odd};
    for (size_t i = 0; i < 4; i++) memset(new[i], 0, words * sizeof *new[i]);
    for (size_t w = 0; w < words; w++)
        while (next < 64 * w + 64) {
            uint64_t x = m->wide[w] & (next > 64 * w ? ~0ull << (next & 63) : ~0ull);
            if (!x) break;
            next = mark_run(m, p, 64 * w + (size_t)__builtin_ctzll(x), n);
        }
}

#ifdef __x86_64__
#include <immintrin.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,popcnt")))

enum { GROUPS = 2 /* that are looked up for themselves, of each length */ };

/* 64 bytes from p on, of which `left` can be read; the others are 0. */
TARGET static inline __m512i load(const uint8_t *p, size_t left) {
    return _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : (1ull << left) - 1, p);
}

/* The categories of 64 code points. */
TARGET static inline __m512i categories(uint32_t cp) {
    return _mm512_loadu_si512(&unicode_cats[(size_t)unicode_block[cp >> 8] << 8 | (cp & 0xc0)]);
}

TARGET static inline uint64_t between(__m512i x, uint8_t first, uint8_t last) {
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(x, _mm512_set1_epi8((char)first)),
                                  _mm512_set1_epi8((char)(last - first)));
}

/* Letters of Chinese and Korean that need not be looked up: U+4E00-9FFF, U+AC00-D77F. `x` are the
 * first bytes, `y` the second ones. */
TARGET static inline uint64_t asian(__m512i x, __m512i y) {
    uint64_t high = _mm512_cmpge_epu8_mask(y, _mm512_set1_epi8((char)0xb0)),
             low = _mm512_cmplt_epu8_mask(y, _mm512_set1_epi8((char)0x9e)),
             han = _mm512_cmpge_epu8_mask(y, _mm512_set1_epi8((char)0xb8));
    return between(x, 0xe5, 0xe9) | between(x, 0xeb, 0xec) | (between(x, 0xe4, 0xe4) & han) |
           (between(x, 0xea, 0xea) & high) | (between(x, 0xed, 0xed) & low);
}

/* Bytes of a table, of which the number is a multiple of four. */
TARGET static inline __m512i bytes_at(const uint8_t *table, __mmask16 in, __m512i at) {
    const __m512i three = _mm512_set1_epi32(3);
    const __m512i four = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), in,
                                                     _mm512_andnot_si512(three, at), table, 1);
    const __m512i bits = _mm512_slli_epi32(_mm512_and_si512(at, three), 3);
    return _mm512_and_si512(_mm512_srlv_epi32(four, bits), _mm512_set1_epi32(0xFF));
}

/* The categories of `n` characters of two and three bytes, whose first bytes are x, and so on. */
TARGET static inline __m128i look_up16(__m128i x, __m128i y, __m128i z, size_t n) {
    const __mmask16 in = (__mmask16)(n < 16 ? (1u << n) - 1 : 0xFFFF);
    const __m512i low6 = _mm512_set1_epi32(0x3F), lead = _mm512_cvtepu8_epi32(x);
    const __m512i second = _mm512_and_si512(_mm512_cvtepu8_epi32(y), low6),
                  third = _mm512_and_si512(_mm512_cvtepu8_epi32(z), low6);
    const __mmask16 three = _mm512_cmpge_epu32_mask(lead, _mm512_set1_epi32(0xE0));
    __m512i cp = _mm512_slli_epi32(_mm512_and_si512(lead, _mm512_set1_epi32(0x1F)), 6);
    cp = _mm512_or_si512(cp, second);
    cp = _mm512_mask_or_epi32(cp, three, _mm512_slli_epi32(cp, 6), third);
    cp = _mm512_and_si512(cp, _mm512_set1_epi32(0xFFFF)); /* a bit of E0 is above */
    const __m512i block = bytes_at(unicode_block, in, _mm512_srli_epi32(cp, 8));
    const __m512i at =
        _mm512_or_si512(_mm512_slli_epi32(block, 8), _mm512_and_si512(cp, _mm512_set1_epi32(0xFF)));
    return _mm512_cvtepi32_epi8(bytes_at(unicode_cats, in, at));
}

/* The same of those that begin at `which` of a word, to their places in `cat`. */
TARGET static __m512i look_up_each(__m512i cat, uint64_t which, __m512i x, __m512i y, __m512i z) {
    const size_t n = (size_t)__builtin_popcountll(which); /* half a word, at most */
    x = _mm512_maskz_compress_epi8(which, x);
    y = _mm512_maskz_compress_epi8(which, y);
    z = _mm512_maskz_compress_epi8(which, z);
    __m512i found = _mm512_castsi128_si512(look_up16(
        _mm512_castsi512_si128(x), _mm512_castsi512_si128(y), _mm512_castsi512_si128(z), n));
    if (n > 16) {
        const __m128i more =
            look_up16(_mm512_extracti32x4_epi32(x, 1), _mm512_extracti32x4_epi32(y, 1),
                      _mm512_extracti32x4_epi32(z, 1), n - 16);
        found = _mm512_inserti32x4(found, more, 1);
    }
    return _mm512_mask_expand_epi8(cat, which, found);
}

/* The lengths of the characters that begin in a word. */
struct lengths {
    uint64_t any, three, four; /* all of them; those of three bytes at least; of four */
};

/* The categories of the characters that begin in p[0..64), at their first bytes, and in *l their
 * lengths; p[0..left) can be read. */
TARGET static inline __m512i look_up(const uint8_t *p, size_t left, struct lengths *l) {
    const __m512i x = load(p, left), y = load(p + 1, left - 1),
                  z = left > 2 ? load(p + 2, left - 2) : _mm512_setzero_si512();
    const uint64_t y_tail = between(y, 0x80, 0xbf), z_tail = between(z, 0x80, 0xbf);
    uint64_t two = between(x, 0xc2, 0xdf) & y_tail;
    uint64_t three = between(x, 0xe0, 0xef) & y_tail & z_tail;
    three &= ~(between(x, 0xe0, 0xe0) & between(y, 0x80, 0x9f));
    three &= ~(between(x, 0xed, 0xed) & between(y, 0xa0, 0xbf));
    __m512i cat = _mm512_setzero_si512();
    *l = (struct lengths){two | three, three, 0};
    for (int i = 0; two && i < GROUPS; i++) {
        const uint8_t *q = p + __builtin_ctzll(two);
        uint64_t same = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)q[0])) & two;
        cat = _mm512_mask_permutexvar_epi8(cat, same, y, categories((q[0] & 0x1fu) << 6));
        two &= ~same;
    }
    if (three) {
        uint64_t letters = asian(x, y) & three;
        cat = _mm512_mask_set1_epi8(cat, letters, CAT_LO);
        three &= ~letters;
    }
    for (int i = 0; three && i < GROUPS; i++) {
        const uint8_t *q = p + __builtin_ctzll(three);
        uint64_t same = _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)q[0])) &
                        _mm512_cmpeq_epi8_mask(y, _mm512_set1_epi8((char)q[1])) & three;
        uint32_t cp = (q[0] & 0xfu) << 12 | (q[1] & 0x3fu) << 6;
        cat = _mm512_mask_permutexvar_epi8(cat, same, z, categories(cp));
        three &= ~same;
    }
    if (two | three) cat = look_up_each(cat, two | three, x, y, z);
    for (uint64_t four = between(x, 0xf0, 0xf4); four; four &= four - 1) {
        const size_t i = (size_t)__builtin_ctzll(four);
        uint32_t cp;
        if (unicode_decode(p + i, p + left, &cp) != 4) continue;
        cat = _mm512_mask_set1_epi8(cat, 1ull << i, (char)unicode_cat(cp));
        l->four |= 1ull << i;
    }
    l->any |= l->four;
    l->three |= l->four;
    return cat;
}

TARGET static void wide_avx512(struct scan_masks *m, const uint8_t *p, size_t n) {
    const __m512i table = _mm512_maskz_loadu_epi8((1ull << CAT_COUNT) - 1, scan_cat_class);
    struct lengths before = {0};
    uint64_t letter = 0, number = 0, space = 0, upper = 0, both = 0; /* of the word before */
    for (size_t w = 0; 64 * w < n; w++) {
        struct lengths l;
        __m512i cls = look_up(p + 64 * w, n - 64 * w, &l);
        cls = _mm512_maskz_permutexvar_epi8(l.any, cls, table);
        uint64_t tail = l.any << 1 | before.any >> 63 | l.three << 2 | before.three >> 62 |
                        l.four << 3 | before.four >> 61;
        uint64_t up = _mm512_test_epi8_mask(cls, _mm512_set1_epi8(SCAN_UPPER)),
                 low = _mm512_test_epi8_mask(cls, _mm512_set1_epi8(SCAN_LOWER));
        letter =
            scan_with_tails(_mm512_test_epi8_mask(cls, _mm512_set1_epi8(SCAN_L)), tail, letter);
        number =
            scan_with_tails(_mm512_test_epi8_mask(cls, _mm512_set1_epi8(SCAN_N)), tail, number);
        space = scan_with_tails(_mm512_test_epi8_mask(cls, _mm512_set1_epi8(SCAN_S)), tail, space);
        upper = scan_with_tails(up & ~low, tail, upper);
        both = scan_with_tails(up & low, tail, both);
        m->letter[w] |= letter, m->number[w] |= number, m->space[w] |= space;
        m->upper[w] |= upper, m->both[w] = both, m->mark[w] = both & ~letter;
        m->tail[w] = tail, m->odd[w] = m->wide[w] & ~(l.any | tail);
        before = l;
    }
}
#endif

scan_wide_fn scan_wide_fast(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return wide_avx512;
#endif
    return NULL;
}
