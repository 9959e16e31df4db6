/* The log of memory accesses, and what it finds. See simt.h.
 *
 * Time is a counter that every launch, block and barrier moves on. Each two bytes of shared and of
 * device memory have a cell: who wrote last and when, who read last and when. An access is ordered
 * after another if that was in an earlier launch, before the last barrier of the block, by the same
 * thread, or by the same warp before its last __syncwarp. A thread is known by its number in the
 * block; another block is known by the time being before this block began.
 *
 * gcc's -fsanitize=thread puts a call of __tsan_readN(address) or __tsan_writeN before each access
 * of a kernel. Addresses elsewhere (stacks, parameters, constants) are of no interest. */
#include <cuda_runtime.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <map>
#include <vector>

struct cell {
    uint32_t write_time, read_time; /* 0: never */
    uint16_t writer, reader;
    bool allocated, atomic; /* atomic: the last write was one               */
    bool pending;           /* a copy will write here                       */
    bool readers;           /* unordered readers besides `reader`           */
    bool product;           /* the last read was the tensor cores'          */
};

enum { GRAIN = 2, GUARD = 1024, HEAP = 1 << 30 };

/* One region of memory and its cells. */
struct region {
    unsigned char *at;
    cell *cells;
    size_t bytes;
};

static struct {
    region shared, heap;
    size_t shared_bytes;
    int threads; /* of a block */
    uint32_t time, launch_time, block_time, barrier_time, warp_time[32];
    bool early, was_early; /* this launch, the one before; since when there were only such */
    uint32_t early_since;
    std::map<size_t, size_t> taken; /* of the heap: offset, bytes */
    char fault[512];
    bool faulty;
} A;

struct copy {
    void *to;
    const void *from;
    unsigned bytes;
};
static std::vector<std::vector<copy>> groups[1024]; /* of each thread, oldest first */
static std::vector<copy> started[1024];             /* not yet committed            */

/* In blocks with barriers in shared memory: who knows what of whom, and when each thread last read
 * each 16 bytes of shared memory. Times before the block's beginning say nothing. */
enum { KNOWN = SIMT_ENGINE + 1, CHUNK = 16, CHUNKS = SIMT_SHARED_MAX / CHUNK };
static struct {
    bool kept;
    uint32_t known[KNOWN][KNOWN]; /* [of][whom]: accesses before this time */
    uint32_t read[SIMT_ENGINE][CHUNKS];
    uint32_t fence[SIMT_ENGINE];                     /* a thread's last fence.proxy.async     */
    std::vector<const void *> products[SIMT_ENGINE]; /* reads that go on */
} H;

/* ------------------------------------------------------------------ faults */

void simt_fault(const char *fmt, ...) {
    char what[384];
    va_list args;
    if (A.faulty) return;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    A.faulty = true;
    snprintf(A.fault, sizeof A.fault, "%s: block %u,%u,%u thread %d: %s", simt_kernel_name(),
             simt_block_idx.x, simt_block_idx.y, simt_block_idx.z, simt_now ? simt_now->number : 0,
             what);
}

const char *simt_first_fault(void) {
    return A.faulty ? A.fault : NULL;
}

void simt_forget_faults(void) {
    A.faulty = false;
}

/* ------------------------------------------------------------------ regions */

static void *reserve(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        perror("the emulator's memory");
        exit(1);
    }
    return p;
}

static void reserve_region(region *r, size_t bytes) {
    r->bytes = bytes;
    r->at = (unsigned char *)reserve(bytes);
    r->cells = (cell *)reserve(bytes / GRAIN * sizeof(cell));
}

static void begin(void) {
    if (A.heap.at) return;
    reserve_region(&A.heap, HEAP);
    reserve_region(&A.shared, 512 * 1024); /* GUARD before, the rest behind */
    A.time = 1;
}

void *simt_shared(void) {
    return A.shared.at + GUARD;
}

static cell *cell_of(const region *r, const void *p) {
    return r->cells + ((const unsigned char *)p - r->at) / GRAIN;
}

