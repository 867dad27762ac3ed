"""HTTP as clients speak it to nginx, in order and out of order."""

import http.client
import json
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from email.message import Message


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes
    seconds: float = 0

    def header(self, name):
        return self.headers.get(name)

    def json(self):
        return json.loads(self.body.decode("utf-8"))

    @property
    def detections(self):
        return self.json()["detections"]


def request(connection, method, target, body=None, headers=None):
    """One request on an http.client connection, which is closed afterwards."""
    begin = time.monotonic()
    try:
        headers = headers or {}
        connection.request(method, target, body=body, headers=headers,
                           encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read(), time.monotonic() - begin)
    finally:
        connection.close()


def multipart(fields, boundary=None):
    """(body, Content-Type) of a form. A field is (name, content) or (name, content, file name)."""
    boundary = boundary or "form-" + secrets.token_hex(8)
    body = b""
    for name, content, *filename in fields:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if filename:
            body += f'; filename="{filename[0]}"\r\nContent-Type: application/octet-stream'.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def connect_tls(port, context, timeout_s):
    plain = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def read_answer(connection, method="GET"):
    """The answer to what was written on a raw connection; none when it was closed without one."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    except (http.client.BadStatusLine, ConnectionError, ssl.SSLError):
        return None
    finally:
        response.close()


# ---------------------------------------------------------------- HTTP/2, just enough for a GET

_HTTP2_SETTINGS, _HTTP2_GOAWAY, _HTTP2_HEADERS, _HTTP2_DATA, _HTTP2_RESET, _HTTP2_WINDOW = 4, 7, 1, 0, 3, 8
_HTTP2_CONTINUATION = 9


def _frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _http2_field(name, value):
    """A plain literal of HPACK (RFC 7541, 6.2.2)."""
    def text(data):
        if len(data) < 127:
            return bytes([len(data)]) + data
        length, rest = b"\x7f", len(data) - 127
        while rest >= 128:
            length += bytes([rest % 128 + 128])
            rest //= 128
        return length + bytes([rest]) + data
    return b"\0" + text(name) + text(value)


def _http2_fields(path, headers):
    return b"".join(_http2_field(name, value) for name, value in (
        (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path.encode()),
        *headers))


def _http2_ask(fields, stream=1):
    """A request without a body, its fields in as many frames as they need."""
    pieces = [fields[at:at + 16_384] for at in range(0, len(fields), 16_384)]
    frames = b""
    for index, piece in enumerate(pieces):
        first, last = index == 0, index == len(pieces) - 1
        frames += _frame(_HTTP2_HEADERS if first else _HTTP2_CONTINUATION, (0x1 if first else 0) | (0x4 if last else 0),
                         stream, piece)
    return frames


def http2_many(port, context, path, count, in_flight, timeout_s=60):
    """How many of `count` GETs on one connection are answered, `in_flight` of them at a time; what is
    on its way when the server ends the connection is lost, as it is to clients that do not ask again."""
    block = _http2_fields(path, ())
    with connect_tls(port, context, timeout_s) as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_HTTP2_SETTINGS, 0, 0, b"")
                    + _frame(_HTTP2_WINDOW, 0, 0, struct.pack(">I", 0x7FFF0000)))
        stream = tls.makefile("rb")
        asked, answered = 0, 0
        last_stream = 2 * count  # of those that the server takes
        while answered < min(count, (last_stream + 1) // 2):
            while asked < count and asked - answered < in_flight:
                try:
                    tls.sendall(_frame(_HTTP2_HEADERS, 0x5, 2 * asked + 1, block))
                except OSError:
                    return answered
                asked += 1
            head = stream.read(9)
            if len(head) < 9:
                break
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == _HTTP2_GOAWAY:
                last_stream = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
            elif head[3] in (_HTTP2_HEADERS, _HTTP2_DATA) and head[4] & 1:
                answered += 1
        return answered


def http2_get(port, context, path, timeout_s=60, headers=()):
    """(status 200?, body) of a GET over HTTP/2 (RFC 9113), its header fields as plain literals.
    `headers`: pairs of bytes, sent as they are."""
    fields = _http2_fields(path, headers)
    with connect_tls(port, context, timeout_s) as tls:
        assert tls.selected_alpn_protocol() == "h2", tls.selected_alpn_protocol()
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_HTTP2_SETTINGS, 0, 0, b"")
                    + _http2_ask(fields))
        stream = tls.makefile("rb")
        good, body = None, b""
        while True:
            head = stream.read(9)
            assert len(head) == 9, "the connection ended in mid-answer"
            length = int.from_bytes(head[:3], "big")
            kind, flags = head[3], head[4]
            payload = stream.read(length)
            assert kind not in (_HTTP2_GOAWAY, _HTTP2_RESET), f"frame of type {kind}: {payload!r}"
            if kind == _HTTP2_HEADERS:
                # HPACK: entry 8 of the static table is ":status: 200"; a size update may precede it.
                good = 0x88 in payload[:3]
            elif kind == _HTTP2_DATA:
                body += payload
            if kind in (_HTTP2_HEADERS, _HTTP2_DATA) and flags & 1:
                return good, body
