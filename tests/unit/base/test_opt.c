/* Options: what users mistype is named with its place and a suggestion; what they mean is what
 * happens. */
#include "tests/unit/test.h"
#include "base/opt.h"

struct values {
    uint64_t vocab, seq_len;
    double beta1, timeout;
    const char *output, *window, *push, *config;
    struct strs specials, train;
    struct opt_steps save;
    bool json, no_special, help;
};

/* A program as they come, in a folder of its own. */
struct fixture {
    char *folder, *before;
    struct values v;
    struct opt opts[16];
    struct program p;
    struct opt_values parsed;
    struct err err;
};

static void fill(struct fixture *f) {
    f->v = (struct values){
        .vocab = 32768, .beta1 = .9, .output = "tok", .window = "gpt", .save = {.seconds = 1800}};
    struct values *v = &f->v;
    const struct opt opts[] = {
        {.name = "Training", .type = OPT_GROUP},
        {.name = "vocab", .type = OPT_U64, .to = &v->vocab, .arg = "N", .help = "size", .min = 257},
        {.name = "seq-len", .type = OPT_U64, .to = &v->seq_len, .min = 1, .max = 65536},
        {.name = "beta1", .type = OPT_F64, .to = &v->beta1},
        {.name = "special", .type = OPT_STRS, .to = &v->specials, .arg = "S"},
        {.name = "train", .type = OPT_STRS, .to = &v->train, .arg = "DIR", .many = true},
        {.name = "no-special", .type = OPT_FLAG, .to = &v->no_special},
        {.name = "window", .type = OPT_CHOICE, .to = &v->window, .choices = "gpt|hf"},
        {.name = "timeout", .type = OPT_DURATION, .to = &v->timeout},
        {.name = "save-every", .type = OPT_STEPS, .to = &v->save},
        {.name = "push", .type = OPT_STR, .to = &v->push, .sensitive = true},
        {.name = "output", .letter = 'o', .type = OPT_STR, .to = &v->output, .arg = "PATH"},
        {.name = "json", .letter = 'j', .type = OPT_FLAG, .to = &v->json},
        {.name = "config", .type = OPT_STR, .to = &v->config},
        {.name = "help", .letter = 'h', .type = OPT_FLAG, .to = &v->help, .ends = true},
        {0}};
    memcpy(f->opts, opts, sizeof opts);
    f->p = (struct program){.name = "bpe-train",
                            .summary = "train a tokenizer",
                            .opts = f->opts,
                            .usage = "[SOURCE…] --vocab N",
                            .sections = "corpus|lmtrain"};
    f->err = (struct err){0};
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    void *folder;
    if (!f || folder_setup(&folder) < 0) return -1;
    f->folder = folder;
    f->before = getcwd(NULL, 0);
    fill(f);
    *state = f;
    return chdir(f->folder);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    opt_release(&f->parsed);
    int rc = chdir(f->before);
    void *folder = f->folder;
    if (folder_teardown(&folder) < 0) rc = -1;
    free(f->before);
    free(f);
    return rc;
}

/* Parses words separated by blanks, from the defaults. */
static int parse(struct fixture *f, const char *line) {
    static char copy[1024];
    char *argv[32] = {copy}, *save = NULL;
    int argc = 1;
    opt_release(&f->parsed);
    fill(f);
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) argv[argc++] = w;
    return opt_parse(&f->p, argc, argv, &f->parsed, NULL, &f->err);
}

static void yaml(const char *name, const char *text) {
    struct err e = {0};
    check_ok(file_write(name, text, strlen(text), &e), &e);
}

