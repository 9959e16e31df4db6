/* HTTP(S) for sources and the Hub: one transport, one retry policy (libcurl).
 *
 * A read that breaks off continues by Range from the last byte received, if the ETag is still the
 * same; 429 and 5xx are retried after what the server asks for (Retry-After, RateLimit), with a
 * bound. TLS is always verified. Redirects are followed by hand, so that a header meant for one
 * origin never reaches another. Errors are ERR_NET with the address (without its query) and what
 * the server said. */
#ifndef LORY_STREAM_HTTP_H
#define LORY_STREAM_HTTP_H

#include <stdbool.h>
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
    double stall_seconds;     /* no bytes for so long ends a try (default 30), and so does
                                 less than 1 KiB/s over that time                        */
    double total_seconds;     /* a whole question, waits and tries included (default 1800); a
                                 feed's clock starts anew with every 64 KiB               */
    double backoff_seconds;   /* the first wait between tries (default 0.5), doubled 4 times */
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

/* A question that is more than a GET. */
struct http_request {
    const char *method; /* "HEAD", "POST", "PUT" …; NULL: GET                           */
    const char *url;
    const char *const *headers; /* whole lines, the last NULL; or NULL. Sent to every hop       */
    const void *body;           /* body_bytes of memory, or …                                   */
    const char *file;           /* … of a file, from byte file_from; both NULL: no body         */
    uint64_t file_from, body_bytes;
    bool anonymous; /* without the token, wherever it goes */
    bool once;      /* what was received must not be asked again: no retry once the body was sent */
    void (*moved)(void *ctx, uint64_t bytes); /* so many bytes of the body more were sent; or NULL;
                                                 negative (as two's complement): sent again      */
    void *ctx;
};
/* Asks with the policy of http_get. A redirect of a request with a body is followed only if it
 * keeps the method (307, 308). With `once`, a failure after the body was sent is ERR_NET with
 * ret->status 0 if no answer came: the caller finds out what became of it. */
int http_send(struct http *h, const struct http_request *q, uint64_t max_bytes,
              struct http_reply *ret, struct err *err);

/* GET with the whole body in memory (at most `max_bytes`). 2xx is 0; any other final status is
 * ERR_NET with the reply still filled in. Caller: http_reply_release(). */
int http_get(struct http *h, const char *url, uint64_t max_bytes, struct http_reply *ret,
             struct err *err);
/* The value of a header line ("etag"), trimmed, malloc'd; NULL if there is none. */
char *http_header(const struct buf *headers, const char *name);
void http_reply_release(struct http_reply *r);

/* What is known of a file before it is asked for, and how it is going to be read. All may be NULL
 * or 0. */
struct http_want {
    const char *sha256; /* in hexadecimal digits: compared at the end of what is read from the first
                           byte to the last; what begins or goes on elsewhere has no digest      */
    const char *mark;   /* what http_mark() said: a file with another mark is ERR_NET            */
    uint64_t from;      /* the first byte, for a reader that has those before; a file that ends
                           before it is ERR_NET                                                  */
    uint64_t head;      /* the reader looks at the beginning and then seeks: so many bytes are
                           asked for at first                                                    */
};
/* A body as a feed: bounded memory, resumes by itself, checks length and digest; seek() asks for
 * the rest from there. The first answer is awaited here, so that a missing file is told at once.
 * `want` is not kept. ERR_CORRUPT: the bytes have another sha256 (both are named). */
int http_feed(struct http *h, const char *url, const struct http_want *want, struct feed *ret,
              struct err *err);
/* How long a file is (0: not said) and what tells it from what it may become: the Hub's
 * X-Linked-Etag, else ETag, else Last-Modified, as the server writes it; malloc'd, NULL if it says
 * none. Asks for one byte. */
int http_mark(struct http *h, const char *url, uint64_t *ret_bytes, char **ret_mark,
              struct err *err);

#endif
