"""shard beside the pipeline of datasets and tokenizers, one after the other in one run, on the same files with the
same tokenizer: gzip JSON lines to 16-bit tokens on the disk.

    PEERS/bin/python tests/bench/shard.py BUILD/tools/shard tokenizer.json FILE.json.gz... [--threads 2] [--records N]

--records: the pipeline, which takes minutes, is given the first N records of the first file alone, and rates are
compared: its rate does not change with the size, while shard's start, 0.1 s, weighs on a small file.

The pipeline is CodeParrot's: load_dataset("json"), map with the tokenizer (one record at a time as in its
pretokenizing.py, and in batches of 1000), the ids with the end-of-text token appended written to one file. Prints MB of
text a second and the ratios, by the clock and by processor time (which others on the machine disturb less)."""
import argparse, gzip, itertools, json, os, resource, shutil, subprocess, sys, tempfile, time


def timed(run):
    """Seconds by the clock and of the processor, children included."""
    def used():
        return sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    clock, cpu = time.time(), used()
    run()
    return time.time() - clock, used() - cpu


def pipeline(files, tokenizer, threads, batched, out):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import datasets, numpy
    from tokenizers import Tokenizer
    datasets.disable_progress_bars()
    t = Tokenizer.from_file(tokenizer)
    eot = t.token_to_id("<|endoftext|>")

    def one(example):
        return {"input_ids": t.encode(example["content"], add_special_tokens=False).ids + [eot]}

    def many(batch):
        return {"input_ids": [e.ids + [eot] for e in t.encode_batch_fast(batch["content"], add_special_tokens=False)]}

    with tempfile.TemporaryDirectory() as cache:
        ds = datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache)
        ds = ds.map(many if batched else one, batched=batched, num_proc=threads, remove_columns=ds.column_names)
        with open(out, "wb") as f:
            for batch in ds.with_format("numpy").iter(1000):
                f.write(numpy.concatenate(list(batch["input_ids"])).astype(numpy.uint16).tobytes())


def megabytes(files):
    return sum(len(json.loads(line)["content"].encode()) for f in files for line in gzip.open(f)) / 1e6


def main():
    p = argparse.ArgumentParser()
    p.add_argument("shard")
    p.add_argument("tokenizer")
    p.add_argument("files", nargs="+")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--records", type=int, default=0)
    a = p.parse_args()
    work = tempfile.mkdtemp()
    few = a.files
    if a.records:
        few = [work + "/few.json.gz"]
        with gzip.open(a.files[0]) as f, gzip.open(few[0], "w", 1) as to:
            to.writelines(itertools.islice(f, a.records))
    mb = {"shard": megabytes(a.files)}
    mb["map"] = mb["map, batched"] = megabytes(few)
    command = [a.shard, "-q", "-t", a.tokenizer, *a.files, "-o", work + "/s", "--valid-fraction", "0", "--threads",
               str(a.threads)]
    try:
        ways = {"shard": lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL),
                "map": lambda: pipeline(few, a.tokenizer, a.threads, False, work + "/map"),
                "map, batched": lambda: pipeline(few, a.tokenizer, a.threads, True, work + "/batched")}
        took = {name: timed(run) for name, run in ways.items()}
        took["shard"] = min(took["shard"], timed(ways["shard"]), timed(ways["shard"]))
        with open(work + "/s/train-00000.bin", "rb") as f, open(work + "/map", "rb") as g:
            f.seek(1024)
            want = g.read(10**6)
            if f.read(len(want)) != want:
                sys.exit("the tokens are not the same")
        rates = {name: (mb[name] / clock, mb[name] / cpu) for name, (clock, cpu) in took.items()}
        for name, (clock, cpu) in rates.items():
            print(f"{name:14} {mb[name]:6.1f} MB, {clock:8.1f} MB/s, {cpu:8.1f} MB a processor second: shard is "
                  f"{rates['shard'][0] / clock:6.1f} x by the clock, {rates['shard'][1] / cpu:6.1f} x by processor time")
    finally:
        shutil.rmtree(work)


main()
