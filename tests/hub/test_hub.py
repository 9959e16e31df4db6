"""HTTP and the Hub against server.py: every fault of the protocol that has bitten somebody.

usage: test_hub.py HTTP_PROBE LMHUB
"""
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import server

PROBE, LMHUB = sys.argv[1:3]
BIG = random.Random(1).randbytes(3_000_000)
FILES = {f"data/file-{i:02d}.bin": random.Random(i).randbytes(20_000 + i) for i in range(5)}
FILES |= {"README.md": b"# toy\n", "big.bin": BIG, "odd name +%é.bin": b"odd", "data/empty.bin": b""}
SHA = {n: hashlib.sha256(b).hexdigest() for n, b in FILES.items()}
RATE = {"code": 429, "do": "status"}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = server.Hub(FILES)

    @classmethod
    def tearDownClass(cls):
        cls.hub.close()

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="lory-hub-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.hub.reset()

    def run_(self, cmd, **env):
        base = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        base |= {"HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.dir} | env
        self.began = time.monotonic()
        r = subprocess.run(cmd, capture_output=True, env=base, timeout=120)
        self.took = time.monotonic() - self.began
        self.assertFalse(server.TOKEN.encode() in r.stdout + r.stderr, "a token was printed")
        self.assertNotIn(b"sig=", r.stderr, "a signed address was printed")
        for origin, path, auth, _ in self.hub.log:
            if origin == "cdn":
                self.assertIsNone(auth, f"the token reached another origin: {path}")
        return r

    def probe(self, path, *args, origin="hub"):
        return self.run_([PROBE, self.hub.url(origin) + path, *args])

    def lmhub(self, *args, **env):
        return self.run_([LMHUB, *args], **env)

    def ok(self, r, body):
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(hashlib.sha256(r.stdout).digest(), hashlib.sha256(body).digest())

    def fails(self, r, code, *words):
        self.assertEqual(r.returncode, code, r.stderr)
        for w in words:
            self.assertIn(w.encode(), r.stderr)

    def ranges(self):
        return [x[3] for x in self.hub.log if x[3]]


class Transport(Case):
    def test_whole(self):
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.ok(self.probe("/plain/data/empty.bin"), b"")
        self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_dropped_in_the_middle(self):
        self.hub.reset(*[{"do": "drop", "byte": 500_000}] * 3)
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.assertEqual(self.ranges(), ["bytes=500000-", "bytes=1000000-", "bytes=1500000-"])

    def test_dropped_at_the_first_and_last_byte(self):
        for byte in (0, 1, len(BIG) - 1):
            self.hub.reset({"do": "drop", "byte": byte})
            self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_more_drops_than_tries_while_bytes_come(self):
        """Patience is for questions without an answer, not for long files."""
        self.hub.reset(*[{"do": "drop", "byte": 400_000}] * 7)
        self.ok(self.probe("/plain/big.bin"), BIG)

    def test_server_without_ranges(self):
        self.hub.reset({"do": "drop", "byte": 700_000}, {"do": "norange"})
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.hub.reset({"do": "drop", "byte": 700_000}, {"do": "norange", "byte": 900_000}, {"do": "norange"})
        self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_reset_before_the_answer(self):
        self.hub.reset({"do": "reset"})
        self.ok(self.probe("/plain/big.bin"), BIG)

    def test_stall(self):
        self.hub.reset({"do": "stall", "byte": 100_000, "seconds": 20})
        self.ok(self.probe("/plain/big.bin", "-", "", "", "1"), BIG)
        self.assertLess(self.took, 10)

    def test_chunked_and_without_length(self):
        for kind in ("chunked", "nolength"):
            self.hub.reset({"do": kind})
            self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_changed_in_the_middle(self):
        """Another ETag under the same address: half of one file and half of another is no file."""
        self.hub.reset({"do": "drop", "byte": 1000}, {"do": "none", "etag": '"new"'})
        r = self.probe("/plain/big.bin")
        self.fails(r, 5, "changed")

    def test_range_that_starts_elsewhere(self):
        self.hub.reset({"do": "drop", "byte": 1000}, {"do": "wrongrange"})
        self.fails(self.probe("/plain/big.bin", SHA["big.bin"]), 5, "1000")

    def test_flipped_byte(self):
        self.hub.reset({"do": "flip"})
        self.fails(self.probe("/plain/big.bin", SHA["big.bin"]), 6, SHA["big.bin"], "sha256 is")

    def test_waits_as_asked(self):
        self.hub.reset(RATE | {"headers": {"RateLimit": '"api";r=0;t=1'}})
        self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.assertGreaterEqual(self.took, 1)
        self.hub.reset(RATE | {"headers": {"Retry-After": "2", "RateLimit": '"api";r=7;t=55'}})
        self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.assertTrue(2 <= self.took < 10)

    def test_asked_to_wait_too_long(self):
        self.hub.reset(RATE | {"headers": {"Retry-After": "4000"}})
        self.fails(self.probe("/plain/README.md"), 5, "429", "4000")
        self.assertLess(self.took, 5)

    def test_server_errors(self):
        for code in (500, 502, 503, 504, 408):
            self.hub.reset({"do": "status", "code": code})
            self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.hub.reset(*[{"do": "status", "code": 503}] * 9)
        self.fails(self.probe("/plain/README.md"), 5, "503", "tries")
        self.assertEqual(len(self.hub.log), 4)

    def test_missing_is_not_retried(self):
        self.hub.reset({"do": "status", "code": 404})
        self.fails(self.probe("/plain/README.md?secret=sig=1"), 5, "404 Not Found", "/plain/README.md")
        self.assertEqual(len(self.hub.log), 1)

    def test_nobody_listens(self):
        r = self.run_([PROBE, "http://127.0.0.1:9/x"])
        self.fails(r, 5, "127.0.0.1:9")
        self.assertLess(self.took, 60)


class Redirects(Case):
    def to(self, where):
        args = ("-", server.TOKEN, self.hub.url("hub"))
        return self.probe("/to/?" + where, *args)

    def test_same_origin_keeps_the_token(self):
        self.ok(self.to("/plain/README.md"), FILES["README.md"])
        self.assertEqual([x[2] for x in self.hub.log], ["Bearer " + server.TOKEN] * 2)

    def test_other_port_does_not_get_it(self):
        self.ok(self.to(self.hub.url("cdn") + "/README.md"), FILES["README.md"])
        self.assertEqual([x[2] for x in self.hub.log], ["Bearer " + server.TOKEN, None])

    def test_and_back_again(self):
        """Origin, not history, decides: a hop back home has the token again."""
        self.ok(self.to("/to/?" + self.hub.url("cdn") + "/README.md"), FILES["README.md"])
        self.assertEqual([x[2] is not None for x in self.hub.log], [True, True, False])

    def test_not_followed(self):
        for where in ("ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://127.0.0.1/",
                      self.hub.url("cdn").replace("//", "//user:pass@") + "/README.md"):
            r = self.to(where)
            self.fails(r, 5, "redirects")
            self.assertNotIn(b"pass", r.stderr)
            self.assertEqual(len(self.hub.log), 1, where)
            self.hub.reset()

    def test_loop(self):
        self.fails(self.probe("/loop"), 5, "redirects more than")
        self.assertLess(len(self.hub.log), 20)


class TheHub(Case):
    def ls(self, ref, **env):
        r = self.lmhub("ls", "-q", "--json", ref, **env)
        return r, [f["path"] for f in json.loads(r.stdout)["files"]] if r.returncode == 0 else None

    def test_listing_over_pages(self):
        r, names = self.ls("hf://datasets/me/toy")
        self.assertEqual(names, sorted(FILES, key=str.encode), r.stderr)
        j = json.loads(r.stdout)
        self.assertEqual(j["commit"], server.COMMIT)
        for f in j["files"]:
            self.assertEqual(f["bytes"], len(FILES[f["path"]]))
            self.assertEqual(f.get("sha256"), None if f["path"].endswith(".md") else SHA[f["path"]])

    def test_paths_and_globs(self):
        for path, want in (("data", 6), ("data/", 6), ("data/file-*.bin", 5), ("*.bin", 2), ("**/*.bin", 8), ("README.md", 1),
                           ("data/file-0[12].bin", 2), ("data/file-0[!12].bin", 3), ("data/file-0?.bin", 5)):
            _, names = self.ls("hf://datasets/me/toy/" + path)
            self.assertEqual(len(names or []), want, (path, names))

    def test_revisions(self):
        for rev in ("main", server.COMMIT, "refs%2Fpr%2F1", "refs/pr/1"):
            r, names = self.ls(f"hf://datasets/me/toy@{rev}/data")
            self.assertEqual(len(names or []), 6, r.stderr)

    def test_foreign_page_gets_no_token(self):
        self.hub.foreign_pages = True
        self.lmhub("ls", "hf://datasets/me/toy")  # run_() looks at the log
        self.assertTrue([x for x in self.hub.log if x[0] == "cdn"])

    def test_failures_have_their_own_words(self):
        toy = "hf://datasets/me/toy"
        self.fails(self.lmhub("ls", "hf://datasets/me/missing"), 5, "me/missing", "no such dataset")
        self.fails(self.lmhub("ls", "hf://datasets/me/missing", HF_TOKEN=""), 5, "set HF_TOKEN")
        self.fails(self.lmhub("ls", toy, HF_TOKEN=""), 5, "private")
        self.fails(self.lmhub("ls", toy, HF_TOKEN="wrong"), 5, "token is not valid")
        self.fails(self.lmhub("ls", toy + "@nope"), 5, '"nope"', "revision")
        self.fails(self.lmhub("ls", "hf://datasets/me/gated"), 5, "gated", "/datasets/me/gated")
        self.fails(self.lmhub("ls", toy + "/nowhere/*.gz"), 5, "nowhere")
        self.fails(self.lmhub("ls", toy + "/*.gz"), 2, "*.gz")
        self.fails(self.lmhub("ls", toy, HF_HUB_OFFLINE="1"), 5, "HF_HUB_OFFLINE")
        self.fails(self.lmhub("ls", "hf://datasets/../toy"), 2, "form")
        self.fails(self.lmhub("ls", toy, HF_ENDPOINT="ftp://x"), 2, "HF_ENDPOINT")

    def test_token_from_file(self):
        with open(self.dir + "/token", "w") as f:
            f.write(server.TOKEN + "\n")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        env |= {"HF_ENDPOINT": self.hub.url("hub") + "/", "HF_HOME": self.dir}
        r = subprocess.run([LMHUB, "ls", "hf://datasets/me/toy"], capture_output=True, env=env)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_get(self):
        out = self.dir + "/out"
        r = self.lmhub("get", "hf://datasets/me/toy", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        for n, b in FILES.items():
            with open(os.path.join(out, n), "rb") as f:
                self.assertEqual(f.read(), b, n)
        self.assertEqual(sum(len(f) for _, _, f in os.walk(out)), len(FILES), "a temporary file was left")

    def test_get_goes_on(self):
        out = self.dir + "/out"
        self.hub.reset(*[{"at": "cdn", "path": "file-03", "do": "status", "code": 404}])
        r = self.lmhub("get", "--threads", "1", "hf://datasets/me/toy/data", "-o", out)
        self.fails(r, 5, "404")
        self.hub.reset()
        r = self.lmhub("get", "--json", "hf://datasets/me/toy/data", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        j = json.loads(r.stdout)
        self.assertTrue(j["kept"] >= 3 and j["kept"] + j["files"] == 6, j)
        self.hub.reset()
        with open(out + "/data/file-01.bin", "r+b") as f:  # same size, other bytes: not the file
            f.write(b"x")
        j = json.loads(self.lmhub("get", "--json", "hf://datasets/me/toy/data", "-o", out).stdout)
        self.assertEqual((j["files"], j["kept"]), (1, 5))

    def test_get_with_faults(self):
        out = self.dir + "/out"
        self.hub.reset({"at": "cdn", "path": "big", "do": "drop", "byte": 100_000},
                       {"at": "cdn", "path": "big", "do": "status", "code": 403},
                       {"at": "hub", "path": "tree", "do": "status", "code": 502},
                       RATE | {"at": "hub", "path": "resolve", "headers": {"RateLimit": '"resolvers";r=0;t=1'}})
        r = self.lmhub("get", "hf://datasets/me/toy", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(out + "/big.bin", "rb") as f:
            self.assertEqual(f.read(), BIG)
        asked = [p for o, p, _, _ in self.hub.log if "resolve" in p and "big" in p]
        self.assertGreaterEqual(len(asked), 3, "an address that ran out is resolved anew")

    def test_get_refuses_a_flipped_byte(self):
        out = self.dir + "/out"
        self.hub.reset({"at": "cdn", "path": "big", "do": "flip"})
        self.fails(self.lmhub("get", "hf://datasets/me/toy/big.bin", "-o", out), 6, SHA["big.bin"])
        self.assertFalse(os.path.exists(out + "/big.bin"))

    def test_get_refuses_names_that_lead_elsewhere(self):
        for name in ("../evil", "/abs", "a/../../b", "C:\\x", "\\\\host\\s", "a\\..\\b", "data/\x1b[31m", "a//b", "a/."):
            hub = server.Hub({name: b"evil", "good.bin": b"good"})
            hub.private = False
            out = self.dir + "/out"
            env = {**os.environ, "HF_ENDPOINT": hub.url("hub"), "HF_TOKEN": "", "HF_HOME": self.dir}
            r = subprocess.run([LMHUB, "get", "hf://datasets/me/toy", "-o", out], capture_output=True, env=env)
            self.assertEqual(r.returncode, 3, (name, r.stderr))
            self.assertNotIn(b"\x1b", r.stderr)
            self.assertFalse(os.path.exists(out), name)
            r = subprocess.run([LMHUB, "ls", "hf://datasets/me/toy"], capture_output=True, env=env)
            self.assertNotIn(b"\x1b", r.stdout)
            hub.close()

    def test_server_down(self):
        r = self.lmhub("ls", "hf://datasets/me/toy", HF_ENDPOINT="http://127.0.0.1:9")
        self.fails(r, 5, "127.0.0.1:9")
        self.assertLess(self.took, 60)

    def test_cat(self):
        self.ok(self.lmhub("cat", "-q", "hf://datasets/me/toy/data/file-0[01].bin"),
                FILES["data/file-00.bin"] + FILES["data/file-01.bin"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
