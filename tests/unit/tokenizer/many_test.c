/* Short pieces merged side by side, beside the slow twin: each alone, and texts all of whose pieces
 * are new. */
#include <pthread.h>
#include <sys/mman.h>
#include "tests/unit/tokenizer/encode_help.h"
#include "tokenizer/encode_parts.h"

/* Some pieces, of which some are tokens and some have one byte; their ids go anywhere. */
static void batch_as_the_twin(bpe_many_fn many, const struct tokenizer *t, struct rng *r,
                              int letters) {
    struct bpe_short v[BPE_MANY];
    struct bpe_short_ids out[BPE_MANY];
    uint8_t where[BPE_MANY];
    struct buf text = {0};
    struct u32s want = {0}, got = {0};
    struct err err = {0};
    size_t n = 0, count = 1 + rng_below(r, BPE_MANY), shift = rng_below(r, BPE_MANY);
    memset(v, 'a', sizeof v); /* what is behind a piece could go on with it */
    while (n < count) {
        size_t most = rng_below(r, 2) ? 8 : BPE_MANY_BYTES;
        random_text(&text, r, 1 + rng_below(r, most), letters);
        if (text.n > BPE_MANY_BYTES) text.n = BPE_MANY_BYTES;
        const uint8_t *p = (uint8_t *)text.v;
        memcpy(v[n].text, p, text.n);
        v[n].n = (uint32_t)text.n;
        where[n] = (uint8_t)((n + shift) % BPE_MANY);
        n++;
    }
    many(t, v, n, out, where);
    for (size_t i = 0; i < n; i++) {
        const struct bpe_short_ids *ids = &out[where[i]];
        want.n = got.n = 0;
        check_ok(encode_ref(t, (char *)v[i].text, v[i].n, &want, &err), &err);
        u32s_append(&got, ids->id, ids->n, NULL);
        same_ids(&want, &got, "a piece of a batch");
    }
    buf_release(&text);
    u32s_release(&want);
    u32s_release(&got);
}

static void a_batch_equals_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 31};
    for (int round = 0; round < 60; round++) {
        struct random_vocab v;
        int letters = 1 + (int)rng_below(&r, 4);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "[\\s\\S]+");
        bpe_many_fn many;
        for (int k = 0; (many = bpe_many_at(t, k)); k++)
            for (int i = 0; i < 60; i++) batch_as_the_twin(many, t, &r, letters);
        tokenizer_free(t);
        random_release(&v);
    }
}

/* Pieces that end anywhere, some empty, some long, the last at the end of a text of its own. */
static void random_ends(struct rng *r, uint32_t *ends, size_t n, size_t *ret_bytes) {
    size_t at = 0;
    const uint64_t longest = rng_below(r, 4) ? 5 : 40;
    for (size_t i = 0; i < n; i++) {
        at += rng_below(r, 30) ? 1 + rng_below(r, longest) : 0;
        ends[i] = (uint32_t)at;
    }
    *ret_bytes = at;
}

static void same_batch(const struct batch *want, const struct batch *got) {
    assert_int_equal(got->size, want->size);
    for (size_t i = 0; i < want->size; i++) {
        assert_ptr_equal(got->p[i], want->p[i]);
        assert_int_equal(got->n[i], want->n[i]);
        assert_int_equal(got->low[i], want->low[i]);
        assert_int_equal(got->high[i], want->high[i]);
        assert_ptr_equal(got->line[i], want->line[i]);
    }
    assert_int_equal(got->n_middles, want->n_middles);
    assert_memory_equal(got->middle, want->middle, want->n_middles);
}

