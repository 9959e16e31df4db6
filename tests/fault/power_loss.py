"""Power cuts: what lmtrain did to the disk is replayed up to any call, and what was not synced by then is lost, torn
or kept at random, names as well as bytes. The run must then go on to the same result, and never lose a checkpoint
that was durable. Usage: power_loss.py LMTRAIN SHIM [CUTS] [DAMAGES] [SEED]

    durable: bytes of a file up to its last fsync; names up to the last fsync of a folder (in their order)"""
import os, random, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from train_world import World, check

PAGE = 512


def journal(path):
    """[(call, a, b, offset, bytes)]"""
    data, at, out = open(path, "rb").read(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        call, a, b, off, n = data[at:end].split(b"\t")
        v = data[end + 1:end + 1 + int(n)]
        out.append((call.decode(), a.decode(), b.decode(), int(off), v))
        at = end + 1 + int(n)
    return out


def change(names, event):
    """Applies what happened to names, which map paths to "dir", ("link", target) or the number of a file."""
    call, a, b, flag = event
    if call == "create":
        names[a] = flag
    elif call == "mkdir":
        names[a] = "dir"
    elif call == "symlink":
        names[b] = ("link", a)
    elif call in ("unlink", "rmdir"):
        names.pop(a, None)
    elif call == "renameat2":  # the one use of it: exchanged
        move(names, a, a + "?")
        move(names, b, a)
        move(names, a + "?", b)
    else:
        move(names, a, b)


def move(names, a, b):
    for k in [k for k in names if k == a or k.startswith(a + "/")]:
        names[b + k[len(a):]] = names.pop(k)


def torn(old, new, rng):
    """What of `new` reached the disk, where only `old` was promised."""
    how = rng.randrange(4)
    if old == new or how == 0:
        return new
    if how == 1:
        return old
    if how == 2:
        return new[:rng.randrange(min(len(old), len(new)), len(new) + 1)]
    out = bytearray(new)  # pages that never came, in a file that has its length
    for at in range(len(old) // PAGE * PAGE, len(out), PAGE):
        if rng.randrange(2):
            for i in range(max(at, len(old)), min(at + PAGE, len(out))):
                out[i] = 0
    return bytes(out)


def cut(calls, root, to, rng):
    """Makes the folder `to` as a power cut behind the last of `calls` may leave `root`. Returns the durable names."""
    names, durable, pending, files = {}, {root: "dir"}, [], []
    names.update(durable)
    for call, a, b, flag, v in calls:
        if call in ("write", "fsync") and names.get(a) != "dir":
            if a not in names:
                files.append([b"", b""])  # synced, written
                event = ("create", a, "", len(files) - 1)
                change(names, event)
                pending.append(event)
            f = files[names[a]]
            if call == "write":
                f[1] = f[1][:flag].ljust(flag, b"\0") + v + f[1][flag + len(v):]
            else:
                f[0] = f[1]
        elif call == "fsync":  # names become durable in the order in which they changed
            for event in pending:
                change(durable, event)
            pending = []
        else:
            change(names, (call, a, b, flag))
            pending.append((call, a, b, flag))
    survived = dict(durable)
    for event in pending[:rng.randrange(len(pending) + 1)]:
        change(survived, event)
    for path, what in sorted(survived.items()):
        where = to + path[len(root):]
        if what == "dir":
            os.makedirs(where, exist_ok=True)
        elif isinstance(what, tuple):
            os.symlink(what[1], where)
        else:
            with open(where, "wb") as f:
                f.write(torn(*files[what], rng))
    return durable


def main(lmtrain, shim, cuts=40, damages=2, seed=1):
    w, rng = World(lmtrain, steps=6), random.Random(seed)
    try:
        root = w.path("p")
        check(w.run("ref").returncode == 0, "the undisturbed run")
        want, curve = w.digest("ref"), w.curve("ref")
        os.mkdir(root)  # durable from the beginning
        p = w.run(root, {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": root, "LORY_RECORD": w.path("journal")})
        check(p.returncode == 0, p.stderr.decode())
        calls = journal(w.path("journal"))
        lost = 0
        for at in range(1, len(calls) + 1, max(1, len(calls) // cuts)):
            for damage in range(damages):
                w.remove("p")
                durable = cut(calls[:at], root, root, rng)
                kept = [n for n in durable if os.path.basename(n).startswith("checkpoint-") and n.count("/") == root.count("/") + 1]
                whole = w.whole("p")
                check(not kept or whole, f"cut {at}: of the durable {kept} none is whole")
                lost += not whole
                p = w.run(root)
                check(p.returncode == 0, f"cut {at}, damage {damage}: {p.stderr.decode()}")
                check(w.digest("p") == want, f"cut {at}: other weights")
                check(w.curve("p") == curve, f"cut {at}: other curves")
                check(not w.strays("p"), f"cut {at}: left {w.strays('p')}")
        check(lost, "no cut came before the first checkpoint")
        print(f"{len(calls)} calls, cut at {len(range(1, len(calls) + 1, max(1, len(calls) // cuts)))}, {damages} damages each")
    finally:
        w.close()


main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
