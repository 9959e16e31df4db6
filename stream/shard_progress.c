/* See shard_progress.h. */
#include "stream/shard_progress.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"

enum { VERSION = 1 };
static const uint64_t MOST = UINT64_C(1) << 53;
static const char FORMAT[] = "lory-shard-progress";
static const char *const list_names[2] = {"train_files", "valid_files"};

/* ------------------------------------------------------------------ reading */

static int load_counts(const cJSON *o, struct shard_counts *c, struct err *err) {
    int rc = json_u64(o, "documents", MOST, &c->documents, "progress", err);
    if (rc == 0) rc = json_u64(o, "tokens", MOST, &c->tokens, "progress", err);
    if (rc == 0) rc = json_u64(o, "targets", MOST, &c->targets, "progress", err);
    return rc < 0 ? rc : json_u64(o, "text_bytes", MOST, &c->text_bytes, "progress", err);
}

static int load_list(const cJSON *list, struct shard_done *d, struct err *err) {
    const cJSON *o;
    d->done = 0;
    cJSON_ArrayForEach(o, list) {
        if (d->done == d->n)
            return err_set(err, ERR_CORRUPT, "progress: more files than there are");
        struct docs_totals *t = &d->v[d->done++];
        int rc = json_u64(o, "documents", MOST, &t->documents, "progress", err);
        if (rc == 0) rc = json_u64(o, "text_bytes", MOST, &t->text_bytes, "progress", err);
        if (rc == 0) rc = json_u64(o, "bad_records", MOST, &t->bad_records, "progress", err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int load_tree(struct shard_progress *p, const cJSON *o, struct err *err) {
    const char *field = NULL, *mark = NULL, *plan = "", *format = "";
    uint64_t version = 0;
    int rc = json_str(o, "format", &format, "progress", err);
    if (rc == 0) rc = json_u64(o, "version", MOST, &version, "progress", err);
    if (rc == 0) rc = json_str(o, "plan", &plan, "progress", err);
    if (rc == 0) rc = json_str(o, "field", &field, "progress", err);
    if (rc == 0) rc = json_str(o, "mark", &mark, "progress", err);
    if (rc < 0) return rc;
    if (strcmp(format, FORMAT) || version != VERSION || strcmp(plan, p->plan) || !mark) return 0;
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = load_list(json_get(o, list_names[i]), &p->lists[i], err);
    if (rc == 0) rc = load_counts(json_get(o, "train"), &p->train, err);
    if (rc == 0) rc = load_counts(json_get(o, "valid"), &p->valid, err);
    p->mark = strdup(mark);
    p->field = field ? strdup(field) : NULL;
    if (rc == 0 && (!p->mark || (field && !p->field))) rc = err_nomem(err, strlen(mark));
    return rc < 0 ? rc : 1;
}

int shard_progress_load(struct shard_progress *p, const char *dir, struct err *err) {
    cJSON *tree = NULL;
    struct err lost = {0};
    char *path = path_join(dir, SHARD_PROGRESS_NAME);
    if (!path) return err_nomem(err, strlen(dir));
    int rc = file_kind(path) == FILE_REGULAR ? json_load(&tree, path, &lost) : 0;
    if (rc == 0 && tree) rc = load_tree(p, tree, &lost);
    cJSON_Delete(tree);
    free(path);
    if (rc == ERR_NOMEM) return err_nomem(err, 0);
    return rc == 1; /* one that cannot be read helps nobody: the run begins anew */
}

/* ------------------------------------------------------------------ writing */

static void put_counts(cJSON *to, const char *key, const struct shard_counts *c, bool *ok) {
    cJSON *o = json_put_object(to, key, ok);
    json_put_number(o, "documents", (double)c->documents, ok);
    json_put_number(o, "tokens", (double)c->tokens, ok);
    json_put_number(o, "text_bytes", (double)c->text_bytes, ok);
    json_put_number(o, "targets", (double)c->targets, ok);
}

static void put_list(cJSON *to, const char *key, const struct shard_done *d, bool *ok) {
    cJSON *list = json_put_array(to, key, ok);
    for (size_t i = 0; i < d->done; i++) {
        cJSON *o = cJSON_CreateObject();
        json_put_number(o, "documents", (double)d->v[i].documents, ok);
        json_put_number(o, "text_bytes", (double)d->v[i].text_bytes, ok);
        json_put_number(o, "bad_records", (double)d->v[i].bad_records, ok);
        json_put_item(list, NULL, o, ok);
    }
}

int shard_progress_save(const struct shard_progress *p, const char *dir, struct err *err) {
    cJSON *o = cJSON_CreateObject();
    bool ok = true;
    json_put_str(o, "format", FORMAT, &ok);
    json_put_number(o, "version", VERSION, &ok);
    json_put_str(o, "plan", p->plan, &ok);
    if (p->field) json_put_str(o, "field", p->field, &ok);
    for (int i = 0; i < 2; i++) put_list(o, list_names[i], &p->lists[i], &ok);
    put_counts(o, "train", &p->train, &ok);
    put_counts(o, "valid", &p->valid, &ok);
    json_put_str(o, "mark", p->mark, &ok);
    char *path = path_join(dir, SHARD_PROGRESS_NAME);
    int rc = ok && path ? json_save(path, o, false, err) : err_nomem(err, strlen(dir));
    free(path);
    cJSON_Delete(o);
    return rc;
}

void shard_progress_release(struct shard_progress *p) {
    free(p->field);
    free(p->mark);
    p->field = p->mark = NULL;
}
