/* How fast documents come from compressed JSON lines, beside the bare decoder of the same bytes.
 *
 *     bench_stream FILE…       gzip or zstd, each; prints ratios of one run, best of five
 *
 * Processor time of the whole process, so other programs on the machine count little. The last line
 * sets two threads beside one, over all files: by the clock, which means something on two quiet
 * cores, and by the processor time of the busier thread, which is what the clock would show there
 * if no thread waits for the other; how often they did wait stands beside it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <zstd.h>
#include "base/file.h"
#include "stream/docs.h"
#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

enum { TIMES = 5, OUT_BYTES = 1 << 20 };

static double clock_of(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const struct err *err) {
    fprintf(stderr, "bench_stream: %s\n", err->msg);
    exit(1);
}

/* ------------------------------------------------------------------ the bare decoders */

static uint64_t bare_zstd(const struct mapping *in, uint8_t *out) {
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer from = {in->v, in->bytes, 0};
    uint64_t total = 0;
    ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, 27);
    for (size_t left = 1; left || from.pos < from.size;) {
        ZSTD_outBuffer to = {out, OUT_BYTES, 0};
        left = ZSTD_decompressStream(d, &to, &from);
        if (ZSTD_isError(left)) break;
        total += to.pos;
        if (from.pos == from.size && to.pos < to.size) break;
    }
    ZSTD_freeDCtx(d);
    return total;
}

/* All members; the library reads header and trailer, and checks the sums. */
static uint64_t bare_gzip(const struct mapping *in, uint8_t *out) {
    uint64_t total = 0;
#ifdef HAVE_ISAL
    struct inflate_state *s = malloc(sizeof *s);
    isal_inflate_init(s);
    s->next_in = (uint8_t *)in->v;
    s->avail_in = (uint32_t)in->bytes;
    s->crc_flag = ISAL_GZIP;
    while (s->avail_in || s->block_state != ISAL_BLOCK_FINISH) {
        s->next_out = out;
        s->avail_out = OUT_BYTES;
        if (isal_inflate(s) != ISAL_DECOMP_OK) break;
        total += OUT_BYTES - s->avail_out;
        if (s->block_state == ISAL_BLOCK_FINISH) {
            if (!s->avail_in) break;
            isal_inflate_reset(s);
            s->crc_flag = ISAL_GZIP;
        }
    }
    free(s);
#else
    z_stream z = {.next_in = (uint8_t *)in->v, .avail_in = (uInt)in->bytes};
    inflateInit2(&z, MAX_WBITS + 16);
    for (int rc = Z_OK; rc == Z_OK || rc == Z_STREAM_END;) {
        z.next_out = out;
        z.avail_out = OUT_BYTES;
        rc = inflate(&z, Z_NO_FLUSH);
        total += OUT_BYTES - z.avail_out;
        if (rc == Z_STREAM_END && !z.avail_in) break;
        if (rc == Z_STREAM_END) inflateReset(&z);
    }
    inflateEnd(&z);
#endif
    return total;
}

/* ------------------------------------------------------------------ documents */

enum { THREADS = 2 };

/* Processor time of each thread. */
struct busy {
    double begin[THREADS], last[THREADS];
};

static int count(void *ctx, struct batch *b, int thread, struct err *err) {
    struct busy *busy = ctx;
    (void)b, (void)err;
    busy->last[thread] = clock_of(CLOCK_THREAD_CPUTIME_ID);
    return 0;
}

/* Reads all; *busiest becomes the processor time of the thread that worked most. */
static struct docs_totals read_documents(const struct source_list *list, int threads,
                                         double *busiest) {
    struct docs_opts o = docs_defaults;
    struct docs_totals t;
    struct docs *d;
    struct err err = {0};
    struct busy busy = {.begin = {clock_of(CLOCK_THREAD_CPUTIME_ID)}}; /* others begin at 0 */
    o.threads = threads;
    o.any_order = true;
    if (docs_open(&d, list, &o, &err) < 0) die(&err);
    if (docs_run(d, threads, count, NULL, &busy, &err) < 0) die(&err);
    docs_totals(d, &t);
    docs_close(d, NULL);
    *busiest = 0;
    for (int i = 0; i < threads; i++) {
        double took = busy.last[i] - busy.begin[i];
        if (took > *busiest) *busiest = took;
    }
    return t;
}

static void one_file(const char *path) {
    struct source_list list = {0};
    struct mapping in;
    struct err err = {0};
    struct docs_totals t = {0};
    double bare = 1e9, docs = 1e9, busiest;
    uint64_t plain = 0;
    uint8_t *out = malloc(OUT_BYTES);
    if (!out || mapping_open(&in, path, &err) < 0) die(&err);
    if (source_resolve(&list, path, NULL, NULL, &err) < 0) die(&err);
    bool gzip = in.bytes > 1 && in.v[0] == 0x1f;
    for (int i = 0; i < TIMES; i++) {
        double begin = clock_of(CLOCK_PROCESS_CPUTIME_ID);
        plain = gzip ? bare_gzip(&in, out) : bare_zstd(&in, out);
        double between = clock_of(CLOCK_PROCESS_CPUTIME_ID);
        t = read_documents(&list, 1, &busiest);
        double end = clock_of(CLOCK_PROCESS_CPUTIME_ID);
        if (between - begin < bare) bare = between - begin;
        if (end - between < docs) docs = end - between;
    }
    if (plain != t.plain_bytes) fprintf(stderr, "bench_stream: %s: other bytes\n", path);
    printf("%s: %llu documents, %.1f MB: bare %s %.0f MB/s, documents %.0f MB/s: %.0f %%\n",
           path_base(path), (unsigned long long)t.documents, (double)plain * 1e-6,
           gzip ? "inflate" : "zstd", (double)plain * 1e-6 / bare, (double)plain * 1e-6 / docs,
           100 * bare / docs);
    source_list_release(&list);
    mapping_close(&in);
    free(out);
}

int main(int argc, char **argv) {
    struct source_list all = {0};
    struct err err = {0};
    double wall[THREADS] = {1e9, 1e9}, busy[THREADS] = {1e9, 1e9};
    long waits = LONG_MAX;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_stream FILE…\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        one_file(argv[i]);
        if (source_resolve(&all, argv[i], NULL, NULL, &err) < 0) die(&err);
    }
    for (int i = 0; i < THREADS * TIMES; i++) {
        struct rusage before, after;
        double busiest, begin = clock_of(CLOCK_MONOTONIC);
        getrusage(RUSAGE_SELF, &before);
        read_documents(&all, 1 + i % THREADS, &busiest);
        getrusage(RUSAGE_SELF, &after);
        double took = clock_of(CLOCK_MONOTONIC) - begin;
        if (took < wall[i % THREADS]) wall[i % THREADS] = took;
        if (busiest < busy[i % THREADS]) busy[i % THREADS] = busiest;
        if (i % THREADS && after.ru_nvcsw - before.ru_nvcsw < waits)
            waits = after.ru_nvcsw - before.ru_nvcsw;
    }
    printf(
        "all files: one thread %.3f s, two threads %.3f s: %.2f times; processor time %.3f s, of "
        "the busier of two %.3f s: %.2f times, having waited %ld times\n",
        wall[0], wall[1], wall[0] / wall[1], busy[0], busy[1], busy[0] / busy[1], waits);
    source_list_release(&all);
    return 0;
}
