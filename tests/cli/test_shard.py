"""shard: limits, weights, exports as their readers read them (written down again from those projects' formats), and
the files of others as input. Usage: test_shard.py TOOLS TOK"""
import gzip
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from array import array

TOOLS, TOK = (os.path.abspath(a) for a in sys.argv[1:3])
del sys.argv[1:3]


def run(*args, rc=0, **kw):
    r = subprocess.run([os.path.join(TOOLS, args[0]), *args[1:]], capture_output=True, timeout=120, **kw)
    if r.returncode != rc:
        raise AssertionError(f"{args} gave {r.returncode}: {r.stderr.decode()}")
    return r


def slurp(path):
    with open(path, "rb") as f:
        return f.read()


def documents(folder, split):
    """Token lists of Lory's own shards, by index.json, .bin and .idx."""
    out = []
    for f in json.loads(slurp(folder + "/index.json"))["splits"].get(split, {"files": []})["files"]:
        data = slurp(f"{folder}/{f['name']}")
        wide = struct.unpack("<i", data[:4])[0] == 20240801
        tokens = array("I" if wide else "H", data[1024:])
        idx = slurp(f"{folder}/{f['name'][:-3]}idx")
        ends = array("Q", idx[24:])
        at = 0
        for end in ends:
            out.append(list(tokens[at:end]))
            at = end
    return out


def megatron(prefix):
    """IndexedDataset: (dtype size, sequences, document index)."""
    idx = slurp(prefix + ".idx")
    assert idx[:9] == b"MMIDIDX\0\0" and struct.unpack("<Q", idx[9:17])[0] == 1
    kind = {8: "H", 4: "i"}[idx[17]]
    count, entries = struct.unpack("<QQ", idx[18:34])
    at = 34
    lengths = array("i", idx[at:at + 4 * count])
    at += 4 * count
    pointers = array("q", idx[at:at + 8 * count])
    at += 8 * count
    index = array("q", idx[at:])
    assert len(index) == entries
    data, size = slurp(prefix + ".bin"), array(kind).itemsize
    assert sum(lengths) * size == len(data)
    return [list(array(kind, data[p:p + n * size])) for p, n in zip(pointers, lengths)], list(index)


