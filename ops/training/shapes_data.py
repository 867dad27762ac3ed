"""Pictures of circles, squares, triangles and stars on clutter, drawn from a seed.

`draw_picture` is all there is to the data set of the `shapes` detector: nothing is downloaded, and the
same seed always draws the same picture with the same boxes. Sizes are given for a picture whose longer side is
320 pixels (what the detector sees after letterboxing) and grow with the picture. Beside it stands what the
detector's own input and output need: the letterbox, the decoding of boxes and the average precision.
"""

import cv2
import numpy as np

LABELS = ("circle", "square", "triangle", "star")
CIRCLE, SQUARE, TRIANGLE, STAR = range(len(LABELS))

SIZE = 320  # side of the detector's input
GREY = 114  # what the letterbox fills up with
SMALLEST, LARGEST = 12.0, 260.0  # side of a shape's box, in a picture whose longer side is SIZE
MOST_SHAPES = 8
MOST_HIDDEN = 0.3  # share of a shape's box that another box may cover
MOST_OUTSIDE = 0.22  # share of a shape's box that may lie outside the picture
SHIFT = 4  # binary digits after the point in the coordinates given to OpenCV
LETTERS = "ABCEFGHIJKLMNPRSTUVWXYZabcdefhkmnrstuvwxyz12345679#%&?!=+*"  # none that is a ring


# ---------------------------------------------------------------- letterbox

def letterbox_geometry(width, height, size=SIZE):
    """(scale, left, top, new_width, new_height) of a picture centred in a square, as Ultralytics does it."""
    scale = min(size / width, size / height)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = round((size - new_width) / 2 - 0.1), round((size - new_height) / 2 - 0.1)
    return scale, left, top, new_width, new_height


