"""Models of random shapes beside transformers: losses, the gradients that one step shows, greedy and sampled ids of
prompts of unequal lengths. Usage: test_random_models.py TOOLS [SEED [MODELS]]; exit 77 without torch.

Every shape that a config.json can name is drawn: layers, heads, odd widths and vocabularies, n_inner, both GELUs, tied
or not, scaled by layer or not at all, one file or many, fp32, bf16 and fp16. A failure says with which seed it comes
back.
"""
import json, os, random, struct, subprocess, sys, tempfile

import peers

peers.need("torch", "transformers", "safetensors")
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                                                    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

TOOLS = os.path.abspath(sys.argv[1])
SEED, MODELS = (int(sys.argv[i]) if len(sys.argv) > i else n for i, n in ((2, 1), (3, 12)))


def tool(d, program, *args):
    p = subprocess.run([os.path.join(TOOLS, program), *map(str, args)], cwd=d, capture_output=True, text=True)
    assert p.returncode == 0, (program, args, p.returncode, p.stderr)
    return p.stdout


def draw_config(r):
    heads = r.choice((1, 2, 3, 4))
    return dict(n_layer=r.randint(1, 4), n_head=heads, n_embd=heads * r.choice((4, 8, 10, 16, 17, 24, 32, 40)),
                n_inner=r.choice((None, None, 7, 50, 130)), n_positions=r.randint(6, 150),
                vocab_size=r.choice((r.randint(9, 60), r.randint(61, 700), 1024)),
                activation_function=r.choice(("gelu_new", "gelu")), tie_word_embeddings=r.random() < 0.7,
                scale_attn_weights=r.random() < 0.9, scale_attn_by_inverse_layer_idx=r.random() < 0.4,
                reorder_and_upcast_attn=r.random() < 0.4, layer_norm_epsilon=r.choice((1e-5, 1e-6, 1e-3)),
                initializer_range=r.choice((0.05, 0.15, 0.3)), resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                bos_token_id=None, eos_token_id=None)


def make_model(d, r):
    """A folder as transformers saves it, and the model with the weights that are in it."""
    config = draw_config(r)
    torch.manual_seed(r.randrange(1 << 30))
    model = GPT2LMHeadModel(GPT2Config(**config)).eval()
    with torch.no_grad():
        for p in model.parameters():  # biases and norms that mean something
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.1)
    kind = r.choice((torch.float32, torch.float32, torch.bfloat16, torch.float16))
    model.to(kind).save_pretrained(d, **r.choice(({}, {"max_shard_size": "20KB"})))
    config["stored"] = str(kind)
    return config, model.to(torch.float32)


def write_shard(path, tokens):
    with open(path, "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens))


def loss_of(model, rows):
    logits = model(rows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))


def check_loss(d, r, c, model):
    T = r.randint(2, c["n_positions"])
    rows = torch.randint(0, c["vocab_size"], (3, T))
    write_shard(os.path.join(d, "v.bin"), rows.flatten().tolist())
    with torch.no_grad():
        want = loss_of(model, rows).item()
    for device in ("cpu", "ref"):
        got = json.loads(tool(d, "lmeval", "loss", "-m", "m", "--valid", "v.bin", "--seq-len", T, "--window", "hf",
                              "--dtype", "fp32", "--device", device, "--json"))
        assert got["tokens"] == 3 * (T - 1), (device, got)
        assert abs(got["loss"] - want) < 3e-5 * max(1, want), (device, got["loss"], want)


