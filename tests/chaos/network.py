"""Seven network namespaces, six for nodes and one for clients, and the wire between them (wire_main.c)."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITES = ["ams", "rtd", "utr", "ein", "gro", "mst"]
CLIENT = len(SITES) + 1  # Its port on the wire; a site's is its node id.


def build_dir():
    return pathlib.Path(os.environ.get("KLUIS_BUILD_DIR", ROOT / "build" / "dev"))


def why_not():
    """Why this machine cannot run chaos; None if it can."""
    if os.geteuid() != 0:
        return "it takes root to make network namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, timeout=60)
    return None if done.returncode == 0 else f"no network namespace: {done.stderr.strip()}"


def address(port):
    return f"10.77.0.{port}"


class Wire:
    """What connects the namespaces. Ends with this process, whatever ends that."""

    def __init__(self, seed, *words):
        """words: wire_main.c has them."""
        command = ["setpriv", "--pdeathsig", "KILL", str(build_dir() / "tests" / "chaos" / "chaos_wire"), str(CLIENT), str(seed), *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        words = self.process.stdout.readline().split()
        if len(words) != CLIENT + 1 or words[0] != "ready":
            raise RuntimeError(f"the wire said {words}")
        self.namespaces = {port: f"/proc/{self.process.pid}/fd/{words[port]}" for port in range(1, CLIENT + 1)}

    def inside(self, port):
        """The words that run a command in this port's namespace."""
        return ["nsenter", f"--net={self.namespaces[port]}", "--", "setpriv", "--pdeathsig", "KILL", "--"]

    def command(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        rows = []
        while True:
            line = self.process.stdout.readline().strip()
            if line == "ok":
                return rows
            if not line or line.startswith("no:"):
                raise RuntimeError(f"the wire answers '{text}' with '{line}'")
            rows.append([int(word) for word in line.split()])

    def set(self, source, target, **setting):
        words = [f"{key}={value}" for key, value in setting.items()]
        self.command(" ".join(["set", str(source), str(target), *words]))

    def clear(self):
        self.set("*", "*")

    def counts(self):
        """(from, to) -> packets {passed, cut, reset, lost, full} since the wire began."""
        names = ("passed", "cut", "reset", "lost", "full")
        return {(row[0], row[1]): dict(zip(names, row[2:])) for row in self.command("count")}

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)
        self.process.stdout.close()
