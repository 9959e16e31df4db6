/* See gemm_split.h. */
#include "train/cpu/gemm_split.h"

#if ISA_LEVEL == 3 && defined HAVE_X86_AMX
#include "train/cpu/amx.h"

enum { ROWS = 16, REGISTER = ROWS * VL }; /* floats of a register */

/* Pairs of x and y (low and high half) as three of bf16, each in its plane. */
INLINE void split(float *out, vf x, vf y) {
    const vu upper = (vu){0} + 0xffff0000u, half = (vu){0} + 0x8000u;
    vu x_hi = (vu)x & upper, y_hi = (vu)y & upper;
    vf x_rest = x - (vf)x_hi, y_rest = y - (vf)y_hi;
    vu x_mid = ((vu)x_rest + half) & upper, y_mid = ((vu)y_rest + half) & upper;
    vu x_lo = (vu)(x_rest - (vf)x_mid), y_lo = (vu)(y_rest - (vf)y_mid);
    stf(out, (vf)(x_hi >> 16 | y_hi));
    stf(out + 2 * REGISTER, (vf)(x_mid >> 16 | y_mid));
    stf(out + 4 * REGISTER, (vf)(x_lo >> 16 | (y_lo & upper)));
}

/* n of 16 rows (columns of B) by k of 32 elements of K as they are wanted: 16 lines x, 16 lines y,
 * zeros beyond. `by_k`: they lie in memory by K, n neighbours at a time; `turn`: and are wanted the
 * other way. */
INLINE void copy_lines(float *lines, const float *p, size_t ld_p, size_t n, size_t k, bool by_k,
                       bool turn) {
    size_t more = by_k ? VL * ld_p : VL, cut = k < VL ? k : VL;
    for (size_t half = 0; half < 2; half++) {
        size_t have = half ? k - cut : cut, rows = by_k ? have : n;
        int w = (int)(by_k ? n : have);
        vf x[VL];
        _Pragma("GCC unroll 16") for (size_t i = 0; i < VL; i++) x[i] =
            i < rows ? ld(p, half * more + i * ld_p, w, false) : (vf){0};
        if (turn) vf_transpose(x);
        _Pragma("GCC unroll 16") for (size_t i = 0; i < VL; i++)
            stf(lines + half * REGISTER + i * VL, x[i]);
    }
}

static __attribute__((noinline)) void copy_part(struct split_job *job, const float *p, size_t n,
                                                size_t k) {
    copy_lines(job->lines, p, job->ld, n, k, job->by_k, job->turn);
}
static __attribute__((noinline)) void turn_by_k(struct split_job *job, const float *p) {
    copy_lines(job->lines, p, job->ld, ROWS, SPLIT_STEP, true, true);
}
static __attribute__((noinline)) void turn_rows(struct split_job *job, const float *p) {
    copy_lines(job->lines, p, job->ld, ROWS, SPLIT_STEP, false, true);
}

/* Where the lines of the register that begins are: in memory, or copied. */
static void begin_register(struct split_job *job) {
    size_t r = job->at / ROWS, k0 = r / 2 * SPLIT_STEP, i = r % 2 * ROWS, k = job->k - k0;
    size_t n = job->n > i ? job->n - i : 0;
    const float *p = job->p + (job->by_k ? k0 * job->ld + i : i * job->ld + k0);
    bool all = n >= ROWS && k >= SPLIT_STEP;
    job->to = job->out + r / 2 * SPLIT_SIZE + i * VL;
    if (all && !job->turn) {
        job->from = p, job->step = job->ld, job->more = job->by_k ? VL * job->ld : VL;
        return;
    }
    if (!all)
        copy_part(job, p, n < ROWS ? n : ROWS, k < SPLIT_STEP ? k : SPLIT_STEP);
    else if (job->by_k)
        turn_by_k(job, p);
    else
        turn_rows(job, p);
    job->from = job->lines, job->step = VL, job->more = REGISTER;
}

/* Lines job->at … to. */
INLINE void split_lines(struct split_job *job, size_t to) {
    for (; job->at < to; job->at++) {
        if (job->at % ROWS == 0) begin_register(job);
        split(job->to, ldf(job->from), ldf(job->from + job->more));
        job->from += job->step, job->to += VL;
    }
}

void gemm_split_all(struct split_job *job) {
    split_lines(job, job->end);
}

/* What is done meanwhile is done a little between the products of four registers each, as no more
 * of them are on their way at a time: what stands behind many others waits for all of those. */
struct share {
    size_t due, each; /* lines, in parts of 2^16 */
};

