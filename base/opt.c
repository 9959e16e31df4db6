/* The command line: see opt.h. The arguments are walked three times with the same iterator: once
 * for mistakes and for --help, which must not depend on files; once for --config; once for the
 * values. */
#include "base/opt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/opt_inside.h"

size_t opt_count(const struct program *p) {
    size_t n = 0;
    while (p->opts[n].type != OPT_END) n++;
    return n;
}

struct opt *opt_find(struct opt *opts, const char *name, size_t n) {
    for (struct opt *o = opts; o->type != OPT_END; o++)
        if (o->type != OPT_GROUP && strlen(o->name) == n && !memcmp(o->name, name, n)) return o;
    return NULL;
}

static struct opt *find_letter(const struct program *p, char letter) {
    for (struct opt *o = p->opts; o->type != OPT_END; o++)
        if (o->type != OPT_GROUP && o->letter == letter) return o;
    return NULL;
}

const char *opt_nearest(const struct program *p, const char *name, char room[OPT_NAME_MAX]) {
    size_t n = opt_count(p), used = 0;
    const char **names = mem_array(2 * n, sizeof *names);
    char(*negated)[OPT_NAME_MAX] = mem_array(n, sizeof *negated);
    const char *near = NULL;
    for (size_t i = 0; names && negated && i < n; i++) {
        const struct opt *o = &p->opts[i];
        if (o->type == OPT_GROUP || o->hidden) continue;
        names[used++] = o->name;
        if (o->type != OPT_FLAG || o->ends) continue;
        snprintf(negated[i], OPT_NAME_MAX, "no-%s", o->name);
        names[used++] = negated[i];
    }
    if (names && negated) near = nearest_name(name, names, used);
    if (near) {
        snprintf(room, OPT_NAME_MAX, "%s", near);
        near = room;
    }
    free(names);
    free(negated);
    return near;
}

bool opt_choice(const char *choices, size_t i, const char **ret, size_t *ret_n) {
    for (; choices && i > 0; i--) {
        choices = strchr(choices, '|');
        if (choices) choices++;
    }
    if (!choices) return false;
    *ret = choices;
    *ret_n = strcspn(choices, "|");
    return true;
}

/* -- values -- */

static bool one_of(const char *text, const char *const *words) {
    for (; *words; words++)
        if (!strcmp(text, *words)) return true;
    return false;
}

static int set_flag(bool *to, const char *text, struct err *err) {
    static const char *const yes[] = {"true", "yes", "on", "1", NULL};
    static const char *const no[] = {"false", "no", "off", "0", NULL};
    bool on = !text || one_of(text, yes);
    if (!on && !one_of(text, no)) return err_set(err, ERR_USAGE, "'%s' is not true or false", text);
    *to = on;
    return 0;
}

/* max < min: no upper bound, so that `.min = 1` alone means what it says. */
bool opt_in_bounds(const struct opt *o, double x) {
    if (o->min == 0 && o->max == 0) return true;
    return x >= o->min && (o->max < o->min || x <= o->max);
}

static int check_bounds(const struct opt *o, double x, const char *text, struct err *err) {
    if (opt_in_bounds(o, x)) return 0;
    if (x < o->min) return err_set(err, ERR_USAGE, "%s is less than %.15g", text, o->min);
    return err_set(err, ERR_USAGE, "%s is more than %.15g", text, o->max);
}

static int set_u64(const struct opt *o, const char *text, struct err *err) {
    uint64_t x;
    int rc = parse_u64(text, &x, err);
    if (rc == 0) rc = check_bounds(o, (double)x, text, err);
    if (rc == 0) *(uint64_t *)o->to = x;
    return rc;
}

static int set_f64(const struct opt *o, const char *text, struct err *err) {
    double x;
    int rc = parse_f64(text, &x, err);
    if (rc == 0) rc = check_bounds(o, x, text, err);
    if (rc == 0) *(double *)o->to = x;
    return rc;
}

static int set_str(const char **to, const char *text, struct opt_values *values, struct err *err) {
    int rc = strs_push(&values->owned, text, err);
    if (rc == 0) *to = values->owned.v[values->owned.n - 1];
    return rc;
}

static int set_choice(const struct opt *o, const char *text, struct opt_values *values,
                      struct err *err) {
    const char *choice, *names[32];
    char room[32][OPT_NAME_MAX];
    size_t n, i = 0;
    for (; i < 32 && opt_choice(o->choices, i, &choice, &n); i++) {
        if (strlen(text) == n && !memcmp(text, choice, n)) return set_str(o->to, text, values, err);
        snprintf(room[i], sizeof room[i], "%.*s", (int)n, choice);
        names[i] = room[i];
    }
    const char *near = nearest_name(text, names, i);
    err_set(err, ERR_USAGE, "'%s' is not one of %s", text, o->choices);
    return near ? err_hint(err, "did you mean %s?", near) : ERR_USAGE;
}

