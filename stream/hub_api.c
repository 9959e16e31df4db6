/* Questions to the Hub's API: JSON there and back, and failures told apart by what the Hub calls
 * them (X-Error-Code, then X-Error-Message, then the status). */
#include "stream/hub_parts.h"
#include "stream/http_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES = 64 << 20 };

/* ------------------------------------------------------------------ failures */

static bool says(const char *text, const char *word) {
    return text && strstr(text, word);
}

bool hub_reply_is(const struct http_reply *r, const char *code) {
    char *v = http_header(&r->headers, "x-error-code");
    bool is = v && !strcmp(v, code);
    free(v);
    return is;
}

/* What no repository is to blame for. */
static bool explain_token(const struct hub *h, const struct http_reply *r, const char *text,
                          struct err *err) {
    if (r->status == 401 && (says(text, "Invalid credentials") || says(text, "expired"))) {
        err_set(err, ERR_NET, "%s: the access token is not valid; check HF_TOKEN, or lmhub login",
                h->endpoint);
        return true;
    }
    return false;
}

static void explain_repo(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r,
                         const char *code, const char *text, struct err *err) {
    const char *kind = ref->dataset ? "dataset" : "model";
    if (says(code, "RevisionNotFound"))
        err_set(err, ERR_NET, "%s: there is no revision \"%s\"", ref->repo, ref->revision);
    else if (says(code, "GatedRepo"))
        err_set(err, ERR_NET, "%s is gated: ask for access at %s/%s%s, then set HF_TOKEN",
                ref->repo, h->endpoint, ref->dataset ? "datasets/" : "", ref->repo);
    else if (says(code, "EntryNotFound"))
        err_set(err, ERR_NET, "%s: there is nothing at \"%s\" in revision \"%s\"", ref->repo,
                ref->path, ref->revision);
    else if (says(text, "disabled"))
        err_set(err, ERR_NET, "%s: access to this %s is disabled by the Hub", ref->repo, kind);
    else if (r->status == 401 || says(code, "RepoNotFound"))
        err_set(err, ERR_NET, "%s: no such %s at %s, or it is private; %s", ref->repo, kind,
                h->endpoint,
                h->token ? "then this HF_TOKEN may not see it"
                         : "then set HF_TOKEN, or use lmhub login");
    else if (r->status == 403)
        err_set(err, ERR_NET, "%s: the access token does not permit this%s%.200s", ref->repo,
                text ? ": " : "", text ? text : "");
}

int hub_explain(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r, int rc,
                struct err *err) {
    if (rc != ERR_NET || r->status < 400 || r->status >= 500 || r->status == 429) return rc;
    char *code = http_header(&r->headers, "x-error-code");
    char *text = http_header(&r->headers, "x-error-message");
    for (char *p = text; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?';
    if (!explain_token(h, r, text, err) && ref) explain_repo(h, ref, r, code, text, err);
    free(code);
    free(text);
    return rc;
}

/* ------------------------------------------------------------------ questions */

int hub_api_url(struct buf *out, const struct hub *h, const struct hub_ref *ref, const char *what,
                const char *revision, struct err *err) {
    int rc = buf_printf(out, err, "%s/api/%s/%s/%s%s", h->endpoint,
                        ref->dataset ? "datasets" : "models", ref->repo, what, revision ? "/" : "");
    if (rc == 0 && revision) rc = hub_escape(out, revision, false, err);
    if (rc == 0 && !buf_cstr(out)) rc = err_nomem(err, out->n);
    return rc;
}

int hub_question(const struct hub *h, const struct hub_question *q, cJSON **ret,
                 struct http_reply *reply, struct err *err) {
    char type[128];
    const char *headers[] = {"Accept: application/json, application/vnd.git-lfs+json", type, NULL};
    snprintf(type, sizeof type, "Content-Type: %s", q->type ? q->type : "application/json");
    if (!q->body) headers[1] = NULL;
    const struct http_request r = {.method = q->method,
                                   .url = q->url,
                                   .headers = headers,
                                   .body = q->body ? q->body->v : NULL,
                                   .body_bytes = q->body ? q->body->n : 0,
                                   .once = q->once};
    if (ret) *ret = NULL;
    if (h->offline)
        return err_set(err, ERR_NET, "%s: HF_HUB_OFFLINE is set, the Hub is not asked",
                       q->ref ? q->ref->repo : h->endpoint);
    int rc = http_send(h->http, &r, ANSWER_BYTES, reply, err);
    if (rc < 0) return hub_explain(h, q->ref, reply, rc, err);
    if (!ret || !reply->body.n) return 0;
    rc = json_parse(ret, reply->body.v, reply->body.n, q->url, err);
    if (rc == ERR_CORRUPT)
        rc = err_set(err, ERR_NET, "%s: does not answer as a Hub does", h->endpoint);
    return rc;
}

int hub_post(const struct hub *h, const struct hub_ref *ref, const char *method, const char *url,
             cJSON *body, cJSON **ret, struct http_reply *reply, struct err *err) {
    struct buf text = {0};
    int rc = json_text(&text, body, false, err);
    cJSON_Delete(body);
    if (rc == 0)
        rc = hub_question(
            h, &(struct hub_question){.method = method, .url = url, .body = &text, .ref = ref}, ret,
            reply, err);
    buf_release(&text);
    return rc;
}

char *hub_own_url(const struct hub *h, const char *url) {
    static const char real[] = "https://huggingface.co";
    size_t n = sizeof real - 1;
    if (strncmp(url, real, n) || (url[n] && !strchr("/?#", url[n]))) return strdup(url);
    struct buf b = {0};
    int rc = buf_printf(&b, NULL, "%s%s", h->endpoint, url + n);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}

bool hub_is_hex(const char *s, size_t n) {
    return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* …/api/datasets/NS/NAME/revision/… */
void hub_note_renamed(const struct hub *h, const struct hub_ref *ref, const struct http_reply *r) {
    const char *at = r->url ? strstr(r->url, "/api/") : NULL;
    at = at ? strchr(at + 5, '/') : NULL;
    const char *end = at ? strstr(++at, "/revision/") : NULL;
    size_t n = end ? (size_t)(end - at) : 0;
    struct buf shown = {0};
    if (n && (strlen(ref->repo) != n || memcmp(at, ref->repo, n)) &&
        text_shown(&shown, at, n, 200, NULL) == 0 && buf_cstr(&shown))
        log_warn(h->log, "%s is named %s now", ref->repo, shown.v);
    buf_release(&shown);
}

int hub_base64(struct buf *out, const void *bytes, size_t n, struct err *err) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *v = bytes;
    int rc = buf_reserve(out, (n + 2) / 3 * 4, err);
    for (size_t i = 0; rc == 0 && i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        unsigned x = (unsigned)v[i] << 16;
        if (have > 1) x |= (unsigned)v[i + 1] << 8;
        if (have > 2) x |= v[i + 2];
        char *to = out->v + out->n;
        to[0] = digits[x >> 18];
        to[1] = digits[x >> 12 & 63];
        to[2] = have > 1 ? digits[x >> 6 & 63] : '=';
        to[3] = have > 2 ? digits[x & 63] : '=';
        out->n += 4;
    }
    return rc;
}
