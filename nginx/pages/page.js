// What all pages share: where this server is, its client, the key, what went wrong, how numbers are
// written. Nothing here knows a page.

import { Client, InferpoolError } from "./client.js";

// The server's own address, whatever path prefix it stands behind: the folder of this module.
export const BASE = new URL("./", import.meta.url).href;
export const address = (path) => new URL(path, BASE).href;

export const percent = new Intl.NumberFormat("en", { style: "percent" });
export const milliseconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
// A number with three digits that count, and no more of them behind the point than two.
export const rounded = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
// How long ago something was, of which so many milliseconds have passed.
export function ago(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 1) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86_400)} days ago`;
}
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

const LONGEST_MS = 300_000; // for a large picture from a phone

// The client of this server, with the person's key.
let key = kept("sessionStorage", "inferpool.key");
let client = new Client({ url: BASE, key, timeout_ms: LONGEST_MS });
export const server = () => client;
// What a request of this page's own has besides.
export const keyHeaders = () => (key ? { Authorization: `Bearer ${key}` } : {});
export const hasKey = () => Boolean(key);
export function useKey(value) {
  key = value;
  client = new Client({ url: BASE, key, timeout_ms: LONGEST_MS });
  kept("sessionStorage", "inferpool.key", value);
}

// What a page itself found out, told as the server's problems are.
export class PageProblem extends InferpoolError {
  constructor(title, detail = "") {
    super({ code: "page", title, detail });
  }
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
