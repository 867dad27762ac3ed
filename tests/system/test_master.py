"""The master as operators and service managers meet it: commands, signals, systemd, descriptors."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import unittest
import unittest.mock
from pathlib import Path

import grpc

import harness
import model_servers
import processes
from harness import INFERPOOL, Instance, SystemTest, inferpool
from model_servers import pb
from pictures import ASTRONAUT
from processes import eventually


def title(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def uid(pid):
    return os.stat(f"/proc/{pid}").st_uid


def descriptors(pid):
    folder = Path(f"/proc/{pid}/fd")
    return {int(entry.name): os.readlink(entry) for entry in folder.iterdir()}


class CommandTest(SystemTest):
    def start_one(self, settings=None):
        self.instance = self.start({"timeouts.start_s": 5, **(settings or {})}, self.addCleanup)
        return self.instance

    def command(self, *arguments):
        return inferpool(*arguments, "--state", self.instance.state)

    def status(self):
        done = self.command("status", "--json")
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def write_config(self, **settings):
        changed = {**self.instance.settings, **settings}
        self.instance.config_file.write_text(json.dumps(harness.nested(changed)))

    def test_status_shows_every_worker_and_works_with_the_master_stopped(self):
        instance = self.start_one()
        workers = instance.wait_workers()
        for _ in range(3):
            self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        status = self.status()
        self.assertEqual(instance.serve.pid, status["master"])
        self.assertEqual(workers, sorted(slot["pid"] for slot in status["slots"]))
        self.assertEqual({"ready"}, {slot["state"] for slot in status["slots"]})
        self.assertEqual(3, sum(slot["requests"] for slot in status["slots"]))
        self.assertEqual(3, status["requests"]["by_status"]["200"])
        self.assertEqual({"waiting": 0, "most": 511}, status["queue"])
        self.assertGreater(min(slot["rss_mb"] for slot in status["slots"]), 5)
        busy = [slot for slot in status["slots"] if slot["requests"]]
        self.assertTrue(all(0 < slot["time_ms"]["p50"] <= slot["time_ms"]["p99"] for slot in busy))
        os.kill(instance.serve.pid, signal.SIGSTOP)
        try:
            table = self.command("status")
            self.assertEqual(0, table.returncode, table.stderr)
            self.assertIn("2 of 2 ready", table.stdout)
            for pid in workers:
                self.assertIn(str(pid), table.stdout)
        finally:
            os.kill(instance.serve.pid, signal.SIGCONT)

    def test_status_shows_what_busy_workers_do_and_how_many_wait(self):
        instance = self.start_one({"workers": 1, "threads": 2, "limits.queue_ms": 0})
        instance.wait_workers()
        instance.stop_modelserver()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(6)]
        for client in clients:
            self.addCleanup(client.close)
            client.connect(instance.socket)
        eventually(lambda: self.status()["slots"][0]["in_work"] == 2, "both threads are busy")
        status = self.status()
        self.assertEqual(4, status["queue"]["waiting"])
        eventually(lambda: self.status()["slots"][0]["longest_request_s"] > 0.3, "its age is shown")
        os.kill(instance.modelserver(), signal.SIGCONT)

    def test_scale_says_that_the_file_differs_and_a_reload_goes_back(self):
        instance = self.start_one()
        before = instance.wait_workers()
        done = self.command("scale", 4)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("says 2 workers", done.stdout)
        self.assertIn("4 of 4 workers ready", done.stdout)
        self.assertLess(set(before), {slot["pid"] for slot in self.status()["slots"]})
        self.assertEqual(0, self.command("reload").returncode)
        eventually(lambda: len(self.status()["slots"]) == 2, "the surplus has left")
        for number in (0, 100_000):
            refused = self.command("scale", number)
            self.assertEqual(1, refused.returncode)
            self.assertIn("allowed are 1 to 128", refused.stderr)

    def test_a_bad_file_changes_nothing_and_says_why(self):
        instance = self.start_one()
        before = instance.wait_workers()
        instance.config_file.write_text('{"workrs": 3,\n "limits": {"body_mb": 0}}')
        done = self.command("reload")
        self.assertEqual(1, done.returncode)
        for part in ("workrs", "limits.body_mb", ":2:"):
            self.assertIn(part, done.stderr)
        self.assertEqual("refused", self.status()["reload"]["outcome"])
        self.assertIn("workrs", self.status()["reload"]["detail"])
        self.write_config(**{"sidecar.port": instance.sidecar_port + 1})
        done = self.command("reload")
        self.assertEqual(1, done.returncode)
        self.assertIn("sidecar.port", done.stderr)
        self.assertEqual(before, sorted(slot["pid"] for slot in self.status()["slots"]))
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))

    def test_the_model_server_takes_as_large_messages_as_the_workers(self):
        instance = self.start_one({"backend.message_mb": 4})
        request = pb.ModelInferRequest(model_name="nobody", raw_input_contents=[bytes(5 << 20)])

        def refusal():
            client = model_servers.embedded(instance)
            try:
                return client.ModelInfer.future(request, timeout=60).exception().code()
            finally:
                client.close()
        self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, refusal())
        self.write_config(**{"backend.message_mb": 8})
        self.assertEqual(0, self.command("reload").returncode)
        eventually(lambda: refusal() == grpc.StatusCode.NOT_FOUND, "the model server reads it")

    def test_a_good_file_takes_effect_when_reload_returns(self):
        instance = self.start_one()
        before = instance.wait_workers()
        self.write_config(**{"limits.pixels": 1000})
        done = self.command("reload")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("limits.pixels", done.stdout)
        status = self.status()
        self.assertEqual(("done", 2), (status["reload"]["outcome"], status["generation"]))
        ready = [slot for slot in status["slots"] if slot["state"] == "ready"]
        self.assertEqual({2}, {slot["generation"] for slot in ready})
        self.assertFalse(set(before) & {slot["pid"] for slot in ready})
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT), 422, "bad-picture")

    def test_a_certificate_that_is_not_there_is_told(self):
        instance = self.start_one()
        state = instance.state
        (state / "there.pem").touch()
        self.write_config(**{"nginx.certificate": str(state / "gone.pem"),
                             "nginx.certificate_key": str(state / "there.pem")})
        done = self.command("reload")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn(f"nginx.certificate: {state}/gone.pem is not there", done.stdout)
        self.assertNotIn("there.pem is not there", done.stdout.replace("gone.pem is not there", ""))

    def test_a_generation_that_does_not_get_ready_is_given_up(self):
        instance = self.start_one({"timeouts.start_s": 2})
        before = instance.wait_workers()
        self.write_config(**{"backend.targets": ["ipv4:127.0.0.1:9"], "timeouts.start_s": 2})
        done = self.command("reload")
        self.assertEqual(1, done.returncode)
        self.assertIn("given up", done.stderr)
        self.assertRegex(done.stderr, r"timeouts.start_s \(2 s\): no model server is ready: ")
        self.assertEqual(before, sorted(slot["pid"] for slot in self.status()["slots"]))
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))

    def test_giving_up_goes_back_to_what_was_proved_though_a_scale_was_under_way(self):
        instance = self.start_one({"timeouts.start_s": 2})
        instance.wait_workers()
        self.write_config(**{"limits.pixels": 1000, "timeouts.start_s": 2})
        self.assertEqual(0, self.command("reload").returncode)
        self.write_config(**{"limits.pixels": 1000, "timeouts.start_s": 2,
                             "backend.targets": ["ipv4:127.0.0.1:9"]})
        self.command("scale", 3, "--patience", 0)  # does not wait for its end
        done = self.command("reload")
        self.assertEqual(1, done.returncode)
        self.assertIn("generation 2 stays", done.stderr)
        for slot in self.status()["slots"]:
            os.kill(slot["pid"], signal.SIGKILL)
        eventually(lambda: self.status()["workers"]["ready"] >= 2, "others have taken their place")
        self.assert_problem(instance.predict("faces_cascade", ASTRONAUT), 422, "bad-picture")

    def test_without_a_pool_the_commands_say_so(self):
        empty = tempfile.mkdtemp(prefix="ip-none-")
        self.addCleanup(shutil.rmtree, empty)
        for arguments in (["status"], ["reload"], ["scale", 2], ["quarantine"], ["quarantine", "clear"]):
            done = inferpool(*arguments, "--state", empty)
            self.assertEqual(1, done.returncode)
            self.assertIn(f"no inferpool runs in {empty}", done.stderr)


class ProcessTest(SystemTest):
    def test_children_have_titles_and_only_the_descriptors_that_they_need(self):
        # A descriptor that whoever starts us forgot to close must end in the master.
        with tempfile.TemporaryFile() as forgotten:
            os.set_inheritable(forgotten.fileno(), True)
            name = os.readlink(f"/proc/self/fd/{forgotten.fileno()}")
            with unittest.mock.patch.object(
                    subprocess, "Popen",
                    lambda *a, original=subprocess.Popen, **k: original(*a, **{**k, "close_fds": False})):
                self.instance = instance = self.start({"workers": 2}, self.addCleanup)
        workers, sidecar = instance.wait_workers(), instance.sidecar()
        self.assertEqual("inferpool: master", title(instance.serve.pid))
        self.assertEqual({"inferpool: worker 0", "inferpool: worker 1"}, {title(pid) for pid in workers})
        self.assertEqual("inferpool: sidecar", title(sidecar))
        for pid in (instance.serve.pid, *workers, sidecar, instance.modelserver()):
            self.assertNotIn(name, descriptors(pid).values(), title(pid))
        for pid in (*workers, sidecar, instance.modelserver()):
            self.assertFalse([link for link in descriptors(pid).values() if "memfd" in link], title(pid))

    def test_core_dumps_are_a_setting(self):
        for setting, limit in ((False, "0"), (True, None)):
            instance = self.instance = self.start({"workers": 1, "core_dumps": setting}, self.addCleanup)
            limits = Path(f"/proc/{instance.wait_workers()[0]}/limits").read_text()
            [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
            soft, hard = line.split()[4:6]
            self.assertEqual(hard if limit is None else limit, soft)

    def test_the_log_file_is_opened_again_on_sigusr1(self):
        folder = Path(tempfile.mkdtemp(prefix="ip-log-"))
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "pool.log"
        self.instance = instance = self.start(
            {"workers": 1, "log.file": str(path), "log.access": True}, self.addCleanup)

        def roles(file):
            return {json.loads(line)["role"] for line in file.read_text().splitlines()}
        eventually(lambda: path.exists() and {"master", "worker 0", "sidecar", "modelserver"} <= roles(path),
                   "all roles log into the file")
        path.rename(folder / "old.log")
        os.kill(instance.serve.pid, signal.SIGUSR1)
        eventually(path.exists, "the file is made anew")
        size = (folder / "old.log").stat().st_size

        def new_lines():
            instance.predict("faces_cascade", ASTRONAUT)
            return "worker 0" in roles(path)
        eventually(new_lines, "the worker logs into the new file")
        self.assertLessEqual((folder / "old.log").stat().st_size, size + 2000)

    @unittest.skipUnless(os.geteuid() == 0, "only root can change the user")
    def test_root_drops_to_the_user_of_the_configuration(self):
        nobody = pwd.getpwnam("nobody")
        # The checkout may lie where nobody else may look.
        folder = Path(tempfile.mkdtemp(prefix="ip-user-"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        for name in ("inferpool", "modelserver"):
            shutil.copy2(harness.BIN / name, folder / name)
        shutil.copytree(harness.MODELS, folder / "models")

        class Copied(Instance):
            program = str(folder / "inferpool")

            def start_serve(self):
                self.state.chmod(0o755)
                super().start_serve()
        self.instance = instance = Copied(
            {"workers": 1, "user": "nobody", "modelserver.repository": str(folder / "models")})
        self.addCleanup(instance.stop)
        [worker] = instance.wait_workers()
        self.assertEqual(0, uid(instance.serve.pid))
        for pid in (worker, instance.sidecar(), instance.modelserver()):
            self.assertEqual(nobody.pw_uid, uid(pid), title(pid))
            groups = Path(f"/proc/{pid}/status").read_text()
            self.assertIn(f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}", groups)
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        with self.subTest("a keys file that root can read and the workers cannot"):
            closed = folder / "closed"
            closed.mkdir(mode=0o700)
            keys = closed / "keys.json"
            self.assertEqual(0, inferpool("keys", "add", "shop", "--file", keys).returncode)
            keys.chmod(0o644)
            settings = {**instance.settings, "auth.keys_file": str(keys)}
            before = instance.config_file.read_text()
            instance.config_file.write_text(json.dumps(harness.nested(settings)))
            done = inferpool("reload", "--state", instance.state)
            instance.config_file.write_text(before)
            self.assertRegex(done.stderr, "(?m)^inferpool: given up: .*auth.keys_file: .*cannot be read")
            self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        # A dropped child still dies with its master.
        os.kill(instance.serve.pid, signal.SIGKILL)
        instance.serve.wait()
        eventually(lambda: not processes.session(instance.session), "all have ended")
        instance.start_serve()
        instance.wait_workers()


class ServiceManagerTest(SystemTest):
    """systemd's protocols, spoken by a socket of ours."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ip-sd-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def test_it_says_ready_status_watchdog_reloading_and_stopping(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(str(self.folder / "notify"))
        notify.settimeout(processes.PATIENCE_S)
        with unittest.mock.patch.dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify")):
            self.instance = instance = self.start({"workers": 1}, self.addCleanup)

        def await_message(part):
            while part not in (message := notify.recv(4096).decode()):
                pass
            return message
        await_message("READY=1")
        self.assertIn("WATCHDOG=1", await_message("STATUS=1 of 1 workers ready"))
        instance.config_file.write_text(json.dumps(harness.nested(
            {**instance.settings, "predict.iou": 0.4})))
        os.kill(instance.serve.pid, signal.SIGHUP)
        self.assertRegex(await_message("RELOADING=1"), r"MONOTONIC_USEC=\d+")
        await_message("READY=1")
        instance.serve.terminate()
        await_message("STOPPING=1")

    def test_an_activated_socket_serves_and_outlives_the_pool(self):
        path = self.folder / "activated.sock"
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(path))
        listener.listen(64)
        # systemd's way: the socket is descriptor 3 and the variables name the process.
        start = (f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@"')
        popen = subprocess.Popen

        def activated(command, **options):
            if INFERPOOL in command:
                at = command.index(INFERPOOL)
                command = [*command[:at], "/bin/bash", "-c", start, *command[at:]]
                options["pass_fds"] = [listener.fileno()]
            return popen(command, **options)
        with unittest.mock.patch.object(subprocess, "Popen", activated):
            instance = self.instance = Instance({"workers": 1, "listen.socket": str(path)})
        self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
        instance.serve.terminate()
        self.assertEqual(0, instance.serve.wait(processes.PATIENCE_S))
        self.assertTrue(path.is_socket())
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(str(path))  # waits in the backlog for the next pool
        instance.destroy()

    def test_it_runs_as_the_first_process_and_reaps_orphans(self):
        probe = subprocess.run(["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"],
                               capture_output=True, check=False)
        if probe.returncode != 0:
            self.skipTest("this machine allows no new process namespaces")
        popen = subprocess.Popen

        def first(command, **options):
            if INFERPOOL in command:
                at = command.index(INFERPOOL)
                # The orphan's parent ends at once; the orphan a little later.
                script = '(sleep 1 & disown); exec "$0" "$@"'
                command = [*command[:at], "unshare", "--user", "--map-root-user", "--pid", "--fork",
                           "--kill-child", "--mount-proc", "/bin/bash", "-c", script, *command[at:]]
            return popen(command, **options)
        with unittest.mock.patch.object(subprocess, "Popen", first):
            instance = self.instance = Instance({"workers": 1})
        try:
            self.assert_good(instance.predict("faces_cascade", ASTRONAUT))
            [master] = processes.children(instance.serve.pid)
            self.assertEqual("inferpool: master", title(master))
            eventually(lambda: not [pid for pid in all_children(master) if is_zombie(pid)] and
                       "sleep" not in {processes.program(pid) for pid in all_children(master)},
                       "the orphan is gone, and no zombie is left")
            os.kill(master, signal.SIGTERM)
            self.assertEqual(0, instance.serve.wait(processes.PATIENCE_S))
        finally:
            instance.destroy()


def all_children(parent):
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
