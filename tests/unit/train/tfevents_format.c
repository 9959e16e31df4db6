/* Event files: checksums, records, and what a resumed run leaves of the old ones. */
#include "run_help.h"
#include "train/tfevents.h"

/* tensorboard/data/server/masked_crc.rs */
static void checksums_are_tensorboards(void **state) {
    uint8_t zeros[32] = {0};
    (void)state;
    assert_int_equal(tfevents_crc("\x1a\x11"
                                  "CRC test, one two",
                                  19),
                     0x5794d08a);
    uint32_t crc = 0x8a9136aa; /* of 32 zeros, unmasked */
    assert_int_equal(tfevents_crc(zeros, 32), (crc >> 15 | crc << 17) + 0xa282ead8u);
}

struct list {
    uint64_t steps[64];
    size_t n;
};

static int note(void *ctx, const uint8_t *record, size_t bytes, uint64_t step) {
    struct list *l = ctx;
    (void)record;
    /* only records with a summary: the head and the session start are not steps */
    if (memmem(record, bytes, "train/", 6)) l->steps[l->n++] = step;
    return 0;
}

/* All steps in the folder, file by file as readers take them. */
static struct list steps_in(const char *dir, size_t *ret_files) {
    struct strs names = {0};
    struct list l = {0};
    struct err err = {0};
    *ret_files = 0;
    check_ok(file_list(dir, &names, &err), &err);
    for (size_t i = 0; i < names.n; i++) {
        struct buf b = slurp(dir, names.v[i]);
        assert_int_equal(tfevents_walk((uint8_t *)b.v, b.n, note, &l), b.n);
        buf_release(&b);
        (*ret_files)++;
    }
    strs_release(&names);
    return l;
}

static void add_steps(const char *dir, uint64_t resume, uint64_t last) {
    struct tfevents *t;
    struct err err = {0};
    check_ok(tfevents_open(&t, dir, resume, 1e9, &err), &err);
    for (uint64_t s = resume + 1; s <= last; s++) {
        struct tf_value v[] = {{"train/loss", 1.5}, {"train/lr", 2}};
        check_ok(tfevents_add(t, s, 1e9, v, 2, &err), &err);
    }
    tfevents_close(t);
}

static void each_step_once_after_any_number_of_resumes(void **state) {
    char *dir = tmp_make();
    size_t files;
    (void)state;
    add_steps(dir, 0, 7);
    add_steps(dir, 0, 0); /* killed before its first step, after a run that saved nothing */
    add_steps(dir, 0, 9);
    add_steps(dir, 5, 8);
    add_steps(dir, 5, 6);
    add_steps(dir, 6, 10);
    struct list l = steps_in(dir, &files);
    assert_int_equal(l.n, 10);
    for (size_t i = 0; i < l.n; i++) assert_int_equal(l.steps[i], i + 1);
    assert_int_equal(files, 3); /* those that hold steps, although all began in one second */
    tmp_remove(dir);
}

static void a_torn_tail_is_cut_off(void **state) {
    char *dir = tmp_make();
    struct strs names = {0};
    struct err err = {0};
    size_t files;
    (void)state;
    add_steps(dir, 0, 3);
    check_ok(file_list(dir, &names, &err), &err);
    struct buf b = slurp(dir, names.v[0]);
    spill(dir, names.v[0], b.v, b.n - 5);
    add_steps(dir, 3, 4);
    struct list l = steps_in(dir, &files); /* step 3 is lost with its record: it was never synced */
    assert_int_equal(l.n, 3);
    assert_int_equal(l.steps[1], 2);
    assert_int_equal(l.steps[2], 4);
    buf_release(&b);
    strs_release(&names);
    tmp_remove(dir);
}

static void a_flipped_bit_is_noticed(void **state) {
    char *dir = tmp_make();
    struct strs names = {0};
    struct list l = {0};
    struct err err = {0};
    (void)state;
    add_steps(dir, 0, 3);
    check_ok(file_list(dir, &names, &err), &err);
    struct buf b = slurp(dir, names.v[0]);
    for (size_t i = 0; i < b.n; i++) {
        b.v[i] ^= 4;
        assert_true(tfevents_walk((uint8_t *)b.v, b.n, note, &l) < b.n);
        l.n = 0;
        b.v[i] ^= 4;
    }
    buf_release(&b);
    strs_release(&names);
    tmp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_are_tensorboards),
        cmocka_unit_test(each_step_once_after_any_number_of_resumes),
        cmocka_unit_test(a_torn_tail_is_cut_off),
        cmocka_unit_test(a_flipped_bit_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
