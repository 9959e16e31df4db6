/* The code for the matrix units is there if the compiler knows them, and is taken where the
 * processor has them. (A switch lost in the build had once left it out, and every test passed.) */
#include <stdio.h>
#include <string.h>
#include "train/cpu/cpu.h"

#ifdef COMPILER_HAS_AMX
/* Of the product's archive; NULL without the switch. */
void gemm_amx_tile_avx512bf16(void) __attribute__((weak));
#endif

static bool compiled_in(void) {
#ifdef COMPILER_HAS_AMX
    return gemm_amx_tile_avx512bf16 != NULL;
#else
    return true;
#endif
}

/* As Linux says, which also has to keep the registers. */
static bool processor_has(void) {
    static const char *const flags[] = {" avx512_bf16", " amx_bf16", " amx_tile"};
    static char line[1 << 14];
    int found = 0;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "flags", 5) != 0) continue;
        for (int i = 0; i < 3; i++) found += strstr(line, flags[i]) != NULL;
        break;
    }
    if (f) fclose(f);
    return found == 3;
}

int main(void) {
    struct device_opts opts = {.dtype = DTYPE_BF16, .threads = 1};
    struct device *d;
    struct err err = {0};
    const struct backend *be = backend_cpu();
    int failed = !compiled_in();
    if (failed) puts("the compiler knows AMX, and the code for it is not there");
    if (be->open(&d, &opts, &err) < 0) {
        puts(err.msg);
        return 1;
    }
    bool used = strstr(be->describe(d), "AMX") != NULL;
    puts(be->describe(d));
    if (used != processor_has()) failed = 1, puts("that is not what the processor has");
    be->close(d);
    return failed;
}
