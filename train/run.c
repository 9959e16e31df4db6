/* A run's folder: see run.h. */
#include "train/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/version.h"
#include "train/checkpoint.h"

static const char MARK[] = "# lmtrain run";
static const char LOG_NAME[] = "log.txt";

/* True if the text begins like a log of ours, or is empty: made by a process killed at once. */
static bool our_log(const char *path, uint64_t *ret_bytes) {
    char head[sizeof MARK] = "";
    FILE *f = fopen(path, "re");
    if (!f) return false;
    size_t n = fread(head, 1, sizeof MARK - 1, f);
    fclose(f);
    *ret_bytes = n;
    return n == 0 || !strncmp(head, MARK, sizeof MARK - 1);
}

/* Refuses a folder that is not empty and not a run. */
static int check_ours(const char *dir, const char *log_path, struct err *err) {
    struct strs names = {0};
    struct u64s steps = {0};
    uint64_t bytes = 0;
    const char *stranger = NULL;
    int rc = file_list(dir, &names, err);
    if (rc == 0) rc = checkpoint_list(dir, &steps, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        if (names.v[i][0] != '.' && strcmp(names.v[i], LOG_NAME) && strcmp(names.v[i], "log"))
            stranger = names.v[i];
    bool ours = steps.n > 0 || (our_log(log_path, &bytes) && (bytes > 0 || !stranger));
    if (rc == 0 && !ours && stranger) {
        err_set(err, ERR_USAGE, "%s: holds other things (%s) and no run of lmtrain", dir, stranger);
        rc = err_hint(err, "choose another folder with -o");
    }
    strs_release(&names);
    u64s_release(&steps);
    return rc;
}

static void to_both(void *ctx, enum log_level level, const char *text) {
    struct run *r = ctx;
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[ERR_MSG_BYTES * 2 + 64];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ ", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, "%s: %s\n", names[level], text);
    if (n >= sizeof line) n = sizeof line - 1;
    /* the logs are a convenience: their loss is not an error */
    if (level != LOG_DEBUG && r->text.path) append_write(&r->text, line, n, NULL);
    if (r->debug.path) append_write(&r->debug, line, n, NULL);
    if (r->outer && r->outer->line) r->outer->line(r->outer->ctx, level, text);
}

static void pass_progress(void *ctx, const struct progress *p) {
    log_progress(((struct run *)ctx)->outer, p);
}

static int take_log(struct run *r, const char *path, struct err *err) {
    int rc = append_open(&r->text, path, err);
    if (rc < 0) return rc;
    if (flock(r->text.fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(err, ERR_USAGE, "%s: another lmtrain is writing this run", r->dir);
    uint64_t bytes = 0;
    char line[128];
    int n = snprintf(line, sizeof line, "%s, version %s\n", MARK, LORY_VERSION);
    rc = file_bytes(path, &bytes, err);
    if (rc < 0 || bytes) return rc;
    rc = append_write(&r->text, line, (size_t)n, err);
    if (rc == 0) rc = append_sync(&r->text, err); /* before anything that the mark speaks for */
    return rc < 0 ? rc : file_sync_dir(r->dir, err);
}

static int open_debug(struct run *r, int rank, struct err *err) {
    char name[32];
    snprintf(name, sizeof name, "debug_%d.log", rank);
    char *dir = path_join(r->dir, "log"), *path = dir ? path_join(dir, name) : NULL;
    int rc = path ? file_mkdirs(dir, err) : err_nomem(err, strlen(name));
    if (rc == 0) rc = append_open(&r->debug, path, err);
    free(dir);
    free(path);
    return rc;
}

int run_open(struct run *ret, const char *dir, int rank, const struct log *outer, struct err *err) {
    *ret = (struct run){.outer = outer, .dir = strdup(dir)};
    char *path = path_join(dir, LOG_NAME);
    int rc = ret->dir && path ? 0 : err_nomem(err, strlen(dir));
    if (rc == 0) rc = file_mkdirs(dir, err);
    if (rc == 0 && rank == 0) rc = check_ours(dir, path, err);
    if (rc == 0 && rank == 0) rc = take_log(ret, path, err);
    if (rc == 0) rc = open_debug(ret, rank, err);
    if (rc == 0 && rank == 0) rc = file_sweep(dir, err);
    ret->log = (struct log){.line = to_both, .progress = pass_progress, .ctx = ret};
    free(path);
    if (rc < 0) run_close(ret);
    return rc;
}

void run_close(struct run *r) {
    append_close(&r->text);
    append_close(&r->debug);
    free(r->dir);
    *r = (struct run){0};
}
