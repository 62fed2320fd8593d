#!/usr/bin/env python3
"""A client that is not fooled: real `kluis` against a node that lies, one attack a test. Here: the door, vaults, the cluster;
what people share is in test_hostile_sharing.py. docs/security.md has the table of both."""
import pathlib
import re
import unittest

from world import World  # First: it finds the others.
from cases_account import Accounts
from cases_chat import Chats
from cases_cluster import Clusters
from cases_inbox import Inboxes
from cases_memory import Memory
from cases_sharing import Sharing
from cases_vault import Vaults
from liar import Liar, main
from proxy import edit


class Hostile(Vaults, Accounts, Clusters, Memory, Liar, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = w = World()
        cls.addClassCleanup(w.end)
        w.begin()
        cls.proxy, cls.one, cls.two, cls.desk = w.proxy, w.one, w.two, w.desk
        cls.begin_slow()
        cls.home = f"/v1/vaults/{w.ids['home']}"
        cls.second = f"/v1/vaults/{w.ids['second']}"

    def test_documented(self):
        """docs/security.md has a row for each test, these and those of test_hostile_sharing.py, and none for what there is not"""
        text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
        documented = set(re.findall(r"`(test_\w+)`", text))
        tests = {name for one in (self, Sharing, Chats, Inboxes) for name in dir(one) if name.startswith("test_")}
        here = tests - {"test_control", "test_documented"}
        self.assertEqual(documented, here)

    def test_control(self):
        """nothing is changed"""
        with self.proxy.lying(edit("GET", "/.*", lambda x: None)) as told:
            self.world.unharmed()
            self.assertEqual(self.two.cat("home:/small"), "other words of home")
        self.assertEqual(told.bites, 0)


if __name__ == "__main__":
    main()
