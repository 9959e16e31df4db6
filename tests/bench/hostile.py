"""Texts that are hard to tokenize beside Python, by the whole program, JSONL to ids on disk:

    tests/bench/hostile.py BUILD/tools CORPUS -t TOKENIZER… [--text FILE]… [--mb 40] [--times 3] [--only NAME,NAME]
        [--record 20000]

CORPUS is a folder of gzip JSONL with the field "content" (Python files, say). Every text below is drawn anew
from --seed, in records of so many characters (a million: those of tiktoken's tests); --text adds files that
somebody wrote. A row is MB of text per second of processor time, start included, the best of --times runs,
and its share of the corpus's, which runs again before every text, as the speed of a shared machine moves."""
import argparse
import base64
import os
import random
import sys
import tempfile

from tokenizer import encode_command, measured, some, write_jsonl

SCRIPTS = [(0x61, 0x7B), (0x430, 0x450), (0x3B1, 0x3CA), (0x5D0, 0x5EB), (0x628, 0x64B), (0x905, 0x93A),
           (0xE01, 0xE31), (0x3041, 0x3097), (0x30A1, 0x30FB), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4),
           (0x1F300, 0x1F650)]
FAMILY = "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466"


def letters(r, a, b, n):
    return "".join(map(chr, r.choices(range(a, b), k=n)))


def words(r, alphabet, n):
    """Words of 1 to 12 random letters with a blank between."""
    out = []
    while n > 0:
        w = "".join(r.choices(alphabet, k=r.randint(1, 12)))
        out.append(w)
        n -= len(w) + 1
    return " ".join(out)


def mixed(r, n):
    """Runs of 1 to 20 letters of one script after the other."""
    out = []
    while n > 0:
        k = r.randint(1, 20)
        out.append(letters(r, *r.choice(SCRIPTS), k))
        n -= k
    return "".join(out)


def runs(r, n, marks, most):
    """Runs of random length: rules, blank lines, progress bars."""
    return "".join(r.choice(marks) * r.randint(1, most) for _ in range(2 * n // most + 1))[:n]


def any_code_points(r, n):
    return "".join(chr(c if c < 0xD800 else c + 0x800) for c in r.choices(range(0x110000 - 0x800), k=n))


PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
ASCII_LETTERS = [chr(c) for c in range(65, 91)] + [chr(c) for c in range(97, 123)]
TEXTS = {
    "random ideographs": lambda r, n: letters(r, 0x4E00, 0x9FA6, n),
    "random letters": lambda r, n: "".join(r.choices(ASCII_LETTERS, k=n)),
    "random words": lambda r, n: words(r, ASCII_LETTERS[26:], n),
    "base64": lambda r, n: base64.b64encode(r.randbytes(n * 3 // 4)).decode(),
    "hexadecimal": lambda r, n: r.randbytes(n // 2).hex(),
    "rules": lambda r, n: runs(r, n, "#=*/-.", 100),
    "runs of marks": lambda r, n: runs(r, n, PUNCTUATION, 40),
    "blank lines": lambda r, n: "".join(" " * r.randint(0, 80) + "\n" for _ in range(n // 41)),
    "tabs and blanks": lambda r, n: runs(r, n, "\t \n", 8),
    "digits": lambda r, n: "".join(r.choices("0123456789", k=n)),
    "punctuation": lambda r, n: "".join(r.choices(PUNCTUATION, k=n)),
    "mixed scripts": mixed,
    "any code points": any_code_points,
    "random bytes": lambda r, n: r.randbytes(n).decode("utf-8", "replace"),
    "a": lambda r, n: "a" * n,
    "ab": lambda r, n: "ab" * (n // 2),
    "blanks": lambda r, n: " " * n,
    "e acute": lambda r, n: "\u00e9" * n,
    "families": lambda r, n: FAMILY * (n // len(FAMILY)),
}


def records(text, n):
    for at in range(0, len(text), n):
        yield text[at:at + n]


def drawn(name, seed, mb, n):
    """Records of n characters of one of TEXTS, until they are that many MB."""
    r = random.Random(f"{name} {seed}")
    left = mb * 1e6
    while left > 0:
        text = TEXTS[name](r, n)
        left -= len(text.encode())
        yield text


def speed(args, tok, file, out):
    """MB of text per second of processor time."""
    path, mb = file
    r = measured(encode_command(args.tools, tok, path, out))
    return mb / r["cpu"] if r else sys.exit(f"{path}: no figure")


def compare(args, d, names):
    base = (d + "/corpus.jsonl", write_jsonl(d + "/corpus.jsonl", some(args.corpus, args.mb * 1.5)))
    files = {}
    for i, name in enumerate(names):
        if name in TEXTS:
            texts = drawn(name, args.seed, args.mb, args.record)
        else:
            with open(name, encoding="utf-8") as h:
                texts = list(records(h.read(), args.record))
        files[name] = (f"{d}/{i}.jsonl", write_jsonl(f"{d}/{i}.jsonl", texts))
    for tok in args.tokenizer:
        print(tok, flush=True)
        for name in names:
            corpus = ours = 0
            for _ in range(args.times):
                corpus = max(corpus, speed(args, tok, base, d + "/ids"))
                ours = max(ours, speed(args, tok, files[name], d + "/ids"))
            print(f"  {os.path.basename(name):24}{ours:8.1f} MB/s{100 * ours / corpus:6.0f} % of{corpus:7.1f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("tools")
    p.add_argument("corpus")
    p.add_argument("-t", "--tokenizer", action="append", required=True)
    p.add_argument("--text", action="append", default=[])
    p.add_argument("--only", type=lambda s: s.split(","))
    p.add_argument("--mb", type=float, default=40)
    p.add_argument("--times", type=int, default=3)
    p.add_argument("--seed", default="1")
    p.add_argument("--record", type=int, default=20000, help="characters")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        compare(args, d, (args.only or list(TEXTS)) + args.text)


if __name__ == "__main__":
    main()
