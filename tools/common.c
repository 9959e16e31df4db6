/* What all programs share: see common.h. */
#include "tools/common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "base/pool.h"
#include "base/signals.h"
#include "base/version.h"
#include "tools/console.h"
#include "tools/outputs.h"

/* Sections that a lory.yaml may have. */
static const char programs[] =
    "corpus|bpe-train|tokenize|fertility|shard|lmtrain|lmgen|lmeval|lmreport|lmhub";

/* A program started with a closed stdin, stdout or stderr would get that number for the next file
 * it opens, and print into it. The stand-in cannot be written, so the loss of results is still
 * noticed. */
static void hold_standard_files(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) return;
}

static bool wants_color(void) {
    const char *no = getenv("NO_COLOR");
    return !(no && *no);
}

/* -- the composed table -- */

static size_t own_count(const struct program *p) {
    size_t n = 0;
    while (p->opts[n].type != OPT_END) n++;
    return n;
}

/* Adds the common option unless the program has its own of that name; its letter unless taken. */
static void add_common(struct opt *table, size_t *n, struct opt o) {
    for (size_t i = 0; i < *n; i++) {
        if (table[i].type == OPT_GROUP) continue;
        if (!strcmp(table[i].name, o.name)) return;
        if (o.letter && table[i].letter == o.letter) o.letter = 0;
    }
    table[(*n)++] = o;
}

static struct opt *compose(struct tool *t, const struct program *p) {
    const struct opt common[] = {
        {"threads", 0, OPT_U64, &t->threads, "N", "threads to use; 0: all processors", .max = 4096},
        {"seed", 0, OPT_U64, &t->seed, "N", "seed of everything random"},
        {"config", 0, OPT_STR, &t->config, "FILE", "read options from a YAML file; flags win"},
        {"json", 0, OPT_FLAG, &t->json, NULL, "print the result as one JSON object"},
        {"quiet", 'q', OPT_FLAG, &t->quiet, NULL, "only warnings and errors on stderr"},
        {"verbose", 'v', OPT_FLAG, &t->verbose, NULL, "say more on stderr"},
        {"help", 'h', OPT_FLAG, &t->help, NULL, "print this and exit", .ends = true},
        {"version", 0, OPT_FLAG, &t->version, NULL, "print the version and exit", .ends = true},
        {"man", 0, OPT_FLAG, &t->man, NULL, "print the manual page (roff) and exit", .ends = true},
        {"completion", 0, OPT_CHOICE, &t->completion, "SHELL", "print a completion script and exit",
         .choices = "bash|zsh|words", .ends = true},
    };
    size_t n = own_count(p), n_common = sizeof common / sizeof *common;
    struct opt *table = mem_array(n + n_common + 2, sizeof *table);
    if (!table) return NULL;
    if (n) memcpy(table, p->opts, n * sizeof *table);
    table[n++] = (struct opt){.name = "Common options", .type = OPT_GROUP};
    for (size_t i = 0; i < n_common; i++) add_common(table, &n, common[i]);
    return table;
}

/* Tells the program's own table what was given. */
static void copy_given(struct tool *t, struct opt *own) {
    for (size_t i = 0; own[i].type != OPT_END; i++) own[i].given = t->program.opts[i].given;
    for (const struct opt *o = t->program.opts; o->type != OPT_END; o++)
        if (o->to == &t->seed) t->seed_given = o->given;
}

static void print_completion(const struct tool *t) {
    if (!strcmp(t->completion, "words")) {
        opt_completion_words(&t->program, stdout);
        return;
    }
    if (!strcmp(t->completion, "zsh"))
        fputs("autoload -Uz compinit bashcompinit && compinit && bashcompinit\n", stdout);
    opt_completion_bash(&t->program, stdout);
}

/* Serves the flags that end everything; false if none was given. */
static bool serve(const struct tool *t) {
    if (t->help)
        opt_help(&t->program, stdout);
    else if (t->version)
        printf("%s (Lory) %s\n", t->program.name, LORY_VERSION);
    else if (t->man)
        opt_man(&t->program, LORY_VERSION, stdout);
    else if (t->completion)
        print_completion(t);
    else
        return false;
    return true;
}

/* A report is a tree of hundreds of calls, each of which may find no memory and leave a member out.
 * So cJSON's memory comes from here, and tool_json_whole() asks once. */
static atomic_bool json_starved;

static void *json_malloc(size_t n) {
    void *p = malloc(n);
    if (!p) json_starved = true;
    return p;
}

