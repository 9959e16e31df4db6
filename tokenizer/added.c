/* The tokens that the files beside a vocabulary add to it, as AutoTokenizer does when it opens the
 * folder:
 *
 *   listed   added_tokens_decoder of tokenizer_config.json, else added_tokens.json, by their ids
 *   named    bos, eos, unk, sep, pad, cls and mask token, then a model's own (image_token …)
 *   extra    extra_special_tokens, which transformers 4 calls additional_special_tokens
 *
 *   50256          50257      50258      50259
 *   <|endoftext|>  <listed>   <pad>      <extra>
 *
 * A text that the vocabulary has keeps its id, any other gets the one behind the last. Where there
 * is an added_tokens_decoder, special_tokens_map.json is not asked; else it goes before
 * tokenizer_config.json. */
#include <stdlib.h>
#include "base/json.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/seams.h"
#include "tokenizer/vocab.h"

#define CONFIG  "tokenizer_config.json"
#define DECODER "added_tokens_decoder"
#define ADDED   "added_tokens.json"
#define EXTRA   "extra_special_tokens"
#define EXTRA_4 "additional_special_tokens"
#define OWN     "model_specific_special_tokens"

/* A token as one of the files has it: a string, or an object of AddedToken's members. */
struct token {
    const char *key;
    const cJSON *value;
    bool special; /* whatever the object says */
};

struct tokens {
    struct token *v;
    size_t n, cap;
};

struct adding {
    struct tokenizer *t;
    const char *folder;
    const cJSON *config, *map, *decoder; /* map: NULL where it is not asked */
    cJSON *padding;                      /* of tokenizer.json               */
    struct tokens named, extra;
    size_t newer;      /* of the extra ones not by transformers 4's key */
    struct special *v; /* the added tokens; those in front of `known` were there, or are listed */
    size_t n, cap, known;
    uint64_t
        next; /* id of one more: HF counts from the number of tokens, not from the largest id */
    bool changed;
    struct err *err;
};

static int wrong(const struct adding *a, const char *where, const char *what, const char *text) {
    return err_set(a->err, ERR_CORRUPT, "%s: %s: \"%.60s\" %s", a->folder, where, text, what);
}

/* ------------------------------------------------------------------ which there are */

