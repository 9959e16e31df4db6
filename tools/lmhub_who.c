/* lmhub whoami, login, logout: whose token it is, and where it is kept. */
#include <ctype.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "base/json.h"
#include "stream/hub_repo.h"
#include "tools/lmhub.h"

/* ------------------------------------------------------------------ whoami */

static cJSON *who_tree(const cJSON *answer, const char *name, const char *endpoint) {
    cJSON *out = cJSON_CreateObject();
    const cJSON *o;
    cJSON_AddStringToObject(out, "name", name);
    cJSON_AddStringToObject(out, "endpoint", endpoint);
    cJSON *orgs = cJSON_AddArrayToObject(out, "organizations");
    cJSON_ArrayForEach(o, json_get(answer, "orgs")) {
        const char *org = NULL;
        if (cJSON_IsObject(o) && json_str(o, "name", &org, "", NULL) == 0 && org)
            cJSON_AddItemToArray(orgs, cJSON_CreateString(org));
    }
    return out;
}

static int whoami(struct asking *a) {
    cJSON *answer = NULL;
    const char *name = NULL;
    int rc = asking_hub(a, NULL);
    if (rc == 0) rc = hub_whoami(&a->hub, &answer, &a->t.err);
    if (rc == 0) json_str(answer, "name", &name, "", NULL);
    if (rc == 0 && a->t.json)
        rc = tool_print_json(&a->t, who_tree(answer, name, a->hub.endpoint));
    else if (rc == 0)
        print_name(tool_out(&a->t), name);
    cJSON_Delete(answer);
    return rc;
}

int lmhub_whoami(int argc, char **argv) {
    struct asking a = {0};
    struct opt opts[] = {LMHUB_CACERT(&a), {0}};
    struct program p = {.name = "lmhub whoami",
                        .summary = "say who the access token belongs to",
                        .usage = "[OPTIONS]",
                        .text = lmhub_environment,
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = whoami(&a);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ login */

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

static int login(struct asking *a, const char *name) {
    char token[512];
    cJSON *who = NULL;
    const char *user = NULL;
    struct tool *t = &a->t;
    int rc = read_token(token, sizeof token, &t->err);
    /* Asked with the new token, whatever the environment has. */
    if (rc == 0) rc = asking_hub(a, token);
    if (rc == 0) rc = hub_whoami(&a->hub, &who, &t->err);
    if (rc == 0) rc = hub_login(&a->hub, name ? name : token_name(who), token, &t->err);
    explicit_bzero(token, sizeof token);
    if (rc == 0) {
        json_str(who, "name", &user, "", NULL);
        log_info(&t->log, "logged in as %s at %s", user, a->hub.endpoint);
        if (hub_token_is_from_environment())
            log_warn(&t->log, "HF_TOKEN is set, and wins over what was stored now");
    }
    cJSON_Delete(who);
    return rc;
}

int lmhub_login(int argc, char **argv) {
    const char *name = NULL;
    struct asking a = {0};
    struct opt opts[] = {{"name", 0, OPT_STR, &name, "NAME",
                          "what stored_tokens calls it (default: the Hub's name)"},
                         LMHUB_CACERT(&a),
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
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = login(&a, name);
    return asking_end(&a, rc);
}

/* ------------------------------------------------------------------ logout */

static int logout(struct asking *a) {
    int removed = 0, rc = 0;
    if (a->t.operands->n > 1) rc = err_set(&a->t.err, ERR_USAGE, "name one token, or none for all");
    if (rc == 0) rc = asking_hub(a, NULL);
    if (rc == 0) rc = hub_logout(&a->hub, asking_operand(a, 0, 1, 1), &removed, &a->t.err);
    if (rc < 0) return rc;
    log_info(&a->t.log, "%s", removed ? "logged out" : "nobody was logged in");
    if (hub_token_is_from_environment())
        log_warn(&a->t.log, "HF_TOKEN is still set in the environment");
    return 0;
}

int lmhub_logout(int argc, char **argv) {
    struct asking a = {0};
    struct opt opts[] = {{0}};
    struct program p = {.name = "lmhub logout",
                        .summary = "remove stored access tokens",
                        .usage = "[NAME]",
                        .text = "Without NAME all of them, else the one of that name.",
                        .opts = opts};
    int rc = asking_begin(&a, &p, argc, argv);
    if (rc == 0) rc = logout(&a);
    return asking_end(&a, rc);
}
