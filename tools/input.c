/* Sources of a command line: see input.h. */
#include "tools/input.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/records.h"
#include "tokenizer/tokenizer.h"
#include "tools/outputs.h"

static bool is_remote(const char *source) {
    return !strncmp(source, "hf://", 5) || !strncmp(source, "http://", 7) ||
           !strncmp(source, "https://", 8);
}

/* The file of --on-error, over one of the sources from `first` on. */
static int check_rejects(const struct input *in, const struct source_list *l, size_t first,
                         struct err *err) {
    const char *path = in->opts.on_error;
    const struct source_list found = {.v = l->v + first, .n = l->n - first};
    bool file = path && strcmp(path, "stop") && strcmp(path, "skip");
    return file && found.n ? input_check_output(&found, path, err) : 0;
}

static int resolve(struct input *in, struct tool *t, const char *source, const char *config,
                   const char *split, struct source_list *to) {
    size_t before = to->n;
    if (is_remote(source) && !in->has_hub) {
        int rc = hub_env(&in->hub, &t->log, &t->err);
        if (rc < 0) return rc;
        in->has_hub = true;
        in->opts.hub = &in->hub;
    }
    int rc = source_resolve_split(to, source, config, split, in->opts.hub, &t->log, &t->err);
    return rc < 0 ? rc : check_rejects(in, to, before, &t->err);
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

static bool lies_in(const char *path, const char *folder) {
    char *dir = path_dir(path);
    bool does = dir && file_same(dir, folder);
    free(dir);
    return does;
}

static int check_folder(const char *path, const struct source_file *f, struct err *err) {
    if (!strcmp(f->path, "-")) return 0;
    char *whole = realpath(f->path, NULL); /* what a link in another folder leads to */
    bool inside = lies_in(f->path, path) || (whole && lies_in(whole, path));
    free(whole);
    return inside ? err_set(err, ERR_USAGE, "%s: holds what is read, %s; name another folder", path,
                            f->name)
                  : 0;
}

int input_check_output(const struct source_list *l, const char *path, struct err *err) {
    bool folder = records_is_folder(path);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        const struct source_file *f = &l->v[i];
        if (is_remote(f->path)) continue;
        rc = folder ? check_folder(path, f, err) : output_check(path, f->path, err);
    }
    return rc;
}

int input_check_tokenizer(const char *tok, const char *path, struct err *err) {
    int rc = output_check(path, tok, err);
    bool folder = file_kind(tok) == FILE_FOLDER;
    if (rc < 0 || (!folder && path_ends(tok, ".tiktoken"))) return rc; /* nothing beside it is */
    char *dir = folder ? strdup(tok) : path_dir(tok);
    rc = dir ? output_check_names(path, dir, tokenizer_files, err) : err_nomem(err, strlen(tok));
    free(dir);
    return rc;
}

void input_release(struct input *in) {
    source_list_release(&in->list);
    if (in->has_hub) hub_release(&in->hub);
    in->has_hub = false;
    in->opts.hub = NULL;
}
