/** What a page of edgewise.targets.browser does: it loads one model and answers, by messages of numpy arrays. */
import { loaded } from "./web/edgewise.js";
import { DeviceError } from "./web/errors.js";
import { readNpy, writeNpy } from "./web/npy.js";

/** @type {import("./web/edgewise.js").Session} */
let session;

const fetched = async (/** @type {string} */ path) => new Uint8Array(await (await fetch(path)).arrayBuffer());

const actions = {
  /** Start an engine, without a model: it fails on an empty file, and is there from then on. */
  start: async (/** @type {any} */ { engine, settings }) => {
    try {
      await loaded(engine, [{ name: "nothing", bytes: new Uint8Array(0) }], settings);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
    }
    return { isolated: crossOriginIsolated };
  },

  load: async (/** @type {any} */ { engine, settings, names }) => {
    const files = [];
    for (const name of names)
      files.push({ name, bytes: await fetched(`./artifact/${encodeURIComponent(name)}`) });
    const start = performance.now();
    session = await loaded(engine, files, settings);
    return { ms: performance.now() - start, version: session.version, reason: session.reason };
  },

  run: async (/** @type {any} */ { names }) => {
    const inputs = unpacked(names, await fetched("./exchange"));
    const start = performance.now();
    const outputs = await session.run(inputs);
    const ms = performance.now() - start;
    const body = new Blob(Object.values(outputs).map((tensor) => /** @type {BlobPart} */ (writeNpy(tensor))));
    await fetch("./exchange", { method: "POST", body });
    return { ms, names: Object.keys(outputs) };
  },
};

/** @param {string[]} names @param {Uint8Array} bytes one array after the other */
function unpacked(names, bytes) {
  let at = 0;
  return Object.fromEntries(
    names.map((name) => {
      const { tensor, end } = readNpy(bytes, at);
      at = end;
      return [name, tensor];
    }),
  );
}

/** Do an action; an error is an answer, too. */
Object.assign(globalThis, {
  edgewise: async (/** @type {{action: keyof typeof actions}} */ request) => {
    try {
      return await actions[request.action](request);
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  },
});
