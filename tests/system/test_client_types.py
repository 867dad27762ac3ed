"""The types of the clients against openapi.json, the clients as packages, and where they are served."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

from client_programs import PACKAGE, SCRIPTS, inferpool
from harness import SystemTest
from pictures import SOURCE
from processes import PATIENCE_S

DOCUMENT = json.loads((SOURCE / "nginx/pages/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
VERSION = re.search(r"project\(inferpool VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())[1]
# Of the answers: the schema that its examples are of.
EXAMPLES = {"Detections": "Prediction", "Texts": "Prediction", "Classes": "Prediction", "Embedding": "Prediction",
            "Batch": "BatchAnswer", "Analysis": "Analysis", "Limits": "Limits", "Model": "Model",
            "BadParameter": "Problem"}


def run(*command, cwd=None):
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=2 * PATIENCE_S,
                          check=False)


def load(name):
    specification = importlib.util.spec_from_file_location(name, PACKAGE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class TypesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_they_are_made_of_the_document_as_it_is(self):
        done = run(sys.executable, "-B", PACKAGE / "make_types.py", "--check")
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_a_document_that_says_otherwise_is_found_out(self):
        shutil.copytree(PACKAGE, self.folder / "client")
        for spoil in (lambda schemas: schemas["Box"]["properties"].update(z1={"type": "number"}),
                      lambda schemas: schemas["Detection"]["required"].remove("class_id"),
                      lambda schemas: schemas["Size"]["properties"].pop("width"),
                      lambda schemas: schemas["ModelVersion"]["properties"].update(version={"type": "integer"}),
                      lambda schemas: schemas["ProblemCode"]["enum"].append("too-good")):
            changed = json.loads(json.dumps(DOCUMENT))
            spoil(changed["components"]["schemas"])
            (self.folder / "openapi.json").write_text(json.dumps(changed))
            done = run(sys.executable, "-B", self.folder / "client/make_types.py", "--check")
            self.assertEqual(1, done.returncode)
            self.assertIn("inferpool.d.ts, inferpool.py: not as openapi.json says", done.stderr)

    def test_typed_dicts_have_the_keys_of_their_schemas(self):
        count = 0
        for name, schema in SCHEMAS.items():
            made = getattr(inferpool, name, None)
            if made is None or "properties" not in schema:
                continue
            with self.subTest(name):
                count += 1
                required = set(schema.get("required", []))
                self.assertEqual(required, set(made.__required_keys__))
                self.assertEqual(set(schema["properties"]) - required, set(made.__optional_keys__))
        self.assertGreater(count, 10)
        self.assertEqual(tuple(SCHEMAS["ProblemCode"]["enum"]), inferpool.ProblemCode.__args__)

    @unittest.skipUnless(shutil.which("tsc"), "there is no tsc: Debian's node-typescript has it")
    def test_they_compile_and_hold_the_examples(self):
        package = self.folder / "node_modules/inferpool"
        shutil.copytree(PACKAGE, package)
        shutil.copy(SCRIPTS / "use.ts", self.folder)
        lines = ["import type * as api from \"inferpool\";"]
        for at, (name, schema) in enumerate(EXAMPLES.items()):
            value = json.dumps(DOCUMENT["components"]["examples"][name]["value"])
            lines.append(f"export const example{at}: api.{schema} = {value};")
        lines += ["// @ts-expect-error: there is no such member",
                  "export const more: api.Size = { width: 1, height: 1, depth: 1 };",
                  "// @ts-expect-error: one is missing", "export const less: api.Size = { width: 1 };"]
        (self.folder / "examples.ts").write_text("\n".join(lines))
        (self.folder / "package.json").write_text('{"type": "module"}')
        (self.folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {
            "strict": True, "exactOptionalPropertyTypes": True, "noUncheckedIndexedAccess": True, "noEmit": True,
            "target": "es2022", "lib": ["es2022", "dom"], "types": [], "module": "node16",
            "moduleResolution": "node16"}, "include": ["*.ts"]}))
        done = run("tsc", "-p", self.folder)
        self.assertEqual((0, ""), (done.returncode, done.stdout))

    @unittest.skipUnless(shutil.which("node"), "there is no node")
    def test_they_name_what_the_code_exports(self):
        done = run("node", "--input-type=module", "-e", f"""
            const module = await import({json.dumps((PACKAGE / "inferpool.js").as_uri())});
            const methods = Object.getOwnPropertyNames(module.Client.prototype);
            console.log(JSON.stringify([Object.keys(module), methods]));""")
        self.assertEqual(0, done.returncode, done.stderr)
        exports, methods = json.loads(done.stdout)
        told = (PACKAGE / "inferpool.d.ts").read_text()
        self.assertEqual(set(exports), set(re.findall(r"^export (?:class|function) (\w+)", told, re.M)))
        client = re.search(r"^export class Client \{(.*?)^\}", told, re.S | re.M)[1]
        self.assertEqual(set(methods), set(re.findall(r"^  (\w+)\(", client, re.M)))


class PackagesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_they_have_the_projects_version_and_licence(self):
        package = json.loads((PACKAGE / "package.json").read_text())
        self.assertEqual((VERSION, VERSION), (package["version"], inferpool.__version__))
        self.assertIn("Apache License", (SOURCE / "LICENSE").read_text()[:200])
        self.assertEqual("Apache-2.0", package["license"])
        self.assertNotIn("dependencies", package)
        self.assertIn("License: Apache-2.0\n", load("build_package").METADATA)

    def test_the_sdist_has_all_that_makes_it_again(self):
        done = run(sys.executable, "-B", PACKAGE / "build_package.py", self.folder / "dist")
        self.assertEqual((0, f"inferpool-{VERSION}.tar.gz\n"), (done.returncode, done.stdout), done.stderr)
        first = self.folder / "dist" / done.stdout.strip()
        with tarfile.open(first) as archive:
            archive.extractall(self.folder)
        again = run(sys.executable, "-B", self.folder / f"inferpool-{VERSION}/build_package.py", self.folder / "again")
        self.assertEqual(0, again.returncode, again.stderr)
        self.assertEqual(first.read_bytes(), (self.folder / "again" / first.name).read_bytes())

    def test_the_wheel_can_be_imported_from(self):
        name = load("build_package").build_wheel(self.folder)
        with zipfile.ZipFile(self.folder / name) as archive:
            self.assertIsNone(archive.testzip())
            record = archive.read(f"inferpool-{VERSION}.dist-info/RECORD").decode()
            self.assertEqual(sorted(archive.namelist()), sorted(row.split(",")[0] for row in record.splitlines()))
        done = run("/usr/bin/python3", "-B", "-I", "-c", f"import sys; sys.path.insert(0, {str(self.folder / name)!r});"
                   "import inferpool; print(inferpool.__version__)")
        self.assertEqual((0, VERSION), (done.returncode, done.stdout.strip()), done.stderr)

    @unittest.skipUnless(shutil.which("npm"), "there is no npm")
    def test_the_npm_package_has_the_code_and_its_types_alone(self):
        done = run("npm", "pack", PACKAGE, "--json", "--offline", "--ignore-scripts", cwd=self.folder)
        self.assertEqual(0, done.returncode, done.stderr)
        [packed] = json.loads(done.stdout)
        self.assertEqual({"README.md", "inferpool.d.ts", "inferpool.js", "package.json"},
                         {file["path"] for file in packed["files"]})
        with tarfile.open(self.folder / packed["filename"]) as archive:
            archive.extractall(self.folder / "node_modules")
        (self.folder / "node_modules/package").rename(self.folder / "node_modules/inferpool")
        (self.folder / "use.mjs").write_text(
            'import { Client } from "inferpool"; console.log(new Client({ url: "http://a" }));')
        done = run("node", "use.mjs", cwd=self.folder)
        self.assertEqual((0, "Client {}"), (done.returncode, done.stdout.strip()), done.stderr)


class ServedTest(SystemTest):
    SETTINGS = {"nginx.base_path": "/vision"}

    def test_the_clients_are_served_where_the_pages_are(self):
        for name, content_type in (("client.js", "text/javascript"), ("client.d.ts", "text/plain"),
                                   ("client.py", "text/plain")):
            for path in (f"/vision/{name}", f"/{name}"):
                with self.subTest(path):
                    answer = self.instance.request("GET", path)
                    self.assertEqual(200, answer.status)
                    self.assertEqual((PACKAGE / name.replace("client", "inferpool")).read_bytes(), answer.body)
                    self.assertEqual(f"{content_type}; charset=utf-8", answer.header("Content-Type"))
                    self.assertEqual("no-cache", answer.header("Cache-Control"))
        for name in ("client/package.json", "client/make_types.py", "client.md", "client.d.js", "inferpool.py"):
            self.assertEqual(404, self.instance.request("GET", f"/{name}").status, name)

    def test_the_python_client_works_as_it_is_served(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "inferpool.py").write_bytes(self.instance.request("GET", "/vision/client.py").body)
            code = ("import inferpool, sys\n"
                    "client = inferpool.Client(sys.argv[1], cafile=sys.argv[2])\n"
                    "print([model['name'] for model in client.models()])")
            done = run("/usr/bin/python3", "-B", "-c", code, f"https://localhost:{self.instance.port}/vision/",
                       self.instance.state / "tls/certificate.pem", cwd=folder)
            self.assertEqual((0, "['faces_cascade', 'people', 'shapes']"), (done.returncode, done.stdout.strip()),
                             done.stderr)


if __name__ == "__main__":
    unittest.main()
