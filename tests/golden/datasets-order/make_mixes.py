"""Writes what interleave_datasets() of the installed `datasets` makes of small sources: python3 make_mixes.py > mixes.txt

Source s of SIZES holds the records s:0, s:1 …. A line is the settings and the records in their order:
    sizes=7,30,3 p=0.5,0.3,0.2 end=all_exhausted seed=1 : 0:0 2:0 …
"""
import json, os, tempfile
import datasets

ENDS = ["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"]


def main():
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        for sizes in ([7, 30, 3], [4, 4], [5]):
            sources = []
            for s, n in enumerate(sizes):
                name = os.path.join(folder, f"{len(sizes)}-{s}.jsonl")
                with open(name, "w") as f:
                    f.writelines(json.dumps({"text": f"{s}:{i}"}) + "\n" for i in range(n))
                sources.append(datasets.load_dataset("json", data_files=name, split="train", streaming=True, cache_dir=folder))
            for p in (None, [0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [0.25, 0.75], [1.0]):
                if p and len(p) != len(sizes):
                    continue
                for end in ENDS:
                    for seed in (1, 42) if p else (0,):
                        mixed = datasets.interleave_datasets(sources, probabilities=p, seed=seed, stopping_strategy=end)
                        print(f"sizes={','.join(map(str, sizes))} p={','.join(map(str, p or []))} end={end} seed={seed} :",
                              *(x["text"] for x in mixed))


main()
