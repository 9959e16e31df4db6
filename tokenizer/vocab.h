/* What stands behind struct tokenizer, for the files of this folder that make, save and encode.
 *
 *   bytes   [Ġ t h e|i n|…]           the bytes of all tokens, one after the other
 *   start   [0, 4, 6, …]              token i is bytes[start[i] .. start[i+1]); equal: a hole
 *   finder  bytes ─▶ id               tokens that merging, or a whole piece, may yield
 *   pairs   (left,right) ─▶ rank ─▶ result
 *   trie    text ─▶ all tokens that begin here, for long pieces only
 *
 * A tokenizer is made in steps, each of which validates what it is given:
 *
 *   vocab_new ─▶ vocab_set_tokens ─▶ vocab_set_specials ─▶ vocab_set_merges ─▶ vocab_set_pattern
 *                                                       or vocab_set_ranks
 *
 * and is read-only afterwards. Two meanings of "merge" live in the same table. A list of merges
 * (HF) gives every pair its place in the list as rank. Ranks of tokens (tiktoken) let any two
 * neighbours merge whose bytes together are a token: then the id of the result is the rank, and
 * equal ranks go to the leftmost; which pairs that makes ranks.h tells. Both ways the pair of the
 * lowest rank merges first. */
#ifndef LORY_TOKENIZER_VOCAB_H
#define LORY_TOKENIZER_VOCAB_H

#include <cjson/cJSON.h>
#include <string.h>
#include "tokenizer/nfc.h"
#include "tokenizer/pairs.h"
#include "tokenizer/pattern.h"
#include "tokenizer/seams.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/trie.h"

struct split;

enum {
    TOKEN_MODEL = 1,   /* in the model's vocabulary, made of bytes: in the finder               */
    TOKEN_RAW = 2,     /* in the model's vocabulary, with characters that stand for no byte     */
    TOKEN_SPECIAL = 4, /* an added token; its bytes are its text                                */
};

/* Open addressing; a slot is free when id is TOKENIZER_NO_ID. Up to eight bytes are compared in
 * the slot itself. A bit by hash is asked before: the slots of a large vocabulary are megabytes,
 * and of text never seen before most pieces are no tokens. */
enum { FINDER_FILTER_BITS = 20 };
struct finder {
    uint64_t *filter; /* (1 << FINDER_FILTER_BITS bits) */
    struct finder_slot {
        uint64_t head; /* the first eight bytes                    */
        uint32_t tag;  /* 24 bits of the hash, the length (<= 255) */
        uint32_t id;
    } * slot;
    size_t mask;
};

/* Added tokens as a tree of bytes; see specials.c. */
struct special_tree {
    struct special_node {
        uint32_t child, next; /* first child, next sibling; 0: none (0 is the root) */
        uint32_t special;     /* index into the specials, or TOKENIZER_NO_ID        */
        uint8_t byte;
    } * node;
    uint32_t n, cap;
    bool first[256]; /* bytes that begin a special */
    int n_first;     /* how many there are         */
    uint8_t last_first;
    bool special_is_text; /* what is found of a special token is ordinary text */
};

struct tokenizer {
    uint32_t n; /* ids 0 … n-1 */
    uint8_t *bytes;
    uint64_t *start; /* (n + 1) */
    uint8_t *kind;   /* (n) TOKEN_ bits; 0: a hole */
    struct finder finder;
    uint32_t byte_id[256]; /* of the single bytes; TOKENIZER_NO_ID where missing */

    struct merge *merges; /* a list's; with ranks of tokens there is none */
    uint64_t n_merges;
    struct pairs pairs;
    bool all_bytes;       /* each of the 256 has a token */
    uint32_t *byte_ranks; /* (256 x 256) of two bytes, or PAIRS_NONE */
    bool steady;          /* the pair of rank r merges to r + first_result, for all ranks */
    uint32_t first_result;
    struct seams seams;
    struct split *split; /* (n) with ranks of tokens: how each comes into being; else NULL */
    struct lazy *lazy;   /* made when it is first asked for: trie, longest, ranks as a list */

    struct special *specials; /* by rising id */
    uint32_t n_specials;
    struct special_tree tree[2]; /* HF's two passes: normalized == false first, then true */
    /* The same nodes with special_is_text, for TOKENIZER_SPECIAL_NONE; no nodes where all added
     * tokens are special. */
    struct special_tree plain[2];

    struct pattern *pattern;
    bool ignore_merges; /* a piece that is a token is that token, whatever the merges say */
    bool by_rank;       /* a merge's rank is its result's id (tiktoken)                   */
    bool all_made;      /* all tokens are what their bytes merge to: none is one by decree */
    bool prefix_space;  /* HF's add_prefix_space                                          */
    struct nfc *nfc;    /* texts are normalized to form C before all else, or NULL        */
    bool trim_offsets;  /* offsets leave blanks out: the post-processor's trim_offsets …  */
    bool trim_prefix;   /* … and its add_prefix_space; they have no meaning for the ids   */

