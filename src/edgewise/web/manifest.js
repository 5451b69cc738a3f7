/**
 * manifest.json → a checked document. The format is docs/bundle.md; a bundle may be anybody's, so nothing is
 * taken from one that has not been looked at here. Fields that are not known are kept.
 */
import { TrustError, oneLine } from "./errors.js";

/**
 * @typedef {{name: string, sha256: string, size: number}} FileRef
 * @typedef {{format: string, files: FileRef[]}} Artifact
 * @typedef {{op: string} & Record<string, any>} Step
 * @typedef {{id: string, artifact: string, runtime: string, precision: string, golden_tolerance: number}} Variant
 * @typedef {{name: string, platform: string, variant: string | null}} Tier
 * @typedef {{name: string, task: string, inputs: import("./tensor.js").TensorSpec[],
 *   outputs: import("./tensor.js").TensorSpec[], golden: string, variants: Variant[], pre: Step[], post: Step[]}} Model
 * @typedef {{schema: string, name: string, artifacts: Record<string, Artifact>, models: Model[], tiers: Tier[]}} Manifest
 */

const MAJOR = "1";
const FORMATS =
  "onnx openvino-ir safetensors tflite gguf mlpackage pte c-source tokenizer-json text npz".split(" ");

/** @typedef {(value: any, at: string) => void} Check */

/** @param {string} at @param {string} wanted @returns {never} */
const refuse = (at, wanted) => {
  throw new TrustError(`manifest.json: ${at} is not ${wanted}`);
};
/** @param {(value: any) => boolean} good @param {string} wanted @returns {Check} */
const like = (good, wanted) => (value, at) => {
  if (!good(value)) refuse(at, wanted);
};
/** @param {RegExp} pattern @param {string} wanted */
const matching = (pattern, wanted) =>
  like((value) => typeof value === "string" && pattern.test(value), wanted);
/** @param {number} low @param {number} high */
const number = (low, high = Infinity) =>
  like((value) => typeof value === "number" && value >= low && value <= high, `a number from ${low}`);
/** @param {number} low */
const integer = (low) =>
  like((value) => Number.isSafeInteger(value) && value >= low, `a whole number from ${low}`);
/** @param {...any} values */
const one = (...values) => like((value) => values.includes(value), `one of ${values.join(", ")}`);
/** @param {Check} check @returns {Check} */
const orNull = (check) => (value, at) => value === null || check(value, at);
/** @param {Check} check @param {number} [least] @returns {Check} */
const list =
  (check, least = 0) =>
  (value, at) => {
    if (!Array.isArray(value) || value.length < least) refuse(at, `a list of at least ${least}`);
    value.forEach((/** @type {any} */ item, /** @type {number} */ i) => check(item, `${at}[${i}]`));
  };
/** @param {Record<string, Check>} fields @returns {Check} */
const record = (fields) => (value, at) => {
  if (Object.prototype.toString.call(value) !== "[object Object]") refuse(at, "an object");
  for (const [name, check] of Object.entries(fields)) check(value[name], `${at}.${name}`);
};

