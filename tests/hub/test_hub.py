"""Reading from the Hub: listings, failures with their own words, files with faults, the cache.

usage: test_hub.py HTTP_PROBE LMHUB
"""
import unittest

from case import *


class TheHub(Case):
    def ls(self, ref, **env):
        r = self.lmhub("ls", "-q", "--json", ref, **env)
        return r, [f["path"] for f in json.loads(r.stdout)["files"]] if r.returncode == 0 else None

    def test_listing_over_pages(self):
        r, names = self.ls("hf://datasets/me/toy")
        self.assertEqual(names, sorted(FILES, key=str.encode), r.stderr)
        j = json.loads(r.stdout)
        self.assertEqual(j["commit"], server.COMMIT)
        for f in j["files"]:
            self.assertEqual(f["bytes"], len(FILES[f["path"]]))
            self.assertEqual(f.get("sha256"), None if f["path"].endswith(".md") else SHA[f["path"]])

    def test_paths_and_globs(self):
        for path, want in (("data", 6), ("data/", 6), ("data/file-*.bin", 5), ("*.bin", 2), ("**/*.bin", 8), ("README.md", 1),
                           ("data/file-0[12].bin", 2), ("data/file-0[!12].bin", 3), ("data/file-0?.bin", 5)):
            _, names = self.ls("hf://datasets/me/toy/" + path)
            self.assertEqual(len(names or []), want, (path, names))

    def test_revisions(self):
        for rev in ("main", server.COMMIT, "refs%2Fpr%2F1", "refs/pr/1"):
            r, names = self.ls(f"hf://datasets/me/toy@{rev}/data")
            self.assertEqual(len(names or []), 6, r.stderr)

    def test_foreign_page_gets_no_token(self):
        self.hub.foreign_pages = True
        self.lmhub("ls", "hf://datasets/me/toy")  # run_() looks at the log
        self.assertTrue([x for x in self.hub.log if x[0] == "cdn"])

    def test_failures_have_their_own_words(self):
        toy = "hf://datasets/me/toy"
        self.fails(self.lmhub("ls", "hf://datasets/me/missing"), 5, "me/missing", "no such dataset")
        self.fails(self.lmhub("ls", "hf://datasets/me/missing", HF_TOKEN=""), 5, "set HF_TOKEN")
        self.fails(self.lmhub("ls", toy, HF_TOKEN=""), 5, "private")
        self.fails(self.lmhub("ls", toy, HF_TOKEN="wrong"), 5, "token is not valid")
        self.fails(self.lmhub("ls", toy + "@nope"), 5, '"nope"', "revision")
        self.fails(self.lmhub("ls", "hf://datasets/me/gated"), 5, "gated", "/datasets/me/gated")
        self.fails(self.lmhub("ls", toy + "/nowhere/*.gz"), 5, "nowhere")
        self.fails(self.lmhub("ls", toy + "/*.gz"), 2, "*.gz")
        self.fails(self.lmhub("ls", toy, HF_HUB_OFFLINE="1"), 5, "HF_HUB_OFFLINE")
        self.fails(self.lmhub("ls", "hf://datasets/../toy"), 2, "form")
        self.fails(self.lmhub("ls", toy, HF_ENDPOINT="ftp://x"), 2, "HF_ENDPOINT")

    def test_token_from_file(self):
        with open(self.dir + "/token", "w") as f:
            f.write(server.TOKEN + "\n")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        env |= {"HF_ENDPOINT": self.hub.url("hub") + "/", "HF_HOME": self.dir}
        r = subprocess.run([LMHUB, "ls", "hf://datasets/me/toy"], capture_output=True, env=env)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_get(self):
        out = self.dir + "/out"
        r = self.lmhub("get", "hf://datasets/me/toy", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        for n, b in FILES.items():
            with open(os.path.join(out, n), "rb") as f:
                self.assertEqual(f.read(), b, n)
        left = {n for n in read_folder(out) if not n.startswith(".cache/") or n.endswith(".incomplete")}
        self.assertEqual(left, set(FILES))

    def test_get_goes_on(self):
        out = self.dir + "/out"
        self.hub.reset(*[{"at": "cdn", "path": "file-03", "do": "status", "code": 404}])
        r = self.lmhub("get", "--threads", "1", "hf://datasets/me/toy/data", "-o", out)
        self.fails(r, 5, "404")
        self.hub.reset()
        r = self.lmhub("get", "--json", "hf://datasets/me/toy/data", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        j = json.loads(r.stdout)
        self.assertTrue(j["kept"] >= 3 and j["kept"] + j["files"] == 6, j)
        self.hub.reset()
        with open(out + "/data/file-01.bin", "r+b") as f:  # same size, other bytes: not the file
            f.write(b"x")
        j = json.loads(self.lmhub("get", "--json", "hf://datasets/me/toy/data", "-o", out).stdout)
        self.assertEqual((j["files"], j["kept"]), (1, 5))

    def test_get_with_faults(self):
        out = self.dir + "/out"
        self.hub.reset({"at": "cdn", "path": "big", "do": "drop", "byte": 100_000},
                       {"at": "cdn", "path": "big", "do": "status", "code": 403},
                       {"at": "hub", "path": "tree", "do": "status", "code": 502},
                       RATE | {"at": "hub", "path": "resolve", "headers": {"RateLimit": '"resolvers";r=0;t=1'}})
        r = self.lmhub("get", "hf://datasets/me/toy", "-o", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(out + "/big.bin", "rb") as f:
            self.assertEqual(f.read(), BIG)
        asked = [p for o, p, *_ in self.hub.log if "resolve" in p and "big" in p]
        self.assertGreaterEqual(len(asked), 3, "an address that ran out is resolved anew")

    def test_get_refuses_a_flipped_byte(self):
        out = self.dir + "/out"
        self.hub.reset({"at": "cdn", "path": "big", "do": "flip"})
        self.fails(self.lmhub("get", "hf://datasets/me/toy/big.bin", "-o", out), 6, SHA["big.bin"])
        self.assertFalse(os.path.exists(out + "/big.bin"))

    def test_get_refuses_names_that_lead_elsewhere(self):
        for name in ("../evil", "/abs", "a/../../b", "C:\\x", "\\\\host\\s", "a\\..\\b", "data/\x1b[31m", "a//b", "a/."):
            hub = server.Hub({name: b"evil", "good.bin": b"good"})
            hub.private = False
            out = self.dir + "/out"
            env = {**os.environ, "HF_ENDPOINT": hub.url("hub"), "HF_TOKEN": "", "HF_HOME": self.dir}
            r = subprocess.run([LMHUB, "get", "hf://datasets/me/toy", "-o", out], capture_output=True, env=env)
            self.assertEqual(r.returncode, 3, (name, r.stderr))
            self.assertNotIn(b"\x1b", r.stderr)
            self.assertFalse(os.path.exists(out), name)
            r = subprocess.run([LMHUB, "ls", "hf://datasets/me/toy"], capture_output=True, env=env)
            self.assertNotIn(b"\x1b", r.stdout)
            hub.close()

    def test_get_goes_on_in_the_middle_of_a_file(self):
        """What an earlier process fetched of a file is on disk; the rest is asked for."""
        for where in ("cache", "folder"):
            out = ["-o", self.dir + "/out"] if where == "folder" else []
            self.hub.reset({"at": "cdn", "path": "big", "do": "drop", "byte": 1_000_000},
                           {"at": "cdn", "path": "big", "do": "status", "code": 404})
            home = {"HF_HOME": self.dir + "/" + where}
            self.fails(self.lmhub("get", "hf://datasets/me/toy/big.bin", *out, **home), 5, "404")
            left = [n for n in read_folder(self.dir) if n.endswith(".incomplete")]
            self.assertEqual(len(left), 1, left)
            self.hub.reset()
            r = self.lmhub("get", "hf://datasets/me/toy/big.bin", *out, **home)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertEqual(self.ranges(), ["bytes=1000000-"] * 2, "one hop each to the Hub and to the CDN")
            with open(os.path.join(r.stdout.decode().strip(), "big.bin"), "rb") as f:
                self.assertEqual(f.read(), BIG)

    def test_a_damaged_part_is_fetched_anew(self):
        out = self.dir + "/out"
        part = f"{out}/.cache/huggingface/download/big.bin.{SHA['big.bin']}.incomplete"
        os.makedirs(os.path.dirname(part))
        for junk in (b"x" * 1000, BIG + b"more", BIG[:-1] + b"x"):
            with open(part, "wb") as f:
                f.write(junk)
            r = self.lmhub("get", "hf://datasets/me/toy/big.bin", "-o", out)
            self.assertEqual(r.returncode, 0, r.stderr)
            with open(out + "/big.bin", "rb") as f:
                self.assertEqual(f.read(), BIG)
            os.remove(out + "/big.bin")

    def test_small_files_are_checked_too(self):
        self.hub.reset({"path": "resolve-cache", "do": "flip"})
        self.fails(self.lmhub("get", "hf://datasets/me/toy/README.md"), 6, "README.md", "sha1 is",
                   server.git_blob(FILES["README.md"]))

    def test_the_cache(self):
        r = self.lmhub("get", "-q", "hf://datasets/me/toy")
        self.assertEqual(r.returncode, 0, r.stderr)
        snapshot = r.stdout.decode().strip()
        top = self.dir + "/hub/datasets--me--toy"
        self.assertEqual(snapshot, f"{top}/snapshots/{server.COMMIT}")
        self.assertEqual(read_folder(snapshot), FILES)
        self.assertEqual(os.readlink(snapshot + "/data/file-00.bin"), "../../../blobs/" + SHA["data/file-00.bin"])
        self.assertEqual(os.readlink(snapshot + "/README.md"), "../../blobs/" + server.git_blob(FILES["README.md"]))
        with open(top + "/refs/main") as f:
            self.assertEqual(f.read(), server.COMMIT)
        self.assertFalse([n for n in os.listdir(top + "/blobs") if "." in n])
        self.hub.reset()
        r = self.lmhub("get", "--json", "hf://datasets/me/toy")
        self.assertEqual((json.loads(r.stdout)["files"], json.loads(r.stdout)["kept"]), (0, len(FILES)))
        self.assertFalse([x for x in self.hub.log if "resolve" in x[1] or x[0] == "cdn"])
        # without a network, and without a listing
        self.hub.log.clear()
        for ref in ("", "@main", "@" + server.COMMIT):
            r, names = self.ls("hf://datasets/me/toy" + ref, HF_HUB_OFFLINE="1")
            self.assertEqual(names, sorted(FILES, key=str.encode), r.stderr)
        self.ok(self.lmhub("cat", "-q", "hf://datasets/me/toy/big.bin", HF_HUB_OFFLINE="1"), BIG)
        r = self.lmhub("get", "-q", "hf://datasets/me/toy", "-o", self.dir + "/out", HF_HUB_OFFLINE="yes")
        self.assertEqual(r.returncode, 0, r.stderr)
        shutil.rmtree(top + "/trees")
        r, names = self.ls("hf://datasets/me/toy/data", HF_HUB_OFFLINE="1")
        self.assertEqual(len(names or []), 6, r.stderr)
        self.assertEqual(self.hub.log, [])
        self.fails(self.lmhub("ls", "hf://datasets/me/toy@other", HF_HUB_OFFLINE="1"), 5, "other", "cache")

    def test_offline_tells_what_is_missing(self):
        self.lmhub("get", "-q", "hf://datasets/me/toy")
        os.remove(f"{self.dir}/hub/datasets--me--toy/blobs/{SHA['big.bin']}")
        self.fails(self.lmhub("get", "hf://datasets/me/toy", HF_HUB_OFFLINE="1"), 5, "big.bin", "not in the cache")
        self.assertEqual(self.lmhub("get", "hf://datasets/me/toy/data", HF_HUB_OFFLINE="1").returncode, 0)

    def test_cache_without_links(self):
        r = self.lmhub("get", "-q", "hf://datasets/me/toy/data", HF_HUB_DISABLE_SYMLINKS="1", HF_HUB_CACHE=self.dir + "/c")
        self.assertEqual(r.returncode, 0, r.stderr)
        path = r.stdout.decode().strip() + "/data/file-01.bin"
        self.assertTrue(path.startswith(self.dir + "/c/") and not os.path.islink(path))

    def test_two_at_the_same_time(self):
        env = {**os.environ, "HF_ENDPOINT": self.hub.url("hub"), "HF_TOKEN": server.TOKEN, "HF_HOME": self.dir}
        two = [subprocess.Popen([LMHUB, "get", "-q", "hf://datasets/me/toy"], env=env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE) for _ in range(3)]
        for p in two:
            out, err = p.communicate()
            self.assertEqual(p.returncode, 0, err)
        self.assertEqual(read_folder(out.decode().strip()), FILES)
        self.assertEqual(len([x for x in self.hub.log if x[0] == "cdn" and "big" in x[1]]), 1, "fetched once")

    def test_renamed(self):
        self.hub.add("dataset", "me/old", {}).moved = "me/toy"
        r = self.lmhub("cat", "hf://datasets/me/old/big.bin")
        self.ok(r, BIG)
        self.assertIn(b"me/old is named me/toy now", r.stderr)

    def test_disabled(self):
        self.hub.reset({"path": "/revision/", "do": "status", "code": 403,
                        "headers": {"X-Error-Message": "Access to this resource is disabled."}})
        self.fails(self.lmhub("ls", "hf://datasets/me/toy"), 5, "me/toy", "disabled by the Hub")

    def test_where_the_listing_leads_is_said(self):
        self.hub.foreign_pages = True
        self.hub.private = False
        r = self.lmhub("ls", "hf://datasets/me/toy")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(self.hub.url("cdn").encode(), r.stderr)
        self.assertEqual(r.stderr.count(b"another host"), 1)

    def test_one_budget_for_all(self):
        """The first answer says that nothing is left of the window: nobody asks before it ends."""
        self.hub.reset({"path": "/revision/", "do": "status", "code": 200,
                        "body": json.dumps({"sha": server.COMMIT}).encode(), "headers": {"RateLimit": '"api";r=0;t=1'}})
        r, names = self.ls("hf://datasets/me/toy")
        self.assertEqual(len(names or []), len(FILES), r.stderr)
        self.assertGreaterEqual(self.took, 2)

    def test_server_down(self):
        r = self.lmhub("ls", "hf://datasets/me/toy", HF_ENDPOINT="http://127.0.0.1:9")
        self.fails(r, 5, "127.0.0.1:9")
        self.assertLess(self.took, 60)

    def test_cat(self):
        self.ok(self.lmhub("cat", "-q", "hf://datasets/me/toy/data/file-0[01].bin"),
                FILES["data/file-00.bin"] + FILES["data/file-01.bin"])


if __name__ == "__main__":
    unittest.main()
