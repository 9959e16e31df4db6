/* A curve in one line: see spark.h. */
#include "report/spark.h"

#include <math.h>

enum { LEVELS = 8 };

/* Mean of the finite values; NAN if there is none. */
static double mean(const double *v, size_t n) {
    double sum = 0;
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) sum += v[i], m++;
    return m ? sum / (double)m : NAN;
}

static double share(const double *v, size_t n, size_t i, size_t width) {
    size_t from = i * n / width, to = (i + 1) * n / width;
    return mean(v + from, to - from);
}

int spark_text(struct buf *out, const double *v, size_t n, size_t width, struct err *err) {
    static const char *const bars[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double lo = INFINITY, hi = -INFINITY;
    int rc = 0;
    if (width > n) width = n;
    for (size_t i = 0; i < width; i++) {
        double x = share(v, n, i, width);
        if (x < lo) lo = x;
        if (x > hi) hi = x;
    }
    for (size_t i = 0; rc == 0 && i < width; i++) {
        double x = share(v, n, i, width), at = hi > lo ? (x - lo) / (hi - lo) : 0;
        int level = (int)(at * (LEVELS - 1) + 0.5);
        rc = buf_str(out, isnan(x) ? " " : bars[level], err);
    }
    return rc;
}
