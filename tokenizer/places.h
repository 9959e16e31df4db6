/* Where tokens stand in the text they were made of (inside tokenizer/ only). Merging leaves no byte
 * out, so a stretch's tokens lie in it one after the other; what is left is to go back from the
 * normalized text to the one given, and from bytes to whole characters. */
#ifndef LORY_TOKENIZER_PLACES_H
#define LORY_TOKENIZER_PLACES_H

#include "tokenizer/vocab.h"

/* A part of a text on its way to the ids. */
struct stretch {
    const char *v;
    size_t n;
    size_t at;              /* where it begins in the text given                              */
    const uint32_t *places; /* normalized: start and end, from `at`, of each byte; else NULL  */
};

static inline struct stretch stretch_part(const struct stretch *s, size_t start, size_t end) {
    if (s->places) return (struct stretch){s->v + start, end - start, s->at, s->places + 2 * start};
    return (struct stretch){s->v + start, end - start, s->at + start, NULL};
}

/* Appends start and end of every id of a stretch; `prefixed`: the first token has a blank that the
 * stretch has not. */
int places_of_ids(const struct tokenizer *t, const struct stretch *s, bool prefixed,
                  const uint32_t *ids, size_t n, struct u32s *places, struct err *err);
/* Appends start and end of a whole stretch: a special. */
int places_of_all(const struct stretch *s, struct u32s *places, struct err *err);

#endif
