#!/usr/bin/env python3
"""kill -9 of the leader, of a follower and of all six at once while clients write: nothing acknowledged is lost."""
import hashlib
import os
import signal
import threading
import time
import unittest

from cluster import SITES, Cluster, wait_until


class Writer(threading.Thread):
    """One client that stores file after file; remembers the hash of every one whose put was acknowledged."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.vault = cluster, name
        self.profile = cluster.enrol(name)
        cluster.client("vault", "create", name, profile=self.profile)
        self.acknowledged, self.refused, self.ending = {}, 0, threading.Event()

    def run(self):
        count = 0
        while not self.ending.is_set():
            data = os.urandom(20000 + count * 1000 % 300000)
            path = self.cluster.top / f"{self.vault}-in"
            path.write_bytes(data)
            name = f"f{count:04d}"
            done = self.cluster.client("put", path, f"{self.vault}:/{name}", profile=self.profile, check=False)
            if done.returncode == 0:
                self.acknowledged[name] = hashlib.sha256(data).hexdigest()
            else:
                self.refused += 1
            count += 1

    def written(self):
        return len(self.acknowledged)

    def check(self, test, endpoint):
        out = self.cluster.top / f"{self.vault}-out-{endpoint}"
        self.cluster.client("get", "-r", f"{self.vault}:/", out, profile=self.profile, endpoint=endpoint)
        for name, digest in self.acknowledged.items():
            found = hashlib.sha256((out / name).read_bytes()).hexdigest()
            test.assertEqual(found, digest, f"{self.vault}/{name} read at {endpoint}")


class Kill(unittest.TestCase):
    def test_kills_while_clients_write(self):
        with Cluster() as cluster:
            writers = [Writer(cluster, name) for name in ("one", "two")]
            for writer in writers:
                writer.start()
            self.grow(writers, "before any kill")

            leader = cluster.wait_leader()
            cluster.kill(leader)
            began = time.monotonic()
            cluster.wait_leader(other_than=leader)
            print(f"leader {leader} killed, another after {time.monotonic() - began:.2f} s")
            self.grow(writers, "after the leader's death")
            cluster.start(leader)

            follower = next(s for s in SITES if s != cluster.wait_leader())
            mark = cluster.log_mark(follower)
            os.kill(cluster.pid(follower), signal.SIGABRT)  # As a failed assertion does.
            cluster.wait_log(follower, mark, "kluisd: ended by SIGABRT; the last moves, oldest first:")
            cluster.wait_log(follower, mark, "state=done rc=0")
            cluster.kill(follower)
            self.grow(writers, "without a follower")
            cluster.start(follower)

            cluster.kill_all_at_once()
            for site in SITES:
                cluster.spawn(site)
            cluster.wait_ready()
            self.grow(writers, "after all six died")

            for writer in writers:
                writer.ending.set()
            for writer in writers:
                writer.join(180)
                self.assertFalse(writer.is_alive())
                print(f"{writer.vault}: {writer.written()} acknowledged, {writer.refused} refused")
                for endpoint in ("ams", "mst"):
                    writer.check(self, endpoint)
            self.same_state(cluster)
            self.stop_of_the_leader(cluster)

    def stop_of_the_leader(self, cluster):
        """SIGTERM hands leadership over."""
        leader = cluster.wait_leader()
        cluster.stop(leader)
        self.assertNotEqual(cluster.wait_leader(), leader)
        log = (cluster.site_dir(leader) / "kluisd.log").read_text()
        self.assertIn("state=stopped", log)
        cluster.start(leader)

    def grow(self, writers, when):
        before = [w.written() for w in writers]
        wait_until(f"both clients write {when}", 120, lambda: all(w.written() > b + 1 for w, b in zip(writers, before)))

    def same_state(self, cluster):
        """All six replicas reach one state hash at one index."""
        def equal():
            rows = [cluster.admin(s, "/v1/sys/status") for s in SITES]
            seen = {(row["state_hash_index"], row["state_hash"]) for row in rows}
            return len(seen) == 1
        wait_until("one state hash at all six", 120, equal)


if __name__ == "__main__":
    unittest.main(verbosity=2)
