// The client of inferpool for browsers and Node.js 18 or later: one file that needs no other.
//
//   import { Client } from "https://SERVER/client.js"; // or from "inferpool", the npm package
//   const client = new Client({ url: "https://SERVER/", key: "..." });
//   const { detections } = await client.predict("objects", file, { confidence: 0.5 });
//
// Its types, and what each of them promises: inferpool.d.ts.

// ---------------------------------------------------------------- errors

export class InferpoolError extends Error {
  constructor(fields, options) {
    super([fields.title, fields.detail].filter(Boolean).join(": "), options);
    this.name = new.target.name;
    Object.assign(this, { status: 0, detail: "", request_id: "", retry_after_ms: 0, attempts: 0, ...fields });
  }
}

export class ProblemError extends InferpoolError {}

export class UnexpectedAnswerError extends InferpoolError {
  constructor(fields) {
    super({
      title: "The server's answer makes no sense",
      detail: `It has status ${fields.status} and is not of this API.`,
      ...fields,
      code: "unexpected-answer",
    });
  }
}

export class ConnectionFailedError extends InferpoolError {
  constructor(cause) {
    super(
      {
        code: "connection-failed",
        title: "The server cannot be reached",
        detail: "The connection broke or was refused. Is the server running?",
      },
      { cause },
    );
  }
}

export class DeadlineError extends InferpoolError {
  constructor(timeout_ms, cause) {
    super(
      {
        code: "deadline-exceeded",
        title: "There was no answer in time",
        detail: `The whole of it had to be there within ${timeout_ms} ms.`,
      },
      { cause },
    );
  }
}

export class PictureError extends InferpoolError {
  constructor(detail, cause) {
    super({ code: "not-a-picture", title: "This is not a picture that can be sent", detail }, { cause });
  }
}

// ---------------------------------------------------------------- trying again

const MAY_PASS = [429, 502, 503, 504];
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
const LONGEST_MS = 1e9; // of a call; timers take no time that is much longer

// Whether the same request may have another answer in a moment.
const mayPass = (error) => error instanceof ConnectionFailedError || MAY_PASS.includes(error.status);

// What a Retry-After asks for, in milliseconds: seconds, or a date, which is held against the server's
// own clock where the answer tells it. 0 for none, and for what cannot be read.
function retryAfter(headers) {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const now = Date.parse(headers.get("Date") ?? "") || Date.now();
  return Math.max(0, Date.parse(value) - now) || 0;
}

// How long to wait after so many attempts: never less than the server asks for, and not as long as
// others who were refused at the same time.
function pause(attempts, retry_after_ms) {
  const own = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempts - 1));
  return Math.max(own * (0.5 + Math.random() / 2), retry_after_ms * (1 + Math.random() / 4));
}

// What the caller's onProgress threw: it ends the call, whatever it is.
class Stopped {
  constructor(reason) {
    this.reason = reason;
  }
}

// A signal that follows `signal`, where there is one, and is aborted with a DeadlineError at the time
// `end`, or by `abort`; `release` ends what it follows.
function limited(signal, end, timeout_ms, cause) {
  const controller = new AbortController();
  const follow = () => controller.abort(signal.reason);
  if (signal?.aborted) follow();
  else signal?.addEventListener("abort", follow);
  const left = Math.max(0, end - performance.now());
  const timer = setTimeout(() => controller.abort(new DeadlineError(timeout_ms, cause)), left);
  const release = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", follow);
  };
  return { signal: controller.signal, abort: (reason) => controller.abort(reason), release };
}

// Waits, unless the signal is aborted: then it throws its reason.
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end, { once: true });
  });
}

// ---------------------------------------------------------------- sending

// A redirect is not followed: keys and pictures are for the server that was named. Browsers hide its
// status and where it leads.
function redirected(status, location, told) {
  const what = status ? `It has status ${status} and leads` : "It leads";
  const detail =
    `${what} to ${location || "another address"}. The client does not go there with ` +
    "pictures and keys: its `url` has to be the server's own address.";
  return new UnexpectedAnswerError({ ...told, detail, status });
}

