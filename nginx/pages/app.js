// The page for people: pictures in, boxes over them out, and the code that does the same. It asks this
// server's public API and nothing else. Its sections are models, pictures, asking, the camera, showing,
// the code, what people do.

import { Camera, whyNot } from "./camera.js";
import { InferpoolError, orientationLeft, ProblemError } from "./client.js";
import { colourOf, drawnPicture, drawOver, nameOf, seenPoints, svg } from "./drawing.js";
import { EVERYTHING, merged, withFound } from "./everything.js";
import {
  address,
  element,
  fromPrograms,
  hasKey,
  kept,
  milliseconds,
  PageProblem,
  percent,
  server as api,
  several,
  useKey,
} from "./page.js";
import { snippet } from "./snippets.js";
import { marksPlaces, purpose, STEPS } from "./words.js";

const $ = (id) => document.getElementById(id);

const FORMATS = "JPEG, PNG, WebP or GIF";
const HEIC =
  "Choose it with the button instead of dropping it: Safari then makes a JPEG of it. Elsewhere save it as JPEG first.";
const MOST = 100; // pictures at once
const TRIES = 5; // for a picture of several, while the server asks for patience
const THUMB_SIDE = 144;
const LARGE_BYTES = 1 << 20; // of a picture that may take a while to be sent
const LIVE_SIDE = 1280; // the longer side of a live picture: more only takes longer

// A picture: {blob, name, isFile, url, width, height, isUpright, thumb, progress, answer, problem}, with
// `progress` "waiting", "looking" or "done", and `answer` {json, asked, roundTrip, cached}. `isFile`: the
// person has a file of that name.
const state = {
  models: [],
  pictures: [],
  at: 0, // which of them is shown
  leftOut: 0, // how many were too many
  frame: null, // while the camera is open, in place of a picture: {answer, problem}
  problem: null, // of the page and of no picture
  chosen: -1, // the detection that is pointed out
  live: false,
  run: null, // the AbortController of those that are being asked about
};
let server = { base: address(""), certificate: "" }; // as fromPrograms() says

// What the page is about now, if anything.
const subject = () => state.frame ?? state.pictures[state.at];

// ---------------------------------------------------------------- models

const model = () => [...state.models, EVERYTHING].find(({ name }) => name === $("model").value);
const hasPlaces = () => marksPlaces(model()?.family ?? null);

async function loadModels() {
  const picker = $("model");
  let models;
  try {
    models = await api().models({ attempts: 2 });
  } catch (error) {
    if (!(error instanceof InferpoolError)) throw error;
    state.problem = error;
    if (error.status === 401 && !hasKey())
      Object.assign(error, { title: "This server asks for a key", detail: "Enter yours below." });
    picker.replaceChildren(new Option(needsKey(error) ? "Shown once there is a key" : "Not known yet"));
    show();
    return;
  }
  const usable = models.filter(({ family }) => family);
  state.models = models;
  state.problem = usable.length
    ? null
    : new PageProblem(
        "No model is ready",
        models.length
          ? "The server has models, but none that can be used here: why stands under “What to look for”."
          : "The server answers, but it has no model yet. It may still be loading them: try again in a moment. Else whoever runs it has to put one into its folder of models.",
      );
  picker.replaceChildren(
    ...models.map(({ name, family }) => {
      const option = new Option(family ? name : `${name}: cannot be used here`, name);
      option.disabled = !family;
      return option;
    }),
  );
  if (!models.length) picker.replaceChildren(new Option("There is none"));
  if (usable.length > 1) picker.append(new Option("everything", EVERYTHING.name));
  const remembered = kept("localStorage", "inferpool.model");
  picker.value =
    [remembered, "objects"].find((name) => [...picker.options].some((one) => one.value === name && !one.disabled)) ?? usable[0]?.name ?? picker.value;
  picker.disabled = !usable.length;
  $("key-form").hidden = true;
  const unusable = models.filter(({ family }) => !family);
  $("unusable").hidden = !unusable.length;
  $("unusable").replaceChildren(
    ...unusable.map(({ name, unusable: why }) =>
      element("li", {}, element("strong", {}, name), ` cannot be used here: ${why || "the server does not say why"}`),
    ),
  );
  describeModel();
  show();
  await work();
}

function describeModel() {
  const chosen = model();
  const version = chosen?.version ? ` Version ${chosen.version}.` : "";
  $("about").textContent = chosen?.family ? purpose(chosen) + version : "";
  $("threshold").hidden = !chosen?.family || !hasPlaces();
}

