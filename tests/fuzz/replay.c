/* Calls a target for every file of its corpus, and for small damages of each (the same ones every
 * time), so that what fuzzing found stays found where no fuzzing engine is.
 *
 *     fuzz_NAME FOLDER [DAMAGES]        exits 0, or dies where a promise is broken
 *     fuzz_NAME FILE                    one input, as an engine saved it */
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

/* Sanitizers see a byte behind the end only if the block ends there. */
static void call(const char *v, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);
    FUZZ_CHECK(exact, "out of memory");
    if (n) memcpy(exact, v, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

/* One to three edits: a byte changed, dropped or doubled, a stretch repeated, the end cut. */
static void damage(struct buf *b, struct rng *r) {
    static const char telling[] = "\0\xFF\x80\"\\{}[],:0-9e \n\xC3\xED\x7F";
    for (uint64_t k = 1 + rng_below(r, 3); k && b->n; k--) {
        size_t at = (size_t)rng_below(r, b->n), run = 1 + (size_t)rng_below(r, 16);
        switch (rng_below(r, 6)) {
        case 0: b->v[at] = telling[rng_below(r, sizeof telling - 1)]; break;
        case 1: b->v[at] ^= (char)(1 << rng_below(r, 8)); break;
        case 2: memmove(b->v + at, b->v + at + 1, --b->n - at); break;
        case 3:
            FUZZ_CHECK(buf_char(b, b->v[at], NULL) == 0, "out of memory");
            memmove(b->v + at + 1, b->v + at, b->n - 1 - at);
            break;
        case 4:
            if (run > b->n - at) run = b->n - at;
            memmove(b->v + rng_below(r, b->n - run + 1), b->v + at, run);
            break;
        default:
            if (rng_below(r, 4) == 0) b->n = at;
        }
    }
}

static void replay(const char *path, uint64_t damages) {
    struct buf file = {0}, copy = {0};
    struct err err = {0};
    FUZZ_CHECK(file_read(path, 1 << 26, &file, &err) == 0, "%s", err.msg);
    call(file.v, file.n);
    for (uint64_t i = 0; i < damages; i++) {
        struct rng r = {.key = i + 1};
        copy.n = 0;
        FUZZ_CHECK(buf_append(&copy, file.v, file.n, NULL) == 0, "out of memory");
        damage(&copy, &r);
        call(copy.v, copy.n);
    }
    buf_release(&file);
    buf_release(&copy);
}

int main(int argc, char **argv) {
    struct strs names = {0};
    struct err err = {0};
    if (argc < 2) return 2;
    uint64_t damages = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    if (file_kind(argv[1]) != FILE_FOLDER) {
        replay(argv[1], damages);
        return 0;
    }
    FUZZ_CHECK(file_list(argv[1], &names, &err) == 0, "%s", err.msg);
    FUZZ_CHECK(names.n, "%s is empty", argv[1]);
    call("", 0);
    for (size_t i = 0; i < names.n; i++) {
        char *path = path_join(argv[1], names.v[i]);
        FUZZ_CHECK(path, "out of memory");
        replay(path, damages);
        free(path);
    }
    printf("%zu inputs, %llu damages of each\n", names.n, (unsigned long long)damages);
    strs_release(&names);
    return 0;
}
