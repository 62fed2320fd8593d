"""Lies at the door, and about keyrings, identities and other people."""
import os
import struct

from cryptography.hazmat.primitives import serialization

from person import GROUP, N, N_BYTES
from proxy import b64, both, edit, edit_json, flip, reroute, unb64
from writer import KEM_P256, Writer, lp16, point

START, FINISH = "/v1/login/start", "/v1/login/finish"
KEYRING = "/v1/keyring"


def counts(login, keyring):
    """Other counts in the kdf block."""
    def change(o):
        block = unb64(o["kdf"])
        o["kdf"] = b64(block[:4] + struct.pack(">II", login, keyring) + block[12:])
    return edit_json("POST", START, change)


def kdf_bytes(at, value):
    def change(o):
        block = unb64(o["kdf"])
        o["kdf"] = b64(block[:at] + value + block[at + len(value):])
    return edit_json("POST", START, change)


def granted(x):
    """A finish as a node makes it that does not know the password."""
    if x.matches("POST", FINISH):
        x.answer(200, {"M2": b64(os.urandom(32)), "token": "kst_" + b64(os.urandom(32)), "token_mac": b64(os.urandom(32)), "user_id": "00" * 16,
                       "level": "full", "mfa": [], "expires": 4102444800000})
        x.bite()


class Impostor(Writer):
    """Somebody who makes a chain under a name and an id that are not hers."""

    def __init__(self, name, user_id=None):
        super().__init__(name, "00" * 16)
        self.user_id = user_id or self.user_id
        public = self.user.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        genesis, digest = self.statement(1, 1, bytes(32), lp16(name.encode()) + lp16(public) + struct.pack(">H", KEM_P256) + lp16(point(self.transfer)))
        add, self.last = self.add(2, digest)
        self.chain = [genesis, add]

    def add(self, seq, before):
        """(statement, its hash) that adds a device of hers"""
        key = self.hpke
        return self.statement(4, seq, before, os.urandom(16) + lp16(point(key)) + lp16(point(key)) + lp16(b"mine"))


