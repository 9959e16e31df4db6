/* See dedup.h. */
#include "stream/dedup.h"

#include <stdlib.h>
#include <string.h>
#include "base/signals.h"
#include "stream/bands.h"
#include "stream/minhash.h"
#include "stream/seen.h"

/* What a worker finds out about one document. */
struct look {
    struct digest128 digest;
    bool indexed;
    uint64_t keys[MINHASH_BANDS]; /* first reading  */
    uint64_t *words;              /* second reading, of clustered ones; scratch-less copy */
    size_t n_words;
};

struct dedup_worker {
    struct minhasher *minhasher;
    struct buf room;
    struct look *v;
    size_t cap;
    struct u64s words; /* of all clustered documents of the batch */
};

/* Words of a document that stays, of one cluster. */
struct kept {
    struct kept *next;
    uint32_t document;
    size_t n;
    uint64_t words[];
};

struct cluster {
    uint32_t members; /* 0: none of its own; the base included */
    uint32_t left;    /* members still to come                 */
    struct kept *kept, **end;
};

struct dedup {
    struct dedup_opts o;
    struct docs *docs; /* of the reading that runs */
    struct dedup_worker *workers;
    struct scratch scratch;
    struct seen seen;
    struct bands *bands;
    uint32_t n, at;    /* documents; the next one in the second reading      */
    uint8_t *is_exact; /* (n) found in the first reading                     */
    size_t is_exact_cap;
    uint32_t *cluster_of;     /* (n) number of its cluster + 1, or 0                */
    uint32_t *cluster_on;     /* (n) number of the cluster opened on it + 1, or 0   */
    struct cluster *clusters; /* (n_clusters)                                       */
    uint32_t n_clusters;
    size_t clusters_cap;
    uint64_t compared, largest;
    dedup_fn fate;
    void *ctx;
};

/* ------------------------------------------------------------------ making */

int dedup_new(struct dedup **ret, const struct dedup_opts *o, struct err *err) {
    struct dedup *d = calloc(1, sizeof *d);
    if (!d) return err_nomem(err, sizeof *d);
    d->o = *o;
    if (d->o.threads < 1) d->o.threads = 1;
    d->scratch = (struct scratch){.dir = o->dir, .budget = o->memory / 2};
    d->workers = mem_array((size_t)d->o.threads, sizeof *d->workers);
    int rc = d->workers ? 0 : err_nomem(err, (size_t)d->o.threads * sizeof *d->workers);
    for (int i = 0; rc == 0 && o->near && i < d->o.threads; i++)
        rc = minhasher_new(&d->workers[i].minhasher, err);
    if (rc == 0 && o->near) rc = bands_new(&d->bands, o->memory / 2, &d->scratch, err);
    if (rc == 0)
        *ret = d;
    else
        dedup_free(d);
    return rc;
}

static void forget_cluster(struct dedup *d, struct cluster *c) {
    for (struct kept *k = c->kept, *next; k; k = next) {
        next = k->next;
        scratch_free(&d->scratch, k, sizeof *k + k->n * sizeof *k->words);
    }
    c->kept = NULL;
}

void dedup_free(struct dedup *d) {
    if (!d) return;
    for (int i = 0; d->workers && i < d->o.threads; i++) {
        struct dedup_worker *w = &d->workers[i];
        minhasher_free(w->minhasher);
        buf_release(&w->room);
        u64s_release(&w->words);
        free(w->v);
    }
    for (uint32_t i = 0; i < d->n_clusters; i++) forget_cluster(d, &d->clusters[i]);
    free(d->workers);
    free(d->clusters);
    free(d->is_exact);
    free(d->cluster_of);
    free(d->cluster_on);
    seen_release(&d->seen);
    bands_free(d->bands);
    scratch_release(&d->scratch);
    free(d);
}

