// The types of inferpool.js. A client may be used by any number of calls at once.

/** A picture's file: of a file input, of a drop, read from a disk. */
export type Picture = Blob | ArrayBuffer | ArrayBufferView;

export interface ClientOptions {
  /**
   * Where the server is, behind which path ever: "https://example.org/vision/". By default where this
   * module was loaded from.
   */
  url?: string | URL;
  /** The API key, sent as `Authorization: Bearer`. */
  key?: string;
  /** How long a call may take in all, its further attempts included. 60,000 by default. */
  timeout_ms?: number;
  /** How often a call may send its request. 4 by default; 1: it is never sent again. */
  attempts?: number;
  /** How long a call may wait between its attempts in all. 20,000 by default. */
  budget_ms?: number;
  /** Further headers of every request. */
  headers?: Headers | { [name: string]: string };
  /** What sends in place of the global fetch(). */
  fetch?: typeof globalThis.fetch;
}

/** What came, beside what the call returns. */
export interface AnswerInfo {
  status: number;
  headers: Headers;
  /** How often the request was sent. */
  attempts: number;
  /** Of the picture, as it was sent; 0 for a batch. */
  sent_bytes: number;
}

export interface CallOptions {
  /** As in ClientOptions, for this call. It is told to the server, which gives up with us. */
  timeout_ms?: number | undefined;
  attempts?: number | undefined;
  budget_ms?: number | undefined;
  /** Ends the call: it throws the signal's reason, and nothing more is sent. */
  signal?: AbortSignal | undefined;
  /** The id to know the request by in the server's logs; 1 to 64 letters, digits, ".", "_" or "-". */
  request_id?: string | undefined;
  onAnswer?: ((info: AnswerInfo) => void) | undefined;
}

export interface UploadOptions extends CallOptions {
  priority?: "high" | "normal" | "low" | undefined;
  /**
   * How much of the body has left. It begins again with each attempt. A service worker is not told. What
   * it throws ends the call, which throws it.
   */
  onProgress?: ((progress: { sent: number; total: number }) => void) | undefined;
  /**
   * In browsers, sends few more pixels than the model sees, where it does not need the original: the
   * longer side is the model's `useful_side`, or twice that up to 1280. Boxes are of the original all
   * the same.
   */
  shrink?: boolean | undefined;
  /** Sends the bytes as they are, without a look at them. */
  original?: boolean | undefined;
}

/**
 * Parameters of a prediction, as the server's documentation has them. Lists are sent with commas,
 * { confidence: { person: 0.6 } } as confidence.person=0.6.
 */
export interface Parameters {
  confidence?: number | { [class_name: string]: number } | undefined;
  iou?: number | undefined;
  max_detections?: number | undefined;
  coordinates?: "pixel" | "normalized" | undefined;
  roi?: readonly [number, number, number, number] | undefined;
  classes?: readonly string[] | undefined;
  class_agnostic?: boolean | undefined;
  tiles?: string | undefined;
  tile_overlap?: number | undefined;
  [name: `confidence.${string}`]: number | undefined;
}

export interface PredictOptions extends UploadOptions, Parameters {
  render?: "json" | undefined;
}
export interface DrawOptions extends UploadOptions, Parameters {
  render: "jpeg" | "png";
}
export interface AnalyzeOptions extends UploadOptions, Parameters {
  /** Their names; the server's own choice by default. */
  models?: readonly string[] | undefined;
}

/**
 * In browsers, a picture is looked at before it is sent: what begins as no picture does is a
 * PictureError; what the server does not take (HEIC, for one) and this browser can read, what is above
 * 3840 pixels on its longer side, and what is over 1 MiB and half as large that way is sent as a JPEG,
 * upright. Everything else is sent as it is, and so is everything from Node.js. Boxes, corners,
 * keypoints and masks are of the original's pixels, upright, in every case. With `roi`, `tiles` or
 * `render` it is not made smaller.
 *
 * A call that meets 429, 502, 503, 504 or a connection that breaks sends its request again, after what
 * Retry-After says or a pause that grows, as long as time, budget and attempts are left: asking changes
 * nothing on the server. What it throws at the end is an InferpoolError, the reason of its signal, or
 * what its onProgress threw.
 */
