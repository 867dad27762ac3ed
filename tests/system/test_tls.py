"""TLS as a scanner sees it, with nginx alone."""

import secrets
import socket
import struct
import subprocess
import unittest

import harness
import http_client
from edge import NginxAlone, run, temporary_folder
from harness import SystemTest
from processes import PATIENCE_S, eventually

# By IANA's numbers. What the guideline has, of it what an RSA certificate can do.
GOOD_SUITES = {0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
               0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305"}
WEAK_SUITES = {
    0x0001: "NULL-MD5", 0x0003: "EXP-RC4-MD5", 0x0005: "RC4-SHA", 0xC011: "ECDHE-RSA-RC4-SHA",
    0x000A: "DES-CBC3-SHA", 0xC012: "ECDHE-RSA-DES-CBC3-SHA", 0x0009: "DES-CBC-SHA",
    0x0018: "ADH-RC4-MD5", 0xC018: "AECDH-AES128-SHA", 0x002F: "AES128-SHA", 0x0035: "AES256-SHA",
    0x003C: "AES128-SHA256", 0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384",
    0x0033: "DHE-RSA-AES128-SHA", 0x009E: "DHE-RSA-AES128-GCM-SHA256",
    0xC013: "ECDHE-RSA-AES128-SHA", 0xC014: "ECDHE-RSA-AES256-SHA",
    0xC027: "ECDHE-RSA-AES128-SHA256", 0xC028: "ECDHE-RSA-AES256-SHA384"}
SSL3, TLS1_0, TLS1_1, TLS1_2 = 0x0300, 0x0301, 0x0302, 0x0303
X25519, P256, P384, P521 = 0x1D, 0x17, 0x18, 0x19
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70


def say_hello(port, version, suites, groups=(X25519, P256, P384)):
    """A ClientHello (RFC 5246, 7.4.1.2) as no library sends it any more. ("hello", version, suite,
    compression) or ("alert", number), as the server answers; none when it closes."""
    def extension(kind, content):
        return struct.pack(">HH", kind, len(content)) + content

    def vector(length, content):
        return len(content).to_bytes(length, "big") + content

    extensions = (
        extension(0, vector(2, b"\0" + vector(2, b"localhost")))
        + extension(10, vector(2, b"".join(struct.pack(">H", group) for group in groups)))
        + extension(11, vector(1, b"\0"))
        + extension(13, vector(2, bytes.fromhex("0401050106010201040305030603080408050806")))
        + extension(0xFF01, vector(1, b"")))
    body = (struct.pack(">H", version) + secrets.token_bytes(32) + vector(1, b"")
            + vector(2, b"".join(struct.pack(">H", suite) for suite in suites))
            + vector(1, b"\1\0")  # DEFLATE, or none
            + vector(2, extensions))
    handshake = b"\1" + vector(3, body)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"\x16" + struct.pack(">H", min(version, TLS1_0)) + vector(2, handshake))
        stream = connection.makefile("rb")
        head = stream.read(5)
        if len(head) < 5:
            return None
        payload = stream.read(int.from_bytes(head[3:], "big"))
    if head[0] == 21:
        return "alert", payload[1]
    session = payload[38]
    suite = int.from_bytes(payload[39 + session:41 + session], "big")
    return "hello", int.from_bytes(payload[4:6], "big"), suite, payload[41 + session]


def make_authority(folder, ocsp_port):
    """An authority and a certificate of its making that names an OCSP responder."""
    (folder / "extensions").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
        f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{ocsp_port}\n")
    for command in (
            ["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "ca.key", "-out", "ca.pem",
             "-days", "2", "-subj", "/CN=test authority"],
            ["req", "-newkey", "rsa:2048", "-noenc", "-keyout", "leaf.key", "-out", "leaf.csr",
             "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "4096",
             "-days", "2", "-extfile", "extensions", "-out", "leaf.pem"]):
        made = run("openssl", *command, cwd=folder)
        assert made.returncode == 0, made.stderr
    (folder / "chain.pem").write_text((folder / "leaf.pem").read_text() + (folder / "ca.pem").read_text())
    (folder / "index.txt").write_text("V\t991231235959Z\t\t1000\tunknown\t/CN=localhost\n")


