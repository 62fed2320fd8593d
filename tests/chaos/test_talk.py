#!/usr/bin/env python3
"""Every check of a conversation finds the violation that is planted for it, and nothing in one that is right."""
import copy
import unittest

import talk_checks
from talk_checks import CHECKS, Rows
from talkers import Cast

SECOND = 10**9
NAMES = ["anna", "ben", "cleo"]
CAST = Cast("harbour", NAMES, [1, 2, 3], False, "mia")


def item(seq, who, text, device="desk", **more):
    return {"seq": seq, "time_ms": seq, "user": who, "device": device, "mine": False, "kind": "text", "text": text, **more}


class Right:
    """Three talk in turn, a second each message. In the middle mia comes and cleo goes; ben gets a phone."""

    def __init__(self):
        self.now, self.log, self.rows, self.said = 10, [item(1, "anna", "harbour", kind="title")], [], 0
        for name in NAMES:
            self.change("add", name)
        self.turn(NAMES, 12)
        self.read("cleo")
        self.change("add", "mia")
        self.change("remove", "cleo")
        self.from_here = len(self.log) + 1
        self.turn(["anna", "ben", "mia"], 12)
        self.change("add", "ben", "phone1")
        self.phone_from = len(self.log) + 1
        self.turn(["anna", "ben", "mia"], 12)
        for name in ("ben", "mia"):
            self.read(name)
        self.read("ben", "phone1")
        self.call("say", "cleo", rc=12, text="cleo/desk out", seq=None, said="no member any more")
        self.call("say", "anna", rc=13, text="anna/desk lost", seq=None, said="no quorum")
        self.rows.append({"o": "follow", "t": self.tick(), "who": "anna", "device": "desk", "ended": None, "said": "", "items": copy.deepcopy(self.log)})
        self.rows.append({"o": "bit", "t": self.tick(), "what": "kill", "took": 1})

    def tick(self):
        self.now += 2
        return [self.now * SECOND, (self.now + 1) * SECOND]

    def call(self, kind, who, device="desk", **members):
        self.rows.append({"o": kind, "t": self.tick(), "who": who, "device": device, "rc": 0, "said": "", **members})

    def change(self, what, who, device=None):
        self.rows.append({"o": "change", "t": self.tick(), "what": what, "who": who, "device": device})

    def turn(self, names, count):
        for _ in range(count):
            self.said += 1
            who = names[self.said % len(names)]
            text = f"{who}/desk {self.said}"
            self.log.append(item(len(self.log) + 1, who, text))
            self.call("say", who, text=text, seq=len(self.log))

    def read(self, who, device="desk"):
        first = {"mia": self.from_here, "phone1": self.phone_from}.get(device if device != "desk" else who, 1) if self.log[36:] else 1
        items = [dict(row) if row["seq"] >= first else {**row, "kind": "closed", "text": None} for row in self.log]
        self.call("read", who, device, items=items)