class Shard(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        os.chdir(self.tmp.name)
        rng = random.Random(5)
        self.texts = {}
        for name in "abcd":
            self.texts[name] = ["".join(rng.choices(["def ", "x", "\n", "é", '"', "\\", "return ", "京"], k=rng.randrange(40)))
                                for _ in range(60)]
            with gzip.open(name + ".jsonl.gz", "wt", encoding="utf-8") as f:
                for t in self.texts[name]:
                    f.write(json.dumps({"text": t}) + "\n")

    def tearDown(self):
        os.chdir("/")
        self.tmp.cleanup()

    def test_the_last_file_named_twice(self):
        """It was for training and for validation alike."""
        os.mkdir("all")
        for name in "ab":
            shutil.copy(name + ".jsonl.gz", "all")
        self.shard("all", "all/b.jsonl.gz", "-o", "s", "--eot", "none")
        sources = [(f["name"], f["split"]) for f in json.loads(slurp("s/index.json"))["sources"]]
        self.assertEqual(sources, [("all/a.jsonl.gz", "train"), ("all/b.jsonl.gz", "valid")])
        r = run("shard", "a.jsonl.gz", "a.jsonl.gz", "-t", TOK, "--seq-len", "8", "-o", "t", rc=2)
        self.assertIn(b"all files are the same one: nothing is left to train on", r.stderr)

    def test_no_export_among_the_shards(self):
        """shard verify found fault with what was written there."""
        self.shard("a.jsonl.gz", "-o", "s", "--eot", "none")
        before = sorted(os.listdir("s"))
        self.assertIn(b"s: is a folder of shards", run("shard", "export", "nanogpt", "s", "-o", "s", rc=2).stderr)
        self.assertEqual(sorted(os.listdir("s")), before)
        run("shard", "verify", "s")

    def test_a_tokenizer_with_another_end_of_text(self):
        """Its configuration says which: DeepSeek's, Llama's and many others have no <|endoftext|>."""
        run("bpe-train", "a.jsonl.gz", "--no-special", "--special", "<s>", "--special", "</s>", "--vocab", "300", "-o", "tok", "-q")
        args = ("shard", "a.jsonl.gz", "-t", "tok", "--seq-len", "8", "-o", "s")
        self.assertIn(b"no token <|endoftext|>, and names no eos_token", run(*args, rc=2).stderr)
        with open("tok/tokenizer_config.json", "w") as f:
            json.dump({"eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}, f)
        self.assertIn(b"</s>, the eos_token (1)", run(*args).stderr)
        self.assertEqual({(d[-1], d.count(1)) for d in documents("s", "train")}, {(1, 1)})
        run("shard", "verify", "s")

    def shard(self, *args, **kw):
        return run("shard", "-q", "-t", TOK, "--shard-tokens", "900", *args, **kw)

    def test_limits(self):
        files = [f"{n}.jsonl.gz" for n in "abcd"]
        for threads in ("1", "3"):
            self.shard(*files, "--docs", "75", "-o", "n" + threads, "--threads", threads, "--eot", "none")
            self.shard(*files, "--max-tokens", "3000", "-o", "t" + threads, "--threads", threads, "--eot", "none")
        self.shard(*files, "-o", "all", "--eot", "none")
        everything = documents("all", "train")
        self.assertEqual(documents("n1", "train"), everything[:75])
        got = documents("t1", "train")
        self.assertEqual(got, everything[:len(got)])
        self.assertTrue(sum(map(len, got[:-1])) < 3000 <= sum(map(len, got)))
        for kind in "nt":
            self.assertEqual(slurp(kind + "1/index.json"), slurp(kind + "3/index.json"))
            self.assertEqual(len(documents(kind + "1", "valid")), 60)  # the last file, whole
        self.shard(*files, "--docs", "1", "-o", "one", "--valid-fraction", "0.3", "--eot", "none")
        self.assertEqual(len(documents("one", "train")), 1)
        run("shard", "verify", "n3")

    def test_weights(self):
        args = ["a.jsonl.gz", "b.jsonl.gz", "--weights", "2.5,0.5", "--valid-fraction", "0.2", "--eot", "none"]
        self.shard(*args, "-o", "w")
        self.shard("a.jsonl.gz", "--valid-fraction", "0.2", "-o", "a", "--eot", "none")
        self.shard("b.jsonl.gz", "--valid-fraction", "0.2", "-o", "b", "--eot", "none")
        a, b = documents("a", "train"), documents("b", "train")
        got = documents("w", "train")
        self.assertEqual(got[:len(a)], a)  # first round: a whole, half of b; then a; then half of a
        half_b = got[len(a):got.index(a[0], len(a))] if a[0] not in b else None
        if half_b is not None:
            rest = got[len(a) + len(half_b):]
            self.assertEqual(rest[:len(a)], a)
            self.assertTrue(10 < len(half_b) < len(b) - 10 and 10 < len(rest) - len(a) < len(a) - 10)
            self.assertTrue(all(d in a for d in rest))
        self.assertEqual(documents("w", "valid")[:len(documents("a", "valid"))], documents("a", "valid"))
        self.assertTrue(len(documents("w", "valid")) <= len(documents("a", "valid")) + len(documents("b", "valid")))
        self.assertIn(b"one number for each of 2", self.shard("a.jsonl.gz", "b.jsonl.gz", "--weights", "1",
                                                                    rc=2).stderr)

    def test_a_long_text_goes_where_its_hash_says(self):
        # A file in parts (stop), the same whole (skip), from a pipe, and as records.
        for i, unit in enumerate(("one two\n", "京都", "{}\r\n")):
            for k in range(3):
                with open(f"{i}{k}.txt", "w", newline="") as f:
                    f.write(f"{k} " + unit * (4400000 // len(unit.encode())))
        args = ["--valid-fraction", "0.5", "--eot", "none", "--shard-tokens", "100000000"]
        files = [f"{i}{k}.txt" for i in range(3) for k in range(3)]
        with open("r.jsonl", "w") as out:
            for name in files:
                with open(name, newline="") as f:
                    out.write(json.dumps({"text": f.read()}) + "\n")
        self.shard(*files, *args, "-o", "parts", "--threads", "2")
        self.shard(*files, *args, "-o", "whole", "--on-error", "skip")
        self.shard("r.jsonl", *args, "-o", "records")
        for split in ("train", "valid"):
            got = documents("parts", split)
            self.assertTrue(got)
            self.assertEqual(got, documents("whole", split))
            self.assertEqual(got, documents("records", split))
        args[1] = "1e-9"
        with open("00.txt") as f:
            self.shard("-", "--format", "text", *args, "-o", "pipe", stdin=f)
        self.shard("00.txt", "--on-error", "skip", *args, "-o", "file")
        self.assertEqual(documents("pipe", "train"), documents("file", "train"))

    def made(self, *more):
        self.shard("a.jsonl.gz", "b.jsonl.gz", "-o", "s", "--eot", "none", *more)
        return documents("s", "train"), documents("s", "valid")

    def test_megatron(self):
        train, valid = self.made()
        run("shard", "export", "megatron", "s", "-o", "m", "-q")
        for split, docs in (("train", train), ("valid", valid)):
            sequences, index = megatron("m/" + split)
            self.assertEqual(sequences, docs)
            self.assertEqual(index, list(range(len(docs) + 1)))
        # and back: Megatron's own file as input
        run("shard", "export", "megatron", "m/train.bin", "-o", "again", "-q")
        self.assertEqual(slurp("again/train.bin"), slurp("m/train.bin"))
        self.assertEqual(slurp("again/train.idx"), slurp("m/train.idx"))
        # a folder of them was said to be one of ours, half written
        run("shard", "export", "megatron", "m", "-o", "again", "-q")
        self.assertEqual(slurp("again/valid.idx"), slurp("m/valid.idx"))

    def test_megatron_damage(self):
        self.made()
        run("shard", "export", "megatron", "s", "-o", "m", "-q")
        good = slurp("m/train.idx")
        for what in (good[:-8], good + b"\0", good[:17] + b"\x05" + good[18:], good[:9] + b"\2" + good[10:],
                     good[:18] + b"\xff" * 8 + good[26:], good[:26] + b"\xff" * 8 + good[34:],
                     good[:34] + b"\xff" * 4 + good[38:], good[:38] + b"\xff\xff\xff\x7f" + good[42:]):
            with open("m/train.idx", "wb") as f:
                f.write(what)
            run("shard", "info", "m/train.bin", rc=6)

    def test_nanogpt(self):
        train, valid = self.made()
        run("shard", "export", "nanogpt", "s", "-o", "n", "-q")
        self.assertEqual(list(array("H", slurp("n/train.bin"))), sum(train, []))
        self.assertEqual(list(array("H", slurp("n/val.bin"))), sum(valid, []))
        info = json.loads(run("shard", "info", "n", "--json").stdout)
        self.assertEqual(info["splits"]["train"]["tokens"], len(sum(train, [])))
        os.rename("n/train.bin", "n/tokens.bin")  # without its name it is a file without a header
        self.assertIn(b"bad magic", run("shard", "info", "n/tokens.bin", rc=6).stderr)

    def test_datatrove(self):
        train, _ = self.made()
        run("shard", "export", "datatrove", "s", "-o", "d", "-q", "--split", "train")
        ends = array("Q", slurp("d/train.ds.index"))
        tokens = array("H", slurp("d/train.ds"))
        self.assertEqual([list(tokens[a:b]) for a, b in zip([0, *ends], ends)], train)
        name, count, _ = slurp("d/train.ds.metadata").decode().split("\n")
        self.assertEqual((name.split("|")[-1], int(count)), ("2", len(tokens)))
        self.assertEqual(sorted(os.listdir("d")), ["train.ds", "train.ds.index", "train.ds.metadata"])

    def test_jsonl_is_the_text(self):
        self.made()
        run("shard", "export", "jsonl", "s", "-o", "j", "-q")
        for split, name in (("train", "a"), ("valid", "b")):
            lines = gzip.decompress(slurp(f"j/{split}.jsonl.gz")).splitlines()
            self.assertEqual([json.loads(x)["text"] for x in lines], self.texts[name])

    def test_jsonl_without_the_marks(self):
        run("bpe-train", "-q", "a.jsonl.gz", "--vocab", "280", "-o", "tok")
        for eot in ("after", "before"):
            run("shard", "-q", "-t", "tok", "a.jsonl.gz", "b.jsonl.gz", "-o", eot, "--eot", eot, "--shard-tokens", "900")
            mark = documents(eot, "train")[0][-1 if eot == "after" else 0]
            self.assertEqual(mark, json.loads(slurp(eot + "/index.json"))["eot_id"])
            run("shard", "export", "jsonl", eot, "-o", "j", "-q", "--split", "train")
            lines = gzip.decompress(slurp("j/train.jsonl.gz")).splitlines()
            self.assertEqual([json.loads(x)["text"] for x in lines], self.texts["a"])

    def test_llmc_file_is_cut_at_the_end_of_text(self):
        docs = [[9, 1, 2], [9, 3], [9], [9, 4, 5, 6]]
        flat = sum(docs, [])
        with open("fineweb_train_000001.bin", "wb") as f:
            f.write(struct.pack("<256i", 20240520, 1, len(flat), *[0] * 253) + array("H", flat).tobytes())
        self.assertIn(b"--eot-id", run("shard", "export", "megatron", "fineweb_train_000001.bin", "-o", "m", rc=3).stderr)
        run("shard", "export", "megatron", "fineweb_train_000001.bin", "-o", "m", "-q", "--eot-id", "9")
        self.assertEqual(megatron("m/train")[0], docs)
        run("shard", "export", "megatron", "fineweb_train_000001.bin", "-o", "m", "-q", "--eot-id", "9", "--eot", "after")
        self.assertEqual(megatron("m/train")[0], [[9], [1, 2, 9], [3, 9], [9], [4, 5, 6]])

    def trained(self, *sets):
        """Losses of three steps on these sets."""
        vocab = json.loads(slurp("s/index.json"))["vocab"]
        shutil.rmtree("run", ignore_errors=True)
        run("lmtrain", "-q", *sets, "--vocab", str(vocab), "--layers", "1", "--width", "8", "--heads", "1", "--seq-len", "8",
            "--batch", "2", "--steps", "3", "--warmup", "1", "--threads", "1", "--device", "ref", "-o", "run")
        return [[x.get("loss"), x.get("eval_loss")] for x in map(json.loads, slurp("run/metrics.jsonl").splitlines())]

    def test_training_on_the_files_of_others(self):
        self.made("--shard-tokens", "100M")
        run("shard", "export", "megatron", "s", "-o", "m", "-q")
        run("shard", "export", "nanogpt", "s", "-o", "n", "-q")
        own = self.trained("--train", "s", "--valid", "s")
        self.assertEqual(self.trained("--train", "m/train.bin", "--valid", "m/valid.bin"), own)
        self.assertEqual(self.trained("--train", "n", "--valid", "n"), own)
        mixed = self.trained("--train", "n", "--train", "m/train.bin", "--train-weights", "1,3", "--valid", "n")
        self.assertNotEqual(mixed, own)
        with open("run/checkpoint-3/state.json", "rb") as f:
            self.assertEqual(json.load(f)["order"]["mix"], [1 << 30, 1 << 32])
        bad = run("lmtrain", "--train", "n", "--train-weights", "1,2", "-o", "x", rc=2)
        self.assertIn(b"one number for each of 1", bad.stderr)

    def test_export_of_a_folder_without_a_validation_set(self):
        self.shard("a.jsonl.gz", "-o", "s", "--valid-fraction", "0", "--eot", "none")
        run("shard", "export", "megatron", "s", "-o", "m", "-q")
        self.assertEqual(megatron("m/train")[0], documents("s", "train"))
        self.assertFalse(os.path.exists("m/valid.bin"))
        run("shard", "export", "megatron", "s", "-o", "m", "-q", "--split", "valid", rc=3)

    def dialogues(self):
        """Prompts and completions, as TRL's prompt-completion form has them; in either order in the record."""
        rows = [(f"Q: {i} é + {i}?\nA:", f" {2 * i}\n") for i in range(80)] + [("", "nothing asked"), ("asked ", "")]
        with open("sft.jsonl", "w") as f:
            for i, (p, c) in enumerate(rows):
                f.write(json.dumps({"prompt": p, "completion": c} if i % 2 else {"completion": c, "prompt": p}) + "\n")
        return rows

    def ids(self, texts):
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts).encode()
        return [json.loads(x) for x in run("tokenize", "encode", "-t", TOK, "--ids", "json", "-", input=lines).stdout.splitlines()]

    def test_prompts_are_masked(self):
        rows = self.dialogues()
        self.shard("sft.jsonl", "--prompt", "prompt", "-o", "p", "--valid-fraction", "0")
        whole, prompts = self.ids([p + c for p, c in rows]), self.ids([p for p, c in rows])
        self.assertEqual([d[:-1] for d in documents("p", "train")], whole)
        want = "".join("0" * len(p) + "1" * (len(w) - len(p) + 1) for w, p in zip(whole, prompts))
        got, index = "", json.loads(slurp("p/index.json"))
        self.assertEqual(index["version"], 2)
        for f in index["splits"]["train"]["files"]:
            mask = slurp("p/" + f["name"][:-3] + "mask")
            self.assertEqual(mask[:24], struct.pack("<8sIIQ", b"LORYMSK", 1, 0, f["tokens"]))
            got += "".join(f"{b:08b}"[::-1] for b in mask[24:])[:f["tokens"]]
        self.assertEqual(got, want)
        info = json.loads(run("shard", "info", "p", "--json").stdout)
        self.assertEqual(info["splits"]["train"]["targets"], want.count("1"))
        self.assertIn(f"{want.count('1')} targets".encode(), run("shard", "info", "p").stdout)
        run("shard", "verify", "p")
        run("shard", "export", "jsonl", "p", "-o", "j", "-q")
        back = [json.loads(x) for x in gzip.decompress(slurp("j/train.jsonl.gz")).splitlines()]
        self.assertEqual([(x["prompt"], x["completion"]) for x in back], rows)
        run("shard", "export", "datatrove", "p", "-o", "d", "-q")
        self.assertEqual(slurp("d/train.ds.loss"), bytes(map(int, want)))
        self.assertIn(b"has no masks", run("shard", "export", "nanogpt", "p", "-o", "n").stderr)

    def test_a_prompt_that_merges_with_its_completion(self):
        with open("m.jsonl", "w") as f:
            f.write(json.dumps({"q": "return x.de", "a": "f y"}) + "\n")
        with open("corpus.jsonl", "w") as f:
            f.write(json.dumps({"text": "def " * 200}) + "\n")
        run("bpe-train", "-q", "corpus.jsonl", "--vocab", "260", "-o", "tok2")
        r = run("shard", "m.jsonl", "-t", "tok2", "--prompt", "q", "--field", "a", "-o", "p", "--valid-fraction", "0")
        self.assertIn(b"1 documents do not begin with the tokens of their prompt", r.stderr)
        run("shard", "export", "jsonl", "p", "-o", "j", "-q")
        back = json.loads(gzip.decompress(slurp("j/train.jsonl.gz")))
        self.assertEqual(back["prompt"] + back["completion"], "return x.def y")

    def test_prompts_that_are_missing(self):
        rows = self.dialogues()
        with open("sft.jsonl", "a") as f:
            f.write('{"completion": "without"}\n{"prompt": 3, "completion": "x"}\n')
        r = self.shard("sft.jsonl", "--prompt", "prompt", "-o", "p", rc=3)
        self.assertIn(f'sft.jsonl:{len(rows) + 1}:1: no string field "prompt"'.encode(), r.stderr)
        self.shard("sft.jsonl", "--prompt", "prompt", "-o", "p", "--on-error", "skip")
        with open("t.txt", "w") as f:
            f.write("text")
        self.assertIn(b"no fields for --prompt", self.shard("t.txt", "--prompt", "prompt", "-o", "x", rc=2).stderr)

    def test_training_learns_completions_only(self):
        """With prompts that are noise: what is left to learn is one token, whatever stands before it."""
        rng = random.Random(2)
        with open("sft.jsonl", "w") as f:
            for _ in range(150):
                f.write(json.dumps({"prompt": "".join(rng.choices("abcdefgh", k=12)), "completion": "!"}) + "\n")
        for name, more in (("p", ["--prompt", "prompt"]), ("s", ["--field", "prompt"])):
            run("shard", "-q", "-t", TOK, "sft.jsonl", "-o", name, "--valid-fraction", "0.2", "--seq-len", "16", *more)
        losses = {}
        for name in "ps":
            r = run("lmtrain", "--train", name, "--valid", name, "--layers", "1", "--width", "16", "--heads", "1", "--batch", "4",
                    "--steps", "60", "--lr", "2e-2", "--warmup", "2", "--device", "ref", "--threads", "1", "-o", "run" + name)
            losses[name] = json.loads(slurp(f"run{name}/eval_results.json"))["eval_loss"]
            if name == "p":
                self.assertIn(b"% of the tokens as targets", r.stderr)
        self.assertLess(losses["p"], 0.4)   # "!" and the end
        self.assertGreater(losses["s"], 1.5)  # eight letters, and an end
        scored = json.loads(run("lmeval", "loss", "-m", "runp", "--valid", "p", "--json").stdout)
        self.assertAlmostEqual(scored["loss"], losses["p"], 4)
        targets = json.loads(run("shard", "info", "p", "--json").stdout)["splits"]["valid"]["targets"]
        self.assertEqual(scored["tokens"], targets)
        self.assertNotIn("bits_per_byte", scored)
        pairs = json.loads(run("lmeval", "bigram", "--train", "p", "--valid", "p", "--json").stdout)
        self.assertEqual(pairs["tokens"], targets)
        text = slurp("sft.jsonl")[:500]  # standard input was a file called -
        with open("a.txt", "wb") as f:
            f.write(text)
        score = ["lmeval", "loss", "-m", "runp", "--text"]
        self.assertEqual(run(*score, "-", input=text).stdout, run(*score, "a.txt").stdout)

    def test_verify_asks_for_the_tokenizer(self):
        self.made()
        run("shard", "verify", "s")
        path = "s/tokenizer/" + ("merges.txt" if not os.path.exists("s/tokenizer/tokenizer.json") else "tokenizer.json")
        data = slurp(path)
        with open(path, "wb") as f:
            f.write(data[:-40])
        self.assertIn(b"is not the tokenizer", run("shard", "verify", "s", rc=6).stdout)

    def test_verify_holds_sources_and_splits_together(self):
        """A number of a source that had changed in index.json went unseen."""
        self.shard("a.jsonl.gz", "b.jsonl.gz", "-o", "w", "--weights", "2.5,0.5", "--valid-fraction", "0.2")
        run("shard", "verify", "w")
        self.made()
        index = json.loads(slurp("s/index.json"))
        for key in ("documents", "text_bytes"):
            index["sources"][0][key] += 4
            with open("s/index.json", "w") as f:
                json.dump(index, f)
            self.assertIn(b"its sources are", run("shard", "verify", "s", rc=6).stdout)
            index["sources"][0][key] -= 4

    def edited(self, change, folder="s"):
        """The first fault that shard verify prints, or its error, of a folder whose index.json was changed."""
        path = folder + "/index.json"
        before = slurp(path)
        index = json.loads(before)
        change(index)
        with open(path, "w") as f:
            json.dump(index, f)
        r = run("shard", "verify", folder, rc=6)
        with open(path, "wb") as f:
            f.write(before)
        return (r.stdout + r.stderr).decode()

    def test_an_index_that_contradicts_itself(self):
        """lmeval counted a file twice that was listed twice, and bits per byte went by a number that was changed."""
        self.made()
        self.trained("--train", "s", "--valid", "s")
        whole = slurp("s/index.json")

        def twice(split):
            split["files"].append(split["files"][0])

        for change, word in ((twice, "lists valid-00000.bin twice"),
                             (lambda split: split["files"][0].update(text_bytes=split["text_bytes"] + 1000000), '"text_bytes" is'),
                             (lambda split: split.update(text_bytes=7), 'split "valid": "text_bytes" is 7, its files have'),
                             (lambda split: split.update(tokens=5), 'split "valid": "tokens" is 5, its files have')):
            index = json.loads(whole)
            change(index["splits"]["valid"])
            with open("s/index.json", "w") as f:
                json.dump(index, f)
            for args in (("shard", "info", "s"), ("shard", "verify", "s"), ("lmeval", "loss", "-m", "run", "--valid", "s"),
                         ("lmtrain", "--train", "s", "-o", "other"), ("shard", "export", "megatron", "s", "-o", "m"),
                         ("shard", "export", "nanogpt", "s", "-o", "s")):
                self.assertIn("s/index.json", run(*args, rc=6).stderr.decode())
                self.assertIn(word, run(*args, rc=6).stderr.decode())
        self.made()  # and made anew over it
        run("shard", "verify", "s")

    def test_verify_compares_the_vocabulary_with_the_tokenizer(self):
        self.made()
        size = json.loads(slurp("s/index.json"))["vocab"]
        self.assertIn(f'"vocab" is {2 * size}, tokenizer/ has {size}', self.edited(lambda x: x.update(vocab=2 * size)))

    def test_verify_sees_marks_where_there_are_none(self):
        run("bpe-train", "-q", "a.jsonl.gz", "--vocab", "280", "-o", "tok")
        for eot in ("after", "before"):
            run("shard", "-q", "-t", "tok", "a.jsonl.gz", "b.jsonl.gz", "-o", eot, "--eot", eot)
            self.assertIn("stands at every document", self.edited(lambda x: x.update(eot="none", eot_id=None), eot))
            run("shard", "verify", eot)
        run("shard", "-q", "-t", "tok", "a.jsonl.gz", "b.jsonl.gz", "-o", "none", "--eot", "none")
        run("shard", "verify", "none")

    def test_verify_holds_weighted_sources_and_splits_together(self):
        """With weights they were not compared at all."""
        files = [f"{n}.jsonl.gz" for n in "abc"]
        for weights in ("0.5,2.5,1", "2,1,1"):
            for more in (("--valid-fraction", "0.2"), ()):
                self.shard(*files, "--weights", weights, "-o", "w", "--eot", "none", *more)
                run("shard", "verify", "w")
                self.assertIn("its sources are", self.edited(lambda x: [s.update(documents=9) for s in x["sources"]], "w"))
        # Of sources that were taken whole it is known how many documents there are.
        self.assertIn("its sources are", self.edited(lambda x: x["sources"][0].update(documents=59), "w"))
        self.assertIn("its sources are", self.edited(lambda x: x["sources"][0].update(documents=61), "w"))

    def test_info_of_one_file_of_a_folder(self):
        """It said "no index.json", though one that lists the file lies beside it."""
        self.made()
        index = json.loads(slurp("s/index.json"))
        whole = json.loads(run("shard", "info", "s", "--json").stdout)
        file = index["splits"]["train"]["files"][1]
        text = run("shard", "info", "s/" + file["name"]).stdout.decode()
        self.assertIn(f"s/{file['name']}: vocabulary {index['vocab']}, u16 tokens, end of text none", text)
        self.assertIn(f"{file['documents']} documents", text)
        self.assertNotIn("no index.json", text)
        self.assertEqual(run("shard", "info", file["name"], cwd="s").stdout.decode(), text.replace("s/train", "train"))
        info = json.loads(run("shard", "info", "s/" + file["name"], "--json").stdout)
        split = info["splits"].pop(file["name"])
        self.assertEqual({k: split[k] for k in ("documents", "tokens", "text_bytes", "shards")},
                         {**{k: file[k] for k in ("documents", "tokens", "text_bytes")}, "shards": 1})
        whole.pop("splits")
        self.assertEqual(info, {**whole, "splits": {}})
        shutil.copy("s/" + file["name"], "s/other.bin")  # not listed: what the file itself says
        self.assertIn(b"not in index.json", run("shard", "info", "s/other.bin").stdout)
        os.rename("s/other.bin", "other.bin")
        self.assertIn(b"no index.json", run("shard", "info", "other.bin").stdout)
        os.truncate("s/" + file["name"], 1024)
        self.assertIn(file["name"].encode(), run("shard", "info", "s/" + file["name"], rc=6).stderr)
        self.assertIn(b"no such file", run("shard", "info", "s/train-00099.bin", rc=4).stderr)

    def test_two_at_once_into_one_folder(self):
        """Each removed what the other wrote; one ended with "No such file or directory"."""
        self.made()
        before = {name: slurp("s/" + name) for name in os.listdir("s") if name != "tokenizer"}
        first = subprocess.Popen([os.path.join(TOOLS, "shard"), "-t", TOK, "-", "--eot", "none", "-o", "s"],
                                 stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        while os.path.exists("s/index.json") and first.poll() is None:  # it waits for its input
            pass
        for out in ("s", "s/", os.path.abspath("s")):
            r = run("shard", "-t", TOK, "a.jsonl.gz", "b.jsonl.gz", "--eot", "none", "-o", out, rc=2)
            self.assertIn(b": another shard is writing this folder; wait for it, or name another", r.stderr)
        first.kill()  # the lock goes with the process
        first.communicate()
        self.made()
        self.assertEqual({name: slurp("s/" + name) for name in os.listdir("s") if name != "tokenizer"}, before)
        run("shard", "verify", "s")

    def test_mistakes(self):
        self.made()
        run("shard", "export", "megatronn", "s", "-o", "m", rc=2)
        run("shard", "export", "megatron", "s", rc=2)
        run("shard", "export", "megatron", "none", "-o", "m", rc=4)
        self.assertEqual(run("shard", "export", "nanogpt", "s", "-o", "/dev/null/x", rc=4).stdout, b"")


if __name__ == "__main__":
    unittest.main()
