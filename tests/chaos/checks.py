"""What must hold of a chaos run's history (docs/reliability.md). Each check is a function of History that yields what is wrong."""
import bisect
import json
import math

import linear

WRITES_MIN = 20  # In the shortest of runs.
UNSEEN_MOST = 0.1  # Of the steps, or two: a node that does not answer shows no clock.
UNDECIDED_MOST = 0.2  # Of the vaults.
PROGRESS_NS = 30 * 10**9
LIVE_NS = 10 * 10**9
LIVE_LOAD = 40  # Operations a second; at fewer it is chance whether a write was tried on the right side.
STALE_MS = 10000
STALE_CLOCK = 1.25  # The slowest clock of a plan shows four seconds of five.
STALE_SLACK_NS = 250 * 10**6  # Between looking at the clock and at the data.
# What a node may answer under faults. Any other error is a finding.
REFUSALS = {"KLUIS_EPRECONDITION", "KLUIS_ECONFLICT", "KLUIS_ENOQUORUM", "KLUIS_EBEHIND", "KLUIS_ERATE", "KLUIS_EBUSY",
            "KLUIS_EUNKNOWN_OUTCOME", "KLUIS_EUNAUTHENTICATED", "KLUIS_ENOTFOUND",
            # ... and what a client finds out by itself:
            "KLUIS_ETIMEOUT", "KLUIS_ECLOSED", "KLUIS_ECONNECT", "KLUIS_EIO", "KLUIS_EAGAIN"}
# Of those, what says that the write came too late for the state it was built on.
LOST_RACE = {"KLUIS_EPRECONDITION", "KLUIS_ECONFLICT"}


# Of the program `kluis` (its help): done, failed, busy or conflict, no quorum.
FILE_EXITS = {0, 1, 11, 13}


class Chain:
    """The heads of a vault as the first node showed them in the end; places are counted from 1, as seq is."""

    def __init__(self, heads):
        self.heads = heads
        self.place = {digest: i for i, digest in enumerate(heads, 1)}
        self.versions = {}  # page -> [(place, revision, hash)], ascending

    def build(self, writes):
        """Follows the chain by what the writers recorded; yields what does not fit."""
        by_hash = {write["h"]: write for write in writes}
        for place, digest in enumerate(self.heads[1:], 2):
            write = by_hash.get(digest)
            if write is None:
                yield f"head {digest} at {place} was never sent by a client"
                continue
            if write["q"] != place or write["b"] != self.heads[place - 2]:
                yield f"head {digest} at {place} was made for {write['q']} behind {write['b']}"
            for page, revision, content in write["ps"]:
                versions = self.versions.setdefault(page, [])
                newest = versions[-1][1] if versions else 0
                if revision != newest + 1:
                    yield f"page {page} has revision {revision} behind {newest} (head {place})"
                versions.append((place, revision, content))

    def span(self, pages):
        """(first, last) place at which exactly these pages were read; None: at no place."""
        low, high = 1, len(self.heads)
        for page, revision, content in pages:
            versions = self.versions.get(page, [])
            if revision > len(versions):
                return None
            if revision > 0:
                if versions[revision - 1][1:] != (revision, content):
                    return None
                low = max(low, versions[revision - 1][0])
            if revision < len(versions):
                high = min(high, versions[revision][0] - 1)
        return (low, high) if low <= high else None


class Floor:
    """The newest place that was known at a time."""

    def __init__(self, points):
        """points: (time, place)"""
        self.times, self.places, newest = [], [], 0
        for time, place in sorted(points):
            newest = max(newest, place)
            self.times.append(time)
            self.places.append(newest)

    def before(self, time):
        at = bisect.bisect_left(self.times, time)
        return self.places[at - 1] if at else 1


