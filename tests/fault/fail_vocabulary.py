"""bpe-train and tokenize convert, killed before and failing at each call that changes the disk, short of memory, and on
a disk that is full: exit 4 or 7 with the name of what could not be had, or success. Each file is whole, and of this run
or of the one before; tokenizer.json, which comes last, is the old tokenizer's or the new one's, or for a moment not there. The next run
makes the bytes of an undisturbed one, and nothing of a killed one is left, nor of the chat templates of the one before.
Usage: fail_vocabulary.py BPE_TRAIN TOKENIZE TOK SHIM ALLOC_SHIM [STRIDE]"""
import errno, gzip, hashlib, json, os, random, re, resource, shutil, signal, subprocess, sys, tempfile

TRAIN, TOKENIZE, TOK, SHIM, ALLOC = map(os.path.abspath, sys.argv[1:6])
STRIDE = int(sys.argv[6]) if len(sys.argv) > 6 else 1
KINDS = [errno.EIO, errno.ENOSPC, errno.EDQUOT]
STALE = ["chat_template.jinja", "additional_chat_templates/tool_use.jinja"]  # of the one before; these go
COMMANDS = {
    "train": [TRAIN, "corpus", "--vocab", "400", "-o", "k/tok", "--counts-out", "k/counts", "--memory", "1Mi", "--spill", "k"],
    "convert": [TOKENIZE, "convert", "-t", "chatty", "-o", "k/tok"],
}


def check(ok, what):
    if not ok:
        raise SystemExit(what)


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="lory-vocabulary-")
        r = random.Random(1)
        os.mkdir(self.path("corpus"))
        with gzip.open(self.path("corpus/a.jsonl.gz"), "wt") as out:
            for _ in range(200):
                out.write(json.dumps({"content": " ".join(f"w{r.randrange(900)}" for _ in range(40))}) + "\n")
        shutil.copytree(TOK, self.path("chatty"))
        os.mkdir(self.path("chatty/additional_chat_templates"))
        for name in ("chat_template.jinja", "additional_chat_templates/rag.jinja"):
            with open(self.path("chatty/" + name), "w") as f:
                f.write("{{ %s }}" % name)
        self.begin(False)
        p = subprocess.run([TRAIN, "corpus", "--vocab", "270", "-o", "old", "-q"], cwd=self.dir, capture_output=True)
        check(p.returncode == 0, p.stderr)
        os.mkdir(self.path("old/additional_chat_templates"))
        for name in STALE:
            with open(self.path("old/" + name), "w") as f:
                f.write("{}")

    def path(self, name):
        return os.path.join(self.dir, name)

    def begin(self, over):
        """An empty place, or one where another vocabulary lies."""
        shutil.rmtree(self.path("k"), True)
        os.mkdir(self.path("k"))
        if over:
            shutil.copytree(self.path("old"), self.path("k/tok"))

    def run(self, name, env={}, **how):
        return subprocess.run([*COMMANDS[name], "-q", "--threads", "1"], cwd=self.dir, env={**os.environ, **env},
                              capture_output=True, timeout=120, **how)

    def contents(self, hidden=False):
        """Files under final names; `hidden`: also what a killed run leaves."""
        found = {}
        for d, _, names in os.walk(self.path("k")):
            for n in names:
                if hidden or not n.startswith("."):
                    with open(os.path.join(d, n), "rb") as f:
                        data = f.read()
                    if n == "training.json":
                        data = json.dumps({k: v for k, v in json.loads(data).items() if k not in ("seconds", "time")}).encode()
                    found[os.path.relpath(os.path.join(d, n), self.path("k"))] = hashlib.sha256(data).hexdigest()
        return found

    def digest(self):
        p = subprocess.run([TOKENIZE, "info", "-t", "k/tok/tokenizer.json", "--json", "-n", "0"], cwd=self.dir, capture_output=True)
        return json.loads(p.stdout)["digest"] if p.returncode == 0 else None


