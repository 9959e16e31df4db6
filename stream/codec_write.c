/* Compressed output: gzip by zlib at level 6 (what `gzip` writes; the same bytes on every machine),
 * zstd at level 3 with its checksum. No name and no time is stored, so equal input is equal
 * output. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "base/file.h"
#include "stream/codec.h"

enum { OUT_BYTES = 256 << 10, GZIP_LEVEL = 6, ZSTD_LEVEL = 3 };

struct codec_writer {
    struct outfile *file;
    enum { PLAIN, GZIP, ZSTD } kind;
    bool cut; /* nothing was written since codec_writer_cut() */
    z_stream gzip;
    ZSTD_CCtx *zstd;
    uint8_t v[OUT_BYTES];
};

static void writer_free(struct codec_writer *w) {
    if (w->kind == GZIP) deflateEnd(&w->gzip);
    ZSTD_freeCCtx(w->zstd);
    free(w);
}

static int encoder_open(struct codec_writer *w, struct err *err) {
    if (w->kind == GZIP) {
        int rc =
            deflateInit2(&w->gzip, GZIP_LEVEL, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
        if (rc != Z_OK) return err_nomem(err, 256 << 10);
    }
    if (w->kind == ZSTD) {
        w->zstd = ZSTD_createCCtx();
        if (!w->zstd) return err_nomem(err, 1 << 20);
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    }
    return 0;
}

/* Takes the file over. */
static int writer_new(struct codec_writer **ret, const char *path, struct outfile *file, bool cut,
                      struct err *err) {
    struct codec_writer *w = calloc(1, sizeof *w);
    int rc = w ? 0 : err_nomem(err, sizeof *w);
    if (rc == 0) {
        w->file = file;
        w->kind = path_ends(path, ".gz") ? GZIP : path_ends(path, ".zst") ? ZSTD : PLAIN;
        w->cut = cut;
        rc = encoder_open(w, err);
    }
    if (rc == 0) {
        *ret = w;
        return 0;
    }
    outfile_abort(file);
    if (w) {
        w->kind = PLAIN; /* there is no encoder to end */
        writer_free(w);
    }
    return rc;
}

int codec_writer_open(struct codec_writer **ret, const char *path, struct err *err) {
    struct outfile *f;
    int rc = outfile_open(&f, path, err);
    return rc < 0 ? rc : writer_new(ret, path, f, false, err);
}

int codec_writer_open_swept(struct codec_writer **ret, const char *path, struct err *err) {
    struct outfile *f;
    int rc = outfile_open_swept(&f, path, err);
    return rc < 0 ? rc : writer_new(ret, path, f, false, err);
}

int codec_writer_resume(struct codec_writer **ret, const char *path, uint64_t at, struct err *err) {
    struct outfile *f;
    int rc = outfile_resume(&f, path, at, err);
    /* so a file that was whole gets no empty member */
    return rc < 0 ? rc : writer_new(ret, path, f, at > 0, err);
}

/* Feeds n bytes to deflate; `end` completes the member. avail_in is 32 bits wide: in pieces. */
static int gzip_write(struct codec_writer *w, const uint8_t *bytes, size_t n, bool end,
                      struct err *err) {
    for (;;) {
        uInt piece = n > (1u << 30) ? 1u << 30 : (uInt)n;
        bool last = piece == n;
        w->gzip.next_in = (uint8_t *)bytes;
        w->gzip.avail_in = piece;
        int state;
        do {
            w->gzip.next_out = w->v;
            w->gzip.avail_out = OUT_BYTES;
            state = deflate(&w->gzip, end && last ? Z_FINISH : Z_NO_FLUSH);
            int rc = outfile_write(w->file, w->v, OUT_BYTES - w->gzip.avail_out, err);
            if (rc < 0) return rc;
        } while (w->gzip.avail_out == 0 || (end && last && state != Z_STREAM_END));
        if (last) return 0;
        bytes += piece;
        n -= piece;
    }
}

static int zstd_write(struct codec_writer *w, const void *bytes, size_t n, bool end,
                      struct err *err) {
    ZSTD_inBuffer in = {bytes, n, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {w->v, OUT_BYTES, 0};
        left = ZSTD_compressStream2(w->zstd, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) return err_set(err, ERR_OTHER, "zstd: %s", ZSTD_getErrorName(left));
        int rc = outfile_write(w->file, w->v, out.pos, err);
        if (rc < 0) return rc;
    } while (end ? left != 0 : in.pos < in.size);
    return 0;
}

int codec_write(struct codec_writer *w, const void *bytes, size_t n, struct err *err) {
    if (n) w->cut = false;
    switch (w->kind) {
    case GZIP: return gzip_write(w, bytes, n, false, err);
    case ZSTD: return zstd_write(w, bytes, n, false, err);
    default: return outfile_write(w->file, bytes, n, err);
    }
}

/* A cut and no byte since: no empty member follows. */
static int end_stream(struct codec_writer *w, struct err *err) {
    if (w->cut) return 0;
    return w->kind == GZIP   ? gzip_write(w, NULL, 0, true, err)
           : w->kind == ZSTD ? zstd_write(w, NULL, 0, true, err)
                             : 0;
}

int codec_writer_cut(struct codec_writer *w, bool sync, uint64_t *ret_at, struct err *err) {
    int rc = end_stream(w, err);
    if (rc == 0 && w->kind == GZIP && !w->cut) deflateReset(&w->gzip);
    w->cut = true;
    if (rc == 0) rc = sync ? outfile_sync(w->file, err) : 0;
    if (rc == 0) *ret_at = outfile_tell(w->file);
    return rc;
}

int codec_writer_commit(struct codec_writer *w, struct err *err) {
    int rc = end_stream(w, err);
    if (rc < 0)
        outfile_abort(w->file);
    else
        rc = outfile_commit(w->file, err);
    writer_free(w);
    return rc;
}

void codec_writer_abort(struct codec_writer *w) {
    if (!w) return;
    outfile_abort(w->file);
    writer_free(w);
}
