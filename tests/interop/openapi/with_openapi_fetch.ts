// openapi-fetch, with the types that openapi-typescript makes of /openapi.json.
import createClient from "openapi-fetch";

import { end, holds, picture, text, url } from "./checks";
import type { components, paths } from "./schema";

type ProblemCode = components["schemas"]["ProblemCode"];

function formData(body: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      form.append(name, one instanceof Blob ? one : String(one));
    }
  }
  return form;
}

// Answers in JSON are wanted, which makes them those of the types.
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: url });
const params = { path: { model: "faces_cascade" } };

async function main(): Promise<void> {
  const one = await client.POST("/v1/predict/{model}", { params, body: { image: picture }, bodySerializer: formData });
  const [found] = one.data?.detections ?? [];
  holds("a file has a typed answer", [found?.class_name, one.data?.image.width], ["face", 170]);
  const inside = found !== undefined && found.box.x1 >= 0 && found.box.x2 <= 170 && found.confidence > 0.25;
  holds("a box has numbers", inside, true);

  const none = await client.POST("/v1/predict/{model}", {
    params,
    body: { image: picture, confidence: 1, coordinates: "normalized" },
    bodySerializer: formData,
  });
  holds("a field is a parameter", none.data?.detections, []);
  const asked = await client.POST("/v1/predict/{model}", {
    params: { ...params, query: { confidence: 1 } },
    body: { image: picture },
    bodySerializer: formData,
  });
  holds("so is the query", asked.data?.detections, []);

  const wrong = await client.POST("/v1/predict/{model}", {
    params,
    body: { image: picture, confidence: 2 },
    bodySerializer: formData,
  });
  const code: ProblemCode | undefined = wrong.error?.code;
  holds("a problem has a code", [code, wrong.error?.parameter], ["bad-parameter", "confidence"]);

  const batch = await client.POST("/v1/predict/{model}/batch", {
    params,
    body: { images: [picture, text] },
    bodySerializer: formData,
  });
  const results = batch.data?.results.map(({ status, problem }) => [status, problem?.code ?? null]);
  holds("a batch has typed results", results, [[200, null], [415, "unsupported-media"]]);

  const drawn = await client.POST("/v1/predict/{model}", {
    params: { ...params, query: { render: "png" } },
    body: { image: picture },
    bodySerializer: formData,
    parseAs: "blob",
  });
  const blob: Blob | undefined = drawn.data;
  holds("the answer may be a picture", blob?.type, "image/png");

  const base64 = Buffer.from(await picture.arrayBuffer()).toString("base64");
  const json = await client.POST("/predict/{model}", { params, body: { image: base64 } });
  holds("JSON has the same answer", json.data?.detections, one.data?.detections);

  const models = await client.GET("/v1/models");
  holds("models have names", models.data?.models.some(({ name }) => name === params.path.model), true);

  // What the types must refuse.
  // @ts-expect-error: there is no such field
  void (() => client.POST("/v1/predict/{model}", { params, body: { picture } }));
  // @ts-expect-error: there is no such address
  void (() => client.GET("/v1/pictures"));
  // @ts-expect-error: there is no such code
  void (() => wrong.error?.code === "urn:inferpool:bad-parameter");
  // @ts-expect-error: an answer has no such member
  void (() => one.data?.boxes);
}

main().then(end, (error: unknown) => {
  console.log(error);
  process.exitCode = 1;
});
