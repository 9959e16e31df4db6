/* tokenize: text into ids, ids into text, and what a vocabulary holds. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "report/table.h"
#include "tokenizer/tokenizer.h"
#include "tools/common.h"
#include "tools/input.h"

#define TOK_OPTION(to)                                                                             \
    { "tokenizer", 't', OPT_STR, to, "TOK", "folder or file of the vocabulary" }
#define IDS_HELP "how ids are written: numbers, JSON arrays (one a record), or raw little-endian"
#define IDS_OPTION(to)                                                                             \
    { "ids", 0, OPT_CHOICE, to, "KIND", IDS_HELP, .choices = "text|json|u16|u32" }

/* ------------------------------------------------------------------ encode */

struct worker { /* one per thread */
    struct encoder *encoder;
    struct u32s ids;
    struct buf out; /* of the batch at hand */
};

struct encoding {
    struct tokenizer *t;
    enum tokenizer_special allow;
    const char *ids;
    struct docs *docs;
    const struct source_list *list;
    struct worker *workers;
    struct outfile *file;
    const struct log *log;
};

static int put_number(struct buf *out, uint32_t x, struct err *err) {
    char digits[10];
    size_t n = sizeof digits;
    do digits[--n] = (char)('0' + x % 10);
    while ((x /= 10) != 0);
    return buf_append(out, digits + n, sizeof digits - n, err);
}

/* The ids of one document as `kind` says. */
static int put_ids(struct buf *out, const struct u32s *ids, const char *kind, struct err *err) {
    bool json = !strcmp(kind, "json");
    size_t bytes = !strcmp(kind, "u16") ? 2 : !strcmp(kind, "u32") ? 4 : 0;
    int rc = buf_reserve(out, ids->n * (bytes ? bytes : 7) + 3, err);
    if (bytes) {
        for (size_t i = 0; i < ids->n && rc >= 0; i++)
            for (size_t b = 0; b < bytes; b++) out->v[out->n++] = (char)(ids->v[i] >> 8 * b);
        return rc;
    }
    if (json && rc >= 0) rc = buf_char(out, '[', err);
    for (size_t i = 0; i < ids->n && rc >= 0; i++) {
        if (i) rc = buf_char(out, json ? ',' : ' ', err);
        if (rc >= 0) rc = put_number(out, ids->v[i], err);
    }
    return rc < 0 ? rc : buf_str(out, json ? "]\n" : "\n", err);
}

static int encode_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct encoding *e = ctx;
    struct worker *w = &e->workers[thread];
    int rc = 0;
    w->out.n = 0;
    for (size_t i = 0; i < b->n && rc >= 0; i++) {
        w->ids.n = 0;
        rc = encode(w->encoder, b->v[i].text, b->v[i].n, e->allow, &w->ids, err);
        if (rc < 0)
            return err_prefix(err, "%s:%llu", e->list->v[b->file].name,
                              (unsigned long long)b->v[i].line_no);
        rc = put_ids(&w->out, &w->ids, e->ids, err);
    }
    return rc;
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct encoding *e = ctx;
    struct worker *w = &e->workers[thread];
    struct docs_totals now;
    (void)b;
    docs_totals(e->docs, &now);
    log_progress(e->log,
                 &(struct progress){"encoding", now.stored_bytes, now.stored_total, "B", NULL});
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    return outfile_write(e->file, w->out.v, w->out.n, err);
}

/* --allow-special: all, none, or texts separated by commas. */
static int allow(struct encoding *e, const char *what, int threads, struct err *err) {
    struct strs texts = {0};
    char *copy = strdup(what), *save = NULL;
    int rc = copy ? 0 : err_nomem(err, strlen(what));
    e->allow = !strcmp(what, "all")    ? TOKENIZER_SPECIAL_ALL
               : !strcmp(what, "none") ? TOKENIZER_SPECIAL_NONE
                                       : TOKENIZER_SPECIAL_LIST;
    for (char *s = rc < 0 ? NULL : strtok_r(copy, ",", &save); s && rc >= 0;
         s = strtok_r(NULL, ",", &save))
        rc = strs_push(&texts, s, err);
    for (int i = 0; i < threads && rc >= 0 && e->allow == TOKENIZER_SPECIAL_LIST; i++)
        rc = encoder_allow(e->workers[i].encoder, (const char *const *)texts.v, texts.n, err);
    if (rc == ERR_USAGE) err_prefix(err, "--allow-special");
    strs_release(&texts);
    free(copy);
    return rc;
}

