/* What may not come, or is made likelier or less likely, as lists of ids: from the command line's
 * texts, and from a generation_config.json. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "tools/lmgen_parts.h"

/* The ids of one more bias lie behind the others'; id_bias.ids is set when all are there. */
static int add_bias(struct rules *r, const uint32_t *ids, size_t n, float bias, struct err *err) {
    struct id_bias *more = mem_resize(r->bias, r->n_bias + 1, sizeof *more);
    if (!more) return err_nomem(err, (r->n_bias + 1) * sizeof *more);
    r->bias = more;
    more[r->n_bias++] = (struct id_bias){.n = n, .bias = bias};
    return u32s_append(&r->bias_ids, ids, n, err);
}

/* A later bias of the same ids counts in place of an earlier one, as in a dictionary. */
static int set_bias(struct rules *r, const uint32_t *ids, size_t n, float bias, struct err *err) {
    size_t at = 0;
    for (size_t i = 0; i < r->n_bias; at += r->bias[i++].n)
        if (r->bias[i].n == n && memcmp(r->bias_ids.v + at, ids, n * sizeof *ids) == 0) {
            r->bias[i].bias = bias;
            return 0;
        }
    return add_bias(r, ids, n, bias, err);
}

static bool ends_a_text(const struct rules *r, uint32_t id) {
    bool found = false;
    for (size_t i = 0; i < r->ends.n; i++) found |= r->ends.v[i] == id;
    return found;
}

/* transformers leaves an end of text out of the bad words. */
static int forbid(struct session *s, const uint32_t *ids, size_t n, const char *what,
                  struct err *err) {
    if (n == 1 && ends_a_text(&s->rules, ids[0])) {
        log_warn(&s->t->log, "%s: id %" PRIu32 " ends a text and is left in, as in transformers",
                 what, ids[0]);
        return 0;
    }
    return add_bias(&s->rules, ids, n, -INFINITY, err);
}

/* ------------------------------------------------------------------ generation_config.json */

/* Whole numbers, each below V; `any`: others are left out, as they are no ids. */
static int read_ids(const struct session *s, const cJSON *list, bool any, const char *key,
                    const char *path, struct u32s *ret, struct err *err) {
    int rc = 0;
    ret->n = 0;
    if (!list || cJSON_IsNull(list)) return 0;
    bool good = cJSON_IsArray(list) && (any || list->child);
    for (const cJSON *x = good ? list->child : NULL; rc == 0 && good && x; x = x->next) {
        double id = cJSON_IsNumber(x) ? x->valuedouble : NAN;
        bool is_id = id >= 0 && id < s->m.config.V && id == floor(id);
        good = is_id || (any && id == floor(id));
        if (is_id) rc = u32s_push(ret, (uint32_t)id, err);
    }
    return rc == 0 && !good
               ? err_set(err, ERR_CORRUPT, "%s: \"%s\" holds something else than ids below %d",
                         path, key, s->m.config.V)
               : rc;
}

/* [[[5, 7], -2.5], …] */
static int read_biases(struct session *s, const cJSON *list, const char *path, struct err *err) {
    struct u32s ids = {0};
    int rc = 0;
    for (const cJSON *x = list ? list->child : NULL; rc == 0 && x; x = x->next) {
        const cJSON *bias = x->child ? x->child->next : NULL;
        if (!cJSON_IsArray(x) || !cJSON_IsNumber(bias))
            rc = err_set(err, ERR_CORRUPT, "%s: \"sequence_bias\" is no list of [[id, …], bias]",
                         path);
        if (rc == 0) rc = read_ids(s, x->child, false, "sequence_bias", path, &ids, err);
        if (rc == 0) rc = set_bias(&s->rules, ids.v, ids.n, (float)bias->valuedouble, err);
    }
    u32s_release(&ids);
    return rc;
}

static int read_bad_words(struct session *s, const cJSON *list, const char *path, struct err *err) {
    struct u32s ids = {0};
    int rc = 0;
    for (const cJSON *x = list ? list->child : NULL; rc == 0 && x; x = x->next) {
        rc = read_ids(s, x, false, "bad_words_ids", path, &ids, err);
        if (rc == 0 && !ids.n)
            rc = err_set(err, ERR_CORRUPT, "%s: \"bad_words_ids\" is no list of lists", path);
        if (rc == 0) rc = forbid(s, ids.v, ids.n, "bad_words_ids", err);
    }
    u32s_release(&ids);
    return rc;
}

static int note_ends(struct session *s, int64_t eos, struct err *err) {
    const struct model_config *c = &s->m.config;
    int rc = 0;
    s->rules.ends.n = 0;
    if (s->o->no_stop) return 0;
    if (eos >= 0 && eos < c->V) rc = u32s_push(&s->rules.ends, (uint32_t)eos, err);
    for (int i = 0; rc == 0 && i < c->n_eos_more; i++)
        if (c->eos_more[i] < (uint32_t)c->V) rc = u32s_push(&s->rules.ends, c->eos_more[i], err);
    return rc;
}

