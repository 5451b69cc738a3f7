/**
 * numpy's files: .npy (one array) and .npz (a zip of them).
 *
 * Sources: numpy.lib.format, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html;
 * PKWARE's APPNOTE.TXT, 4.3, https://support.pkware.com/pkzip/appnote
 */
import { ARRAYS, count } from "./tensor.js";
import { TrustError } from "./errors.js";

/** @typedef {import("./tensor.js").Tensor} Tensor */

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const HEADER = /^\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? *\}/;

/** @type {Record<string, string>} */
const DTYPES = {
  "|b1": "bool",
  "|i1": "int8",
  "<i2": "int16",
  "<i4": "int32",
  "<i8": "int64",
  "|u1": "uint8",
  "<u2": "uint16",
  "<u4": "uint32",
  "<u8": "uint64",
  "<f2": "float16",
  "<f4": "float32",
  "<f8": "float64",
};
const DESCRS = Object.fromEntries(Object.entries(DTYPES).map(([descr, dtype]) => [dtype, descr]));

/**
 * Read one array that begins at `start`; return it and where it ends.
 * @param {Uint8Array} bytes
 * @param {number} [start]
 * @returns {{tensor: Tensor, end: number}}
 * @throws {TrustError} on anything but a little-endian array of numbers, booleans or text
 */
export function readNpy(bytes, start = 0) {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start);
  const wide = view.getUint8(6) > 1; // version 1 has a 16-bit length of its header
  const body = wide ? 12 : 10;
  const from = start + body + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start + body, from));
  const [, descr, fortran, sizes] = HEADER.exec(header) ?? [];
  if (!MAGIC.every((byte, i) => bytes[start + i] === byte) || descr === undefined)
    throw new TrustError("not a .npy array");
  const shape = sizes
    .split(",")
    .filter((size) => size.trim())
    .map(Number);
  const { dtype, data, end } = elements(bytes, from, descr, count(shape));
  const tensor = { dtype, shape, data };
  return { tensor: fortran === "True" ? reordered(tensor) : tensor, end };
}

/** @param {Uint8Array} bytes @param {number} from @param {string} descr @param {number} length */
function elements(bytes, from, descr, length) {
  const text = /^<U(\d+)$/.exec(descr);
  const dtype = text ? "str" : DTYPES[descr];
  if (!dtype) throw new TrustError(`a .npy array of type ${descr} cannot be read`);
  const size = text ? 4 * Number(text[1]) : ARRAYS[dtype].BYTES_PER_ELEMENT;
  const end = from + size * length;
  if (end > bytes.length) throw new TrustError("a .npy array ends too soon");
  const part = bytes.slice(from, end); // a copy lies where any element size is aligned
  const data = text ? strings(part, Number(text[1]), length) : new ARRAYS[dtype](part.buffer);
  return { dtype, data, end };
}

/** numpy pads text of 32-bit characters with zeros. @param {Uint8Array} part @param {number} size @param {number} length */
function strings(part, size, length) {
  const points = new Uint32Array(part.buffer);
  return Array.from({ length }, (_, i) => {
    const own = Array.from(points.subarray(i * size, (i + 1) * size), (point) => String.fromCodePoint(point));
    return own.join("").replace(/\0+$/, "");
  });
}

/** Bring a column-major array into row-major order. @param {Tensor} tensor @returns {Tensor} */
function reordered({ dtype, shape, data }) {
  const result = /** @type {any} */ (data.slice());
  const steps = shape.map((_, axis) => count(shape.slice(0, axis)));
  for (let i = 0; i < result.length; i++) {
    let [rest, at] = [i, 0];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * steps[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    result[i] = data[at];
  }
  return { dtype, shape, data: result };
}

/**
 * Return an array as .npy bytes.
 * @param {Tensor} tensor
 * @returns {Uint8Array}
 */
export function writeNpy({ dtype, shape, data }) {
  const [descr, body] = dtype === "str" ? encoded(/** @type {string[]} */ (data)) : [DESCRS[dtype], data];
  const sizes = shape.join(", ") + (shape.length === 1 ? "," : "");
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const start = [...MAGIC, 1, 0, padded.length & 0xff, padded.length >> 8];
  const array = /** @type {Uint8Array} */ (body);
  const bytes = new Uint8Array(start.length + padded.length + array.byteLength);
  bytes.set(start);
  bytes.set(new TextEncoder().encode(padded), start.length);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start.length + padded.length);
  return bytes;
}

/** @param {string[]} texts @returns {[string, Uint32Array]} */
function encoded(texts) {
  const points = texts.map((text) => Array.from(text, (char) => char.codePointAt(0) ?? 0));
  const size = Math.max(1, ...points.map((own) => own.length));
  const body = new Uint32Array(size * texts.length);
  points.forEach((own, i) => body.set(own, i * size));
  return [`<U${size}`, body];
}

/**
 * Read every array of an .npz, by name.
 * @param {Uint8Array} bytes
 * @returns {Promise<Map<string, Tensor>>}
 * @throws {TrustError} when it is not an .npz
 */
export async function readNpz(bytes) {
  const found = new Map();
  for (const entry of entries(bytes)) {
    const { tensor } = readNpy(entry.packed ? await inflated(entry.bytes) : entry.bytes);
    found.set(entry.name.replace(/\.npy$/, ""), tensor);
  }
  return found;
}

/**
 * Yield the files that the central directory of a zip lists.
 * @param {Uint8Array} bytes
 * @returns {Generator<{name: string, packed: boolean, bytes: Uint8Array}>}
 */
function* entries(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new TrustError("not a zip file");
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [size, name, extra, comment] = [
      view.getUint32(at + 20, true),
      ...[28, 30, 32].map((i) => view.getUint16(at + i, true)),
    ];
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    yield {
      name: new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name)),
      packed: view.getUint16(at + 10, true) === 8,
      bytes: bytes.subarray(start, start + size),
    };
    at += 46 + name + extra + comment;
  }
}

/** @param {Uint8Array} bytes @returns {Promise<Uint8Array>} */
async function inflated(bytes) {
  const stream = new Blob([/** @type {BlobPart} */ (bytes)])
    .stream()
    .pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
