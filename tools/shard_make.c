/* shard SOURCE…: documents into a folder of shards, in one pass that can be taken up again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/shard_index.h"
#include "tools/outputs.h"
#include "tools/shard_parts.h"

/* A source that bears the name of a shard, in the folder of the shards, would be removed. */
static int check_sources(const struct options *o, const struct source_list *l, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        char *dir = path_dir(l->v[i].path);
        if (!dir)
            rc = err_nomem(err, strlen(l->v[i].path));
        else if (shard_writer_makes(path_base(l->v[i].path)) && file_same(dir, o->output))
            rc = err_set(err, ERR_USAGE, "%s: holds what is read, %s; name another folder",
                         o->output, l->v[i].name);
        free(dir);
    }
    return rc;
}

/* The folder's tokenizer is made anew, too. */
static int check_output(const struct sharding *r, struct err *err) {
    const struct options *o = r->o;
    char *made = path_join(o->output, "tokenizer");
    char *read = file_kind(o->tok) == FILE_FOLDER ? strdup(o->tok) : path_dir(o->tok);
    int rc = made && read ? output_check(made, read, err) : err_nomem(err, strlen(o->tok));
    if (rc == 0) rc = check_sources(o, &r->train, err);
    if (rc == 0) rc = check_sources(o, &r->valid, err);
    free(made);
    free(read);
    return rc;
}

/* Two that wrote one folder would remove each other's files. The lock is on the folder itself:
 * nothing is left in it, and it goes with the process, however that ends. */
