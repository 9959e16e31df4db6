/* Times the GPU backend: whole training steps, each operation at a model's shapes, generation; in
 * this order, what is wanted most first.
 *
 *     bench_gpu [--quick] [--models LIST|none] [--ops LIST|none] [--generation LIST|none]
 *               [--batch B] [--seq T] [--json FILE] [--products FILE]
 *
 * LIST: of 124M, 350M, 774M, 1558M. --quick: steps of the first and the last, operations of the
 * first. FILE gets a line of JSON for each line of the tables, at once: a run that is ended early
 * leaves what it had. --products: the products' algorithms are measured, as lmtrain does, and kept
 * in FILE; without, they are the library's first proposals.
 *
 * Random data, never zeros; two rounds to warm up, then the median of seven. Peaks are the vendor's
 * for dense bf16, by the device's name; both ways of counting a model's work are given, with and
 * without the half of attention that a causal mask leaves out:
 *
 *   MFU        (6 N + 12 L C T) tokens/s / peak, N without positions           (nanoGPT's form)
 *   MFU/2      (6 N + 6 L C T) tokens/s / peak, N with positions               (llm.c's form)
 *
 * `tests/bench/gpu` runs this and PyTorch's own in one go. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../op/harness.h"
#include "base/err.h"
#include "train/generate.h"
#include "train/model.h"
#include "train/optimizer.h"

enum { WARM = 2, ROUNDS = 7 };
static const struct dropout DROPOUT = {.p = 0.1f, .key = 1, .site = 2}; /* GPT-2's own */

static const struct preset {
    const char *name;
    int L, C, NH, V, B; /* B: less is taken where it does not fit */
} PRESETS[] = {{"124M", 12, 768, 12, 50257, 64},
               {"350M", 24, 1024, 16, 50257, 64},
               {"774M", 36, 1280, 20, 50257, 32},
               {"1558M", 48, 1600, 25, 50257, 32},
               {"tiny", 1, 64, 1, 130, 2}}; /* for trying this program under the emulator */
enum { N_PRESETS = sizeof PRESETS / sizeof *PRESETS };

static const struct card {
    const char *in_name;
    double tflops, gbytes; /* dense bf16; memory */
} CARDS[] = {{"H200", 989.4, 4800}, {"H100 PCIe", 756, 2000}, {"H100", 989.4, 3350},
             {"A100", 312, 2039},   {"L40S", 362, 864},       {"4090", 165, 1008}};

static struct {
    struct dev v;
    struct card card;
    FILE *json;
    const char *products; /* where measured products are kept */
    int T;
} G;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void stop_on(int rc, const struct err *err) {
    if (rc >= 0) return;
    fprintf(stderr, "bench_gpu: %s\n", err->msg);
    exit(-rc);
}

static void json_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void json_line(const char *fmt, ...) {
    va_list args;
    if (!G.json) return;
    va_start(args, fmt);
    vfprintf(G.json, fmt, args);
    va_end(args);
    fputc('\n', G.json);
    fflush(G.json);
}