static void forms_of_flags(void **state) {
    struct fixture *f = *state;
    check_ok(
        parse(f, "--vocab 300 a --seq-len=1Ki --beta1 .95 -jo out -5 --save-every 2h - -- --json"),
        &f->err);
    assert_int_equal(f->v.vocab, 300);
    assert_int_equal(f->v.seq_len, 1024);
    assert_true(f->v.beta1 == .95 && f->v.json);
    assert_string_equal(f->v.output, "out");
    assert_true(f->v.save.steps == 0 && f->v.save.seconds == 7200);
    static const char *const operands[] = {"a", "-5", "-", "--json"};
    assert_int_equal(f->parsed.operands.n, 4);
    for (int i = 0; i < 4; i++) assert_string_equal(f->parsed.operands.v[i], operands[i]);
    assert_true(f->opts[1].given && !f->opts[4].given);
    check_ok(parse(f, "--json --no-json --no-special -oX --beta1 -1e-3 --save-every 500"), &f->err);
    assert_true(!f->v.json && f->v.no_special && f->v.beta1 == -1e-3);
    assert_string_equal(f->v.output, "X");
    assert_int_equal(f->v.save.steps, 500);
    check_ok(parse(f, "--json=no --push --vocba --timeout 1h30m"), &f->err);
    assert_string_equal(f->v.push, "--vocba"); /* no option, so it is a value */
    assert_true(f->v.timeout == 5400);
}

static void assert_strs(const struct strs *got, const char *want) {
    struct buf b = {0};
    for (size_t i = 0; i < got->n; i++) assert_int_equal(buf_printf(&b, NULL, " %s", got->v[i]), 0);
    assert_string_equal(b.n ? buf_cstr(&b) : "", want);
    buf_release(&b);
}

/* "--train shards/train-*.bin": all but the first were operands, and refused. */
static void a_glob_behind_an_option(void **state) {
    struct fixture *f = *state;
    check_ok(parse(f, "a --train b c --json d --train=e f --special g h --train i -- j"), &f->err);
    assert_strs(&f->v.train, " b c e f i");
    assert_strs(&f->v.specials, " g");
    assert_strs(&f->parsed.operands, " a d h j");
    yaml("lory.yaml", "bpe-train:\n  train: [x, y]\n"); /* the command line's replace the file's */
    check_ok(parse(f, "--train b c"), &f->err);
    assert_strs(&f->v.train, " b c");
}

static void mistakes_are_named(void **state) {
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"--vocba 3", "unknown option --vocba; did you mean --vocab?"},
        {"--jsno", "did you mean --json?"},
        {"--no-jsn", "did you mean --no-json?"},
        {"--entirely-else", "see bpe-train --help"},
        {"--no-vocab", "unknown option --no-vocab"},
        {"-x", "unknown option -x"},
        {"--vocab", "--vocab needs a value: N"},
        {"-o", "-o needs a value: PATH"},
        {"--output --json",
         "--output needs a value: PATH; if it is '--json', write --output=--json"},
        {"--seq-len many", "--seq-len: 'many' is not a number"},
        {"--seq-len 0", "--seq-len: 0 is less than 1"},
        {"--seq-len 1M", "--seq-len: 1M is more than 65536"},
        {"--seq-len -3", "--seq-len: '-3' is negative"},
        {"--vocab 10", "--vocab: 10 is less than 257"},
        {"--beta1 nan", "--beta1: 'nan' is not a number"},
        {"--window gtp", "--window: 'gtp' is not one of gpt|hf; did you mean gpt?"},
        {"--json=maybe", "--json: 'maybe' is not true or false"},
        {"--no-json=1", "takes no value"},
        {"--timeout 3x", "is not a duration"},
        {"--save-every x", "give a number of steps or a time"},
        {"--config none.yaml", "none.yaml: No such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rc = parse(f, cases[i][0]);
        check_fails(rc, i + 1 < sizeof cases / sizeof *cases ? ERR_USAGE : ERR_IO, &f->err,
                    cases[i][1]);
    }
}

