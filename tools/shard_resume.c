/* A run of shard that was ended: whether a start means the same shards, and what is done of them.
 * The plan is a hash over all that decides what the shards will hold. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "base/file.h"
#include "tools/shard_parts.h"

double sharding_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of options that change how, not what. */
static bool decides(const char *line, size_t n) {
    static const char *const others[] = {"threads", "quiet",  "verbose",  "json",
                                         "config",  "output", "on-error", "force"};
    while (n && *line == ' ') line++, n--;
    size_t key = 0;
    while (key < n && line[key] != ':') key++;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strlen(others[i]) == key && !strncmp(line, others[i], key)) return false;
    return true;
}

static int plan_options(const struct sharding *r, struct buf *to, struct err *err) {
    struct buf yaml = {0};
    int rc = opt_yaml(&r->t->program, &yaml, err);
    for (size_t at = 0, n; rc == 0 && at < yaml.n; at += n + 1) {
        const char *end = memchr(yaml.v + at, '\n', yaml.n - at);
        n = end ? (size_t)(end - yaml.v) - at : yaml.n - at;
        if (decides(yaml.v + at, n)) rc = buf_printf(to, err, "%.*s\n", (int)n, yaml.v + at);
    }
    buf_release(&yaml);
    return rc;
}

static int plan_files(const struct source_list *list, const struct shard_share *shares,
                      struct buf *to, struct err *err) {
    int rc = buf_str(to, "files\n", err);
    for (size_t i = 0; rc == 0 && i < list->n; i++) {
        const struct source_file *f = &list->v[i];
        struct stat st = {0};
        if (stat(f->path, &st) < 0) st = (struct stat){0}; /* an address has an etag instead */
        rc = buf_printf(
            to, err, "%s %llu %s %s %lld.%09ld %a %d\n", f->path, (unsigned long long)f->bytes,
            f->etag ? f->etag : "-", f->sha256 ? f->sha256 : "-", (long long)st.st_mtim.tv_sec,
            st.st_mtim.tv_nsec, shares ? shares[i].share : 1, shares ? shares[i].again : 0);
    }
    return rc;
}

/* Everything that decides what the shards will hold. */
static int make_plan(struct sharding *r, const struct shard_opts *s, struct err *err) {
    struct buf text = {0};
    int rc = buf_printf(&text, err, "lory %s\ntokenizer %s\nvocab %u eot %u\nfraction %a\n",
                        LORY_VERSION, s->tokenizer_digest, s->vocab, s->eot_id, r->fraction);
    if (rc == 0) rc = plan_options(r, &text, err);
    if (rc == 0) rc = plan_files(&r->train, r->shares, &text, err);
    if (rc == 0) rc = plan_files(&r->valid, NULL, &text, err);
    if (rc == 0) xxh128_bytes(text.v, text.n, r->progress.plan);
    buf_release(&text);
    return rc;
}

/* Files are done one after the other, can be read again, and nothing else is being written. */
static bool can_resume(const struct sharding *r) {
    const struct docs_opts *d = &r->in->opts;
    for (size_t i = 0; i < r->train.n; i++)
        if (!strcmp(r->train.v[i].path, "-")) return false;
    return !d->shuffle_buffer && !d->skip && !d->take && !strcmp(d->order, "source") &&
           (!strcmp(d->on_error, "stop") || !strcmp(d->on_error, "skip"));
}

static int save_progress(struct sharding *r, const char *field, struct err *err) {
    struct shard_progress *p = &r->progress;
    struct buf mark = {0};
    if (field && !(p->field && !strcmp(field, p->field))) { /* else it is in use */
        free(p->field);
        p->field = strdup(field);
        if (!p->field) return err_nomem(err, strlen(field));
    }
    int rc = shard_writer_mark(r->writer, &mark, err);
    if (rc == 0 && !buf_cstr(&mark)) rc = err_nomem(err, mark.n);
    if (rc < 0) {
        buf_release(&mark);
        return rc;
    }
    free(p->mark);
    p->mark = mark.v;
    p->train = r->e.train;
    p->valid = r->e.valid;
    return shard_progress_save(p, r->o->output, err);
}

/* After each file, but never for more than a twentieth of the time: noting means to wait for the
 * disk. */
int sharding_file_done(void *ctx, size_t i, const char *field, struct err *err) {
    struct sharding *r = ctx;
    struct shard_done *list = &r->progress.lists[!strcmp(r->e.split, "valid")];
    list->done = i + 1;
    double begun = sharding_now();
    if (begun - r->last_save < 20 * r->save_cost) return 0;
    int rc = save_progress(r, field, err);
    r->last_save = sharding_now();
    r->save_cost = r->last_save - begun;
    r->saved = r->saved || rc == 0;
    return rc;
}

int sharding_take_up(struct sharding *r, const struct shard_opts *s, struct err *err) {
    struct shard_progress *p = &r->progress;
    struct err lost = {0};
    int rc = make_plan(r, s, err);
    r->resumable = can_resume(r);
    if (rc < 0 || !r->resumable || file_kind(r->o->output) != FILE_FOLDER) return rc;
    rc = shard_progress_load(p, r->o->output, err);
    if (rc <= 0) return rc;
    if (shard_writer_resume(&r->writer, r->o->output, s, p->mark, &lost) < 0) {
        if (lost.code == ERR_IO) {
            *err = lost;
            return ERR_IO;
        }
        log_warn(&r->t->log, "%s; beginning anew", lost.msg);
        p->lists[0].done = p->lists[1].done = 0;
        p->train = p->valid = (struct shard_counts){0};
        return 0;
    }
    r->saved = true;
    r->e.train = p->train;
    r->e.valid = p->valid;
    log_info(&r->t->log, "going on: %zu of %zu files are done", p->lists[0].done + p->lists[1].done,
             p->lists[0].n + p->lists[1].n);
    return 1;
}
