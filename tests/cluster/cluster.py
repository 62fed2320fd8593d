"""Six real kluisd processes (and six real sshd) on loopback, made and ended by deploy/quickstart."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from admin_socket import AdminConnection  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITES = ["ams", "rtd", "utr", "ein", "gro", "mst"]
PORTS = 30
# Root may read /proc/PID/exe of a node, which is not dumpable; any other user may not. quickstart must work as both.
LIKE_ANY_USER = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"] if os.geteuid() == 0 else []


def build_dir():
    return pathlib.Path(os.environ.get("KLUIS_BUILD_DIR", ROOT / "build" / "dev"))


def free_ports(count=PORTS):
    """The first of `count` ports that all can be bound now. Outside the ephemeral range, so that they stay free."""
    start = 12000 + (os.getpid() * 37) % 15000
    for base in list(range(start, 32000 - count, count)) + list(range(12000, start, count)):
        sockets = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sockets.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise RuntimeError(f"no {count} free ports in a row")


def wait_until(what, seconds, check, say=lambda: ""):
    """Polls `check` until it gives something true; when time is up, says what was waited for, and what `say` knows of it."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}\n{say()}")
        time.sleep(0.05)


# Waits until the test's process is gone, however it ended, and takes away what that has left.
REAPER = 'cat >/dev/null; [ ! -d "$2" ] || { "$1" down --dir "$2/d"; rm -rf "$2"; }'


