"""Lory's sources beside `datasets`, pyarrow and Python's csv: splits and configurations, mixed and shuffled streams,
Parquet of every codec and encoding, CSV. Run with the folder of the programs; the interpreter named by
LORY_PYTHON is used if this one lacks the packages; exit 77 if both do."""
import csv
import datetime
import decimal
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"
import peers

peers.need("datasets", "pyarrow.parquet")
import datasets
import numpy
import pyarrow as pa
import pyarrow.parquet as pq

from layouts import CARDS, LAYOUTS, contents

TOOLS = os.path.abspath(sys.argv.pop(1))
datasets.disable_progress_bars()


def cat(*args, **kw):
    return subprocess.run([os.path.join(TOOLS, "corpus"), "cat", "-q", *map(str, args)], capture_output=True, timeout=120, **kw)


def texts(*args):
    p = cat(*args)
    assert p.returncode == 0, p.stderr.decode()
    return [json.loads(line)["text"] for line in p.stdout.splitlines()]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = self.folder.name

    def tearDown(self):
        self.folder.cleanup()

    def put(self, name, content):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        return path


class Layouts(Case):
    def compare(self, files, card=None, configs=(None,)):
        with tempfile.TemporaryDirectory() as folder:
            self.dir = folder
            for f in files:
                self.put(f, contents(f))
            if card:
                self.put("README.md", "---\n" + card + "---\n# a dataset\n")
            for config in configs:
                with tempfile.TemporaryDirectory() as cache:
                    found = datasets.load_dataset_builder(folder, config, cache_dir=cache).config.data_files
                for split, paths in found.items():
                    want = list(dict.fromkeys(os.path.relpath(p, folder) for p in paths))
                    got = texts(folder, "--split", split, *(["--data-config", config] if config else []))
                    self.assertEqual(got, want, (files, config, split))
                self.assertEqual(cat(folder, "--split", "nope", *(["--data-config", config] if config else [])).returncode, 2)

    def test_names(self):
        for files in LAYOUTS:
            self.compare(files)

    def test_cards(self):
        for card, files, configs in CARDS:
            self.compare(files, card, configs)


class Streams(Case):
    def source(self, name, n):
        for f in range(2):
            self.put(f"{name}/{f}.jsonl", "".join(json.dumps({"text": f"{name}{f}:{i}"}) + "\n" for i in range(n)))
        files = [os.path.join(self.dir, name, f"{f}.jsonl") for f in range(2)]
        return datasets.load_dataset("json", data_files=files, split="train", streaming=True, cache_dir=self.dir + "/cache")

    def test_interleave(self):
        names = ["a", "b", "c"]
        sources = [self.source(name, n) for name, n in zip(names, (7, 30, 3))]
        folders = [os.path.join(self.dir, name) for name in names]
        for p in (None, [0.5, 0.3, 0.2]):
            for end in ("first_exhausted", "all_exhausted", "all_exhausted_without_replacement"):
                mixed = datasets.interleave_datasets(sources, probabilities=p, seed=3, stopping_strategy=end)
                got = texts(*folders, "--interleave", "--seed", 3, "--stopping", end, *(["--probabilities", ",".join(map(str, p))] if p else []))
                self.assertEqual(got, [x["text"] for x in mixed], (p, end))

    def test_shuffled_then_interleaved(self):
        a, b = self.source("a", 20), self.source("b", 25)
        mixed = datasets.interleave_datasets([a.shuffle(3, buffer_size=5), b.shuffle(3, buffer_size=5)], probabilities=[0.4, 0.6], seed=3)
        got = texts(self.dir + "/a", self.dir + "/b", "--interleave", "--seed", 3, "--probabilities", ".4,.6", "--order", "hf5",
                    "--shuffle-buffer", 5, "--skip", 5, "--take", 9)
        self.assertEqual(got, [x["text"] for x in mixed.skip(5).take(9)])


