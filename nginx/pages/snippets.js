// The code that asks as the page asked, to be pasted as it is: it names the server, the picture, and
// the certificate that a program has to trust. A picture whose file we do not know is the sample,
// which the code fetches itself.

// A picture's name may be anything; it must not become a command.
const oneLine = (text) => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "_");
export const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const literal = (text) => JSON.stringify(text); // good for JavaScript and for Python
// In a form's argument curl reads ; and , unless the name is in quotes.
const formFile = (name) => (/^[\w .-]+$/.test(name) ? name : `"${name.replace(/["\\]/g, "\\$&")}"`);

// A command over lines: its words, a line each.
export const command = (...words) => words.filter(Boolean).join(" \\\n  ");
export const curlProgram = (certificate) => (certificate ? `curl --cacert ${shell(certificate)}` : "curl");
export const KEY_HEADER = '-H "Authorization: Bearer $INFERPOOL_KEY"';

function curl({ url, sample, file, certificate, auth }) {
  const program = curlProgram(certificate);
  const ask = command(
    program,
    `-F ${shell(`image=@${formFile(file)}`)}`,
    auth && KEY_HEADER,
    shell(url),
  );
  return sample ? `${command(`${program} -sSO`, shell(sample))}\n${ask}` : ask;
}

function javascript({ url, sample, file, certificate, auth }) {
  const ours = file && `await readFile(${literal(file)})`;
  const key = auth ? ", Authorization: `Bearer ${process.env.INFERPOOL_KEY}`" : "";
  if (!certificate)
    return `// Node 18 or later, as a module (.mjs); in a browser the picture is the File of an <input type="file">.
${sample ? "" : 'import { readFile } from "node:fs/promises";\n'}
const picture = ${sample ? `await (await fetch(${literal(sample)})).blob()` : `new Blob([${ours}])`};
const form = new FormData();
form.append("image", picture, ${literal(file)});
const answer = await fetch(${literal(url)}, {
  method: "POST",${auth ? "\n  headers: { Authorization: `Bearer ${process.env.INFERPOOL_KEY}` }," : ""}
  body: form,
});
console.log(JSON.stringify(await answer.json(), null, 2));`;
  return `// Node 18 or later, as a module (.mjs).
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { buffer } from "node:stream/consumers";

const ca = await readFile(${literal(certificate)});
async function ask(url, options, body) {
  const [answer] = await once(request(url, { ca, ...options }).end(body), "response");
  return buffer(answer);
}

const picture = ${sample ? `await ask(${literal(sample)}); // or a file: await readFile("photo.jpg")` : `${ours};`}
const answer = await ask(
  ${literal(url)},
  { method: "POST", headers: { "Content-Type": "application/octet-stream"${key} } },
  picture,
);
console.log(JSON.stringify(JSON.parse(answer), null, 2));`;
}

function python({ url, sample, file, certificate, auth }) {
  const context = certificate ? ", context=trust" : "";
  return `import json
${auth ? "import os\n" : ""}${certificate ? "import ssl\n" : ""}import urllib.request

${certificate ? `trust = ssl.create_default_context(cafile=${literal(certificate)})\n` : ""}${
    sample
      ? `with urllib.request.urlopen(${literal(sample)}${context}) as sample:  # or open("photo.jpg", "rb")
    picture = sample.read()`
      : `with open(${literal(file)}, "rb") as file:
    picture = file.read()`
  }
request = urllib.request.Request(
    ${literal(url)},
    data=picture,
    headers={
        "Content-Type": "application/octet-stream",${auth ? '\n        "Authorization": "Bearer " + os.environ["INFERPOOL_KEY"],' : ""}
    },
)
with urllib.request.urlopen(request, timeout=60${context}) as answer:
    print(json.dumps(json.load(answer), indent=2))`;
}

function requests({ url, sample, file, certificate, auth }) {
  const [address, query] = url.split("?");
  const parameters = [...new URLSearchParams(query)].map(([name, value]) => `${literal(name)}: ${value}`);
  const verify = certificate ? ", verify=trust" : "";
  const lines = [
    literal(address),
    parameters.length && `params={${parameters.join(", ")}}`,
    auth && 'headers={"Authorization": "Bearer " + os.environ["INFERPOOL_KEY"]}',
    'files={"image": picture}',
    `timeout=60${verify}`,
  ];
  return `import json
${auth ? "import os\n" : ""}
import requests

${certificate ? `trust = ${literal(certificate)}\n` : ""}${
    sample
      ? `picture = requests.get(${literal(sample)}${verify}).content  # or open("photo.jpg", "rb").read()`
      : `with open(${literal(file)}, "rb") as file:
    picture = file.read()`
  }
answer = requests.post(
${lines
  .filter(Boolean)
  .map((line) => `    ${line},\n`)
  .join("")})
print(json.dumps(answer.json(), indent=2))`;
}

const LANGUAGES = { curl, javascript, python, requests };

// The code in `language` (a key of LANGUAGES) that sends `file`, or without a name the sample, to
// `path` of the server that programs reach at `server` ({base, certificate}); `auth`: with a key.
export function snippet(language, path, { server, file, auth }) {
  let name = oneLine(file ?? "sample.jpg");
  if (name.startsWith("-")) name = `./${name}`;
  return LANGUAGES[language]({
    url: server.base + path,
    sample: file ? "" : `${server.base}sample.jpg`,
    file: name,
    certificate: server.certificate,
    auth,
  });
}
