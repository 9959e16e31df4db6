/* corpus tokenize: a column of token ids, in parallel; each input file becomes one of the same
 * name, so that splits stay what they are.
 *
 * A long record is in memory nowhere: its text comes in parts, and its line from a scratch file.
 *
 *   1st part ─▶ {"id": 7, "text": "…", "input_ids": [ 31 7     part ─▶ ,8,2,…     last ─▶ ,9]} */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/signals.h"
#include "stream/jsonl_edit.h"
#include "tokenizer/tokenizer.h"
#include "tools/corpus.h"

struct worker { /* one per thread */
    struct encoder *encoder;
    struct u32s ids;
    struct buf room;
};

/* What a batch becomes: its records, one after the other. */
struct made {
    struct buf lines;
    struct u64s ends; /* of record i in lines */
    uint64_t tokens;
};

static void made_release(void *made) {
    struct made *m = made;
    buf_release(&m->lines);
    u64s_release(&m->ends);
}

struct tokenizing {
    struct corpus_step step;
    const char *tok, *column;
    bool drop, special, folder;
    struct docs *docs;
    struct tokenizer *tokenizer;
    struct worker *workers;
    struct encode_stream *stream; /* of the text that comes in parts            */
    bool more;                    /* ids of it stand there already              */
    struct records *out;          /* of the file being written                  */
    struct records_opts ro;
    size_t common; /* bytes that all names begin with, up to a '/' */
    uint64_t tokens;
    struct corpus_report report;
    const struct log *log;
};

/* ------------------------------------------------------------------ encoding */

static int append_number(struct buf *b, uint32_t x, struct err *err) {
    char digits[12];
    int n = 0;
    do digits[sizeof digits - 1 - (size_t)n++] = (char)('0' + x % 10);
    while (x /= 10);
    return buf_append(b, digits + sizeof digits - n, (size_t)n, err);
}

/* 1,2,3 */
static int append_ids(struct buf *b, const struct u32s *ids, struct err *err) {
    int rc = buf_reserve(b, 12 * ids->n + 2, err);
    for (size_t i = 0; rc == 0 && i < ids->n; i++) {
        if (i) rc = buf_char(b, ',', err);
        if (rc == 0) rc = append_number(b, ids->v[i], err);
    }
    return rc;
}

static enum tokenizer_special allowed(const struct tokenizing *z) {
    return z->special ? TOKENIZER_SPECIAL_ALL : TOKENIZER_SPECIAL_NONE;
}

/* The names of members that go: the column's, and, with --drop-text, the text's. Returns how
 * many. */
static size_t left_out(const struct tokenizing *z, const char *ret[2]) {
    ret[0] = z->column;
    ret[1] = docs_field(z->docs);
    if (!ret[1]) ret[1] = "text"; /* of text files */
    return z->drop ? 2 : 1;
}

/* What stands between the record and its ids; `first`: there is nothing but the brace. */
static int append_key(const struct tokenizing *z, struct buf *b, bool first, struct err *err) {
    return buf_printf(b, err, "%s\"%s\": [", first ? "" : ", ", z->column);
}

static int one(struct tokenizing *z, struct worker *w, struct made *m, const struct doc *d,
               struct err *err) {
    const char *line, *without[2];
    size_t n, from = m->lines.n, n_without = left_out(z, without);
    int rc = corpus_record(d, &w->room, &line, &n, err);
    if (rc == 0) rc = jsonl_open(line, n, without, n_without, &m->lines, err);
    if (rc == 0) rc = append_key(z, &m->lines, m->lines.n == from + 1, err);
    if (rc == 0) rc = append_ids(&m->lines, &w->ids, err);
    return rc < 0 ? rc : buf_str(&m->lines, "]}", err);
}

/* A record, or the ids of a part of a long one. */
static int encode_doc(struct tokenizing *z, struct worker *w, struct made *m, const struct doc *d,
                      struct err *err) {
    const struct text_part part = doc_part(d);
    w->ids.n = 0;
    int rc = encode_part(w->encoder, z->stream, &part, allowed(z), &w->ids, err);
    m->tokens += w->ids.n;
    if (rc == 0) rc = d->far ? append_ids(&m->lines, &w->ids, err) : one(z, w, m, d, err);
    return rc < 0 ? rc : u64s_push(&m->ends, m->lines.n, err);
}

