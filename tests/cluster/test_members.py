#!/usr/bin/env python3
"""Members change while clients write: a wiped site is replaced under a new id, members are drained, demoted, promoted and
removed, leadership follows weights, and losses one after the other are survived down to two of three voters. No write of a
client that retries is lost."""
import json
import os
import re
import shutil
import threading
import unittest

from cluster import SITES, Cluster, free_ports, wait_until

GONE_AFTER = 4
REFUSED = 78


class Writer(threading.Thread):
    """Puts files one after the other; each must be acknowledged, whatever happens to the sites."""

    def __init__(self, cluster, profile):
        super().__init__(daemon=True)
        self.cluster, self.profile = cluster, profile
        self.files, self.failure = {}, None
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set() and self.failure is None:
            name, data = f"w-{len(self.files)}", os.urandom(3000)
            path = self.cluster.top / "writer.in"
            path.write_bytes(data)
            done = self.cluster.client("--timeout=120", "put", path, f"v:/{name}", profile=self.profile, check=False)
            if done.returncode != 0:
                self.failure = f"put {name}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            else:
                self.files[name] = data

    def end(self):
        self.ending.set()
        self.join(300)


class Members(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        c = Cluster.for_class(cls, gone_after=GONE_AFTER)
        cls.writer = Writer(c, cls.profile)
        cls.writer.start()
        cls.addClassCleanup(cls.writer.end)
        wait_until("the first write", 120, lambda: cls.writer.files or cls.writer.failure)
        # All run the version that knows how, and have said so.
        wait_until("the members are written down", 120, lambda: cls.members("ams")[1]["wish"] == "any")

    # --- what the tests do and look at ---

    @classmethod
    def members(cls, site):
        items = cls.cluster.admin(site, "/v1/sys/members")["items"]
        return {row["node"]: row for row in items}

    def ctl(self, *words, site="ams", **options):
        return self.cluster.ctl(site, *words, timeout=200, **options)

    def check_progress(self):
        """Writes go on now."""
        before = len(self.writer.files)
        wait_until("a write goes through", 120, lambda: self.writer.failure or len(self.writer.files) > before + 1)
        self.assertIsNone(self.writer.failure)

    def check_files(self, site):
        """Every acknowledged write is there, as that site shows it."""
        files = dict(self.writer.files)
        out = self.cluster.top / f"out-{site}"
        shutil.rmtree(out, ignore_errors=True)
        self.cluster.client("get", "-r", "v:/", out, profile=self.profile, endpoint=site)
        for name, data in files.items():
            self.assertEqual((out / name).read_bytes(), data, f"{name} at {site}")

    def check_same_state(self, sites):
        """All stand at one index with one state."""
        def same():
            rows = [self.cluster.admin(site, "/v1/sys/status") for site in sites]
            return len({(row["state_hash_index"], row["state_hash"]) for row in rows}) == 1
        wait_until(f"{sites} have the same state", 120, same)

    def voters(self, site):
        return sorted(node for node, row in self.members(site).items() if row["role"] == "voter")

    def configured(self, live, expected):
        """So many vote, and of those that died none but what there is nobody in place of: with them in the way the next loss
        would be one too many."""
        if self.cluster.leader() not in live:
            return False
        voters = [row["site"] for row in self.members(live[0]).values() if row["role"] == "voter"]
        return len(voters) == expected and len(set(voters) - set(live)) == max(0, expected - len(live))

    def wait_five(self, site):
        """A site of a loaded machine may be silent for a while: five vote again."""
        wait_until("five vote", 120, lambda: len(self.voters(site)) == 5)

    def data(self, site):
        return self.cluster.site_dir(site) / "data"

    def renumber(self, site, old, new):
        """Site's settings and certificates under a new number; what was its own is kept beside it."""
        here = self.cluster.site_dir(site)
        ini = here / "kluisd.ini"
        text = ini.read_text()
        self.assertIn(f"id = {old}\nsite = {site}\n", text)
        kept = here / f"as-{old}"
        kept.mkdir()
        for name in ("link.pem", "link.key", "api.pem", "api.key"):
            (here / name).rename(kept / name)
        (kept / "kluisd.ini").write_text(text)
        text = text.replace(f"id = {old}\nsite = {site}\n", f"id = {new}\nsite = {site}\n")
        text = text.replace(f"[site {site}]\nid = {old}\n", f"[site {site}]\nid = {new}\n")
        ini.write_text(text)
        self.cluster.run([str(self.cluster.kluisctl), "pki", "issue", "--dir", str(self.cluster.dir / "pki"), "--node", str(new),
                          "--host", "127.0.0.1", "--host", "localhost", "--out", str(here)], True, 150)
        return kept

    def init_join(self, site):
        """Makes the empty directory of a node that joins; the words of `kluisctl member add` that let it in."""
        done = self.cluster.run([str(self.cluster.kluisd), "init", "--join", "--development", "--config",
                                 str(self.cluster.site_dir(site) / "kluisd.ini")], True, 150)
        words = done.stdout.split()
        self.assertEqual(words[:3], ["kluisctl", "member", "add"])
        again = self.cluster.run([str(self.cluster.kluisd), "join-command", "--config",
                                  str(self.cluster.site_dir(site) / "kluisd.ini")], True, 150)
        self.assertEqual(again.stdout, done.stdout)
        return words[3:]

    def refused_beside(self, site, kept, data):
        """Runs what the site was before, on other ports: (exit status, what it said)."""
        text = (kept / "kluisd.ini").read_text()
        for name in ("link.pem", "link.key", "api.pem", "api.key"):
            text = text.replace(f"= {name}", f"= {kept}/{name}")
        text = text.replace("data = data", f"data = {data}").replace("socket = admin.sock", f"socket = {kept}/admin.sock")
        text = text.replace("repository = repository", f"repository = {kept}/repository").replace("drop = drop", f"drop = {kept}/drop")
        (kept / "drop").mkdir(exist_ok=True)
        for section, port in zip(("api", "link"), range(free_ports(2), 65536)):
            text = re.sub(rf"(\[{section}\]\nlisten = 127\.0\.0\.1:)\d+", rf"\g<1>{port}", text)
        ini = self.cluster.site_dir(site) / f"{kept.name}.ini"
        ini.write_text(text)
        return self.cluster.refused(site, config=ini)

    def kill(self, site):
        self.cluster.kill(site)

    # --- a point that a node took which is replaced ---

    def offline(self, ini, *words):
        key = self.cluster.dir / "pki" / "backup.key"
        command = [str(self.cluster.kluisctl), "-o", "json", *words, "--config", str(ini), "--key-file", str(key)]
        done = self.cluster.run(command, False, 150)
        return done.returncode, done.stdout + done.stderr

    def save_at(self, site, holder):
        """A snapshot that one site took and another one holds; its id."""
        saved = json.loads(self.ctl("-o", "json", "snapshot", "save", "--wait", site=site).stdout)["id"]
        ini = self.cluster.site_dir(holder) / "kluisd.ini"
        wait_until(f"{holder} holds it", 120, lambda: self.offline(ini, "snapshot", "verify", saved, "--level", "3", "--repository",
                                                                   self.repository(holder))[0] == 0)
        return saved

    def repository(self, site):
        return str(self.cluster.site_dir(site) / "repository")

    def check_point_of_before(self, saved, holder):
        """With the settings that say who is there now, and what node 3 signed with."""
        here = self.cluster.site_dir(holder)
        text = (here / "kluisd.ini").read_text()
        before = re.search(r"\[site utr\]\nid = 3\n(?:.*\n)*?backup_key = (\w+)", text).group(1)
        self.cluster.run([str(self.cluster.kluisctl), "backup", "keys", "sign", "--out", str(here / "fresh")], True, 150)
        text = text.replace("[site utr]\nid = 3\n", "[site utr]\nid = 7\n").replace(before, (here / "fresh.pub").read_text().strip())
        for name, words in (("forgetful", ""), ("mindful", f"former_key = 3 {before}\n")):
            (here / f"{name}.ini").write_text(text.replace("[backup]\n", "[backup]\n" + words, 1))
        code, said = self.offline(here / "forgetful.ini", "snapshot", "verify", saved, "--level", "3", "--repository", self.repository(holder))
        self.assertEqual((code, "signed by node 3, which is not trusted" in said), (14, True), said)
        code, said = self.offline(here / "mindful.ini", "snapshot", "verify", saved, "--level", "3", "--repository", self.repository(holder))
        self.assertEqual(code, 0, said)
        code, said = self.offline(here / "mindful.ini", "restore", "plan", "--snapshot", saved)
        self.assertEqual(code, 0, said)
        done = self.cluster.run([str(self.cluster.kluisd), "check-config", "--config", str(here / "mindful.ini")], False, 150)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    # --- in this order: each goes on from what the one before has left ---

    def test_1_wiped_site_is_replaced_under_a_new_id(self):
        c = self.cluster
        saved = self.save_at("utr", "ams")
        self.kill("utr")
        old = c.top / "data-of-3"
        self.data("utr").rename(old)
        kept = self.renumber("utr", 3, 7)
        self.data("utr").mkdir(mode=0o700)
        words = self.init_join("utr")
        self.assertEqual(words[:5], ["7", "--site", "utr", "--link", f"127.0.0.1:{c.base_port + 12}"])
        c.spawn("utr")
        wait_until("utr waits to be added", 120, lambda: c.get("utr", "/readyz")[0] == 503)
        self.check_progress()
        # Not under another one's number, not in another one's place.
        done = self.ctl("member", "add", "4", *words[1:], check=False)
        self.assertEqual((done.returncode, "node 4 is a member already" in done.stderr), (11, True), done.stderr)
        done = self.ctl("member", "add", *words, check=False)
        self.assertEqual((done.returncode, "node 3 has that site or address" in done.stderr), (11, True), done.stderr)
        self.ctl("member", "replace", "3", *words)
        members = self.members("ams")
        self.assertNotIn(3, members)
        self.assertEqual(members[7]["state"], "member")
        done = self.ctl("member", "add", "3", *words[1:], check=False)
        self.assertEqual((done.returncode, "never given twice" in done.stderr), (11, True), done.stderr)
        c.wait_ready(["utr"])
        self.check_progress()
        self.check_files("utr")
        self.wait_five("ams")
        self.check_point_of_before(saved, "ams")
        # The old one comes back: it is told, and ends.
        code, said = self.refused_beside("utr", kept, old)
        self.assertEqual(code, REFUSED, said)
        self.assertIn("node 3 was removed from the cluster", said)
        # Wiped once more under the number it has now: no more than any other.
        c.stop("utr")
        self.data("utr").rename(c.top / "data-of-7")
        self.data("utr").mkdir(mode=0o700)
        self.init_join("utr")
        code, said = c.refused("utr")
        self.assertEqual(code, REFUSED, said)
        self.assertIn("node 7 was initialised anew", said)
        shutil.rmtree(self.data("utr"))
        (c.top / "data-of-7").rename(self.data("utr"))
        c.start("utr")
        self.check_progress()

    def test_2_drained_then_stopped(self):
        c = self.cluster
        leader = c.wait_leader()
        node = next(n for n, row in self.members("ams").items() if row["site"] == leader)
        self.ctl("member", "drain", leader, site=leader)
        members = self.members(leader)
        self.assertEqual((members[node]["role"], members[node]["state"]), ("standby", "drained"))
        self.wait_five(leader)
        wait_until("it says so", 120, lambda: c.get(leader, "/readyz")[0] == 503)
        c.stop(leader)
        self.check_progress()
        c.spawn(leader)
        other = next(s for s in SITES if s != leader)
        wait_until("it is back", 120, lambda: self.members(other)[node]["online"])
        self.ctl("member", "auto", leader, site=other)
        c.wait_ready([leader])
        self.wait_five(other)

    def test_3_promote_demote_and_weight(self):
        c = self.cluster
        standby = next(n for n, row in self.members("ams").items() if row["role"] == "standby")
        self.ctl("member", "promote", str(standby))
        wait_until("it votes, one of five", 120, lambda: standby in self.voters("ams") and len(self.voters("ams")) == 5)
        self.ctl("member", "demote", str(standby))
        self.assertNotIn(standby, self.voters("ams"))
        self.wait_five("ams")
        self.ctl("member", "auto", str(standby))
        self.check_progress()
        site = next(s for s in ("rtd", "ein") if c.wait_leader() != s)
        node = SITES.index(site) + 1
        self.ctl("member", "promote", str(node))
        self.ctl("member", "weight", site, "900")
        wait_until("leadership goes there", 120, lambda: c.leader() == site)
        # It fails, another one leads, it comes back: and leads again.
        self.kill(site)
        c.wait_leader(other_than=site)
        self.check_progress()
        c.start(site)
        wait_until("leadership comes back", 120, lambda: c.leader() == site)
        self.ctl("member", "weight", site, "100")
        self.ctl("member", "auto", site)

    def test_4_removed_while_it_runs(self):
        c = self.cluster
        leader = c.lead_elsewhere("gro")
        mark = c.log_mark("gro")
        self.ctl("member", "remove", "gro", "--yes", site=leader)
        c.wait_log("gro", mark, "node 5 was removed from the cluster", 180)
        self.assertNotIn(5, self.members(leader))
        code, said = c.refused("gro")
        self.assertEqual(code, REFUSED, said)
        self.assertIn("node 5 was removed from the cluster", said)
        self.check_progress()
        self.wait_five(leader)

    def test_5_added_anew(self):
        """The site that was removed comes back as a new node: one more member, and nobody goes for it."""
        c = self.cluster
        c.stop("gro")
        self.data("gro").rename(c.top / "data-of-5")
        self.renumber("gro", 5, 8)
        self.data("gro").mkdir(mode=0o700)
        words = self.init_join("gro")
        self.assertEqual(words[:3], ["8", "--site", "gro"])
        c.spawn("gro")
        wait_until("gro waits to be added", 120, lambda: c.get("gro", "/readyz")[0] == 503)
        self.assertNotIn(8, self.members("ams"))
        before = set(self.members("ams"))
        self.ctl("member", "add", *words)
        members = self.members("ams")
        self.assertEqual((set(members), members[8]["state"]), (before | {8}, "member"))
        c.wait_ready(["gro"])
        self.check_progress()
        self.check_files("gro")
        self.wait_five("ams")

    def test_6_losses_one_after_the_other(self):
        c = self.cluster
        live = list(SITES)
        lost = []
        while len(live) > 2:
            victim = c.wait_leader() if len(live) % 2 else next(s for s in live if s != c.leader())
            self.kill(victim)
            live.remove(victim)
            lost.append(victim)
            expected = max(3, len(live))
            wait_until(f"{expected} voters are configured without {victim}", 120, lambda n=expected: self.configured(live, n))
            self.check_progress()
        self.assertEqual(len(self.voters(live[0])), 3)

        def alarms():
            return {row["name"]: row["text"] for row in c.admin(live[0], "/v1/sys/alarms")["items"]}
        wait_until("the alarm", 120, lambda: alarms().get("voters") == "3 of 5 wanted voters", alarms)
        self.check_files(live[0])
        for site in lost:
            c.spawn(site)
        c.wait_ready(live + lost)
        self.wait_five(live[0])
        self.check_progress()
        self.writer.end()
        self.assertIsNone(self.writer.failure)
        self.check_same_state(live + lost)
        for site in live + lost:
            self.check_files(site)
        audit = c.admin(live[0], "/v1/sys/audit?limit=100")["items"]
        self.assertTrue({"server_add", "server_wish", "server_weight", "server_forget"} <= {row["action"] for row in audit},
                        json.dumps(audit)[:2000])


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
