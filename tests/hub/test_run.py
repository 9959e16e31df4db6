"""Runs on the Hub: lmhub push of a run's folder, and lmtrain --push-to with a Hub that fails.

usage: test_run.py HTTP_PROBE LMHUB LMTRAIN
"""
import struct
import unittest

from case import *

LMTRAIN = MORE[0]
SMALL = ["--layers", "1", "--width", "16", "--heads", "1", "--seq-len", "16", "--vocab", "64", "--batch", "2",
         "--device", "cpu", "--threads", "1", "--eval-every", "10", "--save-every", "10"]


class Runs(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = tempfile.mkdtemp(prefix="lory-hub-")
        rng = random.Random(3)
        for name in ("train", "valid"):
            tokens = [rng.randrange(64) for _ in range(2000)]
            with open(f"{cls.data}/{name}.bin", "wb") as f:
                f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack("<2000H", *tokens))
        cls.done = cls.data + "/run"
        r = cls.train(cls.done)
        assert r.returncode == 0, r.stderr.decode()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.data, True)
        super().tearDownClass()

    @classmethod
    def train(cls, out, *more, **env):
        env = {**os.environ, "HF_ENDPOINT": cls.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": cls.data} | env
        return subprocess.run([LMTRAIN, "--train", cls.data + "/train.bin", "--valid", cls.data + "/valid.bin", *SMALL,
                               "--steps", "30", "-o", out, *more], capture_output=True, timeout=120, env=env)

    def setUp(self):
        super().setUp()
        self.hub.repos.pop(("model", "me/m"), None)
        self.hub.objects.clear()
        self.run_dir = self.dir + "/run"
        shutil.copytree(self.done, self.run_dir, symlinks=True)

    def push(self, *args, **env):
        r = self.lmhub("push", self.run_dir, "hf://me/m", "--json", *args, **env)
        return r, json.loads(r.stdout) if r.returncode == 0 else {}

    def repo(self):
        return self.hub.repos[("model", "me/m")]

    def history(self, branch):
        repo, out = self.repo(), []
        sha = repo.refs[branch]
        while sha:
            out.insert(0, (repo.commits[sha]["title"], {n: b for n, (b, _) in repo.commits[sha]["files"].items()}))
            sha = repo.commits[sha]["parent"]
        return out

    def whole(self, branch):
        """The branch has every checkpoint, then the model."""
        h = self.history(branch)
        self.assertEqual([t for t, _ in h], ["initial commit", "step 10", "step 20", "step 30", "final model"])
        for title, files in h[1:4]:
            with open(f"{self.run_dir}/checkpoint-{title[5:]}/model.safetensors", "rb") as f:
                self.assertEqual(files["model.safetensors"], f.read(), title)
        return h[-1][1]

    def test_a_commit_for_each_checkpoint(self):
        r, j = self.push("--run-name", "first")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(j["branch"], "first")
        files = self.whole("first")
        for name in ("config.json", "generation_config.json", "trainer_state.json", "metrics.jsonl", "all_results.json"):
            self.assertIn(name, files)
        self.assertTrue([n for n in files if n.startswith("runs/events.out.tfevents.")])
        self.assertFalse([n for n in files if "optimizer" in n or n == "state.json" or n.startswith(".") or n == "config.yaml"])
        card = files["README.md"].decode()
        for word in ("library_name: transformers", "# m\n", "1 layers, width 16", "| lr | 0.0005 |", "| 30 | 960 |"):
            self.assertIn(word, card)
        self.assertNotIn(self.dir, card, "no path of this machine")
        self.assertFalse([n for n in os.listdir(self.run_dir) if ".tmp-" in n])
        self.assertEqual(self.push()[1]["commits"], 0)
        r = self.lmhub("merge", "hf://me/m", "first")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.history("main")[-1][1], files)

    def test_a_model_by_its_name(self):
        """What was pushed generates, and is in the cache afterwards."""
        self.push("--run-name", "b")
        lmgen = [os.path.join(os.path.dirname(LMTRAIN), "lmgen"), "-q", "-m", "hf://me/m@b", "--prompt-ids", "1 2 3",
                 "--max-new", "3", "--greedy", "--no-stop", "--ids", "json", "--device", "cpu"]
        first = self.run_(lmgen)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.hub.log.clear()
        again = self.run_(lmgen, HF_HUB_OFFLINE="1")
        self.assertEqual(again.stdout, first.stdout, again.stderr)
        self.assertEqual(self.hub.log, [])

    def test_additional_chat_templates_were_left_behind(self):
        """They go up with each model that has them, and come back with it."""
        name = "additional_chat_templates/rag.jinja"
        for where in ("checkpoint-10", "."):
            os.mkdir(f"{self.run_dir}/{where}/{os.path.dirname(name)}")
            with open(f"{self.run_dir}/{where}/{name}", "w") as f:
                f.write(where)
        r, _ = self.push("--run-name", "b")
        self.assertEqual(r.returncode, 0, r.stderr)
        pushed = {title: files.get(name) for title, files in self.history("b")}
        self.assertEqual((pushed["step 10"], pushed["final model"]), (b"checkpoint-10", b"."))
        self.assertFalse([n for n in os.listdir(self.run_dir) if ".tmp-" in n])
        r = self.run_([os.path.join(os.path.dirname(LMTRAIN), "lmgen"), "-q", "-m", "hf://me/m@b", "--prompt-ids", "1",
                       "--max-new", "1", "--greedy", "--no-stop", "--ids", "json", "--device", "cpu"])
        self.assertEqual(r.returncode, 0, r.stderr)
        got = [folder for folder, _, files in os.walk(self.dir) if "rag.jinja" in files and self.run_dir not in folder]
        self.assertEqual(len(got), 1, got)

    def test_the_name_is_made_once(self):
        name = self.push()[1]["branch"]
        self.assertRegex(name, r"^[a-z]+-[a-z]+-\d+$")
        self.assertEqual(self.push()[1]["branch"], name)
        self.assertEqual(sorted(self.repo().refs), sorted(["main", name]))
        self.assertEqual(self.push("--run-name", "other")[1]["branch"], "other")

    def test_stopped_and_gone_on(self):
        """Which commits there are is read off the branch."""
        self.hub.reset({"path": "/preupload/", "method": "POST", "do": "none"},
                       {"path": "/preupload/", "method": "POST", "do": "status", "code": 403})
        self.fails(self.push("--run-name", "b")[0], 5, "does not permit")
        self.assertEqual([t for t, _ in self.history("b")], ["initial commit", "step 10"])
        self.hub.reset()
        self.assertEqual(self.push()[0].returncode, 0)
        self.whole("b")

    def test_pushed_from_elsewhere_meanwhile(self):
        """Another machine pushes the same run between our look at the branch and our commit: nothing is there twice."""
        there = self.dir + "/there/run"
        shutil.copytree(self.done, there, symlinks=True)
        other = []
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "call", "call": lambda: other.append(
            self.lmhub("push", there, "hf://me/m", "--run-name", "b"))})
        r, j = self.push("--run-name", "b")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(other[0].returncode, 0, other[0].stderr)
        self.assertEqual(j["commits"], 0)
        self.whole("b")

    def test_two_pushes_of_one_folder(self):
        """A trainer that was killed leaves its push running; the next one's waits for it and finds everything there."""
        self.hub.reset(*[{"path": "/preupload/", "method": "POST", "do": "think", "seconds": 0.5}] * 2)
        command = [LMHUB, "push", self.run_dir, "hf://me/m", "--run-name", "live"]
        env = {**os.environ, "HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.data}
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) for _ in range(3)]
        for p in both:
            _, said = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 0, said)
        self.whole("live")
        asked = [path for _, path, _, _, method in self.hub.log if method == "POST" and path.endswith("/objects/batch")]
        self.assertEqual(len(asked), 4, "contents are sent once")

    def test_a_damaged_checkpoint_is_left_out(self):
        with open(self.run_dir + "/checkpoint-20/model.safetensors", "r+b") as f:
            f.seek(-1, 2)
            f.write(b"\x55")
        r, j = self.push("--run-name", "b")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"step 20", r.stderr)
        self.assertEqual([t for t, _ in self.history("b")], ["initial commit", "step 10", "step 30", "final model"])

    def test_a_card_of_ones_own_stays(self):
        self.hub.add("model", "me/m", {"README.md": b"# mine\n"})
        r, _ = self.push("--run-name", "b")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.whole("b")["README.md"], b"# mine\n")

    def test_while_training(self):
        """The Hub stumbles; the run is the same bit for bit, and everything arrives."""
        shutil.rmtree(self.run_dir)
        self.hub.reset({"path": "/revision/", "do": "status", "code": 503},
                       {"path": "/commit/", "method": "POST", "do": "lost"},
                       {"at": "cdn", "path": "/upload/", "do": "hangup", "byte": 100})
        r = self.train(self.run_dir, "--push-to", "hf://me/m", "--run-name", "live")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.whole("live")
        for step in (10, 20, 30):
            name = f"/checkpoint-{step}/model.safetensors"
            with open(self.run_dir + name, "rb") as a, open(self.done + name, "rb") as b:
                self.assertEqual(a.read(), b.read())
        self.assertIn(b"branch live", r.stderr)

    def test_killed_while_pushing(self):
        """kill -9 at any moment, also of a save or a push: the next start trains and pushes on, nothing is there twice."""
        shutil.rmtree(self.run_dir)
        rng = random.Random(7)
        command = [LMTRAIN, "--train", self.data + "/train.bin", "--valid", self.data + "/valid.bin", *SMALL, "--steps", "30",
                   "-o", self.run_dir, "--push-to", "hf://me/m", "--run-name", "live"]
        env = {**os.environ, "HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.data}
        for _ in range(8):
            p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
            time.sleep(rng.uniform(0, 0.25))
            p.kill()
            p.wait()
        r = self.train(self.run_dir, "--push-to", "hf://me/m", "--run-name", "live")
        self.assertEqual(r.returncode, 0, r.stderr)
        for step in (10, 20, 30):
            name = f"/checkpoint-{step}/model.safetensors"
            with open(self.run_dir + name, "rb") as a, open(self.done + name, "rb") as b:
                self.assertEqual(a.read(), b.read())
        self.whole("live")
        with open(self.run_dir + "/metrics.jsonl") as f:
            self.assertEqual([x["step"] for x in map(json.loads, f) if "loss" in x], list(range(1, 31)))

    def test_a_hub_that_is_away(self):
        shutil.rmtree(self.run_dir)
        r = self.train(self.run_dir, "--push-to", "hf://me/m", "--push-wait", "1s", HF_ENDPOINT="http://127.0.0.1:9")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"not everything was pushed; lmhub push", r.stderr)

    def test_a_token_that_is_none(self):
        shutil.rmtree(self.run_dir)
        r = self.train(self.run_dir, "--push-to", "hf://me/m", "--push-wait", "3s", HF_TOKEN="hf_wrong")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(b"token is not valid", r.stderr)
        self.assertNotIn(b"hf_wrong", r.stderr)

    def test_a_run_that_was_refused_had_been_pushed(self):
        """Options that the folder's run does not have: exit 2 before anything goes to the Hub."""
        r = self.train(self.run_dir, "--lr", "1e-3", "--push-to", "hf://me/m", "--run-name", "live")
        self.assertEqual(r.returncode, 2, r.stderr)
        self.assertIn(b"lr", r.stderr)
        self.assertEqual(self.hub.log, [])
        self.assertNotIn(("model", "me/m"), self.hub.repos)
        self.assertNotIn(b"push", r.stderr)
        r = self.train(self.run_dir, "--push-to", "hf://me/m", "--run-name", "live")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.whole("live")

    def test_nonsense_is_said_at_once(self):
        for target in ("me/m", "hf://datasets/me/m", "hf://me/m/folder"):
            r = self.train(self.run_dir, "--push-to", target)
            self.assertEqual(r.returncode, 2, r.stderr)
            self.assertIn(b"--push-to", r.stderr)


if __name__ == "__main__":
    unittest.main()
