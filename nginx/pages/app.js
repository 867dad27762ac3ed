// The page for people: a picture in, boxes over it out, and the code that does the same.
// It asks this origin's public API and nothing else. One file, so that the page is one script without
// a build; its sections are the API, models, pictures, which way up they are, the camera, showing, the
// code, what people do.

const $ = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent" });
const milliseconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

const FORMATS = "JPEG, PNG, WebP or GIF";
const CROWD = 30; // more boxes than this show their labels only when chosen
const LIVE_SIDE = 1280; // the longer side of a live picture: more only takes longer

const state = {
  models: [],
  picture: null, // {blob, name, url, isUpright}
  answer: null, // {json, asked, roundTrip, cached}
  problem: null,
  chosen: -1, // the detection that is pointed out
  camera: null, // a MediaStream
  live: false,
  request: null, // the AbortController of the one in hand
};

// ---------------------------------------------------------------- the API

// What went wrong, as RFC 9457 has it.
class Problem extends Error {
  constructor(fields, retryAfter = 0) {
    super(fields.title);
    Object.assign(this, fields);
    this.retryAfter = retryAfter;
  }
}

// What the browser keeps for us ("localStorage", "sessionStorage"), and sets to a `value` that is given.
// Some browsers are told to keep nothing, and throw.
function kept(store, name, value) {
  try {
    if (value !== undefined) window[store].setItem(name, value);
    return window[store].getItem(name) ?? "";
  } catch {
    return value ?? "";
  }
}

let key = kept("sessionStorage", "inferpool.key");

// The answer's JSON with its headers; throws a Problem, or what an abort throws.
async function call(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response, text;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "The server cannot be reached",
      detail: "The connection broke or was refused. Is the server running?",
    });
  }
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // told below
  }
  if (response.ok && json) return { json, headers: response.headers };
  const fields = json?.title
    ? json
    : {
        title: "The server's answer makes no sense",
        detail: `It has status ${response.status} and is not of this API.`,
        status: response.status,
      };
  throw new Problem(fields, Number(response.headers.get("Retry-After")) || 0);
}

const family = () => state.models.find((model) => model.name === $("model").value)?.family ?? null;
const hasBoxes = () => !["text_line", "classification", "embedding"].includes(family());

// Of the request that the page makes, and of the one that its code makes.
function target(model, confidence) {
  return `/v1/predict/${encodeURIComponent(model)}` + (hasBoxes() ? `?confidence=${confidence}` : "");
}

// One answer about the picture; the one in hand, if any, is given up. Whether there was one.
async function predict(blob = state.picture?.blob, name = state.picture?.name) {
  const model = $("model").value;
  if (!blob || !model) return false;
  giveUp();
  const request = (state.request = new AbortController());
  const asked = Number($("confidence").value);
  const form = new FormData();
  form.append("image", blob, name);
  $("picture").setAttribute("aria-busy", "true");
  try {
    const begin = performance.now();
    const { json, headers } = await call(target(model, asked), {
      method: "POST",
      body: form,
      signal: request.signal,
    });
    state.answer = {
      json,
      asked,
      roundTrip: performance.now() - begin,
      cached: headers.get("X-Cache") === "HIT",
    };
    state.problem = null;
  } catch (error) {
    if (request !== state.request) return false;
    if (!(error instanceof Problem)) throw error;
    state.answer = null;
    state.problem = error;
  }
  if (request !== state.request) return false;
  giveUp();
  state.chosen = -1;
  show();
  return state.problem === null;
}

// The request in hand, if any: its answer is not wanted any more.
function giveUp() {
  const { request } = state;
  state.request = null;
  request?.abort();
  $("picture").removeAttribute("aria-busy");
}

// ---------------------------------------------------------------- models

