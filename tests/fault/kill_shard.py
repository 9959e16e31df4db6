"""shard killed before calls that change the disk and at random times, twice in a row, then started again: the
same bytes as undisturbed, files that were done are not read again, and no folder that was half written passes
for a whole one. Usage: kill_shard.py SHARD TOK SHIM [STRIDE]"""
import gzip, os, random, signal, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shard_world import World, check


def kill_at_calls(w, want, shim, stride):
    env = {"LD_PRELOAD": shim, "LORY_UNDER": w.path("k"), "LORY_TRACE": w.path("trace")}
    check(w.run("k", env).returncode == 0, "the traced run")
    with open(w.path("trace")) as f:
        calls = sum(1 for _ in f)
    check(calls > 40, f"only {calls} calls seen")
    os.remove(w.path("trace"))
    del env["LORY_TRACE"]
    kills = taken_up = 0
    for n in range(1, calls + 1, stride):
        w.remove("k")
        for again in range(2):  # the second one dies while it takes up the first
            p = w.run("k", {**env, "LORY_KILL_AT": str(n if again == 0 else 1 + n % 7)})
            kills += p.returncode == -signal.SIGKILL
            check(p.returncode in (0, -signal.SIGKILL), f"call {n}: {p.returncode} {p.stderr.decode(errors='replace')}")
            if p.returncode:
                got = {k: v for k, v in w.contents("k").items() if not k.startswith(".")}
                check(w.verify("k") != 0 or got == want, f"call {n}: verifies, but is not whole")
        p = w.run("k")
        check(p.returncode == 0, f"call {n}: {p.stderr.decode(errors='replace')}")
        taken_up += b"going on: " in p.stderr
        check(w.contents("k") == want, f"call {n}: other bytes")
    check(taken_up > kills // 8, f"only {taken_up} of {kills} runs were taken up")
    return kills, taken_up


def kill_at_random(w, want, times):
    rng = random.Random(3)
    w.remove("k")
    begun = time.time()
    check(w.run("k").returncode == 0, "the timed run")
    took = time.time() - begun
    kills = 0
    for _ in range(times):
        w.remove("k")
        for _ in range(2):
            try:
                w.run("k", timeout=rng.random() * took)
            except Exception:  # noqa: the time is up: killed
                kills += 1
        check(w.run("k").returncode == 0, "the run after a kill")
        check(w.contents("k") == want, "other bytes after a kill at random")
    return kills


def interrupted(w, want, times):
    """Ctrl-C and SIGTERM at any moment: 130, 143, and the next start goes on."""
    rng = random.Random(4)
    begun = time.time()
    w.remove("i")
    check(w.run("i").returncode == 0, "the timed run")
    took = time.time() - begun
    for _ in range(times):
        w.remove("i")
        for _ in range(2):
            sig = rng.choice((signal.SIGINT, signal.SIGTERM))
            p = w.start("i")
            time.sleep(rng.random() * took)
            p.send_signal(sig)
            said = p.communicate()[1].decode(errors="replace")
            check(p.returncode in (0, 128 + sig, -sig), f"{sig}: {p.returncode} {said}")
        check(w.run("i").returncode == 0 and w.contents("i") == want, "other bytes after an interruption")


def a_source_that_changed(w, shim):
    """What was made of the old file is not gone on with."""
    w.remove("c")
    w.run("c", {"LD_PRELOAD": shim, "LORY_UNDER": w.path("c"), "LORY_KILL_AT": "45"})
    check(len(os.listdir(w.path("c"))) > 0, "nothing was left behind")
    with open(w.path("corpus/0.jsonl.gz"), "rb") as f:
        old = f.read()
    with open(w.path("corpus/0.jsonl.gz"), "wb") as f:
        f.write(gzip.compress(gzip.decompress(old).replace(b"return", b"yield"), 1, mtime=0))
    check(w.run("c").returncode == 0 and w.run("fresh").returncode == 0, "runs over the changed corpus")
    check(w.contents("c") == w.contents("fresh"), "a changed source: parts of the old one are left")
    with open(w.path("corpus/0.jsonl.gz"), "wb") as f:
        f.write(old)


def main(shard, tok, shim, stride=1):
    w = World(shard, tok)
    try:
        check(w.run("ref").returncode == 0 and w.verify("ref") == 0, "the undisturbed run")
        want = w.contents("ref")
        if shim != "-":
            print("%d kills at calls, %d runs taken up" % kill_at_calls(w, want, os.path.abspath(shim), stride))
        print(f"{kill_at_random(w, want, 10 if stride < 10 else 3)} kills at random times")
        interrupted(w, want, 6 if stride < 10 else 2)
        a_source_that_changed(w, os.path.abspath(shim))
        # Another plan does not go on with the old one's files.
        w.remove("k")
        w.run("k", {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": w.path("k"), "LORY_KILL_AT": "45"})
        p = w.run("k", more=["--seed", "2", "--valid-fraction", "0.2"])
        check(p.returncode == 0 and b"going on" not in p.stderr and w.verify("k") == 0, "another plan")
    finally:
        w.close()


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