// fetch() does not tell how much of a body has left: in browsers XMLHttpRequest does. That follows
// redirects, and tells of them when it has.
function sendByXhr(url, { method, headers, body, signal }, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "blob";
    for (const [name, value] of headers) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress({ sent: loaded, total });
    const end = () => request.abort();
    request.onloadend = () => signal.removeEventListener("abort", end);
    request.onload = () => {
      if (request.responseURL && request.responseURL !== url) return reject(redirected(0, request.responseURL));
      const lines = request.getAllResponseHeaders().trim().split(/[\r\n]+/).filter(Boolean);
      const received = new Headers(lines.map((line) => /^(.*?):(.*)$/.exec(line).slice(1)));
      const isEmpty = [204, 205, 304].includes(request.status);
      resolve(new Response(isEmpty ? null : request.response, { status: request.status, headers: received }));
    };
    request.onerror = () => reject(new TypeError("the connection failed"));
    request.onabort = () => reject(signal.reason);
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", end);
    request.send(body);
  });
}

// In Node.js, a body that tells how much of it was taken.
async function sendAsStream(send, url, request, onProgress) {
  const whole = new Response(request.body);
  const type = whole.headers.get("Content-Type");
  if (type && !request.headers.has("Content-Type")) request.headers.set("Content-Type", type);
  const bytes = new Uint8Array(await whole.arrayBuffer());
  const step = 1 << 16;
  let sent = 0;
  const body = new ReadableStream(
    {
      pull(controller) {
        if (sent) onProgress({ sent, total: bytes.length });
        if (sent === bytes.length) return controller.close();
        controller.enqueue(bytes.subarray(sent, sent + step));
        sent = Math.min(bytes.length, sent + step);
      },
    },
    { highWaterMark: 0 },
  );
  request.headers.set("Content-Length", bytes.length);
  return send(url, { ...request, body, duplex: "half" });
}

// ---------------------------------------------------------------- pictures

const TAKEN = ["image/jpeg", "image/png", "image/webp", "image/gif"]; // by the server
const MAX_SIDE = 3840;
const QUALITY = 0.85;
const HEAVY_BYTES = 1 << 20;
const SHRUNK_SIDE = 1280;

// What begins so, at that place, is of that type.
const SIGNATURES = [
  ["image/jpeg", 0, "\xff\xd8\xff"],
  ["image/png", 0, "\x89PNG\r\n\x1a\n"],
  ["image/webp", 8, "WEBP"],
  ["image/gif", 0, "GIF87a"],
  ["image/gif", 0, "GIF89a"],
  ["image/avif", 4, "ftypavi"],
  ["image/heic", 4, "ftyphe"],
  ["image/heic", 4, "ftypmif1"],
  ["image/heic", 4, "ftypmsf1"],
  ["image/jxl", 0, "\xff\x0a"],
  ["image/jxl", 4, "JXL \r\n\x87\n"],
  ["image/tiff", 0, "II*\0"],
  ["image/tiff", 0, "MM\0*"],
  ["image/bmp", 0, "BM"],
];

function textAt(view, at, length) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, Math.min(length, view.byteLength - at));
  return String.fromCharCode(...bytes);
}

const typeOf = (view) =>
  SIGNATURES.find(([, at, text]) => at < view.byteLength && textAt(view, at, text.length) === text)?.[0] ?? "";