async function loadModels() {
  const picker = $("model");
  let models;
  try {
    models = (await call("/v1/models")).json.models;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    state.problem = error;
    show();
    return;
  }
  state.models = models;
  state.problem = models.some((model) => model.family)
    ? null
    : new Problem({
        title: "No model is ready",
        detail: "Put one into the model repository, then try again.",
      });
  picker.replaceChildren(
    ...models.map((model) => {
      const option = new Option(model.name);
      option.disabled = !model.family;
      return option;
    }),
  );
  const remembered = kept("localStorage", "inferpool.model");
  const usable = models.filter((model) => model.family);
  picker.value = [remembered, "objects"].find((name) => usable.some((model) => model.name === name)) ?? usable[0]?.name ?? "";
  picker.disabled = !usable.length;
  $("key-form").hidden = true;
  describeModel();
  show();
  await predict();
}

function describeModel() {
  const model = state.models.find(({ name }) => name === $("model").value);
  if (!model) return;
  const names = model.class_names ?? [];
  const classes = names.length > 8 ? names.length : names.join(", ");
  $("about").textContent =
    `${classes ? `Classes: ${classes}. ` : ""}Family ${model.family}, version ${model.version}.`;
  $("threshold").hidden = !hasBoxes();
}

// ---------------------------------------------------------------- pictures

async function take(blob, name) {
  closeCamera();
  giveUp();
  if (state.picture) URL.revokeObjectURL(state.picture.url);
  const picture = (state.picture = { blob, name: name || "picture.jpg", url: URL.createObjectURL(blob) });
  state.answer = state.problem = null;
  const image = $("image");
  image.src = picture.url;
  try {
    await image.decode();
    picture.isUpright = await isShownUpright(blob);
  } catch {
    if (picture !== state.picture) return;
    forgetPicture();
    state.problem = new Problem({
      title: "This browser cannot show that file",
      detail: `${picture.name} is ${blob.type || "of an unknown type"}. Please save it as ${FORMATS}.`,
    });
    show();
    return;
  }
  if (picture !== state.picture) return; // another one came meanwhile
  setFrame("picture", image.naturalWidth, image.naturalHeight);
  image.alt = `The picture ${picture.name}`;
  show();
  await predict();
}

// Whether the browser shows the picture as the server sees it.
function isUpright() {
  const { naturalWidth: width, naturalHeight: height } = $("image");
  const seen = state.picture && state.answer?.json.image;
  if (!seen) return true;
  return (
    state.picture.isUpright &&
    Math.abs(seen.width * height - seen.height * width) <= Math.max(seen.width, width, seen.height, height)
  );
}

function showCaption() {
  const { naturalWidth: width, naturalHeight: height } = $("image");
  const turned = isUpright()
    ? ""
    : ". This browser does not turn it as the file says; the boxes, of the upright picture, stand in the list alone";
  $("caption").textContent = state.picture ? `${state.picture.name}, ${width} × ${height}${turned}` : "";
}

function forgetPicture() {
  $("image").removeAttribute("src");
  if (state.picture) URL.revokeObjectURL(state.picture.url);
  state.picture = null;
  setFrame("empty", 1, 1);
}

function setFrame(what, width, height) {
  $("picture").dataset.state = what;
  $("frame").hidden = what === "empty";
  $("caption").hidden = what !== "picture";
  $("frame").style.setProperty("--ratio", String(width / height));
}

function takeFirst(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) {
    take(file, file.name);
    return;
  }
  state.problem = new Problem({
    title: "That was no file",
    detail: "Save the picture first, then drop or choose the file.",
  });
  show();
}

async function takeSample() {
  try {
    const response = await fetch("/sample.jpg");
    if (!response.ok) throw new TypeError();
    await take(await response.blob(), "sample.jpg");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    state.problem = new Problem({ title: "The sample cannot be had", detail: "The server did not send it." });
    show();
  }
}

// ---------------------------------------------------------------- which way up

// Which way up the browser shows a WebP. The server turns a picture as its EXIF orientation says;
// Chromium, for one, does so with a JPEG and a PNG, and passes over that of a WebP.
const UPRIGHT = 1;

// Whether the picture is shown as the server sees it, as far as its file's EXIF goes.
async function isShownUpright(blob) {
  return webpOrientation(new DataView(await blob.arrayBuffer())) === UPRIGHT || turnsWebp();
}

