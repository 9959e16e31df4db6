/* What stands beside a tokenizer and says how it is used:
 *
 *   tokenizer_config.json      model_max_length, sides, chat_template, bos_token …; transformers 4
 *                              also states every added token (added_tokens_decoder)
 *   special_tokens_map.json    bos_token … once more (transformers 4; 5 has no such file)
 *   added_tokens.json          added tokens and their ids (transformers before 4.34)
 *   chat_template.jinja        the template, where it is not in the first, and others of other
 *                              names in additional_chat_templates/ (chats.c)
 *
 * All of it but the third is kept as it was and written again. What it adds to the vocabulary
 * added.c tells. A token is a string, or an object with the string as "content". */
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/vocab.h"

#define CONFIG "tokenizer_config.json"
#define MAP    "special_tokens_map.json"
#define ADDED  "added_tokens.json"
#define OWN    "model_specific_special_tokens" /* transformers 5 */

enum { CONFIG_MAX = 1 << 26 };

const char *const config_roles[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                    "pad_token", "cls_token", "mask_token", NULL};

static bool is_role(const char *key) {
    for (const char *const *role = config_roles; *role; role++)
        if (strcmp(*role, key) == 0) return true;
    return false;
}

bool config_is_own_token(const char *key) {
    static const char end[] = "_token";
    size_t n = strlen(key), m = sizeof end - 1;
    return n >= m && strcmp(key + n - m, end) == 0 && !is_role(key);
}

/* ------------------------------------------------------------------ reading */

int config_text(const char *path, char **ret, struct err *err) {
    struct buf text = {0};
    if (file_kind(path) != FILE_REGULAR) return 0;
    int rc = file_read(path, CONFIG_MAX, &text, err);
    if (rc >= 0 && text.n && memchr(text.v, 0, text.n))
        rc = err_set(err, ERR_CORRUPT, "%s: holds a NUL byte", path);
    if (rc >= 0 && !buf_cstr(&text)) rc = err_nomem(err, text.n);
    if (rc >= 0)
        *ret = text.v;
    else
        buf_release(&text);
    return rc;
}

static int load(const char *folder, const char *name, cJSON **ret, struct err *err) {
    char *text = NULL, *path = path_join(folder, name);
    int rc = path ? config_text(path, &text, err) : err_nomem(err, strlen(folder));
    if (rc >= 0 && text) rc = json_parse(ret, text, strlen(text), path, err);
    if (rc >= 0 && text && !cJSON_IsObject(*ret))
        rc = err_set(err, ERR_CORRUPT, "%s: is no JSON object", path);
    free(path);
    free(text);
    return rc;
}

static int wrong(const char *file, const char *key, const char *what, struct err *err) {
    return err_set(err, ERR_CORRUPT, "%s: \"%s\" %s", file, key, what);
}

/* A special token by its role; *ret stays where there is none. */
static int role(const char *file, const cJSON *tree, const char *key, const char **ret,
                struct err *err) {
    const cJSON *o = json_get(tree, key);
    if (cJSON_IsObject(o))
        o = json_get(o, "content");
    else if (!o || cJSON_IsNull(o))
        return 0;
    if (!cJSON_IsString(o))
        return wrong(file, key, "is neither a token nor an object with one", err);
    *ret = o->valuestring;
    return 0;
}

static int roles(const char *file, const cJSON *tree, struct tokenizer_settings *s,
                 struct err *err) {
    int rc = role(file, tree, "bos_token", &s->bos, err);
    if (rc >= 0) rc = role(file, tree, "eos_token", &s->eos, err);
    if (rc >= 0) rc = role(file, tree, "unk_token", &s->unk, err);
    return rc < 0 ? rc : role(file, tree, "pad_token", &s->pad, err);
}

static int side(const cJSON *tree, const char *key, const char **ret, struct err *err) {
    int rc = json_str(tree, key, ret, CONFIG, err);
    if (rc >= 0 && *ret && strcmp(*ret, "left") != 0 && strcmp(*ret, "right") != 0)
        return wrong(CONFIG, key, "is neither \"left\" nor \"right\"", err);
    return rc;
}

/* transformers writes 1e30 where there is no limit. */
static int max_length(const cJSON *tree, uint64_t *ret, struct err *err) {
    double x = -1;
    int rc = json_f64(tree, "model_max_length", &x, CONFIG, err);
    *ret = UINT64_MAX;
    if (rc < 0 || !json_get(tree, "model_max_length") || x >= 1e18) return rc;
    if (x < 0 || x != (double)(uint64_t)x)
        return wrong(CONFIG, "model_max_length", "is no number of tokens", err);
    *ret = (uint64_t)x;
    return 0;
}