class TlsTest(unittest.TestCase):
    """The assertions of a TLS scanner. An RSA certificate, which could do all the weak suites."""

    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder(cls)
        ocsp_port, = harness.free_ports(1)
        make_authority(cls.folder, ocsp_port)
        cls.ocsp = subprocess.Popen(
            ["openssl", "ocsp", "-index", "index.txt", "-port", str(ocsp_port), "-rsigner", "ca.pem", "-rkey",
             "ca.key", "-CA", "ca.pem", "-ndays", "1"], cwd=cls.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(lambda: (cls.ocsp.kill(), cls.ocsp.wait()))
        cls.nginx = NginxAlone({
            "nginx.certificate": str(cls.folder / "chain.pem"),
            "nginx.certificate_key": str(cls.folder / "leaf.key"),
            "nginx.ocsp_stapling": True, "nginx.resolvers": ["127.0.0.1:9"]})
        cls.addClassCleanup(cls.nginx.stop)

    def client(self, *arguments, data="GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        result = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.nginx.port}", "-servername",
                     "localhost", "-CAfile", self.folder / "ca.pem", "-ign_eof", *arguments, input=data)
        return result.stdout + result.stderr

    def test_old_protocols_are_refused(self):
        everything = [*GOOD_SUITES, *WEAK_SUITES]
        for version in (SSL3, TLS1_0, TLS1_1):
            with self.subTest(hex(version)):
                kind, number = say_hello(self.nginx.port, version, everything)
                self.assertEqual("alert", kind)
                self.assertIn(number, (PROTOCOL_VERSION,) if version > SSL3 else (PROTOCOL_VERSION, HANDSHAKE_FAILURE))

    def test_tls_1_2_and_1_3_are_spoken(self):
        for option, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            with self.subTest(name):
                said = self.client(option)
                self.assertIn(f"New, {name}", said)
                self.assertIn("Verify return code: 0 (ok)", said)

    def test_weak_suites_are_refused_one_by_one(self):
        for suite, name in WEAK_SUITES.items():
            with self.subTest(name):
                self.assertEqual(("alert", HANDSHAKE_FAILURE), say_hello(self.nginx.port, TLS1_2, [suite]))

    def test_good_suites_are_taken_in_the_clients_order_and_nothing_is_compressed(self):
        for first in GOOD_SUITES:
            suites = [first, *sorted(set(GOOD_SUITES) - {first})]
            with self.subTest(GOOD_SUITES[first]):
                self.assertEqual(("hello", TLS1_2, first, 0), say_hello(self.nginx.port, TLS1_2, suites))
        self.assertIn("Compression: NONE", self.client("-tls1_2"))

    def test_the_curves_are_the_guidelines(self):
        for group, taken in ((X25519, True), (P256, True), (P384, True), (P521, False)):
            with self.subTest(hex(group)):
                answer = say_hello(self.nginx.port, TLS1_2, list(GOOD_SUITES), [group])
                self.assertEqual("hello" if taken else "alert", answer[0], answer)

    def test_http_2_and_1_1_are_agreed_upon(self):
        self.assertIn("ALPN protocol: h2", self.client("-alpn", "h2,http/1.1"))
        self.assertIn("ALPN protocol: http/1.1", self.client("-alpn", "http/1.1"))
        self.assertIn("No ALPN negotiated", self.client())

    def test_clients_cannot_renegotiate(self):
        # Without -ign_eof, a line "R" asks for it.
        said = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.nginx.port}", "-tls1_2"],
            input="R\n", capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertIn("RENEGOTIATING", said.stdout + said.stderr)
        self.assertIn("no renegotiation", said.stdout + said.stderr)
        self.assertIn("Secure Renegotiation IS supported", said.stdout)

    def test_sessions_are_resumed(self):
        for option in ("-tls1_2", "-tls1_3"):
            with self.subTest(option):
                session = self.folder / f"session{option}"
                self.assertIn("\nNew, TLS", self.client(option, "-sess_out", session))
                self.assertIn("\nReused, TLS", self.client(option, "-sess_in", session))

    def test_the_certificates_standing_is_stapled(self):
        def stapled():
            said = self.client("-status")
            return "OCSP Response Status: successful" in said and "Cert Status: good" in said
        # nginx asks the responder once a client wants to know; the first one is not kept waiting.
        eventually(stapled, "nginx has the responder's answer", pause_s=0.2)


class StaplingTest(SystemTest):
    def test_a_certificate_of_ones_own_making_is_served_all_the_same(self):
        nginx = NginxAlone({"nginx.ocsp_stapling": True, "nginx.resolvers": ["127.0.0.1:9"]})
        self.addCleanup(nginx.stop)
        with http_client.connect_tls(nginx.port, harness.tls_context(), PATIENCE_S) as connection:
            self.assertEqual("TLSv1.3", connection.version())


if __name__ == "__main__":
    unittest.main()
