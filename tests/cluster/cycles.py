#!/usr/bin/env python3
"""Cycles of backups in seconds instead of hours: six real kluisd, six real sshd, a vault that changes all the time.

    cycles.py [--cycles N] [--interval S] [--seed N]

The taker of a cycle is killed, a receiver's sshd is stopped, a site is stopped, in turn and one cycle each; in the twelfth a
site loses its repository. After each cycle `backup status` is held against the six repositories, and the new point is
verified. At the end every promised point is verified at every site down to its state root and restored byte for byte; with
more cycles than are kept, what is older has gone; and the cluster is restored from the copies of one site and read by a
client. tests/cluster/test_clock.py has the short form. Exit status: 0 all held, 1 not, 2 usage."""
import argparse
import shutil
import sys
import unittest

from backups import CYCLES_KEPT, PROMISED, Backups
from cluster import SITES, Cluster, wait_until

TURN = 12  # Cycles until the faults come again.
LOSER = "gro"  # What it took itself nobody ships back: its copies alone are not enough from then on.


class Cycles(unittest.TestCase):
    options, lost = None, False

    def test_cycles(self):
        with Cluster(backup_interval=self.options.interval) as cluster:
            self.c = cluster
            self.b = Backups(self, cluster, self.options.seed)
            self.b.next_cycle()
            for cycle in range(2, self.options.cycles + 1):
                self.one_cycle(cycle)
            self.b.promises_hold(self.whole())
            self.b.agreement()
            for site in SITES:
                self.b.status_is_true(site)
            if self.options.cycles > CYCLES_KEPT:
                self.b.forgets(self.whole())
                self.b.promises_hold(self.whole())
                self.b.status_is_true()
            self.restore_cluster()

    def one_cycle(self, cycle):
        b, fault = self.b, {3: self.taker_killed, 6: self.receiver_stopped, 9: self.site_stopped}.get(cycle % TURN)
        if cycle == TURN:
            fault = self.repository_lost
        row = fault(cycle) if fault else b.next_cycle()
        print(f"cycle {row['cycle']}: S {row['index']}, {row['bytes']} bytes, taken at {SITES[row['node'] - 1]}"
              f"{', ' + fault.__name__.replace('_', ' ') if fault else ''}", flush=True)
        if not fault:
            b.status_is_true()
        holders = [SITES[node - 1] for node in row["confirmed_by"]]
        self.b.points_verify([site for site in holders if site in self.whole()][:1], [row])

    def victim(self, cycle):
        return SITES[cycle // TURN % len(SITES)]

    def taker_killed(self, _cycle):
        """Another site takes it over; what the first one did counts, if enough sites had all of it, or not at all."""
        b = self.b
        before = b.newest()
        site, snapshot = b.kill_taker()
        row = b.next_cycle(before)
        b.status_is_true(away=[site])
        self.c.start(site)
        killed = next(r for r in b.snapshots() if r["id"] == snapshot)
        self.assertIn(killed["state"], ("failed", "shipped", "confirmed"))
        return row

    def receiver_stopped(self, cycle):
        """The others hold the cycle; it gets there when the receiver is back."""
        b, site = self.b, self.victim(cycle)
        b.sshd_stop(site)
        node = SITES.index(site) + 1
        row = b.next_cycle(check=lambda row: row["node"] != node and node not in row["confirmed_by"])
        b.status_is_true()
        self.assertNotIn(row["manifest_hash"], b.disks[site].held())
        b.sshd_start(site)
        wait_until(f"cycle {row['cycle']} comes to {site}", 120, lambda: row["manifest_hash"] in b.disks[site].held())
        return row

    def site_stopped(self, cycle):
        b, site = self.b, self.victim(cycle)
        self.c.stop(site)
        row = b.next_cycle()
        b.status_is_true(away=[site])
        self.c.start(site)
        wait_until(f"cycle {row['cycle']} comes to {site}", 120, lambda: row["manifest_hash"] in b.disks[site].manifests())
        return row

    def repository_lost(self, _cycle):
        """It says so by itself, and gets again what others took."""
        c, b = self.c, self.b
        c.stop(LOSER)
        shutil.rmtree(b.disks[LOSER].path)
        b.disks[LOSER].path.mkdir(mode=0o700)
        c.start(LOSER)
        self.lost = True

        def told():
            return not [row["id"] for row in b.confirmed() if SITES.index(LOSER) + 1 in row["confirmed_by"] and
                        row["manifest_hash"] not in b.disks[LOSER].held()]
        wait_until(f"no record names a copy that {LOSER} has lost", 120, told)
        b.settled()
        return b.next_cycle()

    def whole(self):
        return [site for site in SITES if not self.lost or site != LOSER]

    def restore_cluster(self):
        """The oldest promised point with the vault, from one site's copies alone; every other repository is gone."""
        c, b = self.c, self.b
        row = next(row for row in b.settled()[-PROMISED:] if None not in b.contents(row["index"]))
        source, key = self.whole()[row["node"] % len(self.whole())], c.dir / "pki" / "backup.key"
        c.kill_all_at_once()
        for site in SITES:
            for part in ("data", *(["repository"] if site != source else [])):
                shutil.rmtree(c.site_dir(site) / part)
            (c.site_dir(site) / "repository").mkdir(mode=0o700, exist_ok=True)
        for site in SITES:
            ini = str(c.site_dir(site) / "kluisd.ini")
            c.run([str(c.kluisctl), "restore", "cluster", "--config", ini, "--snapshot", row["id"], "--repository",
                   str(c.site_dir(source) / "repository"), "--key-file", str(key), "--restore-key", str(c.dir / "pki" / "restore.key"),
                   "--record", str(c.top / "record"), "--yes"], True, 120)
            c.run([str(c.kluisd), "init", "--restored", "--development", "--config", ini], True, 150)
        for site in SITES:
            c.spawn(site)
        c.wait_ready()
        c.client("verify", b.vault, "--accept-restore", profile=b.profile)
        for site in SITES:
            b.same(f"at {site} after the restore", row["index"], endpoint=site)
        # Nothing of before is promised any more, and the first cycle of the new lineage is whole by itself.
        self.assertEqual([r for r in b.snapshots() if r["index"] <= row["index"]], [])
        first = wait_until("the new cluster's first cycle", 90, lambda: next(iter(b.confirmed()), None))
        self.assertEqual((first["cycle"], first["kind"]), (1, "full"))
        b.status_is_true()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--interval", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    Cycles.options = parser.parse_args()
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(Cycles))
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    main()
