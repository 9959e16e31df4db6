/* Opening the GPU module: see cuda_module.h. */
#include "tools/cuda_module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/version.h"

typedef const struct backend *backend_door(const char *version, size_t table_bytes);
typedef int ready_door(int ordinal, struct err *err);
typedef int comm_door(struct comm **ret, struct device *d, const struct comm_opts *o,
                      struct err *err);

static const char NAME[] = "liblory_cuda.so";

/* DIR of the program, then `relative`. False: it does not fit, or there is no such file. */
static bool beside(char *path, size_t n, const char *relative) {
    char self[PATH_MAX];
    ssize_t got = readlink("/proc/self/exe", self, sizeof self - 1);
    if (got <= 0) return false;
    self[got] = 0;
    char *slash = strrchr(self, '/');
    if (!slash) return false;
    *slash = 0;
    int want = snprintf(path, n, "%s/%s", self, relative);
    return want > 0 && (size_t)want < n && access(path, R_OK) == 0;
}

static void find(char *path, size_t n) {
    const char *given = getenv("LORY_CUDA");
    if (given && *given) {
        snprintf(path, n, "%s", given);
        return;
    }
    if (beside(path, n, "../cuda/liblory_cuda.so")) return;     /* as built        */
    if (beside(path, n, "../lib/lory/liblory_cuda.so")) return; /* as installed    */
    if (beside(path, n, NAME)) return;                          /* carried         */
    snprintf(path, n, "%s", NAME);
}

static int open_module(void **ret, struct err *err) {
    char path[PATH_MAX];
    find(path, sizeof path);
    *ret = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*ret) return 0;
    const char *why = dlerror();
    if (strchr(path, '/') && access(path, R_OK) == 0)
        return err_set(err, ERR_USAGE, "%s does not open: %s", path, why ? why : "no reason given");
    return err_set(err, ERR_USAGE,
                   "%s is not there; this build has no CUDA: build on a machine with the CUDA "
                   "toolkit, or use --device cpu",
                   path);
}

/* dlsym gives an object pointer, POSIX promises that it holds a function. */
static bool door(void *module, const char *name, void *function, size_t bytes) {
    void *p = dlsym(module, name);
    memcpy(function, &p, bytes);
    return p != NULL;
}

static void *module; /* the loader's own count would do, but the search is made once */

int cuda_module(const struct backend **ret, int ordinal, struct err *err) {
    backend_door *backend;
    ready_door *ready;
    int rc = module ? 0 : open_module(&module, err);
    if (rc < 0) return rc;
    if (!door(module, "lory_cuda_backend", &backend, sizeof backend) ||
        !door(module, "lory_cuda_ready", &ready, sizeof ready) ||
        !(*ret = backend(LORY_VERSION, sizeof **ret)))
        return err_set(err, ERR_USAGE, "%s is of another build than this program; build both again",
                       NAME);
    return ready(ordinal, err);
}

int cuda_module_comm(struct comm **ret, struct device *d, const struct comm_opts *o,
                     struct err *err) {
    comm_door *comm;
    if (!door(module, "lory_cuda_comm", &comm, sizeof comm))
        return err_set(err, ERR_USAGE,
                       "%s was built without NCCL, which several ranks need on GPUs", NAME);
    return comm(ret, d, o, err);
}
