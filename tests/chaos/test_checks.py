#!/usr/bin/env python3
"""Every check of a chaos history finds the violation that is planted for it, and nothing in a history that is right."""
import copy
import random
import re
import types
import unittest
import unittest.mock

import checks
import faults
import linear
import plan

SECOND = 10**9


class Store:
    """A right history: each operation takes effect at one instant within its call."""

    def __init__(self, seed, ops=400, clients=6, pages=3):
        self.rng = random.Random(seed)
        self.clients, self.pages = clients, pages
        self.heads, self.state = ["first"], {}
        self.rows = [{"o": "vault", "v": 0, "h": "first"}]
        self.free = [0] * clients  # When a client is done.
        self.views = [(1, "first", {})] * clients
        self.effects = []
        for number in range(ops):
            self.op(number)
        self.end()

    def op(self, number):
        rng = self.rng
        client = min(range(self.clients), key=lambda c: self.free[c])
        begin = self.free[client] + rng.randint(1, SECOND // 50)
        # Effects happen in the order of this loop; each within its own call.
        effect = max(begin + 1, self.effects[-1] + 1 if self.effects else 0)
        end = effect + rng.randint(1, SECOND // 20)
        self.effects.append(effect)
        self.free[client] = end + 1
        row = {"c": client, "v": 0, "e": rng.randint(1, 6), "t": [begin, end], "x": "ok", "i": 100 + len(self.heads)}
        if rng.random() < 0.5:
            self.write(row, client, number)
        else:
            self.read(row, client)
        self.rows.append(row)

    def write(self, row, client, number):
        if self.rng.random() < 0.6:
            self.views[client] = (len(self.heads), self.heads[-1], dict(self.state))
        place, behind, pages = self.views[client]
        page = self.rng.randrange(self.pages)
        revision = pages.get(page, (0, ""))[0] + 1
        row.update(o="w", q=place + 1, h=f"h{number}", b=behind, ps=[[page, revision, f"p{number}"]])
        lucky = behind == self.heads[-1]
        unknown = self.rng.random() < 0.1
        if lucky and not (unknown and self.rng.random() < 0.5):
            self.heads.append(row["h"])
            self.state[page] = (revision, row["ps"][0][2])
        elif not unknown:
            row.update(x="no", k="KLUIS_EPRECONDITION")
        if unknown:
            row.update(x="un", k="KLUIS_ETIMEOUT")

    def read(self, row, client):
        level = self.rng.choice(["lin", "lin", "ses", "stale"])
        if self.rng.random() < 0.3:
            row.update(o="h", l="lin", q=len(self.heads), h=self.heads[-1])
        else:
            row.update(o="r", l=level, st=0, ps=[[p, *self.state.get(p, (0, "none"))] for p in range(self.pages)])

    def end(self):
        pages = [[p, *self.state.get(p, (0, "none"))] for p in range(self.pages)]
        last = max(self.free)
        self.rows.append({"o": "heal", "step": 1, "t": self.rows[5]["t"][0]})
        self.rows.append({"o": "fault", "step": 1, "what": "split", "quorum": True, "load": 40, "t": 0})
        self.rows.append({"o": "bit", "step": 1, "what": "split", "took": 3})
        self.rows.append({"o": "put", "n": "f1", "sha": "s1", "rc": 13, "said": "no quorum"})
        self.rows.append({"o": "put", "n": "f1", "sha": "s1", "rc": 0, "said": ""})
        self.rows += [{"o": "got", "e": node, "found": {"f1": "s1"}} for node in (2, 5)]
        self.rows.append({"o": "verify", "rc": 0, "said": ""})
        for node in range(1, 7):
            self.rows.append({"o": "final", "v": 0, "e": node, "heads": list(self.heads), "ps": copy.deepcopy(pages)})
            self.rows.append({"o": "hash", "t": last, "index": 500, "hash": "same"})


class Planted(unittest.TestCase):
    def setUp(self):
        self.rows = Store(7).rows

    def pick(self, want, nth=20):
        return [row for row in self.rows if want(row)][nth]

    def writes(self, outcome="ok"):
        return [row for row in self.rows if row["o"] == "w" and row["x"] == outcome]

    def heal(self, step, time):
        self.rows.append({"o": "heal", "step": step, "t": time})
        self.rows.append({"o": "bit", "step": step, "what": "split", "took": 3})

    def head_list(self):
        return next(row for row in self.rows if row["o"] == "final")["heads"]

    def found(self, *names):
        """Exactly these checks may object; the first one has to, also when it is the only one asked."""
        history = checks.History(self.rows)
        self.assertTrue(checks.failures(history, names[0]).get(names[0]), f"{names[0]} found nothing")
        everything = checks.failures(history)
        self.assertLessEqual(set(everything), set(names), {name: wrong[:2] for name, wrong in everything.items()})

    def test_right_histories_pass(self):
        for seed in range(30):
            self.assertEqual(checks.failures(checks.History(Store(seed).rows)), {}, f"seed {seed}")

    def test_acknowledged_write_lost(self):
        lost = self.writes()[-1]
        for row in self.rows:
            if row["o"] == "final":
                row["heads"] = [h for h in row["heads"] if h != lost["h"]]
        self.found("acked", "agree", "chain", "dirty", "fresh", "linear", "session", "stale")

    def test_refused_write_happened(self):
        row = self.writes()[30]
        row.update(x="no", k="KLUIS_ENOQUORUM")
        self.found("refused", "linear")

    def test_lost_race_that_was_none(self):
        self.writes()[30].update(x="no", k="KLUIS_EPRECONDITION")
        self.found("refused", "linear")

    def test_refused_though_nobody_was_faster(self):
        last = max(row["t"][1] for row in self.rows if row["o"] in "whr")
        self.rows.append({"o": "w", "c": 0, "v": 0, "e": 1, "t": [last + 1, last + 9], "x": "no", "k": "KLUIS_EPRECONDITION", "q": 500,
                          "h": "late", "b": self.head_list()[-1], "ps": [[0, 500, "x"]]})
        self.found("linear")

    def test_stale_linearizable_read(self):
        reads = [row for row in self.rows if row["o"] == "h" and row["q"] > 20]
        old = reads[3]
        reads[-1].update(q=old["q"], h=old["h"])
        self.found("fresh", "linear", "session")

    def test_stale_linearizable_read_of_pages(self):
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "lin"]
        reads[-1]["ps"] = copy.deepcopy(reads[5]["ps"])
        self.found("fresh", "linear", "session")

    def test_read_that_goes_back_in_a_session(self):
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "ses"]
        reads[-1]["ps"] = copy.deepcopy(reads[5]["ps"])
        self.found("session")

    def test_session_read_of_an_older_index(self):
        row = self.pick(lambda row: row["o"] == "r" and row["l"] == "ses", 5)
        row.update(m=row["i"] + 1)
        self.found("session")

    def test_stale_read_that_says_it_is_fresh(self):
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "stale"]
        reads[-1]["ps"] = copy.deepcopy(reads[1]["ps"])
        reads[-1]["t"] = [t + SECOND for t in reads[-1]["t"]]
        self.found("stale")

    def test_stale_read_older_than_ten_seconds(self):
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "stale"]
        late = 20 * SECOND
        row = dict(reads[-1], t=[reads[-1]["t"][0] + late, reads[-1]["t"][1] + late], st=20000, ps=copy.deepcopy(reads[1]["ps"]))
        self.rows.append(row)
        self.found("stale")

    def test_read_of_what_never_was(self):
        row = self.pick(lambda row: row["o"] == "r" and row["ps"][0][1] > 0)
        row["ps"][0][2] = "other"
        self.found("dirty", "linear")

    def test_torn_read(self):
        """Two pages of two states."""
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "stale"]
        reads[-1]["ps"][0] = copy.deepcopy(reads[1]["ps"][0])
        self.assertNotEqual(reads[-1]["ps"][0], reads[-2]["ps"][0])
        self.found("dirty")

    def test_read_of_the_future(self):
        reads = [row for row in self.rows if row["o"] == "r" and row["l"] == "stale"]
        reads[2]["ps"] = copy.deepcopy(reads[-1]["ps"])
        self.found("future", "session")

    def test_page_skips_a_revision(self):
        row = self.writes()[10]
        row["ps"][0][1] += 1
        self.found("chain", "dirty", "agree", "linear", "future", "fresh", "session", "stale")

    def test_head_of_nobody(self):
        for row in self.rows:
            if row["o"] == "final":
                row["heads"][4] = "foreign"
        self.found("chain", "acked", "dirty", "agree", "fresh", "session", "stale", "linear", "future", "order")

    def test_head_behind_another_than_it_was_made_for(self):
        self.writes()[10]["b"] = "first"
        self.found("chain", "linear")

    def test_write_acknowledged_in_the_past(self):
        """Its place was taken long before it began."""
        row = self.writes()[30]
        late = self.writes()[-1]["t"][1] + SECOND
        row["t"] = [late, late + 1]
        self.found("order", "future", "linear", "session", "dirty")

    def test_one_node_shows_other_data(self):
        [row for row in self.rows if row["o"] == "final"][3]["ps"][0][2] = "other"
        self.found("agree")

    def test_one_node_shows_another_chain(self):
        [row for row in self.rows if row["o"] == "final"][3]["heads"].pop()
        self.found("agree")

    def test_one_node_shows_nothing(self):
        self.rows.remove([row for row in self.rows if row["o"] == "final"][3])
        self.found("agree")

    def test_one_state_hash_differs(self):
        [row for row in self.rows if row["o"] == "hash"][2]["hash"] = "other"
        self.found("agree")

    def test_no_progress_after_healing(self):
        last = max(row["t"][0] for row in self.writes())
        self.heal(2, last + 1)
        self.found("progress")

    def test_late_progress_after_healing(self):
        last = self.writes()[-1]
        self.heal(2, last["t"][0] - 1)
        last["t"][1] += 31 * SECOND
        self.found("progress")

    def test_no_writes_though_a_quorum_is_spared(self):
        last = max(row["t"][0] for row in self.writes())
        self.rows.append({"o": "fault", "step": 2, "what": "split", "quorum": True, "load": 40, "t": last + 1})
        self.heal(2, last + 12 * SECOND)
        late = dict(self.pick(lambda row: row["o"] == "w" and row["x"] == "ok"), t=[last + 13 * SECOND, last + 14 * SECOND])
        late.update(q=len(self.head_list()) + 1, h="late", b=self.head_list()[-1], ps=[])
        self.rows.append(late)
        for row in self.rows:
            if row["o"] == "final":
                row["heads"].append("late")
        self.found("live")

    def test_no_writes_without_a_quorum_is_right(self):
        last = max(row["t"][0] for row in self.writes())
        self.rows.append({"o": "fault", "step": 2, "what": "split", "quorum": False, "load": 40, "t": last + 1})
        self.rows.append({"o": "fault", "step": 3, "what": "short", "quorum": True, "load": 40, "t": last + 1})
        self.heal(3, last + 9 * SECOND)
        self.rows.append({"o": "fault", "step": 4, "what": "quiet", "quorum": True, "load": 2, "t": last + 1})
        self.heal(4, last + 20 * SECOND)
        self.assertEqual(checks.failures(checks.History(self.rows), "live"), {})

    def test_fault_that_touched_nothing(self):
        self.heal(2, 0)
        self.rows[-1]["took"] = 0
        self.found("work")

    def test_faults_that_nobody_could_see(self):
        for step in (2, 3):
            self.heal(step, 0)
            self.rows[-1]["took"] = None
        self.assertEqual(checks.failures(checks.History(self.rows)), {})
        self.heal(4, 0)
        self.rows[-1]["took"] = None
        self.found("work")

    def test_fault_that_nobody_looked_at(self):
        self.heal(2, 0)
        self.rows.pop()
        self.found("work")

    def test_no_file_was_ever_put(self):
        self.rows = [row for row in self.rows if row["o"] != "put"]
        self.found("work")

    def test_files_never_verified(self):
        self.rows = [row for row in self.rows if row["o"] != "verify"]
        self.found("files")

    def test_search_that_decides_nothing(self):
        history = checks.History(self.rows, budget=10)
        self.assertIn("not decided", checks.failures(history, "linear")["linear"][0])
        self.assertIn("decided 0 of them", checks.summary(history))

    def test_run_without_writes(self):
        self.rows = [row for row in self.rows if row["o"] not in ("w", "heal")]
        self.found("work", "agree", "chain", "dirty", "future", "linear")

    def test_stored_file_missing_at_a_node(self):
        [row for row in self.rows if row["o"] == "got"][1]["found"].clear()
        self.found("files")

    def test_stored_file_with_other_bytes(self):
        [row for row in self.rows if row["o"] == "got"][0]["found"]["f1"] = "other"
        self.found("files")

    def test_client_that_finds_the_cluster_untrue(self):
        self.rows.append({"o": "put", "n": "f2", "sha": "s2", "rc": 15, "said": "a pinned key or head changed"})
        self.found("files")

    def test_files_that_do_not_verify(self):
        [row for row in self.rows if row["o"] == "verify"][0]["rc"] = 14
        self.found("files")

    def test_files_never_fetched(self):
        self.rows = [row for row in self.rows if row["o"] != "got"]
        self.found("files")

    def test_node_that_ended(self):
        self.rows.append({"o": "node", "site": "utr", "what": "ended by itself, status -6"})
        self.found("nodes")

    def test_error_that_no_node_may_answer(self):
        self.pick(lambda row: row["o"] == "r").update(x="no", k="KLUIS_ECORRUPT")
        self.found("form")

    def test_pages_that_are_not_those_of_the_head(self):
        self.rows.append({"o": "bad", "c": 1, "v": 0, "e": 2, "why": "head 7 does not name the pages that were listed"})
        self.found("form")

    def test_every_check_has_a_planted_violation(self):
        """A new check without a test here is noticed."""
        with open(__file__, encoding="utf-8") as file:
            planted = set(re.findall(r'self\.found\("(\w+)"', file.read()))
        self.assertEqual(planted, set(checks.CHECKS))


