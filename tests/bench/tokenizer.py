"""Lory's tokenizer beside its peers, in one run on the same files:

    tests/bench/tokenizer.py BUILD/tools CORPUS [--vocab TOKENIZER.json] [--only train|encode]

CORPUS is a folder of gzip JSONL with the field "content". Prints wall and processor seconds, MB of text
per processor second, peak memory, and how many times better than each peer Lory is by either clock: on a busy
machine processor time is the steadier one. --vocab (GPT-2's tokenizer.json, say) is what is encoded with;
without it the vocabulary just trained. The peers are the packages tokenizers, tiktoken and gigatoken; one that is
missing is left out. Run it with the Python that has them. Other texts than a corpus: hostile.py."""
import argparse
import glob
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

VOCAB_SIZE = 32768
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


def docs(path):
    """Texts of a JSONL file, or of all files of a folder."""
    files = sorted(glob.glob(path + "/*.gz")) if os.path.isdir(path) else [path]
    for f in files:
        with (gzip.open if f.endswith(".gz") else open)(f, "rt", encoding="utf-8") as h:
            for line in h:
                yield json.loads(line)["content"]


# ---------------------------------------------------------------- peers: each in a process of its own


def train_tokenizers(corpus, out):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(docs(corpus), trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.save(out)


def train_gigatoken(corpus, _):
    import gigatoken
    gigatoken.train_bpe(gigatoken.JsonlFileSource([corpus], field="content"), VOCAB_SIZE,
                        ["<|endoftext|>"])


def encode_tokenizers(texts, tok):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(tok)
    return lambda: sum(len(e.ids) for e in t.encode_batch(texts, add_special_tokens=False))


def encode_gigatoken(texts, tok):
    import gigatoken
    t = gigatoken.Tokenizer(tok)
    return lambda: sum(len(x) for x in t.encode_batch(texts, parallel=False))


def encode_tiktoken(texts, tok):
    import tiktoken
    with open(tok, encoding="utf-8") as h:
        j = json.load(h)
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in kept]
    byte = {chr(b): b for b in kept} | {chr(256 + i): b for i, b in enumerate(others)}
    special = {a["content"] for a in j["added_tokens"]}
    model = sorted((i, s) for s, i in j["model"]["vocab"].items() if s not in special)
    # ranks in the order of ids, from 0
    ranks = {bytes(byte[c] for c in s): rank for rank, (_, s) in enumerate(model)}
    e = tiktoken.Encoding("x", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})
    return lambda: sum(len(e.encode_ordinary(t)) for t in texts)


def spent():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def peer(name, path, second):
    """What the child prints: seconds without start-up and, for encoding, without reading."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    kind, package = name.split("-")
    if kind == "train":
        del os.environ["RAYON_NUM_THREADS"]
        run = lambda: globals()["train_" + package](path, second)
    else:
        run = globals()["encode_" + package](list(docs(path)), second)
    wall, cpu = time.time(), spent()
    ids = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": time.time() - wall, "cpu": spent() - cpu, "peak": peak, "ids": ids}))


# ---------------------------------------------------------------- the parent


def measured(command, times=1, says=False):
    """The best of some runs: wall, processor time, peak of the child, or what it says; or None."""
    best = None
    for _ in range(times):
        wall = time.time()
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = p.stdout.read(), p.stderr.read()
        _, status, u = os.wait4(p.pid, 0)
        p.returncode = status
        if status:
            print("   ", command[0].rsplit("/", 1)[-1], "failed:", err.decode()[-200:].strip())
            return None
        r = {"wall": time.time() - wall, "cpu": u.ru_utime + u.ru_stime, "peak": u.ru_maxrss / 1024}
        if says:
            r = json.loads(out.strip().splitlines()[-1])  # the last line: peers print, too
        if best is None or r["cpu"] < best["cpu"]:
            best = r
    return best


def row(name, r, mb, ours=None):
    if r is None:
        return
    text = f"  {name:28}{r['wall']:9.2f} s{r['cpu']:9.2f} s{mb / r['cpu']:9.1f} MB/s{r['peak']:8.0f} MB"
    if ours:
        text += f"{r['wall'] / ours['wall'] * ours['mb'] / mb:9.1f}x wall"
        text += f"{r['cpu'] / ours['cpu'] * ours['mb'] / mb:9.1f}x processor"
    print(text, flush=True)


def compare(title, mb, ours, peers, path, second):
    print(f"{title}: {mb:.1f} MB of text", flush=True)
    row("lory", ours, mb)
    if not ours:
        return
    ours["mb"] = mb
    for name in peers:
        at = path[name] if isinstance(path, dict) else (path, mb)
        r = measured([sys.executable, __file__, "--peer", name, at[0], second], says=True)
        row(name.split("-")[1], r, at[1], ours)


def write_jsonl(path, texts):
    n = 0
    with open(path, "w", encoding="utf-8") as h:
        for t in texts:
            h.write(json.dumps({"content": t}, ensure_ascii=False) + "\n")
            n += len(t.encode())
    return n / 1e6


def some(corpus, mb):
    n = 0
    for t in docs(corpus):
        yield t
        n += len(t.encode())
        if n > mb * 1e6:
            return


def train(args, d):
    plain = d + "/all.jsonl"
    mb = write_jsonl(plain, docs(args.corpus))
    ours = measured([args.tools + "/bpe-train", args.corpus, "--vocab", str(VOCAB_SIZE), "-o", d + "/tok",
                     "-q"], 3)
    compare("training, vocabulary 32,768", mb, ours, ["train-tokenizers", "train-gigatoken"],
            {"train-tokenizers": (args.corpus, mb), "train-gigatoken": (plain, mb)}, d + "/hf.json")
    # What no trainer of this corpus can do without: inflating it and looking at every byte once.
    row("corpus stats (the limit)", measured([args.tools + "/corpus", "stats", args.corpus, "--json",
                                              "-q"], 3), mb, ours)


def encode_command(tools, tok, path, out, threads=1):
    return [tools + "/tokenize", "encode", "-t", tok, "--field", "content", "--ids", "u32", "--allow-special",
            "all", "--threads", str(threads), "-q", path, "-o", out]


def encode(args, d):
    tok = args.vocab or d + "/tok/tokenizer.json"
    peers = {}
    for name, mb in (("encode-tokenizers", 10), ("encode-tiktoken", 30), ("encode-gigatoken", args.mb)):
        path = f"{d}/{name}.jsonl"
        peers[name] = (path, write_jsonl(path, some(args.corpus, mb)))
    path, mb = peers["encode-gigatoken"]
    ours = measured(encode_command(args.tools, tok, path, d + "/ids"), 3)
    compare("encoding, one thread, JSONL to ids on disk (peers: from memory)", mb, ours, peers, peers, tok)
    if not ours:
        return
    two = measured(encode_command(args.tools, tok, path, d + "/ids", 2), 3)
    row("lory, two threads", two, mb)
    print(f"  two threads: {ours['wall'] / two['wall']:.2f}x one by the wall")


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("tools")
    p.add_argument("corpus")
    p.add_argument("--vocab")
    p.add_argument("--only", choices=["train", "encode"])
    p.add_argument("--mb", type=float, default=100, help="of the corpus, to encode")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        if args.only != "encode" or not args.vocab:
            train(args, d)
        if args.only != "train":
            encode(args, d)


if __name__ == "__main__":
    main()
