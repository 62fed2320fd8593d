"""Is a history linearizable? The search of Wing and Gong (1993) with Lowe's memory of configurations (2017).

The model is one vault: its state is the hash of its head. What was read of pages is compared with what the chain of heads below
that state says, as the writers recorded it. Nothing here looks at the chain that the cluster shows in the end: this is a second
opinion, found in another way than that of checks.py.
"""
import math

BUDGET = 400_000  # Steps of the search; beyond it the answer is None.


class Vault:
    """The operations of one vault, and what each needs of the state in which it takes effect."""

    def __init__(self, first, writes):
        self.first = first
        self.pages = {first: {}}
        pending = {}
        for write in writes:
            pending.setdefault(write["b"], []).append(write)
        frontier = [first]
        while frontier:  # A write builds on the state before it, whatever came of either.
            state = frontier.pop()
            for write in pending.pop(state, ()):
                pages = dict(self.pages[state])
                pages.update((page, (revision, digest)) for page, revision, digest in write["ps"])
                self.pages[write["h"]] = pages
                frontier.append(write["h"])

    def apply(self, op, state):
        """The state after op took effect in `state`, or None: it cannot have had this answer there."""
        if op["o"] == "w":
            fits = state == op["b"]
            if op["x"] == "no":
                return None if fits else state
            return op["h"] if fits else None
        if op["o"] == "h":
            return state if op["h"] == state else None
        have = self.pages[state]
        for page, revision, digest in op["ps"]:
            if have.get(page, (0, digest)) != (revision, digest):
                return None
        return state


class Event:
    __slots__ = ("op", "index", "answer", "before", "after")

    def __init__(self, op, index, answer=None):
        self.op, self.index, self.answer = op, index, answer  # answer: of a call, the event of its answer; None: this is one.
        self.before = self.after = None


def events_of(ops):
    """All calls and answers in the order of time, as a list that things are taken out of and put back into."""
    rows = []
    for index, op in enumerate(ops):
        answer = Event(op, index)
        end = math.inf if op["x"] == "un" else op["t"][1]
        rows.append((op["t"][0], 0, index, Event(op, index, answer)))  # At one instant the call comes first: they overlap.
        rows.append((end, 1, index, answer))
    rows.sort(key=lambda row: row[:3])
    head = last = Event(None, -1)
    for row in rows:
        event = row[3]
        last.after, event.before = event, last
        last = event
    return head


def take_out(call):
    call.before.after = call.after
    if call.after:
        call.after.before = call.before
    answer = call.answer
    answer.before.after = answer.after
    if answer.after:
        answer.after.before = answer.before


def put_back(call):
    answer = call.answer
    answer.before.after = answer
    if answer.after:
        answer.after.before = answer
    call.before.after = call
    if call.after:
        call.after.before = call


def search(vault, ops, budget=BUDGET):
    """True: linearizable. False: not. None: not decided within the budget. An op with x "un" may have no effect at all."""
    head = events_of(ops)
    done, state, seen, taken = 0, vault.first, set(), []
    open_ended = sum(1 << i for i, op in enumerate(ops) if op["x"] == "un")
    everything = (1 << len(ops)) - 1
    event = head.after
    while (done | open_ended) != everything:
        budget -= 1
        if budget < 0:
            return None
        if event is not None and event.answer is not None:
            new = vault.apply(event.op, state)
            configuration = (done | 1 << event.index, new)
            if new is not None and configuration not in seen:
                seen.add(configuration)
                taken.append((event, state))
                done, state = configuration
                take_out(event)
                event = head.after
            else:
                event = event.after
        elif not taken:  # An answer that nothing explains.
            return False
        else:
            event, state = taken.pop()
            done &= ~(1 << event.index)
            put_back(event)
            event = event.after
    return True
