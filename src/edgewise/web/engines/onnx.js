/**
 * What has to be known of an ONNX file before it runs on WebGPU, read from its bytes.
 *
 * There ONNX Runtime Web 1.30.0 prefers channels last, where it reads channels in vectors. Some convolutions go wrong
 * so, and nothing is thrown:
 * - without groups, vectors of 3 input channels: it divides where each begins by 4, as if they were vectors of 4
 *   (probably https://github.com/microsoft/onnxruntime/issues/29651);
 * - with groups, vectors of 4 or 2 output channels that reach into the next group.
 * Channels first are read one by one: right, and slower.
 *
 * Sources: conv2d_mm.cc and conv.cc in onnxruntime/core/providers/webgpu/nn, https://github.com/microsoft/onnxruntime;
 * onnx.proto (field numbers), https://github.com/onnx/onnx; https://protobuf.dev/programming-guides/encoding/
 */

/** @typedef {Map<string, number[]>} Shapes of tensors that are stored, by name */

/** Operators whose output has the shape of their first input. */
const SAME_SHAPE = ["Cast", "DequantizeLinear", "Identity", "QuantizeLinear"];

/**
 * Tell whether a convolution of a file goes wrong with channels last, or may: its weights are computed.
 * @param {Uint8Array} bytes
 */
export function needsChannelsFirst(bytes) {
  const inFunction = (/** @type {Uint8Array} */ own) => inNodes(values(own, 7), new Map());
  return values(bytes, 7).some((graph) => inGraph(graph, [])) || values(bytes, 25).some(inFunction);
}

/** @param {Uint8Array} graph @param {Iterable<[string, number[]]>} outer @returns {boolean} */
function inGraph(graph, outer) {
  const shapes = new Map(outer);
  values(graph, 5).forEach((tensor) => shapes.set(text(tensor, 8), numbers(tensor, 1)));
  return inNodes(values(graph, 1), shapes);
}

/** @param {Uint8Array[]} nodes in the order in which they run @param {Shapes} shapes */
function inNodes(nodes, shapes) {
  return nodes.some((node) => {
    const operator = text(node, 4);
    const [first, weights] = values(node, 1).map(decoded);
    const [output] = values(node, 2).map(decoded);
    const attributes = new Map(values(node, 5).map((own) => [text(own, 1), own]));
    const [constant] = values(attributes.get("value"), 5);
    const shape = SAME_SHAPE.includes(operator) ? shapes.get(first) : constant && numbers(constant, 1);
    if (shape) shapes.set(output, shape);
    const subgraphs = [...attributes.values()].flatMap((own) => values(own, 6));
    const wrong = operator === "Conv" && isWrong(shapes.get(weights), attributes);
    return wrong || subgraphs.some((graph) => inGraph(graph, shapes));
  });
}

/** @param {number[] | undefined} shape of the weights @param {Map<string, Uint8Array>} attributes */
function isWrong(shape, attributes) {
  if (!shape) return true;
  const [outputs, inputs, ...kernel] = shape; // inputs of a group
  const [group = 1] = numbers(attributes.get("group"), 3);
  const [strides, pads] = ["strides", "pads"].map((name) => numbers(attributes.get(name), 8));
  const vector = outputs % 4 ? (outputs % 2 ? 1 : 2) : 4;
  if (kernel.length > 2) return false;
  if (group > 1) return outputs / group >= 4 && (outputs / group) % vector > 0;
  const product = [...kernel, ...strides].every((size) => size === 1) && !pads.some(Boolean); // of matrices
  return vector === 4 && inputs > 3 && inputs % 3 === 0 && inputs % 4 > 0 && !product;
}

/** @param {Uint8Array} bytes */
const decoded = (bytes) => new TextDecoder().decode(bytes);

/** @param {Uint8Array} message @param {number} field */
const text = (message, field) => values(message, field).map(decoded).join();

/** @param {Uint8Array | undefined} message @param {number} field */
const numbers = (message, field) => values(message, field).flatMap(varints);

/** What a field holds, each as its bytes. @param {Uint8Array | undefined} message @param {number} field */
function values(message = new Uint8Array(0), field) {
  const found = [];
  let at = 0;
  const taken = (/** @type {number} */ size) => message.subarray(at, (at += size));
  const varint = () => taken(message.subarray(at).findIndex((byte) => byte < 128) + 1 || Infinity);
  while (at < message.length) {
    const [key] = varints(varint());
    const size = key % 8 === 2 ? varints(varint())[0] : key % 8 === 1 ? 8 : 4;
    const value = key % 8 === 0 ? varint() : taken(size);
    if (Math.floor(key / 8) === field) found.push(value);
  }
  return found;
}

/** Integers of 7 bits a byte, the lowest first; the last byte of each is below 128. @param {Uint8Array} bytes */
function varints(bytes) {
  const found = [];
  let [value, scale] = [0, 1];
  for (const byte of bytes) {
    value += (byte % 128) * scale;
    scale *= 128;
    if (byte > 127) continue;
    found.push(value);
    [value, scale] = [0, 1];
  }
  return found;
}
