/* Stopping and going on: the same bits as without a stop, whatever happened in between. */
#include <signal.h>
#include <sys/wait.h>
#include "run_help.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/safetensors.h"
#include "train/tfevents.h"
#include "train/trainer.h"

enum { T = 8, V = 40, STEPS = 12 };

/* A small world: shards, a shape, options; every run makes its model anew, as a new process would.
 * */
static struct world {
    uint16_t tokens[600];
    struct memory_set train_set, eval_set;
    struct loader train, eval;
    struct trainer_opts o;
    struct trainer_result result;
    struct err err;
    int polls; /* of the stop flag until it says stop, and goes on saying it; 0: never */
} w;

static int stop_after(void *ctx) {
    (void)ctx;
    if (w.polls > 1) w.polls--;
    return w.polls == 1 ? 15 : 0;
}

static int setup(void **state) {
    struct err err = {0};
    (void)state;
    memset(&w, 0, sizeof w);
    for (int i = 0; i < 600; i++) w.tokens[i] = (uint16_t)(i * i % 37 % V);
    memory_add(&w.train_set, w.tokens, 400);
    memory_add(&w.eval_set, w.tokens + 400, 150);
    check_ok(loader_open(&w.train, &w.train_set.set, T, WINDOW_GPT, true, 5, false, &err), &err);
    check_ok(loader_open(&w.eval, &w.eval_set.set, T, WINDOW_GPT, false, 0, true, &err), &err);
    w.o = (struct trainer_opts){.model_name = "small",
                                .B = 2,
                                .samples = 4,
                                .steps = STEPS,
                                .beta1 = 0.9,
                                .beta2 = 0.95,
                                .eps = 1e-8,
                                .weight_decay = 0.1,
                                .clip = 1,
                                .seed = 5,
                                .eval_every = {.steps = 3},
                                .save_every = {.steps = 2},
                                .save_best = true,
                                .eval_windows = 5,
                                .stop = stop_after};
    w.o.schedule = (struct schedule){.lr = 1e-2, .warmup = 2, .steps = STEPS};
    w.o.run = tmp_make();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    loader_close(&w.train);
    loader_close(&w.eval);
    tmp_remove((char *)w.o.run);
    return 0;
}

static char heard[4096];
static void hear(void *ctx, enum log_level level, const char *text) {
    (void)ctx;
    size_t n = strlen(heard);
    if (level <= LOG_WARN) snprintf(heard + n, sizeof heard - n, "%s\n", text);
}

static void open_model(struct device **ret_device, struct model **ret_model) {
    struct model_config c = model_config_gpt2;
    struct device_opts opts = {.dtype = DTYPE_F32, .threads = 1};
    c.V = V, c.P = T, c.L = 2, c.NH = 2, c.C = 8, c.inner = 32, c.bos = c.eos = -1;
    check_ok(backend_ref()->open(ret_device, &opts, &w.err), &w.err);
    check_ok(model_new(ret_model, &c, backend_ref(), *ret_device, DTYPE_F32, true, &w.err), &w.err);
}

static int run_once(void) {
    struct device *device;
    struct model *model;
    const struct log log = {.line = hear};
    memset(&w.err, 0, sizeof w.err);
    heard[0] = 0;
    open_model(&device, &model);
    int rc =
        trainer_run(model, backend_ref(), device, &w.train, &w.eval, &w.o, &w.result, &log, &w.err);
    model_free(model);
    backend_ref()->close(device);
    return rc;
}

/* The uninterrupted run, in a folder of its own; remove with tmp_remove. */
static char *reference(void) {
    const char *mine = w.o.run;
    char *dir = tmp_make();
    w.o.run = dir;
    check_ok(run_once(), &w.err);
    w.o.run = mine;
    return dir;
}

