/* One vocabulary: bytes <-> ids, exactly as GPT-2's byte-level BPE (HF tokenizers, tiktoken).
 *
 *     struct tokenizer *t;                        read-only after opening; shared by any threads
 *     tokenizer_open(&t, "tok/", NULL, err);
 *     struct encoder *e;                          one per thread: scratch and a bounded cache
 *     encoder_new(&e, t, err);
 *     encode(e, text, n, TOKENIZER_SPECIAL_NONE, &ids, err);
 *     tokenizer_free(t);                          after its encoders
 *
 * Functions return 0 or a negative ERR_ code and describe the failure in *err. Ids are uint32_t. */
#ifndef LORY_TOKENIZER_TOKENIZER_H
#define LORY_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

struct tokenizer;
struct encoder;
struct encode_stream;

#define TOKENIZER_NO_ID UINT32_MAX
#define TOKENIZER_EOT   "<|endoftext|>"

/* A pair that becomes one token. In the order of rank: the earlier one merges first. */
struct merge {
    uint32_t left, right, result;
};

/* A token matched in the text before the pattern cuts it (HF: added token). */
struct special {
    uint32_t id;
    const char *text; /* UTF-8, NUL-terminated */
    bool special;     /* false: an added token that decoding "without specials" keeps */
    bool lstrip, rstrip, single_word, normalized; /* HF's AddedToken flags */
};

/* What a tokenizer is made of. tokenizer_build() copies everything. */
struct tokenizer_parts {
    const char *pattern;   /* a name ("gpt2", "cl100k", …) or a regular expression       */
    uint32_t n_tokens;     /* ids 0 … n_tokens-1, specials included                       */
    const uint8_t *bytes;  /* of all tokens, one after the other (a special: its text)    */
    const uint64_t *start; /* (n_tokens + 1) token i is bytes[start[i] .. start[i+1])     */
    uint64_t n_merges;
    const struct merge *merges;
    uint32_t n_specials;
    const struct special *specials;
};

struct log;

struct tokenizer_open_opts {
    const char *pattern;   /* for files that name none (.tiktoken, merges.txt); NULL: by size and
                          * name, else "gpt2" */
    const struct log *log; /* hears of the latter for a .tiktoken file, and of files that
                            * contradict each other; or NULL */
};

/* Opens a folder with tokenizer.json (or vocab.json + merges.txt), one of these files, or a
 * .tiktoken file. Everything is validated before anything is allocated by its sizes. opts may be
 * NULL. ERR_IO: cannot read. ERR_CORRUPT: not a byte-level BPE, with the path and what is wrong. */
int tokenizer_open(struct tokenizer **ret, const char *path, const struct tokenizer_open_opts *opts,
                   struct err *err);
int tokenizer_build(struct tokenizer **ret, const struct tokenizer_parts *parts, struct err *err);
void tokenizer_free(struct tokenizer *t); /* NULL is fine */

/* Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json, vocab.json, merges.txt
 * and tokenizer.tiktoken into `dir` (made if missing; what a killed run left there is swept away),
 * each atomically; opens in AutoTokenizer, tokenizers and tiktoken with equal ids. What another
 * tokenizer had there and this one has not goes, its tokenizer.json before a configuration is there
 * that might name more tokens; the new one comes last. */
int tokenizer_save(const struct tokenizer *t, const char *dir, struct err *err);
struct tokenizer_save_opts {
    bool strings; /* merges of tokenizer.json as "a b", which tokenizers before 0.20 read */
};
int tokenizer_save_as(const struct tokenizer *t, const char *dir,
                      const struct tokenizer_save_opts *opts, struct err *err);
/* What a folder may hold of a tokenizer: files, and the folder of its chat templates; NULL behind
 * tokenizer.json, which makes it whole. Who copies, sends or fetches one goes by this list. */
extern const char *const tokenizer_files[];
/* Makes `dir`, another folder than its own, hold the files a checkpoint needs: as found in the
 * folder it was opened from, or made anew. */
int tokenizer_save_beside_model(const struct tokenizer *t, const char *dir, struct err *err);

uint32_t tokenizer_size(const struct tokenizer *t); /* largest id + 1: the model's V */
/* Id of <|endoftext|>, else of the configuration's eos_token, else TOKENIZER_NO_ID. */
uint32_t tokenizer_eot(const struct tokenizer *t);
const char *tokenizer_pattern(const struct tokenizer *t); /* its name, or the expression */
/* The bytes of one token; borrowed, valid while t lives. An id without a token has *ret_n == 0. */
const uint8_t *tokenizer_bytes(const struct tokenizer *t, uint32_t id, size_t *ret_n);
/* Id of exactly these bytes (specials by their text), or TOKENIZER_NO_ID. */
uint32_t tokenizer_find(const struct tokenizer *t, const void *bytes, size_t n);
/* Id of the special with this text, as other files name it, else tokenizer_find()'s: "数据" added
 * to a vocabulary is another token than the one of these bytes that it was trained to have. */
