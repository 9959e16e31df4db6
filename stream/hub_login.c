/* Who asks, and the token files, which are huggingface_hub's own:
 *
 *   $HF_HOME/token           the active one, alone
 *   $HF_HOME/stored_tokens   INI: [name] / hf_token = …; other keys of a section are kept
 *
 * Both 0600, written whole or not at all. A token is never part of a message. */
#include "stream/hub_repo.h"
#include "stream/hub_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include "base/file.h"

enum { TOKENS_BYTES = 1 << 20 };

int hub_whoami(const struct hub *h, cJSON **ret, struct err *err) {
    struct buf url = {0};
    struct http_reply reply = {0};
    *ret = NULL;
    if (!h->token)
        return err_set(err, ERR_NET, "%s: nobody: set HF_TOKEN, or use lmhub login", h->endpoint);
    int rc = buf_printf(&url, err, "%s/api/whoami-v2", h->endpoint);
    if (rc == 0 && !buf_cstr(&url)) rc = err_nomem(err, url.n);
    if (rc == 0) rc = hub_question(h, &(struct hub_question){.url = url.v}, ret, &reply, err);
    if (rc == ERR_NET && reply.status == 401)
        err_set(err, rc, "%s: the access token is not valid; check HF_TOKEN, or lmhub login",
                h->endpoint);
    const char *name = NULL;
    if (rc == 0 && (!cJSON_IsObject(*ret) || json_str(*ret, "name", &name, "", NULL) < 0 || !name))
        rc = err_set(err, ERR_NET, "%s: does not say who the token belongs to", h->endpoint);
    if (rc < 0) {
        cJSON_Delete(*ret);
        *ret = NULL;
    }
    http_reply_release(&reply);
    buf_release(&url);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* A secret appears whole under its name, and nobody else may read it at any time. */
static int write_secret(const char *path, const struct buf *text, struct err *err) {
    struct buf temp = {0};
    char *dir = path_dir(path);
    int rc = dir ? file_mkdirs(dir, err) : err_nomem(err, strlen(path));
    if (rc == 0) rc = buf_printf(&temp, err, "%s.tmp-%ld", path, (long)getpid());
    if (rc == 0 && !buf_cstr(&temp)) rc = err_nomem(err, temp.n);
    if (rc == 0) {
        unlink(temp.v);
        int fd = open(temp.v, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            rc = err_errno(err, "%s", temp.v);
        else {
            if (write(fd, text->v, text->n) != (ssize_t)text->n || fsync(fd) < 0)
                rc = err_errno(err, "%s", temp.v);
            close(fd);
        }
        if (rc == 0 && rename(temp.v, path) < 0) rc = err_errno(err, "%s", path);
        if (rc < 0) unlink(temp.v);
    }
    if (rc == 0 && chmod(dir, 0700) < 0) rc = 0; /* a shared folder may not be ours */
    buf_release(&temp);
    free(dir);
    return rc;
}

static void wipe(struct buf *b) {
    if (b->v) explicit_bzero(b->v, b->cap);
    buf_release(b);
}

/* stored_tokens' text; empty if there is none. */
static int read_stored(const char *path, struct buf *out, struct err *err) {
    if (file_kind(path) == FILE_NONE) return 0;
    return file_read(path, TOKENS_BYTES, out, err);
}

/* Appends `text` without the section of `name`; *found says whether there was one. The section's
 * hf_token goes to *token (malloc'd), if `token` is not NULL. */
static int without_section(const struct buf *text, const char *name, struct buf *out, bool *found,
                           char **token, struct err *err) {
    bool inside = false;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < text->n;) {
        const char *line = text->v + at, *nl = memchr(line, '\n', text->n - at);
        size_t n = nl ? (size_t)(nl - line) + 1 : text->n - at;
        const char *close = *line == '[' ? memchr(line, ']', n) : NULL;
        if (close) {
            size_t len = (size_t)(close - line) - 1;
            inside = len == strlen(name) && !memcmp(line + 1, name, len);
            *found |= inside;
        }
        if (inside && token && !*token && n > 8 && !memcmp(line, "hf_token", 8)) {
            const char *v = memchr(line, '=', n), *end = line + n;
            for (v = v ? v + 1 : end; v < end && isspace((unsigned char)*v);) v++;
            while (end > v && isspace((unsigned char)end[-1])) end--;
            *token = strndup(v, (size_t)(end - v));
        }
        if (!inside) rc = buf_append(out, line, n, err);
        at += n;
    }
    return rc;
}

static char *stored_path(const struct hub *h) {
    char *token = hub_token_path(h), *dir = token ? path_dir(token) : NULL;
    char *path = dir ? path_join(dir, "stored_tokens") : NULL;
    free(token);
    free(dir);
    return path;
}

int hub_login(const struct hub *h, const char *name, const char *token, struct err *err) {
    char *path = hub_token_path(h), *stored = stored_path(h);
    struct buf text = {0}, more = {0}, alone = {0};
    bool found = false;
    int rc = 0;
    if (!path || !stored)
        rc = err_set(err, ERR_USAGE, "there is no place for a token: set HF_HOME");
    else if (!*name || name[strcspn(name, "[]\r\n")] || !*token || token[strcspn(token, "\r\n ")])
        rc = err_set(err, ERR_USAGE, "a token, or its name, has characters that cannot be in one");
    if (rc == 0) rc = read_stored(stored, &text, err);
    if (rc == 0) rc = without_section(&text, name, &more, &found, NULL, err);
    if (rc == 0 && more.n && more.v[more.n - 1] != '\n') rc = buf_char(&more, '\n', err);
    if (rc == 0) rc = buf_printf(&more, err, "[%s]\nhf_token = %s\n\n", name, token);
    if (rc == 0) rc = write_secret(stored, &more, err);
    if (rc == 0) rc = buf_str(&alone, token, err);
    if (rc == 0) rc = write_secret(path, &alone, err);
    wipe(&text);
    wipe(&more);
    wipe(&alone);
    free(path);
    free(stored);
    return rc;
}

/* Removes a file; counts it. */
static int remove_file(const char *path, int *removed, struct err *err) {
    if (unlink(path) == 0)
        ++*removed;
    else if (errno != ENOENT)
        return err_errno(err, "%s", path);
    return 0;
}

/* One name: its section goes, and the active token if it is the same. */
static int logout_name(const char *path, const char *stored, const char *name, int *removed,
                       struct err *err) {
    struct buf text = {0}, rest = {0}, active = {0};
    char *token = NULL;
    bool found = false;
    int rc = read_stored(stored, &text, err);
    if (rc == 0) rc = without_section(&text, name, &rest, &found, &token, err);
    if (rc == 0 && !found)
        rc = err_set(err, ERR_USAGE, "there is no stored token named \"%s\"", name);
    if (rc == 0) rc = write_secret(stored, &rest, err);
    if (rc == 0) ++*removed;
    if (rc == 0 && token && file_read(path, TOKENS_BYTES, &active, NULL) == 0) {
        while (active.n && isspace((unsigned char)active.v[active.n - 1])) active.n--;
        if (active.n == strlen(token) && !memcmp(active.v, token, active.n))
            rc = remove_file(path, removed, err);
    }
    if (token) explicit_bzero(token, strlen(token));
    free(token);
    wipe(&text);
    wipe(&rest);
    wipe(&active);
    return rc;
}

int hub_logout(const struct hub *h, const char *name, int *ret_removed, struct err *err) {
    char *path = hub_token_path(h), *stored = stored_path(h);
    int rc = 0;
    *ret_removed = 0;
    if (!path || !stored)
        rc = err_set(err, ERR_USAGE, "there is no place for a token: set HF_HOME");
    else if (name)
        rc = logout_name(path, stored, name, ret_removed, err);
    else {
        rc = remove_file(path, ret_removed, err);
        if (rc == 0) rc = remove_file(stored, ret_removed, err);
    }
    free(path);
    free(stored);
    return rc;
}
