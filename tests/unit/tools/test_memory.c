/* Memory of machines and containers, as their files tell it. */
#include "base/file.h"
#include "tests/unit/test.h"
#include "tools/memory.h"

static void put(const char *root, const char *name, const char *text) {
    struct err err = {0};
    char *dir = path_dir(in(root, name));
    assert_non_null(dir);
    check_ok(file_mkdirs(dir, &err), &err);
    check_ok(file_write(in(root, name), text, strlen(text), &err), &err);
    free(dir);
}

static void assert_memory(const char *root, uint64_t available, uint64_t total) {
    struct memory_here m = memory_here(root);
    assert_int_equal(m.available, available);
    assert_int_equal(m.total, total);
}

static void of_a_machine(void **state) {
    const char *root = *state;
    assert_memory(root, 0, 0); /* it does not say */
    put(root, "proc/meminfo",
        "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\nSwapTotal:  50 kB\n");
    assert_memory(root, 600 * 1024, 1050 * 1024);
    put(root, "sys/fs/cgroup/memory.max", "max\n");
    put(root, "sys/fs/cgroup/memory.current", "5000\n");
    assert_memory(root, 600 * 1024, 1050 * 1024);
    put(root, "sys/fs/cgroup/memory.max", "409600\n"); /* 400 kB */
    assert_memory(root, 409600 - 5000, 450 * 1024);
}

/* Version 1's limit was not seen: a plan was made for the whole machine. */
static void an_older_container_had_no_limit(void **state) {
    const char *root = *state;
    put(root, "proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\nSwapTotal: 0 kB\n");
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
    assert_memory(root, 600 * 1024, 1000 * 1024);
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "409600\n");
    assert_memory(root, 409600 - 5000, 400 * 1024);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_a_machine, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(an_older_container_had_no_limit, folder_setup,
                                        folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
