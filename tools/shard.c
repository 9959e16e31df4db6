/* shard: documents into token shards, and what can be done with them. The subcommands are in
 * shard_NAME.c. */
#include "tools/shard.h"

static double per(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

cJSON *shard_counts_tree(const struct shard_counts *c) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "documents", (double)c->documents);
    cJSON_AddNumberToObject(o, "tokens", (double)c->tokens);
    cJSON_AddNumberToObject(o, "text_bytes", (double)c->text_bytes);
    cJSON_AddNumberToObject(o, "bytes_per_token", per(c->text_bytes, c->tokens));
    if (c->masked) cJSON_AddNumberToObject(o, "targets", (double)c->targets);
    return o;
}

void shard_print_counts(struct tool *t, const char *split, const struct shard_counts *c) {
    fprintf(tool_out(t), "%-6s %12llu documents %14llu tokens %8.1f MB of text %6.3f bytes/token",
            split, (unsigned long long)c->documents, (unsigned long long)c->tokens,
            (double)c->text_bytes / 1e6, per(c->text_bytes, c->tokens));
    if (c->masked) fprintf(tool_out(t), " %14llu targets", (unsigned long long)c->targets);
    fputc('\n', tool_out(t));
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"info", "what a folder of shards holds", shard_info},
        {"export", "write shards as the files of other trainers", shard_export_main},
        {"verify", "check shards against their index.json", shard_verify_main},
        {0}};
    static const struct family f = {"shard", "write token shards for training", subs, shard_make};
    return tool_dispatch(&f, argc, argv);
}
