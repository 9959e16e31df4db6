/* The subcommands of corpus: each in its own file, corpus_NAME.c, and what they share. */
#ifndef LORY_TOOLS_CORPUS_H
#define LORY_TOOLS_CORPUS_H

#include "stream/docs.h"

/* Each is a program of its own: argv[0] is its name, the result the exit code. */
int corpus_cat(int argc, char **argv);
int corpus_pack(int argc, char **argv);
int corpus_stats(int argc, char **argv);

/* For the end of a write callback: moves the progress line; ERR_STOPPED after a signal. */
int corpus_tell(const struct docs *d, const struct log *log, const char *stage, struct err *err);

#endif