int rules_from_config(struct session *s, const cJSON *o, const char *path, struct err *err) {
    struct rules *r = &s->rules;
    int rc = note_ends(s, s->m.config.eos, err);
    if (rc == 0) rc = read_biases(s, json_get(o, "sequence_bias"), path, err);
    if (rc == 0) rc = read_bad_words(s, json_get(o, "bad_words_ids"), path, err);
    if (rc == 0)
        rc = read_ids(s, json_get(o, "suppress_tokens"), true, "suppress_tokens", path,
                      &r->suppress, err);
    if (rc == 0)
        rc = read_ids(s, json_get(o, "begin_suppress_tokens"), true, "begin_suppress_tokens", path,
                      &r->begin_suppress, err);
    return rc;
}

/* ------------------------------------------------------------------ the command line */

static int check_ids(const struct session *s, const char *flag, const struct u32s *ids,
                     struct err *err) {
    for (size_t i = 0; i < ids->n; i++)
        if (ids->v[i] >= (uint32_t)s->m.config.V)
            return err_set(err, ERR_USAGE, "%s: id %" PRIu32 "; the model has %d", flag, ids->v[i],
                           s->m.config.V);
    return ids->n ? 0 : err_set(err, ERR_USAGE, "%s is empty", flag);
}

/* --bad-words TEXT */
static int add_bad_words(struct session *s, struct encoder *e, struct err *err) {
    const struct strs *words = &s->o->bad_words;
    struct u32s ids = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < words->n; i++) {
        ids.n = 0;
        rc = encode(e, words->v[i], strlen(words->v[i]), TOKENIZER_SPECIAL_ALL, &ids, err);
        if (rc == 0) rc = check_ids(s, "--bad-words", &ids, err);
        if (rc == 0) rc = forbid(s, ids.v, ids.n, "--bad-words", err);
    }
    u32s_release(&ids);
    return rc;
}

/* --sequence-bias TEXT=X */
static int add_biases(struct session *s, struct encoder *e, struct err *err) {
    const struct strs *given = &s->o->sequence_bias;
    struct u32s ids = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < given->n; i++) {
        const char *equals = strrchr(given->v[i], '=');
        char *end = NULL;
        double bias = equals ? strtod(equals + 1, &end) : 0;
        if (!equals || end == equals + 1 || *end || !isfinite((float)bias))
            return err_set(err, ERR_USAGE, "--sequence-bias: \"%.60s\" is not TEXT=NUMBER",
                           given->v[i]);
        ids.n = 0;
        rc = encode(e, given->v[i], (size_t)(equals - given->v[i]), TOKENIZER_SPECIAL_ALL, &ids,
                    err);
        if (rc == 0) rc = check_ids(s, "--sequence-bias", &ids, err);
        if (rc == 0) rc = set_bias(&s->rules, ids.v, ids.n, (float)bias, err);
    }
    u32s_release(&ids);
    return rc;
}

int rules_make(struct session *s, int64_t eos, const struct sampling_rules **ret, struct err *err) {
    const struct options *o = s->o;
    struct rules *r = &s->rules;
    struct encoder *e = NULL;
    size_t at = 0;
    int rc = note_ends(s, eos, err);
    if (rc == 0 && (o->bad_words.n || o->sequence_bias.n)) rc = encoder_new(&e, s->tokenizer, err);
    if (rc == 0) rc = add_biases(s, e, err);
    if (rc == 0) rc = add_bad_words(s, e, err);
    encoder_free(e);
    if (rc == 0 && o->suppress_tokens) {
        r->suppress.n = 0; /* in place of the model's */
        rc = parse_ids("--suppress-tokens", o->suppress_tokens, &r->suppress, err);
        if (rc == 0) rc = check_ids(s, "--suppress-tokens", &r->suppress, err);
    }
    if (rc < 0) return rc;
    for (size_t i = 0; i < r->n_bias; at += r->bias[i++].n) r->bias[i].ids = r->bias_ids.v + at;
    r->all = (struct sampling_rules){.bias = r->bias,
                                     .n_bias = r->n_bias,
                                     .repetition_penalty = (float)o->repetition_penalty,
                                     .no_repeat_ngram_size = o->no_repeat_ngram_size,
                                     .min_length = o->min_length,
                                     .min_new = o->min_new,
                                     .ends = r->ends.v,
                                     .n_ends = r->ends.n,
                                     .suppress = r->suppress.v,
                                     .n_suppress = r->suppress.n,
                                     .begin_suppress = r->begin_suppress.v,
                                     .n_begin_suppress = r->begin_suppress.n};
    bool any = r->n_bias || o->repetition_penalty != 1 || o->no_repeat_ngram_size ||
               r->suppress.n || r->begin_suppress.n || (r->ends.n && (o->min_length || o->min_new));
    *ret = any ? &r->all : NULL; /* without, a device draws by itself */
    return 0;
}

void rules_release(struct rules *r) {
    free(r->bias);
    u32s_release(&r->bias_ids);
    u32s_release(&r->ends);
    u32s_release(&r->suppress);
    u32s_release(&r->begin_suppress);
}
