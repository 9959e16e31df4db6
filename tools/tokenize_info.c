/* tokenize info: what a vocabulary holds, and how it is to be used. */
#include <stdlib.h>
#include <string.h>
#include "report/table.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/pattern.h"
#include "tools/tokenize.h"

int show_bytes(const uint8_t *p, size_t n, struct buf *out, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0;) {
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
    return rc;
}

static int show_token(const struct tokenizer *t, uint32_t id, struct buf *out, struct err *err) {
    size_t n;
    const uint8_t *p = tokenizer_bytes(t, id, &n);
    out->n = 0;
    int rc = show_bytes(p, n, out, err);
    return rc < 0 ? rc : buf_cstr(out) ? 0 : err_nomem(err, n);
}

/* What the settings say, NULL where they are silent. */
struct said {
    const char *key, *value;
};
enum { SAID = 8 };

static void settings(const struct tokenizer *t, struct said ret[SAID]) {
    const struct tokenizer_settings *s = tokenizer_settings(t);
    const struct said all[SAID] = {{"normalizer", tokenizer_normalizer(t)},
                                   {"padding_side", s->padding_side},
                                   {"truncation_side", s->truncation_side},
                                   {"bos_token", s->bos},
                                   {"eos_token", s->eos},
                                   {"unk_token", s->unk},
                                   {"pad_token", s->pad},
                                   {"tokenizer_class", s->tokenizer_class}};
    memcpy(ret, all, sizeof all);
}

/* How vocab.json writes a byte. */
static int byte_text(int byte, struct buf *out, struct err *err) {
    uint8_t b = (uint8_t)byte;
    out->n = 0;
    int rc = bytemap_write(out, &b, 1, err);
    return rc < 0 ? rc : buf_cstr(out) ? 0 : err_nomem(err, 3);
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

static cJSON *json_special(const struct special *s) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "id", s->id);
    cJSON_AddStringToObject(o, "text", s->text);
    cJSON_AddBoolToObject(o, "special", s->special);
    cJSON_AddBoolToObject(o, "lstrip", s->lstrip);
    cJSON_AddBoolToObject(o, "rstrip", s->rstrip);
    cJSON_AddBoolToObject(o, "single_word", s->single_word);
    cJSON_AddBoolToObject(o, "normalized", s->normalized);
    return o;
}

static void json_settings(const struct tokenizer *t, cJSON *tree) {
    const struct tokenizer_settings *s = tokenizer_settings(t);
    struct said said[SAID];
    settings(t, said);
    for (size_t i = 0; i < SAID; i++)
        cJSON_AddItemToObject(tree, said[i].key,
                              said[i].value ? cJSON_CreateString(said[i].value)
                                            : cJSON_CreateNull());
    cJSON_AddItemToObject(tree, "model_max_length",
                          s->model_max_length == UINT64_MAX
                              ? cJSON_CreateNull()
                              : cJSON_CreateNumber((double)s->model_max_length));
    cJSON_AddItemToObject(tree, "chat_template",
                          s->chat_template ? cJSON_CreateString(s->chat_template)
                                           : cJSON_CreateNull());
}

static int json_bytes(cJSON *tree, struct buf *b, struct err *err) {
    cJSON *list = cJSON_AddArrayToObject(tree, "byte_map");
    int rc = 0;
    for (int byte = 0; byte < 256 && rc >= 0; byte++) {
        rc = byte_text(byte, b, err);
        if (rc >= 0) cJSON_AddItemToArray(list, cJSON_CreateString(b->v));
    }
    return rc;
}

static int json_list(cJSON *tree, const struct tokenizer *t, const struct listed *l, struct buf *b,
                     struct err *err) {
    cJSON *list = cJSON_AddArrayToObject(tree, l->title);
    int rc = 0;
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        cJSON *o = cJSON_CreateObject();
        size_t len;
        tokenizer_bytes(t, l->id[i], &len);
        rc = show_token(t, l->id[i], b, err);
        cJSON_AddNumberToObject(o, "id", l->id[i]);
        cJSON_AddNumberToObject(o, "bytes", (double)len);
        if (rc >= 0) cJSON_AddStringToObject(o, "text", b->v);
        cJSON_AddItemToArray(list, o);
    }
    return rc;
}

static int info_json(struct tool *tool, const struct tokenizer *t, const struct listed lists[3]) {
    const struct special *s;
    const struct merge *m;
    uint64_t n_merges;
    char digest[SHA256_HEX];
    struct buf b = {0};
    int rc = tokenizer_digest(t, digest, &tool->err);
    if (rc == 0) rc = tokenizer_merges(t, &m, &n_merges, &tool->err);
    if (rc < 0) return rc;
    cJSON *tree = cJSON_CreateObject(), *list = cJSON_CreateArray();
    cJSON_AddNumberToObject(tree, "size", tokenizer_size(t));
    cJSON_AddNumberToObject(tree, "merges", (double)n_merges);
    cJSON_AddStringToObject(tree, "pattern", tokenizer_pattern(t));
    json_settings(t, tree);
    cJSON_AddStringToObject(tree, "digest", digest);
    cJSON_AddItemToObject(tree, "specials", list);
    uint32_t n = tokenizer_specials(t, &s);
    for (uint32_t i = 0; i < n; i++) cJSON_AddItemToArray(list, json_special(&s[i]));
    rc = json_bytes(tree, &b, &tool->err);
    for (int k = 0; k < 3 && rc >= 0; k++) rc = json_list(tree, t, &lists[k], &b, &tool->err);
    buf_release(&b);
    if (rc >= 0) return tool_print_json(tool, tree);
    cJSON_Delete(tree);
    return rc;
}