static int note(void *ctx, const uint8_t *record, size_t bytes, uint64_t step) {
    uint64_t *last = ctx;
    if (!memmem(record, bytes, "train/loss", 10) || memmem(record, bytes, "_hparams_", 9)) return 0;
    assert_int_equal(step, *last + 1);
    *last = step;
    return 0;
}

static void assert_events(const char *run) {
    struct strs names = {0};
    struct err err = {0};
    uint64_t last = 0;
    check_ok(file_list(run, &names, &err), &err);
    for (size_t i = 0; i < names.n; i++) {
        if (strncmp(names.v[i], "events.", 7)) continue;
        struct buf b = slurp(run, names.v[i]);
        tfevents_walk((uint8_t *)b.v, b.n, note, &last);
        buf_release(&b);
    }
    assert_int_equal(last, STEPS);
    strs_release(&names);
}

/* Weights, moments, curves and event files are those of the other run. */
static void assert_same_run(const char *a, const char *b) {
    struct metrics_steps s[2] = {{0}, {0}};
    struct metrics_evals e[2] = {{0}, {0}};
    const char *dirs[2] = {a, b};
    assert_same_file(a, b, "checkpoint-12/model.safetensors");
    assert_same_file(a, b, "checkpoint-12/optimizer.safetensors");
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        char *path = path_join(dirs[i], "metrics.jsonl");
        check_ok(metrics_read(path, &s[i], &e[i], &err), &err);
        free(path);
        assert_events(dirs[i]);
        assert_int_equal(s[i].n, STEPS);
        assert_int_equal(e[i].n, 4);
    }
    for (size_t i = 0; i < STEPS; i++) {
        assert_int_equal(s[0].v[i].step, s[1].v[i].step);
        assert_true(s[0].v[i].loss == s[1].v[i].loss);
        assert_true(s[0].v[i].grad_norm == s[1].v[i].grad_norm);
    }
    for (size_t i = 0; i < 4; i++) assert_true(e[0].v[i].loss == e[1].v[i].loss);
    for (int i = 0; i < 2; i++) {
        metrics_steps_release(&s[i]);
        metrics_evals_release(&e[i]);
    }
}

/* transformers#8874, #11323, accelerate#2016: resumed runs that went another way. */
static void stopped_anywhere_it_ends_the_same(void **state) {
    char *ref = reference();
    int stops = 0;
    (void)state;
    for (int polls = 2; polls < 60; polls += 7) {
        w.polls = polls;
        int rc = run_once();
        if (rc == 0) break;
        assert_int_equal(rc, ERR_STOPPED);
        stops++;
    }
    w.polls = 0;
    check_ok(run_once(), &w.err);
    assert_true(stops >= 2);
    assert_same_run(ref, w.o.run);
    tmp_remove(ref);
}

/* What a kill leaves: records beyond the last checkpoint. */
static void records_behind_the_checkpoint_are_cut(void **state) {
    char *ref = reference();
    struct err err = {0};
    (void)state;
    check_ok(run_once(), &w.err);
    for (uint64_t s = 9; s <= 12; s++) {
        char *dir = checkpoint_path(w.o.run, s);
        check_ok(file_remove(dir, &err), &err);
        free(dir);
    }
    check_ok(run_once(), &w.err);
    assert_int_equal(w.result.resumed, 8);
    assert_same_run(ref, w.o.run);
    tmp_remove(ref);
}

/* Someone else's doing: a kill leaves no such thing. */
static void lines_that_are_gone_are_missed(void **state) {
    (void)state;
    w.polls = 20;
    assert_int_equal(run_once(), ERR_STOPPED);
    uint64_t step = w.result.step;
    struct buf b = slurp(w.o.run, "metrics.jsonl");
    char *second = (char *)memchr(b.v, '\n', b.n) + 1, *third = memchr(second, '\n', b.n) + 1;
    memmove(second, third, (size_t)(b.v + b.n - third));
    spill(w.o.run, "metrics.jsonl", b.v, b.n - (size_t)(third - second));
    w.polls = 20;
    assert_int_equal(run_once(), ERR_STOPPED);
    assert_non_null(strstr(heard, "/metrics.jsonl: 1 of the lines up to step "));
    assert_true(w.result.step > step);
    spill(w.o.run, "metrics.jsonl", b.v, 0);
    w.polls = 0;
    check_ok(run_once(), &w.err);
    assert_non_null(strstr(heard, " of the lines up to step "));
    buf_release(&b);
}

