#!/usr/bin/env python3
"""TOTP at six real nodes of which two have clocks that are off: codes are judged by the majority's time, wherever one signs in, and a
person whose own clock is an hour off is refused, and not locked out."""
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import faketime
from cluster import Cluster, SITES, wait_until
from people import Person

STEP_S, HOUR_S = 30, 3600
BEHIND_S = -240  # Certificates are valid from five minutes before they were made: an hour behind a node is alone.


class Somebody:
    """With a second factor. Codes are worth one login each: a new person has not to wait for the next."""

    def __init__(self, test, name):
        c = self.cluster = test.cluster
        self.person = Person(c.kluis, c.top, name, [c.url(s) for s in SITES], c.dir / "pki" / "provider-ca.pem")
        test.addCleanup(self.person.close)
        invitation = self.person.top / "invitation"
        c.ctl("ams", "invite", "create", "--note", name, "--token-file", str(invitation))
        self.person.invitation = ["--invite-file", invitation]
        self.device = self.person.register("one")
        uri = self.person.top / "uri"
        factor = self.device.run("mfa", "add", "totp", "--uri-file", uri)["id"]
        self.secret = uri.read_text().split("secret=")[1].split("&")[0].strip()
        self.spent = 0
        self.accepted("mfa", "confirm", factor)

    def code(self, step):
        done = subprocess.run(["oathtool", "--totp", "-b", f"--now=@{step * STEP_S}", self.secret], capture_output=True, text=True, timeout=30, check=True)
        return self.person.secret("code", done.stdout.strip())

    def fresh_step(self):
        """One that is not spent, and soon enough for the window of one step beside the present one."""
        wait_until("a step that is not spent", 3 * STEP_S, lambda: time.time() // STEP_S + 1 > self.spent)
        return max(int(time.time() // STEP_S), self.spent + 1)

    def accepted(self, *words):
        """With a good code. On a busy machine its time may be over before it arrives: then the next one."""
        for last in (False, False, True):
            self.spent = self.fresh_step()
            code = self.code(self.spent)
            try:
                return self.device.run(*words, "--code-file", code)
            except AssertionError:
                if last or time.time() // STEP_S <= self.spent + 1:
                    raise

    def login_at(self, site):
        return ["--endpoint", self.cluster.url(site), "login", "--password-file", self.person.password]

    def logs_in(self, site, *wrong_s):
        """Not with a code of so many seconds ago or ahead, and with one of now."""
        for seconds in wrong_s:
            wrong = int((time.time() + seconds) // STEP_S)
            self.device.run(*self.login_at(site), "--code-file", self.code(wrong), code=12)
        self.accepted(*self.login_at(site))


class Clock(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster.__enter__(Cluster())
        self.addCleanup(self.cluster.__exit__, None, None, None)
        if not faketime.works(self.cluster.kluisd):
            self.skipTest("libfaketime cannot be loaded before this kluisd")

    def set_clock(self, site, seconds):
        c = self.cluster
        c.stop(site)
        c.spawn(site, faketime.environment(FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME=f"{seconds:+d}s"))
        c.wait_ready([site])

    def test_an_hour_off(self):
        c = self.cluster
        leader = c.wait_leader()
        fast, slow = [s for s in SITES if s != leader and s != "ams"][:2]
        for site, seconds in ((fast, HOUR_S), (slow, BEHIND_S)):
            self.set_clock(site, seconds)
            Somebody(self, f"at-{site}").logs_in(site, seconds)  # Its own clock would take the wrong one.
        # A leader stamps what all nodes go by: not with its own clock either.
        c.lead(fast)
        Somebody(self, "leader").logs_in(fast, HOUR_S)
        # A person's clock that is an hour off, either way.
        Somebody(self, "traveller").logs_in("ams", HOUR_S, -HOUR_S)


if __name__ == "__main__":
    unittest.main(verbosity=2)
