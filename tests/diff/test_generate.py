"""lmgen beside transformers' generate(): the same greedy ids from every form a model comes in, and under each
logits processor. Usage: test_generate.py TOOLS CASES MAKE, where CASES checks what MAKE has made (sampling_cases.c and
tests/golden/sampling); the interpreter named by LORY_PYTHON is used if this one lacks the packages; exit 77 if both do.

Runs of lmtrain in fp32 and bf16 (the run's folder and its checkpoints), and what transformers itself saves: one
file, many, bf16, untied. All read in fp32, where the largest logit is far from a tie.
"""
import json, os, random, shutil, struct, subprocess, sys, tempfile

import peers

peers.need("torch", "transformers")
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2Config, GPT2LMHeadModel

TOOLS, CASES, MAKE = (os.path.abspath(p) for p in sys.argv[1:])
V, T = 97, 48


def train(dir, name, *more):
    p = subprocess.run([os.path.join(TOOLS, "lmtrain"), "--train", "t.bin", "--vocab", str(V), "--layers", "2", "--width",
                        "48", "--heads", "3", "--seq-len", str(T), "--batch", "4", "--steps", "30", "--lr", "3e-3",
                        "--save-every", "15", "--keep", "9", "--device", "cpu", "-o", name, "-q", *more],
                       cwd=dir, capture_output=True)
    assert p.returncode == 0, p.stderr.decode()
    return [os.path.join(dir, name), os.path.join(dir, name, "checkpoint-15"), os.path.join(dir, name, "checkpoint-30")]


def saved(dir):
    """Folders as transformers writes them."""
    torch.manual_seed(1)
    shape = dict(vocab_size=V, n_positions=T, n_embd=48, n_layer=2, n_head=3, initializer_range=0.3)
    for name, config, options in (("one", {}, {}), ("many", {}, {"max_shard_size": "40KB"}),
                                  ("untied", {"tie_word_embeddings": False, "activation_function": "gelu"}, {}),
                                  ("scaled", {"scale_attn_by_inverse_layer_idx": True, "n_inner": 100}, {})):
        GPT2LMHeadModel(GPT2Config(**shape, **config)).save_pretrained(os.path.join(dir, name), **options)
        yield os.path.join(dir, name)
    GPT2LMHeadModel(GPT2Config(**shape)).to(torch.bfloat16).save_pretrained(os.path.join(dir, "half"))
    yield os.path.join(dir, "half")


def theirs(folder, prompt, n):
    m = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    return m.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, eos_token_id=None,
                      pad_token_id=0)[0].tolist()


def ours(folder, prompt, n):
    p = subprocess.run([os.path.join(TOOLS, "lmgen"), "-m", folder, "--prompt-ids", " ".join(map(str, prompt)), "--greedy",
                        "--max-new", str(n), "--no-stop", "--ids", "json", "--dtype", "fp32", "--device", "cpu", "-q"],
                       capture_output=True)
    assert p.returncode == 0, p.stderr.decode()
    return json.loads(p.stdout)


def processors(rng, folder):
    """generation_config.json with what changes greedy ids, read by both."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    path = os.path.join(folder, "generation_config.json")
    plain = theirs(folder, [3, 4], 20)
    pair = [plain[4], plain[5]]
    for own in ({"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 1},
                {"min_new_tokens": 9, "eos_token_id": plain[5]}, {"min_length": 12, "eos_token_id": [plain[2], plain[6]]},
                {"bad_words_ids": [pair, [plain[3]]]}, {"suppress_tokens": plain[3:6]}, {"begin_suppress_tokens": plain[2:4]},
                {"sequence_bias": [[[plain[4]], -3.0], [pair, 4.5]]},
                {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3, "bad_words_ids": [pair], "suppress_tokens": [plain[7]]}):
        with open(path, "w") as f:
            json.dump(own, f)
        model.generation_config = GenerationConfig.from_pretrained(folder)
        for length in 1, 2, 9:
            ids = torch.tensor([[3, 4, 7, 7, 7, 9, 3, 4, 7][:length]])
            want = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, pad_token_id=0)[0].tolist()
            p = subprocess.run([os.path.join(TOOLS, "lmgen"), "-m", folder, "--prompt-ids", str(ids[0].tolist()), "--greedy",
                                "--max-new", "20", "--ids", "json", "--dtype", "fp32", "--device", "cpu", "-q"], capture_output=True)
            assert p.returncode == 0, p.stderr.decode()
            ends = own.get("eos_token_id", [])  # transformers has the end of the text with the text
            got = json.loads(p.stdout)
            assert got == want or (want[-1] in (ends if isinstance(ends, list) else [ends]) and got == want[:-1]), (own, got, want)
    os.remove(path)


def random_cases(dir):
    """The processors over random scores, with this transformers."""
    cases = os.path.join(dir, "cases.json")
    with open(cases, "w") as f:
        subprocess.run([sys.executable, MAKE, "11", "600"], stdout=f, stderr=subprocess.DEVNULL, check=True)
    p = subprocess.run([CASES, cases], capture_output=True)
    assert p.returncode == 0, p.stdout.decode() + p.stderr.decode()


def main():
    rng = random.Random(5)
    dir = tempfile.mkdtemp(prefix="lory-generate-")
    try:
        tokens = [0]
        for _ in range(6000):
            tokens.append((tokens[-1] * 7 + rng.choice((3, 3, 3, 10))) % V)
        with open(os.path.join(dir, "t.bin"), "wb") as f:
            f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens))
        folders = train(dir, "fp32") + train(dir, "bf16", "--dtype", "bf16") + list(saved(dir))
        for folder in folders:
            for length in (1, 9, 30):
                prompt = [rng.randrange(V) for _ in range(length)]
                want, got = theirs(folder, prompt, T - length), ours(folder, prompt, T - length)
                assert got == want, (folder, prompt, want, got)
        processors(rng, os.path.join(dir, "one"))
        random_cases(dir)
        print(f"the same ids from {len(folders)} folders")
    finally:
        shutil.rmtree(dir)


main()