INLINE struct share share_of(const struct split_job *job, size_t to, size_t times) {
    return (struct share){job->at << 16, ((to - job->at) << 16) / times + 1};
}
INLINE void go_on(struct split_job *job, struct share *share, size_t to) {
    share->due += share->each;
    split_lines(job, share->due >> 16 < to ? share->due >> 16 : to);
}

/* Lines of memory, walk after walk. */
struct asking {
    struct walk *const *walk;
    size_t more, left; /* walks behind this one; its lines still to be asked for now */
};

INLINE void ask_some(struct asking *a, size_t n) {
    for (struct walk *w = *a->walk; n; n--) {
        while (a->left == 0 || w->rows == 0) {
            if (a->more == 0) return;
            a->more--, w = *++a->walk, a->left = w->each;
        }
        __builtin_prefetch(w->row + LINE * w->at, 0, 2);
        a->left--;
        if (++w->at < w->lines) continue;
        w->at = 0, w->rows--, w->row += w->step;
    }
}

INLINE void add_rows(struct split_sums *s, size_t n) {
    for (; n && s->rows; n--, s->rows--, s->c += s->ldc, s->from += NR) {
        stf(s->c, ldf(s->c) + ldf(s->from));
        stf(s->c + VL, ldf(s->c + VL) + ldf(s->from + VL));
    }
}
void gemm_split_add(struct split_sums *late) {
    add_rows(late, late->rows);
}

void gemm_split_tile(float *c, size_t ldc, const float *a, const float *b, size_t k,
                     struct meanwhile *also) {
    struct split_job *job = also->job;
    const size_t *to = also->to;
    size_t bytes_c = ldc * sizeof *c, bytes = VL * sizeof *a;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    size_t steps = k / SPLIT_STEP, turns = 6 * steps, lines = 0, rows = also->late.rows / turns + 1;
    struct share share[2] = {share_of(&job[0], to[0], turns), share_of(&job[1], to[1], turns)};
    struct asking asking = {also->walk, also->walks - 1, also->walk[0]->each};
    for (size_t i = 0; i < also->walks; i++) lines += also->walk[i]->each;
    lines = lines / turns + 1;
/* Lines of B's next step are asked for into L1, others into L2. */
#define MEANWHILE(PLANE)                                                                           \
    _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++)                                        \
        __builtin_prefetch(b + SPLIT_SIZE + (PLANE)*REGISTER + i * VL);                            \
    ask_some(&asking, lines);                                                                      \
    add_rows(&also->late, rows);                                                                   \
    go_on(&job[0], &share[0], to[0]);                                                              \
    go_on(&job[1], &share[1], to[1])
#define LOAD_A(PLANE)                                                                              \
    TILE_LOAD(4, a + 2 * (PLANE)*REGISTER, bytes);                                                 \
    TILE_LOAD(5, a + (2 * (PLANE) + 1) * REGISTER, bytes)
#define LOAD_B(PLANE)                                                                              \
    TILE_LOAD(6, b + 2 * (PLANE)*REGISTER, bytes);                                                 \
    TILE_LOAD(7, b + (2 * (PLANE) + 1) * REGISTER, bytes)
#define MULTIPLY()                                                                                 \
    TILE_MUL_ADD(0, 4, 6);                                                                         \
    TILE_MUL_ADD(1, 4, 7);                                                                         \
    TILE_MUL_ADD(2, 5, 6);                                                                         \
    TILE_MUL_ADD(3, 5, 7)
    for (; steps; steps--, a += SPLIT_SIZE, b += SPLIT_SIZE) {
        LOAD_A(0);
        LOAD_B(2);
        MULTIPLY();
        MEANWHILE(0);
        LOAD_B(1);
        MULTIPLY();
        MEANWHILE(1);
        LOAD_A(1);
        MULTIPLY();
        MEANWHILE(2);
        LOAD_B(0);
        MULTIPLY();
        MEANWHILE(3);
        LOAD_A(2);
        MULTIPLY();
        MEANWHILE(4);
        LOAD_A(0);
        MULTIPLY();
        MEANWHILE(5);
    }
    split_lines(&job[0], to[0]);
    split_lines(&job[1], to[1]);
    gemm_split_add(&also->late);
    TILE_STORE(0, c, bytes_c);
    TILE_STORE(1, c + VL, bytes_c);
    TILE_STORE(2, c + ROWS * ldc, bytes_c);
    TILE_STORE(3, c + ROWS * ldc + VL, bytes_c);
}

#endif