static void wait_all(void) {
    struct err err = {0};
    stop_on(G.v.be->sync(G.v.d, &err), &err);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one call, each round long enough (5 ms) that the clock and the wait do not
 * count. */
static double median(void (*fn)(void *ctx), void *ctx) {
    double t[ROUNDS], one;
    int calls;
    for (int i = 0; i < WARM; i++) fn(ctx);
    wait_all();
    one = now();
    fn(ctx);
    wait_all();
    one = now() - one;
    calls = one > 5e-3 ? 1 : (int)(5e-3 / one) + 1;
    for (int r = 0; r < ROUNDS; r++) {
        t[r] = now();
        for (int i = 0; i < calls; i++) fn(ctx);
        wait_all();
        t[r] = (now() - t[r]) / calls;
    }
    qsort(t, ROUNDS, sizeof *t, ascending);
    return t[ROUNDS / 2];
}

/* ------------------------------------------------------------------ operations */

struct shapes {
    int B, T, C, NH, V, L;
    void *x, *y, *y2, *pre, *w, *b, *dy, *dx, *qkv, *dqkv, *g, *wte;
    float *dw, *db, *add_db, *lse, *mean, *rstd, *loss, *dwte, *dwpe;
    int32_t *tokens;
    const float *scale;
    struct dropout drop; /* of the operation under way */
    int K, N;            /* of the linear under way    */
};

static void linear_forward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->linear_forward(G.v.d, s->y, NULL, s->x, s->w, s->b, s->B * s->T, s->K, s->N, ACT_NONE);
}
static void linear_gelu(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->linear_forward(G.v.d, s->y, s->pre, s->x, s->w, s->b, s->B * s->T, s->K, s->N,
                           ACT_GELU_TANH);
}
static void linear_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->linear_backward(G.v.d, s->dx, s->dw, s->db, s->dy, s->x, s->w, NULL, ACT_NONE,
                            s->B * s->T, s->K, s->N);
}
/* Without the bias's gradient, which a norm sums. */
static void matrix_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->linear_backward(G.v.d, s->dx, s->dw, NULL, s->dy, s->x, s->w, NULL, ACT_NONE,
                            s->B * s->T, s->K, s->N);
}
static void mlp_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->linear_backward(G.v.d, s->dx, s->dw, NULL, s->dy, s->x, s->w, s->pre, ACT_GELU_TANH,
                            s->B * s->T, s->K, s->N);
}
static void attention_forward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->attention_forward(G.v.d, s->y, s->lse, s->qkv, NULL, s->B, s->T, s->C, s->NH, 0.125f,
                              s->drop);
}
static void attention_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->attention_backward(G.v.d, s->dqkv, s->dy, s->y, s->lse, s->qkv, NULL, s->B, s->T, s->C,
                               s->NH, 0.125f, s->drop);
}
static void norm_forward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->norm_forward(G.v.d, s->y, s->y2, s->mean, s->rstd, s->x, s->dx, s->g, s->b, s->B, s->T,
                         s->C, 1e-5f, s->drop);
}
static void norm_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->norm_backward(G.v.d, s->dx, s->drop.p > 0 ? s->y2 : NULL, s->dw, s->db, s->add_db,
                          s->dy, s->x, s->mean, s->rstd, s->g, s->B, s->T, s->C, s->drop);
}
static void classifier(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->classifier(G.v.d, s->loss, s->dx, s->dwte, s->x, s->wte, s->tokens, s->B * s->T, s->C,
                       s->V, s->scale);
}
static void embed_forward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->embed_forward(G.v.d, s->y, s->tokens, NULL, s->wte, s->wte, s->B, s->T, s->C,
                          (struct dropout){0});
}
static void embed_backward(void *ctx) {
    struct shapes *s = ctx;
    G.v.be->embed_backward(G.v.d, s->dwte, s->dwpe, s->dy, s->tokens, NULL, s->B, s->T, s->C, s->V,
                           (struct dropout){0});
}

/* One line of the table and of the JSON. */
static void report(const char *model, const char *what, double s, double flops, double bytes) {
    printf("%-6s %-24s %9.3f ms", model, what, s * 1e3);
    if (flops > 0)
        printf(" %7.1f TFLOP/s %5.1f %% of %.0f", flops * 1e-12 / s,
               100 * flops * 1e-12 / s / G.card.tflops, G.card.tflops);
    if (bytes > 0)
        printf(" %7.0f GB/s %5.1f %% of %.0f", bytes * 1e-9 / s,
               100 * bytes * 1e-9 / s / G.card.gbytes, G.card.gbytes);
    putchar('\n');
    fflush(stdout);
    json_line("{\"model\": \"%s\", \"op\": \"%s\", \"ms\": %.6g, \"flops\": %.6g, \"bytes\": %.6g}",
              model, what, s * 1e3, flops, bytes);
}

static void bench_linear(const char *model, const char *name, struct shapes *s, int K, int N,
                         void (*forward)(void *ctx), void (*backward)(void *ctx)) {
    char what[48];
    double flops = 2.0 * s->B * s->T * K * N;
    s->K = K, s->N = N;
    snprintf(what, sizeof what, "%s forward", name);
    report(model, what, median(forward, s), flops, 0);
    snprintf(what, sizeof what, "%s backward", name);
    report(model, what, median(backward, s), 2 * flops, 0);
}

/* n random values in bf16: a block of them over and over, as making them takes a host's time. */
static void *random_act(uint64_t seed, size_t n, float scale) {
    const size_t block = 1 << 22, bytes = 2;
    if (n <= block) return dev_random(&G.v, seed, n, scale);
    char *from = dev_random(&G.v, seed, block, scale), *to = dev_zero(&G.v, n / 2 + 1);
    for (size_t at = 0; at < n; at += block)
        G.v.be->copy(G.v.d, to + at * bytes, from, (n - at < block ? n - at : block) * bytes);
    return to;
}

