/* tokenize encode: text into ids, token strings, and where they stand. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "base/signals.h"
#include "stream/scratch.h"
#include "tools/input.h"
#include "tools/tokenize.h"

struct worker { /* one per thread */
    struct encoder *encoder;
    struct u32s ids, places;
    struct buf spelt, valid;
};

/* What a batch becomes. Of a document that comes in parts with its offsets, the ids alone are in
 * `out`: the other arrays stand behind all of them. */
struct made {
    struct buf out, tokens, offsets;
};

static void release_made(void *made) {
    struct made *m = made;
    buf_release(&m->out);
    buf_release(&m->tokens);
    buf_release(&m->offsets);
}

/* The text that comes in parts, as far as tokens of it may come yet. */
struct window {
    struct buf text;
    uint64_t at, at_char; /* where it begins in the document, in bytes and in characters */
    bool more;            /* ids have come of it */
};

enum { TOKENS, OFFSETS };

struct encoding {
    struct tokenizer *t;
    enum tokenizer_special allow;
    const char *ids, *offsets;
    bool places; /* --offsets other than none */
    enum tokenizer_invalid invalid;
    bool refuse; /* special tokens that are not allowed */
    struct docs *docs;
    const struct source_list *list;
    struct worker *workers;
    struct encode_stream *stream; /* of the text that comes in parts */
    struct window window;
    int later[2];        /* scratch files of its tokens and offsets, or 0 */
    uint64_t n_later[2]; /* and their bytes                               */
    const char *spill;   /* a folder for them, or NULL                    */
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

/* Numbers with `between` before each but, unless `more` of them stand there already, the first. */
static int put_numbers(struct buf *out, const struct u32s *v, char between, bool more,
                       struct err *err) {
    int rc = buf_reserve(out, v->n * 7 + 3, err);
    for (size_t i = 0; i < v->n && rc >= 0; i++) {
        if (i || more) rc = buf_char(out, between, err);
        if (rc >= 0) rc = put_number(out, v->v[i], err);
    }
    return rc;
}

/* Little-endian whatever the machine. The compiler makes vectors of the loops, as nothing that they
 * write can be what they read. */
static void raw_16(char *restrict to, const uint32_t *restrict ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t x = htole16((uint16_t)ids[i]);
        memcpy(to + 2 * i, &x, sizeof x);
    }
}

static void raw_32(char *restrict to, const uint32_t *restrict ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t x = htole32(ids[i]);
        memcpy(to + 4 * i, &x, sizeof x);
    }
}

static int put_raw(struct buf *out, const struct u32s *ids, size_t bytes, struct err *err) {
    int rc = buf_reserve(out, ids->n * bytes, err);
    if (rc < 0) return rc;
    (bytes == 2 ? raw_16 : raw_32)(out->v + out->n, ids->v, ids->n);
    out->n += ids->n * bytes;
    return 0;
}

/* HF's token strings. Places are still those of whole tokens, blanks included. */
static int put_tokens(struct encoding *e, struct worker *w, const char *text, bool more,
                      struct buf *out, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < w->ids.n && rc >= 0; i++) {
        const uint32_t id = w->ids.v[i], *place = w->places.v + 2 * i;
        w->spelt.n = 0;
        rc = tokenizer_spell_found(e->t, id, text + place[0], place[1] - place[0], &w->spelt, err);
        if (rc >= 0 && (i || more)) rc = buf_char(out, ',', err);
        if (rc >= 0) rc = json_quote(out, w->spelt.v, w->spelt.n, err);
    }
    return rc;
}

static int put_places(struct buf *out, const struct u32s *places, bool more, struct err *err) {
    int rc = 0;
    for (size_t i = 0; i < places->n && rc >= 0; i++) {
        rc = buf_str(out, i % 2 ? "," : i || more ? ",[" : "[", err);
        if (rc >= 0) rc = put_number(out, places->v[i], err);
        if (rc >= 0 && i % 2) rc = buf_char(out, ']', err);
    }
    return rc;
}

