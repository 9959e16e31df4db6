/* What the commands of lmhub share. Each asks a Hub, most of them about one repository:
 *
 *     struct asking a = {0};
 *     struct opt opts[] = {…, LMHUB_CACERT(&a), {0}};
 *     struct program p = {…, .opts = opts};
 *     int rc = asking_begin(&a, &p, argc, argv);
 *     if (rc == 0) rc = asking_about(&a, operand);
 *     …
 *     return asking_end(&a, rc);                                                         */
#ifndef LORY_TOOLS_LMHUB_H
#define LORY_TOOLS_LMHUB_H

#include <stdio.h>
#include "stream/hub.h"
#include "tools/common.h"

struct asking {
    struct tool t;
    const char *cacert;
    struct hub hub;
    struct hub_ref ref; /* the repository; empty until asking_about() */
};

#define LMHUB_CACERT(a)                                                                            \
    {                                                                                              \
        "cacert", 0, OPT_STR, &(a)->cacert, "FILE",                                                \
            "certificates to trust (default: SSL_CERT_FILE)", .sensitive = true                    \
    }
/* A paragraph of help: where the token comes from and goes, what else of the environment counts. */
extern const char lmhub_environment[];

/* tool_begin(), and signals end things in good order. `a` stays where it is until asking_end(). */
int asking_begin(struct asking *a, const struct program *p, int argc, char **argv);
/* Makes ready to ask; `token` NULL: the one that is looked for (hub_env_with). */
int asking_hub(struct asking *a, const char *token);
/* The same about the repository `named`, "hf://…" (NULL: a mistake of usage). */
int asking_about(struct asking *a, const char *named);
/* The operand if there are `least` to `most` of them, else NULL. */
const char *asking_operand(const struct asking *a, size_t i, size_t least, size_t most);
/* Frees all and ends the program: its exit code. */
int asking_end(struct asking *a, int rc);

/* A line on stdout with a name that a server sent: control characters only as JSON escapes. */
void print_name(FILE *to, const char *name);

/* The commands. */
int lmhub_ls(int argc, char **argv), lmhub_get(int argc, char **argv),
    lmhub_cat(int argc, char **argv);
int lmhub_push(int argc, char **argv), lmhub_merge(int argc, char **argv);
int lmhub_create(int argc, char **argv), lmhub_branch(int argc, char **argv);
int lmhub_whoami(int argc, char **argv), lmhub_login(int argc, char **argv);
int lmhub_logout(int argc, char **argv);

#endif