uint32_t tokenizer_named(const struct tokenizer *t, const char *text);
/* Its merges by rising rank, borrowed. Ranks of tokens become such a list when it is first asked
 * for: ERR_NOMEM. */
int tokenizer_merges(const struct tokenizer *t, const struct merge **ret, uint64_t *ret_n,
                     struct err *err);
uint32_t tokenizer_specials(const struct tokenizer *t, const struct special **ret); /* borrowed */
/* sha256 over token bytes by id, merges, specials and pattern: the same for re-saved JSON. */
int tokenizer_digest(const struct tokenizer *t, char ret_hex[SHA256_HEX], struct err *err);

/* Which special tokens are recognised in a text. Added tokens that are not special always are. */
enum tokenizer_special {
    TOKENIZER_SPECIAL_NONE, /* their text is ordinary text: for corpora               */
    TOKENIZER_SPECIAL_ALL,  /* as HF's encode()                                       */
    TOKENIZER_SPECIAL_LIST, /* those of encoder_allow()                               */
};

/* What tokenizer_config.json says of the use of a tokenizer (transformers 4 and 5; the beginning
 * and end tokens may stand in special_tokens_map.json). Strings are borrowed, valid while t lives;
 * NULL: not said. They are kept and written again. */
struct tokenizer_settings {
    uint64_t model_max_length; /* tokens a model can take; UINT64_MAX: not said, or no limit */
    const char *padding_side, *truncation_side; /* "left", "right"                            */
    const char *chat_template;                  /* Jinja; of several the one named "default"  */
    const char *bos, *eos, *unk, *pad;          /* texts of special tokens                    */
    const char *tokenizer_class;
};
const struct tokenizer_settings *tokenizer_settings(const struct tokenizer *t);
/* The normalizer's name, "NFC", or NULL if texts are taken as they are. */
const char *tokenizer_normalizer(const struct tokenizer *t);
/* Appends how vocab.json spells a token: "Ġthe"; a special by its text. What HF calls a token. */
int tokenizer_spell(const struct tokenizer *t, uint32_t id, struct buf *out, struct err *err);
/* Appends what HF calls the token of an id that stands for text[0..n), its place in a text: a
 * special is what it was found as, with the blanks that it swallowed, and in form C if it was
 * looked for in a text of that form. Others as tokenizer_spell(). */
int tokenizer_spell_found(const struct tokenizer *t, uint32_t id, const char *text, size_t n,
                          struct buf *out, struct err *err);

/* What to do with bytes that are not UTF-8. HF takes no such text; as they stand they become tokens
 * of bytes and come back, replaced they become what Python's errors="replace" makes of them. */
enum tokenizer_invalid {
    TOKENIZER_INVALID_KEEP,
    TOKENIZER_INVALID_REPLACE,
    TOKENIZER_INVALID_REFUSE
};
/* *ret is text itself or, where something was replaced (a U+FFFD for each maximal part of a
 * character), lies in `scratch`, whose contents are lost. ERR_DATA with the byte: refused. */
int tokenizer_valid(const char *text, size_t n, enum tokenizer_invalid how, struct buf *scratch,
                    const char **ret, size_t *ret_n, struct err *err);

int encoder_new(struct encoder **ret, const struct tokenizer *t, struct err *err);
void encoder_free(struct encoder *e); /* NULL is fine */
/* What TOKENIZER_SPECIAL_LIST recognises from now on. ERR_USAGE names a text that is no special
 * token. */
int encoder_allow(struct encoder *e, const char *const *texts, size_t n, struct err *err);

/* From now on the text of a special token (not of an added one) that is not recognised is ERR_DATA
 * with its place, as tiktoken has it, instead of ordinary text. */
void encoder_refuse_special(struct encoder *e, bool refuse);
/* The same of a text that comes piece by piece, before any of it is encoded: its next bytes, which
 * may end anywhere, or, `last`, all that is left. 0 where nothing is refused. */
struct refusal {
    struct buf held; /* what a special token may begin with; freed with buf_release() */
    uint64_t at;     /* where it stands in the text                                   */
};
int encoder_refuse(const struct encoder *e, struct refusal *r, const char *v, size_t n, bool last,
                   enum tokenizer_special allow, struct err *err);

/* Appends the ids of text[0..n) to `out`. Any byte sequence is accepted, a byte that is no part of
 * a character as it stands (TOKENIZER_INVALID_KEEP); linear in n. Equal to HF
 * tokenizers and tiktoken id for id. n < 4 GiB, else ERR_DATA. */
