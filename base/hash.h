/* Digests. sha256 for what others compare (OpenSSL), XXH3 for what we compare ourselves
 * (xxHash). */
#ifndef LORY_BASE_HASH_H
#define LORY_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

enum { SHA256_HEX = 65, XXH128_HEX = 33 }; /* with the NUL */

struct sha256;                   /* opaque; one thread at a time */
struct sha256 *sha256_new(void); /* NULL: no memory */
void sha256_add(struct sha256 *s, const void *bytes, size_t n);
void sha256_end(struct sha256 *s, char ret_hex[SHA256_HEX]); /* frees s */
void sha256_free(struct sha256 *s);                          /* without a result; NULL is fine */

/* The name that git gives to contents of `bytes` bytes: sha1("blob N\0" + contents). Goes on with
 * sha256_add; sha256_end then writes 40 digits. NULL: no memory. */
enum { GIT_HEX = 41 };
struct sha256 *git_blob_new(uint64_t bytes);

/* Digest of a whole file, read in blocks. */
int sha256_file(const char *path, char ret_hex[SHA256_HEX], struct err *err);
int xxh128_file(const char *path, char ret_hex[XXH128_HEX], struct err *err);
void xxh128_bytes(const void *bytes, size_t n, char ret_hex[XXH128_HEX]);
uint64_t xxh64_bytes(const void *bytes, size_t n, uint64_t seed); /* XXH3, 64 bits */
/* The same of bytes that come one after the other. */
struct xxh64;
struct xxh64 *xxh64_new(uint64_t seed); /* NULL: no memory */
void xxh64_add(struct xxh64 *x, const void *bytes, size_t n);
uint64_t xxh64_end(struct xxh64 *x); /* frees x */

#endif
