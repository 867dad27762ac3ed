// The wall of cameras. It asks this server's public API and nothing else: the list each second, the
// pictures of those that can be seen, and, of the one that is shown large, each answer as it comes.
// Its sections are asking, the list, the tiles, their pictures, the large one, what people do.

import { ConnectionFailedError, InferpoolError, ProblemError, UnexpectedAnswerError } from "./client.js";
import { address, ago, element, hasKey, keyHeaders, percent, rounded, several, useKey } from "./page.js";

const $ = (id) => document.getElementById(id);

const TILES = 60; // at once; more on wish
const MANY = 12; // from so many cameras on they can be searched
const EACH_MS = 1000; // between two lists, and between two pictures of a camera
const AT_ONCE = 4; // pictures that are asked for
const SILENT_MS = 10_000; // a camera that was not answered for so long is silent
const RETRY_MS = 2000;

const state = {
  cameras: [],
  limit: TILES,
  tiles: new Map(), // by id: {item, button, image, none, badge, pace, visible, sends, due, url}
  large: null, // {id, abort, url} while a camera is shown large
  isOld: false, // the server does not answer, or its Redis is away
};

const path = (id, rest = "") => `v1/cameras/${encodeURIComponent(id)}${rest}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---------------------------------------------------------------- asking

// Waits for what the network brings; throws an InferpoolError, or what an abort throws.
async function fromNetwork(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.name === "AbortError" ? error : new ConnectionFailedError(error);
  }
}

// A good answer, whose body has not been read yet: a picture, or a stream that does not end. It is not
// tried again here, as there is a next one soon.
async function ask(place, { headers = {}, signal } = {}) {
  const response = await fromNetwork(
    fetch(address(place), { headers: { ...headers, ...keyHeaders() }, signal, cache: "no-store" }),
  );
  if (response.ok) return response;
  const json = await fromNetwork(response.text().then(JSON.parse).catch(() => null));
  const retry_after_ms = 1000 * (Number(response.headers.get("Retry-After")) || 0);
  throw json?.title
    ? new ProblemError({ ...json, retry_after_ms })
    : new UnexpectedAnswerError({ status: response.status, retry_after_ms });
}

const call = async (place) => fromNetwork((await ask(place)).json());

// ---------------------------------------------------------------- the list

async function follow() {
  for (;;) {
    let wait = EACH_MS;
    if (!document.hidden) {
      try {
        const list = await call("v1/cameras");
        if (state.cameras.length > 200) wait = 3 * EACH_MS;
        take(list);
      } catch (error) {
        if (!(error instanceof InferpoolError)) throw error;
        fail(error);
        if (needsKey(error)) return; // until there is another
        wait = Math.max(RETRY_MS, error.retry_after_ms);
      }
    }
    await pause(wait);
  }
}

const needsKey = ({ status }) => status === 401;
// Where no camera can come, the address is none.
const isOff = ({ code }) => code === "unknown-route";

function take({ cameras, redis }) {
  state.cameras = cameras;
  state.isOld = redis !== "up";
  $("problem").hidden = true;
  $("key-form").hidden = true;
  sayNone(
    cameras.length ? "" : "There is no camera yet",
    "Name cameras under streams.cameras in the configuration, or let a feeder send the pictures of one:",
    "inferpool-feed --camera door-3 --source rtsp://…",
  );
  if (state.isOld && !cameras.length) sayNone("");
  show();
}

function fail(problem) {
  state.isOld = true;
  if (isOff(problem)) {
    state.cameras = [];
    sayNone(
      "Cameras are switched off here",
      "Whoever runs this server can switch them on: with streams.workers in its configuration, and a Redis that cameras send their pictures to.",
    );
    $("problem").hidden = true;
    summary("No cameras");
    showTiles();
    return;
  }
  sayNone("");
  const wantsKey = needsKey(problem);
  $("key-form").hidden = !wantsKey;
  $("problem").hidden = wantsKey && !hasKey();
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = [problem.detail, state.cameras.length ? "What you see is old." : "", wantsKey ? "" : "Trying again."].filter(Boolean).join(" ");
  $("problem-id").textContent = problem.request_id ? `Request ${problem.request_id}` : "";
  if (wantsKey) state.cameras = [];
  summary(wantsKey ? "This server asks for a key" : "The server does not answer", !wantsKey);
  showTiles();
}

function sayNone(title, detail = "", code = "") {
  $("none").hidden = !title;
  $("none-title").textContent = title;
  $("none-detail").textContent = detail;
  $("none-code").hidden = !code;
  $("none-code").textContent = code;
}

// Said only when it is another, as it is read aloud.
function summary(text, isBad = false) {
  const place = $("summary");
  place.dataset.state = isBad ? "bad" : "";
  if (place.textContent !== text) place.textContent = text;
}

const isSilent = ({ age_ms: age }) => age === null || age > SILENT_MS;
const isBad = ({ status }) => status !== null && status !== 200;

function show() {
  const silent = state.cameras.filter(isSilent).length;
  const bad = state.cameras.filter((camera) => isBad(camera) && !isSilent(camera)).length;
  const parts = [several(state.cameras.length, "camera")];
  if (silent) parts.push(`${silent} silent`);
  if (bad) parts.push(`${bad} whose pictures cannot be used`);
  if (state.isOld) summary("Redis, where the cameras send to, is away: what you see is old. Trying again.", true);
  else summary(state.cameras.length ? parts.join(", ") : "No cameras");
  showTiles();
  if (state.large) showPace();
}

// ---------------------------------------------------------------- tiles

function wanted() {
  const text = $("filter").value.trim().toLowerCase();
  return state.cameras.filter(({ id }) => id.toLowerCase().includes(text));
}

function showTiles() {
  const all = wanted();
  const shown = all.slice(0, state.limit);
  const wall = $("wall");
  wall.classList.toggle("is-old", state.isOld);
  const ids = new Set(shown.map(({ id }) => id));
  for (const [id, tile] of state.tiles) if (!ids.has(id)) forget(id, tile);
  shown.forEach((camera, index) => {
    const tile = state.tiles.get(camera.id) ?? makeTile(camera.id);
    if (wall.children[index] !== tile.item) wall.insertBefore(tile.item, wall.children[index] ?? null);
    fill(tile, camera);
  });
  $("search").hidden = state.cameras.length < MANY && !$("filter").value;
  $("rest").hidden = shown.length === all.length && (all.length > 0 || !$("filter").value);
  $("more").hidden = shown.length === all.length;
  $("rest-text").textContent = all.length ? `${shown.length} of ${all.length} are shown.` : "No camera has such a name.";
}

function makeTile(id) {
  const image = element("img", { alt: "", hidden: true });
  const none = element("span", {}, "No picture yet");
  const badge = element("span", { className: "badge" });
  const pace = element("span", { className: "pace" });
  const button = element(
    "button",
    { type: "button", className: "tile" },
    element("span", { className: "view" }, image, none),
    element("span", { className: "facts" }, element("span", { className: "name", title: id }, id), badge, pace),
  );
  button.addEventListener("click", () => open(id));
  const item = element("li", {}, button);
  const tile = { item, button, image, none, badge, pace, visible: false, sends: false, due: 0, url: "" };
  state.tiles.set(id, tile);
  item.dataset.id = id;
  watcher.observe(item);
  return tile;
}

function forget(id, tile) {
  watcher.unobserve(tile.item);
  tile.item.remove();
  if (tile.url) URL.revokeObjectURL(tile.url);
  state.tiles.delete(id);
}

const write = (place, text) => {
  if (place.textContent !== text) place.textContent = text;
};

const badgeOf = (camera) => {
  if (camera.age_ms === null) return ["", "not yet"];
  if (state.isOld) return ["", "old"];
  if (isSilent(camera)) return ["bad", `silent, ${ago(camera.age_ms)}`];
  return isBad(camera) ? ["bad", "cannot be used"] : ["live", "live"];
};
const rateOf = ({ rate }) => `${rounded(rate)} a second`;
const lagOf = ({ lag }) => (lag.ms === null ? "" : `${rounded(lag.ms / 1000)} s behind`);

function fill(tile, camera) {
  const [kind, text] = badgeOf(camera);
  tile.badge.dataset.state = kind;
  write(tile.badge, text);
  write(tile.pace, camera.age_ms === null ? "No answer yet" : [rateOf(camera), lagOf(camera)].filter(Boolean).join(" · "));
  // Of who sends nothing that can be used there is no new picture to be asked for.
  tile.sends = !isSilent(camera) && !isBad(camera);
  tile.item.classList.toggle("is-old", !tile.sends);
  const label = `${camera.id}: ${text}`;
  if (tile.button.getAttribute("aria-label") !== label) tile.button.setAttribute("aria-label", label);
}

// ---------------------------------------------------------------- pictures

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const tile = state.tiles.get(target.dataset.id);
    if (tile) tile.visible = isIntersecting;
  }
});

// The picture of a camera in place of the one before; false when there is none.
async function picture(id, holder, image, none) {
  let blob;
  try {
    blob = await (await ask(path(id, "/snapshot.jpg"))).blob();
  } catch (error) {
    if (!(error instanceof InferpoolError) && error.name !== "TypeError") throw error;
    none.hidden = !image.hidden;
    return false;
  }
  const url = URL.createObjectURL(blob);
  const before = holder.url;
  holder.url = url;
  image.src = url;
  await image.decode().catch(() => {});
  image.hidden = false;
  none.hidden = true;
  if (before) URL.revokeObjectURL(before);
  return true;
}

// So many of these go round; each takes the tile that has waited longest.
async function refresh() {
  for (;;) {
    const now = Date.now();
    let next = null;
    if (!document.hidden && !state.large && !state.isOld)
      for (const [id, tile] of state.tiles)
        if (tile.visible && tile.sends && tile.due <= now && (!next || tile.due < next.tile.due)) next = { id, tile };
    if (!next) {
      await pause(100);
      continue;
    }
    next.tile.due = Infinity;
    const has = await picture(next.id, next.tile, next.tile.image, next.tile.none);
    next.tile.due = now + (has ? EACH_MS : 3 * EACH_MS);
  }
}

// ---------------------------------------------------------------- one of them, large

function open(id) {
  leave();
  const abort = new AbortController();
  state.large = { id, abort, url: "" };
  $("large-name").textContent = id;
  $("large-image").hidden = true;
  $("large-image").alt = `What the camera ${id} saw last, with what was found in it`;
  $("large-none").hidden = false;
  $("found-text").textContent = "Waiting for the next picture";
  $("found").replaceChildren();
  $("json").textContent = "";
  showPace();
  const alone = state.cameras.length < 2;
  $("before").disabled = $("after").disabled = alone;
  if (!$("large").open) $("large").showModal();
  const large = state.large;
  refreshLarge(large);
  call(path(id, "/latest")).then((answer) => found(large, answer), () => {});
  events(path(id, "/events"), (answer) => found(large, answer), abort.signal);
}

// Ends what is shown large; the dialog itself may stay for another camera.
function leave() {
  if (!state.large) return;
  state.large.abort.abort();
  if (state.large.url) URL.revokeObjectURL(state.large.url);
  state.large = null;
}

async function refreshLarge(large) {
  while (state.large === large) {
    if (!document.hidden) await picture(large.id, large, $("large-image"), $("large-none"));
    await pause(EACH_MS);
  }
}

function showPace() {
  const camera = state.cameras.find(({ id }) => id === state.large.id);
  const rows = (list, pairs) =>
    list.replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  if (!camera) return;
  rows($("pace"), [
    ["Answers", rateOf(camera)],
    ["From the picture to its answer", camera.lag.ms === null ? "not known" : `${rounded(camera.lag.ms / 1000)} s`],
    ["Pictures that wait", camera.lag.frames === null ? "not known" : String(camera.lag.frames)],
    ["The newest answer", camera.age_ms === null ? "none yet" : ago(camera.age_ms)],
  ]);
  const names = {
    produced: "Sent by the camera",
    published: "Answered",
    superseded: "Left out for a newer one",
    stale: "Too old",
    trimmed: "Lost before they were read",
    overwritten: "Overwritten by the camera",
    failed: "Given up",
    pending: "In work",
  };
  rows($("ledger"), camera.ledger ? Object.entries(names).map(([name, text]) => [text, String(camera.ledger[name])]) : [["Not known", ""]]);
}

const nameOf = (item) => item.text || item.class_name || `kind ${item.class_id}`;

function found(large, answer) {
  if (state.large !== large) return;
  $("json").textContent = JSON.stringify(answer, null, 1);
  if (answer.still) return; // what was found holds
  const items = answer.detections ?? answer.classes ?? answer.texts ?? [];
  $("found-text").textContent =
    answer.status !== 200
      ? `The picture could not be used: ${answer.problem?.detail ?? "no reason is known"}`
      : answer.embedding
        ? "This camera’s model describes the picture in numbers"
        : items.length
          ? several(items.length, "thing")
          : "Nothing";
  $("found").replaceChildren(
    ...items.slice(0, 20).map((item) => element("li", {}, nameOf(item), element("span", {}, percent.format(item.confidence)))),
  );
}

// Gives `take` the answers that a stream of events has, and comes again where it ended, until it is
// aborted. (An EventSource could not send the key.)
async function events(place, take, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const response = await ask(place, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = new Map(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
          last = fields.get("id") ?? last;
          if (fields.has("data")) take(JSON.parse(fields.get("data")));
        }
      }
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    await pause(RETRY_MS);
  }
}

// ---------------------------------------------------------------- what people do

function step(by) {
  const all = wanted();
  if (!state.large || all.length < 2) return;
  const at = all.findIndex(({ id }) => id === state.large.id);
  open(all[(at + by + all.length) % all.length].id);
}

$("large").addEventListener("close", () => {
  const id = state.large?.id;
  leave();
  state.tiles.get(id)?.button.focus();
});
$("large").addEventListener("click", (event) => {
  if (event.target === $("large")) $("large").close();
});
$("large").addEventListener("keydown", ({ key, target }) => {
  if (target.closest("pre")) return; // which can be scrolled
  if (key === "ArrowRight") step(1);
  if (key === "ArrowLeft") step(-1);
});
$("close").addEventListener("click", () => $("large").close());
$("before").addEventListener("click", () => step(-1));
$("after").addEventListener("click", () => step(1));
$("more").addEventListener("click", () => {
  state.limit += TILES;
  showTiles();
});
$("filter").addEventListener("input", () => {
  state.limit = TILES;
  showTiles();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  follow();
});

follow();
for (let i = 0; i < AT_ONCE; ++i) refresh();
