/* A program made of nothing but what all programs share, for test_tool.py to run. */
#include "tools/common.h"

#include <signal.h>
#include <unistd.h>
#include "base/file.h"
#include "base/signals.h"

struct options {
    uint64_t lines, fail, steps;
    const char *output;
    bool interrupt;
};

static int work(struct tool *t, const struct options *o) {
    for (uint64_t i = 0; i < o->steps; i++) {
        struct progress p = {.stage = "counting", .done = i, .total = o->steps, .unit = "steps"};
        log_progress(&t->log, &p);
        if (i == o->steps / 2) log_warn(&t->log, "half %s", "\x1b[31mway");
        usleep(10000);
    }
    log_info(&t->log, "seed %d", (int)t->seed);
    log_debug(&t->log, "threads %d", tool_threads(t));
    if (o->interrupt) {
        signals_install();
        raise(SIGTERM);
        return err_set(&t->err, ERR_STOPPED, "interrupted; state saved");
    }
    if (o->fail) return err_set(&t->err, -(int)o->fail, "told to fail");
    if (o->output) return file_write(o->output, "artefact\n", 9, &t->err);
    if (t->json) {
        cJSON *tree = cJSON_CreateObject();
        cJSON_AddNumberToObject(tree, "lines", (double)o->lines);
        return tool_print_json(t, tree);
    }
    for (uint64_t i = 0; i < o->lines; i++) printf("line %d\n", (int)i);
    return 0;
}

static int run(int argc, char **argv) {
    struct options o = {.lines = 3};
    struct opt opts[] = {
        {"Demo", .type = OPT_GROUP},
        {"lines", 'v', OPT_U64, &o.lines, "N", "lines to print"}, /* takes -v from --verbose */
        {"fail", 0, OPT_U64, &o.fail, "CODE", "end with this code"},
        {"steps", 0, OPT_U64, &o.steps, "N", "steps of a hundredth of a second"},
        {"interrupt", 0, OPT_FLAG, &o.interrupt, NULL, "behave as if SIGTERM came"},
        TOOL_OUTPUT(&o.output, "file to write"),
        {0}};
    struct program p = {.name = "demo run", .summary = "print lines", .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = work(&t, &o);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"run", "print lines", run}, {"stats", "the same", run}, {0}};
    static const struct family demo = {.name = "demo", .summary = "a demonstration", .subs = subs};
    return tool_dispatch(&demo, argc, argv);
}
