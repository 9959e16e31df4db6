"""--device cuda where there is no GPU to be had: each reason has its own words and exit code 2, and
--device auto takes the CPU. The module of this build is tried too, if it has been made."""
import os
import subprocess
import sys
import tempfile
import unittest

LMGEN, MODULE, MODEL, CC = [os.path.abspath(p) if "/" in p else p for p in sys.argv[1:5]]
del sys.argv[1:]
GPU = os.path.exists("/proc/driver/nvidia/version")


def lmgen(device, module, **env):
    return subprocess.run(
        [LMGEN, "-m", MODEL, "--device", device, "--prompt-ids", "1 2 3", "--ids", "json", "--max-new", "2",
         "--greedy"],
        env={**os.environ, "LORY_CUDA": module, **env}, capture_output=True, text=True, timeout=60)


class NoGpu(unittest.TestCase):
    def refuses(self, module, words, **env):
        r = lmgen("cuda", module, **env)
        self.assertEqual((r.returncode, r.stdout), (2, ""), r.stderr)
        self.assertIn("--device cuda: ", r.stderr)
        self.assertIn(words, r.stderr)

    def fake(self, folder, code):
        path = os.path.join(folder, "fake.so")
        subprocess.run([CC, "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=code, text=True, check=True)
        return path

    def test_no_module(self):
        self.refuses("/nowhere/liblory_cuda.so", "is not there; this build has no CUDA")

    def test_a_module_that_does_not_open(self):
        with tempfile.NamedTemporaryFile(suffix=".so") as f:
            f.write(b"not a library")
            f.flush()
            self.refuses(f.name, "does not open")

    def test_a_module_of_another_build(self):
        with tempfile.TemporaryDirectory() as folder:
            self.refuses(self.fake(folder, "int lory_cuda_ready(void){return 0;}"), "of another build")
            code = ("const void *lory_cuda_backend(const char *v, unsigned long n){(void)v;(void)n;return 0;}"
                    "int lory_cuda_ready(void){return 0;}")
            self.refuses(self.fake(folder, code), "of another build")

    def test_auto_takes_the_cpu(self):
        cpu, auto = lmgen("cpu", "/nowhere"), lmgen("auto", "/nowhere")
        self.assertEqual((auto.returncode, auto.stdout), (0, cpu.stdout), auto.stderr)

    @unittest.skipIf(GPU or not os.path.exists(MODULE), "needs the module, and no GPU's driver")
    def test_no_driver(self):
        self.refuses(MODULE, "no NVIDIA driver")
        self.assertEqual(lmgen("auto", MODULE).returncode, 0)


if __name__ == "__main__":
    unittest.main()
