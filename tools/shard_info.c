/* shard info and shard verify. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "stream/shard_index.h"
#include "tokenizer/tokenizer.h"
#include "tools/common.h"
#include "tools/shard.h"

/* ------------------------------------------------------------------ info */

static void info_text(struct tool *t, const struct shard_index *x, const char *dir) {
    FILE *to = tool_out(t);
    fprintf(to, "%s: vocabulary %u, u%u tokens, end of text %s", dir, x->vocab, 8 * x->token_bytes,
            shard_eot_name(x->eot));
    if (x->eot_id != UINT32_MAX) fprintf(to, " (%u)", x->eot_id);
    fprintf(to, ", sequences of %llu\ntokenizer %s\n", (unsigned long long)x->seq_len,
            *x->tokenizer_digest ? x->tokenizer_digest : "unknown");
    for (size_t i = 0; i < x->n; i++) {
        const struct shard_index_split *s = &x->v[i];
        struct shard_counts c = {s->documents, s->tokens, s->text_bytes, s->targets, x->masked};
        shard_print_counts(t, s->name, &c);
        for (size_t j = 0; t->verbose && j < s->n; j++)
            fprintf(to, "  %s %llu tokens, %llu documents, sha256 %s\n", s->v[j].name,
                    (unsigned long long)s->v[j].tokens, (unsigned long long)s->v[j].documents,
                    s->v[j].sha256);
    }
}

static cJSON *info_tree(const struct shard_index *x) {
    cJSON *o = cJSON_CreateObject(), *splits;
    cJSON_AddNumberToObject(o, "vocab", x->vocab);
    cJSON_AddNumberToObject(o, "token_bytes", x->token_bytes);
    cJSON_AddStringToObject(o, "eot", shard_eot_name(x->eot));
    if (x->eot_id != UINT32_MAX) cJSON_AddNumberToObject(o, "eot_id", x->eot_id);
    cJSON_AddNumberToObject(o, "seq_len", (double)x->seq_len);
    cJSON_AddStringToObject(o, "tokenizer_digest", x->tokenizer_digest);
    splits = cJSON_AddObjectToObject(o, "splits");
    for (size_t i = 0; i < x->n; i++) {
        const struct shard_index_split *s = &x->v[i];
        struct shard_counts c = {s->documents, s->tokens, s->text_bytes, s->targets, x->masked};
        cJSON *v = shard_counts_tree(&c);
        cJSON_AddNumberToObject(v, "shards", (double)s->n);
        cJSON_AddItemToObject(splits, s->name, v);
    }
    return o;
}

/* A folder or file of llm.c: only counts are known. `why` there are no more. */
static int info_plain(struct tool *t, const char *path, const char *why) {
    static const char *const splits[] = {"train", "valid"};
    cJSON *o = cJSON_CreateObject(), *to = cJSON_AddObjectToObject(o, "splits");
    int rc = 0, found = 0;
    bool folder = file_kind(path) == FILE_FOLDER;
    for (int i = 0; rc == 0 && i < (folder ? 2 : 1); i++) {
        struct shard_set s;
        int opened = shard_set_open(&s, &path, 1, splits[i], &t->err);
        if (opened == ERR_IO && folder) continue;
        rc = opened;
        if (rc < 0) break;
        found++;
        struct shard_counts c = {.tokens = s.tokens, .targets = s.targets, .masked = s.masked};
        cJSON_AddItemToObject(to, folder ? splits[i] : path_base(path), shard_counts_tree(&c));
        if (!t->json)
            fprintf(tool_out(t), "%s: %llu tokens in %zu shards of u%u, %s %s\n",
                    folder ? splits[i] : path, (unsigned long long)s.tokens, s.n,
                    8 * s.v[0].token_bytes, why, SHARD_INDEX_NAME);
        shard_set_close(&s);
    }
    if (rc == 0 && !found) rc = t->err.code;
    if (rc == 0 && t->json) return tool_print_json(t, o);
    cJSON_Delete(o);
    return rc;
}

