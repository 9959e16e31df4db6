/* HTTP(S) for sources and the Hub: one transport, one retry policy (libcurl).
 *
 * A read that breaks off continues by Range from the last byte received, if the ETag is still the
 * same; 429 and 5xx are retried after what the server asks for (Retry-After, RateLimit), with a
 * bound. TLS is always verified. Redirects are followed by hand, so that a header meant for one
 * origin never reaches another. Errors are ERR_NET with the address (without its query) and what
 * the server said. */
#ifndef LORY_STREAM_HTTP_H
#define LORY_STREAM_HTTP_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "stream/codec.h"

struct http; /* settings and a connection pool; any number of threads */

struct http_opts {
    const char *user_agent;
    const char *token;        /* sent as a bearer token, to `token_origin` only; or NULL */
    const char *token_origin; /* "https://huggingface.co"                                */
    int tries;                /* per request (default 6)                                 */
    double stall_seconds;     /* no bytes for so long ends a try (default 30)            */
    const char *ca_file;      /* certificates to trust instead of the system's, or NULL  */
    const struct log *log;    /* hears about retries                                     */
};

int http_new(struct http **ret, const struct http_opts *opts, struct err *err);
void http_free(struct http *h); /* NULL is fine */

struct http_reply {
    long status;
    struct buf headers;       /* of the last hop, as they came                            */
    struct buf first_headers; /* of the first hop (X-Repo-Commit, X-Linked-Etag …)        */
    struct buf body;
    char *url; /* of the last hop                                          */
};

/* GET with the whole body in memory (at most `max_bytes`). 2xx is 0; any other final status is
 * ERR_NET with the reply still filled in. Caller: http_reply_release(). */
int http_get(struct http *h, const char *url, uint64_t max_bytes, struct http_reply *ret,
             struct err *err);
/* The value of a header line ("etag"), trimmed, malloc'd; NULL if there is none. */
char *http_header(const struct buf *headers, const char *name);
void http_reply_release(struct http_reply *r);

/* A body as a feed: bounded memory, resumes by itself, checks length and (if given) sha256 at the
 * end. The first answer is awaited here, so that a missing file is told at once. ERR_CORRUPT: the
 * bytes have another sha256 (both are named). */
int http_feed(struct http *h, const char *url, const char *sha256, struct feed *ret,
              struct err *err);

#endif
