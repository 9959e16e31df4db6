/* One question to a server: redirects followed by hand, failures retried with a bound.
 *
 *   ask ─▶ hop ─302─▶ hop ─▶ 2xx            the token goes along only where the origin is its own
 *    ▲      │
 *    └wait──┴ 408 429 5xx, connection lost, stall; 403 behind a redirect (a signed address ran out)
 *
 * Waits: what the server asks for (RateLimit r=0;t=N, Retry-After), else 0.5 s, doubled each
 * time. */
#include "stream/http_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"

enum { ERROR_BODY_BYTES = 8192, DRAIN_BYTES = 64 << 10, BACKOFF_DOUBLINGS = 4 };

/* ------------------------------------------------------------------ headers of an answer */

/* The value of a header line: v[0..*n), trimmed; NULL if there is none. */
static const char *find_header(const struct buf *head, const char *name, size_t *n) {
    size_t name_n = strlen(name), at = 0;
    while (at < head->n) {
        const char *line = head->v + at, *end = memchr(line, '\n', head->n - at);
        size_t len = end ? (size_t)(end - line) : head->n - at;
        at += len + 1;
        if (len <= name_n || line[name_n] != ':' || strncasecmp(line, name, name_n)) continue;
        const char *v = line + name_n + 1, *stop = line + len;
        while (v < stop && strchr(" \t", *v)) v++;
        while (stop > v && strchr(" \t\r", stop[-1])) stop--;
        *n = (size_t)(stop - v);
        return v;
    }
    return NULL;
}

char *http_header(const struct buf *headers, const char *name) {
    size_t n;
    const char *v = find_header(headers, name, &n);
    return v ? strndup(v, n) : NULL;
}

/* Digits at *at, moved behind them; false for none or too many. */
static bool take_u64(const char **at, const char *end, uint64_t *ret) {
    const char *v = *at;
    uint64_t x = 0;
    while (v < end && *v >= '0' && *v <= '9' && v - *at < 19) x = x * 10 + (uint64_t)(*v++ - '0');
    bool any = v > *at;
    *at = v;
    *ret = x;
    return any;
}

bool http_header_u64(const struct buf *headers, const char *name, uint64_t *ret) {
    size_t n;
    const char *v = find_header(headers, name, &n);
    return v && take_u64(&v, v + n, ret);
}

bool http_content_range(const struct buf *headers, uint64_t *ret_from, uint64_t *ret_total) {
    size_t n;
    uint64_t last;
    const char *v = find_header(headers, "content-range", &n), *end = v ? v + n : NULL;
    if (!v || n < 6 || strncasecmp(v, "bytes ", 6)) return false;
    v += 6;
    if (!take_u64(&v, end, ret_from) || v == end || *v++ != '-') return false;
    if (!take_u64(&v, end, &last) || v == end || *v++ != '/') return false;
    if (v < end && *v == '*')
        *ret_total = 0;
    else if (!take_u64(&v, end, ret_total))
        return false;
    return true;
}

bool http_unsatisfied_range(const struct buf *headers, uint64_t *ret_total) {
    size_t n;
    const char *v = find_header(headers, "content-range", &n), *end = v ? v + n : NULL;
    if (!v || n < 9 || strncasecmp(v, "bytes */", 8)) return false;
    v += 8;
    return take_u64(&v, end, ret_total);
}

double http_rate_limit(const struct buf *headers) {
    size_t n;
    uint64_t left, seconds;
    const char *v = find_header(headers, "ratelimit", &n), *end = v ? v + n : NULL;
    const char *r = v ? memmem(v, n, "r=", 2) : NULL, *t = v ? memmem(v, n, "t=", 2) : NULL;
    if (!r || !t) return -1;
    r += 2;
    t += 2;
    if (!take_u64(&r, end, &left) || !take_u64(&t, end, &seconds) || left) return -1;
    return (double)seconds + 1; /* the server's clock is cut to seconds */
}