class Cluster:
    def __init__(self, gone_after=30, ec=True, backup_interval=0):
        """ec: no RSA key is made, which takes as long as all else together. backup_interval: seconds; 0: no snapshots but a test's own."""
        self.gone_after, self.ec, self.backup_interval = gone_after, ec, backup_interval
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-cluster-"))
        self.dir = self.top / "d"
        self.base_port = free_ports()
        self.reaper = subprocess.Popen(["bash", "-c", REAPER, "reaper", str(ROOT / "deploy" / "quickstart"), str(self.top)],
                                       stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.profile = self.dir / "profile"  # Of the account that quickstart makes.
        self.kluis = build_dir() / "cli" / "kluis"
        self.kluisctl = build_dir() / "cli" / "kluisctl"
        self.kluisd = build_dir() / "node" / "kluisd"

    def quickstart(self, *words, check=True, timeout=400):
        command = [*LIKE_ANY_USER, str(ROOT / "deploy" / "quickstart"), *words, "--dir", str(self.dir), "--base-port", str(self.base_port),
                   "--build", str(build_dir()), "--gone-after", str(self.gone_after), "--backup-interval",
                   str(self.backup_interval), *(["--ec"] if self.ec else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done

    def logs(self, lines=15):
        text = ""
        for log in sorted(self.dir.glob("sites/*/kluisd.log")):
            text += f"--- {log.parent.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) + "\n"
        return text

    def __enter__(self):
        try:
            self.quickstart("up")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        self.quickstart("down", check=False)
        shutil.rmtree(self.top, ignore_errors=True)
        self.reaper.stdin.close()
        self.reaper.wait(60)

    @classmethod
    def for_class(cls, test, **options):
        """For setUpClass: test.cluster runs until all tests of the class are done; test.profile may write to its vault 'v'."""
        test.cluster = cluster = cls(**options)
        cluster.__enter__()
        test.addClassCleanup(cluster.__exit__)
        test.profile = cluster.profile
        cluster.client("vault", "create", "v", profile=test.profile)
        return cluster

    # --- nodes ---

    def site_dir(self, site):
        return self.dir / "sites" / site

    def pid(self, site):
        return int((self.site_dir(site) / "kluisd.pid").read_text())

    def start(self, site):
        self.quickstart("node", "start", site)

    def stop(self, site):
        self.quickstart("node", "stop", site)

    def kill(self, site):
        self.quickstart("node", "kill", site)

    def spawn(self, site, env=None):
        """As start(), but does not wait for it to be ready. env: of the node alone."""
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        script = 'cd "$1" && shift && { setsid env "$@" >>kluisd.log 2>&1 </dev/null & echo $! >kluisd.pid; }'
        here = str(self.site_dir(site))
        subprocess.run(["bash", "-c", script, "spawn", here, *settings, str(self.kluisd), "--config", f"{here}/kluisd.ini"],
                       check=True, timeout=60)

    def refused(self, site, *words, config=None):
        """Runs kluisd where it must not run: (exit status, what it said). A node that goes on running is a failure."""
        command = [str(self.kluisd), *words, "--config", str(config or self.site_dir(site) / "kluisd.ini")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        return done.returncode, done.stderr

    def log(self, site):
        return (self.site_dir(site) / "kluisd.log").read_text(errors="replace")

    def log_mark(self, site):
        return (self.site_dir(site) / "kluisd.log").stat().st_size

    def wait_log(self, site, mark, text, seconds=120):
        """The first line with `text` behind the mark."""
        def line():
            with open(self.site_dir(site) / "kluisd.log", "rb") as log:
                log.seek(mark)
                return next((l for l in log.read().decode(errors="replace").splitlines() if text in l), None)
        return wait_until(f"'{text}' in the log of {site}", seconds, line)

    def wait_gone(self, pid, seconds=120):
        """Also when all that is left of it is its exit status."""
        def gone():
            try:
                return "State:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return True
        wait_until(f"process {pid} ends", seconds, gone)

    def kill_all_at_once(self):
        for site in SITES:
            os.kill(self.pid(site), signal.SIGKILL)
        for site in SITES:
            self.kill(site)

    def url(self, site):
        return f"https://127.0.0.1:{self.base_port + SITES.index(site)}"

    def get(self, site, path, timeout=30):
        """(HTTP status, body as JSON or None); status 0: no answer."""
        context = ssl.create_default_context(cafile=str(self.dir / "pki" / "provider-ca.pem"))
        try:
            with urllib.request.urlopen(self.url(site) + path, timeout=timeout, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError):
            return 0, None

    def leader(self):
        for site in SITES:
            status, body = self.get(site, "/readyz", timeout=5)
            if status == 200 and body["role"] == "leader":
                return site
        return None

    def applied(self, sites=SITES):
        """The newest index that any of them has applied; 0: none is ready. Every command that was answered has this one or a lower."""
        answers = [self.get(site, "/readyz")[1] for site in sites]
        return max((int(answer["applied_index"]) for answer in answers if answer), default=0)

    def lead(self, site, seconds=120):
        """Until that voter leads. Each transfer may fail: it is asked for while leadership moves by itself."""
        def leads():
            if self.leader() == site:
                return True
            leader = self.leader()
            if leader is not None and leader != site:
                self.ctl(leader, "leader", "transfer", site, check=False)
            return False
        wait_until(f"{site} leads", seconds, leads)

    def lead_elsewhere(self, site, seconds=120):
        """Until another one than that site leads; which one."""
        def leads():
            leader = self.leader()
            if leader == site:
                self.ctl(site, "leader", "transfer", check=False)
                return None
            return leader
        return wait_until(f"another one than {site} leads", seconds, leads)

    def wait_leader(self, seconds=120, other_than=None):
        def other():
            site = self.leader()
            return site if site != other_than else None
        return wait_until("a leader", seconds, other)

    def wait_ready(self, sites=SITES, seconds=120):
        for site in sites:
            wait_until(f"{site} ready", seconds, lambda s=site: self.get(s, "/readyz")[0] == 200)

    # --- programs ---

    def ctl(self, site, *words, check=True, timeout=200):
        command = [str(self.kluisctl), "--socket", str(self.site_dir(site) / "admin.sock"), *words]
        return self.run(command + self.patience(words, check), check, timeout)

    @staticmethod
    def patience(words, check):
        """What must succeed waits for as long as a busy machine may take to elect a leader; what may fail, as long as programs do."""
        given = any(str(word).startswith("--timeout") for word in words)
        return [] if given or not check else ["--timeout", "150"]

    def admin(self, site, path):
        """A GET of the admin socket, as JSON."""
        with contextlib.closing(self.admin_connection(site)) as connection:
            try:
                return connection.get(path)[1]
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise AssertionError(f"{path} at {site}: {error}\n{self.logs()}") from error

    def alarm(self, site, name):
        """The row of that alarm; None: it is quiet."""
        return next((row for row in self.admin(site, "/v1/sys/alarms")["items"] if row["name"] == name), None)

    def admin_connection(self, site):
        return AdminConnection(self.site_dir(site) / "admin.sock", 120)

    def client(self, *words, profile=None, check=True, timeout=300, endpoint=None):
        command = [str(self.kluis), "--profile", str(profile or self.profile), *self.patience(words, check)]
        if endpoint:
            command += ["--endpoint", self.url(endpoint)]
        return self.run(command + [str(w) for w in words], check, timeout)

    def run(self, command, check, timeout):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done

    def enrol(self, name):
        """One more service account, which takes a second of RSA; returns its profile directory."""
        token, profile = self.top / f"{name}.token", self.top / f"profile-{name}"
        self.ctl("ams", "service", "create", name, "--token-file", str(token))
        self.run([str(self.kluis), "--profile", str(profile), "--timeout", "140", "enrol", "--name", name, "--endpoints",
                  ",".join(self.url(s) for s in SITES), "--ca", str(self.dir / "pki" / "provider-ca.pem"), "--token-file",
                  str(token)], True, 150)
        return profile
