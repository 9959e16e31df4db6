/* lmhub create, branch: repositories and their branches. */
#include <stdlib.h>
#include <string.h>
#include "stream/hub_repo.h"
#include "tools/lmhub.h"

/* ------------------------------------------------------------------ create */

struct making {
    const char *type, *organization;
    bool secret, exist_ok;
};

/* a->ref from NAME, --type and --organization, or from a whole hf://… */
static int name_repo(struct asking *a, const struct making *m) {
    const char *named = asking_operand(a, 0, 1, 1);
    struct buf name = {0};
    struct err *err = &a->t.err;
    if (!named) return err_set(err, ERR_USAGE, "name one repository to make");
    bool whole = !strncmp(named, "hf://", 5);
    if (whole && m->organization)
        return err_set(err, ERR_USAGE, "--organization and hf://NAMESPACE/NAME say the same");
    int rc = 0;
    if (!whole)
        rc = buf_printf(&name, err, "hf://%s%s%s", strcmp(m->type, "dataset") ? "" : "datasets/",
                        m->organization ? m->organization : "", m->organization ? "/" : "");
    if (rc == 0) rc = buf_str(&name, named, err);
    if (rc == 0)
        rc = buf_cstr(&name) ? hub_ref_parse(&a->ref, name.v, err) : err_nomem(err, name.n);
    buf_release(&name);
    return rc;
}

static int create(struct asking *a, const struct making *m) {
    bool made = false;
    char *url = NULL;
    int rc = name_repo(a, m);
    if (rc == 0) rc = asking_hub(a, NULL);
    if (rc == 0) rc = hub_create(&a->hub, &a->ref, m->secret, m->exist_ok, &made, &url, &a->t.err);
    if (rc == 0) {
        print_name(tool_out(&a->t), url ? url : a->ref.repo);
        log_info(&a->t.log, "%s: %s", a->ref.repo, made ? "made" : "was there");
    }
    free(url);
    return rc;
}

int lmhub_create(int argc, char **argv) {
    struct making m = {.type = "model"};
    struct asking a = {0};
    struct opt opts[] = {
        {"type", 0, OPT_CHOICE, &m.type, "TYPE", "what it holds", "model|dataset"},
        {"organization", 0, OPT_STR, &m.organization, "ORG", "whose it is (default: yours)"},
        {"private", 0, OPT_FLAG, &m.secret, NULL, "only its owners see it"},
        {"exist-ok", 0, OPT_FLAG, &m.exist_ok, NULL, "fine if it exists already"},
        LMHUB_CACERT(&a),
        {0}};
    struct program p = {.name = "lmhub create",
                        .summary = "make a repository",
                        .usage = "NAME [--type model|dataset] [--organization ORG] [--private]",
                        .text = lmhub_environment,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = create(&a, &m);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ branch */

static int list_branches(struct asking *a) {
    struct strs v = {0};
    int rc = hub_branches(&a->hub, &a->ref, &v, &a->t.err);
    cJSON *o = rc == 0 && a->t.json ? cJSON_CreateObject() : NULL;
    for (size_t i = 0; rc == 0 && i + 1 < v.n; i += 2) {
        if (o)
            cJSON_AddStringToObject(o, v.v[i], v.v[i + 1]);
        else {
            fprintf(tool_out(&a->t), "%.40s  ", v.v[i + 1]);
            print_name(tool_out(&a->t), v.v[i]);
        }
    }
    if (o) rc = tool_print_json(&a->t, o);
    strs_release(&v);
    return rc;
}

struct branching {
    const char *from;
    bool remove, exist_ok;
};

static int branch(struct asking *a, const struct branching *b) {
    const char *name = asking_operand(a, 1, 2, 2);
    int rc = asking_about(a, asking_operand(a, 0, 1, 2));
    if (rc < 0) return rc;
    if (!name) return list_branches(a);
    if (b->remove) return hub_branch_delete(&a->hub, &a->ref, name, &a->t.err);
    return hub_branch_create(&a->hub, &a->ref, name, b->from, b->exist_ok, &a->t.err);
}

int lmhub_branch(int argc, char **argv) {
    struct branching b = {0};
    struct asking a = {0};
    struct opt opts[] = {
        {"from", 0, OPT_STR, &b.from, "REVISION", "where the new branch begins (default: main)"},
        {"delete", 0, OPT_FLAG, &b.remove, NULL, "remove the branch"},
        {"exist-ok", 0, OPT_FLAG, &b.exist_ok, NULL, "fine if it exists already"},
        LMHUB_CACERT(&a),
        {0}};
    struct program p = {.name = "lmhub branch",
                        .summary = "list the branches of a repository, make or remove one",
                        .usage = "hf://NAMESPACE/NAME [BRANCH [--from REVISION | --delete]]",
                        .text = lmhub_environment,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = branch(&a, &b);
    return asking_end(&a, rc);
}