def letterbox(picture, size=SIZE):
    """The picture, scaled and centred on grey, and the (scale, left, top) that lead back."""
    height, width = picture.shape[:2]
    scale, left, top, new_width, new_height = letterbox_geometry(width, height, size)
    if (new_width, new_height) != (width, height):
        picture = cv2.resize(picture, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    boxed = np.full((size, size, 3), GREY, np.uint8)
    boxed[top:top + new_height, left:left + new_width] = picture
    return boxed, (scale, left, top)


# ---------------------------------------------------------------- parts

def random_colour(rng):
    return rng.integers(0, 256, 3).astype(np.float64)


def colour_unlike(rng, other, distance):
    """A random colour at least `distance` away from another in one channel or more."""
    while True:
        colour = random_colour(rng)
        if np.abs(colour - other).max() >= distance:
            return colour


def fixed_point(points):
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def background(rng, width, height, unit):
    """A flat colour, a gradient or blotches; often with parallel stripes and noise on it."""
    kind = rng.random()
    base = random_colour(rng)
    if kind < 0.2:
        picture = np.empty((height, width, 3), np.uint8)
        picture[:] = base
    else:
        cells = 2 if kind < 0.55 else int(rng.integers(3, 12))
        spread = rng.uniform(10, 110)
        coarse = base + rng.uniform(-spread, spread, (cells, cells, 3))
        mode = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        picture = cv2.resize(np.clip(coarse, 0, 255).astype(np.uint8), (width, height), interpolation=mode)
    if rng.random() < 0.2:
        direction = rng.uniform(0, np.pi)
        along, across = (np.array([np.cos(a), np.sin(a)]) for a in (direction, direction + np.pi / 2))
        colour = np.clip(base + rng.uniform(-60, 60, 3), 0, 255)
        thickness = max(round(rng.uniform(1, 6) * unit), 1)
        reach = np.hypot(width, height)
        middle = np.array([width, height]) / 2
        for offset in np.arange(-reach / 2, reach / 2, rng.uniform(12, 50) * unit):
            ends = fixed_point(np.stack([middle + across * offset + along * s * reach for s in (-1, 1)]))
            cv2.polylines(picture, [ends], False, colour, thickness, cv2.LINE_AA, SHIFT)
    return picture


def add_noise(rng, picture):
    """Grain of a triangular distribution (the difference of two uniform ones), grey or coloured."""
    strength = int(rng.integers(5, 45))
    shape = picture.shape[:2] + (int(rng.choice((1, 3))),)
    grain = rng.integers(0, strength, (2,) + shape, np.uint8).astype(np.int16)
    return np.clip(picture + (grain[0] - grain[1]), 0, 255).astype(np.uint8)


def draw_distractor(rng, picture, unit):
    """Something that is none of the four: a line, a bar, an arc, a cross, a thin ellipse or a letter."""
    height, width = picture.shape[:2]
    centre = rng.uniform((0, 0), (width, height))
    length = np.exp(rng.uniform(np.log(12), np.log(160))) * unit
    turn = rng.uniform(0, 2 * np.pi)
    colour = random_colour(rng)
    kind = rng.integers(6)
    thin = max(round(rng.uniform(1, 5) * unit), 1)
    heading = np.array([np.cos(turn), np.sin(turn)])
    if kind == 0:  # line
        ends = np.stack([centre - heading * length, centre + heading * length])
        cv2.polylines(picture, [fixed_point(ends)], False, colour, thin, cv2.LINE_AA, SHIFT)
    elif kind == 1:  # bar, at least four times as long as wide
        sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * (length, length / rng.uniform(4, 9))
        cv2.fillPoly(picture, [fixed_point(turned(sides, turn) + centre)], colour, cv2.LINE_AA, SHIFT)
    elif kind == 2:  # arc of at most half a turn
        axes = tuple(int(a) for a in fixed_point(length / 2 * rng.uniform(0.6, 1, 2)))
        cv2.ellipse(picture, tuple(int(c) for c in fixed_point(centre)), axes, np.degrees(turn), 0,
                    rng.uniform(50, 180), colour, thin, cv2.LINE_AA, SHIFT)
    elif kind == 3:  # cross
        width_of_arm = max(round(length * rng.uniform(0.08, 0.2)), 1)
        for arm in (heading, heading[::-1] * (1, -1)):
            ends = np.stack([centre - arm * length / 2, centre + arm * length / 2])
            cv2.polylines(picture, [fixed_point(ends)], False, colour, width_of_arm, cv2.LINE_AA, SHIFT)
    elif kind == 4:  # ellipse, at least three times as long as wide
        axes = tuple(int(a) for a in fixed_point(np.array([length / 2, length / rng.uniform(6, 12)])))
        cv2.ellipse(picture, tuple(int(c) for c in fixed_point(centre)), axes, np.degrees(turn), 0, 360,
                    colour, -1 if rng.random() < 0.6 else thin, cv2.LINE_AA, SHIFT)
    else:  # letters
        text = "".join(rng.choice(list(LETTERS), rng.integers(1, 7)))
        cv2.putText(picture, text, tuple(int(c) for c in centre), int(rng.choice((0, 1, 2, 3, 4))),
                    rng.uniform(0.35, 2.2) * unit, colour, thin, cv2.LINE_AA)


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def outline_of(rng, kind):
    """The corners of a shape of roughly unit size about the origin, turned at random."""
    if kind == CIRCLE:
        corners, stretch = 64, 0.18
    elif kind == SQUARE:
        corners, stretch = 4, 0.12
    elif kind == TRIANGLE:
        corners, stretch = 3, 0.3
    else:
        corners, stretch = 2 * int(rng.choice((5, 5, 5, 6))), 0.15
    angles = np.arange(corners) * 2 * np.pi / corners + (np.pi / 4 if kind == SQUARE else np.pi / 2)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    if kind == STAR:
        points[1::2] *= rng.uniform(0.36, 0.52)
    points *= np.exp(rng.uniform(-stretch, stretch) * np.array([0.5, -0.5]))
    return turned(points, rng.uniform(0, 2 * np.pi) if rng.random() < 0.75 else 0.0)


def fill(rng, picture, points, colour):
    """Fills a polygon with a colour, or now and then with a gradient about it."""
    corners = [fixed_point(points)]
    if rng.random() < 0.7:
        cv2.fillPoly(picture, corners, colour, cv2.LINE_AA, SHIFT)
        return
    height, width = picture.shape[:2]
    x1, y1 = np.clip(np.floor(points.min(0)).astype(int) - 1, 0, (width - 1, height - 1))
    x2, y2 = np.clip(np.ceil(points.max(0)).astype(int) + 2, 1, (width, height))
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(mask, [fixed_point(points - (x1, y1))], 255, cv2.LINE_AA, SHIFT)
    tones = np.clip(colour + rng.uniform(-35, 35, (2, 2, 3)), 0, 255).astype(np.float32)
    paint = cv2.resize(tones, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    share = mask[..., None].astype(np.float32) / 255
    region = picture[y1:y2, x1:x2]
    region[:] = (region * (1 - share) + paint * share + 0.5).astype(np.uint8)


def draw_shape(rng, picture, points, side, unit):
    """Draws a shape filled, two-toned or as a ring; returns how far the ink goes beyond the points."""
    height, width = picture.shape[:2]
    x1, y1 = np.clip(points.min(0).astype(int), 0, (width - 1, height - 1))
    x2, y2 = np.clip(points.max(0).astype(int) + 1, (x1 + 1, y1 + 1), (width, height))
    behind = cv2.mean(picture[y1:y2, x1:x2])[:3]
    colour = colour_unlike(rng, np.array(behind), 110 if side < 24 else 80)
    style = rng.random()
    if style < 0.18 and side >= 24:
        thickness = max(round(side * rng.uniform(0.07, 0.16) * unit), 2)
        cv2.polylines(picture, [fixed_point(points)], True, colour, thickness, cv2.LINE_AA, SHIFT)
        return thickness / 2
    fill(rng, picture, points, colour)
    if style > 0.85 and side >= 24:
        centre = points.mean(0)
        fill(rng, picture, centre + (points - centre) * rng.uniform(0.4, 0.75), random_colour(rng))
    return 0.0


# ---------------------------------------------------------------- the picture

def crowded(box, others, hidden):
    """Whether a box covers more than that share of one of the others, or hugs one of its own size."""
    for other in others:
        overlap = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        if overlap.min() > 0:
            own, theirs = ((b[2:] - b[:2]).prod() for b in (box, other))
            if overlap.prod() > hidden * theirs or 0.7 * theirs < own < overlap.prod() / 0.5:
                return True
    return False


def place_shapes(rng, width, height, unit, count):
    """(class, points, side, box) of shapes that may overlap a little, the largest first."""
    largest = min(LARGEST, 0.95 * min(width, height) / unit)
    sides = np.exp(rng.uniform(np.log(SMALLEST), np.log(max(largest, SMALLEST + 1)), count))
    hidden = MOST_HIDDEN if rng.random() < 0.5 else 0.0
    placed = []
    for side in np.sort(sides)[::-1]:
        kind = int(rng.integers(len(LABELS)))
        points = outline_of(rng, kind)
        points -= (points.min(0) + points.max(0)) / 2
        points *= side * unit / (points.max(0) - points.min(0)).max()
        extent = points.max(0) - points.min(0)
        for _ in range(12):
            slack = extent * (0.5 - MOST_OUTSIDE / 2 * (rng.random() < 0.25))
            centre = rng.uniform(slack, np.maximum(np.array([width, height]) - slack, slack + 1e-6))
            box = np.concatenate([centre - extent / 2, centre + extent / 2])
            if not crowded(box, [p[3] for p in placed], hidden):
                placed.append((kind, points + centre, side, box))
                break
    return placed


def draw_picture(rng, width, height, fewest=0, most=MOST_SHAPES, unit=None):
    """An RGB picture, the boxes in it (x1, y1, x2, y2 in pixels, clipped to it) and their classes.

    `unit` is the length that the detector will see as one pixel, by default after letterboxing to SIZE.
    """
    unit = unit or max(width, height) / SIZE
    picture = background(rng, width, height, unit)
    for _ in range(rng.integers(0, 10)):
        draw_distractor(rng, picture, unit)
    boxes, classes = [], []
    for kind, points, side, box in place_shapes(rng, width, height, unit, int(rng.integers(fewest, most + 1))):
        ink = draw_shape(rng, picture, points, side, unit)
        boxes.append(box + np.array([-ink, -ink, ink, ink]))
        classes.append(kind)
    if rng.random() < 0.25:  # a thin line over everything
        ends = rng.uniform((0, 0), (width, height), (2, 2))
        cv2.polylines(picture, [fixed_point(ends)], False, random_colour(rng),
                      max(round(rng.uniform(0.6, 2) * unit), 1), cv2.LINE_AA, SHIFT)
    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1) * unit)
    if rng.random() < 0.5:
        picture = add_noise(rng, picture)
    if rng.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    boxes = np.clip(boxes, 0, (width, height, width, height))
    return picture, boxes, np.array(classes, np.int64)


