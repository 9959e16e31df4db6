"""Writing to the Hub: repositories, pushes with faults, runs, tokens.

usage: test_push.py HTTP_PROBE LMHUB LMTRAIN
"""
import signal
import stat
import subprocess
import time
import unittest

from case import *

WEIGHTS = random.Random(7).randbytes(400_000)


class Push(Case):
    def setUp(self):
        super().setUp()
        self.hub.repos.pop(("model", "me/m"), None)
        self.hub.objects.clear()
        self.hub.parts.clear()
        self.hub.signature = "secret"
        self.folder = self.dir + "/folder"
        self.put("a.txt", b"hello\n")
        self.put("sub/w.bin", WEIGHTS)
        self.put("sub/empty.bin", b"")

    def put(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def repo(self, name="me/m", kind="model"):
        return self.hub.repos[(kind, name)]

    def files(self, branch="main", **which):
        repo = self.repo(**which)
        return {n: b for n, (b, _) in repo.commits[repo.refs[branch]]["files"].items()}

    def titles(self, branch="main"):
        repo, out = self.repo(), []
        sha = repo.refs[branch]
        while sha:
            out.insert(0, repo.commits[sha]["title"])
            sha = repo.commits[sha]["parent"]
        return out

    def push(self, *args, **env):
        r = self.lmhub("push", self.folder, "hf://me/m", "--json", *args, **env)
        return r, json.loads(r.stdout) if r.returncode == 0 else None

    def asked(self, path, method="POST"):
        return [x for x in self.hub.log if path in x[1] and x[4] == method]

    def test_a_folder(self):
        r, j = self.push("--message", "first")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files(), {"a.txt": b"hello\n", "sub/w.bin": WEIGHTS, "sub/empty.bin": b""})
        self.assertEqual((j["files"], j["commits"], j["bytes"]), (3, 1, len(WEIGHTS)))
        self.assertEqual(self.titles(), ["initial commit", "first"])
        self.assertIsNone(self.hub.repos[("model", "me/m")].commits[j["commit"]]["files"].get(".cache/huggingface/lory-push.journal"))
        self.hub.log.clear()
        r, j = self.push()
        self.assertEqual((j["files"], j["commits"], j["unchanged"]), (0, 0, 3))
        self.assertFalse(self.asked("/commit/"))

    def test_what_is_left_out(self):
        self.put(".git/config", b"secret")
        self.put(".cache/huggingface/x", b"")
        self.put("sub/.x.tmp-17", b"")
        self.put("b.ignored", b"the Hub says so")
        self.put("c.log", b"")
        os.symlink("/etc", self.folder + "/etc")
        r, j = self.push("--exclude", "*.log", "--exclude", "sub/e*")
        self.assertEqual(sorted(self.files()), ["a.txt", "sub/w.bin"], r.stderr)
        self.assertEqual(j["ignored"], 1)
        r, j = self.push("--include", "*.log")
        self.assertEqual(sorted(self.files()), ["a.txt", "c.log", "sub/w.bin"], r.stderr)

    def test_one_file_and_where_it_goes(self):
        for ref, name in (("hf://me/m", "a.txt"), ("hf://me/m/docs/b.txt", "docs/b.txt"), ("hf://me/m/docs/", "docs/a.txt")):
            r = self.lmhub("push", self.folder + "/a.txt", ref)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertIn(name, self.files())

    def test_in_parts(self):
        self.hub.part_bytes = 100_000 - 7
        r, j = self.push("--threads", "3")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files()["sub/w.bin"], WEIGHTS)
        self.assertEqual(len(self.asked("/part/", "PUT")), 5)
        self.assertEqual(len(self.asked("/api/verify")), 1)

    def test_stopped_in_the_middle_of_parts(self):
        """The second push sends only the parts that are missing: the addresses are in its journal."""
        self.hub.part_bytes = 100_000
        self.hub.reset({"at": "cdn", "path": "/3", "method": "PUT", "do": "status", "code": 400})
        self.hub.part_bytes = 100_000
        r, _ = self.push("--threads", "1")
        self.fails(r, 5, "sub/w.bin", "400")
        self.assertEqual(stat.S_IMODE(os.stat(self.folder + "/.cache/huggingface/lory-push.journal").st_mode), 0o600)
        self.hub.log.clear()
        r, _ = self.push("--threads", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual([x[1][-2:] for x in self.asked("/part/", "PUT")], ["/3", "/4"])
        self.assertEqual(self.files()["sub/w.bin"], WEIGHTS)

    def test_addresses_ran_out_meanwhile(self):
        self.hub.reset({"at": "cdn", "path": "/3", "method": "PUT", "do": "status", "code": 400})
        self.hub.part_bytes = 100_000
        self.fails(self.push("--threads", "1")[0], 5, "400")
        self.hub.signature = "new"
        self.hub.parts.clear()
        r, _ = self.push("--threads", "1")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files()["sub/w.bin"], WEIGHTS)

    def test_connection_lost_while_sending(self):
        self.hub.reset({"at": "cdn", "path": "/upload/", "do": "hangup", "byte": 5000},
                       {"at": "cdn", "path": "/upload/", "do": "status", "code": 503})
        r, _ = self.push()
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files()["sub/w.bin"], WEIGHTS)

    def test_answer_of_the_commit_lost(self):
        """A commit is not idempotent: it is not sent again before the branch was looked at."""
        self.push()
        self.put("a.txt", b"new\n")
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "lost"})
        r, j = self.push("--message", "second")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.titles(), ["initial commit", "add folder", "second"])
        self.assertEqual(j["commit"], self.repo().refs["main"])
        self.assertEqual((j["commits"], j["files"]), (1, 1))
        self.assertEqual(len(self.asked("/commit/")), 1)

    def test_a_commit_takes_its_time(self):
        """Longer than the silence that ends a download: it is waited for, not sent again."""
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "think", "seconds": 3})
        r, j = self.push(HF_HUB_DOWNLOAD_TIMEOUT="1")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(len(self.asked("/commit/")), 1)

    def test_commit_refused_for_a_while(self):
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "status", "code": 504},
                       {"path": "/commit/", "method": "POST", "do": "status", "code": 429, "headers": {"Retry-After": "1"}})
        r, _ = self.push()
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.titles(), ["initial commit", "add folder"])

    def test_somebody_else_commits_meanwhile(self):
        self.push()
        self.put("a.txt", b"mine\n")

        def other():
            repo = self.repo()
            repo.commit("main", self.repo().commits[repo.refs["main"]]["files"] | {"theirs.txt": (b"x", False)}, "theirs")
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "call", "call": other})
        r, _ = self.push("--message", "mine")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.titles()[-2:], ["theirs", "mine"])
        self.assertEqual(self.files()["a.txt"], b"mine\n")
        self.assertIn("theirs.txt", self.files())

    def test_many_files(self):
        """At most a hundred to a commit; contents that lie there twice are sent once."""
        for i in range(230):
            self.put(f"many/{i:03d}.bin", b"\0%d" % (i % 3))
        r, j = self.push("--message", "many")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(len(self.files()), 233)
        self.assertEqual(self.titles()[1:], [f"many (part {i} of 3)" for i in (1, 2, 3)])
        self.assertEqual(len(self.asked("/upload/", "PUT")), 4)

    def test_killed_and_done_again(self):
        for i in range(60):
            self.put(f"k/{i}.bin", os.urandom(30_000))
        want = read_folder(self.folder)
        env = {**os.environ, "HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.dir}
        for wait in (0.02, 0.05, 0.1, 0.15, 0.2):
            p = subprocess.Popen([LMHUB, "push", "-q", self.folder, "hf://me/m"], env=env, stderr=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)
            time.sleep(wait)
            p.send_signal(signal.SIGKILL)
            p.wait()
        r, _ = self.push()
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files(), want)
        self.assertEqual(len(self.titles()), 2)

    def test_branches_and_merge(self):
        self.push()
        r = self.lmhub("branch", "hf://me/m", "a/b")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.fails(self.lmhub("branch", "hf://me/m", "a/b"), 5, "a/b", "already")
        self.put("a.txt", b"on the branch\n")
        self.put("more.bin", WEIGHTS[::-1])
        r = self.lmhub("push", self.folder, "hf://me/m@a%2Fb", "--message", "work")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files()["a.txt"], b"hello\n")
        self.hub.log.clear()
        r = self.lmhub("merge", "hf://me/m", "a/b", "--json")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.files(), self.files("a/b"))
        self.assertEqual(self.titles()[-1], "merge a/b")
        self.assertFalse([x for x in self.hub.log if x[4] == "PUT"], "nothing large is sent again")
        self.assertEqual(json.loads(self.lmhub("merge", "hf://me/m", "a/b", "--json").stdout)["commits"], 0)
        r = self.lmhub("branch", "hf://me/m", "--json")
        self.assertEqual(sorted(json.loads(r.stdout)), ["a/b", "main"])
        self.assertEqual(self.lmhub("branch", "hf://me/m", "a/b", "--delete").returncode, 0)
        self.assertNotIn("a/b", self.repo().refs)
        self.fails(self.lmhub("merge", "hf://me/m", "a/b"), 5, '"a/b"')

    def test_merge_whose_answer_is_lost(self):
        self.push()
        self.lmhub("branch", "hf://me/m", "b")
        self.put("a.txt", b"new\n")
        self.lmhub("push", self.folder, "hf://me/m@b")
        self.hub.reset({"path": "/commit/", "method": "POST", "do": "lost"})
        r = self.lmhub("merge", "hf://me/m", "b")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.titles()[-1], "merge b")
        self.assertEqual(len(self.asked("/commit/")), 1)

    def test_create(self):
        r = self.lmhub("create", "m")
        self.assertEqual(r.stdout.decode(), self.hub.url("hub") + "/me/m\n", r.stderr)
        self.fails(self.lmhub("create", "m"), 5, "exists already")
        self.assertEqual(self.lmhub("create", "m", "--exist-ok").returncode, 0)
        r = self.lmhub("create", "d", "--type", "dataset", "--organization", "org", "--private")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertTrue(self.repo("org/d", "dataset").private)
        self.fails(self.lmhub("create", "hf://you/m"), 5, "you/m")
        self.fails(self.lmhub("create", "m", "--organization", "org", "--type", "space"), 2, "space")

    def test_not_permitted(self):
        self.fails(self.push(HF_TOKEN="")[0], 5, "HF_TOKEN", "login")
        self.fails(self.push(HF_TOKEN="wrong")[0], 5, "token is not valid")
        self.push()
        self.fails(self.push(HF_TOKEN=server.OTHER)[0], 5, "does not permit")
        self.fails(self.lmhub("push", self.dir + "/nowhere", "hf://me/m"), 4, "nowhere")
        self.fails(self.push(HF_HUB_OFFLINE="1")[0], 5, "HF_HUB_OFFLINE")

    def test_renamed(self):
        """Another name of the same repository: what is sent goes there, too."""
        self.lmhub("create", "m")
        self.hub.add("model", "me/old", {}).moved = "me/m"
        r = self.lmhub("push", self.folder, "hf://me/old")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(sorted(self.files()), ["a.txt", "sub/empty.bin", "sub/w.bin"])


