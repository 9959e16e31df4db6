#!/usr/bin/env python3
"""The rules that a compiler does not know, executed.

    lint.py includes ROOT            who may include whom (layers.txt)
    lint.py symbols ROOT BUILD       no library needs what only a forbidden one defines
    lint.py headers ROOT CC...       every header compiles alone
    lint.py clang ROOT BUILD         clang takes the sources, too (exit 77 without it)
    lint.py aarch64 ROOT BUILD       and a compiler for another processor (exit 77 without it)
    lint.py text ROOT                length of files and lines, banned words
    lint.py calls ROOT               libraries do not print, exit or read the environment
    lint.py format ROOT              clang-format has nothing to change (exit 77 without it)

Every complaint is `file:line: what`; the last line counts them. Standard library only."""
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

LIBRARIES = ["base", "tokenizer", "stream", "train", "cuda", "eval", "report"]
FILE_LINES, LINE_COLUMNS = 800, 100
FORMAT_VERSION = 14  # of clang-format; others lay out some corners differently


class Layers:
    """layers.txt as dictionaries."""

    def __init__(self, path):
        self.may = {}
        self.private, self.generated, self.fragments = (), set(), set()
        self.allowed, self.flags = {}, {}
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
        for line in lines:
            line = line.split("#")[0].strip()
            if not line:
                continue
            key, _, rest = line.partition(":")
            words = rest.split()
            if key == "private":
                self.private = tuple(words)
            elif key == "generated":
                self.generated.update(words)
            elif key == "fragment":
                self.fragments.update(words)
            elif key.startswith("flags "):
                self.flags[key.split()[1]] = words
            elif key.startswith("allow "):
                self.allowed[key.split()[1]] = set(words)
            else:
                self.may[key] = words

    def permits(self, folder, header):
        top = header.split("/")[0]
        inside = header.endswith(self.private)
        if top == folder or folder == "tests":
            return True
        if inside:
            return False
        return any(w == "*" or header == w or (w.endswith("/") and header.startswith(w))
                   for w in self.may[folder])

    def folders_below(self, folder):
        words = self.may[folder]
        return set(self.may) if "*" in words else {w.split("/")[0] for w in words} | {folder}


