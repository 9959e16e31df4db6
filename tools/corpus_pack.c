/* corpus pack: a corpus of the source files in folders. */
#include "stream/pack.h"
#include "tools/common.h"
#include "tools/corpus.h"

static int print_packed(struct tool *t, const struct pack_totals *v) {
    if (t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "documents", (double)v->documents);
        cJSON_AddNumberToObject(o, "text_bytes", (double)v->text_bytes);
        cJSON_AddNumberToObject(o, "duplicates", (double)v->duplicates);
        cJSON_AddNumberToObject(o, "not_utf8", (double)v->not_utf8);
        cJSON_AddNumberToObject(o, "too_large", (double)v->too_large);
        cJSON_AddNumberToObject(o, "empty", (double)v->empty);
        return tool_print_json(t, o);
    }
    log_info(&t->log,
             "%llu documents, %llu bytes of text; left out: %llu copies, %llu not UTF-8, "
             "%llu too large, %llu empty",
             (unsigned long long)v->documents, (unsigned long long)v->text_bytes,
             (unsigned long long)v->duplicates, (unsigned long long)v->not_utf8,
             (unsigned long long)v->too_large, (unsigned long long)v->empty);
    return 0;
}

int corpus_pack(int argc, char **argv) {
    const char *output = "corpus";
    struct strs exts = {0}, excludes = {0};
    struct pack_opts o = {.files = 1, .max_bytes = 1000000, .license = "unknown"};
    struct opt opts[] = {
        {"Packing", .type = OPT_GROUP},
        {"ext", 0, OPT_STRS, &exts, "END", "endings of the names to take (repeatable)"},
        {"exclude", 0, OPT_STRS, &excludes, "NAME",
         "leave out files and folders of this name, at any depth (repeatable)"},
        {"files", 0, OPT_U64, &o.files, "N", "number of files to write", .min = 1, .max = 100000},
        {"max-bytes", 0, OPT_U64, &o.max_bytes, "N", "leave out larger files", .min = 1,
         .max = 1 << 30},
        {"repo", 0, OPT_STR, &o.repo, "NAME", "repo_name of the records (local/FOLDER)"},
        {"license", 0, OPT_STR, &o.license, "NAME", "license of the records"},
        TOOL_OUTPUT(&output, "folder to write"),
        {0}};
    struct program p = {
        .name = "corpus pack",
        .summary = "make a corpus of the source files in folders",
        .usage = "DIR… [-o OUT]",
        .text = "Writes gzip JSON lines with the fields of the CodeParrot data (repo_name, path, "
                "copies, size, content, license), in an order that depends on the seed. Of equal "
                "files one is taken; hidden files, files that are not UTF-8 and empty ones are "
                "left out and counted.",
        .examples = "corpus pack /usr/lib/python3 -o corpus --files 8 --license psf\t"
                    "the Python files of this machine",
        .opts = opts};
    struct tool t;
    struct pack_totals totals;
    int rc = strs_push(&exts, ".py", NULL);
    rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        o.exts = &exts;
        o.excludes = &excludes;
        o.seed = t.seed;
        o.threads = tool_threads(&t);
        o.log = &t.log;
        rc = t.operands->n ? pack(t.operands, output, &o, &totals, &t.err)
                           : err_set(&t.err, ERR_USAGE, "no folder named");
        if (rc == 0) rc = print_packed(&t, &totals);
    }
    strs_release(&exts);
    strs_release(&excludes);
    return tool_end(&t, rc);
}
