/* Cutting a text that comes in parts, which may begin and end anywhere: the pieces are those of the
 * whole, and what is held has a bound, but for what a pattern of the user's own matches.
 *
 *   parts    "def mai" "n(x):\n" "    re" "turn"
 *   text     "def mai"                     pieces  "def"         certain: what follows cannot
 *            " main(x):\n"                         " main" "("   change them; the rest is held
 *            "x):\n    re"                         …
 *
 * A piece that goes on and on leaves in parts. What is gone of it is replaced by a few characters
 * that stand for it: from there on the pattern does what it does behind the real ones.
 *
 * Behind a piece that an expression of the user's own left out, the text that it may look back at
 * stays instead.
 *
 *   text     "xxxxxxxxxx…"                 open: so many bytes surely belong to the first piece
 *            "x" "xxxxx:\n"                the first x stands for all that went before */
#ifndef LORY_TOKENIZER_CUT_STREAM_H
#define LORY_TOKENIZER_CUT_STREAM_H

#include "tokenizer/pattern.h"

struct cut_stream {
    struct buf text;   /* what stands in, then what was not taken yet                   */
    size_t stands_in;  /* bytes at its beginning that have left, or stand for what has  */
    bool goes;         /* the first piece has left in part                              */
    struct u32s ends;  /* certain ends in `text`, rising                                */
    size_t open;       /* bytes of the piece behind the last of them that may leave; 0: none, or it
                       * is not long yet; those that stand in count                    */
    const char *after; /* what stands in for them, if they do                       */
    struct scanner *scanner;
    size_t step;  /* of its pattern                                                */
    bool whole;   /* long pieces do not leave in parts                                 */
    size_t least; /* bytes of a piece that is long; CUT_LONG, or fewer in tests        */
    size_t wait;  /* bytes of text that are worth looking at again                     */
};

enum { CUT_LONG = 1 << 16 };

/* Cuts as one step of `p` does, which outlives the stream. */
int cut_stream_init(struct cut_stream *c, const struct pattern *p, size_t step, struct err *err);
void cut_stream_release(struct cut_stream *c);
/* Takes v[0..n) and cuts as far as is certain; with `last`, which ends the text, all. Fills `ends`
 * and `open`. n < 3 GiB. */
int cut_stream_add(struct cut_stream *c, const char *v, size_t n, bool last, struct err *err);
/* Lets go of what add() found: the certain pieces and, if `open`, the open bytes. */
void cut_stream_take(struct cut_stream *c);

#endif
