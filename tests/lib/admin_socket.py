"""A node's admin socket, by HTTP: a connection that may be asked more than once."""
import http.client
import json
import socket


class AdminConnection(http.client.HTTPConnection):
    """path: the socket's; timeout: seconds that an answer may take."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))

    def get(self, path, parse=json.loads):
        """(HTTP status, what parse makes of the body). OSError, ValueError, http.client.HTTPException: no answer."""
        self.request("GET", path)
        answer = self.getresponse()
        return answer.status, parse(answer.read())
