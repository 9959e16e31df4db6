/* Short pieces merged side by side, beside the slow twin: each alone, and texts all of whose pieces
 * are new. */
#include "tests/unit/tokenizer/encode_help.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_equals_the_slow_twin),
        cmocka_unit_test(new_pieces_equal_the_slow_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
