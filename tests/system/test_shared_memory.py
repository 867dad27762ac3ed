"""A model server that refuses its clients' shared memory, as Triton does since 2.69 unless it is
started with --allow-client-shm=true, and the same after a restart with the flag."""

import unittest

from harness import SystemTest
from model_servers import ModelServer, outside
from pictures import ASTRONAUT
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

    def test_of_two_servers_one_that_takes_it_is_enough(self):
        self.begin_with("shm", ModelServer(client_shm=False), ModelServer())
        content = self.wait_ready(200)
        self.assertRegex(content["model_server"]["detail"], f"1 of 2 ready.*{REFUSED}")
        for _ in range(10):
            self.assert_good(self.predict())
        self.assertEqual(set(), self.servers[0].regions())


if __name__ == "__main__":
    unittest.main()
