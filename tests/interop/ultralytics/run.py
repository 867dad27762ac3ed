"""Exports of the ultralytics package, answered by us through nginx as its own predict answers them.

The nets have weights by chance (weights cannot be had by name from PyPI), with their heads set so
that some dozens of objects are found. What is compared is all that lies between a picture and an
answer: letterbox, decoding of the head, suppression of overlaps, masks, keypoints, turned boxes.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["YOLO_OFFLINE"] = "1"  # nothing is downloaded
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="ipyolo", dir="/tmp"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from ultralytics import ASSETS, RTDETR, YOLO  # noqa: E402
from ultralytics.utils import LOGGER  # noqa: E402

SOURCE = Path(os.environ["INFERPOOL_SOURCE_DIR"])
sys.path.append(str(SOURCE / "tests/system"))
import heads  # noqa: E402
from harness import Instance  # noqa: E402

SIDE, CLASSIFY_SIDE = 320, 224
CONFIDENCE, IOU = 0.25, 0.45
MOST_PARTS = 32  # of a mask that we answer, the largest; masks by chance have hundreds
LEAST_FOUND = 5  # of the first picture
# Of what one side found, the other must have found so much. Two boxes that overlap by just about IOU,
# or a score that is just about CONFIDENCE, may fall either way.
AGREE = 0.97

# (name, what makes the net, options of the export)
EXPORTS = [
    ("yolov8_detect", "yolov8n.yaml", {}),
    ("yolov8_segment", "yolov8n-seg.yaml", {}),
    ("yolov8_pose", "yolov8n-pose.yaml", {}),
    ("yolov8_obb", "yolov8n-obb.yaml", {}),
    ("yolov8_classify", "yolov8n-cls.yaml", {}),
    ("yolo11_detect", "yolo11n.yaml", {}),
    ("yolo11_segment", "yolo11n-seg.yaml", {}),
    ("yolo11_pose", "yolo11n-pose.yaml", {}),
    ("yolo11_obb", "yolo11n-obb.yaml", {}),
    ("yolo11_classify", "yolo11n-cls.yaml", {}),
    ("yolo11_dynamic", "yolo11n.yaml", {"dynamic": True}),
    ("yolo11_segment_dynamic", "yolo11n-seg.yaml", {"dynamic": True}),
    ("yolo11_pose_dynamic", "yolo11n-pose.yaml", {"dynamic": True}),
    ("yolo11_obb_dynamic", "yolo11n-obb.yaml", {"dynamic": True}),
    ("yolo11_classify_dynamic", "yolo11n-cls.yaml", {"dynamic": True}),
    ("yolov8_dynamic", "yolov8n.yaml", {"dynamic": True}),
    ("yolo11_nms", "yolo11n.yaml", {"nms": True}),
    ("yolo11_segment_nms", "yolo11n-seg.yaml", {"nms": True}),
    ("yolo11_pose_nms", "yolo11n-pose.yaml", {"nms": True}),
    ("yolo11_obb_nms", "yolo11n-obb.yaml", {"nms": True}),
    ("yolov10", "yolov10n.yaml", {}),
    ("rt_detr", "rtdetr-l.yaml", {}),
]


def pictures():
    """{name: pixels, BGR}: photographs that come with the package, one of them small and wide."""
    bus = cv2.imread(str(ASSETS / "bus.jpg"))
    zidane = cv2.imread(str(ASSETS / "zidane.jpg"))
    return {"bus": bus, "zidane": zidane, "wide": cv2.resize(bus[300:600], (300, 90))}


def make(config):
    return RTDETR(config) if "rtdetr" in config else YOLO(config)


def load(path, task):
    return RTDETR(path) if task == "rt_detr" else YOLO(path, task=task)


# The last layers of a head -> mean (None: as it is) and maximum of what they are to put out. Logits
# of scores stay below those that round to 1, among which any order would be right.
_SCORES = (-8.5, 3.0)
_HEADS = {"cv2": (None, 4.0), "cv3": _SCORES, "cv4": (0.0, 3.0), "one2one_cv2": (None, 4.0),
          "one2one_cv3": _SCORES, "one2one_cv4": (0.0, 3.0)}


def enliven(net, sample):
    """Without training a net's activations die out and all scores are alike: takes the statistics of
    a sample into the normalisations, then scales the last layers."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    head, seen = net.model[-1], {}
    with torch.no_grad():
        net.train()
        net(sample)
        net.eval()
        last = {}
        for name, wanted in _HEADS.items():
            for layers in getattr(head, name, None) or []:
                last[layers[-1] if isinstance(layers, torch.nn.Sequential) else layers] = wanted
        if hasattr(head, "dec_score_head"):
            last[head.dec_score_head[-1]] = _SCORES
        if hasattr(head, "linear"):
            last[head.linear] = (0.0, 2.0)
        hooks = [layer.register_forward_hook(lambda layer, _, out: seen.__setitem__(layer, out))
                 for layer in last]
        net(sample)
        for hook in hooks:
            hook.remove()
        for layer, out in seen.items():
            if not isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                continue
            mean, top = last[layer]
            if last[layer] is _SCORES:
                # One class needs more that it finds, and two classes' best must not be the same.
                mean = mean if len(layer.bias) > 10 else mean / 2
                top = torch.linspace(top / 2, top, len(layer.bias))
            values = out.movedim(1, -1) if isinstance(layer, torch.nn.Conv2d) else out
            values = values.reshape(-1, values.shape[-1])
            scale = (top - (mean or 0)) / (values - values.mean(0)).amax(0).clamp(min=1e-6)
            layer.weight *= scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
            if mean is not None:
                layer.bias.copy_(mean - ((values - layer.bias) * scale).mean(0))
    return net


