/* Zstandard: any number of frames and skippable frames. libzstd does the frames; what lies between
 * them is looked at here, so that padding and garbage are told apart as with gzip. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>
#include "stream/codec_parts.h"

enum { WINDOW_LOG_MAX = 27 }; /* 128 MiB: what `zstd --long` makes, and what memory we promise */

struct zstd {
    ZSTD_DCtx *d;
    bool inside;  /* of a frame */
    bool pending; /* the last step filled the caller's buffer: more may come without input */
};

static bool frame_begins(const uint8_t *p) {
    return !memcmp(p, "\x28\xb5\x2f\xfd", 4) ||
           ((p[0] & 0xf0) == 0x50 && !memcmp(p + 1, "\x2a\x4d\x18", 3));
}

static int truncated(struct codec *c, struct err *err) {
    c->in.at = c->in.end;
    return codec_bad(c, err, "truncated: the zstd frame breaks off");
}

/* 1: a frame begins, 0: the end of the file. */
static int next_frame(struct codec *c, struct zstd *z, struct err *err) {
    int rc = input_fill(&c->in, 4, err);
    if (rc < 0) return rc;
    size_t n = input_left(&c->in);
    if (!n) return 0;
    if (n >= 4 && frame_begins(c->in.at)) {
        z->inside = true;
        return 1;
    }
    if (!*c->in.at) return codec_padding(c, "zstd frame", err);
    if (n < 4 && (!memcmp(c->in.at, "\x28\xb5\x2f\xfd", n) || (*c->in.at & 0xf0) == 0x50))
        return truncated(c, err);
    return codec_bad(c, err, "garbage behind the last zstd frame");
}

static int damaged(struct codec *c, size_t code, struct err *err) {
    switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        return codec_bad(c, err, "the zstd frame needs a window of more than 128 MiB");
    case ZSTD_error_dictionary_wrong: return codec_bad(c, err, "the zstd frame needs a dictionary");
    case ZSTD_error_memory_allocation: return err_nomem(err, (uint64_t)1 << WINDOW_LOG_MAX);
    default: return codec_bad(c, err, "damaged zstd data (%s)", ZSTD_getErrorName(code));
    }
}

static long zstd_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    struct zstd *z = c->state;
    for (;;) {
        int rc = z->inside ? 1 : next_frame(c, z, err);
        if (rc <= 0) return rc;
        if (!z->pending && (rc = input_fill(&c->in, 1, err)) < 0) return rc;
        if (!z->pending && !input_left(&c->in)) return truncated(c, err);
        ZSTD_inBuffer in = {c->in.at, input_left(&c->in), 0};
        ZSTD_outBuffer out = {bytes, n, 0};
        size_t code = ZSTD_decompressStream(z->d, &out, &in);
        if (ZSTD_isError(code)) return damaged(c, code, err);
        c->in.at += in.pos;
        z->pending = code && out.pos == n;
        if (!code) {
            z->inside = false;
            c->members++;
        }
        if (out.pos) return (long)out.pos;
    }
}

static int zstd_open(struct codec *c, struct err *err) {
    struct zstd *z = calloc(1, sizeof *z);
    if (z) z->d = ZSTD_createDCtx();
    if (!z || !z->d) {
        free(z);
        return err_nomem(err, sizeof *z);
    }
    ZSTD_DCtx_setParameter(z->d, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    c->state = z;
    return 0;
}

static void zstd_close(struct codec *c) {
    struct zstd *z = c->state;
    if (!z) return;
    ZSTD_freeDCtx(z->d);
    free(z);
}

/* libzstd does not tell what it knows within a frame; what many frames are made of can be entered
 * at each. */
static int zstd_save(struct codec *c, struct buf *to, struct err *err) {
    struct zstd *z = c->state;
    (void)to, (void)err;
    return !z->inside;
}

static int zstd_resume(struct codec *c, struct cursor *from, struct err *err) {
    struct zstd *z = c->state;
    (void)from, (void)err;
    ZSTD_DCtx_reset(z->d, ZSTD_reset_session_only);
    z->inside = z->pending = false;
    return 1;
}

const struct decoder codec_zstd = {zstd_open, zstd_read, zstd_close, zstd_save, zstd_resume, 'z'};
