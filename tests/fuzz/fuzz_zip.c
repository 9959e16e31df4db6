/* A ZIP archive: its members listed and unpacked. */
#include "stream/archive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct source_list list = {0};
    struct err err = {0};
    char path[512];
    fuzz_put("fuzz.zip", data, n);
    snprintf(path, sizeof path, "%s/fuzz.zip", fuzz_folder());
    int rc = zip_members(&list, path, path, NULL, &err);
    fuzz_told(rc, &err);
    for (size_t i = 0; rc == 0 && i < list.n && i < 20; i++) {
        struct codec *c = NULL;
        struct feed feed;
        struct buf out = {0};
        struct err bad = {0};
        FUZZ_CHECK(!strstr(list.v[i].name, "/../"), "%s", list.v[i].name);
        int one = zip_feed(&list.v[i], NULL, &feed, &bad);
        if (one == 0) one = codec_open_feed(&c, list.v[i].name, feed, &bad);
        if (one == 0) one = memory_unpack(c, 1 << 16, &out, &bad);
        fuzz_told(one, &bad);
        codec_close(c);
        buf_release(&out);
    }
    source_list_release(&list);
    return 0;
}
