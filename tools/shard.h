/* The subcommands of shard, each in its own file, and what they share. */
#ifndef LORY_TOOLS_SHARD_H
#define LORY_TOOLS_SHARD_H

#include <cjson/cJSON.h>
#include "stream/shard_encode.h"
#include "tools/common.h"

int shard_export_main(int argc, char **argv);
int shard_make(int argc, char **argv);
int shard_info(int argc, char **argv);
int shard_verify_main(int argc, char **argv);

cJSON *shard_counts_tree(const struct shard_counts *c);
void shard_print_counts(struct tool *t, const char *split, const struct shard_counts *c);

#endif
