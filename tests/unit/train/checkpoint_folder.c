/* Checkpoint folders: whole or not there, proven before use, the last good one kept. */
#include "run_help.h"
#include "train/checkpoint.h"

static void make(const char *run, uint64_t step, const char *text) {
    char *dir;
    struct err err = {0};
    check_ok(checkpoint_begin(&dir, run, step, &err), &err);
    spill(dir, "weights", text, strlen(text));
    spill(dir, "empty", "", 0);
    check_ok(checkpoint_commit(dir, run, step, &err), &err);
}

static struct buf warnings;
static void hear(void *ctx, enum log_level level, const char *text) {
    (void)ctx;
    (void)level;
    buf_printf(&warnings, NULL, "%s\n", text);
}
static const struct log log_here = {.line = hear};

static uint64_t newest(const char *run) {
    uint64_t step = 0;
    struct err err = {0};
    warnings.n = 0;
    check_ok(checkpoint_newest(run, &step, &log_here, &err), &err);
    return step;
}

static void the_newest_whole_one_is_found(void **state) {
    char *run = tmp_make();
    (void)state;
    assert_true(newest(run) == CHECKPOINT_NONE);
    make(run, 9, "nine");
    make(run, 10, "ten"); /* 10 is newer than 9, whatever their names' order */
    spill(run, "checkpoint-99x", "", 0);
    assert_int_equal(newest(run), 10);
    assert_int_equal(warnings.n, 0);
    tmp_remove(run);
}

/* Every way a checkpoint can rot is noticed, named, and the one before is used. */
static void a_damaged_one_is_named_and_passed_over(void **state) {
    static const struct {
        const char *file, *text, *said;
    } damages[] = {
        {"weights", "tem", "checkpoint-10/weights does not match its manifest"},
        {"weights", "te", "has 2 bytes, its manifest says 3"},
        {"weights", NULL, "checkpoint-10/weights is missing"},
        {"empty", "x", "has 1 bytes"},
        {"manifest.json", NULL, "checkpoint-10/manifest.json is missing"},
        {"manifest.json", "", "checkpoint-10/manifest.json"},
        {"manifest.json", "{\"format\":1,\"files\":{}}", "unknown"},
        {"manifest.json", "{\"format\":2,\"files\":{\"weights\":{}}}", "format 2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        char *run = tmp_make(), *dir = checkpoint_path(run, 10);
        struct err err = {0};
        make(run, 5, "five");
        make(run, 10, "ten");
        char *path = path_join(dir, damages[i].file);
        check_ok(file_remove(path, &err), &err);
        if (damages[i].text) spill(dir, damages[i].file, damages[i].text, strlen(damages[i].text));
        assert_int_equal(newest(run), 5);
        if (!strstr(buf_cstr(&warnings), damages[i].said))
            fail_msg("\"%s\" does not say \"%s\"", buf_cstr(&warnings), damages[i].said);
        free(path);
        free(dir);
        tmp_remove(run);
    }
}

/* Additional chat templates lie in a folder of their own. */
static void a_folder_within_is_vouched_for(void **state) {
    char *run = tmp_make(), *dir;
    struct err err = {0};
    (void)state;
    make(run, 5, "five");
    check_ok(checkpoint_begin(&dir, run, 10, &err), &err);
    char *within = path_join(dir, "templates");
    check_ok(file_mkdirs(within, &err), &err);
    spill(within, "one", "1", 1);
    check_ok(checkpoint_commit(dir, run, 10, &err), &err);
    assert_int_equal(newest(run), 10);
    dir = checkpoint_path(run, 10);
    spill(dir, "templates/one", "2", 1);
    assert_int_equal(newest(run), 5);
    assert_non_null(strstr(buf_cstr(&warnings), "templates/one does not match its manifest"));
    static const char *const out[] = {"../one", "/one", "a/b/c", "./one", "a/..", "a/", ".."};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        char text[100];
        int n =
            snprintf(text, sizeof text, "{\"format\":1,\"files\":{\"%s\":{\"bytes\":1}}}", out[i]);
        spill(dir, "manifest.json", text, (size_t)n);
        assert_int_equal(checkpoint_verify(dir, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "no entry for a plain file"));
    }
    free(within);
    free(dir);
    tmp_remove(run);
}

/* Writes without syncing: what is damaged here need not survive anything. */
static void put_raw(const char *path, const char *v, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(v, 1, n, f), n);
    fclose(f);
}

static void assert_noticed(const char *dir, const char *path, const char *how, size_t at) {
    struct err err = {0};
    if (checkpoint_verify(dir, &err) != ERR_CORRUPT || !strstr(err.msg, dir))
        fail_msg("%s, %s at %zu: \"%s\"", path, how, at, err.msg);
}

/* Every byte of every file flipped in its lowest and highest bit, and every shorter length
 * (vllm/speculators#739 chose checkpoints by name). A change of the manifest that leaves its
 * meaning would be none: its JSON has no byte that may change so. */
