/* Ids drawn on a device are those drawn on the host, whatever is asked for: the same logits and the
 * same numbers to draw with, in both. By the CPU's threads, under the
 * emulator, and on a GPU. */
#include "golden_help.h"
#include "train/generate.h"

const struct backend *op_device(void);

enum { ROWS = 3, ROUNDS = 7, MOST = 5003 };

/* Logits of a kind: spread out, close together with many equals, nearly one certain, with some that
 * are impossible and zeros of either sign, half of them the largest. */
static void make_logits(float *z, int V, int kind, struct rng *rng) {
    for (int v = 0; v < V; v++) {
        double x = rng_normal(rng);
        z[v] = kind == 0 ? (float)(3 * x) : (float)(floor(4 * x) / 4);
        if (kind == 2) z[v] = v == V / 3 ? 30 : (float)x;
        if (kind == 3 && v % 3 == 0) z[v] = -INFINITY;
        if (kind == 3 && v % 5 == 0) z[v] = v % 2 ? 0.0f : -0.0f;
        if (kind == 4) z[v] = (float)(v % 2);
    }
}

static void compare(struct device *d, const struct sampling *how, int V, int kind) {
    const struct backend *ops = op_device();
    struct rng numbers = {9, (uint64_t)V * 10 + (uint64_t)kind, 0};
    float *z = mem_array((size_t)ROWS * MOST, sizeof *z), *probs = mem_array(MOST, sizeof *probs);
    double *work = mem_array(2 * MOST, sizeof *work);
    void *z_there = NULL, *ids_there = NULL, *unit_there = NULL;
    struct err err = {0};
    check_ok(ops->alloc(d, &z_there, (size_t)ROWS * MOST * sizeof *z, &err), &err);
    check_ok(ops->alloc(d, &ids_there, ROWS * sizeof(int32_t), &err), &err);
    check_ok(ops->alloc(d, &unit_there, ROWS * sizeof(double), &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        double unit[ROWS];
        int32_t got[ROWS];
        uint32_t want[ROWS];
        struct rng draws = {5, (uint64_t)round, 0};
        for (int r = 0; r < ROWS; r++) {
            make_logits(z + (size_t)r * (size_t)V, V, kind, &numbers);
            struct rng copy = draws;
            unit[r] = rng_unit(&copy);
        }
        ops->upload(d, z_there, z, (size_t)ROWS * (size_t)V * sizeof *z);
        ops->upload(d, unit_there, unit, sizeof unit);
        ops->sample(d, ids_there, z_there, unit_there, how, ROWS, V);
        ops->download(d, got, ids_there, sizeof got);
        check_ok(ops->sync(d, &err), &err);
        for (int r = 0; r < ROWS; r++) {
            sampling_warp(how, z + (size_t)r * (size_t)V, V, probs, work);
            want[r] = sampling_draw(probs, V, how->greedy ? 0 : unit[r]);
            if ((uint32_t)got[r] != want[r])
                fail_msg("V %d, kind %d, round %d, row %d: %d, not %u (top-k %d, top-p %g, min-p "
                         "%g, temperature %g)",
                         V, kind, round, r, got[r], want[r], how->top_k, how->top_p, how->min_p,
                         how->temperature);
        }
    }
    ops->free(d, z_there);
    ops->free(d, ids_there);
    ops->free(d, unit_there);
    free(z);
    free(probs);
    free(work);
}

static void the_same_ids(void **state) {
    static const struct sampling hows[] = {
        {.temperature = 1, .top_p = 1},
        {.greedy = true, .temperature = 1, .top_p = 1},
        {.temperature = 0.7f, .top_p = 1, .top_k = 50},
        {.temperature = 1.3f, .top_p = 0.95f},
        {.temperature = 1, .top_p = 0.3f},
        {.temperature = 1, .top_p = 0},
        {.temperature = 1, .top_p = 1, .min_p = 0.05f},
        {.temperature = 0.8f, .top_p = 0.9f, .top_k = 7, .min_p = 0.1f},
        {.temperature = 1, .top_p = 1, .top_k = 1},
    };
    static const int sizes[] = {1, 7, 515, MOST};
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 2};
    struct device *d;
    struct err err = {0};
    (void)state;
    check_ok(op_device()->open(&d, &opts, &err), &err);
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (int kind = 0; kind < 5; kind++)
                if (sizes[k] > 1 || kind != 3) compare(d, &hows[i], sizes[k], kind);
    op_device()->close(d);
}

/* A row with NaN or an infinite logit has no id; its neighbours have theirs. */
static void no_id_where_a_logit_is_not_finite(void **state) {
    enum { V = 700 };
    const struct backend *ops = op_device();
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 2};
    struct device *d;
    struct err err = {0};
    void *z_there = NULL, *ids_there = NULL, *unit_there = NULL;
    static float z[ROWS * V];
    const double unit[ROWS] = {0.5, 0.5, 0.5};
    (void)state;
    check_ok(op_device()->open(&d, &opts, &err), &err);
    check_ok(ops->alloc(d, &z_there, sizeof z, &err), &err);
    check_ok(ops->alloc(d, &ids_there, ROWS * sizeof(int32_t), &err), &err);
    check_ok(ops->alloc(d, &unit_there, sizeof unit, &err), &err);
    for (int greedy = 0; greedy < 2; greedy++) {
        struct sampling how = {.greedy = greedy, .temperature = 0.7f, .top_p = 0.9f, .top_k = 9};
        int32_t got[ROWS];
        for (int i = 0; i < ROWS * V; i++) z[i] = (float)(i % 31);
        z[V - 1] = NAN, z[2 * V] = INFINITY;
        ops->upload(d, z_there, z, sizeof z);
        ops->upload(d, unit_there, unit, sizeof unit);
        ops->sample(d, ids_there, z_there, unit_there, &how, ROWS, V);
        ops->download(d, got, ids_there, sizeof got);
        check_ok(ops->sync(d, &err), &err);
        assert_int_equal(got[0], -1);
        assert_true(got[1] >= 0 && got[1] < V);
        assert_int_equal(got[2], -1);
    }
    ops->free(d, z_there);
    ops->free(d, ids_there);
    ops->free(d, unit_there);
    op_device()->close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_ids),
                                       cmocka_unit_test(no_id_where_a_logit_is_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
