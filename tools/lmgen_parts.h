/* What lmgen's files share: options and the run (lmgen.c), what the model's generation_config.json
 * says (lmgen_config.c), what may not come (lmgen_rules.c), prompts (lmgen_prompts.c), and what is
 * seen of the completions (lmgen_show.c).
 *
 *   prompts ─▶ ids ─▶ jobs (prompt × completion) ─▶ groups that fit the cache ─▶ texts, ids or JSON
 */
#ifndef LORY_TOOLS_LMGEN_PARTS_H
#define LORY_TOOLS_LMGEN_PARTS_H

#include <cjson/cJSON.h>
#include "base/buf.h"
#include "base/rng.h"
#include "tokenizer/tokenizer.h"
#include "tools/common.h"
#include "tools/gen_stop.h"
#include "tools/open_model.h"
#include "tools/text_out.h"
#include "train/generate.h"

/* The command line. */
struct options {
    const char *model, *tokenizer, *prompts, *prompt_ids, *ids, *device, *dtype, *preset,
        *generation_config, *suppress_tokens;
    uint64_t max_new, max_length, min_new, min_length, n, top_k, no_repeat_ngram_size;
    double temperature, top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff, repetition_penalty;
    bool greedy, no_stop, first_block, heal;
    struct strs stop, stop_regex, bad_words, sequence_bias;
};

struct prompt {
    struct u32s ids;
    struct buf text; /* as it was given                                                  */
    uint32_t healed; /* --heal: bytes of the last token, which was taken back            */
    bool *first;     /* (V) the ids that may stand in its place; NULL: none was          */
};

/* One completion. */
struct job {
    const struct prompt *prompt;
    struct rng rng;
    struct u32s ids;
    struct buf text;  /* of the new ids, as bytes */
    size_t open;      /* of text: what stands before is settled */
    size_t shown;     /* of text, when it is printed as it comes */
    bool stopped;     /* at a stop, which is cut off */
    const char *stop; /* … as it was given; NULL: none */
    enum finish finish;
};

/* The lists behind a sampling_rules. */
struct rules {
    struct sampling_rules all;
    struct id_bias *bias; /* (n_bias) */
    size_t n_bias;
    struct u32s bias_ids; /* of one behind those of the other */
    struct u32s ends, suppress, begin_suppress;
};

struct session {
    struct tool *t;
    struct options *o;
    struct opt *table; /* o's: what was given */
    struct open_model m;
    struct tokenizer *tokenizer; /* NULL: ids in, ids out */
    struct prompt *prompts;
    size_t n_prompts;
    struct stops stops;
    struct sampling sampling;
    struct rules rules;
    const struct sampling_rules *obeyed; /* NULL: none */
    struct job *jobs;                    /* of the group at hand */
    bool live;                           /* print as it comes */
    struct text_out text;                /* what is printed */
    cJSON *results;                      /* --json */
    uint64_t new_ids;
    double seconds;
};

/* What the model's generation_config.json, or --generation-config, sets that the command line does
 * not, into o, stops, rules and the model's ends. ERR_USAGE names what is not built here. */
int config_take(struct session *s, struct err *err);
/* Its lists into s->rules. ERR_CORRUPT. */
int rules_from_config(struct session *s, const cJSON *o, const char *path, struct err *err);
/* The command line's besides; all rules, or NULL where there are none. `eos`: what ends a text, -1:
 * nothing. The tokenizer is open if there are texts among them. */
int rules_make(struct session *s, int64_t eos, const struct sampling_rules **ret, struct err *err);
void rules_release(struct rules *r);

/* Appends the ids of "1 2 3", "1,2,3" or "[1, 2, 3]". ERR_USAGE names `flag`. */
int parse_ids(const char *flag, const char *text, struct u32s *ret, struct err *err);
/* All prompts that the command line names, as text or ids; one that is empty where it names none.
 * ERR_USAGE, ERR_DATA, ERR_IO. */
int prompts_collect(struct session *s, struct err *err);
/* Their ids, and of those given as ids the text. A prompt without ids begins as documents do:
 * behind an end of text, `eos`, if there is one (-1: none). */
int prompts_encode(struct session *s, int64_t eos, struct err *err);
void prompts_release(struct session *s);

/* For generate_rows(), ctx a session: a row has one more id. Adds its text, looks for stops, shows
 * what may be shown. 1: the row is to end, or the run, if s->t->err says why. */
int show_id(void *ctx, int row, uint32_t id);
/* Prints the prompt of a job, unless only completions are wanted. */
int show_prompt(struct session *s, const struct job *j, struct err *err);
/* Completion `number` of `total` has ended: its last stops, then printed, or kept for --json. */
int show_done(struct session *s, struct job *j, size_t number, size_t total, struct err *err);
/* --json: everything kept, as one object. */
int show_results(struct session *s);

#endif
