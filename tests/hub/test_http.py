"""HTTP against server.py: every fault of the protocol that has bitten somebody.

usage: test_http.py HTTP_PROBE LMHUB
"""
import gzip
import ssl
import threading
import unittest

from case import *

HERE = os.path.dirname(os.path.abspath(__file__))


class Transport(Case):
    def test_whole(self):
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.ok(self.probe("/plain/data/empty.bin"), b"")
        self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_dropped_in_the_middle(self):
        self.hub.reset(*[{"do": "drop", "byte": 500_000}] * 3)
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.assertEqual(self.ranges(), ["bytes=500000-", "bytes=1000000-", "bytes=1500000-"])

    def test_dropped_at_the_first_and_last_byte(self):
        for byte in (0, 1, len(BIG) - 1):
            self.hub.reset({"do": "drop", "byte": byte})
            self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_more_drops_than_tries_while_bytes_come(self):
        """Patience is for questions without an answer, not for long files."""
        self.hub.reset(*[{"do": "drop", "byte": 400_000}] * 7)
        self.ok(self.probe("/plain/big.bin"), BIG)

    def test_server_without_ranges(self):
        self.hub.reset({"do": "drop", "byte": 700_000}, {"do": "norange"})
        self.ok(self.probe("/plain/big.bin"), BIG)
        self.hub.reset({"do": "drop", "byte": 700_000}, {"do": "norange", "byte": 900_000}, {"do": "norange"})
        self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_wrong_length(self):
        """More is announced than comes, then a 416 or a total of its own says where the end is."""
        self.hub.reset({"do": "none", "more": 10})
        self.fails(self.probe("/plain/README.md"), 5, "README.md")
        self.assertLess(self.took, 10)

    def test_trickle(self):
        """A byte now and then is no progress: the line is given up, and the rest asked for."""
        self.hub.reset({"do": "trickle", "byte": 1_000_000})
        self.ok(self.probe("/plain/big.bin", "-", "", "", "1"), BIG)
        self.assertLess(self.took, 10)
        self.assertEqual(len(self.ranges()), 1)

    def test_trickle_for_ever(self):
        self.hub.reset(*[{"do": "trickle", "byte": 0}] * 20)
        self.fails(self.probe("/plain/big.bin", "-", "", "", "0.5"), 5, "only", "tries")
        self.assertLess(self.took, 10)

    def test_time_for_all_tries(self):
        self.hub.reset(*[RATE | {"headers": {"Retry-After": "2"}}] * 3)
        self.fails(self.probe("/plain/big.bin", "-", "", "", "5", "3"), 5, "given up after 3 s")
        self.assertLess(self.took, 6)

    def test_proxy(self):
        """The proxy here is the same server: it sees whole addresses."""
        r = self.run_([PROBE, "http://elsewhere.invalid/plain/README.md"], http_proxy=self.hub.url("hub"))
        self.ok(r, FILES["README.md"])
        r = self.run_([PROBE, self.hub.url("hub") + "/plain/README.md"], http_proxy="http://127.0.0.1:9",
                      no_proxy="127.0.0.1")
        self.ok(r, FILES["README.md"])

    def test_reset_before_the_answer(self):
        self.hub.reset({"do": "reset"})
        self.ok(self.probe("/plain/big.bin"), BIG)

    def test_stall(self):
        self.hub.reset({"do": "stall", "byte": 100_000, "seconds": 20})
        self.ok(self.probe("/plain/big.bin", "-", "", "", "1"), BIG)
        self.assertLess(self.took, 10)

    def test_chunked_and_without_length(self):
        for kind in ("chunked", "nolength"):
            self.hub.reset({"do": kind})
            self.ok(self.probe("/plain/big.bin", SHA["big.bin"]), BIG)

    def test_changed_in_the_middle(self):
        """Another ETag under the same address: half of one file and half of another is no file."""
        self.hub.reset({"do": "drop", "byte": 1000}, {"do": "none", "etag": '"new"'})
        r = self.probe("/plain/big.bin")
        self.fails(r, 5, "changed")

    def test_range_that_starts_elsewhere(self):
        self.hub.reset({"do": "drop", "byte": 1000}, {"do": "wrongrange"})
        self.fails(self.probe("/plain/big.bin", SHA["big.bin"]), 5, "1000")

    def test_a_slow_reader_is_not_overrun(self):
        """A server that is faster than we are: what is read ahead has a bound, whatever the file's length."""
        line = b'{"text": "%s"}\n' % (b"x" * 1000)
        self.hub.files["long.jsonl"] = line * 120_000
        command = [os.path.join(os.path.dirname(LMHUB), "corpus"), "cat", "-q", "--threads", "1", self.hub.url("hub") + "/plain/long.jsonl"]
        p = subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE)
        time.sleep(1)  # it could have all of it by now
        self.assertLess(self.hub.sent, 60_000_000)
        got, peak = hashlib.sha256(), []
        while piece := p.stdout.read(1 << 20):
            got.update(piece)
            with open(f"/proc/{p.pid}/status") as f:  # not what wait4() says: that counts us before the exec, too
                peak += [int(x.split()[1]) for x in f if x.startswith("VmHWM")]
        p.communicate()
        self.assertEqual((p.returncode, got.digest()), (0, hashlib.sha256(line * 120_000).digest()))
        self.assertTrue(10 << 10 < max(peak) * 2 < 96 << 10, max(peak))

    def test_many_files_by_any_thread(self):
        """Files are opened by some threads and decoded by others: the bytes and their order stay those of the files."""
        rng, names, want = random.Random(5), [], {}
        for i in range(9):
            text = b"".join(b'{"text": "%d %s"}\n' % (i, bytes(rng.choices(b"abc def", k=900))) for _ in range(rng.choice((0, 1, 40, 3000))))
            name = "many-%d.jsonl%s" % (i, ".gz" * (i % 2))
            self.hub.files[name] = gzip.compress(text, 1) if i % 2 else text
            names.append(self.hub.url("hub") + "/plain/" + name)
            want[i] = text
        corpus = os.path.join(os.path.dirname(LMHUB), "corpus")
        for threads in ("1", "2", "5"):
            r = self.run_([corpus, "cat", "-q", "--threads", threads] + names)
            self.ok(r, b"".join(want.values()))
        orders = [self.run_([corpus, "cat", "-q", "--order", "hf5", "--shuffle-buffer", "50", "--threads", n] + names) for n in "14"]
        self.assertEqual(sorted(orders[0].stdout.splitlines()), sorted(b"".join(want.values()).splitlines()))
        self.assertEqual(orders[0].stdout, orders[1].stdout)

    def test_flipped_byte(self):
        self.hub.reset({"do": "flip"})
        self.fails(self.probe("/plain/big.bin", SHA["big.bin"]), 6, SHA["big.bin"], "sha256 is")

    def test_waits_as_asked(self):
        self.hub.reset(RATE | {"headers": {"RateLimit": '"api";r=0;t=1'}})
        self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.assertGreaterEqual(self.took, 1)
        self.hub.reset(RATE | {"headers": {"Retry-After": "2", "RateLimit": '"api";r=7;t=55'}})
        self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.assertTrue(2 <= self.took < 10)

    def test_asked_to_wait_too_long(self):
        self.hub.reset(RATE | {"headers": {"Retry-After": "4000"}})
        self.fails(self.probe("/plain/README.md"), 5, "429", "4000")
        self.assertLess(self.took, 5)

    def test_server_errors(self):
        for code in (500, 502, 503, 504, 408):
            self.hub.reset({"do": "status", "code": code})
            self.ok(self.probe("/plain/README.md"), FILES["README.md"])
        self.hub.reset(*[{"do": "status", "code": 503}] * 9)
        self.fails(self.probe("/plain/README.md"), 5, "503", "tries")
        self.assertEqual(len(self.hub.log), 4)

    def test_missing_is_not_retried(self):
        self.hub.reset({"do": "status", "code": 404})
        self.fails(self.probe("/plain/README.md?secret=sig=1"), 5, "404 Not Found", "/plain/README.md")
        self.assertEqual(len(self.hub.log), 1)

    def test_nobody_listens(self):
        r = self.run_([PROBE, "http://127.0.0.1:9/x"])
        self.fails(r, 5, "127.0.0.1:9")
        self.assertLess(self.took, 60)