static int lock_output(struct sharding *r, struct err *err) {
    const char *dir = *r->o->output ? r->o->output : ".";
    int rc = file_mkdirs(dir, err);
    if (rc < 0) return rc;
    r->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0) return err_errno(err, "%s", dir);
    if (flock(r->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return 0;
    err_set(err, ERR_USAGE, "%s: another shard is writing this folder", dir);
    return err_hint(err, "wait for it, or name another folder with -o");
}

static int open_writer(struct sharding *r, struct err *err) {
    char digest[SHA256_HEX];
    struct options *o = r->o;
    struct shard_opts s = {.seq_len = o->seq_len,
                           .shard_tokens = o->shard_tokens,
                           .tokenizer_digest = digest,
                           .masked = o->prompt != NULL};
    int rc = shard_eot_parse(&s.eot, o->eot, err);
    if (rc == 0)
        rc = tokenizer_open(&r->tokenizer, o->tok, &(struct tokenizer_open_opts){.log = &r->t->log},
                            err);
    if (rc == 0) rc = tokenizer_digest(r->tokenizer, digest, err);
    if (rc < 0) return rc;
    s.vocab = tokenizer_size(r->tokenizer);
    s.eot_id = tokenizer_eot(r->tokenizer);
    r->e.eot = s.eot != SHARD_EOT_NONE;
    if (r->e.eot && s.eot_id == TOKENIZER_NO_ID)
        return err_set(err, ERR_USAGE,
                       "%s: has no token %s, and names no eos_token; add one, or use --eot none",
                       o->tok, TOKENIZER_EOT);
    if (r->e.eot && tokenizer_named(r->tokenizer, TOKENIZER_EOT) == TOKENIZER_NO_ID)
        log_info(&r->t->log, "documents are told apart by %s, the eos_token (%u)",
                 tokenizer_settings(r->tokenizer)->eos, s.eot_id);
    rc = lock_output(r, err);
    if (rc == 0) rc = sharding_take_up(r, &s, err);
    r->e.train.masked = r->e.valid.masked = s.masked;
    if (rc != 0) return rc < 0 ? rc : 0;
    return shard_writer_open(&r->writer, o->output, &s, err);
}

/* ---- what index.json records of the run */

static void note_files(cJSON *to, const struct source_list *list, const struct shard_done *of,
                       const struct shard_share *shares, const char *split, bool *ok) {
    for (size_t i = 0; i < list->n; i++) {
        const struct source_file *v = &list->v[i];
        cJSON *f = cJSON_CreateObject();
        json_put_str(f, "name", v->name, ok);
        if (v->bytes) json_put_number(f, "bytes", (double)v->bytes, ok);
        if (v->etag) json_put_str(f, "etag", v->etag, ok);
        if (v->sha256) json_put_str(f, "sha256", v->sha256, ok);
        json_put_str(f, "split", split, ok);
        if (shares && shares[i].share < 1) json_put_number(f, "share", shares[i].share, ok);
        json_put_number(f, "documents", (double)of->v[i].documents, ok);
        json_put_number(f, "text_bytes", (double)of->v[i].text_bytes, ok);
        json_put_item(to, NULL, f, ok);
    }
}

/* Options that decide what is in the shards; threads do not. */
static cJSON *options_tree(const struct sharding *r, bool *ok) {
    const struct options *o = r->o;
    const struct docs_opts *d = &r->in->opts;
    cJSON *v = cJSON_CreateObject();
    json_put_number(v, "seed", (double)r->t->seed, ok);
    json_put_number(v, "valid_fraction", r->fraction, ok);
    json_put_number(v, "shard_tokens", (double)o->shard_tokens, ok);
    json_put_number(v, "shuffle_buffer", (double)d->shuffle_buffer, ok);
    json_put_number(v, "skip", (double)d->skip, ok);
    json_put_number(v, "take", (double)d->take, ok);
    json_put_str(v, "format", d->format, ok);
    json_put_str(v, "on_error", d->on_error, ok);
    if (d->field) json_put_str(v, "field", d->field, ok);
    if (o->prompt) json_put_str(v, "prompt", o->prompt, ok);
    if (o->docs) json_put_number(v, "docs", (double)o->docs, ok);
    if (o->max_tokens) json_put_number(v, "max_tokens", (double)o->max_tokens, ok);
    if (o->weights) json_put_str(v, "weights", o->weights, ok);
    return v;
}

/* Takes the tree, which is not `ok` if a part of it is missing. */
static int note(struct sharding *r, const char *key, cJSON *tree, bool ok, struct err *err) {
    struct buf b = {0};
    int rc = tree && ok ? json_text(&b, tree, false, err) : err_nomem(err, 0);
    if (rc == 0) rc = buf_cstr(&b) ? shard_writer_note(r->writer, key, b.v, err) : ERR_NOMEM;
    cJSON_Delete(tree);
    buf_release(&b);
    return rc;
}

static int note_run(struct sharding *r, struct err *err) {
    cJSON *files = cJSON_CreateArray();
    const struct shard_done *of = r->progress.lists;
    bool ok = true;
    note_files(files, &r->train, &of[0], r->shares, r->fraction > 0 ? "by hash" : "train", &ok);
    note_files(files, &r->valid, &of[1], NULL, "valid", &ok);
    int rc = note(r, "sources", files, ok, err);
    if (rc < 0) return rc;
    cJSON *options = options_tree(r, &ok);
    return note(r, "options", options, ok, err);
}

/* ---- the run */

static int encode_list(struct sharding *r, int which, struct err *err) {
    struct shard_done *done = &r->progress.lists[which];
    r->e.split = which ? "valid" : "train";
    r->e.files = done->v;
    r->e.first = done->done;
    r->e.shares = which ? NULL : r->shares;
    r->e.valid_fraction = which ? 0 : r->fraction;
    r->e.max_documents = which ? 0 : r->o->docs;
    r->e.max_tokens = which ? 0 : r->o->max_tokens;
    r->e.full = false;
    /* Found once a list: what a list was begun with, it goes on with. */
    bool begun = done->done > 0 && done->done < done->n && r->progress.field;
    r->e.docs.field = begun ? r->progress.field : r->in->opts.field;
    sharding_space_begin(r);
    int rc = shard_encode(&r->e, which ? &r->valid : &r->train, err);
    done->done = done->n;
    return rc;
}

static int encode_all(struct sharding *r, struct err *err) {
    r->e.writer = r->writer;
    r->e.tokenizer = r->tokenizer;
    r->e.docs = r->in->opts;
    r->e.seed = r->t->seed;
    r->e.log = &r->t->log;
    r->e.file_done = r->resumable ? sharding_file_done : NULL;
    r->e.batch_done = sharding_space;
    r->e.ctx = r;
    int rc = encode_list(r, 0, err);
    if (rc < 0) return rc;
    /* The validation set is whole and in its own order, whatever part of the rest is asked for. */
    r->e.docs.skip = r->e.docs.take = r->e.docs.shuffle_buffer = 0;
    r->e.docs.order = "source";
    return encode_list(r, 1, err);
}

/* The tokenizer goes along, so that a trainer can put it beside its checkpoints. */
static int finish(struct sharding *r, struct err *err) {
    char *dir = path_join(r->o->output, "tokenizer");
    if (!dir) return err_nomem(err, 0);
    int rc = note_run(r, err);
    if (rc == 0) rc = file_remove(dir, err); /* what a run that was ended may have left there */
    if (rc == 0) rc = tokenizer_save_beside_model(r->tokenizer, dir, err);
    struct shard_writer *w = r->writer;
    if (rc == 0) {
        r->writer = NULL; /* finish frees it in any case */
        rc = shard_writer_finish(w, err);
    }
    if (rc < 0 && !r->saved) file_remove(dir, NULL);
    free(dir);
    return rc;
}

static int report(struct sharding *r) {
    struct tool *t = r->t;
    uint64_t bytes = r->e.train.text_bytes + r->e.valid.text_bytes;
    double rate = r->seconds > 0 ? (double)bytes / 1e6 / r->seconds : 0;
    uint64_t bad = 0;
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < r->progress.lists[i].n; k++)
            bad += r->progress.lists[i].v[k].bad_records;
    if (bad) log_warn(&t->log, "%llu bad records left out", (unsigned long long)bad);
    if (r->e.odd_prompts)
        log_warn(&t->log,
                 "%llu documents do not begin with the tokens of their prompt alone: characters "
                 "merge across the seam; end prompts with a line's end, or begin completions with "
                 "a blank",
                 (unsigned long long)r->e.odd_prompts);
    if (!r->e.valid.documents) log_warn(&t->log, "the validation split is empty");
    if (t->json) {
        cJSON *o = cJSON_CreateObject(), *splits = cJSON_AddObjectToObject(o, "splits");
        cJSON_AddItemToObject(splits, "train", shard_counts_tree(&r->e.train));
        cJSON_AddItemToObject(splits, "valid", shard_counts_tree(&r->e.valid));
        cJSON_AddNumberToObject(o, "bad_records", (double)bad);
        cJSON_AddNumberToObject(o, "seconds", r->seconds);
        cJSON_AddNumberToObject(o, "mb_per_second", rate);
        return tool_print_json(t, o);
    }
    if (t->quiet) return 0;
    shard_print_counts(t, "train", &r->e.train);
    shard_print_counts(t, "valid", &r->e.valid);
    fprintf(tool_out(t), "%s: %.1f s, %.1f MB/s of text\n", r->o->output, r->seconds, rate);
    return 0;
}

