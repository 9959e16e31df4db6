/* The next id of each row from its logits: what sampling_warp() and sampling_draw() do on a host
 * (train/sampling.c), in the same order, so that only an id a row goes back to it.
 *
 *   logits ─▶ temperature ─▶ top-k ─▶ exp ─▶ top-p ─▶ min-p ─▶ probabilities ─▶ draw
 *
 * A block has a row. The k-th largest logit, and the one at which the least likely add up to 1 - p,
 * are found by their bits, eight at a time from above: a histogram in shared memory tells in which
 * of 256 parts it lies, four times. Weights are added there as whole numbers, so that the order in
 * which they come changes nothing. All else is summed in double and in a fixed order.
 *
 * Where top-k leaves few, they are gathered first, and all that follows looks at these alone. */
#include "cuda/kernel.cuh"

namespace {

enum {
    THREADS = 1024,
    WARPS = THREADS / 32,
    AHEAD = 8,  /* logits that a thread asks for at once                     */
    FEW = 512,  /* that are gathered, at most …                              */
    FEW_K = 256 /* … so for a smaller k, as some may be equal or come along */
};
/* Digits of a key; those of a lane when a warp looks through all; and how many histograms there are
 * of them, which the lanes share out, as nearly all logits have the same first digit. */
enum { DIGITS = 256, LANE_DIGITS = DIGITS / 32, COPIES = 8 };
typedef unsigned long long mass_t; /* a weight as a whole number */

struct room {
    double sums[WARPS];
    float most[32];
    int index[WARPS];
    mass_t masses[DIGITS * COPIES], mass[DIGITS];
    unsigned counts[DIGITS * COPIES], count[DIGITS];
    /* what has been found: the upper bits of the key, how many there are of it … */
    uint32_t key;
    unsigned rank, equal;
    mass_t limit, below,
        each; /* … and of top-p: 1 - p of all, what lies below, the weight of one */
    /* what has been gathered, as it came; what stays of it, in the order of ids, and the weights */
    int n, found_id[FEW], id[FEW];
    float found[FEW], z[FEW];
    double e[FEW];
};

/* Larger floats have larger keys; both zeros have the same. */
__device__ __forceinline__ uint32_t key_of(float z) {
    uint32_t u = __float_as_uint(z + 0.0f);
    return u >> 31 ? ~u : u | 0x80000000u;
}
__device__ __forceinline__ float of_key(uint32_t k) {
    return __uint_as_float(k >> 31 ? k & 0x7fffffffu : ~k);
}
/* Whether the bits above `shift` + 8 are those found so far. */
__device__ __forceinline__ bool found(uint32_t key, uint32_t so_far, int shift) {
    return shift == 24 || (key ^ so_far) >> (shift + 8) == 0;
}

/* f(id, logit) of this thread's logits. */
template <class F> __device__ __forceinline__ void each_logit(const float *z, int V, F f) {
    for (int from = threadIdx.x; from < V; from += THREADS * AHEAD) {
        float x[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (from + i * THREADS < V) x[i] = z[from + i * THREADS];
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (from + i * THREADS < V) f(from + i * THREADS, x[i]);
    }
}

__device__ void clear_histogram(room &s) {
    __syncthreads();
    for (int i = threadIdx.x; i < DIGITS * COPIES; i += THREADS) s.counts[i] = 0, s.masses[i] = 0;
    __syncthreads();
}

__device__ __forceinline__ void count_digit(room &s, unsigned digit, mass_t mass) {
    unsigned at = digit * COPIES + threadIdx.x % COPIES;
    atomicAdd(&s.counts[at], 1u);
    if (mass) atomicAdd(&s.masses[at], mass);
}

/* The copies become one. */
__device__ void close_histogram(room &s) {
    __syncthreads();
    if (threadIdx.x < DIGITS) {
        unsigned count = 0;
        mass_t mass = 0;
        for (int i = 0; i < COPIES; i++) {
            /* Lanes begin at different ones, so that few meet in a bank. */
            int at = threadIdx.x * COPIES + (threadIdx.x / 4 + i) % COPIES;
            count += s.counts[at];
            mass += s.masses[at];
        }
        s.count[threadIdx.x] = count;
        s.mass[threadIdx.x] = mass;
    }
    __syncthreads();
}

/* The first warp: the digit in which the rank lies, counted from the largest down. */
__device__ void choose_digit(room &s, int shift) {
    int lane = threadIdx.x % 32, top = DIGITS - 1 - lane * LANE_DIGITS; /* lane 0 has the largest */
    unsigned own = 0, rank = s.rank;
    for (int i = 0; i < LANE_DIGITS; i++) own += s.count[top - i];
    unsigned up = own; /* of this lane and those before it */
    for (int o = 1; o < 32; o *= 2) {
        unsigned x = __shfl_up_sync(ALL_LANES, up, (unsigned)o);
        if (lane >= o) up += x;
    }
    __syncwarp(); /* all have read what one now writes */
    if (up - own >= rank || up < rank) return;
    rank -= up - own;
    for (; s.count[top] < rank; top--) rank -= s.count[top];
    s.rank = rank;
    s.key |= (uint32_t)top << shift;
}

/* The k-th largest of z, 1 <= k <= V. */
__device__ float kth_largest(room &s, const float *z, int V, int k) {
    __syncthreads(); /* what was found before has been read */
    if (threadIdx.x == 0) s.key = 0, s.rank = (unsigned)k;
    for (int shift = 24; shift >= 0; shift -= 8) {
        clear_histogram(s);
        uint32_t so_far = s.key;
        each_logit(z, V, [&](int, float x) {
            uint32_t key = key_of(x);
            if (found(key, so_far, shift)) count_digit(s, key >> shift & 255, 0);
        });
        close_histogram(s);
        if (threadIdx.x < 32) choose_digit(s, shift);
    }
    __syncthreads();
    return of_key(s.key);
}

/* Gathers the logits that are not below the k-th largest of all into s.id and s.z, and returns how
 * many there are; 0: not few. `own` is the largest of this thread's: the k-th largest of these is
 * not above the k-th of all, so what stays is among the usually few that are not below it. */
__device__ int find_few(room &s, const float *z, int V, int k, float own) {
    static_assert(sizeof s.e >= THREADS * sizeof(float), "room for the threads' largest");
    float *largest = reinterpret_cast<float *>(s.e);
    int t = threadIdx.x, greater = 0, before = 0, all = 0;
    __syncthreads();
    largest[t] = own;
    if (t == 0) s.n = 0;
    float floor = kth_largest(s, largest, THREADS, k);
    each_logit(z, V, [&](int v, float x) {
        int at = x < floor ? FEW : atomicAdd(&s.n, 1);
        if (at < FEW) s.found_id[at] = v, s.found[at] = x;
    });
    __syncthreads();
    int n = s.n, id = t < n && n <= FEW ? s.found_id[t] : V;
    if (n > FEW) return 0;
    for (int i = 0; id < V && i < n; i++) greater += s.found[i] > s.found[t];
    __syncthreads();
    if (id < V && greater >= k) s.found_id[t] = id = V;
    __syncthreads();
    for (int i = 0; i < n; i++) {
        before += s.found_id[i] < id;
        all += s.found_id[i] < V;
    }
    if (id < V) s.id[before] = id, s.z[before] = s.found[t];
    __syncthreads();
    return all;
}

/* The first warp: the part in which the limit is passed, the last one with anything in it if none;
 * the limit itself, if it is not known yet, is `share` of all. */
__device__ void choose_part(room &s, int shift, double share) {
    int lane = threadIdx.x % 32, digit = lane * LANE_DIGITS, last = -1;
    mass_t own = 0, below = s.below;
    for (int i = 0; i < LANE_DIGITS; i++) {
        own += s.mass[digit + i];
        if (s.count[digit + i]) last = digit + i;
    }
    mass_t up = own;
    for (int o = 1; o < 32; o *= 2) {
        mass_t x = __shfl_up_sync(ALL_LANES, up, (unsigned)o);
        if (lane >= o) up += x;
    }
    mass_t all = __shfl_sync(ALL_LANES, up, 31);
    mass_t limit = shift == 24 ? (mass_t)(share * (double)all) : s.limit;
    unsigned passed = __ballot_sync(ALL_LANES, below + up > limit);
    unsigned some = __ballot_sync(ALL_LANES, last >= 0);
    int mine = passed ? __ffs((int)passed) - 1 : 31 - __clz((int)some);
    __syncwarp(); /* as above */
    if (lane != mine) return;
    below += up - own;
    if (passed)
        for (last = digit; below + s.mass[last] <= limit; last++) below += s.mass[last];
    else
        below += all - up + own - s.mass[last];
    s.below = below;
    s.limit = limit;
    s.key |= (uint32_t)last << shift;
    s.equal = s.count[last];
    s.each = s.mass[last] / s.equal;
}

/* The value z at which the weights e, from the least on, add up to more than `limit` of them all;
 * s.below, s.equal, s.each are of it. */
__device__ float where_passed(room &s, const float *z, const double *e, int V, double limit,
                              double scale) {
    __syncthreads(); /* as above */
    if (threadIdx.x == 0) s.key = 0, s.below = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        clear_histogram(s);
        uint32_t so_far = s.key;
        each_logit(z, V, [&](int v, float x) {
            uint32_t key = key_of(x); /* what has been removed weighs nothing */
            if (x > -INFINITY && found(key, so_far, shift))
                count_digit(s, key >> shift & 255, (mass_t)(e[v] * scale + 0.5));
        });
        close_histogram(s);
        if (threadIdx.x < 32) choose_part(s, shift, limit);
    }
    __syncthreads();
    return of_key(s.key);
}

/* The first `gone` of those equal to `floor` are removed: of equals the lower ids go first. */
__device__ void remove_equals(float *z, double *e, int V, float floor, unsigned gone) {
    int lane = threadIdx.x % 32;
    unsigned before = 0;
    __syncthreads();
    for (int from = 0; threadIdx.x < 32 && from < V && before < gone; from += 32) {
        int v = from + lane;
        bool equal = v < V && z[v] == floor;
        unsigned who = __ballot_sync(ALL_LANES, equal);
        if (equal && before + __popc(who & ((1u << lane) - 1)) < gone) z[v] = -INFINITY, e[v] = 0;
        before += __popc(who);
    }
    __syncthreads();
}

/* Removes the least likely whose weights together are at most 1 - p of them all; one stays. */
__device__ void keep_top_p(room &s, float *z, double *e, int V, float p, double scale) {
    float floor = where_passed(s, z, e, V, 1 - (double)p, scale);
    mass_t most = s.equal - 1, gone = s.each ? (s.limit - s.below) / s.each : most;
    if (gone > most) gone = most;
    each_logit(z, V, [&](int v, float x) {
        if (x < floor) z[v] = -INFINITY, e[v] = 0;
    });
    if (gone > 0) remove_equals(z, e, V, floor, (unsigned)gone);
}

/* To every thread. */
__device__ double sum_all(room &s, const double *e, int V) {
    double sum = 0;
    for (int v = threadIdx.x; v < V; v += THREADS) sum += e[v];
    __syncthreads();
    sum = block_sum_double(sum, s.sums);
    if (threadIdx.x == 0) s.sums[0] = sum;
    __syncthreads();
    sum = s.sums[0];
    __syncthreads();
    return sum;
}

/* The first id at which the probabilities, in the order of ids, add up to more than unit times
 * their sum; the last likely one if rounding leaves none. A warp has a part of the ids. */
__device__ int draw(room &s, const double *e, double sum, int V, double unit) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, each = (V + WARPS - 1) / WARPS;
    int first = warp * each, end = min(first + each, V), last = -1;
    double mine = 0, all = 0, before = 0;
    for (int v = first + lane; v < end; v += 32) {
        float p = e[v] > 0 ? (float)(e[v] / sum) : 0;
        mine += p;
        if (p > 0) last = v;
    }
    mine = warp_sum_double(mine);
    for (int o = 16; o > 0; o /= 2) last = max(last, __shfl_xor_sync(ALL_LANES, last, o));
    if (lane == 0) s.sums[warp] = mine, s.index[warp] = last;
    __syncthreads();
    for (int w = 0; w < WARPS; w++) all += s.sums[w];
    double at = unit * all;
    int w = 0, id = -1;
    for (; w < WARPS && !(before + s.sums[w] > at); w++) before += s.sums[w];
    for (int k = 0; k < WARPS; k++) /* where the walk below finds none */
        if (k <= w && s.index[k] >= 0) id = s.index[k];
    __syncthreads();
    if (warp != w && !(w == WARPS && warp == 0)) return -1;
    for (int from = first; w < WARPS && from < end; from += 32) {
        double p = from + lane < end ? (double)(float)(e[from + lane] / sum) : 0, up = p;
        for (int o = 1; o < 32; o *= 2) {
            double x = __shfl_up_sync(ALL_LANES, up, (unsigned)o);
            if (lane >= o) up += x;
        }
        unsigned hit = __ballot_sync(ALL_LANES, p > 0 && before + up > at);
        if (hit) return lane == 0 ? from + __ffs((int)hit) - 1 : -1;
        before += __shfl_sync(ALL_LANES, up, 31);
    }
    return lane == 0 ? id : -1;
}

