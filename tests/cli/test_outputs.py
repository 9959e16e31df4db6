"""What programs write. Over what they read: exit 2 with the name, before anything is written. And what a killed one left of
it goes with the next.

usage: test_outputs.py TOOLS TOK MODEL
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS, TOK, MODEL = map(os.path.abspath, sys.argv[1:4])
del sys.argv[1:4]

# Command, and the name that is told of. LINK/ holds links to everything; FOLDER/. is another name of a folder.
CASES = """
corpus cat c/a.jsonl -o c/a.jsonl                                           c/a.jsonl
corpus cat c -o LINK/c/b.jsonl                                              LINK/c/b.jsonl
corpus cat LINK/c/a.jsonl -o c/a.jsonl                                      c/a.jsonl
corpus cat c/a.jsonl -o new --state c/a.jsonl                               c/a.jsonl
corpus cat c/a.jsonl -o new --state new                                     new
corpus cat c/a.jsonl -o c/b.jsonl --state c/b.jsonl                         c/b.jsonl
corpus cat c/a.jsonl c/b.jsonl --interleave -o c/b.jsonl                    c/b.jsonl
corpus cat c/a.jsonl -o new --on-error c/a.jsonl                            c/a.jsonl
corpus cat c/a.jsonl -o c.yaml --config c.yaml                              c.yaml
corpus stats c --on-error c/b.jsonl                                         c/b.jsonl
corpus clean c -o c/a.jsonl                                                 c/a.jsonl
corpus clean c -o c/                                                        c/
corpus clean c -o new --report c/a.jsonl                                    c/a.jsonl
corpus dedup c -o LINK/c/                                                   LINK/c/
corpus dedup c -o new --mode near --clusters c/b.jsonl                      c/b.jsonl
corpus split c -o new --report c/b.jsonl                                    c/b.jsonl
corpus split parts/train -o parts                                           parts/train
corpus tokenize c -t tok -o c/                                              c
corpus tokenize c -t tok -o c/b.jsonl                                       c/b.jsonl
corpus tokenize c -t tok -o tok/tokenizer.json                              tok/tokenizer.json
corpus tokenize c -t tok/tokenizer.json -o new --report tok/vocab.json      tok/vocab.json
corpus pack packed --ext .gz -o packed                                      packed
corpus pack packed --ext .gz -o LINK/packed                                 packed
bpe-train c --vocab 300 --counts-out c/a.jsonl                              c/a.jsonl
bpe-train c/a.jsonl --vocab 300 --on-error c/a.jsonl -o new                 c/a.jsonl
bpe-train tok/merges.txt --vocab 300 -o tok                                 tok/merges.txt
bpe-train tok/training.json --format text --vocab 300 -o LINK/tok           tok/training.json
bpe-train --from-counts n.tsv --vocab 0 --counts-out n.tsv                  n.tsv
bpe-train --from-counts n.tsv --vocab 300 -o tok --like tok                 tok/
bpe-train c --vocab 1200 --extend tok/tokenizer.json -o tok/.               tok/./
bpe-train c --nested 400,500 --extend new/400 -o new                        new/400/
tokenize encode -t tok c/a.jsonl -o c/a.jsonl                               c/a.jsonl
tokenize encode -t tok c/a.jsonl -o tok/tokenizer.json                      tok/tokenizer.json
tokenize encode -t tok/tokenizer.json c/a.jsonl -o tok/tokenizer_config.json  tok/tokenizer_config.json
tokenize encode -t t.tiktoken c/a.jsonl -o t.tiktoken                       t.tiktoken
tokenize encode -t tok c/a.jsonl -o new --on-error c/a.jsonl                c/a.jsonl
tokenize decode -t tok ids.txt -o ids.txt                                   ids.txt
tokenize decode -t tok LINK/ids.txt -o ids.txt                              ids.txt
tokenize decode -t tok ids.txt -o tok/vocab.json                            tok/vocab.json
tokenize pieces -t tok c/a.jsonl -o c/a.jsonl                               c/a.jsonl
tokenize pieces -t tok c/a.jsonl -o tok/tokenizer.json                      tok/tokenizer.json
tokenize convert -t tok -o tok                                              tok/
tokenize convert -t LINK/tok/tokenizer.json -o tok                          tok/
fertility -t tok c --html c/a.jsonl                                         c/a.jsonl
fertility -t tok c --html tok/merges.txt                                    tok/merges.txt
fertility -t tok c --on-error c/a.jsonl                                     c/a.jsonl
shard shards/train-00000.bin --format text -t tok -o shards                 train-00000.bin
shard c --valid shards/index.json -t tok -o shards                          index.json
shard c -t shards/tokenizer -o shards                                       shards/tokenizer
shard c -t shards/tokenizer/tokenizer.json -o LINK/shards                   shards/tokenizer
shard c -t tok -o new --on-error c/a.jsonl                                  c/a.jsonl
shard c/a.jsonl --valid c/b.jsonl -t tok -o new --on-error c/b.jsonl        c/b.jsonl
shard export nanogpt nano -o nano                                           nano/train.bin
shard export nanogpt nano/train.bin -o LINK/nano                            nano/train.bin
shard export megatron meg -o meg                                            meg/train.bin
lmtrain export llmc model.bin -o model.bin                                  model.bin
lmtrain export llmc model -o LINK/model/model.safetensors                   model/model.safetensors
lmtrain export llmc model -o model/config.json                              model/config.json
lmreport run --html run/metrics.jsonl                                       run/metrics.jsonl
lmreport run --html LINK/run/config.yaml                                    run/config.yaml
"""
# The like of it that is meant, and works.
FINE = """
corpus cat c/a.jsonl -o c/new.jsonl
tokenize encode -t tok c/a.jsonl -o tok/ids.txt
tokenize convert -t t.tiktoken -o .
bpe-train c/a.jsonl --vocab 300 -o c
bpe-train tok/merges.txt --vocab 300 -o new
shard c/a.jsonl c/b.jsonl -t tok -o c
shard export jsonl shards -o shards
shard export nanogpt shards -o nano
lmtrain export llmc model -o model/gpt2.bin
lmreport run --html run/report.html
"""
# Outputs that are named, the last of each line: alone, or one of several files.
NAMED = """
corpus cat c -o out
corpus cat c/a.jsonl c/b.jsonl --interleave -o out
corpus clean c -o new/ --report out
corpus dedup c -o new/ --clusters out
corpus tokenize c -t tok -o out
corpus stats c --on-error out
corpus pack packed --ext .gz --files 2 -o many/file-000000000001.json.gz
bpe-train c --vocab 0 --counts-out out
bpe-train c --vocab 300 -o many/merges.txt
tokenize encode -t tok c/a.jsonl -o out
tokenize decode -t tok ids.txt -o out
tokenize pieces -t tok c/a.jsonl -o out
tokenize convert -t tok -o many/additional_chat_templates/x.jinja
fertility -t tok c --html out
shard c -t tok -o many/index.json
shard export nanogpt shards -o many/val.bin
shard export jsonl shards -o many/train.jsonl.gz
lmtrain export llmc model -o out
lmreport run --html out
"""


def run(words, cwd):
    return subprocess.run([os.path.join(TOOLS, words[0]), *words[1:], "-q"], cwd=cwd, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)


def contents(folder):
    found = {}
    for d, _, names in os.walk(folder):
        found[os.path.relpath(d, folder)] = None
        for n in names:
            with open(os.path.join(d, n), "rb") as f:
                found[os.path.relpath(os.path.join(d, n), folder)] = f.read()
    return found


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


class Outputs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.TemporaryDirectory()
        w = cls.world = cls.root.name + "/world"
        for name in ("c/a.jsonl", "c/b.jsonl", "parts/train/a.jsonl"):
            write(f"{w}/{name}", "".join(json.dumps({"text": f"{name} {i} and so on"}) + "\n" for i in range(200)))
        write(w + "/packed/file-000000000000.json.gz", "text")
        write(w + "/n.tsv", "3\tab\n2\tabc\n")
        write(w + "/ids.txt", "1 2 3\n")
        write(w + "/c.yaml", "seed: 2\n")
        write(w + "/run/config.yaml", "lmtrain:\n  lr: 0.1\n")
        write(w + "/run/metrics.jsonl", '{"step":1,"loss":2.0,"lr":0.1,"grad_norm":1,"tokens":10,"tokens_per_s":1,"time":1}\n')
        for name in ("tok", "new/400"):
            shutil.copytree(TOK, f"{w}/{name}")
        for name in ("training.json", "tokenizer_config.json"):
            write(w + "/tok/" + name, "{}")
        shutil.copytree(MODEL, w + "/model")
        for words in ("tokenize convert -t tok -o t", "shard c -t tok -o shards", "shard export nanogpt shards -o nano",
                      "shard export megatron shards -o meg", "lmtrain export llmc model -o model.bin"):
            r = run(words.split(), w)
            assert r.returncode == 0, r.stderr
        shutil.move(w + "/t/tokenizer.tiktoken", w + "/t.tiktoken")
        shutil.rmtree(w + "/t")

    @classmethod
    def tearDownClass(cls):
        cls.root.cleanup()

    def setUp(self):
        self.place = tempfile.mkdtemp(dir=self.root.name)
        shutil.copytree(self.world, self.place, dirs_exist_ok=True)
        os.symlink(".", self.place + "/LINK")

    def test_over_an_input_is_refused(self):
        before = contents(self.place)
        for case in CASES.strip().splitlines():
            *words, said = case.split()
            with self.subTest(case=" ".join(words)):
                r = run(words, self.place)
                self.assertEqual(r.returncode, 2, r.stderr)
                self.assertIn(said, r.stderr)
                self.assertRegex(r.stderr, "is read|is both")
                old, before = before, contents(self.place)
                self.assertEqual([n for n in old.keys() | before.keys() if old.get(n) != before.get(n)], [])

    def test_what_is_meant_goes_on(self):
        for case in FINE.strip().splitlines():
            with self.subTest(case=case):
                for _ in range(2):  # the second time, its own outputs lie there
                    r = run(case.split(), self.place)
                    self.assertEqual(r.returncode, 0, r.stderr)
                self.setUp()

    def test_leftovers_of_killed_runs_stayed(self):
        """Gigabytes under a hidden name; the next run of the same command takes it away, and nothing else."""
        gone = subprocess.Popen(["true"])
        gone.wait()
        for case in NAMED.strip().splitlines():
            *words, out = case.split()
            many, _, name = out.rpartition("/")
            folder = os.path.join(self.place, many)
            os.makedirs(folder, exist_ok=True)
            left, other = (f"{folder}/.{n}.tmp-{gone.pid}" for n in (name, "other"))
            for path in (left, other):
                write(path, "")
            with self.subTest(case=case):
                r = run([*words, many.split("/")[0] or out], self.place)
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertFalse(os.path.exists(left))
                self.assertTrue(many or os.path.exists(other))
            self.setUp()


if __name__ == "__main__":
    unittest.main()