def check_step(d, r, c, model):
    """One update of AdamW. With eps = 1 it is about lr times the gradient, so a wrong one shows."""
    T, B, lr, decay, clip = r.randint(2, c["n_positions"]), r.randint(1, 4), 0.5, r.choice((0, 0.1)), r.choice((0, 0.5))
    rows = torch.randint(0, c["vocab_size"], (B, T))
    write_shard(os.path.join(d, "t.bin"), rows.flatten().tolist())
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    model.zero_grad()
    loss = loss_of(model, rows)
    loss.backward()
    if clip:
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item()
    else:
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
    decayed = [p for k, p in model.named_parameters() if not k.endswith(".bias") and ".ln_" not in k]
    others = [p for k, p in model.named_parameters() if k.endswith(".bias") or ".ln_" in k]
    torch.optim.AdamW([{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}], lr=lr,
                      betas=(0.9, 0.95), eps=1.0).step()
    tool(d, "lmtrain", "--model", "m", "--train", "t.bin", "--seq-len", T, "--window", "hf", "--order", "sequential",
         "--batch", B, "--steps", 1, "--lr", lr, "--schedule", "constant", "--warmup", 0, "--beta1", 0.9, "--beta2", 0.95,
         "--eps", 1, "--weight-decay", decay, "--clip", clip, "--dtype", "fp32", "--device", "cpu", "--dropout", 0,
         "--recompute", r.choice(("none", "gelu", "block")), "--threads", r.choice((1, 2, 3)), "-o", "run", "-q", "--force")
    line = json.loads(open(os.path.join(d, "run/metrics.jsonl")).readline())
    assert abs(line["loss"] - loss.item()) < 3e-5 * max(1, line["loss"]), (line, loss.item())
    assert abs(line["grad_norm"] - norm) < 3e-4 * norm, (line, norm)
    got = load_file(os.path.join(d, "run/checkpoint-1/model.safetensors"))
    for k, p in model.named_parameters():
        want, is_ = p.detach() - before[k], got[k] - before[k]
        if k.endswith("c_attn.bias"):  # the softmax cancels the keys' biases: their gradients are rounding
            C = len(want) // 3
            want[C:2 * C] = is_[C:2 * C] = 0
        error = (is_ - want).norm().item()
        bound = 2e-4 * want.norm().item() + 2e-7 * before[k].norm().item() + 1e-9 * want.numel() ** 0.5
        assert error <= bound, (k, error, bound)
    with torch.no_grad():
        for k, p in model.named_parameters():
            p.copy_(before[k])


def warped(model, text, processors):
    """Scores of what comes behind text, as generate() has them."""
    ids = torch.tensor([text])
    with torch.no_grad():
        scores = model(ids).logits[:, -1].double()
    for p in processors:
        scores = p(ids, scores)
    return scores[0]


def has_best(c, model, n_prompt, text, penalty):
    """Whether each id behind the prompt has the largest score behind all ids before it."""
    processors = [] if penalty == 1 else [RepetitionPenaltyLogitsProcessor(penalty)]
    for at in range(n_prompt, min(len(text), c["n_positions"])):
        scores = warped(model, text[:at], processors)
        if scores[text[at]] < scores.max() - 1e-3:
            return False
    return True


def check_greedy(d, r, c, model):
    new, penalty = r.randint(1, 12), r.choice((1.0, 1.3, 0.8))
    for _ in range(3):
        prompt = [r.randrange(c["vocab_size"]) for _ in range(r.randint(1, c["n_positions"]))]
        out = tool(d, "lmgen", "-m", "m", "--prompt-ids", " ".join(map(str, prompt)), "--greedy", "--max-new", new,
                   "--no-stop", "--repetition-penalty", penalty, "--ids", "json", "--dtype", "fp32", "--device",
                   r.choice(("cpu", "ref")), "--n", r.choice((1, 3)), "--threads", r.choice((1, 2)))
        lines = [json.loads(line) for line in out.splitlines()]
        text = lines[0]
        assert all(line == text for line in lines), lines
        assert text[:len(prompt)] == prompt and len(text) == len(prompt) + new, (prompt, text)
        assert has_best(c, model, len(prompt), text, penalty), (prompt, text)


def byte_tokenizer(path):
    """Id and byte are the same."""
    shown = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    letter = {b: chr(b) for b in shown}
    letter.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in shown)})
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                 "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                 "model": {"type": "BPE", "vocab": {letter[b]: b for b in range(256)}, "merges": []}}
    with open(path, "w") as f:
        json.dump(tokenizer, f)


