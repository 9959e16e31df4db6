/* A tokenizer's files, byte for byte as HF's tokenizers and transformers write them (pretty JSON
 * of two blanks, non-ASCII as it is, no newline at the end of tokenizer.json). tokenizer.json
 * comes last: a folder with it has the others too. */
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/vocab.h"

#define TIKTOKEN "tokenizer.tiktoken"

/* Text being written; the first failure sticks in rc and later calls do nothing. */
struct out {
    struct buf b;
    int rc;
    struct err *err;
};

static void put(struct out *o, const char *s) {
    if (o->rc >= 0) o->rc = buf_str(&o->b, s, o->err);
}

static void put_u32(struct out *o, uint32_t x) {
    if (o->rc >= 0) o->rc = buf_printf(&o->b, o->err, "%u", x);
}

static void put_bool(struct out *o, bool x) {
    put(o, x ? "true" : "false");
}

static void put_quoted(struct out *o, const char *s) {
    if (o->rc >= 0) o->rc = json_quote(&o->b, s, strlen(s), o->err);
}

/* A token as vocab.json spells it, without quotes or escapes. */
static void put_token(struct out *o, const struct tokenizer *t, uint32_t id) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    if (o->rc < 0) return;
    o->rc = t->kind[id] & TOKEN_MODEL ? bytemap_write(&o->b, p, n, o->err)
                                      : buf_append(&o->b, p, n, o->err);
}

static void put_token_quoted(struct out *o, const struct tokenizer *t, uint32_t id) {
    size_t n;
    const uint8_t *p = vocab_token(t, id, &n);
    if (o->rc < 0) return;
    if (!(t->kind[id] & TOKEN_MODEL)) {
        o->rc = json_quote(&o->b, (const char *)p, n, o->err);
        return;
    }
    /* Of the byte map's characters only these two are escaped in JSON. */
    put(o, "\"");
    for (size_t from = 0, i = 0; i <= n && o->rc >= 0; i++) {
        if (i < n && p[i] != '"' && p[i] != '\\') continue;
        o->rc = bytemap_write(&o->b, p + from, i - from, o->err);
        if (i < n) put(o, p[i] == '"' ? "\\\"" : "\\\\");
        from = i + 1;
    }
    put(o, "\"");
}

static int finish(struct out *o, const char *dir, const char *name) {
    char *path = o->rc < 0 ? NULL : path_join(dir, name);
    if (o->rc >= 0)
        o->rc = path ? file_write(path, o->b.v, o->b.n, o->err) : err_nomem(o->err, strlen(dir));
    free(path);
    buf_release(&o->b);
    return o->rc;
}

/* ------------------------------------------------------------------ what goes where */

static bool in_model(const struct tokenizer *t, uint32_t id) {
    return (t->kind[id] & (TOKEN_MODEL | TOKEN_RAW)) != 0;
}

/* HF gives added tokens that are not in the model's vocabulary the ids that follow it. Where
 * that would move one (cl100k's specials leave a gap), all specials are written into the
 * vocabulary. */
static bool specials_follow(const struct tokenizer *t) {
    uint64_t size = 0, next;
    for (uint32_t id = 0; id < t->n; id++) size += in_model(t, id);
    next = size;
    for (uint32_t i = 0; i < t->n_specials; i++) {
        uint32_t id = t->specials[i].id;
        if (!in_model(t, id) && id != next) return false;
        if (id >= next) next = (uint64_t)id + 1;
    }
    return true;
}

/* Walks the ids of the model's vocabulary as it will be written; t->n at the end. */
static uint32_t next_id(const struct tokenizer *t, uint32_t id, bool with_specials) {
    while (id < t->n && !in_model(t, id) && !(with_specials && t->kind[id])) id++;
    return id;
}

/* ------------------------------------------------------------------ tokenizer.json */

