"""People who talk, each by the program `kluis` at a site of its own, and the changes of who is in the conversation."""
import dataclasses
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
import talk_checks as checks
from network import SITES, address
from nodes import API_PORT, run
from people import Person, complaints, lines

@dataclasses.dataclass
class Cast:
    """Of one conversation: the first begins it. `later` comes at the sixth site."""
    chat: str
    names: list
    ports: list
    history: bool
    later: str = None  # Without one nobody comes or goes.
    follows: bool = False  # The first one follows, and does not read.


def casts(seed):
    """Five at the first five sites, of whom anna follows; and two. By the seed either the five have a history or the two."""
    return [Cast("harbour", ["anna", "ben", "cleo", "dirk", "emma"], [1, 2, 3, 4, 5], seed % 2 == 0, "mia", True),
            Cast("pier", ["nora", "otto"], [2, 5], seed % 2 == 1)]


HASTY = 2  # Seconds until every second of them gives a call up; the others wait as long as kluis does.
KILLED = 0.05  # Of the calls to say something: SIGKILL on the way.
KILLED_WITHIN = 0.3  # Seconds.
CALL_SECONDS, CHANGE_SECONDS, END_SECONDS = 120.0, 120, 180

# Also after SIGKILL no agent is left, and no file.
REAPER = 'cat >/dev/null; for p in "$1"/*/profile-*; do "$2" --profile "$p" agent stop; done; rm -rf "$1"'


class Rows:
    """What was done, from several threads; a JSON object a line, too."""

    def __init__(self, path):
        self.path, self.lock, self.rows = path, threading.Lock(), []
        path.write_text("")

    def add(self, kind, begin, **members):
        row = {"o": kind, "t": [begin, time.monotonic_ns()], **members}
        with self.lock:
            self.rows.append(row)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def find(self, test):
        with self.lock:
            return next((row for row in self.rows if test(row)), None)


class Talker(threading.Thread):
    """Says and reads by one device until it is told to end. Each text is said once, whatever comes of it: what was not
    acknowledged may go out with a later call, or never."""

    def __init__(self, device, chat, rows, seed, every, reads=True, give_up=None):
        super().__init__(daemon=True)
        self.device, self.rows, self.rng = device, rows, random.Random(seed)
        self.every, self.reads, self.ending, self.said = every, reads, threading.Event(), 0
        self.words = [] if give_up is None else ["--timeout", give_up]
        self.chat = chat

    def run(self):
        while not self.ending.wait(self.rng.uniform(0, 2 * self.every)):
            if self.reads and self.rng.random() < 0.4:
                self.read()
            else:
                self.say()

    def row(self, kind, words, limit=CALL_SECONDS, **members):
        begin = time.monotonic_ns()
        try:
            done = self.device.call("-o", "json", *self.words, "chat", *words, text=members.get("text", ""), timeout=limit)
            code, out, said = done.returncode, done.stdout, done.stderr[-400:]
        except subprocess.TimeoutExpired:
            if limit == CALL_SECONDS:
                raise
            code, out, said = checks.KILLED, "", "killed"
        found = json.loads(out) if out.strip() else {}
        row = self.rows.add(kind, begin, who=self.device.person.name, device=self.device.name, rc=code, said=said, **members,
                            **({"seq": found.get("seq")} if kind == "say" else {"items": found.get("items", [])}))
        if code == checks.NOT_ALLOWED and checks.INVITED in said:
            self.device.call("chat", "accept", self.chat)
        return row

    def say(self, kill=KILLED):
        self.said += 1
        text = f"{self.device.person.name}/{self.device.name} {self.said}"
        limit = self.rng.uniform(0, KILLED_WITHIN) if self.rng.random() < kill else CALL_SECONDS
        return self.row("say", ["send", self.chat], limit, text=text)

    def read(self):
        return self.row("read", ["read", self.chat])

    def read_again(self):
        """All of it, what was read before from the history."""
        return self.row("again", ["read", self.chat, "--last", "1000000"])

    def end(self):
        self.ending.set()
        if self.is_alive():
            self.join(180)
        if self.is_alive():
            raise RuntimeError(f"{self.device.person.name} does not come to an end")


