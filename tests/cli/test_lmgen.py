"""Where completions end, and how they are printed. Usage: test_lmgen.py MODEL TOKENIZER LMGEN

MODEL is random, so its text is noise: what it says without stops is cut here by Python and must be what lmgen cuts.
"""
import json, os, pty, re, signal, struct, subprocess, sys, tempfile

model, tok, lmgen = (os.path.abspath(p) for p in sys.argv[1:])
EOF = re.compile(r"\nclass|\ndef|\n#|\n@|\nprint|\nif")


def run(*args, rc=0):
    p = subprocess.run([lmgen, "-m", model, "-t", tok, "--device", "cpu", "--dtype", "fp32", "-q", *map(str, args)],
                       capture_output=True)
    assert p.returncode == rc, (args, p.returncode, p.stderr)
    return p


def completions(*args):
    return json.loads(run("--json", *args).stdout)["completions"]


def on_terminal(*args):
    """What a terminal sees."""
    master, slave = pty.openpty()
    p = subprocess.Popen([lmgen, "-m", model, "-t", tok, "--device", "cpu", "-q", *map(str, args)], stdout=slave,
                         stderr=subprocess.DEVNULL)
    os.close(slave)
    out = b""
    try:
        while block := os.read(master, 4096):
            out += block
    except OSError:
        pass  # Linux says so at the end of a terminal
    assert p.wait() == 0
    return out.replace(b"\r\n", b"\n")


def demo_reads_what_is_there():
    """The demo's last step once read a member, "finish", that had got another name."""
    with open(os.path.join(os.path.dirname(__file__), "../../demo"), encoding="utf-8") as f:
        wanted = set(re.findall(r'\bc\["(\w+)"\]', f.read()))
    (c,) = completions("--max-new", 3, "abc")
    assert wanted and wanted <= set(c), (wanted, set(c))


def stops():
    plain = ["--no-stop", "--seed", 1, "--max-new", 60, "abc"]
    (c,) = completions(*plain)
    text = c["completion"]
    assert c["finish_reason"] == "length" and c["stop"] is None and len(c["ids"]) == 60, c
    checked = 0
    for at in range(2, len(text) - 3, 3):
        cut = text[at:at + 3]
        if "\ufffd" in cut:  # half a character cannot be named
            continue
        checked += 1
        (s,) = completions("--stop", cut, "--stop", "never there", *plain)
        assert s["completion"] == text.split(cut)[0] and s["finish_reason"] == "stop" and s["stop"] == cut, (cut, s)
        assert s["ids"] == c["ids"][:len(s["ids"])]
        regex = "(?:" + re.escape(cut) + ")+|zzzz"
        (s,) = completions("--stop-regex", regex, *plain)
        assert s["completion"] == re.split(regex, text)[0] and s["stop"] == regex, (regex, s)
    assert checked > 3, text
    (s,) = completions("--stop-regex", ".{7}(?s:.)*$", *plain)  # undecided until the text is over
    assert s["completion"] == re.split("(?s).{7}.*$", text)[0] or "\n" in text[:8], s
    assert b"wrong at byte" in run("--stop-regex", "a(", "x", rc=2).stderr


def code():
    sampling = ["--temperature", "0.4", "--top-p", "0.95", "--n", 4, "--max-length", 64]
    whole = completions(*sampling, "abc")
    blocks = completions("--preset", "code", "abc")
    assert len(blocks) == 4 and len({c["completion"] for c in whole}) > 1
    for w, b in zip(whole, blocks):
        assert b["completion"] == EOF.split(w["completion"])[0].rstrip(), (w, b)
        assert b["prompt_tokens"] + len(b["ids"]) <= 64
    assert len(completions("--preset", "code", "--n", 2, "abc")) == 2  # what is given wins
    shown = run("--preset", "code", "abc").stdout.decode(errors="replace")
    want = ("\n" + 80 * "=" + "\n").join(b["completion"] for b in blocks) + "\n"
    assert shown == want, (shown, want)
    long = run("--preset", "code", "--max-length", 2, "abc def ghi")
    assert long.stdout.count(b"\n") == 7 and len(completions("--max-length", 2, "abc def ghi")[0]["ids"]) == 0


