"""Writes the first inputs of every fuzz target into corpus/: small, valid, one idea each. What engines find
later lies beside them under the name of what was wrong.

    python3 seeds.py
"""
import base64
import gzip
import json
import os
import random
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
CUT = b"\n%%\n"


def put(target, name, *parts):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    parts = [p.encode() if isinstance(p, str) else p for p in parts]
    with open(os.path.join(folder, name), "wb") as f:
        f.write(CUT.join(parts))


LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokenizer(vocab, merges, pre=LEVEL, added=(), model=None, **more):
    return json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added),
                       "normalizer": None, "pre_tokenizer": pre, "post_processor": None, "decoder": LEVEL,
                       **more, "model": {"type": "BPE", "dropout": None, "unk_token": None,
                                         "continuing_subword_prefix": "", "end_of_word_suffix": "",
                                         "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                                         "vocab": vocab, "merges": merges, **(model or {})}},
                      ensure_ascii=False)


def alphabet():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(len(rest))]


def tokenizers():
    small = {"a": 0, "b": 1, "ab": 2, "Ġ": 3}
    put("tokenizer_json", "pairs", tokenizer(small, [["a", "b"]]))
    put("tokenizer_json", "legacy", tokenizer(small, ["#version: 0.2", "a b"]))
    split = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Isolated", "invert": False},
        {**LEVEL, "use_regex": False}]}
    put("tokenizer_json", "split", tokenizer(small, [["a", "b"]], split, model={"ignore_merges": True}))
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": True}
    put("tokenizer_json", "added", tokenizer(small, [["a", "b"]], added=[
        {"id": 4, "content": "<|endoftext|>", **flags},
        {"id": 5, "content": "é", **{**flags, "lstrip": True, "rstrip": True, "single_word": True}},
        {"id": 2, "content": "ab", **{**flags, "normalized": False, "special": False}}]))
    for name in ("NFC", "NFD", "NFKC", "Lowercase"):
        put("tokenizer_json", name, tokenizer(small, [], normalizer={"type": name}))
    whole = {c: i for i, c in enumerate(alphabet())}
    put("tokenizer_json", "bytes", tokenizer({**whole, "Ġt": 256, "he": 257, "Ġthe": 258},
                                             [["Ġ", "t"], ["h", "e"], ["Ġt", "he"]]))
    vocab = json.dumps({**whole, "Ġt": 256, "he": 257, "<|endoftext|>": 258}, ensure_ascii=False)
    put("vocab_merges", "both", vocab, "#version: 0.2\nĠ t\nh e\n")
    put("vocab_merges", "small", '{"a":0,"b":1,"ab":2,"<s>":3}', "#version: 0.2\na b\n")
    put("vocab_merges", "alone", "", "#version: 0.2\nh e\nĠ t\nĠt he\n")
    ranks = [bytes([b]) for b in range(256)] + [b"aa", b"aaa", b"ba", b"aaba"]
    lines = [base64.b64encode(r) + b" %d\n" % i for i, r in enumerate(ranks)]
    put("tiktoken", "bytes", b"".join(lines))
    put("tiktoken", "gap", b"YQ== 0\nYg== 1\n\nYWI= 7\r\n")
    five = {"backend": "tokenizers", "bos_token": "<s>", "model_max_length": 77, "padding_side": "left"}
    put("tokenizer_config", "five", json.dumps(five), "", "{{ messages }}")
    four = {"added_tokens_decoder": {"3": {"content": "<s>", "special": True}}, "clean_up_tokenization_spaces": False,
            "chat_template": [{"name": "default", "template": "x"}], "eos_token": {"content": "<s>"},
            "model_max_length": 10 ** 30, "truncation_side": "right"}
    put("tokenizer_config", "four", json.dumps(four), json.dumps({"pad_token": "<s>"}), "")
    put("tokenizer_config", "several", "{}", "", "{{ messages }}", "{{ tools }}")
    put("counts", "plain", "3\tab\n5\t\\x20the\n1\t\\x0a\n")
    put("counts", "large", "3000000000\tabab\n4611686018427387903\tc\n2\tab\n2\tab\n")


def texts():
    for k in range(6):
        put("scan", f"mixed-{k}", bytes([k]) + "I'm 42 years, isn't 'LL it?\r\n\n  x\t\tİſ's １２３4 été 数据 e\u0301 ½ 👩‍👩‍👧\u00a0\u3000\u2028!\n//--\n ".encode())
        put("scan", f"bad-{k}", bytes([k]) + b"a\xff\x80 \xc2 \xe2\x80x\xed\xa0\x80 \xf4\x90\x80\x80\xf0\x9f\x98")
    put("scan", "runs", bytes([0]) + b" " * 70 + b"x" * 70 + b"\n" * 5 + b"1" * 66 + b"-" * 65)
    put("encode", "plain", bytes([0, 3, 0, 1, 255, 2, 255, 254]) + b"abcabcaabb cdcd <s> ab aab")
    put("encode", "late", bytes([0x83, 6, 0, 0, 97, 97, 98, 0, 1, 97, 97, 98, 98, 98]) + b"aaaaaaaa" * 40 + b" bbab")
    put("encode", "flags", bytes([0x7D, 4, 0, 1, 96, 2, 1, 0, 97, 98]) + b"x  <s>  ab, ab_ abc\n<s>")
    put("pattern", "classes", r"\p{Lu}?\p{Ll}+|[^\s\p{N}\p{M}]|\s+(?!\S)|\S" , "Ab cd É１ x")
    put("pattern", "cl100k", CL100K, "it's 1234 x\n")
    put("pattern", "folds", r"(?i:'s|ſ)|[[:alpha:]]+|(?<a>x)|\d{1,3}+|.", "'S x12345")
    put("decode", "cut", bytes([0]) + "aé京😀".encode() + b"\xf0\x9f\x98 \xe2\x80")
    put("decode", "steps", bytes([3]) + "😀京é".encode() * 3 + b"\xed\xa0\x80\xc2\xc2\x80")


