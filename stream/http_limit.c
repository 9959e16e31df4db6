/* One limiter for all requests of a process: what a server said to one thread holds for all.
 *
 *   origin + budget ─▶ lane ─▶ not before …      https://hub/api/…      "api"
 *                                                https://hub/…/resolve/ "resolvers"
 *                                                https://hub/…          "pages"
 *
 * Budgets are the Hub's (its documentation, rate-limits.md, 2025-09); for other servers they only
 * split the origin in three. A lane is forgotten when its place is needed: then a server says it
 * again. */
#include "stream/http_parts.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include "base/hash.h"
#include "base/signals.h"

int http_sleep(double seconds, struct err *err) {
    double until = conn_now() + seconds;
    for (double left; (left = until - conn_now()) > 0;) {
        if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
        double slice = left < 0.1 ? left : 0.1;
        nanosleep(&(struct timespec){0, (long)(slice * 1e9)}, NULL);
    }
    return 0;
}

static uint64_t lane_key(const char *url) {
    const char *host = strstr(url, "://");
    size_t origin = host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : strlen(url);
    const char *path = url + origin;
    uint64_t budget = !strncmp(path, "/api/", 5) ? 1 : strstr(path, "/resolve/") ? 2 : 3;
    return xxh64_bytes(url, origin, budget) | 1;
}

/* The lane of a key; the one that ends first makes way for a new one. */
static struct lane *lane_of(struct http *h, uint64_t key) {
    struct lane *first = h->lanes;
    for (struct lane *l = h->lanes; l < h->lanes + HTTP_LANES; l++) {
        if (l->key == key) return l;
        if (l->until < first->until) first = l;
    }
    *first = (struct lane){.key = key};
    return first;
}

void http_limit_heard(struct http *h, const char *url, const struct buf *headers, double asked) {
    double seconds = fmax(http_rate_limit(headers), asked);
    if (seconds <= 0) return;
    double until = conn_now() + fmin(seconds, HTTP_WAIT_MAX_SECONDS);
    pthread_mutex_lock(&h->lock);
    struct lane *l = lane_of(h, lane_key(url));
    if (l->until < until) l->until = until;
    pthread_mutex_unlock(&h->lock);
}

int http_limit_wait(struct http *h, const char *url, struct err *err) {
    uint64_t key = lane_key(url);
    double until = 0;
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < HTTP_LANES; i++)
        if (h->lanes[i].key == key) until = h->lanes[i].until;
    pthread_mutex_unlock(&h->lock);
    double seconds = until - conn_now();
    if (seconds <= 0) return 0;
    if (seconds > 5) log_info(h->log, "the server's budget is used up: waiting %.0f s", seconds);
    return http_sleep(seconds, err);
}
