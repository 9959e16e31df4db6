"""shard while the disk fails: every call that changes it fails once and from then on, with EIO, ENOSPC, EDQUOT; is
interrupted; writes less than asked; a limit on the size of files. Exit 4 with a message or success; never a
folder that passes for whole and is not; the next run makes the same bytes. Usage: fail_shard.py SHARD TOK SHIM
[STRIDE]"""
import errno, os, resource, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from shard_world import World, check


def once(w, want, env, what):
    w.remove("k")
    p = w.run("k", env)
    check(p.returncode in (0, 4), f"{what}: exit {p.returncode} {p.stderr.decode(errors='replace')}")
    if p.returncode == 4:
        check(b": k" in p.stderr or b"/k" in p.stderr, f"{what}: {p.stderr.decode(errors='replace')}")
        if w.verify("k") == 0:  # only what comes after index.json has failed
            got = {k: v for k, v in w.contents("k").items() if not k.startswith(".")}
            check(got == want, f"{what}: verifies, but is not whole")
    else:
        check(w.contents("k") == want, f"{what}: exit 0 and other bytes")
    q = w.run("k")
    check(q.returncode == 0 and w.contents("k") == want, f"{what}: not the same afterwards {q.stderr.decode(errors='replace')}")
    return p.returncode


def main(shard, tok, shim, stride=1):
    w = World(shard, tok, files=4, documents=25)
    try:
        check(w.run("ref").returncode == 0, "the undisturbed run")
        want = w.contents("ref")
        env = {"LD_PRELOAD": os.path.abspath(shim), "LORY_UNDER": w.path("k"), "LORY_TRACE": w.path("trace")}
        check(w.run("k", env).returncode == 0, "the traced run")
        with open(w.path("trace")) as f:
            calls = sum(1 for _ in f)
        del env["LORY_TRACE"]
        failed = 0
        kinds = [errno.EIO, errno.ENOSPC, errno.EDQUOT]
        for i, n in enumerate(range(1, calls + 1, stride)):
            for sticky in (False, True):
                more = {"LORY_STICKY": "1"} if sticky else {}
                failed += once(w, want, {**env, **more, "LORY_FAIL_AT": str(n), "LORY_ERRNO": str(kinds[i % 3])},
                               f"call {n} {'sticky' if sticky else 'once'}") == 4
        for n in range(1, calls + 1, max(1, calls // 12)):  # a short write; an interrupted one
            for code in (0, errno.EINTR):
                p = once(w, want, {**env, "LORY_FAIL_AT": str(n), "LORY_ERRNO": str(code)}, f"call {n} errno {code}")
                check(p == 0 or code, f"call {n}: a short write is no failure")
        for limit in (0, 100, 1100, 3000):
            w.remove("k")
            p = w.run("k", restore_signals=False,
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            check(p.returncode == 4, f"files of {limit} bytes: exit {p.returncode} {p.stderr.decode(errors='replace')}")
            check(w.run("k").returncode == 0 and w.contents("k") == want, f"after files of {limit} bytes")
        print(f"{failed} failures of {calls} calls")
    finally:
        w.close()


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