class Search(unittest.TestCase):
    """The linearizability search alone, on histories small enough to see through."""

    @staticmethod
    def write(begin, end, behind, digest, outcome="ok"):
        return {"o": "w", "t": [begin, end], "x": outcome, "b": behind, "h": digest, "ps": [[0, 1, digest]]}

    @staticmethod
    def head(begin, end, digest):
        return {"o": "h", "t": [begin, end], "x": "ok", "h": digest}

    def verdict(self, *ops):
        return linear.search(linear.Vault("0", [op for op in ops if op["o"] == "w"]), list(ops))

    def test_one_after_the_other(self):
        self.assertTrue(self.verdict(self.write(1, 2, "0", "a"), self.head(3, 4, "a"), self.write(5, 6, "a", "b"), self.head(7, 8, "b")))

    def test_stale_read(self):
        self.assertFalse(self.verdict(self.write(1, 2, "0", "a"), self.head(3, 4, "0")))

    def test_overlapping_reads_may_see_either(self):
        for seen in ("0", "a"):
            self.assertTrue(self.verdict(self.write(1, 9, "0", "a"), self.head(2, 3, seen)))

    def test_reads_that_go_back_within_one_write(self):
        self.assertFalse(self.verdict(self.write(1, 9, "0", "a"), self.head(2, 3, "a"), self.head(4, 5, "0")))

    def test_two_writes_on_one_state(self):
        self.assertFalse(self.verdict(self.write(1, 5, "0", "a"), self.write(2, 6, "0", "b")))
        self.assertTrue(self.verdict(self.write(1, 5, "0", "a"), self.write(2, 6, "0", "b", "no")))

    def test_refused_without_reason(self):
        self.assertFalse(self.verdict(self.write(1, 2, "0", "a", "no")))

    def test_unknown_write_may_come_late_or_never(self):
        lost = self.write(1, 2, "0", "a", "un")
        self.assertTrue(self.verdict(lost, self.head(5, 6, "0"), self.head(7, 8, "a")))
        self.assertTrue(self.verdict(lost, self.head(5, 6, "0")))
        self.assertFalse(self.verdict(lost, self.head(5, 6, "a"), self.head(7, 8, "0")))

    def test_pages_below_a_head(self):
        read = {"o": "r", "t": [3, 4], "x": "ok", "ps": [[0, 1, "a"], [1, 0, ""]]}
        self.assertTrue(self.verdict(self.write(1, 2, "0", "a"), read))
        self.assertFalse(self.verdict(self.write(1, 2, "0", "a"), dict(read, ps=[[0, 0, ""]])))

    def test_budget(self):
        ops = [self.head(1, 2, "0")]
        self.assertIsNone(linear.search(linear.Vault("0", []), ops, budget=0))

    def test_moved_reads_are_found(self):
        """Of histories with one head read moved back by five, as in the checkers' literature: all that are wrong by real time."""
        found = wrong = 0
        for seed in range(40):
            rows = Store(seed, ops=200).rows
            reads = [row for row in rows if row["o"] == "h" and row["q"] > 10]
            finals = next(row for row in rows if row["o"] == "final")["heads"]
            reads[-1].update(q=reads[-1]["q"] - 5, h=finals[reads[-1]["q"] - 6])
            history = checks.History(rows)
            stale = bool(checks.failures(history, "fresh"))
            wrong += stale
            if checks.failures(history, "linear"):
                found += 1
            else:
                self.assertFalse(stale, f"seed {seed}")
        self.assertGreater(wrong, 30)
        self.assertGreaterEqual(found, wrong)


