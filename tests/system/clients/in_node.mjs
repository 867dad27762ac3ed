// node in_node.mjs CLIENT: makes the calls that stand on standard input as a list of JSON, at once, and
// prints what came of them.
import { pathToFileURL } from "node:url";
import { text } from "node:stream/consumers";

import { perform } from "./perform.mjs";

const module = await import(pathToFileURL(process.argv[2]));
const asked = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await Promise.all(asked.map((one) => perform(module, one)))));
