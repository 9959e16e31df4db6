/* HF's tokenizer.json. One pass finds where each part stands, then what would be refused is looked
 * for, then the parts are read in the order in which they depend on each other: vocabulary, added
 * tokens, merges, settings. The vocabulary and the merges (megabytes) are pulled from the text; the
 * rest (small) goes through cJSON.
 *
 * Whatever would give other ids than HF's own is refused by its name: normalizers but NFC, other
 * pre-tokenizers, byte_fallback, dropout, affixes. Truncation and padding belong to a call, not
 * to the vocabulary, and post-processors only add tokens around a text: they are kept and written
 * again. */
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/read.h"

static int refuse_named(struct reading *r, const char *what, const char *name) {
    return err_set(r->err, ERR_CORRUPT, "%s: %s \"%.60s\" is not supported", r->path, what,
                   name ? name : "?");
}

/* Finds the members `names` (up to NULL) of the object at hand. */
static int members(struct pull *p, const char *const *names, struct slice *ret) {
    size_t i = 0, n;
    const char *key;
    int rc = pull_open(p, '{');
    while (rc >= 0 && (rc = pull_key(p, &i, &key, &n)) > 0) {
        size_t k = 0;
        while (names[k] && (strlen(names[k]) != n || memcmp(names[k], key, n) != 0)) k++;
        if (names[k] && ret[k].v) return pull_fail(p, "\"%s\" stands twice", names[k]);
        struct slice skipped;
        struct slice *to = names[k] ? &ret[k] : &skipped;
        rc = pull_skip(p, &to->v, &to->n);
    }
    return rc;
}

static bool is_text(struct slice s, const char *text) {
    return s.v && s.n == strlen(text) && memcmp(s.v, text, s.n) == 0;
}

/* Absent, null, or `text`. */
static bool none_or(struct slice s, const char *text) {
    return !s.v || is_text(s, "null") || is_text(s, text);
}

/* ------------------------------------------------------------------ added_tokens */

static int parse(struct reading *r, struct slice s, cJSON **ret) {
    return !s.v || is_text(s, "null") ? 0 : json_parse(ret, s.v, s.n, r->path, r->err);
}

static int flag(struct reading *r, const cJSON *o, const char *key, bool *ret) {
    return json_bool(o, key, ret, r->path, r->err);
}

/* The id the text has in the vocabulary (as a string), or TOKENIZER_NO_ID. */
static int find_text(struct reading *r, const char *text, uint32_t *ret) {
    size_t n = strlen(text);
    r->key.n = 0;
    int rc = bytemap_read(&r->key, text, n, r->err);
    if (rc < 0) return rc;
    *ret = rc ? finder_get(&r->t->finder, r->t, (uint8_t *)r->key.v, r->key.n) : TOKENIZER_NO_ID;
    if (*ret == TOKENIZER_NO_ID)
        *ret = finder_get(&r->raw, r->t, (const uint8_t *)text, n);
    else if (r->key.n != n || memcmp(r->key.v, text, n) != 0)
        return err_set(r->err, ERR_CORRUPT, "%s: added token \"%.60s\" is spelt as token %u",
                       r->path, text, *ret);
    return 0;
}

/* Whether the characters of `text` stand for bytes other than its own, and no piece is these bytes:
 * with ignore_merges a piece that is a token is that token, so then they must not be a text. */
static int is_foreign(struct reading *r, const char *text, bool *ret) {
    size_t n = strlen(text);
    r->key.n = 0;
    int rc = bytemap_read(&r->key, text, n, r->err);
    *ret = rc > 0 && (r->key.n != n || memcmp(r->key.v, text, n) != 0) &&
           !(r->t->ignore_merges && read_is_text((uint8_t *)r->key.v, r->key.n));
    return rc < 0 ? rc : 0;
}