static void keys_equal_those_made_one_by_one(void **state) {
    (void)state;
    struct rng r = {.key = 34};
    struct caches c = {0};
    struct err err = {0};
    check_ok(caches_begin(&c, &err), &err);
    for (int round = 0; round < 2000; round++) {
        uint32_t ends[BATCH];
        size_t n = 1 + rng_below(&r, BATCH), skip = rng_below(&r, 3), bytes;
        random_ends(&r, ends, n, &bytes);
        uint8_t *text = malloc(bytes + skip + 1);
        for (size_t i = 0; i < bytes + skip; i++) text[i] = (uint8_t)rng_below(&r, 256);
        for (size_t i = 0; i < n; i++) ends[i] += (uint32_t)skip;
        if (round % 500 == 0) c.shorts.misses = (uint64_t)1 << c.shorts.bits;
        check_ok(caches_grow(&c, &err), &err);
        struct batch want = {.size = 0}, got;
        for (size_t i = 0, from = skip; i < n; from = ends[i++])
            if (ends[i] > from)
                batch_add(&c, &want, text + from, ends[i] - from, text + bytes + skip);
        batch_fill_fn fill;
        for (int k = 0; (fill = batch_fill_at(k)); k++) {
            batch_clear(&got);
            fill(&c, &got, text, bytes + skip, skip, ends, n);
            same_batch(&want, &got);
        }
        free(text);
    }
    caches_release(&c);
}

/* A piece of the middle cache: few of them differ, and where they do is anywhere. */
static size_t middle_piece(struct rng *r, uint8_t p[MIDDLE_BYTES]) {
    static const uint8_t bytes[] = {'a', 0, 0xff};
    struct rng one = {.key = rng_below(r, 3000)};
    const size_t n = SHORT_BYTES + 1 + rng_below(&one, MIDDLE_BYTES - SHORT_BYTES);
    memset(p, bytes[rng_below(&one, 3)], n);
    for (size_t k = rng_below(&one, 3); k; k--) p[rng_below(&one, n)] = bytes[rng_below(&one, 3)];
    return n;
}

/* What it becomes, in this test: some have too many ids. */
enum { MIDDLE_MANY = MIDDLE_IDS + 4 };
static size_t middle_ids(const uint8_t *p, size_t n, uint32_t ids[MIDDLE_MANY]) {
    struct rng r = {.key = vocab_hash(p, n)};
    for (size_t i = 0; i < MIDDLE_MANY; i++) ids[i] = (uint32_t)rng_below(&r, 1 << 20);
    return 1 + rng_below(&r, MIDDLE_MANY);
}

/* Stores it: then it is in its cache. */
static void middle_stored(struct caches *c, const uint8_t *p, size_t n, const uint32_t *ids,
                          size_t n_ids) {
    const uint64_t hash = vocab_hash(p, n);
    const bool middle = n_ids <= MIDDLE_IDS;
    uint32_t got[MIDDLE_IDS];
    struct err err = {0};
    check_ok(caches_store(c, hash, p, n, ids, n_ids, &err), &err);
    assert_int_equal(middle_get(&c->middles, p, n, got), middle ? n_ids : 0);
    if (middle) assert_memory_equal(got, ids, n_ids * sizeof *ids);
    assert_int_equal(long_get(&c->longs, hash, p, n) == NULL, middle);
}

/* Piece i of a batch is there, as it should be; or it is not, and then it is stored. */
static bool middle_is_there(struct caches *c, const struct batch *b, size_t i) {
    uint32_t ids[MIDDLE_MANY];
    const size_t n_ids = middle_ids(b->p[i], b->n[i], ids);
    bool is;
    const struct short_slot *s = batch_slot(b, i, &is);
    if (!is) {
        middle_stored(c, b->p[i], b->n[i], ids, n_ids);
        return false;
    }
    assert_int_equal(short_ids(s), n_ids);
    assert_memory_equal(s->id, ids, n_ids * sizeof *ids);
    return true;
}

