/* Several processes that train one model. Rank 0 is the trainer: it has the run's folder,
 * evaluates, saves, decides. The others have a copy of the model each and do what it orders.
 *
 *   rank 0    begin ─ START, weights, moments ─▶ [ STEP ─ its samples ──┐ sum ─ update ] … QUIT
 *   others    wait  ─ take them ──────────────▶ [ STEP ─ their samples ┘ sum ─ update ] … end
 *
 * Before each order all say whether a signal asks them to stop or to save: a machine that is to be
 * cleared may tell its own ranks only.
 *
 * All get the same sums and do the same update with them: the copies stay the same, to the bit. */
#include <inttypes.h>
#include <stdlib.h>
#include "train/model_inside.h"
#include "train/trainer_inside.h"

enum order_kind { ORDER_START = 1, ORDER_STEP, ORDER_QUIT };

/* What rank 0 tells the others, as bytes: they are the same program on the same kind of machine. */
struct order {
    uint64_t kind;
    uint64_t step, at;                 /* steps done, and the first sample of the coming one  */
    uint64_t samples, seq_len, params; /* START: what all must agree on                        */
    struct step_scalars scalars;       /* STEP                                                */
};

static bool alone(const struct trainer *t) {
    return !t->opts->comm || t->opts->comm->size == 1;
}

bool trainer_leads(const struct trainer *t) {
    return !alone(t) && t->opts->comm->rank == 0;
}

static struct order make_order(const struct trainer *t, enum order_kind kind) {
    return (struct order){.kind = kind,
                          .step = t->state.step,
                          .at = t->state.samples,
                          .samples = t->opts->samples,
                          .seq_len = (uint64_t)t->train->T,
                          .params = t->params};
}

/* Rank 0's order, to all, behind what all of them wish. */
static int tell(struct trainer *t, struct order *o, struct err *err) {
    const struct trainer_opts *p = t->opts;
    double wishes[2] = {p->stop && p->stop(p->ctx), p->save && p->save(p->ctx)};
    int rc = p->control->all_reduce_double(p->control, wishes, 2, err);
    if (rc < 0) return rc;
    t->stop_asked = t->stop_asked || wishes[0] > 0;
    t->save_asked = t->save_asked || wishes[1] > 0;
    return p->control->broadcast(p->control, o, sizeof *o, 0, err);
}

/* Weights and moments of rank 0, to all. */
static int share(struct trainer *t, struct err *err) {
    struct comm *c = t->opts->comm;
    struct model *m = t->model;
    int rc = c->broadcast(c, m->masters, m->params_bytes, 0, err);
    if (rc == 0) rc = c->broadcast(c, t->optimizer.moments, t->optimizer.moments_bytes, 0, err);
    model_cast(m);
    return rc < 0 ? rc : t->backend->sync(t->device, err);
}

int trainer_team_begin(struct trainer *t, struct err *err) {
    if (!trainer_leads(t) || !t->optimizer.backend) return 0;
    struct order o = make_order(t, ORDER_START);
    int rc = tell(t, &o, err);
    return rc < 0 ? rc : share(t, err);
}

int trainer_team_step(struct trainer *t, const struct step_scalars *s, struct err *err) {
    if (!trainer_leads(t)) return 0;
    struct order o = make_order(t, ORDER_STEP);
    o.scalars = *s;
    return tell(t, &o, err);
}

int trainer_team_sum(struct trainer *t, struct err *err) {
    struct comm *c = t->opts->comm;
    struct model *m = t->model;
    if (alone(t)) return 0;
    int rc = c->all_reduce(c, m->grads, m->params_bytes / sizeof(float), err);
    return rc < 0 ? rc : c->all_reduce_double(c, m->loss_sum, 1, err);
}

void trainer_team_end(struct trainer *t) {
    struct err gone = {0};
    if (!trainer_leads(t)) return;
    struct order o = make_order(t, ORDER_QUIT);
    tell(t, &o, &gone); /* who is gone needs no telling */
}

/* ------------------------------------------------------------------ the others */

static int start(struct trainer *t, const struct order *o, struct err *err) {
    if (o->samples != t->opts->samples || o->seq_len != (uint64_t)t->train->T ||
        o->params != t->params)
        return err_set(err, ERR_USAGE,
                       "rank %d has other options than rank 0: %" PRIu64
                       " samples of %d tokens and "
                       "%" PRIu64 " parameters, not %" PRIu64 " of %" PRIu64 " and %" PRIu64,
                       t->opts->comm->rank, t->opts->samples, t->train->T, t->params, o->samples,
                       o->seq_len, o->params);
    return share(t, err);
}

static int work_step(struct trainer *t, const struct order *o, struct err *err) {
    struct step_scalars s = o->scalars;
    t->state.step = o->step;
    t->state.samples = o->at;
    int rc = trainer_fetch(t, o->at, err);
    t->targets = (uint64_t)s.targets;
    if (rc == 0) rc = trainer_accumulate(t, err);
    if (rc == 0) rc = trainer_team_sum(t, err);
    if (rc != 0) return rc;
    optimizer_start(&t->optimizer, &s);
    trainer_fetch_ahead(t);
    rc = optimizer_finish(&t->optimizer, &s, err);
    log_debug(t->log,
              "step %" PRIu64 ": loss %.6f, norm %.6g, %" PRIu64 " samples from %" PRIu64 " on%s",
              o->step + 1, s.loss_sum / s.targets, s.grad_norm, t->mine, o->at + t->first,
              s.skipped ? "; skipped" : "");
    return rc;
}

/* This rank's own log, once rank 0 has the folder; without one it works just as well. */
static void open_log(struct trainer *t) {
    struct err lost = {0};
    if (run_open(&t->run, t->opts->run, t->opts->comm->rank, NULL, &lost) < 0) return;
    t->log = &t->run.log;
    log_info(t->log, "rank %d of %d, on %s, from step %" PRIu64, t->opts->comm->rank,
             t->opts->comm->size, t->backend->describe(t->device), t->state.step);
}

int trainer_work(struct model *model, const struct backend *backend, struct device *device,
                 const struct loader *train, const struct trainer_opts *opts, struct err *err) {
    struct trainer t = {.opts = opts,
                        .fetched = NOTHING_FETCHED,
                        .model = model,
                        .backend = backend,
                        .device = device,
                        .train = train};
    struct order o = {0};
    int rc = trainer_choose_params(&t, err);
    if (rc == 0) rc = optimizer_new(&t.optimizer, model, backend, device, err);
    if (rc == 0) rc = trainer_plan(&t, err);
    while (rc == 0 && o.kind != ORDER_QUIT) {
        rc = tell(&t, &o, err); /* rank 0 speaks */
        if (rc == 0 && o.kind == ORDER_START) {
            t.state.step = o.step;
            open_log(&t);
            rc = start(&t, &o, err);
        }
        if (rc == 0 && o.kind == ORDER_STEP) rc = work_step(&t, &o, err);
    }
    log_printf(t.log, rc < 0 ? LOG_ERROR : LOG_INFO, "%s", rc < 0 ? err->msg : "done");
    run_close(&t.run);
    free(t.tokens);
    free(t.labels);
    if (t.optimizer.backend) optimizer_free(&t.optimizer);
    return rc;
}