const needsKey = ({ status }) => status === 401 || (status === 403 && hasKey());

// ---------------------------------------------------------------- pictures

// Takes files in place of the pictures that are there, and shows the first that says it is a picture.
async function take(files, isFile = true) {
  closeCamera();
  forgetPictures();
  state.leftOut = Math.max(0, files.length - MOST);
  state.pictures = files.slice(0, MOST).map((blob) => ({
    blob,
    name: blob.name || "picture.jpg",
    isFile,
    url: URL.createObjectURL(blob),
    progress: "waiting",
    answer: null,
    problem: null,
  }));
  state.at = Math.max(0, files.findIndex(({ type }, index) => index < MOST && type.startsWith("image/")));
  makeStrip();
  show();
  await work();
}

function forgetPictures() {
  giveUp();
  for (const { url } of state.pictures) URL.revokeObjectURL(url);
  state.pictures = [];
  state.at = state.leftOut = 0;
  state.chosen = -1;
  if (model()?.family) state.problem = null;
  $("image").removeAttribute("src");
}

const isHeic = ({ name, blob }) => /hei[cf]/.test(blob.type) || /\.hei[cf]$/i.test(name);

// Has the browser read the picture; throws a PageProblem when it cannot.
async function open(picture) {
  const image = new Image();
  image.src = picture.url;
  try {
    await image.decode();
    picture.isUpright = (await orientationLeft(picture.blob)) === 1;
  } catch {
    const { name, blob } = picture;
    throw new PageProblem(
      "This browser cannot show that file",
      isHeic(picture)
        ? `${name} is a HEIC picture. ${HEIC}`
        : `${name} is ${blob.type || "of an unknown type"}. Please save it as ${FORMATS}.`,
    );
  }
  picture.width = image.naturalWidth;
  picture.height = image.naturalHeight;
  picture.thumb = thumbnail(image);
}

