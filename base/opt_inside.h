/* What the files of opt.h share. */
#ifndef LORY_BASE_OPT_INSIDE_H
#define LORY_BASE_OPT_INSIDE_H

#include "base/opt.h"

size_t opt_count(const struct program *p);
/* Sets the variable from `text`; NULL is a flag without a value. `again`: the same source has set
 * it before, so a list grows instead of starting anew. ERR_USAGE without the option's name. */
int opt_set(struct opt *o, const char *text, bool again, struct opt_values *values,
            struct err *err);
/* The option name nearest to `name` ("no-" forms included), or NULL; in `room`. */
enum { OPT_NAME_MAX = 96 };
const char *opt_nearest(const struct program *p, const char *name, char room[OPT_NAME_MAX]);
/* The choice number i, false behind the last; borrowed, `*ret_n` bytes. */
bool opt_choice(const char *choices, size_t i, const char **ret, size_t *ret_n);

/* Applies a YAML file. `found`: it was found in the working folder, not named by the user, so that
 * sensitive options are refused and plain keys must stand in a section. *ret_used: something in it
 * was meant for this program. */
int opt_config(const struct program *p, const char *path, bool found, struct opt_values *values,
               bool *ret_used, struct err *err);
bool opt_in_bounds(const struct opt *o, double x);
/* False for a number that stands for "not given": outside the bounds, or not finite. */
bool opt_is_set(const struct opt *o);
/* The value as it stands, as YAML writes it and as --help shows it. */
int opt_value_text(const struct opt *o, struct buf *out, struct err *err);

#endif
