"""Lory's tokenizer beside HF tokenizers (and tiktoken, transformers where there are): ids of many kinds of
vocabulary for random texts, and the files that both write. Run with the folder of the programs; the
interpreter named by LORY_PYTHON is used if this one lacks the packages; exit 77 if both do."""
import array
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest

import peers

peers.need("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

TOOLS = os.path.abspath(sys.argv.pop(1))
EOT = "<|endoftext|>"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LEAD, END = r"[^\r\n\p{L}\p{N}]?", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
O200K = (LEAD + UPPER + "*" + LOWER + "+" + END + LEAD + UPPER + "+" + LOWER + "*" + END +
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BITS = ["def f(self):\n    return ", "    ", "\t", "\n", "\n\n", "\r\n", " ", "  ", "'s", "'LL", "don't",
        "1234567", "½Ⅻ٣", "été", "данные", "数据データ", "안녕", "e\u0301", "😀", "👩‍👩‍👧", "\u00a0", "\u3000",
        "\u2028", "\x85", "\x00", "\ufeff", "ſ", "İ", "==", "->", "-" * 70, "aaaa", "x" * 90, "_", EOT,
        "<pad>", "<|endof", "<L>", "<R>", "WORD", "<b>", "e\u0323\u0301", "\u1100\u1161\u11a8", "가\u11a8", "\u0344",
        "\u212b", "a\u0301\u0328\u0345", "\u0958", "\u09c7\u09be", "<e\u0301>", "<é>", "<|né|>"]


def texts(rng, n, longest):
    return ["".join(rng.choice(BITS) if rng.random() < 0.6 else
                    rng.choice("abcdefghijklmnop") * rng.randint(1, 3)
                    for _ in range(rng.randint(0, longest))) for _ in range(n)]


def trained(rng, pre, vocab=700, normalizer=None, specials=(EOT, "<pad>"), **options):
    t = Tokenizer(models.BPE(**options))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts(rng, 200, 60), trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def byte_level(**more):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **more})


def split(behavior, invert, regex=CL100K):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), behavior, invert=invert),
                                    byte_level(use_regex=False)])


def steps(*parts, **level):
    """Regular expressions, digits (True: each alone), or texts in a list; then ByteLevel."""
    made = [pre_tokenizers.Digits(individual_digits=p) if isinstance(p, bool) else
            pre_tokenizers.Split(p[0] if isinstance(p, list) else Regex(p), "isolated") for p in parts]
    return pre_tokenizers.Sequence(made + [byte_level(**level)])


DEEPSEEK_CODER = ["[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", True]
DEEPSEEK_V3 = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"
               r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
SEQUENCES = {"starcoder": lambda: steps(True), "numbers apart": lambda: steps(False),
             "deepseek coder": lambda: steps(*DEEPSEEK_CODER, use_regex=False),
             "deepseek v3": lambda: steps(*DEEPSEEK_V3, use_regex=False),
             "a split and GPT-2's": lambda: steps(["\n"], QWEN2), "ends of lines": lambda: steps("^ +| +$")}


def kinds(rng):
    yield "gpt2", trained(rng, byte_level())
    for name, pre in SEQUENCES.items():
        yield name, trained(rng, pre())
    yield "prefix space", trained(rng, byte_level(add_prefix_space=True))
    yield "cl100k", trained(rng, split("isolated", False))
    yield "cl100k, removed", trained(rng, split("removed", True))
    yield "ignore_merges", trained(rng, byte_level(), ignore_merges=True)
    yield "a special with an accent", trained(rng, byte_level(), specials=[EOT, "<|né|>"])
    t = trained(rng, byte_level())
    t.add_special_tokens([AddedToken("<L>", lstrip=True), AddedToken("<R>", rstrip=True)])
    t.add_tokens([AddedToken("WORD", single_word=True), AddedToken("<b>", normalized=False),
                  AddedToken("数据", normalized=True)])
    t.post_processor = processors.TemplateProcessing(
        single=f"{EOT} $A", pair=f"{EOT} $A $B", special_tokens=[(EOT, 0)])
    yield "added tokens", t
    t = trained(rng, byte_level(add_prefix_space=True))
    t.add_special_tokens([AddedToken("<L>", lstrip=True), AddedToken("<R>", rstrip=True)])
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    yield "trimmed offsets", t
    t = trained(rng, byte_level())
    t.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    yield "trimmed offsets, no prefix", t
    t = trained(rng, split("isolated", False), normalizer=normalizers.NFC())
    t.add_tokens([AddedToken("<é>", normalized=True), AddedToken("e\u0301", normalized=False),
                  AddedToken("\u212b", normalized=True), AddedToken("<L>", lstrip=True, normalized=True)])
    yield "NFC", t
    t = trained(rng, byte_level(add_prefix_space=True),
                normalizer=normalizers.Sequence([normalizers.NFC()]))
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    yield "NFC, prefix space", t


