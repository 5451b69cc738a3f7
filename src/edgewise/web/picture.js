/**
 * Pictures: decoded by the browser, then converted and resized as Pillow does it, to the last bit.
 *
 * Pillow resizes in fixed point: one pass along rows, one along columns, each rounded to 8 bits; its bilinear
 * filter grows with the scale when a picture shrinks, which no canvas does.
 * Source: Pillow 13's documentation, https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters, and
 * src/libImaging/Resample.c for the width of its fixed point and the order of its passes.
 */
import { InputError, oneLine } from "./errors.js";

/** @typedef {{data: Uint8Array | Uint8ClampedArray, height: number, width: number, channels: number}} Pixels */

const BITS = 22; // 32, less 8 for the value and 2 for the sum of a filter's overshoot

/**
 * Return the pixels of a file (Blob, bytes), of an element or bitmap, of ImageData, or of `{data, shape}`.
 * @param {any} raw
 * @returns {Promise<Pixels>}
 * @throws {InputError} when it is no picture
 */
export async function pixels(raw) {
  if (Array.isArray(raw?.shape)) return array(raw);
  if (raw instanceof ImageData) return { data: raw.data, height: raw.height, width: raw.width, channels: 4 };
  try {
    const file =
      raw instanceof ArrayBuffer || ArrayBuffer.isView(raw) ? new Blob([/** @type {any} */ (raw)]) : raw;
    return await drawn(file instanceof Blob ? await upright(file) : file);
  } catch (error) {
    throw new InputError(`no picture (a file, bytes, an element, or {data, shape}): ${oneLine(error)}`, {
      cause: error,
    });
  }
}

/** @param {{data: any, shape: number[]}} raw height, width and perhaps channels @returns {Pixels} */
function array({ data, shape: [height, width, channels = 1] }) {
  const right = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  if (!right || ![1, 3, 4].includes(channels) || !data.length || data.length !== height * width * channels)
    throw new InputError("expected a picture: uint8 data of shape [height, width], [height, width, 3] or 4");
  return { data, height, width, channels };
}

/**
 * Draw a picture as it is stored: no colour profile and no rotation is applied, as in Pillow.
 * @param {any} source
 * @returns {Promise<Pixels>}
 */
async function drawn(source) {
  const bitmap = await createImageBitmap(source, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { height, width } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!canvas) throw new Error("this browser has no canvas for it");
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = canvas.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4)
    if (data[at] < 255)
      throw new Error("it has transparent pixels, whose colours a browser does not keep: flatten it");
  return { data, height, width, channels: 4 };
}

/**
 * Return a JPEG without its Exif segments, so that the browser doesn't turn it; anything else as it is.
 * Source: ITU-T T.81, B.1.1: segments of a marker (2 bytes) and a length, up to the start of scan (FFDA).
 * @param {Blob} file
 * @returns {Promise<Blob>}
 */
async function upright(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return file;
  const kept = [bytes.subarray(0, 2)];
  let at = 2;
  while (bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const end = at + 2 + bytes[at + 2] * 256 + bytes[at + 3];
    if (bytes[at + 1] !== 0xe1) kept.push(bytes.subarray(at, end));
    at = end;
  }
  return new Blob(
    [...kept, bytes.subarray(at)].map((part) => /** @type {BlobPart} */ (part)),
    { type: "image/jpeg" },
  );
}

/**
 * Return a picture in 3 channels (RGB), or in one (grey by ITU-R 601-2 luma); transparency is dropped.
 * @param {Pixels} picture
 * @param {1 | 3} wanted
 * @returns {Pixels}
 */
export function converted({ data, height, width, channels }, wanted) {
  const result = new Uint8Array(height * width * wanted);
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2];
  for (let at = 0, to = 0; to < result.length; at += channels, to += wanted) {
    if (wanted === 1) {
      result[to] = (data[at] * 19595 + data[at + green] * 38470 + data[at + blue] * 7471 + 0x8000) >> 16;
    } else {
      result[to] = data[at];
      result[to + 1] = data[at + green];
      result[to + 2] = data[at + blue];
    }
  }
  return { data: result, height, width, channels: wanted };
}

/**
 * Resize as Pillow's `Image.resize(size, Resampling.BILINEAR)`.
 * @param {Pixels} picture
 * @param {number} height
 * @param {number} width
 * @returns {Pixels}
 */
export function resized(picture, height, width) {
  // Along columns first where that leaves much less to do: the rounding between the passes shows the order.
  const tall = picture.height - height > Math.max(0, 2 * (picture.width - width));
  const steps = tall ? [higher, wider] : [wider, higher];
  return steps.reduce((so, step) => step(so, height, width), picture);
}

/** @param {Pixels} picture @param {number} _ @param {number} width @returns {Pixels} */
function wider(picture, _, width) {
  const { data, height, channels } = picture;
  if (width === picture.width) return picture;
  return { ...picture, data: pass(data, picture.width, width, channels, height), width };
}

/** @param {Pixels} picture @param {number} height @returns {Pixels} */
function higher(picture, height) {
  const { data, width, channels } = picture;
  if (height === picture.height) return picture;
  return { ...picture, data: pass(data, picture.height, height, channels * width, 1), height };
}

/**
 * Resample `lines` blocks of `from` rows, each of `step` values beside each other, to `to` rows.
 * @param {Uint8Array | Uint8ClampedArray} data
 * @param {number} from
 * @param {number} to
 * @param {number} step
 * @param {number} lines
 */
function pass(data, from, to, step, lines) {
  const result = new Uint8ClampedArray(lines * to * step);
  weights(from, to).forEach(({ first, factors }, row) => {
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < step; i++) {
        let sum = 1 << (BITS - 1);
        const at = (line * from + first) * step + i;
        for (let k = 0; k < factors.length; k++) sum += data[at + k * step] * factors[k];
        result[(line * to + row) * step + i] = sum >> BITS;
      }
    }
  });
  return result;
}

/**
 * Return, for each row of the result, the first row that it is made of and the factors, in fixed point.
 * @param {number} from
 * @param {number} to
 */
function weights(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1); // of the triangle to each side, in rows of the original
  return Array.from({ length: to }, (_, row) => {
    const centre = (row + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const own = Array.from({ length: end - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((k + first - centre + 0.5) * (1 / reach))),
    );
    const total = own.reduce((sum, weight) => sum + weight, 0);
    return { first, factors: own.map((weight) => Math.trunc(0.5 + (weight / total) * 2 ** BITS)) };
  });
}
