/* What encode.c has for encode_stream.c. */
#ifndef LORY_TOKENIZER_ENCODE_INSIDE_H
#define LORY_TOKENIZER_ENCODE_INSIDE_H

#include "tokenizer/vocab.h"

/* Appends the ids of the pieces text[from .. ends[0]), text[ends[0] .. ends[1]) … of text[0..n). */
int encode_pieces(struct encoder *e, const char *text, size_t n, size_t from, const uint32_t *ends,
                  size_t n_ends, struct u32s *out, struct err *err);
/* As encode_places(), of a text that goes on from another: no blank is put before it. */
int encode_rest(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                struct u32s *out, struct u32s *places, struct err *err);
/* The specials of the two passes that `allow` stands for; NULL: none. */
const struct special_tree *encoder_specials(const struct encoder *e, enum tokenizer_special allow);
/* For tests: a piece is long from so many bytes on, and is merged in windows of so many. */
void encode_stream_least(struct encode_stream *s, size_t piece, size_t window);

#endif
