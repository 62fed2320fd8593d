"""Lies about who shares what: members, groups, their keys, and who they are."""
import os
import struct

from cases_account import Impostor
from proxy import b64, both, edit_json, flip, refuse, reroute, unb64
from writer import ADD, ROLE, SIG_ECDSA, lp16, now_ms, point, tagged_hash

ADMIN = 3
CHAIN, LIST = "/members/chain", "/members"


def statement_of(item):
    return unb64(item if isinstance(item, str) else item["statement"])


def chain_edit(path, change):
    """`change(statements)` changes the list of a membership chain in place."""
    def inner(o):
        statements = [statement_of(item) for item in o["items"]]
        before = list(statements)
        change(statements)
        if statements != before:
            shapes = o["items"] or [{}]
            o["items"] = [b64(s) if isinstance(shapes[0], str) else {**shapes[min(i, len(shapes) - 1)], "statement": b64(s)}
                          for i, s in enumerate(statements)]
    return edit_json("GET", path + CHAIN, inner)


def next_statement(last, kind, body, device=None):
    """One that goes on from `last`, by a device that is an impostor's."""
    length = struct.unpack_from(">H", last, 70)[0]
    signed = last[:72 + length + 1 + 16]
    by = device or Impostor("nobody")
    unsigned = (b"KGR1\x01" + bytes([kind]) + last[6:22] + struct.pack(">Q", struct.unpack_from(">Q", last, 22)[0] + 1)
                + tagged_hash("kluis/v1/stmt-hash", signed) + struct.pack(">Q", now_ms()) + lp16(body) + bytes([SIG_ECDSA]) + by.kid)
    return unsigned + lp16(by.device_sign(tagged_hash("kluis/v1/member", unsigned)))


def invented(user_id, role=ADMIN):
    """A statement that the cluster added by itself: somebody more, as an admin."""
    def change(statements):
        if statements:
            statements.append(next_statement(statements[-1], ADD, bytes.fromhex(user_id) + struct.pack(">BH", 1, role)))
    return change


def raised(user_id, role=ADMIN):
    """A statement that the cluster added by itself: a member's role is another one."""
    def change(statements):
        if statements:
            statements.append(next_statement(statements[-1], ROLE, bytes.fromhex(user_id) + struct.pack(">H", role)))
    return change


def packets_edit(change):
    """`change(packets)` changes the KeyPackets that are shown in place."""
    def inner(o):
        packets = [unb64(item["packet"]) for item in o["items"]]
        before = list(packets)
        change(packets)
        if packets != before:
            o["items"] = [{**item, "packet": b64(packet)} for item, packet in zip(o["items"], packets)]
    return edit_json("GET", "/v1/packets", inner)