static int tokens_push(struct tokens *l, struct token token, struct err *err) {
    struct token *v = mem_grown(l->v, l->n, &l->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    l->v = v;
    v[l->n++] = token;
    return 0;
}

/* A name that stands twice keeps its place and has the later token. */
static int set_named(struct adding *a, const cJSON *o, bool special) {
    struct token token = {o->string, o, special};
    for (size_t i = 0; i < a->named.n; i++)
        if (strcmp(a->named.v[i].key, o->string) == 0) {
            a->named.v[i] = token;
            return 0;
        }
    return tokens_push(&a->named, token, a->err);
}

static int set_all(struct adding *a, const cJSON *object) {
    const cJSON *o;
    int rc = 0;
    if (!cJSON_IsObject(object)) return 0;
    cJSON_ArrayForEach(o, object) if (rc >= 0) rc = set_named(a, o, true);
    return rc;
}

/* The seven that every tokenizer may have; padding in tokenizer.json names one, too. */
static int find_roles(struct adding *a) {
    int rc = 0;
    for (const char *const *key = config_roles; *key && rc >= 0; key++) {
        const cJSON *o = json_get(a->map, *key);
        if (!o) o = json_get(a->config, *key);
        if (!o && strcmp(*key, "pad_token") == 0) o = json_get(a->padding, *key);
        if (o && !cJSON_IsNull(o)) rc = set_named(a, o, true);
    }
    return rc;
}

/* Those of the members NAME_token that are strings, or that are objects. */
static int find_own(struct adding *a, const cJSON *tree, bool strings, bool objects) {
    const cJSON *o;
    int rc = 0;
    cJSON_ArrayForEach(o, tree) {
        bool wanted = cJSON_IsString(o) ? strings : objects && cJSON_IsObject(o);
        if (wanted && config_is_own_token(o->string)) rc = set_named(a, o, true);
        if (rc < 0) break;
    }
    return rc;
}

/* In the order in which transformers' dictionaries come to have them. */
static int find_all_own(struct adding *a, const cJSON *extra) {
    const size_t roles = a->named.n;
    int rc = find_own(a, a->config, false, true);
    if (rc >= 0) rc = find_own(a, a->map, true, true);
    const size_t before = a->named.n;
    if (rc >= 0) rc = find_own(a, a->config, true, false);
    if (rc >= 0) rc = set_all(a, extra);
    if (rc >= 0 && a->named.n == before && before == roles)
        rc = set_all(a, json_get(a->config, OWN));
    return rc < 0 ? rc : set_all(a, json_get(a->map, EXTRA));
}

/* An object's tokens have names. Without "__type" a list's object is of transformers 4's map, which
 * says nothing of `special`. */
static int push_extra(struct adding *a, const cJSON *list, bool special) {
    const cJSON *o;
    int rc = 0;
    if (!list || cJSON_IsNull(list) || cJSON_IsObject(list)) return 0;
    if (!cJSON_IsArray(list)) return wrong(a, CONFIG, "is no list of tokens", list->string);
    cJSON_ArrayForEach(o, list) {
        struct token token = {EXTRA, o, special || !json_get(o, "__type")};
        if (rc >= 0) rc = tokens_push(&a->extra, token, a->err);
    }
    return rc;
}

/* transformers 4's key counts where the newer one is empty, and again, but then the map's before
 * the configuration's, where the newer one named its tokens. */
static int find_extra(struct adding *a, const cJSON *extra) {
    const cJSON *more = json_get(a->map, EXTRA), *four = json_get(a->map, EXTRA_4);
    int rc = cJSON_IsObject(more) ? 0 : push_extra(a, extra, false);
    if (rc >= 0) rc = push_extra(a, more, true);
    a->newer = a->extra.n;
    if (rc < 0 || (extra && !cJSON_IsObject(extra)) || (more && !cJSON_IsObject(more))) return rc;
    bool again = !four && extra != json_get(a->config, EXTRA_4);
    return again ? push_extra(a, json_get(a->config, EXTRA_4), false) : push_extra(a, four, true);
}

static int find_tokens(struct adding *a) {
    const cJSON *extra = json_get(a->config, EXTRA), *four = json_get(a->config, EXTRA_4);
    if (four && !(extra && extra->child)) extra = four;
    int rc = find_roles(a);
    if (rc >= 0) rc = find_all_own(a, extra);
    return rc < 0 ? rc : find_extra(a, extra);
}

static bool is_among(const struct tokens *l, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++) {
        const char *other = config_token_text(l->v[i].value);
        if (other && strcmp(other, text) == 0) return true;
    }
    return false;
}

/* ------------------------------------------------------------------ adding one */

/* The id of the token with this spelling in the vocabulary, or TOKENIZER_NO_ID. HF compares
 * spellings, so a text that other bytes are spelt as would be those bytes' token. */
static int find_spelling(struct adding *a, const char *text, uint32_t *ret) {
    const struct tokenizer *t = a->t;
    struct buf bytes = {0};
    size_t n = strlen(text), len;
    int rc = bytemap_read(&bytes, text, n, a->err);
    *ret = rc > 0 ? finder_get(&t->finder, t, (uint8_t *)bytes.v, bytes.n) : TOKENIZER_NO_ID;
    bool other = *ret != TOKENIZER_NO_ID && (bytes.n != n || memcmp(bytes.v, text, n) != 0);
    buf_release(&bytes);
    if (rc < 0 || *ret != TOKENIZER_NO_ID)
        return rc < 0  ? rc
               : other ? wrong(a, "added token", "is how other bytes are spelt", text)
                       : 0;
    for (uint32_t id = 0; id < t->n; id++) {
        const uint8_t *p = vocab_token(t, id, &len);
        if (t->kind[id] & TOKEN_RAW && len == n && memcmp(p, text, n) == 0) *ret = id;
    }
    return 0;
}

static int append(struct adding *a, const char *text, uint32_t *ret) {
    *ret = a->t->n;
    if (a->next == a->t->n) return vocab_append(a->t, text, a->err);
    return err_set(a->err, ERR_CORRUPT,
                   "%s: added token \"%.60s\" would get the id %llu, behind which there are tokens",
                   a->folder, text, (unsigned long long)a->next);
}

static int check_stated(struct adding *a, const char *where, const struct special *s, uint32_t id,
                        bool appended) {
    if (s->id == TOKENIZER_NO_ID || s->id == id) return 0;
    return err_set(a->err, ERR_CORRUPT, "%s/%s: \"%.60s\" %s id %u%s, not %u", a->folder, where,
                   s->text, appended ? "gets" : "has", id, appended ? "" : " in the vocabulary",
                   s->id);
}

