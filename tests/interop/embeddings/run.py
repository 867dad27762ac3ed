"""What the nets `embedding` and `face_embedding` find again: pictures of Debian's packages, faces of clones.

Without options: of a thousand pictures, each changed in six ways, how often is the original the nearest? It passes
when at least 95 % of those with all changes at once find theirs. With --clones (faces.py says which repositories),
also how often two faces are rightly called those of one person, or of two: at most 3 % of each may be wrong. With
--net, the same of each output of another net, which candidates.py makes: image [1, side, side, 3] -> [1, N].
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import faces
import pictures

ROOT = Path(__file__).resolve().parents[3]
CI_STEP = 10  # of --ci: each so manieth query


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def placed(picture, side, resize):
    if resize == "stretch":
        return picture.resize((side, side), Image.BILINEAR)
    scale = (min if resize == "letterbox" else max)(side / size for size in picture.size)
    picture = picture.resize([max(1, round(size * scale)) for size in picture.size], Image.BILINEAR)
    frame = Image.new("RGB", (side, side), (114, 114, 114))
    frame.paste(picture, tuple((side - size) // 2 for size in picture.size))
    return frame


class Net:
    def __init__(self, path, resize="stretch"):
        self._session, self._resize = session(path), resize
        (self._input,) = self._session.get_inputs()
        self.side = self._input.shape[1]
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.run_ms = []

    def vectors(self, inputs):
        """{output: the vectors of these pictures, of length 1}"""
        dtype = np.uint8 if self._input.type == "tensor(uint8)" else np.float32
        rows = []
        for picture in inputs:
            image = np.asarray(placed(picture, self.side, self._resize), dtype)[None]
            begin = time.perf_counter()
            rows.append([output.reshape(-1) for output in self._session.run(None, {self._input.name: image})])
            self.run_ms.append(1000 * (time.perf_counter() - begin))
        stacks = {name: np.array(of_output) for name, of_output in zip(self.outputs, zip(*rows))}
        return {name: stack / np.linalg.norm(stack, axis=1, keepdims=True) for name, stack in stacks.items()}


def search(net, originals, changes, step):
    """{output: {change: the part of the queries whose original is the nearest}}"""
    stored = net.vectors([picture for _, picture in originals])
    numbers = np.arange(0, len(originals), step)
    found = {name: {} for name in net.outputs}
    for change in changes:
        queries = net.vectors(pictures.changed(originals[number][1], change, number) for number in numbers)
        for name, vectors in queries.items():
            nearest = np.argmax(vectors @ stored[name].T, axis=1)
            found[name][change] = float(np.mean(nearest == numbers))
    return found


def report_search(net, found):
    for name, parts in found.items():
        print(f"{name}: " + ", ".join(f"{change} {100 * part:.1f} %" for change, part in parts.items()))
    print(f"one run {np.median(net.run_ms):.1f} ms (median), {len(net.run_ms)} runs")


def compare_faces(net, detector, clones, around):
    names, squares = [], []
    for person, paths in faces.people(clones).items():
        for path in paths:
            picture = faces.opened(path)
            edges = faces.box(detector, picture)
            if edges is None:
                print(f"no face in {path}")
                continue
            names.append(person)
            squares.append(faces.square(picture, edges, net.side, around))
    chosen = faces.distinct(squares)
    return {name: faces.tell_apart(vectors, [names[number] for number in chosen])
            for name, vectors in net.vectors(squares[number] for number in chosen).items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ci", action="store_true", help="a tenth of the queries")
    parser.add_argument("--models", type=Path, default=ROOT / "ops/models")
    parser.add_argument("--clones", type=Path, help="folder with the clones that faces.py names")
    parser.add_argument("--net", type=Path, help="another net than that of --models")
    parser.add_argument("--resize", choices=["stretch", "letterbox", "crop"], default="stretch")
    parser.add_argument("--changes", nargs="+", choices=pictures.CHANGES, default=pictures.CHANGES)
    parser.add_argument("--around", type=float, default=faces.AROUND)
    parser.add_argument("--data", type=Path, default=ROOT / "build/interop/embeddings/data")
    options = parser.parse_args()

    passed = True
    if options.clones is None or options.net is None:
        path = options.net or options.models / "embedding/1/model.onnx"
        if not path.is_file():
            print(f"there is no {path}: ops/run or ops/test makes it")
            return 1
        originals = pictures.originals(pictures.download(options.data))
        print(f"{len(originals)} pictures of {', '.join(pictures.PACKAGES)}")
        net = Net(path, options.resize)
        found = search(net, originals, options.changes, CI_STEP if options.ci else 1)
        report_search(net, found)
        passed = options.net is not None or found["embedding"].get("all", 1) >= 0.95
    if options.clones is not None:
        net = Net(options.net or options.models / "face_embedding/1/model.onnx")
        results = compare_faces(net, session(options.models / "faces/1/model.onnx"), options.clones, options.around)
        for name, result in results.items():
            print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in result.items()))
        print(f"one run {np.median(net.run_ms):.1f} ms (median)")
        passed = passed and (options.net is not None or results["embedding"]["equal_error_rate"] <= 0.03)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
