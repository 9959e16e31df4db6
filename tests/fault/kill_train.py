"""lmtrain killed with SIGKILL at random times, again and again, on the fast device. Usage: kill_train.py
LMTRAIN [KILLS] [SEED]"""
import os, random, signal, subprocess, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check


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
        print(f"{done} kills")
    finally:
        w.close()


main(sys.argv[1], *map(int, sys.argv[2:]))