class Tokens(Case):
    def home(self, *args, stdin=None, **env):
        return self.run_([LMHUB, *args], stdin, HF_TOKEN="", **env)

    def test_login(self):
        r = self.home("login", stdin=server.TOKEN.encode() + b"\n")
        self.assertEqual(r.returncode, 0, r.stderr)
        for name in ("token", "stored_tokens"):
            self.assertEqual(stat.S_IMODE(os.stat(f"{self.dir}/{name}").st_mode), 0o600)
        self.assertEqual(self.home("whoami").stdout, b"me\n")
        self.assertEqual(json.loads(self.home("whoami", "--json").stdout)["organizations"], ["org"])
        self.home("login", "--name", "second", stdin=server.OTHER.encode())
        self.assertEqual(self.home("whoami").stdout, b"you\n")
        with open(self.dir + "/stored_tokens") as f:
            self.assertEqual(sorted(x for x in f.read().split("\n") if x.startswith("[")), ["[laptop]", "[second]"])
        self.fails(self.home("logout", "third"), 2, "third")
        self.assertEqual(self.home("logout", "second").returncode, 0)
        self.assertEqual(sorted(os.listdir(self.dir)), ["stored_tokens"])
        self.assertEqual(self.home("logout").returncode, 0)
        self.assertEqual(os.listdir(self.dir), [])
        self.fails(self.home("whoami"), 5, "nobody")

    def test_logout_takes_one_name_or_none(self):
        """Two names were taken for the first alone."""
        self.fails(self.lmhub("logout", "laptop", "other"), 2, "name one token, or none for all")

    def test_a_token_that_is_none_is_not_stored(self):
        self.fails(self.home("login", stdin=b"hf_wrong\n"), 5, "not valid")
        self.fails(self.home("login", stdin=b"\n"), 2, "no token")
        self.assertEqual(os.listdir(self.dir), [])

    def test_where_tokens_are_looked_for(self):
        with open(self.dir + "/elsewhere", "w") as f:
            f.write(server.OTHER + "\n")
        self.assertEqual(self.home("whoami", HF_TOKEN_PATH=self.dir + "/elsewhere").stdout, b"you\n")
        self.assertEqual(self.home("whoami", HUGGING_FACE_HUB_TOKEN=server.TOKEN).stdout, b"me\n")
        self.assertEqual(self.home("whoami", HF_HOME="~/h", HOME=self.dir).returncode, 5)
        os.mkdir(self.dir + "/h")
        os.rename(self.dir + "/elsewhere", self.dir + "/h/token")
        self.assertEqual(self.home("whoami", HF_HOME="~/h", HOME=self.dir).stdout, b"you\n")
        self.fails(self.home("whoami", HF_HOME="~/h", HOME=self.dir, HF_HUB_DISABLE_IMPLICIT_TOKEN="1"), 5, "nobody")


if __name__ == "__main__":
    unittest.main()
