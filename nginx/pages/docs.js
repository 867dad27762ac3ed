// The API's reference: Swagger UI, which ops/run installs, with /openapi.json, to which an example is
// added for each operation.

import { InferpoolError } from "./client.js";
import { address, element, fromPrograms, hasKey, PageProblem, server as api } from "./page.js";
import { command, curlProgram, KEY_HEADER, shell } from "./snippets.js";

const FOLDER = "docs/swagger-ui";
const METHODS = ["get", "post"];
const SAMPLE = "sample.jpg"; // which this server has
const LINE = 96; // letters

function load(tag, properties) {
  return new Promise((resolve, reject) => {
    const made = Object.assign(document.createElement(tag), properties, { onload: resolve, onerror: reject });
    document.head.prepend(made); // before our own style, which has the last word
  });
}

// Swagger UI has dark colours, but does not ask whether they are wanted.
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

// Whether the server asks for keys, that is refuses somebody who has none; and a model to ask about:
// the document's own, or the first that can be used.
async function aboutServer(usual) {
  try {
    const models = await api().models({ attempts: 2 });
    const usable = models.filter(({ family }) => family).map(({ name }) => name);
    return { keys: hasKey(), model: usable.includes(usual) ? usual : (usable[0] ?? usual) };
  } catch (error) {
    if (!(error instanceof InferpoolError)) throw error;
    return { keys: hasKey() || error.status === 401, model: usual };
  }
}

// ---------------------------------------------------------------- the document as this page shows it

// What a reference within `document` names; other values as they are.
function resolved(document, value) {
  while (value?.$ref)
    value = value.$ref
      .slice(2)
      .split("/")
      .reduce((at, name) => at[name.replaceAll("~1", "/").replaceAll("~0", "~")], document);
  return value;
}

// With an example first, what a request is about before what only carries it, and no locks on a server
// that asks for no keys.
function prepared(document, server, { keys, model }) {
  document.components.parameters.Model.example = model;
  document.servers = [{ url: server.base.replace(/\/$/, "") }];
  if (!keys) {
    delete document.security;
    delete document.components.securitySchemes;
  }
  const [first, ...rest] = document.info.description.split("\n\n");
  if (rest.length)
    document.info.description = `${first}\n\n<details><summary>Of all requests and answers</summary>\n\n${rest.join("\n\n")}\n\n</details>`;
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const isHeader = (one) => resolved(document, one).in === "header";
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      operation.parameters = [...parameters.filter((one) => !isHeader(one)), ...parameters.filter(isHeader)];
      if (!keys) delete operation.security;
      // Swagger UI would fill in and send whatever a form may have: they stand among the parameters.
      const form = resolved(document, resolved(document, operation.requestBody)?.content?.["multipart/form-data"]?.schema);
      const named = operation.parameters.map((one) => resolved(document, one).name);
      for (const name of named) delete form?.properties?.[name];
      const needsKey = keys && (operation.security ?? document.security ?? []).length > 0;
      operation.description = [example(document, path, method, operation, server, needsKey), operation.description]
        .filter(Boolean)
        .join("\n\n");
    }
    delete item.parameters;
  }
  return document;
}

// An operation's curl, and what it answers where the document has an example of that.
function example(document, path, method, operation, server, needsKey) {
  const values = Object.fromEntries(
    operation.parameters
      .map((one) => resolved(document, one))
      .map(({ name, example: value, schema }) => [name, value ?? schema?.example ?? schema?.default ?? name]),
  );
  const url = server.base + path.slice(1).replace(/\{(.+?)\}/g, (_, name) => encodeURIComponent(values[name]));
  const program = curlProgram(server.certificate);
  const sent = body(document, operation);
  const more = [needsKey && KEY_HEADER, sent].filter(Boolean);
  const lines = [more.length ? command(program, ...more, shell(url)) : `${program} ${shell(url)}`];
  if (sent.includes(SAMPLE)) lines.unshift(command(`${program} -sSO`, shell(server.base + SAMPLE)));
  const text = [`\`\`\`sh\n${lines.join("\n")}\n\`\`\``];
  const answer = exampleOf(document, resolved(document, operation.responses["200"])?.content?.["application/json"]);
  if (answer !== undefined) text.push(`answers, for instance,`, `\`\`\`json\n${written(answer)}\n\`\`\``);
  return text.join("\n\n");
}

