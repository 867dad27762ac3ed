"""A proxy between a client and a pool that does what it is told to with each request."""

import http.client
import http.server
import json
import random
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from harness import tls_context


def problem(code, status):
    return json.dumps({"type": f"/docs/errors#{code}", "code": code, "title": code, "status": status,
                       "detail": "by the proxy", "request_id": "proxy"}).encode()


@dataclass
class Request:
    method: str
    path: str
    headers: dict  # their names in small letters
    body: bytes = b""
    left: bool = False  # the client closed the connection before it had an answer
    time: float = field(default_factory=time.monotonic)


class BadProxy:
    """Forwards to `instance`. `faults` are for the next requests, one each; `always` is for all others:

        ("answer", status, headers, body)
        ("delay", seconds)              before it is forwarded
        ("cut",)                        no answer
        ("cut upload",)                 when half of the body has come
        ("cut answer",)                 when half of the answer has gone
        ("drip",)                       an answer that never ends
    """

    PATHS = ("/v1/", "/predict/")  # of the requests that are counted, and that faults are for

    def __init__(self, instance, keep_alive=False):
        self.requests = []
        self.connections = 0
        self.faults = []
        self.always = None
        self.paths = self.PATHS
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def setup(self):
                super().setup()
                with outer._lock:
                    outer.connections += 1

            def do_GET(self):
                outer._serve(self, instance, keep_alive)

            do_POST = do_OPTIONS = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.handle_error = lambda *_: None
        self.url = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reset(self, *faults, always=None):
        with self._lock:
            self.requests.clear()
            self.faults = list(faults)
            self.always = always

    def random_faults(self, seed, share):
        """From now on, so many of the requests meet something that passes."""
        generator = random.Random(seed)
        kinds = [("answer", 429, {"Retry-After": "0"}, problem("too-many-requests", 429)),
                 ("answer", 503, {}, problem("overloaded", 503)), ("answer", 502, {}, b"<html>no</html>"),
                 ("delay", 0.3), ("cut",), ("cut upload",), ("cut answer",)]
        self.reset(always=lambda: generator.choice(kinds) if generator.random() < share else None)

    # ------------------------------------------------------------ one request

    def _serve(self, handler, instance, keep_alive):
        request = Request(handler.command, handler.path,
                          {name.lower(): value for name, value in handler.headers.items()})
        fault = None
        if handler.path.startswith(self.paths):
            with self._lock:
                self.requests.append(request)
                fault = self.faults.pop(0) if self.faults else self.always
                fault = fault() if callable(fault) else fault
        kind, *details = fault or ("forward",)
        handler.close_connection = not keep_alive
        length = int(handler.headers.get("Content-Length") or 0)
        if kind == "cut upload":
            request.body = handler.rfile.read(length // 2)
            return self._cut(handler)
        request.body = handler.rfile.read(length)
        if kind == "answer":
            status, headers, body = details
            return self._answer(handler, status, {"Content-Type": "application/problem+json", **headers}, body)
        if kind == "cut":
            return self._cut(handler)
        if kind == "drip":
            return self._drip(handler, request)
        if kind == "delay" and self._left(handler, details[0]):
            request.left = True
            handler.close_connection = True
            return None
        return self._forward(handler, instance, request, kind == "cut answer")

    @staticmethod
    def _left(handler, seconds):
        """Waits; whether the client closed the connection meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([handler.connection], [], [], 0.02)[0]:
                return True
        return False

    def _drip(self, handler, request):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        while not self._left(handler, 0.2):
            handler.wfile.write(b" ")
        request.left = True

    @staticmethod
    def _cut(handler):
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answer(handler, status, headers, body, part=None):
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        if handler.close_connection:
            handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body if part is None else body[:part])

    def _forward(self, handler, instance, request, is_cut):
        connection = http.client.HTTPSConnection("localhost", instance.port, context=tls_context(), timeout=60)
        try:
            sent = {name: value for name, value in request.headers.items()
                    if name not in ("host", "connection", "accept-encoding")}
            connection.request(request.method, request.path, request.body or None, sent)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {name: value for name, value in answer.getheaders()
                   if name.lower() not in ("connection", "content-length", "transfer-encoding",
                                           "strict-transport-security")}
        if is_cut:
            handler.close_connection = True
        self._answer(handler, answer.status, headers, body, len(body) // 2 if is_cut else None)
