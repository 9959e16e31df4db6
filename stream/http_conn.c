/* One request on one connection, its answer pulled by the reader.
 *
 *   conn_begin ──▶ headers ──▶ conn_read, conn_read … 0
 *        libcurl's multi interface runs only inside these calls: no thread of its own
 *
 * The body goes where the reader wants it; what comes beyond that waits in a buffer of 256 KiB.
 * When that is full the transfer is paused; the kernel still takes what comes, up to its window,
 * and then TCP holds the sender back. A stall is time without a byte while somebody waits for one;
 * a line is too slow if it brings less than 1 KiB/s over the same time of waiting. What is sent
 * comes from memory or a file. */
#include "stream/http_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/signals.h"

enum { POLL_MS = 200, CONNECT_SECONDS = 10, LOW_SPEED_BYTES = 1024, WORK_SECONDS = 120 };
enum { WINDOW_BYTES = 1 << 20 };

double conn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ what libcurl calls */

static size_t on_header(char *line, size_t one, size_t n, void *ctx) {
    struct conn *c = ctx;
    (void)one;
    c->last = conn_now();
    if (n >= 5 && !memcmp(line, "HTTP/", 5)) {
        c->head.n = 0;
        c->head_done = false;
    }
    if (c->head_done) return n; /* a trailer */
    if (c->head.n + n > HTTP_HEAD_BYTES || buf_append(&c->head, line, n, NULL) < 0) return 0;
    if (n <= 2 && (line[0] == '\r' || line[0] == '\n')) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &c->status);
        c->head_done = c->status >= 200;
    }
    return n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *ctx) {
    struct conn *c = ctx;
    (void)one;
    c->last = conn_now();
    if (c->at == c->n) c->at = c->n = 0;
    size_t straight = c->n ? 0 : c->to_left < n ? c->to_left : n, rest = n - straight;
    if (rest > HTTP_BODY_BYTES - c->n) { /* libcurl keeps these bytes and brings them again */
        c->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (straight) {
        memcpy(c->to, bytes, straight);
        c->to += straight;
        c->to_left -= straight;
    }
    memcpy(c->v + c->n, bytes + straight, rest);
    c->n += rest;
    c->slow_bytes += n;
    return n;
}

static void count_sent(struct conn *c, uint64_t to) {
    if (c->q->moved) c->q->moved(c->q->ctx, to - c->sent);
    c->sent = to;
}

/* The next bytes of what is sent. */
static size_t on_send(char *bytes, size_t one, size_t n, void *ctx) {
    struct conn *c = ctx;
    uint64_t left = c->q->body_bytes - c->sent;
    n *= one;
    if (n > left) n = (size_t)left;
    c->last = conn_now();
    if (c->q->body)
        memcpy(bytes, (const char *)c->q->body + c->sent, n);
    else if (n) {
        ssize_t got = pread(c->fd, bytes, n, (off_t)(c->q->file_from + c->sent));
        if (got <= 0) return CURL_READFUNC_ABORT; /* it became shorter */
        n = (size_t)got;
    }
    c->slow_bytes += n;
    count_sent(c, c->sent + n);
    return n;
}

static int on_rewind(void *ctx, curl_off_t to, int from) {
    struct conn *c = ctx;
    if (from != SEEK_SET || to < 0 || (uint64_t)to > c->q->body_bytes)
        return CURL_SEEKFUNC_CANTSEEK;
    count_sent(c, (uint64_t)to);
    return CURL_SEEKFUNC_OK;
}

/* While the reader decodes what has come, the kernel goes on taking: WINDOW_BYTES, not the 128 KiB
 * that sockets begin with. Asking for SO_RCVLOWAT lets the buffer grow at once, and later by itself
 * as well; SO_RCVBUF would fix its size, often at less. Where that fails nothing is lost but
 * speed. */
static int on_socket(void *ctx, curl_socket_t fd, curlsocktype kind) {
    int window = WINDOW_BYTES, one = 1;
    (void)ctx, (void)kind;
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &window, sizeof window);
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
    return CURL_SOCKOPT_OK;
}

/* ------------------------------------------------------------------ making and keeping */

