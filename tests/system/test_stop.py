"""Pid files, and ops/stop: what is ours is stopped, and nothing else."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time
import unittest

import harness
import processes
from checkout import NOBODY, ROOT, ScriptTest
from harness import inferpool
from processes import eventually

# What a pid file may hold that is no pid; `kill` takes the first three for whole groups of processes.
NO_PIDS = ("-1", "0", "-0", "", "garbage", "1\n2", "1 2", "99999999999999999999", "0x1", "\0")


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
    def program(self, name, log, mode="a", user=None, cwd=None):
        """A process whose program has that name, and a log of somebody's open."""
        path = self.checkout.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2("/bin/sleep", path)
        with open(log, mode) as file:
            process = subprocess.Popen([path, "600"], stdin=file, stdout=file, user=user, cwd=cwd)
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

    def test_an_nginx_that_hangs_is_killed_and_the_rest_stops(self):
        log = self.state / "logs/nginx-error.log"
        log.parent.mkdir(parents=True)
        (self.state / "redis").mkdir()
        nginx = self.program("bin/nginx", log)
        redis = self.program("bin/redis-server", self.checkout.folder / "log", cwd=self.state / "redis")
        nginx.send_signal(signal.SIGSTOP)
        result = self.checkout.stop()
        self.assertEqual(1, result.returncode, result.stdout)
        self.assertIn(f"nginx (pid {nginx.pid}) does not stop", result.stdout)
        self.assertEqual(-signal.SIGKILL, nginx.wait(10))
        self.assertEqual(-signal.SIGTERM, redis.wait(10))

    def test_an_nginx_that_is_still_starting_is_stopped_at_once(self):
        """It does not hear what is said to it before."""
        self.checkout.stub("nginx", 'case " $* " in *" -t "*) ;; *) sleep 2 ;; esac; '
                           f'exec {shutil.which("nginx", path="/usr/sbin:/usr/bin")} "$@"')
        script = self.foreground("--config", self.config(), until="Starting inferpool")
        time.sleep(1)
        os.killpg(script.pid, signal.SIGINT)
        before = time.monotonic()
        words, _ = script.communicate(timeout=100)
        self.assertEqual(130, script.returncode, words)
        self.assertLess(time.monotonic() - before, 30, words)
        self.checkout.assert_nothing_runs()

    def test_impatience_leaves_nothing_running(self):
        """A second signal comes while nginx drains."""
        script = self.foreground("--config", self.config(), until="Ctrl-C")

        def wait_for(words):
            for line in script.stdout:
                if words in line:
                    return
            self.fail(f"it has never said {words}")
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


if __name__ == "__main__":
    unittest.main()
