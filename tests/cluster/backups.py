"""Backups of six real sites, held against what their disks have: what `backup status` says, and every promised point.

A vault is changed step by step, each a commit of its own. The log's index before and behind each step says which steps a
snapshot has, so every point has one content (two, while its S lies within a step), byte for byte."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

from cluster import SITES, wait_until

PROMISED = 42  # Points.
CYCLES_KEPT = 83
PASSED, MISSING, GONE, BEHIND = 0, 3, 10, 11


class Disk:
    """What one site's repository has."""

    def __init__(self, cluster, site):
        self.site, self.node, self.path = site, SITES.index(site) + 1, cluster.site_dir(site) / "repository"

    def manifests(self):
        """Manifest hash -> S."""
        found = {}
        for entry in os.listdir(self.path / "manifests") if (self.path / "manifests").exists() else []:
            _, index, manifest = entry.split("-")
            found[manifest] = int(index, 16)
        return found

    def held(self):
        """Manifest hashes of the copies that this site says it has: it wrote a receipt behind all of it."""
        receipts = os.listdir(self.path / "receipts") if (self.path / "receipts").exists() else []
        own = {name.split("-")[0] for name in receipts if int(name.split("-")[1], 16) == self.node}
        return own & set(self.manifests())

    def objects(self):
        return [entry for part in (self.path / "objects").glob("*") for entry in part.iterdir()]


