/* Opening and reading: the format is told by the first bytes, the rest is the decoder's. */
#include "stream/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "stream/codec_parts.h"
#include "stream/feed.h"
#include "stream/remote.h"
#include "stream/rows.h"

/* ------------------------------------------------------------------ input */

int input_fill(struct input *in, size_t want, struct err *err) {
    while (input_left(in) < want && !in->ended) {
        size_t left = input_left(in), margin = (size_t)(in->at - in->v);
        if (margin > INPUT_MARGIN) margin = INPUT_MARGIN; /* less after inflate gave bytes back */
        memmove(in->v + INPUT_MARGIN - margin, in->at - margin, margin + left);
        in->at = in->v + INPUT_MARGIN;
        in->end = in->at + left;
        size_t room = INPUT_BYTES - left;
        long got = in->feed.read(in->feed.ctx, in->end, room, err);
        if (got < 0) return (int)got;
        if (!got) in->ended = true;
        in->end += got;
        in->fed += (uint64_t)got;
    }
    return 0;
}

int codec_bad(struct codec *c, struct err *err, const char *fmt, ...) {
    char what[ERR_MSG_BYTES / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    uint64_t at = input_tell(&c->in);
    err_set(err, ERR_DATA, "%s: %s at byte %llu", c->name, what, (unsigned long long)at);
    err_place(err, 0, 0, at);
    return ERR_DATA;
}

int codec_padding(struct codec *c, const char *what, struct err *err) {
    struct input *in = &c->in;
    for (;;) {
        int rc = input_fill(in, 1, err);
        if (rc < 0) return rc;
        if (!input_left(in)) return 0;
        while (in->at < in->end && !*in->at) in->at++;
        if (in->at < in->end) return codec_bad(c, err, "garbage behind the last %s", what);
    }
}

/* ------------------------------------------------------------------ plain */

static int plain_open(struct codec *c, struct err *err) {
    (void)c, (void)err;
    return 0;
}

/* What the sniffing read comes first; large reads go past the buffer. */
static long plain_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    struct input *in = &c->in;
    if (!input_left(in) && n >= INPUT_BYTES) {
        long got = in->feed.read(in->feed.ctx, bytes, n, err);
        if (got > 0) in->fed += (uint64_t)got;
        return got;
    }
    int rc = input_fill(in, 1, err);
    if (rc < 0) return rc;
    if (n > input_left(in)) n = input_left(in);
    memcpy(bytes, in->at, n);
    in->at += n;
    return (long)n;
}

static void plain_close(struct codec *c) {
    (void)c;
}

static int plain_save(struct codec *c, struct buf *to, struct err *err) {
    (void)c, (void)to, (void)err;
    return 1;
}

static int plain_resume(struct codec *c, struct cursor *from, struct err *err) {
    (void)c, (void)from, (void)err;
    return 1;
}

const struct decoder codec_plain = {plain_open, plain_read,   plain_close,
                                    plain_save, plain_resume, 'p'};

/* ------------------------------------------------------------------ which one */

/* Formats that people have and we do not read: better named than called bad JSON. */
static const struct {
    const char *magic;
    size_t n;
    const char *what, *hint;
} foreign[] = {{"BZh", 3, "bzip2", "unpack it first"},
               {"\xfd"
                "7zXZ",
                5, "xz", "unpack it first"},
               {"\x04\x22\x4d\x18", 4, "lz4", "unpack it first"},
               {"PK\x03\x04", 4, "ZIP", "an archive is a file whose name ends in .zip"},
               {"PAR1", 4, "Parquet", "it is read from a file or an address, unpacked"}};

static int sniff(struct codec *c, struct err *err) {
    int rc = input_fill(&c->in, 6, err);
    if (rc < 0) return rc;
    const uint8_t *p = c->in.at;
    size_t n = input_left(&c->in);
    bool packed = path_ends(c->name, ".gz") || path_ends(c->name, ".zst");
    c->decoder = &codec_plain;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
        c->decoder = &codec_gzip;
    else if (n >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4))
        c->decoder = &codec_zstd;
    else if (n >= 4 && (p[0] & 0xf0) == 0x50 && !memcmp(p + 1, "\x2a\x4d\x18", 3))
        c->decoder = &codec_zstd; /* a skippable frame may come first */
    else if (packed &&
             n < 4) { /* an empty file by that name is a failed download, not an empty corpus */
        c->in.at = c->in.end;
        return codec_bad(c, err, "truncated: the file ends");
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (n >= foreign[i].n && !memcmp(p, foreign[i].magic, foreign[i].n))
            return err_set(err, ERR_DATA, "%s: is a %s file, which is not read here; %s", c->name,
                           foreign[i].what, foreign[i].hint);
    return 0;
}