class Planted(unittest.TestCase):
    def setUp(self):
        self.rows = Right().rows

    def reading(self, who, device="desk"):
        return next(row for row in self.rows if row["o"] in ("read", "follow") and (row["who"], row["device"]) == (who, device))

    def say(self, number):
        return [row for row in self.rows if row["o"] == "say"][number]

    def item_of(self, seq, who="ben"):
        return next(item for item in self.reading(who)["items"] if item["seq"] == seq)

    def everywhere(self, change):
        """In all that anybody was shown."""
        for row in self.rows:
            for shown in row.get("items", []):
                change(shown)

    def found(self, name, **more):
        return list(CHECKS[name](Rows(self.rows, **more)))

    def violates(self, name):
        self.assertTrue(self.found(name), f"'{name}' finds nothing")

    def test_right(self):
        for name in CHECKS:
            self.assertEqual(self.found(name), [], name)
        self.assertTrue(talk_checks.report(self.rows, CAST))
        self.assertEqual({who for who, _ in Rows(self.rows).always()}, {"anna", "ben"})

    def test_another_writer(self):
        self.item_of(5)["user"] = "mia"
        self.violates("same")

    def test_another_text(self):
        self.item_of(5)["text"] = "something else"
        self.violates("same")

    def test_another_time(self):
        self.item_of(5)["time_ms"] = 17
        self.violates("same")

    def test_not_seen(self):
        self.reading("ben")["items"].remove(self.item_of(7))
        self.violates("whole")

    def test_not_opened(self):
        self.item_of(7)["kind"] = "closed"
        self.violates("whole")

    def test_lost(self):
        for row in self.rows:
            row.get("items", [])[:] = [shown for shown in row.get("items", []) if shown["seq"] != 37]
        self.violates("acked")

    def test_another_number(self):
        self.say(3)["seq"] += 1
        self.violates("acked")

    def test_twice(self):
        self.everywhere(lambda shown: shown.update(text=self.say(2)["text"]) if shown["seq"] == 9 else None)
        self.violates("once")

    def test_invented(self):
        self.everywhere(lambda shown: shown.update(text="nobody's") if shown["seq"] == 9 else None)
        self.violates("once")

    def test_of_somebody_else(self):
        self.everywhere(lambda shown: shown.update(user="mia") if shown["seq"] == 5 else None)
        self.violates("once")

    def test_own_order(self):
        first, second = self.say(1), self.say(4)
        self.assertEqual(first["who"], second["who"])
        first["t"], second["t"] = second["t"], first["t"]
        self.assertTrue(any("same device" in text for text in self.found("order")))

    def test_real_time(self):
        first, second = self.say(1), self.say(2)
        first["t"], second["t"] = second["t"], first["t"]
        self.assertTrue(any("acknowledged" in text for text in self.found("order")))

    def test_swapped_in_a_reading(self):
        items = self.reading("ben")["items"]
        items[4], items[5] = items[5], items[4]
        self.violates("reading")

    def test_read_again(self):
        self.rows.append(copy.deepcopy(self.reading("ben")))
        self.rows[-1]["t"] = [200 * SECOND, 201 * SECOND]
        self.violates("reading")
        self.reading("ben")["rc"] = 13  # Cut short, and so handed out once more.
        self.assertEqual(self.found("reading"), [])

    def test_told_of_a_lie(self):
        self.item_of(4)["problem"] = "the cluster withholds 1 messages"
        self.violates("trust")

    def test_removed_reads_on(self):
        self.reading("cleo")["items"].append(item(20, self.say(18)["who"], self.say(18)["text"]))
        self.violates("members")

    def test_new_one_reads_what_was_before(self):
        shown = self.item_of(5, "mia")
        shown.update(kind="text", text=self.say(3)["text"])
        self.violates("members")

    def test_history_is_for_who_is_in_it(self):
        shown = self.item_of(5, "mia")
        shown.update(kind="text", text=self.say(3)["text"])
        self.assertEqual(self.found("members", history=True), [])
        cleo = self.reading("cleo")
        self.rows.append({**cleo, "t": self.rows[-1]["t"], "items": [item(20, self.say(18)["who"], self.say(18)["text"])]})
        self.assertTrue(self.found("members", history=True))

    def read_again(self):
        """As it is in the end; found() of it."""
        self.rows.append({**self.reading("ben"), "o": "again", "items": copy.deepcopy(self.reading("anna")["items"])})
        self.assertEqual(self.found("history", history=True), [])
        return self.rows[-1]

    def test_history_is_not_whole(self):
        self.read_again()["items"].pop(4)
        self.assertTrue(self.found("history", history=True))

    def test_history_is_not_opened(self):
        self.read_again()["items"][4].update(kind="closed", text=None)
        self.assertTrue(self.found("history", history=True))

    def test_history_has_another_text(self):
        self.read_again()["items"][4]["text"] = "something else"
        self.assertTrue(self.found("history", history=True))

    def test_history_is_doubted(self):
        self.read_again()["said"] = "history of the conversation: it could not be written for long"
        self.assertTrue(self.found("history", history=True))

    def test_history_is_not_read(self):
        self.assertTrue(self.found("history", history=True))
        self.read_again()
        self.violates("history")

    def test_of_another_conversation(self):
        self.rows.append({**self.say(3), "chat": "pier"})
        self.rows.append({**self.reading("ben"), "chat": "pier"})
        for name in CHECKS:
            self.assertEqual(self.found(name, chat="harbour"), [], name)

    def test_own_is_gone(self):
        own = self.item_of(8)
        self.assertEqual(own["user"], "ben")
        self.reading("ben")["items"].remove(own)
        for name in CHECKS:
            self.assertEqual(self.found(name), [], name)

    def test_new_one_does_not_read(self):
        self.item_of(31, "mia").update(kind="closed", text=None)
        self.violates("members")

    def test_phone_does_not_read(self):
        next(shown for shown in self.reading("ben", "phone1")["items"] if shown["seq"] == 30).update(kind="closed", text=None)
        self.violates("members")

    def test_removed_says(self):
        next(row for row in self.rows if row["o"] == "say" and row["rc"] == 12)["rc"] = 0
        self.violates("calls")

    def test_member_is_refused(self):
        self.say(4)["rc"] = 12
        self.violates("calls")

    def test_invited_is_refused(self):
        self.say(4).update(rc=12, said="you are invited to this conversation: 'kluis chat accept' first")
        self.assertEqual(self.found("calls"), [])

    def test_verification_fails(self):
        self.reading("ben")["rc"] = 14
        self.violates("calls")

    def test_follower_ends(self):
        self.reading("anna")["ended"] = 13
        self.violates("calls")

    def test_silence(self):
        self.rows = [row for row in self.rows if row["o"] != "say"] + [row for row in self.rows if row["o"] == "say"][:3]
        self.violates("work")
        self.assertFalse(talk_checks.report([], CAST))

    def test_no_fault(self):
        self.rows[-1]["took"] = 0
        self.violates("work")

    def test_nobody_goes(self):
        self.rows = [row for row in self.rows if row.get("what") != "remove"]
        self.violates("work")


if __name__ == "__main__":
    unittest.main()
