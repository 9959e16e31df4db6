/* Reading safetensors: the header is parsed and wholly checked; after that tensors are only found
 * and copied. */
#include "train/safetensors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"

enum { HEADER_MAX = 100000000, LENGTH_BYTES = 8 };

static const struct {
    const char *name;
    unsigned bits;
} dtypes[ST_DTYPES] = {
    [ST_BOOL] = {"BOOL", 8},       [ST_F4] = {"F4", 4},           [ST_F6_E2M3] = {"F6_E2M3", 6},
    [ST_F6_E3M2] = {"F6_E3M2", 6}, [ST_U8] = {"U8", 8},           [ST_I8] = {"I8", 8},
    [ST_F8_E5M2] = {"F8_E5M2", 8}, [ST_F8_E4M3] = {"F8_E4M3", 8}, [ST_F8_E8M0] = {"F8_E8M0", 8},
    [ST_I16] = {"I16", 16},        [ST_U16] = {"U16", 16},        [ST_F16] = {"F16", 16},
    [ST_BF16] = {"BF16", 16},      [ST_I32] = {"I32", 32},        [ST_U32] = {"U32", 32},
    [ST_F32] = {"F32", 32},        [ST_C64] = {"C64", 64},        [ST_F64] = {"F64", 64},
    [ST_I64] = {"I64", 64},        [ST_U64] = {"U64", 64},
};

const char *st_dtype_name(enum st_dtype t) {
    return dtypes[t].name;
}

unsigned st_dtype_bits(enum st_dtype t) {
    return dtypes[t].bits;
}

/* A tensor's data as the header gives it: bytes [begin, end) behind the header. */
struct entry {
    struct st_tensor t;
    uint64_t begin, end;
};

/* A file being read. */
struct reading {
    const char *path;
    struct mapping map;
    struct entry *v;
    size_t n;
};

static int bad(const struct reading *r, const char *name, const char *why, struct err *err) {
    return err_set(err, ERR_CORRUPT, "%s: tensor %s: %s", r->path, name, why);
}

/* A whole number of at most 2^53: no file is longer, and doubles hold it exactly. */
static bool whole(const cJSON *x, uint64_t *ret) {
    if (!cJSON_IsNumber(x) || !(x->valuedouble >= 0 && x->valuedouble <= 0x1p53)) return false;
    *ret = (uint64_t)x->valuedouble;
    return (double)*ret == x->valuedouble;
}

static int read_dtype(const struct reading *r, struct entry *e, const cJSON *o, struct err *err) {
    const cJSON *x = json_get(o, "dtype");
    if (!cJSON_IsString(x)) return bad(r, e->t.name, "no dtype", err);
    for (int i = 0; i < ST_DTYPES; i++) {
        if (strcmp(x->valuestring, dtypes[i].name) != 0) continue;
        e->t.dtype = (enum st_dtype)i;
        return 0;
    }
    return err_set(err, ERR_CORRUPT, "%s: tensor %s: unknown dtype \"%.32s\"", r->path, e->t.name,
                   x->valuestring);
}

static int read_shape(const struct reading *r, struct entry *e, const cJSON *o, struct arena *arena,
                      struct err *err) {
    const cJSON *x = json_get(o, "shape"), *dim;
    uint64_t *dims;
    size_t i = 0;
    e->t.n = 1;
    if (!cJSON_IsArray(x)) return bad(r, e->t.name, "no shape", err);
    e->t.n_dims = (size_t)cJSON_GetArraySize(x);
    dims = arena_array(arena, e->t.n_dims ? e->t.n_dims : 1, sizeof *dims);
    if (!dims) return err_nomem(err, e->t.n_dims * sizeof *dims);
    cJSON_ArrayForEach(dim, x) {
        if (!whole(dim, &dims[i])) return bad(r, e->t.name, "the shape is not of counts", err);
        if (__builtin_mul_overflow(e->t.n, dims[i], &e->t.n))
            return bad(r, e->t.name, "the shape overflows", err);
        i++;
    }
    e->t.dims = dims;
    return 0;
}