    /* What tokenizer.json says besides and is written back; no meaning for the ids. */
    bool null_prefix, null_suffix; /* continuing_subword_prefix, end_of_word_suffix: null, not "" */
    bool fuse_unk;
    char *unk;           /* unk_token, or NULL               */
    char *pre, *decoder; /* compact JSON, or NULL: made of the pattern, ByteLevel's     */
    char *post;          /* post_processor as compact JSON, or NULL for ByteLevel's */
    char *truncation, *padding, *normalizer; /* as compact JSON, or NULL for null */
    bool guessed; /* nothing speaks for the pattern of this .tiktoken file */
    char *folder; /* opened from here, or NULL        */
    struct config {
        struct tokenizer_settings said; /* strings borrowed from the two trees          */
        cJSON *config, *map;           /* tokenizer_config.json, special_tokens_map.json, or NULL */
        cJSON *added;                  /* added_tokens.json, or NULL                              */
        char *chat;                    /* chat_template.jinja, or NULL                            */
        struct strs chat_names, chats; /* of additional_chat_templates/: NAME.jinja, text  */
    } config;
};

/* An empty tokenizer with GPT-2's settings, or NULL. */
struct tokenizer *vocab_new(void);
/* Takes over the three arrays (malloc'd), also on failure. kind[i] tells which tokens are what.
 * ERR_CORRUPT: two tokens of the same bytes. */
int vocab_set_tokens(struct tokenizer *t, uint32_t n, uint8_t *bytes, uint64_t *start,
                     uint8_t *kind, struct err *err);
/* One more token behind the last, an added one: vocab_set_specials() has to name it next. Not with
 * ranks of tokens. */
int vocab_append(struct tokenizer *t, const char *text, struct err *err);
/* Copies the specials, in place of any before; their ids are below n, their bytes their texts. */
int vocab_set_specials(struct tokenizer *t, const struct special *v, uint32_t n, struct err *err);
/* Takes over the list (malloc'd), also on failure. Every merge is checked: known ids, and the
 * bytes of the result are those of its parts. */
int vocab_set_merges(struct tokenizer *t, struct merge *merges, uint64_t n, struct err *err);
/* In place of any list: the tokens' ids are their ranks. */
int vocab_set_ranks(struct tokenizer *t, struct err *err);
/* From now on texts, and specials with `normalized`, are taken in form C. */
int vocab_set_nfc(struct tokenizer *t, struct err *err);
int vocab_set_pattern(struct tokenizer *t, const char *pattern, struct err *err);

static inline uint64_t vocab_length(const struct tokenizer *t, uint32_t id) {
    return t->start[id + 1] - t->start[id];
}
static inline const uint8_t *vocab_token(const struct tokenizer *t, uint32_t id, size_t *n) {
    *n = (size_t)vocab_length(t, id);
    return t->bytes + t->start[id];
}

/* Room for `n` tokens. */
int finder_new(struct finder *f, size_t n, struct err *err);
/* Adds token `id` of t; returns the id of another token with the same bytes, or TOKENIZER_NO_ID. */
uint32_t finder_add(struct finder *f, const struct tokenizer *t, uint32_t id);
uint32_t finder_get(const struct finder *f, const struct tokenizer *t, const uint8_t *p, size_t n);
/* The same for many, which wait for memory together: p[i][0..n[i]) to ids[i], i < count. */
enum { FINDER_MANY = 64 };
void finder_get_many(const struct finder *f, const struct tokenizer *t, const uint8_t *const *p,
                     const uint32_t *n, size_t count, uint32_t *ids);
void finder_release(struct finder *f);

/* What the pair of a rank merges to. */
static inline uint32_t vocab_merged(const struct tokenizer *t, uint32_t rank) {
    return t->steady ? rank + t->first_result : t->merges[rank].result;
}

/* The tree of t's tokens, which the first of all threads that asks for it makes and t owns; NULL
 * while it is being made. */
int vocab_trie(const struct trie **ret, const struct tokenizer *t, struct err *err);
/* In the same way, what bpe_longest.c needs. */
struct longest;
int vocab_longest(const struct longest **ret, const struct tokenizer *t, struct err *err);

/* A hash of byte strings, for tables in memory. */
uint64_t vocab_hash(const uint8_t *p, size_t n);

/* ------------------------------------------------------------------ specials.c */

int special_tree_add(struct special_tree *tree, const char *text, uint32_t special,
                     struct err *err);
/* Adds specials[special] to that of two trees in which HF looks for it: as it is, or normalized. */
int special_plant(const struct tokenizer *t, struct special_tree tree[2], uint32_t special,
                  struct err *err);
void special_tree_release(struct special_tree *tree);
/* Whether one of the two has a token. */
static inline bool special_tree_any(const struct special_tree tree[2]) {
    return tree[0].n || tree[1].n;
}
/* Longest special of `tree` that text[at..n) begins with: its index and its length, or
 * TOKENIZER_NO_ID. */
uint32_t special_tree_match(const struct special_tree *tree, const char *text, size_t at, size_t n,
                            size_t *ret_n);

