"""`datasets` and corpus read the same datasets from the same server: splits and configurations, by names and by cards,
their files and their rows. Skips (77) where the package cannot be imported; LORY_PYTHON names an interpreter that can.

usage: test_datasets.py HTTP_PROBE LMHUB
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../diff"))
import peers

peers.need("datasets")

import unittest

from case import *

from layouts import CARDS, LAYOUTS, contents

CORPUS = os.path.join(os.path.dirname(LMHUB), "corpus")
# Settings are read when the package is imported: it runs in a process of its own, once for all.
CLIENT = """
import json, sys, datasets
datasets.disable_progress_bars()
out = []
for name, config, rows in json.load(sys.stdin):
    b = datasets.load_dataset_builder(name, config)
    files = {str(s): [p.split("@", 1)[1].split("/", 1)[1] for p in paths] for s, paths in b.config.data_files.items()}
    texts = {str(s): [r["text"] for r in datasets.load_dataset(name, config, split=s, streaming=True)] for s in files} if rows else None
    out.append((files, texts))
print(json.dumps(out))
"""


class Datasets(Case):
    def theirs(self, questions):
        r = self.run_([sys.executable, "-c", CLIENT], json.dumps(questions).encode(), HF_HUB_DISABLE_XET="1",
                      HF_HUB_DISABLE_TELEMETRY="1", HF_DATASETS_OFFLINE="0")
        self.assertEqual(r.returncode, 0, r.stderr.decode())
        return json.loads(r.stdout.splitlines()[-1])

    def cat(self, *args):
        return self.run_([CORPUS, "cat", "-q", *args])

    def texts(self, *args):
        r = self.cat(*args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return [json.loads(line)["text"] for line in r.stdout.splitlines()]

    def test_splits_and_configurations(self):
        self.hub.page = 3
        questions = []
        for i, (files, card, configs) in enumerate([(files, None, [None]) for files in LAYOUTS] + [(f, c, k) for c, f, k in CARDS]):
            name = f"me/set{i}"
            self.hub.add("dataset", name, {f: contents(f) for f in files} | {"README.md": b"---\n%s---\n# a set\n" % card.encode() if card
                                                                              else b"# a set\n"})
            questions += [(name, config, i % 4 == 1) for config in configs]
        for (name, config, _), (files, rows) in zip(questions, self.theirs(questions)):
            more = ["--data-config", config] if config else []
            for split, paths in files.items():
                want = list(dict.fromkeys(paths))
                got = self.texts(f"hf://datasets/{name}", "--split", split, *more)
                self.assertEqual(got, want, (name, config, split))
                if rows:
                    self.assertEqual(got, rows[split], (name, config, split))
            r = self.cat(f"hf://datasets/{name}", "--split", "nope", *more)
            self.fails(r, 2, 'no split "nope"', *files)

    def test_a_configuration_that_is_not_there(self):
        card, files, _ = CARDS[0]
        self.hub.add("dataset", "me/set", {f: contents(f) for f in files} | {"README.md": f"---\n{card}---\n".encode()})
        self.fails(self.cat("hf://datasets/me/set", "--split", "train"), 2, 'no configuration "default"', "en, de", "--data-config")
        self.fails(self.cat("hf://datasets/me/set", "--data-config", "fr"), 2, 'no configuration "fr"', "en, de")
        self.fails(self.cat("hf://datasets/me/set/en", "--split", "train"), 2, "within a whole repository")

    def test_a_card_of_nonsense(self):
        for card, words in (("configs: [", "README.md:"), ("configs: 3\n", "a list is wanted"), ("configs:\n- x: 1\n", "config_name")):
            self.hub.repos.pop(("dataset", "me/set"), None)
            self.hub.add("dataset", "me/set", {"train.jsonl": b"{}\n", "README.md": f"---\n{card}\n---\n".encode()})
            self.fails(self.cat("hf://datasets/me/set", "--split", "train"), 3, "hf://datasets/me/set: README.md", words)


if __name__ == "__main__":
    unittest.main()
