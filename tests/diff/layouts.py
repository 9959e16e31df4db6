"""Names of files, and cards of datasets, that tell splits and configurations: tried in folders by diff/test_sources.py
and on a Hub by hub/test_datasets.py."""
import gzip
import json


def contents(name):
    line = json.dumps({"text": name}).encode() + b"\n"
    if name.endswith(".txt"):
        return name.encode()
    if name.endswith("sv"):
        return b"text\n%s\n" % name.encode()
    return gzip.compress(line) if name.endswith(".gz") else line if "json" in name else b"words"


LAYOUTS = [
    ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "data/test-00000-of-00001.jsonl", "data/extra-00000-of-00001.jsonl"],
    ["train.jsonl", "test.jsonl", "valid.jsonl"],
    ["train/a.jsonl", "train/b.jsonl", "test/x.jsonl", "dev/y.jsonl"],
    ["my_train_data/a.jsonl", "eval/z.jsonl"],
    ["file-000000000183_validation.jsonl"],
    ["a.jsonl", "b.jsonl", "sub/c.jsonl"],
    ["train_0.jsonl", "train_1.jsonl", "training-2.jsonl", "x.train.jsonl"],
    ["eval/test/x.jsonl", "train/t.jsonl"],
    ["a.jsonl", ".hidden.jsonl", "__pycache__/b.jsonl", "LICENSE.txt"],
    ["a.csv", "b.csv", "c.csv", "d.json", "e.json", "f.jsonl", "g.jsonl"],  # endings count, not what they stand for
    ["a.tsv", "b.txt"],
    ["data/en/train.jsonl", "data/de/train.jsonl"],
    ["trainer.jsonl", "contest.jsonl"],
    ["retrain 1.jsonl", "dev-set.jsonl"],
    ["Train.jsonl", "data/TEST-00000-of-00001.jsonl"],
    ["train.jsonl.gz", "validation.jsonl.gz", "notes.txt"],
    ["data/train/0.jsonl", "data/train/1.jsonl", "data/evaluation.jsonl"],
    ["evaluation.jsonl", "testing.jsonl", "training.jsonl", "val.jsonl"],
    ["evaluation/a.jsonl", "testing/b.jsonl", "training/c.jsonl", "val/d.jsonl", "valid/e.jsonl"],
    ["my-evaluation-2/a.jsonl", "0testing/b.jsonl", "c.training.jsonl", "set 1 val/d.jsonl"],
    ["evaluations/a.jsonl", "validations.jsonl", "value.jsonl", "latest.jsonl"],
    ["data/dev.v1-00000-of-00001.jsonl", "data/a.b-00000-of-00001-x.jsonl"],
    ["eval-train.jsonl", "train/test.jsonl"],
]
CARDS = [
    ("configs:\n- config_name: en\n  data_files: en/*.jsonl\n- config_name: de\n  data_files:\n  - split: train\n    path: de/a.jsonl\n"
     "  - split: test\n    path: [de/b.jsonl, en/b.jsonl]\n", ["en/a.jsonl", "en/b.jsonl", "de/a.jsonl", "de/b.jsonl"], ["en", "de"]),
    ("configs:\n- config_name: x\n  data_dir: sub\n- config_name: default\n  data_files: '**/b.jsonl'\n",
     ["sub/train.jsonl", "sub/test.jsonl", "b.jsonl", "q/b.jsonl"], ["x", "default", None]),
    ("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - split: dev.small\n    path: data/dev*\n"
     "dataset_info:\n  features:\n  - name: text\n    dtype: string\n", ["data/train-1.jsonl", "data/train-0.jsonl", "data/dev.jsonl", "other.jsonl"],
     [None]),
    ("license: mit\n", ["train.jsonl", "more/test.jsonl"], [None]),
    ("configs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  default: true\n  data_files: b.jsonl\n", ["a.jsonl", "b.jsonl"],
     [None, "a", "b"]),
    # files of several kinds that a card names: none is left out
    ("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: '**'\n  - split: zz\n    path: [data/*]\n",
     ["a.jsonl", "data/b.txt", "data/c.json.gz", "data/code.py", "d/e.jsonl"], [None]),
]
