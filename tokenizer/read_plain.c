/* The files without settings: vocab.json + merges.txt (GPT-2's encoder.json + vocab.bpe), merges
 * alone, and tiktoken's ranks. What they leave unsaid is inferred:
 *
 *   special tokens    of vocab.json: what is neither a byte nor the result of a merge; of
 *                     .tiktoken: by the number of ranks, as published
 *   pattern           given by the caller, or by the number of ranks or the name, else GPT-2's */
#include <stdlib.h>
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/bytemap.h"
#include "tokenizer/read.h"

/* ------------------------------------------------------------------ vocab.json + merges.txt */

/* Marks the specials of a vocabulary whose merges are known. */
static int infer_specials(struct tokenizer *t, struct err *err) {
    struct special *v = NULL;
    uint32_t n = 0;
    uint8_t *made = mem_array(t->n, 1);
    struct buf text = {0};
    int rc = made ? 0 : err_nomem(err, t->n);
    for (uint64_t i = 0; rc >= 0 && i < t->n_merges; i++) made[t->merges[i].result] = 1;
    for (uint32_t id = 0; rc >= 0 && id < t->n; id++) {
        size_t len;
        const uint8_t *p = vocab_token(t, id, &len);
        if (made[id] || len == 0 || (len == 1 && t->kind[id] == TOKEN_MODEL))
            made[id] = 1;
        else if (memchr(p, 0, len))
            made[id] = 1; /* cannot be the text of a special */
        else if (!read_is_text(p, len))
            rc = err_set(err, ERR_CORRUPT,
                         "no merge makes token %u, and its bytes are no text; a special token with "
                         "characters outside ASCII needs a tokenizer.json",
                         id);
        else
            n++;
    }
    if (rc >= 0) {
        v = mem_array(n, sizeof *v);
        rc = v ? buf_reserve(&text, t->start[t->n] + n, err) : err_nomem(err, n * sizeof *v);
    }
    n = 0;
    for (uint32_t id = 0; rc >= 0 && id < t->n; id++) {
        size_t len;
        const uint8_t *p = vocab_token(t, id, &len);
        if (made[id]) continue;
        v[n++] = (struct special){
            .id = id, .text = text.v + text.n, .special = true, .normalized = true};
        memcpy(text.v + text.n, p, len);
        text.v[text.n + len] = 0;
        text.n += len + 1;
    }
    if (rc >= 0) rc = vocab_set_specials(t, v, n, err);
    free(made);
    free(v);
    buf_release(&text);
    return rc;
}

/* GPT-2's ids for merges without a vocabulary: the bytes in the order of their characters, the
 * results of the merges, <|endoftext|>. Written as a vocab.json and read like one. */
static int vocab_of_merges(struct buf *out, const char *text, size_t n, struct err *err) {
    uint32_t id = 0;
    int rc = buf_char(out, '{', err);
    for (int i = 0; i < 256 && rc >= 0; i++, id++) {
        rc = buf_str(out, i ? ",\"" : "\"", err);
        uint8_t b = bytemap_order()[i];
        if (rc >= 0 && (b == '"' || b == '\\')) rc = buf_char(out, '\\', err);
        if (rc >= 0) rc = bytemap_write(out, &b, 1, err);
        if (rc >= 0) rc = buf_printf(out, err, "\":%u", id);
    }
    for (const char *end = text + n; text < end && rc >= 0;) {
        const char *nl = memchr(text, '\n', (size_t)(end - text)), *to = nl ? nl : end;
        if (!(to - text >= 8 && memcmp(text, "#version", 8) == 0) && to > text) {
            rc = buf_str(out, ",\"", err);
            for (; text < to && rc >= 0; text++) {
                if ((*text == '"' || *text == '\\') && rc >= 0) rc = buf_char(out, '\\', err);
                if (*text != ' ' && *text != '\r' && rc >= 0) rc = buf_char(out, *text, err);
            }
            if (rc >= 0) rc = buf_printf(out, err, "\":%u", id++);
        }
        text = nl ? nl + 1 : end;
    }
    return rc < 0 ? rc : buf_printf(out, err, ",\"" TOKENIZER_EOT "\":%u}", id);
}

