"""corpus cat --state over HTTP and from the Hub: killed and gone on with, the output is that of a run nobody disturbed,
and what was read is not asked for again. A file that changed in between is named.

usage: test_resume.py HTTP_PROBE LMHUB
"""
import base64
import gzip
import signal
import struct
import unittest

from case import *

CORPUS = os.path.join(os.path.dirname(LMHUB), "corpus")
EVERY = 200_000
HEAD = 64 << 10


def records(seed, n):
    """JSON lines that hardly compress, about 1 KB each."""
    rng = random.Random(seed)
    return b"".join(b'{"id": %d, "text": "%s"}\n' % (i, base64.b64encode(rng.randbytes(rng.randrange(1400)))) for i in range(n))


def frames(data):
    """zstd, a frame for each 100 KB, uncompressed blocks: RFC 8878, without a library."""
    out = b""
    for at in range(0, len(data), 100_000):
        block = data[at:at + 100_000]
        out += struct.pack("<IBI", 0xfd2fb528, 0xa0, len(block)) + (len(block) << 3 | 1).to_bytes(3, "little") + block
    return out


def table(seed, n):
    rng = random.Random(seed)
    rows = [b'%d,"a ""quoted"" line\nand %s"\r\n' % (i, base64.b64encode(rng.randbytes(rng.randrange(1400)))) for i in range(n)]
    return b"id,text\r\n" + b"".join(rows)


BODY = records(1, 6000)
DATA = {"big.jsonl.gz": gzip.compress(BODY, 1), "two.jsonl.gz": gzip.compress(records(2, 900)) + gzip.compress(records(3, 900)),
        "plain.jsonl": records(4, 1500), "frames.jsonl.zst": frames(records(5, 1500)), "table.csv.gz": gzip.compress(table(6, 1500))}


