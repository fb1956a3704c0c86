/**
 * Tokenizers saved as SentencePiece model files, without tokenizer.json: Marian (source.spm, target.spm and vocab.json), M2M-100
 * (sentencepiece.bpe.model and vocab.json), T5, PEGASUS, XLM-RoBERTa, mBART and mBART-50. Texts are normalised and cut as the
 * sentencepiece library does it; each family numbers the pieces in its own way.
 */
import { TokenizerError, UnsupportedError } from '../errors.js';
import type { CoreParts, TokenizerFolder } from './from_folder.js';
import { scoreMerges } from './from_gguf.js';
import { m2mCodes, mbart50Codes, mbartCodes, tokenizerFamily } from './languages.js';
import { allAround, eachAround, robertaPost } from './post_processor.js';
import { PieceType, type SentencePieceModel } from './sentencepiece.js';
import type { AddedToken, JsonObject, ModelSpec, PieceIds, PostSpec } from './spec.js';
import { spmNormalizerConfig } from './spm_normalizer.js';
import { checkVocab } from './validate.js';

/** Number of leading spaces that a text can lose: all. */
const kAll = 1 << 30;

function special(content: string, id: number, lstrip = false): AddedToken {
  return { id, content, special: true, normalized: false, lstrip, rstrip: false, singleWord: false };
}

/** What the model of a file cuts texts by; ids are indexes of its pieces. */
function modelOf(spm: SentencePieceModel): ModelSpec {
  const { types, scores, pieces, unkId, byteFallback } = spm;
  const bytes = pieces.flatMap((_, i) => (types[i] === PieceType.byte ? [i] : []));
  if (byteFallback && bytes.length !== 256) {
    throw new TokenizerError('byte fallback needs 256 byte pieces', { file: spm.origin, found: bytes.length });
  }
  if (spm.kind === 'unigram') {
    // Pieces of other types than these match no text; a user-defined one scores −0.1 whatever the file says.
    const made = pieces.map((piece, i): [string, number] => {
      if (types[i] === PieceType.userDefined) return [piece, -0.1];
      return types[i] === PieceType.normal ? [piece, scores[i] as number] : ['', 0];
    });
    const byteIds = byteFallback ? bytes : undefined;
    return { kind: 'unigram', pieces: made, unkId, byteFallback, byteIds, float32: true };
  }
  if (spm.kind !== 'bpe' || types.includes(PieceType.userDefined)) {
    const expected = 'unigram, or bpe without user-defined symbols';
    throw new UnsupportedError('SentencePiece model of a kind that is not supported', {
      file: spm.origin,
      expected,
      found: spm.kind,
    });
  }
  const normal = types.map((type) => (type === PieceType.normal ? PieceType.normal : PieceType.control));
  return {
    ...{ kind: 'bpe', merges: scoreMerges({ tokens: pieces, types: normal }, scores), byteFallback, fuseUnk: true },
    ...{ unkId, ignoreMerges: false, endOfWordSuffix: '', continuingPrefix: '' },
  };
}

function decoderOf(spm: SentencePieceModel): JsonObject {
  const start = spm.removeExtraWhitespaces ? kAll : spm.addDummyPrefix ? 1 : 0;
  return {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      ...(spm.byteFallback ? [{ type: 'ByteFallback' }] : []),
      { type: 'Fuse' },
      ...(start > 0 ? [{ type: 'Strip', content: ' ', start, stop: 0 }] : []),
    ],
  };
}

function piecesOf(spm: SentencePieceModel): Map<string, number> {
  const pieces = new Map<string, number>();
  for (const [i, piece] of spm.pieces.entries())
    if (spm.types[i] === PieceType.normal || spm.types[i] === PieceType.byte) pieces.set(piece, i);
  return pieces;
}

interface Numbering {
  readonly vocab: ReadonlyMap<string, number>;
  readonly ids: Int32Array;
  readonly unkId: number;
  readonly bySpelling: boolean;
}

function parts(
  spm: SentencePieceModel,
  by: Numbering,
  more: Pick<CoreParts, 'added' | 'post' | 'defaults'>,
): CoreParts {
  const pieceIds: PieceIds = {
    ...{ pieces: piecesOf(spm), ids: by.ids, unkId: by.unkId, unknown: spm.unkId, bySpelling: by.bySpelling },
  };
  return {
    origin: spm.origin,
    vocab: by.vocab,
    normalizer: spmNormalizerConfig(spm),
    preTokenizer: null,
    model: modelOf(spm),
    decoder: decoderOf(spm),
    pieceIds,
    ...more,
  };
}