class Accounts:
    def login_lie(self, attack, *, code, says, check=False, device=None):
        device = device or self.one
        self.lie(attack, "login", "--password-file", self.world.alice.password, device=device, code=code, says=says, check=check)

    # --- the door ---

    def test_counts_below_floor(self):
        """KDF counts below the floor"""
        for pair in ((1, 2), (599_999, 1_199_998), (600_000, 1_199_999), (0, 0)):
            self.login_lie(counts(*pair), code=14, says="kdf counts")
        self.world.unharmed()

    def test_counts_below_pin(self):
        """KDF counts above the floor, below those of the keyring"""
        seen = []
        with self.proxy.lying(edit_json("POST", START, lambda o: seen.append(unb64(o["kdf"])))):
            self.one.login()
        login, keyring = struct.unpack_from(">II", seen[0], 4)
        if login == 600_000:
            self.skipTest("this machine is so slow that the pinned counts are the floor")
        self.login_lie(counts(600_000, 1_200_000), code=15, says="pin|below|fewer", check=True)

    def test_kdf_changed(self):
        """the account key said not to be needed; an unknown flag, version, algorithm"""
        self.login_lie(kdf_bytes(2, struct.pack(">H", 0)), code=15, says="account key")
        self.login_lie(kdf_bytes(2, struct.pack(">H", 3)), code=14, says="kdf|KDF")
        self.login_lie(kdf_bytes(0, b"\x02"), code=14, says="kdf|KDF")
        self.login_lie(kdf_bytes(1, b"\x02"), code=14, says="kdf|KDF", check=True)

    def test_group_changed(self):
        """another SRP group, an unknown one, and one that keeps changing"""
        def other(group):
            return lambda o: (o.pop("handshake", None), o.pop("B", None), o.update(group=group))
        for group in (2, 9, 0):
            with self.subTest(group=group):
                self.login_lie(edit_json("POST", START, other(group)), code=14, says="srp group|SRP group")
        self.login_lie(edit_json("POST", START, lambda o: o.update(group=2)), code=14, says="srp group|SRP group", check=True)

    def test_b_degenerate(self):
        """B = 0, N, 2N, too short, too long"""
        for value in (bytes(N_BYTES), N.to_bytes(N_BYTES, "big"), (2 * N).to_bytes(N_BYTES + 1, "big"), b"\x05", bytes(513)):
            with self.subTest(value=value[:4]):
                self.login_lie(edit_json("POST", START, lambda o, value=value: o.update(B=b64(value))), code=14, says="B out of range")
        self.world.unharmed()

    def test_salt_changed(self):
        """another salt or B, and a made-up answer to what comes of it"""
        self.login_lie(both(edit_json("POST", START, lambda o: o.update(salt=b64(os.urandom(16)))), granted), code=14, says="does not know the password")
        self.login_lie(both(edit_json("POST", START, lambda o: o.update(B=b64(os.urandom(384)))), granted), code=14, says="does not know the password")
        self.login_lie(granted, code=14, says="does not know the password", check=True)

    def test_proof_changed(self):
        """a wrong M2, a wrong token_mac, another token under the right one"""
        for change in (lambda o: o.update(M2=b64(flip(unb64(o["M2"]), 0))), lambda o: o.update(token_mac=b64(flip(unb64(o["token_mac"]), 31))),
                       lambda o: o.update(token="kst_" + b64(os.urandom(32)))):
            self.login_lie(edit_json("POST", FINISH, change), code=14, says="does not know the password")
        self.world.unharmed()

    def test_other_user(self):
        """the login of another user id"""
        self.login_lie(edit_json("POST", FINISH, lambda o: o.update(user_id="ab" * 16)), code=15, says="another user", check=True)

    def test_login_replayed(self):
        """a whole login that went well once, played again; and a proof that is sent twice"""
        kept, twice = {}, []

        def record(x):
            if x.matches("POST", START) or x.matches("POST", FINISH):
                x.pass_on()
                kept[x.path] = x.body
                if x.path == FINISH:
                    again = type(x)(x.proxy, x.method, x.target, x.fields, x.sent)
                    again.pass_on()
                    twice.append(again.status)
                    x.bite()

        def replay(x):
            if x.path in kept:
                x.answer(200, kept[x.path])
                x.bite()
        with self.proxy.lying(record):
            self.one.login()
        self.assertEqual(twice, [401])
        self.login_lie(replay, code=14, says="does not know the password", check=True)

    def test_slot_swapped(self):
        """another slot to unlock: changed, of another user, the recovery's, another id; another unlock share"""
        seen = {}
        with self.proxy.lying(edit_json("GET", "/v1/unlock", lambda o: seen.setdefault("bob", o.copy()))):
            self.desk.login()
        with self.proxy.lying(edit("GET", KEYRING, lambda x: seen.setdefault("alice", x.body))):
            self.one.run("ls", "home")
        slots = [seen["alice"][96 + 240 * i:96 + 240 * (i + 1)] for i in range(struct.unpack_from(">H", seen["alice"], 6)[0])]
        recovery = next(slot for slot in slots if slot[16] == 2)
        for change in (lambda o: o.update(slot=b64(flip(unb64(o["slot"]), 150))), lambda o: o.update(seen["bob"]),
                       lambda o: o.update(slot=b64(recovery)), lambda o: o.update(slot=b64(recovery), slot_id=recovery[:16].hex()),
                       lambda o: o.update(slot_id="00" * 16), lambda o: o.update(unlock_share=b64(os.urandom(32)))):
            self.login_lie(edit_json("GET", "/v1/unlock", change), code=14, says="not of this password|does not open")
        self.world.unharmed()

    def test_recovery_of_another(self):
        """a recovery for another user id; and none that the code opens"""
        words = ("recover", "--old-code-file", self.world.alice.recovery, "--new-password-file", self.world.alice.secret("next", "nine slow ferries at dusk"),
                 "--recovery-file", self.world.alice.top / "recovery-next")
        self.lie(edit_json("POST", "/v1/recovery/start", lambda o: o.update(user_id="ab" * 16)), *words, code=15, says="another user")
        self.assertFalse((self.world.alice.top / "recovery-next").exists())

    # --- the keyring ---

    def test_keyring_old(self):
        """an older revision of the keyring"""
        self.lie(reroute(self.world.old, KEYRING), "ls", "home", code=15, says="rolled back", check=False)
        self.login_lie(reroute(self.world.old, KEYRING), code=15, says="rolled back", check=True)

    def test_keyring_changed(self):
        """a bit of the keyring is flipped: header, slots, core, entries, tag; or it is cut, empty, or another user's"""
        mine, others = [], []
        for store, device in ((mine, self.one), (others, self.desk)):
            with self.proxy.lying(edit("GET", KEYRING, lambda x, store=store: store.append(x.body))):
                device.run("account", "policy", "--no-web-login", "off")
        size = len(mine[0])
        core = 96 + 240 * struct.unpack_from(">H", mine[0], 6)[0]
        for at in (0, 4, 7, 10, 31, 35, 39, 47, 60, 85, 100, 130, 250, core, core + 40, size - 200, size - 40, size - 1):
            with self.subTest(at=at):
                change = edit("GET", KEYRING, lambda x, at=at: setattr(x, "body", flip(x.body, at)))
                self.lie(change, "ls", "home", code=(14, 15), says="keyring", check=False)
        for body in (b"", mine[0][:-1], mine[0][:96], mine[0] + b"\0", others[0], bytes(256 << 10)):
            with self.subTest(body=body[:8], size=len(body)):
                change = edit("GET", KEYRING, lambda x, body=body: setattr(x, "body", body))
                self.lie(change, "ls", "home", code=(14, 15), says="keyring", check=False)
        self.login_lie(edit("GET", KEYRING, lambda x: setattr(x, "body", others[0])), code=(14, 15), says="keyring")
        self.world.unharmed()

    def test_keyring_fork(self):
        """another keyring of the same revision, and one that jumps and has lost what this device put in"""
        desk, phone = self.world.copy(self.one), self.world.copy(self.two)
        fork = self.world.clone("ring-fork")
        desk.run("vault", "create", f"ring-{self.world.made}")
        for vaults in range(3):
            with self.proxy.lying(reroute(fork, "/.*")):
                phone.run("vault", "create", f"there-{self.world.made}-{vaults}")
            self.lie(reroute(fork, KEYRING + ".*"), "ls", "home", device=desk, code=15, says="keyring", check=False)
            self.lie(reroute(fork, KEYRING), "ls", "home", device=desk, code=(14, 15), says="keyring", check=False)
        desk.run("verify", "home", f"ring-{self.world.made}")
        self.world.unharmed()
        fork.remove()

    # --- who is who ---

    def chain(self, device):
        return f"/v1/users/{device}/identity"

    def ids(self):
        ids = {}
        for name, device in (("alice", self.one), ("bob", self.desk)):
            ids[name] = device.run("account", "show")["user_id"]
        return ids

    def test_own_chain_cut(self):
        """the account's chain without its newest statements, which hides a revocation; to a device that saw them and to a new one"""
        cut = reroute(self.world.old, self.chain(self.ids()["alice"]))
        self.lie(cut, "ls", "home", code=15, says="identity", check=False)
        self.login_lie(cut, code=15, says="identity")
        self.lie(cut, "device", "list", code=15, says="identity", check=False)
        fresh = self.world.alice.device(f"cut-{self.world.made}")
        self.lie(cut, "login", *fresh.first_contact(), "--account-key-file", self.world.alice.sheet, "--password-file", self.world.alice.password,
                 device=fresh, code=15, says="identity")
        fresh.login(fresh=True)

    def test_device_invented(self):
        """a device that no key of the account signed: in the chain, and among those that wait"""
        alice = self.ids()["alice"]
        impostor = Impostor("alice", bytes.fromhex(alice))

        def add(o):
            last = unb64(o["items"][-1]["statement"])
            seq = struct.unpack_from(">Q", last, 22)[0]
            o["items"].append({**o["items"][-1], "statement": b64(impostor.add(seq + 1, bytes(32))[0])})
        self.lie(edit_json("GET", self.chain(alice), add), "ls", "home", code=(14, 15), says="identity", check=False)
        whole = edit_json("GET", self.chain(alice), lambda o: o.update(items=[{**o["items"][0], "statement": b64(s)} for s in impostor.chain]))
        self.lie(whole, "ls", "home", code=(14, 15), says="identity", check=False)
        self.login_lie(whole, code=(14, 15), says="identity")
        fresh = self.world.alice.device(f"invented-{self.world.made}")
        self.lie(whole, "login", *fresh.first_contact(), "--account-key-file", self.world.alice.sheet, "--password-file", self.world.alice.password,
                 device=fresh, code=(14, 15), says="identity|keys", check=False)
        statement, device_id = impostor.add(9, bytes(32))[0], "cd" * 16
        waiting = edit_json("GET", "/v1/devices", lambda o: o["items"].append(
            {"id": device_id, "name": "mine", "state": "pending", "statement": b64(statement), "created": 1, "expires": 4102444800000}))
        self.lie(waiting, "device", "list", code=14, says="device", check=False)
        self.lie(waiting, "device", "approve", device_id, "--yes", code=14, says="device", check=True)

    def test_log_changed(self):
        """the access log with a row changed, with one left out, without its newest ones"""
        path, words = "/v1/account/access-log", ("account", "log")
        self.one.run(*words)
        self.lie(edit_json("GET", path, lambda o: o["items"][0].update(time=5)), *words, code=14, says="does not follow", check=False)
        self.lie(edit_json("GET", path, lambda o: o["items"].pop(1)), *words, code=14, says="does not follow", check=False)
        self.lie(edit_json("GET", path, lambda o: o.update(items=o["items"][:3], next="", done=True)), *words, code=15, says="has seen row", check=False)
        self.one.run(*words)

    def test_contact_replaced(self):
        """a verified contact under another id, with other keys under the same id, without the newest statements, with a bit flipped"""
        bob = self.ids()["bob"]
        other, same = Impostor("bob"), Impostor("bob", bytes.fromhex(bob))

        def chain(impostor, statements):
            def attack(x):
                if x.matches("GET", self.chain(impostor.user_id.hex())):
                    x.answer(200, {"items": [{"seq": i + 1, "statement": b64(s)} for i, s in enumerate(statements)], "next": "", "done": True})
                    x.bite()
            return attack
        another = both(edit_json("GET", "/v1/users/bob", lambda o: o.update(user_id=other.user_id.hex())), chain(other, other.chain))
        verify = ("contact", "verify", "bob")
        self.lie(another, *verify, code=15, says="bob", check=False)
        self.lie(chain(same, same.chain), *verify, code=15, says="not who was verified", check=False)
        self.lie(reroute(self.world.old, self.chain(bob)), *verify, code=15, says="not who was verified", check=False)
        self.lie(edit_json("GET", self.chain(bob), lambda o: o["items"][-1].update(statement=b64(flip(unb64(o["items"][-1]["statement"]), -1)))), *verify,
                 code=(14, 15), says="identity", check=False)
        number = self.world.compare()
        with self.proxy.lying(edit_json("GET", "/v1/users/bob", lambda o: o.update(signing=b64(os.urandom(400)), head_hash="00" * 32, seq=1))) as told:
            self.assertEqual(self.one.run(*verify)["safety_number"], number)  # What a directory says counts for nothing.
        self.assertGreater(told.bites, 0)
        self.world.unharmed()
