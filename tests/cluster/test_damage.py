#!/usr/bin/env python3
"""Torn and flipped bytes in a node's files: a torn tail is cut, damage is refused by file and offset, and the others serve."""
import os
import pathlib
import shutil
import signal
import struct
import unittest

from cluster import Cluster, wait_until
from victim import VICTIM, Victim, flip, overwrite

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


class Damage(Victim, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        c = Cluster.for_class(cls)
        # Two segments of log and more, so that there is one with a successor.
        big = c.top / "big"
        big.write_bytes(os.urandom(24 << 20))
        c.client("put", big, "v:/big", profile=cls.profile)

    def segments(self, data):
        return [Segment(path) for path in sorted((data / "log").glob("segment-*"))]

    # --- the tail ---

    def test_torn_record_at_the_end(self):
        """The last write came half way. A mark is torn, for nobody was told of one; an entry might be acknowledged."""
        self.put()
        log = self.cluster.site_dir(VICTIM) / "data" / "log"

        def ends_in_mark():
            last = Segment(sorted(log.glob("segment-*"))[-1])
            return last.records and last.data[last.records[-1][0] + 12] == MARK

        def stopped_at_a_mark():
            """Nothing is written any more when it is looked at: reports and the clock's commands come at any time."""
            pid = self.cluster.pid(VICTIM)
            os.kill(pid, signal.SIGSTOP)
            wait_until("all threads stand still", 120, lambda: all(
                path.read_text().rpartition(")")[2].split()[0] == "T" for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")))
            if ends_in_mark():
                return True
            os.kill(pid, signal.SIGCONT)
            return False
        wait_until("a mark at the end of the idle log", 120, stopped_at_a_mark)
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
        leader = c.lead_elsewhere(VICTIM)
        c.kill(leader)
        self.addCleanup(c.start, leader)
        c.wait_leader(other_than=leader)
        name, data = self.put()
        wait_until("it has the new term", 120, lambda: c.get(VICTIM, "/readyz")[0] == 200)
        self.check_file(name, data, VICTIM)
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
