/* See records.h. The caller fills the block at `head`; what the threads have finished is written
 * from `tail` on, by the caller, whenever it needs a free place in the ring.
 *
 *   ring   [done][done][busy][full][    ][filling]
 *          tail ─────────▶            ◀── head       places are taken again, buffers and all */
#include "stream/records.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "base/buf.h"
#include "base/file.h"

enum { BLOCK_BYTES = 1 << 20, GZIP_LEVEL = 6, ZSTD_LEVEL = 3, THREADS_MAX = 64, PER_FILE = 100000 };
enum {
    LONG_BYTES = 4 << 20, /* of a block whose last record is not to be held */
    OUT_BYTES = 256 << 10
};

enum state { FREE, FULL, BUSY, DONE };

struct block {
    enum state state;
    struct buf plain, packed;
    bool ends_file;
    struct err failed;
};

struct packer {
    z_stream gzip;
    bool gzip_ready;
    ZSTD_CCtx *zstd;
};

struct records {
    char *path;
    bool folder;
    enum { PLAIN, GZIP, ZSTD } kind;
    struct records_opts o;
    uint64_t bytes, in_file; /* taken in all; records in the file being filled */
    bool open;               /* a file was begun by the filling side            */
    uint64_t cuts;           /* files that the filling side has ended           */
    struct outfile *out;     /* of the writing side; NULL between files         */
    uint64_t files;          /* committed                                       */
    bool streams;            /* the block at head is long, its beginning left   */
    struct packer packer;    /* of such a block                                 */

    pthread_mutex_t lock; /* the states of the ring, `next`, `quit`  */
    pthread_cond_t full, done;
    struct block ring[2 * THREADS_MAX + 1];
    size_t n_ring, head, tail, next; /* next: the first that may be FULL, for the threads */
    bool quit;
    pthread_t threads[THREADS_MAX];
    int n_threads;
};

/* ------------------------------------------------------------------ compressing */

static int begin_gzip(struct packer *p, struct err *err) {
    if (!p->gzip_ready) {
        int rc =
            deflateInit2(&p->gzip, GZIP_LEVEL, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
        if (rc != Z_OK) return err_nomem(err, 256 << 10);
        p->gzip_ready = true;
    }
    deflateReset(&p->gzip);
    return 0;
}

static int pack_gzip(struct packer *p, struct block *b, struct err *err) {
    int rc = begin_gzip(p, err);
    if (rc < 0) return rc;
    size_t room = deflateBound(&p->gzip, b->plain.n), from = 0;
    rc = buf_reserve(&b->packed, room, err);
    if (rc < 0) return rc;
    p->gzip.next_out = (uint8_t *)b->packed.v;
    do { /* 32-bit counts: one huge record goes in pieces */
        size_t in = b->plain.n - from,
               left = room - (size_t)((char *)p->gzip.next_out - b->packed.v);
        uInt piece = in > 1u << 30 ? 1u << 30 : (uInt)in;
        p->gzip.next_in = (uint8_t *)b->plain.v + from;
        p->gzip.avail_in = piece;
        p->gzip.avail_out = left > UINT32_MAX ? UINT32_MAX : (uInt)left;
        rc = deflate(&p->gzip, piece == in ? Z_FINISH : Z_NO_FLUSH);
        from += piece - p->gzip.avail_in;
    } while (rc == Z_OK);
    if (rc != Z_STREAM_END) return err_set(err, ERR_OTHER, "deflate: %d", rc);
    b->packed.n = (size_t)((char *)p->gzip.next_out - b->packed.v);
    return 0;
}

static int begin_zstd(struct packer *p, struct err *err) {
    if (p->zstd) return 0;
    p->zstd = ZSTD_createCCtx();
    if (!p->zstd) return err_nomem(err, 1 << 20);
    ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
    return 0;
}

static int pack_zstd(struct packer *p, struct block *b, struct err *err) {
    int rc = begin_zstd(p, err);
    if (rc == 0) rc = buf_reserve(&b->packed, ZSTD_compressBound(b->plain.n), err);
    if (rc < 0) return rc;
    size_t n = ZSTD_compress2(p->zstd, b->packed.v, b->packed.cap, b->plain.v, b->plain.n);
    if (ZSTD_isError(n)) return err_set(err, ERR_OTHER, "zstd: %s", ZSTD_getErrorName(n));
    b->packed.n = n;
    return 0;
}

static void packer_release(struct packer *p) {
    if (p->gzip_ready) deflateEnd(&p->gzip);
    ZSTD_freeCCtx(p->zstd);
}

static void *worker(void *ctx) {
    struct records *w = ctx;
    struct packer p = {0};
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct block *b = &w->ring[w->next];
        if (b->state != FULL) {
            if (w->quit) break;
            pthread_cond_wait(&w->full, &w->lock);
            continue;
        }
        b->state = BUSY;
        w->next = (w->next + 1) % w->n_ring;
        pthread_mutex_unlock(&w->lock);
        b->packed.n = 0;
        if (w->kind == GZIP)
            pack_gzip(&p, b, &b->failed);
        else
            pack_zstd(&p, b, &b->failed);
        pthread_mutex_lock(&w->lock);
        b->state = DONE;
        pthread_cond_signal(&w->done);
    }
    pthread_mutex_unlock(&w->lock);
    packer_release(&p);
    return NULL;
}

