"""A server that speaks the Hub's read protocol, and fails on demand. Two origins:

    hub   /api/…  paged listing; /datasets/…/resolve/…  302 to the CDN; /plain/NAME  a file without the Hub
    cdn   /NAME?sig=N  the bytes; a token that arrives here is the test's failure

Faults are a list; each request for bytes takes the first that names its origin and path ("" is any):
    {"at": "cdn", "path": "", "do": "drop", "byte": 1000}
Everything asked is in `log`: (origin, path, Authorization, Range).
"""
import hashlib
import http.server
import json
import threading
import time
import urllib.parse

COMMIT = "c0ffee" * 6 + "1234"
TOKEN = "hf_good_token"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, body=b"", **headers):
        self.send_response(code)
        headers.setdefault("Content-Length", str(len(body)))
        for k, v in headers.items():
            if v is not None:
                self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        hub.log.append((self.server.origin, path, self.headers.get("Authorization"), self.headers.get("Range")))
        fault = hub.take(self.server.origin, path)
        if fault and self.fail(fault):
            return
        if self.server.origin == "cdn":
            return self.bytes(hub.files[path[1:]], fault)
        if path.startswith("/plain/"):
            return self.bytes(hub.files[path[7:]], fault)
        if path.startswith("/loop"):
            return self.reply(302, Location="/loop" + path[5:] + "x")
        if path.startswith("/to/"):  # a redirect to whatever is asked for
            return self.reply(307, b"moved", Location=urllib.parse.unquote(url.query))
        self.hub(path, url)

    def fail(self, f):
        """Faults in place of an answer. True if the request is done with."""
        kind = f["do"]
        if kind == "status":
            self.reply(f["code"], b"<html>busy</html>", **f.get("headers", {}))
        elif kind == "reset":
            self.close_connection = True
        else:
            return False
        return True

    def bytes(self, data, f):
        f = f or {"do": "none"}
        lo, code = 0, 200
        tag = f.get("etag", '"%s"' % hashlib.sha256(data).hexdigest())
        extra = {"ETag": tag, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if_range = self.headers.get("If-Range")
        if asked and f["do"] != "norange" and (not if_range or if_range == tag):
            lo = int(asked[6:].split("-")[0])
            if lo >= len(data):
                return self.reply(416, Content_Range=f"bytes */{len(data)}")
            code = 206
            if f["do"] == "wrongrange":
                lo -= 1
            extra["Content-Range"] = f"bytes {lo}-{len(data) - 1}/{len(data)}"
        part = bytearray(data[lo:])
        if f["do"] == "flip":
            part[len(part) // 2] ^= 1
        if f["do"] == "chunked":
            return self.chunked(code, part, extra)
        self.send_response(code)
        for k, v in extra.items():
            self.send_header(k, v)
        if f["do"] != "nolength":
            self.send_header("Content-Length", str(len(part)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if f["do"] in ("drop", "norange") and "byte" in f:
            self.wfile.write(part[:f["byte"]])
            self.close_connection = True
        elif f["do"] == "stall":
            self.wfile.write(part[:f["byte"]])
            self.wfile.flush()
            time.sleep(f["seconds"])
            self.close_connection = True
        else:
            self.wfile.write(part)

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

    def error(self, code, name, text):
        self.reply(code, json.dumps({"error": text}).encode(), X_Error_Code=name, X_Error_Message=text)

    def hub(self, path, url):
        hub = self.server.hub
        sent = self.headers.get("Authorization")
        if sent not in (None, "Bearer " + TOKEN):
            return self.error(401, None, "Invalid credentials in Authorization header")
        repo = path.split("/datasets/", 1)[-1]
        if repo.startswith("me/gated"):
            return self.error(403, "GatedRepo", "Access to dataset me/gated is restricted.")
        if not repo.startswith("me/toy/") or (hub.private and not sent):
            # the Hub does not tell strangers what exists
            return self.error(404 if sent else 401, "RepoNotFound" if sent else None, "Repository not found")
        what = repo[len("me/toy/"):]
        if what.startswith("revision/"):
            rev = what[len("revision/"):]
            if rev not in ("main", "refs/pr/1", COMMIT):
                return self.error(404, "RevisionNotFound", f"Invalid rev id: {rev}")
            return self.reply(200, json.dumps({"id": "me/toy", "sha": COMMIT}).encode(), X_Repo_Commit=COMMIT)
        if what.startswith("tree/" + COMMIT):
            return self.tree(what[len("tree/" + COMMIT):].strip("/"), url)
        if what.startswith("resolve/" + COMMIT + "/"):
            return self.resolve(what.split("/", 2)[2])
        self.error(404, "EntryNotFound", "no")

    def tree(self, folder, url):
        hub = self.server.hub
        names = [n for n in sorted(hub.files) if not folder or n.startswith(folder + "/")]
        if folder and not names:
            return self.error(404, "EntryNotFound", "no such folder")
        at = int(urllib.parse.parse_qs(url.query).get("cursor", ["0"])[0])
        page = [{"type": "directory", "path": "data", "oid": "0" * 40, "size": 0}] if at == 0 else []
        for n in names[at:at + hub.page]:
            e = {"type": "file", "path": n, "size": len(hub.files[n]), "oid": "1" * 40}
            if not n.endswith(".md"):
                e["lfs"] = {"oid": hashlib.sha256(hub.files[n]).hexdigest(), "size": e["size"], "pointerSize": 130}
            page.append(e)
        more = at + hub.page < len(names)
        origin = "cdn" if hub.foreign_pages else "hub"
        link = f'<{hub.url("hub")}{url.path}?recursive=true&cursor={at + hub.page}>; rel="next"' if more else None
        if more and hub.foreign_pages:
            link = link.replace(hub.url("hub"), hub.url("cdn"))
        assert origin
        self.reply(200, json.dumps(page).encode(), Link=link, Content_Type="application/json")

    def resolve(self, name):
        hub = self.server.hub
        if name not in hub.files:
            return self.error(404, "EntryNotFound", "Entry not found")
        data = hub.files[name]
        if name.endswith(".md"):  # small files stay on the Hub
            return self.reply(307, Location="/plain/" + urllib.parse.quote(name), X_Repo_Commit=COMMIT)
        self.reply(302, b"x" * 40, Location=f'{hub.url("cdn")}/{urllib.parse.quote(name)}?sig=secret',
                   X_Repo_Commit=COMMIT, X_Linked_Size=str(len(data)),
                   X_Linked_Etag='"%s"' % hashlib.sha256(data).hexdigest())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # a client that hangs up in the middle is part of the tests
        pass


class Hub:
    """Both origins, running until close()."""

    def __init__(self, files):
        self.files, self.faults, self.log = files, [], []
        self.page, self.private, self.foreign_pages = 2, True, False
        self.lock = threading.Lock()
        self.servers = {}
        for origin in ("hub", "cdn"):
            s = Server(("127.0.0.1", 0), Handler)
            s.hub, s.origin = self, origin
            self.servers[origin] = s
            threading.Thread(target=s.serve_forever, daemon=True).start()

    def url(self, origin):
        return "http://127.0.0.1:%d" % self.servers[origin].server_address[1]

    def take(self, origin, path):
        with self.lock:
            for i, f in enumerate(self.faults):
                if f.get("at", "hub") == origin and f.get("path", "") in path:
                    return self.faults.pop(i)
        return None

    def reset(self, *faults):
        with self.lock:
            self.faults, self.log = list(faults), []
        self.page, self.private, self.foreign_pages = 2, True, False

    def close(self):
        for s in self.servers.values():
            s.shutdown()
            s.server_close()
