/* What a model's generation_config.json says, as transformers' generate() takes it: a default below
 * the command line, under another name. What is not built here and would change the text is
 * refused, never passed over. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "tools/lmgen_parts.h"

/* Numbers and flags, and the options they are. The first N_WARPERS only matter where ids are drawn.
 */
static const struct key {
    const char *json, *option;
} keys[] = {{"temperature", "temperature"},
            {"top_k", "top-k"},
            {"top_p", "top-p"},
            {"min_p", "min-p"},
            {"typical_p", "typical-p"},
            {"epsilon_cutoff", "epsilon-cutoff"},
            {"eta_cutoff", "eta-cutoff"},
            {"repetition_penalty", "repetition-penalty"},
            {"no_repeat_ngram_size", "no-repeat-ngram-size"},
            {"num_return_sequences", "n"},
            {"token_healing", "heal"},
            {"min_new_tokens", "min-new"},
            {"min_length", "min-length"},
            {"max_new_tokens", "max-new"},
            {"max_length", "max-length"}};
/* From FIRST_LENGTH on, pairs: of the new ids, and of all. */
enum { N_KEYS = sizeof keys / sizeof *keys, N_WARPERS = 7, FIRST_LENGTH = N_KEYS - 4 };

/* Not built here, and the value under which nothing is missed. */
static const struct {
    const char *json;
    double idle; /* NAN: null alone */
} refused[] = {{"num_beams", 1},
               {"num_beam_groups", 1},
               {"diversity_penalty", 0},
               {"penalty_alpha", 0},
               {"top_h", NAN},
               {"guidance_scale", 1},
               {"encoder_repetition_penalty", 1},
               {"encoder_no_repeat_ngram_size", 0},
               {"forced_bos_token_id", NAN},
               {"forced_eos_token_id", NAN},
               {"exponential_decay_length_penalty", NAN},
               {"watermarking_config", NAN},
               {"constraints", NAN},
               {"force_words_ids", NAN},
               {"dola_layers", NAN},
               {"max_time", NAN}};

static int refuse(const cJSON *o, const char *path, struct err *err) {
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const cJSON *x = json_get(o, refused[i].json);
        if (!x || cJSON_IsNull(x) || (cJSON_IsNumber(x) && x->valuedouble == refused[i].idle))
            continue;
        err_set(err, ERR_USAGE, "%s: \"%s\" is not supported", path, refused[i].json);
        return err_hint(err, "--generation-config none goes without this file");
    }
    return 0;
}

static struct opt *option(const struct session *s, const char *name) {
    return opt_find(s->table, name, strlen(name));
}

/* Whether the command line says how to draw. */
static bool draws(const struct session *s) {
    bool any = false;
    for (size_t i = 0; i < N_WARPERS; i++) any = any || option(s, keys[i].option)->given;
    return any || option(s, "greedy")->given;
}

/* One value into its option, and into what is said of it. */
static int take(const cJSON *o, const struct key *key, const struct opt *p, const char *path,
                struct buf *said, struct err *err) {
    const cJSON *x = json_get(o, key->json);
    double value = 0;
    bool on = false;
    int rc;
    if (!x || cJSON_IsNull(x)) return 0;
    if (p->type == OPT_FLAG) {
        rc = json_bool(o, key->json, &on, path, err);
        if (rc == 0) *(bool *)p->to = on;
        value = on;
    } else {
        rc = json_f64(o, key->json, &value, path, err);
        if (rc == 0 &&
            (value < p->min || value > p->max || (p->type == OPT_U64 && value != floor(value))))
            rc = err_set(err, ERR_CORRUPT, "%s: \"%s\" is %g; it must be from %g to %g", path,
                         key->json, value, p->min, p->max);
        if (rc == 0 && p->type == OPT_F64) *(double *)p->to = value;
        if (rc == 0 && p->type == OPT_U64) *(uint64_t *)p->to = (uint64_t)value;
    }
    return rc == 0 ? buf_printf(said, err, "%s%s %g", said->n ? ", " : "", key->json, value) : rc;
}

/* Of a pair of lengths the command line's counts alone, else that of the new ids. */
static bool outranked(const struct session *s, const cJSON *o, size_t i) {
    if (i < FIRST_LENGTH) return false;
    size_t pair = i - (i - FIRST_LENGTH) % 2;
    return option(s, keys[pair].option)->given || option(s, keys[pair + 1].option)->given ||
           (i > pair && cJSON_IsNumber(json_get(o, keys[pair].json)));
}

static int take_all(struct session *s, const cJSON *o, const char *path, struct buf *said,
                    struct err *err) {
    bool sample = true;
    int rc = json_bool(o, "do_sample", &sample, path, err);
    if (rc == 0 && !sample && !draws(s)) {
        s->o->greedy = true;
        rc = buf_str(said, "do_sample false", err);
    }
    for (size_t i = 0; rc == 0 && i < N_KEYS; i++) {
        const struct opt *p = option(s, keys[i].option);
        if (p->given || (i < N_WARPERS && s->o->greedy) || outranked(s, o, i)) continue;
        rc = take(o, &keys[i], p, path, said, err);
        if (i == N_KEYS - 1 && s->o->max_length) s->o->max_new = s->o->max_length;
    }
    return rc;
}

/* "stop_strings": one, or a list. They are kept with those of --stop. */
static int take_stops(struct session *s, const cJSON *o, const char *path, struct err *err) {
    const cJSON *stop = json_get(o, "stop_strings");
    struct strs *kept = &s->o->stop;
    bool many = cJSON_IsArray(stop);
    int rc = 0;
    if (!stop || cJSON_IsNull(stop)) return 0;
    for (const cJSON *x = many ? stop->child : stop; rc == 0 && x; x = many ? x->next : NULL) {
        if (!cJSON_IsString(x))
            return err_set(err, ERR_CORRUPT, "%s: \"stop_strings\" is no text", path);
        rc = strs_push(kept, x->valuestring, err);
        if (rc == 0) rc = stops_add_string(&s->stops, kept->v[kept->n - 1], err);
    }
    return rc;
}

static int take_file(struct session *s, const char *path, struct err *err) {
    struct buf said = {0};
    cJSON *tree = NULL;
    int rc = json_load(&tree, path, err);
    if (rc == 0 && !cJSON_IsObject(tree)) rc = err_set(err, ERR_CORRUPT, "%s: not an object", path);
    if (rc == 0) rc = model_config_ends(&s->m.config, path, err);
    if (rc == 0) rc = refuse(tree, path, err);
    if (rc == 0) rc = take_all(s, tree, path, &said, err);
    if (rc == 0) rc = take_stops(s, tree, path, err);
    if (rc == 0) rc = rules_from_config(s, tree, path, err);
    if (rc == 0 && said.n && buf_cstr(&said)) log_info(&s->t->log, "%s: %s", path, said.v);
    cJSON_Delete(tree);
    buf_release(&said);
    return rc;
}

int config_take(struct session *s, struct err *err) {
    const char *named = s->o->generation_config;
    if (named && strcmp(named, "none") == 0) return 0;
    if (named && file_kind(named) != FILE_FOLDER) return take_file(s, named, err);
    char *path = path_join(named ? named : s->m.dir, "generation_config.json");
    int rc = path ? 0 : err_nomem(err, 0);
    if (rc == 0 && (named || file_kind(path) == FILE_REGULAR)) rc = take_file(s, path, err);
    free(path);
    return rc;
}