static int read_range(const struct reading *r, struct entry *e, const cJSON *o, struct err *err) {
    const cJSON *x = json_get(o, "data_offsets");
    uint64_t bits;
    if (!cJSON_IsArray(x) || cJSON_GetArraySize(x) != 2 || !whole(x->child, &e->begin) ||
        !whole(x->child->next, &e->end))
        return bad(r, e->t.name, "data_offsets are not two offsets", err);
    if (__builtin_mul_overflow(e->t.n, (uint64_t)st_dtype_bits(e->t.dtype), &bits))
        return bad(r, e->t.name, "the shape overflows", err);
    if (bits % 8 != 0) return bad(r, e->t.name, "does not end at a byte", err);
    if (e->end < e->begin) return bad(r, e->t.name, "data_offsets run backwards", err);
    if (e->end - e->begin != bits / 8)
        return bad(r, e->t.name, "data_offsets do not match shape and dtype", err);
    e->t.bytes = bits / 8;
    return 0;
}

static int read_metadata(const struct reading *r, const cJSON *o, struct err *err) {
    const cJSON *x;
    bool fine = cJSON_IsObject(o);
    if (cJSON_IsNull(o)) return 0;
    if (fine) cJSON_ArrayForEach(x, o) fine = fine && cJSON_IsString(x);
    if (fine) return 0;
    return err_set(err, ERR_CORRUPT, "%s: __metadata__ is not a map of strings", r->path);
}

static int read_entries(struct reading *r, const cJSON *tree, struct arena *arena,
                        struct err *err) {
    const cJSON *o;
    size_t n = (size_t)cJSON_GetArraySize(tree);
    int rc = 0;
    r->v = mem_array(n ? n : 1, sizeof *r->v);
    if (!r->v) return err_nomem(err, n * sizeof *r->v);
    cJSON_ArrayForEach(o, tree) {
        struct entry *e = &r->v[r->n];
        if (strcmp(o->string, "__metadata__") == 0) {
            if ((rc = read_metadata(r, o, err)) < 0) return rc;
            continue;
        }
        e->t.name = arena_str(arena, o->string, strlen(o->string));
        if (!e->t.name) return err_nomem(err, strlen(o->string));
        if (!cJSON_IsObject(o)) return bad(r, e->t.name, "not an object", err);
        if (rc == 0) rc = read_dtype(r, e, o, err);
        if (rc == 0) rc = read_shape(r, e, o, arena, err);
        if (rc == 0) rc = read_range(r, e, o, err);
        if (rc < 0) return rc;
        r->n++;
    }
    return 0;
}

static int by_offset(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* No holes, no overlaps, nothing behind: else a file could hide something, or be two things. */
static int check_cover(struct reading *r, uint64_t data_at, struct err *err) {
    uint64_t at = 0, bytes = r->map.bytes - data_at;
    if (r->n) qsort(r->v, r->n, sizeof *r->v, by_offset);
    for (size_t i = 0; i < r->n; i++) {
        struct entry *e = &r->v[i];
        if (e->begin > at) return bad(r, e->t.name, "bytes before it belong to no tensor", err);
        if (e->begin < at) return bad(r, e->t.name, "overlaps another tensor", err);
        if (e->end > bytes)
            return bad(r, e->t.name, "reaches beyond the end of the file; is it cut short?", err);
        e->t.data = r->map.v + data_at + e->begin;
        at = e->end;
    }
    if (at == bytes) return 0;
    return err_set(err, ERR_CORRUPT, "%s: %llu bytes behind the last tensor", r->path,
                   (unsigned long long)(bytes - at));
}

/* Shapes and offsets are written as whole numbers; the tree no longer tells 1 from 1.0 or 1e0,
 * which the crate refuses. The text is valid JSON by now. */
static int check_whole(const struct reading *r, const uint8_t *v, uint64_t n, struct err *err) {
    bool string = false;
    int arrays = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (string && v[i] == '\\')
            i++;
        else if (v[i] == '"')
            string = !string;
        else if (!string && (v[i] == '[' || v[i] == ']'))
            arrays += v[i] == '[' ? 1 : -1;
        else if (!string && arrays && strchr(".eE", v[i]) && i && v[i - 1] >= '0' &&
                 v[i - 1] <= '9')
            return err_set(err, ERR_CORRUPT, "%s: byte %llu: not a whole number", r->path,
                           (unsigned long long)(LENGTH_BYTES + i));
    }
    return 0;
}