static void put_added(struct out *o, const struct tokenizer *t) {
    put(o, "  \"added_tokens\": [");
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const struct special *s = &t->specials[i];
        put(o, i ? ",\n    {\n      \"id\": " : "\n    {\n      \"id\": ");
        put_u32(o, s->id);
        put(o, ",\n      \"content\": ");
        put_quoted(o, s->text);
        put(o, ",\n      \"single_word\": ");
        put_bool(o, s->single_word);
        put(o, ",\n      \"lstrip\": ");
        put_bool(o, s->lstrip);
        put(o, ",\n      \"rstrip\": ");
        put_bool(o, s->rstrip);
        put(o, ",\n      \"normalized\": ");
        put_bool(o, s->normalized);
        put(o, ",\n      \"special\": ");
        put_bool(o, s->special);
        put(o, "\n    }");
    }
    put(o, t->n_specials ? "\n  ],\n" : "],\n");
}

static void put_byte_level(struct out *o, const char *indent, bool prefix, bool trim, bool regex) {
    put(o, "{\n");
    put(o, indent);
    put(o, "  \"type\": \"ByteLevel\",\n");
    put(o, indent);
    put(o, "  \"add_prefix_space\": ");
    put_bool(o, prefix);
    put(o, ",\n");
    put(o, indent);
    put(o, "  \"trim_offsets\": ");
    put_bool(o, trim);
    put(o, ",\n");
    put(o, indent);
    put(o, "  \"use_regex\": ");
    put_bool(o, regex);
    put(o, "\n");
    put(o, indent);
    put(o, "}");
}

/* A member as the file had it that was read, indented anew; NULL is null. */
static void put_kept(struct out *o, const char *key, const char *json) {
    cJSON *tree = NULL;
    struct buf text = {0};
    put(o, "  \"");
    put(o, key);
    put(o, "\": ");
    if (!json) put(o, "null");
    if (json && o->rc >= 0) o->rc = json_parse(&tree, json, strlen(json), "", o->err);
    if (tree && o->rc >= 0) o->rc = json_text(&text, tree, true, o->err);
    for (size_t i = 0; i < text.n && o->rc >= 0; i++) {
        if (text.v[i] == '\n' && i + 1 == text.n) break;
        o->rc = buf_char(&o->b, text.v[i], o->err);
        if (text.v[i] == '\n') put(o, "  ");
    }
    cJSON_Delete(tree);
    buf_release(&text);
    put(o, ",\n");
}

static void put_split(struct out *o, const char *regex) {
    put(o, "      {\n        \"type\": \"Split\",\n        \"pattern\": {\n"
           "          \"Regex\": ");
    put_quoted(o, regex);
    put(o, "\n        },\n        \"behavior\": \"Isolated\",\n        \"invert\": false\n"
           "      },\n");
}

static void put_pre_tokenizer(struct out *o, const struct tokenizer *t) {
    const size_t n = pattern_steps(t->pattern);
    const bool regex = !pattern_regex(t->pattern, n - 1); /* GPT-2's, which ByteLevel knows */
    if (t->pre) {
        put_kept(o, "pre_tokenizer", t->pre);
        return;
    }
    put(o, "  \"pre_tokenizer\": ");
    if (n == 1 && regex) {
        put_byte_level(o, "  ", t->prefix_space, true, true);
    } else {
        put(o, "{\n    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n");
        for (size_t i = 0; i + regex < n; i++) put_split(o, pattern_regex(t->pattern, i));
        put(o, "      ");
        put_byte_level(o, "      ", false, true, regex);
        put(o, "\n    ]\n  }");
    }
    put(o, ",\n");
}

static void put_post(struct out *o, const struct tokenizer *t) {
    if (t->post) {
        put_kept(o, "post_processor", t->post);
        return;
    }
    put(o, "  \"post_processor\": ");
    put_byte_level(o, "  ", true, false, true);
    put(o, ",\n");
}

static void put_decoder(struct out *o, const struct tokenizer *t) {
    if (t->decoder) {
        put_kept(o, "decoder", t->decoder);
        return;
    }
    put(o, "  \"decoder\": ");
    put_byte_level(o, "  ", true, true, true);
    put(o, ",\n");
}

