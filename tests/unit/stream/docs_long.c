/* JSON records longer than a part: their texts come in slices, and are the texts that they are in
 * one piece; a record that is broken is broken before anything of it came. */
#include "docs_help.h"
#include <stdatomic.h>
#include "base/json.h"
#include "stream/minhash.h"
#include "stream/source.h"

struct seen {
    struct buf text;        /* "line:text\n" of every document */
    uint64_t slices, whole; /* documents that were parts; those that were not */
    bool within, followed;
    uint64_t followed_ones;
};

static int see_slices(void *ctx, struct batch *b, int thread, struct err *err) {
    struct seen *s = ctx;
    (void)thread, (void)err;
    for (size_t i = 0; i < b->n; i++) {
        const struct doc *d = &b->v[i];
        assert_int_equal(d->continues, s->within);
        assert_int_equal(d->follows, s->followed);
        s->followed = d->followed;
        s->followed_ones += d->followed;
        if (d->continues && !d->follows) {
            char last = s->text.v[s->text.n - 1], letter = last | 0x20;
            assert_true(last == '\n' || (d->text[0] == ' ' && letter >= 'a' && letter <= 'z'));
        }
        if (!d->continues) buf_printf(&s->text, NULL, "%d:", (int)d->line_no);
        buf_append(&s->text, d->text, d->n, NULL);
        if (!d->goes_on) buf_char(&s->text, '\n', NULL);
        s->slices += d->continues || d->goes_on;
        s->whole += !d->continues && !d->goes_on;
        s->within = d->goes_on;
    }
    return 0;
}

static int read_source(const char *source, const struct docs_opts *o, struct seen *s,
                       struct docs_totals *totals, struct err *err) {
    struct source_list list = {0};
    struct docs *d;
    s->text.n = 0;
    s->slices = s->whole = s->followed_ones = 0;
    s->within = s->followed = false;
    err->msg[0] = 0;
    check_ok(source_resolve(&list, source, NULL, NULL, err), err);
    check_ok(docs_open(&d, &list, o, err), err);
    int rc = docs_run(d, o->threads, NULL, see_slices, s, err);
    docs_totals(d, totals);
    docs_close(d, NULL);
    source_list_release(&list);
    return rc;
}

/* Reads the source whole, and in slices in every way: the same texts, counts and failure. Returns
 * the failure; *ret_slices, unless NULL, becomes how many slices there were with the smallest
 * batches. */
static int same_in_slices(const char *source, struct docs_opts o, struct err *err,
                          uint64_t *ret_slices) {
    static const uint64_t batches[] = {64, 300, 1000, 5000};
    struct seen want = {0}, got = {0};
    struct docs_totals wanted, totals;
    struct err again;
    if (!o.spill) o.spill = "/tmp";
    int rc = read_source(source, &o, &want, &wanted, err);
    o.cut_records = true;
    for (int i = 0; i < 12; i++) {
        o.batch_bytes = batches[i % 4];
        o.cut_anywhere = i % 2;
        o.threads = 1 + i / 4;
        int now = read_source(source, &o, &got, &totals, &again);
        if (now != rc || strcmp(again.msg, err->msg))
            fail_msg("batches of %d: %d '%s', not %d '%s'", (int)o.batch_bytes, now, again.msg, rc,
                     err->msg);
        assert_false(got.within);
        if (!o.cut_anywhere) assert_int_equal(got.followed_ones, 0);
        assert_int_equal(got.text.n, want.text.n);
        if (want.text.n) assert_memory_equal(got.text.v, want.text.v, want.text.n);
        assert_int_equal(totals.documents, wanted.documents);
        assert_int_equal(totals.text_bytes, wanted.text_bytes);
        assert_int_equal(totals.bad_records, wanted.bad_records);
        if (i == 0 && ret_slices) *ret_slices = got.slices;
    }
    buf_release(&got.text);
    buf_release(&want.text);
    return rc;
}

