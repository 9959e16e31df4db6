/* lmhub: repositories of the Hub: their files, and files to them; who asks. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/hub.h"
#include "stream/hub_push.h"
#include "stream/hub_repo.h"
#include "tools/common.h"
#include "tools/push_run.h"

static const char environment[] =
    "HF_TOKEN (or the file $HF_HOME/token, see lmhub login) is sent to HF_ENDPOINT only "
    "(https://huggingface.co). A revision is pinned to its commit first. --cacert or SSL_CERT_FILE "
    "names certificates to trust; http_proxy, https_proxy and no_proxy are honoured. With "
    "HF_HUB_OFFLINE=1 only huggingface_hub's cache is read.";
#define CACERT(to)                                                                                 \
    {                                                                                              \
        "cacert", 0, OPT_STR, to, "FILE", "certificates to trust (default: SSL_CERT_FILE)",        \
            .sensitive = true                                                                      \
    }

/* A program's one operand, taken apart, and its files. Caller: release(). */
struct listing {
    struct hub hub;
    struct hub_ref ref;
    struct hub_list list;
};

/* One operand that names a repository, and the Hub. */
static int open_ref(struct tool *t, const char *named, const char *cacert, struct hub *hub,
                    struct hub_ref *ref) {
    if (!named)
        return err_set(&t->err, ERR_USAGE, "name one repository: hf://datasets/NAMESPACE/NAME");
    signals_install();
    int rc = hub_ref_parse(ref, named, &t->err);
    return rc < 0 ? rc : hub_env_with(hub, NULL, cacert, &t->log, &t->err);
}

