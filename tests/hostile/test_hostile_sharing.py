#!/usr/bin/env python3
"""People who share are not fooled: real `kluis` of several against a node that lies, one attack a test. As test_hostile.py, which
holds docs/security.md against the tests of both."""
import unittest

from circle import Circle  # First: it finds the others.
from cases_chat import Chats
from cases_inbox import Inboxes
from cases_sharing import Sharing
from liar import Liar, main
from proxy import edit


class HostileSharing(Sharing, Chats, Inboxes, Liar, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = w = Circle()
        cls.addClassCleanup(w.end)
        w.begin()
        cls.proxy, cls.one = w.proxy, w.one
        cls.bob, cls.carol, cls.eve = (w.desks[name] for name in ("bob", "carol", "eve"))

    def test_control(self):
        """nothing is changed"""
        with self.proxy.lying(edit("GET", "/.*", lambda x: None)) as told:
            self.world.unharmed()
        self.assertEqual(told.bites, 0)

    def test_account_unmanaged(self):
        """no lie: what others are in and nobody else could manage keeps an account from being deleted, until its owner says so"""
        zoe = self.world.newcomer("zoe")
        words = ("account", "delete", "--yes", "--password-file", zoe.person.password)
        zoe.run("vault", "create", "of zoe")
        group = zoe.run("group", "create", "zoes")["id"]
        zoe.run("vault", "share", "of zoe", "bob", "--role", "write")
        zoe.run("group", "add", "zoes", "bob")
        for kind in ("vault", "group"):
            self.world.accept("bob", kind)
        zoe.run("vault", "create", "hers alone")
        done = zoe.call(*words)
        self.assertEqual(done.returncode, 12, done.stderr)
        self.assertRegex(done.stderr, "vault 'of zoe'")
        self.assertIn(f"group 'zoes' ({group})", done.stderr)
        self.assertNotIn("hers alone", done.stderr)
        zoe.run("vault", "transfer", "of zoe", "bob")
        self.assertEqual(zoe.call(*words).returncode, 12)
        self.bob.put("goes on", "of zoe:/x")
        zoe.run(*words, "--leave-unmanaged")
        self.bob.put("and on", "of zoe:/x")


if __name__ == "__main__":
    main()
