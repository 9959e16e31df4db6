"""huggingface_hub and lmhub against the same server: whatever one of them pushed, fetched or stored, the other
reads. Skips (77) where huggingface_hub cannot be imported; LORY_PYTHON names an interpreter that can.

usage: test_peer.py HTTP_PROBE LMHUB LMTRAIN
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../diff"))
import peers

peers.need("huggingface_hub")

import unittest

from case import *

# Settings are read when the package is imported: everything of it runs in a process of its own.
CLIENT = """
import sys, json, os
from huggingface_hub import *
api = HfApi()
%s
"""


class Peer(Case):
    def setUp(self):
        super().setUp()
        for name in ("m", "peer"):
            self.hub.repos.pop(("model", "me/" + name), None)
            self.hub.repos.pop(("dataset", "me/" + name), None)
        self.hub.objects.clear()
        self.hub.page = 1000
        self.folder = self.dir + "/folder"
        self.want = {"README.md": b"# x\n", "a b/\xc3\xa9.txt".encode().decode(): b"text", "w.bin": BIG[:500_000],
                     "data/empty.txt": b"", "deep/er/x.bin": b"\0\1\2"}
        for n, b in self.want.items():
            os.makedirs(os.path.dirname(os.path.join(self.folder, n)), exist_ok=True)
            with open(os.path.join(self.folder, n), "wb") as f:
                f.write(b)

    def python(self, code, **env):
        r = self.run_([sys.executable, "-c", CLIENT % code], HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1",
                      HF_HUB_DISABLE_TELEMETRY="1", **env)
        self.assertEqual(r.returncode, 0, r.stderr.decode())
        return json.loads(r.stdout) if r.stdout.strip() else None

    def test_pushed_here_read_there(self):
        for kind, ref in (("model", "hf://me/m"), ("dataset", "hf://datasets/me/m")):
            for part_bytes in (None, 150_000):
                self.hub.part_bytes = part_bytes
                self.hub.objects.clear()
                self.assertEqual(self.lmhub("push", self.folder, ref).returncode, 0)
                where = self.python(f"print(json.dumps(snapshot_download('me/m', repo_type='{kind}')))",
                                    HF_HOME=f"{self.dir}/{kind}{part_bytes}")
                self.assertEqual(read_folder(where), self.want)
        names = self.python("print(json.dumps(api.list_repo_files('me/m')))")
        self.assertEqual(sorted(names), sorted(self.want))

    def test_pushed_there_read_here(self):
        for part_bytes in (None, 150_000):
            self.hub.part_bytes = part_bytes
            self.hub.objects.clear()
            self.python(f"api.create_repo('me/peer', exist_ok=True)\n"
                        f"api.upload_folder(repo_id='me/peer', folder_path={self.folder!r}, commit_message='theirs')")
            r = self.lmhub("get", "-q", "hf://me/peer", "-o", f"{self.dir}/out{part_bytes}")
            self.assertEqual(r.returncode, 0, r.stderr)
            got = read_folder(f"{self.dir}/out{part_bytes}")
            self.assertEqual({n: b for n, b in got.items() if not n.startswith(".cache/")}, self.want)

    def test_journal_is_not_uploaded(self):
        """What a push leaves in the folder was taken for one of its files by upload_folder."""
        self.assertEqual(self.lmhub("push", "-q", self.folder, "hf://me/ours").returncode, 0)
        self.python(f"api.create_repo('me/peer')\n"
                    f"api.upload_folder(repo_id='me/peer', folder_path={self.folder!r}, commit_message='theirs')")
        self.assertEqual(sorted(self.python("print(json.dumps(api.list_repo_files('me/peer')))")), sorted(self.want))

    def test_create_branch_upload_merge(self):
        """Half of each step there, half here."""
        self.python("api.create_repo('me/m', private=True)\napi.create_branch('me/m', branch='theirs')")
        self.assertEqual(self.lmhub("branch", "hf://me/m", "ours").returncode, 0)
        self.python(f"api.upload_file(repo_id='me/m', path_in_repo='w.bin', revision='ours', path_or_fileobj={self.folder + '/w.bin'!r})")
        r = self.lmhub("push", self.folder + "/README.md", "hf://me/m@theirs")
        self.assertEqual(r.returncode, 0, r.stderr)
        for branch in ("ours", "theirs"):
            self.assertEqual(self.lmhub("merge", "hf://me/m", branch).returncode, 0)
        r = self.python("print(json.dumps([api.list_repo_files('me/m'), sorted(b.name for b in api.list_repo_refs('me/m').branches),"
                        "[c.title for c in api.list_repo_commits('me/m')], api.model_info('me/m').sha]))")
        self.assertEqual(sorted(r[0]), ["README.md", "w.bin"])
        self.assertEqual(r[1], ["main", "ours", "theirs"])
        self.assertEqual(r[2][:2], ["merge theirs", "merge ours"])
        self.assertEqual(r[3], self.hub.repos[("model", "me/m")].refs["main"])

    def test_listed_alike(self):
        self.hub.add("dataset", "me/peer", self.want)
        for where, path in (("", None), ("/data", "data"), ("/deep", "deep")):
            theirs = self.python("print(json.dumps(sorted([f.path, f.size, f.lfs and f.lfs.sha256] for f in api.list_repo_tree('me/peer', "
                                 f"{path!r}, repo_type='dataset', recursive=True) if hasattr(f, 'size'))))")
            r = self.lmhub("ls", "-q", "--json", "hf://datasets/me/peer" + where)
            self.assertEqual(r.returncode, 0, r.stderr)
            ours = [[f["path"], f["bytes"], f.get("sha256")] for f in json.loads(r.stdout)["files"]]
            self.assertEqual(sorted(ours), theirs)
        commit = self.python("print(json.dumps(api.dataset_info('me/peer').sha))")
        self.assertEqual(json.loads(r.stdout)["commit"], commit)

    def test_read_alike(self):
        self.hub.add("dataset", "me/peer", self.want)
        for name in self.want:
            where = self.python(f"print(json.dumps(hf_hub_download('me/peer', {name!r}, repo_type='dataset')))")
            with open(where, "rb") as f:
                self.assertEqual(f.read(), self.want[name])
            self.ok(self.lmhub("cat", "-q", "hf://datasets/me/peer/" + name, HF_HOME=self.dir + "/empty"), self.want[name])

    def test_made_here_seen_there(self):
        for name in ("d", "e"):
            self.hub.repos.pop(("dataset", "org/" + name), None)
        self.assertEqual(self.lmhub("create", "m", "--private").returncode, 0)
        self.assertEqual(self.lmhub("create", "d", "--type", "dataset", "--organization", "org").returncode, 0)
        seen = self.python("print(json.dumps([api.model_info('me/m').private, api.dataset_info('org/d').private, api.repo_exists('me/d')]))")
        self.assertEqual(seen, [True, False, False])
        self.python("api.create_repo('org/e', repo_type='dataset')\napi.create_repo('me/m', exist_ok=True)")
        self.fails(self.lmhub("create", "m"), 5, "m: exists already")
        self.fails(self.lmhub("create", "hf://datasets/org/e"), 5, "org/e", "exist")
        self.assertEqual(self.lmhub("create", "hf://datasets/org/e", "--exist-ok").returncode, 0)
        self.python("api.delete_repo('org/e', repo_type='dataset')")
        self.fails(self.lmhub("ls", "hf://datasets/org/e"), 5, "no such dataset")

    def test_branches_of_both(self):
        self.hub.add("model", "me/m", self.want)
        branches = lambda: sorted(self.python("print(json.dumps([b.name for b in api.list_repo_refs('me/m').branches]))"))
        ours = lambda: json.loads(self.lmhub("branch", "hf://me/m", "--json").stdout)
        self.python("api.create_branch('me/m', branch='theirs')")
        self.assertEqual(self.lmhub("branch", "hf://me/m", "ours", "--from", "theirs").returncode, 0)
        self.assertEqual(branches(), ["main", "ours", "theirs"])
        self.assertEqual(sorted(ours()), branches())
        self.assertEqual(self.lmhub("branch", "hf://me/m", "theirs", "--delete").returncode, 0)
        self.python("api.delete_branch('me/m', branch='ours')")
        self.assertEqual(list(ours()), ["main"])
        self.assertEqual(branches(), ["main"])

    def test_whose_token(self):
        who = self.python("w = api.whoami(); print(json.dumps([w['name'], [o['name'] for o in w['orgs']]]))")
        r = json.loads(self.lmhub("whoami", "--json").stdout)
        self.assertEqual([r["name"], r["organizations"]], who)

    def test_moved_and_closed_ones(self):
        """Where the client follows, so do we; where it raises, we say why."""
        self.hub.add("dataset", "me/peer", self.want)
        self.hub.add("dataset", "me/old", {}).moved = "me/peer"
        self.addCleanup(lambda: self.hub.repos.pop(("dataset", "me/old")))
        self.assertEqual(sorted(self.python("print(json.dumps(api.list_repo_files('me/old', repo_type='dataset')))")), sorted(self.want))
        r = self.lmhub("ls", "--json", "hf://datasets/me/old")
        self.assertEqual(sorted(f["path"] for f in json.loads(r.stdout)["files"]), sorted(self.want))
        self.assertIn(b"me/peer", r.stderr)
        raised = """