static bool inside(const region *r, const void *p) {
    return (const unsigned char *)p >= r->at && (const unsigned char *)p < r->at + r->bytes;
}

static uint32_t shared_offset(const void *p) {
    return (uint32_t)((const unsigned char *)p - (unsigned char *)simt_shared());
}

/* ------------------------------------------------------------------ time */

void simt_access_launch(void) {
    begin();
    simt_banks_launch();
    A.launch_time = ++A.time;
    if (!A.was_early) A.early_since = A.launch_time;
    A.was_early = A.early;
    A.early = false;
}

void simt_access_early(void) {
    A.early = true;
}

void simt_access_block(size_t shared_bytes) {
    A.block_time = A.barrier_time = ++A.time;
    for (int w = 0; w < 32; w++) A.warp_time[w] = A.time;
    A.shared_bytes = shared_bytes;
    A.threads = (int)(simt_block_dim.x * simt_block_dim.y * simt_block_dim.z);
    for (auto &g : groups) g.clear();
    for (auto &s : started) s.clear();
    for (auto &p : H.products) p.clear();
    H.kept = false;
}

void simt_access_barrier(void) {
    uint32_t engine = 0;
    A.barrier_time = ++A.time;
    for (int i = 0; i < SIMT_ENGINE && H.kept; i++)
        if (H.known[i][SIMT_ENGINE] > engine) engine = H.known[i][SIMT_ENGINE];
    for (int i = 0; i < SIMT_ENGINE && H.kept; i++) H.known[i][SIMT_ENGINE] = engine;
}

void simt_access_warp_barrier(int warp) {
    A.warp_time[warp] = ++A.time;
    if (!H.kept) return;
    simt_clock all;
    for (int i = 32 * warp; i < 32 * warp + 32; i++) simt_clock_release(&all, i);
    for (int i = 32 * warp; i < 32 * warp + 32; i++) simt_clock_acquire(all, i);
}

/* ------------------------------------------------------------------ clocks */

void simt_clocks_begin(void) {
    if (!H.kept) memset(H.known, 0, sizeof H.known);
    H.kept = true;
}

void simt_clock_join(simt_clock *to, const simt_clock &from) {
    if (to->size() < from.size()) to->resize(from.size());
    for (size_t i = 0; i < from.size(); i++)
        if (from[i] > (*to)[i]) (*to)[i] = from[i];
}

void simt_clock_release(simt_clock *to, int number) {
    to->resize(KNOWN);
    for (int i = 0; i < KNOWN; i++)
        if (H.known[number][i] > (*to)[i]) (*to)[i] = H.known[number][i];
    (*to)[number] = ++A.time;
    for (int lane = 0, warp = number / 32; lane < 32 && warp < 32; lane++)
        if (A.warp_time[warp] > (*to)[32 * warp + lane])
            (*to)[32 * warp + lane] = A.warp_time[warp];
}

void simt_clock_acquire(const simt_clock &from, int number) {
    for (size_t i = 0; i < from.size(); i++)
        if (from[i] > H.known[number][i]) H.known[number][i] = from[i];
}

/* ------------------------------------------------------------------ the rules */

/* Something stands between an access at `time` by `who` and whatever `me` does now. */
static bool barrier_between(uint32_t time, int who, int me) {
    if (time < A.launch_time) return true;
    if (time < A.block_time) return false; /* another block of this launch */
    return time < A.barrier_time || (who / 32 == me / 32 && time < A.warp_time[me / 32]);
}

static bool ordered(uint32_t time, int who, int me) {
    return barrier_between(time, who, me) || (who == me && time >= A.block_time) ||
           (H.kept && time >= A.block_time && time < H.known[me][who]);
}

struct access {
    const void *p;
    size_t n;
    int me;
    bool write, atomic, shared;
    size_t clean; /* the chunk that readers_ordered() found in order last, + 1 */
};