/* A long string of all that JSON has: words, escapes of each kind right before blanks, pairs. */
static void add_words(struct buf *b, size_t n, uint64_t seed) {
    static const char *const words[] = {"word",  " ",       " the",         " of",
                                        "\\n",   "\\n ",    "\\t ",         "\\\\ ",
                                        "\\\" ", "\\u00ea", "\\u0061 ",     "\xc3\xa9 ",
                                        "京",    "x",       "\\u4eac ",     "\\ud83d\\ude00",
                                        "\\/",   "  ",      "\\ud83d tail", "A ",
                                        "\\b"};
    struct rng rng = {.key = seed};
    for (size_t end = b->n + n; b->n < end;)
        buf_str(b, words[rng_below(&rng, sizeof words / sizeof *words)], NULL);
}

static const char before[] = "{\"id\": 1, \"text\": \"short\"}\n",
                  after[] = "{\"text\": \"last\"}\n";

/* before, {…"text": LONG…}, after: without the newline behind the long one's brace. */
static void add_long(struct buf *b, uint64_t seed) {
    buf_str(b, before, NULL);
    buf_str(b, "{\"id\": [2, {\"text\": 0}], \"text\": \"", NULL);
    add_words(b, 20000, seed);
    buf_str(b, "\", \"n\": 1}", NULL);
}

static void texts_are_the_same(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err;
    uint64_t slices;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct buf b = {0}, z = {0};
        add_long(&b, seed);
        buf_str(&b, seed % 2 ? "\r\n" : "\n", NULL);
        buf_str(&b, after, NULL);
        add_long(&b, seed + 7);
        add_gzip(&z, b.v, b.n);
        put(*state, "plain.jsonl", b.v, b.n);
        put(*state, "packed.jsonl.gz", z.v, z.n);
        o.field = seed == 2 ? "text" : NULL;
        o.on_error = seed == 3 ? "skip" : "stop";
        o.any_order = false;
        check_ok(same_in_slices(*state, o, &err, &slices), &err);
        assert_true(slices > 100);
        buf_release(&b);
        buf_release(&z);
    }
}

/* The first record of all is a long one: its own members tell the field. */
static void the_field_of_a_long_record(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err;
    struct buf b = {0};
    uint64_t slices;
    buf_str(&b, "\xef\xbb\xbf{\"title\": \"", NULL);
    add_words(&b, 3000, 1);
    buf_str(&b, "\", \"content\": \"", NULL);
    add_words(&b, 5000, 2);
    buf_str(&b, "\"}\n{\"content\": \"x\"}\n{\"content\": \"\", \"filler\": \"", NULL);
    add_words(&b, 9000, 3);
    buf_str(&b, "\"}", NULL);
    put(*state, "f.jsonl", b.v, b.n);
    check_ok(same_in_slices(*state, o, &err, &slices), &err);
    assert_true(slices > 20 && slices < 100);
    o.field = "title";
    assert_int_equal(same_in_slices(*state, o, &err, NULL), ERR_DATA);
    assert_non_null(strstr(err.msg, "f.jsonl:2:1: no string field \"title\""));
    o.field = "nothing";
    assert_int_equal(same_in_slices(*state, o, &err, NULL), ERR_DATA);
    assert_non_null(strstr(err.msg, "f.jsonl:1:1: no string field \"nothing\" (record has title"));
    buf_release(&b);
}

static void texts_without_a_place_to_cut(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err;
    struct buf b = {0};
    buf_str(&b, "{\"text\": \"", NULL);
    for (int i = 0; i < 3000; i++) buf_str(&b, i < 2000 ? "\\u4eac" : "\\n ", NULL);
    buf_str(&b, " the end of it\"}\n", NULL);
    for (int i = 0; i < 30000; i++) buf_char(&b, ' ', NULL);
    buf_str(&b, "\n\n{\"text\": \"a\"}", NULL);
    put(*state, "f.jsonl", b.v, b.n);
    check_ok(same_in_slices(*state, o, &err, NULL), &err);
    buf_release(&b);
}

/* What is between docs_next() and docs_release(). */
struct alone {
    atomic_int streams[4]; /* of each lane */
    atomic_int seen;
};

static int work_alone(void *ctx, struct batch *b, int thread, struct err *err) {
    struct alone *a = ctx;
    (void)thread, (void)err;
    if (!b->n || !(b->v->follows || b->v->followed)) return 0;
    assert_int_equal(atomic_fetch_add(&a->streams[b->lane], 1), 0);
    atomic_fetch_add(&a->seen, 1);
    return 0;
}

