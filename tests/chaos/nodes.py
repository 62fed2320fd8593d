"""Six kluisd processes, each in a network namespace of its own, and the account that the clients use."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import faketime
from admin_socket import AdminConnection
from network import CLIENT, ROOT, SITES, address, build_dir

STANDBY = "mst"
API_PORT, LINK_PORT = 7443, 7444

# Waits until the run's process is gone, however it ended, and takes away what that has left. The processes are gone by then:
# they die with their parent.
REAPER = 'cat >/dev/null; rm -rf "$1"'

NODE_INI = """[node]
id = {id}
site = {site}
data = data
secrets = secrets
[cluster]
id = {cluster}
[api]
listen = {address}:{api}
certificate = api.pem
key = api.key
ca = ../../pki/provider-ca.pem
[link]
listen = {address}:{link}
certificate = link.pem
key = link.key
ca = ../../pki/node-ca.pem
[admin]
socket = admin.sock
[storage]
write_buffer_mib = 16
cache_mib = 32
disk_floor_mib = 512
"""
SITE_INI = """[site {site}]
id = {id}
link = {address}:{link}
role = {role}
url = https://{address}:{api}
"""


def run(command, timeout=120, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(w) for w in command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Nodes:
    def __init__(self, wire):
        self.wire = wire
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kluis-chaos-"))
        self.reaper = subprocess.Popen(["bash", "-c", REAPER, "reaper", str(self.top)], stdin=subprocess.PIPE,
                                       start_new_session=True)
        self.processes = {}
        self.dead = []  # (site, exit status) of nodes that ended without being told to.
        self.kluisd = build_dir() / "node" / "kluisd"
        self.faketime = faketime.works(self.kluisd)
        self.kluisctl = build_dir() / "cli" / "kluisctl"
        self.kluis = build_dir() / "cli" / "kluis"
        self.pki = self.top / "pki"

    def site_dir(self, site):
        return self.top / "sites" / site

    # --- setting up ---

    def make(self):
        run([self.kluisctl, "pki", "init", "--ec", "--dir", self.pki])
        cluster = (self.pki / "cluster-id").read_text().strip()
        sites = "".join(SITE_INI.format(site=site, id=i, address=address(i), link=LINK_PORT, api=API_PORT,
                                        role="standby" if site == STANDBY else "voter")
                        for i, site in enumerate(SITES, 1))
        for i, site in enumerate(SITES, 1):
            here = self.site_dir(site)
            here.mkdir(parents=True)
            run([self.kluisctl, "pki", "issue", "--dir", self.pki, "--node", i, "--host", address(i), "--out", here])
            (here / "data").mkdir(mode=0o700)
            (here / "clock").write_text("+0")
            text = NODE_INI.format(id=i, site=site, cluster=cluster, address=address(i), api=API_PORT, link=LINK_PORT)
            (here / "kluisd.ini").write_text(text + sites)
            self.init(i, site)

    def init(self, number, site):
        config = self.site_dir(site) / "kluisd.ini"
        if number == 1:
            run([*self.wire.inside(1), self.kluisd, "init", "--config", config, "--new-secrets"])
            return
        first = self.site_dir(SITES[0]) / "kluisd.ini"
        sealed = self.site_dir(site) / "sealed"
        sealed.write_text(run([self.kluisd, "seal-secrets", "--config", first, "--for", self.site_dir(site) / "link.pem"]))
        run([*self.wire.inside(number), self.kluisd, "init", "--config", config, "--secrets", sealed])

    def up(self):
        self.make()
        for site in SITES:
            self.start(site)
        end = time.monotonic() + 120
        while len(self.ready()) < len(SITES):
            if time.monotonic() > end:
                raise RuntimeError("not all nodes were ready within 120 s\n" + self.logs())
            time.sleep(0.1)
        self.profile = self.enrol("chaos")

    def enrol(self, name):
        """A service account; returns its profile directory."""
        token, profile = self.top / f"{name}.token", self.top / f"profile-{name}"
        run([self.kluisctl, "--socket", self.site_dir(SITES[0]) / "admin.sock", "--timeout", 100, "service", "create", name, "--token-file", token])
        urls = ",".join(f"https://{address(i)}:{API_PORT}" for i in range(1, len(SITES) + 1))
        run([*self.wire.inside(CLIENT), self.kluis, "--profile", profile, "--timeout", 100, "enrol", "--name", name, "--endpoints", urls,
             "--ca", self.pki / "provider-ca.pem", "--token-file", token])
        return profile

    # --- processes ---

    def start(self, site, clock_rate=None):
        """clock_rate: its clocks run so much faster, the monotonic one, too."""
        here = self.site_dir(site)
        environment = dict(os.environ)
        if self.faketime:
            environment.update(faketime.environment(FAKETIME_CACHE_DURATION="1"))
            if clock_rate is None:
                environment.update(FAKETIME_TIMESTAMP_FILE=str(here / "clock"), FAKETIME_DONT_FAKE_MONOTONIC="1")
            else:
                environment.update(FAKETIME=f"+0 x{clock_rate}")
        elif clock_rate is not None:
            raise RuntimeError("no libfaketime")
        with open(here / "kluisd.log", "ab") as log:
            self.processes[site] = subprocess.Popen(
                [*self.wire.inside(SITES.index(site) + 1), str(self.kluisd), "--config", str(here / "kluisd.ini")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)

    def running(self, site):
        process = self.processes.get(site)
        return process is not None and process.poll() is None

    def kill(self, site):
        process = self.processes.pop(site)
        if process.poll() is not None:
            self.dead.append((site, process.returncode))
        self.end(process)

    def end(self, process):
        process.kill()
        process.wait(60)
        faketime.forget(process.pid)

    def signal(self, site, number):
        if self.running(site):
            self.processes[site].send_signal(number)

    def stopped(self, site):
        """By SIGSTOP."""
        return self.running(site) and pathlib.Path(f"/proc/{self.processes[site].pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def set_clock(self, site, text):
        """What libfaketime makes of the wall clock: "+3600", "-3600 x1.1"; within a second."""
        new = self.site_dir(site) / "clock.new"
        new.write_text(text)
        new.rename(self.site_dir(site) / "clock")

    def note_dead(self):
        for site, process in list(self.processes.items()):
            if process.poll() is not None:
                self.dead.append((site, process.returncode))
                del self.processes[site]

    def close(self):
        for process in self.processes.values():
            self.end(process)  # Also of a stopped one.
        self.processes.clear()
        shutil.rmtree(self.top, ignore_errors=True)
        self.reaper.stdin.close()
        self.reaper.wait(60)

    # --- what they say ---

    def admin(self, site, path, timeout=1.0, parse=json.loads):
        """(HTTP status, JSON); (0, None): no answer."""
        connection = AdminConnection(self.site_dir(site) / "admin.sock", timeout)
        try:
            return connection.get(path, parse)
        except (OSError, ValueError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def clocks(self, site):
        """The numbers of /metrics that have no labels, among them what its clocks say; None: no answer."""
        status, text = self.admin(site, "/metrics", parse=bytes.decode)
        rows = (line.split() for line in text.splitlines()) if status == 200 else ()
        return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[0] != "#"} or None

    def ready(self):
        return [site for site in SITES if self.admin(site, "/readyz")[0] == 200]

    def leader(self):
        """The site that leads; of several that believe so, the one of the highest term. None: nobody."""
        best = (0, None)
        for site in SITES:
            status, body = self.admin(site, "/v1/sys/status", timeout=1) if self.running(site) else (0, None)
            if status == 200 and body["role"] == "leader":
                best = max(best, (body["term"], site))
        return best[1]

    def wait_leader(self, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            site = self.leader()
            if site is not None:
                return site
            time.sleep(0.05)
        raise RuntimeError(f"no leader within {seconds} s")

    def hashes(self):
        """Site -> (index, state hash), None for one that does not answer."""
        rows = {}
        for site in SITES:
            status, body = self.admin(site, "/v1/sys/status", timeout=3)
            rows[site] = (body["state_hash_index"], body["state_hash"]) if status == 200 else None
        return rows

    def log(self, site):
        path = self.site_dir(site) / "kluisd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self, lines=15):
        return "".join(f"--- {site}\n" + "\n".join(self.log(site).splitlines()[-lines:]) + "\n" for site in SITES)