static void a_damaged_checkpoint_is_passed_over(void **state) {
    char *ref = reference(), name[] = "checkpoint-12/optimizer.safetensors";
    (void)state;
    check_ok(run_once(), &w.err);
    struct buf b = slurp(w.o.run, name);
    b.v[b.n / 2] ^= 1;
    spill(w.o.run, name, b.v, b.n);
    buf_release(&b);
    check_ok(run_once(), &w.err);
    assert_int_equal(w.result.resumed, 10);
    assert_non_null(strstr(heard, "checkpoint-12/optimizer.safetensors does not match"));
    assert_same_run(ref, w.o.run);
    tmp_remove(ref);
}

static void a_finished_run_says_so(void **state) {
    (void)state;
    check_ok(run_once(), &w.err);
    struct buf a = slurp(w.o.run, "metrics.jsonl");
    assert_false(w.result.was_complete);
    check_ok(run_once(), &w.err);
    assert_true(w.result.was_complete);
    struct buf b = slurp(w.o.run, "metrics.jsonl");
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.v, b.v, a.n);
    buf_release(&a);
    buf_release(&b);
}

static void other_options_are_refused_by_name(void **state) {
    (void)state;
    w.polls = 20;
    assert_int_equal(run_once(), ERR_STOPPED);
    w.polls = 0;
    w.o.schedule.lr = 2e-2;
    w.o.weight_decay = 0;
    check_fails(run_once(), ERR_USAGE, &w.err,
                "lr was 0.01, now 0.02; weight_decay was 0.1, now 0");
    w.o.schedule.lr = 1e-2;
    w.o.weight_decay = 0.1;
    w.train.seed = 6;
    check_fails(run_once(), ERR_USAGE, &w.err, "key was");
    w.train.seed = 5;
    w.train_set.set.digest[0] = 'f';
    check_fails(run_once(), ERR_USAGE, &w.err, "the shards of --train have changed");
    w.train_set.set.digest[0] = '0';
    w.o.eval_every.steps = 4; /* intervals and the length of the run may change */
    w.o.save_every.steps = 5;
    w.o.steps = 9;
    check_ok(run_once(), &w.err);
}

/* The same samples a step, cut differently: allowed, announced, and the same but for rounding. */
static void another_micro_batch_goes_on(void **state) {
    (void)state;
    w.polls = 20;
    assert_int_equal(run_once(), ERR_STOPPED);
    w.polls = 0;
    w.o.B = 4;
    check_ok(run_once(), &w.err);
    assert_non_null(strstr(heard, "batch was 2, now 4"));
}

/* With one to keep, there is always a whole one, and the best stays besides (transformers#25129).
 * */
static void one_kept_and_the_best(void **state) {
    struct u64s left = {0};
    struct err err = {0};
    (void)state;
    w.o.keep = 1;
    w.o.save_every.steps = 1;
    check_ok(run_once(), &w.err);
    check_ok(checkpoint_list(w.o.run, &left, &err), &err);
    assert_int_equal(left.v[left.n - 1], STEPS);
    assert_int_equal(left.n, 1 + (w.result.best_step != STEPS));
    assert_int_equal(w.result.best_step % 3, 0);
    u64s_release(&left);
}

