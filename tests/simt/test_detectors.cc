/* The emulator's detectors: for each, a kernel that has the fault and must be caught, and next to it
 * one that does the same thing right and must not. Also mma.sync, ldmatrix and cp.async against
 * their definitions, and graphs. Compiled like the kernels of cuda/. */
#include <stdio.h>
#include <vector>
#include "cuda/ptx.cuh"

static int failures, checks;
static cudaStream_t stream;

static void expect(bool ok, const char *what, const char *got) {
    checks++;
    if (ok) return;
    failures++;
    fprintf(stderr, "FAILED: %s: %s\n", what, got ? got : "nothing was found");
}

static size_t shared_bytes = 1024; /* of every block */

/* Runs a kernel of 64 threads over 2 blocks; its fault must contain `words`, NULL: there must be
 * none. */
template <class... P, class... A>
static void run(const char *name, const char *words, void (*kernel)(P...), A... args) {
    simt_forget_faults();
    simt_launch(name, kernel, dim3(2), dim3(64), shared_bytes, stream, args...);
    const char *fault = simt_first_fault();
    expect(words ? fault && strstr(fault, words) : !fault, name, fault);
    expect(!words || cudaGetLastError() == cudaErrorLaunchFailure, name, "no error of the runtime");
}

static float *shared(void) {
    return (float *)simt_shared();
}
static int me(void) {
    return (int)threadIdx.x;
}

/* ------------------------------------------------------------------ barriers */

static void half_at_barrier(void) {
    if (me() < 32) __syncthreads();
}
static void two_barriers(void) {
    if (me() < 32)
        __syncthreads();
    else
        __syncthreads();
}
static void all_at_barrier(void) {
    for (int i = 0; i < 3; i++) __syncthreads();
}
static void lane_missing(void) {
    if (me() % 32 != 5) __shfl_xor_sync(0xffffffffu, 1, 1);
}
static void masks_differ(void) {
    if (me() % 32 < 16)
        __shfl_sync(0x0000ffffu, 1, 0);
    else
        __shfl_sync(0xffffffffu, 1, 0);
}
static void operations_differ(void) {
    if (me() % 32 < 16)
        __shfl_sync(0xffffffffu, 1, 0);
    else
        __ballot_sync(0xffffffffu, 1);
}
static void half_warp(void) {
    if (me() % 32 < 16) __shfl_sync(0x0000ffffu, 1, 3);
}

/* ------------------------------------------------------------------ shared memory */

static void never_written(float *out) {
    if (me() == 0) shared()[0] = 1;
    __syncthreads();
    if (me() < 2) out[blockIdx.x * 2 + me()] = shared()[me()];
}
static void other_blocks_shared(float *out) { /* what a block before left there is not ours */
    if (blockIdx.x == 0) shared()[me()] = 1;
    if (blockIdx.x == 1) out[me()] = shared()[me()];
}
static void past_shared(void) {
    shared()[me() == 63 ? 256 : me()] = 1;
}
static void before_shared(void) {
    shared()[me() - 1] = 1;
}
static void no_barrier(float *out) {
    shared()[me()] = 0;
    __syncthreads();
    shared()[me()] = 1;
    out[blockIdx.x * 64 + me()] = shared()[63 - me()];
}
static void with_barrier(float *out) {
    shared()[me()] = (float)me();
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[63 - me()];
}
static void both_write(void) {
    shared()[me() / 2] = 1;
}
static void write_after_read(float *out) {
    shared()[me()] = 1;
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[0];
    if (me() == 5) shared()[0] = 2;
}
static void within_warp(float *out) {
    shared()[me()] = 1;
    __syncwarp();
    out[blockIdx.x * 64 + me()] = shared()[me() ^ 1];
}
static void shuffle_is_no_barrier(float *out) {
    shared()[me()] = 1;
    __shfl_xor_sync(0xffffffffu, 1, 1);
    out[blockIdx.x * 64 + me()] = shared()[me() ^ 1];
}
static void across_warps(float *out) { /* __syncwarp orders one warp only */
    shared()[me()] = 0;
    __syncthreads();
    shared()[me()] = 1;
    __syncwarp();
    out[blockIdx.x * 64 + me()] = shared()[me() ^ 32];
}
static void halves_of_a_word(void) {
    ((uint16_t *)shared())[me()] = 1;
}