/* Places in text[0..n), which begins at these of the document, become those that are asked for. */
static void finish_places(const struct encoding *e, struct worker *w, const char *text, size_t n,
                          uint64_t at, uint64_t at_char) {
    bool chars = !strcmp(e->offsets, "chars");
    places_trim(e->t, text, at, w->ids.v, w->ids.n, w->places.v);
    if (chars) places_in_chars(text, n, w->places.v, w->places.n);
    for (size_t i = 0; i < w->places.n; i++) w->places.v[i] += (uint32_t)(chars ? at_char : at);
}

static const char ids_key[] = "{\"ids\":[", tokens_key[] = "],\"tokens\":[",
                  offsets_key[] = "],\"offsets\":[", end_key[] = "]}\n";

/* {"ids": …, "tokens": …, "offsets": …} */
static int put_all(struct encoding *e, struct worker *w, const char *text, size_t n,
                   struct buf *out, struct err *err) {
    int rc = buf_str(out, ids_key, err);
    if (rc >= 0) rc = put_numbers(out, &w->ids, ',', false, err);
    if (rc >= 0) rc = buf_str(out, tokens_key, err);
    if (rc >= 0) rc = put_tokens(e, w, text, false, out, err);
    finish_places(e, w, text, n, 0, 0);
    if (rc >= 0) rc = buf_str(out, offsets_key, err);
    if (rc >= 0) rc = put_places(out, &w->places, false, err);
    return rc < 0 ? rc : buf_str(out, end_key, err);
}

/* A line of ids or tokens, or the part of it that is at hand; `more` stand there already. */
static int put_line(struct encoding *e, struct worker *w, const struct doc *doc, const char *text,
                    bool more, struct buf *out, struct err *err) {
    bool plain = !strcmp(e->ids, "text");
    int rc = plain || doc->continues ? 0 : buf_char(out, '[', err);
    if (rc >= 0)
        rc = !strcmp(e->ids, "tokens") ? put_tokens(e, w, text, more, out, err)
                                       : put_numbers(out, &w->ids, plain ? ' ' : ',', more, err);
    return rc < 0 || doc->goes_on ? rc : buf_str(out, plain ? "\n" : "]\n", err);
}

/* One document, or a part of one that needs no stream, as --ids says. */
static int put_document(struct encoding *e, struct worker *w, const struct doc *doc,
                        const char *text, size_t n, struct buf *out, struct err *err) {
    if (!strcmp(e->ids, "u16")) return put_raw(out, &w->ids, 2, err);
    if (!strcmp(e->ids, "u32")) return put_raw(out, &w->ids, 4, err);
    if (!strcmp(e->offsets, "none")) return put_line(e, w, doc, text, doc->continues, out, err);
    return put_all(e, w, text, n, out, err);
}

/* ------------------------------------------------------------------ a text in parts */

static int window_add(struct window *w, const struct text_part *p, struct err *err) {
    if (!p->follows) {
        w->text.n = 0;
        w->at = w->at_char = 0;
        w->more = !p->begins;
    }
    return buf_append(&w->text, p->text, p->n, err);
}

/* Forgets what stands before byte `n`, where a token begins; what comes later does not begin
 * before. */
static void window_drop(struct window *w, uint32_t n) {
    uint32_t chars = n;
    places_in_chars(w->text.v, w->text.n, &chars, 1);
    w->at += n;
    w->at_char += chars;
    w->text.n -= n;
    if (n) memmove(w->text.v, w->text.v + n, w->text.n);
}

/* The ids at hand, with tokens and offsets apart. */
static int put_apart(struct encoding *e, struct worker *w, const struct doc *doc, struct made *m,
                     struct err *err) {
    const struct window *win = &e->window;
    int rc = doc->continues ? 0 : buf_str(&m->out, ids_key, err);
    if (rc >= 0) rc = put_numbers(&m->out, &w->ids, ',', win->more, err);
    if (rc >= 0) rc = put_tokens(e, w, win->text.v, win->more, &m->tokens, err);
    finish_places(e, w, win->text.v, win->text.n, win->at, win->at_char);
    return rc < 0 ? rc : put_places(&m->offsets, &w->places, win->more, err);
}