def letterboxed(picture, side):
    scale = side / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale)[:side, :side]
    rest = np.array([side, side]) - small.shape[:2]
    (top, left), (bottom, right) = rest // 2, rest - rest // 2
    return cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=[114] * 3)


def samples(side):
    """The pictures as a net of this side takes them."""
    shown = np.stack([letterboxed(picture, side) for picture in pictures().values()])
    return shown[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255


def export(folder, config, options):
    """The file, the task, and the net for `heads`."""
    torch.manual_seed(2)
    model = make(config)
    side = CLASSIFY_SIDE if model.task == "classify" else SIDE
    sample = torch.from_numpy(samples(side))
    enliven(model.model, torch.cat([sample, sample.flip(3)]))
    made = Path(model.export(format="onnx", imgsz=side, simplify=False, opset=17, conf=CONFIDENCE,
                             iou=IOU, **options))
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    made.rename(path)
    task = "rt_detr" if "rtdetr" in config else model.task
    return path, task, (heads.Net(model.model, ranked=task == "rt_detr"), side, options.get("dynamic", False))


def theirs(model, picture):
    """What the package finds: {kind: array}, one row for each object."""
    result = model.predict(picture, conf=CONFIDENCE, iou=IOU, verbose=False, max_det=300,
                           rect=False, imgsz=CLASSIFY_SIDE if model.task == "classify" else SIDE)[0]
    if result.probs is not None:
        return {"scores": result.probs.data.numpy()}
    edges = np.array(picture.shape[1::-1])
    found = result.obb if result.obb is not None else result.boxes
    rows = {"class": found.cls.numpy().astype(int), "confidence": found.conf.numpy(),
            "box": found.xyxy.numpy().clip(0, np.tile(edges, 2))}
    if result.obb is not None:
        rows["corners"] = found.xyxyxyxy.numpy()
        rows["box"] = np.concatenate([rows["corners"].min(1).clip(0, edges),
                                      rows["corners"].max(1).clip(0, edges)], 1)
    if result.keypoints is not None:
        rows["keypoints"] = result.keypoints.data.numpy()
    if result.masks is not None:
        rows["mask"] = [outlined(mask.numpy().astype(np.uint8), picture) for mask in result.masks.data]
    # What lies in the padding alone has no area in the picture; we do not answer it.
    size = rows["box"][:, 2:] - rows["box"][:, :2]
    real = np.flatnonzero((size > 0.01).all(1))
    return {kind: [values[i] for i in real] for kind, values in rows.items()}


def ours(answer, picture):
    if "classes" in answer:
        scores = np.full(1 + max(item["class_id"] for item in answer["classes"]), np.nan)
        for item in answer["classes"]:
            scores[item["class_id"]] = item["confidence"]
        return {"scores": scores}
    found = answer["detections"]
    rows = {"class": np.array([item["class_id"] for item in found], int),
            "confidence": np.array([item["confidence"] for item in found]),
            "box": np.array([[item["box"][key] for key in ("x1", "y1", "x2", "y2")]
                             for item in found]).reshape(-1, 4)}
    if found and "corners" in found[0]:
        rows["corners"] = np.array([item["corners"] for item in found])
    if found and "keypoints" in found[0]:
        rows["keypoints"] = np.array([[[point["x"], point["y"], point["confidence"]]
                                       for point in item["keypoints"]] for item in found])
    if found and "mask" in found[0]:
        rows["mask"] = [draw(item["mask"], picture) for item in found]
    return rows


def outlined(mask, picture):
    """A mask of the net's size, drawn into the picture as the package makes polygons of it: through the
    middles of its outer pixels. Its own `masks.xy` joins the parts of an object by lines."""
    height, width = picture.shape[:2]
    gain = max(height, width) / SIDE
    padding = (np.array([SIDE, SIDE]) - np.array([width, height]) / gain) / 2
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = sorted(outlines, key=cv2.contourArea, reverse=True)[:MOST_PARTS]
    return draw([(outline[:, 0] + 0.5 - padding) * gain for outline in outlines], picture)


def draw(outlines, picture):
    plane = np.zeros(picture.shape[:2], np.uint8)
    polygons = [np.round(np.array(outline)).astype(np.int32) for outline in outlines if len(outline)]
    return cv2.fillPoly(plane, polygons, 1) if polygons else plane


def same(kind, a, b, scale):
    """Whether one object's `kind` agrees. `scale`: pixels of the picture to one of the net's."""
    if kind == "class":
        return a == b
    if kind == "confidence":
        return abs(a - b) < 0.02
    if kind == "box":
        return np.abs(a - b).max() < 1.5 * scale + 1
    if kind == "corners":  # from whichever corner they begin, either way round
        turns = [np.roll(order, turn, 0) for order in (b, b[::-1]) for turn in range(4)]
        return min(np.abs(a - turn).max() for turn in turns) < 1.5 * scale + 1
    if kind == "keypoints":
        return np.abs(a[:, :2] - b[:, :2]).max() < 2 * scale + 1 and np.abs(a - b)[:, 2:].max() < 0.02
    # Holes are not told, and in masks by chance one pixel opens or closes a ring.
    union = np.logical_or(a, b).sum()
    return union < 64 * scale * scale or np.logical_and(a, b).sum() / union > 0.7


def compare(wanted, got, scale, least):
    """Why they differ; "" when they do not."""
    if "scores" in wanted:
        if "scores" not in got:
            return "classes are missing"
        known = wanted["scores"][:len(got["scores"])]
        worst = np.nanmax(np.abs(known - got["scores"]))
        top = int(np.argmax(wanted["scores"]))
        if worst > 0.01 or int(np.nanargmax(got["scores"])) != top:
            return f"scores differ by {worst:.3f}"
        return ""
    if len(wanted["class"]) < least:
        return f"the package itself found {len(wanted['class'])}, which proves nothing"
    missing = set(wanted) - set(got) if len(wanted["class"]) else set()
    if missing:
        return f"without {sorted(missing)}; {len(got['class'])} found for {len(wanted['class'])}"
    sides = [("found by them alone", wanted, got), ("found by us alone", got, wanted)]
    if "corners" in wanted:
        # For turned boxes alone the package lets also a suppressed box suppress others.
        sides.pop()
    for name, left, right in sides:
        lonely = [i for i in range(len(left["class"]))
                  if not any(all(same(kind, left[kind][i], right[kind][j], scale) for kind in wanted)
                             for j in range(len(right["class"])))]
        if len(lonely) > (1 - AGREE) * len(left["class"]) + 1:
            return (f"{len(lonely)} of {len(left['class'])} {name}; the first: "
                    + ", ".join(f"{kind} {np.round(left[kind][lonely[0]], 3).tolist()}"
                                for kind in ("class", "confidence", "box", "corners") if kind in left))
    return ""


def main():
    LOGGER.setLevel("ERROR")
    named = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    fallen = compared = 0
    with tempfile.TemporaryDirectory(prefix="ipint", dir="/tmp") as folder:
        repository = Path(folder) / "models"
        os.chdir(folder)  # the package leaves files where it stands
        models, nets = {}, {}
        for name, config, options in EXPORTS:
            if not named or name in named:
                path, task, net = export(repository / name, config, options)
                models[name] = load(path, task)
                if "nms" not in options:  # torch's own answer is without
                    nets[name] = net
        fallen += heads.compare(repository, nets, samples)
        compared += len(nets)
        instance = Instance({"workers": 1, "modelserver.repository": str(repository),
                             "decode.reduced": False})
        try:
            for name, model in models.items():
                for which, picture in pictures().items():
                    why = judge(instance, name, model, which, picture)
                    compared += 1
                    fallen += bool(why)
                    print(f"    {name}, {which}: {why or 'the same'}", flush=True)
        finally:
            instance.destroy()
    print(f"    {compared - fallen} of {compared} are the same")
    return 1 if fallen or not compared else 0


def judge(instance, name, model, which, picture):
    if model.task == "classify":
        # A net by chance changes its mind over a level of grey, and the package shrinks with PIL's
        # filter: what is held here is the crop, so nothing is to be shrunk.
        scale = CLASSIFY_SIDE / min(picture.shape[:2])
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    wanted = theirs(model, picture)
    png = cv2.imencode(".png", picture)[1].tobytes()
    answer = instance.predict(name, png, f"confidence={CONFIDENCE}&iou={IOU}&max_detections=300",
                              "image/png")
    if answer.status != 200:
        return f"{answer.status} {answer.body[:200].decode(errors='replace')}"
    return compare(wanted, ours(answer.json(), picture), max(picture.shape[:2]) / SIDE,
                   LEAST_FOUND if which == "bus" else 0)


if __name__ == "__main__":
    sys.exit(main())