/* The evaluation with the lowest loss, from the records; its step in *ret_step. */
static double lowest_loss(uint64_t *ret_step) {
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    double lowest = INFINITY;
    char *path = path_join(w.o.run, "metrics.jsonl");
    check_ok(metrics_read(path, &s, &e, &w.err), &w.err);
    for (size_t i = 0; i < e.n; i++) {
        if (!(e.v[i].part_loss < lowest)) continue;
        lowest = e.v[i].part_loss;
        *ret_step = e.v[i].step;
    }
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    free(path);
    return lowest;
}

/* An evaluation between two saves was nobody's: `best` was the last and worst checkpoint. What
 * is evaluated here has no token of what is learnt, so it gets worse from the first on; stops in
 * between change nothing. */
static void the_best_evaluation_was_saved_nowhere(void **state) {
    struct u64s left = {0};
    uint64_t step = 0;
    (void)state;
    w.o.keep = 1;
    w.o.save_every.steps = 1000;
    for (int i = 0; i < 600; i++) w.tokens[i] = (uint16_t)(i < 400 ? i % 3 : 20 + i % 3);
    for (w.polls = 20; run_once() == ERR_STOPPED; w.polls = 40) continue;
    w.polls = 0;
    check_ok(run_once(), &w.err);
    assert_true(w.result.best_loss == lowest_loss(&step));
    assert_int_equal(w.result.best_step, step);
    assert_in_range(step, 3, STEPS - 1);
    check_ok(checkpoint_list(w.o.run, &left, &w.err), &w.err);
    assert_int_equal(left.n, 2);
    assert_int_equal(left.v[0], step);
    u64s_release(&left);
    tmp_remove((char *)w.o.run);
    w.o.run = tmp_make();
    w.o.save_best = false;
    check_ok(run_once(), &w.err);
    assert_int_equal(w.result.best_step, STEPS); /* the only one that was saved */
}

/* llm.c lets a NaN through to the weights; here nothing changes, and five in a row end the run
 * with the last good checkpoint untouched. */
static void divergence_ends_the_run(void **state) {
    (void)state;
    struct u64s saved = {0};
    w.o.clip = 0;
    w.o.save_every.steps = 1;
    w.o.schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .lr = 1e9, .steps = STEPS};
    check_fails(run_once(), ERR_DIVERGED, &w.err, "diverged at step ");
    assert_non_null(strstr(heard, "skipped (samples "));
    struct buf lines = slurp(w.o.run, "metrics.jsonl"); /* which windows they were */
    assert_non_null(memmem(lines.v, lines.n, "\"why\":\"the ", 11));
    assert_non_null(memmem(lines.v, lines.n, "\"windows\":[\"train-00000.bin:", 28));
    buf_release(&lines);
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    char *path = path_join(w.o.run, "metrics.jsonl");
    check_ok(metrics_read(path, &s, &e, &w.err), &w.err);
    for (size_t i = 1; i <= 5; i++) assert_true(s.v[s.n - i].skipped);
    assert_false(s.v[s.n - 6].skipped);
    check_ok(checkpoint_list(w.o.run, &saved, &w.err), &w.err);
    assert_int_equal(saved.v[saved.n - 1], s.n - 5); /* nothing saved since */
    u64s_release(&saved);
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    free(path);
}

/* There was no checkpoint to name, it was named all the same, and the status was 0. */
static void a_run_that_diverged_at_its_end_had_done_well(void **state) {
    (void)state;
    w.o.clip = 0;
    w.o.steps = 4;
    w.o.save_every.steps = 100;
    w.o.schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .lr = 1e9, .steps = 4};
    check_fails(run_once(), ERR_DIVERGED, &w.err, "nothing was saved before");
}

