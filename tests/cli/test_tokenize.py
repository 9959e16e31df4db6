"""tokenize and fertility on a small vocabulary: every form of ids comes back as the text it was made of."""
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

TOK = os.path.abspath(sys.argv.pop(1))
TOOLS = os.path.abspath(sys.argv.pop(1))
TEXTS = ["self.x = 1\n", "", "été <|endoftext|> данные\x00", "  \t\r\n", "😀" * 40]
RANDOM = random.Random(5)
# Texts that go on and on without a place where any pattern is known to cut.
ENDLESS = {"letters": "".join(RANDOM.choices("abcdefghijklm", k=7001)), "x": "x" * 5000, "blanks": " " * 5000,
           "newlines": "\n" * 5000, "lines": "};\r\n" * 1000, "digits": "".join(RANDOM.choices("0123456789", k=7001)),
           "chinese": "".join(chr(RANDOM.randrange(0x4E00, 0x9000)) for _ in range(3001)) + "，",
           "punctuation": "!?(]/ \r\n\r\n", "capitals": "ABC中é" * 500}


def run(*args, given=None, rc=0):
    r = subprocess.run([os.path.join(TOOLS, args[0]), *args[1:]], input=given, timeout=60,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != rc:
        raise AssertionError(f"{args}: exit {r.returncode}: {r.stderr.decode()}")
    return r.stdout if rc == 0 else r.stderr.decode(errors="replace")


class Tokenize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chdir(folder.name)
        self.addCleanup(os.chdir, "/")
        with open("d.jsonl", "w") as f:
            f.writelines(json.dumps({"text": t}) + "\n" for t in TEXTS)

    def test_records_come_back(self):
        for ids in ("json", "text"):
            out = run("tokenize", "encode", "-q", "-t", TOK, "d.jsonl", "--ids", ids)
            self.assertEqual(len(out.splitlines()), len(TEXTS))
            back = run("tokenize", "decode", "-t", TOK, "--ids", ids, "--format", "jsonl", given=out)
            self.assertEqual([json.loads(x)["text"] for x in back.splitlines()], TEXTS)

    def test_bytes_come_back(self):
        data = bytes(range(256)) * 300 + "".join(TEXTS).encode()
        data = data.decode("utf-8", "replace").encode()
        for ids in ("text", "u16", "u32"):
            out = run("tokenize", "encode", "-q", "-t", TOK, "--format", "text", "--ids", ids, "-",
                      given=data)
            self.assertEqual(run("tokenize", "decode", "-t", TOK, "--ids", ids, given=out), data)

    def test_threads_change_nothing(self):
        with open("big.jsonl", "w") as f:
            f.writelines(json.dumps({"text": t * (i % 90)}) + "\n"
                         for i in range(3000) for t in TEXTS)
        a, b = (run("tokenize", "encode", "-q", "-t", TOK, "big.jsonl", "--threads", n)
                for n in ("1", "3"))
        self.assertEqual(a, b)

    def test_a_large_text_is_cut_and_nobody_sees_it(self):
        with open("t.txt", "w") as f:  # what looks at whole documents has it whole
            f.writelines("self.x_%d = été <|endoftext|> the end  of\n" % i for i in range(30000))
        for args in (["--ids", "text"], ["--ids", "json", "--allow-special", "all"],
                     ["--ids", "u16", "--allow-special", "all"], ["--ids", "tokens"]):
            a, b, c = (run("tokenize", "encode", "-q", "-t", TOK, "t.txt", *args, *more) for more in
                       (["--threads", "1"], ["--threads", "2"], ["--on-error", "skip"]))
            self.assertEqual(a, c)
            self.assertEqual(b, c)

    def test_a_long_record_is_cut_and_nobody_sees_it(self):
        words = "self.x = \"été\"\\n<|endoftext|> the end  of\n" * 100000
        with gzip.open("r.jsonl.gz", "wt", compresslevel=1) as f:
            for text in ("before", words, "behind"):
                f.write(json.dumps({"n": [1], "text": text, "id": 7}) + "\n")
        for args in ["--ids", "json", "--allow-special", "all"], ["--ids", "u16"]:
            a, b, c = (run("tokenize", "encode", "-q", "-t", TOK, "r.jsonl.gz", *args, *more) for more in
                       (["--threads", "1"], ["--threads", "2"], ["--on-error", "bad.jsonl"]))
            self.assertEqual(a, c)
            self.assertEqual(b, c)
        self.assertFalse([name for name in os.listdir() if "scratch" in name])

    def test_text_with_no_place_to_cut_is_cut_and_nobody_sees_it(self):
        for name, text in ENDLESS.items():
            text *= 1500000 // len(text.encode())
            with open("t.txt", "w", newline="") as f:
                f.write(text)
            with open("r.jsonl", "w", newline="") as f:
                for t in ("before", 3 * text, "behind"):
                    f.write(json.dumps({"text": t}, ensure_ascii=name != "chinese") + "\n")
            for source in ("t.txt", "r.jsonl") if name in ("letters", "newlines", "chinese") else ("t.txt",):
                a, b, c = (run("tokenize", "encode", "-q", "-t", TOK, source, "--ids", "u16", *more) for more in
                           (["--threads", "1"], ["--threads", "2"], ["--on-error", "bad.jsonl"]))
                self.assertEqual(a, c, name)
                self.assertEqual(b, c, name)

    def test_offsets_and_tokens_of_a_text_in_parts(self):
        """Beside those of the whole; with a part of which no ids come yet, as marks wait for their end in form C, and
        a special token that swallows blanks."""
        with open(os.path.join(TOK, "tokenizer.json")) as f:
            tok = json.load(f)
        tok["normalizer"] = {"type": "NFC"}
        tok["added_tokens"][0].update(lstrip=True, rstrip=True)
        os.mkdir("nfc")
        with open("nfc/tokenizer.json", "w") as f:
            json.dump(tok, f)
        words = "e\u0301te\u0301  <|endoftext|> \nthe end of 中é\n" * 40000
        with open("t.txt", "w", newline="") as f:
            f.write("\u0301" * 600000 + words)
        with open("r.jsonl", "w") as f:
            for t in ("before", 3 * words, "behind"):
                f.write(json.dumps({"text": t}) + "\n")
        for args in (["json", "--offsets", "chars", "r.jsonl"], ["tokens", "--offsets", "bytes", "t.txt"],
                     ["tokens", "t.txt"], ["json", "t.txt"]):
            args = ["tokenize", "encode", "-q", "-t", "nfc", "--allow-special", "all", "--ids", *args]
            a, b, c = (run(*args, *more) for more in
                       (["--threads", "1"], ["--threads", "2"], ["--on-error", "bad.jsonl"]))
            self.assertTrue(a == c and b == c, args)
        self.assertFalse([name for name in os.listdir() if "scratch" in name])

    def test_a_long_text_is_counted_in_parts_and_nobody_sees_it(self):
        words = "".join("self.x%d = \"été\"\\n the end  of\t%d " % (i % 999, i) for i in range(170000))
        with gzip.open("r.jsonl.gz", "wt", compresslevel=1) as f:
            for text in ("before", words, "behind"):
                f.write(json.dumps({"n": [1], "text": text}) + "\n")
        with open("t.txt", "w") as f:
            f.write(words)
        with open("c.txt", "w", newline="") as f:
            f.write(ENDLESS["chinese"] * 500 + ENDLESS["punctuation"] * 20000 + ENDLESS["letters"] * 100)
        for name in ("r.jsonl.gz", "t.txt", "c.txt"):
            made = []
            for i, more in enumerate((["--threads", "1"], ["--threads", "3"], ["--on-error", "bad.jsonl"])):
                run("bpe-train", "-q", name, "--vocab", "600", "-o", "tok%d" % i, *more)
                with open("tok%d/merges.txt" % i) as f:
                    made.append(f.read())
                stats = json.loads(run("corpus", "stats", "-q", "--json", name, *more))
                made[-1] += "%d %d" % (stats["documents"], stats["text_bytes"])
            self.assertEqual(made[0], made[1])
            self.assertEqual(made[0], made[2])

    def test_forms_without_meaning_for_ids_were_lost(self):
        """trim_offsets and use_regex where they change nothing, a split "removed, inverted" that covers all text,
        sequences of one: as they were read, and in what is trained after it."""
        def level(trim, **more):
            return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim, **more}
        split = {"type": "Split", "pattern": {"Regex": " ?\\p{L}+|[^\\p{L}]"}, "behavior": "Isolated", "invert": False}
        gpt2 = dict(split, pattern={"Regex": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"})
        for pre, decoder in (
                ({"type": "Sequence", "pretokenizers": [split, level(False, use_regex=False)]}, level(False, use_regex=False)),
                ({"type": "Sequence", "pretokenizers": [dict(gpt2, behavior="Removed", invert=True),
                                                        level(True, use_regex=False)]}, level(True, use_regex=True)),
                ({"type": "Sequence", "pretokenizers": [level(False)]}, {"type": "Sequence", "decoders": [level(True)]})):
            with open("tokenizer.json", "w") as f:
                json.dump(dict(self.tokenizer(), pre_tokenizer=pre, decoder=decoder), f)
            run("tokenize", "convert", "-t", "tokenizer.json", "-o", "same")
            run("bpe-train", "-q", "d.jsonl", "--like", "tokenizer.json", "--vocab", "260", "-o", "like")
            run("bpe-train", "-q", "d.jsonl", "--extend", "tokenizer.json", "--vocab", "50k", "-o", "more")
            for part in (pre, decoder):  # as tokenizers fills it in
                for o in part.get("pretokenizers", part.get("decoders", [part])):
                    if o["type"] == "ByteLevel":
                        o.setdefault("use_regex", True)
            for folder in ("same", "like", "more"):
                made = self.tokenizer(folder)
                self.assertEqual(json.dumps([made["pre_tokenizer"], made["decoder"]]), json.dumps([pre, decoder]))
        run("bpe-train", "-q", "d.jsonl", "--like", "tokenizer.json", "--pattern", "qwen2", "--vocab", "260", "-o", "like")
        self.assertEqual(json.loads(run("tokenize", "info", "--json", "-t", "like"))["pattern"], "qwen2")

    def tokenizer(self, folder=TOK):
        with open(os.path.join(folder, "tokenizer.json")) as f:
            return json.load(f)

    def test_a_special_that_was_an_added_token_keeps_its_flags(self):
        """As in the train_new_from_iterator() of what AutoTokenizer opened, which adds the old ones once more."""
        like = self.tokenizer()
        old = {"content": "<b>", "single_word": True, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
        like["added_tokens"].append({"id": len(like["model"]["vocab"]), **old})
        with open("tokenizer.json", "w") as f:
            json.dump(like, f)
        run("bpe-train", "-q", "d.jsonl", "--like", "tokenizer.json", "--special", "<b>", "--vocab", "260", "-o", "new")
        got = self.tokenizer("new")["added_tokens"][-1]
        self.assertEqual(got, {"id": 2, **old})

    def test_an_alphabet_of_more_than_all_bytes_was_refused(self):
        for name, limit in (("all", ["--limit-alphabet", "300"]), ("none", [])):
            run("bpe-train", "-q", "d.jsonl", "--vocab", "260", *limit, "-o", name)
        self.assertEqual(self.tokenizer("all"), self.tokenizer("none"))

    def test_a_section_was_suggested_that_had_been_given(self):
        with open("lory.yaml", "w") as f:
            f.write("tokenize encode:\n  tokenizer: x\n")
        self.assertIn("unknown section tokenize encode; did you mean tokenize?", run("tokenize", "encode", "-", rc=2))

    def test_patterns_were_guessed_and_passed_over_in_silence(self):
        def said(*args):
            return subprocess.run([os.path.join(TOOLS, "tokenize"), *args], stderr=subprocess.PIPE, check=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).stderr.decode()
        run("tokenize", "convert", "-t", TOK, "-o", "new")
        os.rename("new/tokenizer.tiktoken", "own.tiktoken")
        self.assertIn("warning: own.tiktoken: 365 tokens are those of no published vocabulary",
                      said("encode", "-q", "-t", "own.tiktoken", "-"))
        self.assertEqual(said("convert", "-t", "own.tiktoken", "--pattern", "cl100k", "-o", "cl"), "")
        self.assertEqual(said("encode", "-q", "-t", "cl", "-"), "")
        self.assertEqual(json.loads(run("tokenize", "info", "--json", "-t", "cl"))["pattern"], "cl100k")
        self.assertIn("cl says its own pattern, cl100k",
                      run("tokenize", "convert", "-t", "cl", "--pattern", "gpt2", "-o", "no", rc=2))
        self.assertFalse(os.path.exists("no"))

    def test_files_that_contradict_each_other_were_read_in_silence(self):
        run("tokenize", "convert", "-t", TOK, "-o", "two")
        with open("two/tokenizer_config.json") as f:
            config = json.load(f)
        for value in None, False, True:
            with open("two/tokenizer_config.json", "w") as f:
                json.dump({**config, "add_prefix_space": value}, f)
            said = subprocess.run([os.path.join(TOOLS, "tokenize"), "encode", "-q", "-t", "two", "-"], input=b"a",
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True).stderr.decode()
            self.assertEqual("two: add_prefix_space is false in tokenizer.json" in said, value is True, said)

    def test_blanks_that_an_added_token_swallows_were_spelt_wrongly(self):
        """Of one that begins with a blank which the match before had, and of one that is nothing but blanks; in form C.
        What is expected is what tokenizers 0.23 gives."""
        for content, text, tokens, offsets in (
                ("\tq!", " \tq!\tq! \tq!", [" \tq!\t", "q! \t", "q!"], [[0, 5], [5, 9], [9, 11]]),
                ("\n\n", "a  \n\n\t b", ["a", "  \n\n\t ", "b"], [[0, 1], [1, 7], [7, 8]])):
            t = dict(self.tokenizer(), normalizer={"type": "NFC"})
            t["added_tokens"].append({"id": len(t["model"]["vocab"]), "content": content, "single_word": False,
                                      "lstrip": True, "rstrip": True, "normalized": True, "special": True})
            with open("tokenizer.json", "w") as f:
                json.dump(t, f)
            got = json.loads(run("tokenize", "encode", "-q", "-t", "tokenizer.json", "--ids", "json", "--offsets", "chars",
                                 "--allow-special", "all", "-", given=text.encode()))
            self.assertEqual((got["tokens"], got["offsets"]), (tokens, offsets))

    def test_other_families_were_cut_at_1024(self):
        for pattern, length in ("gpt2", 1024), ("cl100k", None), (r"\d|\D+", None):
            run("bpe-train", "-q", "d.jsonl", "--pattern", pattern, "--vocab", "260", "-o", "new")
            with open("new/tokenizer_config.json") as f:
                self.assertEqual(json.load(f).get("model_max_length"), length, pattern)

    def test_a_vocabulary_without_tokens_is_bad_data(self):
        with open("empty.jsonl", "w") as f:
            f.write('{"text": ""}\n')
        self.assertIn("no token at all", run("bpe-train", "-q", "empty.jsonl", "--no-special", "--initial-alphabet",
                                             "none", "-o", "new", rc=3))
        self.assertFalse(os.path.exists("new"))

    def test_a_long_record_broken_at_its_end(self):
        with open("r.jsonl", "w") as f:
            f.write(json.dumps({"text": "before"}) + "\n" + json.dumps({"text": "the end  of " * 600000})[:-2] + "\n")
        said = run("tokenize", "encode", "-q", "-t", TOK, "r.jsonl", "--ids", "u16", "-o", "ids", rc=3)
        self.assertIn("r.jsonl:2:7200011: bad JSON: the record ends within a string", said)
        self.assertEqual(sorted(os.listdir()), ["d.jsonl", "r.jsonl"])

    def test_a_special_is_refused_before_any_id_of_a_long_text(self):
        text = "é def f(x): return < | x\n" * 200000
        for at in (0, 3333333, len(text)):
            given = text[:at] + "<|endoftext|>" + text[at:]
            with open("t.txt", "w") as f:
                f.write(given)
            with open("r.jsonl", "w") as f:
                f.write(json.dumps({"text": "before"}) + "\n" + json.dumps({"text": given}) + "\n")
            for source, line in (("t.txt", 1), ("r.jsonl", 2)):
                for more in ((), ("--ids", "tokens", "--offsets", "chars"), ("--allow-special", "<pad>")):
                    with open("ids", "wb") as ids:
                        p = subprocess.run([os.path.join(TOOLS, "tokenize"), "encode", "-q", "-t", TOK, "--refuse-special",
                                            *more, source], stdout=ids, stderr=subprocess.PIPE)
                    self.assertEqual(p.returncode, 3)
                    self.assertIn(f"{source}:{line}: byte {len(text[:at].encode())}: the text holds the special token "
                                  "<|endoftext|>", p.stderr.decode())
                    self.assertLess(os.path.getsize("ids"), 200)
            self.assertEqual(run("tokenize", "encode", "-q", "-t", TOK, "--refuse-special", "--allow-special", "all", "r.jsonl"),
                             run("tokenize", "encode", "-q", "-t", TOK, "--allow-special", "all", "r.jsonl"))

    @unittest.skipIf("SANITIZED" in os.environ, "a sanitizer's memory is not the program's")
    def test_memory_has_a_bound_whatever_the_text(self):
        def peak(name, *more):
            p = subprocess.Popen([os.path.join(TOOLS, "tokenize"), "encode", "-q", "-t", TOK, name, *more,
                                  "--ids", "u16", "--threads", "1", "-o", "ids"])
            _, status, usage = os.wait4(p.pid, 0)
            self.assertEqual(status, 0)
            return usage.ru_maxrss / 1024
        # Never much in our own hands: what we hold when a program starts counts as its own.
        for size, n in (("small", 300000), ("large", 2000000)):
            with open(size + ".txt", "w") as f:
                f.writelines("def f(x): return x + 1\n" for _ in range(n))
            with open(size + ".jsonl", "w") as f:  # of one record
                f.write('{"n": 1, "text": "')
                f.writelines("def f(x): return x + 1\\n" for _ in range(n))
                f.write('"}\n')
        for kind in (".txt", ".jsonl"):
            for more in ((), ("--refuse-special",)):
                self.assertLess(peak("large" + kind, *more), peak("small" + kind, *more) + 8, (kind, more))
        for kind in ("letters", "newlines", "chinese"):  # no blanks behind letters, no newlines between others
            text = ENDLESS[kind]
            for source in ("t.txt", "r.jsonl"):
                peaks = []
                for size in (4000000, 16000000):
                    times, escaped = size // len(text.encode()), json.dumps(text)[1:-1]
                    with open(source, "w", newline="") as f:
                        f.write('{"text": "' * source.endswith("l"))
                        f.writelines(escaped if source.endswith("l") else text for _ in range(times))
                        f.write('"}\n' * source.endswith("l"))
                    peaks.append(peak(source))
                self.assertLess(peaks[1], peaks[0] + 8, kind + " " + source)

    def test_specials(self):
        for allow, want in (("none", None), ("all", [0, 1]), ("<pad>", None), ("<|endoftext|>", None),
                            ("<|endoftext|>,<pad>", [0, 1])):
            out = json.loads(run("tokenize", "encode", "-q", "-t", TOK, "--ids", "json",
                                 "--allow-special", allow, given=b"<|endoftext|><pad>"))
            self.assertEqual((0 in out, 1 in out), (allow == "all" or "end" in allow,
                                                    allow == "all" or "pad" in allow))
            if want:
                self.assertEqual(out, want)
        self.assertIn("<no>", run("tokenize", "encode", "-t", TOK, "--allow-special", "<no>",
                                  given=b"", rc=2))
        self.assertEqual(run("tokenize", "decode", "-t", TOK, "--skip-special", given=b"0 1\n"), b"")

    def test_specials_are_refused(self):
        given = b"x <|endoftext|> <pad>"
        for more in ((), ("--allow-special", "<pad>")):
            err = run("tokenize", "encode", "-t", TOK, "--refuse-special", *more, given=given, rc=3)
            self.assertIn("byte 2: the text holds the special token <|endoftext|>", err)
        run("tokenize", "encode", "-q", "-t", TOK, "--refuse-special", "--allow-special", "all",
            given=given)
        run("tokenize", "encode", "-q", "-t", TOK, "--refuse-special", "--allow-special",
            "<pad>,<|endoftext|>", given=given)

    def test_tokens_and_offsets(self):
        out = json.loads(run("tokenize", "encode", "-q", "-t", TOK, "--ids", "tokens", "--offsets",
                             "chars", given="self é <pad>".encode()))
        self.assertEqual(out["tokens"][0], "self")
        self.assertEqual((out["offsets"][0], out["offsets"][-1][1]), ([0, 4], 12))
        bare = run("tokenize", "encode", "-q", "-t", TOK, "--ids", "tokens", given="self é <pad>".encode())
        self.assertEqual(json.loads(bare), out["tokens"])
        self.assertIn("--ids json", run("tokenize", "encode", "-t", TOK, "--offsets", "bytes", given=b"",
                                        rc=2))

    def test_bytes_that_are_no_text(self):
        given = b"a\xff\xe2\x80b"
        run("tokenize", "encode", "-q", "-t", TOK, "--format", "text", "-", given=given, rc=3)
        for policy, want in (("keep", given), ("replace", given.decode(errors="replace").encode())):
            ids = run("tokenize", "encode", "-q", "-t", TOK, "--format", "text", "--invalid-utf8",
                      policy, "-", given=given)
            self.assertEqual(run("tokenize", "decode", "-t", TOK, given=ids), want)

    def test_pieces(self):
        text = "I'm 42 é"
        out = run("tokenize", "pieces", "-q", "--pattern", "gpt2", given=text.encode()).decode()
        self.assertEqual(out, "0\t1\tI\n1\t3\t'm\n3\t6\t 42\n6\t8\t é\n\n")
        out = json.loads(run("tokenize", "pieces", "-q", "-t", TOK, "--json", "--offsets", "bytes",
                             given=text.encode()))
        self.assertEqual([p["text"] for p in out["pieces"]], ["I", "'m", " 42", " é"])
        self.assertEqual(out["pieces"][-1]["end"], 9)
        self.assertIn("--pattern", run("tokenize", "pieces", "--pattern", "(", given=b"", rc=2))

    def test_steps(self):
        """A line of --pattern a step; a vocabulary trained with them is written, read and shown with them."""
        given = "in 2024\n".encode()
        out = run("tokenize", "pieces", "-q", "--pattern", "starcoder", given=given).decode()
        self.assertEqual([line.split("\t")[2] for line in out.splitlines() if line],
                         ["in", " ", "2", "0", "2", "4", "\\n"])
        with open("c.txt", "wb") as f:
            f.write(given * 9)
        run("bpe-train", "c.txt", "-q", "--vocab", "265", "--pattern", "\\p{N}{1,3}\nqwen2", "-o", "steps")
        info = json.loads(run("tokenize", "info", "-t", "steps", "--json"))
        self.assertEqual(info["pattern"], "\\p{N}{1,3}\nqwen2")
        self.assertIn(b"pattern           \\p{N}{1,3}\n  then            qwen2\n", run("tokenize", "info", "-t", "steps"))
        self.assertIn("an empty line", run("tokenize", "pieces", "--pattern", "gpt2\n", given=given, rc=2))

    def test_a_special_that_spells_a_byte_that_does_not_occur(self):
        """It was trained, and the folder could not be opened again."""
        with open("c.txt", "w") as f:
            f.write("low lower")
        err = run("bpe-train", "c.txt", "-q", "--special", "é", "--initial-alphabet", "none", "-o", "never", rc=2)
        self.assertIn("é is also how vocab.json spells 1 byte of", err)
        self.assertFalse(os.path.exists("never"))

    def test_misspelt_names_of_patterns_were_expressions(self):
        """--pattern gpt-2 trained a vocabulary that cuts nothing but the text "gpt-2"."""
        for given, want in (("gpt-2", "gpt2"), ("cl100", "cl100k"), ("o200k_base", "o200k"), ("GPT2", "gpt2"),
                            ("\\p{N}\nqwen-2", "qwen2"), ("phi", "cl100k, o200k")):
            for command in (["bpe-train", "d.jsonl", "-o", "never"], ["tokenize", "pieces", "d.jsonl"],
                            ["tokenize", "convert", "-t", TOK, "-o", "never"]):
                err = run(*command, "--pattern", given, rc=2)
                self.assertRegex(err, f"no pattern is called .*; did you mean .*{want}")
        self.assertFalse(os.path.exists("never"))
        run("tokenize", "pieces", "d.jsonl", "--pattern", "(?:gpt-2)")

    def test_a_special_that_is_no_text(self):
        """A byte that is no UTF-8 became U+FFFD in silence."""
        err = run("bpe-train", "d.jsonl", "-q", "--special", b"\xff", "-o", "never", rc=2)
        self.assertIn("is not UTF-8", err)
        self.assertFalse(os.path.exists("never"))

    def test_counts_beyond_all_bounds(self):
        """Of these the pair's count became negative, and nothing was merged."""
        with open("c.tsv", "w") as f:
            f.write(f"{2**62 - 1}\tab\n{2**62 - 1}\tab\n")
        err = run("bpe-train", "-q", "--from-counts", "c.tsv", "--vocab", "258", "-o", "never", rc=3)
        self.assertIn("c.tsv:1: the counts add up to more than 2^62 bytes", err)
        with open("c.tsv", "w") as f:
            f.write(f"{2**60}\tab\n{2**60 - 1}\tab\n")
        out = json.loads(run("bpe-train", "--json", "--from-counts", "c.tsv", "--vocab", "258", "-o", "tok"))
        self.assertEqual((out["merges"], out["vocab"]), (1, 258))

    def test_converting_keeps_the_vocabulary(self):
        digests = {json.loads(run("tokenize", "info", "-t", TOK, "--json", "-n", "0"))["digest"]}
        for form in ("pairs", "strings"):
            run("tokenize", "convert", "-t", TOK, "-o", form, "--merges", form)
            digests.add(json.loads(run("tokenize", "info", "-t", form, "--json"))["digest"])
        self.assertEqual(len(digests), 1)
        run("tokenize", "convert", "-t", TOK, rc=2)
        run("tokenize", "convert", "-t", TOK, "-o", "x", "operand", rc=2)

    def test_bad_ids_are_located(self):
        for ids, line, words in (("text", "1 x", ":2: byte 2: not an id"), ("text", "99999", "99999"),
                                 ("json", "1", "not a JSON array"), ("json", "[1 2]", "comma"),
                                 ("json", "[1,]", "missing"), ("text", "4294967295", "not an id")):
            first = "[5]" if ids == "json" else "5"
            err = run("tokenize", "decode", "-t", TOK, "--ids", ids, "-o", "never",
                      given=f"{first}\n{line}\n".encode(), rc=3)
            self.assertIn(words, err)
            self.assertIn("stdin:2:", err)
        self.assertIn("inside an id", run("tokenize", "decode", "-t", TOK, "--ids", "u16",
                                          given=b"\x05", rc=3))
        self.assertFalse(os.path.exists("never"))

    def test_info(self):
        info = json.loads(run("tokenize", "info", "-t", TOK, "--json", "-n", "2"))
        self.assertEqual((info["size"], info["merges"], info["pattern"]), (365, 107, "gpt2"))
        self.assertEqual([s["text"] for s in info["specials"]], ["<|endoftext|>", "<pad>"])
        self.assertEqual(len(info["longest"]), 2)
        self.assertEqual((info["normalizer"], info["model_max_length"]), (None, None))
        self.assertEqual((info["byte_map"][32], info["byte_map"][10], len(info["byte_map"])),
                         ("Ġ", "Ċ", 256))
        self.assertIn("Ġ".encode(), run("tokenize", "info", "-t", TOK, "--bytes"))
        self.assertIn(b"365", run("tokenize", "info", "-t", TOK))
        run("tokenize", "info", "-t", "nowhere", rc=4)

    def test_fertility(self):
        one = json.loads(run("fertility", "-q", "-t", TOK, "d.jsonl", "--json"))
        self.assertEqual(one["bytes"], sum(len(t.encode()) for t in TEXTS))
        self.assertEqual(one["documents"], len(TEXTS))
        out = run("tokenize", "encode", "-q", "-t", TOK, "d.jsonl", "--ids", "json")
        self.assertEqual(one["tokens"], sum(len(json.loads(x)) for x in out.splitlines()))
        self.assertAlmostEqual(one["bytes_per_token"], one["bytes"] / one["tokens"])
        table = run("fertility", "-q", "-t", TOK, "-t", TOK, "d.jsonl").decode()
        self.assertEqual(table.count(f"{one['tokens_per_word']:.3f}"), 2)
        self.assertIn("standard input", run("fertility", "-t", TOK, "-t", TOK, "-", given=b"", rc=2))
        self.assertEqual(sum(one["words_by_tokens"]), one["words"])
        self.assertEqual(one["lossless_documents"], one["documents"])
        self.assertAlmostEqual(one["bytes_per_token"] * one["tokens_per_byte"], 1)
        self.assertEqual(sum(f["tokens"] for f in one["files"]), one["tokens"])
        self.assertEqual(one["tokens_of_first"], 1)

    def test_fertility_page(self):
        """One file that loads nothing; the same bytes again; the numbers do not depend on threads."""
        os.mkdir("corpus")
        for k in range(3):
            with open(f"corpus/{k}.jsonl", "w") as f:
                f.writelines(json.dumps({"text": f"{t} <b>word{i % 7}</b> {t}"}) + "\n"
                             for i in range(400) for t in TEXTS)
        out = [run("fertility", "-q", "-t", TOK, "--html", f"{n}.html", "--json", "--threads", n)
               for n in "13"]
        self.assertEqual(out[0], out[1])
        pages = []
        for n in "13":
            with open(f"{n}.html", encoding="utf-8") as f:
                pages.append(f.read())
        self.assertEqual(pages[0], pages[1])
        self.assertNotIn("<b>", pages[0])
        for loads in ("http:", "https:", "src=", "@import", "<script", "<link"):
            self.assertNotIn(loads, pages[0])
        drawings = re.findall(r"<svg.*?</svg>", pages[0], re.S)
        self.assertEqual(len(drawings), 4)
        for d in drawings:
            xml.etree.ElementTree.fromstring(d)
        self.assertIn("&lt;b&gt;word0&lt;/b&gt;", pages[0])
        costly = json.loads(out[0])["costly_words"]
        self.assertEqual([w["tokens"] - w["count"] for w in costly],
                         sorted((w["tokens"] - w["count"] for w in costly), reverse=True))


if __name__ == "__main__":
    unittest.main()
