// What the types of inferpool.d.ts allow and refuse; it is compiled and not run.
import { Client, ConnectionFailedError, InferpoolError, ProblemError } from "inferpool";
import type { Box, ErrorCode, Limits, Model, Prediction, ProblemCode } from "inferpool";

export async function use(file: File, bytes: Uint8Array, signal: AbortSignal): Promise<string> {
  const client = new Client({ url: "https://example.org/vision/", key: "secret", attempts: 3 });
  const answer: Prediction = await client.predict("objects", file, {
    confidence: { person: 0.6 },
    "confidence.car": 0.5,
    classes: ["person", "car"],
    roi: [0, 0, 100, 100],
    timeout_ms: 5000,
    shrink: true,
    signal,
    onProgress: ({ sent, total }) => console.log(sent / total),
  });
  const boxes: Box[] = (answer.detections ?? []).map(({ box }) => box);
  const drawn: Blob = await client.predict("objects", bytes, { render: "png" });
  const batch = await client.batch("objects", [file, bytes, await drawn.arrayBuffer()]);
  const codes: (ProblemCode | undefined)[] = batch.results.map(({ problem }) => problem?.code);
  const models: Model[] = await client.models();
  const limits: Limits = await client.limits({ timeout_ms: 100 });
  const all = await client.analyze(file, { models: ["objects"], onAnswer: ({ attempts }) => console.log(attempts) });
  console.log(all.results["objects"]?.status, all.image.width);
  try {
    await client.model("nobody");
  } catch (error) {
    if (error instanceof ProblemError && error.code === "unknown-model") return error.detail;
    if (error instanceof ConnectionFailedError) return error.code;
    if (error instanceof InferpoolError) {
      const code: ErrorCode = error.code;
      return code;
    }
  }
  return `${boxes.length} ${codes.length} ${models[0]?.useful_side ?? 0} ${limits.body_bytes}`;
}

export function misuse(client: Client, file: File, answer: Prediction, error: InferpoolError): void {
  // @ts-expect-error: an address is no picture
  void client.predict("objects", "https://example.org/a.jpg");
  // @ts-expect-error: there is no such parameter
  void client.predict("objects", file, { threshold: 0.5 });
  // @ts-expect-error: there is no such form of the answer
  void client.predict("objects", file, { render: "gif" });
  // @ts-expect-error: there is no such code
  void (error.code === "no-such-code");
  // @ts-expect-error: an answer has no such member
  void answer.boxes;
  // @ts-expect-error: what was found depends on the model's family
  void answer.detections.length;
}
