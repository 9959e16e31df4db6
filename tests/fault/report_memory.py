"""A report that memory runs out for: exit 7 with a word about it, or the whole report. A member that no memory was
found for must not be missing without a word. Arguments: PROGRAM FILE-OF-SHIM ARGUMENT…, the report's program."""
import os
import subprocess
import sys
import tempfile

PROGRAM, SHIM, *ARGUMENTS = sys.argv[1:]


def run(**environment):
    return subprocess.run([PROGRAM, *ARGUMENTS], env={**os.environ, "LD_PRELOAD": SHIM, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)


with tempfile.TemporaryDirectory() as folder:
    count = os.path.join(folder, "count")
    whole = run(LORY_ALLOC_COUNT=count)
    assert whole.returncode == 0 and whole.stdout, whole.stderr
    n = int(open(count).read())
refused = 0
for at in [*range(1, n + 1, max(1, n // 150)), *range(max(1, n - 60), n + 1)]:
    p = run(LORY_ALLOC_AT=str(at))
    assert p.returncode in (0, 7), f"allocation {at} of {n}: exit {p.returncode} {p.stderr.decode()}"
    if p.returncode == 7:
        assert b"memory" in p.stderr, p.stderr
        refused += 1
    else:
        assert p.stdout == whole.stdout, f"allocation {at} of {n}: exit 0 and another report"
assert refused, "no allocation mattered"
print(f"{n} allocations, {refused} refused")
