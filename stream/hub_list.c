/* What a repository holds: the revision is pinned to a commit, then the tree of that commit is
 * read, page by page (Link: rel="next"). */
#include "stream/hub.h"
#include "stream/hub_parts.h"

#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "stream/http_parts.h"

enum { PAGES_MAX = 100000 };

/* ------------------------------------------------------------------ which paths */

/* One [class] against c: returns the length of the class, 0 if it has no end. */
static size_t match_class(const char *p, char c, bool *hit) {
    size_t i = 1;
    bool not = p[i] == '!' || p[i] == '^';
    *hit = false;
    if (not ) i++;
    for (size_t first = i; p[i] && (p[i] != ']' || i == first); i++) {
        if (p[i + 1] == '-' && p[i + 2] && p[i + 2] != ']') {
            if (c >= p[i] && c <= p[i + 2]) *hit = true;
            i += 2;
        } else if (c == p[i])
            *hit = true;
    }
    if (not ) *hit = !*hit;
    return p[i] ? i + 1 : 0;
}

bool hub_glob(const char *p, const char *path) {
    for (; *p; path++) {
        if (p[0] == '*' && p[1] == '*') {
            const char *rest = p + 2 + (p[2] == '/');
            for (const char *at = path;; at++) {
                if ((!(p[2] == '/') || at == path || at[-1] == '/') && hub_glob(rest, at))
                    return true;
                if (!*at) return false;
            }
        }
        if (*p == '*') {
            for (;; path++) {
                if (hub_glob(p + 1, path)) return true;
                if (!*path || *path == '/') return false;
            }
        }
        if (!*path) return false;
        bool hit;
        size_t n = *p == '[' ? match_class(p, *path, &hit) : 0;
        if (n) {
            if (!hit || *path == '/') return false;
            p += n;
        } else if (*p == '?' ? *path == '/' : *p != *path)
            return false;
        else
            p++;
    }
    return !*path;
}

bool hub_wanted(const char *pattern, const char *path) {
    size_t n = strlen(pattern);
    while (n && pattern[n - 1] == '/') n--;
    if (!n) return true;
    if (!strncmp(pattern, path, n) && (!path[n] || path[n] == '/')) return true; /* file, folder */
    return strpbrk(pattern, "*?[") && hub_glob(pattern, path);
}

/* The folder that holds all a pattern can match: what stands before the '/' before the first
 * wildcard. Listing it alone saves pages. */
static size_t fixed_folder(const char *pattern) {
    size_t n = strcspn(pattern, "*?[");
    while (n && pattern[n - 1] != '/') n--;
    return n ? n - 1 : 0;
}

static int get_json(const struct hub *h, const struct hub_ref *ref, const char *url, cJSON **ret,
                    struct http_reply *reply, struct err *err) {
    int rc = hub_question(h, &(struct hub_question){.url = url, .ref = ref}, ret, reply, err);
    if (rc == 0 && !*ret)
        rc = err_set(err, ERR_NET, "%s: does not answer as a Hub does", h->endpoint);
    return rc;
}

/* ------------------------------------------------------------------ commit and tree */

