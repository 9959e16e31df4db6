/* The Hub: its environment, its names and its addresses. Listing is in hub_list.c. */
#include "stream/hub.h"
#include "stream/hub_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/version.h"

enum { TOKEN_BYTES = 4096, REPO_BYTES = 96 };

/* ------------------------------------------------------------------ environment */

/* The one place where a library reads the environment: the variables are the Hub's own, and users
 * expect every client to honour them. */
static const char *env(const char *name, const char *older) {
    const char *v = getenv(name);
    if ((!v || !*v) && older) v = getenv(older);
    return v && *v ? v : NULL;
}

static bool env_is_true(const char *name) {
    static const char *const words[] = {"1", "on", "yes", "true"};
    const char *v = env(name, NULL);
    for (size_t i = 0; v && i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(v, words[i])) return true;
    return false;
}

/* text[0..n) without white space around it; NULL if nothing is left. malloc'd. */
static char *trimmed(const char *text, size_t n) {
    while (n && isspace((unsigned char)text[n - 1])) n--;
    while (n && isspace((unsigned char)*text)) text++, n--;
    return n ? strndup(text, n) : NULL;
}

/* A path of the environment: a leading "~" is the home folder. malloc'd; NULL if unset. */
static char *env_path(const char *name, const char *older) {
    const char *v = env(name, older), *user = env("HOME", NULL);
    if (!v) return NULL;
    if (v[0] == '~' && (v[1] == '/' || !v[1]) && user) return path_join(user, v[1] ? v + 2 : "");
    return strdup(v);
}

/* $HF_HOME, or huggingface/ in the user's cache; malloc'd or NULL. */
static char *find_home(void) {
    char *home = env_path("HF_HOME", NULL), *cache = home ? NULL : env_path("XDG_CACHE_HOME", NULL);
    const char *user = env("HOME", NULL);
    if (!home && cache) home = path_join(cache, "huggingface");
    if (!home && user) home = path_join(user, ".cache/huggingface");
    free(cache);
    return home;
}

char *hub_token_path(const struct hub *h) {
    char *named = env_path("HF_TOKEN_PATH", NULL);
    return named || !h->home ? named : path_join(h->home, "token");
}

/* A token file that cannot be read is no error: public data needs none. */
static char *find_token(const struct hub *h) {
    const char *v = env("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");
    if (env_is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return NULL;
    if (v) return trimmed(v, strlen(v));
    char *path = hub_token_path(h), *token = NULL;
    struct buf b = {0};
    if (path && file_read(path, TOKEN_BYTES, &b, NULL) == 0) token = trimmed(b.v, b.n);
    if (b.v) explicit_bzero(b.v, b.cap);
    buf_release(&b);
    free(path);
    return token;
}

bool hub_token_is_from_environment(void) {
    return env("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") != NULL;
}

/* Seconds without a byte that end a try. */
static double download_timeout(void) {
    const char *v = env("HF_HUB_DOWNLOAD_TIMEOUT", NULL);
    double seconds = v ? strtod(v, NULL) : 0;
    return seconds > 0 && seconds < 86400 ? seconds : 0;
}

int hub_env(struct hub *ret, const struct log *log, struct err *err) {
    return hub_env_with(ret, NULL, NULL, log, err);
}

int hub_env_with(struct hub *ret, const char *token, const char *ca_file, const struct log *log,
                 struct err *err) {
    const char *endpoint = env("HF_ENDPOINT", NULL);
    memset(ret, 0, sizeof *ret);
    if (!endpoint) endpoint = "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/') n--;
    if (strncmp(endpoint, "https://", 8) && strncmp(endpoint, "http://", 7))
        return err_set(err, ERR_USAGE, "HF_ENDPOINT: %s is no http(s) address", endpoint);
    ret->endpoint = strndup(endpoint, n);
    ret->log = log;
    ret->home = find_home();
    ret->cache = env_path("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE");
    if (!ret->cache && ret->home) ret->cache = path_join(ret->home, "hub");
    ret->no_symlinks = env_is_true("HF_HUB_DISABLE_SYMLINKS");
    ret->token = token ? strdup(token) : find_token(ret);
    if (!ca_file) ca_file = env("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE");
    ret->offline = env_is_true("HF_HUB_OFFLINE") || env_is_true("TRANSFORMERS_OFFLINE");
    const struct http_opts opts = {.user_agent = "lory/" LORY_VERSION,
                                   .token = ret->token,
                                   .token_origin = ret->endpoint,
                                   .ca_file = ca_file,
                                   .stall_seconds = download_timeout(),
                                   .log = log};
    int rc = ret->endpoint ? http_new(&ret->http, &opts, err) : err_nomem(err, n);
    if (rc < 0) hub_release(ret);
    return rc;
}

void hub_release(struct hub *h) {
    http_free(h->http);
    if (h->token) explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    free(h->endpoint);
    free(h->home);
    free(h->cache);
    memset(h, 0, sizeof *h);
}

/* ------------------------------------------------------------------ names */

/* A name as the Hub allows it: letters, digits, - _ . but no "--", "..", and none of - . at an
 * end. */
static bool is_repo_name(const char *s, size_t n) {
    if (!n || n > REPO_BYTES) return false;
    if (strchr("-.", s[0]) || strchr("-.", s[n - 1])) return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i])) return false;
        if (i && s[i] == s[i - 1] && strchr("-.", s[i])) return false;
    }
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