int encode(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
           struct u32s *out, struct err *err);
/* The same, and where the tokens stand: for each id, places (unless NULL) gets its start and end in
 * bytes of text. They are HF's offsets: a token that holds a part of a character spans all of it, a
 * composed character (NFC) its first part, a special the blanks that it swallowed. */
int encode_places(struct encoder *e, const char *text, size_t n, enum tokenizer_special allow,
                  struct u32s *out, struct u32s *places, struct err *err);
/* What HF's post-processor makes of the (2 x n) places of ids[0..n): where it says trim_offsets,
 * the blanks at both sides of a token are left out. They count from `text`, which begins at byte
 * `at` of the text given. */
void places_trim(const struct tokenizer *t, const char *text, uint64_t at, const uint32_t *ids,
                 size_t n, uint32_t *places);
/* Turns bytes into characters, as HF counts for Python. A byte that is no part of a character
 * counts as one. */
void places_in_chars(const char *text, size_t n, uint32_t *places, size_t n_places);
/* As encode, without specials and without the pattern: one piece (a word of a fertility count). */
int encode_piece(struct encoder *e, const char *piece, size_t n, struct u32s *out, struct err *err);

/* Encoding a text that comes in parts; their ids, one after the other, are those of the whole.
 *
 *     struct encode_stream *s;              of one text at a time; any thread
 *     encode_stream_new(&s, t, err);
 *     encode_part(e, s, &part, …);          the parts in their order, e any encoder of t
 *
 * A part that begins at a place where tokenizer_cuts() says so, and ends at such a place, needs no
 * stream and may come in any order. Where tokenizer_streams(), parts may also begin and end
 * anywhere, inside characters, too. */
struct text_part {
    const char *text;
    size_t n;
    bool begins;   /* is the first one                                                   */
    bool follows;  /* begins anywhere in what the part before it began, and goes on with … */
    bool followed; /* ends anywhere; else the text ends, or what stands by itself          */
};
/* Whether a text may be cut before a blank (U+0020) behind a letter of ASCII, and behind a newline
 * before which there is no white space, nor behind it white space or '/'. Not with a pattern of the
 * user's own, nor where a special token might have to do with such a place. */
bool tokenizer_cuts(const struct tokenizer *t, enum tokenizer_special allow);
/* Whether it may be cut anywhere: not with tokens of many thousand bytes. Where a text may not be
 * cut at the places above, all of its parts but the last have to be `followed`. */
bool tokenizer_streams(const struct tokenizer *t);
int encode_stream_new(struct encode_stream **ret, const struct tokenizer *t, struct err *err);
void encode_stream_free(struct encode_stream *s); /* NULL is fine */
/* Appends the ids that are certain; with a part that is not followed, all. What is held until then
 * is some hundred KiB at most, but for a run of characters that only its end decides on
 * (cut_stream.c); marks in a row, for NFC; white space beside which there may be a special token
 * that takes it (lstrip, rstrip). `s` may be NULL for a part that needs none. ERR_DATA: in a long
 * run of one kind of characters tokens depend on what is more than ten thousand bytes away; no
 * vocabulary that was learnt from text has such. */
int encode_part(struct encoder *e, struct encode_stream *s, const struct text_part *part,
                enum tokenizer_special allow, struct u32s *out, struct err *err);

/* The same, and where the tokens stand, as encode_places() has it: in the text that the last part
 * began that does not follow, which has to have less than 4 GiB. White space that a special token
 * swallows is held. */
int encode_part_places(struct encoder *e, struct encode_stream *s, const struct text_part *part,
                       enum tokenizer_special allow, struct u32s *out, struct u32s *places,
                       struct err *err);

/* Appends the bytes of ids[0..n). ERR_DATA names an id that has no token. `skip_special`: leaves
 * out special tokens. Bytes may end inside a character. */
int decode(const struct tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
           struct buf *out, struct err *err);
/* Decoding as a stream that never ends inside a character:
 *
 *     struct decode_stream s = {0};
 *     decode_step(t, &s, &id, 1, false, &out, err);     whole characters only; the rest is held
 *     decode_end(&s, &out, err);                        what is held, as it is
 *
 * All steps together give the bytes of decode(). A byte that can no longer become a part of a
 * character is not held back. */
struct decode_stream {
    char held[4];
    uint8_t n;
};
int decode_step(const struct tokenizer *t, struct decode_stream *s, const uint32_t *ids, size_t n,
                bool skip_special, struct buf *out, struct err *err);
int decode_end(struct decode_stream *s, struct buf *out, struct err *err);
/* Length of the longest prefix of bytes[0..n) that does not end inside a UTF-8 character: what a
 * stream may print now. */
size_t decode_whole(const char *bytes, size_t n);

#endif
