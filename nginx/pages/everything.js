// The choice "everything": what the server's own choice of models says of one picture, as one answer.

// Stands among the models; no model can have such a name.
export const EVERYTHING = { name: "/everything", family: "everything", version: "" };

// What was found, and what a pipeline's steps have found in it, with places in the same picture.
export const withFound = (detections) =>
  detections.flatMap((one) => [
    one,
    ...Object.values(one.found ?? {}).flatMap(({ detections: inner = [] }) => withFound(inner)),
  ]);

// An answer of /v1/analyze as that of one model: all places, the surest first. What cannot be drawn
// stands in `notes`, a sentence for each model.
export function merged({ results, ...rest }) {
  const detections = [];
  const notes = [];
  for (const [name, part] of Object.entries(results)) {
    const [first] = part.classes ?? part.texts ?? [];
    if (part.problem) notes.push(`${name}: ${part.problem.title}.`);
    if (part.embedding) notes.push(`${name}: ${part.embedding.length} numbers.`);
    if (first) notes.push(`${name}: ${first.class_name ?? `“${first.text}”`}.`);
    detections.push(...(part.detections ?? []));
  }
  detections.sort((a, b) => b.confidence - a.confidence);
  return { ...rest, detections, notes };
}