// Whether this browser turns a WebP: one of 2 x 1 pixels, tagged to be turned by a quarter, tells.
async function turnsWebp() {
  const probe = new Image();
  probe.src = "data:image/webp;base64,UklGRkoAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAkAAAAvAQAAAIiI/gcARVhJRhoAAABJSSoACAAAAAEAEgEDAAEAAAAGAAAAAAAAAA==";
  await probe.decode();
  return probe.naturalWidth === 1;
}

// 1 to 8 (TIFF 6.0, "Orientation"), read as shared/pictures/header.cc does; 1 for every other file.
function webpOrientation(file) {
  try {
    const isWebp = tag(file, 0) === "RIFF" && tag(file, 8) === "WEBP" && tag(file, 12) === "VP8X";
    const hasExif = isWebp && file.getUint8(20) & 0x08;
    for (let at = 12; hasExif; ) {
      const size = file.getUint32(at + 4, true);
      if (tag(file, at) === "EXIF") return exifOrientation(file.buffer.slice(at + 8, at + 8 + size));
      at += 8 + size + (size % 2);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it is cut off
  }
  return UPRIGHT;
}

const tag = (file, at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => file.getUint8(at + i)));

function exifOrientation(content) {
  // Several writers keep JPEG's prefix, "Exif" and two zero bytes.
  const isPrefixed = tag(new DataView(content), 0) === "Exif";
  const tiff = new DataView(content, isPrefixed ? 6 : 0);
  const little = tiff.getUint32(0) === 0x49492a00;
  if (!little && tiff.getUint32(0) !== 0x4d4d002a) return UPRIGHT;
  const directory = tiff.getUint32(4, little);
  const count = tiff.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < count; ++i, at += 12) {
    if (tiff.getUint16(at, little) !== 0x0112) continue;
    const isOneShort = tiff.getUint16(at + 2, little) === 3 && tiff.getUint32(at + 4, little) === 1;
    const value = tiff.getUint16(at + 8, little);
    return isOneShort && value >= 1 && value <= 8 ? value : UPRIGHT;
  }
  return UPRIGHT;
}

// ---------------------------------------------------------------- the camera

async function openCamera() {
  giveUp();
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    state.camera = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1920 } },
    });
    const video = $("video");
    video.srcObject = state.camera;
    await video.play();
  } catch (error) {
    closeCamera();
    const why = {
      NotAllowedError: "The browser was told not to share it.",
      NotFoundError: "There is none.",
      SecurityError: "Browsers open it for pages over HTTPS only.",
    };
    state.problem = new Problem({
      title: "The camera cannot be used",
      detail: why[error.name] ?? `The browser says: ${error.message}`,
    });
    show();
    return;
  }
  forgetPicture();
  state.answer = state.problem = null;
  const { videoWidth, videoHeight } = $("video");
  setFrame("camera", videoWidth, videoHeight);
  show();
  $("capture").focus();
}

function closeCamera() {
  stopLive();
  if (!state.camera) return;
  giveUp();
  for (const track of state.camera.getTracks()) track.stop();
  state.camera = $("video").srcObject = null;
  setFrame("empty", 1, 1);
}

