// The API's reference: Swagger UI, which ops/run installs, with /openapi.json.

const FOLDER = "/docs/swagger-ui";

function load(tag, properties) {
  return new Promise((resolve, reject) => {
    const made = Object.assign(document.createElement(tag), properties, { onload: resolve, onerror: reject });
    document.head.append(made);
  });
}

// Swagger UI has dark colours, but does not ask whether they are wanted.
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

try {
  await Promise.all([
    load("link", { rel: "stylesheet", href: `${FOLDER}/swagger-ui.css` }),
    load("script", { src: `${FOLDER}/swagger-ui-bundle.js` }),
  ]);
  SwaggerUIBundle({
    url: "/openapi.json",
    domNode: document.getElementById("reference"),
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
    validatorUrl: null, // another site's, which nobody here wants to tell
  });
} catch {
  document.getElementById("missing").hidden = false;
}
