/** The `model` section of tokenizer.json. */
import { TokenizerError, UnsupportedError } from '../errors.js';
import { isObject, type Json, type JsonObject, type ModelSpec } from './spec.js';
import { checkMerges, checkPieces, checkVocab } from './validate.js';

export interface ModelAndVocab {
  readonly model: ModelSpec;
  readonly vocab: ReadonlyMap<string, number>;
}

/** Older files leave `type` out: the fields tell. */
function typeOf(model: JsonObject): Json | undefined {
  if (model.type !== undefined) return model.type;
  if (Array.isArray(model.vocab)) return 'Unigram';
  if (Array.isArray(model.merges)) return 'BPE';
  return 'continuing_subword_prefix' in model ? 'WordPiece' : undefined;
}

function text(model: JsonObject, name: string, origin: string): string {
  const value = model[name] ?? '';
  if (typeof value === 'string') return value;
  throw new TokenizerError('model field must be a string or null', { file: origin, name, found: value });
}

function unknownId(model: JsonObject, vocab: ReadonlyMap<string, number>, origin: string): number | undefined {
  const token = model.unk_token;
  if (token === undefined || token === null) return undefined;
  const id = typeof token === 'string' ? vocab.get(token) : undefined;
  if (id === undefined) throw new TokenizerError('unk_token is not in the vocabulary', { file: origin, found: token });
  return id;
}

function bpe(model: JsonObject, origin: string): ModelAndVocab {
  const vocab = checkVocab(model.vocab, origin);
  if (!Array.isArray(model.merges)) throw new TokenizerError('merges must be a list', { file: origin });
  if (typeof model.dropout === 'number' && model.dropout > 0) {
    throw new UnsupportedError('BPE dropout makes tokenisation random', { file: origin, found: model.dropout });
  }
  const continuingPrefix = text(model, 'continuing_subword_prefix', origin);
  return {
    vocab,
    model: {
      kind: 'bpe',
      merges: checkMerges(model.merges, vocab, continuingPrefix, origin),
      byteFallback: model.byte_fallback === true,
      fuseUnk: model.fuse_unk === true,
      unkId: unknownId(model, vocab, origin),
      ignoreMerges: model.ignore_merges === true,
      endOfWordSuffix: text(model, 'end_of_word_suffix', origin),
      continuingPrefix,
    },
  };
}

function unigram(model: JsonObject, origin: string): ModelAndVocab {
  const pieces = checkPieces(model.vocab, origin);
  const unkId = model.unk_id ?? undefined;
  if (unkId !== undefined && !(typeof unkId === 'number' && Number.isInteger(unkId) && pieces[unkId] !== undefined)) {
    throw new TokenizerError('unk_id is not an index of the vocabulary', { file: origin, found: unkId });
  }
  const vocab = new Map<string, number>();
  pieces.forEach(([piece], id) => {
    if (!vocab.has(piece)) vocab.set(piece, id);
  });
  return { vocab, model: { kind: 'unigram', pieces, unkId, byteFallback: model.byte_fallback === true } };
}

function wordPiece(model: JsonObject, origin: string): ModelAndVocab {
  const vocab = checkVocab(model.vocab, origin);
  const unkId = unknownId(model, vocab, origin);
  if (unkId === undefined) throw new TokenizerError('WordPiece needs an unk_token', { file: origin });
  const maxChars = model.max_input_chars_per_word ?? 100;
  if (typeof maxChars !== 'number' || !Number.isInteger(maxChars) || maxChars < 1) {
    throw new TokenizerError('max_input_chars_per_word must be a positive integer', { file: origin, found: maxChars });
  }
  const prefix = text(model, 'continuing_subword_prefix', origin);
  return { vocab, model: { kind: 'wordpiece', unkId, prefix, maxChars } };
}

export function modelFromJson(value: Json | undefined, origin: string): ModelAndVocab {
  if (!isObject(value)) throw new TokenizerError('the model section is missing', { file: origin });
  const type = typeOf(value);
  if (type === 'BPE') return bpe(value, origin);
  if (type === 'Unigram') return unigram(value, origin);
  if (type === 'WordPiece') return wordPiece(value, origin);
  throw new UnsupportedError('tokenizer model of a kind that is not supported', { file: origin, found: type });
}
