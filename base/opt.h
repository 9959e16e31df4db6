/* One table of options per program: parsing, --help, the man page, completions, configuration keys
 * and suggestions for mistyped names are all made from it.
 *
 *     static struct opt opts[] = {
 *         {"vocab", 'v', OPT_U64, &o.vocab, "N", "size of the vocabulary", .min = 1},
 *         {"special", 0, OPT_STRS, &o.specials, "S", "add a special token (repeatable)"},
 *         {0}};
 *
 * Values come, the later over the earlier, from: the defaults already in the variables, `lory.yaml`
 * in the working folder (the section with the program's name), --config FILE.yaml, the command
 * line. Long options: --name VALUE, --name=VALUE, --flag, --no-flag; short: -q, -o FILE; "--" ends
 * options. Behind a list that takes `many` ("--train a.bin b.bin", as a shell's glob comes),
 * operands belong to it, up to the next option or "--". */
#ifndef LORY_BASE_OPT_H
#define LORY_BASE_OPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum opt_type {
    OPT_END,
    OPT_GROUP,    /* a heading for --help; only `name`                                    */
    OPT_FLAG,     /* bool *                                                               */
    OPT_U64,      /* uint64_t *, min..max; sizes take k M G Ki Mi Gi                      */
    OPT_F64,      /* double *, min..max                                                   */
    OPT_STR,      /* const char **; owned by the struct opt_values                        */
    OPT_STRS,     /* struct strs *; repeatable; a YAML list; the first use drops defaults */
    OPT_CHOICE,   /* const char **; one of `choices`, separated by '|'                    */
    OPT_DURATION, /* double *, seconds; takes 30s 5m 2h 1d                                */
    OPT_STEPS     /* struct opt_steps *; a number of steps or a duration                  */
};

/* "--save-every 500" or "--save-every 30m" */
struct opt_steps {
    uint64_t steps; /* 0 if given as a time */
    double seconds; /* 0 if given as steps  */
};

struct opt {
    const char *name; /* long name, without dashes                        */
    char letter;      /* short name, or 0                                 */
    enum opt_type type;
    void *to;            /* the variable; holds the default before parsing   */
    const char *arg;     /* "N", "FILE": shown in --help                     */
    const char *help;    /* one sentence, lower case                         */
    const char *choices; /* OPT_CHOICE: "gpt|hf"                             */
    double min, max;     /* OPT_U64, OPT_F64; both 0: no bounds; max < min: no upper bound */
    bool many;           /* OPT_STRS: the operands right behind a value are values, too: a glob */
    bool sensitive;      /* not to be set by a lory.yaml found in the folder */
    bool hidden;         /* not in --help                                    */
    bool given;          /* out: set by a file or by the command line        */
    bool ends;           /* when seen, no file is read and parsing ends well: --help */
};

/* What a program is, for --help and the man page. */
struct program {
    const char *name;     /* "bpe-train"; for a subcommand "corpus cat"          */
    const char *summary;  /* one line                                            */
    const char *usage;    /* "[SOURCE…] --vocab N [-o tok/]"; lines split by \n  */
    const char *text;     /* a few paragraphs, or NULL                           */
    const char *examples; /* lines "command<TAB>what it does", or NULL           */
    struct opt *opts;     /* ends with OPT_END                                   */
    const char *sections; /* other programs' sections of a lory.yaml, "corpus|shard"; NULL: any */
};

/* What the parser owns: strings that OPT_STR variables point to, the operands, and the contents of
 * OPT_STRS variables. */
struct opt_values {
    struct strs operands; /* what is not an option, in order */
    struct strs owned;
    const struct program *program;
};

/* Parses argv[1..argc). ERR_USAGE names the flag or key, the file and line for YAML, and the
 * nearest known name. `log` hears which configuration files were read. --help, --version, --man and
 * --completion are ordinary flags of the common table (tools/common.h), not known here. */
int opt_parse(const struct program *p, int argc, char **argv, struct opt_values *ret,
              const struct log *log, struct err *err);
/* Frees all of it (also after a failure); the variables then point nowhere. */
void opt_release(struct opt_values *v);

void opt_help(const struct program *p, FILE *to);
/* roff for man(1), from the same table. */
void opt_man(const struct program *p, const char *version, FILE *to);
/* A bash completion script (zsh reads it after `bashcompinit`). */
void opt_completion_bash(const struct program *p, FILE *to);
/* The words a completion may offer, one a line. */
void opt_completion_words(const struct program *p, FILE *to);

/* All values as they now stand, as YAML ("config.yaml" of a run); one section with the program's
 * name. */
int opt_yaml(const struct program *p, struct buf *out, struct err *err);

/* The option of a table with the long name name[0..n), or NULL. */
struct opt *opt_find(struct opt *opts, const char *name, size_t n);

/* Numbers as the options read them. ERR_USAGE says what is wrong with `text`, without naming a
 * flag. */
int parse_u64(const char *text, uint64_t *ret, struct err *err); /* "32768", "100M", "64Ki" */
int parse_f64(const char *text, double *ret, struct err *err);   /* "5e-4"; no NaN, no inf  */
int parse_duration(const char *text, double *ret_seconds, struct err *err);
/* The name in `names` nearest to `name` by edit distance, or NULL if none is near. */
const char *nearest_name(const char *name, const char *const *names, size_t n);

#endif
