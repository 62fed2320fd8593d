"""One real kluisd that is a whole cluster, and copies of it: what an operator has who keeps disks."""
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
from cluster import build_dir, free_ports, wait_until

SETTINGS = """[node]
id = 1
site = ams
data = data
secrets = secrets
[cluster]
id = {cluster_id}
restore_key = ../pki/restore.pub
[api]
listen = 127.0.0.1:{api}
certificate = api.pem
key = api.key
ca = ../pki/provider-ca.pem
[accounts]
registration = open
[link]
listen = 127.0.0.1:{link}
certificate = link.pem
key = link.key
ca = ../pki/node-ca.pem
[admin]
socket = admin.sock
[storage]
write_buffer_mib = 16
cache_mib = 16
disk_floor_mib = 64
[site ams]
id = 1
link = 127.0.0.1:{link}
role = voter
url = {url}
"""


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")


class Pki:
    def __init__(self, top, name="pki"):
        self.top, self.dir = top, top / name
        run(build_dir() / "cli" / "kluisctl", "pki", "init", "--dir", self.dir)
        self.ca = self.dir / "provider-ca.pem"

    def issue(self, node, out):
        """api.pem, api.key, link.pem, link.key for 127.0.0.1."""
        out.mkdir()
        run(build_dir() / "cli" / "kluisctl", "pki", "issue", "--dir", self.dir, "--node", node, "--host", "127.0.0.1", "--out", out)
        return out


class Node:
    """Begin it once, then start, stop and clone it as often as wanted. `url` is what it says of itself: the proxy's."""

    def __init__(self, pki, name, url):
        self.pki, self.name, self.url, self.dir, self.process = pki, name, url, pki.top / name, None
        self.bearer = None  # Of a session that counts for all requests that are sent here.
        self.context = ssl.create_default_context(cafile=str(pki.ca))

    def settings(self):
        self.port = free_ports(2)
        text = SETTINGS.format(cluster_id=(self.pki.dir / "cluster-id").read_text().strip(), api=self.port, link=self.port + 1, url=self.url)
        (self.dir / "kluisd.ini").write_text(text)

    def begin(self):
        self.pki.issue(1, self.dir)
        (self.dir / "data").mkdir(mode=0o700)
        self.settings()
        run(build_dir() / "node" / "kluisd", "init", "--new-secrets", "--config", self.dir / "kluisd.ini")
        return self.start()

    def start(self):
        self.settings()
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen([str(build_dir() / "node" / "kluisd"), "--config", str(self.dir / "kluisd.ini")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(f"{self.name} is ready\n{self.log()}", 60, self.ready)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        connection = self.connect()
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)

    def admin(self, path, body):
        """What a POST at the operator's socket answers."""
        done = subprocess.run(["curl", "-sS", "-f", "-m", "60", "--unix-socket", str(self.dir / "admin.sock"), "-H", "content-type: application/json",
                               "-H", f"idempotency-key: {os.urandom(8).hex()}", "--data", json.dumps(body), "http://localhost" + path],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{path}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def ask(self, method, path, body=None):
        """What it answers to somebody without a session."""
        connection = self.connect()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise AssertionError(f"{path}: {answer.status} {value}")
        return json.loads(value)

    def stop(self):
        """As a power cut does, which loses nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def clone(self, name):
        """The same cluster as it is now, with all its keys, at another port: from here on they go their own ways."""
        self.stop()
        copy = Node(self.pki, name, self.url)
        subprocess.run(["cp", "-a", "--sparse=always", str(self.dir), str(copy.dir)], check=True)
        (copy.dir / "admin.sock").unlink(missing_ok=True)
        self.start()
        return copy.start()

    def log(self):
        log = self.dir / "log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