// Runs `read` on a file of which `view` may be only a part; null where that part is too short for it.
function within(read, view) {
  try {
    return read(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

// Width and height as the file has them, not yet turned; by type.
const SIZE = {
  "image/png": (view) => [view.getUint32(16), view.getUint32(20)],
  "image/gif": (view) => [view.getUint16(6, true), view.getUint16(8, true)],
  "image/webp"(view) {
    const kind = textAt(view, 12, 4);
    const uint24 = (at) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    if (kind === "VP8X") return [uint24(24) + 1, uint24(27) + 1];
    if (kind === "VP8 ") return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    const bits = view.getUint32(21, true);
    return [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1];
  },
  "image/jpeg"(view) {
    for (let at = 2; ; ) {
      const mark = view.getUint16(at);
      const isFrame = mark >= 0xffc0 && mark <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(mark);
      if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
      if (mark < 0xff01 || mark === 0xffda) return null;
      at += mark === 0xffff ? 1 : 2 + view.getUint16(at + 2);
    }
  },
};

// A file that JPEG may make much smaller, and that has no alpha channel.
const isHeavy = (view, type, bytes) =>
  bytes > HEAVY_BYTES && (type === "image/jpeg" || (type === "image/png" && [0, 2].includes(view.getUint8(25))));

// The EXIF orientation of a WebP, 1 to 8; 1 where there is none.
function webpOrientation(view) {
  if (textAt(view, 12, 4) !== "VP8X" || !(view.getUint8(20) & 0x08)) return 1;
  const end = 8 + view.getUint32(4, true); // what stands behind the container is no part of it
  for (let at = 12; at < end; ) {
    const size = view.getUint32(at + 4, true);
    if (textAt(view, at, 4) === "EXIF") return exifOrientation(view.buffer.slice(at + 8, at + 8 + size));
    at += 8 + size + (size % 2);
  }
  return 1;
}

// TIFF 6.0, "Orientation".
function exifOrientation(content) {
  // Several writers keep JPEG's prefix, "Exif", a zero byte and any other.
  const isPrefixed = textAt(new DataView(content), 0, 4) === "Exif";
  const tiff = new DataView(content, isPrefixed ? 6 : 0);
  const little = tiff.getUint32(0) === 0x49492a00;
  if (!little && tiff.getUint32(0) !== 0x4d4d002a) return 1;
  const directory = tiff.getUint32(4, little);
  const count = tiff.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < count; ++i, at += 12) {
    if (tiff.getUint16(at, little) !== 0x0112) continue;
    const isOneShort = tiff.getUint16(at + 2, little) === 3 && tiff.getUint32(at + 4, little) === 1;
    const value = tiff.getUint16(at + 8, little);
    if (isOneShort && value >= 1 && value <= 8) return value; // the first good one counts
  }
  return 1;
}

// A WebP of 2 x 1 pixels, tagged to be turned by a quarter.
const TURNED_WEBP =
  "UklGRkoAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAkAAAAvAQAAAIiI/gcARVhJRhoAAABJSSoACAAAAAEAEgEDAAEAAAAGAAAAAAAAAA==";
let turns_webp = null;

// How the browser leaves a picture to be turned: the EXIF orientation that it passes over, else 1. All
// turn JPEGs and PNGs; Chromium, for one, passes over that of a WebP.
export async function orientationLeft(blob) {
  if (typeOf(new DataView(await blob.slice(0, 32).arrayBuffer())) !== "image/webp") return 1;
  const orientation = within(webpOrientation, new DataView(await blob.arrayBuffer())) ?? 1;
  if (orientation === 1) return 1;
  turns_webp ??= (async () => {
    const bytes = Uint8Array.from(atob(TURNED_WEBP), (letter) => letter.charCodeAt(0));
    return (await createImageBitmap(new Blob([bytes], { type: "image/webp" }))).width === 1;
  })();
  return (await turns_webp) ? 1 : orientation;
}

const isBrowser = () =>
  typeof createImageBitmap === "function" && (typeof OffscreenCanvas === "function" || typeof document === "object");

function makeCanvas(width, height) {
  if (typeof OffscreenCanvas === "function") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}

// The upright picture as a JPEG that is `scale` as large.
async function encode(bitmap, orientation, scale) {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = orientation < 5 ? makeCanvas(width, height) : makeCanvas(height, width);
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // a JPEG has no alpha channel
  context.fillRect(0, 0, canvas.width, canvas.height);
  const turns = [
    [1, 0, 0, 1, 0, 0],
    [-1, 0, 0, 1, width, 0],
    [-1, 0, 0, -1, width, height],
    [1, 0, 0, -1, 0, height],
    [0, 1, 1, 0, 0, 0],
    [0, 1, -1, 0, height, 0],
    [0, -1, -1, 0, height, width],
    [0, -1, 1, 0, 0, width],
  ];
  context.setTransform(...turns[orientation - 1]);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const options = { type: "image/jpeg", quality: QUALITY };
  if (canvas.convertToBlob) return canvas.convertToBlob(options);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, options.type, options.quality));
  if (!blob) throw new RangeError("it is too large for this browser");
  return blob;
}

