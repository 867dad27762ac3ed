// make_types.mjs DOCUMENT FILE: openapi-typescript's types, with files where the document has bytes.
import { readFileSync, writeFileSync } from "node:fs";

import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [, , document, file] = process.argv;
const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(JSON.parse(readFileSync(document, "utf8")), {
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
writeFileSync(file, astToString(types));
