"""lmtrain's options as a user meets them: what they come to, what is refused and how; lmreport on what it left.
Usage: test_lmtrain.py FOLDER_OF_PROGRAMS FOLDER_OF_TEXT"""
import gzip, json, os, re, resource, shutil, socket, struct, subprocess, sys, tempfile, unittest

TOOLS, TEXT = map(os.path.abspath, sys.argv[1:3])
DIR = tempfile.mkdtemp(prefix="lory-lmtrain-")
SMALL = ["--layers", "1", "--width", "16", "--heads", "2", "--batch", "2", "--device", "ref", "-q"]


def run(program, *args, limit=None, **env):
    def lower():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return subprocess.run([os.path.join(TOOLS, program), *args], cwd=DIR, capture_output=True, text=True,
                          preexec_fn=lower if limit else None, env={**os.environ, "NO_COLOR": "1", **env})


def path(*names):
    return os.path.join(DIR, *names)


def read(name):
    with open(path(name), "rb") as f:
        return f.read()


def write_json(name, what):
    with open(path(name), "w") as f:
        json.dump(what, f)


def shards(name, tokens):
    with open(path(name), "wb") as f:
        f.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens))


class Lmtrain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.mkdir(path("corpus"))
        for name in sorted(n for n in os.listdir(TEXT) if n.endswith(".gz")):  # a little of the tiny corpus
            with gzip.open(os.path.join(TEXT, name), "rt", encoding="utf-8") as f, open(path("corpus", name[:-3]), "w") as to:
                to.writelines([line for line in f if len(line) < 2000][:12])
        for cmd in (["bpe-train", "--vocab", "300", "--special", "<pad>", "-q"], ["shard", "--seq-len", "16", "-q"]):
            p = run(*cmd)
            assert p.returncode == 0, p.stderr
        shards("llmc.bin", [i * 7 % 250 for i in range(3000)])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(DIR)

    def ok(self, *args, **more):
        p = run(*args, **more)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout

    def plan(self, *args):
        return json.loads(self.ok("lmtrain", "--train", "llmc.bin", "--dry-run", "-q", *args))

    def refused(self, code, says, *args, **more):
        p = run("lmtrain", *args, **more)
        self.assertEqual(p.returncode, code, p.stderr)
        self.assertIn(says, p.stderr)

    def test_sizes(self):
        for model, millions in (("gpt2", 111.0), ("gpt2-xl", 1529.6)):
            p = self.plan("--model", model, "--from-scratch", "--vocab", "32768", "--positions", "1024", "--seq-len", "8", "--force")
            self.assertEqual(round(p["parameters"] / 1e6, 1), millions)
            self.assertEqual(p["moments_bytes"], 8 * p["parameters"])
        for model in ("gpt2-medium", "gpt2-large", "d6", "d12", "d24", "d36", "d48"):
            self.assertEqual(self.plan("--model", model, "--from-scratch")["layers"] % 6, 0)
        p = self.plan("--layers", "3", "--width", "48", "--heads", "4", "--inner", "50", "--no-tied")
        self.assertEqual((p["layers"], p["width"], p["heads"], p["inner"]), (3, 48, 4, 50))

    def test_a_best_evaluation_that_was_no_number(self):
        small = ["--train", "llmc.bin", "--valid", "llmc.bin", "--seq-len", "8", "--layers", "1", "--width", "8", "--heads", "1"]
        self.refused(2, "--beta1: 1 is more than", *small, "--beta1", "1")
        self.refused(8, "nothing was saved before", *small, "--steps", "3", "--batch", "2", "--lr", "1e30", "-o", "lost")
        report = json.loads(self.ok("lmreport", "lost", "--json"))
        self.assertEqual((report["runs"][0].get("best_step"), report["runs"][0].get("best_eval_loss")), (0, None), report)

    def test_the_best_evaluation_was_saved_nowhere(self):
        """trainer_state.json named the last save as the best, with a better one in its own log_history."""
        shards("learnt.bin", [i % 3 for i in range(3000)])
        shards("other.bin", [100 + i % 7 for i in range(100)])  # gets worse from the first evaluation on
        args = ["--train", "learnt.bin", "--valid", "other.bin", "--seq-len", "8", "--steps", "40", "--lr", "1e-2", "--warmup", "0",
                "--eval-every", "2", "--patience", "3", "--keep", "1", "--vocab", "256", *SMALL]
        self.ok("lmtrain", *args, "-o", "best")
        state = json.loads(read("best/trainer_state.json"))
        losses = {x["step"]: x["eval_loss"] for x in state["log_history"] if "eval_loss" in x}
        step = min(losses, key=losses.get)
        self.assertNotEqual(step, max(losses))
        self.assertEqual((state["best_global_step"], state["best_metric"]), (step, losses[step]))
        self.assertEqual(os.readlink(path("best", "best")), f"checkpoint-{step}")
        self.assertEqual(len([n for n in os.listdir(path("best")) if n.startswith("checkpoint-")]), 2)
        args.remove("-q")
        for more, said in ((), False), (("--no-save-best",), True), (("--no-save-best", "--save-every", "1"), False):
            self.assertEqual("evaluations between two saves" in run("lmtrain", *args, *more, "--dry-run").stderr, said, more)

    def test_a_glob_of_shards(self):
        """--train shards/train-*.bin: all but the first were unexpected."""
        for name in "ab":
            shards(f"glob-{name}.bin", [i % 7 for i in range(100)])
        said = run("lmtrain", "--train", "glob-a.bin", "glob-b.bin", "--valid", "glob-a.bin", "glob-b.bin", "--dry-run",
                   "--seq-len", "8", "--layers", "1", "--width", "8", "--heads", "1", "--vocab", "256")
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertIn(" in 24 windows of 8", said.stderr)
        self.refused(2, 'unexpected "glob-b.bin"', "--train", "glob-a.bin", "--seq-len", "8", "glob-b.bin")
        p = run("lmeval", "bigram", "--train", "glob-a.bin", "glob-b.bin", "--valid", "glob-a.bin", "--json")
        self.assertEqual((p.returncode, json.loads(p.stdout)["train_tokens"]), (0, 200), p.stderr)
        p = run("lmeval", "bigram", "glob-a.bin")
        self.assertEqual(p.returncode, 2)
        self.assertIn('unexpected "glob-a.bin"', p.stderr)

    def test_units_that_can_be_read(self):
        said = run("lmtrain", "--train", "llmc.bin", "--dry-run", "--layers", "1", "--width", "8", "--heads", "1", "--seq-len", "8").stderr
        self.assertIn("lmtrain: 2992 tokens in 374 windows of 8", said)
        self.assertRegex(said, r"memory: \d+\.\d\d MB weights .* = \d+\.\d\d MB of [\d.]+ GB free")
        self.refused(2, "that is the least", "--train", "llmc.bin", "--seq-len", "8", "--batch", "2", "--batch-tokens", "8")

    def with_last_gain(self, name, gain):
        """A new model whose last LayerNorm multiplies by `gain`, in the folder NAME-model."""
        self.ok("lmtrain", "--train", "llmc.bin", "--steps", "0", "-o", name, "--seq-len", "8", *SMALL)
        weights = path(name, "checkpoint-0", "model.safetensors")
        data = bytearray(read(weights))
        n = struct.unpack_from("<Q", data)[0]
        begin, end = json.loads(data[8:8 + n])["transformer.ln_f.weight"]["data_offsets"]
        data[8 + n + begin:8 + n + end] = struct.pack("<f", gain) * ((end - begin) // 4)
        os.makedirs(path(name + "-model"))
        with open(path(name + "-model", "model.safetensors"), "wb") as f:
            f.write(data)
        shutil.copy(path(name, "checkpoint-0", "config.json"), path(name + "-model"))

    def test_a_model_that_diverged_is_no_result(self):
        """lmeval printed "loss nan", or null as JSON, and exited 0; lmgen says what it is."""
        self.with_last_gain("lost", float("nan"))
        for more in [], ["--json"], ["--stride", "4"]:
            p = run("lmeval", "loss", "-m", "lost-model", "--valid", "llmc.bin", "--seq-len", "8", "--device", "ref", *more)
            self.assertEqual((p.returncode, p.stdout), (6, ""), p.stderr)
            self.assertIn("the loss is not finite", p.stderr)

    def test_a_perplexity_that_overflows(self):
        """A loss may be larger than the exponential can be: infinite, which JSON has no number for, and no error."""
        self.with_last_gain("huge", 1e6)
        args = ("-m", "huge-model", "--valid", "llmc.bin", "--seq-len", "8", "--device", "ref")
        got = json.loads(self.ok("lmeval", "loss", *args, "--json"))
        self.assertGreater(got["loss"], 710)
        self.assertIsNone(got["perplexity"])
        self.assertIn("perplexity inf", self.ok("lmeval", "loss", *args))
        self.ok("lmtrain", "--model", "huge-model", "--train", "llmc.bin", "--valid", "llmc.bin", "--seq-len", "8", "--steps", "1",
                "--lr", "0", "-o", "huge-run", "--device", "ref", "--batch", "2", "-q")
        last = json.loads(read("huge-run/metrics.jsonl").splitlines()[-1])
        self.assertIsNone(last["perplexity"])
        self.assertGreater(json.loads(read("huge-run/eval_results.json"))["eval_loss"], 710)

    def test_a_plan_that_could_never_fit_was_tried(self):
        """It drew weights for a minute, and then gave the need of its own batch as that of --batch 1."""
        shape = ["--layers", "1000", "--width", "16384", "--heads", "16", "--seq-len", "8"]
        least = self.plan(*shape, "--batch", "1")["memory_bytes"] / 1e9
        self.refused(7, f"not even --batch 1 fits ({least:.2f} GB of ", "--train", "llmc.bin", *shape, "--batch", "9", "-o", "never")
        self.refused(7, "is the largest that fits in ", "--train", "llmc.bin", "--layers", "2", "--width", "1024", "--heads", "4",
                     "--seq-len", "1024", "--batch", "500000", "-o", "never")
        self.assertFalse(os.path.exists(path("never")))

    def test_the_largest_batch_fits(self):
        p = self.plan("--batch", "1")
        free, largest = p["memory_available"], p["largest_batch"]
        at = lambda batch: self.plan("--batch", str(batch))["memory_bytes"]
        self.assertEqual(p["memory_bytes"], sum(p[k + "_bytes"] for k in (
            "weights", "gradients", "moments", "copies", "activations", "workspace")))
        self.assertGreater(largest, 1)
        self.assertLess(at(largest), free)
        self.assertGreater(at(largest + largest // 20 + 1), free)

    def test_what_does_not_fit_says_what_would(self):
        args = ("--train", "llmc.bin", "--layers", "2", "--width", "256", "--heads", "4", "--batch", "200000", "--steps", "2",
                "--seq-len", "8", "--device", "cpu", "--dtype", "fp32", "--threads", "1", "--force", "-o", "large")
        p = run("lmtrain", *args, limit=4 << 30)
        self.assertEqual(p.returncode, 7, p.stderr)
        self.assertRegex(p.stderr, r"(activations of 1600000 positions|--batch 200000 needs).*--batch [0-9]+ is the largest that fits")

    def test_recipes(self):
        p = self.plan("--recipe", "codeparrot")
        self.assertEqual((p["layers"], p["width"], p["steps"], p["warmup"]), (48, 1600, 50000, 750))
        self.assertEqual(p["tokens_per_step"], 32 * p["seq_len"])
        p = self.plan("--recipe", "codeparrot-small", "--steps", "10")
        self.assertEqual((p["steps"], p["warmup"]), (10, 2000))
        p = self.plan("--recipe", "llmc", "--batch-tokens", "8192", "--seq-len", "64", "--batch", "4")
        self.assertEqual(p["tokens_per_step"], 8192)

    def test_types(self):
        for name, want in (("float32", "fp32"), ("fp32", "fp32"), ("bfloat16", "bf16"), ("torch.bfloat16", "bf16")):
            self.assertEqual(self.plan("--dtype", name)["dtype"], want)
        self.assertEqual(self.plan("--no-record", "--dtype", "fp32")["dtype"], "fp32")
        self.refused(2, "half precision", "--train", "llmc.bin", "--dtype", "float16")
        self.refused(2, "none of auto, fp32, bf16", "--train", "llmc.bin", "--dtype", "fp23")

    def ranks(self, size, *args):
        """Starts lmtrain as a launcher would; the exit codes and what rank 0 said."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        started = []
        for rank in range(size):
            env = dict(os.environ, WORLD_SIZE=str(size), RANK=str(rank), LOCAL_RANK=str(rank), MASTER_PORT=str(port))
            started.append(subprocess.Popen([os.path.join(TOOLS, "lmtrain"), *args], cwd=DIR, env=env, text=True,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        said = [p.communicate(timeout=120) for p in started]
        return [p.returncode for p in started], said

    def test_ranks_train_one_run(self):
        """Two ranks of torchrun each trained all of the run, into one folder."""
        args = ("--train", "llmc.bin", "--steps", "4", "--batch", "4", "--seq-len", "8", "--threads", "1", "--force",
                "--device", "cpu", "--dropout", "0.1", "--layers", "2", "--width", "16", "--heads", "2")
        self.ok("lmtrain", *args, "-o", "one")
        codes, said = self.ranks(3, *args, "-o", "three")
        self.assertEqual(codes, [0, 0, 0], said)
        self.assertIn("3 ranks, over tcp", said[0][1])
        self.assertEqual(said[1:], [("", ""), ("", "")])
        one, three = ([json.loads(line) for line in read(d + "/metrics.jsonl").splitlines()] for d in ("one", "three"))
        self.assertEqual(len(three), len(one))
        for a, b in zip(one, three):
            self.assertEqual((a["step"], a["tokens"], a["lr"]), (b["step"], b["tokens"], b["lr"]))
            self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-5)
            self.assertAlmostEqual(a["grad_norm"], b["grad_norm"], delta=1e-4)

    def test_ranks_that_make_no_sense(self):
        for env, says in (({"WORLD_SIZE": "2"}, "RANK is not set"), ({"WORLD_SIZE": "2", "RANK": "2"}, "from 0 to 1"),
                          ({"PMI_SIZE": "two"}, 'PMI_SIZE is "two"'),
                          ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_NODES": "2"}, "MASTER_ADDR"),
                          ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
                           "MASTER_ADDR")):
            self.refused(2, says, "--train", "llmc.bin", "--dry-run", **env)
        self.ok("lmtrain", "--train", "llmc.bin", "--dry-run", "-q", WORLD_SIZE="1")

    def test_ids_come_from_the_tokenizer(self):
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "ids", *SMALL)
        c = json.loads(read("ids/checkpoint-0/config.json"))
        self.assertEqual((c["bos_token_id"], c["eos_token_id"], c["pad_token_id"]), (0, 0, None))
        shutil.copytree(path("shards/tokenizer"), path("tok2"))
        f = "tok2/tokenizer_config.json"
        config = {**json.loads(read(f)), "pad_token": "<pad>", "bos_token": None}
        write_json(f, config)
        self.ok("lmtrain", "--train", "shards", "-t", "tok2", "--steps", "0", "-o", "ids2", *SMALL)
        c = json.loads(read("ids2/config.json"))
        self.assertEqual((c["bos_token_id"], c["eos_token_id"], c["pad_token_id"]), (None, 0, 1))
        write_json(f, {**config, "pad_token": "<nothing>"})
        self.refused(2, "is not the tokenizer", "--train", "shards", "-t", "tok2", "--steps", "0", "-o", "no", *SMALL)
        self.ok("bpe-train", "--vocab", "299", "-o", "tok3", "-q")
        self.refused(2, "is not the tokenizer", "--train", "shards", "-t", "tok3", "--steps", "0", "-o", "no", *SMALL)
        self.ok("lmtrain", "--train", "llmc.bin", "--vocab", "60000", "--steps", "0", "-o", "ids3", *SMALL)
        self.assertIsNone(json.loads(read("ids3/config.json"))["eos_token_id"], "50256 by habit")

    def test_config_yaml_is_the_run(self):
        self.ok("lmtrain", "--train", "shards", "--valid", "shards", "--epochs", ".001", "--eval-steps", "2", "--spike", "9",
                "--freeze", "wpe.*", "--inner", "20", "-o", "y1", *SMALL)
        self.ok("lmtrain", "--config", "y1/config.yaml", "-o", "y2", "-q")
        for a, b in (("y1", "y2"), ("y3", "y4")):
            if a == "y3":  # and one that goes on from weights
                self.ok("lmtrain", "--model", "y1", "--train", "shards", "--steps", "2", "-o", "y3", *SMALL[6:])
                self.ok("lmtrain", "--config", "y3/config.yaml", "-o", "y4", "-q")
            self.assertTrue(read(a + "/model.safetensors") == read(b + "/model.safetensors"), (a, b))
        self.refused(2, "--layers is for a new model", "--model", "y1", "--train", "shards", "--layers", "2", "-o", "no")

    def test_more_steps_changed_the_default_warmup(self):
        """A tenth of the run, and so other options, where nobody had said anything of a warmup."""
        more = ["--train", "shards", "-o", "w", *SMALL]
        self.ok("lmtrain", "--steps", "30", *more)
        self.ok("lmtrain", "--steps", "50", *more)
        self.assertEqual(json.loads(read("w/last/trainer_state.json"))["global_step"], 50)
        self.assertIn("warmup: 3\n", read("w/config.yaml").decode())
        self.refused(2, "warmup was 3, now 5", "--steps", "60", "--warmup", "5", *more)
        self.refused(2, "lr was 0.0005, now 0.1", "--steps", "60", "--lr", "0.1", *more)

    def test_a_list_of_ends_became_its_first(self):
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "ends", *SMALL)
        c = json.loads(read("ends/checkpoint-0/config.json"))
        write_json("ends/checkpoint-0/config.json", {**c, "eos_token_id": [0, 7, 9]})
        self.ok("lmtrain", "--model", path("ends/checkpoint-0"), "--train", "shards", "--steps", "1", "-o", "ends2", "-q")
        self.assertEqual(json.loads(read("ends2/config.json"))["eos_token_id"], [0, 7, 9])

    def test_how_a_model_generates_was_forgotten(self):
        """transformers keeps generation_config.json through fine-tuning; here it was made anew."""
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "how", *SMALL)
        how = {"eos_token_id": [0, 5], "do_sample": True, "top_k": 40, "temperature": 0.6}
        write_json("how/checkpoint-0/generation_config.json", how)
        for begin, run in (("how/checkpoint-0", "how2"), ("how2", "how3")):
            self.ok("lmtrain", "--model", path(begin), "--train", "shards", "--steps", "1", "-o", run, "-q")
            self.assertEqual(json.loads(read(run + "/generation_config.json")), how)
        self.assertEqual(json.loads(read("how3/config.json"))["eos_token_id"], 0)

    def test_additional_chat_templates_were_lost(self):
        """As transformers writes several: they go along to the shards, the checkpoints and the finished run."""
        folder = "additional_chat_templates"
        shutil.copytree(path("tok"), path("chatty"))
        os.mkdir(path("chatty", folder))
        for name in ("chat_template.jinja", folder + "/rag.jinja"):
            with open(path("chatty", name), "w") as f:
                f.write("{{ %s }}" % name)
        self.ok("shard", "-t", "chatty", "-o", "chatty-shards", "--seq-len", "16", "-q")
        self.ok("lmtrain", "--train", "chatty-shards", "--steps", "1", "--save-every", "1", "-o", "chatty-run", *SMALL)
        self.ok("tokenize", "convert", "-t", "chatty-run/checkpoint-1", "-o", "chatty-again", "-q")
        for where in ("chatty-shards/tokenizer", "chatty-run/checkpoint-1", "chatty-run", "chatty-again"):
            for name in ("chat_template.jinja", folder + "/rag.jinja"):
                self.assertEqual(read(f"{where}/{name}"), read(f"chatty/{name}"))
        self.assertIn(folder + "/rag.jinja", json.loads(read("chatty-run/checkpoint-1/manifest.json"))["files"])

    def test_the_last_windows_of_an_epoch_were_left_out(self):
        """374 windows of 8: a pass of 31 steps of 12 saw 372 of them."""
        for epochs, batch, want in (("1", "12", 32), ("1", "11", 34), ("2", "12", 63), (".001", "12", 1), (".5", "11", 17)):
            self.assertEqual(self.plan("--seq-len", "8", "--epochs", epochs, "--batch", batch)["steps"], want, (epochs, batch))
        self.ok("lmtrain", "--train", "llmc.bin", "--seq-len", "8", "--epochs", "1", "-o", "pass", *SMALL, "--batch", "100")
        state = json.loads(read("pass/trainer_state.json"))
        self.assertEqual((state["global_step"], state["max_steps"], state["num_train_epochs"]), (4, 4, 1))

    def test_warmup_as_a_share(self):
        """As transformers' warmup_steps: below 1 it is a share of the run, rounded up."""
        for share, steps, want in (("0.03", "100", 3), ("0.03", "101", 4), ("0", "100", 0), ("0.5", "1", 1), ("7", "100", 7)):
            self.assertEqual(self.plan("--steps", steps, "--warmup", share)["warmup"], want, (share, steps))

    def test_a_constant_rate_was_warmed_up(self):
        """For transformers and llm.c constant is constant; here a tenth of the run was a warmup."""
        for more, want in ((["constant"], 0), (["constant_with_warmup"], 10), (["constant", "--warmup", "5"], 5),
                           (["constant", "--recipe", "llmc"], 0), (["cosine"], 10)):
            self.assertEqual(self.plan("--steps", "100", "--seq-len", "64", "--schedule", *more)["warmup"], want, more)

    def test_shards_of_another_tokenizer_were_learnt(self):
        """Its ids are in range; the weights were taught another language in silence."""
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "ours", *SMALL)
        self.ok("bpe-train", "--vocab", "299", "-o", "tok4", "-q")
        self.ok("shard", "--seq-len", "16", "-t", "tok4", "-o", "shards4", "-q")
        args = ("--model", "ours", "--train", "shards4", "--steps", "1", "-q")
        self.refused(2, 'token 1 is "<pad>" for ours, but "!" for shards4/tokenizer; encode the texts with shard -t ours; '
                        "or, if it is meant, give -t shards4/tokenizer", *args, "-o", "no")
        self.ok("lmtrain", *args, "-t", "shards4/tokenizer", "-o", "meant")
        told = run("lmeval", "loss", "-m", "ours", "--valid", "shards4").stderr
        self.assertIn('warning: token 1 is "<pad>" for ours', told)
        self.assertNotIn("warning", run("lmeval", "loss", "-m", "ours", "--valid", "shards").stderr)
        shutil.copytree(path("shards/tokenizer"), path("more"))  # a token more does no harm
        t = json.loads(read("more/tokenizer.json"))
        t["added_tokens"].append({**t["added_tokens"][0], "id": 300, "content": "<more>"})
        write_json("more/tokenizer.json", t)
        shutil.copytree(os.path.realpath(path("ours/last")), path("more-model"))
        shutil.copy(path("more/tokenizer.json"), path("more-model/tokenizer.json"))
        self.ok("lmtrain", "--model", "more-model", "--train", "shards", "--steps", "1", "-q", "-o", "more-run")

    def test_one_tokenizer_was_read_twice(self):
        """Beside the model and beside the shards lies the same file: nothing in it is asked for. Here it could not be
        read; two such files that differ still have to be."""
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "same", *SMALL)
        model, beside = os.path.realpath(path("same/last")), path("same-shards")
        shutil.copytree(path("shards"), beside)
        for where in (model, beside + "/tokenizer"):
            with open(where + "/tokenizer.json", "w") as f:
                f.write('{"model": {"type": "WordPiece"}}')
        self.ok("lmtrain", "--model", model, "--train", beside, "--steps", "1", "--dry-run", "-q")
        with open(model + "/tokenizer.json", "a") as f:
            f.write("\n")
        self.refused(6, "WordPiece", "--model", model, "--train", beside, "--steps", "1", "--dry-run", "-q")

    def test_a_slash_made_another_model(self):
        """The shell completes base to base/, and the run was refused: it had been made with another model."""
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "base", *SMALL)
        for steps, name in (("1", "base"), ("2", "base/"), ("3", "./base"), ("4", path("base"))):
            self.ok("lmtrain", "--model", name, "--train", "shards", "--steps", steps, "-o", "on-base", "-q")
        shutil.copytree(path("base"), path("base2"))
        self.refused(2, 'model was ', "--model", "base2", "--train", "shards", "--steps", "5", "-o", "on-base", "-q")
        self.refused(2, "nor is there a folder of that name", "--model", "base3", "--train", "shards", "-o", "no")

    def test_what_has_no_effect_is_said(self):
        self.refused(2, "--patience 2 counts evaluations", "--train", "llmc.bin", "--patience", "2", "--dry-run")
        said = lambda *more: run("lmtrain", "--train", "llmc.bin", "--dry-run", "--seq-len", "8", "--steps", "9", *more).stderr
        self.assertIn("the rate never comes to --lr 0.0005", said("--warmup", "9"))
        self.assertNotIn("never comes", said("--warmup", "8"))

    def test_the_shards_length_was_called_an_option(self):
        self.ok("lmtrain", "--train", "shards", "--seq-len", "8", "--steps", "0", "-o", "eight", *SMALL)
        self.refused(2, "the shards' sequence length 16 is more than the 8 positions of eight; --seq-len 8 is the most",
                     "--model", "eight", "--train", "shards", "-o", "no")
        p = run("lmeval", "loss", "-m", "eight", "--valid", "shards")
        self.assertIn("sequence length 16 is more than the 8 positions", p.stderr)

    def test_a_configuration_that_lies_costs_nothing(self):
        self.ok("lmtrain", "--train", "shards", "--steps", "0", "-o", "lie", *SMALL)
        d = path("lie/checkpoint-0")
        c = json.loads(read("lie/checkpoint-0/config.json"))
        for change in ({"n_layer": 1000, "n_embd": 65536, "n_head": 1}, {"vocab_size": 16777216, "n_embd": 65536},
                       {"n_inner": 500000}, {"n_positions": 1048576}, {"tie_word_embeddings": False}):
            write_json("lie/checkpoint-0/config.json", {**c, **change})
            self.refused(6, "model.safetensors", "--model", d, "--train", "shards", "-o", "no", "--force", limit=2 << 30)
            self.assertFalse(os.path.exists(path("no")))

    def test_export_to_llmc(self):
        self.ok("lmtrain", "--train", "llmc.bin", "--vocab", "250", "--seq-len", "16", "--steps", "3", "-o", "x", *SMALL)
        told = json.loads(self.ok("lmtrain", "export", "llmc", "x", "-o", "x.bin", "--json"))
        self.assertEqual((told["dtype"], told["bytes"]), ("fp32", os.path.getsize(path("x.bin"))))
        self.assertEqual(struct.unpack("<8i", read("x.bin")[:32]), (20240326, 3, 16, 250, 1, 2, 16, 256))
        self.ok("lmtrain", "export", "llmc", "x.bin", "-o", "y.bin", "-q")
        self.assertEqual(read("y.bin"), read("x.bin"))
        self.ok("lmtrain", "export", "llmc", "x", "-o", "half.bin", "--dtype", "bf16", "-q")
        self.assertEqual(struct.unpack("<2i", read("half.bin")[:8]), (20240326, 5))
        score = lambda model: json.loads(self.ok("lmeval", "loss", "-m", model, "--valid", "llmc.bin", "--seq-len", "16",
                                                 "--dtype", "fp32", "--json"))["loss"]
        self.assertEqual(score("x.bin"), score("x"))
        self.assertNotEqual(score("half.bin"), score("x"))
        self.ok("lmtrain", "--train", "llmc.bin", "--model", "x.bin", "--seq-len", "16", "--steps", "0", "-o", "again", "-q")
        self.assertEqual(read("again/checkpoint-0/model.safetensors"), read("x/checkpoint-3/model.safetensors"))
        self.ok("lmtrain", "--train", "llmc.bin", "--vocab", "250", "--no-tied", "--seq-len", "16", "--steps", "0", "-o", "u", *SMALL)
        self.refused(3, "output matrix of its own", "export", "llmc", "u", "-o", "u.bin")
        self.assertFalse(os.path.exists(path("u.bin")))
        self.refused(2, "there is no format ggml; there is llmc", "export", "ggml", "x", "-o", "z")
        self.refused(2, "with -o", "export", "llmc", "x")

    def test_report(self):
        for name, lr in (("r1", "1e-2"), ("r2", "1e-3")):
            self.ok("lmtrain", "--train", "shards", "--valid", "shards", "--steps", "6", "--lr", lr, "--eval-every", "2",
                    "--eval-steps", "1", "-o", name, *SMALL)
        with open(path("r1/samples.jsonl"), "w") as f:
            f.write(json.dumps({"step": 6, "prompt": "def <f>", "text": "(x):"}) + "\ntorn")
        self.ok("lmreport", "r1", "r2", "--html", "page.html")
        page = read("page.html").decode()
        self.assertEqual(page.count("<svg"), 6)
        for part in (">lr<", "0.01", "0.001", "Bits per byte", "def &lt;f&gt;(x):", "finished after 6 steps"):
            self.assertIn(part, page)
        self.assertIsNone(re.search(r"https?:|<script|<link|src=", page), "needs a network")
        j = json.loads(self.ok("lmreport", "r1", "--json"))
        self.assertEqual(j["runs"][0]["step"], 6)
        self.assertIn("evaluation", self.ok("lmreport", "r1", "--watch"))  # of a finished run: once
        os.makedirs(path("r3"))
        with open(path("r3/metrics.jsonl"), "w") as f:
            f.write('{"step":1,"loss":300,"lr":1,"grad_norm":1,"tokens":9,"tokens_per_s":1,"time":1,"epoch":1,"samples":1}\n'
                    '{"step":1,"eval_loss":300,"perplexity":1e130,"eval_tokens":9,"time":2}\n')
        self.assertIn(" 1.94e+130 ", self.ok("lmreport", "r3"), "a perplexity of 131 digits")
        p = run("lmreport", "corpus")
        self.assertEqual(p.returncode, 2, p.stderr)


unittest.main(argv=sys.argv[:1])
