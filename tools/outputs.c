/* Outputs that are inputs: see outputs.h. */
#include "tools/outputs.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

/* A file or folder by its name, or the file that stands behind "-". */
static bool look(const char *path, int standard, struct stat *is) {
    int rc = strcmp(path, "-") ? stat(path, is) : fstat(standard, is);
    return rc == 0 && (S_ISREG(is->st_mode) || S_ISDIR(is->st_mode));
}

int output_check(const char *path, const char *read, struct err *err) {
    struct stat out, in;
    if (!look(path, STDOUT_FILENO, &out) || !look(read, STDIN_FILENO, &in)) return 0;
    if (in.st_dev != out.st_dev || in.st_ino != out.st_ino) return 0;
    return err_set(err, ERR_USAGE, "%s: is read and would be written; name another %s",
                   strcmp(path, "-") ? path : "stdout", S_ISDIR(in.st_mode) ? "folder" : "file");
}

int output_each(const char *dir, const char *const *names,
                int (*check)(void *ctx, const char *path, struct err *err), void *ctx,
                struct err *err) {
    int rc = 0;
    for (; rc == 0 && *names; names++) {
        char *path = path_join(dir, *names);
        rc = path ? check(ctx, path, err) : err_nomem(err, strlen(dir));
        free(path);
    }
    return rc;
}

static int check_read(void *path, const char *read, struct err *err) {
    return output_check(path, read, err);
}

int output_check_names(const char *path, const char *dir, const char *const *names,
                       struct err *err) {
    return output_each(dir, names, check_read, (void *)(uintptr_t)path, err);
}
