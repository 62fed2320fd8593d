"""Lies about what was left for somebody."""
import os
import subprocess

from proxy import edit, edit_json, flip


class Inboxes:
    def test_document_changed(self):
        """a document of the inbox changed in any field, another one under its id, one that is for somebody else"""
        ids = [self.one.run("inbox", "leave", "bob", self.world.text(text))["id"] for text in ("for bob", "for bob, too")]
        theirs = self.one.run("inbox", "leave", "carol", self.world.text("for carol"))["id"]
        read, says = ("inbox", "read", ids[0]), "the document that the cluster shows does not open"
        kept = {}
        for device, doc in ((self.bob, ids[0]), (self.bob, ids[1]), (self.carol, theirs)):
            with self.proxy.lying(edit("GET", f"/v1/inbox/{doc}", lambda x, doc=doc: kept.update({doc: x.body}))):
                device.run("inbox", "read", doc)
        for at in (0, 6, 12, 28, 44, 60, 76, 84, 170, -1):
            with self.subTest(at=at):
                changed = edit("GET", f"/v1/inbox/{ids[0]}", lambda x, at=at: setattr(x, "body", flip(x.body, at)))
                self.lie(changed, *read, device=self.bob, code=14, says=says, check=False)
        for body in (kept[ids[1]], kept[theirs], b"", kept[ids[0]][:-1], kept[ids[0]] + b"\0"):
            with self.subTest(size=len(body)):
                other = edit("GET", f"/v1/inbox/{ids[0]}", lambda x, body=body: setattr(x, "body", body))
                self.lie(other, *read, device=self.bob, code=14, says=says, check=False)
        vault, _ = self.world.vault("bob")
        wrong = edit("GET", f"/v1/inbox/{ids[0]}", lambda x: setattr(x, "body", kept[ids[1]]))
        self.lie(wrong, "inbox", "take", ids[0], f"{vault}:/taken", device=self.bob, code=14, says=says, check=False)
        self.bob.run("inbox", "take", ids[0], f"{vault}:/taken")
        self.assertEqual(self.bob.cat(f"{vault}:/taken"), "for bob")
        self.world.unharmed()

    def test_document_shown_again(self):
        """what was taken into a vault is shown once more: taking it again changes nothing"""
        doc = self.one.run("inbox", "leave", "bob", self.world.text("once"))["id"]
        vault, _ = self.world.vault("bob")
        kept = {}
        with self.proxy.lying(edit("GET", "/v1/inbox.*", lambda x: kept.update({x.path: x.body}))):
            self.bob.run("inbox", "list")
            self.bob.run("inbox", "take", doc, f"{vault}:/taken")

        def again(x):
            if x.method == "GET" and x.path in kept:
                x.answer(200, kept[x.path])
                x.bite()
        head = self.bob.run("ls", vault)
        with self.proxy.lying(again) as told:
            self.bob.run("inbox", "take", doc, f"{vault}:/taken")
        self.assertGreater(told.bites, 0)
        self.assertEqual(self.bob.run("ls", vault), head)

    def test_delivered_to_another(self):
        """to who has a delivery file the cluster answers with another user's identity, with a made-up one, or with one that is cut"""
        where = self.world.top / "bob.delivery"
        self.bob.run("inbox", "token", "create", where)
        chain = f"/v1/users/{self.world.ids['bob']}/identity"

        def of(who):
            def attack(x):
                if x.path == chain:
                    x.target = x.target.replace(self.world.ids["bob"], self.world.ids[who])
                    x.path = x.target
                    x.fields = [(n, bearer if n == "Authorization" else v) for n, v in x.fields]
                    x.pass_on()
                    x.bite()
            bearer = self.world.bearer(who)
            return attack
        for attack in (of("eve"), edit_json("GET", chain, lambda o: o["items"].pop(0))):
            with self.proxy.lying(attack) as told:
                done = self.deliver(where, "for bob alone")
            self.assertGreater(told.bites, 0)
            self.assertEqual(done.returncode, os.EX_TEMPFAIL)
            self.assertRegex(done.stderr, "shows somebody else as the owner|identity of the inbox's owner")
        self.assertEqual(self.deliver(where, "for bob alone").returncode, 0)
        self.world.unharmed()

    def deliver(self, where, text):
        return subprocess.run([str(self.bob.person.kluis), "inbox", "deliver", str(where), "--text"], input=text, capture_output=True, text=True,
                              timeout=120, start_new_session=True)