static void end_threads(struct records *w) {
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_broadcast(&w->full);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n_threads; i++) pthread_join(w->threads[i], NULL);
    w->n_threads = 0;
}

/* ------------------------------------------------------------------ files */

static int number_name(const struct records *w, uint64_t number, struct buf *to, struct err *err) {
    size_t n = strlen(w->path);
    to->n = 0;
    int rc = buf_printf(to, err, "%s%sfile-%012llu.json.gz", w->path,
                        n && w->path[n - 1] == '/' ? "" : "/", (unsigned long long)number);
    return rc < 0 ? rc : buf_cstr(to) ? 0 : err_nomem(err, to->n);
}

static int open_out(struct records *w, struct err *err) {
    if (!w->folder) return outfile_open(&w->out, w->path, err);
    struct buf name = {0};
    int rc = number_name(w, w->files + 1, &name, err);
    if (rc == 0) rc = outfile_open_swept(&w->out, name.v, err);
    buf_release(&name);
    return rc;
}

static int commit_out(struct records *w, struct err *err) {
    struct outfile *f = w->out;
    w->out = NULL;
    int rc = outfile_commit(f, err);
    w->files += rc == 0;
    return rc;
}

/* What one block becomes. */
static int write_block(struct records *w, struct block *b, struct err *err) {
    const struct buf *v = w->kind == PLAIN ? &b->plain : &b->packed;
    int rc = 0;
    if (b->failed.code) {
        if (err) *err = b->failed;
        return b->failed.code;
    }
    if (!w->out) rc = open_out(w, err);
    if (rc == 0) rc = outfile_write(w->out, v->v, v->n, err);
    if (rc == 0 && b->ends_file) rc = commit_out(w, err);
    return rc;
}

/* Waits for the oldest block that is on its way and writes it. */
static int drain_one(struct records *w, struct err *err) {
    struct block *b = &w->ring[w->tail];
    pthread_mutex_lock(&w->lock);
    while (b->state != DONE) pthread_cond_wait(&w->done, &w->lock);
    pthread_mutex_unlock(&w->lock);
    int rc = write_block(w, b, err);
    b->plain.n = 0;
    b->ends_file = false;
    pthread_mutex_lock(&w->lock);
    b->state = FREE;
    pthread_mutex_unlock(&w->lock);
    w->tail = (w->tail + 1) % w->n_ring;
    return rc;
}

/* Hands the block being filled on; afterwards the one at head is empty. */
static int hand_on(struct records *w, bool ends_file, struct err *err) {
    struct block *b = &w->ring[w->head];
    b->ends_file = ends_file;
    pthread_mutex_lock(&w->lock);
    b->state = w->kind == PLAIN ? DONE : FULL;
    pthread_cond_signal(&w->full);
    pthread_mutex_unlock(&w->lock);
    w->head = (w->head + 1) % w->n_ring;
    /* Plain blocks are done at once; of others, as many stay on their way as there is room for. */
    int rc = w->kind == PLAIN || w->head == w->tail ? drain_one(w, err) : 0;
    return rc;
}