class History:
    def __init__(self, rows, budget=linear.BUDGET):
        self.rows, self.budget, self.verdicts = rows, budget, None
        self.vaults = {row["v"]: row["h"] for row in rows if row["o"] == "vault"}
        self.ops = {v: [row for row in rows if row["o"] in "whr" and row.get("v") == v] for v in self.vaults}
        self.finals = {v: [row for row in rows if row["o"] == "final" and row["v"] == v] for v in self.vaults}
        self.chains, self.misfits = {}, []
        for v, rows_of in self.finals.items():
            if rows_of:
                self.chains[v] = Chain(rows_of[0]["heads"])
                self.misfits += [f"vault {v}: {text}" for text in self.chains[v].build(self.writes(v))]

    def of(self, kind):
        return [row for row in self.rows if row["o"] == kind]

    def writes(self, v, *outcomes):
        return [row for row in self.ops[v] if row["o"] == "w" and (not outcomes or row["x"] in outcomes)]

    def reads(self, v, *levels):
        """(read, span): those that were answered."""
        for row in self.ops[v]:
            if row["o"] != "w" and row["x"] == "ok" and row["l"] in levels:
                yield row, self.span(v, row)

    def span(self, v, row):
        chain = self.chains[v]
        if row["o"] == "r":
            return chain.span(row["ps"])
        place = chain.place.get(row["h"])
        return None if place is None or place != row["q"] else (place, place)


def load(path):
    with open(path, encoding="utf-8") as file:
        return History([json.loads(line) for line in file])


def where(row):
    return f"client {row.get('c')} at node {row.get('e')}, vault {row.get('v')}, {row.get('t')}"


# --- the checks ---

def check_form(h):
    """Answers have their form, and errors are those that the contract knows for such trouble."""
    for row in h.of("bad"):
        yield f"{where(row)}: {row['why']}"
    for v, ops in h.ops.items():
        for row in ops:
            if row.get("k") and row["k"] not in REFUSALS:
                yield f"{where(row)}: {row['k']}"
            if any(content == "malformed" for _, _, content in row.get("ps", ())):
                yield f"{where(row)}: malformed page"


def check_work(h):
    """The run did something: a check of nothing is none."""
    for v in h.ops:
        if not h.writes(v, "ok") or not any(row["o"] != "w" and row["x"] == "ok" for row in h.ops[v]):
            yield f"vault {v}: no acknowledged write, or no answered read"
    if sum(len(h.writes(v, "ok")) for v in h.vaults) < WRITES_MIN:
        yield f"fewer than {WRITES_MIN} acknowledged writes"
    for row in h.of("bit"):
        if row["took"] == 0:
            yield f"step {row['step']}: '{row['what']}' took hold of nothing"
    unseen = [row["step"] for row in h.of("bit") if row["took"] is None]
    if len(unseen) > max(2, UNSEEN_MOST * len(h.of("bit"))):
        yield f"of steps {unseen} nobody could see whether they took hold of anything"
    if {row["step"] for row in h.of("heal")} != {row["step"] for row in h.of("bit")}:
        yield "not of each step it was looked at whether it took hold of anything"
    if not h.of("put"):
        yield "the program kluis stored no file"


def check_agree(h):
    """All six nodes show the same in the end, as data and as state hash."""
    for v, finals in h.finals.items():
        if sorted(row["e"] for row in finals) != [1, 2, 3, 4, 5, 6]:
            yield f"vault {v}: not shown by all six nodes in the end"
        for row in finals:
            if (row["heads"], row["ps"]) != (finals[0]["heads"], finals[0]["ps"]):
                yield f"vault {v}: node {row['e']} does not show what node {finals[0]['e']} does"
            span = h.chains[v].span(row["ps"])
            if span is None or span[1] != len(row["heads"]):
                yield f"vault {v}: the pages of node {row['e']} are not those of its newest head"
    hashes = {(row["index"], row["hash"]) for row in h.of("hash")}
    if len(h.of("hash")) != 6 or len(hashes) != 1:
        yield f"not one state hash at all six: {sorted(hashes)}"


def check_chain(h):
    """Every head is one that a client sent, behind the one it was made for; every page's revisions are 1, 2, 3 ..."""
    yield from h.misfits
    for v, chain in h.chains.items():
        if chain.heads[:1] != [h.vaults[v]]:
            yield f"vault {v}: the first head is not the one it was made with"
        if len(chain.place) != len(chain.heads):
            yield f"vault {v}: a head stands at two places"


def check_acked(h):
    """No acknowledged write is lost."""
    for v, chain in h.chains.items():
        for row in h.writes(v, "ok"):
            if chain.place.get(row["h"]) != row["q"]:
                yield f"{where(row)}: head {row['h']} (seq {row['q']}) was acknowledged and is not there"


