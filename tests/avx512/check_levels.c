/* The twins run all that the highest level has: bf16 in pairs, and by the matrix units. Each source
 * does without what a switch of the build does not ask for, so that a lost one would leave its code
 * untested, and every check would pass. */
#include <stdio.h>
#include <string.h>
#include "train/cpu/cpu.h"

int main(void) {
    const struct backend *be = cpu_backend(CPU_ISAS - 1);
    struct device_opts opts = {.dtype = DTYPE_BF16, .threads = 1};
    struct device *d;
    struct err err = {0};
    if (!be || be->open(&d, &opts, &err) < 0) {
        printf("no device of %s: %s\n", cpu_isa_name(CPU_ISAS - 1), err.msg);
        return 1;
    }
    const char *text = be->describe(d);
    bool all = strstr(text, "AMX, bf16") && !strstr(text, "widened") && cpu_use_amx(d, true);
    puts(text);
    be->close(d);
    return !all;
}
