"""What the benches beside other programs share: rounds in turns, medians with their spread, a table with ratios, JSON."""
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DISK_FREE_MIN = 8 << 30


class Rounds:
    """The numbers of one run. options: an argparse namespace with quick, rounds, json and only."""

    def __init__(self, options):
        self.options = options
        self.began = time.monotonic()
        self.values = {}  # (what, side) -> list of numbers
        self.failures = []

    def note(self, text):
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", file=sys.stderr, flush=True)

    def add(self, what, side, value):
        self.values.setdefault((what, side), []).append(value)

    def later_than(self, seconds):
        return self.options.quick and time.monotonic() - self.began > seconds

    def time_is_up(self):
        """Whether nothing more may begin."""
        if shutil.disk_usage(tempfile.gettempdir()).free < DISK_FREE_MIN:
            self.failures.append(f"less than {DISK_FREE_MIN >> 30} GiB free below '{tempfile.gettempdir()}': stopped")
            return True
        return False

    def wanted(self, name):
        return self.options.only is None or self.options.only in name

    def attempt(self, what, do):
        """One step; that it failed is kept and said, and the run goes on. False: there is no time or room for more."""
        if self.time_is_up():
            return False
        self.note(what)
        try:
            do()
        except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
            self.failures.append(f"{what}: {error}")
            self.note(f"{what} FAILED: {error}")
        return True

    def turns(self, what, sides, number, one):
        """The same on each side; who goes first changes, so that none always meets a warm disk."""
        first = number % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            if not self.attempt(f"{what}: {side.name}", lambda side=side: one(side)):
                return

    def raw(self):
        raw = {}
        for (what, side), values in self.values.items():
            raw.setdefault(what, {})[side] = values
        return raw


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)} if values else None


def number(value):
    return f"{value:.{0 if value >= 1000 else 1 if value >= 100 else 2}f}"


class Table:
    """Rows of one number a side, ours first. A ratio is that of ours to the best of the others, above 1 where ours is better."""

    def __init__(self, rounds, sides):
        self.rounds, self.sides, self.rows = rounds, sides, []

    def of(self, key, scale=1):
        """What was measured under this key, of each side."""
        return {side: summary([v / scale for v in self.rounds.values.get((key, side), [])]) for side in self.sides}

    def add(self, what, unit, sides, better, reach=None):
        """better: "higher" or "lower". reach: ("ratio", least), ("at most", ours) or ("at least", ours)."""
        ours, others = sides.get(self.sides[0]), [sides[s]["median"] for s in self.sides[1:] if sides.get(s)]
        if ours is None and not others:
            return
        row = {"what": what, "unit": unit, **{side: sides.get(side) for side in self.sides}, "ratio": None, "reach": None, "met": None}
        if ours and others:
            best = max(others) if better == "higher" else min(others)
            if min(ours["median"], best) > 0:
                row["ratio"] = ours["median"] / best if better == "higher" else best / ours["median"]
        if reach is not None:
            kind, limit = reach
            value = row["ratio"] if kind == "ratio" else ours and ours["median"]
            if value is not None:
                row["reach"] = f"ratio >= {limit}" if kind == "ratio" else f"{self.sides[0]} {'<=' if kind == 'at most' else '>='} {limit}"
                row["met"] = value <= limit if kind == "at most" else value >= limit
        self.rows.append(row)

    def text(self):
        def side(s):
            return f"{number(s['median'])} ({number(s['min'])}-{number(s['max'])})" if s else "-"
        lines = [("WHAT", "UNIT", *(name.upper() for name in self.sides), "RATIO", "REACH", "")]
        for row in self.rows:
            lines.append((row["what"], row["unit"], *(side(row[name]) for name in self.sides), f"{row['ratio']:.2f}" if row["ratio"] else "-",
                          row["reach"] or "", {None: "", True: "met", False: "MISSED"}[row["met"]]))
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        return "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip() for line in lines) + "\n"


def said(*command):
    """The first line of what a program says of itself."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()


def machine(**versions):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="ascii") if line.startswith("model name")), "?")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "directory": tempfile.gettempdir(),
            "kluis": said("git", "-C", str(ROOT), "describe", "--always", "--dirty"), **versions, "load_before": os.getloadavg()[0]}


def build(*targets):
    log = ROOT / "build" / "bench.build.txt"
    log.parent.mkdir(exist_ok=True)
    with open(log, "w", encoding="utf-8") as out:
        for command in (["cmake", "--preset", "release"],
                        ["cmake", "--build", "--preset", "release", "-j", str(os.cpu_count()), "--target", "kluisd", "kluis", "kluisctl", *targets]):
            if subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, check=False).returncode != 0:
                sys.exit(f"bench: the build failed: '{log}'")


def prepare(*targets):
    """What every bench does first: packages there, programs built, and an end from outside takes the clusters down all the same."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if subprocess.run([str(ROOT / "deploy" / "install-deps"), "--check", "run", "bench"], check=False).returncode != 0:
        sys.exit("bench: packages are missing: deploy/install-deps run bench")
    build(*targets)


def tell_load(rounds, where):
    if where["load_before"] > 0.5:
        rounds.note(f"other work runs on this machine (load {where['load_before']:.1f}): the numbers will say so")


def finish(rounds, text, report, rows, missing):
    """Prints and keeps what came of it; the exit status: 1 something failed, 3 a reach was missed, 4 not all was measured."""
    print(text, end="")
    for failure in rounds.failures:
        print(f"FAILED {failure}")
    if rounds.options.json:
        pathlib.Path(rounds.options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if rounds.failures:
        return 1
    if any(row["met"] is False for row in rows):
        return 3
    return 4 if missing else 0