export class Client {
  constructor(options?: ClientOptions);
  predict(model: string, picture: Picture, options: DrawOptions): Promise<Blob>;
  predict(model: string, picture: Picture, options?: PredictOptions): Promise<Prediction>;
  /** Each picture has its own result or problem, in their order. */
  batch(model: string, pictures: Iterable<Picture>, options?: PredictOptions): Promise<BatchAnswer>;
  /** Several models about one picture. */
  analyze(picture: Picture, options?: AnalyzeOptions): Promise<Analysis>;
  models(options?: CallOptions): Promise<Model[]>;
  model(name: string, options?: CallOptions): Promise<Model>;
  limits(options?: CallOptions): Promise<Limits>;
}

export type ErrorCode =
  | ProblemCode
  | "connection-failed"
  | "deadline-exceeded"
  | "unexpected-answer"
  | "not-a-picture";

/** Whatever a call can end with but for what is the caller's own. `title` and `detail` are for people. */
export class InferpoolError extends Error {
  readonly code: ErrorCode;
  readonly title: string;
  readonly detail: string;
  /** Of the answer; 0 without one, and for a redirect in browsers, which hide it. */
  readonly status: number;
  /** By which it is found in the server's logs; "" without one. */
  readonly request_id: string;
  /** What the answer asked to wait for; 0 when it asked for nothing. */
  readonly retry_after_ms: number;
  /** How often the request was sent. */
  readonly attempts: number;
}

/** The server said what is wrong. */
export class ProblemError extends InferpoolError {
  readonly code: ProblemCode;
  /** The address of what the documentation says about the code. */
  readonly type: string;
  /** The parameter, field or header that is at fault, where one is. */
  readonly parameter?: string;
}

/** An answer came that is not of this API: of a proxy, for one. Redirects are not followed. */
export class UnexpectedAnswerError extends InferpoolError {
  readonly code: "unexpected-answer";
}

/** No whole answer came: there was no connection, or it broke. */
export class ConnectionFailedError extends InferpoolError {
  readonly code: "connection-failed";
}

/** The call's time was over. */
export class DeadlineError extends InferpoolError {
  readonly code: "deadline-exceeded";
}

/** What was to be sent is no picture, or none that this browser can read. Nothing was sent. */
export class PictureError extends InferpoolError {
  readonly code: "not-a-picture";
}

/**
 * The EXIF orientation (1 to 8) of a picture's file by which this browser does not turn it, so that it
 * lies otherwise than the server sees it; 1: it is shown as the server sees it.
 */
export function orientationLeft(blob: Blob): Promise<number>;

// ---------------------------------------------------------------- answers
// made of openapi.json by make_types.py

/** One of `detections`, `texts`, `classes` and `embedding`, by the model's family */
export interface Prediction {
  model: ModelVersion;
  route?: RouteTaken;
  image: Size;
  /**
   * Columns and rows of the tiles that were looked at besides the whole; absent when there were
   * none
   */
  tiles?: string;
  detections?: Detections;
  texts?: Texts;
  classes?: Classes;
  embedding?: Embedding;
  timing_ms: Timing;
  request_id: string;
}

/**
 * The route that was asked, and what of it answered: what it leads to, its canary, or its
 * fallback. Absent where a model was asked
 */
export interface RouteTaken {
  name: string;
  variant: "primary" | "canary" | "fallback";
}

export interface BatchAnswer {
  model: {
    name: string;
  };
  results: BatchResult[];
  route?: RouteTaken;
  timing_ms: Timing;
  request_id: string;
}

/**
 * What POST /v1/predict/{model} would have answered about this picture: `status` and `problem`, or
 * what was found
 */
export interface BatchResult {
  /** The picture's place in the request, from 0 */
  index: number;
  status: number;
  model?: ModelVersion;
  image?: Size;
  /**
   * Columns and rows of the tiles that were looked at besides the whole; absent when there were
   * none
   */
  tiles?: string;
  detections?: Detections;
  texts?: Texts;
  classes?: Classes;
  embedding?: Embedding;
  problem?: ResultProblem;
}

export interface Analysis {
  image: Size;
  /** By the names of the models and pipelines, in the order in which they were asked for */
  results: { [name: string]: AnalysisResult };
  timing_ms: Timing;
  request_id: string;
}