/* ------------------------------------------------------------------ device memory */

static void past_the_end(float *out) {
    out[blockIdx.x * 64 + me() + 1] = 1;
}
static void before_the_start(float *out) {
    out[(int)blockIdx.x * 64 + me() - 1] = 1;
}
static void blocks_meet(float *out) {
    out[me()] = 1;
}
static void block_reads_block(float *out) {
    if (blockIdx.x == 0) out[me()] = 1;
    if (blockIdx.x == 1) out[64 + me()] = out[me()];
}
static void block_overwrites_read(float *out) {
    if (blockIdx.x == 0) out[64 + me()] = out[me()];
    if (blockIdx.x == 1) out[me()] = 1;
}
static void fresh_memory(const float *in, float *out) {
    out[blockIdx.x * 64 + me()] = in[me()];
}
static void misaligned(float *out) {
    *(uint4 *)(out + 1) = make_uint4(1, 2, 3, 4);
}
static void counts(int *n) {
    atomicAdd(n, 1);
}
static void atomic_and_plain(int *n) {
    if (me() == 0) atomicAdd(n, 1);
    if (me() == 40) *n = 3;
}

/* ------------------------------------------------------------------ cp.async */

static void copy_not_waited(const float *in, float *out) {
    cp_async16(shared() + 4 * me(), in + 4 * me());
    cp_async_commit();
    out[blockIdx.x * 64 + me()] = shared()[4 * me()];
}
static void copy_waited(const float *in, float *out) {
    cp_async16(shared() + 4 * me(), in + 4 * me());
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[255 - 4 * me()];
}
static void copy_wrong_group(const float *in, float *out) {
    cp_async16(shared() + 4 * me(), in + 4 * me());
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[255 - 4 * me()];
}
static void copy_no_barrier(const float *in, float *out) {
    shared()[4 * me() + 3] = 0;
    __syncthreads();
    cp_async16(shared() + 4 * me(), in + 4 * me());
    cp_async_commit();
    cp_async_wait<0>();
    out[blockIdx.x * 64 + me()] = shared()[255 - 4 * me()];
}
static void copy_zeros(const float *in, float *out) {
    cp_async16(shared() + 4 * me(), in, me() < 32);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[4 * me()];
}

/* ------------------------------------------------------------------ mbarriers, bulk copies */

enum { LAYERS = 2, ROWS = 20, COLUMNS = 128, BOX = 8 /* rows of 64 */, STEPS = 5 };

/* The tensor's value at (z,y,x); fits bf16's bits as a plain number. */
static uint16_t number_at(int z, int y, int x) {
    return (uint16_t)(1 + (z * ROWS + y) * COLUMNS + x);
}

struct ring { /* of one stage, which thread PRODUCER fills */
    mbarrier full, empty;
    int late;
    alignas(1024) uint16_t tile[BOX * 64];
};
enum { PRODUCER = 32 };

/* What a kernel below does wrong. */
enum wrong {
    NOTHING_WRONG,
    NO_RELEASE,     /* the producer does not ask whether consumers are done   */
    HALF_A_RELEASE, /* one warp's word is taken for both                      */
    NO_WORD,        /* consumers never say that they are done                 */
    NO_WAIT,        /* consumers do not wait for the bytes                    */
    WRONG_PHASE,    /* … or for those of the step before                      */
    FEW_BYTES,
    MANY_BYTES,
    NO_BYTES,
    NOT_SHOWN,  /* barriers that the engine does not see                      */
    NOT_SET_UP, /* … or that no thread has set up                             */
    NO_BARRIER, /* between setting up and use                                 */
    NO_FENCE,   /* between the consumers' reads and the next copy             */
    WRITTEN,    /* a thread's write before the copy, without one              */
    LEFT,       /* the last copy is not waited for                            */
    TWO_ARRIVALS,
    MISPLACED
};

