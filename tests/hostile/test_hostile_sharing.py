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


if __name__ == "__main__":
    main()
