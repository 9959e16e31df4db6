/* The device that the checks of tests/op, and those against transformers, run on here: the GPU
 * module's. Without a GPU the program says why and exits with 77, which counts as skipped. */
#include <stdio.h>
#include <stdlib.h>
#include "tests/op/harness.h"
#include "tools/cuda_module.h"

const struct backend *op_device(void) {
    static const struct backend *table;
    struct err err = {0};
    if (table) return table;
    if (cuda_module(&table, 0, &err) == 0) return table;
    printf("skipped: %s\n", err.msg);
    exit(77);
}
