/* Which operations to compute with: --device and --dtype made into a backend and its options. */
#ifndef LORY_TOOLS_BACKEND_H
#define LORY_TOOLS_BACKEND_H

#include "base/err.h"
#include "train/op.h"

struct backend_choice {
    const struct backend *backend;
    struct device_opts opts;
    bool cuda;
};

/* `device`: auto (a GPU if there is one that can be used, else cpu), cpu, cuda, ref. `dtype`: auto
 * (bf16 where the processor multiplies it, and on a GPU), fp32, bf16, or PyTorch's and
 * transformers' names of the two. ERR_USAGE for what this build or machine does not have. */
int backend_choose(struct backend_choice *ret, const char *device, const char *dtype, int threads,
                   struct err *err);

/* --dtype auto where weights are given: theirs, but bf16 only where the processor multiplies it. */
void backend_take_dtype(struct backend_choice *c, enum dtype stored);

/* For main, before anything else. OpenMP's threads by default spin long at every barrier,
 * which on a machine shared with others costs several times what it gains; how long is read from
 * the environment before main begins. So: unless someone has set it, sets it (to little where the
 * machine is busy already) and starts the program again. */
void backend_spin_less(char **argv);

#endif