def json_lines():
    put("jsonl", "text", '{"a": [1, {"text": 2}], "text": "x\\n\\u00e9\\ud83d\\ude00é", "z": null}')
    put("jsonl", "surrogate", '{"text": "\\ud800 \\udc00\\u0000"}')
    put("jsonl", "long", '{"id": -1.5e-7, "text": "' + "plain text " * 12 + '\\"' + "q" * 70 + '"}')
    put("jsonl", "twice", '{"text": "a", "text": "b"}')
    put("jsonl", "wrong", '{"text": true, "content": "x"}')
    put("json", "object", '{"a": [1, 2.5, -3e-7, true, false, null, "x\\u00e9\\n"], "b": {}}')
    put("json", "numbers", "[0, -0, 1e308, 123456789012345678, 0.1, 1E+2]")
    put("config", "section", "fuzz:\n  flag: true\n  number: 12k\n  rate: 5e-4\n  every: 30m\n  text: 'a: b'\n"
        "  choice: b\n  list: [x, 'y z']\n  save: 500\n")
    put("config", "flat", "number: 7\nlist:\n  - a\n  - b\nsave: 2h\ntext: \"q\\n\"\n")
    put("config", "anchors", "a: &x {number: 1}\nfuzz: *x\n")


def stored():
    plain = b"def f(x):\n    return x\n" * 20
    put("codec", "gzip", bytes([9, 1]) + gzip.compress(plain, mtime=0))
    put("codec", "members", bytes([0, 0]) + gzip.compress(plain, mtime=0) + gzip.compress(b"", mtime=0) + b"\0" * 9)
    put("codec", "stored", bytes([200, 3]) + gzip.compress(plain, 0, mtime=0)[:-8])
    put("codec", "plain", bytes([4, 0]) + plain[:50])
    named = b"\x1f\x8b\x08\x1c\0\0\0\0\0\x03" + struct.pack("<H", 4) + b"EXTR" + b"name\0" + b"comment\0"
    put("codec", "fields", bytes([0, 9]) + named + gzip.compress(plain, mtime=0)[10:])
    for level, name in ((1, "zstd"), (19, "zstd-19")):
        packed = subprocess.run(["zstd", "-q", f"-{level}", "--check", "-c"], input=plain, stdout=subprocess.PIPE, check=True).stdout
        put("codec", name, bytes([7, 2]) + packed)
    rng = random.Random(3)
    words = ["def ", "return ", "x", "self.", "\n", "    ", "for i in ", "é", "= 1\n", "(a, b)"] + [f"v{i}" for i in range(60)]
    text = "".join(rng.choice(words) for _ in range(9000)).encode()
    for level, check in ((3, "--check"), (19, "--no-check")):  # blocks of 1 KB, so that there are places between
        blocks = subprocess.run(["zstd", "-q", f"-{level}", check, "--zstd=wlog=10", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
        put("codec", f"zstd-blocks-{level}", bytes([40, 20]) + blocks)
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"skip!"
    put("codec", "frames", bytes([3, 1]) + packed + skippable + packed)


def arrays():
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                         "b": {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]},
                         "c": {"dtype": "I64", "shape": [0, 7], "data_offsets": [18, 18]}}).encode()
    put("safetensors", "three", struct.pack("<Q", len(header)) + header + bytes(range(18)))
    put("safetensors", "none", struct.pack("<Q", 2) + b"{}")
    tokens = struct.pack("<8H", *range(8))
    short = struct.pack("<256i", 20240520, 1, 8, *[0] * 253) + tokens
    wide = struct.pack("<256i", 20240801, 7, 2, *[0] * 253) + struct.pack("<2I", 70000, 1)
    idx = b"LORYIDX\0" + struct.pack("<IIQQQ", 1, 0, 2, 3, 8)
    index = {"format": "lory-shards", "version": 1, "tokenizer_digest": "", "vocab": 1000, "token_bytes": 2,
             "eot": "after", "eot_id": 0, "seq_len": 16, "splits": {"train": {
                 "tokens": 8, "documents": 2, "text_bytes": 20, "files": [{
                     "name": "train-00000.bin", "bytes": len(short), "tokens": 8, "documents": 2,
                     "text_bytes": 20, "sha256": "0" * 64}]}}}
    put("shard", "short", short, b"", b"")
    put("shard", "wide", wide, b"", b"")
    put("shard", "documents", short, idx, b"")
    put("shard", "index", short, idx, json.dumps(index))
    mask = b"LORYMSK\0" + struct.pack("<IIQB", 1, 0, 8, 0b11011001)
    put("shard", "mask", short, b"", b"", mask)
    index["version"] = 2
    index["splits"]["train"]["files"][0].update(targets=5, mask_sha256="0" * 64)
    put("shard", "masked-index", short, idx, json.dumps(index), mask)


def tables():
    put("csv", "quoted", b'\0\5a,b\n1,"x, ""y""\nz"\r\n\n2,\n')
    put("csv", "bad-rows", b'\1\1text\tn\nq\t7\nx\ty\tz\n"open')
    folder = os.path.join(GOLDEN, "tables")
    for name in sorted(os.listdir(folder)):
        kind = name.rsplit(".")[-1]
        if kind in ("parquet", "zip"):
            with open(os.path.join(folder, name), "rb") as f:
                put(kind, name, f.read())


tokenizers()
tables()
texts()
json_lines()
stored()
arrays()
