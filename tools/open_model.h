/* A model from a folder on a device, as programs name them: -m DIR, --device, --dtype. */
#ifndef LORY_TOOLS_OPEN_MODEL_H
#define LORY_TOOLS_OPEN_MODEL_H

#include "base/err.h"
#include "base/log.h"
#include "tools/backend.h"
#include "train/model.h"

struct open_model {
    char *dir; /* where it was found */
    struct model_config config;
    struct backend_choice choice;
    struct device *device;
    struct model *model;
};

/* DIR is a model's folder, or a run's: then its best checkpoint, else its last one. */
int open_model(struct open_model *ret, const char *dir, const char *device, const char *dtype,
               int threads, const struct log *log, struct err *err);
void open_model_close(struct open_model *m); /* fine on a zeroed one */

#endif
