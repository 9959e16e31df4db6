/* Times a GPT-2 on the CPU, with random tokens.
 *
 *     bench_model                  this machine and everything beside it, for docs/perf.md: its
 *                                  multiply-add rates and bandwidth; training steps and generation
 *                                  of two models, each in fp32 and bf16; a few minutes
 *     bench_model fp32|bf16 [THREADS [B T L C NH V [DROPOUT]]]
 *                                  whole training steps (forward, backward, norm, AdamW), each
 *
 * Steps are given in tokens/s by wall time, and by processor time as if the threads had never
 * waited; as parts of the multiply-add peak measured before and after each step, at 6N + 6LCT FLOP
 * per token. Generation of one text, as a part of what the bandwidth allows if an id reads all
 * weights once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/pool.h"
#include "harness.h"
#include "peak.h"
#include "train/generate.h"
#include "train/model.h"
#include "train/optimizer.h"

enum { STEPS = 8, PROMPT = 16, IDS = 128 };

struct shape {
    const char *name;
    int B, T, L, C, NH, V;
    float dropout;
};
static const struct shape SHAPES[] = {{"12.8M", 8, 256, 8, 320, 5, 8192, 0},
                                      {"124M", 1, 1024, 12, 768, 12, 50257, 0}};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int number(const char *text) {
    return (int)strtol(text, NULL, 10);
}

static void stop_on(int rc, const struct err *err) {
    if (rc >= 0) return;
    fprintf(stderr, "bench_model: %s\n", err->msg);
    exit(1);
}

static struct model *open_model(struct dev *v, const struct shape *s, struct model_config *c,
                                bool train) {
    struct model *m;
    struct err err = {0};
    *c = model_config_gpt2;
    c->L = s->L, c->C = s->C, c->NH = s->NH, c->V = s->V, c->inner = 4 * s->C, c->P = s->T;
    c->embd_pdrop = c->attn_pdrop = c->resid_pdrop = s->dropout;
    stop_on(model_new(&m, c, v->be, v->d, v->dtype, train, &err), &err);
    stop_on(model_init(m, 1, &err), &err);
    return m;
}

/* ------------------------------------------------------------------ training */

struct steps {
    double wall[STEPS], cpu[STEPS]; /* seconds; of processor time, those of one thread  */
    double part[STEPS];             /* of the peak of that moment, by processor time    */
};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void one_step(struct steps *out, int i, struct dev *v, struct model *m, struct optimizer *o,
                     const struct model_batch *batch, double flops, double *peak) {
    struct step_scalars s = {.lr = 1e-3f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .clip = 1,
                             .grad_scale = 1,
                             .step = (uint64_t)i + 1};
    bool pairs = v->dtype == DTYPE_BF16 && peak_flops(1, true, 1e-4) > 0;
    struct err err = {0};
    double sum, tokens = batch->B * batch->T;
    uint64_t targets;
    double t = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    model_zero_grads(m);
    stop_on(model_forward_backward(m, batch, 1.0f / (float)tokens, &sum, &targets, &err), &err);
    stop_on(optimizer_step(o, &s, &err), &err);
    out->cpu[i] = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / v->threads;
    out->wall[i] = seconds(CLOCK_MONOTONIC) - t;
    double after = peak_flops(v->threads, pairs, 0.02);
    if (*peak == 0) *peak = after;
    out->part[i] = after > 0 ? flops / (out->cpu[i] * v->threads) / ((*peak + after) / 2) : 0;
    *peak = after;
    printf("step %d: loss %.4f, %.0f tokens/s, by processor time %.0f, %.1f %% of peak\n", i + 1,
           sum / (double)targets, tokens / out->wall[i], tokens / out->cpu[i], 100 * out->part[i]);
    fflush(stdout);
}

/* Leaves out->… in ascending order. Returns FLOP per step. */
static double bench_steps(struct steps *out, const struct shape *s, bool bf16, int threads) {
    struct dev v;
    struct model_config c;
    struct optimizer o;
    struct err err = {0};
    uint64_t bytes;
    dev_open_best(&v, bf16 ? DTYPE_BF16 : DTYPE_F32, threads);
    struct model *m = open_model(&v, s, &c, true);
    stop_on(model_plan(m, s->B, s->T, true, &bytes, &err), &err);
    stop_on(optimizer_new(&o, m, v.be, v.d, &err), &err);
    int32_t *tokens = ints_below(1, (size_t)s->B * (size_t)s->T, c.V);
    struct model_batch batch = {.B = s->B,
                                .T = s->T,
                                .tokens = tokens,
                                .labels = tokens,
                                .dropout = s->dropout > 0,
                                .dropout_key = 1};
    printf("%s; %.1f MB of activations\n", v.be->describe(v.d), (double)bytes * 1e-6);
    double a_token = 6 * (double)model_config_params(&c) + 6.0 * c.L * c.C * s->T, peak = 0;
    for (int i = 0; i < STEPS; i++)
        one_step(out, i, &v, m, &o, &batch, s->B * s->T * a_token, &peak);
    qsort(out->wall, STEPS, sizeof *out->wall, ascending);
    qsort(out->cpu, STEPS, sizeof *out->cpu, ascending);
    qsort(out->part, STEPS, sizeof *out->part, ascending);
    free(tokens);
    optimizer_free(&o);
    model_free(m);
    dev_close(&v);
    return s->B * s->T * a_token;
}

