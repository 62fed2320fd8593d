"""The faults of a plan, done to the wire and the nodes. Each kind has a class with begin() and heal(), and turn() for those that
change while they last."""
import itertools
import signal
import time

from network import CLIENT, SITES
from nodes import STANDBY

VOTERS = len(SITES) - 1


def port(site):
    return SITES.index(site) + 1


def both(a, b):
    return [(port(a), port(b)), (port(b), port(a))]


def between(left, right):
    return [link for a in left for b in right for link in both(a, b)]


EVERY_LINK = [link for a, b in itertools.combinations(SITES, 2) for link in both(a, b)]


class Links:
    """What the faults under way want of each link; a cut wins over a delay."""

    def __init__(self, wire):
        self.wire, self.wishes, self.now = wire, {}, {}

    def wish(self, fault, links, **setting):
        self.wishes[fault] = {link: setting for link in links}
        self.settle()

    def drop(self, fault):
        self.wishes.pop(fault, None)
        self.settle()

    def settle(self):
        wanted = {}
        for wish in self.wishes.values():
            for link, setting in wish.items():
                wanted.setdefault(link, {}).update(setting)
        for link in set(wanted) | set(self.now):
            if wanted.get(link, {}) != self.now.get(link, {}):
                self.wire.set(*link, **wanted.get(link, {}))
        self.now = wanted


class Fault:
    def __init__(self, step, run):
        self.step, self.run = step, run
        leader = run.leader
        others = [site for site in SITES if site != leader]
        self.names = {"leader": leader, "all": SITES, **{f"other{i}": site for i, site in enumerate(others, 1)}}

    def sites(self, names):
        found = []
        for name in names:
            site = self.names.get(name, name)
            found += site if isinstance(site, list) else [site]
        return list(dict.fromkeys(found))

    def rest(self, sites):
        return [site for site in SITES if site not in sites]

    def begin(self):
        """Says what it does, now that all names are known."""
        raise NotImplementedError

    def turn(self):
        """Called some times a second while it lasts."""

    def heal(self):
        self.run.links.drop(self)

    def touched(self, before, after):
        """How much it took hold of, by the wire's counts at begin() and before heal() or by a look at the nodes: packets, or
        nodes. 0: it was no fault at all. None: nobody could tell, since nothing answered."""
        raise NotImplementedError

    def spares_quorum(self):
        """Whether from begin() to heal() more than half of the voters run, hear each other and are in time. Then writes go on."""
        return False

    def quorum_without(self, sites):
        return sum(1 for site in self.rest(sites) if site != STANDBY) > VOTERS // 2


class OfLinks(Fault):
    """A setting of some links."""
    counted = ("cut", "reset", "lost", "full")

    def put(self, links, **setting):
        self.links = links
        self.run.links.wish(self, links, **setting)

    def touched(self, before, after):
        return sum(after[link][name] - before[link][name] for link in self.links for name in self.counted)


class Split(OfLinks):
    def begin(self):
        apart = self.sites(self.step["apart"])
        self.put(between(apart, self.rest(apart)), cut=1)
        self.parts = apart, self.rest(apart)
        return f"{' '.join(apart)} | {' '.join(self.rest(apart))}"

    def spares_quorum(self):
        return any(self.quorum_without(part) for part in self.parts)


class OneWay(OfLinks):
    def begin(self):
        site = self.sites([self.step["site"]])[0]
        deaf = self.step["how"] == "deaf"
        self.put([(port(o), port(site)) if deaf else (port(site), port(o)) for o in self.rest([site])], cut=1)
        return f"{site} is {self.step['how']}"

    def spares_quorum(self):
        return True  # The others.


