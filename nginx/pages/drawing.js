// Draws what was found: over the picture on the page, as SVG whose parts can be pointed at, and into a
// copy of the picture to be saved. Both lay it out alike.

import { percent } from "./page.js";

// Colours that stand out of pictures, each with a dark edge and dark text on it.
const COLOURS = ["#5eead4", "#fbbf24", "#93c5fd", "#f9a8d4", "#bef264", "#fdba74", "#c4b5fd", "#f8fafc"];
const EDGE = "rgb(0 0 0 / 55%)";
const TEXT = "#10181a";
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const MASK = 0.35; // how much of its colour covers what belongs to a thing

const CROWD = 30; // more than so many things have no labels, which would hide the picture
const SEEN = 0.25; // keypoints of less confidence are guesses
// The 17 points of a person, in COCO's order: which are joined.
const BONES = [
  [0, 1], [0, 2], [1, 3], [2, 4], [5, 6], [5, 7], [7, 9], [6, 8],
  [8, 10], [5, 11], [6, 12], [11, 12], [11, 13], [13, 15], [12, 14], [14, 16],
]; // prettier-ignore

// A canvas that every browser makes has no more pixels than this (Safari on iOS).
const CANVAS_PIXELS = 16_777_216;

export const colourOf = ({ class_id = 0 }) => COLOURS[class_id % COLOURS.length];
export const nameOf = (item) => item.text || item.class_name;
export const seenPoints = ({ keypoints = [] }) => keypoints.filter(({ confidence }) => confidence >= SEEN);

const pen = document.createElement("canvas").getContext("2d"); // which measures texts

// The shapes of `items`, the surest first, in pixels of a ground that shows the whole picture of `image`
// ({width, height}) and where a screen's pixel has `unit`.
function laidOut(items, image, ground, unit) {
  const x = (value) => (value / image.width) * ground.width;
  const y = (value) => (value / image.height) * ground.height;
  const line = (points) => points.map(([px, py]) => [x(px), y(py)]);
  const taken = [];
  pen.font = `600 ${13 * unit}px ${FONT}`;
  return items.map((item) => {
    const { box, corners, mask = [], keypoints = [] } = item;
    const frame = corners
      ? line(corners)
      : line([[box.x1, box.y1], [box.x2, box.y1], [box.x2, box.y2], [box.x1, box.y2]]); // prettier-ignore
    const [xs, ys] = [0, 1].map((axis) => frame.map((point) => point[axis]));
    const joined = keypoints.length === 17 && item.class_name === "person" ? BONES : [];
    const isSeen = (index) => keypoints[index].confidence >= SEEN;
    return {
      colour: colourOf(item),
      frame,
      parts: mask.map(line),
      bones: joined
        .filter((ends) => ends.every(isSeen))
        .map((ends) => line(ends.map((end) => [keypoints[end].x, keypoints[end].y]))),
      points: line(seenPoints(item).map((point) => [point.x, point.y])),
      label: items.length > CROWD ? null : label(item, xs, ys, ground, unit, taken),
    };
  });
}

// Above the thing, in its upper or lower left, or below it: where it is in the picture and, if that can
// be, hides none of those that were placed before.
function label(item, xs, ys, ground, unit, taken) {
  const [padding, height] = [6 * unit, 21 * unit];
  const sure = ` ${percent.format(item.confidence)}`;
  let text = nameOf(item);
  const fits = (value) => pen.measureText(value + sure).width + 2 * padding <= ground.width;
  if (!fits(text)) {
    while (text && !fits(`${text}…`)) text = [...text].slice(0, -1).join("");
    text += "…";
  }
  const width = pen.measureText(text + sure).width + 2 * padding;
  const x = Math.max(0, Math.min(Math.min(...xs) - unit, ground.width - width));
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const rows = [top - height - unit, top + unit, bottom - height - unit, bottom + unit];
  const inside = rows.filter((row) => row >= 0 && row + height <= ground.height);
  const isFree = (row) =>
    !taken.some(
      (other) => x < other.x + other.width && other.x < x + width && row < other.y + height && other.y < row + height,
    );
  const y = inside.find(isFree) ?? inside[0] ?? 0;
  const place = { x, y, width, height, text: text + sure, padding };
  taken.push(place);
  return place;
}

export function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Fills `overlay`, an SVG element as large as `ground`, with a group for each of the items, that of the
// surest on top. The groups' `data-index` is the item's.
export function drawOver(overlay, items, image, ground) {
  overlay.setAttribute("viewBox", `0 0 ${ground.width} ${ground.height}`);
  const groups = laidOut(items, image, ground, 1).map(({ colour, frame, parts, bones, points, label }, index) => {
    const group = svg("g", { class: "found", "data-index": index });
    group.style.setProperty("--c", colour);
    for (const part of parts) group.append(svg("polygon", { points: part.join(" "), class: "mask" }));
    for (const kind of ["halo", "line"]) group.append(svg("polygon", { points: frame.join(" "), class: kind }));
    for (const kind of ["halo", "bone"])
      for (const bone of bones) group.append(svg("polyline", { points: bone.join(" "), class: kind }));
    for (const [cx, cy] of points) group.append(svg("circle", { cx, cy, r: 4, class: "keypoint" }));
    if (label) {
      const { x, y, width, height, padding } = label;
      const text = svg("text", { x: x + padding, y: y + 15 });
      text.textContent = label.text;
      group.append(svg("rect", { x, y, width, height, rx: 3, class: "tag" }), text);
    }
    return group;
  });
  overlay.replaceChildren(...groups.reverse());
}

// The picture that `img` shows with the items drawn into it, as a PNG. A very large one is made smaller,
// as browsers make no canvas of its size.
export async function drawnPicture(img, items, image) {
  const { naturalWidth, naturalHeight } = img;
  const scale = Math.min(1, Math.sqrt(CANVAS_PIXELS / (naturalWidth * naturalHeight)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(naturalWidth * scale));
  canvas.height = Math.max(1, Math.floor(naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.drawImage(img, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(1, Math.sqrt(canvas.width * canvas.height) / 700);
  context.lineJoin = context.lineCap = "round";
  const shapes = laidOut(items, image, canvas, unit).reverse();
  for (const { colour, frame, parts, bones, points } of shapes) {
    const stroke = (line, closed) => {
      for (const [style, width] of [[EDGE, 5], [colour, 2.5]]) { // prettier-ignore
        context.strokeStyle = style;
        context.lineWidth = width * unit;
        trace(context, line, closed);
        context.stroke();
      }
    };
    for (const part of parts) {
      trace(context, part, true);
      context.fillStyle = colour;
      context.globalAlpha = MASK;
      context.fill();
      context.globalAlpha = 1;
    }
    stroke(frame, true);
    for (const bone of bones) stroke(bone, false);
    for (const [x, y] of points) {
      context.beginPath();
      context.arc(x, y, 4 * unit, 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.strokeStyle = EDGE;
      context.lineWidth = 1.5 * unit;
      context.fill();
      context.stroke();
    }
  }
  context.font = `600 ${13 * unit}px ${FONT}`;
  for (const { colour, label } of shapes) {
    if (!label) continue;
    context.fillStyle = colour;
    context.fillRect(label.x, label.y, label.width, label.height);
    context.fillStyle = TEXT;
    context.fillText(label.text, label.x + label.padding, label.y + 15 * unit);
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function trace(context, points, closed) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  if (closed) context.closePath();
}
