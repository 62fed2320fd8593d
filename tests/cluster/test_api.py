#!/usr/bin/env python3
"""curl, openssl and sftp against every site of a running cluster, and every documented operation against its schema."""
import concurrent.futures
import getpass
import hashlib
import json
import os
import re
import socket
import subprocess
import unittest

import events
import openapi
from cluster import ROOT, SITES, Cluster, wait_until
from person import Person, hotp
from writer import CONVERSATION, GROUP, Shared, Vault, Writer, binary, lp32, now_ms, point, text

RECEIVER, SENDER = "gro", "ams"


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = c = Cluster(ec=False)
        c.__enter__()
        cls.addClassCleanup(c.__exit__)
        cls.ca = str(c.dir / "pki" / "provider-ca.pem")
        cls.document = openapi.Document(ROOT / "docs" / "openapi.yaml")
        cls.profile = c.enrol("reader")
        c.client("vault", "create", "v", profile=cls.profile)
        for size in (100, 300000):
            source = c.top / "in"
            source.write_bytes(os.urandom(size))
            c.client("put", source, "v:/file", profile=cls.profile)
        session = (cls.profile / "session").read_bytes()
        cls.token = re.search(rb"kst_[A-Za-z0-9_-]{43}", session).group().decode()

    def curl(self, site, path, *words, version="--http2", token=None, admin=False):
        """(status, fields, body)"""
        head, body = self.cluster.top / "head", self.cluster.top / "body"
        body.write_bytes(b"")
        command = ["curl", "--silent", "--show-error", "--max-time", "120", "-D", str(head), "-o", str(body), "-w", "%{http_code} %{http_version}"]
        if admin:
            command += ["--unix-socket", str(self.cluster.site_dir(site) / "admin.sock"), "http://localhost" + path]
        else:
            command += [version, "--cacert", self.ca, self.cluster.url(site) + path]
        if token:
            command += ["-H", f"authorization: Bearer {token}"]
        done = subprocess.run(command + list(words), capture_output=True, text=True, timeout=150)
        self.assertEqual(done.returncode, 0, f"{path}: {done.stderr}")
        status, spoken = done.stdout.split()
        if not admin:
            self.assertEqual(spoken, {"--http2": "2", "--http1.1": "1.1"}[version])
        lines = head.read_text().replace("\r", "").strip().split("\n\n")[-1].splitlines()[1:]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status), fields, body.read_bytes()

    def check_fields(self, site, fields, tls=True):
        """What the document promises of every answer."""
        self.assertEqual(fields["kluis-site"], site)
        self.assertEqual(fields["kluis-node"], str(SITES.index(site) + 1))
        self.assertRegex(fields["kluis-index"], r"^[0-9a-f]{32}:[0-9]+$")
        self.assertRegex(fields["request-id"], r"^[0-9a-f]{16}$")
        self.assertEqual(fields["x-content-type-options"], "nosniff")
        self.assertEqual(fields["cache-control"], "no-store")
        if tls:
            self.assertRegex(fields["strict-transport-security"], r"^max-age=[0-9]{7,}")

    def check_schema(self, operation, status, fields, body, what):
        response = self.document.response(operation, status)
        self.assertIsNotNone(response, f"{what}: status {status} is not documented: {body[:300]!r}")
        for name in response.get("headers", {}):
            self.assertIn(name.lower(), fields, what)
        content = response.get("content")
        if content is None:
            self.assertEqual(body, b"", what)
            return None
        kind = fields["content-type"].partition(";")[0]
        self.assertIn(kind, content, what)
        if not kind.endswith("json"):
            return body
        value = json.loads(body)
        self.assertEqual(self.document.faults(value, content[kind]["schema"]), [], what)
        return value

    def check_problem(self, answer, status, code):
        got, fields, body = answer
        self.assertEqual(got, status, body[:300])
        self.assertEqual(fields["content-type"], "application/problem+json")
        value = json.loads(body)
        schema = self.document.root["components"]["responses"]["problem"]["content"]["application/problem+json"]["schema"]
        self.assertEqual(self.document.faults(value, schema), [])
        self.assertEqual((value["status"], value["code"]), (status, code))
        self.assertEqual(value["request_id"], fields["request-id"])
        return value

    # --- every site, both protocols ---

    def test_every_site(self):
        large = self.cluster.top / "large"
        large.write_bytes(bytes(2 << 20))
        form, start = ["-H", "content-type: application/json"], "/v1/login/device/start"
        for site in SITES:
            for version in ("--http1.1", "--http2"):
                with self.subTest(site=site, version=version):
                    ask = lambda path, *words: self.curl(site, path, *words, version=version)
                    for path in ("/healthz", "/readyz", "/v1/limits", "/v1/version", "/.well-known/kluis.json"):
                        status, fields, body = ask(path)
                        self.assertEqual(status, 200, path)
                        self.check_fields(site, fields)
                        json.loads(body)
                    wrong = ask("/nowhere")
                    self.check_problem(wrong, 404, "not-found")
                    self.check_fields(site, wrong[1])
                    answer = ask("/healthz", "-X", "DELETE")
                    self.check_problem(answer, 405, "invalid")
                    self.assertIn("GET", answer[1]["allow"])
                    self.check_problem(ask("/v1/vaults"), 401, "unauthenticated")
                    self.check_problem(ask("/v1/sys/status"), 404, "not-found")
                    self.check_problem(ask(start, *form, "--data", '{"user_id":'), 400, "invalid")
                    self.check_problem(ask(start, *form, "--data", '{"user_id":1,"user_id":2}'), 400, "invalid")
                    self.check_problem(ask(start, *form, "--data", "\xff\xfe"), 400, "invalid")
                    self.check_problem(ask(start, "--data", "{}"), 415, "invalid")
                    self.check_problem(ask(start, *form, "--data-binary", f"@{large}"), 413, "too-large")
                    # HTTP/2 libraries end a connection at a field of 64 KiB; below that there is an answer.
                    self.assertEqual(ask("/healthz", "-H", "x-long: " + "a" * 40000)[0], 431)

    def test_one_cluster(self):
        """All six say the same of the cluster, and name each other."""
        def seen_by_all():
            return [json.loads(self.curl(site, "/.well-known/kluis.json")[2]) for site in SITES]
        # Each node announces itself when it is ready: not all have when the first is.
        wait_until("all have said where they are", 120, lambda: all(
            {e for s in value["sites"] for e in s["endpoints"]} == {self.cluster.url(s) for s in SITES} for value in seen_by_all()))
        seen = seen_by_all()
        for value in seen[1:]:
            self.assertEqual(value, seen[0])
        self.assertEqual([s["site"] for s in sorted(seen[0]["sites"], key=lambda s: s["node"])], SITES)
        self.assertEqual({e for s in seen[0]["sites"] for e in s["endpoints"]}, {self.cluster.url(s) for s in SITES})
        # An election may be under way: some have no leader then, or two say it is them.
        def roles():
            return sorted(json.loads(self.curl(site, "/readyz")[2]).get("role", "none") for site in SITES)
        wait_until("one leads, four vote, one stands by", 120,
                   lambda: roles() == ["leader", "standby", "voter", "voter", "voter", "voter"])

    def test_scripts_of_interop(self):
        """The script that runs against the API alone holds against a node of a cluster, a follower, too."""
        follower = next(s for s in SITES if s != self.cluster.wait_leader())
        done = subprocess.run([str(ROOT / "tests" / "interop" / "http"), self.cluster.url(follower), self.ca], capture_output=True,
                              text=True, timeout=200)
        failed = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
        self.assertEqual(done.returncode, 0, "\n".join(failed))

    def test_tls(self):
        for site in SITES:
            address = self.cluster.url(site).removeprefix("https://")

            def says(*words):
                done = subprocess.run(["openssl", "s_client", "-connect", address, "-CAfile", self.ca, "-verify_return_error", *words],
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=150)
                return done.returncode, done.stdout + done.stderr
            with self.subTest(site=site):
                for words, text in [(["-tls1_3", "-alpn", "h2"], "New, TLSv1.3"), (["-tls1_2", "-alpn", "h2"], "TLSv1.2, Cipher is ECDHE"),
                                    (["-alpn", "h2"], "ALPN protocol: h2"), (["-alpn", "http/1.1"], "ALPN protocol: http/1.1")]:
                    code, text_said = says(*words)
                    self.assertEqual(code, 0, text_said)
                    self.assertIn(text, text_said)
                for words in (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
                              ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"], ["-alpn", "kluis-link/1"]):
                    code, text_said = says(*words)
                    self.assertNotEqual(code, 0, f"{words}: {text_said}")
                    self.assertIn("alert", text_said)

    # --- the document ---

    def test_every_documented_get(self):
        c = self.cluster
        c.ctl("ams", "snapshot", "save", "--wait", "--timeout", "300", timeout=330)
        vault = json.loads(self.curl("ams", "/v1/vaults", token=self.token)[2])["items"][0]["id"]
        session = next(s for s in json.loads(self.curl("ams", "/v1/sessions", token=self.token)[2])["items"] if s["current"])["id"]
        snapshot = json.loads(self.curl("ams", "/v1/sys/snapshots", admin=True)[2])["items"][0]["id"]
        # What operators ask a node it answers by its own state, which may be behind.
        wait_until("all know of the snapshot", 120,
                   lambda: all(self.curl(site, f"/v1/sys/snapshots/{snapshot}", admin=True)[0] == 200 for site in SITES))
        lineage = json.loads(self.curl("ams", "/.well-known/kluis.json")[2])["lineage"]
        self.written = set()
        reader = json.loads(self.curl("ams", "/v1/account", token=self.token)[2])["user_id"]
        document, doc_id = Writer.inbox_document(bytes.fromhex(reader))
        self.done(201, "post", "/v1/users/{id}/inbox", {"id": reader}, body=document, token=self.token)
        person, invite = self.make_person("reader-person")
        mine = self.sign_in(person)["token"]
        sharer, shared = self.make_writer("sharer")
        group, talk = self.make_group(sharer, shared), self.make_conversation(sharer, shared)
        changes = json.loads(self.curl("ams", f"/v1/vaults/{vault}/changes?since={lineage}:0", token=self.token)[2])["items"]
        page = max(changes, key=lambda change: change["revision"])
        values = {"/versions/{n}": "/versions/1", "/users/{name}": f"/users/{person.name}", "/users/{id}": f"/users/{person.user_id.hex()}",
                  "{doc}": doc_id.hex(), "{g}": group.id.hex(), "{c}": talk.id.hex(), "{v}": vault, "{n}": str(page["page"]), "{rev}": str(page["revision"]), "/sessions/{id}": f"/sessions/{session}",
                  "/snapshots/{id}": f"/snapshots/{snapshot}"}
        asked = 0
        for path, operation in self.document.operations("get"):
            url = path
            for name, value in values.items():
                url = url.replace(name, value)
            self.assertNotIn("{", url)
            if path.endswith("/changes"):
                url += f"?since={lineage}:0"
            auth = operation["x-kluis-auth"]
            of_person = path.startswith(("/v1/unlock", "/v1/keyring", "/v1/devices", "/v1/account", "/v1/users", "/v1/mfa"))
            of_shared = path.startswith(("/v1/groups", "/v1/conversations", "/v1/packets"))
            token = None if auth in ("none", "admin") else mine if of_person else shared if of_shared else self.token
            for site in SITES:
                with self.subTest(path=path, site=site):
                    if auth == "admin":
                        status, fields, body = self.curl(site, url, admin=True)
                        self.check_problem(self.curl(site, url), 404, "not-found")
                    else:
                        status, fields, body = self.curl(site, url, token=token)
                    self.assertEqual(status, 200, body[:300])
                    self.check_fields(site, fields, tls=auth != "admin")
                    value = self.check_schema(operation, status, fields, body, path)
                    asked += 1
            with self.subTest(path=path, detail="parameters"):
                self.check_parameters(path, url, operation, auth, token, value)
        self.assertGreater(asked, 150)

    def check_parameters(self, path, url, operation, auth, token, value):
        admin = auth == "admin"
        names = [self.document.follow(p)["name"] for p in operation.get("parameters", [])]
        more = url + ("&" if "?" in url else "?")
        if token is not None:
            self.check_problem(self.curl("rtd", url), 401, "unauthenticated")
            self.check_problem(self.curl("rtd", more + "nothing=1", token=token), 400, "invalid")
        if "limit" in names:
            status, fields, body = self.curl("utr", more + "limit=1", admin=admin, token=token)
            one = self.check_schema(operation, status, fields, body, path)
            self.assertLessEqual(len(one["items"]), 1)
            for wrong in ("0", "501", "x", "-1", ""):
                self.check_problem(self.curl("utr", more + f"limit={wrong}", admin=admin, token=token), 400, "invalid")
        if "cursor" in names:
            self.check_problem(self.curl("utr", more + "cursor=AAAA", admin=admin, token=token), 400, "invalid")
        if "consistency" in names:
            for word in ("linearizable", "stale"):
                status, fields, body = self.curl("ein", more + f"consistency={word}", token=token)
                self.assertEqual(status, 200, body[:300])
                self.assertEqual("kluis-staleness-ms" in fields, word == "stale")
            self.check_problem(self.curl("ein", more + "consistency=maybe", token=token), 400, "invalid")
            self.check_problem(self.curl("ein", more + "consistency=session", token=token), 400, "invalid")
            index = self.curl("ams", url, token=token)[1]["kluis-index"]
            status = self.curl("mst", more + "consistency=session", "-H", f"kluis-min-index: {index}", token=token)[0]
            self.assertEqual(status, 200)
            far = index.partition(":")[0] + ":99999999"
            answer = self.curl("mst", more + "consistency=session&wait_ms=50", "-H", f"kluis-min-index: {far}", token=token)
            self.check_problem(answer, 503, "behind")
        if "If-None-Match" in names:
            etag = self.curl("gro", url, token=token)[1]["etag"]
            self.assertRegex(etag, r'^"[0-9]+-[0-9a-f]{16}"$')
            status, fields, body = self.curl("gro", url, "-H", f"if-none-match: {etag}", token=token)
            self.assertEqual((status, body), (304, b""))
        if "Range" in names:
            status, fields, body = self.curl("gro", url, "-H", "range: bytes=10-19", token=token)
            self.assertEqual((status, body), (206, value[10:20]))
            self.assertEqual(fields["content-range"], f"bytes 10-19/{len(value)}")
            self.check_problem(self.curl("gro", url, "-H", "range: bytes=9999999-", token=token), 416, "invalid")

    # --- every write of the document ---

    def ask(self, method, path, values=None, body=None, fields=(), site="rtd", token=None):
        """Sends it, holds the answer against the document, and remembers what was answered with success: (status, fields, value)."""
        operation, url = self.document.root["paths"][path][method], path
        for name, value in (values or {}).items():
            url = url.replace("{" + name + "}", str(value))
        self.assertNotIn("{", url)
        words = ["--head"] if method == "head" else ["-X", method.upper()]
        for field in fields:
            words += ["-H", field]
        if body is not None:
            data = self.cluster.top / "data"
            data.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
            words += ["-H", "content-type: application/" + ("octet-stream" if isinstance(body, bytes) else "json"), "--data-binary", f"@{data}"]
        admin = operation["x-kluis-auth"] == "admin"
        status, got, answer = self.curl(site, url, *words, token=token, admin=admin)
        if method == "head":
            answer = b""  # What curl wrote there are the header fields.
        what = f"{method} {path}"
        self.check_fields(site, got, tls=not admin)
        value = self.check_schema(operation, status, got, answer, what)
        if status < 400:
            self.written.add((method, path))
        return status, got, value

    def refuse(self, status, code, *words, **named):
        got, _, value = self.ask(*words, **named)
        self.assertEqual((got, value["code"]), (status, code), value)

    def done(self, status, *words, **named):
        got, fields, value = self.ask(*words, **named)
        self.assertEqual(got, status, value)
        return fields, value

    def test_every_documented_write(self):
        self.written = set()
        self.check_person_writes()
        writer, token = self.check_account_writes()
        self.check_vault_writes(writer, token)
        self.check_inbox_writes(writer, token)
        self.check_sharing_writes(writer, token)
        self.check_events(writer, token)
        self.check_session_writes(writer, token)
        self.check_operators_writes()
        documented = {(method, path) for method in ("post", "put", "patch", "delete", "head") for path, _ in self.document.operations(method)}
        self.assertEqual(documented - self.written, set())

    # --- persons ---

    def make_person(self, name):
        """A person who was invited and has registered, and an invitation that is still good."""
        wait_until("persons may register", 120, lambda: json.loads(self.curl("rtd", "/v1/version")[2])["feature_level"] >= 3)
        person = Person(name, json.loads(self.curl("ams", "/.well-known/kluis.json")[2])["cluster_id"])
        _, invite = self.done(201, "post", "/v1/sys/invites", body={"uses": 2, "note": name})
        body = person.registration(invite["token"])
        self.refuse(403, "forbidden", "post", "/v1/register", body={**body, "invite": "kiv_" + "A" * 43})
        for _ in range(2):  # The identical request is answered as the first.
            _, account = self.done(202, "post", "/v1/register", body=body)
        self.assertEqual(account, {"user_id": person.user_id.hex(), "device_id": person.device_id.hex()})
        return person, invite

    def sign_in(self, person, device=True):
        _, start = self.done(200, "post", "/v1/login/start", body=person.password_start())
        _, session = self.done(200, "post", "/v1/login/finish", body=person.password_finish(start, device))
        self.assertTrue(person.proves(session))
        self.assertEqual((session["level"], session["mfa"]), ("full", []))
        return session

    def recover(self, person):
        _, start = self.done(200, "post", "/v1/recovery/start", body={"user": person.name})
        return self.done(200, "post", "/v1/recovery/finish", body=person.recovery_finish(start))[1]

    def check_person_writes(self):
        person, invite = self.make_person("person")
        self.refuse(409, "conflict", "post", "/v1/register", body=Person("person", person.cluster_id.hex()).registration(invite["token"]))
        self.done(204, "delete", "/v1/sys/invites/{sha256}", {"sha256": invite["id"]})
        self.refuse(400, "invalid", "post", "/v1/login/start", body={**person.password_start(), "A": text(bytes(384))})
        _, start = self.done(200, "post", "/v1/login/start", body=person.password_start())
        wrong = {**person.password_finish(start), "M1": text(bytes(32))}
        self.refuse(401, "unauthenticated", "post", "/v1/login/finish", body=wrong)
        token = self.sign_in(person)["token"]
        self.check_keyring_writes(person, token)
        self.check_device_writes(person)
        self.check_mfa_writes(person)
        self.check_recovery_writes(person)
        self.check_account_end(person)

    def check_keyring_writes(self, person, token):
        named = {"token": token}
        etag = self.curl("ein", "/v1/keyring", token=token)[1]["etag"]
        first = person.keyring_hash
        keyring = person.next_keyring()
        self.refuse(428, "precondition-required", "put", "/v1/keyring", body=keyring, **named)
        for _ in range(2):
            _, kept = self.done(200, "put", "/v1/keyring", body=keyring, fields=[f"if-match: {etag}"], **named)
            self.assertEqual(kept, {"revision": 2, "sha256": person.keyring_hash.hex()})
        person.revision, person.keyring_hash = 1, first
        self.refuse(412, "precondition-failed", "put", "/v1/keyring", body=person.next_keyring(), fields=[f"if-match: {etag}"], **named)
        person.revision, person.keyring_hash = 2, hashlib.sha256(keyring).digest()
        other = self.sign_in(person)["token"]
        self.done(200, "post", "/v1/password", body=person.change(), **named)
        for site in SITES:
            self.check_problem(self.curl(site, "/v1/keyring", token=other), 401, "unauthenticated")

    def check_device_writes(self, person):
        path, ids = "/v1/devices/{id}", [os.urandom(16) for _ in range(2)]
        bare, full = self.sign_in(person, device=False)["token"], self.sign_in(person)["token"]
        stale = person.device_add(os.urandom(16), append=False)
        for device in ids:
            _, asked = self.done(202, "post", "/v1/devices", body=person.device_add(device, append=False), token=bare)
            self.assertEqual(asked, {"id": device.hex(), "state": "pending"})
        self.done(204, "post", path + "/refuse", {"id": ids[1].hex()}, token=full)
        self.refuse(403, "forbidden", "post", path + "/approve", {"id": ids[0].hex()}, body=person.device_add(ids[0], append=False), token=bare)
        _, made = self.done(200, "post", path + "/approve", {"id": ids[0].hex()}, body=person.device_add(ids[0]), token=full)
        self.assertEqual(made["state"], "active")
        self.done(201, "post", "/v1/devices", body=person.device_add(os.urandom(16)), token=full)
        self.done(204, "delete", path, {"id": ids[0].hex()}, body=person.device_revoke(ids[0]), token=full)
        self.refuse(412, "precondition-failed", "post", "/v1/devices", body=stale, token=full)
        _, account = self.done(200, "patch", "/v1/account", body=person.policy(0), token=full)
        self.assertEqual(account["policy"], {"no_web_login": False, "device_sig": False})

    def check_mfa_writes(self, person):
        path, token = "/v1/mfa/", self.sign_in(person)["token"]
        _, made = self.done(201, "post", path + "hotp", body={"label": "a token"}, token=token)
        used = iter(range(100))
        proof = lambda: {"method": "hotp", "code": hotp(made["secret"], next(used))}
        self.done(200, "post", path + "verify", body={**proof(), "id": made["id"]}, token=token)
        self.refuse(403, "mfa-required", "post", path + "totp", body={}, token=token)
        _, totp = self.done(201, "post", path + "totp", body={"proof": proof()}, token=token)
        _, networks = self.done(201, "post", path + "ip", body={"networks": ["127.0.0.0/8"], "proof": proof()}, token=token)
        # What a cluster offers only once it is set up for it.
        for what, body in (("location", {"places": ["NL"]}), ("fido2/challenge", None),
                           ("fido2", {"handshake": "00" * 16, "client_data": "AAAA", "auth_data": "AAAA"})):
            got, _, value = self.ask("post", path + what, body=body, token=token)
            self.assertIn(got, (400, 401, 403), value)
            self.written.add(("post", path + what))
        _, start = self.done(200, "post", "/v1/login/start", body=person.password_start())
        _, session = self.done(200, "post", "/v1/login/finish", body=person.password_finish(start))
        self.assertEqual((session["level"], session["mfa"]), ("login", ["hotp"]))
        self.check_problem(self.curl("gro", "/v1/keyring", token=session["token"]), 403, "mfa-required")
        spent = proof()
        _, risen = self.done(200, "post", path + "verify", body=spent, token=session["token"])
        self.assertEqual(risen["level"], "full")
        self.assertEqual(self.curl("gro", "/v1/keyring", token=session["token"])[0], 200)
        self.done(204, "delete", path + "{id}", {"id": totp["id"]}, body={}, token=token)
        self.refuse(401, "unauthenticated", "delete", path + "{id}", {"id": made["id"]}, body={"proof": spent}, token=token)
        for row in (networks, made):
            self.done(204, "delete", path + "{id}", {"id": row["id"]}, body={"proof": proof()}, token=token)

    def check_recovery_writes(self, person):
        path = "/v1/recovery"
        _, start = self.done(200, "post", path + "/start", body={"user": person.name})
        self.refuse(401, "unauthenticated", "post", path + "/finish", body={"recovery": start["recovery"], "signature": text(bytes(64))})
        session = self.recover(person)
        self.assertEqual(session["level"], "recovery")
        self.check_problem(self.curl("gro", "/v1/account", token=session["token"]), 403, "forbidden")
        self.done(204, "delete", path, token=self.sign_in(person)["token"])
        self.check_problem(self.curl("gro", "/v1/keyring", token=session["token"]), 401, "unauthenticated")
        session = self.recover(person)
        self.done(200, "post", "/v1/password", body=person.change(), token=session["token"])
        self.sign_in(person, device=False)

    def check_account_end(self, person):
        path, name = "/v1/sys/users/{name}", {"name": person.name}
        self.refuse(404, "not-found", "post", path + "/disable", {"name": "nobody"})
        token = self.sign_in(person)["token"]
        self.done(204, "delete", path + "/sessions", name)
        self.check_problem(self.curl("utr", "/v1/account", token=token), 401, "unauthenticated")
        self.done(204, "post", path + "/mfa-reset", name)
        self.done(204, "post", path + "/disable", name)
        _, start = self.done(200, "post", "/v1/login/start", body=person.password_start())
        self.refuse(401, "unauthenticated", "post", "/v1/login/finish", body=person.password_finish(start))
        self.done(204, "post", path + "/enable", name)
        quota = {"vaults_max": 7, "vault_pages_max": 100, "bytes_max": 1 << 40, "pages_max": 1000}
        self.assertEqual(self.done(200, "post", path + "/quota", name, body=quota)[1], quota)
        self.done(204, "delete", "/v1/account", token=self.sign_in(person)["token"])
        self.refuse(410, "gone", "post", path + "/disable", name)
        other, _ = self.make_person("another")
        self.done(204, "post", path + "/delete", {"name": other.name})
        _, start = self.done(200, "post", "/v1/login/start", body=other.password_start())
        self.refuse(401, "unauthenticated", "post", "/v1/login/finish", body=other.password_finish(start))

    def log_in(self, writer):
        _, challenge = self.done(200, "post", "/v1/login/device/start", body=writer.login_start())
        return self.done(200, "post", "/v1/login/device/finish", body=writer.login_finish(challenge))[1]

    def make_writer(self, name):
        """A service account of its own making, and its session's token."""
        _, made = self.done(201, "post", "/v1/sys/services", body={"name": name}, fields=self.key())
        writer = Writer(name, json.loads(self.curl("ams", "/.well-known/kluis.json")[2])["cluster_id"])
        self.done(201, "post", "/v1/services/enrol", body=writer.enrolment(made["token"]))
        return writer, self.log_in(writer)["token"]

    @staticmethod
    def key():
        return [f"idempotency-key: {os.urandom(8).hex()}"]

    def check_account_writes(self):
        name, path = "own-client", "/v1/sys/services"
        key = lambda: [f"idempotency-key: {os.urandom(8).hex()}"]
        self.refuse(400, "invalid", "post", path, body={"name": "A B"}, fields=key())
        _, made = self.done(201, "post", path, body={"name": name}, fields=key())
        writer = Writer(name, json.loads(self.curl("ams", "/.well-known/kluis.json")[2])["cluster_id"])
        enrolment = writer.enrolment(made["token"])
        self.refuse(401, "unauthenticated", "post", "/v1/services/enrol", body={**enrolment, "token": "ket_" + "A" * 43})
        for _ in range(2):  # The identical request is answered as the first.
            _, account = self.done(201, "post", "/v1/services/enrol", body=enrolment)
        self.assertEqual(account, {"account": name, "user_id": writer.user_id.hex(), "device_id": writer.device_id.hex()})
        self.refuse(400, "invalid", "post", "/v1/login/device/start", body={"user_id": "x", "device_id": "y"})
        _, challenge = self.ask("post", "/v1/login/device/start", body=writer.login_start())[1:]
        wrong = {**writer.login_finish(challenge), "signature": text(bytes(64))}
        self.refuse(401, "unauthenticated", "post", "/v1/login/device/finish", body=wrong)
        return writer, self.log_in(writer)["token"]

    def check_vault_writes(self, writer, token):
        vault, key = Vault(writer), [f"idempotency-key: {os.urandom(8).hex()}"]
        path, values, named = "/v1/vaults/{v}", {"v": vault.id.hex()}, {"token": token}
        body = {"create": text(vault.create), "head": text(vault.head()), "label": text(b"a label")}
        self.refuse(401, "unauthenticated", "post", "/v1/vaults", body=body, fields=key)
        self.refuse(400, "invalid", "post", "/v1/vaults", body={**body, "head": "AAAA"}, fields=key, **named)
        fields, made = self.done(201, "post", "/v1/vaults", body=body, fields=key, **named)
        self.assertEqual((fields["location"], made["seq"]), (f"/v1/vaults/{vault.id.hex()}", 1))
        self.refuse(428, "precondition-required", "patch", path, values, body={"label": ""}, **named)
        _, patched = self.done(200, "patch", path, values, body={"label": text(b"new")}, fields=[f"if-match: {fields['etag']}"], **named)
        self.assertEqual(patched["label"], text(b"new"))
        self.check_push_writes(writer, vault, token)

        # A page by itself: made, changed, and what is not the next one refused.
        page, number = path + "/pages/{n}", {**values, "n": 0}
        data, head = vault.page(0, 1), text(vault.head([0]))
        self.refuse(428, "precondition-required", "put", page, number, body=data, fields=[f"kluis-head: {head}"], **named)
        fields, committed = self.done(201, "put", page, number, body=data, fields=["if-none-match: *", f"kluis-head: {head}"], **named)
        self.assertEqual((committed["seq"], committed["head_hash"]), (2, vault.head_hash.hex()))
        data, head = vault.page(0, 2), text(vault.head([0]))
        self.refuse(412, "precondition-failed", "put", page, number, body=data, fields=['if-match: "9-0123456789abcdef"', f"kluis-head: {head}"],
                    **named)
        self.done(200, "put", page, number, body=data, fields=[f"if-match: {fields['etag']}", f"kluis-head: {head}"], **named)

        # A page ahead of its commit, and one inline beside it.
        staged, data = path + "/staged/{sha256}", vault.page(1, 1)
        digest = hashlib.sha256(data).digest()
        there = {**values, "sha256": digest.hex()}
        self.assertEqual(self.ask("head", staged, there, **named)[0], 404)
        self.refuse(400, "invalid", "put", staged, {**values, "sha256": "00" * 32}, body=data, **named)
        self.assertEqual(self.done(200, "put", staged, there, body=data, **named)[1], {"sha256": digest.hex()})
        self.done(200, "head", staged, there, **named)
        inline = vault.page(0, 3)
        body = Vault.commit(vault.head([0, 1]), (0, 3, inline), (1, 1, digest))
        self.refuse(400, "invalid", "post", path + "/commits", values, body=body[:-1], **named)
        for _ in range(2):
            fields, committed = self.done(200, "post", path + "/commits", values, body=body, **named)
            self.assertEqual(committed, {"seq": 4, "head_hash": vault.head_hash.hex()})
        late = Vault.commit(vault.head([0]), (0, 9, vault.page(0, 9)))
        self.refuse(409, "conflict", "post", path + "/commits", values, body=late, **named)
        self.refuse(400, "invalid", "post", path + "/pages:get", values, body={"pages": []}, **named)
        _, several = self.done(200, "post", path + "/pages:get", values, body={"pages": [1, 7, 0]}, **named)
        self.assertEqual(several, lp32(data) + lp32(b"") + lp32(inline))

        self.refuse(428, "precondition-required", "delete", path, values, **named)
        etag = self.curl("rtd", f"/v1/vaults/{vault.id.hex()}", token=token)[1]["etag"]
        self.done(204, "delete", path, values, fields=[f"if-match: {etag}"], **named)

    def check_inbox_writes(self, writer, token):
        path, mine, named = "/v1/users/{id}/inbox", {"id": writer.user_id.hex()}, {"token": token}
        left, left_id = writer.inbox_document(writer.user_id)
        self.refuse(401, "unauthenticated", "post", path, mine, body=left)
        self.refuse(400, "invalid", "post", path, mine, body=left[:-1], **named)
        self.refuse(400, "invalid", "post", path, mine, body=writer.inbox_document(writer.user_id, 0)[0], **named)
        for _ in range(2):  # The same again is answered as the first.
            self.assertEqual(self.done(201, "post", path, mine, body=left, **named)[1]["doc"], left_id.hex())
        self.refuse(404, "not-found", "delete", "/v1/inbox/{doc}", {"doc": "00" * 16}, **named)
        self.done(204, "delete", "/v1/inbox/{doc}", {"doc": left_id.hex()}, **named)

        # A token, for one document and the keys to seal it to; and what it left becomes a page.
        body, key = {"label": "gateway", "expires_ms": now_ms() + 3600000, "docs": 1}, [f"idempotency-key: {os.urandom(8).hex()}"]
        self.refuse(428, "precondition-required", "post", "/v1/inbox/tokens", body=body, **named)
        self.refuse(400, "invalid", "post", "/v1/inbox/tokens", body={**body, "docs": 0}, fields=key, **named)
        _, made = self.done(201, "post", "/v1/inbox/tokens", body=body, fields=key, **named)
        gateway = made["token"]
        self.assertEqual(self.curl("gro", f"/v1/users/{writer.user_id.hex()}/identity", token=gateway)[0], 200)
        self.check_problem(self.curl("gro", "/v1/inbox", token=gateway), 401, "unauthenticated")
        left, left_id = writer.inbox_document(writer.user_id, 0)
        self.done(201, "post", path, mine, body=left, site="mst", token=gateway)
        self.refuse(507, "quota-exceeded", "post", path, mine, body=writer.inbox_document(writer.user_id, 0)[0], token=gateway)
        self.done(204, "delete", "/v1/inbox/tokens/{id}", {"id": made["id"]}, **named)
        self.refuse(401, "unauthenticated", "post", path, mine, body=left, token=gateway)
        vault = Vault(writer)
        self.done(201, "post", "/v1/vaults", body={"create": text(vault.create), "head": text(vault.head())},
                  fields=[f"idempotency-key: {os.urandom(8).hex()}"], **named)
        commit, values = Vault.commit(vault.head([0]), (0, 1, vault.page(0, 1))), {"v": vault.id.hex()}
        self.refuse(404, "not-found", "post", "/v1/vaults/{v}/commits", values, body=commit,
                    fields=[f"kluis-claims: {left_id.hex()},{'00' * 16}"], **named)
        for _ in range(2):
            self.done(200, "post", "/v1/vaults/{v}/commits", values, body=commit, fields=[f"kluis-claims: {left_id.hex()}"], **named)
        self.assertEqual(json.loads(self.curl("utr", "/v1/inbox", token=token)[2])["items"], [])

    def check_push_writes(self, writer, vault, token):
        """This cluster has no settings for it: nobody can be subscribed, and who is notified is nobody's to learn."""
        self.refuse(428, "precondition-required", "post", "/v1/push", body={"kind": "fcm", "token": "x"}, token=token)
        self.refuse(400, "unsupported-suite", "post", "/v1/push", body={"kind": "fcm", "token": "x"}, fields=self.key(), token=token)
        self.refuse(404, "not-found", "delete", "/v1/push/{id}", {"id": "00" * 16}, token=token)
        self.written |= {("post", "/v1/push"), ("delete", "/v1/push/{id}")}
        payload = b"KNP1\x01" + bytes(3 + 8) + b"\0\x20" + bytes(32) + b"\0\x10" + bytes(16)
        item = {"user": writer.user_id.hex(), "device": writer.device_id.hex(), "payload": text(payload)}
        self.done(202, "post", "/v1/push/send", body={"object": vault.id.hex(), "items": [item]}, token=token)
        self.refuse(404, "not-found", "post", "/v1/push/send", body={"object": "00" * 16, "items": [item]}, token=token)

    def check_events(self, writer, token):
        """A WebSocket and a request that waits, at other sites than the commit's; the site dies, and a third one goes on."""
        key, named = [f"idempotency-key: {os.urandom(8).hex()}"], {"token": token}
        leader = self.cluster.wait_leader()
        first, second, third, at = [s for s in SITES if s != leader][:4]
        context, vault = events.context_for(self.ca), Vault(writer)
        self.done(201, "post", "/v1/events/ticket", **named)
        # Of a conversation that the caller is no member of; what members say is in tests/unit/node/test_api_events.c.
        self.refuse(404, "not-found", "post", "/v1/calls/{id}/signal", {"id": vault.id.hex()}, body=b"offer", **named)
        self.written.add(("post", "/v1/calls/{id}/signal"))
        caller = {site: events.Connection(self.cluster.url(site), context, token) for site in (first, second, third, at)}
        for connection in caller.values():
            self.addCleanup(connection.close)
        self.done(201, "post", "/v1/vaults", body={"create": text(vault.create), "head": text(vault.head())}, fields=key, **named)
        def open_at(site, token=token, since=None):
            connection = events.Connection(self.cluster.url(site), context, token)
            made = events.Socket(self.cluster.url(site), context, connection.ticket(), since)
            connection.close()
            self.addCleanup(made.close)
            return made

        ws = open_at(first)
        start = ws.next()
        self.assertEqual(start["type"], "resync")

        def commit():
            number = vault.pages.get(0, 0) + 1
            body = Vault.commit(vault.head([0]), (0, number, vault.page(0, number)))
            status, _, value = caller[at].call("POST", f"/v1/vaults/{vault.id.hex()}/commits", body)
            self.assertEqual(status, 200, value)

        status, _, waited = caller[second].wait()
        self.assertEqual((status, [e["type"] for e in waited["items"]]), (200, ["resync"]))
        commit()
        told = ws.next()
        self.assertEqual((told["type"], told["object"]), ("vault", vault.id.hex()))
        status, _, waited = caller[second].wait(waited["cursor"], 55000)
        self.assertEqual((status, [(e["type"], e["object"]) for e in waited["items"]]), (200, [("vault", vault.id.hex())]))
        with self.assertRaises(OSError):  # Of another node; and a node's own counts once.
            events.Socket(self.cluster.url(second), context, caller[first].ticket())
        # The site dies; what happens then is told by a third one from the place that was reached.
        self.cluster.kill(first)
        with self.assertRaises((events.Closed, OSError)):
            while True:
                ws.next()
        commit()
        ws = open_at(third, since=told["cursor"])
        later = ws.next()
        self.assertEqual((later["type"], later["object"]), ("vault", vault.id.hex()))
        self.assertTrue(ws.quiet(0.3))
        self.cluster.start(first)
        self.cluster.wait_ready([first])
        again = open_at(first, since=start["cursor"])
        self.assertEqual(again.next()["object"], vault.id.hex())
        # The session ends everywhere.
        other = self.log_in(writer)
        mine = open_at(second, other["token"])
        self.done(204, "post", "/v1/logout", token=other["token"])
        with self.assertRaises(events.Closed) as closed:
            while True:
                mine.next()
        self.assertEqual(closed.exception.code, 4401)

    def make_group(self, writer, token, *first):
        """A group, with members whose packets go with it."""
        group = Shared(writer, GROUP)
        body = {"create": text(group.create), "group_key": text(point(group.key)), "label": text(b"a group"),
                "statements": [group.add(member.user_id, 1) for member in first],
                "packets": [group.packet(3, member.user_id, member.transfer) for member in first]}
        fields, made = self.done(201, "post", "/v1/groups", body=body, fields=self.key(), token=token)
        self.assertEqual((fields["location"], made["role"]), (f"/v1/groups/{group.id.hex()}", "admin"))
        return group

    def make_conversation(self, writer, token, *others):
        talk = Shared(writer, CONVERSATION)
        body = {"create": text(talk.create), "statements": [talk.add(other.user_id, 2) for other in others]}
        self.done(201, "post", "/v1/conversations", body=body, fields=self.key(), token=token)
        return talk

    def check_sharing_writes(self, writer, token):
        other, others = self.make_writer("other-client")
        vault, named, his = Vault(writer), {"token": token}, {"token": others}
        self.done(201, "post", "/v1/vaults", body={"create": text(vault.create), "head": text(vault.head())}, fields=self.key(), **named)
        path, values = "/v1/vaults/{v}", {"v": vault.id.hex()}
        add = vault.add(other.user_id, 2)
        self.refuse(412, "precondition-failed", "post", path + "/members", values, body={"statements": [add]}, fields=self.key(), **named)
        body, key = {"statements": [add], "packets": [vault.packet(1, other.user_id, other.transfer)]}, self.key()
        self.refuse(428, "precondition-required", "post", path + "/members", values, body=body, **named)
        self.refuse(404, "not-found", "post", path + "/members", values, body=body, fields=self.key(), **his)
        for _ in range(2):  # The identical request is answered as the first, at every site.
            _, changed = self.done(200, "post", path + "/members", values, body=body, fields=key, site=SITES[_], **named)
            self.assertEqual(changed, {"members_rev": 2, "members_hash": vault.members_hash.hex(), "epoch": 1})
        self.done(204, "post", path + "/accept", values, **his)
        waiting = json.loads(self.curl("gro", "/v1/packets", token=others)[2])["items"]
        self.assertEqual([(row["rcpt"], row["object"]) for row in waiting], [(other.user_id.hex(), vault.id.hex())])
        for _ in range(2):
            self.done(204, "post", "/v1/packets/{id}/ack", {"id": waiting[0]["packet_id"]}, site="mst", **his)
        self.done(204, "post", "/v1/packets", body={"packets": [vault.packet(1, other.user_id, other.transfer)]}, **named)
        self.refuse(403, "forbidden", "post", "/v1/packets", body={"packets": [vault.packet(1, other.user_id, other.transfer)]}, **his)
        self.done(200, "post", path + "/commits", values, body=Vault.commit(vault.head([0]), (0, 1, vault.page(0, 1))), **named)

        # A group comes into the vault, loses a member with a new key for both, and goes.
        of = "/v1/groups/{g}"
        group = self.make_group(writer, token, other)
        there = {"g": group.id.hex()}
        self.done(204, "post", of + "/accept", there, **his)
        body = {"statements": [vault.add(group.id, 2, kind=2)], "packets": [vault.packet(1, group.id, group.key)]}
        self.done(200, "post", path + "/members", values, body=body, fields=self.key(), **named)
        self.done(204, "post", path + "/decline", values, **his)
        seen = [row for row in json.loads(self.curl("utr", "/v1/vaults", token=others)[2])["items"] if row["id"] == vault.id.hex()]
        self.assertEqual([row["via"] for row in seen], [group.id.hex()])
        self.refuse(409, "conflict", "delete", of, there, **named)
        body = {"statements": [group.remove(other.user_id), group.rotate()], "group_key": text(point(group.key))}
        self.refuse(412, "precondition-failed", "post", of + "/members", there, body=body, fields=self.key(), **named)
        also = {"object": vault.id.hex(), "statements": [vault.rotate()], "packets": [vault.packet(1, group.id, group.key)]}
        self.done(200, "post", of + "/members", there, body={**body, "also": [also]}, fields=self.key(), **named)
        self.check_problem(self.curl("ein", f"/v1/vaults/{vault.id.hex()}", token=others), 404, "not-found")
        self.check_page_alone(vault, other, named, his)
        self.done(200, "post", path + "/members", values, body={"statements": [vault.remove(group.id), vault.rotate()]}, fields=self.key(), **named)
        self.done(204, "delete", of, there, **named)
        self.done(204, "post", of + "/decline", {"g": self.make_group(writer, token, other).id.hex()}, **his)

        talk = self.make_conversation(writer, token, other)
        of, there = "/v1/conversations/{c}", {"c": talk.id.hex()}
        self.done(204, "post", of + "/accept", there, **his)
        self.check_chat_writes(talk, writer, other, named, his)
        self.check_signals(talk, writer, token, others)
        self.done(204, "post", of + "/decline", there, **his)
        self.done(200, "post", of + "/members", there, body={"statements": [talk.remove(other.user_id)]}, fields=self.key(), **named)

    def check_page_alone(self, vault, other, named, his):
        """One page for somebody who is not in its vault, until its giver ends that."""
        packet, page, whose = vault.packet(2, other.user_id, other.transfer), {"page": 0, "revision": 1}, {"user": other.user_id.hex()}
        grant = {**whose, **page, "vault": vault.id.hex()}
        self.done(204, "post", "/v1/packets", body={"packets": [packet], "grants": [grant]}, **named)
        path, values = "/v1/vaults/{v}/pages:unshare", {"v": vault.id.hex()}
        body = {**whose, "pages": [{**page, "packet": binary(packet)[16:32].hex()}]}
        shown = lambda site: self.curl(site, f"/v1/vaults/{vault.id.hex()}/pages/0/versions/1", token=his["token"])[0]
        self.refuse(400, "invalid", "post", path, values, body={**body, "pages": []}, **named)
        self.done(204, "post", path, values, body=body, **his)  # Not his to end.
        self.assertEqual(shown("ein"), 200)
        for site in ("ams", "gro"):
            self.done(204, "post", path, values, body=body, site=site, **named)
            self.assertEqual([shown(site) for site in SITES], [404] * 6)
        waiting = json.loads(self.curl("utr", f"/v1/packets?object={vault.id.hex()}", token=his["token"])[2])["items"]
        self.assertNotIn(packet, [row["packet"] for row in waiting])

    def check_chat_writes(self, talk, writer, other, named, his):
        of, there = "/v1/conversations/{c}", {"c": talk.id.hex()}
        first, key = writer.chat_message(talk.id, 1, 0), [talk.packet(4, device.device_id, device.hpke) for device in (writer, other)]
        self.refuse(409, "conflict", "post", of + "/messages", there, body=first, **named)
        epoch = {"epoch": 1, "members_hash": talk.members_hash.hex(), "packets": key}
        self.refuse(412, "precondition-failed", "post", of + "/epochs", there, body={**epoch, "packets": key[:1]}, **named)
        for site in ("ams", "gro"):  # The same again is answered as the first, wherever.
            self.assertEqual(self.done(201, "post", of + "/epochs", there, body=epoch, site=site, **named)[1], {"epoch": 1})
        said = [self.done(201, "post", of + "/messages", there, body=first, site=site, **named)[1] for site in ("mst", "utr")]
        self.assertEqual((said[0]["seq"], said[0]), (1, said[1]))
        self.assertEqual(self.done(201, "post", of + "/messages", there, body=other.chat_message(talk.id, 1, 0), **his)[1]["seq"], 2)
        self.refuse(403, "forbidden", "post", of + "/messages", there, body=writer.chat_message(talk.id, 1, 1), **his)
        self.refuse(400, "invalid", "post", of + "/receipts", there, body={"delivered": 9, "read": 0}, **his)
        self.done(204, "post", of + "/receipts", there, body={"delivered": 2, "read": 1}, **his)
        seen = json.loads(self.curl("ein", f"/v1/conversations/{talk.id.hex()}/messages?after=0", token=his["token"])[2])["items"]
        self.assertEqual([row["seq"] for row in seen], [1, 2])
        self.assertEqual(seen[0]["message"], text(first))

    def check_signals(self, talk, writer, token, others):
        """What one says at one site the other hears at two more: by a WebSocket, and by a request that waits."""
        context, at, first, second = events.context_for(self.ca), *SITES[:3]
        hearing = {site: events.Connection(self.cluster.url(site), context, others) for site in (first, second)}
        for connection in hearing.values():
            self.addCleanup(connection.close)
        ws = events.Socket(self.cluster.url(first), context, hearing[first].ticket())
        self.addCleanup(ws.close)
        self.assertEqual(ws.next()["type"], "resync")  # From here on it hears.
        said, call = b"offer \0\xff", {"type": "call", "object": talk.id.hex(), "user": writer.user_id.hex(), "device": writer.device_id.hex()}

        def told():
            while (event := ws.next())["type"] != "call":
                pass
            return event

        def polled(cursor):
            heard = []
            while not heard:
                status, _, answer = hearing[second].wait(cursor, 20000)
                self.assertEqual(status, 200)
                heard, cursor = [event for event in answer["items"] if event["type"] == "call"], answer["cursor"]
            return heard[0]

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = [pool.submit(told), pool.submit(polled, hearing[second].wait()[2]["cursor"])]
            for _ in range(100):  # None is kept: it is said until who does not wait yet has heard it.
                self.done(202, "post", "/v1/calls/{id}/signal", {"id": talk.id.hex()}, body=said, site=at, token=token)
                if not concurrent.futures.wait(both, timeout=0.5).not_done:
                    break
        for event in both:
            self.assertEqual({key: event.result()[key] for key in (*call, "data")}, {**call, "data": text(said)})

    def check_session_writes(self, writer, token):
        others = [self.log_in(writer) for _ in range(2)]
        path = "/v1/sessions/{id}"
        self.refuse(404, "not-found", "delete", path, {"id": "00" * 16}, token=token)
        self.done(204, "delete", path, {"id": others[0]["session_id"]}, token=token)
        self.refuse(401, "unauthenticated", "delete", "/v1/sessions")
        self.done(204, "delete", "/v1/sessions", token=token)
        for other in others:
            self.check_problem(self.curl("gro", "/v1/sessions", token=other["token"]), 401, "unauthenticated")
        self.done(204, "post", "/v1/logout", token=token)
        self.refuse(401, "unauthenticated", "post", "/v1/logout", token=token)

    def check_operators_writes(self):
        for path, operation in self.document.operations("post"):
            if operation["x-kluis-auth"] == "admin":  # None of them is there for clients.
                url = path.replace("{name}", "own-client").replace("{id}", "1")
                self.check_problem(self.curl("rtd", url, "-X", "POST"), 404, "not-found")
        disable = "/v1/sys/services/{name}/disable"
        self.refuse(404, "not-found", "post", disable, {"name": "nobody"})
        self.done(204, "post", disable, {"name": "own-client"})
        path = "/v1/sys/readonly"
        self.refuse(400, "invalid", "post", path, body={"on": 1})
        self.assertEqual(self.done(200, "post", path, body={"on": True})[1], {"on": True})
        try:
            wait_until("read-only everywhere", 120, lambda: all(self.curl(site, "/readyz")[0] == 507 for site in SITES))
            alarms = json.loads(self.curl("gro", "/v1/sys/alarms", admin=True)[2])["items"]
            self.assertIn("readonly", [alarm["name"] for alarm in alarms])
            _, _, body = self.curl("gro", "/readyz")
            self.assertEqual(json.loads(body)["code"], "read-only")
        finally:
            self.assertEqual(self.done(200, "post", path, body={"on": False})[1], {"on": False})
        self.cluster.wait_ready()
        self.done(200, "post", "/v1/sys/certs/reload")
        self.refuse(428, "precondition-required", "post", "/v1/sys/snapshots", body={})
        self.check_snapshot_writes()
        self.check_member_writes()
        wait_until("a follower refuses to hand over, and the leader does it", 120, self.leadership_moves)
        self.cluster.wait_ready()

    def leadership_moves(self):
        """It may move by itself between two looks: then it is told so, and tried once more."""
        path, leader = "/v1/sys/leader/transfer", self.cluster.wait_leader()
        follower = next(site for site in SITES[:5] if site != leader)
        refused, _, why = self.ask("post", path, body={}, site=follower)
        status, _, value = self.ask("post", path, body={"to": SITES.index(follower) + 1}, site=leader)
        print(f"transfer asked of {follower}: {refused} {why}; of {leader}: {status} {value}", flush=True)
        return (refused, why.get("code"), status, value.get("site")) == (503, "no-quorum", 200, follower)

    def check_member_writes(self):
        def members():
            items = json.loads(self.curl("gro", "/v1/sys/members", admin=True)[2])["items"]
            return {row["node"]: row for row in items}
        wait_until("the members are written down", 120, lambda: members()[1]["wish"] == "any")
        path, of = "/v1/sys/members", "/v1/sys/members/{node}/"
        body = {"node": 7, "site": "new", "link": "127.0.0.1:1", "incarnation": "a" * 32}
        self.refuse(400, "invalid", "post", path, body={**body, "site": "No"})
        self.refuse(409, "conflict", "post", path, body={**body, "node": 3})
        self.refuse(409, "conflict", "post", path, body={**body, "site": "ams"})
        for _ in range(2):  # The same again is a retry.
            self.assertEqual(self.done(202, "post", path, body=body)[1], {"node": 7})
        wait_until("it is a member to be", 120, lambda: members().get(7, {}).get("role") == "standby")
        self.assertEqual(members()[7]["state"], "joining")
        self.done(202, "post", of + "remove", {"node": "7"})
        wait_until("it is gone", 120, lambda: 7 not in members())
        self.refuse(404, "not-found", "post", of + "promote", {"node": "99"})
        for what, node in (("promote", 1), ("auto", 1), ("demote", 6), ("drain", 6), ("auto", 6)):
            self.assertEqual(self.done(202, "post", of + what, {"node": str(node)})[1], {"node": node})
        self.refuse(400, "invalid", "post", of + "weight", {"node": "2"}, body={"weight": 1001})
        self.done(200, "post", of + "weight", {"node": "2"}, body={"weight": 100})
        self.refuse(400, "invalid", "post", "/v1/sys/voters", body={"voters": 2})
        self.done(200, "post", "/v1/sys/voters", body={"voters": 5})
        self.cluster.wait_ready()

    def check_snapshot_writes(self):
        key = [f"idempotency-key: {os.urandom(8).hex()}"]
        fields, begun = self.done(202, "post", "/v1/sys/snapshots", body={}, fields=key, site="utr")
        self.assertEqual(fields["location"], f"/v1/sys/snapshots/{begun['id']}")
        wait_until("the snapshot is confirmed", 120,
                   lambda: json.loads(self.curl("utr", fields["location"], admin=True)[2])["state"] == "confirmed")
        path, values = "/v1/sys/snapshots/{id}/verify", {"id": begun["id"]}
        self.refuse(400, "invalid", "post", path, values, body={"level": 3}, site="utr")
        _, found = self.done(200, "post", path, values, body={"level": 2}, site="utr")
        self.assertTrue(found["ok"], found)
        path = "/v1/sys/snapshots/{id}/checks"
        manifest = json.loads(self.curl("utr", fields["location"], admin=True)[2])["manifest_hash"]
        found = {"level": 4, "ok": True, "manifest_hash": manifest, "text": ""}
        self.refuse(400, "invalid", "post", path, values, body={**found, "text": "but"}, site="utr")
        self.refuse(409, "conflict", "post", path, values, body={**found, "manifest_hash": "0" * 64}, site="utr")
        self.done(204, "post", path, values, body=found, site="utr")
        proven = wait_until("the drill is known", 120, lambda: json.loads(self.curl("ams", "/v1/sys/backups", admin=True)[2])["proven"])
        self.assertEqual((proven["id"], proven["ok"], proven["level"]), (begun["id"], True, 4))
        self.check_pins(values)
        fields, begun = self.done(202, "post", "/v1/sys/snapshots", body={"cycle": True}, fields=[f"idempotency-key: {os.urandom(8).hex()}"])
        self.assertEqual((begun["kind"], begun["cycle"]), ("full", 1))
        wait_until("the first cycle is confirmed", 120,
                   lambda: json.loads(self.curl("ams", fields["location"], admin=True)[2]).get("state") == "confirmed")

    def check_pins(self, values):
        """All sites know of it, and `kluisctl` does the same."""
        c, path = self.cluster, "/v1/sys/snapshots/{id}/pin"
        pinned = lambda site: {row["id"]: row["pinned"] for row in json.loads(c.ctl(site, "-o", "json", "snapshot", "list").stdout)["items"]}[values["id"]]
        self.refuse(404, "not-found", "post", path, {"id": "1"})
        self.refuse(404, "not-found", "delete", path, {"id": "1"})
        self.done(204, "post", path, values)
        wait_until("it is pinned at gro", 120, lambda: pinned("gro"))
        self.assertRegex(c.ctl("gro", "snapshot", "list").stdout, r"PINNED(.|\n)* yes ")
        self.done(204, "delete", path, values)
        wait_until("it is not pinned at gro", 120, lambda: not pinned("gro"))
        c.ctl("rtd", "snapshot", "pin", values["id"])
        wait_until("it is pinned at mst", 120, lambda: pinned("mst"))
        c.ctl("rtd", "snapshot", "unpin", values["id"])
        wait_until("it is not pinned at mst", 120, lambda: not pinned("mst"))
        self.assertEqual(c.ctl("rtd", "snapshot", "pin", "1", check=False).returncode, 10)
        actions = [row["action"] for row in json.loads(self.curl("mst", "/v1/sys/audit", admin=True)[2])["items"]]
        self.assertEqual(actions[:4].count("snapshot_pin"), 4, actions)

    def test_stale_bound_is_a_setting(self):
        self.assertEqual(json.loads(self.curl("mst", "/v1/limits")[2])["stale_ms"], 10000)
        self.cluster.stop("mst")
        settings = self.cluster.site_dir("mst") / "kluisd.ini"
        settings.write_text(settings.read_text().replace("[api]\n", "[api]\nstale_ms = 1500\n", 1))
        self.cluster.start("mst")
        self.assertEqual(json.loads(self.curl("mst", "/v1/limits")[2])["stale_ms"], 1500)
        self.assertEqual(json.loads(self.curl("mst", "/v1/sys/config", admin=True)[2])["api.stale_ms"], "1500")

    def test_token_of_nobody(self):
        for site in SITES:
            self.check_problem(self.curl(site, "/v1/vaults", token="kst_" + "A" * 43), 401, "unauthenticated")

    # --- the receiver ---

    def sftp(self, *lines, key=None):
        """(exit status, what it said) of a batch; a line that fails ends it."""
        here = self.cluster.site_dir(RECEIVER)
        key = key or self.cluster.site_dir(SENDER) / "ship_ed25519"
        known = self.cluster.top / "known"
        known.write_text(f"[127.0.0.1]:{self.port()} {(here / 'sshd' / 'host_ed25519.pub').read_text()}")
        batch = self.cluster.top / "batch"
        batch.write_text("\n".join(lines) + "\n")
        done = subprocess.run(["sftp", "-b", str(batch), "-P", str(self.port()), "-i", str(key), *self.ssh_options(known),
                               f"{getpass.getuser()}@127.0.0.1"], capture_output=True, text=True, timeout=150)
        return done.returncode, done.stdout + done.stderr

    def port(self):
        return self.cluster.base_port + 20 + SITES.index(RECEIVER)

    def ssh_options(self, known):
        return ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}",
                "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes"]

    def test_receiver_only_takes(self):
        drop = self.cluster.site_dir(RECEIVER) / "drop" / SENDER / "incoming"
        source, other = self.cluster.top / "source", self.cluster.top / "other"
        source.write_bytes(os.urandom(100000))
        other.write_bytes(b"other")
        target = f"{drop}/probe"
        code, said = self.sftp(f"put {source} {target}", f"ls -l {drop}")
        self.assertEqual(code, 0, said)
        self.assertIn("probe", said)
        self.assertEqual((drop / "probe").read_bytes(), source.read_bytes())
        self.assertEqual((drop / "probe").stat().st_mode & 0o777, 0o400)
        back = self.cluster.top / "back"
        denied = [f"get {target} {back}", f"rm {target}", f"rename {target} {target}2", f"put {other} {target}", f"reput {other} {target}",
                  f"chmod 600 {target}", f"ln {target} {target}3", f"ln -s {target} {target}4", f"mkdir {drop}/d", f"rmdir {drop}",
                  f"get {self.cluster.site_dir(RECEIVER)}/secrets {back}"]
        for line in denied:
            with self.subTest(line.replace(str(self.cluster.top), "")):
                if os.geteuid() == 0 and line.startswith(("put", "reput")):
                    continue  # Root may write to a file of mode 0400: the chrooted receiver, whose users are not root, is tested apart.
                code, said = self.sftp(line)
                self.assertNotEqual(code, 0, said)
                self.assertFalse(back.exists() and back.stat().st_size > 0, "something was read")
                self.assertEqual((drop / "probe").read_bytes(), source.read_bytes())
                self.assertEqual((drop / "probe").stat().st_mode & 0o777, 0o400)
                back.unlink(missing_ok=True)
        self.assertEqual(sorted(p.name for p in drop.iterdir() if p.name.startswith(("probe", "d"))), ["probe"])

    def test_receiver_lets_nobody_else_in(self):
        key = self.cluster.top / "stranger_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=150)
        code, said = self.sftp("ls", key=key)
        self.assertNotEqual(code, 0)
        self.assertIn("Permission denied", said)

    def test_receiver_runs_nothing(self):
        """A command asked for is not run, and no port is forwarded."""
        here, known = self.cluster.site_dir(RECEIVER), self.cluster.top / "known"
        known.write_text(f"[127.0.0.1]:{self.port()} {(here / 'sshd' / 'host_ed25519.pub').read_text()}")
        ssh = ["ssh", "-p", str(self.port()), "-i", str(self.cluster.site_dir(SENDER) / "ship_ed25519"), *self.ssh_options(known)]
        user = f"{getpass.getuser()}@127.0.0.1"
        mark = self.cluster.top / "mark"
        done = subprocess.run([*ssh, user, f"touch {mark}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=150)
        self.assertFalse(mark.exists(), done)
        target = f"127.0.0.1:{self.cluster.base_port}"
        done = subprocess.run([*ssh, "-W", target, user], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("prohibited", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
