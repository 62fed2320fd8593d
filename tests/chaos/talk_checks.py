"""What must hold of a conversation, whatever was killed and cut meanwhile; from the rows that talkers.py makes.

A message is known by its text, which is said once. Each check gives sentences on what does not hold, and an empty list otherwise.
"""
import itertools

OK, NOT_ALLOWED, KILLED = 0, 12, -9
TROUBLE = (11, 13)  # Exit codes that a dead or unreachable site may have.
FOREVER = float("inf")
INVITED = "'kluis chat accept' first"  # Who is asked back says so again.
LEAST_SAID = 5  # Acknowledged, of each of those who began.


class Rows:
    """Of one conversation; a row without `chat` is of all. history: who comes later reads what was before; changes: somebody came and
    somebody went."""

    def __init__(self, rows, chat=None, history=False, changes=True, people=3):
        self.rows = sorted((row for row in rows if row.get("chat", chat) == chat), key=lambda row: row["t"][1])
        self.history, self.moved, self.people = history, changes, people
        self.says = self.of("say")
        self.said = {row["text"]: row for row in self.says}
        self.shown = {}  # (who, device) -> items in the order of reading
        for row in self.of("read") + self.of("follow"):
            self.shown.setdefault((row["who"], row["device"]), []).extend(row["items"])
        self.all = {}  # seq -> the items that anybody was shown under it
        for reader, items in self.shown.items():
            for item in items:
                self.all.setdefault(item["seq"], []).append((reader, item))
        self.last = max(self.all, default=0)
        self.opened = {}  # (who, device) -> text -> when it had been shown
        for row in self.of("read") + self.of("follow"):
            for item in filter(opened, row["items"]):
                self.opened.setdefault((row["who"], row["device"]), {}).setdefault(item.get("text"), row["t"][1])

    def of(self, kind):
        return [row for row in self.rows if row["o"] == kind]

    def changes(self, who, device):
        """Of what that device may read: of its person, or, of a phone, its own."""
        return [row for row in self.of("change") if row["who"] == who and row["device"] == (None if device == "desk" else device)]

    def is_in(self, who, device, begin, end):
        """Whether it may read what was said then; None: a change was under way."""
        state = False
        for row in self.changes(who, device):
            if row["t"][1] < begin:
                state = row["what"] == "add"
            elif row["t"][0] <= end:
                return None
        return state

    def was_in(self, who, device, begin, end):
        """Whether it may have been in it at any time between."""
        return self.is_in(who, device, begin, begin) is not False or any(
            row["what"] == "add" and row["t"][0] <= end and row["t"][1] >= begin for row in self.changes(who, device))

    def stays(self, who, device, since):
        return all(row["what"] == "add" for row in self.changes(who, device) if row["t"][1] >= since)

    def always(self):
        """Who was in it all the time."""
        return [reader for reader in self.shown if reader[1] == "desk" and [row["what"] for row in self.changes(*reader)] == ["add"]
                and self.changes(*reader)[0]["t"][1] <= min((row["t"][0] for row in self.says), default=0)]


def span(say):
    """When it may have been sent: with a later call, too, unless it was acknowledged."""
    return say["t"][0], say["t"][1] if say["rc"] == OK else FOREVER


def opened(item):
    return item["kind"] != "closed"


def check_same(rows):
    """Whoever is shown a number is shown the same message."""
    for seq, shown in rows.all.items():
        for what in ("user", "device", "time_ms"):
            if len({item[what] for _, item in shown}) > 1:
                yield f"message {seq} is by or of several: {shown}"
        if len({(item["kind"], item.get("text")) for _, item in shown if opened(item)}) > 1:
            yield f"message {seq} has several texts: {shown}"


def check_whole(rows):
    """Who was in it all the time saw each number from 1 to the last, and could open it; of her own what the others had before she
    read it back may be gone."""
    for reader in rows.always():
        own = {seq for seq, shown in rows.all.items() for _, item in shown if (item["user"], item["device"]) == reader}
        seen = own | {item["seq"] for item in rows.shown[reader] if opened(item)}
        missing = sorted(set(range(1, rows.last + 1)) - seen)
        if missing:
            yield f"{reader} did not see {missing[:10]} of {rows.last}"


def check_acked(rows):
    """What was acknowledged is there, under the number that was told."""
    for say in rows.says:
        if say["rc"] == OK and not any(item.get("text") == say["text"] for _, item in rows.all.get(say["seq"], [])):
            yield f"'{say['text']}' is not message {say['seq']}"


def texts(rows):
    """(seq, text) of each, once."""
    return sorted({(seq, item["text"]) for seq, shown in rows.all.items() for _, item in shown if item["kind"] == "text"})


def check_once(rows):
    """No text has two numbers, and each was said by whom it is shown to be of."""
    numbers = {}
    for seq, text in texts(rows):
        numbers.setdefault(text, []).append(seq)
    for text, found in numbers.items():
        if len(found) > 1:
            yield f"'{text}' is there {len(found)} times: {found}"
        if text not in rows.said:
            yield f"nobody said '{text}'"
    for shown in rows.all.values():
        for _, item in shown:
            say = rows.said.get(item.get("text"))
            if item["kind"] == "text" and say and (item["user"], item["device"]) != (say["who"], say["device"]):
                yield f"'{item['text']}' is shown as {item['user']}'s"