static int open_listing(struct listing *l, struct tool *t, const char *cacert) {
    const struct strs *named = t->operands;
    int rc = open_ref(t, named->n == 1 ? named->v[0] : NULL, cacert, &l->hub, &l->ref);
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

static int run_ls(struct tool *t, const char *cacert) {
    struct listing l = {0};
    int rc = open_listing(&l, t, cacert);
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
    const char *cacert = NULL;
    struct opt opts[] = {CACERT(&cacert), {0}};
    struct program p = {.name = "lmhub ls",
                        .summary = "list the files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB]",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_ls(&t, cacert);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ get */

static int run_get(struct tool *t, const char *dir, const char *cacert) {
    struct listing l = {0};
    struct hub_got got = {0};
    char *snapshot = NULL;
    int rc = open_listing(&l, t, cacert), threads = tool_threads(t);
    if (rc == 0 && dir)
        rc = hub_get(&l.hub, &l.ref, &l.list, dir, threads, &t->log, &got, &t->err);
    else if (rc == 0)
        rc = hub_cache_get(&l.hub, &l.ref, &l.list, threads, &t->log, &got, &snapshot, &t->err);
    if (rc == 0 && t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "path", dir ? dir : snapshot);
        cJSON_AddStringToObject(o, "commit", l.list.commit);
        cJSON_AddNumberToObject(o, "files", (double)got.files);
        cJSON_AddNumberToObject(o, "bytes", (double)got.bytes);
        cJSON_AddNumberToObject(o, "kept", (double)got.kept);
        rc = tool_print_json(t, o);
    } else if (rc == 0) {
        fprintf(tool_out(t), "%s\n", dir ? dir : snapshot);
        log_info(&t->log, "%s: %llu files fetched, %llu were there", l.ref.repo,
                 (unsigned long long)got.files, (unsigned long long)got.kept);
    }
    free(snapshot);
    release(&l);
    return rc;
}

static const char get_text[] =
    "Fetches files into huggingface_hub's cache ($HF_HOME/hub) and prints the folder where they "
    "are, "
    "or with -o into a folder. Each is checked against its digest. What is there is kept; what was "
    "fetched in part goes on where it stopped, also after a lost connection.";

static int get_main(int argc, char **argv) {
    const char *dir = NULL, *cacert = NULL;
    struct opt opts[] = {
        {"output", 'o', OPT_STR, &dir, "PATH", "folder to write (default: the cache)"},
        CACERT(&cacert),
        {0}};
    struct program p = {.name = "lmhub get",
                        .summary = "fetch files of a repository",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION][/PATH_OR_GLOB] [-o PATH]",
                        .text = get_text,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_get(&t, dir, cacert);
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

static int run_cat(struct tool *t, const char *cacert) {
    struct listing l = {0};
    struct outfile *to;
    int rc = open_listing(&l, t, cacert);
    if (rc == 0) rc = outfile_open(&to, "-", &t->err);
    if (rc < 0) {
        release(&l);
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < l.list.n; i++) {
        const struct hub_entry *e = &l.list.v[i];
        struct feed from;
        rc = hub_open(&l.hub, &l.ref, l.list.commit, e, &from, &t->err);
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
    const char *cacert = NULL;
    struct opt opts[] = {CACERT(&cacert), {0}};
    struct program p = {.name = "lmhub cat",
                        .summary = "write files of a repository to stdout as they are",
                        .usage = "hf://datasets/NAMESPACE/NAME[@REVISION]/PATH_OR_GLOB",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_cat(&t, cacert);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ whoami, login, logout */

static int print_whoami(struct tool *t, const struct hub *hub) {
    cJSON *tree = NULL;
    const cJSON *o;
    const char *name = NULL, *org;
    int rc = hub_whoami(hub, &tree, &t->err);
    if (rc == 0) json_str(tree, "name", &name, "", NULL);
    if (rc == 0 && t->json) {
        cJSON *out = cJSON_CreateObject(), *orgs;
        cJSON_AddStringToObject(out, "name", name);
        cJSON_AddStringToObject(out, "endpoint", hub->endpoint);
        orgs = cJSON_AddArrayToObject(out, "organizations");
        cJSON_ArrayForEach(o, json_get(tree, "orgs")) {
            org = NULL;
            if (cJSON_IsObject(o) && json_str(o, "name", &org, "", NULL) == 0 && org)
                cJSON_AddItemToArray(orgs, cJSON_CreateString(org));
        }
        rc = tool_print_json(t, out);
    } else if (rc == 0)
        print_path(tool_out(t), name);
    cJSON_Delete(tree);
    return rc;
}

static int whoami_main(int argc, char **argv) {
    const char *cacert = NULL;
    struct hub hub = {0};
    struct opt opts[] = {CACERT(&cacert), {0}};
    struct program p = {.name = "lmhub whoami",
                        .summary = "say who the access token belongs to",
                        .usage = "[OPTIONS]",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = hub_env_with(&hub, NULL, cacert, &t.log, &t.err);
        if (rc == 0) rc = print_whoami(&t, &hub);
        hub_release(&hub);
    }
    return tool_end(&t, rc);
}

/* A line of standard input, unseen if somebody types it. */
static int read_token(char *line, size_t n, struct err *err) {
    struct termios before, quiet;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (tty) {
        quiet = before;
        quiet.c_lflag &= (tcflag_t) ~(unsigned)ECHO;
        fputs("access token (not shown): ", stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    char *got = fgets(line, (int)n, stdin);
    if (tty) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    size_t len = got ? strlen(line) : 0;
    while (len && isspace((unsigned char)line[len - 1])) line[--len] = 0;
    if (!len) return err_set(err, ERR_USAGE, "no token came on standard input");
    return len + 1 < n ? 0 : err_set(err, ERR_USAGE, "that is too long for a token");
}

/* The name a token was given where it was made; it is the section's name in stored_tokens. */
static const char *token_name(const cJSON *who) {
    const cJSON *access = json_get(json_get(who, "auth"), "accessToken");
    const char *name = NULL;
    if (cJSON_IsObject(access)) json_str(access, "displayName", &name, "", NULL);
    return name && *name && !name[strcspn(name, "[]\r\n")] ? name : "lory";
}

static int run_login(struct tool *t, struct hub *hub, const char *name, const char *cacert) {
    char token[512];
    cJSON *who = NULL;
    const char *user = NULL;
    int rc = read_token(token, sizeof token, &t->err);
    /* Asked with the new token, whatever the environment has. */
    if (rc == 0) rc = hub_env_with(hub, token, cacert, &t->log, &t->err);
    if (rc == 0) rc = hub_whoami(hub, &who, &t->err);
    if (rc == 0) rc = hub_login(hub, name ? name : token_name(who), token, &t->err);
    explicit_bzero(token, sizeof token);
    if (rc == 0) {
        json_str(who, "name", &user, "", NULL);
        log_info(&t->log, "logged in as %s at %s", user, hub->endpoint);
        if (hub_token_is_from_environment())
            log_warn(&t->log, "HF_TOKEN is set, and wins over what was stored now");
    }
    cJSON_Delete(who);
    return rc;
}

static int login_main(int argc, char **argv) {
    const char *cacert = NULL, *name = NULL;
    struct hub hub = {0};
    struct opt opts[] = {{"name", 0, OPT_STR, &name, "NAME",
                          "what stored_tokens calls it (default: the Hub's name)"},
                         CACERT(&cacert),
                         {0}};
    struct program p = {
        .name = "lmhub login",
        .summary = "store an access token, for huggingface_hub too",
        .usage = "[--name NAME]",
        .text = "The token is read from standard input, never from the command line, where others "
                "could see it. It is tried, then written to $HF_HOME/token and, under its name, to "
                "stored_tokens, which only you can read.",
        .examples = "lmhub login\tasks for the token\nlmhub login <token.txt\treads it from a file",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = run_login(&t, &hub, name, cacert);
        hub_release(&hub);
    }
    return tool_end(&t, rc);
}

static int logout_main(int argc, char **argv) {
    struct hub hub = {0};
    struct opt opts[] = {{0}};
    struct program p = {.name = "lmhub logout",
                        .summary = "remove stored access tokens",
                        .usage = "[NAME]",
                        .text = "Without NAME all of them, else the one of that name.",
                        .opts = opts};
    struct tool t;
    int removed = 0, rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = hub_env(&hub, &t.log, &t.err);
    if (rc == 0) {
        rc = hub_logout(&hub, t.operands->n ? t.operands->v[0] : NULL, &removed, &t.err);
        if (rc == 0) log_info(&t.log, "%s", removed ? "logged out" : "nobody was logged in");
        if (rc == 0 && hub_token_is_from_environment())
            log_warn(&t.log, "HF_TOKEN is still set in the environment");
    }
    hub_release(&hub);
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ create, branch */

static int run_create(struct tool *t, struct hub *hub, const char *type, const char *organization,
                      bool secret, bool exist_ok) {
    struct hub_ref ref = {0};
    struct buf name = {0};
    bool made = false;
    char *url = NULL;
    const char *named = t->operands->n == 1 ? t->operands->v[0] : NULL;
    if (!named) return err_set(&t->err, ERR_USAGE, "name one repository to make");
    bool whole = !strncmp(named, "hf://", 5);
    int rc = 0;
    if (whole && organization)
        rc = err_set(&t->err, ERR_USAGE, "--organization and hf://NAMESPACE/NAME say the same");
    if (rc == 0 && !whole)
        rc = buf_printf(&name, &t->err, "hf://%s%s%s", strcmp(type, "dataset") ? "" : "datasets/",
                        organization ? organization : "", organization ? "/" : "");
    if (rc == 0) rc = buf_str(&name, named, &t->err);
    if (rc == 0) rc = buf_cstr(&name) ? hub_ref_parse(&ref, name.v, &t->err) : ERR_NOMEM;
    if (rc == 0) rc = hub_create(hub, &ref, secret, exist_ok, &made, &url, &t->err);
    if (rc == 0) {
        print_path(tool_out(t), url ? url : ref.repo);
        log_info(&t->log, "%s: %s", ref.repo, made ? "made" : "was there");
    }
    free(url);
    hub_ref_release(&ref);
    buf_release(&name);
    return rc;
}

static int create_main(int argc, char **argv) {
    const char *cacert = NULL, *type = "model", *organization = NULL;
    bool secret = false, exist_ok = false;
    struct hub hub = {0};
    struct opt opts[] = {
        {"type", 0, OPT_CHOICE, &type, "TYPE", "what it holds", "model|dataset"},
        {"organization", 0, OPT_STR, &organization, "ORG", "whose it is (default: yours)"},
        {"private", 0, OPT_FLAG, &secret, NULL, "only its owners see it"},
        {"exist-ok", 0, OPT_FLAG, &exist_ok, NULL, "fine if it exists already"},
        CACERT(&cacert),
        {0}};
    struct program p = {.name = "lmhub create",
                        .summary = "make a repository",
                        .usage = "NAME [--type model|dataset] [--organization ORG] [--private]",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        signals_install();
        rc = hub_env_with(&hub, NULL, cacert, &t.log, &t.err);
        if (rc == 0) rc = run_create(&t, &hub, type, organization, secret, exist_ok);
        hub_release(&hub);
    }
    return tool_end(&t, rc);
}

static int list_branches(struct tool *t, const struct hub *hub, const struct hub_ref *ref) {
    struct strs v = {0};
    int rc = hub_branches(hub, ref, &v, &t->err);
    cJSON *o = rc == 0 && t->json ? cJSON_CreateObject() : NULL;
    for (size_t i = 0; rc == 0 && i + 1 < v.n; i += 2) {
        if (o)
            cJSON_AddStringToObject(o, v.v[i], v.v[i + 1]);
        else {
            fprintf(tool_out(t), "%.40s  ", v.v[i + 1]);
            print_path(tool_out(t), v.v[i]);
        }
    }
    if (o) rc = tool_print_json(t, o);
    strs_release(&v);
    return rc;
}

static int branch_main(int argc, char **argv) {
    const char *cacert = NULL, *from = NULL;
    bool remove = false, exist_ok = false;
    struct hub hub = {0};
    struct hub_ref ref = {0};
    struct opt opts[] = {
        {"from", 0, OPT_STR, &from, "REVISION", "where the new branch begins (default: main)"},
        {"delete", 0, OPT_FLAG, &remove, NULL, "remove the branch"},
        {"exist-ok", 0, OPT_FLAG, &exist_ok, NULL, "fine if it exists already"},
        CACERT(&cacert),
        {0}};
    struct program p = {.name = "lmhub branch",
                        .summary = "list the branches of a repository, make or remove one",
                        .usage = "hf://NAMESPACE/NAME [BRANCH [--from REVISION | --delete]]",
                        .text = environment,
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) {
        const struct strs *v = t.operands;
        rc = open_ref(&t, v->n == 1 || v->n == 2 ? v->v[0] : NULL, cacert, &hub, &ref);
        if (rc == 0 && v->n == 1)
            rc = list_branches(&t, &hub, &ref);
        else if (rc == 0 && remove)
            rc = hub_branch_delete(&hub, &ref, v->v[1], &t.err);
        else if (rc == 0)
            rc = hub_branch_create(&hub, &ref, v->v[1], from, exist_ok, &t.err);
        hub_ref_release(&ref);
        hub_release(&hub);
    }
    return tool_end(&t, rc);
}

/* ------------------------------------------------------------------ push, merge */

static int say_pushed(struct tool *t, const struct hub *hub, const struct hub_ref *ref,
                      const struct hub_pushed *p) {
    if (t->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "repository", ref->repo);
        cJSON_AddStringToObject(o, "branch", ref->revision);
        cJSON_AddStringToObject(o, "commit", p->commit);
        cJSON_AddNumberToObject(o, "commits", (double)p->commits);
        cJSON_AddNumberToObject(o, "files", (double)p->files);
        cJSON_AddNumberToObject(o, "unchanged", (double)p->unchanged);
        cJSON_AddNumberToObject(o, "ignored", (double)p->ignored);
        cJSON_AddNumberToObject(o, "stored", (double)p->stored);
        cJSON_AddNumberToObject(o, "bytes", (double)p->bytes);
        return tool_print_json(t, o);
    }
    log_info(&t->log, "%llu files in %llu commits, %llu unchanged; %llu bytes of large files sent",
             (unsigned long long)p->files, (unsigned long long)p->commits,
             (unsigned long long)p->unchanged, (unsigned long long)p->bytes);
    fprintf(tool_out(t), "%s/%s%s/tree/%s\n", hub->endpoint, ref->dataset ? "datasets/" : "",
            ref->repo, ref->revision);
    return 0;
}

struct push_options {
    const char *message, *description, *run_name, *cacert;
    struct strs include, exclude;
    bool secret, plain;
};

/* The folder or file as it lies there. */
static int push_files(struct tool *t, const struct push_options *o, const char *path,
                      const struct hub *hub, struct hub_ref *ref, struct hub_pushed *ret) {
    struct hub_changes c = {0};
    struct buf summary = {0};
    bool folder = file_kind(path) == FILE_FOLDER;
    char *journal = folder ? push_journal(path) : NULL;
    size_t n = strlen(ref->path);
    char *one =
        n && ref->path[n - 1] != '/' ? strdup(ref->path) : path_join(ref->path, path_base(path));
    int rc = one ? 0 : err_nomem(&t->err, n);
    if (rc == 0 && folder)
        rc = hub_changes_folder(&c, ref->path, path, &o->include, &o->exclude, &t->err);
    else if (rc == 0)
        rc = hub_changes_file(&c, one, path, &t->err);
    if (rc == 0 && !c.n) rc = err_set(&t->err, ERR_USAGE, "%s: there is no file to push", path);
    if (rc == 0 && !o->message)
        rc = buf_printf(&summary, &t->err, "add %s", c.n == 1 ? c.v[0].path : path_base(path));
    const struct hub_push_opts opts = {.summary = o->message ? o->message : buf_cstr(&summary),
                                       .description = o->description,
                                       .journal = journal,
                                       .threads = t->threads ? tool_threads(t) : 0,
                                       .log = &t->log};
    if (rc == 0) rc = push_prepare(hub, ref, o->secret, &t->log, &t->err);
    if (rc == 0) rc = hub_push(hub, ref, &c, &opts, ret, &t->err);
    hub_changes_release(&c);
    buf_release(&summary);
    free(journal);
    free(one);
    return rc;
}

static int run_push(struct tool *t, const struct push_options *o) {
    struct hub hub = {0};
    struct hub_ref ref = {0};
    struct hub_pushed done = {0};
    const struct strs *v = t->operands;
    const char *path = v->n == 2 ? v->v[0] : NULL;
    int rc = path ? open_ref(t, v->v[1], o->cacert, &hub, &ref)
                  : err_set(&t->err, ERR_USAGE,
                            "name what to push, and where: PATH hf://NAMESPACE/NAME");
    if (rc == 0 && file_kind(path) != FILE_FOLDER && file_kind(path) != FILE_REGULAR)
        rc = err_set(&t->err, ERR_IO, "%s: no such file or folder", path);
    bool run = rc == 0 && !o->plain && push_is_run(path);
    if (rc == 0 && o->run_name && !run)
        rc = err_set(&t->err, ERR_USAGE, "--run-name is for a run's folder; %s is none", path);
    if (rc == 0 && run) {
        const struct push_run r = {.dir = path,
                                   .name = o->run_name,
                                   .secret = o->secret,
                                   .threads = t->threads ? tool_threads(t) : 0};
        rc = push_run(&hub, &ref, &r, &done, &t->log, &t->err);
    } else if (rc == 0)
        rc = push_files(t, o, path, &hub, &ref, &done);
    if (rc == 0) rc = say_pushed(t, &hub, &ref, &done);
    hub_ref_release(&ref);
    hub_release(&hub);
    return rc;
}

static const char push_text[] =
    "Sends a file, or the files of a folder, and commits them; the repository and the branch are "
    "made if they are missing. What the Hub has already is not sent again, so an interrupted push "
    "goes on with the same command.\n\n"
    "The folder of a run (lmtrain's -o) goes to a branch of its own: one commit for each "
    "checkpoint "
    "(\"step N\"), at last \"final model\", with a model card made from the run. lmhub merge "
    "brings "
    "the branch to main.";

static int push_main(int argc, char **argv) {
    struct push_options o = {0};
    struct opt opts[] = {
        {"message", 0, OPT_STR, &o.message, "TEXT", "title of the commit"},
        {"description", 0, OPT_STR, &o.description, "TEXT", "text of the commit"},
        {"include", 0, OPT_STRS, &o.include, "GLOB", "only files that match (repeatable)"},
        {"exclude", 0, OPT_STRS, &o.exclude, "GLOB", "no files that match (repeatable)"},
        {"private", 0, OPT_FLAG, &o.secret, NULL, "a repository that is made now is private"},
        {"run-name", 0, OPT_STR, &o.run_name, "NAME", "branch of a run (default: made up once)"},
        {"plain", 0, OPT_FLAG, &o.plain, NULL,
         "a run's folder like any other, to the branch named"},
        CACERT(&o.cacert),
        {0}};
    struct program p = {.name = "lmhub push",
                        .summary = "send files to a repository",
                        .usage = "PATH hf://[datasets/]NAMESPACE/NAME[@BRANCH][/FOLDER]",
                        .text = push_text,
                        .examples = "lmhub push run/ hf://me/small\tthe checkpoints of a run\n"
                                    "lmhub push tok/ hf://me/tok\ta tokenizer\n"
                                    "lmhub push clean/ hf://datasets/me/clean/data\ta dataset",
                        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_push(&t, &o);
    strs_release(&o.include);
    strs_release(&o.exclude);
    return tool_end(&t, rc);
}

static int run_merge(struct tool *t, const char *into, const char *message, const char *cacert) {
    struct hub hub = {0};
    struct hub_ref ref = {0};
    struct hub_pushed done = {0};
    struct buf summary = {0};
    const struct strs *v = t->operands;
    int rc = open_ref(t, v->n == 1 || v->n == 2 ? v->v[0] : NULL, cacert, &hub, &ref);
    char *branch = rc == 0 ? strdup(v->n == 2 ? v->v[1] : ref.revision) : NULL;
    if (rc == 0 && !branch) rc = err_nomem(&t->err, 0);
    if (rc == 0 && !strcmp(branch, into))
        rc =
            err_set(&t->err, ERR_USAGE, "name the branch to merge: lmhub merge %s BRANCH", v->v[0]);
    if (rc == 0) {
        free(ref.revision);
        ref.revision = strdup(into);
        rc = ref.revision ? buf_printf(&summary, &t->err, "merge %s", branch) : ERR_NOMEM;
    }
    const struct hub_push_opts opts = {.summary = message ? message : buf_cstr(&summary),
                                       .log = &t->log};
    if (rc == 0) rc = hub_merge(&hub, &ref, branch, &opts, &done, &t->err);
    if (rc == 0) rc = say_pushed(t, &hub, &ref, &done);
    free(branch);
    buf_release(&summary);
    hub_ref_release(&ref);
    hub_release(&hub);
    return rc;
}

static int merge_main(int argc, char **argv) {
    const char *cacert = NULL, *into = "main", *message = NULL;
    struct opt opts[] = {{"into", 0, OPT_STR, &into, "BRANCH", "where the files go"},
                         {"message", 0, OPT_STR, &message, "TEXT", "title of the commit"},
                         CACERT(&cacert),
                         {0}};
    struct program p = {
        .name = "lmhub merge",
        .summary = "bring the files of a branch to main, without sending them again",
        .usage = "hf://NAMESPACE/NAME BRANCH",
        .text = "Files of the branch replace those of the same name in one commit; files that only "
                "main has stay.",
        .opts = opts};
    struct tool t;
    int rc = tool_begin(&t, &p, argc, argv);
    if (rc == 0) rc = run_merge(&t, into, message, cacert);
    return tool_end(&t, rc);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"ls", "list the files of a repository", ls_main},
        {"get", "fetch files of a repository", get_main},
        {"cat", "write files of a repository to stdout", cat_main},
        {"push", "send files to a repository", push_main},
        {"merge", "bring a branch to main", merge_main},
        {"create", "make a repository", create_main},
        {"branch", "list, make or remove branches", branch_main},
        {"whoami", "say who the access token belongs to", whoami_main},
        {"login", "store an access token", login_main},
        {"logout", "remove stored access tokens", logout_main},
        {0}};
    static const struct family f = {"lmhub", "the Hugging Face Hub, or a server like it", subs,
                                    NULL};
    return tool_dispatch(&f, argc, argv);
}