/* ------------------------------------------------------------------ a long block */

static int stream_gzip(struct records *w, const char *v, size_t n, bool last, struct err *err) {
    struct buf *out = &w->ring[w->head].packed;
    z_stream *z = &w->packer.gzip;
    int state, rc = 0;
    z->next_in = (uint8_t *)v;
    z->avail_in = (uInt)n;
    do {
        z->next_out = (uint8_t *)out->v;
        z->avail_out = OUT_BYTES;
        state = deflate(z, last ? Z_FINISH : Z_NO_FLUSH);
        rc = outfile_write(w->out, out->v, OUT_BYTES - z->avail_out, err);
    } while (rc == 0 && (last ? state == Z_OK : z->avail_out == 0));
    return rc == 0 && last && state != Z_STREAM_END ? err_set(err, ERR_OTHER, "deflate: %d", state)
                                                    : rc;
}

static int stream_zstd(struct records *w, const char *v, size_t n, bool last, struct err *err) {
    struct buf *out = &w->ring[w->head].packed;
    ZSTD_inBuffer in = {v, n, 0};
    size_t left;
    int rc;
    do {
        ZSTD_outBuffer to = {out->v, OUT_BYTES, 0};
        left = ZSTD_compressStream2(w->packer.zstd, &to, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) return err_set(err, ERR_OTHER, "zstd: %s", ZSTD_getErrorName(left));
        rc = outfile_write(w->out, out->v, to.pos, err);
    } while (rc == 0 && (last ? left != 0 : in.pos < in.size));
    return rc;
}

/* What came before the block at head is written, and it is next. */
static int begin_stream(struct records *w, struct err *err) {
    int rc = 0;
    w->streams = true;
    if (w->kind == PLAIN) return 0;
    while (rc == 0 && w->tail != w->head) rc = drain_one(w, err);
    if (rc == 0) rc = w->kind == GZIP ? begin_gzip(&w->packer, err) : begin_zstd(&w->packer, err);
    if (rc == 0) rc = buf_reserve(&w->ring[w->head].packed, OUT_BYTES, err);
    if (rc == 0 && !w->out) rc = open_out(w, err);
    return rc;
}

/* Writes the beginning of the block at head, or, `last`, all of it. deflate looks back over 32
 * KiB: cut at multiples of that, its input becomes the same bytes as in one piece. */
static int stream(struct records *w, bool last, struct err *err) {
    struct buf *b = &w->ring[w->head].plain;
    int rc = w->streams ? 0 : begin_stream(w, err);
    size_t n = last ? b->n : b->n / BLOCK_BYTES * BLOCK_BYTES;
    if (rc < 0) return rc;
    if (w->kind == PLAIN) return hand_on(w, false, err);
    rc = w->kind == GZIP ? stream_gzip(w, b->v, n, last, err) : stream_zstd(w, b->v, n, last, err);
    b->n -= n;
    if (b->n) memmove(b->v, b->v + n, b->n);
    return rc;
}

/* The record that made the block long has ended, and the block with it. In a pipe it is there. */
static int end_stream(struct records *w, bool ends_file, struct err *err) {
    int rc = stream(w, true, err);
    w->streams = false;
    if (rc == 0 && w->kind == PLAIN) rc = outfile_flush(w->out, err);
    if (rc < 0 || !ends_file) return rc;
    w->in_file = 0;
    w->open = false;
    w->cuts++;
    return commit_out(w, err);
}

/* ------------------------------------------------------------------ the caller's side */

bool records_is_folder(const char *path) {
    size_t n = strlen(path);
    return n && (path[n - 1] == '/' || file_kind(path) == FILE_FOLDER);
}

