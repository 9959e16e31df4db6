"""Parquet read over HTTP by ranges: the same rows as from the file, through broken connections; a server without
ranges, and a file that changes, are told. Usage: test_ranges.py FOLDER_OF_PROGRAMS FOLDER_OF_TABLES"""
import http.server
import os
import subprocess
import sys
import threading
import unittest

TOOLS, TABLES = os.path.abspath(sys.argv[1]), sys.argv[2]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    requests, breaks, ranges, grows = 0, False, True, False

    def handle_error(self, request, address):
        pass  # a client that has seen enough


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        s = self.server
        s.requests += 1
        with open(os.path.join(TABLES, os.path.basename(self.path.split("?")[0])), "rb") as f:
            data = f.read() + b"x" * ((s.requests - 1) * s.grows)
        asked = self.headers.get("Range") if s.ranges else None
        first = int(asked[6:].split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if s.breaks and s.requests % 2 == 0:
            self.wfile.write(data[first:first + 1000])
            self.close_connection = True
        else:
            self.wfile.write(data[first:])


class Ranges(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def cat(self, *args):
        return subprocess.run([os.path.join(TOOLS, "corpus"), "cat", "-q", "--field", "licence", *args], capture_output=True, timeout=60)

    def test_as_the_file(self):
        for name in ("dictionary-snappy-v1", "delta-zstd-v2"):
            want = self.cat(os.path.join(TABLES, name + ".parquet"))
            got = self.cat(self.url + name + ".parquet?signature=1")
            self.assertEqual((got.returncode, got.stdout), (0, want.stdout), got.stderr)
            self.assertEqual(want.stdout.count(b"\n"), 120)

    def test_broken_connections(self):
        self.server.breaks = True
        want = self.cat(os.path.join(TABLES, "plain-none-v1.parquet"))
        got = self.cat(self.url + "plain-none-v1.parquet")
        self.assertEqual((got.returncode, got.stdout), (0, want.stdout), got.stderr)
        self.assertGreater(self.server.requests, 3)

    def test_no_ranges(self):
        self.server.ranges = False
        got = self.cat(self.url + "plain-none-v1.parquet")
        self.assertEqual(got.returncode, 5)
        self.assertIn(b"sends no ranges; fetch the file first", got.stderr)

    def test_a_file_that_changes(self):
        self.server.grows = True
        got = self.cat(self.url + "plain-none-v1.parquet")
        self.assertEqual(got.returncode, 5)
        self.assertIn(b"changed on the server", got.stderr)


del sys.argv[1:]
unittest.main()