ADDED = ["<|", "<|endof", "<L>", "WORD", "WORD WORD", "数据", "<é>", "e\u0301", "\u212b", " x", "a", "ab", "'s", "_", "1"]


def random_kind(rng):
    """A tokenizer with everything that its file can say, of which Lory may refuse something by name."""
    pre = rng.choice([byte_level(add_prefix_space=rng.random() < .4, use_regex=rng.random() < .9),
                      rng.choice(list(SEQUENCES.values()))(),
                      split(rng.choice(["isolated", "isolated", "removed", "contiguous"]), rng.random() < .3,
                            rng.choice([CL100K, QWEN2, O200K, r"\s+|\S+", r" ?\S+|\s+", r"\w+", r"."]))])
    t = trained(rng, pre, rng.choice([257, 300, 500]), rng.choice([None, None, normalizers.NFC(), normalizers.NFKC()]),
                rng.sample(ADDED, rng.randint(0, 3)), ignore_merges=rng.random() < .3, fuse_unk=rng.random() < .2)
    for text in rng.sample(ADDED, rng.randint(0, 4)):
        flags = {f: rng.random() < .25 for f in ("lstrip", "rstrip", "single_word")}
        token = AddedToken(text, normalized=rng.random() < .5, **flags)
        (t.add_special_tokens if rng.random() < .5 else t.add_tokens)([token])
    if rng.random() < .5:
        t.post_processor = processors.ByteLevel(trim_offsets=rng.random() < .7, add_prefix_space=rng.random() < .5)
    return t


