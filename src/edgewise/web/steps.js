/**
 * Follow the declared steps: raw input → tensors, outputs → answer, as edgewise.bundle.processing does in Python.
 */
import { InputError } from "./errors.js";
import { converted, pixels, resized } from "./picture.js";
import { argmax, numbers, roundEven } from "./tensor.js";
import { tokenizer } from "./tokenizer.js";

/**
 * @typedef {import("./manifest.js").Step} Step
 * @typedef {import("./tensor.js").Tensor} Tensor
 * @typedef {import("./tensor.js").Tensors} Tensors
 * @typedef {{value: string | null, confidence: number | null, outputs: Tensors}} Answered
 * @typedef {(digest: string) => Promise<string>} Text how to get the text of a step's file
 */

/**
 * Return the function from raw input to model inputs; null where the bundle declares none that a browser can follow.
 * @param {Step[]} steps
 * @param {Text} text
 * @returns {Promise<((raw: any) => Promise<Tensors>) | null>}
 */
export async function preprocessor(steps, text) {
  if (!steps.length || steps.some((step) => step.op === "python")) return null;
  const parts = await Promise.all(
    steps.map((step) => (step.op === "tokenize" ? tokenize(step, text) : image(step))),
  );
  return async (raw) => Object.assign({}, ...(await Promise.all(parts.map((part) => part(raw)))));
}

/**
 * Return the function from model outputs to the answer.
 * @param {Step[]} steps
 * @param {Text} text
 * @returns {Promise<(outputs: Tensors) => Answered>}
 */
export async function postprocessor(steps, text) {
  const makers = { softmax, labels, ctc };
  const parts = await Promise.all(
    steps.map((step) => makers[/** @type {keyof typeof makers} */ (step.op)](step, text)),
  );
  return (outputs) =>
    parts.reduce(
      (so, part) => part(so),
      /** @type {Answered} */ ({ value: null, confidence: null, outputs }),
    );
}

/** @param {Step} step @param {Text} text @returns {Promise<(raw: any) => Tensors>} */
async function tokenize(step, text) {
  const encode = tokenizer(await text(step.file), step.max_tokens);
  return (raw) => {
    if (typeof raw !== "string") throw new InputError(`expected text, got ${raw?.constructor?.name ?? raw}`);
    if (!raw.isWellFormed())
      throw new InputError("the text holds half a character (a lone surrogate): it is no Unicode");
    const { ids, types } = encode(raw);
    const row = (/** @type {number[]} */ values) => ({
      dtype: "int64",
      shape: [1, values.length],
      data: BigInt64Array.from(values, BigInt),
    });
    return {
      [step.ids]: row(ids),
      ...(step.mask && { [step.mask]: row(ids.map(() => 1)) }),
      ...(step.types && { [step.types]: row(types) }),
    };
  };
}

/** @param {Step} step @returns {(raw: any) => Promise<Tensors>} */
function image(step) {
  const channels = step.channels === "L" ? 1 : 3;
  const tables = Array.from({ length: channels }, (_, channel) => scaled(step, channel));
  return async (raw) => {
    const picture = converted(await pixels(raw), channels);
    const { data, height, width } = resized(picture, ...size(step, picture.height, picture.width));
    const high = step.height ? height : upTo(height, step.multiple);
    const wide = step.width ? width : upTo(width, step.multiple);
    const planes = step.layout === "NCHW";
    const result = new Float32Array(channels * high * wide); // zeros where the picture ends
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        for (let channel = 0; channel < channels; channel++) {
          const value =
            data[(row * width + column) * channels + (step.channels === "BGR" ? 2 - channel : channel)];
          const pixel = row * wide + column;
          result[planes ? channel * high * wide + pixel : pixel * channels + channel] =
            tables[channel][value];
        }
      }
    }
    const shape = planes ? [1, channels, high, wide] : [1, high, wide, channels];
    return { [step.input]: { dtype: "float32", shape, data: result } };
  };
}

/** What each of the 256 levels becomes, in the steps of single precision that numpy takes. @param {Step} step @param {number} channel */
function scaled({ mean, std }, channel) {
  const [less, by] = [mean, std].map((values) => Math.fround(values[channel] ?? values[0]));
  return Float32Array.from({ length: 256 }, (_, level) => Math.fround(Math.fround(level / 255) - less) / by);
}

/** @param {Step} step @param {number} height @param {number} width @returns {[number, number]} */
function size(step, height, width) {
  if (step.height && step.width) return [step.height, step.width];
  if (step.height) return [step.height, Math.max(1, roundEven((width * step.height) / height))];
  if (step.width) return [Math.max(1, roundEven((height * step.width) / width)), step.width];
  return [height, width];
}

/** @param {number} value @param {number} multiple */
const upTo = (value, multiple) => Math.ceil(value / multiple) * multiple;

/** @param {Answered} answered @param {string} name @returns {Tensor} */
function output({ outputs }, name) {
  if (!Object.hasOwn(outputs, name))
    throw new InputError(
      `no output '${name}' to post-process: the model has ${Object.keys(outputs).join(", ")}`,
    );
  return outputs[name];
}

/** @param {Step} step @returns {(answered: Answered) => Answered} */
function softmax({ output: name }) {
  return (answered) => {
    const tensor = output(answered, name);
    const { shape } = tensor;
    const scores = numbers(tensor);
    const width = shape.at(-1) ?? 1;
    const data = new Float32Array(scores.length);
    for (let start = 0; start < data.length; start += width) {
      const most = scores[start + argmax(scores, start, width)];
      let total = 0;
      for (let i = start; i < start + width; i++) total += data[i] = Math.exp(scores[i] - most);
      for (let i = start; i < start + width; i++) data[i] /= total;
    }
    return { ...answered, outputs: { ...answered.outputs, [name]: { dtype: "float32", shape, data } } };
  };
}

/** @param {Step} step @returns {(answered: Answered) => Answered} */
function labels({ output: name, names }) {
  return (answered) => {
    const tensor = output(answered, name);
    const scores = numbers(tensor);
    if ((tensor.shape.at(-1) ?? 1) !== names.length)
      throw new InputError(`${names.length} label names, but '${name}' has shape [${tensor.shape}]`);
    if (scores.length !== names.length || !finite(scores))
      return { ...answered, value: null, confidence: null };
    const best = argmax(scores, 0, names.length);
    return { ...answered, value: names[best], confidence: scores[best] };
  };
}

/** @param {Step} step @param {Text} text @returns {Promise<(answered: Answered) => Answered>} */
async function ctc({ output: name, file, blank }, text) {
  const characters = (await text(file)).split(/\r\n?|\n/);
  if (characters.at(-1) === "") characters.pop();
  return (answered) => {
    const tensor = output(answered, name);
    const [batch, steps, classes] = tensor.shape;
    const scores = numbers(tensor);
    if (batch !== 1 || !finite(scores)) return { ...answered, value: null, confidence: null };
    const best = Array.from({ length: steps }, (_, i) => argmax(scores, i * classes, classes));
    const kept = best
      .map((own, i) => ({ own, i }))
      .filter(({ own, i }) => own !== blank && own !== best[i - 1]);
    const value = kept.map(({ own }) => characters[own - (own > blank ? 1 : 0)] ?? " ").join("");
    const total = kept.reduce((sum, { own, i }) => sum + scores[i * classes + own], 0);
    return { ...answered, value, confidence: kept.length ? total / kept.length : 0 };
  };
}

/** @param {ArrayLike<number>} scores */
const finite = (scores) => Array.prototype.every.call(scores, Number.isFinite);
