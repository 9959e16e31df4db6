"""Makes this folder anew: a small vocabulary trained and saved by HF tokenizers, and its ids for odd texts.

    python make.py      (tokenizers 0.23; the files here are its output)
"""
import json, os, random
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
EOT = "<|endoftext|>"
R = random.Random(7)
WORDS = ["self", "return", "def", "for", "in", "the", "and", "été", "Straße", "данные", "数据", "データ",
         "print", "x", "i", "0", "17", "2024", "'re", "don't", "==", "(", ")", ":", "->", "😀"]


def text(n):
    out = []
    for _ in range(n):
        out.append(R.choice(WORDS) + R.choice([" ", " ", " ", "\n", "\n    ", "\t", ", ", "  "]))
    return "".join(out)


t = Tokenizer(models.BPE())
t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
t.decoder = decoders.ByteLevel()
t.post_processor = processors.ByteLevel(trim_offsets=False)
specials = [AddedToken(EOT, normalized=True, special=True), AddedToken("<pad>", special=True)]
t.train_from_iterator([text(400) for _ in range(20)], trainers.BpeTrainer(
    vocab_size=420, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False))
t.save(os.path.join(HERE, "tokenizer.json"))
t.model.save(HERE)

texts = [text(R.randint(0, 30)) for _ in range(12)] + [
    "", " ", "\n", "a", EOT, "x" + EOT, EOT + EOT + " y", "<pad> <|endoftext", "x<pad>y", "\r\n\r\n  \t",
    "self.self.self", "    return x", "x" * 300, " " * 300, "é" * 90, "ſ'S'T", "\u00a0\u3000\u2028\x85",
    "\x00\x01\x7f", "\ufeffdef", "🏳️‍🌈 \u0301", "данныеdata数据データ", "1234567 ½ Ⅻ ٣"]
rows = [{"text": s, "all": t.encode(s, add_special_tokens=False).ids} for s in texts]
plain = json.loads(t.to_str())
plain["added_tokens"] = []
p = Tokenizer.from_str(json.dumps(plain))
for row in rows:
    row["none"] = p.encode(row["text"], add_special_tokens=False).ids
with open(os.path.join(HERE, "ids.jsonl"), "w", encoding="utf-8") as f:
    for row in rows:
        f.write(json.dumps(row, ensure_ascii=False) + "\n")
