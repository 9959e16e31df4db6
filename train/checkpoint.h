/* Checkpoint folders: they appear whole, they prove themselves, and the last good one is never
 * given up.
 *
 *   run/.checkpoint-500.tmp-4711/   files, synced ─▶ manifest.json (XXH3-128 of each) ─▶ sync
 *            └─ rename ─▶ run/checkpoint-500/ ─▶ sync run/ ─▶ link `last` ─▶ only now older ones go
 *
 * What a checkpoint holds is its writer's business; here it is a folder of plain files. A
 * checkpoint is chosen by verification, never by its name. One process writes a run (run_lock of
 * trainer.c). */
#ifndef LORY_TRAIN_CHECKPOINT_H
#define LORY_TRAIN_CHECKPOINT_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

/* run + "/checkpoint-" + step; malloc'd, NULL: no memory. */
char *checkpoint_path(const char *run, uint64_t step);
/* Makes the temporary folder to write into; its path in *ret_dir (malloc'd). */
int checkpoint_begin(char **ret_dir, const char *run, uint64_t step, struct err *err);
/* Syncs the files, writes the manifest, renames; an older checkpoint of the same step makes way.
 * Frees `dir`; on failure nothing is left of it. */
int checkpoint_commit(char *dir, const char *run, uint64_t step, struct err *err);
void checkpoint_abort(char *dir); /* removes it and frees; NULL is fine */

/* Compares a checkpoint with its manifest. ERR_CORRUPT names the file and what is wrong with it. */
int checkpoint_verify(const char *dir, struct err *err);
/* Steps of the checkpoint folders in `run`, ascending; none if there is no such folder. */
int checkpoint_list(const char *run, struct u64s *out, struct err *err);
/* No checkpoint at all. */
#define CHECKPOINT_NONE UINT64_MAX
/* The newest checkpoint that verifies (*ret_step; CHECKPOINT_NONE: there is none at all). Each
 * damaged one is named in a warning. ERR_CORRUPT when there are some and none verifies. */
int checkpoint_newest(const char *run, uint64_t *ret_step, const struct log *log, struct err *err);
/* Removes all but the newest `keep` (at least 1; 0: all stay) and `best` (0: none is special). */
int checkpoint_prune(const char *run, uint64_t keep, uint64_t best, struct err *err);

/* Points the relative symbolic link run/NAME to `target`, atomically; NULL removes it. ERR_USAGE
 * when something other than a link bears that name. */
int run_link(const char *run, const char *name, const char *target, struct err *err);

#endif