static int encode_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct tokenizing *z = ctx;
    struct worker *w = &z->workers[thread];
    struct made *m = b->made;
    int rc = 0;
    m->lines.n = m->ends.n = 0;
    m->tokens = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) rc = encode_doc(z, w, m, &b->v[i], err);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* What all names of the sources have in common in front, up to and with a '/'. */
static size_t common_prefix(const struct source_list *l) {
    const char *a = l->n ? l->v[0].name : "";
    size_t n = (size_t)(path_base(a) - a);
    for (size_t i = 1; i < l->n; i++) {
        size_t k = 0;
        while (k < n && l->v[i].name[k] == a[k]) k++;
        while (k && a[k - 1] != '/') k--;
        n = k;
    }
    return n;
}

/* OUT/ and the rest of the name, with an ending of compressed JSON. */
static int output_name(const struct tokenizing *z, uint32_t file, struct buf *to, struct err *err) {
    const char *name = z->step.in.list.v[file].name + z->common;
    if (!strcmp(name, "-")) name = "stdin";
    bool packed = path_ends(name, ".gz") || path_ends(name, ".zst");
    bool json = path_ends(name, ".json") || path_ends(name, ".jsonl") || path_ends(name, ".ndjson");
    const char *more = packed && strstr(name, ".json") ? "" : json ? ".gz" : ".jsonl.gz";
    int rc = buf_printf(to, err, "%s/%s%s", z->step.output, name, more);
    if (rc == 0 && !buf_cstr(to)) rc = err_nomem(err, to->n);
    if (rc == 0 && strstr(to->v, "/../"))
        rc = err_set(err, ERR_USAGE, "%s: leads out of the output folder", to->v);
    return rc;
}

/* Nothing is written into a folder that files are read from. */
static int check_folder(const struct tokenizing *z, const char *name, struct err *err) {
    char *dir = path_dir(name);
    int rc = !dir                            ? err_nomem(err, strlen(name))
             : file_kind(dir) == FILE_FOLDER ? input_check_output(&z->step.in.list, dir, err)
                                             : 0;
    free(dir);
    return rc;
}

/* Two sources in one file would be the second alone. */
static int check_names(const struct tokenizing *z, struct err *err) {
    struct strs names = {0};
    struct buf name = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < z->step.in.list.n; i++) {
        name.n = 0;
        rc = output_name(z, (uint32_t)i, &name, err);
        if (rc == 0) rc = check_folder(z, name.v, err);
        if (rc == 0) rc = strs_push(&names, name.v, err);
    }
    if (rc == 0) strs_sort(names.v, names.n);
    for (size_t i = 1; rc == 0 && i < names.n; i++)
        if (!strcmp(names.v[i - 1], names.v[i]))
            rc = err_set(err, ERR_USAGE, "%s: two sources would be written there", names.v[i]);
    buf_release(&name);
    strs_release(&names);
    return rc;
}

static int check_outputs(const struct tokenizing *z, struct err *err) {
    const struct corpus_step *s = &z->step;
    int rc = z->folder ? check_names(z, err) : input_check_output(&s->in.list, s->output, err);
    if (rc == 0) rc = input_check_tokenizer(z->tok, s->output, err);
    if (rc == 0 && s->report) rc = input_check_output(&s->in.list, s->report, err);
    return rc == 0 && s->report ? input_check_tokenizer(z->tok, s->report, err) : rc;
}

static int open_out(struct tokenizing *z, uint32_t file, struct err *err) {
    struct buf name = {0};
    int rc = z->folder ? output_name(z, file, &name, err) : buf_str(&name, z->step.output, err);
    if (rc == 0 && !buf_cstr(&name)) rc = err_nomem(err, name.n);
    char *dir = rc == 0 && z->folder ? path_dir(name.v) : NULL;
    if (dir) rc = file_mkdirs(dir, err);
    if (rc == 0) rc = records_open(&z->out, name.v, &z->ro, err);
    free(dir);
    buf_release(&name);
    return rc;
}

