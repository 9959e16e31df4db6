/* state.json of a checkpoint: where the run stands, and what it was told.
 *
 *   {"format":1, "step":…, "samples":…, …,
 *    "order":   {"version":1,"n":…,"key":…,"T":…,…},  refused if different
 *    "options": {"lr":…,"samples_per_step":…, …},          refused if different
 *    "device":  {"backend":…,"device":…,"batch":…, …}}     announced if different
 *
 * The random numbers need no state of their own: they are functions of the seed and the position.
 * */
#ifndef LORY_TRAIN_STATE_H
#define LORY_TRAIN_STATE_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include "base/err.h"
#include "base/log.h"

struct run_state {
    uint64_t step;      /* steps done, skipped ones included                    */
    uint64_t updates;   /* steps that changed the weights: AdamW's own count    */
    uint64_t samples;   /* windows seen: the loader's position                  */
    uint64_t tokens;    /* seen                                                 */
    double seconds;     /* spent on it                                          */
    uint64_t best_step; /* checkpoint with the lowest evaluation loss; 0: none  */
    double best_loss;   /* INFINITY: none                                       */
};

/* Three objects that tell one run from another. Owned by whoever made them. */
struct run_identity {
    cJSON *order, *options, *device;
};
void run_identity_free(struct run_identity *id);

/* Writes DIR/state.json. */
int state_save(const char *dir, const struct run_state *s, const struct run_identity *id,
               struct err *err);
/* Reads it. ERR_CORRUPT. */
int state_load(const char *dir, struct run_state *s, struct run_identity *id, struct err *err);
/* ERR_USAGE listing every member in which the run's order or options differ from today's. Members
 * that only the device explains are told through `log`. */
int state_compare(const char *dir, const struct run_identity *saved, const struct run_identity *now,
                  const struct log *log, struct err *err);

#endif