static void later_sources_win(void **state) {
    struct fixture *f = *state;
    yaml("lory.yaml", "lmtrain: {x: [1, {y: z}]}\nbpe-train:\n  vocab: 500\n  seq_len: 8\n"
                      "  special: [a, 'b']\n  output: ~\ncorpus:\n");
    yaml("c.yaml", "seq-len: 16\njson: yes\npush: me/set\n");
    check_ok(parse(f, ""), &f->err);
    assert_int_equal(f->v.vocab, 500);
    assert_int_equal(f->v.specials.n, 2);
    assert_string_equal(f->v.output, "tok");
    check_ok(parse(f, "--config c.yaml --special c"), &f->err);
    assert_int_equal(f->v.vocab, 500);
    assert_int_equal(f->v.seq_len, 16);
    assert_int_equal(f->v.specials.n, 1); /* a list is replaced, not joined */
    assert_string_equal(f->v.push, "me/set");
    assert_true(f->v.json);
    check_ok(parse(f, "--seq-len 32 --config c.yaml"), &f->err);
    assert_int_equal(f->v.seq_len, 32); /* flags win wherever they stand */
}

static void yaml_mistakes_name_the_line(void **state) {
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"bpe-train:\n  json: true\n  vocba: 1\n",
         "lory.yaml:3: unknown key vocba; did you mean vocab?"},
        {"bpe-train:\n  no-json: true\n", /* was: did you mean no-json? */
         "lory.yaml:2: unknown key no-json; did you mean json: false?"},
        {"bpe-train:\n  no-specail: true\n", "did you mean no-special?"},
        {"bpe-train:\n  vocab: many\n", "lory.yaml:2: vocab: 'many' is not a number"},
        {"bpe-train:\n  vocab: 1\n", "lory.yaml:2: vocab: 1 is less than 257"},
        {"bpe-trian:\n  vocab: 300\n",
         "lory.yaml:1: unknown section bpe-trian; did you mean bpe-train?"},
        {"vocab: 300\n", "lory.yaml:1: vocab must stand in a section"},
        {"bpe-train:\n  push: a\n", "lory.yaml:2: push cannot be set by a file"},
        {"bpe-train:\n  help: true\n", "lory.yaml:2: unknown key help"},
        {"bpe-train:\n  vocab: 300\n  vocab: 301\n", "lory.yaml:3: vocab appears twice"},
        {"bpe-train:\n  vocab: [300]\n", "lory.yaml:2: vocab takes one value"},
        {"bpe-train:\n  output: {a: b}\n", "lory.yaml:2: output: a plain value"},
        {"bpe-train:\n  special: [[a]]\n", "lory.yaml:2: special: a plain value"},
        {"bpe-train:\n  vocab: &x 300\n", "lory.yaml:2: anchors and aliases"},
        {"bpe-train:\n  output: *x\n", "anchors and aliases"},
        {"bpe-train: 3\n", "options are wanted below bpe-train"},
        {"- a\n", "lory.yaml:1: options are wanted"},
        {"bpe-train: {}\n---\na: b\n", "second document"},
        {"bpe-train:\n\tvocab: 1\n", "lory.yaml:2: "},
        {"bpe-train:\n  output: \"a\\0b\"\n", "lory.yaml:2: output: a plain value"},
        {"? [a]\n: b\n", "a key must be a plain word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        yaml("lory.yaml", cases[i][0]);
        check_fails(parse(f, ""), ERR_USAGE, &f->err, cases[i][1]);
    }
    yaml("lory.yaml", "");
    check_ok(parse(f, ""), &f->err);
}

/* 100,000 open brackets must end in a message, not in a stack overflow. */
static void yaml_depth_is_harmless(void **state) {
    struct fixture *f = *state;
    struct buf b = {0};
    buf_str(&b, "lmtrain: ", NULL);
    for (int i = 0; i < 100000; i++) buf_char(&b, '[', NULL);
    check_ok(file_write("lory.yaml", b.v, b.n, &f->err), &f->err);
    buf_release(&b);
    assert_int_equal(parse(f, ""), ERR_USAGE);
}

static void help_needs_no_files(void **state) {
    struct fixture *f = *state;
    yaml("lory.yaml", "broken: [\n");
    check_ok(parse(f, "--help"), &f->err);
    assert_true(f->v.help);
}

