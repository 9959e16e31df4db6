/* Products by cuBLASLt. See gemm.h.
 *
 * A row-major (m,n) matrix is a column-major (n,m) one, so out = a b is asked for as out' = b' a'.
 * A plan is made at the first product of a shape: up to 8 algorithms are proposed, the likeliest
 * first, which the same library proposes each time. Where choices can be kept (a file of the run),
 * each is timed on the operands there are (into memory of its own if it adds to what is there), and
 * the fastest stays: which that is differs from one process to the next, and with it the last
 * bits. Algorithms that split k by atomics are not asked for: the same plan gives the same bits.
 * An extra that the library has no algorithm for, or none that runs, is refused by name.
 */
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda/gemm.h"
#include "cuda/gemm_file.h"
#include "cuda/kernel.cuh"

namespace {

enum { WORKSPACE = 32 << 20, PROPOSED = 8, TIMED = 5 };

struct plan {
    struct gemm_key key;
    bool possible, refused;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
};

} // namespace

struct gemm_plans {
    cublasLtHandle_t lt;
    void *workspace;
    struct plan *plan;
    int n, room;
    char *path; /* of the file of choices, or NULL           */
    char who[320];
    struct gemm_choice *choice; /* of the file, and those made since */
    size_t n_choices;
};
static_assert(sizeof(cublasLtMatmulAlgo_t) == GEMM_ALGORITHM_BYTES, "an algorithm's bytes");

static bool ok(struct device *d, cublasStatus_t s, const char *what) {
    if (s == CUBLAS_STATUS_SUCCESS) return true;
    if (cuda_recording(d)) { /* it will be done without a recording, and fail again if it must */
        cuda_cannot_record(d);
        return false;
    }
    cuda_fail(d, s == CUBLAS_STATUS_ALLOC_FAILED ? ERR_NOMEM : ERR_OTHER, "%s: %s", what,
              cublasLtGetStatusString(s));
    return false;
}

static void plan_free(struct plan *p) {
    if (p->desc) cublasLtMatmulDescDestroy(p->desc);
    if (p->a) cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) cublasLtMatrixLayoutDestroy(p->c);
}

/* The choices of an earlier process on this kind of GPU. */
static bool load_choices(struct device *d, struct gemm_plans *p, const char *path) {
    struct err err = {};
    snprintf(p->who, sizeof p->who, "%s | cublasLt %zu", cuda_name(d), cublasLtGetVersion());
    if (!path) return true;
    p->path = strdup(path);
    if (!p->path || gemm_file_read(path, p->who, &p->choice, &p->n_choices, &err) < 0) {
        cuda_fail(d, p->path ? err.code : ERR_NOMEM, "%s", p->path ? err.msg : "out of memory");
        return false;
    }
    return true;
}

struct gemm_plans *gemm_open(struct device *d, const char *plan_file) {
    struct gemm_plans *p = (struct gemm_plans *)calloc(1, sizeof *p);
    if (!p) {
        cuda_fail(d, ERR_NOMEM, "out of memory");
        return NULL;
    }
    if (!ok(d, cublasLtCreate(&p->lt), "cuBLASLt")) {
        free(p);
        return NULL;
    }
    if (cudaMalloc(&p->workspace, WORKSPACE) != cudaSuccess) {
        cudaGetLastError();
        cuda_fail(d, ERR_NOMEM, "out of GPU memory for the products' workspace, %d MiB",
                  WORKSPACE >> 20);
        gemm_close(p);
        return NULL;
    }
    if (!load_choices(d, p, plan_file)) {
        gemm_close(p);
        return NULL;
    }
    return p;
}

void gemm_close(struct gemm_plans *p) {
    if (!p) return;
    for (int i = 0; i < p->n; i++) plan_free(&p->plan[i]);
    free(p->plan);
    free(p->choice);
    free(p->path);
    cudaFree(p->workspace);
    cublasLtDestroy(p->lt);
    free(p);
}

/* ------------------------------------------------------------------ descriptors */

