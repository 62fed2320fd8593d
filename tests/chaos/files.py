"""A person beside the load: the program `kluis` puts file after file, the same one again until it is stored, as a person does."""
import hashlib
import random
import subprocess
import threading

from network import CLIENT, SITES, address
from nodes import API_PORT

GIVE_UP = 15  # Seconds of one attempt.
PAUSE = 1.0
BYTES = (100, 60000)


class Files(threading.Thread):
    def __init__(self, nodes, record, seed):
        super().__init__(daemon=True)
        self.nodes, self.record = nodes, record
        self.random = random.Random(seed)
        self.profile = nodes.enrol("files")
        self.ending = threading.Event()
        self.process = None
        self.kluis("vault", "create", "files")
        self.start()

    def kluis(self, *words, endpoint=None):
        """(exit status, what it said)"""
        site = ["--endpoint", f"https://{address(endpoint)}:{API_PORT}"] if endpoint else []
        command = [*self.nodes.wire.inside(CLIENT), str(self.nodes.kluis), "--profile", str(self.profile), "--timeout", str(GIVE_UP), *site,
                   *[str(word) for word in words]]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True)
        try:
            said = self.process.communicate(timeout=4 * GIVE_UP)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = self.process.communicate()[0] + "hung"
            return -1, said.strip()
        return self.process.returncode, said.strip()[-300:]

    def put(self, name):
        path = self.nodes.top / name
        data = self.random.randbytes(self.random.randint(*BYTES))
        path.write_bytes(data)
        status = 1
        while status != 0 and not self.ending.is_set():
            status, said = self.kluis("put", path, f"files:/{name}", endpoint=self.random.randint(1, len(SITES)))
            self.record("put", n=name, sha=hashlib.sha256(data).hexdigest(), rc=status, said=said)
            self.ending.wait(PAUSE)
        path.unlink()

    def run(self):
        number = 0
        while not self.ending.is_set():
            self.put(f"f{number:04d}")
            number += 1

    def finish(self):
        """All is healed: what was stored is fetched at two nodes, and verified."""
        self.ending.set()
        self.join(5 * GIVE_UP)
        for node in self.random.sample(range(1, len(SITES) + 1), 2):
            out = self.nodes.top / f"got-{node}"
            status, said = self.kluis("get", "-r", "files:/", out, endpoint=node)
            found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()} if out.is_dir() else {}
            self.record("got", e=node, found=found, rc=status, said=said)
        status, said = self.kluis("verify", "files")
        self.record("verify", rc=status, said=said)

    def close(self):
        self.ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.is_alive():
            self.join(10)