static int make_workers(struct encoding *e, int threads, struct err *err) {
    int rc = 0;
    e->workers = mem_array((size_t)threads, sizeof *e->workers);
    if (!e->workers) return err_nomem(err, (uint64_t)threads * sizeof *e->workers);
    for (int i = 0; i < threads && rc >= 0; i++)
        rc = encoder_new(&e->workers[i].encoder, e->t, err);
    return rc;
}

static void free_workers(struct encoding *e, int threads) {
    for (int i = 0; i < threads && e->workers; i++) {
        encoder_free(e->workers[i].encoder);
        u32s_release(&e->workers[i].ids);
        buf_release(&e->workers[i].out);
    }
    free(e->workers);
}

static int encode_all(struct encoding *e, struct input *in, const char *tok, const char *special,
                      const char *output, struct tool *t) {
    int threads = tool_threads(t);
    int rc = tokenizer_open(&e->t, tok, NULL, &t->err);
    if (rc >= 0 && !strcmp(e->ids, "u16") && tokenizer_size(e->t) > 65536)
        rc = err_set(&t->err, ERR_USAGE, "%s has %u ids, too many for --ids u16; use u32", tok,
                     tokenizer_size(e->t));
    if (rc >= 0) rc = make_workers(e, threads, &t->err);
    if (rc >= 0) rc = allow(e, special, threads, &t->err);
    if (rc >= 0) rc = input_resolve(in, t, "-");
    if (rc >= 0) rc = docs_open(&e->docs, &in->list, &in->opts, &t->err);
    if (rc < 0) return rc;
    e->list = &in->list;
    rc = outfile_open(&e->file, output, &t->err);
    bool opened = rc >= 0;
    if (rc >= 0) rc = docs_run(e->docs, threads, encode_batch, write_batch, e, &t->err);
    if (opened && rc >= 0)
        rc = outfile_commit(e->file, &t->err);
    else if (opened)
        outfile_abort(e->file);
    int closed = docs_close(e->docs, rc >= 0 ? &t->err : NULL);
    return rc < 0 ? rc : closed;
}

static int encode_main(int argc, char **argv) {
    const char *tok = "tok", *output = "-", *special = "none";
    struct encoding e = {.ids = "text"};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 7] = {
        {"Encoding", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        IDS_OPTION(&e.ids),
        {"allow-special", 0, OPT_STR, &special, "all|none|LIST",
         "special tokens to recognise, separated by commas; else their text is text"},
        TOOL_OUTPUT(&output, "file to write"),
        {"Reading", .type = OPT_GROUP}};
    size_t n = 6;
    n += docs_option_rows(opts + n, INPUT_ROWS, &in.opts);
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "tokenize encode",
        .summary = "turn text into ids",
        .usage = "-t TOK [SOURCE…|-]",
        .text = "Reads standard input without a SOURCE. JSON lines are records; any other file is "
                "one text. Ids are those of tokenizers and tiktoken.",
        .examples =
            "tokenize encode -t tok < hello.py\tnumbers on one line\n"
            "tokenize encode -t tok data.jsonl.gz --ids json -o ids.jsonl\tan array a record",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    e.log = &t.log;
    if (rc == 0) rc = encode_all(&e, &in, tok, special, output, &t);
    free_workers(&e, tool_threads(&t));
    tokenizer_free(e.t);
    input_release(&in);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ decode */

struct decoding {
    struct tokenizer *t;
    const char *ids, *format, *field;
    const char *name; /* of the input */
    bool skip_special;
    FILE *in;
    struct outfile *file;
    struct u32s doc;
    struct buf text, line;
};

/* Writes the document in d->doc. */
static int put_document(struct decoding *d, struct err *err) {
    d->text.n = 0;
    int rc = decode(d->t, d->doc.v, d->doc.n, d->skip_special, &d->text, err);
    if (rc < 0 || strcmp(d->format, "jsonl") != 0)
        return rc < 0 ? rc : outfile_write(d->file, d->text.v, d->text.n, err);
    d->line.n = 0;
    rc = buf_char(&d->line, '{', err);
    if (rc >= 0) rc = json_quote(&d->line, d->field, strlen(d->field), err);
    if (rc >= 0) rc = buf_str(&d->line, ": ", err);
    if (rc >= 0) rc = json_quote(&d->line, d->text.v, d->text.n, err);
    if (rc >= 0) rc = buf_str(&d->line, "}\n", err);
    return rc < 0 ? rc : outfile_write(d->file, d->line.v, d->line.n, err);
}

/* The ids of a line, "[1, 2]" or "1 2". NULL, or what is wrong. */
static const char *read_line(struct decoding *d, const char *s, const char *end, int *rc,
                             struct err *err) {
    static const char blank[] = " \t\r\n";
    bool json = !strcmp(d->ids, "json"), first = true, comma = false;
    d->doc.n = 0;
    while (end > s && strchr(blank, end[-1])) end--;
    while (s < end && strchr(blank, *s)) s++;
    if (json && (end - s < 2 || *s != '[' || end[-1] != ']')) return "not a JSON array of ids";
    if (json) s++, end--;
    for (;;) {
        while (s < end && strchr(blank, *s)) s++;
        if (s == end) return comma ? "an id is missing" : NULL;
        if (json && !first && !comma) return "a comma is missing";
        uint64_t x = 0;
        const char *from = s;
        for (; s < end && *s >= '0' && *s <= '9' && x < UINT32_MAX; s++)
            x = x * 10 + (uint64_t)(*s - '0');
        if (s == from || (s < end && !strchr(" \t,", *s)) || x >= UINT32_MAX) return "not an id";
        *rc = u32s_push(&d->doc, (uint32_t)x, err);
        if (*rc < 0) return NULL;
        while (s < end && strchr(blank, *s)) s++;
        comma = s < end && *s == ',';
        if (comma) s++;
        first = false;
    }
}

static int decode_lines(struct decoding *d, struct err *err) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = 0;
    for (uint64_t no = 1; rc >= 0 && (n = getline(&line, &cap, d->in)) >= 0; no++) {
        const char *bad = read_line(d, line, line + n, &rc, err);
        if (rc >= 0 && bad) rc = err_set(err, ERR_DATA, "%s", bad);
        if (rc >= 0) rc = put_document(d, err);
        if (rc >= 0 && signals_stop()) rc = err_set(err, ERR_STOPPED, "interrupted");
        if (rc == ERR_DATA) err_prefix(err, "%s:%llu", d->name, (unsigned long long)no);
    }
    free(line);
    return rc;
}

