// What both clients' programs need: the files, and a count of what does not hold.
import { readFileSync } from "node:fs";

const [, , address, folder] = process.argv;
if (!address || !folder) throw new Error("usage: PROGRAM ADDRESS FOLDER");

export const url = address;
export const picture = new File([readFileSync(`${folder}/face.png`)], "face.png", { type: "image/png" });
export const text = new File(["no picture"], "text.txt", { type: "text/plain" });

let fallen = 0;

export function holds(what: string, seen: unknown, wanted: unknown): void {
  const same = JSON.stringify(seen) === JSON.stringify(wanted);
  if (!same) fallen += 1;
  console.log(`    ${what}: ${same ? "holds" : `${JSON.stringify(seen)} instead of ${JSON.stringify(wanted)}`}`);
}

export function end(): void {
  process.exitCode = fallen ? 1 : 0;
}