int read_vocab_merges(struct tokenizer *t, const char *vocab, const char *merges,
                      const char *pattern, struct err *err) {
    struct err mine;
    struct reading r = {.t = t, .path = vocab ? vocab : merges, .err = err ? err : &mine};
    struct buf lines = {0};
    int rc = file_read(merges, READ_MAX_FILE, &lines, r.err);
    if (rc >= 0)
        rc = vocab ? file_read(vocab, READ_MAX_FILE, &r.file, r.err)
                   : vocab_of_merges(&r.file, lines.v, lines.n, r.err);
    if (rc >= 0) rc = pull_begin(&r.pull, r.file.v, r.file.n, r.path, r.err);
    if (rc >= 0) rc = read_vocab(&r, (struct slice){r.file.v, r.file.n});
    if (rc >= 0) rc = pull_end(&r.pull);
    if (rc >= 0) rc = read_merge_lines(&r, lines.v, lines.n, merges);
    if (rc >= 0) rc = infer_specials(t, r.err);
    if (rc >= 0) rc = vocab_set_pattern(t, pattern, r.err);
    if (rc == ERR_CORRUPT && !strstr(r.err->msg, r.path) && !strstr(r.err->msg, merges))
        err_prefix(r.err, "%s", r.path);
    if (rc >= 0)
        rc = json_bool(t->config.config, "add_prefix_space", &t->prefix_space, r.path, r.err);
    buf_release(&lines);
    read_release(&r);
    return rc;
}

/* ------------------------------------------------------------------ .tiktoken */

/* Longest token believed: for a list of all merges every cut of a token is looked up, so that a
 * hostile file could cost the square of this. The longest published ones have 128 bytes. */
enum { TOKEN_MAX = 4096 };

struct ranks {
    struct buf bytes;
    struct u64s end;
    struct u32s id;
    uint32_t max;
    bool hollow; /* a token has no bytes */
};

struct published {
    uint32_t ranks, largest; /* in the file; a file of ours has its specials before the ranks */
    const char *name, *pattern;
    struct special specials[6];
    bool hollow; /* one token has no bytes */
};
#define SPECIAL(ID, TEXT)                                                                          \
    { .id = (ID), .text = (TEXT), .special = true }
#define QWEN(FIRST)                                                                                \
    {                                                                                              \
        SPECIAL(FIRST, TOKENIZER_EOT), SPECIAL((FIRST) + 1, "<|im_start|>"),                       \
            SPECIAL((FIRST) + 2, "<|im_end|>")                                                     \
    }
static const struct published all_published[] = {
    {50256, 50255, "r50k", "gpt2", {SPECIAL(50256, TOKENIZER_EOT)}, false},
    {50280, 50280, "p50k", "gpt2", {SPECIAL(50256, TOKENIZER_EOT)}, false},
    {50257,
     50256,
     "whisper",
     "gpt2",
     {SPECIAL(50257, TOKENIZER_EOT), SPECIAL(50258, "<|startoftranscript|>")},
     true},
    {100256,
     100255,
     "cl100k",
     "cl100k",
     {SPECIAL(100257, TOKENIZER_EOT), SPECIAL(100258, "<|fim_prefix|>"),
      SPECIAL(100259, "<|fim_middle|>"), SPECIAL(100260, "<|fim_suffix|>"),
      SPECIAL(100276, "<|endofprompt|>")},
     false},
    {199998,
     199997,
     "o200k",
     "o200k",
     {SPECIAL(199999, TOKENIZER_EOT), SPECIAL(200018, "<|endofprompt|>")},
     false},
    {128000, 127999, "llama3", "llama3", {{0}}, false},
    {151643, 151642, "qwen", "qwen2", QWEN(151643), false},
    {248044, 248043, "qwen3.5", "qwen3.5", QWEN(248044), false},
};

/* Do the ranks of a file say that it is this one? */
static bool is_it(const struct published *p, const struct ranks *k) {
    return p->ranks == k->id.n && p->largest == k->max && p->hollow == k->hollow;
}