static void complain(const access &a, const char *what, int other) {
    char whom[48] = "";
    if (other >= 0) snprintf(whom, sizeof whom, ", thread %d", other);
    unsigned char *base = a.shared ? (unsigned char *)simt_shared() : A.heap.at;
    simt_fault("%s of %zu bytes at %s + %td by thread %d: %s%s", a.write ? "write" : "read", a.n,
               a.shared ? "shared" : "device heap", (const unsigned char *)a.p - base, a.me, what,
               whom);
}

/* Whether all reads of a cell of shared memory are ordered before what `me` does now. */
static bool readers_ordered(access &a, const cell *c) {
    size_t chunk = ((size_t)(c - A.shared.cells) * GRAIN - GUARD) / CHUNK;
    if (!c->readers) return ordered(c->read_time, c->reader, a.me);
    if (barrier_between(c->read_time, c->reader, a.me) || a.clean == chunk + 1) return true;
    if (!H.kept) return false;
    for (int i = 0; i < A.threads; i++) {
        uint32_t time = H.read[i][chunk];
        if (time >= A.block_time && !ordered(time, i, a.me)) return false;
    }
    a.clean = chunk + 1;
    return true;
}

/* By a thread that has not waited for earlier kernels: writes nothing, reads nothing they wrote. */
static bool too_early(const access &a, const cell *c) {
    return simt_now->early && !a.shared && (a.write || c->write_time >= A.early_since);
}

static void check_cell(access &a, cell *c) {
    if (too_early(a, c)) return complain(a, "earlier kernels have not been waited for", -1);
    if (c->pending) return complain(a, "a copy to it has not been waited for", c->writer);
    bool written = a.shared ? c->write_time >= A.block_time : c->write_time != 0;
    if (written && !(a.atomic && c->atomic) && !ordered(c->write_time, c->writer, a.me))
        return complain(a,
                        c->write_time < A.block_time ? "race with a write by another block"
                                                     : "race with a write",
                        c->writer);
    if (!a.write || a.atomic) {
        if (!written) return complain(a, "nothing was written there", -1);
    }
    if (a.write) {
        bool read = a.shared ? c->read_time >= A.block_time : c->read_time != 0;
        bool clean = a.shared     ? readers_ordered(a, c)
                     : c->readers ? barrier_between(c->read_time, c->reader, a.me)
                                  : ordered(c->read_time, c->reader, a.me);
        if (read && !clean) return complain(a, "race with a read", c->reader);
        c->write_time = A.time;
        c->writer = (uint16_t)a.me;
        c->atomic = a.atomic;
        return;
    }
    if ((a.shared && c->read_time < A.block_time) || barrier_between(c->read_time, c->reader, a.me))
        c->readers = false;
    else if (c->reader != a.me)
        c->readers = true;
    c->read_time = A.time;
    c->reader = (uint16_t)a.me;
    c->product = false;
}

static void check(const void *p, size_t n, int me, bool write, bool atomic) {
    const region *r = inside(&A.heap, p) ? &A.heap : inside(&A.shared, p) ? &A.shared : NULL;
    if (!r || !simt_running()) return;
    access a = {p, n, me, write, atomic, r == &A.shared, 0};
    if (a.shared) {
        ptrdiff_t at = (const unsigned char *)p - (unsigned char *)simt_shared();
        if (at < 0 || (size_t)at + n > A.shared_bytes)
            return complain(a, "outside of the shared memory launched with", -1);
    }
    cell *first = cell_of(r, p), *last = cell_of(r, (const unsigned char *)p + n - 1);
    if (a.shared && !write && H.kept)
        for (size_t i = shared_offset(p) / CHUNK; i <= (shared_offset(p) + n - 1) / CHUNK; i++)
            H.read[me][i] = A.time;
    for (cell *c = first; c <= last; c++) {
        if (!a.shared && !c->allocated) return complain(a, "outside of any allocation", -1);
        check_cell(a, c);
        if (A.faulty) return;
    }
}

/* `from`: where in the kernel. */
static void instrumented(const void *p, size_t n, bool write, bool aligned, const void *from) {
    if (!simt_now || (!inside(&A.heap, p) && !inside(&A.shared, p))) return;
    if (inside(&A.shared, p)) simt_banks_access(from, shared_offset(p), (unsigned)n, write);
    if (aligned && (uintptr_t)p % n != 0) simt_fault("misaligned access of %zu bytes at %p", n, p);
    check(p, n, simt_now->number, write, false);
}

