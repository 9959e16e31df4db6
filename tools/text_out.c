/* See text_out.h. */
#include "tools/text_out.h"

#include <string.h>
#include "tokenizer/tokenizer.h"

/* What a terminal sees of the character at p, or NULL: itself. */
static const char *harmless(const unsigned char *p, size_t left, char room[3]) {
    bool low = p[0] < 0x20 && p[0] != '\n' && p[0] != '\t';
    if (left > 1 && p[0] == 0xC2 && p[1] < 0xA0) return "\xEF\xBF\xBD";
    if (!low && p[0] != 0x7F) return NULL;
    snprintf(room, 3, "^%c", p[0] ^ 0x40);
    return room;
}

static void write_harmless(const char *v, size_t n, FILE *to) {
    const unsigned char *p = (const unsigned char *)v;
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        char room[3];
        const char *instead = harmless(p + i, n - i, room);
        if (!instead) continue;
        fwrite(v + done, 1, i - done, to);
        fputs(instead, to);
        i += p[i] == 0xC2; /* two bytes */
        done = i + 1;
    }
    fwrite(v + done, 1, n - done, to);
}

/* The first n bytes held. */
static int write_held(struct text_out *t, size_t n, struct err *err) {
    const char *v;
    size_t clean_n;
    if (!n) return 0;
    int rc = tokenizer_valid(t->held.v, n, TOKENIZER_INVALID_REPLACE, &t->clean, &v, &clean_n, err);
    if (rc < 0) return rc;
    if (t->terminal)
        write_harmless(v, clean_n, t->to);
    else
        fwrite(v, 1, clean_n, t->to);
    t->held.n -= n;
    memmove(t->held.v, t->held.v + n, t->held.n);
    return 0;
}

int text_out_add(struct text_out *t, const char *v, size_t n, struct err *err) {
    if (!n) return 0;
    int rc = buf_append(&t->held, v, n, err);
    return rc < 0 ? rc : write_held(t, decode_whole(t->held.v, t->held.n), err);
}

int text_out_end(struct text_out *t, struct err *err) {
    return write_held(t, t->held.n, err);
}

void text_out_release(struct text_out *t) {
    buf_release(&t->held);
    buf_release(&t->clean);
}
