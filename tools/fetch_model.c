/* Models of the Hub: see fetch_model.h. */
#include "tools/fetch_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/version.h"
#include "stream/hub.h"

bool model_is_remote(const char *name) {
    return !strncmp(name, "hf://", 5);
}

static bool wanted(const char *path) {
    static const char *const names[] = {
        "config.json",       "generation_config.json",      "tokenizer.json",
        "vocab.json",        "tokenizer_config.json",       "special_tokens_map.json",
        "merges.txt",        "added_tokens.json",           "chat_template.jinja",
        "model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(path, names[i])) return true;
    return !strncmp(path, "model-", 6) && path_ends(path, ".safetensors") && !strchr(path, '/');
}

/* Leaves in the list what a model needs; whole weights make shards needless. */
static int choose(struct hub_list *l, const char *name, struct err *err) {
    size_t n = 0;
    bool config = false, weights = false, torch = false;
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

/* The folder of the repository's models: "NS--NAME" below the cache; malloc'd. */
static char *cache_of(const char *repo) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    struct buf b = {0};
    int rc = base && *base == '/' ? buf_printf(&b, NULL, "%s/lory/models/", base)
             : home && *home      ? buf_printf(&b, NULL, "%s/.cache/lory/models/", home)
                                  : buf_str(&b, ".lory-models/", NULL);
    for (const char *p = repo; rc == 0 && *p; p++)
        rc = *p == '/' ? buf_str(&b, "--", NULL) : buf_char(&b, *p, NULL);
    const char *text = rc == 0 ? buf_cstr(&b) : NULL;
    char *ret = text ? strdup(text) : NULL;
    buf_release(&b);
    return ret;
}

/* Which commit a revision was when it was last asked for, for days without a network. */
static char *ref_file(const char *cache, const char *revision) {
    char name[256];
    snprintf(name, sizeof name, "revision-%.200s", revision);
    for (char *p = name; *p; p++)
        if (*p == '/') *p = '_';
    return path_join(cache, name);
}

static int offline(char **ret_dir, const char *cache, const char *ref, const char *name,
                   struct err *err) {
    struct buf commit = {0};
    int rc = file_kind(ref) == FILE_REGULAR ? file_read(ref, 64, &commit, err)
                                            : err_set(err, ERR_NET, "%s: not fetched yet", name);
    if (rc == ERR_NET) err_hint(err, "HF_HUB_OFFLINE is set: unset it once");
    const char *text = rc == 0 ? buf_cstr(&commit) : NULL;
    if (rc == 0) *ret_dir = text ? path_join(cache, text) : NULL;
    if (rc == 0 && !*ret_dir) rc = err_nomem(err, 64);
    buf_release(&commit);
    return rc;
}

static int fetch(char **ret_dir, const struct hub *h, const struct hub_ref *ref, const char *name,
                 int threads, const struct log *log, struct err *err) {
    struct hub_list list = {0};
    struct hub_got got = {0};
    char *cache = cache_of(ref->repo), *seen = cache ? ref_file(cache, ref->revision) : NULL;
    int rc = seen ? 0 : err_nomem(err, 256);
    if (rc == 0 && h->offline) {
        rc = offline(ret_dir, cache, seen, name, err);
    } else if (rc == 0) {
        rc = hub_list(&list, h, ref, err);
        if (rc == 0) rc = choose(&list, name, err);
        char *dir = rc == 0 ? path_join(cache, list.commit) : NULL;
        if (rc == 0) rc = dir ? file_mkdirs(dir, err) : err_nomem(err, 256);
        if (rc == 0) rc = hub_get(h, ref, &list, dir, threads, log, &got, err);
        if (rc == 0) rc = file_write(seen, list.commit, strlen(list.commit), err);
        if (rc == 0) log_info(log, "%s is in %s", name, dir);
        if (rc == 0)
            *ret_dir = dir;
        else
            free(dir);
    }
    hub_list_release(&list);
    free(cache);
    free(seen);
    return rc;
}

int model_fetch(char **ret_dir, const char *name, int threads, const struct log *log,
                struct err *err) {
    struct hub hub = {0};
    struct hub_ref ref = {0};
    int rc = hub_ref_parse(&ref, name, err);
    if (rc == 0 && (ref.dataset || *ref.path))
        rc = err_set(err, ERR_USAGE, "%s: a model is named hf://NAMESPACE/NAME[@REVISION]", name);
    if (rc == 0) rc = hub_env(&hub, "lory/" LORY_VERSION, log, err);
    if (rc == 0) rc = fetch(ret_dir, &hub, &ref, name, threads, log, err);
    hub_release(&hub);
    hub_ref_release(&ref);
    return rc;
}
