"""/openapi.json, held by Schemathesis against a real pool: what it allows is answered as it says, the rest refused.

Without options in two minutes; --ci in one and always the same requests.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ["INFERPOOL_SOURCE_DIR"])
HERE = Path(__file__).resolve().parent
sys.path.append(str(SOURCE / "tests/system"))
import harness  # noqa: E402

PATIENCE_S = 600


def main():
    ci = "--ci" in sys.argv
    bounds = ["--max-time", "60", "--max-examples", "10", "--seed", "1"] if ci else ["--max-time", "120"]
    program = Path(sys.executable).parent / "st"
    subprocess.run([program, "--version"], check=True)
    instance = harness.Instance({"workers": 2, "predict.max_detections": 10_000, "nginx.rate_per_s": 0, "nginx.connections": 0,
                                 "analyze": ["faces_cascade", "shapes"],
                                 "nginx.trusted_proxies": ["127.0.0.1"]})  # so that probes are not counted
    address = f"https://localhost:{instance.port}"
    crashes = 0
    try:
        with tempfile.TemporaryDirectory(prefix="ipst", dir="/tmp") as folder:  # it leaves reports where it stands
            (Path(folder) / "schemathesis.toml").write_bytes((HERE / "schemathesis.toml").read_bytes())
            done = subprocess.run(
                [program, "run", f"{address}/openapi.json", "--url", address, "--no-shrink",
                 "--phases", "examples,coverage,fuzzing",
                 "--tls-verify", str(instance.state / "tls/certificate.pem"), "--request-timeout", "60",
                 "--warnings", "off", "--continue-on-failure", *bounds],
                cwd=folder, check=False, timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
                env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "NO_COLOR": "1"})
        crashes = instance.crashes()
    finally:
        instance.destroy()
    if crashes:
        print(f"    {crashes} workers crashed")
    return 1 if done.returncode or crashes else 0


if __name__ == "__main__":
    sys.exit(main())
