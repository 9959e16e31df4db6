/* Sources of a command line: see input.h. */
#include "tools/input.h"

#include <string.h>

static bool is_remote(const char *source) {
    return !strncmp(source, "hf://", 5) || !strncmp(source, "http://", 7) ||
           !strncmp(source, "https://", 8);
}

static int resolve(struct input *in, struct tool *t, const char *source, const char *config,
                   const char *split, struct source_list *to) {
    if (is_remote(source) && !in->has_hub) {
        int rc = hub_env(&in->hub, &t->log, &t->err);
        if (rc < 0) return rc;
        in->has_hub = true;
        in->opts.hub = &in->hub;
    }
    return source_resolve_split(to, source, config, split, in->opts.hub, &t->log, &t->err);
}

int input_resolve_one(struct input *in, struct tool *t, const char *source,
                      struct source_list *to) {
    return resolve(in, t, source, NULL, NULL, to);
}

int input_resolve_operand(struct input *in, struct tool *t, const char *source,
                          struct source_list *to) {
    return resolve(in, t, source, in->opts.config, in->opts.split, to);
}

void input_settle(struct input *in, struct tool *t) {
    in->opts.seed = t->seed;
    in->opts.threads = tool_threads(t);
    in->opts.log = &t->log;
}

int input_resolve(struct input *in, struct tool *t, const char *otherwise) {
    int rc = 0;
    input_settle(in, t);
    for (size_t i = 0; rc == 0 && i < t->operands->n; i++)
        rc = input_resolve_operand(in, t, t->operands->v[i], &in->list);
    if (t->operands->n) return rc;
    if (!otherwise) return err_set(&t->err, ERR_USAGE, "no source named");
    rc = input_resolve_operand(in, t, otherwise, &in->list);
    if (rc == ERR_IO) err_hint(&t->err, "name a source, or - for standard input");
    return rc;
}

void input_release(struct input *in) {
    source_list_release(&in->list);
    if (in->has_hub) hub_release(&in->hub);
    in->has_hub = false;
    in->opts.hub = NULL;
}
