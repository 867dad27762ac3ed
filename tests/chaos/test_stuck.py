"""A thread that spins is stuck; a thread without a processor is not."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from chaos import QUERY, ChaosTest  # it knows where the helpers are
import pictures
from processes import eventually

_STARVED_S = 8


def fault(kind):
    picture = pictures.astronaut().resize((100, 100))
    return pictures.encode(picture, "JPEG") + b"inferpool-fault:" + kind


@contextlib.contextmanager
def starved(pid):
    """The threads of a process share one processor with others that always come first."""
    processor = min(os.sched_getaffinity(0))
    hogs = [subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", "while True: pass"],
                             start_new_session=True) for _ in range(4)]
    before = {}
    try:
        for hog in hogs:
            os.sched_setaffinity(hog.pid, {processor})
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            before[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, {processor})
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        with contextlib.suppress(OSError):  # where sessions share a processor as such
            Path(f"/proc/{pid}/autogroup").write_text("19")
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        for thread, processors in before.items():
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
                os.sched_setaffinity(thread, processors)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("0")


class StuckTest(ChaosTest):
    SECONDS_OF_A_REQUEST = 2

    def setUp(self):
        self.begin({"workers": 1, "timeouts.request_s": self.SECONDS_OF_A_REQUEST})

    def test_a_thread_that_spins(self):
        answer = self.pool.predict("faces_cascade", fault(b"spin"), QUERY, headers={"X-Request-ID": "spinning"})
        self.assert_problem(answer, 422, "quarantined")
        [report] = eventually(lambda: [json.loads(path.read_text()) for path in
                                       (self.pool.state / "crashes").glob("*.json")], "the crash report")
        self.assertEqual((True, "spinning"), (report["stuck"], report["request_id"]))
        self.assertEqual(1, self.pool.crashes())

    def test_a_thread_that_has_no_processor(self):
        [worker] = self.pool.worker_pids()
        with concurrent.futures.ThreadPoolExecutor(1) as client:
            request = client.submit(self.pool.predict, "faces_cascade", fault(b"busy"), QUERY)
            self.pool.wait_in_work(1)
            with starved(worker):
                begin = time.monotonic()
                while time.monotonic() - begin < _STARVED_S and not request.done():
                    time.sleep(0.1)
                was_starved = not request.done()
            answer = request.result()
        if not was_starved and answer.status != 422:
            self.skipTest("this machine's scheduler does not let a test starve a process")
        # It has come on as soon as it could; its client's time was over then.
        self.assert_problem(answer, 504)
        self.assertEqual([worker], self.pool.worker_pids())
        self.assertEqual(0, self.pool.crashes())
        self.assertEqual([], self.pool.status()["quarantine"])
        self.assert_good(self.pool.predict("faces_cascade", self.album.pictures[0], QUERY))


if __name__ == "__main__":
    unittest.main()
