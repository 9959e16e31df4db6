/* See minhash.h. SHA-1 of a word costs as much as its 256 values; words repeat over documents, so
 * each thread keeps the hashes of the last ones (direct-mapped, by the word's 64-bit XXH3). */
#include "stream/minhash.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "stream/minhash_parts.h"

enum { CACHE_SIZE = 1 << 16, TABLE_FIRST = 1024 };

struct known {
    uint64_t word;
    uint32_t hash;
};

struct minhasher {
    struct minhash_table table;
    minhash_fn loop;
    EVP_MD_CTX *md;
    const EVP_MD *sha1;
    struct known *cache;
    bool in_word[256];
    /* The set of one document: slots of a hash table, valid where stamp[i] == now. */
    uint64_t *slots;
    uint32_t *stamp, now;
    size_t cap;
    struct buf open;   /* a word that the next piece of the text may go on with */
    uint64_t met;      /* words, with repeats                                   */
    struct u64s words; /* distinct, in the order met, then sorted */
    struct u32s hashes;
};

/* ------------------------------------------------------------------ numpy's RandomState(1) */

struct mt {
    uint32_t v[624];
    int at;
};

static void mt_seed(struct mt *m, uint32_t seed) {
    m->v[0] = seed;
    for (uint32_t i = 1; i < 624; i++)
        m->v[i] = UINT32_C(1812433253) * (m->v[i - 1] ^ m->v[i - 1] >> 30) + i;
    m->at = 624;
}