def sources(root, folders, ends=(".c", ".h", ".cu", ".cuh", ".def")):
    """Paths of the sources in some folders, relative to the root, sorted."""
    found = []
    for folder in folders:
        for where, names, files in os.walk(os.path.join(root, folder)):
            names[:] = sorted(n for n in names if not n.startswith((".", "build", "__")))
            found += [os.path.relpath(os.path.join(where, f), root)
                      for f in sorted(files) if f.endswith(ends)]
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def code_only(text):
    """The text without comments, strings and characters; line breaks stay where they are."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group()) if match.group()[0] == "/" else (
            '""' + "\n" * match.group().count("\n"))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text,
                  flags=re.S)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def check_includes(root, layers):
    for path in sources(root, layers.may):
        folder = path.split(os.sep)[0]
        text = read(root, path)
        for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, flags=re.M):
            header, line = m.group(1), line_of(text, m.start())
            beside = os.path.join(root, os.path.dirname(path), header)
            if folder == "tests" and os.path.exists(beside):
                continue
            if "/" not in header or header.split("/")[0] not in layers.may:
                yield f'{path}:{line}: write "{header}" from the root of the tree'
            elif not layers.permits(folder, header):
                yield f"{path}:{line}: {folder}/ may not include {header}"


def nm(archive, *flags):
    out = subprocess.run(["nm", "-P", *flags, archive], capture_output=True, text=True)
    return {line.split()[0] for line in out.stdout.splitlines()
            if len(line.split()) >= 2 and not line.endswith(":")}


def check_symbols(root, layers, build):
    archives = {f: [] for f in LIBRARIES}
    for folder in LIBRARIES:
        for where, _, files in os.walk(os.path.join(build, folder)):
            archives[folder] += [os.path.join(where, f) for f in files if f.endswith(".a")]
    defined, wanted = {}, {}
    for folder, found in archives.items():
        defined[folder] = set().union(*(nm(a, "-g", "--defined-only") for a in found))
        wanted[folder] = set().union(*(nm(a, "-u") for a in found))
    if not defined["base"]:
        yield f"{build}: no archives; build first"
    for folder in LIBRARIES:
        if not archives[folder]:
            continue
        below = layers.folders_below(folder)
        reachable = set().union(*(defined.get(f, set()) for f in below))
        for other in LIBRARIES:
            for name in sorted((wanted[folder] & defined[other]) - reachable):
                yield f"{folder}/: calls {name} of {other}/"


def compile_header(root, cc, flags, path):
    unit = f'#include "{path}"\nextern int lint_nothing;\n'
    r = subprocess.run([*cc, *flags, "-fsyntax-only", "-I.", "-x", "c", "-"], input=unit, cwd=root,
                       capture_output=True, text=True)
    first = next((w for w in r.stderr.splitlines() if "error" in w or "warning" in w), r.stderr)
    return None if r.returncode == 0 else f"{path}:1: does not compile alone: {first.strip()}"


def check_headers(root, layers, cc):
    paths = [p for p in sources(root, layers.may, (".h",)) if p not in layers.fragments]
    # Those of cuda/ need the toolkit, those of the emulator are C++.
    paths = [p for p in paths if not p.startswith(("cuda" + os.sep, "tests/simt/"))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for complaint in pool.map(
                lambda p: compile_header(root, cc, layers.flags.get(p, []), p), paths):
            if complaint:
                yield complaint


BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|gets)\s*\(")
TODO = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\([^)]+\))")


def flags_of(entry):
    """The flags that the build has for one source, but for colours, which would hide the word "error"."""
    kept = ("-I", "-D", "-f", "-m", "-std", "-W")
    return [w for w in shlex.split(entry["command"])
            if w.startswith(kept) and not w.startswith("-fdiagnostics")]


def other_compiler(build, cc, flags_for):
    """The errors of another compiler in the sources of the build, `flags_for(entry)` each; None: left out."""
    if not shutil.which(cc):
        print(f"no {cc}: nothing was checked")
        sys.exit(77)

    def compile_one(entry):
        r = subprocess.run([cc, "-fsyntax-only", *flags_for(entry), entry["file"]], capture_output=True,
                           text=True, cwd=entry["directory"])
        return r.stderr if r.returncode else ""

    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        entries = [e for e in json.load(f) if e["file"].endswith(".c") and flags_for(e) is not None
                   and not e.get("output", "").startswith("tests/")]  # the tree's sources over twins, too
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for said in pool.map(compile_one, entries):
            yield from (line for line in said.splitlines() if " error: " in line)


def check_clang(root, layers, build):
    return (line for line in other_compiler(build, "clang", flags_of) if "'omp.h'" not in line)


def flags_for_aarch64(entry):
    """Not for sources made for one x86 level; the libraries' headers are this machine's."""
    flags = [w for w in flags_of(entry) if not w.startswith("-DHAVE_X86")]
    if any(w.startswith("-m") for w in flags):
        return None
    return flags + ["-Wno-unknown-pragmas", "-idirafter", "/usr/include", "-idirafter",
                    "/usr/include/x86_64-linux-gnu"]


def check_aarch64(root, layers, build):
    return other_compiler(build, "aarch64-linux-gnu-gcc", flags_for_aarch64)


def check_text(root, layers):
    for path in sources(root, layers.may):
        text = read(root, path)
        lines = text.split("\n")
        if path in layers.generated:
            continue
        if len(lines) > FILE_LINES + 1:
            yield f"{path}:{FILE_LINES}: longer than {FILE_LINES} lines"
        if not text.startswith(("/*", "//")):
            yield f"{path}:1: does not open with its idea in a comment"
        for i, line in enumerate(lines, 1):
            if len(line) > LINE_COLUMNS:
                yield f"{path}:{i}: {len(line)} columns, {LINE_COLUMNS} allowed"
            if TODO.search(line):
                yield f"{path}:{i}: a TODO names who waits for what: TODO(condition)"
        code = code_only(text)
        for m in BANNED.finditer(code):
            yield f"{path}:{line_of(code, m.start())}: {m.group(1)} is banned"


CALLS = re.compile(r"\b(printf|vprintf|puts|putchar|perror|stdout|stderr|exit|_exit|quick_exit|abort|"
                   r"getenv|secure_getenv|setlocale)\b")


def check_calls(root, layers):
    for path in sources(root, LIBRARIES):
        code = code_only(read(root, path))
        code = re.sub(r"format\s*\(\s*printf", "format(       ", code)  # the attribute
        for m in CALLS.finditer(code):
            name = m.group(1)
            called = name in ("stdout", "stderr") or re.match(r"\s*\(", code[m.end():])
            if called and path not in layers.allowed.get(name, ()):
                yield f"{path}:{line_of(code, m.start())}: {name} in a library"


def check_format(root, layers):
    tool = shutil.which(f"clang-format-{FORMAT_VERSION}") or shutil.which("clang-format")
    version = tool and subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if not version or not re.search(rf"version {FORMAT_VERSION}\.", version):
        print(f"skipped: clang-format {FORMAT_VERSION} is not installed")
        sys.exit(77)
    paths = [p for p in sources(root, layers.may, (".c", ".h")) if p not in layers.generated]
    r = subprocess.run([tool, "--dry-run", "--ferror-limit=1", "-Werror", *paths], cwd=root,
                       capture_output=True, text=True)
    for m in sorted(set(re.findall(r"^(\S+?):(\d+):\d+: error", r.stderr, flags=re.M))):
        yield f"{m[0]}:{m[1]}: run clang-format -i on it"
    if r.returncode and "error" not in r.stderr:
        yield f"{tool}: {r.stderr.strip()}"


CHECKS = {"includes": check_includes, "symbols": check_symbols, "headers": check_headers,
          "clang": check_clang, "aarch64": check_aarch64, "text": check_text, "calls": check_calls, "format": check_format}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    name, root, rest = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]
    layers = Layers(os.path.join(root, "tests/lint/layers.txt"))
    extra = [rest] if name == "headers" else rest[:1]
    complaints = list(CHECKS[name](root, layers, *extra))
    for complaint in complaints:
        print(complaint)
    print(f"{name}: {len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
