/* What a push remembers, so that one that was stopped goes on: digests of large files (at the same
 * size and time they need not be counted again) and uploads in parts that were begun.
 *
 *   {"file":"/abs/m.bin","bytes":9,"mtime":17,"sha256":"…"}      one line each, appended;
 *   {"begun":"…sha256…","at":1764000000,"action":{…}}            the last line of a thing wins;
 *   {"part":"…sha256…","n":3,"etag":"\"…\""}                     a line cut off by a crash is
 *   {"stored":"…sha256…"}                                        no line
 *
 * The file is private (0600): an action holds signed addresses. It only saves work; whatever is
 * wrong with it, the push goes on without. It is locked while it is open: of two processes that
 * push the same folder, the second waits, and finds its contents sent. */
#include "stream/hub_push_parts.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"

enum { JOURNAL_BYTES = 8 << 20, ACTION_SECONDS = 12 * 3600 };

struct hub_journal {
    int fd; /* -1: remembers nothing */
    pthread_mutex_t lock;
    cJSON *lines; /* an array of objects */
};

/* A full disk, say: the push itself needs none. */
static void forget(struct hub_journal *j) {
    close(j->fd);
    j->fd = -1;
}

/* False if the file cannot be used. */
static bool read_lines(struct hub_journal *j, const char *path) {
    struct buf text = {0};
    /* Too long: it begins anew. */
    if (file_read(path, JOURNAL_BYTES, &text, NULL) < 0 && ftruncate(j->fd, 0) < 0) return false;
    for (size_t at = 0; at < text.n;) {
        const char *nl = memchr(text.v + at, '\n', text.n - at);
        if (!nl) break;
        cJSON *o = NULL;
        size_t n = (size_t)(nl - (text.v + at));
        if (json_parse(&o, text.v + at, n, path, NULL) == 0 && cJSON_IsObject(o))
            cJSON_AddItemToArray(j->lines, o);
        else
            cJSON_Delete(o);
        at += n + 1;
    }
    /* A line that a crash cut off must not swallow the next one. */
    bool cut = text.n && text.v[text.n - 1] != '\n';
    buf_release(&text);
    return !cut || write(j->fd, "\n", 1) == 1;
}

int hub_journal_open(struct hub_journal **ret, const char *path, const struct log *log,
                     struct err *err) {
    struct hub_journal *j = calloc(1, sizeof *j);
    if (!j) return err_nomem(err, sizeof *j);
    j->fd = -1;
    pthread_mutex_init(&j->lock, NULL);
    j->lines = cJSON_CreateArray();
    *ret = j;
    if (!path) return 0;
    enum file_kind kind = file_kind(path);
    if (kind == FILE_NONE || kind == FILE_REGULAR)
        j->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (j->fd < 0) {
        log_debug(log, "%s: cannot be written; nothing is remembered", path);
        return 0;
    }
    int rc = hub_lock_fd(j->fd, path, log, err);
    if (rc == 0) {
        if (!read_lines(j, path)) forget(j);
        return 0;
    }
    hub_journal_close(j);
    *ret = NULL;
    return rc;
}

