#!/usr/bin/env python3
"""build_package.py FOLDER: makes the sdist of inferpool.py there, and prints its name.

It is a build backend, too (PEP 517), so `pip install` takes this folder and the sdist without a
download. The same file is made whenever the sources are the same.
"""

import base64
import gzip
import hashlib
import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("README.md", "build_package.py", "inferpool.py", "pyproject.toml")
TIME = 315532800  # the first that a zip can have
MODULE = (HERE / "inferpool.py").read_bytes()
VERSION = re.search(rb'^__version__ = "(.*?)"', MODULE, re.M)[1].decode()
METADATA = f"""Metadata-Version: 2.1
Name: inferpool
Version: {VERSION}
Summary: The client of inferpool: what is in this picture?
License: Apache-2.0
Requires-Python: >=3.9
Description-Content-Type: text/markdown

{(HERE / "README.md").read_text()}"""
WHEEL = """Wheel-Version: 1.0
Generator: build_package.py
Root-Is-Purelib: true
Tag: py3-none-any
"""


def build_sdist(sdist_directory, config_settings=None):
    name = f"inferpool-{VERSION}"
    file = Path(sdist_directory, f"{name}.tar.gz")
    with open(file, "wb") as packed, gzip.GzipFile("", "wb", fileobj=packed, mtime=TIME) as content, tarfile.open(
            fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, text in [(source, (HERE / source).read_bytes()) for source in SOURCES] + [
                ("PKG-INFO", METADATA.encode())]:
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size, info.mtime, info.mode = len(text), TIME, 0o644
            archive.addfile(info, io.BytesIO(text))
    return file.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    folder = f"inferpool-{VERSION}.dist-info"
    # As a folder, which a type checker knows by py.typed to have types.
    files = {"inferpool/__init__.py": MODULE, "inferpool/py.typed": b"", f"{folder}/METADATA": METADATA.encode(),
             f"{folder}/WHEEL": WHEEL.encode()}
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(content)}\n"
    files[f"{folder}/RECORD"] = (record + f"{folder}/RECORD,,\n").encode()
    file = Path(wheel_directory, f"inferpool-{VERSION}-py3-none-any.whl")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return file.name


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.partition("\n")[0])
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    print(build_sdist(sys.argv[1]))
