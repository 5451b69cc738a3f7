/**
 * LiteRT.js. The page provides it as "@litertjs/core" (which needs "@litertjs/wasm-utils"), laid out as in npm.
 *
 * Its own classes know three types and fixed shapes. What lies below them, `LiteRt.liteRtWasm`, is declared in the
 * package's index.d.ts and takes 64-bit integers, booleans and new lengths as well, so that any .tflite that runs
 * in Python runs here: this file talks to that.
 * API: https://ai.google.dev/edge/litert/web, index.d.ts of @litertjs/core 2.5.3
 */
import { DeviceError, InputError } from "../errors.js";
import { ARRAYS } from "../tensor.js";

/**
 * @typedef {import("../tensor.js").Tensor} Tensor
 * @typedef {import("../tensor.js").Tensors} Tensors
 * @typedef {import("../edgewise.js").Files} Files
 * @typedef {import("../edgewise.js").Settings} Settings
 * @typedef {{core: any, wasm: any, environment: any}} Library
 */

/** LiteRT's numbers of element types. */
/** @type {Record<number, string>} */
const DTYPES = {
  1: "float32",
  2: "int32",
  3: "uint8",
  4: "int64",
  6: "bool",
  7: "int16",
  9: "int8",
  10: "float16",
  11: "float64",
  13: "uint64",
  16: "uint32",
  17: "uint16",
};

/**
 * Load a .tflite.
 * @param {Files} files
 * @param {Settings} settings
 * @returns {Promise<import("../edgewise.js").Session>}
 */
export async function load([file], { provider, threads, outputs }) {
  const library = await loaded(provider, threads);
  const { wasm, environment } = library;
  const bytes = wasm._malloc(file.bytes.length); // the model stays there while it is in use
  wasm.HEAPU8.set(file.bytes, bytes);
  const model = wasm.loadModel(environment.liteRtEnvironment, bytes, file.bytes.length);
  const compiled = await wasm.compileModel(environment.liteRtEnvironment, model, {
    environment,
    accelerator: provider,
    cpuOptions: { numThreads: threads || wasm.getThreadCount() },
    gpuOptions: { precision: "fp32" },
    webNNOptions: {},
  });
  if (provider === "webgpu" && !compiled.isFullyAccelerated())
    throw new DeviceError(`some operators of ${file.name} do not run on WebGPU: take the provider wasm`);
  const { inputs, found } = ports(model);
  const own = matched(file.name, outputs.map(({ name }) => name), found);
  return {
    version: "@litertjs/core",
    reason: "",
    close: () => {
      compiled.delete();
      model.delete();
      wasm._free(bytes);
    },
    run: async (given) => {
      const buffers = await Promise.all(inputs.map(({ name, type }) => fed(library, given[name], type, provider)));
      const answers = await compiled.run(0, buffers);
      buffers.forEach((buffer) => buffer.delete());
      const tensors = await Promise.all(answers.map((/** @type {any} */ buffer) => taken(library, buffer)));
      return Object.fromEntries(own.map(({ name, index }, i) => [name, cast(tensors[index], outputs[i]?.dtype)]));
    },
  };
}

/** @param {import("../edgewise.js").Provider} provider @param {number} threads @returns {Promise<Library>} */
async function loaded(provider, threads) {
  const core = await imported();
  const folder = new URL("../wasm/", import.meta.resolve("@litertjs/core")).href;
  const parallel = Boolean(globalThis.crossOriginIsolated && threads !== 1 && (await core.supportsFeature("relaxedSimd")));
  const library = await (core.getGlobalLiteRtPromise() ?? core.loadLiteRt(folder, { threads: parallel }));
  const environment = library.getDefaultEnvironment();
  if (provider === "webgpu" && !environment.webGpuDevice)
    throw new DeviceError("this browser offers no WebGPU adapter: take the provider wasm");
  return { core, wasm: library.liteRtWasm, environment };
}

