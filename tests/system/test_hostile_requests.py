"""Addresses, headers and HTTP itself, bent in every way."""

import json
import unittest

from hostile_table import (BAD_PARAMETER, BAD_REQUEST, BY_NGINX, NOT_IMPLEMENTED, OK, UNKNOWN_MODEL,
                           UNKNOWN_ROUTE, UNSUPPORTED, HostileTableTest)


class HostileRequestsTest(HostileTableTest):
    # ------------------------------------------------------------ addresses

    def test_addresses(self):
        """RFC 3986. Models and parameters are compared after percent-decoding, routes before it."""
        predict = "/v1/predict/"
        self.table([(target[:60], target, expected) for target, expected in (
            (predict + "faces_cascade%0d%0aX-Evil:%201", UNKNOWN_MODEL),
            (predict + "%0d%0a%0d%0a%3Cscript%3E", UNKNOWN_MODEL),
            (predict + "%c0%af%c0%ae", UNKNOWN_MODEL),  # "/." too long, by no means UTF-8
            (predict + "%ed%a0%80", UNKNOWN_MODEL),
            (predict + "%f4%90%80%80", UNKNOWN_MODEL),
            (predict + "%2e%2e%2f%2e%2e%2fetc%2fpasswd", UNKNOWN_MODEL),
            # nginx decodes it, and cannot.
            (predict + "%", BY_NGINX), (predict + "%zz", BY_NGINX), (predict + "faces_cascade%", BY_NGINX),
            # Nothing is made of dots and empty segments, which are another address to each reader.
            (predict + "../predict/faces_cascade", UNKNOWN_ROUTE), (predict + "/faces_cascade", UNKNOWN_ROUTE),
            ("/v1//predict/faces_cascade", UNKNOWN_ROUTE), (predict + "faces_cascade/", UNKNOWN_ROUTE),
            (predict + "faces_cascade;confidence=1", UNKNOWN_MODEL),
            (predict + "faces_cascade#x", UNKNOWN_MODEL),
            (predict + "faces_cascade?confidence=0.5%0d%0aX-Evil:1", BAD_PARAMETER),
            (predict + "faces_cascade?%0d%0aX-Evil:1=1", BAD_PARAMETER),
            (predict + "faces_cascade?render=%ff", BAD_PARAMETER),
            (predict + "faces_cascade?render=png&render=json", BAD_PARAMETER),
            (predict + "faces_cascade?render=../../etc/passwd", BAD_PARAMETER),
            (predict + "faces_cascade?" + "&" * 4_000, OK),
            (predict + "faces_cascade?" + "confidence=0.5&" * 200, BAD_PARAMETER),
            (predict + "faces_cascade?confidence=0." + "1" * 3_000, OK),
            (predict + "faces_cascade?max_detections=" + "0" * 3_000 + "1", OK),
            (predict + "faces_cascade?iou=0x1p-1", BAD_PARAMETER),
            (predict + "faces_cascade?iou=%2b0.5", BAD_PARAMETER),
            (predict + "faces_cascade?iou=-0.0", OK))],
            self.post, most_mib=64)

    # ------------------------------------------------------------ headers

    def test_header_values(self):
        def send(headers):
            return self.instance.request("POST", "/v1/predict/faces_cascade", self.FACE,
                                         {"Content-Type": "image/png", **headers})

        self.table([
            # RFC 9110, 8.4.1: pictures are packed already, so nothing is unpacked, and no bomb goes off.
            ("gzip", {"Content-Encoding": "gzip"}, UNSUPPORTED),
            ("GZIP", {"Content-Encoding": "GZIP"}, UNSUPPORTED),
            ("two encodings", {"Content-Encoding": "identity, br"}, UNSUPPORTED),
            ("an unknown encoding", {"Content-Encoding": "\xff"}, UNSUPPORTED),
            ("identity", {"Content-Encoding": "Identity"}, OK),
            # RFC 9110, 12.5.1: what cannot be understood may be disregarded.
            ("Accept of nonsense", {"Accept": ",;q=,/,*/,;;;image"}, OK),
            ("Accept of 3,000 ranges", {"Accept": "a/b;q=0.5," * 700}, OK),
            ("Accept of impossible qualities", {"Accept": "image/png;q=nan,image/jpeg;q=1e99"}, OK),
            ("a Range", {"Range": "bytes=0-5"}, OK),
            ("conditions", {"If-None-Match": "*", "If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, OK),
            ("another method by header", {"X-HTTP-Method-Override": "DELETE"}, OK),
            ("another address by header", {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"}, OK),
            ("our own parameters", {"Inferpool-Handed-Off": "1", "Handed-Off": "1"}, OK),
            ("underscores", {"X_Request_ID": "a b", "HTTP_X_API_KEY": "x"}, OK),
            ("a trace of nonsense", {"traceparent": "00-" + "\xff" * 100, "tracestate": "=" * 5_000}, OK),
            ("a Proxy", {"Proxy": "http://evil/"}, OK),  # httpoxy
            ("an upgrade", {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk", "Connection": "Upgrade"}, OK),
        ], send, most_mib=64)
        for content_type, expected in (
                ("image/png; charset=\xff", OK), ("IMAGE/PNG", OK), ("image/" + "x" * 4_000, OK),
                ("application/json\x01", UNSUPPORTED), ("text/html", UNSUPPORTED),
                ("application/json; charset=utf-16", BAD_REQUEST),  # it is no JSON, whatever its charset
                ("application/vnd.api+json", UNSUPPORTED), ("multipart/form-data", BAD_REQUEST),
                ("image/png, application/json", OK), ("multipart/mixed; boundary=edge", UNSUPPORTED)):
            with self.subTest(content_type=content_type[:40]):
                self.check(self.send(self.FACE, content_type), expected)

    # ------------------------------------------------------------ HTTP/1.1 itself

    def test_requests_that_two_readers_understand_differently(self):
        """Request smuggling: RFC 9112, 5 and 6. Each is refused, and nothing behind it is answered."""
        head = b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n"
        self.table([
            ("two equal lengths", head + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", BY_NGINX),
            ("a list of lengths", head + b"Content-Length: 5, 5\r\n\r\nhello", BY_NGINX),
            ("a length and chunks",
             head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            ("chunks and a length", chunked + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            ("chunked twice", chunked + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, BY_NGINX),
            # RFC 9112, 6.1: a coding that is not understood is 501.
            ("chunked, as a list", head + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", NOT_IMPLEMENTED),
            ("identity and chunked", head + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
             NOT_IMPLEMENTED),
            ("gzip", head + b"Transfer-Encoding: gzip\r\n\r\n", NOT_IMPLEMENTED),
            ("xchunked", head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, NOT_IMPLEMENTED),
            # RFC 9112, 5.1: no blank before the colon.
            ("a blank before the colon", head + b"Content-Length : 5\r\n\r\nhello", BY_NGINX),
            ("a blank in a name", head + b"Content Length: 5\r\n\r\nhello", BY_NGINX),
            ("a line break alone", head + b"X: 1\rContent-Length: 5\r\n\r\nhello", BY_NGINX),
            # RFC 9112, 5.2: a folded line is refused.
            ("a folded line", head + b"X: 1\r\n Content-Length: 5\r\n\r\nhello", BY_NGINX),
            ("a folded length", head + b"Content-Length:\r\n 5\r\n\r\nhello", BY_NGINX),
            ("a length with a sign", head + b"Content-Length: +5\r\n\r\nhello", BY_NGINX),
            ("a length in hexadecimal", head + b"Content-Length: 0x5\r\n\r\nhello", BY_NGINX),
            ("a length with a blank in it", head + b"Content-Length: 5 5\r\n\r\nhello", BY_NGINX),
            ("an empty length", head + b"Content-Length: \r\n\r\n", BY_NGINX),
            ("a length past all numbers", head + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", BY_NGINX),
            ("a chunk of 2^64", chunked + b"\r\n10000000000000000\r\nx", BY_NGINX),
            ("a chunk of a negative length", chunked + b"\r\n-1\r\nx", BY_NGINX),
            ("a chunk of 0x5", chunked + b"\r\n0x5\r\nhello\r\n0\r\n\r\n", BY_NGINX),
            ("a chunk that does not end", chunked + b"\r\n5\r\nhelloworld\r\n0\r\n\r\n", BY_NGINX),
            ("two hosts", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", BY_NGINX),
            ("a host with a path", b"GET /v1/models HTTP/1.1\r\nHost: a/../b\r\n\r\n", BY_NGINX),
            ("a method in small letters", b"get /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("HTTP/1.x", b"GET /v1/models HTTP/1.x\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("HTTP/9.1", b"GET /v1/models HTTP/9.1\r\nHost: localhost\r\n\r\n", (505, None)),
            ("two blanks", b"GET /v1/models HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n", BY_NGINX),
            ("a header of 40,000 bytes",
             b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
             (431, "head-too-large")),
            ("an address of 40,000 bytes",
             b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (414, "uri-too-long")),
            # No name of a header (RFC 9110, 5.1): nginx drops it, and nobody behind it sees it.
            ("a name of 0xff", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\xff: 1\r\n\r\n", OK),
        ], self.send_raw, most_mib=64)

    def test_chunks_of_a_good_picture(self):
        """RFC 9112, 7.1: whatever the chunks are like, the body is theirs, and trailers are dropped."""
        head = b"POST /v1/predict/faces_cascade HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        face = self.FACE

        def chunks(size, extension=b""):
            return b"".join(b"%x%s\r\n%s\r\n" % (len(piece := face[i:i + size]), extension, piece)
                            for i in range(0, len(face), size))

        for name, body in (
                ("of 7 bytes", chunks(7) + b"0\r\n\r\n"),
                ("with extensions", chunks(10_000, b";a=\"b\";c") + b"0;x\r\n\r\n"),
                ("with trailers", chunks(10_000) + b"0\r\nX-Request-ID: evil\r\nContent-Length: 1\r\n\r\n"),
                ("with leading zeros", chunks(10_000).replace(b"2710\r\n", b"00002710\r\n", 1) + b"000\r\n\r\n")):
            with self.subTest(name):
                answer = self.send_raw(head + body)
                self.check(answer, OK)
                self.assert_face_is_found(answer)

    def test_two_hundred_requests_in_one_piece(self):
        """Pipelined (RFC 9112, 9.3.2): answered one by one, in order."""
        count = 200
        lines = [(b"GET /v1/models/nobody%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r%d\r\n\r\n"
                  if i % 2 else
                  b"POST /v1/predict/faces_cascade?iou=0.%d HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r%d\r\n"
                  b"Content-Length: 5\r\n\r\nhello") % (i, i) for i in range(count)]
        with self.instance.connect_tls() as tls:
            tls.sendall(b"".join(lines))
            stream = tls.makefile("rb")
            for i in range(count):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                status = 404 if i % 2 else 415
                self.assertTrue(head.startswith(b"HTTP/1.1 %d" % status), head)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                problem = json.loads(stream.read(length))
                self.assertEqual((status, f"r{i}"), (problem["status"], problem["request_id"]))


if __name__ == "__main__":
    unittest.main()
