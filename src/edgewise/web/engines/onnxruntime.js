/**
 * ONNX Runtime Web. The page provides it as "onnxruntime-web/wasm", and "onnxruntime-web/webgpu" for WebGPU.
 * API: https://onnxruntime.ai/docs/api/js/
 */
import { DeviceError, InputError } from "../errors.js";
import { needsChannelsFirst } from "./onnx.js";

/**
 * @typedef {import("../tensor.js").Tensors} Tensors
 * @typedef {import("../edgewise.js").Files} Files
 * @typedef {import("../edgewise.js").Settings} Settings
 */

/**
 * Load an ONNX file; its external data are the files after it.
 * @param {Files} files
 * @param {Settings} settings
 * @returns {Promise<import("../edgewise.js").Session>}
 */
export async function load([main, ...data], { provider, threads, outputs }) {
  const ort = await library(provider);
  ort.env.logLevel = "error";
  if (threads) ort.env.wasm.numThreads = threads; // counts for the first model of a page
  const first = provider === "webgpu" && needsChannelsFirst(main.bytes);
  const options = {
    executionProviders: [first ? { name: provider, preferredLayout: "NCHW" } : provider],
    externalData: data.map(({ name, bytes }) => ({ path: name, data: bytes })),
  };
  const { session, reason } = await created(ort, main.bytes, options, provider);
  /** @type {string[]} */
  const found = session.outputNames;
  const names = outputs.length ? outputs.map(({ name }) => name) : found;
  const own = matched(main.name, names, found);
  return {
    version: `onnxruntime-web ${ort.env.versions.web}`,
    reason: first ? `${reason}, channels first` : reason,
    close: () => session.release(),
    run: async (inputs) => {
      const answer = await session.run(fed(ort, inputs), own);
      return Object.fromEntries(names.map((name, i) => [name, taken(answer[own[i]])]));
    },
  };
}

/** @param {import("../edgewise.js").Provider} provider @returns {Promise<any>} */
async function library(provider) {
  if (provider === "webgpu" && !(await /** @type {any} */ (navigator).gpu?.requestAdapter()))
    throw new DeviceError("this browser offers no WebGPU adapter: take the provider wasm");
  try {
    return await (provider === "webgpu" ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"));
  } catch (error) {
    throw new InputError(
      `the page provides no module onnxruntime-web/${provider}: name it in an import map`,
      { cause: error },
    );
  }
}

/**
 * Create a session. With WebGPU, operators it lacks would move to the CPU without a word: that is tried last, and said.
 * @param {any} ort
 * @param {Uint8Array} bytes
 * @param {object} options
 * @param {import("../edgewise.js").Provider} provider
 */
async function created(ort, bytes, options, provider) {
  if (provider === "wasm") return { session: await ort.InferenceSession.create(bytes, options), reason: "" };
  try {
    const strict = { ...options, extra: { session: { disable_cpu_ep_fallback: "1" } } };
    return { session: await ort.InferenceSession.create(bytes, strict), reason: "all operators on WebGPU" };
  } catch {
    return {
      session: await ort.InferenceSession.create(bytes, options),
      reason: "some operators on the CPU, not WebGPU",
    };
  }
}

/** By name, or by position where a tool renamed them. @param {string} file @param {string[]} names @param {string[]} found */
function matched(file, names, found) {
  if (names.every((name) => found.includes(name))) return names;
  if (names.length === found.length) return found;
  throw new DeviceError(
    `${file} has outputs ${found.join(", ")}; expected ${names.join(", ")}: build it again`,
  );
}

/** @param {any} ort @param {Tensors} inputs */
function fed(ort, inputs) {
  const entries = Object.entries(inputs).map(([name, { dtype, shape, data }]) => [
    name,
    new ort.Tensor(dtype === "str" ? "string" : dtype, data, shape),
  ]);
  return Object.fromEntries(entries);
}

/** @param {any} tensor @returns {import("../tensor.js").Tensor} */
function taken({ type, dims, data }) {
  return { dtype: type === "string" ? "str" : type, shape: [...dims], data };
}
