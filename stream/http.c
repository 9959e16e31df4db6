/* The transport's settings, and whole replies in memory. The layers below are drawn in
 * http_parts.h. */
#include "stream/http_parts.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TRIES = 6, DEFAULT_STALL_SECONDS = 30, DEFAULT_TOTAL_SECONDS = 1800 };

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;
static void start_curl(void) {
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy(const char *s, bool *ok) {
    char *v = s ? strdup(s) : NULL;
    if (s && !v) *ok = false;
    return v;
}

int http_new(struct http **ret, const struct http_opts *opts, struct err *err) {
    bool ok = true;
    pthread_once(&curl_once, start_curl);
    if (curl_ready != CURLE_OK)
        return err_set(err, ERR_NET, "libcurl: %s", curl_easy_strerror(curl_ready));
    /* A line break in a token would be a header of its own. */
    if (opts->token && opts->token[strcspn(opts->token, "\r\n")])
        return err_set(err, ERR_USAGE, "the access token has a line break in it");
    struct http *h = calloc(1, sizeof *h);
    if (!h) return err_nomem(err, sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    h->user_agent = copy(opts->user_agent ? opts->user_agent : "lory", &ok);
    h->token = copy(opts->token, &ok);
    h->token_origin = copy(opts->token_origin, &ok);
    h->ca_file = copy(opts->ca_file, &ok);
    h->tries = opts->tries > 0 ? opts->tries : DEFAULT_TRIES;
    h->stall_seconds = opts->stall_seconds > 0 ? opts->stall_seconds : DEFAULT_STALL_SECONDS;
    h->total_seconds = opts->total_seconds > 0 ? opts->total_seconds : DEFAULT_TOTAL_SECONDS;
    h->backoff_seconds = opts->backoff_seconds > 0 ? opts->backoff_seconds : 0.5;
    h->log = opts->log;
    if (ok) {
        *ret = h;
        return 0;
    }
    http_free(h);
    return err_nomem(err, 0);
}

void http_free(struct http *h) {
    if (!h) return;
    while (h->idle) {
        struct conn *c = h->idle;
        h->idle = c->next;
        conn_free(c);
    }
    pthread_mutex_destroy(&h->lock);
    if (h->token) explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    free(h->token_origin);
    free(h->user_agent);
    free(h->ca_file);
    free(h);
}

/* Reads the body to its end. */
static int read_body(struct conn *c, uint64_t max_bytes, struct buf *out, struct err *err) {
    for (;;) {
        int rc = buf_reserve(out, 16 << 10, err);
        if (rc < 0) return rc;
        long n = conn_read(c, out->v + out->n, out->cap - out->n, err);
        if (n <= 0) return (int)n;
        out->n += (size_t)n;
        if (out->n > max_bytes) {
            c->transient = false;
            return err_set(err, ERR_NET, "the answer has more than %llu bytes",
                           (unsigned long long)max_bytes);
        }
    }
}

int http_send(struct http *h, const struct http_request *q, uint64_t max_bytes,
              struct http_reply *ret, struct err *err) {
    struct err local = {0};
    struct conn *c;
    struct patience p = {0};
    if (!err) err = &local;
    memset(ret, 0, sizeof *ret);
    int rc = conn_take(h, &c, err);
    if (rc < 0) return rc;
    for (;;) {
        rc = http_ask(h, c, &(struct ask){.url = q->url, .q = q}, &p, ret, err);
        if (rc < 0) break;
        rc = read_body(c, max_bytes, &ret->body, err);
        if (rc == 0 || !c->transient || q->once) break;
        rc = http_wait(h, q->url, &p, -1, err);
        if (rc < 0) break;
    }
    conn_give(h, c);
    return rc;
}

int http_get(struct http *h, const char *url, uint64_t max_bytes, struct http_reply *ret,
             struct err *err) {
    return http_send(h, &(struct http_request){.url = url}, max_bytes, ret, err);
}
