/**
 * A bundle behind a URL: manifest and signatures first, then artifacts, each checked before anything uses it.
 *
 *     manifest.json · signatures.json · artifacts/<digest>/<name>
 */
import { DeviceError, InputError, TrustError, oneLine } from "./errors.js";
import { parse } from "./manifest.js";
import { verify } from "./signatures.js";

/**
 * @typedef {import("./manifest.js").Manifest} Manifest
 * @typedef {{name: string, bytes: Uint8Array}} File
 */

const LIMIT = 64 * 2 ** 20; // bytes of a manifest or signature file: their size is known from nowhere else

export class Bundle {
  /** @param {URL} url @param {Manifest} manifest @param {import("./signatures.js").SigningState} signing */
  constructor(url, manifest, signing) {
    this.url = url;
    this.manifest = manifest;
    this.signing = signing;
  }

  /**
   * Read a bundle's manifest and check its signatures.
   * @param {string | URL} url of its folder
   * @param {import("./signatures.js").Trusted} [trusted]
   */
  static async read(url, trusted) {
    if (!globalThis.crypto?.subtle)
      throw new DeviceError(
        "WebCrypto is missing, so no digest can be checked: serve the page by https or from localhost",
      );
    const folder = new URL(url, globalThis.location?.href);
    if (!folder.pathname.endsWith("/")) folder.pathname += "/";
    const manifest = await fetched(new URL("manifest.json", folder), LIMIT);
    if (!manifest)
      throw new InputError(
        `${folder} is not a bundle (no manifest.json): give the folder that edgewise build wrote`,
      );
    const signing = await verify(manifest, await fetched(new URL("signatures.json", folder), LIMIT), trusted);
    return new Bundle(folder, parse(manifest), signing);
  }

  /** The only (or first) model. */
  get model() {
    return this.manifest.models[0];
  }

  /**
   * Fetch an artifact and check its digest and every file's; the first file is the one that a runtime opens.
   * @param {string} digest
   * @returns {Promise<File[]>}
   * @throws {TrustError} naming the file that is missing or was changed
   */
  async artifact(digest) {
    const files = this.manifest.artifacts[digest].files.map(({ name, sha256, size }) => ({
      name,
      sha256,
      size,
    }));
    // RFC 8785: keys sorted, no white space, and names are ASCII.
    if ((await sha256(new TextEncoder().encode(JSON.stringify(files)))) !== digest)
      throw new TrustError(`artifact ${digest.slice(0, 12)} is not what its name says: rebuild the bundle`);
    return Promise.all(files.map((file) => this.#file(digest, file)));
  }

  /** @param {string} digest @param {import("./manifest.js").FileRef} file @returns {Promise<File>} */
  async #file(digest, { name, sha256: wanted, size }) {
    const url = new URL(`artifacts/${digest}/${name}`, this.url);
    const bytes = await fetched(url, size);
    if (!bytes) throw new TrustError(`${url} is missing: fetch the bundle again`);
    if (bytes.length !== size || (await sha256(bytes)) !== wanted)
      throw new TrustError(`${url} was changed after the bundle was written: do not use it`);
    return { name, bytes };
  }

  /** The first file of an artifact as UTF-8 text. @param {string} digest */
  async text(digest) {
    const [{ name, bytes }] = await this.artifact(digest);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw new InputError(`${name} is not text in UTF-8`, { cause: error });
    }
  }
}

/** @param {Uint8Array} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (bytes)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Return a file's bytes, null where the server has none; stop where it is larger than `limit`.
 * @param {URL} url
 * @param {number} limit
 * @returns {Promise<Uint8Array | null>}
 */
async function fetched(url, limit) {
  const response = await requested(url);
  if (response.status === 404) return null;
  if (!response.ok || !response.body)
    throw new DeviceError(`${url} cannot be fetched: the server says ${response.status}`);
  const parts = [];
  let size = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size > limit) {
      await reader.cancel();
      throw new TrustError(`${url} is larger than ${limit} bytes: fetch the bundle again`);
    }
  }
  return joined(parts, size);
}

/** @param {URL} url */
async function requested(url) {
  try {
    return await fetch(url, { cache: url.pathname.includes("/artifacts/") ? "default" : "no-cache" });
  } catch (error) {
    throw new DeviceError(`${url} cannot be fetched: ${oneLine(error)}`, { cause: error });
  }
}

/** @param {Uint8Array[]} parts @param {number} size */
function joined(parts, size) {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
