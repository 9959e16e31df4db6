/* What all programs share: the common flags, the console, exit codes, subcommands.
 *
 *     int main(int argc, char **argv) {
 *         struct options o = {.vocab = 32768, .output = "tok"};
 *         struct opt opts[] = {
 *             {"Training", .type = OPT_GROUP},
 *             {"vocab", 0, OPT_U64, &o.vocab, "N", "size of the vocabulary", .min = 257},
 *             TOOL_OUTPUT(&o.output, "folder to write"),
 *             {0}};
 *         struct program p = {.name = "bpe-train", .summary = "...", .usage = "...", .opts = opts};
 *         struct tool t;
 *         int rc = tool_begin(&t, &p, argc, argv);
 *         if (rc == 0) rc = train(&o, &t.log, &t.err);
 *         return tool_end(&t, rc);
 *     }
 *
 * Results go to stdout with stdio or outfile_open("-"); tool_end() finds out whether they
 * arrived. */
#ifndef LORY_TOOLS_COMMON_H
#define LORY_TOOLS_COMMON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/err.h"
#include "base/log.h"
#include "base/opt.h"

enum {
    TOOL_DONE = 1
}; /* from tool_begin: --help and the like were served; nothing is left to do */

struct console;

struct tool {
    /* the common flags */
    bool quiet, verbose, json;
    uint64_t threads; /* 0: all processors; see tool_threads()           */
    uint64_t seed;    /* 1 unless given                                  */
    bool seed_given;
    const char *config;          /* the last --config, or NULL                      */
    const struct strs *operands; /* what is not an option, in order                 */
    struct log log;              /* to stderr                                       */
    struct err err;              /* what tool_end() prints                          */
    /* inside */
    bool help, version, man;
    const char *completion;
    struct program program; /* with the composed table, for opt_yaml()         */
    struct opt_values values;
    struct console *console;
};

/* The program's -o, --output. */
#define TOOL_OUTPUT(to, what)                                                                      \
    { "output", 'o', OPT_STR, to, "PATH", what }

/* Parses the command line with the program's own table and the common one (names and letters of the
 * own table win) and opens the console. 0: go on. TOOL_DONE, or an error: hand it to tool_end().
 * `given` is also set in the program's own table. *t must stay where it is until tool_end(). */
int tool_begin(struct tool *t, const struct program *p, int argc, char **argv);
/* Ends the progress line, flushes stdout, prints t->err if rc is an error, frees, and returns the
 * program's exit code. */
int tool_end(struct tool *t, int rc);
/* 0..9, 129, 130 or 143. ERR_PIPE is 0: a reader that has seen enough is no failure of ours. */
int tool_exit_code(int rc);
/* --threads, or the processors there are. */
int tool_threads(const struct tool *t);
/* stdout, with the progress line taken away first: for results that people watch. */
FILE *tool_out(struct tool *t);
/* "1,2.5,0.3": n numbers above 0 and at most 1000. ERR_USAGE names `flag`. */
int tool_weights(const char *flag, const char *text, double *ret, size_t n, struct err *err);
/* Whether a report holds all that was put into it: ERR_NOMEM if it is NULL, or if cJSON found no
 * memory since tool_begin(). So nobody needs to ask of every cJSON_Add…. Any thread. */
int tool_json_whole(const cJSON *tree, struct err *err);
/* One JSON object on stdout, with a newline, if it is tool_json_whole(). Deletes `tree`, also on
 * failure. */
int tool_print_json(struct tool *t, cJSON *tree);

/* A program with subcommands, each of which is a program of its own (argv[0] is its name). */
struct subcommand {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* returns the exit code */
};
struct family {
    const char *name, *summary;
    const struct subcommand *subs;          /* ends with {0}                                  */
    int (*fallback)(int argc, char **argv); /* where no subcommand is named; NULL: a mistake  */
};
int tool_dispatch(const struct family *f, int argc, char **argv);

#endif
