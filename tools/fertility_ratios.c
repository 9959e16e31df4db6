/* What is worked out from the counts of fertility. */
#include <math.h>
#include <stdlib.h>
#include "tools/fertility_parts.h"

double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

double ratio_of_documents(const struct fertility *f) {
    return ratio(f->rate_sum, f->rated) / (double)(1u << FERTILITY_RATE_BITS);
}

double ratio_of_entropy(const struct one *v, double alpha) {
    uint32_t size = tokenizer_size(v->t);
    return size > 1 ? fertility_entropy(&v->sum, alpha) / log2(size) : 0;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double ratio_gini(const struct one *v, size_t files) {
    double *cost = mem_array(files, sizeof *cost), sum = 0, weighted = 0;
    size_t n = 0;
    for (size_t i = 0; cost && i < files; i++)
        if (v->parts[i].bytes) cost[n++] = ratio(v->parts[i].tokens, v->parts[i].bytes);
    if (cost && n) qsort(cost, n, sizeof *cost, by_number);
    for (size_t i = 0; i < n; i++) {
        sum += cost[i];
        weighted += (2 * (double)i + 1 - (double)n) * cost[i];
    }
    free(cost);
    return n && sum > 0 ? weighted / ((double)n * sum) : NAN;
}
