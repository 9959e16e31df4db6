/* A run of lmtrain to the Hub: see push_run.h. */
#include "tools/push_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/signals.h"
#include "tokenizer/tokenizer.h"
#include "train/checkpoint.h"
#include "tools/common.h"

/* What of a checkpoint makes a model that others load, besides its tokenizer; the optimizer stays
 * at home. */
static const char *const model_files[] = {"config.json", "generation_config.json",
                                          "model.safetensors", "trainer_state.json"};
static const char *const run_files[] = {"train_results.json", "eval_results.json",
                                        "all_results.json"};
enum {
    MODEL_FILES = sizeof model_files / sizeof *model_files,
    RUN_FILES = sizeof run_files / sizeof *run_files
};
static const char final_title[] = "final model";

bool push_is_run(const char *dir) {
    static const char mark[] = "# lmtrain run";
    struct u64s steps = {0};
    char head[sizeof mark] = "", *path = path_join(dir, "log.txt");
    FILE *f = path ? fopen(path, "re") : NULL;
    size_t n = f ? fread(head, 1, sizeof mark - 1, f) : 0;
    if (f) fclose(f);
    free(path);
    bool is = n == sizeof mark - 1 && !strcmp(head, mark);
    if (!is && checkpoint_list(dir, &steps, NULL) == 0) is = steps.n > 0;
    u64s_release(&steps);
    return is;
}

char *push_journal(const char *dir) {
    char *beside = NULL;
    hub_beside(&beside, dir, NULL);
    char *journal = beside ? path_join(beside, "lory-push.journal") : NULL;
    free(beside);
    return journal;
}

int push_prepare(const struct hub *h, const struct hub_ref *ref, bool secret, const struct log *log,
                 struct err *err) {
    char commit[HUB_COMMIT_BYTES];
    enum hub_there there;
    bool made = false;
    if (!h->token)
        return err_set(err, ERR_NET,
                       "%s: pushing needs an access token: set HF_TOKEN, or use "
                       "lmhub login",
                       h->endpoint);
    int rc = hub_head(h, ref, commit, &there, err);
    if (rc == 0 && there == HUB_NO_REPOSITORY) {
        rc = hub_create(h, ref, secret, true, &made, NULL, err);
        if (rc == 0 && made) log_info(log, "%s: made at %s", ref->repo, h->endpoint);
        if (rc == 0) rc = hub_head(h, ref, commit, &there, err);
    }
    if (rc == 0 && there == HUB_NO_REVISION)
        rc = hub_branch_create(h, ref, ref->revision, NULL, true, err);
    return rc;
}

/* ------------------------------------------------------------------ the branch's name */

