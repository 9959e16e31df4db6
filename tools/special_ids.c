/* Special ids of a tokenizer: see special_ids.h. */
#include "tools/special_ids.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "tokenizer/tokenizer.h"

/* The configuration in the folder; NULL if there is none. */
static int load(cJSON **ret, char **ret_path, const char *dir, struct err *err) {
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(dir, names[i]);
        if (!path) return err_nomem(err, strlen(dir));
        if (file_kind(path) == FILE_REGULAR) {
            *ret_path = path;
            return json_load(ret, path, err);
        }
        free(path);
    }
    return 0;
}

/* A token stands as its text, or as an object with its "content". */
static int take(const struct tokenizer *t, const cJSON *config, const char *key, int64_t *id,
                const char *path, struct err *err) {
    const cJSON *x = json_get(config, key);
    if (cJSON_IsObject(x)) x = json_get(x, "content");
    if (!x) return 0;
    *id = -1;
    if (cJSON_IsNull(x)) return 0;
    if (!cJSON_IsString(x)) return err_set(err, ERR_CORRUPT, "%s: \"%s\" is no text", path, key);
    uint32_t found = tokenizer_named(t, x->valuestring);
    if (found == TOKENIZER_NO_ID)
        return err_set(err, ERR_CORRUPT, "%s: \"%s\" is %s, which the tokenizer does not have",
                       path, key, x->valuestring);
    *id = found;
    return 0;
}

int special_ids(const char *dir, int64_t *bos, int64_t *eos, int64_t *pad,
                char ret_digest[SHA256_HEX], struct err *err) {
    struct tokenizer *t = NULL;
    cJSON *config = NULL;
    char *path = NULL;
    int rc = tokenizer_open(&t, dir, NULL, err);
    if (rc == 0) rc = tokenizer_digest(t, ret_digest, err);
    if (rc == 0) rc = load(&config, &path, dir, err);
    if (rc == 0 && config) rc = take(t, config, "bos_token", bos, path, err);
    if (rc == 0 && config) rc = take(t, config, "eos_token", eos, path, err);
    if (rc == 0 && config) rc = take(t, config, "pad_token", pad, path, err);
    cJSON_Delete(config);
    tokenizer_free(t);
    free(path);
    return rc;
}