static void the_middle_cache_tells_all_pieces_apart(void **state) {
    (void)state;
    enum { PAGE = 1 << 16, ROUNDS = 1000 };
    struct rng r = {.key = 36};
    struct caches c = {0};
    struct err err = {0};
    size_t there = 0, all = 0;
    uint8_t *page =
        mmap(NULL, 2 * (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    assert_int_equal(mprotect(page + PAGE, PAGE, PROT_NONE), 0); /* nothing behind is read */
    check_ok(caches_begin(&c, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        struct batch b = {.size = 0};
        struct buf text = {0};
        uint32_t ends[BATCH];
        uint8_t p[MIDDLE_BYTES];
        for (size_t i = 0; i < BATCH; i++) {
            buf_append(&text, p, middle_piece(&r, p), &err);
            ends[i] = (uint32_t)text.n;
        }
        const uint8_t *v = memcpy(page + PAGE - text.n, text.v, text.n);
        batch_fill_at(0)(&c, &b, v, text.n, 0, ends, BATCH);
        batch_find_middles(&c.middles, &b, v + text.n);
        for (size_t i = 0; i < BATCH; i++, all++) there += middle_is_there(&c, &b, i);
        check_ok(caches_grow(&c, &err), &err);
        buf_release(&text);
    }
    assert_in_range(c.middles.bits, 10, 13); /* it grew as long as it did not have most */
    assert_in_range(there, all / 2, all);
    munmap(page, 2 * (size_t)PAGE);
    caches_release(&c);
}

/* What never comes again does not let it grow beyond what the nearest caches hold. */
static void the_middle_cache_stays_small(void **state) {
    (void)state;
    struct caches c = {0};
    struct err err = {0};
    check_ok(caches_begin(&c, &err), &err);
    for (uint32_t i = 0; i < 300000; i++) {
        char p[MIDDLE_BYTES + 1];
        const int n = snprintf(p, sizeof p, "a long word %08u", i);
        check_ok(caches_store(&c, i, (uint8_t *)p, (size_t)n, &i, 1, &err), &err);
        check_ok(caches_grow(&c, &err), &err);
    }
    assert_int_equal(c.middles.bits, 13);
    for (int i = 0; i < 10; i++) { /* and now it does */
        c.middles.misses = (uint64_t)1 << c.middles.bits;
        c.middles.hits = c.middles.misses / 4;
        check_ok(caches_grow(&c, &err), &err);
    }
    assert_int_equal(c.middles.bits, 16);
    caches_release(&c);
}

/* Characters of two and three bytes, what nearly is one, and others, the last one at the very
 * end. */
static void parts_sorted_at_once_as_one_by_one(void **state) {
    (void)state;
    enum { CHARACTERS = 1 << 16, PAGE = 1 << 16 };
    static const char *const all[] = {"\xE4\xBB\x8A", "\xE0\xB8\x81",     "\xEF\xBF\xBD",
                                      "\xE4\xBB\x41", "\xE4\x41\x8A",     "abc",
                                      "\xD0\xB0",     "\xC0\x80",         "\xC3\xA9",
                                      "\xD0\x41",     "\xE0\x80\x80",     "\xE0\x9F\xBF",
                                      "\xE0\xA0\x80", "\xF0\x9F\x98\x80", "\x80\x80\x80",
                                      "\x80\x80",     "\xE4\xBB",         "a"};
    struct rng r = {.key = 35};
    struct wide_char *wide = calloc(CHARACTERS, sizeof *wide);
    uint8_t *page =
        mmap(NULL, 2 * (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    assert_int_equal(mprotect(page + PAGE, PAGE, PROT_NONE), 0); /* nothing behind is read */
    for (size_t i = 0; i < CHARACTERS; i++) wide[i].n = (uint32_t)rng_below(&r, 4);
    for (int round = 0; round < 3000; round++) {
        struct parts want = {.n = 1 + rng_below(&r, BATCH)}, got;
        struct buf text = {0};
        uint64_t want_new, got_new;
        for (size_t i = 0; i < want.n; i++) {
            for (size_t k = 1 + !rng_below(&r, 4); k; k--)
                buf_str(&text, all[rng_below(&r, sizeof all / sizeof *all)], NULL);
            want.edge[i + 1] = (uint32_t)text.n;
        }
        uint8_t *p = memcpy(page + PAGE - text.n, text.v, text.n);
        parts_sort_fn sort;
        size_t k = 0, others;
        while (parts_sort_at((int)k + 1)) k++; /* the last one is plain */
        others = parts_sort_at((int)k)(wide, p, text.n, &want, &want_new);
        for (int i = 0; (sort = parts_sort_at(i)); i++) {
            got = want;
            memset(&got.a, 0xAA, sizeof got.a);
            assert_int_equal(sort(wide, p, text.n, &got, &got_new), others);
            assert_true(got_new == want_new);
            assert_memory_equal(got.a.which, want.a.which, others);
            for (size_t j = 0, next = 0; j < want.n; j++) {
                const bool other = next < others && want.a.which[next] == j;
                next += other;
                if (other) continue; /* what it becomes is not known yet */
                assert_ptr_equal(got.a.ids[j], want.a.ids[j]);
                assert_int_equal(got.a.n_ids[j], want.a.n_ids[j]);
            }
        }
        buf_release(&text);
    }
    munmap(page, 2 * (size_t)PAGE);
    free(wide);
}

/* Ids of the second half of a wide line that look like the text of a piece. */
static void a_wide_line_has_none_that_wait(void **state) {
    (void)state;
    struct short_line line = {0};
    struct short_slot *waits;
    const uint64_t low = 'a' | (uint64_t)'b' << 32, high = 'c' | (uint64_t)'d' << 32;
    const uint32_t ids[] = {1, 2, 3, 4, 'a', 'b', 'c', 'd', 0, 15};
    short_wait(&line, low, high | 15ull << 56, 7);
    waits = short_waits(&line, low, high | 15ull << 56);
    assert_non_null(waits);
    assert_int_equal(waits->id[0], 7);
    assert_null(short_waits(&line, low, high | 14ull << 56));
    short_store(&line, 1, 2ull << 56, ids, sizeof ids / sizeof *ids, 1000);
    assert_null(short_waits(&line, low, high | 15ull << 56));
}

/* Pieces of a text without a pattern, each one of `different`: of letters, of zeros and of bytes of
 * no character, among them one that waits as if it were a long piece. */
static void pieces_to(struct buf *text, struct u32s *ends, struct rng *r, int letters, size_t n,
                      uint64_t different) {
    static const char odd[] = "\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff";
    text->n = ends->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct rng one = {.key = rng_below(r, different)};
        const size_t bytes = 1 + rng_below(&one, rng_below(&one, 30) ? 15 : 40);
        const uint64_t kind = rng_below(&one, 20);
        if (rng_below(r, 50) == 0)
            buf_append(text, odd, sizeof odd - 1, NULL);
        else
            for (size_t k = 0; k < bytes; k++)
                buf_char(text,
                         kind == 0   ? '\0'
                         : kind == 1 ? '\xff'
                                     : (char)('a' + (int)rng_below(&one, (uint64_t)letters)),
                         NULL);
        u32s_push(ends, (uint32_t)text->n, NULL);
    }
}

static void merged_alone(const struct tokenizer *t, const char *text, const struct u32s *ends,
                         struct u32s *want) {
    struct bpe_scratch scratch = {0};
    for (size_t i = 0, from = 0; i < ends->n; from = ends->v[i++]) {
        const uint8_t *p = (const uint8_t *)text + from;
        const size_t n = ends->v[i] - from;
        uint32_t whole = t->ignore_merges ? finder_get(&t->finder, t, p, n) : TOKENIZER_NO_ID;
        if (whole != TOKENIZER_NO_ID)
            u32s_push(want, whole, NULL);
        else
            bpe_merge_whole(t, &scratch, p, n, want, NULL);
    }
    bpe_scratch_release(&scratch);
}

/* More than may wait, more gaps than are kept, and so many pieces that the cache grows. */
static void pieces_that_wait_come_in_their_places(void **state) {
    (void)state;
    static const uint64_t different[] = {1, 2, 20, 60, 70, 500, 60000};
    struct rng r = {.key = 35};
    struct buf text = {0};
    struct u32s ends = {0}, want = {0}, got = {0};
    struct err err = {0};
    for (size_t round = 0; round < 8 * sizeof different / sizeof *different; round++) {
        struct random_vocab v;
        struct encoder *e;
        const uint64_t of = different[round / 8];
        struct tokenizer *t = random_vocabulary(&v, &r, 4, round % 3 == 0, "[\\s\\S]+");
        t->ignore_merges = round % 2;
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 3; i++) {
            pieces_to(&text, &ends, &r, i ? 26 : 4, of > 1000 ? 20000 : 1000, of);
            want.n = got.n = 0;
            merged_alone(t, text.v, &ends, &want);
            check_ok(encode_pieces(e, text.v, text.n, 0, ends.v, ends.n, &got, &err), &err);
            same_ids(&want, &got, "pieces that wait");
        }
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    u32s_release(&ends);
    u32s_release(&want);
    u32s_release(&got);
}

static void letters_to(struct buf *out, struct rng *r, int letters, size_t n) {
    while (n--) buf_char(out, (char)('a' + (int)rng_below(r, (uint64_t)letters)), NULL);
}

/* Letters, and between them what goes alone: pieces too long for a short cache, and pieces of a
 * script without blanks, whose parts are letters again, short ones and long ones. */
static void new_text(struct buf *out, struct rng *r, int letters, size_t n) {
    out->n = 0;
    while (out->n < n) {
        size_t parts = rng_below(r, 10) ? 0 : 1 + rng_below(r, 40);
        letters_to(out, r, letters, parts ? 0 : 1 + rng_below(r, rng_below(r, 40) ? 15 : 70));
        while (parts--) {
            buf_append(out, (char[]){'\xe4', '\xb8', (char)(0x80 + rng_below(r, 64))}, 3, NULL);
            letters_to(out, r, letters, rng_below(r, rng_below(r, 8) ? 12 : 40));
        }
        buf_char(out, ' ', NULL);
    }
}

static void new_pieces_equal_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 32};
    struct buf text = {0};
    struct u32s want = {0}, got = {0};
    struct err err = {0};
    for (int round = 0; round < 80; round++) {
        struct random_vocab v;
        struct encoder *e;
        int letters = 1 + (int)rng_below(&r, 4);
        struct tokenizer *t = random_vocabulary(&v, &r, letters, round % 3 == 0, "\\S+|\\s");
        t->ignore_merges = round % 2;
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 4; i++) {
            new_text(&text, &r, letters, 3000);
            want.n = got.n = 0;
            check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "new pieces");
            got.n = 0; /* and again, from the caches */
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "known pieces");
        }
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    u32s_release(&want);
    u32s_release(&got);
}

