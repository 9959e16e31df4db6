/* Times whole training steps (forward, backward, norm, AdamW) of a GPT-2 on random tokens:
 *
 *     bench_model [fp32|bf16 [THREADS [B T L C NH V [DROPOUT]]]]
 *
 * prints tokens/s by wall time, and by processor time as if the threads had never waited; that also
 * as a part of the multiply-add peak, measured before and after each step, at 6N + 6LCT FLOP per
 * token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "harness.h"
#include "peak.h"
#include "train/model.h"

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

/* Parameters with fresh moments, as the optimizer sees them. */
static struct param_slice *slices(struct dev *v, struct model *m, size_t *ret_n) {
    struct param *p;
    size_t n = model_params(m, &p);
    struct param_slice *s = calloc(n, sizeof *s);
    struct err err = {0};
    for (size_t i = 0; s && i < n; i++) {
        void *moments[2];
        for (int k = 0; k < 2; k++)
            stop_on(v->be->alloc(v->d, &moments[k], p[i].n * sizeof(float), &err), &err);
        s[i] = (struct param_slice){p[i].master,
                                    p[i].grad,
                                    moments[0],
                                    moments[1],
                                    p[i].act == p[i].master ? NULL : p[i].act,
                                    p[i].n,
                                    p[i].decay};
    }
    *ret_n = n;
    return s;
}

int main(int argc, char **argv) {
    bool bf16 = argc > 1 && strcmp(argv[1], "bf16") == 0;
    int threads = argc > 2 ? number(argv[2]) : 2, shape[6] = {8, 256, 8, 320, 5, 8192};
    for (int i = 0; i < 6 && argc > 3 + i; i++) shape[i] = number(argv[3 + i]);
    int B = shape[0], T = shape[1];
    struct model_config c = model_config_gpt2;
    c.L = shape[2], c.C = shape[3], c.NH = shape[4], c.V = shape[5], c.inner = 4 * c.C, c.P = T;
    c.embd_pdrop = c.attn_pdrop = c.resid_pdrop = argc > 9 ? strtof(argv[9], NULL) : 0;

    struct dev v;
    struct model *m;
    struct err err = {0};
    double sum;
    uint64_t targets, bytes;
    size_t n;
    dev_open_best(&v, bf16 ? DTYPE_BF16 : DTYPE_F32, threads);
    stop_on(model_new(&m, &c, v.be, v.d, v.dtype, true, &err), &err);
    stop_on(model_init(m, 1, &err), &err);
    model_cast(m);
    stop_on(model_plan(m, B, T, true, &bytes, &err), &err);
    struct param_slice *p = slices(&v, m, &n);
    int32_t *tokens = ints_below(1, (size_t)B * (size_t)T, c.V);
    struct model_batch batch = {.B = B,
                                .T = T,
                                .tokens = tokens,
                                .labels = tokens,
                                .dropout = c.attn_pdrop > 0,
                                .dropout_key = 1};
    struct step_scalars s = {
        .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .clip = 1, .grad_scale = 1};
    printf("%s; %.1f MB of activations\n", v.be->describe(v.d), (double)bytes * 1e-6);
    double best = 1e9, best_cpu = 1e9, best_part = 0, N = 0;
    for (size_t i = 0; i < n; i++) N += (double)p[i].n;
    double flops = 6 * N + 6.0 * c.L * c.C * T;
    bool pairs = bf16 && peak_flops(1, true, 1e-4) > 0;
    double peak = peak_flops(threads, pairs, 0.02);
    for (int i = 0; i < 8; i++) {
        double t = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        model_zero_grads(m);
        stop_on(model_forward_backward(m, &batch, 1.0f / (float)(B * T), &sum, &targets, &err),
                &err);
        s.step++;
        v.be->grad_norm(v.d, &s, p, n);
        v.be->adamw(v.d, &s, p, n);
        cpu = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / threads;
        t = seconds(CLOCK_MONOTONIC) - t;
        if (t < best) best = t;
        if (cpu < best_cpu) best_cpu = cpu;
        double after = peak_flops(threads, pairs, 0.02);
        double part = after > 0 ? B * T * flops / (cpu * threads) / ((peak + after) / 2) : 0;
        if (part > best_part) best_part = part;
        peak = after;
        printf("step %d: loss %.4f, %.0f tokens/s, by processor time %.0f, %.1f %% of peak\n",
               i + 1, sum / (double)targets, B * T / t, B * T / cpu, 100 * part);
        fflush(stdout);
    }
    printf("best: %.0f tokens/s, by processor time %.0f, %.1f %% of peak\n", B * T / best,
           B * T / best_cpu, 100 * best_part);
    free(tokens);
    free(p);
    model_free(m);
    dev_close(&v);
    return 0;
}