/* Raw ids are one document: as text piece by piece, as JSON all at once. */
static int decode_raw(struct decoding *d, size_t bytes, struct err *err) {
    bool jsonl = !strcmp(d->format, "jsonl");
    uint8_t block[1 << 16];
    size_t n;
    int rc = 0;
    while (rc >= 0 && (n = fread(block, 1, sizeof block, d->in)) > 0) {
        if (n % bytes) return err_set(err, ERR_DATA, "%s: ends inside an id", d->name);
        for (size_t i = 0; i < n && rc >= 0; i += bytes) {
            uint32_t x = 0;
            for (size_t b = 0; b < bytes; b++) x |= (uint32_t)block[i + b] << 8 * b;
            rc = u32s_push(&d->doc, x, err);
        }
        if (rc >= 0 && !jsonl) {
            rc = put_document(d, err);
            d->doc.n = 0;
        }
        if (rc >= 0 && signals_stop()) rc = err_set(err, ERR_STOPPED, "interrupted");
        if (rc == ERR_DATA) err_prefix(err, "%s", d->name);
    }
    return rc < 0 || !jsonl ? rc : put_document(d, err);
}

static int decode_all(struct decoding *d, const char *tok, const char *output, struct tool *t) {
    struct err *err = &t->err;
    if (t->operands->n > 1) return err_set(err, ERR_USAGE, "one file of ids at a time");
    d->name = t->operands->n ? t->operands->v[0] : "-";
    int rc = tokenizer_open(&d->t, tok, NULL, err);
    if (rc < 0) return rc;
    bool std = !strcmp(d->name, "-");
    d->in = std ? stdin : fopen(d->name, "rb");
    if (!d->in) return err_errno(err, "%s", d->name);
    rc = outfile_open(&d->file, output, err);
    if (rc >= 0) {
        rc = !strcmp(d->ids, "u16")   ? decode_raw(d, 2, err)
             : !strcmp(d->ids, "u32") ? decode_raw(d, 4, err)
                                      : decode_lines(d, err);
        if (rc >= 0 && ferror(d->in)) rc = err_errno(err, "%s", d->name);
        if (rc >= 0)
            rc = outfile_commit(d->file, err);
        else
            outfile_abort(d->file);
    }
    if (!std) fclose(d->in);
    return rc;
}

