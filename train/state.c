/* state.json: see state.h. */
#include "train/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"

enum { FORMAT = 1 };
static const uint64_t COUNT_MAX = (uint64_t)1 << 53;

void run_identity_free(struct run_identity *id) {
    cJSON_Delete(id->order);
    cJSON_Delete(id->options);
    cJSON_Delete(id->device);
    *id = (struct run_identity){0};
}

/* ------------------------------------------------------------------ writing and reading */

static bool add_counts(cJSON *o, const struct run_state *s) {
    bool ok = cJSON_AddNumberToObject(o, "format", FORMAT) &&
              cJSON_AddNumberToObject(o, "step", (double)s->step) &&
              cJSON_AddNumberToObject(o, "updates", (double)s->updates) &&
              cJSON_AddNumberToObject(o, "samples", (double)s->samples) &&
              cJSON_AddNumberToObject(o, "tokens", (double)s->tokens) &&
              cJSON_AddNumberToObject(o, "seconds", s->seconds);
    if (ok && s->best_step)
        ok = cJSON_AddNumberToObject(o, "best_step", (double)s->best_step) &&
             cJSON_AddNumberToObject(o, "best_loss", s->best_loss);
    return ok;
}

int state_save(const char *dir, const struct run_state *s, const struct run_identity *id,
               struct err *err) {
    cJSON *o = cJSON_CreateObject();
    char *path = path_join(dir, "state.json");
    bool ok = o && path && add_counts(o, s) &&
              cJSON_AddItemReferenceToObject(o, "order", id->order) &&
              cJSON_AddItemReferenceToObject(o, "options", id->options) &&
              cJSON_AddItemReferenceToObject(o, "device", id->device);
    int rc = ok ? json_save(path, o, true, err) : err_nomem(err, sizeof(cJSON));
    cJSON_Delete(o);
    free(path);
    return rc;
}

/* Takes a member out of the tree. */
static int detach(cJSON *o, const char *key, cJSON **ret, const char *path, struct err *err) {
    const cJSON *item = json_get(o, key);
    if (!cJSON_IsObject(item))
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not an object", path, key);
    *ret = cJSON_DetachItemFromObjectCaseSensitive(o, key);
    return 0;
}

int state_load(const char *dir, struct run_state *s, struct run_identity *id, struct err *err) {
    char *path = path_join(dir, "state.json");
    cJSON *o = NULL;
    uint64_t format = 0;
    struct run_state r = {.best_loss = INFINITY};
    struct run_identity i = {0};
    int rc = path ? json_load(&o, path, err) : err_nomem(err, strlen(dir));
    if (rc == 0) rc = json_u64(o, "format", COUNT_MAX, &format, path, err);
    if (rc == 0 && format != FORMAT)
        rc = err_set(err, ERR_CORRUPT, "%s: format %llu is unknown", path,
                     (unsigned long long)format);
    if (rc == 0) rc = json_u64(o, "step", COUNT_MAX, &r.step, path, err);
    if (rc == 0) rc = json_u64(o, "updates", r.step, &r.updates, path, err);
    if (rc == 0) rc = json_u64(o, "samples", COUNT_MAX, &r.samples, path, err);
    if (rc == 0) rc = json_u64(o, "tokens", COUNT_MAX, &r.tokens, path, err);
    if (rc == 0) rc = json_f64(o, "seconds", &r.seconds, path, err);
    if (rc == 0) rc = json_u64(o, "best_step", r.step, &r.best_step, path, err);
    if (rc == 0) rc = json_f64(o, "best_loss", &r.best_loss, path, err);
    if (rc == 0) rc = detach(o, "order", &i.order, path, err);
    if (rc == 0) rc = detach(o, "options", &i.options, path, err);
    if (rc == 0) rc = detach(o, "device", &i.device, path, err);
    cJSON_Delete(o);
    free(path);
    if (rc < 0) {
        run_identity_free(&i);
        return rc;
    }
    *s = r;
    *id = i;
    return 0;
}

/* ------------------------------------------------------------------ comparing */

static int text_of(const cJSON *item, struct buf *out, struct err *err) {
    return item ? json_text(out, item, false, err) : buf_str(out, "nothing", err);
}

/* What a digest says to people; NULL: it is no digest. */
static const char *changed(const char *key) {
    if (strcmp(key, "data") == 0) return "the shards of --train have changed";
    return strcmp(key, "valid") == 0 ? "the shards of --valid have changed" : NULL;
}

/* base, base/ and ./base are one model. */
static bool same_model(const cJSON *was, const cJSON *now) {
    if (!cJSON_IsString(was) || !cJSON_IsString(now) || strcmp(now->string, "model")) return false;
    char *a = realpath(was->valuestring, NULL), *b = realpath(now->valuestring, NULL);
    bool same = a && b && !strcmp(a, b);
    free(a);
    free(b);
    return same;
}

/* Appends "KEY was A, now B" for every member that differs; the members of both sides. */
static int differences(const cJSON *was, const cJSON *now, struct buf *out, struct err *err) {
    const cJSON *sides[2] = {now, was};
    int rc = 0;
    for (int side = 0; rc == 0 && side < 2; side++)
        for (const cJSON *item = sides[side]->child; rc == 0 && item; item = item->next) {
            if (side == 1 && json_get(now, item->string)) continue; /* seen from the other side */
            struct buf a = {0}, b = {0};
            rc = text_of(json_get(was, item->string), &a, err);
            if (rc == 0) rc = text_of(json_get(now, item->string), &b, err);
            const char *said = changed(item->string), *between = out->n ? "; " : "";
            bool same = rc == 0 && a.n == b.n && !memcmp(a.v, b.v, a.n);
            if (rc == 0 && !same &&
                !same_model(json_get(was, item->string), json_get(now, item->string)))
                rc = said ? buf_printf(out, err, "%s%s", between, said)
                          : buf_printf(out, err, "%s%s was %s, now %s", between, item->string,
                                       buf_cstr(&a), buf_cstr(&b));
            buf_release(&a);
            buf_release(&b);
        }
    return rc;
}

int state_compare(const char *dir, const struct run_identity *saved, const struct run_identity *now,
                  const struct log *log, struct err *err) {
    struct buf refused = {0}, told = {0};
    int rc = differences(saved->options, now->options, &refused, err);
    if (rc == 0) rc = differences(saved->order, now->order, &refused, err);
    if (rc == 0) rc = differences(saved->device, now->device, &told, err);
    if (rc == 0 && told.n)
        log_warn(log, "%s: %s; the numbers may differ in their last bits", dir, buf_cstr(&told));
    if (rc == 0 && refused.n) {
        err_set(err, ERR_USAGE, "%s was made with other options: %s", dir, buf_cstr(&refused));
        rc = err_hint(err, "give those, or another -o for a new run");
    }
    buf_release(&refused);
    buf_release(&told);
    return rc;
}
