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
#define INLINE TARGET static inline __attribute__((always_inline))

enum { GROUPS = 2 /* that are looked up for themselves, of each length */ };

/* 64 bytes from p on, of which `left` can be read; the others are 0. */
INLINE __m512i load(const uint8_t *p, size_t left) {
    return _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : (1ull << left) - 1, p);
}

/* The categories of 64 code points. */
INLINE __m512i categories(uint32_t cp) {
    return _mm512_loadu_si512(&unicode_cats[(size_t)unicode_block[cp >> 8] << 8 | (cp & 0xc0)]);
}

/* By the first byte of a character, from C0 on, what its second one is: `first` … first + more, as
 * in table 3-7 of the Unicode standard (core specification, 3.9); and what it is if that says that
 * the character is a letter of Chinese or Korean, U+4E00-9FFF or U+AC00-D77F, which need not be
 * looked up. C0 is none. */
#define X2(x)  x, x
#define X4(x)  x, x, x, x
#define X12(x) X4(x), X4(x), X4(x)
struct seconds {
    uint8_t first[64], more[64];
};
static const struct seconds any_second = {
    {X2(0xc0), X2(0x80), X12(0x80), X12(0x80), X4(0x80), /* C0 … DF */
     0xa0, X12(0x80), X2(0x80), 0x80, 0x90, X4(0x80), X4(0xc0), X4(0xc0), X2(0xc0), 0xc0},
    {X2(0), X2(0x3f), X12(0x3f), X12(0x3f), X4(0x3f), /* … */
     0x1f, X12(0x3f), 0x1f, X2(0x3f), 0x2f, X2(0x3f), 0x3f, 0x0f},
};
static const struct seconds asian_second = {
    {X12(0xc0), X12(0xc0), X12(0xc0), 0xb8, X4(0x80), 0x80, 0xb0, X2(0x80), 0x80, X12(0xc0),
     X4(0xc0), X2(0xc0)},
    {[0x24] = 0x07, X4(0x3f), 0x3f, 0x0f, X2(0x3f), 0x1d},
};

/* Both for each of 64 first bytes. */
struct lookup {
    __m512i first, more;
};
INLINE struct lookup lookup_of(const struct seconds *s) {
    return (struct lookup){_mm512_loadu_si512(s->first), _mm512_loadu_si512(s->more)};
}

/* Which second bytes are among them: nothing else than C0 … FF is before those. */
INLINE uint64_t has_second(uint64_t which, struct lookup t, __m512i a, __m512i b) {
    const __m512i from = _mm512_permutexvar_epi8(a, t.first), /* looks at 6 bits */
        most = _mm512_permutexvar_epi8(a, t.more);
    return _mm512_mask_cmple_epu8_mask(which, _mm512_sub_epi8(b, from), most);
}

/* Bytes from 80 to BF: the least ones with a sign. */
INLINE uint64_t tails(uint64_t which, __m512i x) {
    return _mm512_mask_cmplt_epi8_mask(which, x, _mm512_set1_epi8((char)0xc0));
}

/* Bytes of a table, of which the number is a multiple of four. */
INLINE __m512i bytes_at(const uint8_t *table, __mmask16 in, __m512i at) {
    const __m512i three = _mm512_set1_epi32(3);
    const __m512i four = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), in,
                                                     _mm512_andnot_si512(three, at), table, 1);
    const __m512i bits = _mm512_slli_epi32(_mm512_and_si512(at, three), 3);
    return _mm512_and_si512(_mm512_srlv_epi32(four, bits), _mm512_set1_epi32(0xFF));
}

/* The first bytes of 64 characters (those of some), the second, third and fourth ones. */
struct spelt {
    __m512i a, b, c, d;
};

