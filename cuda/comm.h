/* The module's second door: a communicator over NCCL, where the module was built with it. */
#ifndef LORY_CUDA_COMM_H
#define LORY_CUDA_COMM_H

#ifdef __cplusplus
extern "C" {
#endif
#include "train/comm.h"

/* For a device of this module. Not there (dlsym gives NULL) in a module built without NCCL. */
__attribute__((visibility("default"))) int lory_cuda_comm(struct comm **ret, struct device *d,
                                                          const struct comm_opts *o,
                                                          struct err *err);
#ifdef __cplusplus
}
#endif

#endif
