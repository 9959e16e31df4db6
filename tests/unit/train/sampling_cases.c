/* Logits processors and warpers against transformers' own, over the cases of a file: those of
 * tests/golden/sampling, or what its make.py has made of the transformers at hand.
 * Usage: sampling_cases [CASES] */
#include "golden_help.h"
#include "train/generate.h"

enum { MOST = 1024, BIASES = 64, BIAS_IDS = 8 };
static const char *path = GOLDEN "/sampling/cases.json";

static size_t get_ids(const cJSON *list, uint32_t *ret, size_t room) {
    size_t n = 0;
    for (const cJSON *x = list ? list->child : NULL; x; x = x->next) {
        assert_true(n < room);
        ret[n++] = (uint32_t)x->valuedouble;
    }
    return n;
}

/* The lists of one case's rules. */
struct lists {
    struct id_bias bias[BIASES];
    uint32_t bias_ids[BIASES][BIAS_IDS], suppress[MOST], begin[MOST], ends[8];
};

static void add_bias(struct lists *l, size_t *n, const cJSON *ids, float bias) {
    assert_true(*n < BIASES);
    size_t length = get_ids(ids, l->bias_ids[*n], BIAS_IDS);
    l->bias[*n] = (struct id_bias){l->bias_ids[*n], length, bias};
    (*n)++;
}

/* transformers leaves these out of the bad words. */
static bool ends_a_text(const cJSON *word, const cJSON *eos) {
    bool ends = false;
    for (const cJSON *e = eos->child; e; e = e->next)
        ends = ends || (!word->child->next && word->child->valuedouble == e->valuedouble);
    return ends;
}

static void get_rules(struct sampling_rules *r, struct lists *l, const cJSON *config,
                      const cJSON *eos) {
    struct err err = {0};
    double penalty = 0;
    *r = (struct sampling_rules){.bias = l->bias, .ends = l->ends};
    r->suppress = l->suppress, r->begin_suppress = l->begin;
    const cJSON *biases = json_get(config, "sequence_bias"),
                *bad = json_get(config, "bad_words_ids");
    for (const cJSON *x = biases ? biases->child : NULL; x; x = x->next)
        add_bias(l, &r->n_bias, x->child, (float)x->child->next->valuedouble);
    for (const cJSON *x = bad ? bad->child : NULL; x; x = x->next)
        if (!ends_a_text(x, eos)) add_bias(l, &r->n_bias, x, -INFINITY);
    r->n_ends = get_ids(eos, l->ends, 8);
    r->n_suppress = get_ids(json_get(config, "suppress_tokens"), l->suppress, MOST);
    r->n_begin_suppress = get_ids(json_get(config, "begin_suppress_tokens"), l->begin, MOST);
    json_f64(config, "repetition_penalty", &penalty, path, &err);
    r->repetition_penalty = (float)penalty;
    json_u64(config, "no_repeat_ngram_size", 1000, &r->no_repeat_ngram_size, path, &err);
    json_u64(config, "min_length", 1000, &r->min_length, path, &err);
    json_u64(config, "min_new_tokens", 1000, &r->min_new, path, &err);
    assert_int_equal(err.code, 0);
}

static void get_sampling(struct sampling *s, const cJSON *config) {
    static const char *const names[] = {"temperature", "top_k",          "top_p",     "min_p",
                                        "typical_p",   "epsilon_cutoff", "eta_cutoff"};
    double v[] = {1, 0, 1, 0, 0, 0, 0};
    struct err err = {0};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) json_f64(config, names[i], &v[i], path, &err);
    assert_int_equal(err.code, 0);
    *s = (struct sampling){.temperature = (float)v[0],
                           .top_k = (int)v[1],
                           .top_p = (float)v[2],
                           .min_p = (float)v[3],
                           .typical_p = (float)v[4],
                           .epsilon_cutoff = (float)v[5],
                           .eta_cutoff = (float)v[6]};
}