static void subcommands_have_nested_sections(void **state) {
    struct fixture *f = *state;
    yaml("lory.yaml",
         "bpe-train:\n  vocab: 400\n  cat:\n    seq-len: 4\n  stats:\n    whatever: 1\n");
    fill(f);
    f->p.name = "bpe-train cat";
    char *argv[] = {"cat", NULL};
    check_ok(opt_parse(&f->p, 1, argv, &f->parsed, NULL, &f->err), &f->err);
    assert_int_equal(f->v.vocab, 400);
    assert_int_equal(f->v.seq_len, 4);
}

/* config.yaml of a run must bring back the same options. */
static void yaml_round_trip(void **state) {
    struct fixture *f = *state;
    struct buf first = {0}, second = {0};
    check_ok(parse(f, "--vocab 1000 --beta1 0.1 --special a\"b --special x --timeout 90s "
                      "--save-every 45m --window hf --json"),
             &f->err);
    check_ok(opt_yaml(&f->p, &first, &f->err), &f->err);
    check_ok(file_write("c.yaml", first.v, first.n, &f->err), &f->err);
    check_ok(parse(f, "--config c.yaml"), &f->err);
    check_ok(opt_yaml(&f->p, &second, &f->err), &f->err);
    assert_string_equal(buf_cstr(&second), buf_cstr(&first));
    assert_non_null(strstr(first.v, "bpe-train:\n  vocab: 1000\n  seq-len: null\n"));
    assert_non_null(strstr(first.v, "special: [\"a\\\"b\", \"x\"]"));
    assert_non_null(strstr(first.v, "save-every: 45m"));
    buf_release(&first);
    buf_release(&second);
}

/* Every option that is not hidden stands in all three texts made from the table. */
static void texts_name_every_option(void **state) {
    struct fixture *f = *state;
    char *text[3];
    size_t n[3];
    FILE *to[3];
    for (int i = 0; i < 3; i++) to[i] = open_memstream(&text[i], &n[i]);
    opt_help(&f->p, to[0]);
    opt_man(&f->p, "1.0", to[1]);
    opt_completion_bash(&f->p, to[2]);
    for (int i = 0; i < 3; i++) fclose(to[i]);
    for (const struct opt *o = f->opts; o->type != OPT_END; o++) {
        if (o->type == OPT_GROUP) continue;
        char roff[64];
        size_t at = 0;
        for (const char *c = o->name; *c; c++) {
            if (*c == '-') roff[at++] = '\\';
            roff[at++] = *c;
        }
        roff[at] = 0;
        for (int i = 0; i < 3; i++)
            if (!strstr(text[i], i == 1 ? roff : o->name)) fail_msg("text %d lacks %s", i, o->name);
    }
    for (int i = 0; i < 3; i++) free(text[i]);
}

/* The help of these options; malloc'd. */
static char *help_of(struct opt *opts) {
    struct program p = {.name = "p", .opts = opts};
    char *text;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    opt_help(&p, to);
    fclose(to);
    return text;
}

/* A default is shown once: from the variable, or in the words of the help. */
static void defaults_are_told_once(void **state) {
    (void)state;
    const char *model = "run";
    uint64_t steps = 2000;
    struct opt opts[] = {{"model", 'm', OPT_STR, &model, .help = "weights (default: run)"},
                         {"steps", 0, OPT_U64, &steps, .help = "of the run"},
                         {0}};
    char *text = help_of(opts);
    assert_null(strstr(text, "(default run)"));
    assert_non_null(strstr(text, "of the run (default 2000)"));
    free(text);
}

/* A large default is told in the unit one would type; one that has none, and a small one, as is. */
static void large_defaults_have_units(void **state) {
    (void)state;
    uint64_t v[] = {268435456, 1 << 30, 100000000, 1500000, 32768, 1};
    struct opt opts[] = {{"a", 0, OPT_U64, &v[0], .help = "a"},
                         {"b", 0, OPT_U64, &v[1], .help = "b"},
                         {"c", 0, OPT_U64, &v[2], .help = "c"},
                         {"d", 0, OPT_U64, &v[3], .help = "d"},
                         {"e", 0, OPT_U64, &v[4], .help = "e"},
                         {"f", 0, OPT_U64, &v[5], .help = "f"},
                         {0}};
    const char *want[] = {"a (default 256Mi)",   "b (default 1Gi)",   "c (default 100M)",
                          "d (default 1500000)", "e (default 32768)", "f (default 1)"};
    char *text = help_of(opts);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_non_null(strstr(text, want[i]));
    free(text);
}

