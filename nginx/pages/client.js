// What all pages share: where this server is, its API, the key, what went wrong, how numbers are
// written. Nothing here knows a page.

// The server's own address, whatever path prefix it stands behind: the folder of this module.
export const BASE = new URL("./", import.meta.url).href;
export const address = (path) => new URL(path, BASE).href;

export const percent = new Intl.NumberFormat("en", { style: "percent" });
export const milliseconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
export const several = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

// An element: element("td", {className: "x"}, "text", child).
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What the browser keeps for us ("localStorage", "sessionStorage"), and sets to a `value` that is given.
// Some browsers are told to keep nothing, and throw.
export function kept(store, name, value) {
  try {
    if (value !== undefined) window[store].setItem(name, value);
    return window[store].getItem(name) ?? "";
  } catch {
    return value ?? "";
  }
}

let key = kept("sessionStorage", "inferpool.key");
export const hasKey = () => Boolean(key);
export function useKey(value) {
  key = value;
  kept("sessionStorage", "inferpool.key", value);
}

// What went wrong, as RFC 9457 has it.
export class Problem extends Error {
  constructor(fields, retryAfter = 0) {
    super(fields.title);
    Object.assign(this, fields);
    this.retryAfter = retryAfter;
  }

  // The part of the errors' page that is about it; "" for what this page itself found out.
  get page() {
    return this.code && this.request_id ? address(`docs/errors#${this.code}`) : "";
  }
}

// The answer's JSON with its headers; throws a Problem, or what an abort throws.
export async function call(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response, text;
  try {
    response = await fetch(address(path), { ...options, headers, cache: "no-store" });
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

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

// How a program on the reader's machine reaches this server: {base, certificate}, where `certificate`
// is the file that it has to trust, "" where it need not or we do not know. The server tells its file
// to its own machine alone; behind a tunnel or a proxy, which has another port, it is not the reader's.
export async function fromPrograms() {
  const base = BASE.replace("//[::1]", "//localhost"); // which the development certificate names
  if (location.protocol !== "https:" || !LOOPBACK.includes(location.hostname)) return { base, certificate: "" };
  try {
    const { port, certificate } = await (await fetch(address("pool.json"), { cache: "no-store" })).json();
    return { base, certificate: port === (location.port && `:${location.port}`) ? certificate : "" };
  } catch {
    return { base, certificate: "" };
  }
}
