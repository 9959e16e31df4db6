"""lmtrain killed with SIGKILL at random times, again and again, on the fast device; then the same with all signals it
knows, storms of SIGUSR1 among them, and other threads at each start. Usage: kill_train.py LMTRAIN [KILLS] [SEED]"""
import os, random, signal, subprocess, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check


def any_signal(w, rng, t, starts):
    """Wherever one falls, in a step, an evaluation or a save: the same bytes in the end."""
    for _ in range(starts):
        p = subprocess.Popen(w.command("s", ("--threads", rng.choice("123"))), cwd=w.dir, stderr=subprocess.PIPE)
        end = time.time() + rng.uniform(0.05, 0.6) * t
        while time.time() < end and rng.random() < 0.9:
            time.sleep(rng.uniform(0, 0.1) * t)
            for _ in range(rng.choice((0, 1, 300))):
                p.send_signal(signal.SIGUSR1)
        last = rng.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL))
        p.send_signal(last)
        text = p.communicate()[1].decode()
        early = p.returncode == -last or p.returncode == -signal.SIGUSR1  # before there is a handler
        check(early or p.returncode in (0, 128 + last), f"{last}: {p.returncode} {text}")


def main(lmtrain, kills=8, seed=1):
    w = World(lmtrain, steps=120, extra=("--device", "cpu", "--save-every", "5", "--width", "32"))
    rng = random.Random(seed)
    try:
        t = time.time()
        p = w.run("ref")
        check(p.returncode == 0, p.stderr.decode())
        t = time.time() - t
        done = 0
        for _ in range(kills):
            p = subprocess.Popen(w.command("k"), cwd=w.dir, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.05, 0.6) * t)
            p.send_signal(signal.SIGKILL)
            done += p.wait() == -signal.SIGKILL
        p = w.run("k")
        check(p.returncode == 0, p.stderr.decode())
        check(w.digest("k") == w.digest("ref"), "other weights")
        check(w.curve("k") == w.curve("ref"), "other curves")
        any_signal(w, rng, t, kills)
        p = w.run("s")
        check(p.returncode == 0, p.stderr.decode())
        check(w.digest("s") == w.digest("ref"), "any signal: other weights")
        check(w.curve("s") == w.curve("ref"), "any signal: other curves")
        print(f"{done} kills")
    finally:
        w.close()


main(sys.argv[1], *map(int, sys.argv[2:]))
