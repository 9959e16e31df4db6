/* llm.c's model files (model_00001000.bin, gpt2_124M.bin): a header of 256 int32, then 16 kinds of
 * tensors, each of all layers together.
 *
 *   [0] 20240326 │ [1] 3 fp32, 5 bf16 │ [2] positions │ [3] V │ [4] L │ [5] NH │ [6] C │ [7] Vp
 *   wte (Vp,C)  wpe (P,C)  ln1w ln1b  qkvw (L,3C,C) qkvb  attprojw … fcprojw (L,C,4C) … lnfw lnfb
 *
 * Matrices stand as (out, in), in transformers as (in, out). Vp is V rounded up; its last rows are
 * padding. No dropout, GELU by tanh, tied embeddings. */
#ifndef LORY_TRAIN_LLMC_MODEL_H
#define LORY_TRAIN_LLMC_MODEL_H

#include "base/err.h"
#include "train/config.h"
#include "train/model.h"

/* The shape of the model in the file. ERR_CORRUPT unless every number is in its range and the file
 * has just the bytes that they come to. */
int llmc_config(struct model_config *ret, const char *path, struct err *err);
/* Its weights into a model of that shape. */
int llmc_load(struct model *m, const char *path, struct err *err);

/* Writes a model as such a file, fp32 (version 3) or bf16 (5, rounded to the nearest), V rounded up
 * to a multiple of 128 as train_gpt2.py does. It appears whole. ERR_DATA names what of the model
 * has no place in the format: an output matrix of its own, another GELU, another n_inner … */
int llmc_save(struct model *m, const char *path, enum dtype stored, struct err *err);

#endif