static int end_out(struct tokenizing *z, struct err *err) {
    struct records *out = z->out;
    z->out = NULL;
    return out ? records_commit(out, err) : 0;
}

/* {"text": … of a text file, unless that is left out. */
static int open_text(struct tokenizing *z, const struct doc *d, const char *const *without,
                     size_t n_without, struct err *err) {
    static const char key[] = "{\"text\": ";
    for (size_t i = 0; i < n_without; i++)
        if (!strcmp(without[i], "text")) return records_put(z->out, "{", 1, err);
    int rc = records_put(z->out, key, sizeof key - 1, err);
    return rc < 0 ? rc : docs_far_quoted(d, corpus_put, z->out, err);
}

/* The record of a text that comes in parts, or in one of its own, up to its ids. */
static int begin_far(struct tokenizing *z, const struct doc *d, struct err *err) {
    const char *line, *without[2];
    size_t n, n_without = left_out(z, without);
    uint64_t from = records_bytes(z->out);
    struct buf key = {0};
    int rc = docs_far_map(d, &line, &n, err);
    if (rc == 0)
        rc = line ? jsonl_open_mapped(line, n, without, n_without, corpus_put, z->out, err)
                  : open_text(z, d, without, n_without, err);
    docs_far_unmap(d, line);
    if (rc == 0) rc = append_key(z, &key, records_bytes(z->out) == from + 1, err);
    if (rc == 0) rc = records_put(z->out, key.v, key.n, err);
    buf_release(&key);
    z->more = false;
    return rc;
}

static int write_part(struct tokenizing *z, const struct doc *d, const char *ids, size_t n,
                      struct err *err) {
    int rc = d->continues ? 0 : begin_far(z, d, err);
    if (rc == 0 && n && z->more) rc = records_put(z->out, ",", 1, err);
    if (rc == 0) rc = records_put(z->out, ids, n, err);
    z->more |= n > 0;
    if (rc < 0 || d->goes_on) return rc;
    rc = records_put(z->out, "]}", 2, err);
    return rc < 0 ? rc : records_end(z->out, err);
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct tokenizing *z = ctx;
    const struct made *m = b->made;
    uint64_t from = 0;
    (void)thread;
    int rc = z->out ? 0 : open_out(z, b->file, err);
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        size_t n = m->ends.v[i] - from;
        rc = d->far ? write_part(z, d, m->lines.v + from, n, err)
                    : records_add(z->out, m->lines.v + from, n, err);
        from = m->ends.v[i];
        z->report.out[0].documents += !d->goes_on;
        z->report.out[0].text_bytes += d->n;
    }
    z->tokens += m->tokens;
    if (rc == 0 && z->folder && b->last_of_file) rc = end_out(z, err);
    return rc < 0 ? rc : corpus_tell(z->docs, z->log, "tokenizing", err);
}

/* ------------------------------------------------------------------ the run */

static int begin(struct tokenizing *z, struct tool *t) {
    int threads = tool_threads(t);
    z->log = &t->log;
    z->ro.threads = threads;
    z->folder = records_is_folder(z->step.output);
    z->report.out[0].name = "out";
    z->report.n_out = 1;
    int rc = corpus_step_check(&z->step, t);
    if (rc == 0 && strpbrk(z->column, "\"\\"))
        rc = err_set(&t->err, ERR_USAGE, "--column %s: no quotes in a name", z->column);
    if (rc == 0)
        rc = tokenizer_open(&z->tokenizer, z->tok, &(struct tokenizer_open_opts){.log = &t->log},
                            &t->err);
    if (rc == 0) rc = input_resolve(&z->step.in, t, "corpus");
    if (rc == 0 && z->folder && z->step.in.opts.shuffle_buffer)
        rc = err_set(&t->err, ERR_USAGE, "shuffled records go to one file: -o FILE");
    z->common = common_prefix(&z->step.in.list);
    if (rc == 0) rc = check_outputs(z, &t->err);
    z->workers = mem_array((size_t)threads, sizeof *z->workers);
    if (rc == 0 && !z->workers) rc = err_nomem(&t->err, (size_t)threads * sizeof *z->workers);
    for (int i = 0; rc == 0 && i < threads; i++)
        rc = encoder_new(&z->workers[i].encoder, z->tokenizer, &t->err);
    if (rc == 0) rc = encode_stream_new(&z->stream, z->tokenizer, &t->err);
    struct docs_opts *o = &z->step.in.opts;
    bool cuts = rc == 0 && tokenizer_cuts(z->tokenizer, allowed(z));
    o->cut_anywhere = rc == 0 && tokenizer_streams(z->tokenizer);
    o->cut_loose = !cuts;
    o->cut_texts = o->cut_records = cuts || o->cut_anywhere;
    o->see_whole = true;
    return rc < 0 ? rc : docs_open(&z->docs, &z->step.in.list, &z->step.in.opts, &t->err);
}

