"""Typed clients, generated from /openapi.json, in TypeScript (tsc --strict) and Python: real requests with them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ["INFERPOOL_SOURCE_DIR"])
HERE = Path(__file__).resolve().parent
PACKAGES = SOURCE / "build/interop/openapi/npm"
sys.path.append(str(SOURCE / "tests/system"))
import harness  # noqa: E402
import pictures  # noqa: E402

PATIENCE_S = 300


def call(*command, cwd, stdout=None, **environment):
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, timeout=PATIENCE_S,
                   env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stdout)


def install():
    lock = HERE / "package-lock.json"
    installed = PACKAGES / "package-lock.json"
    if installed.exists() and installed.read_bytes() == lock.read_bytes() and (PACKAGES / "node_modules").exists():
        return
    shutil.rmtree(PACKAGES, ignore_errors=True)
    PACKAGES.mkdir(parents=True)
    shutil.copy(HERE / "package.json", PACKAGES)
    shutil.copy(lock, PACKAGES)
    try:
        call("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", cwd=PACKAGES)
    except subprocess.SubprocessError:
        installed.unlink()
        raise


def make_clients(folder, document):
    """Compiles both clients' programs in `folder`, which must be below PACKAGES for node to find these."""
    programs = PACKAGES / "node_modules/.bin"
    (folder / "openapi.json").write_bytes(document)
    for name in ("tsconfig.json", "make_types.mjs", *(path.name for path in HERE.glob("*.ts"))):
        shutil.copy(HERE / name, folder)
    call(programs / "openapi-ts", "--silent", "--no-log-file", "-i", "openapi.json", "-o", "hey", "-c",
         "@hey-api/client-fetch", cwd=folder)
    call("node", "make_types.mjs", "openapi.json", "schema.d.ts", cwd=folder)
    call(programs / "tsc", "-p", ".", cwd=folder)
    call(Path(sys.executable).parent / "openapi-python-client", "generate", "--path", "openapi.json", "--output-path",
         "typed", "--meta", "none", cwd=folder, stdout=subprocess.DEVNULL)


def main():
    install()
    call("npm", "ls", "--depth", "0", cwd=PACKAGES)
    face = pictures.encode(pictures.astronaut().crop((140, 40, 310, 210)), "PNG")
    fallen = 0
    instance = harness.Instance({"workers": 1})
    try:
        with tempfile.TemporaryDirectory(prefix="clients", dir=PACKAGES) as folder:
            folder = Path(folder)
            make_clients(folder, instance.request("GET", "/openapi.json").body)
            (folder / "face.png").write_bytes(face)
            address = f"https://localhost:{instance.port}"
            certificate = str(instance.state / "tls/certificate.pem")
            for name, program in (("Hey API", ("node", "built/with_hey_api.js")),
                                  ("openapi-fetch", ("node", "built/with_openapi_fetch.js")),
                                  ("openapi-python-client", (sys.executable, "-B", HERE / "with_python.py"))):
                print(f"    {name}:", flush=True)
                try:
                    call(*program, address, folder, certificate, cwd=folder, NODE_EXTRA_CA_CERTS=certificate)
                except subprocess.SubprocessError:
                    fallen += 1
    finally:
        instance.destroy()
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