/** @returns {Promise<any>} */
async function imported() {
  try {
    return await import("@litertjs/core");
  } catch (error) {
    const message = "the page provides no module @litertjs/core or @litertjs/wasm-utils: name both in an import map";
    throw new InputError(message, { cause: error });
  }
}

/**
 * Return the inputs and the names of the outputs of the first signature, in the file's order.
 * @param {any} model
 */
function ports(model) {
  const signature = model.getSignature(0);
  const inputs = list(signature.inputNames()).map((name, i) => {
    const tensor = model.getInputTensorType(0, i);
    const type = tensor.elementType();
    tensor.delete();
    return { name, type };
  });
  const found = list(signature.outputNames());
  signature.delete();
  return { inputs, found };
}

/** A C++ vector as an array. @param {any} vector @returns {any[]} */
function list(vector) {
  const items = Array.from({ length: vector.size() }, (_, i) => vector.get(i));
  vector.delete();
  return items;
}

/**
 * Return where each wanted output stands: by name, or by position where a tool renamed them.
 * @param {string} file
 * @param {string[]} names
 * @param {string[]} found
 */
function matched(file, names, found) {
  if (!names.length) return found.map((name, index) => ({ name, index }));
  const named = names.every((name) => found.includes(name));
  if (named || names.length === found.length)
    return names.map((name, i) => ({ name, index: named ? found.indexOf(name) : i }));
  throw new DeviceError(`${file} has outputs ${found.join(", ")}; expected ${names.join(", ")}: build it again`);
}

/**
 * Copy a tensor into the engine's memory, in the type of the file.
 * @param {Library} library
 * @param {Tensor | undefined} tensor
 * @param {{value: number}} type
 * @param {import("../edgewise.js").Provider} provider
 */
async function fed({ core, wasm, environment }, tensor, type, provider) {
  if (!tensor) throw new InputError("an input of the .tflite is missing: build it again");
  const { shape, data } = cast(tensor, DTYPES[type.value]);
  const array = /** @type {Uint8Array} */ (data);
  const sizes = new wasm.VectorInt32();
  shape.forEach((size) => sizes.push_back(size));
  const layout = wasm.LiteRtLayout.create(sizes);
  const kind = wasm.LiteRtRankedTensorType.create(type, layout);
  const host = wasm.LiteRtTensorBufferType.HOST_MEMORY;
  const buffer = wasm.LiteRtTensorBuffer.createManaged(environment.liteRtEnvironment, host, kind, array.byteLength);
  const at = buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
  wasm.HEAPU8.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
  buffer.unlock();
  [sizes, layout, kind].forEach((own) => own.delete());
  return provider === "webgpu" ? (await new core.Tensor(buffer).moveTo("webgpu")).liteRtTensorBuffer : buffer;
}

/** Copy a tensor out of the engine's memory. @param {Library} library @param {any} buffer @returns {Promise<Tensor>} */
async function taken({ core, wasm }, buffer) {
  const host = buffer.isWebGpuMemory() ? (await new core.Tensor(buffer).moveTo("wasm")).liteRtTensorBuffer : buffer;
  const kind = host.tensorType();
  const dtype = DTYPES[kind.elementType().value];
  const layout = kind.layout();
  const shape = list(layout.dimensions());
  const at = host.lock(wasm.LiteRtTensorBufferLockMode.READ);
  const bytes = wasm.HEAPU8.slice(at, at + host.packedSize());
  host.unlock();
  [layout, kind, host].forEach((own) => own.delete());
  return { dtype, shape, data: new ARRAYS[dtype](bytes.buffer) };
}

/**
 * Return a tensor in another type: the original's, where the converter took another one.
 * @param {Tensor} tensor
 * @param {string | undefined} dtype
 * @returns {Tensor}
 */
function cast(tensor, dtype = tensor.dtype) {
  if (dtype === tensor.dtype) return tensor;
  const to = /** @type {(value: any) => any} */ (dtype.endsWith("int64") ? BigInt : Number);
  const values = Array.from(/** @type {ArrayLike<any>} */ (tensor.data), to);
  return { dtype, shape: tensor.shape, data: ARRAYS[dtype].from(values) };
}