/* As if all had been new so far. */
static void be_fresh(struct encoder *e) {
    e->fresh.of_them = e->fresh.of_ids = e->fresh.bytes = 1 << 20;
    e->fresh.total = UINT64_MAX / 2;
    e->fresh.left = SIZE_MAX / 2;
}

/* By ranks, and without a special token, whose bytes no merges make. */
static struct tokenizer *by_ranks(struct random_vocab *v) {
    return merged_by_ranks(random_with(v, "\\S+|\\s", NULL, 0));
}

/* Texts that do without caches, where no token is one by decree; pieces too long for a block; one
 * that goes by the caches in between. */
static void fresh_text_equals_the_slow_twin(void **state) {
    (void)state;
    struct rng r = {.key = 33};
    struct buf text = {0};
    struct u32s want = {0}, got = {0};
    struct err err = {0};
    int went = 0, could = 0, ignoring = 0;
    for (int round = 0; round < 90; round++) {
        struct random_vocab v;
        struct encoder *e;
        int letters = 1 + (int)rng_below(&r, 6);
        random_vocab(&v, &r, 1 + rng_below(&r, round % 2 ? 12 : 500), letters);
        struct tokenizer *t = round % 3 ? by_ranks(&v) : random_tokenizer(&v, "\\S+|\\s");
        t->ignore_merges = round % 2;
        ignoring += t->ignore_merges && t->all_made;
        check_ok(encoder_new(&e, t, &err), &err);
        for (int i = 0; i < 4; i++) {
            new_text(&text, &r, letters, 3000);
            if (i == 1) letters_to(&text, &r, letters, 700);
            want.n = got.n = 0;
            check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
            if (i < 3) be_fresh(e);
            check_ok(encode(e, text.v, text.n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
            same_ids(&want, &got, "fresh text");
        }
        went += e->fresh.trie != NULL;
        could += bpe_rounds_can(t) && (!t->ignore_merges || t->all_made);
        encoder_free(e);
        tokenizer_free(t);
        random_release(&v);
    }
    assert_int_equal(went, could);
    assert_in_range(ignoring, 5, 30);
    buf_release(&text);
    u32s_release(&want);
    u32s_release(&got);
}

struct one_of_many {
    struct encoder *e;
    const struct buf *text;
    const struct u32s *want;
};

static void *encode_twice(void *arg) {
    const struct one_of_many *one = arg;
    struct u32s got = {0};
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        got.n = 0;
        be_fresh(one->e);
        one->e->by_longest.merged = UINT64_MAX / 2;
        check_ok(encode(one->e, one->text->v, one->text->n, TOKENIZER_SPECIAL_NONE, &got, &err),
                 &err);
        same_ids(one->want, &got, "a thread");
    }
    u32s_release(&got);
    return NULL;
}

/* Of threads that want the tree of one tokenizer at once, one makes it; others go on without. */
static void threads_share_a_tree(void **state) {
    (void)state;
    enum { THREADS = 4 };
    struct rng r = {.key = 36};
    struct buf text = {0};
    struct u32s want = {0};
    struct err err = {0};
    for (int round = 0; round < 20; round++) {
        struct random_vocab v;
        struct one_of_many one[THREADS];
        pthread_t thread[THREADS];
        struct tokenizer *t =
            random_vocabulary(&v, &r, 1 + (int)rng_below(&r, 4), round % 2, "\\S+|\\s");
        new_text(&text, &r, 4, 3000);
        want.n = 0;
        check_ok(encode_ref(t, text.v, text.n, &want, &err), &err);
        for (int i = 0; i < THREADS; i++) {
            one[i] = (struct one_of_many){.text = &text, .want = &want};
            check_ok(encoder_new(&one[i].e, t, &err), &err);
        }
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, encode_twice, &one[i]), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(thread[i], NULL);
            encoder_free(one[i].e);
        }
        tokenizer_free(t);
        random_release(&v);
    }
    buf_release(&text);
    u32s_release(&want);
}