static const struct published *which(const struct ranks *k, const char *path) {
    for (size_t i = 0; i < sizeof all_published / sizeof *all_published; i++)
        if (is_it(&all_published[i], k)) return &all_published[i];
    for (size_t i = 0; i < sizeof all_published / sizeof *all_published; i++)
        if (strstr(path_base(path), all_published[i].name)) return &all_published[i];
    return NULL;
}

/* A digit of base64 and 1; 0: it is none. */
#define X5(c, d)                                                                                   \
    [c] = (d), [(c) + 1] = (d) + 1, [(c) + 2] = (d) + 2, [(c) + 3] = (d) + 3, [(c) + 4] = (d) + 4
#define X25(c, d)                                                                                  \
    X5(c, d), X5((c) + 5, (d) + 5), X5((c) + 10, (d) + 10), X5((c) + 15, (d) + 15),                \
        X5((c) + 20, (d) + 20)
static const uint8_t base64_digit[256] = {X25('A', 1), ['Z'] = 26,  X25('a', 27), ['z'] = 52,
                                          X5('0', 53), X5('5', 58), ['+'] = 63,   ['/'] = 64};

/* Appends the bytes of s[0..n); false if it is not base64 with its padding. */
static bool base64(const char *s, size_t n, struct buf *out) {
    if (!n || n % 4) return false;
    const size_t pad = (size_t)(s[n - 1] == '=') + (s[n - 1] == '=' && s[n - 2] == '=');
    uint8_t *to = (uint8_t *)out->v + out->n;
    bool good = true;
    for (size_t i = 0; i < n; i += 4, to += 3) {
        uint32_t x = 0;
        for (size_t k = 0; k < 4; k++) {
            uint32_t d = base64_digit[(uint8_t)s[i + k]];
            good &= d != 0 || i + k >= n - pad;
            x = x << 6 | (d - (d != 0));
        }
        to[0] = (uint8_t)(x >> 16), to[1] = (uint8_t)(x >> 8), to[2] = (uint8_t)x;
    }
    out->n += n / 4 * 3 - pad;
    return good;
}

/* One line "BASE64 RANK" without its newline. NULL, or what is wrong. Whisper's file has a "=",
 * which is no bytes to Python: an id without a token. */
static const char *rank_line(struct ranks *k, const char *s, const char *end, int *rc,
                             struct err *err) {
    const char *space = memchr(s, ' ', (size_t)(end - s)), *p;
    uint64_t rank = 0;
    if (!space) return "not a line of .tiktoken (base64, blank, rank)";
    for (p = space + 1; p < end && *p >= '0' && *p <= '9' && rank < TOKENIZER_NO_ID; p++)
        rank = rank * 10 + (uint64_t)(*p - '0');
    if (rank >= TOKENIZER_NO_ID / 2) return "the rank is absurd";
    if (p == space + 1 || p != end) return "the rank is not a whole number";
    *rc = buf_reserve(&k->bytes, (size_t)(space - s), err);
    if (*rc < 0) return NULL;
    if ((size_t)(space - s) > TOKEN_MAX / 3 * 4) return "a token longer than 4096 bytes";
    const bool hollow = space == s + 1 && *s == '=';
    if (!hollow && !base64(s, (size_t)(space - s), &k->bytes)) return "not base64";
    k->hollow |= hollow;
    *rc = u32s_push(&k->id, (uint32_t)rank, err);
    if (*rc >= 0) *rc = u64s_push(&k->end, k->bytes.n, err);
    if (rank > k->max) k->max = (uint32_t)rank;
    return NULL;
}