void simt_vector(const void *p, size_t n, bool write) {
    instrumented(p, n, write, true, __builtin_return_address(0));
}

void simt_read(const void *p, size_t n, int number) {
    check(p, n, number, false, false);
}

void simt_write(const void *p, size_t n, int number) {
    check(p, n, number, true, false);
}

void simt_atomic(const void *p, size_t n) {
    check(p, n, simt_now->number, true, true);
}

/* ------------------------------------------------------------------ cp.async */

static void mark_pending(const void *to, bool pending) {
    cell *c = cell_of(&A.shared, to);
    for (int i = 0; i < 16 / GRAIN; i++) {
        c[i].pending = pending;
        if (pending) c[i].writer = (uint16_t)simt_now->number;
    }
}

void simt_copy_start(void *to, const void *from, unsigned bytes) {
    static const unsigned char nothing[16] = {0};
    if (!inside(&A.shared, to) || (uintptr_t)to % 16 || (uintptr_t)from % 16 || bytes > 16)
        return simt_fault("cp.async of %u bytes from %p to %p", bytes, from, to);
    simt_banks_access(__builtin_return_address(0), shared_offset(to), 16, true);
    check(to, 16, simt_now->number, true, false); /* as a write, it must not race here either */
    mark_pending(to, true);
    if (simt_now->early && bytes) check(from, bytes, simt_now->number, false, false);
    started[simt_now->number].push_back({to, bytes ? from : nothing, bytes});
}

void simt_copy_commit(void) {
    int me = simt_now->number;
    groups[me].push_back(started[me]);
    started[me].clear();
}

void simt_copy_wait(unsigned left) {
    int me = simt_now->number;
    while (groups[me].size() > left) {
        for (const copy &c : groups[me].front()) {
            mark_pending(c.to, false);
            if (c.bytes) check(c.from, c.bytes, me, false, false);
            memset(c.to, 0, 16);
            memcpy(c.to, c.from, c.bytes);
            check(c.to, 16, me, true, false);
        }
        groups[me].erase(groups[me].begin());
    }
}

/* ------------------------------------------------------------------ tensor cores, copy engine */

void simt_fence_proxy(void) {
    H.fence[simt_now->number] = ++A.time;
}

/* A thread's own access at `time` is ordered before those of the other proxy. */
static bool fenced(uint32_t time, int who) {
    return time < A.block_time || who == SIMT_ENGINE || time < H.fence[who];
}

void simt_product_read(const void *p, size_t n) {
    int me = simt_now->number;
    check(p, n, me, false, false);
    cell *first = cell_of(&A.shared, p), *last = cell_of(&A.shared, (const char *)p + n - 1);
    for (cell *c = first; c <= last; c++) {
        c->product = true;
        if (!fenced(c->write_time, c->writer))
            simt_fault("a product reads shared + %u, written by thread %d without a fence between "
                       "proxies",
                       shared_offset(p), c->writer);
    }
    H.products[me].push_back(p);
}

void simt_products_done(void) {
    int me = simt_now->number;
    for (const void *p : H.products[me]) {
        check(p, GRAIN, me, false, false);
        cell_of(&A.shared, p)->product = true;
    }
    H.products[me].clear();
}

void simt_engine_begin(void *to, size_t bytes, int asked_by) {
    if (!inside(&A.shared, to) || shared_offset(to) + bytes > A.shared_bytes)
        return simt_fault("a bulk copy of %zu bytes past the shared memory launched with", bytes);
    cell *first = cell_of(&A.shared, to), *end = first + bytes / GRAIN;
    for (cell *c = first; c < end; c++) {
        bool mine = c->read_time < A.block_time || c->product || fenced(c->read_time, c->reader);
        if (!mine || (c->write_time >= A.block_time && !fenced(c->write_time, c->writer)))
            return simt_fault("a bulk copy to shared + %u, which threads used without a fence "
                              "between proxies",
                              shared_offset(to));
    }
    check(to, bytes, asked_by, true, false); /* as a write, it must not race here either */
    for (cell *c = first; c < end; c++) {
        c->pending = true;
        c->writer = (uint16_t)asked_by;
    }
}

