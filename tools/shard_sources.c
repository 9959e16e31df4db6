/* What shard reads: files to train on, taken as often as their weights say, and files to validate
 * with.
 *
 *   operands ─▶ in->list, weight ─▶ less those of --valid, or the last one ─▶ train, shares
 *                                                                        └▶ valid */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tools/shard_parts.h"

static bool same_file(const struct source_file *a, const struct source_file *b) {
    if (a->member || b->member)
        if (!a->member || !b->member || strcmp(a->member, b->member) != 0) return false;
    if (!strcmp(a->path, b->path)) return strcmp(a->path, "-") != 0;
    char *x = realpath(a->path, NULL), *y = realpath(b->path, NULL);
    bool same = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* Takes file i out of the training sources. */
static struct source_file take_file(struct sharding *r, size_t i) {
    struct source_list *list = &r->in->list;
    struct source_file f = list->v[i];
    memmove(&list->v[i], &list->v[i + 1], (--list->n - i) * sizeof f);
    memmove(&r->weight[i], &r->weight[i + 1], (list->n - i) * sizeof *r->weight);
    return f;
}

/* A list of one file, which is taken over. */
static int list_of(struct source_list *to, struct source_file f, struct err *err) {
    to->v = mem_array(1, sizeof f);
    if (!to->v) return err_nomem(err, sizeof f);
    to->v[0] = f;
    to->n = to->cap = 1;
    return 0;
}

/* What is for validation is not trained on, by whatever name the training sources have it. */
static int leave_out_valid(struct sharding *r, struct err *err) {
    struct source_list *train = &r->in->list;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < train->n;) {
        size_t j = 0;
        while (j < r->valid.n && !same_file(&train->v[i], &r->valid.v[j])) j++;
        if (j == r->valid.n) {
            i++;
            continue;
        }
        log_info(&r->t->log, "%s: for validation, not for training", train->v[i].name);
        struct source_list gone = {0};
        rc = list_of(&gone, take_file(r, i), err);
        source_list_release(&gone);
    }
    if (rc == 0 && !train->n)
        rc = err_set(err, ERR_USAGE, "%s: nothing is left to train on",
                     r->o->valid ? "--valid takes all files" : "all files are the same one");
    return rc;
}

static int choose_valid(struct sharding *r, struct err *err) {
    struct source_list *train = &r->in->list;
    int rc = r->o->valid ? input_resolve_one(r->in, r->t, r->o->valid, &r->valid)
                         : list_of(&r->valid, take_file(r, train->n - 1), err);
    return rc < 0 ? rc : leave_out_valid(r, err);
}

/* The training sources, one operand after the other, for each file the weight of its operand. */
static int resolve_train(struct sharding *r, struct err *err) {
    struct tool *t = r->t;
    const struct strs *all = t->operands;
    struct source_list *list = &r->in->list;
    double *of = mem_array(all->n + 1, sizeof *of);
    int rc = of ? 0 : err_nomem(err, all->n * sizeof *of);
    for (size_t i = 0; of && i <= all->n; i++) of[i] = 1;
    if (rc == 0 && r->o->weights)
        rc = all->n ? tool_weights("--weights", r->o->weights, of, all->n, err)
                    : err_set(err, ERR_USAGE, "--weights without sources");
    for (size_t i = 0; rc == 0 && i < (all->n ? all->n : 1); i++) {
        struct strs one = {.v = all->v ? all->v + i : NULL, .n = all->n ? 1 : 0};
        size_t before = list->n;
        t->operands = &one;
        rc = input_resolve(r->in, t, "corpus");
        t->operands = all;
        double *v = rc == 0 ? mem_resize(r->weight, list->n + 1, sizeof *v) : NULL;
        if (rc == 0 && !v) rc = err_nomem(err, list->n * sizeof *v);
        if (v) r->weight = v;
        for (size_t k = before; v && k < list->n; k++) v[k] = of[i];
    }
    free(of);
    return rc;
}

/* A file of weight 2.5 stands in the list three times: in the first round with all others, whole;
 * in the second; and with half of its documents in the third. */
static int expand(struct sharding *r, struct err *err) {
    const struct source_list *list = &r->in->list;
    int rc = 0;
    bool more = true;
    for (int round = 0; rc == 0 && more; round++) {
        more = false;
        for (size_t i = 0; rc == 0 && i < list->n; i++) {
            double left = r->weight[i] - round;
            if (left <= 0) continue;
            more = more || left > 1;
            struct shard_share *v = mem_resize(r->shares, r->train.n + 1, sizeof *v);
            if (!v) return err_nomem(err, (r->train.n + 1) * sizeof *v);
            r->shares = v;
            v[r->train.n] = (struct shard_share){left < 1 ? left : 1, round > 0};
            rc = source_add(&r->train, &list->v[i], err);
        }
    }
    return rc;
}

static int make_lists(struct sharding *r, struct err *err) {
    int rc = expand(r, err);
    const size_t n[2] = {r->train.n, r->valid.n};
    for (int i = 0; rc == 0 && i < 2; i++) {
        struct shard_done *d = &r->progress.lists[i];
        d->v = mem_array(n[i] + 1, sizeof *d->v);
        d->n = n[i];
        if (!d->v) rc = err_nomem(err, n[i] * sizeof *d->v);
    }
    return rc;
}

int sharding_sources(struct sharding *r, struct err *err) {
    const struct source_list *train = &r->in->list;
    struct options *o = r->o;
    r->in->opts.prompt = o->prompt;
    if (o->prompt && !r->in->opts.field) r->in->opts.field = "completion";
    if (o->valid && o->fraction_given)
        return err_set(err, ERR_USAGE, "--valid and --valid-fraction exclude each other");
    int rc = resolve_train(r, err);
    if (rc < 0) return rc;
    if (o->fraction_given)
        r->fraction = o->valid_fraction;
    else if (train->n == 1 && !o->valid)
        r->fraction = 0.01;
    else
        rc = choose_valid(r, err);
    return rc < 0 ? rc : make_lists(r, err);
}
