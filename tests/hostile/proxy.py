"""A node that lies: speaks for a cluster under its certificate, asks the real one, and changes what it wants to.

An attack is a function of an exchange. It may have the request answered by the node, or by another one (`pass_on`), look at
and change the answer, drop or make up requests, and says by `bite` that it did something: a lie that was not told proves
nothing, and the test that told it fails."""
import base64
import contextlib
import json
import re
import socket
import ssl
import threading

HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}


class Exchange:
    def __init__(self, proxy, method, target, fields, sent):
        self.proxy, self.method, self.target, self.fields, self.sent = proxy, method, target, fields, sent
        self.path = target.split("?")[0]
        self.status, self.headers, self.body, self.raw = None, [], b"", None

    def matches(self, method, pattern):
        return self.method == method and re.fullmatch(pattern, self.path) is not None

    def pass_on(self, node=None):
        """Has a node answer it. One that does not know the session is told that it is one that it knows: it would not ask."""
        node = node or self.proxy.node
        fields = {name: value for name, value in self.fields if name.lower() != "host"}
        if "Authorization" in fields:
            self.proxy.bearer = fields["Authorization"]
            fields["Authorization"] = node.bearer or fields["Authorization"]
        connection = node.connect()
        try:
            connection.request(self.method, self.target, self.sent or None, fields)
            answer = connection.getresponse()
            self.status, self.body = answer.status, answer.read()
            self.headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        finally:
            connection.close()

    def answer(self, status, body=b"", kind="application/json", headers=()):
        """An answer of our own. A dict becomes JSON."""
        self.status, self.body = status, json.dumps(body).encode() if isinstance(body, dict) else body
        self.headers = [("Content-Type", kind), *headers]

    def problem(self, status, code):
        self.answer(status, {"type": "about:blank", "title": code, "status": status, "code": code, "detail": "says the proxy", "retryable": False})

    def bite(self):
        self.proxy.count(self)

    @property
    def json(self):
        return json.loads(self.body)

    @json.setter
    def json(self, value):
        self.body = json.dumps(value).encode()

    def field(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def wire(self):
        lines = [f"HTTP/1.1 {self.status} Lie", *(f"{name}: {value}" for name, value in self.headers)]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {self.field('Content-Length') if self.method == 'HEAD' else len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if self.method == "HEAD" else self.body)


class Proxy:
    def __init__(self, certificates):
        self.node, self.attack, self.bites, self.paths, self.bearer, self.lock = None, None, 0, [], None, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.certificates(certificates)
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def certificates(self, directory):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(directory / "api.pem"), str(directory / "api.key"))
        self.context = context

    def close(self):
        self.ended.set()
        self.listener.close()

    def count(self, exchange):
        with self.lock:
            self.bites += 1
            self.paths.append(f"{exchange.method} {exchange.path}")

    @contextlib.contextmanager
    def lying(self, attack):
        """While it lasts every exchange goes through the attack; gives what tells how often it bit."""
        with self.lock:
            self.bites, self.paths = 0, []
        self.attack = attack
        try:
            yield self
        finally:
            self.attack = None

    # --- connections ---

    def accept(self):
        while not self.ended.is_set():
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        plain.settimeout(120)
        with contextlib.suppress(OSError, ValueError), self.context.wrap_socket(plain, server_side=True) as tls:
            rest = b""
            while not self.ended.is_set():
                exchange, rest = self.read(tls, rest)
                if exchange is None:
                    return
                self.work(exchange)
                if exchange.raw is not None:  # Bytes, and the end of the connection.
                    for part in exchange.raw:
                        tls.sendall(part)
                    return
                tls.sendall(exchange.wire())
        plain.close()

    def read(self, tls, rest):
        while b"\r\n\r\n" not in rest:
            data = tls.recv(65536)
            if not data:
                return None, b""
            rest += data
        head, rest = rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
        while len(rest) < length:
            data = tls.recv(65536)
            if not data:
                return None, b""
            rest += data
        return Exchange(self, method, target, fields, rest[:length]), rest[length:]

    def work(self, exchange):
        attack = self.attack
        if attack is not None:
            attack(exchange)
        if exchange.status is None and exchange.raw is None:
            exchange.pass_on()


# --- attacks of more than one use ---

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def flip(data, at):
    """One bit of a byte; from the end if negative."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x04]) + data[at + 1:]


def edit(method, pattern, change):
    """Whatever `change(exchange)` makes of what the node answered well."""
    def attack(x):
        if x.matches(method, pattern):
            x.pass_on()
            before = x.status, x.headers[:], x.body
            if x.status < 300:
                change(x)
            if (x.status, x.headers, x.body) != before:
                x.bite()
    return attack


def edit_json(method, pattern, change):
    """`change(object)` changes it in place."""
    def inner(x):
        value = x.json
        before = json.dumps(value)
        change(value)
        if json.dumps(value) != before:
            x.json = value
    return edit(method, pattern, inner)


def reroute(node, *patterns):
    """Requests to these paths are answered by another node."""
    def attack(x):
        if any(re.fullmatch(pattern, x.path) for pattern in patterns):
            x.pass_on(node)
            x.bite()
    return attack


def refuse(status, code, *patterns, method=None):
    """These are answered without the node."""
    def attack(x):
        if (method is None or x.method == method) and any(re.fullmatch(pattern, x.path) for pattern in patterns):
            x.problem(status, code)
            x.bite()
    return attack


def both(*attacks):
    def attack(x):
        for one in attacks:
            if x.status is None and x.raw is None:
                one(x)
    return attack
