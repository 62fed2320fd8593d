"""restic and borg of Debian, to a repository behind a real sshd: what tests/bench/backup compares with."""
import os
import pathlib
import pwd
import shutil
import subprocess
import time

from servers import free_ports, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(command, timeout=3600, env=None, cwd=None):
    """Runs a program that must succeed; seconds it took."""
    begin = time.monotonic()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, cwd=cwd,
                          env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return time.monotonic() - begin


def user():
    return pwd.getpwuid(os.geteuid()).pw_name


def keys_of(top):
    """An Ed25519 pair each for the host and for who signs in."""
    top.mkdir(parents=True)
    for name in ("host", "client"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", top / name])


def config_of(top, listen, port, line):
    """What deploy/sshd-config makes of a receiver, with one key that may sign in."""
    (top / "authorized_keys").write_text(f"{line}{(top / 'client.pub').read_text()}")
    (top / "authorized_keys").chmod(0o600)
    done = subprocess.run([ROOT / "deploy" / "sshd-config", "plain", "--port", str(port), "--listen", listen, "--host-key", top / "host",
                           "--authorized-keys", top / "authorized_keys"], capture_output=True, text=True, check=True)
    return done.stdout


class Sshd:
    """An sshd like a receiver's: same program, key exchange, cipher and MAC. open: without the limits that only ours can live with (these two
    read, rename and remove at the other side, and borg runs a program there). inside: words that run it in a network namespace."""

    def __init__(self, top, listen="127.0.0.1", port=None, open_to_all=False, inside=()):
        self.top, self.host = top, listen
        self.port = port or free_ports(1)
        keys_of(top)
        config = config_of(top, listen, self.port, "" if open_to_all else 'restrict,command="internal-sftp" ')
        if open_to_all:
            config = "\n".join("Subsystem sftp internal-sftp" if line.startswith("Subsystem") else line for line in config.splitlines()
                               if not line.startswith("ForceCommand")).replace("forced-commands-only", "prohibit-password") + "\n"
        (top / "config").write_text(config)
        (top / "known").write_text(f"[{listen}]:{self.port} {(top / 'host.pub').read_text()}")
        self.inside, self.process = list(inside), None

    def __enter__(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # sshd wants its privilege separation directory then.
        with open(self.top / "log", "wb") as log:
            program = shutil.which("sshd") or "/usr/sbin/sshd"
            self.process = subprocess.Popen([*self.inside, "setpriv", "--pdeathsig", "TERM", "--", program, "-D", "-e", "-f", str(self.top / "config")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("sshd listens", 10, lambda: "Server listening" in (self.top / "log").read_text())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def command(self):
        return (f"ssh -F none -p {self.port} -i {self.top}/client -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes "
                f"-o UserKnownHostsFile={self.top}/known")


class Peer:
    def __init__(self, top, sshd):
        self.top, self.sshd = top / self.name, sshd
        self.repository = self.top / "repository"
        self.archives = 0
        self.top.mkdir()

    def drop(self):
        for path in self.top.iterdir():
            shutil.rmtree(path)

    def stored(self):
        """Bytes of its repository."""
        return sum(path.stat().st_size for path in self.repository.rglob("*") if path.is_file())

    def run(self, *words, cwd=None):
        return run([self.name, *words], env=self.environment(), cwd=cwd)


class Restic(Peer):
    """Encryption is always on; compression off, as pages are ciphertext."""
    name = "restic"

    def environment(self):
        return {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self.top / "cache")}

    def over_ssh(self):
        return ["-q", "-r", f"sftp:{user()}@{self.sshd.host}:{self.repository}", "-o",
                f"sftp.command={self.sshd.command()} {user()}@{self.sshd.host} -s sftp", "--compression", "off"]

    def begin(self):
        self.drop()
        self.run(*self.over_ssh(), "init")

    def backup(self, source, told=True):
        """A hard link changes a file's ctime: unless it is told not to look at that it reads every file of a new checkpoint."""
        return self.run(*self.over_ssh(), "backup", *(["--ignore-ctime"] if told else []), source.name, cwd=source.parent)

    def restore(self, target):
        """From the repository's own disk: ours is not fetched from afar, either."""
        return self.run("-q", "-r", self.repository, "restore", "latest", "--target", target)


class Borg(Peer):
    name = "borg"

    def environment(self):
        return {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.top / "base"), "BORG_RSH": self.sshd.command(),
                "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def over_ssh(self):
        return f"ssh://{user()}@{self.sshd.host}:{self.sshd.port}{self.repository}"

    def begin(self):
        self.drop()
        self.run("init", "-e", "repokey", self.over_ssh())

    def backup(self, source, told=True):
        """As restic's."""
        self.archives += 1
        return self.run("create", "-C", "none", *(["--files-cache", "mtime,size,inode"] if told else []), f"{self.over_ssh()}::{self.archives}",
                        source.name, cwd=source.parent)

    def restore(self, target):
        target.mkdir()
        return self.run("extract", f"{self.repository}::{self.archives}", cwd=target)
