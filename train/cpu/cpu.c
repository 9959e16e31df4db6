/* The CPU device: which instruction set, how many threads, workspaces, memory. */
#include "train/cpu/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/pool.h"
#include "train/cpu/table.h"
#ifdef HAVE_X86_AMX
#include "train/cpu/amx.h"
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

/* Do products of pairs of bf16 pay? On AMD's, whose vdpbf16ps is as fast as a multiply-add of fp32
 * and does twice as much. Intel's does one where there is time for four of those (measured on
 * Emerald Rapids), as its matrix units are meant for that; where a hypervisor hides them, bf16 that
 * is widened trains 1.5 times as fast. */
static bool pairs_pay(void) {
#ifdef HAVE_X86_AMX
    if (amx_allowed()) return true;
#endif
#ifdef HAVE_X86_ISAS
    return !__builtin_cpu_is("intel");
#else
    return false;
#endif
}

const struct backend *backend_cpu(void) {
    for (int i = CPU_ISAS - 1; i > 0; i--)
        if (cpu_backend(i) && (i < CPU_PAIRS || pairs_pay())) return cpu_backend(i);
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

bool cpu_use_amx(struct device *d, bool use) {
    d->amx = false;
#ifdef HAVE_X86_AMX
    d->amx = use && d->isa == CPU_PAIRS && amx_allowed();
#endif
    return d->amx == use;
}

static void describe(struct device *d) {
    char name[96];
    processor_name(name, sizeof name);
    snprintf(d->text, sizeof d->text, "cpu: %s, %d thread%s, %s, %s%s", name, d->threads,
             d->threads == 1 ? "" : "s", ISA_NAMES[d->isa], d->amx ? "AMX, " : "",
             !d->bf16              ? "fp32"
             : d->isa == CPU_PAIRS ? "bf16"
                                   : "bf16 (widened to fp32)");
}

int cpu_open(struct device **ret, const struct device_opts *opts, int isa, struct err *err) {
    if (opts->threads < 0 || opts->threads > 4096)
        return err_set(err, ERR_USAGE, "cpu: %d threads; give 0 for all there are", opts->threads);
    struct device *d = calloc(1, sizeof *d);
    if (!d) return err_nomem(err, sizeof *d);
    d->bf16 = opts->dtype == DTYPE_BF16;
    d->threads = opts->threads ? opts->threads : pool_cpus();
    d->isa = isa;
    cpu_use_amx(d, true);
    describe(d);
    *ret = d;
    return 0;
}

void cpu_close(struct device *d) {
    for (int i = 0; d && i < WORK_KINDS; i++) cpu_free(d, d->work[i].p);
    free(d);
}

const char *cpu_describe(const struct device *d) {
    return d->text;
}

/* Memory. Stands before every block: how it was had. Large ones are mapped, in pages of 2 MiB where
 * the system has them, one behind the other, so that the pages where two of them meet are large,
 * too: a 124M model's 2 GB are then zeroed once, by the kernel, at a thousand page faults instead
 * of half a million. */
enum { HEAD = 64, MAPPED_FROM = 1 << 20, LARGE_PAGE = 2 << 20 };
struct head {
    size_t mapped; /* bytes; 0: malloc'd */
};

/* Address space that is free now, and likely to stay so: where the blocks of a device go. */
static char *free_space(void) {
    size_t room = (size_t)1 << 40;
    char *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL; /* a limit: the system chooses then, block by block */
    munmap(p, room);
    return (char *)(((uintptr_t)p + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
}

/* Zeroed. The address asked for is a wish, which the kernel grants where nothing is in the way. */
static void *map_block(struct device *d, size_t all) {
    if (!d->next) d->next = free_space();
    char *p = mmap(d->next, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, all, MADV_HUGEPAGE); /* advice: whether it is taken changes no number */
    d->next = p + (all + 4095) / 4096 * 4096;
    return p;
}

/* A block, zeroed if it is `zeroed` or mapped; NULL: no memory. */
static void *new_block(struct device *d, size_t bytes, bool zeroed) {
    if (bytes > SIZE_MAX - 2 * HEAD) return NULL;
    size_t all = (bytes + 2 * HEAD - 1) / HEAD * HEAD, mapped = bytes >= MAPPED_FROM ? all : 0;
    char *p = mapped ? map_block(d, all) : aligned_alloc(HEAD, all);
    if (!p) return NULL;
    if (!mapped && zeroed) memset(p, 0, all);
    *(struct head *)(void *)p = (struct head){mapped};
    return p + HEAD;
}

void cpu_free(struct device *d, void *p) {
    (void)d;
    if (!p) return;
    struct head *h = (struct head *)(void *)((char *)p - HEAD);
    if (h->mapped)
        munmap(h, h->mapped);
    else
        free(h);
}

int cpu_alloc(struct device *d, void **ret, size_t bytes, struct err *err) {
    void *p = new_block(d, bytes, true);
    if (!p) return err_nomem(err, bytes);
    *ret = p;
    return 0;
}

void *cpu_work(struct device *d, enum cpu_work which, size_t bytes) {
    if (d->first.code) return NULL;
    if (d->work[which].p && d->work[which].bytes >= bytes) return d->work[which].p;
    cpu_free(d, d->work[which].p);
    d->work[which].p = new_block(d, bytes, false);
    d->work[which].bytes = d->work[which].p ? bytes : 0;
    if (!d->work[which].p) err_nomem(&d->first, bytes);
    return d->work[which].p;
}

void cpu_spoil_work(struct device *d) {
    for (int i = 0; i < WORK_KINDS; i++)
        if (d->work[i].p) memset(d->work[i].p, 0xff, d->work[i].bytes);
}

/* Pieces that threads share: fresh pages are then cleared by all of them. */
enum { PIECE = 1 << 20 };

static size_t piece_at(size_t i, size_t bytes, size_t *ret_n) {
    size_t at = i * PIECE;
    *ret_n = bytes - at < PIECE ? bytes - at : PIECE;
    return at;
}

void cpu_copy(struct device *d, void *to, const void *from, size_t bytes) {
#pragma omp parallel for schedule(static) num_threads(d->threads) if (bytes >= 2 * PIECE)
    for (size_t i = 0; i < (bytes + PIECE - 1) / PIECE; i++) {
        size_t n, at = piece_at(i, bytes, &n);
        memcpy((char *)to + at, (const char *)from + at, n);
    }
}

void cpu_copy_rows(struct device *d, void *to, size_t to_stride, const void *from,
                   size_t from_stride, size_t bytes, size_t rows) {
    (void)d;
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * to_stride, (const char *)from + r * from_stride, bytes);
}

void cpu_zero(struct device *d, void *p, size_t bytes) {
#pragma omp parallel for schedule(static) num_threads(d->threads) if (bytes >= 2 * PIECE)
    for (size_t i = 0; i < (bytes + PIECE - 1) / PIECE; i++) {
        size_t n, at = piece_at(i, bytes, &n);
        memset((char *)p + at, 0, n);
    }
}

int cpu_sync(struct device *d, struct err *err) {
    if (d->first.code && err) *err = d->first;
    return d->first.code;
}
