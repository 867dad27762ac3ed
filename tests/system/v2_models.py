"""Models for tests of the KServe v2 protocol over HTTP."""

import shutil
import sys
from pathlib import Path

import numpy as np

import harness
from model_servers import kserve

sys.path.append(str(Path(__file__).resolve().parent / "conformance"))

from serving import add_sub, identity  # noqa: E402, of the folder above

# Of each datatype what is hard to carry: its ends, and floats of many digits.
VALUES = {
    "BOOL": [True, False, True],
    **{f"UINT{bits}": [0, 1, 2**bits - 1] for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": [-2**(bits - 1), 0, 2**(bits - 1) - 1] for bits in (8, 16, 32, 64)},
    "FP16": [0.5, -65504.0, 6e-8],
    "FP32": [0.1, -3.4028235e38, 1e-45, 16777217.0, -0.0, 1.0],
    "FP64": [0.1, -1.7976931348623157e308, 5e-324, 9007199254740993.0, -0.0, 1e22],
    "BYTES": [b"", b"plain", "gr\u00fc\u00df \U0001f600 \"\\\n\0".encode()],
}


def array_of(datatype):
    return np.array(VALUES[datatype], dtype=kserve.DATATYPES[datatype][1])


def repository(folder):
    """Identities of every datatype, Triton's "simple", versions, and the sample models."""
    models = {f"identity_{datatype.lower()}": (identity(datatype), [1])
              for datatype in [*VALUES, "BF16"]}
    models["simple"] = (add_sub(), [1])
    models["batched"] = (identity("FP32", dims=(-1, -1), batch=8), [1])
    models["versions"] = (identity(more="version_policy: { specific { versions: [ 1, 3 ] } }"),
                          [1, 2, 3])
    models["slow"] = (identity("INT32", delay_ms=2000), [1])
    for name, (config, versions) in models.items():
        for version in versions:
            (folder / name / str(version)).mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
    for name in ("faces_cascade", "shapes"):
        shutil.copytree(harness.MODELS / name, folder / name)