/** What POST /v1/predict/{model} would have answered: `status` and `problem`, or what was found */
export interface AnalysisResult {
  status: number;
  model?: ModelVersion;
  /**
   * Columns and rows of the tiles that were looked at besides the whole; absent when there were
   * none
   */
  tiles?: string;
  detections?: Detections;
  texts?: Texts;
  classes?: Classes;
  embedding?: Embedding;
  problem?: ResultProblem;
}

export interface Limits {
  /** Most bytes of a body with pictures or tensors */
  body_bytes: number;
  /** Most bytes of any other body */
  other_body_bytes: number;
  /**
   * A request's address, its cookies together and each other header that clients send long have
   * fewer bytes
   */
  head_line_bytes: number;
  /** Most pixels of a picture, width times height */
  pixels: number;
  /** Most scans of a JPEG */
  jpeg_scans: number;
  /** Most pictures of a batch */
  batch_images: number;
  /** Most detections of an answer */
  max_detections: number;
  /** Most tiles of a picture */
  tiles: number;
  /** The types of pictures that are read */
  formats: string[];
  /** Longest time for a request; `X-Timeout-Ms` may ask for less */
  timeout_ms: number;
  /** Longest wait for a worker, then 503; null: until the request's time is over */
  queue_ms: number | null;
  /** What the request's API key may; null where no key is needed */
  key: {
    /** null: no limit */
    rate: {
      requests_per_s: number;
      /** Requests that may come at once */
      burst: number;
    } | null;
    /** The most urgent `X-Priority` */
    priority: "high" | "normal" | "low";
  } | null;
  /**
   * What one client may, whatever its key: an IPv4 address, or an IPv6 network of /64. In it null
   * is no limit
   */
  client: {
    requests_per_s: number | null;
    /** Requests that may come at once */
    burst: number | null;
    /** Requests that may be in work at once */
    in_work: number | null;
  } | null;
}

export interface ModelVersion {
  name: string;
  /** Empty for a pipeline */
  version: string;
  /** Only of pipelines: the models that were asked */
  steps?: {
    name: string;
    version: string;
  }[];
}

/** The picture's, upright, in pixels */
export interface Size {
  width: number;
  height: number;
}

/** Most confident first */
export type Detections = Detection[];

export interface Detection {
  box: Box;
  confidence: Confidence;
  class_id: number;
  /** The number, where the model names no classes */
  class_name: string;
  /**
   * The turned box's corners, clockwise; `box` is the upright box around it. Only of models that
   * turn boxes; a corner may lie outside of the picture
   */
  corners?: Point[];
  /** The object's keypoints, in the model's order. Only of models that find them */
  keypoints?: Keypoint[];
  /**
   * The object's outline: a polygon for each part that is seen. Only of models that segment;
   * absent where no pixel of the box is the object's
   */
  mask?: Point[][];
  /** What is written there. Only of models that read, and of pipelines with a step that does */
  text?: string;
  /**
   * Only of pipelines: what the steps that were asked about this have found in it, by their
   * models' names
   */
  found?: { [name: string]: Found };
}

/**
 * What a step of a pipeline has found: one of `detections`, `texts`, `classes` and `embedding`.
 * Places are those in the whole picture
 */
export interface Found {
  /** By how many degrees it is turned clockwise, of steps with `turn`; the model saw it upright */
  turned?: 0 | 90 | 180 | 270;
  detections?: Detections;
  texts?: Texts;
  classes?: Classes;
  embedding?: Embedding;
}

/** x and y, from the upper left of the upright picture */
export type Point = [number, number];

export interface Keypoint {
  x: number;
  y: number;
  confidence: Confidence;
}

