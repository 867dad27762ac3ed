// What models and steps are called on the pages, in words of those who use them.

const MANY = 6; // so many names of kinds are read; of more, the first three

// "circle, square and star", "80 kinds of things (person, bicycle, car and others)", or `otherwise`.
function kinds(names, otherwise) {
  if (!names.length) return otherwise;
  if (names.length > MANY) return `${names.length} kinds of things (${names.slice(0, 3).join(", ")} and others)`;
  return names.length === 1 ? names[0] : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

// A sentence or two on what the model does for somebody who chooses it.
export function purpose({ family, class_names: names = [] }) {
  const things = kinds(names, "things");
  if (family === "classification") return `Says what the whole picture shows: ${kinds(names, "one of its kinds")}.`;
  if (family === "embedding")
    return "Describes the picture as a list of numbers. Pictures that look alike have lists that are alike.";
  if (family === "text_line") return "Reads one line of text. Give it a picture of that line alone, upright.";
  if (family === "text_boxes") return "Finds where lines of text are, and does not read them.";
  if (/segment/.test(family)) return `Finds ${things}, and colours in what belongs to each.`;
  if (/pose/.test(family)) return `Finds ${things}, and marks points on each, such as eyes, shoulders and knees.`;
  if (/obb/.test(family)) return `Finds ${things}, and draws a box around each that is turned as it lies.`;
  return `Finds ${things}, and draws a box around each.`;
}

// Whether the model marks places in the picture, of which the surest may be asked for alone.
export const marksPlaces = (family) => !["text_line", "classification", "embedding"].includes(family);

// The steps of `timing_ms`, and the two that the page adds.
export const STEPS = {
  queue: "waiting for its turn",
  read: "receiving",
  decode: "opening the picture",
  preprocess: "fitting it to the model",
  infer: "the model",
  postprocess: "sorting what it found",
  draw: "drawing",
  other: "in between",
  network: "network and browser",
};
