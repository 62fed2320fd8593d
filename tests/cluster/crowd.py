#!/usr/bin/env python3
"""Two hundred people who all registered, each with a device: one group of them over several vaults, and one conversation of them all, through six real
nodes, by `kluis` alone.

    crowd.py [--members N] [--vaults N] [--sample N]

  --members N   people (200), the first of whom made group, vaults and conversation
  --vaults N    that are shared with the group (4)
  --sample N    how many read everything each time (8)

Everybody accepts group and conversation; a sample of them, at all sites, reads each vault, what is said, and what one of them answers. Then one member is
taken out of both: he reads nothing that is new, and the sample goes on. Exit status: 0 all held, 1 not, 2 usage."""
import argparse
import concurrent.futures
import os
import sys
import time
import unittest

from cluster import SITES, Cluster
from people import Person

AT_ONCE = max(2, os.cpu_count() or 2)
WAIT_S = 600  # For one command: a change of the whole crowd's keys among them.


class Crowd(unittest.TestCase):
    options = None

    def say(self, what):
        print(f"{time.monotonic() - self.begun:7.1f} s: {what}", flush=True)

    def all_of(self, work, who):
        """work(one) for each, a few at a time; what they gave."""
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(work, who))

    def person(self, number):
        c = self.c
        person = Person(c.kluis, c.top, f"p{number}", [c.url(SITES[(number + i) % len(SITES)]) for i in range(len(SITES))], c.dir / "pki" / "provider-ca.pem")
        self.people.append(person)
        invitation = person.top / "invitation"
        c.ctl("ams", "invite", "create", "--note", person.name, "--token-file", str(invitation))
        person.invitation = ["--invite-file", invitation]
        return person.register("desk", "--lock-after", 86400)

    def test_crowd(self):
        self.begun, self.people = time.monotonic(), []
        with Cluster() as self.c:
            try:
                self.run_all()
            finally:
                self.all_of(Person.close, self.people)

    def run_all(self):
        o = self.options
        self.admin = self.person(0)
        self.others = self.all_of(self.person, range(1, o.members))
        self.say(f"{o.members} registered")
        # Spread over them; the last two are one who stays and one who is to go.
        self.sample = self.others[::max(1, (o.members - 2) // o.sample)][:o.sample]
        self.gone = next(one for one in reversed(self.others) if one not in self.sample)
        self.names = [one.person.name for one in self.others]
        self.make_group()
        self.make_chat()
        self.read_everything("at first", [*self.sample, self.gone])
        self.remove()
        self.read_everything("after it", self.sample)

    def accept_invitation(self, device):
        offer, = device.run("vault", "invitations", timeout=WAIT_S)["items"]
        self.assertEqual((offer["kind"], offer["by"], offer["problem"]), ("group", "p0", ""))
        device.run("vault", "accept", offer["id"], timeout=WAIT_S)

    def make_group(self):
        self.admin.run("group", "create", "all")
        for name in self.names:
            self.admin.run("group", "add", "all", name, timeout=WAIT_S)
        self.say("all are in the group")
        self.all_of(self.accept_invitation, self.others)
        states = [(row["member"], row["state"]) for row in self.admin.run("group", "members", "all", timeout=WAIT_S)["items"]]
        self.assertEqual(sorted(states), sorted((name, "accepted") for name in ["p0", *self.names]))
        for number in range(self.options.vaults):
            self.admin.run("vault", "create", f"v{number}")
            self.admin.run("vault", "share", f"v{number}", "group:all", "--role", "write", timeout=WAIT_S)
        self.say(f"all accepted; {self.options.vaults} vaults are the group's")

    def make_chat(self):
        self.chat = self.admin.run("chat", "new", "everybody", *self.names, timeout=WAIT_S)["id"]
        self.say("a conversation of them all")
        self.all_of(lambda one: one.run("chat", "accept", self.chat, timeout=WAIT_S), self.others)
        states = [(row["user"], row["state"]) for row in self.admin.run("chat", "members", self.chat, timeout=WAIT_S)["items"]]
        self.assertEqual(sorted(states), sorted((name, "accepted") for name in ["p0", *self.names]))
        self.say("all accepted")

    def heard(self, device):
        """What others said since it read last."""
        return [text for _, user, text in device.read(self.chat) if user != device.person.name]

    def said(self, device, text):
        return device.run("chat", "send", self.chat, text=text, timeout=WAIT_S)["seq"]

    def read_everything(self, when, who):
        """A file in each vault by the admin and one by a member, a message by each: all of `who` have them."""
        answering = who[0]
        for number in range(self.options.vaults):
            self.admin.put(f"v{number} {when}", f"v{number}:/by the admin {when}")
            answering.put(f"v{number} {when} answered", f"v{number}:/by a member {when}")
        self.said(self.admin, f"to all {when}")

        def look(device):
            for number in range(self.options.vaults):
                self.assertEqual(device.cat(f"v{number}:/by the admin {when}"), f"v{number} {when}")
                self.assertEqual(device.cat(f"v{number}:/by a member {when}"), f"v{number} {when} answered")
            self.assertEqual(self.heard(device), [f"to all {when}"], device.person.name)
        self.all_of(look, who)
        self.said(answering, f"an answer {when}")
        for device in [self.admin, *who[1:]]:
            self.assertEqual(self.heard(device), [f"an answer {when}"], device.person.name)
        self.say(f"{when}: {len(who)} read {self.options.vaults} vaults and the conversation")

    def remove(self):
        """Out of both, by one command each: what comes is closed to him."""
        name = self.gone.person.name
        begun = time.monotonic()
        self.assertEqual(self.admin.run("group", "remove", "all", name, timeout=WAIT_S)["vaults"], self.options.vaults)
        self.say(f"{name} is out of the group in {time.monotonic() - begun:.1f} s")
        self.admin.run("chat", "members", self.chat, "--remove", name, timeout=WAIT_S)
        self.said(self.admin, "not for him")
        for device in self.sample:
            self.assertEqual(self.heard(device), ["not for him"], device.person.name)
        self.admin.put("not for him", "v0:/new")
        for words in (("cat", "v0:/new"), ("chat", "read", self.chat), ("chat", "send", self.chat, "--text-file", self.gone.person.sheet)):
            done = self.gone.call(*words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertNotIn("not for him", done.stdout)
        self.gone.put("his own", "v0:/his", code=None)
        self.assertNotIn("his", [row["name"] for row in self.sample[0].run("ls", "v0")["items"]])
        for device in self.sample:
            self.assertEqual(self.heard(device), [], device.person.name)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name, default in (("members", 200), ("vaults", 4), ("sample", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = Crowd.options = parser.parse_args()
    if not 1 <= options.sample <= options.members - 2 or options.vaults < 1:
        parser.error("a sample, one who goes and one who made it all")
    unittest.main(argv=sys.argv[:1], verbosity=2)


main()
