"""A few kilobytes that cost seconds: whoever sends them waits or is refused, nobody else is harmed."""

import concurrent.futures
import contextlib
import gzip
import http.client
import json
import statistics
import struct
import threading
import time
import unittest
import zlib

from chaos import ChaosTest  # it knows where the helpers are
import http_client
import processes

MOST_P99_S = 2
MOST_RESIDENT_KIB = 1 << 20
INNOCENTS = 10
SHAPES = "/v2/models/shapes/infer"


def packed_ones(shape, datatype, mebi=50, name="images"):
    """A request of so many MiB of JSON, "1,1,1,...", in some 51 KB."""
    head = json.dumps({"inputs": [{"name": name, "datatype": datatype, "shape": shape}]})[:-3]
    count = ((mebi << 20) - len(head) - 64) // 2
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = [packer.compress(f'{head}, "data": ['.encode())]
    piece = b"1," * (1 << 16)
    for _ in range(count >> 16):
        body.append(packer.compress(piece))
    body += [packer.compress(b"1]}]}"), packer.flush()]
    return b"".join(body)


def plain_png(side):
    """16-bit pixels of one colour: some 400 KB for 50 million."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer = zlib.compressobj(9)
    row = bytes(1 + 6 * side)
    data = b"".join([packer.compress(row) for _ in range(side)] + [packer.flush()])
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
            + chunk(b"IDAT", data) + chunk(b"IEND", b""))


class Resident(threading.Thread):
    """The most memory that the pool's processes had together."""

    def __init__(self, pool):
        super().__init__(daemon=True)
        self.pool, self.most_kib, self.stopping = pool, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopping.wait(0.1):
            total = 0
            for pid in processes.session(self.pool.session):
                with contextlib.suppress(OSError, ProcessLookupError):
                    total += processes.proportional_memory_kib(pid)
            self.most_kib = max(self.most_kib, total)

    def stop(self):
        self.stopping.set()
        self.join()
        return self.most_kib


class HeavyTest(ChaosTest):
    def setUp(self):
        self.begin({"workers": 2, "threads": 8})

    def post(self, target, body, headers):
        return self.pool.request("POST", target, body, headers)

    @contextlib.contextmanager
    def innocents(self):
        """Ten clients meanwhile, all of whom are answered, in time; nothing is quarantined, no
        worker is replaced, and memory stays within bounds."""
        workers = self.pool.workers()
        resident = Resident(self.pool)
        with self.chaos(clients=INNOCENTS) as (load, _):
            before = len(load.right)
            yield
            during = [answer.seconds for _, answer in load.right[before:]]
        most_kib = resident.stop()
        p99 = statistics.quantiles(during, n=100)[-1]
        print(f"p99 {p99:.2f} s of {len(during)}, {most_kib >> 10} MiB ", end="", flush=True)
        self.assertLess(p99, MOST_P99_S)
        self.assertLess(most_kib, MOST_RESIDENT_KIB)
        self.assertEqual([], self.pool.status()["quarantine"])
        self.assertEqual(workers, self.pool.workers())
        self.assertEqual(0, self.pool.crashes())
        self.assertEqual(0, self.pool.metrics().value("inferpool_heavy_bytes"))

    def attack(self, count, target, body, headers):
        """The answers to so many at once."""
        with concurrent.futures.ThreadPoolExecutor(count) as attackers:
            return list(attackers.map(lambda _: self.post(target, body, headers), range(count)))

    def assert_refused(self, answers):
        """All of them, and not for want of room alone: some were read."""
        statuses = {answer.status for answer in answers}
        self.assertLessEqual(statuses, {400, 503})
        self.assertIn(400, statuses)

    def test_tensors_that_the_model_does_not_take(self):
        packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        count = ((50 << 20) // 2) - 200
        with self.innocents():
            for shape, datatype in (([count], "FP64"), ([1, 3, 320, 320], "FP64")):
                self.assert_refused(self.attack(24, SHAPES, packed_ones(shape, datatype), packed))

    def test_a_trailer_that_names_fewer_bytes_than_there_are(self):
        """Nobody would count them: they must not be unpacked either."""
        liar = packed_ones([10], "FP32")[:-4] + bytes(4)
        with self.innocents():
            for target in (SHAPES, "/v2/repository/index"):
                answers = self.attack(24, target, liar, {"Content-Encoding": "gzip"})
                self.assertEqual({400}, {answer.status for answer in answers})

    def test_an_index_of_fifty_megabytes(self):
        with self.innocents():
            answers = self.attack(24, "/v2/repository/index", packed_ones([10], "FP32"),
                                  {"Content-Encoding": "gzip"})
            self.assertEqual({413}, {answer.status for answer in answers})

    def test_tensors_for_a_model_that_does_not_exist(self):
        with self.innocents():
            answers = self.attack(16, "/v2/models/nosuch/infer", packed_ones([10], "FP64"),
                                  {"Content-Encoding": "gzip"})
            self.assertEqual({404}, {answer.status for answer in answers})
            self.assertLess(max(answer.seconds for answer in answers), MOST_P99_S)

    def test_tensors_that_are_as_said_until_their_end(self):
        """The model takes such an input; there are only far more elements than its shape has."""
        body = packed_ones([1, 3, 320, 320], "FP32")
        with self.innocents():
            self.assert_refused(self.attack(24, SHAPES, body, {"Content-Encoding": "gzip"}))

    def test_pictures_of_fifty_megapixels(self):
        picture = plain_png(7071)
        with self.innocents():
            answers = self.attack(24, "/v1/predict/shapes", picture, {"Content-Type": "image/png"})
            statuses = [answer.status for answer in answers]
            self.others_right = statuses.count(200)
            self.assertLessEqual(set(statuses), {200, 503})
            self.assertGreaterEqual(self.others_right, 4)
            for answer in answers:
                if answer.status == 503:
                    self.assert_problem(answer, 503, "overloaded")
        self.assertEqual(200, self.post("/v1/predict/shapes", picture,
                                        {"Content-Type": "image/png"}).status)

    def test_a_large_picture_of_another_client(self):
        """One client floods; another one's large picture has its turn all the same."""
        picture = plain_png(4200)
        headers = {"Content-Type": "image/png"}
        stop, lock = threading.Event(), threading.Lock()

        def flood():
            while not stop.is_set():
                answer = self.post("/v1/predict/shapes", picture, headers)
                with lock:
                    self.others_right += answer.status == 200
                time.sleep(0.1 if answer.status == 200 else 0.5)
        flooding = [threading.Thread(target=flood, daemon=True) for _ in range(20)]
        with self.innocents():
            for thread in flooding:
                thread.start()
            time.sleep(1)
            for _ in range(3):
                connection = http.client.HTTPSConnection(
                    "localhost", self.pool.port, context=self.pool.context,
                    source_address=("127.0.0.2", 0), timeout=60)
                answer = http_client.request(connection, "POST", "/v1/predict/shapes", picture, headers)
                self.assertEqual(200, answer.status, answer.body)
                with lock:
                    self.others_right += 1
            stop.set()
            for thread in flooding:
                thread.join()

    def test_large_bodies(self):
        """Bodies that are read by nobody take memory all the same."""
        body = gzip.compress(b"x" * 100) + bytes(45 << 20)
        with self.innocents():
            self.assert_refused(self.attack(12, SHAPES, body, {"Content-Encoding": "gzip"}))


if __name__ == "__main__":
    unittest.main()
