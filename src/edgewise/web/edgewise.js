/**
 * Open an edgewise bundle in a browser, and answer with it.
 *
 *     const model = await open("./sentiment/");
 *     const { value, confidence } = await model("battery life is great");
 *     model.close();
 *
 * Every byte is checked before it is used, and nothing is fetched but the bundle. The engine is the page's: an
 * import map (or a bundler) says where "onnxruntime-web/wasm" or "@litertjs/core" lie. See docs/web.md.
 */
import { Bundle } from "./bundle.js";
import { DeviceError, EdgewiseError, InputError, TrustError, oneLine } from "./errors.js";
import * as golden from "./golden.js";
import { pick } from "./pick.js";
import { postprocessor, preprocessor } from "./steps.js";
import { checked } from "./tensor.js";

export { DeviceError, EdgewiseError, InputError, TrustError };

/**
 * @typedef {import("./tensor.js").Tensors} Tensors
 * @typedef {"wasm" | "webgpu"} Provider
 *
 * @typedef {object} Options
 * @property {"onnxruntime-web" | "litert-web"} [engine] default: the one of the variant that was chosen
 * @property {Provider} [provider] default "wasm"
 * @property {number} [threads] default: the engine's; more than one needs a page that is cross-origin isolated
 * @property {string} [tier] the tier that this browser counts as; default: the first whose platform is "web" or "any"
 * @property {import("./signatures.js").Trusted} [trusted] release keys; only a bundle that enough of them signed opens
 *
 * @typedef {object} Answer
 * @property {Tensors} outputs by the original's names
 * @property {string | null} value what post-processing named, null where it names nothing
 * @property {number | null} confidence
 * @property {string} variant
 * @property {"device"} route
 * @property {string} reason
 *
 * @typedef {object} Verified
 * @property {string} variant
 * @property {golden.Difference} difference from the original's outputs
 * @property {number} tolerance of `difference.rms`
 * @property {string} preprocessing
 *
 * @typedef {{run: (inputs: Tensors) => Promise<Tensors>, version: string, reason: string, close: () => void}} Session
 * @typedef {{name: string, bytes: Uint8Array}} File
 * @typedef {File[]} Files the first is the one to open
 * @typedef {{provider: Provider, threads: number, outputs: import("./tensor.js").TensorSpec[]}} Settings
 */

const ENGINES = {
  "onnxruntime-web": () => import("./engines/onnxruntime.js"),
  "litert-web": () => import("./engines/litert.js"),
};
const SAME_TENSORS = 1e-3; // of the largest value: what decoders and float32 arithmetic may differ by

/**
 * Open the bundle at `url`, the folder that `edgewise build` wrote.
 * @param {string | URL} url
 * @param {Options} [options]
 * @throws {TrustError} where a byte is not the one that was signed
 * @throws {DeviceError} where no variant runs in this browser
 */
export async function open(url, options = {}) {
  const bundle = await Bundle.read(url, options.trusted);
  const choice = pick(bundle.manifest, options);
  const text = (/** @type {string} */ digest) => bundle.text(digest);
  const [files, pre, post] = await Promise.all([
    bundle.artifact(choice.variant.artifact),
    preprocessor(bundle.model.pre, text),
    postprocessor(bundle.model.post, text),
  ]);
  const session = await loaded(choice.engine, files, {
    provider: options.provider ?? "wasm",
    threads: options.threads ?? 0,
    outputs: bundle.model.outputs,
  });
  return callable(new Model(bundle, choice, session, pre, post));
}

/**
 * Load a model's files with an engine.
 * @param {keyof typeof ENGINES} engine
 * @param {Files} files
 * @param {Settings} settings
 * @returns {Promise<Session>}
 */
export async function loaded(engine, files, settings) {
  const { load } = await ENGINES[engine]();
  return translated(`${engine} cannot load ${files[0].name}`, () => load(files, settings));
}

/** An open bundle: what a call does, step by step. */
class Model {
  /** Engines serve one call at a time. @type {Promise<unknown>} */
  #last = Promise.resolve();
  #closed = false;

  /**
   * @param {Bundle} bundle
   * @param {import("./pick.js").Choice} choice
   * @param {Session} session
   * @param {((raw: any) => Promise<Tensors>) | null} pre
   * @param {(outputs: Tensors) => import("./steps.js").Answered} post
   */
  constructor(bundle, choice, session, pre, post) {
    this.bundle = bundle;
    this.choice = choice;
    this.session = session;
    this.pre = pre;
    this.post = post;
    this.reason = [choice.reason, session.reason].filter(Boolean).join("; ");
  }