static int set_steps(struct opt_steps *to, const char *text, struct err *err) {
    struct opt_steps x = {0};
    size_t n = strlen(text);
    /* "30m" is a time, "30M" steps: the small letters s, m, h, d are durations' */
    bool time = n > 0 && strchr("smhd", text[n - 1]);
    int rc = time ? parse_duration(text, &x.seconds, err) : parse_u64(text, &x.steps, err);
    if (rc < 0 && !time) err_hint(err, "give a number of steps or a time like 30m");
    if (rc == 0) *to = x;
    return rc;
}

int opt_set(struct opt *o, const char *text, bool again, struct opt_values *values,
            struct err *err) {
    int rc = 0;
    switch (o->type) {
    case OPT_FLAG: rc = set_flag(o->to, text, err); break;
    case OPT_U64: rc = set_u64(o, text, err); break;
    case OPT_F64: rc = set_f64(o, text, err); break;
    case OPT_STR: rc = set_str(o->to, text, values, err); break;
    case OPT_STRS:
        if (!again) strs_release(o->to);
        rc = strs_push(o->to, text, err);
        break;
    case OPT_CHOICE: rc = set_choice(o, text, values, err); break;
    case OPT_DURATION: rc = parse_duration(text, o->to, err); break;
    case OPT_STEPS: rc = set_steps(o->to, text, err); break;
    case OPT_END:
    case OPT_GROUP: break;
    }
    if (rc == 0) o->given = true;
    return rc;
}

/* -- arguments -- */

struct args {
    const struct program *p;
    int argc, at;
    char **argv;
    const char *bundle; /* the rest of "-qv", or NULL */
    bool operands_only; /* behind "--" */
};

struct arg {
    struct opt *opt;         /* NULL: an operand */
    char flag[OPT_NAME_MAX]; /* as typed, for messages */
    const char *value;       /* NULL: a flag without one */
};

static int unknown_long(const struct program *p, const char *flag, struct err *err) {
    char room[OPT_NAME_MAX];
    const char *near = opt_nearest(p, flag + 2, room);
    err_set(err, ERR_USAGE, "unknown option %s", flag);
    if (near) return err_hint(err, "did you mean --%s?", near);
    return err_hint(err, "see %s --help", p->name);
}

/* The value of an option that needs one: the next argument, whatever it looks like, unless it is an
 * option itself: then the value was forgotten. */
static int next_value(struct args *a, struct arg *ret, struct err *err) {
    const char *next = a->at < a->argc ? a->argv[a->at] : NULL;
    bool option = next && !strncmp(next, "--", 2) && next[2] &&
                  opt_find(a->p->opts, next + 2, strcspn(next + 2, "="));
    if (!next || option) {
        const char *arg = ret->opt->arg ? ret->opt->arg : ret->opt->choices;
        err_set(err, ERR_USAGE, "%s needs a value%s%s", ret->flag, arg ? ": " : "", arg ? arg : "");
        return option ? err_hint(err, "if it is '%s', write %s=%s", next, ret->flag, next)
                      : ERR_USAGE;
    }
    ret->value = next;
    a->at++;
    return 1;
}

static int next_long(struct args *a, const char *text, struct arg *ret, struct err *err) {
    const char *name = text + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    snprintf(ret->flag, sizeof ret->flag, "--%.*s", (int)(n < 80 ? n : 80), name);
    ret->opt = opt_find(a->p->opts, name, n);
    if (!ret->opt && n > 3 && !strncmp(name, "no-", 3)) {
        ret->opt = opt_find(a->p->opts, name + 3, n - 3);
        if (ret->opt && (ret->opt->type != OPT_FLAG || ret->opt->ends)) ret->opt = NULL;
        if (ret->opt && equals) return err_set(err, ERR_USAGE, "%s takes no value", ret->flag);
        ret->value = "false";
        if (ret->opt) return 1;
    }
    if (!ret->opt) return unknown_long(a->p, ret->flag, err);
    ret->value = equals ? equals + 1 : NULL;
    return equals || ret->opt->type == OPT_FLAG ? 1 : next_value(a, ret, err);
}