/* A part of a text that comes in parts of any kind, one at a time. */
static int encode_streamed(struct encoding *e, struct worker *w, const struct doc *doc,
                           const struct text_part *part, struct made *m, struct err *err) {
    struct window *win = &e->window;
    bool apart = strcmp(e->offsets, "none") != 0;
    int rc = e->places ? window_add(win, part, err) : 0;
    if (!e->places && !part->follows) win->more = !part->begins;
    if (rc >= 0)
        rc = encode_part_places(w->encoder, e->stream, part, e->allow, &w->ids,
                                e->places ? &w->places : NULL, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < w->places.n; i++) w->places.v[i] -= (uint32_t)win->at;
    uint32_t last = w->places.n ? w->places.v[w->places.n - 2] : 0;
    if (apart)
        rc = put_apart(e, w, doc, m, err);
    else if (*e->ids == 'u')
        rc = put_document(e, w, doc, win->text.v, win->text.n, &m->out, err);
    else
        rc = put_line(e, w, doc, win->text.v, win->more, &m->out, err);
    win->more |= w->ids.n > 0;
    window_drop(win, last);
    return rc;
}

/* Keeps what comes behind all ids of a document, or ends the document with it. */
static int keep_later(struct encoding *e, int which, const struct buf *b, struct err *err) {
    const char *dir = e->spill ? e->spill : ".";
    int rc = e->later[which] ? 0 : scratch_file(dir, &e->later[which], err);
    e->n_later[which] += b->n;
    return rc < 0 ? rc : scratch_write(e->later[which], b->v, b->n, err);
}

static int write_later(struct encoding *e, int which, const char *key, struct err *err) {
    char v[1 << 16];
    int rc = outfile_write(e->file, key, strlen(key), err);
    for (uint64_t at = 0, n; rc >= 0 && at < e->n_later[which]; at += n) {
        n = e->n_later[which] - at < sizeof v ? e->n_later[which] - at : sizeof v;
        rc = scratch_read(e->later[which], at, v, n, err);
        if (rc >= 0) rc = outfile_write(e->file, v, n, err);
    }
    if (rc >= 0) rc = scratch_empty(e->later[which], err);
    e->n_later[which] = 0;
    return rc;
}

/* ------------------------------------------------------------------ --refuse-special */

/* Of a text that comes in parts all is looked at before its first ids. */
struct look {
    const struct encoding *e;
    struct worker *w;
    struct refusal refusal;
};

static int look_at(void *ctx, const char *v, size_t n, struct err *err) {
    struct look *l = ctx;
    int rc = tokenizer_valid(v, n, l->e->invalid, &l->w->valid, &v, &n, err);
    return rc < 0 ? rc : encoder_refuse(l->w->encoder, &l->refusal, v, n, false, l->e->allow, err);
}

static int refuse(const struct encoding *e, struct worker *w, const struct doc *doc,
                  struct err *err) {
    struct look l = {.e = e, .w = w};
    encoder_refuse_special(w->encoder, e->refuse && !(doc->far && doc->continues));
    if (!e->refuse || !doc->far || doc->continues) return 0;
    int rc = docs_far_text(doc, look_at, &l, err);
    if (rc >= 0) rc = encoder_refuse(w->encoder, &l.refusal, "", 0, true, e->allow, err);
    buf_release(&l.refusal.held);
    encoder_refuse_special(w->encoder, false); /* all is said of it */
    return rc;
}

/* ------------------------------------------------------------------ batches */

static int encode_document(struct encoding *e, struct worker *w, const struct doc *doc,
                           struct made *m, struct err *err) {
    const char *text;
    size_t n;
    w->ids.n = w->places.n = 0;
    int rc = refuse(e, w, doc, err);
    if (rc >= 0) rc = tokenizer_valid(doc->text, doc->n, e->invalid, &w->valid, &text, &n, err);
    struct text_part part = doc_part(doc);
    if (rc < 0) return rc;
    part.text = text;
    part.n = n;
    if (part.follows || part.followed) return encode_streamed(e, w, doc, &part, m, err);
    rc = encode_part_places(w->encoder, e->stream, &part, e->allow, &w->ids,
                            e->places ? &w->places : NULL, err);
    return rc < 0 ? rc : put_document(e, w, doc, text, n, &m->out, err);
}

