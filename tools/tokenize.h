/* What the subcommands of tokenize share. */
#ifndef LORY_TOOLS_TOKENIZE_H
#define LORY_TOOLS_TOKENIZE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "tokenizer/tokenizer.h"
#include "tools/common.h"

#define TOK_OPTION(to)                                                                             \
    { "tokenizer", 't', OPT_STR, to, "TOK", "folder or file of the vocabulary" }

int encode_main(int argc, char **argv);
int decode_main(int argc, char **argv);
int pieces_main(int argc, char **argv);
int info_main(int argc, char **argv);
int convert_main(int argc, char **argv);

/* Appends bytes for the eye: printable characters as they are, the rest as \n, \xHH. */
int show_bytes(const uint8_t *p, size_t n, struct buf *out, struct err *err);

#endif
