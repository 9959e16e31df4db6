"""shard and a power cut. The calls of a run are recorded with their bytes; then the disk is played forward to some
call as a disk may look after the cut: what was synced is there, of what was not each write is there, missing, or
torn at a sector, and renames that no sync of the folder followed may be undone. From every such disk the next run
makes the same bytes, and a folder that verifies is the whole one. The order of syncs is checked as well: a file is
synced before it gets its name, and index.json is last. Usage: power_shard.py SHARD TOK SHIM [STRIDE]"""
import os, random, shutil, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shard_world import World, check


def read_log(path):
    with open(path, "rb") as f:
        while line := f.readline():
            call, a, b, at, n = line.decode().rstrip("\n").split("\t")
            yield call, a, b, int(at), f.read(int(n))


class Disk:
    """Contents as the programs see them, and what would survive."""

    def __init__(self):
        self.files, self.durable, self.names = {}, {}, {}
        self.writes = {}   # id -> unsynced [(at, bytes)]
        self.serial = 0
        self.synced = {}   # id -> bytes that are safe
        self.seen = {}     # id -> bytes as seen
        self.safe_names = {}

    def node(self, name):
        if name not in self.names:
            self.serial += 1
            self.names[name] = self.serial
            self.seen[self.serial], self.synced[self.serial], self.writes[self.serial] = b"", b"", []
        return self.names[name]

    def apply(self, call, a, b, at, data):
        if call == "write":
            i = self.node(a)
            self.seen[i] = put(self.seen[i], at, data)
            self.writes[i].append((at, data))
        elif call == "ftruncate":
            i = self.node(a)
            self.seen[i] = self.seen[i][:at]
            self.writes[i].append((at, None))
        elif call == "fsync":
            if a in self.names:
                i = self.names[a]
                self.synced[i], self.writes[i] = self.seen[i], []
                self.safe_names.setdefault(a, i)
            else:  # a folder
                self.safe_names = dict(self.names)
        elif call == "rename":
            self.names[b] = self.names.pop(a, None) or self.node(b)
        elif call in ("unlink", "rmdir"):
            self.names.pop(a, None)

    def after_cut(self, rng):
        """{name: bytes} of one disk that may be found."""
        names = dict(self.names) if rng.random() < 0.5 else dict(self.safe_names)
        out = {}
        for name, i in names.items():
            data = self.synced[i]
            for at, piece in self.writes[i]:
                fate = rng.randrange(3)
                if fate == 0:
                    continue
                if piece is None:
                    data = data[:at]
                    continue
                sector = rng.choice((512, 4096))
                keep = piece if fate == 1 else piece[:rng.randrange(len(piece) + 1) // sector * sector]
                data = put(data, at, keep)
            out[name] = data
        return out


def put(old, at, piece):
    if not piece:
        return old
    return old[:at].ljust(at, b"\0") + piece + old[at + len(piece):]


def check_order(log, folder):
    """A4: synced before renamed; the folder synced after; index.json after everything else."""
    dirty, last = set(), None
    for call, a, b, _, _ in log:
        if call in ("write", "ftruncate"):
            dirty.add(a)
        elif call == "fsync":
            dirty.discard(a)
            if a == folder:
                last = None
        elif call == "rename":
            check(a not in dirty, f"{a} got its name before it was synced")
            if b.endswith("index.json"):
                check(not [d for d in dirty if d.endswith((".partial", ".bin", ".idx"))], f"unsynced at the end: {dirty}")
                check(last is None or "progress" in last, f"{last} was not made durable before index.json")
            last = b


def main(shard, tok, shim, stride=1):
    w = World(shard, tok, files=4, documents=25)
    rng = random.Random(11)
    try:
        check(w.run("ref").returncode == 0, "the undisturbed run")
        want = w.contents("ref")
        env = {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": w.path("k"), "LORY_RECORD": w.path("log")}
        check(w.run("k", env).returncode == 0, "the recorded run")
        log = list(read_log(w.path("log")))
        check_order(log, w.path("k"))
        disks = whole = 0
        disk, seen = Disk(), 0
        for n, op in enumerate(log):
            disk.apply(*op)
            if n % stride:
                continue
            for _ in range(10 if stride < 10 else 2):
                w.remove("k")
                for name, data in disk.after_cut(rng).items():
                    os.makedirs(os.path.dirname(name), exist_ok=True)
                    with open(name, "wb") as f:
                        f.write(data)
                disks += 1
                if os.path.isdir(w.path("k")) and w.verify("k") == 0:
                    whole += 1
                    got = {k: v for k, v in w.contents("k").items() if not k.startswith((".", "tokenizer"))}
                    check(got == {k: v for k, v in want.items() if not k.startswith("tokenizer")},
                          f"after call {n}: verifies, but is not whole")
                p = w.run("k")
                check(p.returncode == 0, f"after call {n}: {p.stderr.decode(errors='replace')}")
                seen += b"going on" in p.stderr
                got = w.contents("k")
                check(got == want, f"after call {n}: other bytes in "
                      f"{[k for k in got.keys() | want.keys() if got.get(k) != want.get(k)]} {p.stderr.decode(errors='replace')}")
        check(seen > 0, "no run was taken up")
        print(f"{disks} disks after {len(log)} calls, {seen} taken up, {whole} whole")
    finally:
        w.close()


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
