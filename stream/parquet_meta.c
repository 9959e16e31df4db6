/* Thrift's compact protocol, and the footer in it: see parquet_parts.h. Field numbers are those of
 * parquet-format's parquet.thrift. */
#include <stdlib.h>
#include <string.h>
#include "stream/parquet_parts.h"

/* ------------------------------------------------------------------ thrift */

uint64_t thrift_varint(struct cursor *c) {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = cursor_u8(c);
        x |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return c->bad ? 0 : x;
    }
    c->bad = true;
    return 0;
}

int64_t thrift_int(struct cursor *c) {
    uint64_t x = thrift_varint(c);
    return (int64_t)(x >> 1 ^ (0 - (x & 1)));
}

bool thrift_field(struct cursor *c, int *id, int *type) {
    uint8_t head = cursor_u8(c);
    if (c->bad || !head) return false;
    *type = head & 15;
    int64_t next = head >> 4 ? *id + (head >> 4) : thrift_int(c);
    if (next < INT16_MIN || next > INT16_MAX || *type > THRIFT_STRUCT || !*type) c->bad = true;
    *id = (int)next;
    return !c->bad;
}

size_t thrift_list(struct cursor *c, int type) {
    uint8_t head = cursor_u8(c);
    uint64_t n = head >> 4 == 15 ? thrift_varint(c) : head >> 4;
    bool boolean = type == THRIFT_TRUE && (head & 15) == THRIFT_FALSE;
    if (n > c->left || (n && (head & 15) != type && !boolean)) c->bad = true;
    return c->bad ? 0 : (size_t)n;
}

static void skip(struct cursor *c, int type, int depth) {
    int id = 0, inner;
    if (depth > 64) c->bad = true;
    if (c->bad) return;
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE: return;
    case THRIFT_BYTE: cursor_take(c, 1); return;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64: thrift_varint(c); return;
    case THRIFT_DOUBLE: cursor_take(c, 8); return;
    case THRIFT_BINARY: cursor_take(c, thrift_varint(c)); return;
    case THRIFT_STRUCT:
        while (thrift_field(c, &id, &inner)) skip(c, inner, depth + 1);
        return;
    case THRIFT_LIST:
    case THRIFT_SET: {
        uint8_t head = cursor_u8(c);
        uint64_t n = head >> 4 == 15 ? thrift_varint(c) : head >> 4;
        inner = head & 15;
        if (inner == THRIFT_TRUE || inner == THRIFT_FALSE) {
            cursor_take(c, n);
            return;
        }
        if (n > c->left) c->bad = true;
        for (uint64_t i = 0; i < n && !c->bad; i++) skip(c, inner, depth + 1);
        return;
    }
    case THRIFT_MAP: {
        uint64_t n = thrift_varint(c);
        uint8_t kinds = n ? cursor_u8(c) : 0;
        if (n > c->left) c->bad = true;
        for (uint64_t i = 0; i < n && !c->bad; i++) {
            skip(c, kinds >> 4, depth + 1);
            skip(c, kinds & 15, depth + 1);
        }
        return;
    }
    default: c->bad = true;
    }
}

void thrift_skip(struct cursor *c, int type) {
    skip(c, type, 0);
}

/* A number, if that is what stands there. */
static int64_t number(struct cursor *c, int type) {
    if (type != THRIFT_I16 && type != THRIFT_I32 && type != THRIFT_I64) {
        thrift_skip(c, type);
        c->bad = true;
        return 0;
    }
    return thrift_int(c);
}

/* ------------------------------------------------------------------ the schema */

static int unit_of_time(struct cursor *c) {
    int id = 0, type, scale = 3;
    while (thrift_field(c, &id, &type)) {
        scale = id == 1 ? 3 : id == 2 ? 6 : 9;
        thrift_skip(c, type);
    }
    return scale;
}

/* LogicalType: a union, that is a struct of one field. */
static void logical_type(struct cursor *c, struct pq_node *n) {
    int id = 0, type;
    while (thrift_field(c, &id, &type)) {
        int in = 0, in_type;
        if (type != THRIFT_STRUCT) {
            c->bad = true;
            return;
        }
        n->meaning = id == 1 || id == 4 || id == 12 ? PQ_STRING
                     : id == 2                      ? PQ_MAP
                     : id == 3                      ? PQ_LIST
                     : id == 5                      ? PQ_DECIMAL
                     : id == 6                      ? PQ_DATE
                     : id == 7                      ? PQ_TIME
                     : id == 8                      ? PQ_TIMESTAMP
                     : id == 15                     ? PQ_HALF
                                                    : PQ_PLAIN;
        while (thrift_field(c, &in, &in_type)) {
            if (id == 5 && in == 1)
                n->scale = (int)number(c, in_type);
            else if ((id == 7 || id == 8) && in == 2 && in_type == THRIFT_STRUCT)
                n->scale = unit_of_time(c);
            else if (id == 8 && in == 1) /* of a truth value the type is the value */
                n->utc = in_type == THRIFT_TRUE;
            else if (id == 10 && in == 2) { /* isSigned */
                if (in_type == THRIFT_FALSE) n->meaning = PQ_UNSIGNED;
            } else
                thrift_skip(c, in_type);
        }
    }
}

