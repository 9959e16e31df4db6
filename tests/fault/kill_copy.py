"""corpus cat --state killed, again and again: the output is that of a run nobody disturbed, and nothing else is
left. Usage: kill_copy.py CORPUS [SHIM [STRIDE]]: before every STRIDE-th call that changes the disk, or at random."""
import gzip, hashlib, json, os, random, shutil, signal, subprocess, sys, tempfile

WAYS = [("out.jsonl", []), ("out.jsonl.gz", ["--shuffle-buffer", "20"]), ("out.jsonl.zst", ["--order", "hf5", "--shuffle-buffer", "15"])]


def make_corpus(folder, records):
    r = random.Random(1)
    os.mkdir(folder)
    for f in range(3):
        with gzip.open(os.path.join(folder, f"{f}.jsonl.gz"), "wt") as out:
            for i in range(records):
                text = "".join(r.choice(["def ", "x = ", "return ", "\n", "é"]) for _ in range(r.randrange(200)))
                out.write(json.dumps({"id": f"{f}:{i}", "text": text}) + "\n")


def cat(corpus, folder, name, args, every, **env):
    return subprocess.Popen([corpus, "cat", "-q", "corpus", "-o", name, "--state", "state", "--state-every", every, *args],
                            cwd=folder, env={**os.environ, **env}, stderr=subprocess.PIPE)


def finish(p):
    err = p.communicate()[1]
    assert p.returncode == 0, err.decode()


def check(folder, name, want):
    got = hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest()
    assert got == want, f"{name}: other bytes"
    assert sorted(os.listdir(folder)) == sorted(["corpus", name]), os.listdir(folder)
    os.remove(os.path.join(folder, name))


def undisturbed(corpus, folder, name, args, every, **env):
    finish(cat(corpus, folder, name, args, every, **env))
    want = hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest()
    check(folder, name, want)
    return want


def at_calls(corpus, folder, shim, stride):
    """Killed before call n, then before its own call n of the second run, then left alone."""
    kills = 0
    env = {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": os.path.realpath(folder)}
    for name, args in WAYS:
        trace = folder + ".trace"
        want = undisturbed(corpus, folder, name, args, "9000", **env, LORY_TRACE=trace)
        calls = int(open(trace).read().strip().split("\n")[-1].split("\t")[0])
        os.remove(trace)
        for n in range(1, calls + 1, stride):
            for at in (n, n // 2 + 1):
                p = cat(corpus, folder, name, args, "9000", **env, LORY_KILL_AT=str(at))
                p.communicate()
                assert p.returncode in (0, -signal.SIGKILL), p.returncode
                if p.returncode == 0:
                    break
                kills += 1
            else:
                finish(cat(corpus, folder, name, args, "9000"))
            check(folder, name, want)
    return kills


def at_random(corpus, folder, times):
    r, kills = random.Random(2), 0
    for name, args in WAYS:
        want = undisturbed(corpus, folder, name, args, "60000")
        for _ in range(times):
            while True:
                p = cat(corpus, folder, name, args, "60000")
                try:
                    p.wait(timeout=r.random() * 0.15)
                    break
                except subprocess.TimeoutExpired:
                    p.send_signal(r.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                    p.communicate()
                    kills += 1
                    if p.returncode == 0:
                        break
            assert p.returncode == 0, p.returncode
            check(folder, name, want)
    return kills


def main(corpus, shim=None, stride=1):
    corpus = os.path.abspath(corpus)
    folder = tempfile.mkdtemp(prefix="lory-copy-")
    try:
        make_corpus(os.path.join(folder, "corpus"), 60 if shim else 3000)
        kills = at_calls(corpus, folder, shim, int(stride)) if shim else at_random(corpus, folder, 6)
        print(f"{kills} kills")
        assert kills >= (3 if shim else 10)
    finally:
        shutil.rmtree(folder)


main(*sys.argv[1:])
