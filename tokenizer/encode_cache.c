/* Making and filling the short caches: see encode_cache.h. */
#include "tokenizer/encode_cache.h"

#include <stdlib.h>
#include "tokenizer/pages.h"

int short_cache_grow(struct short_cache *c, struct err *err) {
    struct short_cache to = {.bits = c->line ? c->bits + 1 : LINE_BITS_FIRST, .lately = c->lately};
    size_t n = (size_t)1 << to.bits;
    to.line = pages_array(n, sizeof *to.line);
    if (!to.line) return err_nomem(err, n * sizeof *to.line);
    for (size_t i = 0; c->line && i < n / 2; i++)
        for (int w = 1; w >= 0; w--) {
            struct short_slot *s = &c->line[i].way[w];
            uint64_t key = s->high << 4 >> 4;
            bool second_half = w == 1 && short_ids(&c->line[i].way[0]) > NARROW_IDS;
            if (!key || second_half) continue;
            struct short_line *line = &to.line[short_line_of(&to, s->low, key)];
            if (short_ids(s) > NARROW_IDS) {
                *line = c->line[i];
            } else if (short_ids(&line->way[0]) <= NARROW_IDS) {
                line->way[1] = line->way[0];
                line->way[0] = *s;
            }
        }
    free(c->line);
    *c = to;
    return 0;
}

void batch_store(const struct batch *b, size_t i, const uint32_t *ids, size_t n_ids, uint32_t top) {
    bool wide = n_ids > NARROW_IDS;
    /* The top byte of a wide line's last ids is a length of the second place: it has to be 0. */
    if (n_ids > WIDE_IDS || (wide && top >> 24)) return;
    struct short_line *line = b->line[i];
    if (batch_is(b, i, &line->way[0])) return; /* twice in the batch */
    line->way[1] =
        wide || short_ids(&line->way[0]) > NARROW_IDS ? (struct short_slot){0} : line->way[0];
    line->way[0] =
        (struct short_slot){.low = b->low[i], .high = b->high[i] | (uint64_t)n_ids << 60};
    memcpy((char *)line + offsetof(struct short_slot, id), ids, n_ids * sizeof *ids);
}
