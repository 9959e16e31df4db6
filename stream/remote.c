/* Sources that come over the network: see remote.h. */
#include "stream/remote.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/feed.h"
#include "stream/http.h"
#include "stream/hub.h"

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
    if (rc == 0)
        rc = source_add(to,
                        &(struct source_file){
                            .name = name.v, .path = url, .bytes = e->bytes, .sha256 = e->sha256},
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

int remote_feed(const struct source_file *file, const struct hub *hub, struct feed *ret,
                struct err *err) {
    struct feed near = {0};
    if (!hub || !hub->http)
        return err_set(err, ERR_USAGE, "%s: this program does not reach the network", file->name);
    if (hub->offline)
        return err_set(err, ERR_NET, "%s: HF_HUB_OFFLINE is set, and it is not in the cache",
                       file->name);
    int rc = http_feed(hub->http, file->path, file->sha256, &near, err);
    if (rc < 0) return rc;
    rc = feed_ahead(near, ret, err);
    if (rc < 0) near.close(near.ctx);
    return rc;
}