static int encode_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct encoding *e = ctx;
    struct made *m = b->made;
    m->out.n = m->tokens.n = m->offsets.n = 0;
    for (size_t i = 0; i < b->n; i++) {
        int rc = encode_document(e, &e->workers[thread], &b->v[i], m, err);
        if (rc < 0)
            return err_prefix(err, "%s:%llu", e->list->v[b->file].name,
                              (unsigned long long)b->v[i].line_no);
    }
    return 0;
}

/* A document that comes in parts has its batches for itself. */
static int write_apart(struct encoding *e, const struct doc *doc, const struct made *m,
                       struct err *err) {
    int rc = keep_later(e, TOKENS, &m->tokens, err);
    if (rc >= 0) rc = keep_later(e, OFFSETS, &m->offsets, err);
    if (rc < 0 || doc->goes_on) return rc;
    rc = write_later(e, TOKENS, tokens_key, err);
    if (rc >= 0) rc = write_later(e, OFFSETS, offsets_key, err);
    return rc < 0 ? rc : outfile_write(e->file, end_key, strlen(end_key), err);
}

static int write_batch(void *ctx, struct batch *b, int thread, struct err *err) {
    struct encoding *e = ctx;
    const struct made *m = b->made;
    struct docs_totals now;
    (void)thread;
    docs_totals(e->docs, &now);
    log_progress(e->log,
                 &(struct progress){"encoding", now.stored_bytes, now.stored_total, "B", NULL});
    if (signals_stop()) return err_set(err, ERR_STOPPED, "interrupted");
    int rc = outfile_write(e->file, m->out.v, m->out.n, err);
    bool apart = strcmp(e->offsets, "none") != 0 && b->n && (b->v->follows || b->v->followed);
    return rc < 0 || !apart ? rc : write_apart(e, b->v, m, err);
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
        u32s_release(&e->workers[i].places);
        buf_release(&e->workers[i].spelt);
        buf_release(&e->workers[i].valid);
    }
    free(e->workers);
}

static int encode_all(struct encoding *e, struct input *in, const char *tok, const char *special,
                      const char *output, struct tool *t) {
    int threads = tool_threads(t);
    bool offsets = strcmp(e->offsets, "none") != 0, tokens = !strcmp(e->ids, "tokens");
    if (offsets && !tokens && strcmp(e->ids, "json") != 0)
        return err_set(&t->err, ERR_USAGE, "--offsets needs --ids json or --ids tokens");
    e->places = offsets || tokens;
    int rc = tokenizer_open(&e->t, tok, &(struct tokenizer_open_opts){.log = &t->log}, &t->err);
    if (rc >= 0 && !strcmp(e->ids, "u16") && tokenizer_size(e->t) > 65536)
        rc = err_set(&t->err, ERR_USAGE, "%s has %u ids, too many for --ids u16; use u32", tok,
                     tokenizer_size(e->t));
    if (rc >= 0) rc = make_workers(e, threads, &t->err);
    if (rc >= 0) rc = allow(e, special, threads, &t->err);
    if (rc >= 0) rc = input_resolve(in, t, "-");
    if (rc >= 0) rc = input_check_output(&in->list, output, &t->err);
    if (rc >= 0) rc = input_check_tokenizer(tok, output, &t->err);
    /* Offsets count from the text's beginning, so its parts come one at a time. */
    bool cuts = rc >= 0 && !offsets && tokenizer_cuts(e->t, e->allow);
    in->opts.cut_anywhere = rc >= 0 && tokenizer_streams(e->t);
    in->opts.see_whole = e->refuse;
    e->spill = in->opts.spill;
    in->opts.cut_texts = in->opts.cut_records = cuts || in->opts.cut_anywhere;
    in->opts.cut_loose = !cuts;
    if (rc >= 0) rc = encode_stream_new(&e->stream, e->t, &t->err);
    if (rc >= 0) rc = docs_open(&e->docs, &in->list, &in->opts, &t->err);
    if (rc < 0) return rc;
    e->list = &in->list;
    const struct docs_made out = {sizeof(struct made), release_made};
    rc = outfile_open(&e->file, output, &t->err);
    bool opened = rc >= 0;
    if (rc >= 0) rc = docs_run_ahead(e->docs, threads, encode_batch, write_batch, &out, e, &t->err);
    if (opened && rc >= 0)
        rc = outfile_commit(e->file, &t->err);
    else if (opened)
        outfile_abort(e->file);
    int closed = docs_close(e->docs, rc >= 0 ? &t->err : NULL);
    return rc < 0 ? rc : closed;
}

