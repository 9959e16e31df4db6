"""Writes the orders of the installed `datasets`: python3 make.py >> orders.txt

Shard s holds the records s:0 … s:(6+s). A line is the settings and the records in their order:
    hf5 shards=5 buffer=10 seed=1 epoch=2 skip=0 take=0 : 4:0 4:1 3:0 …
"""
import json, os, tempfile
import datasets

SETTINGS = [  # shards, buffer, seed, epoch, skip, take
    (1, 4, 0, 0, 0, 0), (1, 1000, 3, 1, 0, 0), (3, 4, 42, 0, 0, 0), (3, 4, 42, 1, 0, 0), (5, 1, 0, 0, 0, 0),
    (5, 10, 1, 0, 0, 0), (5, 10, 1, 2, 0, 0), (5, 10, 1, 0, 6, 5), (5, 10, 1, 3, 6, 5), (5, 35, 8, 0, 0, 0),
    (5, 1000, 42, 0, 0, 0), (13, 10, 7, 0, 0, 0), (13, 64, 1 << 40, 1, 0, 0), (13, 1000, 7, 1, 0, 0),
]


def main():
    datasets.disable_progress_bars()
    kind = "hf" + datasets.__version__[0]
    with tempfile.TemporaryDirectory() as folder:
        for shards, buffer, seed, epoch, skip, take in SETTINGS:
            if skip and kind == "hf4":
                continue  # 4.8's skip() behind a shuffle leaves out one record, whatever its argument
            names = []
            for s in range(shards):
                names.append(os.path.join(folder, f"{shards}-{s:02d}.jsonl"))
                with open(names[-1], "w") as f:
                    f.writelines(json.dumps({"text": f"{s}:{i}"}) + "\n" for i in range(7 + s))
            ds = datasets.load_dataset("json", data_files=names, split="train", streaming=True, cache_dir=folder)
            ds = ds.shuffle(seed=seed, buffer_size=buffer)
            ds = ds.skip(skip) if skip else ds
            ds = ds.take(take) if take else ds
            ds.set_epoch(epoch)
            print(f"{kind} shards={shards} buffer={buffer} seed={seed} epoch={epoch} skip={skip} take={take} :",
                  *(x["text"] for x in ds))


main()