/* ------------------------------------------------------------------ as text */

/* Sixteen bytes a row, as vocab.json writes them. */
static int print_bytes(FILE *out, struct err *err) {
    struct buf b = {0};
    int rc = 0;
    fputs("\nbytes as vocab.json writes them\n", out);
    for (int byte = 0; byte < 256 && rc >= 0; byte++) {
        rc = byte_text(byte, &b, err);
        if (rc >= 0 && byte % 16 == 0) fprintf(out, "      %02x ", byte);
        if (rc >= 0) fprintf(out, " %s%s", b.v, byte % 16 == 15 ? "\n" : "");
    }
    buf_release(&b);
    return rc;
}

static void print_settings(FILE *out, const struct tokenizer *t) {
    const struct tokenizer_settings *s = tokenizer_settings(t);
    struct said said[SAID];
    char number[28];
    settings(t, said);
    if (s->model_max_length != UINT64_MAX) {
        text_thousands(s->model_max_length, number);
        fprintf(out, "%-16s  %s\n", "model_max_length", number);
    }
    for (size_t i = 0; i < SAID; i++)
        if (said[i].value) fprintf(out, "%-16s  %s\n", said[i].key, said[i].value);
    if (s->chat_template)
        fprintf(out, "%-16s  %zu bytes of Jinja (--json prints it)\n", "chat_template",
                strlen(s->chat_template));
}

static void print_specials(FILE *out, const struct tokenizer *t) {
    const struct special *s;
    uint32_t n = tokenizer_specials(t, &s);
    fprintf(out, "%-16s  %u\n", "specials", n);
    for (uint32_t i = 0; i < n; i++)
        fprintf(out, "%8u  %s%s%s%s%s\n", s[i].id, s[i].text, s[i].special ? "" : "  (not special)",
                s[i].lstrip ? "  lstrip" : "", s[i].rstrip ? "  rstrip" : "",
                s[i].single_word ? "  single_word" : "");
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

/* A line a step. */
static void print_pattern(FILE *out, const char *pattern) {
    const char *what = "pattern", *line;
    for (size_t n; (line = pattern_line(&pattern, &n)); what = "  then")
        fprintf(out, "%-16s  %.*s\n", what, (int)n, line);
}

static int info_text(struct tool *tool, const struct tokenizer *t, const struct listed lists[3],
                     bool bytes) {
    const struct merge *m;
    uint64_t n_merges;
    char digest[SHA256_HEX], number[28];
    FILE *out = tool_out(tool);
    int rc = tokenizer_digest(t, digest, &tool->err);
    if (rc == 0) rc = tokenizer_merges(t, &m, &n_merges, &tool->err);
    if (rc < 0) return rc;
    text_thousands(tokenizer_size(t), number);
    fprintf(out, "%-16s  %s\n", "size", number);
    text_thousands(n_merges, number);
    fprintf(out, "%-16s  %s\n", "merges", number);
    print_pattern(out, tokenizer_pattern(t));
    print_settings(out, t);
    fprintf(out, "%-16s  %s\n", "digest", digest);
    print_specials(out, t);
    if (bytes) rc = print_bytes(out, &tool->err);
    for (int k = 0; k < 3 && rc >= 0 && lists[k].n; k++)
        rc = print_list(out, t, &lists[k], &tool->err);
    return rc;
}

int info_main(int argc, char **argv) {
    const char *tok = "tok";
    uint64_t show = 10;
    bool bytes = false;
    struct opt opts[] = {
        {"Showing", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        {"show", 'n', OPT_U64, &show, "N", "tokens to show of each kind", .max = 1e6},
        {"bytes", 0, OPT_FLAG, &bytes, NULL, "show how each byte is written in vocab.json"},
        {0}};
    struct program p = {.name = "tokenize info",
                        .summary = "say what a vocabulary holds",
                        .usage = "-t TOK [-n 10] [--bytes] [--json]",
                        .examples = "tokenize info -t tok\tsize, specials, first, last, longest",
                        .opts = opts};
    struct tool t;
    struct tokenizer *tokenizer = NULL;
    struct listed lists[3] = {{0}};
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0 && t.operands->n)
        rc = err_set(&t.err, ERR_USAGE, "\"%s\" is not expected; name the vocabulary with -t",
                     t.operands->v[0]);
    if (rc == 0)
        rc = tokenizer_open(&tokenizer, tok, &(struct tokenizer_open_opts){.log = &t.log}, &t.err);
    if (rc == 0) rc = choose(tokenizer, show, lists, &t.err);
    if (rc == 0)
        rc = t.json ? info_json(&t, tokenizer, lists) : info_text(&t, tokenizer, lists, bytes);
    free(lists[0].id);
    tokenizer_free(tokenizer);
    return tool_end(&t, rc);
}