int encode_main(int argc, char **argv) {
    const char *tok = "tok", *output = "-", *special = "none", *invalid = "refuse";
    struct encoding e = {.ids = "text", .offsets = "none"};
    struct input in = {.opts = docs_defaults};
    struct opt opts[INPUT_ROWS + 10] = {
        {"Encoding", .type = OPT_GROUP},
        TOK_OPTION(&tok),
        {"ids", 0, OPT_CHOICE, &e.ids, "KIND",
         "numbers; JSON arrays, one a record, of ids or of token strings; or raw little-endian",
         .choices = "text|json|tokens|u16|u32"},
        {"offsets", 0, OPT_CHOICE, &e.offsets, "UNIT",
         "with JSON: an object a record with ids, tokens, and where each stands in the text",
         .choices = "none|chars|bytes"},
        {"allow-special", 0, OPT_STR, &special, "all|none|LIST",
         "special tokens to recognise, separated by commas; else their text is text"},
        {"refuse-special", 0, OPT_FLAG, &e.refuse, NULL,
         "stop at the text of a special token that is not to be recognised"},
        {"invalid-utf8", 0, OPT_CHOICE, &invalid, "POLICY",
         "bytes of a text file that are no UTF-8: an error, tokens of their own, or U+FFFD",
         .choices = "refuse|keep|replace"},
        TOOL_OUTPUT(&output, "file to write"),
        {"Reading", .type = OPT_GROUP}};
    size_t n = 9;
    n += docs_option_rows(opts + n, INPUT_ROWS, &in.opts);
    in.opts.text_only = true;
    opts[n] = (struct opt){0};
    struct program p = {
        .name = "tokenize encode",
        .summary = "turn text into ids",
        .usage = "-t TOK [SOURCE…|-]",
        .text = "Reads standard input without a SOURCE. JSON lines are records; any other file is "
                "one text. Ids are those of tokenizers and tiktoken.",
        .examples =
            "tokenize encode -t tok < hello.py\tnumbers on one line\n"
            "tokenize encode -t tok data.jsonl.gz --ids json -o ids.jsonl\tan array a record\n"
            "echo 'def f' | tokenize encode -t tok --ids tokens --offsets chars\ttokens and places",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    signals_install();
    e.log = &t.log;
    e.invalid = !strcmp(invalid, "keep")      ? TOKENIZER_INVALID_KEEP
                : !strcmp(invalid, "replace") ? TOKENIZER_INVALID_REPLACE
                                              : TOKENIZER_INVALID_REFUSE;
    in.opts.any_bytes = e.invalid != TOKENIZER_INVALID_REFUSE;
    if (!in.opts.any_bytes) e.invalid = TOKENIZER_INVALID_KEEP; /* the reader has refused them */
    if (rc == 0) rc = encode_all(&e, &in, tok, special, output, &t);
    free_workers(&e, tool_threads(&t));
    encode_stream_free(e.stream);
    buf_release(&e.window.text);
    for (int i = 0; i < 2; i++)
        if (e.later[i]) close(e.later[i]);
    tokenizer_free(e.t);
    input_release(&in);
    return tool_end(&t, rc);
}
