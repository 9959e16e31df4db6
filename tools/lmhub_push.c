/* lmhub push, merge: files to a repository, a branch to main. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/hub_push.h"
#include "stream/hub_repo.h"
#include "tools/lmhub.h"
#include "tools/push_run.h"

static int say_pushed(struct asking *a, const struct hub_pushed *p) {
    if (a->t.json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "repository", a->ref.repo);
        cJSON_AddStringToObject(o, "branch", a->ref.revision);
        cJSON_AddStringToObject(o, "commit", p->commit);
        cJSON_AddNumberToObject(o, "commits", (double)p->commits);
        cJSON_AddNumberToObject(o, "files", (double)p->files);
        cJSON_AddNumberToObject(o, "unchanged", (double)p->unchanged);
        cJSON_AddNumberToObject(o, "ignored", (double)p->ignored);
        cJSON_AddNumberToObject(o, "stored", (double)p->stored);
        cJSON_AddNumberToObject(o, "bytes", (double)p->bytes);
        return tool_print_json(&a->t, o);
    }
    log_info(&a->t.log,
             "%llu files in %llu commits, %llu unchanged; %llu bytes of large files sent",
             (unsigned long long)p->files, (unsigned long long)p->commits,
             (unsigned long long)p->unchanged, (unsigned long long)p->bytes);
    fprintf(tool_out(&a->t), "%s/%s%s/tree/%s\n", a->hub.endpoint,
            a->ref.dataset ? "datasets/" : "", a->ref.repo, a->ref.revision);
    return 0;
}

/* ------------------------------------------------------------------ push */

struct pushing {
    const char *message, *description, *run_name;
    struct strs include, exclude;
    bool secret, plain;
};

/* Only --threads as given: the default is hub_push()'s own. */
static int asked_threads(const struct asking *a) {
    return a->t.threads ? tool_threads(&a->t) : 0;
}

/* The files of a folder, or the one file, with their names in the repository. */
static int find_changes(struct asking *a, const struct pushing *o, const char *path,
                        struct hub_changes *c) {
    struct err *err = &a->t.err;
    const char *to = a->ref.path;
    size_t n = strlen(to);
    if (file_kind(path) == FILE_FOLDER) {
        int rc = hub_changes_folder(c, to, path, &o->include, &o->exclude, err);
        if (rc == 0 && !c->n) rc = err_set(err, ERR_USAGE, "%s: there is no file to push", path);
        return rc;
    }
    bool named = n && to[n - 1] != '/'; /* else it keeps its name, in that folder */
    char *name = named ? strdup(to) : path_join(to, path_base(path));
    int rc = name ? hub_changes_file(c, name, path, err) : err_nomem(err, n);
    free(name);
    return rc;
}

/* The folder or file as it lies there. */
static int push_files(struct asking *a, const struct pushing *o, const char *path,
                      struct hub_pushed *ret) {
    struct hub_changes c = {0};
    struct buf summary = {0};
    struct tool *t = &a->t;
    char *journal = file_kind(path) == FILE_FOLDER ? push_journal(path) : NULL;
    int rc = find_changes(a, o, path, &c);
    if (rc == 0 && !o->message)
        rc = buf_printf(&summary, &t->err, "add %s", c.n == 1 ? c.v[0].path : path_base(path));
    const struct hub_push_opts opts = {.summary = o->message ? o->message : buf_cstr(&summary),
                                       .description = o->description,
                                       .journal = journal,
                                       .threads = asked_threads(a),
                                       .log = &t->log};
    if (rc == 0) rc = push_prepare(&a->hub, &a->ref, o->secret, &t->log, &t->err);
    if (rc == 0) rc = hub_push(&a->hub, &a->ref, &c, &opts, ret, &t->err);
    hub_changes_release(&c);
    buf_release(&summary);
    free(journal);
    return rc;
}

static int push(struct asking *a, const struct pushing *o) {
    struct hub_pushed done = {0};
    struct tool *t = &a->t;
    const char *path = asking_operand(a, 0, 2, 2);
    int rc = path ? asking_about(a, asking_operand(a, 1, 2, 2))
                  : err_set(&t->err, ERR_USAGE,
                            "name what to push, and where: PATH hf://NAMESPACE/NAME");
    if (rc < 0) return rc;
    if (file_kind(path) != FILE_FOLDER && file_kind(path) != FILE_REGULAR)
        return err_set(&t->err, ERR_IO, "%s: no such file or folder", path);
    bool run = !o->plain && push_is_run(path);
    if (o->run_name && !run)
        return err_set(&t->err, ERR_USAGE, "--run-name is for a run's folder; %s is none", path);
    const struct push_run r = {
        .dir = path, .name = o->run_name, .secret = o->secret, .threads = asked_threads(a)};
    rc = run ? push_run(&a->hub, &a->ref, &r, &done, &t->log, &t->err)
             : push_files(a, o, path, &done);
    return rc < 0 ? rc : say_pushed(a, &done);
}

