/* Writing safetensors byte for byte as the Rust crate does: tensors by falling alignment of their
 * dtype, then by name; header in one line, padded with blanks to a multiple of 8. */
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "train/safetensors.h"

enum { CHUNK_BYTES = 4 << 20 };

static int in_crate_order(const void *a, const void *b) {
    const struct st_out *x = a, *y = b;
    if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int tensor_bytes(const struct st_out *t, uint64_t *ret, struct err *err) {
    uint64_t bits = st_dtype_bits(t->dtype);
    for (size_t i = 0; i < t->n_dims; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(bits, (uint64_t)t->dims[i], &bits))
            return err_set(err, ERR_OTHER, "tensor %s: impossible shape", t->name);
    if (bits % 8) return err_set(err, ERR_OTHER, "tensor %s does not end at a byte", t->name);
    *ret = bits / 8;
    return 0;
}

static int put_metadata(struct buf *h, const char *const *metadata, struct err *err) {
    static const char *const torch[] = {"format", "pt", NULL};
    if (!metadata) metadata = torch;
    int rc = buf_str(h, metadata[0] ? "{\"__metadata__\":{" : "{", err);
    for (size_t i = 0; rc == 0 && metadata[i]; i += 2) {
        if (i) rc = buf_char(h, ',', err);
        if (rc == 0) rc = json_quote(h, metadata[i], strlen(metadata[i]), err);
        if (rc == 0) rc = buf_char(h, ':', err);
        if (rc == 0) rc = json_quote(h, metadata[i + 1], strlen(metadata[i + 1]), err);
    }
    return rc == 0 && metadata[0] ? buf_char(h, '}', err) : rc;
}

/* {"__metadata__":{},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}} and blanks */
static int put_header(struct buf *h, const struct st_out *v, size_t n, const char *const *metadata,
                      struct err *err) {
    uint64_t at = 0, bytes = 0;
    int rc = put_metadata(h, metadata, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct st_out *t = &v[i];
        if (i && strcmp(t->name, v[i - 1].name) == 0 && t->dtype == v[i - 1].dtype)
            return err_set(err, ERR_OTHER, "tensor %s comes twice", t->name);
        rc = tensor_bytes(t, &bytes, err);
        if (rc == 0 && h->n > 1) rc = buf_char(h, ',', err);
        if (rc == 0) rc = json_quote(h, t->name, strlen(t->name), err);
        if (rc == 0)
            rc = buf_printf(h, err, ":{\"dtype\":\"%s\",\"shape\":[", st_dtype_name(t->dtype));
        for (size_t d = 0; rc == 0 && d < t->n_dims; d++)
            rc = buf_printf(h, err, "%s%lld", d ? "," : "", (long long)t->dims[d]);
        if (rc == 0)
            rc = buf_printf(h, err, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                            (unsigned long long)(at + bytes));
        at += bytes;
    }
    if (rc == 0) rc = buf_char(h, '}', err);
    while (rc == 0 && h->n % 8) rc = buf_char(h, ' ', err);
    return rc;
}

static int put_data(struct outfile *f, const struct st_out *t, st_fill fill, void *chunk,
                    struct err *err) {
    uint64_t bytes = 0;
    int rc = tensor_bytes(t, &bytes, err);
    if (rc < 0) return rc;
    if (t->data) return outfile_write(f, t->data, bytes, err);
    for (uint64_t at = 0; rc == 0 && at < bytes; at += CHUNK_BYTES) {
        size_t take = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
        rc = fill(t, at, take, chunk, err);
        if (rc == 0) rc = outfile_write(f, chunk, take, err);
    }
    return rc;
}

int safetensors_write(const char *path, struct st_out *v, size_t n, const char *const *metadata,
                      st_fill fill, struct err *err) {
    struct buf header = {0};
    struct outfile *f = NULL;
    uint8_t length[8];
    void *chunk = fill ? malloc(CHUNK_BYTES) : NULL;
    int rc = fill && !chunk ? err_nomem(err, CHUNK_BYTES) : 0;
    if (n) qsort(v, n, sizeof *v, in_crate_order);
    if (rc == 0) rc = put_header(&header, v, n, metadata, err);
    if (rc == 0) rc = outfile_open(&f, path, err);
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.n >> 8 * i);
    if (rc == 0) rc = outfile_write(f, length, sizeof length, err);
    if (rc == 0) rc = outfile_write(f, header.v, header.n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = put_data(f, &v[i], fill, chunk, err);
    if (rc == 0) {
        rc = outfile_commit(f, err);
        f = NULL;
    }
    outfile_abort(f);
    buf_release(&header);
    free(chunk);
    return rc;
}
