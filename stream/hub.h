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
#include "base/hash.h"
#include "base/log.h"
#include "stream/http.h"
#include "stream/source.h"

struct hub {
    char *endpoint; /* "https://huggingface.co", without a slash at the end */
    char *token;    /* or NULL; goes to the endpoint's origin only          */
    bool offline;
    char *home;  /* $HF_HOME: token, stored_tokens */
    char *cache; /* huggingface_hub's cache of repositories ($HF_HOME/hub) */
    bool no_symlinks;
    struct http *http;
    const struct log *log;
};

/* From the environment: HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH,
 * $HF_HOME/token; HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_DISABLE_SYMLINKS, HF_HUB_DOWNLOAD_TIMEOUT;
 * SSL_CERT_FILE. */
int hub_env(struct hub *ret, const struct log *log, struct err *err);
/* The same with a token that is given, not looked for, and certificates to trust besides the
 * environment's; each may be NULL. */
int hub_env_with(struct hub *ret, const char *token, const char *ca_file, const struct log *log,
                 struct err *err);
void hub_release(struct hub *h);
/* Whether HF_TOKEN (or its older name) is set: it wins over the files that login writes. */
bool hub_token_is_from_environment(void);

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
    char *sha256;       /* of a large file; else NULL                                  */
    char blob[GIT_HEX]; /* git's name of it (of a large file: of its pointer), or ""   */
};
struct hub_list {
    char commit[64];
    bool whole; /* all there is: no path was named, nothing was taken out */
    struct hub_entry *v;
    size_t n, cap;
};
/* All files of the repository at the revision whose path matches ref->path, in byte order; follows
 * every page. Offline: those in the cache. A missing, private or gated repository, a missing
 * revision and a bad token each have their own message (ERR_NET). */
int hub_list(struct hub_list *ret, const struct hub *h, const struct hub_ref *ref, struct err *err);
void hub_list_release(struct hub_list *l);
/* The address a file is fetched from: endpoint/…/resolve/COMMIT/path, escaped; malloc'd. */
char *hub_file_url(const struct hub *h, const struct hub_ref *ref, const char *commit,
                   const char *path);

/* True if a name from a server may become a file below a folder of ours, by the rules of every
 * system: no absolute or drive path, no "..", no backslash, no control characters. */
bool hub_safe_path(const char *path);

/* dir/.cache/huggingface, made if it is missing, malloc'd: for what belongs beside the files of
 * `dir` but into no repository. Pushes leave it out, those of huggingface_hub as well, and its
 * .gitignore hides it from git, which is how huggingface_hub sets it up. ERR_IO. */
int hub_beside(char **ret, const char *dir, struct err *err);

struct hub_got {
    uint64_t files, bytes; /* fetched                                    */
    uint64_t kept;         /* files that were there already, by sha256   */
};
/* Fetches the files of `l` into `dir`, each checked against its digest, `threads` at a time. A file
 * that is there already with its digest is kept, and one that was fetched in part goes on where it
 * stopped (dir/.cache/huggingface/download, as huggingface_hub's local_dir). ERR_DATA for an unsafe
 * path, before anything is fetched; ERR_CORRUPT with both digests. */
int hub_get(const struct hub *h, const struct hub_ref *ref, const struct hub_list *l,
            const char *dir, int threads, const struct log *log, struct hub_got *ret,
            struct err *err);
/* The same into huggingface_hub's cache; *ret_snapshot (malloc'd) is the folder with links to the
 * files. */
int hub_cache_get(const struct hub *h, const struct hub_ref *ref, const struct hub_list *l,
                  int threads, const struct log *log, struct hub_got *ret, char **ret_snapshot,
                  struct err *err);
/* The path of a file that is in the cache at that commit; malloc'd, NULL if it is not. */
char *hub_cached(const struct hub *h, const struct hub_ref *ref, const char *commit,
                 const char *path);
/* The bytes of a file: from the cache, else from the Hub (checked, http_feed). */
int hub_open(const struct hub *h, const struct hub_ref *ref, const char *commit,
             const struct hub_entry *e, struct feed *ret, struct err *err);

#endif
