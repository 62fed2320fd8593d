"""Whether raft noticed, and what a machine does to everybody on it: the longest that a short sleep and a small write to the disk took."""
import os
import threading
import time

from cluster import SITES, wait_until

EVERY = 0.05
ELECTION = 1.0  # ELECTION_TIMEOUT_MS of base/limits.h, in seconds.
LONG = ELECTION / 2  # Who is kept waiting for so long cannot tell whether it was raft that was late.


def raft(cluster):
    """Term and leader, when all agree on them."""
    def agreed():
        rows = [cluster.admin(site, "/v1/sys/status") for site in SITES]
        return rows[0] if rows[0]["leader"] and len({(row["term"], row["leader"]) for row in rows}) == 1 else None
    row = wait_until("one term and leader", 120, agreed)
    return row["term"], row["leader"]


class Stalls:
    """While it is entered, in that directory. `longest`: seconds since take()."""

    def __init__(self, directory):
        self.path, self.ending, self.longest = directory / "stalls", threading.Event(), 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join(60)

    def run(self):
        with open(self.path, "wb", buffering=0) as file:
            began = time.monotonic()
            while not self.ending.wait(EVERY):
                file.write(b"x")
                os.fsync(file.fileno())
                now = time.monotonic()
                self.longest = max(self.longest, now - began - EVERY)
                began = now

    def take(self):
        """The longest since the last call."""
        longest, self.longest = self.longest, 0.0
        return longest
