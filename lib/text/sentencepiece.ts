/**
 * Reader of SentencePiece model files: the protocol buffer `ModelProto` of sentencepiece_model.proto, of which only the
 * fields that encoding needs are read. Lengths are checked before anything is made from them.
 */
import { TokenizerError } from '../errors.js';

/** Types of pieces, numbered as in the file; GGUF numbers them alike. */
export const PieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const kMaxPieces = 1 << 21;

export interface SentencePieceModel {
  /** File that errors name. */
  readonly origin: string;
  readonly pieces: readonly string[];
  /** f32 values. */
  readonly scores: readonly number[];
  readonly types: readonly number[];
  readonly kind: 'unigram' | 'bpe' | 'word' | 'char';
  readonly byteFallback: boolean;
  /** Index of the unknown piece. */
  readonly unkId: number;
  /** The space mark follows words instead of preceding them. */
  readonly suffix: boolean;
  /** precompiled_charsmap, base64; empty: no rules. */
  readonly charsMap: string;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
}

const kinds = ['unigram', 'bpe', 'word', 'char'] as const;

/** One message: its fields one after another. */
class Message {
  #at: number;
  readonly #end: number;
  readonly #bytes: Buffer;
  readonly #origin: string;
  /** Number and wire type of the field that `next` found. */
  field = 0;
  #wire = 0;

  constructor(bytes: Buffer, origin: string, begin = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#origin = origin;
    this.#at = begin;
    this.#end = end;
  }

  /** Goes to the next field; the one before must have been read or skipped. */
  next(): boolean {
    if (this.#at === this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.#wire = tag % 8;
    if (this.field === 0) throw this.#broken();
    return true;
  }

  skip(): void {
    if (this.#wire === 0) this.#varint();
    else if (this.#wire === 1) this.#take(8);
    else if (this.#wire === 2) this.#take(this.#varint());
    else if (this.#wire === 5) this.#take(4);
    else throw this.#broken();
  }

  integer(): number {
    if (this.#wire !== 0) throw this.#broken();
    return this.#varint();
  }

  float(): number {
    if (this.#wire !== 5) throw this.#broken();
    const value = this.#bytes.readFloatLE(this.#take(4));
    if (!Number.isFinite(value)) throw this.#broken();
    return value;
  }

  bytes(): Buffer {
    if (this.#wire !== 2) throw this.#broken();
    const length = this.#varint();
    const begin = this.#take(length);
    return this.#bytes.subarray(begin, begin + length);
  }

  text(): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes());
    } catch (cause) {
      if (cause instanceof TokenizerError) throw cause;
      throw this.#broken();
    }
  }

  message(): Message {
    if (this.#wire !== 2) throw this.#broken();
    const length = this.#varint();
    const begin = this.#take(length);
    return new Message(this.#bytes, this.#origin, begin, begin + length);
  }

  /** Offset of the bytes taken. */
  #take(count: number): number {
    const begin = this.#at;
    if (count > this.#end - begin) throw this.#broken();
    this.#at = begin + count;
    return begin;
  }

  /** Up to 64 bits; values above 2^53 (negative integers) lose their lowest bits. */
  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#take(1)] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw this.#broken();
  }

  #broken(): TokenizerError {
    return new TokenizerError('not a SentencePiece model, or broken', {
      file: this.#origin,
      found: `byte ${this.#at}`,
    });
  }
}

interface Parts {
  readonly pieces: string[];
  readonly scores: number[];
  readonly types: number[];
  trainer: { kind: number; suffix: boolean; byteFallback: boolean };
  normalizer: {
    charsMap: string;
    addDummyPrefix: boolean;
    removeExtraWhitespaces: boolean;
    escapeWhitespaces: boolean;
  };
}

function readPiece(message: Message, parts: Parts): void {
  let [piece, score, type]: [string, number, number] = ['', 0, PieceType.normal];
  while (message.next()) {
    if (message.field === 1) piece = message.text();
    else if (message.field === 2) score = message.float();
    else if (message.field === 3) type = message.integer();
    else message.skip();
  }
  parts.pieces.push(piece);
  parts.scores.push(score);
  parts.types.push(type);
}

function readTrainer(message: Message, trainer: Parts['trainer']): void {
  while (message.next()) {
    if (message.field === 3) trainer.kind = message.integer();
    else if (message.field === 24) trainer.suffix = message.integer() !== 0;
    else if (message.field === 35) trainer.byteFallback = message.integer() !== 0;
    else message.skip();
  }
}

function readNormalizer(message: Message, normalizer: Parts['normalizer']): void {
  while (message.next()) {
    if (message.field === 2) normalizer.charsMap = message.bytes().toString('base64');
    else if (message.field === 3) normalizer.addDummyPrefix = message.integer() !== 0;
    else if (message.field === 4) normalizer.removeExtraWhitespaces = message.integer() !== 0;
    else if (message.field === 5) normalizer.escapeWhitespaces = message.integer() !== 0;
    else message.skip();
  }
}

/** Reads a model. Throws `TokenizerError` naming the file and byte. */
export function readSentencePiece(bytes: Uint8Array, origin: string): SentencePieceModel {
  const parts: Parts = {
    ...{ pieces: [], scores: [], types: [] },
    trainer: { kind: 1, suffix: false, byteFallback: false },
    normalizer: { charsMap: '', addDummyPrefix: true, removeExtraWhitespaces: true, escapeWhitespaces: true },
  };
  const message = new Message(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), origin);
  while (message.next()) {
    if (message.field === 1) readPiece(message.message(), parts);
    else if (message.field === 2) readTrainer(message.message(), parts.trainer);
    else if (message.field === 3) readNormalizer(message.message(), parts.normalizer);
    else message.skip();
    if (parts.pieces.length > kMaxPieces) throw new TokenizerError('too many pieces', { file: origin });
  }
  const { kind, ...trainer } = parts.trainer;
  const name = kinds[kind - 1];
  const unkId = parts.types.indexOf(PieceType.unknown);
  if (name === undefined || unkId < 0) {
    throw new TokenizerError('not a SentencePiece model: it lacks a model type or an unknown piece', { file: origin });
  }
  const { pieces, scores, types } = parts;
  return { origin, pieces, scores, types, kind: name, unkId, ...trainer, ...parts.normalizer };
}
