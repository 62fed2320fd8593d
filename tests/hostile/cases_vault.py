"""Lies about pages, heads and whole vaults."""
import json
import struct

from proxy import both, edit, edit_json, flip, refuse, reroute, unb64, b64
from writer import lp32

HEAD_BYTES, HEADER_BYTES, TAG_BYTES = 208, 112, 32


def pages_of(body):
    pages = []
    while body:
        (length,) = struct.unpack_from(">I", body)
        pages.append(body[4:4 + length])
        body = body[4 + length:]
    return pages


def each_pages(change):
    """`change(numbers, pages)` changes the pages of each answer that has some."""
    def inner(x):
        pages = pages_of(x.body)
        change(json.loads(x.sent)["pages"], pages)
        x.body = b"".join(lp32(page) for page in pages)
    return edit("POST", r"/v1/vaults/\w+/pages:get", inner)


def swap(_, pages):
    if len(pages) > 1:
        pages[0], pages[1] = pages[1], pages[0]


def flip_at(at):
    def change(_, pages):
        pages[-1] = flip(pages[-1], at)
    return change


class Vaults:
    # --- pages ---

    def test_pages_swapped(self):
        """two pages of a vault are swapped"""
        self.lie(each_pages(swap), "verify", "home", code=14, says="not the one its signed head names")
        self.lie(each_pages(swap), "cat", "home:/big", code=14, says="not the one its signed head names")

    def test_page_changed(self):
        """a bit of a page is flipped: magic, number, revision, writer, salt, ciphertext, tag"""
        for at in (0, 31, 39, 50, 70, HEADER_BYTES, -TAG_BYTES - 1, -1):
            with self.subTest(at=at):
                self.lie(each_pages(flip_at(at)), "verify", "home", code=14, says="not the one its signed head names", check=False)
        self.world.unharmed()

    def test_page_old(self):
        """an older revision of a page, authentic, under the new head"""
        self.lie(reroute(self.world.old, self.home + "/pages:get"), "verify", "home", code=14, says="not the one its signed head names")
        self.lie(reroute(self.world.old, self.home + "/pages:get"), "cat", "home:/big", code=14, says="not the one its signed head names")

    def test_page_of_another_vault(self):
        """the page of that number of another vault of the account"""
        def attack(x):
            if x.matches("POST", self.home + "/pages:get"):
                x.target = x.path = self.second + "/pages:get"
                x.pass_on()
                if x.status == 200:
                    x.bite()
        self.lie(attack, "cat", "home:/big", code=14, says="not the one its signed head names")

    def test_page_withheld(self):
        """404 for pages that the signed head names"""
        for status, code in ((404, "not-found"), (410, "gone"), (403, "forbidden")):
            with self.subTest(status=status):
                self.lie(refuse(status, code, self.home + "/pages:get"), "verify", "home", code=14, says="withholds page")
                self.lie(refuse(status, code, self.home + "/pages:get"), "cat", "home:/big", code=14, says="withholds page")

    def test_pages_fewer(self):
        """fewer pages than were asked for, or cut, or more"""
        for change in (lambda _, pages: pages.pop(), lambda _, pages: pages.clear(), lambda _, pages: pages.append(pages[0]),
                       lambda _, pages: pages.__setitem__(0, b"")):
            self.lie(each_pages(change), "verify", "home", code=14, says="withholds page|not the one its signed head names")

    # --- heads ---

    def behind(self):
        """Something new, so that two, which has not seen it, has heads to fetch."""
        self.world.made += 1
        self.world.write("home", "news", f"news {self.world.made}".encode())

    def test_rollback(self):
        """the whole vault as it was, every page authentic, to a device that has seen more"""
        for device in (self.one, self.two):
            self.lie(reroute(self.world.old, self.home + ".*"), "verify", "home", device=device, code=15, says="rolled back")
            self.lie(reroute(self.world.old, self.home + ".*"), "cat", "home:/big", device=device, code=15, says="rolled back")

    def test_old_head(self):
        """only the head is an old one"""
        self.lie(reroute(self.world.old, self.home + "/head"), "verify", "home", code=15, says="rolled back")
        self.lie(reroute(self.world.old, self.home + "/head"), "put", self.world.source(b"x"), "home:/x", code=15, says="rolled back")

    def test_head_changed(self):
        """a bit of the newest head is flipped, each field and the signature"""
        for at in (0, 5, 8, 31, 35, 39, 47, 48, 80, 112, 144, 160, 183, 184, HEAD_BYTES + 3, -1):
            with self.subTest(at=at):
                self.behind()
                attack = both(edit_json("GET", self.home + "/head", lambda o, at=at: o.update(head=b64(flip(unb64(o["head"]), at)))),
                              edit_json("GET", self.home + "/heads", lambda o, at=at: o["items"][-1].update(head=b64(flip(unb64(o["items"][-1]["head"]), at)))))
                self.lie(attack, "cat", "home:/big", device=self.two, code=(14, 15), says="head|signature|another|cluster", check=False)
        self.world.unharmed()

    def test_head_of_another_vault(self):
        """the head of another vault of the account"""
        def attack(x):
            if x.matches("GET", self.home + "/heads?"):
                x.target = x.target.replace(self.home, self.second)
                x.pass_on()
                x.bite()
        self.lie(attack, "cat", "home:/big", code=14, says="another vault")

    def test_heads_withheld(self):
        """heads between the pinned and the newest one are left out"""
        for change in (lambda o: o.update(items=[]), lambda o: o["items"].pop()):
            self.behind()
            self.lie(edit_json("GET", self.home + "/heads", change), "cat", "home:/big", device=self.two, code=14, says="withholds heads")

    def test_heads_doubled(self):
        """a head is shown twice in the chain"""
        self.behind()
        self.behind()
        self.lie(edit_json("GET", self.home + "/heads", lambda o: o["items"].__setitem__(1, o["items"][0])), "cat", "home:/big", device=self.two,
                 code=14, says="head")

    def test_changes_left_out(self):
        """the table of pages misses a page, or has another leaf or number"""
        def leave_out(o):
            o["items"] = [item for item in o["items"] if item["page"] != o["items"][-1]["page"]]
        for change in (leave_out, lambda o: o["items"][-1].update(leaf="00" * 32), lambda o: o["items"][-1].update(page=99999),
                       lambda o: o["items"][-1].update(revision=0)):
            self.behind()
            self.lie(edit_json("GET", self.home + "/changes", change), "cat", "home:/big", device=self.two, code=14, says="table of pages|a page beyond|never written")

    def test_changes_old(self):
        """the table of pages is the one of an old head"""
        self.behind()
        self.lie(reroute(self.world.old, self.home + "/changes"), "cat", "home:/big", device=self.two, code=14, says="table of pages")

    def test_fork(self):
        """another history than the device has seen, signed by another device of the account, with as many heads and with more"""
        phone = self.world.copy(self.two)
        fork = self.world.clone("fork")
        self.world.write("home", "fork", b"here")
        for i in range(2):
            with self.proxy.lying(reroute(fork, "/.*")):
                phone.run("put", self.world.source(b"there"), f"home:/fork-{i}")
            self.lie(reroute(fork, self.home + ".*"), "verify", "home", code=15, says="fork", check=False)
        self.world.unharmed()
        fork.remove()

    def test_new_device(self):
        """a new device that has seen nothing is shown the vault as it was, or none: another device's pin is in the keyring"""
        fresh = self.world.fresh()
        self.lie(reroute(self.world.old, self.home + ".*"), "cat", "home:/big", device=fresh, code=15, says="another device of yours", check=False)
        hidden = both(refuse(404, "not-found", self.home + ".*"),
                      edit_json("GET", "/v1/vaults", lambda o: o.update(items=[item for item in o["items"] if item["id"] not in self.home])))
        for command in (("sync",), ("cat", "home:/big"), ("vault", "list")):
            with self.subTest(command=command):
                self.lie(hidden, *command, device=fresh, code=15, says="denies|does not list", check=False)
        self.assertEqual(fresh.cat("home:/small"), "other words of home")

    def test_vault_withheld(self):
        """404 for a vault that the device has seen"""
        for command in (("sync",), ("verify", "home"), ("cat", "home:/big"), ("put", self.world.source(b"x"), "home:/x")):
            with self.subTest(command=command):
                self.lie(refuse(404, "not-found", self.home + ".*"), *command, code=15, says="denies it, but head", check=False)
        self.world.unharmed()

    def test_vault_deleted(self):
        """a deletion is denied, or said to be done and is not; a vault is denied to who is asked to forget it"""
        eve = self.world.person("eve")
        desk = eve.register("desk")
        for name in ("home", "gone"):
            desk.run("vault", "create", name)
            desk.put("first", f"{name}:/x")
        ids = {row["name"]: row["id"] for row in desk.run("vault", "list")["items"]}
        gone = f"/v1/vaults/{ids['gone']}"
        denied = refuse(404, "not-found", gone + ".*")
        self.lie(denied, "vault", "delete", "gone", "--yes", device=desk, code=15, says="denies it, but head", check=False)
        self.lie(denied, "vault", "forget", "gone", device=desk, code=2, says="confirmation needed", check=False)
        self.assertEqual(desk.cat("gone:/x"), "first")
        self.assertEqual(desk.call("vault", "forget", "gone", "--yes").returncode, 11)  # The cluster has it.

        def attack(x):
            if x.matches("DELETE", gone):
                x.answer(204)
                x.bite()
        self.lie(attack, "vault", "delete", "gone", "--yes", device=desk, code=0, says="", check=False)
        self.assertEqual(desk.call("cat", "gone:/x").returncode, 10)
        self.assertIn(ids["gone"], [row["id"] for row in desk.run("vault", "list")["items"]])  # It is there, and locked for good.
        desk.run("sync")
        self.assertEqual(desk.cat("home:/x"), "first")

    def thief(self):
        """(a device revoked by now, the cluster where it still was when it wrote once more over the newest head)"""
        name = f"lost-{self.world.made}"
        lost = self.world.enrol(name)
        for device in (lost, self.two):  # The two knows it, and will not hear of its revocation.
            self.assertEqual(device.cat("home:/small"), "other words of home")
        before = self.world.clone(name)
        self.one.run("device", "revoke", name, "--yes")
        with self.proxy.lying(reroute(before, "/.*")):
            lost.run("put", self.world.source(b"by the thief"), "home:/big")
        return before

    def test_revoked_writer(self):
        """a head by a revoked device; also with the revocation withheld, or with all news of the account"""
        before = self.thief()
        vault = reroute(before, self.home + ".*")
        self.lie(vault, "verify", "home", code=14, says="revoked", check=False)
        self.lie(vault, "put", self.world.source(b"x"), "home:/x", code=14, says="revoked", check=False)
        self.lie(both(vault, reroute(before, "/v1/users/.*")), "verify", "home", code=15, says="another identity chain", check=False)
        for pattern in ("/v1/users/.*", "/v1/keyring"):
            silent = both(vault, refuse(503, "no-quorum", pattern))
            for command in (("verify", "home"), ("put", self.world.source(b"x"), "home:/x")):
                self.lie(silent, "--timeout", "1", *command, device=self.two, code=13, says="both your identity and your keyring", check=False)
        self.world.unharmed()
        before.remove()

    # --- writing ---

    def test_commit_dropped(self):
        """a commit is said to be taken, and is not"""
        dora = self.world.person("dora")
        desk = dora.register("desk")
        desk.run("vault", "create", "home")
        desk.put("first", "home:/x")

        def attack(x):
            if x.matches("POST", r"/v1/vaults/\w+/commits"):
                x.answer(200, {"seq": 3, "head_hash": "00" * 32, "etag": '"1-0000000000000000"'})
                x.bite()
        self.lie(attack, "put", self.world.source(b"second"), "home:/x", device=desk, code=(0, 14, 15), says="")
        done = desk.call("ls", "home")
        self.assertEqual(done.returncode, 15, done.stderr)
        self.assertIn("rolled back", done.stderr)