static void numbers_are_read_exactly(void **state) {
    (void)state;
    struct err e = {0};
    uint64_t u;
    double x;
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {{"0", 0},
                {"32768", 32768},
                {"100M", 100000000},
                {"64Ki", 65536},
                {"1.5k", 1500},
                {"2G", 2000000000},
                {"1Gi", 1 << 30},
                {"18446744073709551615", UINT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        check_ok(parse_u64(good[i].text, &u, &e), &e);
        assert_int_equal(u, good[i].want);
    }
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x10",
                                      "1e3",
                                      "1.5",
                                      "1.0001k",
                                      "18446744073709551616",
                                      "99999999999G",
                                      "1..5k",
                                      "1.k"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse_u64(bad[i], &u, &e) != ERR_USAGE) fail_msg("'%s' was read as a number", bad[i]);
    check_ok(parse_f64("-5e-4", &x, &e), &e);
    assert_true(x == -5e-4);
    static const char *const bad_f64[] = {"",    "nan", "inf", "0x1p3", "1e999",
                                          "1,5", " 1",  "1 ",  "-",     "e5"};
    for (size_t i = 0; i < sizeof bad_f64 / sizeof *bad_f64; i++)
        if (parse_f64(bad_f64[i], &x, &e) != ERR_USAGE) fail_msg("'%s' was read", bad_f64[i]);
    check_ok(parse_duration("1h30m", &x, &e), &e);
    assert_true(x == 5400);
    check_ok(parse_duration("250ms", &x, &e), &e);
    assert_true(x == 0.25);
    check_ok(parse_duration("90", &x, &e), &e);
    assert_true(x == 90);
    static const char *const bad_time[] = {"", "-1s", "m", "1h30", "3x", "1s ", "nan"};
    for (size_t i = 0; i < sizeof bad_time / sizeof *bad_time; i++)
        if (parse_duration(bad_time[i], &x, &e) != ERR_USAGE)
            fail_msg("'%s' was read as a duration", bad_time[i]);
}

static void suggestions_are_near(void **state) {
    (void)state;
    static const char *const names[] = {"vocab", "temperature", "top-k", "top-p", "seq-len"};
    assert_string_equal(nearest_name("vocba", names, 5), "vocab");
    assert_string_equal(nearest_name("temp", names, 5), "temperature");
    assert_string_equal(nearest_name("seqlen", names, 5), "seq-len");
    assert_string_equal(nearest_name("topk", names, 5), "top-k");
    assert_string_equal(nearest_name("vocab-size", names, 5), "vocab");
    assert_null(nearest_name("vocabulary-of-words", names, 5));
    assert_null(nearest_name("learning-rate", names, 5));
    assert_null(nearest_name("x", names, 5));
    assert_null(nearest_name("", names, 5));
    char huge[5000];
    memset(huge, 'v', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    assert_null(nearest_name(huge, names, 5));
}

#define OPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        OPT_TEST(forms_of_flags),
        OPT_TEST(a_glob_behind_an_option),
        OPT_TEST(mistakes_are_named),
        OPT_TEST(later_sources_win),
        OPT_TEST(yaml_mistakes_name_the_line),
        OPT_TEST(yaml_depth_is_harmless),
        OPT_TEST(help_needs_no_files),
        OPT_TEST(subcommands_have_nested_sections),
        OPT_TEST(yaml_round_trip),
        OPT_TEST(texts_name_every_option),
        cmocka_unit_test(defaults_are_told_once),
        cmocka_unit_test(large_defaults_have_units),
        cmocka_unit_test(numbers_are_read_exactly),
        cmocka_unit_test(suggestions_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