def check_refused(h):
    """What was refused never happened."""
    for v, chain in h.chains.items():
        for row in h.writes(v, "no"):
            if row["h"] in chain.place:
                yield f"{where(row)}: refused with {row['k']}, and yet it stands at {chain.place[row['h']]}"


def check_dirty(h):
    """A read, however stale, shows a state that there was: nothing torn, nothing that was never committed."""
    for v in h.chains:
        for row, span in h.reads(v, "lin", "ses", "stale"):
            if span is None:
                yield f"{where(row)}: shows what the vault never was"


def check_future(h):
    """A read shows nothing that was sent after it was answered."""
    for v, chain in h.chains.items():
        begun = Floor((row["t"][0], chain.place[row["h"]]) for row in h.writes(v) if row["h"] in chain.place)
        for row, span in h.reads(v, "lin", "ses", "stale"):
            if span and span[0] > begun.before(row["t"][1]):
                yield f"{where(row)}: shows {span[0]}, which nobody had sent"


def known_floor(h, v):
    """What was acknowledged, or shown by a linearizable read."""
    chain = h.chains[v]
    points = [(row["t"][1], row["q"]) for row in h.writes(v, "ok") if row["h"] in chain.place]
    points += [(row["t"][1], span[0]) for row, span in h.reads(v, "lin") if span]
    return Floor(points)


def check_fresh(h):
    """A linearizable read shows what was acknowledged, or shown by another one, before it began."""
    for v in h.chains:
        floor = known_floor(h, v)
        for row, span in h.reads(v, "lin"):
            if span and span[1] < floor.before(row["t"][0]):
                yield f"{where(row)}: shows {span[1]}, began after {floor.before(row['t'][0])}"


def check_order(h):
    """A write is acknowledged behind everything that was known before it began."""
    for v in h.chains:
        floor = known_floor(h, v)
        for row in h.writes(v, "ok"):
            if row["q"] <= floor.before(row["t"][0]):
                yield f"{where(row)}: took place {row['q']}, began after {floor.before(row['t'][0])}"


def check_session(h):
    """To one client no read goes back: it shows what this client has written and seen."""
    for v in h.chains:
        seen = {}
        for row in sorted(h.ops[v], key=lambda row: row["t"][0]):
            if row["x"] != "ok":
                continue
            client = row["c"]
            if row["o"] == "w":
                seen[client] = max(seen.get(client, 1), row["q"])
                continue
            span = h.span(v, row)
            if span is None:
                continue
            if row["l"] != "stale" and span[1] < seen.get(client, 1):
                yield f"{where(row)}: shows {span[1]}, has seen {seen[client]}"
            if row.get("m", 0) > row.get("i", row.get("m", 0)):
                yield f"{where(row)}: is of index {row['i']}, {row['m']} was asked for"
            seen[client] = max(seen.get(client, 1), span[0])


def check_stale(h):
    """A stale read is at most as old as it says, and never older than ten seconds."""
    for v in h.chains:
        floor = known_floor(h, v)
        for row, span in h.reads(v, "stale"):
            if span is None:
                continue
            said = min(row["st"], STALE_MS) * 10**6 * STALE_CLOCK
            oldest = floor.before(row["t"][0] - said - STALE_SLACK_NS)
            if span[1] < oldest:
                yield f"{where(row)}: shows {span[1]}, says {row['st']} ms, {oldest} was known before that"


def goes_on(h, within):
    """A function: whether a write was begun and acknowledged within so long of a time."""
    done = sorted((row["t"][0], row["t"][1]) for v in h.vaults for row in h.writes(v, "ok"))

    def does(time):
        at = bisect.bisect_left(done, (time, 0))
        return min((end for begin, end in done[at:bisect.bisect_left(done, (time + within, 0))]), default=math.inf) <= time + within
    return does


def check_progress(h):
    """Within half a minute of each healing a write is acknowledged that was sent after it."""
    does = goes_on(h, PROGRESS_NS)
    for heal in h.of("heal"):
        if not does(heal["t"]):
            yield f"step {heal['step']}: no write was acknowledged within 30 s"


