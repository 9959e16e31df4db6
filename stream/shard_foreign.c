/* Token files of other projects, opened where they lie.
 *
 *   Megatron   NAME.idx: "MMIDIDX\0\0" │ u64 version 1 │ u8 type │ u64 sequences S │ u64 ends D │
 *              i32 length × S │ i64 offset × S │ i64 first sequence of each document × D │ (i8 × S)
 *              NAME.bin: the tokens, of 16 or 32 bits
 *   nanoGPT    train.bin, val.bin: u16 tokens, nothing else; only the name tells
 *
 * (Megatron-LM megatron/core/datasets/indexed_dataset.py; nanoGPT data/openwebtext/prepare.py.) */
#include <stdlib.h>
#include <string.h>
#include "stream/shard_index.h"

enum { MEGATRON_HEAD = 34, MEGATRON_I32 = 4, MEGATRON_U16 = 8 };

bool shard_is_megatron(const struct mapping *idx) {
    return idx->bytes >= MEGATRON_HEAD && !memcmp(idx->v, "MMIDIDX\0\0", 9);
}

static uint64_t u64_at(const uint8_t *v) {
    uint64_t x;
    memcpy(&x, v, sizeof x);
    return x;
}

/* The tokens of documents [0, d] as their ends; lengths and offsets agree with each other and with
 * the tokens there are. */
static int megatron_documents(struct shard *s, uint64_t sequences, uint64_t entries,
                              struct err *err) {
    const uint8_t *length = s->idx.v + MEGATRON_HEAD, *offset = length + 4 * sequences;
    const uint8_t *first = offset + 8 * sequences;
    uint64_t sum = 0, next = 1;
    s->made_ends = mem_array(entries, sizeof *s->made_ends);
    if (!s->made_ends) return err_nomem(err, entries * sizeof *s->made_ends);
    if (u64_at(first) != 0)
        return err_set(err, ERR_CORRUPT, "%s: its .idx begins with document %llu", s->path,
                       (unsigned long long)u64_at(first));
    for (uint64_t i = 0; i <= sequences; i++) {
        for (; next < entries && u64_at(first + 8 * next) == i; next++)
            s->made_ends[next - 1] = sum;
        if (i == sequences) break;
        int32_t n;
        memcpy(&n, length + 4 * i, sizeof n);
        if (n < 0 || u64_at(offset + 8 * i) != sum * s->token_bytes || sum + (uint64_t)n > s->n)
            return err_set(err, ERR_CORRUPT,
                           "%s: its .idx puts sequence %llu at byte %llu with %d tokens", s->path,
                           (unsigned long long)i, (unsigned long long)u64_at(offset + 8 * i), n);
        sum += (uint64_t)n;
    }
    if (next != entries || sum != s->n)
        return err_set(err, ERR_CORRUPT, "%s: %llu tokens; its .idx has %llu", s->path,
                       (unsigned long long)s->n, (unsigned long long)sum);
    s->ends = s->made_ends;
    s->documents = entries - 1;
    return 0;
}

static int open_megatron(struct shard *s, struct err *err) {
    const uint8_t *v = s->idx.v;
    uint64_t version = u64_at(v + 9), sequences = u64_at(v + 18), entries = u64_at(v + 26);
    uint64_t left = s->idx.bytes - MEGATRON_HEAD;
    if (version != 1)
        return err_set(err, ERR_CORRUPT, "%s: its .idx has version %llu of Megatron's; 1 is read",
                       s->path, (unsigned long long)version);
    if (v[17] != MEGATRON_I32 && v[17] != MEGATRON_U16)
        return err_set(err, ERR_CORRUPT, "%s: tokens of Megatron's type %u; i32 and u16 are read",
                       s->path, v[17]);
    bool fits = sequences <= left / 12 && entries && entries <= (left - 12 * sequences) / 8;
    uint64_t rest = fits ? left - 12 * sequences - 8 * entries : 1;
    if (!fits || (rest && rest != sequences))
        return err_set(err, ERR_CORRUPT, "%s: its .idx of %zu bytes says %llu sequences, %llu ends",
                       s->path, s->idx.bytes, (unsigned long long)sequences,
                       (unsigned long long)entries);
    s->token_bytes = v[17] == MEGATRON_U16 ? 2 : 4;
    if (s->map.bytes % s->token_bytes)
        return err_set(err, ERR_CORRUPT, "%s: ends within a token", s->path);
    s->n = s->map.bytes / s->token_bytes;
    s->tokens = s->map.v;
    return megatron_documents(s, sequences, entries, err);
}

static int open_nanogpt(struct shard *s, struct err *err) {
    if (!s->map.bytes || s->map.bytes % 2)
        return err_set(err, ERR_CORRUPT, "%s: %zu bytes are no 16-bit tokens", s->path,
                       s->map.bytes);
    s->token_bytes = 2;
    s->n = s->map.bytes / 2;
    s->tokens = s->map.v;
    return 0;
}

int shard_foreign(struct shard *s, struct err *err) {
    const char *name = path_base(s->path);
    int rc = 0;
    if (shard_is_megatron(&s->idx))
        rc = open_megatron(s, err);
    else if (!s->idx.v && (!strcmp(name, "train.bin") || !strcmp(name, "val.bin")))
        rc = open_nanogpt(s, err);
    else
        return 0;
    return rc < 0 ? rc : 1;
}