/** Ids by vocab.json: a piece that it lacks is unknown. */
function numberedBy(spm: SentencePieceModel, vocab: ReadonlyMap<string, number>, unk: string): Numbering {
  const unkId = vocab.get(unk);
  if (unkId === undefined)
    throw new TokenizerError('the vocabulary lacks the unk_token', { file: spm.origin, found: unk });
  return { vocab, ids: Int32Array.from(spm.pieces, (piece) => vocab.get(piece) ?? -1), unkId, bySpelling: true };
}

type Named = Readonly<Record<string, string>>;

function idIn(vocab: ReadonlyMap<string, number>, token: string, file: string): number {
  const id = vocab.get(token);
  if (id === undefined) throw new TokenizerError('the vocabulary lacks a special token', { file, found: token });
  return id;
}

function vocabFile(files: TokenizerFolder, name: string): Map<string, number> {
  return checkVocab(files.object(name), files.path(name));
}

const marianNames = { unk_token: '<unk>', eos_token: '</s>', pad_token: '<pad>' };

/** MarianTokenizer as it is without sacremoses: punctuation is not normalised. */
function marianParts(files: TokenizerFolder, config: JsonObject, named: Named): CoreParts {
  const names = { ...marianNames, ...named };
  const source = vocabFile(files, 'vocab.json');
  const separate = config.separate_vocabs === true;
  const written = separate ? vocabFile(files, 'target_vocab.json') : source;
  const side = (file: string, vocab: Map<string, number>): CoreParts => {
    const spm = files.sentencePiece(file);
    const post = eachAround([], [idIn(vocab, names.eos_token, files.path('vocab.json'))]);
    const numbering = numberedBy(spm, vocab, names.unk_token);
    return parts(spm, numbering, { added: [], post, defaults: marianNames });
  };
  return { ...side('source.spm', source), leadingCode: true, target: side('target.spm', written) };
}

const fairseqNames = {
  ...{ bos_token: '<s>', eos_token: '</s>', sep_token: '</s>', cls_token: '<s>' },
  ...{ unk_token: '<unk>', pad_token: '<pad>' },
};

function m2mParts(files: TokenizerFolder, config: JsonObject, named: Named): CoreParts {
  const file = files.path('vocab.json');
  const vocab = vocabFile(files, 'vocab.json');
  const names = { ...fairseqNames, ...named };
  const kind = typeof config.language_codes === 'string' ? config.language_codes : 'm2m100';
  const codes = m2mCodes[kind];
  if (codes === undefined) {
    const expected = Object.keys(m2mCodes).join(', ');
    throw new UnsupportedError('language_codes', { file, name: 'language_codes', expected, found: kind });
  }
  const added = codes.map((code, i) => special(`__${code}__`, vocab.size + i));
  const source = typeof config.src_lang === 'string' ? config.src_lang : 'en';
  const language = added[codes.indexOf(source)];
  if (language === undefined) throw new TokenizerError('src_lang is no language of it', { file, found: source });
  const spm = files.sentencePiece('sentencepiece.bpe.model');
  const post = allAround([language.id], [idIn(vocab, names.eos_token, file)]);
  return parts(spm, numberedBy(spm, vocab, names.unk_token), { added, post, defaults: fairseqNames });
}

/** Numbering by the place of a piece: `first` tokens, the pieces from `from` on, `last` tokens. */
function inOrder(spm: SentencePieceModel, first: readonly string[], from: number, last: readonly string[]): Numbering {
  const names = [...first, ...spm.pieces.slice(from), ...last];
  const vocab = new Map<string, number>();
  for (const [id, name] of names.entries()) if (!vocab.has(name)) vocab.set(name, id);
  const ids = Int32Array.from(spm.pieces, (_, i) => (i < from ? -1 : i - from + first.length));
  const unkId = vocab.get(spm.pieces[spm.unkId] as string);
  if (unkId === undefined) throw new TokenizerError('the vocabulary lacks the unknown token', { file: spm.origin });
  return { vocab, ids, unkId, bySpelling: false };
}