def check_order(rows):
    """What one device said stands in the order it said it in; what was acknowledged stands before what was begun after that."""
    found = [(seq, rows.said[text]) for seq, text in texts(rows) if text in rows.said]
    begun = {}  # device -> when its last message that is there was begun
    latest = -1  # When the latest of those before it was begun.
    for seq, say in found:
        device = (say["who"], say["device"])
        if say["t"][0] < begun.get(device, -1):
            yield f"message {seq}, '{say['text']}', stands behind a later one of the same device"
        if say["rc"] == OK and say["t"][1] < latest:
            yield f"message {seq}, '{say['text']}', stands behind one that was begun after it was acknowledged"
        begun[device] = say["t"][0]
        latest = max(latest, say["t"][0])


def check_reading(rows):
    """Each reading goes on where the one before ended; what a call that failed has shown may come again."""
    last, again = {}, {}
    for row in rows.of("read") + rows.of("follow"):
        reader = (row["who"], row["device"])
        numbers = [item["seq"] for item in row["items"]]
        if any(a >= b for a, b in itertools.pairwise(numbers)):
            yield f"{reader} was shown {numbers} in one reading"
        if numbers and numbers[0] <= last.get(reader, 0) and not again.get(reader):
            yield f"{reader} was shown {numbers[0]} after {last[reader]}"
        if numbers:
            last[reader] = max(last.get(reader, 0), numbers[-1])
        again[reader] = row["o"] == "read" and row["rc"] != OK


def check_trust(rows):
    """Nobody is told of a lie: there was none."""
    for reader, items in rows.shown.items():
        for item in items:
            if "problem" in item or "not_theirs" in item:
                yield f"{reader}, message {item['seq']}: {item.get('problem', 'not theirs')}"


def check_members(rows):
    """Who was in it when a message was said, and stayed, opens it; who was out of it does not get to see what it says, unless it has
    a history and she came (back) since."""
    for reader in rows.shown:
        seen = rows.opened.get(reader, {})
        for say in rows.says:
            begin, end = span(say)
            is_in = rows.is_in(*reader, begin, end)
            if is_in is False and say["text"] in seen and not (rows.history and rows.was_in(*reader, begin, seen[say["text"]])):
                yield f"{reader} was out of it and reads '{say['text']}'"
            own = (say["who"], say["device"]) == reader
            if is_in and not own and say["rc"] == OK and rows.stays(*reader, begin) and say["text"] not in seen:
                yield f"{reader} was in it and does not read '{say['text']}'"


def check_history(rows):
    """In the end the history has all of it, as it was read, for whoever is in it; or there is none."""
    if rows.history != bool(rows.of("again")):
        yield "the history was not read again" if rows.history else "a history was read that is none"
    for row in rows.of("again"):
        who, numbers = f"{row['who']}/{row['device']}", [item["seq"] for item in row["items"]]
        if row["rc"] != OK or row["said"]:
            yield f"{who} reads again: {row['rc']}, {row['said']}"
        if numbers != list(range(1, rows.last + 1)):
            yield f"{who} reads {sorted(set(range(1, rows.last + 1)) ^ set(numbers))[:10]} of {rows.last} not once"
        for item in row["items"]:
            right = {other.get("text") for _, other in rows.all.get(item["seq"], []) if opened(other)}
            if not opened(item) or {item.get("text")} != right or "problem" in item:
                yield f"{who} reads again {item}, which was {right}"


def check_calls(rows):
    """A call ends well, or for want of a site; who is out of it is told so, and nothing that such a caller says is taken."""
    for row in rows.says + rows.of("read"):
        if row["rc"] == NOT_ALLOWED and INVITED in row["said"]:
            continue
        is_in = rows.is_in(row["who"], row["device"], *row["t"])
        right = {True: (OK, *TROUBLE, KILLED), False: (NOT_ALLOWED, *TROUBLE, KILLED), None: (OK, NOT_ALLOWED, *TROUBLE, KILLED)}[is_in]
        if row["rc"] not in right:
            yield f"{row['who']}/{row['device']} {row['o']}: {row['rc']}, {row['said']}"
    for row in rows.of("follow"):
        if row["ended"] is not None:
            yield f"what follows the conversation ended by itself: {row['ended']}, {row['said']}"


def check_work(rows):
    """There was a conversation, and every fault took hold."""
    said = [row for row in rows.says if row["rc"] == OK]
    if len(said) < LEAST_SAID * rows.people:
        yield f"only {len(said)} messages were acknowledged"
    for row in rows.of("bit"):
        if row["took"] == 0:
            yield f"a fault that was none: {row['what']}"
    if rows.moved and {row["what"] for row in rows.of("change")} != {"add", "remove"}:
        yield "nobody came, or nobody went"


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}


def report(rows, cast):
    """Prints it; whether all held."""
    rows = Rows(rows, cast.chat, cast.history, cast.later is not None, len(cast.names))
    held = True
    said = [row for row in rows.says if row["rc"] == OK]
    print(f"{cast.chat}, {'with' if cast.history else 'without'} a history: {len(rows.says)} said, {len(said)} of them acknowledged, {rows.last} messages in it; "
          f"{sum(row['rc'] == KILLED for row in rows.says)} calls were killed, "
          f"{sum(row['rc'] in TROUBLE for row in rows.says + rows.of('read'))} failed for want of a site")
    for name, check in CHECKS.items():
        found = list(check(rows))
        held = held and not found
        print(f"{name:8s} {'holds' if not found else 'VIOLATED'}")
        for text in found[:5]:
            print(f"    {text[:600]}")
    return held
