"""lmtrain killed before every single call that changes the disk, then started again: the same bytes, each
step once, and from the first checkpoint on always a whole one. Usage: kill_everywhere.py LMTRAIN SHIM [STRIDE]"""
import os, signal, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check


def main(lmtrain, shim, stride=1):
    w = World(lmtrain, steps=6)
    try:
        env = {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": w.path("k"), "LORY_TRACE": w.path("trace")}
        run = w.path("k")
        check(w.run("ref").returncode == 0, "the undisturbed run")
        want, curve = w.digest("ref"), w.curve("ref")
        p = w.run(run, {**env})
        check(p.returncode == 0, p.stderr.decode())
        calls = int(open(w.path("trace")).read().strip().split("\n")[-1].split("\t")[0])
        os.remove(w.path("trace"))
        del env["LORY_TRACE"]
        saved = False
        for n in range(1, calls + 1, stride):
            w.remove("k")
            p = w.run(run, {**env, "LORY_KILL_AT": str(n)})
            check(p.returncode == -signal.SIGKILL, f"call {n}: not killed, {p.returncode}")
            whole = w.whole("k")
            check(whole or not saved, f"call {n}: no whole checkpoint, although there was one")
            saved = saved or bool(whole)
            p = w.run(run)
            check(p.returncode == 0, f"call {n}: {p.stderr.decode()}")
            check(w.digest("k") == want, f"call {n}: other weights")
            check(w.curve("k") == curve, f"call {n}: {w.curve('k')}")
            check(not w.strays("k"), f"call {n}: left {w.strays('k')}")
        print(f"{len(range(1, calls + 1, stride))} kills in {calls} calls")
    finally:
        w.close()


main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
