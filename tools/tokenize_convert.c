/* tokenize convert: the same vocabulary in the files of other tools. */
#include <string.h>
#include "tokenizer/pattern.h"
#include "tools/input.h"
#include "tools/outputs.h"
#include "tools/tokenize.h"

/* A file that says its pattern was opened with that, whatever was given. */
static int check_pattern(const struct tokenizer *t, const char *pattern, const char *tok,
                         struct err *err) {
    struct pattern *given = NULL;
    int rc = pattern_open(&given, pattern, err);
    if (rc == 0 && strcmp(pattern_name(given), tokenizer_pattern(t)))
        rc = err_set(err, ERR_USAGE,
                     "%s says its own pattern, %.60s; --pattern is for files that say none", tok,
                     tokenizer_pattern(t));
    pattern_free(given);
    return rc;
}

static int over_tok(void *tok, const char *path, struct err *err) {
    return input_check_tokenizer(tok, path, err);
}

int convert_main(int argc, char **argv) {
    const char *tok = "tok", *output = NULL, *merges = "pairs", *pattern = NULL;
    struct opt opts[] = {{"Converting", .type = OPT_GROUP},
                         TOK_OPTION(&tok),
                         TOOL_OUTPUT(&output, "folder to write"),
                         {"merges", 0, OPT_CHOICE, &merges, "FORM",
                          "of tokenizer.json: as pairs, or as strings for tokenizers before 0.20",
                          .choices = "pairs|strings"},
                         {"pattern", 0, OPT_STR, &pattern, "NAME|REGEX",
                          "for files that name none (.tiktoken, merges.txt)"},
                         {0}};
    struct program p = {
        .name = "tokenize convert",
        .summary = "write a vocabulary in the files of other tools",
        .usage = "-t TOK -o DIR",
        .text = "Writes tokenizer.json and its configuration for tokenizers and transformers, "
                "vocab.json and merges.txt, and, where ids rise with the merges, .tiktoken. Ids "
                "stay as they are.",
        .examples =
            "tokenize convert -t cl100k_base.tiktoken -o cl100k\ta folder for AutoTokenizer",
        .opts = opts};
    struct tool t;
    struct tokenizer *tokenizer = NULL;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0 && t.operands->n)
        rc = err_set(&t.err, ERR_USAGE, "\"%s\" is not expected; name the vocabulary with -t",
                     t.operands->v[0]);
    if (rc == 0 && !output) rc = err_set(&t.err, ERR_USAGE, "name the folder to write with -o");
    if (rc == 0 && pattern && (rc = pattern_check_names(pattern, &t.err)) < 0)
        err_prefix(&t.err, "--pattern");
    if (rc == 0)
        rc = tokenizer_open(&tokenizer, tok,
                            &(struct tokenizer_open_opts){.pattern = pattern, .log = &t.log},
                            &t.err);
    if (rc == 0 && pattern) rc = check_pattern(tokenizer, pattern, tok, &t.err);
    if (rc == 0) rc = output_each(output, tokenizer_files, over_tok, (char *)tok, &t.err);
    if (rc == 0)
        rc = tokenizer_save_as(tokenizer, output,
                               &(struct tokenizer_save_opts){.strings = !strcmp(merges, "strings")},
                               &t.err);
    tokenizer_free(tokenizer);
    return tool_end(&t, rc);
}
