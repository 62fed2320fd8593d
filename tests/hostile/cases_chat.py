"""Lies about what was said, by whom, in which order, and to whom; and what a thief of a device's files hears."""
import json
import os
import re
import shutil
import signal
import struct
import time

from cases_sharing import packets_edit, statement_of
from cluster import wait_until
from people import lines
from proxy import b64, both, edit, edit_json, flip, refuse, reroute, unb64
from writer import now_ms

DAYS_31 = 31 * 86400 * 1000


def messages(path, change):
    """`change(items)` changes the list of messages in place; they are numbered anew when it says so by returning a number."""
    def inner(o):
        first = change(o["items"]) if o["items"] else None
        for i, item in enumerate(o["items"] if first else []):
            item["seq"] = first + i
    return edit_json("GET", path + "/messages", inner)


def without(at, dense=False):
    """One is left out; dense: the others close up."""
    def change(items):
        first = items[0]["seq"]
        del items[at]
        return first if dense else None
    return change


def put_packets(packets):
    """These alone are shown, whatever they are asked for about."""
    return edit_json("GET", "/v1/packets", lambda o: o.update(items=[{"packet": b64(packet)} for packet in packets]))


def device_of(chain):
    """(id, point that is sealed to) of the one device of an identity."""
    body = next(s[72:] for s in (statement_of(item) for item in chain) if s[5] == 4)
    sign = 16 + 2 + struct.unpack_from(">H", body, 16)[0]
    length = struct.unpack_from(">H", body, sign)[0]
    return body[:16], body[sign + 2:sign + 2 + length]