/* The largest, the lowest id among equals; to thread 0. */
__device__ int argmax(room &s, const float *z, int V) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, at = 0x7fffffff;
    float most = -INFINITY;
    for (int v = threadIdx.x; v < V; v += THREADS)
        if (at == 0x7fffffff || z[v] > most) most = z[v], at = v;
    for (int o = 16; o > 0; o /= 2) {
        float x = __shfl_xor_sync(ALL_LANES, most, o);
        int i = __shfl_xor_sync(ALL_LANES, at, o);
        if (x > most || (x == most && i < at)) most = x, at = i;
    }
    if (lane == 0) s.most[warp] = most, s.index[warp] = at;
    __syncthreads();
    for (int w = 1; threadIdx.x == 0 && w < WARPS; w++)
        if (s.most[w] > most || (s.most[w] == most && s.index[w] < at))
            most = s.most[w], at = s.index[w];
    return at;
}

/* weights (gridDim.x, V): room for e. scale: how much a weight of 1 is as a whole number. */
__global__ void __launch_bounds__(THREADS)
    sample_kernel(int32_t *ids, float *logits, double *weights, const double *unit,
                  struct sampling how, int V, double scale) {
    room &s = *shared_memory<room>();
    float *z = logits + (size_t)blockIdx.x * V, most = -INFINITY;
    double *e = weights + (size_t)blockIdx.x * V;
    bool bad = false;
    each_logit(z, V, [&](int v, float x) {
        bad |= !(x < INFINITY);
        if (!how.greedy && how.temperature != 1) z[v] = x /= how.temperature;
        most = fmaxf(most, x);
    });
    if (__syncthreads_or(bad)) { /* sampling_possible() says no */
        if (threadIdx.x == 0) ids[blockIdx.x] = -1;
        return;
    }
    if (how.greedy) {
        int id = argmax(s, z, V);
        if (threadIdx.x == 0) ids[blockIdx.x] = id;
        return;
    }
    bool some = how.top_k > 0 && how.top_k < V;
    int few = some && how.top_k <= FEW_K ? find_few(s, z, V, how.top_k, most) : 0;
    most = block_max(most, s.most);
    if (few) V = few, z = s.z, e = s.e;
    float floor = some && !few ? kth_largest(s, z, V, how.top_k) : -INFINITY;
    each_logit(z, V, [&](int v, float x) {
        bool stays = !(x < floor); /* what equals the k-th does */
        if (!stays) z[v] = -INFINITY;
        e[v] = stays ? exp((double)x - most) : 0;
    });
    if (how.top_p < 1) keep_top_p(s, z, e, V, how.top_p, scale);
    for (int v = threadIdx.x; how.min_p > 0 && v < V; v += THREADS)
        if (e[v] < how.min_p) e[v] = 0;
    int id = draw(s, e, sum_all(s, e, V), V, unit[blockIdx.x]);
    if (id >= 0) ids[blockIdx.x] = few ? s.id[id] : id;
}

} // namespace

void cuda_sample(struct device *d, int32_t *ids, float *logits, const double *unit,
                 const struct sampling *how, int rows, int V) {
    double scale = 1;
    while (scale * V < 0x1p62) scale *= 2;
    double *weights = (double *)cuda_work(d, (size_t)rows * V * sizeof *weights);
    launch(d, "sample", sample_kernel, (unsigned)rows, THREADS, sizeof(room), ids, logits, weights,
           unit, *how, V, scale);
}
