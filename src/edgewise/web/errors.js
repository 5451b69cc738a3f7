/**
 * What can go wrong, by whose fault it is; the names are those of the Python package.
 *
 *     InputError    yours: the input, an option, or what the page provides
 *     TrustError    a digest, signature or version refused a file of the bundle
 *     DeviceError   the model could not be loaded or run in this browser
 */

export class EdgewiseError extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class InputError extends EdgewiseError {}
export class TrustError extends EdgewiseError {}
export class DeviceError extends EdgewiseError {}

/**
 * Return an error's words on one line.
 * @param {unknown} error
 * @returns {string}
 */
export function oneLine(error) {
  const words = error instanceof Error ? error.message : String(error);
  return words.split(/\s+/u).join(" ").slice(0, 300);
}
