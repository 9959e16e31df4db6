"""shard while the system lets it down: no memory, odd surroundings; and what it does to the disk, in which order.
Usage: shard_faults.py SHARD TOK DISK_SHIM ALLOC_SHIM [CASE…]"""
import json, os, random, re, resource, subprocess, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shard_world import World, check

SHARD, TOK, DISK, ALLOC = map(os.path.abspath, sys.argv[1:5])
w = World(SHARD, TOK, files=4, documents=25)
WANT = None


def no_memory():
    """Allocations that fail, once or from then on: exit 7 with a word about it, or all went well without. Never a
    wait for a file that there was no memory to open."""
    count, saw = w.path("count"), set()
    check(w.run("m", {"LD_PRELOAD": ALLOC, "LORY_ALLOC_COUNT": count}).returncode == 0, "counting")
    n = int(open(count).read())
    for at in [*range(1, 40, 4), *range(40, n + 1, max(1, n // 60))]:
        for sticky in (False, True):
            w.remove("m")
            p = w.run("m", {"LD_PRELOAD": ALLOC, "LORY_ALLOC_AT": str(at), **({"LORY_ALLOC_ON": "1"} if sticky else {})})
            text = p.stderr.decode(errors="replace")
            check(p.returncode in (0, 7), f"allocation {at} of {n}: exit {p.returncode} {text}")
            check(p.returncode == 0 or "memory" in text, f"allocation {at}: {text}")
            saw.add(p.returncode)
            if p.returncode == 0:
                check(w.contents("m") == WANT, f"allocation {at}: exit 0 and other bytes")
            elif w.verify("m") == 0:
                got = {k: v for k, v in w.contents("m").items() if not k.startswith(".")}
                check(got == WANT, f"allocation {at}: verifies, but is not whole")
            if at % 3 == 0:
                check(w.run("m").returncode == 0 and w.contents("m") == WANT, f"after allocation {at}: other bytes")
    check(7 in saw, "no allocation mattered")


def odd_surroundings():
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    command = lambda name: [SHARD, *w.args, *w.text, "-o", w.path(name)]
    for name, change in (("home", {}), ("turkish", {"LC_ALL": "tr_TR.UTF-8"}), ("german", {"LC_ALL": "de_DE.UTF-8"})):
        p = subprocess.run(command(name), cwd=w.dir, env={**env, **change}, capture_output=True)
        check(p.returncode == 0 and w.contents(name) == WANT, f"{name}: {p.stderr.decode()}")

    def lower():
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 4 << 20))
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    p = subprocess.run(command("limits"), cwd=w.dir, capture_output=True, preexec_fn=lower)
    check(p.returncode == 0 and w.contents("limits") == WANT, f"24 files, 4 MiB stack: {p.stderr.decode()}")
    for name, to in (("closed", ">&-"), ("full", ">/dev/full")):  # the shards are whole, their counts were not told
        p = subprocess.run(["sh", "-c", f'"$@" {to}', "sh", *command(name)], cwd=w.dir, stderr=subprocess.PIPE)
        check(p.returncode == 4 and w.contents(name) == WANT, f"stdout {name}: {p.returncode} {p.stderr.decode()}")
    if os.geteuid() != 0:
        os.mkdir(w.path("ro"), 0o555)
        p = w.run("ro/out")
        check(p.returncode == 4 and b"ro/out" in p.stderr, f"read-only: {p.returncode} {p.stderr.decode()}")


def sync_order():
    """Nothing gets its final name before it is synced; index.json comes when every shard has its own, and is durable
    before the notes of progress go."""
    trace, out = w.path("trace"), w.path("s")
    check(w.run("s", {"LD_PRELOAD": DISK, "LORY_UNDER": out, "LORY_TRACE": trace}).returncode == 0, "the traced run")
    dirty, final, named = {}, set(), True
    for line in open(trace):
        n, call, a, b = line.rstrip("\n").split("\t")
        if call == "write":
            dirty[a] = n
        elif call == "fsync":
            dirty.pop(a, None)
            named = named or a.rstrip("/") == out
        elif call in ("rename", "renameat2"):
            check(a not in dirty, f"call {n}: {a} renamed with unsynced bytes")
            if b.endswith("/index.json"):
                check(sum(x.endswith(".bin") for x in final) >= 4, f"call {n}: index.json after {final}")
            else:
                check(f"{out}/index.json" not in final, f"call {n}: {b} after index.json")
            final.add(b)
            named = False
        elif call == "unlink" and a.endswith(".progress.json"):
            check(f"{out}/index.json" not in final or named, f"call {n}: {a} removed before index.json was durable")
        if call in ("rename", "renameat2") and re.search(r"\.(bin|mask)$", b):
            stem = b.rsplit(".", 1)[0]
            check(f"{stem}.idx" in final, f"call {n}: {b} before its .idx")
            check(not b.endswith(".bin") or f"{stem}.mask" in final, f"call {n}: {b} before its .mask")
    check(f"{out}/index.json" in final, f"renamed: {final}")


def real_full_disk():
    """A file system that is too small: told from what the sources have made so far, before it is full. With more room the
    same command goes on, to the bytes of an undisturbed run. Standard input is of any length: written until the end."""
    if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode:
        print("no file systems of one's own here: skipped")
        return
    r = random.Random(5)
    words = [f"w{r.randrange(9000)}" for _ in range(2000)]
    for name in ("small", "long"):
        os.makedirs(w.path(name))
    for i in range(40):  # half of them with little text
        with open(w.path(f"long/{i:02d}.jsonl"), "w") as f:
            for _ in range(50):
                text = " ".join(r.choices(words, k=2000))
                f.write(json.dumps({"pad": text, "text": text[:800]} if i < 20 else {"text": text}) + "\n")
    shard = f"{SHARD} long -t {TOK} --valid long/39.jsonl --threads 1 -o"
    lines = f"""mount -t tmpfs -o size=8m none small
        {shard} small/out > said; echo $? `du -m small | tail -1`
        mount -o remount,size=64m small
        {shard} small/out > said; echo $?
        {shard} out > said; cat out/*.bin out/*.idx | sha256sum; cat small/out/*.bin small/out/*.idx | sha256sum
        rm -r small/out; mount -o remount,size=8m small
        {shard} small/out --force > said; echo $?; rm -r small/out
        cat long/* | {SHARD} - -t {TOK} -q -o small/out; echo $?"""
    p = subprocess.run(["unshare", "-rm", "sh", "-c", lines], cwd=w.dir, capture_output=True, text=True)
    said, got = p.stderr, p.stdout.split("\n")
    code, held = map(int, got[0].split()[:2])
    check(code == 4 and 0 < held < 7 and "shards needs about" in said and "--force" in said, f"{got} {said}")
    check(got[1] == "0" and "going on" in said and got[2] == got[3], f"not gone on: {got} {said}")
    check(got[4:6] == ["4", "4"], f"forced, from a pipe: {got} {said}")
    check(said.count("needs about") == 1 and said.count("No space left") == 2, said)


CASES = [no_memory, odd_surroundings, sync_order, real_full_disk]
try:
    check(w.run("ref").returncode == 0, "the undisturbed run")
    WANT = w.contents("ref")
    for case in CASES:
        if len(sys.argv) < 6 or case.__name__ in sys.argv[5:]:
            case()
            print(case.__name__)
finally:
    w.close()
