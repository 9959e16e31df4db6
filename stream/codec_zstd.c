/* Zstandard: any number of frames and skippable frames. libzstd does the frames; what lies between
 * them is looked at here, so that padding and garbage are told apart as with gzip. */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>
#include "stream/codec_parts.h"
#include "stream/zstd_parts.h"

enum {
    WINDOW_LOG_MAX = 27, /* 128 MiB: what `zstd --long` makes, and what memory we promise */
    MAGIC = 4,           /* bytes that begin a frame */
    HEADER_MAX = 18      /* of its header, with them */
};

struct zstd {
    ZSTD_DCtx *d;
    bool inside;            /* of a frame */
    bool begun;             /* the decoder has its first bytes */
    uint64_t content, made; /* bytes that the frame's header promises, or ZSTD's unknown; so far */
    bool pending; /* the last step filled the caller's buffer: more may come without input */
    struct zstd_trace *trace; /* NULL: nobody is going to ask for a place */
    bool resumed;             /* in a frame entered in its middle */
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
    int rc = input_fill(&c->in, HEADER_MAX, err);
    if (rc < 0) return rc;
    size_t n = input_left(&c->in);
    if (!n) return 0;
    if (n >= MAGIC && frame_begins(c->in.at)) {
        z->content = ZSTD_getFrameContentSize(c->in.at, n);
        z->made = 0;
        z->begun = false;
        if (c->keeps_places && !z->trace && !(z->trace = zstd_trace_new()))
            return err_nomem(err, sizeof *z);
        if (z->trace) zstd_trace_begin(z->trace);
        z->inside = true;
        return 1;
    }
    if (!*c->in.at) return codec_padding(c, "zstd frame", err);
    if (n < MAGIC && (!memcmp(c->in.at, "\x28\xb5\x2f\xfd", n) || (*c->in.at & 0xf0) == 0x50))
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

static void set_up(struct zstd *z) {
    ZSTD_DCtx_reset(z->d, ZSTD_reset_session_and_parameters);
    ZSTD_DCtx_setParameter(z->d, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    z->inside = z->pending = z->resumed = false;
}

static int frame_ended(struct codec *c, struct zstd *z, struct err *err) {
    bool known = z->content < ZSTD_CONTENTSIZE_ERROR; /* which is below ZSTD_CONTENTSIZE_UNKNOWN */
    if (!z->resumed && known && z->made != z->content)
        return codec_bad(c, err, "damaged zstd data (the frame has not the size it says)");
    size_t sum = z->resumed ? zstd_trace_sum_bytes(z->trace) : 0;
    int rc = input_fill(&c->in, sum, err);
    if (rc < 0) return rc;
    if (input_left(&c->in) < sum) return truncated(c, err);
    if (sum && !zstd_trace_sum_fits(z->trace, c->in.at))
        return codec_bad(c, err, "damaged zstd data (its checksum does not fit)");
    c->in.at += sum;
    c->members++;
    z->inside = false;
    if (z->resumed) set_up(z); /* no dictionary for the next one */
    return 0;
}

/* How much of the input the decoder is given: with a trace, up to where the next block begins;
 * never a whole frame: libzstd has a second way for those, which refuses more than this one. */
static size_t portion(const struct codec *c, const struct zstd *z) {
    size_t n = input_left(&c->in), most = z->trace ? zstd_trace_next(z->trace) : n;
    if (!z->begun && most > MAGIC) most = MAGIC;
    if (z->trace && z->pending) return 0;
    return n < most ? n : most;
}

static long zstd_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    struct zstd *z = c->state;
    for (;;) {
        int rc = z->inside ? 1 : next_frame(c, z, err);
        if (rc <= 0) return rc;
        if (!z->pending && (rc = input_fill(&c->in, 1, err)) < 0) return rc;
        if (!z->pending && !input_left(&c->in)) return truncated(c, err);
        ZSTD_inBuffer in = {c->in.at, portion(c, z), 0};
        ZSTD_outBuffer out = {bytes, n, 0};
        size_t code = ZSTD_decompressStream(z->d, &out, &in);
        if (ZSTD_isError(code)) return damaged(c, code, err);
        if (z->trace && (rc = zstd_trace_in(z->trace, c->in.at, in.pos, err)) < 0) return rc;
        if (z->trace) zstd_trace_out(z->trace, bytes, out.pos);
        c->in.at += in.pos;
        z->begun = true;
        z->made += out.pos;
        z->pending = code && out.pos == n;
        if (!code && (rc = frame_ended(c, z, err)) < 0) return rc;
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
    set_up(z);
    c->state = z;
    return 0;
}

static void zstd_close(struct codec *c) {
    struct zstd *z = c->state;
    if (!z) return;
    ZSTD_freeDCtx(z->d);
    zstd_trace_free(z->trace);
    free(z);
}

/* Between frames there is nothing to say. */
static int zstd_save(struct codec *c, struct buf *to, struct err *err) {
    struct zstd *z = c->state;
    if (!z->inside) return 1;
    return z->trace && !z->pending ? zstd_trace_save(z->trace, to, err) : 0;
}

/* A dictionary with what the decoder knew, and the header of a frame that blocks may follow. */
static int enter(struct zstd *z, struct cursor *from, struct err *err) {
    uint8_t header[ZSTD_TRACE_HEADER], none;
    const uint8_t *v;
    size_t n;
    if (!z->trace && !(z->trace = zstd_trace_new())) return err_nomem(err, sizeof *z);
    if (!zstd_trace_resume(z->trace, from, header, &v, &n)) return 0;
    ZSTD_inBuffer in = {header, sizeof header, 0};
    ZSTD_outBuffer out = {&none, 0, 0};
    if (ZSTD_isError(ZSTD_DCtx_loadDictionary(z->d, v, n)) ||
        ZSTD_isError(ZSTD_decompressStream(z->d, &out, &in)))
        return 0;
    z->inside = z->begun = z->resumed = true;
    return 1;
}

static int zstd_resume(struct codec *c, struct cursor *from, struct err *err) {
    struct zstd *z = c->state;
    set_up(z);
    int rc = from->left ? enter(z, from, err) : 1;
    if (rc <= 0) set_up(z);
    return rc;
}

const struct decoder codec_zstd = {zstd_open, zstd_read, zstd_close, zstd_save, zstd_resume, 'z'};
