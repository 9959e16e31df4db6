/* corpus split: a corpus into named parts, by a keyed hash or evenly within the values of a field.
 *
 *   --by text     u = hash(seed, text)             equal texts stay together; new files move none
 *   --by file     u = hash(seed, name of the file)  whole files
 *   --by FIELD    u = hash(seed, value)            all records of a repository on one side
 *   --stratify F  u = fraction(hash(seed, value) + p 0.618…), p the record's number among those of
 *                 its value: within each value the shares are kept to a record or two; a text that
 *                 was there already goes where it went
 *
 *   u ──▶ [ test 0.05 | validation 0.1 | ........ train ........ ] */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/signals.h"
#include "stream/jsonl_edit.h"
#include "tools/corpus.h"

enum { PARTS_MAX = 16 };

struct split_part {
    char name[64];
    double share; /* of the last: what is left */
    struct records *out;
};

/* Of --stratify, by hash: values with the number of texts seen, texts with their place. */
struct table {
    struct entry {
        uint64_t key, n; /* n 0: free */
    } * v;
    size_t n, cap;
};

struct splitting {
    struct corpus_step step;
    struct strs shares;
    const char *by, *stratify, *rest;
    struct split_part parts[PARTS_MAX];
    size_t n;
    struct docs *docs;
    struct table strata, texts;
    struct corpus_report report;
    struct buf room;
    uint64_t seed;
    const struct log *log;
};

/* ------------------------------------------------------------------ which part */

static double unit(uint64_t hash) {
    return (double)(hash >> 11) * 0x1p-53;
}

/* The member of a line, which may be `mapped`, as it is written: 1, 0 if it is not there, or a
 * negative code. */
static int member(const char *line, size_t line_n, bool mapped, const char *field, struct buf *room,
                  struct jsonl_member *ret, struct err *err) {
    size_t at = 0, n = strlen(field), key_n;
    const char *key;
    while (line && (mapped ? jsonl_next_mapped : jsonl_next)(line, line_n, &at, ret)) {
        int rc = jsonl_text(ret->key, ret->key_n, room, &key, &key_n, err);
        if (rc < 0) return rc;
        if (key_n == n && !memcmp(key, field, n)) return 1;
    }
    return 0;
}

static int hash_field(const struct splitting *s, const struct doc *d, const char *field,
                      uint32_t file, uint64_t *ret, struct err *err) {
    struct jsonl_member m;
    struct buf room = {0};
    const char *value, *line = d->line;
    size_t n, line_n = d->line_n;
    int rc = d->far ? docs_far_map(d, &line, &line_n, err) : 0;
    if (rc == 0) rc = member(line, line_n, d->far, field, &room, &m, err);
    if (rc == 0)
        rc = err_set(err, ERR_DATA, "%s:%llu: no field \"%s\" to split by",
                     s->step.in.list.v[file].name, (unsigned long long)d->line_no, field);
    else if (rc > 0 && (rc = jsonl_value(&m, &room, &value, &n, err)) == 0)
        *ret = xxh64_bytes(value, n, s->seed);
    if (d->far) docs_far_unmap(d, line);
    buf_release(&room);
    return rc;
}

static struct entry *slot(const struct table *t, uint64_t key) {
    size_t at = (size_t)key & (t->cap - 1);
    while (t->v[at].n && t->v[at].key != key) at = (at + 1) & (t->cap - 1);
    return &t->v[at];
}

static int grow(struct table *t, struct err *err) {
    struct table more = {.n = t->n, .cap = t->cap ? 2 * t->cap : 256};
    more.v = mem_array(more.cap, sizeof *more.v);
    if (!more.v) return err_nomem(err, more.cap * sizeof *more.v);
    for (size_t i = 0; i < t->cap; i++)
        if (t->v[i].n) *slot(&more, t->v[i].key) = t->v[i];
    free(t->v);
    *t = more;
    return 0;
}

/* The entry of a key; if there was none, its n is 0, and the caller must give it another. */
static int entry_of(struct table *t, uint64_t key, struct entry **ret, struct err *err) {
    int rc = 2 * t->n >= t->cap ? grow(t, err) : 0;
    if (rc < 0) return rc;
    *ret = slot(t, key);
    t->n += !(*ret)->n;
    (*ret)->key = key;
    return 0;
}

/* Counts the text among those of its value; the numbers of a value are spread over [0, 1) by the
 * golden ratio, which keeps every run of them even. */
