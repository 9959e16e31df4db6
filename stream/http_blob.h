/* An address as bytes to be read from anywhere: Range requests, as few as the order of reading
 * allows. Apart from http.h, since most who fetch do not need it. */
#ifndef LORY_STREAM_HTTP_BLOB_H
#define LORY_STREAM_HTTP_BLOB_H

#include "stream/blob.h"
#include "stream/http.h"

/* Asks for the length at once. `mark`: what http_mark() said, or NULL. ERR_NET if the server does
 * not say the length, or (later) sends no ranges, or those of a file with another length or
 * mark. */
int http_blob(struct http *h, const char *url, const char *mark, struct blob *ret, struct err *err);

#endif
