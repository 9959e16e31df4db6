/* Sources that come over the network: see remote.h. */
#include "stream/remote.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/archive.h"
#include "stream/http.h"
#include "stream/http_blob.h"
#include "stream/hub.h"
#include "stream/layout.h"

bool remote_is_http(const char *source) {
    return !strncmp(source, "http://", 7) || !strncmp(source, "https://", 8);
}

bool remote_is_hub(const char *source) {
    return !strncmp(source, "hf://", 5);
}

/* What lies in every dataset's repository and is no data (the list of `datasets`). */
static bool is_data(const char *path) {
    static const char *const others[] = {"README.md",         "config.json",
                                         "dataset_info.json", "dataset_infos.json",
                                         "dummy_data.zip",    "dataset_dict.json"};
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (*p == '.' || !strncmp(p, "__", 2)) return false;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(path_base(path), others[i])) return false;
    return true;
}

static int add_entry(struct source_list *to, const struct hub *hub, const struct hub_ref *ref,
                     const char *commit, const struct hub_entry *e, struct err *err) {
    struct buf name = {0};
    char *url = hub_cached(hub, ref, commit, e->path); /* what is here need not be fetched */
    if (!url) url = hub_file_url(hub, ref, commit, e->path);
    int rc = url ? buf_printf(&name, err, "hf://%s%s/%s", ref->dataset ? "datasets/" : "",
                              ref->repo, e->path)
                 : err_nomem(err, strlen(e->path));
    if (rc == 0 && !buf_cstr(&name)) rc = err_nomem(err, name.n);
    if (rc == 0 && zip_is_named(name.v))
        rc = zip_members(to, name.v, url, hub, err);
    else if (rc == 0)
        rc = source_add(
            to,
            &(struct source_file){.name = name.v,
                                  .path = url,
                                  .bytes = e->bytes,
                                  .etag = e->sha256 || !*e->blob ? NULL : (char *)e->blob,
                                  .sha256 = e->sha256},
            err);
    buf_release(&name);
    free(url);
    return rc;
}

int remote_list(struct source_list *to, const char *source, const struct hub *hub,
                const struct log *log, struct err *err) {
    struct hub_ref ref;
    struct hub_list list = {0};
    size_t before = to->n;
    if (!hub) return err_set(err, ERR_USAGE, "%s: this program does not reach the Hub", source);
    int rc = hub_ref_parse(&ref, source, err);
    if (rc < 0) return rc;
    rc = hub_list(&list, hub, &ref, err);
    for (size_t i = 0; rc == 0 && i < list.n; i++)
        if (*ref.path || is_data(list.v[i].path))
            rc = add_entry(to, hub, &ref, list.commit, &list.v[i], err);
    if (rc == 0 && to->n == before) rc = err_set(err, ERR_USAGE, "%s: matches no file", source);
    if (rc == 0) log_debug(log, "%s: %zu files at commit %s", source, to->n - before, list.commit);
    hub_list_release(&list);
    hub_ref_release(&ref);
    return rc;
}

/* README.md of the dataset, where it has one. */
static int get_readme(const struct hub *hub, const struct hub_ref *ref, const struct hub_list *list,
                      struct buf *to, struct err *err) {
    enum { README_MAX = 16 << 20 };
    struct http_reply r = {0};
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->v[i].path, "README.md")) continue;
        char *url = hub_file_url(hub, ref, list->commit, "README.md");
        int rc = url ? http_get(hub->http, url, README_MAX, &r, err) : err_nomem(err, 64);
        if (rc == 0) rc = buf_append(to, r.body.v, r.body.n, err);
        http_reply_release(&r);
        free(url);
        return rc;
    }
    return 0;
}

static int pick(struct source_list *to, const struct hub *hub, const struct hub_ref *ref,
                const struct hub_list *list, const char *config, const char *split,
                struct err *err) {
    struct strs paths = {0};
    struct buf readme = {0};
    struct layout layout = {0};
    struct u32s files = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->n; i++) rc = strs_push(&paths, list->v[i].path, err);
    if (rc == 0) rc = get_readme(hub, ref, list, &readme, err);
    if (rc == 0) rc = layout_read(&layout, &paths, readme.v, readme.n, err);
    if (rc == 0) rc = layout_pick(&layout, config, split, &files, err);
    for (size_t i = 0; rc == 0 && i < files.n; i++)
        rc = add_entry(to, hub, ref, list->commit, &list->v[files.v[i]], err);
    strs_release(&paths);
    buf_release(&readme);
    layout_release(&layout);
    u32s_release(&files);
    return rc;
}

int remote_split(struct source_list *to, const char *source, const char *config, const char *split,
                 const struct hub *hub, const struct log *log, struct err *err) {
    struct hub_ref ref;
    struct hub_list list = {0};
    if (!hub) return err_set(err, ERR_USAGE, "%s: this program does not reach the Hub", source);
    int rc = hub_ref_parse(&ref, source, err);
    if (rc < 0) return rc;
    if (*ref.path)
        rc = err_set(err, ERR_USAGE, "--split and --data-config choose within a whole repository");
    if (rc == 0) rc = hub_list(&list, hub, &ref, err);
    if (rc == 0) rc = pick(to, hub, &ref, &list, config, split, err);
    if (rc < 0)
        err_prefix(err, "%s", source);
    else
        log_debug(log, "%s: %zu files at commit %s", source, to->n, list.commit);
    hub_list_release(&list);
    hub_ref_release(&ref);
    return rc;
}

static int reachable(const struct source_file *file, const struct hub *hub, struct err *err) {
    if (!hub || !hub->http)
        return err_set(err, ERR_USAGE, "%s: this program does not reach the network", file->name);
    if (hub->offline)
        return err_set(err, ERR_NET, "%s: HF_HUB_OFFLINE is set, and it is not in the cache",
                       file->name);
    return 0;
}

int remote_blob(const struct source_file *file, const struct hub *hub, struct blob *ret,
                struct err *err) {
    const char *mark = remote_is_hub(file->name) ? NULL : file->etag; /* as in remote_feed() */
    int rc = reachable(file, hub, err);
    return rc < 0 ? rc : http_blob(hub->http, file->path, mark, ret, err);
}

int remote_feed(const struct source_file *file, const struct hub *hub, uint64_t head,
                struct feed *ret, struct err *err) {
    struct http_want want = {.sha256 = file->sha256, .head = head};
    /* An address of the Hub holds a commit: what is behind it cannot change. */
    if (!remote_is_hub(file->name)) want.mark = file->etag;
    int rc = reachable(file, hub, err);
    return rc < 0 ? rc : http_feed(hub->http, file->path, &want, ret, err);
}

int remote_pin(struct source_file *file, const struct hub *hub, struct err *err) {
    char *mark = NULL;
    uint64_t bytes;
    int rc = reachable(file, hub, err);
    if (rc == 0) rc = http_mark(hub->http, file->path, &bytes, &mark, err);
    if (rc < 0) return rc;
    if (!file->member) file->bytes = bytes;
    free(file->etag);
    file->etag = mark;
    return 0;
}