void http_reply_release(struct http_reply *r) {
    buf_release(&r->headers);
    buf_release(&r->first_headers);
    buf_release(&r->body);
    free(r->url);
    memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------ waiting */

int http_wait(struct http *h, const char *url, struct patience *p, double seconds,
              struct err *err) {
    char *shown = url_shown(url);
    int rc = 0;
    if (!shown) return err_nomem(err, strlen(url));
    if (seconds < 0) seconds = h->backoff_seconds * exp2(fmin(p->failures, BACKOFF_DOUBLINGS));
    p->failures++;
    bool late = p->deadline > 0 && conn_now() + seconds > p->deadline;
    if (p->failures >= h->tries || seconds > HTTP_WAIT_MAX_SECONDS || late) {
        rc = err_prefix(err, "%s", shown);
        if (seconds > HTTP_WAIT_MAX_SECONDS)
            err_hint(err, "asks to wait %.0f s", seconds);
        else if (p->failures < h->tries)
            err_hint(err, "given up after %.0f s", h->total_seconds);
        else if (h->tries > 1)
            err_hint(err, "given up after %d tries", p->failures);
    } else {
        log_printf(h->log, seconds >= 5 ? LOG_WARN : LOG_INFO, "%s: %s; again in %.1f s", shown,
                   err->msg, seconds);
        rc = http_sleep(seconds, err);
    }
    free(shown);
    return rc;
}

/* ------------------------------------------------------------------ hops */

static bool ranged(const struct ask *ask) {
    return ask->from || ask->until;
}

static int request_headers(struct http *h, const struct ask *ask, const char *url,
                           struct strs *lines, struct err *err) {
    struct buf b = {0};
    const char *const *more = ask->q ? ask->q->headers : NULL;
    /* A CDN that compressed on the way would break lengths, ranges and digests. */
    int rc = strs_push(lines, "Accept-Encoding: identity", err);
    for (; rc == 0 && more && *more; more++) rc = strs_push(lines, *more, err);
    /* libcurl would wait a second for a "100 Continue" that few servers send. */
    if (rc == 0 && ask->q && ask->q->body_bytes) rc = strs_push(lines, "Expect:", err);
    bool known = !(ask->q && ask->q->anonymous);
    if (rc == 0 && known && h->token && h->token_origin && url_same_origin(url, h->token_origin)) {
        rc = buf_printf(&b, err, "Authorization: Bearer %s", h->token);
        if (rc == 0) rc = buf_cstr(&b) ? strs_push(lines, b.v, err) : err_nomem(err, b.n);
        if (b.v) explicit_bzero(b.v, b.cap);
    }
    if (rc == 0 && ranged(ask)) {
        b.n = 0;
        rc = buf_printf(&b, err, "Range: bytes=%llu-", (unsigned long long)ask->from);
        if (rc == 0 && ask->until)
            rc = buf_printf(&b, err, "%llu", (unsigned long long)ask->until - 1);
        if (rc == 0) rc = buf_cstr(&b) ? strs_push(lines, b.v, err) : err_nomem(err, b.n);
    }
    if (rc == 0 && ranged(ask) && ask->if_range) {
        b.n = 0;
        rc = buf_printf(&b, err, "If-Range: %s", ask->if_range);
        if (rc == 0) rc = buf_cstr(&b) ? strs_push(lines, b.v, err) : err_nomem(err, b.n);
    }
    buf_release(&b);
    return rc;
}

static bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Reads a short body to its end, so that the connection can be used again. */
static void drain(struct conn *c) {
    char v[4096];
    for (size_t n = 0; n < DRAIN_BYTES; n += sizeof v)
        if (conn_read(c, v, sizeof v, NULL) <= 0) return;
}

/* One request at ret->url. On a redirect *again is set and ret->url is where it leads. */
static int hop(struct http *h, struct conn *c, const struct ask *ask, struct http_reply *ret,
               bool *again, struct err *err) {
    struct strs lines = {0};
    char *next = NULL, *location = NULL;
    *again = false;
    int rc = http_limit_wait(h, ret->url, err);
    if (rc == 0) rc = request_headers(h, ask, ret->url, &lines, err);
    if (rc == 0) rc = conn_begin(h, c, ret->url, &lines, ask->q, err);
    for (size_t i = 0; i < lines.n; i++) explicit_bzero(lines.v[i], strlen(lines.v[i]));
    strs_release(&lines);
    if (rc < 0) return rc;
    ret->status = c->status;
    ret->headers.n = 0;
    rc = buf_append(&ret->headers, c->head.v, c->head.n, err);
    if (rc == 0 && is_redirect(c->status)) location = http_header(&c->head, "location");
    if (rc == 0) http_limit_heard(h, ret->url, &c->head, -1);
    if (location && ask->q && ask->q->body_bytes && c->status != 307 && c->status != 308) {
        free(location);
        c->transient = false;
        return err_set(err, ERR_NET, "%ld: redirects what was sent to it, which is not followed",
                       c->status);
    }
    if (location) {
        drain(c);
        c->transient = false;
        rc = url_follow(&next, ret->url, location, err);
        if (rc == 0) {
            free(ret->url);
            ret->url = next;
            *again = true;
        }
        free(location);
    }
    return rc;
}

/* From the address asked for to the last answer that is no redirect. */
static int hops(struct http *h, struct conn *c, const struct ask *ask, struct http_reply *ret,
                int *count, struct err *err) {
    bool again = true;
    http_reply_release(ret);
    c->transient = false;
    ret->url = strdup(ask->url);
    if (!ret->url) return err_nomem(err, strlen(ask->url));
    for (*count = 0; again; ++*count) {
        if (*count > HTTP_HOPS)
            return err_set(err, ERR_NET, "redirects more than %d times", HTTP_HOPS);
        int rc = hop(h, c, ask, ret, &again, err);
        if (rc == 0 && *count == 0)
            rc = buf_append(&ret->first_headers, ret->headers.v, ret->headers.n, err);
        if (rc < 0) return rc;
    }
    --*count;
    return 0;
}

/* ------------------------------------------------------------------ answers that are none */

static const char *reason(long status) {
    switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 408: return "Request Timeout";
    case 410: return "Gone";
    case 416: return "Range Not Satisfiable";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "unexpected status";
    }
}

