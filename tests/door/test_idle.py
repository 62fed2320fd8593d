#!/usr/bin/env python3
"""Ten thousand TLS connections that say nothing more after one request, from a dozen addresses, at one node: it serves others
as before, raft does not notice, they go when their time is up, and what they took is told."""
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import time
import unittest

from cluster import SITES, Cluster, wait_until

WANTED = int(os.environ.get("KLUIS_IDLE_CONNECTIONS", "10000"))
PER_ADDRESS = 900  # The node takes 1,024 of one.


def raise_limit(least):
    """The soft limit of descriptors up to the hard one, both if root may; what there is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, soft), max(least, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


class Idle(unittest.TestCase):
    def open_one(self, n):
        raw = socket.socket()
        raw.settimeout(20)
        raw.bind((f"127.0.0.{10 + n // PER_ADDRESS}", 0))
        raw.connect(("127.0.0.1", self.cluster.base_port))
        tls = self.context.wrap_socket(raw, server_hostname="localhost")
        tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = tls.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:100])
        return tls

    def metric(self, name):
        text = subprocess.run(["curl", "-sS", "-m", "20", "--unix-socket", str(self.cluster.site_dir("ams") / "admin.sock"),
                               "http://localhost/metrics"], capture_output=True, text=True, timeout=30, check=True).stdout
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def raft(self):
        rows = [self.cluster.admin(site, "/v1/sys/status") for site in SITES]
        return {(row["term"], row["leader"]) for row in rows}

    def write(self, name, endpoint):
        path = self.cluster.top / "file"
        path.write_bytes(os.urandom(5000))
        began = time.monotonic()
        self.cluster.client("put", path, f"idle:/{name}", profile=self.profile, endpoint=endpoint)
        return time.monotonic() - began

    def test_idle(self):
        limit = raise_limit(2 * 16384 + 1000)
        wanted = min(WANTED, limit // 2 - 100)
        if wanted < WANTED:
            print(f"only {wanted} of {WANTED} connections: {limit} descriptors are all that this user may have")
        with Cluster() as self.cluster:
            self.cluster.wait_leader()
            self.cluster.wait_ready()
            self.profile = self.cluster.profile
            self.cluster.client("vault", "create", "idle", profile=self.profile)
            self.context = ssl.create_default_context(cafile=str(self.cluster.dir / "pki" / "provider-ca.pem"))
            self.context.set_alpn_protocols(["http/1.1"])
            pid, raft = self.cluster.pid("ams"), self.raft()
            before_s, before_kib = self.write("before", "ams"), rss_kib(pid)
            began = time.monotonic()
            idle = [self.open_one(n) for n in range(wanted)]
            took = time.monotonic() - began
            there, after_kib = self.metric("kluis_http_connections"), rss_kib(pid)
            per = (after_kib - before_kib) / wanted
            print(f"{wanted} connections in {took:.0f} s, {there} there at once; RSS {before_kib // 1024} -> {after_kib // 1024} MiB, "
                  f"{per:.1f} KiB each")
            # The first may have been idle for a minute by then; the others must be there.
            self.assertGreater(there, wanted * min(1, 50 / took) * 0.98)
            self.assertLess(per, 64)
            during_s = max(self.write(f"during{i}", "ams") for i in range(5))
            print(f"put: {before_s * 1000:.0f} ms before, at most {during_s * 1000:.0f} ms with them")
            self.assertLess(during_s, before_s + 2)
            self.assertEqual(self.raft(), raft, "an election while they were there")
            wait_until("the idle ones gone", 90, lambda: self.metric("kluis_http_connections") < 50)
            self.assertGreaterEqual(self.metric("kluis_http_timeouts_total"), wanted * 0.98)
            for tls in idle:
                tls.close()
            self.write("after", "ams")
            print(f"RSS without them: {rss_kib(pid) // 1024} MiB")
            self.assertEqual(self.raft(), raft)


if __name__ == "__main__":
    unittest.main(verbosity=2)
