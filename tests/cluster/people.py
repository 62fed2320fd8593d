"""People at a running cluster: each with profiles on devices, a password in a file, and an agent for each profile."""
import json
import os
import pathlib
import shutil
import subprocess

PASSWORD = "four quiet horses walk home"


class Device:
    """One profile of a person. Commands give (exit code, what they printed as JSON, what they said)."""

    def __init__(self, person, name):
        self.person, self.name = person, name
        self.profile = person.top / f"profile-{name}"
        self.site = None  # The URL that it asks first; None: any.
        self.inside = person.inside

    def command(self, *words):
        site = ["--endpoint", self.site] if self.site else []
        return [*self.inside, str(self.person.kluis), "--profile", str(self.profile), *site, *map(str, words)]

    def call(self, *words, timeout=300, text=""):
        """As it ended: returncode, stdout, stderr. text: for its stdin."""
        patience = ["--timeout", self.person.patience] if self.person.patience and "--timeout" not in words else []
        # In a session of its own: without a terminal, as a script has none.
        return subprocess.run(self.command(*patience, *words), capture_output=True, text=True, errors="replace", timeout=timeout,
                              start_new_session=True, input=text)

    def run(self, *words, code=0, timeout=300, text=""):
        done = self.call("-o", "json", *words, timeout=timeout, text=text)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{' '.join(done.args)}: {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
        try:
            return json.loads(done.stdout) if done.stdout else None
        except json.JSONDecodeError:
            return done.stdout

    def first_contact(self):
        return ["--name", self.person.name, "--endpoints", ",".join(self.person.endpoints), "--ca", self.person.ca, "--device", self.name]

    def login(self, *words, fresh=False, code=0, password=None):
        contact = [*self.first_contact(), "--account-key-file", self.person.sheet] if fresh else []
        return self.run("login", *contact, "--password-file", password or self.person.password, *words, code=code)

    def state(self):
        return self.run("agent", "status")["state"]

    def devices(self):
        """Of the account: id -> (name, state)."""
        return {row["id"]: (row["name"], row["state"]) for row in self.run("device", "list")["items"]}

    def put(self, text, place, code=0):
        source = self.person.top / "in"
        source.write_text(text)
        self.run("put", source, place, code=code)

    def cat(self, place, code=0):
        done = self.call("cat", place)  # Not JSON: the file as it is.
        if done.returncode != code:
            raise AssertionError(f"cat {place}: {done.returncode}, not {code}\n{done.stderr}")
        return done.stdout


    def say(self, chat, text, code=0):
        """A message; its number."""
        done = self.run("chat", "send", chat, code=code, text=text)
        return done["seq"] if code == 0 else None

    def read(self, chat):
        """What came: (number, who, text) of what is text."""
        return heard(self.run("chat", "read", chat)["items"])

    def follow(self, chat, to, seconds=600):
        """A process that writes what comes to that file; heard(lines(to)) reads it. End it."""
        return self.follower(to, "chat", "follow", chat, "--for", seconds)

    def follow_all(self, to, *words):
        """Likewise, with what happens to all that is hers."""
        return self.follower(to, "follow", *words)

    def follower(self, to, *words):
        with open(to, "wb") as out, open(f"{to}.said", "wb") as said:
            return subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True)


def heard(items):
    for item in items:
        if "problem" in item or item["kind"] == "closed":
            raise AssertionError(f"message {item['seq']}: {item}")
    return [(item["seq"], item["user"], item["text"]) for item in items if item["kind"] == "text"]


def lines(path):
    """What a follower has written so far."""
    text = path.read_bytes()
    return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()]


def complaints(path):
    """What that follower said beside it."""
    return pathlib.Path(f"{path}.said").read_text(errors="replace")


class Person:
    def __init__(self, kluis, top, name, endpoints, ca, password=PASSWORD, inside=(), patience=None):
        """inside: the words before each command of her devices. patience: seconds that one waits for a leader; None: as kluis does."""
        self.inside, self.patience = inside, patience
        self.kluis, self.name, self.endpoints, self.ca = kluis, name, endpoints, str(ca)
        self.top = pathlib.Path(top) / name
        self.top.mkdir()
        self.password, self.sheet, self.recovery = self.secret("password", password), self.top / "sheet", self.top / "recovery"
        self.devices, self.invitation = [], []

    def secret(self, name, text):
        path = self.top / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    def device(self, name):
        device = Device(self, name)
        self.devices.append(device)
        return device

    def register(self, name, *words, code=0):
        """Registers on a new device; gives that."""
        device = self.device(name)
        device.run("register", *device.first_contact(), "--password-file", self.password, "--sheet", self.sheet, "--recovery-file", self.recovery,
                   *self.invitation, *words, code=code)
        return device

    def close(self):
        """No agent is left behind."""
        for device in self.devices:
            device.run("agent", "stop", code=None)
        shutil.rmtree(self.top, ignore_errors=True)

    def account_key(self):
        line = next(line for line in self.sheet.read_text().splitlines() if line.startswith("Account key:"))
        return line.split(":", 1)[1].strip()