static void put_merges(struct out *o, const struct tokenizer *t, bool strings) {
    const struct merge *v;
    uint64_t n = 0;
    if (o->rc >= 0) o->rc = tokenizer_merges(t, &v, &n, o->err);
    put(o, "\n    },\n    \"merges\": [");
    for (uint64_t i = 0; i < n; i++) {
        const struct merge *m = &v[i];
        if (strings) { /* "a b": one quoted text of two */
            put(o, i ? ",\n      " : "\n      ");
            put_token_quoted(o, t, m->left);
            if (o->rc >= 0) o->b.v[o->b.n - 1] = ' ';
            size_t at = o->b.n;
            put_token_quoted(o, t, m->right);
            if (o->rc < 0) return;
            memmove(o->b.v + at, o->b.v + at + 1, --o->b.n - at); /* its opening quote */
        } else {
            put(o, i ? ",\n      [\n        " : "\n      [\n        ");
            put_token_quoted(o, t, m->left);
            put(o, ",\n        ");
            put_token_quoted(o, t, m->right);
            put(o, "\n      ]");
        }
    }
    put(o, n ? "\n    ]\n  }\n}" : "]\n  }\n}");
}

static void put_model(struct out *o, const struct tokenizer *t, bool strings) {
    bool inside = !specials_follow(t);
    put(o, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (t->unk)
        put_quoted(o, t->unk);
    else
        put(o, "null");
    put(o, ",\n    \"continuing_subword_prefix\": ");
    put(o, t->null_prefix ? "null" : "\"\"");
    put(o, ",\n    \"end_of_word_suffix\": ");
    put(o, t->null_suffix ? "null" : "\"\"");
    put(o, ",\n    \"fuse_unk\": ");
    put_bool(o, t->fuse_unk);
    put(o, ",\n    \"byte_fallback\": false,\n    \"ignore_merges\": ");
    put_bool(o, t->ignore_merges);
    put(o, ",\n    \"vocab\": {");
    const char *before = "\n      ";
    for (uint32_t id = next_id(t, 0, inside); id < t->n; id = next_id(t, id + 1, inside)) {
        put(o, before);
        put_token_quoted(o, t, id);
        put(o, ": ");
        put_u32(o, id);
        before = ",\n      ";
    }
    put_merges(o, t, strings);
}

static int write_tokenizer_json(const struct tokenizer *t, const char *dir, bool strings,
                                struct err *err) {
    struct out o = {.err = err};
    put(&o, "{\n  \"version\": \"1.0\",\n");
    put_kept(&o, "truncation", t->truncation);
    put_kept(&o, "padding", t->padding);
    put_added(&o, t);
    put_kept(&o, "normalizer", t->normalizer);
    put_pre_tokenizer(&o, t);
    put_post(&o, t);
    put_decoder(&o, t);
    put_model(&o, t, strings);
    return finish(&o, dir, "tokenizer.json");
}

/* ------------------------------------------------------------------ the plain files */

static int write_vocab_json(const struct tokenizer *t, const char *dir, struct err *err) {
    struct out o = {.err = err};
    bool inside = !specials_follow(t);
    const char *before = "{";
    for (uint32_t id = next_id(t, 0, inside); id < t->n; id = next_id(t, id + 1, inside)) {
        put(&o, before);
        put_token_quoted(&o, t, id);
        put(&o, ":");
        put_u32(&o, id);
        before = ",";
    }
    put(&o, "}");
    return finish(&o, dir, "vocab.json");
}

static int write_merges_txt(const struct tokenizer *t, const char *dir, struct err *err) {
    struct out o = {.err = err};
    const struct merge *v;
    uint64_t n;
    int rc = tokenizer_merges(t, &v, &n, err);
    if (rc < 0) return rc;
    put(&o, "#version: 0.2\n");
    for (uint64_t i = 0; i < n; i++) {
        put_token(&o, t, v[i].left);
        put(&o, " ");
        put_token(&o, t, v[i].right);
        put(&o, "\n");
    }
    return finish(&o, dir, "merges.txt");
}

/* tiktoken takes the id as the rank: that means the same only if ids rise with the merges. */
static bool ids_are_ranks(const struct tokenizer *t) {
    for (uint64_t i = 1; i < t->n_merges; i++) /* with ranks of tokens there is no list */
        if (t->merges[i].result <= t->merges[i - 1].result) return false;
    return true;
}

static void put_base64(struct out *o, const uint8_t *p, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n && o->rc >= 0; i += 3) {
        uint32_t x = (uint32_t)p[i] << 16;
        if (i + 1 < n) x |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < n) x |= p[i + 2];
        char four[4] = {digit[x >> 18], digit[x >> 12 & 63], i + 1 < n ? digit[x >> 6 & 63] : '=',
                        i + 2 < n ? digit[x & 63] : '='};
        o->rc = buf_append(&o->b, four, 4, o->err);
    }
}

