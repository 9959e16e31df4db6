"""Models by their address on the Hub: fetched once, the same numbers as from a folder, usable without a network.

usage: test_hub_model.py LMEVAL FOLDER_OF_A_MODEL
"""
import json, os, struct, subprocess, sys, tempfile, unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import server

LMEVAL, MODEL = sys.argv[1:3]
FILES = {n: open(os.path.join(MODEL, n), "rb").read() for n in ("config.json", "generation_config.json", "model.safetensors")}
FILES |= {"training_args.bin": b"\x80pickle", "sub/config.json": b"{}", "README.md": b"# a model\n"}


class Models(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        self.serve(FILES)
        with open(self.dir + "/valid.bin", "wb") as f:
            f.write(struct.pack("<256i", 20240520, 1, 200, *[0] * 253) + struct.pack("<200H", *[i * 7 % 500 for i in range(200)]))

    def serve(self, files):
        self.hub = server.Hub({})
        self.hub.add("model", "me/toy", files)
        self.addCleanup(self.hub.close)

    def loss(self, model, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        env |= {"HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.dir + "/home"} | more
        return subprocess.run([LMEVAL, "loss", "-m", model, "--valid", "valid.bin", "--seq-len", "32", "--json", "-q"],
                              cwd=self.dir, env=env, capture_output=True, text=True)

    def test_fetched_once(self):
        want = self.loss(os.path.abspath(MODEL))
        self.assertEqual(want.returncode, 0, want.stderr)
        for _ in range(2):
            self.hub.reset()
            got = self.loss("hf://me/toy")
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertEqual(json.loads(got.stdout)["loss"], json.loads(want.stdout)["loss"])
            fetched = [p for o, p, *_ in self.hub.log if o == "cdn"]
            self.assertFalse([p for p in fetched if "pickle" in p or "training_args" in p or "sub" in p], fetched)
        self.assertEqual([p for p in fetched if "model.safetensors" in p], [], "fetched again")
        got = self.loss("hf://me/toy", HF_HUB_OFFLINE="1")
        self.assertEqual(got.returncode, 0, got.stderr)

    def test_messages(self):
        r = self.loss("hf://me/toy", HF_HUB_OFFLINE="1")
        self.assertEqual(r.returncode, 5, r.stderr)
        r = self.loss("hf://datasets/me/toy")
        self.assertEqual((r.returncode, "hf://NAMESPACE/NAME" in r.stderr), (2, True), r.stderr)
        r = self.loss("hf://me/other")
        self.assertEqual(r.returncode, 5, r.stderr)
        self.serve({"config.json": b"{}", "pytorch_model.bin": b"\x80"})
        r = self.loss("hf://me/toy")
        self.assertEqual((r.returncode, "pickle" in r.stderr), (3, True), r.stderr)


unittest.main(argv=sys.argv[:1])
