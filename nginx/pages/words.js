// What models and steps are called on the pages, in words of those who use them.

const MANY = 6; // so many names of kinds are read; of more, the first three

// "a, b and c", or "person, bicycle, car and 77 others"; with "or" for "and" where it is one of them.
function listed(names, and = "and") {
  if (names.length > MANY) return `${names.slice(0, 3).join(", ")} ${and} ${names.length - 3} others`;
  return [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(` ${and} `);
}

// The models of a pipeline, each once.
function asked({ model, turn, each = [] }) {
  return [...new Set([turn, model, ...each.flatMap(asked)].filter(Boolean))];
}

// A sentence or two on what the model does for somebody who chooses it.
export function purpose({ family, class_names: names = [], steps }) {
  const each = names.length === 1 ? `each ${names[0]}` : "each thing that it finds";
  const kinds = names.length > 1 ? `: ${listed(names)}` : "";
  if (family === "everything") return "Asks several models about the picture at once, and shows all that they find.";
  if (family === "pipeline") return `Asks ${listed(asked(steps))}, one about what another one has found.`;
  if (family === "classification") return `Says what the whole picture shows${names.length ? `: ${listed(names, "or")}` : ""}.`;
  if (family === "embedding")
    return "Describes the picture as a list of numbers. Pictures that look alike have lists that are alike.";
  if (family === "text_line") return "Reads one line of text. Give it a picture of that line alone, upright.";
  if (family === "text_boxes") return "Finds where lines of text are, and does not read them.";
  if (/segment/.test(family)) return `Colours in what belongs to ${each}${kinds}.`;
  if (/pose/.test(family)) return `Marks points, such as eyes, shoulders and knees, on ${each}${kinds}.`;
  if (/obb/.test(family)) return `Draws a box around ${each}, turned as it lies${kinds}.`;
  return `Draws a box around ${each}${kinds}.`;
}

// Whether the model marks places in the picture, of which the surest may be asked for alone.
export const marksPlaces = (family) => !["text_line", "classification", "embedding"].includes(family);

// The steps of `timing_ms`, and the two that the page adds.
export const STEPS = {
  queue: "waiting",
  read: "receiving",
  decode: "opening the picture",
  preprocess: "preparing it",
  infer: "the model",
  postprocess: "sorting the results",
  draw: "drawing",
  other: "in between",
  network: "network and browser",
};
