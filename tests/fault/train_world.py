"""A small training job to stop, kill and resume: what tests/fault and tests/same share."""
import glob, hashlib, json, os, shutil, struct, subprocess, sys, tempfile


class World:
    """Shards of llm.c's format, one command, and folders to run it in."""

    def __init__(self, lmtrain, steps=12, extra=()):
        self.lmtrain, self.steps = os.path.abspath(lmtrain), steps
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="lory-train-", dir=memory)
        x, tokens = 1, []
        for _ in range(3000):
            x = (x * 1103515245 + 12345) % 2**31
            tokens.append(x >> 16 & 31 if len(tokens) % 2 else (tokens[-1] * 7 + 3) & 31 if tokens else 0)
        for name, t in (("train.bin", tokens), ("valid.bin", tokens[:200])):
            with open(f"{self.dir}/{name}", "wb") as f:
                f.write(struct.pack("<256i", 20240520, 1, len(t), *[0] * 253) + struct.pack(f"<{len(t)}H", *t))
        self.args = ["--train", "train.bin", "--valid", "valid.bin", "--vocab", "32", "--layers", "1",
                     "--width", "8", "--heads", "1", "--seq-len", "8", "--batch", "2", "--accumulate", "2",
                     "--steps", str(steps), "--lr", "1e-2", "--warmup", "2", "--dropout", ".1",
                     "--eval-every", "3", "--save-every", "2", "--keep", "1", "--device", "ref",
                     "--threads", "1", "--seed", "5", "-q", *extra]

    def command(self, run, more=()):
        return [self.lmtrain, *self.args, "-o", run, *more]

    def run(self, run, env=None, more=()):
        return subprocess.run(self.command(run, more), cwd=self.dir, env={**os.environ, **(env or {})},
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def path(self, run, name=""):
        return os.path.join(self.dir, run, name).rstrip("/")

    def remove(self, run):
        shutil.rmtree(self.path(run), ignore_errors=True)

    def digest(self, run):
        """Of the last weights and moments."""
        h = hashlib.sha256()
        for name in ("model.safetensors", "optimizer.safetensors"):
            with open(self.path(run, f"checkpoint-{self.steps}/{name}"), "rb") as f:
                h.update(f.read())
        return h.hexdigest()

    def curve(self, run):
        """[(step, loss)], [(step, eval_loss)] as metrics.jsonl has them."""
        with open(self.path(run, "metrics.jsonl")) as f:
            lines = [json.loads(line) for line in f]
        return ([(x["step"], x["loss"]) for x in lines if "loss" in x],
                [(x["step"], x["eval_loss"]) for x in lines if "eval_loss" in x])

    def strays(self, run):
        """Temporary things that a finished run should not have."""
        return [n for n in os.listdir(self.path(run)) if n.startswith(".")]

    def listed(self, run):
        """Steps of all the folders that have a checkpoint's name."""
        return sorted(int(d.rsplit("-", 1)[1]) for d in glob.glob(self.path(run, "checkpoint-*")))

    def whole(self, run):
        """Steps of the checkpoints whose files are all there with the sizes of their manifests."""
        out = []
        for m in glob.glob(self.path(run, "checkpoint-*/manifest.json")):
            d = os.path.dirname(m)
            files = json.load(open(m))["files"]
            if all(os.path.getsize(os.path.join(d, n)) == x["bytes"] for n, x in files.items()):
                out.append(int(d.rsplit("-", 1)[1]))
        return sorted(out)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def check(good, what):
    if not good:
        sys.exit(f"failed: {what}")