class Resume(Case):
    @classmethod
    def setUpClass(cls):
        cls.hub = server.Hub(dict(DATA))

    def setUp(self):
        super().setUp()
        self.hub.files.clear()
        self.hub.files.update(DATA)
        self.hub.repos.pop(("dataset", "me/set"), None)
        self.hub.add("dataset", "me/set", {"data/" + n: b for n, b in DATA.items()} | {"README.md": b"# set\n"})
        self.out, self.state = self.dir + "/out.jsonl", self.dir + "/state"

    def command(self, *sources, out=None):
        return [CORPUS, "cat", *sources, "-o", out or self.out, "--state", self.state, "--state-every", str(EVERY)]

    def plain(self, name):
        return self.hub.url("hub") + "/plain/" + name

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def stop_at(self, source, byte, behind, path=""):
        """Reads until the server falls silent at `byte` of what it sends, and is killed with `behind` bytes written."""
        skip = [] if path else [{"do": "none"}]  # an address is asked for its mark first
        self.hub.reset(*skip, {"at": "cdn" if path else "hub", "path": path, "do": "stall", "byte": byte, "seconds": 60})
        p = subprocess.Popen(self.command(source), env=self.environment(), stderr=subprocess.PIPE)
        while True:
            try:
                if struct.unpack("<Q", self.read(self.state)[8:16])[0] >= behind:
                    break
            except (FileNotFoundError, struct.error):
                pass
            self.assertIsNone(p.poll(), "it ended by itself")
            time.sleep(0.01)
        p.kill()
        p.communicate()
        self.hub.reset()

    def go_on(self, source, body=BODY):
        r = self.run_(self.command(source))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(hashlib.sha256(self.read(self.out)).digest(), hashlib.sha256(body).digest())
        self.assertFalse(os.path.exists(self.state))

    def refuses(self, source, code, *words):
        """…and loses nothing: after that, what was there still is."""
        before = self.kept()
        self.fails(self.run_(self.command(source)), code, *words)
        self.assertEqual(self.kept(), before)

    def kept(self):
        """The state, and the bytes of the output that it counts."""
        state = self.read(self.state)
        at = struct.unpack("<Q", state[8:16])[0]
        part = self.read(self.dir + "/.out.jsonl.partial")
        self.assertGreaterEqual(len(part), at)
        return state, hashlib.sha256(part[:at]).digest()

    def test_the_rest_alone_is_asked_for(self):
        total, source = len(DATA["big.jsonl.gz"]), self.plain("big.jsonl.gz")
        self.stop_at(source, 3_500_000, 3_500_000)
        self.go_on(source)
        mark, head, rest = self.ranges()
        self.assertEqual([mark, head], ["bytes=0-0", f"bytes=0-{HEAD - 1}"])
        at = int(rest[6:-1])
        self.assertGreater(at, 2_000_000)
        self.assertLessEqual(self.hub.sent, 1 + HEAD + total - at)

    def test_inside_a_zstd_frame(self):
        """One frame, as zstd and our own writer make it: its blocks are entered, not its beginning."""
        body, source = records(7, 36000), self.plain("one.jsonl.zst")
        with open(self.dir + "/body.jsonl", "wb") as f:
            f.write(body)
        r = self.run_([CORPUS, "cat", "-q", self.dir + "/body.jsonl", "-o", self.dir + "/one.jsonl.zst"])
        self.assertEqual(r.returncode, 0, r.stderr)
        stored = self.read(self.dir + "/one.jsonl.zst")
        self.hub.files["one.jsonl.zst"] = stored
        self.stop_at(source, len(stored) * 9 // 10, len(body) * 3 // 4)
        self.go_on(source, body)
        at = int(self.ranges()[-1][6:-1])
        self.assertGreater(at, len(stored) // 4)
        self.assertLessEqual(self.hub.sent, 1 + HEAD + len(stored) - at)

    def test_of_the_hub(self):
        source, total = "hf://datasets/me/set/data/big.jsonl.gz", len(DATA["big.jsonl.gz"])
        self.stop_at(source, 3_500_000, 3_500_000, "/blob/")
        self.go_on(source)
        head, rest = [x[3] for x in self.hub.log if x[0] == "cdn"]
        self.assertEqual(head, f"bytes=0-{HEAD - 1}")
        self.assertLessEqual(self.hub.sent, HEAD + total - int(rest[6:-1]))
        self.assertGreater(int(rest[6:-1]), 2_000_000)

    def test_killed_at_random(self):
        """Every kind of file, at any moment, any number of times."""
        rng, kills = random.Random(7), 0
        sources = [[self.plain(n) for n in DATA], ["hf://datasets/me/set/data/*"],
                   [self.plain("two.jsonl.gz"), self.plain("frames.jsonl.zst"), "--order", "hf5", "--shuffle-buffer", "300"]]
        for source in sources:
            want = self.dir + "/want.jsonl"
            r = self.run_([CORPUS, "cat", *source, "-o", want])
            self.assertEqual(r.returncode, 0, r.stderr)
            self.hub.pace = 0.003
            code, left = None, 10
            while code != 0:
                p = subprocess.Popen(self.command(*source), env=self.environment(), stderr=subprocess.PIPE)
                try:
                    p.wait(timeout=0.05 + 0.4 * rng.random() if left else 60)
                except subprocess.TimeoutExpired:
                    p.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                    kills, left = kills + 1, left - 1
                said = p.communicate()[1]
                code = p.returncode
                self.assertIn(code, (0, -signal.SIGKILL, -signal.SIGTERM, 143), said)
            self.assertEqual(hashlib.sha256(self.read(self.out)).digest(), hashlib.sha256(self.read(want)).digest())
            self.assertFalse(os.path.exists(self.state))
            self.hub.pace = 0
        self.assertGreater(kills, 5)

    def test_a_file_that_changed_is_named(self):
        source = self.plain("big.jsonl.gz")
        self.stop_at(source, 1_500_000, 1_000_000)
        data = bytearray(DATA["big.jsonl.gz"])
        data[-30] ^= 1  # as long as before
        self.hub.files["big.jsonl.gz"] = bytes(data)
        self.refuses(source, 5, "/plain/big.jsonl.gz: has changed since the state was saved", "remove the state")
        self.hub.files["big.jsonl.gz"] = DATA["big.jsonl.gz"]
        self.go_on(source)

    def test_another_file_that_changed(self):
        """Not the one that is being read: its beginning is in the output already, or its end would be."""
        sources = [self.plain("plain.jsonl"), self.plain("big.jsonl.gz")]
        self.hub.reset(*[{"do": "none"}] * 3, {"path": "big", "do": "stall", "byte": 1_500_000, "seconds": 60})
        p = subprocess.Popen(self.command(*sources), env=self.environment(), stderr=subprocess.PIPE)
        while not os.path.exists(self.state) or struct.unpack("<Q", self.read(self.state)[8:16])[0] < len(DATA["plain.jsonl"]):
            time.sleep(0.01)
        p.kill()
        p.communicate()
        self.hub.reset()
        self.hub.files["plain.jsonl"] = DATA["plain.jsonl"].replace(b"a", b"b")
        self.fails(self.run_(self.command(*sources)), 5, "/plain/plain.jsonl: has changed since")

    def test_changes_while_it_is_gone_on_with(self):
        source = self.plain("big.jsonl.gz")
        self.stop_at(source, 1_500_000, 1_000_000)
        for faults in ([{"do": "none"}], [{"do": "none"}] * 2):
            self.hub.reset(*faults, {"do": "none", "etag": '"new"'})
            self.refuses(source, 5, "/plain/big.jsonl.gz: changed on the server")
        self.hub.reset()
        self.go_on(source)

    def fail_in_the_middle(self, *before):
        self.hub.reset(*before, {"path": "big", "do": "drop", "byte": 3_000_000}, {"path": "big", "do": "none", "etag": '"new"'})

    def test_a_file_that_fails_is_not_done_with(self):
        """A state said that the file which broke off had been read to its end: its rest was lost without a word."""
        sources = [self.plain("big.jsonl.gz"), self.plain("plain.jsonl")]
        for more in ([], ["--take", "7000"], ["--shuffle-buffer", "50"], ["--order", "hf5", "--shuffle-buffer", "50"]):
            want = self.dir + "/want.jsonl"
            self.assertEqual(self.run_([CORPUS, "cat", *sources, *more, "-o", want]).returncode, 0)
            self.fail_in_the_middle(*[{"do": "none"}] * 2)
            self.fails(self.run_(self.command(*sources, *more)), 5, "/plain/big.jsonl.gz: changed on the server")
            self.assertTrue(os.path.exists(self.state), more)
            self.hub.reset()
            r = self.run_(self.command(*sources, *more))
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertEqual(hashlib.sha256(self.read(self.out)).digest(), hashlib.sha256(self.read(want)).digest(), more)

    def test_shards_of_a_file_that_fails(self):
        """The same, where shard notes which files it has done."""
        tok = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/tok-hf")
        shard = [os.path.join(os.path.dirname(LMHUB), "shard"), self.plain("two.jsonl.gz"), self.plain("big.jsonl.gz"),
                 self.plain("plain.jsonl"), "-t", tok, "--seq-len", "64", "--threads", "1", "-o"]
        self.assertEqual(self.run_([*shard, self.dir + "/want"]).returncode, 0)
        self.fail_in_the_middle()
        self.fails(self.run_([*shard, self.dir + "/shards"]), 5, "/plain/big.jsonl.gz: changed on the server")
        self.hub.reset()
        r = self.run_([*shard, self.dir + "/shards"])
        self.assertEqual(r.returncode, 0, r.stderr)
        got, want = read_folder(self.dir + "/shards"), read_folder(self.dir + "/want")
        self.assertEqual({n: hashlib.sha256(b).digest() for n, b in got.items() if n.endswith((".bin", ".idx"))},
                         {n: hashlib.sha256(b).digest() for n, b in want.items() if n.endswith((".bin", ".idx"))})

    def test_a_dataset_that_changed(self):
        """Another commit is no other corpus, unless the file is another."""
        source, repo = "hf://datasets/me/set/data/big.jsonl.gz", self.hub.repos[("dataset", "me/set")]
        self.stop_at(source, 1_500_000, 1_000_000, "/blob/")
        files = repo.commits[repo.refs["main"]]["files"]
        other = bytearray(DATA["big.jsonl.gz"])
        other[-30] ^= 1
        repo.commit("main", files | {"data/big.jsonl.gz": (bytes(other), True)}, "another")
        self.refuses(source, 5, "data/big.jsonl.gz: has changed since the state was saved")
        repo.commit("main", files | {"README.md": (b"# new\n", False)}, "words")
        self.go_on(source)

    def test_an_address_signed_anew(self):
        self.stop_at(self.plain("big.jsonl.gz?signature=old"), 1_500_000, 1_000_000)
        self.go_on(self.plain("big.jsonl.gz?signature=new"))
        self.assertGreater(int(self.ranges()[-1][6:-1]), 100_000)

    def test_signed_addresses_that_run_out_in_the_middle(self):
        """Of the Hub's CDN: 403 for the rest of the file until it is resolved anew; in a read and in one that is gone on with."""
        source = "hf://datasets/me/set/data/big.jsonl.gz"
        gone = [{"at": "cdn", "path": "/blob/", "do": "drop", "byte": 900_000}, {"at": "cdn", "path": "/blob/", "do": "status", "code": 403}]
        self.hub.reset(*gone)
        r = self.run_([CORPUS, "cat", "-q", source])
        self.ok(r, BODY)
        self.assertEqual([x[3] for x in self.hub.log if x[0] == "cdn"], [None] + ["bytes=900000-"] * 2)
        self.stop_at(source, 1_500_000, 1_000_000, "/blob/")
        self.hub.reset({"at": "cdn", "path": "/blob/", "do": "none"}, *gone)
        self.go_on(source)

    def test_marks_that_are_no_etag(self):
        source = self.plain("big.jsonl.gz")
        marks = [lambda data: {"Last-Modified": "Wed, 01 Jan 2025 00:00:%02d GMT" % (data[-1] % 60)},
                 lambda data: {"ETag": 'W/"%d"' % data[-1]}]
        for mark in marks:
            self.hub.reset()
            self.hub.mark = mark
            self.stopped_with(mark, source)
            self.hub.files["big.jsonl.gz"] = DATA["big.jsonl.gz"][:-1] + b"\x55"
            self.refuses(source, 5, "/plain/big.jsonl.gz: has changed")
            self.hub.files["big.jsonl.gz"] = DATA["big.jsonl.gz"]
            self.go_on(source)

    def stopped_with(self, mark, source):
        reset = self.hub.reset
        def keep(*faults):
            reset(*faults)
            self.hub.mark = mark
        self.hub.reset = keep
        self.addCleanup(lambda: setattr(self.hub, "reset", reset))
        self.stop_at(source, 1_500_000, 1_000_000)

    def test_a_server_without_ranges(self):
        """It sends everything once more, and the output is the same."""
        source = self.plain("big.jsonl.gz")
        self.stop_at(source, 1_500_000, 1_000_000)
        self.hub.reset(*[{"do": "norange"}] * 3)
        self.go_on(source)

    def test_a_line_that_breaks_where_it_goes_on(self):
        source = self.plain("big.jsonl.gz")
        self.stop_at(source, 1_500_000, 1_000_000)
        self.hub.reset({"do": "none"}, {"do": "drop", "byte": 1000}, {"do": "none"}, {"do": "drop", "byte": 300_000})
        self.go_on(source)


if __name__ == "__main__":
    unittest.main()