/* Boxes of a column of the tensor, one after another, into `out` as (STEPS, BOX, 64); block b has
 * layer b, and columns from 64 on. */
static void through_a_ring(const CUtensorMap map, uint16_t *out, enum wrong w) {
    ring &m = *(ring *)simt_shared();
    if (me() == 0) {
        if (w != NOT_SET_UP) mbarrier_init(&m.full, 1);
        mbarrier_init(&m.empty, w == HALF_A_RELEASE ? 1 : 2);
        if (w != NOT_SHOWN) mbarriers_are_set();
        if (w == WRITTEN) m.tile[3] = 1;
    }
    if (w != NO_BARRIER) __syncthreads();
    for (int i = 0; i < STEPS; i++) {
        if (me() == PRODUCER) {
            if (w != NO_RELEASE) mbarrier_wait(&m.empty, (i & 1) ^ 1, &m.late);
            unsigned bytes = w == FEW_BYTES ? 512 : w == MANY_BYTES ? 2048 : 1024;
            if (w != NO_BYTES) mbarrier_expect(&m.full, bytes);
            bulk_copy(m.tile + (w == MISPLACED ? 64 : 0), &map, 64, i * BOX - 4, (int)blockIdx.x,
                      &m.full);
            mbarrier_arrive(&m.full);
            if (w == TWO_ARRIVALS) mbarrier_arrive(&m.full);
        }
        if (w == LEFT && i == STEPS - 1) return;
        if (w != NO_WAIT) mbarrier_wait(&m.full, (i & 1) ^ (w == WRONG_PHASE), &m.late);
        for (int e = me(); e < BOX * 64; e += 64) {
            int row = e / 64, col = e % 64, at = row * 64 + ((col / 8 ^ row) * 8) + col % 8;
            out[((int)blockIdx.x * STEPS + i) * BOX * 64 + e] = m.tile[at];
        }
        if (w != NO_FENCE) fence_proxy_async();
        __syncwarp();
        if (me() % 32 == 0 && w != NO_WORD && (w != HALF_A_RELEASE || me() == PRODUCER))
            mbarrier_arrive(&m.empty);
    }
}

/* What products read while they run: the whole tile, by each warp. */
static void products(const CUtensorMap map, int fault) {
    ring &m = *(ring *)simt_shared();
    if (me() == 0) {
        mbarrier_init(&m.full, 1);
        mbarrier_init(&m.empty, 2);
        mbarriers_are_set();
    }
    __syncthreads();
    for (int i = 0; i < STEPS; i++) {
        if (me() == PRODUCER) {
            mbarrier_wait(&m.empty, (i & 1) ^ 1, &m.late);
            mbarrier_expect(&m.full, 1024);
            bulk_copy(m.tile, &map, 0, 0, 0, &m.full);
            mbarrier_arrive(&m.full);
        }
        mbarrier_wait(&m.full, i & 1, &m.late);
        for (int e = 2 * (me() % 32); e < BOX * 64; e += 64) simt_product_read(m.tile + e, 4);
        if (fault == 0) simt_products_done();
        __syncwarp();
        if (me() % 32 == 0) mbarrier_arrive(&m.empty);
        if (fault == 1) simt_products_done();
    }
}
static void product_of_written(bool fence) {
    shared()[me()] = 1;
    if (fence) fence_proxy_async();
    __syncthreads();
    simt_product_read(shared() + 63 - me(), 4);
    simt_products_done();
}

