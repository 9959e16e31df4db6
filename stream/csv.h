/* CSV and TSV as RFC 4180 has them: a header, then rows; quoted fields may hold the separator,
 * newlines and doubled quotes; lines end with LF or CRLF; a BOM and blank lines are passed over.
 * Every value becomes a string, as it stands.
 *
 * A row with another number of fields than the header, or text behind a closing quote, is a bad row
 * (rows.h). A quote that is never closed is ERR_DATA with its line. */
#ifndef LORY_STREAM_CSV_H
#define LORY_STREAM_CSV_H

#include "stream/codec.h"

/* Rows of the text that `text` gives; closes it, also on failure. A row of more than `max` bytes is
 * ERR_DATA: a quote was not closed, most likely. */
int csv_codec(struct codec **ret, const char *name, struct codec *text, char separator,
              uint64_t max, struct err *err);

#endif