static int start(struct records *w, struct err *err) {
    int n = w->o.threads < 1 ? 1 : w->o.threads > THREADS_MAX ? THREADS_MAX : w->o.threads;
    w->n_ring = w->kind == PLAIN ? 2 : 2 * (size_t)n + 1;
    for (int i = 0; w->kind != PLAIN && i < n; i++) {
        if (pthread_create(&w->threads[i], NULL, worker, w)) {
            if (i) break; /* fewer will do */
            return err_set(err, ERR_OTHER, "no thread could be started");
        }
        w->n_threads++;
    }
    return 0;
}

int records_open(struct records **ret, const char *path, const struct records_opts *opts,
                 struct err *err) {
    struct records *w = calloc(1, sizeof *w);
    if (!w) return err_nomem(err, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->full, NULL);
    pthread_cond_init(&w->done, NULL);
    w->o = *opts;
    if (!w->o.per_file) w->o.per_file = PER_FILE;
    w->folder = records_is_folder(path);
    w->kind = w->folder || path_ends(path, ".gz") ? GZIP : path_ends(path, ".zst") ? ZSTD : PLAIN;
    w->path = strdup(path);
    int rc = w->path ? 0 : err_nomem(err, strlen(path));
    if (rc == 0 && w->folder) rc = file_mkdirs(path, err);
    if (rc == 0 && w->folder) rc = file_sweep(path, err);
    if (rc == 0 && !w->folder) rc = open_out(w, err); /* a name that cannot be written: told now */
    if (rc == 0) rc = start(w, err);
    if (rc == 0)
        *ret = w;
    else
        records_abort(w);
    return rc;
}

int records_put(struct records *w, const char *v, size_t n, struct err *err) {
    int rc = 0;
    w->bytes += n;
    for (size_t piece; rc == 0 && n; v += piece, n -= piece) {
        struct buf *b = &w->ring[w->head].plain;
        piece = n < BLOCK_BYTES ? n : BLOCK_BYTES;
        rc = buf_append(b, v, piece, err);
        if (rc == 0 && b->n >= LONG_BYTES) rc = stream(w, false, err);
    }
    return rc;
}

int records_end(struct records *w, struct err *err) {
    struct buf *b = &w->ring[w->head].plain;
    int rc = buf_char(b, '\n', err);
    if (rc < 0) return rc;
    w->bytes++;
    w->in_file++;
    w->open = true;
    bool ends_file = w->folder && w->in_file == w->o.per_file;
    if (w->streams) return end_stream(w, ends_file, err);
    if (ends_file) return records_cut(w, err);
    return b->n >= BLOCK_BYTES ? hand_on(w, false, err) : 0;
}

int records_add(struct records *w, const char *line, size_t n, struct err *err) {
    int rc = records_put(w, line, n, err);
    return rc < 0 ? rc : records_end(w, err);
}

int records_cut(struct records *w, struct err *err) {
    w->in_file = 0;
    w->open = false;
    w->cuts++;
    return hand_on(w, true, err);
}

uint64_t records_bytes(const struct records *w) {
    return w->bytes;
}

uint64_t records_files(const struct records *w) {
    return w->files;
}

/* What is left over of an earlier, larger run would be read as part of this one. */
static int remove_older(struct records *w, struct err *err) {
    struct buf name = {0};
    int rc = 0;
    for (uint64_t i = w->files + 1; rc == 0; i++) {
        rc = number_name(w, i, &name, err);
        if (rc < 0 || file_kind(name.v) != FILE_REGULAR) break;
        rc = file_remove(name.v, err);
    }
    buf_release(&name);
    return rc;
}

int records_commit(struct records *w, struct err *err) {
    int rc = w->open || !w->cuts ? records_cut(w, err) : 0;
    while (rc == 0 && w->tail != w->head) rc = drain_one(w, err);
    if (rc == 0 && w->folder) rc = remove_older(w, err);
    records_abort(w);
    return rc;
}

void records_abort(struct records *w) {
    if (!w) return;
    end_threads(w);
    packer_release(&w->packer);
    outfile_abort(w->out);
    for (size_t i = 0; i < w->n_ring; i++) {
        buf_release(&w->ring[i].plain);
        buf_release(&w->ring[i].packed);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->full);
    pthread_cond_destroy(&w->done);
    free(w->path);
    free(w);
}