static void make_shapes(struct shapes *s, const struct preset *p, int B) {
    struct dev *v = &G.v;
    size_t rows = (size_t)B * (size_t)G.T, C = (size_t)p->C, V = (size_t)p->V;
    *s = (struct shapes){.B = B, .T = G.T, .C = p->C, .NH = p->NH, .V = (int)V, .L = p->L};
    s->x = random_act(1, rows * 4 * C, 1), s->y = dev_zero(v, rows * 4 * C / 2 + 1);
    s->y2 = dev_zero(v, rows * C), s->pre = random_act(2, rows * 4 * C, 1);
    s->w = random_act(3, 4 * C * C, 0.02f), s->b = random_act(4, 4 * C, 0.02f);
    s->dy = random_act(5, rows * 4 * C, 1), s->dx = random_act(6, rows * 4 * C, 1);
    s->qkv = random_act(7, rows * 3 * C, 1), s->dqkv = random_act(8, rows * 3 * C, 1);
    s->g = random_act(9, C, 1), s->wte = random_act(10, V * C, 0.02f);
    s->dw = dev_zero(v, 4 * C * C), s->db = dev_zero(v, 4 * C);
    s->add_db = dev_zero(v, C), s->lse = dev_zero(v, rows * C / 32);
    s->mean = dev_zero(v, rows), s->rstd = dev_random_f32(v, 11, rows, 1);
    s->loss = dev_zero(v, rows), s->dwte = dev_zero(v, V * C), s->dwpe = dev_zero(v, rows * C);
    s->tokens = dev_ints_below(v, 12, rows, (int32_t)V);
    s->scale = dev_bytes(v, &(float){1e-3f}, sizeof(float));
}

static void bench_ops(const struct preset *p, int B) {
    struct shapes s;
    make_shapes(&s, p, B);
    double n = (double)B * G.T * p->C, attention = 2.0 * B * G.T * G.T * p->C; /* causal half */
    printf("\n%s, B %d, T %d, each operation:\n", p->name, B, G.T);
    report(p->name, "attention forward", median(attention_forward, &s), attention, 0);
    report(p->name, "attention backward", median(attention_backward, &s), 2.5 * attention, 0);
    bench_linear(p->name, "qkv", &s, p->C, 3 * p->C, linear_forward, linear_backward);
    bench_linear(p->name, "proj", &s, p->C, p->C, linear_forward, matrix_backward);
    bench_linear(p->name, "fc+gelu", &s, p->C, 4 * p->C, linear_gelu, linear_backward);
    bench_linear(p->name, "mlp", &s, 4 * p->C, p->C, linear_forward, mlp_backward);
    report(p->name, "classifier", median(classifier, &s), 6.0 * B * G.T * p->C * s.V, 0);
    report(p->name, "norm forward", median(norm_forward, &s), 0, 8 * n);
    report(p->name, "norm backward", median(norm_backward, &s), 0, 8 * n);
    report(p->name, "embed forward", median(embed_forward, &s), 0, 4 * n);
    report(p->name, "embed backward", median(embed_backward, &s), 0, 2 * n);
    s.drop = DROPOUT;
    report(p->name, "attention forward, drop", median(attention_forward, &s), attention, 0);
    report(p->name, "attention backward, drop", median(attention_backward, &s), 2.5 * attention, 0);
    report(p->name, "norm forward, drop", median(norm_forward, &s), 0, 8 * n);
    report(p->name, "norm backward, drop", median(norm_backward, &s), 0, 10 * n);
    dev_close(&G.v);
    dev_open_measuring(&G.v, DTYPE_BF16, 0, G.products);
}

/* ------------------------------------------------------------------ whole steps */

struct training {
    struct model *m;
    struct optimizer o;
    struct model_batch batch;
    struct step_scalars s;
};

static void train_step(void *ctx) {
    struct training *t = ctx;
    struct err err = {0};
    uint64_t targets;
    model_zero_grads(t->m);
    stop_on(model_forward_backward(t->m, &t->batch, 1.0f / (float)(t->batch.B * t->batch.T), NULL,
                                   &targets, &err),
            &err);
    t->s.step++;
    t->s.targets = (double)targets;
    stop_on(optimizer_step(&t->o, &t->s, &err), &err);
}

static struct model_config config_of(const struct preset *p, float dropout) {
    struct model_config c = model_config_gpt2;
    c.L = p->L, c.C = p->C, c.NH = p->NH, c.V = p->V, c.inner = 4 * p->C, c.P = G.T;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = dropout;
    return c;
}

