/* Products under emulation: plain loops on the host in place of cuBLASLt, in the stream's order. The
 * extras are refused for shapes that the library would refuse too, and promised and then not done
 * for some, so that all ways are tested. */
#include "cuda/gemm.h"
#include "cuda/kernel.cuh"

struct gemm_plans {
    int unused;
};

struct gemm_plans *gemm_open(struct device *, const char *) {
    return new gemm_plans{};
}

void gemm_close(struct gemm_plans *p) {
    delete p;
}

bool gemm_can(struct device *, const struct gemm *g) {
    return g->n % 8 == 0 && g->ldc % 8 == 0;
}

static float value(const void *p, size_t i, bool bf) {
    return bf ? to_float(((const bf16 *)p)[i]) : ((const float *)p)[i];
}

static float dgelu(float x) {
    float t = tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) +
           0.5f * x * (1 - t * t) * 0.7978845608028654f * (1 + 3 * 0.044715f * x * x);
}

static void check_operand(const char *what, const void *p, int rows, int cols, int ld,
                          size_t bytes) {
    size_t n = ((size_t)(rows - 1) * ld + cols) * bytes;
    if (cols > ld) simt_fault("product: %s: rows of %d, %d apart", what, cols, ld);
    if (!simt_heap_holds(p, n)) simt_fault("product: %s is outside of any allocation", what);
}

static void multiply(const struct gemm &g, bool bf, void *out, const void *a, const void *b) {
    bool out_bf = bf && !g.out_f32;
    size_t in_bytes = bf ? 2 : 4, out_bytes = out_bf ? 2 : 4;
    check_operand("a", a, g.ta ? g.k : g.m, g.ta ? g.m : g.k, g.lda, in_bytes);
    check_operand("b", b, g.tb ? g.n : g.k, g.tb ? g.k : g.n, g.ldb, in_bytes);
    check_operand("out", out, g.m, g.n, g.ldc, out_bytes);
    if (simt_first_fault()) return;
    for (int i = 0; i < g.m; i++)
        for (int j = 0; j < g.n; j++) {
            size_t at = (size_t)i * g.ldc + j;
            float s = 0;
            for (int l = 0; l < g.k; l++)
                s += value(a, g.ta ? (size_t)l * g.lda + i : (size_t)i * g.lda + l, bf) *
                     value(b, g.tb ? (size_t)j * g.ldb + l : (size_t)l * g.ldb + j, bf);
            if (g.extra == GEMM_BIAS) s += value(g.bias, (size_t)j, bf);
            if (g.extra == GEMM_DGELU) s *= dgelu(value(g.aux, at, bf));
            if (g.add) s += value(out, at, out_bf);
            if (out_bf)
                ((bf16 *)out)[at] = from_float<bf16>(s);
            else
                ((float *)out)[at] = s;
        }
    for (int i = 0; i < g.m; i++)
        simt_heap_written((char *)out + (size_t)i * g.ldc * out_bytes, (size_t)g.n * out_bytes);
}

bool gemm_run(struct device *d, const struct gemm *g, void *out, const void *a, const void *b) {
    if (!cuda_may_launch(d)) return true;
    if (g->extra != GEMM_PLAIN && g->n % 16 == 8) {
        cuda_note(d, "no fused extra %d for %d x %d x %d", (int)g->extra, g->m, g->n, g->k);
        return false;
    }
    struct gemm copy = *g;
    bool bf = cuda_is_bf16(d);
    simt_enqueue(cuda_stream(d), [=] { multiply(copy, bf, out, a, b); });
    cuda_launched(d, "product");
    return true;
}
