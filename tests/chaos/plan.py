"""The plan of a chaos run: which fault when, how long, against whom. A seed and a length make one plan, always the same.

Sites are named, or `leader`, `other1`, `other2` ...: who leads is known when the step begins, and the others are counted from
there in the order of SITES. What it came to is told while it runs and stands in the history.
"""
import itertools
import random

from network import SITES

CALM = 2.0  # Seconds from a healing to the next fault, about: a write has to get through first.
PAIRS = [f"{a}-{b}" for a, b in itertools.combinations(SITES, 2)]


def some(rng, *choices):
    return rng.choice(choices)


def seconds(rng, low, high):
    """Mostly short: the logarithm is drawn evenly."""
    return round(low * (high / low) ** rng.random(), 1)


def split(rng, size, most):
    """The smaller part has `size` sites, half of the times the leader's."""
    if rng.random() < 0.5:
        apart = ["leader"] + [f"other{i}" for i in rng.sample(range(1, len(SITES)), size - 1)]
    else:
        apart = rng.sample(SITES, size)
    return {"kind": "split", "apart": apart, "seconds": seconds(rng, 3, min(15, most))}


def oneway(rng, most):
    return {"kind": "oneway", "site": some(rng, "leader", "leader", rng.choice(SITES)), "how": some(rng, "deaf", "mute"),
            "seconds": seconds(rng, 3, min(12, most))}


def pair(rng, most):
    return {"kind": "pairs", "pairs": [rng.choice(PAIRS)], "each": seconds(rng, 3, min(10, most))}


def all_pairs(rng, most):
    return {"kind": "pairs", "pairs": rng.sample(PAIRS, len(PAIRS)), "each": round(min(4.0, most / len(PAIRS)), 1)}


def flap(rng, most):
    size = some(rng, 1, 2, 3)
    apart = ["leader"] + [f"other{i}" for i in rng.sample(range(1, len(SITES)), size - 1)]
    return {"kind": "flap", "apart": apart, "every": seconds(rng, 0.2, 2.0), "seconds": seconds(rng, 4, min(15, most))}


def delay(rng, most):
    late = int(seconds(rng, 5, 250))
    return {"kind": "delay", "delay": late, "jitter": rng.randint(0, late), "loss": rng.choice([0, 1, 2, 5, 10, 20]),
            "clients": rng.random() < 0.3, "seconds": seconds(rng, 5, min(15, most))}


def slow(rng, most):
    return {"kind": "slow", "rate": 1000, "site": some(rng, "leader", "*"), "seconds": seconds(rng, 5, min(15, most))}


def reset(rng, most):
    return {"kind": "reset", "site": some(rng, "leader", "leader", "other1", "*"), "seconds": seconds(rng, 0.5, min(8, most))}


def pause(rng, most):
    sites = some(rng, ["leader"], ["leader"], ["other1"], ["leader", "other2"])
    return {"kind": "pause", "sites": sites, "seconds": seconds(rng, 0.2, min(30, most))}


def zombie(rng, most):
    """Stopped, cut off from the other nodes meanwhile, and then it wakes up: what it remembers is old, and nobody tells it."""
    length = seconds(rng, 4, min(30, most))
    return {"kind": "zombie", "site": some(rng, "leader", "other1"), "stopped": round(length * rng.uniform(0.3, 0.8), 1), "seconds": length}


def kill(rng, most):
    sites = some(rng, ["leader"], ["leader"], ["other3"], ["leader", "other1"], ["leader", "other1", "other2"], ["all"])
    return {"kind": "kill", "sites": sites, "seconds": seconds(rng, 0.5, min(8, most))}


def clock(rng, most):
    sites = some(rng, ["leader"], ["other2"], ["leader", "other1", "other2"], ["all"])
    jump = rng.choice([-1, 1]) * int(seconds(rng, 1, 3600))
    return {"kind": "clock", "sites": sites, "jump": jump, "rate": rng.choice([1.0, 1.0, 0.9, 1.1]),
            "seconds": seconds(rng, 4, min(12, most))}


def rate(rng, most):
    return {"kind": "rate", "sites": some(rng, ["leader"], ["other1", "other4"]), "rate": rng.choice([0.8, 0.9, 1.1, 1.25]),
            "seconds": seconds(rng, 6, min(15, most))}


def mix(rng, most):
    """Two at once; both begin and end together."""
    makers = [lambda r, m: split(r, some(r, 1, 2, 3), m), oneway, delay, slow, reset, pause, kill, clock]
    parts = [make(rng, most) for make in rng.sample(makers, 2)]
    long = max(min(part["seconds"], 12) for part in parts)
    for part in parts:
        part["seconds"] = long
    return {"kind": "mix", "parts": parts, "seconds": long}


MAKERS = {
    "split33": lambda rng, most: split(rng, 3, most),
    "split42": lambda rng, most: split(rng, 2, most),
    "split51": lambda rng, most: split(rng, 1, most),
    "oneway": oneway, "pair": pair, "pairs": all_pairs, "flap": flap, "delay": delay, "slow": slow, "reset": reset,
    "pause": pause, "zombie": zombie, "kill": kill, "clock": clock, "rate": rate, "mix": mix,
}


def length(step):
    return step["each"] * len(step["pairs"]) if step["kind"] == "pairs" else step["seconds"]


def make(minutes, seed, clocks=True):
    """Steps for about so many minutes: round after round, each kind once in a round. clocks: there is libfaketime."""
    rng = random.Random(seed)
    left = minutes * 60.0 - CALM
    most = max(3.1, minutes * 60 / 15)
    steps = []
    while True:
        kinds = list(MAKERS)
        rng.shuffle(kinds)
        for kind in kinds:
            step = MAKERS[kind](rng, most)
            if not clocks and ("clock" in str(step) or "'rate', 'sites'" in str(step) or kind == "rate"):
                continue
            if left < length(step) + CALM:
                return steps
            left -= length(step) + CALM
            steps.append(dict(step, load=rng.choice([2, 40, 40, 120])))


def describe(step):
    """One line."""
    if step["kind"] == "mix":
        return "mix of " + " and ".join(describe(part) for part in step["parts"])
    words = [f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in step.items()
             if key not in ("kind", "load")]
    return f"{step['kind']}: {', '.join(words)}" + (f" at {step['load']} operations/s" if "load" in step else "")
