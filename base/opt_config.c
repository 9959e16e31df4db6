/* YAML as a second source of options. One level of sections, keys that are long options, and values
 * that are scalars or lists of scalars; nothing else of YAML is let in (no aliases, no tags, no
 * second document), so a file is read in time linear in its size.
 *
 *     lmtrain:             a section per program; "corpus cat" has the section cat: inside corpus:
 *       seq-len: 1024      underscores are fine, too
 *       train: [a, b]
 */
#include "base/opt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/file.h"
#include "base/json.h"
#include "base/opt_inside.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

struct config {
    const struct program *p;
    const char *path;
    bool found, *used, *seen; /* seen: an option has been set by this file */
    struct opt_values *values;
    yaml_parser_t yaml;
    yaml_event_t event; /* the one at hand */
    size_t key_line;    /* of the key whose value is at hand */
};

/* Puts "path:line: " before the message; `line` from 0. */
static int placed(const struct config *c, size_t line, struct err *err) {
    err_prefix(err, "%s:%zu", c->path, line + 1);
    err_place(err, line + 1, 0, 0);
    return ERR_USAGE;
}

static int next_event(struct config *c, struct err *err) {
    yaml_event_delete(&c->event);
    memset(&c->event, 0, sizeof c->event);
    if (!yaml_parser_parse(&c->yaml, &c->event)) {
        if (c->yaml.error == YAML_MEMORY_ERROR) return err_nomem(err, 0);
        err_set(err, ERR_USAGE, "%s", c->yaml.problem ? c->yaml.problem : "not YAML");
        return placed(c, c->yaml.problem_mark.line, err);
    }
    const yaml_event_t *e = &c->event;
    bool anchor = e->type == YAML_ALIAS_EVENT ||
                  (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
                  (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
                  (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor);
    if (!anchor) return 0;
    err_set(err, ERR_USAGE, "anchors and aliases are not taken here");
    return placed(c, e->start_mark.line, err);
}

static size_t line_of(const struct config *c) {
    return c->event.start_mark.line;
}

/* Text of the scalar at hand, NULL if it is none or holds a NUL; borrowed until next_event(). */
static const char *scalar(const struct config *c) {
    if (c->event.type != YAML_SCALAR_EVENT) return NULL;
    const char *text = (const char *)c->event.data.scalar.value;
    return strlen(text) == c->event.data.scalar.length ? text : NULL;
}

static bool is_null(const struct config *c) {
    const char *text = scalar(c);
    return text && c->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

/* Leaves the value at hand, whatever it is, at its last event. */
static int skip_value(struct config *c, struct err *err) {
    int rc = 0;
    for (size_t depth = 0;;) {
        yaml_event_type_t t = c->event.type;
        if (t == YAML_SEQUENCE_START_EVENT || t == YAML_MAPPING_START_EVENT) depth++;
        if (t == YAML_SEQUENCE_END_EVENT || t == YAML_MAPPING_END_EVENT) depth--;
        if (depth == 0) return 0;
        rc = next_event(c, err);
        if (rc < 0) return rc;
    }
}

/* The option a key names: "seq_len" and "seq-len". NULL with *err set. */
static struct opt *option_of(const struct config *c, const char *key, struct err *err) {
    char name[OPT_NAME_MAX], room[OPT_NAME_MAX];
    snprintf(name, sizeof name, "%s", key);
    for (char *p = name; *p; p++)
        if (*p == '_') *p = '-';
    struct opt *o = opt_find(c->p->opts, name, strlen(name));
    if (o && !o->ends && strcmp(name, "config")) {
        if (!o->sensitive || !c->found) return o;
        err_set(err, ERR_USAGE, "%s cannot be set by a file that lies in the folder", name);
        err_hint(err, "use --%s, or name the file with --config", name);
        return NULL;
    }
    const char *near = opt_nearest(c->p, name, room);
    err_set(err, ERR_USAGE, "unknown key %.80s", key);
    if (near && !opt_find(c->p->opts, near, strlen(near))) /* a flag's --no-NAME is no key */
        err_hint(err, "did you mean %s: false?", near + strlen("no-"));
    else if (near)
        err_hint(err, "did you mean %s?", near);
    return NULL;
}

static int set_item(struct config *c, struct opt *o, struct err *err) {
    bool *again = &c->seen[o - c->p->opts];
    const char *text = scalar(c);
    int rc = text ? opt_set(o, text, *again, c->values, err)
                  : err_set(err, ERR_USAGE, "a plain value is wanted");
    *again = true;
    if (rc == 0) return 0;
    err_prefix(err, "%s", o->name);
    return placed(c, line_of(c), err);
}

/* The value of option `key`, at its first event; left at its last. */
static int set_key(struct config *c, const char *key, struct err *err) {
    struct opt *o = option_of(c, key, err);
    if (!o) return placed(c, c->key_line, err);
    *c->used = true;
    if (c->seen[o - c->p->opts]) {
        err_set(err, ERR_USAGE, "%s appears twice", o->name);
        return placed(c, c->key_line, err);
    }
    if (is_null(c)) return 0; /* "key:" leaves the default */
    if (c->event.type != YAML_SEQUENCE_START_EVENT) return set_item(c, o, err);
    if (o->type != OPT_STRS) {
        err_set(err, ERR_USAGE, "%s takes one value, not a list", o->name);
        return placed(c, c->key_line, err);
    }
    strs_release(o->to); /* an empty list is a value, too */
    o->given = true;
    int rc = next_event(c, err);
    while (rc == 0 && c->event.type != YAML_SEQUENCE_END_EVENT) {
        rc = set_item(c, o, err);
        if (rc == 0) rc = next_event(c, err);
    }
    return rc;
}

/* Moves from a mapping's start, or from the end of a value, to the next key: 1 with *ret_key
 * (malloc'd) and the event behind it at hand, 0 at the mapping's end. */
static int next_key(struct config *c, char **ret_key, struct err *err) {
    int rc = next_event(c, err);
    if (rc < 0) return rc;
    if (c->event.type == YAML_MAPPING_END_EVENT) return 0;
    const char *text = scalar(c);
    if (!text) {
        err_set(err, ERR_USAGE, "a key must be a plain word");
        return placed(c, line_of(c), err);
    }
    char *key = strdup(text);
    if (!key) return err_nomem(err, strlen(text));
    c->key_line = line_of(c);
    rc = next_event(c, err);
    if (rc < 0)
        free(key);
    else
        *ret_key = key;
    return rc < 0 ? rc : 1;
}

/* A mapping that belongs to the program; `sub` is what follows of its name ("cat" in "corpus
 * cat"). */
static int section(struct config *c, const char *sub, struct err *err) {
    char *key;
    int rc;
    while ((rc = next_key(c, &key, err)) > 0) {
        bool mapping = c->event.type == YAML_MAPPING_START_EVENT;
        if (mapping && *sub && !strcmp(key, sub))
            rc = section(c, "", err);
        else if (mapping && *sub)
            rc = skip_value(c, err); /* another subcommand's */
        else
            rc = set_key(c, key, err);
        free(key);
        if (rc < 0) break;
    }
    return rc;
}

static int unknown_section(const struct config *c, const char *key, struct err *err) {
    const char *names[33], *name;
    char room[32][OPT_NAME_MAX], mine[OPT_NAME_MAX], word[OPT_NAME_MAX];
    size_t n_bytes, n = 0;
    /* of "tokenize encode" the program's is the section */
    snprintf(mine, sizeof mine, "%.*s", (int)strcspn(c->p->name, " "), c->p->name);
    snprintf(word, sizeof word, "%.*s", (int)strcspn(key, " "), key);
    names[0] = mine;
    for (; n < 32 && opt_choice(c->p->sections, n, &name, &n_bytes); n++) {
        snprintf(room[n], sizeof room[n], "%.*s", (int)n_bytes, name);
        names[n + 1] = room[n];
    }
    const char *near = nearest_name(word, names, n + 1);
    err_set(err, ERR_USAGE, "unknown section %.80s", key);
    if (near) err_hint(err, "did you mean %s?", near);
    return placed(c, c->key_line, err);
}

static bool known_section(const struct config *c, const char *key) {
    const char *name;
    size_t n;
    if (!c->p->sections) return true;
    for (size_t i = 0; opt_choice(c->p->sections, i, &name, &n); i++)
        if (strlen(key) == n && !memcmp(key, name, n)) return true;
    return false;
}

/* One entry of the outermost mapping. */
static int top_entry(struct config *c, const char *key, struct err *err) {
    size_t n = strcspn(c->p->name, " ");
    bool mine = strlen(key) == n && !memcmp(key, c->p->name, n);
    if (c->event.type == YAML_MAPPING_START_EVENT) {
        if (!mine && !known_section(c, key)) return unknown_section(c, key, err);
        if (!mine) return skip_value(c, err);
        *c->used = true;
        return section(c, c->p->name + n + (c->p->name[n] == ' '), err);
    }
    if (is_null(c) && (mine || (c->p->sections && known_section(c, key)))) return 0;
    if (!c->found && !mine) return set_key(c, key, err);
    if (mine)
        err_set(err, ERR_USAGE, "options are wanted below %s:", key);
    else
        err_set(err, ERR_USAGE, "%.80s must stand in a section, like %.*s:", key, (int)n,
                c->p->name);
    return placed(c, c->key_line, err);
}

static int document(struct config *c, struct err *err) {
    char *key;
    int rc = next_event(c, err); /* the document, or the end of an empty stream */
    if (rc < 0 || c->event.type == YAML_STREAM_END_EVENT) return rc;
    rc = next_event(c, err);
    if (rc < 0) return rc;
    if (c->event.type != YAML_MAPPING_START_EVENT && !is_null(c)) {
        err_set(err, ERR_USAGE, "options are wanted, one \"name: value\" a line");
        return placed(c, line_of(c), err);
    }
    if (c->event.type == YAML_MAPPING_START_EVENT) {
        while ((rc = next_key(c, &key, err)) > 0) {
            rc = top_entry(c, key, err);
            free(key);
            if (rc < 0) return rc;
        }
    }
    if (rc == 0) rc = next_event(c, err); /* the document's end */
    if (rc == 0) rc = next_event(c, err);
    if (rc < 0 || c->event.type == YAML_STREAM_END_EVENT) return rc;
    err_set(err, ERR_USAGE, "a second document is not taken here");
    return placed(c, line_of(c), err);
}

int opt_config(const struct program *p, const char *path, bool found, struct opt_values *values,
               bool *ret_used, struct err *err) {
    struct config c = {.p = p, .path = path, .found = found, .used = ret_used, .values = values};
    struct buf text = {0};
    int rc = file_read(path, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0) {
        c.seen = mem_array(opt_count(p), sizeof *c.seen);
        if (!c.seen || !yaml_parser_initialize(&c.yaml)) rc = err_nomem(err, opt_count(p));
    }
    if (rc == 0) {
        yaml_parser_set_input_string(&c.yaml, (unsigned char *)(text.v ? text.v : ""), text.n);
        rc = next_event(&c, err); /* the stream's start */
        if (rc == 0) rc = document(&c, err);
        yaml_event_delete(&c.event);
        yaml_parser_delete(&c.yaml);
    }
    free(c.seen);
    buf_release(&text);
    return rc;
}

/* -- values as text -- */

static int quote_or_null(struct buf *out, const char *s, struct err *err) {
    return s ? json_quote(out, s, strlen(s), err) : buf_str(out, "null", err);
}

static int seconds_text(struct buf *out, double seconds, struct err *err) {
    bool days = seconds >= 86400, hours = seconds >= 3600, minutes = seconds >= 60;
    double unit = days ? 86400 : hours ? 3600 : minutes ? 60 : 1;
    if (seconds / unit * unit != seconds || (uint64_t)(seconds / unit) * unit != seconds) unit = 1;
    int rc = json_number(out, seconds / unit, err);
    char letter = unit == 1 ? 's' : unit == 60 ? 'm' : unit == 3600 ? 'h' : 'd';
    return rc < 0 ? rc : buf_char(out, letter, err);
}

bool opt_is_set(const struct opt *o) {
    double x;
    if (o->type == OPT_U64)
        x = (double)*(uint64_t *)o->to;
    else if (o->type == OPT_F64)
        x = *(double *)o->to;
    else
        return true;
    return isfinite(x) && (o->given || opt_in_bounds(o, x));
}

int opt_value_text(const struct opt *o, struct buf *out, struct err *err) {
    const struct strs *list = o->to;
    const struct opt_steps *steps = o->to;
    int rc = 0;
    switch (o->type) {
    case OPT_FLAG: return buf_str(out, *(bool *)o->to ? "true" : "false", err);
    case OPT_U64: return buf_printf(out, err, "%llu", (unsigned long long)*(uint64_t *)o->to);
    case OPT_F64: return json_number(out, *(double *)o->to, err);
    case OPT_STR:
    case OPT_CHOICE: return quote_or_null(out, *(const char **)o->to, err);
    case OPT_STRS:
        rc = buf_char(out, '[', err);
        for (size_t i = 0; rc == 0 && i < list->n; i++) {
            if (i) rc = buf_str(out, ", ", err);
            if (rc == 0) rc = quote_or_null(out, list->v[i], err);
        }
        return rc < 0 ? rc : buf_char(out, ']', err);
    case OPT_DURATION: return seconds_text(out, *(double *)o->to, err);
    case OPT_STEPS:
        if (steps->seconds > 0) return seconds_text(out, steps->seconds, err);
        return buf_printf(out, err, "%llu", (unsigned long long)steps->steps);
    case OPT_END:
    case OPT_GROUP: break;
    }
    return 0;
}

int opt_yaml(const struct program *p, struct buf *out, struct err *err) {
    size_t n = strcspn(p->name, " ");
    const char *sub = p->name[n] ? p->name + n + 1 : NULL;
    const char *indent = sub ? "    " : "  ";
    int rc = buf_printf(out, err, "%.*s:\n", (int)n, p->name);
    if (rc == 0 && sub) rc = buf_printf(out, err, "  %s:\n", sub);
    for (const struct opt *o = p->opts; rc == 0 && o->type != OPT_END; o++) {
        if (o->type == OPT_GROUP || o->ends || !strcmp(o->name, "config")) continue;
        rc = buf_printf(out, err, "%s%s: ", indent, o->name);
        if (rc == 0) rc = opt_is_set(o) ? opt_value_text(o, out, err) : buf_str(out, "null", err);
        if (rc == 0) rc = buf_char(out, '\n', err);
    }
    return rc;
}
