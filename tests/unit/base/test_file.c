/* Files: an artefact appears whole or not at all, whatever the disk says. */
#include "tests/unit/test.h"
#include "base/hash.h"
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static size_t entries(const char *dir) {
    struct strs names = {0};
    check_ok(file_list(dir, &names, NULL), &(struct err){0});
    size_t n = names.n;
    strs_release(&names);
    return n;
}

static void check_contents(const char *path, const char *want, size_t n) {
    struct buf b = {0};
    struct err e = {0};
    check_ok(file_read(path, 1 << 20, &b, &e), &e);
    assert_int_equal(b.n, n);
    if (n) assert_memory_equal(b.v, want, n);
    buf_release(&b);
}

static void paths_are_joined_and_split(void **state) {
    (void)state;
    static const char *const join[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "", "a"},
                                          {"", "b", "b"},    {"a", "/b", "/b"},  {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof join / sizeof *join; i++) {
        char *p = path_join(join[i][0], join[i][1]);
        assert_string_equal(p, join[i][2]);
        free(p);
    }
    static const char *const dir[][2] = {{"a/b", "a"},  {"b", "."},     {"/b", "/"},
                                         {"a//b", "a"}, {"/a/b", "/a"}, {"//b", "/"}};
    for (size_t i = 0; i < sizeof dir / sizeof *dir; i++) {
        char *p = path_dir(dir[i][0]);
        assert_string_equal(p, dir[i][1]);
        free(p);
    }
    assert_string_equal(path_base("a/b.bin"), "b.bin");
    assert_string_equal(path_base("b"), "b");
    assert_true(path_ends("x.json.gz", ".gz") && !path_ends("gz", ".gz"));
}

static void commit_replaces_and_abort_leaves_the_old(void **state) {
    const char *path = in(*state, "a.txt");
    struct err e = {0};
    struct outfile *f;
    check_ok(file_write(path, "old", 3, &e), &e);
    check_ok(outfile_open(&f, path, &e), &e);
    check_ok(outfile_printf(f, &e, "%s", "new text"), &e);
    check_contents(path, "old", 3); /* nothing is seen before the end */
    outfile_abort(f);
    check_contents(path, "old", 3);
    assert_int_equal(entries(*state), 1);
    check_ok(outfile_open(&f, path, &e), &e);
    check_ok(outfile_printf(f, &e, "%s", "new text"), &e);
    assert_int_equal(outfile_tell(f), 8);
    check_ok(outfile_patch(f, 0, "N", 1, &e), &e);
    check_fails(outfile_patch(f, 8, "x", 1, &e), ERR_OTHER, &e, "behind the end");
    check_ok(outfile_commit(f, &e), &e);
    check_contents(path, "New text", 8);
    assert_int_equal(entries(*state), 1);
    outfile_abort(NULL);
}

/* More than the buffer, in pieces that do not divide it, with a header filled in at the end. */
static void large_files_are_whole(void **state) {
    const char *path = in(*state, "large.bin");
    struct err e = {0};
    struct outfile *f;
    unsigned char piece[7777];
    check_ok(outfile_open(&f, path, &e), &e);
    for (int i = 0; i < 400; i++) {
        memset(piece, i, sizeof piece);
        check_ok(outfile_write(f, piece, sizeof piece, &e), &e);
    }
    char *huge = calloc(1, 3 << 20);
    check_ok(outfile_write(f, huge, 3 << 20, &e), &e);
    free(huge);
    check_ok(outfile_patch(f, 1, "ABC", 3, &e), &e);
    assert_int_equal(outfile_tell(f), 400 * 7777 + (3 << 20));
    check_ok(outfile_commit(f, &e), &e);
    struct mapping m;
    check_ok(mapping_open(&m, path, &e), &e);
    assert_int_equal(m.bytes, 400 * 7777 + (3 << 20));
    assert_memory_equal(m.v, "\0ABC", 4);
    assert_int_equal(m.v[399 * 7777 + 5], 399 % 256);
    mapping_close(&m);
}