static int info_index(struct tool *t, const struct shard_index *x, const char *path) {
    if (t->json) return tool_print_json(t, info_tree(x));
    info_text(t, x, path);
    return 0;
}

/* One file that an index lists, shown as an index of this file alone. It is opened first, to be
 * refused where it is not what the index says. */
static int info_file(struct tool *t, const struct shard_index *x, const char *path,
                     const struct shard_index_file *f) {
    struct shard_set s;
    int rc = shard_set_open(&s, &path, 1, "", &t->err);
    if (rc < 0) return rc;
    shard_set_close(&s);
    struct shard_index_file file = *f;
    struct shard_index_split only = {.name = f->name,
                                     .tokens = f->tokens,
                                     .documents = f->documents,
                                     .text_bytes = f->text_bytes,
                                     .targets = f->targets,
                                     .v = &file,
                                     .n = 1};
    struct shard_index one = *x;
    one.v = &only;
    one.n = 1;
    return info_index(t, &one, path);
}

static int run_info(struct tool *t) {
    const char *path = t->operands->n ? t->operands->v[0] : "shards";
    struct shard_index x = {0};
    if (t->operands->n > 1) return err_set(&t->err, ERR_USAGE, "one folder at a time");
    bool folder = file_kind(path) == FILE_FOLDER;
    char *dir = folder ? strdup(path) : path_dir(path);
    int rc = dir ? shard_index_load(&x, dir, &t->err) : err_nomem(&t->err, strlen(path));
    const struct shard_index_file *f =
        rc > 0 && !folder ? shard_index_file(&x, path_base(path)) : NULL;
    if (f)
        rc = info_file(t, &x, path, f);
    else if (rc > 0 && folder)
        rc = info_index(t, &x, path);
    else if (rc >= 0)
        rc = info_plain(t, path, rc ? "not in" : "no");
    shard_index_release(&x);
    free(dir);
    return rc;
}

