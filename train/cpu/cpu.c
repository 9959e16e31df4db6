/* The CPU device: which instruction set, how many threads, workspaces, memory. */
#include "train/cpu/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/pool.h"
#include "train/cpu/gemm_onednn.h"
#include "train/cpu/table.h"
#ifdef HAVE_X86_ISAS
#include <cpuid.h>
#endif

static const char *const ISA_NAMES[CPU_ISAS] = {"plain", "avx2", "avx512", "avx512bf16"};

const char *cpu_isa_name(int i) {
    return ISA_NAMES[i];
}

const struct backend *cpu_backend(int i) {
    if (i == 0) return &cpu_table_plain;
#ifdef HAVE_X86_ISAS
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (i == 1 && avx2) return &cpu_table_avx2;
    if (i == 2 && avx512) return &cpu_table_avx512;
    if (i == 3 && avx512 && __builtin_cpu_supports("avx512bf16")) return &cpu_table_avx512bf16;
#endif
    return NULL;
}

const struct backend *backend_cpu(void) {
    for (int i = CPU_ISAS - 1; i > 0; i--)
        if (cpu_backend(i)) return cpu_backend(i);
    return cpu_backend(0);
}

/* "AMD EPYC", from the first "model name" (x86) of /proc/cpuinfo; "CPU" where there is none. */
static void processor_name(char *name, size_t n) {
    char line[256];
    snprintf(name, n, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0) continue;
        colon += strspn(colon, ": \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, n, "%s", colon);
        break;
    }
    if (f) fclose(f);
}

bool cpu_use_onednn(struct device *d, bool use) {
#ifdef HAVE_ONEDNN
    onednn_free(d->onednn);
    d->onednn = use ? onednn_new(d->threads) : NULL;
    return !use || d->onednn;
#else
    (void)d;
    return !use;
#endif
}

/* Matrix units for bf16 (Sapphire Rapids on), which only oneDNN's kernels use. Elsewhere gemm.c's
 * own are as fast or faster. */
static bool has_matrix_units(void) {
#ifdef HAVE_X86_ISAS
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & 1; /* AMX-BF16 */
#else
    return false;
#endif
}

static void describe(struct device *d, int isa) {
    char name[96];
    processor_name(name, sizeof name);
    const char *onednn = "";
#ifdef HAVE_ONEDNN
    if (d->onednn) onednn = onednn_version();
#endif
    snprintf(d->text, sizeof d->text, "cpu: %s, %d thread%s, %s, %s%s%s", name, d->threads,
             d->threads == 1 ? "" : "s", ISA_NAMES[isa], onednn, *onednn ? ", " : "",
             !d->bf16   ? "fp32"
             : isa == 3 ? "bf16"
                        : "bf16 (widened to fp32)");
}

int cpu_open(struct device **ret, const struct device_opts *opts, int isa, struct err *err) {
    if (opts->threads < 0 || opts->threads > 4096)
        return err_set(err, ERR_USAGE, "cpu: %d threads; give 0 for all there are", opts->threads);
    struct device *d = calloc(1, sizeof *d);
    if (!d) return err_nomem(err, sizeof *d);
    d->bf16 = opts->dtype == DTYPE_BF16;
    d->threads = opts->threads ? opts->threads : pool_cpus();
    if (d->bf16 && isa == 3 && has_matrix_units()) cpu_use_onednn(d, true);
    describe(d, isa);
    *ret = d;
    return 0;
}

void cpu_close(struct device *d) {
    if (d) cpu_use_onednn(d, false);
    for (int i = 0; d && i < WORK_KINDS; i++) free(d->work[i].p);
    free(d);
}

const char *cpu_describe(const struct device *d) {
    return d->text;
}

static void *aligned(size_t bytes) {
    if (bytes > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, bytes ? (bytes + 63) / 64 * 64 : 64);
}

void *cpu_work(struct device *d, enum cpu_work which, size_t bytes) {
    if (d->first.code) return NULL;
    if (d->work[which].p && d->work[which].bytes >= bytes) return d->work[which].p;
    free(d->work[which].p);
    d->work[which].p = aligned(bytes);
    d->work[which].bytes = d->work[which].p ? bytes : 0;
    if (!d->work[which].p) err_nomem(&d->first, bytes);
    return d->work[which].p;
}

/* Stands before every block: how it was had. Large ones are mapped, in pages of 2 MiB where the
 * system has them: a 124M model's 2 GB are then zeroed once, by the kernel, at a thousand page
 * faults instead of half a million. */
enum { HEAD = 64, MAPPED_FROM = 4 << 20 };
struct head {
    size_t mapped; /* bytes; 0: malloc'd */
};

int cpu_alloc(struct device *d, void **ret, size_t bytes, struct err *err) {
    (void)d;
    if (bytes > SIZE_MAX - HEAD) return err_nomem(err, bytes);
    size_t all = bytes + HEAD, mapped = bytes >= MAPPED_FROM ? all : 0;
    void *p = mapped ? mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : aligned(all);
    if (!p || p == MAP_FAILED) return err_nomem(err, bytes);
    if (mapped)
        madvise(p, all, MADV_HUGEPAGE); /* advice: whether it is taken changes no number */
    else
        memset(p, 0, all);
    *(struct head *)p = (struct head){mapped};
    *ret = (char *)p + HEAD;
    return 0;
}

void cpu_free(struct device *d, void *p) {
    (void)d;
    if (!p) return;
    struct head *h = (struct head *)((char *)p - HEAD);
    if (h->mapped)
        munmap(h, h->mapped);
    else
        free(h);
}

void cpu_copy(struct device *d, void *to, const void *from, size_t bytes) {
    (void)d;
    if (bytes) memcpy(to, from, bytes);
}

void cpu_zero(struct device *d, void *p, size_t bytes) {
    (void)d;
    if (bytes) memset(p, 0, bytes);
}

int cpu_sync(struct device *d, struct err *err) {
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}