/* ------------------------------------------------------------------ generation */

/* Seconds of an id of one text, the least of five texts; *ret_bytes: of the weights. */
static double bench_ids(const struct shape *s, bool bf16, int threads, double *ret_bytes) {
    struct dev v;
    struct model_config c;
    struct generator *g;
    struct err err = {0};
    struct u32s out = {0};
    struct rng rng = {1, 0, 0};
    struct sampling how = {.temperature = 0.8f, .top_k = 50, .top_p = 0.95f};
    uint32_t prompt[PROMPT];
    double least = 1e9;
    dev_open_best(&v, bf16 ? DTYPE_BF16 : DTYPE_F32, threads);
    struct model *m = open_model(&v, s, &c, false);
    stop_on(generator_new(&g, m, 1, 0, &err), &err);
    for (int i = 0; i < PROMPT; i++) prompt[i] = (uint32_t)(i * 1543 % c.V);
    struct gen_row row = {.prompt = prompt, .n = PROMPT, .max_new = IDS, .rng = &rng, .out = &out};
    for (int i = 0; i < 5; i++) {
        out.n = 0;
        double t = seconds(CLOCK_MONOTONIC);
        stop_on(generate_rows(g, &row, 1, -1, &how, NULL, NULL, &err), &err);
        t = (seconds(CLOCK_MONOTONIC) - t) / IDS;
        if (t < least) least = t;
    }
    *ret_bytes = (double)model_config_params(&c) * (bf16 ? 2 : 4);
    u32s_release(&out);
    generator_free(g);
    model_free(m);
    dev_close(&v);
    return least;
}

/* ------------------------------------------------------------------ all of it */

static void print_row(const struct shape *s, bool bf16, int threads) {
    struct steps t;
    bool pairs = bf16 && peak_flops(1, true, 1e-4) > 0;
    double bytes, flops = bench_steps(&t, s, bf16, threads), tokens = s->B * s->T;
    double peak = peak_flops(threads, pairs, 0.1) * threads;
    double ids = bench_ids(s, bf16, threads, &bytes), bandwidth = read_bandwidth(threads);
    printf("| steps of %s (%d x %d), %s | median %.0f, best %.0f tokens/s | %.1f, %.1f %% of the "
           "peak; by processor time %.1f, %.1f |\n",
           s->name, s->B, s->T, bf16 ? "bf16" : "fp32", tokens / t.wall[STEPS / 2],
           tokens / t.wall[0], 100 * flops / t.wall[STEPS / 2] / peak,
           100 * flops / t.wall[0] / peak, 100 * t.part[STEPS / 2], 100 * t.part[STEPS - 1]);
    printf("| generation, %s, %s | %.0f ids/s | %.1f %% of the bandwidth |\n", s->name,
           bf16 ? "bf16" : "fp32", 1 / ids, 100 * bytes / ids / bandwidth);
    fflush(stdout);
}

static void print_machine(int threads) {
    struct dev v;
    dev_open_best(&v, DTYPE_BF16, threads);
    printf("%s\n", v.be->describe(v.d));
    dev_close(&v);
    printf(
        "multiply-adds: fp32 %.0f, bf16 %.0f GFLOP/s (0: no such instruction); a sum over 1 GiB: "
        "%.1f GB/s\n",
        peak_flops(threads, false, 0.3) * threads * 1e-9,
        peak_flops(threads, true, 0.3) * threads * 1e-9, read_bandwidth(threads) * 1e-9);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        int threads = pool_cpus();
        print_machine(threads);
        for (int i = 0; i < 2 * N_SHAPES; i++) print_row(&SHAPES[i / 2], i % 2, threads);
        return 0;
    }
    struct shape s = SHAPES[0];
    int *const numbers[] = {&s.B, &s.T, &s.L, &s.C, &s.NH, &s.V};
    for (int i = 0; i < 6 && argc > 3 + i; i++) *numbers[i] = number(argv[3 + i]);
    if (argc > 9) s.dropout = strtof(argv[9], NULL);
    struct steps t;
    double tokens = s.B * s.T;
    bench_steps(&t, &s, strcmp(argv[1], "bf16") == 0, argc > 2 ? number(argv[2]) : 2);
    printf("best: %.0f tokens/s, by processor time %.0f, %.1f %% of peak\n", tokens / t.wall[0],
           tokens / t.cpu[0], 100 * t.part[STEPS - 1]);
    return 0;
}