/* ------------------------------------------------------------------ tensor cores */

/* out (16,8) = a (16,16) b (16,8), all in shared memory as bf16 bits, b stored (16,8). */
static void tile_product(const uint16_t *a, const uint16_t *b, float *out) {
    uint16_t *sa = (uint16_t *)shared(), *sb = sa + 256;
    int lane = me() % 32;
    for (int i = me(); i < 256; i += 64) sa[i] = a[i];
    for (int i = me(); i < 128; i += 64) sb[i] = b[i];
    __syncthreads();
    if (me() >= 32 || blockIdx.x > 0) return;
    uint32_t fa[4], fb[2];
    float c[4] = {0, 0, 0, 0};
    ldmatrix_x4(fa, sa + lane % 16 * 16 + lane / 16 * 8);
    ldmatrix_x2_trans(fb, sb + lane % 16 * 8);
    mma_bf16(c, fa, fb);
    for (int e = 0; e < 4; e++) out[(lane / 4 + 8 * (e / 2)) * 8 + lane % 4 * 2 + e % 2] = c[e];
}

/* ------------------------------------------------------------------ banks */

static void words_apart(int apart) {
    shared()[me() % 32 * apart % 256] = 1;
}
static void vectors_apart(int apart, float *out) { /* 16 bytes a lane */
    for (int i = me(); i < 256; i += 32) shared()[i] = 0;
    __syncthreads();
    const uint4 *from = (const uint4 *)(shared() + me() % 16 * apart);
    if (blockIdx.x == 0) ((uint4 *)out)[me()] = *from;
}
static void same_word(float *out) {
    if (me() % 32 == 0) shared()[me() / 32] = 1;
    __syncthreads();
    out[blockIdx.x * 64 + me()] = shared()[me() / 32];
}
static void loops_of_lanes(int apart) { /* of other lengths: the n-th rounds belong together */
    for (int i = 0; i < 4 + me() % 2; i++) shared()[me() % 32 * apart + i] = 1;
}
static void rows_apart(int bytes) {
    uint32_t r[4];
    for (int i = me(); i < 256; i += 64) shared()[i] = 0;
    __syncthreads();
    ldmatrix_x4(r, (char *)shared() + me() % 8 * bytes);
}

/* Rounds over free rounds of the costliest access of a kernel. Two blocks of one warp. */
template <class... P, class... A>
static void costs(const char *name, double factor, void (*kernel)(P...), A... args) {
    char got[32];
    simt_forget_faults();
    simt_banks_begin();
    simt_launch(name, kernel, dim3(2), dim3(32), 1024, stream, args...);
    snprintf(got, sizeof got, "a factor of %g", simt_banks_worst());
    expect(simt_banks_worst() == factor, name, simt_first_fault() ? simt_first_fault() : got);
}

static void banks(float *out) {
    costs("side by side", 1, words_apart, 1);
    costs("every other word", 2, words_apart, 2);
    costs("three apart", 1, words_apart, 3);
    costs("eight apart", 8, words_apart, 8);
    costs("one word for all", 1, same_word, out);
    costs("vectors side by side", 1, vectors_apart, 4, out);
    costs("vectors with gaps", 2, vectors_apart, 8, out);
    costs("vectors with room for one", 1, vectors_apart, 12, out);
    costs("loops", 8, loops_of_lanes, 8);
    costs("rows of 16 bytes", 1, rows_apart, 16);
    costs("rows of 48 bytes", 1, rows_apart, 48);
    costs("rows of 64 bytes", 4, rows_apart, 64);
    costs("rows of 128 bytes", 8, rows_apart, 128);
}

template <class T> static T *on_device(const std::vector<T> &v) {
    void *p;
    simt_forget_faults(); /* after one nothing is copied */
    cudaMalloc(&p, v.size() * sizeof(T));
    cudaMemcpyAsync(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice, stream);
    return (T *)p;
}

