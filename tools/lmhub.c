/* lmhub: what a repository of the Hub holds, and its files. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/hub.h"
#include "tools/common.h"

static const char environment[] =
    "HF_TOKEN (or the file $HF_HOME/token) is sent to HF_ENDPOINT only "
    "(https://huggingface.co). A revision is pinned to its commit first. SSL_CERT_FILE names "
    "certificates to trust.";

/* A program's one operand, taken apart, and its files. Caller: release(). */
struct listing {
    struct hub hub;
    struct hub_ref ref;
    struct hub_list list;
};

static int open_listing(struct listing *l, struct tool *t) {
    const struct strs *named = t->operands;
    if (named->n != 1)
        return err_set(&t->err, ERR_USAGE, "name one repository: hf://datasets/NAMESPACE/NAME");
    signals_install();
    int rc = hub_ref_parse(&l->ref, named->v[0], &t->err);
    if (rc == 0) rc = hub_env(&l->hub, NULL, &t->log, &t->err);
    if (rc == 0) rc = hub_list(&l->list, &l->hub, &l->ref, &t->err);
    if (rc == 0 && !l->list.n && *l->ref.path)
        rc = err_set(&t->err, ERR_USAGE, "%s: no file of %s matches", l->ref.path, l->ref.repo);
    return rc;
}

static void release(struct listing *l) {
    hub_list_release(&l->list);
    hub_ref_release(&l->ref);
    hub_release(&l->hub);
}

/* ------------------------------------------------------------------ ls */

static cJSON *files_tree(const struct listing *l) {
    cJSON *o = cJSON_CreateObject(), *files;
    cJSON_AddStringToObject(o, "repository", l->ref.repo);
    cJSON_AddStringToObject(o, "revision", l->ref.revision);
    cJSON_AddStringToObject(o, "commit", l->list.commit);
    files = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < l->list.n; i++) {
        const struct hub_entry *e = &l->list.v[i];
        cJSON *f = cJSON_CreateObject();
        cJSON_AddStringToObject(f, "path", e->path);
        cJSON_AddNumberToObject(f, "bytes", (double)e->bytes);
        if (e->sha256) cJSON_AddStringToObject(f, "sha256", e->sha256);
        cJSON_AddItemToArray(files, f);
    }
    return o;
}

/* A name with control characters must not reach the terminal as it is. */
static void print_path(FILE *to, const char *path) {
    struct buf b = {0};
    bool odd = false;
    for (const char *p = path; *p; p++) odd |= (unsigned char)*p < 0x20 || *p == 0x7F;
    if (odd && json_quote(&b, path, strlen(path), NULL) == 0) path = buf_cstr(&b);
    fprintf(to, "%s\n", path ? path : "");
    buf_release(&b);
}

static int run_ls(struct tool *t) {
    struct listing l = {0};
    int rc = open_listing(&l, t);
    if (rc == 0 && t->json)
        rc = tool_print_json(t, files_tree(&l));
    else if (rc == 0)
        for (size_t i = 0; i < l.list.n; i++) {
            fprintf(tool_out(t), "%14llu  ", (unsigned long long)l.list.v[i].bytes);
            print_path(tool_out(t), l.list.v[i].path);
        }
    if (rc == 0)
        log_info(&t->log, "%s: %zu files at commit %s", l.ref.repo, l.list.n, l.list.commit);
    release(&l);
    return rc;
}

static int ls_main(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {.name = "lmhub ls",
                        .summary = "list the files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB]",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_ls(&t);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ get */

static int run_get(struct tool *t, const char *dir) {
    struct listing l = {0};
    struct hub_got got = {0};
    int rc = open_listing(&l, t);
    if (rc == 0)
        rc = hub_get(&l.hub, &l.ref, &l.list, dir, tool_threads(t), &t->log, &got, &t->err);
    if (rc == 0 && t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "commit", l.list.commit);
        cJSON_AddNumberToObject(o, "files", (double)got.files);
        cJSON_AddNumberToObject(o, "bytes", (double)got.bytes);
        cJSON_AddNumberToObject(o, "kept", (double)got.kept);
        rc = tool_print_json(t, o);
    } else if (rc == 0)
        log_info(&t->log, "%s: %llu files fetched, %llu were there", dir,
                 (unsigned long long)got.files, (unsigned long long)got.kept);
    release(&l);
    return rc;
}

static const char get_text[] =
    "Fetches files into a folder, each atomically, checked against its sha256. Files that are "
    "there "
    "already with the same sha256 are kept: an interrupted run goes on where it stopped. A lost "
    "connection is taken up again at the byte where it broke.";

static int get_main(int argc, char **argv) {
    const char *dir = ".";
    struct opt opts[] = {{"output", 'o', OPT_STR, &dir, "PATH", "folder to write"}, {0}};
    struct program p = {.name = "lmhub get",
                        .summary = "fetch files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB] [-o PATH]",
                        .text = get_text,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_get(&t, dir);
    return tool_end(&t, rc);
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

static int run_cat(struct tool *t) {
    struct listing l = {0};
    struct outfile *to;
    int rc = open_listing(&l, t);
    if (rc == 0) rc = outfile_open(&to, "-", &t->err);
    if (rc < 0) {
        release(&l);
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < l.list.n; i++) {
        const struct hub_entry *e = &l.list.v[i];
        struct feed from;
        char *url = hub_file_url(&l.hub, &l.ref, l.list.commit, e->path);
        rc = url ? http_feed(l.hub.http, url, e->sha256, &from, &t->err) : err_nomem(&t->err, 0);
        free(url);
        if (rc < 0) break;
        rc = copy_out(&from, to, &t->err);
        from.close(from.ctx);
    }
    if (rc == 0)
        rc = outfile_commit(to, &t->err);
    else
        outfile_abort(to);
    release(&l);
    return rc;
}

static int cat_main(int argc, char **argv) {
    struct opt opts[] = {{0}};
    struct program p = {.name = "lmhub cat",
                        .summary = "write files of a repository to stdout as they are",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION]/PATH_OR_GLOB",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_cat(&t);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"ls", "list the files of a repository", ls_main},
        {"get", "fetch files of a repository", get_main},
        {"cat", "write files of a repository to stdout", cat_main},
        {0}};
    static const struct family f = {"lmhub", "the Hugging Face Hub, or a server like it", subs,
                                    NULL};
    return tool_dispatch(&f, argc, argv);
}
