/* Event files: see tfevents.h. Field numbers are those of tensorboard/compat/proto/event.proto and
 * summary.proto; what a scalar needs is so little of protobuf that it is written out by hand.
 *
 *   Event    1 wall_time double │ 2 step varint │ 3 file_version │ 5 summary │ 7 session_log
 *   Summary  1 value { 1 tag │ 2 simple_value float }        SessionLog  1 status (1 = START) */
#include "train/tfevents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "train/tfevents_inside.h"

enum { HEAD_BYTES = 12, FOOT_BYTES = 4 };
static const char PREFIX[] = "events.out.tfevents.";
static const uint64_t MOST_BYTES = (uint64_t)16 << 30;

/* ------------------------------------------------------------------ checksum */

/* Bit by bit over the reflected polynomial 0x1EDC6F41: records have a hundred bytes. */
static uint32_t crc32c(const uint8_t *p, size_t n) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
    }
    return ~crc;
}

uint32_t tfevents_crc(const void *bytes, size_t n) {
    uint32_t crc = crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* ------------------------------------------------------------------ writing protobuf */

int tf_put_varint(struct buf *b, uint64_t x, struct err *err) {
    int rc = 0;
    for (; rc == 0 && x >= 0x80; x >>= 7) rc = buf_char(b, (char)(x | 0x80), err);
    return rc < 0 ? rc : buf_char(b, (char)x, err);
}

int tf_put_key(struct buf *b, unsigned field, unsigned wire, struct err *err) {
    return tf_put_varint(b, (uint64_t)field << 3 | wire, err);
}

int tf_put_bytes(struct buf *b, unsigned field, const void *v, size_t n, struct err *err) {
    int rc = tf_put_key(b, field, WIRE_LENGTH, err);
    if (rc == 0) rc = tf_put_varint(b, n, err);
    return rc < 0 ? rc : buf_append(b, v, n, err);
}

/* Low bytes first, on any machine. */
int tf_put_fixed(struct buf *b, uint64_t x, int bytes, struct err *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < bytes; i++) rc = buf_char(b, (char)(x >> 8 * i), err);
    return rc;
}

static int put_value(struct buf *b, struct buf *scratch, const struct tf_value *v,
                     struct err *err) {
    float f = (float)v->value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    scratch->n = 0;
    int rc = tf_put_bytes(scratch, 1, v->tag, strlen(v->tag), err);
    if (rc == 0) rc = tf_put_key(scratch, 2, WIRE_4_BYTES, err);
    if (rc == 0) rc = tf_put_fixed(scratch, bits, 4, err);
    return rc < 0 ? rc : tf_put_bytes(b, 1, scratch->v, scratch->n, err);
}

int tf_begin_event(struct buf *b, uint64_t step, double now, struct err *err) {
    uint64_t bits;
    memcpy(&bits, &now, sizeof bits);
    b->n = 0;
    int rc = tf_put_key(b, 1, WIRE_8_BYTES, err);
    if (rc == 0) rc = tf_put_fixed(b, bits, 8, err);
    if (rc == 0 && step) rc = tf_put_key(b, 2, WIRE_VARINT, err);
    if (rc == 0 && step) rc = tf_put_varint(b, step, err);
    return rc;
}

/* Writes t->event as one record. */
int tf_write_record(struct tfevents *t, struct err *err) {
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)t->event.n >> 8 * i);
    t->record.n = 0;
    int rc = buf_append(&t->record, length, sizeof length, err);
    if (rc == 0) rc = tf_put_fixed(&t->record, tfevents_crc(length, sizeof length), 4, err);
    if (rc == 0) rc = buf_append(&t->record, t->event.v, t->event.n, err);
    if (rc == 0) rc = tf_put_fixed(&t->record, tfevents_crc(t->event.v, t->event.n), 4, err);
    return rc < 0 ? rc : append_write(&t->file, t->record.v, t->record.n, err);
}

int tfevents_add(struct tfevents *t, uint64_t step, double now, const struct tf_value *v, size_t n,
                 struct err *err) {
    t->summary.n = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) rc = put_value(&t->summary, &t->value, &v[i], err);
    if (rc == 0) rc = tf_begin_event(&t->event, step, now, err);
    if (rc == 0) rc = tf_put_bytes(&t->event, 5, t->summary.v, t->summary.n, err);
    return rc < 0 ? rc : tf_write_record(t, err);
}

/* ------------------------------------------------------------------ reading */

