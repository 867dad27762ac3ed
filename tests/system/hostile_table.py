"""Tables of hostile inputs: each row says what is sent and the exact status that comes back."""

import struct
import zlib

import processes
from harness import EnduringTest
from pictures import png_chunk

MIB = 1024 * 1024
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

OK = (200, None)
BAD_REQUEST = (400, "bad-request")
BAD_PARAMETER = (400, "bad-parameter")
UNKNOWN_MODEL = (404, "unknown-model")
UNKNOWN_ROUTE = (404, "unknown-route")
TOO_LARGE = (413, "body-too-large")
TOO_MANY = (413, "too-many-images")
UNSUPPORTED = (415, "unsupported-media")
BAD_PICTURE = (422, "bad-picture")
# nginx's own judgements, which it names after their status.
BY_NGINX = (400, "bad-request")
NOT_IMPLEMENTED = (501, None)


def png(width, height, rows, depth=8, colour=0, before=b"", interlace=0, parts=1):
    """A PNG whose header says what it is told to, and whose IDAT holds `rows`, compressed."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = zlib.compress(rows, 9) if isinstance(rows, bytes) else rows()
    size = max(1, -(-len(data) // parts))
    return (PNG_SIGNATURE + png_chunk(b"IHDR", header) + before
            + b"".join(png_chunk(b"IDAT", data[i:i + size]) for i in range(0, len(data), size))
            + png_chunk(b"IEND", b""))


def zeros(count):
    """So many zeros, compressed, without ever having them."""
    packer = zlib.compressobj(9)
    block = bytes(MIB)
    packed = b"".join(packer.compress(block) for _ in range(count // MIB))
    return packed + packer.compress(bytes(count % MIB)) + packer.flush()


def bomb():
    """A whole, valid PNG of 30,000 x 30,000 pixels in 110 KB: one bit each, all black."""
    return png(30_000, 30_000, lambda: zeros(30_000 * (1 + 30_000 // 8)), depth=1)


class HostileTableTest(EnduringTest):
    """After each row the same workers serve, and after each table none of them has ever had more memory
    than the table allows."""

    SETTINGS = {"limits.body_mb": 50, "timeouts.io_s": 5, "nginx.rate_per_s": 0, "limits.queue_ms": 0}
    JSON = "application/json"
    EDGE = "multipart/form-data; boundary=edge"

    def check(self, answer, expected, seconds=45):
        status, kind = expected
        if status == 200:
            body = self.assert_good(answer)
        else:
            body = self.assert_problem(answer, status, kind)
        self.assertLess(answer.seconds, seconds)
        for name, value in answer.headers.items():
            self.assertNotIn("evil", f"{name}: {value}".lower())
        self.assertEqual(self.pids, self.instance.workers())
        return body

    def table(self, rows, send, most_mib):
        """Each row: name, what is sent, what comes back. No worker may grow by more than `most_mib`."""
        before = {pid: processes.peak_memory_kib(pid) for pid in self.pids}
        for name, what, expected in rows:
            with self.subTest(name):
                self.check(send(what() if callable(what) else what), expected)
        self.assertEqual(0, self.instance.crashes())
        for pid, peak in before.items():
            self.assertLess(processes.peak_memory_kib(pid) - peak, most_mib * 1024)

    def send_form(self, body):
        return self.send(body, self.EDGE)

    def send_json(self, body):
        return self.send(body if isinstance(body, bytes) else body.encode(), self.JSON)

    def send_raw(self, data):
        return self.instance.raw(data)
