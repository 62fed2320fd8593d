#!/usr/bin/env python3
"""Records what a browser and its virtual authenticators answer (Chrome DevTools protocol, domain WebAuthn).

  tests/vectors/record_webauthn.py CHROMIUM_HEADLESS_SHELL    writes webauthn-chromium.json beside this file

A development tool: no test needs a browser. Challenges are SHA-256 of names below; keys and credential ids are the browser's own.
"""
import base64
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

PRESENT = {"automaticPresenceSimulation": True}
KEYS = [  # name, COSE algorithm, user verification, assertions, the virtual authenticator
    ("ctap2 over USB", -7, "discouraged", 3, {"protocol": "ctap2", "ctap2Version": "ctap2_0", "transport": "usb"}),
    ("ctap2.1 platform, user verified, backed up", -7, "required", 2,
     {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
      "isUserVerified": True, "defaultBackupEligibility": True, "defaultBackupState": True}),
    ("u2f over USB", -7, "discouraged", 3, {"protocol": "u2f", "transport": "usb"}),
    ("ctap2.1, RS256", -257, "discouraged", 1, {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "usb"}),
    ("ctap2.1, EdDSA", -8, "discouraged", 1, {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "usb"}),
]
RP_ID = "localhost"  # The one name that is a secure context without a certificate.
LIBRARY = """
const text = (x) => btoa(String.fromCharCode(...new Uint8Array(x))).replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
const bytes = (t) => Uint8Array.from(atob(t.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
"""
CREATE = """
const key = await navigator.credentials.create({publicKey: {rp: {id: o.rp_id, name: "Kluis"}, challenge: bytes(o.challenge),
	user: {id: bytes("AAECAwQFBgcICQoLDA0ODw"), name: "anna", displayName: "anna"}, attestation: "none",
	pubKeyCredParams: [{type: "public-key", alg: o.algorithm}], authenticatorSelection: {userVerification: o.verification}}});
return {credential_id: text(key.rawId), client_data: text(key.response.clientDataJSON), auth_data: text(key.response.getAuthenticatorData())};
"""
GET = """
const key = await navigator.credentials.get({publicKey: {rpId: o.rp_id, challenge: bytes(o.challenge),
	allowCredentials: [{type: "public-key", id: bytes(o.credential_id)}], userVerification: o.verification}});
return {client_data: text(key.response.clientDataJSON), auth_data: text(key.response.authenticatorData), signature: text(key.response.signature)};
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Kluis</title>")

    def log_message(self, *_):
        pass


class Browser:
    """The DevTools protocol through the pipe that the browser has as descriptors 3 and 4: JSON, each ended by a zero byte."""

    def __init__(self, program, profile):
        to_it, self.out = os.pipe()
        self.inp, from_it = os.pipe()

        def child():
            high = os.dup(to_it), os.dup(from_it)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen([program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}",
                                         "about:blank"], preexec_fn=child, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(to_it)
        os.close(from_it)
        self.id, self.read, self.session, self.events = 0, b"", None, []

    def message(self):
        while b"\0" not in self.read:
            data = os.read(self.inp, 65536)
            if not data:
                raise SystemExit("the browser is gone")
            self.read += data
        one, self.read = self.read.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.id += 1
        request = {"id": self.id, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.id:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer.get("method"))

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.events:
            self.events.append(self.message().get("method"))

    def run(self, script, options):
        code = f"(async () => {{ const o = {json.dumps(options)}; {LIBRARY} {script} }})()"
        done = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise SystemExit(done["exceptionDetails"])
        return done["result"]["value"]


def challenge(*words):
    return base64.urlsafe_b64encode(hashlib.sha256(" ".join(["kluis recorded", *map(str, words)]).encode()).digest()).decode().rstrip("=")


def record(browser, origin, name, algorithm, verification, count, authenticator):
    device = browser.call("WebAuthn.addVirtualAuthenticator", options=authenticator | PRESENT)["authenticatorId"]
    options = {"rp_id": RP_ID, "challenge": challenge(name, "create"), "algorithm": algorithm, "verification": verification}
    created = {"challenge": options["challenge"]} | browser.run(CREATE, options)
    options["credential_id"] = credential = created.pop("credential_id")
    assertions = []
    for i in range(count):
        options["challenge"] = challenge(name, "get", i)
        assertions.append({"challenge": options["challenge"]} | browser.run(GET, options))
    browser.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=device)
    return {"name": name, "accepted": algorithm == -7, "algorithm": algorithm, "rp_id": RP_ID, "origin": origin, "credential_id": credential,
            "registration": created, "assertions": assertions}


def main():
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://{RP_ID}:{server.server_address[1]}"
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(sys.argv[1], profile)
        version = browser.call("Browser.getVersion")["product"]
        browser.open(origin + "/")
        browser.call("WebAuthn.enable")
        rows = [record(browser, origin, *key) for key in KEYS]
        browser.process.terminate()
        browser.process.wait()
    about = f"Answers of virtual authenticators in {version} (Debian 12), recorded by tests/vectors/record_webauthn.py. Binary members are base64url."
    path = pathlib.Path(__file__).parent / "webauthn-chromium.json"
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


main()
