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
    """What each process has used so far: CPU seconds, resident bytes now."""
    rows = []
    for pid in pids:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = {k: v for k, _, v in (line.partition(":") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())}
        rows.append({"cpu_s": (int(stat[11]) + int(stat[12])) / TICKS, "rss": int(status["VmRSS"].split()[0]) * 1024})
    return rows


def run_json(command, timeout):
    """Runs a load and gives its JSON report; a failure raises with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return json.loads(done.stdout)


class Disk:
    """A file system of its own (ext4 in an image, on a loop device), so that what reaches the device is counted, whoever else writes on this
    machine. /proc/PID/io will not do: since Linux 6.16 ext4 has large folios, and each small overwrite counts as a whole one there.
    Root only; otherwise path is the usual temporary directory and written() is None."""
    # Unmounts even if the run itself was killed, once the clusters' own reapers have ended what ran there.
    REAPER = ('cat >/dev/null; for i in $(seq 300); do mountpoint -q "$1/m" || break; umount "$1/m" 2>/dev/null && break; sleep 0.2; done; '
              'rmdir "$1/m" && rm -rf "$1"')
    IMAGE_BYTES = 24 << 30

    def __init__(self):
        self.top = self.device = None
        self.path = tempfile.gettempdir()

    def __enter__(self):
        if os.geteuid() != 0:
            return self
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="bench-disk-"))
        self.reaper = subprocess.Popen(["bash", "-c", self.REAPER, "reaper", str(self.top)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        mount, image = self.top / "m", self.top / "image"
        mount.mkdir()
        with open(image, "wb") as file:
            file.truncate(self.IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True, capture_output=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=False, capture_output=True).returncode == 0:
            number = os.stat(mount).st_dev
            self.device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
            self.path = str(mount)
        return self

    def written(self):
        """Bytes that the device was given so far, all caches emptied first."""
        if self.device is None:
            return None
        subprocess.run(["sync", "-f", self.path], check=True)
        return int(self.device.read_text().split()[6]) * 512

    def __exit__(self, *_):
        if self.top is None:
            return
        if self.device is not None:
            subprocess.run(["umount", self.path], check=False)
        self.reaper.stdin.close()
        self.reaper.wait(90)


class Nginx:
    """One nginx worker that serves a small static file over TLS: what a node's smallest answers are compared with."""
    name = "nginx"

    def __init__(self, certificate, key, body):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="nginx-bench-"))
        self.port = free_ports(1)
        (self.top / "healthz").write_bytes(body)
        user = "user root;" if os.geteuid() == 0 else ""  # The directory is nobody else's.
        (self.top / "conf").write_text(f"""
{user} daemon off; worker_processes 1; pid {self.top}/pid; error_log {self.top}/log;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/json;
    client_body_temp_path {self.top}/1; proxy_temp_path {self.top}/2; fastcgi_temp_path {self.top}/3; uwsgi_temp_path {self.top}/4;
    scgi_temp_path {self.top}/5;
    server {{ listen 127.0.0.1:{self.port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; root {self.top}; }}
}}
""")
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(["nginx", "-e", str(self.top / "log"), "-c", str(self.top / "conf")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until("nginx has its worker", 10, lambda: len(self.pids()) == 2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()  # The master ends its worker.
        self.process.wait(10)
        shutil.rmtree(self.top, ignore_errors=True)

    def pids(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def url(self):
        return f"https://127.0.0.1:{self.port}"


def on(path, server):
    """Makes a cluster whose directories lie below path."""
    before, tempfile.tempdir = tempfile.tempdir, path
    try:
        return server()
    finally:
        tempfile.tempdir = before


class Kluis:
    name = "kluis"

    def __init__(self):
        self.cluster = Cluster(ec=False)

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

    def api_files(self, member):
        site = self.cluster.site_dir(SITES[member])
        return site / "api.pem", site / "api.key"

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
        # Minutes, after gigabytes of large values: it reads its whole log again.
        wait_until(f"etcd member {member} is back", 180, lambda: self.status()[member] is not None)
