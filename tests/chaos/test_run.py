#!/usr/bin/env python3
"""However a run ends, nothing of it is left: no process, no file, no namespace. And where it cannot run, it says so."""
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


@unittest.skipIf(why_not(), why_not())
class Ends(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-test-run-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.top)], check=True)
        plan = [{"kind": "pause", "sites": ["leader"], "seconds": 60, "load": 40}]  # Also a process that is stopped has to go.
        (self.top / "plan").write_text(json.dumps(plan))

    def ends(self, number):
        process = subprocess.Popen([sys.executable, "-B", str(RUN), "--plan", str(self.top / "plan"), "--out", str(self.top / "out")],
                                   stdout=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=str(self.top), PYTHONUNBUFFERED="1"))
        try:
            said = ""
            while "SIGSTOP" not in said:  # Its line ends with the step.
                letter = process.stdout.read(1)
                self.assertTrue(letter, said)
                said += letter
            below = [pid for child in children(process.pid) for pid in [child, *children(child)]]
            self.assertGreaterEqual(len(below), 6 + 2)  # Nodes, wire, clients.
            self.assertTrue(list(self.top.glob("kluis-chaos-*")))
            process.send_signal(number)
            process.wait(30)
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()
        end = time.monotonic() + 10
        while any(alive(pid) for pid in below) or list(self.top.glob("kluis-chaos-*")):
            left = [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in below if alive(pid)]
            self.assertLess(time.monotonic(), end, f"left: {left} {list(self.top.iterdir())}")
            time.sleep(0.05)
        return process.returncode

    def test_interrupt(self):
        self.assertEqual(self.ends(signal.SIGINT), 1)

    def test_kill(self):
        self.assertEqual(self.ends(signal.SIGKILL), -signal.SIGKILL)


class Refuses(unittest.TestCase):
    def run_it(self, *words):
        done = subprocess.run([*words], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    @unittest.skipUnless(os.geteuid() == 0, "it takes root to run it as somebody else")
    def test_without_root_it_is_skipped_aloud(self):
        status, said = self.run_it("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-B", str(RUN))
        self.assertEqual(status, 77)
        self.assertIn("SKIPPED: it takes root", said)

    def test_usage(self):
        for words in (["--minutes", "0"], ["--minutes", "x"], ["--speed", "1"]):
            status, said = self.run_it(sys.executable, "-B", str(RUN), *words)
            self.assertEqual(status, 2)
            self.assertIn("tests/chaos/run", said)

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