// What the camera sees now, as a JPEG whose longer side is at most `side`.
function frame(side) {
  const video = $("video");
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

// One picture after the other, the next when the answer came, until it is switched off, the page is
// hidden, or an error that waiting does not mend.
async function goLive() {
  state.live = true;
  $("live").setAttribute("aria-pressed", "true");
  $("summary").setAttribute("aria-live", "off"); // nobody wants to hear ten answers a second
  announce("Live: every picture is asked about.");
  while (state.live && !document.hidden) {
    const blob = await frame(LIVE_SIDE);
    if (!state.live) break;
    const good = await predict(blob, "live.jpg");
    if (!good && state.problem) {
      if (!state.problem.retryAfter) break;
      await new Promise((resolve) => setTimeout(resolve, 1000 * state.problem.retryAfter));
    }
  }
  stopLive();
}

function stopLive() {
  state.live = false;
  $("live").setAttribute("aria-pressed", "false");
  $("summary").removeAttribute("aria-live");
}

const announce = (text) => ($("announcer").textContent = text);

// ---------------------------------------------------------------- showing

function detections() {
  const least = Number($("confidence").value);
  return (state.answer?.json.detections ?? []).filter(({ confidence }) => confidence >= least);
}

function show() {
  const { answer, problem } = state;
  showProblem();
  showCaption();
  const items = answer?.json.classes ?? answer?.json.texts ?? detections();
  $("summary").textContent = problem
    ? ""
    : answer
      ? summary(answer.json, items)
      : state.picture
        ? "Looking at it …"
        : state.camera
          ? "Take the picture, or go live."
          : "Nothing yet: give me a picture.";
  showRows(items);
  showEmbedding(answer?.json.embedding);
  $("raw").hidden = !answer;
  $("json").textContent = answer ? JSON.stringify(answer.json, null, 2) : "";
  showTiming();
  drawBoxes();
  showSnippet();
}

function summary(json, items) {
  if (json.embedding) {
    const length = Math.hypot(...json.embedding);
    return `An embedding of ${json.embedding.length} numbers, its length ${length.toPrecision(3)}.`;
  }
  if (json.texts)
    return items[0]?.text
      ? `“${items[0].text}”, ${percent.format(items[0].confidence)} sure.`
      : "No text.";
  if (json.classes)
    return items.length
      ? `${items[0].class_name}, ${percent.format(items[0].confidence)} sure.`
      : "No class.";
  if (!items.length) return `Nothing with a confidence of ${percent.format($("confidence").value)} or more.`;
  const counts = new Map();
  for (const { class_name } of items) counts.set(class_name, (counts.get(class_name) ?? 0) + 1);
  const what = [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
  return `${what}; ${items.length > 1 ? "up to " : ""}${percent.format(items[0].confidence)} sure.`;
}

function showProblem() {
  const { problem } = state;
  $("problem").hidden = !problem;
  if (!problem) return;
  if (problem.status === 401 || (problem.status === 403 && key)) $("key-form").hidden = false;
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = problem.detail ?? "";
  $("problem-id").textContent = problem.request_id
    ? `Status ${problem.status}, request ${problem.request_id}`
    : "";
  const mayPass =
    !state.models.length ||
    (state.picture && (!problem.status || problem.status === 429 || problem.status >= 500));
  $("again").hidden = !mayPass;
}

// An element of the page: element("td", {className: "x"}, "text", child).
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const corner = (x, y) => `${Math.round(x)},\u00a0${Math.round(y)}`; // breaks between corners alone
const colour = ({ class_id }) => `c${class_id % 8}`;

function showRows(items) {
  $("list").hidden = !items.length;
  $("list").classList.toggle("only-classes", !items[0]?.box);
  $("rows").replaceChildren(
    ...items.map((item, index) => {
      const swatch = element("span", { className: `swatch ${colour(item)}` });
      const fill = element("span");
      fill.style.width = `${100 * item.confidence}%`;
      const name = item.box
        ? element("button", { type: "button", title: "Point it out" }, swatch, item.text || item.class_name)
        : (item.text ?? item.class_name);
      const row = element(
        "tr",
        {},
        element("td", {}, name),
        element("td", {}, element("span", { className: "meter" }, fill), percent.format(item.confidence)),
      );
      if (item.box) {
        const { x1, y1, x2, y2 } = item.box;
        row.append(element("td", { className: "for-boxes" }, `${corner(x1, y1)} – ${corner(x2, y2)}`));
        name.setAttribute("aria-pressed", "false");
        name.addEventListener("click", () => choose(state.chosen === index ? -1 : index));
        row.addEventListener("pointerenter", () => pointOut(index));
        row.addEventListener("pointerleave", () => pointOut(state.chosen));
      }
      return row;
    }),
  );
}

function choose(index) {
  state.chosen = index;
  pointOut(index);
  for (const [i, button] of $("rows").querySelectorAll("button").entries())
    button.setAttribute("aria-pressed", String(i === index));
}

// Shows one detection above the others; -1: all alike.
function pointOut(index) {
  $("overlay").classList.toggle("choosing", index >= 0);
  for (const box of $("overlay").children) {
    const active = box.dataset.index === String(index);
    box.classList.toggle("active", active);
  }
  for (const [i, row] of [...$("rows").children].entries()) row.classList.toggle("active", i === index);
}

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The overlay's units are the screen's pixels, so that lines and labels are as thick on any picture.
function drawBoxes() {
  const overlay = $("overlay");
  const { clientWidth: width, clientHeight: height } = $("frame");
  overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
  overlay.replaceChildren();
  const found = isUpright() ? detections() : [];
  if (!width) return;
  overlay.classList.toggle("crowded", found.length > CROWD);
  const { image } = state.answer?.json ?? {};
  for (const [index, item] of [...found.entries()].reverse()) {
    // the most confident on top
    const x = (item.box.x1 / image.width) * width;
    const y = (item.box.y1 / image.height) * height;
    const place = {
      x,
      y,
      width: (item.box.x2 / image.width) * width - x,
      height: (item.box.y2 / image.height) * height - y,
      rx: 3,
    };
    const group = svg("g", { class: `found ${colour(item)}`, "data-index": index });
    const text = svg("text", {});
    text.textContent = `${item.text || item.class_name} ${percent.format(item.confidence)}`;
    const points = (corners) =>
      corners.map(([px, py]) => `${(px / image.width) * width},${(py / image.height) * height}`).join(" ");
    const frame = (kind) =>
      item.corners
        ? svg("polygon", { points: points(item.corners), class: kind })
        : svg("rect", { ...place, class: kind });
    for (const polygon of item.mask ?? []) group.append(svg("polygon", { points: points(polygon), class: "mask" }));
    group.append(frame("halo"), frame("line"), text);
    for (const keypoint of item.keypoints ?? [])
      if (keypoint.confidence >= 0.25) {
        const at = { cx: (keypoint.x / image.width) * width, cy: (keypoint.y / image.height) * height, r: 3.5 };
        group.append(svg("circle", { ...at, class: "keypoint" }));
      }
    group.addEventListener("pointerenter", () => pointOut(index));
    group.addEventListener("pointerleave", () => pointOut(state.chosen));
    overlay.append(group);
    // Above the box where there is room, else inside; never out of the picture.
    const tagWidth = text.getComputedTextLength() + 12;
    const tagX = Math.max(0, Math.min(x - 1, width - tagWidth));
    const tagY = y >= 22 ? y - 22 : y + 1;
    text.setAttribute("x", tagX + 6);
    text.setAttribute("y", tagY + 15);
    text.before(svg("rect", { x: tagX, y: tagY, width: tagWidth, height: 21, rx: 3, class: "tag" }));
  }
  pointOut(state.chosen);
}

function showEmbedding(values) {
  $("embedding").hidden = !values;
  if (!values) return;
  const most = Math.max(...values.map(Math.abs)) || 1;
  $("plot").setAttribute("viewBox", `0 -1 ${values.length} 2`);
  $("plot").replaceChildren(
    svg("path", { d: values.map((value, i) => `M${i + 0.5} 0V${(-value / most).toFixed(4)}`).join("") }),
  );
  $("numbers").textContent =
    values
      .slice(0, 8)
      .map((value) => value.toPrecision(4))
      .join(", ") + (values.length > 8 ? ", …" : "");
}

const MEANINGS = {
  queue: "waiting for a worker",
  read: "reading the request",
  decode: "decoding",
  preprocess: "fitting it to the model",
  infer: "the model",
  postprocess: "sorting the boxes",
  draw: "drawing them",
  other: "in between",
  network: "network and browser",
};

function showTiming() {
  const { answer } = state;
  $("timing").hidden = !answer;
  if (!answer) return;
  const { total, ...parts } = answer.json.timing_ms;
  const { queue = 0, ...worked } = parts;
  const known = Object.values(worked).reduce((sum, value) => sum + value, 0);
  const stages = {
    ...parts,
    other: Math.max(0, total - known),
    network: Math.max(0, answer.roundTrip - total - queue),
  };
  $("timing-summary").textContent =
    `${milliseconds(answer.roundTrip)} from here and back, ${milliseconds(total)} of them on the server` +
    (answer.cached ? ", which had the answer in its cache." : ".");
  $("bar").replaceChildren(
    ...Object.entries(stages)
      .filter(([, value]) => value > 0)
      .map(([name, value]) => {
        const part = element("span", { className: name });
        part.style.flexGrow = value;
        return part;
      }),
  );
  $("stages").replaceChildren(
    ...Object.entries(stages).map(([name, value]) =>
      element(
        "div",
        { title: MEANINGS[name] ?? "" },
        element("dt", { className: name }, name),
        element("dd", {}, milliseconds(value)),
      ),
    ),
  );
}

// ---------------------------------------------------------------- the same from a program

// A picture's name may be anything; it must not become a command.
const oneLine = (text) => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "_");
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const literal = (text) => JSON.stringify(text); // good for JavaScript and for Python
// In a form's argument curl reads ; and , unless the name is in quotes.
const formFile = (name) => (/^[\w .-]+$/.test(name) ? name : `"${name.replace(/["\\]/g, "\\$&")}"`);

const SNIPPETS = {
  curl: ({ url, name, auth }) =>
    `curl -F ${shell(`image=@${formFile(name)}`)} \\\n${auth ? '  -H "Authorization: Bearer $INFERPOOL_KEY" \\\n' : ""}  ${shell(url)}`,

  javascript: ({
    url,
    name,
    auth,
  }) => `// Node 18 or later. In a browser, append the File of an <input type="file"> instead.
import { readFile } from "node:fs/promises";

const form = new FormData();
form.append("image", new Blob([await readFile(${literal(name)})]), ${literal(name)});
const answer = await fetch(${literal(url)}, {
  method: "POST",${auth ? "\n  headers: { Authorization: `Bearer ${process.env.INFERPOOL_KEY}` }," : ""}
  body: form,
});
console.log(JSON.stringify(await answer.json(), null, 2));`,

  requests: ({ path, query, name, auth }) => `import json
${auth ? "import os\n" : ""}
import requests

with open(${literal(name)}, "rb") as picture:
    answer = requests.post(
        ${literal(location.origin + path)},${query ? `\n        params={${query.map(([key, value]) => `${literal(key)}: ${value}`).join(", ")}},` : ""}${auth ? '\n        headers={"Authorization": "Bearer " + os.environ["INFERPOOL_KEY"]},' : ""}
        files={"image": picture},
        timeout=60,
    )
print(json.dumps(answer.json(), indent=2))`,

  python: ({ url, name, auth }) => `import json
${auth ? "import os\n" : ""}import urllib.request

with open(${literal(name)}, "rb") as picture:
    request = urllib.request.Request(
        ${literal(url)},
        data=picture.read(),
        headers={
            "Content-Type": "application/octet-stream",${auth ? '\n            "Authorization": "Bearer " + os.environ["INFERPOOL_KEY"],' : ""}
        },
    )
with urllib.request.urlopen(request, timeout=60) as answer:
    print(json.dumps(json.load(answer), indent=2))`,
};

function showSnippet() {
  const language = document.querySelector('[role="tab"][aria-selected="true"]').id.replace("tab-", "");
  const path = target($("model").value || "objects", $("confidence").value);
  const [route, query] = path.split("?");
  let name = oneLine(state.picture?.name ?? "picture.jpg");
  if (name.startsWith("-")) name = `./${name}`;
  $("snippet").textContent = SNIPPETS[language]({
    url: location.origin + path,
    path: route,
    query: query && [...new URLSearchParams(query)],
    name,
    auth: Boolean(key),
  });
  const notes = [];
  if (name === "sample.jpg")
    notes.push(
      element(
        "span",
        {},
        "The picture: ",
        element("a", { href: "/sample.jpg", download: "sample.jpg" }, "sample.jpg"),
        ". ",
      ),
    );
  if (key) notes.push("The key is taken from the environment: INFERPOOL_KEY. ");
  if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
    const variable = {
      curl: "CURL_CA_BUNDLE",
      javascript: "NODE_EXTRA_CA_CERTS",
      requests: "REQUESTS_CA_BUNDLE",
      python: "SSL_CERT_FILE",
    }[language];
    notes.push(
      `A certificate of your own, such as run/tls/certificate.pem, is trusted when ${variable} names its file. `,
    );
  }
  $("note").replaceChildren(...notes);
}

