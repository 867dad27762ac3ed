"""ops/run, ops/stop and `inferpool serve` start and stop what is theirs, and nothing else."""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from PIL import Image

import harness
import pictures
import processes
from checkout import Checkout
from harness import SystemTest, inferpool
from processes import eventually

ROOT = os.geteuid() == 0
NOBODY = 65534

# What a pid file may hold that is no pid; `kill` takes the first three for whole groups of processes.
NO_PIDS = ("-1", "0", "-0", "", "garbage", "1\n2", "1 2", "99999999999999999999", "0x1", "\0")


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class ScriptTest(SystemTest):
    def setUp(self):
        self.checkout = Checkout()
        self.state = self.checkout.state
        self.addCleanup(self.checkout.remove)

    def stranger(self):
        process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def assert_starts(self, *options):
        result = self.checkout.run(*options)
        self.assertEqual(0, result.returncode, result.stdout)
        return result.stdout

    def assert_refused(self, *words, **options):
        """Ends with a sentence that has these words, and nothing runs."""
        result = self.checkout.run(**options)
        self.assertNotEqual(0, result.returncode, result.stdout)
        sentence = [line for line in result.stdout.splitlines() if line.startswith("inferpool: ")
                    and all(word in line for word in words)]
        self.assertTrue(sentence, result.stdout)
        self.checkout.assert_nothing_runs()

    def assert_stops(self):
        result = self.checkout.stop()
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("Stopped", result.stdout)
        self.checkout.assert_nothing_runs()

    def when_there(self, name, do):
        """Calls `do` as soon as that file of the state folder is there."""
        def wait():
            eventually((self.state / name).exists, f"{name} is there", pause_s=0.002)
            do()
        thread = threading.Thread(target=wait)
        thread.start()
        self.addCleanup(thread.join)

    def config(self, **settings):
        """A configuration file with these settings beside."""
        path = self.checkout.folder / "config.json"
        settings = {"workers": 1, "state": str(self.state), "modelserver.repository": str(harness.MODELS),
                    **{key.replace("__", "."): value for key, value in settings.items()}}
        path.write_text(json.dumps(harness.nested(settings)))
        return path