static int stratified(struct splitting *s, const struct doc *d, uint64_t value, double *ret,
                      struct err *err) {
    struct entry *text, *of;
    uint64_t hash;
    int rc = docs_text_hash(d, s->seed, &hash, err);
    if (rc == 0) rc = entry_of(&s->texts, hash, &text, err);
    if (rc == 0 && !text->n) {
        text->n = 1; /* whatever comes, it is taken */
        rc = entry_of(&s->strata, value, &of, err);
        if (rc < 0) return rc;
        uint64_t p = of->n++;
        text->n +=
            (value + p * UINT64_C(0x9E3779B97F4A7C15)) >> 11; /* 2^64 / golden ratio; wraps */
    }
    if (rc == 0) *ret = (double)(text->n - 1) * 0x1p-53;
    return rc;
}

static int place(struct splitting *s, const struct doc *d, uint32_t file, double *ret,
                 struct err *err) {
    uint64_t hash;
    const char *name = s->step.in.list.v[file].name;
    if (s->stratify) {
        int rc = hash_field(s, d, s->stratify, file, &hash, err);
        return rc < 0 ? rc : stratified(s, d, hash, ret, err);
    }
    int rc = 0;
    if (!strcmp(s->by, "text"))
        rc = docs_text_hash(d, s->seed, &hash, err);
    else if (!strcmp(s->by, "file"))
        hash = xxh64_bytes(path_base(name), strlen(path_base(name)), s->seed);
    else
        rc = hash_field(s, d, s->by, file, &hash, err);
    if (rc == 0) *ret = unit(hash);
    return rc;
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct splitting *s = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        size_t part = 0;
        double u = 0;
        rc = place(s, &b->v[i], b->file, &u, err);
        for (; part + 1 < s->n && u >= s->parts[part].share; part++) u -= s->parts[part].share;
        if (rc == 0) rc = corpus_write(s->parts[part].out, &b->v[i], &s->room, err);
        if (rc == 0) corpus_count_add(&s->report.out[part], b->v[i].n);
    }
    return rc < 0 ? rc : corpus_tell(s->docs, s->log, "splitting", err);
}

/* ------------------------------------------------------------------ the run */

/* "validation=0.1" */
static int read_part(struct splitting *s, const char *text, double *left, struct err *err) {
    struct split_part *p = &s->parts[s->n];
    size_t n = strcspn(text, "=");
    if (!n || !text[n] || n >= sizeof p->name || strpbrk(text, "/\\") || *text == '.')
        return err_set(err, ERR_USAGE, "--split %s: wanted is NAME=SHARE", text);
    if (s->n + 2 > PARTS_MAX) return err_set(err, ERR_USAGE, "more than %d parts", PARTS_MAX);
    memcpy(p->name, text, n);
    p->name[n] = 0;
    int rc = parse_f64(text + n + 1, &p->share, err);
    if (rc < 0) return err_prefix(err, "--split %s", p->name);
    *left -= p->share;
    if (!(p->share > 0) || *left < 0)
        return err_set(err, ERR_USAGE, "--split %s: shares are above 0 and less than 1 together",
                       text);
    s->n++;
    return 0;
}

static int read_parts(struct splitting *s, struct err *err) {
    double left = 1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->shares.n; i++)
        rc = read_part(s, s->shares.v[i], &left, err);
    if (rc == 0 && !s->shares.n) rc = read_part(s, "validation=0.01", &left, err);
    if (rc < 0) return rc;
    snprintf(s->parts[s->n++].name, sizeof s->parts[0].name, "%s", s->rest);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(s->parts[i].name, s->parts[j].name))
                return err_set(err, ERR_USAGE, "two parts called %s", s->parts[i].name);
    for (size_t i = 0; i < s->n; i++) s->report.out[i].name = s->parts[i].name;
    s->report.n_out = s->n;
    return 0;
}

/* OUT/NAME/ */
static int part_folder(const struct splitting *s, size_t i, struct buf *to, struct err *err) {
    to->n = 0;
    int rc = buf_printf(to, err, "%s/%s/", s->step.output, s->parts[i].name);
    return rc < 0 ? rc : buf_cstr(to) ? 0 : err_nomem(err, to->n);
}

/* All are looked at before the first is made. */
static int open_parts(struct splitting *s, struct tool *t) {
    struct records_opts ro = {.per_file = s->step.per_file, .threads = tool_threads(t)};
    struct buf name = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        rc = part_folder(s, i, &name, &t->err);
        if (rc == 0) rc = input_check_output(&s->step.in.list, name.v, &t->err);
    }
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        rc = part_folder(s, i, &name, &t->err);
        if (rc == 0) rc = records_open(&s->parts[i].out, name.v, &ro, &t->err);
    }
    buf_release(&name);
    return rc;
}

