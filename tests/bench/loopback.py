"""How much of the local rate is left over loopback HTTP: one gzip JSONL file through `corpus cat`, from the disk and
from a server on this machine, in turns. By hand: loopback.py TOOLS_FOLDER [MEGABYTES]

The server has a core of its own (it does nothing else than one write()), corpus another: wall time on one core, then
processor time."""
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../hub"))
import server

TOOLS, MEGABYTES = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 400
rng, lines, size = random.Random(1), [], 0
words = "def self return import for in range (x) = None if else print [0] # TODO".split() + ["    ", "\n"]
while size < MEGABYTES * 1_000_000:
    lines.append(json.dumps({"repo_name": "a/b", "content": " ".join(rng.choices(words, k=700))}) + "\n")
    size += len(lines[-1])
cores = sorted(os.sched_getaffinity(0))
with tempfile.TemporaryDirectory() as folder:
    path = folder + "/f.jsonl.gz"
    data = gzip.compress("".join(lines).encode(), 6)
    with open(path, "wb") as f:
        f.write(data)
    os.sched_setaffinity(0, cores[:1])
    hub = server.Hub({"f.jsonl.gz": data})

    def run(source):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([TOOLS + "/corpus", "cat", "-q", source], stdout=subprocess.DEVNULL, check=True,
                       preexec_fn=lambda: os.sched_setaffinity(0, cores[-1:]))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    url = hub.url("hub") + "/plain/f.jsonl.gz"
    pairs = [(run(path), run(url)) for _ in range(9)]
    local, net = [min(p[0][i] for p in pairs) for i in (0, 1)], [min(p[1][i] for p in pairs) for i in (0, 1)]
    print(f"{size / 1e6:.0f} MB of JSONL, {len(data) / 1e6:.0f} MB stored; best of 9, in turns")
    for what, i in (("wall", 0), ("processor", 1)):
        print(f"{what}: local {size / local[i] / 1e6:.0f} MB/s, HTTP {size / net[i] / 1e6:.0f} MB/s: {100 * local[i] / net[i]:.0f} %")
    hub.close()
