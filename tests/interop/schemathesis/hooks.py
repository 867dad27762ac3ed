"""What chance cannot know of our requests: pictures, what is in them, and which values go together."""

import base64
import os
import sys
from pathlib import Path

import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode

sys.path.append(str(Path(os.environ["INFERPOOL_SOURCE_DIR"]) / "tests/system"))
import pictures  # noqa: E402

SIDE = 64
SMALL = pictures.astronaut().resize((SIDE, SIDE))
PICTURES = [pictures.encode(SMALL, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")]
ENCODED = [base64.b64encode(picture).decode() for picture in PICTURES]
PATIENCE_MS = 30_000
# Lists of the classes of the model that schemathesis.toml names, and names of one.
CLASSES, CLASS = ("face", "0", "face,0"), ("face", "0")
THRESHOLD = "confidence."
# Those of which the document says what they may be, and what none of them may be.
KNOWN_HEADERS, WRONG = ("X-Priority", "X-Timeout-Ms", "Inference-Header-Content-Length"), "?"

schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES))
for media_type in ("image/jpeg", "image/png", "image/webp", "image/gif"):
    schemathesis.openapi.media_type(media_type, strategies.sampled_from(PICTURES))


def with_pictures(case):
    """Texts that are to be base64 are a picture's."""
    if case.media_type == "application/json" and isinstance(case.body, dict):
        if "image" in case.body:
            case.body["image"] = ENCODED[len(case.body["image"]) % len(ENCODED)]
        if "images" in case.body:
            case.body["images"] = [ENCODED[len(image) % len(ENCODED)] for image in case.body["images"]]


def in_the_picture(roi, normalized):
    """The second corner is below and to the right of the first one, and both are in the picture."""
    half = SIDE / 2 - 1
    x1, y1, x2, y2 = (abs(float(edge)) % 1 * half for edge in roi.split(","))
    edges = (x1, y1, SIDE - x2, SIDE - y2)
    return ",".join(f"{edge / (SIDE if normalized else 1):.4f}" for edge in edges)


def with_what_there_is(values, normalized):
    """Parameters, of a query or a form, that ask about what the picture and the model have."""
    if "roi" in values:
        values["roi"] = in_the_picture(values["roi"], normalized)
    if "classes" in values:
        values["classes"] = CLASSES[len(values["classes"]) % len(CLASSES)]
    if "x" in values.get("tiles", ""):
        values["tiles"] = "x".join(str(int(count) % 4 + 1) for count in values["tiles"].split("x"))
    if "models" in values:
        values["models"] = ",".join(dict.fromkeys(values["models"].split(",")))
    thresholds = [name for name in values if name.startswith(THRESHOLD)]
    for name in thresholds:
        threshold = values.pop(name)
        # Two names of one class would be two thresholds.
        values.setdefault(THRESHOLD + CLASS[len(thresholds) % len(CLASS)], threshold)


def fill_empty_headers(case):
    """A header without a value is as none to us, so that it proves nothing: it gets one that is as wrong."""
    for name in KNOWN_HEADERS:
        if case.headers and not str(case.headers.get(name, WRONG)).strip():
            case.headers[name] = WRONG


# The ids of cases in work that are as they should be.
good = set()


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers:
        # Who is sent a header that they do not know passes over it.
        case.headers.pop("x-schemathesis-unknown-property", None)
    if not case.meta.generation.mode.is_positive:
        fill_empty_headers(case)
        return
    good.add(case.id)
    with_pictures(case)
    # Each parameter once, which a schema cannot say.
    if case.query and isinstance(case.body, dict):
        for name in case.body:
            case.query.pop(name, None)
    given = [values for values in (case.query, case.body) if isinstance(values, dict)]
    normalized = any(values.get("coordinates") == "normalized" for values in given)
    for values in given:
        with_what_there_is(values, normalized)
    # Its value is where the JSON of this very body ends.
    if case.headers:
        case.headers.pop("Inference-Header-Content-Length", None)
        if str(case.headers.get("X-Timeout-Ms", "")).isdigit():
            case.headers["X-Timeout-Ms"] = str(PATIENCE_MS)


@schemathesis.hook
def after_call(context, case, response):
    """A body that we have changed counts as a bad one where it has bytes, which a schema cannot judge."""
    if case.id in good:
        good.remove(case.id)
        case.meta.generation.mode = GenerationMode.POSITIVE