/* MT19937 (Matsumoto and Nishimura 1998). */
static uint32_t mt_next(struct mt *m) {
    if (m->at == 624) {
        for (int i = 0; i < 624; i++) {
            uint32_t y = (m->v[i] & 0x80000000u) | (m->v[(i + 1) % 624] & 0x7fffffffu);
            m->v[i] = m->v[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        m->at = 0;
    }
    uint32_t y = m->v[m->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* randint(low, 2^61 - 1): 64 bits, the first word high, masked and drawn again above the range. */
static uint64_t mt_below(struct mt *m, uint64_t low) {
    const uint64_t prime = (UINT64_C(1) << 61) - 1;
    uint64_t x;
    do {
        x = (uint64_t)mt_next(m) << 32;
        x = (x | mt_next(m)) & prime;
    } while (x > prime - 1 - low);
    return low + x;
}

static void make_table(struct minhash_table *t) {
    struct mt m;
    mt_seed(&m, 1);
    for (int k = 0; k < MINHASH_VALUES; k++) {
        t->a[k] = mt_below(&m, 1);
        t->b[k] = mt_below(&m, 0);
    }
}

/* ------------------------------------------------------------------ making */

#define MINHASH_LOOP plain
#include "stream/minhash_loop.h"

static minhash_fn best_loop(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) return minhash_avx2;
#endif
    return plain;
}

static int grow(struct minhasher *m, size_t cap, struct err *err) {
    uint64_t *slots = mem_array(cap, sizeof *slots);
    uint32_t *stamp = mem_array(cap, sizeof *stamp);
    if (!slots || !stamp) {
        free(slots);
        free(stamp);
        return err_nomem(err, cap * (sizeof *slots + sizeof *stamp));
    }
    free(m->slots);
    free(m->stamp);
    m->slots = slots;
    m->stamp = stamp;
    m->cap = cap;
    m->now = 1;
    for (size_t i = 0; i < m->words.n; i++) { /* what the document has so far */
        size_t at = (size_t)m->words.v[i] & (cap - 1);
        while (stamp[at]) at = (at + 1) & (cap - 1);
        slots[at] = m->words.v[i];
        stamp[at] = 1;
    }
    return 0;
}

int minhasher_new(struct minhasher **ret, struct err *err) {
    struct minhasher *m = calloc(1, sizeof *m);
    if (!m) return err_nomem(err, sizeof *m);
    make_table(&m->table);
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"; *c; c++)
        m->in_word[(unsigned char)*c] = true;
    m->loop = best_loop();
    m->md = EVP_MD_CTX_new();
    m->sha1 = EVP_sha1();
    m->cache = mem_array(CACHE_SIZE, sizeof *m->cache);
    int rc = m->md && m->cache ? 0 : err_nomem(err, CACHE_SIZE * sizeof *m->cache);
    if (rc == 0 && EVP_DigestInit_ex(m->md, m->sha1, NULL) != 1)
        rc = err_set(err, ERR_OTHER, "the system's OpenSSL refuses SHA-1");
    if (rc == 0) rc = grow(m, TABLE_FIRST, err);
    if (rc == 0)
        *ret = m;
    else
        minhasher_free(m);
    return rc;
}

void minhasher_free(struct minhasher *m) {
    if (!m) return;
    EVP_MD_CTX_free(m->md);
    free(m->cache);
    free(m->slots);
    free(m->stamp);
    buf_release(&m->open);
    u64s_release(&m->words);
    u32s_release(&m->hashes);
    free(m);
}

/* ------------------------------------------------------------------ words */

static uint32_t word_hash(struct minhasher *m, const char *v, size_t n, uint64_t word) {
    struct known *k = &m->cache[word >> 48]; /* 2^16 places */
    if (k->word == word) return k->hash;
    unsigned char sha[EVP_MAX_MD_SIZE] = {0};
    EVP_DigestInit_ex(m->md, NULL, NULL);
    EVP_DigestUpdate(m->md, v, n);
    EVP_DigestFinal_ex(m->md, sha, NULL);
    k->word = word;
    k->hash =
        (uint32_t)sha[0] | (uint32_t)sha[1] << 8 | (uint32_t)sha[2] << 16 | (uint32_t)sha[3] << 24;
    return k->hash;
}

static int add_word(struct minhasher *m, const char *v, size_t n, struct err *err) {
    uint64_t word = XXH3_64bits(v, n);
    size_t at = (size_t)word & (m->cap - 1);
    while (m->stamp[at] == m->now) {
        if (m->slots[at] == word) return 0;
        at = (at + 1) & (m->cap - 1);
    }
    m->stamp[at] = m->now;
    m->slots[at] = word;
    int rc = u64s_push(&m->words, word, err);
    if (rc == 0) rc = u32s_push(&m->hashes, word_hash(m, v, n, word), err);
    if (rc == 0 && 2 * m->words.n > m->cap) rc = grow(m, 2 * m->cap, err);
    return rc;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void begin(struct minhasher *m) {
    m->words.n = m->hashes.n = m->open.n = 0;
    m->met = 0;
    if (++m->now == 0) { /* 2^32 documents: the stamps begin anew */
        memset(m->stamp, 0, m->cap * sizeof *m->stamp);
        m->now = 1;
    }
}

/* Bytes of the word, or of the rest of one, that v[0..n) begins with. */
static size_t word_bytes(const struct minhasher *m, const char *v, size_t n) {
    size_t i = 0;
    while (i < n && m->in_word[(unsigned char)v[i]]) i++;
    return i;
}

static int end_open(struct minhasher *m, struct err *err) {
    if (!m->open.n) return 0;
    int rc = add_word(m, m->open.v, m->open.n, err);
    m->open.n = 0;
    m->met++;
    return rc;
}

/* Takes the words of v[0..n) but one that may go on, unless it is the `last` piece. */
static int take_words(struct minhasher *m, const char *v, size_t n, bool last, struct err *err) {
    size_t i = m->open.n ? word_bytes(m, v, n) : 0;
    int rc = buf_append(&m->open, v, i, err);
    if (rc == 0 && (i < n || last)) rc = end_open(m, err);
    while (rc == 0 && i < n) {
        while (i < n && !m->in_word[(unsigned char)v[i]]) i++;
        size_t word = i, bytes = word_bytes(m, v + i, n - i);
        i += bytes;
        if (!bytes) break;
        if (i == n && !last) return buf_append(&m->open, v + word, bytes, err);
        m->met++;
        rc = add_word(m, v + word, bytes, err);
    }
    return rc;
}

static void finish(struct minhasher *m, const uint64_t **ret, size_t *ret_n, uint64_t *ret_words) {
    if (ret) {
        if (m->words.n) qsort(m->words.v, m->words.n, sizeof *m->words.v, ascending);
        *ret = m->words.v;
        *ret_n = m->words.n;
    }
    *ret_words = m->met;
}

int minhash_words(struct minhasher *m, const char *text, size_t n, const uint64_t **ret,
                  size_t *ret_n, uint64_t *ret_words, struct err *err) {
    begin(m);
    int rc = take_words(m, text, n, true, err);
    finish(m, ret, ret_n, ret_words);
    return rc;
}

static int take_piece(void *ctx, const char *v, size_t n, struct err *err) {
    return take_words(ctx, v, n, false, err);
}

int minhash_doc(struct minhasher *m, const struct doc *doc, const uint64_t **ret, size_t *ret_n,
                uint64_t *ret_words, struct err *err) {
    if (!doc->far) return minhash_words(m, doc->text, doc->n, ret, ret_n, ret_words, err);
    begin(m);
    int rc = docs_far_text(doc, take_piece, m, err);
    if (rc == 0) rc = end_open(m, err);
    finish(m, ret, ret_n, ret_words);
    return rc;
}

void minhash_signature(struct minhasher *m, uint32_t ret[MINHASH_VALUES]) {
    memset(ret, 0xff, MINHASH_VALUES * sizeof *ret);
    m->loop(ret, &m->table, m->hashes.v, m->hashes.n);
}

void minhash_bands(const uint32_t signature[MINHASH_VALUES], uint64_t ret[MINHASH_BANDS]) {
    for (int b = 0; b < MINHASH_BANDS; b++)
        ret[b] = XXH3_64bits_withSeed(signature + b * MINHASH_ROWS,
                                      MINHASH_ROWS * sizeof *signature, (uint64_t)b + 1);
}

double minhash_jaccard(const uint64_t *a, size_t a_n, const uint64_t *b, size_t b_n) {
    size_t i = 0, j = 0, both = 0;
    while (i < a_n && j < b_n) {
        both += a[i] == b[j];
        uint64_t x = a[i], y = b[j];
        i += x <= y;
        j += y <= x;
    }
    size_t all = a_n + b_n - both;
    return all ? (double)both / (double)all : 1;
}
