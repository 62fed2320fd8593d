"""The two clusters that tests/bench/run compares: six kluisd by deploy/quickstart, six etcd with mutual TLS."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
os.environ["KLUIS_BUILD_DIR"] = str(BUILD)
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
from cluster import SITES, Cluster, free_ports, wait_until  # noqa: E402

MEMBERS = 6
TICKS = os.sysconf("SC_CLK_TCK")


def usage(pids):
    """What each process has used so far: CPU seconds, bytes it had written to disk, resident bytes now and at most."""
    rows = []
    for pid in pids:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines())
        status = {k: v for k, _, v in (line.partition(":") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())}
        rows.append({"cpu_s": (int(stat[11]) + int(stat[12])) / TICKS, "written": int(io["write_bytes"]),
                     "rss": int(status["VmRSS"].split()[0]) * 1024, "rss_max": int(status["VmHWM"].split()[0]) * 1024})
    return rows


def run_json(command, timeout):
    """Runs a load and gives its JSON report; a failure raises with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return json.loads(done.stdout)


class Kluis:
    name = "kluis"

    def __init__(self):
        self.cluster = Cluster()

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, *what):
        self.cluster.__exit__(*what)

    def pids(self):
        return [self.cluster.pid(site) for site in SITES]

    def url(self, member):
        return self.cluster.url(SITES[member])

    def leader(self):
        return SITES.index(self.cluster.wait_leader(20))

    def follower(self):
        """A voter that does not lead (the last site is the standby)."""
        return (self.leader() + 1) % (MEMBERS - 1)

    def load_command(self, at, op, clients, bucket, amount):
        command = [BUILD / "cli" / "kluisctl", "bench", "--profile", self.cluster.dir / "profile", "-o", "json", "--keep", "--op", op,
                   "--clients", clients, "--bucket", f"{bucket >> 10}k", *amount]
        for member in at:
            command += ["--endpoint", self.url(member)]
        return command

    def kill(self, member):
        os.kill(self.cluster.pid(SITES[member]), signal.SIGKILL)

    def restart(self, member):
        self.cluster.kill(SITES[member])
        self.cluster.start(SITES[member])


class Etcd:
    name = "etcd"
    # Ends what was started here even if the run itself was killed: only pids from our files that still are etcd.
    REAPER = ('cat >/dev/null; for f in "$1"/*.pid; do p=$(cat "$f" 2>/dev/null) && [ "$(cat /proc/$p/comm 2>/dev/null)" = etcd ] && '
              'kill -KILL "$p"; done; rm -rf "$1"')

    def __init__(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="etcd-bench-"))
        self.reaper = subprocess.Popen(["bash", "-c", self.REAPER, "reaper", str(self.top)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.port = free_ports(2 * MEMBERS)
        self.processes = [None] * MEMBERS

    # --- certificates: one CA, one certificate for all members and the client, EC P-256 as our nodes have ---

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.top, check=True, capture_output=True)

    def make_certificates(self):
        (self.top / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        for name in ("ca", "node"):
            self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")
        self.openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=bench", "-days", "30", "-out", "ca.pem")
        self.openssl("req", "-new", "-key", "node.key", "-subj", "/CN=etcd", "-out", "node.csr")
        self.openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                     "-extfile", "ext", "-out", "node.pem")

    def client_url(self, member):
        return f"https://127.0.0.1:{self.port + member}"

    def peer_url(self, member):
        return f"https://127.0.0.1:{self.port + MEMBERS + member}"

    def start(self, member, state):
        command = ["etcd", "--name", f"e{member}", "--data-dir", self.top / f"d{member}", "--logger", "zap",
                   "--listen-client-urls", self.client_url(member), "--advertise-client-urls", self.client_url(member),
                   "--listen-peer-urls", self.peer_url(member), "--initial-advertise-peer-urls", self.peer_url(member),
                   "--initial-cluster", ",".join(f"e{m}={self.peer_url(m)}" for m in range(MEMBERS)), "--initial-cluster-state", state,
                   "--cert-file", "node.pem", "--key-file", "node.key", "--client-cert-auth", "--trusted-ca-file", "ca.pem",
                   "--peer-cert-file", "node.pem", "--peer-key-file", "node.key", "--peer-client-cert-auth", "--peer-trusted-ca-file", "ca.pem",
                   "--quota-backend-bytes", str(8 << 30)]
        with open(self.top / f"e{member}.log", "ab") as log:
            self.processes[member] = subprocess.Popen([str(word) for word in command], cwd=self.top, stdin=subprocess.DEVNULL,
                                                      stdout=log, stderr=log, start_new_session=True)
        (self.top / f"e{member}.pid").write_text(str(self.processes[member].pid))

    def __enter__(self):
        try:
            self.make_certificates()
            for member in range(MEMBERS):
                self.start(member, "new")
            wait_until("etcd has six members in touch", 60, lambda: sum(s is not None for s in self.status()) == MEMBERS)
            self.leader()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process is not None and process.poll() is None:
                process.terminate()
        for process in self.processes:
            if process is not None:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        shutil.rmtree(self.top, ignore_errors=True)
        self.reaper.stdin.close()
        self.reaper.wait(60)

    def pids(self):
        return [process.pid for process in self.processes]

    def status(self):
        """What each member says of itself, None for those that say nothing."""
        rows = [None] * MEMBERS
        for member in range(MEMBERS):
            done = subprocess.run(["etcdctl", "--endpoints", self.client_url(member), "--cacert", "ca.pem", "--cert", "node.pem", "--key", "node.key",
                                   "--dial-timeout", "1s", "--command-timeout", "1s", "endpoint", "status", "-w", "json"], cwd=self.top,
                                  env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True)
            try:
                rows[member] = json.loads(done.stdout)[0]["Status"]
            except (ValueError, LookupError, TypeError):
                pass
        return rows

    def leader(self):
        def ask():
            rows = [row for row in enumerate(self.status()) if row[1] is not None]
            leaders = {row["leader"] for _, row in rows if row["leader"]}
            return [m + 1 for m, row in rows if leaders == {row["header"]["member_id"]}]
        return wait_until("etcd has a leader", 20, ask)[0] - 1

    def follower(self):
        return (self.leader() + 1) % MEMBERS

    def load_command(self, at, op, clients, bucket, amount):
        command = [BUILD / "tests" / "bench" / "etcd" / "etcd_load", "--ca", self.top / "ca.pem", "--cert", self.top / "node.pem",
                   "--key", self.top / "node.key", "--op", op, "--clients", clients, "--value-bytes", bucket + 144, *amount]
        for member in at:
            command += ["--endpoint", self.client_url(member).removeprefix("https://")]
        return command

    def kill(self, member):
        self.processes[member].kill()

    def restart(self, member):
        self.processes[member].wait(10)
        self.start(member, "existing")
        wait_until(f"etcd member {member} is back", 30, lambda: self.status()[member] is not None)


def settle(pids, seconds):
    """Waits until nothing is written to disk any more for a second, or time is up; the last usage."""
    end = time.monotonic() + seconds
    rows = usage(pids)
    while time.monotonic() < end:
        time.sleep(1)
        now = usage(pids)
        if sum(r["written"] for r in now) - sum(r["written"] for r in rows) < 1 << 20:
            return now
        rows = now
    return rows