// The picture as it is sent: {blob, type, original}, where `original` is the upright size of one that
// was made smaller, else null. `side`: the longest that is to be sent; Infinity: all of its pixels.
//
// Models see most in the file as it is, so it is sent unless it helps to encode it anew: the server does
// not take its type, its longer side is above `side`, or it is heavy and a JPEG has half its bytes.
async function prepare(blob, side) {
  const view = new DataView(await blob.slice(0, 1 << 18).arrayBuffer());
  const type = typeOf(view);
  const taken = TAKEN.includes(type);
  const asItIs = { blob, type: taken ? type : "application/octet-stream", original: null };
  if (!isBrowser()) return asItIs;
  if (!type) throw new PictureError("It begins as no picture does. Send a JPEG, PNG, WebP or GIF.");
  const size = taken ? within(SIZE[type], view) : null;
  const heavy = within((head) => isHeavy(head, type, blob.size), view);
  if (taken && (side === Infinity || (size && Math.max(...size) <= side && !heavy))) return asItIs;
  let bitmap;
  try {
    // The server does not look at colour profiles, so the numbers stay as they are.
    bitmap = await createImageBitmap(blob, taken ? { colorSpaceConversion: "none" } : {});
    const { width, height } = bitmap;
    const scale = Math.min(1, side / Math.max(width, height));
    const orientation = await orientationLeft(blob);
    const made = await encode(bitmap, orientation, scale);
    const isHalf = made.size <= blob.size / 2;
    const isSmaller = scale < 1 && (made.size < blob.size || Math.max(width, height) > MAX_SIDE);
    if (taken && !isHalf && !isSmaller) return asItIs;
    const original = orientation < 5 ? { width, height } : { width: height, height: width };
    return { blob: made, type: "image/jpeg", original: scale < 1 ? original : null };
  } catch (error) {
    if (taken) return asItIs; // the server says what is wrong with it, if it finds the same
    throw new PictureError(`This browser cannot read it (${type}). Please save it as JPEG, PNG, WebP or GIF.`, error);
  } finally {
    bitmap?.close();
  }
}

const mapped = (value, change) =>
  Object.fromEntries(Object.entries(value).map(([name, one]) => [name, change(one, name)]));

// An answer about a picture that was sent smaller, in the pixels of the original: its size, and whatever
// lies somewhere, also within what was found of what was found.
function scaledBack(answer, original, isNormalized) {
  const { width, height } = answer.image;
  const [x, y] = isNormalized ? [1, 1] : [original.width / width, original.height / height];
  const point = ([px, py]) => [px * x, py * y];
  const walk = (value, name) => {
    if (value === null || typeof value !== "object" || name === "embedding") return value;
    if (name === "corners") return value.map(point);
    if (name === "mask") return value.map((polygon) => polygon.map(point));
    if (name === "keypoints") return value.map((one) => ({ ...one, x: one.x * x, y: one.y * y }));
    if (Array.isArray(value)) return value.map((one) => walk(one, ""));
    if (name === "image") return { ...value, ...original };
    if (name === "box") return { x1: value.x1 * x, y1: value.y1 * y, x2: value.x2 * x, y2: value.y2 * y };
    if (name === "results" || name === "found") return mapped(value, (one) => walk(one, "")); // by models, of any name
    return mapped(value, walk);
  };
  return walk(answer, "");
}

// ---------------------------------------------------------------- the client

// What of the options of a call is for this client; the others are parameters of the request.
const OWN = [
  "timeout_ms",
  "attempts",
  "budget_ms",
  "signal",
  "onProgress",
  "onAnswer",
  "priority",
  "request_id",
  "shrink",
  "original",
];
const USEFUL_FOR_MS = 60_000; // a useful_side that is known is not asked for again

// The parameters as a query: lists with commas, {confidence: {person: 0.6}} as confidence.person=0.6.
function queryOf(parameters) {
  const query = new URLSearchParams();
  const add = (name, value) => {
    if (value === undefined || value === null) return;
    if (Array.isArray(value)) query.append(name, value.join(","));
    else if (typeof value === "object") for (const [key, one] of Object.entries(value)) add(`${name}.${key}`, one);
    else query.append(name, String(value));
  };
  for (const [name, value] of Object.entries(parameters)) if (!OWN.includes(name)) add(name, value);
  const text = String(query);
  return text && `?${text}`;
}