/* Which keys of the vocabulary are texts, not bytes: see read.h. */
static int find_foreign(struct reading *r) {
    const cJSON *o, *content;
    int rc = 0;
    r->foreign = mem_array((size_t)cJSON_GetArraySize(r->added), sizeof *r->foreign);
    if (!r->foreign) return err_nomem(r->err, sizeof *r->foreign);
    cJSON_ArrayForEach(o, r->added) {
        bool foreign = false;
        content = json_get(o, "content");
        if (rc >= 0 && cJSON_IsString(content)) rc = is_foreign(r, content->valuestring, &foreign);
        if (foreign) r->foreign[r->n_foreign++] = content->valuestring;
    }
    strs_sort(r->foreign, r->n_foreign);
    return rc;
}

/* HF ignores the id an added token states: a text of the vocabulary keeps its id, any other gets
 * the next one. A file that states otherwise would mean two things. */
static int read_added(struct reading *r, const cJSON *o, uint64_t model_size, uint64_t *next) {
    struct special s = {0};
    uint64_t stated = UINT64_MAX;
    uint32_t id = 0;
    int rc = json_u64(o, "id", TOKENIZER_NO_ID - 1, &stated, r->path, r->err);
    if (rc >= 0) rc = json_str(o, "content", &s.text, r->path, r->err);
    if (rc >= 0) rc = flag(r, o, "special", &s.special);
    if (rc >= 0) rc = flag(r, o, "lstrip", &s.lstrip);
    if (rc >= 0) rc = flag(r, o, "rstrip", &s.rstrip);
    if (rc >= 0) rc = flag(r, o, "single_word", &s.single_word);
    if (rc >= 0) rc = flag(r, o, "normalized", &s.normalized);
    if (rc >= 0 && (!s.text || stated == UINT64_MAX))
        rc = read_refuse(r, "an added token has no \"id\" or no \"content\"");
    if (rc < 0 || !s.text[0]) return rc;
    rc = find_text(r, s.text, &id);
    if (rc < 0) return rc;
    bool appended = id == TOKENIZER_NO_ID;
    if (!appended && r->t->kind[id] & TOKEN_SPECIAL) return 0; /* a second time: HF ignores it */
    if (appended) id = (uint32_t)(*next > model_size ? *next : model_size);
    if (stated != id)
        return err_set(r->err, ERR_CORRUPT,
                       "%s: added token \"%.60s\" states id %llu, but has id %u", r->path, s.text,
                       (unsigned long long)stated, id);
    if (appended && id < r->t->n)
        return err_set(r->err, ERR_CORRUPT,
                       "%s: added token \"%.60s\" has the id %u of another token", r->path, s.text,
                       id);
    rc = appended ? read_append(r, s.text) : 0;
    if (rc < 0) return rc;
    r->t->kind[id] |= TOKEN_SPECIAL;
    if ((uint64_t)id + 1 > *next) *next = (uint64_t)id + 1;
    s.id = id;
    r->specials[r->n_specials++] = s;
    return 0;
}

static int read_added_tokens(struct reading *r) {
    uint64_t model_size = 0, next = 0;
    int rc = 0;
    for (uint32_t id = 0; id < r->t->n; id++) model_size += r->t->kind[id] != 0;
    r->n_specials = 0;
    const cJSON *o;
    cJSON_ArrayForEach(o, r->added) {
        rc = read_added(r, o, model_size, &next);
        if (rc < 0) return rc;
    }
    return vocab_set_specials(r->t, r->specials, r->n_specials, r->err);
}

/* ------------------------------------------------------------------ settings */

static const char *type_of(const cJSON *o) {
    const cJSON *type = json_get(o, "type");
    return cJSON_IsString(type) ? type->valuestring : NULL;
}

static bool is_type(const cJSON *o, const char *type) {
    return type_of(o) && strcmp(type_of(o), type) == 0;
}

/* What the pre-tokenizers before ByteLevel are: steps of a pattern, a line each (pattern.h). */
struct steps {
    struct buf lines;
    bool removed; /* one drops what its matches do not cover */
};

static int begin_step(struct reading *r, struct steps *s) {
    return s->lines.n ? buf_char(&s->lines, '\n', r->err) : 0;
}

