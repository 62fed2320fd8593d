"""One node of a cluster whose files are damaged, and what must hold of it and of the others."""
import json
import os
import shutil

from cluster import SITES, wait_until

VICTIM = "gro"


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class Victim:
    """Of a test whose setUpClass called Cluster.for_class()."""
    puts = 0

    def put(self, data=None):
        type(self).puts += 1
        name, data = f"f{self.puts}", data or os.urandom(20000)
        (self.cluster.top / "in").write_bytes(data)
        self.cluster.client("put", self.cluster.top / "in", f"v:/{name}", profile=self.profile, endpoint="utr")
        return name, data

    def check_file(self, name, data, site):
        back = self.cluster.top / "out"
        back.unlink(missing_ok=True)
        self.cluster.client("get", f"v:/{name}", back, profile=self.profile, endpoint=site)
        self.assertEqual(back.read_bytes(), data)

    def others_serve(self):
        name, data = self.put()
        self.check_file(name, data, "mst")

    def down(self, kill=False):
        """Ends the victim and keeps a copy of its directory. It gets that back after the test, unless it ran meanwhile:
        what a node acknowledged it must never forget, so that an old copy may not be put back then."""
        c = self.cluster
        (c.kill if kill else c.stop)(VICTIM)
        data, saved = c.site_dir(VICTIM) / "data", c.top / "saved"
        shutil.copytree(data, saved)
        self.ran = False

        def bring_back():
            if not self.ran:
                shutil.rmtree(data, ignore_errors=True)
                shutil.copytree(saved, data)
            shutil.rmtree(saved)
            c.start(VICTIM)
        self.addCleanup(bring_back)
        return data

    def check_refused(self, *texts):
        """It must end by itself, say what is wrong and where, and leave everything as it was for somebody to look at."""
        log = self.cluster.site_dir(VICTIM) / "data" / "log"
        before = {path.name: path.read_bytes() for path in log.iterdir()} if log.exists() else {}
        code, said = self.cluster.refused(VICTIM)
        self.assertEqual(code, 1, said)
        for text in texts:
            self.assertIn(text, said)
        self.assertEqual(self.cluster.get(VICTIM, "/healthz")[0], 0)
        for name, content in before.items():
            if not name.startswith("free-"):
                self.assertEqual((log / name).read_bytes(), content, f"{name} was changed")

    def check_starts(self):
        """Ready again, and has what was written while it was away."""
        name, data = self.put()
        self.ran = True
        self.cluster.start(VICTIM)
        self.check_file(name, data, VICTIM)
        self.wait_one_hash(60)

    def wait_one_hash(self, seconds):
        def equal():
            rows = [self.status(site) for site in SITES]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until("one state hash everywhere", seconds, equal)

    def status(self, site):
        return json.loads(self.cluster.ctl(site, "-o", "json", "status").stdout)["items"][0]
