#!/usr/bin/env python3
"""A store that differs, is damaged or is gone is made anew from a peer, under the node's id and behind its log."""
import json
import os
import shutil
import subprocess
import unittest

from cluster import SITES, Cluster, build_dir, wait_until

VICTIM = "gro"
KEY_VAULT, KEY_AUDIT, KEY_BY_INDEX = "0x20", "0x51", "0xf1"
VERIFICATION = 14


class Rebuild(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        Cluster.for_class(cls)
        cls.puts = 0
        for _ in range(3):
            cls.put(os.urandom(3 << 20))

    @classmethod
    def put(cls, data=None):
        cls.puts += 1
        path, name = cls.cluster.top / "in", f"f{cls.puts}"
        path.write_bytes(data or os.urandom(100000))
        cls.cluster.client("put", path, f"v:/{name}", profile=cls.profile, endpoint="utr")
        return name, path.read_bytes()

    def check_everything(self, site, kept):
        out = self.cluster.top / f"out-{site}"
        shutil.rmtree(out, ignore_errors=True)
        self.cluster.client("get", "-r", "v:/", out, profile=self.profile, endpoint=site)
        for name, data in kept:
            self.assertEqual((out / name).read_bytes(), data)

    def status(self, site):
        return json.loads(self.cluster.ctl(site, "-o", "json", "status").stdout)["items"][0]

    def wait_one_hash(self, seconds=120):
        def equal():
            rows = [self.status(site) for site in SITES]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until("one state hash everywhere", seconds, equal)

    def promises(self):
        """What must not change: which log it is, and whom it has met."""
        data = self.cluster.site_dir(VICTIM) / "data"
        return (data / "log" / "state").read_bytes()[16:32], (data / "peers").read_bytes()[16:40]

    def rebuild_by_command(self):
        said = subprocess.run([str(self.cluster.kluisd), "rebuild", "--config", str(self.cluster.site_dir(VICTIM) / "kluisd.ini")],
                              capture_output=True, text=True, timeout=150)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertIn("given up", said.stdout)

    def comes_back(self, mark, kept):
        """Shows clients nothing before it is rebuilt, then everything, and agrees with the others."""
        c = self.cluster
        c.wait_log(VICTIM, mark, "op=rebuild state=done", 180)
        wait_until("ready again", 120, lambda: c.get(VICTIM, "/readyz")[0] == 200)
        kept.append(self.put())
        self.check_everything(VICTIM, kept)
        self.wait_one_hash()

    def damage_rows(self, family, *how):
        """Of the stopped victim, which is started again; where its log was."""
        c = self.cluster
        c.stop(VICTIM)
        done = subprocess.run([str(build_dir() / "tests" / "cluster" / "forget_rows"), str(c.site_dir(VICTIM) / "data" / "db"), family, *how],
                              capture_output=True, text=True, check=True)
        self.assertGreater(int(done.stdout), 0)
        mark = c.log_mark(VICTIM)
        c.start(VICTIM)
        return mark

    def roots(self):
        """What each site said of the newest snapshot's state root, as another one than the victim shows it."""
        shown = self.cluster.ctl("ams", "-o", "json", "backup", "status", check=False)
        return {row["site"]: (row["state"], row["id"]) for row in (json.loads(shown.stdout)["state_roots"] if shown.stdout else [])}

    def wait_code(self, code):
        """Of `backup status`, which follows from all that is known there: copies that come and links that are up, too."""
        wait_until(f"exit code {code}", 120, lambda: self.cluster.ctl("ams", "backup", "status", check=False).returncode == code,
                   lambda: self.cluster.ctl("ams", "backup", "status", check=False))

    def alarm(self):
        return self.cluster.alarm("ams", "state-root")

    def test_rows_that_rot(self):
        """Flipped in the store of one site, under checksums that are right and where nothing reads them: the next snapshot's state
        root names the site at every other one, whether a value is another one or what by_index says of it, and its store is made
        anew. The snapshot, which another site takes, counts; the one after it finds all sites agree."""
        c = self.cluster
        for family in (KEY_AUDIT, KEY_BY_INDEX):
            with self.subTest(family=family):
                mark = self.damage_rows(family, "rot")
                wait_until("ready", 120, lambda: c.get(VICTIM, "/readyz")[0] == 200)
                saved = json.loads(c.ctl("utr", "-o", "json", "snapshot", "save", "--wait").stdout)["id"]
                wait_until("it is named", 120, lambda: self.roots().get(VICTIM) == ("differs", saved))
                wait_until("the others agree", 120, lambda: {
                    site: root for site, root in self.roots().items() if site != VICTIM} == {
                    site: ("agrees", saved) for site in SITES if site != VICTIM})
                self.wait_code(VERIFICATION)
                alarm = wait_until("the alarm", 120, self.alarm)
                self.assertEqual(alarm["severity"], "critical")
                self.assertIn(f"'{VICTIM}'", alarm["text"])
                self.assertIn(f'kluis_backup_state_root_differs{{node="{SITES.index(VICTIM) + 1}"}} 1',
                              c.run(["curl", "-sS", "-m", "120", "--unix-socket", str(c.site_dir("ams") / "admin.sock"),
                                     "http://localhost/metrics"], True, 150).stdout)
                self.comes_back(mark, [])
        saved = json.loads(c.ctl("utr", "-o", "json", "snapshot", "save", "--wait").stdout)["id"]
        wait_until("all agree", 120, lambda: set(self.roots().values()) == {("agrees", saved)})
        self.wait_code(0)
        wait_until("no alarm", 120, lambda: self.alarm() is None)

    def test_one_that_differs(self):
        """Its vaults are gone: it refuses what all others accept, is found out, rebuilt and judged again by itself."""
        c = self.cluster
        before = self.promises()
        mark = self.damage_rows(KEY_VAULT)
        kept = [self.put() for _ in range(5)]
        c.wait_log(VICTIM, mark, "op=state_hash", 180)
        self.comes_back(mark, kept)
        self.assertEqual(self.promises(), before)

    def test_damaged_files(self):
        """Every kind of file of the store, in turn: refused or noticed, never served; then made anew by command."""
        c = self.cluster
        data = c.site_dir(VICTIM) / "data"
        for pattern in ("CURRENT", "MANIFEST-*", "*.sst"):
            with self.subTest(pattern=pattern):
                kept = [self.put()]
                before = self.promises()
                c.stop(VICTIM)
                path = sorted((data / "db").glob(pattern))[-1]
                size = path.stat().st_size
                with open(path, "r+b") as file:  # Zeroed in the middle and cut at the end.
                    file.seek(size // 3)
                    file.write(bytes(size // 3))
                    file.truncate(size - 1)
                code, said = c.refused(VICTIM)
                self.assertEqual(code, 1, said)
                self.assertIn("kluisd rebuild", said)
                self.rebuild_by_command()
                mark = c.log_mark(VICTIM)
                c.spawn(VICTIM)
                self.comes_back(mark, kept)
                self.assertEqual(self.promises(), before)

    def test_lost_store_and_killed_on_the_way(self):
        """Killed again and again while it fetches: goes on, or begins anew."""
        c = self.cluster
        c.stop(VICTIM)
        shutil.rmtree(c.site_dir(VICTIM) / "data" / "db")
        self.rebuild_by_command()
        for _ in range(4):
            mark = c.log_mark(VICTIM)
            c.spawn(VICTIM)
            c.wait_log(VICTIM, mark, "op=", 180)
            kept = [self.put()]
            c.kill(VICTIM)
        c.spawn(VICTIM)
        wait_until("ready again", 120, lambda: c.get(VICTIM, "/readyz")[0] == 200)
        self.check_everything(VICTIM, kept)
        self.wait_one_hash()

    def test_not_while_it_runs(self):
        said = self.cluster.refused(VICTIM, "rebuild")
        self.assertNotEqual(said[0], 0)
        self.assertTrue((self.cluster.site_dir(VICTIM) / "data" / "db").exists())
        self.assertFalse((self.cluster.site_dir(VICTIM) / "data" / "rebuild").exists())

    def test_not_without_its_log(self):
        c = self.cluster
        c.stop(VICTIM)
        vote = c.site_dir(VICTIM) / "data" / "log" / "vote"
        whole = vote.read_bytes()
        vote.write_bytes(bytes(len(whole)))
        code, said = c.refused(VICTIM, "rebuild")
        self.assertEqual(code, 1)
        self.assertIn("member replace", said)
        self.assertTrue((c.site_dir(VICTIM) / "data" / "db").exists())
        vote.write_bytes(whole)
        c.start(VICTIM)


if __name__ == "__main__":
    unittest.main(verbosity=2)
