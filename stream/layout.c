/* Splits and configurations: see layout.h. */
#include "stream/layout.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/file.h"

/* ------------------------------------------------------------------ patterns */

static bool match_parts(const char *p, const char *s) {
    for (;;) {
        size_t pn = strcspn(p, "/"), sn = strcspn(s, "/");
        if (pn == 2 && p[0] == '*' && p[1] == '*') {
            if (!p[2]) return true;
            for (const char *at = s;; at++) { /* none, one, two … folders */
                if (match_parts(p + 3, at)) return true;
                at = strchr(at, '/');
                if (!at) return false;
            }
        }
        char *part = strndup(p, pn), *name = strndup(s, sn);
        bool fits = part && name && fnmatch(part, name, FNM_NOESCAPE) == 0;
        free(part);
        free(name);
        if (!fits || !p[pn] != !s[sn]) return false;
        if (!p[pn]) return true;
        p += pn + 1;
        s += sn + 1;
    }
}

/* Parts that begin with a dot, or folders that begin with "__". */
static size_t special_parts(const char *path, bool hidden) {
    size_t n = 0;
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (hidden)
            n += *p == '.' && strncmp(p, "./", 2) && strncmp(p, "..", 2) && p[1];
        else
            n += !strncmp(p, "__", 2) && strchr(p, '/');
    }
    return n;
}

bool layout_match(const char *pattern, const char *path) {
    static const char *const others[] = {"README.md",         "config.json",
                                         "dataset_info.json", "dataset_infos.json",
                                         "dummy_data.zip",    "dataset_dict.json"};
    if (!strncmp(pattern, "./", 2)) pattern += 2;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(path_base(path), others[i]) && strcmp(path_base(pattern), others[i]))
            return false;
    for (int hidden = 0; hidden < 2; hidden++)
        if (special_parts(path, hidden) != special_parts(pattern, hidden)) return false;
    return match_parts(pattern, path);
}

/* ------------------------------------------------------------------ building */

static struct layout_config *add_config(struct layout *l, const char *name, bool is_default,
                                        struct err *err) {
    struct layout_config *v = mem_resize(l->v, l->n + 1, sizeof *v);
    if (v) l->v = v;
    char *copy = v ? strdup(name) : NULL;
    if (!copy) {
        err_nomem(err, sizeof *v);
        return NULL;
    }
    l->v[l->n] = (struct layout_config){.name = copy, .is_default = is_default};
    return &l->v[l->n++];
}

static struct layout_split *add_split(struct layout_config *c, const char *name, struct err *err) {
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].name, name)) return &c->v[i];
    struct layout_split *v = mem_resize(c->v, c->n + 1, sizeof *v);
    if (v) c->v = v;
    char *copy = v ? strdup(name) : NULL;
    if (!copy) {
        err_nomem(err, sizeof *v);
        return NULL;
    }
    c->v[c->n] = (struct layout_split){.name = copy};
    return &c->v[c->n++];
}

/* What a pattern matches, in the order of the paths' bytes, which is that of the list. */
static int add_matches(struct layout_split *s, const struct strs *paths, const char *dir,
                       const char *pattern, struct err *err) {
    char *whole = path_join(dir, pattern);
    int rc = whole ? 0 : err_nomem(err, strlen(pattern));
    for (size_t i = 0; rc == 0 && i < paths->n; i++) {
        bool there = !layout_match(whole, paths->v[i]);
        for (size_t k = 0; !there && k < s->files.n; k++) there = s->files.v[k] == i;
        if (!there) rc = u32s_push(&s->files, (uint32_t)i, err);
    }
    free(whole);
    return rc;
}

/* The endings of files that are read here, and the kinds they stand for: what `datasets` would read
 * with one of its modules. Of endings that are as frequent the first one here counts, as there. */
static const struct {
    const char *end;
    int kind;
} endings[] = {{"parquet", 0}, {"jsonl", 1}, {"json", 1},  {"csv", 2},
               {"txt", 3},     {"tsv", 2},   {"ndjson", 1}};
enum { ENDINGS = sizeof endings / sizeof *endings };

/* An index into `endings`; -1: none of them. */
static int ending_of(const char *path) {
    for (const char *dot = strchr(path_base(path), '.'); dot; dot = strchr(dot + 1, '.'))
        for (int i = 0; i < ENDINGS; i++) {
            size_t n = strlen(endings[i].end);
            if (!strncasecmp(dot + 1, endings[i].end, n) && (!dot[1 + n] || dot[1 + n] == '.'))
                return i;
        }
    return -1;
}