static void tensor_cores(void) {
    std::vector<uint16_t> a(256), b(128);
    std::vector<float> out(128, -1);
    auto number = [](int i) { return (float)((i * 37 + 11) % 64 - 31) / 8; };
    for (int i = 0; i < 256; i++) a[i] = (uint16_t)(__float_as_uint(number(i)) >> 16);
    for (int i = 0; i < 128; i++) b[i] = (uint16_t)(__float_as_uint(number(i + 5)) >> 16);
    uint16_t *da = on_device(a), *db = on_device(b);
    float *dout = on_device(out);
    run("tile product", NULL, tile_product, da, db, dout);
    bool right = true;
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float s = 0; /* eighths of small integers: exact */
            for (int k = 0; k < 16; k++) s += number(i * 16 + k) * number(k * 8 + j + 5);
            right &= dout[i * 8 + j] == s;
        }
    expect(right, "mma.sync of what ldmatrix read", "another product");
    cudaFree(da);
    cudaFree(db);
    cudaFree(dout);
}

static void graphs(int *n) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    simt_forget_faults();
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
    simt_launch("counts", counts, dim3(2), dim3(64), 0, stream, n);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    expect(*n == 0, "a captured launch", "ran while captured");
    for (int i = 0; i < 3; i++) cudaGraphLaunch(exec, stream);
    expect(*n == 3 * 128, "a graph launched three times", "counted otherwise");
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
}

/* What a capture does not survive, one at a time. */
static void broken_graphs(int *n) {
    static const char *const what[] = {"nothing", "an allocation", "a wait", "a copy from the host",
                                       "a copy to the host"};
    for (int i = 0; i < 5; i++) {
        cudaGraph_t graph;
        void *p = NULL;
        int host = 0;
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal);
        simt_launch("counts", counts, dim3(2), dim3(64), 0, stream, n);
        if (i == 1) cudaMalloc(&p, 8);
        if (i == 2) cudaStreamSynchronize(stream);
        if (i == 3) cudaMemcpyAsync(n, &host, sizeof host, cudaMemcpyHostToDevice, stream);
        if (i == 4) cudaMemcpyAsync(&host, n, sizeof host, cudaMemcpyDeviceToHost, stream);
        expect(!p, what[i], "was given");
        bool whole = cudaStreamEndCapture(stream, &graph) == cudaSuccess;
        expect(whole == (i == 0), what[i], whole ? "in a capture went unseen" : "broke a capture");
        if (whole) cudaGraphDestroy(graph);
        cudaGetLastError();
    }
}

static void barriers_and_shared(float *out) {
    run("half at a barrier", "divergent barrier", half_at_barrier);
    run("two barriers", "divergent barrier", two_barriers);
    run("all at a barrier", NULL, all_at_barrier);
    run("a lane missing", "which do not come", lane_missing);
    run("masks that differ", "which do not come", masks_differ);
    run("operations that differ", "meets", operations_differ);
    run("half a warp", NULL, half_warp);
    run("never written", "nothing was written there", never_written, out);
    run("another block's shared memory", "nothing was written there", other_blocks_shared, out);
    run("past shared memory", "outside of the shared memory", past_shared);
    run("before shared memory", "outside of the shared memory", before_shared);
    run("no barrier", "race with a", no_barrier, out);
    run("with a barrier", NULL, with_barrier, out);
    run("two writers", "race with a write", both_write);
    run("write after read", "race with a read", write_after_read, out);
    run("within a warp", NULL, within_warp, out);
    run("a shuffle is no barrier", "race with a", shuffle_is_no_barrier, out);
    run("across warps", "race with a", across_warps, out);
    run("halves of a word", NULL, halves_of_a_word);
}

