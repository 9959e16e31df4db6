/* The model card: what a reader of the repository wants to know, from the files of the run.
 *
 *   config.json ─▶ the shape      config.yaml ─▶ how it was trained      metrics.jsonl ─▶ the table
 *
 * Paths of this machine are not repeated. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/version.h"
#include "tools/push_run.h"
#include "train/config.h"
#include "train/metrics.h"

enum { ROWS = 20, YAML_BYTES = 1 << 20 };

static int say_shape(struct buf *out, const char *dir, struct err *err) {
    struct model_config c;
    int rc = model_config_load(&c, dir, err);
    if (rc < 0) return rc;
    return buf_printf(out, err,
                      "A GPT-2 of %.1f M parameters: %d layers, width %d, %d heads, vocabulary %d, "
                      "context %d.",
                      (double)model_config_params(&c) / 1e6, c.L, c.C, c.NH, c.V, c.P);
}

/* ------------------------------------------------------------------ the table */

static const struct metrics_step *step_at(const struct metrics_steps *s, uint64_t step) {
    const struct metrics_step *found = NULL;
    for (size_t i = 0; i < s->n && s->v[i].step <= step; i++) found = &s->v[i];
    return found;
}

static int table(struct buf *out, const struct metrics_steps *s, const struct metrics_evals *e,
                 uint64_t upto, struct err *err) {
    size_t n = 0;
    while (n < e->n && e->v[n].step <= upto) n++;
    if (!n) return 0;
    int rc = buf_str(out,
                     "\n## Evaluation\n\n| step | tokens | training loss | validation loss | "
                     "perplexity |\n|--:|--:|--:|--:|--:|\n",
                     err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        /* Evenly chosen, the last among them. */
        if (n > ROWS && (n - 1 - i) % ((n + ROWS - 1) / ROWS)) continue;
        const struct metrics_step *t = step_at(s, e->v[i].step);
        rc = buf_printf(out, err, "| %llu | %.4g | %.4f | %.4f | %.4g |\n",
                        (unsigned long long)e->v[i].step, t ? (double)t->tokens : 0,
                        t ? t->loss : NAN, e->v[i].loss, exp(e->v[i].loss));
    }
    return rc;
}

/* ------------------------------------------------------------------ how it was trained */

/* The options that make the training, in this order; a line of config.yaml is "  name: value". */
static int options(struct buf *out, const char *run, struct err *err) {
    static const char *const names[] = {
        "recipe",       "steps",      "epochs",       "seq-len", "window",   "order",
        "batch",        "accumulate", "batch-tokens", "lr",      "schedule", "warmup",
        "warmup-style", "min-lr",     "beta1",        "beta2",   "eps",      "weight-decay",
        "clip",         "dropout",    "seed",         "dtype"};
    struct buf yaml = {0};
    char *path = path_join(run, "config.yaml");
    int rc = path ? 0 : err_nomem(err, 0);
    if (rc == 0 && file_kind(path) == FILE_REGULAR) rc = file_read(path, YAML_BYTES, &yaml, err);
    free(path);
    if (rc == 0 && yaml.n && !buf_cstr(&yaml)) rc = err_nomem(err, yaml.n);
    if (rc == 0 && yaml.n)
        rc = buf_str(out, "\n## Training options\n\n| option | value |\n|--|--|\n", err);
    for (size_t i = 0; rc == 0 && yaml.n && i < sizeof names / sizeof *names; i++) {
        char key[64];
        snprintf(key, sizeof key, "\n  %s: ", names[i]);
        const char *at = strstr(yaml.v, key), *v = at ? at + strlen(key) : NULL;
        if (v && strncmp(v, "null", 4))
            rc = buf_printf(out, err, "| %s | %.*s |\n", names[i], (int)strcspn(v, "\n|"), v);
    }
    buf_release(&yaml);
    return rc;
}

static int head(struct buf *out, const char *repo, uint64_t step, struct err *err) {
    int rc = buf_printf(out, err,
                        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
                        "tags:\n- gpt2\n- lory\n---\n\n%s\n\n# %s\n\n",
                        CARD_MARK, path_base(repo));
    if (rc == 0 && step)
        rc = buf_printf(out, err, "The model after %llu steps of a run that goes on.\n\n",
                        (unsigned long long)step);
    return rc;
}

int card_write(struct buf *out, const char *run, const char *model_dir, const char *repo,
               const char *revision, uint64_t step, struct err *err) {
    struct metrics_steps s = {0};
    struct metrics_evals e = {0};
    char *path = path_join(run, "metrics.jsonl");
    int rc = path ? metrics_read(path, &s, &e, err) : err_nomem(err, 0);
    const struct metrics_step *last = rc == 0 ? step_at(&s, step ? step : UINT64_MAX) : NULL;
    if (rc == 0) rc = head(out, repo, step, err);
    if (rc == 0) rc = say_shape(out, model_dir, err);
    if (rc == 0 && last)
        rc = buf_printf(out, err, " Trained for %llu steps, %.4g tokens, with Lory %s.\n",
                        (unsigned long long)last->step, (double)last->tokens, LORY_VERSION);
    if (rc == 0) rc = table(out, &s, &e, step ? step : UINT64_MAX, err);
    if (rc == 0) rc = options(out, run, err);
    if (rc == 0)
        rc = buf_printf(out, err,
                        "\n## Use\n\n```python\nfrom transformers import pipeline\n\n"
                        "generate = pipeline(\"text-generation\", \"%s\", revision=\"%s\")\n"
                        "print(generate(\"Once\")[0][\"generated_text\"])\n```\n",
                        repo, revision);
    metrics_steps_release(&s);
    metrics_evals_release(&e);
    free(path);
    return rc;
}