/* A vocabulary of the bytes and of one token that no merge makes, in which tokens come first. */
static struct tokenizer *with_decree(struct random_vocab *v, const char *token) {
    struct rng r = {.key = 35};
    random_vocab(v, &r, 0, 1);
    buf_str(&v->bytes, token, NULL);
    u64s_push(&v->start, v->bytes.n, NULL);
    struct tokenizer *t = by_ranks(v);
    t->ignore_merges = true;
    return t;
}

/* Three times, as if all had been new so far or by the caches. */
static void thrice_as_the_twin(const struct tokenizer *t, const struct buf *text, bool fresh,
                               const char *what) {
    struct encoder *e;
    struct u32s want = {0}, got = {0};
    struct err err = {0};
    check_ok(encode_ref(t, text->v, text->n, &want, &err), &err);
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encode(e, " ", 1, TOKENIZER_SPECIAL_NONE, &got, &err), &err); /* not new any more */
    for (int i = 0; i < 3; i++) {
        got.n = 0;
        if (fresh) be_fresh(e);
        check_ok(encode(e, text->v, text->n, TOKENIZER_SPECIAL_NONE, &got, &err), &err);
        same_ids(&want, &got, what);
    }
    encoder_free(e);
    u32s_release(&want);
    u32s_release(&got);
}

