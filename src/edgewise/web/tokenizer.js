/**
 * tokenizer.json → ids: what the Python package `tokenizers` computes, for WordPiece (BERT, MiniLM) and WordLevel.
 *
 *     text → special tokens cut out → normalized → words → pieces → cut at the limit → special tokens added
 *
 * Format: https://huggingface.co/docs/tokenizers/components. A file that declares a part not known here is
 * refused: other ids would be another answer.
 */
import { InputError } from "./errors.js";
import { CONTROLS, KNOWN, MARKS, WORDS } from "./unicode.js";

/**
 * @typedef {{ids: number[], types: number[]}} Encoding
 * @typedef {Record<string, any>} Part one object of tokenizer.json
 */

/** The CJK blocks that BERT treats as one word per character; tokenizers has U+2B920 where Unicode has U+2B820. */
const IDEOGRAPHS =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** Lower case, one character at a time: a whole word would get another sigma at its end. @param {string} text */
const lowercase = (text) => Array.from(text, (char) => char.toLowerCase()).join("");

/** @type {Record<string, (part: Part) => (text: string) => string>} */
const NORMALIZERS = {
  BertNormalizer: (part) => (text) => {
    if (part.clean_text) text = text.replace(CONTROLS, "").replace(/\p{White_Space}/gu, " ");
    if (part.handle_chinese_chars) text = text.replace(IDEOGRAPHS, " $& ");
    if (part.strip_accents ?? part.lowercase)
      text = text.replace(KNOWN, (run) => run.normalize("NFD")).replace(MARKS, "");
    return part.lowercase ? lowercase(text) : text;
  },
  Lowercase: () => lowercase,
  NFC: () => (text) => text.normalize("NFC"),
  Sequence: ({ normalizers }) => {
    const parts = normalizers.map((/** @type {Part} */ part) => made("normalizer", NORMALIZERS, part));
    return (text) => parts.reduce((/** @type {string} */ so, /** @type {any} */ next) => next(so), text);
  },
};

/** @type {Record<string, (part: Part) => (text: string) => string[]>} */
const SPLITTERS = {
  BertPreTokenizer: () => (text) => text.match(WORDS) ?? [],
  WhitespaceSplit: () => (text) => text.match(/\P{White_Space}+/gu) ?? [],
  Whitespace: () => (text) =>
    text.match(
      /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu,
    ) ?? [],
};

/** @type {Record<string, (part: Part) => (word: string) => number[]>} */
const MODELS = {
  WordLevel: ({ vocab, unk_token: unknown }) => {
    const known = new Map(Object.entries(vocab));
    return (word) => [known.get(word) ?? known.get(unknown)].filter((id) => id !== undefined);
  },
  WordPiece: (part) => {
    const known = new Map(Object.entries(part.vocab));
    const unknown = [known.get(part.unk_token)];
    return (word) => {
      const chars = Array.from(word);
      return (chars.length <= part.max_input_chars_per_word && pieces(chars, known, part)) || unknown;
    };
  },
};

/**
 * Cut a word into the longest pieces known, from its start; null where a rest is not known.
 * @param {string[]} chars
 * @param {Map<string, number>} known
 * @param {Part} part
 */
function pieces(chars, known, { continuing_subword_prefix: prefix }) {
  const ids = [];
  for (let start = 0; start < chars.length;) {
    let end = chars.length;
    let id;
    for (; end > start && id === undefined; end--)
      id = known.get((start ? prefix : "") + chars.slice(start, end).join(""));
    if (id === undefined) return null;
    ids.push(id);
    start = end + 1;
  }
  return ids;
}

/** A frame says what stands before and after the text: [ids, types] each. */
/** @type {Record<string, (part: Part) => {before: [number, number][], after: [number, number][], type: number}>} */
const FRAMES = {
  BertProcessing: ({ cls, sep }) => ({ before: [[cls[1], 0]], after: [[sep[1], 0]], type: 0 }),
  TemplateProcessing: ({ single, special_tokens: tokens }) => {
    const at = single.findIndex((/** @type {Part} */ piece) => piece.Sequence);
    const ids = (/** @type {Part[]} */ part) =>
      part.flatMap(({ SpecialToken: { id, type_id: type } }) =>
        tokens[id].ids.map((/** @type {number} */ own) => [own, type]),
      );
    return {
      before: ids(single.slice(0, at)),
      after: ids(single.slice(at + 1)),
      type: single[at].Sequence.type_id,
    };
  },
};

/**
 * Return the function from text to ids, special tokens among them, at most `limit`.
 * @param {string} json of tokenizer.json
 * @param {number} limit
 * @returns {(text: string) => Encoding}
 * @throws {InputError} where the file declares a part that is not known here
 */
export function tokenizer(json, limit) {
  const file = parsed(json);
  const normalize =
    made("normalizer", NORMALIZERS, file.normalizer) ?? ((/** @type {string} */ text) => text);
  const split =
    made("pre_tokenizer", SPLITTERS, file.pre_tokenizer) ?? ((/** @type {string} */ text) => [text]);
  const model = made("model", MODELS, file.model);
  const frame = made("post_processor", FRAMES, file.post_processor) ?? { before: [], after: [], type: 0 };
  const cut = cutter(file.added_tokens ?? [], normalize);
  const room = Math.max(0, limit - frame.before.length - frame.after.length);
  return (text) => {
    const ids = cut(text, (part) => split(part).flatMap(model)).slice(0, room);
    const all = [...frame.before, ...ids.map((id) => [id, frame.type]), ...frame.after];
    return { ids: all.map(([id]) => id), types: all.map(([, type]) => type) };
  };
}

/** @param {string} json @returns {Part} */
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new InputError("the tokenizer.json is not JSON", { cause: error });
  }
}

/** @param {string} what @param {Record<string, (part: Part) => any>} known @param {Part | null} part */
function made(what, known, part) {
  if (!part) return undefined;
  if (!Object.hasOwn(known, part.type)) {
    const list = Object.keys(known).join(", ");
    throw new InputError(
      `tokenizer.json: this client does not know the ${what} ${part.type} (it knows ${list}): give tensors`,
    );
  }
  return known[part.type](part);
}

/**
 * Return the function that finds added tokens, and has the text between them normalized and encoded.
 *
 * First those that stand in the text as it came, then those that stand in the normalized text.
 * @param {Part[]} added
 * @param {(text: string) => string} normalize
 * @returns {(text: string, encode: (part: string) => number[]) => number[]}
 */
function cutter(added, normalize) {
  const odd = added.find((token) => token.single_word || token.lstrip || token.rstrip);
  if (odd)
    throw new InputError(
      `tokenizer.json: this client cannot strip around the token ${odd.content}: give tensors`,
    );
  const [plain, normalized] = [false, true].map((kind) => {
    const tokens = added.filter((token) => token.normalized === kind);
    return separator(
      new Map(tokens.map((token) => [kind ? normalize(token.content) : token.content, token.id])),
    );
  });
  return (text, encode) => plain(text, (part) => normalized(normalize(part), encode));
}

/** @param {Map<string, number>} tokens */
function separator(tokens) {
  const longest = [...tokens.keys()].filter(Boolean).sort((a, b) => b.length - a.length);
  const pattern = new RegExp(
    longest.map((token) => token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|") || "(?!)",
    "gu",
  );
  return (/** @type {string} */ text, /** @type {(part: string) => number[]} */ encode) => {
    const parts = [];
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      parts.push(encode(text.slice(at, match.index)), [/** @type {number} */ (tokens.get(match[0]))]);
      at = match.index + match[0].length;
    }
    return [...parts, encode(text.slice(at))].flat();
  };
}
