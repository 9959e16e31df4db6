/* The order of windows: the permutation of docs/order.md, and what lies in a window. */
#include "run_help.h"
#include "train/loader.h"
#include "train/op.h"

static void keys_are_those_of_the_document(void **state) {
    (void)state;
    assert_int_equal(order_key(1, 0), 0x50373E798C791754);
    assert_int_equal(order_key(1, 1), 0xA27563DB8792C5C9);
    assert_int_equal(order_key(0, 0), 0x28BC011D4D2B824D);
    assert_int_equal(order_key(UINT64_MAX, 7), 0x27E0D4CDD4B151B6);
}

static void permutations_are_those_of_the_document(void **state) {
    static const struct {
        uint64_t n, want[10];
    } vectors[] = {
        {2, {1, 0}},
        {10, {9, 5, 4, 6, 1, 7, 3, 0, 2, 8}},
        {16, {9, 5, 10, 6, 14, 15, 3, 11, 2, 8}},
        {1000, {922, 662, 830, 241, 874, 892, 29, 642, 741, 862}},
        {4294967297,
         {2354442317, 779534312, 3898022503, 3780872794, 2445312910, 237365535, 989813333,
          610057527, 3405038399, 1888237631}},
        {1000000000000,
         {333212432280, 508604051585, 335975995139, 548749056028, 815281794288, 338613807982,
          565002232501, 241924624512, 51373455419, 693331310577}},
    };
    (void)state;
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++)
        for (uint64_t i = 0; i < 10 && i < vectors[v].n; i++)
            assert_int_equal(permute(i, vectors[v].n, 0x50373E798C791754), vectors[v].want[i]);
    assert_int_equal(permute(0, 1, 5), 0);
    assert_int_equal(permute(0, 0, 5), 0);
    assert_true(permute(UINT64_MAX - 1, UINT64_MAX, 5) < UINT64_MAX); /* 64 bits: no shift by 64 */
}

static void every_number_comes_once(void **state) {
    char seen[3000];
    (void)state;
    for (uint64_t n = 1; n < 3000; n = n < 70 ? n + 1 : n * 3 / 2)
        for (uint64_t key = 0; key < 3; key++) {
            memset(seen, 0, sizeof seen);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t w = permute(i, n, key * 0x9E3779B97F4A7C15);
                if (w >= n || seen[w]++) fail_msg("%" PRIu64 " of %" PRIu64 " twice", w, n);
            }
        }
}

/* Shards of 10, 3 and 5 tokens: shard s holds 100 s, 100 s + 1, … */
static struct memory_set three(uint16_t room[3][16]) {
    static const uint64_t sizes[3] = {10, 3, 5};
    struct memory_set m = {0};
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < 16; i++) room[s][i] = (uint16_t)(100 * s + i);
        memory_add(&m, room[s], sizes[s]);
    }
    m.set.v = NULL; /* the caller's copy has another address */
    return m;
}

static void assert_window(const int32_t *x, const int32_t *y, const int32_t *want_x,
                          const int32_t *want_y, int T) {
    for (int t = 0; t < T; t++)
        if (x[t] != want_x[t] || y[t] != want_y[t])
            fail_msg("at %d: %d -> %d, not %d -> %d", t, x[t], y[t], want_x[t], want_y[t]);
}

enum { NO = LABEL_IGNORED };

static void gpt_windows(void **state) {
    uint16_t room[3][16];
    struct memory_set m = three(room);
    struct loader l;
    struct err err = {0};
    int32_t x[4], y[4];
    (void)state;
    m.set.v = m.shards;
    check_ok(loader_open(&l, &m.set, 4, WINDOW_GPT, false, 1, false, &err), &err);
    assert_int_equal(l.n, 3); /* 10 tokens: 2 windows, 1 target left; 3: none, 2 left; 5: 1 */
    assert_int_equal(l.targets, 12);
    assert_int_equal(l.tail_tokens, 3);
    check_ok(loader_get(&l, 1, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){4, 5, 6, 7}, (int32_t[]){5, 6, 7, 8}, 4);
    check_ok(loader_get(&l, 2 + 3, x, y, &err),
             &err); /* second epoch, over the shard that has no window */
    assert_window(x, y, (int32_t[]){200, 201, 202, 203}, (int32_t[]){201, 202, 203, 204}, 4);
    assert_int_equal(loader_eval_windows(&l), 5);
    check_ok(loader_eval_get(&l, 2, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){8, 9, 0, 0}, (int32_t[]){9, NO, NO, NO}, 4);
    check_ok(loader_eval_get(&l, 3, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){100, 101, 102, 0}, (int32_t[]){101, 102, NO, NO}, 4);
    loader_close(&l);
}