static void a_token_by_decree_is_seen_in_fresh_text(void **state) {
    (void)state;
    struct random_vocab v;
    struct tokenizer *t = with_decree(&v, "abcdefghijklmnopq");
    struct buf text = {0};
    assert_false(t->all_made);
    for (int i = 0; i < 50; i++) buf_str(&text, "q abcdefghijklmnopq abcdefghijklmnopqr ", NULL);
    thrice_as_the_twin(t, &text, true, "a token by decree");
    tokenizer_free(t);
    random_release(&v);
    buf_release(&text);
}

/* Its bytes, alone, and as a part of a sentence, where merging alone counts. Two are new at first,
 * too few to be merged side by side. */
static void a_token_by_decree_is_none_as_a_part(void **state) {
    (void)state;
    static const char token[] = "\xe4\xb8\xad"
                                "abcdefghijklmnopq";
    struct random_vocab v;
    struct tokenizer *t = with_decree(&v, token);
    struct buf text = {0};
    for (int i = 0; i < 50; i++) {
        if (i % 3) buf_str(&text, "\xe4\xb8\xae", NULL);
        buf_str(&text, token, NULL);
        buf_char(&text, ' ', NULL);
    }
    thrice_as_the_twin(t, &text, false, "a token by decree, whole or not");
    tokenizer_free(t);
    random_release(&v);
    buf_release(&text);
}

