/* A frame with round numbers at its sides, then the series:
 *
 *     y ┤ ╲                   the box of the data is mapped to the box of the drawing,
 *       │  ╲__ ___            straight or through the logarithm
 *       ┼───────┬──── x  */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "report/html.h"

enum {
    WIDTH = 720,
    HEIGHT = 300,
    LEFT = 64,
    RIGHT = 16,
    TOP = 34,
    BOTTOM = 46,
    TICKS = 6,    /* about so many at each side */
    POINTS = 600, /* stretches of a long curve  */
    COLOURS = 6
};

struct side {
    double low, high;
    bool log;
    double from, to; /* in the drawing */
};

static double place(const struct side *s, double v) {
    double low = s->low, high = s->high;
    if (s->log) v = log10(v), low = log10(low), high = log10(high);
    return s->from + (s->to - s->from) * (high > low ? (v - low) / (high - low) : 0.5);
}

static bool fits(const struct side *s, double v) {
    return isfinite(v) && (!s->log || v > 0);
}

static void widen(struct side *s, double v) {
    if (!fits(s, v)) return;
    if (v < s->low) s->low = v;
    if (v > s->high) s->high = v;
}

/* 1, 2 or 5 times a power of ten. */
static double round_step(double range) {
    double raw = range / TICKS, power = pow(10, floor(log10(raw)));
    double lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* No data, or a single value: something to draw a frame around. */
static void settle(struct side *s) {
    if (s->low > s->high) s->low = s->log ? 1 : 0, s->high = s->log ? 10 : 1;
    if (s->low == s->high) {
        s->high = s->log ? s->low * 10 : s->low + (s->low == 0 ? 1 : fabs(s->low) / 2);
        return;
    }
    if (s->log) {
        s->low = pow(10, floor(log10(s->low)));
        s->high = pow(10, ceil(log10(s->high)));
    } else {
        double step = round_step(s->high - s->low);
        s->low = floor(s->low / step) * step;
        s->high = ceil(s->high / step) * step;
    }
}

/* ------------------------------------------------------------------ the frame */

static int text(struct buf *out, double x, double y, const char *anchor, const char *class,
                const char *s, struct err *err) {
    int rc = buf_printf(out, err, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x,
                        y, anchor, class);
    if (rc >= 0) rc = html_text(out, s, strlen(s), err);
    return rc < 0 ? rc : buf_str(out, "</text>\n", err);
}

static int rule(struct buf *out, double x1, double y1, double x2, double y2, struct err *err) {
    return buf_printf(out, err,
                      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                      "stroke=\"var(--rule)\"/>\n",
                      x1, y1, x2, y2);
}

static int tick(struct buf *out, const struct side *s, bool upright, double v, struct err *err) {
    char number[32];
    double at = place(s, v);
    snprintf(number, sizeof number, "%.6g", fabs(v) < 1e-12 * (s->high - s->low) ? 0.0 : v);
    int rc = upright ? rule(out, LEFT, at, WIDTH - RIGHT, at, err)
                     : rule(out, at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 4, err);
    if (rc < 0) return rc;
    return upright ? text(out, LEFT - 6, at + 4, "end", "dim", number, err)
                   : text(out, at, HEIGHT - BOTTOM + 18, "middle", "dim", number, err);
}

static int ticks(struct buf *out, const struct side *s, bool upright, struct err *err) {
    int rc = 0;
    if (s->log) {
        for (double v = s->low; v <= s->high * 1.001 && rc >= 0; v *= 10)
            rc = tick(out, s, upright, v, err);
        return rc;
    }
    double step = round_step(s->high - s->low);
    for (int i = 0; s->low + i * step <= s->high + step / 1000 && rc >= 0; i++)
        rc = tick(out, s, upright, s->low + i * step, err);
    return rc;
}

static int begin(struct buf *out, const struct svg_axes *a, struct err *err) {
    int rc = buf_printf(out, err,
                        "<figure><svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                        "role=\"img\">\n<title>",
                        WIDTH, HEIGHT, WIDTH, HEIGHT);
    if (rc >= 0) rc = html_text(out, a->title, strlen(a->title), err);
    if (rc >= 0) rc = buf_str(out, "</title>\n", err);
    if (rc >= 0) rc = text(out, LEFT, 16, "start", "", a->title, err);
    if (rc >= 0 && a->x)
        rc = text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8, "middle", "dim", a->x, err);
    if (rc >= 0 && a->y) rc = text(out, 4, 16, "start", "dim", a->y, err);
    return rc;
}

static int legend(struct buf *out, const struct svg_series *v, size_t n, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < n && n > 1 && rc >= 0; i++) {
        double y = TOP + 8 + 16 * (double)i;
        rc = buf_printf(out, err,
                        "<rect x=\"%d\" y=\"%.1f\" width=\"10\" height=\"10\" "
                        "fill=\"var(--c%d)\"/>\n",
                        WIDTH - RIGHT - 10, y - 9, (int)(i % COLOURS));
        if (rc >= 0) rc = text(out, WIDTH - RIGHT - 16, y, "end", "", v[i].name, err);
    }
    return rc;
}

