/* Messages and progress on stderr: see console.h. One lock; every line leaves in one write. */
#include "tools/console.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"

enum { LINE_BYTES = 512, BAR_CELLS = 20, DEFAULT_WIDTH = 80 };

#define REDRAW_SECONDS 0.1
#define PLAIN_SECONDS  10.0
#define SHOW_AFTER     0.3  /* seconds: short work never flashes a bar            */
#define RATE_SECONDS   10.0 /* the rate is an average over about this much        */

struct console {
    pthread_mutex_t lock;
    const char *name;
    const bool *quiet, *verbose;
    bool tty, color;
    bool shown;            /* a progress line stands on the terminal */
    char line[LINE_BYTES]; /* it                                     */
    /* the present stage */
    char stage[64];
    double began, drawn, measured; /* seconds; `measured`: when last_done was */
    uint64_t first_done, last_done;
    double rate;
};

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* -- the text of a progress line -- */

static int add(char *out, size_t n, size_t *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int add(char *out, size_t n, size_t *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int w = *at < n ? vsnprintf(out + *at, n - *at, fmt, ap) : 0;
    va_end(ap);
    if (w > 0) *at = *at + (size_t)w < n ? *at + (size_t)w : n - 1;
    return w;
}

/* "312.5/726.4 MB" or "120/5000 steps" */
static void add_amount(char *out, size_t n, size_t *at, const struct progress *p) {
    const char *unit = p->unit ? p->unit : "";
    if (!strcmp(unit, "B")) {
        double scale = p->total >= 10e9 || p->done >= 10e9 ? 1e9 : 1e6;
        add(out, n, at, "  %.1f", (double)p->done / scale);
        if (p->total) add(out, n, at, "/%.1f", (double)p->total / scale);
        add(out, n, at, scale > 1e6 ? " GB" : " MB");
        return;
    }
    add(out, n, at, "  %llu", (unsigned long long)p->done);
    if (p->total) add(out, n, at, "/%llu", (unsigned long long)p->total);
    if (*unit) add(out, n, at, " %s", unit);
}

static void add_rate(char *out, size_t n, size_t *at, const struct progress *p, double rate) {
    if (!(rate > 0)) return;
    if (p->unit && !strcmp(p->unit, "B"))
        add(out, n, at, "  %.1f MB/s", rate / 1e6);
    else if (rate >= 1e6)
        add(out, n, at, "  %.1fM/s", rate / 1e6);
    else if (rate >= 1e4)
        add(out, n, at, "  %.1fk/s", rate / 1e3);
    else if (rate >= 10)
        add(out, n, at, "  %.0f/s", rate);
    else
        add(out, n, at, "  %.2f/s", rate);
}

static void add_eta(char *out, size_t n, size_t *at, const struct progress *p, double rate) {
    if (!(rate > 0) || p->total <= p->done) return;
    double s = ceil((double)(p->total - p->done) / rate);
    if (s >= 1e7) return; /* nobody believes it */
    unsigned t = (unsigned)s;
    if (t >= 3600)
        add(out, n, at, "  ETA %uh%02um", t / 3600, t / 60 % 60);
    else if (t >= 60)
        add(out, n, at, "  ETA %um%02us", t / 60, t % 60);
    else
        add(out, n, at, "  ETA %us", t);
}

/* Cuts `s` to `width` columns, at the start of a character. */
static void cut_columns(char *s, size_t width) {
    size_t columns = 0;
    for (; *s; s++) {
        if (((unsigned char)*s & 0xC0) == 0x80) continue;
        if (columns++ == width) {
            *s = 0;
            return;
        }
    }
}

void progress_text(char *out, size_t n, const struct progress *p, double rate, size_t width,
                   bool bar) {
    size_t at = 0;
    if (n == 0) return;
    out[0] = 0;
    double part = p->total ? (double)p->done / (double)p->total : 0;
    if (part > 1) part = 1;
    add(out, n, &at, "%s", p->stage ? p->stage : "working");
    /* rounded down: 100% is done */
    if (p->total) add(out, n, &at, "  %d%%", (int)(part * 100));
    if (p->total && bar) {
        char cells[BAR_CELLS + 1];
        memset(cells, '.', BAR_CELLS);
        memset(cells, '#', (size_t)(part * BAR_CELLS));
        cells[BAR_CELLS] = 0;
        add(out, n, &at, " [%s]", cells);
    }
    if (p->done || p->total) add_amount(out, n, &at, p);
    add_rate(out, n, &at, p, rate);
    add_eta(out, n, &at, p, rate);
    if (p->detail && *p->detail) add(out, n, &at, "  %s", p->detail);
    if (width) cut_columns(out, width);
}

/* -- the console -- */

static size_t terminal_width(void) {
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0) return DEFAULT_WIDTH - 1;
    return w.ws_col > 1 ? w.ws_col - 1u : 1u; /* the last column would wrap */
}

