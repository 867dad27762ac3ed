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


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers:
        # Who is sent a header that they do not know passes over it.
        case.headers.pop("x-schemathesis-unknown-property", None)
    if not case.meta.generation.mode.is_positive:
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
