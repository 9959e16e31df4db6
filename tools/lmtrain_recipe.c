/* Recipes: how others train, each a list of options as one would give them. */
#include <string.h>
#include "tools/lmtrain_parts.h"

struct opt *plan_option(const struct plan *p, const char *name) {
    return opt_find(p->table, name, strlen(name));
}

bool given(const struct plan *p, const char *name) {
    const struct opt *o = plan_option(p, name);
    return o && o->given;
}

/* A recipe is a list of options as one would give them; what is given besides wins. */
static const struct recipe {
    const char *name;
    struct {
        const char *option, *value;
    } set[20];
} recipes[] = {
    {"codeparrot",
     {{"model", "gpt2-xl"},
      {"batch", "2"},
      {"accumulate", "16"},
      {"lr", "2e-4"},
      {"schedule", "cosine"},
      {"warmup", "750"},
      {"warmup-style", "hf"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.999"},
      {"eps", "1e-8"},
      {"weight-decay", "0.1"},
      {"clip", "1"},
      {"steps", "50000"},
      {"eval-every", "1000"},
      {"save-every", "1000"},
      {"scale-attn-by-inverse-layer-idx", "true"},
      {"reorder-and-upcast-attn", "true"},
      {"recompute", "block"},
      {"window", "hf"}}},
    {"codeparrot-small",
     {{"batch", "12"},
      {"accumulate", "1"},
      {"lr", "5e-4"},
      {"schedule", "cosine"},
      {"warmup", "2000"},
      {"warmup-style", "hf"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.999"},
      {"eps", "1e-8"},
      {"weight-decay", "0.1"},
      {"clip", "1"},
      {"steps", "150000"},
      {"eval-every", "15000"},
      {"save-every", "15000"},
      {"scale-attn-by-inverse-layer-idx", "true"},
      {"reorder-and-upcast-attn", "true"},
      {"window", "hf"}}},
    {"hf-trainer",
     {{"batch", "8"},
      {"accumulate", "1"},
      {"lr", "5e-5"},
      {"schedule", "linear"},
      {"warmup", "0"},
      {"warmup-style", "hf"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.999"},
      {"eps", "1e-8"},
      {"weight-decay", "0"},
      {"clip", "1"},
      {"epochs", "3"},
      {"eval-every", "500"},
      {"save-every", "500"},
      {"window", "hf"}}},
    {"llmc",
     {{"batch-tokens", "524288"},
      {"batch", "4"},
      {"lr", "6e-4"},
      {"schedule", "cosine"},
      {"warmup", "700"},
      {"warmup-style", "llmc"},
      {"min-lr", "0"},
      {"beta1", "0.9"},
      {"beta2", "0.95"},
      {"eps", "1e-8"},
      {"weight-decay", "0.1"},
      {"clip", "1"},
      {"epochs", "1"},
      {"eval-every", "250"},
      {"save-every", "5000"},
      {"dropout", "0"},
      {"window", "gpt"}}},
};
enum { RECIPES = sizeof recipes / sizeof *recipes, RECIPE_LINES = 20 };

/* Options that say the same thing in other words: if one is given, a recipe's other does not count.
 * */
static bool answered(const struct plan *p, const char *option) {
    static const char *const groups[][3] = {{"steps", "epochs", "tokens"},
                                            {"accumulate", "batch-tokens", "accumulate"}};
    if (given(p, option)) return true;
    for (size_t g = 0; g < 2; g++) {
        bool in = false, any = false;
        for (size_t i = 0; i < 3; i++) {
            in |= !strcmp(groups[g][i], option);
            any |= given(p, groups[g][i]);
        }
        if (in && any) return true;
    }
    return false;
}

static int set_option(struct opt *o, const char *value, struct err *err) {
    switch (o->type) {
    case OPT_U64: return parse_u64(value, o->to, err);
    case OPT_F64: return parse_f64(value, o->to, err);
    case OPT_CHOICE: *(const char **)o->to = value; return 0;
    case OPT_STR: *(const char **)o->to = value; return 0;
    case OPT_FLAG: *(bool *)o->to = !strcmp(value, "true"); return 0;
    case OPT_STEPS: return parse_u64(value, &((struct opt_steps *)o->to)->steps, err);
    default: return err_set(err, ERR_OTHER, "a recipe cannot set --%s", o->name);
    }
}

int apply_recipe(struct plan *p, struct err *err) {
    const struct recipe *r = NULL;
    for (int i = 0; p->o->recipe && i < RECIPES; i++)
        if (!strcmp(recipes[i].name, p->o->recipe)) r = &recipes[i];
    int rc = 0;
    for (int i = 0; r && rc == 0 && i < RECIPE_LINES && r->set[i].option; i++) {
        struct opt *o = plan_option(p, r->set[i].option);
        bool skip = answered(p, r->set[i].option);
        if (o && !skip) rc = set_option(o, r->set[i].value, err);
    }
    return rc;
}
