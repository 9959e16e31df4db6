/* liblory_cuda.so, opened when someone asks for a GPU: no program links it, so that one build
 * starts anywhere and says what is missing. */
#ifndef LORY_TOOLS_CUDA_MODULE_H
#define LORY_TOOLS_CUDA_MODULE_H

#include "base/err.h"
#include "train/comm.h"
#include "train/op.h"

/* The module's table, if GPU number `ordinal` can be used. ERR_USAGE says what is missing: the
 * module, a library it needs, the driver, the device. The module stays open until the program
 * ends. It is looked for at $LORY_CUDA if that is set; else beside the program as built and as
 * installed, then where the loader looks. */
int cuda_module(const struct backend **ret, int ordinal, struct err *err);
/* NCCL's communicator for a device of the module, opened before. ERR_USAGE: the module was built
 * without it, or the library is missing. */
int cuda_module_comm(struct comm **ret, struct device *d, const struct comm_opts *o,
                     struct err *err);

#endif
