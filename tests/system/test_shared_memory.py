"""A model server that refuses its clients' shared memory, as Triton does since 2.69 unless it is
started with --allow-client-shm=true, and the same after a restart with the flag; and servers that
take none for now, or take their time."""

import time
import unittest

import grpc

import pictures
from harness import SystemTest
from model_servers import ModelServer, outside
from pictures import ASTRONAUT
from plain_server import PROTOCOL, SIDE, Net, PlainServer, pb
from processes import eventually

REFUSED = "Client shared memory is disabled"
# A worker that is told no asks again when its connection is a new one, or after a minute: of what
# these tests wait for, only the former comes in time.
SOON_S = 30


class RefusedTest(SystemTest):
    def begin_with(self, transport, *servers):
        self.servers = servers
        for server in servers:
            self.addCleanup(server.destroy)
        self.instance = self.start({**outside(*servers), "backend.transport": transport,
                                    "workers": 2}, self.addCleanup, wait_ready=False)

    def predict(self):
        return self.instance.predict("faces_cascade", ASTRONAUT)

    def by_reference(self):
        """Whether a server has regions once a worker has served."""
        self.assert_good(self.predict())
        return all(server.regions() for server in self.servers)

    def allow(self, server):
        server.client_shm = True
        server.restart()

    def wait_ready(self, status):
        def ready():
            answer = self.instance.request("GET", "/readyz")
            return answer.json() if answer.status == status else None
        return eventually(ready, f"/readyz says {status}", SOON_S)

    def test_auto_goes_inline_until_it_is_allowed(self):
        server = ModelServer(client_shm=False)
        self.begin_with("auto", server)
        self.wait_ready(200)
        for _ in range(4):
            self.assert_good(self.predict())
        self.assertEqual(set(), server.regions())
        lines = [line for line in self.instance.log() if line.get("event") ==
                 "the model server takes no shared memory: tensors go inline"]
        self.assertTrue(lines)
        self.assertTrue(all(REFUSED in line["reason"] for line in lines))
        self.allow(server)
        self.wait_ready(200)
        eventually(self.by_reference, "tensors go by shared memory, without a reload", SOON_S)

    def test_demanded_and_refused_is_not_ready_until_it_is_allowed(self):
        server = ModelServer(client_shm=False)
        self.begin_with("shm", server)
        content = self.wait_ready(503)
        self.assertTrue(content["workers"]["ready"])
        reason = eventually(
            lambda: detail if REFUSED in (detail := self.wait_ready(503)["model_server"]["detail"])
            else None, "/readyz says why", SOON_S)
        self.assertIn("--allow-client-shm=true", reason)
        for _ in range(4):
            problem = self.assert_problem(self.predict(), 503, "model-server-away")
            self.assertIn(REFUSED, problem["detail"])
        self.assertEqual(200, self.instance.request("GET", "/v1/models/faces_cascade").status)
        self.allow(server)
        self.wait_ready(200)
        eventually(lambda: self.predict().status == 200, "it heals by itself", SOON_S)
        self.assertTrue(self.by_reference())
        # And back, unasked for.
        server.client_shm = False
        server.restart()
        self.wait_ready(503)
        eventually(lambda: REFUSED in self.assert_problem(self.predict(), 503)["detail"],
                   "refused again", SOON_S)

    def test_refused_and_no_longer_demanded_is_ready(self):
        self.begin_with("shm", ModelServer(client_shm=False))
        eventually(lambda: REFUSED in self.wait_ready(503)["model_server"]["detail"], "it is refused", SOON_S)
        done = self.instance.reload(**{"backend.transport": "auto"})
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.wait_ready(200)
        self.assert_good(self.predict())

    def test_of_two_servers_one_that_takes_it_is_enough(self):
        self.begin_with("shm", ModelServer(client_shm=False), ModelServer())
        content = self.wait_ready(200)
        self.assertRegex(content["model_server"]["detail"], f"1 of 2 ready.*{REFUSED}")
        for _ in range(10):
            self.assert_good(self.predict())
        self.assertEqual(set(), self.servers[0].regions())


class Memory(PlainServer):
    """One that says what it is told to about regions of shared memory."""

    def __init__(self):
        self.refusal, self.takes_s = None, 0
        super().__init__({"net": Net(1)}, (*PROTOCOL, "RepositoryIndex", "SystemSharedMemoryRegister",
                                           "SystemSharedMemoryUnregister"))

    def SystemSharedMemoryRegister(self, request, context):
        time.sleep(self.takes_s)
        if self.refusal:
            context.abort(self.refusal, "not now")
        return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request, context):
        return pb.SystemSharedMemoryUnregisterResponse()


class ForNowTest(SystemTest):
    def begin(self):
        self.server = Memory()
        self.addCleanup(self.server.stop)
        return self.server

    def pool(self, **more):
        self.instance = self.start({**outside(self.server), "backend.transport": "shm", "workers": 1},
                                   self.addCleanup, **more)

    def readyz(self):
        return self.instance.probe("/readyz")

    def predict(self):
        return self.instance.predict("net", pictures.plain(SIDE, SIDE, "PNG"), content_type="image/png")

    def test_one_that_takes_none_for_now_is_not_ready_and_says_why(self):
        self.begin().refusal = grpc.StatusCode.UNAVAILABLE
        self.pool(wait_ready=False)
        for refusal in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
            self.server.refusal = refusal
            answer = eventually(lambda: answer if "not now" in (answer := self.readyz()).body.decode() else None,
                                "/readyz says why")
            self.assertEqual(503, answer.status)
            self.assertNotIn("--allow-client-shm", answer.body.decode())
            self.assert_problem(self.predict(), 503)
        self.server.refusal = None
        eventually(lambda: self.readyz().status == 200 and self.predict().status == 200, "it takes memory now")
        # What it has taken serves on.
        self.server.refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
        end = time.monotonic() + 7
        while time.monotonic() < end:
            self.assertEqual(200, self.readyz().status)
            self.assert_good(self.predict())
            time.sleep(0.1)

    def test_one_that_takes_its_time_is_ready(self):
        self.begin().takes_s = 0.7
        self.pool()
        self.assert_good(self.predict())


if __name__ == "__main__":
    unittest.main()
