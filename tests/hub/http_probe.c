/* Copies the body behind an address to stdout: http_probe URL [SHA256|-] [TOKEN ORIGIN]
 * [STALL_SECONDS [TOTAL_SECONDS [CA_FILE]]]. Exits with the code of the failure, as the programs
 * do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "stream/http.h"

static void say(void *ctx, enum log_level level, const char *text) {
    (void)ctx, (void)level;
    fprintf(stderr, "%s\n", text);
}

static int copy(struct http *h, const char *url, const char *sha256, struct err *err) {
    struct feed f;
    static char block[100000];
    long n;
    int rc = http_feed(h, url, &(struct http_want){.sha256 = sha256}, &f, err);
    if (rc < 0) return rc;
    while ((n = f.read(f.ctx, block, sizeof block, err)) > 0) fwrite(block, 1, (size_t)n, stdout);
    f.close(f.ctx);
    return (int)n;
}

int main(int argc, char **argv) {
    struct log log = {.line = say};
    struct http_opts o = {.user_agent = "probe", .log = &log, .tries = 4, .backoff_seconds = 0.05};
    struct err err = {0};
    struct http *h;
    if (argc < 2) return 2;
    const char *sha256 = argc > 2 && strcmp(argv[2], "-") ? argv[2] : NULL;
    if (argc > 4 && *argv[3]) o.token = argv[3], o.token_origin = argv[4];
    if (argc > 5) o.stall_seconds = strtod(argv[5], NULL);
    if (argc > 6) o.total_seconds = strtod(argv[6], NULL);
    if (argc > 7) o.ca_file = argv[7];
    int rc = http_new(&h, &o, &err);
    if (rc == 0) {
        rc = copy(h, argv[1], sha256, &err);
        http_free(h);
    }
    if (rc < 0) fprintf(stderr, "%s\n", err.msg);
    return rc < 0 ? -rc : 0;
}