static struct conn *conn_new(void) {
    struct conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->fd = -1;
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    c->v = malloc(HTTP_BODY_BYTES);
    if (c->multi && c->easy && c->v) return c;
    conn_free(c);
    return NULL;
}

void conn_free(struct conn *c) {
    if (c->fd >= 0) close(c->fd);
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->lines);
    buf_release(&c->head);
    free(c->v);
    free(c);
}

static void conn_end(struct conn *c) {
    if (c->added) curl_multi_remove_handle(c->multi, c->easy);
    c->added = false;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->q = NULL;
    curl_slist_free_all(c->lines);
    c->lines = NULL;
}

int conn_take(struct http *h, struct conn **ret, struct err *err) {
    pthread_mutex_lock(&h->lock);
    struct conn *c = h->idle;
    if (c) h->idle = c->next;
    pthread_mutex_unlock(&h->lock);
    if (!c) c = conn_new();
    *ret = c;
    return c ? 0 : err_nomem(err, HTTP_BODY_BYTES);
}

void conn_give(struct http *h, struct conn *c) {
    if (!c) return;
    conn_end(c);
    pthread_mutex_lock(&h->lock);
    c->next = h->idle;
    h->idle = c;
    pthread_mutex_unlock(&h->lock);
}

/* ------------------------------------------------------------------ running */

/* What another try cannot mend: a bad certificate, a bad address, no memory. */
static bool is_transient(CURLcode code) {
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_READ_ERROR:
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_WRITE_ERROR: return false;
    default: return true;
    }
}

static int failed(struct conn *c, struct err *err) {
    c->transient = is_transient(c->result);
    if (c->result == CURLE_OUT_OF_MEMORY) return err_nomem(err, HTTP_BODY_BYTES);
    if (c->result == CURLE_ABORTED_BY_CALLBACK && c->q && c->q->file)
        return err_set(err, ERR_IO, "%s: became shorter while it was sent", c->q->file);
    const char *why = *c->why ? c->why : curl_easy_strerror(c->result);
    err_set(err, ERR_NET, "%s", why);
    if (c->result == CURLE_PEER_FAILED_VERIFICATION || c->result == CURLE_SSL_CACERT_BADFILE)
        err_hint(err, "if a proxy here signs with its own certificate, name it in SSL_CERT_FILE");
    return ERR_NET;
}

/* Time of waiting only: a reader who takes his time does not make the line slow. */
static int too_slow(struct conn *c, double waited, struct err *err) {
    c->slow_since += waited;
    if (conn_now() - c->last > c->stall) {
        c->transient = true;
        return err_set(err, ERR_NET, "no byte for %.0f s", c->stall);
    }
    if (c->slow_since < c->stall) return 0;
    bool slow = (double)c->slow_bytes < LOW_SPEED_BYTES * c->slow_since;
    c->transient = slow;
    if (slow)
        err_set(err, ERR_NET, "only %llu bytes in %.0f s", (unsigned long long)c->slow_bytes,
                c->slow_since);
    c->slow_since = 0;
    c->slow_bytes = 0;
    return slow ? ERR_NET : 0;
}

/* Whether there is what is waited for: the headers, or at `to` or in the buffer a byte. */
static bool has_come(const struct conn *c, bool for_head, const char *to) {
    return for_head ? c->head_done : c->to != to || c->at < c->n;
}