int shard_info(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {
        .name = "shard info",
        .summary = "what a folder of shards holds",
        .usage = "[PATH]",
        .opts = opts,
        .text = "PATH is a folder of shards (default: shards), or one .bin file, with what the "
                "index.json beside it says of it; also of llm.c. -v lists the files."};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_info(&t);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ verify */

static void print_fault(void *ctx, const char *text) {
    fprintf(tool_out(ctx), "%s\n", text);
}

static void add_fault(void *ctx, const char *text) {
    cJSON_AddItemToArray(ctx, cJSON_CreateString(text));
}

/* Whether there are documents, and the token `id` begins, or ends, each of them. */
static bool marks_all(const struct shard_set *set, uint32_t id) {
    uint64_t documents = 0, begins = 0, ends = 0;
    for (size_t i = 0; i < set->n; i++) {
        const struct shard *s = &set->v[i];
        for (uint64_t d = 0, from = 0; d < s->documents; from = s->ends[d++]) {
            if (from == s->ends[d]) continue;
            begins += shard_token(s, from) == id;
            ends += shard_token(s, s->ends[d] - 1) == id;
        }
        documents += s->documents;
    }
    return documents && (begins == documents || ends == documents);
}

/* A text never becomes the end-of-text token, so where it is at every document's end, it was put
 * there. What cannot be opened is for shard_verify() to tell. */
static bool has_marks(const char *dir, const struct shard_index *x, uint32_t id) {
    bool marks = false;
    for (size_t i = 0; i < x->n && !marks; i++) {
        struct shard_set set;
        if (!x->v[i].n || shard_set_open(&set, &dir, 1, x->v[i].name, NULL) < 0) continue;
        marks = marks_all(&set, id);
        shard_set_close(&set);
    }
    return marks;
}

/* Sets *ret_fault to what index.json says wrongly of the tokenizer. */
static int compare(const char *dir, const struct shard_index *x, const char *name,
                   const struct tokenizer *tokenizer, struct err *ret_fault, struct err *err) {
    char digest[SHA256_HEX] = "";
    uint32_t size = tokenizer_size(tokenizer), eot = tokenizer_eot(tokenizer);
    int rc = tokenizer_digest(tokenizer, digest, err);
    if (rc < 0) return rc;
    if (*x->tokenizer_digest && strcmp(digest, x->tokenizer_digest))
        err_set(ret_fault, ERR_CORRUPT, "%s is not the tokenizer that %s was made with", name, dir);
    else if (size != x->vocab)
        err_set(ret_fault, ERR_CORRUPT, "%s/%s: \"vocab\" is %u, %s has %u tokens", dir,
                SHARD_INDEX_NAME, x->vocab, name, size);
    else if (x->eot == SHARD_EOT_NONE && eot != TOKENIZER_NO_ID && has_marks(dir, x, eot))
        err_set(ret_fault, ERR_CORRUPT,
                "%s/%s: \"eot\" is \"none\", but token %u of %s stands at every document", dir,
                SHARD_INDEX_NAME, eot, name);
    return 0;
}

/* The tokenizer beside the shards (or the one named) is what index.json says; else *ret_fault. */
static int check_tokenizer(struct tool *t, const char *dir, const char *tok,
                           struct err *ret_fault) {
    struct shard_index x;
    struct tokenizer *tokenizer = NULL;
    const char *name = tok ? tok : "tokenizer/";
    char *beside = path_join(dir, "tokenizer");
    if (!beside) return err_nomem(&t->err, strlen(dir));
    const char *path = tok ? tok : file_kind(beside) == FILE_FOLDER ? beside : NULL;
    int rc = path && file_kind(dir) == FILE_FOLDER ? shard_index_load(&x, dir, &t->err) : 0;
    if (rc == 1) {
        rc = tokenizer_open(&tokenizer, path, NULL, &t->err);
        if (rc == 0) rc = compare(dir, &x, name, tokenizer, ret_fault, &t->err);
        if (!tok && rc < 0) { /* part of the artefact, and broken */
            err_set(ret_fault, ERR_CORRUPT, "%s is not the tokenizer that %s was made with", name,
                    dir);
            rc = 0;
        }
        tokenizer_free(tokenizer);
        shard_index_release(&x);
    }
    free(beside);
    return rc;
}

static int run_verify(struct tool *t, const char *tok) {
    const char *dir = t->operands->n ? t->operands->v[0] : "shards";
    if (t->operands->n > 1) return err_set(&t->err, ERR_USAGE, "one folder at a time");
    struct err other = {0};
    int rc = check_tokenizer(t, dir, tok, &other);
    if (rc < 0) return rc;
    cJSON *faults = cJSON_CreateArray();
    rc = t->json ? shard_verify(dir, add_fault, faults, &t->log, &t->err)
                 : shard_verify(dir, print_fault, t, &t->log, &t->err);
    if (other.code && (rc == 0 || rc == ERR_CORRUPT)) {
        rc = ERR_CORRUPT;
        if (t->json)
            add_fault(faults, other.msg);
        else
            print_fault(t, other.msg);
        if (!t->err.code) t->err = other;
    }
    if (!t->json || (rc < 0 && rc != ERR_CORRUPT)) {
        cJSON_Delete(faults);
        if (rc == 0 && !t->quiet && !t->json)
            fprintf(tool_out(t), "%s: as its index.json says\n", dir);
        return rc;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "faults", faults);
    int printed = tool_print_json(t, o);
    return rc < 0 ? rc : printed;
}

int shard_verify_main(int argc, char **argv) {
    const char *tok = NULL;
    struct opt opts[] = {{"tokenizer", 't', OPT_STR, &tok, "TOK",
                          "the tokenizer to compare with (default: beside the shards)"},
                         {0}};
    struct program p = {
        .name = "shard verify",
        .summary = "check shards against their index.json",
        .usage = "[PATH]",
        .opts = opts,
        .text = "Checks the sha256 of every file, that every token is in the vocabulary, "
                "the ends of documents, all counts and names, the tokenizer's digest and size, and "
                "that there are no other shards. Exit status 6 if anything is wrong."};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_verify(&t, tok);
    return tool_end(&t, rc);
}