class Said:
    """The rows of one conversation, among all."""

    def __init__(self, rows, chat):
        self.rows, self.chat = rows, chat

    def add(self, kind, begin, **members):
        return self.rows.add(kind, begin, chat=self.chat, **members)

    def all(self):
        with self.rows.lock:
            return [row for row in self.rows.rows if row.get("chat", self.chat) == self.chat]


class Talk:
    """The people, what they do, and in the end what each of them has."""

    def __init__(self, wire, nodes, rows, seed, every, cast):
        self.wire, self.nodes, self.rows, self.seed, self.every, self.cast = wire, nodes, Said(rows, cast.chat), seed, every, cast
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-talk-"))
        self.reaper = subprocess.Popen(["bash", "-c", REAPER, "reaper", str(self.top), str(nodes.kluis)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.people, self.talkers, self.follower, self.phones = {}, {}, None, 0

    def close(self):
        for talker in self.talkers.values():
            talker.ending.set()
        if self.follower is not None:
            self.follower.kill()
            self.follower.wait(60)
        self.reaper.stdin.close()
        self.reaper.wait(60)

    # --- who there is ---

    def url(self, port):
        return f"https://{address(port)}:{API_PORT}"

    def settle(self, device, port):
        """At that site: inside it, and asking it first."""
        device.inside, device.site = self.wire.inside(port), self.url(port)
        return device

    def invite(self, name, token):
        """Once all nodes have told the leader what they know: that they are ready does not say it."""
        end = time.monotonic() + CHANGE_SECONDS
        while True:
            try:
                run([self.nodes.kluisctl, "--socket", self.nodes.site_dir(SITES[0]) / "admin.sock", "--timeout", 100, "invite", "create", "--note", name,
                     "--token-file", token])
                return
            except RuntimeError as error:
                if "not all nodes know" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def register(self, name, port):
        urls = [self.url(i) for i in range(1, len(SITES) + 1)]
        person = Person(self.nodes.kluis, self.top, name, urls, self.nodes.pki / "provider-ca.pem", inside=self.wire.inside(port))
        token = person.top / "invitation"
        self.invite(name, token)
        person.invitation = ["--invite-file", token]
        self.settle(person.register("desk"), port)
        self.people[name] = person

    def desk(self, name):
        return self.people[name].devices[0]

    def register_all(self):
        later = [(self.cast.later, len(SITES))] if self.cast.later else []
        threads = [threading.Thread(target=self.register, args=who) for who in [*zip(self.cast.names, self.cast.ports), *later]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        if len(self.people) != len(threads):
            raise RuntimeError("not everybody could register")

    def begin(self):
        begin = time.monotonic_ns()
        first, *others = self.cast.names
        self.register_all()
        self.chat = self.desk(first).run("chat", "new", self.cast.chat, *others, *(() if self.cast.history else ("--no-history",)))["id"]
        for name in others:
            self.desk(name).run("chat", "accept", self.chat)
        for name in self.cast.names:
            self.rows.add("change", begin, what="add", who=name, device=None)
        if self.cast.follows:
            self.followed = self.top / "followed"
            self.follower = self.desk(first).follow(self.chat, self.followed, 86400)
        for name in self.cast.names:
            self.talk(self.desk(name), reads=name != first or not self.cast.follows)

    def talk(self, device, reads=True):
        number = len(self.talkers)
        talker = Talker(device, self.chat, self.rows, f"{self.seed}/{self.cast.chat}/{number}", self.every, reads, HASTY if number % 2 else None)
        self.talkers[(device.person.name, device.name)] = talker
        talker.start()

    # --- changes; each is tried again until it is done ---

    def change(self, what, who, device, words, is_done):
        """One row: from when it may have been in force to when it was. By who began it, or by who owns the device."""
        begin, end = time.monotonic_ns(), time.monotonic() + CHANGE_SECONDS
        by = self.desk(self.cast.names[0] if device is None else who)
        while True:
            answer = by.call("-o", "json", *words)
            if answer.returncode == 0 or is_done(answer):
                break
            if answer.returncode not in checks.TROUBLE or time.monotonic() > end:
                raise RuntimeError(f"{what} {who}: {answer.returncode}, {answer.stderr}")
        self.rows.add("change", begin, what=what, who=who, device=device)

    def add(self, name):
        self.change("add", name, None, ("chat", "members", self.chat, "--add", name), lambda answer: "a member already" in answer.stderr)

    def remove(self, name):
        self.change("remove", name, None, ("chat", "members", self.chat, "--remove", name), lambda answer: "no member" in answer.stderr)

    def device_state(self, name):
        found = self.desk(self.owner).call("-o", "json", "device", "list")
        rows = json.loads(found.stdout)["items"] if found.returncode == 0 else []
        return next(((row["id"], row["state"]) for row in rows if row["name"] == name), (None, None))

    @property
    def owner(self):
        """Of the phones: the second of them."""
        return self.cast.names[1]

    def phone_signs_in(self):
        """At the sixth site."""
        self.phones += 1
        self.phone = self.settle(self.people[self.owner].device(f"phone{self.phones}"), len(SITES))
        self.phone.login(fresh=True)
        self.phone_id = self.device_state(self.phone.name)[0]

    def phone_comes(self):
        self.change("add", self.owner, self.phone.name, ("device", "approve", self.phone_id, "--yes"),
                    lambda _: self.device_state(self.phone.name)[1] == "active")

    def phone_talks(self):
        self.phone.login()
        self.talk(self.phone)

    def phone_goes(self):
        self.change("remove", self.owner, self.phone.name, ("device", "revoke", self.phone_id, "--yes"),
                    lambda _: self.device_state(self.phone.name)[1] == "revoked")

    def changes(self):
        """Without end: (before a fault, during it, after it)."""
        name, last = self.cast.later, self.cast.names[-1]
        while True:
            yield None, lambda: self.add(name), lambda: (name, "desk") in self.talkers or self.talk(self.desk(name))
            yield None, lambda: self.remove(last), None
            yield self.phone_signs_in, self.phone_comes, self.phone_talks
            yield None, lambda: self.add(last), None
            yield None, lambda: self.remove(name), None
            yield None, self.phone_goes, None

    # --- the end ---

    def again(self, act, end):
        while True:
            row = act()
            if row["rc"] not in checks.TROUBLE:
                return row
            if time.monotonic() > end:
                raise RuntimeError("a call fails, and nothing is broken any more")

    def finish(self):
        """All say something, and what waited at them goes out with it; then all read."""
        end = time.monotonic() + END_SECONDS
        for talker in self.talkers.values():
            talker.end()
        for talker in self.talkers.values():
            self.again(lambda t=talker: t.say(kill=0), end)
        for talker in self.talkers.values():
            if talker.reads:
                self.again(talker.read, end)
        if self.cast.history:
            self.read_history(end)
        if self.cast.follows:
            self.end_following(end)

    def read_history(self, end):
        """Who began it puts right who is in its vault, the others archive what they could not; then it is all there, for a device
        that was never there before, too."""
        while self.desk(self.cast.names[0]).call("chat", "history", self.chat).returncode in checks.TROUBLE:
            if time.monotonic() > end:
                raise RuntimeError("the history cannot be opened, and nothing is broken any more")
        still = [talker for talker in self.talkers.values() if talker.reads and self.again(talker.read, end)["rc"] == 0]
        self.phone_signs_in()
        self.phone_comes()
        self.phone.login()
        phone = Talker(self.phone, self.chat, self.rows, "phone", self.every)
        for talker in [*still, phone]:
            self.again(talker.read_again, end)

    def end_following(self, end):
        last = max(row["seq"] for row in self.rows.all() if row["o"] == "say" and row["rc"] == 0)
        begin = time.monotonic_ns()
        while all(item["seq"] != last for item in lines(self.followed)) and self.follower.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        self.rows.add("follow", begin, who=self.cast.names[0], device="desk", ended=self.follower.poll(), said=complaints(self.followed)[-400:],
                      items=lines(self.followed))
