"""CSV, TSV, Parquet and ZIP over HTTP and from the Hub: the rows are those of the local file, through broken
connections as well, and of an archive only what is read is fetched.

usage: test_formats.py HTTP_PROBE LMHUB [LMTRAIN]
"""
import gzip
import io
import unittest
import zipfile

from case import *

CORPUS = os.path.join(os.path.dirname(LMHUB), "corpus")
TABLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden/tables")


def csv(sep, n=3000):
    rng = random.Random(5)
    cell = lambda: rng.choice(["plain", '"a ""q"""', '"two\r\nlines"', f'"{sep}"', "é京", ""]) * rng.randrange(1, 4)
    rows = [sep.join([str(i), '"' + cell().replace('"', "") + '"', "x" * rng.randrange(90)]) for i in range(n)]
    return ("id%stext%smore\r\n" % (sep, sep) + "\r\n".join(rows) + "\r\n").encode()


def jsonl(name, n):
    rng = random.Random(name)
    return b"".join(b'{"text": "%s %d %s"}\n' % (name.encode(), i, rng.randbytes(200).hex().encode()) for i in range(n))


def archive(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return out.getvalue()


def golden(name):
    with open(os.path.join(TABLES, name), "rb") as f:
        return f.read()


MEMBERS = {f"part-{i}.jsonl": jsonl(f"part-{i}", 3000) for i in range(9)} | {"sub/rows.csv": csv(",", 300), ".hidden": b"{}", "sub/": b""}
DATA = {"a.csv": csv(","), "b.tsv": csv("\t"), "c.csv.gz": gzip.compress(csv(",")), "d.parquet": golden("delta-zstd-v2.parquet"),
        "e.parquet": golden("dictionary-snappy-v1.parquet"), "f.zip": archive(MEMBERS), "g.zip": archive(MEMBERS, zipfile.ZIP_STORED)}


class Formats(Case):
    @classmethod
    def setUpClass(cls):
        cls.hub = server.Hub(dict(DATA))
        cls.hub.add("dataset", "me/set", {"data/" + n: b for n, b in DATA.items()})
        for n in ("f.zip", "g.zip"):  # a large file, as the Hub keeps it
            commit = cls.hub.repos[("dataset", "me/set")]
            files = commit.commits[commit.refs["main"]]["files"]
            files["data/" + n] = (DATA[n], True)

    def setUp(self):
        super().setUp()
        self.hub.files.clear()
        self.hub.files.update(DATA)

    def cat(self, source, *more):
        return self.run_([CORPUS, "cat", "-q", "--field", "licence" if "parquet" in source else "text", source, *more])

    def local(self, name):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(DATA[name])
        r = self.cat(path)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertGreater(len(r.stdout), 1000)
        return r.stdout

    def plain(self, name):
        return f'{self.hub.url("hub")}/plain/{name}'

    def test_as_from_the_disk(self):
        for name in DATA:
            want = self.local(name)
            for source in (self.plain(name), self.plain(name) + "?signature=1", "hf://datasets/me/set/data/" + name):
                self.hub.reset()
                self.ok(self.cat(source), want)

    def test_through_broken_connections(self):
        for name in DATA:
            want = self.local(name)
            self.hub.reset(*[{"do": "drop", "byte": byte} for byte in (70_000, 1500)])
            self.ok(self.cat(self.plain(name)), want)

    def test_members_that_are_not_read_are_not_fetched(self):
        for name in ("f.zip", "g.zip"):
            size = len(DATA[name])
            for source in (self.plain(name), "hf://datasets/me/set/data/" + name):
                self.hub.reset()
                self.hub.pace = 0.01  # what is sent before we hang up stays little
                self.ok(self.cat(source, "--take", "1"), self.local(name).splitlines(True)[0])
                self.assertLess(self.hub.sent, size)

    def test_damage_has_a_name(self):
        bad = bytearray(DATA["g.zip"])
        at = bad.index(b"part-1 7 ")
        bad[at] ^= 1
        self.hub.files["g.zip"] = bytes(bad)
        self.fails(self.cat(self.plain("g.zip")), 3, "/plain/g.zip/part-1.jsonl: CRC error")
        self.hub.files["g.zip"] = b"no archive" * 1000
        self.fails(self.cat(self.plain("g.zip")), 3, "/plain/g.zip: Not a zip archive")
        self.hub.files["g.zip"] = DATA["g.zip"][:-9]
        self.fails(self.cat(self.plain("g.zip")), 3, "/plain/g.zip: ")

    def test_what_the_network_says_is_said(self):
        self.hub.reset({"do": "status", "code": 404})
        self.fails(self.cat(self.plain("f.zip")), 5, "/plain/f.zip: 404 Not Found")
        self.hub.reset({"do": "none"}, {"do": "status", "code": 403})
        self.fails(self.cat(self.plain("f.zip")), 5, "/plain/f.zip: 403 Forbidden")
        self.hub.reset({"do": "none"}, *[{"do": "norange"}] * 3)
        self.fails(self.cat(self.plain("f.zip")), 5, "/plain/f.zip: the server sends no ranges; fetch the file first")

    def test_changes_between_two_ranges(self):
        """As long as before: the length says nothing."""
        for name in ("d.parquet", "f.zip"):
            self.hub.reset({"do": "none"}, {"do": "none"}, {"do": "none", "etag": '"new"'}, {"do": "none", "etag": '"new"'})
            self.fails(self.cat(self.plain(name)), 5, f"/plain/{name}: changed on the server while it was read")

    def test_an_archive_that_changed(self):
        out, state = self.dir + "/out.jsonl", self.dir + "/state"
        command = [CORPUS, "cat", "-q", "--field", "text", self.plain("g.zip"), "-o", out, "--state", state, "--state-every", "100000"]
        self.hub.pace = 0.02
        p = subprocess.Popen(command, env=self.environment())
        while not os.path.exists(state):
            self.assertIsNone(p.poll(), "it ended by itself")
            time.sleep(0.01)
        p.kill()
        p.communicate()
        self.hub.reset()
        self.hub.files["g.zip"] = archive(MEMBERS | {"part-0.jsonl": jsonl("part-9", 3000)}, zipfile.ZIP_STORED)
        self.fails(self.run_(command), 5, "/plain/g.zip/part-0.jsonl: has changed since the state was saved")
        self.hub.files["g.zip"] = DATA["g.zip"]
        r = self.run_(command)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(out, "rb") as f:
            self.assertEqual(f.read(), self.local("g.zip"))


if __name__ == "__main__":
    unittest.main()
