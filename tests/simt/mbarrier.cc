/* Hopper's barriers in shared memory and its copy engine, as PTX describes them ("mbarrier", "Tensor
 * maps"). A copy happens as late as it may: when no thread can go on without it. What else can go
 * wrong is a fault, at the place where it does:
 *
 *   - a barrier that is used before it is set up, or told to the engine without the fence
 *   - an arrival more than a phase has, bytes beside what a phase expects
 *   - a wait that can never end (fiber.cc asks simt_mbarrier_stuck)
 *   - a copy into a place that others still use, or that nobody waits for
 *   - accesses of threads and of the engine to one place without the fence between the proxies */
#include <cuda.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <map>
#include <vector>

/* What a tensor map holds here. */
struct tensor {
    char *at;
    uint64_t size[3], stride[2]; /* elements; bytes   */
    uint32_t box[3];             /* elements          */
    uint32_t swizzle, mark;
};
static_assert(sizeof(tensor) <= sizeof(CUtensorMap), "room");
enum { MARK = 0x7e4501, ELEMENT = 2, MOST_TX = (1 << 20) - 1 };

struct bulk {
    char *to;
    tensor from;
    int x, y, z, asked_by;
};

struct barrier {
    unsigned arrivals, missing; /* of a phase; of the running one */
    long bytes;                 /* that it still expects          */
    unsigned phase;             /* the running one                */
    int set_by;
    bool seen_by_engine;
    simt_clock running, over; /* what arrivals and copies pass on to who waits */
    std::vector<bulk> copies;
    std::vector<int> waiting; /* threads */
};

static std::map<uint32_t, barrier> barriers; /* of the running block, by place in shared memory */

static int me(void) {
    return simt_now->number;
}

static size_t bytes_of(const tensor &t) { /* of its box */
    return (size_t)t.box[0] * t.box[1] * t.box[2] * ELEMENT;
}

static uint32_t place_of(const void *p) {
    return (uint32_t)((const char *)p - (const char *)simt_shared());
}

/* ------------------------------------------------------------------ barriers */

void simt_mbarrier_init(uint64_t *b, unsigned arrivals) {
    if ((uintptr_t)b % 8 || arrivals == 0)
        return simt_fault("mbarrier.init at %p of %u", b, arrivals);
    simt_clocks_begin();
    simt_write(b, 8, me());
    barrier &x = barriers[place_of(b)] = barrier{};
    x.arrivals = x.missing = arrivals;
    x.set_by = me();
}

void simt_mbarriers_are_set(void) {
    for (auto &b : barriers)
        if (b.second.set_by == me()) b.second.seen_by_engine = true;
}

static barrier *use(uint64_t *b) {
    auto found = barriers.find(place_of(b));
    if (found == barriers.end()) {
        simt_fault("an mbarrier at shared + %u that was not set up", place_of(b));
        return NULL;
    }
    simt_read(b, 8, me()); /* behind its setting up */
    return &found->second;
}

static void end_phase(barrier *b) {
    if (b->missing || b->bytes) return;
    b->phase++;
    b->missing = b->arrivals;
    simt_clock_join(&b->over, b->running);
    for (int thread : b->waiting) simt_wake(thread);
    b->waiting.clear();
}

void simt_mbarrier_arrive(uint64_t *at) {
    barrier *b = use(at);
    if (!b) return;
    if (b->missing == 0) return simt_fault("an arrival more than the mbarrier's phase has");
    simt_clock_release(&b->running, me());
    b->missing--;
    end_phase(b);
}

void simt_mbarrier_expect(uint64_t *at, unsigned bytes) {
    barrier *b = use(at);
    if (!b) return;
    b->bytes += bytes;
    if (b->missing == 0 || b->bytes > MOST_TX)
        simt_fault("expect_tx of %u bytes by a phase that lacks %u arrivals and %ld bytes", bytes,
                   b->missing, b->bytes);
}

void simt_mbarrier_wait(uint64_t *at, unsigned parity) {
    barrier *b = use(at);
    if (!b || parity > 1) return simt_fault("a wait for parity %u of an mbarrier", parity);
    while ((b->phase & 1) == parity) {
        b->waiting.push_back(me());
        simt_sleep();
    }
    simt_clock_acquire(b->over, me());
}

void simt_mbarrier_block(void) {
    for (auto &b : barriers)
        for (const bulk &c : b.second.copies) {
            simt_fault("the block ends, and nobody has waited for a bulk copy to shared + %u",
                       place_of(c.to));
            simt_engine_end(c.to, bytes_of(c.from));
        }
    barriers.clear();
}

