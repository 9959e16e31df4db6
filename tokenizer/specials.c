/* Special tokens in a text: a tree of their bytes, walked at every place where one can begin.
 *
 *   root ─▶ '<' ─▶ '|' ─▶ 'e' … '>' (endoftext)        siblings in a chain, the longest match wins
 *                   └▶ 's' ─▶ '>' (…)
 *
 * HF matches twice (encode.c): tokens with normalized == false on the whole text; the others, as
 * the normalizer writes them, on what is left between, as it writes that. lstrip and rstrip swallow
 * white space beside a match; single_word asks for no word character at either side. Added tokens
 * that are not special (runs of blanks in GPT-NeoX's file) are found also where special ones are
 * ordinary text, as with HF's encode_special_tokens; these are passed over whole. The rules are
 * those of its added_vocabulary.rs, its corner cases included. */
#include <stdlib.h>
#include "tokenizer/unicode.h"
#include "tokenizer/vocab.h"

/* The child of `at` with this byte, or 0. */
static uint32_t child(const struct special_tree *tree, uint32_t at, uint8_t byte) {
    uint32_t c = tree->node[at].child;
    while (c && tree->node[c].byte != byte) c = tree->node[c].next;
    return c;
}

static int node_new(struct special_tree *tree, uint8_t byte, uint32_t *ret, struct err *err) {
    if (tree->n == tree->cap) {
        uint32_t cap = tree->cap ? tree->cap * 2 : 64;
        struct special_node *node = mem_resize(tree->node, cap, sizeof *node);
        if (!node || cap < tree->cap) return err_nomem(err, (uint64_t)cap * sizeof *node);
        tree->node = node;
        tree->cap = cap;
    }
    tree->node[tree->n] = (struct special_node){.special = TOKENIZER_NO_ID, .byte = byte};
    *ret = tree->n++;
    return 0;
}

int special_tree_add(struct special_tree *tree, const char *text, uint32_t special,
                     struct err *err) {
    uint32_t at = 0;
    int rc = tree->n ? 0 : node_new(tree, 0, &at, err);
    for (const uint8_t *p = (const uint8_t *)text; *p && rc >= 0; p++) {
        uint32_t c = child(tree, at, *p);
        if (!c) {
            rc = node_new(tree, *p, &c, err);
            if (rc < 0) break;
            tree->node[c].next = tree->node[at].child;
            tree->node[at].child = c;
        }
        at = c;
    }
    if (rc < 0) return rc;
    uint8_t begin = (uint8_t)text[0];
    if (!tree->first[begin]) tree->n_first++, tree->last_first = begin;
    tree->first[begin] = true;
    if (tree->node[at].special == TOKENIZER_NO_ID) tree->node[at].special = special;
    return 0;
}

int special_plant(const struct tokenizer *t, struct special_tree tree[2], uint32_t special,
                  struct err *err) {
    const struct special *s = &t->specials[special];
    struct buf form = {0};
    if (!s->normalized || !t->nfc)
        return special_tree_add(&tree[s->normalized], s->text, special, err);
    int rc = nfc_write(t->nfc, s->text, strlen(s->text), &form, NULL, err);
    if (rc >= 0 && !buf_cstr(&form)) rc = err_nomem(err, form.n);
    if (rc >= 0) rc = special_tree_add(&tree[1], form.v, special, err);
    buf_release(&form);
    return rc;
}

void special_tree_release(struct special_tree *tree) {
    free(tree->node);
    memset(tree, 0, sizeof *tree);
}

/* special_tree_match(), and whether text behind n might make it another, longer one. */
static uint32_t match(const struct special_tree *tree, const char *text, size_t at, size_t n,
                      size_t *ret_n, bool *ret_open) {
    uint32_t found = TOKENIZER_NO_ID, node = 0;
    *ret_n = 0;
    *ret_open = false;
    if (!tree->n) return found;
    for (size_t i = at; i < n; i++) {
        node = child(tree, node, (uint8_t)text[i]);
        if (!node) return found;
        if (tree->node[node].special == TOKENIZER_NO_ID) continue;
        found = tree->node[node].special;
        *ret_n = i + 1 - at;
    }
    *ret_open = tree->node[node].child != 0;
    return found;
}