/* What was learnt since the last checkpoint went with it. */
static void a_spike_at_the_end_lost_the_run(void **state) {
    (void)state;
    w.o.steps = 138;
    w.o.schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .lr = 3e-3, .steps = 138};
    w.o.save_every.steps = 1000;
    w.o.B = 1, w.o.samples = 1;
    for (int i = 0; i < 400; i++) w.tokens[i] = (uint16_t)(i % 3);
    w.train.shuffled = false;
    w.o.spike = 3;
    for (int i = 0; i < T; i++) w.tokens[39 * T + i] = (uint16_t)(20 + i);
    check_ok(run_once(), &w.err);
    assert_non_null(strstr(heard, "step 138: the "));
    struct buf state_file = slurp(w.o.run, "checkpoint-138/state.json");
    assert_true(state_file.n > 0);
    buf_release(&state_file);
}

/* llm.c's outlier window is lost on resume; here it is the metrics themselves. A label that no
 * model could guess comes after the window is full. */
static void a_spike_is_skipped_resumed_or_not(void **state) {
    char *ref;
    (void)state;
    w.o.steps = 150;
    w.o.schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .lr = 3e-3, .steps = 150};
    w.o.save_every.steps = 50;
    w.o.eval_every.steps = 150;
    w.o.B = 1, w.o.samples = 1;
    for (int i = 0; i < 400; i++) w.tokens[i] = (uint16_t)(i % 3); /* learnt at once */
    w.train.shuffled = false;
    w.o.spike = 3;
    for (int i = 0; i < T; i++) w.tokens[39 * T + i] = (uint16_t)(20 + i); /* at step 40, 89, 138 */
    ref = reference();
    assert_int_equal(w.result.skipped, 1); /* the window is full only for the last */
    assert_non_null(strstr(heard, "step 138: the "));
    w.polls = 2 * 100 + 1;
    assert_int_equal(run_once(), ERR_STOPPED);
    w.polls = 0;
    check_ok(run_once(), &w.err);
    assert_int_equal(w.result.skipped, 1);
    assert_same_file(ref, w.o.run, "checkpoint-150/model.safetensors");
    tmp_remove(ref);
}

static void patience_ends_a_run_that_gets_no_better(void **state) {
    (void)state;
    w.o.patience = 2;
    w.o.patience_threshold = 10; /* only the first evaluation is that much better than none */
    check_ok(run_once(), &w.err);
    assert_true(w.result.early);
    assert_int_equal(w.result.step, 9);
    assert_true(exists(w.o.run, "checkpoint-9/manifest.json"));
    assert_true(exists(w.o.run, "all_results.json"));
    check_ok(run_once(), &w.err); /* and stays ended */
    assert_int_equal(w.result.step, 9);
    w.o.patience = 0;
    check_ok(run_once(), &w.err); /* until one has more of it */
    assert_int_equal(w.result.step, STEPS);
}

static void frozen_parameters_stay(void **state) {
    static const char *const wpe[] = {"wpe.*"}, *const all[] = {"*"}, *const none[] = {"head.*"};
    struct safetensors a, b;
    (void)state;
    w.o.freeze = wpe;
    w.o.n_freeze = 1;
    w.o.save_every.steps = 1;
    check_ok(run_once(), &w.err);
    for (int i = 0; i < 2; i++) {
        char *dir = checkpoint_path(w.o.run, i ? 12 : 1),
             *path = path_join(dir, "model.safetensors");
        check_ok(safetensors_open(i ? &b : &a, path, &w.err), &w.err);
        free(dir);
        free(path);
    }
    for (size_t i = 0; i < a.n; i++) {
        bool frozen = strstr(a.v[i].name, "wpe") != NULL;
        bool same = memcmp(a.v[i].data, b.v[i].data, a.v[i].bytes) == 0;
        if (same != frozen) fail_msg("%s %s", a.v[i].name, same ? "stayed" : "moved");
    }
    safetensors_close(&a);
    safetensors_close(&b);
    w.o.freeze = NULL, w.o.n_freeze = 0;
    check_fails(run_once(), ERR_USAGE, &w.err, "freeze was [\"wpe.*\"], now []");
    w.o.n_freeze = 1;
    char *dir = tmp_make();
    const char *mine = w.o.run;
    w.o.run = dir;
    w.o.freeze = none;
    check_fails(run_once(), ERR_USAGE, &w.err, "--freeze head.*: no parameter has such a name");
    w.o.freeze = all;
    check_fails(run_once(), ERR_USAGE, &w.err, "nothing is left to train");
    w.o.run = mine;
    tmp_remove(dir);
}

