/* The communicators with one rank: what each call leaves behind, by `self` and by NCCL. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/op/harness.h"
#include "train/comm.h"

enum { N = 1000 };

static void must(int rc, const struct err *err) {
    if (rc < 0) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
}

static bool holds(struct dev *v, const float *p, float first) {
    float *got = dev_get(v, p, N, false);
    bool right = true;
    for (int i = 0; i < N; i++) right &= got[i] == first + (float)i;
    free(got);
    return right;
}

static int check(struct dev *v, struct comm *c) {
    struct arr a = arr_random(1, N, 1);
    struct err err = {0};
    for (int i = 0; i < N; i++) a.v[i] = 3 + (float)i;
    float *x = dev_f32(v, a), *part = dev_zero(v, N), *whole = dev_zero(v, N);
    must(c->all_reduce(c, x, N, &err), &err);
    must(c->reduce_scatter(c, part, x, N, &err), &err);
    must(c->all_gather(c, whole, part, N * sizeof(float), &err), &err);
    must(c->broadcast(c, whole, N * sizeof(float), 0, &err), &err);
    must(c->barrier(c, 30, &err), &err);
    bool right =
        c->rank == 0 && c->size == 1 && holds(v, x, 3) && holds(v, part, 3) && holds(v, whole, 3);
    printf("%s: %s\n", c->name, right ? "right" : "WRONG");
    c->close(c);
    free(a.v);
    return !right;
}

int main(void) {
    struct dev v;
    struct comm *c;
    struct err err = {0};
    struct comm_opts one = {.size = 1};
    int (*door)(struct comm **, struct device *, const struct comm_opts *, struct err *);
    dev_open_best(&v, DTYPE_BF16, 1);
    must(comm_self(&c, v.d, v.be->copy, &err), &err);
    int wrong = check(&v, c);
    void *module = dlopen(getenv("LORY_CUDA"), RTLD_NOW | RTLD_LOCAL); /* the same one again */
    *(void **)&door = module ? dlsym(module, "lory_cuda_comm") : NULL;
    if (!door) {
        puts("the module was built without NCCL");
    } else if (door(&c, v.d, &one, &err) < 0) {
        printf("%s\n", err.msg);
        wrong |= err.code != ERR_USAGE; /* the library is not there */
    } else {
        wrong |= check(&v, c);
    }
    dev_close(&v);
    return wrong;
}
