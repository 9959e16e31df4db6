/* What is told of a run of bpe-train: training.json beside the vocabulary, which comes last, and
 * the result on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/file.h"
#include "base/json.h"
#include "base/version.h"
#include "tools/bpe-train_parts.h"

/* ------------------------------------------------------------------ training.json */

static int hash_file(void *ctx, size_t i, int thread, struct err *err) {
    struct bpe_run *r = ctx;
    const char *path = r->in->list.v[i].path;
    (void)thread;
    return file_kind(path) == FILE_REGULAR ? xxh128_file(path, r->hash[i], err) : 0;
}

static int add_counts_files(cJSON *list, const struct strs *files, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < files->n && rc == 0; i++) {
        char hash[XXH128_HEX];
        uint64_t bytes;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", files->v[i]);
        if (file_kind(files->v[i]) != FILE_REGULAR) continue;
        rc = file_bytes(files->v[i], &bytes, err);
        if (rc == 0) rc = xxh128_file(files->v[i], hash, err);
        if (rc < 0) return rc;
        cJSON_AddNumberToObject(o, "bytes", (double)bytes);
        cJSON_AddStringToObject(o, "xxh128", hash);
    }
    return rc;
}

static int add_sources(cJSON *tree, const struct bpe_run *r, struct err *err) {
    cJSON *list = cJSON_AddArrayToObject(tree, "sources");
    for (size_t i = 0; i < r->in->list.n; i++) {
        const struct source_file *f = &r->in->list.v[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", f->name);
        if (f->bytes) cJSON_AddNumberToObject(o, "bytes", (double)f->bytes);
        if (r->hash && *r->hash[i]) cJSON_AddStringToObject(o, "xxh128", r->hash[i]);
        if (f->sha256) cJSON_AddStringToObject(o, "sha256", f->sha256);
        if (f->etag) cJSON_AddStringToObject(o, "etag", f->etag);
    }
    return add_counts_files(list, &r->o->from_counts, err);
}

static void add_options(cJSON *tree, const struct bpe_run *r, const struct made *m) {
    const struct options *o = r->o;
    cJSON *t = cJSON_AddObjectToObject(tree, "options");
    cJSON_AddNumberToObject(t, "vocab", m->vocab);
    cJSON *s = cJSON_AddArrayToObject(t, "special");
    for (size_t i = 0; i < r->specials.n; i++)
        cJSON_AddItemToArray(s, cJSON_CreateString(r->specials.v[i]));
    cJSON_AddNumberToObject(t, "min_frequency", (double)o->min_frequency);
    cJSON_AddNumberToObject(t, "max_token_length", (double)o->max_token_length);
    cJSON_AddStringToObject(t, "mode", o->mode);
    cJSON_AddStringToObject(t, "tie", o->tie);
    cJSON_AddStringToObject(t, "initial_alphabet", o->alphabet);
    cJSON_AddNumberToObject(t, "limit_alphabet", (double)o->limit_alphabet);
    cJSON_AddStringToObject(t, "pattern", tokenizer_pattern(m->tokenizer));
    if (o->like) cJSON_AddStringToObject(t, "like", o->like);
    if (o->extend) cJSON_AddStringToObject(t, "extend", o->extend);
    const struct docs_opts *d = &r->in->opts;
    if (d->field) cJSON_AddStringToObject(t, "field", d->field);
    if (d->skip) cJSON_AddNumberToObject(t, "skip", (double)d->skip);
    if (d->take) cJSON_AddNumberToObject(t, "take", (double)d->take);
}

static void add_counts(cJSON *tree, const struct bpe_run *r) {
    cJSON_AddNumberToObject(tree, "texts", (double)r->totals.documents);
    cJSON_AddNumberToObject(tree, "text_bytes", (double)r->totals.text_bytes);
    cJSON_AddNumberToObject(tree, "bad_records", (double)r->totals.bad_records);
    cJSON_AddNumberToObject(tree, "words", (double)r->pieces);
    cJSON_AddNumberToObject(tree, "distinct_words", (double)r->distinct);
}

static void add_result(cJSON *tree, const struct made *m) {
    cJSON_AddNumberToObject(tree, "vocab", tokenizer_size(m->tokenizer));
    cJSON_AddNumberToObject(tree, "merges", (double)m->result.merges);
    cJSON_AddNumberToObject(tree, "last_count", (double)m->result.last_count);
}

static int save_training(struct bpe_run *r, const struct made *m, struct err *err) {
    char date[32], digest[SHA256_HEX];
    time_t t = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    cJSON *tree = cJSON_CreateObject();
    char *path = path_join(m->folder, TRAINING);
    int rc = tree && path ? 0 : err_nomem(err, sizeof *tree);
    if (rc == 0) rc = tokenizer_digest(m->tokenizer, digest, err);
    if (rc == 0) {
        cJSON_AddStringToObject(tree, "version", LORY_VERSION);
        cJSON_AddStringToObject(tree, "time", date);
        cJSON_AddNumberToObject(tree, "seconds", r->seconds);
        cJSON_AddStringToObject(tree, "tokenizer_digest", digest);
        rc = add_sources(tree, r, err);
        add_options(tree, r, m);
        cJSON *counts = cJSON_AddObjectToObject(tree, "counts");
        add_counts(counts, r);
        add_result(counts, m);
        if (rc == 0) rc = tool_json_whole(tree, err);
        if (rc == 0) rc = json_save(path, tree, true, err);
    }
    cJSON_Delete(tree);
    free(path);
    return rc;
}

int bpe_hash(struct bpe_run *r, struct err *err) {
    if (!r->in->list.n) return 0;
    r->hash = mem_array(r->in->list.n, sizeof *r->hash);
    if (!r->hash) return err_nomem(err, r->in->list.n * sizeof *r->hash);
    return pool_run(r->pool, r->in->list.n, hash_file, r, err);
}

int bpe_record(struct bpe_run *r, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < r->n_made && rc == 0; i++) rc = save_training(r, &r->made[i], err);
    return rc;
}

