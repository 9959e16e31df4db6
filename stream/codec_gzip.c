/* gzip (RFC 1952): any number of members, each a header, a deflate stream, CRC-32 and length.
 *
 *   MEMBER ─header─▶ BODY ─deflate's end─▶ TRAILER ─CRC and length fit─▶ MEMBER …  ─▶ end of file
 *
 * Header and trailer are read here and not by the inflate library, so that what counts as damage
 * does not depend on which library there is. */
#include <stdlib.h>
#include <string.h>
#include "stream/codec_parts.h"

enum { FLAG_CRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAGS_UNKNOWN = 0xe0 };

struct gzip {
    enum { MEMBER, BODY, TRAILER } state;
    struct inflate *inflate;
    uint32_t crc, size; /* of the member's plain bytes; the size modulo 2^32, as gzip keeps it */
};

static int truncated(struct codec *c, struct err *err) {
    c->in.at = c->in.end;
    return codec_bad(c, err, "truncated: the gzip stream breaks off");
}

/* The next header byte, or a negative code; adds it to the header's checksum. */
static int header_byte(struct codec *c, uint32_t *crc, struct err *err) {
    int rc = input_fill(&c->in, 1, err);
    if (rc < 0) return rc;
    if (!input_left(&c->in)) return truncated(c, err);
    *crc = inflate_crc(*crc, c->in.at, 1);
    return *c->in.at++;
}

static int header_skip(struct codec *c, size_t n, uint32_t *crc, struct err *err) {
    int rc = 0;
    while (n-- && rc >= 0) rc = header_byte(c, crc, err);
    return rc < 0 ? rc : 0;
}

/* A text that ends with a NUL: the name, the comment. */
static int header_text(struct codec *c, uint32_t *crc, struct err *err) {
    int b;
    do b = header_byte(c, crc, err);
    while (b > 0);
    return b;
}

static int header_u16(struct codec *c, uint32_t *crc, struct err *err) {
    int low = header_byte(c, crc, err), high = low < 0 ? low : header_byte(c, crc, err);
    return high < 0 ? high : low | high << 8;
}

/* id1 id2 method flags mtime(4) xfl os [extra] [name] [comment] [crc16] */
static int read_header(struct codec *c, struct err *err) {
    uint32_t crc = 0;
    int head[4], rc = 0;
    for (int i = 0; i < 4; i++)
        if ((head[i] = header_byte(c, &crc, err)) < 0) return head[i];
    if (head[0] != 0x1f || head[1] != 0x8b) {
        c->in.at -= 4;
        return codec_bad(c, err, "garbage behind the last gzip member");
    }
    if (head[2] != 8 || head[3] & FLAGS_UNKNOWN)
        return codec_bad(c, err, "bad gzip header (method %d, flags %#x)", head[2], head[3]);
    if ((rc = header_skip(c, 6, &crc, err)) < 0) return rc;
    if (head[3] & FLAG_EXTRA) {
        int n = header_u16(c, &crc, err);
        rc = n < 0 ? n : header_skip(c, (size_t)n, &crc, err);
    }
    if (rc == 0 && head[3] & FLAG_NAME) rc = header_text(c, &crc, err);
    if (rc == 0 && head[3] & FLAG_COMMENT) rc = header_text(c, &crc, err);
    if (rc == 0 && head[3] & FLAG_CRC) {
        uint32_t want = crc & 0xffff;
        int got = header_u16(c, &crc, err);
        rc = got < 0                 ? got
             : (uint32_t)got == want ? 0
                                     : codec_bad(c, err, "bad gzip header checksum");
    }
    return rc;
}

static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int read_trailer(struct codec *c, struct gzip *g, struct err *err) {
    int rc = input_fill(&c->in, 8, err);
    if (rc < 0) return rc;
    if (input_left(&c->in) < 8) return truncated(c, err);
    const uint8_t *p = c->in.at;
    if (u32_at(p) != g->crc) return codec_bad(c, err, "bad gzip checksum");
    if (u32_at(p + 4) != g->size) return codec_bad(c, err, "bad gzip length");
    c->in.at += 8;
    c->members++;
    return 0;
}

/* 1: a member begins, 0: the end of the file. */
static int next_member(struct codec *c, struct gzip *g, struct err *err) {
    int rc = input_fill(&c->in, 2, err);
    if (rc < 0) return rc;
    if (!input_left(&c->in) && c->members) return 0;
    /* Tape archives and some servers pad with zeros; a header never begins with one. */
    if (c->members && input_left(&c->in) && !*c->in.at) return codec_padding(c, "gzip member", err);
    if (c->members && (input_left(&c->in) < 2 || c->in.at[0] != 0x1f || c->in.at[1] != 0x8b))
        return codec_bad(c, err, "garbage behind the last gzip member");
    rc = read_header(c, err);
    if (rc < 0) return rc;
    inflate_again(g->inflate);
    g->crc = g->size = 0;
    return 1;
}

static long gzip_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    struct gzip *g = c->state;
    for (;;) {
        int rc;
        if (g->state == MEMBER) {
            rc = next_member(c, g, err);
            if (rc <= 0) return rc;
            g->state = BODY;
        }
        if (g->state == TRAILER) {
            rc = read_trailer(c, g, err);
            if (rc < 0) return rc;
            g->state = MEMBER;
            continue;
        }
        rc = input_fill(&c->in, 1, err);
        if (rc < 0) return rc;
        size_t got = n;
        rc = inflate_step(g->inflate, &c->in, bytes, &got);
        if (rc < 0) return codec_bad(c, err, "damaged gzip data");
        g->crc = inflate_crc(g->crc, bytes, got);
        g->size += (uint32_t)got;
        if (rc == 1) g->state = TRAILER;
        if (got) return (long)got;
        if (rc == 0 && c->in.ended && !input_left(&c->in)) return truncated(c, err);
    }
}

static int gzip_open(struct codec *c, struct err *err) {
    struct gzip *g = calloc(1, sizeof *g);
    if (g) g->inflate = inflate_new();
    if (!g || !g->inflate) {
        free(g);
        return err_nomem(err, sizeof *g);
    }
    c->state = g;
    return 0;
}

static void gzip_close(struct codec *c) {
    struct gzip *g = c->state;
    if (!g) return;
    inflate_free(g->inflate);
    free(g);
}

static int gzip_save(struct codec *c, struct buf *to, struct err *err) {
    struct gzip *g = c->state;
    int rc = put_u64(to, g->state, err);
    if (rc == 0) rc = put_u64(to, (uint64_t)g->size << 32 | g->crc, err);
    if (rc < 0) return rc;
    return g->state == BODY ? inflate_save(g->inflate, &c->in, to, err) : 1;
}

static int gzip_resume(struct codec *c, struct cursor *from, struct err *err) {
    struct gzip *g = c->state;
    (void)err;
    uint64_t state = cursor_u64(from), sums = cursor_u64(from);
    if (from->bad || state > TRAILER) return 0;
    if (state == BODY && !inflate_resume(g->inflate, from)) return 0;
    g->state = state;
    g->crc = (uint32_t)sums;
    g->size = (uint32_t)(sums >> 32);
    return 1;
}

const struct decoder codec_gzip = {gzip_open, gzip_read, gzip_close, gzip_save, gzip_resume, 'g'};
