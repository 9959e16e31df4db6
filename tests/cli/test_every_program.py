"""What is promised of every program and needs no data: help, version, man page, completion, the
exit code of a mistake, and that lost output is noticed. Programs and subcommands are found, not listed."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.abspath(sys.argv.pop(1))
NAMES = ["corpus", "bpe-train", "tokenize", "fertility", "shard", "lmtrain", "lmgen", "lmeval",
         "lmreport", "lmhub"]


def run(*args, **kw):
    kw.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(args, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          timeout=60, **kw)


def commands():
    """[program] and [program, subcommand] for all there are."""
    for name in NAMES:
        path = os.path.join(TOOLS, name)
        if not os.path.isfile(path):
            continue
        yield [path]
        text = run(path, "--help").stdout
        listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, flags=re.M)
        for line in listed.group(1).splitlines() if listed else ():
            if re.match(r"  \S", line):
                yield [path, line.split()[0]]


class EveryProgram(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.commands = list(commands())

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)

    def tearDown(self):
        os.chdir("/")
        self.folder.cleanup()

    def each(self):
        for command in self.commands:
            with self.subTest(command=" ".join([os.path.basename(command[0]), *command[1:]])):
                yield command

    def test_there_are_programs(self):
        self.assertTrue(self.commands, f"no programs in {TOOLS}")

    def test_help(self):
        for c in self.each():
            r = run(*c, "--help")
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertIn("Usage: ", r.stdout)
            long = [line for line in r.stdout.splitlines() if len(line) > 100]
            self.assertEqual(long, [])

    def test_version_is_one_line(self):
        for c in self.each():
            r = run(*c, "--version")
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertRegex(r.stdout, r"^\S+( \S+)? \(Lory\) \d+\.\d+\.\d+\n$")

    def test_manual_and_completion(self):
        for c in self.each():
            self.assertTrue(run(*c, "--man").stdout.startswith(".TH "))
            script = run(*c, "--completion", "bash")
            self.assertEqual(script.returncode, 0)
            check = subprocess.run(["bash", "-n"], input=script.stdout, text=True,
                                   capture_output=True)
            self.assertEqual((check.returncode, check.stderr), (0, ""))

    def test_programs_with_subcommands_took_any_shell(self):
        for c in self.each():
            for shell in ["--completion", "fish"], ["--completion=fish"], ["--completion"]:
                r = run(*c, *shell)
                self.assertEqual((r.returncode, r.stdout), (2, ""), shell)
                self.assertIn("--completion", r.stderr)
            self.assertEqual(run(*c, "--completion=zsh").stdout, run(*c, "--completion", "zsh").stdout)
            self.assertRegex(run(*c, "--completion", "words").stdout, r"^(\S+\n)+$")

    def test_unknown_flag_is_usage(self):
        for c in self.each():
            r = run(*c, "--no-such-flag-at-all")
            self.assertEqual((r.returncode, r.stdout), (2, ""))
            self.assertRegex(r.stderr, r"--no-such-flag-at-all")
            self.assertEqual(os.listdir("."), [])

    def test_unknown_key_is_usage(self):
        with open("c.yaml", "w") as f:
            f.write("no-such-key: 1\n")
        for c in self.each():
            if len(c) == 1 and "SUBCOMMAND" in run(*c, "--help").stdout.splitlines()[2]:
                continue  # reads no configuration itself
            r = run(*c, "--config", "c.yaml")
            self.assertEqual(r.returncode, 2, r.stderr)
            self.assertIn("c.yaml:1: unknown key no-such-key", r.stderr)

    def test_full_disk_behind_stdout(self):
        for c in self.each():
            with open("/dev/full", "w") as full:
                r = run(*c, "--help", stdout=full)
            self.assertEqual(r.returncode, 4)
            self.assertIn("stdout: No space left on device", r.stderr)


if __name__ == "__main__":
    unittest.main()
