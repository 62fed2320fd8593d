#!/usr/bin/env python3
"""All six nodes gone: a snapshot's copy at one site becomes a new cluster, and the client that was told of it has every byte."""
import base64
import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
import unittest

from cluster import SITES, Cluster, free_ports, wait_until
from people import Person

VERIFICATION, PIN_CHANGED = 14, 15
GONE, UNAUTHENTICATED = 10, 12
RECORD_BYTES = 168
PAGE_BYTES = 1 << 18
DELETION_BYTES, MARK_COUNT = 88, slice(48, 56)


def copy_repository(repository, to, *ignored):
    """Of a node that may be running: what it is just writing is no part of it."""
    return shutil.copytree(repository, to, ignore=shutil.ignore_patterns("tmp", "*.tmp-*", *ignored))


class Restore(unittest.TestCase):
    def test_destroy_and_restore(self):
        with Cluster() as cluster, contextlib.ExitStack() as self.before:  # What ends before the cluster's directory goes.
            self.c = cluster
            self.pki = cluster.dir / "pki"
            self.profile = cluster.enrol("owner")
            self.store_files()
            self.who_will_leave()
            self.told_by_program("gro")
            self.snapshot = self.take_snapshot()
            self.status_tells()
            before = cluster.get("ams", "/.well-known/kluis.json")[1]["lineage"]
            self.sleeper = shutil.copytree(self.profile, cluster.top / "sleeper")
            # After the snapshot: what the restore will not have.
            cluster.client("put", self.files["small"], "v:/late", profile=self.profile)
            self.vault_of_the_snapshot()
            self.they_leave()
            self.program_told("ended")
            self.secrets_go_offline()
            self.destroy()
            self.journal_each_second()
            self.refuse_bad_restores()
            self.refuse_bad_secrets()
            done = json.loads(self.restore("ams", "-o", "json").stdout)
            self.assertEqual((done["persons_deleted"], done["vaults_deleted"], done["devices_revoked"]), (1, 1, 1), done)
            self.assertEqual((done["members_removed"], done["admins_kept"]), (1, 0), done)
            self.forged_records()
            for site in SITES[1:]:
                self.restore(site)
            mark = self.standby_without_store()
            for site in SITES:
                cluster.spawn(site)
            cluster.wait_ready()
            cluster.wait_log(SITES[-1], mark, 'msg="installed"')
            self.assertNotEqual(cluster.get("ams", "/.well-known/kluis.json")[1]["lineage"], before)
            self.all_show_the_records([self.record_made])
            self.they_stay_away()
            self.client_comes_back()
            self.plan_of_another_lineage()
            self.restore_again()

    def store_files(self):
        c = self.c
        self.files = {}
        (c.top / "in").mkdir()
        for name, size in (("empty", 0), ("small", 100), ("page", 1 << 20), ("large", 6_500_001)):
            self.files[name] = c.top / "in" / name
            self.files[name].write_bytes(os.urandom(size))
        c.client("vault", "create", "v", profile=self.profile)
        c.client("put", "-r", c.top / "in", "v:/", profile=self.profile)

    def who_will_leave(self):
        """An account with a vault, and a person; another one stays."""
        c = self.c
        self.leaver = c.enrol("leaver")
        self.bench("--keep")
        self.left_vault = json.loads(c.client("-o", "json", "vault", "list", profile=self.leaver).stdout)["items"][0]["id"]
        self.devices = {}
        for name in ("anna", "bert", "dora"):
            person = Person(c.kluis, c.top, name, [c.url(s) for s in SITES], c.dir / "pki" / "provider-ca.pem",
                            patience=150)
            self.before.callback(person.close)
            invitation = person.top / "invitation"
            c.ctl("ams", "invite", "create", "--token-file", str(invitation))
            person.invitation = ["--invite-file", invitation]
            self.devices[name] = person.register("laptop")
        self.devices["bert"].run("vault", "create", "b")
        self.devices["bert"].put("of bert", "b:/note")
        self.lost = self.devices["bert"].person.device("phone")
        self.assertEqual(self.lost.login(fresh=True)["device"], "pending")
        device = next(i for i, row in self.devices["bert"].devices().items() if row == ("phone", "pending"))
        self.devices["bert"].run("device", "approve", device, "--yes")
        self.lost.login()
        self.assertEqual(self.lost.cat("b:/note"), "of bert")
        self.let_in("write")
        self.assertEqual(self.devices["dora"].cat("b:/note"), "of bert")

    def let_in(self, role):
        """Bert shares his vault with dora."""
        bert, dora = self.devices["bert"], self.devices["dora"]
        bert.run("vault", "share", "b", "dora", "--role", role)
        offer, = dora.run("vault", "invitations")["items"]
        dora.run("vault", "accept", offer["id"])

    def bench(self, *words):
        """Makes one vault, and removes it and what an earlier run has kept unless told not to."""
        self.c.run([str(self.c.kluisctl), "bench", "--profile", str(self.leaver), "--clients", "1", "-n", "1", *words], True, 150)

    def they_leave(self):
        """Deleted after the snapshot: every site writes it down beside its repository."""
        self.bench()
        self.c.ctl("ams", "--yes", "user", "delete", "anna")
        self.devices["bert"].run("device", "revoke", "phone", "--yes")
        self.devices["bert"].run("vault", "unshare", "b", "dora")
        for site in SITES:
            wait_until(f"all five at {site}", 120, lambda s=site: self.deletions_at(s) >= 5)
            self.assertEqual((self.deletions_at(site), (self.deletions_of(site) / "journal").stat().st_size), (5, 5 * DELETION_BYTES), site)
        # With the key, of the copies of one site: what is in it, what goes again, and what the living cluster has beyond it.
        plan = self.plan("--socket", self.c.site_dir("ams") / "admin.sock", "--key-file", self.pki / "backup.key")
        self.assertEqual((plan["persons"], plan["services"], plan["vaults"]), (3, 3, 3), plan)  # quickstart made an account, too
        self.assertEqual((plan["persons_deleted"], plan["vaults_deleted"], plan["devices_revoked"], plan["members_removed"]), (1, 2, 1, 1), plan)
        self.plan_is_complete(plan)
        self.assertGreater(plan["entries_lost"], 5, plan)
        self.assertGreater(plan["pages"], 5, plan)
        # No copy of a vault that was deleted since is given out.
        done = self.restore_vault(self.left_vault, self.c.top / "left", check=False)
        self.assertEqual(done.returncode, GONE, done.stderr)
        # A journal that is missing is said; another site's does as well; a damaged one stops it.
        alone = copy_repository(self.source / "repository", self.c.top / "no-journal", "deletions")
        done = self.kluisctl("-o", "json", *self.plan_words(), "--repository", alone)
        self.assertIn("no deletion journal", done.stderr)
        self.assertEqual(json.loads(done.stdout)["persons_deleted"], 0)
        other = copy_repository(self.deletions_of("ams"), self.c.top / "deletions")
        plan = self.plan("--repository", alone, "--deletions", other)
        self.assertEqual((plan["persons_deleted"], plan["vaults_deleted"], plan["deletions_of"]), (1, 2, "ams"), plan)
        os.truncate(other / "journal", DELETION_BYTES)
        done = self.kluisctl(*self.plan_words(), "--repository", alone, "--deletions", other, check=False)
        self.assertEqual(done.returncode, VERIFICATION, done.stderr)

    def plan_is_complete(self, plan):
        """What it takes, what it needs, and where it goes; of a site that still has all of its own."""
        self.assertLess(plan["age_ms"], self.age_most_ms())
        self.assertGreater(plan["age_ms"], 0)
        self.assertGreater(plan["value_bytes"], 6_000_000)
        self.assertEqual(plan["least_value_bytes"], plan["value_bytes"])  # With the key it is known.
        self.assertGreater(plan["expected_ms"], 0)
        self.assertGreater(plan["free_bytes"], plan["value_bytes"])
        self.assertIs(plan["store_there"], True)
        self.assertNotIn("living_lineage_differs", plan)
        key, sign, public, secrets = plan["needs"]
        self.assertRegex(key["what"], r"^the private backup key [0-9a-f]{32}$")
        self.assertIn("restore key", sign["what"])
        self.assertEqual((os.path.realpath(public["path"]), public["there"]), (os.path.realpath(self.pki / "restore.pub"), True))
        self.assertEqual((secrets["path"], secrets["there"]), (str(self.source / "secrets"), True))
        # No room: a file system that has none.
        full = self.source / "no-room.ini"
        full.write_text((self.source / "kluisd.ini").read_text().replace("\ndata = data\n", "\ndata = /proc/none\n"))
        done = self.kluisctl("-o", "json", "restore", "plan", "--config", full, "--snapshot", self.snapshot)
        self.assertEqual(json.loads(done.stdout)["free_bytes"], 0)
        self.assertIn("not enough room", done.stderr)
        self.assertNotIn("not enough room", self.kluisctl(*self.plan_words()).stderr)

    def plan_of_another_lineage(self):
        """The living cluster was restored since: how many entries it has beyond the snapshot means nothing."""
        plan = self.plan("--socket", self.c.site_dir("ams") / "admin.sock")
        self.assertIs(plan["living_lineage_differs"], True)
        self.assertGreater(plan["living_index"], 0)
        self.assertNotIn("entries_lost", plan)

    def deletions_of(self, site):
        return self.c.site_dir(site) / "repository" / "deletions"

    def deletions_at(self, site):
        """How many the site's journal has. They count from when its mark is written behind them (docs/format-backup.md)."""
        mark = self.deletions_of(site) / "mark"
        return int.from_bytes(mark.read_bytes()[MARK_COUNT], "big") if mark.exists() else 0

    def plan_words(self):
        return ["restore", "plan", "--config", self.source / "kluisd.ini", "--snapshot", self.snapshot]

    def plan(self, *words):
        return json.loads(self.kluisctl("-o", "json", *self.plan_words(), *words).stdout)

    def restore_vault_words(self, vault, out, *which, key=None):
        return ["restore", "vault", vault, "--config", self.source / "kluisd.ini", *(which or ("--snapshot", self.snapshot)), "--key-file",
                key or self.pki / "backup.key", "--out", out]

    def restore_vault(self, vault, out, *which, check=True, key=None):
        return self.kluisctl(*self.restore_vault_words(vault, out, *which, key=key), check=check)

    def vault_of_the_snapshot(self):
        """One vault as it was, while the cluster serves: out of the snapshot, read by its owner, and stored anew beside the rest."""
        c = self.c
        c.client("put", self.files["page"], "v:/small", profile=self.profile)
        c.client("rm", "v:/large", profile=self.profile)
        self.vault = vault = json.loads(c.client("-o", "json", "vault", "list", profile=self.profile).stdout)["items"][0]["id"]
        copy, left = c.top / "copy", c.top / "copy.part"
        done = self.restore_vault(vault, copy, check=False, key=self.wrong_key)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.restore_vault("00" * 16, copy, check=False).returncode, GONE)
        self.assertFalse(copy.exists())
        # Killed in the middle of a page: no copy, and what it left is in nobody's way.
        words = ["prlimit", f"--fsize={PAGE_BYTES // 2}", "--core=0", self.c.kluisctl, *self.restore_vault_words(vault, copy)]
        done = c.run([*map(str, words)], False, 300)
        self.assertEqual(done.returncode, -signal.SIGXFSZ, done.stderr)
        self.assertFalse(copy.exists())
        self.assertEqual(max(page.stat().st_size for page in left.glob("page-*")), PAGE_BYTES // 2)
        self.restore_vault(vault, copy)
        self.assertFalse(left.exists())
        # Not for another account, which has no key of it; nor with any byte that is another.
        self.assertNotEqual(c.client("--copy", copy, "ls", "v:/", profile=self.leaver, check=False).returncode, 0)
        for victim in (copy / "copy", max(copy.glob("page-*"), key=lambda p: p.stat().st_size)):
            raw = victim.read_bytes()
            for offset in (9, len(raw) // 2, len(raw) - 1):
                damaged = bytearray(raw)
                damaged[offset] ^= 2
                victim.write_bytes(damaged)
                done = c.client("vault", "restore", "v", copy, profile=self.profile, check=False)
                self.assertEqual(done.returncode, VERIFICATION, (victim, offset, done.stderr))
            victim.write_bytes(raw)
        self.same_files(c.client("--copy", copy, "get", "-r", "v:/", c.top / "of-copy", profile=self.profile), c.top / "of-copy")
        done = json.loads(c.client("-o", "json", "vault", "restore", "v", copy, profile=self.profile).stdout)
        self.assertEqual((done["files"], done["items"]), (4, 4), done)
        self.same_files(c.client("get", "-r", f"v:{done['into']}", c.top / "beside", profile=self.profile, endpoint="mst"), c.top / "beside")
        # What is there now is as it was before.
        c.client("get", "v:/small", c.top / "small-now", profile=self.profile)
        self.assertEqual((c.top / "small-now").read_bytes(), self.files["page"].read_bytes())
        c.client("verify", "v", profile=self.profile)

    def same_files(self, done, out):
        self.assertEqual({p.name for p in out.iterdir()}, set(self.files), done.stdout)
        for name, path in self.files.items():
            self.assertEqual((out / name).read_bytes(), path.read_bytes(), name)

    def take_snapshot(self):
        c = self.c
        self.began = time.monotonic()
        saved = json.loads(c.ctl("utr", "-o", "json", "snapshot", "save", "--wait", "--timeout", "300", timeout=330).stdout)["id"]

        def everywhere(now):  # It counts from three on; the rest come a moment later.
            return len(self.record(now, saved)["confirmed_by"]) == len(SITES) - 1
        row = self.record(self.told("utr", "all other sites have it", everywhere, 240), saved)
        self.copies = [SITES[node - 1] for node in row["confirmed_by"]]
        self.taker = next(site for site in SITES if site not in self.copies)
        self.source = c.site_dir(self.copies[-1])
        self.parts = [row["manifest_hash"], row["objects"]]
        return saved

    def told(self, site, what, check, seconds=120):
        """What that site's `backup status` says, once it says so: what one site knows another one knows a moment later. Its exit
        code follows from all that it says, and a node that knows no leader just now says nothing."""
        last = None

        def now():
            nonlocal last
            last = self.c.ctl(site, "-o", "json", "backup", "status", check=False)
            shown = json.loads(last.stdout) if last.stdout else None
            return shown if shown and check(shown) else None
        return wait_until(what, seconds, now, lambda: f"{last.returncode}\n{last.stdout}\n{last.stderr}\n{self.c.logs()}")

    def record(self, now, snapshot):
        """Of that snapshot in a status; it may not have one yet."""
        return next((row for row in now["items"] if row["id"] == snapshot), {"confirmed_by": [], "sites": "", "error": ""})

    def found(self, now, site, level):
        """The word on that level's last check there; None: none."""
        return next((row for row in now["checks"] if (row["site"], row["level"]) == (site, level)), None)

    def all_good(self, site, what):
        wait_until(what, 120, lambda: self.c.ctl(site, "backup", "status", check=False).returncode == 0,
                   lambda: self.c.ctl(site, "backup", "status", check=False))

    def age_most_ms(self):
        """Of what was taken since take_snapshot() began; a minute for clocks that differ."""
        return (time.monotonic() - self.began + 60) * 1000

    def status_tells(self):
        """What operators and their monitoring see: `backup status`, its exit codes, /metrics."""
        c = self.c
        # What one site lists another one knows a moment later, and it has a link to each.
        now = self.told("ams", "ams knows of all copies", lambda now: len(self.record(now, self.snapshot)["sites"].split()) == len(self.copies))
        self.assertEqual(now["newest"], self.snapshot)
        self.assertLess(now["newest_age_ms"], self.age_most_ms())
        self.assertEqual((now["failed_since"], now["proven"], now["checks"]), (0, None, []))
        self.assertEqual(set(self.record(now, self.snapshot)["sites"].split()), set(self.copies))
        self.assertEqual(self.record(now, self.snapshot)["copies"], f"{len(self.copies)}/3")
        self.all_good("gro", "all is good")
        # A check by a site is known at all of them.
        c.ctl(self.copies[0], "snapshot", "verify", self.snapshot, "--level", "2")
        check = self.found(self.told("gro", "the check is told", lambda now: self.found(now, self.copies[0], 2)), self.copies[0], 2)
        self.assertEqual((check["ok"], check["id"]), (True, self.snapshot))
        table = c.ctl("gro", "backup", "status", check=False).stdout
        self.assertIn("Newest confirmed", table)
        self.assertIn(self.copies[0], table)
        checked = f'kluis_backup_check_ok{{node="{SITES.index(self.copies[0]) + 1}",level="2"}}'

        def metrics():
            text = c.run(["curl", "-sS", "--unix-socket", str(c.site_dir("ams") / "admin.sock"), "http://node/metrics"], True, 150).stdout
            rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("kluis_backup"))
            return rows if checked in rows else None
        rows = wait_until("the metrics tell", 120, metrics)
        self.assertLess(float(rows["kluis_backup_newest_age_seconds"]), self.age_most_ms() / 1000)
        self.assertEqual(rows["kluis_backup_newest_copies"], str(len(self.copies)))
        self.assertEqual(rows["kluis_backup_proven_age_seconds"], "+Inf")
        self.assertEqual(rows[checked], "1")
        self.damage_tells()
        # Not gro, whose program has yet to hear that the alarm ended: a node that was started since never saw it.
        self.drills_by_itself(next(site for site in reversed(self.copies) if site != "gro"))
        # A drill by hand: restored, booted, compared, gone, and known at all sites.
        here = c.site_dir(self.copies[0])
        words = ["-o", "json", "backup", "drill", self.snapshot, "--config", str(here / "kluisd.ini"), "--key-file",
                 str(self.pki / "backup.key"), "--scratch", str(c.top / "drill"), "--kluisd", str(c.kluisd)]
        # Told to end, it leaves nothing, and is no proof.
        stopped = subprocess.Popen([c.kluisctl, "--socket", c.site_dir(self.copies[0]) / "admin.sock", *words])
        wait_until("it has begun", 120, (c.top / "drill" / "kluis-drill").exists)
        stopped.terminate()
        self.assertEqual(stopped.wait(120), 128 + signal.SIGTERM)
        self.assertFalse((c.top / "drill").exists())
        # Another site's copies are no proof of this one's.
        other = json.loads(c.ctl(self.copies[0], *words, "--repository", str(c.site_dir(self.copies[1]) / "repository"), timeout=300).stdout)
        self.assertIs(other["recorded"], False)
        self.assertIn(f"those of node {SITES.index(self.copies[1]) + 1}", other["unrecorded"])
        drill = json.loads(c.ctl(self.copies[0], *words, timeout=300).stdout)
        self.assertEqual((drill["id"], drill["recorded"]), (self.snapshot, True))
        self.assertGreater(drill["bytes"], 6_000_000)
        self.assertFalse((c.top / "drill").exists())
        self.told("gro", "the drill is told", lambda now: now.get("proven_site") == self.copies[0])
        self.all_good("gro", "it is told that all is good")

    def damage_tells(self):
        c = self.c

        def check(site):
            return c.ctl(site, "snapshot", "verify", self.snapshot, "--level", "2", check=False)

        def damage(site):
            victim = self.objects_in(c.site_dir(site) / "repository")[0]
            good = victim.read_bytes()
            victim.chmod(0o600)
            victim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            done = check(site)
            self.assertEqual(done.returncode, VERIFICATION, done.stdout + done.stderr)
            return victim, good
        # A copy that is damaged is set aside and shipped again by its taker.
        victim, good = damage(self.copies[0])
        wait_until("the copy is mended", 240, lambda: check(self.copies[0]).returncode == 0, c.logs)
        self.assertEqual(victim.read_bytes(), good)
        # The taker's own: the exit code, the alarm, and good again once it is mended by hand.
        victim, good = damage(self.taker)
        self.told("gro", "the damage is told", lambda now: (self.found(now, self.taker, 2) or {"ok": True})["ok"] is False)
        wait_until("the exit code", 120, lambda: self.c.ctl("gro", "backup", "status", check=False).returncode == VERIFICATION)
        wait_until("the alarm", 120, lambda: "verify" in [row["name"] for row in c.admin("gro", "/v1/sys/alarms")["items"]])
        # It is read again, set aside, and written down in the snapshot's record; only then nobody reads it any more.
        self.told("gro", "the taker says so", lambda now: self.record(now, self.snapshot)["error"].startswith(
            f"node {SITES.index(self.taker) + 1}: "))
        self.assertFalse(victim.exists())
        self.verify_copies()  # It takes a while, in which the alarm lasts.
        told = self.program_told("raised")
        self.assertEqual((told["site"], told["node"], told["severity"]), ("gro", SITES.index("gro") + 1, "critical"), told)
        self.assertIn(self.taker, told["text"])
        victim.write_bytes(good)
        self.assertEqual(check(self.taker).returncode, 0)
        self.told("gro", "it is told that it is whole", lambda now: self.found(now, self.taker, 2)["ok"])

    def told_by_program(self, site):
        """That site has a program of its operator's, which writes down what it is told."""
        c = self.c
        self.heard, program = c.top / "heard", c.top / "alarm-program"
        program.write_text(f"#!/bin/sh\nexec /bin/cat >>{self.heard}\n")
        program.chmod(0o700)
        settings = c.site_dir(site) / "kluisd.ini"
        settings.write_text(settings.read_text().replace("[storage]\n", f"[alarms]\ncommand = {program}\npause_s = 1\n[storage]\n", 1))
        c.stop(site)
        c.start(site)

    def program_told(self, state):
        """Of the alarm `verify`."""
        def told():
            lines = self.heard.read_text().splitlines() if self.heard.exists() else []
            return next((row for row in map(json.loads, lines) if (row["name"], row["state"]) == ("verify", state)), None)
        return wait_until(f"the program is told that the alarm is {state}", 240, told, self.c.logs)

    def drills_by_itself(self, site):
        """A site that is given the key drills at once: nobody else has proven anything this week. Settings that differ are told of."""
        c = self.c
        alarms = lambda: {row["name"]: row["text"] for row in c.admin("ams", "/v1/sys/alarms")["items"]}
        self.assertFalse({"schedule", "proof"} & alarms().keys())
        c.stop(site)
        settings = c.site_dir(site) / "kluisd.ini"
        settings.write_text(settings.read_text().replace("[backup]\n", "[backup]\ndrill_key = ../../pki/backup.key\n", 1)
                            .replace("keep_s = 1209600", "keep_s = 1209601"))
        c.start(site)
        now = self.told("gro", "a drill of its own", lambda now: now["proven"], 240)
        self.assertEqual((now["proven_site"], now["drill_sites"], now["proven_id"], now["proof_late"]), (site, site, self.snapshot, None))
        self.assertFalse((c.site_dir(site) / "data" / "drill").exists())
        self.assertIn(f"'keep_s' at site '{site if site != 'ams' else 'rtd'}'", wait_until("the settings differ", 120, lambda: alarms().get("schedule")))

    def kluisctl(self, *words, check=True):
        return self.c.run([str(self.c.kluisctl), *map(str, words)], check, 300)

    def verify(self, site, level, *more, repository=None, check=True):
        here = self.c.site_dir(site)
        return self.kluisctl("snapshot", "verify", self.snapshot, "--repository", repository or here / "repository", "--config",
                             here / "kluisd.ini", "--level", level, *more, check=check)

    def verify_copies(self):
        key = self.pki / "backup.key"
        for level in (1, 2):
            for site in self.copies:
                self.verify(site, level)
        self.verify(self.source.name, 3, "--key-file", key)
        # A flipped byte in an object: found by levels 2 and 3, by name.
        damaged = self.damaged_copy()
        for level, more in ((2, []), (3, ["--key-file", key])):
            done = self.verify("ams", level, *more, repository=damaged, check=False)
            self.assertEqual(done.returncode, VERIFICATION, done.stderr + done.stdout)
            self.assertIn(self.flipped[:16], done.stderr + done.stdout)
        self.damage_everywhere(damaged)
        self.drills_of_damage(damaged)
        # The wrong backup key.
        other = self.c.top / "other-keys"
        self.kluisctl("backup", "keys", "init", "--dir", other)
        done = self.verify(self.source.name, 3, "--key-file", other / "backup.key", check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("key", done.stderr + done.stdout)
        self.wrong_key = other / "backup.key"

    def manifest_in(self, repository):
        manifest, = (repository / "manifests").glob(f"*-{self.parts[0]}")
        return manifest

    def objects_in(self, repository):
        """The files of the snapshot: a journal increment that came meanwhile has its own."""
        named = self.manifest_in(repository).read_bytes()
        objects = [path for path in (repository / "objects").glob("*/*") if bytes.fromhex(path.name) in named]
        self.assertEqual(len(objects), self.parts[1])
        return objects

    def damaged_copy(self):
        """A site's repository with one byte flipped in the largest object; remembers which."""
        damaged = self.c.top / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        copy_repository(self.source / "repository", damaged)
        victim = max(self.objects_in(damaged), key=lambda p: p.stat().st_size)
        raw = bytearray(victim.read_bytes())
        raw[len(raw) // 2] ^= 1
        os.chmod(victim, 0o600)
        victim.write_bytes(raw)
        self.flipped = victim.name
        return damaged

    def damage_everywhere(self, repository):
        """One flipped byte in any file: exit code 14, the file named, and what to do; whatever level could see it."""
        key = self.pki / "backup.key"
        shutil.rmtree(repository)
        copy_repository(self.source / "repository", repository)
        for victim in [self.manifest_in(repository), *self.objects_in(repository)]:
            os.chmod(victim, 0o600)
            raw = victim.read_bytes()
            named = victim.name[-64:][:16]
            for offset in (0, 6, 60, 100, 188, 245, len(raw) // 3, len(raw) - 1):
                with self.subTest(file=victim.name, offset=offset):
                    damaged = bytearray(raw)
                    damaged[offset] ^= 4
                    victim.write_bytes(damaged)
                    for level, more in ((2, []), (3, ["--key-file", key])):
                        done = self.verify("ams", level, *more, repository=repository, check=False)
                        self.assertEqual(done.returncode, VERIFICATION, done.stderr + done.stdout)
                        self.assertIn(named, done.stderr)
                        self.assertIn("use another site's copy", done.stderr)
            victim.write_bytes(raw)
        self.verify("ams", 3, "--key-file", key, repository=repository)
        self.damaged_copy()

    def drill(self, repository, check=True):
        scratch = self.c.top / "drill"
        done = self.kluisctl("backup", "drill", self.snapshot, "--config", self.source / "kluisd.ini", "--key-file", self.pki / "backup.key",
                             "--repository", repository, "--scratch", scratch, "--kluisd", self.c.kluisd, "--no-record", check=check)
        self.assertFalse(scratch.exists())
        return done

    def drills_of_damage(self, repository):
        """Level 4, a restore of the copy that is booted: an object flipped, cut, missing or another one's bytes, and what it names."""
        shutil.rmtree(repository)
        copy_repository(self.source / "repository", repository)
        objects = sorted(self.objects_in(repository), key=lambda p: p.stat().st_size)
        small, large = objects[0], objects[-1]
        for victim, other in ((small, large), (large, small)):
            os.chmod(victim, 0o600)
            raw = victim.read_bytes()
            flipped = bytearray(raw)
            flipped[len(raw) // 2] ^= 1
            for what, now in (("flipped", bytes(flipped)), ("cut", raw[:-1]), ("empty", b""), ("swapped", other.read_bytes()), ("missing", None)):
                with self.subTest(what, object=victim.name):
                    victim.unlink()
                    if now is not None:
                        victim.write_bytes(now)
                    done = self.drill(repository, check=False)
                    self.assertEqual(done.returncode, VERIFICATION, done.stdout + done.stderr)
                    self.assertIn(victim.name[:16], done.stderr)
                    victim.write_bytes(raw)
        manifest = self.manifest_in(repository)
        os.chmod(manifest, 0o600)
        raw = manifest.read_bytes()
        for what, now in (("flipped", raw[:60] + bytes([raw[60] ^ 1]) + raw[61:]), ("cut", raw[:-1])):
            with self.subTest(what, manifest=manifest.name):
                manifest.write_bytes(now)
                done = self.drill(repository, check=False)
                self.assertEqual(done.returncode, VERIFICATION, done.stdout + done.stderr)
                self.assertIn(manifest.name[-64:][:16], done.stderr)
        manifest.write_bytes(raw)
        self.drill(repository)
        self.damaged_copy()

    def destroy(self):
        self.c.kill_all_at_once()
        for site in SITES:
            data = self.c.site_dir(site) / "data"

            def gone():  # A drill goes with its node, but a moment later.
                shutil.rmtree(data, ignore_errors=True)
                return not data.exists()
            wait_until(f"'{data}' is gone", 120, gone)

    def seal_secrets(self, site, *to):
        config = self.c.site_dir(site) / "kluisd.ini"
        return self.c.run([str(self.c.kluisd), "seal-secrets", "--config", str(config), *map(str, to)], True, 150).stdout

    def secrets_go_offline(self):
        """Sealed to the backup key: with that key all that is left of them once every site has lost its file."""
        self.offline = self.c.top / "secrets.sealed"
        self.offline.write_text(self.seal_secrets("ams", "--for-backup-key", self.pki / "backup.pub"))
        for site in SITES:
            (self.c.site_dir(site) / "secrets").unlink()

    def from_offline(self, copy=None, key=None):
        return ["--secrets", copy or self.offline, "--key-file", key or self.pki / "backup.key"]

    def refuse_bad_secrets(self):
        """Each is told by name, and leaves no secrets file; only then it comes to what else is missing."""
        good, bad = self.offline.read_text(), self.c.top / "bad.sealed"
        cases = {"sealed to backup key": (good, self.wrong_key), "is damaged": (good[:200] + ("A" if good[200] != "A" else "B") + good[201:], None),
                 "cut": (good[:100], None), "unknown version": (good[:6] + "I" + good[7:], None)}
        secrets = self.c.site_dir("ams") / "secrets"
        secrets.unlink(missing_ok=True)
        for what, (text, key) in cases.items():
            with self.subTest(what):
                bad.write_text(text)
                done = self.init("ams", *self.from_offline(bad, key), check=False)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(what, done.stderr)
                self.assertFalse(secrets.exists())
        for _ in range(2):  # It may be run again.
            done = self.init("ams", *self.from_offline(), check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("no restored store", done.stderr)
        # Not over others.
        secrets.chmod(0o600)
        secrets.write_bytes(b"damaged")
        secrets.chmod(0o400)
        self.assertIn(str(secrets), self.init("ams", *self.from_offline(), check=False).stderr)
        self.assertEqual(secrets.read_bytes(), b"damaged")
        secrets.unlink()

    def restore(self, site, *more, check=True, init=True, repository=None, key=None, record=None, restore_key=None):
        here = self.c.site_dir(site)
        which = ["--snapshot", self.snapshot] if self.snapshot else ["--to-newest"]
        done = self.kluisctl("restore", "cluster", "--config", here / "kluisd.ini", *which, "--repository",
                             repository or self.source / "repository", "--key-file", key or self.pki / "backup.key", "--restore-key",
                             restore_key or self.pki / "restore.key", "--record", record or self.c.top / "records", "--yes", *more,
                             check=check)
        if done.returncode == 0 and init:
            self.init(site, *self.from_offline())
        return done

    def check_nothing_left(self, site, done):
        """A restore that failed leaves no store that a node could start with, and names what was wrong."""
        here = self.c.site_dir(site)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stderr, r"(?m)^kluisctl: ")
        self.assertFalse((here / "data" / "db").exists(), "half a store")
        code, said = self.c.refused(site, "init", "--restored", "--development", *map(str, self.from_offline()))
        self.assertEqual(code, 1, said)
        self.assertIn("no restored store", said)
        code, said = self.c.refused(site)
        self.assertIn("is no node's data directory yet", said)
        self.assertEqual(code, 1)

    def refuse_bad_restores(self):
        plan = self.kluisctl(*self.plan_words())
        self.assertIn(self.snapshot, plan.stdout)
        self.assertRegex(plan.stderr, r"offline copy: .*/secrets \(not there\)")
        self.assertIs(self.plan()["store_there"], False)
        self.assertFalse((self.source / "data").exists(), "a plan does nothing")
        done = self.c.run(["env", "KLUIS_FAULT=backup.sort.:1:stay", str(self.c.kluisctl), *map(str, self.plan_words())], False, 300)
        self.assertIn(f"a sort file in '{self.source}', which needs room for 1 MiB", done.stderr)  # Beside the store that is to be.
        bad = {
            "a byte flipped in an object": dict(repository=self.c.top / "damaged"),
            "the wrong backup key": dict(key=self.wrong_key),
            "a repository without it": dict(repository=self.empty("none")),
            "the wrong key to sign the record": dict(restore_key=self.strange_restore_key()),
        }
        for name, how in bad.items():
            with self.subTest(name):
                record = self.c.top / "bad-records"
                done = self.restore("ams", check=False, init=False, record=record, **how)
                self.check_nothing_left("ams", done)
                if "repository" in how and name.startswith("a byte"):
                    self.assertIn(self.flipped[:16], done.stderr)
                record.unlink(missing_ok=True)

    def empty(self, name):
        path = self.c.top / name
        path.mkdir()
        return path

    def strange_restore_key(self):
        self.kluisctl("pki", "init", "--ec", "--dir", self.c.top / "other-pki")
        return self.c.top / "other-pki" / "restore.key"

    def forged_records(self):
        """A record that was changed, or that another key signed, is no ground to restore on."""
        good = (self.c.top / "records").read_bytes()
        self.assertEqual(len(good), RECORD_BYTES + 40 + 5 * 16)  # The record, and the list of what is deleted again.
        for offset in (5, 30, 60, 100, 120, 167, RECORD_BYTES + 10, len(good) - 1):
            with self.subTest(offset=offset):
                forged = bytearray(good)
                forged[offset] ^= 1
                record = self.c.top / "forged"
                record.write_bytes(forged)
                done = self.restore("rtd", check=False, init=False, record=record)
                self.check_nothing_left("rtd", done)
        self.record_made = good[:RECORD_BYTES]

    def all_show_the_records(self, records, sites=SITES):
        """Every node serves the operator's records from its store, oldest first."""
        for site in sites:
            restore = self.c.get(site, "/.well-known/kluis.json")[1]["restore"]
            self.assertEqual([base64.urlsafe_b64decode(r + "==") for r in restore["records"]], records, site)

    def they_stay_away(self):
        """Who left after the snapshot did not come back with it."""
        c = self.c
        rows = {row["name"]: row["state"] for row in json.loads(c.ctl("rtd", "-o", "json", "user", "list").stdout)["items"]}
        self.assertEqual(rows, {"anna": "deleted", "bert": "active", "dora": "active"})
        self.devices["anna"].login("--accept-restore", code=UNAUTHENTICATED)
        self.lost.login("--accept-restore", code=UNAUTHENTICATED)
        # To others only her statement says so, which is lost: she makes it anew.
        bert = self.devices["bert"]
        bert.login("--accept-restore")
        self.assertIn(("phone", "active"), bert.devices().values())
        bert.run("device", "revoke", "phone", "--yes")
        self.assertIn(("phone", "revoked"), bert.devices().values())
        # Who was removed has no access, with her old keys or by herself; an admin makes new keys, and lets her in again if he wants.
        dora = self.devices["dora"]
        dora.login("--accept-restore")
        dora.cat("b:/note", code=GONE)
        self.assertEqual({row["member"]: row["state"] for row in bert.run("vault", "members", "b")["items"]}, {"bert": "accepted", "dora": "declined"})
        bert.run("vault", "unshare", "b", "dora")
        bert.put("anew", "b:/note")
        self.let_in("read")
        self.assertEqual(dora.cat("b:/note"), "anew")
        done = c.client("-o", "json", "vault", "list", "--accept-restore", profile=self.leaver)
        self.assertEqual(json.loads(done.stdout)["items"], [], done.stdout)

    def standby_without_store(self):
        """The standby begins with the new lineage and an empty log: it gets its store from a peer, by checkpoint."""
        here = self.c.site_dir(SITES[-1])
        identity = (here / "data" / "identity").read_bytes()
        shutil.rmtree(here / "data")
        self.c.run([str(self.c.kluisd), "init", "--development", "--config", str(here / "kluisd.ini")], True, 150)
        (here / "data" / "identity").write_bytes(identity)
        return self.c.log_mark(SITES[-1])

    def at_terminal(self, answer, profile):
        """Exit status of a verify at a terminal of its own, where a person answers the one question."""
        child, terminal = pty.fork()
        if child == 0:
            os.execv(self.c.kluis, [str(self.c.kluis), "--yes", "--profile", str(profile), "verify", "v"])
        try:
            self.read_until(terminal, b"Type yes to go on: ")
            os.write(terminal, answer.encode() + b"\n")
            self.read_until(terminal, None)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os.close(terminal)

    def read_until(self, terminal, text):
        """Until text was said, or (None) the other side has closed."""
        said = b""
        while text is None or text not in said:
            self.assertTrue(select.select([terminal], [], [], 120)[0], said)
            try:
                more = os.read(terminal, 4096)
            except OSError:  # EIO: closed, as Linux tells it.
                more = b""
            if not more:
                self.assertIsNone(text, said)
                return
            said += more

    def client_comes_back(self):
        c = self.c
        # Every read is refused until the user agreed, and says what was restored, from when.
        done = c.client("verify", "v", profile=self.profile, check=False)
        self.assertEqual(done.returncode, PIN_CHANGED, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, r"(?i)restore")
        self.assertIn("--accept-restore", done.stdout + done.stderr)
        self.assertEqual(c.client("ls", "v:/", profile=self.profile, check=False).returncode, PIN_CHANGED)
        # --yes answers the command's own question, not this one.
        self.assertEqual(c.client("--yes", "verify", "v", profile=self.profile, check=False).returncode, PIN_CHANGED)
        self.assertEqual(c.client("verify", "v", profile=self.profile, check=False).returncode, PIN_CHANGED)
        asked = shutil.copytree(self.profile, c.top / "asked")
        self.assertEqual(self.at_terminal("no", asked), PIN_CHANGED)
        self.assertEqual(self.at_terminal("yes", asked), 0)
        c.client("verify", "v", "--accept-restore", profile=self.profile)
        c.client("verify", "v", profile=self.profile, endpoint="mst")
        out = c.top / "out"
        c.client("get", "-r", "v:/", out, profile=self.profile, endpoint="mst")
        for name, path in self.files.items():
            self.assertEqual((out / name).read_bytes(), path.read_bytes(), name)
        self.assertFalse((out / "late").exists(), "it was not in the snapshot")

    def only(self, site, sites):
        """Settings that name these sites alone."""
        path = self.c.site_dir(site) / "kluisd.ini"
        parts = path.read_text().split("\n[")
        path.write_text("\n[".join(p for p in parts if not p.startswith("site ") or p.split("]")[0][5:] in sites))

    def onto_other_hosts(self, sites):
        """Other addresses for their clients and for each other, and certificates that were issued for them now."""
        c, old = self.c, self.c.base_port
        c.base_port = free_ports()
        (c.dir / "base-port").write_text(f"{c.base_port}\n")
        for site in sites:
            here = c.site_dir(site)
            text = (here / "kluisd.ini").read_text()
            for at in (*range(len(SITES)), *range(10, 10 + len(SITES))):
                text = text.replace(f"127.0.0.1:{old + at}\n", f"127.0.0.1:{c.base_port + at}\n")
            (here / "kluisd.ini").write_text(text)
            for name in ("api.pem", "api.key", "link.pem", "link.key"):
                (here / name).unlink()
            self.kluisctl("pki", "issue", "--dir", self.pki, "--node", SITES.index(site) + 1, "--host", "127.0.0.1", "--out", here)

    def init(self, site, *more, check=True):
        here = self.c.site_dir(site)
        return self.c.run([str(self.c.kluisd), "init", "--restored", "--development", "--config", str(here / "kluisd.ini"), *map(str, more)],
                          check, 120)

    def init_without_secrets(self, site, other):
        """Without them no node begins; from another's, sealed to this node's key, it does."""
        here, sealed = self.c.site_dir(site), self.c.top / "sealed"
        (here / "secrets").unlink()
        done = self.init(site, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("no secrets", done.stderr)
        sealed.write_text(self.seal_secrets(other, "--for", here / "link.pem"))
        self.init(site, "--secrets", sealed)

    def journal_each_second(self):
        for site in SITES:
            path = self.c.site_dir(site) / "kluisd.ini"
            path.write_text(path.read_text().replace("[backup]\n", "[backup]\njournal_s = 1\n", 1))

    def journals_at(self, site):
        """What the site's repository has of the journal: raft indexes, the newest first."""
        rows = json.loads(self.kluisctl("-o", "json", "snapshot", "list", "--repository", self.c.site_dir(site) / "repository", "--config",
                                        self.c.site_dir(site) / "kluisd.ini").stdout)["items"]
        return sorted((row["index"] for row in rows if row["kind"] == "journal"), reverse=True)

    def recovered_until(self, before):
        """Once all that was written until now is in a point that enough sites hold: its raft index. Of what it has not applied yet
        a site says nothing. An increment that too few sites have, for its taker died, is overtaken after two minutes."""
        written = self.c.applied()
        wait_until("gro has applied that", 120, lambda: self.c.applied(["gro"]) >= written)
        return self.told("gro", "the journal has it", lambda now: now["recovery_age_ms"] == 0 and now["recovery_index"] > before,
                         300)["recovery_index"]

    def newest_minute(self):
        """A cycle, and then writes that only journal increments have: a site's copy of them, and the newest point's index."""
        c = self.c
        c.client("put", self.files["page"], "v:/before", profile=self.profile)
        taken = json.loads(c.ctl("utr", "-o", "json", "backup", "run", "--wait", "--timeout", "300", timeout=330).stdout)["id"]
        index = self.told("gro", "gro knows of the cycle", lambda now: now["newest"] == taken)["recovery_index"]
        for name in ("small", "large"):
            c.client("put", self.files[name], "v:/after", profile=self.profile)
            index = self.recovered_until(index)
        c.kill("utr")  # Who takes them: another site does, built on what it has.
        c.client("rm", "v:/before", profile=self.profile)
        index = self.recovered_until(index)
        taker = SITES[self.told("gro", "who took it", lambda now: now["recovery_index"] == index)["journal_node"] - 1]
        self.assertNotEqual(taker, "utr")
        holder = wait_until("another site has the newest increment", 120,
                            lambda: next((s for s in SITES if s not in ("utr", taker) and index in self.journals_at(s)), None))
        self.source = c.site_dir(holder)
        plan = {flag: json.loads(self.kluisctl("-o", "json", "restore", "plan", "--config", self.source / "kluisd.ini", *flag).stdout)
                for flag in ((), ("--to-newest",))}
        self.assertEqual((plan[()]["id"], plan[()]["journals"]), (taken, 0), plan)
        self.assertEqual(plan[("--to-newest",)]["index"], index, plan)
        self.assertGreater(plan[("--to-newest",)]["journals"], 0, plan)
        # One vault as of that minute: what only the increments have, and not what they say is gone.
        copy = c.top / "newest-copy"
        self.restore_vault(self.vault, copy, "--to-newest")
        c.client("--copy", copy, "get", "v:/after", c.top / "newest-after", profile=self.profile)
        self.assertEqual((c.top / "newest-after").read_bytes(), self.files["large"].read_bytes())
        done = c.client("--copy", copy, "get", "v:/before", c.top / "newest-before", profile=self.profile, check=False)
        self.assertEqual(done.returncode, GONE, done.stderr)
        # When nothing changes nothing is written, however many seconds pass.
        c.start("utr")

        def calm():
            """What comes back may bring a change of its own."""
            had, number = self.journals_at(holder), self.told("gro", "the newest number", lambda now: True)["journal_number"]
            time.sleep(3)
            return (self.journals_at(holder), self.told("gro", "it still is", lambda now: True)["journal_number"]) == (had, number)
        wait_until("three seconds without an increment", 120, calm)

    def restore_again(self):
        """The new cluster takes writes, snapshots and journal increments of its own; restored from them onto three other hosts, one of which
        has lost its secrets, it shows both records, and a client follows: not one write is missing."""
        c = self.c
        self.newest_minute()
        self.snapshot = None
        self.destroy()
        record = c.top / "second-record"
        fewer = SITES[:3]
        for site in fewer:
            self.restore(site, record=record, init=False)
            self.only(site, fewer)
        self.onto_other_hosts(fewer)
        self.init_without_secrets(fewer[1], fewer[0])
        for site in fewer:
            if site != fewer[1]:
                self.init(site)
            c.spawn(site)
        c.wait_ready(fewer)
        self.all_show_the_records([self.record_made, record.read_bytes()[:RECORD_BYTES]], fewer)
        # One client saw the first restore, the other slept through both.
        for profile in (self.profile, self.sleeper):
            self.assertEqual(c.client("verify", "v", profile=profile, check=False, endpoint=fewer[0]).returncode, PIN_CHANGED)
            c.client("verify", "v", "--accept-restore", profile=profile, endpoint=fewer[0])
        back = c.top / "after"
        c.client("get", "v:/after", back, profile=self.sleeper, endpoint=fewer[2])
        self.assertEqual(back.read_bytes(), self.files["large"].read_bytes())
        self.assertEqual(c.client("get", "v:/before", back, profile=self.sleeper, endpoint=fewer[2], check=False).returncode, GONE)
        # A person signs in where the secrets came back sealed.
        bert, there = self.devices["bert"], ["--endpoint", c.url(fewer[1])]
        bert.login(*there, "--accept-restore")
        self.assertEqual(bert.call(*there, "--accept-restore", "cat", "b:/note").stdout, "anew")
        # Who was let in again since the first restore stays in, though its journals still know of the removal.
        dora = self.devices["dora"]
        dora.login(*there, "--accept-restore")
        self.assertEqual(dora.call(*there, "--accept-restore", "cat", "b:/note").stdout, "anew")


if __name__ == "__main__":
    unittest.main(verbosity=2)