static void check(const cJSON *c, int V, const cJSON *eos) {
    static struct lists lists;
    static double work[2 * MOST];
    static float logits[MOST], probs[MOST];
    static uint32_t ids[MOST];
    const cJSON *config = json_get(c, "config"), *x = json_get(c, "scores")->child;
    const cJSON *want = json_get(c, "probs")->child;
    size_t n = get_ids(json_get(c, "ids"), ids, MOST);
    size_t n_prompt = (size_t)json_get(c, "n_prompt")->valuedouble;
    struct sampling_rules rules;
    struct sampling s;
    char *shown = cJSON_PrintUnformatted(config);
    assert_non_null(shown);
    get_rules(&rules, &lists, config, eos);
    get_sampling(&s, config);
    for (int v = 0; v < V; v++, x = x->next) logits[v] = (float)x->valuedouble;
    bool any = sampling_obey(&rules, logits, V, ids, n, n_prompt, probs);
    if (any != (want != NULL)) fail_msg("%s: %s", shown, any ? "some are left" : "none is left");
    if (any) sampling_warp(&s, logits, V, probs, work);
    for (int v = 0; any && v < V; v++, want = want->next) {
        double p = want->valuedouble;
        if ((probs[v] == 0) != (p == 0) || fabs((double)probs[v] - p) > 2e-6)
            fail_msg("%s: id %d has %.9g, not %.9g", shown, v, (double)probs[v], p);
    }
    free(shown);
}

static void as_transformers(void **state) {
    struct err err = {0};
    cJSON *tree = NULL;
    int n = 0;
    (void)state;
    check_ok(json_load(&tree, path, &err), &err);
    const cJSON *V = json_get(tree, "V"), *cases = json_get(tree, "cases");
    assert_true(V && V->valuedouble <= MOST && cases && cases->child);
    for (const cJSON *c = cases->child; c; c = c->next, n++)
        check(c, (int)V->valuedouble, json_get(tree, "eos"));
    assert_true(n > 20);
    cJSON_Delete(tree);
}

/* Of equally likely ids each is as typical as another: all stay, whatever the mass. */
static void equals_are_equally_typical(void **state) {
    struct sampling s = {.temperature = 1, .top_p = 1, .typical_p = 0.1f};
    float z[7] = {1, 1, 1, 1, 1, 1, 1}, probs[7];
    double work[14];
    (void)state;
    sampling_warp(&s, z, 7, probs, work);
    for (int v = 0; v < 7; v++) assert_true(fabsf(probs[v] - 1.0f / 7) < 1e-6f);
}

static bool allows(const struct sampling_rules *r, uint32_t id, const uint32_t *ids, size_t n,
                   size_t n_prompt) {
    float z[8] = {0}, work[8];
    assert_true(sampling_obey(r, z, 8, ids, n, n_prompt, work));
    return z[id] == 0;
}

/* Where each rule begins and ends. */
static void the_edges_of_rules(void **state) {
    static const uint32_t ids[] = {1, 2, 1, 3, 3}, end = 7;
    struct sampling_rules pairs = {.no_repeat_ngram_size = 2};
    struct sampling_rules whole = {.min_length = 4, .ends = &end, .n_ends = 1};
    struct sampling_rules fresh = {.min_new = 2, .ends = &end, .n_ends = 1};
    (void)state;
    assert_true(allows(&pairs, 1, ids, 1, 1) && !allows(&pairs, 2, ids, 3, 1));
    assert_true(!allows(&pairs, 3, ids, 5, 1) && allows(&pairs, 1, ids, 5, 1)); /* 3 3 overlaps */
    assert_true(!allows(&whole, 7, ids, 3, 1) && allows(&whole, 7, ids, 4, 4));
    assert_true(!allows(&fresh, 7, ids, 5, 4) && allows(&fresh, 7, ids, 5, 3));
}

/* The largest, and which one where several are: against one look after the other. */
static void the_first_of_the_largest(void **state) {
    enum { V = 200 };
    float z[V];
    struct rng rng = {7, 0, 0};
    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        int n = 1 + (int)(rng_unit(&rng) * V), first = 0, values = turn % 3 ? 4 : 100000;
        for (int i = 0; i < n; i++) {
            z[i] = (float)(int)(rng_unit(&rng) * values) - 50000;
            if (turn % 2 && rng_unit(&rng) < 0.5) z[i] = -INFINITY;
            if (z[i] > z[first]) first = i;
        }
        assert_int_equal(sampling_largest(z, n), first);
        assert_true(sampling_possible(z, n));
        z[n / 2] = turn % 2 ? NAN : INFINITY;
        assert_false(sampling_possible(z, n));
    }
}

int main(int argc, char **argv) {
    if (argc > 1) path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers),
        cmocka_unit_test(the_edges_of_rules),
        cmocka_unit_test(equals_are_equally_typical),
        cmocka_unit_test(the_first_of_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
