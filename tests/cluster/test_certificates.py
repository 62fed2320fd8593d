#!/usr/bin/env python3
"""Wrong certificates, directories and settings against six real processes: refused by name, and the other five serve."""
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import unittest

from cluster import SITES, Cluster, wait_until

HELLO_BYTES = 97
VICTIM, VICTIM_ID = "gro", 5
OTHERS = [site for site in SITES if site != VICTIM]


class Certificates(unittest.TestCase):
    asked = itertools.cycle(("rtd", "utr", "ams"))

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        c = cls.cluster
        cls.profile = c.profile
        c.client("vault", "create", "v", profile=cls.profile)
        cls.pki, cls.foreign = c.dir / "pki", c.top / "foreign"
        cls.ctl("pki", "init", "--ec", "--dir", cls.foreign)
        cls.ctl("pki", "issue", "--dir", cls.foreign, "--node", VICTIM_ID, "--host", "127.0.0.1", "--out", cls.foreign / "site")
        cls.expired = c.top / "expired"
        cls.ctl("pki", "issue", "--dir", cls.pki, "--node", VICTIM_ID, "--host", "127.0.0.1", "--out", cls.expired,
                before=["faketime", "-f", "-500d"])
        cls.cluster_id = bytes.fromhex((cls.pki / "cluster-id").read_text().strip())
        cls.lineage = bytes.fromhex(c.get("ams", "/.well-known/kluis.json")[1]["lineage"])
        cls.puts = 0

    @classmethod
    def ctl(cls, *words, before=()):
        command = [*before, str(cls.cluster.kluisctl), *map(str, words)]
        return cls.cluster.run(command, True, 150)

    # --- helpers ---

    def others_serve(self):
        """A client stores something at one of the five and reads it at another."""
        c = self.cluster
        type(self).puts += 1
        name, data = f"f{self.puts}", os.urandom(30000)
        source, back = c.top / "in", c.top / "out"
        source.write_bytes(data)
        c.client("put", source, f"v:/{name}", profile=self.profile, endpoint="utr")
        back.unlink(missing_ok=True)
        c.client("get", f"v:/{name}", back, profile=self.profile, endpoint="mst")
        self.assertEqual(back.read_bytes(), data)
        c.wait_ready(OTHERS)

    def stop_victim(self):
        """Stops it, keeps a copy of its files, and sees to it that it comes back whole after the test."""
        c = self.cluster
        here, saved = c.site_dir(VICTIM), c.top / "saved"
        c.stop(VICTIM)
        saved.mkdir()
        files = ["kluisd.ini", "link.pem", "link.key", "api.pem", "api.key", "secrets"]
        for name in files:
            shutil.copy2(here / name, saved)

        def bring_back():
            c.kill(VICTIM)
            for name in files:
                (here / name).unlink(missing_ok=True)
                shutil.copy2(saved / name, here)
            shutil.rmtree(saved)
            c.start(VICTIM)
            c.wait_ready([VICTIM])
        self.addCleanup(bring_back)
        return here

    def install(self, here, source, *names):
        for name in names:
            (here / name).unlink(missing_ok=True)
            shutil.copy2(source / name, here / name)

    def edit(self, here, pattern, to):
        text = (here / "kluisd.ini").read_text()
        changed, n = re.subn(pattern, lambda match: match.expand(to), text, count=1, flags=re.M)
        self.assertEqual(n, 1, pattern)
        (here / "kluisd.ini").write_text(changed)

    def check_refused(self, *texts, words=(), config=None, status=None):
        code, said = self.cluster.refused(VICTIM, *words, config=config)
        self.assertIn(code, [1, 2, 14] if status is None else [status], said)
        self.assertRegex(said, r"(?m)^kluisd: ")
        for text in texts:
            self.assertIn(text, said)
        self.assertEqual(self.cluster.get(VICTIM, "/healthz")[0], 0, "it listens all the same")

    def hello(self, node=VICTIM_ID, cluster_id=None, lineage=None, magic=b"KLNK", version=2, incarnation=bytes([7] * 16)):
        hello = (magic + struct.pack(">B", version) + (cluster_id or self.cluster_id) + (lineage or self.lineage) +
                 struct.pack(">Q", node) + incarnation + struct.pack(">QQQIQ", 1, 1, 1, 1, 0))
        self.assertEqual(len(hello), HELLO_BYTES)
        return hello

    def present(self, site, hello, cert=None, key=None, alpn="kluis-link/1", highest=ssl.TLSVersion.TLSv1_3):
        """Dials the link port of a site: what comes back until it closes, or the name of the alert."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.pki / "node-ca.pem")
        context.set_alpn_protocols([alpn])
        context.maximum_version = highest
        if cert is not None:
            context.load_cert_chain(cert, key)
        port = self.cluster.base_port + 10 + SITES.index(site)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=150) as raw, context.wrap_socket(raw) as tls:
                tls.sendall(hello)
                answer = b""
                while piece := tls.recv(4096):
                    answer += piece
                return answer
        except ssl.SSLError as error:
            return error.reason
        except ConnectionError:
            return "reset"

    def check_wire(self, answer, reason, hello, *identity, site=None, **more):
        """Refused, closed, and said why. A site logs troubles of strangers once a second, so it may take a second try; the next one
        is asked at another site."""
        c = self.cluster
        site = site or next(self.asked)
        mark = c.log_mark(site)

        def told():
            got = self.present(site, hello, *identity, **more)
            self.assertIn(got, answer if isinstance(answer, list) else [answer])
            with open(c.site_dir(site) / "kluisd.log", "rb") as log:
                log.seek(mark)
                return [l for l in log.read().decode().splitlines() if "op=link_in state=refused" in l and reason in l]
        wait_until(f"'{reason}' in the log of {site}", 120, told)

    # --- what a node itself refuses at its start ---

    def test_certificate_of_another_ca(self):
        here = self.stop_victim()
        self.install(here, self.foreign / "site", "link.pem", "link.key")
        self.check_refused("link.pem", "certificate")
        self.others_serve()

    def test_certificate_of_another_node(self):
        here = self.stop_victim()
        self.install(here, self.cluster.site_dir("ein"), "link.pem", "link.key")
        self.check_refused("link.pem", "is not that of node 5 of this cluster", status=2)
        self.others_serve()

    def test_certificate_that_expired(self):
        here = self.stop_victim()
        self.install(here, self.expired, "link.pem", "link.key")
        self.check_refused("link.pem", "expired")
        self.others_serve()

    def test_api_certificate_on_the_link(self):
        here = self.stop_victim()
        shutil.copy2(here / "api.pem", here / "link.pem")
        (here / "link.key").unlink()
        shutil.copy2(here / "api.key", here / "link.key")
        self.check_refused("link.pem")

    def test_key_of_another_certificate(self):
        here = self.stop_victim()
        self.install(here, self.cluster.site_dir("ein"), "link.key")
        self.check_refused("link.key")

    def test_missing_certificate(self):
        here = self.stop_victim()
        (here / "link.pem").unlink()
        self.check_refused("link.pem")

    def test_data_directory_of_another_node(self):
        here = self.stop_victim()
        self.edit(here, r"^data = data$", "data = ../mst/data")
        self.check_refused("belongs to node 6, not to this node 5", status=2)
        self.others_serve()

    def test_data_directory_of_another_cluster(self):
        here = self.stop_victim()
        stranger = self.cluster.top / "stranger"
        shutil.copytree(here, stranger, ignore=shutil.ignore_patterns("data", "*.sock", "drop", "repository", "sshd"))
        self.addCleanup(shutil.rmtree, stranger)
        text = (stranger / "kluisd.ini").read_text().replace(self.cluster_id.hex(), (self.foreign / "cluster-id").read_text().strip())
        text = text.replace("../../pki/node-ca.pem", str(self.foreign / "node-ca.pem")).replace("../../pki/", f"{self.pki}/")
        (stranger / "kluisd.ini").write_text(text)
        self.install(stranger, self.foreign / "site", "link.pem", "link.key")
        (stranger / "secrets").unlink()
        (stranger / "drop").mkdir()
        done = subprocess.run([str(self.cluster.kluisd), "init", "--new-secrets", "--development", "--config", str(stranger / "kluisd.ini")],
                              capture_output=True, text=True, timeout=150)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.edit(here, r"^data = data$", f"data = {stranger}/data")
        self.check_refused("belongs to node 5 of another cluster", status=2)

    def test_settings(self):
        here = self.stop_victim()
        good = (here / "kluisd.ini").read_text()
        cases = [
            (r"^id = 5$", "id = 4", "no [site gro] with id 4"),
            (r"^id = 5$", "id = five", "[node] 'id' must be a number from 1 to"),
            (r"^data = data$", "date = data", "[node] 'date' is not a setting"),
            (r"^data = data$", "", "[node] 'data' is missing"),
            (r"^(site = gro)$", r"\1\nsite = gro", "[node] 'site' stands twice"),
            (r"^(cache_mib = ).*$", r"\g<1>1", "[storage] 'cache_mib' must be a number from 8 to 65536"),
            (r"^(\[link\]\nlisten = ).*$", r"\1nowhere", "[link] 'listen' must be host:port"),
            (r"^(\[site ams\]\nid = )1$", r"\g<1>2", "have the same id"),
            (r"^(\[site ams\]\n(?:.*\n)*?role = )voter$", r"\1leader", "'role' must be voter or standby"),
            (r"^ssh_host_key = .*$", "ssh_host_key = ssh-rsa AAAA", "is no ssh-ed25519 key"),
            (r"^(backup_key = ).*$", r"\g<1>00", "must be 64 hex digits"),
            (r"^data = data$", "data", "is not 'key = value'"),
            (r"^sign_key = .*$", "", "'public_key' needs sign_key"),
            (r"^sign_key = .*$", "sign_key = ../ein/backup-sign.key", "is not the public half of"),
            (r"^restore_key = .*$", "restore_key = nowhere.pub", "nowhere.pub"),
            (r"^drop = drop$", "drop = kluisd.ini", "[backup] 'drop'"),
            (r"^repository = repository$", "repository = secrets", "[backup] 'repository'"),
            (r"^secrets = secrets$", "secrets = nowhere", "nowhere"),
        ]
        for pattern, to, sentence in cases:
            with self.subTest(sentence):
                (here / "kluisd.ini").write_text(good)
                self.edit(here, pattern, to)
                self.check_refused(sentence)
        with self.subTest("check-config says the same"):
            (here / "kluisd.ini").write_text(good)
            self.edit(here, r"^data = data$", "date = data")
            self.check_refused("is not a setting", words=["check-config"], status=2)
        with self.subTest("loopback only"):
            (here / "kluisd.ini").write_text(good)
            self.edit(here, r"^(\[link\]\nlisten = )127.0.0.1", r"\g<1>0.0.0.0")
            self.check_refused("was made for development and serves on loopback only", status=2)
        with self.subTest("no such file"):
            self.check_refused("nowhere.ini", config=here / "nowhere.ini")
        with self.subTest("no such command"):
            (here / "kluisd.ini").write_text(good)
            self.check_refused("no command 'begin'", words=["begin"], status=2)
        self.others_serve()

    def test_backup_disk_away(self):
        """What the disk answers keeps a node from backups alone, and from those until it is back."""
        c, here = self.cluster, self.stop_victim()

        def alarm():
            return c.alarm(VICTIM, "repository")

        def stopped(code):
            done = c.ctl(VICTIM, "backup", "status", check=False)
            return done.returncode == code and "from taking part: " in done.stdout and "no backups: [backup] 'drop'" in done.stderr

        (here / "drop").rename(here / "away")
        self.addCleanup(lambda: (here / "away").exists() and (here / "away").rename(here / "drop"))
        # It runs before each start of the unit: it warns.
        done = c.run([str(c.kluisd), "check-config", "--config", str(here / "kluisd.ini")], False, 150)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: [backup] 'drop': directory", done.stdout)
        mark = c.log_mark(VICTIM)
        c.start(VICTIM)
        c.wait_ready([VICTIM])
        c.wait_log(VICTIM, mark, "op=backup_open rc=KLUIS_ENOTFOUND")
        self.assertEqual(alarm()["severity"], "critical")
        self.assertIn("'drop'", alarm()["text"])
        self.others_serve()
        c.ctl("ams", "snapshot", "save", "--wait")
        wait_until("backup status says so", 120, lambda: stopped(3))
        (here / "away").rename(here / "drop")
        wait_until("the alarm ends", 120, lambda: alarm() is None)
        wait_until("backup status is good", 120, lambda: c.ctl(VICTIM, "backup", "status", check=False).returncode == 0)

    def test_port_in_use(self):
        here = self.stop_victim()
        self.edit(here, r"^(\[link\]\nlisten = ).*$", rf"\g<1>127.0.0.1:{self.cluster.base_port + 10}")
        self.check_refused("address already in use")

    def test_second_process_of_one_directory(self):
        code, said = self.cluster.refused("ein")
        self.assertEqual(code, 1, said)
        self.assertIn("another process has", said)
        self.cluster.wait_ready(["ein"])

    # --- what the others refuse on the wire ---

    def test_node_of_another_ca_on_the_wire(self):
        """A whole node whose certificate and trust are of another CA: runs, is nobody's peer, never gets ready."""
        c = self.cluster
        here = self.stop_victim()
        # Its certificate must name our cluster, or it would refuse itself: the same id under a CA of its own.
        own = c.top / "own-ca"
        self.ctl("pki", "init", "--ec", "--dir", own)
        (own / "cluster-id").write_text(self.cluster_id.hex() + "\n")
        self.ctl("pki", "issue", "--dir", own, "--node", VICTIM_ID, "--host", "127.0.0.1", "--out", own / "site")
        self.install(here, own / "site", "link.pem", "link.key")
        self.edit(here, r"^ca = ../../pki/node-ca.pem$", f"ca = {own}/node-ca.pem")
        marks = {site: c.log_mark(site) for site in OTHERS}
        mark = c.log_mark(VICTIM)
        c.spawn(VICTIM)
        wait_until("it runs", 120, lambda: c.get(VICTIM, "/healthz")[0] == 200)
        for site in OTHERS:
            c.wait_log(site, marks[site], "op=link_in state=refused")
            line = c.wait_log(site, marks[site], "state=down peer=5")
            self.assertIn("reason=", line)
        c.wait_log(VICTIM, mark, "op=link state=down peer=1")
        wait_until("it says that it is not ready", 120, lambda: c.get(VICTIM, "/readyz")[0] == 503)
        self.others_serve()
        wait_until("it still says so", 120, lambda: c.get(VICTIM, "/readyz")[0] == 503)
        self.assertNotIn("op=link state=up", c.log(VICTIM)[mark:])
        self.assertNotIn("op=link_in state=up", c.log(VICTIM)[mark:])

    def test_peer_behind_another_nodes_certificate(self):
        """Who answers at gro's address shows ein's certificate: all five hang up before they say a word."""
        c = self.cluster
        self.stop_victim()
        ein = c.site_dir("ein")
        marks = {site: c.log_mark(site) for site in ("ams", "rtd", "utr")}
        server = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{c.base_port + 10 + SITES.index(VICTIM)}", "-tls1_3", "-alpn", "kluis-link/1",
             "-cert", str(ein / "link.pem"), "-key", str(ein / "link.key"), "-CAfile", str(self.pki / "node-ca.pem"), "-Verify", "2",
             "-quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            for site, mark in marks.items():
                c.wait_log(site, mark, "state=down peer=5", 180)
                c.wait_log(site, mark, "its certificate is node 4's", 180)
        finally:
            server.kill()
            heard = server.communicate(timeout=150)[0]
        self.assertNotIn(b"KLNK", heard, "a hello went to the wrong node")
        self.others_serve()

    def test_wire(self):
        gro, ein, expired = (self.cluster.site_dir("gro"), self.cluster.site_dir("ein"), self.expired)
        link = lambda here: (here / "link.pem", here / "link.key")
        strange = bytes(16)
        self.check_wire("TLSV13_ALERT_CERTIFICATE_REQUIRED", "did not return a certificate", self.hello())
        self.check_wire("TLSV1_ALERT_UNKNOWN_CA", "certificate is refused", self.hello(), *link(self.foreign / "site"))
        self.check_wire("TLSV1_ALERT_UNKNOWN_CA", "certificate is refused", self.hello(), gro / "api.pem", gro / "api.key")
        self.check_wire("SSLV3_ALERT_CERTIFICATE_EXPIRED", "certificate has expired", self.hello(), *link(expired))
        # Python has no name for alert 120, no_application_protocol.
        self.check_wire(["TLSV1_ALERT_NO_APPLICATION_PROTOCOL", None], "no application protocol", self.hello(), *link(gro), alpn="h2")
        self.check_wire("TLSV1_ALERT_PROTOCOL_VERSION", "unsupported protocol", self.hello(), *link(gro),
                        highest=ssl.TLSVersion.TLSv1_2)
        self.check_wire(b"\x05", "the certificate names another node than the hello", self.hello(node=5), *link(ein))
        self.check_wire(b"\x05", "certificate=node/5", self.hello(node=4), *link(gro))
        # A site's own certificate, stolen from it, at its own port.
        self.check_wire(b"\x05", "reason=", self.hello(node=1), *link(self.cluster.site_dir("ams")), site="ams")
        self.check_wire(b"\x03", "another cluster", self.hello(cluster_id=strange), *link(gro))
        self.check_wire(b"\x04", "lineage", self.hello(lineage=strange), *link(gro))
        self.check_wire(b"\x02", "version", self.hello(version=1), *link(gro))
        self.check_wire(b"\x08", "malformed hello", self.hello(magic=b"GET "), *link(gro))
        self.check_wire(b"\x08", "malformed hello", self.hello(incarnation=bytes(16)), *link(gro))
        # The right certificate, but not the memory that belongs to it; and that, as it was at another start.
        log_id = (gro / "data" / "log" / "state").read_bytes()[16:32]
        self.check_wire(b"\x09", "initialised anew", self.hello(), *link(gro))
        self.check_wire(b"\x0a", "an old copy of itself", self.hello(incarnation=log_id), *link(gro))
        self.others_serve()

    # --- new certificates while it runs ---

    def reload(self, sites, answer="op=reload state=done"):
        """SIGHUP, and until each says what came of it."""
        c = self.cluster
        marks = {site: c.log_mark(site) for site in sites}
        for site in sites:
            os.kill(c.pid(site), signal.SIGHUP)
        return {site: c.wait_log(site, mark, answer) for site, mark in marks.items()}

    def links_broke(self, marks):
        """By themselves, on a machine that keeps a node waiting for seconds: then they tell nothing of what was done to them."""
        broke = [site for site, mark in marks.items()
                 if any(why in self.cluster.log(site)[mark:] for why in ("nothing heard for", "no answer in"))]
        if broke:
            print(f"SKIPPED in part: links of {broke} broke by themselves")
        return broke

    def replace(self, path, data, mode=0o644):
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(data)
        fresh.chmod(mode)
        fresh.rename(path)

    def issued(self, pki, node):
        out = pki / f"site-{node}"
        self.ctl("pki", "issue", "--dir", pki, "--node", node, "--host", "127.0.0.1", "--out", out)
        return out

    def writer(self, stop, failures):
        """Stores a file after the other; each must arrive."""
        c, n = self.cluster, 0
        while not stop.is_set():
            n += 1
            source = c.top / f"rotation-{n}"
            source.write_bytes(os.urandom(20000))
            done = c.client("--timeout=120", "put", source, f"v:/rotation-{n}", profile=self.profile, endpoint=SITES[n % 6], check=False)
            if done.returncode != 0:
                failures.append(f"put {n}: {done.returncode} {done.stderr}")
        self.written = n

    def test_rotation_of_the_node_ca(self):
        """Another CA for all six nodes, step by step, while a client writes: nobody restarts, no write fails."""
        c = self.cluster
        fresh, trust = c.top / "fresh", self.pki / "node-ca.pem"
        old_ca, stolen = trust.read_bytes(), c.top / "stolen"
        self.ctl("pki", "init", "--ec", "--dir", fresh)
        (fresh / "cluster-id").write_text(self.cluster_id.hex() + "\n")
        new_ca = (fresh / "node-ca.pem").read_bytes()
        shutil.copytree(c.site_dir(VICTIM), stolen, ignore=lambda _, names: [n for n in names if not n.startswith("link.")])
        issued = {site: self.issued(fresh, 1 + i) for i, site in enumerate(SITES)}
        back = {site: self.issued(self.pki, 1 + i) for i, site in enumerate(SITES)}
        pids = {site: c.pid(site) for site in SITES}
        marks = {site: c.log_mark(site) for site in SITES}
        stop, failures = threading.Event(), []
        thread = threading.Thread(target=self.writer, args=(stop, failures))
        thread.start()
        try:
            # Both are trusted everywhere, before anybody shows a certificate of the new one.
            self.replace(trust, old_ca + new_ca)
            self.reload(SITES)
            for site in SITES:
                for name, mode in (("link.pem", 0o644), ("link.key", 0o600)):
                    self.replace(c.site_dir(site) / name, (issued[site] / name).read_bytes(), mode)
                self.reload([site])
                if not self.links_broke(marks):
                    self.assertNotIn("state=down", c.log(site)[marks[site]:], "a live link was touched")
            # The old one goes, site by site: its links are dialled anew, under the new certificates.
            self.replace(trust, new_ca)
            for site in SITES:
                self.reload([site])
                c.wait_log(site, marks[site], "op=link state=up")
            c.wait_ready()
            stop.set()
            thread.join(300)
            self.assertEqual(failures, [])
            self.assertGreater(self.written, 3)
            self.assertEqual({site: c.pid(site) for site in SITES}, pids)
            c.wait_ready()
            self.others_serve()
            # What the old CA signed opens nothing any more.
            self.check_wire(["TLSV1_ALERT_UNKNOWN_CA", "CERTIFICATE_VERIFY_FAILED"], "reason=", self.hello(), stolen / "link.pem",
                            stolen / "link.key", site="ams")
        finally:
            stop.set()
            thread.join(300)
            self.replace(trust, old_ca + new_ca)
            self.reload(SITES)
            for site in SITES:
                for name, mode in (("link.pem", 0o644), ("link.key", 0o600)):
                    self.replace(c.site_dir(site) / name, (back[site] / name).read_bytes(), mode)
            self.reload(SITES)
            self.replace(trust, old_ca)
            self.reload(SITES)
            c.wait_ready()

    def test_bad_certificate_at_a_reload(self):
        """The one in force stays, in service and in the status; the log and kluisctl's user learn which file and why."""
        c = self.cluster
        here = c.site_dir(VICTIM)
        good, before = (here / "link.pem").read_bytes(), c.admin(VICTIM, "/v1/sys/status")["certificates"]
        self.assertEqual([row["name"] for row in before], ["api", "link"])
        self.assertGreater(before[1]["days_left"], 300)
        try:
            for bad, why in ((self.expired / "link.pem", "link.pem"), (c.site_dir("ein") / "link.pem", "link.key"),
                             (self.foreign / "site" / "link.pem", "link.pem")):
                self.replace(here / "link.pem", bad.read_bytes())
                said = self.reload([VICTIM], "keeping what is in force")[VICTIM]
                self.assertIn(why, said)
            (here / "link.pem").unlink()
            said = self.reload([VICTIM], "keeping what is in force")[VICTIM]
            self.assertIn("link.pem", said)
            self.assertEqual([{**row, "days_left": 0} for row in c.admin(VICTIM, "/v1/sys/status")["certificates"]],
                             [{**row, "days_left": 0} for row in before])  # Midnight may have been between.
            self.others_serve()
            c.wait_ready([VICTIM])
        finally:
            self.replace(here / "link.pem", good)
        self.reload([VICTIM])

    def test_silence_ends(self):
        """A connection that never says hello is dropped, and many of them shut nobody out."""
        c = self.cluster
        port = c.base_port + 10
        silent = [socket.create_connection(("127.0.0.1", port), timeout=150) for _ in range(200)]
        try:
            self.others_serve()
            for connection in silent:
                try:
                    self.assertEqual(connection.recv(1), b"")
                except ConnectionResetError:
                    pass
        finally:
            for connection in silent:
                connection.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