static uint64_t get_fixed(const uint8_t *p, int bytes) {
    uint64_t x = 0;
    for (int i = 0; i < bytes; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

/* Reads a varint at *at < n; false when it is cut off or too long. */
static bool get_varint(const uint8_t *p, size_t n, size_t *at, uint64_t *ret) {
    *ret = 0;
    for (int shift = 0; shift < 64 && *at < n; shift += 7) {
        uint8_t c = p[(*at)++];
        *ret |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) return true;
    }
    return false;
}

/* The step of an Event; 0 if it says none. */
static uint64_t step_of(const uint8_t *p, size_t n) {
    uint64_t key, x;
    for (size_t at = 0; at < n && get_varint(p, n, &at, &key);) {
        size_t skip = 0;
        switch (key & 7) {
        case WIRE_VARINT:
            if (!get_varint(p, n, &at, &x)) return 0;
            if (key >> 3 == 2) return x;
            break;
        case WIRE_8_BYTES: skip = 8; break;
        case WIRE_4_BYTES: skip = 4; break;
        case WIRE_LENGTH:
            if (!get_varint(p, n, &at, &x) || x > n - at) return 0;
            skip = (size_t)x;
            break;
        default: return 0;
        }
        if (skip > n - at) return 0;
        at += skip;
    }
    return 0;
}

size_t tfevents_walk(const uint8_t *v, size_t n,
                     int (*each)(void *ctx, const uint8_t *record, size_t bytes, uint64_t step),
                     void *ctx) {
    size_t at = 0;
    while (n - at >= HEAD_BYTES + FOOT_BYTES) {
        const uint8_t *r = v + at;
        uint64_t length = get_fixed(r, 8);
        if (get_fixed(r + 8, 4) != tfevents_crc(r, 8)) break;
        if (length > n - at - HEAD_BYTES - FOOT_BYTES) break;
        const uint8_t *data = r + HEAD_BYTES;
        if (get_fixed(data + length, 4) != tfevents_crc(data, length)) break;
        size_t bytes = HEAD_BYTES + (size_t)length + FOOT_BYTES;
        if (each(ctx, r, bytes, step_of(data, (size_t)length))) break;
        at += bytes;
    }
    return at;
}

/* ------------------------------------------------------------------ continuing a run */

struct kept {
    struct buf out;
    uint64_t step;
    size_t records;
    int rc;
    struct err *err;
};

static int keep(void *ctx, const uint8_t *record, size_t bytes, uint64_t step) {
    struct kept *k = ctx;
    if (step > k->step) return 0;
    k->records++;
    k->rc = buf_append(&k->out, record, bytes, k->err);
    return k->rc;
}

/* Cuts one file at `step`; removes it if nothing but its head is left. */
static int cut_file(const char *path, uint64_t step, struct err *err) {
    struct buf text = {0};
    struct kept k = {.step = step, .err = err};
    int rc = file_read(path, MOST_BYTES, &text, err);
    if (rc == 0) tfevents_walk((const uint8_t *)text.v, text.n, keep, &k);
    if (rc == 0) rc = k.rc;
    if (rc == 0 && k.records <= 1)
        rc = file_remove(path, err);
    else if (rc == 0 && k.out.n != text.n)
        rc = file_write(path, k.out.v, k.out.n, err);
    buf_release(&text);
    buf_release(&k.out);
    return rc;
}

/* Cuts all files; *ret_last is the latest SECONDS among their names. */
static int cut_files(const char *dir, uint64_t step, uint64_t *ret_last, struct err *err) {
    struct strs names = {0};
    int rc = file_list(dir, &names, err);
    *ret_last = 0;
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        if (strncmp(names.v[i], PREFIX, sizeof PREFIX - 1)) continue;
        uint64_t seconds = strtoull(names.v[i] + sizeof PREFIX - 1, NULL, 10);
        if (seconds > *ret_last) *ret_last = seconds;
        char *path = path_join(dir, names.v[i]);
        rc = path ? cut_file(path, step, err) : err_nomem(err, strlen(dir));
        free(path);
    }
    strs_release(&names);
    return rc;
}

/* The head of a file, and the word to a reader that everything from `step` on is told anew. */
static int write_head(struct tfevents *t, uint64_t step, double now, struct err *err) {
    static const char version[] = "brain.Event:2";
    static const uint8_t start[] = {1 << 3 | WIRE_VARINT, 1};
    int rc = tf_begin_event(&t->event, 0, now, err);
    if (rc == 0) rc = tf_put_bytes(&t->event, 3, version, sizeof version - 1, err);
    if (rc == 0) rc = tf_write_record(t, err);
    if (rc == 0) rc = tf_begin_event(&t->event, step + 1, now, err);
    if (rc == 0) rc = tf_put_bytes(&t->event, 7, start, sizeof start, err);
    return rc < 0 ? rc : tf_write_record(t, err);
}

int tfevents_open(struct tfevents **ret, const char *dir, uint64_t step, double now,
                  struct err *err) {
    uint64_t last, seconds = (uint64_t)now;
    int rc = cut_files(dir, step, &last, err);
    if (rc < 0) return rc;
    if (seconds <= last)
        seconds = last + 1; /* readers take the files in the order of their names */
    struct tfevents *t = calloc(1, sizeof *t);
    if (!t) return err_nomem(err, sizeof *t);
    char host[128] = "localhost", name[256];
    if (gethostname(host, sizeof host - 1) < 0 || strchr(host, '/'))
        snprintf(host, sizeof host, "localhost");
    snprintf(name, sizeof name, "%s%010llu.%s.%d.0", PREFIX, (unsigned long long)seconds, host,
             (int)getpid());
    char *path = path_join(dir, name);
    rc = path ? append_open(&t->file, path, err) : err_nomem(err, sizeof name);
    free(path);
    if (rc == 0) rc = write_head(t, step, now, err);
    if (rc < 0)
        tfevents_close(t);
    else
        *ret = t;
    return rc;
}

void tfevents_close(struct tfevents *t) {
    if (!t) return;
    append_close(&t->file);
    buf_release(&t->event);
    buf_release(&t->summary);
    buf_release(&t->value);
    buf_release(&t->record);
    free(t);
}

int tfevents_sync(struct tfevents *t, struct err *err) {
    return append_sync(&t->file, err);
}
