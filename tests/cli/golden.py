"""Runs command lines and compares what they print with what stands beside them.

    golden.py FOLDER_OF_PROGRAMS FILE.golden

    == a title                     begins a case, in an empty folder
    @file NAME / @gzip NAME        its content follows, up to the next line that begins with @ or $
    $ command                      run by sh, with the programs in PATH
    > line                         expected on stdout
    ! line                         expected on stderr
    ? 3                            expected exit status (0 if none is named)
"""
import gzip, os, subprocess, sys, tempfile


def parse(path):
    cases, to = [], None
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        text = line.rstrip("\n")
        if text.startswith("== "):
            cases.append({"title": text[3:], "files": [], "runs": []})
            to = None
        elif text.startswith(("@file ", "@gzip ")):
            to = []
            cases[-1]["files"].append((text[:5], text[6:], to))
        elif text.startswith("$ "):
            cases[-1]["runs"].append({"line": number, "command": text[2:], "out": [], "err": [], "rc": 0})
            to = None
        elif to is not None:
            to.append(text + "\n")
        elif text[:2] in ("> ", ">", "! ", "!"):
            cases[-1]["runs"][-1]["out" if text[0] == ">" else "err"].append(text[2:])
        elif text.startswith("? "):
            cases[-1]["runs"][-1]["rc"] = int(text[2:])
    return cases


def run(case, bin_dir, where):
    failures = []
    env = {**os.environ, "PATH": bin_dir + os.pathsep + os.environ["PATH"], "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, lines in case["files"]:
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            data = "".join(lines).encode()
            open(path, "wb").write(gzip.compress(data) if kind == "@gzip" else data)
        for r in case["runs"]:
            p = subprocess.run(["sh", "-c", r["command"]], cwd=folder, env=env, timeout=60,
                               capture_output=True, stdin=subprocess.DEVNULL)
            got = {"out": p.stdout.decode().splitlines(), "err": p.stderr.decode().splitlines(),
                   "rc": p.returncode}
            for key in ("out", "err", "rc"):
                if got[key] != r[key]:
                    failures.append(f"{where}:{r['line']}: {case['title']}: {key}\n"
                                    f"    wanted {r[key]}\n    got    {got[key]}")
    return failures


def main():
    bin_dir, path = os.path.abspath(sys.argv[1]), sys.argv[2]
    cases = parse(path)
    failures = [f for case in cases for f in run(case, bin_dir, os.path.basename(path))]
    print("\n".join(failures))
    print(f"{len(cases)} cases, {len(failures)} failures")
    sys.exit(1 if failures or not cases else 0)


main()
