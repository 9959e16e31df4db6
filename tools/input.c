/* Sources of a command line: see input.h. */
#include "tools/input.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "stream/records.h"

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

/* A file or folder by its name, or the file that stands behind "-". */
static bool look(const char *path, int standard, struct stat *is) {
    int rc = strcmp(path, "-") ? stat(path, is) : fstat(standard, is);
    return rc == 0 && (S_ISREG(is->st_mode) || S_ISDIR(is->st_mode));
}

/* Whether the folder that holds `path` is this one. */
static bool lies_in(const char *path, const struct stat *folder) {
    struct stat is;
    char *dir = path_dir(path);
    bool does =
        dir && stat(dir, &is) == 0 && is.st_dev == folder->st_dev && is.st_ino == folder->st_ino;
    free(dir);
    return does;
}

int input_check_output(const struct source_list *l, const char *path, struct err *err) {
    struct stat out, in;
    bool folder = records_is_folder(path);
    if (!look(path, STDOUT_FILENO, &out)) return 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct source_file *f = &l->v[i];
        if (is_remote(f->path) || !look(f->path, STDIN_FILENO, &in)) continue;
        if (!folder && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return err_set(err, ERR_USAGE, "%s: is read and would be written; name another file",
                           strcmp(path, "-") ? path : "stdout");
        if (!folder || !strcmp(f->path, "-")) continue;
        char *whole = realpath(f->path, NULL); /* what a link in another folder leads to */
        bool inside = lies_in(f->path, &out) || (whole && lies_in(whole, &out));
        free(whole);
        if (inside)
            return err_set(err, ERR_USAGE, "%s: holds what is read, %s; name another folder", path,
                           f->name);
    }
    return 0;
}

void input_release(struct input *in) {
    source_list_release(&in->list);
    if (in->has_hub) hub_release(&in->hub);
    in->has_hub = false;
    in->opts.hub = NULL;
}
