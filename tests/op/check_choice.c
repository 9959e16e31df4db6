/* The code for the matrix units is there if the compiler knows them, and is taken where the
 * processor has them (a switch lost in the build had once left it out, and every test passed).
 * Pairs of bf16 by vectors are taken where they pay: on an Intel without matrix units, as a
 * hypervisor may leave it, they had trained at two thirds of the speed of bf16 that is widened. */
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

/* The first line of /proc/cpuinfo that begins with `name`: as Linux says, which also has to keep
 * the registers. */
static const char *processor(const char *name) {
    static char line[1 << 14];
    bool found = false;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !found && fgets(line, sizeof line, f))
        found = strncmp(line, name, strlen(name)) == 0;
    if (f) fclose(f);
    return found ? line : "";
}
static bool has(const char *flag) {
    return strstr(processor("flags"), flag) != NULL;
}

/* Is `what` said of the device only if the processor should do that? */
static bool as_expected(const char *text, const char *what, bool expected) {
    if ((strstr(text, what) != NULL) == expected) return true;
    printf("%s: %s expected\n", what, expected ? "" : "not ");
    return false;
}

int main(void) {
    struct device_opts opts = {.dtype = DTYPE_BF16, .threads = 1};
    struct device *d;
    struct err err = {0};
    const struct backend *be = backend_cpu();
    if (be->open(&d, &opts, &err) < 0) {
        puts(err.msg);
        return 1;
    }
    const bool pairs = has(" avx512_bf16"), amx = pairs && has(" amx_bf16") && has(" amx_tile"),
               intel = strstr(processor("vendor_id"), "GenuineIntel") != NULL;
    bool passed = compiled_in();
    if (!passed) puts("the compiler knows AMX, and the code for it is not there");
    puts(be->describe(d));
    passed &= as_expected(be->describe(d), "AMX", amx);
    passed &= as_expected(be->describe(d), ", avx512bf16,", amx || (pairs && !intel));
    be->close(d);
    return passed ? 0 : 1;
}
