/* Words with their counts in a text file:  COUNT <TAB> WORD, one a line; \xHH in a word is a byte.
 * Files of several machines can be read one after the other, or sorted and merged by other tools:
 * counts of the same word add up. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "tokenizer/train.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Turns the escapes of word[0..n) into bytes, in place. Returns the new length, or -1 - offset of
 * what is wrong. */
static ptrdiff_t unescape(char *word, size_t n) {
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (word[i] != '\\') {
            word[to++] = word[i];
            continue;
        }
        bool good =
            i + 3 < n && word[i + 1] == 'x' && hex(word[i + 2]) >= 0 && hex(word[i + 3]) >= 0;
        if (!good) return -1 - (ptrdiff_t)i;
        word[to++] = (char)(hex(word[i + 2]) << 4 | hex(word[i + 3]));
        i += 3;
    }
    return (ptrdiff_t)to;
}

static int bad_line(const char *path, uint64_t line, size_t column, const char *what,
                    struct err *err) {
    int rc =
        err_set(err, ERR_DATA, "%s:%llu:%zu: %s", path, (unsigned long long)line, column, what);
    err_place(err, line, column, 0);
    return rc;
}

/* One line without its newline. */
static int read_line(struct words *w, char *s, size_t n, const char *path, uint64_t line,
                     struct err *err) {
    uint64_t count = 0;
    size_t i = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        if (__builtin_mul_overflow(count, 10u, &count) ||
            __builtin_add_overflow(count, (uint64_t)(s[i] - '0'), &count) || count >> 62)
            return bad_line(path, line, i + 1, "the count is too large", err);
    if (i == 0 || i == n || s[i] != '\t')
        return bad_line(path, line, i + 1, "a line is COUNT, a tab, WORD", err);
    char *word = s + i + 1;
    ptrdiff_t len = unescape(word, n - i - 1);
    if (len < 0)
        return bad_line(path, line, i + 1 + (size_t)-len,
                        "a backslash begins \\xHH; a backslash itself is \\x5c", err);
    if (len == 0) return bad_line(path, line, i + 2, "the word is empty", err);
    int rc = words_add_count(w, 0, word, (size_t)len, count, err);
    return rc == ERR_DATA ? err_prefix(err, "%s:%llu", path, (unsigned long long)line) : rc;
}

int words_read_counts(struct words *w, const char *path, struct err *err) {
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!f) return err_errno(err, "%s", path);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = 0;
    errno = 0;
    for (uint64_t no = 1; rc == 0 && (n = getline(&line, &cap, f)) >= 0; no++) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
        if (n > 0) rc = read_line(w, line, (size_t)n, path, no, err);
    }
    if (rc == 0 && !feof(f)) rc = err_errno(err, "%s", path);
    free(line);
    if (f != stdin) fclose(f);
    return rc;
}

/* ------------------------------------------------------------------ writing */

/* Blanks are escaped too: at a line's end they would not survive every tool. */
static int write_word(struct outfile *f, const char *word, size_t n, struct err *err) {
    static const char digit[] = "0123456789abcdef";
    char out[1024];
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)word[i];
        if (c > ' ' && c < 0x7f && c != '\\') {
            out[to++] = (char)c;
        } else {
            memcpy(out + to, (char[]){'\\', 'x', digit[c >> 4], digit[c & 15]}, 4);
            to += 4;
        }
        if (to <= sizeof out - 4 && i + 1 < n) continue;
        int rc = outfile_write(f, out, to, err);
        if (rc < 0) return rc;
        to = 0;
    }
    return outfile_write(f, "\n", 1, err);
}

int words_write_counts(struct words *w, const char *path, struct err *err) {
    struct outfile *f = NULL;
    words_sort(w);
    int rc = outfile_open(&f, path, err);
    for (uint64_t i = 0; rc == 0 && i < words_distinct(w); i++) {
        size_t n;
        uint64_t count;
        const char *word = words_get(w, i, &n, &count);
        rc = outfile_printf(f, err, "%llu\t", (unsigned long long)count);
        if (rc == 0) rc = write_word(f, word, n, err);
    }
    if (rc == 0) return outfile_commit(f, err);
    outfile_abort(f);
    return rc;
}
