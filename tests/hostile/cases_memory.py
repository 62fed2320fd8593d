"""What a node keeps of its people's secrets in its files, its log, and its memory."""
import base64
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import urllib.parse

from person import hotp


def dumped(process):
    """SIGABRT: whether the kernel wrote a core."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != -signal.SIGABRT:
        raise AssertionError(f"it ended with {process.returncode}")
    return os.WCOREDUMP(status)


class Memory:
    def planted(self):
        """name -> bytes; of bob, who has a second factor, and of alice"""
        w = self.world
        uri_file, code = w.bob.top / "uri", w.bob.top / "code"
        self.desk.login()  # The first factor takes one of the last minutes.
        factor = self.desk.run("mfa", "add", "hotp", "--uri-file", uri_file)["id"]
        seed = urllib.parse.parse_qs(urllib.parse.urlparse(uri_file.read_text().strip()).query)["secret"][0]
        code.write_text(hotp(seed, 0) + "\n")
        self.desk.run("mfa", "confirm", factor, "--code-file", code)
        code.write_text(hotp(seed, 1) + "\n")
        self.desk.login("--code-file", code)
        code.write_text(hotp(seed, 2) + "\n")
        self.desk.run("mfa", "remove", factor, "--code-file", code)
        self.one.login()
        w.unharmed()
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        secrets = {"seed": raw, "seed in base32": seed.encode(), "password": w.alice.password.read_bytes().strip(), "text of a page": w.files["home"]["small"],
                   "bytes of a page": w.files["home"]["big"][1000:1064]}
        for person in (w.alice, w.bob):
            secrets[f"recovery code of {person.name}"] = person.recovery.read_bytes().strip()
            secrets[f"account key of {person.name}"] = person.account_key().encode()
        return secrets

    def search(self, secrets, data, where):
        for name, secret in secrets.items():
            self.assertGreaterEqual(len(secret), 16, name)
            self.assertNotIn(secret, data, f"{where} has the {name}")

    def test_secrets_at_a_node(self):
        """whoever has a node's files, its log, or a dump of its memory"""
        secrets, node = self.planted(), self.world.node
        known = b"alice"  # What it does know is found.
        files = [path for path in node.dir.rglob("*") if path.is_file()]
        self.assertTrue(any(known in path.read_bytes() for path in files if "data" in path.parts))
        for path in files:
            self.search(secrets, path.read_bytes(), path)
        if shutil.which("gcore") is None:
            self.skipTest("no gcore: the memory of a node was not searched")
        done = subprocess.run(["gcore", "-o", str(self.world.top / "core"), str(node.process.pid)], capture_output=True, text=True, timeout=120)
        core = self.world.top / f"core.{node.process.pid}"
        if not core.exists():
            self.skipTest("the memory of a node was not searched: gcore may not here: " + done.stderr[-200:])
        memory = core.read_bytes()
        core.unlink()
        self.assertIn(known, memory)
        self.search(secrets, memory, "the node's memory")

    def test_no_core(self):
        """a node that is made to crash"""
        limits = pathlib.Path(f"/proc/{self.world.node.process.pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        self.assertEqual(line.split()[4:6], ["0", "0"], line)
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        other = subprocess.Popen(["sleep", "600"], cwd=self.world.top, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)))
        dumps = dumped(other)
        node = self.world.clone("crash")
        process, node.process = node.process, None
        self.assertFalse(dumped(process))
        for core in self.world.top.glob("core*"):
            core.unlink()
        if not dumps:
            self.skipTest("nothing dumps a core here: that the node does not proves little")
