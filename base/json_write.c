/* Writing JSON the way Python's json.dumps(ensure_ascii=False) does, so that files compare equal
 * with those of the tools they came from: see json.h. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json_inside.h"

enum { INDENT = 2 };
#define WHOLE_MAX                                                                                  \
    1e32 /* whole numbers below are written in digits (HF's "no limit" is int(1e30)) */

/* The escape for a byte that cannot stand in a string, or NULL. */
static const char *escape_of(unsigned char c, char room[8]) {
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    }
    if (c >= 0x20) return NULL;
    snprintf(room, 8, "\\u%04x", c);
    return room;
}

int json_quote(struct buf *out, const char *s, size_t n, struct err *err) {
    const unsigned char *v = (const unsigned char *)s;
    char room[8];
    size_t from = 0, i = 0; /* v[from..i) waits to be copied as it is */
    int rc = buf_reserve(out, n + 2, err);
    if (rc == 0) rc = buf_char(out, '"', err);
    while (rc == 0 && i < n) {
        int step = v[i] < 0x80 ? 1 : utf8_step(v + i, n - i);
        const char *instead = step < 0 ? "\xEF\xBF\xBD" : step == 1 ? escape_of(v[i], room) : NULL;
        if (instead) {
            rc = buf_append(out, s + from, i - from, err);
            if (rc == 0) rc = buf_str(out, instead, err);
        }
        i += (size_t)(step < 0 ? -step : step);
        if (instead) from = i;
    }
    if (rc == 0) rc = buf_append(out, s + from, n - from, err);
    return rc < 0 ? rc : buf_char(out, '"', err);
}

int json_number(struct buf *out, double x, struct err *err) {
    char text[64];
    if (!isfinite(x)) return buf_str(out, "null", err);
    if (x == floor(x) && fabs(x) < WHOLE_MAX) {
        snprintf(text, sizeof text, "%.0f", x == 0 ? 0.0 : x);
        return buf_str(out, text, err);
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return buf_str(out, text, err);
}

/* "\n" and the indentation, or ", " between elements of one line. */
static int new_line(struct buf *out, bool pretty, int depth, bool first, struct err *err) {
    if (!pretty) return first ? 0 : buf_str(out, ", ", err);
    int rc = buf_str(out, first ? "\n" : ",\n", err);
    for (int i = 0; rc == 0 && i < INDENT * depth; i++) rc = buf_char(out, ' ', err);
    return rc;
}

static int write_value(struct buf *out, const cJSON *x, bool pretty, int depth, struct err *err);

static int write_nested(struct buf *out, const cJSON *x, bool pretty, int depth, struct err *err) {
    bool object = cJSON_IsObject(x);
    int rc = buf_char(out, object ? '{' : '[', err);
    for (const cJSON *m = x->child; rc == 0 && m; m = m->next) {
        rc = new_line(out, pretty, depth + 1, m == x->child, err);
        if (rc == 0 && object) {
            rc = json_quote(out, m->string, strlen(m->string), err);
            if (rc == 0) rc = buf_str(out, ": ", err);
        }
        if (rc == 0) rc = write_value(out, m, pretty, depth + 1, err);
    }
    if (rc == 0 && pretty && x->child) rc = new_line(out, true, depth, true, err);
    return rc < 0 ? rc : buf_char(out, object ? '}' : ']', err);
}

static int write_value(struct buf *out, const cJSON *x, bool pretty, int depth, struct err *err) {
    if (cJSON_IsObject(x) || cJSON_IsArray(x)) return write_nested(out, x, pretty, depth, err);
    if (cJSON_IsString(x)) return json_quote(out, x->valuestring, strlen(x->valuestring), err);
    if (cJSON_IsNumber(x)) return json_number(out, x->valuedouble, err);
    if (cJSON_IsRaw(x)) return buf_str(out, x->valuestring, err);
    return buf_str(out, cJSON_IsTrue(x) ? "true" : cJSON_IsFalse(x) ? "false" : "null", err);
}

int json_text(struct buf *out, const cJSON *tree, bool pretty, struct err *err) {
    return write_value(out, tree, pretty, 0, err);
}

int json_save(const char *path, const cJSON *tree, bool pretty, struct err *err) {
    struct buf text = {0};
    int rc = json_text(&text, tree, pretty, err);
    if (rc == 0) rc = buf_char(&text, '\n', err);
    if (rc == 0) rc = file_write(path, text.v, text.n, err);
    buf_release(&text);
    return rc;
}

/* ------------------------------------------------------------------ building */

void json_put_item(cJSON *o, const char *key, cJSON *item, bool *ok) {
    if (o && item && (key ? cJSON_AddItemToObject(o, key, item) : cJSON_AddItemToArray(o, item)))
        return;
    cJSON_Delete(item);
    *ok = false;
}

void json_put_number(cJSON *o, const char *key, double x, bool *ok) {
    json_put_item(o, key, cJSON_CreateNumber(x), ok);
}

void json_put_str(cJSON *o, const char *key, const char *text, bool *ok) {
    json_put_item(o, key, cJSON_CreateString(text), ok);
}

cJSON *json_put_object(cJSON *o, const char *key, bool *ok) {
    cJSON *item = o ? cJSON_AddObjectToObject(o, key) : NULL;
    *ok = *ok && item;
    return item;
}

cJSON *json_put_array(cJSON *o, const char *key, bool *ok) {
    cJSON *item = o ? cJSON_AddArrayToObject(o, key) : NULL;
    *ok = *ok && item;
    return item;
}