def judge(w, name, over, p, codes, said, what):
    """`over`: what lay there before."""
    want, new, before, old = w.want[name], w.new[name], w.before if over else {}, w.old if over else None
    after = {n: h for n, h in before.items() if n[4:] not in STALE} | want
    check(p.returncode in codes, f"{what}: exit {p.returncode} {p.stderr}")
    if p.returncode == 0:
        check(w.contents() == after, f"{what}: exit 0 and other bytes")
    elif p.returncode > 0:
        check(re.search(said, p.stderr), f"{what}: does not say {said}: {p.stderr}")
    got = w.contents()
    half = [n for n, h in got.items() if h not in (want.get(n), before.get(n))]
    check(not half, f"{what}: half there: {half}")
    check(w.digest() in ((old, new) if "tok/tokenizer.json" in got else (None,)), f"{what}: another tokenizer")
    q = w.run(name)
    check(q.returncode == 0, f"{what}: not again: {q.stderr}")
    check(w.contents(True) == after, f"{what}: afterwards {set(w.contents(True)) ^ set(after)}")
    return p.returncode != 0


def at_calls(w, name, over):
    env, trace = {"LD_PRELOAD": SHIM, "LORY_UNDER": w.path("k")}, w.path("trace")
    w.begin(over)
    check(w.run(name, {**env, "LORY_TRACE": trace}).returncode == 0, "the traced run")
    with open(trace) as f:
        calls = sum(1 for _ in f)
    os.remove(trace)
    for i, n in enumerate(range(1, calls + 1, STRIDE)):
        what = f"{name}{' over another' if over else ''}, call {n} of {calls}"
        w.begin(over)
        p = w.run(name, {**env, "LORY_KILL_AT": str(n)})
        w.bad += judge(w, name, over, p, (-signal.SIGKILL,), b"", what + " killed")
        for sticky in ({}, {"LORY_STICKY": "1"}):
            w.begin(over)
            p = w.run(name, {**env, **sticky, "LORY_FAIL_AT": str(n), "LORY_ERRNO": str(KINDS[i % 3])})
            w.bad += judge(w, name, over, p, (0, 4), rb"[ /]k[/:]", f"{what} failing {sticky}")


def at_limits(w, name):
    for limit in (0, 500, 3000):
        w.begin(True)
        p = w.run(name, preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
        w.bad += judge(w, name, True, p, (4,), rb"[ /]k[/:]", f"{name}: files of {limit} bytes")


def without_memory(w, name):
    count, env = w.path("count"), {"LD_PRELOAD": ALLOC}
    w.begin(False)
    check(w.run(name, {**env, "LORY_ALLOC_COUNT": count}).returncode == 0, "the counted run")
    with open(count) as f:
        n = int(f.read())
    os.remove(count)
    for at in range(1, n + 1, max(1, n * STRIDE // 300)):
        for on in ({}, {"LORY_ALLOC_ON": "1"}):
            w.begin(True)
            p = w.run(name, {**env, **on, "LORY_ALLOC_AT": str(at)})
            w.bad += judge(w, name, True, p, (0, 7), b"memory", f"{name}: allocation {at} of {n} {on}")


def main():
    w = World()
    w.bad, w.want, w.new = 0, {}, {}
    try:
        w.begin(True)
        w.before, w.old = w.contents(), w.digest()
        for name in COMMANDS:
            w.begin(False)
            p = w.run(name)
            check(p.returncode == 0, p.stderr)
            w.want[name], w.new[name] = w.contents(True), w.digest()
            check(w.new[name] and w.new[name] != w.old, f"{name}: made no other vocabulary")
        for name in COMMANDS:
            for over in (False, True):
                at_calls(w, name, over)
            at_limits(w, name)
            without_memory(w, name)
        print(f"{w.bad} failures")
        check(w.bad > 20, "hardly anything failed")
    finally:
        shutil.rmtree(w.dir)


main()
