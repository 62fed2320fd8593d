"""A cluster that freezes, forks its users, claims a restore, or speaks no sense; and one that is another."""
import os
import struct
import subprocess
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from node import Pki
from proxy import Proxy, b64, edit_json, refuse, reroute
from writer import now_ms, point, tagged_hash

MEMORY_MIB = 200
ENDS = 120  # Seconds: no answer keeps a client for ever.
WELL_KNOWN = "/.well-known/kluis.json"


def raw(pattern, *parts):
    """These bytes as the answer, and the end of the connection; a part that is a function gives them."""
    def attack(x):
        if x.matches("GET", pattern):
            x.raw = (part for given in parts for part in (given() if callable(given) else (given,)))
            x.bite()
    return attack


def endless(part, pause=0.0):
    """Until nobody takes it."""
    def more():
        for _ in range(1_000_000):
            if pause:
                time.sleep(pause)
            yield part
    return more


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Clusters:
    # --- withheld service ---

    def test_frozen(self):
        """503 for everything, for the heads alone, for the keyring or the identity alone: what reads offline says so, nothing else goes on"""
        keyring, identity, head, everything = "/v1/keyring", "/v1/users/.*", self.home + "/heads?", "/.*"
        verify, sync, put = ("verify", "home"), ("sync", "home"), ("put", self.world.source(b"x"), "home:/x")
        for pattern, commands in ((head, (verify, put)), (keyring, (verify, put)), (identity, (sync, put)), (everything, (verify,))):
            attack = refuse(503, "no-quorum", pattern)
            for words in commands:
                with self.subTest(pattern=pattern, words=words):
                    self.lie(attack, "--timeout", "1", *words, code=13, says="no-quorum", check=False)
            with self.subTest(pattern=pattern):
                self.lie(attack, "--timeout", "1", "ls", "home", code=(0, 13), says="offline", check=False)
        self.world.unharmed()

    def test_fork_of_two_devices(self):
        """two devices are shown two histories of a vault: seen at the next exchange, though each is ahead of the other's pin"""
        carol = self.world.person("carol")
        desk, phone = carol.register("desk"), carol.device("phone")
        desk.run("vault", "create", "home")
        phone.login(fresh=True)
        desk.run("device", "approve", "phone", "--yes")
        phone.login()
        phone.run("ls", "home")
        vaults = r"/v1/vaults.*"
        fork = self.world.clone("fork-of-carol")
        # No pin of the desk reaches the keyring, where the phone would find it.
        with self.proxy.lying(refuse(503, "no-quorum", "/v1/keyring", method="PUT")) as told:
            for text in ("one", "two", "three"):
                desk.run("--timeout", "1", "put", self.world.source(text.encode()), "home:/desk", code=None)
        self.assertGreater(told.bites, 0)
        with self.proxy.lying(reroute(fork, vaults)):
            phone.put("of the phone", "home:/phone")
        for device in (desk, phone):  # The phone has said through the keyring what it saw; and now it sees what the desk does.
            done = device.call("put", self.world.source(b"more"), "home:/more")
            self.assertEqual(done.returncode, 15, f"{device.name}: {done.stderr}")
            self.assertIn("fork", done.stderr)
        self.assertIn("offline", desk.call("--offline", "ls", "home").stderr)
        self.assertIn("desk", desk.call("--offline", "ls", "home").stdout)
        self.world.unharmed()
        fork.remove()

    # --- restores that nobody made ---

    def restored(self, record=None, key=None):
        """The cluster says that it is of another lineage, by this record."""
        lineage = os.urandom(16).hex()

        def attack(x):
            x.pass_on()
            index = x.field("Kluis-Index")
            if index is None:
                return
            old = index.split(":")[0]
            x.headers = [(name, value.replace(old, lineage)) for name, value in x.headers]
            if x.path == WELL_KNOWN:
                o = x.json
                o["lineage"] = lineage
                if record is not None:
                    o["restore"]["records"] = [b64(record(bytes.fromhex(o["cluster_id"]), bytes.fromhex(old), bytes.fromhex(lineage)))]
                if key is not None:
                    o["restore"]["key"] = b64(key)
                x.json = o
            x.bite()
        return attack

    def test_restore_invented(self):
        """another lineage without a restore record, with a made-up one, and with one by another key that the cluster names as the operator's"""
        signer = ec.generate_private_key(ec.SECP256R1())

        def record(cluster, old, new):
            fixed = b"KRR1\x01\0\0\0" + cluster + old + new + struct.pack(">QQ", 1, now_ms()) + os.urandom(32)
            r, s = utils.decode_dss_signature(signer.sign(tagged_hash("kluis/v1/restore", fixed), ec.ECDSA(hashes.SHA256())))
            return fixed + r.to_bytes(32, "big") + s.to_bytes(32, "big")
        for attack in (self.restored(), self.restored(lambda *ids: record(*ids)[:104] + bytes(64)), self.restored(record), self.restored(record, point(signer))):
            self.lie(attack, "--accept-restore", "ls", "home", code=15, says="restore", check=False)
            self.lie(attack, "--accept-restore", "put", self.world.source(b"x"), "home:/x", code=15, says="restore", check=False)
        self.world.unharmed()

    # --- transport ---

    def test_another_ca(self):
        """a certificate of another CA for the same address"""
        if not hasattr(self.world, "other_pki"):
            self.world.other_pki = Pki(self.world.top, "other-pki")
            self.world.other_pki.issue(99, self.world.top / "other-proxy")
        self.proxy.certificates(self.world.top / "other-proxy")
        try:
            done = self.one.call("--timeout", "2", "verify", "home")
            fresh = self.world.alice.device("wrong-ca")
            first = fresh.call("login", *fresh.first_contact(), "--account-key-file", self.world.alice.sheet, "--password-file", self.world.alice.password)
        finally:
            self.proxy.certificates(self.world.top / "proxy")
        for one in (done, first):
            self.assertEqual(one.returncode, 14, one.stderr)
            self.assertRegex(one.stderr, "certificate")
        self.world.unharmed()

    def test_first_contact(self):
        """at first contact, judged by the pin of the CA: another CA beside the right one, another one in the second answer"""
        other = Pki(self.world.top, "first-pki")
        evil = other.ca.read_text()
        pin = self.pin()
        bundle = edit_json("GET", WELL_KNOWN, lambda o: o.update(ca=o["ca"] + evil))
        for change, count in ((bundle, 1), (edit_json("GET", WELL_KNOWN, lambda o: o.update(ca=evil)), 1), (self.second_time(evil), 1)):
            eve = self.world.alice.device(f"contact-{self.world.made}")
            self.world.made += 1
            self.lie(change, "login", "--name", "alice", "--endpoints", self.proxy.url, "--ca-pin", pin, "--device", "x", "--account-key-file",
                     self.world.alice.sheet, "--password-file", self.world.alice.password, device=eve, code=(0, 14, 15), says="", check=False)
            settings = eve.profile / "settings.json"
            self.assertFalse(settings.exists() and evil.splitlines()[1] in settings.read_text(), "the other CA is trusted")
        self.world.unharmed()

    def second_time(self, evil):
        seen = []

        def change(o):
            seen.append(1)
            if len(seen) > 1:
                o.update(ca=evil)
        return edit_json("GET", WELL_KNOWN, change)

    def pin(self):
        line = next(line for line in self.world.alice.sheet.read_text().splitlines() if line.startswith("Pin of the CA:"))
        return line.split(":", 1)[1].strip()

    def test_redirected(self):
        """redirects to another place"""
        for status in (301, 302, 307, 308):
            def attack(x, status=status):
                x.answer(status, b"", headers=[("Location", "https://127.0.0.1:1/elsewhere")])
                x.bite()
            self.lie(attack, "--timeout", "1", "verify", "home", code=13, says=f"redirect .HTTP {status}", check=False)
        self.world.unharmed()

    def measured(self, attack, *words):
        """(exit code, what it said, peak memory in MiB, seconds)"""
        begin = time.monotonic()
        with self.proxy.lying(attack) as told, open(self.world.top / "said", "w+b") as said:
            command = [str(self.one.person.kluis), "--profile", str(self.one.profile), "--timeout", "1", *words]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            text = said.read().decode(errors="replace")
        self.assertGreater(told.bites, 0, text)
        return process.returncode, text, usage.ru_maxrss / 1024, time.monotonic() - begin

    def test_overlong(self):
        """answers without an end: body, chunks, header fields, a status line; and one that says that it is too long"""
        path = self.home + "/head"
        for parts in ((OK + b"Content-Length: 1000000000000\r\n\r\n", endless(b"x" * 65536)), (OK + b"Transfer-Encoding: chunked\r\n\r\n", endless(b"8000\r\n" + b"y" * 0x8000 + b"\r\n")),
                      (OK, endless(b"X-Header: " + b"z" * 4000 + b"\r\n")), (b"HTTP/1.1 200 ", endless(b"a" * 4096)),
                      (OK + b"Content-Length: 99999999999999999999999999\r\n\r\n",), (OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",)):
            with self.subTest(parts=parts[0][-40:]):
                code, text, memory, seconds = self.measured(raw(path, *parts), "verify", "home")
                self.assertEqual(code, 13, text)
                self.assertLess(memory, MEMORY_MIB)
                self.assertLess(seconds, ENDS)
        self.world.unharmed()

    def test_cut(self):
        """answers that are cut, longer or shorter than they say, of two lengths, empty, none"""
        path = self.home + "/head"
        for parts in ((OK + b"Content-Length: 100\r\n\r\n{}",), (OK + b"Content-Length: 1\r\n\r\n{}",), (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",),
                      (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",), (OK + b"\r\n{}",), (b"",), (b"\x16\x03\x01",), (b"HTTP/1.1 100 Continue\r\n\r\n" * 50,)):
            with self.subTest(parts=parts[0][-40:]):
                code, text, _, seconds = self.measured(raw(path, *parts), "verify", "home")
                self.assertEqual(code, 13, text)
                self.assertLess(seconds, ENDS)
        self.world.unharmed()

    @classmethod
    def begin_slow(cls):
        """It takes the client's whole patience, half a minute: beside the other tests, at a proxy of its own."""
        cls.slow = Proxy(cls.world.top / "proxy")
        cls.addClassCleanup(cls.slow.close)
        cls.slow.attack = raw(WELL_KNOWN, OK + b"Content-Length: 100000\r\n\r\n", endless(b" ", 0.05))
        command = [str(cls.one.person.kluis), "--profile", str(cls.world.top / "profile-slow"), "--timeout", "2", "login", "--name", "alice",
                   "--endpoints", cls.slow.url, "--ca", str(cls.world.pki.ca), "--password-file", str(cls.world.alice.password)]
        cls.waiting = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

        def end():
            cls.waiting.kill()  # If it has not ended, it failed.
            cls.waiting.wait()
            cls.waiting.stdout.close()
        cls.addClassCleanup(end)

    def test_slow(self):
        """an answer a byte at a time: an attempt lasts half a minute"""
        text, _ = self.waiting.communicate(timeout=240)
        self.assertEqual(self.slow.bites, 1, text)
        self.assertEqual(self.waiting.returncode, 13, text)