static void end(struct tokenizing *z, int threads) {
    for (int i = 0; z->workers && i < threads; i++) {
        struct worker *w = &z->workers[i];
        encoder_free(w->encoder);
        u32s_release(&w->ids);
        buf_release(&w->room);
    }
    free(z->workers);
    encode_stream_free(z->stream);
    tokenizer_free(z->tokenizer);
}

static int tokenize(struct tokenizing *z, struct tool *t) {
    struct docs_totals in = {0};
    const struct docs_made made = {sizeof(struct made), made_release};
    signals_install();
    int rc = begin(z, t);
    if (rc == 0)
        rc = docs_run_ahead(z->docs, z->step.in.opts.threads, encode_batch, write_batch, &made, z,
                            &t->err);
    if (rc == 0)
        rc = end_out(z, &t->err);
    else
        records_abort(z->out);
    if (z->docs) docs_totals(z->docs, &in);
    int closed = docs_close(z->docs, rc == 0 ? &t->err : NULL);
    if (rc == 0) rc = closed;
    if (rc == 0) {
        z->report.more = cJSON_CreateObject();
        cJSON_AddNumberToObject(z->report.more, "tokens", (double)z->tokens);
        rc = corpus_report_show(&z->report, &z->step, t, &in);
    }
    end(z, tool_threads(t));
    return rc;
}

int corpus_tokenize(int argc, char **argv) {
    struct tokenizing z = {.step = {.in = {.opts = docs_defaults}, .output = "-"},
                           .tok = "tok",
                           .column = "input_ids",
                           .report = {.step = "tokenize"}};
    struct opt rows[CORPUS_STEP_ROWS];
    struct opt opts[INPUT_ROWS + CORPUS_STEP_ROWS + 8] = {
        {"Tokens", .type = OPT_GROUP},
        {"tokenizer", 't', OPT_STR, &z.tok, "TOK", "the tokenizer: a folder or a file"},
        {"column", 0, OPT_STR, &z.column, "NAME", "the new column"},
        {"drop-text", 0, OPT_FLAG, &z.drop, NULL, "leave the text out"},
        {"allow-special", 0, OPT_FLAG, &z.special, NULL,
         "the text of special tokens in a document becomes these tokens"},
    };
    size_t n = 5, given = corpus_step_rows(rows, &z.step);
    for (size_t i = 0; i < given; i++)
        if (strcmp(rows[i].name, "per-file")) opts[n++] = rows[i];
    opts[n++] = (struct opt){.name = "Reading", .type = OPT_GROUP};
    docs_option_rows(opts + n, INPUT_ROWS, &z.step.in.opts);
    struct program p = {
        .name = "corpus tokenize",
        .summary = "add a column of token ids",
        .usage = "[SOURCE…] [-t tok/] [-o FILE|DIR/]",
        .text = "Every record gets the ids of its text as input_ids, in place of a column of that "
                "name. Into a folder, each input file becomes a file of its name, so that splits "
                "stay as they are; a name that is not of compressed JSON gets .gz or .jsonl.gz "
                "behind it.",
        .examples = "corpus tokenize clean/ -t tok/ -o tokenized/\tas `map` with a tokenizer does",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = tokenize(&z, &t);
    input_release(&z.step.in);
    return tool_end(&t, rc);
}
