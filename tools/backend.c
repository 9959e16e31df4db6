/* Choosing a backend: see backend.h. */
#include "tools/backend.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cuda_module.h"
#include "tools/ranks.h"

static bool has_bf16_products(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static int parse_dtype(const char *text, bool *ret_auto, enum dtype *ret, struct err *err) {
    static const char *const f32[] = {"fp32", "float32", "f32", "float", "torch.float32"};
    static const char *const bf16[] = {"bf16", "bfloat16", "torch.bfloat16"};
    static const char *const f16[] = {"fp16", "float16", "f16", "half", "torch.float16"};
    *ret_auto = !strcmp(text, "auto");
    if (*ret_auto) return 0;
    for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++)
        if (!strcmp(text, f32[i])) return *ret = DTYPE_F32, 0;
    for (size_t i = 0; i < sizeof bf16 / sizeof *bf16; i++)
        if (!strcmp(text, bf16[i])) return *ret = DTYPE_BF16, 0;
    for (size_t i = 0; i < sizeof f16 / sizeof *f16; i++)
        if (!strcmp(text, f16[i])) {
            err_set(err, ERR_USAGE, "--dtype %s: half precision has too small a range to train in",
                    text);
            return err_hint(err, "take bf16, which has fp32's");
        }
    return err_set(err, ERR_USAGE, "--dtype: \"%.32s\" is none of auto, fp32, bf16", text);
}

void backend_take_dtype(struct backend_choice *c, enum dtype stored) {
    if (c->cuda) return; /* bf16: fp32 is for checking there */
    if (stored == DTYPE_F32 || has_bf16_products()) c->opts.dtype = stored;
}

int backend_choose(struct backend_choice *ret, const char *device, const char *dtype, int threads,
                   struct err *err) {
    struct backend_choice c = {.opts = {.dtype = DTYPE_F32, .threads = threads}};
    bool ref = !strcmp(device, "ref"), any = true;
    int rc = parse_dtype(dtype, &any, &c.opts.dtype, err);
    if (rc < 0) return rc;
    if (!strcmp(device, "cuda") || !strcmp(device, "auto")) {
        struct comm_place place;
        rc = ranks_find(&place, err);
        if (rc < 0) return rc;
        c.opts.ordinal = place.local_rank; /* GPUs of a machine are shared out */
        rc = cuda_module(&c.backend, c.opts.ordinal, err);
        if (rc < 0 && !strcmp(device, "cuda")) return err_prefix(err, "--device cuda");
        c.cuda = rc == 0;
        if (rc < 0) *err = (struct err){0}; /* auto: the CPU then */
    }
    if (!c.cuda) c.backend = ref ? backend_ref() : backend_cpu();
    if (any && (c.cuda || (!ref && has_bf16_products()))) c.opts.dtype = DTYPE_BF16;
    *ret = c;
    return 0;
}

/* Whether others want the processors more than twice over. */
static bool machine_is_busy(void) {
    double load;
    return getloadavg(&load, 1) == 1 && load > 2.0 * (double)sysconf(_SC_NPROCESSORS_ONLN);
}

void backend_spin_less(char **argv) {
    char path[PATH_MAX];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    const char *turns = machine_is_busy() ? "3000" : "100000"; /* 60 us, or 2 ms */
    if (n <= 0 || setenv("GOMP_SPINCOUNT", turns, 1) < 0) return;
    path[n] = 0;
    execv(path, argv); /* on failure it goes on as it is: only slower */
}