static int room_for(struct dedup_worker *w, size_t n, struct err *err) {
    w->words.n = 0;
    if (n <= w->cap) return 0;
    struct look *v = mem_resize(w->v, n, sizeof *v);
    if (!v) return err_nomem(err, n * sizeof *v);
    w->v = v;
    w->cap = n;
    return 0;
}

static int add_spaceless(void *ctx, const char *v, size_t n, struct err *err) {
    return spaceless_add(ctx, v, n, err);
}

static int digest_far(const struct doc *doc, struct look *l, struct err *err) {
    struct spaceless_stream *s = spaceless_begin();
    if (!s) return err_nomem(err, 1);
    int rc = docs_far_text(doc, add_spaceless, s, err);
    l->digest = spaceless_end(s);
    return rc;
}

static int digest_of(struct dedup_worker *w, const struct doc *doc, struct look *l,
                     struct err *err) {
    if (doc->far) return digest_far(doc, l, err);
    w->room.n = 0;
    int rc = buf_reserve(&w->room, doc->n + 1, err);
    if (rc == 0) l->digest = spaceless_digest(doc->text, doc->n, w->room.v);
    return rc;
}

/* ------------------------------------------------------------------ the first reading */

static int look_at(void *ctx, struct batch *b, int thread, struct err *err) {
    struct dedup *d = ctx;
    struct dedup_worker *w = &d->workers[thread];
    int rc = room_for(w, b->n, err);
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        struct look *l = &w->v[i];
        uint32_t signature[MINHASH_VALUES];
        uint64_t words;
        if (d->o.exact) rc = digest_of(w, &b->v[i], l, err);
        if (rc == 0) rc = minhash_doc(w->minhasher, &b->v[i], NULL, NULL, &words, err);
        l->indexed = rc == 0 && words >= MINHASH_WORDS_MIN;
        if (!l->indexed) continue;
        minhash_signature(w->minhasher, signature);
        minhash_bands(signature, l->keys);
    }
    return rc;
}