/** Corners, from the upper left of the upright picture; within it */
export interface Box {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** The most probable ones, at most five, most probable first */
export type Classes = {
  confidence: Confidence;
  class_id: number;
  class_name: string;
}[];

export type Confidence = number;

/** What is written in the picture, which is one line of text: one item */
export type Texts = {
  /** Empty when nothing is written there */
  text: string;
  confidence: Confidence;
}[];

export type Embedding = number[];

/**
 * Where the time went, in milliseconds. `total` is from the moment a worker took the request, so
 * without `queue`
 */
export interface Timing {
  /** Waiting for a worker */
  queue: number;
  /** Reading the request */
  read: number;
  /** From the file to pixels */
  decode: number;
  /** Fitting them to the model's input */
  preprocess: number;
  /** The call to the model server */
  infer: number;
  /** From its numbers to boxes */
  postprocess: number;
  /** Drawing the answer into the picture and encoding that, with `render` */
  draw: number;
  total: number;
  [name: string]: number;
}

export interface Models {
  models: Model[];
}

export interface Model {
  name: string;
  version: string;
  /** What its outputs mean; null: nobody knows, so it cannot be used here */
  family:
    | "yolov8"
    | "yolov8_segment"
    | "yolov8_pose"
    | "yolov8_obb"
    | "yolov5"
    | "yolox"
    | "rt_detr"
    | "end_to_end"
    | "ssd"
    | "nms_free"
    | "segment_nms_free"
    | "pose_nms_free"
    | "obb_nms_free"
    | "text_boxes"
    | "text_line"
    | "classification"
    | "embedding"
    | "pipeline"
    | null;
  /** Where `family` is null: why */
  unusable?: string;
  max_batch_size: number;
  inputs: TensorDescription[];
  outputs: TensorDescription[];
  class_names: string[];
  /**
   * The model sees all of a picture whose longer side has so many pixels, so a larger one may be
   * made smaller before it is sent. Absent where it may not
   */
  useful_side?: number;
  /**
   * Of a route: what it leads to, as the operator has set it. The other members are those of the
   * model that it leads to for most clients
   */
  route?: { [name: string]: unknown };
  /** Where there are several model servers: those that have it ready */
  servers?: string[];
  steps?: Step;
}

/**
 * Only of pipelines: the model that is asked about the picture, with those that are asked about
 * what it finds
 */
export interface Step {
  model: string;
  /** It is asked about things of these classes */
  classes?: string[];
  /** It is asked about things that are as sure */
  min_confidence?: number;
  /** It is asked about things of which the shorter side has so many pixels */
  min_size?: number;
  /** It is asked about so many things of one picture, the surest; 16 unless given */
  most?: number;
  /** The model that says how a thing is turned */
  turn?: string;
  /** What it finds is in the order of reading, and not the surest first */
  order?: "reading";
  /** Asked about each thing that it finds */
  each?: Step[];
}

export interface TensorDescription {
  name: string;
  datatype: Datatype;
  /** -1: of any size */
  shape: number[];
}

export type Datatype =
  | "BOOL"
  | "UINT8"
  | "UINT16"
  | "UINT32"
  | "UINT64"
  | "INT8"
  | "INT16"
  | "INT32"
  | "INT64"
  | "FP16"
  | "FP32"
  | "FP64"
  | "BF16"
  | "BYTES";

/** RFC 9457 */
export interface Problem {
  type: ProblemType;
  code: ProblemCode;
  /** The kind of problem, in words */
  title: string;
  status: number;
  /** What is wrong with this request, and what is allowed */
  detail: string;
  /** The parameter or header that is at fault */
  parameter?: string;
  request_id: string;
  /** Under `/v2` alone: the detail again, where the protocol's clients look for it */
  error?: string;
}

/** RFC 9457, within a batch */
export interface ResultProblem {
  type: ProblemType;
  code: ProblemCode;
  title: string;
  status: number;
  detail: string;
  parameter?: string;
}

/**
 * The address of what the documentation says about the code, `/docs/errors#` and the code, behind
 * the operator's `nginx.base_path`
 */
export type ProblemType = string;

/** What programs compare. A code never changes its meaning */
export type ProblemCode =
  | "bad-request"
  | "bad-parameter"
  | "unauthorized"
  | "forbidden"
  | "unknown-route"
  | "unknown-model"
  | "unknown-camera"
  | "nothing-yet"
  | "method-not-allowed"
  | "not-acceptable"
  | "request-timeout"
  | "length-required"
  | "body-too-large"
  | "too-many-images"
  | "uri-too-long"
  | "head-too-large"
  | "unsupported-media"
  | "bad-picture"
  | "quarantined"
  | "too-many-requests"
  | "internal"
  | "web-server-failed"
  | "unusable-model"
  | "bad-model-answer"
  | "model-server-away"
  | "streams-away"
  | "overloaded"
  | "model-too-slow"
  | "too-slow";

// end of what is made