void simt_engine_end(void *to, size_t bytes) {
    cell *first = cell_of(&A.shared, to), *end = first + bytes / GRAIN;
    for (cell *c = first; c < end; c++) {
        c->pending = false;
        c->write_time = A.time;
        c->writer = SIMT_ENGINE;
        c->atomic = false;
    }
}

/* ------------------------------------------------------------------ the device's heap */

void *simt_heap_alloc(size_t bytes) {
    begin();
    size_t whole = (bytes + 255) / 256 * 256 + GUARD, at = GUARD;
    for (auto &t : A.taken) { /* the first gap that is wide enough */
        if (t.first - at >= whole && t.first > at) break;
        at = t.first + (t.second + 255) / 256 * 256 + GUARD;
    }
    if (bytes == 0 || at + whole > A.heap.bytes) return NULL;
    A.taken[at] = bytes;
    cell *c = cell_of(&A.heap, A.heap.at + at);
    for (size_t i = 0; i < (bytes + GRAIN - 1) / GRAIN; i++) {
        c[i] = cell{};
        c[i].allocated = true;
    }
    return A.heap.at + at;
}

bool simt_heap_free(void *p) {
    size_t at = (size_t)((unsigned char *)p - A.heap.at);
    auto found = A.heap.at && inside(&A.heap, p) ? A.taken.find(at) : A.taken.end();
    if (found == A.taken.end()) return false;
    cell *c = cell_of(&A.heap, p);
    for (size_t i = 0; i < (found->second + GRAIN - 1) / GRAIN; i++) c[i] = cell{};
    A.taken.erase(found);
    return true;
}

void simt_heap_written(const void *p, size_t n) {
    if (!inside(&A.heap, p) || n == 0) return;
    cell *c = cell_of(&A.heap, p), *last = cell_of(&A.heap, (const unsigned char *)p + n - 1);
    for (; c <= last; c++) {
        c->write_time = 1;
        c->atomic = false;
    }
}

bool simt_heap_holds(const void *p, size_t n) {
    if (!inside(&A.heap, p)) return false;
    size_t at = (size_t)((const unsigned char *)p - A.heap.at);
    auto next = A.taken.upper_bound(at);
    if (next == A.taken.begin()) return false;
    --next;
    return at - next->first + n <= next->second;
}

size_t simt_heap_left(void) {
    begin();
    size_t used = 0;
    for (auto &t : A.taken) used += t.second;
    return A.heap.bytes - used;
}

/* ------------------------------------------------------------------ what gcc calls */

#define HOOK(n)                                                                                    \
    void __tsan_read##n(void *p) {                                                                 \
        instrumented(p, n, false, true, __builtin_return_address(0));                              \
    }                                                                                              \
    void __tsan_write##n(void *p) {                                                                \
        instrumented(p, n, true, true, __builtin_return_address(0));                               \
    }                                                                                              \
    void __tsan_unaligned_read##n(void *p) {                                                       \
        instrumented(p, n, false, false, __builtin_return_address(0));                             \
    }                                                                                              \
    void __tsan_unaligned_write##n(void *p) {                                                      \
        instrumented(p, n, true, false, __builtin_return_address(0));                              \
    }

extern "C" {
void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *);
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
void __tsan_vptr_update(void *, void *);
void __tsan_vptr_update(void *, void *) {}
void __tsan_vptr_read(void *);
void __tsan_vptr_read(void *) {}
HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)
void __tsan_read_range(void *p, size_t n) {
    instrumented(p, n, false, n == 16, __builtin_return_address(0)); /* uint4 and its like */
}
void __tsan_write_range(void *p, size_t n) {
    instrumented(p, n, true, n == 16, __builtin_return_address(0));
}
}