static int check(struct splitting *s, struct err *err) {
    const struct docs_opts *d = &s->step.in.opts;
    if (!*s->step.output || !strcmp(s->step.output, "-"))
        return err_set(err, ERR_USAGE, "name the folder to write with -o");
    if (s->stratify && strcmp(s->by, "text"))
        return err_set(err, ERR_USAGE, "--by and --stratify exclude each other");
    if (!strcmp(s->by, "file") && d->shuffle_buffer)
        return err_set(err, ERR_USAGE, "--by file and --shuffle-buffer exclude each other");
    return read_parts(s, err);
}

static int split(struct splitting *s, struct tool *t) {
    struct docs_totals in = {0};
    signals_install();
    s->seed = t->seed;
    s->log = &t->log;
    int rc = check(s, &t->err);
    if (rc == 0) rc = input_resolve(&s->step.in, t, "corpus");
    if (rc == 0 && s->step.report)
        rc = input_check_output(&s->step.in.list, s->step.report, &t->err);
    docs_stay_far(&s->step.in.opts);
    if (rc == 0) rc = docs_open(&s->docs, &s->step.in.list, &s->step.in.opts, &t->err);
    if (rc == 0) rc = open_parts(s, t);
    if (rc == 0) rc = docs_run(s->docs, s->step.in.opts.threads, NULL, write_batch, s, &t->err);
    for (size_t i = 0; i < s->n; i++) {
        if (rc == 0)
            rc = records_commit(s->parts[i].out, &t->err);
        else
            records_abort(s->parts[i].out);
    }
    if (s->docs) docs_totals(s->docs, &in);
    int closed = docs_close(s->docs, rc == 0 ? &t->err : NULL);
    if (rc == 0) rc = closed;
    if (rc == 0) rc = corpus_report_show(&s->report, &s->step, t, &in);
    free(s->strata.v);
    free(s->texts.v);
    buf_release(&s->room);
    return rc;
}

static const char split_text[] =
    "Writes OUT/NAME/file-….json.gz for each part; what no --split takes is the part train. "
    "Folders "
    "of these names are the splits that `datasets` finds.\n"
    "A record's part follows from a hash of its text and --seed: the same whatever else there is, "
    "equal texts together. --by FIELD takes the field's value instead (repo_name: no repository on "
    "both sides), --by file the file's name. --stratify FIELD keeps the shares within every value "
    "of the field; equal texts stay together there, too (16 to 64 bytes of memory for each text).";

/* All but --split, which makes parts here: which split of a dataset is read is told by its path. */
static void reading_rows(struct opt *rows, struct docs_opts *o) {
    size_t n = docs_option_rows(rows, INPUT_ROWS, o), kept = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, "split")) rows[kept++] = rows[i];
    memset(rows + kept, 0, (n - kept) * sizeof *rows);
}

int corpus_split(int argc, char **argv) {
    struct splitting s = {.step = {.in = {.opts = docs_defaults}, .output = "", .per_file = 100000},
                          .by = "text",
                          .rest = "train",
                          .report = {.step = "split"}};
    struct opt opts[INPUT_ROWS + CORPUS_STEP_ROWS + 8] = {
        {"Parts", .type = OPT_GROUP},
        {"split", 0, OPT_STRS, &s.shares, "NAME=SHARE",
         "a part (repeatable; default: validation=0.01)"},
        {"rest", 0, OPT_STR, &s.rest, "NAME", "name of what is left"},
        {"by", 0, OPT_STR, &s.by, "text|file|FIELD", "what stays together"},
        {"stratify", 0, OPT_STR, &s.stratify, "FIELD", "shares hold within each value of FIELD"},
    };
    size_t n = 5;
    n += corpus_step_rows(opts + n, &s.step);
    opts[n++] = (struct opt){.name = "Reading", .type = OPT_GROUP};
    reading_rows(opts + n, &s.step.in.opts);
    struct program p = {.name = "corpus split",
                        .summary = "part a corpus into train, validation and the like",
                        .usage = "[SOURCE…] -o DIR [--split NAME=SHARE]…",
                        .text = split_text,
                        .examples = "corpus split clean/ -o parts/ --split validation=0.01 --split "
                                    "test=0.01\tby text\n"
                                    "corpus split clean/ -o parts/ --by repo_name\tno repository "
                                    "on both sides",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = split(&s, &t);
    input_release(&s.step.in);
    return tool_end(&t, rc);
}
