"""A small corpus to shard, stop, kill and take up again: what the tests of shard share."""
import gzip, json, os, random, shutil, subprocess, sys, tempfile


class World:
    def __init__(self, shard, tok, files=6, documents=40):
        self.shard, self.tok = os.path.abspath(shard), os.path.abspath(tok)
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="lory-shard-", dir=memory)
        os.mkdir(f"{self.dir}/corpus")
        rng = random.Random(7)
        words = ["def ", "return ", "x = ", "self.", "\n", "    ", "é", "if ", "(0)", "# "]
        for i in range(files):
            text = lambda most: "".join(rng.choices(words, k=rng.randrange(1, most)))
            lines = [json.dumps({"prompt": text(20), "completion": text(40)}) for _ in range(documents)]
            with open(f"{self.dir}/corpus/{i}.jsonl.gz", "wb") as f:
                f.write(gzip.compress("\n".join(lines).encode(), 1, mtime=0))
        # Five shards or so, both splits in every file but the last, which is for validation.
        self.args = ["corpus", "-t", self.tok, "--seq-len", "8", "--shard-tokens", "1500", "--threads", "2",
                     "--prompt", "prompt"]  # so that there are masks, too
        self.text = ["--eot", "none"]

    def start(self, out):
        return subprocess.Popen([self.shard, *self.args, *self.text, "-o", self.path(out)], cwd=self.dir,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def run(self, out, env=None, more=(), **kw):
        return subprocess.run([self.shard, *self.args, *self.text, "-o", self.path(out), *more], cwd=self.dir,
                              env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, **kw)

    def verify(self, out):
        return subprocess.run([self.shard, "verify", out], cwd=self.dir, capture_output=True).returncode

    def path(self, name):
        return os.path.join(self.dir, name)

    def remove(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)

    def contents(self, out):
        """{name: bytes} of a folder and those in it."""
        found = {}
        for where, _, names in os.walk(self.path(out)):
            for name in names:
                with open(os.path.join(where, name), "rb") as f:
                    found[os.path.relpath(os.path.join(where, name), self.path(out))] = f.read()
        return found

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def check(good, what):
    if not good:
        sys.exit(f"failed: {what}")
