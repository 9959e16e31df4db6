/* The trainer against transformers' Trainer: rates, losses, norms, evaluations, weights, files. */
#include "run_help.h"
#include "base/json.h"
#include "train/metrics.h"
#include "train/safetensors.h"
#include "train/trainer.h"

#define GOLDEN_RUN GOLDEN "/trainer-run"
enum { T = 32 };

/* A list of numbers as tokens; caller frees. */
static uint16_t *tokens_of(const cJSON *list, uint64_t *ret_n) {
    uint64_t n = (uint64_t)cJSON_GetArraySize(list), i = 0;
    uint16_t *v = mem_array(n, sizeof *v);
    const cJSON *x;
    cJSON_ArrayForEach(x, list) v[i++] = (uint16_t)x->valueint;
    *ret_n = n;
    return v;
}

/* "0110…" as a shard's mask; NULL: none. Caller frees. */
static uint8_t *mask_of(const cJSON *text) {
    size_t n = text ? strlen(text->valuestring) : 0;
    uint8_t *v = text ? mem_array(n / 8 + 1, 1) : NULL;
    for (size_t i = 0; i < n; i++) v[i / 8] |= (uint8_t)((text->valuestring[i] == '1') << i % 8);
    return v;
}

/* `masked` NULL: every token is a target. */
static void train(const char *run, const cJSON *golden, const cJSON *masked, uint64_t steps) {
    uint64_t n, n_eval;
    uint16_t *a = tokens_of(json_get(golden, "train"), &n),
             *b = tokens_of(json_get(golden, "eval"), &n_eval);
    uint8_t *train_mask = mask_of(json_get(masked, "train_mask")),
            *eval_mask = mask_of(json_get(masked, "eval_mask"));
    struct memory_set train_set = {0}, eval_set = {0};
    struct loader train, eval;
    struct device *device;
    struct device_opts device_opts = {.dtype = DTYPE_F32, .threads = 1};
    struct model_config config;
    struct model *model;
    struct trainer_result result;
    struct err err = {0};
    struct trainer_opts o = {.run = run,
                             .init_dir = GOLDEN_RUN,
                             .model_name = "golden",
                             .B = 2,
                             .samples = 4,
                             .steps = steps,
                             .beta1 = 0.9,
                             .beta2 = 0.95,
                             .eps = 1e-8,
                             .weight_decay = 0.1,
                             .clip = 1,
                             .seed = 1,
                             .eval_every = {.steps = 4},
                             .save_every = {.steps = 4}};
    o.schedule = (struct schedule){.lr = 2e-3, .warmup = 3, .steps = steps};
    memory_add_masked(&train_set, a, train_mask, n);
    memory_add_masked(&eval_set, b, eval_mask, n_eval);
    check_ok(loader_open(&train, &train_set.set, T, WINDOW_HF, false, 1, false, &err), &err);
    check_ok(loader_open(&eval, &eval_set.set, T, WINDOW_HF, false, 0, true, &err), &err);
    check_ok(backend_ref()->open(&device, &device_opts, &err), &err);
    check_ok(model_config_load(&config, GOLDEN_RUN, &err), &err);
    check_ok(model_new(&model, &config, backend_ref(), device, DTYPE_F32, true, &err), &err);
    check_ok(trainer_run(model, backend_ref(), device, &train, &eval, &o, &result, NULL, &err),
             &err);
    assert_int_equal(result.step, steps);
    model_free(model);
    backend_ref()->close(device);
    loader_close(&train);
    loader_close(&eval);
    free(a);
    free(b);
    free(train_mask);
    free(eval_mask);
}

static void near(const char *what, uint64_t i, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s of step %" PRIu64 ": %.9g, not %.9g", what, i, got, want);
}

static double item(const cJSON *o, const char *key, size_t i) {
    return cJSON_GetArrayItem(json_get(o, key), (int)i)->valuedouble;
}

static void check_metrics(const char *run, const cJSON *golden) {
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    struct err err = {0};
    char *path = path_join(run, "metrics.jsonl");
    check_ok(metrics_read(path, &s, &e, &err), &err);
    assert_int_equal(s.n, 12);
    for (size_t i = 0; i < s.n; i++) {
        near("loss", i + 1, s.v[i].loss, item(golden, "loss", i), 1e-6);
        near("norm", i + 1, s.v[i].grad_norm, item(golden, "grad_norm", i), 1e-5);
        near("rate", i + 1, s.v[i].lr, item(golden, "learning_rate", i), 1e-15);
    }
    assert_int_equal(e.n, 3);
    for (size_t i = 0; i < e.n; i++) {
        assert_int_equal(e.v[i].step, (uint64_t)item(golden, "eval_step", i));
        near("evaluation", e.v[i].step, e.v[i].loss, item(golden, "eval_loss", i), 1e-6);
        assert_int_equal(e.v[i].targets, 7 * 31);
    }
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    free(path);
}

