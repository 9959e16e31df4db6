"""Random expressions as `tokenize pieces --pattern` and as HF's Split cut texts with them (Oniguruma): whatever
Lory takes must give the same pieces. LORY_SEED chooses them. Run with the folder of the programs; exit 77
without tokenizers."""
import json
import os
import random
import subprocess
import sys
import unittest

import peers

peers.need("tokenizers")
from tokenizers import Regex, pre_tokenizers

TOOLS = os.path.abspath(sys.argv.pop(1))
SEED = int(os.environ.get("LORY_SEED", "1"))
BITS = ["a", "b", "s", "t", "S", "T", "st", "ss", "ff", "fi", "ﬁ", "ß", "ſ", "K", "k", "İ", "ı", "é", "É", "e\u0301",
        "ǆ", "ǅ", "σ", "ς", "\u0345", " ", "  ", "\t", "\n", "\n\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0",
        "\u180e", "\u200b", "\u200d", "\u2028", "\u3000", "1", "12", "1234567", "½", "²", "٣", "Ⅷ", "Ⓐ", "_", "‿",
        "-", "--", "&&", "[", "]", "{", "}", "^", "$", "|", "\\", "'", "'s", "'LL", "don't", "数据", "データ", "々",
        "안녕", "данные", "हिन्दी", "😀", "👩\u200d👩\u200d👧", "\u1c89", "\x00", "\U000323af", "\U0010ffff", "x" * 70]
SETS = [r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\p{L}", r"\p{Lu}", r"\p{Ll}", r"\P{L}", r"\p{^N}", r"\p{N}",
        r"\p{M}", r"\p{P}", r"\p{S}", r"\p{Z}", r"\p{C}", r"\p{Nd}", r"\p{Letter}", r"\p{White_Space}", r"\p{Han}"]
CHARS = ["a", "b", "s", "S", "t", "f", "i", "k", "1", " ", "'", "_", "é", "ß", "数", r"\n", r"\r", r"\t", r"\v", r"\f",
         r"\x41", r"\x{e9}", r"\x{1F600}", r"\-", r"\[", r"\]", r"\\", r"\.", r"\{", r"\|", r"\$", r"\^", r"\'", "-", "}"]
ODD = [r"\h", r"\X", r"\R", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\G", r"\K", r"\N", "^", "$", r"\s++$", "{", "{,2}",
       r"\p{Greek}", r"\pL", r"\1", r"\0", r"\xe9", r"\Q.\E", "(?m)", "(?s)", "(?x)", "(?i)", "(?#c)", "[[:alpha:]]",
       "[a&&b]", "[a--b]", "[a[^b]]", "(?<n>a)", "(?P<n>a)", "(?-i:a)", "()", "a|", r"\u0041", "(?~a)"]


def a_class(rng):
    items = []
    for _ in range(rng.randint(1, 4)):
        k = rng.random()
        if k < .4:
            items.append(rng.choice(SETS))
        elif k < .5:
            items.append(rng.choice(["a-z", "A-Z", "0-9", "一-龥", r"\x00-\x1f", "k-s"]))
        elif k < .55:
            items.append(a_class(rng))
        elif k < .6:
            items.append(rng.choice(["&&", "(", ")", "*", "^", "$", "|", "."]))
        else:
            items.append(rng.choice(CHARS))
    return "[" + rng.choice(["", "", "^"]) + "".join(items) + "]"


def expression(rng, depth=0):
    parts = []
    for _ in range(rng.randint(1, 4)):
        k = rng.random()
        if k < .3:
            part = rng.choice(SETS)
        elif k < .55:
            part = rng.choice(CHARS)
        elif k < .8:
            part = a_class(rng)
        elif k < .82:
            part = rng.choice(ODD)
        elif k < .86:
            part = "."
        elif depth < 2:
            part = rng.choice(["(", "(?:", "(?:", "(?>", "(?i:", "(?=", "(?!"]) + expression(rng, depth + 1) + ")"
        else:
            part = "ab"
        if part[:3] not in ("(?=", "(?!", "(?<"):
            part += rng.choice([""] * 6 + ["?", "*", "+", "+", "??", "+?", "*?", "?+", "++", "*+", "{2}", "{1,3}",
                                           "{2,}", "{1,3}?", "{1,3}+", "{2}?"])
        parts.append(part)
    if rng.random() < .1:
        parts.insert(0, rng.choice(["(?<=", "(?<!"]) + rng.choice(SETS + CHARS) + ")")
    if rng.random() < .3:
        parts.insert(rng.randrange(len(parts) + 1), "|")
    return ("(?i)" if depth == 0 and rng.random() < .05 else "") + "".join(parts)


class Patterns(unittest.TestCase):
    def test_pieces(self):
        rng = random.Random(SEED)
        docs = ["".join(rng.choice(BITS) for _ in range(rng.randint(0, 25))) for _ in range(120)]
        given = "".join(json.dumps({"text": d}) + "\n" for d in docs).encode()
        taken = 0
        for _ in range(int(os.environ.get("LORY_ROUNDS", "50"))):
            regex = expression(rng)
            try:
                split = pre_tokenizers.Split(Regex(regex), "isolated")
            except Exception:
                continue # HF cannot have written it
            r = subprocess.run([os.path.join(TOOLS, "tokenize"), "pieces", "-q", "--json", "--format", "jsonl",
                                "--pattern", regex, "-"], input=given, capture_output=True, timeout=100)
            if r.returncode:
                self.assertIn(r.returncode, (2, 3), r.stderr)
                self.assertIn(b"pattern", r.stderr)
                continue
            taken += 1
            for d, line in zip(docs, r.stdout.splitlines()):
                got = [p["text"] for p in json.loads(line)["pieces"]]
                self.assertEqual([d[a:b] for _, (a, b) in split.pre_tokenize_str(d)], got,
                                 f"seed {SEED}: {regex}: {d!r}")
        self.assertGreater(taken, 0)


if __name__ == "__main__":
    unittest.main()