static int decode_main(int argc, char **argv) {
    const char *tok = "tok", *output = "-";
    struct decoding d = {.ids = "text", .format = "text", .field = "text"};
    struct opt opts[] = {
        {"Decoding", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        IDS_OPTION(&d.ids),
        {"format", 0, OPT_CHOICE, &d.format, "KIND",
         "what to write: the text, or a JSON object a line", .choices = "text|jsonl"},
        {"field", 0, OPT_STR, &d.field, "NAME", "field of the JSON objects"},
        {"skip-special", 0, OPT_FLAG, &d.skip_special, NULL, "leave special tokens out"},
        TOOL_OUTPUT(&output, "file to write"),
        {0}};
    struct program p = {
        .name = "tokenize decode",
        .summary = "turn ids into text",
        .usage = "-t TOK [FILE|-]",
        .text = "Each line of numbers, or JSON array, is a text; raw ids are one text. Texts are "
                "written one after the other, byte for byte; as JSON, bytes that are not UTF-8 "
                "become U+FFFD.",
        .examples = "echo 31373 995 | tokenize decode -t gpt2\thello world\n"
                    "tokenize decode --ids u16 ids.bin\ta file of 16-bit ids",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    if (rc == 0) rc = decode_all(&d, tok, output, &t);
    u32s_release(&d.doc);
    buf_release(&d.text);
    buf_release(&d.line);
    tokenizer_free(d.t);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ info */

/* A token for the eye: printable characters as they are, the rest as \n, \xHH. */
static int show_token(const struct tokenizer *t, uint32_t id, struct buf *out, struct err *err) {
    size_t n, i = 0;
    const uint8_t *p = tokenizer_bytes(t, id, &n);
    int rc = 0;
    out->n = 0;
    while (i < n && rc >= 0) {
        size_t len = 1, want = p[i] < 0xC2 ? 1 : p[i] < 0xE0 ? 2 : p[i] < 0xF0 ? 3 : 4;
        while (len < want && i + len < n && (p[i + len] & 0xC0) == 0x80) len++;
        bool whole = len == want && p[i] < 0xF5 && (p[i] < 0x80 || p[i] >= 0xC2);
        if (whole && p[i] >= 0x20 && p[i] != 0x7F && text_columns((const char *)p + i, len)) {
            rc = buf_append(out, p + i, len, err);
            i += len;
        } else {
            rc = p[i] == '\n'   ? buf_str(out, "\\n", err)
                 : p[i] == '\t' ? buf_str(out, "\\t", err)
                 : p[i] == '\r' ? buf_str(out, "\\r", err)
                                : buf_printf(out, err, "\\x%02x", p[i]);
            i++;
        }
    }
    return rc < 0 ? rc : buf_cstr(out) ? 0 : err_nomem(err, n);
}

struct listed { /* which ids a list shows */
    const char *title;
    uint32_t *id;
    size_t n;
};

static const struct tokenizer *sorted; /* qsort has no context; one thread */
static int longer_first(const void *a, const void *b) {
    size_t m, n;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    tokenizer_bytes(sorted, x, &m);
    tokenizer_bytes(sorted, y, &n);
    return m != n ? (m < n) - (m > n) : (x > y) - (x < y);
}

/* The first, last and longest `show` tokens that there are. */
static int choose(const struct tokenizer *t, size_t show, struct listed ret[3], struct err *err) {
    uint32_t size = tokenizer_size(t), n = 0;
    uint32_t *id = mem_array(2 * (size_t)size, sizeof *id), *by_length = id + size;
    if (!id) return err_nomem(err, 2 * (uint64_t)size * sizeof *id);
    for (uint32_t i = 0; i < size; i++) {
        size_t len;
        tokenizer_bytes(t, i, &len);
        if (len) id[n++] = i;
    }
    if (show > n) show = n;
    memcpy(by_length, id, n * sizeof *id);
    sorted = t;
    qsort(by_length, n, sizeof *id, longer_first);
    ret[0] = (struct listed){"first", id, show};
    ret[1] = (struct listed){"last", id + n - show, show};
    ret[2] = (struct listed){"longest", by_length, show};
    return 0;
}

static int info_json(struct tool *tool, const struct tokenizer *t, const struct listed lists[3]) {
    const struct special *s;
    const struct merge *m;
    char digest[SHA256_HEX];
    struct buf b = {0};
    cJSON *tree = cJSON_CreateObject(), *list = cJSON_CreateArray();
    int rc = 0;
    tokenizer_digest(t, digest);
    cJSON_AddNumberToObject(tree, "size", tokenizer_size(t));
    cJSON_AddNumberToObject(tree, "merges", (double)tokenizer_merges(t, &m));
    cJSON_AddStringToObject(tree, "pattern", tokenizer_pattern(t));
    cJSON_AddStringToObject(tree, "digest", digest);
    cJSON_AddItemToObject(tree, "specials", list);
    uint32_t n = tokenizer_specials(t, &s);
    for (uint32_t i = 0; i < n; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "id", s[i].id);
        cJSON_AddStringToObject(o, "text", s[i].text);
        cJSON_AddItemToArray(list, o);
    }
    for (int k = 0; k < 3; k++) {
        list = cJSON_AddArrayToObject(tree, lists[k].title);
        for (size_t i = 0; i < lists[k].n && rc >= 0; i++) {
            cJSON *o = cJSON_CreateObject();
            size_t len;
            tokenizer_bytes(t, lists[k].id[i], &len);
            rc = show_token(t, lists[k].id[i], &b, &tool->err);
            cJSON_AddNumberToObject(o, "id", lists[k].id[i]);
            cJSON_AddNumberToObject(o, "bytes", (double)len);
            if (rc >= 0) cJSON_AddStringToObject(o, "text", b.v);
            cJSON_AddItemToArray(list, o);
        }
    }
    buf_release(&b);
    if (rc >= 0) return tool_print_json(tool, tree);
    cJSON_Delete(tree);
    return rc;
}

static int print_list(FILE *out, const struct tokenizer *t, const struct listed *l,
                      struct err *err) {
    struct buf b = {0};
    int rc = 0;
    fprintf(out, "\n%s\n", l->title);
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        rc = show_token(t, l->id[i], &b, err);
        if (rc >= 0) fprintf(out, "%8u  \"%s\"\n", l->id[i], b.v);
    }
    buf_release(&b);
    return rc;
}

static int info_text(struct tool *tool, const struct tokenizer *t, const struct listed lists[3]) {
    const struct special *s;
    const struct merge *m;
    char digest[SHA256_HEX], number[28];
    FILE *out = tool_out(tool);
    int rc = 0;
    tokenizer_digest(t, digest);
    text_thousands(tokenizer_size(t), number);
    fprintf(out, "size      %s\n", number);
    text_thousands(tokenizer_merges(t, &m), number);
    fprintf(out, "merges    %s\n", number);
    fprintf(out, "pattern   %s\ndigest    %s\n", tokenizer_pattern(t), digest);
    uint32_t n = tokenizer_specials(t, &s);
    fprintf(out, "specials  %u\n", n);
    for (uint32_t i = 0; i < n; i++) fprintf(out, "%8u  %s\n", s[i].id, s[i].text);
    for (int k = 0; k < 3 && rc >= 0 && lists[k].n; k++)
        rc = print_list(out, t, &lists[k], &tool->err);
    return rc;
}

static int info_main(int argc, char **argv) {
    const char *tok = "tok";
    uint64_t show = 10;
    struct opt opts[] = {
        {"Showing", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        {"show", 'n', OPT_U64, &show, "N", "tokens to show of each kind", .max = 1e6},
        {0}};
    struct program p = {.name = "tokenize info",
                        .summary = "say what a vocabulary holds",
                        .usage = "-t TOK [-n 10] [--json]",
                        .examples = "tokenize info -t tok\tsize, specials, first, last, longest",
                        .opts = opts};
    struct tool t;
    struct tokenizer *tokenizer = NULL;
    struct listed lists[3] = {{0}};
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0 && t.operands->n)
        rc = err_set(&t.err, ERR_USAGE, "\"%s\" is not expected; name the vocabulary with -t",
                     t.operands->v[0]);
    if (rc == 0) rc = tokenizer_open(&tokenizer, tok, NULL, &t.err);
    if (rc == 0) rc = choose(tokenizer, show, lists, &t.err);
    if (rc == 0) rc = t.json ? info_json(&t, tokenizer, lists) : info_text(&t, tokenizer, lists);
    free(lists[0].id);
    tokenizer_free(tokenizer);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {{"encode", "turn text into ids", encode_main},
                                             {"decode", "turn ids into text", decode_main},
                                             {"info", "say what a vocabulary holds", info_main},
                                             {0}};
    static const struct family family = {"tokenize", "text into ids and back", subs, NULL};
    return tool_dispatch(&family, argc, argv);
}
