/* How much memory there is: what the machine has, and what a container leaves of it. */
#ifndef LORY_TOOLS_MEMORY_H
#define LORY_TOOLS_MEMORY_H

#include <stdint.h>

struct memory_here {
    uint64_t available; /* bytes that could be had now; 0: unknown                        */
    uint64_t total;     /* … if nothing else were running, swap included; 0: unknown      */
};

/* `root`: before /proc and /sys; "" but in tests. */
struct memory_here memory_here(const char *root);

#endif