def terminal():
    for args in (["--greedy", "--max-new", 24, "abc"], ["--seed", 3, "--first-block", "abc"],
                 ["--seed", 4, "--stop-regex", "[aeiou]{2,}", "--max-new", 40, "abc"]):
        seen, piped = on_terminal(*args), run(*args).stdout
        assert seen == piped, (args, seen, piped)


def greedy_draws_nothing():
    """What has no effect is said; there is nothing to say where all has."""
    said = run("--greedy", "--top-k", 5, "--n", 2, "--max-new", 2, "abc").stderr.decode()
    assert "--top-k has no effect" in said and "--temperature" not in said and "are the same" in said, said
    assert run("--top-k", 5, "--n", 2, "--max-new", 2, "abc").stderr == b""


def a_temperature_that_overflows():
    """Logits divided by 1e-40 are infinite, and the id was always the last."""
    greedy = completions("--greedy", "--max-new", 9, "abc")[0]["ids"]
    for t in "0", "1e-40", "1e-50", "1e-7", "1e-6":
        assert completions("--temperature", t, "--max-new", 9, "abc")[0]["ids"] == greedy, t


def a_long_prompt_is_cut_aloud():
    """The context is 48 tokens."""
    said = run("--max-new", 1, "--prompt-ids", " ".join(["7"] * 50)).stderr.decode()
    assert "prompt 1 has 50 tokens; the model's context is 48: only the last 48 are read" in said, said
    assert run("--max-new", 1, "--prompt-ids", " ".join(["7"] * 48)).stderr == b""


def prompts_are_placed():
    """A line of JSON was said to be the file's first whichever it was."""
    with tempfile.TemporaryDirectory() as d:
        file = os.path.join(d, "p.jsonl")
        for line, says in (("nonsense", "line 3:1:1: "), ('{"prompt": 5}', 'line 3: "prompt" is not a string'),
                           ('{"promt": ""}', 'line 3: no string "prompt"')):
            with open(file, "w") as f:
                f.write('{"prompt": "a"}\n\n' + line + "\n")
            said = run("--prompts", file, rc=3).stderr.decode()
            assert f"p.jsonl: {says}" in said, said
    assert b"--stop is empty" in run("--stop", "", "abc", rc=2).stderr


def of_several_ends_only_the_first_counted():
    """eos_token_id may be a list, as for transformers: any of it ends a text."""
    global model
    (c,) = completions("--no-stop", "--seed", 1, "--max-new", 30, "abc")
    at = next(i for i in range(4, 30) if c["ids"][i] not in c["ids"][:i])
    given, never = model, next(i for i in range(500) if i not in c["ids"])
    with tempfile.TemporaryDirectory() as model:
        os.symlink(os.path.join(given, "model.safetensors"), os.path.join(model, "model.safetensors"))
        with open(os.path.join(given, "config.json")) as f:
            config = json.load(f)
        for ends in [c["ids"][at]], [never, c["ids"][at]], [None, never, c["ids"][at]]:
            with open(os.path.join(model, "config.json"), "w") as f:
                json.dump({**config, "eos_token_id": ends}, f)
            (s,) = completions("--seed", 1, "--max-new", 30, "abc")
            assert s["finish_reason"] == "stop" and s["ids"] == c["ids"][:at], (ends, s, c)
            (s,) = completions("--no-stop", "--seed", 1, "--max-new", 30, "abc")
            assert s["ids"] == c["ids"], (ends, s, c)
        with open(os.path.join(model, "config.json"), "w") as f:
            json.dump({**config, "eos_token_id": c["ids"][at]}, f)
        for own, stop in ({"eos_token_id": [c["ids"][2]]}, 2), ({"eos_token_id": never}, 30), ({"top_k": 5}, at):
            with open(os.path.join(model, "generation_config.json"), "w") as f:
                json.dump(own, f)
            (s,) = completions("--seed", 1, "--max-new", 30, "abc")  # generate() looks there first
            assert s["ids"] == c["ids"][:stop], (own, s, c)
        os.remove(os.path.join(model, "generation_config.json"))
        with open(os.path.join(model, "config.json"), "w") as f:
            json.dump({**config, "eos_token_id": list(range(9))}, f)
        assert b"more than 8 ids" in run("abc", rc=6).stderr
    model = given