function t5Parts(files: TokenizerFolder, config: JsonObject, named: Named, file: string): CoreParts {
  const spm = files.sentencePiece(file);
  const count = typeof config.extra_ids === 'number' ? config.extra_ids : 100;
  if (!Number.isInteger(count) || count < 0 || count > 10_000) {
    throw new TokenizerError('extra_ids', { file: spm.origin, expected: '0 to 10000', found: count });
  }
  // mT5's file holds its own.
  const sentinels = Array.from({ length: count }, (_, i) => `<extra_id_${count - 1 - i}>`);
  const numbering = inOrder(spm, [], 0, sentinels.some((name) => spm.pieces.includes(name)) ? [] : sentinels);
  const added = sentinels.map((name) => special(name, numbering.vocab.get(name) as number));
  const names = { unk_token: '<unk>', eos_token: '</s>', pad_token: '<pad>' };
  const post = eachAround([], [idIn(numbering.vocab, named.eos_token ?? names.eos_token, spm.origin)]);
  return parts(spm, numbering, { added, post, defaults: names });
}

function pegasusParts(files: TokenizerFolder, config: JsonObject, named: Named, file: string): CoreParts {
  const spm = files.sentencePiece(file);
  const offset = typeof config.offset === 'number' ? config.offset : 103;
  if (!Number.isInteger(offset) || offset < 3 || offset > 10_000) {
    throw new TokenizerError('offset', { file: spm.origin, expected: '3 to 10000', found: offset });
  }
  // <mask_1> masks a sentence, <mask_2> a word; the file's own first two pieces are <pad> and </s>.
  const others = Array.from({ length: offset - 2 }, (_, i) => `<unk_${i + 2}>`);
  const first = ['<pad>', '</s>', '<mask_1>', '<mask_2>', ...others];
  const numbering = inOrder(spm, first, 2, []);
  const added = first.map((name, id) => special(name, id));
  const names = { unk_token: '<unk>', eos_token: '</s>', pad_token: '<pad>', mask_token: '<mask_2>' };
  const post = eachAround([], [idIn(numbering.vocab, named.eos_token ?? names.eos_token, spm.origin)]);
  return parts(spm, numbering, { added, post, defaults: names });
}

/** XLM-RoBERTa and mBART: fairseq's four tokens first, then the file's pieces from the fourth on, languages, the mask. */
function fairseqParts(files: TokenizerFolder, config: JsonObject, family: string, file: string): CoreParts {
  const spm = files.sentencePiece(file);
  const codes = family === 'mbart' ? mbartCodes : family === 'mbart50' ? mbart50Codes : [];
  const numbering = inOrder(spm, ['<s>', '<pad>', '</s>', '<unk>'], 3, [...codes, '<mask>']);
  const id = (token: string): number => idIn(numbering.vocab, token, spm.origin);
  const added = codes.map((code) => special(code, id(code)));
  added.push(special('<mask>', id('<mask>'), true));
  let post: PostSpec = robertaPost(0, 2, []);
  if (codes.length > 0) {
    const source = id(typeof config.src_lang === 'string' ? config.src_lang : 'en_XX');
    post = family === 'mbart' ? allAround([], [2, source]) : allAround([source], [2]);
  }
  return parts(spm, numbering, { added, post, defaults: { ...fairseqNames, mask_token: '<mask>' } });
}

/** The tokenizer of a folder with SentencePiece files; undefined: it has none. */
export function spmParts(files: TokenizerFolder, config: JsonObject, named: Named): CoreParts | undefined {
  if (files.has('source.spm') && files.has('target.spm') && files.has('vocab.json')) {
    return marianParts(files, config, named);
  }
  const file = ['spiece.model', 'sentencepiece.bpe.model', 'sentencepiece.model', 'tokenizer.model'].find((name) =>
    files.has(name),
  );
  if (file === undefined) return undefined;
  const family = tokenizerFamily(config, files.object('config.json'));
  if (family === 'm2m100' && files.has('vocab.json') && file === 'sentencepiece.bpe.model') {
    return m2mParts(files, config, named);
  }
  if (family === 't5' || family === 'mt5') return t5Parts(files, config, named, file);
  if (family === 'pegasus') return pegasusParts(files, config, named, file);
  if (family === 'xlmroberta' || family === 'mbart' || family === 'mbart50') {
    return fairseqParts(files, config, family, file);
  }
  throw new UnsupportedError(
    `how ${family ?? 'this tokenizer'} numbers the pieces of a SentencePiece file is not known`,
    {
      file: files.path(file),
      expected: 'Marian, M2M-100, T5, PEGASUS, XLM-RoBERTa, mBART or mBART-50',
      hint: 'Save the tokenizer as tokenizer.json (transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…))',
    },
  );
}
