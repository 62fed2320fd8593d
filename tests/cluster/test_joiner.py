#!/usr/bin/env python3
"""A node without anything takes the standby's place while clients write: it fetches a checkpoint, is killed and stopped in the
middle, the leader changes in the middle, and in the end it stands where the others stand. KLUIS_JOIN_MIB is how much it fetches
(256); what the leader's clients felt and how much memory the nodes had is printed."""
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

from cluster import Cluster, wait_until
from test_members import Members

MIB = int(os.environ.get("KLUIS_JOIN_MIB", "256"))
SECONDS = 60 + MIB  # A megabyte a second would be slow.
LOAD_SECONDS = 8


class Joiner(unittest.TestCase):
    data, renumber, init_join = Members.data, Members.renumber, Members.init_join

    def setUp(self):
        self.cluster = Cluster()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)

    def fill(self):
        """Files of at most 256 MiB, so that no scratch file is as large as the store."""
        c, left = self.cluster, MIB
        profile = c.enrol("filler")
        c.client("vault", "create", "v", profile=profile)
        scratch = c.top / "scratch"
        while left > 0:
            now = min(left, 256)
            with open(scratch, "wb") as out:
                for _ in range(now):
                    out.write(os.urandom(1 << 20))
            c.client("put", scratch, f"v:/f-{left}", profile=profile, timeout=60 + 2 * now)
            left -= now
        scratch.unlink()

    def load(self):
        command = [str(self.cluster.kluisctl), "bench", "--profile", str(self.cluster.dir / "profile"), "-o", "json", "--keep", "--op", "put",
                   "--clients", "1", "--seconds", str(LOAD_SECONDS), "--endpoint", "leader"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def p99_ms(self, load):
        out, err = load.communicate(timeout=LOAD_SECONDS + 120)
        self.assertEqual(load.returncode, 0, err)
        return json.loads(out)["items"][0]["p99_us"] / 1000

    def fetched(self):
        """Bytes in the newcomer's directory of what it fetches."""
        return sum(f.stat().st_size for f in (self.data("mst") / "catchup").rglob("*") if f.is_file())

    def wait_fetched(self, share):
        def there():
            return self.fetched() > share * MIB * (1 << 20) or self.cluster.get("mst", "/readyz")[0] == 200
        wait_until(f"{share} of it is fetched", SECONDS, there)
        return self.cluster.get("mst", "/readyz")[0] != 200

    def rss_mib(self, site):
        for line in pathlib.Path(f"/proc/{self.cluster.pid(site)}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) >> 10
        return 0

    def test_joins_under_load(self):
        c = self.cluster
        self.fill()
        before = self.p99_ms(self.load())
        print(f"memory after {MIB} MiB: {[self.rss_mib(site) for site in ('ams', 'rtd', 'utr', 'ein', 'gro', 'mst')]} MiB")
        c.kill("mst")
        self.data("mst").rename(c.top / "old")
        self.renumber("mst", 6, 7)
        self.data("mst").mkdir(mode=0o700)
        words = self.init_join("mst")
        c.spawn("mst")
        wait_until("mst waits to be added", 20, lambda: c.get("mst", "/readyz")[0] == 503)
        begun, load = time.monotonic(), self.load()
        replacing = subprocess.Popen([str(c.kluisctl), "--socket", str(c.site_dir("ams") / "admin.sock"), "--timeout", str(SECONDS), "member",
                                      "replace", "6", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        middle = []
        if self.wait_fetched(0.15):
            middle.append("killed")
            c.kill("mst")
            c.spawn("mst")
        if self.wait_fetched(0.35):
            middle.append("stopped for 7 s")
            os.kill(c.pid("mst"), signal.SIGSTOP)
            time.sleep(7)  # Longer than a fetch waits for its peer.
            os.kill(c.pid("mst"), signal.SIGCONT)
        if self.wait_fetched(0.6):
            middle.append("leader moved")
            c.ctl(c.wait_leader(), "leader", "transfer")
        said, _ = replacing.communicate(timeout=SECONDS)
        self.assertEqual(replacing.returncode, 0, said)
        during = self.p99_ms(load)
        wait_until("mst is ready", SECONDS, lambda: c.get("mst", "/readyz")[0] == 200)
        print(f"joined in {time.monotonic() - begun:.1f} s, in the middle: {', '.join(middle)}; "
              f"one client's p99 at the leader {before:.1f} ms before, {during:.1f} ms while it joined")
        self.assertIn("killed", middle)

        def same():
            rows = [c.admin(site, "/v1/sys/status") for site in ("ams", "mst")]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until("the newcomer's state is that of the others", 60, same)
        self.assertEqual({row["state"] for row in c.admin("ams", "/v1/sys/members")["items"]}, {"member"})


if __name__ == "__main__":
    unittest.main(argv=["test_joiner.py", "Joiner"])