class Tables(Case):
    def test_csv(self):
        r = random.Random(1)
        for sep, name in ((",", "t.csv"), ("\t", "t.tsv"), (",", "u.csv"), (",", "v.csv"), ("\t", "w.tsv")):
            out, end = io.StringIO(), r.choice(["\n", "\r\n", "\r"])
            quoting = csv.QUOTE_ALL if end == "\r" else csv.QUOTE_MINIMAL  # which leaves a \n bare there
            w = csv.writer(out, delimiter=sep, lineterminator=end, quoting=quoting)
            w.writerow(["id", "text", "é"])
            for i in range(500):
                w.writerow([i, "".join(r.choice(["a", '"', ",", "\n", "\r\n", "\t", "京", "", " "]) for _ in range(r.randrange(30))) + "x", "e"])
            path = self.put(name, out.getvalue())
            want = list(csv.DictReader(io.StringIO(out.getvalue(), newline=""), delimiter=sep))
            p = cat(path)
            self.assertEqual([json.loads(line) for line in p.stdout.splitlines()], want, p.stderr)

    def columns(self, n):
        r = random.Random(3)
        structs = [None, {"x": None, "y": {"z": "q"}}, {"x": 1, "y": None}, {"x": 2, "y": {"z": None}}]
        inner = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
        day, moment = datetime.date(1900, 1, 1), datetime.datetime(1960, 1, 1)
        return pa.table({
            "text": pa.array([r.choice([None, "", 'é京😀 "q"\\ \n\t\x01', "x" * r.randint(0, 50)]) for _ in range(n)], pa.string()),
            "name": pa.array([f"r{i}" for i in range(n)], pa.string()),
            "kind": pa.array([r.choice(["a", "bb", "ccc"]) for _ in range(n)]),
            "i32": pa.array([r.choice([None, r.randint(-2**31, 2**31 - 1)]) for _ in range(n)], pa.int32()),
            "i64": pa.array([r.randint(-2**63, 2**63 - 1) for _ in range(n)], pa.int64()),
            "u8": pa.array([r.randint(0, 255) for _ in range(n)], pa.uint8()),
            "u64": pa.array([r.randint(0, 2**64 - 1) for _ in range(n)], pa.uint64()),
            "f32": pa.array([r.choice([None, r.randint(0, 999) / 8]) for _ in range(n)], pa.float32()),
            "f64": pa.array([r.random() * 1e10 for _ in range(n)], pa.float64()),
            "bool": pa.array([r.choice([None, True, False]) for _ in range(n)]),
            "date": pa.array([day + datetime.timedelta(r.randint(0, 90000)) for _ in range(n)]),
            "time": pa.array([moment + datetime.timedelta(microseconds=r.randint(0, 10**16)) for _ in range(n)], pa.timestamp("us")),
            "dec": pa.array([decimal.Decimal(r.randint(-10**12, 10**12)).scaleb(-3) for _ in range(n)], pa.decimal128(20, 3)),
            "list": pa.array([r.choice([None, [], [1], [1, None, 3], list(range(r.randint(0, 20)))]) for _ in range(n)], pa.list_(pa.int32())),
            "lists": pa.array([r.choice([None, [], [None], [[], ["a"]], [["b", None], None, ["c"]]]) for _ in range(n)], pa.list_(pa.list_(pa.string()))),
            "struct": pa.array([r.choice(structs) for _ in range(n)], pa.struct([("x", pa.int32()), ("y", pa.struct([("z", pa.string())]))])),
            "deep": pa.array([r.choice([None, [], [{"a": 1, "b": ["k"]}, {"a": None, "b": None}, None]]) for _ in range(n)], pa.list_(inner)),
            "map": pa.array([r.choice([None, [], [("k", 1), ("l", None)]]) for _ in range(n)], pa.map_(pa.string(), pa.int32())),
            "fixed": pa.array([b"ab%d" % (i % 10) for i in range(n)], pa.binary(3)),
            "half": pa.array([r.choice([None, 0.0, -1.5, 65504.0, 2.0**-24, 2.0**-14, r.randint(-999, 999) / 8]) for _ in range(n)], pa.float16()),
            "wide": pa.array([r.choice([None, decimal.Decimal(r.randint(-10**66, 10**66)).scaleb(-3)]) for _ in range(n)], pa.decimal256(70, 3)),
            "clock": pa.array([(moment + datetime.timedelta(microseconds=r.randint(0, 10**11))).time() for _ in range(n)], pa.time64("us")),
            "utc": pa.array([moment.replace(tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=r.randint(0, 10**9)) for _ in range(n)],
                            pa.timestamp("us", "UTC")),
        })

    def plain(self, v):
        if isinstance(v, dict):
            return {k: self.plain(x) for k, x in v.items()}
        if isinstance(v, list):
            return [{"key": x[0], "value": x[1]} if isinstance(x, tuple) else self.plain(x) for x in v]
        if isinstance(v, (datetime.date, datetime.datetime, datetime.time)):
            return v.isoformat()
        if isinstance(v, numpy.float16):
            return float(v)
        return float(v) if isinstance(v, decimal.Decimal) else v.decode() if isinstance(v, bytes) else v

    def compare(self, table, want, **options):
        path = os.path.join(self.dir, "t.parquet")
        pq.write_table(table, path, **options)
        p = cat(path, "--field", "name")
        self.assertEqual(p.returncode, 0, p.stderr)
        for i, (line, row) in enumerate(zip(p.stdout.splitlines(), want)):
            self.assertEqual(json.loads(line), row, (options, i))
        self.assertEqual(p.stdout.count(b"\n"), len(want))

    def test_parquet(self):
        table = self.columns(1500)
        want = [self.plain(row) for row in table.to_pylist()]
        for codec in ("none", "snappy", "gzip", "zstd", "lz4"):
            for version in ("1.0", "2.0"):
                self.compare(table, want, compression=codec, data_page_version=version, row_group_size=400, data_page_size=3000)
                self.compare(table, want, compression=codec, data_page_version=version, use_dictionary=False, data_page_size=3000)
        deltas = {"text": "DELTA_LENGTH_BYTE_ARRAY", "name": "DELTA_BYTE_ARRAY", "kind": "DELTA_BYTE_ARRAY", "i32": "DELTA_BINARY_PACKED",
                  "i64": "DELTA_BINARY_PACKED", "f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT", "fixed": "DELTA_BYTE_ARRAY", "bool": "RLE"}
        for version in ("1.0", "2.0"):
            self.compare(table, want, use_dictionary=False, column_encoding=deltas, data_page_version=version, data_page_size=2000)
        for row in want:  # what INT96 does not say
            row["utc"] = row["utc"].removesuffix("+00:00")
        self.compare(table, want, use_deprecated_int96_timestamps=True)


unittest.main()
