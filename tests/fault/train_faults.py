"""lmtrain while the system lets it down: failing and short writes, full disks, no memory, a kill while it
recovers from a kill, odd surroundings. Usage: train_faults.py LMTRAIN DISK_SHIM ALLOC_SHIM [CASE…]"""
import errno, os, resource, shutil, signal, subprocess, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check

LMTRAIN, DISK, ALLOC = sys.argv[1:4]
w = World(LMTRAIN, steps=6)
WANT = CURVE = None


def shim(run, **more):
    return {"LD_PRELOAD": os.path.abspath(DISK), "LORY_UNDER": w.path(run), **more}


def calls_of(run):
    """The calls of an undisturbed run, as the shim writes them down."""
    trace = w.path("trace")
    w.remove(run)
    check(w.run(w.path(run), shim(run, LORY_TRACE=trace)).returncode == 0, "the traced run")
    with open(trace) as f:
        calls = f.read().splitlines()
    os.remove(trace)
    w.remove(run)
    return calls


def recovers(run, what, more=()):
    p = w.run(run, more=more)
    check(p.returncode == 0, f"{what}: {p.stderr.decode()}")
    check(w.digest(run) == WANT, f"{what}: other weights")
    check(w.curve(run) == CURVE, f"{what}: other curves")
    check(not w.strays(run), f"{what}: left {w.strays(run)}")