static cudaDataType_t act_type(struct device *d) {
    return cuda_is_bf16(d) ? CUDA_R_16BF : CUDA_R_32F;
}

/* A stored row-major matrix of `rows` rows of `cols`. */
static cublasStatus_t layout(cublasLtMatrixLayout_t *ret, cudaDataType_t type, int rows, int cols,
                             int ld) {
    return cublasLtMatrixLayoutCreate(ret, type, (uint64_t)cols, (uint64_t)rows, ld);
}

static cublasStatus_t set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what,
                          const void *value, size_t bytes) {
    return cublasLtMatmulDescSetAttribute(desc, what, value, bytes);
}

static cublasStatus_t set_extra(struct device *d, cublasLtMatmulDesc_t desc, const struct gemm *g) {
    static const cublasLtEpilogue_t kinds[] = {CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS,
                                               CUBLASLT_EPILOGUE_DGELU};
    cublasLtEpilogue_t kind = kinds[g->extra];
    cublasStatus_t s = set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &kind, sizeof kind);
    int64_t ld = g->ldc;
    cudaDataType_t type = act_type(d); /* of the bias, of what DGELU takes */
    if (s == CUBLAS_STATUS_SUCCESS && g->extra == GEMM_BIAS)
        s = set(desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    if (s == CUBLAS_STATUS_SUCCESS && g->extra == GEMM_DGELU)
        s = set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &ld, sizeof ld);
    if (s == CUBLAS_STATUS_SUCCESS && g->extra == GEMM_DGELU)
        s = set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, &type, sizeof type);
    return s;
}

/* The pointers of this call. */
static cublasStatus_t set_pointers(cublasLtMatmulDesc_t desc, const struct gemm *g) {
    if (g->extra == GEMM_BIAS)
        return set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias, sizeof g->bias);
    if (g->extra == GEMM_DGELU)
        return set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &g->aux, sizeof g->aux);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t describe(struct device *d, struct plan *p, const struct gemm *g) {
    cudaDataType_t in = act_type(d), out = g->out_f32 ? CUDA_R_32F : in;
    cublasOperation_t first = g->tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                      second = g->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t s = cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    if (s == CUBLAS_STATUS_SUCCESS) s = set_extra(d, p->desc, g);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = layout(&p->b, in, g->tb ? g->n : g->k, g->tb ? g->k : g->n, g->ldb);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = layout(&p->a, in, g->ta ? g->k : g->m, g->ta ? g->m : g->k, g->lda);
    if (s == CUBLAS_STATUS_SUCCESS) s = layout(&p->c, out, g->m, g->n, g->ldc);
    return s;
}

/* ------------------------------------------------------------------ choosing */

static int propose(struct gemm_plans *all, struct plan *p, cublasLtMatmulHeuristicResult_t *found) {
    cublasLtMatmulPreference_t pref;
    uint64_t workspace = WORKSPACE;
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t align = (uint32_t)p->key.align;
    int n = 0;
    if (cublasLtMatmulPreferenceCreate(&pref) != CUBLAS_STATUS_SUCCESS) return 0;
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                         sizeof workspace);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                         sizeof schemes);
    const cublasLtMatmulPreferenceAttributes_t each[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (int i = 0; i < 4; i++)
        cublasLtMatmulPreferenceSetAttribute(pref, each[i], &align, sizeof align);
    cublasStatus_t s = cublasLtMatmulAlgoGetHeuristic(all->lt, p->desc, p->b, p->a, p->c, p->c,
                                                      pref, PROPOSED, found, &n);
    cublasLtMatmulPreferenceDestroy(pref);
    return s == CUBLAS_STATUS_SUCCESS ? n : 0;
}

static cublasStatus_t multiply(struct device *d, struct gemm_plans *all, const struct plan *p,
                               const cublasLtMatmulAlgo_t *algo, void *out, const void *a,
                               const void *b) {
    float one = 1, beta = p->key.add ? 1 : 0;
    return cublasLtMatmul(all->lt, p->desc, &one, b, p->b, a, p->a, &beta, out, p->c, out, p->c,
                          algo, all->workspace, WORKSPACE, cuda_stream(d));
}

