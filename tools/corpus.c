/* corpus: looks at text corpora and writes them anew. The subcommands are in corpus_NAME.c. */
#include "tools/corpus.h"

#include "base/json.h"
#include "base/signals.h"
#include "tools/common.h"

int corpus_tell(const struct docs *d, const struct log *log, const char *stage, struct err *err) {
    struct docs_totals now;
    docs_totals(d, &now);
    log_progress(log, &(struct progress){stage, now.stored_bytes, now.stored_total, "B", NULL});
    return signals_stop() ? err_set(err, ERR_STOPPED, "interrupted") : 0;
}

int corpus_record(const struct doc *doc, struct buf *room, const char **ret, size_t *ret_n,
                  struct err *err) {
    *ret = doc->line;
    *ret_n = doc->line_n;
    if (doc->line) return 0;
    room->n = 0;
    int rc = buf_str(room, "{\"text\": ", err);
    if (rc == 0) rc = json_quote(room, doc->text, doc->n, err);
    if (rc == 0) rc = buf_char(room, '}', err);
    *ret = room->v;
    *ret_n = room->n;
    return rc;
}

int corpus_put(void *records, const char *v, size_t n, struct err *err) {
    return records_put(records, v, n, err);
}

int corpus_write(struct records *to, const struct doc *doc, struct buf *room, struct err *err) {
    const char *line;
    size_t n;
    if (doc->far) {
        int rc = docs_far_line(doc, corpus_put, to, err);
        return rc < 0 ? rc : records_end(to, err);
    }
    int rc = corpus_record(doc, room, &line, &n, err);
    return rc < 0 ? rc : records_add(to, line, n, err);
}

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"cat", "write the records of a corpus", corpus_cat},
        {"clean", "leave out what is not worth training on", corpus_clean},
        {"dedup", "leave out copies, exact and near", corpus_dedup},
        {"stats", "count documents, bytes and bad records", corpus_stats},
        {"split", "part a corpus into train, validation and the like", corpus_split},
        {"tokenize", "add a column of token ids", corpus_tokenize},
        {"info", "splits, columns, types, one record", corpus_info},
        {"pack", "make a corpus of source files", corpus_pack},
        {0}};
    static const struct family family = {"corpus", "looks at text corpora and writes them anew",
                                         subs, NULL};
    return tool_dispatch(&family, argc, argv);
}
