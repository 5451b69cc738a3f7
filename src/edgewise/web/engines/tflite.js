/**
 * The shapes that a .tflite declares, read from its bytes, and written there: LiteRT.js shows only some of them.
 *
 * Sources: schema.fbs of TensorFlow Lite (field numbers), https://ai.google.dev/edge/litert;
 * FlatBuffers internals, https://flatbuffers.dev/internals/
 */

/**
 * @typedef {{free: number[], set: (shape: number[]) => void}} Port
 *   `free`: the shape, -1 for what may vary; `set` declares another size for that
 * @typedef {{inputs: Map<string, Port>, outputs: Map<string, Port>}} Ports
 */

const EMBEDDING_LOOKUP = 7;

/**
 * Return the inputs and outputs of the first signature (of the first graph where there is none) by name.
 * @param {Uint8Array} bytes
 * @returns {Ports}
 */
export function ports(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const model = follow(view, 0);
  const [signature] = tables(view, model, 7);
  const graph = tables(view, model, 2)[signature ? number(view, signature, 4) : 0];
  const tensors = tables(view, graph, 0);
  const named = (/** @type {number} */ own, /** @type {number} */ unsigned) =>
    signature
      ? tables(view, signature, own).map(
          (entry) => /** @type {const} */ ([text(view, entry, 0), tensors[number(view, entry, 1)]]),
        )
      : list(view, graph, unsigned).map(
          (index) => /** @type {const} */ ([text(view, tensors[index], 3), tensors[index]]),
        );
  const port = (/** @type {readonly (readonly [string, number])[]} */ found) =>
    new Map(found.map(([name, tensor]) => [name, shapes(view, tensor)]));
  return { inputs: port(named(0, 1)), outputs: port(named(1, 2)) };
}

/**
 * Tell whether a file looks rows up in a table.
 * @param {Uint8Array} bytes
 */
export function looksUp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const codes = tables(view, follow(view, 0), 1); // numbers below 127 stand in the field of old, in one byte
  return codes.some((code) => slot(view, code, 0) && view.getInt8(slot(view, code, 0)) === EMBEDDING_LOOKUP);
}

/** @param {DataView} view @param {number} tensor @returns {Port} */
function shapes(view, tensor) {
  const free = list(view, tensor, 7);
  const at = slot(view, tensor, 0);
  return {
    free: free.length ? free : list(view, tensor, 0),
    set: (shape) => {
      const start = at ? follow(view, at) + 4 : 0;
      if (start) shape.forEach((size, axis) => view.setInt32(start + 4 * axis, size, true));
    },
  };
}

/** Where the value of a table's field is, 0 where it has none. @param {DataView} view @param {number} table @param {number} field */
function slot(view, table, field) {
  const fields = table - view.getInt32(table, true);
  const entry = 4 + 2 * field;
  const offset = entry < view.getUint16(fields, true) ? view.getUint16(fields + entry, true) : 0;
  return offset && table + offset;
}

/** @param {DataView} view @param {number} at */
const follow = (view, at) => at + view.getUint32(at, true);

/** @param {DataView} view @param {number} table @param {number} field */
function number(view, table, field) {
  const at = slot(view, table, field);
  return at && view.getUint32(at, true);
}

/** A vector of 32-bit integers. @param {DataView} view @param {number} table @param {number} field */
function list(view, table, field) {
  const at = slot(view, table, field);
  if (!at) return [];
  const start = follow(view, at);
  return Array.from({ length: view.getUint32(start, true) }, (_, i) =>
    view.getInt32(start + 4 + 4 * i, true),
  );
}

/** A vector of tables. @param {DataView} view @param {number} table @param {number} field */
function tables(view, table, field) {
  const at = slot(view, table, field);
  if (!at) return [];
  const start = follow(view, at);
  return Array.from({ length: view.getUint32(start, true) }, (_, i) => follow(view, start + 4 + 4 * i));
}

/** @param {DataView} view @param {number} table @param {number} field */
function text(view, table, field) {
  const start = follow(view, slot(view, table, field));
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start + 4, view.getUint32(start, true));
  return new TextDecoder().decode(bytes.slice()); // a copy: the engine's memory may be shared with its threads
}
