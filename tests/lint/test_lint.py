"""The rules are seen failing: each check is run on a small tree with exactly one fault."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CC = sys.argv.pop(1)
GOOD_H = '/* Good. */\n#ifndef A_H\n#define A_H\n#include "base/err.h"\nint a(struct err *e);\n#endif\n'


class Lint(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.put("base/err.h", "/* Errors. */\nstruct err;\n")
        self.put("stream/a.h", GOOD_H)
        self.put("stream/shard.h", GOOD_H)
        with open(os.path.join(HERE, "layers.txt")) as f:
            self.put("tests/lint/layers.txt", f.read())

    def tearDown(self):
        self.folder.cleanup()

    def put(self, path, text):
        path = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def lint(self, name, *args):
        r = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), name, self.folder.name,
                            *args], capture_output=True, text=True)
        return r.returncode, r.stdout + r.stderr

    def complains(self, name, words, *args):
        code, text = self.lint(name, *args)
        self.assertEqual(code, 1, text)
        self.assertIn(words, text)
        self.assertIn("1 complaints", text)

    def test_good_tree_passes(self):
        for name in ("includes", "text", "calls"):
            self.assertEqual(self.lint(name)[0], 0, name)
        self.assertEqual(self.lint("headers", CC)[0], 0)

    def test_upward_include(self):
        self.put("base/x.c", '/* X. */\n#include "stream/a.h"\n')
        self.complains("includes", "base/x.c:2: base/ may not include stream/a.h")

    def test_only_the_named_header(self):
        self.put("train/x.c", '/* X. */\n#include "stream/shard.h"\n # include "stream/a.h"\n')
        self.complains("includes", "train/x.c:3: train/ may not include stream/a.h")

    def test_private_header(self):
        self.put("tools/x.c", '/* X. */\n#include "base/json_inside.h"\n')
        self.complains("includes", "tools/ may not include base/json_inside.h")

    def test_include_from_the_root(self):
        self.put("base/x.c", '/* X. */\n#include "err.h"\n')
        self.complains("includes", "from the root")

    def test_header_alone(self):
        self.put("stream/b.h", "/* B. */\nint b(size_t n);\n")
        self.complains("headers", "stream/b.h:1: does not compile alone", CC)

    def test_upward_call(self):
        build = os.path.join(self.folder.name, "build")
        for folder, text in (("base", "int up(void); int low(void) { return up(); }"),
                             ("stream", "int up(void) { return 0; }"),
                             ("tokenizer", "int low(void); int good(void) { return low(); }")):
            self.put(f"build/{folder}/x.c", text)
            at = os.path.join(build, folder)
            subprocess.run([CC, "-c", "x.c"], cwd=at, check=True)
            subprocess.run(["ar", "cr", f"lib{folder}.a", "x.o"], cwd=at, check=True)
        self.complains("symbols", "base/: calls up of stream/", build)

    def test_text_rules(self):
        for text, words in (("int a;\n", "does not open with its idea"),
                            ("/* A. */\n" + "int a;\n" * 800, "longer than 800 lines"),
                            ("/* A. */\n// " + "é" * 98 + "\n", "101 columns"),
                            ("/* A. TODO: later */\n", "x.c:1: a TODO names"),
                            ("/* A. */\nint a = atoi (s);\n", "x.c:2: atoi is banned")):
            self.put("tokenizer/x.c", text)
            self.complains("text", words)
        self.put("tokenizer/x.c", '/* atoi(s), TODO(zlib 2) */\nchar *s = "atoi(s)";\n')
        self.assertEqual(self.lint("text")[0], 0)

    def test_libraries_are_silent(self):
        self.put("tools/x.c", "/* X. */\nint f(void) { exit(1); }\n")
        self.put("base/y.c", '/* exit(1) */\nchar *s = "exit(1)"; int exit_code;\n')
        self.assertEqual(self.lint("calls")[0], 0)
        for call in ("printf (s)", "exit(1)", "getenv(s)", "fprintf(stderr, s)"):
            self.put("train/x.c", "/* X. */\n\nvoid f(void) { %s; }\n" % call)
            self.complains("calls", "train/x.c:3: ")

    def test_another_compiler_in_colours(self):
        """The word "error" was looked for where the build's flags had put colours around it."""
        for name, cc in (("clang", "clang"), ("aarch64", "aarch64-linux-gnu-gcc")):
            with self.subTest(name):
                if not shutil.which(cc):
                    self.skipTest(f"no {cc}")
                self.put("build/compile_commands.json", json.dumps([
                    {"directory": self.folder.name, "file": "base/x.c",
                     "command": "cc -std=c11 -fdiagnostics-color=always -c base/x.c"}]))
                self.put("base/x.c", "/* X. */\nint f(void) { return 1; }\n")
                self.assertEqual(self.lint(name, self.folder.name + "/build")[0], 0)
                self.put("base/x.c", "/* X. */\nint f(void) { return NONE; }\n")
                self.complains(name, "base/x.c:2:", self.folder.name + "/build")

    def test_the_includes_of_the_table_are_known(self):
        self.put("eval/x.c", '/* X. */\n#include "stream/http.h"\n#include <stdio.h>\n')
        self.assertEqual(self.lint("includes")[0], 0)


if __name__ == "__main__":
    unittest.main()
