"""What transformers' logits processors make of scores. Usage: make.py [SEED [ROUNDS]] > cases.json

Each case: the "config" as in a generation_config.json, the text's ids, how many of them are the prompt, the scores
(on a grid: some are equal), and the probabilities of the next id (an empty list: none is left). First one
case for each processor, then ROUNDS of several together. cases.json is `make.py 1 20` under transformers 5.24.
"""
import json, random, sys

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

V, EOS = 96, [5, 9]
MODEL = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_positions=64, n_embd=8, n_layer=1, n_head=1))


def probabilities(config, ids, n_prompt, scores):
    c = GenerationConfig(do_sample=True, eos_token_id=EOS, **config)
    c._eos_token_tensor = torch.tensor(EOS)
    steps = MODEL._get_logits_processor(c, input_ids_seq_length=n_prompt, device="cpu", model_kwargs={})
    out = steps(torch.tensor([ids]), torch.tensor([scores], dtype=torch.float32))[0]
    return [] if out.max() == -float("inf") else out.softmax(-1).tolist()


def case(rng, config):
    ids = [rng.randrange(12) for _ in range(rng.randrange(6, 40))]
    n_prompt = len(ids) if "begin_suppress_tokens" in config and rng.random() < 0.7 else rng.randrange(1, len(ids) + 1)
    spread = rng.choice((0.3, 2, 5))
    grid = 2 ** 20 if "top_p" in config else 64  # which of two equals top-p removes is the sort's whim
    scores = [round(rng.gauss(0, spread) * grid) / grid for _ in range(V)]
    for words in config.get("bad_words_ids", []), [s for s, _ in config.get("sequence_bias", [])]:
        for k, w in enumerate(words):  # some of them are what the text is about to say
            if k % 2 and len(w) > 1:
                words[k][:-1] = ids[-len(w) + 1:]
    p = probabilities(config, ids, n_prompt, scores)
    return {"config": config, "ids": ids, "n_prompt": n_prompt, "scores": scores, "probs": [float(f"{x:.8g}") for x in p]}


def words(rng, n):
    return [[rng.randrange(V) for _ in range(rng.choice((1, 1, 2, 3)))] for _ in range(n)]


def unique(pairs):
    return list({tuple(s): [s, b] for s, b in pairs}.values())


MAKE = {
    "temperature": lambda r: r.choice((0.4, 1.5)),
    "top_k": lambda r: r.choice((1, 7, 50)),
    "top_p": lambda r: r.choice((0.1, 0.5, 0.95)),
    "min_p": lambda r: r.choice((0.02, 0.2)),
    "typical_p": lambda r: r.choice((0.05, 0.2, 0.5, 0.9, 0.99)),
    "epsilon_cutoff": lambda r: r.choice((3e-4, 9e-3, 0.1, 0.9)),
    "eta_cutoff": lambda r: r.choice((3e-4, 9e-3, 0.1, 0.9)),
    "repetition_penalty": lambda r: r.choice((0.7, 1.3, 2.0)),
    "no_repeat_ngram_size": lambda r: r.choice((1, 2, 2, 3)),
    "min_length": lambda r: r.choice((10, 30)),
    "min_new_tokens": lambda r: r.choice((1, 10)),
    "bad_words_ids": lambda r: words(r, 12) + [[5]],
    "sequence_bias": lambda r: [[w, round(r.uniform(-9, 9), 2)] for w in words(r, 12)],
    "suppress_tokens": lambda r: r.sample(range(V), 20),
    "begin_suppress_tokens": lambda r: r.sample(range(V), 20),
}


def main():
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    configs = [{name: make(rng)} for name, make in MAKE.items()]
    configs += [{name: MAKE[name](rng)} for name in ("typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty", "no_repeat_ngram_size")] + [{"suppress_tokens": list(range(V))}]
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 12):
        configs.append({name: MAKE[name](rng) for name in rng.sample(list(MAKE), rng.randrange(2, 7))})
    cases = []
    for c in configs:
        made = case(rng, c)
        if "sequence_bias" in c and len(unique(c["sequence_bias"])) < len(c["sequence_bias"]):
            continue  # a dictionary in transformers
        cases.append(made)
    print(json.dumps({"V": V, "eos": EOS, "cases": cases}, separators=(",", ":")).replace('{"config"', '\n{"config"'))


main()
