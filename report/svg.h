/* Plots as SVG elements for a page of report/html.h, from plain numbers. What is not finite is left
 * out; on a logarithmic axis so is what is not positive. The same numbers give the same bytes. */
#ifndef LORY_REPORT_SVG_H
#define LORY_REPORT_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

struct svg_series {
    const char *name;
    const double *x, *y; /* (n); x NULL: 0, 1, 2 … */
    size_t n;
};

struct svg_axes {
    const char *title, *x, *y; /* texts; x and y may be NULL */
    bool log_x, log_y;
};

/* Curves over each other; of long ones the lowest and highest of each stretch are kept. */
int svg_lines(struct buf *out, const struct svg_axes *axes, const struct svg_series *v, size_t n,
              struct err *err);
/* Upright bars from 0: for each of the labels one of each series, side by side. */
int svg_bars(struct buf *out, const struct svg_axes *axes, const char *const *labels,
             size_t n_labels, const struct svg_series *v, size_t n, struct err *err);

#endif