static void report_step(const struct preset *p, int B, double s, uint64_t bytes, double loss,
                        float dropout, bool recorded) {
    double C = p->C, L = p->L, T = G.T;
    double body = L * (12 * C * C + 13 * C) + 2 * C + p->V * C, tps = B * T / s;
    double nanogpt = tps * (6 * body + 12 * L * C * T) * 1e-12 / G.card.tflops;
    double llmc = tps * (6 * (body + C * T) + 6 * L * C * T) * 1e-12 / G.card.tflops;
    printf("%-6s B %3d T %d: %8.0f tokens/s, %8.2f ms a step, MFU %.1f %%, MFU/2 %.1f %% of %.1f, "
           "%.1f GiB of activations, loss %.3f%s%s\n",
           p->name, B, G.T, tps, s * 1e3, 100 * nanogpt, 100 * llmc, G.card.tflops,
           (double)bytes / 1073741824, loss, dropout > 0 ? ", dropout" : "",
           recorded ? "" : ", kernels one by one");
    fflush(stdout);
    json_line("{\"model\": \"%s\", \"step\": true, \"B\": %d, \"T\": %d, \"tokens_per_s\": %.1f, "
              "\"ms\": %.4f, \"mfu_12lct\": %.4f, \"mfu_6lct\": %.4f, \"peak_tflops\": %.1f, "
              "\"activation_bytes\": %llu, \"dropout\": %g, \"recorded\": %s}",
              p->name, B, G.T, tps, s * 1e3, nanogpt, llmc, G.card.tflops,
              (unsigned long long)bytes, (double)dropout, recorded ? "true" : "false");
}

/* B rows a step; the device's recordings (CUDA graphs) used or not. False: they do not fit. */
static bool bench_step(const struct preset *p, int B, float dropout, bool recorded) {
    struct backend ops = *G.v.be;
    if (!recorded) ops.record = NULL;
    struct model_config c = config_of(p, dropout);
    struct training t = {
        .s = {
            .lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .clip = 1, .grad_scale = 1}};
    struct err err = {0};
    uint64_t bytes = 0;
    int rc = model_new(&t.m, &c, &ops, G.v.d, DTYPE_BF16, true, &err);
    if (rc == 0) rc = optimizer_new(&t.o, t.m, G.v.be, G.v.d, &err);
    if (rc == 0) rc = model_plan(t.m, B, G.T, true, &bytes, &err);
    if (rc == 0) rc = model_init(t.m, 1, &err);
    if (rc == 0) {
        int32_t *tokens = ints_below(1, (size_t)B * (size_t)G.T, c.V);
        t.batch = (struct model_batch){.B = B, .T = G.T, .tokens = tokens, .labels = tokens};
        t.batch.dropout = dropout > 0;
        double s = median(train_step, &t);
        report_step(p, B, s, bytes, t.s.loss_sum / t.s.targets, dropout, recorded);
        free(tokens);
    }
    if (t.o.backend) optimizer_free(&t.o);
    model_free(t.m);
    if (rc < 0 && rc != ERR_NOMEM) stop_on(rc, &err);
    return rc == 0;
}

/* As many rows as fit, at most B; of the smallest once with dropout, too, and once without
 * recordings, where launches may be felt. */
static void bench_steps(const struct preset *p, int B) {
    struct model_config c = config_of(p, 0);
    struct err err = {0};
    uint64_t available = 0;
    int most = B;
    stop_on(G.v.be->memory(0, &available, &err), &err);
    stop_on(model_largest_batch(&most, &c, G.v.be, G.v.d, DTYPE_BF16, G.T, RECOMPUTE_NONE,
                                available, &err),
            &err);
    if (B > most) B = most;
    while (B > 0 && !bench_step(p, B, 0, true)) B /= 2;
    if (B == 0) printf("%-6s does not fit\n", p->name);
    if (B > 0 && p == PRESETS) bench_step(p, B, DROPOUT.p, true);
    if (B > 0 && G.v.be->record && p == PRESETS) bench_step(p, B, 0, false);
}

/* ------------------------------------------------------------------ generation */

enum { PROMPT = 16, NEW_IDS = 256, TEXTS = 64 };

struct generation {
    struct generator *g;
    struct gen_row rows[TEXTS];
    struct rng rngs[TEXTS];
    struct u32s out[TEXTS];
    struct sampling how;
    int B, n_new;
};

static void generate_ids(void *ctx) {
    struct generation *t = ctx;
    struct err err = {0};
    for (int b = 0; b < t->B; b++) t->out[b].n = 0;
    stop_on(generate_rows(t->g, t->rows, t->B, -1, &t->how, NULL, NULL, &err), &err);
}

/* `s`: seconds of one id of each text; `weights`: bytes. */
static void report_generation(const struct preset *p, int B, double s, double weights) {
    printf("%-6s generation, B %3d: %8.0f ids/s, %8.3f ms an id, %.1f %% of %.0f GB/s\n", p->name,
           B, B / s, s * 1e3, 100 * weights / s * 1e-9 / G.card.gbytes, G.card.gbytes);
    fflush(stdout);
    json_line(
        "{\"model\": \"%s\", \"generation\": true, \"B\": %d, \"ids_per_s\": %.1f, \"ms\": %.4f}",
        p->name, B, B / s, s * 1e3);
}