static void device_memory(float *out) {
    float *fresh;
    int *n = on_device(std::vector<int>(1, 0));
    cudaMalloc((void **)&fresh, 64 * sizeof(float));
    run("past the end", "outside of any allocation", past_the_end, out);
    run("before the start", "outside of any allocation", before_the_start, out);
    run("blocks meet", "race with a write by another block", blocks_meet, out);
    run("a block reads a block", "race with a write by another block", block_reads_block, out);
    run("a block overwrites", "race with a read", block_overwrites_read, out);
    run("fresh memory", "nothing was written there", fresh_memory, (const float *)fresh, out);
    run("misaligned", "misaligned", misaligned, out);
    run("atomics", NULL, counts, n);
    expect(*n == 128, "atomics", "a lost count");
    run("atomic and plain", "race with a", atomic_and_plain, n);
    *n = 0;
    graphs(n);
    broken_graphs(n);
    cudaFree(fresh);
    run("freed memory", "outside of any allocation", fresh_memory, (const float *)fresh, out);
    cudaFree(n);
}

static void copies(float *out) {
    std::vector<float> numbers(256);
    for (int i = 0; i < 256; i++) numbers[i] = (float)i;
    float *in = on_device(numbers);
    run("a copy not waited for", "has not been waited for", copy_not_waited, (const float *)in,
        out);
    run("a copy waited for", NULL, copy_waited, (const float *)in, out);
    expect(out[0] == 255 && out[63] == 3, "a copy waited for", "other bytes");
    run("the wrong group", "has not been waited for", copy_wrong_group, (const float *)in, out);
    run("a copy without a barrier", "race with a", copy_no_barrier, (const float *)in, out);
    run("zeros", NULL, copy_zeros, (const float *)in, out);
    expect(out[31] == 0 && out[32] == 0 && out[1] == 0, "zeros", "something else");
    cudaFree(in);
}

