#!/usr/bin/env python3
"""A node that lost its memory never takes part again under its old id: wiped, partly wiped, put back from an old copy, and
also where nobody is up that ever met it."""
import os
import shutil
import ssl
import unittest
import urllib.error
import urllib.request

import openapi
from cluster import ROOT, SITES, Cluster, wait_until

REFUSED = 78


class Wiped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        Cluster.for_class(cls)

    # --- what the tests do and look at ---

    def data(self, site):
        return self.cluster.site_dir(site) / "data"

    def init(self, site):
        self.cluster.run([str(self.cluster.kluisd), "init", "--development", "--config",
                          str(self.cluster.site_dir(site) / "kluisd.ini")], True, 150)

    def wipe(self, site):
        shutil.rmtree(self.data(site))
        self.init(site)

    def kill(self, *sites):
        for site in sites:
            self.cluster.kill(site)

    def spawn(self, *sites):
        for site in sites:
            self.cluster.spawn(site)

    def put(self, name):
        data = os.urandom(5000)
        path = self.cluster.top / "in"
        path.write_bytes(data)
        self.cluster.client("put", path, f"v:/{name}", profile=self.profile)
        return data

    def check_file(self, name, data, site):
        back = self.cluster.top / "out"
        back.unlink(missing_ok=True)
        self.cluster.client("get", f"v:/{name}", back, profile=self.profile, endpoint=site)
        self.assertEqual(back.read_bytes(), data)

    def check_ends(self, site, *texts):
        """It must end by itself, and say why."""
        code, said = self.cluster.refused(site)
        self.assertEqual(code, REFUSED, said)
        for text in texts:
            self.assertIn(text, said)

    def not_ready(self, site):
        """Why /readyz says no; None when there is no answer or it says yes."""
        context = ssl.create_default_context(cafile=str(self.cluster.dir / "pki" / "provider-ca.pem"))
        try:
            urllib.request.urlopen(self.cluster.url(site) + "/readyz", timeout=30, context=context).close()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            pass
        return None

    def wait_not_met(self, site, ids):
        wait_until(f"{site} has met all but {ids}", 120, lambda: (self.not_ready(site) or "").find(f"not met yet: {ids}\"") >= 0)

    def members_check(self, site):
        return next(row for row in self.cluster.admin(site, "/v1/sys/health")["checks"] if row["name"] == "members")

    def check_alarm(self, site, name):
        """It stands, and the answer is as documented."""
        document = openapi.Document(ROOT / "docs" / "openapi.yaml")
        answer = self.cluster.admin(site, "/v1/sys/alarms")
        schema = document.root["paths"]["/v1/sys/alarms"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        self.assertEqual(document.faults(answer, schema), [])
        self.assertIn(name, [alarm["name"] for alarm in answer["items"]])

    # --- in this order: each leaves the cluster with what it took away ---

    def test_1_directory_that_lost_a_part(self):
        c = self.cluster
        c.stop("gro")
        data = self.data("gro")
        for part in ("peers", "log", "log/state"):
            with self.subTest(part=part):
                kept = c.top / "kept"
                (data / part).rename(kept)
                # Without its store, too, so that nothing but the missing part can give it away.
                (data / "db").rename(c.top / "db")
                for _ in range(2):
                    code, said = c.refused("gro")
                    self.assertEqual(code, 1, said)
                    self.assertIn(f"'{data / 'log/state' if part == 'log' else data / part}' is missing", said)
                    self.assertFalse((data / part).exists())
                kept.rename(data / part)
                (c.top / "db").rename(data / "db")
        c.start("gro")

    def test_2_old_copy(self):
        c = self.cluster
        c.stop("gro")
        data, old, new = self.data("gro"), c.top / "old", c.top / "new"
        shutil.copytree(data, old)
        c.start("gro")
        content = self.put("after-the-copy")
        self.check_file("after-the-copy", content, "gro")
        c.stop("gro")
        data.rename(new)
        old.rename(data)
        text = "node 5 runs on an old copy of its directory"
        marks = {site: c.log_mark(site) for site in SITES if site != "gro"}
        self.check_ends("gro", text)
        # It ends with the first that tells it so: the others may not have met it.
        wait_until("one of the others says so", 120, lambda: any(text in c.log(site)[mark:] for site, mark in marks.items()))
        shutil.rmtree(data)
        new.rename(data)
        c.start("gro")

    def test_3_acknowledged_write_and_a_wiped_voter(self):
        c = self.cluster
        c.lead("ams")
        self.kill("mst", "ein", "gro")
        content = self.put("acknowledged")
        self.kill("ams", "rtd", "utr")
        # Of the three that have it one forgets, and comes back with two that never had it.
        self.wipe("utr")
        marks = {site: c.log_mark(site) for site in ("ein", "gro")}
        self.spawn("ein", "gro")
        self.check_ends("utr", "node 3 was initialised anew", "new id")
        wait_until("one of the two was dialled by it and says so", 120, lambda: any(
            "node 3 was initialised anew" in c.log(site)[marks[site]:] for site in marks))
        told = next(site for site in marks if "node 3 was initialised anew" in c.log(site)[marks[site]:])
        # The status is a copy, taken some times a second.
        check = wait_until(f"the alarm at {told}", 120, lambda: next(
            (row for row in [self.members_check(told)] if not row["ok"]), None))
        self.assertIn("node 3 was initialised anew", check["text"])
        self.check_alarm(told, "members")
        # The two alone are no majority, and know it: what the client shows is its own copy.
        done = c.client("--timeout=4", "ls", "v:/", profile=self.profile, endpoint="ein")
        self.assertIn("offline: vault", done.stderr)
        self.assertIsNone(c.leader())
        self.spawn("ams", "rtd")
        c.wait_ready(["ams", "rtd", "ein", "gro"])
        for site in ("ein", "gro"):
            self.check_file("acknowledged", content, site)
        self.check_ends("utr", "node 3 was initialised anew")
        content = self.put("without-utr")
        self.check_file("without-utr", content, "gro")

    def test_4_wiped_standby(self):
        self.wipe("mst")
        self.check_ends("mst", "node 6 was initialised anew")

    def test_5_a_cluster_begins_when_all_have_met(self):
        """Where nobody is up that met the wiped node, it cannot be known: so nobody may take part before all have met."""
        c = self.cluster
        self.kill(*SITES)
        for site in SITES:
            self.wipe(site)
        self.spawn("ams", "rtd", "utr")
        for site in ("ams", "rtd", "utr"):
            self.wait_not_met(site, "4, 5, 6")
        done = c.ctl("ams", "--timeout=4", "service", "create", "early", "--token-file", str(c.top / "early.token"), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIsNone(c.leader())
        self.kill("ams", "rtd", "utr")
        self.wipe("utr")
        # It meets two that never heard of it: nothing gives it away, and nothing comes of it.
        self.spawn("ein", "gro", "utr")
        for site in ("ein", "gro", "utr"):
            self.wait_not_met(site, "1, 2, 6")
        self.assertIsNone(c.leader())
        mark = c.log_mark("utr")
        self.spawn("ams")
        c.wait_log("utr", mark, "node 3 was initialised anew")
        # Nothing was ever acknowledged here: all are emptied, and begin when the last of them comes.
        self.kill(*SITES)
        for site in SITES:
            self.wipe(site)
        self.spawn(*SITES[:-1])
        for site in SITES[:-1]:
            self.wait_not_met(site, "6")
        self.spawn(SITES[-1])
        c.wait_ready()
        # From then on a majority is enough.
        c.kill_all_at_once()
        self.spawn("ams", "utr", "gro")
        c.wait_ready(["ams", "utr", "gro"])
        self.assertTrue(self.members_check("utr")["ok"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