static const char push_text[] =
    "Sends a file, or the files of a folder, and commits them; the repository and the branch are "
    "made if they are missing. What the Hub has already is not sent again, so an interrupted push "
    "goes on with the same command.\n\n"
    "The folder of a run (lmtrain's -o) goes to a branch of its own: one commit for each "
    "checkpoint (\"step N\"), at last \"final model\", with a model card made from the run. lmhub "
    "merge "
    "brings the branch to main.";

int lmhub_push(int argc, char **argv) {
    struct pushing o = {0};
    struct asking a = {0};
    struct opt opts[] = {
        {"message", 0, OPT_STR, &o.message, "TEXT", "title of the commit"},
        {"description", 0, OPT_STR, &o.description, "TEXT", "text of the commit"},
        {"include", 0, OPT_STRS, &o.include, "GLOB", "only files that match (repeatable)"},
        {"exclude", 0, OPT_STRS, &o.exclude, "GLOB", "no files that match (repeatable)"},
        {"private", 0, OPT_FLAG, &o.secret, NULL, "a repository that is made now is private"},
        {"run-name", 0, OPT_STR, &o.run_name, "NAME", "branch of a run (default: made up once)"},
        {"plain", 0, OPT_FLAG, &o.plain, NULL,
         "a run's folder like any other, to the branch named"},
        LMHUB_CACERT(&a),
        {0}};
    struct program p = {.name = "lmhub push",
                        .summary = "send files to a repository",
                        .usage = "PATH hf://[datasets/]NAMESPACE/NAME[@BRANCH][/FOLDER]",
                        .text = push_text,
                        .examples = "lmhub push run/ hf://me/small\tthe checkpoints of a run\n"
                                    "lmhub push tok/ hf://me/tok\ta tokenizer\n"
                                    "lmhub push clean/ hf://datasets/me/clean/data\ta dataset",
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = push(&a, &o);
    strs_release(&o.include);
    strs_release(&o.exclude);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ merge */

/* a->ref becomes the branch that is merged into; *branch, malloc'd, is what is merged. */
static int name_branches(struct asking *a, const char *into, char **branch) {
    struct err *err = &a->t.err;
    const char *repo = asking_operand(a, 0, 1, 2), *named = asking_operand(a, 1, 2, 2);
    int rc = asking_about(a, repo);
    if (rc < 0) return rc;
    *branch = strdup(named ? named : a->ref.revision);
    char *to = strdup(into);
    if (!*branch || !to) {
        free(to);
        return err_nomem(err, strlen(into));
    }
    free(a->ref.revision);
    a->ref.revision = to;
    if (strcmp(*branch, into)) return 0;
    return err_set(err, ERR_USAGE, "name the branch to merge: lmhub merge %s BRANCH", repo);
}

static int merge(struct asking *a, const char *into, const char *message) {
    struct hub_pushed done = {0};
    struct buf summary = {0};
    char *branch = NULL;
    int rc = name_branches(a, into, &branch);
    if (rc == 0) rc = buf_printf(&summary, &a->t.err, "merge %s", branch);
    const struct hub_push_opts opts = {.summary = message ? message : buf_cstr(&summary),
                                       .log = &a->t.log};
    if (rc == 0) rc = hub_merge(&a->hub, &a->ref, branch, &opts, &done, &a->t.err);
    if (rc == 0) rc = say_pushed(a, &done);
    free(branch);
    buf_release(&summary);
    return rc;
}

int lmhub_merge(int argc, char **argv) {
    const char *into = "main", *message = NULL;
    struct asking a = {0};
    struct opt opts[] = {{"into", 0, OPT_STR, &into, "BRANCH", "where the files go"},
                         {"message", 0, OPT_STR, &message, "TEXT", "title of the commit"},
                         LMHUB_CACERT(&a),
                         {0}};
    struct program p = {
        .name = "lmhub merge",
        .summary = "bring the files of a branch to main, without sending them again",
        .usage = "hf://NAMESPACE/NAME BRANCH",
        .text = "Files of the branch replace those of the same name in one commit; files that only "
                "main has stay.",
        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = merge(&a, into, message);
    return asking_end(&a, rc);
}
