/**
 * LiteRT.js. The page provides it as "@litertjs/core" (which needs "@litertjs/wasm-utils"), laid out as in npm.
 *
 * Its own classes know three types and fixed shapes. What lies below them, `LiteRt.liteRtWasm`, is declared in the
 * package's index.d.ts and takes 64-bit integers, booleans and new lengths as well, so that any .tflite that runs
 * in Python runs here: this file talks to that.
 *
 * Two faults of 2.5.3 are met here, neither of which throws anything.
 * - It makes room for outputs before it runs, as large as the file declares, then as large as they were in the run
 *   before; where that is too small, it answers with what lay in memory, or crashes. So where outputs may vary, a new
 *   shape of inputs is run twice, with much room: the second run shows how large they are.
 * - Some files that look rows up in a table (EMBEDDING_LOOKUP) answer right only in the first run after the inputs'
 *   shape changed. So such a file never runs the same shape twice in a row: the request before goes in between.
 *
 * API: https://ai.google.dev/edge/litert/web, index.d.ts of @litertjs/core 2.5.3
 */
import { DeviceError, InputError } from "../errors.js";
import { ARRAYS, count } from "../tensor.js";
import { looksUp, ports } from "./tflite.js";

/**
 * @typedef {import("../tensor.js").Tensor} Tensor
 * @typedef {import("../tensor.js").Tensors} Tensors
 * @typedef {import("../edgewise.js").Files} Files
 * @typedef {import("../edgewise.js").Settings} Settings
 * @typedef {{core: any, wasm: any, environment: any}} Library
 * @typedef {{name: string, type: {value: number}, free: number[]}} Input
 * @typedef {{key: string, tensors: Tensor[]}} Request
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
 * Load a .tflite. Beside it may lie `io.json`, which names inputs that became constants.
 * @param {Files} files
 * @param {Settings} settings
 * @returns {Promise<import("../edgewise.js").Session>}
 */
export async function load([file, ...beside], { provider, threads, outputs }) {
  const constants = described(beside);
  const model = await Model.open(await library(provider, threads), file, provider, threads);
  const own = matched(file.name, outputs, model.outputs);
  return {
    version: "@litertjs/core",
    reason: "",
    close: () => model.close(),
    run: async (given) => {
      refuseOthers(constants, given);
      const tensors = await model.run(given);
      return Object.fromEntries(own.map(({ index, spec }) => [spec.name, as(tensors[index], spec)]));
    },
  };
}

/** @param {import("../edgewise.js").Provider} provider @param {number} threads @returns {Promise<Library>} */
async function library(provider, threads) {
  const core = await imported();
  const folder = new URL("../wasm/", import.meta.resolve("@litertjs/core")).href;
  const parallel = Boolean(
    globalThis.crossOriginIsolated && threads !== 1 && (await core.supportsFeature("relaxedSimd")),
  );
  const found = await (core.getGlobalLiteRtPromise() ?? core.loadLiteRt(folder, { threads: parallel }));
  const environment = found.getDefaultEnvironment();
  if (provider === "webgpu" && !environment.webGpuDevice)
    throw new DeviceError("this browser offers no WebGPU adapter: take the provider wasm");
  return { core, wasm: found.liteRtWasm, environment };
}

/** @returns {Promise<any>} */
async function imported() {
  try {
    return await import("@litertjs/core");
  } catch (error) {
    const message =
      "the page provides no module @litertjs/core or @litertjs/wasm-utils: name both in an import map";
    throw new InputError(message, { cause: error });
  }
}

/** A file in the engine's memory, compiled for the room that its outputs need. */
class Model {
  /** Shapes of outputs by shapes of inputs, as runs have shown them. @type {Map<string, number[][]>} */
  #known = new Map();
  /** How many elements of each output there is room for in the next run. @type {number[]} */
  #room = [];
  /** The request that was run last, and the last of another shape. @type {Request | undefined} */
  #last;
  /** @type {Request | undefined} */
  #other;
  /** @type {any} */
  #model;
  /** @type {any} */
  #compiled;

  /** @param {Library} library @param {import("../edgewise.js").Provider} provider @param {number} threads @param {number} at @param {number} size */
  constructor(library, provider, threads, at, size) {
    this.library = library;
    this.provider = provider;
    this.threads = threads;
    this.at = at;
    this.size = size;
    /** @type {Input[]} */
    this.inputs = [];
    /** Names of the outputs. @type {string[]} */
    this.outputs = [];
    /** Shapes of the outputs, -1 where they may vary. @type {number[][]} */
    this.free = [];
    /** Whether a run may spoil the next one of the same shape. */
    this.forgets = false;
  }