static int write_alone(void *ctx, struct batch *b, int thread, struct err *err) {
    struct alone *a = ctx;
    (void)thread, (void)err;
    if (b->n && (b->v->follows || b->v->followed)) atomic_fetch_sub(&a->streams[b->lane], 1);
    return 0;
}

/* Who encodes parts that begin and end anywhere goes on from the one before. */
static void parts_that_follow_come_one_at_a_time(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err = {0};
    struct buf b = {0};
    o.cut_texts = o.cut_records = o.cut_anywhere = true;
    o.spill = "/tmp";
    o.batch_bytes = 300;
    for (int i = 0; i < 40; i++) {
        buf_str(&b, "{\"text\": \"", NULL);
        for (int k = 0; k < 3000; k++) buf_str(&b, k % 1000 ? "\\u4eac" : "one two", NULL);
        buf_str(&b, "\"}\n", NULL);
        if (i % 2) put(*state, i % 4 == 1 ? "a.jsonl" : "b.txt", b.v, b.n);
        if (i % 2) b.n = 0;
    }
    for (int i = 0; i < 12; i++) {
        struct source_list list = {0};
        struct alone a = {0};
        struct docs *d;
        const struct docs_made made = {.bytes = 8};
        o.threads = 1 + i % 4;
        o.any_order = i >= 8;
        check_ok(source_resolve(&list, *state, NULL, NULL, &err), &err);
        check_ok(docs_open(&d, &list, &o, &err), &err);
        int rc = i < 4 ? docs_run(d, o.threads, work_alone, write_alone, &a, &err)
                       : docs_run_ahead(d, o.threads, work_alone, write_alone, &made, &a, &err);
        check_ok(rc, &err);
        assert_true(a.seen > 100);
        docs_close(d, NULL);
        source_list_release(&list);
    }
    buf_release(&b);
}

/* Longer than what is read at once (1 MiB), with an escape, a pair, half a pair or a character at
 * each place of its end. */
static void escapes_across_what_is_read_at_once(void **state) {
    static const char *const bits[] = {
        "\\ud83d\\ude00", "\\ud83d",          "\\u4eac",          "\\\\",
        "\\\\ud83d",      "\xf0\x9f\x98\x80", "\\nx\xef\xbf\xbd", "\\ufffd"};
    struct docs_opts o = docs_defaults;
    struct seen want = {0}, got = {0};
    struct docs_totals totals;
    struct err err;
    o.batch_bytes = 5000;
    o.spill = *state;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        for (size_t shift = 0; shift < strlen(bits[i]); shift++) {
            struct buf b = {0};
            buf_str(&b, "{\"text\": \"", NULL);
            for (size_t k = 0; k < shift; k++) buf_char(&b, 'x', NULL);
            while (b.n < (1 << 20) + 200) buf_str(&b, bits[i], NULL);
            buf_str(&b, "\"}\n", NULL);
            put(*state, "f.jsonl", b.v, b.n);
            o.cut_records = false;
            check_ok(read_source(*state, &o, &want, &totals, &err), &err);
            o.cut_records = true;
            check_ok(read_source(*state, &o, &got, &totals, &err), &err);
            assert_int_equal(got.text.n, want.text.n);
            assert_memory_equal(got.text.v, want.text.v, want.text.n);
            buf_release(&b);
        }
    }
    buf_release(&want.text);
    buf_release(&got.text);
}

/* One thing is wrong, at the end of a long record or behind it. Its place is told as without
 * slices, and what was seen is what comes before the record. */