/* One letter of a bundle: "-qv", "-oFILE", "-o FILE". */
static int next_letter(struct args *a, struct arg *ret, struct err *err) {
    char letter = *a->bundle++;
    snprintf(ret->flag, sizeof ret->flag, "-%c", letter);
    ret->opt = find_letter(a->p, letter);
    if (!ret->opt) {
        err_set(err, ERR_USAGE, "unknown option %s", ret->flag);
        return err_hint(err, "see %s --help", a->p->name);
    }
    const char *rest = *a->bundle ? a->bundle : NULL;
    if (ret->opt->type == OPT_FLAG || rest == NULL) a->bundle = rest;
    if (ret->opt->type == OPT_FLAG) return 1;
    if (!rest) return next_value(a, ret, err);
    ret->value = rest;
    a->bundle = NULL;
    return 1;
}

/* True for "-0.5" where no letter could be meant. */
static bool negative_number(const struct program *p, const char *text) {
    double x;
    return parse_f64(text, &x, NULL) == 0 && !find_letter(p, text[1]);
}

/* 1: *ret is the next option or operand; 0: no more. */
static int next_arg(struct args *a, struct arg *ret, struct err *err) {
    *ret = (struct arg){0};
    if (a->bundle) return next_letter(a, ret, err);
    if (a->at >= a->argc) return 0;
    const char *text = a->argv[a->at++];
    if (!a->operands_only && !strcmp(text, "--")) {
        a->operands_only = true;
        return next_arg(a, ret, err);
    }
    bool option = !a->operands_only && text[0] == '-' && text[1] && !negative_number(a->p, text);
    if (option && text[1] == '-') return next_long(a, text, ret, err);
    if (option) {
        a->bundle = text + 1;
        return next_letter(a, ret, err);
    }
    ret->value = text;
    return 1;
}

/* Looks for mistakes before any file is read. 1: an option that ends everything was seen. */
static int check_args(struct args a, struct opt_values *values, struct err *err) {
    struct arg arg;
    int rc;
    while ((rc = next_arg(&a, &arg, err)) > 0) {
        if (!arg.opt || !arg.opt->ends) continue;
        rc = opt_set(arg.opt, arg.value, false, values, err);
        return rc < 0 ? err_prefix(err, "%s", arg.flag) : 1;
    }
    return rc;
}

/* What was read, for the announcement; it waits until -q is known. */
static int read_configs(struct args a, struct opt_values *values, struct strs *used,
                        struct err *err) {
    struct arg arg;
    bool mine = false;
    int rc = 0;
    if (file_kind("lory.yaml") != FILE_NONE)
        rc = opt_config(a.p, "lory.yaml", true, values, &mine, err);
    if (rc == 0 && mine) rc = strs_push(used, "lory.yaml", err);
    while (rc == 0 && (rc = next_arg(&a, &arg, err)) > 0) {
        rc = 0;
        if (!arg.opt || strcmp(arg.opt->name, "config")) continue;
        rc = opt_config(a.p, arg.value, false, values, &mine, err);
        if (rc == 0) rc = strs_push(used, arg.value, err);
    }
    return rc;
}

static int set_args(struct args a, struct opt_values *values, struct err *err) {
    struct arg arg;
    struct opt *list = NULL; /* what operands belong to; NULL: to the program */
    bool *seen = mem_array(opt_count(a.p), sizeof *seen);
    if (!seen) return err_nomem(err, opt_count(a.p));
    int rc;
    while ((rc = next_arg(&a, &arg, err)) > 0) {
        if (a.operands_only) list = NULL;
        if (!arg.opt) {
            rc = strs_push(list ? list->to : &values->operands, arg.value, err);
        } else {
            bool *again = &seen[arg.opt - a.p->opts];
            rc = opt_set(arg.opt, arg.value, *again, values, err);
            if (rc < 0) err_prefix(err, "%s", arg.flag);
            *again = true;
            list = arg.opt->many ? arg.opt : NULL;
        }
        if (rc < 0) break;
    }
    free(seen);
    return rc;
}

int opt_parse(const struct program *p, int argc, char **argv, struct opt_values *ret,
              const struct log *log, struct err *err) {
    struct args args = {.p = p, .argc = argc, .at = 1, .argv = argv};
    struct strs used = {0};
    *ret = (struct opt_values){.program = p};
    int rc = check_args(args, ret, err);
    if (rc == 0) {
        rc = read_configs(args, ret, &used, err);
        if (rc == 0) rc = set_args(args, ret, err);
        for (size_t i = 0; rc == 0 && i < used.n; i++) log_info(log, "options from %s", used.v[i]);
    }
    strs_release(&used);
    if (rc < 0) opt_release(ret);
    return rc < 0 ? rc : 0;
}

void opt_release(struct opt_values *v) {
    for (struct opt *o = v->program ? v->program->opts : NULL; o && o->type != OPT_END; o++)
        if (o->type == OPT_STRS) strs_release(o->to);
    strs_release(&v->operands);
    strs_release(&v->owned);
    *v = (struct opt_values){0};
}