static bool stays(const char *path, int best, bool named) {
    int i = ending_of(path);
    return named ? i >= 0 || path_ends(path, ".zip") : i >= 0 && endings[i].kind == best;
}

/* Keeps the files of the kind whose ending is the commonest: a licence or a picture beside the data
 * is none. Where a card has named them (`named`), all that can be read. */
static void keep_kinds(struct layout_config *c, const struct strs *paths, bool named) {
    size_t counts[ENDINGS] = {0};
    int first = -1;
    for (size_t s = 0; s < c->n; s++)
        for (size_t i = 0; i < c->v[s].files.n; i++) {
            int ending = ending_of(paths->v[c->v[s].files.v[i]]);
            if (ending >= 0) counts[ending]++;
        }
    for (int i = 0; i < ENDINGS; i++)
        if (counts[i] && (first < 0 || counts[i] > counts[first])) first = i;
    if (first < 0) return; /* names that say nothing: the contents will */
    const int best = endings[first].kind;
    size_t kept = 0;
    for (size_t s = 0; s < c->n; s++) {
        struct u32s *f = &c->v[s].files;
        size_t n = 0;
        for (size_t i = 0; i < f->n; i++)
            if (stays(paths->v[f->v[i]], best, named)) f->v[n++] = f->v[i];
        f->n = n;
        if (n) {
            c->v[kept++] = c->v[s];
            continue;
        }
        u32s_release(f);
        free(c->v[s].name);
    }
    c->n = kept;
}

/* ------------------------------------------------------------------ by names */

static const struct {
    const char *split;
    const char *words[5];
} keywords[] = {{"train", {"train", "training"}},
                {"validation", {"validation", "valid", "dev", "val"}},
                {"test", {"test", "testing", "eval", "evaluation"}}};
enum { SPLITS = 3 };

/* Patterns with the keyword for %s: of folders, of files. */
static const char *const in_folder[] = {"**/%s/**", "**/%s[-._ 0-9]*/**", "**/*[-._ 0-9]%s/**",
                                        "**/*[-._ 0-9]%s[-._ 0-9]*/**", NULL};
static const char *const in_file[] = {"**/%s[-._ 0-9]*", "**/*[-._ 0-9]%s[-._ 0-9]*", NULL};

static int by_keyword(struct layout_config *c, const struct strs *paths, const char *dir,
                      const char *const *patterns, struct err *err) {
    for (int k = 0; k < SPLITS; k++) {
        struct layout_split found = {0};
        int rc = 0;
        for (const char *const *word = keywords[k].words; rc == 0 && *word; word++)
            for (const char *const *p = patterns; rc == 0 && *p; p++) {
                char pattern[64];
                size_t before = strcspn(*p, "%");
                snprintf(pattern, sizeof pattern, "%.*s%s%s", (int)before, *p, *word,
                         *p + before + 2);
                rc = add_matches(&found, paths, dir, pattern, err);
            }
        struct layout_split *s =
            rc == 0 && found.files.n ? add_split(c, keywords[k].split, err) : NULL;
        if (s)
            s->files = found.files;
        else {
            if (rc == 0 && found.files.n) rc = ERR_NOMEM;
            u32s_release(&found.files);
        }
        if (rc < 0) return rc;
    }
    return 0;
}

static int rank(const char *split) {
    for (int k = 0; k < SPLITS; k++)
        if (!strcmp(split, keywords[k].split)) return k;
    return SPLITS;
}

static int by_rank(const void *a, const void *b) {
    const struct layout_split *x = a, *y = b;
    int d = rank(x->name) - rank(y->name);
    return d ? d : strcmp(x->name, y->name);
}

/* data/SPLIT-00000-of-00009.parquet */
static int by_shards(struct layout_config *c, const struct strs *paths, const char *dir,
                     struct err *err) {
    static const char tail[] = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";
    char *all = path_join(dir, "data/*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*");
    int rc = all ? 0 : err_nomem(err, sizeof tail);
    for (size_t i = 0; rc == 0 && i < paths->n; i++) {
        if (!layout_match(all, paths->v[i])) continue;
        const char *base = path_base(paths->v[i]);
        size_t n = strlen(base);
        while (n && fnmatch(tail, base + n, FNM_NOESCAPE)) n--;
        char *name = strndup(base, n);
        struct layout_split *s = name ? add_split(c, name, err) : NULL;
        rc = s ? u32s_push(&s->files, (uint32_t)i, err) : ERR_NOMEM;
        free(name);
    }
    free(all);
    if (rc == 0 && c->n) qsort(c->v, c->n, sizeof *c->v, by_rank);
    return rc;
}

