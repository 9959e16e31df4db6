/* --help, the manual page and completions, all from the one table: see opt.h. Text is wrapped at 80
 * columns; columns are counted in characters, not bytes. */
#include "base/opt.h"

#include <string.h>
#include "base/opt_inside.h"

enum { COLUMNS = 80, HELP_AT = 26 };

static size_t columns(const char *s, size_t n) {
    size_t c = 0;
    for (size_t i = 0; i < n; i++) c += ((unsigned char)s[i] & 0xC0) != 0x80;
    return c;
}

/* The part of a word that stands in a line: all of it, or of a list too long for one, what fits up
 * to a '|'. */
static size_t fitting(const char *word, size_t n, size_t room) {
    if (columns(word, n) <= room) return n;
    for (size_t i = room < n ? room : n; i > 1; i--)
        if (word[i - 1] == '|') return i;
    return n;
}

/* Prints words from column `at` on, later lines indented to `indent`, and a newline. */
static void wrap(const char *text, size_t at, size_t indent, FILE *to) {
    bool first = true;
    while (*text) {
        if (*text == '\n') { /* a line break in the text is kept */
            fputc('\n', to);
            at = 0;
            first = true;
            text++;
            if (*text && *text != '\n') at = (size_t)fprintf(to, "%*s", (int)indent, "");
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        size_t n = fitting(text, strcspn(text, " \n"), COLUMNS - indent), width = columns(text, n);
        if (!first && at + 1 + width > COLUMNS) {
            fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        if (!first) fputc(' ', to);
        fwrite(text, 1, n, to);
        at += width + !first;
        first = false;
        text += n;
    }
    fputc('\n', to);
}

static const char *arg_of(const struct opt *o) {
    if (o->type == OPT_FLAG) return NULL;
    if (o->arg) return o->arg;
    return o->type == OPT_CHOICE ? o->choices : "VALUE";
}

/* A number from a million on in the unit that it is a whole number of: 256Mi, 100M. Smaller ones
 * are read as they are. */
static void count_text(uint64_t x, struct buf *out) {
    static const struct {
        const char *name;
        uint64_t size;
    } units[] = {{"Gi", 1u << 30}, {"Mi", 1u << 20}, {"G", 1000000000}, {"M", 1000000}, {"", 1}};
    size_t i = 0;
    while (x < units[i].size || x % units[i].size) i++;
    buf_printf(out, NULL, "%llu%s", (unsigned long long)(x / units[i].size), units[i].name);
}

/* " (default 8)", or nothing where the default is empty, plain, or told in the help's own words. */
static void default_text(const struct opt *o, struct buf *out) {
    const char *s = o->type == OPT_STR || o->type == OPT_CHOICE ? *(const char **)o->to : NULL;
    bool text = o->type == OPT_STR || o->type == OPT_CHOICE;
    if (o->ends || !opt_is_set(o) || (text && (!s || !*s))) return;
    if (o->help && strstr(o->help, "(default: ")) return;
    if (o->type == OPT_FLAG && !*(bool *)o->to) return;
    if (o->type == OPT_STEPS && ((const struct opt_steps *)o->to)->seconds == 0 &&
        ((const struct opt_steps *)o->to)->steps == 0)
        return;
    if (o->type == OPT_STRS && ((const struct strs *)o->to)->n == 0) return;
    buf_str(out, " (default ", NULL);
    if (s)
        buf_str(out, s, NULL);
    else if (o->type == OPT_FLAG)
        buf_printf(out, NULL, "on; --no-%s turns it off", o->name);
    else if (o->type == OPT_U64 && *(uint64_t *)o->to)
        count_text(*(uint64_t *)o->to, out);
    else
        opt_value_text(o, out, NULL);
    buf_char(out, ')', NULL);
}

static void help_option(const struct opt *o, FILE *to) {
    struct buf left = {0}, right = {0};
    const char *arg = arg_of(o);
    if (o->letter)
        buf_printf(&left, NULL, "  -%c, --%s", o->letter, o->name);
    else
        buf_printf(&left, NULL, "      --%s", o->name);
    if (arg) buf_printf(&left, NULL, " %s", arg);
    buf_str(&right, o->help ? o->help : "", NULL);
    /* choices named by a word are spelled out */
    if (o->type == OPT_CHOICE && o->arg && o->choices) buf_printf(&right, NULL, ": %s", o->choices);
    default_text(o, &right);
    size_t width = columns(left.v, left.n);
    fwrite(left.v, 1, left.n, to);
    if (width + 2 > HELP_AT)
        fprintf(to, "\n%*s", HELP_AT, "");
    else
        fprintf(to, "%*s", (int)(HELP_AT - width), "");
    const char *help = buf_cstr(&right);
    wrap(help ? help : "", HELP_AT, HELP_AT, to);
    buf_release(&left);
    buf_release(&right);
}

/* Calls line(part, length, number) for the parts of `text` between newlines. */
static void each_line(const char *text, FILE *to,
                      void (*line)(const char *s, size_t n, size_t i, FILE *to)) {
    for (size_t i = 0; text && *text; i++) {
        size_t n = strcspn(text, "\n");
        line(text, n, i, to);
        text += n + (text[n] == '\n');
    }
}

static void usage_line(const char *s, size_t n, size_t i, FILE *to) {
    fprintf(to, "%s%.*s\n", i ? "       " : "Usage: ", (int)n, s);
}

static void example_line(const char *s, size_t n, size_t i, FILE *to) {
    size_t command = 0;
    (void)i;
    while (command < n && s[command] != '\t') command++;
    fprintf(to, "  %.*s\n", (int)command, s);
    if (command < n) fprintf(to, "      %.*s\n", (int)(n - command - 1), s + command + 1);
}

/* Usage lines in one string, each beginning with the program's name. */
static const char *usage_text(const struct program *p, struct buf *out) {
    for (const char *u = p->usage ? p->usage : "[OPTION…]"; *u;) {
        size_t n = strcspn(u, "\n");
        buf_printf(out, NULL, "%s%s %.*s", out->n ? "\n" : "", p->name, (int)n, u);
        u += n + (u[n] == '\n');
    }
    return buf_cstr(out);
}

void opt_help(const struct program *p, FILE *to) {
    struct buf usage = {0};
    if (p->summary) fprintf(to, "%s: %s\n\n", p->name, p->summary);
    each_line(usage_text(p, &usage), to, usage_line);
    buf_release(&usage);
    if (p->text) {
        fputc('\n', to);
        wrap(p->text, 0, 0, to);
    }
    if (p->opts->type != OPT_GROUP) fputs("\nOptions:\n", to);
    for (const struct opt *o = p->opts; o->type != OPT_END; o++) {
        if (o->type == OPT_GROUP)
            fprintf(to, "\n%s:\n", o->name);
        else if (!o->hidden)
            help_option(o, to);
    }
    if (p->examples) {
        fputs("\nExamples:\n", to);
        each_line(p->examples, to, example_line);
    }
}

/* -- the manual page -- */

/* Text for roff: no request at a line's start, hyphens that can be copied. */
static void roff(const char *s, size_t n, FILE *to) {
    if (n && (*s == '.' || *s == '\'')) fputs("\\&", to);
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\')
            fputs("\\e", to);
        else if (s[i] == '-')
            fputs("\\-", to);
        else
            fputc(s[i], to);
    }
}

static void man_usage(const char *s, size_t n, size_t i, FILE *to) {
    if (i) fputs(".br\n", to);
    roff(s, n, to);
    fputc('\n', to);
}

static void man_paragraph(const char *s, size_t n, size_t i, FILE *to) {
    (void)i;
    if (n == 0) fputs(".PP", to);
    roff(s, n, to);
    fputc('\n', to);
}

static void man_example(const char *s, size_t n, size_t i, FILE *to) {
    size_t command = 0;
    (void)i;
    while (command < n && s[command] != '\t') command++;
    fputs(".TP\n.B ", to);
    roff(s, command, to);
    fputc('\n', to);
    if (command < n) roff(s + command + 1, n - command - 1, to);
    fputc('\n', to);
}

static void man_option(const struct opt *o, FILE *to) {
    struct buf help = {0};
    const char *arg = arg_of(o);
    fputs(".TP\n", to);
    if (o->letter) fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", to);
    roff(o->name, strlen(o->name), to);
    fputs("\\fR", to);
    if (arg) {
        fputs(" \\fI", to);
        roff(arg, strlen(arg), to);
        fputs("\\fR", to);
    }
    buf_printf(&help, NULL, "%s", o->help ? o->help : "");
    if (o->type == OPT_CHOICE && o->arg && o->choices) buf_printf(&help, NULL, ": %s", o->choices);
    default_text(o, &help);
    fputc('\n', to);
    roff(help.v, help.n, to);
    fputc('\n', to);
    buf_release(&help);
}

static const char *const exit_codes =
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\ndone\n.TP\n.B 1\nany other failure\n.TP\n.B 2\nusage or configuration\n"
    ".TP\n.B 3\nbad input data\n.TP\n.B 4\nreading or writing, disk full\n"
    ".TP\n.B 5\nnetwork or authorisation\n.TP\n.B 6\na corrupt artefact\n"
    ".TP\n.B 7\nout of memory\n.TP\n.B 8\ntraining diverged\n"
    ".TP\n.B 9\nanother rank failed\n"
    ".TP\n.B 129, 130, 143\ninterrupted; what can be saved was saved\n";

void opt_man(const struct program *p, const char *version, FILE *to) {
    struct buf usage = {0};
    char name[OPT_NAME_MAX];
    snprintf(name, sizeof name, "%s", p->name);
    for (char *c = name; *c; c++)
        if (*c == ' ') *c = '-';
    fprintf(to, ".TH \"%s\" 1 \"\" \"lory %s\" \"User Commands\"\n.SH NAME\n", name, version);
    fprintf(to, "%s \\- %s\n.SH SYNOPSIS\n", name, p->summary ? p->summary : "");
    each_line(usage_text(p, &usage), to, man_usage);
    buf_release(&usage);
    if (p->text) {
        fputs(".SH DESCRIPTION\n", to);
        each_line(p->text, to, man_paragraph);
    }
    fputs(".SH OPTIONS\n", to);
    for (const struct opt *o = p->opts; o->type != OPT_END; o++) {
        if (o->type == OPT_GROUP)
            fprintf(to, ".SS %s\n", o->name);
        else if (!o->hidden)
            man_option(o, to);
    }
    if (p->examples) {
        fputs(".SH EXAMPLES\n", to);
        each_line(p->examples, to, man_example);
    }
    fputs(exit_codes, to);
    fputs(".SH FILES\n.TP\n.B lory.yaml\nread from the working folder when there is one: a section "
          "per program, a key per long option. Flags win.\n",
          to);
}

/* -- completion -- */

void opt_completion_words(const struct program *p, FILE *to) {
    for (const struct opt *o = p->opts; o->type != OPT_END; o++)
        if (o->type != OPT_GROUP && !o->hidden) fprintf(to, "--%s\n", o->name);
}

/* A name that a shell function may have. */
static void identifier(const char *name, FILE *to) {
    for (; *name; name++) fputc(*name == '-' || *name == ' ' ? '_' : *name, to);
}

void opt_completion_bash(const struct program *p, FILE *to) {
    fputs("_lory_", to);
    identifier(p->name, to);
    fputs("() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    COMPREPLY=()\n    case $before in\n",
          to);
    for (const struct opt *o = p->opts; o->type != OPT_END; o++) {
        const char *choice;
        size_t n;
        if (o->type != OPT_CHOICE || o->hidden) continue;
        fprintf(to, "    --%s) COMPREPLY=($(compgen -W '", o->name);
        for (size_t i = 0; opt_choice(o->choices, i, &choice, &n); i++)
            fprintf(to, "%s%.*s", i ? " " : "", (int)n, choice);
        fputs("' -- \"$word\")); return ;;\n", to);
    }
    fputs("    esac\n    if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W '\n", to);
    opt_completion_words(p, to);
    fputs("' -- \"$word\"))\n    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\n",
          to);
    fputs("complete -o filenames -F _lory_", to);
    identifier(p->name, to);
    fprintf(to, " %s\n", p->name);
}
