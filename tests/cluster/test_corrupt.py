#!/usr/bin/env python3
"""Every kind of file of a node, flipped, zeroed, cut, or put back from an old copy: no client is ever given a wrong byte, and the
node repairs itself from a peer, or says which file is wrong and what to do (docs/reliability.md, "Files that are damaged")."""
import os
import shutil
import subprocess
import unittest

from cluster import SITES, Cluster, wait_until
from victim import VICTIM, Victim, flip

VERIFICATION, PIN_CHANGED = 14, 15
REFUSED_BY_PEERS = 78


def flipped(path):
    """One bit in every half KiB of the middle."""
    size = path.stat().st_size
    for offset in range(size // 3, max(2 * size // 3, size // 3 + 1), 512):
        flip(path, offset)


def flipped_everywhere(path):
    for offset in range(0, path.stat().st_size, 512):
        flip(path, offset)


def zeroed(path):
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(bytes(size // 3))


def cut(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


WAYS = (flipped, zeroed, cut)


class Corrupt(Victim, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        Cluster.for_class(cls)
        cls.kept = {}

    def setUp(self):
        self.data = self.cluster.site_dir(VICTIM) / "data"
        for size in (100, 20000, 3 << 20):
            self.keep(os.urandom(size))

    def keep(self, data):
        name, data = self.put(data)
        self.kept[name] = data

    def read_all(self, site, all_of_it):
        """Each file is right or refused, never wrong."""
        for name, data in self.kept.items():
            back = self.cluster.top / "back"
            back.unlink(missing_ok=True)
            done = self.cluster.client("get", f"v:/{name}", back, profile=self.profile, endpoint=site, check=all_of_it)
            self.assertNotIn(done.returncode, (VERIFICATION, PIN_CHANGED), done.stderr)
            if done.returncode == 0:
                self.assertEqual(back.read_bytes(), data, name)

    def log_since(self, mark):
        with open(self.cluster.site_dir(VICTIM) / "kluisd.log", "rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def rebuild(self):
        done = subprocess.run([str(self.cluster.kluisd), "rebuild", "--config", str(self.cluster.site_dir(VICTIM) / "kluisd.ini")],
                              capture_output=True, text=True, timeout=150)
        self.assertEqual(done.returncode, 0, done.stderr)

    def wait_ready(self):
        wait_until(f"{VICTIM} ready", 120, lambda: self.cluster.get(VICTIM, "/readyz")[0] == 200)

    def whole_again(self):
        self.wait_ready()
        self.keep(os.urandom(5000))
        self.read_all(VICTIM, True)
        self.wait_one_hash(60)

    def recovers(self):
        """It was started on damaged files. What it did: 'refused' (and was rebuilt by the command it named), 'repaired' (by
        itself) or 'unharmed'; it is as good as any other afterwards."""
        c = self.cluster
        mark = c.log_mark(VICTIM)
        c.spawn(VICTIM)
        wait_until("it serves, or says what to do", 120, lambda: "'kluisd rebuild'" in self.log_since(mark)
                   or "op=store state=damaged" in self.log_since(mark) or c.get(VICTIM, "/readyz")[0] == 200)
        if "'kluisd rebuild'" not in self.log_since(mark):
            # Now and not at the start: it is to read what is damaged, for clients and for its state machine.
            self.read_all(VICTIM, False)
            self.keep(os.urandom(5000))
            wait_until("it has applied that, or cannot", 120, lambda: any(
                text in self.log_since(mark) for text in ("'kluisd rebuild'", "op=store state=damaged")) or self.applied())
        did = "unharmed"
        if "'kluisd rebuild'" in self.log_since(mark):
            did = "refused"
            c.kill(VICTIM)
            self.rebuild()
            c.spawn(VICTIM)
        elif "op=store state=damaged" in self.log_since(mark):
            did = "repaired"
        if did != "unharmed":
            c.wait_log(VICTIM, mark, "op=rebuild state=done", 180)
        self.whole_again()
        return did

    def applied(self):
        return self.status(VICTIM)["applied_index"] >= self.status("utr")["applied_index"]

    # --- the store ---

    def test_store_of_a_stopped_node(self):
        cases = [("*.sst", zeroed), ("*.blob", flipped), ("MANIFEST-*", cut), ("CURRENT", flipped)]
        if os.environ.get("KLUIS_CORRUPT_ALL"):  # A rebuild each: for the night.
            cases += [("*.sst", flipped), ("*.sst", cut), ("*.blob", zeroed), ("*.blob", cut), ("MANIFEST-*", zeroed), ("OPTIONS-*", zeroed)]
        for pattern, way in cases:
            with self.subTest(pattern=pattern, way=way.__name__):
                self.cluster.stop(VICTIM)
                paths = sorted((self.data / "db").glob(pattern))
                self.assertTrue(paths, "nothing to damage")
                for path in paths:
                    way(path)
                did = self.recovers()
                print(f"{pattern} {way.__name__}: {did}", flush=True)
                if pattern in ("*.sst", "*.blob", "CURRENT"):
                    self.assertNotEqual(did, "unharmed")

    def test_store_of_a_running_node(self):
        """Beneath open files: the read that meets it is refused, and sets off the repair."""
        c = self.cluster
        for pattern in ("*.blob", "*.sst"):
            with self.subTest(pattern=pattern):
                c.stop(VICTIM)  # Writes out what was in memory, and what was read is no longer in its cache.
                c.start(VICTIM)
                mark = c.log_mark(VICTIM)
                paths = sorted((self.data / "db").glob(pattern))
                self.assertTrue(paths, "nothing to damage")
                for path in paths:
                    flipped_everywhere(path)  # Whichever block is read next.
                self.read_all(VICTIM, False)
                self.keep(os.urandom(5000))
                wait_until("it is met", 180, lambda pattern=pattern, mark=mark: self.meets_damage(pattern, mark))
                c.wait_log(VICTIM, mark, "op=rebuild state=done", 180)
                self.whole_again()

    def meets_damage(self, pattern, mark):
        """So few rows may all lie in its cache since the start: a snapshot reads the files. There may be no leader for one now."""
        if "op=store state=damaged" not in self.log_since(mark) and pattern == "*.sst":
            self.cluster.ctl(VICTIM, "snapshot", "save", check=False)
        return "op=store state=damaged" in self.log_since(mark)

    def test_old_copy_of_the_store(self):
        """Beside a log that reaches back to it: what is missing is applied again."""
        c = self.cluster
        c.stop(VICTIM)
        shutil.copytree(self.data / "db", c.top / "old-db")
        c.start(VICTIM)
        self.keep(os.urandom(30000))
        self.check_starts_with(lambda: (shutil.rmtree(self.data / "db"), (c.top / "old-db").rename(self.data / "db")))
        self.whole_again()

    def test_old_list_of_the_store_s_files(self):
        """CURRENT and MANIFEST of an earlier day, over the files of today."""
        c = self.cluster
        c.stop(VICTIM)
        old = c.top / "old-list"
        old.mkdir()
        for path in [self.data / "db" / "CURRENT", *(self.data / "db").glob("MANIFEST-*")]:
            shutil.copy2(path, old)
        c.start(VICTIM)
        self.keep(os.urandom(30000))
        c.stop(VICTIM)
        for path in old.iterdir():
            shutil.copy2(path, self.data / "db")
        self.recovers()

    def check_starts_with(self, change):
        self.cluster.stop(VICTIM)
        change()
        self.cluster.start(VICTIM)

    # --- what it promised ---

    def test_old_copy_of_the_log(self):
        """It would forget what it acknowledged: refused, and a new node takes its place."""
        c = self.cluster
        c.stop(VICTIM)
        shutil.copytree(self.data / "log", c.top / "old-log")
        c.start(VICTIM)
        self.keep(os.urandom(30000))
        self.read_all(VICTIM, True)
        c.stop(VICTIM)
        (self.data / "log").rename(c.top / "new-log")
        (c.top / "old-log").rename(self.data / "log")
        code, said = c.refused(VICTIM)
        self.assertEqual(code, 1, said)
        self.assertIn("the log is an old copy", said)
        self.assertIn("replace this node", said)
        shutil.rmtree(self.data / "log")
        (c.top / "new-log").rename(self.data / "log")
        c.start(VICTIM)
        self.whole_again()

    def test_old_copy_of_the_peers(self):
        """By it alone the others see that this is not the newest memory of that node."""
        c = self.cluster
        peers = self.data / "peers"
        c.stop(VICTIM)
        old = peers.read_bytes()
        for _ in range(2):
            c.start(VICTIM)
            c.stop(VICTIM)
        new = peers.read_bytes()
        peers.write_bytes(old)
        code, said = c.refused(VICTIM)
        self.assertEqual(code, REFUSED_BY_PEERS, said)
        self.assertIn("old copy of its directory", said)
        peers.write_bytes(new)
        c.start(VICTIM)
        self.whole_again()

    def test_peers(self):
        c = self.cluster
        peers = self.data / "peers"
        c.stop(VICTIM)
        whole = peers.read_bytes()
        flip(peers, 30)  # One of two slots.
        c.start(VICTIM)
        c.stop(VICTIM)
        whole = peers.read_bytes()
        for way in (lambda path: (flip(path, 30), flip(path, 4096 + 30)), lambda path: path.write_bytes(bytes(len(whole))), cut,
                    lambda path: path.write_bytes(b"")):
            way(peers)
            code, said = c.refused(VICTIM)
            self.assertEqual(code, 1, said)
            self.assertIn(str(peers), said)
            self.assertIn("replace this node", said)
            peers.write_bytes(whole)
        c.start(VICTIM)

    # --- files that an operator made ---

    def test_secrets_keys_and_certificates(self):
        """Refused by name before anything is begun; the operator's own copy makes it good."""
        c = self.cluster
        here = c.site_dir(VICTIM)
        c.stop(VICTIM)
        for name in ("secrets", "api.pem", "api.key", "link.pem", "link.key", "backup-sign.key", "kluisd.ini", "data/identity"):
            path = here / name
            whole, mode = path.read_bytes(), path.stat().st_mode & 0o777
            path.chmod(0o600)
            for way in (*WAYS, lambda p: p.write_bytes(b"")):
                if name == "kluisd.ini" and way is flipped:
                    continue  # One character more or less in a name or an address is another setting.
                with self.subTest(file=name, way=way.__name__):
                    way(path)
                    path.chmod(mode)
                    code, said = c.refused(VICTIM)
                    self.assertIn(code, (1, 2), said)
                    self.assertIn(path.name, said)
                    path.chmod(0o600)
                    path.write_bytes(whole)
            path.chmod(mode)
        c.start(VICTIM)
        self.whole_again()

    # --- what is only on its way, or holds nothing ---

    def test_files_left_by_a_fetch(self):
        """Of an earlier fetch a file is used again by name, size and hash: these have the first two alone."""
        c = self.cluster
        c.stop(VICTIM)
        shutil.rmtree(self.data / "db")
        self.rebuild()
        planted = {}
        for number, site in enumerate(s for s in SITES if s != VICTIM):
            c.stop(site)  # It writes out what it has in memory.
            c.start(site)
            left = self.data / "catchup" / f"{number:032x}" / "db"
            left.mkdir(parents=True)
            for path in (c.site_dir(site) / "data" / "db").glob("*.blob"):
                shutil.copy2(path, left)
                flipped(left / path.name)
                planted.setdefault((path.name, path.stat().st_size), []).append((left / path.name).read_bytes())
        mark = c.log_mark(VICTIM)
        c.spawn(VICTIM)
        c.wait_log(VICTIM, mark, "op=rebuild state=done", 180)
        same = [path for path in (self.data / "db").glob("*.blob") if (path.name, path.stat().st_size) in planted]
        self.assertTrue(same, "no file of the same name and size was planted")
        for path in same:
            self.assertNotIn(path.read_bytes(), planted[path.name, path.stat().st_size])
        self.whole_again()
        wait_until("what was left is gone", 120, lambda: not list((self.data / "catchup").glob("0000*")))

    def test_reserve_and_free_segments(self):
        c = self.cluster
        c.stop(VICTIM)
        free = list((self.data / "log").glob("free-*"))
        self.assertTrue(free, "no free segment")
        for path in free:
            path.write_bytes(os.urandom(1 << 16) * (path.stat().st_size >> 16))
        if (self.data / "reserve").exists():
            os.truncate(self.data / "reserve", 100)
        c.start(VICTIM)
        for _ in range(8):
            self.keep(os.urandom(3 << 20))  # More than a segment: the free ones are taken.
        self.whole_again()
        c.stop(VICTIM)
        c.start(VICTIM)
        self.whole_again()


if __name__ == "__main__":
    unittest.main(verbosity=2)
