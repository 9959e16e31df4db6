/* Which rank of how many this process is, as the launcher that started it says. */
#ifndef LORY_TOOLS_RANKS_H
#define LORY_TOOLS_RANKS_H

#include "base/err.h"
#include "train/comm.h"

/* From torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK), Open MPI's, MPICH's (PMI_…) or srun's;
 * rank 0 of 1 where there are none. Rank 0 listens at MASTER_ADDR, port MASTER_PORT, by default at
 * 127.0.0.1, port 29500. ERR_USAGE: the numbers make no sense, or ranks on several machines have no
 * MASTER_ADDR. */
int ranks_find(struct comm_place *ret, struct err *err);

#endif