static int rank_lines(struct ranks *k, const struct buf *file, const char *path, struct err *err) {
    const char *s = file->v, *end = s + file->n;
    uint64_t line = 0;
    int rc = 0;
    while (s < end && rc >= 0) {
        const char *nl = memchr(s, '\n', (size_t)(end - s)), *to = nl ? nl : end, *bad = NULL;
        line++;
        if (to > s && to[-1] == '\r') to--;
        if (to > s) bad = rank_line(k, s, to, &rc, err);
        if (rc >= 0 && bad)
            rc = err_set(err, ERR_CORRUPT, "%s:%llu: %s", path, (unsigned long long)line, bad);
        s = nl ? nl + 1 : end;
    }
    if (rc >= 0 && !k->id.n) rc = err_set(err, ERR_CORRUPT, "%s: no tokens", path);
    if (rc >= 0 && k->max > 2 * k->id.n + 1000)
        rc =
            err_set(err, ERR_CORRUPT, "%s: rank %u in a file of %zu tokens", path, k->max, k->id.n);
    return rc;
}

/* Lays tokens and specials out by id. */
static int place_ranks(struct tokenizer *t, const struct ranks *k, const struct published *known,
                       struct err *err) {
    uint32_t n = k->max + 1, n_specials = 0;
    size_t more = 0;
    for (; known && known->specials[n_specials].text; n_specials++) {
        more += strlen(known->specials[n_specials].text);
        if (known->specials[n_specials].id >= n) n = known->specials[n_specials].id + 1;
    }
    t->start = mem_array((size_t)n + 1, sizeof *t->start);
    t->kind = mem_array(n, 1);
    t->bytes = mem_array(k->bytes.n + more, 1);
    if (!t->start || !t->kind || !t->bytes) return err_nomem(err, k->bytes.n);
    for (size_t i = 0; i < k->id.n; i++) {
        const uint32_t id = k->id.v[i];
        if (t->kind[id]) return err_set(err, ERR_CORRUPT, "two tokens have the rank %u", id);
        t->kind[id] = TOKEN_MODEL;
        t->start[id + 1] = k->end.v[i] - (i ? k->end.v[i - 1] : 0);
    }
    for (uint32_t i = 0; i < n_specials; i++) {
        const struct special *s = &known->specials[i];
        if (t->kind[s->id])
            return err_set(err, ERR_CORRUPT, "rank %u is that of %s", s->id, s->text);
        t->kind[s->id] = TOKEN_SPECIAL;
        t->start[s->id + 1] = strlen(s->text);
    }
    for (uint32_t id = 0; id < n; id++) t->start[id + 1] += t->start[id];
    for (size_t i = 0; i < k->id.n; i++) {
        uint64_t from = i ? k->end.v[i - 1] : 0;
        memcpy(t->bytes + t->start[k->id.v[i]], k->bytes.v + from, k->end.v[i] - from);
        if (k->end.v[i] == from) t->kind[k->id.v[i]] = 0;
    }
    for (uint32_t i = 0; i < n_specials; i++)
        memcpy(t->bytes + t->start[known->specials[i].id], known->specials[i].text,
               strlen(known->specials[i].text));
    int rc = vocab_set_tokens(t, n, t->bytes, t->start, t->kind, err);
    return rc < 0 ? rc : vocab_set_specials(t, known ? known->specials : NULL, n_specials, err);
}

int read_tiktoken(struct tokenizer *t, const char *path, const char *pattern, struct err *err) {
    struct err mine;
    struct buf file = {0};
    struct ranks k = {0};
    err = err ? err : &mine;
    int rc = file_read(path, READ_MAX_FILE, &file, err);
    if (rc >= 0) rc = rank_lines(&k, &file, path, err);
    const struct published *known = rc >= 0 ? which(&k, path) : NULL;
    t->guessed = !pattern && !known;
    if (!pattern) pattern = known ? known->pattern : "gpt2";
    if (known && !is_it(known, &k)) known = NULL; /* only the name speaks for it: the pattern */
    t->ignore_merges = true;
    if (rc >= 0) rc = place_ranks(t, &k, known, err);
    if (rc >= 0) rc = vocab_set_ranks(t, err);
    if (rc >= 0) rc = vocab_set_pattern(t, pattern, err);
    if (rc == ERR_CORRUPT && !strstr(err->msg, path)) err_prefix(err, "%s", path);
    buf_release(&file);
    buf_release(&k.bytes);
    u64s_release(&k.end);
    u32s_release(&k.id);
    return rc;
}