/* --steps 0: what a run would begin with, as a model of its own; a longer run goes on from it. */
static void no_steps_save_the_beginning(void **state) {
    (void)state;
    char *ref = reference();
    w.o.steps = 0;
    check_ok(run_once(), &w.err);
    assert_false(w.result.was_complete);
    assert_true(exists(w.o.run, "checkpoint-0/manifest.json"));
    assert_true(exists(w.o.run, "model.safetensors"));
    check_ok(run_once(), &w.err);
    assert_true(w.result.was_complete);
    w.o.steps = STEPS;
    check_ok(run_once(), &w.err);
    assert_same_run(ref, w.o.run);
    tmp_remove(ref);
}

static void an_unrelated_folder_is_left_alone(void **state) {
    (void)state;
    spill(w.o.run, "thesis.tex", "years", 5);
    check_fails(run_once(), ERR_USAGE, &w.err, "holds other things (thesis.tex)");
    assert_false(exists(w.o.run, "log.txt"));
}

static void ids_beyond_the_vocabulary_are_placed(void **state) {
    (void)state;
    w.tokens[123] = V;
    check_fails(run_once(), ERR_CORRUPT, &w.err, "train-00000.bin: token 123 has id 40");
}

static void a_branch_goes_its_own_way(void **state) {
    char *ref = reference(), *from = checkpoint_path(ref, 6);
    (void)state;
    w.o.resume_from = from;
    w.polls = 8;
    assert_int_equal(run_once(), ERR_STOPPED);
    w.polls = 0;
    check_ok(run_once(), &w.err); /* the same command goes on with the branch */
    assert_true(w.result.resumed > 6);
    assert_same_run(ref, w.o.run);
    w.o.resume_from = NULL;
    w.o.resume_never = true;
    check_fails(run_once(), ERR_USAGE, &w.err, "holds checkpoint-12");
    free(from);
    tmp_remove(ref);
}

/* Masks follow the position: another step, another mask; another cut of the step, the same one. */
static void dropout_follows_the_position(void **state) {
    struct metrics_steps s[2] = {{0}, {0}};
    struct metrics_evals e = {0};
    struct loader four;
    char *ref = tmp_make();
    const char *dirs[2] = {w.o.run, ref};
    (void)state;
    w.train_set.shards[0].n =
        4 * T + 1; /* every step sees the same four windows, and learns nothing */
    check_ok(loader_open(&four, &w.train_set.set, T, WINDOW_GPT, false, 5, false, &w.err), &w.err);
    loader_close(&w.train);
    w.train = four;
    w.o.schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .lr = 0, .steps = STEPS};
    for (int i = 0; i < 2; i++) {
        w.o.run = dirs[i];
        w.o.B = i ? 4 : 2;
        check_ok(run_once(), &w.err);
        char *path = path_join(dirs[i], "metrics.jsonl");
        check_ok(metrics_read(path, &s[i], &e, &w.err), &w.err);
        free(path);
    }
    w.o.run = dirs[0];
    for (size_t i = 0; i < STEPS; i++) {
        if (fabs(s[0].v[i].loss - s[1].v[i].loss) > 1e-5) fail_msg("step %zu: other masks", i + 1);
        if (i && s[0].v[i].loss == s[0].v[i - 1].loss) fail_msg("step %zu: the same masks", i + 1);
    }
    for (int i = 0; i < 2; i++) metrics_steps_release(&s[i]);
    metrics_evals_release(&e);
    tmp_remove(ref);
}

#ifndef OP_DEVICE /* a GPU's process cannot be forked, and its memory is not the system's */