const text = like((value) => typeof value === "string", "text");
const digest = matching(/^[0-9a-f]{64}$/, "a SHA-256");
const fileName = like(
  (value) =>
    typeof value === "string" &&
    value.length <= 200 &&
    /^[A-Za-z0-9_][A-Za-z0-9_.+-]*(\/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$/.test(value),
  "a plain file name",
);
const dtype = matching(/^(bool|str|u?int(8|16|32|64)|float(16|32|64)|complex(64|128))$/, "a dtype");
const dimension = like(
  (value) => value === null || typeof value === "string" || Number.isSafeInteger(value),
  "a dimension",
);
const spec = record({ name: text, dtype, shape: list(dimension) });
const channels = like((value) => [1, 3].includes(value?.length), "one number, or one for each of 3 channels");

/** What each step has, and nothing else: an option not known here would make another answer. */
/** @type {Record<string, Record<string, Check>>} */
const STEPS = {
  tokenize: { file: digest, max_tokens: integer(1), ids: text, mask: orNull(text), types: orNull(text) },
  image: {
    input: text,
    height: orNull(integer(1)),
    width: orNull(integer(1)),
    multiple: integer(1),
    channels: one("RGB", "BGR", "L"),
    mean: both(list(number(-Infinity)), channels),
    std: both(list(number(Number.MIN_VALUE)), channels),
    layout: one("NCHW", "NHWC"),
  },
  python: { function: text },
  softmax: { output: text },
  labels: { output: text, names: list(text, 1) },
  ctc: { output: text, file: digest, blank: integer(0) },
};
/** @param {...Check} checks @returns {Check} */
function both(...checks) {
  return (value, at) => checks.forEach((check) => check(value, at));
}
/** @param {...string} known @returns {Check} */
const step =
  (...known) =>
  (value, at) => {
    record({ op: one(...known) })(value, at);
    const fields = STEPS[value.op];
    const odd = Object.keys(value).find((name) => name !== "op" && !Object.hasOwn(fields, name));
    if (odd)
      refuse(
        `${at}.${odd}`,
        `an option of the step ${value.op}: this client is too old for the bundle, or the bundle wrong`,
      );
    record(fields)(value, at);
  };

const variant = record({
  id: text,
  artifact: digest,
  runtime: text,
  precision: text,
  golden_tolerance: number(0, 1000),
});
const model = record({
  name: text,
  task: text,
  inputs: list(spec, 1),
  outputs: list(spec, 1),
  golden: digest,
  variants: list(variant),
  pre: list(step("tokenize", "image", "python")),
  post: list(step("softmax", "labels", "ctc")),
});
const artifact = record({
  format: one(...FORMATS),
  files: list(record({ name: fileName, sha256: digest, size: integer(0) }), 1),
});
const tier = record({ name: text, platform: text, variant: orNull(text) });
const manifest = record({ name: text, models: list(model, 1), tiers: list(tier) });

/**
 * Read a manifest.
 * @param {Uint8Array} bytes
 * @returns {Manifest}
 * @throws {TrustError} where it is of another major version, or not as docs/bundle.md says
 */
export function parse(bytes) {
  const document = json(bytes);
  const version = String(document.schema ?? "");
  if (version.split(".")[0] !== MAJOR) {
    throw new TrustError(
      `bundle schema ${version || "(none)"}; this client reads ${MAJOR}.x: take a newer one`,
    );
  }
  for (const each of document.models ?? []) {
    each.pre ??= [];
    each.post ??= [];
  }
  manifest(document, "the bundle");
  for (const [key, value] of Object.entries(document.artifacts ?? refuse("artifacts", "an object"))) {
    digest(key, "an artifact's name");
    artifact(value, `artifact ${key.slice(0, 12)}`);
  }
  checkReferences(document);
  return document;
}

/** @param {Uint8Array} bytes */
function json(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const document = JSON.parse(text);
    if (Object.prototype.toString.call(document) !== "[object Object]") throw new Error("no object");
    checkUnique(text);
    return document;
  } catch (error) {
    throw new TrustError(`manifest.json is not JSON: ${oneLine(error)}`, { cause: error });
  }
}

/** Two readers may take different values of a key that is there twice. @param {string} text of valid JSON */
function checkUnique(text) {
  /** @type {Set<string>[]} */
  const open = [];
  for (const [token, , key] of text.matchAll(/[{}]|("(?:[^"\\]|\\.)*")\s*(:)?/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (key) {
      const name = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1));
      if (open.at(-1)?.has(name)) throw new Error(`the key ${name} is there twice`);
      open.at(-1)?.add(name);
    }
  }
}

/** @param {Manifest} document */
function checkReferences(document) {
  const variants = document.models.flatMap((each) => each.variants.map((own) => own.id));
  unique(
    "model",
    document.models.map((each) => each.name),
  );
  unique("variant", variants);
  unique(
    "tier",
    document.tiers.map((each) => each.name),
  );
  for (const { files } of Object.values(document.artifacts))
    unique(
      "file",
      files.map((file) => file.name),
    );
  for (const each of document.models) {
    const steps = [...each.pre, ...each.post].map((own) => own.file).filter(Boolean);
    for (const used of [each.golden, ...each.variants.map((own) => own.artifact), ...steps]) {
      if (!Object.hasOwn(document.artifacts, used))
        refuse(`artifact ${used.slice(0, 12)}, which is used,`, "listed");
    }
  }
  for (const { name, variant } of document.tiers) {
    if (variant && !variants.includes(variant)) refuse(`variant ${variant} of tier ${name}`, "listed");
  }
}

/** @param {string} what @param {string[]} names */
function unique(what, names) {
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) refuse(`the ${what} ${twice}`, "there only once");
}
