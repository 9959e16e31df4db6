/* Says of each file named on stdin whether its safetensors can be used: "ok", or why not. */
#include <stdio.h>
#include <string.h>
#include "train/safetensors.h"

int main(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        struct safetensors s = {0};
        struct err err = {0};
        path[strcspn(path, "\n")] = 0;
        if (safetensors_open(&s, path, &err) == 0)
            printf("ok %zu\n", s.n);
        else
            printf("no %d %s\n", err.code, err.msg);
        safetensors_close(&s);
    }
    return 0;
}
