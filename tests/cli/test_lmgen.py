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
    p = subprocess.Popen([lmgen, "-m", model, "-t", tok, "--device", "cpu", "--dtype", "fp32", "-q", *map(str, args)],
                         stdout=slave, stderr=subprocess.DEVNULL)
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


def tame(text):
    """As a terminal may see it: it obeys no text."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", lambda m: "^" + chr(ord(m[0]) ^ 64), text.decode())
    return re.sub("[\x80-\x9f]", "\ufffd", text).encode()


def bytes_that_are_no_text_were_printed():
    """Lone bytes, where --json and transformers' decode have U+FFFD; and control characters, to terminals."""
    bad = control = 0
    for seed in range(9):
        args = ["--seed", seed, "--no-stop", "--max-new", 61, "abc"]
        (c,) = completions(*args)
        want = f"abc{c['completion']}\n".encode()
        assert run(*args).stdout == want, (seed, want)
        assert on_terminal(*args) == tame(want), (seed, want)
        bad += "\ufffd" in c["completion"]
        control += tame(want) != want
    assert bad and control, (bad, control)
    whole = json.loads(run("--ids", "json", "--max-new", 0, "\u00e9").stdout)  # one text, also where ids cut a character
    assert run("--prompt-ids", " ".join(map(str, whole)), "--max-new", 0).stdout == "\u00e9\n".encode()
    assert run("--prompt-ids", str(whole[0]), "--max-new", 0).stdout == ("\u00e9" if len(whole) == 1 else "\ufffd").encode() + b"\n"


def terminal():
    for args in (["--greedy", "--max-new", 24, "abc"], ["--seed", 3, "--first-block", "abc"],
                 ["--seed", 4, "--stop-regex", "[aeiou]{2,}", "--max-new", 40, "abc"]):
        seen, piped = on_terminal(*args), run(*args).stdout
        assert seen == tame(piped), (args, seen, piped)


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
        for own, stop in ({"eos_token_id": [c["ids"][2]]}, 2), ({"eos_token_id": never}, 30), ({"use_cache": False}, at):
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


def with_config(own, *args, rc=0):
    """lmgen of the model with this generation_config.json."""
    global model
    given = model
    with tempfile.TemporaryDirectory() as model:
        for name in ("config.json", "model.safetensors"):
            os.symlink(os.path.join(given, name), os.path.join(model, name))
        with open(os.path.join(model, "generation_config.json"), "w") as f:
            json.dump(own, f)
        p = run("--json", "--max-new", 30, "--no-stop", "--seed", 1, "abc", *args, rc=rc)
    model = given
    return json.loads(p.stdout)["completions"] if rc == 0 else p.stderr.decode()


def generation_config_is_obeyed():
    """Each value does what its flag does, and a flag given counts before it; what is not built here is named."""
    plain = completions("--max-new", 30, "--no-stop", "--seed", 1, "abc")
    a, b = plain[0]["ids"][:2]
    for own, flags in (({"temperature": 0.3, "top_k": 9}, ["--temperature", 0.3, "--top-k", 9]),
                       ({"top_p": 0.3}, ["--top-p", 0.3]), ({"min_p": 0.3}, ["--min-p", 0.3]),
                       ({"typical_p": 0.2}, ["--typical-p", 0.2]), ({"epsilon_cutoff": 0.01}, ["--epsilon-cutoff", 0.01]),
                       ({"eta_cutoff": 0.9}, ["--eta-cutoff", 0.9]), ({"repetition_penalty": 3}, ["--repetition-penalty", 3]),
                       ({"do_sample": False, "no_repeat_ngram_size": 1}, ["--greedy", "--no-repeat-ngram-size", 1]),
                       ({"do_sample": False}, ["--greedy"]), ({"suppress_tokens": [a, 9999, -1]}, ["--suppress-tokens", a])):
        want = completions("--max-new", 30, "--no-stop", "--seed", 1, "abc", *flags)
        assert want != plain, flags
        assert with_config(own) == want, (own, flags)
        assert with_config(own, "--generation-config", "none") == plain, own
    assert with_config({"temperature": 0.3}, "--temperature", 1) == plain
    assert len(with_config({"num_return_sequences": 3})) == 3 and len(with_config({"num_return_sequences": 3}, "-n", 1)) == 1
    assert a not in with_config({"bad_words_ids": [[a], [3, 4]]})[0]["ids"]
    second = with_config({"bad_words_ids": [[a, b]]})[0]["ids"]
    assert second[0] == a and second[1] != b, second
    assert with_config({"begin_suppress_tokens": [a]})[0]["ids"][0] != a
    assert with_config({"sequence_bias": [[[7], 99.0]]})[0]["ids"] == [7] * 30
    (stop, *_) = re.findall("[a-z]{2}", plain[0]["completion"])
    for form in stop, ["never there", stop]:
        assert with_config({"stop_strings": form})[0]["completion"] == plain[0]["completion"].split(stop)[0]
    for own, says in (({"num_beams": 4}, '"num_beams" is not supported'), ({"top_h": 0.4}, '"top_h" is not supported'),
                      ({"exponential_decay_length_penalty": [5, 1.1]}, '"exponential_decay_length_penalty" is not')):
        assert says in with_config(own, rc=2), own
        assert with_config(own, "--generation-config", "none") == plain
    for own in {"temperature": -1}, {"top_k": 2.5}, {"bad_words_ids": [7]}, {"bad_words_ids": [[515]]}, {"typical_p": "x"}, {
            "sequence_bias": [[7, 1.0]]}, {"stop_strings": 5}:
        assert next(iter(own)) in with_config(own, rc=6), own
    assert with_config({"num_beams": 1, "diversity_penalty": 0.0, "top_h": None, "length_penalty": 2}) == plain