static int by_names(struct layout_config *c, const struct strs *paths, const char *dir,
                    struct err *err) {
    int rc = by_shards(c, paths, dir, err);
    if (rc == 0 && !c->n) rc = by_keyword(c, paths, dir, in_folder, err);
    if (rc == 0 && !c->n) rc = by_keyword(c, paths, dir, in_file, err);
    if (rc == 0 && !c->n) {
        struct layout_split *s = add_split(c, "train", err);
        rc = s ? add_matches(s, paths, dir, "**", err) : ERR_NOMEM;
    }
    return rc;
}

/* ------------------------------------------------------------------ by the README */

struct card {
    yaml_document_t doc;
    const struct strs *paths;
    struct layout *to;
};

static int bad_card(struct err *err, const char *what) {
    return err_set(err, ERR_DATA, "README.md: configs: %s", what);
}

static const char *text_of(const yaml_node_t *n) {
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

static yaml_node_t *member(struct card *c, const yaml_node_t *map, const char *key) {
    if (!map || map->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const char *k = text_of(yaml_document_get_node(&c->doc, p->key));
        if (k && !strcmp(k, key)) return yaml_document_get_node(&c->doc, p->value);
    }
    return NULL;
}

/* A pattern, or a list of them. */
static int add_patterns(struct card *c, struct layout_split *s, const yaml_node_t *n,
                        const char *dir, struct err *err) {
    const char *one = text_of(n);
    if (one) return add_matches(s, c->paths, dir, one, err);
    if (!n || n->type != YAML_SEQUENCE_NODE)
        return bad_card(err, "a path is neither text nor a list");
    int rc = 0;
    for (yaml_node_item_t *i = n->data.sequence.items.start;
         rc == 0 && i < n->data.sequence.items.top; i++) {
        one = text_of(yaml_document_get_node(&c->doc, *i));
        rc = one ? add_matches(s, c->paths, dir, one, err) : bad_card(err, "a path is no text");
    }
    return rc;
}

static int data_files(struct card *c, struct layout_config *to, const yaml_node_t *n,
                      const char *dir, struct err *err) {
    bool list = n->type == YAML_SEQUENCE_NODE;
    const yaml_node_item_t *first = list ? n->data.sequence.items.start : NULL;
    bool maps = list && first < n->data.sequence.items.top &&
                yaml_document_get_node(&c->doc, *first)->type == YAML_MAPPING_NODE;
    if (!maps) {
        struct layout_split *s = add_split(to, "train", err);
        return s ? add_patterns(c, s, n, dir, err) : ERR_NOMEM;
    }
    int rc = 0;
    for (yaml_node_item_t *i = n->data.sequence.items.start;
         rc == 0 && i < n->data.sequence.items.top; i++) {
        const yaml_node_t *one = yaml_document_get_node(&c->doc, *i);
        const char *split = text_of(member(c, one, "split"));
        const yaml_node_t *path = member(c, one, "path");
        if (!split || !path) return bad_card(err, "data_files wants split and path of each");
        struct layout_split *s = add_split(to, split, err);
        rc = s ? add_patterns(c, s, path, dir, err) : ERR_NOMEM;
    }
    return rc;
}

static int one_config(struct card *c, const yaml_node_t *n, struct err *err) {
    const char *name = text_of(member(c, n, "config_name"));
    const char *dir = text_of(member(c, n, "data_dir")), *def = text_of(member(c, n, "default"));
    const yaml_node_t *files = member(c, n, "data_files");
    if (!name) return bad_card(err, "each wants a config_name");
    struct layout_config *to =
        add_config(c->to, name, (def && !strcasecmp(def, "true")) || !strcmp(name, "default"), err);
    if (!to) return ERR_NOMEM;
    int rc = files ? data_files(c, to, files, dir ? dir : "", err)
                   : by_names(to, c->paths, dir ? dir : "", err);
    if (rc == 0) keep_kinds(to, c->paths, files != NULL);
    return rc;
}

static int by_card(struct card *c, struct err *err) {
    yaml_node_t *configs = member(c, yaml_document_get_root_node(&c->doc), "configs");
    if (!configs) return 0;
    if (configs->type != YAML_SEQUENCE_NODE) return bad_card(err, "a list is wanted");
    int rc = 0;
    for (yaml_node_item_t *i = configs->data.sequence.items.start;
         rc == 0 && i < configs->data.sequence.items.top; i++)
        rc = one_config(c, yaml_document_get_node(&c->doc, *i), err);
    return rc;
}

/* What stands between two lines of "---" at the beginning. */
static bool front_matter(const char *text, size_t n, const char **ret, size_t *ret_n) {
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, n -= 3;
    if (n < 4 || memcmp(text, "---", 3)) return false;
    const char *end = memmem(text + 3, n - 3, "\n---", 4);
    if (!end) return false;
    *ret = text + 3;
    *ret_n = (size_t)(end + 1 - *ret);
    return true;
}

static int read_card(struct layout *to, const struct strs *paths, const char *readme, size_t n,
                     struct err *err) {
    struct card c = {.paths = paths, .to = to};
    const char *yaml;
    size_t yaml_n;
    yaml_parser_t parser;
    if (!front_matter(readme, n, &yaml, &yaml_n)) return 0;
    if (!yaml_parser_initialize(&parser)) return err_nomem(err, sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, yaml_n);
    int rc = 0;
    if (yaml_parser_load(&parser, &c.doc)) {
        rc = by_card(&c, err);
        yaml_document_delete(&c.doc);
    } else
        rc = err_set(err, ERR_DATA, "README.md:%zu: the front matter is no YAML: %s",
                     parser.problem_mark.line + 1, parser.problem ? parser.problem : "damaged");
    yaml_parser_delete(&parser);
    return rc;
}

/* ------------------------------------------------------------------ the whole */

int layout_read(struct layout *ret, const struct strs *paths, const char *readme, size_t n,
                struct err *err) {
    *ret = (struct layout){0};
    int rc = n ? read_card(ret, paths, readme, n, err) : 0;
    if (rc == 0 && !ret->n) {
        struct layout_config *c = add_config(ret, "default", true, err);
        rc = c ? by_names(c, paths, "", err) : ERR_NOMEM;
        if (rc == 0) keep_kinds(c, paths, false);
    }
    if (rc == 0 && ret->n == 1) ret->v[0].is_default = true;
    if (rc < 0) layout_release(ret);
    return rc;
}

void layout_release(struct layout *l) {
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < l->v[i].n; k++) {
            free(l->v[i].v[k].name);
            u32s_release(&l->v[i].v[k].files);
        }
        free(l->v[i].v);
        free(l->v[i].name);
    }
    free(l->v);
    *l = (struct layout){0};
}