static void rot_is_noticed_wherever_it_is(void **state) {
    static const char *const names[] = {"weights", "state", "manifest.json"};
    char *run = tmp_make(), *dir = checkpoint_path(run, 7), *tmp, text[400];
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 37 + i / 7);
    check_ok(checkpoint_begin(&tmp, run, 7, &err), &err);
    spill(tmp, "weights", text, sizeof text);
    spill(tmp, "state", "{}\n", 3);
    check_ok(checkpoint_commit(tmp, run, 7, &err), &err);
    check_ok(checkpoint_verify(dir, &err), &err);
    for (size_t k = 0; k < 3; k++) {
        char *path = path_join(dir, names[k]);
        struct buf b = slurp(dir, names[k]);
        for (size_t at = 0; at < b.n; at++)
            for (int bit = 1; bit <= 128; bit *= 128) {
                b.v[at] ^= (char)bit;
                put_raw(path, b.v, b.n);
                bool blank = k == 2 && (at + 1 == b.n); /* the newline at its end */
                if (!blank) assert_noticed(dir, path, "a flipped bit", at);
                b.v[at] ^= (char)bit;
            }
        for (size_t n = 0; n + (k == 2) < b.n; n++) { /* without its newline it means the same */
            put_raw(path, b.v, n);
            assert_noticed(dir, path, "cut short", n);
        }
        put_raw(path, b.v, b.n);
        buf_release(&b);
        free(path);
    }
    check_ok(checkpoint_verify(dir, &err), &err);
    free(dir);
    tmp_remove(run);
}

static void none_whole_is_an_error_not_a_new_beginning(void **state) {
    char *run = tmp_make(), *dir = checkpoint_path(run, 5);
    uint64_t step;
    struct err err = {0};
    (void)state;
    make(run, 5, "five");
    spill(dir, "weights", "fixe", 4);
    check_fails(checkpoint_newest(run, &step, NULL, &err), ERR_CORRUPT, &err,
                "no other checkpoint is whole");
    free(dir);
    tmp_remove(run);
}

static void a_second_of_the_same_step_replaces_the_first(void **state) {
    char *run = tmp_make(), *dir = checkpoint_path(run, 5);
    struct strs names = {0};
    struct err err = {0};
    (void)state;
    make(run, 5, "five");
    make(run, 5, "again");
    struct buf b = slurp(dir, "weights");
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.v, "again", 5);
    assert_int_equal(newest(run), 5);
    check_ok(file_list(run, &names, &err), &err);
    assert_int_equal(names.n, 1); /* nothing temporary stays */
    strs_release(&names);
    buf_release(&b);
    free(dir);
    tmp_remove(run);
}

static void pruning_keeps_the_newest_and_the_best(void **state) {
    char *run = tmp_make();
    struct u64s left = {0};
    struct err err = {0};
    (void)state;
    for (uint64_t s = 1; s <= 6; s++) make(run, s, "x");
    check_ok(checkpoint_prune(run, 2, 3, &err), &err);
    check_ok(checkpoint_list(run, &left, &err), &err);
    assert_int_equal(left.n, 3);
    assert_int_equal(left.v[0], 3);
    assert_int_equal(left.v[1], 5);
    assert_int_equal(left.v[2], 6);
    check_ok(checkpoint_prune(run, 0, 0, &err), &err); /* 0: all stay */
    left.n = 0;
    check_ok(checkpoint_list(run, &left, &err), &err);
    assert_int_equal(left.n, 3);
    u64s_release(&left);
    tmp_remove(run);
}

static void an_unfinished_one_is_no_checkpoint(void **state) {
    char *run = tmp_make(), *dir;
    struct err err = {0};
    (void)state;
    make(run, 5, "five");
    check_ok(checkpoint_begin(&dir, run, 6, &err), &err);
    spill(dir, "weights", "six", 3);
    assert_int_equal(newest(run), 5);
    assert_int_equal(warnings.n, 0);
    checkpoint_abort(dir);
    tmp_remove(run);
}

static void links_are_relative_and_replaced(void **state) {
    char *run = tmp_make(), to[64] = "";
    struct err err = {0};
    (void)state;
    check_ok(run_link(run, "last", "checkpoint-1", &err), &err);
    check_ok(run_link(run, "last", "checkpoint-2", &err), &err);
    char *path = path_join(run, "last");
    assert_int_equal(readlink(path, to, sizeof to), 12);
    assert_string_equal(to, "checkpoint-2");
    check_ok(run_link(run, "last", NULL, &err), &err);
    assert_int_equal(readlink(path, to, sizeof to), -1);
    spill(run, "last", "mine", 4);
    check_fails(run_link(run, "last", "checkpoint-3", &err), ERR_USAGE, &err, "in the way");
    free(path);
    tmp_remove(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_whole_one_is_found),
        cmocka_unit_test(a_damaged_one_is_named_and_passed_over),
        cmocka_unit_test(a_folder_within_is_vouched_for),
        cmocka_unit_test(rot_is_noticed_wherever_it_is),
        cmocka_unit_test(none_whole_is_an_error_not_a_new_beginning),
        cmocka_unit_test(a_second_of_the_same_step_replaces_the_first),
        cmocka_unit_test(pruning_keeps_the_newest_and_the_best),
        cmocka_unit_test(an_unfinished_one_is_no_checkpoint),
        cmocka_unit_test(links_are_relative_and_replaced),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    buf_release(&warnings);
    return rc;
}
