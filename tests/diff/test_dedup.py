"""corpus dedup beside datasketch, whose MinHash and index CodeParrot's minhash_deduplication.py uses: the same clusters,
the same documents kept, and the same file of clusters. Run with the folder of the programs; the interpreter named by LORY_PYTHON is used if this
one lacks the package; exit 77 if both do."""
import collections
import glob
import inspect
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import peers

peers.need("datasketch")
from datasketch import MinHash, MinHashLSH

CORPUS = os.path.join(os.path.abspath(sys.argv[1]), "corpus")
# 2.0 draws its values otherwise unless it is told not to; CodeParrot's are of 1.5.
LEGACY = {"scheme": "legacy"} if "scheme" in inspect.signature(MinHash).parameters else {}


def words(text):
    return [w for w in re.split("[^A-Za-z_0-9]", text) if w]


def minhash(text):
    found = words(text)
    if len(found) < 10:
        return None
    m = MinHash(num_perm=256, **LEGACY)
    for w in set(found):
        m.update(w.encode())
    return m


def clusters_of(texts):
    """CodeParrot's index, but that the lowest number comes first where its own order is that of a Python set."""
    index, clusters = MinHashLSH(threshold=0.85, num_perm=256), {}
    for i, text in enumerate(texts):
        m = minhash(text)
        if m is None:
            continue
        close = sorted(index.query(m))
        index.insert(i, m)
        if close:
            base = next((k for k in close if k in clusters), close[0])
            clusters.setdefault(base, []).append(i)
    return [[base, *others] for base, others in clusters.items()]


def extremes_of(texts, clusters):
    """Those that stay, with the number of copies that CodeParrot's file of clusters says."""
    sets, extremes = {i: set(words(texts[i])) for c in clusters for i in c}, {}
    for c in clusters:
        copies = {}
        for i in c:
            near = next((k for k in copies if len(sets[i] & sets[k]) / len(sets[i] | sets[k]) >= 0.85), i)
            copies[near] = copies.get(near, 0) + 1
        extremes |= copies
    return extremes


def described(i, names, extremes):
    one = {"base_index": i, **names, "is_extreme": i in extremes}
    return one | {"copies": extremes[i]} if i in extremes else one


def sample(rng):
    """Files of Python's own library and texts like them: cut, renamed, put together."""
    texts = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:90]:
        with open(path, encoding="utf-8", errors="replace") as f:
            texts.append(f.read(20_000))
    names = [w for w, _ in collections.Counter(w for t in texts for w in words(t)).most_common(3000)]
    for text in list(texts):
        for _ in range(rng.randrange(4)):
            copy = text
            for w in rng.sample(names, rng.randrange(40)):
                copy = re.sub(rf"\b{w}\b", w + "_", copy)
            texts.append(copy[:rng.randrange(len(copy) * 3 // 4, len(copy) + 1)] + rng.choice(["", "\n", "# é\n"]))
    texts += ["few words only", "few words only", ""]
    rng.shuffle(texts)
    return texts


def main():
    texts = sample(random.Random(5))
    clusters = clusters_of(texts)
    extremes = extremes_of(texts, clusters)
    gone = {i for c in clusters for i in c} - set(extremes)
    want = [i for i in range(len(texts)) if i not in gone]
    names = [{"repo_name": f"me/é\u2028{i % 7}", "path": f"a \"b\"\n/{i}.py"} if i % 5 else {} for i in range(len(texts))]
    wanted_clusters = [[described(i, names[i], extremes) for i in c] for c in clusters]
    assert any(c["copies"] > 2 for cluster in wanted_clusters for c in cluster if c["is_extreme"])
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/c.jsonl", "w", encoding="utf-8") as f:
            for i, t in enumerate(texts):
                f.write(json.dumps({"id": i, "path": 7, "content": t} | names[i]) + "\n")
        for more in ([], ["--threads", "3", "--memory", "64Ki"]):
            p = subprocess.run([CORPUS, "dedup", "-q", "--mode", "near", folder + "/c.jsonl", "-o", folder + "/o.jsonl", "--json",
                                "--clusters", folder + "/clusters.json", *more], capture_output=True, check=True)
            report = json.loads(p.stdout)
            with open(folder + "/o.jsonl", encoding="utf-8") as f:
                got = [json.loads(line)["id"] for line in f]
            assert got == want, (sorted(set(want) - set(got)), sorted(set(got) - set(want)))
            assert report["clusters"] == len(clusters), (report, len(clusters))
            with open(folder + "/clusters.json", encoding="utf-8") as f:
                assert json.load(f) == wanted_clusters
            assert report["largest_cluster"] == max(map(len, clusters)), report
    print(f"{len(texts)} documents, {len(clusters)} clusters, {len(texts) - len(want)} near copies")
    assert len(clusters) > 20 and len(texts) - len(want) > 20


main()