function thumbnail(image) {
  const scale = Math.min(1, THUMB_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function takeFiles(files, isFile = true) {
  if (files.length) {
    take([...files], isFile);
    return;
  }
  state.problem = new PageProblem("That was no file", "Save the picture first, then drop or choose the file.");
  show();
}

async function takeSample() {
  try {
    const response = await fetch(address("sample.jpg"));
    if (!response.ok) throw new TypeError();
    await take([new File([await response.blob()], "sample.jpg", { type: "image/jpeg" })], false);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    state.problem = new PageProblem("The sample cannot be had", "The server did not send it.");
    show();
  }
}

// ---------------------------------------------------------------- asking

// Of the request that the page's code makes; below the server's address.
const target = (confidence) =>
  (model() === EVERYTHING ? "v1/analyze" : `v1/predict/${encodeURIComponent(model()?.name ?? "objects")}`) +
  (hasPlaces() ? `?confidence=${confidence}` : "");

// The answer about a picture; the request may be sent so many times. `onSent` is told which share of a
// large picture has left, in steps of a tenth, once that takes longer than half a second.
async function ask(blob, signal, attempts, onSent) {
  const asked = Number($("confidence").value);
  const begin = performance.now();
  let cached = false;
  let told = 0;
  const onProgress = ({ sent, total }) => {
    const share = Math.floor((10 * sent) / total) / 10;
    if (performance.now() - begin < 500 || share === told) return;
    told = share;
    onSent(share);
  };
  const options = {
    confidence: hasPlaces() ? asked : undefined,
    signal,
    attempts,
    onProgress: onSent && blob.size > LARGE_BYTES ? onProgress : undefined,
    onAnswer: ({ headers }) => (cached = headers.get("X-Cache") === "HIT"),
  };
  const isAll = model() === EVERYTHING;
  const raw = await (isAll ? api().analyze(blob, options) : api().predict(model().name, blob, options));
  return { json: isAll ? merged(raw) : raw, raw, asked, roundTrip: performance.now() - begin, cached };
}

// Asks about all pictures that wait, one after the other, the one that is shown first. What was being
// asked is given up. Without a model the picture is shown and waits for one.
async function work() {
  giveUp();
  const isReady = Boolean(model()?.family);
  const run = (state.run = new AbortController());
  const waits = (picture) => picture?.progress === "waiting";
  for (;;) {
    const picture = waits(state.pictures[state.at]) ? state.pictures[state.at] : state.pictures.find(waits);
    if (!picture) break;
    picture.progress = "looking";
    picture.sent = 1;
    showMany();
    showBusy();
    try {
      if (!picture.width) await open(picture);
      if (run !== state.run) return;
      if (picture === subject()) showPicture();
      if (!isReady) break;
      picture.answer = await ask(picture.blob, run.signal, state.pictures.length > 1 ? TRIES : 1, (share) => {
        picture.sent = share;
        if (picture === subject() && !picture.answer) $("summary").textContent = waiting(picture);
      });
      picture.problem = null;
    } catch (error) {
      if (run !== state.run) return;
      if (!(error instanceof InferpoolError)) throw error;
      picture.answer = null;
      picture.problem = error;
    }
    if (run !== state.run) return;
    picture.progress = "done";
    if (picture === subject()) {
      state.chosen = -1;
      show();
    }
    showMany();
  }
  giveUp();
  if (isReady && state.pictures.length > 1) announce($("many-title").textContent);
}

// What is asked now is not wanted any more; the picture waits again.
function giveUp() {
  const { run } = state;
  state.run = null;
  run?.abort();
  for (const picture of state.pictures) if (picture.progress === "looking") picture.progress = "waiting";
  showBusy();
}

// Asks again about those pictures for which `isWanted`.
function askAgain(isWanted) {
  for (const picture of state.pictures) {
    if (!isWanted(picture)) continue;
    picture.progress = "waiting";
    if (picture !== subject()) picture.answer = picture.problem = null;
  }
  showMany();
  return work();
}

// Whether asking again, with nothing changed, may help.
const mayPass = ({ status }) => !status || status === 429 || status >= 500;

// ---------------------------------------------------------------- the camera

const camera = new Camera($("video"));

async function openCamera() {
  giveUp();
  try {
    await camera.open();
  } catch (error) {
    state.problem = new PageProblem("The camera cannot be used", whyNot(error));
    show();
    return;
  }
  forgetPictures();
  state.frame = { answer: null, problem: null };
  makeStrip();
  show();
  $("capture").focus();
}

function closeCamera() {
  stopLive();
  if (!camera.isOpen) return;
  camera.close();
  state.frame = null;
}

// One picture after the other, the next when the answer came, until it is switched off, the page is
// hidden, or an error that waiting does not mend.
async function goLive() {
  state.live = true;
  $("live").setAttribute("aria-pressed", "true");
  $("summary").setAttribute("aria-live", "off"); // nobody wants to hear ten answers a second
  announce("Live: every picture is asked about.");
  const run = (state.run = new AbortController());
  while (state.live && !document.hidden) {
    const blob = await camera.shot(LIVE_SIDE);
    if (run !== state.run) break;
    try {
      state.frame = { answer: await ask(blob, run.signal, 1), problem: null };
    } catch (error) {
      if (run !== state.run) break;
      if (!(error instanceof InferpoolError)) throw error;
      state.frame = { answer: null, problem: error };
    }
    if (run !== state.run) break;
    state.chosen = -1;
    show();
    if (!state.frame.problem) continue;
    if (!state.frame.problem.retry_after_ms) break;
    await new Promise((resolve) => setTimeout(resolve, state.frame.problem.retry_after_ms));
  }
  if (run === state.run) stopLive();
}

function stopLive() {
  if (state.live) giveUp();
  state.live = false;
  $("live").setAttribute("aria-pressed", "false");
  $("summary").removeAttribute("aria-live");
}

const announce = (text) => ($("announcer").textContent = text);

// ---------------------------------------------------------------- showing

function detections(answer) {
  const least = Number($("confidence").value);
  return withFound(answer?.json.detections ?? []).filter(({ confidence }) => confidence >= least);
}

const itemsOf = (answer) => answer?.json.classes ?? answer?.json.texts ?? detections(answer);

function show() {
  const about = subject();
  const answer = about?.answer;
  const items = itemsOf(answer);
  const problem = showProblem();
  showPicture();
  $("summary").textContent = problem
    ? ""
    : answer
      ? summary(answer.json, items)
      : state.frame
        ? "Take the picture, or go live."
        : about
          ? waiting(about)
          : "Nothing yet: choose a picture, or try the sample.";
  showRows(items);
  showEmbedding(answer?.json.embedding);
  $("raw").hidden = !answer;
  $("json").textContent = answer ? JSON.stringify(answer.raw, null, 2) : "";
  showTiming(answer);
  showSnippet();
}

const waiting = ({ sent = 1 }) => (sent < 1 ? `Sending it: ${percent.format(sent)} has left …` : "Looking at it …");

// The picture, or what the camera sees, with what was found on it.
function showPicture() {
  const about = subject();
  const video = $("video");
  const [width, height] = state.frame ? [video.videoWidth, video.videoHeight] : [about?.width, about?.height];
  $("picture").dataset.state = state.frame ? "camera" : width ? "picture" : "empty";
  $("frame").hidden = !width;
  $("caption").hidden = !width || Boolean(state.frame);
  if (width) $("frame").style.setProperty("--ratio", String(width / height));
  const image = $("image");
  if (!state.frame && width && image.src !== about.url) {
    image.src = about.url;
    image.alt = `The picture ${about.name}`;
  }
  const turned = isUpright()
    ? ""
    : ". This browser does not turn it as the file says; the boxes, of the upright picture, stand in the list alone";
  $("caption").textContent = width && about.name ? `${about.name}, ${width} × ${height}${turned}` : "";
  drawBoxes();
}

// Whether the browser shows the picture as the server sees it.
function isUpright() {
  const about = subject();
  const seen = about?.answer?.json.image;
  if (!seen || state.frame) return true;
  const { width, height } = about;
  return (
    about.isUpright &&
    Math.abs(seen.width * height - seen.height * width) <= Math.max(seen.width, width, seen.height, height)
  );
}

function showBusy() {
  if (state.run) $("picture").setAttribute("aria-busy", "true");
  else $("picture").removeAttribute("aria-busy");
}

const counted = (items) => {
  const counts = new Map();
  for (const { class_name } of items) counts.set(class_name, (counts.get(class_name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
};

function summary(json, items) {
  if (json.embedding)
    return `${several(json.embedding.length, "number")} that say what the picture looks like (an embedding).`;
  if (json.texts)
    return items[0]?.text
      ? `“${items[0].text}”, ${percent.format(items[0].confidence)} sure.`
      : "No text.";
  if (json.classes)
    return items.length
      ? `${items[0].class_name}, ${percent.format(items[0].confidence)} sure.`
      : "No class.";
  const notes = (json.notes ?? []).map((note) => ` ${note}`).join("");
  if (!items.length) return `Nothing that is at least ${percent.format($("confidence").value)} sure.${notes}`;
  const surest = Math.max(...items.map(({ confidence }) => confidence));
  return `${counted(items)}; ${items.length > 1 ? "up to " : ""}${percent.format(surest)} sure.${notes}`;
}

// The problem of what the page is about, if any, which it returns.
function showProblem() {
  const problem = state.problem ?? subject()?.problem;
  $("problem").hidden = !problem;
  if (!problem) return null;
  if (needsKey(problem)) $("key-form").hidden = false;
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = problem.detail;
  $("problem-id").textContent = problem.request_id
    ? `Status ${problem.status}, request ${problem.request_id}`
    : "";
  $("problem-page").hidden = !(problem instanceof ProblemError);
  if (problem instanceof ProblemError) $("problem-page").href = address(`docs/errors#${problem.code}`);
  const isMending = !state.models.some(({ family }) => family) || (state.pictures.length && mayPass(problem));
  $("again").hidden = !isMending || needsKey(problem);
  return problem;
}

const corner = (x, y) => `${Math.round(x)},\u00a0${Math.round(y)}`; // breaks between corners alone

// What a detection has besides its box, in a few words.
function extras({ keypoints, mask, corners }) {
  const words = [];
  if (keypoints) words.push(`${seenPoints({ keypoints }).length} of ${several(keypoints.length, "point")} seen`);
  if (mask) words.push(`its shape in ${several(mask.length, "part")}`);
  const tilt = corners ? tiltOf(corners) : 0;
  if (tilt >= 2) words.push(`tilted by ${tilt}°`);
  return words.join("; ");
}

// How far the upper edge of a turned box rises or falls, in degrees.
function tiltOf([[x1, y1], [x2, y2]]) {
  return Math.round((Math.atan2(Math.abs(y2 - y1), Math.abs(x2 - x1)) * 180) / Math.PI);
}

function showRows(items) {
  $("list").hidden = !items.length;
  $("list").classList.toggle("only-classes", !items[0]?.box);
  $("rows").replaceChildren(
    ...items.map((item, index) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colourOf(item);
      const fill = element("span");
      fill.style.width = `${100 * item.confidence}%`;
      const name = item.box
        ? element("button", { type: "button", title: "Point it out" }, swatch, nameOf(item))
        : nameOf(item);
      const row = element(
        "tr",
        {},
        element("td", {}, name),
        element("td", {}, element("span", { className: "meter" }, fill), percent.format(item.confidence)),
      );
      if (item.box) {
        const { x1, y1, x2, y2 } = item.box;
        const more = extras(item);
        row.append(element("td", { className: "for-boxes" }, `${corner(x1, y1)} – ${corner(x2, y2)}`));
        if (more) row.lastChild.append(element("small", {}, more));
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
  for (const box of $("overlay").children) box.classList.toggle("active", box.dataset.index === String(index));
  for (const [i, row] of [...$("rows").children].entries()) row.classList.toggle("active", i === index);
}

// The overlay's units are the screen's pixels, so that lines and labels are as thick on any picture.
function drawBoxes() {
  const answer = subject()?.answer;
  const found = isUpright() ? detections(answer) : [];
  const { clientWidth: width, clientHeight: height } = $("frame");
  $("save").hidden = !found.length || Boolean(state.frame);
  if (!width) return;
  drawOver($("overlay"), found, answer?.json.image, { width, height });
  for (const group of $("overlay").children) {
    group.addEventListener("pointerenter", () => pointOut(Number(group.dataset.index)));
    group.addEventListener("pointerleave", () => pointOut(state.chosen));
  }
  pointOut(state.chosen);
}

async function save() {
  const { name, answer } = subject();
  const blob = await drawnPicture($("image"), detections(answer), answer.json.image);
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: `${name.replace(/\.[^.]*$/, "")}-found.png` }).click();
  announce("Saved");
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may ask first where to
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

function showTiming(answer) {
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
    ...Object.entries(stages).map(([name, value]) => {
      const term = element("dt", { className: name }, STEPS[name] ?? name);
      if (name in parts) term.append(" ", element("small", {}, name)); // as the answer calls it
      return element("div", {}, term, element("dd", {}, milliseconds(value)));
    }),
  );
}

// ---------------------------------------------------------------- several pictures

// The row of the pictures, of which each can be shown.
function makeStrip() {
  $("strip").replaceChildren(
    ...state.pictures.map((picture, index) => {
      const thumb = element("span", { className: "thumb" });
      const name = element("span", { className: "name" }, picture.name);
      const result = element("span", { className: "result" });
      const button = element("button", { type: "button" }, thumb, name, result);
      button.addEventListener("click", () => showAt(index));
      return element("li", {}, button);
    }),
  );
  showMany();
}

function showAt(index) {
  state.at = index;
  state.chosen = -1;
  if (model()?.family) state.problem = null;
  show();
  showMany();
}

function showMany() {
  const { pictures, leftOut } = state;
  $("many").hidden = pictures.length < 2;
  if (pictures.length < 2) return;
  const done = pictures.filter(({ progress }) => progress === "done");
  const bad = done.filter(({ problem }) => problem).length;
  $("many-done").max = pictures.length;
  $("many-done").value = done.length;
  $("many-done").hidden = done.length === pictures.length;
  $("many-title").textContent =
    (done.length < pictures.length ? `${done.length} of ${pictures.length} pictures done` : `${pictures.length} pictures`) +
    (bad ? `, ${bad} without an answer` : "");
  $("many-note").hidden = !leftOut;
  $("many-note").textContent = `These are the first ${MOST}; ${leftOut} more are too many at once.`;
  for (const [index, item] of [...$("strip").children].entries()) {
    const picture = pictures[index];
    const button = item.firstChild;
    const [thumb, , result] = button.children;
    if (picture.thumb && !thumb.firstChild) thumb.append(picture.thumb);
    button.tabIndex = index === state.at ? 0 : -1;
    button.setAttribute("aria-pressed", String(index === state.at));
    button.dataset.progress = picture.problem ? "bad" : picture.progress;
    result.textContent = inAWord(picture);
  }
}

// What came of a picture, as short as can be.
function inAWord({ progress, answer, problem }) {
  if (progress === "waiting") return "waits";
  if (progress === "looking") return "is looked at …";
  if (problem) return problem.title;
  if (answer.json.embedding) return several(answer.json.embedding.length, "number");
  const items = itemsOf(answer);
  if (!items.length) return "nothing found";
  return answer.json.detections ? counted(items) : nameOf(items[0]) || "no text";
}

// ---------------------------------------------------------------- the same from a program

function showSnippet() {
  const language = document.querySelector('[role="tab"][aria-selected="true"]').id.replace("tab-", "");
  const picture = state.pictures[state.at];
  const file = picture?.isFile ? picture.name : null;
  $("snippet").textContent = snippet(language, target($("confidence").value), { server, file, auth: hasKey() });
  const notes = [];
  if (file) notes.push(`Run it in the folder of ${file}.`);
  if (hasKey()) notes.push("The key is taken from the environment: INFERPOOL_KEY.");
  if (server.certificate)
    notes.push("The certificate is this server’s own, whose file is on this machine: programs must be told to trust it.");
  $("note").textContent = notes.join(" ");
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
  if (input.files.length) takeFiles(input.files);
  input.value = ""; // the same file may be chosen again
});
$("sample").addEventListener("click", takeSample);
$("save").addEventListener("click", save);
$("camera").addEventListener("click", openCamera);
$("close").addEventListener("click", () => {
  closeCamera();
  show();
  $("camera").focus();
});
$("capture").addEventListener("click", async () => {
  stopLive();
  const blob = await camera.shot();
  await take([new File([blob], "camera.jpg", { type: "image/jpeg" })], false);
});
$("live").addEventListener("click", () => (state.live ? stopLive() : goLive()));
$("again").addEventListener("click", () => {
  if (state.models.some(({ family }) => family)) askAgain(({ problem }) => problem && mayPass(problem));
  else loadModels();
});
$("copy").addEventListener("click", copy);

$("model").addEventListener("change", () => {
  kept("localStorage", "inferpool.model", $("model").value);
  describeModel();
  showSnippet();
  if (!state.live) askAgain(() => true);
});

// Upwards the answers in hand are enough; downwards the server must be asked again.
let soon = 0;
$("confidence").addEventListener("input", () => {
  const value = Number($("confidence").value);
  $("confidence-value").textContent = percent.format(value);
  $("confidence").setAttribute("aria-valuetext", percent.format(value));
  clearTimeout(soon);
  const isShort = ({ answer, progress }) => (answer ? value < answer.asked : progress === "looking");
  if (state.pictures.some(isShort)) soon = setTimeout(() => askAgain(isShort), 250);
  state.chosen = -1;
  if (subject()?.answer) show();
  showMany();
  showSnippet();
});

$("key").addEventListener("input", ({ target: input }) =>
  input.setCustomValidity(
    /^[\x21-\x7e]*$/.test(input.value.trim()) ? "" : "A key is of printable ASCII letters, without blanks.",
  ),
);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  if (state.models.length) askAgain(() => true);
  else loadModels();
});

document.addEventListener("paste", ({ clipboardData }) => {
  const files = [...clipboardData.files];
  // Of this name is what was copied out of another program, and no file.
  if (files.length) takeFiles(files, files[0].name !== "image.png");
});
let inside = 0; // dragenter and dragleave come for every element on the way
document.addEventListener("dragenter", () => document.body.classList.toggle("dragging", ++inside > 0));
document.addEventListener("dragleave", () => document.body.classList.toggle("dragging", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  document.body.classList.remove("dragging");
  takeFiles(event.dataTransfer.files);
});

// Left and right within a row of buttons of which one can be tabbed to.
function arrows(buttons, follow) {
  return (event) => {
    const all = buttons();
    const index = all.indexOf(event.target.closest("button"));
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (index < 0 || next === undefined) return;
    event.preventDefault();
    const chosen = all.at(next % all.length);
    chosen.focus();
    follow(chosen);
  };
}
const tabs = () => [...document.querySelectorAll('[role="tab"]')];
for (const tab of tabs()) tab.addEventListener("click", () => chooseTab(tab));
document.querySelector('[role="tablist"]').addEventListener("keydown", arrows(tabs, chooseTab));
const strip = () => [...$("strip").querySelectorAll("button")];
$("strip").addEventListener(
  "keydown",
  arrows(strip, (button) => showAt(strip().indexOf(button))),
);

new ResizeObserver(drawBoxes).observe($("frame"));
document.addEventListener("keydown", ({ key: pressed }) => {
  if (pressed === "Escape") choose(-1);
});

showSnippet();
fromPrograms().then((known) => {
  server = known;
  showSnippet();
});
loadModels();