/* Does a new encoder want the tree of tokens for a text? */
static bool wants_the_tree(const struct tokenizer *t, const char *text, size_t n) {
    struct encoder *e;
    struct u32s ids = {0};
    struct err err = {0};
    check_ok(encoder_new(&e, t, &err), &err);
    check_ok(encode(e, text, n, TOKENIZER_SPECIAL_NONE, &ids, &err), &err);
    const bool wants = e->fresh.trie != NULL;
    encoder_free(e);
    u32s_release(&ids);
    return wants;
}

/* Random letters get there by themselves, once there have been enough, and words do not. */
static void what_is_new_all_over_does_without_caches(void **state) {
    (void)state;
    struct rng r = {.key = 34};
    struct buf text = {0};
    struct random_vocab v;
    random_vocab(&v, &r, 40, 6);
    struct tokenizer *t = random_tokenizer(&v, "\\S+|\\s");
    while (text.n < 3 << 20) {
        letters_to(&text, &r, 26, 9);
        buf_char(&text, ' ', NULL);
    }
    assert_false(wants_the_tree(t, text.v, 1 << 17));
    assert_int_equal(wants_the_tree(t, text.v, text.n), bpe_rounds_can(t));
    for (size_t at = 1 << 10; at < text.n; at <<= 1) /* a kilobyte, over and over */
        memcpy(text.v + at, text.v, text.n - at < at ? text.n - at : at);
    assert_false(wants_the_tree(t, text.v, text.n));
    tokenizer_free(t);
    random_release(&v);
    buf_release(&text);
}

/* Half of the bytes are words that come again, half sentences of characters that do: such a text is
 * faster by the caches, which it fills. */
static void new_sentences_of_known_characters_are_not_new(void **state) {
    (void)state;
    struct rng r = {.key = 37};
    struct buf text = {0};
    struct random_vocab v;
    random_vocab(&v, &r, 40, 6);
    struct tokenizer *t = random_tokenizer(&v, "\\S+|\\s");
    while (text.n < 6 << 20) {
        struct rng word = {.key = rng_below(&r, 1000)};
        for (int k = 0; k < 4; k++) buf_char(&text, (char)('a' + (int)rng_below(&word, 26)), NULL);
        if (rng_below(&r, 8) == 0)
            for (int k = 0; k < 12; k++) {
                const char c[] = {'\xE4', (char)(0xB8 + rng_below(&r, 4)), '\x80'};
                buf_append(&text, c, sizeof c, NULL);
            }
        buf_char(&text, ' ', NULL);
    }
    assert_false(wants_the_tree(t, text.v, text.n));
    tokenizer_free(t);
    random_release(&v);
    buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_equals_the_slow_twin),
        cmocka_unit_test(keys_equal_those_made_one_by_one),
        cmocka_unit_test(the_middle_cache_tells_all_pieces_apart),
        cmocka_unit_test(the_middle_cache_stays_small),
        cmocka_unit_test(parts_sorted_at_once_as_one_by_one),
        cmocka_unit_test(a_wide_line_has_none_that_wait),
        cmocka_unit_test(pieces_that_wait_come_in_their_places),
        cmocka_unit_test(new_pieces_equal_the_slow_twin),
        cmocka_unit_test(fresh_text_equals_the_slow_twin),
        cmocka_unit_test(threads_share_a_tree),
        cmocka_unit_test(a_token_by_decree_is_seen_in_fresh_text),
        cmocka_unit_test(a_token_by_decree_is_none_as_a_part),
        cmocka_unit_test(what_is_new_all_over_does_without_caches),
        cmocka_unit_test(new_sentences_of_known_characters_are_not_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
