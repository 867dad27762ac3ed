"""Insults that the service has to bear: never a 5xx of ours, a crash, a hang or half an answer."""

import concurrent.futures
import random
import socket
import ssl
import struct
import threading
import time
import unittest

import fastcgi
import http_client
import pictures
import processes
from harness import EnduringTest
from http_client import multipart
from pictures import ASTRONAUT

MIB = 1024 * 1024


class HostileTest(EnduringTest):
    # Whom hostile peers delay is not refused for that.
    SETTINGS = {**EnduringTest.SETTINGS, "limits.queue_ms": 0}

    def assert_no_fault_of_ours(self, answer):
        self.assertIsNotNone(answer, "closed without an answer")
        self.assertLess(answer.status, 500, answer.body[:300])
        if answer.status != 200:
            self.assert_problem(answer, answer.status)

    # ------------------------------------------------------------ pictures

    def test_pictures_of_odd_sizes_are_no_problem(self):
        for model in ("faces_cascade", "people", "shapes"):
            for width, height in ((1, 1), (2, 3), (1, 3000), (3000, 1), (19, 24), (63, 127), (64, 128),
                                  (65, 129), (23, 5000)):
                with self.subTest(model=model, width=width, height=height):
                    answer = self.instance.predict(model, pictures.plain(width, height))
                    self.assertEqual({"width": width, "height": height},
                                     self.assert_good(answer)["image"])

    def test_a_picture_close_under_the_pixel_limit_is_answered(self):
        body = pictures.plain(7_000, 7_000, "PNG")
        self.assertEqual(7_000, self.assert_good(self.send(body))["image"]["width"])

    def test_pictures_with_flipped_bytes_do_no_harm(self):
        image = pictures.astronaut().resize((128, 128))
        originals = [pictures.encode(image, "JPEG"), pictures.encode(image, "JPEG", progressive=True),
                     pictures.encode(image, "PNG"), pictures.encode(image.quantize(16), "PNG"),
                     pictures.encode(image, "WEBP"), pictures.encode(image, "WEBP", lossless=True),
                     pictures.stored_with_orientation(image, 6)]

        def send_damaged(seed):
            chance = random.Random(seed)
            data = bytearray(originals[seed % len(originals)])
            for _ in range(chance.choice((1, 3, 30))):
                data[chance.randrange(chance.choice((64, len(data))))] = chance.randrange(256)
            return self.send(bytes(data))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for answer in pool.map(send_damaged, range(210)):
                self.assertIn(answer.status, (200, 415, 422), answer.body[:300])
                self.assert_common_headers(answer)

    # ------------------------------------------------------------ forms

    def test_a_form_of_a_thousand_parts(self):
        nothing_chosen = ("image", b"", "")
        few = multipart([nothing_chosen] * 999 + [("image", ASTRONAUT)])
        self.assert_good(self.send(*few))
        many = multipart([nothing_chosen] * 1_000 + [("image", ASTRONAUT)])
        self.assert_problem(self.send(*many), 400, "bad-request")
        unknown = multipart([(f"field{i}", b"x") for i in range(999)] + [("image", ASTRONAUT)])
        self.assert_problem(self.send(*unknown), 400, "bad-parameter")
        most, content_type = multipart([("", b"")] * 10, "b")
        self.assert_problem(self.send(most[:-7] * 1_000 + b"--b--\r\n", content_type), 400)

    def test_forms_of_nonsense(self):
        edge = "multipart/form-data; boundary=b"
        rng = random.Random(3)
        for name, body, content_type in (
                ("NULs", bytes(100_000), edge),
                ("NUL in a name", b'--b\r\nContent-Disposition: form-data; name="im\0age"\r\n\r\nx\r\n--b--',
                 edge),
                ("delimiters alone", b"\r\n--b" * 100_000, edge),
                ("dashes alone", b"-" * 500_000, "multipart/form-data; boundary=" + "-" * 70),
                ("no disposition", b"--b\r\n\r\n" + ASTRONAUT + b"\r\n--b--", edge),
                ("bare line feeds", b'--b\nContent-Disposition: form-data; name="image"\n\nx\n--b--', edge),
                ("quote without end", b'--b\r\nContent-Disposition: form-data; name="image\r\n\r\nx\r\n--b--',
                 edge),
                ("a thousand header lines", b"--b\r\n" + b"A: b\r\n" * 1000 + b"\r\nx\r\n--b--", edge),
                ("random bytes", b"--b\r\n" + rng.randbytes(100_000), edge),
                ("form in a form", *multipart([("image", multipart([("image", ASTRONAUT)])[0])]))):
            with self.subTest(name):
                answer = self.send(body, content_type)
                self.assertIn(answer.status, (400, 415))
                self.assert_problem(answer, answer.status)

    # ------------------------------------------------------------ HTTP

    def test_headers_without_end(self):
        """nginx reads on for a while, so no reset overtakes its answer."""
        for chunks in (4, 100):
            with self.subTest(chunks=chunks), self.instance.connect_tls() as tls:
                tls.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
                for _ in range(chunks):
                    tls.sendall(b"x" * 10_000)
                self.assert_problem(http_client.read_answer(tls), 431, "head-too-large")

    def requests_of_workers(self):
        return self.instance.metrics().sum("inferpool_requests_total")

    def test_clients_that_leave_in_mid_body(self):
        """No worker hears of them."""
        head = b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        before = self.requests_of_workers()
        for sent in (0, 1, 1000, len(ASTRONAUT) - 1):
            with self.instance.connect_tls() as tls:
                tls.sendall(head % len(ASTRONAUT) + ASTRONAUT[:sent])
        self.assert_face_is_found(self.send(self.FACE))
        self.instance.wait_in_work(0)
        self.assertEqual(before + 1, self.requests_of_workers())

    def test_clients_that_leave_before_their_answer(self):
        for _ in range(20):
            with self.instance.connect_tls() as tls:
                tls.sendall(b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Length: %d\r\n\r\n" % len(self.FACE) + self.FACE)
        self.instance.wait_in_work(0)

    def test_a_body_in_single_bytes(self):
        with self.instance.connect_tls() as tls:
            tls.sendall(b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n")
            for i in range(50):
                tls.sendall(bytes([i]))
                time.sleep(0.002)
            self.assert_problem(http_client.read_answer(tls), 415)

    def test_odd_addresses_get_whole_json(self):
        rng = random.Random(4)
        for i in range(60):
            path = bytes(rng.choice(b"/?&=%+\"\\<>'{}\x7f\x80\xff\xc3(;:@az09.") for _ in range(30))
            if path.startswith(b"?"):
                continue  # the page's address
            with self.subTest(path):
                answer = self.instance.raw(b"GET /" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(answer.status, (400, 404))
                self.assert_problem(answer, answer.status)

    # ------------------------------------------------------------ FastCGI, which nginx would never send

    def exchange(self, data):
        return fastcgi.exchange(self.instance.socket, data)

    def test_fastcgi_of_garbage_is_hung_up_on(self):
        rng = random.Random(5)
        good = fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode(fastcgi.parameters()))
        nonsense = [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", bytes(8), bytes(100_000), b"\xff" * 100_000,
                   fastcgi.begin(role=2), fastcgi.begin(role=99), fastcgi.begin() * 3,
                   fastcgi.record(fastcgi.BEGIN_REQUEST, b"1"), good[:20],
                   fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, b"\xff" * 8),
                   fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, b"\x7f\x7fshort"),
                   fastcgi.begin() + fastcgi.record(2) + good,  # ABORT_REQUEST
                   fastcgi.record(11, bytes(8), 0) * 50]
        nonsense += [rng.randbytes(rng.randrange(200)) for _ in range(50)]
        damaged = []
        for _ in range(100):  # a good beginning with some bytes changed
            data = bytearray(good)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            damaged.append(bytes(data))

        def insult(data):
            with fastcgi.connect(self.instance.socket) as connection:
                try:
                    connection.sendall(data)  # and our end stays open: it is the bytes that are judged
                except ConnectionError:
                    pass
                return fastcgi.read_answer(connection)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertIsNotNone(insult(good), "this one is a request")
            for data, answer in zip(nonsense, pool.map(insult, nonsense)):
                self.assertIsNone(answer, data[:100])
            # Some bytes do not matter, others change what is asked for, or make it no request.
            answers = list(pool.map(insult, damaged))
            self.assertIn(None, answers)
            told = [answer for answer in answers if answer is not None]
            self.assertTrue(told)
            for answer in told:
                self.assertLess(answer.status, 500, answer.body[:300])
                self.assertNotEqual(200, answer.status, "there was no picture")
                self.assert_problem(answer, answer.status)

    def test_fastcgi_without_parameters(self):
        nothing = fastcgi.begin() + fastcgi.record(fastcgi.PARAMS) + fastcgi.record(fastcgi.STDIN)
        self.assert_problem(self.exchange(nothing), 404)
        for left_out in ("REQUEST_METHOD", "REQUEST_URI", "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR"):
            with self.subTest(left_out):
                values = fastcgi.parameters(content_length=len(ASTRONAUT))
                del values[left_out]
                answer = self.exchange(
                    fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode(values))
                    + fastcgi.stream(fastcgi.STDIN, ASTRONAUT))
                self.assert_no_fault_of_ours(answer)

    def test_fastcgi_with_a_bad_length(self):
        for length in ("-1", "+5", "5 ", " 5", "0x10", "1e3", "1.0", "five", "\xff"):
            with self.subTest(length):
                self.assert_problem(self.instance.fastcgi(b"12345", content_length=length), 400,
                                    "bad-request")

    def test_fastcgi_with_half_a_body(self):
        for sent in (0, 1, 8_192, 70_000, len(ASTRONAUT) - 1):
            with self.subTest(sent=sent):
                answer = self.instance.fastcgi(ASTRONAUT[:sent], content_length=len(ASTRONAUT))
                problem = self.assert_problem(answer, 400, "bad-request")
                self.assertIn(f"{sent} of {len(ASTRONAUT)}", problem["detail"])

    def test_fastcgi_with_a_body_that_stops(self):
        """timeouts.io_s is 2: the worker does not wait for ever."""
        values = fastcgi.parameters(content_length=len(ASTRONAUT))
        begun = fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode(values))
        for name, data in (("in a record", fastcgi.stream(fastcgi.STDIN, ASTRONAUT, end=False)[:-1000]),
                           ("between records", fastcgi.stream(fastcgi.STDIN, ASTRONAUT[:5000], end=False))):
            with self.subTest(name):
                begin = time.monotonic()
                answer = self.exchange(begun + data)  # and our end stays open
                took = time.monotonic() - begin
                self.assert_problem(answer, 400, "bad-request")
                self.assertGreater(took, 1.5)
                self.assertLess(took, 20, "ten times io_s, for a busy machine")
        self.instance.wait_in_work(0)

    def test_fastcgi_with_more_body_than_was_said(self):
        answer = self.instance.fastcgi(self.FACE + b"and more", content_length=len(self.FACE))
        self.assert_face_is_found(answer)

    def test_fastcgi_with_huge_parameters(self):
        huge = {"HTTP_X_REQUEST_ID": "x" * 30_000, "CONTENT_TYPE": "multipart/form-data; " + "b" * 30_000}
        answer = self.instance.fastcgi(b"x", content_type=huge["CONTENT_TYPE"],
                                       HTTP_X_REQUEST_ID=huge["HTTP_X_REQUEST_ID"])
        self.assert_no_fault_of_ours(answer)
        for name, values in (("one of 2 MB", {"X": "x" * 2_000_000}),
                             ("50,000 small ones", {f"N{i}": "v" for i in range(50_000)}),
                             ("a length of 2 GB", None)):
            with self.subTest(name):
                encoded = (fastcgi.encode(values) if values is not None
                           else b"\1" + struct.pack(">I", 0xffffffff) + b"Xy")
                self.assertIsNone(self.exchange(
                    fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, encoded)
                    + fastcgi.record(fastcgi.STDIN)), "hung up on")
        for pid in self.pids:
            self.assertLess(processes.peak_memory_kib(pid), MIB)

    def test_fastcgi_that_asks_to_keep_the_connection_is_answered_and_closed(self):
        data = (fastcgi.begin(flags=1)
                + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode(
                    fastcgi.parameters(method="GET", uri="/v1/models")))
                + fastcgi.record(fastcgi.STDIN))
        self.assert_good(self.exchange(data))

    def test_mute_connections_hold_nobody_up(self):
        mutes = [fastcgi.connect(self.instance.socket) for _ in range(4)]
        for connection in mutes:
            self.addCleanup(connection.close)
        mutes[1].sendall(b"\1")
        mutes[2].sendall(fastcgi.begin())
        for _ in range(20):
            self.assert_face_is_found(self.send(self.FACE))

    def test_more_mute_connections_than_threads_only_delay(self):
        """Each holds a thread for at most timeouts.io_s, 2 seconds here."""
        threads = self.instance.settings["workers"] * self.instance.settings["threads"]
        for _ in range(threads + 2):
            self.addCleanup(fastcgi.connect(self.instance.socket).close)
        self.assert_face_is_found(self.send(self.FACE))

    def test_peers_that_never_read_their_answer(self):
        data = fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode(
            fastcgi.parameters(method="GET", uri="/v1/models"))) + fastcgi.record(fastcgi.STDIN)
        for _ in range(6):
            connection = fastcgi.connect(self.instance.socket)
            self.addCleanup(connection.close)
            connection.sendall(data)
        self.assert_face_is_found(self.send(self.FACE))
        self.instance.wait_in_work(0)

    def test_everything_at_once(self):
        """Good requests go on between bad ones."""
        stop = threading.Event()

        def annoy(seed):
            rng = random.Random(seed)
            while not stop.is_set():
                with fastcgi.connect(self.instance.socket) as connection:
                    try:
                        connection.sendall(rng.choice((b"", rng.randbytes(100), fastcgi.begin())))
                        if rng.random() < 0.5:
                            connection.shutdown(socket.SHUT_WR)
                    except ConnectionError:
                        pass
                answer = self.send(rng.choice((b"text", ASTRONAUT[:rng.randrange(3, 70_000)])))
                self.assertIn(answer.status, (415, 422), answer.body[:300])

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            annoyers = [pool.submit(annoy, seed) for seed in range(3)]
            try:
                for _ in range(30):
                    self.assert_face_is_found(self.send(self.FACE))
            finally:
                stop.set()
            for annoyer in annoyers:
                annoyer.result()


if __name__ == "__main__":
    unittest.main()
