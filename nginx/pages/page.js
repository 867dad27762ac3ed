// What all pages share: where this server is, its client, the key, what went wrong, how numbers are
// written. Nothing here knows a page.

import { Client, InferpoolError } from "./client.js";

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

const LONGEST_MS = 300_000; // for a large picture from a phone

// The client of this server, with the person's key.
let key = kept("sessionStorage", "inferpool.key");
let client = new Client({ url: BASE, key, timeout_ms: LONGEST_MS });
export const server = () => client;
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
