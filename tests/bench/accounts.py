"""Accounts of their own making (tests/cluster/writer.py) with a session at a running cluster, for the benches."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
import events  # noqa: E402
from cluster import SITES  # noqa: E402
from writer import CONVERSATION, Shared, Writer, text  # noqa: E402


class Account:
    """A service account with a session at a site."""

    def __init__(self, cluster, context, name, site):
        done = cluster.run(["curl", "-sS", "-m", "10", "--unix-socket", str(cluster.site_dir(SITES[0]) / "admin.sock"), "-H",
                            "content-type: application/json", "-H", f"idempotency-key: {os.urandom(8).hex()}", "--data", json.dumps({"name": name}),
                            "http://localhost/v1/sys/services"], True, 20)
        self.site, self.connection = site, events.Connection(cluster.url(site), context, "none")
        self.writer = Writer(name, self.ask("GET", "/.well-known/kluis.json")["cluster_id"])
        self.ask("POST", "/v1/services/enrol", self.writer.enrolment(json.loads(done.stdout)["token"]))
        challenge = self.ask("POST", "/v1/login/device/start", self.writer.login_start())
        self.connection.token = self.ask("POST", "/v1/login/device/finish", self.writer.login_finish(challenge))["token"]

    def ask(self, method, path, body=None):
        status, _, value = self.connection.call(method, path, body, Idempotency_Key=os.urandom(8).hex())
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {value}")
        return value

    def converse(self, other):
        """A conversation with the other one, who accepts; its first epoch."""
        talk = Shared(self.writer, CONVERSATION)
        self.ask("POST", "/v1/conversations", {"create": text(talk.create), "statements": [talk.add(other.writer.user_id, 2)]})
        other.ask("POST", f"/v1/conversations/{talk.id.hex()}/accept")
        packets = [talk.packet(4, w.device_id, w.hpke) for w in (self.writer, other.writer)]
        self.ask("POST", f"/v1/conversations/{talk.id.hex()}/epochs", {"epoch": 1, "members_hash": talk.members_hash.hex(), "packets": packets})
        return talk.id
