"""Every kind of checkpoint in a fresh transformers: it loads without a word, its tokenizer with it, and generates
the same greedy text. Usage: test_transformers.py FOLDER_OF_PROGRAMS FOLDER_OF_TEXT; exit 77 without torch."""
import glob, json, os, random, struct, subprocess, sys, tempfile

import peers

peers.need("torch", "transformers")
import torch, transformers

TOOLS, TEXT = map(os.path.abspath, sys.argv[1:3])
SHAPES = {"plain": [], "untied": ["--no-tied"], "inner": ["--inner", "40", "--activation", "gelu"],
          "layers": ["--scale-attn-by-inverse-layer-idx", "--reorder-and-upcast-attn"],
          "deep": ["--layers", "5", "--heads", "1", "--positions", "100"], "start": ["--steps", "0"]}
FAILED = 0


def check(name, good, note=""):
    global FAILED
    FAILED += not good
    print(("ok    " if good else "FAIL  ") + name, note if not good else "", flush=True)


def run(d, program, *args):
    p = subprocess.run([os.path.join(TOOLS, program), *args], cwd=d, capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"{program} {' '.join(args)}: exit {p.returncode}: {p.stderr}")
    return p.stdout


def compare(d, name, folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    check(f"{name}: no key missing, none too many", not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    check(f"{name}: ids of config and tokenizer", model.config.eos_token_id == tokenizer.eos_token_id
          and model.config.bos_token_id == tokenizer.bos_token_id and model.config.vocab_size == len(tokenizer),
          (model.config.eos_token_id, tokenizer.eos_token_id))
    for prompt in ("def f(", "import os\n\nclass", "x = "):
        x = tokenizer(prompt, return_tensors="pt")
        want = model.eval().generate(**x, max_new_tokens=20, do_sample=False, pad_token_id=0)[0].tolist()
        got = json.loads(run(d, "lmgen", "-m", folder, prompt, "--greedy", "--max-new", "20", "--ids", "json", "--dtype", "fp32"))
        want = want[x["input_ids"].shape[1]:] if len(got) < len(want) else want
        eos = tokenizer.eos_token_id
        cut = lambda v: v[:v.index(eos)] if eos in v else v
        check(f"{name}: {prompt!r} goes on alike", cut(got) == cut(want), (got, want))


def masked_loss(d, folder):
    """The loss over completions: lmeval on shards with masks, and transformers with -100 for what they take out."""
    rng = random.Random(3)
    with open(os.path.join(d, "sft.jsonl"), "w") as f:
        for i in range(120):
            f.write(json.dumps({"prompt": "".join(rng.choices("def (x):\n", k=rng.randrange(1, 60))), "completion": f"{i}\n"}) + "\n")
    run(d, "shard", "sft.jsonl", "--prompt", "prompt", "--seq-len", "32", "--valid-fraction", "0.5", "-o", "sft", "-q")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    total, count = 0.0, 0
    for path in sorted(glob.glob(os.path.join(d, "sft", "valid-*.bin"))):
        data, bits = open(path, "rb").read(), open(path[:-3] + "mask", "rb").read()[24:]
        tokens = struct.unpack(f"<{(len(data) - 1024) // 2}H", data[1024:])
        for at in range(0, len(tokens), 32):
            ids = list(tokens[at:at + 32])
            labels = [t if bits[i // 8] >> i % 8 & 1 else -100 for i, t in enumerate(ids, at)]
            n = sum(x != -100 for x in labels[1:])
            if n:
                loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
                total, count = total + loss.item() * n, count + n
    got = json.loads(run(d, "lmeval", "loss", "-m", folder, "--valid", "sft", "--window", "hf", "--json", "--dtype", "fp32"))
    check("masked loss: as many targets", got["tokens"] == count, (got["tokens"], count))
    check("masked loss", abs(got["loss"] - total / count) < 1e-5, (got["loss"], total / count))


with tempfile.TemporaryDirectory() as d:
    os.symlink(TEXT, os.path.join(d, "corpus"))
    run(d, "bpe-train", "--vocab", "400", "-q")
    run(d, "shard", "--seq-len", "32", "-q")
    for name, more in SHAPES.items():
        steps = [] if "--steps" in more else ["--steps", "30"]
        shape = [] if "--layers" in more else ["--layers", "2", "--heads", "2"]
        run(d, "lmtrain", "--train", "shards", "--width", "32", "--batch", "8", "--lr", "1e-2", "--warmup", "3", "-q",
            "--device", "cpu", "--save-every", "15", "-o", name, *steps, *shape, *more)
        for folder in ([f"{name}/checkpoint-15", f"{name}/checkpoint-30", name] if steps else [f"{name}/checkpoint-0", name]):
            compare(d, folder, os.path.join(d, folder))
    masked_loss(d, os.path.join(d, "plain"))
print(f"transformers {transformers.__version__}")
sys.exit(FAILED > 0)
