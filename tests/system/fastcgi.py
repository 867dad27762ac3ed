"""A FastCGI client (FastCGI Specification 1.0): speaks to the workers as nginx would, or worse."""

import email.parser
import socket
import struct

from http_client import Answer

BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
RESPONDER = 1


def record(kind, content=b"", request_id=1):
    """One record; `content` of at most 65535 bytes."""
    return struct.pack(">BBHHBB", 1, kind, request_id, len(content), 0, 0) + content


def stream(kind, content, end=True):
    """A stream of records and, unless it shall stay open, the empty one that ends it."""
    records = b"".join(record(kind, content[i:i + 65535]) for i in range(0, len(content), 65535))
    return records + (record(kind) if end else b"")


def begin(role=RESPONDER, flags=0):
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, flags))


def pair(name, value):
    def length(text):
        return bytes([len(text)]) if len(text) < 128 else struct.pack(">I", len(text) | 0x80000000)
    name, value = (text if isinstance(text, bytes) else text.encode() for text in (name, value))
    return length(name) + length(value) + name + value


def parameters(method="POST", uri="/v1/predict/faces_cascade", content_type="image/jpeg",
               content_length=None, **more):
    """What nginx sends; a value of None is left out."""
    values = {"REQUEST_METHOD": method, "REQUEST_URI": uri, "CONTENT_TYPE": content_type,
              "CONTENT_LENGTH": content_length, "REMOTE_ADDR": "127.0.0.1", **more}
    return {name: value if isinstance(value, bytes) else str(value)
            for name, value in values.items() if value is not None}


def encode(values):
    return b"".join(pair(name, value) for name, value in values.items())


def connect(path, timeout_s=60):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def read_records(connection):
    """All records until the end of the connection, as (type, content)."""
    data = b""
    try:
        while block := connection.recv(65536):
            data += block
    except ConnectionError:
        pass
    records = []
    while len(data) >= 8:
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", data[:8])
        if len(data) < 8 + length:
            break
        records.append((kind, data[8:8 + length]))
        data = data[8 + length + padding:]
    return records


def read_answer(connection):
    """The worker's answer; none when it closed the connection without a whole one."""
    records = read_records(connection)
    if END_REQUEST not in (kind for kind, _ in records):
        return None
    output = b"".join(content for kind, content in records if kind == STDOUT)
    head, separator, body = output.partition(b"\r\n\r\n")
    if not separator:
        return None
    headers = email.parser.BytesParser().parsebytes(head + b"\r\n\r\n", headersonly=True)
    return Answer(int(headers["Status"].split()[0]), headers, body)


def exchange(path, data, timeout_s=60):
    """Sends bytes, all that the worker takes of them, and reads its answer."""
    with connect(path, timeout_s) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # it answered before it had read everything
        return read_answer(connection)


def request(path, body=b"", timeout_s=60, **named):
    """A request as nginx sends it. `named`: see parameters()."""
    named.setdefault("content_length", len(body))
    data = begin() + stream(PARAMS, encode(parameters(**named))) + stream(STDIN, body)
    return exchange(path, data, timeout_s)