async function copy() {
  const text = $("snippet").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren($("snippet"));
    announce("The browser does not let me copy: it is selected, copy it yourself.");
    return;
  }
  $("copy").textContent = "Copied";
  announce("Copied");
  setTimeout(() => ($("copy").textContent = "Copy"), 2000);
}

function chooseTab(tab) {
  for (const other of document.querySelectorAll('[role="tab"]')) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  $("code").setAttribute("aria-labelledby", tab.id);
  showSnippet();
}

// ---------------------------------------------------------------- what people do

$("file").addEventListener("change", ({ target: input }) => {
  if (input.files.length) takeFirst(input.files);
  input.value = ""; // the same file may be chosen again
});
$("sample").addEventListener("click", takeSample);
$("camera").addEventListener("click", openCamera);
$("close").addEventListener("click", () => {
  closeCamera();
  state.answer = state.problem = null;
  show();
  $("camera").focus();
});
$("capture").addEventListener("click", async () => {
  const blob = await frame(Infinity);
  await take(blob, "camera.jpg");
});
$("live").addEventListener("click", () => (state.live ? stopLive() : goLive()));
$("again").addEventListener("click", () => (state.models.length ? predict() : loadModels()));
$("copy").addEventListener("click", copy);

$("model").addEventListener("change", () => {
  kept("localStorage", "inferpool.model", $("model").value);
  describeModel();
  state.answer = null;
  show();
  if (!state.live) predict();
});

