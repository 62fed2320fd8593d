#!/usr/bin/env python3
"""Thousands of TLS connections that say nothing more after one request, from some addresses, at one node: it serves others, raft
does not notice, they go when their time is up, and what they took is told."""
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import time
import unittest

from cluster import Cluster, wait_until
from stalls import LONG, Stalls, raft

WANTED = int(os.environ.get("KLUIS_IDLE_CONNECTIONS", "2500"))
IDLE = 60  # HTTP_IDLE_MS, in seconds.
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
        raw.settimeout(60)
        raw.bind((f"127.0.0.{10 + n // PER_ADDRESS}", 0))
        raw.connect(("127.0.0.1", self.cluster.base_port))
        tls = self.context.wrap_socket(raw, server_hostname="localhost")
        tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = tls.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:100])
        return tls

    def metric(self, name):
        text = subprocess.run(["curl", "-sS", "-m", "60", "--unix-socket", str(self.cluster.site_dir("ams") / "admin.sock"),
                               "http://localhost/metrics"], capture_output=True, text=True, timeout=120, check=True).stdout
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def no_election(self, before):
        """Since the last call. A machine that stands still for long makes one by itself."""
        now, stood = raft(self.cluster), self.stalls.take()
        if now != before and stood > LONG:
            print(f"SKIPPED in part: an election, but this machine stood still for {stood:.1f} s")
        else:
            self.assertEqual(now, before, "an election while they were there")
        return now

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
        with Cluster() as self.cluster, Stalls(self.cluster.top) as self.stalls:
            self.cluster.wait_leader()
            self.cluster.wait_ready()
            self.profile = self.cluster.profile
            self.cluster.client("vault", "create", "idle", profile=self.profile)
            self.context = ssl.create_default_context(cafile=str(self.cluster.dir / "pki" / "provider-ca.pem"))
            self.context.set_alpn_protocols(["http/1.1"])
            pid, term = self.cluster.pid("ams"), raft(self.cluster)
            before_s, before_kib = self.write("before", "ams"), rss_kib(pid)
            began, idle, at = time.monotonic(), [], []
            for n in range(wanted):
                idle.append(self.open_one(n))
                at.append(time.monotonic())
            took = time.monotonic() - began
            there, after_kib, now = self.metric("kluis_http_connections"), rss_kib(pid), time.monotonic()
            per = (after_kib - before_kib) / wanted
            print(f"{wanted} connections in {took:.0f} s, {there} there at once; RSS {before_kib // 1024} -> {after_kib // 1024} MiB, "
                  f"{per:.1f} KiB each")
            # The first may have been idle for a minute by then; the others must be there.
            self.assertGreaterEqual(there, 0.98 * sum(now - one < IDLE - 10 for one in at))
            self.assertLess(per, 64)
            during_s = max(self.write(f"during{i}", "ams") for i in range(5))
            print(f"put: {before_s * 1000:.0f} ms before, at most {during_s * 1000:.0f} ms with them")
            term = self.no_election(term)
            wait_until("the idle ones gone", IDLE + 180, lambda: self.metric("kluis_http_connections") < 50)
            self.assertGreaterEqual(self.metric("kluis_http_timeouts_total"), wanted * 0.98)
            for tls in idle:
                tls.close()
            self.write("after", "ams")
            print(f"RSS without them: {rss_kib(pid) // 1024} MiB")
            self.no_election(term)


if __name__ == "__main__":
    unittest.main(verbosity=2)