static void hf_windows(void **state) {
    uint16_t room[3][16];
    struct memory_set m = three(room);
    struct loader l;
    struct err err = {0};
    int32_t x[4], y[4];
    (void)state;
    m.set.v = m.shards;
    check_ok(loader_open(&l, &m.set, 4, WINDOW_HF, false, 1, false, &err), &err);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.targets, 9);
    assert_int_equal(l.tail_tokens, 1 + 2 + 0); /* a tail of one token has no target */
    check_ok(loader_get(&l, 1, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){4, 5, 6, 7}, (int32_t[]){5, 6, 7, NO}, 4);
    assert_int_equal(loader_eval_windows(&l), 5);
    check_ok(loader_eval_get(&l, 2, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){8, 9, 0, 0}, (int32_t[]){9, NO, NO, NO}, 4);
    check_ok(loader_eval_get(&l, 4, x, y, &err), &err);
    assert_window(x, y, (int32_t[]){200, 201, 202, 203}, (int32_t[]){201, 202, 203, NO}, 4);
    loader_close(&l);
}

/* nanoGPT draws offsets at random, build-nanogpt lost the tokens at a shard's end (#105, #109). */
static void every_target_is_evaluated_once(void **state) {
    uint16_t room[3][16];
    struct memory_set m = three(room);
    struct err err = {0};
    int32_t x[16], y[16];
    (void)state;
    m.set.v = m.shards;
    for (int T = 1; T < 16; T++) {
        struct loader l;
        int seen[300] = {0};
        check_ok(loader_open(&l, &m.set, T, WINDOW_GPT, false, 1, true, &err), &err);
        for (uint64_t i = 0; i < loader_eval_windows(&l); i++) {
            check_ok(loader_eval_get(&l, i, x, y, &err), &err);
            for (int t = 0; t < T; t++)
                if (y[t] != NO) seen[y[t]]++;
        }
        for (int id = 0; id < 300; id++) {
            int s = id / 100, i = id % 100;
            assert_int_equal(seen[id], i > 0 && i < (int)m.shards[s].n);
        }
        loader_close(&l);
    }
}

static void an_epoch_takes_each_window_once(void **state) {
    uint16_t room[64];
    struct memory_set m = {0};
    struct loader l;
    struct err err = {0};
    int32_t x[2], y[2];
    bool same = true;
    (void)state;
    for (int i = 0; i < 64; i++) room[i] = (uint16_t)i;
    memory_add(&m, room, 61);
    check_ok(loader_open(&l, &m.set, 2, WINDOW_GPT, true, 9, false, &err), &err);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int seen[64] = {0};
        for (uint64_t i = 0; i < l.n; i++) {
            check_ok(loader_get(&l, epoch * l.n + i, x, y, &err), &err);
            seen[x[0]]++;
            int32_t first = x[0];
            check_ok(loader_get(&l, i, x, y, &err), &err);
            same &= epoch == 0 || x[0] == first;
        }
        for (int i = 0; i < 60; i++) assert_int_equal(seen[i], i % 2 == 0);
    }
    assert_false(same); /* each epoch has its own order */
    loader_close(&l);
}

/* floor sums: after p positions a set of share q has had floor(p q) of them, or one of the chain's
 * roundings more or less. */