def a_whole_length_ended_at_the_default_of_another():
    """--max-length 200 ended behind the 128 tokens of --max-new, which nobody had given."""
    for more, want in ([], 200), (["--max-new", 7], None):
        (c,) = completions("--no-stop", "--max-length", 200, *more, "abc")
        assert len(c["ids"]) == (want - c["prompt_tokens"] if want else 7), (more, c)


def what_was_done_before_ctrl_c_was_lost():
    """--json said nothing of completions that were there."""
    p = subprocess.Popen([lmgen, "-m", model, "-t", tok, "--device", "cpu", "-v", "--json", "--no-stop", "--max-new",
                          "100000000", "abc"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = p.stderr.readline()  # of the model: signals are heard by now
    p.send_signal(signal.SIGINT)
    out, err = p.communicate()
    assert p.returncode == 130 and b"interrupted" in err, (p.returncode, said, err)
    (c,) = json.loads(out)["completions"]
    assert c["finish_reason"] == "interrupted" and c["ids"], c


def a_token_that_only_the_tokenizer_got():
    """Of a model whose tokenizer had got a [PAD] for itself nothing could be had; generate() reads it."""
    with tempfile.TemporaryDirectory() as d:
        for name in ("config.json", "model.safetensors"):
            os.symlink(os.path.join(model, name), os.path.join(d, name))
        with open(os.path.join(tok, "tokenizer.json"), encoding="utf-8") as f:
            t = json.load(f)
        with open(os.path.join(model, "config.json")) as f:
            V = json.load(f)["vocab_size"]
        ids = set(t["model"]["vocab"].values()) | {x["id"] for x in t["added_tokens"]}
        for i in range(max(ids) + 1, V + 1):
            t["added_tokens"].append({"id": i, "content": f"[PAD{i}]", "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False, "special": True})
        with open(os.path.join(d, "tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(t, f)
        lmgen_ = lambda *args: subprocess.run([lmgen, "-m", d, "--max-new", "3", "--device", "cpu", *args], capture_output=True, text=True)
        p = lmgen_("--heal", "abc")
        assert p.returncode == 0 and f"the tokenizer has {V + 1} tokens, the model only the first {V}" in p.stderr, p
        p = lmgen_(f"abc[PAD{V}]")
        assert p.returncode == 2 and f"is id {V}; the model has {V}" in p.stderr, p
        p = lmgen_("-t", d, "abc")
        assert p.returncode == 2 and "the model only" in p.stderr, p


def weights_that_cannot_be_used_said_little():
    """A Git LFS pointer was a header of 2336927755350992246 bytes, PyTorch's file not there, and NaN said id 0."""
    global model
    given = model
    with open(os.path.join(given, "model.safetensors"), "rb") as f:
        weights = bytearray(f.read())
    n = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:8 + n])
    (wte,) = [v for k, v in header.items() if k.endswith("wte.weight")]
    assert wte["dtype"] == "F32", wte
    at = 8 + n + wte["data_offsets"][0]
    weights[at:at + 4] = struct.pack("<f", float("nan"))
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    for name, data, rc, says in (("model.safetensors", weights, 6, b"the model's output is not finite"),
                                 ("model.safetensors", pointer, 6, b"is a Git LFS pointer"),
                                 ("pytorch_model.bin", b"PK", 4, b"pytorch_model.bin is not read here")):
        with tempfile.TemporaryDirectory() as model:
            os.symlink(os.path.join(given, "config.json"), os.path.join(model, "config.json"))
            with open(os.path.join(model, name), "wb") as f:
                f.write(data)
            for how in ["--greedy"], ["--top-k", 5, "--repetition-penalty", 1.2]:
                assert says in run(*how, "--max-new", 3, "abc", rc=rc).stderr, (name, says)
    model = given


demo_reads_what_is_there()
weights_that_cannot_be_used_said_little()
of_several_ends_only_the_first_counted()
a_whole_length_ended_at_the_default_of_another()
a_token_that_only_the_tokenizer_got()
what_was_done_before_ctrl_c_was_lost()
stops()
code()
terminal()
greedy_draws_nothing()
a_temperature_that_overflows()
a_long_prompt_is_cut_aloud()
prompts_are_placed()
print("completions end where they should")