def generation_config_lengths():
    for own, flags, n in (({"max_new_tokens": 7}, [], 7), ({"max_new_tokens": 7, "max_length": 2}, [], 7),
                          ({"max_length": 200}, [], None), ({"max_new_tokens": 7}, ["--max-new", 9], 9),
                          ({"max_new_tokens": 7}, ["--max-length", 200], None)):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(own, f)
            f.flush()
            (c,) = completions("--no-stop", "--generation-config", f.name, *flags, "abc")
        assert len(c["ids"]) == (n or 200 - c["prompt_tokens"]), (own, flags, len(c["ids"]))
    assert b"none.json" in run("--generation-config", "none.json", "abc", rc=4).stderr


def new_ids_count_before_all_ids():
    """min_new_tokens beside min_length is the one that counts, as in transformers; a flag counts before both."""
    ends = {"eos_token_id": 9, "sequence_bias": [[[9], 999.0]]}
    for least, flags, new, whole in (({"min_new_tokens": 3, "min_length": 40}, [], 3, 0), ({"min_length": 40}, [], 0, 40),
                                     ({"min_new_tokens": 0, "min_length": 40}, [], 0, 0),
                                     ({"min_length": 40}, ["--min-new", 4], 4, 0),
                                     ({"min_new_tokens": 3}, ["--min-length", 40], 0, 40)):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({**ends, **least}, f)
            f.flush()
            (c,) = completions("--generation-config", f.name, "--greedy", "--max-new", 90, *flags, "abc")
        assert len(c["ids"]) == max(new, whole - c["prompt_tokens"]), (least, flags, len(c["ids"]))


def rules_of_the_command_line():
    plain = completions("--max-new", 30, "--no-stop", "--seed", 1, "abc")
    first = plain[0]["ids"][0]
    (c,) = completions("--seed", 1, "--max-new", 30, "--suppress-tokens", f"[{first}, 3]", "abc")
    assert first not in c["ids"]
    (c,) = completions("--greedy", "--max-new", 9, "--sequence-bias", "e=99", "abc")
    assert c["completion"] == "e" * 9, c
    (c,) = completions("--greedy", "--max-new", 9, "--sequence-bias", "e=99", "--sequence-bias", "=e=1", "--bad-words", "e", "abc")
    assert "e" not in c["completion"], c
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"eos_token_id": [9, 0]}, f)  # the model's is another than its tokenizer's
        f.flush()
        end = ["--generation-config", f.name, "--sequence-bias", "<|endoftext|>=99", "--max-new", 90]
        (c,) = completions(*end, "abc")
        assert c["ids"] == [] and c["finish_reason"] == "stop", c
        (c,) = completions(*end, "--min-new", 90, "abc")
        assert len(c["ids"]) == 90 and c["finish_reason"] == "length", c
        (c,) = completions(*end, "--min-length", 20, "abc")
        assert len(c["ids"]) + c["prompt_tokens"] == 20 and c["finish_reason"] == "stop", c
        said = run(*end, "--bad-words", "<|endoftext|>", "abc").stderr.decode()
        assert "ends a text and is left in" in said, said
    assert b"--min-new 9 is not reached" in run("--min-new", 9, "--max-new", 2, "abc").stderr
    every = " ".join(map(str, range(515)))
    assert b"all are forbidden" in run("--suppress-tokens", every, "abc", rc=2).stderr
    for flags, says in ((["--suppress-tokens", "1 515"], "id 515; the model has 515"), (["--suppress-tokens", "a"], "is not an id"),
                        (["--suppress-tokens", ""], "is empty"), (["--bad-words", ""], "--bad-words is empty"),
                        (["--sequence-bias", "e"], '"e" is not TEXT=NUMBER'), (["--sequence-bias", "e=inf"], "not TEXT=NUMBER"),
                        (["--sequence-bias", "=1"], "--sequence-bias is empty")):
        assert says in run(*flags, "abc", rc=2).stderr.decode(), flags


demo_reads_what_is_there()
generation_config_is_obeyed()
generation_config_lengths()
new_ids_count_before_all_ids()
rules_of_the_command_line()
weights_that_cannot_be_used_said_little()
of_several_ends_only_the_first_counted()
a_whole_length_ended_at_the_default_of_another()
a_token_that_only_the_tokenizer_got()
what_was_done_before_ctrl_c_was_lost()
stops()
code()
bytes_that_are_no_text_were_printed()
terminal()
greedy_draws_nothing()
a_temperature_that_overflows()
a_long_prompt_is_cut_aloud()
prompts_are_placed()
print("completions end where they should")
