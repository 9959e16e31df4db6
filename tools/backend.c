/* Choosing a backend: see backend.h. */
#include "tools/backend.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_bf16_products(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

int backend_choose(struct backend_choice *ret, const char *device, const char *dtype, int threads,
                   struct err *err) {
    struct backend_choice c = {.opts = {.dtype = DTYPE_F32, .threads = threads}};
    bool ref = !strcmp(device, "ref");
    if (!strcmp(device, "cuda"))
        return err_set(err, ERR_USAGE, "--device cuda: this build has no CUDA; use --device cpu");
    c.backend = ref ? backend_ref() : backend_cpu();
    if (!strcmp(dtype, "bf16") || (!strcmp(dtype, "auto") && !ref && has_bf16_products()))
        c.opts.dtype = DTYPE_BF16;
    *ret = c;
    return 0;
}

void backend_spin_less(char **argv) {
    char path[PATH_MAX];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "3000", 1) < 0) return;
    path[n] = 0;
    execv(path, argv); /* on failure it goes on as it is: only slower */
}