/* {"type":"Split","pattern":{"Regex":…},"behavior":"Isolated","invert":false} */
static int read_split(struct reading *r, const cJSON *o, struct steps *s) {
    const char *behavior = NULL, *regex = NULL, *text = NULL;
    bool invert = false;
    const cJSON *pattern = json_get(o, "pattern");
    int rc = json_str(pattern, "Regex", &regex, r->path, r->err);
    if (rc >= 0) rc = json_str(pattern, "String", &text, r->path, r->err);
    if (rc >= 0) rc = json_str(o, "behavior", &behavior, r->path, r->err);
    if (rc >= 0) rc = flag(r, o, "invert", &invert);
    if (rc < 0) return rc;
    if (!behavior || (!regex && !text))
        return read_refuse(r, "a Split without pattern or behavior");
    bool removed = strcmp(behavior, "Removed") == 0 && invert;
    if (!removed && strcmp(behavior, "Isolated") != 0)
        return refuse_named(r, "a Split's behavior", behavior);
    if (!removed && invert) return read_refuse(r, "a Split with \"invert\" is not supported");
    s->removed |= removed;
    rc = begin_step(r, s);
    size_t at = s->lines.n;
    if (rc >= 0)
        rc = regex ? pattern_of_hf(&s->lines, regex, r->err)
                   : pattern_of_text(&s->lines, text, r->err);
    if (rc >= 0 && !buf_cstr(&s->lines)) rc = err_nomem(r->err, s->lines.n);
    /* one of tiktoken's spellings is known, but not the same to HF */
    return rc < 0 ? rc : pattern_portable(s->lines.v + at, r->err);
}

/* {"type":"Digits","individual_digits":true} */
static int read_digits(struct reading *r, const cJSON *o, struct steps *s) {
    bool alone = false;
    int rc = flag(r, o, "individual_digits", &alone);
    if (rc >= 0) rc = begin_step(r, s);
    return rc < 0 ? rc : buf_str(&s->lines, alone ? "\\p{N}" : "\\p{N}+", r->err);
}

/* Splits and Digits, then ByteLevel; each sees the pieces that the one before left. */
static int read_sequence(struct reading *r, struct steps *s, const cJSON **ret_level) {
    const cJSON *o;
    int rc = 0;
    cJSON_ArrayForEach(o, json_get(r->pre, "pretokenizers")) {
        if (*ret_level) return refuse_named(r, "behind ByteLevel a pre_tokenizer", type_of(o));
        if (is_type(o, "ByteLevel"))
            *ret_level = o;
        else if (is_type(o, "Split"))
            rc = read_split(r, o, s);
        else if (is_type(o, "Digits"))
            rc = read_digits(r, o, s);
        else
            rc = refuse_named(r, "in a sequence the pre_tokenizer", type_of(o));
        if (rc < 0) return rc;
    }
    return 0;
}

static int read_steps(struct reading *r, struct steps *s) {
    const cJSON *level = is_type(r->pre, "Sequence") ? NULL : r->pre;
    bool use_regex = true, prefix = true;
    int rc = level ? 0 : read_sequence(r, s, &level);
    if (rc < 0) return rc;
    if (!level) return read_refuse(r, "no ByteLevel pre_tokenizer: not a byte-level BPE");
    if (!is_type(level, "ByteLevel")) return refuse_named(r, "pre_tokenizer", type_of(level));
    rc = flag(r, level, "use_regex", &use_regex);
    if (rc >= 0) rc = flag(r, level, "add_prefix_space", &prefix);
    if (rc < 0) return rc;
    if (s->lines.n && prefix)
        return read_refuse(r, "ByteLevel behind another pre_tokenizer may not have "
                              "add_prefix_space: every piece would get a blank");
    if (!s->lines.n && !use_regex)
        return read_refuse(r, "ByteLevel without use_regex and without a Split");
    r->t->prefix_space = prefix;
    if (use_regex) {
        rc = begin_step(r, s);
        if (rc >= 0) rc = buf_str(&s->lines, "gpt2", r->err);
    }
    if (rc >= 0 && !buf_cstr(&s->lines)) rc = err_nomem(r->err, s->lines.n);
    if (rc >= 0) rc = vocab_set_pattern(r->t, s->lines.v, r->err);
    if (rc >= 0 && s->removed && !pattern_covers(r->t->pattern))
        return read_refuse(
            r, "a Split that removes text is supported for the published patterns only");
    return rc;
}

