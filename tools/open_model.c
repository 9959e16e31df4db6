/* Finding and opening a model: see open_model.h. */
#include "tools/open_model.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "tools/fetch_model.h"
#include "train/checkpoint.h"

static bool is_model(const char *dir) {
    char *path = path_join(dir, "config.json");
    bool is = path && file_kind(path) == FILE_REGULAR;
    free(path);
    return is;
}

/* dir/name if a model is there. */
static char *model_in(const char *dir, const char *name) {
    char *path = path_join(dir, name);
    if (path && is_model(path)) return path;
    free(path);
    return NULL;
}

/* A finished run is a model itself, so the links are looked at first. */
static int find_model(char **ret, const char *dir, const struct log *log, struct err *err) {
    char *found = file_kind(dir) == FILE_REGULAR ? strdup(dir) : model_in(dir, "best");
    uint64_t step = CHECKPOINT_NONE;
    int rc;
    if (!found) found = model_in(dir, "last");
    if (!found) found = model_in(dir, "");
    if (!found) { /* a run whose links were lost */
        rc = checkpoint_newest(dir, &step, log, err);
        if (rc < 0 && rc != ERR_IO) return rc;
        if (step != CHECKPOINT_NONE) found = checkpoint_path(dir, step);
    }
    if (!found) {
        err_set(err, ERR_IO, "%s: no model there: neither config.json nor a checkpoint", dir);
        return err_hint(err, "name a run of lmtrain, or any folder of a GPT-2, with -m");
    }
    *ret = found;
    return 0;
}

int open_model(struct open_model *ret, const char *dir, const char *device, const char *dtype,
               int threads, const struct log *log, struct err *err) {
    struct open_model m = {0};
    int rc = backend_choose(&m.choice, device, dtype, threads, err);
    if (rc == 0 && model_is_remote(dir))
        rc = model_fetch(&m.dir, dir, threads, log, err);
    else if (rc == 0)
        rc = find_model(&m.dir, dir, log, err);
    if (rc == 0) rc = model_config_load(&m.config, m.dir, err);
    if (rc == 0) rc = model_check_files(&m.config, m.dir, err);
    if (rc == 0) rc = m.choice.backend->open(&m.device, &m.choice.opts, err);
    if (rc == 0)
        rc = model_new(&m.model, &m.config, m.choice.backend, m.device, m.choice.opts.dtype, false,
                       err);
    if (rc == 0) rc = model_load(m.model, m.dir, err);
    if (rc == 0) {
        log_debug(log, "%s: %.1f M parameters", m.dir,
                  (double)model_config_params(&m.config) / 1e6);
        log_debug(log, "%s", m.choice.backend->describe(m.device));
        *ret = m;
    } else {
        open_model_close(&m);
    }
    return rc;
}

void open_model_close(struct open_model *m) {
    model_free(m->model);
    if (m->choice.backend) m->choice.backend->close(m->device);
    free(m->dir);
    *m = (struct open_model){0};
}