/* A string, or [{"name": …, "template": …}, …]. */
static int chat_template(const cJSON *tree, const char **ret, struct err *err) {
    const cJSON *o = json_get(tree, "chat_template"), *one;
    if (!o || cJSON_IsNull(o)) return 0;
    if (cJSON_IsString(o)) *ret = o->valuestring;
    if (cJSON_IsString(o)) return 0;
    cJSON_ArrayForEach(one, o) {
        const cJSON *name = json_get(one, "name"), *text = json_get(one, "template");
        if (!cJSON_IsString(name) || !cJSON_IsString(text))
            return wrong(CONFIG, "chat_template", "holds one without a name or a template", err);
        if (!*ret || strcmp(name->valuestring, "default") == 0) *ret = text->valuestring;
    }
    return cJSON_IsArray(o) ? 0 : wrong(CONFIG, "chat_template", "is neither text nor a list", err);
}

/* The roles that the trees state; the later of two that speak decides. transformers does not ask
 * the map where there is an added_tokens_decoder. */
static int all_roles(struct config *c, struct tokenizer_settings *s, struct err *err) {
    bool map_last = !json_get(c->config, "added_tokens_decoder");
    int rc = c->map && !map_last ? roles(MAP, c->map, s, err) : 0;
    if (rc >= 0 && c->config) rc = roles(CONFIG, c->config, s, err);
    return rc >= 0 && c->map && map_last ? roles(MAP, c->map, s, err) : rc;
}

static int settle(struct config *c, struct err *err) {
    struct tokenizer_settings *s = &c->said;
    *s = (struct tokenizer_settings){.model_max_length = UINT64_MAX};
    int rc = all_roles(c, s, err);
    if (rc >= 0 && c->config) {
        rc = max_length(c->config, &s->model_max_length, err);
        if (rc >= 0) rc = side(c->config, "padding_side", &s->padding_side, err);
        if (rc >= 0) rc = side(c->config, "truncation_side", &s->truncation_side, err);
        if (rc >= 0) rc = chat_template(c->config, &s->chat_template, err);
        if (rc >= 0) rc = json_str(c->config, "tokenizer_class", &s->tokenizer_class, CONFIG, err);
    }
    if (rc >= 0) chats_settle(c);
    return rc;
}

int config_read(struct config *c, const char *folder, struct err *err) {
    int rc = load(folder, CONFIG, &c->config, err);
    if (rc >= 0) rc = load(folder, MAP, &c->map, err);
    if (rc >= 0) rc = load(folder, ADDED, &c->added, err);
    if (rc >= 0) rc = chats_read(c, folder, err);
    if (rc < 0) return rc;
    rc = settle(c, err);
    return rc < 0 ? err_prefix(err, "%s", folder) : 0;
}

void config_release(struct config *c) {
    cJSON_Delete(c->config);
    cJSON_Delete(c->map);
    cJSON_Delete(c->added);
    chats_release(c);
    memset(c, 0, sizeof *c);
}

/* ------------------------------------------------------------------ after another tokenizer */

const char *config_token_text(const cJSON *x) {
    return cJSON_GetStringValue(cJSON_IsObject(x) ? json_get(x, "content") : x);
}

static bool has_special(const struct tokenizer *t, const char *text) {
    for (uint32_t i = 0; i < t->n_specials; i++)
        if (t->specials[i].special && strcmp(t->specials[i].text, text) == 0) return true;
    return false;
}

static bool has_role(const cJSON *tree, const char *text) {
    for (const char *const *key = config_roles; *key; key++) {
        const char *token = config_token_text(json_get(tree, *key));
        if (token && strcmp(token, text) == 0) return true;
    }
    return false;
}

/* Drops those of the members, or of those that name tokens, whose token is not in t: AutoTokenizer
 * would add them. */
static void drop_members(const struct tokenizer *t, cJSON *tree, bool all) {
    cJSON *next;
    for (cJSON *o = tree ? tree->child : NULL; o; o = next) {
        const char *text = config_token_text(o);
        bool token = all || config_is_own_token(o->string) || is_role(o->string);
        next = o->next;
        if (token && text && tokenizer_named(t, text) == TOKENIZER_NO_ID)
            cJSON_Delete(cJSON_DetachItemViaPointer(tree, o));
    }
}

static void drop_strangers(const struct tokenizer *t, cJSON *tree) {
    drop_members(t, tree, false);
    drop_members(t, cJSON_GetObjectItemCaseSensitive(tree, OWN), true);
    cJSON_DeleteItemFromObjectCaseSensitive(tree, "added_tokens_decoder");
    cJSON_DeleteItemFromObjectCaseSensitive(tree, "name_or_path");
}

/* The special tokens without a role: a list, or tokens by names of their own. Those of t stay. Of
 * the two keys the first is transformers 4's, which 5 reads, too. */
static const char *const more_keys[] = {"additional_special_tokens", "extra_special_tokens"};

static cJSON *keep_more(const struct tokenizer *t, cJSON *tree) {
    cJSON *list = NULL;
    for (size_t i = 0; i < 2; i++) {
        cJSON *o = cJSON_GetObjectItemCaseSensitive(tree, more_keys[i]), *next;
        for (cJSON *x = o ? o->child : NULL; x; x = next) {
            const char *text = config_token_text(x);
            next = x->next;
            if (!text || !has_special(t, text)) cJSON_Delete(cJSON_DetachItemViaPointer(o, x));
        }
        if (cJSON_IsArray(o)) list = o;
        if (cJSON_IsNull(o)) cJSON_DeleteItemFromObjectCaseSensitive(tree, more_keys[i]);
    }
    return list;
}