class Backups:
    """The vault, its history, and what the cluster says and holds of it. Faults are of real processes."""

    def __init__(self, test, cluster, seed=1):
        self.test, self.c, self.random = test, cluster, random.Random(seed)
        self.profile = cluster.enrol("keeper")
        self.vault, self.files = "kept", {}
        self.history = [(0, 0, None)]  # (index before, index behind, content then; None: no vault)
        self.disks = {site: Disk(cluster, site) for site in SITES}
        self.source = cluster.top / "step"
        self.record(lambda: cluster.client("vault", "create", self.vault, profile=self.profile))
        self.vault_id = json.loads(cluster.client("-o", "json", "vault", "list", profile=self.profile).stdout)["items"][0]["id"]
        self.put("constant", 300_000)  # Never touched again: only slices bring it into later snapshots.

    # --- changes ---

    def record(self, change):
        """No entry that comes later has the index of before, or a lower one."""
        before = self.c.applied()
        change()
        self.history.append((before, wait_until("a node that is ready", 120, self.c.applied), dict(self.files)))

    def put(self, name, size):
        def change():
            self.files[name] = self.random.randbytes(size)
            self.source.write_bytes(self.files[name])
            self.c.client("put", self.source, f"{self.vault}:/{name}", profile=self.profile)
        self.record(change)

    def remove(self, name):
        def change():
            del self.files[name]
            self.c.client("rm", f"{self.vault}:/{name}", profile=self.profile)
        self.record(change)

    def step(self):
        changing = sorted(set(self.files) - {"constant"})
        if len(changing) > 5 and self.random.random() < 0.4:
            self.remove(self.random.choice(changing))
        else:
            self.put(f"f{self.random.randrange(9)}", self.random.choice([0, 100, 5000, 60_000, 200_000]))

    def contents(self, index):
        """What the vault may have been at S."""
        least = max((i for i, row in enumerate(self.history) if row[1] <= index), default=0)
        most = max((i for i, row in enumerate(self.history) if row[0] < index), default=0)
        return [row[2] for row in self.history[least:most + 1]]

    # --- what the cluster says ---

    def ask(self):
        """A site whose node is up."""
        return wait_until("a node that is ready", 120, lambda: next((s for s in SITES if self.c.get(s, "/readyz")[0] == 200), None))

    def snapshots(self, site=None):
        """Records of cycles, oldest first."""
        items = json.loads(self.c.ctl(site or self.ask(), "-o", "json", "snapshot", "list").stdout)["items"]
        return [item for item in reversed(items) if item["cycle"] > 0]

    def confirmed(self, site=None):
        return [item for item in self.snapshots(site) if item["state"] == "confirmed"]

    def newest(self):
        rows = self.confirmed()
        return rows[-1] if rows else {"slot": 0, "id": "0", "index": 0}

    def cycles(self):
        """What each cycle stands for, oldest first: a cycle that was overtaken may have been confirmed twice."""
        return sorted({row["cycle"]: row for row in sorted(self.confirmed(), key=lambda row: row["index"])}.values(), key=lambda row: row["cycle"])

    def next_cycle(self, after=None, seconds=240, check=lambda row: True):
        """Takes steps until a cycle behind `after` (default: now's newest) is confirmed; its record."""
        after = after or self.newest()

        def come():
            self.step()
            time.sleep(0.2)  # Changes all the time, but not so many that cycles have to wait for the machine.
            return next((row for row in self.confirmed() if row["index"] > after["index"] and check(row)), None)
        return wait_until(f"a cycle behind {after['id']}", seconds, come)

    def running(self):
        """The claim that stands, and that not enough sites have confirmed."""
        return self.c.admin(self.ask(), "/v1/sys/schedule")["running"]

    # --- faults ---

    def kill_taker(self):
        """In the middle of what it does for a cycle. Who it was, and of which record."""
        running = wait_until("a claim", 120, self.running)
        self.c.kill(running["site"])
        return running["site"], running["id"]

    def sshd_signal(self, site, number):
        """To the server, and then to all of its sessions; which they are."""
        signalled = []
        waiting = [int((self.c.site_dir(site) / "sshd.pid").read_text())]
        while waiting:
            pid = waiting.pop(0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            signalled.append(pid)
            children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, timeout=150).stdout.split()
            waiting += map(int, children)
        return signalled

    def sshd_stop(self, site):
        """As a machine's: the server and all of its sessions."""
        pid = self.sshd_signal(site, signal.SIGTERM)[0]
        (self.c.site_dir(site) / "sshd.pid").unlink()
        self.c.wait_gone(pid)

    @contextlib.contextmanager
    def sshd_frozen(self, site):
        """It takes connections, and not a byte of what they send."""
        frozen = self.sshd_signal(site, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def sshd_start(self, site):
        here = self.c.site_dir(site)
        script = 'cd "$1" && { setsid "$2" -D -e -f "$1/sshd/sshd_config" >>sshd.log 2>&1 </dev/null & echo $! >sshd.pid; }'
        subprocess.run(["bash", "-c", script, "sshd", str(here), shutil.which("sshd") or "/usr/sbin/sshd"], check=True, timeout=150)

    # --- truth ---

    def list_disk(self, site):
        """Manifest hash -> what the manifest there says of itself."""
        here = self.c.site_dir(site)
        done = self.c.run([str(self.c.kluisctl), "-o", "json", "snapshot", "list", "--repository", str(here / "repository"),
                           "--config", str(here / "kluisd.ini")], True, 150)
        return {row["manifest_hash"]: row for row in json.loads(done.stdout)["items"]}

    def keys(self):
        """The private backup key, and behind a rotation the old one, too."""
        return [word for key in sorted((self.c.dir / "pki").glob("backup*.key")) for word in ("--key-file", str(key))]

    def verify(self, row, site, level):
        here = self.c.site_dir(site)
        key = self.keys() if level == 3 else []
        done = self.c.run([str(self.c.kluisctl), "-o", "json", "snapshot", "verify", row["id"], "--level", str(level), "--repository",
                           str(here / "repository"), "--config", str(here / "kluisd.ini"), *key], True, 120)
        return json.loads(done.stdout)

    def status_is_true(self, site=None, away=(), newest=4):
        """What a site's `backup status` says, against the repositories of all: every copy it names is there, with signature
        and sizes, for the newest few records; and every copy that is there it names, or soon does. away: sites that are
        down, whose copies it must name apart and not count."""
        site = site or self.ask()
        before = {}

        def linked():
            """A link may break on a busy machine: what is said then is of another time."""
            before.update((s, d.held()) for s, d in self.disks.items())
            if self.offline(site) != set(away):
                return None
            status, code = self.status(site)
            named = {name for row in self.whole(status) for name in row["away"].split()}
            return (status, code) if status and named <= set(away) else None
        status, code = wait_until(f"{site} has links to all", 120, linked)
        whole = self.whole(status)
        for row in whole:
            self.copies_are_there(row, away)
        for row in whole[:newest]:
            for holder in row["sites"].split():
                found = self.verify(row, holder, 1)
                self.test.assertEqual((found["ok"], found["bytes"], found["objects"]), (True, row["bytes"], row["objects"]), row)
        self.summary_follows(status, code)
        wait_until(f"the status at {site} names each copy that is there", 120, lambda: not self.unnamed(site, before))
        return status

    def status(self, site):
        """(what it says, its exit code); a node that knows no leader just now says nothing."""
        done = self.c.ctl(site, "-o", "json", "backup", "status", check=False)
        return json.loads(done.stdout) if done.stdout else None, done.returncode

    @staticmethod
    def whole(status):
        return [row for row in status["items"] if row["state"] in ("shipped", "confirmed")] if status else []

    def offline(self, site):
        return {row["site"] for row in json.loads(self.c.ctl(site, "-o", "json", "member", "list").stdout)["items"] if not row["online"]}

    def copies_are_there(self, row, away):
        t = self.test
        sites, gone = row["sites"].split(), row["away"].split()
        t.assertEqual(len(sites) + len(gone), len(row["confirmed_by"]), row)
        t.assertEqual(set(sites) & set(away), set(), row)
        t.assertLessEqual(set(gone), set(away), row)
        t.assertEqual(row["taker"], SITES[row["node"] - 1])
        t.assertNotIn(row["taker"], sites + gone)
        for holder in sites:
            disk = self.disks[holder]
            t.assertIn(row["manifest_hash"], disk.held(), (holder, row))
            t.assertEqual(disk.manifests()[row["manifest_hash"]], row["index"], (holder, row))

    def summary_follows(self, status, code):
        t = self.test
        done = [row for row in status["items"] if row["state"] == "confirmed"]
        if not done:
            t.assertIsNone(status["newest"])
            return
        newest = max(done, key=lambda row: row["index"])
        t.assertEqual(status["newest"], newest["id"])
        t.assertEqual(status["newest_copies"], len(newest["sites"].split()))
        t.assertEqual(status["newest_away"], newest["away"])
        failed = [row for row in status["items"] if row["state"] == "failed" and int(row["id"]) > int(newest["id"])]
        t.assertEqual(status["failed_since"], len(failed))
        late = [root for root in status["state_roots"] if root["state"] == "late"]
        short = status["newest_copies"] < status["confirmations_needed"] or failed or late
        if [row for row in status["checks"] if not row["ok"]]:
            return  # It says that, and what is wrong hangs on when.
        if status["stopped"] is None and (status["recovery_late"] or status["deletions_late"]):
            t.assertEqual(code, BEHIND, status)
        else:
            t.assertEqual(code, MISSING if status["stopped"] or short else PASSED, status)

    def unnamed(self, site, held):
        rows = {row["manifest_hash"]: row for row in self.whole(wait_until(f"a status at {site}", 120, lambda: self.status(site)[0]))}
        return [(holder, rows[copy]["id"]) for holder, copies in held.items() for copy in copies
                if copy in rows and holder not in rows[copy]["sites"].split() + rows[copy]["away"].split()]

    def agreement(self):
        """All replicas had one state at a newest snapshot."""
        def all_said():
            reports = self.c.admin(self.ask(), "/v1/sys/schedule")["agreement"]["reports"]
            self.test.assertLessEqual(len({row["state_hash"] for row in reports}), 1, reports)
            return len(reports) == len(SITES)
        wait_until("all report their state at one S", 120, all_said)

    # --- points ---

    def settled(self, seconds=300):
        """Waits until every site has every cycle that is kept, as of now; all cycles."""
        newest = self.cycles()[-1]["cycle"]

        def all_have():
            rows = [row for row in self.cycles() if row["cycle"] <= newest]
            return rows if all(len(row["confirmed_by"]) == len(SITES) - 1 for row in rows[-CYCLES_KEPT:]) else None
        return wait_until("every site has every cycle", seconds, all_have)

    def points_verify(self, sites, rows):
        """Each of these points, out of the copies of each of these sites alone, down to its state root."""
        for site in sites:
            for row in rows:
                found = self.verify(row, site, 3)
                self.test.assertEqual((found["level"], found["ok"]), (3, True), (site, row, found))

    def points_restore(self, rows, sites=SITES):
        """Each of these points, each out of another site's copies: the vault as its owner reads it, byte for byte."""
        for i, row in enumerate(rows):
            self.restore_vault(row, sites[i % len(sites)])

    def restore_vault(self, row, site):
        here, copy = self.c.site_dir(site), self.c.top / "copy"
        done = self.c.run([str(self.c.kluisctl), "restore", "vault", self.vault_id, "--config", str(here / "kluisd.ini"), "--snapshot", row["id"],
                    *self.keys(), "--out", str(copy)], False, 150)
        if done.returncode == GONE:
            self.test.assertIn(None, self.contents(row["index"]), done.stderr)
            return
        self.test.assertEqual(done.returncode, 0, done.stderr)
        self.same("of point " + row["id"], row["index"], "--copy", copy)
        shutil.rmtree(copy)

    def same(self, what, index, *how, profile=None, endpoint=None):
        """A client reads all pages of the vault; it is what the vault was at S."""
        out = self.c.top / "read"
        shutil.rmtree(out, ignore_errors=True)
        self.c.client(*how, "get", "-r", f"{self.vault}:/", out, profile=profile or self.profile, endpoint=endpoint)
        got = {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
        wanted = self.contents(index)
        # Not assertIn(), which would show every byte.
        self.test.assertTrue(got in wanted, f"{what}: {sorted(got)}, not one of {[sorted(w or []) for w in wanted]}, or of other bytes")

    def promises_hold(self, sites=SITES):
        """The state root of every promised point at each of these sites, and every byte of each."""
        rows = self.settled()[-PROMISED:]
        self.points_verify(sites, rows)
        self.points_restore(rows, sites)

    # --- forgetting ---

    def forgets(self, whole=SITES, keep_s=60):
        """The sites that lost nothing restart with so short a retention, once everything is older: what no retention holds is
        gone, what a promised point needs is there."""
        rows = self.settled()
        for disk in self.disks.values():
            ini = disk.path.parent / "kluisd.ini"
            text = ini.read_text()
            ini.write_text("\n".join(f"keep_s = {keep_s}" if line.startswith("keep_s") else line for line in text.split("\n")))
            # Unused objects stay for a day, as they may be of an upload under way; these have come a day ago.
            for path in disk.objects():
                os.utime(path, (time.time() - 2 * 86400,) * 2)
        wait_until("all but the newest cycles are older than that", keep_s + 60, lambda: self.old_enough(rows[:-CYCLES_KEPT], keep_s + 5))
        for site in whole:
            mark = self.c.log_mark(site)
            self.c.stop(site)
            self.c.start(site)
            self.c.wait_log(site, mark, "op=backup_prune snapshots=")
        self.kept_are_right(rows[:-CYCLES_KEPT], self.settled()[-CYCLES_KEPT:], whole)

    def old_enough(self, rows, seconds):
        hashes = {row["manifest_hash"] for row in rows}
        times = [path.stat().st_mtime for disk in self.disks.values() for path in (disk.path / "manifests").iterdir()
                 if path.name.split("-")[2] in hashes]
        return bool(times) and time.time() - max(times) > seconds

    def kept_are_right(self, old, needed, sites):
        old, needed = ({row["manifest_hash"] for row in rows} for rows in (old, needed))
        for disk in (self.disks[site] for site in sites):
            there = set(disk.manifests())
            self.test.assertEqual(there & old, set(), f"{disk.site} keeps what is older than retention")
            self.test.assertLessEqual(needed, there, f"{disk.site} has forgotten what a point needs")
            wait_until(f"{disk.site} has no object that no manifest names", 120, lambda d=disk: self.all_named(d))

    def all_named(self, disk):
        """Each manifest's objects are its own; what is just being taken over gets its manifest at once."""
        return len(disk.objects()) <= sum(row["objects"] for row in self.list_disk(disk.site).values())