/* What the server says: X-Error-Message, or "error" of a JSON body. */
static void server_says(const struct http_reply *r, struct buf *out) {
    size_t n;
    const char *v = find_header(&r->headers, "x-error-message", &n);
    if (v && n) {
        text_shown(out, v, n, 300, NULL);
        return;
    }
    cJSON *tree = NULL;
    if (r->body.n && json_parse(&tree, r->body.v, r->body.n, "", NULL) == 0) {
        const char *text = NULL;
        if (json_str(tree, "error", &text, "", NULL) == 0 && text)
            text_shown(out, text, strlen(text), 300, NULL);
    }
    cJSON_Delete(tree);
}

/* Fills *err for a status that is no answer; reads the start of its body. */
static int refused(struct conn *c, struct http_reply *r, struct err *err) {
    struct buf says = {0};
    while (r->body.n < ERROR_BODY_BYTES && buf_reserve(&r->body, 1024, NULL) == 0) {
        long n = conn_read(c, r->body.v + r->body.n, 1024, NULL);
        if (n <= 0) break;
        r->body.n += (size_t)n;
    }
    server_says(r, &says);
    err_set(err, ERR_NET, "%ld %s%s%s", r->status, reason(r->status), says.n ? ": " : "",
            says.n ? buf_cstr(&says) : "");
    buf_release(&says);
    return ERR_NET;
}

/* Whether another try may be answered, and after how many seconds (negative: unknown). */
static bool may_retry(struct conn *c, const struct http_reply *r, int count, double *seconds) {
    long status = r->status;
    curl_off_t after = 0;
    *seconds = -1;
    if (status == 403 && count > 0) return true;
    if (status != 408 && status != 429 && status != 500 && (status < 502 || status > 504))
        return false;
    if (status == 429) *seconds = http_rate_limit(&r->headers);
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
    if (*seconds < 0 && after > 0) *seconds = (double)after;
    return true;
}

/* A request that is not to be repeated may be, if it was turned away before it was done. */
static bool may_repeat(const struct conn *c, const struct ask *ask, long status) {
    if (!ask->q || !ask->q->once || status == 429) return true;
    return status == 0 && !conn_reached(c);
}

int http_ask(struct http *h, struct conn *c, const struct ask *ask, struct patience *p,
             struct http_reply *ret, struct err *err) {
    struct err local = {0};
    if (!err) err = &local;
    if (p->deadline <= 0) p->deadline = conn_now() + h->total_seconds;
    for (;;) {
        int count = 0;
        double seconds = -1;
        int rc = hops(h, c, ask, ret, &count, err);
        if (rc < 0) ret->status = 0;
        if (rc == 0 && (ret->status / 100 == 2 || (ret->status == 416 && ranged(ask)))) return 0;
        bool again = rc < 0 ? c->transient : may_retry(c, ret, count, &seconds);
        if (rc == 0 && seconds > 0) http_limit_heard(h, ret->url, &ret->headers, seconds);
        if (rc == 0) rc = refused(c, ret, err);
        if (again && may_repeat(c, ask, ret->status)) {
            rc = http_wait(h, ask->url, p, seconds, err);
            if (rc < 0) return rc;
            continue;
        }
        char *shown = url_shown(ask->url);
        if (rc == ERR_NET && shown) err_prefix(err, "%s", shown);
        free(shown);
        return rc;
    }
}