class PidFileTest(ScriptTest):
    def test_stop_leaves_a_strangers_process_alone(self):
        self.state.mkdir()
        for name in ("inferpool", "nginx"):
            with self.subTest(name):
                stranger = self.stranger()
                (self.state / f"{name}.pid").write_text(f"{stranger.pid}\n")
                self.assertIn("Nothing runs", self.checkout.stop().stdout)
                self.assertIsNone(stranger.poll())
                (self.state / f"{name}.pid").unlink()

    def test_what_is_no_pid_never_reaches_kill(self):
        # Only written down: the real one would end this test, and all else of ours.
        spy = self.checkout.folder / "spy"
        killed = self.checkout.folder / "killed"
        spy.write_text('kill() { echo "kill $*" >>"$KILLED"; [ "$1" = -0 ] || exit 99; }\n')
        self.state.mkdir()
        for name in ("inferpool", "nginx"):
            for text in NO_PIDS:
                with self.subTest(name=name, text=text):
                    (self.state / f"{name}.pid").write_text(text)
                    result = self.checkout.stop(BASH_ENV=str(spy), KILLED=str(killed))
                    self.assertIn("Nothing runs", result.stdout)
                    self.assertFalse(killed.exists())
            (self.state / f"{name}.pid").unlink()

    def test_a_pid_file_that_is_a_link_or_a_pipe_names_nobody(self):
        self.state.mkdir()
        stranger = self.stranger()
        (self.checkout.folder / "pid").write_text(f"{stranger.pid}\n")
        (self.state / "inferpool.pid").symlink_to(self.checkout.folder / "pid")
        os.mkfifo(self.state / "nginx.pid")
        self.assertIn("Nothing runs", self.checkout.stop().stdout)
        self.assertIsNone(stranger.poll())

    def test_one_life_of_a_pool(self):
        """What a reboot left is no hindrance; then nobody else is touched, and nobody else starts."""
        stranger = self.stranger()
        self.state.mkdir(mode=0o750)
        for name in ("inferpool", "nginx"):
            (self.state / f"{name}.pid").write_text(f"{stranger.pid}\n")
        config = self.config()
        self.assert_starts("--config", config)
        master, nginx = self.checkout.pid("inferpool"), self.checkout.pid("nginx")

        with self.subTest("the files are for our user and our group"):
            for path in self.state.rglob("*"):
                self.assertFalse(path.stat().st_mode & 0o027 & ~(0o777 if path.is_socket() else 0), path)
            self.assertEqual(0o750, stat.S_IMODE((self.state / "logs").stat().st_mode))
            self.assertEqual(0o640, stat.S_IMODE((self.state / "logs/inferpool.log").stat().st_mode))
            self.assertEqual(0o600, stat.S_IMODE((self.state / "tls/key.pem").stat().st_mode))

        with self.subTest("another folder's pid files may name them as they like"):
            other = self.checkout.folder / "other"
            other.mkdir()
            (other / "inferpool.pid").write_text(f"{master}\n")
            (other / "nginx.pid").write_text(f"{nginx}\n")
            self.assertIn("Nothing runs", self.checkout.stop(other).stdout)
            self.assertIn("no inferpool runs", inferpool("status", "--state", other).stderr)

        def assert_a_second_one_is_refused():
            [port] = harness.free_ports(1)
            second = inferpool("serve", "-c", config, "--set", f"sidecar.port={port}",
                               "--set", f"listen.socket={self.checkout.folder}/second.sock")
            self.assertEqual(1, second.returncode)
            self.assertEqual(1, len(second.stderr.splitlines()), second.stderr)
            self.assertIn(f"already runs from the state folder {self.state} (process {master})",
                          second.stderr)
            self.assertIn("already runs", self.checkout.run("--config", config).stdout)
            self.assertEqual(0, inferpool("status", "--state", self.state).returncode)
        with self.subTest("a second one"):
            assert_a_second_one_is_refused()

        with self.subTest("the lock survives SIGUSR2"):
            os.kill(master, signal.SIGUSR2)

            def became():
                status = json.loads(inferpool("status", "--json", "--state", self.state).stdout)
                return status["reload"].get("what") == "new program" and \
                    status["reload"].get("outcome") == "done"
            eventually(became, "the new program runs")
            self.assertEqual(master, self.checkout.pid("inferpool"))
            assert_a_second_one_is_refused()

        with self.subTest("what a crash leaves"):
            for pid in (nginx, master):
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: not processes.session(master), "the pool has ended")
            self.assertTrue((self.state / "inferpool.pid").exists())
            self.assertIn("no inferpool runs", inferpool("status", "--state", self.state).stderr)
            # nginx's workers live on, with the ports.
            self.assertIn("already runs", self.checkout.run("--config", config).stdout)
            self.assert_stops()
            self.assertIn("Nothing runs", self.checkout.stop().stdout)
            self.assertTrue((self.state / "nginx.pid").exists())
            self.assert_starts("--config", config)
        self.assert_stops()
        self.assertFalse((self.state / "inferpool.pid").exists())
        self.assertIsNone(stranger.poll())