/* Milliseconds of TIMED products after one to warm up; negative: it does not run. */
static float time_one(struct device *d, struct gemm_plans *all, const struct plan *p,
                      const cublasLtMatmulAlgo_t *algo, void *out, const void *a, const void *b,
                      cudaEvent_t from, cudaEvent_t to) {
    float ms = -1;
    if (multiply(d, all, p, algo, out, a, b) != CUBLAS_STATUS_SUCCESS) return -1;
    cudaEventRecord(from, cuda_stream(d));
    for (int i = 0; i < TIMED; i++) multiply(d, all, p, algo, out, a, b);
    cudaEventRecord(to, cuda_stream(d));
    if (cudaEventSynchronize(to) != cudaSuccess) return -1;
    cudaEventElapsedTime(&ms, from, to);
    return ms;
}

static size_t out_bytes(struct device *d, const struct gemm_key *k) {
    return (size_t)k->m * k->ldc * (k->out_f32 || !cuda_is_bf16(d) ? 4 : 2);
}

/* The fastest of those proposed; the first where the choice could not be kept or there is no memory
 * to try them in. False: none of them runs. */
static bool choose(struct device *d, struct gemm_plans *all, struct plan *p,
                   const cublasLtMatmulHeuristicResult_t *found, int n, void *out, const void *a,
                   const void *b) {
    cudaEvent_t from = NULL, to = NULL;
    void *aside = NULL;
    float best = -1;
    p->algo = found[0].algo;
    if (!all->path) return true;
    if (p->key.add) {
        if (cudaMalloc(&aside, out_bytes(d, &p->key)) != cudaSuccess) {
            cudaGetLastError();
            return true;
        }
        cudaMemsetAsync(aside, 0, out_bytes(d, &p->key), cuda_stream(d));
        out = aside;
    }
    cudaEventCreateWithFlags(&from, 0);
    cudaEventCreateWithFlags(&to, 0);
    for (int i = 0; i < n; i++) {
        float ms = time_one(d, all, p, &found[i].algo, out, a, b, from, to);
        if (ms < 0 || (best >= 0 && ms >= best)) continue;
        best = ms;
        p->algo = found[i].algo;
    }
    cudaEventDestroy(from);
    cudaEventDestroy(to);
    if (aside) cudaFree(aside);
    cudaGetLastError(); /* of algorithms that do not run: no failure of the next kernel */
    return best >= 0;
}

static int align_of(const void *p) {
    int n = 16;
    while ((uintptr_t)p % (unsigned)n) n /= 2;
    return n;
}

static struct gemm_key key_of(const struct gemm *g, int align) {
    struct gemm_key k = {g->m,  g->n,  g->k,       g->lda, g->ldb,   g->ldc,
                         g->ta, g->tb, g->out_f32, g->add, g->extra, align};
    return k;
}

/* The plan of a shape, made if there is none. a NULL: only described and proposed, to be measured
 * when it is first used. NULL after noting the failure. */
static struct plan *plan_of(struct device *d, const struct gemm *g, int align) {
    struct gemm_plans *all = cuda_gemms(d);
    struct gemm_key key = key_of(g, align);
    for (int i = 0; i < all->n; i++)
        if (memcmp(&all->plan[i].key, &key, sizeof key) == 0) return &all->plan[i];
    if (all->n == all->room) {
        int room = all->room ? 2 * all->room : 32;
        struct plan *more = (struct plan *)realloc(all->plan, (size_t)room * sizeof *more);
        if (!more) {
            cuda_fail(d, ERR_NOMEM, "out of memory");
            return NULL;
        }
        all->plan = more;
        all->room = room;
    }
    struct plan *p = &all->plan[all->n];
    memset(p, 0, sizeof *p);
    p->key = key;
    if (!ok(d, describe(d, p, g), "product")) {
        plan_free(p);
        return NULL;
    }
    all->n++;
    return p;
}

