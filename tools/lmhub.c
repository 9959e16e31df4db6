/* lmhub: repositories of the Hub: their files, and files to them; who asks.
 *
 *   lmhub_files.c  ls get cat      lmhub_repo.c  create branch
 *   lmhub_push.c   push merge      lmhub_who.c   whoami login logout */
#include "tools/lmhub.h"

#include <string.h>
#include "base/json.h"
#include "base/signals.h"

const char lmhub_environment[] =
    "HF_TOKEN (or the file $HF_HOME/token, see lmhub login) is sent to HF_ENDPOINT only "
    "(https://huggingface.co). A revision is pinned to its commit first. --cacert or SSL_CERT_FILE "
    "names certificates to trust; http_proxy, https_proxy and no_proxy are honoured. With "
    "HF_HUB_OFFLINE=1 only huggingface_hub's cache is read.";

int asking_begin(struct asking *a, const struct program *p, int argc, char **argv) {
    int rc = tool_begin(&a->t, p, argc, argv);
    if (rc == 0) signals_install();
    return rc;
}

int asking_hub(struct asking *a, const char *token) {
    return hub_env_with(&a->hub, token, a->cacert, &a->t.log, &a->t.err);
}

int asking_about(struct asking *a, const char *named) {
    if (!named)
        return err_set(&a->t.err, ERR_USAGE, "name one repository: hf://datasets/NAMESPACE/NAME");
    int rc = hub_ref_parse(&a->ref, named, &a->t.err);
    return rc < 0 ? rc : asking_hub(a, NULL);
}

const char *asking_operand(const struct asking *a, size_t i, size_t least, size_t most) {
    const struct strs *v = a->t.operands;
    return v->n >= least && v->n <= most && i < v->n ? v->v[i] : NULL;
}

int asking_end(struct asking *a, int rc) {
    hub_ref_release(&a->ref);
    hub_release(&a->hub);
    return tool_end(&a->t, rc);
}

void print_name(FILE *to, const char *name) {
    struct buf b = {0};
    bool odd = false;
    for (const char *p = name; *p; p++) odd |= (unsigned char)*p < 0x20 || *p == 0x7F;
    if (odd && json_quote(&b, name, strlen(name), NULL) == 0) name = buf_cstr(&b);
    fprintf(to, "%s\n", name ? name : "");
    buf_release(&b);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"ls", "list the files of a repository", lmhub_ls},
        {"get", "fetch files of a repository", lmhub_get},
        {"cat", "write files of a repository to stdout", lmhub_cat},
        {"push", "send files to a repository", lmhub_push},
        {"merge", "bring a branch to main", lmhub_merge},
        {"create", "make a repository", lmhub_create},
        {"branch", "list, make or remove branches", lmhub_branch},
        {"whoami", "say who the access token belongs to", lmhub_whoami},
        {"login", "store an access token", lmhub_login},
        {"logout", "remove stored access tokens", lmhub_logout},
        {0}};
    static const struct family f = {"lmhub", "the Hugging Face Hub, or a server like it", subs,
                                    NULL};
    return tool_dispatch(&f, argc, argv);
}
