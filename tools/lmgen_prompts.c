/* The prompts of lmgen: from the command line, files, standard input or ids, to ids. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "tools/lmgen_parts.h"

static struct prompt *new_prompt(struct session *s, struct err *err) {
    struct prompt *v = mem_resize(s->prompts, s->n_prompts + 1, sizeof *v);
    if (!v) {
        err_nomem(err, (s->n_prompts + 1) * sizeof *v);
        return NULL;
    }
    s->prompts = v;
    v[s->n_prompts] = (struct prompt){0};
    return &v[s->n_prompts++];
}

static int add_text(struct session *s, const char *text, size_t n, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    return p ? buf_append(&p->text, text, n, err) : ERR_NOMEM;
}

int parse_ids(const char *flag, const char *text, struct u32s *ret, struct err *err) {
    int rc = 0;
    while (rc == 0 && *text) {
        char *end;
        if (isspace((unsigned char)*text) || strchr(",[]", *text)) {
            text++;
            continue;
        }
        errno = 0;
        unsigned long id = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : ULONG_MAX;
        if (errno || id > UINT32_MAX)
            return err_set(err, ERR_USAGE, "%s: \"%.20s\" is not an id", flag, text);
        rc = u32s_push(ret, (uint32_t)id, err);
        text = end;
    }
    return rc;
}

static int add_ids(struct session *s, const char *text, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    return p ? parse_ids("--prompt-ids", text, &p->ids, err) : ERR_NOMEM;
}

/* One line of --prompts: the line itself, or its "prompt" where the file is JSONL. */
static int add_line(struct session *s, const char *line, size_t n, bool json, uint64_t number,
                    struct err *err) {
    cJSON *tree = NULL;
    const char *text = NULL;
    char what[ERR_MSG_BYTES / 2];
    int rc;
    if (!json) return add_text(s, line, n, err);
    snprintf(what, sizeof what, "%s: line %" PRIu64, s->o->prompts, number);
    rc = json_parse(&tree, line, n, what, err);
    if (rc == 0) rc = json_str(tree, "prompt", &text, what, err);
    if (rc == 0 && !text) rc = err_set(err, ERR_DATA, "%s: no string \"prompt\"", what);
    if (rc == 0) rc = add_text(s, text, strlen(text), err);
    cJSON_Delete(tree);
    return rc == ERR_CORRUPT ? ERR_DATA : rc;
}

static int add_file(struct session *s, const char *path, struct err *err) {
    struct buf b = {0};
    bool json = path_ends(path, ".jsonl");
    uint64_t number = 0;
    int rc = file_read(path, UINT32_MAX, &b, err);
    for (size_t at = 0; rc == 0 && at < b.n;) {
        const char *nl = memchr(b.v + at, '\n', b.n - at);
        size_t end = nl ? (size_t)(nl - b.v) : b.n, n = end - at;
        if (n && b.v[at + n - 1] == '\r') n--;
        number++;
        if (n) rc = add_line(s, b.v + at, n, json, number, err);
        at = end + 1;
    }
    buf_release(&b);
    return rc;
}

static int add_stdin(struct session *s, struct err *err) {
    struct prompt *p = new_prompt(s, err);
    char block[1 << 14];
    size_t n;
    int rc = p ? 0 : ERR_NOMEM;
    while (rc == 0 && (n = fread(block, 1, sizeof block, stdin)) > 0)
        rc = buf_append(&p->text, block, n, err);
    if (rc == 0 && ferror(stdin)) rc = err_errno(err, "stdin");
    return rc;
}

int prompts_collect(struct session *s, struct err *err) {
    const struct strs *named = s->t->operands;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < named->n; i++)
        rc = strcmp(named->v[i], "-") == 0 ? add_stdin(s, err)
                                           : add_text(s, named->v[i], strlen(named->v[i]), err);
    if (rc == 0 && s->o->prompts) rc = add_file(s, s->o->prompts, err);
    if (rc == 0 && s->o->prompt_ids) rc = add_ids(s, s->o->prompt_ids, err);
    if (rc == 0 && s->n_prompts == 0 && !s->o->prompts) rc = add_text(s, "", 0, err);
    if (rc == 0 && s->n_prompts == 0)
        rc = err_set(err, ERR_DATA, "%s: no prompts in it", s->o->prompts);
    return rc;
}

/* A prompt may end in the middle of what a text would have as one token: "def " in front of "
 * main", whose blank belongs to the name. So the last token is taken back, and the first new one
 * must begin with its bytes (token healing). */
static int heal(struct session *s, struct prompt *p, int64_t eos, struct err *err) {
    uint32_t V = (uint32_t)s->m.config.V, last = p->text.n ? p->ids.v[p->ids.n - 1] : 0;
    size_t n = 0, m;
    const uint8_t *tail = tokenizer_bytes(s->tokenizer, last, &n);
    if (!p->text.n || n == 0 || (p->ids.n == 1 && eos < 0)) return 0;
    p->first = mem_array((size_t)s->m.config.V, sizeof *p->first);
    if (!p->first) return err_nomem(err, (uint64_t)s->m.config.V);
    if (V > tokenizer_size(s->tokenizer)) V = tokenizer_size(s->tokenizer);
    for (uint32_t id = 0; id < V; id++) {
        const uint8_t *v = tokenizer_bytes(s->tokenizer, id, &m);
        p->first[id] = m >= n && memcmp(v, tail, n) == 0;
    }
    p->healed = (uint32_t)n;
    if (--p->ids.n == 0) return u32s_push(&p->ids, (uint32_t)eos, err);
    return 0;
}

/* A tokenizer may have got tokens that the model has no row for. */
static int check_rows(const struct session *s, size_t i, struct err *err) {
    const struct u32s *ids = &s->prompts[i].ids;
    for (size_t k = 0; k < ids->n; k++)
        if (ids->v[k] >= (uint32_t)s->m.config.V)
            return err_set(err, ERR_USAGE,
                           "prompt %zu: token %zu is id %" PRIu32 "; the model has %d", i + 1,
                           k + 1, ids->v[k], s->m.config.V);
    return 0;
}

int prompts_encode(struct session *s, int64_t eos, struct err *err) {
    struct encoder *e = NULL;
    int rc = s->tokenizer ? encoder_new(&e, s->tokenizer, err) : 0;
    for (size_t i = 0; rc == 0 && i < s->n_prompts; i++) {
        struct prompt *p = &s->prompts[i];
        bool given = p->ids.n > 0;
        if (given && s->tokenizer)
            rc = decode(s->tokenizer, p->ids.v, p->ids.n, false, &p->text, err);
        else if (p->text.n)
            rc = encode(e, p->text.v, p->text.n, TOKENIZER_SPECIAL_ALL, &p->ids, err);
        if (rc == 0 && p->ids.n == 0)
            rc = eos >= 0 ? u32s_push(&p->ids, (uint32_t)eos, err)
                          : err_set(err, ERR_USAGE, "no prompt was given");
        if (rc == 0) rc = check_rows(s, i, err);
        if (rc == 0 && s->o->heal && !given && s->tokenizer) rc = heal(s, p, eos, err);
    }
    encoder_free(e);
    return rc;
}

void prompts_release(struct session *s) {
    for (size_t i = 0; i < s->n_prompts; i++) {
        u32s_release(&s->prompts[i].ids);
        buf_release(&s->prompts[i].text);
        free(s->prompts[i].first);
    }
    free(s->prompts);
}