static void take_away(struct console *c) {
    if (c->shown) fputs("\r\x1b[K", stderr);
}

static void put_back(struct console *c) {
    if (c->shown) fprintf(stderr, "\r\x1b[K%s", c->line);
}

void console_safe(struct buf *b, const char *text) {
    for (; *text; text++) {
        unsigned char ch = (unsigned char)*text;
        bool plain = (ch >= 0x20 && ch != 0x7F) || ch == '\t';
        if (plain)
            buf_char(b, *text, NULL);
        else
            buf_printf(b, NULL, "\\x%02x", ch);
    }
}

static void say(void *ctx, enum log_level level, const char *text) {
    struct console *c = ctx;
    if ((level == LOG_INFO && *c->quiet) || (level == LOG_DEBUG && !*c->verbose)) return;
    struct buf b = {0};
    const char *kind = level == LOG_WARN ? "warning: " : "";
    const char *color = !c->color            ? NULL
                        : level == LOG_WARN  ? "\x1b[33m"
                        : level == LOG_ERROR ? "\x1b[31m"
                                             : NULL;
    buf_printf(&b, NULL, "%s: %s%s", c->name, color ? color : "", kind);
    if (color && *kind) buf_str(&b, "\x1b[0m", NULL);
    console_safe(&b, text);
    buf_str(&b, color && !*kind ? "\x1b[0m\n" : "\n", NULL);
    pthread_mutex_lock(&c->lock);
    take_away(c);
    if (b.n)
        fwrite(b.v, 1, b.n, stderr);
    else /* no memory, which is what the message is going to say */
        fprintf(stderr, "%s: %s%s\n", c->name, kind, text);
    put_back(c);
    pthread_mutex_unlock(&c->lock);
    buf_release(&b);
}

static void begin_stage(struct console *c, const struct progress *p, double now) {
    snprintf(c->stage, sizeof c->stage, "%s", p->stage ? p->stage : "");
    c->began = c->measured = now;
    c->drawn = c->tty ? now - REDRAW_SECONDS : now;
    c->first_done = c->last_done = p->done;
    c->rate = 0;
}

/* The mean since the stage began, later a moving one. */
static void measure(struct console *c, const struct progress *p, double now) {
    double dt = now - c->measured, age = now - c->began;
    if (dt <= 0) return;
    if (age < RATE_SECONDS) {
        c->rate = (double)(p->done - c->first_done) / age;
    } else {
        double w = 1 - exp(-dt / RATE_SECONDS);
        c->rate += w * ((double)(p->done - c->last_done) / dt - c->rate);
    }
    c->measured = now;
    c->last_done = p->done;
}

static void draw(struct console *c, const struct progress *p) {
    if (c->tty) {
        progress_text(c->line, sizeof c->line, p, c->rate, terminal_width(), true);
        c->shown = true;
        put_back(c);
    } else {
        progress_text(c->line, sizeof c->line, p, c->rate, 0, false);
        fprintf(stderr, "%s: %s\n", c->name, c->line);
    }
}

static void advance(void *ctx, const struct progress *p) {
    struct console *c = ctx;
    if (*c->quiet) return;
    pthread_mutex_lock(&c->lock);
    double now = now_seconds();
    bool other = strncmp(c->stage, p->stage ? p->stage : "", sizeof c->stage - 1) != 0;
    if (other || c->began == 0 || p->done < c->last_done) begin_stage(c, p, now);
    bool due = now - c->drawn >= (c->tty ? REDRAW_SECONDS : PLAIN_SECONDS);
    if (due && (now - c->began >= SHOW_AFTER || c->shown)) {
        measure(c, p, now);
        draw(c, p);
        c->drawn = now;
    }
    pthread_mutex_unlock(&c->lock);
}

struct console *console_new(const char *name, const bool *quiet, const bool *verbose, bool tty,
                            bool color) {
    struct console *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    pthread_mutex_init(&c->lock, NULL);
    c->name = name;
    c->quiet = quiet;
    c->verbose = verbose;
    c->tty = tty;
    c->color = color;
    return c;
}

void console_clear(struct console *c) {
    pthread_mutex_lock(&c->lock);
    take_away(c);
    c->shown = false;
    pthread_mutex_unlock(&c->lock);
}

void console_free(struct console *c) {
    if (!c) return;
    console_clear(c);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct log console_log(struct console *c) {
    return (struct log){.line = say, .progress = advance, .ctx = c};
}