def check_batch(d, r, c, model):
    """Prompts of unequal lengths, some the same, some longer than the context, go through together; one of the ids that
    come is the end of text."""
    if c["vocab_size"] < 256:
        return
    eos = r.randrange(c["vocab_size"])
    byte_tokenizer(os.path.join(d, "m/tokenizer.json"))
    with open(os.path.join(d, "m/config.json")) as f:
        config = json.load(f)
    with open(os.path.join(d, "m/config.json"), "w") as f:
        json.dump(config | {"eos_token_id": eos}, f)
    texts = ["".join(r.choices("ab \n(é日😀", k=r.randint(1, c["n_positions"]))) for _ in range(r.choice((1, 2, 9, 40)))]
    texts += texts[:1] + ["x" * (c["n_positions"] + r.randrange(3))]
    with open(os.path.join(d, "p.jsonl"), "w") as f:
        f.writelines(json.dumps({"prompt": text}) + "\n" for text in texts)
    new = r.randint(1, 20)
    lines = tool(d, "lmgen", "-m", "m", "--prompts", "p.jsonl", "--greedy", "--max-new", new, "--ids", "json", "--dtype",
                 "fp32", "--device", r.choice(("cpu", "cpu", "ref")), "--threads", r.choice((1, 2))).splitlines()
    assert len(lines) == len(texts), (len(lines), len(texts))
    for text, line in zip(texts, lines):
        prompt, ids = list(text.encode()), json.loads(line)
        assert ids[:len(prompt)] == prompt and eos not in ids[len(prompt):], (text, ids, eos)
        if len(ids) < len(prompt) + new:
            ids.append(eos)
        assert has_best(c, model, len(prompt), ids, 1), (text, ids, eos)


def check_sampled(d, r, c, model):
    """Many draws of one id: only ids that the processors leave, as often as their probabilities say."""
    draws = 3000
    prompt = [r.randrange(c["vocab_size"]) for _ in range(r.randint(1, c["n_positions"]))]
    t, k, p, m, penalty = (r.choice(x) for x in ((1.0, 0.5, 1.7), (0, 1, 5, 20), (1.0, 0.3, 0.9), (0.0, 0.05, 0.3), (1.0, 1.4)))
    processors = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else []
    processors += [TemperatureLogitsWarper(t)] if t != 1 else []
    processors += [TopKLogitsWarper(k)] if k else []
    processors += [TopPLogitsWarper(p)] if p < 1 else []
    processors += [MinPLogitsWarper(m)] if m else []
    probs = torch.softmax(warped(model, prompt, processors), 0)
    out = tool(d, "lmgen", "-m", "m", "--prompt-ids", " ".join(map(str, prompt)), "--max-new", 1, "--no-stop", "--temperature",
               t, "--top-k", k, "--top-p", p, "--min-p", m, "--repetition-penalty", penalty, "--n", draws, "--ids", "json",
               "--dtype", "fp32", "--device", "cpu", "--seed", r.randrange(1 << 30))
    counts = torch.zeros(c["vocab_size"], dtype=torch.float64)
    for line in out.splitlines():
        counts[json.loads(line)[-1]] += 1
    how = (t, k, p, m, penalty)
    assert counts.sum() == draws, how
    assert not counts[probs == 0].any(), (how, counts[probs == 0].sum())
    sigma = (probs * (1 - probs) * draws).sqrt()
    off = ((counts - probs * draws).abs() / (sigma + 1)).max().item()
    assert off < 6, (how, off)


def main():
    print(f"seed {SEED}, {MODELS} models", flush=True)
    for i in range(MODELS):
        r = random.Random(f"{SEED}/{i}")
        with tempfile.TemporaryDirectory(prefix="lory-random-") as d:
            c, model = make_model(os.path.join(d, "m"), r)
            for check in (check_loss, check_step, check_greedy, check_sampled, check_batch):
                try:
                    check(d, r, c, model)
                except AssertionError:
                    print(f"FAIL  {check.__name__}, seed {SEED}, model {i}: {c}", flush=True)
                    raise
    print(f"{MODELS} models as transformers has them")


main()
