/* The file of chosen algorithms: what is written comes back; another GPU's does not count; damage
 * is found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cuda/gemm_file.h"

static int failures;

static void expect(bool ok, const char *what) {
    if (ok) return;
    failures++;
    fprintf(stderr, "FAILED: %s\n", what);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) exit(1);
}

int main(void) {
    char path[] = "/tmp/lory-products-XXXXXX";
    struct gemm_choice some[2] = {}, *got;
    size_t n;
    struct err err = {};
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    unlink(path);
    expect(gemm_file_read(path, "a", &got, &n, &err) == 0 && n == 0, "no file is no choice");
    for (int i = 0; i < 2; i++) {
        some[i].key = {768, 2304 + i, 65536, 768, 2304, 2304, 1, 0, 1, 1, 3, 16};
        for (int k = 0; k < GEMM_ALGORITHM_BYTES; k++)
            some[i].algorithm[k] = (uint8_t)(7 * k + i + 200);
    }
    expect(gemm_file_write(path, "one GPU | library 5", some, 2, &err) == 0, "writing");
    expect(gemm_file_read(path, "one GPU | library 5", &got, &n, &err) == 0 && n == 2 &&
               memcmp(got, some, sizeof some) == 0,
           "what was written comes back");
    free(got);
    expect(gemm_file_read(path, "one GPU | library 6", &got, &n, &err) == 0 && n == 0,
           "another library's choices do not count");
    write_text(path, "something else\n");
    expect(gemm_file_read(path, "a", &got, &n, &err) == ERR_CORRUPT, "another file is refused");
    write_text(path, "lory products 1 | a\n1 2 3 4 5 6 0 0 0 0 0 16 00\n");
    expect(gemm_file_read(path, "a", &got, &n, &err) == ERR_CORRUPT, "a short line is refused");
    write_text(path, "lory products 1 | a\n1 2 3\n");
    expect(gemm_file_read(path, "a", &got, &n, &err) == ERR_CORRUPT && strstr(err.msg, ":2:"),
           "a cut line is refused, with its number");
    unlink(path);
    return failures > 0;
}