/* Rank `rank` of three, on a free port of this machine. */
static struct comm *join(int rank) {
    struct comm_place p = {.rank = rank, .size = 3, .address = "127.0.0.1"};
    struct comm *c = NULL;
    p.port = 20000 + (int)(getpid() % 20000);
    if (rank > 0) p.port = 20000 + (int)(getppid() % 20000);
    check_ok(comm_tcp(&c, &p, 60, &w.err), &w.err);
    w.o.comm = w.o.control = c;
    return c;
}

/* A process that does a rank's part; it ends with 0, or with the error's code. */
static pid_t work(int rank) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    struct comm *c = join(rank);
    struct device *device;
    struct model *model;
    open_model(&device, &model);
    int rc = trainer_work(model, backend_ref(), device, &w.train, &w.o, &w.err);
    c->close(c);
    _exit(-rc);
}

static int end_of(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

/* Five samples a step, in micro-batches of two: three ranks see two, two and one of them, with
 * dropout and a checkpoint gone on from, and train what one process trains; only the order of
 * sums differs. */
/* debug_RANK.log was promised of every rank, and was there of rank 0 alone. */
static void ranks_wrote_no_log(const char *run, int rank) {
    char name[64];
    struct buf text = {0};
    snprintf(name, sizeof name, "log/debug_%d.log", rank);
    char *path = path_join(run, name);
    check_ok(file_read(path, 1 << 20, &text, &w.err), &w.err);
    for (int step = 1; step <= STEPS; step++) {
        snprintf(name, sizeof name, "debug: step %d: loss ", step);
        if (!strstr(buf_cstr(&text), name)) fail_msg("rank %d: no line of step %d", rank, step);
    }
    buf_release(&text);
    free(path);
}

static void ranks_train_one_model(void **state) {
    struct metrics_steps s[2] = {{0}, {0}};
    struct metrics_evals e[2] = {{0}, {0}};
    const char *mine = w.o.run;
    (void)state;
    w.o.samples = 5;
    char *ref = reference();
    for (int part = 0; part < 2; part++) { /* until it is told to stop, and the rest */
        w.polls = part == 0 ? 5 : 0;
        pid_t others[2] = {work(1), work(2)};
        struct comm *c = join(0);
        assert_int_equal(run_once(), part == 0 ? ERR_STOPPED : 0);
        c->close(c);
        w.o.comm = w.o.control = NULL;
        assert_int_equal(end_of(others[0]), 0);
        assert_int_equal(end_of(others[1]), 0);
    }
    const char *dirs[2] = {ref, mine};
    for (int rank = 0; rank < 3; rank++) ranks_wrote_no_log(mine, rank);
    for (int i = 0; i < 2; i++) {
        char *path = path_join(dirs[i], "metrics.jsonl");
        check_ok(metrics_read(path, &s[i], &e[i], &w.err), &w.err);
        free(path);
    }
    assert_int_equal(s[1].n, STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        assert_true(fabs(s[0].v[i].loss - s[1].v[i].loss) < 2e-6);
        assert_true(fabs(s[0].v[i].grad_norm - s[1].v[i].grad_norm) < 2e-5);
        assert_true(s[0].v[i].tokens == s[1].v[i].tokens);
    }
    for (int i = 0; i < 2; i++) metrics_steps_release(&s[i]), metrics_evals_release(&e[i]);
    tmp_remove(ref);
}

/* Who is left hears of a rank that dies, whichever it is, and what was saved stays. */
/* SIGTERM to another rank than 0 was heard by nobody. */
static void a_signal_to_any_rank_is_heard(void **state) {
    (void)state;
    w.o.samples = 5;
    for (int part = 0; part < 2; part++) {
        pid_t others[2];
        others[0] = work(1);
        w.polls = part == 0 ? 5 : 0; /* rank 2's alone */
        others[1] = work(2);
        w.polls = 0;
        struct comm *c = join(0);
        assert_int_equal(run_once(), part == 0 ? ERR_STOPPED : 0);
        if (part == 0) assert_in_range(w.result.step, 1, STEPS - 1);
        c->close(c);
        w.o.comm = w.o.control = NULL;
        assert_int_equal(end_of(others[0]), 0);
        assert_int_equal(end_of(others[1]), 0);
    }
    assert_int_equal(w.result.step, STEPS);
}

static void a_rank_that_dies_is_noticed(void **state) {
    (void)state;
    w.o.samples = 5;
    w.o.steps = 1000000; /* longer than anyone waits */
    w.o.save_every.steps = w.o.eval_every.steps = 100000;
    w.o.force = true;
    pid_t others[2] = {work(1), work(2)};
    struct comm *c = join(0);
    pid_t killer = fork();
    if (killer == 0) {
        usleep(400000);
        kill(others[1], SIGKILL);
        _exit(0);
    }
    check_fails(run_once(), ERR_PEER, &w.err, "rank 2");
    c->close(c);
    w.o.comm = w.o.control = NULL;
    assert_int_equal(end_of(killer), 0);
    assert_int_equal(end_of(others[0]), -ERR_PEER);
    end_of(others[1]);
}

#endif

/* Six of these steps see no target: nothing changes in them, and they are no divergence. */
static void steps_without_targets_are_skipped(void **state) {
    uint8_t mask[50] = {0};
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    char *path = path_join(w.o.run, "metrics.jsonl");
    (void)state;
    for (int i = 6 * T + 1; i < 400; i++) mask[i / 8] |= (uint8_t)(1u << i % 8);
    w.train_set.shards[0].mask = mask;
    w.train.shuffled = false;
    w.o.B = 1, w.o.samples = 1;
    check_ok(run_once(), &w.err);
    assert_int_equal(w.result.skipped, 6);
    struct buf lines = slurp(w.o.run, "metrics.jsonl");
    assert_non_null(memmem(lines.v, lines.n, "\"why\":\"none of its tokens is a target\"", 38));
    buf_release(&lines);
    check_ok(metrics_read(path, &s, &e, &w.err), &w.err);
    assert_true(isnan(s.v[5].loss) && isfinite(s.v[6].loss));
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    free(path);
    uint8_t none[50] = {0};
    w.eval_set.shards[0].mask = none;
    tmp_remove((char *)w.o.run);
    w.o.run = tmp_make();
    check_fails(run_once(), ERR_DATA, &w.err, "hold no targets");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(stopped_anywhere_it_ends_the_same),
        TEST(records_behind_the_checkpoint_are_cut),
        TEST(lines_that_are_gone_are_missed),
        TEST(a_damaged_checkpoint_is_passed_over),
        TEST(a_finished_run_says_so),
        TEST(other_options_are_refused_by_name),
        TEST(another_micro_batch_goes_on),
#ifndef OP_DEVICE
        TEST(ranks_train_one_model),
        TEST(a_signal_to_any_rank_is_heard),
        TEST(a_rank_that_dies_is_noticed),
#endif
        TEST(steps_without_targets_are_skipped),
        TEST(one_kept_and_the_best),
        TEST(the_best_evaluation_was_saved_nowhere),
        TEST(divergence_ends_the_run),
        TEST(a_run_that_diverged_at_its_end_had_done_well),
        TEST(a_spike_at_the_end_lost_the_run),
        TEST(a_spike_is_skipped_resumed_or_not),
        TEST(patience_ends_a_run_that_gets_no_better),
        TEST(frozen_parameters_stay),
        TEST(no_steps_save_the_beginning),
        TEST(an_unrelated_folder_is_left_alone),
        TEST(ids_beyond_the_vocabulary_are_placed),
        TEST(a_branch_goes_its_own_way),
        TEST(dropout_follows_the_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
