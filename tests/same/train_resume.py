"""However a run is stopped, and with however many threads: the same bytes. Usage: train_resume.py LMTRAIN STEPS
[OPTION…]"""
import os, shutil, signal, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fault"))
from train_world import World, check


def hang_up():
    """Under nohup, which this test may be, a program is deaf to SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def stop(w, run, sig, after):
    """Starts a run, signals it once it has written `after` lines of metrics; its exit status."""
    p = subprocess.Popen(w.command(run), cwd=w.dir, stderr=subprocess.DEVNULL, preexec_fn=hang_up)
    lines = w.path(run, "metrics.jsonl")
    while p.poll() is None and (not os.path.exists(lines) or open(lines).read().count("\n") < after):
        time.sleep(0.002)
    p.send_signal(sig)
    return p.wait()


def main(lmtrain, steps, *more):
    n = int(steps)
    extra = ("--device", "cpu", "--save-every", str(n // 3), "--width", "32", "--keep", "9")
    w = World(lmtrain, steps=n, extra=extra + more)
    try:
        check(w.run("ref").returncode == 0, "the undisturbed run")
        want, curve = w.digest("ref"), w.curve("ref")
        for threads in ("1", "2", "3"):
            check(w.run("t" + threads, more=("--threads", threads)).returncode == 0, "threads")
            check(w.digest("t" + threads) == want, f"{threads} threads: other weights")
        for sig, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            run = f"s{code}"
            rc = stop(w, run, sig, n // 15)
            check(rc == code, f"{sig}: exit {rc}")
            check(w.whole(run) and w.whole(run)[-1] < n, f"{sig}: saved {w.whole(run)}")
            check(w.run(run).returncode == 0 and w.digest(run) == want, f"{sig}: other weights")
            check(w.curve(run) == curve, f"{sig}: other curves")
        half = [str(n // 2) if x == steps else x for x in w.args]  # N, then N more; a constant rate knows no end
        whole = w.args
        w.args = whole + ["--schedule", "constant"]
        check(w.run("c").returncode == 0, "constant rate")
        want = w.digest("c")
        w.args = half + ["--schedule", "constant"]
        check(w.run("n").returncode == 0, "N steps")
        w.args = whole + ["--schedule", "constant"]
        p = w.run("n")
        check(p.returncode == 0 and w.digest("n") == want, "N and N steps are not 2N: " + p.stderr.decode())
        p = w.run("n", more=("--lr", "2e-2"))
        check(p.returncode == 2 and b"lr was 0.01, now 0.02" in p.stderr, "other options: " + p.stderr.decode())
        shutil.copytree(w.path("n"), w.path("d"), symlinks=True)
        shutil.rmtree(w.path("d", f"checkpoint-{n}"))
        p = w.run("d")
        check(p.returncode == 0 and w.digest("d") == want, "from an older checkpoint: " + p.stderr.decode())
        print("same bytes")
    finally:
        w.close()


main(*sys.argv[1:])