  /** @param {Library} library @param {import("../edgewise.js").File} file @param {import("../edgewise.js").Provider} provider @param {number} threads */
  static async open(library, file, provider, threads) {
    const at = library.wasm._malloc(file.bytes.length); // it stays there while the model is in use
    library.wasm.HEAPU8.set(file.bytes, at);
    const model = new Model(library, provider, threads, at, file.bytes.length);
    await model.#compile([]);
    if (provider === "webgpu" && !model.#compiled.isFullyAccelerated())
      throw new DeviceError(`some operators of ${file.name} do not run on WebGPU: take the provider wasm`);
    model.#look();
    return model;
  }

  close() {
    [this.#compiled, this.#model].forEach((own) => own?.delete());
    this.library.wasm._free(this.at);
  }

  /** @param {Tensors} given @returns {Promise<Tensor[]>} */
  async run(given) {
    const tensors = this.inputs.map((input) => fitted(input, given[input.name]));
    const key = JSON.stringify(tensors.map(({ shape }) => shape));
    const shapes =
      this.#known.get(key) ?? (this.free.some(varies) ? await this.#measure(key, tensors) : this.free);
    await this.#prepare(key, shapes);
    const answers = await this.#once(tensors);
    this.#room = shapes.map(count);
    if (key !== this.#last?.key) this.#other = this.#last;
    this.#last = { key, tensors };
    return answers.map(({ dtype, data }, i) => ({
      dtype,
      shape: shapes[i],
      data: data.slice(0, this.#room[i]),
    }));
  }

  /** Make the next run one that can be trusted. @param {string} key @param {number[][]} shapes */
  async #prepare(key, shapes) {
    if (this.forgets && key === this.#last?.key) {
      const between = this.#other && (this.#known.get(this.#other.key) ?? this.free);
      if (!this.#other || !between || !this.#fits(between)) return this.#compile(shapes);
      await this.#once(this.#other.tensors);
      this.#room = between.map(count);
    }
    if (!this.#fits(shapes)) await this.#compile(shapes);
  }

  /** @param {number[][]} shapes */
  #fits(shapes) {
    return shapes.every((shape, i) => count(shape) <= this.#room[i]);
  }

  /**
   * Return the shapes of the outputs for inputs of a new shape. There is room for as much as the longest side of an
   * input in every direction that may vary; a model whose outputs are larger than that is refused.
   * @param {string} key
   * @param {Tensor[]} tensors
   */
  async #measure(key, tensors) {
    const most = Math.max(1, ...tensors.flatMap(({ shape }) => shape));
    const room = this.free.map((shape) => shape.map((size) => (size < 0 ? most : size)));
    await this.#compile(room);
    const shapes = await this.#shapes(tensors).catch(() => []);
    const fits = (/** @type {number[]} */ shape, /** @type {number[]} */ most) =>
      shape?.length === most.length && shape.every((size, axis) => size <= most[axis]);
    if (!room.every((most, i) => fits(shapes[i], most)))
      throw new DeviceError("an output is longer than any side of the inputs, which LiteRT.js cannot answer");
    this.#known.set(key, shapes);
    this.#room = shapes.map(count);
    this.#last = { key, tensors };
    return shapes;
  }

  /** Run twice: outputs of the second run have the shapes of the first. @param {Tensor[]} tensors */
  async #shapes(tensors) {
    await this.#once(tensors);
    return (await this.#once(tensors)).map(({ shape }) => shape);
  }

  /** @param {Tensor[]} tensors @returns {Promise<Tensor[]>} */
  async #once(tensors) {
    const buffers = await Promise.all(
      tensors.map((tensor, i) => fed(this.library, this.inputs[i], tensor, this.provider)),
    );
    const answers = await this.#compiled.run(0, buffers);
    buffers.forEach((buffer) => buffer.delete());
    return Promise.all(answers.map((/** @type {any} */ buffer) => taken(this.library, buffer)));
  }

  /** Load the file, its outputs declared as `shapes`. @param {number[][]} shapes */
  async #compile(shapes) {
    const { wasm, environment } = this.library;
    [this.#compiled, this.#model].forEach((own) => own?.delete());
    const declared = [...ports(this.#bytes()).outputs.values()];
    shapes.forEach((shape, i) => declared[i].set(shape));
    this.#room = shapes.map(count);
    this.#model = wasm.loadModel(environment.liteRtEnvironment, this.at, this.size);
    this.#compiled = await wasm.compileModel(environment.liteRtEnvironment, this.#model, {
      environment,
      accelerator: this.provider,
      cpuOptions: { numThreads: this.threads || wasm.getThreadCount() },
      gpuOptions: { precision: "fp32" },
      webNNOptions: {},
    });
  }

  /** See what the file takes and gives. */
  #look() {
    const declared = ports(this.#bytes());
    this.inputs = [...declared.inputs].map(([name, { free }], i) => {
      const tensor = this.#model.getInputTensorType(0, i);
      const type = tensor.elementType();
      tensor.delete();
      return { name, type, free };
    });
    this.forgets = looksUp(this.#bytes());
    this.outputs = [...declared.outputs.keys()];
    this.free = [...declared.outputs.values()].map(({ free }) => free);
    this.#room = this.free.map(count);
  }

  #bytes() {
    return this.library.wasm.HEAPU8.subarray(this.at, this.at + this.size);
  }
}

/** @param {number[]} shape */
const varies = (shape) => shape.some((size) => size < 0);

/**
 * Return where each wanted output stands: by name, or by position where a tool renamed them.
 * @param {string} file
 * @param {import("../tensor.js").TensorSpec[]} wanted
 * @param {string[]} found
 * @returns {{index: number, spec: {name: string, dtype?: string, shape?: unknown[]}}[]}
 */
function matched(file, wanted, found) {
  if (!wanted.length) return found.map((name, index) => ({ index, spec: { name } }));
  const named = wanted.every(({ name }) => found.includes(name));
  if (named || wanted.length === found.length)
    return wanted.map((spec, i) => ({ index: named ? found.indexOf(spec.name) : i, spec }));
  const names = wanted.map(({ name }) => name).join(", ");
  throw new DeviceError(`${file} has outputs ${found.join(", ")}; expected ${names}: build it again`);
}

/** Read `io.json`. @param {Files} files @returns {[string, number][]} */
function described(files) {
  const file = files.find(({ name }) => name === "io.json");
  const { constants = {} } = file ? JSON.parse(new TextDecoder().decode(file.bytes)) : {};
  return Object.entries(constants).map(([name, { value }]) => [name, value]);
}

/** @param {[string, number][]} constants @param {Tensors} given */
function refuseOthers(constants, given) {
  for (const [name, value] of constants) {
    if (Array.from(/** @type {ArrayLike<any>} */ (given[name].data), Number).some((own) => own !== value))
      throw new DeviceError(`this file answers ${name} = ${value} only: use the original for others`);
  }
}

/**
 * Return an input in the type of the file; a single number may be a vector of one there.
 * @param {Input} input
 * @param {Tensor | undefined} tensor
 * @returns {Tensor}
 */
function fitted({ name, type, free }, tensor) {
  if (!tensor) throw new InputError(`the .tflite asks for an input ${name}: build it again`);
  const shape = !tensor.shape.length && free.length === 1 ? [1] : tensor.shape;
  if (shape.length !== free.length || shape.some((size, axis) => free[axis] >= 0 && size !== free[axis]))
    throw new DeviceError(
      `input ${name} is [${tensor.shape}], and the .tflite takes [${free}] (-1 varies) alone`,
    );
  return { ...as(tensor, { dtype: DTYPES[type.value] }), shape };
}

/**
 * Copy a tensor into the engine's memory.
 * @param {Library} library
 * @param {Input} input
 * @param {Tensor} tensor
 * @param {import("../edgewise.js").Provider} provider
 */
async function fed({ core, wasm, environment }, { type }, { shape, data }, provider) {
  const array = /** @type {Uint8Array} */ (data);
  const sizes = new wasm.VectorInt32();
  shape.forEach((size) => sizes.push_back(size));
  const layout = wasm.LiteRtLayout.create(sizes);
  const kind = wasm.LiteRtRankedTensorType.create(type, layout);
  const host = wasm.LiteRtTensorBufferType.HOST_MEMORY;
  const buffer = wasm.LiteRtTensorBuffer.createManaged(
    environment.liteRtEnvironment,
    host,
    kind,
    array.byteLength,
  );
  const at = buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
  wasm.HEAPU8.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
  buffer.unlock();
  [sizes, layout, kind].forEach((own) => own.delete());
  return provider === "webgpu" ? (await new core.Tensor(buffer).moveTo("webgpu")).liteRtTensorBuffer : buffer;
}

/** Copy a tensor out of the engine's memory. @param {Library} library @param {any} buffer @returns {Promise<Tensor>} */
async function taken({ core, wasm }, buffer) {
  const host = buffer.isWebGpuMemory()
    ? (await new core.Tensor(buffer).moveTo("wasm")).liteRtTensorBuffer
    : buffer;
  const kind = host.tensorType();
  const dtype = DTYPES[kind.elementType().value];
  const layout = kind.layout();
  const sizes = layout.dimensions();
  const shape = Array.from({ length: sizes.size() }, (_, i) => sizes.get(i));
  const at = host.lock(wasm.LiteRtTensorBufferLockMode.READ);
  const bytes = wasm.HEAPU8.slice(at, at + host.packedSize());
  host.unlock();
  [sizes, layout, kind, host].forEach((own) => own.delete());
  return { dtype, shape, data: new ARRAYS[dtype](bytes.buffer) };
}

/**
 * Return a tensor as the original has it, where the converter took another type, or a vector of one for a number.
 * @param {Tensor} tensor
 * @param {{dtype?: string, shape?: unknown[]}} spec
 * @returns {Tensor}
 */
function as(tensor, { dtype = tensor.dtype, shape: wanted }) {
  const shape = wanted?.length === 0 && tensor.data.length === 1 ? [] : tensor.shape;
  if (dtype === tensor.dtype) return { ...tensor, shape };
  const to = /** @type {(value: any) => any} */ (dtype.endsWith("int64") ? BigInt : Number);
  const values = Array.from(/** @type {ArrayLike<any>} */ (tensor.data), to);
  return { dtype, shape, data: ARRAYS[dtype].from(values) };
}
