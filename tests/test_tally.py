#!/usr/bin/env python3
"""Whatever was skipped within a test that passed is named and counted."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.sax.saxutils

PROGRAM = pathlib.Path(__file__).resolve().parent / "tally"
loader = importlib.machinery.SourceFileLoader("tally", str(PROGRAM))
tally = importlib.util.module_from_spec(importlib.util.spec_from_loader("tally", loader))
loader.exec_module(tally)

SKIPS = """
import unittest
class A(unittest.TestCase):
    @unittest.skip("no disk")
    def test_plain(self):
        pass
    @unittest.skip("no root")
    def test_documented(self):
        \"\"\"First line.

        More.\"\"\"
    def test_done(self):
        pass
@unittest.skip("whole class")
class B(unittest.TestCase):
    def test_within(self):
        pass
unittest.main(verbosity=int(%r))
"""


class Tally(unittest.TestCase):
    def python(self, verbosity):
        done = subprocess.run([sys.executable, "-c", SKIPS % verbosity], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def count(self, *cases, failures=0, skipped=0):
        """cases: (name, status, output)"""
        rows = "".join(f'<testcase name="{name}" status="{status}"><system-out>{xml.sax.saxutils.escape(out)}</system-out></testcase>'
                       for name, status, out in cases)
        self.said = []
        text = f'<testsuite tests="{len(cases)}" failures="{failures}" disabled="0" skipped="{skipped}">{rows}</testsuite>'
        return tally.tally(tally.tree.fromstring(text), self.said.append)

    def test_python_names_them(self):
        self.assertEqual(self.count(("t", "run", self.python(2))), (1, 0, 3))
        for text in ("test_plain ('no disk')", "test_documented ('no root')", "test_within ('whole class')"):
            self.assertIn(text, self.said[0])

    def test_python_that_only_counts(self):
        self.assertEqual(self.count(("t", "run", self.python(1))), (1, 0, 3))

    def test_cmocka(self):
        out = "[ RUN      ] test_x\n[  SKIPPED ] test_x\n[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] test_x\n"
        self.assertEqual(self.count(("t", "run", out)), (1, 0, 1))
        self.assertEqual(self.said, ["t passed without test_x"])

    def test_in_part(self):
        self.assertEqual(self.count(("chaos", "run", "SKIPPED in part: no libfaketime\n")), (1, 0, 1))
        self.assertEqual(self.said, ["chaos passed without part of it (no libfaketime)"])

    def test_whole_program(self):
        self.assertEqual(self.count(("chaos", "notrun", "SKIPPED: it takes root\n"), ("b", "run", ""), skipped=1), (1, 0, 1))
        self.assertEqual(self.said, ["chaos skipped: SKIPPED: it takes root"])

    def test_what_failed_is_no_skip(self):
        self.assertEqual(self.count(("t", "fail", "[  SKIPPED ] test_x\n"), failures=1), (0, 1, 0))
        self.assertEqual(self.said, [])

    def test_no_file(self):
        with tempfile.NamedTemporaryFile() as file:
            for name in (file.name, "/nonexistent"):
                done = subprocess.run([PROGRAM, name], capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, "0 1 0\n"), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