static bool same_flags(const struct special *a, const struct special *b) {
    return a->special == b->special && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           a->single_word == b->single_word && a->normalized == b->normalized;
}

static size_t find_added(const struct adding *a, size_t n, const char *text) {
    size_t i = 0;
    while (i < n && strcmp(a->v[i].text, text) != 0) i++;
    return i;
}

/* s->id is the one that the file states, or TOKENIZER_NO_ID. A token that is there already has
 * these flags from now on. */
static int add(struct adding *a, const char *where, const struct special *s) {
    size_t i = find_added(a, a->n, s->text);
    uint32_t id = i < a->n ? a->v[i].id : TOKENIZER_NO_ID;
    int rc = i < a->n ? 0 : find_spelling(a, s->text, &id);
    bool appended = id == TOKENIZER_NO_ID;
    if (rc >= 0 && appended) rc = append(a, s->text, &id);
    if (rc >= 0) rc = check_stated(a, where, s, id, appended);
    if (rc < 0 || (i < a->n && same_flags(&a->v[i], s))) return rc;
    struct special *v = mem_grown(a->v, a->n, &a->cap, 1, sizeof *v, a->err);
    if (!v) return ERR_NOMEM;
    a->v = v;
    v[i] = *s;
    v[i].id = id;
    if (id >= a->next) a->next = (uint64_t)id + 1;
    a->n += i == a->n;
    a->changed = true;
    return 0;
}

/* The flags of one, with AddedToken's defaults. */
static int read_flags(struct adding *a, const cJSON *o, bool special, struct special *s) {
    int rc = json_bool(o, "special", &s->special, CONFIG, a->err);
    s->special |= special;
    s->normalized = !s->special;
    if (rc >= 0) rc = json_bool(o, "normalized", &s->normalized, CONFIG, a->err);
    if (rc >= 0) rc = json_bool(o, "lstrip", &s->lstrip, CONFIG, a->err);
    if (rc >= 0) rc = json_bool(o, "rstrip", &s->rstrip, CONFIG, a->err);
    if (rc >= 0) rc = json_bool(o, "single_word", &s->single_word, CONFIG, a->err);
    return rc < 0 ? err_prefix(a->err, "%s", a->folder) : 0;
}

static int add_tokens(struct adding *a, const struct tokens *l) {
    int rc = 0;
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        const struct token *token = &l->v[i];
        struct special s = {
            .id = TOKENIZER_NO_ID, .text = config_token_text(token->value), .special = true};
        if (!s.text) return wrong(a, CONFIG, "holds what is no token", token->key);
        if (!s.text[0] || find_added(a, a->known, s.text) < a->known) continue;
        bool special = token->special || is_among(&a->named, a->named.n, s.text);
        s.special = special;
        if (cJSON_IsObject(token->value)) rc = read_flags(a, token->value, special, &s);
        if (rc >= 0) rc = add(a, CONFIG, &s);
    }
    return rc;
}

/* ------------------------------------------------------------------ those with an id */

