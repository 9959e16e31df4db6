/* What the event file's writers share: protobuf by hand. */
#ifndef LORY_TRAIN_TFEVENTS_INSIDE_H
#define LORY_TRAIN_TFEVENTS_INSIDE_H

#include "base/buf.h"
#include "train/append.h"
#include "train/tfevents.h"

struct tfevents {
    struct append file;
    struct buf event, summary, value, record;
};

enum { WIRE_VARINT = 0, WIRE_8_BYTES = 1, WIRE_LENGTH = 2, WIRE_4_BYTES = 5 };

int tf_put_varint(struct buf *b, uint64_t x, struct err *err);
int tf_put_key(struct buf *b, unsigned field, unsigned wire, struct err *err);
int tf_put_bytes(struct buf *b, unsigned field, const void *v, size_t n, struct err *err);
int tf_put_fixed(struct buf *b, uint64_t x, int bytes, struct err *err); /* low bytes first */
/* Empties `b` and begins an Event in it. */
int tf_begin_event(struct buf *b, uint64_t step, double now, struct err *err);
/* Writes t->event as one record. */
int tf_write_record(struct tfevents *t, struct err *err);

#endif