def failing_calls():
    """Every so many calls: an error of the disk once, or from then on; what was whole stays whole."""
    calls, saw = calls_of("f"), set()
    log = next(int(x.split("\t")[0]) for x in calls if "\twrite\t" in x and "debug_0.log" in x)  # a run goes on without it
    for at in (*range(1, len(calls) + 1, max(1, len(calls) // 18)), log):
        for code, sticky in ((errno.EIO, "1"), (errno.ENOSPC, ""), (errno.EDQUOT, "1")):
            w.remove("f")
            p = w.run(w.path("f"), shim("f", LORY_FAIL_AT=str(at), LORY_ERRNO=str(code), LORY_STICKY=sticky)
                      if sticky else shim("f", LORY_FAIL_AT=str(at), LORY_ERRNO=str(code)))
            check(p.returncode in (0, 4), f"call {at}, errno {code}: exit {p.returncode} {p.stderr.decode()}")
            check(p.returncode == 0 or p.stderr, f"call {at}: silent")
            saw.add(p.returncode)
            for step in w.listed("f"):
                check(step in w.whole("f"), f"call {at}: half a checkpoint-{step}")
            recovers("f", f"after call {at} failed with {code}")
    check(saw == {0, 4}, f"exits {saw}")


def failed_save_says_needs_and_has():
    """ENOSPC in the middle of a checkpoint (open_lm#154): exit 4, what it needs, what there is, what is whole."""
    trace = w.path("trace")
    w.remove("s")
    w.run(w.path("s"), shim("s", LORY_TRACE=trace))
    at = [line.split("\t")[0] for line in open(trace)
          if "\twrite\t" in line and ".checkpoint-4." in line and "optimizer" in line][0]
    os.remove(trace)
    w.remove("s")
    p = w.run(w.path("s"), shim("s", LORY_FAIL_AT=at, LORY_ERRNO=str(errno.ENOSPC)))
    text = p.stderr.decode()
    check(p.returncode == 4, f"exit {p.returncode}: {text}")
    for part in ("No space left", "needs", "MB free", "checkpoint-3 is whole"):
        check(part in text, f"not said: {part} in {text}")
    check(w.whole("s") == [3], f"whole: {w.whole('s')}")
    recovers("s", "after a full disk")


def short_writes():
    """No write takes more than half of what it is given."""
    w.remove("i")
    p = w.run(w.path("i"), shim("i", LORY_FAIL_AT="1", LORY_ERRNO="0", LORY_STICKY="1"))
    check(p.returncode == 0 and w.digest("i") == WANT and w.curve("i") == CURVE, f"short writes: {p.stderr.decode()}")


def file_size_limit():
    """A checkpoint that may not grow as large as it must."""
    w.remove("l")
    p = subprocess.run(w.command("l"), cwd=w.dir, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)))
    check(p.returncode == 4 and b"File too large" in p.stderr, f"limit: {p.returncode} {p.stderr.decode()}")
    check(w.listed("l") == [], "a checkpoint although none fits")
    recovers("l", "after a file size limit")


def real_full_disk():
    """A file system of 1 MB: refused before the first step, with what would help."""
    if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode:
        print("no file systems of one's own here: skipped")
        return
    os.makedirs(w.path("small"), exist_ok=True)
    p = subprocess.run(["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m none small && exec "$@"', "sh",
                        *w.command("small/run")], cwd=w.dir, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    text = p.stderr.decode()
    check(p.returncode == 4 and "need" in text and "free" in text, f"full disk: {p.returncode} {text}")
    big = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=10m none small && exec "$@"', "sh"]
    for more, want in ((), 4), (("--force",), 0):
        p = subprocess.run(big + w.command("small/run", ("--keep", "3", *more)), cwd=w.dir, stderr=subprocess.PIPE)
        text = p.stderr.decode()
        check(p.returncode == want and (want == 0 or "--force" in text), f"room for one {more}: {p.returncode} {text}")


def no_memory():
    """Allocations that fail, once or from then on: exit 7 with a word about it, or all went well without."""
    count = w.path("count")
    check(w.run("m", {"LD_PRELOAD": os.path.abspath(ALLOC), "LORY_ALLOC_COUNT": count}).returncode == 0, "counting")
    n, saw = int(open(count).read()), set()
    for at in [*range(1, 40, 4), *range(40, n + 1, max(1, n // 60))]:
        for sticky in (False, True):
            w.remove("m")
            env = {"LD_PRELOAD": os.path.abspath(ALLOC), "LORY_ALLOC_AT": str(at)}
            if sticky:
                env["LORY_ALLOC_ON"] = "1"
            p = w.run("m", env)
            check(p.returncode in (0, 7), f"allocation {at} of {n}: exit {p.returncode} {p.stderr.decode()}")
            check(p.returncode == 0 or b"memory" in p.stderr, f"allocation {at}: {p.stderr.decode()}")
            saw.add(p.returncode)
            for step in w.listed("m"):
                check(step in w.whole("m"), f"allocation {at}: half a checkpoint-{step}")
            if at % 3 == 0:
                recovers("m", f"after allocation {at} of {n}")
    check(7 in saw, "no allocation mattered")


def killed_while_recovering():
    """A kill, then a kill or a failing disk while the next start recovers from it."""
    n = len(calls_of("r"))
    for first in range(n // 7, n + 1, max(1, n // 6)):
        for second in (1, 7, 20):
            for how in ({"LORY_KILL_AT": str(second)},
                        {"LORY_FAIL_AT": str(second), "LORY_ERRNO": str(errno.EIO), "LORY_STICKY": "1"}):
                w.remove("r")
                w.run(w.path("r"), shim("r", LORY_KILL_AT=str(first)))
                whole = w.whole("r")
                p = w.run(w.path("r"), shim("r", **how))
                check(p.returncode in (-signal.SIGKILL, 4, 0), f"{first}, {how}: {p.returncode} {p.stderr.decode()}")
                check(not whole or w.whole("r"), f"{first}, {how}: the whole checkpoint {whole} is gone")
                recovers("r", f"killed at {first}, then {how}")


def odd_surroundings():
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for name, change in (("home", {}), ("turkish", {"LC_ALL": "tr_TR.UTF-8"}), ("german", {"LC_ALL": "de_DE.UTF-8"}),
                         ("none", {"LC_ALL": "nowhere"})):
        p = subprocess.run(w.command(name), cwd=w.dir, env={**env, **change}, stderr=subprocess.PIPE)
        check(p.returncode == 0 and w.digest(name) == WANT and w.curve(name) == CURVE, f"{name}: {p.stderr.decode()}")

    def stack():
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 4 << 20))
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    p = subprocess.run(w.command("small-limits"), cwd=w.dir, stderr=subprocess.PIPE, preexec_fn=stack)
    check(p.returncode == 0 and w.digest("small-limits") == WANT, f"16 files, 4 MiB stack: {p.stderr.decode()}")
    p = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *w.command("closed", ("--json",))], cwd=w.dir, stderr=subprocess.PIPE)
    check(p.returncode == 4 and w.digest("closed") == WANT, f"stdout closed: {p.returncode} {p.stderr.decode()}")
    p = subprocess.run(["sh", "-c", '"$@" >/dev/full', "sh", *w.command("full", ("--json",))], cwd=w.dir, stderr=subprocess.PIPE)
    check(p.returncode == 4, f"stdout full: {p.returncode} {p.stderr.decode()}")
    if os.geteuid() != 0:
        os.mkdir(w.path("ro"), 0o555)
        p = w.run("ro/run")
        check(p.returncode == 4 and b"ro/run" in p.stderr, f"read-only: {p.returncode} {p.stderr.decode()}")
    w.remove("held")
    a = subprocess.Popen(w.command("held", ("--steps", "100000", "--save-every", "99999")), cwd=w.dir, stderr=subprocess.DEVNULL)
    while not os.path.exists(w.path("held", "metrics.jsonl")) and a.poll() is None:
        pass
    p = w.run("held")
    a.kill()
    a.wait()
    check(p.returncode == 2 and b"another lmtrain" in p.stderr, f"two at once: {p.returncode} {p.stderr.decode()}")


def shard_vanishes():
    """A shard that is cut short while it is read: an error with its name and the byte, not a bus error."""
    shutil.copy(w.path("train.bin"), w.path("cut.bin"))
    cmd = [x.replace("train.bin", "cut.bin") for x in w.command("cut", ("--steps", "100000", "--save-every", "50"))]
    p = subprocess.Popen(cmd, cwd=w.dir, stderr=subprocess.PIPE)
    while not w.whole("cut") and p.poll() is None:
        pass
    os.truncate(w.path("cut.bin"), 1024)
    text = p.communicate()[1].decode()
    check(p.returncode == 6 and "cut.bin: ends at byte" in text, f"cut: {p.returncode} {text}")
    check(w.whole("cut"), "no checkpoint left")


CASES = [failing_calls, failed_save_says_needs_and_has, short_writes, file_size_limit, real_full_disk,
         no_memory, killed_while_recovering, odd_surroundings, shard_vanishes]
try:
    check(w.run("ref").returncode == 0, "the undisturbed run")
    WANT, CURVE = w.digest("ref"), w.curve("ref")
    for case in CASES:
        if len(sys.argv) < 5 or case.__name__ in sys.argv[4:]:
            case()
            print(case.__name__)
finally:
    w.close()