/* B texts of a prompt and up to NEW_IDS drawn ids each. An id reads all weights once for all
 * texts. */
static void bench_texts(const struct preset *p, const struct model_config *c, struct model *m,
                        int B) {
    static uint32_t prompt[PROMPT];
    struct generation t = {.B = B,
                           .n_new = G.T - PROMPT < NEW_IDS ? G.T - PROMPT : NEW_IDS,
                           .how = {.temperature = 0.8f, .top_k = 50, .top_p = 0.95f}};
    struct err err = {0};
    stop_on(generator_new(&t.g, m, B, 0, &err), &err);
    for (int i = 0; i < PROMPT; i++) prompt[i] = (uint32_t)(i * 1543 % c->V);
    for (int b = 0; b < B; b++) {
        t.rngs[b] = (struct rng){1, (uint64_t)b, 0};
        t.rows[b] = (struct gen_row){
            .prompt = prompt, .n = PROMPT, .max_new = t.n_new, .rng = &t.rngs[b], .out = &t.out[b]};
    }
    report_generation(p, B, median(generate_ids, &t) / t.n_new,
                      2.0 * (double)model_config_params(c));
    for (int b = 0; b < B; b++) u32s_release(&t.out[b]);
    generator_free(t.g);
}

static void bench_generation(const struct preset *p) {
    struct model_config c = config_of(p, 0);
    struct model *m;
    struct err err = {0};
    stop_on(model_new(&m, &c, G.v.be, G.v.d, DTYPE_BF16, false, &err), &err);
    stop_on(model_init(m, 1, &err), &err);
    for (int B = 1; B <= TEXTS; B *= 8) bench_texts(p, &c, m, B);
    model_free(m);
}

static void find_card(void) {
    const char *text = G.v.be->describe(G.v.d);
    G.card = (struct card){"?", 989.4, 3350};
    for (size_t i = 0; i < sizeof CARDS / sizeof *CARDS; i++)
        if (strstr(text, CARDS[i].in_name)) {
            G.card = CARDS[i];
            break;
        }
    printf("%s\n", text);
    json_line("{\"device\": \"%s\"}", text);
}

static bool listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, name, n) && (p[n] == ',' || p[n] == 0)) return true;
    return false;
}

/* A title, and what has been said is on its way before the next line takes its time. */
static void section(const char *title, double began) {
    printf("\n%s (after %.0f s)\n", title, now() - began);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *models = "124M,350M,774M,1558M", *ops = "124M,1558M", *texts = models, *json = NULL;
    int batch = 0, quick = argc > 1 && !strcmp(argv[1], "--quick");
    double began = now();
    G.T = 1024;
    if (quick) models = "124M,1558M", ops = "124M", texts = "none";
    for (int i = 1 + quick; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--models"))
            models = value;
        else if (!strcmp(argv[i], "--ops"))
            ops = value;
        else if (!strcmp(argv[i], "--generation"))
            texts = value;
        else if (!strcmp(argv[i], "--batch"))
            batch = (int)strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--seq"))
            G.T = (int)strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--json"))
            json = value;
        else if (!strcmp(argv[i], "--products"))
            G.products = value;
        else
            return fprintf(stderr, "bench_gpu: unknown option %s\n", argv[i]), 2;
    }
    if (json && !(G.json = fopen(json, "w"))) return perror(json), 4;
    dev_open_measuring(&G.v, DTYPE_BF16, 0, G.products);
    find_card();
    section("whole steps", began);
    for (const struct preset *p = PRESETS; p < PRESETS + N_PRESETS; p++)
        if (listed(models, p->name)) bench_steps(p, batch ? batch : p->B);
    section("operations", began);
    for (const struct preset *p = PRESETS; p < PRESETS + N_PRESETS; p++)
        if (listed(ops, p->name)) bench_ops(p, batch ? batch : p->B);
    section("generation", began);
    for (const struct preset *p = PRESETS; p < PRESETS + N_PRESETS; p++)
        if (listed(texts, p->name)) bench_generation(p);
    const char *notes = G.v.be->notes ? G.v.be->notes(G.v.d) : "";
    section(strstr(notes, "no fused") ? "notes" : "every product had its epilogue fused", began);
    puts(notes);
    json_line("{\"notes\": \"%s\", \"seconds\": %.1f}", notes, now() - began);
    if (G.json) fclose(G.json);
    dev_close(&G.v);
    return 0;
}