class Chats:
    def heard_by(self, attack, who, title, *, code, says):
        self.lie(attack, "chat", "read", title, device=self.world.desks[who], code=code, says=says, check=False)

    def speech(self, title, *texts, who="alice"):
        for text in texts:
            self.world.say(who, title, text)

    # --- messages ---

    def each(self, *members):
        """A new conversation without a history, and one with: (title, path)."""
        for history in (False, True):
            yield self.world.talk(*members, history=history)

    def test_message_dropped(self):
        """one is left out: with its number, with the numbers closed up, of two who answer each other"""
        for talk in self.each("bob", "carol"):
            self.drop(*talk)
        self.world.unharmed()
        # What another one has archived meanwhile the cluster cannot drop any more.
        title, path = self.world.talk("bob", "carol", history=True)
        self.speech(title, "one", "two", "three")
        self.assertEqual(self.world.heard("bob", title), ["one", "two", "three"])
        with self.proxy.lying(messages(path, without(1))) as told:
            self.assertEqual(self.world.heard("carol", title), ["one", "two", "three"])
        self.assertGreater(told.bites, 0)

    def drop(self, title, path):
        self.speech(title, "one", "two", "three")
        self.heard_by(messages(path, without(1)), "bob", title, code=14, says="withholds 1 message before it")
        self.heard_by(messages(path, without(1, dense=True)), "carol", title, code=15, says="dropped, moved or replaced one")
        for desk in (self.bob, self.carol):  # It goes on from there.
            desk.run("chat", "read", title, code=None)
        self.speech(title, "four")
        self.assertEqual(self.world.heard("bob", title), ["four"])

    def test_message_dropped_for_one(self):
        """one is shown to all but one: the next by who read it tells"""
        for title, path in self.each("bob", "carol"):
            self.speech(title, "to all but carol")
            self.assertEqual(self.world.heard("bob", title), ["to all but carol"])
            self.speech(title, "an answer", who="bob")
            self.heard_by(messages(path, without(0, dense=True)), "carol", title, code=15, says="'bob' saw a message that was not shown here")

    def test_message_said_to_be_expired(self):
        """one is left out, and the next said to be of a month later"""
        title, path = self.world.talk("bob")
        self.speech(title, "one", "two", "three")

        def expired(items):
            del items[1]
            for item in items[1:]:
                item["time_ms"] += DAYS_31
        self.heard_by(messages(path, expired), "bob", title, code=14, says="withholds 1 message before it")

    def test_beginning_withheld(self):
        """the first ones are kept from who reads for the first time, also who was asked in later"""
        title = self.world.name("talk")
        talk_id = self.one.run("chat", "new", title, "bob")["id"]
        path = f"/v1/conversations/{talk_id}"
        self.speech(title, "one", "two")
        self.bob.run("chat", "accept", talk_id)
        self.heard_by(messages(path, lambda items: items.__delitem__(slice(0, 2))), "bob", talk_id, code=14, says="withholds 2 messages before it")
        self.one.run("chat", "members", title, "--add", "carol")
        self.speech(title, "three", "four")
        self.carol.run("chat", "accept", talk_id)
        self.heard_by(messages(path, lambda items: items.__delitem__(slice(0, len(items) - 1))), "carol", talk_id, code=14, says="withholds [12] message")

    def test_message_replayed(self):
        """one is shown again: under the next number, beside itself, to who has read on"""
        for talk in self.each("bob"):
            self.replay(*talk)

    def replay(self, title, path):
        self.speech(title, "one", "two")
        twice = messages(path, lambda items: items.append({**items[0], "seq": items[-1]["seq"] + 1}))
        self.heard_by(twice, "bob", title, code=14, says="replay|second time")
        doubled = messages(path, lambda items: items.insert(0, items[0]))
        self.heard_by(doubled, "bob", title, code=(13, 14), says="second time|messages")
        kept = []
        with self.proxy.lying(messages(path, lambda items: kept.extend(items))):
            self.assertEqual(self.world.heard("bob", title), ["one", "two"])

        def again(o):
            o["items"] = [{**kept[0], "seq": kept[-1]["seq"] + 1}]
        self.heard_by(edit_json("GET", path + "/messages", again), "bob", title, code=14, says="replay")
        self.speech(title, "three")
        self.assertEqual(self.world.heard("bob", title), ["three"])

    def test_messages_reordered(self):
        """two of one device in the other order; an answer before what it answers"""
        title, path = self.world.talk("bob", "carol")
        self.speech(title, "one", "two")

        def swap(items):
            first = items[0]["seq"]
            items[0], items[1] = items[1], items[0]
            return first
        self.heard_by(messages(path, swap), "bob", title, code=15, says="dropped, moved or replaced one")
        self.assertEqual(self.world.heard("carol", title), ["one", "two"])
        title, path = self.world.talk("bob", "carol", history=True)
        self.speech(title, "one", "two")
        self.heard_by(messages(path, swap), "bob", title, code=15, says="dropped, moved or replaced one")
        # What bob was shown he does not hand on: carol is not told that somebody lies.
        self.assertEqual(self.world.heard("carol", title), ["one", "two"])
        title, path = self.world.talk("bob", "carol")
        self.speech(title, "a question")
        self.assertEqual(self.world.heard("bob", title), ["a question"])
        self.speech(title, "its answer", who="bob")
        self.heard_by(messages(path, swap), "carol", title, code=15, says="'bob' saw a message that was not shown here")

    def test_two_histories(self):
        """two members are shown two histories: seen with the next message of one that the other is shown"""
        title, path = self.world.talk("bob", "carol")
        olga = self.world.newcomer("olga")
        archived, _ = self.world.talk("bob", "olga", history=True)
        fork = self.world.clone("talk-fork")
        self.fork(fork, title, "carol")
        self.world.heard("carol", title, code=15)
        # With a history her keyring, too, knows what she was shown.
        self.fork(fork, archived, "olga")
        self.assertEqual(olga.call("chat", "read", archived).returncode, 15)
        self.world.unharmed()
        fork.remove()

    def fork(self, fork, title, who):
        self.speech(title, "yes")
        self.assertEqual(self.world.heard("bob", title), ["yes"])
        with self.proxy.lying(reroute(fork, "/.*")):
            self.world.say(who, title, "no")
            self.assertEqual(self.world.heard(who, title), ["no"])
        self.speech(title, "agreed", who="bob")

    def test_history_damaged(self):
        """what the history has for who comes later does not hold: she is told once, and shown what is there, and what comes"""
        title, path = self.world.talk("bob", history=True)
        talk_id = path.rsplit("/", 1)[1]
        self.speech(title, "one", "two")
        for who in ("bob", "alice"):
            self.assertEqual(self.world.heard(who, title), ["one", "two"])
        self.one.run("chat", "members", title, "--add", "carol")
        self.carol.run("chat", "accept", talk_id)
        self.speech(title, "three")

        def damaged(x):
            x.body = flip(x.body, -1)
        attack = edit("GET", "/v1/vaults/[0-9a-f]+/pages/[2-9]", damaged)
        for words, heard in ((("read", talk_id), "three"), (("follow", talk_id, "--for", "1"), "four")):
            done = self.lie(attack, "chat", *words, device=self.carol, code=14, says="history of the conversation: its segment from message 1 on", check=False)
            self.assertIn(heard, done.stdout)
            self.assertNotIn("problem", done.stdout)
            self.speech(title, "four")
        self.assertEqual(self.world.heard("carol", talk_id), ["four"])
        self.world.unharmed()

    def test_message_changed(self):
        """any field of one changed; one of another conversation; one put in another's name"""
        title, path = self.world.talk("bob", "carol")
        other, elsewhere = self.world.talk("bob")
        self.speech(other, "elsewhere")
        self.speech(title, "one")
        self.speech(title, "of carol", who="carol")
        for at in (0, 4, 8, 24, 28, 32, 48, 64, 96, 131, 140, -70, -1):
            with self.subTest(at=at):
                changed = messages(path, lambda items, at=at: items[0].update(message=b64(flip(unb64(items[0]["message"]), at))))
                self.heard_by(changed, "bob", title, code=14, says="message|denies user|device")

        def renamed(items):
            mine, hers = unb64(items[0]["message"]), unb64(items[1]["message"])
            items[0]["message"] = b64(mine[:32] + hers[32:64] + mine[64:])
        self.heard_by(messages(path, renamed), "bob", title, code=14, says="signature")

        def from_elsewhere(x):
            if x.path == path + "/messages":
                x.target = x.target.replace(path, elsewhere).replace("after=1&", "after=0&")
                x.pass_on()
                x.json = {**x.json, "items": [{**x.json["items"][-1], "seq": 2}]}
                x.bite()
        self.heard_by(from_elsewhere, "bob", title, code=14, says="is of another conversation")
        self.assertEqual(self.world.heard("bob", title), ["one", "of carol"])

    def test_sent_and_dropped(self):
        """a message is said to be taken, and is not: its number goes to another one, and its writer's next tells all others"""
        title, path = self.world.talk("bob", "carol")
        number = self.world.say("bob", title, "before")

        def taken(x):
            if x.matches("POST", path + "/messages"):
                x.answer(201, {"seq": number + 1, "time_ms": now_ms()})
                x.bite()
        with self.proxy.lying(taken) as told:
            self.world.say("alice", title, "lost")
        self.assertGreater(told.bites, 0)
        done = self.one.call("chat", "read", title)
        self.assertEqual(done.returncode, 15, done.stderr)
        self.assertIn("rolled back", done.stderr)
        self.speech(title, "in its place", who="bob")
        self.world.heard("alice", title, code=15)
        self.speech(title, "next")
        self.world.heard("carol", title, code=15)

    def test_talk_rolled_back(self):
        """a conversation as it was, to who has read on"""
        title, path = self.world.talk("bob")
        old = self.world.clone("talk-old")
        self.speech(title, "one")
        self.assertEqual(self.world.heard("bob", title), ["one"])
        for words in (("chat", "read", title), ("chat", "send", title, "--text-file", self.world.text("x")), ("chat", "members", title)):
            for device in (self.one, self.bob):
                self.lie(reroute(old, path + ".*"), *words, device=device, code=15, says="it was rolled back", check=False)
        self.world.unharmed()
        old.remove()

    def test_talk_denied(self):
        """404 for a conversation that one is in, and none of it on the list"""
        title, path = self.world.talk("bob")
        gone = both(refuse(404, "not-found", path + ".*"),
                    edit_json("GET", "/v1/conversations", lambda o: o.update(items=[row for row in o["items"] if not path.endswith(row["id"])])))
        for words in (("chat", "read", title), ("chat", "members", title)):
            self.lie(gone, *words, device=self.bob, code=(10, 12), says="no member of this conversation any more|there is no conversation", check=False)
        self.speech(title, "still here")
        self.assertEqual(self.world.heard("bob", title), ["still here"])

    # --- keys ---

    def test_epoch_stale(self):
        """a removal and the keys after it are kept from a member, who writes on under the old ones: those who have the new ones see it"""
        title, path = self.world.talk("bob", "carol", "eve")
        self.world.heard("bob", title)
        before = self.world.clone("epoch-stale")
        self.one.run("chat", "members", title, "--remove", "eve")
        self.speech(title, "without eve")
        self.assertEqual(self.world.heard("carol", title), ["without eve"])
        old = {}
        with self.proxy.lying(reroute(before, "/.*")):
            self.world.say("bob", title, "eve may read this")
            with self.proxy.lying(both(lambda x: x.pass_on(before) or old.update({x.path: x.body}))):
                self.assertEqual(self.world.heard("eve", title), ["eve may read this"])
        theirs = json.loads(old[path + "/messages"])["items"][-1]["message"]

        def shown(o):
            last = o["items"][-1]["seq"] if o["items"] else 3
            o["items"].append({"seq": last + 1, "time_ms": now_ms(), "message": theirs})
        for who in ("alice", "carol"):
            self.heard_by(edit_json("GET", path + "/messages", shown), who, title, code=(14, 15), says="wrote it under keys from before")
        before.remove()

    def test_chat_packets(self):
        """KeyPackets of an epoch changed, or withheld"""
        title, _ = self.world.talk("bob", "carol")

        def packets(change):
            return packets_edit(lambda packets: packets.__setitem__(slice(None), [change(p) for p in packets]))
        for says, attack in (("does not hold", packets(lambda p: flip(p, -1))), ("does not hold", packets(lambda p: flip(p, 140))),
                             ("does not hold", packets(lambda p: flip(p, 112))),
                             ("withholds the KeyPacket", edit_json("GET", "/v1/packets", lambda o: o.update(items=[])))):
            self.one.run("chat", "members", title, "--remove", "carol")
            self.one.run("chat", "members", title, "--add", "carol")
            self.speech(title, "under new keys")
            self.heard_by(attack, "bob", title, code=14, says=says)
        self.speech(title, "in the open again")
        self.world.heard("bob", title)

    def test_chat_packets_swapped(self):
        """in place of an epoch's KeyPacket that of the one before, of another conversation, of another member's device"""
        title, path = self.world.talk("bob", "carol")
        other, _ = self.world.talk("bob", "carol")
        talk_id = path.rsplit("/", 1)[1]
        says = "'alice' did not seal it for this device, or the cluster withholds the KeyPacket"

        def renewed(talk):
            self.one.run("chat", "members", talk, "--remove", "carol")
            self.one.run("chat", "members", talk, "--add", "carol")
            self.speech(talk, "under new keys")
            return self.taken("bob", talk)
        before, elsewhere = renewed(title), renewed(other)
        self.assertTrue(before and elsewhere)
        for why, put in ((says, lambda: before), ("a KeyPacket about something else", lambda: elsewhere), (says, lambda: self.taken("carol", title))):
            self.one.run("chat", "members", title, "--remove", "carol")
            self.one.run("chat", "members", title, "--add", "carol")
            self.speech(title, "under newer keys")
            self.carol.run("chat", "accept", talk_id)
            self.heard_by(put_packets(put()), "bob", title, code=14, says=why)
        self.speech(title, "in the open again")
        self.assertEqual(self.world.heard("bob", title), ["in the open again"])

    def taken(self, who, title):
        """The KeyPackets with which she reads what is new."""
        packets = []
        with self.proxy.lying(edit_json("GET", "/v1/packets", lambda o: packets.extend(unb64(item["packet"]) for item in o["items"]))):
            self.world.desks[who].call("chat", "read", title)
        return packets

    def test_epoch_by_removed(self):
        """a member who was removed makes keys for those who stayed, and the cluster shows them who they are only behind those keys"""
        mallory = self.world.service("mallory")
        chain = {}
        with self.proxy.lying(edit_json("GET", f"/v1/users/{self.world.ids['bob']}/identity", lambda o: chain.update(o))):
            self.world.vault("bob")
        bob = device_of(chain["items"])
        for act in (self.hear_keys_of, self.speak_under_keys_of):
            title = self.world.name("talk")
            talk_id = self.one.run("chat", "new", title, "bob", "mallory", "--no-history")["id"]
            path = f"/v1/conversations/{talk_id}"
            self.bob.run("chat", "accept", talk_id)
            self.world.heard("bob", talk_id)
            shown = [{}, {}]
            for into, words in zip(shown, (("--remove", "mallory"), ())):
                with self.proxy.lying(edit_json("GET", path, into.update)):
                    self.one.run("chat", "members", title, *words)
            old, new = shown
            self.assertEqual(new["members_rev"], old["members_rev"] + 1)
            secret = os.urandom(32) + struct.pack(">I", 2) + bytes.fromhex(new["members_hash"])
            packet = unb64(mallory.key_packet(4, bytes.fromhex(talk_id), 2, *bob, secret))
            stale = edit_json("GET", path, lambda o, old=old: o.update(members_rev=old["members_rev"], members_hash=old["members_hash"], chat_epoch=2,
                                                                       chat_stale=False))
            act(mallory, title, path, both(stale, put_packets([packet])))

    def hear_keys_of(self, mallory, title, path, attack):
        message = mallory.chat_message(bytes.fromhex(path.rsplit("/", 1)[1]), 2, 0)

        def theirs(o):
            o["items"].append({"seq": 2, "time_ms": now_ms(), "message": b64(message)})
        self.heard_by(both(attack, edit_json("GET", path + "/messages", theirs)), "bob", title, code=14, says="by somebody who was no member then")

    def speak_under_keys_of(self, mallory, title, path, attack):
        heard = []

        def take(x):
            if x.matches("POST", path + "/messages") and struct.unpack_from(">I", x.sent, 24)[0] == 2:
                heard.append(x.sent)
                x.answer(201, {"seq": 2, "time_ms": now_ms()})
        with self.proxy.lying(both(attack, take)) as told:
            self.bob.call("chat", "send", title, "--text-file", self.world.text("not for mallory"))
        self.assertIn("GET /v1/packets", told.paths)
        self.assertEqual(heard, [])
        self.world.say("bob", title, "not for mallory, either")
        self.assertIn("not for mallory, either", self.world.heard("alice", title))

    def test_receipts_invented(self):
        """what others have read is the cluster's word: it is shown as that, and changes nothing"""
        title, path = self.world.talk("bob")
        self.speech(title, "unread")
        read = edit_json("GET", path + "/receipts", lambda o: [item.update(read=99, delivered=99) for item in o["items"]])
        with self.proxy.lying(read) as told:
            self.one.run("chat", "members", title)
        self.assertGreater(told.bites, 0)
        self.assertEqual(self.world.heard("bob", title), ["unread"])

    def test_events_lie(self):
        """events that nothing happened for, about others' objects, of no known type, or none: what is read is what is there"""
        title, path = self.world.talk("bob")
        follow = ("chat", "follow", title, "--for", "1")

        def invent(o):
            at = {"cursor": o["cursor"]}
            o["items"] = [{**at, "type": kind, "object": os.urandom(16).hex()} for kind in ("message", "vault", "resync", "made-up")]
            o["items"].append({**at, "type": "message", "object": path.rsplit("/", 1)[1]})
        for attack in (edit_json("GET", "/v1/events", invent), edit_json("GET", "/v1/events", lambda o: o.update(items=[]))):
            text = self.world.name("said")
            self.speech(title, text)
            with self.proxy.lying(attack):
                done = self.bob.call(*follow)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.count(text), 1)
        self.world.unharmed()

    def test_events_refused(self):
        """events are refused, and nothing else: who waits for them looks, and asks again, but not without end"""
        for status, code in ((401, "unauthenticated"), (410, "gone")):
            with self.proxy.lying(refuse(status, code, "/v1/events")) as told:
                done = self.bob.call("follow", "--for", "3")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(told.bites, range(1, 10), told.paths)
        self.world.unharmed()

    def test_events_flood(self):
        """always that everything has changed, and what only a device itself may say: it looks once a second, and tells them apart"""
        title, _ = self.world.talk("bob")
        made_up, odd = os.urandom(16).hex(), "x" * 14 + "\u00e9"  # A letter across the fifteenth byte.

        def invent(o):
            o["items"] = [{"cursor": o["cursor"], "type": kind, "object": made_up} for kind in ("resync", "invitation", odd)]

        def flood(x):
            x.target = re.sub("wait_ms=[0-9]+", "wait_ms=0", x.target)
            edit_json("GET", "/v1/events", invent)(x)
        path = self.world.top / self.world.name("followed")
        for words in (("follow",), ("chat", "follow", title)):
            with self.proxy.lying(flood) as told:
                begin = time.monotonic()
                follower = self.bob.follower(path, *words)
                try:
                    wait_until("it asks for the fourth time", 120, lambda: told.bites >= 4 or follower.poll() is not None)
                    self.assertGreaterEqual(time.monotonic() - begin, 2)  # It slept for it, however fast the machine is.
                finally:
                    follower.terminate()
                    follower.wait()
            self.assertEqual(follower.returncode, 0 if words == ("follow",) else -signal.SIGTERM)
            if words == ("follow",):
                said = [row for row in lines(path) if row.get("object") == made_up]
                self.assertEqual({(row["type"], row.get("told")) for row in said}, {("resync", None), ("other", "invitation"), ("other", odd)})
        self.world.unharmed()

    # --- thieves ---

    def test_files_stolen(self):
        """who takes all that a device has, with the password that opens it, hears nothing that it has read, and nothing under the next keys"""
        title, path = self.world.talk("bob")
        kept = []
        with self.proxy.lying(messages(path, lambda items: kept.extend(dict(item) for item in items))):
            self.speech(title, "secret before", "and this")
            self.assertEqual(self.world.heard("bob", title), ["secret before", "and this"])
        self.assertEqual(len(kept), 2)
        thief, bare = self.world.stolen("bob"), self.world.stolen("bob")
        self.speech(title, "later in the epoch")
        # What comes under the stolen keys is theirs: the thief is one.
        self.assertEqual(self.world.heard(None, title, device=thief), ["later in the epoch"])
        self.assertEqual(self.world.heard("bob", title), ["later in the epoch"])
        # What was read before is not, as it was recorded: neither as it lies there nor with the memory of having read it gone.
        again = edit_json("GET", path + "/messages", lambda o: o.update(items=[{**item, "seq": 10 + i} for i, item in enumerate(kept)]))
        self.lie(again, "chat", "read", title, device=thief, code=14, says="replay", check=False)
        shutil.rmtree(bare.profile / "chats")
        recorded = edit_json("GET", path + "/messages", lambda o: o.update(items=kept, done=True))
        with self.proxy.lying(recorded) as told:
            self.assertEqual(self.world.heard(None, path.rsplit("/", 1)[1], device=bare), [None, None])
        self.assertGreater(told.bites, 0)
        # Nor is what comes under the next keys, which he was not sent.
        self.one.run("chat", "members", title, "--add", "carol")
        self.speech(title, "under the next keys")
        self.assertIn("under the next keys", self.world.heard("bob", title))
        self.assertEqual(set(self.world.heard(None, title, code=14, device=thief)), {None})
        self.world.unharmed()

    def test_stolen_device_revoked(self):
        """who took all that a device has opens nothing that is said once it is revoked, whatever the cluster hands him, with the revocation and without"""
        lost = self.world.newcomer("ida")
        spare = lost.person.device("spare")
        spare.login(fresh=True)
        lost.run("device", "approve", "spare", "--yes")
        spare.login()
        title, path = self.world.talk("ida", "carol")
        talk_id = path.rsplit("/", 1)[1]
        self.assertEqual(self.world.heard(None, talk_id, device=spare), [title])
        thieves = [self.world.stolen("ida") for _ in range(3)]
        self.speech(title, "under stolen keys")
        before = self.world.clone("not-revoked")
        spare.run("device", "revoke", "desk", "--yes")
        packets = []

        def note(x):
            if x.matches("POST", path + "/epochs"):
                packets.extend(json.loads(x.sent)["packets"])
                x.bite()
        with self.proxy.lying(note):
            self.speech(title, "once it is revoked")
        self.assertEqual(len(packets), 3)  # To alice, carol, and the device that is left.
        self.assertEqual(self.world.heard(None, talk_id, device=spare), ["under stolen keys", "once it is revoked"])
        spare_bearer = self.proxy.bearer

        def handed(x):
            """As if he asked from the device that is left: all that the cluster has, and every member's packets."""
            if x.method == "GET" and (x.path.startswith(path) or x.path == "/v1/packets"):
                x.fields = [(name, spare_bearer if name == "Authorization" else value) for name, value in x.fields]
                x.pass_on()
                if x.path == "/v1/packets":
                    x.json = {**x.json, "items": [{"packet": packet} for packet in packets]}
                x.bite()
        # As if it were not revoked. What came under the keys that he has shows that he is handed what there is.
        with self.proxy.lying(both(handed, reroute(before, "/.*"))) as told:
            self.assertEqual(self.world.heard(None, talk_id, code=14, device=thieves[0]), ["under stolen keys", None])
        self.assertIn("GET /v1/packets", told.paths)
        self.assertIn(f"GET {path}/messages", told.paths)

        def as_the_other(x):
            if x.method == "GET":
                x.fields = [(name, spare_bearer if name == "Authorization" else value) for name, value in x.fields]
        for thief, attack in ((thieves[1], both(handed, as_the_other)), (thieves[2], handed)):
            with self.proxy.lying(attack):
                done = thief.call("chat", "read", talk_id)
            self.assertNotIn("once it is revoked", done.stdout + done.stderr)
            self.assertNotEqual(done.returncode, 0)
        before.remove()
        self.assertEqual(self.world.heard("carol", talk_id), ["under stolen keys", "once it is revoked"])
        self.speech(title, "goes on")
        self.assertEqual(self.world.heard(None, talk_id, device=spare), ["goes on"])
        self.world.unharmed()
