/* What TensorBoard's HPARAMS tab shows of a run: its settings, and how it ended. Field numbers are
 * those of tensorboard/plugins/hparams (api.proto, plugin_data.proto).
 *
 *   Value  1 tag │ 8 tensor (none: float, shape (0)) │ 9 metadata { 1 { 1 "hparams" │ 2 content } }
 *   content  1 version │ 2 experiment │ 3 session start │ 4 session end
 *     experiment  4 hparam { 1 name │ 4 type } … │ 5 metric { 1 name { 2 tag } } …
 *     start       1 map { 1 name │ 2 Value { 2 number │ 3 string } } … │ 5 seconds
 *     end         1 status (1 = success) │ 2 seconds */
#include <string.h>
#include "train/tfevents_inside.h"

enum { EXPERIMENT = 2, SESSION_START = 3, SESSION_END = 4 };
enum { TYPE_STRING = 1, TYPE_FLOAT64 = 3 };
static const char *const metrics[] = {"train/loss", "eval/loss", "eval/perplexity"};
enum { METRICS = sizeof metrics / sizeof *metrics };

static int put_double(struct buf *b, unsigned field, double x, struct err *err) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int rc = tf_put_key(b, field, WIRE_8_BYTES, err);
    return rc < 0 ? rc : tf_put_fixed(b, bits, 8, err);
}

static int put_number(struct buf *b, unsigned field, uint64_t x, struct err *err) {
    int rc = tf_put_key(b, field, WIRE_VARINT, err);
    return rc < 0 ? rc : tf_put_varint(b, x, err);
}

static int put_text(struct buf *b, unsigned field, const char *s, struct err *err) {
    return tf_put_bytes(b, field, s, strlen(s), err);
}

/* Puts `part` into `whole` as a member, and empties it. */
static int put_part(struct buf *whole, unsigned field, struct buf *part, struct err *err) {
    int rc = tf_put_bytes(whole, field, part->v, part->n, err);
    part->n = 0;
    return rc;
}

/* A record with one Value that carries `content`, a message of the plugin. */
static int write_value(struct tfevents *t, const char *tag, unsigned kind, struct buf *content,
                       double now, struct err *err) {
    static const char none[] = {0x08, 0x01, 0x12,
                                0x02, 0x12, 0x00}; /* DT_FLOAT, shape { dim {} } */
    struct buf data = {0}, plugin = {0}, meta = {0};
    int rc = put_part(&data, kind, content, err); /* version 0 is left out, as protobuf does */
    if (rc == 0) rc = put_text(&plugin, 1, "hparams", err);
    if (rc == 0) rc = put_part(&plugin, 2, &data, err);
    if (rc == 0) rc = put_part(&meta, 1, &plugin, err);
    t->value.n = t->summary.n = 0;
    if (rc == 0) rc = put_text(&t->value, 1, tag, err);
    if (rc == 0) rc = tf_put_bytes(&t->value, 8, none, sizeof none, err);
    if (rc == 0) rc = put_part(&t->value, 9, &meta, err);
    if (rc == 0) rc = put_part(&t->summary, 1, &t->value, err);
    if (rc == 0) rc = tf_begin_event(&t->event, 0, now, err);
    if (rc == 0) rc = put_part(&t->event, 5, &t->summary, err);
    buf_release(&data);
    buf_release(&plugin);
    buf_release(&meta);
    return rc < 0 ? rc : tf_write_record(t, err);
}

static int put_experiment(struct buf *out, const struct tf_hparam *v, size_t n, struct err *err) {
    struct buf part = {0}, name = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = put_text(&part, 1, v[i].name, err);
        if (rc == 0) rc = put_number(&part, 4, v[i].text ? TYPE_STRING : TYPE_FLOAT64, err);
        if (rc == 0) rc = put_part(out, 4, &part, err);
    }
    for (size_t i = 0; rc == 0 && i < METRICS; i++) {
        rc = put_text(&name, 2, metrics[i], err);
        if (rc == 0) rc = put_part(&part, 1, &name, err);
        if (rc == 0) rc = put_part(out, 5, &part, err);
    }
    buf_release(&part);
    buf_release(&name);
    return rc;
}

static int put_start(struct buf *out, const struct tf_hparam *v, size_t n, double now,
                     struct err *err) {
    struct buf part = {0}, value = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = put_text(&part, 1, v[i].name, err);
        if (rc == 0)
            rc = v[i].text ? put_text(&value, 3, v[i].text, err)
                           : put_double(&value, 2, v[i].number, err);
        if (rc == 0) rc = put_part(&part, 2, &value, err);
        if (rc == 0) rc = put_part(out, 1, &part, err);
    }
    if (rc == 0) rc = put_double(out, 5, now, err);
    buf_release(&part);
    buf_release(&value);
    return rc;
}

int tfevents_hparams(struct tfevents *t, const struct tf_hparam *v, size_t n, double now,
                     struct err *err) {
    struct buf content = {0};
    int rc = put_experiment(&content, v, n, err);
    if (rc == 0) rc = write_value(t, "_hparams_/experiment", EXPERIMENT, &content, now, err);
    if (rc == 0) rc = put_start(&content, v, n, now, err);
    if (rc == 0)
        rc = write_value(t, "_hparams_/session_start_info", SESSION_START, &content, now, err);
    buf_release(&content);
    return rc;
}

int tfevents_end(struct tfevents *t, double now, struct err *err) {
    struct buf content = {0};
    int rc = put_number(&content, 1, 1, err);
    if (rc == 0) rc = put_double(&content, 2, now, err);
    if (rc == 0) rc = write_value(t, "_hparams_/session_end_info", SESSION_END, &content, now, err);
    buf_release(&content);
    return rc;
}
