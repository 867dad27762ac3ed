// The client that @hey-api/openapi-ts makes of /openapi.json.
import { end, holds, picture, text, url } from "./checks";
import * as api from "./hey";
import { client } from "./hey/client.gen";
import type { ProblemCode } from "./hey";

client.setConfig({ baseUrl: url });
const path = { model: "faces_cascade" };

async function main(): Promise<void> {
  const one = await api.predict({ path, body: { image: picture } });
  const [found] = one.data?.detections ?? [];
  holds("a file has a typed answer", [found?.class_name, one.data?.image.width], ["face", 170]);
  const inside = found !== undefined && found.box.x1 >= 0 && found.box.x2 <= 170 && found.confidence > 0.25;
  holds("a box has numbers", inside, true);

  const none = await api.predict({ path, body: { image: picture, confidence: 1, coordinates: "normalized" } });
  holds("a field is a parameter", none.data?.detections, []);
  const asked = await api.predict({ path, query: { confidence: 1 }, body: { image: picture } });
  holds("so is the query", asked.data?.detections, []);

  const wrong = await api.predict({ path, body: { image: picture, confidence: 2 } });
  const code: ProblemCode | undefined = wrong.error?.code;
  holds("a problem has a code", [code, wrong.error?.parameter], ["bad-parameter", "confidence"]);
  holds("and the address of its page", wrong.error?.type, "/docs/errors#bad-parameter");
  const nobody = await api.predict({ path: { model: "nobody" }, body: { image: picture } });
  holds("an unknown model is told", nobody.error?.code, "unknown-model");
  const broken = await api.predict({ path, body: { image: text } });
  holds("what is no picture is told", broken.error?.code, "unsupported-media");

  const batch = await api.predictBatch({ path, body: { images: [picture, text] } });
  const results = batch.data?.results.map(({ status, problem }) => [status, problem?.code ?? null]);
  holds("a batch has typed results", results, [[200, null], [415, "unsupported-media"]]);

  const drawn = await api.predict({ path, query: { render: "png" }, body: { image: picture }, parseAs: "blob" });
  holds("the answer may be a picture", drawn.response?.headers.get("Content-Type"), "image/png");

  const base64 = Buffer.from(await picture.arrayBuffer()).toString("base64");
  const json = await api.predictByShortName({ path, body: { image: base64 } });
  holds("JSON has the same answer", json.data?.detections, one.data?.detections);
  const list = await api.predictBatchByShortName({ path, body: { images: [base64] } });
  holds("and in a batch", list.data?.results[0]?.detections, one.data?.detections);

  const models = await api.listModels();
  holds("models have names", models.data?.models.some(({ name }) => name === path.model), true);
  const ready = await api.ready();
  holds("readiness is typed", ready.data?.ready, true);

  // What the types must refuse.
  // @ts-expect-error: there is no such field
  void (() => api.predict({ path, body: { picture } }));
  // @ts-expect-error: a picture is no number
  void (() => api.predict({ path, body: { image: 7 } }));
  // @ts-expect-error: there is no such form of the answer
  void (() => api.predict({ path, query: { render: "gif" }, body: { image: picture } }));
  // @ts-expect-error: there is no such code
  void (() => wrong.error?.code === "urn:inferpool:bad-parameter");
  // @ts-expect-error: an answer has no such member
  void (() => one.data?.boxes);
}

main().then(end, (error: unknown) => {
  console.log(error);
  process.exitCode = 1;
});