static void broken_at_the_end(void **state) {
    static const struct {
        const char *end, *what;
    } bad[] = {{"\", \"n\": 1", "the record ends too early"},
               {"", "the record ends within a string"},
               {"\xff\"}", "not UTF-8"},
               {"\\x\"}", "unknown escape"},
               {"\\u12", "unknown escape"},
               {"\t\"}", "control character"},
               {"\", \"text\": \"twice\"}", "twice"},
               {"\"} {}", "something follows"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct docs_opts o = docs_defaults;
        struct buf b = {0};
        struct err err;
        struct seen s = {0};
        struct docs_totals totals;
        buf_str(&b, before, NULL);
        buf_str(&b, "{\"text\": \"", NULL);
        add_words(&b, 20000, i);
        buf_str(&b, bad[i].end, NULL);
        if (i % 2) buf_printf(&b, NULL, "\n%s", after);
        put(*state, "f.jsonl", b.v, b.n);
        assert_int_equal(same_in_slices(*state, o, &err, NULL), ERR_DATA);
        assert_non_null(strstr(err.msg, "f.jsonl:2:"));
        assert_non_null(strstr(err.msg, bad[i].what));
        o.cut_records = true;
        o.batch_bytes = 100;
        o.spill = "/tmp";
        read_source(*state, &o, &s, &totals, &err);
        assert_string_equal(buf_cstr(&s.text), "1:short\n");
        o.on_error = "skip";
        check_ok(same_in_slices(*state, o, &err, NULL), &err);
        buf_release(&s.text);
        buf_release(&b);
    }
}

/* The file breaks off within the record. */
static void a_truncated_file(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0}, z = {0};
    struct err err;
    add_long(&b, 5);
    add_gzip(&z, b.v, b.n);
    put(*state, "f.jsonl.gz", z.v, z.n - z.n / 3);
    assert_int_equal(same_in_slices(*state, o, &err, NULL), ERR_DATA);
    assert_non_null(strstr(err.msg, "truncated"));
    buf_release(&b);
    buf_release(&z);
}

static void a_bound_that_was_asked_for(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0};
    struct err err;
    add_long(&b, 6);
    buf_printf(&b, NULL, "\n%s", after);
    put(*state, "f.jsonl", b.v, b.n);
    o.max_record = 10000;
    assert_int_equal(same_in_slices(*state, o, &err, NULL), ERR_DATA);
    assert_non_null(strstr(err.msg, "f.jsonl:2:1: the record is longer than 10000 bytes"));
    o.on_error = "skip";
    check_ok(same_in_slices(*state, o, &err, NULL), &err);
    buf_release(&b);
}

static void hear(void *ctx, enum log_level level, const char *text) {
    if (level == LOG_WARN && strstr(text, "held in memory")) ++*(int *)ctx;
}

/* Nowhere to put a scratch file: records are held in memory, as they were without slices. */
static void without_a_scratch_folder(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0};
    struct err err;
    uint64_t slices;
    int told = 0;
    struct log log = {.line = hear, .ctx = &told};
    add_long(&b, 6);
    put(*state, "f.jsonl", b.v, b.n);
    o.spill = in(*state, "nowhere");
    o.log = &log;
    check_ok(same_in_slices(in(*state, "f.jsonl"), o, &err, &slices), &err);
    assert_int_equal(slices, 0);
    assert_int_equal(told, 12); /* once a file */
    buf_release(&b);
}

/* What every step that writes records does with one, by its line alone. */
struct lines {
    struct buf lines, texts;
    uint64_t far, bytes;
};

static int see_lines(void *ctx, struct batch *b, int thread, struct err *err) {
    struct lines *s = ctx;
    int rc = 0;
    (void)thread;
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        const struct doc *d = &b->v[i];
        size_t from = s->texts.n;
        s->bytes += d->n;
        s->far += d->far != NULL;
        buf_printf(&s->lines, NULL, "%d:", (int)d->line_no);
        if (d->far) {
            assert_null(d->text);
            assert_false(d->continues || d->goes_on);
            rc = docs_far_line(d, see_bytes, &s->lines, err);
            if (rc == 0) rc = docs_far_text(d, see_bytes, &s->texts, err);
            assert_int_equal(s->texts.n - from, d->n);
        } else {
            if (!d->line) buf_str(&s->lines, "{\"text\": ", NULL);
            rc = d->line ? buf_append(&s->lines, d->line, d->line_n, err)
                         : json_quote(&s->lines, d->text, d->n, err);
            if (!d->line) buf_char(&s->lines, '}', NULL);
            if (rc == 0) rc = buf_append(&s->texts, d->text, d->n, err);
        }
        buf_char(&s->lines, '\n', NULL);
        buf_char(&s->texts, '\n', NULL);
    }
    return rc;
}

