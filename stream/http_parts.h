/* Inside of http: what its files share.
 *
 *   http_feed ┐
 *             ├─▶ http_ask: one question ─▶ hops (redirects) ─▶ conn: one request
 *   http_get  ┘      retries, waits            the token's origin       headers, body, stall
 *
 * Each layer has its own failure: a conn breaks (transient or not), a question is refused (a
 * status), a feed is wrong (length, digest). */
#ifndef LORY_STREAM_HTTP_PARTS_H
#define LORY_STREAM_HTTP_PARTS_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include "stream/http.h"

enum { HTTP_BODY_BYTES = 256 << 10, HTTP_HEAD_BYTES = 256 << 10, HTTP_HOPS = 10, HTTP_LANES = 16 };
enum { HTTP_WAIT_MAX_SECONDS = 330 }; /* the Hub's windows are of 300 s */

struct conn;

/* What one origin counts together: the Hub has a budget for /api/, one for files and one for the
 * rest. */
struct lane {
    uint64_t key; /* of origin and budget; 0: unused                   */
    double until; /* on conn_now()'s clock: nothing is asked before    */
};

struct http {
    char *user_agent, *token, *token_origin, *ca_file;
    int tries;
    double stall_seconds, total_seconds, backoff_seconds;
    const struct log *log;
    pthread_mutex_t lock; /* of what follows */
    struct conn *idle;
    struct lane lanes[HTTP_LANES];
};

/* ------------------------------------------------------------------ http_conn.c */

/* An easy handle in a multi handle of its own, which keeps the connections: pulled, not pushed, so
 * that a reader who pauses holds the sender back. */
struct conn {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *lines; /* our request's headers                          */
    struct buf head;          /* the answer's headers, of the last status line  */
    long status;
    bool head_done, paused, added, done;
    bool transient; /* a failure that another try may not have        */
    CURLcode result;
    char why[CURL_ERROR_SIZE];
    const struct http_request *q; /* what is sent; NULL: a plain GET       */
    int fd;                       /* of q->file, or -1                     */
    uint64_t sent;                /* bytes of its body                     */
    double stall, last;           /* seconds; when the last byte came      */
    double slow_since;            /* the low-speed window: waited so long, */
    uint64_t slow_bytes;          /* for so many bytes                     */
    char *to;                     /* where conn_read() wants the body, so many bytes … */
    size_t to_left;               /* … more; 0: nobody reads                         */
    char *v;                      /* body received and not yet read: v[at .. n)     */
    size_t at, n;
    struct conn *next; /* idle list                                      */
};

int conn_take(struct http *h, struct conn **ret, struct err *err);
void conn_give(struct http *h, struct conn *c); /* ends the request; NULL is fine */
void conn_free(struct conn *c);
/* Sends the request (`q` NULL: GET) with `headers` and waits for the answer's headers: c->status,
 * c->head. On failure c->transient says whether another try makes sense. */
int conn_begin(struct http *h, struct conn *c, const char *url, const struct strs *headers,
               const struct http_request *q, struct err *err);
/* Whether any part of the request may have reached a server. */
bool conn_reached(const struct conn *c);
/* 1..n bytes of the body, 0 at its end. */
long conn_read(struct conn *c, void *bytes, size_t n, struct err *err);
/* Seconds of a clock that only goes forward. */
double conn_now(void);

/* ------------------------------------------------------------------ http_url.c */

/* Scheme, host and port are the same. */
bool url_same_origin(const char *a, const char *b);
/* The address for a message: without query, fragment, user and password. malloc'd; NULL: no
 * memory. */
char *url_shown(const char *url);
/* Where `location` leads from `base`; malloc'd. ERR_NET for what is never followed: another scheme,
 * https to http, user names. */
int url_follow(char **ret, const char *base, const char *location, struct err *err);
/* Appends text that a server sent, for a message: one line, control characters as "?", at most
 * `max`. */
int text_shown(struct buf *out, const char *text, size_t n, size_t max, struct err *err);

/* ------------------------------------------------------------------ http_ask.c */

struct ask {
    const char *url;
    uint64_t from, until;         /* first byte wanted, and behind the last; until 0: the end of the
                                     file. Both 0: no Range header                               */
    const char *if_range;         /* an ETag, or NULL                         */
    const struct http_request *q; /* NULL: a plain GET                 */
};

/* Tries of one question. A feed that got new bytes starts afresh. */
struct patience {
    int failures;
    double deadline; /* on conn_now()'s clock; 0: starts with the first question */
};

/* Asks until there is an answer: follows redirects, retries what may be retried. 0: the reply's
 * status is 2xx (or 416 to a range) and the body waits in `c`. Else ERR_NET with the reply filled
 * in, or ERR_STOPPED, ERR_NOMEM. `ret` may hold an earlier answer; it is released. */
int http_ask(struct http *h, struct conn *c, const struct ask *ask, struct patience *p,
             struct http_reply *ret, struct err *err);
/* After a transient failure, described in *err: counts it, says so in the log, waits `seconds` (or,
 * if negative, as long as the count suggests). 0, or the failure once patience is at its end. */
int http_wait(struct http *h, const char *url, struct patience *p, double seconds, struct err *err);

/* Seconds until the window of `RateLimit: "api";r=0;t=55` ends; negative if it is not used up. */
double http_rate_limit(const struct buf *headers);

/* ------------------------------------------------------------------ http_limit.c */

/* Remembers what an answer said about its budget: RateLimit used up, or `asked` seconds of a 429 or
 * 503 (negative: none). */
void http_limit_heard(struct http *h, const char *url, const struct buf *headers, double asked);
/* Waits until that budget may be asked again. ERR_STOPPED. */
int http_limit_wait(struct http *h, const char *url, struct err *err);
/* Sleeps, but not through a signal to stop: ERR_STOPPED. */
int http_sleep(double seconds, struct err *err);

/* ------------------------------------------------------------------ http_feed.c */

/* A file's mark of identity, malloc'd: of the first hop where the Hub gives one (*linked), since a
 * CDN has its own. NULL if there is none. With `any` a weak ETag or a date will do: between two
 * servers of one file they may differ, so they are for those who would rather stop than go on in
 * another. */
char *http_reply_mark(const struct http_reply *r, bool any, bool *linked);

/* ------------------------------------------------------------------ headers, http_ask.c */

/* The "total" of "bytes 5-9/10" in Content-Range and its first byte; false if it is not of that
 * form. */
bool http_content_range(const struct buf *headers, uint64_t *ret_from, uint64_t *ret_total);
/* The total of a 416's "bytes * / 10" (without blanks). */
bool http_unsatisfied_range(const struct buf *headers, uint64_t *ret_total);
/* A header that is a number; false if it is missing or not one. */
bool http_header_u64(const struct buf *headers, const char *name, uint64_t *ret);

#endif