static int read_pre_tokenizer(struct reading *r) {
    struct steps s = {0};
    int rc = read_steps(r, &s);
    buf_release(&s.lines);
    if (rc == ERR_USAGE) { /* a pattern that is none of ours */
        r->err->code = rc = ERR_CORRUPT;
        err_prefix(r->err, "%s", r->path);
    }
    return rc;
}

static int read_decoder(struct reading *r) {
    const cJSON *d = r->decoder;
    if (is_type(d, "Sequence") && cJSON_GetArraySize(json_get(d, "decoders")) == 1)
        d = json_get(d, "decoders")->child;
    return !d || is_type(d, "ByteLevel") ? 0 : refuse_named(r, "decoder", type_of(d));
}

/* A part as compact JSON. */
static int keep(struct reading *r, const cJSON *o, char **ret) {
    struct buf text = {0};
    int rc = o ? json_text(&text, o, false, r->err) : buf_str(&text, "null", r->err);
    if (rc >= 0 && !buf_cstr(&text)) rc = err_nomem(r->err, text.n);
    if (rc >= 0)
        *ret = text.v;
    else
        buf_release(&text);
    return rc;
}

/* tokenizers writes use_regex also where an older file lacks it. */
static int fill_regex(struct reading *r, cJSON *o) {
    static const char *const lists[] = {"pretokenizers", "processors", "decoders"};
    cJSON *part;
    int rc = 0;
    if (is_type(o, "ByteLevel") && !json_get(o, "use_regex") &&
        !cJSON_AddTrueToObject(o, "use_regex"))
        rc = err_nomem(r->err, sizeof *o);
    for (int i = 0; i < 3; i++) /* as deep as json_parse() lets it be */
        cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(o, lists[i])) if (rc >= 0) rc =
            fill_regex(r, part);
    return rc;
}

/* Also what has no meaning for ids: trim_offsets, a split that is "removed, inverted", sequences of
 * one. */
static int keep_form(struct reading *r, cJSON *o, char **ret) {
    int rc = o ? fill_regex(r, o) : 0;
    return rc < 0 || !o ? rc : keep(r, o, ret);
}

/* NFC, alone or in sequences: form C of form C is form C. */
static int check_normalizer(struct reading *r, const cJSON *o, bool *ret_nfc) {
    if (!o) return 0;
    if (is_type(o, "NFC")) {
        *ret_nfc = true;
        return 0;
    }
    if (!is_type(o, "Sequence")) return refuse_named(r, "normalizer", type_of(o));
    int rc = 0;
    const cJSON *part; /* as deep as json_parse() lets it be */
    cJSON_ArrayForEach(part, json_get(o, "normalizers")) if (rc >= 0) rc =
        check_normalizer(r, part, ret_nfc);
    return rc;
}

static int set_normalizer(struct reading *r, bool nfc) {
    int rc = nfc ? vocab_set_nfc(r->t, r->err) : 0;
    return rc < 0 || !r->normalizer ? rc : keep(r, r->normalizer, &r->t->normalizer);
}

/* Whether the post-processor, or one of its parts, cuts blanks off the offsets. A second part that
 * does would cut once more. */
static int read_trim(struct reading *r, const cJSON *o) {
    const cJSON *part, *trim = json_get(o, "trim_offsets"),
                       *prefix = json_get(o, "add_prefix_space");
    int rc = 0;
    cJSON_ArrayForEach(part, json_get(o, "processors")) if (rc >= 0) rc = read_trim(r, part);
    if (rc < 0 || !(is_type(o, "ByteLevel") || is_type(o, "RobertaProcessing")) ||
        cJSON_IsFalse(trim))
        return rc;
    if (r->t->trim_offsets)
        return read_refuse(r, "two post_processors with trim_offsets are not supported");
    r->t->trim_offsets = true;
    r->t->trim_prefix = !cJSON_IsFalse(prefix);
    return 0;
}

