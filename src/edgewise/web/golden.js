/**
 * Golden cases: requests with the original's answers, run again here. What edgewise.bundle.golden does in Python.
 */
import { TrustError, oneLine } from "./errors.js";
import { readNpz } from "./npy.js";
import { argmax, count, fits, numbers, roundEven } from "./tensor.js";

/**
 * @typedef {import("./tensor.js").Tensor} Tensor
 * @typedef {import("./tensor.js").Tensors} Tensors
 * @typedef {{inputs: Tensors, outputs: Tensors, raw?: Tensor, answer?: string}} Case
 * @typedef {{cases: number, max_abs: number, max_rel: number, rms: number, agreement: number}} Difference
 */

/**
 * Read golden cases: `in/<i>/<name>`, `out/<i>/<name>`, `raw/<i>`, `answer/<i>`.
 * @param {Uint8Array} bytes of the .npz
 * @param {import("./manifest.js").Model} model
 * @returns {Promise<Case[]>}
 * @throws {TrustError} where there are none, or they are no requests to this model
 */
export async function decode(bytes, model) {
  const cases = await decoded(bytes);
  if (!cases.length)
    throw new TrustError("the bundle holds no golden case, so nothing can be verified: build it again");
  cases.forEach(({ inputs, outputs }, i) => {
    for (const [specs, tensors] of /** @type {const} */ ([
      [model.inputs, inputs],
      [model.outputs, outputs],
    ])) {
      const same = specs.length === Object.keys(tensors).length;
      // ONNX leaves a shape empty where it is not known.
      const odd = specs.find(({ name, dtype, shape }) => {
        const own = tensors[name];
        return own?.dtype !== dtype || (shape.length && !fits({ name, dtype, shape }, own.shape));
      });
      if (odd || !same)
        throw new TrustError(
          `golden case ${i} is no request to this model${odd ? `: see '${odd.name}'` : ""}`,
        );
    }
  });
  return cases;
}

/** @param {Uint8Array} bytes @returns {Promise<Case[]>} */
async function decoded(bytes) {
  try {
    /** @type {Case[]} */
    const cases = [];
    for (const [key, tensor] of await readNpz(bytes)) {
      const [kind, number, ...name] = key.split("/");
      const own = (cases[Number(number)] ??= { inputs: {}, outputs: {} });
      if (kind === "in") own.inputs[name.join("/")] = tensor;
      else if (kind === "out") own.outputs[name.join("/")] = tensor;
      else if (kind === "raw") own.raw = tensor;
      else own.answer = String(tensor.data[0]);
    }
    return cases.filter(Boolean);
  } catch (error) {
    throw new TrustError(`the golden cases cannot be read: ${oneLine(error)}`, { cause: error });
  }
}

/**
 * Measure `actual` against `expected` outputs, case by case, output by output.
 *
 * `max_abs` in the outputs' own unit; `max_rel` is that over the largest value of the reference; `rms` is the root
 * mean square of the differences over that of the reference, for the output where it is largest; `agreement` is
 * the share of equal top-1 positions of the first float output.
 * @param {Tensors[]} expected
 * @param {Tensors[]} actual
 * @returns {Difference}
 */
export function compare(expected, actual) {
  /** @type {Map<string, {largest: number, scale: number, gaps: number, squares: number}>} */
  const tallies = new Map();
  let [equal, total] = [0, 0];
  for (const [i, reference] of expected.entries()) {
    const entries = Object.entries(reference);
    const voting = (entries.find(([, { dtype }]) => dtype.startsWith("float")) ?? entries[0])?.[0];
    for (const [name, wanted] of entries) {
      const got = actual[i][name];
      if (got?.shape.join() !== wanted.shape.join())
        return { cases: expected.length, max_abs: Infinity, max_rel: Infinity, rms: Infinity, agreement: 0 };
      const [first, second] = comparable(wanted, got);
      tallies.set(
        name,
        added(tallies.get(name) ?? { largest: 0, scale: 0, gaps: 0, squares: 0 }, first, second),
      );
      if (name !== voting) continue;
      const [ours, theirs] = [top1(first, wanted.shape), top1(second, wanted.shape)];
      equal += ours.filter((own, k) => own === theirs[k]).length;
      total += ours.length;
    }
  }
  const all = [...tallies.values()];
  const largest = Math.max(0, ...all.map((tally) => tally.largest));
  const scale = Math.max(0, ...all.map((tally) => tally.scale));
  return {
    cases: expected.length,
    max_abs: largest,
    max_rel: scale ? largest / scale : largest,
    rms: Math.max(0, ...all.map(({ gaps, squares }) => Math.sqrt(squares ? gaps / squares : gaps))),
    agreement: total ? equal / total : 1,
  };
}

/** Both as numbers; text counts as 0 where it is equal and as 1 where not. @param {Tensor} wanted @param {Tensor} got */
function comparable(wanted, got) {
  if (wanted.dtype !== "str") return [numbers(wanted), numbers(got)];
  const differs = Array.from(/** @type {string[]} */ (wanted.data), (own, i) => Number(own !== got.data[i]));
  return [differs.map(() => 0), differs];
}

/** @param {{largest: number, scale: number, gaps: number, squares: number}} tally @param {ArrayLike<number>} first @param {ArrayLike<number>} second */
function added(tally, first, second) {
  let { largest, scale, gaps, squares } = tally;
  for (let i = 0; i < first.length; i++) {
    const gap = first[i] === second[i] ? 0 : Math.abs(first[i] - second[i]);
    largest = Number.isNaN(gap) ? Infinity : Math.max(largest, gap);
    gaps += Number.isNaN(gap) ? Infinity : gap * gap;
    if (!Number.isFinite(first[i])) continue;
    scale = Math.max(scale, Math.abs(first[i]));
    squares += first[i] * first[i];
  }
  return { largest, scale, gaps, squares };
}

/** @param {ArrayLike<number>} values @param {number[]} shape */
function top1(values, shape) {
  const width = shape.at(-1) ?? 1;
  if (width <= 1) return Array.from(values, roundEven);
  return Array.from({ length: count(shape.slice(0, -1)) }, (_, i) => argmax(values, i * width, width));
}