/* |w - want| against |want - before|, tensor by tensor. Key biases have no gradient but rounding
 * (the softmax cancels them), which AdamW turns into steps: they do not count. */
static void check_weights(const char *run) {
    struct safetensors before, want, got;
    struct err err = {0};
    char *path = path_join(run, "checkpoint-12/model.safetensors");
    check_ok(safetensors_open(&before, GOLDEN_RUN "/model.safetensors", &err), &err);
    check_ok(safetensors_open(&want, GOLDEN_RUN "/final.safetensors", &err), &err);
    check_ok(safetensors_open(&got, path, &err), &err);
    assert_int_equal(got.n, want.n);
    for (size_t i = 0; i < want.n; i++) {
        const struct st_tensor *w = &want.v[i], *g = safetensors_find(&got, w->name),
                               *b = safetensors_find(&before, w->name);
        if (!g || !b || g->n != w->n) fail_msg("%s is missing or of another shape", w->name);
        float *vs[3] = {mem_array(w->n, 4), mem_array(w->n, 4), mem_array(w->n, 4)};
        check_ok(st_read_f32(w, 0, w->n, vs[0], &err), &err);
        check_ok(st_read_f32(g, 0, w->n, vs[1], &err), &err);
        check_ok(st_read_f32(b, 0, w->n, vs[2], &err), &err);
        bool qkv = strstr(w->name, "c_attn.bias") != NULL;
        double off = 0, moved = 0;
        for (uint64_t j = 0; j < w->n; j++) {
            if (qkv && j >= w->n / 3 && j < w->n / 3 * 2) continue;
            off += pow((double)vs[1][j] - vs[0][j], 2);
            moved += pow((double)vs[0][j] - vs[2][j], 2);
        }
        if (!(sqrt(off / moved) < 1e-4)) fail_msg("%s: off by %g", w->name, sqrt(off / moved));
        for (int j = 0; j < 3; j++) free(vs[j]);
    }
    safetensors_close(&before);
    safetensors_close(&want);
    safetensors_close(&got);
    free(path);
}

static void check_files(const char *run, const cJSON *golden) {
    static const char *const files[] = {"checkpoint-4/config.json",
                                        "checkpoint-8/manifest.json",
                                        "checkpoint-12/generation_config.json",
                                        "checkpoint-12/optimizer.safetensors",
                                        "checkpoint-12/state.json",
                                        "all_results.json",
                                        "train_results.json",
                                        "eval_results.json",
                                        "model.safetensors",
                                        "config.json",
                                        "trainer_state.json",
                                        "best/config.json",
                                        "last/config.json"};
    struct err err = {0};
    cJSON *o;
    char *path = path_join(run, "trainer_state.json");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!exists(run, files[i])) fail_msg("%s is missing", files[i]);
    check_ok(json_load(&o, path, &err), &err);
    const cJSON *key;
    cJSON_ArrayForEach(key, json_get(golden, "state_keys")) if (!json_get(o, key->valuestring))
        fail_msg("no %s", key->valuestring);
    assert_int_equal(cJSON_GetArraySize(json_get(o, "log_history")), 15);
    assert_true(json_get(o, "total_flos")->valuedouble == 922484736); /* as Trainer counts */
    cJSON_Delete(o);
    free(path);
}

static void a_trainer_run(void **state) {
    char *run = tmp_make();
    struct err err = {0};
    cJSON *golden;
    (void)state;
    check_ok(json_load(&golden, GOLDEN_RUN "/golden.json", &err), &err);
    train(run, golden, NULL, 12);
    check_metrics(run, golden);
    check_weights(run);
    check_files(run, golden);
    cJSON_Delete(golden);
    tmp_remove(run);
}

/* The mean is over the targets of all micro-batches (num_items_in_batch), one of which has none. */
static void a_run_with_prompts(void **state) {
    char *run = tmp_make(), *path = path_join(run, "metrics.jsonl");
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    struct err err = {0};
    cJSON *golden, *masked;
    (void)state;
    check_ok(json_load(&golden, GOLDEN_RUN "/golden.json", &err), &err);
    check_ok(json_load(&masked, GOLDEN_RUN "/masked.json", &err), &err);
    train(run, golden, masked, 8);
    check_ok(metrics_read(path, &s, &e, &err), &err);
    assert_int_equal(s.n, 8);
    assert_int_equal(e.n, 2);
    for (size_t i = 0; i < s.n; i++) {
        near("loss", i + 1, s.v[i].loss, item(masked, "loss", i), 1e-6);
        near("norm", i + 1, s.v[i].grad_norm, item(masked, "grad_norm", i), 1e-5);
    }
    for (size_t i = 0; i < e.n; i++)
        near("evaluation", e.v[i].step, e.v[i].loss, item(masked, "eval_loss", i), 1e-6);
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    cJSON_Delete(golden);
    cJSON_Delete(masked);
    free(path);
    tmp_remove(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_trainer_run),
                                       cmocka_unit_test(a_run_with_prompts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
