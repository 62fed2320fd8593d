"""A small client of GET /v1/events: WebSockets (RFC 6455) and requests that wait."""
import base64
import http.client
import json
import os
import select
import socket
import ssl
import struct
import urllib.parse

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Closed(Exception):
    """The server closed; code as RFC 6455 section 7.1.5."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


def context_for(ca):
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False  # The address is a number; the CA is the cluster's own.
    return context


def where(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


class Connection(http.client.HTTPSConnection):
    """One that stays, for calls with a token."""

    def __init__(self, url, context, token, source=None):
        super().__init__(*where(url), context=context, timeout=150, source_address=source)
        self.token = token

    def call(self, method, path, body=None, **fields):
        """(status, fields, JSON or bytes)"""
        headers = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): value for name, value in fields.items()}}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/octet-stream"
        elif body is not None:
            headers["Content-Type"], body = "application/json", json.dumps(body)
        self.request(method, path, body=body, headers=headers)
        answer = self.getresponse()
        data = answer.read()
        kind = answer.headers.get("Content-Type", "")
        return answer.status, answer.headers, json.loads(data) if "json" in kind else data

    def ticket(self):
        status, _, value = self.call("POST", "/v1/events/ticket")
        assert status == 201, value
        return value["ticket"]

    def wait(self, since=None, wait_ms=0):
        return self.call("GET", f"/v1/events?wait_ms={wait_ms}" + (f"&since={since}" if since else ""))


class Socket:
    """A WebSocket of whoever the ticket was given to."""

    def __init__(self, url, context, ticket, since=None, source=None):
        host, port = where(url)
        self.raw = context.wrap_socket(socket.create_connection((host, port), timeout=150, source_address=source), server_hostname=host)
        key = base64.b64encode(os.urandom(16)).decode()
        target = f"/v1/events?ticket={ticket}" + (f"&since={since}" if since else "")
        self.raw.sendall((f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.buffer = b""
        head = self.until(b"\r\n\r\n").decode()
        self.status = int(head.split()[1])
        if self.status != 101:
            self.raw.close()
            raise OSError(head)

    def fill(self):
        data = self.raw.recv(65536)
        if not data:
            raise Closed(1006)
        self.buffer += data

    def until(self, end):
        while end not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(end)
        return head

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, opcode, payload=b""):
        mask = os.urandom(4)
        assert len(payload) < 126
        self.raw.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def frame(self):
        first, length = self.take(2)
        assert first & 0xf0 == 0x80 and length <= 126, (first, length)
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        return first & 0x0f, self.take(length)

    def next(self):
        """The next event, pings answered."""
        while True:
            opcode, payload = self.frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if payload else 1005)
            else:
                assert opcode == TEXT, opcode
                return json.loads(payload)

    def quiet(self, seconds):
        """Nothing comes for so long."""
        return not self.buffer and not self.raw.pending() and not select.select([self.raw], [], [], seconds)[0]

    def close(self):
        self.raw.close()