static int finish(struct buf *out, struct err *err) {
    return buf_str(out, "</svg></figure>\n", err);
}

/* ------------------------------------------------------------------ curves */

static int point(struct buf *out, const struct side *x, const struct side *y, double a, double b,
                 bool *drawing, struct err *err) {
    if (!fits(x, a) || !fits(y, b)) {
        *drawing = false;
        return 0;
    }
    int rc = buf_printf(out, err, "%c%.1f %.1f", *drawing ? 'L' : 'M', place(x, a), place(y, b));
    *drawing = true;
    return rc;
}

static double x_of(const struct svg_series *s, size_t i) {
    return s->x ? s->x[i] : (double)i;
}

static int curve(struct buf *out, const struct side *x, const struct side *y,
                 const struct svg_series *s, size_t number, struct err *err) {
    size_t step = s->n > 2 * POINTS ? (s->n + POINTS - 1) / POINTS : 1;
    bool drawing = false;
    int rc =
        buf_printf(out, err, "<path fill=\"none\" stroke-width=\"1.5\" stroke=\"var(--c%d)\" d=\"",
                   (int)(number % COLOURS));
    for (size_t i = 0; i < s->n && rc >= 0; i += step) {
        size_t low = i, high = i;
        for (size_t k = i; k < s->n && k < i + step; k++) {
            if (!(s->y[k] >= s->y[low])) low = k;
            if (!(s->y[k] <= s->y[high])) high = k;
        }
        size_t first = low < high ? low : high, last = low < high ? high : low;
        rc = point(out, x, y, x_of(s, first), s->y[first], &drawing, err);
        if (rc >= 0 && last != first)
            rc = point(out, x, y, x_of(s, last), s->y[last], &drawing, err);
    }
    return rc < 0 ? rc : buf_str(out, "\"/>\n", err);
}

int svg_lines(struct buf *out, const struct svg_axes *a, const struct svg_series *v, size_t n,
              struct err *err) {
    struct side x = {INFINITY, -INFINITY, a->log_x, LEFT, WIDTH - RIGHT};
    struct side y = {INFINITY, -INFINITY, a->log_y, HEIGHT - BOTTOM, TOP};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i].n; k++) {
            if (!fits(&x, x_of(&v[i], k)) || !fits(&y, v[i].y[k])) continue;
            widen(&x, x_of(&v[i], k));
            widen(&y, v[i].y[k]);
        }
    settle(&x);
    settle(&y);
    int rc = begin(out, a, err);
    if (rc >= 0) rc = ticks(out, &y, true, err);
    if (rc >= 0) rc = ticks(out, &x, false, err);
    for (size_t i = 0; i < n && rc >= 0; i++) rc = curve(out, &x, &y, &v[i], i, err);
    if (rc >= 0) rc = legend(out, v, n, err);
    return rc < 0 ? rc : finish(out, err);
}

/* ------------------------------------------------------------------ bars */

static int bar(struct buf *out, const struct side *y, double x, double width, double v,
               size_t number, struct err *err) {
    double top = place(y, v), zero = place(y, y->low > 0 ? y->low : 0);
    return buf_printf(out, err,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                      "fill=\"var(--c%d)\"><title>%.6g</title></rect>\n",
                      x, top < zero ? top : zero, width, fabs(zero - top), (int)(number % COLOURS),
                      v);
}

int svg_bars(struct buf *out, const struct svg_axes *a, const char *const *labels, size_t n_labels,
             const struct svg_series *v, size_t n, struct err *err) {
    struct side y = {a->log_y ? INFINITY : 0, -INFINITY, a->log_y, HEIGHT - BOTTOM, TOP};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i].n && k < n_labels; k++) widen(&y, v[i].y[k]);
    settle(&y);
    double room = (double)(WIDTH - LEFT - RIGHT) / (double)(n_labels ? n_labels : 1);
    double width = room * 0.8 / (double)(n ? n : 1);
    size_t every = n_labels > 24 ? (n_labels + 23) / 24 : 1; /* labels that find room */
    int rc = begin(out, a, err);
    if (rc >= 0) rc = ticks(out, &y, true, err);
    for (size_t k = 0; k < n_labels && rc >= 0; k++) {
        double x = LEFT + room * ((double)k + 0.1);
        for (size_t i = 0; i < n && rc >= 0; i++)
            if (k < v[i].n && fits(&y, v[i].y[k]))
                rc = bar(out, &y, x + width * (double)i, width, v[i].y[k], i, err);
        if (rc >= 0 && k % every == 0)
            rc = text(out, x + room * 0.4, HEIGHT - BOTTOM + 18, "middle", "dim", labels[k], err);
    }
    if (rc >= 0) rc = legend(out, v, n, err);
    return rc < 0 ? rc : finish(out, err);
}