static int by_id(const void *x, const void *y) {
    const struct special *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

/* "50257": {"content": "<x>", …} */
static int read_listed(struct adding *a, const cJSON *o, struct special *s) {
    char *end;
    unsigned long id = strtoul(o->string, &end, 10);
    *s = (struct special){.id = (uint32_t)id, .text = config_token_text(o)};
    if (!cJSON_IsObject(o) || !s->text || *end || end == o->string || id >= TOKENIZER_NO_ID)
        return wrong(a, CONFIG ": " DECODER, "is no id with a token", o->string);
    return read_flags(a, o, is_among(&a->named, a->named.n, s->text), s);
}

/* "<x>": 50257 */
static int read_older(struct adding *a, const cJSON *o, struct special *s) {
    if (!cJSON_IsNumber(o) || o->valuedouble < 0 || o->valuedouble >= INT32_MAX ||
        o->valuedouble != (double)(uint32_t)o->valuedouble)
        return wrong(a, ADDED, "has no id", o->string);
    size_t roles = 0;
    while (roles < a->named.n && !config_is_own_token(a->named.v[roles].key)) roles++;
    bool special =
        is_among(&a->named, roles, o->string) || is_among(&a->extra, a->newer, o->string);
    *s = (struct special){.id = (uint32_t)o->valuedouble,
                          .text = o->string,
                          .special = special || is_among(&a->named, a->named.n, o->string),
                          .normalized = !special};
    size_t at = find_added(a, a->n, s->text);
    if (at < a->n && a->v[at].id == s->id) { /* the vocabulary's own flags */
        bool forced = s->special;
        *s = a->v[at];
        s->special |= forced;
    }
    return 0;
}

static int add_listed(struct adding *a) {
    const cJSON *o, *tree = a->decoder ? a->decoder : a->t->config.added;
    size_t n = 0;
    int rc = 0;
    struct special *v = mem_array((size_t)cJSON_GetArraySize(tree), sizeof *v);
    if (!v) return err_nomem(a->err, sizeof *v);
    cJSON_ArrayForEach(o, tree) {
        rc = a->decoder ? read_listed(a, o, &v[n]) : read_older(a, o, &v[n]);
        if (rc < 0) break;
        n += v[n].text[0] != 0;
    }
    if (n) qsort(v, n, sizeof *v, by_id);
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = add(a, a->decoder ? CONFIG ": " DECODER : ADDED, &v[i]);
    free(v);
    return rc;
}

/* Without a decoder, a name makes an added token of the vocabulary special. */
static void promote(struct adding *a) {
    for (size_t i = 0; i < a->n && !a->decoder; i++) {
        struct special *s = &a->v[i];
        if (s->special || !is_among(&a->named, a->named.n, s->text)) continue;
        s->special = a->changed = true;
    }
}

/* ------------------------------------------------------------------ the whole */

static int begin_list(struct adding *a) {
    const struct tokenizer *t = a->t;
    a->v = mem_array((size_t)t->n_specials + 1, sizeof *a->v);
    if (!a->v) return err_nomem(a->err, t->n_specials * sizeof *a->v);
    if (t->n_specials) memcpy(a->v, t->specials, t->n_specials * sizeof *a->v);
    a->n = t->n_specials;
    a->cap = a->n + 1;
    for (uint32_t id = 0; id < t->n; id++)
        a->next += (t->kind[id] & (TOKEN_MODEL | TOKEN_RAW)) != 0;
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].id >= a->next) a->next = (uint64_t)a->v[i].id + 1;
    return 0;
}

static int begin(struct adding *a) {
    const struct tokenizer *t = a->t;
    a->config = t->config.config;
    a->decoder = json_get(a->config, DECODER);
    a->map = a->decoder ? NULL : t->config.map;
    int rc = begin_list(a);
    if (rc < 0) return rc;
    if (a->decoder && !cJSON_IsObject(a->decoder))
        return err_set(a->err, ERR_CORRUPT, "%s/" CONFIG ": " DECODER " is no JSON object",
                       a->folder);
    return t->padding ? json_parse(&a->padding, t->padding, strlen(t->padding), a->folder, a->err)
                      : 0;
}

int config_added(struct tokenizer *t, const char *folder, struct err *err) {
    struct err mine;
    struct adding a = {.t = t, .folder = folder, .err = err ? err : &mine};
    int rc = begin(&a);
    if (rc >= 0) rc = find_tokens(&a);
    if (rc >= 0) promote(&a);
    if (rc >= 0) rc = add_listed(&a);
    a.known = a.n;
    if (rc >= 0) rc = add_tokens(&a, &a.named);
    if (rc >= 0) rc = add_tokens(&a, &a.extra);
    if (rc >= 0 && a.changed) rc = vocab_set_specials(t, a.v, (uint32_t)a.n, a.err);
    cJSON_Delete(a.padding);
    free(a.named.v);
    free(a.extra.v);
    free(a.v);
    return rc < 0 ? rc : 0;
}

int added_keep(struct tokenizer *t, const struct tokenizer *like, struct err *err) {
    struct err mine;
    struct adding a = {.t = t, .folder = "the tokenizer trained after", .err = err ? err : &mine};
    int rc = begin_list(&a);
    for (uint32_t i = 0; i < like->n_specials && rc >= 0; i++) {
        struct special s = like->specials[i];
        s.id = TOKENIZER_NO_ID;
        if (!s.special) rc = add(&a, "", &s);
    }
    if (rc >= 0 && a.changed) rc = vocab_set_specials(t, a.v, (uint32_t)a.n, a.err);
    free(a.v);
    return rc < 0 ? rc : 0;
}