bool simt_mbarrier_stuck(void) {
    for (auto &b : barriers)
        if (!b.second.waiting.empty()) {
            simt_fault(
                "thread %d waits for phase %u of the mbarrier at shared + %u, which lacks %u "
                "arrivals and %ld bytes that do not come",
                b.second.waiting[0], b.second.phase, b.first, b.second.missing, b.second.bytes);
            return true;
        }
    return false;
}

/* ------------------------------------------------------------------ tensor maps */

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                void *at, const cuuint64_t *size, const cuuint64_t *stride,
                                const cuuint32_t *box, const cuuint32_t *step,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
    tensor t = {(char *)at, {}, {}, {}, (uint32_t)swizzle, MARK};
    bool ok = type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && rank == 3 && (uintptr_t)at % 16 == 0 &&
              (uintptr_t)map % 64 == 0 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
              fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
    for (int i = 0; i < 3 && ok; i++) {
        ok = size[i] >= 1 && size[i] <= (uint64_t)1 << 32 && box[i] >= 1 && box[i] <= 256 &&
             step[i] == 1;
        t.size[i] = size[i];
        t.box[i] = box[i];
    }
    for (int i = 0; i < 2 && ok; i++) {
        ok = stride[i] % 16 == 0 && stride[i] < (uint64_t)1 << 40;
        t.stride[i] = stride[i];
    }
    uint32_t row = ok ? box[0] * ELEMENT : 0;
    ok = ok && row % 16 == 0 && (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE || row <= 128);
    if (!ok) return CUDA_ERROR_INVALID_VALUE;
    memcpy(map, &t, sizeof t);
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------ copies */

void simt_bulk_copy(void *to, const void *map, int x, int y, int z, uint64_t *at) {
    bulk c = {(char *)to, {}, x, y, z, me()};
    barrier *b = use(at);
    if (!b) return;
    memcpy(&c.from, map, sizeof c.from);
    if (c.from.mark != MARK) return simt_fault("a bulk copy of what is no tensor map");
    uintptr_t align = c.from.swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 1024 : 128;
    if ((uintptr_t)to % align) return simt_fault("a bulk copy to a misaligned %p", to);
    if (!b->seen_by_engine)
        return simt_fault("a bulk copy told to an mbarrier without a fence behind its setting up");
    simt_engine_begin(to, bytes_of(c.from), me());
    b->copies.push_back(c);
}

/* Where chunk `i` of 16 bytes of a box lies in shared memory. */
static char *chunk_at(const bulk &c, size_t i) {
    uint32_t at = place_of(c.to) + (uint32_t)i * 16;
    if (c.from.swizzle == CU_TENSOR_MAP_SWIZZLE_128B) at ^= at >> 3 & 0x70;
    return (char *)simt_shared() + at;
}

/* An element of the box, zero outside of the tensor. */
static uint16_t element(const bulk &c, size_t i) {
    const tensor &t = c.from;
    int64_t col = c.x + (int64_t)(i % t.box[0]), row = c.y + (int64_t)(i / t.box[0] % t.box[1]),
            layer = c.z + (int64_t)(i / t.box[0] / t.box[1]);
    uint16_t value = 0;
    if (col < 0 || row < 0 || layer < 0 || (uint64_t)col >= t.size[0] ||
        (uint64_t)row >= t.size[1] || (uint64_t)layer >= t.size[2])
        return 0;
    const char *from = t.at + layer * (int64_t)t.stride[1] + row * (int64_t)t.stride[0] + col * 2;
    simt_read(from, ELEMENT, c.asked_by);
    memcpy(&value, from, ELEMENT);
    return value;
}

static void copy_now(const bulk &c) {
    size_t bytes = bytes_of(c.from);
    for (size_t i = 0; i < bytes / 16; i++) {
        uint16_t chunk[8];
        for (size_t e = 0; e < 8; e++) chunk[e] = element(c, i * 8 + e);
        memcpy(chunk_at(c, i), chunk, sizeof chunk);
    }
    simt_engine_end(c.to, bytes);
}

bool simt_mbarrier_go_on(void) {
    for (auto &found : barriers) {
        barrier *b = &found.second;
        if (b->waiting.empty() || b->copies.empty()) continue;
        std::vector<bulk> copies;
        copies.swap(b->copies);
        for (const bulk &c : copies) {
            copy_now(c);
            b->bytes -= (long)bytes_of(c.from);
        }
        if (b->bytes < 0)
            simt_fault("%ld bytes came that their mbarrier's phase did not expect", -b->bytes);
        simt_clock_release(&b->running, SIMT_ENGINE);
        end_phase(b);
        return true;
    }
    return false;
}
