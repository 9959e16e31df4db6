/* What is seen of lmgen's completions: while their ids come, and when they have ended. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/signals.h"
#include "tools/lmgen_parts.h"

static const char RULE[] = "========================================"
                           "========================================";

/* ------------------------------------------------------------------ while ids come */

/* How much of the text so far may be shown: no half character, nothing that may yet become a stop,
 * and of code no blanks that may turn out to be its last. */
static size_t showable(const struct session *s, const struct job *j) {
    size_t n = j->stopped ? j->text.n : j->open;
    return s->o->first_block ? stops_strip(j->text.v, n) : n;
}

/* What of a text is settled, and whether it ends there; `more`: it goes on. */
static int look_for_stops(struct session *s, struct job *j, bool more, struct err *err) {
    size_t whole = decode_whole(j->text.v, j->text.n), at;
    int rc = stops_find(&s->stops, j->text.v, whole, j->open, more, &at, &j->open, &j->stop, err);
    if (rc < 0 || !j->stop) return rc;
    j->stopped = true;
    j->text.n = at;
    return 0;
}

static int show(struct session *s, struct job *j, size_t to, struct err *err) {
    if (to <= j->shown) return 0;
    s->text.to = tool_out(s->t);
    int rc = text_out_add(&s->text, j->text.v + j->shown, to - j->shown, err);
    fflush(s->text.to);
    j->shown = to;
    return rc;
}

int show_prompt(struct session *s, const struct job *j, struct err *err) {
    s->text.to = tool_out(s->t);
    if (s->o->first_block) return 0;
    return text_out_add(&s->text, j->prompt->text.v, j->prompt->text.n, err);
}

int show_id(void *ctx, int row, uint32_t id) {
    struct session *s = ctx;
    struct job *j = &s->jobs[row];
    size_t before = j->text.n;
    s->new_ids++;
    if (signals_stop()) return 1;
    if (!s->tokenizer) return 0;
    if (id >= tokenizer_size(s->tokenizer))
        return 0; /* a padded vocabulary: no text, as HF has it */
    if (decode(s->tokenizer, &id, 1, true, &j->text, &s->t->err) < 0) return 1;
    if (before == 0 && j->ids.n == 1 &&
        j->prompt->healed) { /* the prompt has these bytes already */
        j->text.n -= j->prompt->healed;
        memmove(j->text.v, j->text.v + j->prompt->healed, j->text.n);
    }
    if (j->text.n && look_for_stops(s, j, true, &s->t->err) < 0) return 1;
    if (s->live && show(s, j, showable(s, j), &s->t->err) < 0) return 1;
    return j->stopped;
}

/* ------------------------------------------------------------------ what came of it */

static const char *finish_name(const struct job *j) {
    if (j->stopped || j->finish == FINISH_STOP) return "stop";
    return j->finish == FINISH_LENGTH ? "length" : "interrupted";
}

static int print_ids(struct session *s, const struct job *j, struct err *err) {
    struct buf b = {0};
    const struct u32s *parts[2] = {&j->prompt->ids, &j->ids};
    bool first = true;
    int rc = buf_char(&b, '[', err);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; rc == 0 && i < parts[k]->n; i++, first = false)
            rc = buf_printf(&b, err, "%s%" PRIu32, first ? "" : ", ", parts[k]->v[i]);
    if (rc == 0) rc = buf_str(&b, "]\n", err);
    if (rc == 0) fwrite(b.v, 1, b.n, tool_out(s->t));
    buf_release(&b);
    return rc;
}

/* A string of any bytes: cJSON's own would end at a NUL. */
static int put_text(cJSON *o, const char *key, const struct buf *text, size_t n, struct err *err) {
    struct buf b = {0};
    int rc = json_quote(&b, n ? text->v : "", n, err);
    if (rc == 0 && (!buf_cstr(&b) || !cJSON_AddRawToObject(o, key, b.v))) rc = err_nomem(err, b.n);
    buf_release(&b);
    return rc;
}

static int keep_json(struct session *s, const struct job *j, size_t n, struct err *err) {
    cJSON *o = cJSON_CreateObject(), *ids;
    bool ok = true;
    int rc = o ? put_text(o, "prompt", &j->prompt->text, j->prompt->text.n, err)
               : err_nomem(err, sizeof *o);
    if (rc == 0) rc = put_text(o, "completion", &j->text, n, err);
    ids = json_put_array(o, "ids", &ok);
    for (size_t i = 0; i < j->ids.n; i++)
        json_put_item(ids, NULL, cJSON_CreateNumber(j->ids.v[i]), &ok);
    json_put_number(o, "prompt_tokens", (double)j->prompt->ids.n, &ok);
    json_put_str(o, "finish_reason", finish_name(j), &ok);
    json_put_item(o, "stop", j->stop ? cJSON_CreateString(j->stop) : cJSON_CreateNull(), &ok);
    json_put_item(s->results, NULL, o, &ok);
    return rc == 0 && !ok ? err_nomem(err, j->ids.n * sizeof *o) : rc;
}

/* The completion as it is to be read: of code, its first block. */
static size_t readable(const struct session *s, const struct job *j) {
    return s->o->first_block ? stops_strip(j->text.v, j->text.n) : j->text.n;
}

static int print_text(struct session *s, struct job *j, size_t number, size_t total,
                      struct err *err) {
    FILE *out = tool_out(s->t);
    int rc = 0;
    if (!s->live) {
        if (s->o->preset && number)
            fprintf(out, "%s\n", RULE);
        else if (!s->o->preset && total > 1)
            fprintf(out, "%s--- %zu of %zu\n", number ? "\n" : "", number + 1, total);
        rc = show_prompt(s, j, err);
    }
    if (rc == 0) rc = show(s, j, readable(s, j), err);
    if (rc == 0) rc = text_out_end(&s->text, err);
    fputc('\n', out);
    fflush(out);
    return rc;
}

int show_done(struct session *s, struct job *j, size_t number, size_t total, struct err *err) {
    int rc = s->tokenizer && !j->stopped && j->text.n ? look_for_stops(s, j, false, err) : 0;
    if (rc < 0) return rc;
    if (s->t->json) return keep_json(s, j, readable(s, j), err);
    if (s->o->ids && strcmp(s->o->ids, "json") == 0) return print_ids(s, j, err);
    return print_text(s, j, number, total, err);
}

int show_results(struct session *s) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", s->m.dir);
    cJSON_AddItemToObject(o, "completions", s->results);
    s->results = NULL;
    cJSON_AddNumberToObject(o, "new_tokens", (double)s->new_ids);
    cJSON_AddNumberToObject(o, "seconds", s->seconds);
    return tool_print_json(s->t, o);
}