static void make_name(char *ret, size_t n, const char *dir) {
    static const char *const how[] = {
        "amber",  "brave", "brisk",  "calm",   "clear",  "coral",  "crisp", "dusky",  "eager",
        "early",  "fleet", "fresh",  "gentle", "glad",   "golden", "happy", "hazel",  "ivory",
        "jolly",  "keen",  "lively", "lucky",  "mellow", "merry",  "misty", "nimble", "noble",
        "olive",  "proud", "quick",  "quiet",  "rapid",  "ruby",   "sandy", "silver", "snowy",
        "steady", "sunny", "swift",  "tidy",   "vivid",  "warm",   "wise",  "witty"};
    static const char *const what[] = {
        "badger",  "beech",  "birch",  "brook", "cedar",  "cliff",  "comet",  "crane",  "delta",
        "dune",    "ember",  "falcon", "fern",  "finch",  "fjord",  "forest", "grove",  "harbor",
        "heron",   "island", "lark",   "lory",  "maple",  "meadow", "moss",   "oak",    "ocean",
        "otter",   "owl",    "pebble", "pine",  "plover", "reef",   "ridge",  "river",  "robin",
        "sparrow", "spruce", "summit", "swan",  "thrush", "tundra", "valley", "willow", "wren"};
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed = (uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec ^ (uint64_t)getpid();
    uint64_t x = xxh64_bytes(dir, strlen(dir), seed);
    snprintf(ret, n, "%s-%s-%u", how[x % (sizeof how / sizeof *how)],
             what[(x >> 20) % (sizeof what / sizeof *what)], (unsigned)((x >> 40) % 100));
}

/* {"endpoint repo": branch} of run/.push.json. */
static char *known_name(const char *path, const char *key) {
    cJSON *tree = NULL;
    const char *name = NULL;
    if (file_kind(path) == FILE_REGULAR && json_load(&tree, path, NULL) == 0 &&
        cJSON_IsObject(tree))
        json_str(tree, key, &name, "", NULL);
    char *copy = name && *name ? strdup(name) : NULL;
    cJSON_Delete(tree);
    return copy;
}

static void remember_name(const char *path, const char *key, const char *name,
                          const struct log *log) {
    cJSON *tree = NULL;
    struct err err = {0};
    if (file_kind(path) == FILE_REGULAR) json_load(&tree, path, NULL);
    if (!cJSON_IsObject(tree)) {
        cJSON_Delete(tree);
        tree = cJSON_CreateObject();
    }
    cJSON_DeleteItemFromObjectCaseSensitive(tree, key);
    cJSON_AddStringToObject(tree, key, name);
    if (tool_json_whole(tree, &err) < 0 || json_save(path, tree, true, &err) < 0)
        log_warn(log, "%s; name the branch with --run-name next time", err.msg);
    cJSON_Delete(tree);
}

/* --run-name, else @BRANCH, else the one this run has there, else a new one. */
static int choose_branch(const struct hub *h, struct hub_ref *ref, const struct push_run *r,
                         const struct log *log, struct err *err) {
    struct buf key = {0};
    char made[64], *path = path_join(r->dir, ".push.json");
    int rc = path ? buf_printf(&key, err, "%s %s", h->endpoint, ref->repo) : err_nomem(err, 0);
    if (rc == 0 && !buf_cstr(&key)) rc = err_nomem(err, key.n);
    char *known = rc == 0 ? known_name(path, key.v) : NULL;
    const char *name = r->name ? r->name : strcmp(ref->revision, "main") ? ref->revision : known;
    if (rc == 0 && !name) {
        make_name(made, sizeof made, r->dir);
        name = made;
    }
    char *copy = rc == 0 ? strdup(name) : NULL;
    if (rc == 0 && !copy) rc = err_nomem(err, 0);
    if (rc == 0) {
        free(ref->revision);
        ref->revision = copy;
        if (!known || strcmp(known, copy)) remember_name(path, key.v, copy, log);
    }
    free(known);
    free(path);
    buf_release(&key);
    return rc;
}

/* ------------------------------------------------------------------ one commit */

/* Files of `from` by hard links in a folder of our own: pruning cannot take them away while they
 * are sent. Where links cannot be made, the files themselves are named. */
static int stage(struct hub_changes *c, const char *from, const char *staged,
                 const char *const *names, size_t n, struct err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *file = path_join(from, names[i]), *whole = file ? realpath(file, NULL) : NULL;
        char *copy = path_join(staged, names[i]);
        if (!file || !copy)
            rc = err_nomem(err, strlen(from));
        else if (whole && file_kind(whole) == FILE_REGULAR) {
            unlink(copy);
            bool linked = link(whole, copy) == 0;
            rc = hub_changes_file(c, names[i], linked ? copy : whole, err);
        }
        free(file);
        free(whole);
        free(copy);
    }
    return rc;
}

/* The files in a folder of `from`. */
static int stage_folder(struct hub_changes *c, const char *from, const char *staged,
                        const char *folder, struct err *err) {
    struct strs names = {0};
    char *dir = path_join(from, folder), *copies = path_join(staged, folder);
    int rc = dir && copies ? file_list(dir, &names, err) : err_nomem(err, strlen(from));
    if (rc == 0) rc = file_mkdirs(copies, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        char *name = path_join(folder, names.v[i]);
        rc = name ? stage(c, from, staged, (const char *const *)&name, 1, err) : err_nomem(err, 0);
        free(name);
    }
    strs_release(&names);
    free(dir);
    free(copies);
    return rc;
}

static int stage_tokenizer(struct hub_changes *c, const char *from, const char *staged,
                           struct err *err) {
    int rc = 0;
    for (const char *const *name = tokenizer_files; rc == 0 && *name; name++) {
        char *path = path_join(from, *name);
        if (!path)
            rc = err_nomem(err, strlen(from));
        else
            rc = file_kind(path) == FILE_FOLDER ? stage_folder(c, from, staged, *name, err)
                                                : stage(c, from, staged, name, 1, err);
        free(path);
    }
    return rc;
}

/* What the whole run has: its curve, and the event files that the Hub draws. */
static int add_run_files(struct hub_changes *c, const char *run, struct err *err) {
    struct strs names = {0};
    int rc = file_list(run, &names, err);
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        const char *name = names.v[i];
        bool events = !strncmp(name, "events.out.tfevents.", 20);
        char *path = events || !strcmp(name, "metrics.jsonl") ? path_join(run, name) : NULL;
        char *to = events ? path_join("runs", name) : strdup(name);
        struct buf text = {0};
        /* These grow while we read: what is sent is what was read. */
        if (path && to) rc = file_read(path, UINT64_C(1) << 30, &text, err);
        if (path && to && rc == 0) rc = hub_changes_text(c, to, text.v, text.n, err);
        buf_release(&text);
        free(path);
        free(to);
    }
    strs_release(&names);
    return rc;
}

