/* Names and addresses, without a network: origins, redirects, headers, repositories, globs,
 * paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "stream/http_parts.h"
#include "stream/hub.h"
#include "stream/hub_push.h"
#include "stream/hub_parts.h"

/* curl's CVE-2018-1000007, -2022-27774 and -27776: another port or scheme is another origin. */
static void origins(void **state) {
    (void)state;
    const char *home = "https://huggingface.co";
    assert_true(url_same_origin("https://huggingface.co/a?b#c", home));
    assert_true(url_same_origin("https://HuggingFace.co:443/", home));
    assert_false(url_same_origin("http://huggingface.co/", home));
    assert_false(url_same_origin("https://huggingface.co:8443/", home));
    assert_false(url_same_origin("https://huggingface.co.evil.com/", home));
    assert_false(url_same_origin("https://cdn.huggingface.co/", home));
    assert_false(url_same_origin("https://huggingface.co@evil.com/", home));
    assert_false(url_same_origin("nonsense", home));
}

static void shown(const char *url, const char *want) {
    char *s = url_shown(url);
    assert_string_equal(s, want);
    free(s);
}

/* A signed address is a key: its query must not reach a log. */
static void what_is_printed(void **state) {
    (void)state;
    shown("https://u:p@a.b/c/d?sig=1#x", "https://a.b/c/d");
    shown("http://a.b:81/", "http://a.b:81/");
    shown("http://a.b/%1b%5B31m", "http://a.b/%1b%5B31m");
    shown("not an address?sig=1", "not an address");
}