/* Those of t that `like` does not have join them, as in train_new_from_iterator(). */
static int add_more(const struct tokenizer *t, const struct tokenizer *like, cJSON *tree,
                    struct err *err) {
    cJSON *list = keep_more(t, tree);
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const struct special *s = &t->specials[i];
        if (!s->special || has_special(like, s->text) || has_role(tree, s->text)) continue;
        if (!list) list = cJSON_AddArrayToObject(tree, more_keys[0]);
        if (!list || !cJSON_AddItemToArray(list, cJSON_CreateString(s->text)))
            return err_nomem(err, strlen(s->text));
    }
    return 0;
}

int config_like(struct tokenizer *t, const struct tokenizer *like, struct err *err) {
    struct config *c = &t->config;
    const struct config *old = &like->config;
    if (!old->config) return 0; /* the defaults are made for the new tokens */
    c->config = cJSON_Duplicate(old->config, true);
    if (old->map) c->map = cJSON_Duplicate(old->map, true);
    if (!c->config || (old->map && !c->map)) return err_nomem(err, 1024);
    int rc = chats_like(c, old, err);
    for (int i = 0; i < 2 && rc >= 0; i++) {
        cJSON *tree = i ? c->map : c->config;
        if (!tree) continue;
        drop_strangers(t, tree);
        rc = add_more(t, like, tree, err);
    }
    return rc < 0 ? rc : settle(c, err);
}

/* ------------------------------------------------------------------ writing */

static int member(cJSON *o, const char *key, const char *value) {
    return cJSON_AddStringToObject(o, key, value) ? 0 : -1;
}

static bool has_eot(const struct tokenizer *t) {
    return tokenizer_named(t, TOKENIZER_EOT) != TOKENIZER_NO_ID;
}

/* bos, eos and unk are <|endoftext|>, as for GPT-2; its 1024 positions are told with its pattern
 * only: transformers would cut the texts of another family to them. Where a map was read, it has
 * said what there is to say. */
static cJSON *default_config(const struct tokenizer *t) {
    cJSON *o = cJSON_CreateObject();
    bool ours = !t->config.map, eot = ours && has_eot(t);
    int bad = o ? member(o, "backend", "tokenizers") : -1;
    if (eot && !bad)
        bad = member(o, "bos_token", TOKENIZER_EOT) | member(o, "eos_token", TOKENIZER_EOT);
    if (!bad && ours && !strcmp(tokenizer_pattern(t), "gpt2") &&
        !cJSON_AddNumberToObject(o, "model_max_length", 1024))
        bad = -1;
    if (!bad) bad = member(o, "tokenizer_class", "PreTrainedTokenizerFast");
    if (eot && !bad) bad = member(o, "unk_token", TOKENIZER_EOT);
    if (!bad) return o;
    cJSON_Delete(o);
    return NULL;
}

/* The specials without a role are "additional". */
static cJSON *default_map(const struct tokenizer *t) {
    cJSON *map = cJSON_CreateObject(), *more = cJSON_CreateArray();
    int bad = map && more ? 0 : -1;
    if (!bad && has_eot(t))
        bad = member(map, "bos_token", TOKENIZER_EOT) | member(map, "eos_token", TOKENIZER_EOT) |
              member(map, "unk_token", TOKENIZER_EOT);
    for (uint32_t i = 0; i < t->n_specials && !bad; i++) {
        const struct special *s = &t->specials[i];
        if (s->special && strcmp(s->text, TOKENIZER_EOT) != 0 &&
            !cJSON_AddItemToArray(more, cJSON_CreateString(s->text)))
            bad = -1;
    }
    if (!bad && cJSON_GetArraySize(more)) {
        bad = cJSON_AddItemToObject(map, "additional_special_tokens", more) ? 0 : -1;
        if (!bad) more = NULL;
    }
    cJSON_Delete(more);
    if (!bad) return map;
    cJSON_Delete(map);
    return NULL;
}

/* `made` is owned here. */
static int write_tree(const char *dir, const char *name, const cJSON *kept, cJSON *made,
                      struct err *err) {
    char *path = path_join(dir, name);
    const cJSON *tree = kept ? kept : made;
    int rc = path && tree ? json_save(path, tree, true, err) : err_nomem(err, 1024);
    free(path);
    cJSON_Delete(made);
    return rc;
}

int config_write(const struct tokenizer *t, const char *dir, struct err *err) {
    const struct config *c = &t->config;
    int rc = write_tree(dir, CONFIG, c->config, c->config ? NULL : default_config(t), err);
    /* transformers 5 writes no map: where it was so, bos_token … stand in the configuration. */
    if (rc >= 0 && (c->map || !c->config))
        rc = write_tree(dir, MAP, c->map, c->map ? NULL : default_map(t), err);
    else if (rc >= 0)
        rc = vocab_drop_file(dir, MAP, err);
    return rc < 0 ? rc : chats_write(c, dir, err);
}