class StopTest(ScriptTest):
    def program(self, name, log, mode="a", user=None):
        """A process whose program has that name, and a log of somebody's open."""
        path = self.checkout.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2("/bin/sleep", path)
        with open(log, mode) as file:
            process = subprocess.Popen([path, "600"], stdin=file, stdout=file, user=user)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def assert_leaves_alone(self, process, state=None):
        result = self.checkout.stop(state)
        self.assertIn("Nothing runs", result.stdout)
        self.assertIsNone(process.poll())

    def test_another_nginx_lives_whatever_leads_to_its_log(self):
        logs = self.checkout.folder / "system"
        logs.mkdir()
        log = logs / "nginx-error.log"
        nginx = self.program("sbin/nginx", log)
        (self.state / "logs").mkdir(parents=True)
        ours = self.state / "logs/nginx-error.log"
        with self.subTest("a link"):
            ours.symlink_to(log)
            self.assert_leaves_alone(nginx)
            ours.unlink()
        with self.subTest("a second name"):
            ours.hardlink_to(log)
            self.assert_leaves_alone(nginx)
            ours.unlink()
        with self.subTest("a link in place of the folder"):
            (self.state / "logs").rmdir()
            (self.state / "logs").symlink_to(logs)
            self.assert_leaves_alone(nginx)
        if ROOT:
            with self.subTest("somebody else's link in place of the state folder"):
                (self.checkout.folder / "logs").symlink_to(logs)
                link = self.checkout.folder / "link"
                link.symlink_to(self.checkout.folder)
                (self.checkout.folder / "logs").unlink()
                logs.rename(self.checkout.folder / "logs")
                os.lchown(link, NOBODY, NOBODY)
                self.assert_leaves_alone(nginx, link)

    def test_what_is_no_nginx_or_only_reads_the_log_lives(self):
        log = self.state / "logs/nginx-error.log"
        log.parent.mkdir(parents=True)
        log.touch()
        for name, mode in (("nginx-exporter/reader", "r"), ("nginx-exporter/writer", "a"),
                           ("bin/nginx-reader", "a"), ("bin/nginx", "r")):
            with self.subTest(name):
                self.assert_leaves_alone(self.program(name, log, mode))

    @unittest.skipUnless(ROOT, "only root can make a folder of somebody else's")
    def test_roots_nginx_does_not_run_from_somebody_elses_folder(self):
        log = self.state / "logs/nginx-error.log"
        log.parent.mkdir(parents=True)
        log.touch()
        for path in (self.state, log.parent, log):
            os.chown(path, NOBODY, NOBODY)
        nginx = self.program("bin/nginx", log)
        self.assert_leaves_alone(nginx)
        nginx.kill()
        nginx.wait()
        self.checkout.folder.chmod(0o755)
        theirs = self.program("bin/nginx", log, user=NOBODY)
        self.assertIn("Stopped", self.checkout.stop().stdout)
        self.assertEqual(-signal.SIGTERM, theirs.wait(10))

    @unittest.skipUnless(ROOT, "only root can become somebody else")
    def test_who_may_not_look_does_not_say_that_nothing_runs(self):
        self.checkout.folder.chmod(0o755)
        self.state.mkdir(mode=0o750)
        os.chown(self.state, 0, NOBODY)
        member = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for name in ("inferpool", "nginx"):
            with self.subTest(name):
                stranger = self.stranger()
                (self.state / f"{name}.pid").write_text(f"{stranger.pid}\n")
                result = self.checkout.stop(how=member)
                self.assertEqual(1, result.returncode, result.stdout)
                self.assertIn(f"process {stranger.pid}", result.stdout)
                self.assertIn("as root", result.stdout)
                self.assertIsNone(stranger.poll())
                (self.state / f"{name}.pid").unlink()
        self.assertIn("Nothing runs", self.checkout.stop(how=member).stdout)

    def test_impatience_leaves_nothing_running(self):
        """A second signal comes while nginx drains."""
        script = self.checkout.run_in_foreground("--config", self.config())
        self.addCleanup(script.wait)
        self.addCleanup(script.kill)
        self.addCleanup(script.stdout.close)

        def wait_for(words):
            for line in script.stdout:
                if words in line:
                    return
            self.fail(f"it has never said {words}")
        wait_for("Ctrl-C")
        nginx = self.checkout.pid("nginx")
        os.kill(nginx, signal.SIGSTOP)
        script.send_signal(signal.SIGTERM)
        wait_for("Stopping nginx")
        for number in (signal.SIGTERM, signal.SIGINT):
            script.send_signal(number)
            time.sleep(0.3)
            self.assertIsNone(script.poll(), "it has left everything behind")
        os.kill(nginx, signal.SIGCONT)
        wait_for("Draining the pool")
        self.assertEqual(128 + signal.SIGTERM, script.wait(processes.PATIENCE_S))
        self.checkout.assert_nothing_runs()