class Pairs(OfLinks):
    """One pair after the other; the fewest packets that one of them lost are what counts. But two pairs may have been silent:
    a node that waits for its processor says nothing for as long as each is cut."""
    silent = 2

    def begin(self):
        self.began, self.at, self.lost = time.monotonic(), -1, []
        self.turn()
        return " ".join(self.step["pairs"])

    def turn(self):
        at = int((time.monotonic() - self.began) / self.step["each"])
        if at != self.at and at < len(self.step["pairs"]):
            self.note()
            self.at, self.before = at, self.run.wire.counts()
            self.put(between(*[[site] for site in self.step["pairs"][at].split("-")]), cut=1)

    def note(self):
        if self.at >= 0:
            lost = super().touched(self.before, self.run.wire.counts())
            self.lost.append(lost)

    def spares_quorum(self):
        return True  # All but one of the pair.

    def touched(self, before, after):
        self.note()
        return sorted(self.lost)[min(self.silent, len(self.lost) - 1)]


class Flap(Split):
    def begin(self):
        self.began, self.on = time.monotonic(), True
        return super().begin()

    def turn(self):
        on = int((time.monotonic() - self.began) / self.step["every"]) % 2 == 0
        if on != self.on:
            self.on = on
            self.run.links.wish(self, self.links, **({"cut": 1} if on else {}))

    def spares_quorum(self):
        return False  # Elections without end are possible.


class Delay(OfLinks):
    counted = ("passed", "lost")

    def begin(self):
        links = EVERY_LINK
        if self.step["clients"]:
            links = links + [link for i in range(1, CLIENT) for link in ((i, CLIENT), (CLIENT, i))]
        self.put(links, delay=self.step["delay"], jitter=self.step["jitter"], loss=self.step["loss"])
        return f"every link {self.step['delay']} ms and up to {self.step['jitter']} more, {self.step['loss']} % lost"


class Slow(OfLinks):
    counted = ("passed", "full")

    def begin(self):
        site = self.step["site"]
        sites = SITES if site == "*" else self.sites([site])
        self.put(EVERY_LINK if site == "*" else between(sites, self.rest(sites)), rate=self.step["rate"])
        return f"{' '.join(sites)}: {self.step['rate']} kbit/s"


class Reset(OfLinks):
    def begin(self):
        site = self.step["site"]
        sites = SITES if site == "*" else self.sites([site])
        self.put(EVERY_LINK if site == "*" else between(sites, self.rest(sites)), reset=1)
        return f"{' '.join(sites)}: RST"


class Pause(Fault):
    def begin(self):
        self.who = self.sites(self.step["sites"])
        for site in self.who:
            self.run.nodes.signal(site, signal.SIGSTOP)
        return f"SIGSTOP of {' '.join(self.who)}"

    def touched(self, before, after):
        return sum(self.run.nodes.stopped(site) for site in self.who)

    def spares_quorum(self):
        return self.quorum_without(self.who)

    def heal(self):
        for site in self.who:
            self.run.nodes.signal(site, signal.SIGCONT)


class Zombie(OfLinks):
    def begin(self):
        self.who, self.began, self.asleep = self.sites([self.step["site"]]), time.monotonic(), True
        self.links = between(self.who, self.rest(self.who))
        self.run.nodes.signal(self.who[0], signal.SIGSTOP)
        return f"{self.who[0]} stopped, and cut off when it goes on after {self.step['stopped']} s"

    def turn(self):
        if self.asleep and time.monotonic() > self.began + self.step["stopped"]:
            self.asleep = False
            self.put(self.links, cut=1)
            self.run.nodes.signal(self.who[0], signal.SIGCONT)

    def spares_quorum(self):
        return True

    def heal(self):
        super().heal()
        self.run.nodes.signal(self.who[0], signal.SIGCONT)


class Kill(Fault):
    def begin(self):
        self.who = self.sites(self.step["sites"])
        for site in self.who:
            self.run.nodes.kill(site)
        return f"kill -9 of {' '.join(self.who)}"

    def touched(self, before, after):
        return sum(not self.run.nodes.running(site) for site in self.who)

    def spares_quorum(self):
        return self.quorum_without(self.who)

    def heal(self):
        for site in self.who:
            self.run.nodes.start(site)