def kind(*a, **k):
    try:
        hf_hub_download(*a, repo_type='dataset', **k)
    except Exception as e:
        return type(e).__name__.removeprefix("Remote")
print(json.dumps([kind('me/gated', 'x'), kind('me/missing', 'x'), kind('me/peer', 'x'), kind('me/peer', 'w.bin', revision='nope')]))"""
        self.assertEqual(self.python(raised), ["GatedRepoError", "RepositoryNotFoundError", "EntryNotFoundError", "RevisionNotFoundError"])
        self.fails(self.lmhub("get", "hf://datasets/me/gated/x"), 5, "me/gated is gated")
        self.fails(self.lmhub("get", "hf://datasets/me/missing/x"), 5, "no such dataset")
        self.fails(self.lmhub("get", "hf://datasets/me/peer/x"), 2, "no file of me/peer matches")
        self.fails(self.lmhub("get", "hf://datasets/me/peer@nope/w.bin"), 5, 'no revision "nope"')

    def test_one_cache_for_both(self):
        self.hub.add("dataset", "me/peer", self.want)
        # theirs, read here without a request for a file
        self.python("snapshot_download('me/peer', repo_type='dataset')")
        self.hub.reset()
        r = self.lmhub("get", "--json", "hf://datasets/me/peer")
        self.assertEqual((json.loads(r.stdout)["files"], json.loads(r.stdout)["kept"]), (0, len(self.want)), r.stderr)
        self.assertFalse([x for x in self.hub.log if "/resolve" in x[1] or x[0] == "cdn"])
        self.ok(self.lmhub("cat", "-q", "hf://datasets/me/peer/w.bin", HF_HUB_OFFLINE="1"), self.want["w.bin"])
        # ours, read there without any request
        shutil.rmtree(self.dir + "/hub")
        self.assertEqual(self.lmhub("get", "-q", "hf://datasets/me/peer").returncode, 0)
        self.hub.reset()
        where = self.python("print(json.dumps(snapshot_download('me/peer', repo_type='dataset')))", HF_HUB_OFFLINE="1")
        self.assertEqual(read_folder(where), self.want)
        one = self.python("print(json.dumps(hf_hub_download('me/peer', 'w.bin', repo_type='dataset')))", HF_HUB_OFFLINE="1")
        self.assertTrue(os.path.samefile(one, where + "/w.bin"))
        self.assertEqual(self.hub.log, [])
        info = self.python("i = scan_cache_dir(); print(json.dumps([len(i.repos), len(i.warnings), i.size_on_disk]))")
        self.assertEqual(info, [1, 0, sum(map(len, self.want.values()))])

    def test_what_does_not_exist_is_known_there(self):
        self.hub.add("model", "me/peer", self.want)
        self.lmhub("get", "-q", "hf://me/peer")
        self.fails(self.lmhub("get", "hf://me/peer/nothing.json"), 2, "nothing.json")
        known = self.python("from huggingface_hub import _CACHED_NO_EXIST\n"
                            "print(json.dumps(try_to_load_from_cache('me/peer', 'nothing.json') is _CACHED_NO_EXIST))")
        self.assertTrue(known)

    def test_one_folder_for_both(self):
        """local_dir there, -o here: what is up to date is not fetched again."""
        self.hub.add("model", "me/peer", self.want)
        out = self.dir + "/out"
        self.lmhub("get", "-q", "hf://me/peer", "-o", out)
        self.hub.reset()
        self.python(f"snapshot_download('me/peer', local_dir={out!r})")
        self.assertFalse([x for x in self.hub.log if x[4] == "GET" and (x[0] == "cdn" or "resolve" in x[1])])

    def test_logged_in_here_is_logged_in_there(self):
        r = self.run_([LMHUB, "login"], server.TOKEN.encode(), HF_TOKEN="")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(self.python("print(json.dumps(api.whoami()['name']))", HF_TOKEN=""), "me")
        self.python(f"login({server.OTHER!r})", HF_TOKEN="")
        self.assertEqual(self.lmhub("whoami", HF_TOKEN="").stdout, b"you\n")
        self.assertEqual(self.lmhub("logout", HF_TOKEN="").returncode, 0)
        self.assertIsNone(self.python("print(json.dumps(get_token()))", HF_TOKEN=""))


if __name__ == "__main__":
    unittest.main()
