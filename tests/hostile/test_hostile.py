#!/usr/bin/env python3
"""A client that is not fooled: real `kluis` against a node that lies, one attack a test.

Of each attack: it happened (the proxy counts), the client named it and ended in the right status, and with an honest node the
same profile goes on and every byte is there. docs/security.md has the table."""
import pathlib
import re
import time
import unittest

from world import World  # First: it finds the others.
from cases_account import Accounts
from cases_cluster import Clusters
from cases_memory import Memory
from cases_vault import Vaults
from proxy import edit


class Hostile(Vaults, Accounts, Clusters, Memory, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = w = World()
        cls.addClassCleanup(w.end)
        w.begin()
        cls.proxy, cls.one, cls.two, cls.desk = w.proxy, w.one, w.two, w.desk
        cls.begin_slow()
        cls.home = f"/v1/vaults/{w.ids['home']}"
        cls.second = f"/v1/vaults/{w.ids['second']}"

    def lie(self, attack, *words, code, says, device=None, check=True, timeout=60):
        """Runs a command while the proxy lies, then looks whether all is well."""
        with self.proxy.lying(attack) as told:
            done = (device or self.one).call(*words, timeout=timeout)
        self.assertGreater(told.bites, 0, f"the attack did nothing: {done.args}\n{done.stderr}")
        told = f"{' '.join(done.args)}: {done.returncode}\n{done.stdout}{done.stderr}{told.paths}"
        self.assertIn(done.returncode, code if isinstance(code, tuple) else (code,), told)
        self.assertTrue(re.search(says, done.stderr), f"no '{says}' in: {told}")
        if check:
            self.world.unharmed()

    def test_documented(self):
        """docs/security.md has a row for each test, and none for what there is not"""
        text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
        documented = set(re.findall(r"`(test_\w+)`", text))
        here = {name for name in dir(self) if name.startswith("test_")} - {"test_control", "test_documented"}
        self.assertEqual(documented, here)

    def test_control(self):
        """nothing is changed"""
        with self.proxy.lying(edit("GET", "/.*", lambda x: None)) as told:
            self.world.unharmed()
            self.assertEqual(self.two.cat("home:/small"), "other words of home")
        self.assertEqual(told.bites, 0)


class Slowest(unittest.TextTestResult):
    """Says what each test took."""

    def startTest(self, test):
        self.begun = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        print(f"{time.monotonic() - self.begun:6.1f} s {test.id().split('.')[-1]}", flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIPPED {test.id().split('.')[-1]}: {reason}", flush=True)


if __name__ == "__main__":
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Slowest))
