/* See memory.h. Of cgroups both versions are asked: where one is not mounted there is no such file,
 * and a limit that is none is a word (2) or larger than any memory (1). */
#include "tools/memory.h"

#include <stdio.h>
#include <string.h>

/* A number in a small file of the system: the one after `key`, or the first; 0: there is none. */
static uint64_t number_in(const char *root, const char *file, const char *key) {
    char line[256], path[4096];
    unsigned long long x = 0;
    snprintf(path, sizeof path, "%s%s", root, file);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (!strncmp(line, key, n) && sscanf(line + n, "%llu", &x) == 1) break;
    }
    if (f) fclose(f);
    return x;
}

struct memory_here memory_here(const char *root) {
    static const char *const groups[2][2] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
         "/sys/fs/cgroup/memory/memory.usage_in_bytes"}};
    struct memory_here m = {number_in(root, "/proc/meminfo", "MemAvailable:") * 1024,
                            number_in(root, "/proc/meminfo", "MemTotal:") * 1024};
    for (int version = 0; version < 2; version++) {
        uint64_t limit = number_in(root, groups[version][0], "");
        uint64_t used = number_in(root, groups[version][1], "");
        uint64_t left = limit > used ? limit - used : 0;
        if (left && left < m.available) m.available = left;
        if (limit && limit < m.total) m.total = limit;
    }
    if (m.total) m.total += number_in(root, "/proc/meminfo", "SwapTotal:") * 1024;
    return m;
}
