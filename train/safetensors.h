/* safetensors files: named tensors with their types and shapes, read from a mapping, written as a
 * stream.
 *
 *   u64 N │ {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},…} N bytes │ the tensors
 *
 * The reader is as strict as Hugging Face's Rust crate: header of at most 100 MB that begins with
 * '{', no name twice, every shape × dtype equal to its range (checked arithmetic), and the ranges,
 * sorted, cover the rest of the file without holes or overlaps. All that is checked before any of
 * it is used. The data may lie at any address (openai-community/gpt2's begins at byte 14291): it is
 * copied, never cast.
 *
 *     struct safetensors s;
 *     safetensors_open(&s, "model.safetensors", err);
 *     const struct st_tensor *t = safetensors_find(&s, "transformer.wte.weight");
 *     st_read_f32(t, 0, n, out, err);
 *     safetensors_close(&s);
 *
 * Read-only after opening; any number of threads. */
#ifndef LORY_TRAIN_SAFETENSORS_H
#define LORY_TRAIN_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"

/* In the crate's order of alignment: its writer sorts tensors by it, the largest first. */
enum st_dtype {
    ST_BOOL,
    ST_F4,
    ST_F6_E2M3,
    ST_F6_E3M2,
    ST_U8,
    ST_I8,
    ST_F8_E5M2,
    ST_F8_E4M3,
    ST_F8_E8M0,
    ST_I16,
    ST_U16,
    ST_F16,
    ST_BF16,
    ST_I32,
    ST_U32,
    ST_F32,
    ST_C64,
    ST_F64,
    ST_I64,
    ST_U64,
    ST_DTYPES
};
const char *st_dtype_name(enum st_dtype t); /* "F32" */
unsigned st_dtype_bits(enum st_dtype t);    /* 32    */

/* ------------------------------------------------------------------ reading */

struct st_tensor {
    const char *name;
    enum st_dtype dtype;
    size_t n_dims;        /* 0: a scalar                                    */
    const uint64_t *dims; /* (n_dims)                                       */
    uint64_t n;           /* elements                                       */
    const uint8_t *data;  /* of any alignment; borrowed from the mapping    */
    uint64_t bytes;
};

struct safetensors {
    struct mapping *maps; /* (n_files)                                      */
    size_t n_files;
    struct st_tensor *v; /* (n) in the order of their names' bytes         */
    size_t n;
    struct arena arena; /* names, shapes                                  */
};

/* Opens one file, or all the files that a "….safetensors.index.json" names (each a plain name
 * in the same folder; every tensor must be where the index says). ERR_CORRUPT: path, tensor, and
 * what is wrong. */
int safetensors_open(struct safetensors *ret, const char *path, struct err *err);
void safetensors_close(struct safetensors *s); /* zeroes it; fine on a zeroed one */
/* NULL if there is none. */
const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name);

/* Elements [at, at+n) of a tensor widened to fp32; F32, BF16 and F16, else ERR_CORRUPT. */
int st_read_f32(const struct st_tensor *t, uint64_t at, uint64_t n, float *out, struct err *err);
/* It has been read: its pages need not stay in memory beside what was made of them. */
void st_forget(const struct st_tensor *t);

/* ------------------------------------------------------------------ writing */

struct st_out {
    const char *name;
    enum st_dtype dtype;
    size_t n_dims;
    const int64_t *dims; /* (n_dims)                                       */
    const void *data;    /* host memory, or NULL: asked from `fill`        */
    void *ctx;           /* for fill                                       */
};

/* Bytes [at, at+bytes) of the tensor's data into `to`: whole elements, `at` ascending. */
typedef int (*st_fill)(const struct st_out *t, uint64_t at, size_t bytes, void *to,
                       struct err *err);

/* Writes the file atomically, tensors and header byte for byte in the crate's order; sorts v[0..n)
 * so. `metadata`: key, value, key, value, …, NULL; NULL itself is {"format": "pt"}, as transformers
 * writes; a list of NULL alone writes none. `fill` may be NULL if every tensor has data; at most 4
 * MiB are asked for at a time. */
int safetensors_write(const char *path, struct st_out *v, size_t n, const char *const *metadata,
                      st_fill fill, struct err *err);

#endif
