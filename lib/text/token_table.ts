/** Builds the tables with which the main thread decodes: token strings, decoded bytes, flags, joining rules. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { cleanUpSpaces } from './detokenizer.js';
import { checkPattern } from './patterns.js';
import { type DecodeRules, hashBytes, type LoadResult, type TableData, TokenFlag } from './protocol.js';
import { byteOfToken, charToByte, isObject, type Json, type JsonObject, type TokenizerSpec } from './spec.js';

/** What one token decodes to so far: text, or a single raw byte. */
type Decoded = string | Uint8Array;
type Rewrite = (token: Decoded) => Decoded;

interface Plan {
  readonly rewrites: readonly Rewrite[];
  readonly rules: DecodeRules;
}

const utf8 = new TextEncoder();
const onText =
  (change: (text: string) => Decoded): Rewrite =>
  (token) =>
    typeof token === 'string' ? change(token) : token;

function flatten(config: Json): JsonObject[] {
  if (!isObject(config)) return [];
  if (config.type !== 'Sequence') return [config];
  return Array.isArray(config.decoders) ? config.decoders.flatMap(flatten) : [];
}

/** Byte characters → bytes; a token with any other character stands for itself. */
function byteLevel(token: string): Decoded {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = charToByte.get(char);
    if (byte === undefined) return token;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function replacer(config: JsonObject, origin: string): Rewrite {
  const content = typeof config.content === 'string' ? config.content : '';
  const { pattern } = config;
  if (isObject(pattern) && typeof pattern.String === 'string') {
    const literal = pattern.String;
    return onText((text) => text.replaceAll(literal, () => content));
  }
  const regex = checkPattern(pattern, origin);
  return onText((text) => text.replace(regex, () => content));
}

function strip(text: string, content: string, start: number, stop: number): string {
  let from = 0;
  let end = text.length;
  while (from < start && text.startsWith(content, from) && from < end) from += 1;
  for (let n = 0; n < stop && end > from && text[end - 1] === content; n += 1) end -= 1;
  return text.slice(from, end);
}

/** One decoder step → its effect on single tokens and on the whole text. */
class Planner {
  readonly rewrites: Rewrite[] = [];
  fused = false;
  rules = { stripLeading: 0, rawFirst: false, dropTrailingSpace: false };

  private readonly origin: string;

  constructor(origin: string) {
    this.origin = origin;
  }

  add(config: JsonObject): void {
    switch (config.type) {
      case 'ByteLevel':
        this.rewrites.push(onText(byteLevel));
        return;
      case 'Replace':
        this.rewrites.push(replacer(config, this.origin));
        return;
      case 'ByteFallback':
        this.rewrites.push(
          onText((text) => {
            const byte = byteOfToken(text);
            return byte < 0 ? text : Uint8Array.of(byte);
          }),
        );
        return;
      case 'Fuse':
        this.fused = true;
        return;
      case 'Strip':
        this.strip(config);
        return;
      case 'Metaspace': {
        const mark = typeof config.replacement === 'string' ? config.replacement : '▁';
        this.rewrites.push(onText((text) => text.replaceAll(mark, ' ')));
        if (config.prepend_scheme !== 'never' && config.add_prefix_space !== false) this.rules.stripLeading = 1;
        return;
      }
      case 'WordPiece': {
        const prefix = typeof config.prefix === 'string' ? config.prefix : '##';
        const clean = config.cleanup !== false;
        this.rewrites.push(
          onText((text) => {
            const joined = prefix !== '' && text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`;
            return clean ? cleanUpSpaces(joined) : joined;
          }),
        );
        this.rules.rawFirst = true;
        return;
      }
      case 'BPEDecoder': {
        const suffix = typeof config.suffix === 'string' ? config.suffix : '</w>';
        this.rewrites.push(onText((text) => (suffix === '' ? text : text.replaceAll(suffix, ' '))));
        this.rules.dropTrailingSpace = suffix !== '';
        return;
      }
      default:
        throw new UnsupportedError('decoder of a kind that is not supported', {
          file: this.origin,
          found: config.type,
        });
    }
  }

  private strip(config: JsonObject): void {
    const content = typeof config.content === 'string' ? config.content : ' ';
    const start = Number(config.start ?? 0);
    const stop = Number(config.stop ?? 0);
    if (!this.fused) this.rewrites.push(onText((text) => strip(text, content, start, stop)));
    else if (content === ' ' && stop === 0) this.rules.stripLeading = start;
    else throw new UnsupportedError('Strip of the whole text at its end', { file: this.origin, found: config });
  }
}

function planFor(spec: TokenizerSpec): Plan {
  const planner = new Planner(spec.origin);
  const steps = flatten(spec.decoder);
  for (const config of steps) planner.add(config);
  // No decoder: Hugging Face joins the tokens with spaces.
  if (steps.length === 0) {
    planner.rewrites.push(onText((text) => ` ${text}`));
    planner.rules.rawFirst = true;
  }
  return { rewrites: planner.rewrites, rules: { ...planner.rules, cleanUp: spec.cleanUp } };
}

class Blob {
  private bytes = new Uint8Array(1 << 16);
  length = 0;

  add(piece: Uint8Array): void {
    if (this.length + piece.length > this.bytes.length) {
      const larger = new Uint8Array(2 * (this.length + piece.length));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
    }
    this.bytes.set(piece, this.length);
    this.length += piece.length;
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

function makeIndex(tokenBytes: Uint8Array, offsets: Uint32Array, flags: Uint8Array): Int32Array {
  let size = 16;
  while (size < 2 * flags.length) size *= 2;
  const index = new Int32Array(size).fill(-1);
  for (let id = 0; id < flags.length; id += 1) {
    if (((flags[id] as number) & TokenFlag.present) === 0) continue;
    let slot = hashBytes(tokenBytes, offsets[id] as number, offsets[id + 1] as number) & (size - 1);
    while ((index[slot] as number) >= 0) slot = (slot + 1) & (size - 1);
    index[slot] = id;
  }
  return index;
}

function makeTable(spec: TokenizerSpec): TableData {
  const { rewrites, rules } = planFor(spec);
  let vocabSize = 0;
  for (const id of spec.vocab.values()) vocabSize = Math.max(vocabSize, id + 1);
  for (const token of spec.added) vocabSize = Math.max(vocabSize, token.id + 1);
  const names = new Array<string | undefined>(vocabSize);
  for (const [token, id] of spec.vocab) names[id] = token;
  for (const token of spec.added) names[token.id] = token.content;
  const flags = new Uint8Array(vocabSize);
  const [text, tokens] = [new Blob(), new Blob()];
  const textOffsets = new Uint32Array(vocabSize + 1);
  const tokenOffsets = new Uint32Array(vocabSize + 1);
  for (let id = 0; id < vocabSize; id += 1) {
    const name = names[id];
    if (name !== undefined) {
      flags[id] = TokenFlag.present;
      tokens.add(utf8.encode(name));
      const decoded = rewrites.reduce<Decoded>((token, rewrite) => rewrite(token), name);
      text.add(typeof decoded === 'string' ? utf8.encode(decoded) : decoded);
    }
    textOffsets[id + 1] = text.length;
    tokenOffsets[id + 1] = tokens.length;
  }
  for (const token of spec.added) if (token.special) flags[token.id] = TokenFlag.present | TokenFlag.special;
  const tokenBytes = tokens.finish();
  return {
    vocabSize,
    textBytes: text.finish(),
    textOffsets,
    tokenBytes,
    tokenOffsets,
    flags,
    index: makeIndex(tokenBytes, tokenOffsets, flags),
    rules,
  };
}

/** What the main thread keeps of a tokenizer. */
export function describe(source: TokenizerSpec): LoadResult {
  // What a model writes is decoded.
  const spec = source.target ?? source;
  const table = makeTable(spec);
  if (table.vocabSize === 0) throw new TokenizerError('the vocabulary is empty', { file: spec.origin });
  return {
    table,
    bosId: spec.bosId,
    eosIds: spec.eosIds,
    padId: spec.padId,
    unkId: spec.pieceIds?.unkId ?? spec.model.unkId,
    specialIds: spec.added.filter((token) => token.special).map((token) => token.id),
    specialTokens: spec.specialTokens,
    chatTemplates: spec.chatTemplates,
    languages: source.languages,
  };
}