static int pin(struct hub_list *l, const struct hub *h, const struct hub_ref *ref,
               struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    cJSON *tree = NULL;
    const char *sha = NULL;
    int rc = hub_api_url(&url, h, ref, "revision", ref->revision, err);
    if (rc == 0) rc = get_json(h, ref, url.v, &tree, &reply, err);
    if (rc == 0 &&
        (json_str(tree, "sha", &sha, "", NULL) < 0 || !sha || strlen(sha) >= sizeof l->commit ||
         strspn(sha, "0123456789abcdef") != strlen(sha)))
        rc = err_set(err, ERR_NET, "%s: does not say which commit \"%s\" is", h->endpoint,
                     ref->revision);
    if (rc == 0) {
        memcpy(l->commit, sha, strlen(sha) + 1);
        hub_note_renamed(h, ref, &reply);
    }
    cJSON_Delete(tree);
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

static int add_entry(struct hub_list *l, const cJSON *o, const char *path, struct err *err) {
    const char *oid = NULL, *blob = NULL, *where = "the Hub's listing";
    struct hub_entry e = {0};
    int rc = json_u64(o, "size", UINT64_C(1) << 53, &e.bytes, where, err);
    const cJSON *lfs = rc == 0 ? json_get(o, "lfs") : NULL;
    if (cJSON_IsObject(lfs)) rc = json_str(lfs, "oid", &oid, where, err);
    if (rc == 0) rc = json_str(o, "oid", &blob, where, err);
    if (rc < 0) return ERR_NET;
    struct hub_entry *v = mem_grown(l->v, l->n, &l->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    l->v = v;
    e.path = strdup(path);
    if (hub_is_hex(oid, SHA256_HEX - 1)) e.sha256 = strdup(oid);
    if (hub_is_hex(blob, GIT_HEX - 1)) memcpy(e.blob, blob, GIT_HEX);
    v[l->n++] = e; /* from here on it is the list's, also on failure */
    return e.path && (e.sha256 || !hub_is_hex(oid, SHA256_HEX - 1)) ? 0
                                                                    : err_nomem(err, strlen(path));
}

static int add_page(struct hub_list *l, const cJSON *page, const char *pattern, struct err *err) {
    const cJSON *o;
    if (!cJSON_IsArray(page)) return err_set(err, ERR_NET, "the Hub's listing is not a list");
    cJSON_ArrayForEach(o, page) {
        const char *type = NULL, *path = NULL;
        if (!cJSON_IsObject(o) || json_str(o, "type", &type, "", NULL) < 0 ||
            json_str(o, "path", &path, "", NULL) < 0 || !type || !path)
            return err_set(err, ERR_NET, "the Hub's listing has an entry without type or path");
        if (strcmp(type, "file") || !hub_wanted(pattern, path)) continue;
        int rc = add_entry(l, o, path, err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* The address of `Link: <…>; rel="next"`, in a list of such; malloc'd, NULL if there is none. */
char *hub_next_link(const struct buf *headers) {
    char *link = http_header(headers, "link"), *found = NULL;
    for (char *at = link; at && !found && (at = strchr(at, '<')) != NULL;) {
        char *end = strchr(at, '>');
        if (!end) break;
        size_t params = strcspn(end, ","); /* up to the next link of the list */
        const char *rel = memmem(end, params, "rel=", 4);
        if (rel && (!strncmp(rel + 4, "\"next\"", 6) || !strncmp(rel + 4, "next", 4)))
            found = strndup(at + 1, (size_t)(end - at - 1));
        at = end + params;
    }
    free(link);
    return found;
}

/* The next page's address. On another host it is read without the token, and said once. */
static char *next_page(const struct hub *h, const struct hub_ref *ref, const struct buf *headers,
                       bool *told) {
    char *link = hub_next_link(headers), *own = link ? hub_own_url(h, link) : NULL;
    char *shown = own && !*told && !url_same_origin(own, h->endpoint) ? url_shown(own) : NULL;
    if (shown) {
        log_warn(h->log, "%s: its listing goes on at another host, which gets no token: %s",
                 ref->repo, shown);
        *told = true;
    }
    free(shown);
    free(link);
    return own;
}

/* All pages from `url` on, which is taken over. */
static int read_pages(struct hub_list *l, const struct hub *h, const struct hub_ref *ref, char *url,
                      struct err *err) {
    int rc = 0;
    bool told = false;
    for (int pages = 0; rc == 0 && url; pages++) {
        struct http_reply reply = {0};
        cJSON *page = NULL;
        rc = pages < PAGES_MAX ? get_json(h, ref, url, &page, &reply, err)
                               : err_set(err, ERR_NET, "%s: its listing has no end", h->endpoint);
        if (rc == 0) rc = add_page(l, page, ref->path, err);
        char *next = rc == 0 ? next_page(h, ref, &reply.headers, &told) : NULL;
        if (next && !strcmp(next, url))
            rc = err_set(err, ERR_NET, "%s: its listing goes in a circle", h->endpoint);
        cJSON_Delete(page);
        http_reply_release(&reply);
        free(url);
        url = next;
    }
    free(url);
    return rc;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct hub_entry *)a)->path, ((const struct hub_entry *)b)->path);
}

int hub_list(struct hub_list *ret, const struct hub *h, const struct hub_ref *ref,
             struct err *err) {
    struct buf url = {0};
    memset(ret, 0, sizeof *ret);
    if (h->offline) {
        int off = hub_cache_list(ret, h, ref, err);
        if (off < 0)
            hub_list_release(ret);
        else if (ret->n)
            qsort(ret->v, ret->n, sizeof *ret->v, by_path);
        return off;
    }
    ret->whole = !*ref->path;
    int rc = pin(ret, h, ref, err);
    if (rc == 0) rc = hub_api_url(&url, h, ref, "tree", ret->commit, err);
    size_t folder = fixed_folder(ref->path);
    char *dir = folder ? strndup(ref->path, folder) : NULL;
    if (rc == 0 && dir) rc = buf_char(&url, '/', err);
    if (rc == 0 && dir) rc = hub_escape(&url, dir, true, err);
    if (rc == 0) rc = buf_str(&url, "?recursive=true&expand=false", err);
    if (rc == 0) rc = buf_cstr(&url) ? 0 : err_nomem(err, url.n);
    free(dir);
    if (rc == 0)
        rc = read_pages(ret, h, ref, url.v, err);
    else
        buf_release(&url);
    if (rc == 0 && !ret->n && *ref->path && !strpbrk(ref->path, "*?["))
        hub_cache_no_exist(h, ref, ret->commit);
    if (rc < 0)
        hub_list_release(ret);
    else if (ret->n)
        qsort(ret->v, ret->n, sizeof *ret->v, by_path);
    return rc;
}

void hub_list_release(struct hub_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].path);
        free(l->v[i].sha256);
    }
    free(l->v);
    memset(l, 0, sizeof *l);
}
