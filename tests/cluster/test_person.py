#!/usr/bin/env python3
"""Two people and their devices at six real nodes: register, sign in, share a vault between devices, change the password, lose a device, recover."""
import base64
import fcntl
import json
import os
import re
import shutil
import signal
import ssl
import unittest
import urllib.error
import urllib.request

from cluster import SITES, Cluster, wait_until
from people import PASSWORD, Person, complaints, heard, lines
from person import hotp

ALICE_2, ALICE_3, ALICE_4 = "eleven paper boats in the bay", "a kettle of fog and violins", "the tin drum of a late summer"


class People(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = c = Cluster()
        c.__enter__()
        cls.addClassCleanup(c.__exit__)

    def person(self, name, password=PASSWORD):
        c = self.cluster
        person = Person(c.kluis, c.top, name, [c.url(s) for s in SITES], c.dir / "pki" / "provider-ca.pem", password, patience=150)
        self.addCleanup(person.close)
        # As quickstart makes a cluster, who registers was invited.
        invitation = person.top / "invitation"
        c.ctl("ams", "invite", "create", "--note", name, "--token-file", str(invitation))
        person.invitation = ["--invite-file", invitation]
        return person

    def opened_snapshot(self):
        """The store in a snapshot that was just taken and shipped, as whoever holds the operator's backup key has it."""
        c = self.cluster
        c.ctl("utr", "snapshot", "save", "--wait", "--timeout", "300", timeout=330)
        newest = json.loads(c.ctl("utr", "-o", "json", "snapshot", "list").stdout)["items"][0]["id"]
        here, pki = c.dir / "sites" / "opened", c.dir / "pki"
        self.addCleanup(shutil.rmtree, here, ignore_errors=True)
        shutil.copytree(c.site_dir("utr"), here, ignore=shutil.ignore_patterns("data", "repository", "drop", "*.sock", "*.pid", "*.log"))
        c.run([str(c.kluisctl), "restore", "cluster", "--config", str(here / "kluisd.ini"), "--snapshot", newest, "--repository",
               str(c.site_dir("utr") / "repository"), "--key-file", str(pki / "backup.key"), "--restore-key", str(pki / "restore.key"),
               "--record", str(c.top / "records"), "--yes"], True, 120)
        return here

    def kept(self, *places):
        """All bytes in these directories."""
        for place in places:
            for path in place.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    yield path, path.read_bytes()

    def second_factor(self, person, device):
        """Turned on and off again; its seed."""
        uri, code = person.top / "uri", person.top / "code"
        factor = device.run("mfa", "add", "hotp", "--uri-file", uri)["id"]
        seed = re.search(r"secret=([A-Z2-7]+)", uri.read_text()).group(1)
        for number, words in enumerate((("mfa", "confirm", factor), ("login", "--password-file", person.password), ("mfa", "remove", factor))):
            code.write_text(hotp(seed, number) + "\n")
            device.run(*words, "--code-file", code)
        return seed

    def test_two_devices(self):
        alice = self.person("alice")
        one = alice.register("one")
        self.assertEqual(one.state(), "unlocked")
        for path in (alice.sheet, alice.recovery):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        one.run("vault", "create", "home")
        one.put("written by one", "home:/a")

        # Without the sheet a thief of the password does not get in; with it, the device reads, and waits.
        two = alice.device("two")
        two.run("login", *two.first_contact(), "--password-file", alice.password, code=2)
        self.assertEqual(two.login(fresh=True)["device"], "pending")
        self.assertEqual(two.cat("home:/a"), "written by one")
        two.put("written by two", "home:/b", code=12)
        waiting = [device for device, (name, state) in one.devices().items() if state == "pending"]
        self.assertEqual(len(waiting), 1)
        one.run("device", "approve", waiting[0], code=2)  # Nobody could be asked.
        one.run("device", "approve", waiting[0], "--yes")
        self.assertEqual(two.login()["device"], "active")
        self.assertEqual({name: state for name, state in one.devices().values()}, {"one": "active", "two": "active"})
        two.put("written by two", "home:/b")
        self.assertEqual(one.cat("home:/b"), "written by two")

        # Nodes go and come: who was signed in still is.
        for site in SITES[:2]:
            self.cluster.kill(site)
        one.put("with four sites", "home:/c")
        for site in SITES[:2]:
            self.cluster.start(site)
        self.assertEqual(two.cat("home:/c"), "with four sites")

        # The agent: locked, it gives nothing; asked anew it does.
        two.run("agent", "lock")
        two.cat("home:/a", code=12)
        two.login()
        self.assertEqual(two.cat("home:/a"), "written by one")

        # A new password ends the other device's session, and the old password and code.
        old_recovery = alice.recovery.read_text()
        second = alice.secret("password2", ALICE_2)
        alice.recovery.unlink()
        one.run("passwd", "--password-file", alice.password, "--new-password-file", second, "--recovery-file", alice.recovery)
        self.assertNotEqual(alice.recovery.read_text(), old_recovery)
        two.cat("home:/a", code=12)
        two.login(code=12)
        alice.password = second
        self.assertEqual(two.login()["device"], "active")
        two.put("after the change", "home:/d")
        self.assertEqual(one.cat("home:/d"), "after the change")

        # A device is lost.
        lost = next(device for device, (name, _) in one.devices().items() if name == "two")
        one.run("device", "revoke", "two", "--yes")
        self.assertEqual(one.devices()[lost], ("two", "revoked"))
        two.put("by the thief", "home:/e", code=12)
        one.put("without two", "home:/e")
        self.assertEqual(one.cat("home:/d"), "after the change")
        # Somebody opened it: all keys are made anew, and what was written under the old ones is still read.
        fourth = alice.secret("password4", ALICE_4)
        alice.recovery.unlink()
        words = ("passwd", "--password-file", alice.password, "--new-password-file", fourth, "--recovery-file", alice.recovery)
        self.assertIn("1 vaults are written under new ones", one.call(*words).stderr)
        alice.password = fourth
        one.put("under new keys", "home:/f")
        self.assertEqual(one.cat("home:/d") + one.cat("home:/f"), "after the change" + "under new keys")
        one.run("verify", "home")
        log = [row["event"] for row in one.run("account", "log")["items"]]
        self.assertIn("identity-changed", log)
        self.assertEqual([row["event"] for row in one.run("account", "log")["items"]][:len(log)], log)

        # The password is forgotten: the old code does nothing, the new one does.
        third = alice.secret("password3", ALICE_3)
        old = alice.secret("old-recovery", old_recovery.strip())
        recovered = alice.top / "recovery3"
        one.run("recover", "--old-code-file", old, "--new-password-file", third, "--recovery-file", recovered, code=12)
        self.assertFalse(recovered.exists())
        shown = one.run("recover", "--old-code-file", alice.recovery, "--new-password-file", third, "--recovery-file", recovered)
        self.assertEqual({(row["name"], row["state"]) for row in shown["devices"]}, {("one", "active"), ("two", "revoked")})
        self.assertEqual(shown["factors"], [])
        one.login(code=12)
        alice.password = third
        one.login()
        self.assertEqual(one.cat("home:/e"), "without two")
        one.run("logout")
        self.assertEqual(one.state(), "none")
        one.cat("home:/a", code=12)

        one.login()
        seed = self.second_factor(alice, one)
        secrets = [secret.encode() for secret in (PASSWORD, ALICE_2, ALICE_3, ALICE_4, alice.account_key(), recovered.read_text().strip(),
                                                  alice.recovery.read_text().strip(), "written by one", "after the change", seed)]
        secrets.append(base64.b32decode(seed + "=" * (-len(seed) % 8)))
        # What they may know is found in each place: so would be what they may not.
        places = [self.opened_snapshot(), *(self.cluster.site_dir(site) for site in SITES)]
        for place in places:
            self.assertTrue(any(b"alice" in data for _, data in self.kept(place / "data")), place)
        self.assertGreaterEqual(sum(any(self.kept(place / "repository", place / "drop")) for place in places), 3)
        for path, data in self.kept(*places):
            for secret in secrets:
                self.assertNotIn(secret, data, f"{path} has '{secret[:8]}...'")

    def test_two_people(self):
        bob, carol = self.person("bob"), self.person("carol", password="seven lamps along the quay")
        b, c = bob.register("desk"), carol.register("desk")
        b.run("vault", "create", "home")
        c.run("vault", "create", "home")
        b.put("of bob", "home:/x")
        c.cat("home:/x", code=10)
        # The same number at both, and once compared it is known. Nobody answers for the two, --yes neither.
        mine = b.run("contact", "verify", "carol", "--yes", code=2)
        theirs = c.run("contact", "verify", "bob", "--number", mine["safety_number"])
        self.assertRegex(mine["safety_number"], r"^([0-9]{5} ){11}[0-9]{5}$")
        self.assertEqual(mine["safety_number"], theirs["safety_number"])
        self.assertFalse(mine["verified"])
        b.run("contact", "verify", "carol", "--number", "12345 " * 12, code=14)
        self.assertFalse(b.run("contact", "verify", "carol", "--number", theirs["safety_number"])["verified"])
        self.assertTrue(b.run("contact", "verify", "carol")["verified"])
        b.run("contact", "verify", "nobody", code=10)
        self.share(b, c)
        self.chat(b, c)
        # Passwords that anybody would try are not taken.
        again = self.person("dave", password="password1234")
        again.register("desk", code=2)
        self.assertFalse(again.recovery.exists())
        self.assertEqual(b.run("account", "show")["user"], "bob")
        events = [row["event"] for row in b.run("account", "log")["items"]]
        self.assertTrue(events)
        b.run("logout")
        b.cat("home:/x", code=12)
        b.login()
        self.assertEqual(b.cat("home:/x"), "of bob")

    def share(self, b, c):
        """A vault and a group between two people, until one of them is out."""
        b.run("vault", "create", "plans")
        b.put("first", "plans:/x")
        self.assertEqual(b.run("vault", "share", "plans", "carol", "--role", "write")["role"], "write")
        offer, = c.run("vault", "invitations")["items"]
        self.assertEqual((offer["kind"], offer["role"], offer["by"], offer["problem"]), ("vault", "write", "bob", ""))
        c.cat("plans:/x", code=10)
        self.assertEqual(c.run("vault", "accept", offer["id"])["name"], "plans")
        self.assertEqual(c.cat("plans:/x"), "first")
        c.put("second", "plans:/y")
        self.assertEqual(b.cat("plans:/y"), "second")
        members = {row["member"]: (row["role"], row["state"], row["verified"]) for row in b.run("vault", "members", "plans")["items"]}
        self.assertEqual(members, {"bob": ("admin", "accepted", True), "carol": ("write", "accepted", True)})
        c.run("vault", "unshare", "plans", "bob", code=12)
        b.run("vault", "unshare", "plans", "carol")
        b.put("third", "plans:/z")
        c.cat("plans:/z", code=12)
        # By a group: who is taken out of it is out of its vaults, by one command.
        b.run("group", "create", "team")
        b.run("group", "add", "team", "carol")
        offer, = c.run("vault", "invitations")["items"]
        self.assertEqual((offer["kind"], offer["by"]), ("group", "bob"))
        c.run("vault", "accept", offer["id"])
        self.assertEqual([row["name"] for row in c.run("group", "list")["items"]], ["team"])
        b.run("vault", "create", "board")
        b.put("first", "board:/x")
        b.run("vault", "share", "board", "group:team")
        self.assertEqual(c.cat("board:/x"), "first")
        c.put("not hers to write", "board:/y", code=12)
        self.assertEqual(b.run("group", "remove", "team", "carol")["vaults"], 1)
        b.put("second", "board:/x")
        self.assertEqual(b.cat("board:/x"), "second")
        c.cat("board:/x", code=12)

    def chat(self, b, c):
        """The two at different sites; the leader dies while they talk."""
        leader = self.cluster.wait_leader()
        other = next(site for site in SITES if site != leader)
        b.site, c.site = self.cluster.url(leader), self.cluster.url(other)
        b.run("chat", "new", "harbour", "carol")
        offer, = c.run("chat", "list")["items"]
        self.assertEqual(offer["state"], "invited")
        c.run("chat", "read", offer["id"], code=12)
        c.run("chat", "accept", offer["id"])
        self.assertEqual([(item["kind"], item["text"]) for item in c.run("chat", "read", offer["id"])["items"]], [("title", "harbour")])
        followed = b.person.top / "followed"
        with open(b.profile / "lock", "rb+") as lock:  # Another command of bob's takes long: a follower waits longer than others.
            fcntl.flock(lock, fcntl.LOCK_EX)
            follower = b.follow("harbour", followed)
            self.addCleanup(follower.wait, 10)
            self.addCleanup(follower.kill)
            wait_until("the follower has said that it waits", 120, lambda: "retrying" in complaints(followed) or follower.poll() is not None)
        self.assertIsNone(follower.poll(), complaints(followed))
        # Of all that is his; its site is the one that dies.
        happened = b.person.top / "happened"
        watcher = b.follow_all(happened)
        self.addCleanup(watcher.wait, 10)
        self.addCleanup(watcher.kill)
        wait_until("the watcher has begun", 60, lambda: lines(happened) or watcher.poll() is not None)
        before = len(lines(happened))
        said = []

        def say(device, text):
            said.append((device.say("harbour", text), device.person.name, text))
        for i in range(5):
            say(b, f"before {i}")
            say(c, f"answer {i}")
        self.cluster.kill(leader)
        for i in range(5):
            say(b, f"while it is down {i}")
            say(c, f"answer then {i}")
        self.cluster.start(leader)
        say(c, "all are back")
        self.assertEqual([seq for seq, _, _ in said], list(range(2, 2 + len(said))))  # The title was the first.
        self.assertEqual(c.read("harbour"), said)
        wait_until("the follower has all", 120, lambda: len(heard(lines(followed))) >= len(said))
        self.assertEqual(heard(lines(followed)), said)
        last = said[-1][0]
        wait_until("the watcher has been told of the last message", 60,
                   lambda: any(row["type"] == "message" and row["seq"] == last for row in lines(happened)) or watcher.poll() is not None)
        told = lines(happened)
        self.assertIsNone(watcher.poll(), complaints(happened))
        self.assertEqual({row["name"] for row in told if row["type"] == "message"}, {"harbour"})
        self.assertEqual([row for row in told[before:] if row["type"] == "resync"], [])  # Nothing was lost on the way.
        watcher.send_signal(signal.SIGTERM)
        self.assertEqual(watcher.wait(60), 0, complaints(happened))
        b.site = c.site = None
        # Who was taken out is told so.
        b.run("chat", "members", "harbour", "--remove", "carol")
        b.say("harbour", "between me and myself")
        for words in (("read",), ("send",), ("follow",)):
            done = c.call("chat", *words, "harbour")
            self.assertEqual(done.returncode, 12, done.stderr)
            self.assertIn("no member of this conversation any more", done.stderr)

    def test_one_file(self):
        """A file, and a page, shared alone: at another site, verified, and over when its giver ends it."""
        b, c = self.person("ben").register("laptop"), self.person("cleo").register("desk")
        b.run("vault", "create", "plans")
        b.put("first", "plans:/x")
        b.put("not hers", "plans:/y")
        given = b.run("share", "plans:/x", "--with", "cleo")
        got, = c.run("shared", "list")["items"]
        self.assertEqual((got["id"], got["direction"], got["who"], got["name"], got["bytes"]), (given["id"], "got", "ben", "x", 5))
        mine, = b.run("shared", "list")["items"]
        self.assertEqual((mine["direction"], mine["who"]), ("given", "cleo"))
        target = c.person.top / "got"
        c.run("shared", "get", given["id"][:8], target)
        self.assertEqual(target.read_text(), "first")
        b.put("second", "plans:/x")
        self.assertEqual(c.call("shared", "get", given["id"], "-").stdout, "first")
        c.cat("plans:/x", code=10)
        c.run("share", "plans:/x", "--with", "ben", code=10)
        page = b.run("share", "plans", "--page", "0", "--with", "cleo")
        names = [json.loads(item["body"]).get("name") for item in c.run("shared", "get", page["id"])["items"]]
        self.assertTrue({"x", "y"} <= set(names), names)
        b.run("unshare", given["id"])
        wait_until("the end of a share", 120, lambda: c.call("shared", "get", given["id"], "-").returncode == 10)
        c.run("unshare", given["id"])
        self.assertEqual([row["id"] for row in c.run("shared", "list")["items"]], [page["id"]])

    def test_chat_history(self):
        """What was read on one device a later one reads, with the files, also when a site is down; who was taken out reads no more of it."""
        ivan, judy = self.person("ivan"), self.person("judy")
        one, desk = ivan.register("one"), judy.register("desk")
        chat = one.run("chat", "new", "boats", "judy")["id"]
        desk.run("chat", "accept", chat)

        def send(device, text):
            (device.person.top / "text").write_text(text)
            return device.run("chat", "send", chat, "--text-file", device.person.top / "text")["seq"]

        def read(device, *words, code=0):
            return [(row["seq"], row["kind"], row.get("text")) for row in device.run("chat", "read", chat, *words, code=code)["items"]]

        send(one, "hello")
        picture = ivan.top / "picture.bin"
        picture.write_bytes(os.urandom(600_000))
        self.assertEqual(one.run("chat", "send", chat, "--attach", picture)["seq"], 3)
        send(desk, "nice")
        told = [(1, "title", "boats"), (2, "text", "hello"), (3, "file", "picture.bin"), (4, "text", "nice")]
        self.assertEqual(read(desk, "--save", judy.top / "saved"), told)
        self.assertEqual((judy.top / "saved" / "3-picture.bin").read_bytes(), picture.read_bytes())
        self.assertEqual(read(one), told)
        state = one.run("chat", "history", chat)
        self.assertEqual((state["archiving"], state["first"], state["last"]), (True, 1, 4))

        # A device that was not there then.
        two = ivan.device("two")
        two.login(fresh=True)
        waiting, = [device for device, (_, state) in one.devices().items() if state == "pending"]
        one.run("device", "approve", waiting, "--yes")
        two.login()
        self.cluster.kill(SITES[2])
        self.assertEqual(read(two), told)
        self.assertEqual(read(two), [])
        send(desk, "both of you")
        self.assertEqual(read(two, "--last", 2, "--save", ivan.top / "saved"), [(4, "text", "nice"), (5, "text", "both of you")])
        self.assertEqual(read(two, "--last", 3, "--save", ivan.top / "saved")[0], (3, "file", "picture.bin"))
        self.assertEqual((ivan.top / "saved" / "3-picture.bin").read_bytes(), picture.read_bytes())
        self.cluster.start(SITES[2])

        # Out of the conversation is out of its vault.
        one.run("chat", "members", chat, "--remove", "judy")
        send(one, "without judy")
        self.assertEqual(read(one), [(5, "text", "both of you"), (6, "text", "without judy")])
        self.assertEqual(read(two)[-1], (6, "text", "without judy"))
        desk.run("chat", "read", chat, "--last", 10, code=12)
        desk.run("ls", state["vault"] + ":/", code=12)

        # Switched off, nothing more is archived.
        self.assertFalse(one.run("chat", "history", chat, "--off")["archiving"])
        send(one, "not kept")
        read(one), read(two)
        self.assertEqual(one.run("chat", "history", chat)["last"], 6)

    def start_login(self, site, user):
        """(status, code) of login/start at this site alone."""
        number = base64.urlsafe_b64encode(b"\0" + os.urandom(383)).decode().rstrip("=")
        request = urllib.request.Request(self.cluster.url(site) + "/v1/login/start", method="POST", headers={"Content-Type": "application/json"},
                                         data=json.dumps({"user": user, "group": 3, "A": number}).encode())
        context = ssl.create_default_context(cafile=str(self.cluster.dir / "pki" / "provider-ca.pem"))
        try:
            with urllib.request.urlopen(request, timeout=150, context=context) as answer:
                return answer.status, None
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)["code"]

    def test_another_secrets_file(self):
        """A node that was given another secrets file says so and signs nobody in, and clients go elsewhere; with the cluster's it does."""
        c, site = self.cluster, "gro"
        heidi = self.person("heidi")
        desk, here = heidi.register("desk"), c.site_dir(site)
        self.assertEqual(self.start_login(site, "heidi")[0], 200)
        c.stop(site)
        (here / "secrets").unlink()
        other = (here / "kluisd.ini").read_text().replace("\ndata = data\n", "\ndata = other\n")
        (here / "other.ini").write_text(other)
        c.run([str(c.kluisd), "init", "--config", str(here / "other.ini"), "--new-secrets", "--development"], True, 150)
        c.start(site)
        alarm = wait_until("the alarm", 120, lambda: c.alarm(site, "pepper"))
        self.assertEqual(alarm["severity"], "critical")
        for name in ("heidi", "nobody"):
            self.assertEqual(self.start_login(site, name), (503, "behind"))
        desk.run("logout")
        desk.run("--endpoint", c.url(site), "login", "--password-file", heidi.password)
        # As docs/operations.md has it.
        c.stop(site)
        (here / "secrets").unlink()
        sealed = c.run([str(c.kluisd), "seal-secrets", "--config", str(c.site_dir("ams") / "kluisd.ini"), "--for", str(here / "link.pem")], True, 150)
        (here / "sealed").write_text(sealed.stdout)
        c.run([str(c.kluisd), "init", "--config", str(here / "kluisd.ini"), "--secrets", str(here / "sealed")], True, 150)
        again = c.run([str(c.kluisd), "init", "--config", str(here / "kluisd.ini"), "--secrets", str(here / "sealed")], False, 150)
        self.assertIn("a node's data directory already", again.stderr)
        mark = c.log_mark(site)
        c.start(site)
        c.wait_log(site, mark, "op=pepper state=same")
        self.assertIsNone(c.alarm(site, "pepper"))
        self.assertEqual(self.start_login(site, "heidi")[0], 200)

    def test_name_is_taken(self):
        erin = self.person("erin")
        erin.register("desk")
        # Not by an invitation that was used, nor by another one under a name that was given, nor without.
        other = Person(self.cluster.kluis, erin.top, "frank", erin.endpoints, erin.ca)
        other.invitation = erin.invitation
        other.register("desk", code=12)
        other.invitation = []
        other.register("desk", code=12)
        (erin.top / "twin").mkdir()
        twin = Person(self.cluster.kluis, erin.top / "twin", "erin", erin.endpoints, erin.ca)
        twin.invitation = self.person("grace").invitation
        twin.register("desk", code=11)
        self.assertFalse(other.recovery.exists() or twin.recovery.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