class FailedStartTest(ScriptTest):
    def test_the_state_folder_goes_away(self):
        self.when_there("control.sock", lambda: self.state.rename(self.checkout.folder / "elsewhere"))
        self.assert_refused("the state folder", str(self.state), "is gone")

    def test_nginx_ends(self):
        self.checkout.stub("nginx", 'case " $* " in *" -t "*) ;; *) echo "too bad"; exit 1 ;; esac')
        self.assert_refused("nginx has ended")

    def test_a_log_file_cannot_be_written(self):
        (self.state / "logs/inferpool.log").mkdir(parents=True)
        self.assert_refused("cannot write the log file", "inferpool.log")

    def test_the_pid_file_cannot_be_written(self):
        (self.state / "inferpool.pid").mkdir(parents=True)
        result = inferpool("serve", "-c", self.config())
        self.assertEqual(1, result.returncode)
        self.assertIn(f"cannot write {self.state}/inferpool.pid", result.stderr)
        self.checkout.assert_nothing_runs()


@unittest.skipUnless(ROOT, "a small disk is a tmpfs, which only root can mount")
class FullDiskTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.disk = self.checkout.folder / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", self.disk],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"root cannot mount a tmpfs here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)
        self.state = self.checkout.state = self.disk / "state"

    def fill(self, but_kb=0):
        free = os.statvfs(self.disk)
        size = free.f_bavail * free.f_bsize - but_kb * 1024
        with open(self.disk / f"filler{time.monotonic_ns()}", "wb") as file:
            file.write(bytes(max(size, 0)))

    def test_before_the_start(self):
        for free_kb in (0, 12, 48):
            with self.subTest(free_kb=free_kb):
                shutil.rmtree(self.state, ignore_errors=True)
                for path in self.disk.glob("filler*"):
                    path.unlink()
                self.fill(but_kb=free_kb)
                self.assert_refused("disk", str(self.state), "is full")

    def test_serve_says_so_and_leaves_nothing(self):
        self.state.mkdir()
        self.fill()
        result = inferpool("serve", "-c", self.config())
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertRegex(result.stderr, "^inferpool: cannot write .*inferpool.pid: No space left")
        self.assertEqual([], list(self.state.iterdir()))

    def test_during_the_start(self):
        self.when_there("tls/certificate.pem", self.fill)
        result = self.checkout.run()
        if result.returncode == 0:  # there was enough room
            self.assert_stops()
        else:
            self.assertRegex(result.stdout, "(?m)^inferpool: the disk of the state folder .* is full")
            self.checkout.assert_nothing_runs()

    def test_later_costs_no_answer_and_no_empty_report(self):
        log = self.state / "logs/inferpool.log"
        crashes = self.state / "crashes"
        self.assert_starts("--config", self.config(log__access=True, workers=2))
        face = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")
        certificate = self.state / "tls/certificate.pem"

        def answer(count):
            for _ in range(count):
                status = subprocess.run(
                    ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", certificate,
                     "--data-binary", "@-", "-H", "Content-Type: image/png",
                     f"https://localhost:{self.checkout.ports[0]}/v1/predict/faces"],
                    input=face, capture_output=True, check=False, timeout=60).stdout
                self.assertEqual(b"200", status)
        self.fill(but_kb=8)
        answer(30)
        size = log.stat().st_size
        answer(5)
        self.assertEqual(size, log.stat().st_size, "the disk was not full")

        def workers():
            return {pid for pid in processes.children(self.checkout.pid("inferpool"))
                    if "worker" in processes.title(pid)}
        before = workers()
        os.kill(min(before), signal.SIGSEGV)
        eventually(lambda: len(workers()) == 2 and workers() != before, "the worker is replaced")
        answer(5)
        for path in self.disk.glob("filler*"):
            path.unlink()
        answer(2)
        self.assertIn("log lines dropped", log.read_text())
        torn = []
        for line in log.read_text().splitlines():
            # Lines of the model server's library are no JSON.
            if line and not line.startswith(("WARNING", "I0", "E0")) and not is_json(line):
                torn.append(line)
        # One each of the master, the sidecar, the model server and the workers.
        self.assertLessEqual(len(torn), 6, torn)
        for report in crashes.glob("*") if crashes.exists() else ():
            json.loads(report.read_text())
        self.assert_stops()