int codec_open_as(struct codec **ret, const char *name, struct feed feed,
                  const struct decoder *decoder, void *state, struct err *err) {
    struct codec *c = calloc(1, sizeof *c);
    uint8_t *v = malloc(INPUT_MARGIN + INPUT_BYTES);
    char *copy = strdup(name);
    if (!c || !v || !copy) {
        free(c);
        free(v);
        free(copy);
        return err_nomem(err, INPUT_BYTES);
    }
    memset(v, 0, INPUT_MARGIN);
    *c = (struct codec){.name = copy, .decoder = decoder, .state = state};
    c->in = (struct input){.feed = feed, .v = v, .at = v + INPUT_MARGIN, .end = v + INPUT_MARGIN};
    *ret = c;
    return 0;
}

int codec_open_feed(struct codec **ret, const char *name, struct feed feed, struct err *err) {
    struct codec *c;
    int rc = codec_open_as(&c, name, feed, NULL, NULL, err);
    if (rc < 0) {
        feed.close(feed.ctx);
        return rc;
    }
    rc = sniff(c, err);
    if (rc == 0) rc = c->decoder->open(c, err);
    if (rc < 0) {
        codec_close(c);
        return rc;
    }
    *ret = c;
    return 0;
}

/* What is asked for where a seek follows: a header of CSV is in it as well, of most tables. */
enum { HEAD_BYTES = 64 << 10 };

int codec_open(struct codec **ret, const struct source_file *file, const struct hub *hub,
               bool resumed, struct err *err) {
    uint64_t head = resumed ? HEAD_BYTES : 0;
    struct feed feed;
    int rc = !strcmp(file->path, "-")     ? feed_stdin(&feed, err)
             : remote_is_http(file->path) ? remote_feed(file, hub, head, &feed, err)
                                          : feed_file(file->path, &feed, err);
    return rc < 0 ? rc : codec_open_feed(ret, file->name, feed, err);
}

long codec_read(struct codec *c, void *bytes, size_t n, struct err *err) {
    if (c->rc < 0) {
        if (err) *err = c->failed;
        return c->rc;
    }
    if (!n) return 0;
    long got = c->decoder->read(c, bytes, n, &c->failed);
    if (got < 0) {
        c->rc = (int)got;
        if (err) *err = c->failed;
    } else
        c->plain += (uint64_t)got;
    return got;
}

uint64_t codec_stored(const struct codec *c) {
    return input_tell(&c->in);
}

uint64_t codec_tell(const struct codec *c) {
    return c->plain;
}

/* ------------------------------------------------------------------ places */

void codec_keep_places(struct codec *c) {
    c->keeps_places = true;
}

/* kind u8, plain u64, stored u64, members u64, then the decoder's. */
int codec_save(struct codec *c, struct buf *to, struct err *err) {
    size_t before = to->n;
    if (c->rc < 0) return 0;
    int rc = buf_char(to, c->decoder->kind, err);
    if (rc == 0) rc = put_u64(to, c->plain, err);
    if (rc == 0) rc = put_u64(to, input_tell(&c->in), err);
    if (rc == 0) rc = put_u64(to, c->members, err);
    if (rc == 0) rc = c->decoder->save(c, to, err);
    if (rc <= 0) to->n = before;
    return rc;
}

/* Makes the stored byte `to` the next one: by a seek, or by reading up to it. The margin before it
 * is read in any case: a decoder may step back behind the place it goes on from. */
static int input_go(struct input *in, uint64_t to, struct err *err) {
    uint64_t margin = to > INPUT_MARGIN ? to - INPUT_MARGIN : 0;
    bool back = input_tell(in) > to; /* what was read of a table for its header may be more */
    if (back && !in->feed.seek) return err_set(err, ERR_IO, "cannot be read once more");
    if (back || (in->feed.seek && margin > in->fed)) {
        int rc = in->feed.seek(in->feed.ctx, margin, err);
        if (rc < 0) return rc;
        in->at = in->end = in->v + INPUT_MARGIN;
        in->fed = margin;
        in->ended = false;
    }
    while (input_tell(in) < to) {
        int rc = input_fill(in, 1, err);
        if (rc < 0) return rc;
        if (!input_left(in)) return err_set(err, ERR_DATA, "the file has become shorter");
        uint64_t more = to - input_tell(in);
        in->at += more < input_left(in) ? (size_t)more : input_left(in);
    }
    return 0;
}

int codec_resume(struct codec *c, const void *place, size_t n, struct err *err) {
    struct cursor from = {place, n, false};
    char kind = (char)cursor_u8(&from);
    uint64_t plain = cursor_u64(&from), stored = cursor_u64(&from), members = cursor_u64(&from);
    if (from.bad || kind != c->decoder->kind) return 0;
    int rc = c->decoder->resume(c, &from, err);
    if (rc <= 0) return rc;
    if (codec_has_rows(c)) { /* rows are read by their maker, who is there already */
        c->in.fed = stored;
        rc = 0;
    } else
        rc = input_go(&c->in, stored, err);
    if (rc < 0) return err_prefix(err, "%s", c->name);
    c->plain = plain;
    c->members = members;
    return 1;
}

void codec_close(struct codec *c) {
    if (!c) return;
    if (c->decoder) c->decoder->close(c);
    c->in.feed.close(c->in.feed.ctx);
    free(c->in.v);
    free(c->name);
    free(c);
}
