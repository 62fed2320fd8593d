#!/usr/bin/env python3
"""However a run ends, nothing of it is left: no process, no file, no namespace. And where it cannot run, it says so."""
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from network import why_not

RUN = pathlib.Path(__file__).resolve().parent / "run"
TALK = RUN.parent / "talk"


def stat(pid):
    """State and parent; ("Z", 0) when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return ["Z", "0"]


def children(pid):
    return [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*") if stat(path.name)[1] == str(pid)]


def alive(pid):
    return stat(pid)[0] != "Z"


def named_in(text):
    """Command lines of processes that have it in them, as an agent has its profile."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and alive(path.parent.name):
            found.append(line)
    return found


@unittest.skipIf(why_not(), why_not())
class Ends(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-test-run-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.top)], check=True)
        plan = [{"kind": "pause", "sites": ["leader"], "seconds": 60, "load": 40}]  # Also a process that is stopped has to go.
        (self.top / "plan").write_text(json.dumps(plan))

    def ends(self, number, program, words, until, least):
        """The program, when it has said `until` and has so many processes below it, is sent that signal: nothing is left."""
        process = subprocess.Popen([sys.executable, "-B", str(program), *words, "--out", str(self.top / "out")],
                                   stdout=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=str(self.top), PYTHONUNBUFFERED="1"))
        try:
            said = ""
            while until not in said:  # Its line ends with the step.
                letter = process.stdout.read(1)
                self.assertTrue(letter, said)
                said += letter
            below = [pid for child in children(process.pid) for pid in [child, *children(child)]]
            self.assertGreaterEqual(len(below), least)
            self.assertTrue(list(self.top.glob("kluis-*")))
            process.send_signal(number)
            process.wait(120)
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()
        end = time.monotonic() + 60
        while any(alive(pid) for pid in below) or list(self.top.glob("kluis-*")) or named_in(str(self.top)):
            left = [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in below if alive(pid)]
            self.assertLess(time.monotonic(), end, f"left: {left} {named_in(str(self.top))} {list(self.top.iterdir())}")
            time.sleep(0.05)
        return process.returncode

    def run_ends(self, number):
        return self.ends(number, RUN, ["--plan", str(self.top / "plan")], "SIGSTOP", 6 + 2)  # Nodes, wire, clients.

    def test_interrupt(self):
        self.assertEqual(self.run_ends(signal.SIGINT), 1)

    def test_kill(self):
        self.assertEqual(self.run_ends(signal.SIGKILL), -signal.SIGKILL)

    def talk_ends(self, number):
        return self.ends(number, TALK, [], "kill -9", 5 + 2)  # A node is dead; the wire, who follows; the agents are nobody's.

    def test_talk_interrupt(self):
        self.assertEqual(self.talk_ends(signal.SIGINT), 1)

    def test_talk_kill(self):
        self.assertEqual(self.talk_ends(signal.SIGKILL), -signal.SIGKILL)


class Refuses(unittest.TestCase):
    def run_it(self, *words):
        done = subprocess.run([*words], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    @unittest.skipUnless(os.geteuid() == 0, "it takes root to run it as somebody else")
    def test_without_root_it_is_skipped_aloud(self):
        for program in (RUN, TALK):
            status, said = self.run_it("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-B", str(program))
            self.assertEqual(status, 77)
            self.assertIn("SKIPPED: it takes root", said)

    def test_usage(self):
        for program, words in itertools.product((RUN, TALK), (["--minutes", "0"], ["--minutes", "x"], ["--speed", "1"])):
            status, said = self.run_it(sys.executable, "-B", str(program), *words)
            self.assertEqual(status, 2)
            self.assertIn(f"tests/chaos/{program.name}", said)

    def test_check_of_a_history_that_lost_a_write(self):
        from test_checks import Store
        store = Store(3)
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            def check(rows, *words):
                file.seek(0)
                file.truncate()
                file.write("".join(json.dumps(row) + "\n" for row in rows))
                file.flush()
                return self.run_it(sys.executable, "-B", str(RUN.parent / "check"), file.name, *words)
            self.assertEqual(check(store.rows)[0], 0)
            for row in store.rows:
                if row["o"] == "final":
                    row["heads"].pop()
            status, said = check(store.rows, "acked")
            self.assertEqual(status, 1)
            self.assertIn("FAILED acked", said)
            self.assertEqual(check(store.rows, "nothing")[0], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
