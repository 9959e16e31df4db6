"""Documents out of gzip JSON lines: `corpus stats` with one thread beside `datasets` streaming the same files, in
turns, in one run.

    PEERS/bin/python tests/bench/streaming.py BUILD/tools/corpus FILE.json.gz... [--times 3]

Both look at every document's text and must find the same number of documents and bytes. Of `datasets` the time begins
behind the import of the library, of Lory with the process. Prints the best of each by the clock and by processor time
(which others on the machine disturb less), the ratios, and both peaks of memory; ends with 1 if Lory is less than 8
times as fast by processor time or takes more than 64 MB."""
import argparse
import json
import os
import resource
import subprocess
import sys
import time

FASTER, MEGABYTES = 8, 64


def peer(files):
    """In a process of its own: prints what was found and what it took."""
    import datasets
    began, used = time.monotonic(), time.process_time()
    documents = size = 0
    for record in datasets.load_dataset("json", data_files=files, split="train", streaming=True):
        documents += 1
        size += len(record["content"].encode())
    took = {"clock": time.monotonic() - began, "cpu": time.process_time() - used}
    print(json.dumps({"documents": documents, "text_bytes": size, **took}))


def run(command):
    """What the command printed, as JSON, with clock, processor time and peak memory of its process."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed")
    return {"clock": time.monotonic() - began, "cpu": used.ru_utime + used.ru_stime, **json.loads(out),
            "memory": used.ru_maxrss / 1024}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("corpus")
    p.add_argument("files", nargs="+")
    p.add_argument("--times", type=int, default=3)
    a = p.parse_args()
    ways = {"datasets": [sys.executable, __file__, "--peer", *a.files],
            "corpus": [a.corpus, "stats", "--json", "--threads", "1", "--field", "content", *a.files]}
    took = {}
    for _ in range(a.times):
        for name, command in ways.items():
            took.setdefault(name, []).append(run(command))
    best = {name: {k: min(r[k] for r in all_) for k in ("clock", "cpu")} for name, all_ in took.items()}
    memory = {name: max(r["memory"] for r in all_) for name, all_ in took.items()}
    found = {(r["documents"], r["text_bytes"]) for all_ in took.values() for r in all_}
    if len(found) != 1:
        sys.exit(f"not the same documents: {found}")
    documents, size = found.pop()
    print(f"{documents} documents, {size / 1e6:.1f} MB of text, best of {a.times} in turns")
    for name, b in best.items():
        print(f"{name:10} {size / b['clock'] / 1e6:7.1f} MB/s, {size / b['cpu'] / 1e6:7.1f} MB a processor second, "
              f"{memory[name]:6.1f} MB of memory")
    clock, cpu = (best["datasets"][k] / best["corpus"][k] for k in ("clock", "cpu"))
    print(f"corpus is {clock:.1f} x as fast by the clock, {cpu:.1f} x by processor time")
    sys.exit(cpu < FASTER or memory["corpus"] > MEGABYTES)


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2:])
else:
    main()