void hub_journal_close(struct hub_journal *j) {
    if (!j) return;
    if (j->fd >= 0) close(j->fd);
    cJSON_Delete(j->lines);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* Keeps the object and appends its line. */
static void add(struct hub_journal *j, cJSON *o) {
    struct buf line = {0};
    if (json_text(&line, o, false, NULL) == 0 && buf_char(&line, '\n', NULL) == 0) {
        pthread_mutex_lock(&j->lock);
        cJSON_AddItemToArray(j->lines, o);
        if (j->fd >= 0 && write(j->fd, line.v, line.n) != (ssize_t)line.n) forget(j);
        pthread_mutex_unlock(&j->lock);
    } else
        cJSON_Delete(o);
    buf_release(&line);
}

static bool names(const cJSON *o, const char *key, const char *value) {
    const char *v = NULL;
    return json_str(o, key, &v, "", NULL) == 0 && v && !strcmp(v, value);
}

/* ------------------------------------------------------------------ digests */

bool hub_journal_find(struct hub_journal *j, struct hub_change *c) {
    const cJSON *o;
    const char *found = NULL;
    char *whole = c->file ? realpath(c->file, NULL) : NULL;
    if (!whole) return false;
    pthread_mutex_lock(&j->lock);
    cJSON_ArrayForEach(o, j->lines) {
        uint64_t bytes = 0;
        const char *mtime = NULL, *sha = NULL;
        if (names(o, "file", whole) &&
            json_u64(o, "bytes", UINT64_MAX >> 11, &bytes, "", NULL) == 0 &&
            json_str(o, "mtime", &mtime, "", NULL) == 0 && mtime &&
            strtoll(mtime, NULL, 10) == c->mtime && bytes == c->bytes &&
            json_str(o, "sha256", &sha, "", NULL) == 0 && hub_is_hex(sha, SHA256_HEX - 1))
            found = sha;
    }
    if (found) memcpy(c->sha256, found, SHA256_HEX);
    pthread_mutex_unlock(&j->lock);
    free(whole);
    return found != NULL;
}

void hub_journal_add(struct hub_journal *j, const struct hub_change *c) {
    char *whole = c->file ? realpath(c->file, NULL) : NULL, mtime[32];
    if (!whole) return;
    cJSON *o = cJSON_CreateObject();
    snprintf(mtime, sizeof mtime, "%lld", (long long)c->mtime); /* more digits than a double has */
    cJSON_AddStringToObject(o, "file", whole);
    cJSON_AddNumberToObject(o, "bytes", (double)c->bytes);
    cJSON_AddStringToObject(o, "mtime", mtime);
    cJSON_AddStringToObject(o, "sha256", c->sha256);
    add(j, o);
    free(whole);
}

/* ------------------------------------------------------------------ parts */

static void take_part(cJSON *parts, const cJSON *o) {
    uint64_t n = 0;
    const char *etag = NULL;
    char key[24];
    if (json_u64(o, "n", 1000000, &n, "", NULL) < 0 || json_str(o, "etag", &etag, "", NULL) < 0)
        return;
    snprintf(key, sizeof key, "%llu", (unsigned long long)n);
    cJSON_DeleteItemFromObjectCaseSensitive(parts, key);
    if (etag) cJSON_AddStringToObject(parts, key, etag);
}

/* {"action":…, "parts":{"1":etag …}} of the last upload that was begun and is not too old. */
cJSON *hub_journal_parts(struct hub_journal *j, const char *sha256) {
    cJSON *ret = NULL;
    const cJSON *o;
    pthread_mutex_lock(&j->lock);
    cJSON_ArrayForEach(o, j->lines) {
        uint64_t at = 0;
        bool begun = names(o, "begun", sha256);
        if (begun || names(o, "stored", sha256)) {
            cJSON_Delete(ret);
            ret = NULL;
        }
        if (begun && json_u64(o, "at", UINT64_MAX >> 11, &at, "", NULL) == 0 &&
            at + ACTION_SECONDS > (uint64_t)time(NULL)) {
            ret = cJSON_CreateObject();
            cJSON_AddItemToObject(ret, "action", cJSON_Duplicate(json_get(o, "action"), true));
            cJSON_AddObjectToObject(ret, "parts");
        }
        if (ret && names(o, "part", sha256))
            take_part(cJSON_GetObjectItemCaseSensitive(ret, "parts"), o);
    }
    pthread_mutex_unlock(&j->lock);
    return ret;
}

void hub_journal_begun(struct hub_journal *j, const char *sha256, const cJSON *action) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "begun", sha256);
    cJSON_AddNumberToObject(o, "at", (double)time(NULL));
    cJSON_AddItemToObject(o, "action", cJSON_Duplicate(action, true));
    add(j, o);
}

void hub_journal_part(struct hub_journal *j, const char *sha256, size_t part, const char *etag) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "part", sha256);
    cJSON_AddNumberToObject(o, "n", (double)part);
    cJSON_AddStringToObject(o, "etag", etag);
    add(j, o);
}

void hub_journal_stored(struct hub_journal *j, const char *sha256) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "stored", sha256);
    add(j, o);
}
