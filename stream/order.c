/* numpy's numbers, and what `datasets` makes of them: see order.h. */
#include "stream/order.h"

#include "base/rng.h"

/* ------------------------------------------------------------------ SeedSequence and PCG64 */

enum { POOL = 4 };

static uint32_t hash_in(uint32_t v, uint32_t *h) {
    v ^= *h;
    *h *= 0x931e8875u;
    v *= *h;
    return v ^ v >> 16;
}

static uint32_t mix(uint32_t x, uint32_t y) {
    uint32_t r = 0xca01f9ddu * x - 0x4973f715u * y;
    return r ^ r >> 16;
}

/* SeedSequence(seed).generate_state(4, uint64) */
static void seed_sequence(uint64_t seed, uint64_t ret[4]) {
    uint32_t pool[POOL] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, h = 0x43b0d7e5u;
    for (int i = 0; i < POOL; i++) pool[i] = hash_in(pool[i], &h);
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to) pool[to] = mix(pool[to], hash_in(pool[from], &h));
    h = 0x8b51f9ddu;
    for (int i = 0; i < 8; i++) {
        uint32_t v = pool[i % POOL] ^ h;
        h *= 0x58f38dedu;
        v *= h;
        v ^= v >> 16;
        ret[i / 2] = i % 2 ? ret[i / 2] | (uint64_t)v << 32 : v;
    }
}

static void step(struct numpy_rng *r) {
    const unsigned __int128 multiplier =
        (unsigned __int128)2549297995355413924u << 64 | 4865540595714422341u;
    r->state = r->state * multiplier + r->inc;
}

void numpy_seed(struct numpy_rng *r, uint64_t seed) {
    uint64_t s[4];
    seed_sequence(seed, s);
    *r = (struct numpy_rng){.inc = ((unsigned __int128)s[2] << 64 | s[3]) << 1 | 1};
    step(r);
    r->state += (unsigned __int128)s[0] << 64 | s[1];
    step(r);
}

uint64_t numpy_u64(struct numpy_rng *r) {
    step(r);
    uint64_t x = (uint64_t)(r->state >> 64) ^ (uint64_t)r->state;
    unsigned turn = (unsigned)(r->state >> 122);
    return x >> turn | x << (-turn & 63);
}

uint32_t numpy_u32(struct numpy_rng *r) {
    if (r->has_half) {
        r->has_half = false;
        return r->half;
    }
    uint64_t x = numpy_u64(r);
    r->has_half = true;
    r->half = (uint32_t)(x >> 32);
    return (uint32_t)x;
}

/* ------------------------------------------------------------------ Generator */

uint32_t numpy_below(struct numpy_rng *r, uint64_t n) {
    if (n == 1) return 0;
    if (n >> 32) return numpy_u32(r);
    uint64_t m = (uint64_t)numpy_u32(r) * n;
    if ((uint32_t)m < n) {
        uint32_t floor = (uint32_t)((((uint64_t)1 << 32) - n) % n);
        while ((uint32_t)m < floor) m = (uint64_t)numpy_u32(r) * n;
    }
    return (uint32_t)(m >> 32);
}

uint32_t numpy_upto(struct numpy_rng *r, uint32_t max) {
    uint32_t mask = UINT32_MAX >> __builtin_clz(max), v;
    while ((v = numpy_u32(r) & mask) > max) {}
    return v;
}

void numpy_shuffle(struct numpy_rng *r, uint32_t *v, size_t n) {
    for (size_t i = n; i-- > 1;) {
        uint32_t j = numpy_upto(r, (uint32_t)i), x = v[i];
        v[i] = v[j];
        v[j] = x;
    }
}

void numpy_shuffle_ptrs(struct numpy_rng *r, void **v, size_t n) {
    for (size_t i = n; i-- > 1;) {
        uint32_t j = numpy_upto(r, (uint32_t)i);
        void *x = v[i];
        v[i] = v[j];
        v[j] = x;
    }
}

/* ------------------------------------------------------------------ datasets */

enum { RNG_FILES = 0x66696c65 }; /* "file" */

static void own_files(uint64_t seed, uint64_t epoch, uint32_t *files, size_t n) {
    struct rng r = {.key = seed, .stream = epoch << 32 | RNG_FILES};
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(&r, i);
        uint32_t x = files[i - 1];
        files[i - 1] = files[j];
        files[j] = x;
    }
}

/* The epoch permutes the list that the seed has permuted, with a generator of its own: the number
 * of the epoch is its whole seed. */
void order_files(enum order_kind kind, uint64_t seed, uint64_t epoch, bool frozen, uint32_t *files,
                 size_t n) {
    struct numpy_rng r;
    for (size_t i = 0; i < n; i++) files[i] = (uint32_t)i;
    if (kind == ORDER_SOURCE) return;
    if (kind == ORDER_OWN) {
        own_files(seed, epoch, files, n);
        return;
    }
    numpy_seed(&r, seed);
    numpy_shuffle(&r, files, n);
    if (!epoch || frozen) return;
    numpy_seed(&r, epoch);
    numpy_shuffle(&r, files, n);
}

size_t order_groups(enum order_kind kind, size_t n) {
    bool in_turn = kind == ORDER_HF5 || kind == ORDER_OWN;
    return !in_turn || n < 2 ? 1 : n < ORDER_GROUPS_MAX ? n : ORDER_GROUPS_MAX;
}

size_t order_group_at(size_t n, size_t groups, size_t g) {
    size_t longer = n % groups; /* the first so many have one file more */
    return g * (n / groups) + (g < longer ? g : longer);
}

uint64_t order_turn(enum order_kind kind, uint64_t buffer) {
    return kind != ORDER_HF5 || buffer < ORDER_GROUPS_MAX ? 1 : buffer / ORDER_GROUPS_MAX;
}

void order_buffer_rng(struct numpy_rng *r, uint64_t seed, uint64_t epoch) {
    numpy_seed(r, seed);
    if (epoch) numpy_seed(r, (numpy_u64(r) >> 1) - epoch); /* integers(0, 2^63) - epoch */
}
