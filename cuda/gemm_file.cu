/* The file of chosen algorithms: see gemm_file.h. Host code only. */
#include "cuda/gemm_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern "C" {
#include "base/file.h"
}

static const char FIRST[] = "lory products 1 | ";
enum { FILE_MOST = 4 << 20 };

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One line, its end exclusive. */
static bool parse_choice(struct gemm_choice *c, const char *p, const char *end) {
    int *numbers = &c->key.m;
    for (int i = 0; i < GEMM_KEY_NUMBERS; i++) {
        char *next;
        long v = strtol(p, &next, 10);
        if (next == p || next >= end || *next != ' ' || v < 0 || v > INT32_MAX) return false;
        numbers[i] = (int)v;
        p = next + 1;
    }
    if (end - p != 2 * GEMM_ALGORITHM_BYTES) return false;
    for (int i = 0; i < GEMM_ALGORITHM_BYTES; i++) {
        int high = hex_value(p[2 * i]), low = hex_value(p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        c->algorithm[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* `text` ends with a 0. */
static int parse(const char *path, const char *text, const char *who, struct gemm_choice **ret,
                 size_t *ret_n, struct err *err) {
    const char *line = strchr(text, '\n');
    size_t n = 0, lines = 0, first = sizeof FIRST - 1;
    if (!line || strncmp(text, FIRST, first) != 0)
        return err_set(err, ERR_CORRUPT, "%s: not a list of products", path);
    if ((size_t)(line - text) != first + strlen(who) ||
        strncmp(text + first, who, strlen(who)) != 0)
        return 0;
    for (const char *p = line + 1; *p; p++) lines += *p == '\n';
    struct gemm_choice *v = (struct gemm_choice *)calloc(lines ? lines : 1, sizeof *v);
    if (!v) return err_nomem(err, lines * sizeof *v);
    for (const char *p = line + 1, *end; (end = strchr(p, '\n')) != NULL; p = end + 1)
        if (!parse_choice(&v[n++], p, end)) {
            free(v);
            return err_set(err, ERR_CORRUPT,
                           "%s:%zu: not a product; remove the file to choose anew", path, n + 1);
        }
    *ret = v;
    *ret_n = n;
    return 0;
}

int gemm_file_read(const char *path, const char *who, struct gemm_choice **ret, size_t *ret_n,
                   struct err *err) {
    struct buf text = {};
    *ret = NULL;
    *ret_n = 0;
    if (file_kind(path) != FILE_REGULAR) return 0;
    int rc = file_read(path, FILE_MOST, &text, err);
    if (rc == 0) rc = buf_append(&text, "", 1, err);
    if (rc == 0) rc = parse(path, (const char *)text.v, who, ret, ret_n, err);
    buf_release(&text);
    return rc;
}

int gemm_file_write(const char *path, const char *who, const struct gemm_choice *v, size_t n,
                    struct err *err) {
    struct outfile *f;
    int rc = outfile_open(&f, path, err);
    if (rc < 0) return rc;
    rc = outfile_printf(f, err, "%s%s\n", FIRST, who);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const int *numbers = &v[i].key.m;
        for (int k = 0; rc == 0 && k < GEMM_KEY_NUMBERS; k++)
            rc = outfile_printf(f, err, "%d ", numbers[k]);
        for (int k = 0; rc == 0 && k < GEMM_ALGORITHM_BYTES; k++)
            rc = outfile_printf(f, err, "%02x%s", v[i].algorithm[k],
                                k + 1 == GEMM_ALGORITHM_BYTES ? "\n" : "");
    }
    if (rc < 0) {
        outfile_abort(f);
        return rc;
    }
    return outfile_commit(f, err);
}