/* What --config reads is not written over. */
static int check_config(const struct tool *t, struct err *err) {
    const struct opt *o = opt_find(t->program.opts, "output", strlen("output"));
    const char *output = o && o->type == OPT_STR ? *(char **)o->to : NULL;
    return output && t->config ? output_check(output, t->config, err) : 0;
}

int tool_begin(struct tool *t, const struct program *p, int argc, char **argv) {
    hold_standard_files();
    signals_ignore_pipe();
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = json_malloc, .free_fn = free});
    *t = (struct tool){.seed = 1, .program = *p};
    t->operands = &t->values.operands;
    const char *term = getenv("TERM");
    bool tty = isatty(STDERR_FILENO) && !(term && !strcmp(term, "dumb"));
    t->console = console_new(p->name, &t->quiet, &t->verbose, tty, tty && wants_color());
    t->program.sections = p->sections ? p->sections : programs;
    t->program.opts = compose(t, p);
    if (!t->console || !t->program.opts) return err_nomem(&t->err, sizeof *t);
    t->log = console_log(t->console);
    int rc = opt_parse(&t->program, argc, argv, &t->values, &t->log, &t->err);
    if (rc < 0) return rc;
    copy_given(t, p->opts);
    return serve(t) ? TOOL_DONE : check_config(t, &t->err);
}

/* What became of the output. */
static int flush_stdout(struct err *err) {
    bool failed = ferror(stdout);
    errno = 0;
    if (fflush(stdout) == 0 && !failed) return 0;
    struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool reader_left = errno == EPIPE || (poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR));
    if (reader_left) return err_set(err, ERR_PIPE, "stdout: the reader left");
    if (errno) return err_errno(err, "stdout");
    return err_set(err, ERR_IO, "stdout: not everything could be written");
}

int tool_exit_code(int rc) {
    if (rc >= 0 || rc == ERR_PIPE) return 0;
    if (rc == ERR_STOPPED) return signals_stop() ? 128 + signals_stop() : 130;
    return rc >= ERR_PEER ? -rc : 1;
}

int tool_end(struct tool *t, int rc) {
    struct err flush = {0};
    if (t->console) console_clear(t->console);
    int flushed = flush_stdout(&flush);
    if (flushed < 0 && rc >= 0) {
        rc = flushed;
        t->err = flush;
    }
    if (rc < 0 && rc != ERR_PIPE) {
        if (!*t->err.msg) err_set(&t->err, rc, "failed without a message (code %d)", rc);
        if (t->log.line)
            t->log.line(t->log.ctx, LOG_ERROR, t->err.msg);
        else
            fprintf(stderr, "%s: %s\n", t->program.name, t->err.msg);
    }
    opt_release(&t->values);
    free(t->program.opts);
    console_free(t->console);
    *t = (struct tool){0};
    return tool_exit_code(rc);
}

int tool_threads(const struct tool *t) {
    return t->threads ? (int)t->threads : pool_cpus();
}

FILE *tool_out(struct tool *t) {
    console_clear(t->console);
    return stdout;
}

int tool_weights(const char *flag, const char *text, double *ret, size_t n, struct err *err) {
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        char one[64];
        size_t len = at ? strcspn(at, ",") : 0;
        if (!len || len >= sizeof one || (at[len] != 0) == (i + 1 == n))
            return err_set(err, ERR_USAGE, "%s %s: one number for each of %zu", flag, text, n);
        memcpy(one, at, len);
        one[len] = 0;
        int rc = parse_f64(one, &ret[i], err);
        if (rc < 0) return err_prefix(err, "%s", flag);
        if (!(ret[i] > 0 && ret[i] <= 1000))
            return err_set(err, ERR_USAGE, "%s %s: above 0, at most 1000", flag, text);
        at = at[len] ? at + len + 1 : NULL;
    }
    return 0;
}

int tool_json_whole(const cJSON *tree, struct err *err) {
    return tree && !json_starved ? 0 : err_nomem(err, sizeof(cJSON));
}

int tool_print_json(struct tool *t, cJSON *tree) {
    struct buf text = {0};
    int rc = tool_json_whole(tree, &t->err);
    if (rc == 0) rc = json_text(&text, tree, true, &t->err);
    if (rc == 0) rc = buf_char(&text, '\n', &t->err);
    if (rc == 0) fwrite(text.v, 1, text.n, tool_out(t)); /* tool_end() looks whether it arrived */
    buf_release(&text);
    cJSON_Delete(tree);
    return rc;
}

/* -- subcommands -- */

static void list_subcommands(const struct family *f, FILE *to) {
    fprintf(to, "%s: %s\n\nUsage: %s SUBCOMMAND [OPTION…]\n\nSubcommands:\n", f->name, f->summary,
            f->name);
    for (const struct subcommand *s = f->subs; s->name; s++)
        fprintf(to, "  %-12s %s\n", s->name, s->summary);
    fprintf(to, "\n%s SUBCOMMAND --help says more about each.\n", f->name);
}

