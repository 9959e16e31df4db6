/* Digests: see hash.h. OpenSSL counts sha256, xxHash counts XXH3; whole files go through one block.
 */
#include "base/hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <xxhash.h>

enum { SHA256_BYTES = 32, BLOCK_BYTES = 1 << 20, XXH_STATE_BYTES = 576 };

struct sha256 {
    EVP_MD_CTX *md;
};

static struct sha256 *digest_new(const EVP_MD *kind) {
    struct sha256 *s = malloc(sizeof *s);
    if (!s) return NULL;
    s->md = EVP_MD_CTX_new();
    if (s->md && EVP_DigestInit_ex(s->md, kind, NULL) == 1) return s;
    sha256_free(s);
    return NULL;
}

struct sha256 *sha256_new(void) {
    return digest_new(EVP_sha256());
}

struct sha256 *git_blob_new(uint64_t bytes) {
    char head[32];
    struct sha256 *s = digest_new(EVP_sha1());
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)bytes);
    if (s) sha256_add(s, head, (size_t)n + 1); /* with the NUL */
    return s;
}

void sha256_add(struct sha256 *s, const void *bytes, size_t n) {
    if (n) EVP_DigestUpdate(s->md, bytes, n);
}

static void hex(const unsigned char *v, size_t n, char *ret) {
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[v[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[v[i] & 15];
    }
    ret[2 * n] = 0;
}

void sha256_end(struct sha256 *s, char ret_hex[SHA256_HEX]) {
    unsigned char v[EVP_MAX_MD_SIZE] = {0};
    unsigned n = SHA256_BYTES;
    EVP_DigestFinal_ex(s->md, v, &n);
    hex(v, n, ret_hex);
    sha256_free(s);
}

void sha256_free(struct sha256 *s) {
    if (!s) return;
    EVP_MD_CTX_free(s->md);
    free(s);
}

/* Hands a file to `add` in blocks. */
static int each_block(const char *path, void (*add)(void *ctx, const void *v, size_t n), void *ctx,
                      struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0) return err_errno(err, "%s", path);
    char *block = malloc(BLOCK_BYTES);
    if (!block) rc = err_nomem(err, BLOCK_BYTES);
    while (rc == 0) {
        ssize_t n = read(fd, block, BLOCK_BYTES);
        if (n == 0) break;
        if (n > 0)
            add(ctx, block, (size_t)n);
        else if (errno != EINTR)
            rc = err_errno(err, "%s", path);
    }
    free(block);
    close(fd);
    return rc;
}

static void add_sha256(void *ctx, const void *v, size_t n) {
    sha256_add(ctx, v, n);
}

int sha256_file(const char *path, char ret_hex[SHA256_HEX], struct err *err) {
    struct sha256 *s = sha256_new();
    if (!s) return err_nomem(err, sizeof *s);
    int rc = each_block(path, add_sha256, s, err);
    if (rc == 0)
        sha256_end(s, ret_hex);
    else
        sha256_free(s);
    return rc;
}

static void hex128(XXH128_hash_t h, char ret_hex[XXH128_HEX]) {
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, h);
    hex(c.digest, sizeof c.digest, ret_hex);
}

static void add_xxh(void *ctx, const void *v, size_t n) {
    XXH3_128bits_update(ctx, v, n);
}

int xxh128_file(const char *path, char ret_hex[XXH128_HEX], struct err *err) {
    XXH3_state_t *s = XXH3_createState();
    if (!s) return err_nomem(err, XXH_STATE_BYTES);
    XXH3_128bits_reset(s);
    int rc = each_block(path, add_xxh, s, err);
    if (rc == 0) hex128(XXH3_128bits_digest(s), ret_hex);
    XXH3_freeState(s);
    return rc;
}

void xxh128_bytes(const void *bytes, size_t n, char ret_hex[XXH128_HEX]) {
    hex128(XXH3_128bits(bytes, n), ret_hex);
}

uint64_t xxh64_bytes(const void *bytes, size_t n, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, n, seed);
}

struct xxh64 *xxh64_new(uint64_t seed) {
    XXH3_state_t *x = XXH3_createState();
    if (x) XXH3_64bits_reset_withSeed(x, seed);
    return (struct xxh64 *)x;
}

void xxh64_add(struct xxh64 *x, const void *bytes, size_t n) {
    XXH3_64bits_update((XXH3_state_t *)x, bytes, n);
}

uint64_t xxh64_end(struct xxh64 *x) {
    uint64_t h = XXH3_64bits_digest((XXH3_state_t *)x);
    XXH3_freeState((XXH3_state_t *)x);
    return h;
}