static void weights_are_kept_everywhere(void **state) {
    const double weights[3] = {0.7, 2, 0.3};
    struct mix m;
    struct err err = {0};
    uint64_t seen[3] = {0}, at;
    (void)state;
    check_ok(mix_make(&m, weights, 3, &err), &err);
    for (uint64_t p = 0; p < 10000; p++) {
        size_t k = mix_at(&m, p, &at);
        assert_int_equal(at, seen[k]++); /* each set's positions in order, none left out */
        for (size_t j = 0; j < 3; j++)
            assert_true(fabs((double)seen[j] - (double)(p + 1) * weights[j] / 3) < 2);
    }
    check_fails(mix_make(&m, (double[]){1, 0}, 2, &err), ERR_USAGE, &err, "above 0");
    check_fails(mix_make(&m, weights, 0, &err), ERR_USAGE, &err, "0 weighted sets");
    check_ok(mix_make(&m, (double[]){1e-9, 1}, 2, &err), &err);
    assert_int_equal(mix_at(&m, UINT64_C(1) << 60, &at), 1);
}

/* The vectors of docs/order.md. */
static void mixes_are_those_of_the_document(void **state) {
    struct mix m;
    struct err err = {0};
    char got[33] = "";
    uint64_t at;
    (void)state;
    check_ok(mix_make(&m, (double[]){1, 2, 1}, 3, &err), &err);
    assert_int_equal(m.q[0], 1073741824);
    assert_int_equal(m.q[1], 2863311531);
    assert_int_equal(m.q[2], 4294967296);
    for (uint64_t p = 0; p < 32; p++) got[p] = (char)('0' + mix_at(&m, p, &at));
    assert_string_equal(got, "21102110211021102110211021102110");
    assert_int_equal(mix_at(&m, 1000000000001, &at), 1);
    assert_int_equal(at, 500000000058);
}

static void sets_have_their_own_epochs(void **state) {
    uint16_t room[2][64];
    struct memory_set m = {0};
    struct loader l;
    struct err err = {0};
    int32_t x[2], y[2];
    int seen[2][64] = {{0}};
    size_t first[3] = {0, 1, 2};
    (void)state;
    for (int i = 0; i < 64; i++) room[0][i] = (uint16_t)i, room[1][i] = (uint16_t)(i + 100);
    memory_add(&m, room[0], 61);
    memory_add(&m, room[1], 11);
    m.set.path_first = first;
    m.set.n_paths = 2;
    check_ok(loader_open(&l, &m.set, 2, WINDOW_GPT, true, 9, false, &err), &err);
    check_fails(loader_weigh(&l, (double[]){1, 2, 3}, 3, &err), ERR_USAGE, &err, "3 weights for 2");
    check_ok(loader_weigh(&l, (double[]){1, 1}, 2, &err), &err);
    for (uint64_t p = 0; p < 60; p++) { /* 30 windows of each: one epoch, and six */
        check_ok(loader_get(&l, p, x, y, &err), &err);
        seen[x[0] >= 100][x[0] % 100]++;
    }
    for (int i = 0; i < 60; i += 2) assert_int_equal(seen[0][i], 1);
    for (int i = 0; i < 10; i += 2) assert_int_equal(seen[1][i], 6);
    loader_close(&l);
}

static size_t resident_pages(void) {
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
    fclose(f);
    return resident;
}

/* A mapped shard was counted as memory of the process, page by page, until the whole of it was. */
static void memory_does_not_grow_with_the_shards(void **state) {
    enum { T = 1024, TOKENS = 64 << 20 };
    static int32_t x[T], y[T];
    const int32_t head[3] = {20240520, 1, TOKENS};
    struct shard_set set;
    struct loader l;
    struct err err = {0};
    char *dir = tmp_make();
    char path[256];
    const char *one = path;
    (void)state;
    snprintf(path, sizeof path, "%s/train.bin", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(head, 1, sizeof head, f), sizeof head);
    fclose(f);
    assert_int_equal(truncate(path, 1024 + 2 * (off_t)TOKENS), 0); /* a hole: zeros */
    check_ok(shard_set_open(&set, &one, 1, "train", &err), &err);
    check_ok(loader_open(&l, &set, T, WINDOW_GPT, true, 1, false, &err), &err);
    check_ok(loader_get(&l, 0, x, y, &err), &err);
    size_t before = resident_pages();
    for (uint64_t p = 0; p < l.n; p += 4) check_ok(loader_get(&l, p, x, y, &err), &err);
    assert_true(resident_pages() < before + 1024); /* 4 MiB, of 128 */
    assert_int_equal(truncate(path, 4096), 0);
    int rc = 0;
    for (uint64_t p = 0; rc == 0 && p < 8; p++) rc = loader_get(&l, p, x, y, &err);
    check_fails(rc, ERR_CORRUPT, &err, "it must not change while it is read");
    loader_close(&l);
    shard_set_close(&set);
    tmp_remove(dir);
}