/* The first word is a subcommand's name; the others are asked of the subcommand itself. */
static void completion_of(const struct family *f, bool zsh, FILE *to) {
    if (zsh) fputs("autoload -Uz compinit bashcompinit && compinit && bashcompinit\n", to);
    fprintf(to,
            "_lory_%s() {\n    local word=${COMP_WORDS[COMP_CWORD]}\n    COMPREPLY=()\n"
            "    if [[ $COMP_CWORD -eq 1 ]]; then\n        COMPREPLY=($(compgen -W '",
            f->name);
    for (const struct subcommand *s = f->subs; s->name; s++) fprintf(to, "%s ", s->name);
    fprintf(to,
            "' -- \"$word\"))\n    elif [[ $word == -* ]]; then\n"
            "        COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" \"${COMP_WORDS[1]}\" "
            "--completion words 2>/dev/null)\" -- \"$word\"))\n"
            "    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\n"
            "complete -o filenames -F _lory_%s %s\n",
            f->name, f->name);
}

static void man_of(const struct family *f, FILE *to) {
    fprintf(to, ".TH \"%s\" 1 \"\" \"lory %s\" \"User Commands\"\n.SH NAME\n%s \\- %s\n", f->name,
            LORY_VERSION, f->name, f->summary);
    fprintf(to, ".SH SYNOPSIS\n%s SUBCOMMAND [OPTION…]\n.SH SUBCOMMANDS\n", f->name);
    for (const struct subcommand *s = f->subs; s->name; s++)
        fprintf(to, ".TP\n.B %s\n%s\n", s->name, s->summary);
}

/* --completion SHELL, or --completion=SHELL. */
static int family_completion(const struct family *f, const char *flag, const char *value) {
    if (flag[strlen("--completion")] == '=') value = flag + strlen("--completion=");
    if (value && !strcmp(value, "words")) {
        for (const struct subcommand *s = f->subs; s->name; s++) puts(s->name);
    } else if (value && (!strcmp(value, "bash") || !strcmp(value, "zsh"))) {
        completion_of(f, !strcmp(value, "zsh"), stdout);
    } else {
        fprintf(stderr, "%s: --completion: '%s' is not one of bash|zsh|words\n", f->name,
                value ? value : "");
        return ERR_USAGE;
    }
    return 1;
}

/* Flags of the program itself: 1, or ERR_USAGE; 0 if `flag` is none. */
static int family_flag(const struct family *f, const char *flag, const char *value) {
    if (!strcmp(flag, "--help") || !strcmp(flag, "-h") || !strcmp(flag, "help"))
        list_subcommands(f, stdout);
    else if (!strcmp(flag, "--version"))
        printf("%s (Lory) %s\n", f->name, LORY_VERSION);
    else if (!strcmp(flag, "--man"))
        man_of(f, stdout);
    else if (!strcmp(flag, "--completion") || !strncmp(flag, "--completion=", 13))
        return family_completion(f, flag, value);
    else
        return 0;
    return 1;
}

static int unknown_subcommand(const struct family *f, const char *name) {
    const char *names[32];
    size_t n = 0;
    for (const struct subcommand *s = f->subs; s->name && n < 32; s++) names[n++] = s->name;
    const char *near = nearest_name(name, names, n);
    fprintf(stderr, "%s: unknown subcommand %s", f->name, name);
    if (near)
        fprintf(stderr, "; did you mean %s?\n", near);
    else
        fprintf(stderr, "; see %s --help\n", f->name);
    return tool_exit_code(ERR_USAGE);
}

int tool_dispatch(const struct family *f, int argc, char **argv) {
    hold_standard_files();
    signals_ignore_pipe();
    for (const struct subcommand *s = f->subs; argc > 1 && s->name; s++)
        if (!strcmp(s->name, argv[1])) return s->run(argc - 1, argv + 1);
    if (f->fallback) return f->fallback(argc, argv);
    if (argc < 2) {
        list_subcommands(f, stderr);
        return tool_exit_code(ERR_USAGE);
    }
    int rc = family_flag(f, argv[1], argc > 2 ? argv[2] : NULL);
    if (rc == 0) return unknown_subcommand(f, argv[1]);
    if (rc < 0) return tool_exit_code(rc);
    struct err err = {0};
    rc = flush_stdout(&err);
    if (rc < 0 && rc != ERR_PIPE) fprintf(stderr, "%s: %s\n", f->name, err.msg);
    return tool_exit_code(rc);
}