class Redirects(Case):
    def to(self, where):
        args = ("-", server.TOKEN, self.hub.url("hub"))
        return self.probe("/to/?" + where, *args)

    def test_same_origin_keeps_the_token(self):
        self.ok(self.to("/plain/README.md"), FILES["README.md"])
        self.assertEqual([x[2] for x in self.hub.log], ["Bearer " + server.TOKEN] * 2)

    def test_other_port_does_not_get_it(self):
        self.ok(self.to(self.hub.url("cdn") + "/README.md"), FILES["README.md"])
        self.assertEqual([x[2] for x in self.hub.log], ["Bearer " + server.TOKEN, None])

    def test_and_back_again(self):
        """Origin, not history, decides: a hop back home has the token again."""
        self.ok(self.to("/to/?" + self.hub.url("cdn") + "/README.md"), FILES["README.md"])
        self.assertEqual([x[2] is not None for x in self.hub.log], [True, True, False])

    def test_not_followed(self):
        for where in ("ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://127.0.0.1/",
                      self.hub.url("cdn").replace("//", "//user:pass@") + "/README.md"):
            r = self.to(where)
            self.fails(r, 5, "redirects")
            self.assertNotIn(b"pass", r.stderr)
            self.assertEqual(len(self.hub.log), 1, where)
            self.hub.reset()

    def test_where_the_token_goes(self):
        """curl's CVE-2018-1000007, -2022-27774, -2022-27776: only the exact origin, at every hop."""
        port = self.hub.url("hub").rsplit(":", 1)[1]
        args = ("-", server.TOKEN, self.hub.url("hub"))
        for host, sees in (("127.0.0.1", True), ("localhost", False), ("127.0.0.2", False)):
            r = self.run_([PROBE, f"http://{host}:{port}/plain/README.md", *args])
            if r.returncode == 0:
                self.assertEqual([x[2] is not None for x in self.hub.log], [sees], host)
            self.hub.reset()
            r = self.to(f"http://{host}:{port}/plain/README.md")
            if r.returncode == 0:
                self.assertEqual([x[2] is not None for x in self.hub.log], [True, sees], host)
            self.hub.reset()

    def test_line_breaks_in_location(self):
        r = self.to("%0d%0aX-Evil: 1")
        self.assertNotEqual(r.returncode, 0)

    def test_loop(self):
        self.fails(self.probe("/loop"), 5, "redirects more than")
        self.assertLess(len(self.hub.log), 20)