static void umask_is_honoured(void **state) {
    struct stat st;
    struct err e = {0};
    mode_t before = umask(027);
    check_ok(file_write(in(*state, "m"), "x", 1, &e), &e);
    umask(before);
    assert_int_equal(stat(in(*state, "m"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void links_stay_links(void **state) {
    struct stat st;
    struct err e = {0};
    check_ok(file_write(in(*state, "real"), "1", 1, &e), &e);
    assert_int_equal(symlink("real", in(*state, "link")), 0);
    check_ok(file_write(in(*state, "link"), "22", 2, &e), &e);
    check_contents(in(*state, "real"), "22", 2);
    assert_int_equal(lstat(in(*state, "link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

/* A full disk is exit code 4 and names the file; devices are written directly, never replaced. */
static void full_device_is_reported(void **state) {
    (void)state;
    struct err e = {0};
    struct stat st;
    check_fails(file_write("/dev/full", "x", 1, &e), ERR_IO, &e, "/dev/full: No space left");
    assert_int_equal(stat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    check_ok(file_write("/dev/null", "x", 1, &e), &e);
}

/* In a child, because the limit on the size of files cannot be taken back. */
static void size_limit_leaves_nothing(void **state) {
    pid_t child = fork();
    if (child == 0) {
        struct err e = {0};
        signals_ignore_pipe();
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        char big[5000] = {0};
        int rc = file_write(in(*state, "big"), big, sizeof big, &e);
        _exit(rc == ERR_IO && strstr(e.msg, "big: File too large") ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(file_kind(in(*state, "big")), FILE_NONE);
    assert_int_equal(entries(*state), 0);
}

static void unwritable_places_are_refused(void **state) {
    struct err e = {0};
    struct outfile *f;
    check_fails(outfile_open(&f, in(*state, "no/such"), &e), ERR_IO, &e, "No such file");
    check_fails(outfile_open(&f, *state, &e), ERR_IO, &e, "is a folder");
    assert_int_equal(outfile_open(&f, "", &e), ERR_USAGE);
    /* root may write anywhere but in /proc */
    check_fails(outfile_open(&f, "/proc/lory-test", &e), ERR_IO, &e, "/proc/lory-test");
    if (geteuid() == 0) return;
    assert_int_equal(chmod(*state, 0500), 0);
    check_fails(outfile_open(&f, in(*state, "a"), &e), ERR_IO, &e, "Permission denied");
    assert_int_equal(chmod(*state, 0700), 0);
}

static void closed_pipe_is_quiet(void **state) {
    int fd[2];
    char path[64];
    struct err e = {0};
    (void)state;
    signals_ignore_pipe();
    assert_int_equal(pipe(fd), 0);
    close(fd[0]);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[1]);
    int rc = file_write(path, "x", 1, &e);
    assert_int_equal(rc, ERR_PIPE);
    close(fd[1]);
}

/* `-o /dev/stdout > file`: renaming over the file would leave the shell's descriptor with
 * nothing. */
static void descriptors_are_written_in_place(void **state) {
    struct err e = {0};
    char path[64];
    int fd = open(in(*state, "out"), O_RDWR | O_CREAT, 0600);
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    check_ok(file_write(path, "text", 4, &e), &e);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_nlink, 1); /* still the file in the folder */
    check_contents(in(*state, "out"), "text", 4);
    close(fd);
}

/* Same process number as a crashed writer, as in containers: its file is taken over; a living
 * writer's is not. */
static void stale_file_of_our_number_is_taken_over(void **state) {
    struct err e = {0};
    struct outfile *f, *g;
    char name[64];
    snprintf(name, sizeof name, ".a.tmp-%d", (int)getpid());
    check_ok(file_write(in(*state, name), "stale", 5, &e), &e);
    check_ok(outfile_open(&f, in(*state, "a"), &e), &e);
    check_fails(outfile_open(&g, in(*state, "a"), &e), ERR_IO, &e, "is being written already");
    check_ok(outfile_commit(f, &e), &e);
    check_contents(in(*state, "a"), "", 0);
    assert_int_equal(entries(*state), 1);
}

static void sweep_takes_only_the_dead(void **state) {
    struct err e = {0};
    char dead[64], alive[64], folder[64];
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0); /* a number that is surely free now */
    snprintf(dead, sizeof dead, ".model.tmp-%d", (int)child);
    snprintf(folder, sizeof folder, ".checkpoint-7.tmp-%d", (int)child);
    snprintf(alive, sizeof alive, ".model.tmp-%d", (int)getppid());
    const char *keep[] = {alive, "model.tmp-1", ".tmp-1", ".x.tmp-", ".x.tmp-12a", ".x.tmp-0"};
    for (size_t i = 0; i < 6; i++) check_ok(file_write(in(*state, keep[i]), "", 0, &e), &e);
    check_ok(file_write(in(*state, dead), "x", 1, &e), &e);
    check_ok(file_mkdirs(in(in(*state, folder), "deep/er"), &e), &e);
    check_ok(file_sweep(*state, &e), &e);
    assert_int_equal(file_kind(in(*state, dead)), FILE_NONE);
    assert_int_equal(file_kind(in(*state, folder)), FILE_NONE);
    assert_int_equal(entries(*state), 6);
}

/* A folder that a user names is not ours to look through: only what was to become this file
 * goes. */
static void what_a_dead_writer_left_of_a_file_goes(void **state) {
    struct err e = {0};
    char dead[64], alive[64], other[64], longer[64];
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    snprintf(dead, sizeof dead, ".a.gz.tmp-%d", (int)child);
    snprintf(alive, sizeof alive, ".a.gz.tmp-%d", (int)getppid());
    snprintf(other, sizeof other, ".b.gz.tmp-%d", (int)child);
    snprintf(longer, sizeof longer, ".a.gz.tmp-1.tmp-%d", (int)child);
    const char *keep[] = {"a.gz", alive, other, longer};
    for (int twice = 0; twice < 2; twice++) { /* by its name, and by a link from elsewhere */
        for (size_t i = 0; i < 4; i++) check_ok(file_write(in(*state, keep[i]), "", 0, &e), &e);
        check_ok(file_write(in(*state, dead), "x", 1, &e), &e);
        check_ok(file_mkdirs(in(*state, "links"), &e), &e);
        if (!twice) assert_int_equal(symlink("../a.gz", in(*state, "links/l")), 0);
        file_sweep_of(in(*state, twice ? "links/l" : "a.gz"));
        assert_int_equal(file_kind(in(*state, dead)), FILE_NONE);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(file_kind(in(*state, keep[i])), FILE_REGULAR);
    }
    struct outfile *f;
    for (int swept = 0; swept < 2; swept++) {
        check_ok(file_write(in(*state, dead), "x", 1, &e), &e);
        check_ok((swept ? outfile_open_swept : outfile_open)(&f, in(*state, "a.gz"), &e), &e);
        outfile_abort(f);
        assert_int_equal(file_kind(in(*state, dead)), swept ? FILE_REGULAR : FILE_NONE);
    }
    file_sweep_of("-");
    file_sweep_of("/dev/null");
    file_sweep_of(in(*state, "nowhere/at/all"));
}

/* A writer that dies leaves its part, and the next one goes on where it had noted to be. */
static void parts_go_on(void **state) {
    const char *path = in(*state, "a.bin");
    struct err e = {0};
    struct outfile *f, *g;
    check_ok(outfile_resume(&f, path, 0, &e), &e);
    check_ok(outfile_printf(f, &e, "%s", "first lost"), &e);
    check_ok(outfile_sync(f, &e), &e);
    check_fails(outfile_resume(&g, path, 0, &e), ERR_IO, &e, "is being written already");
    outfile_abort(f);
    assert_int_equal(file_kind(path), FILE_NONE);
    check_ok(file_sweep(*state, &e), &e);
    check_ok(outfile_resume(&f, path, 6, &e), &e);
    assert_int_equal(outfile_tell(f), 6);
    check_ok(outfile_printf(f, &e, "%s", "second"), &e);
    check_ok(outfile_patch(f, 0, "F", 1, &e), &e);
    check_ok(outfile_commit(f, &e), &e);
    check_contents(path, "First second", 12);
    assert_int_equal(entries(*state), 1);
    check_ok(outfile_resume(&f, path, 6, &e), &e); /* committed behind the noted place */
    assert_int_equal(file_kind(path), FILE_NONE);
    check_ok(outfile_printf(f, &e, "%s", "third"), &e);
    check_ok(outfile_commit(f, &e), &e);
    check_contents(path, "First third", 11);
    check_fails(outfile_resume(&f, path, 12, &e), ERR_CORRUPT, &e,
                "holds 11 bytes, should hold 12");
    assert_int_equal(entries(*state), 1); /* the part: it stays */
}

static void folders_are_made_and_removed(void **state) {
    struct err e = {0};
    check_ok(file_mkdirs(in(*state, "x/y/z/"), &e), &e);
    check_ok(file_mkdirs(in(*state, "x/y"), &e), &e);
    check_ok(file_write(in(*state, "x/y/f"), "1", 1, &e), &e);
    check_fails(file_mkdirs(in(*state, "x/y/f/g"), &e), ERR_IO, &e, "not a folder");
    check_ok(file_write(in(*state, "outside"), "1", 1, &e), &e);
    assert_int_equal(symlink("../outside", in(*state, "x/link")), 0);
    check_ok(file_remove(in(*state, "x"), &e), &e);
    check_ok(file_remove(in(*state, "x"), &e), &e);
    assert_int_equal(file_kind(in(*state, "x")), FILE_NONE);
    assert_int_equal(file_kind(in(*state, "outside")), FILE_REGULAR); /* links are not followed */
}

static void reading_is_bounded(void **state) {
    struct err e = {0};
    struct buf b = {0};
    uint64_t n;
    check_ok(file_write(in(*state, "f"), "0123456789", 10, &e), &e);
    check_ok(file_read(in(*state, "f"), 10, &b, &e), &e);
    check_fails(file_read(in(*state, "f"), 9, &b, &e), ERR_CORRUPT, &e, "more than 9 bytes");
    check_fails(file_read("/dev/zero", 1 << 20, &b, &e), ERR_CORRUPT, &e, "more than");
    check_fails(file_read(*state, 10, &b, &e), ERR_IO, &e, "Is a directory");
    check_fails(file_bytes(*state, &n, &e), ERR_IO, &e, "not a regular file");
    check_ok(file_bytes(in(*state, "f"), &n, &e), &e);
    assert_int_equal(n, 10);
    check_ok(file_free_bytes(in(*state, "no/such/file"), &n, &e), &e);
    buf_release(&b);
}

static void mappings_refuse_what_they_cannot_map(void **state) {
    struct err e = {0};
    struct mapping m;
    check_ok(file_write(in(*state, "empty"), "", 0, &e), &e);
    check_ok(mapping_open(&m, in(*state, "empty"), &e), &e);
    assert_null(m.v);
    mapping_close(&m);
    check_fails(mapping_open(&m, "/dev/null", &e), ERR_IO, &e, "not a regular file");
    check_fails(mapping_open(&m, in(*state, "none"), &e), ERR_IO, &e, "No such file");
}

static void lists_are_sorted_by_bytes(void **state) {
    struct err e = {0};
    static const char *const names[] = {"b", "a10", "a9", "B", "\xC3\xA9"};
    for (int i = 0; i < 5; i++) check_ok(file_write(in(*state, names[i]), "", 0, &e), &e);
    struct strs got = {0};
    check_ok(file_list(*state, &got, &e), &e);
    static const char *const want[] = {"B", "a10", "a9", "b", "\xC3\xA9"};
    assert_int_equal(got.n, 5);
    for (int i = 0; i < 5; i++) assert_string_equal(got.v[i], want[i]);
    strs_release(&got);
}

/* Published values: FIPS 180-2 for "abc"; XXH3 of the empty input from xxHash's own test table. */
static void digests_are_the_published_ones(void **state) {
    struct err e = {0};
    char hex[SHA256_HEX], x[XXH128_HEX], y[XXH128_HEX];
    check_ok(file_write(in(*state, "abc"), "abc", 3, &e), &e);
    check_ok(sha256_file(in(*state, "abc"), hex, &e), &e);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    xxh128_bytes("", 0, x);
    assert_string_equal(x, "99aa06d3014798d86001c324468d497f");
    assert_int_equal(xxh64_bytes("", 0, 0), 0x2d06800538d394c2u);
    xxh128_bytes("abc", 3, x);
    check_ok(xxh128_file(in(*state, "abc"), y, &e), &e);
    assert_string_equal(x, y);
    check_fails(sha256_file(in(*state, "none"), hex, &e), ERR_IO, &e, "No such file");
    sha256_free(sha256_new());
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_and_split),
        IN_FOLDER(commit_replaces_and_abort_leaves_the_old),
        IN_FOLDER(large_files_are_whole),
        IN_FOLDER(umask_is_honoured),
        IN_FOLDER(links_stay_links),
        cmocka_unit_test(full_device_is_reported),
        IN_FOLDER(size_limit_leaves_nothing),
        IN_FOLDER(unwritable_places_are_refused),
        cmocka_unit_test(closed_pipe_is_quiet),
        IN_FOLDER(descriptors_are_written_in_place),
        IN_FOLDER(stale_file_of_our_number_is_taken_over),
        IN_FOLDER(sweep_takes_only_the_dead),
        IN_FOLDER(what_a_dead_writer_left_of_a_file_goes),
        IN_FOLDER(parts_go_on),
        IN_FOLDER(folders_are_made_and_removed),
        IN_FOLDER(reading_is_bounded),
        IN_FOLDER(mappings_refuse_what_they_cannot_map),
        IN_FOLDER(lists_are_sorted_by_bytes),
        IN_FOLDER(digests_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
