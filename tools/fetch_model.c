/* Models of the Hub: see fetch_model.h. */
#include "tools/fetch_model.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/hub.h"
#include "tokenizer/tokenizer.h"

bool model_is_remote(const char *name) {
    return !strncmp(name, "hf://", 5);
}

/* A file by its name, or one in a folder of this name. */
static bool is_or_in(const char *path, const char *name) {
    size_t n = strlen(name);
    if (strncmp(path, name, n)) return false;
    return !path[n] || (path[n] == '/' && !strchr(path + n + 1, '/'));
}

static bool wanted(const char *path) {
    static const char *const names[] = {"config.json", "generation_config.json",
                                        "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(path, names[i])) return true;
    for (const char *const *name = tokenizer_files; *name; name++)
        if (is_or_in(path, *name)) return true;
    return !strncmp(path, "model-", 6) && path_ends(path, ".safetensors") && !strchr(path, '/');
}

/* Leaves in the list what a model needs; whole weights make shards needless. */
static int choose(struct hub_list *l, const char *name, struct err *err) {
    size_t n = 0;
    bool config = false, weights = false, torch = false;
    l->whole = false;
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->v[i].path;
        config |= !strcmp(path, "config.json");
        weights |= path_ends(path, ".safetensors");
        torch |= !strcmp(path, "pytorch_model.bin");
        struct hub_entry e = l->v[i];
        if (!wanted(path)) continue;
        l->v[i] = l->v[n];
        l->v[n++] = e;
    }
    if (config && weights) {
        for (size_t i = n; i < l->n; i++) {
            free(l->v[i].path);
            free(l->v[i].sha256);
        }
        l->n = n;
        return 0;
    }
    err_set(err, ERR_DATA, "%s: holds no %s", name, config ? "model.safetensors" : "config.json");
    return torch ? err_hint(err, "pytorch_model.bin is a pickle, which can run code: convert it to "
                                 "safetensors")
                 : ERR_DATA;
}

static int fetch(char **ret_dir, const struct hub *h, const struct hub_ref *ref, const char *name,
                 int threads, const struct log *log, struct err *err) {
    struct hub_list list = {0};
    struct hub_got got = {0};
    int rc = hub_list(&list, h, ref, err);
    if (rc == 0) rc = choose(&list, name, err);
    if (rc == 0) rc = hub_cache_get(h, ref, &list, threads, log, &got, ret_dir, err);
    if (rc == 0) log_info(log, "%s is in %s", name, *ret_dir);
    hub_list_release(&list);
    return rc;
}

int model_fetch(char **ret_dir, const char *name, int threads, const struct log *log,
                struct err *err) {
    struct hub hub = {0};
    struct hub_ref ref = {0};
    int rc = hub_ref_parse(&ref, name, err);
    if (rc == 0 && (ref.dataset || *ref.path))
        rc = err_set(err, ERR_USAGE, "%s: a model is named hf://NAMESPACE/NAME[@REVISION]", name);
    if (rc == 0) rc = hub_env(&hub, log, err);
    if (rc == 0) rc = fetch(ret_dir, &hub, &ref, name, threads, log, err);
    hub_release(&hub);
    hub_ref_release(&ref);
    return rc;
}