/* Kept as it stands, unless it is what write.c would write anyway. */
static int read_post_processor(struct reading *r) {
    cJSON *o = r->post;
    bool prefix = true, trim = true, regex = true;
    int rc = o ? fill_regex(r, o) : 0;
    if (rc >= 0 && o) rc = read_trim(r, o);
    if (rc >= 0 && is_type(o, "ByteLevel")) {
        rc = flag(r, o, "add_prefix_space", &prefix);
        if (rc >= 0) rc = flag(r, o, "trim_offsets", &trim);
        if (rc >= 0) rc = flag(r, o, "use_regex", &regex);
        if (rc < 0 || (prefix && !trim && regex)) return rc;
    }
    return rc < 0 ? rc : keep(r, o, &r->t->post);
}

enum {
    M_TYPE,
    M_DROPOUT,
    M_UNK,
    M_PREFIX,
    M_SUFFIX,
    M_FUSE,
    M_FALLBACK,
    M_IGNORE,
    M_VOCAB,
    M_MERGES,
    M_N
};

static int check_model(struct reading *r, const struct slice *m) {
    char *end;
    if (m[M_TYPE].v && !is_text(m[M_TYPE], "\"BPE\""))
        return err_set(r->err, ERR_CORRUPT, "%s: model type %.*s is not supported, only \"BPE\"",
                       r->path, m[M_TYPE].n > 60 ? 60 : (int)m[M_TYPE].n, m[M_TYPE].v);
    if (!none_or(m[M_PREFIX], "\"\""))
        return read_refuse(r, "continuing_subword_prefix is not supported");
    if (!none_or(m[M_SUFFIX], "\"\"")) return read_refuse(r, "end_of_word_suffix is not supported");
    if (!none_or(m[M_FALLBACK], "false")) return read_refuse(r, "byte_fallback is not supported");
    if (m[M_DROPOUT].v && !is_text(m[M_DROPOUT], "null") &&
        (strtod(m[M_DROPOUT].v, &end) != 0 || end == m[M_DROPOUT].v))
        return read_refuse(r, "dropout is not supported: ids would be random");
    return 0;
}

static int read_model_settings(struct reading *r, const struct slice *m) {
    const char *s;
    size_t n;
    r->t->null_prefix = none_or(m[M_PREFIX], "null");
    r->t->null_suffix = none_or(m[M_SUFFIX], "null");
    r->t->fuse_unk = is_text(m[M_FUSE], "true");
    if (none_or(m[M_UNK], "null")) return 0;
    r->pull.at = m[M_UNK].v;
    int rc = pull_string(&r->pull, &s, &n);
    if (rc < 0) return rc;
    for (int b = 0; b < 256; b++)
        if (r->t->byte_id[b] == TOKENIZER_NO_ID)
            return read_refuse(r,
                               "unk_token in a vocabulary without all 256 bytes is not supported");
    r->t->unk = strndup(s, n);
    return r->t->unk ? 0 : err_nomem(r->err, n);
}

static int find_model(struct reading *r, struct slice model, struct slice *ret) {
    static const char *const names[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges",
                                        NULL};
    r->pull.at = model.v;
    int rc = members(&r->pull, names, ret);
    return rc < 0 ? rc : check_model(r, ret);
}

static int read_model(struct reading *r, const struct slice *m) {
    uint32_t n = (uint32_t)cJSON_GetArraySize(r->added);
    r->n_specials = n;
    r->specials = mem_array(n, sizeof *r->specials);
    if (!r->specials) return err_nomem(r->err, (uint64_t)n * sizeof *r->specials);
    r->t->ignore_merges = is_text(m[M_IGNORE], "true");
    int rc = find_foreign(r);
    if (rc >= 0) rc = read_vocab(r, m[M_VOCAB]);
    if (rc >= 0) rc = read_added_tokens(r);
    if (rc >= 0) rc = read_merges(r, m[M_MERGES]);
    return rc < 0 ? rc : read_model_settings(r, m);
}

