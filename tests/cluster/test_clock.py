#!/usr/bin/env python3
"""TOTP at six real nodes of which two have clocks that are off: codes are judged by the majority's time, wherever one signs in, and a
person whose own clock is an hour off is refused, and not locked out. Cycles of snapshots go on when the time of all jumps by a day;
their takers die and receivers are away (cycles.py has more of that), and every point restores."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import faketime
from backups import PROMISED, Backups
from cluster import Cluster, SITES, wait_until
from people import Person

STEP_S, HOUR_S, DAY_S = 30, 3600, 86400
CYCLE_S = 4
DOZEN = 12  # Cycles, at least.
BEHIND_S = -240  # Certificates are valid from five minutes before they were made: an hour behind a node is alone.


class Somebody:
    """With a second factor. Codes are worth one login each: a new person has not to wait for the next."""

    def __init__(self, test, name):
        c = self.cluster = test.cluster
        self.person = Person(c.kluis, c.top, name, [c.url(s) for s in SITES], c.dir / "pki" / "provider-ca.pem", patience=150)
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
        done = subprocess.run(["oathtool", "--totp", "-b", f"--now=@{step * STEP_S}", self.secret], capture_output=True, text=True, timeout=150, check=True)
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
        self.cluster = Cluster.__enter__(Cluster(backup_interval=CYCLE_S))
        self.addCleanup(self.cluster.__exit__, None, None, None)
        if not faketime.works(self.cluster.kluisd):
            self.skipTest("libfaketime cannot be loaded before this kluisd")

    def set_clock(self, sites, seconds):
        c = self.cluster
        for site in sites:
            c.stop(site)
        for site in sites:
            c.spawn(site, faketime.environment(FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME=f"{seconds:+d}s"))
        c.wait_ready(sites)

    def test_an_hour_off(self):
        c = self.cluster
        self.backups_under_faults()
        leader = c.wait_leader()
        fast, slow = [s for s in SITES if s != leader and s != "ams"][:2]
        for site, seconds in ((fast, HOUR_S), (slow, BEHIND_S)):
            self.set_clock([site], seconds)
            Somebody(self, f"at-{site}").logs_in(site, seconds)  # Its own clock would take the wrong one.
        # A leader stamps what all nodes go by: not with its own clock either.
        c.lead(fast)
        Somebody(self, "leader").logs_in(fast, HOUR_S)
        # A person's clock that is an hour off, either way.
        Somebody(self, "traveller").logs_in("ams", HOUR_S, -HOUR_S)
        self.cycles_over_a_day()
        self.a_dozen()
        self.backups_are_whole()

    def backups_under_faults(self):
        """In one cycle its taker dies, and another site's receiver is away: the three others are left to confirm it."""
        c, b = self.cluster, Backups(self, self.cluster)
        self.backups = b
        self.manual = json.loads(c.ctl("ams", "-o", "json", "snapshot", "save", "--wait").stdout)
        before = self.rotated = self.cycle_beside_a_frozen_site()
        self.rotate_backup_key()
        b.sshd_stop(SITES[-1])
        taker, _ = b.kill_taker()
        b.next_cycle(before)
        b.status_is_true(away=[taker])
        c.start(taker)
        b.sshd_start(SITES[-1])
        c.wait_ready()

    def cycle_beside_a_frozen_site(self):
        """One site's sshd hangs: the others hold the cycle meanwhile, and it gets there when it goes on."""
        b, site = self.backups, SITES[-1]
        node = SITES.index(site) + 1
        with b.sshd_frozen(site):
            row = b.next_cycle(check=lambda row: row["node"] != node and node not in row["confirmed_by"])
            self.assertGreaterEqual(len(row["confirmed_by"]), 3, row)
            self.assertNotIn(row["manifest_hash"], b.disks[site].held())
        wait_until(f"cycle {row['cycle']} comes to {site}", 240, lambda: row["manifest_hash"] in b.disks[site].held())
        return row

    def a_dozen(self):
        """However slow the machine was until now."""
        while len(self.backups.cycles()) < DOZEN:
            self.backups.next_cycle()

    def rotate_backup_key(self):
        """What is taken from here on is sealed to the new key, so that the points' chains need both."""
        c = self.cluster
        marks = {site: c.log_mark(site) for site in SITES}
        c.run([str(c.kluisctl), "backup", "keys", "rotate", "--dir", str(c.dir / "pki")], True, 150)
        for site in SITES:
            os.kill(c.pid(site), signal.SIGHUP)
        for site in SITES:
            c.wait_log(site, marks[site], "op=backup_key state=changed")

    def needs_both_keys(self, row):
        """A cycle behind the one in which the key was rotated, and built on what came before."""
        c, here = self.cluster, self.cluster.site_dir(SITES[0])
        for key in (c.dir / "pki").glob("backup*.key"):
            done = c.run([str(c.kluisctl), "snapshot", "verify", row["id"], "--level", "3", "--repository", str(here / "repository"), "--config",
                          str(here / "kluisd.ini"), "--key-file", str(key)], False, 150)
            self.assertNotEqual(done.returncode, 0, key)
            self.assertIn("sealed to backup key", done.stderr)

    def backups_are_whole(self):
        """All of it, by sites that are a day ahead and by those that are not. What is a day old goes where a day has passed, if
        no point needs it."""
        c, b = self.cluster, self.backups
        b.next_cycle()
        rows = b.settled()[-PROMISED:]  # On a slow machine there are more by now than are promised.
        self.assertGreaterEqual(len(rows), DOZEN)
        mark = c.log_mark(SITES[0])
        self.set_clock(SITES[:1], DAY_S)
        c.wait_log(SITES[0], mark, "op=backup_prune snapshots=")
        self.assertNotIn(self.manual["manifest_hash"], b.disks[SITES[0]].manifests())
        self.assertIn(self.manual["manifest_hash"], b.disks[SITES[-1]].manifests())
        states = {row["id"]: row["state"] for row in b.status_is_true()["items"]}
        self.assertEqual(states[self.manual["id"]], "expired")
        b.points_verify(SITES[:1], rows[::2])
        b.points_verify(SITES[-1:], rows[1::2])
        b.points_restore(rows)
        self.needs_both_keys(next(row for row in b.cycles() if row["cycle"] > self.rotated["cycle"] + 1))
        self.a_day_back(rows)

    def a_day_back(self, rows):
        """The clocks are put right: cycles go on, and no site forgets any."""
        b, cycles = self.backups, {row["manifest_hash"] for row in rows}
        held = {site: cycles & set(b.disks[site].manifests()) for site in SITES}
        self.set_clock(SITES[:4], 0)
        row = b.next_cycle(rows[-1])
        self.assertGreater(row["slot"], rows[-1]["slot"])
        for site in SITES:
            self.assertLessEqual(held[site], set(b.disks[site].manifests()), site)
        b.points_verify(SITES[:1], [rows[len(rows) // 2], row])

    def wait_cycle(self, after):
        """A confirmed one that is due behind `after`."""
        return wait_until(f"a cycle behind {after}", 120,
                          lambda: next((s for s in self.backups.snapshots("ams") if s["slot"] > after and s["state"] == "confirmed"), None))

    def leader_is_last(self):
        shown = json.loads(self.cluster.ctl("ams", "-o", "json", "backup", "schedule").stdout)
        return shown["next"]["order"][-1]["site"] == self.cluster.leader()

    def cycles_over_a_day(self):
        c = self.cluster
        shown = json.loads(c.ctl("ams", "-o", "json", "backup", "schedule").stdout)
        self.assertEqual(shown["interval_ms"], CYCLE_S * 1000)
        self.assertEqual(len(shown["next"]["order"]), len(SITES))
        wait_until("the leader's turn is the last", 120, self.leader_is_last)
        before = self.wait_cycle(0)
        # A majority's clocks, and with them cluster time: a day of cycles is missed at once.
        began = time.time()
        self.set_clock(SITES[:4], DAY_S)
        ahead = self.wait_cycle((began + DAY_S) * 1000)
        all_of_them = self.backups.snapshots("ams")
        done = [s for s in all_of_them if s["state"] == "confirmed"]
        self.assertEqual([s["slot"] % (CYCLE_S * 1000) for s in done], [0] * len(done))
        for key in ("slot", "index"):
            self.assertEqual([s[key] for s in done], sorted({s[key] for s in done}), done)
        jumped = [s["slot"] for s in all_of_them if before["slot"] + HOUR_S * 1000 < s["slot"] < ahead["slot"]]
        # One or two were due while the four restarted.
        self.assertLess(len(jumped), 20, "a day's cycles were not caught up by one")
        for s in done:
            self.assertEqual(s["kind"], "full" if s["cycle"] == 1 else "increment", s)


if __name__ == "__main__":
    unittest.main(verbosity=2)