uint32_t special_tree_match(const struct special_tree *tree, const char *text, size_t at, size_t n,
                            size_t *ret_n) {
    bool open;
    return match(tree, text, at, n, ret_n, &open);
}

/* ------------------------------------------------------------------ characters beside a match */

static uint32_t char_before(const char *text, size_t start, size_t at, size_t *ret_start) {
    size_t i = at - 1;
    while (i > start && at - i < 4 && ((uint8_t)text[i] & 0xC0) == 0x80) i--;
    uint32_t c;
    if (i + unicode_decode((const uint8_t *)text + i, (const uint8_t *)text + at, &c) != at) {
        i = at - 1;
        c = UNICODE_BAD;
    }
    *ret_start = i;
    return c;
}

static bool is_space(uint32_t c) {
    return c != UNICODE_BAD && UNICODE_IN(unicode_cat(c), UNICODE_SPACE);
}

/* \w of Rust's regex: alphabetic, marks, decimal digits, connectors, joiners. The circled and
 * squared letters are the alphabetic characters that are neither letters, marks nor letter
 * numbers. */
static bool is_word(uint32_t c) {
    const uint32_t set = UNICODE_L | UNICODE_M | 1u << CAT_ND | 1u << CAT_NL | 1u << CAT_PC;
    if (c == UNICODE_BAD) return false;
    return UNICODE_IN(unicode_cat(c), set) || c == 0x200C || c == 0x200D ||
           (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

static bool word_around(const char *text, size_t start, size_t from, size_t to, size_t end) {
    size_t skip;
    uint32_t c;
    if (from > start && is_word(char_before(text, start, from, &skip))) return true;
    if (to == end) return false;
    unicode_decode((const uint8_t *)text + to, (const uint8_t *)text + end, &c);
    return is_word(c);
}

static size_t spaces_before(const char *text, size_t start, size_t at) {
    size_t i;
    while (at > start && is_space(char_before(text, start, at, &i))) at = i;
    return at;
}

static size_t spaces_after(const char *text, size_t at, size_t end) {
    while (at < end) {
        uint32_t c;
        size_t n = unicode_decode((const uint8_t *)text + at, (const uint8_t *)text + end, &c);
        if (!is_space(c)) break;
        at += n;
    }
    return at;
}

/* ------------------------------------------------------------------ cutting */

static int push(struct segments *out, size_t start, size_t end, uint32_t id, struct err *err) {
    struct segment *v = mem_grown(out->v, out->n, &out->cap, 1, sizeof *v, err);
    if (!v) return ERR_NOMEM;
    out->v = v;
    v[out->n++] = (struct segment){.start = start, .end = end, .id = id};
    return 0;
}

/* The next place from `at` on where a special can begin, or `n`. */
static size_t next_place(const struct special_tree *tree, const char *text, size_t at, size_t n) {
    if (tree->n_first == 1) { /* nearly always, and that is '<' */
        const char *p = memchr(text + at, tree->last_first, n - at);
        return p ? (size_t)(p - text) : n;
    }
    while (at < n && !tree->first[(uint8_t)text[at]]) at++;
    return at;
}

/* A text, or what is there of it, on its way through one tree. */
struct cutting {
    const struct tokenizer *t;
    const struct special_tree *tree;
    const char *text;
    size_t n;
    bool last;       /* the text ends there                                       */
    bool whole;      /* a match waits for all of the white space that it swallows */
    size_t done, at; /* text[0..done) is cut; the search goes on from `at`        */
    bool swallows;   /* the last match swallows what white space follows `done`   */
};

/* The special that begins at c->at and, in `len`, its bytes, as far as that can be said; `wait`: it
 * depends on what follows. */
static uint32_t find(const struct cutting *c, size_t *len, bool *wait) {
    bool open;
    uint32_t found = match(c->tree, c->text, c->at, c->n, len, &open);
    bool ends = c->at + *len == c->n;
    *wait = open && !c->last;
    if (found == TOKENIZER_NO_ID || *wait) return found;
    const struct special *s = &c->t->specials[found];
    size_t behind = c->at + *len;
    if (s->rstrip && c->whole) ends = spaces_after(c->text, behind, c->n) == c->n;
    *wait = ends && !c->last && (s->single_word || (s->rstrip && c->whole));
    return found;
}

/* A match at text[from..to): what it takes of it, and what stands before it, go out. */
static int take(struct cutting *c, const struct special *s, size_t from, size_t to,
                struct segments *out, struct err *err) {
    int rc = 0;
    if (c->tree->special_is_text && s->special) return 0;
    if (s->single_word && word_around(c->text, 0, from, to, c->n)) return 0;
    if (s->lstrip) {
        from = spaces_before(c->text, 0, from);
        if (from < c->done) from = c->done;
    }
    if (s->rstrip) to = spaces_after(c->text, to, c->n);
    if (from >= to) return 0; /* one of blanks, all of which the match before swallowed */
    if (c->done < from) rc = push(out, c->done, from, TOKENIZER_NO_ID, err);
    if (rc >= 0) rc = push(out, from, to, s->id, err);
    c->done = to;
    c->swallows = s->rstrip && to == c->n && !c->last;
    return rc;
}

/* Cuts as far as is certain. */
static int cut(struct cutting *c, struct segments *out, struct err *err) {
    int rc = 0;
    out->n = 0;
    if (c->swallows) {
        c->done = spaces_after(c->text, c->done, c->n);
        c->swallows = c->done == c->n && !c->last;
    }
    while (c->tree->n && c->at < c->n && rc >= 0) {
        size_t len;
        bool wait = false;
        c->at = next_place(c->tree, c->text, c->at, c->n);
        uint32_t found = c->at < c->n ? find(c, &len, &wait) : TOKENIZER_NO_ID;
        if (wait || c->at == c->n) break;
        if (found == TOKENIZER_NO_ID) {
            c->at++;
            continue;
        }
        size_t from = c->at;
        c->at += len;
        rc = take(c, &c->t->specials[found], from, c->at, out, err);
    }
    return rc;
}

int specials_cut(const struct tokenizer *t, const struct special_tree *tree, const char *text,
                 size_t n, struct segments *out, struct err *err) {
    struct cutting c = {.t = t, .tree = tree, .text = text, .n = n, .last = true};
    int rc = cut(&c, out, err);
    return rc < 0 || c.done >= n ? rc : push(out, c.done, n, TOKENIZER_NO_ID, err);
}

/* ------------------------------------------------------------------ cutting what comes in parts */

enum { BEHIND = 4 }; /* bytes of the character before a place */

int special_stream_add(struct special_stream *s, const struct tokenizer *t,
                       const struct special_tree *tree, const char *v, size_t n, bool last,
                       struct err *err) {
    int rc = buf_append(&s->text, v, n, err);
    if (rc < 0) return rc;
    struct cutting c = {.t = t,
                        .tree = tree,
                        .text = s->text.v,
                        .n = last ? s->text.n : decode_whole(s->text.v, s->text.n),
                        .last = last,
                        .whole = s->whole,
                        .done = s->done,
                        .at = s->at,
                        .swallows = s->swallows};
    rc = cut(&c, &s->found, err);
    if (c.at > s->at) { /* white space before a match may be the match's */
        size_t spaces = spaces_before(c.text, s->at, c.at);
        if (spaces > s->at) s->spaces = spaces;
    }
    s->at = c.at;
    s->done = c.done;
    s->swallows = c.swallows;
    size_t to = last ? c.n : s->lstrip ? s->spaces : c.at;
    if (rc < 0 || c.done >= to) return rc;
    s->done = to;
    return push(&s->found, c.done, to, TOKENIZER_NO_ID, err);
}

size_t special_stream_take(struct special_stream *s) {
    size_t gone = s->done < s->at ? s->done : s->at;
    gone -= gone < BEHIND ? gone : BEHIND;
    s->found.n = 0;
    s->text.n -= gone;
    if (gone) memmove(s->text.v, s->text.v + gone, s->text.n);
    s->done -= gone;
    s->at -= gone;
    s->spaces -= s->spaces < gone ? s->spaces : gone;
    return gone;
}

void special_stream_begin(struct special_stream *s) {
    s->text.n = s->done = s->at = s->spaces = s->found.n = 0;
    s->swallows = false;
}

void special_stream_release(struct special_stream *s) {
    buf_release(&s->text);
    free(s->found.v);
}

int specials_refuse(const struct tokenizer *t, const struct special_tree *allowed, const char *text,
                    size_t n, uint64_t from, bool last, size_t *ret_n, struct err *err) {
    *ret_n = n;
    for (size_t at = 0; at < n; at++)
        for (int k = 0; k < 2; k++) {
            size_t len, allowed_len;
            bool open;
            if (!t->tree[k].first[(uint8_t)text[at]]) continue;
            uint32_t found = match(&t->tree[k], text, at, n, &len, &open);
            if (open && !last) {
                *ret_n = at;
                return 0;
            }
            if (found == TOKENIZER_NO_ID || !t->specials[found].special) continue;
            if (allowed && special_tree_match(&allowed[k], text, at, n, &allowed_len) == found)
                continue;
            err_set(err, ERR_DATA, "byte %llu: the text holds the special token %.60s",
                    (unsigned long long)(from + at), t->specials[found].text);
            err_place(err, 0, 0, from + at);
            return err_hint(err, "allow it, or take it as ordinary text");
        }
    return 0;
}

/* ------------------------------------------------------------------ what was found, as a token */

static const struct special *find_special(const struct tokenizer *t, uint32_t id) {
    uint32_t low = 0, high = id < t->n && t->kind[id] & TOKEN_SPECIAL ? t->n_specials : 0;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (t->specials[mid].id == id) return &t->specials[mid];
        if (t->specials[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* The text of `s` in form C between the blanks that it swallowed. The place itself is no help:
 * that of "e\u0301" is the e's alone. */
static int spell_formed(const struct tokenizer *t, const struct special *s, const char *text,
                        size_t n, struct buf *out, struct err *err) {
    size_t len = strlen(s->text), own = spaces_after(s->text, 0, len), lead = 0, tail = 0, gone = 0;
    if (own == len) return nfc_write(t->nfc, text, n, out, NULL, err); /* nothing but blanks */
    if (s->lstrip) lead = spaces_after(text, 0, n);
    if (s->lstrip && own > lead) gone = own - lead;
    lead = lead > own ? lead - own : 0;
    own = len - spaces_before(s->text, 0, len);
    if (s->rstrip) tail = n - spaces_before(text, lead, n);
    tail = tail > own ? tail - own : 0;
    int rc = nfc_write(t->nfc, text, lead, out, NULL, err);
    if (rc >= 0) rc = nfc_write(t->nfc, s->text + gone, len - gone, out, NULL, err);
    return rc < 0 ? rc : nfc_write(t->nfc, text + n - tail, tail, out, NULL, err);
}

int tokenizer_spell_found(const struct tokenizer *t, uint32_t id, const char *text, size_t n,
                          struct buf *out, struct err *err) {
    const struct special *s = find_special(t, id);
    if (s && s->normalized && t->nfc) return spell_formed(t, s, text, n, out, err);
    return s && (s->lstrip || s->rstrip) ? buf_append(out, text, n, err)
                                         : tokenizer_spell(t, id, out, err);
}