def check_live(h):
    """So, too, within ten seconds of the beginning of a fault that spares a quorum, if it lasts as long: in long runs alone."""
    does = goes_on(h, LIVE_NS)
    healed = {row["step"]: row["t"] for row in h.of("heal")}
    for fault in h.of("fault"):
        lasted = healed.get(fault["step"], 0) - fault["t"]
        if fault["quorum"] and fault["load"] >= LIVE_LOAD and lasted >= LIVE_NS and not does(fault["t"]):
            yield f"step {fault['step']}: '{fault['what']}' spares a quorum, and no write was acknowledged within 10 s"


def check_files(h):
    """What `kluis put` said it stored is there, byte for byte, at every node asked; and it never found the cluster untrue."""
    stored = {row["n"]: row["sha"] for row in h.of("put") if row["rc"] == 0}
    for row in h.of("put"):
        if row["rc"] not in FILE_EXITS:
            yield f"put of {row['n']}: exit status {row['rc']}: {row['said']}"
    for node, found in sorted({row["e"]: row["found"] for row in h.of("got")}.items()):
        for name, digest in stored.items():
            if found.get(name) != digest:
                yield f"{name}, which was stored, is {'another' if name in found else 'missing'} at node {node}"
    if h.of("put") and (not stored or not h.of("got") or not h.of("verify")):
        yield "no file was stored, fetched and verified"
    for row in h.of("verify"):
        if row["rc"] != 0:
            yield f"kluis verify: exit status {row['rc']}: {row['said']}"


def check_nodes(h):
    """No node ends by itself or says that something is broken."""
    for row in h.of("node"):
        yield f"{row['site']}: {row['what']}"


def linear_ops(h, v):
    """What the search needs of a vault: reads that are not linearizable prove nothing here, nor does what was not looked at."""
    for row in h.ops[v]:
        if row["o"] == "w":
            if row["x"] == "ok" or (row["x"] == "un" and row["h"] in h.chains[v].place) or row.get("k") in LOST_RACE:
                yield row
        elif row["x"] == "ok" and row["l"] == "lin":
            yield row


def verdicts(h):
    """Vault -> what the search says of it (None: not decided within its budget); looked at once."""
    if h.verdicts is None:
        h.verdicts = {v: linear.search(linear.Vault(h.vaults[v], h.writes(v)), list(linear_ops(h, v)), h.budget) for v in h.chains}
    return h.verdicts


def check_linear(h):
    """Wing and Gong: writes, lost races and linearizable reads of a vault have an order that explains every answer."""
    for v, verdict in verdicts(h).items():
        if verdict is False:
            yield f"vault {v}: no order of its operations explains the answers"
    undecided = [v for v, verdict in verdicts(h).items() if verdict is None]
    if len(undecided) > UNDECIDED_MOST * len(h.chains):
        yield f"vaults {undecided}: not decided within {h.budget} steps"


CHECKS = {name[len("check_"):]: function for name, function in globals().items() if name.startswith("check_")}


def failures(history, only=None):
    """Check -> what is wrong; only checks that found something."""
    found = {}
    for name, check in CHECKS.items():
        wrong = list(check(history)) if only is None or name == only else []
        if wrong:
            found[name] = wrong
    return found


def summary(h):
    """One paragraph of numbers."""
    ops = [row for rows in h.ops.values() for row in rows]
    count = lambda kind, outcome: sum(1 for row in ops if (row["o"] == "w") == (kind == "w") and row["x"] == outcome)
    linear_count = sum(len(list(linear_ops(h, v))) for v in h.chains)
    decided = sum(verdict is not None for verdict in verdicts(h).values())
    return (f"{count('w', 'ok')} writes acknowledged, {count('w', 'no')} refused, {count('w', 'un')} unknown; "
            f"{count('r', 'ok')} reads answered, {count('r', 'no')} not; "
            f"{len(h.vaults)} vaults, {linear_count} operations for the search, which decided {decided} of them; "
            f"{sum(1 for row in h.of('put') if row['rc'] == 0)} files stored; {len(h.of('heal'))} healings, {len(h.of('fault'))} faults")


def report(h, only=None):
    """Prints what was found; True when all holds."""
    print(summary(h))
    found = failures(h, only)
    for name, wrong in found.items():
        print(f"FAILED {name}: {len(wrong)}")
        for text in wrong[:5]:
            print(f"    {text}")
    if not found:
        print(f"every invariant held: {only or ' '.join(CHECKS)}")
    return not found
