"""A shard is cut while lmtrain reads it: an error with its name and the place, never a signal; the checkpoints there
are stay whole. One that is removed goes on being read. Usage: shrink_shard.py LMTRAIN [TIMES]"""
import os, random, subprocess, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check


def wait_for_steps(w, p):
    until = time.time() + 60
    while time.time() < until and p.poll() is None:
        try:
            if len(w.curve("k")[0]) >= 3:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.005)
    check(False, f"no steps: {p.poll()} {p.stderr.read().decode()}")


def main(lmtrain, times=3):
    w = World(lmtrain, steps=10**6)
    rng = random.Random(1)
    try:
        with open(w.path("train.bin"), "rb") as f:
            whole = f.read()
        for i in range(times):
            w.remove("k")
            with open(w.path("train.bin"), "wb") as f:
                f.write(whole)
            p = subprocess.Popen(w.command("k"), cwd=w.dir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            wait_for_steps(w, p)
            if i == 0:  # gone, and still open
                os.unlink(w.path("train.bin"))
                time.sleep(0.05)
                check(p.poll() is None, "a removed shard goes on being read")
                p.terminate()
                check(p.wait(60) in (130, 143), f"stopped with {p.returncode}")
                p.stderr.close()
                continue
            size = rng.randrange(len(whole) // 2)
            os.truncate(w.path("train.bin"), size)
            code, said = p.wait(60), p.stderr.read().decode()
            p.stderr.close()
            check(code == 6, f"cut to {size} bytes: exit {code} {said}")
            check("train.bin: ends at byte" in said, f"cut to {size} bytes: {said}")
        print(f"{times} shards cut")
    finally:
        w.close()


main(sys.argv[1], *map(int, sys.argv[2:]))
