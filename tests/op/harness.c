/* See harness.h. */
#include "harness.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/rng.h"
#include "peak.h"
#ifndef OP_DEVICE
#include "train/cpu/cpu.h"
#endif

enum { MAX_OUT = 12 };

struct out {
    struct result {
        const char *name;
        float *v;
        size_t n;
        double tol[2]; /* fp32, bf16 */
    } r[MAX_OUT];
    int n;
};

static int failures, checks;

void expect(bool ok, const char *fmt, ...) {
    checks++;
    if (ok) return;
    if (++failures > 20) return;
    va_list args;
    va_start(args, fmt);
    fputs("FAILED: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

static void *must(void *p) {
    if (p) return p;
    fputs("out of memory\n", stderr);
    exit(7);
}

/* What a seed has given so far. Every table and number of threads asks for the same values again,
 * and drawing them took three quarters of the time of the large shapes. */
struct drawn {
    struct rng r;
    uint64_t seed;
    float *v;
    size_t n, room;
};

static struct drawn *drawn_of(uint64_t seed) {
    static struct drawn all[64];
    static size_t n;
    for (size_t i = 0; i < n; i++)
        if (all[i].seed == seed) return &all[i];
    struct drawn *d = &all[n < sizeof all / sizeof *all ? n++ : n - 1];
    free(d->v);
    *d = (struct drawn){.r = {seed, 1, 0}, .seed = seed};
    return d;
}

struct arr arr_random(uint64_t seed, size_t n, float scale) {
    struct drawn *d = drawn_of(seed);
    if (d->room < n) d->v = must(realloc(d->v, n * sizeof *d->v)), d->room = n;
    while (d->n < n) d->v[d->n++] = (float)rng_normal(&d->r);
    struct arr a = {must(calloc(n ? n : 1, sizeof(float))), n};
    for (size_t i = 0; i < n; i++) a.v[i] = d->v[i] * scale;
    return a;
}

int32_t *ints_below(uint64_t seed, size_t n, int32_t below) {
    struct rng r = {seed, 2, 0};
    int32_t *p = must(calloc(n ? n : 1, sizeof *p));
    for (size_t i = 0; i < n; i++) p[i] = (int32_t)rng_below(&r, (uint64_t)below);
    return p;
}

static uint16_t to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void *hold(struct dev *v, const void *host, size_t bytes) {
    void *p = NULL;
    struct err err = {0};
    if (v->n_held == 64 || v->be->alloc(v->d, &p, bytes ? bytes : 1, &err) < 0) must(NULL);
    if (host) v->be->upload(v->d, p, host, bytes);
    return v->held[v->n_held++] = p;
}

void *dev_act(struct dev *v, struct arr a) {
    if (a.n == 0) return NULL;
    if (v->dtype == DTYPE_F32 && !v->round) return hold(v, a.v, a.n * sizeof *a.v);
    uint16_t *h = must(malloc(a.n * sizeof *h));
    float *f = must(malloc(a.n * sizeof *f));
    for (size_t i = 0; i < a.n; i++) f[i] = from_bf16(h[i] = to_bf16(a.v[i]));
    void *p = v->dtype == DTYPE_F32 ? hold(v, f, a.n * sizeof *f) : hold(v, h, a.n * sizeof *h);
    free(f);
    free(h);
    return p;
}

void *dev_f32(struct dev *v, struct arr a) {
    return hold(v, a.v, a.n * sizeof *a.v);
}

void *dev_ints(struct dev *v, const int32_t *p, size_t n) {
    return p ? hold(v, p, n * sizeof *p) : NULL;
}

void *dev_bytes(struct dev *v, const void *p, size_t n) {
    return hold(v, p, n);
}

void *dev_random(struct dev *v, uint64_t seed, size_t n, float scale) {
    struct arr a = arr_random(seed, n, scale);
    void *p = dev_act(v, a);
    free(a.v);
    return p;
}

float *dev_random_f32(struct dev *v, uint64_t seed, size_t n, float scale) {
    struct arr a = arr_random(seed, n, scale);
    void *p = dev_f32(v, a);
    free(a.v);
    return p;
}

void *dev_zero(struct dev *v, size_t n) {
    return hold(v, NULL, n * sizeof(float));
}

int32_t *dev_ints_below(struct dev *v, uint64_t seed, size_t n, int32_t below) {
    int32_t *p = ints_below(seed, n, below);
    void *q = dev_ints(v, p, n);
    free(p);
    return q;
}

float *dev_get(struct dev *v, const void *p, size_t n, bool act) {
    float *f = must(malloc((n ? n : 1) * sizeof *f));
    if (!act || v->dtype == DTYPE_F32) {
        v->be->download(v->d, f, p, n * sizeof *f);
        return f;
    }
    uint16_t *h = must(malloc((n ? n : 1) * sizeof *h));
    v->be->download(v->d, h, p, n * sizeof *h);
    for (size_t i = 0; i < n; i++) f[i] = from_bf16(h[i]);
    free(h);
    return f;
}

static void out_add(struct out *o, struct dev *v, const char *name, const void *p, size_t n,
                    double tol32, double tol16, bool act) {
    if (o->n == MAX_OUT) must(NULL);
    o->r[o->n++] = (struct result){name, dev_get(v, p, n, act), n, {tol32, tol16}};
}

void out_act(struct out *o, struct dev *v, const char *name, const void *p, size_t n, double tol32,
             double tol16) {
    out_add(o, v, name, p, n, tol32, tol16, true);
}

void out_f32(struct out *o, struct dev *v, const char *name, const void *p, size_t n, double tol32,
             double tol16) {
    out_add(o, v, name, p, n, tol32, tol16, false);
}

static void out_free(struct out *o) {
    for (int i = 0; i < o->n; i++) free(o->r[i].v);
    o->n = 0;
}

static void dev_open(struct dev *v, const struct backend *be, enum dtype dtype, int threads,
                     const char *plan_file) {
    struct device_opts opts = {.dtype = dtype, .threads = threads, .plan_file = plan_file};
    struct err err = {0};
    *v = (struct dev){.be = be, .dtype = dtype, .threads = threads};
    if (be->open(&v->d, &opts, &err) == 0) return;
    fprintf(stderr, "open: %s\n", err.msg);
    exit(1);
}

void dev_open_ref(struct dev *v) {
    dev_open(v, backend_ref(), DTYPE_F32, 1, NULL);
    snprintf(v->name, sizeof v->name, "ref");
}

#ifdef OP_DEVICE
void dev_open_best(struct dev *v, enum dtype dtype, int threads) {
    dev_open_measuring(v, dtype, threads, NULL);
}
void dev_open_measuring(struct dev *v, enum dtype dtype, int threads, const char *plan_file) {
    dev_open(v, op_device(), dtype, threads, plan_file);
    snprintf(v->name, sizeof v->name, "%s", dtype == DTYPE_BF16 ? "bf16" : "fp32");
}
#else
void dev_open_best(struct dev *v, enum dtype dtype, int threads) {
    dev_open(v, backend_cpu(), dtype, threads, NULL);
    const char *amx = getenv("OP_AMX"); /* for timing: 0 or 1 */
    if (amx && !cpu_use_amx(v->d, *amx == '1')) puts("there are no matrix units");
    snprintf(v->name, sizeof v->name, "%s %dT", dtype == DTYPE_BF16 ? "bf16" : "fp32", threads);
}
#endif

static void dev_forget(struct dev *v) {
    struct err err = {0};
    int rc = v->be->sync(v->d, &err);
    expect(rc == 0, "%s: sync: %s", v->name, err.msg);
    while (v->n_held > 0) v->be->free(v->d, v->held[--v->n_held]);
}

void dev_close(struct dev *v) {
    dev_forget(v);
    v->be->close(v->d);
}

static void compare(const char *op, size_t k, const struct dev *v, const struct result *want,
                    const struct result *got, double tol) {
    double err2 = 0, want2 = 0, worst = 0, rms;
    size_t at = 0;
    for (size_t i = 0; i < want->n; i++) want2 += (double)want->v[i] * want->v[i];
    rms = sqrt(want2 / (double)(want->n ? want->n : 1));
    for (size_t i = 0; i < want->n; i++) {
        double e = fabs((double)got->v[i] - want->v[i]);
        double part = e / (rms + fabs(want->v[i]) + 1e-30);
        err2 += e * e;
        if (!(part <= worst)) worst = part, at = i;
    }
    double rel = sqrt(err2 / (want2 + 1e-60));
    tol *= 1 + 1 / sqrt((double)want->n + 1e-9); /* few elements stray from the mean */
    expect(rel <= tol, "%s case %zu on %s: %s: relative error %.3g, allowed %.3g", op, k, v->name,
           want->name, rel, tol);
    expect(worst <= 30 * tol, "%s case %zu on %s: %s[%zu] is %.9g, expected %.9g", op, k, v->name,
           want->name, at, want->n ? got->v[at] : 0.0, want->n ? want->v[at] : 0.0);
    if (getenv("OP_VERBOSE"))
        printf("%-12s %zu %-24s %-8s rel %.2e of %.2e, worst %.2e\n", op, k, v->name, want->name,
               rel, tol, worst);
}

static void same_bits(const char *op, size_t k, const struct dev *v, const struct out *one,
                      const struct out *many) {
    for (int i = 0; i < one->n; i++)
        expect(memcmp(one->r[i].v, many->r[i].v, one->r[i].n * sizeof(float)) == 0,
               "%s case %zu on %s: %s differs from the first run's", op, k, v->name,
               one->r[i].name);
}

#ifdef OP_DEVICE
static void check_device(const char *op, op_run run, const void *one_case, size_t k,
                         enum dtype dtype, const struct out *want) {
    struct out got[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct dev v;
        dev_open_best(&v, dtype, 0);
        run(&v, one_case, &got[i]);
        for (int r = 0; i == 0 && r < got[i].n; r++)
            compare(op, k, &v, &want->r[r], &got[i].r[r], want->r[r].tol[dtype == DTYPE_BF16]);
        if (i == 1) same_bits(op, k, &v, &got[0], &got[1]);
        dev_close(&v);
    }
    out_free(&got[0]);
    out_free(&got[1]);
}
#else
/* Once more, where all workspaces are full of NaNs. */
static void run_again(const char *op, op_run run, const void *one_case, size_t k, struct dev *v,
                      const struct out *first) {
    struct out again = {0};
    cpu_spoil_work(v->d);
    run(v, one_case, &again);
    same_bits(op, k, v, first, &again);
    out_free(&again);
}

static void check_table(const char *op, op_run run, const void *one_case, size_t k, int isa,
                        bool amx, enum dtype dtype, const struct out *want) {
    struct out one = {0};
    for (int threads = 1; threads <= 3; threads++) {
        struct dev v;
        struct out got = {0};
        dev_open(&v, cpu_backend(isa), dtype, threads, NULL);
        if (!cpu_use_amx(v.d, amx)) {
            dev_close(&v);
            break;
        }
        snprintf(v.name, sizeof v.name, "%s%s %s, %d threads", cpu_isa_name(isa), amx ? " AMX" : "",
                 dtype == DTYPE_BF16 ? "bf16" : "fp32", threads);
        run(&v, one_case, &got);
        if (threads == 1) {
            for (int i = 0; i < got.n; i++)
                compare(op, k, &v, &want->r[i], &got.r[i], want->r[i].tol[dtype == DTYPE_BF16]);
            one = got;
            run_again(op, run, one_case, k, &v, &one);
        } else {
            same_bits(op, k, &v, &one, &got);
            out_free(&got);
        }
        dev_close(&v);
    }
    out_free(&one);
}

static void check_device(const char *op, op_run run, const void *one_case, size_t k,
                         enum dtype dtype, const struct out *want) {
    for (int isa = 0; isa < CPU_ISAS; isa++)
        for (int amx = 0; cpu_backend(isa) && amx < 2; amx++)
            check_table(op, run, one_case, k, isa, amx, dtype, want);
}
#endif

void op_check(const char *op, op_run run, const void *cases, size_t n_cases, size_t case_bytes) {
    for (size_t k = 0; k < n_cases; k++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            const void *one_case = (const char *)cases + k * case_bytes;
            struct dev ref;
            struct out want = {0};
            dev_open_ref(&ref);
            ref.round = bf16;
            run(&ref, one_case, &want);
            dev_close(&ref);
            check_device(op, run, one_case, k, bf16 ? DTYPE_BF16 : DTYPE_F32, &want);
            out_free(&want);
        }
}

double op_slope(double (*f)(void *ctx), void *ctx, float *x) {
    const float h = 0x1p-5f, was = *x;
    double y[4], at[4];
    for (int i = 0; i < 4; i++) {
        *x = was + h * (float)(i < 2 ? i - 2 : i - 1);
        at[i] = *x;
        y[i] = f(ctx);
    }
    *x = was;
    double near = (y[2] - y[1]) / (at[2] - at[1]), far = (y[3] - y[0]) / (at[3] - at[0]);
    return (4 * near - far) / 3;
}

double weighted(const float *y, const float *w, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)y[i] * w[i];
    return s;
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Wall time; and processor time against that of multiply-adds right before and after, which says
 * the same on a busy machine. */
void op_bench(struct dev *v, const char *what, void (*fn)(struct dev *v, void *ctx), void *ctx,
              double flops, double bytes) {
    enum { MOST = 60 };
    double best = 1e9, best_cpu = 1e9, total = 0, parts[MOST];
    bool pairs = v->dtype == DTYPE_BF16 && peak_flops(1, true, 1e-4) > 0;
    int n = 0;
    fn(v, ctx);
    double peak = peak_flops(v->threads, pairs, 2e-3);
    for (; n < MOST && (total < 0.7 || n < 5); n++) {
        double t = seconds(CLOCK_MONOTONIC), c = seconds(CLOCK_PROCESS_CPUTIME_ID);
        fn(v, ctx);
        c = seconds(CLOCK_PROCESS_CPUTIME_ID) - c;
        t = seconds(CLOCK_MONOTONIC) - t;
        total += t;
        if (t < best) best = t;
        if (c < best_cpu) best_cpu = c;
        double after = peak_flops(v->threads, pairs, 2e-3);
        parts[n] = after > 0 ? flops / c / ((peak + after) / 2) : 0;
        peak = after;
    }
    qsort(parts, (size_t)n, sizeof *parts, ascending);
    printf("%-8s %-42s %9.3f ms", v->name, what, best * 1e3);
    if (flops > 0) printf(" %7.1f GFLOP/s", flops * 1e-9 / best);
    if (bytes > 0) printf(" %6.1f GB/s", bytes * 1e-9 / best);
    printf("   cpu %8.3f ms", best_cpu * 1e3);
    if (flops > 0) printf(" %5.1f %% of peak", 100 * parts[n / 2]);
    putchar('\n');
    fflush(stdout);
    dev_forget(v);
}

int op_main(int argc, char **argv, const struct op_program *p) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "--bench") == 0) {
        for (int bf16 = 0; p->bench && bf16 < 2; bf16++)
            for (int threads = 1; threads <= (argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2);
                 threads++) {
                struct dev v;
                dev_open_best(&v, bf16 ? DTYPE_BF16 : DTYPE_F32, threads);
                p->bench(&v);
                dev_close(&v);
            }
        return 0;
    }
    if (strcmp(mode, "--full") == 0) {
        if (p->full) p->full();
    } else {
#ifndef OP_DEVICE
        if (p->slopes) p->slopes(); /* the reference's own */
#endif
        p->quick();
    }
    printf("%d checks, %d failed\n", checks, failures);
    return failures > 0;
}