/* ------------------------------------------------------------------ stdout */

static int report_json(struct bpe_run *r) {
    cJSON *o = cJSON_CreateObject();
    if (!o) return err_nomem(&r->t->err, sizeof *o);
    if (r->n_made == 1) cJSON_AddStringToObject(o, "output", r->made->folder);
    if (r->o->counts_out) cJSON_AddStringToObject(o, "counts_out", r->o->counts_out);
    add_counts(o, r);
    if (r->n_made == 1) add_result(o, r->made);
    cJSON *list = r->n_made > 1 ? cJSON_AddArrayToObject(o, "vocabularies") : NULL;
    for (size_t i = 0; list && i < r->n_made; i++) {
        cJSON *m = cJSON_CreateObject();
        cJSON_AddItemToArray(list, m);
        cJSON_AddStringToObject(m, "output", r->made[i].folder);
        add_result(m, &r->made[i]);
    }
    cJSON_AddNumberToObject(o, "seconds", r->seconds);
    return tool_print_json(r->t, o);
}

int bpe_report(struct bpe_run *r) {
    if (r->t->json) return report_json(r);
    if (r->t->quiet) return 0;
    FILE *out = tool_out(r->t);
    for (size_t i = 0; i < r->n_made || i == 0; i++) {
        const struct made *m = r->n_made ? &r->made[i] : NULL;
        fprintf(out, "%s: %llu texts, %.1f MB, %llu distinct words",
                m ? m->folder : r->o->counts_out, (unsigned long long)r->totals.documents,
                (double)r->totals.text_bytes / 1e6, (unsigned long long)r->distinct);
        if (m)
            fprintf(out, ", %llu merges, %u tokens", (unsigned long long)m->result.merges,
                    tokenizer_size(m->tokenizer));
        fprintf(out, ", %.1f s\n", r->seconds);
    }
    return 0;
}