static int no_such(struct err *err, const char *what, const char *name, const struct buf *there) {
    return err_set(err, ERR_USAGE, "no %s \"%s\"; there is: %.*s", what, name ? name : "default",
                   (int)there->n, there->v ? there->v : "");
}

static const struct layout_config *find_config(const struct layout *l, const char *name) {
    for (size_t i = 0; i < l->n; i++)
        if (name ? !strcmp(l->v[i].name, name) : l->v[i].is_default) return &l->v[i];
    return NULL;
}

int layout_pick(const struct layout *l, const char *config, const char *split, struct u32s *files,
                struct err *err) {
    const struct layout_config *c = find_config(l, config);
    struct buf there = {0};
    int rc = 0;
    if (!c) {
        for (size_t i = 0; rc == 0 && i < l->n; i++)
            rc = buf_printf(&there, err, "%s%s", i ? ", " : "", l->v[i].name);
        if (rc == 0) rc = no_such(err, "configuration", config, &there);
        if (!config) err_hint(err, "choose one with --data-config");
    }
    bool found = false;
    for (size_t i = 0; rc == 0 && i < c->n; i++) {
        rc = buf_printf(&there, err, "%s%s", i ? ", " : "", c->v[i].name);
        if (split && strcmp(split, c->v[i].name)) continue;
        found = true;
        if (rc == 0) rc = u32s_append(files, c->v[i].files.v, c->v[i].files.n, err);
    }
    if (rc == 0 && split && !found) rc = no_such(err, "split", split, &there);
    buf_release(&there);
    return rc;
}
