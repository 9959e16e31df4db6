/* What a safetensors reader must refuse: the Rust crate's own list, and what was tried on it. */
#include "golden_help.h"

static char *path;

static int make_path(void **state) {
    (void)state;
    path = strdup("/tmp/lory-safetensors-XXXXXX");
    int fd = path ? mkstemp(path) : -1;
    if (fd >= 0) close(fd);
    return fd < 0 ? -1 : 0;
}

static int drop_path(void **state) {
    (void)state;
    unlink(path);
    free(path);
    return 0;
}

/* A file of a header and `bytes` zeros behind it. */
static void write_case(const char *header, size_t header_n, size_t bytes) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 8; i++) fputc((int)(header_n >> 8 * i & 255), f);
    fwrite(header, 1, header_n, f);
    for (size_t i = 0; i < bytes; i++) fputc(0, f);
    assert_int_equal(fclose(f), 0);
}

static int verdict(const char *header, size_t bytes) {
    struct safetensors s = {0};
    struct err err = {0};
    write_case(header, strlen(header), bytes);
    int rc = safetensors_open(&s, path, &err);
    if (rc == 0) safetensors_close(&s);
    if (rc < 0) assert_non_null(strstr(err.msg, path)); /* every message says which file */
    return rc;
}

#define T(name, dtype, shape, from, to)                                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" from "," to   \
    "]}"

static void good_files_open(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
    } cases[] = {
        {"{}", 0},
        {"{}      ", 0},
        {"{\"__metadata__\":{\"format\":\"pt\"}}", 0},
        {"{\"__metadata__\":null}", 0},
        {"{" T("a", "F32", "2,2", "0", "16") "}", 16},
        {"{" T("scalar", "F64", "", "0", "8") "}", 8},
        {"{" T("none", "I64", "0,7", "0", "0") "}", 0},
        {"{" T("b", "U8", "3", "0", "3") "," T("a", "BF16", "2", "3", "7") "}", 7},
        {"{" T("late", "U8", "3", "4", "7") "," T("early", "F32", "1", "0", "4") "}", 7},
        {"{" T("half bytes", "F4", "4", "0", "2") "}", 2},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":[{}]}}", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (verdict(cases[i].header, cases[i].bytes) != 0) fail_msg("refused: %s", cases[i].header);
}

static void bad_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
    } cases[] = {
        {"", 0},
        {" {}", 0},
        {"[]", 0},
        {"{", 0},
        {"{}{}", 0},
        {"{\"a\":1}", 0},
        {"{\"a\xff\":{}}", 0},
        {"{\"__metadata__\":{\"format\":1}}", 0},
        {"{\"__metadata__\":[]}", 0},
        {"{" T("a", "F32", "2,2", "0", "16") "}", 15},                            /* cut     */
        {"{" T("a", "F32", "2,2", "0", "16") "}", 17},                            /* too long */
        {"{" T("a", "F32", "2,2", "4", "20") "}", 20},                            /* a hole   */
        {"{" T("a", "F32", "2,2", "0", "12") "}", 12},                            /* shape    */
        {"{" T("a", "F32", "4", "16", "0") "}", 16},                              /* backwards */
        {"{" T("a", "U8", "4", "0", "4") "," T("b", "U8", "4", "2", "6") "}", 6}, /* overlap  */
        {"{" T("a", "U8", "4", "0", "4") "," T("b", "U8", "4", "0", "4") "}", 4}, /* the same */
        {"{" T("a", "U8", "4", "0", "4") "," T("b", "U8", "4", "5", "9") "}", 9}, /* a hole   */
        {"{" T("a", "U8", "4", "0", "4") "," T("a", "U8", "4", "4", "8") "}", 8}, /* twice    */
        {"{" T("a", "U8", "4294967296,4294967296", "0", "0") "}", 0},             /* 2^64     */
        {"{" T("a", "F32", "4611686018427387904", "0", "0") "}", 0},              /* 2^62 x 4 */
        {"{" T("a", "F32", "-1", "0", "4") "}", 4},
        {"{" T("a", "F32", "1.5", "0", "6") "}", 6},
        {"{" T("a", "F32", "1e30", "0", "4") "}", 4},
        {"{" T("a", "F31", "1", "0", "4") "}", 4},
        {"{" T("a", "f32", "1", "0", "4") "}", 4},
        {"{" T("a", "F4", "3", "0", "1") "}", 1}, /* half a byte */
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (verdict(cases[i].header, cases[i].bytes) != ERR_CORRUPT)
            fail_msg("not refused: %s", cases[i].header);
}