def random_dimensions(rng, size=SIZE):
    """Width and height of a picture: any aspect ratio up to 4:1, at, below or above the detector's size."""
    aspect = np.exp(rng.uniform(-np.log(4), np.log(4)) * rng.uniform(0.2, 1))
    longer = size * (1.0 if rng.random() < 0.6 else np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
    shorter = longer * min(aspect, 1 / aspect)
    width, height = (longer, shorter) if aspect > 1 else (shorter, longer)
    return max(round(width), 24), max(round(height), 24)


def draw_example(seed, stream, index, size=SIZE, most=MOST_SHAPES, window=False):
    """A letterboxed picture with the boxes in the letterbox; the same arguments always draw the same.

    A size below SIZE makes a small copy of a picture, or a `window` as large as a part of one.
    """
    rng = np.random.default_rng((seed, stream, index))
    width, height = random_dimensions(rng, size)
    unit = max(width, height) / (size if window else SIZE)
    picture, boxes, classes = draw_picture(rng, width, height, most=most, unit=unit)
    boxed, (scale, left, top) = letterbox(picture, size)
    return boxed, boxes * scale + np.array([left, top, left, top]), classes


# ---------------------------------------------------------------- detections

def iou_with(box, boxes):
    shared = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared + 1e-9)


def decode(output, confidence, iou):
    """Boxes (x1, y1, x2, y2 in the letterbox), scores and classes of one [8, 2100], the best first.

    A cell speaks for its best class only; of boxes of one class that overlap by more than `iou` the one with
    the highest score stays.
    """
    scores, classes = output[4:].max(0), output[4:].argmax(0)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > confidence]
    centres, extents = output[:2, order].T, output[2:4, order].T
    boxes, scores, classes = np.hstack([centres - extents / 2, centres + extents / 2]), scores[order], classes[order]
    kept, left = [], np.arange(len(order))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[(classes[left] != classes[best]) | (iou_with(boxes[best], boxes[left]) <= iou)]
    return boxes[kept], scores[kept], classes[kept]


def average_precision(found, truths, kind, least=0.5):
    """Area under the precision-recall curve of one class; `found` and `truths` are lists over pictures."""
    total = sum(int((classes == kind).sum()) for _, classes in truths)
    rows = []
    for (boxes, scores, classes), (true_boxes, true_classes) in zip(found, truths):
        targets = true_boxes[true_classes == kind]
        taken = np.zeros(len(targets), bool)
        for box, score in zip(boxes[classes == kind], scores[classes == kind]):
            iou = np.where(taken, 0, iou_with(box, targets)) if len(targets) else np.zeros(1)
            hit = iou.max() >= least
            if hit:
                taken[iou.argmax()] = True
            rows.append((score, hit))
    rows.sort(key=lambda row: -row[0])
    hits = np.cumsum([hit for _, hit in rows])
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * precision).sum()), total