/* The code points of the characters in the lowest 16 lanes, of `most` bytes at most. */
INLINE __m512i code_points(const struct spelt *s, int most) {
    const __m512i low6 = _mm512_set1_epi32(0x3F),
                  lead = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(s->a));
    __m512i next = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(s->b));
    __m512i cp = _mm512_slli_epi32(_mm512_and_si512(lead, _mm512_set1_epi32(0x1F)), 6);
    cp = _mm512_or_si512(cp, _mm512_and_si512(next, low6));
    if (most > 2) {
        const __mmask16 three = _mm512_cmpge_epu32_mask(lead, _mm512_set1_epi32(0xE0));
        next = _mm512_and_si512(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(s->c)), low6);
        cp = _mm512_mask_or_epi32(cp, three, _mm512_slli_epi32(cp, 6), next);
    }
    if (most > 3) {
        const __mmask16 four = _mm512_cmpge_epu32_mask(lead, _mm512_set1_epi32(0xF0));
        next = _mm512_and_si512(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(s->d)), low6);
        cp = _mm512_mask_or_epi32(cp, four, _mm512_slli_epi32(cp, 6), next);
        cp = _mm512_and_si512(cp, _mm512_set1_epi32(0x1FFFFF)); /* a bit of F0 is above */
    }
    return cp;
}

/* The categories of the first n of them. */
INLINE __m128i look_up16(const struct spelt *s, size_t n, int most) {
    const __mmask16 in = (__mmask16)(n < 16 ? (1u << n) - 1 : 0xFFFF);
    const __m512i cp = code_points(s, most), low8 = _mm512_set1_epi32(0xFF);
    if (most == 2) /* the first blocks are there one behind the other */
        return _mm512_cvtepi32_epi8(bytes_at(unicode_cats, in, cp));
    const __m512i block = bytes_at(unicode_block, in, _mm512_srli_epi32(cp, 8));
    const __m512i at = _mm512_or_si512(_mm512_slli_epi32(block, 8), _mm512_and_si512(cp, low8));
    return _mm512_cvtepi32_epi8(bytes_at(unicode_cats, in, at));
}

/* The categories of those that begin at `which` of a word, to their places in `cat`. */
INLINE __m512i look_up_each(__m512i cat, uint64_t which, const struct spelt *all, int most) {
    const size_t n = (size_t)__builtin_popcountll(which); /* half a word, at most */
    struct spelt s = {.a = _mm512_maskz_compress_epi8(which, all->a),
                      .b = _mm512_maskz_compress_epi8(which, all->b)};
    if (most > 2) s.c = _mm512_maskz_compress_epi8(which, all->c);
    if (most > 3) s.d = _mm512_maskz_compress_epi8(which, all->d);
    __m512i found = _mm512_castsi128_si512(look_up16(&s, n, most));
    if (n > 16) {
        s.a = _mm512_shuffle_i64x2(s.a, s.a, 1), s.b = _mm512_shuffle_i64x2(s.b, s.b, 1);
        if (most > 2) s.c = _mm512_shuffle_i64x2(s.c, s.c, 1);
        if (most > 3) s.d = _mm512_shuffle_i64x2(s.d, s.d, 1);
        found = _mm512_inserti32x4(found, look_up16(&s, n - 16, most), 1);
    }
    return _mm512_mask_expand_epi8(cat, which, found);
}

/* The lengths of the characters that begin in a word. */
struct lengths {
    uint64_t any, three, four; /* all of them; those of three bytes at least; of four */
};

/* The bytes of what begins at p[0..64), and the lengths of what are characters; no third and fourth
 * bytes where nothing asks for them. p[0..left) can be read. */
INLINE struct lengths spell(struct spelt *s, struct lookup seconds, const uint8_t *p, size_t left) {
    const __m512i from2 = _mm512_set1_epi8((char)0xc0), from3 = _mm512_set1_epi8((char)0xe0),
                  from4 = _mm512_set1_epi8((char)0xf0);
    s->a = load(p, left), s->b = load(p + 1, left - 1);
    s->c = s->d = _mm512_setzero_si512();
    const uint64_t lead = _mm512_cmpge_epu8_mask(s->a, from2);
    const uint64_t begun = has_second(tails(lead, s->b), seconds, s->a, s->b);
    uint64_t three = _mm512_mask_cmpge_epu8_mask(begun, s->a, from3), four;
    if (!three) return (struct lengths){begun, 0, 0};
    const uint64_t two = begun & ~three;
    if (left > 2) s->c = load(p + 2, left - 2);
    three = tails(three, s->c);
    four = _mm512_mask_cmpge_epu8_mask(three, s->a, from4);
    if (!four) return (struct lengths){two | three, three, 0};
    three &= ~four;
    if (left > 3) s->d = load(p + 3, left - 3);
    four = tails(four, s->d);
    return (struct lengths){two | three | four, three | four, four};
}

