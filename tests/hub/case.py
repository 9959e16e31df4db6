"""What the tests of this folder share: a server, a folder, lmhub with an environment of its own. ONLY="Push.test_create"
in the environment runs one test, TIMES=1 prints what each takes."""
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
MORE = sys.argv[3:]  # what a test needs besides
sys.argv[1:] = os.environ.get("ONLY", "").split()
BIG = random.Random(1).randbytes(3_000_000)
FILES = {f"data/file-{i:02d}.bin": random.Random(i).randbytes(20_000 + i) for i in range(5)}
FILES |= {"README.md": b"# toy\n", "big.bin": BIG, "odd name +%é.bin": b"odd", "data/empty.bin": b""}
SHA = {n: hashlib.sha256(b).hexdigest() for n, b in FILES.items()}
RATE = {"code": 429, "do": "status"}


def read_folder(folder):
    out = {}
    for d, _, names in os.walk(folder):
        for n in names:
            with open(os.path.join(d, n), "rb") as f:
                out[os.path.relpath(os.path.join(d, n), folder)] = f.read()
    return out


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = server.Hub(FILES)

    @classmethod
    def tearDownClass(cls):
        cls.hub.close()

    def setUp(self):
        began = time.monotonic()
        if os.environ.get("TIMES"):
            self.addCleanup(lambda: print("%5.1f s  %s" % (time.monotonic() - began, self.id()), file=sys.stderr))
        self.dir = tempfile.mkdtemp(prefix="lory-hub-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.hub.reset()

    def environment(self, **env):
        base = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        return base | {"HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.dir} | env

    def run_(self, cmd, stdin=None, **env):
        self.began = time.monotonic()
        r = subprocess.run(cmd, capture_output=True, env=self.environment(**env), timeout=120, input=stdin)
        self.took = time.monotonic() - self.began
        self.assertFalse(server.TOKEN.encode() in r.stdout + r.stderr, "a token was printed")
        self.assertNotIn(b"sig=", r.stderr, "a signed address was printed")
        for origin, path, auth, *_ in self.hub.log:
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
