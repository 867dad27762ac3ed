"""The client that openapi-python-client makes of /openapi.json: with_python.py ADDRESS FOLDER CERTIFICATE."""

import ssl
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from typed.api.predict import predict, predict_batch  # noqa: E402
from typed.client import Client  # noqa: E402
from typed.models import PictureInForm, PictureInFormCoordinates, PicturesInForm, ProblemCode  # noqa: E402
from typed.types import File  # noqa: E402

FACE = Path(sys.argv[2]) / "face.png"
MODEL = "faces_cascade"


def face():
    return File(payload=FACE.open("rb"), file_name="face.png", mime_type="image/png")


def main():
    client = Client(base_url=sys.argv[1], verify_ssl=ssl.create_default_context(cafile=sys.argv[3]))
    fallen = 0

    def holds(what, seen, wanted):
        nonlocal fallen
        fallen += seen != wanted
        print(f"    {what}: " + ("holds" if seen == wanted else f"{seen!r} instead of {wanted!r}"))

    one = predict.sync(MODEL, client=client, body=PictureInForm(
        image=face(), confidence=0.3, coordinates=PictureInFormCoordinates.NORMALIZED))
    holds("a file has a typed answer", [(item.class_name, item.box.x2 <= 1) for item in one.detections],
          [("face", True)])
    wrong = predict.sync(MODEL, client=client, body=PictureInForm(image=face(), confidence=3))
    holds("a problem has a code", wrong.code, ProblemCode.BAD_PARAMETER)
    batch = predict_batch.sync(MODEL, client=client, body=PicturesInForm(images=[face(), face()], max_detections=1))
    holds("a batch has typed results", [len(result.detections) for result in batch.results], [1, 1])
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