/* Undoes %XX in place: a revision "a%2Fb" is the branch a/b. */
static void unescape(char *s) {
    char *to = s;
    for (; *s; s++) {
        int hi = *s == '%' ? hex_digit(s[1]) : -1, lo = hi >= 0 ? hex_digit(s[2]) : -1;
        if (lo > 0 || (lo == 0 && hi > 0)) { /* not %00 */
            *to++ = (char)(hi << 4 | lo);
            s += 2;
        } else
            *to++ = *s;
    }
    *to = 0;
}

/* Length of a revision: up to the next '/', but "refs/pr/7" and "refs/convert/parquet" are
 * whole. */
static size_t revision_length(const char *s) {
    size_t n = strcspn(s, "/");
    for (int parts = 1; parts < 3 && !strncmp(s, "refs/", 5) && s[n]; parts++)
        n += 1 + strcspn(s + n + 1, "/");
    return n;
}

int hub_ref_parse(struct hub_ref *ret, const char *text, struct err *err) {
    static const char form[] = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH]";
    memset(ret, 0, sizeof *ret);
    const char *s = strncmp(text, "hf://", 5) ? NULL : text + 5;
    if (!s || !strncmp(s, "spaces/", 7))
        return err_set(err, ERR_USAGE, "%s: is not of the form %s", text, form);
    ret->dataset = !strncmp(s, "datasets/", 9);
    if (ret->dataset)
        s += 9;
    else if (!strncmp(s, "models/", 7))
        s += 7;
    size_t n = strcspn(s, "/@");
    bool good = is_repo_name(s, n);
    if (s[n] == '/' && s[n + 1]) {
        size_t more = strcspn(s + n + 1, "/@");
        good = good && is_repo_name(s + n + 1, more);
        n += 1 + more;
    }
    if (!good || n > REPO_BYTES)
        return err_set(err, ERR_USAGE, "%s: is not of the form %s", text, form);
    const char *rest = s + n, *rev = "main";
    size_t rev_n = 4;
    if (*rest == '@') {
        rev = rest + 1;
        rev_n = revision_length(rev);
        rest = rev + rev_n;
        if (!rev_n) return err_set(err, ERR_USAGE, "%s: an empty revision", text);
    }
    while (*rest == '/') rest++;
    ret->repo = strndup(s, n);
    ret->revision = strndup(rev, rev_n);
    ret->path = strdup(rest);
    if (!ret->repo || !ret->revision || !ret->path) {
        hub_ref_release(ret);
        return err_nomem(err, strlen(text));
    }
    unescape(ret->revision);
    return 0;
}

void hub_ref_release(struct hub_ref *r) {
    free(r->repo);
    free(r->revision);
    free(r->path);
    memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------ addresses */

int hub_escape(struct buf *out, const char *s, bool keep_slash, struct err *err) {
    int rc = 0;
    for (; rc == 0 && *s; s++) {
        bool plain = isalnum((unsigned char)*s) || strchr("-._~", *s) || (keep_slash && *s == '/');
        rc = plain ? buf_char(out, *s, err)
                   : buf_printf(out, err, "%%%02X", (unsigned)(unsigned char)*s);
    }
    return rc;
}

char *hub_file_url(const struct hub *h, const struct hub_ref *ref, const char *commit,
                   const char *path) {
    struct buf b = {0};
    int rc = buf_printf(&b, NULL, "%s/%s%s/resolve/", h->endpoint, ref->dataset ? "datasets/" : "",
                        ref->repo);
    if (rc == 0) rc = hub_escape(&b, commit, false, NULL);
    if (rc == 0) rc = buf_char(&b, '/', NULL);
    if (rc == 0) rc = hub_escape(&b, path, true, NULL);
    if (rc == 0 && buf_cstr(&b)) return b.v;
    buf_release(&b);
    return NULL;
}
