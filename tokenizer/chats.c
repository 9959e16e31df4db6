/* Chat templates in files of their own, as transformers 5 writes them (and 4 from 4.43 on):
 *
 *   chat_template.jinja                      the one called "default"
 *   additional_chat_templates/NAME.jinja     others: "tool_use", "rag"
 *
 * Where one of them is there, the "chat_template" of tokenizer_config.json does not count. They are
 * kept as they were and written again. */
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "tokenizer/vocab.h"

static int load(const char *folder, const char *name, char **ret, struct err *err) {
    char *path = path_join(folder, name);
    int rc = path ? config_text(path, ret, err) : err_nomem(err, strlen(folder));
    free(path);
    return rc;
}

static int load_more(struct config *c, const char *folder, struct err *err) {
    struct strs names = {0};
    int rc = file_list(folder, &names, err);
    for (size_t i = 0; rc >= 0 && i < names.n; i++) {
        char *text = NULL;
        if (!path_ends(names.v[i], ".jinja")) continue;
        rc = load(folder, names.v[i], &text, err);
        if (rc >= 0 && text) rc = strs_push(&c->chat_names, names.v[i], err);
        if (rc >= 0 && text) rc = strs_push(&c->chats, text, err);
        free(text);
    }
    strs_release(&names);
    return rc;
}

int chats_read(struct config *c, const char *folder, struct err *err) {
    char *more = path_join(folder, CHATS_FOLDER);
    int rc = more ? load(folder, CHAT_FILE, &c->chat, err) : err_nomem(err, strlen(folder));
    if (rc >= 0 && file_kind(more) == FILE_FOLDER) rc = load_more(c, more, err);
    free(more);
    return rc;
}

/* As transformers: a default.jinja among the others wins over the file on top. */
void chats_settle(struct config *c) {
    if (c->chat || c->chats.n) c->said.chat_template = c->chat ? c->chat : c->chats.v[0];
    for (size_t i = 0; i < c->chats.n; i++)
        if (!strcmp(c->chat_names.v[i], "default.jinja")) c->said.chat_template = c->chats.v[i];
}

int chats_like(struct config *c, const struct config *like, struct err *err) {
    if (like->chat && !(c->chat = strdup(like->chat))) return err_nomem(err, strlen(like->chat));
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < like->chats.n; i++) {
        rc = strs_push(&c->chat_names, like->chat_names.v[i], err);
        if (rc >= 0) rc = strs_push(&c->chats, like->chats.v[i], err);
    }
    return rc;
}

static int put(const char *dir, const char *name, const char *text, struct err *err) {
    char *path = path_join(dir, name);
    int rc = path ? file_write(path, text, strlen(text), err) : err_nomem(err, strlen(dir));
    free(path);
    return rc;
}

static bool has_name(const struct config *c, const char *name) {
    for (size_t i = 0; i < c->chat_names.n; i++)
        if (!strcmp(c->chat_names.v[i], name)) return true;
    return false;
}

/* Templates of another tokenizer; what else lies there stays. */
static int drop_others(const struct config *c, const char *more, struct err *err) {
    struct strs names = {0};
    int rc = file_list(more, &names, err);
    for (size_t i = 0; rc >= 0 && i < names.n; i++)
        if (path_ends(names.v[i], ".jinja") && !has_name(c, names.v[i]))
            rc = vocab_drop_file(more, names.v[i], err);
    strs_release(&names);
    if (rc >= 0 && !c->chats.n) rmdir(more); /* if it is empty now */
    return rc;
}

int chats_write_more(const struct config *c, const char *dir, struct err *err) {
    char *more = path_join(dir, CHATS_FOLDER);
    int rc = more ? 0 : err_nomem(err, strlen(dir));
    bool there = rc >= 0 && file_kind(more) == FILE_FOLDER;
    if (there) rc = file_sweep(more, err); /* of a run that was killed */
    if (rc >= 0 && c->chats.n) rc = file_mkdirs(more, err);
    for (size_t i = 0; rc >= 0 && i < c->chats.n; i++)
        rc = put(more, c->chat_names.v[i], c->chats.v[i], err);
    if (rc >= 0 && there) rc = drop_others(c, more, err);
    free(more);
    return rc;
}

int chats_write(const struct config *c, const char *dir, struct err *err) {
    int rc = c->chat ? put(dir, CHAT_FILE, c->chat, err) : vocab_drop_file(dir, CHAT_FILE, err);
    return rc < 0 ? rc : chats_write_more(c, dir, err);
}

void chats_release(struct config *c) {
    free(c->chat);
    strs_release(&c->chat_names);
    strs_release(&c->chats);
}
