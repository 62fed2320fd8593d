"""A small world to be lied to: a person with devices, her vaults, a friend, and what the cluster was at an earlier time."""
import os
import pathlib
import re
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
from cluster import build_dir
from node import Node, Pki
from people import Person
from proxy import Proxy


class World:
    """alice: devices one, two and three (revoked since), vaults home and second; bob, whom she has verified. `old` is the node as
    it was before the last writes, the revocation and bob's newest statement."""

    def __init__(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-hostile-"))
        self.nodes, self.people, self.made = [], [], 0
        self.proxy = None

    def begin(self):
        self.pki = Pki(self.top)
        self.proxy = Proxy(self.pki.issue(99, self.top / "proxy"))
        self.node = self.keep(Node(self.pki, "node", self.proxy.url)).begin()
        self.proxy.node = self.node
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.one = self.alice.register("one")
        self.desk = self.bob.register("desk")
        self.files = {}
        for vault in ("home", "second"):
            self.one.run("vault", "create", vault)
        self.write("home", "small", b"a few words of home")
        self.write("home", "big", os.urandom(600_000))
        self.write("second", "big", os.urandom(600_000))
        self.ids = {row["name"]: row["id"] for row in self.one.run("vault", "list")["items"]}
        self.two, self.three = self.enrol("two"), self.enrol("three")
        self.three.run("put", self.source(b"by three"), "home:/three")
        self.files["home"]["three"] = b"by three"
        self.compare()
        self.write("home", "early", b"before the revocation")
        self.one.run("verify", "home", "second")
        self.two.run("verify", "home", "second")
        self.old = self.clone("old")
        self.old.bearer = self.proxy.bearer
        self.write("home", "small", b"other words of home")
        self.write("home", "big", os.urandom(600_000))
        self.desk.run("account", "policy", "--no-web-login", "on")
        self.compare()
        self.one.run("device", "revoke", "three", "--yes")
        self.write("home", "later", b"after the revocation")
        self.one.run("verify", "home", "second")
        self.two.run("verify", "home", "second")

    def keep(self, node):
        self.nodes.append(node)
        return node

    def clone(self, name):
        return self.keep(self.node.clone(name))

    def person(self, name):
        person = Person(build_dir() / "cli" / "kluis", self.top, name, [self.proxy.url], self.pki.ca)
        self.people.append(person)
        return person

    def enrol(self, name):
        device = self.alice.device(name)
        device.login(fresh=True)
        self.one.run("device", "approve", name, "--yes")
        device.login()
        return device

    def compare(self):
        """alice types in the safety number that bob reads to her."""
        shown = self.desk.call("-o", "json", "contact", "verify", "alice").stdout
        number = re.search(r'"safety_number": "([0-9 ]+)"', shown).group(1)
        return self.one.run("contact", "verify", "bob", "--number", number)["safety_number"]

    def fresh(self):
        """A new device of alice's that waits: it reads."""
        self.made += 1
        device = self.alice.device(f"fresh-{self.made}")
        device.login(fresh=True)
        return device

    def copy(self, device):
        """The same device in a profile of its own, signed in: what is done with it the other one has not seen."""
        self.made += 1
        copy = self.alice.device(f"{device.name}-{self.made}")
        shutil.copytree(device.profile, copy.profile, ignore=shutil.ignore_patterns("agent*", "lock"))
        copy.login()
        return copy

    def source(self, data):
        path = self.top / "source"
        path.write_bytes(data)
        return path

    def write(self, vault, name, data):
        self.one.run("put", self.source(data), f"{vault}:/{name}")
        self.files.setdefault(vault, {})[name] = data

    def unharmed(self):
        """With an honest node: every page verifies, every byte is what was written, and writing goes on."""
        self.made += 1
        self.one.run("verify", "home", "second")
        for vault, files in self.files.items():
            out = self.top / f"out-{self.made}-{vault}"
            self.one.run("get", "-r", f"{vault}:/", out)
            got = {path.name: path.read_bytes() for path in out.iterdir()}
            if got != files:
                raise AssertionError(f"vault {vault} is not what it was: {sorted(got)}, {sorted(files)}")
            shutil.rmtree(out)
        self.write("home", "alive", f"round {self.made}".encode())

    def end(self):
        for person in self.people:
            person.close()
        for node in self.nodes:
            node.remove()
        if self.proxy is not None:
            self.proxy.close()
        shutil.rmtree(self.top, ignore_errors=True)
