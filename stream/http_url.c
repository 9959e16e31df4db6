/* Addresses: whose origin, where a redirect leads, what may be printed. Parsed by libcurl's own
 * parser, so that what we compare is what it connects to. */
#include "stream/http_parts.h"

#include <stdlib.h>
#include <string.h>

static CURLU *url_parse(const char *url) {
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) return u;
    curl_url_cleanup(u);
    return NULL;
}

/* A part, "" if it is not there; curl_free(). */
static char *part(CURLU *u, CURLUPart what) {
    char *v = NULL;
    curl_url_get(u, what, &v, CURLU_DEFAULT_PORT);
    return v;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart what) {
    char *x = part(a, what), *y = part(b, what);
    bool same = x && y && !strcasecmp(x, y);
    curl_free(x);
    curl_free(y);
    return same;
}

bool url_same_origin(const char *a, const char *b) {
    CURLU *x = url_parse(a), *y = url_parse(b);
    bool same = x && y && same_part(x, y, CURLUPART_SCHEME) && same_part(x, y, CURLUPART_HOST) &&
                same_part(x, y, CURLUPART_PORT);
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

int text_shown(struct buf *out, const char *text, size_t n, size_t max, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n && i < max; i++) {
        unsigned char c = (unsigned char)text[i];
        rc = buf_char(out, c < 0x20 || c == 0x7F ? '?' : (char)c, err);
    }
    return rc == 0 && n > max ? buf_str(out, "...", err) : rc;
}

char *url_shown(const char *url) {
    CURLU *u = url_parse(url);
    char *text = NULL;
    if (u) {
        curl_url_set(u, CURLUPART_QUERY, NULL, 0);
        curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
        curl_url_set(u, CURLUPART_USER, NULL, 0);
        curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
        curl_url_get(u, CURLUPART_URL, &text, 0);
        curl_url_cleanup(u);
    }
    struct buf out = {0};
    int rc = text ? text_shown(&out, text, strlen(text), 400, NULL)
                  : text_shown(&out, url, strcspn(url, "?#"), 400, NULL);
    curl_free(text);
    if (rc < 0 || !buf_cstr(&out)) {
        buf_release(&out);
        return NULL;
    }
    return out.v;
}

static bool scheme_is(CURLU *u, const char *scheme) {
    char *s = part(u, CURLUPART_SCHEME);
    bool is = s && !strcasecmp(s, scheme);
    curl_free(s);
    return is;
}

static bool has_user(CURLU *u) {
    char *user = part(u, CURLUPART_USER);
    bool has = user != NULL;
    curl_free(user);
    return has;
}

int url_follow(char **ret, const char *base, const char *location, struct err *err) {
    CURLU *u = url_parse(base);
    char *shown = url_shown(base), *to = NULL;
    bool secure = u && scheme_is(u, "https"), user = u && has_user(u);
    int rc = 0;
    if (!shown || !u)
        rc = err_nomem(err, strlen(base));
    else if (curl_url_set(u, CURLUPART_URL, location, 0) != CURLUE_OK ||
             (!scheme_is(u, "http") && !scheme_is(u, "https")))
        rc = err_set(err, ERR_NET, "%s: redirects to something that is not http(s)", shown);
    else if (secure && !scheme_is(u, "https"))
        rc =
            err_set(err, ERR_NET, "%s: redirects from https to http, which is not followed", shown);
    else if (!user && has_user(u))
        rc = err_set(err, ERR_NET, "%s: redirects to an address with a user name in it", shown);
    else if (curl_url_get(u, CURLUPART_URL, &to, 0) != CURLUE_OK || !(*ret = strdup(to)))
        rc = err_nomem(err, strlen(location));
    curl_free(to);
    curl_url_cleanup(u);
    free(shown);
    return rc;
}
