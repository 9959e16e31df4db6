/* What a new tokenizer keeps of the one it is trained after, as train_new_from_iterator() does: the
 * model's and the pre-tokenizer's settings, and the post-processor with the new ids of its special
 * tokens (also inside a sequence, where transformers leaves the old ids). */
#include <stdlib.h>
#include "base/json.h"
#include "tokenizer/merges_vocab.h"
#include "tokenizer/vocab.h"

static int new_id(const struct tokenizer *t, const char *token, uint32_t *ret, struct err *err) {
    *ret = tokenizer_named(t, token);
    if (*ret != TOKENIZER_NO_ID) return 0;
    return err_set(err, ERR_USAGE,
                   "the post-processor puts %s around texts, which is none of the special tokens",
                   token);
}

/* {"[CLS]": {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}, …} of a template */
static int renumber_template(const struct tokenizer *t, cJSON *specials, struct err *err) {
    cJSON *special;
    const cJSON *token;
    cJSON_ArrayForEach(special, specials) {
        cJSON *ids = cJSON_CreateArray();
        int rc = ids ? 0 : err_nomem(err, sizeof *ids);
        cJSON_ArrayForEach(token, json_get(special, "tokens")) {
            uint32_t id;
            if (rc == 0 && !cJSON_IsString(token))
                rc = err_set(err, ERR_CORRUPT, "a token of the post-processor is no string");
            if (rc == 0) rc = new_id(t, token->valuestring, &id, err);
            if (rc == 0 && !cJSON_AddItemToArray(ids, cJSON_CreateNumber(id)))
                rc = err_nomem(err, sizeof *ids);
        }
        if (rc == 0 && cJSON_ReplaceItemInObjectCaseSensitive(special, "ids", ids)) continue;
        cJSON_Delete(ids);
        return rc < 0 ? rc : err_set(err, ERR_CORRUPT, "a token of the post-processor has no ids");
    }
    return 0;
}

/* ["</s>", 2] of RoBERTa's and BERT's */
static int renumber_pair(const struct tokenizer *t, cJSON *pair, struct err *err) {
    uint32_t id;
    cJSON *token = cJSON_GetArrayItem(pair, 0), *number = cJSON_GetArrayItem(pair, 1);
    if (!pair) return 0;
    if (!cJSON_IsString(token) || !cJSON_IsNumber(number))
        return err_set(err, ERR_CORRUPT, "a token of the post-processor is no pair of text and id");
    int rc = new_id(t, token->valuestring, &id, err);
    if (rc == 0) cJSON_SetNumberValue(number, id);
    return rc;
}

static int renumber(const struct tokenizer *t, cJSON *post, struct err *err) {
    cJSON *part;
    int rc = renumber_template(t, cJSON_GetObjectItemCaseSensitive(post, "special_tokens"), err);
    if (rc == 0) rc = renumber_pair(t, cJSON_GetObjectItemCaseSensitive(post, "cls"), err);
    if (rc == 0) rc = renumber_pair(t, cJSON_GetObjectItemCaseSensitive(post, "sep"), err);
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(post, "processors")) if (rc == 0) rc =
        renumber(t, part, err); /* as deep as json_parse() lets it be */
    return rc;
}

static int keep_post(struct tokenizer *t, const char *post, struct err *err) {
    cJSON *tree;
    struct buf text = {0};
    int rc = json_parse(&tree, post, strlen(post), "post_processor", err);
    if (rc < 0) return rc;
    rc = renumber(t, tree, err);
    if (rc == 0) rc = json_text(&text, tree, false, err);
    if (rc == 0 && !buf_cstr(&text)) rc = err_nomem(err, text.n);
    cJSON_Delete(tree);
    if (rc == 0)
        t->post = text.v;
    else
        buf_release(&text);
    return rc;
}

static int keep_text(char **ret, const char *text, struct err *err) {
    *ret = text ? strdup(text) : NULL;
    return *ret || !text ? 0 : err_nomem(err, strlen(text));
}

int merges_vocab_like(struct tokenizer *t, const struct tokenizer *like, struct err *err) {
    t->prefix_space = like->prefix_space;
    t->ignore_merges = like->ignore_merges && !like->by_rank; /* ranks: how the file means them */
    t->null_prefix = like->null_prefix;
    t->null_suffix = like->null_suffix;
    t->fuse_unk = like->fuse_unk;
    t->trim_offsets = like->trim_offsets;
    t->trim_prefix = like->trim_prefix;
    bool same = strcmp(tokenizer_pattern(t), tokenizer_pattern(like)) == 0;
    int rc = keep_text(&t->unk, like->unk, err);
    if (rc == 0 && same) rc = keep_text(&t->pre, like->pre, err);
    if (rc == 0) rc = keep_text(&t->decoder, like->decoder, err);
    if (rc == 0) rc = keep_text(&t->truncation, like->truncation, err);
    if (rc == 0) rc = keep_text(&t->padding, like->padding, err);
    if (rc == 0) rc = keep_text(&t->normalizer, like->normalizer, err);
    if (rc == 0 && like->nfc) rc = vocab_set_nfc(t, err);
    if (rc == 0) rc = config_like(t, like, err);
    return rc == 0 && like->post ? keep_post(t, like->post, err) : rc;
}
