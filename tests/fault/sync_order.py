"""What lmtrain does to the disk, in which order: nothing gets its final name before it is synced, a
checkpoint is durable before an older one goes. Usage: sync_order.py LMTRAIN SHIM"""
import os, re, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check


def main(lmtrain, shim):
    w = World(lmtrain, steps=6)
    try:
        run, trace = w.path("k"), w.path("trace")
        p = w.run(run, {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": w.path("k"), "LORY_TRACE": trace})
        check(p.returncode == 0, p.stderr.decode())
        dirty, made, pending = {}, 0, None  # files with unsynced bytes; checkpoints; a rename to be synced
        for line in open(trace):
            n, call, a, b = line.rstrip("\n").split("\t")
            if call == "write":
                dirty[a] = n
            elif call == "fsync":
                dirty.pop(a, None)
                if a == run or a == run + "/":
                    pending = None
            elif call in ("rename", "renameat2"):
                below = [f for f in dirty if f == a or f.startswith(a + "/")]
                check(not below, f"call {n}: {a} renamed with unsynced {below}")
                if re.fullmatch(r".*/k/checkpoint-\d+", b):
                    lost = [f for f in dirty if f.endswith(("metrics.jsonl",)) or "tfevents" in f]
                    check(not lost, f"call {n}: {b} before {lost} was synced")
                    made, pending = made + 1, b
                if ".old-checkpoint" in b:
                    check(pending is None, f"call {n}: {a} removed before {pending} was durable")
        check(made >= 3, f"only {made} checkpoints seen")
        print(f"{made} checkpoints in order")
    finally:
        w.close()


main(sys.argv[1], sys.argv[2])