/* A stretch of text between specials (id == TOKENIZER_NO_ID), or a special. */
struct segment {
    size_t start, end;
    uint32_t id;
};
struct segments {
    struct segment *v;
    size_t n, cap;
};
/* Cuts text[0..n) as one pass of HF's added vocabulary does; the pieces follow one another. */
int specials_cut(const struct tokenizer *t, const struct special_tree *tree, const char *text,
                 size_t n, struct segments *out, struct err *err);

/* The same of a text that comes in parts. What is held is no longer than the longest special, but
 * for white space: before a place where one with lstrip may begin, all of it; with `whole`, all
 * that one with rstrip swallows. */
struct special_stream {
    struct buf text;       /* a little of what has left, then what has not                      */
    struct segments found; /* in `text`, certain; the last may go on with the next part's first */
    size_t done, at;       /* text[0..done) has left or is swallowed; the search is at `at` …   */
    size_t spaces;         /* … before which there is white space from here on                  */
    bool swallows;         /* so is what white space follows `done`                             */
    bool lstrip, whole;    /* is there one with lstrip; does a match wait for its blanks        */
};
/* Takes v[0..n) and cuts as far as is certain; with `last`, which ends the text, all. */
int special_stream_add(struct special_stream *s, const struct tokenizer *t,
                       const struct special_tree *tree, const char *v, size_t n, bool last,
                       struct err *err);
/* Lets go of what add() found, and of the text before; returns how many bytes of that. */
size_t special_stream_take(struct special_stream *s);
void special_stream_begin(struct special_stream *s); /* forgets the text before */
void special_stream_release(struct special_stream *s);

/* ERR_DATA if text[0..n), which begins at byte `from` of a text, holds a special token that is not
 * in the two trees `allowed` (NULL: none is), with its byte. Unless it is the text's `last`, what
 * may begin one at its end is not looked at: that is behind *ret_n. */
int specials_refuse(const struct tokenizer *t, const struct special_tree *allowed, const char *text,
                    size_t n, uint64_t from, bool last, size_t *ret_n, struct err *err);

/* ------------------------------------------------------------------ readers and writer */

#define CHAT_FILE    "chat_template.jinja"
#define CHATS_FOLDER "additional_chat_templates" /* NAME.jinja */

/* write.c: removes what lies there of another tokenizer. */
int vocab_drop_file(const char *dir, const char *name, struct err *err);

/* config.c: tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat templates in
 * `folder`, as far as they are there. ERR_CORRUPT: path, key and what is wrong. */
int config_read(struct config *c, const char *folder, struct err *err);
/* A text without NUL that stands beside a tokenizer, malloc'd; *ret stays where there is none.
 * ERR_CORRUPT, ERR_IO: with the path. */
int config_text(const char *path, char **ret, struct err *err);
/* "bos_token" …, those that every tokenizer may have, in transformers' order; NULL behind them. */
extern const char *const config_roles[];
/* The text of a token as the files have it, a string or an object with "content"; else NULL. */
const char *config_token_text(const cJSON *x);
/* Whether a member of this name is a token of a model's own: "image_token". */
bool config_is_own_token(const char *key);
/* added.c: adds the tokens that the configuration names and the vocabulary lacks, and gives added
 * tokens the flags that it states, as AutoTokenizer does. ERR_CORRUPT: a token would have another
 * id than is stated. */
int config_added(struct tokenizer *t, const char *folder, struct err *err);
/* added.c: for a tokenizer trained after another: its added tokens that are not special, by rising
 * id, behind the last or, where the new vocabulary has one, with the flags that they had there. */
int added_keep(struct tokenizer *t, const struct tokenizer *like, struct err *err);
/* For a tokenizer trained after another: what it says, without the tokens that are not in t, and
 * with t's further special tokens. */
int config_like(struct tokenizer *t, const struct tokenizer *like, struct err *err);
/* Writes the files, GPT-2's where nothing was read; removes those that another tokenizer had. */
int config_write(const struct tokenizer *t, const char *dir, struct err *err);
void config_release(struct config *c);

/* chats.c: chat_template.jinja and additional_chat_templates/NAME.jinja in `folder`. ERR_CORRUPT: a
 * path, and what is wrong. */
int chats_read(struct config *c, const char *folder, struct err *err);
/* Where there are such files, they alone say what the chat template is. */
void chats_settle(struct config *c);
int chats_like(struct config *c, const struct config *like, struct err *err);
int chats_write(const struct config *c, const char *dir, struct err *err);
/* Those of additional_chat_templates/ alone. */
int chats_write_more(const struct config *c, const char *dir, struct err *err);
void chats_release(struct config *c);

/* Each opens one file, or a pair, into an empty tokenizer. Messages carry the path. */
int read_tokenizer_json(struct tokenizer *t, const char *path, struct err *err);
int read_vocab_merges(struct tokenizer *t, const char *vocab, const char *merges,
                      const char *pattern, struct err *err);
int read_tiktoken(struct tokenizer *t, const char *path, const char *pattern, struct err *err);

#endif
