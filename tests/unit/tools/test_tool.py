"""What every program promises, shown on the demo program: streams, exit codes, help, progress."""
import json
import os
import pty
import subprocess
import sys
import tempfile
import unittest

DEMO = os.path.abspath(sys.argv.pop(1))


def run(*args, **kw):
    env = dict(os.environ, **kw.pop("env", {}))
    return subprocess.run([DEMO, *args], capture_output="stdout" not in kw, text=True, env=env,
                          stdin=subprocess.DEVNULL, timeout=60, **kw)


def on_terminal(*args, env=None):
    """Standard error on a terminal; what appeared there."""
    master, slave = pty.openpty()
    child = subprocess.Popen([DEMO, *args], stderr=slave, stdout=subprocess.DEVNULL,
                             env=dict(os.environ, TERM="xterm", **(env or {})))
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    child.wait(60)
    os.close(master)
    return seen.decode()


class Tool(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)

    def tearDown(self):
        os.chdir("/")
        self.folder.cleanup()

    def test_results_on_stdout_the_rest_on_stderr(self):
        r = run("run", "--lines", "2")
        self.assertEqual((r.returncode, r.stdout, r.stderr),
                         (0, "line 0\nline 1\n", "demo run: seed 1\n"))
        self.assertEqual(run("run", "-q", "-v", "0").stderr, "")
        self.assertIn("threads 3", run("run", "--verbose", "--threads", "3").stderr)

    def test_json_is_one_object(self):
        self.assertEqual(json.loads(run("run", "--json", "--lines", "7").stdout), {"lines": 7})

    def test_every_exit_code(self):
        for code in range(1, 10):
            r = run("run", "-q", "--fail", str(code))
            self.assertEqual((r.returncode, r.stderr), (code, "demo run: told to fail\n"))
        r = run("run", "-q", "--interrupt")
        self.assertEqual((r.returncode, r.stderr), (143, "demo run: interrupted; state saved\n"))

    def test_usage_is_2_and_suggests(self):
        r = run("run", "--linse", "3")
        self.assertEqual((r.returncode, r.stdout), (2, ""))
        self.assertIn("did you mean --lines?", r.stderr)
        self.assertEqual(run("statz").stderr, "demo: unknown subcommand statz; did you mean stats?\n")
        self.assertEqual((run("statz").returncode, run().returncode), (2, 2))

    def test_lost_output_is_noticed(self):
        for args in (["run"], ["run", "--json"], ["run", "--help"], ["--help"], ["run", "-o", "-"]):
            with open("/dev/full", "w") as full:
                r = run(*args, stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(r.returncode, 4, args)
            self.assertIn("stdout: No space left on device", r.stderr)
        closed = subprocess.run(["sh", "-c", '"$0" run >&-', DEMO], stderr=subprocess.PIPE)
        self.assertEqual(closed.returncode, 4)

    def test_closed_pipe_is_quiet(self):
        line = '"$0" run -q --lines 1000000; echo $? >&2'
        r = subprocess.run(["bash", "-c", f"({line}) | head -n 1", DEMO], capture_output=True)
        self.assertEqual((r.stdout, r.stderr), (b"line 0\n", b"0\n"))

    def test_help_version_man_and_completion(self):
        text = run("run", "--help").stdout
        for flag in ("-v, --lines", "--config", "-q, --quiet", "    --verbose", "-h, --help"):
            self.assertIn(flag, text)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()))
        self.assertRegex(run("run", "--version").stdout, r"^demo run \(Lory\) \d+\.\d+\.\d+\n$")
        self.assertIn("EXIT STATUS", run("run", "--man").stdout)
        self.assertIn("--lines", run("run", "--completion", "words").stdout.split())
        self.assertIn("run", run("--help").stdout)
        for args in (["--completion", "bash"], ["run", "--completion", "bash"]):
            script = run(*args).stdout
            check = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
            self.assertEqual((check.returncode, check.stderr), (0, ""))

    def test_folder_configuration_is_announced(self):
        with open("lory.yaml", "w") as f:
            f.write("demo:\n  run:\n    lines: 1\n  stats:\n    lines: 2\nlmtrain:\n  x: y\n")
        r = run("run")
        self.assertEqual((r.stdout, r.stderr), ("line 0\n", "demo run: options from lory.yaml\n"
                                                            "demo run: seed 1\n"))
        self.assertEqual(run("run", "-q", "--lines", "0").stderr, "")

    def test_artefact_or_nothing(self):
        r = run("run", "-q", "-o", "no/such/place")
        self.assertEqual((r.returncode, os.listdir(".")), (4, []))
        self.assertEqual((run("run", "-q", "-o", "a").returncode, os.listdir(".")), (0, ["a"]))

    def test_progress_only_where_it_belongs(self):
        piped = run("run", "--steps", "60").stderr
        self.assertNotIn("\r", piped)
        self.assertNotIn("counting", piped)  # less than ten seconds
        self.assertIn("demo run: warning: half \\x1b[31mway\n", piped)
        self.assertNotIn("\x1b", piped)
        seen = on_terminal("run", "--steps", "60")
        self.assertRegex(seen, r"\rcounting|\x1b\[Kcounting  \d+% \[")
        self.assertIn("\x1b[33mwarning: \x1b[0mhalf", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), seen[-200:])  # nothing is left standing
        plain = on_terminal("run", "--steps", "60", env={"NO_COLOR": "1"})
        self.assertNotIn("\x1b[33m", plain)
        self.assertNotIn("counting", on_terminal("run", "--steps", "60", "-q"))


if __name__ == "__main__":
    unittest.main()
