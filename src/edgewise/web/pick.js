/** Choose the variant for the web, and say why. */
import { DeviceError, InputError } from "./errors.js";

/**
 * @typedef {import("./manifest.js").Manifest} Manifest
 * @typedef {import("./manifest.js").Variant} Variant
 * @typedef {"onnxruntime-web" | "litert-web"} EngineName
 * @typedef {{variant: Variant, engine: EngineName, reason: string}} Choice
 */

/** Runtimes whose artifacts an engine opens: its own, and the one of which it is a build for the browser. */
/** @type {Record<string, {engine: EngineName, format: string}>} */
const RUNTIMES = {
  "onnxruntime-web": { engine: "onnxruntime-web", format: "onnx" },
  "litert-web": { engine: "litert-web", format: "tflite" },
  onnxruntime: { engine: "onnxruntime-web", format: "onnx" },
  litert: { engine: "litert-web", format: "tflite" },
};

/**
 * Return the variant that was chosen for the web; where none was, the smallest that an engine can run, those
 * that were built for the web first.
 * @param {Manifest} manifest
 * @param {{tier?: string, engine?: string}} options
 * @returns {Choice}
 * @throws {DeviceError} where no variant runs in a browser
 */
export function pick(manifest, { tier, engine } = {}) {
  if (engine !== undefined && !Object.values(RUNTIMES).some((own) => own.engine === engine))
    throw new InputError(`there is no engine '${engine}': take onnxruntime-web or litert-web`);
  const { variants } = manifest.models[0];
  const running = variants.filter((variant) => {
    const own = RUNTIMES[variant.runtime];
    return (
      own?.format === manifest.artifacts[variant.artifact].format && (engine ?? own.engine) === own.engine
    );
  });
  const matching = tiers(manifest, tier);
  for (const { name, variant: id } of matching) {
    const variant = running.find((own) => own.id === id);
    if (variant) return chosen(variant, `variant of tier '${name}'`);
  }
  const why = matching.length
    ? `the variant of tier '${matching[0].name}' does not run in a browser`
    : "no tier for the web";
  const [variant] = running.sort(
    (a, b) => foreign(a) - foreign(b) || bytes(manifest, a) - bytes(manifest, b),
  );
  if (variant) return chosen(variant, `${why}; the smallest variant that runs here`);
  const found = [...new Set(variants.map((own) => own.runtime))].join(", ") || "no variant";
  throw new DeviceError(
    `no variant runs in a browser (${why}; the bundle has ${found}): build for onnxruntime-web or litert-web`,
  );
}

/** @param {Manifest} manifest @param {string | undefined} name */
function tiers({ tiers: all }, name) {
  if (name === undefined)
    return ["web", "any"].flatMap((platform) => all.filter((tier) => tier.platform === platform));
  const named = all.filter((tier) => tier.name === name);
  if (!named.length) {
    const known = all.map((tier) => tier.name).join(", ") || "none";
    throw new InputError(`the bundle has no tier '${name}'; its tiers: ${known}`);
  }
  return named;
}

/** @param {Variant} variant @param {string} reason @returns {Choice} */
function chosen(variant, reason) {
  const { engine } = RUNTIMES[variant.runtime];
  const same = `; built and verified for ${variant.runtime}, run by ${engine}, which opens the same file`;
  return { variant, engine, reason: reason + (foreign(variant) ? same : "") };
}

/** @param {Variant} variant */
const foreign = ({ runtime }) => Number(RUNTIMES[runtime].engine !== runtime);

/** @param {Manifest} manifest @param {Variant} variant */
const bytes = ({ artifacts }, { artifact }) =>
  artifacts[artifact].files.reduce((sum, file) => sum + file.size, 0);