/* Lets libcurl work until there is a byte, the headers, or the end. */
static int work(struct conn *c, bool for_head, struct err *err) {
    const char *to = c->to;
    c->last = conn_now();
    while (!c->done && !has_come(c, for_head, to)) {
        int running = 0, left = 0;
        if (c->paused) {
            c->paused = false;
            curl_easy_pause(c->easy, CURLPAUSE_CONT);
            if (has_come(c, for_head, to)) break;
        }
        CURLMcode mc = curl_multi_perform(c->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));)
            if (m->msg == CURLMSG_DONE) {
                c->done = true;
                c->result = m->data.result;
            }
        if (c->done || has_come(c, for_head, to)) break;
        if (mc != CURLM_OK) return err_set(err, ERR_NET, "%s", curl_multi_strerror(mc));
        if (signals_stop()) {
            c->transient = false;
            return err_set(err, ERR_STOPPED, "interrupted");
        }
        double before = conn_now();
        curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
        int rc = too_slow(c, conn_now() - before, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int set_options(struct http *h, struct conn *c, const char *url, struct err *err) {
    CURL *e = c->easy;
    long connect = h->stall_seconds < CONNECT_SECONDS ? (long)(h->stall_seconds * 1000) : 10000;
    curl_easy_reset(e); /* keeps the connections */
    bool ok = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->lines) == CURLE_OK &&
              curl_easy_setopt(e, CURLOPT_USERAGENT, h->user_agent) == CURLE_OK;
#if LIBCURL_VERSION_NUM >= 0x075500
    ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS) == CURLE_OK;
#endif
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); /* hops are http_ask's */
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    if (h->ca_file) curl_easy_setopt(e, CURLOPT_CAINFO, h->ca_file);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 64L << 10);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    return ok ? 0 : err_set(err, ERR_NET, "libcurl does not take the request");
}

/* What kind of request it is, and what it sends. */
static int set_body(struct conn *c, struct err *err) {
    const struct http_request *q = c->q;
    CURL *e = c->easy;
    CURLcode rc = CURLE_OK;
    if (!q) return 0;
    if (q->method && !strcmp(q->method, "HEAD")) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (q->body || q->file) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_bytes);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(e, CURLOPT_READDATA, c);
        curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
        curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    }
    if (q->method) rc = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method);
    /* libcurl repeats by itself what it sent on a connection that had gone away. */
    if (q->once) curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    if (rc != CURLE_OK) return err_nomem(err, 0);
    if (!q->file) return 0;
    c->fd = open(q->file, O_RDONLY | O_CLOEXEC);
    return c->fd < 0 ? err_errno(err, "%s", q->file) : 0;
}

bool conn_reached(const struct conn *c) {
    long sent = 0;
    curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0;
}

int conn_begin(struct http *h, struct conn *c, const char *url, const struct strs *headers,
               const struct http_request *q, struct err *err) {
    if (c->q == q && q && q->moved && c->sent) q->moved(q->ctx, 0 - c->sent); /* once more */
    conn_end(c);
    c->q = q;
    c->sent = c->slow_bytes = 0;
    c->slow_since = 0;
    c->head.n = c->at = c->n = 0;
    c->head_done = c->paused = c->done = c->transient = false;
    c->status = 0;
    c->why[0] = 0;
    c->result = CURLE_OK;
    c->stall = h->stall_seconds;
    /* A server that makes a commit, or joins the parts of an object, is silent for a while. */
    if (q && q->method && !strcmp(q->method, "POST") && c->stall < WORK_SECONDS)
        c->stall = WORK_SECONDS;
    for (size_t i = 0; i < headers->n; i++) {
        struct curl_slist *more = curl_slist_append(c->lines, headers->v[i]);
        if (!more) return err_nomem(err, strlen(headers->v[i]));
        c->lines = more;
    }
    int rc = set_options(h, c, url, err);
    if (rc == 0) rc = set_body(c, err);
    if (rc < 0) return rc;
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) return err_nomem(err, 0);
    c->added = true;
    rc = work(c, true, err);
    if (rc < 0 || c->head_done) return rc;
    if (c->result == CURLE_OK) c->result = CURLE_GOT_NOTHING;
    return failed(c, err);
}

long conn_read(struct conn *c, void *bytes, size_t n, struct err *err) {
    if (c->at == c->n) {
        c->to = bytes;
        c->to_left = n;
        int rc = work(c, false, err);
        size_t got = n - c->to_left;
        c->to = NULL;
        c->to_left = 0;
        if (got) return (long)got; /* a failure comes again at the next call */
        if (rc < 0) return rc;
    }
    if (c->at == c->n) return c->result == CURLE_OK ? 0 : failed(c, err);
    if (n > c->n - c->at) n = c->n - c->at;
    memcpy(bytes, c->v + c->at, n);
    c->at += n;
    return (long)n;
}