static int read_lines(const char *source, const struct docs_opts *o, struct lines *s,
                      struct docs_totals *totals, struct err *err) {
    struct source_list list = {0};
    struct docs *d;
    s->lines.n = s->texts.n = 0;
    s->far = s->bytes = 0;
    err->msg[0] = 0;
    check_ok(source_resolve(&list, source, NULL, NULL, err), err);
    check_ok(docs_open(&d, &list, o, err), err);
    int rc = docs_run(d, o->threads, NULL, see_lines, s, err);
    docs_totals(d, totals);
    docs_close(d, NULL);
    source_list_release(&list);
    return rc;
}

/* Reads the source as it is held, and as it stays far: the same lines, texts, counts, failure. */
static int same_far(const char *source, struct docs_opts o, struct err *err, uint64_t *ret_far) {
    struct lines want = {0}, got = {0};
    struct docs_totals wanted, totals;
    struct err again;
    o.spill = "/tmp";
    int rc = read_lines(source, &o, &want, &wanted, err);
    docs_stay_far(&o);
    for (int i = 0; i < 8; i++) {
        o.batch_bytes = (uint64_t[]){64, 300, 1000, 5000}[i % 4];
        o.cut_anywhere = i % 2;
        o.threads = 1 + i / 4;
        assert_int_equal(read_lines(source, &o, &got, &totals, &again), rc);
        assert_string_equal(again.msg, err->msg);
        assert_int_equal(got.lines.n, want.lines.n);
        if (want.lines.n) assert_memory_equal(got.lines.v, want.lines.v, want.lines.n);
        assert_int_equal(got.texts.n, want.texts.n);
        if (want.texts.n) assert_memory_equal(got.texts.v, want.texts.v, want.texts.n);
        assert_int_equal(got.bytes, want.bytes);
        assert_int_equal(totals.documents, wanted.documents);
        assert_int_equal(totals.text_bytes, wanted.text_bytes);
        assert_int_equal(totals.bad_records, wanted.bad_records);
        if (i == 0) *ret_far = got.far;
    }
    buf_release(&want.lines);
    buf_release(&want.texts);
    buf_release(&got.lines);
    buf_release(&got.texts);
    return rc;
}

/* Three long records and a text, with a byte order mark, CR, blanks around. */
static void put_far(const char *dir) {
    struct buf b = {0};
    buf_str(&b, "\xef\xbb\xbf  {\"text\": \"", NULL);
    add_words(&b, 7000, 1);
    buf_str(&b, "\" } \r\n", NULL);
    add_long(&b, 2);
    buf_printf(&b, NULL, "\r\n%s", after);
    add_long(&b, 3);
    put(dir, "a.jsonl", b.v, b.n);
    b.n = 0;
    for (int i = 0; i < 3000; i++) buf_printf(&b, NULL, "w\xc3\xb6rd \"%d\"\t\\\n", i);
    put(dir, "b.txt", b.v, b.n);
    buf_release(&b);
}

static void what_stays_far(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err;
    uint64_t far;
    put_far(*state);
    check_ok(same_far(*state, o, &err, &far), &err);
    assert_int_equal(far, 4);
    for (uint64_t skip = 0; skip < 8; skip++)
        for (o.skip = skip, o.take = 0; o.take < 8; o.take++)
            check_ok(same_far(*state, o, &err, &far), &err);
    o.skip = o.take = 0;
    o.max_record = 10000;
    assert_int_equal(same_far(*state, o, &err, &far), ERR_DATA);
    o.on_error = "skip";
    check_ok(same_far(*state, o, &err, &far), &err);
}

/* Each asks for a text or a record in memory. */
static void what_cannot_stay_far(void **state) {
    struct docs_opts o = docs_defaults;
    struct err err;
    uint64_t far;
    put_far(*state);
    o.format = "jsonl";
    const char *source = in(*state, "a.jsonl");
    for (int i = 0; i < 4; i++) {
        struct docs_opts some = o;
        if (i == 0) some.sample = 0.5;
        if (i == 1) assert_int_equal(strs_push(&some.contains, "word", &err), 0);
        if (i == 2) some.shuffle_buffer = 3;
        if (i == 3) some.prompt = "text";
        check_ok(same_far(source, some, &err, &far), &err);
        assert_int_equal(far, 0);
        strs_release(&some.contains);
    }
}