function toBlob(picture) {
  if (picture instanceof Blob) return picture;
  if (picture instanceof ArrayBuffer || ArrayBuffer.isView(picture)) return new Blob([picture]);
  throw new TypeError("a picture is a Blob, an ArrayBuffer or an array of bytes");
}
const isDrawn = ({ render }) => render !== undefined && render !== "json";

export class Client {
  #url;
  #fetch;
  #defaults;
  #headers;
  #sides = new Map(); // of a model: {side, until}

  constructor({ url, key = "", timeout_ms = 60_000, attempts = 4, budget_ms = 20_000, headers = {}, fetch } = {}) {
    const base = url === undefined ? new URL("./", import.meta.url) : new URL(String(url).replace(/\/*$/, "/"));
    if (!/^https?:$/.test(base.protocol)) throw new TypeError("a client needs the `url` of its server");
    this.#url = base;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.#defaults = { timeout_ms, attempts, budget_ms };
    this.#headers = new Headers(headers);
    if (key) this.#headers.set("Authorization", `Bearer ${key}`);
  }

  // ------------------------------------------------------------ what can be asked

  async predict(model, picture, options = {}) {
    return this.#ask(`v1/predict/${encodeURIComponent(model)}`, model, picture, options, options);
  }

  async analyze(picture, options = {}) {
    const { models, ...others } = options;
    return this.#ask("v1/analyze", null, picture, { models, ...others }, others);
  }

  async batch(model, pictures, options = {}) {
    const limits = this.#begin(options);
    const sent = [];
    for (const picture of pictures) sent.push(await this.#prepare(model, toBlob(picture), limits));
    const form = new FormData();
    for (const { blob, type } of sent) form.append("images", new Blob([blob], { type }), "picture");
    const path = `v1/predict/${encodeURIComponent(model)}/batch${queryOf(options)}`;
    const answer = await this.#call("POST", path, form, null, limits, "results");
    const isNormalized = options.coordinates === "normalized";
    answer.results = answer.results.map((result) => {
      const { original } = sent[result?.index] ?? {};
      return original && result.image ? scaledBack(result, original, isNormalized) : result;
    });
    return answer;
  }

  async models(options = {}) {
    return (await this.#call("GET", "v1/models", null, null, this.#begin(options), "models")).models;
  }

  async model(name, options = {}) {
    return this.#call("GET", `v1/models/${encodeURIComponent(name)}`, null, null, this.#begin(options));
  }

  async limits(options = {}) {
    return this.#call("GET", "v1/limits", null, null, this.#begin(options));
  }

  // ------------------------------------------------------------ one call

  // The call's options with its own end: what follows counts from here.
  #begin(options) {
    const { signal } = options;
    if (signal?.aborted) throw signal.reason;
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    const limits = { ...this.#defaults, ...given };
    const timeout_ms = Math.min(LONGEST_MS, limits.timeout_ms);
    return { ...limits, timeout_ms, end: performance.now() + timeout_ms };
  }

  async #ask(path, model, picture, parameters, options) {
    const limits = this.#begin(options);
    const { blob, type, original } = await this.#prepare(model, toBlob(picture), limits);
    const answer = await this.#call("POST", path + queryOf(parameters), blob, type, limits);
    return original && answer.image ? scaledBack(answer, original, options.coordinates === "normalized") : answer;
  }

  async #prepare(model, blob, limits) {
    // What is asked about a part of the picture, or to be drawn into it, is asked of all its pixels.
    const isWhole = limits.original || limits.roi !== undefined || limits.tiles !== undefined || isDrawn(limits);
    let side = isWhole ? Infinity : MAX_SIDE;
    const { original, signal, shrink } = limits;
    if (shrink && !isWhole && model !== null && isBrowser()) side = Math.min(side, await this.#usefulSide(model, limits));
    const made = original ? { blob, type: "application/octet-stream", original: null } : await prepare(blob, side);
    if (signal?.aborted) throw signal.reason;
    return made;
  }

  // The longest side of a picture that is to be shrunk; Infinity where the model needs the original. A
  // JPEG loses most in its finest detail, so it is twice what the model sees, where that is not much.
  async #usefulSide(model, limits) {
    const known = this.#sides.get(model);
    if (known && known.until > performance.now()) return known.side;
    const { onProgress, onAnswer, ...quiet } = limits;
    const told = await this.#call("GET", `v1/models/${encodeURIComponent(model)}`, null, null, quiet);
    const useful = told.useful_side ?? Infinity;
    const side = Math.max(useful, Math.min(2 * useful, SHRUNK_SIDE));
    this.#sides.set(model, { side, until: performance.now() + USEFUL_FOR_MS });
    return side;
  }

  // Asks until there is an answer that trying again would not change, or no time, no budget or no
  // attempt is left. `has`: the list that an answer has, if any.
  async #call(method, path, body, type, limits, has) {
    const { attempts, signal, end, onAnswer } = limits;
    let budget = limits.budget_ms;
    let last;
    for (let attempt = 1; ; ++attempt) {
      try {
        const { value, headers, status } = await this.#attempt(method, path, body, type, limits, has, last);
        onAnswer?.({ status, headers, attempts: attempt, sent_bytes: body?.size ?? 0 });
        return value;
      } catch (error) {
        if (error instanceof Stopped) throw error.reason;
        if (!(error instanceof InferpoolError)) throw error;
        last = Object.assign(error, { attempts: attempt });
      }
      const wait = pause(attempt, last.retry_after_ms);
      if (!mayPass(last) || attempt >= attempts || wait > budget || performance.now() + wait >= end) throw last;
      budget -= wait;
      await sleep(wait, signal);
    }
  }

  async #attempt(method, path, body, type, limits, has, last) {
    const { signal, end, timeout_ms, onProgress, priority, request_id } = limits;
    const headers = new Headers(this.#headers);
    headers.set("X-Timeout-Ms", Math.max(1, Math.ceil(end - performance.now())));
    if (type) headers.set("Content-Type", type);
    if (priority) headers.set("X-Priority", priority);
    if (request_id) headers.set("X-Request-ID", request_id);
    const url = new URL(path, this.#url).href;
    const limit = limited(signal, end, timeout_ms, last);
    const tell = (progress) => {
      try {
        onProgress(progress);
      } catch (error) {
        limit.abort(new Stopped(error));
      }
    };
    try {
      const request = { method, headers, body, signal: limit.signal, cache: "no-store", redirect: "manual" };
      let response;
      const isTold = Boolean(onProgress && body);
      if (isTold && typeof XMLHttpRequest === "function") response = await sendByXhr(url, request, tell);
      else if (isTold && !isBrowser()) response = await sendAsStream(this.#fetch, url, request, tell);
      else response = await this.#fetch(url, request);
      return { value: await read(response, has), status: response.status, headers: response.headers };
    } catch (error) {
      if (limit.signal.aborted) throw limit.signal.reason;
      throw error instanceof InferpoolError ? error : new ConnectionFailedError(error);
    } finally {
      limit.release();
    }
  }
}

// What a problem's body may say, each of it a string.
const TOLD = ["type", "code", "title", "detail", "parameter", "request_id"];

// What a response says; throws a ProblemError or an UnexpectedAnswerError. `has`: the list that an answer
// has, if any.
async function read(response, has) {
  const { status, headers } = response;
  if (response.ok && headers.get("Content-Type")?.startsWith("image/")) return response.blob();
  const text = await response.text();
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // told below
  }
  const isObject = json !== null && typeof json === "object" && !Array.isArray(json);
  if (response.ok && isObject && (!has || Array.isArray(json[has]))) return json;
  const told = { request_id: headers.get("X-Request-ID") ?? "", retry_after_ms: retryAfter(headers) };
  if (!response.ok && typeof json?.code === "string") {
    const said = TOLD.filter((name) => typeof json[name] === "string").map((name) => [name, json[name]]);
    throw new ProblemError({ ...told, type: "", title: json.code, ...Object.fromEntries(said), status });
  }
  const isRedirect = response.type === "opaqueredirect" || (status >= 300 && status < 400 && headers.has("Location"));
  if (isRedirect) throw redirected(status, headers.get("Location"), told);
  const title = typeof json?.title === "string" ? { title: json.title, detail: String(json.detail ?? "") } : {};
  throw new UnexpectedAnswerError({ ...told, ...title, status });
}
