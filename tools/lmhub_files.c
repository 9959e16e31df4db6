/* lmhub ls, get, cat: the files of a repository. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tools/lmhub.h"

/* The operand's files, pinned to a commit. */
static int list_files(struct asking *a, struct hub_list *l) {
    int rc = asking_about(a, asking_operand(a, 0, 1, 1));
    if (rc == 0) rc = hub_list(l, &a->hub, &a->ref, &a->t.err);
    if (rc == 0 && !l->n && *a->ref.path)
        rc = err_set(&a->t.err, ERR_USAGE, "%s: no file of %s matches", a->ref.path, a->ref.repo);
    return rc;
}

/* ------------------------------------------------------------------ ls */

static cJSON *files_tree(const struct asking *a, const struct hub_list *l) {
    cJSON *o = cJSON_CreateObject(), *files;
    cJSON_AddStringToObject(o, "repository", a->ref.repo);
    cJSON_AddStringToObject(o, "revision", a->ref.revision);
    cJSON_AddStringToObject(o, "commit", l->commit);
    files = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < l->n; i++) {
        const struct hub_entry *e = &l->v[i];
        cJSON *f = cJSON_CreateObject();
        cJSON_AddStringToObject(f, "path", e->path);
        cJSON_AddNumberToObject(f, "bytes", (double)e->bytes);
        if (e->sha256) cJSON_AddStringToObject(f, "sha256", e->sha256);
        cJSON_AddItemToArray(files, f);
    }
    return o;
}

static int ls(struct asking *a) {
    struct hub_list l = {0};
    int rc = list_files(a, &l);
    if (rc == 0 && a->t.json)
        rc = tool_print_json(&a->t, files_tree(a, &l));
    else if (rc == 0)
        for (size_t i = 0; i < l.n; i++) {
            fprintf(tool_out(&a->t), "%14llu  ", (unsigned long long)l.v[i].bytes);
            print_name(tool_out(&a->t), l.v[i].path);
        }
    if (rc == 0) log_info(&a->t.log, "%s: %zu files at commit %s", a->ref.repo, l.n, l.commit);
    hub_list_release(&l);
    return rc;
}

int lmhub_ls(int argc, char **argv) {
    struct asking a = {0};
    struct opt opts[] = {LMHUB_CACERT(&a), {0}};
    struct program p = {.name = "lmhub ls",
                        .summary = "list the files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB]",
                        .text = lmhub_environment,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = ls(&a);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ get */

static int say_got(struct asking *a, const char *where, const char *commit,
                   const struct hub_got *got) {
    if (a->t.json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "path", where);
        cJSON_AddStringToObject(o, "commit", commit);
        cJSON_AddNumberToObject(o, "files", (double)got->files);
        cJSON_AddNumberToObject(o, "bytes", (double)got->bytes);
        cJSON_AddNumberToObject(o, "kept", (double)got->kept);
        return tool_print_json(&a->t, o);
    }
    fprintf(tool_out(&a->t), "%s\n", where);
    log_info(&a->t.log, "%s: %llu files fetched, %llu were there", a->ref.repo,
             (unsigned long long)got->files, (unsigned long long)got->kept);
    return 0;
}

/* Into a folder, or (`dir` NULL) into the cache. */
static int get(struct asking *a, const char *dir) {
    struct hub_list l = {0};
    struct hub_got got = {0};
    char *snapshot = NULL;
    struct tool *t = &a->t;
    int rc = list_files(a, &l), threads = tool_threads(t);
    if (rc == 0 && dir)
        rc = hub_get(&a->hub, &a->ref, &l, dir, threads, &t->log, &got, &t->err);
    else if (rc == 0)
        rc = hub_cache_get(&a->hub, &a->ref, &l, threads, &t->log, &got, &snapshot, &t->err);
    if (rc == 0) rc = say_got(a, dir ? dir : snapshot, l.commit, &got);
    free(snapshot);
    hub_list_release(&l);
    return rc;
}

static const char get_text[] =
    "Fetches files into huggingface_hub's cache ($HF_HOME/hub) and prints the folder where they "
    "are, or with -o into a folder. Each is checked against its digest. What is there is kept; "
    "what was "
    "fetched in part goes on where it stopped, also after a lost connection.";

int lmhub_get(int argc, char **argv) {
    const char *dir = NULL;
    struct asking a = {0};
    struct opt opts[] = {
        {"output", 'o', OPT_STR, &dir, "PATH", "folder to write (default: the cache)"},
        LMHUB_CACERT(&a),
        {0}};
    struct program p = {.name = "lmhub get",
                        .summary = "fetch files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB] [-o PATH]",
                        .text = get_text,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = get(&a, dir);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ cat */

static int copy_out(struct feed *from, struct outfile *to, struct err *err) {
    char block[1 << 16];
    long n;
    while ((n = from->read(from->ctx, block, sizeof block, err)) > 0) {
        int rc = outfile_write(to, block, (size_t)n, err);
        if (rc < 0) return rc;
    }
    return (int)n;
}

static int copy_files(struct asking *a, const struct hub_list *l, struct outfile *to) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct feed from;
        rc = hub_open(&a->hub, &a->ref, l->commit, &l->v[i], &from, &a->t.err);
        if (rc < 0) break;
        rc = copy_out(&from, to, &a->t.err);
        from.close(from.ctx);
    }
    return rc;
}

static int cat(struct asking *a) {
    struct hub_list l = {0};
    struct outfile *to = NULL;
    int rc = list_files(a, &l);
    if (rc == 0) rc = outfile_open(&to, "-", &a->t.err);
    if (rc == 0) rc = copy_files(a, &l, to);
    if (rc == 0)
        rc = outfile_commit(to, &a->t.err);
    else
        outfile_abort(to);
    hub_list_release(&l);
    return rc;
}

int lmhub_cat(int argc, char **argv) {
    struct asking a = {0};
    struct opt opts[] = {LMHUB_CACERT(&a), {0}};
    struct program p = {.name = "lmhub cat",
                        .summary = "write files of a repository to stdout as they are",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION]/PATH_OR_GLOB",
                        .text = lmhub_environment,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = cat(&a);
    return asking_end(&a, rc);
}