static void follow(const char *base, const char *location, const char *want) {
    struct err err = {0};
    char *to = NULL;
    int rc = url_follow(&to, base, location, &err);
    if (!want) {
        assert_int_equal(rc, ERR_NET);
        assert_null(to);
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(to, want);
    free(to);
}

static void redirects(void **state) {
    (void)state;
    follow("https://a.b/c/d?e", "/f?g", "https://a.b/f?g");
    follow("https://a.b/c/d", "f", "https://a.b/c/f");
    follow("https://a.b/c", "https://x.y/z", "https://x.y/z");
    follow("http://a.b/c", "https://a.b/c", "https://a.b/c");
    follow("https://a.b/c", "//x.y/z", "https://x.y/z");
    follow("https://a.b/c", "http://a.b/c", NULL);
    follow("https://a.b/c", "ftp://a.b/c", NULL);
    follow("https://a.b/c", "file:///etc/passwd", NULL);
    follow("https://a.b/c", "https://user:pass@x.y/", NULL);
}

static struct buf headers(const char *text) {
    return (struct buf){.v = (char *)text, .n = strlen(text)};
}

static void header_lines(void **state) {
    (void)state;
    struct buf h = headers("HTTP/1.1 206 Partial\r\nETag:  \"a\" \r\nX-ETag: no\r\n"
                           "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\nEmpty:\r\n\r\n");
    uint64_t from, total;
    char *v = http_header(&h, "etag");
    assert_string_equal(v, "\"a\"");
    free(v);
    v = http_header(&h, "EMPTY");
    assert_string_equal(v, "");
    free(v);
    assert_null(http_header(&h, "tag"));
    assert_true(http_content_range(&h, &from, &total));
    assert_int_equal(from, 5);
    assert_int_equal(total, 10);
    assert_true(http_header_u64(&h, "content-length", &total));
    assert_int_equal(total, 5);
    static const char *const bad[] = {"bytes */10", "bytes 5-/10", "bytes 5-9",  "bits 5-9/10",
                                      "",           "bytes -9/10", "bytes 5-9/x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[100];
        snprintf(text, sizeof text, "Content-Range: %s", bad[i]);
        h = headers(text);
        assert_false(http_content_range(&h, &from, &total));
    }
    h = headers("Content-Range: bytes 5-9/*");
    assert_true(http_content_range(&h, &from, &total));
    assert_int_equal(total, 0);
}

static void next_links(void **state) {
    (void)state;
    struct buf h =
        headers("Link: <https://a/1>; rel=\"prev\", <https://a/3?c=x,y>; rel=\"next\"\r\n");
    char *next = hub_next_link(&h);
    assert_string_equal(next, "https://a/3?c=x,y");
    free(next);
    h = headers("Link: <https://a/1>; rel=\"prev\"\r\n");
    assert_null(hub_next_link(&h));
    h = headers("Link: <https://a/1\r\n");
    assert_null(hub_next_link(&h));
    h = headers("Date: today\r\n");
    assert_null(hub_next_link(&h));
}

static void ref(const char *text, bool dataset, const char *repo, const char *revision,
                const char *path) {
    struct hub_ref r;
    struct err err = {0};
    if (hub_ref_parse(&r, text, &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(r.dataset, dataset);
    assert_string_equal(r.repo, repo);
    assert_string_equal(r.revision, revision);
    assert_string_equal(r.path, path);
    hub_ref_release(&r);
}

static void references(void **state) {
    (void)state;
    ref("hf://datasets/me/set", true, "me/set", "main", "");
    ref("hf://datasets/me/set/", true, "me/set", "main", "");
    ref("hf://datasets/me/set/data/*.gz", true, "me/set", "main", "data/*.gz");
    ref("hf://datasets/me/set@v1/a", true, "me/set", "v1", "a");
    ref("hf://datasets/me/set@a%2Fb/c", true, "me/set", "a/b", "c");
    ref("hf://datasets/me/set@refs/pr/7/c/d", true, "me/set", "refs/pr/7", "c/d");
    ref("hf://datasets/me/set@refs/convert/parquet", true, "me/set", "refs/convert/parquet", "");
    ref("hf://datasets/squad", true, "squad", "main", "");
    ref("hf://me/model/config.json", false, "me/model", "main", "config.json");
    ref("hf://models/me/model", false, "me/model", "main", "");
    static const char *const bad[] = {"hf://",
                                      "hf://datasets/",
                                      "hf://datasets/../x",
                                      "hf://datasets/me/..",
                                      "hf://datasets/-a/b",
                                      "hf://datasets/a/b.",
                                      "hf://datasets/a--b/c",
                                      "hf://datasets/a b/c",
                                      "hf://datasets/a/b@",
                                      "hf://spaces/a/b",
                                      "http://a/b",
                                      "hf://datasets/me/se?t",
                                      "hf://datasets/me/set%2f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hub_ref r;
        if (hub_ref_parse(&r, bad[i], NULL) != ERR_USAGE) fail_msg("%s was taken", bad[i]);
    }
}

static void globs(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool hit;
    } v[] = {{"*.gz", "a.gz", true},    {"*.gz", "d/a.gz", false},
             {"**/*.gz", "a.gz", true}, {"**/*.gz", "d/e/a.gz", true},
             {"d/**", "d/e/f", true},   {"d/**", "e/f", false},
             {"**/e/*", "d/e/f", true}, {"**/e/*", "de/f", false},
             {"a?c", "abc", true},      {"a?c", "a/c", false},
             {"[a-c]x", "bx", true},    {"[!a-c]x", "bx", false},
             {"[]]x", "]x", true},      {"[a", "[a", true},
             {"*", "", true},           {"", "", true},
             {"a*b*c", "aXbYc", true},  {"a*b*c", "aXbY", false},
             {"d[/]e", "d/e", false}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (hub_glob(v[i].pattern, v[i].path) != v[i].hit)
            fail_msg("%s and %s", v[i].pattern, v[i].path);
}

/* huggingface_hub#1429, #4540: names are judged by the rules of every system, wherever we run. */
static void safe_paths(void **state) {
    (void)state;
    static const char *const good[] = {"a", "a/b",     "..a",   "a..", "a b",
                                       "é", ".hidden", "a/...", "-x"};
    static const char *const bad[] = {
        "",      "/a",    "..",  "../a",     "a/..", "a/../b", "a//b",  "a/",    ".",        "./a",
        "a/./b", "C:\\x", "c:x", "\\\\h\\s", "a\\b", "a\nb",   "\x1b[", "a\x7f", "a/../../b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!hub_safe_path(good[i])) fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hub_safe_path(bad[i])) fail_msg("%s was taken", bad[i]);
}

static void addresses(void **state) {
    (void)state;
    const struct hub h = {.endpoint = "https://e"};
    const struct hub_ref r = {.dataset = true, .repo = "me/set"};
    char *url = hub_file_url(&h, &r, "abc", "d/odd name+%é?#.gz");
    assert_string_equal(url,
                        "https://e/datasets/me/set/resolve/abc/d/odd%20name%2B%25%C3%A9%3F%23.gz");
    free(url);
}

/* What a push sends of a small file. The vectors are RFC 4648's. */
static void base64(void **state) {
    static const char *const v[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct buf b = {0};
        assert_int_equal(hub_base64(&b, v[i][0], strlen(v[i][0]), NULL), 0);
        assert_string_equal(buf_cstr(&b), v[i][1]);
        buf_release(&b);
    }
}

/* A mirror's answers name the real Hub; the real Hub must not be what only looks like it. */
static void mirrors(void **state) {
    struct hub h = {.endpoint = (char *)"https://mirror.org"};
    static const char *const v[][2] = {
        {"https://huggingface.co/a?b", "https://mirror.org/a?b"},
        {"https://huggingface.co", "https://mirror.org"},
        {"https://huggingface.co.evil.org/a", "https://huggingface.co.evil.org/a"},
        {"https://cdn.org/a", "https://cdn.org/a"}};
    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        char *own = hub_own_url(&h, v[i][0]);
        assert_string_equal(own, v[i][1]);
        free(own);
    }
}

/* A commit must not hold what would lead out of a folder, or into git's own. */
static void paths_of_a_commit(void **state) {
    static const char *const bad[] = {"../a",     "/a",   "a/../b", ".git/config",
                                      "a/.GIT/x", "a//b", "a\\b",   ""};
    struct hub_changes c = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hub_changes_text(&c, bad[i], "x", 1, NULL), ERR_USAGE);
    assert_int_equal(hub_changes_text(&c, ".gitattributes", "x", 1, NULL), 0);
    assert_int_equal(hub_changes_text(&c, "a/b", "x", 1, NULL), 0);
    assert_int_equal(hub_changes_text(&c, "a/b", "yz", 2, NULL), 0); /* the later one counts */
    assert_int_equal(c.n, 2);
    assert_int_equal(c.v[1].text.n, 2);
    hub_changes_release(&c);
}

/* git hash-object of "hello\n" and of nothing. */
static void git_names(void **state) {
    char hex[SHA256_HEX];
    (void)state;
    struct sha256 *s = git_blob_new(6);
    sha256_add(s, "hello\n", 6);
    sha256_end(s, hex);
    assert_string_equal(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
    sha256_end(git_blob_new(0), hex);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins),    cmocka_unit_test(what_is_printed),
        cmocka_unit_test(redirects),  cmocka_unit_test(header_lines),
        cmocka_unit_test(next_links), cmocka_unit_test(references),
        cmocka_unit_test(globs),      cmocka_unit_test(safe_paths),
        cmocka_unit_test(addresses),  cmocka_unit_test(base64),
        cmocka_unit_test(mirrors),    cmocka_unit_test(paths_of_a_commit),
        cmocka_unit_test(git_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