/* ConvertedType, of older writers. */
static void converted_type(struct pq_node *n, int64_t kind) {
    static const enum pq_meaning of[] = {
        [0] = PQ_STRING,    [1] = PQ_MAP,       [2] = PQ_MAP,        [3] = PQ_LIST,
        [4] = PQ_STRING,    [5] = PQ_DECIMAL,   [6] = PQ_DATE,       [7] = PQ_TIME,
        [8] = PQ_TIME,      [9] = PQ_TIMESTAMP, [10] = PQ_TIMESTAMP, [11] = PQ_UNSIGNED,
        [12] = PQ_UNSIGNED, [13] = PQ_UNSIGNED, [14] = PQ_UNSIGNED,  [19] = PQ_STRING};
    if (kind < 0 || (size_t)kind >= sizeof of / sizeof *of) return;
    n->meaning = of[kind];
    if (kind == 7 || kind == 9) n->scale = 3;
    if (kind == 8 || kind == 10) n->scale = 6;
    n->utc = kind == 9 || kind == 10;
}

static void schema_element(struct cursor *c, struct pq_node *n, struct err *err) {
    int id = 0, type;
    int64_t children = 0, fixed = 0, physical = PQ_GROUP, repetition = 0;
    bool logical = false;
    while (thrift_field(c, &id, &type)) {
        if (id == 4 && type == THRIFT_BINARY && !n->name) {
            uint64_t bytes = thrift_varint(c);
            const uint8_t *v = cursor_take(c, bytes);
            n->name = v ? strndup((const char *)v, bytes) : NULL;
            if (v && !n->name) err_nomem(err, bytes);
        } else if (id == 10 && type == THRIFT_STRUCT) {
            logical_type(c, n);
            logical = true;
        } else if (id >= 1 && id <= 7 && id != 4) {
            int64_t x = number(c, type);
            if (id == 1) physical = x;
            if (id == 2) fixed = x;
            if (id == 3) repetition = x;
            if (id == 5) children = x;
            if (id == 6 && !logical) converted_type(n, x);
            if (id == 7) n->scale = (int)x;
        } else
            thrift_skip(c, type);
    }
    if (!n->name || physical < PQ_GROUP || physical > PQ_FIXED || repetition < 0 ||
        repetition > PQ_REPEATED || children < 0 || children > PQ_NODES_MAX || fixed < 0 ||
        fixed > 1 << 20 || (physical == PQ_FIXED && !fixed) || n->scale < 0 ||
        n->scale > PQ_SCALE_MAX)
        c->bad = true;
    if (children) physical = PQ_GROUP;
    n->type = (enum pq_type)physical;
    n->repetition = (enum pq_repetition)repetition;
    n->n_children = (size_t)children;
    n->fixed = (uint32_t)fixed;
}

/* Levels, leaves and ends of the node at `i` and all below it. False: the counts do not fit. */
static bool shape(struct pq_meta *m, size_t i, int def, int rep, int depth) {
    struct pq_node *n = &m->nodes[i];
    if (depth > PQ_DEPTH_MAX) return false;
    if (i) { /* the root has no levels, whatever it says */
        def += n->repetition != PQ_REQUIRED;
        rep += n->repetition == PQ_REPEATED;
    }
    n->max_def = def;
    n->max_rep = rep;
    n->leaf = m->n_leaves;
    size_t at = i + 1;
    if (n->type != PQ_GROUP) m->n_leaves++;
    for (size_t k = 0; k < n->n_children; k++) {
        if (at >= m->n_nodes || !shape(m, at, def, rep, depth + 1)) return false;
        at = m->nodes[at].end;
    }
    n->end = at;
    return true;
}

static void schema(struct cursor *c, struct pq_meta *m, struct err *err) {
    size_t n = thrift_list(c, THRIFT_STRUCT);
    if (!n || n > PQ_NODES_MAX || m->nodes) {
        c->bad = true;
        return;
    }
    m->nodes = mem_array(n, sizeof *m->nodes);
    if (!m->nodes) {
        err_nomem(err, n * sizeof *m->nodes);
        c->bad = true;
        return;
    }
    m->n_nodes = n;
    for (size_t i = 0; i < n && !c->bad; i++) schema_element(c, &m->nodes[i], err);
    if (c->bad) return;
    c->bad = m->nodes[0].type != PQ_GROUP || !shape(m, 0, 0, 0, 0) || m->nodes[0].end != n ||
             !m->n_leaves;
}

/* ------------------------------------------------------------------ row groups */

