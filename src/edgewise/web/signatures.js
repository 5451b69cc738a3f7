/**
 * signatures.json: ed25519 signatures over the bytes of manifest.json, in the form of TUF and securesystemslib.
 *
 * `unsigned` there are none · `development` they verify with the keys beside them, which shows that the
 * manifest is as its writer left it · `release` enough keys that the caller was given beforehand have signed ·
 * `not verified` this browser cannot check them.
 */
import { TrustError, oneLine } from "./errors.js";

/**
 * @typedef {{keytype: string, scheme: string, keyval: {public: string}}} PublicKey
 * @typedef {{keys: Record<string, PublicKey>, threshold: number}} Trusted
 * @typedef {{keyid: string, sig: string}} Signature
 * @typedef {"unsigned" | "development" | "release" | "not verified"} SigningState
 */

const HEX = /^([0-9a-f]{2})+$/;

/**
 * Check the signatures over `payload` and return the state they justify.
 * @param {Uint8Array} payload
 * @param {Uint8Array | null} file
 * @param {Trusted} [trusted]
 * @returns {Promise<SigningState>}
 * @throws {TrustError} on any signature that does not verify, and when too few trusted keys have signed
 */
export async function verify(payload, file, trusted) {
  if (trusted && !(trusted.threshold >= 1 && trusted.threshold <= Object.keys(trusted.keys).length))
    throw new TrustError(`a threshold of ${trusted.threshold} cannot be met by the keys given`);
  if (!file) {
    if (trusted)
      throw new TrustError("the bundle is unsigned, and release keys were asked for: refuse it or sign it");
    return "unsigned";
  }
  const { keys, signatures } = parsed(file);
  if (!signatures.length)
    throw new TrustError("signatures.json holds no signature: remove the file or sign the bundle");
  if (!(await checkable(Object.values(keys)))) {
    if (trusted) throw new TrustError("this browser cannot check ed25519 signatures: take a newer one");
    return "not verified";
  }
  for (const signature of signatures) await check(payload, signature, keys);
  if (!trusted) return "development";
  const good = new Set();
  for (const signature of signatures.filter(({ keyid }) => Object.hasOwn(trusted.keys, keyid)))
    good.add(await check(payload, signature, trusted.keys));
  if (good.size < trusted.threshold)
    throw new TrustError(`signed by ${good.size} of the ${trusted.threshold} release keys required`);
  return "release";
}

/** @param {Uint8Array} file @returns {{keys: Record<string, PublicKey>, signatures: Signature[]}} */
function parsed(file) {
  try {
    const { keys, signatures } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(file));
    Object.values(keys).forEach((key) => key.keyval.public.length);
    signatures.forEach((/** @type {Signature} */ entry) => entry.keyid.length + entry.sig.length);
    return { keys, signatures };
  } catch (error) {
    throw new TrustError(`signatures.json cannot be read: ${oneLine(error)}`, { cause: error });
  }
}

/** Other kinds of keys, and browsers without ed25519, leave signatures unchecked. @param {PublicKey[]} keys */
async function checkable(keys) {
  if (keys.some((key) => key.keytype !== "ed25519" || key.scheme !== "ed25519")) return false;
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32), "Ed25519", false, ["verify"]);
    return true;
  } catch {
    return false;
  }
}

/**
 * Return the public key that made a signature.
 * @param {Uint8Array} payload
 * @param {Signature} signature
 * @param {Record<string, PublicKey>} keys
 */
async function check(payload, { keyid, sig }, keys) {
  if (!Object.hasOwn(keys, keyid))
    throw new TrustError(`signatures.json: no public key for signature ${keyid.slice(0, 12)}`);
  const own = keys[keyid].keyval.public;
  if (!(await verified(payload, sig, own))) {
    throw new TrustError(
      `the signature by ${keyid.slice(0, 12)} does not fit manifest.json: one of them was changed after signing`,
    );
  }
  return own;
}

/** @param {Uint8Array} payload @param {string} sig @param {string} own @returns {Promise<boolean>} */
async function verified(payload, sig, own) {
  if (!HEX.test(sig) || !HEX.test(own)) return false;
  try {
    const key = await crypto.subtle.importKey("raw", bytes(own), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, bytes(sig), /** @type {BufferSource} */ (payload));
  } catch {
    return false; // no point on the curve, or of another length
  }
}

/** @param {string} hex */
function bytes(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