class OfClocks(Fault):
    """Looks now and then whether the nodes' clocks are as wrong as they shall be: libfaketime may be there and do nothing."""
    settled = 2.0  # Seconds; libfaketime reads its file once a second.
    every = 1.0

    def watch(self):
        self.began = self.looked = time.monotonic()
        self.wrong, self.seen = set(), set()

    def turn(self):
        now = time.monotonic()
        if now > max(self.began + self.settled, self.looked + self.every):
            self.looked = now
            self.look()

    def look(self):
        for site in self.who:
            wrong = self.is_wrong(site)
            if wrong is not None:
                self.seen.add(site)
                self.wrong |= {site} if wrong else set()

    def is_wrong(self, site):
        """None: it does not answer, or so late that either may be."""
        raise NotImplementedError

    def touched(self, before, after):
        self.look()
        if not self.seen:
            return None
        return 0 if self.seen - self.wrong else len(self.wrong)


class Clock(OfClocks):
    least = 0.2  # Seconds; jumps are whole ones.

    def begin(self):
        self.who = self.sites(self.step["sites"])
        for site in self.who:
            self.run.nodes.set_clock(site, f"{self.step['jump']:+d} x{self.step['rate']}")
        self.watch()
        return f"wall clock of {' '.join(self.who)} {self.step['jump']:+d} s, x{self.step['rate']}"

    def is_wrong(self, site):
        before, there, after = time.time(), self.run.nodes.clocks(site), time.time()
        if there is None:
            return None
        if not before - self.least < there["kluis_wall_clock_seconds"] < after + self.least:
            return True
        return None if after - before > self.least else False

    def heal(self):
        for site in self.who:
            self.run.nodes.set_clock(site, "+0")


class Rate(OfClocks):
    """All clocks of a process, which for that is started anew."""

    def begin(self):
        self.who = self.sites(self.step["sites"])
        for site in self.who:
            self.run.nodes.kill(site)
            self.run.nodes.start(site, clock_rate=self.step["rate"])
        self.first = {}
        self.watch()
        return f"all clocks of {' '.join(self.who)} x{self.step['rate']}"

    def is_wrong(self, site):
        """By its own monotonic clock, held against ours: rates differ by a tenth at least."""
        before, there, after = time.monotonic(), self.run.nodes.clocks(site), time.monotonic()
        if there is None:
            return None
        uptime = there["kluis_uptime_seconds"]
        if site not in self.first:
            self.first[site] = (before, after, uptime)
            return None
        first = self.first[site]
        least, most = before - first[1], after - first[0]  # So much has passed between its two readings.
        if least < 2.5:
            return None
        slow, fast = (uptime - first[2]) / most, (uptime - first[2]) / least
        middle = (1 + self.step["rate"]) / 2
        if slow < middle < fast:
            return None
        return (fast <= middle) == (self.step["rate"] < 1)

    def heal(self):
        for site in self.who:
            self.run.nodes.kill(site)
            self.run.nodes.start(site)


class Mix(Fault):
    def begin(self):
        self.parts = [make(part, self.run) for part in self.step["parts"]]
        return " and ".join([part.begin() for part in self.parts])

    def turn(self):
        for part in self.parts:
            part.turn()

    def touched(self, before, after):
        """All of them together: what one does may leave another nothing to take hold of."""
        counts = [part.touched(before, after) for part in self.parts]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    def heal(self):
        for part in self.parts:
            part.heal()


KINDS = {"split": Split, "oneway": OneWay, "pairs": Pairs, "flap": Flap, "delay": Delay, "slow": Slow, "reset": Reset, "pause": Pause,
         "zombie": Zombie, "kill": Kill, "clock": Clock, "rate": Rate, "mix": Mix}


def make(step, run):
    return KINDS[step["kind"]](step, run)
