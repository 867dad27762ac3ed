"""What chance cannot know of our requests: pictures, and which values go together."""

import base64
import os
import sys
from pathlib import Path

import schemathesis
from hypothesis import strategies

sys.path.append(str(Path(os.environ["INFERPOOL_SOURCE_DIR"]) / "tests/system"))
import pictures  # noqa: E402

SMALL = pictures.astronaut().resize((64, 64))
PICTURES = [pictures.encode(SMALL, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")]
ENCODED = [base64.b64encode(picture).decode() for picture in PICTURES]
PATIENCE_MS = 30_000
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


def fill_empty_headers(case):
    """A header without a value is as none to us, so that it proves nothing: it gets one that is as wrong."""
    for name in KNOWN_HEADERS:
        if case.headers and not str(case.headers.get(name, WRONG)).strip():
            case.headers[name] = WRONG


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers:
        # Who is sent a header that they do not know passes over it.
        case.headers.pop("x-schemathesis-unknown-property", None)
    if not case.meta.generation.mode.is_positive:
        fill_empty_headers(case)
        return
    with_pictures(case)
    # Each parameter once, which a schema cannot say.
    if case.query and isinstance(case.body, dict):
        for name in case.body:
            case.query.pop(name, None)
    # Its value is where the JSON of this very body ends.
    if case.headers:
        case.headers.pop("Inference-Header-Content-Length", None)
        if str(case.headers.get("X-Timeout-Ms", "")).isdigit():
            case.headers["X-Timeout-Ms"] = str(PATIENCE_MS)
