"""The Hub in one file: what huggingface_hub and lmhub say to it, and faults on demand. Two origins:

    hub   /api/…  /datasets/…/resolve/…  ….git/info/lfs/…      /plain/NAME  a file without the Hub
    cdn   /blob/OID/NAME?sig=…  /upload/OID?sig=…  /part/OID/N?sig=…      bytes; a token that arrives here is a failure

Repositories are kept in memory: commits with all their files, branches, large objects by sha256. One dataset,
me/toy, is there from the start. Faults are a list; each request takes the first that names its origin, path and
method ("" is any):
    {"at": "cdn", "path": "", "do": "drop", "byte": 1000}
    {"path": "/commit/", "do": "lost"}          done, but the connection breaks before the answer
Everything asked is in `log`: (origin, path, Authorization, Range, method); `sent` counts the bytes of files.
"""
import base64
import functools
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse

COMMIT = "c0ffee" * 6 + "1234"
TOKEN = "hf_good_token"
OTHER = "hf_other_token"  # somebody else's
LARGE = re.compile(r".*\.(bin|safetensors|gz|zst|parquet|tiktoken)$")


@functools.lru_cache(8)  # asked for the same large bytes again and again, and waited for
def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, kind, name, private=False):
        self.kind, self.name, self.private, self.gated, self.moved = kind, name, private, False, None
        self.commits, self.order, self.refs = {}, [], {}

    def commit(self, branch, files, title, sha=None):
        """files: path -> (bytes, large)"""
        parent = self.refs.get(branch)
        sha = sha or hashlib.sha1(f"{self.name} {len(self.commits)} {title} {time.time()}".encode()).hexdigest()
        self.commits[sha] = {"files": files, "title": title, "parent": parent}
        self.refs[branch] = sha
        return sha

    def find(self, rev):
        return self.refs.get(rev) or self.refs.get(rev.removeprefix("refs/heads/")) or (rev if rev in self.commits else None)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, body=b"", **headers):
        if self.lost:  # the work is done, nobody hears of it
            self.close_connection = True
            return
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content_Type", "application/json")
        self.send_response(code)
        headers.setdefault("Content_Length", str(len(body)))
        for k, v in headers.items():
            if v is not None:
                self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        self.query = urllib.parse.parse_qs(url.query)
        auth = self.headers.get("Authorization")
        hub.log.append((self.server.origin, path, auth, self.headers.get("Range"), self.command))
        fault = hub.take(self.server.origin, path, self.command)
        self.lost = bool(fault and fault["do"] == "lost")
        try:
            self.body = self.read_body(fault)
            if fault and self.fail(fault):
                return
            if self.server.origin == "cdn":
                return self.cdn(path, fault)
            if path.startswith("/plain/"):
                return self.bytes(hub.files[path[7:]], fault)
            if path.startswith("/loop"):
                return self.reply(302, Location="/loop" + path[5:] + "x")
            if path.startswith("/to/"):  # a redirect to whatever is asked for
                return self.reply(int(self.query.get("code", ["307"])[0]), b"moved",
                                  Location=urllib.parse.unquote(url.query.removeprefix("code=302&")))
            with hub.lock:
                self.hub(path, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def read_body(self, fault):
        n = int(self.headers.get("Content-Length") or 0)
        if fault and fault["do"] == "hangup":  # in the middle of what is sent to it
            self.rfile.read(min(n, fault["byte"]))
            self.close_connection = True
            self.connection.close()
            raise BrokenPipeError
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(n) if n else b""

    def json(self):
        return json.loads(self.body or b"{}")

    def fail(self, f):
        """Faults in place of an answer. True if the request is done with."""
        kind = f["do"]
        if kind == "status":
            self.reply(f["code"], f.get("body", b"<html>busy</html>"), **f.get("headers", {}))
        elif kind == "reset":
            self.close_connection = True
        elif kind == "think":  # before it does what it is asked
            time.sleep(f["seconds"])
            return False
        elif kind == "call":
            f["call"]()
            return False
        else:
            return False
        return True

    # ---------------------------------------------------------------- bytes

    def bytes(self, data, f, **more):
        f = f or {"do": "none"}
        lo, code = 0, 200
        tag = f.get("etag", '"%s"' % sha256(data))
        extra = {"ETag": tag, "Accept-Ranges": "bytes"} | more
        if self.server.hub.mark:
            del extra["ETag"]
            extra |= self.server.hub.mark(data)
        asked = self.headers.get("Range")
        if_range = self.headers.get("If-Range")
        hi = len(data)
        if asked and f["do"] != "norange" and (not if_range or if_range == tag):
            a, b = asked[6:].split("-")
            lo, hi = int(a), min(int(b) + 1, hi) if b else hi
            if lo >= len(data):
                return self.reply(416, Content_Range=f"bytes */{len(data)}")
            code = 206
            if f["do"] == "wrongrange":
                lo -= 1
            extra["Content-Range"] = f"bytes {lo}-{hi - 1}/{len(data)}"
        part = data[lo:hi]
        if f["do"] == "flip":
            part = bytearray(part)
            part[len(part) // 2] ^= 1
        if f["do"] == "chunked":
            return self.chunked(code, part, extra)
        self.send_response(code)
        for k, v in extra.items():
            self.send_header(k, v)
        if f["do"] != "nolength":
            self.send_header("Content-Length", str(len(part) + f.get("more", 0)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if f["do"] in ("drop", "norange") and "byte" in f:
            self.send(part[:f["byte"]])
            self.close_connection = True
        elif f["do"] == "stall":
            self.send(part[:f["byte"]])
            self.wfile.flush()
            time.sleep(f["seconds"])
            self.close_connection = True
        elif f["do"] == "trickle":
            self.wfile.write(part[:f["byte"]])
            for at in range(f["byte"], len(part)):
                self.wfile.write(part[at:at + 1])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.send(part)
            if f.get("more"):
                self.close_connection = True

    def send(self, data):
        hub = self.server.hub
        for at in range(0, len(data), 64 << 10):
            block = memoryview(data)[at:at + (64 << 10)]
            self.wfile.write(block)
            hub.sent += len(block)
            if hub.pace:
                time.sleep(hub.pace)

    def chunked(self, code, part, extra):
        self.send_response(code)
        for k, v in extra.items():
            self.send_header(k, v)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(part), 1000):
            p = part[at:at + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(p), p))
        self.wfile.write(b"0\r\n\r\n")

    def cdn(self, path, fault):
        hub = self.server.hub
        kind, _, rest = path[1:].partition("/")
        if self.command == "PUT" and kind in ("upload", "part") and self.query.get("sig") != [hub.signature]:
            return self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        if self.command == "PUT" and kind == "upload":
            return self.store(rest, self.body)
        if self.command == "PUT" and kind == "part":
            oid, n = rest.split("/")
            hub.parts[(oid, int(n))] = self.body
            return self.reply(200, ETag='"%s"' % hashlib.md5(self.body).hexdigest())
        if kind == "blob":
            return self.bytes(hub.objects[rest.split("/")[0]], fault)
        if path.startswith("/api/"):  # a page of a listing that lies elsewhere
            with hub.lock:
                return self.hub(path, fault)
        self.bytes(hub.files[path[1:]], fault)

    def store(self, oid, data):
        if sha256(data) != oid:
            return self.reply(400, b"<Error>digest</Error>")
        self.server.hub.objects[oid] = data
        self.reply(200)

    # ---------------------------------------------------------------- the Hub

    def error(self, code, name, text, **more):
        self.reply(code, {"error": text}, X_Error_Code=name, X_Error_Message=text, **more)

    def hub(self, path, fault):
        hub = self.server.hub
        sent = self.headers.get("Authorization")
        self.user = {None: None, "Bearer " + TOKEN: "me", "Bearer " + OTHER: "you"}.get(sent, "?")
        if self.user == "?":
            return self.error(401, None, "Invalid credentials in Authorization header")
        if path == "/api/whoami-v2":
            return self.whoami()
        if path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create()
        if path == "/api/repos/delete":
            b = self.json()
            hub.repos.pop((b.get("type") or "model", f'{b.get("organization") or self.user}/{b["name"]}'), None)
            return self.reply(200, {})
        if path.startswith("/api/complete/"):
            return self.complete(path.split("/")[3])
        if path == "/api/verify":
            b = self.json()
            ok = len(hub.objects.get(b["oid"], b"")) == b["size"] and self.user
            return self.reply(200 if ok else 404, {})
        m = re.match(r"/api/resolve-cache/(model|dataset)s/([^/]+/[^/]+)/([0-9a-f]{40})/(.*)", path)
        if m:
            data, _ = hub.repos[(m[1], m[2])].commits[m[3]]["files"][m[4]]
            return self.bytes(data, fault, **{"ETag": '"%s"' % git_blob(data), "X-Repo-Commit": m[3]})
        m = re.match(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/([a-z-]+)(?:/(.*))?)?$", path)
        if m:
            repo = self.repo(m[1], m[2], path)
            return repo and self.api(repo, m[3] or "info", m[4] or "")
        m = re.match(r"/(datasets/)?([^/]+/[^/]+)/resolve/(.*)", path)
        if m:
            repo = self.repo("dataset" if m[1] else "model", m[2], path)
            return repo and self.resolve(repo, m[3])
        m = re.match(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if m:
            repo = self.repo("dataset" if m[1] else "model", m[2], path)
            return repo and self.batch()
        self.error(404, "EntryNotFound", "no")

    def repo(self, kind, name, path):
        """The repository, or None after an answer that says why not. The Hub does not tell strangers what exists."""
        hub = self.server.hub
        repo = hub.repos.get((kind, name))
        if repo and repo.moved:
            self.reply(307, b"moved", Location=urllib.parse.quote(path.replace(name, repo.moved)) +
                       ("?" + urllib.parse.urlencode(self.query, True) if self.query else ""))
            return None
        private = repo and (hub.private if name == "me/toy" else repo.private)
        if self.server.origin == "cdn":
            private = False
        if not repo or (private and self.user != "me"):
            self.error(404 if self.user else 401, "RepoNotFound" if self.user else None, "Repository not found")
            return None
        if repo.gated:
            self.error(403, "GatedRepo", f"Access to {kind} {name} is restricted.")
            return None
        if self.command in ("POST", "DELETE") and "/paths-info/" not in path and self.user != name.split("/")[0] and \
                not name.startswith("org/"):
            self.error(403, None, "You don't have the rights to write here")
            return None
        return repo

    def whoami(self):
        if not self.user:
            return self.error(401, None, "Invalid username or password.")
        self.reply(200, {"type": "user", "name": self.user, "fullname": self.user, "isPro": False,
                         "orgs": [{"type": "org", "name": "org", "roleInOrg": "write"}],
                         "auth": {"type": "access_token", "accessToken": {"displayName": "laptop", "role": "write"}}})

    def create(self):
        hub, b = self.server.hub, self.json()
        if not self.user:
            return self.error(401, None, "Invalid username or password.")
        kind, owner = b.get("type") or "model", b.get("organization") or self.user
        name = b["name"] if "/" in b["name"] else f'{owner}/{b["name"]}'
        if name.split("/")[0] not in (self.user, "org"):
            return self.error(403, None, f"You don't have the rights to create a {kind} under this namespace")
        url = f'{hub.url("hub")}/{"datasets/" if kind == "dataset" else ""}{name}'
        if (kind, name) in hub.repos:
            return self.reply(409, {"error": "You already created this repo", "url": url, "name": name})
        hub.add(kind, name, {}, b.get("visibility", "private" if b.get("private") else "public") == "private")
        self.reply(200, {"url": url, "name": name, "id": name})

    def api(self, repo, what, rest):
        if what in ("info", "revision"):
            sha = repo.find(rest or "main")
            return self.info(repo, sha) if sha else self.no_revision(rest)
        if what == "tree":
            return self.tree(repo, rest)
        if what == "paths-info":
            return self.paths_info(repo, rest)
        if what == "refs":
            return self.reply(200, {"branches": [{"name": n, "ref": "refs/heads/" + n, "targetCommit": s}
                                                 for n, s in repo.refs.items()], "converts": [], "tags": []})
        if what == "commits":
            return self.commits(repo, rest)
        if what == "branch":
            return self.branch(repo, rest)
        if what == "preupload":
            return self.preupload(repo, rest)
        if what == "commit":
            return self.commit(repo, rest)
        if what == "auth-check":
            return self.reply(200, {})
        self.error(404, "EntryNotFound", "no " + what)

    def no_revision(self, rev):
        self.error(404, "RevisionNotFound", f"Invalid rev id: {rev}")

    def info(self, repo, sha):
        files = repo.commits[sha]["files"]
        self.reply(200, {"id": repo.name, "_id": "0", "sha": sha, "private": repo.private, "gated": False, "disabled": False,
                         "downloads": 0, "likes": 0, "tags": [], "lastModified": "2026-01-01T00:00:00.000Z",
                         "createdAt": "2026-01-01T00:00:00.000Z", "cardData": {},
                         "siblings": [{"rfilename": n} for n in sorted(files)]}, X_Repo_Commit=sha)

    def entry(self, path, data, large):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (sha256(data).encode(), len(data))
        e = {"type": "file", "path": path, "size": len(data), "oid": git_blob(pointer if large else data)}
        if large:
            e["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": len(pointer)}
        return e

    def split_rev(self, repo, rest):
        """A revision may hold slashes: the longest that there is."""
        parts = rest.split("/")
        for n in range(len(parts), 0, -1):
            sha = repo.find("/".join(parts[:n]))
            if sha:
                return sha, "/".join(parts[n:])
        return None, ""

    def tree(self, repo, rest):
        hub = self.server.hub
        sha, folder = self.split_rev(repo, rest)
        if not sha:
            return self.no_revision(rest)
        files = repo.commits[sha]["files"]
        names = [n for n in sorted(files) if not folder or n.startswith(folder + "/")]
        if folder and not names:
            return self.error(404, "EntryNotFound", "no such folder", X_Repo_Commit=sha)
        entries, seen = [], set()
        for n in names:
            below = n[len(folder) + 1:] if folder else n
            parts = below.split("/")
            deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
            for k in range(1, len(parts)):
                d = "/".join(([folder] if folder else []) + parts[:k])
                if d not in seen and (deep or k == 1):
                    seen.add(d)
                    entries.append({"type": "directory", "path": d, "oid": "0" * 40, "size": 0})
            if deep or len(parts) == 1:
                entries.append(self.entry(n, *files[n]))
        at = int(self.query.get("cursor", ["0"])[0])
        link = None
        if at + hub.page < len(entries):
            origin = hub.url("cdn" if hub.foreign_pages else "hub")
            q = urllib.parse.urlencode({k: v[0] for k, v in self.query.items()} | {"cursor": at + hub.page})
            link = f"<{origin}{urllib.parse.urlsplit(self.path).path}?{q}>; rel=\"next\""
        self.reply(200, entries[at:at + hub.page], Link=link)

    def paths_info(self, repo, rev):
        sha = repo.find(rev)
        if not sha:
            return self.no_revision(rev)
        if "json" in self.headers.get("Content-Type", ""):
            paths = self.json()["paths"]
        else:
            paths = urllib.parse.parse_qs(self.body.decode()).get("paths", [])
        files = repo.commits[sha]["files"]
        out = [self.entry(p, *files[p]) for p in paths if p in files]
        out += [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in paths
                if p not in files and any(f.startswith(p + "/") for f in files)]
        self.reply(200, out)

    def commits(self, repo, rev):
        sha, out = repo.find(rev), []
        if not sha:
            return self.no_revision(rev)
        while sha:
            c = repo.commits[sha]
            out.append({"id": sha, "title": c["title"], "message": "", "date": "2026-01-01T00:00:00.000Z",
                        "authors": [{"user": "me"}]})
            sha = c["parent"]
        at, hub = int(self.query.get("p", ["0"])[0]), self.server.hub
        more = at + hub.page < len(out)
        link = f'<{hub.url("hub")}{urllib.parse.urlsplit(self.path).path}?p={at + hub.page}>; rel="next"' if more else None
        self.reply(200, out[at:at + hub.page], Link=link)

    def branch(self, repo, name):
        if self.command == "DELETE":
            ok = name != "main" and repo.refs.pop(name, None)
            return self.reply(200, {}) if ok else self.no_revision(name)
        if name in repo.refs:
            return self.error(409, None, f"Reference already exists: {name}")
        start = self.json().get("startingPoint") or "main"
        sha = repo.find(start)
        if not sha:
            return self.no_revision(start)
        repo.refs[name] = sha
        self.reply(201, {})

    # ---------------------------------------------------------------- uploads

    def preupload(self, repo, rev):
        sha = repo.find(rev)
        if not sha:
            return self.no_revision(rev)
        files, out = repo.commits[sha]["files"], []
        for f in self.json()["files"]:
            sample = base64.b64decode(f["sample"])
            large = bool(LARGE.match(f["path"])) or b"\0" in sample or f["size"] > 1_000_000
            e = {"path": f["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": f["path"].endswith(".ignored")}
            have = files.get(f["path"])
            if have:
                e["oid"] = sha256(have[0]) if have[1] else git_blob(have[0])
            out.append(e)
        self.reply(200, {"files": out})

    def batch(self):
        hub, b, out = self.server.hub, self.json(), []
        for o in b["objects"]:
            oid, size = o["oid"], o["size"]
            e = {"oid": oid, "size": size}
            if oid not in hub.objects:
                up = {"href": f'{hub.url("cdn")}/upload/{oid}?sig={hub.signature}', "header": {}}
                if hub.part_bytes and size > hub.part_bytes and "multipart" in b["transfers"]:
                    n = -(-size // hub.part_bytes)
                    up["href"] = f'{hub.url("hub")}/api/complete/{oid}?uploadId=1'
                    up["header"] = {"chunk_size": str(hub.part_bytes)} | {
                        f"{i:05d}": f'{hub.url("cdn")}/part/{oid}/{i}?sig={hub.signature}' for i in range(1, n + 1)}
                e["actions"] = {"upload": up, "verify": {"href": f'{hub.url("hub")}/api/verify', "header": {}}}
            out.append(e)
        self.reply(200, {"transfer": "basic", "objects": out}, Content_Type="application/vnd.git-lfs+json")

    def complete(self, oid):
        hub, b = self.server.hub, self.json()
        parts = [hub.parts.get((oid, p["partNumber"]), b"") for p in b["parts"]]
        ok = [p["partNumber"] for p in b["parts"]] == list(range(1, len(parts) + 1)) and all(
            p["etag"].strip('"') == hashlib.md5(d).hexdigest() for p, d in zip(b["parts"], parts))
        if not ok:
            return self.reply(400, {"error": "parts do not match"})
        self.store(oid, b"".join(parts))

    def commit(self, repo, rev):
        hub, sha = self.server.hub, repo.find(rev)
        if not sha or rev not in repo.refs:
            return self.no_revision(rev)
        files = dict(repo.commits[sha]["files"])
        head = {}
        for line in self.body.splitlines():
            o = json.loads(line)
            v = o["value"]
            if o["key"] == "header":
                head = v
                if v.get("parentCommit", sha) != sha:
                    return self.error(412, None, "A commit has happened since. Please refresh and try again.")
            elif o["key"] == "file":
                files[v["path"]] = (base64.b64decode(v["content"]), False)
            elif o["key"] == "lfsFile":
                if v["oid"] not in hub.objects:
                    return self.error(400, None, "LFS pointer pointed to a file that does not exist")
                files[v["path"]] = (hub.objects[v["oid"]], True)
            elif o["key"] == "deletedFile":
                files.pop(v["path"], None)
            elif o["key"] == "deletedFolder":
                files = {n: f for n, f in files.items() if not n.startswith(v["path"])}
        new = repo.commit(rev, files, head["summary"])
        base = f'{hub.url("hub")}/{"datasets/" if repo.kind == "dataset" else ""}{repo.name}'
        self.reply(200, {"success": True, "commitOid": new, "commitUrl": f"{base}/commit/{new}", "hookOutput": ""})

    # ---------------------------------------------------------------- downloads

    def resolve(self, repo, rest):
        hub = self.server.hub
        sha, name = self.split_rev(repo, rest)
        if not sha:
            return self.no_revision(rest.split("/")[0])
        files = repo.commits[sha]["files"]
        if name not in files:
            return self.error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=sha)
        data, large = files[name]
        if not large:  # small files stay on the Hub
            return self.reply(307, Location=f"/api/resolve-cache/{repo.kind}s/{repo.name}/{sha}/{urllib.parse.quote(name)}",
                              X_Repo_Commit=sha, X_Linked_Size=str(len(data)), X_Linked_Etag='"%s"' % git_blob(data))
        hub.objects.setdefault(sha256(data), data)
        self.reply(302, b"x" * 40, Location=f'{hub.url("cdn")}/blob/{sha256(data)}/{urllib.parse.quote(name)}?sig=secret',
                   X_Repo_Commit=sha, X_Linked_Size=str(len(data)), X_Linked_Etag='"%s"' % sha256(data))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):  # a client that hangs up in the middle is part of the tests
        pass


class Hub:
    """Both origins, running until close(). `files` are those of the dataset me/toy."""

    def __init__(self, files):
        self.files, self.faults, self.log, self.sent = files, [], [], 0
        self.mark, self.pace = None, 0  # headers in place of the ETag, of a file's bytes; seconds after each 64 KiB
        self.repos, self.objects, self.parts = {}, {}, {}
        self.signature, self.part_bytes = "secret", None
        self.page, self.private, self.foreign_pages = 2, True, False
        self.lock = threading.RLock()
        toy = self.add("dataset", "me/toy", {}, True)
        toy.commit("main", {n: (b, not n.endswith(".md")) for n, b in files.items()}, "toy", COMMIT)
        toy.refs["refs/pr/1"] = COMMIT
        self.add("dataset", "me/gated", {}).gated = True
        self.servers = {}
        for origin in ("hub", "cdn"):
            s = Server(("127.0.0.1", 0), Handler)
            s.hub, s.origin = self, origin
            self.servers[origin] = s
            threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, kind, name, files, private=False):
        repo = self.repos[(kind, name)] = Repo(kind, name, private)
        repo.commit("main", {n: (b, bool(LARGE.match(n))) for n, b in files.items()}, "initial commit")
        return repo

    def url(self, origin):
        return "http://127.0.0.1:%d" % self.servers[origin].server_address[1]

    def take(self, origin, path, method="GET"):
        with self.lock:
            for i, f in enumerate(self.faults):
                if f.get("at", "hub") == origin and f.get("path", "") in path and f.get("method", method) == method:
                    return self.faults.pop(i)
        return None

    def reset(self, *faults):
        with self.lock:
            self.faults, self.log, self.sent = list(faults), [], 0
        self.page, self.private, self.foreign_pages, self.part_bytes = 2, True, False, None
        self.mark, self.pace = None, 0

    def close(self):
        for s in self.servers.values():
            s.shutdown()
            s.server_close()
