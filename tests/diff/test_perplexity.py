"""lmeval --stride beside transformers: the guide's sliding window ("Perplexity of fixed-length models"), each target
weighted equally, over a plain text and over shards. Usage: test_perplexity.py TOOLS MODEL TOKENIZER
"""
import json, math, os, random, struct, subprocess, sys, tempfile

import peers

peers.need("torch", "transformers", "tokenizers")
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

TOOLS, MODEL, TOK = (os.path.abspath(p) for p in sys.argv[1:])
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64).eval()


def guide(ids, max_length, stride):
    """The guide's loop. It weights each window's mean by its targets less one, which is one too few in every window that
    overlaps; here by the targets that there are."""
    total, n, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + max_length, len(ids))
        inputs = torch.tensor([ids[begin:end]])
        labels = inputs.clone()
        labels[:, :-(end - before)] = -100
        count = int((labels[:, 1:] != -100).sum())
        if count:
            with torch.no_grad():
                total += model(inputs, labels=labels).loss.item() * count
        n += count
        before = end
        if end == len(ids):
            break
    return total / n, n


def lmeval(*args):
    p = subprocess.run([os.path.join(TOOLS, "lmeval"), "loss", "-m", MODEL, "--device", "cpu", "--dtype", "fp32", "-q", "--json",
                        *map(str, args)], capture_output=True)
    assert p.returncode == 0, p.stderr.decode()
    return json.loads(p.stdout)


def close(got, want):
    loss, n = want
    assert got["tokens"] == n and abs(got["loss"] - loss) < 2e-6 * loss, (got, want)
    assert abs(got["perplexity"] - math.exp(loss)) < 1e-5 * math.exp(loss), (got, want)


def main():
    rng = random.Random(3)
    with tempfile.TemporaryDirectory() as dir:
        text = "".join(rng.choice(("def ", "x", " = ", "7", "\n", "é", "return ", "数据")) for _ in range(300))
        path = os.path.join(dir, "text.txt")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        ids = Tokenizer.from_file(os.path.join(TOK, "tokenizer.json")).encode(text, add_special_tokens=False).ids
        for length, stride in ((48, 48), (48, 24), (48, 7), (20, 1), (48, None)):
            got = lmeval("--text", path, "-t", TOK, "--seq-len", length, *(["--stride", stride] if stride else []))
            close(got, guide(ids, length, stride or length))
            bits = got["loss"] / math.log(2) * len(ids) / len(text.encode())
            assert abs(got["bits_per_byte"] - bits) < 1e-9, (got, bits)
        shards = [[rng.randrange(515) for _ in range(n)] for n in (200, 48, 31)]
        for k, tokens in enumerate(shards):
            with open(os.path.join(dir, f"valid-{k:05}.bin"), "wb") as f:
                f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens))
        each = [guide(tokens, 48, 16) for tokens in shards]
        n = sum(n for _, n in each)
        got = lmeval("--stride", 16, "--batch", 3, *[os.path.join(dir, f"valid-{k:05}.bin") for k in range(3)])
        close(got, (sum(loss * n for loss, n in each) / n, n))
    print("the guide's perplexity")


main()
