/* The Hugging Face Hub, or any server that speaks its API (reading).
 *
 * The program reads the Hub's own environment (HF_ENDPOINT, HF_TOKEN, HF_HOME …) in one place,
 * hub_env(), and passes the struct down. A revision is pinned to a commit before the first file is
 * read. */
#ifndef LORY_STREAM_HUB_H
#define LORY_STREAM_HUB_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "stream/http.h"
#include "stream/source.h"

struct hub {
    char *endpoint; /* "https://huggingface.co", without a slash at the end */
    char *token;    /* or NULL; goes to the endpoint's origin only          */
    bool offline;
    struct http *http;
};

/* From the environment: HF_ENDPOINT; HF_TOKEN, HF_TOKEN_PATH, $HF_HOME/token; HF_HUB_OFFLINE. */
int hub_env(struct hub *ret, const char *user_agent, const struct log *log, struct err *err);
void hub_release(struct hub *h);

/* "hf://datasets/me/set@rev/data/…" taken apart; strings malloc'd. ERR_USAGE if it is not that. */
struct hub_ref {
    bool dataset;
    char *repo;     /* "me/set"           */
    char *revision; /* "main" by default  */
    char *path;     /* path, folder or glob inside; "" for everything */
};
int hub_ref_parse(struct hub_ref *ret, const char *text, struct err *err);
void hub_ref_release(struct hub_ref *r);

struct hub_entry {
    char *path;
    uint64_t bytes;
    char *sha256; /* of a large file; else NULL */
};
struct hub_list {
    char commit[64];
    struct hub_entry *v;
    size_t n, cap;
};
/* All files of the repository at the revision whose path matches ref->path, in byte order; follows
 * every page. A missing, private or gated repository, a missing revision and a bad token each have
 * their own message (ERR_NET). */
int hub_list(struct hub_list *ret, const struct hub *h, const struct hub_ref *ref, struct err *err);
void hub_list_release(struct hub_list *l);
/* The address a file is fetched from: endpoint/…/resolve/COMMIT/path, escaped; malloc'd. */
char *hub_file_url(const struct hub *h, const struct hub_ref *ref, const char *commit,
                   const char *path);

/* True if a name from a server may become a file below a folder of ours, by the rules of every
 * system: no absolute or drive path, no "..", no backslash, no control characters. */
bool hub_safe_path(const char *path);

struct hub_got {
    uint64_t files, bytes; /* fetched                                    */
    uint64_t kept;         /* files that were there already, by sha256   */
};
/* Fetches the files of `l` into `dir`, each atomically and checked against its sha256, `threads` at
 * a time. A file that is there already with that sha256 is kept, so a second call goes on where the
 * first was stopped. ERR_DATA for an unsafe path, before anything is fetched. */
int hub_get(const struct hub *h, const struct hub_ref *ref, const struct hub_list *l,
            const char *dir, int threads, const struct log *log, struct hub_got *ret,
            struct err *err);

#endif