// Upwards the answer in hand is enough; downwards the server must be asked again.
let soon = 0;
$("confidence").addEventListener("input", () => {
  const value = Number($("confidence").value);
  $("confidence-value").textContent = percent.format(value);
  $("confidence").setAttribute("aria-valuetext", percent.format(value));
  clearTimeout(soon);
  if (!state.live && state.picture && !(state.answer && value >= state.answer.asked))
    soon = setTimeout(predict, 250);
  state.chosen = -1;
  if (state.answer) show();
  showSnippet();
});

$("key").addEventListener("input", ({ target: input }) =>
  input.setCustomValidity(
    /^[\x21-\x7e]*$/.test(input.value.trim()) ? "" : "A key is of printable ASCII letters, without blanks.",
  ),
);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  kept("sessionStorage", "inferpool.key", key);
  if (state.models.length) predict();
  else loadModels();
});

document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) takeFirst(clipboardData.files);
});
let inside = 0; // dragenter and dragleave come for every element on the way
document.addEventListener("dragenter", () => document.body.classList.toggle("dragging", ++inside > 0));
document.addEventListener("dragleave", () => document.body.classList.toggle("dragging", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  document.body.classList.remove("dragging");
  takeFirst(event.dataTransfer.files);
});

const tabs = [...document.querySelectorAll('[role="tab"]')];
for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => chooseTab(tab));
  tab.addEventListener("keydown", (event) => {
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const chosen = tabs.at(next % tabs.length);
    chosen.focus();
    chooseTab(chosen);
  });
}
new ResizeObserver(drawBoxes).observe($("frame"));
document.addEventListener("keydown", ({ key: pressed }) => {
  if (pressed === "Escape") choose(-1);
});

showSnippet();
loadModels();
