"""lmtrain, lmeval and lmgen with --device cuda, over the emulated GPU: a run like the CPU's, the same bytes after a
stop, and what is said when the memory does not suffice."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

TOOLS, MODULE = sys.argv[1:3]
del sys.argv[1:]
MODEL = ["--layers", "1", "--width", "32", "--heads", "2", "--vocab", "130", "--seq-len", "16"]


def run(program, *args, cwd):
    return subprocess.run([os.path.join(TOOLS, program), *map(str, args)], cwd=cwd, text=True, capture_output=True,
                          env={**os.environ, "LORY_CUDA": MODULE}, timeout=300)


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for split, n in ("train", 3000), ("val", 200):  # llm.c's header; ids that can be learnt
            ids = [(i * i // 7) % 130 for i in range(n)]
            with open(os.path.join(self.folder, f"x_{split}_0.bin"), "wb") as f:
                f.write(struct.pack("<3i", 20240520, 1, n).ljust(1024, b"\0") + struct.pack(f"<{n}H", *ids))

    def train(self, device, out, steps, *more):
        r = run("lmtrain", "--train", ".", "--valid", ".", "-o", out, "--steps", steps, "--device", device, "--batch", 2,
                "--lr", "1e-2", "--warmup", 2, "--eval-every", 100, "--save-every", 2, *MODEL, *more, cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stderr

    def losses(self, out):
        with open(os.path.join(self.folder, out, "metrics.jsonl")) as f:
            lines = [json.loads(line) for line in f]
        return [line["loss"] for line in lines if "loss" in line], [line["eval_loss"] for line in lines if "eval_loss" in line]

    def weights(self, out):
        with open(os.path.join(self.folder, out, "last", "model.safetensors"), "rb") as f:
            return f.read()

    def test_a_run_like_the_cpus(self):
        for dtype, near in ("fp32", 1e-4), ("bf16", 3e-2):
            said = self.train("cuda", "gpu-" + dtype, 4, "--dtype", dtype)
            self.assertIn(f"cuda: emulated, 1024 MiB, sm_80, {dtype}", said)
            self.train("cpu", "cpu-" + dtype, 4, "--dtype", "fp32")
            for gpu, cpu in zip(self.losses("gpu-" + dtype), self.losses("cpu-" + dtype)):
                self.assertEqual(len(gpu), len(cpu))
                for x, y in zip(gpu, cpu):
                    self.assertAlmostEqual(x, y, delta=near)
        ask = ["-m", "gpu-fp32", "--valid", ".", "--seq-len", 16, "--json", "--dtype", "fp32"]
        gpu, cpu = [run("lmeval", "loss", *ask, "--device", d, cwd=self.folder) for d in ("cuda", "cpu")]
        self.assertEqual(gpu.returncode, 0, gpu.stderr)
        self.assertAlmostEqual(json.loads(gpu.stdout)["loss"], json.loads(cpu.stdout)["loss"], delta=1e-5)
        ask = ["-m", "gpu-fp32", "--prompt-ids", "1 2 3", "--ids", "json", "--max-new", 6, "--greedy", "--dtype", "fp32"]
        gpu, cpu = [run("lmgen", *ask, "--device", d, cwd=self.folder) for d in ("cuda", "cpu")]
        self.assertEqual((gpu.returncode, gpu.stdout), (0, cpu.stdout), gpu.stderr)

    def test_stopped_and_gone_on(self):
        for dtype in "fp32", "bf16":
            self.train("cuda", "parts-" + dtype, 2, "--dtype", dtype, "--schedule", "constant")
            self.train("cuda", "parts-" + dtype, 4, "--dtype", dtype, "--schedule", "constant")
            self.train("cuda", "again-" + dtype, 4, "--dtype", dtype, "--schedule", "constant")
            self.assertEqual(self.weights("parts-" + dtype), self.weights("again-" + dtype))

    def plan(self, batch, *more):
        r = run("lmtrain", "--train", ".", "--device", "cuda", "--steps", 1, "--batch", batch, "--dry-run", *MODEL,
                "--layers", 3, *more, cwd=self.folder)
        self.assertEqual(r.returncode, 0, r.stderr)
        return json.loads(r.stdout)

    def test_recomputes_what_memory_does_not_hold(self):
        few = {level: self.plan(2, "--recompute", level) for level in ("auto", "none", "gelu")}
        self.assertEqual(few["auto"]["activations_bytes"], few["none"]["activations_bytes"])
        self.assertGreater(few["none"]["activations_bytes"], few["gelu"]["activations_bytes"])
        self.assertEqual(few["auto"]["largest_batch"], few["gelu"]["largest_batch"])
        many = few["gelu"]["largest_batch"]
        self.assertEqual(self.plan(many)["activations_bytes"], self.plan(many, "--recompute", "gelu")["activations_bytes"])

    def test_too_large_a_batch(self):
        r = run("lmtrain", "--train", ".", "-o", "run", "--steps", 1, "--device", "cuda", "--batch", 400000, *MODEL,
                cwd=self.folder)
        self.assertEqual(r.returncode, 7, r.stderr)
        self.assertIn("out of GPU memory", r.stderr)
        self.assertRegex(r.stderr, r"memory: .* weights .* activations")
        self.assertRegex(r.stderr, r"--batch \d+ is the largest that fits in 1\.\d+ GB")


if __name__ == "__main__":
    unittest.main()
