/* TensorBoard's event files, written without TensorFlow.
 *
 *   record = u64 length │ u32 masked crc32c(length) │ data │ u32 masked crc32c(data)
 *   data   = protobuf Event: wall_time, step, and a summary of (tag, value) pairs
 *   run/events.out.tfevents.SECONDS.HOST.PID.SEQUENCE    SECONDS rises from file to file
 *
 * A resumed run writes a new file. Records behind the step it resumes from are cut out of the older
 * ones first, and a SessionLog START event tells a TensorBoard that is already watching to forget
 * them: each step shows once, before and after. One thread at a time. */
#ifndef LORY_TRAIN_TFEVENTS_H
#define LORY_TRAIN_TFEVENTS_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct tfevents;

struct tf_value {
    const char *tag; /* "train/loss" */
    double value;
};

/* Cuts the event files in `dir` at `step` and begins a new one. */
int tfevents_open(struct tfevents **ret, const char *dir, uint64_t step, double now,
                  struct err *err);
void tfevents_close(struct tfevents *t); /* NULL is fine */
int tfevents_add(struct tfevents *t, uint64_t step, double now, const struct tf_value *v, size_t n,
                 struct err *err);
/* A setting of the run for TensorBoard's HPARAMS tab. */
struct tf_hparam {
    const char *name;
    const char *text; /* NULL: it is a number */
    double number;
};
/* The run's settings, once at its beginning; that it is finished, once at its end. */
int tfevents_hparams(struct tfevents *t, const struct tf_hparam *v, size_t n, double now,
                     struct err *err);
int tfevents_end(struct tfevents *t, double now, struct err *err);
int tfevents_sync(struct tfevents *t, struct err *err);

/* Walks the records of a file's bytes: calls each(ctx, record, bytes, step) for every whole record
 * whose checksums are right, until it returns non-zero. Returns the bytes walked over: less than n
 * if the rest is torn or damaged. */
size_t tfevents_walk(const uint8_t *v, size_t n,
                     int (*each)(void *ctx, const uint8_t *record, size_t bytes, uint64_t step),
                     void *ctx);
/* The checksum of a record's parts: CRC-32C, rotated and offset. */
uint32_t tfevents_crc(const void *bytes, size_t n);

#endif