class Clocks(unittest.TestCase):
    """Whether a node's clock is seen to be wrong, however late it answers."""

    class Node:
        """One that answers after `late` seconds, by clocks that run at a rate and are so many seconds off."""

        def __init__(self, late, rate=1.0, off=0.0):
            self.late, self.rate, self.off, self.now = late, rate, off, 1000.0

        def time(self):
            return self.now

        monotonic = time

        def clocks(self, _site):
            self.now += self.late / 2
            there = {"kluis_uptime_seconds": self.now * self.rate, "kluis_wall_clock_seconds": self.now + self.off}
            self.now += self.late / 2
            return there

    def seen(self, kind, node, rate=1.0):
        """What it says within six seconds."""
        with unittest.mock.patch.object(faults, "time", node):
            fault = faults.KINDS[kind]({"rate": rate}, types.SimpleNamespace(nodes=node, leader=None))
            fault.first, said = {}, set()
            for _ in range(6):
                said.add(fault.is_wrong("ams"))
                node.now += 1
        return said - {None}

    def test_rates(self):
        for late in (0.01, 0.1, 0.4, 1.0):
            for rate in (0.8, 0.9, 1.1, 1.25):
                self.assertLessEqual(self.seen("rate", self.Node(late, rate), rate), {True}, (late, rate))
                self.assertLessEqual(self.seen("rate", self.Node(late), rate), {False}, (late, rate))
        self.assertEqual(self.seen("rate", self.Node(0.01, 0.9), 0.9), {True})
        self.assertEqual(self.seen("rate", self.Node(0.01), 0.9), {False})

    def test_jumps(self):
        for late in (0.01, 0.1, 0.4, 1.0):
            for off in (-3600.0, -1.0, -0.7, 0.7, 1.0, 30.0):
                self.assertLessEqual(self.seen("clock", self.Node(late, off=off)), {True}, (late, off))
            self.assertLessEqual(self.seen("clock", self.Node(late)), {False}, late)
        self.assertEqual(self.seen("clock", self.Node(0.01, off=-1.0)), {True})
        self.assertEqual(self.seen("clock", self.Node(0.01)), {False})

    def test_what_was_seen_is_what_counts(self):
        fault = faults.KINDS["clock"]({}, types.SimpleNamespace(nodes=None, leader=None))
        fault.who = ["ams", "rtd"]
        for answers, took in (((None, None), None), ((True, None), 1), ((True, True), 2), ((True, False), 0), ((None, False), 0)):
            fault.wrong, fault.seen = set(), set()
            with unittest.mock.patch.object(fault, "is_wrong", side_effect=answers):
                self.assertEqual(fault.touched(None, None), took, answers)


class Plans(unittest.TestCase):
    def test_same_seed_same_plan(self):
        self.assertEqual(plan.make(10, 7), plan.make(10, 7))
        self.assertNotEqual(plan.make(10, 7), plan.make(10, 8))

    def test_all_kinds_within_ten_minutes(self):
        for seed in range(20):
            steps = plan.make(10, seed)
            kinds = {step["kind"] for step in steps}
            self.assertEqual(kinds, {"split", "oneway", "pairs", "flap", "delay", "slow", "reset", "pause", "zombie", "kill", "clock", "rate", "mix"})
            self.assertEqual({len(step["apart"]) for step in steps if step["kind"] == "split"}, {1, 2, 3})
            self.assertTrue(any(len(step.get("pairs", ())) == 15 for step in steps))
            self.assertLessEqual(sum(plan.length(step) + plan.CALM for step in steps), 600)

    def test_without_libfaketime_no_clocks(self):
        for seed in range(20):
            self.assertNotIn("clock", str(plan.make(10, seed, clocks=False)))
            self.assertNotIn("rate", {step["kind"] for step in plan.make(10, seed, clocks=False)})


if __name__ == "__main__":
    unittest.main(verbosity=2)