static int write_tiktoken(const struct tokenizer *t, const char *dir, struct err *err) {
    struct out o = {.err = err};
    uint8_t *made = mem_array(t->n, 1); /* bytes and results of merges: what merging can yield */
    if (!made) return err_nomem(err, t->n);
    for (uint64_t i = 0; i < t->n_merges; i++) made[t->merges[i].result] = 1;
    for (uint32_t id = 0; id < t->n; id++) {
        size_t n;
        const uint8_t *p = vocab_token(t, id, &n);
        if (!(t->kind[id] & TOKEN_MODEL) || !(n == 1 || made[id] || t->by_rank)) continue;
        put_base64(&o, p, n);
        put(&o, " ");
        put_u32(&o, id);
        put(&o, "\n");
    }
    free(made);
    return finish(&o, dir, TIKTOKEN);
}

int tokenizer_save(const struct tokenizer *t, const char *dir, struct err *err) {
    return tokenizer_save_as(t, dir, &(struct tokenizer_save_opts){.strings = false}, err);
}

int vocab_drop_file(const char *dir, const char *name, struct err *err) {
    char *stale = path_join(dir, name);
    int rc = stale ? file_remove(stale, err) : err_nomem(err, strlen(dir));
    free(stale);
    return rc;
}

int tokenizer_save_as(const struct tokenizer *t, const char *dir,
                      const struct tokenizer_save_opts *opts, struct err *err) {
    int rc = file_mkdirs(dir, err);
    if (rc >= 0) rc = file_sweep(dir, err); /* of a run that was killed */
    if (rc >= 0) rc = write_vocab_json(t, dir, err);
    if (rc >= 0) rc = write_merges_txt(t, dir, err);
    if (rc >= 0)
        rc = ids_are_ranks(t) ? write_tiktoken(t, dir, err) : vocab_drop_file(dir, TIKTOKEN, err);
    /* Another one's would have the tokens, too, that the new configuration names; and its list of
     * added tokens is no use: tokenizer.json says it all. */
    if (rc >= 0) rc = vocab_drop_file(dir, "tokenizer.json", err);
    if (rc >= 0) rc = vocab_drop_file(dir, "added_tokens.json", err);
    if (rc >= 0) rc = config_write(t, dir, err);
    return rc < 0 ? rc : write_tokenizer_json(t, dir, opts->strings, err);
}

const char *const tokenizer_files[] = {
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    CHAT_FILE,
    CHATS_FOLDER,
    "vocab.json",
    "merges.txt",
    TIKTOKEN,
    "tokenizer.json",
    NULL,
};

int tokenizer_save_beside_model(const struct tokenizer *t, const char *dir, struct err *err) {
    if (!t->folder) return tokenizer_save(t, dir, err);
    int rc = file_mkdirs(dir, err);
    for (const char *const *name = tokenizer_files; rc >= 0 && *name; name++) {
        char *from = path_join(t->folder, *name), *to = path_join(dir, *name);
        if (!from || !to)
            rc = err_nomem(err, strlen(dir));
        else if (!strcmp(*name, CHATS_FOLDER))
            rc = chats_write_more(&t->config, dir, err);
        else if (file_kind(from) == FILE_REGULAR && strcmp(*name, TIKTOKEN)) /* no model's */
            rc = file_copy(from, to, err);
        else
            rc = file_remove(to, err);
        free(from);
        free(to);
    }
    return rc;
}
