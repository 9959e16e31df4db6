"""--device cuda where there is no GPU to be had: each reason has its own words and exit code 2, and
--device auto takes the CPU. The module of this build is tried too, if it has been made."""
import os
import struct
import subprocess
import sys
import tempfile
import unittest

LMGEN, MODULE, MODEL, CC = [os.path.abspath(p) if "/" in p else p for p in sys.argv[1:5]]
del sys.argv[1:]
GPU = os.path.exists("/proc/driver/nvidia/version")

# A driver as far as CUDA's runtime asks when it looks for GPUs: it is for FAKE_CUDA, and sees none.
DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuDriverGetVersion(int *version) { *version = atoi(getenv("FAKE_CUDA")); return 0; }
int cuInit(unsigned flags) { (void)flags; return 100; /* CUDA_ERROR_NO_DEVICE */ }
int cuGetProcAddress_v2(const char *name, void **ret, int version, unsigned long flags, int *status) {
    (void)version; (void)flags;
    if (status) *status = 0;
    *ret = !strcmp(name, "cuDriverGetVersion") ? (void *)cuDriverGetVersion
           : !strncmp(name, "cuGetProcAddress", 16) ? (void *)cuGetProcAddress_v2 : (void *)cuInit;
    return 0;
}
int cuGetProcAddress(const char *name, void **ret, int version, unsigned long flags) {
    return cuGetProcAddress_v2(name, ret, version, flags, NULL);
}
"""


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

    def fake(self, folder, code, name="fake.so"):
        path = os.path.join(folder, name)
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

    @unittest.skipIf(GPU or not os.path.exists(MODULE), "needs the module, and no GPU's driver")
    def test_drivers_that_do_not_do(self):
        with tempfile.TemporaryDirectory() as folder:
            self.fake(folder, DRIVER, "libcuda.so.1")
            old, new = [dict(LD_LIBRARY_PATH=folder, FAKE_CUDA=v) for v in ("11080", "99000")]
            self.refuses(MODULE, "the NVIDIA driver is for CUDA 11.8, and this build needs ", **old)
            self.refuses(MODULE, "no GPU to be seen; is CUDA_VISIBLE_DEVICES right?", **new)
            self.assertEqual(lmgen("auto", MODULE, **new).returncode, 0)

    def test_every_program_says_it(self):
        tools = os.path.dirname(LMGEN)
        with tempfile.TemporaryDirectory() as folder:
            for split in "train", "val":  # llm.c's header and 100 ids
                with open(os.path.join(folder, f"x_{split}_0.bin"), "wb") as f:
                    f.write(struct.pack("<3i", 20240520, 1, 100).ljust(1024, b"\0") + bytes(200))
            for program, *flags in (["lmtrain", "--train", folder], ["lmeval", "loss", "-m", MODEL, "--valid", folder]):
                r = subprocess.run([os.path.join(tools, program), *flags, "--device", "cuda"], cwd=folder, text=True,
                                   env={**os.environ, "LORY_CUDA": "/nowhere/m.so"}, capture_output=True, timeout=60)
                self.assertEqual((r.returncode, r.stdout), (2, ""), r.stderr)
                self.assertIn("--device cuda: /nowhere/m.so is not there", r.stderr)
            self.assertEqual(len(os.listdir(folder)), 2)


if __name__ == "__main__":
    unittest.main()