/* A header's length that is no length: 0 … 7 bytes of file, 100 MB + 1, 2^63, more than the
 * file. */
static void impossible_lengths_are_refused(void **state) {
    static const uint64_t lengths[] = {3, 100000001, 1ull << 63, UINT64_MAX, UINT64_MAX - 7};
    struct safetensors s = {0};
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        FILE *f = fopen(path, "wb");
        fwrite(&lengths[i], 8, 1, f);
        fputs("{}", f);
        fclose(f);
        assert_int_equal(safetensors_open(&s, path, &err), ERR_CORRUPT);
    }
    for (int n = 0; n < 8; n++) {
        FILE *f = fopen(path, "wb");
        fwrite("\2\0\0\0\0\0\0\0", 1, (size_t)n, f);
        fclose(f);
        assert_int_equal(safetensors_open(&s, path, &err), ERR_CORRUPT);
    }
}

/* Every cut and every flipped bit of a small file is refused, or opens as a file of the same size
 * whose tensors can be read to their ends. (What flips in the data is the manifest's business.) */
static void damaged_files_never_hurt(void **state) {
    struct buf whole = {0};
    struct err err = {0};
    float x[4];
    (void)state;
    write_case("{" T("a", "F32", "2,2", "0", "16") "," T("b", "BF16", "2", "16", "20") "}",
               strlen("{" T("a", "F32", "2,2", "0", "16") "," T("b", "BF16", "2", "16", "20") "}"),
               20);
    check_ok(file_read(path, 1 << 20, &whole, &err), &err);
    for (size_t i = 0; i < whole.n * 9; i++) {
        struct safetensors s = {0};
        size_t at = i / 9, bit = i % 9, n = bit == 8 ? at : whole.n;
        if (bit < 8) whole.v[at] ^= (char)(1 << bit);
        check_ok(file_write(path, whole.v, n, &err), &err);
        if (bit < 8) whole.v[at] ^= (char)(1 << bit);
        int rc = safetensors_open(&s, path, &err);
        assert_true(rc == ERR_CORRUPT || (rc == 0 && bit < 8));
        for (size_t k = 0; rc == 0 && k < s.n; k++)
            if (s.v[k].n <= 4) st_read_f32(&s.v[k], 0, s.v[k].n, x, NULL);
        if (rc == 0) safetensors_close(&s);
    }
    buf_release(&whole);
}

/* Data behind a header of odd length lies at odd addresses; openai-community/gpt2's begins at
 * 14291. */
static void unaligned_data_is_read(void **state) {
    static const uint16_t halves[8] = {0x3C00, 0xC000, 0x7BFF, 0x0001,
                                       0x83FF, 0x0400, 0x8000, 0x7C00};
    static const float want[8] = {1, -2, 65504, 0x1p-24f, -0x1.ff8p-15f, 0x1p-14f, -0.0f, INFINITY};
    const char *header = "{" T("h", "F16", "8", "0", "16") "," T(
        "w", "BF16", "1", "16", "18") "," T("i", "I32", "1", "18", "22") "}";
    uint8_t bytes[22] = {0};
    float got[8];
    struct safetensors s = {0};
    struct err err = {0};
    (void)state;
    memcpy(bytes, halves, 16);
    bytes[16] = 0x49, bytes[17] = 0x40; /* 3.140625 */
    FILE *f = fopen(path, "wb");
    uint64_t n = strlen(header) | 1; /* odd */
    fwrite(&n, 8, 1, f);
    fprintf(f, "%-*s", (int)n, header);
    fwrite(bytes, 1, sizeof bytes, f);
    fclose(f);
    check_ok(safetensors_open(&s, path, &err), &err);
    check_ok(st_read_f32(safetensors_find(&s, "h"), 0, 8, got, &err), &err);
    assert_memory_equal(got, want, sizeof want);
    check_ok(st_read_f32(safetensors_find(&s, "w"), 0, 1, got, &err), &err);
    assert_true(got[0] == 3.140625f);
    assert_int_equal(st_read_f32(safetensors_find(&s, "h"), 1, 8, got, &err), ERR_CORRUPT);
    assert_int_equal(st_read_f32(safetensors_find(&s, "i"), 0, 1, got, &err), ERR_CORRUPT);
    assert_null(safetensors_find(&s, "x"));
    safetensors_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_open),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(impossible_lengths_are_refused),
        cmocka_unit_test(damaged_files_never_hurt),
        cmocka_unit_test(unaligned_data_is_read),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}