static int read_file(struct reading *r, struct arena *arena, struct err *err) {
    static const char lfs[] = "version https://git-lfs.github.com/spec/";
    const uint8_t *v = r->map.v;
    uint64_t n = 0;
    cJSON *tree = NULL;
    int rc;
    if (r->map.bytes < LENGTH_BYTES)
        return err_set(err, ERR_CORRUPT, "%s: not safetensors: %zu bytes", r->path, r->map.bytes);
    if (r->map.bytes >= sizeof lfs - 1 && !memcmp(v, lfs, sizeof lfs - 1))
        return err_set(err, ERR_CORRUPT,
                       "%s: is a Git LFS pointer, not the file itself; git lfs pull fetches that",
                       r->path);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) n = n << 8 | v[i];
    if (n > HEADER_MAX)
        return err_set(err, ERR_CORRUPT, "%s: not safetensors: a header of %llu bytes (at most %d)",
                       r->path, (unsigned long long)n, HEADER_MAX);
    if (n > r->map.bytes - LENGTH_BYTES)
        return err_set(err, ERR_CORRUPT, "%s: the header is cut short: %llu bytes, %zu are there",
                       r->path, (unsigned long long)n, r->map.bytes - LENGTH_BYTES);
    if (n == 0 || v[LENGTH_BYTES] != '{')
        return err_set(err, ERR_CORRUPT, "%s: not safetensors: the header has no '{'", r->path);
    rc = json_parse(&tree, (const char *)v + LENGTH_BYTES, n, r->path, err);
    if (rc == 0) rc = check_whole(r, v + LENGTH_BYTES, n, err);
    if (rc == 0) rc = read_entries(r, tree, arena, err);
    if (rc == 0) rc = check_cover(r, LENGTH_BYTES + n, err);
    cJSON_Delete(tree);
    return rc;
}

/* Adds one file's tensors to the set, which then owns its mapping. */
static int add_file(struct safetensors *s, const char *path, struct err *err) {
    struct reading r = {.path = path};
    struct st_tensor *v;
    int rc = mapping_open(&r.map, path, err);
    if (rc < 0) return rc;
    rc = read_file(&r, &s->arena, err);
    if (rc == 0) {
        v = mem_resize(s->v, s->n + r.n + 1, sizeof *v);
        if (v) {
            s->v = v;
            for (size_t i = 0; i < r.n; i++) v[s->n++] = r.v[i].t;
            s->maps[s->n_files++] = r.map;
        } else {
            rc = err_nomem(err, (s->n + r.n) * sizeof *v);
        }
    }
    if (rc < 0) mapping_close(&r.map);
    free(r.v);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

static int sort_names(struct safetensors *s, const char *path, struct err *err) {
    if (s->n) qsort(s->v, s->n, sizeof *s->v, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->v[i - 1].name, s->v[i].name) == 0)
            return err_set(err, ERR_CORRUPT, "%s: tensor %s is in two files", path, s->v[i].name);
    return 0;
}

/* The distinct file names of an index, in the order of their first tensor. */
static int index_files(const cJSON *map, const char *path, struct strs *ret, struct err *err) {
    const cJSON *x;
    cJSON_ArrayForEach(x, map) {
        bool known = false;
        const char *f = cJSON_IsString(x) ? x->valuestring : "";
        if (!*f || strchr(f, '/') || strchr(f, '\\') || *f == '.')
            return err_set(err, ERR_CORRUPT, "%s: tensor %s: not a plain file name", path,
                           x->string);
        for (size_t i = 0; i < ret->n && !known; i++) known = strcmp(ret->v[i], f) == 0;
        if (!known && strs_push(ret, f, err) < 0) return ERR_NOMEM;
    }
    return 0;
}

