#!/usr/bin/env python3
"""Notes, logins and files of one account, from two profiles at two sites: conflicts, search, history, export, and reading offline."""
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tarfile
import unittest

from cluster import Cluster, wait_until

A_SITE, B_SITE = "ams", "gro"


class Items(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.for_class(cls)
        cls.other = cls.cluster.top / "profile-other"
        shutil.copytree(cls.profile, cls.other)

    def a(self, *words, **more):
        return self.cluster.client(*words, profile=self.profile, endpoint=A_SITE, **more)

    def b(self, *words, **more):
        return self.cluster.client(*words, profile=self.other, endpoint=B_SITE, **more)

    def rows(self, done):
        return json.loads(done.stdout)["items"]

    def file(self, name, text):
        path = self.cluster.top / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def editor(self, script):
        """The environment of a run in which `script` is the editor: $1 is the file."""
        path = self.cluster.top / "editor"
        path.write_text("#!/bin/sh\nset -e\n" + script + "\n")
        path.chmod(0o700)
        return {**os.environ, "EDITOR": str(path), "VISUAL": ""}

    def edit(self, env, *words, profile=None):
        command = [str(self.cluster.kluis), "--profile", str(profile or self.profile), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=150, env=env)

    def test_notes_and_logins(self):
        text = self.file("text", "one\ntwo \u00e9\n")
        self.a("note", "add", "v:/notes/first", "--title", "The first", "--text-file", text)
        password = self.file("password", "s3cret pass\n")
        self.a("item", "add", "v:/logins/bank", "--user", "bob", "--url", "https://bank.example", "--password-file", password)
        again = self.a("note", "add", "v:/notes/first", "--text-file", text, check=False)
        self.assertEqual(again.returncode, 11, again.stderr)
        self.assertEqual(self.b("note", "show", "v:/notes/first").stdout, "title: The first\n\none\ntwo \u00e9\n")
        shown = self.b("item", "show", "v:/logins/bank")
        self.assertIn("password: ********", shown.stdout)
        self.assertNotIn("s3cret", shown.stdout)
        self.assertEqual(self.b("item", "show", "--field", "password", "v:/logins/bank").stdout, "s3cret pass\n")
        self.assertEqual(json.loads(self.b("-o", "json", "item", "show", "-r", "v:/logins/bank").stdout)["password"], "s3cret pass")
        self.a("item", "edit", "v:/logins/bank", "--generate")
        made = self.b("item", "show", "--field", "password", "v:/logins/bank").stdout
        self.assertRegex(made, r"^[A-Za-z0-9_-]{24}\n$")
        self.assertEqual(self.b("item", "show", "--field", "user", "v:/logins/bank").stdout, "bob\n")
        self.assertEqual({(r["type"], r["path"]) for r in self.rows(self.b("-o", "json", "item", "list", "v"))} &
                         {("note", "/notes/first"), ("login", "/logins/bank")}, {("note", "/notes/first"), ("login", "/logins/bank")})
        self.assertEqual(self.b("cat", "v:/notes/first").stdout, "one\ntwo \u00e9\n")
        self.a("mv", "v:/notes/first", "v:/notes/second")
        self.a("mv", "v:/notes", "v:/papers")
        self.assertEqual(self.b("cat", "v:/papers/second").stdout, "one\ntwo \u00e9\n")
        wrong = self.a("mv", "v:/papers", "v:/papers/inside", check=False)
        self.assertEqual(wrong.returncode, 2, wrong.stderr)
        self.assertEqual(self.a("get", "v:/papers/second", self.cluster.top / "no", check=False).returncode, 1)

    def test_editor(self):
        self.a("note", "add", "v:/edited", "--text-file", self.file("text", "old text\n"))
        seen = self.cluster.top / "seen"
        done = self.edit(self.editor(f'ls -ld "$(dirname "$1")" >{seen}; ls -l "$1" >>{seen}; stat -f -c %T "$1" >>{seen}; echo "$1" >>{seen}\n'
                                     'cp "$1" "$1~"; sed -i s/old/new/ "$1"'), "edit", "v:/edited")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.b("cat", "v:/edited").stdout, "new text\n")
        lines = seen.read_text().splitlines()
        self.assertTrue(lines[0].startswith("drwx------") and lines[1].startswith("-rw-------"), lines)
        self.assertEqual(lines[2], "tmpfs")
        self.assertFalse(os.path.exists(os.path.dirname(lines[3])))
        # Without an editor, and where nothing is in memory, it is refused; a failing editor changes nothing.
        for env in ({**os.environ, "EDITOR": "", "VISUAL": ""}, self.editor("exit 1")):
            self.assertNotEqual(self.edit(env, "edit", "v:/edited").returncode, 0)
        broken = self.edit(self.editor('echo no-field >"$1"'), "edit", "v:/edited")
        self.assertEqual(broken.returncode, 2)
        kept = broken.stderr.split("still in '")[1].split("'")[0]
        self.assertEqual(pathlib.Path(kept).read_text(encoding="utf-8"), "no-field\n")
        shutil.rmtree(os.path.dirname(kept))
        self.assertEqual(self.b("cat", "v:/edited").stdout, "new text\n")
        # A file, too; its bytes and mode.
        source = self.file("script", b"\x00\xffbinary old")
        source.chmod(0o750)
        self.a("put", source, "v:/script")
        self.assertEqual(self.edit(self.editor('sed -i s/old/new/ "$1"'), "edit", "v:/script").returncode, 0)
        self.b("get", "v:/script", self.cluster.top / "got")
        self.assertEqual((self.cluster.top / "got").read_bytes(), b"\x00\xffbinary new")
        self.assertEqual(stat.S_IMODE((self.cluster.top / "got").stat().st_mode), 0o750)

    def test_conflict(self):
        """While one device has its editor open the other changes the same note: both are there afterwards, and it is said."""
        self.a("note", "add", "v:/shared", "--text-file", self.file("text", "base\n"))
        theirs = self.file("theirs", "theirs\n")
        script = f'{self.cluster.kluis} --profile {self.other} note edit v:/shared --text-file {theirs}\nsed -i s/base/ours/ "$1"'
        done = self.edit(self.editor(script), "note", "edit", "v:/shared")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"'/shared' was changed by another device meanwhile: yours is kept beside it as '/shared \(conflict of ")
        self.assertEqual(self.b("cat", "v:/shared").stdout, "theirs\n")
        other = next(r["path"] for r in self.rows(self.b("-o", "json", "note", "list", "v")) if r["path"].startswith("/shared (conflict"))
        self.assertEqual(self.b("cat", "v:" + other).stdout, "ours\n")
        # Removed there, changed here: it stands again.
        self.a("note", "add", "v:/gone", "--text-file", self.file("text", "base\n"))
        script = f'{self.cluster.kluis} --profile {self.other} rm v:/gone\nsed -i s/base/ours/ "$1"'
        done = self.edit(self.editor(script), "note", "edit", "v:/gone")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("was removed by another device", done.stderr)
        self.assertEqual(self.b("cat", "v:/gone").stdout, "ours\n")
        for profile in (self.a, self.b):
            self.assertEqual(self.rows(profile("-o", "json", "verify", "v"))[0]["malformed"], 0)

    def test_writers_at_once(self):
        """Two devices add notes at the same time: none is lost."""
        text = self.file("text", "x\n")
        many = [subprocess.Popen([str(self.cluster.kluis), "--profile", str(profile), "--endpoint", self.cluster.url(site), "note", "add",
                                  f"v:/many/{site}-{i}", "--text-file", str(text)], stderr=subprocess.PIPE)
                for i in range(4) for profile, site in ((self.profile, A_SITE), (self.other, B_SITE))]
        for one in many:
            _, said = one.communicate(timeout=150)
            self.assertEqual(one.returncode, 0, said)
        self.assertEqual(len(self.rows(self.a("-o", "json", "note", "list", "v:/many"))), 8)

    def test_search(self):
        self.a("note", "add", "v:/found/Note One", "--title", "Caf\u00e9 CENTRAL", "--text-file", self.file("text", "meet at noon\n"))
        self.a("item", "add", "v:/found/login", "--user", "carol", "--password-file", self.file("password", "unfindable\n"))
        find = lambda *words: sorted(r["path"] for r in self.rows(self.b("-o", "json", "search", "v:/found", *words)))
        self.assertEqual(find("caf\u00c9", "noon"), ["/found/Note One"])
        self.assertEqual(find("CAROL"), ["/found/login"])
        self.assertEqual(self.b("search", "v:/found", "unfindable", check=False).returncode, 10)
        done = subprocess.run([str(self.cluster.kluis), "--profile", str(self.other), "-q", "search", "v:/found"], input="central noon\ncarol\n",
                              capture_output=True, text=True, timeout=150)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line.split("  ")[-1].strip() for line in done.stdout.splitlines() if "/found/" in line],
                         ["/found/Note One", "/found/login"])

    def test_history_and_restore(self):
        large = [os.urandom(600000) for _ in range(2)]
        for content in large:
            self.a("put", self.file("in", content), "v:/versions/file")
        for text in ("one\n", "two\n", "three\n"):
            word = "add" if text == "one\n" else "edit"
            self.a("note", word, "v:/versions/note", "--text-file", self.file("text", text))
        rows = self.rows(self.b("-o", "json", "history", "v:/versions/note"))
        self.assertEqual([r["revision"] for r in rows], [3, 2, 1])
        self.assertEqual([r["now"] for r in rows], ["current", "changed", "changed"])
        self.b("restore", "v:/versions/note", rows[2]["version"])
        self.assertEqual(self.a("cat", "v:/versions/note").stdout, "one\n")
        rows = self.rows(self.b("-o", "json", "history", "v:/versions/note"))
        self.assertEqual([r["revision"] for r in rows], [4, 3, 2, 1])
        first = self.rows(self.b("-o", "json", "history", "v:/versions/file"))[-1]
        self.b("restore", "v:/versions/file", first["version"])
        got = self.cluster.top / "got-version"
        self.a("get", "v:/versions/file", got)
        self.assertEqual(got.read_bytes(), large[0])
        # What was removed comes back, too.
        self.a("rm", "v:/versions/file", "v:/versions/note")
        self.assertEqual(self.b("cat", "v:/versions/note", check=False).returncode, 10)
        for name in ("file", "note"):
            rows = self.rows(self.b("-o", "json", "history", f"v:/versions/{name}"))
            self.assertEqual(rows[0]["now"], "removed")
            self.b("restore", f"v:/versions/{name}", rows[0]["version"])
        self.a("get", "v:/versions/file", got)
        self.assertEqual(got.read_bytes(), large[0])
        self.assertEqual(self.a("cat", "v:/versions/note").stdout, "one\n")
        self.assertEqual(self.b("restore", "v:/versions/note", "0.99999", check=False).returncode, 10)

    def test_export(self):
        self.a("note", "add", "v:/out/sub/n", "--title", "T", "--text-file", self.file("text", "words\n"))
        self.a("item", "add", "v:/out/l", "--user", "u", "--password-file", self.file("password", "pw\n"))
        content = os.urandom(300000)
        self.a("put", self.file("in", content), "v:/out/" + "x" * 120 + "/data.bin")
        to = self.cluster.top / "exported"
        self.b("export", "v:/out", to)
        name = "x" * 120 + "/data.bin"
        self.assertEqual((to / name).read_bytes(), content)
        self.assertEqual(json.loads((to / "l.login.json").read_text())["password"], "pw")
        self.assertEqual(json.loads((to / "sub" / "n.note.json").read_text())["text"], "words\n")
        for top, folders, files in os.walk(to):
            self.assertEqual(stat.S_IMODE(os.stat(top).st_mode), 0o700)
            for one in files:
                self.assertEqual(stat.S_IMODE(os.stat(os.path.join(top, one)).st_mode), 0o600)
        self.assertEqual(self.b("export", "v:/out", to, check=False).returncode, 11)
        archive = self.cluster.top / "out.tar"
        with open(archive, "wb") as out:
            subprocess.run([str(self.cluster.kluis), "--profile", str(self.other), "export", "v:/out", "-"], stdout=out, check=True, timeout=150)
        listed = subprocess.run(["tar", "-tf", str(archive)], capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual(sorted(listed), sorted(["l.login.json", "sub/", "sub/n.note.json", "x" * 120 + "/", name]))
        with tarfile.open(archive) as tar:
            self.assertEqual(tar.extractfile(name).read(), content)
            self.assertEqual(tar.getmember(name).mode, 0o600)

    def test_interrupted(self):
        """Ctrl-C in the middle of a put: the vault is whole, and the same put goes on."""
        content = os.urandom(80 << 20)
        source = self.file("large", content)
        for place in (f"v:/interrupted-{i}" for i in range(5)):  # Each is begun anew when one was done before it was interrupted.
            command = [str(self.cluster.kluis), "--profile", str(self.profile), "put", str(source), place]
            # A shell may have started the tests with the signal ignored.
            put = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            wait_until("a note of the upload", 120, lambda: put.poll() is not None or any((self.profile / "vaults").glob("*/upload")))
            put.send_signal(signal.SIGINT)
            if put.wait(120) != 0:
                break
        self.assertEqual(put.returncode, -signal.SIGINT)
        row = self.rows(self.b("-o", "json", "verify", "v"))[0]
        self.assertEqual(row["malformed"], 0)
        self.assertEqual(self.b("cat", place, check=False).returncode, 10)
        self.a("put", source, place, timeout=200)
        got = self.cluster.top / "got-large"
        self.b("get", place, got)
        self.assertEqual(got.read_bytes(), content)

    def test_offline(self):
        """With no site to reach, what was synced is read, with its age; what was not is refused; nothing is written."""
        self.a("note", "add", "v:/off/n", "--text-file", self.file("text", "still here\n"))
        self.a("put", self.file("in", b"f" * 300000), "v:/off/file")
        self.b("sync", "v", "--files")
        self.assertIn("v", {r["vault"] for r in self.rows(self.b("-o", "json", "sync"))})
        lone = self.cluster.top / "profile-lone"
        shutil.copytree(self.other, lone)
        settings = json.loads((lone / "settings.json").read_text())
        settings["endpoints"] = ["https://127.0.0.1:1"]
        (lone / "settings.json").write_text(json.dumps(settings))
        run = lambda *words, **more: self.cluster.client("--timeout", "1", *words, profile=lone, **more)
        done = run("note", "show", "--field", "text", "v:/off/n")
        self.assertEqual(done.stdout, "still here\n")
        self.assertRegex(done.stderr, r"offline: vault 'v' as it was at 20[0-9-]+T[0-9:]+Z, 0\.[0-9] hours ago")
        self.assertEqual(run("cat", "v:/off/file").stdout, "f" * 300000)
        self.assertIn("/off/n", run("--offline", "search", "v", "still").stdout)
        self.assertEqual(run("note", "add", "v:/off/new", "--text-file", self.file("text", "x"), check=False).returncode, 13)
        for page in (lone / "vaults").glob("*/page-*"):
            if page.stat().st_size > 262144:
                page.unlink()
        self.assertEqual(run("cat", "v:/off/file", check=False).returncode, 13)
        cached = b"".join(p.read_bytes() for p in (lone / "vaults").glob("*/*"))
        self.assertNotIn(b"still here", cached)


if __name__ == "__main__":
    unittest.main(verbosity=2)
