/* A curve in one line of text: ▇▅▃▂▂▁▁▁ */
#ifndef LORY_REPORT_SPARK_H
#define LORY_REPORT_SPARK_H

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"

/* Appends v[0..n) as at most `width` characters, each the mean of its share of the values, between
 * the lowest and the highest mean. What is not finite is left out; a share without numbers is a
 * blank. */
int spark_text(struct buf *out, const double *v, size_t n, size_t width, struct err *err);

#endif