/* Every tensor of the index must lie in the file that the index names. */
static int check_index(const struct safetensors *s, const cJSON *map, const struct strs *files,
                       const char *path, struct err *err) {
    const cJSON *x;
    cJSON_ArrayForEach(x, map) {
        const struct st_tensor *t = safetensors_find(s, x->string);
        size_t i = 0;
        while (strcmp(files->v[i], x->valuestring) != 0) i++;
        if (!t || t->data < s->maps[i].v || t->data > s->maps[i].v + s->maps[i].bytes)
            return err_set(err, ERR_CORRUPT, "%s: tensor %s is not in %s", path, x->string,
                           x->valuestring);
    }
    return 0;
}

static int open_index(struct safetensors *s, const char *path, struct err *err) {
    struct strs files = {0};
    cJSON *tree = NULL;
    const cJSON *map = NULL;
    char *dir = path_dir(path);
    int rc = dir ? json_load(&tree, path, err) : err_nomem(err, 0);
    if (rc == 0) {
        map = json_get(tree, "weight_map");
        if (!cJSON_IsObject(map)) rc = err_set(err, ERR_CORRUPT, "%s: no weight_map", path);
    }
    if (rc == 0) rc = index_files(map, path, &files, err);
    if (rc == 0 && !(s->maps = mem_array(files.n + 1, sizeof *s->maps))) rc = err_nomem(err, 0);
    for (size_t i = 0; rc == 0 && i < files.n; i++) {
        char *file = path_join(dir, files.v[i]);
        rc = file ? add_file(s, file, err) : err_nomem(err, 0);
        free(file);
    }
    if (rc == 0) rc = sort_names(s, path, err);
    if (rc == 0) rc = check_index(s, map, &files, path, err);
    strs_release(&files);
    cJSON_Delete(tree);
    free(dir);
    return rc;
}

int safetensors_open(struct safetensors *ret, const char *path, struct err *err) {
    struct safetensors s = {0};
    int rc = 0;
    if (path_ends(path, ".index.json")) {
        rc = open_index(&s, path, err);
    } else {
        if (!(s.maps = mem_array(1, sizeof *s.maps))) rc = err_nomem(err, sizeof *s.maps);
        if (rc == 0) rc = add_file(&s, path, err);
        if (rc == 0) rc = sort_names(&s, path, err);
    }
    if (rc < 0)
        safetensors_close(&s);
    else
        *ret = s;
    return rc;
}

void safetensors_close(struct safetensors *s) {
    for (size_t i = 0; i < s->n_files; i++) mapping_close(&s->maps[i]);
    free(s->maps);
    free(s->v);
    arena_release(&s->arena);
    *s = (struct safetensors){0};
}

const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name) {
    struct st_tensor key = {.name = name};
    return s->n ? bsearch(&key, s->v, s->n, sizeof *s->v, by_name) : NULL;
}

static float f32_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 mantissa bits. */
static float f32_of_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3FF;
    float x;
    if (e == 31) return f32_of_bits(sign | 0x7F800000u | m << 13); /* infinity, NaN */
    if (e) return f32_of_bits(sign | (e + 127 - 15) << 23 | m << 13);
    x = (float)m * 0x1p-24f; /* zero, subnormal: exact in fp32 */
    return sign ? -x : x;
}

int st_read_f32(const struct st_tensor *t, uint64_t at, uint64_t n, float *out, struct err *err) {
    uint16_t h;
    if (at > t->n || n > t->n - at)
        return err_set(err, ERR_CORRUPT, "tensor %s has only %llu elements", t->name,
                       (unsigned long long)t->n);
    switch (t->dtype) {
    case ST_F32:
        if (n) memcpy(out, t->data + at * 4, n * 4);
        return 0;
    case ST_BF16:
        for (uint64_t i = 0; i < n; i++) {
            memcpy(&h, t->data + (at + i) * 2, 2);
            out[i] = f32_of_bits((uint32_t)h << 16);
        }
        return 0;
    case ST_F16:
        for (uint64_t i = 0; i < n; i++) {
            memcpy(&h, t->data + (at + i) * 2, 2);
            out[i] = f32_of_f16(h);
        }
        return 0;
    default:
        return err_set(err, ERR_CORRUPT, "tensor %s is %s; F32, BF16 and F16 can be read", t->name,
                       st_dtype_name(t->dtype));
    }
}

void st_forget(const struct st_tensor *t) {
    mapping_forget(t->data, 0, (size_t)t->bytes);
}