/* Offsets are checked against the file later, when it is known to be wanted. */
static void column_meta(struct cursor *c, struct pq_chunk *chunk) {
    int id = 0, type;
    int64_t data = -1, dictionary = -1, bytes = -1, values = -1, codec = -1;
    while (thrift_field(c, &id, &type)) {
        if (id == 4 || id == 5 || id == 7 || id == 9 || id == 11) {
            int64_t x = number(c, type);
            if (id == 4) codec = x;
            if (id == 5) values = x;
            if (id == 7) bytes = x;
            if (id == 9) data = x;
            if (id == 11) dictionary = x;
        } else
            thrift_skip(c, type);
    }
    if (data < 0 || bytes < 0 || values < 0 || codec < 0) c->bad = true;
    bool before = dictionary > 0 && dictionary < data;
    *chunk = (struct pq_chunk){.at = (uint64_t)(before ? dictionary : data),
                               .bytes = (uint64_t)bytes,
                               .values = (uint64_t)values,
                               .codec = (int)codec,
                               .usable = true};
}

static void column_chunk(struct cursor *c, struct pq_chunk *chunk) {
    int id = 0, type;
    bool elsewhere = false;
    while (thrift_field(c, &id, &type)) {
        if (id == 3 && type == THRIFT_STRUCT)
            column_meta(c, chunk);
        else {
            elsewhere = elsewhere || id == 1; /* a file_path: in another file */
            thrift_skip(c, type);
        }
    }
    if (elsewhere) chunk->usable = false;
}

static void row_group(struct cursor *c, struct pq_meta *m, struct pq_group *g) {
    int id = 0, type;
    int64_t rows = -1;
    bool columns = false;
    while (thrift_field(c, &id, &type)) {
        if (id == 1 && type == THRIFT_LIST && !columns) {
            size_t n = thrift_list(c, THRIFT_STRUCT);
            if (n != m->n_leaves) c->bad = true;
            for (size_t i = 0; i < n && !c->bad; i++) column_chunk(c, &m->chunks[g->chunks + i]);
            columns = true;
        } else if (id == 3)
            rows = number(c, type);
        else
            thrift_skip(c, type);
    }
    if (rows < 0 || !columns) c->bad = true;
    g->rows = (uint64_t)rows;
}

static void row_groups(struct cursor *c, struct pq_meta *m, struct err *err) {
    size_t n = thrift_list(c, THRIFT_STRUCT), chunks;
    if (!m->n_leaves || m->groups) c->bad = true;
    /* Each chunk takes bytes of the footer: no more of them than there are bytes. */
    if (c->bad || __builtin_mul_overflow(n, m->n_leaves, &chunks) || chunks > c->left) {
        c->bad = true;
        return;
    }
    m->groups = mem_array(n ? n : 1, sizeof *m->groups);
    m->chunks = mem_array(chunks ? chunks : 1, sizeof *m->chunks);
    if (!m->groups || !m->chunks) {
        err_nomem(err, chunks * sizeof *m->chunks);
        c->bad = true;
        return;
    }
    m->n_groups = n;
    for (size_t i = 0; i < n && !c->bad; i++) {
        m->groups[i].chunks = i * m->n_leaves;
        row_group(c, m, &m->groups[i]);
    }
}

static void file_meta(struct cursor *c, struct pq_meta *m, struct err *err) {
    int id = 0, type;
    while (!c->bad && thrift_field(c, &id, &type)) {
        if (id == 2 && type == THRIFT_LIST)
            schema(c, m, err);
        else if (id == 4 && type == THRIFT_LIST)
            row_groups(c, m, err);
        else
            thrift_skip(c, type);
    }
    if (!m->groups) c->bad = true;
}

int pq_meta_read(struct pq_meta *m, const struct blob *from, const char *name, struct err *err) {
    uint8_t tail[8];
    struct err local = {0};
    *m = (struct pq_meta){0};
    if (from->bytes < 12) return err_set(err, ERR_DATA, "%s: too short for a Parquet file", name);
    int rc = from->read(from->ctx, from->bytes - 8, tail, 8, err);
    if (rc < 0) return rc;
    if (!memcmp(tail + 4, "PARE", 4))
        return err_set(err, ERR_DATA, "%s: an encrypted Parquet file, which is not read here",
                       name);
    uint64_t n = load_le(tail, 4);
    if (memcmp(tail + 4, "PAR1", 4) || n > from->bytes - 12)
        return err_set(err, ERR_DATA, "%s: truncated: no Parquet footer at byte %llu", name,
                       (unsigned long long)(from->bytes - 8));
    uint8_t *v = malloc(n ? n : 1);
    if (!v) return err_nomem(err, n);
    rc = from->read(from->ctx, from->bytes - 8 - n, v, n, err);
    struct cursor c = {v, n, false};
    if (rc == 0) file_meta(&c, m, &local);
    if (rc == 0 && local.code) {
        *err = local;
        rc = local.code;
    } else if (rc == 0 && c.bad)
        rc = err_set(err, ERR_DATA, "%s: damaged Parquet footer at byte %llu", name,
                     (unsigned long long)(from->bytes - 8 - c.left));
    free(v);
    if (rc < 0) pq_meta_release(m);
    return rc;
}

void pq_meta_release(struct pq_meta *m) {
    for (size_t i = 0; i < m->n_nodes; i++) free(m->nodes[i].name);
    free(m->nodes);
    free(m->groups);
    free(m->chunks);
    *m = (struct pq_meta){0};
}
