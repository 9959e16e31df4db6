/* A page is a head with a style sheet and a body that grows. */
#include "report/html.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct html {
    struct buf body;
    int rc;
    struct err err;
};

static const char head[] =
    "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    ":root{--ink:#222;--dim:#777;--rule:#ddd;--paper:#fff;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;"
    "--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#ddd;--dim:#999;--rule:#444;--paper:#1b1b1b}}\n"
    "body{max-width:62em;margin:2em auto;padding:0 1em;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}\n"
    "table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.2em .8em;border-bottom:1px solid var(--rule);text-align:left}\n"
    ".r{text-align:right}\n"
    "pre{overflow:auto;padding:.6em;border:1px solid var(--rule);line-height:1.7}\n"
    "figure{margin:1.5em 0}svg{max-width:100%;height:auto}svg text{fill:var(--ink);font:12px "
    "system-ui,sans-serif}svg .dim{fill:var(--dim)}\n"
    "mark{color:inherit;border-radius:2px}mark:nth-of-type(4n+1){background:#0072b233}"
    "mark:nth-of-type(4n+2){background:#e69f0040}mark:nth-of-type(4n+3){background:#009e7340}"
    "mark:nth-of-type(4n){background:#cc79a740}\n</style>\n";

/* ------------------------------------------------------------------ text */

/* Bytes of the valid character at p, or 0. */
static size_t whole(const uint8_t *p, size_t n) {
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] > 0xF4 || want > n) return 0;
    for (size_t i = 1; i < want; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (want > 2 && ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
                     (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)))
        return 0;
    return want;
}

static const char *escaped(uint8_t c) {
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\t':
    case '\n': return NULL;
    }
    return c < 0x20 || c == 0x7F ? "\xEF\xBF\xBD" : NULL; /* HTML has no other control characters */
}

int html_text(struct buf *out, const char *s, size_t n, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0;) {
        size_t len = whole((const uint8_t *)s + i, n - i);
        const char *other = len ? escaped((uint8_t)s[i]) : "\xEF\xBF\xBD";
        rc = other ? buf_str(out, other, err) : buf_append(out, s + i, len, err);
        i += len ? len : 1;
    }
    return rc;
}

/* ------------------------------------------------------------------ the page */

void html_failed(struct html *h, int rc, const struct err *err) {
    if (h->rc < 0 || rc >= 0) return;
    h->rc = rc;
    h->err = *err;
}

static void put(struct html *h, const char *markup) {
    struct err err = {0};
    if (h->rc >= 0) html_failed(h, buf_str(&h->body, markup, &err), &err);
}

static void put_text(struct html *h, const char *s, size_t n) {
    struct err err = {0};
    if (h->rc >= 0) html_failed(h, html_text(&h->body, s, n, &err), &err);
}

static void element(struct html *h, const char *name, const char *s, size_t n) {
    put(h, "<");
    put(h, name);
    put(h, ">");
    put_text(h, s, n);
    put(h, "</");
    put(h, name);
    put(h, ">\n");
}

int html_new(struct html **ret, const char *title, struct err *err) {
    struct html *h = calloc(1, sizeof *h);
    if (!h) return err_nomem(err, sizeof *h);
    put(h, "<!doctype html>\n<html lang=\"en\">\n");
    element(h, "title", title, strlen(title));
    put(h, head);
    element(h, "h1", title, strlen(title));
    *ret = h;
    return 0;
}

void html_free(struct html *h) {
    if (!h) return;
    buf_release(&h->body);
    free(h);
}

void html_heading(struct html *h, const char *text) {
    element(h, "h2", text, strlen(text));
}

void html_para(struct html *h, const char *text) {
    element(h, "p", text, strlen(text));
}

void html_pre(struct html *h, const char *text, size_t n) {
    element(h, "pre", text, n);
}

void html_table(struct html *h, const struct table *t) {
    struct err err = {0};
    if (h->rc >= 0) html_failed(h, table_html(t, &h->body, &err), &err);
}

struct buf *html_body(struct html *h) {
    return &h->body;
}

int html_end(struct html *h, struct buf *out, struct err *err) {
    int rc = h->rc;
    put(h, "</html>\n");
    if (h->rc < 0) {
        rc = err_set(err, h->rc, "%s", h->err.msg);
    } else {
        rc = buf_append(out, h->body.v, h->body.n, err);
    }
    html_free(h);
    return rc;
}