  /** @param {any} input @returns {Promise<Answer>} */
  async answer(input) {
    const outputs = await this.run(isTensors(input) ? input : await this.#preprocess(input));
    const { value, confidence } = this.post(outputs);
    return {
      outputs,
      value,
      confidence,
      variant: this.choice.variant.id,
      route: "device",
      reason: this.reason,
    };
  }

  /** @param {Record<string, any>} given @returns {Promise<Tensors>} */
  async run(given) {
    const inputs = checked(this.bundle.model.inputs, given);
    const { id } = this.choice.variant;
    const next = this.#last.then(() => {
      if (this.#closed) throw new DeviceError("this model is closed: open the bundle again");
      return translated(`${id} failed on this input`, () => this.session.run(inputs));
    });
    this.#last = next.catch(() => undefined);
    return next;
  }

  /** Free the model's memory, once what is being answered is answered. */
  close() {
    this.#last = this.#last.then(() => {
      if (!this.#closed) this.session.close();
      this.#closed = true;
    });
  }

  /** @returns {Promise<Verified>} */
  async verify() {
    const { model } = this.bundle;
    const { id, golden_tolerance: tolerance } = this.choice.variant;
    const [{ bytes }] = await this.bundle.artifact(model.golden);
    const cases = await golden.decode(bytes, model);
    const preprocessing = await this.#sameTensors(cases);
    this.#sameAnswers(cases);
    const outputs = [];
    for (const { inputs } of cases) outputs.push(await this.run(inputs));
    const difference = golden.compare(
      cases.map((own) => own.outputs),
      outputs,
    );
    if (!(difference.rms <= tolerance)) {
      const by = `${difference.rms.toPrecision(2)}, tolerance ${tolerance.toPrecision(2)}`;
      throw new TrustError(
        `${id} answers the golden cases differently here, by ${by}: do not use it in this browser`,
      );
    }
    return { variant: id, difference, tolerance, preprocessing };
  }

  /** @param {golden.Case[]} cases */
  async #sameTensors(cases) {
    const given = cases.filter(({ raw }) => raw);
    if (!this.bundle.model.pre.length) return "none declared";
    if (!this.pre || !given.length)
      return `not tried: ${this.pre ? "no raw golden input" : "a Python function of the builder"}`;
    const got = [];
    for (const { raw } of given) got.push(await this.pre(raw?.dtype === "str" ? raw.data[0] : raw));
    const { max_rel: by } = golden.compare(
      given.map(({ inputs }) => inputs),
      got,
    );
    if (!(by <= SAME_TENSORS))
      throw new TrustError(
        `pre-processing turns the golden inputs into other tensors here: relative difference ${by.toPrecision(2)}`,
      );
    return `same tensors as in the lab for ${given.length} raw inputs`;
  }

  /** @param {golden.Case[]} cases */
  #sameAnswers(cases) {
    for (const { outputs, answer } of cases) {
      const { value } = this.post(outputs);
      if (answer !== undefined && value !== answer)
        throw new TrustError(
          `post-processing turns golden outputs into '${value}' here, in the lab into '${answer}'`,
        );
    }
  }

  /** @param {any} raw @returns {Promise<Tensors>} */
  async #preprocess(raw) {
    if (this.pre) return this.pre(raw);
    const { pre, inputs } = this.bundle.model;
    if (pre.length)
      throw new InputError("this bundle's pre-processing is a Python function of its builder: give tensors");
    const wanted = inputs.map(({ name }) => name).join(", ");
    throw new InputError(`this bundle declares no pre-processing: give an object of tensors (${wanted})`);
  }
}

/**
 * Return what `open` returns: a function from input to answer, with what else there is to know and to do.
 * @param {Model} model
 */
function callable(model) {
  const { bundle, choice } = model;
  return Object.assign((/** @type {any} */ input) => model.answer(input), {
    /** The manifest, with every field it came with. */
    manifest: bundle.manifest,
    /** "unsigned", "development", "release", or "not verified" where this browser cannot check. */
    signing: bundle.signing,
    variant: choice.variant.id,
    engine: choice.engine,
    /** The engine's own words about its version. */
    version: model.session.version,
    reason: model.reason,
    /** Run the golden cases here; see `Verified`. */
    verify: () => model.verify(),
    /** Free the model's memory. A closed model can't answer. */
    close: () => model.close(),
  });
}

/** Tensors come as a plain object of them; a picture may be one, too: `{data, shape}`. @param {any} input */
function isTensors(input) {
  return input?.constructor === Object && !ArrayBuffer.isView(input.data);
}

/**
 * Do work of an engine, which may throw anything, a number from WebAssembly among it.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function translated(what, work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof EdgewiseError) throw error;
    throw new DeviceError(`${what}: ${oneLine(error)}`, { cause: error });
  }
}