/* truncation and padding, objects or null. */
static int keep_part(struct reading *r, struct slice s, char **ret) {
    cJSON *o = NULL;
    int rc = parse(r, s, &o);
    if (rc >= 0 && o && !cJSON_IsObject(o))
        rc = read_refuse(r, "truncation or padding is no object");
    if (rc >= 0 && o) rc = keep(r, o, ret);
    cJSON_Delete(o);
    return rc;
}

enum { T_ADDED, T_NORMALIZER, T_PRE, T_POST, T_DECODER, T_CUT, T_FILL, T_MODEL, T_TEKKEN, T_N };

static int read_top(struct reading *r, struct slice *top) {
    static const char *const names[] = {
        "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
        "truncation",   "padding",    "model",         "config",         NULL};
    int rc = file_read(r->path, READ_MAX_FILE, &r->file, r->err);
    if (rc >= 0) rc = pull_begin(&r->pull, r->file.v, r->file.n, r->path, r->err);
    if (rc >= 0) rc = members(&r->pull, names, top);
    if (rc >= 0) rc = pull_end(&r->pull);
    if (rc < 0 || top[T_MODEL].v) return rc;
    return read_refuse(r, top[T_TEKKEN].v ? "no \"model\"; Mistral's tekken.json is not supported, "
                                            "only the tokenizer.json of the same model"
                                          : "no \"model\"");
}

static int parse_parts(struct reading *r, const struct slice *top) {
    int rc = parse(r, top[T_ADDED], &r->added);
    if (rc >= 0 && r->added && !cJSON_IsArray(r->added))
        rc = read_refuse(r, "added_tokens is no array");
    if (rc >= 0) rc = parse(r, top[T_NORMALIZER], &r->normalizer);
    if (rc >= 0) rc = parse(r, top[T_PRE], &r->pre);
    if (rc >= 0) rc = parse(r, top[T_POST], &r->post);
    if (rc >= 0) rc = parse(r, top[T_DECODER], &r->decoder);
    if (rc >= 0) rc = keep_part(r, top[T_CUT], &r->t->truncation);
    return rc < 0 ? rc : keep_part(r, top[T_FILL], &r->t->padding);
}

/* What is not supported is told before the vocabulary is read: that of another kind of BPE would be
 * found fault with for its tokens, which says nothing to who gave the file. */
static int read_all(struct reading *r) {
    struct slice top[T_N] = {{0}}, model[M_N] = {{0}};
    bool nfc = false;
    int rc = read_top(r, top);
    if (rc >= 0) rc = parse_parts(r, top);
    if (rc >= 0) rc = find_model(r, top[T_MODEL], model);
    if (rc >= 0) rc = check_normalizer(r, r->normalizer, &nfc);
    if (rc >= 0) rc = read_pre_tokenizer(r);
    if (rc >= 0) rc = read_decoder(r);
    if (rc >= 0) rc = read_model(r, model);
    if (rc >= 0) rc = set_normalizer(r, nfc);
    if (rc >= 0) rc = keep_form(r, r->pre, &r->t->pre);
    if (rc >= 0) rc = keep_form(r, r->decoder, &r->t->decoder);
    return rc < 0 ? rc : read_post_processor(r);
}

int read_tokenizer_json(struct tokenizer *t, const char *path, struct err *err) {
    struct err mine;
    struct reading r = {.t = t, .path = path, .err = err ? err : &mine};
    int rc = read_all(&r);
    if (rc == ERR_CORRUPT && !strstr(r.err->msg, path)) err_prefix(r.err, "%s", path);
    cJSON_Delete(r.added);
    cJSON_Delete(r.normalizer);
    cJSON_Delete(r.pre);
    cJSON_Delete(r.post);
    cJSON_Delete(r.decoder);
    read_release(&r);
    return rc;
}
