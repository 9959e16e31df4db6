/* Strict reading on top of cJSON: see json.h. The text is checked first (json_check.c), so that
 * cJSON only builds; what needs the decoded keys, duplicates, is checked on the tree. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/hash.h"
#include "base/json_inside.h"

#define FILE_MAX  ((uint64_t)1 << 30)
#define EXACT_MAX ((uint64_t)1 << 53) /* whole numbers up to here survive a double */

/* ERR_CORRUPT "what:line:column: why". */
static int refuse(const char *text, struct json_fault f, const char *what, const char *detail,
                  struct err *err) {
    uint64_t line = 1, column = 1;
    for (size_t i = 0; i < f.at; i++) {
        column++;
        if (text[i] != '\n') continue;
        line++;
        column = 1;
    }
    err_set(err, ERR_CORRUPT, "%s:%llu:%llu: %s%s", what, (unsigned long long)line,
            (unsigned long long)column, f.why, detail);
    err_place(err, line, column, f.at);
    return ERR_CORRUPT;
}

/* The first member whose key an earlier one has. `slots` (a power of two, at least twice the
 * members, all NULL) is an open hash table. */
static const cJSON *duplicate_in(const cJSON *object, const cJSON **slots, size_t n_slots) {
    const cJSON *m;
    cJSON_ArrayForEach(m, object) {
        size_t i = (size_t)xxh64_bytes(m->string, strlen(m->string), 0) & (n_slots - 1);
        for (; slots[i]; i = (i + 1) & (n_slots - 1))
            if (!strcmp(slots[i]->string, m->string)) return m;
        slots[i] = m;
    }
    return NULL;
}

/* Sets *ret_dup to a member with a repeated key, anywhere in the tree, or NULL. */
static int find_duplicate(const cJSON *tree, const cJSON **ret_dup, struct err *err) {
    const cJSON *m;
    size_t n = 0, n_slots = 4;
    *ret_dup = NULL;
    if (cJSON_IsObject(tree)) {
        cJSON_ArrayForEach(m, tree) n++;
        while (n_slots < 2 * n) n_slots *= 2;
    }
    if (n > 1) {
        const cJSON **slots = mem_array(n_slots, sizeof(const cJSON *));
        if (!slots) return err_nomem(err, n_slots * sizeof(const cJSON *));
        *ret_dup = duplicate_in(tree, slots, n_slots);
        free(slots);
    }
    int rc = 0;
    for (m = tree->child; rc == 0 && !*ret_dup && m; m = m->next)
        if (m->child) rc = find_duplicate(m, ret_dup, err);
    return rc;
}

/* Counts keys in the order of the text up to `wanted`; true when it was found. */
static bool key_number(const cJSON *tree, const cJSON *wanted, uint64_t *n) {
    bool object = cJSON_IsObject(tree);
    for (const cJSON *m = tree->child; m; m = m->next) {
        if (m == wanted) return true;
        if (object) ++*n;
        if (m->child && key_number(m, wanted, n)) return true;
    }
    return false;
}

static int refuse_duplicate(const char *text, size_t n, const cJSON *tree, const cJSON *dup,
                            const char *what, struct err *err) {
    char detail[128];
    uint64_t number = 0;
    key_number(tree, dup, &number);
    snprintf(detail, sizeof detail, " \"%.100s\"", dup->string);
    return refuse(text, json_check(text, n, number), what, detail, err);
}

int json_parse(cJSON **ret, const char *text, size_t n, const char *what, struct err *err) {
    struct json_fault f = json_check(text, n, UINT64_MAX);
    if (f.why) return refuse(text, f, what, "", err);
    cJSON *tree = cJSON_ParseWithLength(text, n);
    if (!tree) return err_nomem(err, n); /* the text is sound: nothing else can go wrong */
    const cJSON *dup;
    int rc = find_duplicate(tree, &dup, err);
    if (rc == 0 && dup) rc = refuse_duplicate(text, n, tree, dup, what, err);
    if (rc < 0)
        cJSON_Delete(tree);
    else
        *ret = tree;
    return rc;
}

int json_load(cJSON **ret, const char *path, struct err *err) {
    struct buf text = {0};
    int rc = file_read(path, FILE_MAX, &text, err);
    if (rc == 0) rc = json_parse(ret, text.v ? text.v : "", text.n, path, err);
    buf_release(&text);
    return rc;
}

const cJSON *json_get(const cJSON *object, const char *key) {
    const cJSON *m;
    if (!cJSON_IsObject(object)) return NULL;
    cJSON_ArrayForEach(m, object) if (m->string && !strcmp(m->string, key)) return m;
    return NULL;
}

/* The member, or NULL where it is missing or null. */
static const cJSON *present(const cJSON *o, const char *key) {
    const cJSON *m = json_get(o, key);
    return cJSON_IsNull(m) ? NULL : m;
}

int json_u64(const cJSON *o, const char *key, uint64_t max, uint64_t *ret, const char *what,
             struct err *err) {
    const cJSON *m = present(o, key);
    if (!m) return 0;
    if (max > EXACT_MAX) max = EXACT_MAX;
    double x = m->valuedouble;
    if (!cJSON_IsNumber(m) || !(x >= 0 && x <= (double)max) || x != (double)(uint64_t)x)
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not a whole number from 0 to %llu", what,
                       key, (unsigned long long)max);
    *ret = (uint64_t)x;
    return 0;
}

int json_f64(const cJSON *o, const char *key, double *ret, const char *what, struct err *err) {
    const cJSON *m = present(o, key);
    if (!m) return 0;
    if (!cJSON_IsNumber(m))
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not a number", what, key);
    *ret = m->valuedouble;
    return 0;
}

int json_bool(const cJSON *o, const char *key, bool *ret, const char *what, struct err *err) {
    const cJSON *m = present(o, key);
    if (!m) return 0;
    if (!cJSON_IsBool(m))
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not true or false", what, key);
    *ret = cJSON_IsTrue(m);
    return 0;
}

int json_str(const cJSON *o, const char *key, const char **ret, const char *what, struct err *err) {
    const cJSON *m = present(o, key);
    if (!m) return 0;
    if (!cJSON_IsString(m))
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is not a string", what, key);
    *ret = m->valuestring;
    return 0;
}