class LimitedFilesTest(ScriptTest):
    """A limit of a file's size is a disk that is full for larger files, and needs no root."""

    @staticmethod
    def limited_to(size):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return {"preexec_fn": limit, "restore_signals": False}

    def test_before_the_start(self):
        self.assert_refused("cannot write", "nginx.conf", how=self.limited_to(4096))

    def test_during_the_start(self):
        """nginx.conf and the certificate are written, and what is larger is not."""
        self.assert_refused("disk", str(self.state), "is full", how=self.limited_to(48 * 1024))
        self.assertTrue((self.state / "nginx.conf").exists())

    def test_serve_says_so_and_leaves_nothing(self):
        self.state.mkdir()
        result = subprocess.run([harness.INFERPOOL, "serve", "-c", self.config()], text=True, check=False,
                                capture_output=True, timeout=60, **self.limited_to(0))
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertRegex(result.stderr, "^inferpool: cannot write .*inferpool.pid: File too large")
        self.assertEqual([], list(self.state.iterdir()))


class FullLogTest(SystemTest):
    """The log alone on a full disk, which needs no root."""

    SETTINGS = {"log.file": "/dev/full", "log.access": True}

    def test_requests_are_answered(self):
        for _ in range(10):
            self.assert_good(self.instance.predict("faces", pictures.ASTRONAUT))
        self.assertEqual(0, self.instance.crashes())


class StateFolderTest(ScriptTest):
    def assert_untouched(self, words):
        """Neither ops/run nor serve starts from the folder, and what links in it lead to stays."""
        (self.state / "logs").mkdir(exist_ok=True)
        precious = self.checkout.folder / "precious"
        precious.write_text("precious")
        for name in ("nginx.conf", "inferpool.pid", "nginx.pid", "logs/inferpool.log", "logs/nginx.log"):
            (self.state / name).symlink_to(precious)
        self.assert_refused(str(self.state), words)
        result = inferpool("serve", "-c", self.config())
        self.assertEqual(1, result.returncode)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        self.assertIn(words, result.stderr)
        self.assertEqual("precious", precious.read_text())

    def test_one_that_others_may_write_to_is_refused(self):
        self.state.mkdir()
        self.state.chmod(0o777)
        self.assert_untouched("is writable to others (mode 0777): chmod go-w it")

    @unittest.skipUnless(ROOT, "only root can make a folder of somebody else's")
    def test_somebody_elses_is_refused(self):
        self.state.mkdir()
        os.chown(self.state, NOBODY, NOBODY)
        self.assert_untouched("belongs to nobody, not to root: start inferpool as that user")

    @unittest.skipUnless(ROOT, "only root can make a folder of somebody else's")
    def test_root_is_told_where_to_start_when_the_checkout_is_somebody_elses(self):
        os.chown(self.checkout.folder, NOBODY, NOBODY)
        self.assert_refused(str(self.state), "belongs to nobody", "ops/run --state", "/var/lib/inferpool")
        self.assertFalse(self.state.exists())

    @unittest.skipUnless(ROOT, "only root can make a link of somebody else's")
    def test_somebody_elses_link_is_refused(self):
        self.state.symlink_to(tempfile.mkdtemp(prefix="ours", dir=self.checkout.folder))
        os.lchown(self.state, NOBODY, NOBODY)
        self.assert_refused(str(self.state), "symbolic link")

    def test_a_link_in_place_of_a_log_is_refused(self):
        (self.state / "logs").mkdir(parents=True)
        precious = self.checkout.folder / "precious"
        precious.write_text("precious")
        (self.state / "logs/nginx-access.log").symlink_to(precious)
        self.assert_refused("nginx-access.log", "symbolic link")
        self.assertEqual("precious", precious.read_text())

    def assert_nginx_works_as(self, user):
        """Its workers run as that user and need nothing that only root may."""
        master = self.checkout.pid("nginx")

        def workers():
            return {pid for pid in processes.children(master) if "worker process" in processes.title(pid)
                    and "shutting down" not in processes.title(pid)}

        def assert_answers(picture):
            status = subprocess.run(
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-",
                 "--cacert", self.state / "tls/certificate.pem", "-H", "Content-Type: image/png",
                 f"https://localhost:{self.checkout.ports[0]}/v1/predict/faces"],
                input=picture, capture_output=True, check=False, timeout=60).stdout
            self.assertEqual(b"200", status)
        face = pictures.encode(pictures.astronaut(), "PNG")
        noise = Image.frombytes("RGB", (1300, 1300), os.urandom(3 * 1300 * 1300))
        large = pictures.encode(noise, "PNG")
        self.assertGreater(len(large), 5_000_000)  # above 4 MB nginx writes it to tmp/
        before = workers()
        self.assertEqual({user}, {processes.user(pid) for pid in before})
        assert_answers(large)
        with self.subTest("its log is opened again"):
            log = self.state / "logs/nginx-access.log"
            log.rename(self.state / "logs/nginx-access.log.1")
            os.kill(master, signal.SIGUSR1)
            eventually(log.exists, "the log is there again")

            def lines():
                assert_answers(face)
                return log.read_text()
            eventually(lines, "a line in the new log")
        with self.subTest("a reload"):
            os.kill(master, signal.SIGHUP)
            eventually(lambda: workers() and not workers() & before, "new workers")
            self.assertEqual({user}, {processes.user(pid) for pid in workers()})
            assert_answers(large)
        self.assertNotRegex((self.state / "logs/nginx-error.log").read_text(), "ermission|crit|emerg")

    @unittest.skipUnless(ROOT, "only root can change the user")
    def test_roots_pool_with_a_user_keeps_the_folder_and_lets_the_user_look_in(self):
        # The source may lie where nobody else may look.
        programs = self.checkout.folder / "build/release/bin"
        programs.unlink()
        programs.mkdir()
        for name in ("inferpool", "modelserver"):
            shutil.copy2(harness.BIN / name, programs)
        models = shutil.copytree(harness.MODELS, self.checkout.folder / "models")
        self.checkout.folder.chmod(0o755)
        words = self.assert_starts(
            "--config", self.config(user="nobody", modelserver__repository=str(models)))
        self.assertNotIn("runs as root", words)
        owner = self.state.stat()
        self.assertEqual((0, 0o750), (owner.st_uid, stat.S_IMODE(owner.st_mode)))
        self.assertEqual(NOBODY, (self.state / "children").stat().st_uid)
        for pid in processes.children(self.checkout.pid("inferpool")):
            self.assertEqual(NOBODY, processes.user(pid), processes.title(pid))
        self.assert_nginx_works_as(NOBODY)
        self.assert_stops()
        self.assert_starts("--config", self.checkout.folder / "config.json")
        os.kill(self.checkout.pid("nginx"), signal.SIGKILL)  # its workers live on
        self.assert_stops()

    @unittest.skipUnless(ROOT, "others are not warned")
    def test_root_is_warned(self):
        config = self.config()
        self.assertIn("runs as root", inferpool("prepare", "-c", config).stderr)
        self.assertEqual("", inferpool("prepare", "-c", config, "--set", "user=nobody").stderr)


