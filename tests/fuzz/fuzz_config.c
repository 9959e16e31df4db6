/* A lory.yaml. What is read is what opt_yaml() writes and reads again. */
#include "base/opt.h"
#include "tests/fuzz/fuzz.h"

struct values {
    bool flag;
    uint64_t n;
    double x, seconds;
    const char *text, *choice;
    struct strs list;
    struct opt_steps steps;
};

static int parse(const void *bytes, size_t n, struct buf *out) {
    struct values v = {.text = "t", .choice = "a"};
    struct opt opts[] = {{"flag", 'f', OPT_FLAG, &v.flag, NULL, "a flag"},
                         {"number", 'n', OPT_U64, &v.n, "N", "a number", .max = 1e9},
                         {"rate", 0, OPT_F64, &v.x, "X", "a rate"},
                         {"every", 0, OPT_DURATION, &v.seconds, "T", "a time"},
                         {"text", 0, OPT_STR, &v.text, "S", "a text"},
                         {"choice", 0, OPT_CHOICE, &v.choice, "C", "a choice", .choices = "a|b"},
                         {"list", 0, OPT_STRS, &v.list, "S", "a list"},
                         {"save", 0, OPT_STEPS, &v.steps, "N", "steps"},
                         {0}};
    struct program p = {.name = "fuzz", .summary = "s", .usage = "", .opts = opts};
    struct fuzz_file file = fuzz_file(bytes, n);
    struct opt_values values = {0};
    struct err err = {0};
    char config[] = "--config", name[] = "fuzz", *argv[] = {name, config, file.path, NULL};
    int rc = opt_parse(&p, 3, argv, &values, NULL, &err);
    fuzz_told(rc, &err);
    if (rc == 0) rc = opt_yaml(&p, out, &err);
    opt_release(&values);
    fuzz_unfile(&file);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf one = {0}, two = {0};
    if (parse(data, n, &one) == 0) {
        FUZZ_CHECK(parse(one.v, one.n, &two) == 0, "not read again: %.*s", (int)one.n, one.v);
        FUZZ_CHECK(one.n == two.n && !memcmp(one.v, two.v, one.n), "%.*s became %.*s", (int)one.n,
                   one.v, (int)two.n, two.v);
    }
    buf_release(&one);
    buf_release(&two);
    return 0;
}