/* The algorithm an earlier process took for this plan, if the library still takes it. */
static bool remember(struct gemm_plans *all, struct plan *p) {
    cublasLtMatmulHeuristicResult_t result;
    for (size_t i = 0; i < all->n_choices; i++) {
        if (memcmp(&all->choice[i].key, &p->key, sizeof p->key) != 0) continue;
        memcpy(&p->algo, all->choice[i].algorithm, sizeof p->algo);
        return cublasLtMatmulAlgoCheck(all->lt, p->desc, p->b, p->a, p->c, p->c, &p->algo,
                                       &result) == CUBLAS_STATUS_SUCCESS &&
               result.workspaceSize <= WORKSPACE;
    }
    return false;
}

/* Adds a choice to the file, which is small and changes only while a run is young. */
static void keep_choice(struct device *d, struct gemm_plans *all, const struct plan *p) {
    struct err err = {};
    size_t n = all->n_choices;
    if (!all->path) return;
    struct gemm_choice *more =
        (struct gemm_choice *)realloc(all->choice, (n + 1) * sizeof *all->choice);
    if (!more) {
        cuda_fail(d, ERR_NOMEM, "out of memory");
        return;
    }
    all->choice = more;
    more[n].key = p->key;
    memcpy(more[n].algorithm, &p->algo, sizeof p->algo);
    all->n_choices = n + 1;
    if (gemm_file_write(all->path, all->who, more, n + 1, &err) < 0)
        cuda_fail(d, err.code, "%s", err.msg);
}

/* Gives a plan that has not been used its algorithm. False: cuBLASLt cannot do it. */
static bool make_possible(struct device *d, struct plan *p, const struct gemm *g, void *out,
                          const void *a, const void *b) {
    cublasLtMatmulHeuristicResult_t found[PROPOSED];
    struct gemm_plans *all = cuda_gemms(d);
    if (p->possible) return true;
    if (p->refused || set_pointers(p->desc, g) != CUBLAS_STATUS_SUCCESS) return false;
    if (remember(all, p)) return p->possible = true;
    int n = propose(all, p, found);
    if (n == 0 || !choose(d, all, p, found, n, out, a, b)) return false;
    keep_choice(d, all, p);
    return p->possible = true;
}

static void refuse(struct device *d, struct plan *p) {
    static const char *const names[] = {"product", "bias", "dgelu"};
    p->refused = true;
    cuda_note(d, "no fused %s for %d x %d x %d", names[p->key.extra], p->key.m, p->key.n, p->key.k);
}

bool gemm_can(struct device *d, const struct gemm *g) {
    cublasLtMatmulHeuristicResult_t found[PROPOSED];
    struct plan *p = cuda_may_launch(d) ? plan_of(d, g, 16) : NULL;
    if (!p || p->possible || p->refused) return p && p->possible;
    if (set_pointers(p->desc, g) == CUBLAS_STATUS_SUCCESS && propose(cuda_gemms(d), p, found) > 0)
        return true;
    refuse(d, p);
    return false;
}

bool gemm_run(struct device *d, const struct gemm *g, void *out, const void *a, const void *b) {
    if (cuda_measuring(d) && g->add) cuda_wants_once(d, (size_t)g->m * g->ldc * sizeof(float));
    if (!cuda_may_launch(d)) return true;
    int align = align_of(out), aa = align_of(a), ab = align_of(b);
    if (aa < align) align = aa;
    if (ab < align) align = ab;
    struct plan *p = plan_of(d, g, align);
    if (!p) return true;
    if (cuda_recording(d) && !p->possible && !p->refused) {
        cuda_cannot_record(d); /* its algorithms are measured first, without */
        return true;
    }
    if (!make_possible(d, p, g, out, a, b)) {
        if (g->extra == GEMM_PLAIN)
            cuda_fail(d, ERR_OTHER, "cuBLASLt has no product of %d x %d x %d", g->m, g->n, g->k);
        else
            refuse(d, p);
        return g->extra == GEMM_PLAIN;
    }
    if (ok(d, set_pointers(p->desc, g), "product"))
        ok(d, multiply(d, cuda_gemms(d), p, &p->algo, out, a, b), "product");
    return true;
}
