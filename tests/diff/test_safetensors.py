"""safetensors: the same files accepted and refused as by the Rust crate, through its Python package.
Usage: test_safetensors.py PROBE [CASES] [SEED]"""
import json, os, random, struct, subprocess, sys, tempfile
import peers

peers.need("numpy", "safetensors")
import numpy, safetensors
from safetensors import safe_open

NAMES = ["a", "b", "wte.weight", "é", "", "__metadata__", "a\\u0000b", "x" * 300]
TYPES = ["F32", "F16", "BF16", "U8", "I64", "BOOL", "F8_E4M3", "F4", "F6_E2M3", "C64", "X", "f32"]
SIZES = {"F32": 32, "F16": 16, "BF16": 16, "U8": 8, "I64": 64, "BOOL": 8, "F8_E4M3": 8, "F4": 4, "F6_E2M3": 6, "C64": 64}


def valid(rng):
    """A header that fits its data, as a dict, and the number of data bytes."""
    header, at = {}, 0
    for name in rng.sample([n for n in NAMES if not n.startswith("__") and "\\u" not in n], rng.randrange(4)):
        t = rng.choice(["F32", "F16", "BF16", "U8", "I64", "BOOL", "F4", "C64"])
        shape = [rng.choice([0, 1, 2, 3, 4]) for _ in range(rng.randrange(3))]
        n = SIZES[t]
        for d in shape:
            n *= d
        header[name] = {"dtype": t, "shape": shape, "data_offsets": [at, at + n // 8]}
        at += n // 8
    if rng.random() < .3:
        header["__metadata__"] = {"format": "pt"}
    return header, at


def spoil(rng, header, data):
    """One thing made wrong, or perhaps only odd. Returns the header's text and the data's length."""
    header = json.loads(json.dumps(header))
    tensors = [k for k in header if k != "__metadata__"]
    kind = rng.randrange(16)
    e = header[rng.choice(tensors)] if tensors else {}
    if e and kind == 0:
        e["dtype"] = rng.choice(TYPES)
    elif e and kind == 1:
        e["shape"] = rng.choice([[-1], [2 ** 40, 2 ** 40], [1.5], [2 ** 63], "3", None, [3, 0], [[1]], [2 ** 53 + 1], [1e0]])
    elif e and kind == 2:
        e["data_offsets"][rng.randrange(2)] += rng.choice([-1, 1, 4, 2 ** 40])
    elif e and kind == 3:
        e["data_offsets"] = rng.choice([[], [0], [0, 1, 2], [5, 1], None, ["0", "4"], [0.0, 4.0]])
    elif e and kind == 4:
        del e[rng.choice(sorted(e))]
    elif e and kind == 5:
        e["more"] = rng.choice([1, None, "x"])
    elif kind == 6:
        header["__metadata__"] = rng.choice([None, {}, {"a": 1}, [], "x", {"a": "b", "c": None}, {"a": {"b": "c"}}])
    elif kind == 7:
        header["more"] = rng.choice([None, 1, [], {}, {"dtype": "F32", "shape": [0], "data_offsets": [data, data]}])
    elif kind == 8:
        data += rng.choice([-1, 1, 100])
    elif kind == 9 and len(tensors) > 1:
        header[tensors[0]]["data_offsets"] = header[tensors[1]]["data_offsets"]
    text = json.dumps(header, ensure_ascii=rng.random() < .5)
    if kind == 10:
        text = rng.choice([" ", "\t", "x", "[", ""]) + text
    elif kind == 11:
        text += rng.choice([" ", "   \n", "\0", "}", "x", "{}"])
    elif kind == 12 and len(text) > 4:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["\x00", "\"", "{", "9", "\\", "é"]) + text[at + 1:]
    elif kind == 13 and tensors:
        k = json.dumps(tensors[0])
        text = text[:-1] + ", " + k + ": " + json.dumps(header[tensors[0]]) + "}"
    elif kind == 14:
        text = text[:rng.randrange(len(text) + 1)]
    return text, max(0, data)


def make(rng):
    header, data = valid(rng)
    text, data = spoil(rng, header, data) if rng.random() < .85 else (json.dumps(header), data)
    raw = text.encode()
    n = len(raw)
    if rng.random() < .05:
        n = rng.choice([0, n + 1, n - 1 if n else 0, 2 ** 63, 100_000_001, 2 ** 64 - 1])
    out = struct.pack("<Q", n % 2 ** 64) + raw + bytes(data)
    return out[:rng.randrange(len(out) + 1)] if rng.random() < .05 else out


def crate(path):
    try:
        with safe_open(path, "numpy") as f:
            return len(f.keys())
    except Exception as x:  # whatever it is, it refused
        return str(x)


def stricter(line):
    """Where ours refuses on purpose what the crate lets pass: the format's own description forbids a name twice
    and asks for '{' as the first byte; a NUL in a name would be cut in C (base/json.h)."""
    return any(x in line for x in ("duplicate key", "the header has no '{'", "NUL"))


def main(probe, cases=1500, seed=1):
    rng, bad, yes = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as d:
        paths = []
        for i in range(cases):
            paths.append(os.path.join(d, f"{i}.safetensors"))
            with open(paths[-1], "wb") as f:
                f.write(make(rng))
        ours = subprocess.run([probe], input="\n".join(paths) + "\n", capture_output=True, text=True, check=True)
        for path, line in zip(paths, ours.stdout.split("\n")):
            want, blob = crate(path), open(path, "rb").read()
            ok = line == f"ok {want}" if isinstance(want, int) else line.startswith("no -6")
            yes += isinstance(want, int)
            if not ok and not (isinstance(want, int) and stricter(line)):
                bad += 1
                print(f"{blob[:300]!r}\n   crate: {want}\n   ours: {line}")
    print(f"{cases} files, {yes} of them good, {bad} judged otherwise (safetensors {safetensors.__version__})")
    sys.exit(bad > 0 or not yes)


main(sys.argv[1], *map(int, sys.argv[2:]))
