#!/usr/bin/env python3
"""Torn and flipped bytes in a node's files: a torn tail is cut, damage is refused by file and offset, and the others serve."""
import json
import os
import shutil
import struct
import unittest

from cluster import SITES, Cluster, wait_until

VICTIM = "gro"
HEAD_BYTES, RECORD_HEAD_BYTES, MARK = 4096, 40, 65


class Segment:
    """The records of one log segment (docs/format-log.md), found by their lengths."""

    def __init__(self, path):
        self.path, self.data, self.records = path, path.read_bytes(), []
        salt, at = self.data[44:48], HEAD_BYTES
        while self.data[at + 8:at + 12] == salt:
            length = struct.unpack_from(">I", self.data, at + 4)[0]
            size = (RECORD_HEAD_BYTES + length + 7) // 8 * 8
            self.records.append((at, size))
            at += size
        self.end = at


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        c = Cluster.for_class(cls)
        cls.puts = 0
        # Two segments of log and more, so that there is one with a successor.
        big = c.top / "big"
        big.write_bytes(os.urandom(24 << 20))
        c.client("put", big, "v:/big", profile=cls.profile)

    def put(self, data=None):
        type(self).puts += 1
        name, data = f"f{self.puts}", data or os.urandom(20000)
        (self.cluster.top / "in").write_bytes(data)
        self.cluster.client("put", self.cluster.top / "in", f"v:/{name}", profile=self.profile, endpoint="utr")
        return name, data

    def check_file(self, name, data, site):
        back = self.cluster.top / "out"
        back.unlink(missing_ok=True)
        self.cluster.client("get", f"v:/{name}", back, profile=self.profile, endpoint=site)
        self.assertEqual(back.read_bytes(), data)

    def others_serve(self):
        name, data = self.put()
        self.check_file(name, data, "mst")

    def down(self, kill=False):
        """Ends the victim and keeps a copy of its directory. It gets that back after the test, unless it ran meanwhile:
        what a node acknowledged it must never forget, so that an old copy may not be put back then."""
        c = self.cluster
        (c.kill if kill else c.stop)(VICTIM)
        data, saved = c.site_dir(VICTIM) / "data", c.top / "saved"
        shutil.copytree(data, saved)
        self.ran = False

        def bring_back():
            if not self.ran:
                shutil.rmtree(data, ignore_errors=True)
                shutil.copytree(saved, data)
            shutil.rmtree(saved)
            c.start(VICTIM)
        self.addCleanup(bring_back)
        return data

    def segments(self, data):
        return [Segment(path) for path in sorted((data / "log").glob("segment-*"))]

    def check_refused(self, *texts):
        """It must end by itself, say what is wrong and where, and leave everything as it was for somebody to look at."""
        log = self.cluster.site_dir(VICTIM) / "data" / "log"
        before = {path.name: path.read_bytes() for path in log.iterdir()} if log.exists() else {}
        code, said = self.cluster.refused(VICTIM)
        self.assertEqual(code, 1, said)
        for text in texts:
            self.assertIn(text, said)
        self.assertEqual(self.cluster.get(VICTIM, "/healthz")[0], 0)
        for name, content in before.items():
            if not name.startswith("free-"):
                self.assertEqual((log / name).read_bytes(), content, f"{name} was changed")

    def check_starts(self):
        """Ready again, and has what was written while it was away."""
        name, data = self.put()
        self.ran = True
        self.cluster.start(VICTIM)
        self.check_file(name, data, VICTIM)

        def equal():
            rows = [self.status(site) for site in SITES]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until("one state hash everywhere", 30, equal)

    def status(self, site):
        return json.loads(self.cluster.ctl(site, "-o", "json", "status").stdout)["items"][0]

    # --- the tail ---

    def test_torn_record_at_the_end(self):
        """The last write came half way. A mark is torn, for nobody was told of one; an entry might be acknowledged."""
        self.put()
        log = self.cluster.site_dir(VICTIM) / "data" / "log"

        def ends_in_mark():
            last = Segment(sorted(log.glob("segment-*"))[-1])
            return last.records and last.data[last.records[-1][0] + 12] == MARK
        wait_until("a mark at the end of the idle log", 20, ends_in_mark)
        data = self.down(kill=True)
        last = self.segments(data)[-1]
        at, size = last.records[-1]
        self.assertEqual(last.data[at + 12], MARK)
        overwrite(last.path, at + 16, bytes(size - 16))
        self.check_starts()

    def test_record_that_was_begun(self):
        self.put()
        data = self.down(kill=True)
        last = self.segments(data)[-1]
        at, size = last.records[-1]
        head = last.data[at:at + RECORD_HEAD_BYTES]
        # A next record of which only the first block reached the disk.
        torn = head[:4] + struct.pack(">I", 60000) + head[8:] + b"\xa5" * 500
        overwrite(last.path, last.end, torn)
        self.check_starts()

    # --- the middle ---

    def test_flipped_byte_with_records_behind(self):
        self.put()
        data = self.down()
        last = self.segments(data)[-1]
        self.assertGreater(len(last.records), 2)
        at, size = last.records[len(last.records) // 2]
        flip(last.path, at + size - 9)
        self.check_refused(last.path.name, f"offset {at}", "replace this node")
        self.others_serve()

    def test_flipped_byte_in_a_full_segment(self):
        data = self.down()
        segments = self.segments(data)
        self.assertGreater(len(segments), 1)
        first = segments[0]
        at, size = first.records[len(first.records) // 2]
        flip(first.path, at + RECORD_HEAD_BYTES)
        self.check_refused(first.path.name, f"offset {at}", "replace this node")
        self.others_serve()

    def test_damaged_head(self):
        data = self.down()
        flip(self.segments(data)[-1].path, 24)
        self.check_refused("segment-", "offset 0", "replace this node")

    def test_cut_segment(self):
        data = self.down()
        path = self.segments(data)[-1].path
        os.truncate(path, os.path.getsize(path) // 2)
        self.check_refused(path.name, "replace this node")

    def test_missing_segment(self):
        data = self.down()
        path = self.segments(data)[0].path
        path.unlink()
        self.check_refused(path.name, "is missing", "replace this node")

    # --- vote and state ---

    def test_one_slot_of_the_vote(self):
        data = self.down()
        vote = data / "log" / "vote"
        self.ran = True
        for slot in (0, 4096):
            with self.subTest(slot=slot):
                flip(vote, slot + 20)
                self.cluster.start(VICTIM)
                self.cluster.stop(VICTIM)
                raw = vote.read_bytes()
                self.assertEqual(raw[:100], raw[4096:4196], "the slot was not made good again")

    def test_both_slots_of_the_vote(self):
        data = self.down()
        flip(data / "log" / "vote", 20)
        flip(data / "log" / "vote", 4096 + 20)
        self.check_refused("/log/vote", "neither slot (offsets 0 and 4096)", "replace this node")
        self.others_serve()

    def test_missing_vote(self):
        data = self.down()
        (data / "log" / "vote").unlink()
        self.check_refused("/log/vote", "could vote twice", "replace this node")

    def test_old_copy_of_the_vote(self):
        c = self.cluster
        vote = c.site_dir(VICTIM) / "data" / "log" / "vote"
        old = vote.read_bytes()
        leader = c.wait_leader()
        c.kill(leader)
        self.addCleanup(c.start, leader)
        c.wait_leader(other_than=leader)
        name, data = self.put()
        wait_until("it has the new term", 20, lambda: c.get(VICTIM, "/readyz")[0] == 200)
        self.check_file(name, data, VICTIM)
        if leader == VICTIM:
            c.start(VICTIM)
        c.start(leader)
        directory = self.down()
        (directory / "log" / "vote").write_bytes(old)
        self.check_refused("/vote' says term", "old copy", "replace this node")

    def test_state(self):
        data = self.down()
        flip(data / "log" / "state", 20)
        flip(data / "log" / "state", 4096 + 20)
        self.check_refused("/log/state", "neither slot", "replace this node")

    # --- identity and store ---

    def test_identity(self):
        data = self.down()
        flip(data / "identity", 10)
        self.check_refused("/identity", "replace this node")

    def test_store_that_is_behind_a_missing_log(self):
        data = self.down()
        shutil.rmtree(data / "log")
        self.check_refused("log")
        self.others_serve()

    def test_wiped_directory(self):
        data = self.down()
        shutil.rmtree(data)
        self.check_refused("is no node's data directory yet")
        data.mkdir(mode=0o700)
        self.check_refused("is no node's data directory yet")
        self.others_serve()


if __name__ == "__main__":
    unittest.main(verbosity=2)