class Sharing:
    def chain_of(self, who):
        return f"/v1/users/{self.world.ids[who]}/identity"

    def as_another(self, name, other):
        """The cluster answers for a name with another user's id, and so with her keys."""
        return edit_json("GET", f"/v1/users/{name}", lambda o: o.update(user_id=self.world.ids[other]))

    # --- who is in it ---

    def test_member_invented(self):
        """the cluster adds a member to a vault, a group, a conversation, or makes one admin: by a statement of its own"""
        eve = self.world.ids["eve"]
        says = "signed by an unknown device|is not by one of its admins"
        vault, path = self.world.vault("bob")
        for device in (self.one, self.bob):
            self.lie(chain_edit(path, invented(eve)), "vault", "members", vault, device=device, code=14, says=says, check=False)
        self.lie(chain_edit(path, invented(eve)), "vault", "unshare", vault, "bob", code=14, says=says, check=False)
        group, path = self.world.group("bob")
        self.lie(chain_edit(path, invented(eve)), "group", "members", group, code=14, says=says, check=False)
        self.lie(chain_edit(path, invented(eve)), "group", "rekey", group, code=14, says=says, check=False)
        bob = self.world.ids["bob"]
        for device in (self.one, self.bob):
            self.lie(chain_edit(path, raised(bob)), "group", "members", group, device=device, code=14, says=says, check=False)
        self.lie(chain_edit(path, raised(bob)), "group", "role", group, "eve", "read", device=self.bob, code=14, says=says, check=False)
        title, path = self.world.talk("bob")
        more = both(chain_edit(path, invented(eve)), edit_json("GET", path, lambda o: o.update(members_rev=o["members_rev"] + 1)))
        for device in (self.one, self.bob):
            self.lie(more, "chat", "members", title, device=device, code=14, says=says, check=False)
            self.lie(more, "chat", "send", title, "--text-file", self.world.text("x"), device=device, code=14, says=says, check=False)
        self.world.unharmed()

    def test_member_listed(self):
        """a member whom the chain does not have is put on the list, with another role, or kept on it after she was removed"""
        eve, says = self.world.ids["eve"], "which no admin signed"
        vault, vault_path = self.world.vault("bob", "eve")
        group, group_path = self.world.group("bob", "eve")
        title, talk_path = self.world.talk("bob", "eve")
        kept = {}
        shows = ((vault_path, ("vault", "members", vault)), (group_path, ("group", "members", group)), (talk_path, ("chat", "members", title)))
        for path, words in shows:
            with self.proxy.lying(edit_json("GET", path + LIST, lambda o, path=path: kept.update({path: list(o["items"])}))):
                self.one.run(*words)
        self.one.run("vault", "unshare", vault, "eve")
        self.one.run("group", "remove", group, "eve")
        self.one.run("chat", "members", title, "--remove", "eve")
        for path, words in shows:
            for device in (self.one, self.bob):
                still = edit_json("GET", path + LIST, lambda o, path=path: o.update(items=kept[path]))
                self.lie(still, *words, device=device, code=14, says=eve + ".*" + says, check=False)
        for path, words in shows[:2]:
            raised = edit_json("GET", path + LIST, lambda o: [item.update(role="admin") for item in o["items"]])
            self.lie(raised, *words, code=14, says=says, check=False)
        self.world.unharmed()

    def test_members_changed(self):
        """of a chain that is new to whoever reads it a statement is left out, doubled, moved, of another vault, changed in any field"""
        vault, path = self.world.vault("carol")
        other, other_path = self.world.vault("carol")
        self.one.run("vault", "share", vault, "bob", "--role", "write")
        vault_id = path.rsplit("/", 1)[1]
        fresh = ("vault", "accept", vault_id)
        theirs = {}
        with self.proxy.lying(edit_json("GET", other_path + CHAIN, lambda o: theirs.update(o))):
            self.carol.run("vault", "members", other)
        for change in (lambda s: s.pop(0), lambda s: s.pop(1), lambda s: s.insert(1, s[1]), lambda s: s.insert(1, s.pop(2))):
            self.lie(chain_edit(path, change), *fresh, device=self.bob, code=14, says="change 1 |change 2 |change 3 |proves nothing", check=False)
        for at in (0, 5, 6, 25, 40, 66, 72, 90, -1):
            with self.subTest(at=at):
                self.lie(chain_edit(path, lambda s, at=at: s.__setitem__(-1, flip(s[-1], at))), *fresh, device=self.bob, code=14,
                         says="of its members", check=False)

        def elsewhere(x):
            if x.path == path + CHAIN:
                x.target = x.target.replace(path, other_path)
                x.pass_on()
                x.bite()
        self.lie(elsewhere, "vault", "members", vault, device=self.carol, code=(14, 15), says="members", check=False)
        self.bob.run(*fresh)
        self.assertEqual(self.bob.cat(f"{vault}:/first"), "first words")

    def test_members_old(self):
        """the list of members as it was, with who was removed still in it: to whoever has seen the newer one"""
        vault, vault_path = self.world.vault("bob", "eve")
        group, group_path = self.world.group("bob", "eve")
        title, talk_path = self.world.talk("bob", "eve")
        old = self.world.clone("members-old")
        self.one.run("vault", "unshare", vault, "eve")
        self.one.run("group", "remove", group, "eve")
        self.one.run("chat", "members", title, "--remove", "eve")
        for device in (self.one, self.bob):
            device.run("vault", "members", vault)
            device.run("group", "members", group)
            device.run("chat", "members", title)
            for path, words in ((vault_path, ("vault", "members", vault)), (group_path, ("group", "members", group)),
                                (talk_path, ("chat", "members", title))):
                self.lie(reroute(old, path + ".*"), *words, device=device, code=15, says="older list of members", check=False)
        self.lie(reroute(old, talk_path + ".*"), "chat", "send", title, "--text-file", self.world.text("x"), code=15, says="older list of members", check=False)
        old.remove()

    def test_members_stand_still(self):
        """a removal is kept from a member: it shows with the next head that somebody writes"""
        vault, path = self.world.vault("bob", "eve")
        self.bob.run("vault", "members", vault)
        seen = {}
        with self.proxy.lying(edit_json("GET", path + CHAIN, lambda o: seen.update(o))):
            self.bob.run("vault", "members", vault)
        self.one.run("vault", "unshare", vault, "eve")
        self.one.put("without eve", f"{vault}:/news")
        still = edit_json("GET", path + CHAIN, lambda o: o.update(seen))
        self.lie(still, "cat", f"{vault}:/news", device=self.bob, code=14, says="names members that the cluster does not show", check=False)
        self.assertEqual(self.bob.cat(f"{vault}:/news"), "without eve")

    def test_members_forked(self):
        """two admins are shown two histories of a vault's, a group's and a conversation's members"""
        vault, vault_path = self.world.vault("bob", role="admin")
        group, group_path = self.world.group("bob")
        title, talk_path = self.world.talk("bob")
        twin = self.world.copy(self.one)
        fork = self.world.clone("members-fork")
        with self.proxy.lying(reroute(fork, "/.*")):
            twin.run("vault", "share", vault, "eve")
            twin.run("group", "add", group, "eve")
            twin.run("chat", "members", title, "--add", "eve")
            for words in (("vault", "members", vault), ("group", "members", group), ("chat", "members", title)):
                self.bob.run(*words)
        self.one.run("vault", "share", vault, "carol")
        self.one.run("group", "add", group, "carol")
        self.one.run("chat", "members", title, "--add", "carol")
        for path, words in ((vault_path, ("vault", "members", vault)), (group_path, ("group", "members", group)), (talk_path, ("chat", "members", title))):
            done = self.bob.call(*words)
            self.assertEqual(done.returncode, 15, f"{path}: {done.stderr}")
            self.assertIn("another list of members", done.stderr)
        fork.remove()

    def test_removed_writes(self):
        """a cluster lets somebody who was removed go on writing, and shows it"""
        vault, path = self.world.vault("bob", "eve")
        self.eve.run("ls", vault)
        before = self.world.clone("removed")
        self.one.run("vault", "unshare", vault, "eve")
        self.one.run("ls", vault)
        self.bob.run("ls", vault)
        with self.proxy.lying(reroute(before, "/.*")):
            self.eve.put("still here", f"{vault}:/eve")
        heads = reroute(before, path + "/heads?", path + "/changes", path + "/pages:get", path + "/head")
        self.lie(heads, "cat", f"{vault}:/eve", code=14, says="older list of members|may not write to it", check=False)
        self.lie(heads, "put", self.world.text("x"), f"{vault}:/x", code=14, says="older list of members|may not write to it", check=False)
        self.assertEqual(self.one.call("cat", f"{vault}:/eve").returncode, 10)
        before.remove()

    # --- keys ---

    def test_packets_changed(self):
        """KeyPackets of two vaults swapped, one changed in any field, one of another's: to who accepts, and after a new key"""
        one, one_path = self.world.vault()
        two, two_path = self.world.vault()
        ids = [path.rsplit("/", 1)[1] for path in (one_path, two_path)]
        for vault in (one, two):
            self.one.run("vault", "share", vault, "bob")
        self.one.run("vault", "share", one, "carol")
        theirs, says, cat = [], "key that the cluster brings.* does not hold", ("cat", f"{one}:/first")
        with self.proxy.lying(packets_edit(theirs.extend)):
            self.carol.run("vault", "accept", ids[0])
        self.assertTrue(theirs)

        def of_the_other(x):
            if x.path == "/v1/packets" and ids[0] in x.target:
                x.target = x.target.replace(*ids)
                x.pass_on()
                x.bite()
        self.lie(packets_edit(lambda packets: packets.__setitem__(0, theirs[0])), "vault", "accept", ids[0], device=self.bob, code=14, says=says, check=False)
        self.lie(of_the_other, *cat, device=self.bob, code=10, says="no vault", check=False)
        self.bob.run("sync", code=None)
        self.assertEqual(self.bob.cat(f"{one}:/first"), "first words")
        self.one.run("vault", "rekey", one)
        self.one.put("under a new key", f"{one}:/first")
        for at in (0, 8, 16, 32, 48, 64, 80, 96, 112, 118, 124, 132, 140, 180, -80, -1):
            with self.subTest(at=at):
                changed = packets_edit(lambda packets, at=at: packets.__setitem__(0, flip(packets[0], at)))
                self.lie(changed, *cat, device=self.bob, code=14, says=says, check=False)
        self.lie(packets_edit(lambda packets: packets.__setitem__(0, theirs[0])), *cat, device=self.bob, code=12, says="has not reached you", check=False)
        self.lie(of_the_other, *cat, device=self.bob, code=12, says="has not reached you, or is withheld", check=False)
        self.assertEqual(self.bob.cat(f"{one}:/first"), "under a new key")
        self.bob.run("vault", "accept", ids[1])

    def test_packets_withheld(self):
        """the key of a vault's new epoch is kept from a member"""
        vault, _ = self.world.vault("bob")
        self.one.run("vault", "rekey", vault)
        self.one.put("under a new key", f"{vault}:/first")
        none = edit_json("GET", "/v1/packets", lambda o: o.update(items=[]))
        new, path = self.world.vault()
        self.one.run("vault", "share", new, "carol")
        self.lie(none, "vault", "accept", path.rsplit("/", 1)[1], device=self.carol, code=12, says="accepted, but its key has not reached you", check=False)
        self.carol.run("sync", code=None)
        self.assertEqual(self.carol.cat(f"{new}:/first"), "first words")
        self.lie(none, "cat", f"{vault}:/first", device=self.bob, code=12, says="has not reached you", check=False)
        self.lie(none, "put", self.world.text("x"), f"{vault}:/x", device=self.bob, code=12, says="has not reached you", check=False)
        self.assertEqual(self.bob.cat(f"{vault}:/first"), "under a new key")

    def group_with_vault(self, *members):
        group, _ = self.world.group(*members)
        vault, _ = self.world.vault()
        self.one.run("vault", "share", vault, f"group:{group}")
        self.one.run("group", "rekey", group)
        return group, vault

    def group_packet(self, device, vault):
        """The newest KeyPacket of a group by which a device gets at what is in a vault."""
        kept = []
        with self.proxy.lying(packets_edit(kept.extend)):
            device.cat(f"{vault}:/first")
        return [packet for packet in kept if packet[12] == 3][-1]

    def test_group_packets_swapped(self):
        """in place of a group's new key for a member that of the one before, of another group, of another member"""
        group, vault = self.group_with_vault("bob", "carol")
        before, elsewhere = self.group_packet(self.bob, vault), self.group_packet(self.bob, self.group_with_vault("bob")[1])
        self.one.run("group", "rekey", group)
        self.one.put("under a new key", f"{vault}:/first")
        hers = self.group_packet(self.carol, vault)
        group_id = before[96:112]
        self.assertEqual((hers[96:112], elsewhere[96:112] == group_id), (group_id, False))

        def swapped(by):
            def change(packets):
                packets[:] = [by if packet[12] == 3 and packet[96:112] == group_id else packet for packet in packets]
            return packets_edit(change)
        for by in (before, elsewhere, hers):
            self.lie(swapped(by), "cat", f"{vault}:/first", device=self.bob, code=(12, 14), says="has not reached you|does not hold", check=False)
        self.assertEqual(self.bob.cat(f"{vault}:/first"), "under a new key")

    def test_page_packets_swapped(self):
        """of a file shared alone: in place of a page's KeyPacket another page's, that of an earlier gift, another recipient's, its own id on another's"""
        vault, _ = self.world.vault()
        content = "".join(f"line {i}\n" for i in range(28000))  # Two pages.
        self.one.run("put", self.world.text(content), f"{vault}:/long")
        where = self.bob.person.top / self.world.name("got")
        withheld = "has no key of it for you any more, or withholds it"

        def given(who):
            """What was given, and by which KeyPackets."""
            share = self.one.run("share", f"{vault}:/long", "--with", who)["id"]
            kept = []
            with self.proxy.lying(packets_edit(kept.extend)):
                self.world.desks[who].run("shared", "get", share, self.bob.person.top / self.world.name("got"))
            return share, [packet for packet in kept if packet[12] == 2]
        earlier, hers = given("bob")[1], given("carol")[1]
        share, own = given("bob")
        own = [packet for packet in own if packet not in earlier]
        self.assertEqual([len(kept) for kept in (earlier, hers, own)], [2, 2, 2])

        def instead(by):
            return packets_edit(lambda packets: packets.__setitem__(slice(None), [by if packet == own[0] else packet for packet in packets]))
        grafted = [by[:16] + own[0][16:32] + by[32:] for by in (own[1], earlier[0], hers[0])]
        for by, code, says in [(own[1], 10, withheld), (earlier[0], 10, withheld), (hers[0], 10, withheld),
                               *((by, 14, "the key that the cluster brings for it does not hold|another KeyPacket under the id of a page's") for by in grafted)]:
            self.lie(instead(by), "shared", "get", share, where, device=self.bob, code=code, says=says, check=False)
            self.assertFalse(where.exists())
        self.bob.run("shared", "get", share, where)
        self.assertEqual(where.read_text(), content)
        self.world.unharmed()

    def test_group_key_stale(self):
        """a group's key of before a removal, or one of the cluster's own: to who shares with the group, and to who gets what was shared so"""
        group, path = self.world.group("bob", "eve", role="admin")
        vault, _ = self.world.vault()
        seen = {}
        with self.proxy.lying(edit_json("GET", path, lambda o: seen.update(o))):
            self.one.run("vault", "share", vault, f"group:{group}")
        self.one.run("vault", "unshare", vault, f"group:{group}")
        his = self.world.name("of-bob")
        self.bob.run("vault", "create", his)
        self.bob.put("not for eve", f"{his}:/x")
        before = self.world.clone("group-stale")
        self.one.run("group", "remove", group, "eve")
        for key in (seen["group_key"], b64(b"\x04" + os.urandom(64)), b64(point(Impostor("x").transfer))):
            self.lie(edit_json("GET", path, lambda o, key=key: o.update(group_key=key)), "vault", "share", vault, f"group:{group}", code=14,
                     says="another key of group|a key of group", check=False)
        # bob does not hear of the removal: he gives his vault's key to the group as it was.
        with self.proxy.lying(reroute(before, "/.*")):
            self.bob.run("vault", "share", his, f"group:{group}")
        self.lie(reroute(before, "/v1/vaults.*", "/v1/packets"), "cat", f"{his}:/x", code=14, says="sealed to an old key of group", check=False)
        before.remove()

    def test_group_vault_hidden(self):
        """a vault of a group hidden from the admin who takes somebody out of the group, or left out of what that changes"""
        group, path = self.world.group("bob", "eve")
        vault, vault_path = self.world.vault("bob")
        twin = self.world.copy(self.one)
        half = self.world.clone("group-half")
        self.one.run("vault", "share", vault, f"group:{group}", "--role", "write")
        self.bob.put("seen", f"{vault}:/seen")
        hidden = edit_json("GET", "/v1/vaults", lambda o: o.update(items=[]))
        denied = both(refuse(404, "not-found", vault_path + ".*"), hidden)
        self.lie(denied, "group", "remove", group, "eve", code=15, says="kept from being re-keyed", check=False)
        self.assertEqual(self.one.run("group", "members", group)["items"][-1]["state"], "accepted")
        # One that takes the removal without the vault, as she did not know of it.
        with self.proxy.lying(reroute(half, "/.*")):
            self.assertEqual(twin.run("group", "remove", group, "eve")["vaults"], 0)
        self.lie(reroute(half, path + ".*"), "put", self.world.text("x"), f"{vault}:/x", device=self.bob, code=14, says="vault rekey", check=False)
        with self.proxy.lying(hidden) as told:
            self.assertEqual(self.one.run("group", "remove", group, "eve")["vaults"], 1)
        self.assertGreater(told.bites, 0)
        half.remove()

    # --- invitations ---

    def test_invitation_invented(self):
        """an invitation to a vault, a group, a conversation that no admin signed"""
        vault, vault_path = self.world.vault("bob")
        group, group_path = self.world.group("bob")
        title, talk_path = self.world.talk("bob")
        rows, bearer = {}, self.world.bearer("bob")
        for path, words in (("/v1/vaults", ("vault", "list")), ("/v1/groups", ("group", "list")), ("/v1/conversations", ("chat", "list"))):
            with self.proxy.lying(edit_json("GET", path, lambda o, path=path: rows.update({path: o["items"]}))):
                self.bob.run(*words)

        def invited(kind, path):
            row = next(row for row in rows[kind] if path.endswith(row["id"]))
            row = {**row, "state": "invited"}
            lists = edit_json("GET", kind, lambda o: o["items"].append(row))

            def theirs(x):  # The cluster answers eve as it would bob.
                if x.path.startswith(path) and not x.path.endswith("accept"):
                    x.fields = [(n, bearer if n == "Authorization" else v) for n, v in x.fields]
                    x.pass_on()
                    if x.path == path and x.status == 200:
                        x.json = row
                    x.bite()
            return both(lists, theirs)
        for kind, path in (("/v1/vaults", vault_path), ("/v1/groups", group_path)):
            attack = invited(kind, path)
            with self.proxy.lying(attack) as told:
                shown = self.eve.run("vault", "invitations")["items"]
            self.assertGreater(told.bites, 0)
            row = next(row for row in shown if path.endswith(row["id"]))
            self.assertRegex(row["problem"], "invited|admin|signed")
            self.lie(attack, "vault", "accept", path.rsplit("/", 1)[1], device=self.eve, code=14, says="invited you|made that up", check=False)
        attack = invited("/v1/conversations", talk_path)
        for words in (("chat", "accept"), ("chat", "read")):
            self.lie(attack, *words, talk_path.rsplit("/", 1)[1], device=self.eve, code=14, says="the cluster made that up", check=False)
        self.assertEqual(self.eve.run("vault", "invitations")["items"], [])
        self.world.unharmed()

    def test_share_denied(self):
        """404 for a vault that one was given"""
        vault, path = self.world.vault("bob")
        self.bob.run("ls", vault)
        self.one.run("vault", "share", vault, "carol")
        heads = path + "/heads"
        self.lie(refuse(404, "not-found", heads), "vault", "accept", path.rsplit("/", 1)[1], device=self.carol, code=10, says="not-found", check=False)
        self.lie(edit_json("GET", heads, lambda o: o.update(items=[])), "sync", device=self.carol, code=14, says="withholds its heads", check=False)
        self.carol.run("sync", code=None)
        self.assertEqual(self.carol.cat(f"{vault}:/first"), "first words")
        gone = refuse(404, "not-found", path + ".*")
        self.lie(gone, "cat", f"{vault}:/first", device=self.bob, code=12, says="you are not in it any more, it was deleted, or it is withheld", check=False)
        self.lie(gone, "put", self.world.text("x"), f"{vault}:/x", device=self.bob, code=12, says="or it is withheld", check=False)
        self.lie(gone, "sync", vault, device=self.one, code=15, says="denies it", check=False)
        self.assertEqual(self.bob.cat(f"{vault}:/first"), "first words")

    # --- who they are ---

    def test_keys_of_another(self):
        """for a name that was seen the cluster answers with another user's id and keys, or with keys that nobody had: to who shares, asks in, leaves something"""
        vault, _ = self.world.vault()
        group, _ = self.world.group()
        title, _ = self.world.talk("carol")
        gifts = (("vault", "share", vault, "bob"), ("group", "add", group, "bob"), ("chat", "new", self.world.name("talk"), "bob"),
                 ("chat", "members", title, "--add", "bob"), ("inbox", "leave", "bob", self.world.text("for bob")))
        same, other = Impostor("bob", bytes.fromhex(self.world.ids["bob"])), Impostor("bob")

        def keys(of):
            def attack(x):
                if x.matches("GET", f"/v1/users/{of.user_id.hex()}/identity"):
                    x.answer(200, {"items": [{"seq": i + 1, "statement": b64(s)} for i, s in enumerate(of.chain)], "next": "", "done": True})
                    x.bite()
            return attack
        for words in gifts:
            with self.subTest(words=words):
                self.lie(self.as_another("bob", "eve"), *words, code=14, says="the identity of somebody else for 'bob'", check=False)
                self.lie(keys(same), *words, code=15, says="is not who", check=False)
                made_up = both(edit_json("GET", "/v1/users/bob", lambda o: o.update(user_id=other.user_id.hex())), keys(other))
                self.lie(made_up, *words, code=15, says="'bob' is not who this device knows by that name", check=False)
        self.world.unharmed()

    def test_device_of_a_friend(self):
        """the cluster puts a device of its own into a member's identity, and a message by it"""
        title, path = self.world.talk("bob")
        mallory = Impostor("bob", bytes.fromhex(self.world.ids["bob"]))

        def add(o):
            last = unb64(o["items"][-1]["statement"])
            seq = struct.unpack_from(">Q", last, 22)[0]
            o["items"].append({**o["items"][-1], "seq": seq + 1, "statement": b64(mallory.add(seq + 1, bytes(32))[0])})
        more = edit_json("GET", self.chain_of("bob"), add)
        stale = both(more, edit_json("GET", path, lambda o: o.update(chat_stale=True)))
        self.one.run("chat", "members", title)
        self.lie(both(more, edit_json("GET", path, lambda o: o.update(chat_stale=True))), "chat", "members", title, "--add", "carol",
                 code=14, says="the identity ", check=False)
        vault, _ = self.world.vault()
        self.lie(stale, "vault", "share", vault, "bob", code=14, says="the identity of 'bob'", check=False)
        self.one.run("vault", "share", vault, "bob")

        def message(o):
            o["items"].append({"seq": o["items"][-1]["seq"] + 1 if o["items"] else 3, "time_ms": now_ms(),
                               "message": b64(mallory.chat_message(bytes.fromhex(path.rsplit("/", 1)[1]), 1, 0))})
        self.world.say("bob", title, "mine")
        self.lie(edit_json("GET", path + "/messages", message), "chat", "read", title, code=14, says="by a device that 'bob' does not have", check=False)
        self.assertIn("mine", self.world.heard("alice", title))

    def test_identity_denied(self):
        """404 for the identity of an admin, to a member who reads the list for the first time"""
        dora = self.world.newcomer("dora")
        vault, path = self.world.vault()
        self.one.run("vault", "share", vault, "dora")
        accept = ("vault", "accept", path.rsplit("/", 1)[1])
        self.lie(refuse(404, "not-found", self.chain_of("alice")), *accept, device=dora, code=14, says="denies user", check=False)
        dora.run(*accept)