class Tls(Case):
    """Certificates are always checked, and a bad one is no reason to try again. (tls/: a CA made for this test,
    good until 2120, and what it signed.)"""

    def https(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{HERE}/tls/{name}.pem")
        s = server.Server(("127.0.0.1", 0), server.Handler)
        s.hub, s.origin = self.hub, "hub"
        s.socket = context.wrap_socket(s.socket, server_side=True)
        threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(s.server_close)
        self.addCleanup(s.shutdown)
        return "https://127.0.0.1:%d" % s.server_address[1]

    def get(self, url, ca=f"{HERE}/tls/ca.pem"):
        return self.run_([PROBE, url + "/plain/README.md", "-", "", "", "5", "20", *([ca] if ca else [])])

    def test_good(self):
        self.ok(self.get(self.https("good")), FILES["README.md"])

    def test_unknown_authority(self):
        self.fails(self.get(self.https("good"), None), 5, "SSL_CERT_FILE")
        self.assertLess(self.took, 3)

    def test_bad_ones(self):
        for name in ("expired", "elsewhere", "selfsigned"):
            self.fails(self.get(self.https(name)), 5, "127.0.0.1")
        self.assertEqual(self.hub.log, [])

    def test_a_file_that_holds_none(self):
        self.fails(self.get(self.https("good"), "/dev/null"), 5)

    def test_lmhub(self):
        url = self.https("good")
        self.hub.page = 1000  # the next page would be at another origin, plain http
        ls = ["ls", "-q", "hf://datasets/me/toy/README.md"]
        self.fails(self.lmhub(*ls, HF_ENDPOINT=url), 5, "SSL_CERT_FILE")
        self.assertEqual(self.lmhub(*ls, HF_ENDPOINT=url, SSL_CERT_FILE=f"{HERE}/tls/ca.pem").returncode, 0)
        self.assertEqual(self.lmhub(*ls, "--cacert", f"{HERE}/tls/ca.pem", HF_ENDPOINT=url).returncode, 0)

    def test_back_to_plain_http_is_refused(self):
        r = self.run_([PROBE, self.https("good") + "/to/?" + self.hub.url("hub") + "/plain/README.md", "-", server.TOKEN,
                       self.hub.url("hub"), "5", "20", f"{HERE}/tls/ca.pem"])
        self.fails(r, 5, "https to http")
        self.assertEqual(len(self.hub.log), 1)


if __name__ == "__main__":
    unittest.main()