static void release(struct sharding *r) {
    shard_encode_release(&r->e);
    shard_progress_release(&r->progress);
    tokenizer_free(r->tokenizer);
    source_list_release(&r->train);
    source_list_release(&r->valid);
    free(r->progress.lists[0].v);
    free(r->progress.lists[1].v);
    free(r->shares);
    free(r->weight);
    if (r->lock >= 0) close(r->lock);
}

static int run_shard(struct tool *t, struct options *o, struct input *in) {
    struct sharding r = {.t = t, .o = o, .in = in, .lock = -1};
    double begun = sharding_now();
    signals_install();
    int rc = sharding_sources(&r, &t->err);
    if (rc == 0) rc = check_output(&r, &t->err);
    if (rc == 0) rc = open_writer(&r, &t->err);
    if (rc == 0) rc = encode_all(&r, &t->err);
    if (rc == 0 && !r.e.train.documents)
        rc = err_set(&t->err, ERR_DATA, "the sources hold no documents to train on");
    if (rc == 0) rc = finish(&r, &t->err);
    r.seconds = sharding_now() - begun;
    if (rc == 0) rc = report(&r);
    if (rc < 0 && r.saved) {
        shard_writer_keep(r.writer);
        log_info(&t->log, "the same command goes on from here");
    } else
        shard_writer_abort(r.writer);
    release(&r);
    return rc;
}