static void ranks_share_a_step(void **state) {
    (void)state;
    for (uint64_t n = 0; n < 40; n++)
        for (int world = 1; world < 9; world++) {
            uint64_t next = 0, first, mine;
            for (int rank = 0; rank < world; rank++) {
                loader_share(n, rank, world, &first, &mine);
                assert_int_equal(first, next);
                assert_true(mine == n / (uint64_t)world || mine == n / (uint64_t)world + 1);
                next += mine;
            }
            assert_int_equal(next, n);
        }
}

static void too_few_tokens_are_named(void **state) {
    uint16_t room[8] = {0};
    struct memory_set m = {0};
    struct loader l;
    struct err err = {0};
    (void)state;
    memory_add(&m, room, 4);
    check_fails(loader_open(&l, &m.set, 4, WINDOW_GPT, true, 1, false, &err), ERR_DATA, &err,
                "4 tokens do not fill one window of 5");
    check_ok(loader_open(&l, &m.set, 4, WINDOW_GPT, false, 1, true, &err), &err);
    assert_int_equal(loader_eval_windows(&l), 1);
    loader_close(&l);
}

/* Every token but those with a 7 in their last two digits is a target. */
static void masks_take_labels_out(void **state) {
    enum { N = 4000, LONG = 2500 };
    static const int lengths[] = {2, 3, 7, 8, 9, 64, 1023, 1024, 1025, LONG};
    static uint16_t room[N];
    static uint8_t mask[N / 8];
    static int32_t x[LONG], y[LONG];
    struct memory_set m = {0};
    struct loader l;
    struct err err = {0};
    (void)state;
    for (int i = 0; i < N; i++) {
        room[i] = (uint16_t)i;
        mask[i / 8] |= (uint8_t)((i % 10 != 7 && i / 10 % 10 != 7) << i % 8);
    }
    memory_add_masked(&m, room, mask, N);
    for (int k = 0; k < 2 * (int)(sizeof lengths / sizeof *lengths); k++) {
        enum window window = k % 2 ? WINDOW_HF : WINDOW_GPT;
        int T = lengths[k / 2];
        check_ok(loader_open(&l, &m.set, T, window, false, 1, false, &err), &err);
        for (uint64_t i = 0; i < loader_eval_windows(&l); i++) {
            check_ok(loader_eval_get(&l, i, x, y, &err), &err);
            for (int t = 0; t < T; t++) {
                int next = (int)i * T + t + 1;
                bool in = next < N && (window == WINDOW_GPT || t < T - 1);
                bool target = in && next % 10 != 7 && next / 10 % 10 != 7;
                assert_int_equal(y[t], target ? next : LABEL_IGNORED);
            }
        }
        loader_close(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_those_of_the_document),
        cmocka_unit_test(permutations_are_those_of_the_document),
        cmocka_unit_test(every_number_comes_once),
        cmocka_unit_test(gpt_windows),
        cmocka_unit_test(hf_windows),
        cmocka_unit_test(masks_take_labels_out),
        cmocka_unit_test(every_target_is_evaluated_once),
        cmocka_unit_test(an_epoch_takes_each_window_once),
        cmocka_unit_test(weights_are_kept_everywhere),
        cmocka_unit_test(mixes_are_those_of_the_document),
        cmocka_unit_test(sets_have_their_own_epochs),
        cmocka_unit_test(memory_does_not_grow_with_the_shards),
        cmocka_unit_test(ranks_share_a_step),
        cmocka_unit_test(too_few_tokens_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