def run(*args, given=None):
    r = subprocess.run([os.path.join(TOOLS, args[0]), *map(str, args[1:])], input=given,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    if r.returncode:
        raise AssertionError(f"{' '.join(map(str, args))}: exit {r.returncode}: {r.stderr.decode()}")
    return r.stdout


def encoded(tok, docs, *more):
    given = "".join(json.dumps({"text": d}) + "\n" for d in docs).encode()
    out = run("tokenize", "encode", "-q", "-t", tok, "--format", "jsonl", "--field", "text", "--ids",
              "json", *more, "-", given=given)
    return [json.loads(line) for line in out.splitlines()]


class Tokenizers(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(int(os.environ.get("LORY_SEED", "1")))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chdir(folder.name)
        self.addCleanup(os.chdir, "/")

    def compare(self, want, got, docs):
        for w, g, d in zip(want, got, docs):
            self.assertEqual(w, g, repr(d))
        self.assertEqual(len(want), len(got))

    def test_ids(self):
        for name, t in kinds(self.rng):
            with self.subTest(kind=name):
                t.save("tokenizer.json")
                docs = texts(self.rng, 300, 40)
                want = [t.encode(d, add_special_tokens=False).ids for d in docs]
                self.compare(want, encoded("tokenizer.json", docs, "--allow-special", "all"), docs)

    def test_random_tokenizers(self):
        taken = 0
        for i in range(30):
            t = random_kind(self.rng)
            t.save("tokenizer.json")
            docs = texts(self.rng, 60, 30) + ["".join(self.rng.choice(ADDED + [" "]) for _ in range(12))]
            try:
                got = encoded("tokenizer.json", docs, "--allow-special", "all", "--offsets", "chars")
            except AssertionError as e:
                self.assertIn("exit 6: tokenize encode: tokenizer.json", str(e))
                continue
            taken += 1
            want = [t.encode(d, add_special_tokens=False) for d in docs]
            self.compare([{"ids": w.ids, "tokens": w.tokens, "offsets": [list(o) for o in w.offsets]}
                          for w in want], got, docs)
        self.assertGreater(taken, 0)

    def test_added_tokens_that_are_not_special_are_always_found(self):
        """As with encode_special_tokens: GPT-NeoX's runs of blanks belong to what a model was trained on."""
        t = trained(self.rng, byte_level(), normalizer=normalizers.NFC())
        t.add_tokens([AddedToken(" " * n, normalized=True) for n in (24, 8, 4)] + [AddedToken("<b>", lstrip=True)])
        t.add_special_tokens(["<pad><b>", "<L>"])
        t.save("tokenizer.json")
        t.encode_special_tokens = True
        docs = texts(self.rng, 200, 40) + ["x" + " " * n + "y" for n in range(60)] + ["<pad><b> <b><L>"]
        want = [t.encode(d, add_special_tokens=False) for d in docs]
        got = encoded("tokenizer.json", docs, "--offsets", "chars")
        self.compare([{"ids": w.ids, "tokens": w.tokens, "offsets": [list(o) for o in w.offsets]} for w in want],
                     got, docs)
        with open("c.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        run("shard", "c.jsonl", "-t", "tokenizer.json", "--seq-len", 8, "--valid-fraction", 0.3, "-o", "shards", "-q")
        ids = [[]]
        for split in ("train", "valid"):
            with open(f"shards/{split}-00000.bin", "rb") as f:
                for i in array.array("H", f.read()[1024:]):
                    ids[-1].append(i)
                    if i == 0:
                        ids.append([])
        self.assertEqual(sorted(w.ids + [0] for w in want), sorted(ids[:-1]))

    def test_tokens_and_places(self):
        for name, t in kinds(self.rng):
            with self.subTest(kind=name):
                t.save("tokenizer.json")
                docs = texts(self.rng, 300, 40) + ["", " ", "e\u0301", "\u0301", " <L> ", "数 <R>  x"]
                want = [t.encode(d, add_special_tokens=False) for d in docs]
                got = encoded("tokenizer.json", docs, "--allow-special", "all", "--offsets", "chars")
                self.compare([{"ids": w.ids, "tokens": w.tokens,
                               "offsets": [list(o) for o in w.offsets]} for w in want], got, docs)
                self.compare([w.tokens for w in want],
                             encoded("tokenizer.json", docs, "--allow-special", "all", "--ids",
                                     "tokens"), docs)
                for d, g in zip(docs, encoded("tokenizer.json", docs, "--allow-special", "all",
                                              "--offsets", "bytes")):
                    whole = t.encode(d, add_special_tokens=False).offsets
                    at = [len(d[:i].encode()) for i in range(len(d) + 1)]
                    self.assertEqual(g["offsets"], [[at[a], at[b]] for a, b in whole], repr(d))

    def test_normal_form(self):
        """NFC of every character, beside others, as HF's normalizer."""
        t = trained(self.rng, byte_level(), normalizer=normalizers.NFC())
        t.save("tokenizer.json")
        chars = [chr(c) for c in range(0x30000) if not 0xd800 <= c < 0xe000 and
                 (c < 0x3200 or c % 7 == 0 or 0xa000 <= c < 0xac00 or 0xf900 <= c < 0x1f000
                  or c >= 0x2f800)]
        docs = ["".join(pattern.format(c) for c in chars[i:i + 500]) for i in range(0, len(chars), 500)
                for pattern in ("{} ", "a{}\u0323", "e\u0301{}\u0334", "\u1100{}\u11a8")]
        self.compare([t.encode(d).ids for d in docs], encoded("tokenizer.json", docs), docs)

    def test_training_after_a_normalizer(self):
        t = trained(self.rng, byte_level(), normalizer=normalizers.NFC())
        t.save("tokenizer.json")
        docs = texts(self.rng, 150, 60)
        with open("c.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        run("bpe-train", "c.jsonl", "--like", "tokenizer.json", "--vocab", 600, "-o", "tok", "-q")
        t = Tokenizer(models.BPE()) # without the added tokens, as train_new_from_iterator() does
        t.normalizer, t.pre_tokenizer = normalizers.NFC(), byte_level()
        t.train_from_iterator(docs, trainers.BpeTrainer(
            vocab_size=600, special_tokens=[EOT, "<pad>"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        got = Tokenizer.from_file("tok/tokenizer.json")
        self.assertEqual(got.get_vocab(), t.get_vocab())
        self.assertEqual(json.loads(got.to_str())["normalizer"], {"type": "NFC"})

    def test_training_in_steps(self):
        """Of a family's file, and by --pattern, which writes a file that cuts in the same way."""
        docs = texts(self.rng, 150, 60)
        with open("c.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        for name, pre in SEQUENCES.items():
            with self.subTest(sequence=name):
                t = trained(self.rng, pre())
                t.save("tokenizer.json")
                pattern = json.loads(run("tokenize", "info", "--json", "-t", "tokenizer.json"))["pattern"]
                t = Tokenizer(models.BPE())
                t.pre_tokenizer = pre()
                t.train_from_iterator(docs, trainers.BpeTrainer(
                    vocab_size=500, special_tokens=[EOT, "<pad>"], show_progress=False,
                    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
                for how in (["--like", "tokenizer.json"], ["--pattern", pattern, "--special", "<pad>"]):
                    run("bpe-train", "c.jsonl", *how, "--vocab", 500, "-o", "tok", "-q")
                    got = Tokenizer.from_file("tok/tokenizer.json")
                    self.assertEqual(got.get_vocab(), t.get_vocab(), how)
                    self.compare([t.encode(d).tokens for d in docs], [got.encode(d).tokens for d in docs], docs)

    def test_code_points(self):
        """Where the category of characters changes, among neighbours of all classes."""
        chosen, last = [], ""
        for c in range(0x110000):
            now = unicodedata.category(chr(c))
            if now != last and now != "Cs":
                chosen += [chr(x) for x in (c - 1, c) if x >= 0 and not 0xD800 <= x < 0xE000]
            last = now
        docs = ["".join(f"a{x}b B{x}C 1{x}2 {x} ({x})\n{x}\n '{x} {x}{x}'s\t{x}x{x}\n" for x in chosen[i:i + 64])
                for i in range(0, len(chosen), 64)]
        pres = {"gpt2": byte_level(), "cl100k": split("isolated", False),
                "qwen2": split("isolated", False, QWEN2), "qwen3.5": split("isolated", False, QWEN35), "o200k": split("isolated", False, O200K),
                "starcoder": steps(True)}
        for name, pre in pres.items():
            with self.subTest(pattern=name):
                trained(self.rng, pre).save("tokenizer.json")
                t = Tokenizer.from_file("tokenizer.json")
                self.assertEqual(json.loads(run("tokenize", "info", "--json", "-t", "tokenizer.json"))
                                 ["pattern"], name)
                want = [t.encode(d, add_special_tokens=False).ids for d in docs]
                self.compare(want, encoded("tokenizer.json", docs), docs)

    def test_decoding(self):
        t = trained(self.rng, byte_level())
        t.save("tokenizer.json")
        docs = texts(self.rng, 200, 40)
        ids = "".join(json.dumps(i) + "\n" for i in encoded("tokenizer.json", docs)).encode()
        out = run("tokenize", "decode", "-t", "tokenizer.json", "--ids", "json", "--format", "jsonl",
                  given=ids)
        self.assertEqual([json.loads(line)["text"] for line in out.splitlines()], docs)

    def test_files(self):
        """bpe-train's files are the bytes that a retrained GPT-2 tokenizer saves."""
        docs = texts(self.rng, 150, 60)
        t = Tokenizer(models.BPE())
        t.pre_tokenizer, t.decoder = byte_level(), decoders.ByteLevel()
        t.post_processor = processors.ByteLevel(trim_offsets=False)
        t.train_from_iterator(docs, trainers.BpeTrainer(
            vocab_size=600, special_tokens=[AddedToken(EOT, normalized=True)], show_progress=False,
            continuing_subword_prefix="", end_of_word_suffix="",
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        os.mkdir("hf")
        t.save("hf/tokenizer.json")
        t.model.save("hf")
        os.mkdir("corpus")
        with open("corpus/a.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        run("bpe-train", "corpus", "--vocab", 600, "-o", "tok", "-q")
        for name in ("tokenizer.json", "vocab.json", "merges.txt"):
            with open(f"hf/{name}", "rb") as a, open(f"tok/{name}", "rb") as b:
                self.assertEqual(a.read(), b.read(), name)
        self.check_transformers(docs)
        self.check_tiktoken(docs)

    def test_converting(self):
        """Ids stay, in files that tokenizers and transformers open; strings are what they were before 0.20."""
        t = trained(self.rng, byte_level())
        t.save("tokenizer.json")
        docs = texts(self.rng, 100, 40)
        want = [t.encode(d, add_special_tokens=False).ids for d in docs]
        for form in ("pairs", "strings"):
            run("tokenize", "convert", "-t", "tokenizer.json", "-o", form, "--merges", form)
            again = Tokenizer.from_file(f"{form}/tokenizer.json")
            self.compare(want, [again.encode(d, add_special_tokens=False).ids for d in docs], docs)
        with open("strings/tokenizer.json") as f:
            self.assertTrue(all(isinstance(m, str) for m in json.load(f)["model"]["merges"]))
        run("tokenize", "convert", "-t", "pairs/tokenizer.tiktoken", "-o", "ranks")
        again = Tokenizer.from_file("ranks/tokenizer.json")
        plain = [d.replace(EOT, "").replace("<pad>", "") for d in docs]
        self.compare([again.encode(d, add_special_tokens=False).ids for d in plain],
                     encoded("pairs/tokenizer.tiktoken", plain), plain)

    def test_an_affix_is_null_or_empty_as_it_was(self):
        prefix, suffix = {"continuing_subword_prefix": ""}, {"end_of_word_suffix": ""}
        for options in ({}, prefix, suffix, {**prefix, **suffix}):
            trained(self.rng, byte_level(), **options).save("t.json")
            run("tokenize", "convert", "-t", "t.json", "-o", "out")
            with open("t.json", "rb") as a, open("out/tokenizer.json", "rb") as b:
                self.assertEqual(a.read(), b.read(), options)

    def test_folders_of_transformers(self):
        """What save_pretrained() writes opens with its settings; what comes out of Lory opens there."""
        try:
            import transformers
        except ImportError:
            return
        t = trained(self.rng, byte_level())
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=t, eos_token=EOT, pad_token="<pad>", model_max_length=77,
            padding_side="left", truncation_side="left")
        fast.add_special_tokens({"additional_special_tokens": ["<L>"]})
        fast.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
        fast.save_pretrained("hf")
        info = json.loads(run("tokenize", "info", "--json", "-t", "hf"))
        self.assertEqual(
            [info[k] for k in ("model_max_length", "padding_side", "truncation_side", "eos_token",
                               "pad_token", "chat_template")],
            [77, "left", "left", EOT, "<pad>", fast.chat_template])
        docs = texts(self.rng, 100, 40)
        with open("c.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        run("shard", "c.jsonl", "-t", "hf", "--seq-len", 8, "-o", "shards", "-q")
        run("bpe-train", "c.jsonl", "--like", "hf", "--vocab", 500, "-o", "new", "-q")
        for folder in ("shards/tokenizer", "new"):
            again = transformers.AutoTokenizer.from_pretrained(folder)
            self.assertEqual((again.model_max_length, again.padding_side, again.truncation_side,
                              again.pad_token, again.chat_template),
                             (77, "left", "left", "<pad>", fast.chat_template), folder)
            self.compare([again(d, add_special_tokens=False)["input_ids"] for d in docs],
                         encoded(folder, docs, "--allow-special", "all"), docs)

        fast.chat_template = {"default": "{{ messages }}", "rag": "{{ documents }}", "tool_use": "{{ tools }}"}
        for jinja in (True, False):  # in files, and in a list of the configuration
            fast.save_pretrained(f"several-{jinja}", save_jinja_files=jinja)
            run("tokenize", "convert", "-t", f"several-{jinja}", "-o", f"converted-{jinja}")
            run("shard", "c.jsonl", "-t", f"several-{jinja}", "--seq-len", 8, "-o", f"shards-{jinja}", "-q")
            for folder in (f"converted-{jinja}", f"shards-{jinja}/tokenizer"):
                again = transformers.AutoTokenizer.from_pretrained(folder)
                self.assertEqual(again.chat_template, fast.chat_template, folder)
            self.assertEqual(json.loads(run("tokenize", "info", "--json", "-t", folder))["chat_template"], "{{ messages }}")

        with open("hf/tokenizer_config.json") as f:
            config = json.load(f)
        flags = {"lstrip": True, "rstrip": True, "single_word": False, "normalized": True, "special": True}
        config["added_tokens_decoder"] = {"0": {"content": EOT, **flags}} # against tokenizer.json
        with open("hf/tokenizer_config.json", "w") as f:
            json.dump(config, f)
        fast = transformers.AutoTokenizer.from_pretrained("hf")
        self.compare([fast(d, add_special_tokens=False)["input_ids"] for d in docs],
                     encoded("hf", docs, "--allow-special", "all"), docs)


    def test_added_tokens_of_like_come_behind_the_vocabulary(self):
        """GPT-NeoX's runs of blanks, which train_new_from_iterator() keeps; they were lost."""
        try:
            import transformers
        except ImportError:
            self.skipTest("no transformers")
        with open("tokenizer.json", "w") as f:
            f.write(trained(self.rng, byte_level(add_prefix_space=False)).to_str())
        fast = transformers.PreTrainedTokenizerFast(tokenizer_file="tokenizer.json", eos_token=EOT)
        fast.add_tokens([AddedToken(" " * n, normalized=True) for n in (8, 4, 2)] + [AddedToken("<w>", lstrip=True), "e"])
        fast.save_pretrained("like")
        docs = texts(self.rng, 50, 40)
        with open("c.jsonl", "w") as f:
            f.writelines(json.dumps({"text": d}) + "\n" for d in docs)
        run("bpe-train", "c.jsonl", "--like", "like", "--vocab", 300, "-o", "new", "-q")
        want = transformers.AutoTokenizer.from_pretrained("like").train_new_from_iterator(docs, 300)
        want.save_pretrained("hf")
        with open("hf/tokenizer.json") as a, open("new/tokenizer.json") as b:
            self.assertEqual(json.load(a), json.load(b))
        self.assertEqual(len(transformers.AutoTokenizer.from_pretrained("new")), 304)

    def check_transformers(self, docs):
        try:
            from transformers import AutoTokenizer
        except ImportError:
            return
        t = AutoTokenizer.from_pretrained("tok")
        self.assertEqual((len(t), t.eos_token_id), (600, 0))
        want = [t(d, add_special_tokens=False)["input_ids"] for d in docs]
        self.compare(want, encoded("tok", docs, "--allow-special", "all"), docs)
        t.save_pretrained("again")
        digest = [json.loads(run("tokenize", "info", "--json", "-t", d))["digest"]
                  for d in ("tok", "again")]
        self.assertEqual(*digest)

    def check_tiktoken(self, docs):
        try:
            import tiktoken
            from tiktoken.load import load_tiktoken_bpe
        except ImportError:
            return
        e = tiktoken.Encoding("x", pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++|"
                              r" ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
                              mergeable_ranks=load_tiktoken_bpe(os.path.abspath("tok/tokenizer.tiktoken")),
                              special_tokens={EOT: 0}, explicit_n_vocab=600)
        self.compare([e.encode_ordinary(d) for d in docs],
                     encoded("tok/tokenizer.tiktoken", docs), docs)


if __name__ == "__main__":
    unittest.main()