static int see_words(void *ctx, struct batch *b, int thread, struct err *err) {
    struct buf text = {0};
    struct minhasher *one, *other;
    const uint64_t *want, *got;
    size_t want_n, got_n;
    uint64_t want_words, words;
    int *far = ctx;
    (void)thread;
    assert_int_equal(minhasher_new(&one, err), 0);
    assert_int_equal(minhasher_new(&other, err), 0);
    for (size_t i = 0; i < b->n; i++, ++*far) {
        const struct doc *d = &b->v[i];
        assert_non_null(d->far);
        text.n = 0;
        assert_int_equal(docs_far_text(d, see_bytes, &text, err), 0);
        assert_int_equal(minhash_words(one, text.v, text.n, &want, &want_n, &want_words, err), 0);
        assert_int_equal(minhash_doc(other, d, &got, &got_n, &words, err), 0);
        assert_int_equal(words, want_words);
        assert_int_equal(got_n, want_n);
        assert_memory_equal(got, want, want_n * sizeof *want);
    }
    minhasher_free(one);
    minhasher_free(other);
    buf_release(&text);
    return 0;
}

/* They lie across what is read at once (1 MiB), or end there, or are longer. */
static void words_of_what_stays_far(void **state) {
    struct docs_opts o = docs_defaults;
    struct source_list list = {0};
    struct docs *d;
    struct buf b = {0};
    struct err err = {0};
    int far = 0;
    for (int i = 0; b.n < 3 << 20; i++) buf_printf(&b, NULL, "w%d+", i);
    put(*state, "a.txt", b.v, b.n);
    for (size_t i = 0; i < b.n; i++) b.v[i] = i % (1 << 20) ? 'x' : ' ';
    put(*state, "b.txt", b.v, b.n);
    memset(b.v, 'y', b.n);
    put(*state, "c.txt", b.v, b.n);
    docs_stay_far(&o);
    o.batch_bytes = 1000;
    o.spill = "/tmp";
    check_ok(source_resolve(&list, *state, NULL, NULL, &err), &err);
    check_ok(docs_open(&d, &list, &o, &err), &err);
    check_ok(docs_run(d, 1, NULL, see_words, &far, &err), &err);
    assert_int_equal(far, 3);
    docs_close(d, NULL);
    source_list_release(&list);
    buf_release(&b);
}

static void a_bad_byte_of_what_stays_far(void **state) {
    struct docs_opts o = docs_defaults;
    struct buf b = {0};
    struct err err;
    uint64_t far;
    for (int i = 0; i < 3000; i++) buf_printf(&b, NULL, "line %d\n", i);
    buf_str(&b, "one \xff two", NULL);
    put(*state, "b.txt", b.v, b.n);
    assert_int_equal(same_far(*state, o, &err, &far), ERR_DATA);
    assert_non_null(strstr(err.msg, "b.txt:3001:5: not UTF-8"));
    b.n = 0;
    add_long(&b, 5);
    buf_str(&b, "}\n", NULL);
    put(*state, "a.jsonl", b.v, b.n);
    assert_int_equal(same_far(in(*state, "a.jsonl"), o, &err, &far), ERR_DATA);
    buf_release(&b);
}

#define in_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        in_folder(texts_are_the_same),
        in_folder(the_field_of_a_long_record),
        in_folder(texts_without_a_place_to_cut),
        in_folder(parts_that_follow_come_one_at_a_time),
        in_folder(escapes_across_what_is_read_at_once),
        in_folder(broken_at_the_end),
        in_folder(a_truncated_file),
        in_folder(a_bound_that_was_asked_for),
        in_folder(without_a_scratch_folder),
        in_folder(what_stays_far),
        in_folder(what_cannot_stay_far),
        in_folder(a_bad_byte_of_what_stays_far),
        in_folder(words_of_what_stays_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