/* Whether README.md on the branch is somebody's own. */
static int card_is_ours(const struct hub *h, const struct hub_ref *ref, bool *ours,
                        struct err *err) {
    struct http_reply reply = {0};
    char *url = hub_file_url(h, ref, ref->revision, "README.md");
    int rc = url ? http_get(h->http, url, 1 << 24, &reply, err) : err_nomem(err, 0);
    *ours = true;
    if (rc == 0)
        *ours = reply.body.n && memmem(reply.body.v, reply.body.n, CARD_MARK, strlen(CARD_MARK));
    else if (rc == ERR_NET && reply.status == 404)
        rc = 0;
    http_reply_release(&reply);
    free(url);
    return rc;
}

/* What the branch has: read once, then kept up by our own commits. */
struct branch {
    char head[HUB_COMMIT_BYTES];
    struct strs titles; /* oldest first */
};

struct job {
    const struct hub *h;
    struct hub_ref *ref;
    const struct push_run *r;
    const struct log *log;
    struct hub_pushed *total;
    struct branch branch;
    char *staged; /* run/.push.tmp-PID */
    bool card;    /* README.md is ours */
};

static void count(struct hub_pushed *total, const struct hub_pushed *one) {
    total->commits += one->commits;
    total->files += one->files;
    total->unchanged += one->unchanged;
    total->ignored += one->ignored;
    total->stored += one->stored;
    total->bytes += one->bytes;
}

/* The model in `dir` as one commit on top of the branch as it was read; step 0: the final one.
 * *moved: something else has come on top of it, and nothing was made. */
static int push_model(struct job *j, const char *dir, uint64_t step, const char *title, bool *moved,
                      struct err *err) {
    struct hub_changes c = {0};
    struct hub_pushed one = {0};
    struct buf card = {0};
    char *journal = push_journal(j->r->dir);
    int rc = file_mkdirs(j->staged, err);
    if (rc == 0) rc = stage(&c, dir, j->staged, model_files, MODEL_FILES, err);
    if (rc == 0) rc = stage_tokenizer(&c, dir, j->staged, err);
    if (rc == 0 && !c.n) rc = err_set(err, ERR_IO, "%s: is not there any more", dir);
    if (rc == 0 && !step) rc = stage(&c, j->r->dir, j->staged, run_files, RUN_FILES, err);
    if (rc == 0) rc = add_run_files(&c, j->r->dir, err);
    if (rc == 0 && j->card) {
        rc = card_write(&card, j->r->dir, dir, j->ref->repo, j->ref->revision, step, err);
        if (rc == 0) rc = hub_changes_text(&c, "README.md", card.v, card.n, err);
    }
    const struct hub_push_opts opts = {.summary = title,
                                       .journal = journal,
                                       .head = j->branch.head,
                                       .threads = j->r->threads,
                                       .log = j->log};
    if (rc == 0) rc = hub_push(j->h, j->ref, &c, &opts, &one, err);
    *moved = one.moved;
    if (rc == 0 && !one.moved) {
        count(j->total, &one);
        memcpy(j->branch.head, one.commit, sizeof one.commit);
        rc = strs_push(&j->branch.titles, title, err);
        log_info(j->log, "%s@%s: %s", j->ref->repo, j->ref->revision, title);
    }
    hub_changes_release(&c);
    buf_release(&card);
    free(journal);
    file_remove(j->staged, NULL);
    return rc;
}

/* ------------------------------------------------------------------ the run */

/* Whether a commit of the branch is this one, or the last part of it. */
static bool is_title(const char *text, const char *title) {
    size_t n = strlen(title), part = 0, of = 0;
    if (strncmp(text, title, n)) return false;
    return !text[n] || (sscanf(text + n, " (part %zu of %zu)", &part, &of) == 2 && part == of);
}

/* Step 0, the final model: whether it is the newest. A step: whether it is there at all. */
static bool has_title(const struct branch *b, const char *title, uint64_t step) {
    for (size_t i = 0; i < b->titles.n; i++)
        if (is_title(b->titles.v[i], title) && (step || i + 1 == b->titles.n)) return true;
    return false;
}

static void reverse(struct strs *v) {
    for (size_t i = 0; i < v->n / 2; i++) {
        char *x = v->v[i];
        v->v[i] = v->v[v->n - 1 - i];
        v->v[v->n - 1 - i] = x;
    }
}