class DemonstrationTest(ScriptTest):
    def test_where_keys_are_asked_for_it_says_how_to_ask(self):
        keys = self.checkout.folder / "keys.json"
        added = inferpool("keys", "add", "shop", "--file", keys)
        self.assertEqual(0, added.returncode, added.stderr)
        config = self.config(auth__keys_file=str(keys))
        words = self.assert_starts("--config", config)
        self.assertIn("keys add", words)
        self.assertIn("Authorization: Bearer", words)
        self.assertNotIn(added.stdout.strip(), words)

        for text in ("{ no keys file", None):
            with self.subTest("a reload", text=text):
                before = keys.read_text()
                if text is None:
                    keys.unlink()
                else:
                    keys.write_text(text)
                result = inferpool("reload", "-c", config)
                keys.write_text(before)
                self.assertEqual(1, result.returncode)
                self.assertRegex(result.stderr, f"(?m)^inferpool: auth.keys_file.*{keys.name}")
        self.assert_stops()

    def test_without_the_model_faces_it_says_which_models_there_are(self):
        repository = self.checkout.folder / "models"
        repository.mkdir()
        shutil.copytree(harness.MODELS / "shapes", repository / "shapes")
        words = self.assert_starts("--config", self.config(modelserver__repository=str(repository)))
        self.assertIn('"shapes"', words)
        self.assert_stops()


if __name__ == "__main__":
    unittest.main()
