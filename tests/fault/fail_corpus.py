"""Every command of corpus while the disk fails: each call that changes it fails once and from then on, with EIO,
ENOSPC, EDQUOT; a limit on the size of files; /dev/full. Exit 4 with the name of what could not be written, or success;
under the final names nothing, or the bytes of an undisturbed run; the next run makes them.
Usage: fail_corpus.py CORPUS TOK SHIM [STRIDE]"""
import errno, gzip, hashlib, json, os, random, resource, shutil, signal, subprocess, sys, tempfile

CORPUS, TOK, SHIM = map(os.path.abspath, sys.argv[1:4])
STRIDE = int(sys.argv[4]) if len(sys.argv) > 4 else 1
KINDS = [errno.EIO, errno.ENOSPC, errno.EDQUOT]
COMMANDS = {
    "cat": ["cat", "corpus", "-o", "k/out.jsonl"],
    "cat-shuffled": ["cat", "corpus", "--perfect", "--spill", "k", "-o", "k/out.jsonl.gz"],
    "cat-state": ["cat", "corpus", "-o", "k/out.jsonl.zst", "--state", "k/state", "--state-every", "20000"],
    "clean": ["clean", "corpus", "-o", "k/out/", "--per-file", "100"],
    "dedup": ["dedup", "corpus", "-o", "k/out.jsonl", "--memory", "64Ki", "--tmp", "k", "--clusters", "k/clusters.json"],
    "split": ["split", "corpus", "-o", "k/out", "--per-file", "150"],
    "tokenize": ["tokenize", "corpus", "-t", TOK, "-o", "k/out/"],
    "pack": ["pack", "tree", "-o", "k/out", "--files", "2", "--ext", ".py"],
}


def check(ok, what):
    if not ok:
        raise SystemExit(what)


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="lory-fail-")
        r = random.Random(1)
        for folder in ("corpus", "tree", "k"):
            os.mkdir(self.path(folder))
        for f in range(3):
            with gzip.open(self.path(f"corpus/{f}.jsonl.gz"), "wt") as out:
                for i in range(150):
                    text = "".join(r.choice(["def f(x):\n", "    return x\n", "y = 1\n", "for i in x:\n", "é\n"]) for _ in range(r.randrange(5, 40)))
                    out.write(json.dumps({"id": f"{f}:{i}", "content": text + f"z{i % 100} = {i % 100}\n"}) + "\n")
                    with open(self.path(f"tree/{f}_{i}.py"), "w") as source:
                        source.write(text)

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, name, env={}, clear=True, **how):
        if clear:
            shutil.rmtree(self.path("k"))
            os.mkdir(self.path("k"))
        command = [CORPUS, *COMMANDS[name], "-q", "--threads", "1"]
        return subprocess.run(command, cwd=self.dir, env={**os.environ, **env}, capture_output=True, timeout=120, **how)

    def contents(self):
        """What there is under final names."""
        found = {}
        for d, folders, names in os.walk(self.path("k")):
            for n in names:
                path = os.path.join(d, n)
                if not n.startswith(".") and n != "state" and ".tmp-" not in path:
                    with open(path, "rb") as f:
                        found[os.path.relpath(path, self.path("k"))] = hashlib.sha256(f.read()).hexdigest()
        return found


def judge(w, name, p, want, what):
    said = p.stderr.decode(errors="replace")
    check(p.returncode in (0, 4), f"{name}, {what}: exit {p.returncode} {said}")
    got = w.contents()
    if p.returncode == 0:
        check(got == want, f"{name}, {what}: exit 0 and other bytes")
    else:
        check("k" in said, f"{name}, {what}: says not what: {said}")
        partly = {n: h for n, h in got.items() if want.get(n) != h}
        check(not partly, f"{name}, {what}: half there: {sorted(partly)}")
    q = w.run(name, clear=False)
    check(q.returncode == 0 and w.contents() == want, f"{name}, {what}: not the same afterwards: {q.stderr.decode(errors='replace')}")
    return p.returncode == 4


def at_calls(w, name, want):
    trace = w.path("trace")
    env = {"LD_PRELOAD": SHIM, "LORY_UNDER": w.path("k")}
    check(w.run(name, {**env, "LORY_TRACE": trace}).returncode == 0, "the traced run")
    with open(trace) as f:
        calls = sum(1 for _ in f)
    os.remove(trace)
    failed = 0
    for i, n in enumerate(range(1, calls + 1, STRIDE)):
        for sticky in ({}, {"LORY_STICKY": "1"}):
            p = w.run(name, {**env, **sticky, "LORY_FAIL_AT": str(n), "LORY_ERRNO": str(KINDS[i % 3])})
            failed += judge(w, name, p, want, f"call {n} of {calls} {'sticky' if sticky else 'once'}")
    return failed


def at_limits(w, name, want):
    for limit in (0, 500, 3000):
        p = w.run(name, preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
        check(p.returncode == 4 or limit, f"{name}: files of {limit} bytes: exit {p.returncode}")
        judge(w, name, p, want, f"files of {limit} bytes")


def to_full(w):
    """What goes to a device, and what is printed."""
    for command in (["cat", "corpus", "-o"], ["clean", "corpus", "-o"], ["dedup", "corpus", "-o"], ["tokenize", "corpus", "-t", TOK, "-o"]):
        p = subprocess.run([CORPUS, *command, "/dev/full", "-q"], cwd=w.dir, capture_output=True)
        check(p.returncode == 4 and b"/dev/full: No space left" in p.stderr, f"{command}: {p.returncode} {p.stderr}")
    for command in (["cat", "corpus"], ["stats", "corpus"], ["stats", "corpus", "--json"], ["info", "corpus"], ["info", "corpus", "--json"],
                    ["clean", "corpus"], ["dedup", "corpus"], ["tokenize", "corpus", "-t", TOK], ["clean", "corpus", "-o", "k/x.jsonl", "--json"],
                    ["split", "corpus", "-o", "k/x", "--json"], ["pack", "tree", "-o", "k/y", "--ext", ".py", "--json"]):
        with open("/dev/full", "w") as full:
            p = subprocess.run([CORPUS, *command, "-q"], cwd=w.dir, stdout=full, stderr=subprocess.PIPE)
        check(p.returncode == 4 and b"No space left" in p.stderr, f"{command} > /dev/full: {p.returncode} {p.stderr}")


def main():
    w, failed = World(), 0
    try:
        to_full(w)
        for name in COMMANDS:
            p = w.run(name)
            check(p.returncode == 0, f"{name}: {p.stderr.decode(errors='replace')}")
            want = w.contents()
            check(want, f"{name}: wrote nothing")
            failed += at_calls(w, name, want)
            at_limits(w, name, want)
        print(f"{failed} failures")
        check(failed > 10, "hardly anything failed")
    finally:
        shutil.rmtree(w.dir)


main()