static int tell(const struct dedup *d, const char *stage, struct err *err) {
    struct docs_totals t;
    docs_totals(d->docs, &t);
    log_progress(d->o.log, &(struct progress){stage, t.stored_bytes, t.stored_total, "B", NULL});
    return signals_stop() ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

static int note_exact(struct dedup *d, bool is, struct err *err) {
    if (d->n == UINT32_MAX - 1) return err_set(err, ERR_DATA, "more than 2^32 - 2 documents");
    uint8_t *v = mem_grown(d->is_exact, d->n, &d->is_exact_cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    d->is_exact = v;
    v[d->n++] = is;
    return 0;
}

static int enter(void *ctx, struct batch *b, int thread, struct err *err) {
    struct dedup *d = ctx;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct look *l = &d->workers[thread].v[i];
        int is_new = d->o.exact ? seen_add(&d->seen, l->digest, err) : 1;
        if (is_new < 0) return is_new;
        if (is_new && l->indexed) rc = bands_add(d->bands, d->n, l->keys, err);
        if (rc == 0) rc = note_exact(d, !is_new, err);
    }
    return rc < 0 ? rc : tell(d, "looking for copies", err);
}

/* ------------------------------------------------------------------ clusters */

static int open_cluster(struct dedup *d, uint32_t base, struct err *err) {
    struct cluster *v = mem_grown(d->clusters, d->n_clusters, &d->clusters_cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    d->clusters = v;
    v[d->n_clusters] = (struct cluster){.members = 1};
    d->cluster_on[base] = ++d->n_clusters;
    return 0;
}

/* The state of the groups as documents come: the lowest document of each, and the lowest that a
 * cluster was opened on; + 1, or 0. */
struct growing {
    const struct band_groups *g;
    uint32_t *lowest, *base; /* (groups + 1) */
};

static const uint32_t *groups_of(const struct growing *s, uint32_t document) {
    return s->g->v + (size_t)document * MINHASH_BANDS;
}

static int take_document(struct dedup *d, const struct growing *s, uint32_t document,
                         struct err *err) {
    const uint32_t *of = groups_of(s, document);
    uint32_t lowest = UINT32_MAX, base = UINT32_MAX; /* + 1 */
    for (int i = 0; i < MINHASH_BANDS && of[i]; i++) {
        if (s->lowest[of[i]] && s->lowest[of[i]] < lowest) lowest = s->lowest[of[i]];
        if (s->base[of[i]] && s->base[of[i]] < base) base = s->base[of[i]];
        if (!s->lowest[of[i]]) s->lowest[of[i]] = document + 1;
    }
    if (lowest == UINT32_MAX) return 0;
    if (base == UINT32_MAX) {
        base = lowest;
        int rc = open_cluster(d, base - 1, err);
        if (rc < 0) return rc;
        const uint32_t *its = groups_of(s, base - 1);
        for (int i = 0; i < MINHASH_BANDS && its[i]; i++)
            if (!s->base[its[i]] || s->base[its[i]] > base) s->base[its[i]] = base;
    }
    uint32_t cluster = d->cluster_on[base - 1];
    d->cluster_of[document] = cluster;
    uint32_t members = ++d->clusters[cluster - 1].members;
    if (members > d->largest) d->largest = members;
    return 0;
}

static int make_clusters(struct dedup *d, struct err *err) {
    struct band_groups groups = {0};
    struct growing s = {.g = &groups};
    void *lowest = NULL, *base = NULL;
    d->cluster_of = mem_array((size_t)d->n + 1, sizeof *d->cluster_of);
    d->cluster_on = mem_array((size_t)d->n + 1, sizeof *d->cluster_on);
    if (!d->cluster_of || !d->cluster_on) return err_nomem(err, (uint64_t)d->n * 8);
    log_progress(d->o.log, &(struct progress){"grouping", 0, 0, "", NULL});
    int rc = bands_group(d->bands, d->n, &groups, err);
    uint64_t bytes = ((uint64_t)groups.n + 1) * sizeof(uint32_t);
    if (rc == 0) rc = scratch_big(&d->scratch, &lowest, bytes, err);
    if (rc == 0) rc = scratch_big(&d->scratch, &base, bytes, err);
    s.lowest = lowest;
    s.base = base;
    for (uint32_t i = 0; rc == 0 && i < d->n; i++) rc = take_document(d, &s, i, err);
    for (uint32_t i = 0; i < d->n_clusters; i++) {
        d->clusters[i].left = d->clusters[i].members;
        d->clusters[i].end = &d->clusters[i].kept;
    }
    return rc;
}

int dedup_find(struct dedup *d, struct docs *docs, struct err *err) {
    if (!d->o.near) return 0;
    d->docs = docs;
    int rc = docs_run(docs, d->o.threads, look_at, enter, d, err);
    seen_release(&d->seen);
    return rc < 0 ? rc : make_clusters(d, err);
}

/* ------------------------------------------------------------------ the second reading */

/* Workers do not know the numbers of a batch's documents before it is their turn, so they take all
 * of them apart; that costs less than the signatures did. */
static int take_apart(void *ctx, struct batch *b, int thread, struct err *err) {
    struct dedup *d = ctx;
    struct dedup_worker *w = &d->workers[thread];
    int rc = room_for(w, b->n, err);
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        struct look *l = &w->v[i];
        const uint64_t *v;
        uint64_t words;
        l->n_words = 0;
        if (!d->o.near) {
            rc = digest_of(w, &b->v[i], l, err);
            continue;
        }
        rc = minhash_doc(w->minhasher, &b->v[i], &v, &l->n_words, &words, err);
        if (rc == 0) rc = u64s_append(&w->words, v, l->n_words, err);
    }
    return rc;
}

/* The first that stays and is near, or the document itself: then it stays too, in this cluster. */
static int compare(struct dedup *d, uint32_t cluster, const uint64_t *words, size_t n,
                   struct dedup_verdict *v, struct err *err) {
    struct cluster *c = &d->clusters[cluster - 1];
    const struct kept *near = NULL;
    for (const struct kept *k = c->kept; k && !near; k = k->next) {
        double least = (double)(k->n < n ? k->n : n), most = (double)(k->n < n ? n : k->n);
        if (least < d->o.threshold * most) continue; /* the sizes alone rule it out */
        d->compared++;
        if (minhash_jaccard(k->words, k->n, words, n) >= d->o.threshold) near = k;
    }
    v->in[v->n_in++] = (struct cluster_member){.cluster = cluster,
                                               .document = d->at,
                                               .by = near ? near->document : d->at,
                                               .own = d->cluster_on[d->at]};
    void *room;
    size_t bytes = sizeof(struct kept) + n * sizeof *words;
    int rc = near ? 0 : scratch_small(&d->scratch, &room, bytes, err);
    if (rc == 0 && !near) {
        struct kept *k = room;
        *k = (struct kept){.document = d->at, .n = n};
        if (n) memcpy(k->words, words, n * sizeof *words);
        *c->end = k;
        c->end = &k->next;
    }
    if (--c->left == 0) forget_cluster(d, c);
    return rc;
}

/* Of document d->at. */
static int judge(struct dedup *d, const uint64_t *words, size_t n, struct dedup_verdict *ret,
                 struct err *err) {
    uint32_t joined = d->cluster_of[d->at], own = d->cluster_on[d->at];
    int rc = 0;
    *ret = (struct dedup_verdict){.fate = d->is_exact[d->at] ? DEDUP_EXACT : DEDUP_STAYS};
    if (joined) rc = compare(d, joined, words, n, ret, err);
    if (rc == 0 && joined && ret->in[0].by != d->at) ret->fate = DEDUP_NEAR;
    if (rc < 0 || !own) return rc;
    ret->fate = DEDUP_STAYS; /* the first of its cluster */
    return compare(d, own, words, n, ret, err);
}

static int settle(void *ctx, struct batch *b, int thread, struct err *err) {
    struct dedup *d = ctx;
    struct dedup_worker *w = &d->workers[thread];
    const uint64_t *words = w->words.v;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        struct dedup_verdict verdict = {.fate = DEDUP_STAYS};
        const struct look *l = &w->v[i];
        if (d->o.near) {
            if (d->at == d->n) return err_set(err, ERR_DATA, "the sources have grown meanwhile");
            rc = judge(d, words, l->n_words, &verdict, err);
        } else if (d->o.exact) {
            int is_new = seen_add(&d->seen, l->digest, err);
            if (is_new < 0) return is_new;
            if (!is_new) verdict.fate = DEDUP_EXACT;
        }
        d->at++;
        words += l->n_words;
        if (rc == 0) rc = d->fate(d->ctx, &b->v[i], &verdict, err);
    }
    return rc < 0 ? rc : tell(d, d->o.near ? "leaving out copies" : "looking for copies", err);
}

int dedup_settle(struct dedup *d, struct docs *docs, dedup_fn fate, void *ctx, struct err *err) {
    d->docs = docs;
    d->fate = fate;
    d->ctx = ctx;
    int rc = docs_run(docs, d->o.threads, take_apart, settle, d, err);
    if (rc == 0 && d->o.near && d->at != d->n)
        rc = err_set(err, ERR_DATA, "the sources have shrunk: %u documents where there were %u",
                     d->at, d->n);
    return rc;
}

void dedup_totals(const struct dedup *d, struct dedup_totals *ret) {
    *ret = (struct dedup_totals){.documents = d->at,
                                 .clusters = d->n_clusters,
                                 .largest = d->largest,
                                 .compared = d->compared,
                                 .scratch_bytes = d->scratch.on_disk};
}
