"""A small world of people who share: alice, bob, carol and eve, each with one device, who have seen one another."""
import json
import shutil

from world import World
from node import Node, Pki
from proxy import Proxy
from writer import Writer


class Circle(World):
    """What is made in it is made by alice, who is admin of it."""

    def begin(self):
        self.pki = Pki(self.top)
        self.proxy = Proxy(self.pki.issue(99, self.top / "proxy"))
        self.node = self.keep(Node(self.pki, "node", self.proxy.url)).begin()
        self.proxy.node = self.node
        self.desks, self.ids, self.calm = {}, {}, None
        for name in ("alice", "bob", "carol", "eve"):
            self.newcomer(name)
        self.one = self.desks["alice"]
        self.alice = self.one.person
        self.unharmed()

    def newcomer(self, name):
        self.desks[name] = self.person(name).register("desk")
        self.ids[name] = self.desks[name].run("account", "show")["user_id"]
        return self.desks[name]

    def service(self, name):
        """An account whose keys this program has."""
        token = self.node.admin("/v1/sys/services", {"name": name})["token"]
        writer = Writer(name, self.node.ask("GET", "/.well-known/kluis.json")["cluster_id"])
        self.node.ask("POST", "/v1/services/enrol", writer.enrolment(token))
        return writer

    def bearer(self, who):
        """What her session says of itself."""
        self.desks[who].run("account", "show")
        return self.proxy.bearer

    def name(self, kind):
        self.made += 1
        return f"{kind}-{self.made}"

    def stolen(self, who):
        """Another machine with all that hers has on the disk, opened by her password."""
        thief = self.desks[who].person.device(self.name("thief"))
        shutil.copytree(self.desks[who].profile, thief.profile, ignore=shutil.ignore_patterns("agent*", "lock"))
        thief.login()
        return thief

    def text(self, text):
        return self.source(text.encode())

    # --- vaults and groups ---

    def accept(self, who, kind):
        """All that she is invited to of that kind."""
        for row in self.desks[who].run("vault", "invitations")["items"]:
            if row["kind"] == kind:
                self.desks[who].run("vault", "accept", row["id"])

    def vault(self, *members, role="write"):
        """(name, path) of a new vault that they have accepted, with a page in it."""
        name = self.name("vault")
        vault_id = self.one.run("vault", "create", name)["id"]
        self.one.put("first words", f"{name}:/first")
        for who in members:
            self.one.run("vault", "share", name, who, "--role", role)
            self.accept(who, "vault")
        return name, f"/v1/vaults/{vault_id}"

    def group(self, *members, role="read"):
        """(name, path)"""
        name = self.name("group")
        group_id = self.one.run("group", "create", name)["id"]
        for who in members:
            self.one.run("group", "add", name, who, "--role", role)
            self.accept(who, "group")
        return name, f"/v1/groups/{group_id}"

    # --- conversations ---

    def talk(self, *members, history=False):
        """(title, path) of a new conversation that all have accepted and read. With a history a lie can be found in two ways."""
        title = self.name("talk")
        talk_id = self.one.run("chat", "new", title, *members, *(() if history else ("--no-history",)))["id"]
        for who in members:
            self.desks[who].run("chat", "accept", talk_id)
            self.desks[who].run("chat", "read", talk_id)
        self.one.run("chat", "read", title)
        return title, f"/v1/conversations/{talk_id}"

    def say(self, who, title, text, device=None):
        """Its number."""
        return (device or self.desks[who]).run("chat", "send", title, "--text-file", self.text(text))["seq"]

    def heard(self, who, title, code=0, device=None):
        """The texts that came since the last time; None for what does not open."""
        done = (device or self.desks[who]).call("-o", "json", "chat", "read", title)
        if done.returncode != code:
            raise AssertionError(f"chat read: {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
        return [row.get("text") for row in json.loads(done.stdout)["items"]]

    def unharmed(self):
        """With an honest node: what is shared is read and written by others, and heard."""
        self.made += 1
        text = f"round {self.made}"
        if self.calm is None:
            self.calm = self.vault("bob")[0], self.talk("bob")[0]
        vault, title = self.calm
        self.one.put(text, f"{vault}:/alive")
        if self.desks["bob"].cat(f"{vault}:/alive") != text:
            raise AssertionError("what alice wrote bob does not read")
        self.say("bob", title, text)
        if text not in self.heard("alice", title):
            raise AssertionError("what bob said alice does not hear")