/* The code point of `len` bytes, of which the last is taken for 80. */
INLINE uint32_t first_of_64(const uint8_t *q, int len) {
    if (len == 2) return (q[0] & 0x1fu) << 6;
    if (len == 3) return (q[0] & 0xfu) << 12 | (q[1] & 0x3fu) << 6;
    return (q[0] & 0x7u) << 18 | (q[1] & 0x3fu) << 12 | (q[2] & 0x3fu) << 6;
}

/* Those of *which whose bytes but the last are alike, as often as GROUPS: their categories. The
 * others remain. */
INLINE __m512i look_up_groups(__m512i cat, uint64_t *which, const struct spelt *s, const uint8_t *p,
                              int len) {
    const __m512i last = len == 2 ? s->b : len == 3 ? s->c : s->d;
    for (int i = 0; *which && i < GROUPS; i++) {
        const uint8_t *q = p + __builtin_ctzll(*which);
        uint64_t same = *which & _mm512_cmpeq_epi8_mask(s->a, _mm512_set1_epi8((char)q[0]));
        if (len > 2) same &= _mm512_cmpeq_epi8_mask(s->b, _mm512_set1_epi8((char)q[1]));
        if (len > 3) same &= _mm512_cmpeq_epi8_mask(s->c, _mm512_set1_epi8((char)q[2]));
        cat = _mm512_mask_permutexvar_epi8(cat, same, last, categories(first_of_64(q, len)));
        *which &= ~same;
    }
    return cat;
}

/* The categories of the characters that begin in p[0..64), at their first bytes, and in *l their
 * lengths; p[0..left) can be read. */
INLINE __m512i look_up(const uint8_t *p, size_t left, struct lookup seconds, struct lookup asian,
                       struct lengths *l) {
    struct spelt s;
    *l = spell(&s, seconds, p, left);
    uint64_t two = l->any & ~l->three, three = l->three & ~l->four, four = l->four;
    __m512i cat = look_up_groups(_mm512_setzero_si512(), &two, &s, p, 2);
    if (three) {
        const uint64_t letters = has_second(three, asian, s.a, s.b);
        cat = _mm512_mask_set1_epi8(cat, letters, CAT_LO);
        three &= ~letters;
    }
    cat = look_up_groups(cat, &three, &s, p, 3);
    cat = look_up_groups(cat, &four, &s, p, 4);
    if (four) return look_up_each(cat, two | three | four, &s, 4);
    if (three) return look_up_each(cat, two | three, &s, 3);
    return two ? look_up_each(cat, two, &s, 2) : cat;
}

TARGET static void wide_avx512(struct scan_masks *m, const uint8_t *p, size_t n) {
    const __m512i table = _mm512_maskz_loadu_epi8((1ull << CAT_COUNT) - 1, scan_cat_class);
    const struct lookup seconds = lookup_of(&any_second), asian = lookup_of(&asian_second);
    struct lengths before = {0};
    uint64_t letter = 0, number = 0, space = 0, upper = 0, both = 0; /* of the word before */
    for (size_t w = 0; 64 * w < n; w++) {
        struct lengths l;
        if (!m->wide[w]) { /* no character reaches into it, or beyond */
            m->both[w] = m->mark[w] = m->tail[w] = m->odd[w] = 0;
            continue;
        }
        __m512i cls = look_up(p + 64 * w, n - 64 * w, seconds, asian, &l);
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
