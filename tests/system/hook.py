"""A receiver of webhooks that checks signatures as docs/streams.md says, and behaves as badly as it
is told."""

import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time


class Hook:
    """`behave(number)` is called for each delivery, may take its time, and returns the status of the
    answer, or None for none at all. `tls`: a folder with a certificate and its key, for HTTPS."""

    def __init__(self, secret, behave=lambda number: 204, port=0, tls=None):
        self.secret, self.behave = secret, behave
        self.deliveries = []  # (event's id, event, whether it was taken)
        self.problems = []
        self.headers = {}  # to answer with
        self.body = None  # pieces of a body that is promised to be long
        self.lock = threading.Lock()
        self.closed = False
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.closed:  # a connection that was kept
                    self.close_connection = True
                    return
                hook.check(self.headers, body)
                with hook.lock:
                    number = len(hook.deliveries)
                    hook.deliveries.append([self.headers["X-Inferpool-Event"], json.loads(body),
                                            False])
                status = hook.behave(number)
                if status is None:
                    self.close_connection = True
                    return
                hook.deliveries[number][2] = 200 <= status <= 299
                self.send_response(status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0" if hook.body is None else str(10**9))
                self.end_headers()
                for piece in hook.body or ():
                    self.wfile.write(piece)
                if hook.body is not None:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that breaks off
        self.port = self.server.server_port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/hook"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def check(self, headers, body):
        sent, _, signature = headers["X-Inferpool-Signature"].partition(",v1=")
        right = hmac.new(self.secret, sent[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, signature):
            self.problems.append("a wrong signature")
        if not sent.startswith("t=") or abs(time.time() - int(sent[2:])) > 60:
            self.problems.append(f"a wrong time: {sent}")
        if json.loads(body)["id"] != headers["X-Inferpool-Event"]:
            self.problems.append("another id in the header")
        if headers["Content-Type"] != "application/json":
            self.problems.append(headers["Content-Type"])

    def taken(self):
        """The events that were taken, by their ids."""
        with self.lock:
            return {event: body for event, body, taken in self.deliveries if taken}

    def frames(self):
        """The numbers of the frames that events were taken of."""
        return sorted(event["seq"] for event in self.taken().values())

    def close(self):
        self.closed = True
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
