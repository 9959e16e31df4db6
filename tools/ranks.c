/* The launchers' variables: see ranks.h. */
#include "tools/ranks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_RANKS = 4096, PORT = 29500 };

/* One launcher's names; `here` is the number of ranks on this machine, where it says so. */
struct launcher {
    const char *size, *rank, *local_rank, *here;
};

static const struct launcher launchers[] = {
    {"WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", NULL},
};

static const char *variable(const char *name) {
    const char *text = name ? getenv(name) : NULL;
    return text && *text ? text : NULL;
}

/* A variable's number in [least, most]; `otherwise` where it is not set. */
static int number(const char *name, int least, int most, int otherwise, int *ret, struct err *err) {
    const char *text = variable(name);
    char *end;
    *ret = otherwise;
    if (!text) return 0;
    errno = 0;
    long x = strtol(text, &end, 10);
    if (errno || *end || x < least || x > most)
        return err_set(err, ERR_USAGE, "%s is \"%.32s\", not a number from %d to %d", name, text,
                       least, most);
    *ret = (int)x;
    return 0;
}

static int find_address(struct comm_place *p, const struct launcher *l, struct err *err) {
    const char *address = variable("MASTER_ADDR");
    int here = p->size, machines = 1;
    int rc = number("MASTER_PORT", 1, 65535, PORT, &p->port, err);
    if (rc == 0) rc = number(l->here, 1, MOST_RANKS, p->size, &here, err);
    if (rc == 0 && l->size[0] == 'S')
        rc = number("SLURM_STEP_NUM_NODES", 1, MOST_RANKS, 1, &machines, err);
    if (rc == 0 && !address && (here < p->size || machines > 1)) {
        err_set(err, ERR_USAGE, "%d ranks on several machines, and no MASTER_ADDR", p->size);
        return err_hint(err, "set it to the address of rank 0's machine");
    }
    snprintf(p->address, sizeof p->address, "%s", address ? address : "127.0.0.1");
    return rc;
}

int ranks_find(struct comm_place *ret, struct err *err) {
    struct comm_place p = {.size = 1};
    const struct launcher *l = launchers, *end = l + sizeof launchers / sizeof *launchers;
    while (l < end && !variable(l->size)) l++;
    if (l == end) {
        *ret = p;
        return 0;
    }
    int rc = number(l->size, 1, MOST_RANKS, 1, &p.size, err);
    if (rc == 0 && p.size > 1 && !variable(l->rank))
        rc = err_set(err, ERR_USAGE, "%s is %d, and %s is not set", l->size, p.size, l->rank);
    if (rc == 0) rc = number(l->rank, 0, p.size - 1, 0, &p.rank, err);
    if (rc == 0) rc = number(l->local_rank, 0, p.size - 1, 0, &p.local_rank, err);
    if (rc == 0) rc = find_address(&p, l, err);
    if (rc == 0) *ret = p;
    return rc;
}