static bool encode(CUtensorMap *map, uint16_t *at, cuuint64_t stride, cuuint32_t box) {
    const cuuint64_t size[3] = {COLUMNS, ROWS, LAYERS}, strides[2] = {stride, stride * ROWS};
    const cuuint32_t boxes[3] = {box, BOX, 1}, step[3] = {1, 1, 1};
    return cuTensorMapEncodeTiled(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, at, size, strides,
                                  boxes, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                  CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/* What came through the ring: rows from -4 on, zeros outside of each layer. */
static bool boxes_are_right(const uint16_t *out) {
    bool right = true;
    for (int z = 0; z < LAYERS; z++)
        for (int y = 0; y < STEPS * BOX; y++)
            for (int x = 0; x < 64; x++) {
                int row = y - 4, want = row < 0 || row >= ROWS ? 0 : number_at(z, row, 64 + x);
                right &= out[(z * STEPS * BOX + y) * 64 + x] == want;
            }
    return right;
}

static void bulk_copies(void) {
    static const struct {
        const char *name, *words;
    } faults[] = {{"a ring", NULL},
                  {"a ring without release", "race with a read"},
                  {"a release by half the readers", "race with a read"},
                  {"a release that never comes", "that do not come"},
                  {"no wait for the bytes", "nothing was written there"},
                  {"a wait for the phase before", "nothing was written there"},
                  {"too few bytes", "did not expect"},
                  {"too many bytes", "lacks 0 arrivals and 1024 bytes"},
                  {"no bytes", "has not been waited for"},
                  {"barriers not shown", "without a fence behind its setting up"},
                  {"barriers not set up", "was not set up"},
                  {"no barrier after setting up", "race with a write"},
                  {"reads without a fence", "without a fence between proxies"},
                  {"a write without a fence", "without a fence between proxies"},
                  {"a copy left behind", "nobody has waited"},
                  {"two arrivals", "an arrival more"},
                  {"a misplaced copy", "misaligned"}};
    std::vector<uint16_t> numbers(LAYERS * ROWS * COLUMNS),
        nothing(LAYERS * STEPS * BOX * 64, 0xffff);
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = (uint16_t)(1 + i);
    uint16_t *in = on_device(numbers), *out = on_device(nothing);
    CUtensorMap map;
    expect(!encode(&map, in + 1, COLUMNS * 2, 64), "a map of a misaligned tensor", "was made");
    expect(!encode(&map, in, COLUMNS * 2 + 8, 64), "a map of misaligned rows", "was made");
    expect(!encode(&map, in, COLUMNS * 2, 128), "a box wider than its swizzle", "was made");
    expect(encode(&map, in, COLUMNS * 2, 64), "a map", "was not made");
    shared_bytes = sizeof(ring);
    for (int w = 0; w <= MISPLACED; w++) {
        run(faults[w].name, faults[w].words, through_a_ring, map, out, (enum wrong)w);
        if (w == NOTHING_WRONG) expect(boxes_are_right(out), "boxes", "other numbers");
    }
    run("products that are waited for", NULL, products, map, 0);
    run("products that go on behind the release", "race with a read", products, map, 1);
    run("a product of what was fenced", NULL, product_of_written, true);
    run("a product of what was not", "without a fence between proxies", product_of_written, false);
    shared_bytes = sizeof(ring) - 16;
    run("past shared memory", "past the shared memory", through_a_ring, map, out, NOTHING_WRONG);
    shared_bytes = 1024;
    cudaFree(in);
    cudaFree(out);
}

/* ------------------------------------------------------------------ kernels launched early */

static void early_write(float *out, bool waits) {
    if (waits) wait_for_earlier();
    out[blockIdx.x * 64 + me()] = 1;
    wait_for_earlier();
}
static void early_read(float *out, const float *in, bool waits) {
    next_may_begin();
    if (waits) wait_for_earlier();
    float x = in[me()];
    wait_for_earlier();
    if (x == 0) out[blockIdx.x * 64 + me()] = x;
}
static void early_copy(float *out, const float *in, bool waits) {
    if (waits) wait_for_earlier();
    cp_async16(shared() + 4 * me(), in + 4 * (me() % 16));
    cp_async_commit();
    cp_async_wait<0>();
    wait_for_earlier();
    out[blockIdx.x * 64 + me()] = shared()[4 * me()];
}
static void early_end(void) {
    if (me() != 5) wait_for_earlier();
}

template <class... P, class... A>
static void run_early(const char *name, const char *words, void (*kernel)(P...), A... args) {
    simt_forget_faults();
    simt_launch_early(name, kernel, dim3(2), dim3(64), shared_bytes, stream, args...);
    const char *fault = simt_first_fault();
    expect(words ? fault && strstr(fault, words) : !fault, name, fault);
}

static void early(float *out) {
    const char *words = "earlier kernels have not been waited for";
    float *in = on_device(std::vector<float>(128, 0));
    run_early("an early read of what was there", NULL, early_read, out, in, false);
    run_early("a write behind the wait", NULL, early_write, in, true);
    run_early("a write before the wait", words, early_write, out, false);
    run_early("a read behind the wait", NULL, early_read, out, in, true);
    run_early("an early read of an earlier kernel's", words, early_read, out, in, false);
    run_early("a copy behind the wait", NULL, early_copy, out, in, true);
    run_early("an early copy of an earlier kernel's", words, early_copy, out, in, false);
    run_early("an end without a wait", "has not waited", early_end);
    run("another kernel", NULL, all_at_barrier);
    run_early("an early read of what is there now", NULL, early_read, out, in, false);
    cudaFree(in);
}

int main(void) {
    cudaStreamCreateWithFlags(&stream, 0);
    float *out = on_device(std::vector<float>(128, 0));
    barriers_and_shared(out);
    device_memory(out);
    copies(out);
    early(out);
    bulk_copies();
    tensor_cores();
    banks(out);
    cudaFree(out);
    cudaStreamDestroy(stream);
    printf("%d checks, %d failed\n", checks, failures);
    return failures > 0;
}
