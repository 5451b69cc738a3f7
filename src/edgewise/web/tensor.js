/**
 * Tensors: a dtype by numpy's name, a shape, and a typed array. 64-bit integers are BigInts, booleans are bytes
 * of 0 and 1, text is an array of strings.
 */
import { InputError } from "./errors.js";

/**
 * @typedef {Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array
 *   | Uint8ClampedArray | Uint16Array | Uint32Array | BigUint64Array} TypedArray
 * @typedef {{dtype: string, shape: number[], data: TypedArray | string[]}} Tensor
 * @typedef {Record<string, Tensor>} Tensors
 * @typedef {{name: string, dtype: string, shape: (number | string | null)[]}} TensorSpec
 */

/** Half precision: its own type where the browser has one, else the bits. @type {any} */
const Half = /** @type {any} */ (globalThis).Float16Array ?? Uint16Array;

/** @type {Record<string, any>} */
export const ARRAYS = {
  bool: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  float16: Half,
  float32: Float32Array,
  float64: Float64Array,
  str: Array,
};

/** The number of elements of a shape. @param {readonly number[]} shape */
export const count = (shape) => shape.reduce((product, size) => product * size, 1);

/**
 * Return the tensors of a request, checked against what the model takes.
 * @param {readonly TensorSpec[]} specs
 * @param {Record<string, any>} given
 * @returns {Tensors}
 * @throws {InputError} naming the input that does not fit
 */
export function checked(specs, given) {
  const names = Object.keys(given);
  if (names.length !== specs.length || specs.some((spec) => !names.includes(spec.name))) {
    const wanted = specs.map((spec) => spec.name).join(", ");
    throw new InputError(`the model's inputs are ${wanted}; got ${names.join(", ") || "none"}`);
  }
  return Object.fromEntries(specs.map((spec) => [spec.name, fitted(spec, given[spec.name])]));
}

/** @param {TensorSpec} spec @param {any} tensor @returns {Tensor} */
function fitted(spec, tensor) {
  const kind = ARRAYS[spec.dtype];
  const shape = tensor?.shape;
  const right =
    Array.isArray(shape) &&
    tensor.data instanceof kind &&
    (tensor.dtype ?? spec.dtype) === spec.dtype &&
    tensor.data.length === count(shape) &&
    fits(spec, shape);
  if (!right) {
    const got = tensor?.data ? `${tensor.data.constructor.name} [${shape}]` : typeof tensor;
    const wanted = `${spec.dtype} [${spec.shape}], as {data: ${kind?.name}, shape}`;
    throw new InputError(`input '${spec.name}' must be ${wanted}; got ${got}`);
  }
  return { dtype: spec.dtype, shape, data: tensor.data };
}

/**
 * Tell whether a shape is one of a spec's; names and nulls stand for any size.
 * @param {TensorSpec} spec
 * @param {number[]} shape
 */
export function fits(spec, shape) {
  return (
    spec.shape.length === shape.length &&
    spec.shape.every((size, axis) => typeof size !== "number" || size === shape[axis])
  );
}

/**
 * Return a tensor's elements as numbers.
 * @param {Tensor} tensor
 * @returns {ArrayLike<number>}
 */
export function numbers({ dtype, data }) {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (dtype === "float16" && data instanceof Uint16Array) return Float64Array.from(data, halfToNumber);
  return /** @type {Float32Array} */ (data);
}

/** IEEE 754 binary16. @param {number} bits */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/**
 * Return the position of the highest of `size` values from `start`, as numpy does: the first one, NaN above all.
 * @param {ArrayLike<number>} values
 * @param {number} start
 * @param {number} size
 */
export function argmax(values, start, size) {
  let best = 0;
  for (let i = 0; i < size; i++) {
    if (Number.isNaN(values[start + i])) return i;
    if (values[start + i] > values[start + best]) best = i;
  }
  return best;
}

/** Round half to even, as Python and numpy do. @param {number} value */
export function roundEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
