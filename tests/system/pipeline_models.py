"""The repository for tests of pipelines: real nets, which ops/run and ops/test make."""

import shutil
import tempfile
from pathlib import Path

from pictures import SOURCE

MODELS = SOURCE / "ops/models"
NAMES = ("objects", "faces", "embedding", "text_boxes", "text_direction", "text_line")
ARE_THERE = all((MODELS / name / "1/model.onnx").exists() for name in NAMES)
MISSING = "install_models of ops/lib.sh could not make the models here"
PIPELINES = {
    "text": {"model": "text_boxes", "order": "reading",
             "each": [{"model": "text_line", "turn": "text_direction", "most": 128}]},
    "people_and_faces": {"model": "objects", "each": [
        {"model": "faces", "classes": ["person"], "min_size": 20, "each": [{"model": "embedding", "most": 4}]},
        {"model": "shapes", "classes": ["bicycle"]}]},
    # Detections in crops that are turned.
    "lines_again": {"model": "text_boxes", "each": [{"model": "text_boxes", "most": 4}]},
    "two_lines": {"model": "text_boxes", "each": [{"model": "text_line", "most": 2}]},
    "gone": {"model": "text_boxes", "each": [{"model": "nobody"}]},
}


def repository(cleanup):
    folder = Path(tempfile.mkdtemp(prefix="inferpool-pipelines-"))
    cleanup(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for name in (*NAMES, "shapes"):
        shutil.copytree(MODELS / name, folder / name)
    return folder
