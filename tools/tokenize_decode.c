/* tokenize decode: ids into text. */
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/signals.h"
#include "tools/input.h"
#include "tools/outputs.h"
#include "tools/tokenize.h"

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

/* The ids of a line, "[1, 2]" or "1 2". NULL, or what is wrong, at *ret_at. */
static const char *read_line(struct decoding *d, const char *s, const char *end,
                             const char **ret_at, int *rc, struct err *err) {
    static const char blank[] = " \t\r\n";
    bool json = !strcmp(d->ids, "json"), first = true, comma = false;
    d->doc.n = 0;
    while (end > s && strchr(blank, end[-1])) end--;
    while (s < end && strchr(blank, *s)) s++;
    *ret_at = s;
    if (json && (end - s < 2 || *s != '[' || end[-1] != ']')) return "not a JSON array of ids";
    if (json) s++, end--;
    for (;;) {
        while (s < end && strchr(blank, *s)) s++;
        *ret_at = s;
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
        const char *at = line, *bad = read_line(d, line, line + n, &at, &rc, err);
        if (rc >= 0 && bad) rc = err_set(err, ERR_DATA, "byte %td: %s", at - line, bad);
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
    if (rc == 0) rc = output_check(output, d->name, err);
    if (rc == 0) rc = input_check_tokenizer(tok, output, err);
    if (rc < 0) return rc;
    bool std = !strcmp(d->name, "-");
    d->in = std ? stdin : fopen(d->name, "rb");
    if (std) d->name = "stdin";
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

int decode_main(int argc, char **argv) {
    const char *tok = "tok", *output = "-";
    struct decoding d = {.ids = "text", .format = "text", .field = "text"};
    struct opt opts[] = {
        {"Decoding", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        {"ids", 0, OPT_CHOICE, &d.ids, "KIND",
         "how ids are written: numbers, JSON arrays (one a record), or raw little-endian",
         .choices = "text|json|u16|u32"},
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
