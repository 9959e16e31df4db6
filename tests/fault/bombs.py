"""Bombs: a few KB of gzip or zstd that unpack to 256 MiB. Every command of corpus ends with exit 3 and the limit in
its message, or leaves the record out, in bounded memory. Usage: bombs.py CORPUS TOK"""
import gzip, json, os, shutil, struct, subprocess, sys, tempfile

CORPUS, TOK = map(os.path.abspath, sys.argv[1:3])
MEMORY = 96 << 20  # 8 MiB for the longest record, twice while it grows, and what every command has anyway
GOOD = b"".join(b'{"content": "def f(x):\\n    return %d + x\\n"}\n' % i for i in range(50))


def zstd_frame(byte, blocks, window=0x38):
    """Blocks of 128 KiB that repeat a byte (RFC 8878, RLE blocks); a window of 128 KiB."""
    frame = struct.pack("<IBB", 0xfd2fb528, 0, window)
    for i in range(blocks):
        frame += ((128 << 10) << 3 | 1 << 1 | (i == blocks - 1)).to_bytes(3, "little") + byte
    return frame


def zstd_stored(data):
    return struct.pack("<IBI", 0xfd2fb528, 0xa0, len(data)) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def bombs():
    member = gzip.compress(b" " * (16 << 20))
    yield "zeros.jsonl.gz", gzip.compress(b"\0" * (16 << 20)) * 16, b"longer than 8388608 bytes"
    yield "blanks.jsonl.gz", gzip.compress(GOOD + b'{"content": "') + member * 16 + gzip.compress(b'"}\n'), b"longer than 8388608 bytes"
    yield "zeros.jsonl.zst", zstd_frame(b"\0", 2048), b"longer than 8388608 bytes"
    yield "letters.jsonl.zst", zstd_stored(GOOD + b'{"content": "') + zstd_frame(b"x", 2048) + zstd_stored(b'"}\n'), b"longer than 8388608 bytes"
    yield "window.jsonl.zst", zstd_frame(b"x", 8, window=0xa8), b"window of more than 128 MiB"
    yield "text.txt.gz", member * 16, b"longer than 8388608 bytes"
    yield "table.csv.gz", gzip.compress(b'content\n"') + gzip.compress(b"x" * (16 << 20)) * 16, b"a row longer than 8388608 bytes"


def run(args, cwd):
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen([CORPUS, *args, "-q", "--threads", "1"], cwd=cwd, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return p.returncode, said.read(), used.ru_maxrss * 1024


def main():
    folder = tempfile.mkdtemp(prefix="lory-bomb-")
    try:
        for name, data, words in bombs():
            assert len(data) < 2 << 20, name
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
            for command in (["cat"], ["stats"], ["info"], ["clean", "-o", "o.jsonl"], ["dedup", "-o", "o.jsonl"], ["split", "-o", "o"],
                            ["tokenize", "-t", TOK, "-o", "o.jsonl"], ["cat", "--shuffle-buffer", "10"], ["cat", "--on-error", "skip"]):
                code, said, memory = run([command[0], name, *command[1:], "--max-line", "8Mi"], folder)
                what = (name, command, code, said, memory >> 20)
                assert memory < MEMORY, what
                if command[0] == "info" and code == 0:
                    continue  # it looks at the beginning alone
                assert code == (0 if "skip" in command else 3) and (words in said or "skip" in command), what
                assert name.encode() in said, what
            os.remove(os.path.join(folder, name))
    finally:
        shutil.rmtree(folder)


main()
