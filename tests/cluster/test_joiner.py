#!/usr/bin/env python3
"""A node without anything takes the standby's place while a client writes: it fetches a checkpoint, is killed and stopped in the
middle, the leader from which it fetches is killed and another one moved in the middle, and in the end it stands where the others
stand. KLUIS_JOIN_MIB is how much it fetches (256); what the leader's client felt all the while and how much memory the nodes had is
printed, and from 1 GiB on it has to be as promised."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

from cluster import SITES, Cluster, wait_until
from test_members import Members

MIB = int(os.environ.get("KLUIS_JOIN_MIB", "256"))
SECONDS = 60 + MIB  # A megabyte a second would be slow.
LARGE = MIB >= 1024
LOAD_SECONDS = 20 if LARGE else 5
P99_TIMES, P99_SLACK_MS, RSS_MOST_MIB = 3, 5, 400
ASKED = "gro"  # Where the operator asks; it does not lead.


class Load(threading.Thread):
    """One client's puts at whoever leads, run after run until it is told to end."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.ending = cluster, threading.Event()
        self.p99_ms, self.failure, self.kills = [], None, 0

    def run(self):
        while not self.ending.is_set() and self.failure is None:
            kills = self.kills
            try:
                p99_ms = self.once()
                if kills == self.kills:  # Else it was cut off with the leader that it had.
                    self.p99_ms.append(p99_ms)
            except (AssertionError, ValueError, subprocess.SubprocessError) as error:
                self.failure = error if kills == self.kills else None

    def once(self):
        c = self.cluster
        done = c.run([str(c.kluisctl), "bench", "--profile", str(c.profile), "-o", "json", "--keep", "--op", "put", "--clients", "1",
                      "--seconds", str(LOAD_SECONDS), "--endpoint", "leader"], True, LOAD_SECONDS + 120)
        return json.loads(done.stdout)["items"][0]["p99_us"] / 1000

    def end(self):
        self.ending.set()
        self.join(LOAD_SECONDS + 150)


class Joiner(unittest.TestCase):
    data, renumber, init_join = Members.data, Members.renumber, Members.init_join

    def setUp(self):
        self.cluster = Cluster()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)

    def fill(self):
        """Files of at most 256 MiB, so that no scratch file is as large as the store."""
        c, left = self.cluster, MIB
        self.assertGreater(shutil.disk_usage(c.top).free, 8 * MIB << 20, f"no room below '{c.top}' for what six nodes keep of it")
        profile = c.profile
        c.client("vault", "create", "v", profile=profile)
        scratch = c.top / "scratch"
        while left > 0:
            now = min(left, 256)
            with open(scratch, "wb") as out:
                for _ in range(now):
                    out.write(os.urandom(1 << 20))
            c.client("put", scratch, f"v:/f-{left}", profile=profile, timeout=150 + 2 * now)
            left -= now
        scratch.unlink()

    def fetched(self):
        """Bytes in the newcomer's directory of what it fetches; 0 when that is moved away meanwhile."""
        try:
            return sum(f.stat().st_size for f in (self.data("mst") / "catchup").rglob("*") if f.is_file())
        except FileNotFoundError:
            return 0

    def wait_fetched(self, share):
        def there():
            return self.fetched() > share * MIB * (1 << 20) or self.cluster.get("mst", "/readyz")[0] == 200
        wait_until(f"{share} of it is fetched", SECONDS, there)
        return self.cluster.get("mst", "/readyz")[0] != 200

    def rss_mib(self):
        """Of all six."""
        rows = [pathlib.Path(f"/proc/{self.cluster.pid(site)}/status").read_text() for site in SITES]
        return [int(re.search(r"^VmRSS:\s+(\d+) kB", row, re.MULTILINE).group(1)) >> 10 for row in rows]

    def fetched_from(self):
        """The site that it has asked last, and which leads."""
        peers = re.findall(r"op=catch_up peer=(\d+) index=", self.cluster.log("mst"))
        return SITES[int(peers[-1]) - 1]

    def disturb(self, load):
        """Whatever may happen to it in the middle; what did."""
        c, middle = self.cluster, []
        if self.wait_fetched(0.1):
            middle.append("killed")
            c.kill("mst")
            c.spawn("mst")
        if self.wait_fetched(0.25):
            middle.append("stopped for 7 s")
            os.kill(c.pid("mst"), signal.SIGSTOP)
            time.sleep(7)  # Longer than a fetch waits for its peer.
            os.kill(c.pid("mst"), signal.SIGCONT)
        if self.wait_fetched(0.35):
            middle.append("its source killed")
            load.kills += 1
            source = self.fetched_from()
            c.kill(source)
            os.kill(c.pid("mst"), signal.SIGSTOP)  # It goes no further in what the others take.
            c.wait_leader(other_than=source)
            c.spawn(source)
            load.kills += 1
            c.wait_ready([source])
            os.kill(c.pid("mst"), signal.SIGCONT)
        if self.wait_fetched(0.4):
            middle.append("leader moved")
            c.lead_elsewhere(c.wait_leader())
        return middle

    def test_joins_under_load(self):
        c = self.cluster
        self.fill()
        before = Load(c).once()
        memory = self.rss_mib()
        print(f"memory after {MIB} MiB: {memory} MiB")
        c.kill("mst")
        self.data("mst").rename(c.top / "old")
        self.renumber("mst", 6, 7)
        self.data("mst").mkdir(mode=0o700)
        words = self.init_join("mst")
        c.lead_elsewhere(ASKED)
        c.spawn("mst")
        wait_until("mst waits to be added", 120, lambda: c.get("mst", "/readyz")[0] == 503)
        begun, load = time.monotonic(), Load(c)
        load.start()
        self.addCleanup(load.end)
        replacing = subprocess.Popen([str(c.kluisctl), "--socket", str(c.site_dir(ASKED) / "admin.sock"), "--timeout", str(SECONDS), "member",
                                      "replace", "6", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        middle = self.disturb(load)
        said, _ = replacing.communicate(timeout=SECONDS)
        self.assertEqual(replacing.returncode, 0, said)
        wait_until("mst is ready", SECONDS, lambda: c.get("mst", "/readyz")[0] == 200)
        took = time.monotonic() - begun
        load.end()
        self.assertIsNone(load.failure)
        print(f"joined in {took:.1f} s, in the middle: {', '.join(middle)}; one client's p99 at the leader {before:.1f} ms before, while it "
              f"joined {', '.join(f'{ms:.1f}' for ms in load.p99_ms)} ms ({LOAD_SECONDS} s each); memory {self.rss_mib()} MiB")
        self.assertEqual(middle, ["killed", "stopped for 7 s", "its source killed", "leader moved"])
        self.assertTrue(load.p99_ms, "nobody wrote all the while")
        if LARGE:
            self.assertLessEqual(max(load.p99_ms), P99_TIMES * before + P99_SLACK_MS)
            self.assertLessEqual(max(memory + self.rss_mib()), RSS_MOST_MIB)

        def same():
            rows = [c.admin(site, "/v1/sys/status") for site in ("ams", "mst")]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until("the newcomer's state is that of the others", 120, same)
        self.assertEqual({row["state"] for row in c.admin("ams", "/v1/sys/members")["items"]}, {"member"})


if __name__ == "__main__":
    unittest.main(argv=["test_joiner.py", "Joiner"], verbosity=2)