// curl's words for what the operation is sent: a form with the sample, else the document's own example.
function body(document, operation) {
  const content = resolved(document, operation.requestBody)?.content;
  const form = resolved(document, content?.["multipart/form-data"]?.schema);
  if (form) {
    const isList = "images" in (form.properties ?? {});
    return isList ? `-F images=@${SAMPLE} -F images=@${SAMPLE}` : `-F image=@${SAMPLE}`;
  }
  const sent = exampleOf(document, content?.["application/json"]);
  return sent === undefined ? "" : `--json ${shell(JSON.stringify(sent))}`;
}

// JSON in lines that are short and few: what fits into one is written into one.
function written(value, indent = "") {
  const line = JSON.stringify(value);
  if (line.length + indent.length <= LINE || typeof value !== "object" || !value) return line;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Object.entries(value).map(([name, one]) => {
    const label = Array.isArray(value) ? "" : `${JSON.stringify(name)}: `;
    return inner + label + written(one, inner);
  });
  return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
}

// The first example of a media type, if it has one.
function exampleOf(document, media) {
  if (media?.example !== undefined) return media.example;
  return resolved(document, Object.values(media?.examples ?? {})[0])?.value;
}

// ---------------------------------------------------------------- what Swagger UI leaves out

// Names for fields, one thing to press at a time, and texts that the keyboard can scroll, for those who
// use neither eyes nor mouse. Swagger UI redraws what it likes: this follows.
function mend(reference) {
  for (const field of reference.querySelectorAll("select:not([aria-label]), input:not([aria-label]), textarea:not([aria-label])")) {
    const row = field.closest("tr");
    const name = row?.dataset.paramName ?? row?.querySelector(".parameters-col_name, .parameter__name")?.textContent;
    field.setAttribute("aria-label", name?.trim() || field.placeholder || field.title || "Value");
  }
  for (const link of reference.querySelectorAll(".opblock-summary-control a")) link.removeAttribute("href");
  for (const text of reference.querySelectorAll("pre:not([tabindex])")) text.tabIndex = 0;
}

function follow(reference) {
  let due = 0;
  new MutationObserver(() => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      mend(reference);
    });
  }).observe(reference, { childList: true, subtree: true });
}

// ---------------------------------------------------------------- the page

function tell(...words) {
  document.getElementById("missing").replaceChildren(...words);
  document.getElementById("missing").hidden = false;
  document.querySelector(".reference").setAttribute("role", "main"); // which else Swagger UI has
}
async function loadDocument() {
  try {
    const response = await fetch(address("openapi.json"), { cache: "no-store" });
    if (response.ok) return await response.json();
  } catch {
    // told below
  }
  throw new PageProblem("The OpenAPI document cannot be had", "The server did not send it.");
}

const theDocument = (text) => element("a", { href: address("openapi.json") }, text);

try {
  const [json, server, about] = await Promise.all([
    loadDocument(),
    fromPrograms(),
    aboutServer("objects"),
    load("link", { rel: "stylesheet", href: address(`${FOLDER}/swagger-ui.css`) }),
    load("script", { src: address(`${FOLDER}/swagger-ui-bundle.js`) }),
  ]);
  document.getElementById("version").textContent = `This is ${json.info.title} ${json.info.version}.`;
  follow(document.getElementById("reference"));
  SwaggerUIBundle({
    spec: prepared(json, server, about),
    domNode: document.getElementById("reference"),
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
    validatorUrl: null, // another site's, which nobody here wants to tell
  });
} catch (error) {
  if (error instanceof InferpoolError) tell(`${error.title}. ${error.detail} Load this page again in a moment.`);
  else
    tell(
      "Swagger UI is not installed on this server: ",
      element("code", {}, "ops/run"),
      " installs it when it can reach the npm registry. ",
      theDocument("The OpenAPI document"),
      " says the same.",
    );
}
document.getElementById("reference").removeAttribute("aria-busy");