static const char shard_text[] =
    "Reads documents, encodes them and writes folders of token shards in the format of llm.c, with "
    "an index of documents beside each shard and an index.json written last.\n"
    "Which documents are the validation set: those of --valid; else --valid-fraction of all, "
    "chosen "
    "by a keyed hash of their text, so that equal documents are never in both sets; else the last "
    "of several files; of a single file, 1 % by the same hash.";
static const char shard_examples[] =
    "shard --seq-len 1024\tcorpus/ and tok/ into shards/\n"
    "shard corpus/ --valid held-out.jsonl.zst -o shards/\ta validation set of its own\n"
    "shard hf://datasets/NS/NAME/data/*.json.gz -t tok/\tstraight from the Hub\n"
    "shard sft.jsonl --prompt prompt --eot after\tprompts and completions; a trainer learns the "
    "completions\n"
    "shard info shards/\twhat is in it\n"
    "shard verify shards/\tcheck every byte against index.json";

int shard_make(int argc, char **argv) {
    struct options o = {.tok = "tok",
                        .output = "shards",
                        .eot = "after",
                        .seq_len = 1024,
                        .shard_tokens = 100000000,
                        .valid_fraction = 0.01};
    struct input in = {.opts = docs_defaults};
    struct opt opts[20 + INPUT_ROWS] = {
        {"Shards", .type = OPT_GROUP},
        {"seq-len", 0, OPT_U64, &o.seq_len, "N", "tokens in a training sequence, for the trainer",
         .min = 1, .max = 1 << 24},
        {"tokenizer", 't', OPT_STR, &o.tok, "TOK", "the tokenizer: a folder or a file"},
        TOOL_OUTPUT(&o.output, "folder to write"),
        {"eot", 0, OPT_CHOICE, &o.eot, "WHERE", "where <|endoftext|> stands", "after|before|none"},
        {"shard-tokens", 0, OPT_U64, &o.shard_tokens, "N",
         "cut shards at about N tokens, at a document's end", .min = 1, .max = INT32_MAX},
        {"docs", 0, OPT_U64, &o.docs, "N", "stop after N documents to train on (0: all)",
         .max = 1e18},
        {"max-tokens", 0, OPT_U64, &o.max_tokens, "N",
         "stop at the end of the document that brings the training set to N tokens (0: all)",
         .max = 1e18},
        {"weights", 0, OPT_STR, &o.weights, "W,W…",
         "how often each SOURCE is taken: 2 twice, 0.3 three documents in ten, by hash"},
        {"prompt", 0, OPT_STR, &o.prompt, "NAME",
         "field with a prompt, of which nothing is to be learnt; --field (completion) follows it"},
        {"force", 0, OPT_FLAG, &o.force, NULL,
         "go on even where the disk will not hold the shards"},
        {"Validation", .type = OPT_GROUP},
        {"valid", 0, OPT_STR, &o.valid, "SOURCE", "the validation set"},
        {"valid-fraction", 0, OPT_F64, &o.valid_fraction, "F",
         "share of the documents for validation, by keyed hash; 0: none", .min = 0, .max = 0.5},
        {"Reading", .type = OPT_GROUP},
    };
    enum { FRACTION = 13, OWN = 15 };
    docs_option_rows(opts + OWN, INPUT_ROWS, &in.opts);
    in.opts.text_only = true;
    struct program p = {.name = "shard",
                        .summary = "write token shards for training",
                        .usage = "[SOURCE…] --seq-len N [-t tok/] [-o shards/] [--valid SOURCE]\n"
                                 "info PATH\nverify PATH\nexport FORMAT PATH -o OUT",
                        .text = shard_text,
                        .examples = shard_examples,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    o.fraction_given = opts[FRACTION].given;
    if (rc == 0) rc = run_shard(&t, &o, &in);
    input_release(&in);
    return tool_end(&t, rc);
}