static int read_branch(struct job *j, struct err *err) {
    struct branch *b = &j->branch;
    struct hub_ref at = {j->ref->dataset, j->ref->repo, b->head, (char *)""};
    strs_release(&b->titles);
    int rc = hub_head(j->h, j->ref, b->head, NULL, err);
    if (rc == 0) rc = hub_titles(j->h, &at, &b->titles, err);
    if (rc == 0) reverse(&b->titles);
    return rc;
}

/* One commit, unless the branch has it. Another process, here or elsewhere, may push the same run:
 * whatever comes between the look at the branch and our commit is looked at first. */
static int push_once(struct job *j, const char *dir, uint64_t step, const char *title,
                     struct err *err) {
    bool moved = true;
    int rc = 0;
    while (rc == 0 && moved && !has_title(&j->branch, title, step)) {
        rc = push_model(j, dir, step, title, &moved, err);
        if (rc == 0 && moved) rc = read_branch(j, err);
    }
    return rc;
}

static int push_checkpoint(struct job *j, uint64_t step, struct err *err) {
    char title[64], *dir = checkpoint_path(j->r->dir, step);
    struct err bad = {0};
    snprintf(title, sizeof title, "step %llu", (unsigned long long)step);
    int rc = dir ? 0 : err_nomem(err, 0);
    if (rc == 0 && !has_title(&j->branch, title, step)) {
        rc = checkpoint_verify(dir, &bad);
        if (rc == 0) rc = push_once(j, dir, step, title, &bad);
        bool gone = file_kind(dir) != FILE_FOLDER;
        if (rc < 0 && (gone || rc == ERR_CORRUPT)) {
            log_warn(j->log, "%s; \"%s\" is left out", gone ? dir : bad.msg, title);
            rc = 0;
        }
        if (rc < 0 && err) *err = bad;
    }
    free(dir);
    return rc;
}

/* True when the run has reached its last step and its files are in place. */
static bool finished(const char *run, uint64_t newest) {
    uint64_t step = 0, of = 0;
    cJSON *state = NULL;
    char *results = path_join(run, "all_results.json"),
         *model = path_join(run, "model.safetensors");
    char *dir = checkpoint_path(run, newest);
    char *path = dir ? path_join(dir, "trainer_state.json") : NULL;
    bool is = results && model && path && file_kind(results) == FILE_REGULAR &&
              file_kind(model) == FILE_REGULAR && json_load(&state, path, NULL) == 0 &&
              json_u64(state, "global_step", UINT64_MAX >> 11, &step, "", NULL) == 0 &&
              json_u64(state, "max_steps", UINT64_MAX >> 11, &of, "", NULL) == 0 && of &&
              step >= of;
    cJSON_Delete(state);
    free(results);
    free(model);
    free(dir);
    free(path);
    return is;
}

static int push_all(struct job *j, struct err *err) {
    struct u64s steps = {0};
    int rc = read_branch(j, err);
    if (rc == 0) rc = card_is_ours(j->h, j->ref, &j->card, err);
    if (rc == 0) rc = checkpoint_list(j->r->dir, &steps, err);
    for (size_t i = 0; rc == 0 && i < steps.n; i++) {
        if (signals_stop()) rc = err_set(err, ERR_STOPPED, "interrupted; the same command goes on");
        if (rc == 0) rc = push_checkpoint(j, steps.v[i], err);
    }
    if (rc == 0 && steps.n && finished(j->r->dir, steps.v[steps.n - 1]))
        rc = push_once(j, j->r->dir, 0, final_title, err);
    memcpy(j->total->commit, j->branch.head, sizeof j->branch.head);
    u64s_release(&steps);
    strs_release(&j->branch.titles);
    return rc;
}

int push_run(const struct hub *h, struct hub_ref *ref, const struct push_run *r,
             struct hub_pushed *ret, const struct log *log, struct err *err) {
    struct job j = {.h = h, .ref = ref, .r = r, .log = log, .total = ret};
    struct buf staged = {0};
    memset(ret, 0, sizeof *ret);
    if (*ref->path)
        return err_set(err, ERR_USAGE, "a run is pushed to the top of a repository, not to \"%s\"",
                       ref->path);
    int rc = choose_branch(h, ref, r, log, err);
    if (rc == 0) rc = buf_printf(&staged, err, "%s/.push.tmp-%ld", r->dir, (long)getpid());
    if (rc == 0 && !(j.staged = (char *)buf_cstr(&staged))) rc = err_nomem(err, staged.n);
    if (rc == 0) rc = push_prepare(h, ref, r->secret, log, err);
    if (rc == 0) rc = push_all(&j, err);
    buf_release(&staged);
    return rc;
}
